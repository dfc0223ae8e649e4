"""Network in Network: 1x1 convolutions after each spatial one, and no fully connected layers.

Source: Lin, Chen and Yan 2014, "Network in network", ICLR, arXiv:1312.4400; layers as in the authors' Caffe files.
"""

from __future__ import annotations

from collections import OrderedDict

from minidl import nn
from minidl.registry import ModelOptionError, register


class NiN(nn.Sequential):
    """Three or four blocks of one spatial convolution and two "cccp" (1x1) layers, then the mean of each map.

    | nin_cifar10 | out | nin_imagenet | out |
    |---|---|---|---|
    | 192 @ 5x5, 160, 96 | 32x32 | 96 @ 11x11/4, 96, 96 | 54x54 |
    | max 3x3/2, dropout | 16x16 | max 3x3/2 | 27x27 |
    | 192 @ 5x5, 192, 192 | 16x16 | 256 @ 5x5, 256, 256 | 27x27 |
    | average 3x3/2, dropout | 8x8 | max 3x3/2 | 13x13 |
    | 192 @ 3x3, 192, 10 | 8x8 | 384 @ 3x3, 384, 384 | 13x13 |
    | | | max 3x3/2, dropout | 6x6 |
    | | | 1024 @ 3x3, 1024, 1000 | 6x6 |
    | global average | 10 | global average | 1000 |
    """


class _Rows:
    """Collects named layers; every convolution is followed by a ReLU, the last one too."""

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.layers: OrderedDict[str, nn.Module] = OrderedDict()

    def conv(self, name: str, maps: int, size: int = 1, std: float = 0.05, stride: int = 1, padding: int = 0) -> None:
        layer = nn.Conv2d(self.channels, maps, size, stride=stride, padding=padding)
        nn.init.normal_(layer.weight, 0.0, std)
        nn.init.zeros_(layer.bias)
        self.layers[name] = layer
        self.layers[f"relu_{name}"] = nn.ReLU()
        self.channels = maps

    def network(self) -> NiN:
        self.layers["pool"] = nn.AdaptiveAvgPool2d(1)
        self.layers["flatten"] = nn.Flatten()
        return NiN(self.layers)


@register((3, 32, 32), "Lin et al. 2014, CIFAR-10: 966,986 parameters")
def nin_cifar10(num_classes: int = 10, dropout: float = 0.5, pool: str = "ceil", in_channels: int = 3) -> NiN:
    """Network in Network for small images: (N, 3, 32, 32) -> (N, num_classes).

    ``pool``: "ceil" as in Caffe (windows may hang over at the end, 32 -> 16 -> 8) or "padded" (one row of padding on
    each side, rounded down, as in pytorchcv): the same sizes, windows shifted by one.

    >>> import minidl
    >>> from minidl import models
    >>> models.nin_cifar10().eval()(minidl.zeros(1, 3, 32, 32)).shape
    (1, 10)
    """
    if pool not in ("ceil", "padded"):
        raise ModelOptionError(f"nin_cifar10: pool is 'ceil' or 'padded', not {pool!r}")
    how = {"ceil_mode": True} if pool == "ceil" else {"padding": 1}
    rows = _Rows(in_channels)
    rows.conv("conv1", 192, 5, padding=2)
    rows.conv("cccp1", 160)
    rows.conv("cccp2", 96)
    rows.layers["pool1"] = nn.MaxPool2d(3, 2, **how)
    rows.layers["drop1"] = nn.Dropout(dropout)
    rows.conv("conv2", 192, 5, padding=2)
    rows.conv("cccp3", 192)
    rows.conv("cccp4", 192)
    rows.layers["pool2"] = nn.AvgPool2d(3, 2, **how)
    rows.layers["drop2"] = nn.Dropout(dropout)
    rows.conv("conv3", 192, 3, padding=1)
    rows.conv("cccp5", 192)
    rows.conv("cccp6", num_classes)
    return rows.network()


@register((3, 224, 224), "Lin et al. 2014, the authors' ImageNet net: 7,595,176 parameters")
def nin_imagenet(num_classes: int = 1000, dropout: float = 0.5) -> NiN:
    """Network in Network for ImageNet: (N, 3, 224, 224) -> (N, num_classes).

    Pooling rounds up, as Caffe's does.  Initial values of the authors' file: normal, std 0.01 in the first three
    spatial layers, 0.05 in all others.
    """
    rows = _Rows(3)
    rows.conv("conv1", 96, 11, 0.01, stride=4)
    rows.conv("cccp1", 96)
    rows.conv("cccp2", 96)
    rows.layers["pool1"] = nn.MaxPool2d(3, 2, ceil_mode=True)
    rows.conv("conv2", 256, 5, 0.01, padding=2)
    rows.conv("cccp3", 256)
    rows.conv("cccp4", 256)
    rows.layers["pool2"] = nn.MaxPool2d(3, 2, ceil_mode=True)
    rows.conv("conv3", 384, 3, 0.01, padding=1)
    rows.conv("cccp5", 384)
    rows.conv("cccp6", 384)
    rows.layers["pool3"] = nn.MaxPool2d(3, 2, ceil_mode=True)
    rows.layers["drop"] = nn.Dropout(dropout)
    rows.conv("conv4", 1024, 3, padding=1)
    rows.conv("cccp7", 1024)
    rows.conv("cccp8", num_classes)
    return rows.network()
