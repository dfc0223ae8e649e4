"""Where elements lie: channels-last storage behind (N, C, ...) arrays, and dense arrays as one row of memory."""

from __future__ import annotations

from math import prod

import numpy as np

from .arrays import array_module
from .workspace import borrow


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


def memory(a: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]] | None:
    """``a``'s elements as they lie, a flat view, and its strides in elements; None where there are gaps.

    >>> flat, strides = memory(np.arange(6).reshape(2, 3).T)
    >>> flat, strides
    (array([0, 1, 2, 3, 4, 5]), (1, 3))
    """
    order = sorted(range(a.ndim), key=lambda axis: -a.strides[axis])
    flat = a.transpose(order)
    if not flat.flags.c_contiguous:
        return None
    return flat.reshape(-1), tuple(s // a.itemsize for s in a.strides)


def memory_or_copy(a: np.ndarray, name: str) -> tuple[np.ndarray, tuple[int, ...]]:
    """``memory(a)``, or that of a borrowed copy (workspace ``name``) where ``a`` has gaps or may not be written.

    What must not be written is another type to Numba: a copy takes milliseconds, to compile all anew many seconds.
    """
    found = memory(a) if a.flags.writeable else None
    if found is None:
        copy = borrow(name, a.shape, a.dtype)
        copy[...] = a
        found = memory(copy)
        assert found is not None  # a borrowed block has no gaps
    return found
