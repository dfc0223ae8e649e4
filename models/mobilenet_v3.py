"""MobileNet version 3: inverted residuals found by a search, some with squeeze-and-excitation, and a cheap swish.

Source: Howard et al. 2019, "Searching for MobileNetV3", arXiv:1905.02244, tables 1 and 2; names, widths of the
squeezing layers and the constants of batch normalisation as in torchvision.
"""

from __future__ import annotations

from functools import partial

import minidl
from minidl import nn
from minidl.nn import functional as F
from minidl.registry import register

from .mobilenet import conv_bn, make_divisible, mobile_init
from .se_net import SqueezeExcite

Row = tuple[int, int, int, bool, str, int]
unit = partial(conv_bn, eps=0.001, momentum=0.01)

# filter, maps after the expansion, maps, squeeze-and-excitation, activation (RE ReLU, HS hard swish), stride
LARGE: tuple[Row, ...] = (
    (3, 16, 16, False, "RE", 1),
    (3, 64, 24, False, "RE", 2),
    (3, 72, 24, False, "RE", 1),
    (5, 72, 40, True, "RE", 2),
    (5, 120, 40, True, "RE", 1),
    (5, 120, 40, True, "RE", 1),
    (3, 240, 80, False, "HS", 2),
    (3, 200, 80, False, "HS", 1),
    (3, 184, 80, False, "HS", 1),
    (3, 184, 80, False, "HS", 1),
    (3, 480, 112, True, "HS", 1),
    (3, 672, 112, True, "HS", 1),
    (5, 672, 160, True, "HS", 2),
    (5, 960, 160, True, "HS", 1),
    (5, 960, 160, True, "HS", 1),
)
SMALL: tuple[Row, ...] = (
    (3, 16, 16, True, "RE", 2),
    (3, 72, 24, False, "RE", 2),
    (3, 88, 24, False, "RE", 1),
    (5, 96, 40, True, "HS", 2),
    (5, 240, 40, True, "HS", 1),
    (5, 240, 40, True, "HS", 1),
    (5, 120, 48, True, "HS", 1),
    (5, 144, 48, True, "HS", 1),
    (5, 288, 96, True, "HS", 2),
    (5, 576, 96, True, "HS", 1),
    (5, 576, 96, True, "HS", 1),
)


class Bottleneck(nn.Module):
    """1x1 to ``expanded`` maps, depthwise k x k, squeeze-and-excitation, 1x1 without activation; plus the input."""

    def __init__(
        self, in_channels: int, size: int, expanded: int, maps: int, squeeze: bool, activation: str, stride: int
    ) -> None:
        super().__init__()
        act = nn.Hardswish if activation == "HS" else nn.ReLU
        layers: list[nn.Module] = [unit(in_channels, expanded, 1, activation=act)] if expanded != in_channels else []
        layers.append(unit(expanded, expanded, size, stride, groups=expanded, activation=act))
        if squeeze:
            hidden = make_divisible(expanded // 4)
            layers.append(SqueezeExcite(expanded, hidden=hidden, gate=F.hardsigmoid))
        layers.append(unit(expanded, maps, 1, activation=None))
        self.block = nn.Sequential(*layers)
        self.residual = stride == 1 and in_channels == maps

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return x + self.block(x) if self.residual else self.block(x)


class MobileNetV3(nn.Module):
    """16 @ 3x3/2, the bottlenecks of the table, a 1x1 to six times the maps, the mean, two linear layers.

    Sizes 224 -> 112 -> 56 -> 28 -> 14 -> 7; the large network has 15 bottlenecks, the small one 11.
    """

    def __init__(self, rows: tuple[Row, ...], hidden: int, num_classes: int, width: float, dropout: float) -> None:
        super().__init__()
        channels = make_divisible(16 * width)
        layers: list[nn.Module] = [unit(3, channels, 3, 2, activation=nn.Hardswish)]
        for size, expanded, outputs, squeeze, activation, stride in rows:
            maps = make_divisible(outputs * width)
            wide = make_divisible(expanded * width)
            layers.append(Bottleneck(channels, size, wide, maps, squeeze, activation, stride))
            channels = maps
        layers.append(unit(channels, 6 * channels, 1, activation=nn.Hardswish))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        hidden = make_divisible(hidden * width)
        self.classifier = nn.Sequential(
            nn.Linear(6 * channels, hidden), nn.Hardswish(), nn.Dropout(dropout), nn.Linear(hidden, num_classes)
        )
        mobile_init(self)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


@register((3, 224, 224), "Howard et al. 2019, table 1, as in torchvision: 5,483,032 parameters")
def mobilenet_v3_large(num_classes: int = 1000, width: float = 1.0, dropout: float = 0.2) -> MobileNetV3:
    """The large network: (N, 3, 224, 224) -> (N, num_classes).  ``width`` multiplies all numbers of maps.

    >>> import minidl
    >>> from minidl import models
    >>> models.mobilenet_v3_large(num_classes=10, width=0.5).eval()(minidl.zeros(1, 3, 64, 64)).shape
    (1, 10)
    """
    return MobileNetV3(LARGE, 1280, num_classes, width, dropout)


@register((3, 224, 224), "Howard et al. 2019, table 2, as in torchvision: 2,542,856 parameters")
def mobilenet_v3_small(num_classes: int = 1000, width: float = 1.0, dropout: float = 0.2) -> MobileNetV3:
    """The small network: (N, 3, 224, 224) -> (N, num_classes)."""
    return MobileNetV3(SMALL, 1024, num_classes, width, dropout)
