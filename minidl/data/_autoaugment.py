"""AutoAugment: the policy that was found on ImageNet, and its operations on bytes, as Pillow defines them.

Source: Cubuk, Zoph, Mane, Vasudevan and Le 2019, "AutoAugment: learning augmentation strategies from data", tables 6
and 9 of the appendix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._transform import Transform

Image = np.ndarray  # uint8 (C, H, W)
Step = tuple[str, float, int]  # operation, probability, magnitude 0 to 9


# ---- operations on values ------------------------------------------------------------------------------------------


def posterize(image: Image, bits: float) -> Image:
    """Keep the first ``bits`` of the eight bits of each value, rounded to a whole number."""
    return image & np.uint8(256 - 2 ** (8 - round(bits)))


def solarize(image: Image, threshold: float) -> Image:
    """Invert all values from ``threshold`` on."""
    return np.where(image < threshold, image, 255 - image)


def invert(image: Image) -> Image:
    """Exchange black and white."""
    return 255 - image


def autocontrast(image: Image) -> Image:
    """Stretch each channel, so that its darkest value becomes 0 and its brightest 255."""
    return np.stack([_looked_up(channel, _stretched(channel)) for channel in image])


def _stretched(channel: np.ndarray) -> np.ndarray:
    low, high = int(channel.min()), int(channel.max())
    values = np.arange(256)
    if low == high:
        return values
    scale = 255.0 / (high - low)
    return np.clip((values * scale + -low * scale).astype(np.int64), 0, 255)


def equalize(image: Image) -> Image:
    """Give each channel about as many pixels of every value, keeping the order of the values."""
    return np.stack([_looked_up(channel, _equalized(channel)) for channel in image])


def _equalized(channel: np.ndarray) -> np.ndarray:
    counts = np.bincount(channel.ravel(), minlength=256)
    step = (channel.size - int(counts[np.flatnonzero(counts)[-1]])) // 255
    if not step:  # too few pixels below the brightest value
        return np.arange(256)
    before = np.cumsum(counts) - counts  # pixels that are darker
    return np.clip((before + step // 2) // step, 0, 255)


def _looked_up(channel: np.ndarray, table: np.ndarray) -> np.ndarray:
    return table.astype(np.uint8)[channel]


# ---- between an image and a poorer one -----------------------------------------------------------------------------


def color(image: Image, factor: float) -> Image:
    """Away from the grey image: 0 is grey, 1 the image, more is more colourful."""
    return _blend(_grey(image)[None], image, factor)


def contrast(image: Image, factor: float) -> Image:
    """Away from one grey all over, the mean of the grey image."""
    return _blend(np.int64(_grey(image).mean() + 0.5), image, factor)


def sharpness(image: Image, factor: float) -> Image:
    """Away from the smoothed image: each pixel 5 parts of 13, its neighbours one each; the border stays."""
    wide = image.astype(np.int64)
    total = np.zeros_like(wide[:, 2:, 2:])
    h, w = image.shape[1:]
    for down in range(3):
        for right in range(3):
            part = wide[:, down : h - 2 + down, right : w - 2 + right]
            total += part * (5 if (down, right) == (1, 1) else 1)
    smooth = wide.copy()
    smooth[:, 1:-1, 1:-1] = (2 * total + 13) // 26  # to the nearest
    return _blend(smooth, image, factor)


def _grey(image: Image) -> np.ndarray:
    """The brightness (H, W) of ITU-R BT.601, in Pillow's whole numbers."""
    r, g, b = image.astype(np.int64)
    return (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16


def _blend(poorer: Any, image: Image, factor: float) -> Image:
    """``poorer + factor * (image - poorer)`` in single precision, cut off to whole numbers."""
    difference = (image.astype(np.int64) - poorer).astype(np.float32)
    return np.clip(np.asarray(poorer, np.float32) + np.float32(factor) * difference, 0, 255).astype(np.uint8)


# ---- operations on places ------------------------------------------------------------------------------------------


def shear_x(image: Image, amount: float, fill: int = 0) -> Image:
    """Row y takes its pixels from ``amount * y`` further right."""
    return _moved(image, (1.0, amount, 0.0, 0.0, 1.0, 0.0), fill)


def rotate(image: Image, degrees: float, fill: int = 0) -> Image:
    """Turn about the centre, counter-clockwise."""
    angle = -math.radians(degrees)
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
    cy, cx = image.shape[1] / 2, image.shape[2] / 2
    return _moved(image, (cos, sin, cx - cos * cx - sin * cy, -sin, cos, cy + sin * cx - cos * cy), fill)


def _moved(image: Image, matrix: tuple[float, ...], fill: int) -> Image:
    """Pixel (x, y) takes the pixel in which the point (a x + b y + c, d x + e y + f) lies; (a, ..., f) is ``matrix``.

    Points are centres of pixels, in whole numbers of 2^-16, as Pillow counts: the result is the same everywhere.
    """
    a, b, c, d, e, f = matrix
    h, w = image.shape[1:]
    y, x = np.arange(h)[:, None], np.arange(w)[None]
    left = (_fixed(a) * x + _fixed(b) * y + _fixed(c + a / 2 + b / 2)) >> 16  # (H, W)
    top = (_fixed(d) * x + _fixed(e) * y + _fixed(f + d / 2 + e / 2)) >> 16
    inside = (left >= 0) & (left < w) & (top >= 0) & (top < h)
    out = np.full_like(image, fill)
    out[:, inside] = image[:, top[inside], left[inside]]
    return out


def _fixed(value: float) -> int:
    return math.floor(value * 65536 + 0.5)


# ---- the policy ----------------------------------------------------------------------------------------------------

# of an operation: what it does, its range for the magnitudes 0 to 9, whether a coin decides about the sign
OPERATIONS: dict[str, tuple[Callable[..., Image], tuple[float, float] | None, bool]] = {
    "shear_x": (shear_x, (0.0, 0.3), True),
    "rotate": (rotate, (0.0, 30.0), True),
    "autocontrast": (autocontrast, None, False),
    "invert": (invert, None, False),
    "equalize": (equalize, None, False),
    "solarize": (solarize, (0.0, 256.0), False),
    "posterize": (posterize, (4.0, 8.0), False),
    "contrast": (contrast, (0.1, 1.9), False),
    "color": (color, (0.1, 1.9), False),
    "sharpness": (sharpness, (0.1, 1.9), False),
}
LARGEST = 9

# table 9
IMAGENET_POLICY: tuple[tuple[Step, Step], ...] = (
    (("posterize", 0.4, 8), ("rotate", 0.6, 9)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 5)),
    (("equalize", 0.8, 8), ("equalize", 0.6, 3)),
    (("posterize", 0.6, 7), ("posterize", 0.6, 6)),
    (("equalize", 0.4, 7), ("solarize", 0.2, 4)),
    (("equalize", 0.4, 4), ("rotate", 0.8, 8)),
    (("solarize", 0.6, 3), ("equalize", 0.6, 7)),
    (("posterize", 0.8, 5), ("equalize", 1.0, 2)),
    (("rotate", 0.2, 3), ("solarize", 0.6, 8)),
    (("equalize", 0.6, 8), ("posterize", 0.4, 6)),
    (("rotate", 0.8, 8), ("color", 0.4, 0)),
    (("rotate", 0.4, 9), ("equalize", 0.6, 2)),
    (("equalize", 0.0, 7), ("equalize", 0.8, 8)),
    (("invert", 0.6, 4), ("equalize", 1.0, 8)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("rotate", 0.8, 8), ("color", 1.0, 2)),
    (("color", 0.8, 8), ("solarize", 0.8, 7)),
    (("sharpness", 0.4, 7), ("invert", 0.6, 8)),
    (("shear_x", 0.6, 5), ("equalize", 1.0, 9)),
    (("color", 0.4, 0), ("equalize", 0.6, 3)),
    (("equalize", 0.4, 7), ("solarize", 0.2, 4)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 5)),
    (("invert", 0.6, 4), ("equalize", 1.0, 8)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("equalize", 0.8, 8), ("equalize", 0.6, 3)),
)


