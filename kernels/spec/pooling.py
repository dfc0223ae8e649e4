"""The definition of pooling: one window at a time, in plain NumPy.

Each function visits the output positions in turn and does to the window there what its name says, for all images
and channels at once.  Documented in ``minidl.kernels.pooling``, whose functions check their arguments and call these.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from ..geometry import Axis
from ..pooling import AdaptiveAxis, Pool, check_indices


def reach(axis: Axis | AdaptiveAxis, p: int) -> list[int]:
    """Every position window p covers on one axis, those in the padding too (equation (1) of geometry)."""
    if isinstance(axis, AdaptiveAxis):
        return list(range(p * axis.size // axis.out, -(-(p + 1) * axis.size // axis.out)))
    return [axis.position(p, t) for t in range(axis.kernel)]


def taps(axis: Axis | AdaptiveAxis, p: int) -> list[int]:
    """The positions of window p that are input."""
    return [i for i in reach(axis, p) if 0 <= i < axis.size]


def windows(pool: Pool) -> Iterator[tuple[tuple, tuple]]:
    """(where it goes in y, what it reads of x) for each window, as indices of the whole arrays."""
    everything = (slice(None), slice(None))
    for p in np.ndindex(pool.out):
        yield (*everything, *p), (*everything, *np.ix_(*map(taps, pool.axes, p)))


def divisors(pool: Pool, count_include_pad: bool, divisor_override: int | None) -> np.ndarray:
    """What each window's sum is divided by: (*out)."""
    if divisor_override is not None:
        return np.full(pool.out, divisor_override)
    counts = np.ones(pool.out, int)
    for p in np.ndindex(pool.out):
        for axis, i in zip(pool.axes, p):
            if count_include_pad and isinstance(axis, Axis):
                counts[p] *= sum(t < axis.size + axis.pad[1] for t in reach(axis, i))
            else:
                counts[p] *= len(taps(axis, i))
    return counts


def max_pool(
    x: np.ndarray, pool: Pool, out: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The largest value of each window (N, C, *out), the first of equals, and where it lies in x."""
    values, indices = out or (np.empty(pool.y_shape, x.dtype), np.empty(pool.y_shape, np.int64))
    plane = np.arange(prod(pool.size)).reshape(1, 1, *pool.size)
    for put, read in windows(pool):
        window = x[read]  # (N, C, R, S)
        window = window.reshape(*window.shape[:2], prod(window.shape[2:]))  # (N, C, RS), row-major
        winner = largest(window)
        values[put] = np.take_along_axis(window, winner[..., None], -1)[..., 0]
        indices[put] = plane[read].ravel()[winner]
    return values, indices


def largest(window: np.ndarray) -> np.ndarray:
    """Which element along the last axis is the largest, the first of equals; of several NaN the last."""
    nan = np.isnan(window)
    last_nan = window.shape[-1] - 1 - nan[..., ::-1].argmax(-1)
    return np.where(nan.any(-1), last_nan, window.argmax(-1))  # argmax names the first of equals


def max_pool_grad(
    g: np.ndarray,
    indices: np.ndarray,
    x_shape: tuple[int, ...],
    out: np.ndarray | None = None,
    pool: Pool | None = None,
) -> np.ndarray:
    """dx: each g goes to the position that won its window; what meets there adds up."""
    check_indices(indices, x_shape)
    dx = np.zeros((prod(x_shape[:2]), prod(x_shape[2:])), g.dtype)  # (NC, HW)
    for plane, i, value in zip(dx, _flat(indices), _flat(g)):
        np.add.at(plane, i, value)
    return _give(dx.reshape(x_shape), out)


def max_unpool(
    x: np.ndarray, indices: np.ndarray, y_shape: tuple[int, ...], out: np.ndarray | None = None
) -> np.ndarray:
    """y of zeros with each x at its index; of several with one index the last stays."""
    check_indices(indices, y_shape)
    y = np.zeros((prod(y_shape[:2]), prod(y_shape[2:])), x.dtype)  # (NC, HW)
    for plane, i, value in zip(y, _flat(indices), _flat(x)):
        plane[i] = value  # NumPy assigns in order: the last of equal indices stays
    return _give(y.reshape(y_shape), out)


def gather(u: np.ndarray, indices: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The values of u (N, C, *size) at the indices (N, C, *out)."""
    check_indices(indices, u.shape)
    read = np.take_along_axis(_flat(u), _flat(indices), 1)  # (NC, PQ)
    return _give(read.reshape(indices.shape), out)


def avg_pool(
    x: np.ndarray,
    pool: Pool,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The sum of each window, divided by what ``divisors`` says."""
    y = np.empty(pool.y_shape, x.dtype) if out is None else out
    for put, read in windows(pool):
        y[put] = x[read].sum(tuple(range(2, x.ndim)))
    y /= divisors(pool, count_include_pad, divisor_override)
    return y


def avg_pool_grad(
    g: np.ndarray,
    pool: Pool,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """dx: each g, divided as its window was, goes to all positions that the window read."""
    dx = np.empty(pool.x_shape, g.dtype) if out is None else out
    dx[...] = 0
    share = (g / divisors(pool, count_include_pad, divisor_override)).astype(g.dtype)
    for put, read in windows(pool):
        dx[read] += share[put].reshape(*g.shape[:2], *(1,) * pool.ndim)
    return dx


def lp_pool(x: np.ndarray, pool: Pool, norm_type: float) -> np.ndarray:
    """``(sum of x ** p)`` ``** (1/p)`` over each window, p = norm_type: x (N, C, *size) -> (N, C, *out).

    As PyTorch: the powers are averaged and multiplied by the full kernel, which differs from the plain sum only in
    windows that hang over the edge (ceil rule); odd p keeps signs, so a negative sum gives NaN.

    >>> x = np.array([[[3.0, 4.0]]])
    >>> lp_pool(x, Pool.from_shape(x.shape, 2), norm_type=2).tolist()
    [[[5.0]]]
    """
    taps_per_window = prod(a.kernel for a in pool.axes if isinstance(a, Axis))
    return (avg_pool(x**norm_type, pool) * x.dtype.type(taps_per_window)) ** (1 / norm_type)


def lp_pool_grad(g: np.ndarray, x: np.ndarray, pool: Pool, norm_type: float) -> np.ndarray:
    """d lp_pool / dx applied to g (N, C, *out): dx (N, C, *size).  A window of zeros passes no gradient."""
    y = lp_pool(x, pool, norm_type)
    taps_per_window = prod(a.kernel for a in pool.axes if isinstance(a, Axis))
    slope = np.zeros_like(y)
    np.power(y, 1 - norm_type, out=slope, where=y != 0)
    return avg_pool_grad(g * slope * x.dtype.type(taps_per_window), pool) * x ** (norm_type - 1)


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(prod(x.shape[:2]), prod(x.shape[2:]))  # (NC, HW)


def _give(y: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    if out is None:
        return y
    out[...] = y
    return out
