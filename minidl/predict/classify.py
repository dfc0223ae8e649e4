"""Probabilities of the classes for images: by one network with its preprocessing and views, or by several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

import minidl

from .errors import PredictError
from .preprocess import Preprocess
from .views import Views

if TYPE_CHECKING:
    from ..nn import Module
    from .load import Choice

Ranking = list[tuple[str, float]]


class Classifier:
    """A network, how it wants its images, the names of its classes, and how it looks at an image.

    The answer to an image is the mean of the probabilities of all its views.  ``batch_size`` is how many views are
    computed together, on ``device`` ("cpu", "cuda", "cuda:1").  With ``Views(dense=True)`` the fully connected layers
    of AlexNet, ZFNet and VGG become convolutions; the map of scores is averaged before the softmax (VGG, section 3.2).

    >>> from minidl import models
    >>> from minidl.predict import PREPROCESS
    >>> lenet = Classifier(models.lenet_caffe(), PREPROCESS["mnist_caffe"], "0123456789")
    >>> lenet.probabilities([np.zeros((1, 28, 28), np.uint8)] * 3).shape
    (3, 10)
    """

    def __init__(
        self,
        model: Module,
        preprocess: Preprocess,
        classes: Sequence[str],
        views: Views = Views(),  # noqa: B008 (it cannot change)
        *,
        name: str = "",
        batch_size: int = 16,
        device: str = "cpu",
    ) -> None:
        from ..models import to_fully_convolutional
        from ..models._convnet import ConvNet

        self.device = minidl.device(device)
        self.model = model.to(self.device).eval()
        self.preprocess, self.views, self.batch_size = preprocess, views, batch_size
        self.classes = tuple(classes)
        self.name = name or type(model).__name__
        self._network = to_fully_convolutional(model) if views.dense and isinstance(model, ConvNet) else self.model

    @property
    def mode(self) -> str:
        """The colours in which images are read: "RGB" or "L"."""
        return self.preprocess.mode

    def probabilities(self, images: Iterable[np.ndarray]) -> np.ndarray:
        """uint8 images (C, H, W) of any sizes -> float64 (N, classes), each row with the sum 1."""
        sums: list[np.ndarray] = []
        waiting: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = defaultdict(list)  # by the shape of the view
        views = 0
        for index, image in enumerate(images):
            sums.append(np.zeros(len(self.classes)))
            for x in self.views(image, self.preprocess):
                waiting[x.shape].append((index, x))
                views += 1
                if views % self.batch_size == 0:
                    self._compute(waiting, sums)
        self._compute(waiting, sums)
        if not sums:
            return np.zeros((0, len(self.classes)))
        total = np.array(sums)
        return total / total.sum(1, keepdims=True)  # each view adds 1

    def _compute(self, waiting: dict[tuple[int, ...], list[tuple[int, np.ndarray]]], sums: list[np.ndarray]) -> None:
        for pairs in waiting.values():
            for (index, _), row in zip(pairs, self._softmax(np.stack([x for _, x in pairs])), strict=True):
                sums[index] += row
        waiting.clear()

    def _softmax(self, batch: np.ndarray) -> np.ndarray:
        """(N, C, h, w) -> float64 (N, classes)."""
        with minidl.no_grad():
            scores: Any = self._network(minidl.from_numpy(batch).to(self.device))
            if scores.ndim == 4:  # (N, classes, P, Q), one vector of scores for each place
                scores = scores.mean((2, 3))
            rows = scores.softmax(1).cpu().numpy().astype(np.float64)
        if rows.shape[1] != len(self.classes):
            raise PredictError(
                f"{self.name} gives {rows.shape[1]} scores, but there are names of {len(self.classes)} classes"
            )
        return rows

    def __str__(self) -> str:
        return f"{self.name}: {self.preprocess}; {self.views}"


class Ensemble:
    """Several classifiers with the same classes; the answer is the mean of their probabilities.

    >>> from minidl import models
    >>> from minidl.predict import PREPROCESS
    >>> two = [Classifier(models.lenet_caffe(), PREPROCESS["mnist_caffe"], "0123456789") for _ in range(2)]
    >>> Ensemble(two).probabilities([np.zeros((1, 28, 28), np.uint8)] * 3).shape
    (3, 10)
    """

    def __init__(self, members: Sequence[Classifier]) -> None:
        if not members:
            raise PredictError("an ensemble needs one network at least")
        check_alike(members)
        self.members = list(members)
        self.classes, self.mode = members[0].classes, members[0].mode

    def probabilities(self, images: Iterable[np.ndarray]) -> np.ndarray:
        """uint8 images (C, H, W) of any sizes -> float64 (N, classes)."""
        rows = [
            np.mean([member.probabilities(chunk) for member in self.members], axis=0)
            for chunk in _chunks(images, max(member.batch_size for member in self.members))
        ]
        return np.concatenate([np.zeros((0, len(self.classes))), *rows])

    def __str__(self) -> str:
        return "\n".join(map(str, self.members))


def check_alike(members: Sequence[Classifier | Choice]) -> None:
    """PredictError where networks have different classes, or read different colours: their answers have no mean."""
    for member in members[1:]:
        first = members[0]
        if member.classes != first.classes:
            ours, theirs = first.classes or (), member.classes or ()
            different = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), None)
            what = (
                f"{len(ours)} and {len(theirs)} classes"
                if different is None
                else f"class {different} is {ours[different]!r} and {theirs[different]!r}"
            )
            raise PredictError(f"{first.name} and {member.name} have different classes, so no mean: {what}")
        if member.mode != first.mode:
            raise PredictError(f"{first.name} reads {first.mode} images and {member.name} {member.mode}")


def _chunks(images: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    source = iter(images)
    while chunk := list(islice(source, size)):
        yield chunk


def rank(probabilities: np.ndarray, classes: Sequence[str], top: int = 5) -> Ranking:
    """The most probable classes of one row, first the most probable; equal ones in their order.

    >>> rank(np.array([0.2, 0.5, 0.3]), ["a", "b", "c"], 2)
    [('b', 0.5), ('c', 0.3)]
    """
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [(classes[i], float(probabilities[i])) for i in order]
