"""FractalNet: many paths of different depth, averaged where they meet; no residual connections.

Source: Larsson, Maire and Shakhnarovich 2017, "FractalNet: ultra-deep neural networks without residuals",
arXiv:1605.07648, figure 1 and section 4.1.
"""

from __future__ import annotations

from typing import Any

import minidl
from minidl import nn
from minidl.nn import functional as F
from minidl.registry import ModelOptionError, register

MAPS = (64, 128, 256, 512, 512)
DROPOUT = (0.0, 0.1, 0.2, 0.3, 0.4)  # in the convolutions of blocks 1 to 5


class Join(nn.Module):
    """The mean of the paths that meet here; while training, of those that survive (section 3).

    An image either drops locally, every input of every join with probability ``p`` but never all of them, or globally:
    one column is drawn for the whole network, and the joins pass its value on alone.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, paths: list[minidl.Tensor], columns: minidl.Tensor | None, number: int) -> minidl.Tensor:
        """``paths``: the values (N, C, H, W) of the deepest of ``number`` columns.

        ``columns`` (N,): the column that an image has drawn, -1 where it drops locally; None for the mean of all.
        """
        k = len(paths)
        if k == 1:
            return paths[0]
        if columns is None:
            return sum(paths[1:], paths[0]) / k
        place = columns - (number - k)
        drawn = minidl.arange(k, device=columns.device).reshape(k, 1) == place  # (k, N)
        # negative: dropped locally, or the drawn column does not end here and nobody reads this result
        keep = minidl.where(place >= 0, drawn.float(), self.survivors(k, columns.shape[0], columns.device))
        weights = (keep / keep.sum(0)).to(paths[0].dtype).reshape(k, -1, 1, 1, 1)  # (k, N, 1, 1, 1)
        return sum((weights[i] * paths[i] for i in range(1, k)), weights[0] * paths[0])

    def survivors(self, k: int, n: int, device: Any = "cpu") -> minidl.Tensor:
        """(k, N) of 0 and 1: 1 with probability 1 - p; where all k are 0, one of them drawn at random is 1."""
        alive = (minidl.rand(k, n, device=device) >= self.p).float()
        saved = F.one_hot(minidl.randint(k, (n,), device=device), k).float().T  # (k, N)
        return minidl.where(alive.sum(0) == 0, saved, alive)


class FractalConv(nn.Module):
    """3x3 (or 1x1), dropout, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, maps: int, dropout: float, bias: bool, affine: bool, size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, maps, size, padding=size // 2, bias=bias)
        self.dropout = nn.Dropout(dropout)
        self.bn = nn.BatchNorm2d(maps, affine=affine)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return self.bn.then_relu(self.dropout(self.conv(x)))


