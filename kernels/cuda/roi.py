"""RoI pooling in CUDA, of float16, float32 and float64, in any storage order.

The same bits in every run: a gradient asks each region of its image instead of adding atomically.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import layout
from ..arrays import array_module
from ..cpu.direct_tiles import ABSENT, Axis3
from . import windows
from .source import function, real

Array = Any

THREADS = 128


def roi_pool(x: Array, regions: Array, output_size: tuple[int, int]) -> tuple[Array, Array]:
    """Values and places (K, C, P, Q), channels last where x is: ``kernels.roi.roi_pool``."""
    xp = array_module(x)
    values = layout.empty((len(regions), x.shape[1], *output_size), x)
    indices = xp.empty_like(values, dtype=np.int32)
    window = _window(x, values, indices)
    images = np.int32(len(x))
    _launch("roi_pool", values, (x, _numbers(regions), values, indices, window, images))
    return values, indices


def roi_pool_grad(g: Array, indices: Array, regions: Array, x_shape: tuple[int, ...]) -> Array:
    """dx (N, C, H, W), channels last where g is: ``kernels.roi.roi_pool_grad``."""
    dx = layout.empty(x_shape, g)
    indices = _numbers(indices)
    _launch("roi_pool_grad", dx, (g, indices, _numbers(regions), dx, _window(dx, g, indices)))
    return dx


def roi_gather(u: Array, indices: Array, regions: Array) -> Array:
    """(K, C, P, Q), channels last where u is: ``kernels.roi.roi_gather``."""
    y = layout.empty(indices.shape, u)
    indices = _numbers(indices)
    images = np.int32(len(u))
    _launch("roi_gather", y, (u, indices, _numbers(regions), y, _window(u, y, indices), images))
    return y


def _numbers(a: Array) -> Array:
    """Of 32 bits; regions, which the kernels do not know the strides of, have no gaps."""
    a = a.astype(np.int32, copy=False)
    return array_module(a).ascontiguousarray(a) if a.ndim == 2 else a


def _window(x: Array, y: Array, indices: Array) -> Any:
    rows, columns = (Axis3(size, 1, out, 1, 0, 1) for size, out in zip(x.shape[2:], y.shape[2:]))
    image, channel, *steps = windows.five(indices)
    strides = image, channel, 0, *steps
    return windows.of_axes((ABSENT, rows, columns), y.shape[0], y.shape[1], windows.five(x), windows.five(y), strides)


def _launch(name: str, result: Array, arguments: tuple[Any, ...]) -> None:
    """One thread for each element of the result; neighbouring ones where it has neighbours."""
    if result.size:
        last = layout.channels_last(result)
        kernel = function(array_module(result), "roi.cu", name, REAL=real(result.dtype), CHANNELS_LAST=last)
        kernel((-(-result.size // THREADS),), (THREADS,), (*arguments, np.int32(result.size)))
