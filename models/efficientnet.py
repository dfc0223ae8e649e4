"""EfficientNet: width, depth and resolution grow together.

Source: Tan and Le 2019, "EfficientNet: rethinking model scaling for convolutional neural networks", arXiv:1905.11946,
table 1 (B0); names as in torchvision.
"""

from __future__ import annotations

import math

import minidl
from minidl import nn
from minidl.nn import functional as F
from minidl.registry import register

from ._layers import DropPath
from .mobilenet import conv_bn, make_divisible
from .se_net import SqueezeExcite

# expansion, size of the filter, stride of the first, maps, repeats: table 1
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class MBConv(nn.Module):
    """1x1 to ``expansion`` times the maps, depthwise k x k, squeeze-and-excitation, 1x1; plus the input where it fits.

    While training, the branch of an image falls out with probability ``drop``.
    """

    def __init__(self, in_channels: int, maps: int, size: int, stride: int, expansion: int, drop: float) -> None:
        super().__init__()
        wide = make_divisible(in_channels * expansion)
        layers: list[nn.Module] = [conv_bn(in_channels, wide, 1, activation=nn.SiLU)] if wide != in_channels else []
        layers += [
            conv_bn(wide, wide, size, stride, wide, activation=nn.SiLU),
            SqueezeExcite(wide, hidden=max(1, in_channels // 4), activation=F.silu),
            conv_bn(wide, maps, 1, activation=None),
        ]
        self.block = nn.Sequential(*layers)
        self.stochastic_depth = DropPath(drop)
        self.residual = stride == 1 and in_channels == maps

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return self.stochastic_depth(self.block(x)) + x if self.residual else self.block(x)


class EfficientNet(nn.Module):
    """32 @ 3x3/2, seven stages of :class:`MBConv`, a 1x1 to four times the maps, the mean, one linear layer.

    Sizes 224 -> 112 -> 56 -> 28 -> 14 -> 7.  The chance of a branch to fall out rises along the network to
    ``drop_path``.
    """

    def __init__(self, num_classes: int, width: float, depth: float, dropout: float, drop_path: float) -> None:
        super().__init__()
        channels = make_divisible(32 * width)
        layers: list[nn.Module] = [conv_bn(3, channels, 3, 2, activation=nn.SiLU)]
        repeats = [math.ceil(stage[-1] * depth) for stage in STAGES]
        number = 0
        for (expansion, size, stride, outputs, _), count in zip(STAGES, repeats):
            maps = make_divisible(outputs * width)
            blocks = []
            for i in range(count):
                drop = drop_path * number / sum(repeats)
                blocks.append(MBConv(channels, maps, size, stride if i == 0 else 1, expansion, drop))
                channels, number = maps, number + 1
            layers.append(nn.Sequential(*blocks))
        layers.append(conv_bn(channels, 4 * channels, 1, activation=nn.SiLU))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * channels, num_classes))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
            elif isinstance(layer, nn.Linear):
                bound = num_classes**-0.5
                nn.init.uniform_(layer.weight, -bound, bound)
                nn.init.zeros_(layer.bias)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


@register((3, 224, 224), "Tan and Le 2019, table 1, as in torchvision: 5,288,548 parameters")
def efficientnet_b0(
    num_classes: int = 1000, width: float = 1.0, depth: float = 1.0, dropout: float = 0.2, drop_path: float = 0.2
) -> EfficientNet:
    """EfficientNet-B0: (N, 3, 224, 224) -> (N, num_classes).

    ``width`` and ``depth`` scale it to the larger ones: 1.0 and 1.1 for B1, 1.1 and 1.2 for B2, ..., 2.0 and 3.1 for
    B7, with images of 240, 260, ..., 600 pixels.

    >>> import minidl
    >>> from minidl import models
    >>> models.efficientnet_b0(num_classes=10, width=0.5).eval()(minidl.zeros(1, 3, 64, 64)).shape
    (1, 10)
    """
    return EfficientNet(num_classes, width, depth, dropout, drop_path)
