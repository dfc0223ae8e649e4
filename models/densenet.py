"""DenseNet: every layer sees the maps of all layers before it.

Source: Huang, Liu, van der Maaten and Weinberger 2017, "Densely connected convolutional networks", arXiv:1608.06993,
tables 1 and 2.
"""

from __future__ import annotations

import minidl
from minidl import nn
from minidl.nn.module import is_watched
from minidl.registry import ModelOptionError, register

from .resnet import conv1x1, conv3x3, he_init


class DenseLayer(nn.Module):
    """BN-ReLU-3x3 to ``growth_rate`` new maps; with ``bottleneck`` BN-ReLU-1x1 to 4 times as many before it."""

    def __init__(self, in_channels: int, growth_rate: int, bottleneck: bool, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.bottleneck = bottleneck
        if bottleneck:
            self.conv1 = conv1x1(in_channels, 4 * growth_rate)
            self.norm2 = nn.BatchNorm2d(4 * growth_rate)
            self.conv2 = conv3x3(4 * growth_rate, growth_rate)
        else:
            self.conv1 = conv3x3(in_channels, growth_rate)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.norm1.then_relu(x)
        if not self.bottleneck:
            return self.dropout(self.conv1(x))
        if type(self.dropout) is nn.Dropout and not self.dropout.training and not is_watched(self.dropout):
            x = self.norm2.then_relu(x, behind=self.conv1)  # dropout does nothing
        else:
            x = self.norm2.then_relu(self.dropout(self.conv1(x)))
        return self.dropout(self.conv2(x))


class DenseBlock(nn.Module):
    """Layers of which the l-th sees k0 + k (l - 1) maps: the block's input and all maps made so far."""

    def __init__(self, layers: int, in_channels: int, growth_rate: int, bottleneck: bool, dropout: float) -> None:
        super().__init__()
        for i in range(layers):
            layer = DenseLayer(in_channels + i * growth_rate, growth_rate, bottleneck, dropout)
            self.register_module(f"denselayer{i + 1}", layer)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        for layer in self.children():
            x = minidl.cat([x, layer(x)], 1)
        return x


class Transition(nn.Module):
    """BN-ReLU-1x1 to fewer maps, then the mean of each 2x2."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.conv = conv1x1(in_channels, out_channels)
        self.dropout = nn.Dropout(dropout)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return self.pool(self.dropout(self.conv(self.norm.then_relu(x))))


class DenseNet(nn.Module):
    """A stem, dense blocks with transitions between them, BN-ReLU, the mean, one linear layer.

    | out | 121 | 169 | 201 | 264 |
    |---|---|---|---|---|
    | 112x112 | 7x7/2, 2k maps | | | |
    | 56x56 | 3x3 max-pooling/2 | | | |
    | 56x56 | (1x1, 3x3) x 6 | x 6 | x 6 | x 6 |
    | 28x28 | 1x1, 2x2 mean; x 12 | x 12 | x 12 | x 12 |
    | 14x14 | 1x1, 2x2 mean; x 24 | x 32 | x 48 | x 64 |
    | 7x7 | 1x1, 2x2 mean; x 16 | x 32 | x 32 | x 48 |
    | 1x1 | mean, 1000 classes | | | |

    k = 32 (48 in DenseNet-161, with x 6, 12, 36, 24).  ``small`` images have a stem of one 3x3 convolution.
    ``compression``: the share of the maps that a transition keeps.  ``dropout`` follows every convolution but the
    stem's, as in the authors' program (torchvision has it behind the 3x3 convolutions only).
    """

    def __init__(
        self,
        growth_rate: int,
        blocks: tuple[int, ...],
        stem_maps: int,
        num_classes: int = 1000,
        *,
        bottleneck: bool = True,
        compression: float = 0.5,
        dropout: float = 0.0,
        small: bool = False,
        init: str = "torchvision",
    ) -> None:
        super().__init__()
        if init not in ("torchvision", "authors"):
            raise ModelOptionError(f"densenet: init is 'torchvision' or 'authors', not {init!r}")
        self.features = nn.Sequential()
        put = self.features.register_module
        if small:
            put("conv0", conv3x3(3, stem_maps))
        else:
            put("conv0", nn.Conv2d(3, stem_maps, 7, stride=2, padding=3, bias=False))
            put("norm0", nn.BatchNorm2d(stem_maps))
            put("relu0", nn.ReLU())
            put("pool0", nn.MaxPool2d(3, stride=2, padding=1))
        channels = stem_maps
        for i, layers in enumerate(blocks, 1):
            put(f"denseblock{i}", DenseBlock(layers, channels, growth_rate, bottleneck, dropout))
            channels += layers * growth_rate
            if i < len(blocks):
                kept = int(channels * compression)
                put(f"transition{i}", Transition(channels, kept, dropout))
                channels = kept
        put(f"norm{len(blocks) + 1}", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, num_classes)
        he_init(self, "fan_in" if init == "torchvision" else "fan_out")
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.features(x).relu()
        return self.classifier(x.mean((2, 3)))


@register((3, 224, 224), "Huang et al. 2017, table 1, as in torchvision: 7,978,856 parameters")
def densenet121(num_classes: int = 1000, dropout: float = 0.0, init: str = "torchvision") -> DenseNet:
    """(6 + 12 + 24 + 16) * 2 + 1 convolutions, three transitions, one linear layer: 121.  Sizes from 29 on run.

    (N, 3, 224, 224) -> (N, num_classes).  ``init`` "torchvision": variance 2 / fan in, "authors": 2 / fan out.

    >>> import minidl
    >>> from minidl import models
    >>> models.densenet121(num_classes=10).eval()(minidl.zeros(1, 3, 32, 32)).shape
    (1, 10)
    """
    return DenseNet(32, (6, 12, 24, 16), 64, num_classes, dropout=dropout, init=init)


@register((3, 224, 224), "Huang et al. 2017, k = 48, as in torchvision: 28,681,000 parameters")
def densenet161(num_classes: int = 1000, dropout: float = 0.0, init: str = "torchvision") -> DenseNet:
    """161 layers with 48 new maps each; options as :func:`densenet121`."""
    return DenseNet(48, (6, 12, 36, 24), 96, num_classes, dropout=dropout, init=init)


@register((3, 224, 224), "Huang et al. 2017, table 1, as in torchvision: 14,149,480 parameters")
def densenet169(num_classes: int = 1000, dropout: float = 0.0, init: str = "torchvision") -> DenseNet:
    """169 layers; options as :func:`densenet121`."""
    return DenseNet(32, (6, 12, 32, 32), 64, num_classes, dropout=dropout, init=init)


@register((3, 224, 224), "Huang et al. 2017, table 1, as in torchvision: 20,013,928 parameters")
def densenet201(num_classes: int = 1000, dropout: float = 0.0, init: str = "torchvision") -> DenseNet:
    """201 layers; options as :func:`densenet121`."""
    return DenseNet(32, (6, 12, 48, 32), 64, num_classes, dropout=dropout, init=init)


@register((3, 224, 224), "Huang et al. 2017, table 1: 33,337,704 parameters")
def densenet264(
    num_classes: int = 1000, dropout: float = 0.0, init: str = "torchvision", growth_rate: int = 32
) -> DenseNet:
    """264 layers by its name, 265 by table 1; options as :func:`densenet121`.

    ``growth_rate=48`` is the authors' wider form (72,686,632 parameters).
    """
    return DenseNet(growth_rate, (6, 12, 64, 48), 2 * growth_rate, num_classes, dropout=dropout, init=init)


# ---- CIFAR ----------------------------------------------------------------------------------------------------------


def _cifar(
    depth: int, k: int, num_classes: int, dropout: float, stem_maps: int = 16, bottleneck: bool = False
) -> DenseNet:
    """Three blocks of (depth - 4) / 3 layers at 32x32, 16x16, 8x8; half as many with two convolutions each (BC)."""
    layers = (depth - 4) // (6 if bottleneck else 3)
    compression = 0.5 if bottleneck else 1.0
    return DenseNet(
        k,
        (layers,) * 3,
        stem_maps,
        num_classes,
        bottleneck=bottleneck,
        compression=compression,
        dropout=dropout,
        small=True,
        init="authors",
    )


@register((3, 32, 32), "Huang et al. 2017, table 2: 1,019,722 parameters, error 5.24 %")
def cifar_densenet40_k12(num_classes: int = 10, dropout: float = 0.0, stem_maps: int = 16) -> DenseNet:
    """40 layers with 12 new maps each: (N, 3, 32, 32) -> (N, num_classes).

    ``dropout``: the paper has 0.2 where it trains without augmentation.  ``stem_maps``: 16 as in the paper; the
    authors' program has 24 today (1,059,298 parameters).

    >>> from minidl import models
    >>> sum(p.numel() for p in models.cifar_densenet40_k12(stem_maps=24).parameters())
    1059298
    """
    return _cifar(40, 12, num_classes, dropout, stem_maps)


@register((3, 32, 32), "Huang et al. 2017, table 2: 6,979,642 parameters, error 4.10 %")
def cifar_densenet100_k12(num_classes: int = 10, dropout: float = 0.0, stem_maps: int = 16) -> DenseNet:
    """100 layers with 12 new maps each; options as :func:`cifar_densenet40_k12`."""
    return _cifar(100, 12, num_classes, dropout, stem_maps)


@register((3, 32, 32), "Huang et al. 2017, table 2: 27,249,082 parameters, error 3.74 %")
def cifar_densenet100_k24(num_classes: int = 10, dropout: float = 0.0, stem_maps: int = 16) -> DenseNet:
    """100 layers with 24 new maps each; options as :func:`cifar_densenet40_k12`."""
    return _cifar(100, 24, num_classes, dropout, stem_maps)


@register((3, 32, 32), "Huang et al. 2017, table 2, BC: 769,162 parameters, error 4.51 %")
def cifar_densenet_bc100_k12(num_classes: int = 10, dropout: float = 0.0) -> DenseNet:
    """100 layers with bottlenecks (B) and transitions that halve the maps (C); k = 12."""
    return _cifar(100, 12, num_classes, dropout, 24, bottleneck=True)


@register((3, 32, 32), "Huang et al. 2017, table 2, BC: 15,324,406 parameters, error 3.62 %")
def cifar_densenet_bc250_k24(num_classes: int = 10, dropout: float = 0.0) -> DenseNet:
    """250 layers with bottlenecks and transitions that halve the maps; k = 24."""
    return _cifar(250, 24, num_classes, dropout, 48, bottleneck=True)


@register((3, 32, 32), "Huang et al. 2017, table 2, BC: 25,624,430 parameters, error 3.46 %")
def cifar_densenet_bc190_k40(num_classes: int = 10, dropout: float = 0.0) -> DenseNet:
    """190 layers with bottlenecks and transitions that halve the maps; k = 40."""
    return _cifar(190, 40, num_classes, dropout, 80, bottleneck=True)
