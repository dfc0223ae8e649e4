"""Batch norm with an addition and ReLU behind it: ``norm.cu`` takes them along."""

from __future__ import annotations

from typing import Any

from . import norm

Array = Any


def batch_norm_relu(
    x: Array, weight: Array, bias: Array, eps: float, added: Array, ceiling: float
) -> tuple[Array, Array, Array]:
    """relu(batch_norm(x) + added) stored as x (N, C, *size), mean and biased variance (C,)."""
    return norm.batch_norm(x, weight, bias, eps, added, ceiling)


def batch_norm_relu_grad(
    g: Array, x: Array, weight: Array, bias: Array, mean: Array, variance: Array, eps: float, y: Array, ceiling: float
) -> tuple[Array, ...]:
    """dx, stored as x, dweight and dbias (C,), and with y the gradient of what was added."""
    return norm.batch_norm_grad(g, x, weight, mean, variance, eps, bias, ceiling, y)


def scale_shift_relu(x: Array, scale: Array, shift: Array, added: Array, ceiling: float) -> Array:
    """relu(x scale + shift + added), up to ``ceiling``, stored as x (N, C, *size)."""
    return norm.scale_shift(x, scale, shift, added, ceiling)
