"""Several looks at one image, whose answers are averaged: crops, mirror images, scales, or all places at once.

| | views | source |
|---|---|---|
| ``Views()`` | the centre | |
| ``Views(crops=10)`` | corners and centre, mirrored | Krizhevsky et al. 2012, section 4.1 |
| ``Views(crops=144)`` | 4 scales, 3 squares, 6 crops, mirrored | Szegedy et al. 2014, arXiv:1409.4842, section 7 |
| ``Views(dense=True)`` | every crop at the network's stride, by convolution | Sermanet et al. 2014; VGG, section 3.2 |
| ``Views(scales=(256, 384, 512))`` | any of them at several sizes | VGG, section 4.2 |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .errors import PredictError
from .preprocess import Preprocess, centre, cut, resize_exactly

CROPS = (1, 5, 10, 144)


@dataclass(frozen=True)
class Views:
    """Which parts of an image a network sees.

    ``crops`` 1 (the centre), 5 (corners and centre), 10 (these and their mirror images) or 144 (GoogLeNet's).
    ``scales`` are lengths of the shorter side, one after the other, instead of the preprocessing's.  ``dense`` takes
    the whole resized image; the network must be able to (see :func:`minidl.models.to_fully_convolutional`).
    ``mirror`` adds the mirror image of each view.

    >>> views = list(Views(crops=10, scales=(256, 384))(np.zeros((3, 300, 500), np.uint8), Preprocess()))
    >>> len(views), views[0].shape
    (20, (3, 224, 224))
    """

    crops: int = 1
    scales: tuple[int, ...] = ()
    dense: bool = False
    mirror: bool = False

    def __post_init__(self) -> None:
        if self.crops not in CROPS:
            raise PredictError(f"crops is one of {', '.join(map(str, CROPS))}, not {self.crops}")
        if self.dense and self.crops != 1:
            raise PredictError(f"dense evaluation sees the whole image, so it takes no {self.crops} crops")
        if self.scales and min(self.scales) < 1:
            raise PredictError(f"scales are sides in pixels, not {', '.join(map(str, self.scales))}")

    def __call__(self, image: np.ndarray, preprocess: Preprocess) -> Iterator[np.ndarray]:
        """uint8 (C, H, W) -> float32 (C, h, w), one after the other."""
        both = self.mirror or self.crops in (10, 144)
        for part in self._parts(image, preprocess):
            x = preprocess.normalized(part)
            yield x
            if both:
                yield x[:, :, ::-1]

    def _parts(self, image: np.ndarray, preprocess: Preprocess) -> Iterator[np.ndarray]:
        size = preprocess.crop_size
        if self.crops == 144:  # 256, 288, 320 and 352 for crops of 224
            scales = self.scales or tuple(round(max(size) * eighths / 7) for eighths in (8, 9, 10, 11))
            for scale in scales:
                for square in squares(preprocess.resized(image, scale)):
                    yield from five_crops(square, size)
                    yield resize_exactly(square, size, preprocess.interpolation)
            return
        for side in self.scales or (None,):
            resized = preprocess.resized(image, side)
            if self.dense:
                h, w = resized.shape[1:]
                if h < size[0] or w < size[1]:
                    raise PredictError(f"dense evaluation of {h}x{w} pixels: the network needs {size[0]}x{size[1]}")
                yield resized
            elif self.crops == 1:
                yield centre(resized, size)
            else:
                yield from five_crops(resized, size)

    def __str__(self) -> str:
        what = "the whole image" if self.dense else f"{self.crops} crop{'s' if self.crops > 1 else ''}"
        at = f" at {', '.join(map(str, self.scales))}" if self.scales else ""
        return what + at + (", mirrored too" if self.mirror and self.crops < 10 else "")


def five_crops(image: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    """The four corners and the centre of (C, H, W), each (C, *size)."""
    down, right = image.shape[1] - size[0], image.shape[2] - size[1]
    corners = [cut(image, top, left, size) for top in (0, down) for left in (0, right)]
    return [*corners, centre(image, size)]


def squares(image: np.ndarray) -> list[np.ndarray]:
    """Left, middle and right square of a wide image; top, middle and bottom one of a tall image."""
    h, w = image.shape[1:]
    side = min(h, w)
    places = [0, (max(h, w) - side) // 2, max(h, w) - side]
    return [cut(image, 0 if w >= h else p, p if w >= h else 0, (side, side)) for p in places]
