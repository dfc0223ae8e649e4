"""Normalisation over channels in as few passes over memory as there can be.

* batch_norm: one pass for the statistics, one to normalise.
* batch_norm_grad: one pass over x and g for the two sums of each channel, one more for dx.

The statistics are those of blocks small enough to stay in the cache: a block is read twice, for its mean and for the
squares about it, while memory is read once.  Chan, Golub and LeVeque (1979) say how blocks are put together, which is
done in float64; so neither a large mean nor many elements cost digits.  Blocks depend on the shape only, not on
threads.

Every array is (rows, groups, run) in memory, see `elements.Rows`: of channels-last storage a group is one element of
a row, of channels-first storage it is a plane.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..constants import is_constant, made_of
from ..jit import native
from ..spec.norm import along
from .elements import (
    Rows,
    address,
    as_rows,
    dense,
    elements,
    in_float64,
    is_last,
    kind_of,
    last_and_dense,
    like,
    seconds,
)
from .pieces import Address, allocate, free, read, run
from .replay import permanent_zeros
from .simd import clear_bytes

Array = np.ndarray

BLOCK_BYTES = 128 << 10  # of a block of rows: half of a small L2 cache
BLOCK_ROWS = 64  # at least, so that there is little to put together


def batch_norm(x: Array, weight: Array | None, bias: Array | None, eps: float) -> tuple[Array, Array, Array]:
    """y, stored as x (N, C, *size), mean and biased variance (C,): ``kernels.norm.batch_norm``."""
    (x,) = as_rows(x)
    mean, variance = moments(x)
    scale = 1 / np.sqrt(variance + x.dtype.type(eps))
    return scaled(x, mean, scale if weight is None else scale * weight, bias), mean, variance


def batch_norm_grad(
    g: Array, x: Array, weight: Array | None, mean: Array, variance: Array, eps: float
) -> tuple[Array, Array, Array]:
    """dx, stored as x (N, C, *size), dweight and dbias (C,): ``kernels.norm.batch_norm_grad``."""
    x, g = as_rows(x, g)
    count = max(1, x.size // max(1, x.shape[1]))
    scale = 1 / np.sqrt(variance + x.dtype.type(eps))
    dbias, product = sums(g, x, mean)  # of g, of g (x - mean)
    slope = scale if weight is None else scale * weight
    dx = combined(g, x, mean, slope, -slope * scale * scale * (product / count), -slope * (dbias / count))
    return dx, *of_parameters(x, product, scale, dbias)


def of_parameters(x: Array, product: Array, scale: Array, dbias: Array) -> tuple[Array, Array]:
    """dweight and dbias (C,); of nothing 0, though the statistics of nothing are NaN."""
    return (product * scale if x.size else product).astype(x.dtype), dbias.astype(x.dtype)


def scale_shift(x: Array, scale: Array, shift: Array | None) -> Array:
    """x scale + shift, stored as x (N, C, *size); scale and shift (C,)."""
    (x,) = as_rows(x)
    return scaled(x, None, scale, shift)


def scale_shift_grad(g: Array, x: Array, scale: Array) -> tuple[Array, Array, Array]:
    """dx, stored as x (N, C, *size), dscale and dshift (C,)."""
    x, g = as_rows(x, g)
    dshift, dscale = sums(g, x, None)
    return scaled(g, None, scale, None), dscale.astype(x.dtype), dshift.astype(x.dtype)


def add_to_channels(x: Array, shift: Array) -> None:
    """``x += shift`` for x (N, C, *size), channels-last if anything is to be won, and shift (C,)."""
    if not (dense(x) and is_last(x)):
        x += along(shift, x)
    elif x.size:
        blocks = blocks_of(x, last=True)
        _run(_shifted_piece, blocks, x, None, x, blocks.spread(shift))


def channel_sums(g: Array) -> Array:
    """The sum over each channel of g (N, C, *size), (C,): blocks are added up in float64."""
    g = last_and_dense(g, "g")
    blocks = blocks_of(g, last=True)
    partial = np.zeros((blocks.partials, blocks.shape.groups), g.dtype)
    if g.size:
        _run(_total_piece, blocks, g, None, partial)
    return partial.sum(axis=0, dtype=np.float64).reshape(-1, g.shape[1]).sum(axis=0).astype(g.dtype)


# ---- the passes: arrays dense and all stored alike ----


class Blocks:
    """How (rows, groups, run) is cut into blocks: channels last some rows, channels first some planes of a sample."""

    def __init__(self, shape: tuple[int, ...], last: bool, dtype: np.dtype) -> None:
        self.last = last
        self.shape = Rows(shape, last)
        rows, groups = self.shape.rows, self.shape.groups
        if last:
            self.size = max(BLOCK_ROWS, BLOCK_BYTES // max(1, groups * dtype.itemsize))  # rows
            self.pieces = -(-rows // self.size)
            self.partials = self.pieces  # one of each group for a block
        else:
            self.size = max(1, min(groups, BLOCK_BYTES // max(1, self.shape.run * dtype.itemsize)))  # planes
            self.pieces = rows * -(-groups // self.size)
            self.partials = rows
        self.zeros = permanent_zeros(dtype, groups)[:groups]
        self.counts = np.full(self.partials, float(self.shape.run))  # elements behind each partial result
        if last and rows:
            self.counts[:] = self.size
            self.counts[-1] = rows - (self.partials - 1) * self.size

    def spread(self, v: Array | None) -> Array:
        """A value for each channel, 0 without, as one for each group."""
        if v is None:
            return self.zeros
        v = np.ascontiguousarray(v, self.zeros.dtype)
        rows = (v,) * self.shape.fold
        if len(rows) > 1 and is_constant(v):
            return made_of(v, "folded", (len(rows) * v.size,), v.dtype, "", lambda a: np.concatenate(rows, out=a))
        return v if len(rows) == 1 else np.concatenate(rows)


@lru_cache(maxsize=512)
def _blocks(shape: tuple[int, ...], last: bool, dtype: np.dtype) -> Blocks:
    return Blocks(shape, last, dtype)


def blocks_of(x: Array, last: bool | None = None) -> Blocks:
    """How a dense x is cut.  ``last``: as channels-last storage; None where x says so itself, with C > 1 it does."""
    return _blocks(x.shape, is_last(x) if last is None else last, x.dtype)


class Pass(NamedTuple):
    """Addresses of arrays, and how they are cut.  ``a``, ``b``, ``c``, ``d`` have an element for each group."""

    x: Address
    g: Address
    y: Address
    a: Address
    b: Address
    c: Address
    d: Address
    rows: int
    groups: int
    run: int
    size: int  # of a block, in rows or planes
    last: int


def _run(function: Any, blocks: Blocks, x: Array, g: Array | None, y: Array, *values: Array) -> None:
    numbers = [address(v) for v in values] + [0] * (4 - len(values))
    shape = blocks.shape
    arguments = Pass(
        address(x), 0 if g is None else address(g), address(y), *numbers, shape.rows, shape.groups, shape.run,
        blocks.size, int(blocks.last),
    )  # fmt: skip
    run(function, kind_of(x), arguments, blocks.pieces, seconds(x, x if g is None else g))


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel, (C,) each; NaN without elements, as in NumPy."""
    blocks = blocks_of(x)
    if not x.size:
        return np.full(x.shape[1], np.nan, x.dtype), np.full(x.shape[1], np.nan, x.dtype)
    partial = np.empty((blocks.partials, 2, blocks.shape.groups), x.dtype)  # mean, sum of squares about it
    _run(_moments_piece, blocks, x, None, partial)
    mean, variance = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    arrays = partial, blocks.counts, mean, variance
    numbers = _Statistics(*map(address, arrays), blocks.partials, blocks.shape.groups, x.shape[1])
    run(_merge, in_float64(x.dtype), numbers, 1)
    return mean, variance


