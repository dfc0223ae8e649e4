"""Convolution as a product of matrices that are never written out, float32: fused multiply-adds, or tensor cores.

``terms`` 0 multiplies with fused multiply-adds, 1 on tensor cores in TF32, 3 there too with operands in two parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from ..arrays import array_module
from ..cpu.direct_tiles import geometry
from ..errors import UnsupportedError
from ..geometry import Conv
from ..layout import channels_last
from . import parts, windows
from .parts import Parts
from .source import function

Array = Any

BLOCKS = 264  # wanted: two for each multiprocessor of a large card, and the same on every card, for the same bits
SHORTEST = 256  # pixels that are worth a block of the weight gradient
SHORTEST_STEPS = 8  # of a correlation
OLD = ("70", "72", "75")  # compute capabilities of CUDA 12 and 13 without TF32
MOST_GROUPS = 30000  # groups and slices share an axis of the grid, which ends at 65535


@dataclass(frozen=True)
class Tile:
    """What a block computes, in steps of ``depth``; on tensor cores each warp has ``warp_rows`` of its rows."""

    rows: int
    columns: int
    depth: int
    warp_rows: int

    def threads(self, terms: int) -> int:
        """Of a block: on tensor cores a warp computes ``warp_rows`` x 32 results, otherwise a thread 64."""
        return self.rows * self.columns // (self.warp_rows if terms else 64)

    def count(self, rows: int, columns: int) -> tuple[int, int]:
        """Tiles that cover a matrix."""
        return -(-rows // self.rows), -(-columns // self.columns)


LARGE, NARROW, SMALL = Tile(128, 128, 8, 64), Tile(128, 64, 8, 64), Tile(64, 64, 8, 32)


def tile(rows: int, columns: int, blocks: int) -> Tile:
    """The largest tile that has no empty half and leaves ``blocks`` of them, to keep the card busy; else the smallest.

    >>> [tile(*sizes, blocks=264) for sizes in ((99999, 256), (99999, 64), (999, 256))] == [LARGE, NARROW, SMALL]
    True
    """
    for size in (LARGE, NARROW):
        if rows > size.rows // 2 and columns > size.columns // 2 and prod(size.count(rows, columns)) >= blocks:
            return size
    return SMALL


@dataclass(frozen=True)
class Problem:
    """``count`` products of (rows, depth) and (depth, columns), the depth cut into ``slices``."""

    rows: int
    columns: int
    depth: int
    count: int
    slices: int
    tile: Tile


def problems(pass_: str, conv: Conv, step: int = 0) -> Iterator[Problem]:
    """What a pass multiplies.  One problem, but for an input gradient with a stride, whose residues share a launch.

    ``step`` counts the terms of a step where kernels can cut this sum of a correlation into slices too, 0: they cannot.

    >>> [p.depth for p in problems("input_grad", Conv.from_shapes((8, 16, 9, 9), (32, 16, 3, 3), stride=2))]
    [128, 64, 64, 32]
    """
    groups, filters, channels = conv.groups, conv.out_channels // conv.groups, conv.w_shape[1]
    if pass_ == "weight_grad":
        rows, columns, pixels = filters, prod(conv.w_shape[1:]), conv.batch * prod(conv.out)
        size = tile(rows, columns, 1)  # slices keep the card busy
        blocks = prod(size.count(rows, columns)) * groups
        yield Problem(rows, columns, pixels, groups, windows.slice_count(pixels, blocks, BLOCKS, SHORTEST), size)
        return
    columns, depth = (filters, channels) if pass_ == "forward" else (channels, filters)
    size, slices = cut(conv.batch, groups, columns, depth, parts.parts(pass_, conv), step)
    for axes in windows.correlations(pass_, conv):
        rows, terms = conv.batch * prod(a.out for a in axes), depth * prod(a.taps for a in axes)
        yield Problem(rows, columns, terms, groups, slices, size)


def cut(batch: int, groups: int, columns: int, depth: int, of_axes: Parts, step: int = 0) -> tuple[Tile, int]:
    """The tile of the correlations that share a launch, and in how many slices their sums are cut."""
    out, taps = parts.largest(of_axes)
    busy = groups * max(1, parts.working(of_axes))
    size = tile(batch * out, columns, BLOCKS // busy)
    slices = slices_of_steps(depth * taps, step, prod(size.count(batch * out, columns)) * busy) if step else 1
    return size, slices


def slices_of_steps(terms: int, step: int, blocks: int) -> int:
    """In how many slices a correlation's sum is cut, so that few tiles keep a card busy.

    >>> [slices_of_steps(512 * 9, 32, blocks) for blocks in (8, 100, 264)]
    [18, 3, 1]
    """
    return windows.slice_count(-(-terms // step), blocks, BLOCKS, SHORTEST_STEPS)


def supports(pass_: str, conv: Conv) -> str | None:
    """None, or why tiles of a product cannot."""
    if conv.groups > MOST_GROUPS:
        return f"has a grid for at most {MOST_GROUPS} groups, not {conv.groups}"
    return windows.supports(pass_, conv) or parts.obstacle(pass_, conv)


def forward(x: Array, w: Array, conv: Conv, out: Array | None = None, terms: int = 0) -> Array:
    """y (N, K, *out); channels-last where x is and no ``out`` is given."""
    return parts.correlate(_correlate(terms), "forward", x, w, conv, out)


def input_grad(w: Array, g: Array, conv: Conv, out: Array | None = None, terms: int = 0) -> Array:
    """dx (N, C, *size); channels-last where g is and no ``out`` is given."""
    return parts.correlate(_correlate(terms), "input_grad", g, w, conv, out)


def weight_grad(x: Array, g: Array, conv: Conv, out: Array | None = None, terms: int = 0) -> Array:
    """dw (K, C/G, *kernel): sums over slices of the pixels, then over the slices in their order."""
    xp, axes = array_module(x), geometry(conv)
    dw = xp.empty(conv.w_shape, x.dtype) if out is None else out
    if not dw.size:
        return dw
    (problem,) = problems("weight_grad", conv)
    size, grid = problem.tile, problem.tile.count(problem.rows, problem.columns)

    def launch(target: Array, strides: windows.Ints, length: int) -> None:
        window = windows.of_weights(x, g, strides, conv, axes, length, dw.size)
        kernel = function(xp, "implicit_gemm.cu", "weight_grad", **_macros(x, size, terms))
        kernel((*grid, conv.groups * problem.slices), (size.threads(terms),), (x, g, target, window))

    return windows.in_slices(launch, dw, conv, problem.slices)


def _correlate(terms: int) -> parts.Correlate:
    def launch(x: Array, w: Array, y: Array, of_axes: Parts) -> None:
        xp, (groups, columns, depth) = array_module(x), w.shape[:3]
        packed = xp.ascontiguousarray(xp.transpose(w, (0, 3, 4, 5, 2, 1)))  # (G, T0, T1, T2, depth, columns)
        size, _ = cut(len(x), groups, columns, depth, of_axes)
        tiles = prod(size.count(len(x) * parts.largest(of_axes)[0], columns))
        problem = parts.problem(x, packed.transpose((0, 5, 4, 1, 2, 3)), y, of_axes)
        macros = _macros(x, size, terms, parts.strided(of_axes))
        kernel = function(xp, "implicit_gemm.cu", "correlate", **macros)
        kernel((tiles, parts.count(of_axes), groups), (size.threads(terms),), (x, packed, y, problem))

    return launch


def is_old(xp: Any) -> bool:
    """Whether the current device has no tensor cores, or not those that are needed here."""
    return xp.cuda.Device().compute_capability in OLD


def check_tensor_cores(xp: Any, numbers: str) -> None:
    """UnsupportedError where the current device has no tensor cores for such ``numbers``."""
    if is_old(xp):
        major, minor = xp.cuda.Device().compute_capability
        raise UnsupportedError(
            f"tensor cores multiply {numbers} from compute capability 8.0 on, and this card has {major}.{minor}: "
            'algorithm="implicit_gemm" computes in float32 there'
        )


def _macros(x: Array, size: Tile, terms: int, residues: bool = False) -> dict[str, Any]:
    if terms:
        check_tensor_cores(array_module(x), "TF32")
    return {
        "ROWS": size.rows, "COLUMNS": size.columns, "DEPTH": size.depth, "WARP_ROWS": size.warp_rows,
        "TERMS": terms, "CHANNELS_LAST": channels_last(x), "RESIDUES": residues,
    }  # fmt: skip
