"""Xception: an Inception network taken to its extreme, one filter a map and then a 1x1 mixture of the maps.

Source: Chollet 2017, "Xception: deep learning with depthwise separable convolutions", arXiv:1610.02357, figure 5; names
as in the ports to PyTorch, whose max-pooling is padded on all sides (Keras: at the bottom and the right).
"""

from __future__ import annotations

import minidl
from minidl import nn
from minidl.registry import register

from .resnet import conv1x1, he_init


class SeparableConv2d(nn.Module):
    """Depthwise 3x3, then 1x1, nothing between."""

    def __init__(self, in_channels: int, maps: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = conv1x1(in_channels, maps)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return self.pointwise(self.conv1(x))


class XceptionBlock(nn.Module):
    """Separable convolutions with ReLU before and batch normalisation behind, added to the (projected) input.

    ``maps``: of each convolution.  ``stride`` 2: max-pooling at the end, the projection takes every other pixel.
    """

    def __init__(self, in_channels: int, maps: tuple[int, ...], stride: int = 1, relu_first: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for i, outputs in enumerate(maps):
            if i or relu_first:
                layers.append(nn.ReLU())
            layers += [SeparableConv2d(channels, outputs), nn.BatchNorm2d(outputs)]
            channels = outputs
        if stride != 1:
            layers.append(nn.MaxPool2d(3, stride=stride, padding=1))
        projected = stride != 1 or channels != in_channels
        self.skip = conv1x1(in_channels, channels, stride) if projected else None
        self.skipbn = nn.BatchNorm2d(channels) if projected else None
        self.rep = nn.Sequential(*layers)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        if self.skip is None or self.skipbn is None:
            return self.rep(x) + x
        return self.rep(x) + self.skipbn(self.skip(x))


class Xception(nn.Module):
    """Entry flow, eight times the middle flow, exit flow, the mean, one linear layer; 36 convolutional layers.

    | | out |
    |---|---|
    | 3x3/2 32, 3x3 64, without padding | 64 x 147x147 |
    | blocks of 128, 256, 728 maps, each with stride 2 | 728 x 19x19 |
    | 8 blocks of three separable convolutions | 728 x 19x19 |
    | block of 728 and 1024 maps, stride 2 | 1024 x 10x10 |
    | separable 1536, separable 2048 | 2048 x 10x10 |
    """

    def __init__(self, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        entry = [
            XceptionBlock(64, (128, 128), 2, relu_first=False),
            XceptionBlock(128, (256, 256), 2),
            XceptionBlock(256, (728, 728), 2),
        ]
        middle = [XceptionBlock(728, (728,) * 3) for _ in range(8)]
        for i, block in enumerate([*entry, *middle, XceptionBlock(728, (728, 1024), 2)], 1):
            self.register_module(f"block{i}", block)
        self.conv3 = SeparableConv2d(1024, 1536)
        self.bn3 = nn.BatchNorm2d(1536)
        self.conv4 = SeparableConv2d(1536, 2048)
        self.bn4 = nn.BatchNorm2d(2048)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, num_classes)
        he_init(self)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.bn1.then_relu(x, behind=self.conv1)
        x = self.bn2.then_relu(x, behind=self.conv2)
        for i in range(1, 13):
            x = getattr(self, f"block{i}")(x)
        x = self.bn3.then_relu(x, behind=self.conv3)
        x = self.bn4.then_relu(x, behind=self.conv4)
        return self.fc(self.dropout(x.mean((2, 3))))


@register((3, 299, 299), "Chollet 2017, figure 5: 22,855,952 parameters")
def xception(num_classes: int = 1000, dropout: float = 0.5) -> Xception:
    """Xception: (N, 3, 299, 299) -> (N, num_classes).  Sizes from 7 on run.

    >>> from minidl import models, nn
    >>> with nn.utils.skip_init():
    ...     net = models.xception()
    >>> sum(p.numel() for p in net.parameters())
    22855952
    """
    return Xception(num_classes, dropout)
