"""ResNet: layers that learn what to add to their input.

Source: He, Zhang, Ren and Sun 2015, "Deep residual learning for image recognition", arXiv:1512.03385, table 1 (the
ImageNet networks; those for CIFAR-10 stand in cifar_resnet.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minidl
from minidl import nn
from minidl.registry import ModelOptionError, register

Recalibration = Callable[[int], nn.Module]  # makes a layer for so many channels


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> nn.Conv2d:
    """3x3, padded so that stride 1 keeps the size; no bias, for batch normalisation follows."""
    return nn.Conv2d(
        in_channels, out_channels, 3, stride=stride, padding=dilation, dilation=dilation, groups=groups, bias=False
    )


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """1x1 without bias."""
    return nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)


def projection(in_channels: int, out_channels: int, stride: int, size: int = 1) -> nn.Sequential | None:
    """The shortcut where the size or the number of maps changes (option B of the paper); else None, the identity."""
    if stride == 1 and in_channels == out_channels:
        return None
    conv = nn.Conv2d(in_channels, out_channels, size, stride=stride, padding=size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


def he_init(model: nn.Module, mode: Any = "fan_out") -> None:
    """Convolutions from N(0, 2 / fan): He et al. 2015, "Delving deep into rectifiers"."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode=mode)


