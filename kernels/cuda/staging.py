"""Operands in the order that the copies of ``pipelined.cu`` read: vectors of 16 bytes of neighbouring channels.

An array that lies so is taken as it is, others are copied once, and rounded on the way where products of 16 bits are
asked for.  Inside of a network on channels-last storage only the weights are copied: they are an image too, of as many
pictures as there are filters.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import layout
from ..arrays import array_module
from .source import function, real, structure
from .windows import five

Array = Any

THREADS = 128
ELEMENTS = {"float": "float32", "float16": "float16", "bfloat16": "uint16"}
"""C++'s name and the dtype of an array that holds such numbers; NumPy has no bfloat16."""


def padded(channels: int, element: str) -> int:
    """``channels`` and the zeros behind them, so that they fill whole vectors.

    >>> padded(3, "float"), padded(3, "bfloat16"), padded(16, "float16")
    (4, 8, 16)
    """
    return -(-channels // vector(element)) * vector(element)


def vector(element: str) -> int:
    """How many are copied at once."""
    return 16 // np.dtype(ELEMENTS[element]).itemsize


def image(a: Array, groups: int, element: str) -> Array:
    """``a`` (N, G*channels, *size) with the channels of each group padded and side by side, as ``element``."""
    channels = a.shape[1] // groups
    wide = padded(channels, element)
    if a.dtype == ELEMENTS[element] and wide == channels and _in_vectors(a):
        return a
    xp = array_module(a)
    staged = xp.empty((len(a), *a.shape[2:], groups * wide), ELEMENTS[element])
    result = xp.moveaxis(staged, -1, 1)
    if staged.size:
        at_once, last = vector(element), layout.channels_last(a)
        kernel = function(xp, "staging.cu", "stage", FROM=real(a.dtype), TO=element, CHANNELS_LAST=last)
        sizes = len(a), groups, channels, wide // at_once, *(1,) * (5 - a.ndim), *a.shape[2:]
        order = structure((*sizes, *five(a), *five(result)))
        kernel((-(-staged.size // at_once // THREADS),), (THREADS,), (a, staged, order))
    return result


def _in_vectors(a: Array) -> bool:
    """Every position's channels begin on a boundary of 16 bytes and lie side by side."""
    apart = [s for axis, (s, n) in enumerate(zip(a.strides, a.shape)) if axis != 1 and n > 1]
    return a.strides[1] == a.itemsize and not any(s % 16 for s in apart) and a.data.ptr % 16 == 0
