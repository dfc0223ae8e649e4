"""ResNeXt: residual blocks whose 3x3 convolution is split into groups.

Source: Xie, Girshick, Dollar, Tu and He 2017, "Aggregated residual transformations for deep neural networks",
arXiv:1611.05431, tables 1 and 7.  Its three equivalent forms (figure 3) are here form C, the grouped convolution.
"""

from __future__ import annotations

import minidl
from minidl import nn
from minidl.registry import register

from .resnet import Bottleneck, ResNet, conv3x3, he_init, projection


def _resnext(layers: tuple[int, ...], cardinality: int, width: int, num_classes: int, zero: bool) -> ResNet:
    return ResNet(Bottleneck, layers, num_classes, zero_init_residual=zero, groups=cardinality, width_per_group=width)


@register((3, 224, 224), "Xie et al. 2017, table 1, as in torchvision: 25,028,904 parameters")
def resnext50_32x4d(num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    """50 layers, 32 groups of 4 maps in the first stage: (N, 3, 224, 224) -> (N, num_classes).

    ``zero_init_residual``: every block begins as the identity.

    >>> from minidl import models, nn
    >>> with nn.utils.skip_init():
    ...     net = models.resnext50_32x4d()
    >>> net.layer1[0].conv2.weight.shape
    (128, 4, 3, 3)
    """
    return _resnext((3, 4, 6, 3), 32, 4, num_classes, zero_init_residual)


@register((3, 224, 224), "Xie et al. 2017, section 5.1: 44,177,704 parameters")
def resnext101_32x4d(num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    """101 layers, 32 groups of 4 maps; options as :func:`resnext50_32x4d`."""
    return _resnext((3, 4, 23, 3), 32, 4, num_classes, zero_init_residual)


@register((3, 224, 224), "Xie et al. 2017, 32 groups of 8 maps, as in torchvision: 88,791,336 parameters")
def resnext101_32x8d(num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    """101 layers, 32 groups of 8 maps; options as :func:`resnext50_32x4d`."""
    return _resnext((3, 4, 23, 3), 32, 8, num_classes, zero_init_residual)


@register((3, 224, 224), "Xie et al. 2017, table 4, as in torchvision: 83,455,272 parameters")
def resnext101_64x4d(num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    """101 layers, 64 groups of 4 maps; options as :func:`resnext50_32x4d`."""
    return _resnext((3, 4, 23, 3), 64, 4, num_classes, zero_init_residual)


# ---- CIFAR ----------------------------------------------------------------------------------------------------------


class CifarResNeXt(nn.Module):
    """64 @ 3x3, three stages of three bottlenecks, the mean, one linear layer: 29 layers with weights.

    | out | 8x64d |
    |---|---|
    | 32x32 | 3x3, 64 |
    | 32x32 | 3 x (1x1 512, 3x3 512 in 8 groups, 1x1 256) |
    | 16x16 | 3 x (1x1 1024, 3x3 1024 in 8 groups, 1x1 512) |
    | 8x8 | 3 x (1x1 2048, 3x3 2048 in 8 groups, 1x1 1024) |
    | 1x1 | mean, 10 classes |
    """

    def __init__(self, cardinality: int, width: int, num_classes: int = 10, blocks: int = 3) -> None:
        super().__init__()
        self.conv1 = conv3x3(3, 64)
        self.bn1 = nn.BatchNorm2d(64)
        channels = 64
        stages: list[nn.Module] = []
        for stage in range(3):
            inner, out = cardinality * width * 2**stage, 256 * 2**stage
            made = []
            for i in range(blocks):
                step = 2 if stage and i == 0 else 1
                shortcut = projection(channels, out, step)
                made.append(Bottleneck(channels, inner, out, step, groups=cardinality, shortcut=shortcut))
                channels = out
            stages.append(nn.Sequential(*made))
        self.layer1, self.layer2, self.layer3 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        he_init(self)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.bn1.then_relu(x, behind=self.conv1)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))


@register((3, 32, 32), "Xie et al. 2017, table 7: 34,426,698 parameters")
def cifar_resnext29_8x64d(num_classes: int = 10) -> CifarResNeXt:
    """29 layers, 8 groups of 64 maps: (N, 3, 32, 32) -> (N, num_classes)."""
    return CifarResNeXt(8, 64, num_classes)


@register((3, 32, 32), "Xie et al. 2017, table 7: 68,155,210 parameters")
def cifar_resnext29_16x64d(num_classes: int = 10) -> CifarResNeXt:
    """29 layers, 16 groups of 64 maps."""
    return CifarResNeXt(16, 64, num_classes)


@register((3, 32, 32), "Xie et al. 2017, 32 groups of 4 maps: 4,775,754 parameters")
def cifar_resnext29_32x4d(num_classes: int = 10) -> CifarResNeXt:
    """29 layers, 32 groups of 4 maps, small enough for one machine."""
    return CifarResNeXt(32, 4, num_classes)
