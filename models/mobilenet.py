"""MobileNet: convolutions taken apart into one filter a map and a 1x1 mixture of the maps.

Sources: Howard et al. 2017, "MobileNets", arXiv:1704.04861, table 1 (version 1); Sandler et al. 2018, "MobileNetV2:
inverted residuals and linear bottlenecks", arXiv:1801.04381, table 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minidl
from minidl import nn
from minidl.registry import ModelOptionError, register

from ._layers import choose

_ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {"relu": nn.ReLU, "relu6": nn.ReLU6}


def conv_bn(
    in_channels: int,
    out_channels: int,
    size: int,
    stride: int = 1,
    groups: int = 1,
    activation: Callable[..., nn.Module] | None = nn.ReLU6,
    padding: Any = None,
    eps: float = 1e-5,
    momentum: float = 0.1,
) -> nn.Sequential:
    """Convolution, batch normalisation, and an activation if there is one."""
    padding = size // 2 if padding is None else padding
    layers = [
        nn.Conv2d(in_channels, out_channels, size, stride=stride, padding=padding, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels, eps=eps, momentum=momentum),
    ]
    return nn.Sequential(*layers, *([] if activation is None else [activation()]))


def mobile_init(model: nn.Module) -> None:
    """Convolutions by He et al. 2015 (outputs), linear layers from N(0, 0.01^2), biases 0."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.01)
            nn.init.zeros_(layer.bias)


class _MobileNet(nn.Module):
    """``features``, the mean of each map, ``classifier``."""

    features: nn.Sequential
    classifier: nn.Sequential

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.features(x)
        return self.classifier(x.mean((2, 3)))


# ---- version 1 ----------------------------------------------------------------------------------------------------

# outputs and stride of each pair of a depthwise 3x3 and a 1x1 convolution.  The paper's table prints stride 2 for the
# last one too, although its sizes go 7 -> 7.
_PAIRS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))


class MobileNetV1(_MobileNet):
    """32 @ 3x3/2, thirteen pairs of depthwise 3x3 and 1x1 convolutions, the mean, one linear layer.

    Behind each convolution stand batch normalisation and ReLU.  Sizes 224 -> 112 -> 56 -> 28 -> 14 -> 7.
    """

    def __init__(
        self, num_classes: int, width: float, activation: str, padding: str, dropout: float, eps: float
    ) -> None:
        super().__init__()
        if padding not in ("symmetric", "bottom_right"):
            raise ModelOptionError(f"mobilenet_v1: padding is 'symmetric' or 'bottom_right', not {padding!r}")
        act = choose("mobilenet_v1", "activation", activation, _ACTIVATIONS)

        def spatial(channels: int, maps: int, stride: int, groups: int) -> nn.Sequential:
            pads = ((0, 1), (0, 1)) if stride == 2 and padding == "bottom_right" else 1
            return conv_bn(channels, maps, 3, stride, groups, act, pads, eps)

        channels = int(32 * width)
        if channels < 1:
            raise ModelOptionError(
                f"mobilenet_v1: a width of {width} leaves {channels} of its 32 first maps; {1 / 32} is the least"
            )
        layers: list[nn.Module] = [spatial(3, channels, 2, 1)]
        for outputs, stride in _PAIRS:
            maps = int(outputs * width)
            pointwise = conv_bn(channels, maps, 1, activation=act, eps=eps)
            layers.append(nn.Sequential(spatial(channels, channels, stride, channels), pointwise))
            channels = maps
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, num_classes))
        mobile_init(self)


@register((3, 224, 224), "Howard et al. 2017: 4,231,976 parameters")
def mobilenet_v1(
    num_classes: int = 1000,
    width: float = 1.0,
    activation: str = "relu",
    padding: str = "symmetric",
    dropout: float = 0.001,
    eps: float = 1e-5,
) -> MobileNetV1:
    """MobileNet: (N, 3, 224, 224) -> (N, num_classes).

    ``width`` multiplies all numbers of maps.  ``activation`` "relu" is the paper's; TensorFlow and Keras have
    "relu6", ``padding="bottom_right"`` where the stride is 2, and ``eps=1e-3``.

    >>> import minidl
    >>> from minidl import models
    >>> models.mobilenet_v1(width=0.25).eval()(minidl.zeros(1, 3, 64, 64)).shape
    (1, 1000)
    """
    return MobileNetV1(num_classes, width, activation, padding, dropout, eps)


@register((3, 224, 224), "Howard et al. 2017, width 0.75: 2,585,560 parameters")
def mobilenet_v1_075(num_classes: int = 1000, dropout: float = 0.001) -> MobileNetV1:
    """:func:`mobilenet_v1` with three quarters of the maps."""
    return mobilenet_v1(num_classes, 0.75, dropout=dropout)


@register((3, 224, 224), "Howard et al. 2017, width 0.5: 1,331,592 parameters")
def mobilenet_v1_050(num_classes: int = 1000, dropout: float = 0.001) -> MobileNetV1:
    """:func:`mobilenet_v1` with half of the maps."""
    return mobilenet_v1(num_classes, 0.5, dropout=dropout)


