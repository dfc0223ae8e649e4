"""Pre-activation ResNet: normalisation and ReLU in front of the convolutions, so that nothing stands in the shortcut.

Source: He, Zhang, Ren and Sun 2016, "Identity mappings in deep residual networks", arXiv:1603.05027, figure 1 (b),
tables 2 and 3; the authors' programs KaimingHe/resnet-1k-layers (CIFAR) and facebookarchive/fb.resnet.torch (ImageNet).
"""

from __future__ import annotations

from collections.abc import Callable

import minidl
from minidl import nn
from minidl.registry import ModelOptionError, register

from .resnet import conv1x1, conv3x3, he_init


class PreActBlock(nn.Module):
    """``shortcut + branch(relu(bn1(x)))``.

    The shortcut is ``x`` itself; where the shape changes it is a 1x1 convolution of ``relu(bn1(x))``, which it shares
    with the branch.  Without ``bn1`` (the first block behind a stem that has normalised already) both begin at ``x``.
    """

    bn1: nn.BatchNorm2d | None
    downsample: nn.Module | None

    def branch(self, x: minidl.Tensor) -> minidl.Tensor:
        raise NotImplementedError

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        active = x if self.bn1 is None else self.bn1.then_relu(x)
        shortcut = x if self.downsample is None else self.downsample(active)
        return shortcut + self.branch(active)

    def _shortcut(self, in_channels: int, out_channels: int, stride: int) -> None:
        same = stride == 1 and in_channels == out_channels
        self.downsample = None if same else conv1x1(in_channels, out_channels, stride)


