"""Normalisation over channels in as few passes over memory as there can be; channels first here, last in `norm_last`.

* batch_norm: one pass for the statistics, one to normalise.
* batch_norm_grad: one pass over x and g for the two sums of each channel, one more for dx.

A piece of work is a block of planes of one sample, small enough to stay in the cache: it is read twice, for its mean
and for the squares about it, while memory is read once.  How blocks are put together: `norm_passes`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from ..spec.norm import along
from . import norm_last
from .elements import Rows, address, as_rows, dense, elements, in_float64, is_last, kind_of, like, seconds
from .norm_passes import merge
from .pieces import Address, allocate, free, read, run
from .simd import clear_bytes

Array = np.ndarray

BLOCK_BYTES = 128 << 10  # half of a small L2 cache


def batch_norm(x: Array, weight: Array | None, bias: Array | None, eps: float) -> tuple[Array, Array, Array]:
    """y, stored as x (N, C, *size), mean and biased variance (C,): ``kernels.norm.batch_norm``."""
    (x,) = as_rows(x)
    if is_last(x):
        return norm_last.batch_norm(x, weight, bias, eps, None, None)
    mean, variance = moments(x)
    scale = 1 / np.sqrt(variance + x.dtype.type(eps))
    return scaled(x, mean, scale if weight is None else scale * weight, bias), mean, variance


def batch_norm_grad(
    g: Array, x: Array, weight: Array | None, mean: Array, variance: Array, eps: float
) -> tuple[Array, ...]:
    """dx, stored as x (N, C, *size), dweight and dbias (C,): ``kernels.norm.batch_norm_grad``."""
    (x,) = as_rows(x)
    if is_last(x):
        return norm_last.batch_norm_grad(g, x, weight, None, mean, variance, eps, None, None)
    g = np.ascontiguousarray(g)
    count = max(1, x.size // max(1, x.shape[1]))
    scale = 1 / np.sqrt(variance + x.dtype.type(eps))
    dbias, product = sums(g, x, mean)  # of g, of g (x - mean)
    slope = scale if weight is None else scale * weight
    dx = combined(g, x, mean, slope, -slope * scale * scale * (product / count), -slope * (dbias / count))
    # of nothing 0, though the statistics of nothing are NaN
    return dx, (product * scale if x.size else product).astype(x.dtype), dbias.astype(x.dtype)


def scale_shift(x: Array, scale: Array, shift: Array | None) -> Array:
    """x scale + shift, stored as x (N, C, *size); scale and shift (C,)."""
    (x,) = as_rows(x)
    if is_last(x):
        return norm_last.scale_shift(x, scale, shift, None, None)
    return scaled(x, None, scale, shift)


def scale_shift_grad(g: Array, x: Array, scale: Array) -> tuple[Array, Array, Array]:
    """dx, stored as x (N, C, *size), dscale and dshift (C,)."""
    (x,) = as_rows(x)
    if is_last(x):
        return norm_last.scale_shift_grad(g, x, scale)
    g = np.ascontiguousarray(g)
    dshift, dscale = sums(g, x, None)
    return scaled(g, None, scale, None), dscale.astype(x.dtype), dshift.astype(x.dtype)


def add_to_channels(x: Array, shift: Array) -> None:
    """``x += shift`` for x (N, C, *size), channels-last if anything is to be won, and shift (C,)."""
    if not (dense(x) and is_last(x)):
        x += along(shift, x)
    elif x.size:
        norm_last.add_to_channels(x, shift)


channel_sums = norm_last.channel_sums


# ---- the passes: arrays dense and all stored alike ----


class Blocks:
    """How (rows, groups, run) is cut into blocks: some planes of a sample."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.shape = Rows(shape, last=False)
        rows, groups = self.shape.rows, self.shape.groups
        self.size = max(1, min(groups, BLOCK_BYTES // max(1, self.shape.run * dtype.itemsize)))  # planes
        self.pieces = rows * -(-groups // self.size)
        self.zeros = np.zeros(groups, dtype)

    def row(self, v: Array | None) -> Array:
        """A value for each channel, 0 without."""
        return self.zeros if v is None else np.ascontiguousarray(v, self.zeros.dtype)


@lru_cache(maxsize=512)
def _blocks(shape: tuple[int, ...], dtype: np.dtype) -> Blocks:
    return Blocks(shape, dtype)


class Pass(NamedTuple):
    """Addresses of arrays, and how they are cut.  ``a``, ``b``, ``c``, ``d`` have an element for each group."""

    x: Address
    g: Address
    y: Address
    a: Address
    b: Address
    c: Address
    d: Address
    groups: int
    run: int
    size: int  # of a block, in planes


def _run(function: Any, blocks: Blocks, x: Array, g: Array | None, y: Array, *values: Array) -> None:
    numbers = [address(v) for v in values] + [0] * (4 - len(values))
    places = address(x), 0 if g is None else address(g), address(y)
    arguments = Pass(*places, *numbers, blocks.shape.groups, blocks.shape.run, blocks.size)
    run(function, kind_of(x), arguments, blocks.pieces, seconds(x, x if g is None else g))


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel, (C,) each; NaN without elements, as in NumPy."""
    blocks = _blocks(x.shape, x.dtype)
    if not x.size:
        return np.full(x.shape[1], np.nan, x.dtype), np.full(x.shape[1], np.nan, x.dtype)
    partial = np.empty((blocks.shape.rows, 2, blocks.shape.groups), x.dtype)  # mean, sum of squares about it
    _run(_moments_piece, blocks, x, None, partial)
    mean, variance = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    shape = blocks.shape.rows, x.shape[1], blocks.shape.run
    run(_merge, in_float64(x.dtype), _Statistics(*map(address, (partial, mean, variance)), *shape), 1)
    return mean, variance


def sums(g: Array, x: Array, mean: Array | None) -> tuple[Array, Array]:
    """Sums of g and of g (x - mean) over each channel, float64 (C,) each."""
    blocks = _blocks(x.shape, x.dtype)
    if not x.size:
        return np.zeros(x.shape[1]), np.zeros(x.shape[1])
    partial = np.empty((blocks.shape.rows, 2, blocks.shape.groups), x.dtype)
    _run(_sums_piece, blocks, x, g, partial, blocks.row(mean))
    both = partial.sum(axis=0, dtype=np.float64)
    return both[0], both[1]


def scaled(x: Array, mean: Array | None, scale: Array, shift: Array | None) -> Array:
    """(x - mean) scale + shift."""
    blocks, y = _blocks(x.shape, x.dtype), like(x)
    values = [blocks.row(v) for v in (mean, scale, shift)]
    if x.size:
        _run(_scaled_piece, blocks, x, None, y, *values)
    return y


def combined(g: Array, x: Array, mean: Array, of_g: Array, of_x: Array, shift: Array) -> Array:
    """g of_g + (x - mean) of_x + shift."""
    blocks, y = _blocks(x.shape, x.dtype), like(x)
    values = [blocks.row(v) for v in (mean, of_g, of_x, shift)]
    if x.size:
        _run(_combined_piece, blocks, x, g, y, *values)
    return y


@native
def _block(p: Any, piece: int) -> tuple[int, int, int, int]:
    """Of a block: row, first group, number of groups, first element."""
    per_row = -(-p.groups // p.size)
    row, first = piece // per_row, piece % per_row * p.size
    return row, first, min(p.size, p.groups - first), (row * p.groups + first) * p.run


@native
def _moments_piece(kind: Any, arguments: int, piece: int) -> None:
    p = read(Pass, arguments)
    row, first, groups, begin = _block(p, piece)
    x = elements(kind, p.x + begin * kind.itemsize, groups * p.run)
    partial = p.y + row * 2 * p.groups * kind.itemsize
    means = elements(kind, partial + first * kind.itemsize, groups)
    squares = elements(kind, partial + (p.groups + first) * kind.itemsize, groups)
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
        means[v] = mean + left / p.run  # what rounding left of the sum of differences corrects both
        squares[v] = square - left * left / p.run


class _Statistics(NamedTuple):
    """Of samples, (rows, 2, channels), each of which has ``run`` elements of a channel; of channels."""

    partial: Address
    mean: Address
    variance: Address
    rows: int
    channels: int
    run: int


@native
def _merge(kinds: Any, arguments: int, _piece: int) -> None:
    """Statistics of the channels from those of the samples."""
    s = read(_Statistics, arguments)
    size = s.channels * 8
    scratch = allocate(2 * size)
    clear_bytes(scratch, 2 * size)
    total, square = elements(kinds.sums, scratch, s.channels), elements(kinds.sums, scratch + size, s.channels)
    for row in range(s.rows):
        part = elements(kinds.values, s.partial + row * 2 * s.channels * kinds.values.itemsize, 2 * s.channels)
        merge(total, square, part[: s.channels], part[s.channels :], s.run, float((row + 1) * s.run))
    mean, variance = elements(kinds.values, s.mean, s.channels), elements(kinds.values, s.variance, s.channels)
    for c in range(s.channels):
        mean[c], variance[c] = total[c], square[c] / (s.rows * s.run)
    free(scratch)


@native
def _sums_piece(kind: Any, arguments: int, piece: int) -> None:
    p = read(Pass, arguments)
    row, first, groups, begin = _block(p, piece)
    x = elements(kind, p.x + begin * kind.itemsize, groups * p.run)
    g = elements(kind, p.g + begin * kind.itemsize, groups * p.run)
    mean = elements(kind, p.a + first * kind.itemsize, groups)
    partial = p.y + row * 2 * p.groups * kind.itemsize
    plain = elements(kind, partial + first * kind.itemsize, groups)
    products = elements(kind, partial + (p.groups + first) * kind.itemsize, groups)
    for v in range(groups):
        total = product = g.dtype.type(0)
        for i in range(v * p.run, (v + 1) * p.run):
            total += g[i]
            product += g[i] * (x[i] - mean[v])
        plain[v], products[v] = total, product


@native
def _scaled_piece(kind: Any, arguments: int, piece: int) -> None:
    p = read(Pass, arguments)
    _, first, groups, begin = _block(p, piece)
    x = elements(kind, p.x + begin * kind.itemsize, groups * p.run)
    y = elements(kind, p.y + begin * kind.itemsize, groups * p.run)
    mean = elements(kind, p.a + first * kind.itemsize, groups)
    scale = elements(kind, p.b + first * kind.itemsize, groups)
    shift = elements(kind, p.c + first * kind.itemsize, groups)
    for v in range(groups):
        a, b, c = mean[v], scale[v], shift[v]
        for i in range(v * p.run, (v + 1) * p.run):
            y[i] = (x[i] - a) * b + c


@native
def _combined_piece(kind: Any, arguments: int, piece: int) -> None:
    p = read(Pass, arguments)
    _, first, groups, begin = _block(p, piece)
    x = elements(kind, p.x + begin * kind.itemsize, groups * p.run)
    g = elements(kind, p.g + begin * kind.itemsize, groups * p.run)
    y = elements(kind, p.y + begin * kind.itemsize, groups * p.run)
    mean = elements(kind, p.a + first * kind.itemsize, groups)
    of_g = elements(kind, p.b + first * kind.itemsize, groups)
    of_x = elements(kind, p.c + first * kind.itemsize, groups)
    shift = elements(kind, p.d + first * kind.itemsize, groups)
    for v in range(groups):
        a, b, c, d = mean[v], of_g[v], of_x[v], shift[v]
        for i in range(v * p.run, (v + 1) * p.run):
            y[i] = g[i] * b + ((x[i] - a) * c + d)
