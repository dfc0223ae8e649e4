"""ShuffleNet version 2: half of the maps pass a unit untouched, then the halves are shuffled.

Source: Ma, Zhang, Zheng and Sun 2018, "ShuffleNet V2: practical guidelines for efficient CNN architecture design",
arXiv:1807.11164, figure 3 (c, d) and table 5; names as in torchvision.
"""

from __future__ import annotations

import minidl
from minidl import nn
from minidl.registry import register

from .mobilenet import conv_bn


def shuffle(x: minidl.Tensor, groups: int = 2) -> minidl.Tensor:
    """Maps of the groups in turn: a1 a2 b1 b2 -> a1 b1 a2 b2, for (N, C, H, W).

    >>> shuffle(minidl.arange(4.0).reshape(1, 4, 1, 1)).flatten()
    tensor([0., 2., 1., 3.])
    """
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)  # (N, G, C/G, H, W) between


class ShuffleUnit(nn.Module):
    """Stride 1: half of the maps through 1x1, depthwise 3x3, 1x1.  Stride 2: all of them, beside a shorter branch."""

    def __init__(self, in_channels: int, maps: int, stride: int) -> None:
        super().__init__()
        half = maps // 2
        self.stride = stride
        spatial = conv_bn(in_channels, in_channels, 3, stride, in_channels, activation=None)
        self.branch1 = nn.Sequential(*spatial, *conv_bn(in_channels, half, 1, activation=nn.ReLU))
        if stride == 1:
            self.branch1 = nn.Sequential()
        self.branch2 = nn.Sequential(
            *conv_bn(in_channels if stride > 1 else half, half, 1, activation=nn.ReLU),
            *conv_bn(half, half, 3, stride, half, activation=None),
            *conv_bn(half, half, 1, activation=nn.ReLU),
        )

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        if self.stride == 1:
            kept, changed = x.chunk(2, 1)
        else:
            kept, changed = self.branch1(x), x
        return shuffle(minidl.cat([kept, self.branch2(changed)], 1))


class ShuffleNetV2(nn.Module):
    """24 @ 3x3/2, max-pooling, stages of 4, 8 and 4 units, a 1x1, the mean, one linear layer.

    Sizes 224 -> 112 -> 56 -> 28 -> 14 -> 7.  ``maps``: of the stem, of the three stages, of the last convolution.
    """

    def __init__(self, maps: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        stem, *stages, last = maps
        self.conv1 = conv_bn(3, stem, 3, 2, activation=nn.ReLU)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        made, channels = [], stem
        for outputs, units in zip(stages, (4, 8, 4)):
            rest = [ShuffleUnit(outputs, outputs, 1) for _ in range(units - 1)]
            made.append(nn.Sequential(ShuffleUnit(channels, outputs, 2), *rest))
            channels = outputs
        self.stage2, self.stage3, self.stage4 = made
        self.conv5 = conv_bn(channels, last, 1, activation=nn.ReLU)
        self.fc = nn.Linear(last, num_classes)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.stage4(self.stage3(self.stage2(self.maxpool(self.conv1(x)))))
        return self.fc(self.conv5(x).mean((2, 3)))


@register((3, 224, 224), "Ma et al. 2018, table 5, as in torchvision: 2,278,604 parameters")
def shufflenet_v2_x1_0(num_classes: int = 1000) -> ShuffleNetV2:
    """ShuffleNet version 2, width 1: (N, 3, 224, 224) -> (N, num_classes).

    >>> import minidl
    >>> from minidl import models
    >>> models.shufflenet_v2_x1_0(num_classes=10).eval()(minidl.zeros(1, 3, 64, 64)).shape
    (1, 10)
    """
    return ShuffleNetV2((24, 116, 232, 464, 1024), num_classes)
