"""How each network wants its images, as data: size, part, order of the colours, range, mean and deviation.

Images are resized by Pillow, as by nearly everybody who published an accuracy, so that the pixels are the same.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import PredictError

Side = int | tuple[int, int]

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
CHANNELS = ("RGB", "BGR", "L")


@dataclass(frozen=True)
class Preprocess:
    """From an image to the input of a network: resize, cut out the centre, ``(x / divide - mean) / std``.

    ``resize`` is the length of the shorter side, the longer one follows; or (height, width), which distorts, as Caffe's
    256x256 does.  ``crop`` is one side or (height, width).  ``channels`` "RGB", "BGR" (Caffe) or "L" (grey); ``mean``
    and ``std`` are in this order, and on the scale of 0..255 where ``divide`` is 1.

    >>> Preprocess(resize=232)(np.zeros((3, 300, 400), np.uint8)).shape
    (3, 224, 224)
    """

    resize: Side = 256
    crop: Side = 224
    interpolation: str = "bilinear"
    channels: str = "RGB"
    divide: float = 255.0
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise PredictError(f"interpolation is one of {', '.join(INTERPOLATIONS)}, not {self.interpolation!r}")
        if self.channels not in CHANNELS:
            raise PredictError(f"channels is one of {', '.join(CHANNELS)}, not {self.channels!r}")
        if not len(self.mean) == len(self.std) == len(self.channels):
            raise PredictError(
                f"{self.channels} has {len(self.channels)} channels, but there are {len(self.mean)} numbers for the "
                f"mean and {len(self.std)} for the deviation"
            )
        for name in ("resize", "crop"):
            side = getattr(self, name)
            sides = side if isinstance(side, tuple) else (side, side)
            if len(sides) != 2 or min(sides) < 1:
                raise PredictError(f"{name} is a side in pixels or (height, width), not {side!r}")
        if not all(0 < number < math.inf for number in (self.divide, *self.std)):
            raise PredictError(f"divide and std are divided by, so they are positive: {self.divide:g}, {self.std}")
        if not all(map(math.isfinite, self.mean)):
            raise PredictError(f"the mean is a number for each channel, not {self.mean}")

    @property
    def mode(self) -> str:
        """The colours in which an image is read: "RGB" or "L"."""
        return "L" if self.channels == "L" else "RGB"

    @property
    def crop_size(self) -> tuple[int, int]:
        """(height, width) of what the network sees."""
        return self.crop if isinstance(self.crop, tuple) else (self.crop, self.crop)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 (C, H, W) of any size -> float32 (C, height, width) of the crop."""
        return self.normalized(centre(self.resized(image), self.crop_size))

    def resized(self, image: np.ndarray, side: Side | None = None) -> np.ndarray:
        """uint8 (C, H, W) with its shorter side at ``side`` (of ``resize`` without one), or of that size."""
        wanted = self.resize if side is None else side
        h, w = image.shape[1:]
        if isinstance(wanted, tuple):
            size = wanted
        elif h <= w:  # the longer side is rounded down, as torchvision does it
            size = wanted, int(wanted * w / h)
        else:
            size = int(wanted * h / w), wanted
        return resize_exactly(image, size, self.interpolation)

    def normalized(self, image: np.ndarray) -> np.ndarray:
        """uint8 (C, H, W), RGB or grey -> float32 (C, H, W), in the network's order and range."""
        x = image[::-1] if self.channels == "BGR" else image
        x = x.astype(np.float32) / np.float32(self.divide)
        mean, std = (np.array(values, np.float32)[:, None, None] for values in (self.mean, self.std))  # (C, 1, 1)
        return (x - mean) / std

    def __str__(self) -> str:
        to = (
            f"{self.resize[0]}x{self.resize[1]}" if isinstance(self.resize, tuple) else f"shorter side to {self.resize}"
        )
        h, w = self.crop_size
        mean, std = (_numbers(values) for values in (self.mean, self.std))
        x = "x" if self.divide == 1 else f"x / {self.divide:g}"
        x = x if not any(self.mean) else f"{x} - {mean}"
        x = x if set(self.std) == {1.0} else f"({x}) / {std}"
        return f"{to} ({self.interpolation}), centre {h}x{w}, {self.channels}, {x}"


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def resize_exactly(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """uint8 (C, H, W) -> (C, *size), by Pillow, which looks at all pixels when it shrinks."""
    from PIL import Image

    if image.shape[1:] == size:
        return image
    how = Image.Resampling[interpolation.upper()]
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)  # (H, W) or (H, W, C)
    small = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size[::-1], how))
    return small[None] if small.ndim == 2 else small.transpose(2, 0, 1)


