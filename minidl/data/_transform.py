"""What a transform is: written once on a batch (N, C, H, W), used on a batch and on a single image alike."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .collate import default_collate

Rngs = Sequence[np.random.Generator]


def check_image(image: np.ndarray, name: str) -> np.ndarray:
    """The image as an array (C, H, W), or an error that says what is wrong with its axes."""
    image = np.asarray(image)
    if image.ndim == 3:
        return image
    if image.ndim == 2:
        hint = "The channel axis is missing: pass image[None]"
    elif image.ndim == 4:
        hint = f"For a batch (N, C, H, W) call {name}.batch(images, rngs)"
    else:
        hint = "Reshape it to channels, height, width"
    raise ValueError(f"{name} works on one image (C, H, W), got an array of shape {image.shape}. {hint}")


class Transform:
    """Base of all transforms: an image (C, H, W) in, an image (C', H', W') out; labels are never touched.

    A subclass writes ``apply(images, drawn)`` on a batch (N, C, H, W), and, if it is random (``random = True``),
    ``draw(rng, shape)``, which draws what *one* image of that shape needs. Both ways to call it then agree bit
    for bit: ``transform(image, rng)`` and ``transform.batch(images, rngs)``.

    >>> import numpy as np
    >>> class Invert(Transform):
    ...     def apply(self, images, drawn):
    ...         return 255 - images
    >>> Invert()(np.array([[[0, 255]]], np.uint8))
    array([[[255,   0]]], dtype=uint8)
    """

    random = False

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        """What one image of shape (C, H, W) needs; the order of the draws is part of the seed's meaning."""
        raise NotImplementedError

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        """Transform (N, C, H, W) with one draw per image (an empty list for a transform without randomness)."""
        raise NotImplementedError

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        name = type(self).__name__
        image = check_image(image, name)
        if not self.random:
            return self.apply(image[None], [])[0]
        if rng is None:
            raise TypeError(
                f"{name} is random and needs a generator: call transform(image, numpy.random.default_rng(seed)). "
                "A DataLoader passes one by itself"
            )
        return self.apply(image[None], [self.draw(rng, image.shape)])[0]

    def batch(self, images: np.ndarray, rngs: Rngs) -> np.ndarray:
        """Transform (N, C, H, W), image i with ``rngs[i]``."""
        images = np.asarray(images)
        if images.ndim != 4:
            raise ValueError(f"{type(self).__name__}.batch works on (N, C, H, W), got shape {images.shape}")
        drawn = [self.draw(rng, images.shape[1:]) for rng in rngs] if self.random else []
        return self.apply(images, drawn)

    def __repr__(self) -> str:
        shown = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({shown})"


def call_transform(transform: Callable, image: Any, rng: np.random.Generator) -> Any:
    """``transform(image, rng)`` for minidl's transforms and functions with a parameter ``rng``, else without."""
    return transform(image, rng) if takes_rng(transform) else transform(image)


def takes_rng(transform: Callable) -> bool:
    """Whether a callable wants the sample's generator as its second argument."""
    if isinstance(transform, Transform):
        return True
    try:
        return "rng" in inspect.signature(transform).parameters
    except (TypeError, ValueError):  # builtins and ufuncs have no signature
        return False


def call_transform_batch(transform: Callable, images: np.ndarray, rngs: Rngs) -> np.ndarray:
    """The same as :func:`call_transform` image by image, in one go where the transform can."""
    if isinstance(transform, Transform) and images.ndim == 4:
        return transform.batch(images, rngs)
    wants = takes_rng(transform)
    rows = [transform(x, rngs[i]) if wants else transform(x) for i, x in enumerate(images)]
    return default_collate(rows) if rows else images


class Compose(Transform):
    """Transforms one after the other; plain functions of an image are welcome too.

    >>> import numpy as np
    >>> from minidl.data import transforms as T
    >>> pipeline = T.Compose([T.RandomHorizontalFlip(p=1.0), T.ToFloat()])
    >>> pipeline(np.array([[[0, 51, 255]]], np.uint8), np.random.default_rng(0))
    array([[[1. , 0.2, 0. ]]], dtype=float32)
    """

    def __init__(self, transforms: Iterable[Callable]) -> None:
        self.transforms = list(transforms)
        self.random = any(getattr(t, "random", takes_rng(t)) for t in self.transforms)

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        for t in self.transforms:
            image = t(image, rng) if takes_rng(t) else t(image)
        return image

    def batch(self, images: np.ndarray, rngs: Rngs) -> np.ndarray:
        for t in self.transforms:
            images = call_transform_batch(t, images, rngs)
        return images

    def __repr__(self) -> str:
        return "Compose([\n" + "".join(f"  {t!r},\n" for t in self.transforms) + "])"


class Lambda(Transform):
    """A function of one image as a transform.

    >>> import numpy as np
    >>> Lambda(lambda image: image * 2)(np.ones((1, 1, 2)))
    array([[[2., 2.]]])
    """

    def __init__(self, function: Callable[[np.ndarray], np.ndarray]) -> None:
        self.function = function

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        return np.stack([self.function(image) for image in images]) if len(images) else images


class ToFloat(Transform):
    """Whole numbers to floats in [0, 1]: divided by the largest value of their dtype (255 for uint8).

    Floats only change their dtype. Shape (C, H, W) stays. Like torchvision's ``ConvertImageDtype``.

    >>> import numpy as np
    >>> ToFloat()(np.array([[[0, 255]]], np.uint8))
    array([[[0., 1.]]], dtype=float32)
    """

    def __init__(self, dtype: Any = np.float32) -> None:
        self.dtype = np.dtype(dtype)

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        if images.dtype.kind in "ui":
            return np.divide(images, self.dtype.type(np.iinfo(images.dtype).max), dtype=self.dtype)
        return images.astype(self.dtype)


class Normalize(Transform):
    """``(image - mean) / std`` for each channel, in the dtype of the (float) image.

    ``mean`` and ``std`` are one number or one number per channel (C).

    >>> import numpy as np
    >>> Normalize(mean=(1.0, 2.0), std=(2.0, 4.0))(np.array([[[3.0]], [[2.0]]]))
    array([[[1.]],
    <BLANKLINE>
           [[0.]]])
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        self.mean = np.atleast_1d(np.asarray(mean, np.float64)).tolist()
        self.std = np.atleast_1d(np.asarray(std, np.float64)).tolist()
        if min(self.std) <= 0:
            raise ValueError(f"Normalize divides by std, which must be > 0 everywhere, got {self.std}")

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        if images.dtype.kind != "f":
            raise TypeError(f"Normalize needs a float image, got {images.dtype}; put ToFloat() before it")
        channels = images.shape[1]
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise ValueError(
                    f"Normalize has {len(values)} values in {name} for an image (C, H, W) = {images.shape[1:]} "
                    f"with C = {channels} channels; give 1 or {channels}, or move the channels to the front"
                )
        mean = np.asarray(self.mean, images.dtype)[:, None, None]  # (C or 1, 1, 1)
        std = np.asarray(self.std, images.dtype)[:, None, None]
        out = np.subtract(images, mean)
        out /= std
        return out
