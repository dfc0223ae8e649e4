"""The definition of the activation kernels in plain NumPy; also what computes where no kernel can.

Written with ufuncs and methods, so that CuPy's arrays go through as well.  Documented in ``minidl.kernels.activation``.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def relu(x: Any) -> Any:
    return np.maximum(x, x.dtype.type(0))


def relu_grad(g: Any, y: Any) -> Any:
    return g * (y > 0)


def leaky_relu(x: Any, slope: float) -> Any:
    return np.where(x > 0, x, x * slope)


def leaky_relu_grad(g: Any, x: Any, slope: float) -> Any:
    return np.where(x > 0, g, g * slope)


def clip(x: Any, low: float, high: float) -> Any:
    return x.clip(low, high)


def clip_grad(g: Any, x: Any, low: float, high: float) -> Any:
    return g * ((x > low) & (x < high))


def tanh(x: Any) -> Any:
    return np.tanh(x)


def tanh_grad(g: Any, y: Any) -> Any:
    return g * (1 - y * y)


def add(a: Any, b: Any) -> Any:
    return a + b


def accumulate(a: Any, b: Any) -> None:
    a += b
