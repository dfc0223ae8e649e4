"""Squeeze-and-excitation networks: every map is scaled by what the means of all maps say about it.

Source: Hu, Shen and Sun 2018, "Squeeze-and-excitation networks", arXiv:1709.01507, figures 1 and 3, table 1; the
authors' Caffe files hujie-frank/SENet.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import minidl
from minidl import nn
from minidl.nn import functional as F
from minidl.registry import register

from .cifar_resnet import CifarResNet
from .resnet import BasicBlock, Bottleneck, he_init, projection


class SqueezeExcite(nn.Module):
    """Mean of each map, C / reduction hidden units, C factors between 0 and 1; (N, C, H, W) -> (N, C, H, W).

    The two fully connected layers are 1x1 convolutions, as in the authors' files.  ``hidden``, ``activation`` and
    ``gate`` are for the networks that have others: MobileNet version 3, EfficientNet.

    >>> import minidl
    >>> SqueezeExcite(32)(minidl.zeros(2, 32, 5, 7)).shape
    (2, 32, 5, 7)
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        *,
        hidden: int | None = None,
        activation: Callable[..., minidl.Tensor] = F.relu,
        gate: Callable[..., minidl.Tensor] = F.sigmoid,
    ) -> None:
        super().__init__()
        hidden = hidden or channels // reduction
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)
        self.activation, self.gate = activation, gate

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        squeezed = x.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
        return x * self.gate(self.fc2(self.activation(self.fc1(squeezed))))


class SENet(nn.Module):
    """ResNet, ResNeXt or the authors' 154 layers, with squeeze-and-excitation before each addition.

    | | se_resnet50 | se_resnext50_32x4d | senet154 |
    |---|---|---|---|
    | stem | 7x7/2 64 | 7x7/2 64 | 3x3/2 64, 3x3 64, 3x3 128 |
    | blocks | 3 4 6 3 | 3 4 6 3 | 3 8 36 3 |
    | stage 1 | 1x1 64, 3x3 64, 1x1 256 | 1x1 128, 3x3 128 (32x4), 1x1 256 | 1x1 128, 3x3 256 (64x4), 1x1 256 |
    | stride in | 1x1 | 3x3 | 3x3 |
    | projection | 1x1 | 1x1 | 3x3, in stage 1 1x1 |
    | before the classes | | | dropout 0.2 |

    State dicts have the names of the weights converted from Caffe (layer0.conv1, layer1.0.se_module.fc1,
    last_linear).  ``ceil_pool``: the stem's max-pooling as in Caffe, without padding and rounded up; else as
    in ResNet, padded.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: tuple[int, ...],
        num_classes: int = 1000,
        *,
        groups: int = 1,
        width_per_group: int = 64,
        senet154: bool = False,
        ceil_pool: bool = True,
        dropout: float = 0.0,
        reduction: int = 16,
        **options: Any,
    ) -> None:
        super().__init__()
        stem: list[tuple[str, nn.Module]] = []
        channels = 3
        filters = ((64, 3, 2), (64, 3, 1), (128, 3, 1)) if senet154 else ((64, 7, 2),)
        for i, (maps, size, stride) in enumerate(filters, 1):
            conv = nn.Conv2d(channels, maps, size, stride=stride, padding=size // 2, bias=False)
            stem += [(f"conv{i}", conv), (f"bn{i}", nn.BatchNorm2d(maps)), (f"relu{i}", nn.ReLU())]
            channels = maps
        pool = nn.MaxPool2d(3, 2, ceil_mode=True) if ceil_pool else nn.MaxPool2d(3, 2, padding=1)
        self.layer0 = nn.Sequential(OrderedDict([*stem, ("pool", pool)]))
        options["se"] = lambda maps: SqueezeExcite(maps, reduction)
        if groups > 1:
            options["groups"] = groups
        stages: list[nn.Module] = []
        for maps, blocks in zip((64, 128, 256, 512), layers):
            out, width = maps * block.expansion, maps * width_per_group // 64 * groups
            if senet154:
                options["squeeze"] = width // 2
            made = []
            for i in range(blocks):
                step = 2 if stages and i == 0 else 1
                shortcut = projection(channels, out, step, 3 if senet154 and stages else 1)
                made.append(block(channels, width, out, step, shortcut=shortcut, **options))
                channels = out
            stages.append(nn.Sequential(*made))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.last_linear = nn.Linear(channels, num_classes)
        he_init(self)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.layer0(x)))))
        return self.last_linear(self.dropout(self.avg_pool(x).flatten(1)))


@register((3, 224, 224), "Hu et al. 2018: 11,778,592 parameters")
def se_resnet18(num_classes: int = 1000) -> SENet:
    """ResNet-18 with squeeze-and-excitation: (N, 3, 224, 224) -> (N, num_classes).

    >>> from minidl import models
    >>> net = models.se_resnet18(num_classes=10)
    >>> net.layer1[0].se_module
    SqueezeExcite(
      (fc1): Conv2d(64, 4, kernel_size=(1, 1), stride=(1, 1))
      (fc2): Conv2d(4, 64, kernel_size=(1, 1), stride=(1, 1))
    )
    """
    return SENet(BasicBlock, (2, 2, 2, 2), num_classes)


@register((3, 224, 224), "Hu et al. 2018: 21,958,868 parameters")
def se_resnet34(num_classes: int = 1000) -> SENet:
    """ResNet-34 with squeeze-and-excitation."""
    return SENet(BasicBlock, (3, 4, 6, 3), num_classes)


@register((3, 224, 224), "Hu et al. 2018, table 1, as in the authors' files: 28,088,024 parameters")
def se_resnet50(num_classes: int = 1000) -> SENet:
    """ResNet-50 with squeeze-and-excitation; the stride stands in the first 1x1 convolution, as in ResNet's paper."""
    return SENet(Bottleneck, (3, 4, 6, 3), num_classes, stride_in_1x1=True)


