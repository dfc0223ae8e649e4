"""Batch norm with an addition and ReLU behind it: ``norm.cu`` takes them along."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import UnsupportedError
from . import norm

Array = Any


def batch_norm_relu(
    x: Array, weight: Array, bias: Array, eps: float, added: Array, ceiling: float
) -> tuple[Array, Array, Array]:
    _check(ceiling)
    return norm.batch_norm(x, weight, bias, eps, added, True)


def batch_norm_relu_grad(
    g: Array, x: Array, weight: Array, bias: Array, mean: Array, variance: Array, eps: float, y: Array, ceiling: float
) -> tuple[Array, ...]:
    _check(ceiling)
    return norm.batch_norm_grad(g, x, weight, mean, variance, eps, bias, True, y)


def scale_shift_relu(x: Array, scale: Array, shift: Array, added: Array, ceiling: float) -> Array:
    _check(ceiling)
    return norm.scale_shift(x, scale, shift, added, True)


def _check(ceiling: float) -> None:
    if ceiling != np.inf:
        raise UnsupportedError(f"norm_relu: algorithm 'cuda' knows ReLU without an end, not one at {ceiling}")
