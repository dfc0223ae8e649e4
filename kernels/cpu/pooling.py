"""Pooling on the CPU: Numba, parallel over windows that no two threads share, so the bits never depend on threads.

Channels-last storage has loops of its own, `pooling_last.py`.  Here an array is (A, D, H, W, 1), contiguous: A = N * C
planes of up to three axes.

* ``..._planes``: the inner loop runs over the taps of one window
* ``..._rows``: it runs over a row of windows, one tap at a time

The tables of `pooling_tables.py` say what a window reads.  Only regular windows have rows in which a tap moves by one
stride from window to window, which is what a processor reads in parallel.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ..geometry import Axis
from ..jit import njit, prange
from ..pooling import Pool, check_indices
from . import pooling_last
from .pooling_tables import divisors, tables
from .relayout import empty_last

LONG = 12  # windows in a row from which a row at a time is faster than a window at a time
BLOCK = 64  # values of B that one thread adds up at a time: 256 bytes of float32

Row = tuple[int, int, int, int]  # kernel, stride, dilation, low padding


def max_pool(
    x: np.ndarray, pool: Pool, out: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    last = is_last(x) and pooling_last.fits(x.dtype, pool)
    if out is None and is_last(x) and not last:
        out = empty_last(pool.y_shape, x.dtype), empty_last(pool.y_shape, index_dtype(pool))
    values = buffer(out and out[0], pool.y_shape, x.dtype, last)
    indices = buffer(out and out[1], pool.y_shape, index_dtype(pool), last)
    if last:
        pooling_last.max_pool(x, pool, values, indices)
    elif row := long_row(pool):
        depth, height, _ = tables(pool)
        max_rows(planes(as5(x, False)), depth, height, row, planes(as5(values, False)), planes(as5(indices, False)))
    else:
        max_planes(as5(x, False), *tables(pool), as5(values, False), as5(indices, False))
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
    fits = pool is not None and pooling_last.fits(g.dtype, pool) and indices.dtype == index_dtype(pool)
    if pool is None or not (fits and is_last(g) and is_last(indices)):
        return scattered(g, indices, x_shape, out, True)
    dx = buffer(out, x_shape, g.dtype, True)
    pooling_last.max_pool_grad(g, indices, pool, dx)
    return give(dx, out)


def max_unpool(
    x: np.ndarray, indices: np.ndarray, y_shape: tuple[int, ...], out: np.ndarray | None = None
) -> np.ndarray:
    return scattered(x, indices, y_shape, out, False)


def scattered(
    values: np.ndarray, indices: np.ndarray, shape: tuple[int, ...], out: np.ndarray | None, add: bool
) -> np.ndarray:
    last = is_last(values)
    y = buffer(out, shape, values.dtype, last)
    if scatter(flat(as5(values, last)), flat(as5(indices, last)), flat(as5(y, last)), add):
        check_indices(indices, shape)
    return give(y, out)


def gather(u: np.ndarray, indices: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    last = is_last(u)
    y = buffer(out, indices.shape, u.dtype, last)
    if read_at(flat(as5(u, last)), flat(as5(indices, last)), flat(as5(y, last))):
        check_indices(indices, u.shape)
    return give(y, out)


def avg_pool(
    x: np.ndarray,
    pool: Pool,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    last = is_last(x) and pooling_last.fits(x.dtype, pool)
    if out is None and is_last(x) and not last:
        out = empty_last(pool.y_shape, x.dtype)
    y = buffer(out, pool.y_shape, x.dtype, last)
    if last:
        pooling_last.avg_pool(x, pool, count_include_pad, divisor_override, y)
        return give(y, out)
    divisor = divisors(pool, count_include_pad, divisor_override, x.dtype)
    if row := long_row(pool):
        depth, height, _ = tables(pool)
        mean_rows(planes(as5(x, False)), depth, height, row, divisor, planes(as5(y, False)))
    else:
        mean_planes(as5(x, False), *tables(pool), divisor, as5(y, False))
    return give(y, out)


def avg_pool_grad(
    g: np.ndarray,
    pool: Pool,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    last = is_last(g) and pooling_last.fits(g.dtype, pool)
    if out is None and is_last(g) and not last:
        out = empty_last(pool.x_shape, g.dtype)
    dx = buffer(out, pool.x_shape, g.dtype, last)
    if last:
        pooling_last.avg_pool_grad(g, pool, count_include_pad, divisor_override, dx)
        return give(dx, out)
    divisor = divisors(pool, count_include_pad, divisor_override, g.dtype)
    if row := long_row(pool):
        depth, height, _ = tables(pool)
        mean_grad_rows(planes(as5(g, False)), depth, height, row, divisor, planes(as5(dx, False)))
    else:
        mean_grad_planes(as5(g, False), *tables(pool), divisor, as5(dx, False))
    return give(dx, out)


# ---- storage ----


def is_last(x: np.ndarray) -> bool:
    """Whether the channels of x (N, C, *size) lie side by side in memory."""
    return not x.flags.c_contiguous and rows_of_channels(x).flags.c_contiguous


def rows_of_channels(x: np.ndarray) -> np.ndarray:
    """(N, C, *size) -> (N, *size, C)"""
    return x.transpose(0, *range(2, x.ndim), 1)


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


def flat(x5: np.ndarray) -> np.ndarray:
    """(A, D, H, W, B) -> (A, L, B)"""
    return x5.reshape(x5.shape[0], prod(x5.shape[1:4]), x5.shape[4])


def buffer(out: np.ndarray | None, shape: tuple[int, ...], dtype: np.dtype, last: bool) -> np.ndarray:
    """An array (N, C, *size) to write: ``out`` itself if it is stored so."""
    if out is not None and out.dtype == dtype and (rows_of_channels(out) if last else out).flags.c_contiguous:
        return out
    return empty_last(shape, dtype) if last else np.empty(shape, dtype)


def give(y: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    if out is None or out is y:
        return y
    out[...] = y
    return out


# ---- rows of windows ----


def long_row(pool: Pool) -> Row | None:
    """The windows along the last axis, if they are regular and many."""
    axis = pool.axes[-1]
    if not isinstance(axis, Axis) or axis.out < LONG:
        return None
    return axis.kernel, axis.stride, axis.dilation, axis.pad[0]


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


@njit
def add_tap(tap, stride, total):
    for r in range(len(total)):
        total[r] += tap[r * stride]


@njit(parallel=True)
def mean_rows(x, depth, height, row, divisor, y):
    count, outs, rows, columns = y.shape
    for task in prange(count * outs * rows):
        a, p, q = task // (outs * rows), task // rows % outs, task % rows
        line = np.zeros(x.shape[3], x.dtype)  # the rows that these windows read, added up: all side by side
        for i in range(depth[0][p], depth[1][p], depth[2]):
            for j in range(height[0][q], height[1][q], height[2]):
                add_tap(x[a, i, j], 1, line)
        y[a, p, q] = 0
        for t in range(row[0]):
            first, stop, k = inside(t, row, x.shape[3], columns)
            tap, total = line[k:], y[a, p, q, first:stop]
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
                line = np.zeros(dx.shape[3], g.dtype)  # what each row that these windows read gets
                for t in range(row[0]):
                    first, stop, k = inside(t, row, dx.shape[3], columns)
                    into, share = line[k:], shares[first:stop]
                    if row[1] == 1:
                        add_share(into, 1, share)
                    elif row[1] == 2:
                        add_share(into, 2, share)
                    else:
                        add_share(into, row[1], share)
                for i in range(depth[0][p], depth[1][p], depth[2]):
                    for j in range(height[0][q], height[1][q], height[2]):
                        add_share(dx[a, i, j], 1, line)


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
