"""Inception-v4 and Inception-ResNet-v2: the same modules everywhere, with and without residual connections.

Source: Szegedy, Ioffe, Vanhoucke and Alemi 2017, "Inception-v4, Inception-ResNet and the impact of residual connections
on learning", arXiv:1602.07261, figures 3 to 9 (v4) and 16 to 19 (Inception-ResNet-v2).  Where the figures differ from
the released networks in numbers of maps, the release is followed.  Names in state dicts are timm's.
"""

from __future__ import annotations

from typing import Any

import minidl
from minidl import nn
from minidl.registry import register

from .inception import Conv, Mixed, fix_gammas, mean3, unit


def chain(in_channels: int, *steps: tuple[Any, ...]) -> nn.Module:
    """Convolutions one after the other, each (maps, size, stride, valid)."""
    made = []
    for step in steps:
        made.append(unit(in_channels, *step))
        in_channels = step[0]
    return made[0] if len(made) == 1 else nn.Sequential(*made)


def pooled(in_channels: int, maps: int) -> nn.Sequential:
    """3x3 mean and 1x1."""
    return nn.Sequential(mean3(False), unit(in_channels, maps, 1))


class Branches(nn.Module):
    """Modules side by side, called branch0, branch1, ..."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.count = len(branches)
        for i, branch in enumerate(branches):
            self.register_module(f"branch{i}", branch)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return minidl.cat([getattr(self, f"branch{i}")(x) for i in range(self.count)], 1)


def _v4_a() -> Branches:
    return Branches(
        chain(384, (96, 1)),
        chain(384, (64, 1), (96, 3)),
        chain(384, (64, 1), (96, 3), (96, 3)),
        pooled(384, 96),
    )


def _v4_b() -> Branches:
    return Branches(
        chain(1024, (384, 1)),
        chain(1024, (192, 1), (224, (1, 7)), (256, (7, 1))),
        chain(1024, (192, 1), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7))),
        pooled(1024, 128),
    )


class _V4C(nn.Module):
    """The 8x8 module: 1x3 beside 3x1, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = unit(1536, 256, 1)
        self.branch1_0 = unit(1536, 384, 1)
        self.branch1_1a = unit(384, 256, (1, 3))
        self.branch1_1b = unit(384, 256, (3, 1))
        self.branch2_0 = unit(1536, 384, 1)
        self.branch2_1 = unit(384, 448, (3, 1))
        self.branch2_2 = unit(448, 512, (1, 3))
        self.branch2_3a = unit(512, 256, (1, 3))
        self.branch2_3b = unit(512, 256, (3, 1))
        self.branch3 = pooled(1536, 256)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        y = self.branch1_0(x)
        z = self.branch2_2(self.branch2_1(self.branch2_0(x)))
        return minidl.cat(
            [
                self.branch0(x),
                self.branch1_1a(y),
                self.branch1_1b(y),
                self.branch2_3a(z),
                self.branch2_3b(z),
                self.branch3(x),
            ],
            1,
        )