class AutoAugment(Transform):
    """One of the pairs of operations that a search found to help on ImageNet, each with its probability and magnitude.

    uint8 images (3, H, W); shape and dtype kept. ``policy`` are pairs of (operation, probability, magnitude), by
    default the 25 of Cubuk et al. 2019, table 9, of which each image draws one. The magnitudes 0 to 9 divide the range
    of an operation (table 6) evenly; where the range is symmetric (rotation, shear) the magnitude is the size, and a
    coin decides about the sign, as in the authors' programs. What comes from outside the image is ``fill``.

    Programs differ in what a magnitude of posterize, solarize and colour means; here it is what the paper's text says:
    bits that stay, the threshold, and the factor from 0.1 to 1.9. torchvision's ``AutoAugment`` has stronger effects
    for larger magnitudes of all three.

    >>> import numpy as np
    >>> image = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    >>> AutoAugment([(("invert", 1.0, 0), ("solarize", 0.0, 0))])(image, np.random.default_rng(0))[0, 0].tolist()
    [255, 254, 253, 252]
    """

    random = True

    def __init__(self, policy: Sequence[tuple[Step, Step]] = IMAGENET_POLICY, fill: int = 0) -> None:
        for name, p, magnitude in (step for pair in policy for step in pair):
            if name not in OPERATIONS:
                raise ValueError(f"AutoAugment has no operation {name!r}; it has {', '.join(OPERATIONS)}")
            if not (0 <= p <= 1 and 0 <= magnitude <= LARGEST):
                raise ValueError(
                    f"{name} of AutoAugment takes a probability of 0 to 1 and a magnitude of 0 to {LARGEST}, got {p} "
                    f"and {magnitude}"
                )
        self.policy, self.fill = tuple(policy), fill

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> list[tuple[str, float | None]]:
        steps = []
        for name, p, magnitude in self.policy[rng.integers(len(self.policy))]:
            chosen, positive = rng.random() < p, rng.random() < 0.5
            if chosen:
                steps.append((name, amount(name, magnitude, positive)))
        return steps

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        if images.dtype != np.uint8 or images.shape[1] != 3:
            raise ValueError(
                f"AutoAugment works on uint8 images (3, H, W), got {images.dtype} {images.shape[1:]}; put it before "
                "ToFloat(), and channels first"
            )
        out = images.copy()
        for image, steps in zip(out, drawn, strict=True):
            for name, value in steps:
                arguments = () if value is None else (value,)
                moves = {"fill": self.fill} if OPERATIONS[name][2] else {}
                image[...] = OPERATIONS[name][0](image, *arguments, **moves)
        return out

    def __repr__(self) -> str:
        return f"AutoAugment({len(self.policy)} pairs of operations, fill={self.fill})"


def amount(name: str, magnitude: int, positive: bool = True) -> float | None:
    """What a magnitude of 0 to 9 means for an operation; None where it takes no amount.

    >>> amount("rotate", 9, positive=False), amount("posterize", 9), amount("invert", 9)
    (-30.0, 8.0, None)
    """
    _, span, signed = OPERATIONS[name]
    if span is None:
        return None
    value = span[0] + (span[1] - span[0]) * magnitude / LARGEST
    return -value if signed and not positive else value
