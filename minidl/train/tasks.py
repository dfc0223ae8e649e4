"""Data sets by name, brought to the input of a model: size, colours, normalisation, augmentation."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data import CIFAR10, CIFAR100, MNIST, Digits, FashionMNIST, ImageFolder, Mapped, random_split
from ..data import transforms as T
from .crops import whole_shape
from .errors import TrainingError
from .normalization import Normalization, Statistics, fit_normalization

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Source:
    """One data set: the shape (C, H, W) of its images, and how its parts are read.

    ``ink``: bright drawings on black.  They are enlarged by a black border, other images by interpolation.
    """

    image_shape: Shape
    load: Callable[[str | None, bool, bool, Shape], tuple[Any, Sequence[str]]]
    """(folder, train, download, input shape) -> data set and names of the classes"""
    ink: bool = False


def _published(kind: Any, image_shape: Shape, ink: bool = False) -> Source:
    def load(folder: str | None, train: bool, download: bool, input_shape: Shape) -> tuple[Any, Sequence[str]]:
        dataset = kind(folder or "data", train=train, download=download)
        return dataset, dataset.classes

    return Source(image_shape, load, ink)


def _digits(folder: str | None, train: bool, download: bool, input_shape: Shape) -> tuple[Any, Sequence[str]]:
    return Digits(folder, train=train, size=input_shape[-1]), Digits.classes


SOURCES = {
    "digits": Source((1, 8, 8), _digits, ink=True),
    "mnist": _published(MNIST, (1, 28, 28), ink=True),
    "fashion_mnist": _published(FashionMNIST, (1, 28, 28), ink=True),
    "cifar10": _published(CIFAR10, (3, 32, 32)),
    "cifar100": _published(CIFAR100, (3, 32, 32)),
}


def _load_folder(path: Path, train: bool) -> tuple[Any, Sequence[str]]:
    """The sub-folders train and test (or val); without them the test is a fifth of the images, by a fixed seed."""
    other = next((path / name for name in ("test", "val") if (path / name).is_dir()), None)
    if (path / "train").is_dir() and other is not None:
        parts = ImageFolder(path / "train"), ImageFolder(other)
        if parts[0].classes != parts[1].classes:
            raise TrainingError(
                f"{path}: the classes differ: train has {', '.join(parts[0].classes)}, {other.name} has "
                f"{', '.join(parts[1].classes)}"
            )
        return parts[0 if train else 1], parts[0].classes
    whole = ImageFolder(path)
    return random_split(whole, [0.8, 0.2])[0 if train else 1], whole.classes


def find_source(data: str) -> Source:
    """The data set of that name, or a folder of images (``folder:PATH`` or the path); else the nearest name."""
    if data in SOURCES:
        return SOURCES[data]
    path = Path(data.removeprefix("folder:"))
    if path.is_dir():
        return Source((3, 0, 0), lambda folder, train, download, shape: _load_folder(path, train))
    if data.startswith("folder:"):
        raise TrainingError(f"{path}: there is no such folder of images")
    near = difflib.get_close_matches(data, SOURCES, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    raise TrainingError(f"there is no data set {data!r}{hint} Known: {', '.join(SOURCES)}, or the path of a folder")


def to_input(image_shape: Shape, input_shape: Shape, ink: bool) -> list[T.Transform]:
    """Transforms from images of ``image_shape`` (0: any size) to the channels, size and floats of a model's input."""
    steps: list[T.Transform] = []
    (c, h, w), (model_c, model_h, model_w) = image_shape, input_shape
    if (c, model_c) == (3, 1):
        steps.append(Grayscale())
    elif (c, model_c) == (1, 3):
        steps.append(T.Lambda(lambda image: np.repeat(image, 3, axis=0)))
    elif c != model_c:
        raise TrainingError(f"images of {c} channels do not fit a model with {model_c} input channels")
    down, right = model_h - h, model_w - w
    if ink and 0 <= down <= h // 4 and 0 <= right <= w // 4:
        if down or right:
            steps.append(T.Pad((right // 2, down // 2, right - right // 2, down - down // 2)))
    elif (h, w) == (0, 0):
        steps += [T.Resize(max(model_h, model_w)), T.CenterCrop((model_h, model_w))]
    elif (h, w) != (model_h, model_w):
        steps.append(T.Resize((model_h, model_w)))
    return [*steps, T.ToFloat()]


class Grayscale(T.Transform):
    """Brightness of (3, H, W) as (1, H, W): 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601)."""

    def apply(self, images: np.ndarray, drawn: list[Any]) -> np.ndarray:
        weights = np.array([0.299, 0.587, 0.114], np.float32)
        gray = np.einsum("nchw,c->nhw", images, weights, dtype=np.float32)[:, None]  # (N, 1, H, W)
        return gray.round().astype(np.uint8) if images.dtype == np.uint8 else gray


def _augmentation(name: str, side: int, max_shift: int | None) -> list[T.Transform]:
    few = max(1, side // 16)
    shift, padding = (few, 2 * few) if max_shift is None else (max_shift, max_shift)
    match name:
        case "shift":
            return [T.RandomTranslate(shift)]
        case "affine":
            return [T.RandomAffine(degrees=10, translate=(1 / 16, 1 / 16), scale=(0.9, 1.1))]
        case "flip":
            return [T.RandomHorizontalFlip(), T.RandomCrop(side, padding=padding)]
        case "reflect":
            return [T.RandomHorizontalFlip(), T.RandomCrop(side, padding=padding, padding_mode="reflect")]
    return []


# shorter side of the photographs before the crop, in units of the crop: 256 for 224, 256 to 512, 256 to 480
_SCALES: dict[str, tuple[float, float]] = {"alexnet": (8 / 7, 8 / 7), "vgg": (8 / 7, 16 / 7), "resnet": (8 / 7, 15 / 7)}
_PHOTOGRAPHS = (*_SCALES, "inception", "autoaugment")  # and what changes their colours


def _training_input(
    name: str, image_shape: Shape, input_shape: Shape, ink: bool, max_shift: int | None, normalization: Normalization
) -> list[T.Transform]:
    """Training images as a model gets them, with the random changes called ``name``."""
    size, normalize = input_shape[1:], normalization.transforms
    of_photographs = name in _PHOTOGRAPHS
    if of_photographs and input_shape[0] != 3:
        raise TrainingError(f"--augment {name} changes colours, but the model takes {input_shape[0]} channel")
    if normalization.name == "mean_photo" or name == "corners":
        return _crops_of_whole(name, image_shape, input_shape, ink, max_shift, normalization)
    if not of_photographs:
        steps = to_input(image_shape, input_shape, ink)
        moved = _augmentation(name, input_shape[-1], max_shift)
        return [*steps, *normalize, *moved] if normalization.centred else [*steps, *moved, *normalize]
    colours = to_input((image_shape[0], *size), input_shape, False)  # channels and floats; the size comes from a crop
    if name == "autoaugment":  # of bytes
        return [T.RandomResizedCrop(size), T.RandomHorizontalFlip(), T.AutoAugment(), *colours, *normalize]
    if name == "inception":
        jitter = T.ColorJitter(brightness=1 / 8, contrast=0.5, saturation=0.5, hue=0.2)
        return [T.RandomResizedCrop(size), T.RandomHorizontalFlip(), *colours, jitter, *normalize]
    least, largest = (round(scale * max(size)) for scale in _SCALES[name])
    crop = T.RandomScaledCrop(size, (least, largest))
    return [crop, T.RandomHorizontalFlip(), *colours, T.PCAColorJitter(), *normalize]


def _crops_of_whole(
    name: str, image_shape: Shape, input_shape: Shape, ink: bool, max_shift: int | None, normalization: Normalization
) -> list[T.Transform]:
    """Crops of photographs of one size, from which a mean image can be subtracted before."""
    size = input_shape[1:]
    prepare, normalize = to_input(image_shape, whole_shape(input_shape), ink), normalization.transforms
    if name == "alexnet":
        return [*prepare, T.PCAColorJitter(), *normalize, T.RandomCrop(size), T.RandomHorizontalFlip()]
    if name == "corners":
        return [*prepare, *normalize, T.RandomFiveCrop(size), T.RandomHorizontalFlip()]
    if name in _PHOTOGRAPHS:
        raise TrainingError(
            f"--augment {name} changes the size of photographs, and --normalize mean_photo subtracts a mean image, "
            "which has one size: take --augment alexnet, corners, flip or none, or --normalize colours"
        )
    return [*prepare, *normalize, T.CenterCrop(size), *_augmentation(name, input_shape[-1], max_shift)]


def tested_input(
    image_shape: Shape, input_shape: Shape, ink: bool, normalization: Normalization, crops: int = 1
) -> list[T.Transform]:
    """Images of tests as a model gets them; with ``crops`` 10 what :class:`minidl.train.crops.TenCrops` cuts up."""
    if crops == 1 and normalization.name != "mean_photo":
        return [*to_input(image_shape, input_shape, ink), *normalization.transforms]
    steps = [*to_input(image_shape, whole_shape(input_shape), ink), *normalization.transforms]
    return steps if crops > 1 else [*steps, T.CenterCrop(input_shape[1:])]


def _check_crops(normalize: str, augment: str, crops: int) -> None:
    """What was measured must be for what crops are cut from."""
    asked = [f"--augment {augment}"] if augment == "corners" else []
    asked += [f"--test-crops {crops}"] if crops > 1 else []
    if asked and normalize in ("mean_image", "whiten"):
        raise TrainingError(
            f"{' and '.join(asked)} cuts crops out of larger images, but --normalize {normalize} is measured on images "
            "of the size of the crops: take --normalize mean_photo or colours"
        )


@dataclass(frozen=True)
class Task:
    """Training and test part of a data set at the input of a model, and how both were prepared.

    >>> task = load_task("digits", (1, 8, 8))
    >>> len(task.classes), len(task.mean), task.test[0][0].shape
    (10, 1, (1, 8, 8))
    """

    train: Any
    test: Any
    classes: tuple[str, ...]
    normalization: Normalization

    @property
    def mean(self) -> tuple[float, ...]:
        """Of a channel of the training images; 0 where they are normalised otherwise."""
        return tuple(self.normalization.mean)

    @property
    def std(self) -> tuple[float, ...]:
        """Of a channel of the training images; 1 where they are normalised otherwise."""
        return tuple(self.normalization.std)


def load_task(
    data: str,
    input_shape: Shape,
    *,
    data_dir: str | None = None,
    augment: str = "none",
    download: bool = False,
    statistics: Statistics | None = None,
    normalize: str | Normalization = "colours",
    max_shift: int | None = None,
    test_crops: int = 1,
) -> Task:
    """Read a data set for a model with ``input_shape`` (C, H, W).

    ``normalize`` is a name (see :class:`TrainConfig`), for which the training part is measured, or what was measured
    before.  ``statistics``, for "colours", are (mean, std) a channel of values in [0, 1].  ``augment`` changes the
    training part only, and moves it by at most ``max_shift`` pixels; for its names see :class:`TrainConfig`.  With
    ``test_crops`` 10 the test part has larger images, for :class:`minidl.train.crops.TenCrops`.

    >>> task = load_task("digits", (1, 32, 32))
    >>> len(task.train), len(task.test), task.train[0][0].shape
    (1437, 360, (1, 32, 32))
    """
    source = find_source(data)
    parts = [source.load(data_dir, train, download, input_shape) for train in (True, False)]
    (training, classes), (testing, _) = parts
    image_shape = (1, *input_shape[1:]) if data == "digits" else source.image_shape
    values = normalize
    name = normalize if isinstance(normalize, str) else normalize.name
    _check_crops(name, augment, test_crops)
    if isinstance(values, str):
        measured = whole_shape(input_shape) if values == "mean_photo" else input_shape
        prepare = to_input(image_shape, measured, source.ink)
        values = fit_normalization(values, Mapped(training, T.Compose(prepare)), statistics)
    changed = _training_input(augment, image_shape, input_shape, source.ink, max_shift, values)
    tested = tested_input(image_shape, input_shape, source.ink, values, test_crops)
    return Task(Mapped(training, T.Compose(changed)), Mapped(testing, T.Compose(tested)), tuple(classes), values)