class InceptionV4(nn.Module):
    """Stem, 4 modules at 35x35, 7 at 17x17, 3 at 8x8, the mean, one linear layer.

    | out | |
    |---|---|
    | 149, 147, 147 | 3x3/2 32, 3x3 32, 3x3 64 |
    | 160 x 73x73 | max-pooling beside 3x3/2 96 |
    | 192 x 71x71 | 1x1 64, 3x3 96 beside 1x1 64, 1x7 64, 7x1 64, 3x3 96 |
    | 384 x 35x35 | 3x3/2 192 beside max-pooling; 4 x A |
    | 1024 x 17x17 | reduction A; 7 x B |
    | 1536 x 8x8 | reduction B; 3 x C |
    | 1 | mean, dropout 0.2, 1000 classes |
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.2) -> None:
        super().__init__()
        reduction_a = Branches(
            chain(384, (384, 3, 2)), chain(384, (192, 1), (224, 3), (256, 3, 2)), nn.MaxPool2d(3, stride=2)
        )
        reduction_b = Branches(
            chain(1024, (192, 1), (192, 3, 2)),
            chain(1024, (256, 1), (256, (1, 7)), (320, (7, 1)), (320, 3, 2)),
            nn.MaxPool2d(3, stride=2),
        )
        self.features = nn.Sequential(
            unit(3, 32, 3, stride=2),
            unit(32, 32, 3, valid=True),
            unit(32, 64, 3),
            Mixed(64, [nn.MaxPool2d(3, stride=2)], [Conv("conv", 96, 3, 2)]),
            Branches(
                chain(160, (64, 1), (96, 3, 1, True)),
                chain(160, (64, 1), (64, (1, 7)), (64, (7, 1)), (96, 3, 1, True)),
            ),
            Mixed(192, [Conv("conv", 192, 3, 2)], [nn.MaxPool2d(3, stride=2)]),
            *(_v4_a() for _ in range(4)),
            reduction_a,
            *(_v4_b() for _ in range(7)),
            reduction_b,
            *(_V4C() for _ in range(3)),
        )
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.head_drop = nn.Dropout(dropout)
        self.last_linear = nn.Linear(1536, num_classes)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.global_pool(self.features(x)).flatten(1)
        return self.last_linear(self.head_drop(x))


@register((3, 299, 299), "Szegedy et al. 2017, figure 9, as in timm: 42,679,816 parameters")
def inception_v4(num_classes: int = 1000, dropout: float = 0.2) -> InceptionV4:
    """Inception-v4: (N, 3, 299, 299) -> (N, num_classes).  Sizes from 75 on run.

    The 3.08 % top-5 error that lectures give for it is the paper's ensemble of three Inception-ResNet-v2 and this one.

    >>> from minidl import models, nn
    >>> with nn.utils.skip_init():
    ...     net = models.inception_v4()
    >>> sum(p.numel() for p in net.parameters())
    42679816
    """
    return InceptionV4(num_classes, dropout)


# ---- Inception-ResNet-v2 --------------------------------------------------------------------------------------------


class ResidualBranches(Branches):
    """``relu(x + scale * conv(branches(x)))``; the 1x1 convolution has biases, no normalisation and no ReLU.

    Without the scale, training of wide networks dies (section 3.3).  ``relu=False`` for the very last block.
    """

    def __init__(self, channels: int, joined: int, scale: float, *branches: nn.Module, relu: bool = True) -> None:
        super().__init__(*branches)
        self.conv2d = nn.Conv2d(joined, channels, 1)
        self.scale = scale
        self.relu = relu

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = x + self.conv2d(super().forward(x)) * self.scale
        return x.relu() if self.relu else x


def _block35() -> ResidualBranches:
    return ResidualBranches(
        320, 128, 0.17, chain(320, (32, 1)), chain(320, (32, 1), (32, 3)), chain(320, (32, 1), (48, 3), (64, 3))
    )


def _block17() -> ResidualBranches:
    return ResidualBranches(1088, 384, 0.10, chain(1088, (192, 1)), chain(1088, (128, 1), (160, (1, 7)), (192, (7, 1))))


def _block8(scale: float = 0.20, relu: bool = True) -> ResidualBranches:
    return ResidualBranches(
        2080, 448, scale, chain(2080, (192, 1)), chain(2080, (192, 1), (224, (1, 3)), (256, (3, 1))), relu=relu
    )


class InceptionResNetV2(nn.Module):
    """Inception-v3's stem, 10 residual modules at 35x35, 20 at 17x17, 10 at 8x8, the mean, one linear layer.

    | out | |
    |---|---|
    | 192 x 35x35 | 3x3/2 32, 3x3 32, 3x3 64, max-pooling, 1x1 80, 3x3 192, max-pooling |
    | 320 x 35x35 | 1x1 96, 5x5 64, two 3x3 96, mean-1x1 64; 10 blocks, scale 0.17 |
    | 1088 x 17x17 | reduction; 20 blocks, scale 0.10 |
    | 2080 x 8x8 | reduction; 9 blocks, scale 0.20, and one with scale 1 and no ReLU |
    | 1536 x 8x8 | 1x1 |
    | 1 | mean, dropout 0.2, 1000 classes |
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.2, gamma: bool = True) -> None:
        super().__init__()
        self.conv2d_1a = unit(3, 32, 3, stride=2)
        self.conv2d_2a = unit(32, 32, 3, valid=True)
        self.conv2d_2b = unit(32, 64, 3)
        self.maxpool_3a = nn.MaxPool2d(3, stride=2)
        self.conv2d_3b = unit(64, 80, 1)
        self.conv2d_4a = unit(80, 192, 3, valid=True)
        self.maxpool_5a = nn.MaxPool2d(3, stride=2)
        self.mixed_5b = Branches(
            chain(192, (96, 1)), chain(192, (48, 1), (64, 5)), chain(192, (64, 1), (96, 3), (96, 3)), pooled(192, 64)
        )
        self.repeat = nn.Sequential(*(_block35() for _ in range(10)))
        self.mixed_6a = Branches(
            chain(320, (384, 3, 2)), chain(320, (256, 1), (256, 3), (384, 3, 2)), nn.MaxPool2d(3, stride=2)
        )
        self.repeat_1 = nn.Sequential(*(_block17() for _ in range(20)))
        self.mixed_7a = Branches(
            chain(1088, (256, 1), (384, 3, 2)),
            chain(1088, (256, 1), (288, 3, 2)),
            chain(1088, (256, 1), (288, 3), (320, 3, 2)),
            nn.MaxPool2d(3, stride=2),
        )
        self.repeat_2 = nn.Sequential(*(_block8() for _ in range(9)))
        self.block8 = _block8(scale=1.0, relu=False)
        self.conv2d_7b = unit(2080, 1536, 1)
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.head_drop = nn.Dropout(dropout)
        self.classif = nn.Linear(1536, num_classes)
        if not gamma:
            fix_gammas(self)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.maxpool_3a(self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x))))
        x = self.maxpool_5a(self.conv2d_4a(self.conv2d_3b(x)))
        x = self.repeat(self.mixed_5b(x))
        x = self.repeat_1(self.mixed_6a(x))
        x = self.conv2d_7b(self.block8(self.repeat_2(self.mixed_7a(x))))
        return self.classif(self.head_drop(self.global_pool(x).flatten(1)))


@register((3, 299, 299), "Szegedy et al. 2017, as in timm: 55,843,464 parameters")
def inception_resnet_v2(num_classes: int = 1000, dropout: float = 0.2, gamma: bool = True) -> InceptionResNetV2:
    """Inception-ResNet-v2: (N, 3, 299, 299) -> (N, num_classes).  Sizes from 75 on run.

    ``gamma=False``: batch normalisation shifts and does not scale, as in TF-slim and Keras (55,813,192 parameters).

    >>> from minidl import models, nn
    >>> with nn.utils.skip_init():
    ...     net = models.inception_resnet_v2()
    >>> sum(p.numel() for p in net.parameters())
    55843464
    """
    return InceptionResNetV2(num_classes, dropout, gamma)