@register((3, 224, 224), "Howard et al. 2017, width 0.25: 470,072 parameters")
def mobilenet_v1_025(num_classes: int = 1000, dropout: float = 0.001) -> MobileNetV1:
    """:func:`mobilenet_v1` with a quarter of the maps."""
    return mobilenet_v1(num_classes, 0.25, dropout=dropout)


# ---- version 2 ----------------------------------------------------------------------------------------------------

# expansion t, maps c, repeats n, stride s of the first: table 2 of the paper
_BOTTLENECKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def make_divisible(value: float, divisor: int = 8) -> int:
    """The nearest multiple of ``divisor``, one more where that takes away more than a tenth.

    >>> make_divisible(32 * 0.35), make_divisible(24 * 0.25)
    (16, 8)
    """
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * value else nearest


class InvertedResidual(nn.Module):
    """1x1 to ``expansion`` times the maps, depthwise 3x3, 1x1 without activation; added to the input where they fit."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers: list[nn.Module] = [conv_bn(in_channels, hidden, 1)] if expansion != 1 else []
        layers += [
            conv_bn(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        ]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(_MobileNet):
    """32 @ 3x3/2, seventeen inverted residuals, 1280 @ 1x1, the mean, one linear layer.

    | expansion | maps | times | stride | out |
    |---|---|---|---|---|
    | 1 | 16 | 1 | 1 | 112x112 |
    | 6 | 24 | 2 | 2 | 56x56 |
    | 6 | 32 | 3 | 2 | 28x28 |
    | 6 | 64 | 4 | 2 | 14x14 |
    | 6 | 96 | 3 | 1 | 14x14 |
    | 6 | 160 | 3 | 2 | 7x7 |
    | 6 | 320 | 1 | 1 | 7x7 |
    """

    def __init__(self, num_classes: int, width: float, dropout: float) -> None:
        super().__init__()
        channels = make_divisible(32 * width)
        layers: list[nn.Module] = [conv_bn(3, channels, 3, stride=2)]
        for expansion, outputs, repeats, stride in _BOTTLENECKS:
            maps = make_divisible(outputs * width)
            for i in range(repeats):
                layers.append(InvertedResidual(channels, maps, stride if i == 0 else 1, expansion))
                channels = maps
        last = make_divisible(1280 * max(1.0, width))
        layers.append(conv_bn(channels, last, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        mobile_init(self)


@register((3, 224, 224), "Sandler et al. 2018, as in torchvision: 3,504,872 parameters")
def mobilenet_v2(num_classes: int = 1000, width: float = 1.0, dropout: float = 0.2) -> MobileNetV2:
    """MobileNet version 2: (N, 3, 224, 224) -> (N, num_classes).

    ``width`` multiplies all numbers of maps, rounded to multiples of 8; the last 1280 grow with it and do not shrink.

    >>> import minidl
    >>> from minidl import models
    >>> models.mobilenet_v2(num_classes=10, width=0.25).eval()(minidl.zeros(1, 3, 64, 64)).shape
    (1, 10)
    """
    return MobileNetV2(num_classes, width, dropout)


@register((3, 224, 224), "Sandler et al. 2018, width 0.25: 1,519,112 parameters")
def mobilenet_v2_025(num_classes: int = 1000, dropout: float = 0.2) -> MobileNetV2:
    """:func:`mobilenet_v2` with 0.25 times the maps."""
    return mobilenet_v2(num_classes, 0.25, dropout)


@register((3, 224, 224), "Sandler et al. 2018, width 0.35: 1,677,128 parameters")
def mobilenet_v2_035(num_classes: int = 1000, dropout: float = 0.2) -> MobileNetV2:
    """:func:`mobilenet_v2` with 0.35 times the maps."""
    return mobilenet_v2(num_classes, 0.35, dropout)


@register((3, 224, 224), "Sandler et al. 2018, width 0.5: 1,968,680 parameters")
def mobilenet_v2_05(num_classes: int = 1000, dropout: float = 0.2) -> MobileNetV2:
    """:func:`mobilenet_v2` with 0.5 times the maps."""
    return mobilenet_v2(num_classes, 0.5, dropout)


@register((3, 224, 224), "Sandler et al. 2018, width 0.75: 2,636,424 parameters")
def mobilenet_v2_075(num_classes: int = 1000, dropout: float = 0.2) -> MobileNetV2:
    """:func:`mobilenet_v2` with 0.75 times the maps."""
    return mobilenet_v2(num_classes, 0.75, dropout)


@register((3, 224, 224), "Sandler et al. 2018, width 1.3: 5,386,792 parameters")
def mobilenet_v2_13(num_classes: int = 1000, dropout: float = 0.2) -> MobileNetV2:
    """:func:`mobilenet_v2` with 1.3 times the maps."""
    return mobilenet_v2(num_classes, 1.3, dropout)


@register((3, 224, 224), "Sandler et al. 2018, width 1.4: 6,108,776 parameters")
def mobilenet_v2_14(num_classes: int = 1000, dropout: float = 0.2) -> MobileNetV2:
    """:func:`mobilenet_v2` with 1.4 times the maps."""
    return mobilenet_v2(num_classes, 1.4, dropout)
