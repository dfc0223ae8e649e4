"""What ``--input`` and ``--weights`` of the commands mean: models and inputs from words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .errors import SeeError


def load_model(name: str, weights: str | Path | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
    """A model of the zoo, or of the folder of a training run, in evaluation mode; and the shape of its input.

    ``weights`` is a file that ``minidl.io.load_weights`` reads.  Without one the parameters are random, from seed 0.
    """
    from .. import manual_seed, models
    from ..io import load_into, load_weights

    if Path(name).exists():
        from ..train import load_run

        run = load_run(name)
        return run.model, run.input_shape
    info = models.info(name)
    manual_seed(0)
    model = models.create(name, **info.parse_options(options or {}))
    if weights is not None:
        load_into(model, load_weights(weights))
    return model.eval(), info.input_shape


def load_input(text: str, shape: tuple[int, ...]) -> Any:
    """One input (1, *shape) from ``random``, ``random:SEED``, ``digits:NUMBER``, an .npy file or an image file.

    Images and digits are scaled to 0..1 and resized to ``shape`` (C, H, W).

    >>> load_input("random:3", (1, 8, 8)).shape
    (1, 1, 8, 8)
    """
    from .. import tensor

    kind, _, argument = text.partition(":")
    if kind in ("random", "digits") and argument and not argument.isdigit():
        raise SeeError(f"--input {text}: after {kind}: comes a whole number, as in {kind}:17")
    if kind == "random":
        values = np.random.default_rng(int(argument or 0)).standard_normal((1, *shape))
        return tensor(values, dtype="float32")
    if kind == "digits":
        from ..data import Digits

        digits = np.concatenate([Digits(train=part).data for part in (True, False)])
        number = int(argument or 0)
        if number >= len(digits):
            raise SeeError(f"--input {text}: there are {len(digits)} digits, numbered from 0")
        return _fitted(digits[number].astype(np.float32) / 16, shape)
    path = Path(text)
    if path.suffix == ".npy":
        array = np.load(path, allow_pickle=False)
        array = array if array.ndim == len(shape) + 1 else array[None]
        if array.ndim != len(shape) + 1 or array.dtype.kind not in "fiu":
            raise SeeError(f"{path} holds {array.dtype} {array.shape}; the model takes numbers of shape (N, *{shape})")
        return tensor(array, dtype="float32")
    from ..data import read_image

    return _fitted(read_image(path, "L" if shape[0] == 1 else "RGB").astype(np.float32) / 255, shape)


def _fitted(image: np.ndarray, shape: tuple[int, ...]) -> Any:
    """(C, H, W) at the model's size, as a batch of one."""
    from .. import tensor
    from ..nn.functional import interpolate

    if len(shape) != 3:
        raise SeeError(f"an image cannot become an input of shape {shape}: give an .npy file")
    x = tensor(image[None], dtype="float32")
    if image.shape[0] != shape[0]:
        x = x.expand(1, *shape[:1], *image.shape[1:]) if image.shape[0] == 1 else x.mean(1, True)
    return x if x.shape[1:] == tuple(shape) else interpolate(x, tuple(shape[1:]), mode="bilinear")
