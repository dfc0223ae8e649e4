"""Convolution as it is defined, in CUDA: one thread for each result, or one block for each weight's gradient.

The twin of the fast kernels: any stride, padding, dilation, groups and storage order; sums of float16 are float32.
"""

from __future__ import annotations

from typing import Any

from ..arrays import array_module
from ..cpu.direct_tiles import Geometry, geometry
from ..geometry import Conv
from . import windows
from .source import function, real

Array = Any

THREADS = 128


def forward(x: Array, w: Array, conv: Conv, out: Array | None = None) -> Array:
    """y (N, K, *out)."""
    return windows.forward(_correlate, x, w, conv, out)


def input_grad(w: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dx (N, C, *size)."""
    return windows.input_grad(_correlate, w, g, conv, out)


def weight_grad(x: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dw (K, C/G, *kernel)."""
    xp = array_module(x)
    dw = xp.empty(conv.w_shape, x.dtype) if out is None else out
    if dw.size:
        window = windows.of_weights(x, g, windows.weight_strides(dw, conv), conv, geometry(conv))
        kernel = function(xp, "direct.cu", "weight_grad", REAL=real(x.dtype), THREADS=THREADS)
        kernel((dw.size,), (THREADS,), (x, g, dw, window))
    return dw


def _correlate(x: Array, w: Array, y: Array, axes: Geometry) -> None:
    kernel = function(array_module(x), "direct.cu", "correlate", REAL=real(x.dtype), THREADS=THREADS)
    kernel((-(-y.size // THREADS),), (THREADS,), (x, w, y, windows.of_correlation(x, w, y, axes)))
