"""Dropout: Srivastava et al. 2014, in the inverted form (survivors are scaled up while training, nothing later)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import from_host
from ..kernels.errors import ShapeError
from ..random import Generator, numpy_generator
from ._common import floating
from .activation import SELU_ALPHA, SELU_SCALE, _into


def _check(op: str, p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"{op}: p is the probability to drop a value, between 0 and 1, not {p}")


def _mask(shape: tuple[int, ...], p: float, kept: float, like: Any, generator: Generator | None) -> Any:
    """``kept`` with probability 1 - p, else 0, as a constant tensor beside ``like``."""
    from ..tensor import Tensor

    def draw() -> np.ndarray:
        survives = numpy_generator(generator).random(shape, dtype=np.float32) >= np.float32(p)
        mask = survives.astype(like.dtype)
        if kept != 1:
            mask *= like.dtype.type(kept)
        return mask

    return Tensor._wrap(from_host(draw, like.device))


def _dropped(x: Any, shape: tuple[int, ...], p: float, generator: Generator | None) -> Any:
    return x * _mask(shape, p, 1 / (1 - p) if p < 1 else 0, x, generator)


def dropout(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Generator | None = None
) -> Any:
    """Each element zero with probability ``p``, the others divided by ``1 - p``; the input itself unless training.

    >>> import minidl
    >>> _ = minidl.manual_seed(0)
    >>> minidl.nn.functional.dropout(minidl.ones(6), p=0.5)
    tensor([0., 0., 2., 0., 0., 0.])
    """
    _check("dropout", p)
    x = floating(input)
    return _into(input, _dropped(x, x.shape, p, generator) if training and p > 0 else x, inplace)


def _channel_dropout(
    ndim: int, input: Any, p: float, training: bool, inplace: bool, generator: Generator | None
) -> Any:
    op = f"dropout{ndim}d"
    _check(op, p)
    x = floating(input)
    if ndim == 2 and x.ndim == 3:
        raise ShapeError(
            f"{op}: {x.shape} could be one image (C, H, W) or a batch of signals (N, C, L): write x.unsqueeze(0) for "
            "the first, use dropout1d for the second (which is what PyTorch takes it for)"
        )
    if x.ndim not in (ndim + 1, ndim + 2):
        raise ShapeError(f"{op}: the input must be (N, C, ...) or (C, ...) with {ndim} more axes, not {x.shape}")
    channels = x.shape[: x.ndim - ndim] + (1,) * ndim
    return _into(input, _dropped(x, channels, p, generator) if training and p > 0 else x, inplace)


def dropout1d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Generator | None = None
) -> Any:
    """Whole channels of (N, C, L) or (C, L) zero with probability ``p``: Tompson et al. 2015.

    >>> import minidl
    >>> y = minidl.nn.functional.dropout1d(minidl.ones(2, 3, 4))
    >>> y.shape, bool((y.amin(-1) == y.amax(-1)).all())  # a channel lives or dies as a whole
    ((2, 3, 4), True)
    """
    return _channel_dropout(1, input, p, training, inplace, generator)


def dropout2d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Generator | None = None
) -> Any:
    """Whole channels of (N, C, H, W) zero with probability ``p``: Tompson et al. 2015.

    >>> import minidl
    >>> y = minidl.nn.functional.dropout2d(minidl.ones(2, 3, 4, 4))
    >>> y.shape, bool((y.amin((2, 3)) == y.amax((2, 3))).all())
    ((2, 3, 4, 4), True)
    """
    return _channel_dropout(2, input, p, training, inplace, generator)


def dropout3d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Generator | None = None
) -> Any:
    """Whole channels of (N, C, D, H, W) or (C, D, H, W) zero with probability ``p``.

    >>> import minidl
    >>> minidl.nn.functional.dropout3d(minidl.ones(2, 3, 4, 4, 4), training=False).sum().item()
    384.0
    """
    return _channel_dropout(3, input, p, training, inplace, generator)


def alpha_dropout(
    input: Any, p: float = 0.5, training: bool = False, inplace: bool = False, *, generator: Generator | None = None
) -> Any:
    """Dropout to SELU's negative limit, rescaled so that mean 0 and variance 1 stay: Klambauer et al. 2017.

    The same shape; outside of training it is the identity.

    >>> import minidl
    >>> x = minidl.tensor([1.0, 2.0])
    >>> minidl.nn.functional.alpha_dropout(x), minidl.nn.functional.alpha_dropout(x, training=True).shape
    (tensor([1., 2.]), (2,))
    """
    _check("alpha_dropout", p)
    x = floating(input)
    if not training or p == 0:
        return x
    if p == 1:
        return _into(input, x * 0, inplace)
    limit = -SELU_ALPHA * SELU_SCALE
    scale = ((1 - p) * (1 + p * limit**2)) ** -0.5
    mask = _mask(x.shape, p, 1, x, generator)
    return _into(input, (x * mask + (1 - mask) * limit) * scale - scale * limit * p, inplace)
