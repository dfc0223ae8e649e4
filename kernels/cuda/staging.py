"""Operands in the order that the copies of ``pipelined.cu`` read: vectors of 16 bytes of neighbouring channels.

An array that lies so is taken as it is, others are copied once, and rounded on the way where products of 16 bits are
asked for.  Inside of a network on channels-last storage only the weights are copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import layout
from ..arrays import array_module
from .source import function, real, structure
from .windows import Ints, five

Array = Any

THREADS = 128
ELEMENTS = {"float": "float32", "float16": "float16", "bfloat16": "uint16"}
"""C++'s name and the dtype of an array that holds such numbers; NumPy has no bfloat16."""


def padded(channels: int, element: str) -> int:
    """``channels`` and the zeros behind them, so that they fill whole vectors.

    >>> padded(3, "float"), padded(3, "bfloat16"), padded(16, "float16")
    (4, 8, 16)
    """
    vector = 16 // np.dtype(ELEMENTS[element]).itemsize
    return -(-channels // vector) * vector


def image(a: Array, groups: int, element: str) -> Array:
    """``a`` (N, G*channels, *size) with the channels of each group padded and side by side, as ``element``."""
    channels = a.shape[1] // groups
    wide = padded(channels, element)
    if a.dtype == ELEMENTS[element] and wide == channels and _in_vectors(a):
        return a
    sizes = (*(1,) * (5 - a.ndim), *a.shape[2:])
    n, c, *steps = five(a)
    last = layout.channels_last(a)
    staged = _stage(a, (len(a), groups, *sizes, channels), (n, c * channels, *steps, c), element, (0, 2, 3, 4, 1), last)
    return array_module(a).moveaxis(staged.reshape(len(a), *a.shape[2:], groups * wide), -1, 1)


def weights(w: Array, element: str) -> Array:
    """``w`` (G, columns, depth, T0, T1, T2), stored (G, columns, T0, T1, T2, depth padded), as ``element``."""
    groups, columns, depth, *taps = w.shape
    g, n, c, *steps = (s // w.itemsize for s in w.strides)
    sizes, strides = (columns, groups, *taps, depth), (n, g, *steps, c)
    return array_module(w).moveaxis(_stage(w, sizes, strides, element, (1, 0, 2, 3, 4), c == 1), -1, 2)


def _stage(a: Array, sizes: Ints, strides: Ints, element: str, order: Ints, last: bool) -> Array:
    """``sizes`` and ``strides`` as (images, G, *size, channels); the result has the first five in this ``order``."""
    xp, channels = array_module(a), sizes[-1]
    wide = padded(channels, element)
    staged = xp.empty((*(sizes[i] for i in order), wide), ELEMENTS[element])
    if staged.size:
        to = [0] * 5
        for place, i in enumerate(order):
            to[i] = staged.strides[place] // staged.itemsize
        vector = 16 // staged.itemsize
        images, groups, *size = sizes[:5]
        numbers = (images, groups, channels, wide // vector, *size, *_strides(strides), *to)
        kernel = function(xp, "staging.cu", "stage", FROM=real(a.dtype), TO=element, CHANNELS_LAST=last)
        items = staged.size // vector
        kernel((-(-items // THREADS),), (THREADS,), (a, staged, structure(numbers)))
    return staged


def _strides(strides: Ints) -> Ints:
    """(image, G, *size, channel) as the structure has them: image, group, channel, size."""
    image, group, *size, channel = strides
    return (image, group, channel, *size)


def _in_vectors(a: Array) -> bool:
    """Every position's channels begin on a boundary of 16 bytes and lie side by side."""
    apart = [s for axis, (s, n) in enumerate(zip(a.strides, a.shape)) if axis != 1 and n > 1]
    return a.strides[1] == a.itemsize and not any(s % 16 for s in apart) and a.data.ptr % 16 == 0
