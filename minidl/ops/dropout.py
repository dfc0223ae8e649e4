"""Dropout: Srivastava et al. 2014, in the inverted form (survivors are scaled up while training, nothing later)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import to_device
from ..random import Generator, numpy_generator
from ._common import as_operand


def _mask(shape: tuple[int, ...], p: float, like: Any, generator: Generator | None) -> Any:
    """1 with probability 1 - p, else 0, as a constant tensor beside ``like``."""
    from ..tensor import Tensor

    kept = numpy_generator(generator).random(shape, dtype=np.float32) >= np.float32(p)
    return Tensor._wrap(to_device(kept.astype(like.dtype), like.device))


def _check(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p is a probability, between 0 and 1, not {p}")


def _dropped(x: Any, shape: tuple[int, ...], p: float, generator: Generator | None) -> Any:
    if p == 1:
        return x * 0
    mask = _mask(shape, p, x, generator)
    mask._array *= mask._array.dtype.type(1 / (1 - p))
    return x * mask


def dropout(input: Any, p: float = 0.5, training: bool = True, *, generator: Generator | None = None) -> Any:
    """Each element zero with probability ``p``, the others divided by ``1 - p``; the input itself unless training."""
    _check(p)
    x = as_operand(input)
    return _dropped(x, x.shape, p, generator) if training and p > 0 else x


def _channel_dropout(ndim: int, input: Any, p: float, training: bool, generator: Generator | None) -> Any:
    _check(p)
    x = as_operand(input)
    if x.ndim not in (ndim + 1, ndim + 2):
        raise ValueError(
            f"dropout{ndim}d: the input must be (N, C, ...) or (C, ...) with {ndim} more axes, not {x.shape}"
        )
    lead = x.shape[: x.ndim - ndim]
    return _dropped(x, lead + (1,) * ndim, p, generator) if training and p > 0 else x


def dropout1d(input: Any, p: float = 0.5, training: bool = True, *, generator: Generator | None = None) -> Any:
    """Whole channels of (N, C, L) zero with probability ``p``: Tompson et al. 2015."""
    return _channel_dropout(1, input, p, training, generator)


def dropout2d(input: Any, p: float = 0.5, training: bool = True, *, generator: Generator | None = None) -> Any:
    """Whole channels of (N, C, H, W) zero with probability ``p``: Tompson et al. 2015."""
    return _channel_dropout(2, input, p, training, generator)


def dropout3d(input: Any, p: float = 0.5, training: bool = True, *, generator: Generator | None = None) -> Any:
    """Whole channels of (N, C, D, H, W) zero with probability ``p``."""
    return _channel_dropout(3, input, p, training, generator)


def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, *, generator: Generator | None = None) -> Any:
    """Dropout to SELU's negative limit, rescaled so that mean 0 and variance 1 stay: Klambauer et al. 2017."""
    _check(p)
    x = as_operand(input)
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0
    limit = -1.7580993408473766
    a = ((1 - p) * (1 + p * limit**2)) ** -0.5
    mask = _mask(x.shape, p, x, generator)
    return (x * mask + (1 - mask) * limit) * a + (-a * limit * p)