def sums(g: Array, x: Array, mean: Array | None) -> tuple[Array, Array]:
    """Sums of g and of g (x - mean) over each channel, float64 (C,) each."""
    blocks = blocks_of(x)
    if not x.size:
        return np.zeros(x.shape[1]), np.zeros(x.shape[1])
    partial = np.empty((blocks.partials, 2, blocks.shape.groups), x.dtype)
    _run(_sums_piece, blocks, x, g, partial, blocks.spread(mean))
    return of_channels(partial, blocks, x.shape[1])


def of_channels(partial: Array, blocks: Blocks, channels: int) -> tuple[Array, Array]:
    """Two sums of each channel, float64 (C,), from those of the blocks, (blocks, 2, groups)."""
    total = partial.sum(axis=0, dtype=np.float64)  # (2, fold * C)
    both = total.reshape(2, blocks.shape.fold, channels).sum(axis=1)
    return both[0], both[1]


def scaled(x: Array, mean: Array | None, scale: Array, shift: Array | None) -> Array:
    """(x - mean) scale + shift."""
    blocks, y = blocks_of(x), like(x)
    values = [blocks.spread(v) for v in (mean, scale, shift)]
    if x.size:
        _run(_scaled_piece, blocks, x, None, y, *values)
    return y


def combined(g: Array, x: Array, mean: Array, of_g: Array, of_x: Array, shift: Array) -> Array:
    """g of_g + (x - mean) of_x + shift."""
    blocks, y = blocks_of(x), like(x)
    values = [blocks.spread(v) for v in (mean, of_g, of_x, shift)]
    if x.size:
        _run(_combined_piece, blocks, x, g, y, *values)
    return y


