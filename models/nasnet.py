"""NASNet-A: two cells found by a search, stacked.

Source: Zoph, Vasudevan, Shlens and Le 2018, "Learning transferable architectures for scalable image recognition",
arXiv:1707.07012, figure 4 and appendix A.4; padding, adjustment of the older input and stem as in TensorFlow's and
Keras' programs, auxiliary head and scheduled drop-path as in TensorFlow's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import minidl
from minidl import nn
from minidl.nn import functional as F
from minidl.registry import ModelOptionError, register

from ._layers import DropPath
from .resnet import conv1x1, he_init

EPS = 1e-3


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME: ceil(size / stride) outputs, an odd zero goes to the end."""

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        stride = self.stride[0]
        pads = []
        for size, kernel in zip(x.shape[2:], self.kernel_size):
            total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
            pads.append((total // 2, total - total // 2))
        return F.conv2d(x, self.weight, self.bias, self.stride, tuple(pads), self.dilation, self.groups)


def pool3(kind: str, x: minidl.Tensor, stride: int) -> minidl.Tensor:
    """3x3 maximum or mean, SAME, the padding left out: for an even size all of it lies behind the last pixel."""
    padding = tuple(1 if stride == 1 else size % 2 for size in x.shape[2:])
    if kind == "max":
        return F.max_pool2d(x, 3, stride, padding, ceil_mode=True)
    return F.avg_pool2d(x, 3, stride, padding, ceil_mode=True, count_include_pad=False)


class Separable(nn.Module):
    """Twice ReLU, depthwise k x k, 1x1, BN; the first time with the stride."""

    def __init__(self, in_channels: int, maps: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise1 = SameConv2d(in_channels, in_channels, size, stride=stride, groups=in_channels, bias=False)
        self.pointwise1 = conv1x1(in_channels, maps)
        self.bn1 = nn.BatchNorm2d(maps, eps=EPS)
        self.depthwise2 = SameConv2d(maps, maps, size, groups=maps, bias=False)
        self.pointwise2 = conv1x1(maps, maps)
        self.bn2 = nn.BatchNorm2d(maps, eps=EPS)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.bn1(self.pointwise1(self.depthwise1(x.relu())))
        return self.bn2(self.pointwise2(self.depthwise2(x.relu())))


class Project(nn.Module):
    """ReLU, 1x1, BN."""

    def __init__(self, in_channels: int, maps: int) -> None:
        super().__init__()
        self.conv = conv1x1(in_channels, maps)
        self.bn = nn.BatchNorm2d(maps, eps=EPS)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return self.bn(self.conv(x.relu()))


class Halve(nn.Module):
    """ReLU, then half of the maps from the even pixels and half from the odd ones, BN: for an input twice as large."""

    def __init__(self, in_channels: int, maps: int) -> None:
        super().__init__()
        self.even = conv1x1(in_channels, maps // 2)
        self.odd = conv1x1(in_channels, maps - maps // 2)
        self.bn = nn.BatchNorm2d(maps, eps=EPS)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = x.relu()
        shifted = F.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        return self.bn(minidl.cat([self.even(x[:, :, ::2, ::2]), self.odd(shifted[:, :, ::2, ::2])], 1))


class Cell(nn.Module):
    """A cell sees h, the last cell's output, and p, that of the one before, both brought to ``maps`` maps.

    ``p_channels`` 0: the first cell, which takes its one input for both and leaves p as it is.  While training, each
    path with an operation falls out with the probability ``drop.p``, image by image (the paper's ScheduledDropPath).
    """

    def __init__(self, h_channels: int, p_channels: int, maps: int, halve: bool) -> None:
        super().__init__()
        self.project = Project(h_channels, maps)
        self.adjust: nn.Module = nn.Identity()
        if halve:
            self.adjust = Halve(p_channels, maps)
        elif p_channels not in (0, maps):
            self.adjust = Project(p_channels, maps)
        self.p_channels = maps if p_channels else h_channels
        self.drop = DropPath(0.0)


class NormalCell(Cell):
    """Same size, 6 times the maps: cat(p, sep5 h + sep3 p, sep5 p + sep3 p, mean h + p, 2 mean p, sep3 h + h)."""

    def __init__(self, h_channels: int, p_channels: int, maps: int, halve: bool) -> None:
        super().__init__(h_channels, p_channels, maps, halve)
        self.h5, self.p3a = Separable(maps, maps, 5), Separable(maps, maps, 3)
        self.p5, self.p3b = Separable(maps, maps, 5), Separable(maps, maps, 3)
        self.h3 = Separable(maps, maps, 3)

    def forward(self, x: minidl.Tensor, previous: minidl.Tensor) -> minidl.Tensor:
        h, p = self.project(x), self.adjust(previous)
        drop = self.drop
        mean = pool3("avg", p, 1)
        return minidl.cat(
            [
                p,
                drop(self.h5(h)) + drop(self.p3a(p)),
                drop(self.p5(p)) + drop(self.p3b(p)),
                drop(pool3("avg", h, 1)) + p,
                drop(mean) + drop(mean),
                drop(self.h3(h)) + h,
            ],
            1,
        )


class ReductionCell(Cell):
    """Half the size: with a = sep5 h + sep7 p and b = max h + sep7 p (all at stride 2), four times the maps.

    cat(b, mean h + sep5 p, mean a + b, sep3 a + max h)
    """

    def __init__(self, h_channels: int, p_channels: int, maps: int, halve: bool) -> None:
        super().__init__(h_channels, p_channels, maps, halve)
        before = self.p_channels
        self.h5, self.p7a = Separable(maps, maps, 5, 2), Separable(before, maps, 7, 2)
        self.p7b, self.p5 = Separable(before, maps, 7, 2), Separable(before, maps, 5, 2)
        self.a3 = Separable(maps, maps, 3)

    def forward(self, x: minidl.Tensor, previous: minidl.Tensor) -> minidl.Tensor:
        h, p = self.project(x), self.adjust(previous)
        drop = self.drop
        top = pool3("max", h, 2)
        a = drop(self.h5(h)) + drop(self.p7a(p))
        b = drop(top) + drop(self.p7b(p))
        c = drop(pool3("avg", h, 2)) + drop(self.p5(p))
        return minidl.cat([b, c, drop(pool3("avg", a, 1)) + b, drop(self.a3(a)) + drop(top)], 1)


class NASNetOutputs(NamedTuple):
    """What a NASNet with its auxiliary head gives in training mode."""

    logits: minidl.Tensor
    aux_logits: minidl.Tensor

    @property
    def aux_weight(self) -> float:
        """How much the loss of each auxiliary head counts: appendix A.4."""
        return 0.4


class AuxiliaryHead(nn.Module):
    """5x5/3 mean, 128 @ 1x1, 768 filters as large as the map, the classes; on the maps at two thirds of the depth."""

    def __init__(self, in_channels: int, side: int, num_classes: int) -> None:
        super().__init__()
        if side < 5:
            raise ModelOptionError(
                f"nasnet: the auxiliary head averages windows of 5x5, but the maps that it sees have {side}x{side} "
                "positions; input_size must be larger"
            )
        size = (side - 5) // 3 + 1
        self.pool = nn.AvgPool2d(5, stride=3)
        self.conv0, self.bn0 = conv1x1(in_channels, 128), nn.BatchNorm2d(128, eps=EPS)
        self.conv1, self.bn1 = nn.Conv2d(128, 768, size, bias=False), nn.BatchNorm2d(768, eps=EPS)
        self.fc = nn.Linear(768, num_classes)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.bn0(self.conv0(self.pool(x.relu()))).relu()
        return self.fc(self.bn1(self.conv1(x)).relu().flatten(1))


class NASNetA(nn.Module):
    """A stem of a convolution and two reduction cells; three times ``repeats`` normal cells, a reduction between them.

    | | 4 @ 1056 (mobile) | 6 @ 4032 (large) |
    |---|---|---|
    | 3x3/2 without padding | 32 | 96 |
    | reductions | 11, 22 maps | 42, 84 maps |
    | normal cells | 4 x 44 | 6 x 168 |
    | reduction, normal cells | 88, 4 x 88 | 336, 6 x 336 |
    | reduction, normal cells | 176, 4 x 176 | 672, 6 x 672 |
    | ReLU, mean, dropout, classes | 1056 -> 1000 | 4032 -> 1000 |

    Behind a reduction, the older input of the next cell is the reduction's input; with ``skip_reduction`` (the large
    network) the reduction's own older input.

    ``aux_logits``: a second head on the last cell before the second of those reductions, for images of
    ``input_size``; in training mode the result is :class:`NASNetOutputs`.  ``drop_path``: how often a path falls out of
    the last cell at the end of the training; less in earlier cells and, by :meth:`set_progress`, earlier in it.
    """

    def __init__(
        self,
        filters: int,
        stem_maps: int,
        repeats: int,
        skip_reduction: bool,
        num_classes: int,
        dropout: float,
        *,
        aux_logits: bool = False,
        drop_path: float = 0.0,
        input_size: int = 224,
    ) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.skip_reduction = skip_reduction
        self.conv0 = nn.Conv2d(3, stem_maps, 3, stride=2, bias=False)
        self.bn0 = nn.BatchNorm2d(stem_maps, eps=EPS)
        self.cells = nn.ModuleList([ReductionCell(stem_maps, 0, filters // 4, False)])
        h, p, larger = 4 * (filters // 4), stem_maps, 2  # maps of both inputs; p's size in units of h's
        kinds: list[type[Cell]] = [ReductionCell]
        kinds += ([NormalCell] * repeats + [ReductionCell]) * 2 + [NormalCell] * repeats
        maps = filters // 2
        for i, kind in enumerate(kinds):
            if kind is ReductionCell and i:
                maps *= 2
            elif i == 1:
                maps = filters
            self.cells.append(kind(h, p, maps, larger > 1))
            if kind is ReductionCell:
                if not (skip_reduction and i):
                    p, larger = h, 1
                h, larger = 4 * maps, 2 * larger
            else:
                h, p, larger = 6 * maps, h, 1
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(h, num_classes)
        self.aux: AuxiliaryHead | None = None
        self.aux_cell = 2 + repeats + 1 + repeats - 1  # two reductions, a stage, a reduction, the end of a stage
        if aux_logits:
            side = (input_size - 3) // 2 + 1
            for _ in range(3):
                side = -(-side // 2)
            self.aux = AuxiliaryHead(6 * 2 * filters, side, num_classes)
        he_init(self, "fan_in")
        self.set_progress(1.0)

    def set_progress(self, share: float) -> None:
        """So much of the training is over: cell i of n drops paths with ``drop_path * share * i / n``."""
        for i, cell in enumerate(self.cells, 1):
            cell.drop.p = self.drop_path * share * i / len(self.cells)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor | NASNetOutputs:
        x = previous = self.bn0(self.conv0(x))
        behind = x
        for i, cell in enumerate(self.cells):
            keep = self.skip_reduction and isinstance(cell, ReductionCell) and i > 1
            x, previous = cell(x, previous), previous if keep else x
            if i == self.aux_cell:
                behind = x
        logits = self.fc(self.dropout(x.relu().mean((2, 3))))
        return NASNetOutputs(logits, self.aux(behind)) if self.training and self.aux is not None else logits


@register((3, 224, 224), "Zoph et al. 2018, 4 @ 1056: 5,289,978 parameters")
def nasnet_a_mobile(
    num_classes: int = 1000,
    dropout: float = 0.5,
    aux_logits: bool = False,
    drop_path: float = 0.0,
    input_size: int = 224,
) -> NASNetA:
    """The small network: (N, 3, 224, 224) -> (N, num_classes).  Other sizes run too.

    The authors train with ``aux_logits``, whose last filters have the size of the maps of ``input_size``, and only the
    large one with ``drop_path``.

    >>> import minidl
    >>> from minidl import models, nn
    >>> with nn.utils.skip_init():
    ...     net = models.nasnet_a_mobile()
    >>> sum(p.numel() for p in net.parameters())
    5289978
    """
    options: dict[str, Any] = {"aux_logits": aux_logits, "drop_path": drop_path, "input_size": input_size}
    return NASNetA(44, 32, 4, False, num_classes, dropout, **options)


@register((3, 331, 331), "Zoph et al. 2018, 6 @ 4032: 88,753,150 parameters")
def nasnet_a_large(
    num_classes: int = 1000,
    dropout: float = 0.5,
    aux_logits: bool = False,
    drop_path: float = 0.0,
    input_size: int = 331,
) -> NASNetA:
    """The large network: (N, 3, 331, 331) -> (N, num_classes); options as :func:`nasnet_a_mobile`."""
    options: dict[str, Any] = {"aux_logits": aux_logits, "drop_path": drop_path, "input_size": input_size}
    return NASNetA(168, 96, 6, True, num_classes, dropout, **options)
