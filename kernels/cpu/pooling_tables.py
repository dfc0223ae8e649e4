"""Which positions each window of a pooling problem reads, and by what its sum is divided.

On each axis a table holds the first input position of window p, the position where it stops, and the step between
its taps, padding left out.  Regular and adaptive windows differ in nothing else.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..geometry import Axis
from ..jit import native
from ..pooling import AdaptiveAxis, Pool
from .pieces import read

Table = tuple[np.ndarray, np.ndarray, int]


def begin(axis: Axis | AdaptiveAxis) -> np.ndarray:
    """Position of each window's first tap, in the padding or not."""
    if isinstance(axis, AdaptiveAxis):
        return np.arange(axis.out) * axis.size // axis.out
    return np.arange(axis.out) * axis.stride - axis.pad[0]


@lru_cache(maxsize=512)
def table(axis: Axis | AdaptiveAxis) -> Table:
    """(first, stop, step): window p reads ``range(first[p], stop[p], step)``, all of it input."""
    if isinstance(axis, AdaptiveAxis):
        p = np.arange(axis.out)
        return begin(axis), -(-(p + 1) * axis.size // axis.out), 1
    start = begin(axis)
    skipped = -(np.minimum(start, 0) // axis.dilation)  # taps in the low padding
    return start + skipped * axis.dilation, np.minimum(start + axis.extent, axis.size), axis.dilation


def three(pool: Pool) -> tuple[Axis | AdaptiveAxis, ...]:
    """Axes D, H, W; one that is not there has one window of one position."""
    return (Axis(1, 1),) * (3 - pool.ndim) + pool.axes


def reach(axis: Axis | AdaptiveAxis) -> np.ndarray:
    """For each window the positions first, ..., stop - 1 between which its taps lie: (out, 2)."""
    return np.stack(table(axis)[:2], 1)


class _Pair(NamedTuple):
    first: int
    stop: int


@native
def pair(where: int, i: int) -> tuple[int, int]:
    """Entry i of a table of pairs, in compiled code."""
    entry = read(_Pair, where + 16 * i)
    return entry.first, entry.stop


@native
def split(row: int, rows0: int, rows1: int) -> tuple[int, int, int]:
    """Of a row of positions or windows: the image or plane, and where it lies along the first two axes."""
    return row // (rows0 * rows1), row // rows1 % rows0, row % rows1


@lru_cache(maxsize=512)
def counts(axis: Axis | AdaptiveAxis, count_include_pad: bool) -> np.ndarray:
    """Number of taps of each window that an average counts."""
    first, stop, step = table(axis)
    if count_include_pad and isinstance(axis, Axis):
        first = begin(axis)
        stop = np.minimum(first + axis.extent, axis.size + axis.pad[1])
    return -((first - stop) // step)  # rounded up


def divisors(pool: Pool, count_include_pad: bool, divisor_override: int | None, dtype: np.dtype) -> np.ndarray:
    """What each window's sum is divided by: (P, Q, R), one factor per axis multiplied out."""
    out = (1,) * (3 - pool.ndim) + pool.out
    if divisor_override is not None:
        return np.full(out, divisor_override, dtype)
    product = np.ones(out, dtype)
    for i, axis in enumerate(reversed(pool.axes)):
        product *= counts(axis, count_include_pad).reshape(-1, *(1,) * i).astype(dtype)
    return product
