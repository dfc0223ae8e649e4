"""Pooling on the CPU: Numba, parallel over windows that no two threads share, so the bits never depend on threads.

Every array is seen as (A, D, H, W, B), contiguous: A planes of up to three axes, of which B lie side by side.

* channels last:   A = N,     B = C       ``..._beside``: the inner loop runs over channels
* channels first:  A = N * C, B = 1       ``..._planes``: the inner loop runs over the taps of one window
                                          ``..._rows``: it runs over a row of windows, one tap at a time

On each axis a table holds the first input position of window p, the position where it stops, and the step between
its taps, padding left out.  Regular and adaptive windows differ in nothing else, but only regular ones have rows
in which a tap moves by one stride from window to window, which is what a processor reads in parallel.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np

from ..geometry import Axis
from ..jit import njit, prange
from ..pooling import AdaptiveAxis, Pool, check_indices

uintp = np.uintp
LONG = 12  # windows in a row from which a row at a time is faster than a window at a time
BLOCK = 64  # values of B that one thread adds up at a time: 256 bytes of float32

Table = tuple[np.ndarray, np.ndarray, int]
Row = tuple[int, int, int, int]  # kernel, stride, dilation, low padding


def max_pool(
    x: np.ndarray, pool: Pool, out: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    last = is_last(x)
    values, values5 = buffer(out and out[0], pool.y_shape, x.dtype, last)
    indices, indices5 = buffer(out and out[1], pool.y_shape, index_dtype(pool), last)
    x5 = as5(x, last)
    if row := long_row(pool, last):
        depth, height, _ = tables(pool)
        max_rows(planes(x5), depth, height, row, planes(values5), planes(indices5))
    elif last:
        max_beside(line(x5), x5.shape[1:4], *tables(pool), values5.shape, line(values5), line(indices5))
    else:
        max_planes(x5, *tables(pool), values5, indices5)
    return give(values, out and out[0]), give(indices, out and out[1])


def index_dtype(pool: Pool) -> np.dtype:
    """Four bytes where a plane has no more positions: as wide as float32, so both fill a register alike."""
    return np.dtype(np.int32 if prod(pool.size) < 2**31 else np.int64)


def max_pool_grad(
    g: np.ndarray,
    indices: np.ndarray,
    x_shape: tuple[int, ...],
    out: np.ndarray | None = None,
    pool: Pool | None = None,
) -> np.ndarray:
    if pool is None or not is_last(g) or not is_last(indices):
        return scattered(g, indices, x_shape, out, True)
    dx, dx5 = buffer(out, x_shape, g.dtype, True)
    g5, indices5 = as5(g, True), as5(indices, True)
    max_grad_beside(line(g5), line(indices5), g5.shape, *tables(pool), dx5.shape[1:4], line(dx5))
    return give(dx, out)


def max_unpool(
    x: np.ndarray, indices: np.ndarray, y_shape: tuple[int, ...], out: np.ndarray | None = None
) -> np.ndarray:
    return scattered(x, indices, y_shape, out, False)


def scattered(
    values: np.ndarray, indices: np.ndarray, shape: tuple[int, ...], out: np.ndarray | None, add: bool
) -> np.ndarray:
    last = is_last(values)
    y, y5 = buffer(out, shape, values.dtype, last)
    if scatter(flat(as5(values, last)), flat(as5(indices, last)), flat(y5), add):
        check_indices(indices, shape)
    return give(y, out)


def gather(u: np.ndarray, indices: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    last = is_last(u)
    y, y5 = buffer(out, indices.shape, u.dtype, last)
    if read_at(flat(as5(u, last)), flat(as5(indices, last)), flat(y5)):
        check_indices(indices, u.shape)
    return give(y, out)


def avg_pool(
    x: np.ndarray,
    pool: Pool,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    last = is_last(x)
    x5 = as5(x, last)
    y, y5 = buffer(out, pool.y_shape, x.dtype, last)
    divisor = divisors(pool, count_include_pad, divisor_override, x.dtype)
    if row := long_row(pool, last):
        depth, height, _ = tables(pool)
        mean_rows(planes(x5), depth, height, row, divisor, planes(y5))
    elif last:
        mean_beside(line(x5), x5.shape[1:4], *tables(pool), divisor, y5.shape, line(y5))
    else:
        mean_planes(x5, *tables(pool), divisor, y5)
    return give(y, out)


def avg_pool_grad(
    g: np.ndarray,
    pool: Pool,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    last = is_last(g)
    g5 = as5(g, last)
    dx, dx5 = buffer(out, pool.x_shape, g.dtype, last)
    divisor = divisors(pool, count_include_pad, divisor_override, g.dtype)
    if row := long_row(pool, last):
        depth, height, _ = tables(pool)
        mean_grad_rows(planes(g5), depth, height, row, divisor, planes(dx5))
    elif last:
        mean_grad_beside(line(g5), g5.shape, *tables(pool), divisor, dx5.shape[1:4], line(dx5))
    else:
        mean_grad_planes(g5, *tables(pool), divisor, dx5)
    return give(dx, out)


# ---- storage ----


def is_last(x: np.ndarray) -> bool:
    """Whether the channels of x (N, C, *size) lie side by side in memory."""
    return not x.flags.c_contiguous and np.moveaxis(x, 1, -1).flags.c_contiguous


def as5(x: np.ndarray, last: bool) -> np.ndarray:
    """(N, C, *size) -> (A, D, H, W, B): a view where x is stored that way, else a copy."""
    n, c, *size = x.shape
    size = [1] * (3 - len(size)) + size
    if last:
        return np.ascontiguousarray(np.moveaxis(x, 1, -1)).reshape(n, *size, c)
    return np.ascontiguousarray(x).reshape(n * c, *size, 1)


def planes(x5: np.ndarray) -> np.ndarray:
    """(A, D, H, W, 1) -> (A, D, H, W), which the compiler knows to be contiguous in W."""
    return x5.reshape(x5.shape[:4])


def line(x5: np.ndarray) -> np.ndarray:
    """All elements as they lie in memory."""
    return x5.reshape(-1)


def flat(x5: np.ndarray) -> np.ndarray:
    """(A, D, H, W, B) -> (A, L, B)"""
    return x5.reshape(x5.shape[0], prod(x5.shape[1:4]), x5.shape[4])


def buffer(
    out: np.ndarray | None, shape: tuple[int, ...], dtype: np.dtype, last: bool
) -> tuple[np.ndarray, np.ndarray]:
    """An array (N, C, *size) to write and its (A, D, H, W, B) view: ``out`` itself if it is stored so."""
    n, c, *size = shape
    if out is not None and out.dtype == dtype and (np.moveaxis(out, 1, -1) if last else out).flags.c_contiguous:
        y = out
    elif last:
        y = np.moveaxis(np.empty((n, *size, c), dtype), -1, 1)
    else:
        y = np.empty(shape, dtype)
    return y, as5(y, last)


def give(y: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    if out is None or out is y:
        return y
    out[...] = y
    return out


# ---- tables ----


def begin(axis: Axis) -> np.ndarray:
    """Position of each window's first tap, in the padding or not."""
    return np.arange(axis.out) * axis.stride - axis.pad[0]


