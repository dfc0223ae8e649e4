"""Where elements lie: channels-last storage behind (N, C, ...) arrays."""

from __future__ import annotations

from math import prod

import numpy as np

from .arrays import array_module


def channels_last(a: np.ndarray) -> bool:
    """The channels of a position lie side by side (and there is more than one of each).

    >>> channels_last(np.zeros((2, 8, 8, 3)).transpose(0, 3, 1, 2)), channels_last(np.zeros((2, 3, 8, 8)))
    (True, False)
    """
    return a.shape[1] > 1 and a.strides[1] == a.itemsize and prod(a.shape[2:]) > 1


def empty(shape: tuple[int, ...], like: np.ndarray) -> np.ndarray:
    """An array (N, C, ...) of ``like``'s dtype, channels-last where ``like`` is.

    >>> channels_last(empty((2, 5, 4, 4), like=np.zeros((2, 8, 8, 3)).transpose(0, 3, 1, 2)))
    True
    """
    xp = array_module(like)
    if not channels_last(like):
        return xp.empty(shape, like.dtype)
    return empty_last(shape, like)


def empty_last(shape: tuple[int, ...], like: np.ndarray) -> np.ndarray:
    """A channels-last array (N, C, ...) of ``like``'s dtype."""
    xp = array_module(like)
    return xp.moveaxis(xp.empty((shape[0], *shape[2:], shape[1]), like.dtype), -1, 1)
