"""The definition of group norm, in plain NumPy; also what computes where no kernel can.

Documented in ``minidl.kernels.norm``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .norm import along, axes


def group_norm(x: Any, groups: int, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    """y (N, C, *size), mean and biased variance (N, groups)."""
    rows = x.reshape(x.shape[0], groups, -1)  # (N, G, C/G * positions)
    mean = rows.mean(axis=2)
    centred = rows - mean[..., None]
    variance = (centred * centred).mean(axis=2)
    y = (centred / np.sqrt(variance + x.dtype.type(eps))[..., None]).reshape(x.shape)
    if weight is not None:
        y *= along(weight, x)
    if bias is not None:
        y += along(bias, x)
    return y, mean, variance


def group_norm_grad(
    g: Any, x: Any, groups: int, weight: Any, mean: Any, variance: Any, eps: float, parameters: bool
) -> tuple[Any, Any, Any]:
    """dx (N, C, *size), dweight and dbias (C,), or None without ``parameters``."""
    shape = (x.shape[0], groups, -1)
    deviation = np.sqrt(variance + x.dtype.type(eps))[..., None]
    normal = (x.reshape(shape) - mean[..., None]) / deviation
    slope = (g if weight is None else g * along(weight, x)).reshape(shape)
    mean_slope, mean_product = slope.mean(axis=2)[..., None], (slope * normal).mean(axis=2)[..., None]
    dx = ((slope - mean_slope - normal * mean_product) / deviation).reshape(x.shape)
    if not parameters:
        return dx, None, None
    return dx, (g * normal.reshape(x.shape)).sum(axis=axes(x)), g.sum(axis=axes(x))
