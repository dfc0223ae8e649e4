"""Recorded in-place writes: the tensor and all live views of its memory move to new memory together.

The old memory stays as it is for the graph that still needs it.  In the new memory the tensors are views of each
other as before, each with a history that leads to the write.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.tape import GraphError, Primitive, vjp
from ..backend import array_module
from ..dtypes import int64
from .indexing import put_add, put_flat


def _window(buffer: Any, *, start: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    return array_module(buffer).lib.stride_tricks.as_strided(buffer[start:], shape, strides)


_view_of_buffer: Primitive = Primitive(
    "view",
    _window,
    vjp(
        lambda g, y, buffer, *, start, shape, strides: put_add(
            g.reshape(-1), (_places(start, shape, strides, buffer.dtype.itemsize),), buffer.shape
        )
    ),
    view=True,
)


def _places(start: int, shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> np.ndarray:
    """Index in the flat buffer of each element of a view, in C order."""
    place = np.full(shape, start, dtype=int64)
    for axis, (n, stride) in enumerate(zip(shape, strides)):
        place += (np.arange(n) * (stride // itemsize)).reshape((-1,) + (1,) * (len(shape) - 1 - axis))
    return place.reshape(-1)


def _address(array: Any) -> int:
    return array.data.ptr if hasattr(array.data, "ptr") else array.__array_interface__["data"][0]


def _companions(target: Any) -> list[Any]:
    """``target``, and the live tensors that share elements with it, directly or through one another."""
    others = [t for t in target._storage.views() if t is not target and t.numel()]
    group = [target]
    for member in group:  # grows while it is read
        near = [t for t in others if np.shares_memory(t._array, member._array)] if member._xp is np else others
        group.extend(near)
        others = [t for t in others if not any(t is n for n in near)]
    return group


def assign_recorded(target: Any, new: Any) -> None:
    """Give ``target`` the value and history of ``new``, and its views the matching part of it."""
    group = _companions(target)
    if any(t._node is None and t._requires_grad for t in group):
        raise GraphError(
            "a leaf that requires a gradient cannot be written to in place, nor a view of it: do it under no_grad() "
            "(as an optimiser does), or compute a new tensor"
        )
    if len(group) == 1:
        values = [new]
    else:
        values = _moved(group, new)
    for tensor, value in zip(group, values):
        tensor._array, tensor._node, tensor._index = value._array, value._node, value._index
        tensor._storage = value._storage
        if len(group) > 1:
            tensor._storage.join(tensor)


def _moved(group: list[Any], new: Any) -> list[Any]:
    """The tensors of ``group`` as views of one new flat buffer in which ``new`` stands in the first one's place."""
    itemsize = new.element_size()
    lowest = [_address(t._array) + sum(min(0, (n - 1) * s) for n, s in zip(t.shape, t._array.strides)) for t in group]
    origin = min(lowest)
    starts = [(_address(t._array) - origin) // itemsize for t in group]
    places = [_places(a, t.shape, t._array.strides, itemsize) for a, t in zip(starts, group)]
    length = 1 + max(int(p.max()) for p in places)
    buffer = type(new)._wrap(new._xp.zeros(length, new.dtype))
    covered = np.zeros(length, bool)
    for t, place in sorted(zip(group, places), key=lambda pair: -pair[0].numel()):
        if not covered[place].all():  # the base comes first and holds what its views hold
            buffer = put_flat(buffer, t.reshape(-1), place)
            covered[place] = True
    buffer = put_flat(buffer, new.reshape(-1), places[0])
    return [
        _view_of_buffer(buffer, start=start, shape=t.shape, strides=t._array.strides) for start, t in zip(starts, group)
    ]
