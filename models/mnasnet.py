"""MnasNet: inverted residuals whose sizes a search chose for their time on a telephone.

Source: Tan et al. 2019, "MnasNet: platform-aware neural architecture search for mobile", arXiv:1807.11626, figure 7;
the form without squeeze-and-excitation (B1), with torchvision's names.
"""

from __future__ import annotations

import minidl
from minidl import nn
from minidl.registry import register

from .mobilenet import conv_bn, make_divisible

MOMENTUM = 0.0003  # the paper's 0.9997 is the share that stays

# expansion, size of the filter, maps, repeats, stride of the first
STACKS = ((3, 3, 24, 3, 2), (3, 5, 40, 3, 2), (6, 5, 80, 3, 2), (6, 3, 96, 2, 1), (6, 5, 192, 4, 2), (6, 3, 320, 1, 1))


def _flat(*units: nn.Sequential) -> nn.Sequential:
    """The layers of the units in one row, as torchvision numbers them."""
    return nn.Sequential(*(layer for unit in units for layer in unit))


def _unit(in_channels: int, maps: int, size: int, stride: int = 1, groups: int = 1, relu: bool = True) -> nn.Sequential:
    return conv_bn(in_channels, maps, size, stride, groups, nn.ReLU if relu else None, momentum=MOMENTUM)


class MnasBlock(nn.Module):
    """1x1 to ``expansion`` times the maps, depthwise k x k, 1x1 without activation; plus the input where it fits."""

    def __init__(self, in_channels: int, maps: int, size: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.layers = _flat(
            _unit(in_channels, wide, 1), _unit(wide, wide, size, stride, wide), _unit(wide, maps, 1, relu=False)
        )
        self.residual = stride == 1 and in_channels == maps

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return self.layers(x) + x if self.residual else self.layers(x)


class MnasNet(nn.Module):
    """32 @ 3x3/2, a depthwise 3x3 and 16 @ 1x1, six stacks of blocks, 1280 @ 1x1, the mean, one linear layer.

    Sizes 224 -> 112 -> 56 -> 28 -> 14 -> 7.
    """

    def __init__(self, num_classes: int, width: float, dropout: float) -> None:
        super().__init__()
        stem, channels = make_divisible(32 * width), make_divisible(16 * width)
        front = _flat(_unit(3, stem, 3, 2), _unit(stem, stem, 3, groups=stem), _unit(stem, channels, 1, relu=False))
        stacks = []
        for expansion, size, outputs, repeats, stride in STACKS:
            maps = make_divisible(outputs * width)
            blocks = [MnasBlock(channels, maps, size, stride, expansion)]
            blocks += [MnasBlock(maps, maps, size, 1, expansion) for _ in range(repeats - 1)]
            stacks.append(nn.Sequential(*blocks))
            channels = maps
        self.layers = nn.Sequential(*front, *stacks, *_unit(channels, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(1280, num_classes))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
            elif isinstance(layer, nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, mode="fan_out", nonlinearity="sigmoid")
                nn.init.zeros_(layer.bias)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return self.classifier(self.layers(x).mean((2, 3)))


@register((3, 224, 224), "Tan et al. 2019, B1, as in torchvision: 4,383,312 parameters")
def mnasnet1_0(num_classes: int = 1000, width: float = 1.0, dropout: float = 0.2) -> MnasNet:
    """MnasNet-B1: (N, 3, 224, 224) -> (N, num_classes).  ``width`` multiplies all numbers of maps but the last.

    >>> import minidl
    >>> from minidl import models
    >>> models.mnasnet1_0(num_classes=10, width=0.5).eval()(minidl.zeros(1, 3, 64, 64)).shape
    (1, 10)
    """
    return MnasNet(num_classes, width, dropout)
