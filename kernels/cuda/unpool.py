"""Values put at the places that indices name, and read there, in CUDA: max-unpooling and its gradient.

Any type of 2, 4 or 8 bytes, because values are only copied; of several values with one index the last stays, in every
run.  ``max_unpool`` asks the device once whether an index lies outside, which makes the host wait, and a graph cannot
record.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import layout
from ..arrays import array_module, pooling
from ..cpu.direct_tiles import ABSENT, Axis3, Geometry
from ..pooling import check_indices
from . import windows
from .source import function

Array = Any

THREADS = 128
BYTES = (2, 4, 8)
INDEX_TYPES = ("int32", "int64")


def max_unpool(x: Array, indices: Array, y_shape: tuple[int, ...], out: Array | None = None) -> Array:
    """y of zeros with each x at its index; of several with one index the last stays."""
    if not _takes(x, indices, y_shape):
        return pooling.max_unpool(x, indices, y_shape, out)
    xp = array_module(x)
    y = layout.empty(y_shape, x) if out is None else out
    indices, last = _whole(indices), layout.channels_last(y)
    window = _window(y, x, indices)
    claims, wrong = xp.full(y.size, -1, "int32"), xp.zeros((), "int32")
    _launch("claim", x, indices, last, x.size, (indices, claims, wrong, window))
    if int(wrong):
        check_indices(indices, y_shape)
    _launch("take", x, indices, last, y.size, (x, claims, y, window))
    return y


def gather(u: Array, indices: Array, out: Array | None = None) -> Array:
    """The values of u (N, C, *size) at the indices (N, C, *out), which are trusted: one outside reads NaN."""
    if not _takes(u, indices, u.shape):
        return pooling.gather(u, indices, out)
    y = layout.empty(indices.shape, u) if out is None else out
    indices = _whole(indices)
    _launch("gather", u, indices, layout.channels_last(y), y.size, (u, indices, y, _window(u, y, indices)))
    return y


def _takes(values: Array, indices: Array, plane: tuple[int, ...]) -> bool:
    """Whether the kernels here can do it: there is something to do, and 32 bits count it."""
    sizes = indices.size, int(np.prod(plane, dtype=np.int64))
    return indices.ndim < 6 and values.itemsize in BYTES and min(sizes) > 0 and max(sizes) < windows.LIMIT


def _whole(indices: Array) -> Array:
    return indices if indices.dtype.name in INDEX_TYPES else indices.astype(np.int64)


def _window(plane: Array, values: Array, indices: Array) -> Any:
    own = [Axis3(size, 1, out, 1, 0, 1) for size, out in zip(plane.shape[2:], values.shape[2:])]
    first, second, third = [ABSENT] * (3 - len(own)) + own
    geometry: Geometry = (first, second, third)
    image, channel, *steps = windows.five(indices)
    strides = image, channel, 0, *steps
    return windows.of_axes(geometry, plane.shape[0], plane.shape[1], windows.five(plane), windows.five(values), strides)


def _launch(name: str, values: Array, indices: Array, last: bool, items: int, arguments: tuple[Any, ...]) -> None:
    """One thread for each item; neighbouring ones for channels where they lie side by side (``last``)."""
    bytes_ = {"BYTES": values.itemsize, "INDEX_BYTES": indices.itemsize}
    kernel = function(array_module(values), "unpool.cu", name, **bytes_, CHANNELS_LAST=last)
    kernel((-(-items // THREADS),), (THREADS,), (*arguments, np.int32(items)))