def add_biases(model: nn.Module) -> None:
    """Biases of 0 for the convolutions that have none, though the normalisation behind them makes these useless."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is None:
            layer.bias = nn.Parameter(minidl.zeros(layer.out_channels))


class ResidualBlock(nn.Module):
    """``relu(x + branch(x))``, x projected by ``downsample`` where the shapes differ; ``relu(branch(x))`` if plain."""

    downsample: nn.Module | None
    residual: bool
    se_module: nn.Module | None

    @property
    def last(self) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
        raise NotImplementedError

    def before_last(self, x: minidl.Tensor) -> minidl.Tensor:
        raise NotImplementedError

    def branch(self, x: minidl.Tensor) -> minidl.Tensor:
        conv, norm = self.last
        y = norm(conv(self.before_last(x)))
        return y if self.se_module is None else self.se_module(y)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        if self.se_module is None:
            conv, norm = self.last
            return norm.then_relu(self.before_last(x), self._shortcut(x) if self.residual else None, behind=conv)
        y = self.branch(x)
        if self.residual:
            y = y + self._shortcut(x)
        return y.relu()

    def _shortcut(self, x: minidl.Tensor) -> minidl.Tensor:
        return x if self.downsample is None else self.downsample(x)

    def _finish(self, out_channels: int, shortcut: nn.Module | None, residual: bool, se: Recalibration | None) -> None:
        """Register what stands behind the convolutions, in the order of the published state dicts."""
        self.se_module = None if se is None else se(out_channels)
        self.downsample = shortcut if residual else None
        self.residual = residual


class BasicBlock(ResidualBlock):
    """3x3, 3x3.  ``se`` (for se_net.py) makes a layer on the branch; ``residual=False`` leaves the addition out."""

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        stride: int = 1,
        *,
        dilation: int = 1,
        shortcut: nn.Module | None = None,
        residual: bool = True,
        se: Recalibration | None = None,
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, width, stride, dilation=dilation)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, out_channels, dilation=dilation)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self._finish(out_channels, shortcut, residual, se)

    def before_last(self, x: minidl.Tensor) -> minidl.Tensor:
        return self.bn1.then_relu(x, behind=self.conv1)

    @property
    def last(self) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
        return self.conv2, self.bn2


class Bottleneck(ResidualBlock):
    """1x1 to ``width``, 3x3 in ``groups``, 1x1 to ``out_channels``.

    The stride stands in the 3x3 convolution, as everybody trains it ("version 1.5": +0.5 % top-1, +6 % work);
    ``stride_in_1x1`` puts it where the paper has it.  ``squeeze``: maps of the first 1x1, if not ``width``.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        stride: int = 1,
        *,
        groups: int = 1,
        dilation: int = 1,
        stride_in_1x1: bool = False,
        squeeze: int | None = None,
        shortcut: nn.Module | None = None,
        residual: bool = True,
        se: Recalibration | None = None,
    ) -> None:
        super().__init__()
        squeeze = width if squeeze is None else squeeze
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = conv1x1(in_channels, squeeze, first)
        self.bn1 = nn.BatchNorm2d(squeeze)
        self.conv2 = conv3x3(squeeze, width, second, groups, dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv1x1(width, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self._finish(out_channels, shortcut, residual, se)

    def before_last(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.bn1.then_relu(x, behind=self.conv1)
        return self.bn2.then_relu(x, behind=self.conv2)

    @property
    def last(self) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
        return self.conv3, self.bn3


class ResNet(nn.Module):
    """64 @ 7x7/2, max-pooling, four stages of residual blocks, the mean, one linear layer.

    | out | 18 | 34 | 50 | 101 | 152 |
    |---|---|---|---|---|---|
    | 112x112 | 7x7/2, 64 | | | | |
    | 56x56 | 3x3 max-pooling/2 | | | | |
    | 56x56 | 2 x (3x3 64, 3x3 64) | 3 x | 3 x (1x1 64, 3x3 64, 1x1 256) | 3 x | 3 x |
    | 28x28 | 2 x (3x3 128, 3x3 128) | 4 x | 4 x (1x1 128, 3x3 128, 1x1 512) | 4 x | 8 x |
    | 14x14 | 2 x (3x3 256, 3x3 256) | 6 x | 6 x (1x1 256, 3x3 256, 1x1 1024) | 23 x | 36 x |
    | 7x7 | 2 x (3x3 512, 3x3 512) | 3 x | 3 x (1x1 512, 3x3 512, 1x1 2048) | 3 x | 3 x |
    | 1x1 | mean, 1000 classes | | | | |

    Each stage but the first halves the size in its first block.  ``groups`` and ``width_per_group`` make ResNeXt and
    Wide ResNet of it: the inner convolutions of a block have ``groups * width_per_group * maps / 64`` maps.
    ``options`` go to every block.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: tuple[int, ...],
        num_classes: int = 1000,
        *,
        zero_init_residual: bool = False,
        replace_stride_with_dilation: tuple[bool, ...] = (False, False, False),
        groups: int = 1,
        width_per_group: int = 64,
        conv_bias: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        if len(replace_stride_with_dilation) != 3:
            raise ModelOptionError(
                "resnet: replace_stride_with_dilation says for each of the stages 2, 3 and 4 whether it is dilated "
                f"instead of strided; got {replace_stride_with_dilation!r}"
            )
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels, dilation = 64, 1
        if groups > 1:
            options["groups"] = groups
        stages: list[nn.Module] = []
        for maps, blocks, dilate in zip((64, 128, 256, 512), layers, (False, *replace_stride_with_dilation)):
            out, width = maps * block.expansion, maps * width_per_group // 64 * groups
            stride, before = (2 if stages else 1), dilation
            if dilate:
                stride, dilation = 1, 2 * dilation
            made = []
            for i in range(blocks):
                step, spread = (stride, before) if i == 0 else (1, dilation)
                shortcut = projection(channels, out, step)
                made.append(block(channels, width, out, step, dilation=spread, shortcut=shortcut, **options))
                channels = out
            stages.append(nn.Sequential(*made))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        he_init(self)
        if conv_bias:
            add_biases(self)
        if zero_init_residual:
            zero_last_norms(self)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.maxpool(self.bn1.then_relu(x, behind=self.conv1))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def zero_last_norms(model: nn.Module) -> None:
    """Let every residual block begin as the identity: the last gamma of its branch becomes 0 (Goyal et al. 2017)."""
    for block in model.modules():
        if isinstance(block, ResidualBlock):
            norms = [layer for name, layer in block.named_children() if name.startswith("bn")]
            nn.init.zeros_(norms[-1].weight)


@register((3, 224, 224), "He et al. 2015, table 1, as in torchvision: 11,689,512 parameters")
def resnet18(num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    """18 layers with weights: 1 + 4 * 4 + 1.  (N, 3, 224, 224) -> (N, num_classes); any other size runs too.

    ``zero_init_residual``: every block begins as the identity.

    >>> import minidl
    >>> from minidl import models
    >>> net = models.resnet18(num_classes=10).eval()
    >>> net(minidl.zeros(1, 3, 32, 32)).shape
    (1, 10)
    """
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes, zero_init_residual=zero_init_residual)


@register((3, 224, 224), "He et al. 2015, table 1, as in torchvision: 21,797,672 parameters")
def resnet34(num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    """34 layers; options as :func:`resnet18`."""
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes, zero_init_residual=zero_init_residual)


@register((3, 224, 224), "He et al. 2015, table 1, version 1.5 as in torchvision: 25,557,032 parameters")
def resnet50(
    num_classes: int = 1000,
    zero_init_residual: bool = False,
    replace_stride_with_dilation: tuple[bool, ...] = (False, False, False),
    stride_in_1x1: bool = False,
    conv_bias: bool = False,
) -> ResNet:
    """50 layers of bottlenecks: (N, 3, 224, 224) -> (N, num_classes).

    ``stride_in_1x1``: the paper's network (:func:`resnet50_v1`); published PyTorch weights have the stride in the 3x3
    convolution.  ``replace_stride_with_dilation`` lets stages 2, 3, 4 keep the size and dilate their convolutions
    instead, as segmentation networks need it.  ``conv_bias``: the convolutions have biases, as in Keras (25,583,592
    parameters), whose network has ``stride_in_1x1`` too, and 1.001e-5 for the eps.

    >>> from minidl import models, nn
    >>> with nn.utils.skip_init():
    ...     net = models.resnet50()
    >>> sum(p.numel() for p in net.parameters())
    25557032
    """
    dilate = replace_stride_with_dilation
    return _bottlenecks((3, 4, 6, 3), num_classes, zero_init_residual, dilate, stride_in_1x1, conv_bias)


@register((3, 224, 224), "He et al. 2015, table 1, version 1.5 as in torchvision: 44,549,160 parameters")
def resnet101(
    num_classes: int = 1000,
    zero_init_residual: bool = False,
    replace_stride_with_dilation: tuple[bool, ...] = (False, False, False),
    stride_in_1x1: bool = False,
    conv_bias: bool = False,
) -> ResNet:
    """101 layers of bottlenecks; options as :func:`resnet50`."""
    dilate = replace_stride_with_dilation
    return _bottlenecks((3, 4, 23, 3), num_classes, zero_init_residual, dilate, stride_in_1x1, conv_bias)


@register((3, 224, 224), "He et al. 2015, table 1, version 1.5 as in torchvision: 60,192,808 parameters")
def resnet152(
    num_classes: int = 1000,
    zero_init_residual: bool = False,
    replace_stride_with_dilation: tuple[bool, ...] = (False, False, False),
    stride_in_1x1: bool = False,
    conv_bias: bool = False,
) -> ResNet:
    """152 layers of bottlenecks; options as :func:`resnet50`."""
    dilate = replace_stride_with_dilation
    return _bottlenecks((3, 8, 36, 3), num_classes, zero_init_residual, dilate, stride_in_1x1, conv_bias)


def _bottlenecks(
    layers: tuple[int, ...],
    num_classes: int,
    zero: bool,
    dilate: tuple[bool, ...],
    stride_in_1x1: bool,
    conv_bias: bool,
) -> ResNet:
    return ResNet(
        Bottleneck,
        layers,
        num_classes,
        zero_init_residual=zero,
        replace_stride_with_dilation=dilate,
        stride_in_1x1=stride_in_1x1,
        conv_bias=conv_bias,
    )


# ---- version 1: the stride where the paper has it -------------------------------------------------------------------


@register((3, 224, 224), "He et al. 2015, table 1: 25,557,032 parameters, 3.86 G multiply-adds")
def resnet50_v1(num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    """:func:`resnet50` with the stride in the first 1x1 convolution of a block, as in the paper and in Caffe."""
    return resnet50(num_classes, zero_init_residual, stride_in_1x1=True)


@register((3, 224, 224), "He et al. 2015, table 1: 44,549,160 parameters, 7.57 G multiply-adds")
def resnet101_v1(num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    """:func:`resnet101` with the stride in the first 1x1 convolution of a block."""
    return resnet101(num_classes, zero_init_residual, stride_in_1x1=True)


@register((3, 224, 224), "He et al. 2015, table 1: 60,192,808 parameters, 11.28 G multiply-adds")
def resnet152_v1(num_classes: int = 1000, zero_init_residual: bool = False) -> ResNet:
    """:func:`resnet152` with the stride in the first 1x1 convolution of a block."""
    return resnet152(num_classes, zero_init_residual, stride_in_1x1=True)


# ---- the plain networks that the paper compares with -----------------------------------------------------------------


@register((3, 224, 224), "He et al. 2015, figure 4 left: 11,515,688 parameters")
def plain18(num_classes: int = 1000) -> ResNet:
    """:func:`resnet18` without its shortcuts."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes, residual=False)


@register((3, 224, 224), "He et al. 2015, figure 4 left: 21,623,848 parameters")
def plain34(num_classes: int = 1000) -> ResNet:
    """:func:`resnet34` without its shortcuts; it learns worse than :func:`plain18`."""
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes, residual=False)