@register((3, 224, 224), "Hu et al. 2018, stride in the 3x3 convolutions, as in timm: 28,088,024 parameters")
def se_resnet50_v1_5(num_classes: int = 1000) -> SENet:
    """:func:`se_resnet50` with the stride in the 3x3 convolutions and the stem's max-pooling padded."""
    return SENet(Bottleneck, (3, 4, 6, 3), num_classes, ceil_pool=False)


@register((3, 224, 224), "Hu et al. 2018, as in the authors' files: 49,326,872 parameters")
def se_resnet101(num_classes: int = 1000) -> SENet:
    """ResNet-101 with squeeze-and-excitation, as :func:`se_resnet50`."""
    return SENet(Bottleneck, (3, 4, 23, 3), num_classes, stride_in_1x1=True)


@register((3, 224, 224), "Hu et al. 2018, as in the authors' files: 66,821,848 parameters")
def se_resnet152(num_classes: int = 1000) -> SENet:
    """ResNet-152 with squeeze-and-excitation, as :func:`se_resnet50`."""
    return SENet(Bottleneck, (3, 8, 36, 3), num_classes, stride_in_1x1=True)


@register((3, 224, 224), "Hu et al. 2018, table 1, as in the authors' files: 27,559,896 parameters")
def se_resnext50_32x4d(num_classes: int = 1000) -> SENet:
    """ResNeXt-50 with squeeze-and-excitation."""
    return SENet(Bottleneck, (3, 4, 6, 3), num_classes, groups=32, width_per_group=4)


@register((3, 224, 224), "Hu et al. 2018, as in the authors' files: 48,955,416 parameters")
def se_resnext101_32x4d(num_classes: int = 1000) -> SENet:
    """ResNeXt-101 with squeeze-and-excitation."""
    return SENet(Bottleneck, (3, 4, 23, 3), num_classes, groups=32, width_per_group=4)


@register((3, 224, 224), "Hu et al. 2018, appendix: 115,088,984 parameters, winner of ILSVRC 2017")
def senet154(num_classes: int = 1000, dropout: float = 0.2) -> SENet:
    """The network of the ILSVRC 2017 entry, 2.251 % top-5 error as an ensemble."""
    return SENet(Bottleneck, (3, 8, 36, 3), num_classes, groups=64, width_per_group=4, senet154=True, dropout=dropout)


# ---- CIFAR ----------------------------------------------------------------------------------------------------------


def _cifar(depth: int, num_classes: int) -> CifarResNet:
    return CifarResNet(depth, num_classes, "B", se=SqueezeExcite)


@register((3, 32, 32), "CIFAR ResNet-20 with projections, as in pytorchcv: 274,847 parameters")
def cifar_se_resnet20(num_classes: int = 10) -> CifarResNet:
    """:func:`cifar_resnet20_b` with squeeze-and-excitation."""
    return _cifar(20, num_classes)


@register((3, 32, 32), "CIFAR ResNet-56 with projections, as in pytorchcv: 862,889 parameters")
def cifar_se_resnet56(num_classes: int = 10) -> CifarResNet:
    """:func:`cifar_resnet56_b` with squeeze-and-excitation."""
    return _cifar(56, num_classes)


@register((3, 32, 32), "CIFAR ResNet-110 with projections, as in pytorchcv: 1,744,952 parameters")
def cifar_se_resnet110(num_classes: int = 10) -> CifarResNet:
    """:func:`cifar_resnet110_b` with squeeze-and-excitation."""
    return _cifar(110, num_classes)
