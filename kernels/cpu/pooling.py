"""Pooling on the CPU, compiled.

The idea: a window's result is the largest of its elements, or their mean; of the largest its place is kept too, where
the gradient puts what it gets for the window, adding up where one element won several (`pooling_winners.py`).  Which
elements a window has, on each axis, a table says (`pooling_tables.py`), so strides, padding, dilation and adaptive
windows are one case.

What is computed side by side follows from the storage: channels, of one window after the other (`pooling_last.py`;
`pooling_values.py` where nobody asks for places), or positions of a row (`pooling_first.py`).  This file chooses.

A piece of work is some planes or rows of them.  No two share a window or a position that is written, so the bits never
depend on threads.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..constants import Constants
from ..pooling import Pool, check_indices
from . import pooling_first, pooling_last, pooling_values, pooling_winners
from .elements import dense, pitch_of
from .joining import concatenate
from .relayout import empty_last
from .replay import Program, learned
from .simd import machine


def max_pool(
    x: np.ndarray, pool: Pool, out: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The largest element of each window of x (N, C, *size) and its place: ``kernels.pooling.max_pool``."""
    last = is_last(x) and pooling_last.fits(x.dtype, pool)
    if out is None and not last and is_last(x):
        out = empty_last(pool.y_shape, x.dtype), empty_last(pool.y_shape, index_dtype(pool))
    values = buffer(out and out[0], pool.y_shape, x.dtype, last)
    indices = buffer(out and out[1], pool.y_shape, index_dtype(pool), last)
    if last:
        pooling_last.max_pool(x, pool, values, indices)
    else:
        pooling_first.max_pool(np.ascontiguousarray(x), pool, values, indices)
    return give(values, out and out[0]), give(indices, out and out[1])


def max_values(x: np.ndarray, pool: Pool) -> np.ndarray:
    """The largest element of each window alone: ``kernels.pooling.max_values``."""
    return _again(_max_values, x, pool)


def _max_values(x: np.ndarray, pool: Pool) -> np.ndarray:
    if not (is_last(x) and pooling_last.fits(x.dtype, pool)):
        return max_pool(x, pool)[0]
    values = empty_last(pool.y_shape, x.dtype)
    pooling_values.max_values(x, pool, values)
    return values


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
    """dx (N, C, *size): each cotangent g (N, C, *out) where its window's winner stood."""
    g = _without_gaps(g)
    fits = pool is not None and pooling_last.fits(g.dtype, pool) and indices.dtype == index_dtype(pool)
    if pool is None or not (fits and is_last(g) and is_last(indices)):
        return scattered(g, indices, x_shape, out, True)
    dx = buffer(out, x_shape, g.dtype, True)
    pooling_last.max_pool_grad(g, indices, pool, dx)
    return give(dx, out)


def max_unpool(
    x: np.ndarray, indices: np.ndarray, y_shape: tuple[int, ...], out: np.ndarray | None = None
) -> np.ndarray:
    """(N, C, *size) with the elements of x (N, C, *out) where ``indices`` say, 0 elsewhere."""
    return scattered(x, indices, y_shape, out, False)


def scattered(
    values: np.ndarray, indices: np.ndarray, shape: tuple[int, ...], out: np.ndarray | None, add: bool
) -> np.ndarray:
    """``shape`` (N, C, *size) with the values put where ``indices`` say, or, with ``add``, added up there."""
    last = is_last(values)
    y = buffer(out, shape, values.dtype, last)
    if pooling_winners.scatter(flat(values, last), places(indices, last), flat(y, last), add):
        check_indices(indices, shape)
    return give(y, out)


