"""How the values of images are brought to what a network learns from, by what was measured on the training images."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data import transforms as T
from ..data.dataset import fetch_batch
from .errors import TrainingError

Statistics = tuple[Sequence[float], Sequence[float]]

# mean and deviation that take 0 to -0.1 and 1 to 1.175: LeCun et al. 1998, section II.B
_PAPER_INK = (0.1 / 1.275, 1 / 1.275)
_CONTRAST = 55.0  # and eps 0.1: Goodfellow et al. 2013, see T.GlobalContrastNormalization and T.ZCAWhitening


@dataclass(frozen=True)
class Normalization:
    """``name`` is a setting of :class:`TrainConfig`; mean and deviation a channel, and arrays, are what was measured.

    >>> Normalization("colours", (0.5,), (0.25,)).transforms
    [Normalize(mean=[0.5], std=[0.25])]
    """

    name: str
    mean: Sequence[float]
    std: Sequence[float]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...] | None:
        """(C, H, W) of the images that it was measured on, where it is for no others."""
        return self.arrays["mean"].shape if self.arrays else None

    @property
    def centred(self) -> bool:
        """Whether 0 then is what a pixel is like on average, so that images are moved afterwards, over zeros."""
        return bool(self.arrays)

    @functools.cached_property
    def transforms(self) -> list[T.Transform]:
        """From floats in [0, 1] to the values that the network gets."""
        if self.name == "mean_image":
            return [T.SubtractMeanImage(self.arrays["mean"])]
        if self.name == "mean_photo":
            return [T.SubtractMeanImage(self.arrays["mean"]), T.Normalize(0.0, 1 / 255)]
        if self.name == "whiten":
            whiten = T.ZCAWhitening(self.arrays["matrix"], self.arrays["mean"].reshape(-1))
            return [T.GlobalContrastNormalization(_CONTRAST), whiten]
        return [T.Normalize(self.mean, self.std)]


def fit_normalization(name: str, dataset: Any, statistics: Statistics | None = None) -> Normalization:
    """Measure on a data set of floats in [0, 1] what the normalisation called ``name`` needs.

    ``statistics``, of colours, are taken as they are.  A name that there is not, and images that are too large to be
    whitened, raise TrainingError.

    >>> fit_normalization("mean_image", [(np.zeros((1, 1, 1)), 0), (np.ones((1, 1, 1)), 1)]).arrays
    {'mean': array([[[0.5]]], dtype=float32)}
    """
    if name == "colours":
        return Normalization(name, *(statistics or measure(dataset)))
    if name == "paper_ink":
        mean, std = ((value,) * dataset[0][0].shape[0] for value in _PAPER_INK)
        return Normalization(name, mean, std)
    everything = np.arange(len(dataset))
    shape = dataset[0][0].shape
    neutral = (0.0,) * shape[0], (1.0,) * shape[0]
    if name == "mean_image":
        return Normalization(name, *neutral, {"mean": T.SubtractMeanImage.fit(_batches(dataset, everything)).mean})
    if name == "mean_photo":
        some = _batches(dataset, _evenly(len(dataset)))
        return Normalization(name, *neutral, {"mean": T.SubtractMeanImage.fit(some).mean})
    if name != "whiten":
        raise TrainingError(f"--normalize is colours, mean_image, mean_photo, whiten or paper_ink, not {name}")
    contrast = T.GlobalContrastNormalization(_CONTRAST)
    try:
        zca = T.ZCAWhitening.fit(contrast.batch(batch, ()) for batch in _batches(dataset, everything))
    except ValueError as error:  # too large
        raise TrainingError(f"--normalize whiten: {error}") from error
    return Normalization(name, *neutral, {"mean": zca.mean_vector.reshape(shape), "matrix": zca.transformation_matrix})


def _batches(dataset: Any, indices: np.ndarray) -> Iterator[np.ndarray]:
    """The images (N, C, H, W) of these numbers, some at a time: at most 256, and of large ones fewer."""
    most = max(1, min(256, (1 << 24) // max(1, np.asarray(dataset[0][0]).size)))
    for chunk in np.array_split(indices, -(-len(indices) // most)):
        batch = fetch_batch(dataset, chunk, ())
        yield np.stack([dataset[i][0] for i in chunk]) if batch is None else batch[0]


_ENOUGH = 20_000  # images to measure mean and deviation on


def _evenly(count: int) -> np.ndarray:
    """The numbers of at most 20,000 of so many images, spread evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, _ENOUGH)).astype(int))


def measure(dataset: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation a channel, over at most 20,000 images spread evenly over the data set.

    >>> measure([(np.array([[[0.0, 1.0]]]), 0), (np.array([[[1.0, 0.0]]]), 0)])
    ((0.5,), (0.5,))
    """
    total: Any = 0.0
    squares: Any = 0.0
    pixels = 0
    for batch in _batches(dataset, _evenly(len(dataset))):
        images = batch.astype(np.float64)  # (N, C, H, W)
        total = total + images.sum((0, 2, 3))
        squares = squares + (images * images).sum((0, 2, 3))
        pixels += images[:, 0].size
    mean = total / pixels
    std = np.sqrt(np.maximum(squares / pixels - mean * mean, 0))
    return tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist())
