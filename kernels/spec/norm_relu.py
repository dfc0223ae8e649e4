"""The definition of batch norm with an addition and ReLU behind it: one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import activation, norm


def batch_norm_relu(x: Any, weight: Any, bias: Any, eps: float, added: Any, ceiling: float) -> tuple[Any, Any, Any]:
    """relu(batch_norm(x) + added), up to ``ceiling``; mean and biased variance (C,)."""
    y, mean, variance = norm.batch_norm(x, weight, bias, eps)
    return cut(y if added is None else y + added, ceiling), mean, variance


def batch_norm_relu_grad(
    g: Any, x: Any, weight: Any, bias: Any, mean: Any, variance: Any, eps: float, y: Any, ceiling: float
) -> tuple[Any, ...]:
    """dx, dweight and dbias; where something was added, y is the result, and its gradient comes fourth."""
    kept = cut_grad(g, norm.batch_norm(x, weight, bias, eps)[0] if y is None else y, ceiling)
    gradients = norm.batch_norm_grad(kept, x, weight, mean, variance, eps)
    return gradients if y is None else (*gradients, kept)


def scale_shift_relu(x: Any, scale: Any, shift: Any, added: Any, ceiling: float) -> Any:
    """relu(x scale + shift + added), up to ``ceiling``."""
    y = norm.scale_shift(x, scale, shift)
    return cut(y if added is None else y + added, ceiling)


def cut(y: Any, ceiling: float) -> Any:
    """ReLU, which ends at ``ceiling``."""
    return activation.relu(y) if ceiling == np.inf else activation.clip(y, 0.0, ceiling)


def cut_grad(g: Any, y: Any, ceiling: float) -> Any:
    """The cotangent g of ``cut`` where that rose; y is its argument or its result."""
    return activation.relu_grad(g, y) if ceiling == np.inf else activation.clip_grad(g, y, 0.0, ceiling)
