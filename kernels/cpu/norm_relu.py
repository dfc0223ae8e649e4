"""Batch norm with an addition and ReLU behind it, channels last: see `norm_last`."""

from __future__ import annotations

import numpy as np

from . import norm_last

Array = np.ndarray


def batch_norm_relu(
    x: Array, weight: Array | None, bias: Array | None, eps: float, added: Array | None, ceiling: float
) -> tuple[Array, Array, Array]:
    """y (N, C, *size) channels-last, mean and biased variance (C,): ``kernels.norm.batch_norm_relu``."""
    return norm_last.batch_norm(x, weight, bias, eps, added, ceiling)


def scale_shift_relu(x: Array, scale: Array, shift: Array | None, added: Array | None, ceiling: float) -> Array:
    """relu(x scale + shift + added), up to ``ceiling``; (N, C, *size), channels-last."""
    return norm_last.scale_shift(x, scale, shift, added, ceiling)


add_batch_norm_relu_grad = norm_last.add_batch_norm_grad
batch_norm_relu_grad = norm_last.batch_norm_grad
"""dx channels-last, dweight and dbias (C,), and with y a fourth: ``kernels.norm.batch_norm_relu_grad``."""
