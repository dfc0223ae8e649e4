"""Joining arrays: rows of memory, to each of which every part gives some bytes, copied by all threads.

In memory the result is a number of rows, one for each position along the axes that lie outside the joined one.  In a
row the parts lie one behind the other: all channels of a pixel where storage is channels-last, all planes of an image
where it is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from .elements import seconds
from .pieces import Address, outside_of_loops, read, run
from .places import address
from .relayout import empty_like_strides
from .simd import Lanes, copy_bytes

PIECE = 1 << 16  # bytes that a piece of work copies
BYTES = Lanes("int32", 1)  # a compile-time value has to be; the loop does not ask what it copies

Ints = tuple[int, ...]


class _Rows(NamedTuple):
    target: Address
    count: int
    width: int  # bytes of a row
    block: int  # rows of a piece
    spans: int  # pieces of a row
    parts: int


class _Part(NamedTuple):
    source: Address
    width: int  # bytes that it gives to each row
    step: int  # bytes from row to row


class _Plan(NamedTuple):
    """What follows from shapes and strides; addresses are 0."""

    shape: Ints
    strides: Ints
    rows: _Rows
    parts: tuple[_Part, ...]
    pieces: int


def concatenate(arrays: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """The arrays along ``axis``: ``kernels.joining.concatenate``."""
    dtype = arrays[0].dtype
    alike = all(a.dtype == dtype for a in arrays)
    plan = _plan(axis, dtype.itemsize, *[(a.shape, a.strides) for a in arrays]) if alike else None
    if plan is None:
        outside_of_loops()
        return np.concatenate(arrays, axis=axis)
    result, target = empty_like_strides(plan.shape, plan.strides, dtype)
    parts = [part._replace(source=address(a)) for part, a in zip(plan.parts, arrays)]
    run(_copy_piece, BYTES, (plan.rows._replace(target=target), *parts), plan.pieces, seconds(result, result))
    return result


@lru_cache(maxsize=4096)
def _plan(axis: int, itemsize: int, *parts: tuple[Ints, Ints]) -> _Plan | None:
    """How to join arrays of these shapes and strides; None where they do not fit, lie in no rows, or are empty."""
    shapes, first = [shape for shape, _ in parts], parts[0][0]
    if not -len(first) <= axis < len(first) or any(len(shape) != len(first) or not prod(shape) for shape in shapes):
        return None
    axis %= len(first)
    if len({(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}) > 1:
        return None
    whole = (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])
    for order in _orders(shapes, axis):
        strides = _dense(whole, order, itemsize)
        found = [_part(shape, steps, strides, order, axis) for shape, steps in parts]
        if None not in found:
            width = strides[axis] * whole[axis]
            count, block, spans = prod(whole) * itemsize // width, max(1, PIECE // width), -(-width // PIECE)
            rows = _Rows(0, count, width, block, spans, len(parts))
            return _Plan(whole, strides, rows, tuple(part for part in found if part), -(-count // block) * spans)
    return None


def _orders(shapes: list[Ints], axis: int) -> list[Ints]:
    """The axes from the outermost in memory to the innermost, as NumPy stores what it joins: if all parts lie so, in C
    order, otherwise channels-last.  Where no part tells the two apart NumPy has a third way, which is its own."""
    axes = tuple(range(len(shapes[0])))
    told = all(any(shape[i] > 1 for shape in shapes) for i in {1, axis or 1}) if len(axes) > 2 else False
    return [axes, (0, *axes[2:], 1)] if told else [axes]


def _dense(shape: Ints, order: Ints, itemsize: int) -> Ints:
    """The strides without gaps."""
    strides, step = [0] * len(shape), itemsize
    for i in reversed(order):
        strides[i], step = step, step * shape[i]
    return tuple(strides)


def _part(shape: Ints, steps: Ints, strides: Ints, order: Ints, axis: int) -> _Part | None:
    """What an array gives to each row; None where it does not lie in rows whose elements have these ``strides``."""
    at = order.index(axis)
    width, outside = strides[axis] * shape[axis], [i for i in order[:at] if shape[i] > 1]
    together = all(steps[i] == strides[i] for i in order[at:] if shape[i] > 1)
    evenly = all(steps[i] == steps[j] * shape[j] for i, j in pairwise(outside))
    step = steps[outside[-1]] if outside else width
    return _Part(0, width, step) if together and evenly and step >= width else None


@native
def _copy_piece(_bytes: Any, arguments: int, piece: int) -> None:
    r = read(_Rows, arguments)
    first, low = piece // r.spans * r.block, piece % r.spans * PIECE
    high = min(low + PIECE, r.width)
    for row in range(first, min(first + r.block, r.count)):
        target, at, place = r.target + row * r.width, 0, arguments + 8 * len(r)
        for _ in range(r.parts):
            p = read(_Part, place)
            begin, stop = max(low, at), min(high, at + p.width)
            if begin < stop:
                copy_bytes(target + begin, p.source + row * p.step + begin - at, stop - begin)
            at, place = at + p.width, place + 8 * len(p)
