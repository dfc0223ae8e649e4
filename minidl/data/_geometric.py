"""Transforms that move pixels: flips, crops, padding, resizing, rotation and the other affine maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._transform import Transform
from .sampling import resize, restore_dtype, sample_bilinear

_PAD_MODES = ("constant", "edge", "reflect", "symmetric")


def _pair(size: int | Sequence[int], name: str) -> tuple[int, int]:
    """(height, width) from one number or two."""
    values = (size, size) if isinstance(size, (int, np.integer)) else tuple(size)
    if len(values) != 2 or min(values) < 1:
        raise ValueError(f"{name} is one side or (height, width), each >= 1, got {size!r}")
    return int(values[0]), int(values[1])


def _span(value: float | Sequence[float], name: str, around: float = 0.0) -> tuple[float, float]:
    """(low, high) from one number (around - v, around + v) or from two numbers."""
    if isinstance(value, (int, float, np.number)):
        if value < 0:
            raise ValueError(f"{name} as one number must be >= 0, got {value}; give (low, high) instead")
        return around - float(value), around + float(value)
    low, high = (float(v) for v in value)
    if low > high:
        raise ValueError(f"{name} is (low, high) with low <= high, got ({low}, {high})")
    return low, high


def _check_probability(p: float) -> float:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"p is a probability between 0 and 1, got {p}")
    return float(p)


class _RandomFlip(Transform):
    random = True
    _axis = 0

    def __init__(self, p: float = 0.5) -> None:
        self.p = _check_probability(p)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> bool:
        return bool(rng.random() < self.p)

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        out = images.copy()
        chosen = np.flatnonzero(drawn)
        out[chosen] = np.flip(images[chosen], axis=self._axis)
        return out


class RandomHorizontalFlip(_RandomFlip):
    """Left and right exchanged with probability ``p``; image (C, H, W), any dtype.

    >>> import numpy as np
    >>> RandomHorizontalFlip(p=1.0)(np.array([[[1, 2, 3]]]), np.random.default_rng(0))
    array([[[3, 2, 1]]])
    """

    _axis = 3


class RandomVerticalFlip(_RandomFlip):
    """Top and bottom exchanged with probability ``p``; image (C, H, W), any dtype.

    >>> import numpy as np
    >>> RandomVerticalFlip(p=1.0)(np.array([[[1], [2]]]), np.random.default_rng(0))
    array([[[2],
            [1]]])
    """

    _axis = 2


class Pad(Transform):
    """Border around the image: (C, H, W) to (C, H + top + bottom, W + left + right).

    ``padding`` as in torchvision: one number, (left and right, top and bottom) or (left, top, right, bottom).
    ``padding_mode``: ``constant`` (with ``fill``), ``edge``, ``reflect`` or ``symmetric``.

    >>> import numpy as np
    >>> Pad((1, 0), fill=9)(np.array([[[1, 2]]]))
    array([[[9, 1, 2, 9]]])
    """

    def __init__(self, padding: int | Sequence[int], fill: float = 0, padding_mode: str = "constant") -> None:
        if padding_mode not in _PAD_MODES:
            raise ValueError(f"padding_mode is one of {', '.join(_PAD_MODES)}, got {padding_mode!r}")
        values = (padding,) if isinstance(padding, (int, np.integer)) else tuple(padding)
        if len(values) not in (1, 2, 4) or min(values) < 0:
            raise ValueError(
                "padding is one number, (left and right, top and bottom) or (left, top, right, bottom), "
                f"each >= 0, got {padding!r}"
            )
        # 1, 2 or 4 numbers in torchvision's order, repeated to left, top, right, bottom
        left, top, right, bottom = (int(v) for v in values * (4 // len(values)))
        self.padding = (left, top, right, bottom)
        self.fill, self.padding_mode = fill, padding_mode

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        left, top, right, bottom = self.padding
        frame = ((0, 0), (0, 0), (top, bottom), (left, right))
        if self.padding_mode == "constant":
            return np.pad(images, frame, constant_values=self.fill)
        return np.pad(images, frame, mode=self.padding_mode)  # type: ignore[call-overload]


def _check_crop(name: str, size: tuple[int, int], shape: tuple[int, ...]) -> None:
    h, w = shape[-2:]
    if size[0] > h or size[1] > w:
        raise ValueError(
            f"{name} of height x width = {size[0]} x {size[1]} is larger than the image, H x W = {h} x {w}; "
            f"put Pad or Resize before it, or ask for at most {min(size[0], h)} x {min(size[1], w)}"
        )


class CenterCrop(Transform):
    """The middle of the image, (C, H, W) to (C, height, width).

    An odd difference leaves the extra row or column at the bottom or the right. A crop larger than the image is
    an error, not (as in torchvision) a black border that nobody asked for.

    >>> import numpy as np
    >>> CenterCrop((1, 2))(np.arange(12).reshape(1, 3, 4))
    array([[[5, 6]]])
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = _pair(size, "size")

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        _check_crop("CenterCrop", self.size, images.shape)
        (p, q), (h, w) = self.size, images.shape[2:]
        top, left = (h - p) // 2, (w - q) // 2
        return images[:, :, top : top + p, left : left + q].copy()


