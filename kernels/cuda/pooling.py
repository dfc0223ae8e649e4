"""Pooling in CUDA, over windows that slide along up to three axes, float32 and float64; `arrays` has the rest.

A gradient asks for each position of x which windows read it, so that it has the same bits in every run.  Windows that
share an axis evenly slide too: those of global pooling above all.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .. import layout
from ..arrays import array_module, pooling
from ..arrays.pooling import gather, max_unpool
from ..cpu.direct_tiles import ABSENT, Axis3, Geometry
from ..geometry import Axis
from ..pooling import AdaptiveAxis, Pool
from . import windows
from .source import function, real, structure

__all__ = ["avg_pool", "avg_pool_grad", "gather", "max_pool", "max_pool_grad", "max_unpool"]

Array = Any

THREADS = 128


def sliding(pool: Pool | None, like: Array) -> tuple[Axis, ...] | None:
    """The axes as windows that slide, None where the kernels here cannot do them."""
    if pool is None or len(pool.axes) > 3 or like.dtype.name not in ("float32", "float64"):
        return None
    axes = []
    for a in pool.axes:
        if isinstance(a, AdaptiveAxis):
            if a.size % max(1, a.out):
                return None
            a = Axis(a.size, a.size // max(1, a.out), max(1, a.size // max(1, a.out)))
        axes.append(a)
    shapes = prod(pool.x_shape), prod(pool.y_shape)
    return tuple(axes) if min(shapes) > 0 and max(shapes) < windows.LIMIT else None


def max_pool(x: Array, pool: Pool, out: tuple[Array, Array] | None = None) -> tuple[Array, Array]:
    """The largest value of each window (N, C, *out), the first of equals, and where it lies in x."""
    if (axes := sliding(pool, x)) is None:
        return pooling.max_pool(x, pool, out)
    xp = array_module(x)
    values = layout.empty(pool.y_shape, x) if out is None else out[0]
    indices = xp.empty_like(values, dtype=np.int64) if out is None else out[1]
    window = _window(axes, x, values, indices)
    _launch("max_pool", x, values.size, (x, values, indices, window))
    return values, indices


def max_pool_grad(
    g: Array, indices: Array, x_shape: tuple[int, ...], out: Array | None = None, pool: Pool | None = None
) -> Array:
    """dx: each g goes to the position that won its window; what meets there adds up, in the order of the windows."""
    axes = sliding(pool, g)
    if axes is None or pool is None or pool.x_shape != tuple(x_shape) or indices.dtype != np.int64:
        return pooling.max_pool_grad(g, indices, x_shape, out, pool)
    dx = layout.empty(tuple(x_shape), g) if out is None else out
    _launch("max_pool_grad", g, dx.size, (g, indices, dx, _window(axes, dx, g, indices)), dx)
    return dx


def avg_pool(
    x: Array,
    pool: Pool,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    out: Array | None = None,
) -> Array:
    """The sum of each window, divided by ``divisor_override``, or by its inputs, with the padding or without."""
    if (axes := sliding(pool, x)) is None:
        return pooling.avg_pool(x, pool, count_include_pad, divisor_override, out)
    y = layout.empty(pool.y_shape, x) if out is None else out
    arguments = x, y, _window(axes, x, y, y)
    _launch("avg_pool", x, y.size, arguments, None, _divisor(axes, count_include_pad, divisor_override))
    return y


def avg_pool_grad(
    g: Array,
    pool: Pool,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    out: Array | None = None,
) -> Array:
    """dx: each position gets of each window that read it g, divided as the window was."""
    if (axes := sliding(pool, g)) is None:
        return pooling.avg_pool_grad(g, pool, count_include_pad, divisor_override, out)
    dx = layout.empty(pool.x_shape, g) if out is None else out
    arguments = g, dx, _window(axes, dx, g, g)
    _launch("avg_pool_grad", g, dx.size, arguments, dx, _divisor(axes, count_include_pad, divisor_override))
    return dx


def _window(axes: tuple[Axis, ...], x: Array, y: Array, indices: Array) -> Any:
    own = [Axis3(a.size, a.kernel, a.out, a.stride, a.pad[0], a.dilation) for a in axes]
    first, second, third = [ABSENT] * (3 - len(own)) + own
    geometry: Geometry = (first, second, third)
    image, channel, *steps = windows.five(indices)
    strides = image, channel, 0, *steps
    return windows.of_axes(geometry, len(x), x.shape[1], windows.five(x), windows.five(y), strides)


def _divisor(axes: tuple[Axis, ...], count_include_pad: bool, divisor_override: int | None) -> Any:
    high = [0] * (3 - len(axes)) + [a.pad[1] for a in axes]
    return structure((divisor_override or 0, int(count_include_pad), *high))


def _launch(name: str, like: Array, items: int, arguments: tuple[Any, ...], over: Array = None, *more: Any) -> None:
    """One thread for each item; neighbouring ones where ``over`` (or ``like``) has neighbours."""
    last = layout.channels_last(like if over is None else over)
    kernel = function(array_module(like), "pooling.cu", name, REAL=real(like.dtype), CHANNELS_LAST=last)
    kernel((-(-items // THREADS),), (THREADS,), (*arguments, np.int32(items), *more))
