"""BN-Inception (Inception-v2): GoogLeNet with batch normalisation, and two 3x3 filters in the place of each 5x5.

Source: Ioffe and Szegedy 2015, "Batch normalization: accelerating deep network training by reducing internal covariate
shift", arXiv:1502.03167, section 4.2.1 and figure 5; numbers of maps, names and the padding of the pools as in the
published Caffe network and its ports, where module 4c and 4d have 608 maps (the paper's table: 576).
"""

from __future__ import annotations

import minidl
from minidl import nn
from minidl.registry import register

# 1x1; reduction and 3x3; reduction and both 3x3; projection behind the pooling, and its kind.
# 3c and 4e halve the size: no 1x1 branch, stride 2, max-pooling without projection
Row = tuple[int, tuple[int, int], tuple[int, int], int, str]
BLOCKS: dict[str, Row] = {
    "3a": (64, (64, 64), (64, 96), 32, "avg"),
    "3b": (64, (64, 96), (64, 96), 64, "avg"),
    "3c": (0, (128, 160), (64, 96), 0, "max"),
    "4a": (224, (64, 96), (96, 128), 128, "avg"),
    "4b": (192, (96, 128), (96, 128), 128, "avg"),
    "4c": (160, (128, 160), (128, 160), 128, "avg"),
    "4d": (96, (128, 192), (160, 192), 128, "avg"),
    "4e": (0, (128, 192), (192, 256), 0, "max"),
    "5a": (352, (192, 320), (160, 224), 128, "avg"),
    "5b": (352, (192, 320), (192, 224), 128, "max"),
}


class BNInception(nn.Module):
    """7x7/2 64, pool, 1x1 64, 3x3 192, pool, ten Inception modules, the mean, one linear layer.

    | block | 3a | 3b | 3c | 4a | 4b | 4c | 4d | 4e | 5a | 5b |
    |---|---|---|---|---|---|---|---|---|---|---|
    | maps | 256 | 320 | 576 | 576 | 576 | 608 | 608 | 1056 | 1024 | 1024 |
    | size | 28 | 28 | 14 | 14 | 14 | 14 | 14 | 7 | 7 | 7 |

    All layers stand side by side in the state dict, as in the Caffe file: inception_3a_1x1, inception_3a_1x1_bn, ...
    Convolutions have biases in front of the normalisation.
    """

    def __init__(self, num_classes: int, dropout: float) -> None:
        super().__init__()
        self._conv("conv1_7x7_s2", 3, 64, 7, 2)
        self.pool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self._conv("conv2_3x3_reduce", 64, 64, 1)
        self._conv("conv2_3x3", 64, 192, 3)
        self.pool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        channels = 192
        for block, (one, three, double, projected, _) in BLOCKS.items():
            name, stride = f"inception_{block}_", 1 if one else 2
            if one:
                self._conv(name + "1x1", channels, one, 1)
            self._conv(name + "3x3_reduce", channels, three[0], 1)
            self._conv(name + "3x3", *three, 3, stride)
            self._conv(name + "double_3x3_reduce", channels, double[0], 1)
            self._conv(name + "double_3x3_1", *double, 3)
            self._conv(name + "double_3x3_2", double[1], double[1], 3, stride)
            if projected:
                self._conv(name + "pool_proj", channels, projected, 1)
            channels = one + three[1] + double[1] + (projected or channels)
        self.dropout = nn.Dropout(dropout)
        self.last_linear = nn.Linear(channels, num_classes)
        self.average = nn.AvgPool2d(3, stride=1, padding=1)
        self.maximum = nn.MaxPool2d(3, stride=1, padding=1)
        self.halving = nn.MaxPool2d(3, stride=2, ceil_mode=True)

    def _conv(self, name: str, in_channels: int, maps: int, size: int, stride: int = 1) -> None:
        self.register_module(name, nn.Conv2d(in_channels, maps, size, stride=stride, padding=size // 2))
        self.register_module(f"{name}_bn", nn.BatchNorm2d(maps))

    def _run(self, x: minidl.Tensor, *names: str) -> minidl.Tensor:
        for name in names:
            x = getattr(self, f"{name}_bn")(getattr(self, name)(x)).relu()
        return x

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.pool1(self._run(x, "conv1_7x7_s2"))
        x = self.pool2(self._run(x, "conv2_3x3_reduce", "conv2_3x3"))
        for block, (one, _, _, projected, pooling) in BLOCKS.items():
            name = f"inception_{block}_"
            paths = [self._run(x, name + "1x1")] if one else []
            paths.append(self._run(x, name + "3x3_reduce", name + "3x3"))
            double = name + "double_3x3_"
            paths.append(self._run(x, double + "reduce", double + "1", double + "2"))
            if projected:
                pooled = (self.average if pooling == "avg" else self.maximum)(x)
                paths.append(self._run(pooled, name + "pool_proj"))
            else:
                paths.append(self.halving(x))
            x = minidl.cat(paths, 1)
        return self.last_linear(self.dropout(x.mean((2, 3))))


@register((3, 224, 224), "Ioffe and Szegedy 2015, figure 5, as in Caffe: 11,295,240 parameters")
def bninception(num_classes: int = 1000, dropout: float = 0.0) -> BNInception:
    """BN-Inception: (N, 3, 224, 224) -> (N, num_classes).  The paper trains it without dropout.

    >>> from minidl import models, nn
    >>> with nn.utils.skip_init():
    ...     net = models.bninception()
    >>> sum(p.numel() for p in net.parameters())
    11295240
    """
    return BNInception(num_classes, dropout)