def _crop_each(images: np.ndarray, corners: list[tuple[int, int]], size: tuple[int, int]) -> np.ndarray:
    """Crop (N, C, H, W) to (N, C, P, Q), image n with its top left corner at ``corners[n]``."""
    windows = np.lib.stride_tricks.sliding_window_view(images, size, axis=(2, 3))  # (N, C, H-P+1, W-Q+1, P, Q)
    top, left = np.array(corners, np.intp).reshape(-1, 2).T
    return windows[np.arange(len(images)), :, top, left]  # (N, C, P, Q)


class RandomCrop(Transform):
    """A window of ``size`` at a random place, after padding: (C, H, W) to (C, height, width).

    With ``padding=4`` the usual augmentation of CIFAR (He et al. 2016, section 4.2).

    >>> import numpy as np
    >>> image = np.arange(9).reshape(1, 3, 3)
    >>> RandomCrop(2)(image, np.random.default_rng(3)).shape
    (1, 2, 2)
    """

    random = True

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        fill: float = 0,
        padding_mode: str = "constant",
    ) -> None:
        self.size = _pair(size, "size")
        self.padding = Pad(0 if padding is None else padding, fill, padding_mode)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[int, int]:
        left, top, right, bottom = self.padding.padding
        padded = (shape[0], shape[1] + top + bottom, shape[2] + left + right)
        _check_crop("RandomCrop", self.size, padded)
        rows, columns = padded[1] - self.size[0], padded[2] - self.size[1]
        return int(rng.integers(rows + 1)), int(rng.integers(columns + 1))

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        return _crop_each(self.padding.apply(images, []), drawn, self.size)


class RandomFiveCrop(Transform):
    """One of five windows of ``size``, the corners and the centre, each as likely: (C, H, W) to (C, height, width).

    Zeiler and Fergus 2014, section 3, who trained with these and their mirror images.

    >>> import numpy as np
    >>> RandomFiveCrop((1, 2)).apply(np.arange(12).reshape(1, 1, 3, 4), [1])  # the top right corner
    array([[[[2, 3]]]])
    """

    random = True

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = _pair(size, "size")

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> int:
        _check_crop("RandomFiveCrop", self.size, shape)
        return int(rng.integers(5))

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        down, right = (have - want for have, want in zip(images.shape[2:], self.size))
        corners = ((0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2))
        return _crop_each(images, [corners[i] for i in drawn], self.size)


class RandomTranslate(Transform):
    """The image shifted by whole pixels, up to ``shift`` = s or (vertical, horizontal) each way; shape kept.

    >>> import numpy as np
    >>> image = np.array([[[1, 2, 3]]])
    >>> RandomTranslate((0, 1)).apply(image[None], [(0, 1)])  # what a draw of one pixel to the right gives
    array([[[[0, 1, 2]]]])
    """

    random = True

    def __init__(self, shift: int | Sequence[int], fill: float = 0) -> None:
        values = (shift, shift) if isinstance(shift, (int, np.integer)) else tuple(shift)
        if len(values) != 2 or min(values) < 0:
            raise ValueError(f"shift is one number of pixels or (vertical, horizontal), each >= 0, got {shift!r}")
        self.shift, self.fill = (int(values[0]), int(values[1])), fill

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[int, int]:
        down, right = (int(rng.integers(-s, s + 1)) for s in self.shift)
        return down, right

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        dy, dx = self.shift
        padded = np.pad(images, ((0, 0), (0, 0), (dy, dy), (dx, dx)), constant_values=self.fill)
        return _crop_each(padded, [(dy - down, dx - right) for down, right in drawn], images.shape[2:])


