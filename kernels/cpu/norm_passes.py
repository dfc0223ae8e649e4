"""The passes of batch norm over a channels-last array, and what one thread computes between them.

A piece of work is a block of rows.  It is walked through in strips of a few rows, which stay in the L1 cache, and in a
strip some registers of columns at a time, whose sums and constants stay in registers from row to row.  The statistics
are those of blocks small enough to stay in the L2 cache: a block is read twice, for its mean and for the squares about
it, while memory is read once.  Chan, Golub and LeVeque (1979) say how blocks are put together, which is done in
float64; so many elements cost no digits.  A large mean costs what rounding the means of blocks does: relative to the
variance about eps * mean / deviation.

The second pass of a forward or backward call begins with the last block: of a large array that is what the first pass
has left in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from .elements import elements
from .pieces import Address, allocate, free, read
from .simd import (
    Constant,
    Lanes,
    Machine,
    broadcast,
    clear_bytes,
    finish_streams,
    fma,
    load,
    maximum,
    minimum,
    store,
    stream,
    where_between,
    zero,
)


class Pass(NamedTuple):
    """Addresses, 0 of what there is not.  A *group* is an element of a row: a row has all channels, some times over."""

    x: Address
    g: Address  # cotangent of y
    z: Address  # what was added to the norm (forward), or the result of it all (backward)
    y: Address  # result, or dx
    kept: Address  # the cotangent before the ReLU, where there is a z
    partial: Address  # (blocks, 2, groups): what the first pass finds
    centre: Address  # from here on a number for each group: the mean
    slope: Address  # weight / deviation
    shift: Address
    of_x: Address
    constant: Address
    mean: Address  # from here on a number for each channel
    variance: Address
    weight: Address
    bias: Address
    dweight: Address
    dbias: Address
    eps: Address  # one number
    ceiling: Address  # one number, NaN for none
    g_step: int  # bytes from row to row of g
    y_step: int  # of y
    rows: int
    groups: int
    channels: int
    size: int  # rows of a block
    blocks: int
    strip: int  # rows
    stream: int  # 1: results go past the caches
    add: int  # 1: dx is added to what y holds


@dataclass(frozen=True)
class Kind(Constant):
    """What is known when a pass is compiled: registers side by side, one, a number, sums; whether ReLU follows."""

    wide: Lanes
    whole: Lanes
    one: Lanes
    sums: Lanes
    cut: int

    @property
    def itemsize(self) -> int:
        return self.one.itemsize


@cache
def kind_of(dtype: str, cut: bool, host: Machine) -> Kind:
    """For an array of ``dtype``; side by side are as many registers as there is room for the sums and constants of."""
    lanes = host.lanes(dtype)
    wide = Lanes(dtype, host.registers // 8 * lanes)
    return Kind(wide, Lanes(dtype, lanes), Lanes(dtype, 1), Lanes("float64", 1), int(cut))


_native = native(fastmath={"contract"})  # a product and a sum may be rounded once; nothing is summed in another order


# ---- a piece is a block of rows ----


@_native
def _block(p: Any, block: int) -> tuple[int, int]:
    """The first row of a block, and the one behind the last."""
    return block * p.size, min((block + 1) * p.size, p.rows)


@_native
def _columns(kind: Any, p: Any) -> tuple[int, int, int]:
    """Where in a row the groups end that fill registers side by side, those that fill one, and all; in bytes."""
    wide, whole = p.groups // kind.wide.lanes * kind.wide.lanes, p.groups // kind.whole.lanes * kind.whole.lanes
    return wide * kind.itemsize, whole * kind.itemsize, p.groups * kind.itemsize


@_native
def _write(p: Any, place: int, value: Any) -> None:
    if p.stream:
        stream(place, value)
    else:
        store(place, value)


@_native
def totals_piece(kind: Any, arguments: int, piece: int) -> None:
    """The sum of each group of x in a block."""
    p = read(Pass, arguments)
    _totals(kind, p, piece, p.partial + piece * p.groups * kind.itemsize)


@_native
def _totals(kind: Any, p: Any, block: int, totals: int) -> None:
    first, stop = _block(p, block)
    wide, whole, row = _columns(kind, p)
    clear_bytes(totals, row)
    for begin in range(first, stop, p.strip):
        end = min(begin + p.strip, stop)
        _totals_of(kind.wide, p, totals, begin, end, 0, wide)
        _totals_of(kind.whole, p, totals, begin, end, wide, whole)
        _totals_of(kind.one, p, totals, begin, end, whole, row)


@_native
def _totals_of(tile: Any, p: Any, totals: int, begin: int, end: int, left: int, right: int) -> None:
    row = p.groups * tile.itemsize
    for v in range(left, right, tile.lanes * tile.itemsize):
        total = load(tile, totals + v)
        for m in range(begin, end):
            total = total + load(tile, p.x + m * row + v)
        store(totals + v, total)


@_native
def moments_piece(kind: Any, arguments: int, piece: int) -> None:
    """The mean of each group in a block, and the sum of the squares about it."""
    p = read(Pass, arguments)
    first, stop = _block(p, piece)
    wide, whole, row = _columns(kind, p)
    means = p.partial + piece * 2 * row
    squares, rests = means + row, allocate(row)
    _totals(kind, p, piece, means)
    mean, square = elements(kind.one, means, p.groups), elements(kind.one, squares, p.groups)
    rest = elements(kind.one, rests, p.groups)
    for v in range(p.groups):
        mean[v] /= stop - first
    clear_bytes(squares, row)
    clear_bytes(rests, row)
    for begin in range(first, stop, p.strip):
        end = min(begin + p.strip, stop)
        _squares_of(kind.wide, p, means, squares, rests, begin, end, 0, wide)
        _squares_of(kind.whole, p, means, squares, rests, begin, end, wide, whole)
        _squares_of(kind.one, p, means, squares, rests, begin, end, whole, row)
    for v in range(p.groups):  # what rounding left of the sum of differences corrects both
        square[v] -= rest[v] * rest[v] / (stop - first)
        mean[v] += rest[v] / (stop - first)
    free(rests)


@_native
def _squares_of(
    tile: Any, p: Any, means: int, squares: int, rests: int, begin: int, end: int, left: int, right: int
) -> None:
    """Sums of the differences from the mean, and of their squares."""
    row = p.groups * tile.itemsize
    for v in range(left, right, tile.lanes * tile.itemsize):
        mean, square, rest = load(tile, means + v), load(tile, squares + v), load(tile, rests + v)
        for m in range(begin, end):
            difference = load(tile, p.x + m * row + v) - mean
            rest, square = rest + difference, fma(difference, difference, square)
        store(squares + v, square)
        store(rests + v, rest)


@_native
def cut_piece(kind: Any, arguments: int, piece: int) -> None:
    """y = relu((x - mean) slope + shift + z)"""
    p = read(Pass, arguments)
    first, stop = _block(p, p.blocks - 1 - piece)
    wide, whole, row = _columns(kind, p)
    for begin in range(first, stop, p.strip):
        end = min(begin + p.strip, stop)
        _cut_of(kind, kind.wide, p, begin, end, 0, wide)
        _cut_of(kind, kind.whole, p, begin, end, wide, whole)
        _cut_of(kind, kind.one, p, begin, end, whole, row)
    finish_streams()


@_native
def _cut_of(kind: Any, tile: Any, p: Any, begin: int, end: int, left: int, right: int) -> None:
    row, top, none = p.groups * tile.itemsize, broadcast(tile, elements(tile, p.ceiling, 1)[0]), zero(tile)
    for v in range(left, right, tile.lanes * tile.itemsize):
        centre, slope, shift = load(tile, p.centre + v), load(tile, p.slope + v), load(tile, p.shift + v)
        for m in range(begin, end):
            at = m * row + v
            value = fma(load(tile, p.x + at) - centre, slope, shift)
            if p.z != 0:
                value = value + load(tile, p.z + at)
            if kind.cut:
                value = minimum(top, maximum(none, value))
            _write(p, p.y + at, value)


@_native
def sums_piece(kind: Any, arguments: int, piece: int) -> None:
    """Sums of the cotangent before the ReLU, and of its products with x - mean; ``kept`` gets it where there is a z."""
    p = read(Pass, arguments)
    first, stop = _block(p, piece)
    wide, whole, row = _columns(kind, p)
    totals = p.partial + piece * 2 * row
    clear_bytes(totals, 2 * row)
    for begin in range(first, stop, p.strip):
        end = min(begin + p.strip, stop)
        _sums_of(kind, kind.wide, p, totals, begin, end, 0, wide)
        _sums_of(kind, kind.whole, p, totals, begin, end, wide, whole)
        _sums_of(kind, kind.one, p, totals, begin, end, whole, row)


@_native
def _sums_of(kind: Any, tile: Any, p: Any, totals: int, begin: int, end: int, left: int, right: int) -> None:
    row, top, none = p.groups * tile.itemsize, broadcast(tile, elements(tile, p.ceiling, 1)[0]), zero(tile)
    for v in range(left, right, tile.lanes * tile.itemsize):
        centre, slope, shift = load(tile, p.centre + v), load(tile, p.slope + v), load(tile, p.shift + v)
        total, product = load(tile, totals + v), load(tile, totals + row + v)
        for m in range(begin, end):
            at = m * row + v
            kept, difference = load(tile, p.g + m * p.g_step + v), load(tile, p.x + at) - centre
            if p.z != 0:
                if kind.cut:
                    kept = where_between(load(tile, p.z + at), none, top, kept)
                store(p.kept + at, kept)
            elif kind.cut:
                kept = where_between(fma(difference, slope, shift), none, top, kept)
            total, product = total + kept, fma(kept, difference, product)
        store(totals + v, total)
        store(totals + row + v, product)


@_native
def grad_piece(kind: Any, arguments: int, piece: int) -> None:
    """dx = kept slope + (x - mean) of_x + constant, where kept is the cotangent before the ReLU."""
    p = read(Pass, arguments)
    first, stop = _block(p, p.blocks - 1 - piece)
    wide, whole, row = _columns(kind, p)
    for begin in range(first, stop, p.strip):
        end = min(begin + p.strip, stop)
        _grad_of(kind, kind.wide, p, begin, end, 0, wide)
        _grad_of(kind, kind.whole, p, begin, end, wide, whole)
        _grad_of(kind, kind.one, p, begin, end, whole, row)
    finish_streams()


@_native
def _grad_of(kind: Any, tile: Any, p: Any, begin: int, end: int, left: int, right: int) -> None:
    row, top, none = p.groups * tile.itemsize, broadcast(tile, elements(tile, p.ceiling, 1)[0]), zero(tile)
    g, g_step = p.g, p.g_step
    if p.z != 0:  # then the first pass has cut the cotangent off
        g, g_step = p.kept, row
    for v in range(left, right, tile.lanes * tile.itemsize):
        centre, slope, shift = load(tile, p.centre + v), load(tile, p.slope + v), load(tile, p.shift + v)
        of_x, constant = load(tile, p.of_x + v), load(tile, p.constant + v)
        for m in range(begin, end):
            at = m * row + v
            kept, difference = load(tile, g + m * g_step + v), load(tile, p.x + at) - centre
            if kind.cut and p.z == 0:
                kept = where_between(fma(difference, slope, shift), none, top, kept)
            dx, place = fma(kept, slope, fma(difference, of_x, constant)), p.y + m * p.y_step + v
            if p.add:
                dx = load(tile, place) + dx
            _write(p, place, dx)


# ---- between the passes: numbers of channels, by one thread ----


_rounded = native(fastmath=set())  # each operation rounded as NumPy rounds it


@native
def merge(total: Any, square: Any, mean: Any, squares: Any, count: int, n: float) -> None:
    """Add a block's statistics, the mean of each channel and the squares about it, to those of the blocks so far.

    ``count``: elements of a channel in the block; ``n``: in all of them, this one included.
    """
    share, weight = count / n, count * (n - count) / n
    for c in range(len(total)):
        d = mean[c] - total[c]
        total[c] += d * share
        square[c] += squares[c] + d * d * weight


@_rounded
def statistics(kind: Any, arguments: int, _piece: int) -> None:
    """Mean and variance of the channels from those of the blocks; then as `spread`."""
    p = read(Pass, arguments)
    size = p.channels * 8
    scratch = allocate(2 * size)
    clear_bytes(scratch, 2 * size)
    total, square = elements(kind.sums, scratch, p.channels), elements(kind.sums, scratch + size, p.channels)
    n = 0.0
    for b in range(p.blocks):
        first, stop = _block(p, b)
        for v in range(0, p.groups, p.channels):
            place = p.partial + (b * 2 * p.groups + v) * kind.itemsize
            mean = elements(kind.one, place, p.channels)
            squares = elements(kind.one, place + p.groups * kind.itemsize, p.channels)
            n += stop - first
            merge(total, square, mean, squares, stop - first, n)
    means, variances = elements(kind.one, p.mean, p.channels), elements(kind.one, p.variance, p.channels)
    for c in range(p.channels):
        means[c], variances[c] = total[c], square[c] / n
    free(scratch)
    spread(kind, arguments, 0)


@_rounded
def spread(kind: Any, arguments: int, _piece: int) -> None:
    """Mean, slope and shift of each channel, written down for each group."""
    p = read(Pass, arguments)
    mean, bias = elements(kind.one, p.mean, p.channels), elements(kind.one, p.bias, p.channels)
    centres, slopes = elements(kind.one, p.centre, p.groups), elements(kind.one, p.slope, p.groups)
    shifts = elements(kind.one, p.shift, p.groups)
    for c in range(p.channels):
        _, slope = _scales(kind, p, c)
        for v in range(c, p.groups, p.channels):
            centres[v], slopes[v] = mean[c], slope
            shifts[v] = bias[c] if p.bias != 0 else mean.dtype.type(0)


@_rounded
def _scales(kind: Any, p: Any, c: int) -> tuple[Any, Any]:
    """1 / deviation, and that times the weight."""
    variance, weight = elements(kind.one, p.variance, p.channels), elements(kind.one, p.weight, p.channels)
    scale = variance.dtype.type(1) / np.sqrt(variance[c] + elements(kind.one, p.eps, 1)[0])
    return scale, scale * weight[c] if p.weight != 0 else scale


@_rounded
def slopes(kind: Any, arguments: int, _piece: int) -> None:
    """The gradients of weight and bias from the sums of the blocks, and what `grad_piece` reads of them."""
    p = read(Pass, arguments)
    scratch = allocate(p.groups * 2 * 8)
    clear_bytes(scratch, p.groups * 2 * 8)
    sums, partial = elements(kind.sums, scratch, 2 * p.groups), elements(kind.one, p.partial, p.blocks * 2 * p.groups)
    for b in range(p.blocks):
        for i in range(2 * p.groups):
            sums[i] += partial[b * 2 * p.groups + i]
    dweight, dbias = elements(kind.one, p.dweight, p.channels), elements(kind.one, p.dbias, p.channels)
    of_x, constant = elements(kind.one, p.of_x, p.groups), elements(kind.one, p.constant, p.groups)
    count = p.rows * (p.groups // p.channels)
    for c in range(p.channels):
        total = product = 0.0
        for v in range(c, p.groups, p.channels):
            total += sums[v]
            product += sums[p.groups + v]
        scale, slope = _scales(kind, p, c)
        dweight[c], dbias[c] = product * scale, total
        for v in range(c, p.groups, p.channels):
            of_x[v], constant[v] = -slope * scale * scale * (product / count), -slope * (total / count)
    free(scratch)
