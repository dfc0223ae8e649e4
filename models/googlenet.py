"""GoogLeNet: 1x1, 3x3 and 5x5 convolutions side by side, each behind a cheap 1x1 one.

Source: Szegedy et al. 2015, "Going deeper with convolutions", arXiv:1409.4842, table 1; as Caffe file bvlc_googlenet
(which is the paper's network) and as in torchvision (batch normalisation, 3x3 where the paper has 5x5).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import minidl
from minidl import nn
from minidl.registry import ModelOptionError, register

from ._convnet import local_response_norm

# name: 1x1; reduction and 3x3; reduction and 5x5; projection behind the pooling: table 1 of the paper
BLOCKS: dict[str, tuple[int, tuple[int, int], tuple[int, int], int]] = {
    "3a": (64, (96, 128), (16, 32), 32),
    "3b": (128, (128, 192), (32, 96), 64),
    "4a": (192, (96, 208), (16, 48), 64),
    "4b": (160, (112, 224), (24, 64), 64),
    "4c": (128, (128, 256), (24, 64), 64),
    "4d": (112, (144, 288), (32, 64), 64),
    "4e": (256, (160, 320), (32, 128), 128),
    "5a": (256, (160, 320), (32, 128), 128),
    "5b": (384, (192, 384), (48, 128), 128),
}


class ConvUnit(nn.Module):
    """Convolution, batch normalisation with eps 0.001, ReLU; without ``norm`` the convolution has biases instead."""

    def __init__(
        self, in_channels: int, out_channels: int, size: Any, stride: int = 1, padding: Any = 0, norm: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, size, stride=stride, padding=padding, bias=not norm)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001) if norm else None

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return self.conv.then_relu(x) if self.bn is None else self.bn.then_relu(x, behind=self.conv)


class Inception(nn.Module):
    """1x1, 1x1-3x3, 1x1-5x5 and pooling-1x1 side by side: figure 2 (b).  ``five``: the size of the third filter."""

    def __init__(
        self,
        in_channels: int,
        one: int,
        three: tuple[int, int],
        five: tuple[int, int],
        pooled: int,
        *,
        norm: bool = True,
        size: int = 5,
    ) -> None:
        super().__init__()

        def unit(channels: int, maps: int, k: int) -> ConvUnit:
            return ConvUnit(channels, maps, k, padding=k // 2, norm=norm)

        self.branch1 = unit(in_channels, one, 1)
        self.branch2 = nn.Sequential(unit(in_channels, three[0], 1), unit(*three, 3))
        self.branch3 = nn.Sequential(unit(in_channels, five[0], 1), unit(*five, size))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), unit(in_channels, pooled, 1))

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return minidl.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class NaiveInception(nn.Module):
    """1x1, 3x3, 5x5 and pooling side by side, all on the whole input: figure 2 (a)."""

    def __init__(self, in_channels: int, one: int, three: int, five: int) -> None:
        super().__init__()
        self.branch1 = ConvUnit(in_channels, one, 1, norm=False)
        self.branch2 = ConvUnit(in_channels, three, 3, padding=1, norm=False)
        self.branch3 = ConvUnit(in_channels, five, 5, padding=2, norm=False)
        self.branch4 = nn.MaxPool2d(3, stride=1, padding=1)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return minidl.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class AuxiliaryHead(nn.Module):
    """4x4 means, 128 @ 1x1, 1024 hidden units, dropout 0.7, the classes: makes the layers below learn faster."""

    def __init__(self, in_channels: int, num_classes: int, norm: bool, dropout: float = 0.7) -> None:
        super().__init__()
        # 14x14 -> 4x4 either way; torchvision's form takes other sizes too
        self.pool = nn.AdaptiveAvgPool2d((4, 4)) if norm else nn.AvgPool2d(5, stride=3)
        self.conv = ConvUnit(in_channels, 128, 1, norm=norm)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.conv(self.pool(x)).flatten(1)  # (N, 128 * 4 * 4)
        return self.fc2(self.dropout(self.fc1(x).relu()))


class GoogLeNetOutputs(NamedTuple):
    """What a GoogLeNet with auxiliary heads gives in training mode; the second head (behind 4d) comes first."""

    logits: minidl.Tensor
    aux_logits2: minidl.Tensor
    aux_logits1: minidl.Tensor

    @property
    def aux_weight(self) -> float:
        """How much the loss of each auxiliary head counts: section 5."""
        return 0.3


class GoogLeNet(nn.Module):
    """Three convolutions, nine Inception modules, the mean, one linear layer: 22 layers with weights in a row.

    | block | out | 1x1 | 3x3 | 5x5 | pool |
    |---|---|---|---|---|---|
    | stem | 192 x 28x28 | 7x7/2 64, pool, 1x1 64, 3x3 192, pool | | | |
    | 3a | 256 x 28x28 | 64 | 96-128 | 16-32 | 32 |
    | 3b | 480 x 28x28 | 128 | 128-192 | 32-96 | 64 |
    | 4a | 512 x 14x14 | 192 | 96-208 | 16-48 | 64 |
    | 4b | 512 x 14x14 | 160 | 112-224 | 24-64 | 64 |
    | 4c | 512 x 14x14 | 128 | 128-256 | 24-64 | 64 |
    | 4d | 528 x 14x14 | 112 | 144-288 | 32-64 | 64 |
    | 4e | 832 x 14x14 | 256 | 160-320 | 32-128 | 128 |
    | 5a | 832 x 7x7 | 256 | 160-320 | 32-128 | 128 |
    | 5b | 1024 x 7x7 | 384 | 192-384 | 48-128 | 128 |

    ``variant`` "original": biases, local response normalisation, 5x5 filters; "torchvision": batch normalisation, 3x3
    filters in their place (a slip that the published weights keep) unless ``five_by_five``, 2x2 for the last pooling.
    """

    def __init__(
        self,
        variant: str,
        num_classes: int = 1000,
        *,
        aux_logits: bool = False,
        five_by_five: bool = True,
        transform_input: bool = False,
        lrn: str | None = None,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if variant not in ("original", "torchvision"):
            raise ModelOptionError(f"googlenet: variant is 'original' or 'torchvision', not {variant!r}")
        norm = variant == "torchvision"
        self.transform_input = transform_input
        self.conv1 = ConvUnit(3, 64, 7, stride=2, padding=3, norm=norm)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.norm1 = local_response_norm("googlenet", lrn)
        self.conv2 = ConvUnit(64, 64, 1, norm=norm)
        self.conv3 = ConvUnit(64, 192, 3, padding=1, norm=norm)
        self.norm2 = local_response_norm("googlenet", lrn)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.maxpool4 = nn.MaxPool2d(2 if norm else 3, stride=2, ceil_mode=True)
        channels = 192
        for name, (one, three, five, pooled) in BLOCKS.items():
            block = Inception(channels, one, three, five, pooled, norm=norm, size=5 if five_by_five else 3)
            self.register_module(f"inception{name}", block)
            channels = one + three[1] + five[1] + pooled
        self.aux1 = AuxiliaryHead(512, num_classes, norm) if aux_logits else None
        self.aux2 = AuxiliaryHead(528, num_classes, norm) if aux_logits else None
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        self._initialise(variant)

    def _initialise(self, variant: str) -> None:
        for name, layer in self.named_modules():
            if not isinstance(layer, nn.Conv2d | nn.Linear):
                continue
            if variant == "torchvision":
                nn.init.trunc_normal_(layer.weight, std=0.01)
                continue
            nn.init.lecun_uniform_(layer.weight)  # what Caffe calls xavier
            nn.init.constant_(layer.bias, 0.0 if name.endswith(("fc", "fc2")) else 0.2)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor | GoogLeNetOutputs:
        if self.transform_input:
            x = to_half(x)
        x = self.norm1(self.maxpool1(self.conv1(x)))
        x = self.maxpool2(self.norm2(self.conv3(self.conv2(x))))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        behind_4a = self.inception4a(x)
        behind_4d = self.inception4d(self.inception4c(self.inception4b(behind_4a)))
        x = self.maxpool4(self.inception4e(behind_4d))
        x = self.inception5b(self.inception5a(x))
        logits = self.fc(self.dropout(self.avgpool(x).flatten(1)))
        if self.training and self.aux1 is not None and self.aux2 is not None:
            return GoogLeNetOutputs(logits, self.aux2(behind_4d), self.aux1(behind_4a))
        return logits


def to_half(x: minidl.Tensor) -> minidl.Tensor:
    """Images normalised by torchvision's means and deviations as weights ported from TensorFlow expect them.

    Those subtract 0.5 and divide by 0.5 in every channel.  (N, 3, H, W) -> (N, 3, H, W)
    """
    mean = minidl.tensor([0.485, 0.456, 0.406], dtype=x.dtype, device=x.device).reshape(1, 3, 1, 1)
    std = minidl.tensor([0.229, 0.224, 0.225], dtype=x.dtype, device=x.device).reshape(1, 3, 1, 1)
    return (x * std + (mean - 0.5)) / 0.5


@register((3, 224, 224), "Szegedy et al. 2015, as in torchvision: 6,624,904 parameters")
def googlenet(
    num_classes: int = 1000,
    aux_logits: bool = False,
    transform_input: bool = False,
    five_by_five: bool = False,
    dropout: float = 0.2,
) -> GoogLeNet:
    """torchvision's GoogLeNet: (N, 3, 224, 224) -> (N, num_classes).  Sizes from 15 on run.

    With ``aux_logits`` it gives :class:`GoogLeNetOutputs` in training mode; the paper adds 0.3 times the loss of each
    auxiliary head.  ``transform_input`` for torchvision's ImageNet weights.  ``five_by_five``: the paper's filters.

    >>> import minidl
    >>> from minidl import models
    >>> models.googlenet(num_classes=10).eval()(minidl.zeros(1, 3, 32, 32)).shape
    (1, 10)
    """
    return GoogLeNet(
        "torchvision",
        num_classes,
        aux_logits=aux_logits,
        five_by_five=five_by_five,
        transform_input=transform_input,
        dropout=dropout,
    )


@register((3, 224, 224), "Szegedy et al. 2015, as in torchvision with auxiliary heads: 13,004,888 parameters")
def googlenet_aux(num_classes: int = 1000, transform_input: bool = False, dropout: float = 0.2) -> GoogLeNet:
    """:func:`googlenet` with both auxiliary heads."""
    return googlenet(num_classes, True, transform_input, dropout=dropout)


@register((3, 224, 224), "Szegedy et al. 2015, table 1, as in Caffe: 6,998,552 parameters")
def googlenet_original(
    num_classes: int = 1000, aux_logits: bool = False, lrn: str | None = "caffe", dropout: float = 0.4
) -> GoogLeNet:
    """The paper's GoogLeNet: (N, 3, 224, 224) -> (N, num_classes), no batch normalisation.

    ``lrn``: "caffe", "paper" (AlexNet's constants) or None for none.
    """
    return GoogLeNet("original", num_classes, aux_logits=aux_logits, lrn=lrn, dropout=dropout)


@register((3, 224, 224), "Szegedy et al. 2015, as in Caffe with auxiliary heads: 13,378,280 parameters")
def googlenet_original_aux(num_classes: int = 1000, lrn: str | None = "caffe", dropout: float = 0.4) -> GoogLeNet:
    """:func:`googlenet_original` with both auxiliary heads."""
    return googlenet_original(num_classes, True, lrn, dropout)


# ---- the two modules of the lectures --------------------------------------------------------------------------------


@register((256, 28, 28), "Szegedy et al. 2015, figure 2 (a): 854,196,224 multiply-adds")
def inception_naive_module(in_channels: int = 256) -> NaiveInception:
    """(N, 256, 28, 28) -> (N, 672, 28, 28): 128 @ 1x1, 192 @ 3x3, 96 @ 5x5 and the pooled input."""
    return NaiveInception(in_channels, 128, 192, 96)


@register((256, 28, 28), "Szegedy et al. 2015, figure 2 (b): 271,351,808 multiply-adds")
def inception_reduced_module(in_channels: int = 256) -> Inception:
    """(N, 256, 28, 28) -> (N, 480, 28, 28): :func:`inception_naive_module` with 64 @ 1x1 before each large filter."""
    return Inception(in_channels, 128, (64, 192), (64, 96), 64, norm=False)
