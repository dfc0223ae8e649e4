"""What a trained model says about image files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import from_numpy, no_grad
from ..data import read_image
from ..data import transforms as T
from ..data.sampling import resize
from .run import Run
from .tasks import find_source, tested_input


@dataclass(frozen=True)
class Prediction:
    """The answer for one image: classes and their probabilities, most probable first; whether it was inverted.

    >>> answer = Prediction(Path("7.png"), [("seven", 0.75), ("one", 0.25)], inverted=False)
    >>> answer.ranking[0]
    ('seven', 0.75)
    """

    path: Path
    ranking: list[tuple[str, float]]
    inverted: bool


def predict(run: Run, paths: Sequence[str | Path], *, invert: bool | None = None) -> list[Prediction]:
    """Classify image files of any size and format that Pillow reads.

    They are brought to the input of the model: gray where it wants one channel, fitted into its size.  A model of
    bright drawings on black (digits, MNIST) gets an image with a bright border inverted, unless ``invert`` says so
    or otherwise.  A file that is no image raises DataError, a missing one FileNotFoundError; all are read before
    anything is computed.

    >>> import tempfile
    >>> import minidl.models
    >>> from PIL import Image
    >>> from minidl.train import TrainConfig, load_run, start_run
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = start_run("mlp", TrainConfig(data="digits", epochs=1), Path(folder)).fit(1)
    ...     Image.new("L", (20, 20)).save(f"{folder}/black.png")
    ...     (answer,) = predict(load_run(folder), [f"{folder}/black.png"])
    >>> answer.path.name, len(answer.ranking)
    ('black.png', 10)
    """
    prepared = [prepare_image(path, run, invert, run.settings.test_crops or 1) for path in paths]
    if not prepared:
        return []
    batch = from_numpy(np.stack([image for image, _ in prepared])).to(run.device)  # (N, C, H, W)
    with no_grad():
        probabilities = run.tested.eval()(batch).softmax(1).cpu().numpy()  # (N, classes)
    predictions = []
    for path, (_, inverted), row in zip(paths, prepared, probabilities):
        order = np.argsort(-row, kind="stable")
        predictions.append(Prediction(Path(path), [(run.classes[i], float(row[i])) for i in order], inverted))
    return predictions


def prepare_image(path: str | Path, run: Run, invert: bool | None = None, crops: int = 1) -> tuple[np.ndarray, bool]:
    """An image file of any size as the model's input (C, H, W), and whether black and white were exchanged.

    With ``crops`` 10 it is what :class:`minidl.train.crops.TenCrops` cuts up.
    """
    source = find_source(run.settings.data or "")
    ink = source.ink
    image = read_image(path, "L" if ink else "RGB")
    inverted = _is_bright(image) if invert is None and ink else bool(invert)
    if inverted:
        image = 255 - image
    shape = image.shape
    if ink:
        data_shape = (1, *run.input_shape[1:]) if run.settings.data == "digits" else source.image_shape
        image = _fit(image, data_shape[1:])
        shape = data_shape
    else:
        shape = (shape[0], 0, 0)
    steps = tested_input(shape, run.input_shape, ink, run.normalization, crops)
    return T.Compose(steps)(image).astype(np.float32), inverted


def _is_bright(image: np.ndarray) -> bool:
    """Whether the border of the image is bright, so that it shows dark ink on paper."""
    border = np.concatenate([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], axis=1)
    return float(np.median(border)) > 127


def _fit(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The whole image scaled into ``size`` without distortion, black around it."""
    _, h, w = image.shape
    p, q = size
    scale = min(p / h, q / w)
    inner = max(1, min(p, round(h * scale))), max(1, min(q, round(w * scale)))
    small = resize(image, inner)
    top, left = (p - inner[0]) // 2, (q - inner[1]) // 2
    return np.pad(small, ((0, 0), (top, p - inner[0] - top), (left, q - inner[1] - left)))
