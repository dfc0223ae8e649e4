"""Top-1 and top-5 accuracy on labelled images: folders as ImageNet has them, lists, arrays, data sets by name."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import minidl  # for minidl.models, which is a floor above and loads when it is used

from ..data.errors import DataError
from .classify import Classifier, Ensemble
from .errors import PredictError
from .images import find_images, read_photo, read_text

LABELS = "labels.csv"
_WORDNET = re.compile(r"n\d{8}(?!\d)")


@dataclass(frozen=True)
class Samples:
    """Labelled images: ``items`` are (name, function that gives uint8 (C, H, W)), ``labels`` numbers of classes.

    >>> samples = Samples([("a", lambda: np.zeros((1, 28, 28), np.uint8))], [3])
    >>> len(samples), samples.labels
    (1, [3])
    """

    items: Sequence[tuple[str, Callable[[], np.ndarray]]]
    labels: Sequence[int]

    def __len__(self) -> int:
        return len(self.items)


@dataclass
class Score:
    """How often the right class was among the first ones: ``correct[5]`` times among five.

    ``broken`` are images that could not be read, with the reason; they count neither as right nor as wrong.

    >>> print(Score(8, {1: 6, 5: 8}))
    top-1 75.00 % (6 of 8), top-5 100.00 % (8 of 8)
    """

    count: int
    correct: dict[int, int]
    broken: list[tuple[str, str]] = field(default_factory=list)

    def accuracy(self, k: int = 1) -> float:
        """Share with the right class among the first ``k``, between 0 and 1; NaN of nothing."""
        return self.correct[k] / self.count if self.count else float("nan")

    def __str__(self) -> str:
        shares = (f"top-{k} {self.accuracy(k):.2%} ({n:,} of {self.count:,})" for k, n in self.correct.items())
        return ", ".join(shares).replace("%", " %")


def score(
    classifier: Classifier | Ensemble,
    samples: Samples,
    top: Sequence[int] = (1, 5),
    *,
    progress: Callable[[int], None] | None = None,
) -> Score:
    """Compare the answers with the labels, image by image; ``progress`` is told how many have been read.

    >>> samples = Samples([("a", lambda: np.zeros((1, 28, 28), np.uint8))], [3])
    >>> from minidl.predict import PREPROCESS, Classifier
    >>> lenet = Classifier(minidl.models.lenet_caffe(), PREPROCESS["mnist_caffe"], "0123456789")
    >>> score(lenet, samples, top=(10,)).accuracy(10)
    1.0
    """
    result = Score(0, dict.fromkeys(top, 0))
    labels: list[int] = []

    def images() -> Iterator[np.ndarray]:
        for place, ((name, read), label) in enumerate(zip(samples.items, samples.labels, strict=True)):
            if progress is not None:
                progress(place)
            try:
                image = read()
            except (DataError, OSError) as error:
                result.broken.append((name, str(error)))
                continue
            labels.append(label)
            yield image

    rows = classifier.probabilities(images())  # (N, classes)
    order = np.argsort(-rows, axis=1, kind="stable")
    right = order[:, : max(top)] == np.array(labels, np.int64).reshape(-1, 1)
    result.count = len(rows)
    for k in top:
        result.correct[k] = int(right[:, :k].any(1).sum())
    return result


def load_samples(
    data: str | Path,
    classes: Sequence[str],
    *,
    mode: str = "RGB",
    data_dir: str | Path | None = None,
    download: bool = False,
) -> Samples:
    """Labelled images for networks with these classes.

    ``data`` is the test part of a data set (``"mnist"``, ``"cifar10"``, with its files in ``data_dir``, where
    ``download`` fetches them to), an ``.npz`` file with ``x`` (N, H, W, C), (N, C, H, W) or (N, H, W) of uint8 and
    ``y``, or a folder: with a file ``labels.csv`` whose header names the columns ``file`` and ``label``; or with a
    sub-folder for each class; or with images whose names hold the WordNet number of their class, as ImageNet's do.

    A class is named by its WordNet number, its number in the order of the network, or its name.

    :raises PredictError: no image, no labels, or a label that is no class.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/two.npz", x=np.zeros((2, 28, 28), np.uint8), y=[3, 1])
    ...     samples = load_samples(f"{folder}/two.npz", "0123456789")
    >>> len(samples), list(samples.labels)
    (2, [3, 1])
    """
    from ..train.tasks import SOURCES

    if str(data) in SOURCES:
        dataset, names = SOURCES[str(data)].load(None if data_dir is None else str(data_dir), False, download, ())
        if tuple(names) != tuple(classes):
            raise PredictError(
                f"{data} has other classes than the network: {len(names)}, {names[0]} first, instead of "
                f"{len(classes)}, {classes[0]} first"
            )
        return Samples(_items(data, dataset), [int(label) for label in dataset.targets])
    path = Path(data)
    if path.suffix != ".npz" and not path.is_dir():
        raise PredictError(f"{data} is no folder, no .npz file and none of {', '.join(SOURCES)}")
    samples = _arrays(path, len(classes)) if path.suffix == ".npz" else _folder(path, _Classes(classes), mode)
    if not len(samples):
        raise PredictError(f"{data}: no image with a label")
    return samples


def _items(data: str | Path, dataset: Any) -> list[tuple[str, Callable[[], np.ndarray]]]:
    return [(f"{data} {i}", lambda i=i: dataset[i][0]) for i in range(len(dataset))]  # type: ignore[misc]


def _arrays(path: Path, classes: int) -> Samples:
    from ..io import load_npz

    arrays = load_npz(path)
    if not {"x", "y"} <= set(arrays):
        raise PredictError(f"{path}: needs x (images) and y (labels), but holds {', '.join(arrays) or 'nothing'}")
    x, y = arrays["x"], arrays["y"]
    if x.dtype != np.uint8 or x.ndim not in (3, 4) or y.shape != x.shape[:1]:
        raise PredictError(
            f"{path}: x is uint8 (N, H, W, C), (N, C, H, W) or (N, H, W), y (N,); here x is {x.dtype} {x.shape}, "
            f"y {y.shape}"
        )
    if y.dtype.kind not in "iu":
        raise PredictError(f"{path}: labels are numbers of classes, whole ones, but y is {y.dtype}")
    if y.size and not 0 <= y.min() <= y.max() < classes:
        raise PredictError(f"{path}: labels from {y.min()} to {y.max()} for a network with {classes} classes")
    if x.ndim == 3:
        x = x[:, None]
    elif x.shape[1] not in (1, 3):
        x = x.transpose(0, 3, 1, 2)  # (N, H, W, C) -> (N, C, H, W)
    if x.shape[1] not in (1, 3):
        raise PredictError(f"{path}: images are grey (C = 1) or RGB (C = 3), but x is {arrays['x'].shape}")
    items = [(f"{path} {i}", lambda image=image: image) for i, image in enumerate(x)]
    return Samples(items, y.tolist())  # type: ignore[arg-type]


class _Classes:
    """Finds the number of a class."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.numbers = {}
        imagenet = minidl.models.weights.imagenet_classes()
        if self.names == [name for _, name in imagenet]:
            self.numbers = {number: i for i, (number, _) in enumerate(imagenet)}
        self.repeated = {name for name, times in Counter(self.names).items() if times > 1}

    def find(self, text: str, where: object) -> int:
        if text in self.numbers:
            return self.numbers[text]
        if text in self.repeated:
            raise PredictError(f"{where}: two classes are called {text!r}; use their WordNet numbers")
        if text in self.names:
            return self.names.index(text)
        if text.isdigit() and int(text) < len(self.names):
            return int(text)
        raise PredictError(f"{where}: {text!r} is none of the network's {len(self.names)} classes")