@native
def _block(p: Any, piece: int) -> tuple[int, int, int, int, int]:
    """Of a block: row, first group, number of groups, rows, first element."""
    if p.last:
        row = piece * p.size
        return row, 0, p.groups, min(p.size, p.rows - row), row * p.groups
    per_row = -(-p.groups // p.size)
    row, first = piece // per_row, piece % per_row * p.size
    return row, first, min(p.size, p.groups - first), 1, (row * p.groups + first) * p.run


@native
def _moments_piece(kind: Any, arguments: int, piece: int) -> None:
    p = read(Pass, arguments)
    row, first, groups, rows, begin = _block(p, piece)
    x = elements(kind, p.x + begin * kind.itemsize, rows * groups * p.run)
    partial = p.y + (piece if p.last else row) * 2 * p.groups * kind.itemsize
    means = elements(kind, partial + first * kind.itemsize, groups)
    squares = elements(kind, partial + (p.groups + first) * kind.itemsize, groups)
    if p.last:
        rest = np.empty_like(means)
        means[:] = 0
        for m in range(rows):
            for v in range(groups):
                means[v] += x[m * groups + v]
        for v in range(groups):
            means[v] /= rows
            squares[v] = 0
            rest[v] = 0
        for m in range(rows):
            for v in range(groups):
                d = x[m * groups + v] - means[v]
                rest[v] += d
                squares[v] += d * d
        for v in range(groups):  # what rounding left of the sum of differences corrects both
            squares[v] -= rest[v] * rest[v] / rows
            means[v] += rest[v] / rows
        return
    for v in range(groups):
        plane = x[v * p.run : (v + 1) * p.run]
        total = left = square = x.dtype.type(0)
        for i in range(p.run):
            total += plane[i]
        mean = x.dtype.type(total / p.run)
        for i in range(p.run):
            d = plane[i] - mean
            left += d
            square += d * d
        means[v] = mean + left / p.run
        squares[v] = square - left * left / p.run


class _Statistics(NamedTuple):
    """Of blocks, (blocks, 2, groups), with how many elements are behind them; of channels."""

    partial: Address
    counts: Address
    mean: Address
    variance: Address
    blocks: int
    groups: int
    channels: int


@native
def _merge(kinds: Any, arguments: int, _piece: int) -> None:
    """Statistics of the channels from those of the blocks."""
    s = read(_Statistics, arguments)
    partial = elements(kinds.values, s.partial, s.blocks * 2 * s.groups)
    counts = elements(kinds.sums, s.counts, s.blocks)
    scratch = allocate(s.channels * 2 * 8)
    clear_bytes(scratch, s.channels * 2 * 8)
    total = elements(kinds.sums, scratch, s.channels)
    square = elements(kinds.sums, scratch + s.channels * 8, s.channels)
    n = 0.0
    for b in range(s.blocks):
        for first in range(0, s.groups, s.channels):
            n += counts[b]
            share, weight = counts[b] / n, counts[b] * (n - counts[b]) / n
            begin = b * 2 * s.groups + first
            for c in range(s.channels):
                d = partial[begin + c] - total[c]
                total[c] += d * share
                square[c] += partial[begin + s.groups + c] + d * d * weight
    mean, variance = elements(kinds.values, s.mean, s.channels), elements(kinds.values, s.variance, s.channels)
    for c in range(s.channels):
        mean[c], variance[c] = total[c], square[c] / n
    free(scratch)


@native
def _sums_piece(kind: Any, arguments: int, piece: int) -> None:
    p = read(Pass, arguments)
    row, first, groups, rows, begin = _block(p, piece)
    x = elements(kind, p.x + begin * kind.itemsize, rows * groups * p.run)
    g = elements(kind, p.g + begin * kind.itemsize, rows * groups * p.run)
    mean = elements(kind, p.a + first * kind.itemsize, groups)
    partial = p.y + (piece if p.last else row) * 2 * p.groups * kind.itemsize
    plain = elements(kind, partial + first * kind.itemsize, groups)
    products = elements(kind, partial + (p.groups + first) * kind.itemsize, groups)
    if p.last:
        plain[:] = 0
        products[:] = 0
        for m in range(rows):
            for v in range(groups):
                at = m * groups + v
                plain[v] += g[at]
                products[v] += g[at] * (x[at] - mean[v])
        return
    for v in range(groups):
        total = product = g.dtype.type(0)
        for i in range(v * p.run, (v + 1) * p.run):
            total += g[i]
            product += g[i] * (x[i] - mean[v])
        plain[v], products[v] = total, product


@native
def _total_piece(kind: Any, arguments: int, piece: int) -> None:
    p = read(Pass, arguments)
    _, _, groups, rows, begin = _block(p, piece)
    x = elements(kind, p.x + begin * kind.itemsize, rows * groups)
    total = elements(kind, p.y + piece * groups * kind.itemsize, groups)
    for m in range(rows):
        for v in range(groups):
            total[v] += x[m * groups + v]


@native
def _shifted_piece(kind: Any, arguments: int, piece: int) -> None:
    p = read(Pass, arguments)
    _, _, groups, rows, begin = _block(p, piece)
    x = elements(kind, p.x + begin * kind.itemsize, rows * groups)
    shift = elements(kind, p.a, groups)
    for m in range(rows):
        for v in range(groups):
            x[m * groups + v] += shift[v]


@native
def _scaled_piece(kind: Any, arguments: int, piece: int) -> None:
    p = read(Pass, arguments)
    _, first, groups, rows, begin = _block(p, piece)
    x = elements(kind, p.x + begin * kind.itemsize, rows * groups * p.run)
    y = elements(kind, p.y + begin * kind.itemsize, rows * groups * p.run)
    mean = elements(kind, p.a + first * kind.itemsize, groups)
    scale = elements(kind, p.b + first * kind.itemsize, groups)
    shift = elements(kind, p.c + first * kind.itemsize, groups)
    if p.last:
        for m in range(rows):
            for v in range(groups):
                y[m * groups + v] = (x[m * groups + v] - mean[v]) * scale[v] + shift[v]
        return
    for v in range(groups):
        a, b, c = mean[v], scale[v], shift[v]
        for i in range(v * p.run, (v + 1) * p.run):
            y[i] = (x[i] - a) * b + c


@native
def _combined_piece(kind: Any, arguments: int, piece: int) -> None:
    p = read(Pass, arguments)
    _, first, groups, rows, begin = _block(p, piece)
    x = elements(kind, p.x + begin * kind.itemsize, rows * groups * p.run)
    g = elements(kind, p.g + begin * kind.itemsize, rows * groups * p.run)
    y = elements(kind, p.y + begin * kind.itemsize, rows * groups * p.run)
    mean = elements(kind, p.a + first * kind.itemsize, groups)
    of_g = elements(kind, p.b + first * kind.itemsize, groups)
    of_x = elements(kind, p.c + first * kind.itemsize, groups)
    shift = elements(kind, p.d + first * kind.itemsize, groups)
    if p.last:
        for m in range(rows):
            for v in range(groups):
                at = m * groups + v
                y[at] = g[at] * of_g[v] + ((x[at] - mean[v]) * of_x[v] + shift[v])
        return
    for v in range(groups):
        a, b, c, d = mean[v], of_g[v], of_x[v], shift[v]
        for i in range(v * p.run, (v + 1) * p.run):
            y[i] = g[i] * b + ((x[i] - a) * c + d)
