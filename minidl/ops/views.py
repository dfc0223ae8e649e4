"""Recorded in-place writes: the tensor and all live views of its memory move to new memory together.

The old memory stays as it is for the graph that still needs it.  In the new memory the tensors are views of each
other as before, each with a history that leads to the write; detached ones have its values only.
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
    lineages = [t._storage.lineage(t) for t in group] if len(group) > 1 else [None]
    for tensor, lineage in zip(group, lineages):
        if lineage is not lineages[0] and tensor.requires_grad:
            raise GraphError(
                f"a tensor of shape {tensor.shape} that requires a gradient shares its memory by detach() with the one "
                "written to here, and would then have the values of another computation than its gradient: write into "
                "a copy, x.detach().clone()"
            )
    if any(t._node is None and t._requires_grad for t in group):
        raise GraphError(
            "a leaf that requires a gradient cannot be written to in place, nor a view of it: do it under no_grad() "
            "(as an optimiser does), or compute a new tensor"
        )
    if len(group) == 1:
        values = [new]
    else:
        values = _moved(group, [lineage is lineages[0] for lineage in lineages], new)
    for tensor, value, lineage in zip(group, values, lineages):
        tensor._array, tensor._storage = value._array, value._storage
        if lineage is lineages[0]:
            tensor._node, tensor._index = value._node, value._index
        if len(group) > 1:
            tensor._storage.join(tensor, lineage)


def _moved(group: list[Any], related: list[bool], new: Any) -> list[Any]:
    """The tensors of ``group`` as views of one new flat buffer in which ``new`` stands in the first one's place.

    Elements that only tensors that are not ``related`` to the first one have come from those.
    """
    itemsize = new.element_size()
    lowest = [_address(t._array) + sum(min(0, (n - 1) * s) for n, s in zip(t.shape, t._array.strides)) for t in group]
    origin = min(lowest)
    starts = [(_address(t._array) - origin) // itemsize for t in group]
    places = [_places(a, t.shape, t._array.strides, itemsize) for a, t in zip(starts, group)]
    length = 1 + max(int(p.max()) for p in places)
    buffer = type(new)._wrap(new._xp.zeros(length, new.dtype))
    covered = np.zeros(length, bool)
    order = sorted(range(len(group)), key=lambda i: (not related[i], -group[i].numel()))
    for t, place in ((group[i], places[i]) for i in order):
        lacking = ~covered[place]
        if lacking.any():  # the base comes first and holds what its views hold
            buffer = put_flat(buffer, t.reshape(-1)[lacking], place[lacking])
            covered[place] = True
    buffer = put_flat(buffer, new.reshape(-1), places[0])
    return [
        _view_of_buffer(buffer, start=start, shape=t.shape, strides=t._array.strides) for start, t in zip(starts, group)
    ]
