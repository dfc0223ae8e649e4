"""Transforms that change values and leave pixels where they are: colour jitter and erased patches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._geometric import _check_probability, _pair, _span
from ._transform import Transform
from .sampling import restore_dtype, working_dtype

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def grayscale(image: np.ndarray) -> np.ndarray:
    """Luma (1, H, W) of a float image (3, H, W), after ITU-R BT.601; an image (1, H, W) is its own."""
    if image.shape[0] == 1:
        return image
    return np.tensordot(_LUMA.astype(image.dtype), image, axes=1)[None]


def rotate_hue(image: np.ndarray, turn: float) -> np.ndarray:
    """The hue of a float image (3, H, W) in [0, 1] turned by ``turn`` rounds (1/3 takes red to green).

    Value and saturation (of the HSV hexcone; Smith, SIGGRAPH 1978) stay.

    >>> import numpy as np
    >>> rotate_hue(np.array([1.0, 0.0, 0.0]).reshape(3, 1, 1), 1 / 3).ravel().tolist()
    [0.0, 1.0, 0.0]
    """
    r, g, b = image
    value = image.max(axis=0)  # (H, W)
    chroma = value - image.min(axis=0)
    safe = np.where(chroma > 0, chroma, 1)
    # position on the hexagon in [0, 6): red 0, green 2, blue 4
    hue = np.where(value == r, (g - b) / safe % 6, np.where(value == g, (b - r) / safe + 2, (r - g) / safe + 4))
    hue = hue + 6 * turn
    out = np.empty_like(image)
    for channel, shift in enumerate((5, 3, 1)):
        k = (hue + shift) % 6
        out[channel] = value - chroma * np.clip(np.minimum(k, 4 - k), 0, 1)
    return out


class ColorJitter(Transform):
    """Brightness, contrast, saturation and hue changed at random, in random order; shape and dtype kept.

    Each of ``brightness``, ``contrast``, ``saturation`` is a number v for a factor in [max(0, 1 - v), 1 + v], or
    (low, high); ``hue`` is a number v <= 1/2 for a turn in [-v, v], or (low, high). Works on uint8 images and on
    floats in [0, 1] (before Normalize), with C = 3, or C = 1, where saturation and hue mean nothing. The mean
    that contrast keeps is the one of the luma.

    >>> import numpy as np
    >>> image = np.array([10, 100, 200], np.uint8).reshape(3, 1, 1)
    >>> ColorJitter(brightness=(0.5, 0.5))(image, np.random.default_rng(0)).ravel().tolist()
    [5, 50, 100]
    """

    random = True

    def __init__(
        self,
        brightness: float | Sequence[float] = 0.0,
        contrast: float | Sequence[float] = 0.0,
        saturation: float | Sequence[float] = 0.0,
        hue: float | Sequence[float] = 0.0,
    ) -> None:
        self.brightness = self._factor(brightness, "brightness")
        self.contrast = self._factor(contrast, "contrast")
        self.saturation = self._factor(saturation, "saturation")
        self.hue = _span(hue, "hue")
        if self.hue[0] < -0.5 or self.hue[1] > 0.5:
            raise ValueError(f"hue is a turn between -0.5 and 0.5 (half a round either way), got {self.hue}")

    @staticmethod
    def _factor(value: float | Sequence[float], name: str) -> tuple[float, float]:
        low, high = _span(value, name, around=1.0)
        if isinstance(value, (int, float, np.number)):
            low = max(0.0, low)
        if low < 0:
            raise ValueError(f"{name} is a factor >= 0, got ({low}, {high})")
        return low, high

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[list[int], list[float]]:
        order = rng.permutation(4).tolist()
        spans = (self.brightness, self.contrast, self.saturation, self.hue)
        return order, [rng.uniform(*span) for span in spans]

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        if images.shape[1] not in (1, 3):
            raise ValueError(
                f"ColorJitter works on C = 1 or C = 3 channels, got an image (C, H, W) = {images.shape[1:]}; "
                "are the channels last? Then image.transpose(2, 0, 1)"
            )
        whole = images.dtype.kind in "ui"
        top = np.iinfo(images.dtype).max if whole else 1
        if not whole and images.size and not (images.min() >= 0 and images.max() <= 1):
            raise ValueError(
                f"ColorJitter works on floats in [0, 1], got values from {images.min():.4g} to {images.max():.4g}; "
                "put it before Normalize"
            )
        out = images.astype(working_dtype(images.dtype))
        out /= top
        for n, (order, factors) in enumerate(drawn):
            for which in order:
                out[n] = self._adjust(out[n], which, factors[which])
        out *= top
        return restore_dtype(out, images.dtype)

    @staticmethod
    def _adjust(image: np.ndarray, which: int, factor: float) -> np.ndarray:
        if which == 3:
            return rotate_hue(image, factor) if factor != 0 and image.shape[0] == 3 else image
        if factor == 1:
            return image
        # the other three blend the image with black, with its mean grey, and with its own grey
        towards: Any = 0
        if which == 1:
            towards = grayscale(image).mean()
        elif which == 2:
            towards = grayscale(image)
        return np.clip(factor * image + (1 - factor) * towards, 0, 1)


# Covariance of the colours of ImageNet in [0, 1]: variances along its axes, and the axes (columns; rows R, G, B), as
# published with Facebook's ResNet for Torch
_IMAGENET_VARIANCES = (0.2175, 0.0188, 0.0045)
_IMAGENET_AXES = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


class PCAColorJitter(Transform):
    """A random amount of each principal colour added to all pixels; shape and dtype kept, C = 3.

    The amounts are N(0, ``std``^2) times ``scales``, along ``axes`` (columns; rows R, G, B): what light of another
    colour and strength does (Krizhevsky et al. 2012, section 4.1, there with std 0.1). Scales and axes are those of
    ImageNet's colours in [0, 1]; :meth:`fit` measures those of other images. Floats in [0, 1] may leave it; whole
    numbers are clipped.

    >>> import numpy as np
    >>> image = np.full((3, 1, 2), 0.5)
    >>> PCAColorJitter(0.0)(image, np.random.default_rng(0)).ravel().tolist()
    [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    """

    random = True

    def __init__(
        self,
        std: float = 0.1,
        scales: Sequence[float] = _IMAGENET_VARIANCES,
        axes: Sequence[Sequence[float]] = _IMAGENET_AXES,
    ) -> None:
        if std < 0:
            raise ValueError(f"std of the amounts must be >= 0, got {std}")
        self.std, self.scales, self.axes = float(std), tuple(scales), tuple(tuple(row) for row in axes)

    @classmethod
    def fit(cls, images: np.ndarray, std: float = 0.1) -> PCAColorJitter:
        """With the colours of ``images`` (N, 3, H, W): uint8, or floats in [0, 1]."""
        top = np.iinfo(images.dtype).max if images.dtype.kind in "ui" else 1
        pixels = np.moveaxis(images, 1, 0).reshape(3, -1) / top  # (3, N H W)
        scales, axes = np.linalg.eigh(np.cov(pixels))
        return cls(std, scales[::-1].tolist(), axes[:, ::-1].tolist())

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> list[float]:
        return (rng.standard_normal(3) * self.std).tolist()

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        if images.shape[1] != 3:
            raise ValueError(
                f"PCAColorJitter works on C = 3 channels, got an image (C, H, W) = {images.shape[1:]}; are the "
                "channels last? Then image.transpose(2, 0, 1)"
            )
        work = working_dtype(images.dtype)
        top = np.iinfo(images.dtype).max if images.dtype.kind in "ui" else 1
        amounts = np.array(drawn, np.float64).reshape(-1, 3) * self.scales  # (N, 3)
        light = top * (amounts[:, None] * np.array(self.axes)).sum(2)  # (N, 3): of R, G, B
        return restore_dtype(images.astype(work) + light.astype(work)[:, :, None, None], images.dtype)


def _erase(images: np.ndarray, boxes: list[Any], value: Any) -> np.ndarray:
    """Overwrite box (top, bottom, left, right) of each image; ``None`` leaves the image as it is."""
    out = images.copy()
    value = np.asarray(value, images.dtype).reshape(-1, 1, 1)  # (C or 1, 1, 1)
    for n, box in enumerate(boxes):
        if box is not None:
            top, bottom, left, right = box
            out[n, :, top:bottom, left:right] = value
    return out


class Cutout(Transform):
    """A square patch set to ``fill``; its centre is any pixel, so it may stick out (DeVries and Taylor 2017).

    ``size`` is the side in pixels, or (height, width). Shape and dtype kept.

    >>> import numpy as np
    >>> Cutout(9)(np.ones((1, 2, 2)), np.random.default_rng(0)).sum()
    np.float64(0.0)
    """

    random = True

    def __init__(self, size: int | Sequence[int], fill: float | Sequence[float] = 0) -> None:
        self.size = _pair(size, "size")
        self.fill = fill

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        _, h, w = shape
        top = int(rng.integers(h)) - self.size[0] // 2
        left = int(rng.integers(w)) - self.size[1] // 2
        return max(0, top), min(h, top + self.size[0]), max(0, left), min(w, left + self.size[1])

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        return _erase(images, drawn, self.fill)


class RandomErasing(Transform):
    """With probability ``p`` a rectangle inside the image is set to ``value`` (Zhong et al., AAAI 2020).

    Its area is ``scale`` of the image's, its height to width ratio in ``ratio`` (uniform in its logarithm);
    after ten draws that do not fit, nothing is erased. ``value`` is a number or one per channel. Shape and
    dtype kept.

    >>> import numpy as np
    >>> erase = RandomErasing(p=1.0, scale=(0.25, 0.25), ratio=(1.0, 1.0))
    >>> erase(np.ones((1, 4, 4)), np.random.default_rng(0)).sum()  # 16 pixels less 4
    np.float64(12.0)
    """

    random = True

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: float | Sequence[float] = 0,
    ) -> None:
        self.p = _check_probability(p)
        self.scale, self.ratio = _span(scale, "scale"), _span(ratio, "ratio")
        if self.scale[0] <= 0 or self.ratio[0] <= 0:
            raise ValueError(f"scale and ratio must be > 0, got scale={self.scale}, ratio={self.ratio}")
        self.value = value

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
        if rng.random() >= self.p:
            return None
        _, h, w = shape
        for _ in range(10):
            area = h * w * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            p, q = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < p <= h and 0 < q <= w:
                top, left = int(rng.integers(h - p + 1)), int(rng.integers(w - q + 1))
                return top, top + p, left, left + q
        return None

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        return _erase(images, drawn, self.value)