def gather(u: np.ndarray, indices: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The elements of u (N, C, *size) that stand where ``indices`` (N, C, *out) say."""
    last = is_last(u)
    y = buffer(out, indices.shape, u.dtype, last)
    if pooling_winners.gather(flat(u, last), places(indices, last), flat(y, last)):
        check_indices(indices, u.shape)
    return give(y, out)


def avg_pool(
    x: np.ndarray,
    pool: Pool,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The mean of each window of x (N, C, *size): ``kernels.pooling.avg_pool``."""
    if out is None:
        return _again(_means, x, pool, count_include_pad, divisor_override)
    return _means(x, pool, count_include_pad, divisor_override, out)


def _means(
    x: np.ndarray, pool: Pool, count_include_pad: bool, divisor_override: int | None, out: np.ndarray | None = None
) -> np.ndarray:
    last = is_last(x) and pooling_last.fits(x.dtype, pool)
    if out is None and not last and is_last(x):
        out = empty_last(pool.y_shape, x.dtype)
    y = buffer(out, pool.y_shape, x.dtype, last)
    if last:
        pooling_last.avg_pool(x, pool, count_include_pad, divisor_override, y)
    else:
        pooling_first.avg_pool(np.ascontiguousarray(x), pool, count_include_pad, divisor_override, y)
    return give(y, out)


def avg_pool_grad(
    g: np.ndarray,
    pool: Pool,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """dx (N, C, *size): each cotangent g (N, C, *out) shared out among its window."""
    g = _without_gaps(g)
    last = is_last(g) and pooling_last.fits(g.dtype, pool)
    if out is None and not last and is_last(g):
        out = empty_last(pool.x_shape, g.dtype)
    dx = buffer(out, pool.x_shape, g.dtype, last)
    if last:
        pooling_last.avg_pool_grad(g, pool, count_include_pad, divisor_override, dx)
    else:
        pooling_first.avg_pool_grad(np.ascontiguousarray(g), pool, count_include_pad, divisor_override, dx)
    return give(dx, out)


# ---- calls that were made before ----


class _Known(NamedTuple):
    program: Program
    tables: Constants  # which the program reads


KEPT = 1024  # programs
_known: dict[Any, _Known | None] = {}


def _again(kernel: Callable[..., np.ndarray], x: np.ndarray, pool: Pool, *counting: Any) -> np.ndarray:
    """``kernel(x, pool, *counting)``, from the program of a call with such an x where there was one: see `replay`."""
    key = kernel, pool, counting, x.strides, x.dtype, machine()
    known = _known.get(key)
    if known is not None:
        return known.program.run((x,))
    last = is_last(x) and pooling_last.fits(x.dtype, pool)
    if key in _known or not x.size or not (last or x.flags.c_contiguous):
        return kernel(x, pool, *counting)
    tables = Constants()
    tables.give(*(pooling_last if last else pooling_first).tables(pool, x.dtype, *counting))
    y, program = learned(lambda: kernel(x, pool, *counting), (x,), tables)
    if len(_known) >= KEPT:
        _known.clear()
    _known[key] = None if program is None else _Known(program, tables)
    return y


_again.cache_clear = _known.clear  # type: ignore[attr-defined]


# ---- storage ----


def is_last(x: np.ndarray) -> bool:
    """Whether the channels of x (N, C, *size) lie side by side in memory."""
    return not x.flags.c_contiguous and channels_behind(x).flags.c_contiguous


def _without_gaps(g: np.ndarray) -> np.ndarray:
    """``g``; some of the channels of a channels-last array, as behind a concatenation, in an array of their own."""
    return g if dense(g) or pitch_of(g) is None else concatenate((g,), 1)


def channels_behind(x: np.ndarray) -> np.ndarray:
    """(N, C, *size) -> (N, *size, C)"""
    return x.transpose(0, *range(2, x.ndim), 1)


def as5(x: np.ndarray, last: bool) -> np.ndarray:
    """(N, C, *size) -> (A, D, H, W, B): a view where x is stored that way, else a copy."""
    n, c, *size = x.shape
    size = [1] * (3 - len(size)) + size
    if last:
        return np.ascontiguousarray(np.moveaxis(x, 1, -1)).reshape(n, *size, c)
    return np.ascontiguousarray(x).reshape(n * c, *size, 1)


def flat(x: np.ndarray, last: bool) -> np.ndarray:
    """(N, C, *size) -> (A, L, B)"""
    x5 = as5(x, last)
    return x5.reshape(x5.shape[0], prod(x5.shape[1:4]), x5.shape[4])


def places(indices: np.ndarray, last: bool) -> np.ndarray:
    """`flat` of positions, as the loops read them."""
    return flat(indices if indices.dtype in ("int32", "int64") else indices.astype(np.int64), last)


def buffer(out: np.ndarray | None, shape: tuple[int, ...], dtype: np.dtype, last: bool) -> np.ndarray:
    """An array (N, C, *size) to write: ``out`` itself if it is stored so."""
    if out is not None and out.dtype == dtype and (channels_behind(out) if last else out).flags.c_contiguous:
        return out
    return empty_last(shape, dtype) if last else np.empty(shape, dtype)


def give(y: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """``out`` with what was computed, or that itself where there is no ``out``."""
    if out is None or out is y:
        return y
    out[...] = y
    return out
