"""How the direct kernels cut a convolution into tiles: plain arithmetic, shared with the cost model."""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import NamedTuple

from ..geometry import Conv

TILE = 2048  # output positions of a tile: a few rows of sums in the L1 cache
FILTERS = 8  # filters that share a buffer
SLICES = 4  # input channels in a buffer: their taps are added four at a time without a rest
ITEMS = 16  # pieces of work wanted, for the threads


class Axis3(NamedTuple):
    """One of the three axes as the compiled loops see it."""

    size: int
    taps: int
    out: int
    stride: int
    low: int
    dilation: int


ABSENT = Axis3(1, 1, 1, 1, 0, 1)  # stands for each axis that a convolution of fewer than three has not
Geometry = tuple[Axis3, Axis3, Axis3]


class Residue(NamedTuple):
    """The input positions first, first + step, ... as outputs of a stride-1 correlation of g, see residues."""

    taps: slice
    first: int
    step: int
    axis: Axis3


class Tiling(NamedTuple):
    """Sizes of a tile: images, filters, and output positions along the second and third axis."""

    images: int
    filters: int
    rows: int
    columns: int


@lru_cache(maxsize=1024)
def geometry(conv: Conv) -> Geometry:
    """The three axes of a convolution; one of fewer has absent ones in front."""
    own = [Axis3(a.size, a.kernel, a.out, a.stride, a.pad[0], a.dilation) for a in conv.axes]
    first, second, third = [ABSENT] * (3 - len(own)) + own
    return first, second, third


@lru_cache(maxsize=1024)
def residues(a: Axis3) -> list[Residue]:
    """The input gradient along one axis, in as many parts as the stride.

    Tap t of window p reads i = p * stride + t * dilation - low.  For the positions i = j * stride + rho - low,
    rho < stride, only taps with t * dilation = rho (mod stride) count, and their windows are
    p = j - (t * dilation - rho) / stride: taps in reverse, ``dilation / gcd(dilation, stride)`` apart.
    """
    common = gcd(a.dilation, a.stride)
    parts = []
    for rho in range(a.stride):
        first, stop = -((rho - a.low) // a.stride), (a.size - 1 + a.low - rho) // a.stride + 1  # of j
        if stop <= first:
            continue
        taps = [t for t in range(a.taps) if t * a.dilation % a.stride == rho]
        shift = (taps[-1] * a.dilation - rho) // a.stride if taps else 0  # the largest
        axis = Axis3(a.out, len(taps), stop - first, 1, shift - first, a.dilation // common)
        chosen = slice(taps[0], taps[-1] + 1, a.stride // common) if taps else slice(0)
        parts.append(Residue(chosen, first * a.stride + rho - a.low, a.stride, axis))
    return parts


def whole_row(a: Axis3) -> Residue:
    """The input gradient along one axis in one part, for those who find the residues of its positions themselves."""
    return Residue(slice(None, None, -1), 0, 1, Axis3(a.out, a.taps, a.size, a.stride, a.low, a.dilation))


def halo(a: Axis3) -> int:
    """Positions that a tile's buffer holds beyond the tile's own."""
    return (a.taps - 1) * a.dilation // a.stride if a.taps else 0


def phases(a: Axis3) -> int:
    """How many residues mod stride the taps fall into; tap t into the same as tap t modulo this number."""
    return min(a.taps, a.stride // gcd(a.stride, a.dilation))


@lru_cache(maxsize=1024)
def tiling(axes: Geometry, batch: int, groups: int, filters: int) -> Tiling:
    """How results are cut into tiles: rows and columns of a tile, filters of a block, images of a piece."""
    depth, a, b = axes
    halo_a, halo_b = halo(a), halo(b)
    columns = _even(b.out, TILE)
    rows = _even(a.out, max(1, TILE // (columns + halo_b)))
    whole = rows == a.out and columns == b.out
    images = max(1, min(batch, TILE // ((rows + halo_a) * (columns + halo_b)))) if whole else 1
    block = max(1, min(filters, FILTERS))
    tiles = groups * depth.out * -(-a.out // rows) * -(-b.out // columns)
    while images > 1 and tiles * -(-batch // images) * -(-filters // block) < ITEMS:
        images = -(-images // 2)
    while block > 2 and tiles * -(-batch // images) * -(-filters // block) < ITEMS:
        block = -(-block // 2)
    return Tiling(images, block, rows, columns)


def _even(size: int, most: int) -> int:
    """The size of equal pieces of at most ``most``."""
    pieces = -(-size // most)
    return -(-size // pieces)


def items(t: Tiling, axes: Geometry, batch: int, groups: int, filters: int) -> int:
    """Pieces of work: tiles, each for a block of filters of some images."""
    planes = axes[0].out * -(-axes[1].out // t.rows) * -(-axes[2].out // t.columns)
    return -(-batch // t.images) * groups * -(-filters // t.filters) * planes


def workspace_bytes(conv: Conv, itemsize: int) -> int:
    """What one thread holds for a tile of the forward pass: the buffer with its halo, and the sums."""
    t = tiling(geometry(conv), conv.batch, conv.groups, conv.out_channels // conv.groups)
    _, a, b = geometry(conv)
    outputs = t.images * (t.rows + halo(a)) * (t.columns + halo(b))
    return itemsize * outputs * (min(SLICES, conv.w_shape[1]) * phases(a) * phases(b) + t.filters)