def centre(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The middle (C, *size) of an image; of an odd rest, half a pixel goes to the even side, as in torchvision."""
    top, left = (round((have - want) / 2) for have, want in zip(image.shape[1:], size, strict=True))
    return cut(image, top, left, size)


def cut(image: np.ndarray, top: int, left: int, size: tuple[int, int]) -> np.ndarray:
    """The part (C, *size) whose first pixel is (top, left)."""
    (h, w), (p, q) = image.shape[1:], size
    if p > h or q > w:
        raise PredictError(
            f"a crop of {p}x{q} does not fit into an image of {h}x{w}: resize to {max(p, q)} at least, or crop less"
        )
    return image[:, top : top + p, left : left + q]


_HALF: dict[str, Any] = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
_ONES: dict[str, Any] = {"divide": 1.0, "std": (1.0, 1.0, 1.0)}

PREPROCESS = {
    # torchvision, and most networks for PyTorch
    "imagenet": Preprocess(),
    # TensorFlow's Inception and NASNet: -1 to 1
    "inception": Preprocess(resize=341, crop=299, **_HALF),
    "nasnet_mobile": Preprocess(**_HALF),
    "nasnet_large": Preprocess(resize=378, crop=331, **_HALF),
    # Caffe: 0 to 255, blue first, the mean colour subtracted; SqueezeNet, and AlexNet, CaffeNet, GoogLeNet alike
    "caffe": Preprocess(resize=(256, 256), crop=227, channels="BGR", mean=(104.0, 117.0, 123.0), **_ONES),
    "caffe_224": Preprocess(resize=(256, 256), crop=224, channels="BGR", mean=(104.0, 117.0, 123.0), **_ONES),
    "caffe_bninception": Preprocess(channels="BGR", mean=(104.0, 117.0, 128.0), **_ONES),
    # VGG as its authors published it
    "caffe_vgg": Preprocess(channels="BGR", mean=(103.939, 116.779, 123.68), **_ONES),
    # CIFAR-10 with the numbers of ImageNet, as in akamaster's training
    "cifar": Preprocess(resize=32, crop=32),
    # Caffe's MNIST example
    "mnist_caffe": Preprocess(resize=28, crop=28, channels="L", divide=256.0, mean=(0.0,), std=(1.0,)),
}


def with_fields(base: Preprocess, fields: Mapping[str, Any]) -> Preprocess:
    """``base`` with other values, those of several numbers as lists; an unknown field is an error."""
    known = {field.name for field in dataclasses.fields(Preprocess)}
    for name in fields:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise PredictError(f"preprocessing has no field {name!r}{hint} It has {', '.join(sorted(known))}")
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return dataclasses.replace(base, **values)


def parse_preprocess(text: str) -> Preprocess:
    """A name of :data:`PREPROCESS`, fields behind it or alone; several numbers with slashes between them.

    >>> print(parse_preprocess("caffe_vgg,resize=384,crop=384/384"))
    shorter side to 384 (bilinear), centre 384x384, BGR, x - (103.939, 116.779, 123.68)
    """
    base, fields = PREPROCESS["imagenet"], {}
    for place, part in enumerate(text.split(",")):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals:
            if place or name not in PREPROCESS:
                raise PredictError(
                    f"{name!r} is no preprocessing: known are {', '.join(PREPROCESS)}, and fields as in "
                    "'imagenet,resize=232,mean=0.5/0.5/0.5'"
                )
            base = PREPROCESS[name]
        else:
            fields[name] = value if name in ("interpolation", "channels") else _parse_numbers(name, value)
    return with_fields(base, fields)


def _parse_numbers(name: str, text: str) -> Any:
    number = int if name in ("resize", "crop") else float
    try:
        values = [number(part) for part in text.split("/")]
    except ValueError:
        raise PredictError(f"{name}={text} of the preprocessing is no number, and no numbers with / between") from None
    if name == "divide" and len(values) > 1:
        raise PredictError(f"divide={text} of the preprocessing: all channels are divided by one number")
    return values if len(values) > 1 or name in ("mean", "std") else values[0]
