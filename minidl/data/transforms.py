"""Label-preserving augmentation and normalisation of images, in plain NumPy.

Every transform takes an image (C, H, W), uint8 or float, and where it is random a ``numpy`` generator::

    from minidl.data import transforms as T

    augment = T.Compose([T.RandomCrop(32, padding=4), T.RandomHorizontalFlip(), T.ToFloat(), T.Normalize(mean, std)])
    image = augment(image, numpy.random.default_rng(0))

A :class:`minidl.data.DataLoader` passes the generator of (seed, epoch, sample) by itself. Names and parameters
are torchvision's where it has the transform.
"""

from ._autoaugment import AutoAugment
from ._geometric import (
    CenterCrop,
    Pad,
    RandomAffine,
    RandomCrop,
    RandomFiveCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomScaledCrop,
    RandomTranslate,
    RandomVerticalFlip,
    Resize,
)
from ._photometric import ColorJitter, Cutout, PCAColorJitter, RandomErasing
from ._transform import Compose, Lambda, Normalize, ToFloat, Transform
from ._whitening import GlobalContrastNormalization, LinearTransformation, SubtractMeanImage, ZCAWhitening

__all__ = [
    "AutoAugment",
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "Cutout",
    "GlobalContrastNormalization",
    "Lambda",
    "LinearTransformation",
    "Normalize",
    "PCAColorJitter",
    "Pad",
    "RandomAffine",
    "RandomCrop",
    "RandomErasing",
    "RandomFiveCrop",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomScaledCrop",
    "RandomTranslate",
    "RandomVerticalFlip",
    "Resize",
    "SubtractMeanImage",
    "ToFloat",
    "Transform",
    "ZCAWhitening",
]