@lru_cache(maxsize=512)
def table(axis: Axis | AdaptiveAxis) -> Table:
    """(first, stop, step): window p reads ``range(first[p], stop[p], step)``, all of it input."""
    if isinstance(axis, AdaptiveAxis):
        p = np.arange(axis.out)
        return p * axis.size // axis.out, -(-(p + 1) * axis.size // axis.out), 1
    start = begin(axis)
    skipped = -(np.minimum(start, 0) // axis.dilation)  # taps in the low padding
    return start + skipped * axis.dilation, np.minimum(start + axis.extent, axis.size), axis.dilation


def tables(pool: Pool) -> tuple[Table, Table, Table]:
    """One per axis D, H, W; an axis that is not there has one window of one position."""
    missing = Axis(1, 1)
    d, h, w = (table(a) for a in (missing,) * (3 - pool.ndim) + pool.axes)
    return d, h, w


def long_row(pool: Pool, last: bool) -> Row | None:
    """The windows along the last axis, if they are regular, many, and lie in planes."""
    axis = pool.axes[-1]
    if last or not isinstance(axis, Axis) or axis.out < LONG:
        return None
    return axis.kernel, axis.stride, axis.dilation, axis.pad[0]


@lru_cache(maxsize=512)
def counts(axis: Axis | AdaptiveAxis, count_include_pad: bool) -> np.ndarray:
    """Number of taps of each window that an average counts."""
    first, stop, step = table(axis)
    if count_include_pad and isinstance(axis, Axis):
        first = begin(axis)
        stop = np.minimum(first + axis.extent, axis.size + axis.pad[1])
    return -((first - stop) // step)  # rounded up


def divisors(pool: Pool, count_include_pad: bool, divisor_override: int | None, dtype: np.dtype) -> np.ndarray:
    """What each window's sum is divided by: (P, Q, R), one factor per axis multiplied out."""
    out = (1,) * (3 - pool.ndim) + pool.out
    if divisor_override is not None:
        return np.full(out, divisor_override, dtype)
    product = np.ones(out, dtype)
    for i, axis in enumerate(reversed(pool.axes)):
        product *= counts(axis, count_include_pad).reshape(-1, *(1,) * i).astype(dtype)
    return product


# ---- kernels: x, dx (A, D, H, W, B); y, g, values, indices (A, P, Q, R, B); tables (first, stop, step) ----


@njit(parallel=True)
def max_planes(x, depth, height, width, values, indices):
    count, outs, rows, columns, _ = values.shape
    high, wide = x.shape[2], x.shape[3]
    for task in prange(count * outs * rows):
        a, p, q = task // (outs * rows), task // rows % outs, task % rows
        for r in range(columns):
            best, at = x.dtype.type(-np.inf), -1
            for i in range(depth[0][p], depth[1][p], depth[2]):
                for j in range(height[0][q], height[1][q], height[2]):
                    for k in range(width[0][r], width[1][r], width[2]):
                        v = x[a, i, j, k, 0]
                        if v > best or at < 0 or v != v:
                            best, at = v, (i * high + j) * wide + k
            values[a, p, q, r, 0] = best
            indices[a, p, q, r, 0] = at


# Numba looks at every index whether it is negative, unless its type says that it is not: hence the uintp below.


@njit
def first_beside(x, at, place, begin, count, values, indices):
    at, begin = uintp(at), uintp(begin)
    for b in range(uintp(count)):
        values[begin + b] = x[at + b]
        indices[begin + b] = place


@njit
def keep_larger_beside(x, at, place, begin, count, values, indices):
    """Let the channels at x[at:] compete with those of the window whose result begins at values[begin]."""
    at, begin = uintp(at), uintp(begin)
    for b in range(uintp(count)):
        tap, best = x[at + b], values[begin + b]
        wins = (tap > best) | (tap != tap)
        values[begin + b] = tap if wins else best
        indices[begin + b] = place if wins else indices[begin + b]


@njit(parallel=True)
def max_beside(x, shape, depth, height, width, out, values, indices):
    """x, values and indices flat: a slice of an array costs more than what is done with a few channels."""
    images, outs, rows, columns, beside = out
    deep, high, wide = shape
    for task in prange(images * outs * rows):
        a, p, q = task // (rows * outs), task // rows % outs, task % rows
        for r in range(columns):
            begin = (task * columns + r) * beside
            first = True
            for i in range(depth[0][p], depth[1][p], depth[2]):
                for j in range(height[0][q], height[1][q], height[2]):
                    for k in range(width[0][r], width[1][r], width[2]):
                        place = (i * high + j) * wide + k
                        at = (a * deep * high * wide + place) * beside
                        place = indices.dtype.type(place)
                        if first:
                            first_beside(x, at, place, begin, beside, values, indices)
                            first = False
                        else:
                            keep_larger_beside(x, at, place, begin, beside, values, indices)


@njit
def inside(t, row, wide, columns):
    """Tap t of a row of windows: the windows first..stop-1 in which it reads input, and where the first reads."""
    _, stride, dilation, low = row
    offset = t * dilation - low
    first = max(0, -(offset // stride))
    stop = max(first, min(columns, (wide - 1 - offset) // stride + 1))
    return first, stop, first * stride + offset


@njit
def keep_larger(tap, stride, best, winner, at):
    for r in range(len(best)):
        v = tap[r * stride]
        wins = (v > best[r]) | (winner[r] < 0) | (v != v)
        best[r] = v if wins else best[r]
        winner[r] = at + r * stride if wins else winner[r]


@njit(parallel=True)
def max_rows(x, depth, height, row, values, indices):
    count, outs, rows, columns = values.shape
    high, wide = x.shape[2], x.shape[3]
    for task in prange(count * outs * rows):
        a, p, q = task // (outs * rows), task // rows % outs, task % rows
        values[a, p, q] = -np.inf
        indices[a, p, q] = -1
        for i in range(depth[0][p], depth[1][p], depth[2]):
            for j in range(height[0][q], height[1][q], height[2]):
                for t in range(row[0]):
                    first, stop, k = inside(t, row, wide, columns)
                    tap, at = x[a, i, j, k:], (i * high + j) * wide + k
                    best, winner = values[a, p, q, first:stop], indices[a, p, q, first:stop]
                    if row[1] == 1:  # with the stride a constant the compiler knows how to read four at once
                        keep_larger(tap, 1, best, winner, at)
                    elif row[1] == 2:
                        keep_larger(tap, 2, best, winner, at)
                    else:
                        keep_larger(tap, row[1], best, winner, at)


@njit(parallel=True)
def mean_planes(x, depth, height, width, divisor, y):
    count, outs, rows, columns, _ = y.shape
    for task in prange(count * outs * rows):
        a, p, q = task // (outs * rows), task // rows % outs, task % rows
        for r in range(columns):
            total = x.dtype.type(0)
            for i in range(depth[0][p], depth[1][p], depth[2]):
                for j in range(height[0][q], height[1][q], height[2]):
                    for k in range(width[0][r], width[1][r], width[2]):
                        total += x[a, i, j, k, 0]
            y[a, p, q, r, 0] = total / divisor[p, q, r]


@njit(parallel=True)
def mean_beside(x, shape, depth, height, width, divisor, out, y):
    images, outs, rows, columns, beside = out
    deep, high, wide = shape
    for task in prange(images * outs * rows):
        a, p, q = task // (rows * outs), task // rows % outs, task % rows
        for r in range(columns):
            begin = (task * columns + r) * beside
            fill_beside(y, begin, beside)
            for i in range(depth[0][p], depth[1][p], depth[2]):
                for j in range(height[0][q], height[1][q], height[2]):
                    for k in range(width[0][r], width[1][r], width[2]):
                        at = (((a * deep + i) * high + j) * wide + k) * beside
                        add_beside(x, at, x.dtype.type(1), beside, y, begin)
            for b in range(uintp(beside)):
                y[uintp(begin) + b] /= divisor[p, q, r]


@njit
def fill_beside(y, begin, count):
    begin = uintp(begin)
    for b in range(uintp(count)):
        y[begin + b] = 0


@njit
def add_beside(x, at, factor, count, y, begin):
    at, begin = uintp(at), uintp(begin)
    for b in range(uintp(count)):
        y[begin + b] += x[at + b] * factor


@njit
def add_tap(tap, stride, total):
    for r in range(len(total)):
        total[r] += tap[r * stride]


@njit(parallel=True)
def mean_rows(x, depth, height, row, divisor, y):
    count, outs, rows, columns = y.shape
    for task in prange(count * outs * rows):
        a, p, q = task // (outs * rows), task // rows % outs, task % rows
        y[a, p, q] = 0
        for i in range(depth[0][p], depth[1][p], depth[2]):
            for j in range(height[0][q], height[1][q], height[2]):
                for t in range(row[0]):
                    first, stop, k = inside(t, row, x.shape[3], columns)
                    tap, total = x[a, i, j, k:], y[a, p, q, first:stop]
                    if row[1] == 1:
                        add_tap(tap, 1, total)
                    elif row[1] == 2:
                        add_tap(tap, 2, total)
                    else:
                        add_tap(tap, row[1], total)
        for r in range(columns):
            y[a, p, q, r] /= divisor[p, q, r]


@njit(parallel=True)
def mean_grad_planes(g, depth, height, width, divisor, dx):
    count, outs, rows, columns, _ = g.shape
    for a in prange(count):
        dx[a] = 0
        for p in range(outs):
            for q in range(rows):
                for r in range(columns):
                    share = g[a, p, q, r, 0] / divisor[p, q, r]
                    for i in range(depth[0][p], depth[1][p], depth[2]):
                        for j in range(height[0][q], height[1][q], height[2]):
                            for k in range(width[0][r], width[1][r], width[2]):
                                dx[a, i, j, k, 0] += share


@njit
def add_share(into, stride, share):
    for r in range(len(share)):
        into[r * stride] += share[r]


@njit(parallel=True)
def mean_grad_rows(g, depth, height, row, divisor, dx):
    count, outs, rows, columns = g.shape
    for a in prange(count):
        dx[a] = 0
        for p in range(outs):
            for q in range(rows):
                shares = g[a, p, q] / divisor[p, q]
                for i in range(depth[0][p], depth[1][p], depth[2]):
                    for j in range(height[0][q], height[1][q], height[2]):
                        for t in range(row[0]):
                            first, stop, k = inside(t, row, dx.shape[3], columns)
                            into, share = dx[a, i, j, k:], shares[first:stop]
                            if row[1] == 1:
                                add_share(into, 1, share)
                            elif row[1] == 2:
                                add_share(into, 2, share)
                            else:
                                add_share(into, row[1], share)


@njit(parallel=True)
def mean_grad_beside(g, out, depth, height, width, divisor, shape, dx):
    images, outs, rows, columns, beside = out
    deep, high, wide = shape
    blocks = -(-beside // BLOCK)
    for task in prange(images * blocks):
        a, low = task // blocks, task % blocks * BLOCK
        count = min(BLOCK, beside - low)
        clear_beside(dx, a * deep * high * wide, deep * high * wide, beside, low, count)
        for p in range(outs):
            for q in range(rows):
                for r in range(columns):
                    begin = (((a * outs + p) * rows + q) * columns + r) * beside + low
                    part = dx.dtype.type(1 / divisor[p, q, r])
                    for i in range(depth[0][p], depth[1][p], depth[2]):
                        for j in range(height[0][q], height[1][q], height[2]):
                            for k in range(width[0][r], width[1][r], width[2]):
                                at = (((a * deep + i) * high + j) * wide + k) * beside + low
                                add_beside(g, begin, part, count, dx, at)


@njit
def clear_beside(dx, first, positions, beside, low, count):
    for at in range((first * beside) + low, (first + positions) * beside, beside):
        fill_beside(dx, at, count)


@njit(parallel=True)
def max_grad_beside(g, indices, out, depth, height, width, shape, dx):
    images, outs, rows, columns, beside = out
    deep, high, wide = shape
    blocks = -(-beside // BLOCK)
    for task in prange(images * blocks):
        a, low = task // blocks, task % blocks * BLOCK
        count = min(BLOCK, beside - low)
        clear_beside(dx, a * deep * high * wide, deep * high * wide, beside, low, count)
        for p in range(outs):
            for q in range(rows):
                for r in range(columns):
                    begin = (((a * outs + p) * rows + q) * columns + r) * beside + low
                    for i in range(depth[0][p], depth[1][p], depth[2]):
                        for j in range(height[0][q], height[1][q], height[2]):
                            for k in range(width[0][r], width[1][r], width[2]):
                                place = (i * high + j) * wide + k
                                at = (a * deep * high * wide + place) * beside + low
                                add_where_it_won(g, indices, begin, indices.dtype.type(place), count, dx, at)


@njit
def add_where_it_won(g, indices, begin, place, count, dx, at):
    begin, at = uintp(begin), uintp(at)
    for b in range(uintp(count)):
        dx[at + b] += g[begin + b] if indices[begin + b] == place else g.dtype.type(0)


@njit(parallel=True)
def scatter(values, indices, y, add):
    """values, indices (A, M, B), y (A, L, B) written whole.  Returns how many indices lie outside 0..L-1."""
    planes, many, beside = values.shape
    blocks = -(-beside // BLOCK)
    outside = 0
    for task in prange(planes * blocks):
        a, low = task // blocks, task % blocks * BLOCK
        high = min(low + BLOCK, beside)
        y[a, :, low:high] = 0
        for m in range(many):
            for b in range(low, high):
                at = indices[a, m, b]
                if at < 0 or at >= y.shape[1]:
                    outside += 1
                elif add:
                    y[a, at, b] += values[a, m, b]
                else:
                    y[a, at, b] = values[a, m, b]
    return outside


@njit(parallel=True)
def read_at(u, indices, y):
    """u (A, L, B), indices and y (A, M, B).  Returns how many indices lie outside 0..L-1."""
    planes, many, beside = y.shape
    outside = 0
    for task in prange(planes * many):
        a, m = task // many, task % many
        for b in range(beside):
            at = indices[a, m, b]
            if at < 0 or at >= u.shape[1]:
                outside += 1
            else:
                y[a, m, b] = u[a, at, b]
    return outside
