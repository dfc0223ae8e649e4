"""Reading and writing windows of an array that is zero outside itself: the tile arithmetic of FFT and Winograd.

Samples ``0, 1, ..., count - 1`` lie at the positions ``0, step, 2 * step, ...`` of a line whose other positions
hold zero.  ``step`` is the stride when an output gradient is spread out and the dilation when a kernel is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def overlap(start: int, length: int, count: int, step: int = 1) -> tuple[slice, slice]:
    """The samples that fall into positions ``start .. start + length - 1``: (slice of the window, of the samples).

    >>> overlap(-1, 4, 10)  # the window begins one position before the array
    (slice(1, 4, 1), slice(0, 3, None))
    >>> overlap(3, 4, 10, step=2)  # positions 3 4 5 6 hold samples 2 (at 4) and 3 (at 6)
    (slice(1, 4, 2), slice(2, 4, None))
    """
    first = max(0, -(-start // step))
    stop = min(count, -(-(start + length) // step))
    if stop <= first:
        return slice(0, 0), slice(0, 0)
    return slice(first * step - start, (stop - 1) * step - start + 1, step), slice(first, stop)


def _slices(
    start: Sequence[int], length: Sequence[int], count: Sequence[int], step: Sequence[int]
) -> tuple[tuple, tuple]:
    pairs = [overlap(*axis) for axis in zip(start, length, count, step)]
    return (..., *(window for window, _ in pairs)), (..., *(samples for _, samples in pairs))


def read(window: np.ndarray, a: np.ndarray, start: Sequence[int], step: Sequence[int] | None = None) -> np.ndarray:
    """Fill ``window`` (..., *length) with the samples ``a`` (..., *count) seen from ``start``, zeros elsewhere.

    >>> read(np.empty(6), np.array([1.0, 2.0, 3.0]), start=(-1,), step=(2,))
    array([0., 1., 0., 2., 0., 3.])
    """
    ndim = len(start)
    inside, samples = _slices(start, window.shape[-ndim:], a.shape[-ndim:], step or (1,) * ndim)
    window[...] = 0
    window[inside] = a[samples]
    return window


def write(a: np.ndarray, window: np.ndarray, start: Sequence[int], step: Sequence[int] | None = None) -> None:
    """The way back: put those positions of ``window`` that hold a sample of ``a`` there; the rest is dropped.

    >>> a = np.zeros(3)
    >>> write(a, np.array([9.0, 1.0, 9.0, 2.0]), start=(-1,), step=(2,))
    >>> a
    array([1., 2., 0.])
    """
    ndim = len(start)
    inside, samples = _slices(start, window.shape[-ndim:], a.shape[-ndim:], step or (1,) * ndim)
    a[samples] = window[inside]
