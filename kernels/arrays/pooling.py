"""Pooling in whole-array operations: one axis after the other, one tap of all its windows after the other.

A maximum over a rectangle is the maximum over rows of the maxima within rows, a sum likewise; so R + S steps do the
work of R * S.  What a tap reads is computed with ``arange`` where the array lies, which costs no copy to the device.

Same functions as ``spec/pooling.py``, same results, with two differences of the device: where contributions meet in
one position their order is not fixed (CUDA adds them atomically), and ``max_pool_grad`` and ``gather`` trust the
indices on a device, which are ``max_pool``'s own, because looking would make the host wait.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..geometry import Axis
from ..pooling import AdaptiveAxis, Pool, check_indices
from . import array_module

Array = Any


def max_pool(x: Array, pool: Pool, out: tuple[Array, Array] | None = None) -> tuple[Array, Array]:
    """The largest value of each window (N, C, *out), the first of equals, and where it lies in x."""
    xp = array_module(x)
    values, indices = x, xp.arange(prod(pool.size)).reshape(1, 1, *pool.size)
    for i, axis in reversed(list(enumerate(pool.axes, start=2))):
        values, indices = _max_along(values, indices, axis, i)
    indices = xp.broadcast_to(indices, values.shape)
    if out is None:
        return xp.ascontiguousarray(values), xp.ascontiguousarray(indices)
    out[0][...], out[1][...] = values, indices
    return out


def _max_along(values: Array, indices: Array, axis: Axis | AdaptiveAxis, i: int) -> tuple[Array, Array]:
    """The largest value of each window of axis ``i``, and what ``indices`` says of it."""
    xp = array_module(values)
    best: Array = None
    at: Array = None
    for tap in range(taps(axis)):
        position, real = reads(axis, tap, xp)
        value, index = values.take(position, i), indices.take(position, i)
        real = along(real, i, values.ndim)
        if best is None:
            best, at = value, xp.where(real, index, -1)
            continue
        # strictly larger: the first of equals stays; of several NaN the last is named
        wins = real & ((value > best) | (value != value) | (at < 0))
        best, at = xp.where(wins, value, best), xp.where(wins, index, at)
    return best, at


def max_pool_grad(
    g: Array, indices: Array, x_shape: tuple[int, ...], out: Array | None = None, pool: Pool | None = None
) -> Array:
    """dx: each g goes to the position that won its window; what meets there adds up."""
    xp = array_module(g)
    if xp is np:
        check_indices(indices, x_shape)
    dx = xp.zeros((prod(x_shape[:2]), prod(x_shape[2:])), g.dtype)  # (NC, HW)
    planes = xp.arange(dx.shape[0]).reshape(-1, 1)
    xp.add.at(dx, (planes, _flat(indices)), _flat(g))
    return _give(dx.reshape(x_shape), out)


def max_unpool(x: Array, indices: Array, y_shape: tuple[int, ...], out: Array | None = None) -> Array:
    """y of zeros with each x at its index; of several with one index one stays."""
    check_indices(indices, y_shape)
    xp = array_module(x)
    y = xp.zeros((prod(y_shape[:2]), prod(y_shape[2:])), x.dtype)  # (NC, HW)
    y[xp.arange(y.shape[0]).reshape(-1, 1), _flat(indices)] = _flat(x)
    return _give(y.reshape(y_shape), out)


def gather(u: Array, indices: Array, out: Array | None = None) -> Array:
    """The values of u (N, C, *size) at the indices (N, C, *out)."""
    xp = array_module(u)
    if xp is np:
        check_indices(indices, u.shape)
    read = xp.take_along_axis(_flat(u), _flat(indices), 1)  # (NC, PQ)
    return _give(read.reshape(indices.shape), out)


def avg_pool(
    x: Array,
    pool: Pool,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    out: Array | None = None,
) -> Array:
    """The sum of each window, divided by what ``divisors`` says."""
    y = x
    for i, axis in enumerate(pool.axes, start=2):
        y = _sum_along(y, axis, i)
    return _give(y / divisors(pool, count_include_pad, divisor_override, x), out)


def _sum_along(x: Array, axis: Axis | AdaptiveAxis, i: int) -> Array:
    """The sum of each window of axis ``i``."""
    xp = array_module(x)
    total: Array = 0
    for tap in range(taps(axis)):
        position, real = reads(axis, tap, xp)
        total = total + xp.where(along(real, i, x.ndim), x.take(position, i), x.dtype.type(0))
    return total


def avg_pool_grad(
    g: Array,
    pool: Pool,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    out: Array | None = None,
) -> Array:
    """dx: each g, divided as its window was, goes to all positions that the window read."""
    xp = array_module(g)
    dx = g / divisors(pool, count_include_pad, divisor_override, g)
    for i, axis in enumerate(pool.axes, start=2):
        wide = xp.zeros((*dx.shape[:i], axis.size, *dx.shape[i + 1 :]), g.dtype)
        for tap in range(taps(axis)):
            position, real = reads(axis, tap, xp)
            sent = xp.where(along(real, i, g.ndim), dx, g.dtype.type(0))
            xp.add.at(wide, (slice(None),) * i + (position,), sent)
        dx = wide
    return _give(dx, out)


def taps(axis: Axis | AdaptiveAxis) -> int:
    """The positions of the widest window of an axis, those in the padding too.

    >>> taps(AdaptiveAxis(size=7, out=3))  # 0 to 3, 2 to 5, 4 to 7
    3
    """
    if isinstance(axis, Axis):
        return axis.kernel
    return max((_end(axis, p) - p * axis.size // axis.out for p in range(axis.out)), default=1)


def _end(axis: AdaptiveAxis, p: Any) -> Any:
    """The position behind window p: (p + 1) * size / out, rounded up."""
    return ((p + 1) * axis.size + axis.out - 1) // axis.out


def reads(axis: Axis | AdaptiveAxis, tap: int, xp: Any) -> tuple[Array, Array]:
    """(position, real) of tap ``tap`` in each window, both (out,): where it reads, and whether that is input.

    Where it is not, the position is some other one inside of the axis.

    >>> reads(Axis(size=5, kernel=3, stride=2, pad=(1, 1)), 0, np)
    (array([0, 1, 3]), array([False,  True,  True]))
    """
    p = xp.arange(axis.out)
    if isinstance(axis, Axis):
        position = p * axis.stride + (tap * axis.dilation - axis.pad[0])
        real = (position >= 0) & (position < axis.size)
    else:
        position = p * axis.size // axis.out + tap
        real = position < _end(axis, p)
    return xp.clip(position, 0, axis.size - 1), real


def divisors(pool: Pool, count_include_pad: bool, divisor_override: int | None, like: Array) -> Array:
    """What each window's sum is divided by, beside (N, C, *out) and in the dtype of ``like``."""
    xp = array_module(like)
    if divisor_override is not None:
        return like.dtype.type(divisor_override)
    count = xp.ones((1,) * like.ndim, like.dtype)
    for i, axis in enumerate(pool.axes, start=2):
        p = xp.arange(axis.out)
        if isinstance(axis, Axis) and count_include_pad:  # up to the end of the padding
            low = p * axis.stride - axis.pad[0]
            number = xp.minimum((axis.size + axis.pad[1] - 1 - low) // axis.dilation + 1, axis.kernel)
        else:
            number = sum(reads(axis, tap, xp)[1].astype(like.dtype) for tap in range(taps(axis)))
        count = count * along(number.astype(like.dtype), i, like.ndim)
    return count


def along(vector: Array, i: int, ndim: int) -> Array:
    """(out,) -> beside an array of ``ndim`` axes, along axis ``i``."""
    return vector.reshape((-1,) + (1,) * (ndim - i - 1))


def _flat(x: Array) -> Array:
    return x.reshape(prod(x.shape[:2]), prod(x.shape[2:]))  # (NC, HW)


def _give(y: Array, out: Array | None) -> Array:
    if out is None:
        return y
    out[...] = y
    return out
