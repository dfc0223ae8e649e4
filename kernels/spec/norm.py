"""The definition of normalisation over channels, in plain NumPy; also what computes where no kernel can.

Written with methods and ufuncs, so that CuPy's arrays go through as well.  Documented in ``minidl.kernels.norm``.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np


def axes(x: Any) -> tuple[int, ...]:
    """All but the channels."""
    return (0, *range(2, x.ndim))


def along(v: Any, x: Any) -> Any:
    """(C,) -> (1, C, 1, ...), beside x."""
    return v.reshape((1, -1) + (1,) * (x.ndim - 2))


def batch_norm(x: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    """y (N, C, *size), mean and biased variance (C,)."""
    mean = x.mean(axis=axes(x))
    y = x - along(mean, x)
    variance = (y * y).mean(axis=axes(x))
    scale = 1 / np.sqrt(variance + x.dtype.type(eps))
    y *= along(scale if weight is None else scale * weight, x)
    if bias is not None:
        y += along(bias, x)
    return y, mean, variance


def batch_norm_grad(g: Any, x: Any, weight: Any, mean: Any, variance: Any, eps: float) -> tuple[Any, Any, Any]:
    """dx (N, C, *size), dweight and dbias (C,)."""
    count = max(1, prod(x.shape[a] for a in axes(x)))
    scale = 1 / np.sqrt(variance + x.dtype.type(eps))
    y = (x - along(mean, x)) * along(scale, x)
    dweight, dbias = (g * y).sum(axis=axes(x)), g.sum(axis=axes(x))
    y *= along(dweight / count, x)
    dx = g - along(dbias / count, x) - y
    dx *= along(scale if weight is None else scale * weight, x)
    return dx, dweight, dbias


def scale_shift(x: Any, scale: Any, shift: Any) -> Any:
    """x scale + shift; scale and shift (C,), the latter may be None."""
    y = x * along(scale, x)
    if shift is not None:
        y += along(shift, x)
    return y


def running_scale(mean: Any, variance: Any, weight: Any, bias: Any, eps: float, dtype: Any = None) -> tuple[Any, Any]:
    """Scale and shift (C,) of batch norm by known statistics, in ``dtype`` (None: that of the statistics)."""
    scale = (1 / np.sqrt(variance + eps)).astype(dtype or variance.dtype, copy=False)
    shift = -mean.astype(scale.dtype, copy=False) * scale
    if weight is not None:
        scale, shift = scale * weight, shift * weight
    return scale, shift if bias is None else shift + bias


def add_to_channels(x: Any, shift: Any) -> None:
    """Add shift (C,) to x (N, C, *size), in place."""
    x += along(shift, x)


def channel_sums(g: Any) -> Any:
    """(N, C, *size) -> (C,)"""
    return g.sum(axis=axes(g))


def scale_shift_grad(g: Any, x: Any, scale: Any) -> tuple[Any, Any, Any]:
    """dx (N, C, *size), dscale and dshift (C,)."""
    return g * along(scale, x), (g * x).sum(axis=axes(x)), g.sum(axis=axes(x))
