"""What the words of the commands mean: models, and inputs as those models take them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import Device, usable
from .errors import SeeError
from .trace import Trace, trace


@dataclass(frozen=True)
class Subject:
    """A model in evaluation mode and what it takes; ``run`` where it comes from the folder of a training run."""

    model: Any
    input_shape: tuple[int, ...]
    run: Any = None
    device: str | Device = "cpu"  # where the model computes

    def input(self, text: str) -> tuple[Any, int | None]:
        """One input (1, C, H, W) as ``--input`` names it, and its class if that is known.

        ``random`` or ``random:SEED``, ``digits:NUMBER`` (of the digits' test part), ``test:NUMBER`` or
        ``train:NUMBER`` (of the data that a run learnt from), an .npy file or an image file.  The model of a run gets
        images as it got them in training; for others they are scaled to 0..1 and brought to the input's size.

        >>> from minidl.see.inputs import open_model
        >>> x, label = open_model("lenet5").input("digits:3")
        >>> x.shape, label
        ((1, 1, 32, 32), 1)
        """
        kind, _, argument = text.partition(":")
        if kind == "random":
            values = np.random.default_rng(_whole(text, argument)).standard_normal((1, *self.input_shape))
            return _batch(values), None
        if kind in ("digits", "test", "train"):
            return self._example(text, kind, _whole(text, argument))
        path = Path(text)
        if path.suffix == ".npy":
            return self._array(path), None
        return self._image(path), None

    def trace(self, x: Any, target: int | None = None, *, keep_values: bool = True) -> Trace:
        """Run the model on ``x``; with the number of a class also back, from the :func:`cross_entropy` with it.

        SeeError where input or class do not suit the model.

        >>> from minidl.see.inputs import open_model
        >>> net = open_model("lenet5")
        >>> net.trace(net.input("random:0")[0], 3).loss_name
        'cross_entropy'
        """
        from .. import tensor

        x = x.to(self.device)
        question: dict[str, Any] = {}
        if target is not None:
            question = {"target": tensor([target] * len(x), device=self.device), "loss": cross_entropy}
        try:
            return trace(self.model, x, **question, keep_values=keep_values)
        except ValueError as error:
            if type(error).__module__.partition(".")[0] == "minidl":
                raise
            wanted = "" if target is None else f" and class {target}"
            raise SeeError(f"this network does not run on an input of shape {x.shape}{wanted}: {error}") from error

    def part(self, kind: str, option: str, instead: str = "digits") -> Any:
        """The data set ``digits`` (its test part), ``test`` or ``train``, as inputs: pairs of an image and its class.

        ``option`` said so; an error about it shows ``instead``.
        """
        from ..train import load_task
        from ..train.normalization import Normalization

        if self.run is None and kind != "digits":
            raise SeeError(f"{option}: only the folder of a training run knows its data; give {instead}")
        channels = self.input_shape[0]
        data, folder, values = "digits", None, Normalization("colours", (0.0,) * channels, (1.0,) * channels)
        if self.run is not None:
            values = self.run.normalization
            if kind != "digits":
                data, folder = self.run.settings.data, self.run.settings.data_dir
        task = load_task(data, self.input_shape, data_dir=folder, normalize=values)
        return task.train if kind == "train" else task.test

    def _example(self, text: str, kind: str, number: int) -> tuple[Any, int]:
        part = self.part(kind, f"--input {text}", f"digits:{number}")
        if number >= len(part):
            raise SeeError(f"--input {text}: there are {len(part)} images, numbered from 0")
        image, label = part[number]
        return _batch(np.asarray(image)[None]), int(label)

    def _array(self, path: Path) -> Any:
        try:
            array = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise SeeError(f"{path} is not an .npy file of numbers: {error}") from error
        array = array if array.ndim == len(self.input_shape) + 1 else array[None]
        if array.ndim != len(self.input_shape) + 1 or array.dtype.kind not in "fiu":
            raise SeeError(
                f"{path} holds {array.dtype} {array.shape}; the model takes numbers of shape (N, *{self.input_shape})"
            )
        if not array.size:
            raise SeeError(f"{path} holds no input: its shape is {array.shape}")
        return _batch(array)

    def _image(self, path: Path) -> Any:
        from ..data import read_image
        from ..nn.functional import interpolate
        from ..train.answers import prepare_image

        if self.run is not None:
            return _batch(prepare_image(path, self.run)[0][None])
        shape = self.input_shape
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise SeeError(f"an image cannot become an input of shape {shape}: give an .npy file")
        x = _batch(read_image(path, "L" if shape[0] == 1 else "RGB")[None] / np.float32(255))
        return x if x.shape[1:] == shape else interpolate(x, shape[1:], mode="bilinear")


def cross_entropy(outputs: Any, target: Any) -> Any:
    """The loss of a question: of scores (N, C), of scores (N, C, *) with one class for all positions, or of several
    heads as in training."""
    from ..nn import functional
    from ..train.losses import total_loss

    def of(scores: Any, target: Any) -> Any:
        everywhere = target.reshape(-1, *(1,) * (scores.ndim - 2)).expand(-1, *scores.shape[2:])
        return functional.cross_entropy(scores, target if scores.ndim == 2 else everywhere)

    return total_loss(of, outputs, target)[0]


def open_model(
    name: str | Path,
    weights: str | Path | None = None,
    options: dict[str, Any] | None = None,
    device: str | Device = "cpu",
) -> Subject:
    """A model of the zoo, or that of a folder of a training run, on ``device``.

    ``weights`` is a file that ``minidl.io.load_weights`` reads.  Without one the parameters are random, from seed 0.
    """
    from .. import manual_seed, models
    from ..io import load_into, load_weights
    from ..nn.utils import skip_init

    target, run = usable(device), None
    if Path(name).exists():
        from ..train import load_run

        run = load_run(name)
        model, shape = run.model, run.input_shape
    else:
        info = models.info(str(name))
        manual_seed(0)
        with nullcontext() if weights is None else skip_init():  # do not draw what the file replaces
            model, shape = models.create(str(name), **info.parse_options(options or {})), info.input_shape
    if weights is not None:
        load_into(model, load_weights(weights))
    return Subject(model.to(target).eval(), tuple(shape), run, target)


def _whole(text: str, argument: str) -> int:
    if argument and not argument.isdigit():
        kind = text.partition(":")[0]
        raise SeeError(f"--input {text}: after {kind}: comes a whole number, as in {kind}:17")
    return int(argument or 0)


def _batch(values: np.ndarray) -> Any:
    from .. import tensor

    return tensor(values, dtype="float32")
