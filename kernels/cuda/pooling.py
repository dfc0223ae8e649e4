"""Pooling in CUDA, over windows of any kind along up to three axes, of float16, float32 and float64.

A gradient asks for each position of x which windows read it, so that it has the same bits in every run.  What counts
more than 32 bits can is left to `arrays`, and so is `max_pool_grad` where nobody says where the windows lay.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from .. import layout
from ..arrays import array_module, pooling
from ..cpu.direct_tiles import ABSENT, Axis3, Geometry
from ..geometry import Axis
from ..pooling import AdaptiveAxis, Pool
from . import windows
from .source import function, real, structure
from .unpool import INDEX_TYPES, gather, max_unpool

__all__ = ["avg_pool", "avg_pool_grad", "gather", "max_pool", "max_pool_grad", "max_unpool"]

Array = Any

THREADS = 128


class Windows(NamedTuple):
    """The windows of a problem as the kernels see them."""

    axes: Geometry
    high: tuple[int, ...]  # padding, of the three axes
    shared: bool  # windows that share their axis do not slide


def of_pool(pool: Pool | None, like: Array) -> Windows | None:
    """None where the kernels cannot do it.  Windows that share every axis evenly slide: those of global pooling."""
    if pool is None or len(pool.axes) > 3 or like.dtype.name not in ("float16", "float32", "float64"):
        return None
    counts = [prod(pool.x_shape), prod(pool.y_shape)]
    if shared := 0 not in counts and any(isinstance(a, AdaptiveAxis) and a.size % a.out for a in pool.axes):
        counts += [(a.size + 1) * (a.out + 1) for a in pool.axes]
    if min(counts) < 1 or max(counts) >= windows.LIMIT:
        return None
    own = [_axis(a, shared) for a in pool.axes]
    absent = 3 - len(own)
    first, second, third = [ABSENT] * absent + own
    high = tuple(a.pad[1] if isinstance(a, Axis) else 0 for a in pool.axes)
    return Windows((first, second, third), (0,) * absent + high, shared)


def _axis(a: Axis | AdaptiveAxis, shared: bool) -> Axis3:
    if isinstance(a, Axis):
        return Axis3(a.size, a.kernel, a.out, a.stride, a.pad[0], a.dilation)
    width = 0 if shared else a.size // a.out  # of shared windows the kernels work it out
    return Axis3(a.size, width, a.out, width, 0, 1)


def max_pool(x: Array, pool: Pool, out: tuple[Array, Array] | None = None) -> tuple[Array, Array]:
    """The largest value of each window (N, C, *out), the first of equals, and where it lies in x."""
    if (chosen := of_pool(pool, x)) is None:
        return pooling.max_pool(x, pool, out)
    xp = array_module(x)
    values = layout.empty(pool.y_shape, x) if out is None else out[0]
    indices = xp.empty_like(values, dtype=np.int32) if out is None else out[1]
    if indices.dtype.name not in INDEX_TYPES:
        return pooling.max_pool(x, pool, out)
    _launch("max_pool", chosen, values.size, (x, values, indices, _window(chosen, x, values, indices)), x, indices)
    return values, indices


def max_pool_grad(
    g: Array, indices: Array, x_shape: tuple[int, ...], out: Array | None = None, pool: Pool | None = None
) -> Array:
    """dx: each g goes to the position that won its window; what meets there adds up, in the order of the windows."""
    chosen = of_pool(pool, g)
    if chosen is None or pool is None or pool.x_shape != tuple(x_shape) or indices.dtype.name not in INDEX_TYPES:
        return pooling.max_pool_grad(g, indices, x_shape, out, pool)
    dx = layout.empty(tuple(x_shape), g) if out is None else out
    _launch("max_pool_grad", chosen, dx.size, (g, indices, dx, _window(chosen, dx, g, indices)), dx, indices)
    return dx


def avg_pool(
    x: Array,
    pool: Pool,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    out: Array | None = None,
) -> Array:
    """The sum of each window, divided by ``divisor_override``, or by its inputs, with the padding or without."""
    if (chosen := of_pool(pool, x)) is None:
        return pooling.avg_pool(x, pool, count_include_pad, divisor_override, out)
    y = layout.empty(pool.y_shape, x) if out is None else out
    divisor = structure((divisor_override or 0, int(count_include_pad), *chosen.high))
    _launch("avg_pool", chosen, y.size, (x, y, _window(chosen, x, y, y)), x, None, divisor)
    return y


def avg_pool_grad(
    g: Array,
    pool: Pool,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    out: Array | None = None,
) -> Array:
    """dx: each position gets of each window that read it g, divided as the window was."""
    if (chosen := of_pool(pool, g)) is None:
        return pooling.avg_pool_grad(g, pool, count_include_pad, divisor_override, out)
    dx = layout.empty(pool.x_shape, g) if out is None else out
    divisor = structure((divisor_override or 0, int(count_include_pad), *chosen.high))
    _launch("avg_pool_grad", chosen, dx.size, (g, dx, _window(chosen, dx, g, g)), dx, None, divisor)
    return dx


def _window(chosen: Windows, x: Array, y: Array, indices: Array) -> Any:
    image, channel, *steps = windows.five(indices)
    strides = image, channel, 0, *steps
    return windows.of_axes(chosen.axes, len(x), x.shape[1], windows.five(x), windows.five(y), strides)


def _launch(
    name: str, chosen: Windows, items: int, arguments: tuple[Any, ...], like: Array, indices: Array, *more: Any
) -> None:
    """One thread for each item; neighbouring ones where ``like`` has neighbours."""
    macros: dict[str, Any] = {
        "REAL": real(like.dtype), "INDEX_BYTES": 4 if indices is None else indices.itemsize, "SHARED": chosen.shared,
        "CHANNELS_LAST": layout.channels_last(like),
    }  # fmt: skip
    kernel = function(array_module(like), "pooling.cu", name, **macros)
    kernel((-(-items // THREADS),), (THREADS,), (*arguments, np.int32(items), *more))