def _folder(folder: Path, classes: _Classes, mode: str) -> Samples:
    pairs = _listed(folder, classes)
    if pairs is None:
        pairs = []
        for path in find_images([folder]):
            inner = path.relative_to(folder).parts
            number = _WORDNET.search(path.name)
            if len(inner) > 1:
                label = classes.find(inner[0], folder)
            elif number is not None and classes.numbers:
                label = classes.find(number[0], path)
            else:
                raise PredictError(
                    f"{path}: no label. A folder has {LABELS} with the columns file and label, a sub-folder for each "
                    "class, or WordNet numbers in the names of its images"
                )
            pairs.append((path, label))
    items = [(str(path), lambda path=path: read_photo(path, mode, upright=False)) for path, _ in pairs]
    return Samples(items, [label for _, label in pairs])  # type: ignore[arg-type]


def _listed(folder: Path, classes: _Classes) -> list[tuple[Path, int]] | None:
    """What labels.csv says, where it has the two columns."""
    path = folder / LABELS
    if not path.is_file():
        return None
    rows = csv.DictReader(io.StringIO(read_text(path)))
    if not {"file", "label"} <= set(rows.fieldnames or ()):
        return None
    pairs = []
    for row in rows:
        if not row["file"] or not row["label"]:
            raise PredictError(f"{path}, line {rows.line_num}: a line needs a file and a label")
        pairs.append((folder / row["file"], classes.find(row["label"], f"{path}, {row['file']}")))
    return pairs