class PreActBasic(PreActBlock):
    """BN-ReLU-3x3, BN-ReLU-(dropout)-3x3."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = conv3x3(out_channels, out_channels)
        self._shortcut(in_channels, out_channels, stride)

    def branch(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.bn2.then_relu(x, behind=self.conv1)
        return self.conv2(self.dropout(x))


class PreActBottleneck(PreActBlock):
    """BN-ReLU-1x1 to a quarter of the maps, BN-ReLU-3x3, BN-ReLU-1x1 to ``out_channels``."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, stride_in_1x1: bool = False, norm_first: bool = True
    ) -> None:
        super().__init__()
        width = out_channels // 4
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.bn1 = nn.BatchNorm2d(in_channels) if norm_first else None
        self.conv1 = conv1x1(in_channels, width, first)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, second)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = conv1x1(width, out_channels)
        self._shortcut(in_channels, out_channels, stride)

    def branch(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.bn2.then_relu(x, behind=self.conv1)
        x = self.bn3.then_relu(x, behind=self.conv2)
        return self.conv3(x)


class CifarPreActResNet(nn.Module):
    """16 @ 3x3, three stages of blocks at 32x32, 16x16 and 8x8, BN-ReLU, the mean, one linear layer.

    ``make(in_channels, out_channels, stride)`` gives a block, ``maps`` the outputs of the stages.
    """

    def __init__(
        self, make: Callable[[int, int, int], PreActBlock], blocks: int, maps: tuple[int, ...], num_classes: int
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(3, 16)
        channels = 16
        stages: list[nn.Module] = []
        for out in maps:
            made = []
            for i in range(blocks):
                made.append(make(channels, out, 2 if stages and i == 0 else 1))
                channels = out
            stages.append(nn.Sequential(*made))
        self.layer1, self.layer2, self.layer3 = stages
        self.norm = nn.BatchNorm2d(channels)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        he_init(self)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return self.fc(self.avgpool(self.norm.then_relu(x)).flatten(1))


def blocks_per_stage(model: str, depth: int, per_block: int, others: int) -> int:
    """How many blocks of ``per_block`` layers a stage has; an error names the depths that exist."""
    blocks, rest = divmod(depth - others, 3 * per_block)
    if blocks < 1 or rest:
        raise ModelOptionError(f"{model}: depth is {3 * per_block}n + {others}, not {depth}")
    return blocks


def _cifar_bottlenecks(depth: int, num_classes: int, stride_in_1x1: bool) -> CifarPreActResNet:
    blocks = blocks_per_stage("cifar_preact_resnet", depth, 3, 2)
    return CifarPreActResNet(
        lambda i, o, stride: PreActBottleneck(i, o, stride, stride_in_1x1), blocks, (64, 128, 256), num_classes
    )


@register((3, 32, 32), "He et al. 2016, table 3: 1,730,522 parameters, error 6.37 %")
def cifar_preact_resnet110(num_classes: int = 10) -> CifarPreActResNet:
    """110 layers in blocks of two 3x3 convolutions: (N, 3, 32, 32) -> (N, num_classes).

    >>> import minidl
    >>> from minidl import models
    >>> sum(p.numel() for p in models.cifar_preact_resnet110().parameters())
    1730522
    """
    return CifarPreActResNet(PreActBasic, blocks_per_stage("cifar_preact_resnet", 110, 2, 2), (16, 32, 64), num_classes)


@register((3, 32, 32), "He et al. 2016, table 3: 1,703,258 parameters, error 5.46 %")
def cifar_preact_resnet164(num_classes: int = 10, stride_in_1x1: bool = True) -> CifarPreActResNet:
    """164 layers in bottlenecks.

    ``stride_in_1x1``: the authors' program strides in the first 1x1 convolution; some others do in the 3x3.
    """
    return _cifar_bottlenecks(164, num_classes, stride_in_1x1)


@register((3, 32, 32), "He et al. 2016, table 3: 10,327,706 parameters, error 4.92 %")
def cifar_preact_resnet1001(num_classes: int = 10, stride_in_1x1: bool = True) -> CifarPreActResNet:
    """1001 layers in bottlenecks; options as :func:`cifar_preact_resnet164`.  The paper prints 10.2 M parameters."""
    return _cifar_bottlenecks(1001, num_classes, stride_in_1x1)


# ---- ImageNet -------------------------------------------------------------------------------------------------------


class PreActResNet(nn.Module):
    """64 @ 7x7/2, BN-ReLU, max-pooling, four stages of bottlenecks, BN-ReLU, the mean, one linear layer.

    | out | 200 layers |
    |---|---|
    | 112x112 | 7x7/2, 64 |
    | 56x56 | max-pooling, 3 x (1x1 64, 3x3 64, 1x1 256) |
    | 28x28 | 24 x (1x1 128, 3x3 128, 1x1 512) |
    | 14x14 | 36 x (1x1 256, 3x3 256, 1x1 1024) |
    | 7x7 | 3 x (1x1 512, 3x3 512, 1x1 2048) |

    The very first block has no normalisation of its own, for the stem has just done that, unless ``norm_first``.
    """

    def __init__(
        self, layers: tuple[int, ...], num_classes: int = 1000, stride_in_1x1: bool = False, norm_first: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 64
        stages: list[nn.Module] = []
        for out, blocks in zip((256, 512, 1024, 2048), layers):
            made = []
            for i in range(blocks):
                stride = 2 if stages and i == 0 else 1
                norm = norm_first or channels != 64
                made.append(PreActBottleneck(channels, out, stride, stride_in_1x1, norm_first=norm))
                channels = out
            stages.append(nn.Sequential(*made))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.norm = nn.BatchNorm2d(channels)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        he_init(self)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.maxpool(self.bn1.then_relu(x, behind=self.conv1))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(self.norm.then_relu(x)).flatten(1))


@register((3, 224, 224), "He et al. 2016, as in fb.resnet.torch: 25,549,352 parameters")
def preact_resnet50(num_classes: int = 1000, stride_in_1x1: bool = False, norm_first: bool = False) -> PreActResNet:
    """50 layers of pre-activated bottlenecks: (N, 3, 224, 224) -> (N, num_classes).

    The stride stands in the 3x3 convolution, as in the authors' program, unless ``stride_in_1x1``.  ``norm_first``
    normalises in the very first block too, right behind the stem, as pytorchcv does (128 parameters more).
    """
    return PreActResNet((3, 4, 6, 3), num_classes, stride_in_1x1, norm_first)


@register((3, 224, 224), "He et al. 2016, as in fb.resnet.torch: 44,541,480 parameters")
def preact_resnet101(num_classes: int = 1000, stride_in_1x1: bool = False, norm_first: bool = False) -> PreActResNet:
    """101 layers; options as :func:`preact_resnet50`."""
    return PreActResNet((3, 4, 23, 3), num_classes, stride_in_1x1, norm_first)


@register((3, 224, 224), "He et al. 2016, as in fb.resnet.torch: 60,185,128 parameters")
def preact_resnet152(num_classes: int = 1000, stride_in_1x1: bool = False, norm_first: bool = False) -> PreActResNet:
    """152 layers; options as :func:`preact_resnet50`."""
    return PreActResNet((3, 8, 36, 3), num_classes, stride_in_1x1, norm_first)


@register((3, 224, 224), "He et al. 2016, table 5: 64,666,152 parameters")
def preact_resnet200(num_classes: int = 1000, stride_in_1x1: bool = False, norm_first: bool = False) -> PreActResNet:
    """200 layers; options as :func:`preact_resnet50`."""
    return PreActResNet((3, 24, 36, 3), num_classes, stride_in_1x1, norm_first)
