"""The definition of the activation kernels in plain NumPy; also what computes where no kernel can.

Written with ufuncs and methods, so that CuPy's arrays go through as well.  Documented in ``minidl.kernels.activation``.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def relu(x: Any) -> Any:
    """max(x, 0)"""
    return np.maximum(x, x.dtype.type(0))


def relu_grad(g: Any, y: Any) -> Any:
    """g where the result y is positive, 0 elsewhere."""
    return g * (y > 0)


def leaky_relu(x: Any, slope: float) -> Any:
    """x above 0, slope x elsewhere."""
    return np.where(x > 0, x, x * slope)


def leaky_relu_grad(g: Any, x: Any, slope: float) -> Any:
    """g where x is positive, slope g elsewhere."""
    return np.where(x > 0, g, g * slope)


def clip(x: Any, low: float, high: float) -> Any:
    """x limited to [low, high]."""
    return x.clip(low, high)


def clip_grad(g: Any, x: Any, low: float, high: float) -> Any:
    """g where low < x < high, 0 elsewhere."""
    return g * ((x > low) & (x < high))


def tanh(x: Any) -> Any:
    """tanh(x)"""
    return np.tanh(x)


def tanh_grad(g: Any, y: Any) -> Any:
    """g (1 - y^2), where y is the result."""
    return g * (1 - y * y)


def add(a: Any, b: Any) -> Any:
    """a + b"""
    return a + b


def accumulate(a: Any, b: Any) -> None:
    """a += b"""
    a += b
