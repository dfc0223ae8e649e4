"""ReLU and its kin in CUDA: gradients that take several whole-array operations, in one pass over memory.

What one operation of CuPy does stays one (``spec/activation.py``); so does what is not stored alike, without gaps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import array_module
from ..spec import activation
from ..spec.activation import accumulate, add, clip, relu
from .source import function, real

__all__ = ["accumulate", "add", "clip", "clip_grad", "leaky_relu", "leaky_relu_grad", "relu", "relu_grad"]

Array = Any

THREADS = 256
ITEMS = 4 * THREADS  # of a block


def relu_grad(g: Array, y: Array) -> Array:
    """g where the result y is positive, 0 elsewhere; stored as g."""
    return _pass("relu_grad", g, y) if _alike(g, y) else activation.relu_grad(g, y)


def leaky_relu(x: Array, slope: float) -> Array:
    """x above 0, slope x elsewhere; stored as x."""
    return _pass("leaky_relu", x, x, slope) if _alike(x, x) else activation.leaky_relu(x, slope)


def leaky_relu_grad(g: Array, x: Array, slope: float) -> Array:
    """g where x is positive, slope g elsewhere; stored as g."""
    return _pass("leaky_relu_grad", g, x, slope) if _alike(g, x) else activation.leaky_relu_grad(g, x, slope)


def clip_grad(g: Array, x: Array, low: float, high: float) -> Array:
    """g where low < x < high, 0 elsewhere; stored as g."""
    return _pass("clip_grad", g, x, low, high) if _alike(g, x) else activation.clip_grad(g, x, low, high)


def _alike(a: Array, b: Array) -> bool:
    """Whether one loop can go over both: every element of ``a`` beside that of ``b``."""
    if a.shape != b.shape or a.dtype != b.dtype or not a.size:
        return False
    if a.flags.c_contiguous and b.flags.c_contiguous:
        return True
    return a.strides == b.strides and a.ndim > 2 and a.transpose((0, *range(2, a.ndim), 1)).flags.c_contiguous


def _pass(name: str, a: Array, b: Array, *numbers: float) -> Array:
    xp, number = array_module(a), a.dtype.type
    y = xp.empty_like(a)  # stored as a
    kernel = function(xp, "elements.cu", name, REAL=real(a.dtype), THREADS=THREADS)
    first, second = (*numbers, 0.0, 0.0)[:2]
    kernel((-(-a.size // ITEMS),), (THREADS,), (a, b, y, number(first), number(second), np.int32(a.size)))
    return y
