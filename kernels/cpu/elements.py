"""What the kernels that do one thing to every element share: arrays by address, and storage as rows of channels.

A piece of work (see ``pieces``) gets addresses; `elements` makes an array of one, on which plain loops run, which
LLVM's vectoriser turns into whole registers.  All of these kernels are bound by memory, so that is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np
from numba import types
from numba.extending import intrinsic

from ..layout import channels_last
from ..short_code import emit_array
from .places import address
from .relayout import as_last, empty_last
from .simd import Constant, ConstantType, Lanes, emit_pointer

__all__ = [
    "Rows",
    "Sums",
    "address",
    "as_rows",
    "dense",
    "elements",
    "in_float64",
    "is_last",
    "kind_of",
    "last_and_dense",
    "like",
    "matched",
    "pitch_of",
    "seconds",
]

PIECE = 1 << 15  # elements that one piece of work takes
BYTES_A_SECOND = 1e10  # that one core moves


def kind_of(a: np.ndarray) -> Lanes:
    """The compile-time value that stands for a's dtype."""
    return _kind(a.dtype)


@cache
def _kind(dtype: np.dtype) -> Lanes:
    return Lanes(dtype.name, 1)


@dataclass(frozen=True)
class Sums(Constant):
    """The compile-time value that stands for a dtype of values and that of their sums."""

    values: Lanes
    sums: Lanes


@cache
def in_float64(dtype: np.dtype) -> Sums:
    """Sums of ``dtype`` in float64."""
    return Sums(_kind(dtype), Lanes("float64", 1))


def seconds(*arrays: np.ndarray) -> float:
    """About how long one core takes to move the arrays."""
    return sum(a.nbytes for a in arrays) / BYTES_A_SECOND


@intrinsic
def elements(_context, kind, place, count):
    """The ``count`` elements of ``kind``'s dtype from address ``place`` on, as an array."""
    if not isinstance(kind, ConstantType):
        return None
    array = types.Array(getattr(types, kind.value.dtype), 1, "C")

    def emit(ctx, b, _sig, args):
        _, place, count = args
        return emit_array(ctx, b, array, emit_pointer(b, place, kind.value.element), count)

    return array(kind, types.intp, types.intp), emit


def matched(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Arrays of one shape as they lie in memory, if all lie alike and without gaps, else copies: (N, C, *size) arrays
    as `as_rows` has them, others C-contiguous.
    """
    if all(a.flags.c_contiguous for a in arrays):
        return arrays
    return as_rows(*arrays) if arrays[0].ndim > 2 else tuple(map(np.ascontiguousarray, arrays))


def like(a: np.ndarray) -> np.ndarray:
    """An uninitialised array with the shape, dtype and storage of ``a``, which is C-contiguous or channels-last."""
    return np.empty(a.shape, a.dtype) if a.flags.c_contiguous else empty_last(a.shape, a.dtype)


def dense(a: np.ndarray) -> bool:
    """Whether a (N, C, *size) lies without gaps, channels first or last, so that one loop can pass over it."""
    return a.flags.c_contiguous or a.transpose(0, *range(2, a.ndim), 1).flags.c_contiguous


def pitch_of(a: np.ndarray) -> int | None:
    """How many elements lie from one position's channels to the next, of an array (N, C, *size) whose channels lie
    side by side at even distances: some of the channels of a channels-last array do.  None of any other.

    >>> whole = np.zeros((2, 5, 5, 8)).transpose(0, 3, 1, 2)
    >>> pitch_of(whole[:, 2:5]), pitch_of(whole[:, :, 1:])
    (8, None)
    """
    if a.ndim < 3 or a.strides[1] != a.itemsize or not a.size:
        return None
    row = a.shape[1] * a.itemsize
    axes = [(a.shape[i], a.strides[i]) for i in (0, *range(2, a.ndim)) if a.shape[i] > 1]
    pitch = step = axes[-1][1] if axes else row
    for n, stride in reversed(axes):
        if stride != step:
            return None
        step *= n
    return pitch // a.itemsize if pitch % a.itemsize == 0 and pitch >= row else None


def is_last(a: np.ndarray) -> bool:
    """Whether the channels of a dense array (N, C, *size) lie side by side; so do those of features (N, C)."""
    return not a.flags.c_contiguous or prod(a.shape[2:]) == 1


class Rows:
    """A dense array (N, C, *size) as rows of memory, each of which holds all channels ``run`` times over.

    channels last: a row is ``fold`` positions side by side, ``fold * C`` elements, so that few channels fill a
    register too.  channels first: a row is a sample, C times ``run`` positions.  Either way the array is
    (rows, groups, run) in memory, and the channel of a group is its number modulo C.
    """

    def __init__(self, shape: tuple[int, ...], last: bool) -> None:
        n, self.channels, *size = shape
        positions = prod(size)
        self.fold = _fold(n * positions, self.channels) if last else 1
        self.rows = n * positions // self.fold if last else n
        self.groups = self.fold * self.channels
        self.run = 1 if last else positions


WIDE = 64  # elements of a row below which several positions are taken as one row
FULL = 16  # elements that fill a register whatever it is


def _fold(positions: int, channels: int) -> int:
    """How many positions make a row: a divisor of all, so that nothing is left over; one where it fills registers."""
    most = 1 if channels % FULL == 0 else max(1, WIDE // max(1, channels))
    return next(fold for fold in range(most, 0, -1) if positions % fold == 0)


def last_and_dense(a: np.ndarray, name: str) -> np.ndarray:
    """``a`` channels-last without gaps.  A slice or a broadcast array has its channels side by side and yet gaps."""
    if dense(a):
        return a if is_last(a) else as_last(a, name)
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)


def as_rows(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The arrays (N, C, *size), all dense and in the storage of the first; itself where it is, else a copy.

    A slice of a channels-last array is one: its copy is channels-last too.
    """
    first = arrays[0]
    if not dense(first):
        first = last_and_dense(first, "first") if channels_last(first) else np.ascontiguousarray(first)
    if is_last(first):
        return first, *(last_and_dense(a, f"rows{i}") for i, a in enumerate(arrays[1:]))
    return first, *(np.ascontiguousarray(a) for a in arrays[1:])