class Resize(Transform):
    """Bilinear resize: (C, H, W) to (C, height, width); one number is the length of the shorter side.

    Whole-number images are rounded and stay in their dtype. ``antialias`` as in Pillow: when shrinking, every
    input pixel counts.

    >>> import numpy as np
    >>> Resize(2)(np.zeros((3, 4, 8), np.uint8)).shape
    (3, 2, 4)
    """

    def __init__(self, size: int | Sequence[int], antialias: bool = True) -> None:
        self.size = size if isinstance(size, int) else _pair(size, "size")
        _pair(size, "size")
        self.antialias = antialias

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        h, w = images.shape[2:]
        if isinstance(self.size, int):
            short = min(h, w)
            size = (self.size * h // short, self.size * w // short) if short else (self.size, self.size)
        else:
            size = self.size
        return resize(images, size, self.antialias)


class RandomResizedCrop(Transform):
    """A random part of the image, resized: (C, H, W) to (C, height, width).

    The part has ``scale`` times the area and a width to height ratio in ``ratio`` (uniform in its logarithm);
    after ten draws that do not fit, the largest central part with an admitted ratio. The augmentation of
    Szegedy et al. 2015 (section 6), with torchvision's defaults.

    >>> import numpy as np
    >>> RandomResizedCrop(4)(np.zeros((3, 9, 7), np.uint8), np.random.default_rng(0)).shape
    (3, 4, 4)
    """

    random = True

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        antialias: bool = True,
    ) -> None:
        self.size = _pair(size, "size")
        self.scale, self.ratio = _span(scale, "scale"), _span(ratio, "ratio")
        if self.scale[0] <= 0 or self.ratio[0] <= 0:
            raise ValueError(f"scale and ratio must be > 0, got scale={self.scale}, ratio={self.ratio}")
        self.antialias = antialias

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        _, h, w = shape
        logs = (math.log(self.ratio[0]), math.log(self.ratio[1]))
        for _ in range(10):
            area = h * w * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(*logs))
            p, q = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 0 < p <= h and 0 < q <= w:
                return int(rng.integers(h - p + 1)), int(rng.integers(w - q + 1)), p, q
        nearest = min(max(w / h, self.ratio[0]), self.ratio[1])
        p, q = max(1, min(h, round(w / nearest))), max(1, min(w, round(h * nearest)))
        return (h - p) // 2, (w - q) // 2, p, q

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        out = np.empty((*images.shape[:2], *self.size), images.dtype)
        for n, (top, left, p, q) in enumerate(drawn):
            out[n] = resize(images[n, :, top : top + p, left : left + q], self.size, self.antialias)
        return out