class FractalBlock(nn.Module):
    """f_C of the rule f_1(z) = conv(z), f_(C+1)(z) = join of conv(z) and f_C(f_C(z)); then 2x2 max-pooling.

    Column c = 0, ..., C - 1 has 2^c convolutions, one every 2^(C-1-c) steps.  Columns whose convolution ends at the
    same step are joined, and go on from there together.
    """

    def __init__(
        self,
        columns: int,
        in_channels: int,
        maps: int,
        dropout: float,
        bias: bool,
        affine: bool,
        join: Join,
        early: bool,
    ) -> None:
        super().__init__()
        self.columns = nn.ModuleList()
        for c in range(columns):
            inputs = [in_channels] + [maps] * (2**c - 1)
            self.columns.append(nn.ModuleList([FractalConv(i, maps, dropout, bias, affine) for i in inputs]))
        self.join = join
        self.pool = nn.MaxPool2d(2)
        self.pool_before_join = early

    def forward(self, x: minidl.Tensor, drawn: minidl.Tensor | None, column: int | None = None) -> minidl.Tensor:
        number = len(self.columns)
        if column is not None:  # this path alone
            for conv in self.columns[column]:
                x = conv(x)
            return self.pool(x)
        values = [x] * number
        steps = 2 ** (number - 1)
        for step in range(1, steps + 1):
            every = [2 ** (number - 1 - c) for c in range(number)]
            first = next(c for c in range(number) if step % every[c] == 0)
            paths = [self.columns[c][step // every[c] - 1](values[c]) for c in range(first, number)]
            if self.pool_before_join and step == steps:
                paths = [self.pool(path) for path in paths]
            values[first:] = [self.join(paths, drawn, number)] * len(paths)
        return values[0] if self.pool_before_join else self.pool(values[0])


class FractalNet(nn.Module):
    """Five blocks of 64, 128, 256, 512, 512 maps, 32 -> 16 -> 8 -> 4 -> 2 -> 1, one linear layer.

    Three columns: 20 convolutions on the longest path, 4 of them in each block, beside paths of 2 and of 1.
    """

    def __init__(
        self,
        columns: int,
        num_classes: int = 10,
        *,
        doubling: str = "none",
        drop_path: float = 0.15,
        dropout: tuple[float, ...] = DROPOUT,
        pool_before_join: bool = False,
        conv_bias: bool = False,
        affine: bool = True,
    ) -> None:
        super().__init__()
        if doubling not in ("none", "paper", "all"):
            raise ModelOptionError(f"fractalnet: doubling is 'none', 'paper' or 'all', not {doubling!r}")
        if len(dropout) != len(MAPS):
            raise ModelOptionError(f"fractalnet: dropout has a rate for each of the 5 blocks; got {dropout!r}")
        self.drop_path = drop_path
        join = Join(drop_path)
        channels = 3
        self.doublers, self.blocks = nn.ModuleDict(), nn.ModuleList()
        for i, (maps, rate) in enumerate(zip(MAPS, dropout)):
            if doubling == "all" or (doubling == "paper" and channels != maps):
                self.doublers[str(i)] = FractalConv(channels, maps, 0.0, conv_bias, affine, size=1)
                channels = maps
            block = FractalBlock(columns, channels, maps, rate, conv_bias, affine, join, pool_before_join)
            self.blocks.append(block)
            channels = maps
        self.fc = nn.Linear(channels, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.lecun_uniform_(layer.weight)  # what Caffe calls xavier
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def draw(self, n: int, device: Any = "cpu") -> minidl.Tensor:
        """For each of ``n`` images -1, to drop paths locally, or, for one in two, the column it keeps alone: (N,)."""
        columns = minidl.randint(len(self.blocks[0].columns), (n,), device=device)
        return minidl.where(minidl.rand(n, device=device) < 0.5, columns, -minidl.ones_like(columns))

    def forward(self, x: minidl.Tensor, column: int | None = None) -> minidl.Tensor:
        """The logits; of the path through ``column`` alone, if given (section 4.3: it is a network by itself)."""
        drop = self.training and self.drop_path > 0 and column is None
        drawn = self.draw(x.shape[0], x.device) if drop else None
        for i, block in enumerate(self.blocks):
            if str(i) in self.doublers:
                x = self.doublers[str(i)](x)
            x = block(x, drawn, column)
        return self.fc(x.flatten(1))  # (N, 512): one pixel is left


@register((3, 32, 32), "Larsson et al. 2017, three columns: 33,724,618 parameters")
def fractalnet20(
    num_classes: int = 10,
    doubling: str = "none",
    drop_path: float = 0.15,
    pool_before_join: bool = False,
    conv_bias: bool = False,
    affine: bool = True,
) -> FractalNet:
    """20 convolutions deep: (N, 3, 32, 32) -> (N, num_classes).

    ``doubling``: 1x1 convolutions in front of the blocks that have more maps than their input ("paper": 38,649,034
    parameters, the 38.6 M that its table prints), of all ("all"), or of none.  ``drop_path``: see :class:`Join`; 0 to
    average always.  The authors' Caffe generator has ``conv_bias=True``, ``affine=False`` (33,714,314 parameters) and
    ``pool_before_join=True`` in the last join of a block.

    >>> from minidl import models, nn
    >>> with nn.utils.skip_init():
    ...     net = models.fractalnet20()
    >>> sum(p.numel() for p in net.parameters())
    33724618
    """
    return FractalNet(
        3,
        num_classes,
        doubling=doubling,
        drop_path=drop_path,
        pool_before_join=pool_before_join,
        conv_bias=conv_bias,
        affine=affine,
    )


@register((3, 32, 32), "Larsson et al. 2017, three columns and 1x1 convolutions: 38,912,202 parameters")
def fractalnet20_doubling(num_classes: int = 10, drop_path: float = 0.15) -> FractalNet:
    """:func:`fractalnet20` with a 1x1 convolution in front of every block."""
    return fractalnet20(num_classes, "all", drop_path)


@register((3, 32, 32), "Larsson et al. 2017, four columns: 76,106,634 parameters")
def fractalnet40(num_classes: int = 10, drop_path: float = 0.15) -> FractalNet:
    """40 convolutions deep, four columns."""
    return FractalNet(4, num_classes, drop_path=drop_path)
