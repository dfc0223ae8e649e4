"""What is done with the results of a convolution before they leave the cache.

    y = cut(y * scale + shift + added)

with a scale and a shift for each channel (a bias, or batch norm in evaluation), an array that is added, and ReLU as the
cut, which may end at a ceiling.  A kernel calls `finish` for the results that it has just written; so they are read
from the first cache, where a pass of its own would fetch them from memory.  The numbers are those of
`norm_relu.scale_shift_relu` to the last bit.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from .elements import elements
from .pieces import Address
from .places import address
from .replay import permanent
from .simd import broadcast, fma, load, maximum, minimum, store


class Finish(NamedTuple):
    """Addresses; of an array stored as y that is added, 0 of what there is not."""

    y: Address
    added: Address
    scale: Address  # an element for each channel; 0: there is nothing to do
    shift: Address
    limits: Address  # two numbers, NaN for none: results below the first or above the second become it


NOTHING = Finish(0, 0, 0, 0, 0)


def finishing(
    y: np.ndarray,
    scale: np.ndarray | None,
    shift: np.ndarray | None,
    added: np.ndarray | None,
    ceiling: float | None,
) -> Finish:
    """For y (N, K, *out), stored channels-last as ``added`` is; scale and shift (K,), contiguous and of y's dtype.

    ``ceiling``: where ReLU ends, infinity for one that does not; None for no ReLU.
    """
    if scale is None and shift is None and added is None and ceiling is None:
        return NOTHING
    channels = y.shape[1]
    return Finish(
        address(y), 0 if added is None else address(added),
        address(_constant(1, channels, y.dtype) if scale is None else scale),
        address(_constant(0, channels, y.dtype) if shift is None else shift),
        address(_limits(ceiling, y.dtype)),
    )  # fmt: skip


@cache
def _constant(value: float, count: int, dtype: np.dtype) -> np.ndarray:
    return permanent(np.full(count, value, dtype))


@cache
def _limits(ceiling: float | None, dtype: np.dtype) -> np.ndarray:
    low, high = (np.nan, np.nan) if ceiling is None else (0.0, np.nan if ceiling == np.inf else ceiling)
    return permanent(np.array([low, high], dtype))


@native(fastmath={"contract"})  # as `norm_relu`, whose bits these are
def finish(tile: Any, f: Any, place: int, channel: int, count: int) -> None:
    """``count`` results, from address ``place`` on, of the channels from ``channel`` on."""
    whole = count // tile.lanes * tile.lanes
    _finish_vectors(tile, f, place, channel * tile.itemsize, 0, whole * tile.itemsize)
    if whole < count:
        _finish_vectors(tile.one, f, place, channel * tile.itemsize, whole * tile.itemsize, count * tile.itemsize)


@native(fastmath={"contract"})
def _finish_vectors(tile: Any, f: Any, place: int, channel: int, first: int, stop: int) -> None:
    """The same for some bytes of the results; ``channel`` is in bytes too."""
    limits = elements(tile, f.limits, 2)
    low, high = broadcast(tile, limits[0]), broadcast(tile, limits[1])
    for v in range(first, stop, tile.lanes * tile.itemsize):
        value = fma(load(tile, place + v), load(tile, f.scale + channel + v), load(tile, f.shift + channel + v))
        if f.added != 0:
            value = value + load(tile, f.added + (place - f.y) + v)
        store(place + v, minimum(high, maximum(low, value)))