class RandomScaledCrop(Transform):
    """Scale jitter: shorter side resized to a random length, then a random crop; (C, H, W) to (C, height, width).

    ``short`` is (least, largest) length of the shorter side in pixels, each length as likely as any other. VGG trains
    with crops of 224 from (256, 512) (Simonyan and Zisserman 2015, section 3.1), ResNet from (256, 480), AlexNet
    from (256, 256).

    >>> import numpy as np
    >>> RandomScaledCrop(4, short=(5, 9))(np.zeros((3, 20, 30), np.uint8), np.random.default_rng(0)).shape
    (3, 4, 4)
    """

    random = True

    def __init__(self, size: int | Sequence[int], short: Sequence[int], antialias: bool = True) -> None:
        self.size = _pair(size, "size")
        self.short = (int(short[0]), int(short[1]))
        if not max(self.size) <= self.short[0] <= self.short[1]:
            raise ValueError(
                f"short is (least, largest) length of the shorter side, at least the crop's {max(self.size)}, "
                f"got {tuple(short)}"
            )
        self.antialias = antialias

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[tuple[int, int], int, int]:
        length = int(rng.integers(self.short[0], self.short[1] + 1))
        side = max(1, min(shape[1:]))
        h, w = (max(length, length * n // side) for n in shape[1:])
        return (h, w), int(rng.integers(h - self.size[0] + 1)), int(rng.integers(w - self.size[1] + 1))

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        out = np.empty((*images.shape[:2], *self.size), images.dtype)
        for n, (scaled, top, left) in enumerate(drawn):
            larger = resize(images[n], scaled, self.antialias)
            out[n] = larger[:, top : top + self.size[0], left : left + self.size[1]]
        return out


class RandomAffine(Transform):
    """Rotation, translation, scaling and shear about the centre, in one bilinear step; shape and dtype kept.

    ``degrees``: a number d for [-d, d], or (low, high); positive turns counter-clockwise. ``translate``: the
    largest shift as a fraction of (H, W). ``scale``: (low, high), 1 is the original size. ``shear``: degrees,
    like ``degrees``. ``fill`` lies beyond the border. Distortions of this kind took LeNet-5 from 0.95 % to
    0.8 % errors on MNIST (LeCun et al. 1998, section III).

    >>> import numpy as np
    >>> turn = RandomAffine(degrees=(90, 90))
    >>> turn(np.array([[[1, 2], [3, 4]]]), np.random.default_rng(0))  # counter-clockwise
    array([[[2, 4],
            [1, 3]]])
    """

    random = True

    def __init__(
        self,
        degrees: float | Sequence[float],
        translate: Sequence[float] = (0.0, 0.0),
        scale: Sequence[float] = (1.0, 1.0),
        shear: float | Sequence[float] = 0.0,
        fill: float = 0,
    ) -> None:
        self.degrees = _span(degrees, "degrees")
        self.translate = (float(translate[0]), float(translate[1]))
        self.scale = _span(scale, "scale")
        self.shear = _span(shear, "shear")
        self.fill = fill
        if self.scale[0] <= 0:
            raise ValueError(f"scale must be > 0, got {self.scale}; 1 is the original size")
        if min(self.translate) < 0 or max(self.translate) > 1:
            raise ValueError(f"translate is a fraction of (H, W), each between 0 and 1, got {self.translate}")

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[float, ...]:
        _, h, w = shape
        angle = math.radians(rng.uniform(*self.degrees))
        down = rng.uniform(-self.translate[0], self.translate[0]) * h
        right = rng.uniform(-self.translate[1], self.translate[1]) * w
        scale = rng.uniform(*self.scale)
        shear = math.tan(math.radians(rng.uniform(*self.shear)))
        # output (y, x) = scale * R(angle) S(shear) input; each output pixel asks where it comes from
        cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
        turn = (cos, sin, cos - shear * sin, -sin - shear * cos)
        # a quarter turn must hit the pixel centres, whatever the last bit of cos(90 degrees) is
        return (*(round(v, 12) for v in turn), down, right)

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        h, w = images.shape[2:]
        yy, yx, xx, xy, down, right = np.array(drawn, np.float64).reshape(-1, 6).T[:, :, None, None]  # (N, 1, 1)
        cy, cx = (h - 1) / 2, (w - 1) / 2
        y = np.arange(h)[:, None] - cy - down  # (N, H, 1)
        x = np.arange(w)[None, :] - cx - right  # (N, 1, W)
        ys = yy * y + yx * x + cy  # (N, H, W)
        xs = xy * y + xx * x + cx
        return restore_dtype(sample_bilinear(images, ys, xs, self.fill), images.dtype)


class RandomRotation(RandomAffine):
    """The image turned about its centre by up to ``degrees`` (or by (low, high)), bilinear; shape and dtype kept.

    >>> import numpy as np
    >>> RandomRotation((180, 180))(np.array([[[1, 2, 3]]]), np.random.default_rng(0))
    array([[[3, 2, 1]]])
    """

    def __init__(self, degrees: float | Sequence[float], fill: float = 0) -> None:
        super().__init__(degrees, fill=fill)
