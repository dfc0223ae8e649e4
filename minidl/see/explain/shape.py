"""Operations that only move numbers, and their transposes, which add up what meets.

Where an element comes from is found by the operation itself: it is run on the numbers of the elements instead of
their values.  A move tells so where each result comes from; the gradient rule of an adding operation, which is a
move, where each of its arguments goes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...autograd.mode import no_grad
from ...tensor import Tensor
from ..terms import rounding
from .base import (
    Array,
    Explainer,
    Index,
    Made,
    Record,
    Slopes,
    Terms,
    Trace,
    Value,
    column_of,
    register,
)  # fmt: skip


def source_map(trace: Trace, r: Record) -> tuple[list[Array], list[int]]:
    """For each result the number of the element that each of its elements is (0: none), counted from 1 through all
    tensor arguments; and where each argument's numbers begin."""
    if (key := ("sources", r.number)) not in trace.cache:
        starts: list[int] = []
        stand_ins: list[Any] = []
        total = 1
        for a in r.args:
            starts.append(total)
            if isinstance(a, Value):
                n = math.prod(a.shape)
                stand_ins.append(np.arange(total, total + n, dtype=np.float64).reshape(a.shape))
                total += n
            else:
                stand_ins.append(0.0 if isinstance(a, (int, float)) else a)
        attrs = {**r.attrs, "value": 0} if r.op == "pad" else r.attrs
        made = r.primitive.forward(*stand_ins, **attrs)
        results = [np.asarray(m).astype(np.int64) for m in (made if isinstance(made, tuple) else (made,))]
        trace.cache[key] = results, starts
    return trace.cache[key]


def _owner(r: Record, starts: list[int], number: int) -> tuple[int, Index]:
    """The argument and place that a number of :func:`source_map` means."""
    position = max(i for i, s in enumerate(starts) if s <= number and isinstance(r.args[i], Value))
    return position, tuple(int(i) for i in np.unravel_index(number - starts[position], r.args[position].shape))


def as_rows(flat: Array, shape: tuple[int, ...]) -> Array:
    """Flat element numbers as indices (n, ndim)."""
    return np.stack(np.unravel_index(flat, shape), 1) if shape else np.zeros((len(flat), 0), np.int64)


@register
class Move(Explainer):
    """Operations that bring elements to another place: each result is one that there was, or a constant."""

    names = (
        "reshape", "permute", "flip", "roll", "cat", "split", "getitem", "index_put", "expand", "view", "unfold", "pad",
        "max_pool_gather", "max_unpool", "maxout_gather", "module_boundary", "roi_gather",
    )  # fmt: skip

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        found = _source(trace, r, output, index)
        if found is None:
            stored = r.outputs[output].item(index)
            what = f"no element stands here: it is filled with {stored:g}"
            return Made("y = constant", stored, 0.0, "a constant", notes=[what])
        position, at = found
        source = r.args[position]
        terms = Terms([column_of("x", source, _row(at))], np.array([source.item(at)]))
        return Made("y = x, moved", terms.total, 0.0, "a copy has the same bits", terms, follow=[(source, at)])

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        found = _source(trace, r, output, index)
        return [] if found is None else [Slopes(found[0], _row(found[1]), np.ones(1))]

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        return [Slopes(output, rows, np.ones(len(rows))) for output, rows in _goals(trace, r, argument, index)]


def _row(index: Index) -> Array:
    return np.array([index], np.int64).reshape(1, len(index))


def _source(trace: Trace, r: Record, output: int, index: Index) -> tuple[int, Index] | None:
    """The argument and place that a result is a copy of; None for a constant."""
    if r.op == "permute":  # the big ones by arithmetic: a map of a large weight would take longer than all else
        at = [0] * len(index)
        for axis, i in zip(r.attrs["dims"], index):
            at[axis] = i
        return 0, tuple(at)
    if r.op == "reshape":
        return 0, _reshaped(index, r.outputs[0].shape, r.args[0].shape)
    results, starts = source_map(trace, r)
    number = int(results[output][index])
    return _owner(r, starts, number) if number else None


def _goals(trace: Trace, r: Record, argument: int, index: Index) -> list[tuple[int, Array]]:
    """For each result, the places where an element of an argument stands."""
    if r.op == "permute":
        return [(0, _row(tuple(index[axis] for axis in r.attrs["dims"])))]
    if r.op == "reshape":
        return [(0, _row(_reshaped(index, r.args[0].shape, r.outputs[0].shape)))]
    results, starts = source_map(trace, r)
    number = starts[argument] + (int(np.ravel_multi_index(index, r.args[argument].shape)) if index else 0)
    flat = [np.flatnonzero(result.ravel() == number) for result in results]
    return [(output, as_rows(f, results[output].shape)) for output, f in enumerate(flat) if len(f)]


def _reshaped(index: Index, shape: tuple[int, ...], other: tuple[int, ...]) -> Index:
    """The place in ``other`` of the element that stands at ``index`` in ``shape``."""
    flat = int(np.ravel_multi_index(index, shape)) if index else 0
    return tuple(int(i) for i in np.unravel_index(flat, other)) if other else ()


def goal_map(trace: Trace, r: Record, argument: int) -> Array:
    """For each element of ``argument`` of an adding operation, the flat place in the result that it is added to."""
    if (key := ("goals", r.number, argument)) not in trace.cache:
        shape = r.outputs[0].shape
        count = Tensor._wrap(np.arange(math.prod(shape), dtype=np.float64).reshape(shape))
        args = [Tensor._wrap(a.read()) if isinstance(a, Value) else a for a in r.args]
        with no_grad():
            goals: Any = r.primitive.rules[argument].function(count, count, *args, **r.attrs)  # type: ignore[union-attr]
        trace.cache[key] = np.broadcast_to(goals.numpy().astype(np.int64), r.args[argument].shape)
    return trace.cache[key]


@register
class Scatter(Explainer):
    """Operations that add elements into places: each result is a sum of those that were sent there."""

    names = ("fold", "put_add", "scatter_add", "max_pool_scatter", "maxout_scatter", "roi_scatter", "sum_to")

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        here = int(np.ravel_multi_index(index, r.outputs[0].shape)) if index else 0
        columns = []
        for position, a in enumerate(r.args):
            if isinstance(a, Value):
                flat = np.flatnonzero(goal_map(trace, r, position).ravel() == here)
                if len(flat) or len(r.args) == 1:
                    columns.append(column_of(r.argument_name(position), a, as_rows(flat, a.shape)))
        if len(columns) > 1:  # base and what is added to it: one column cannot hold both sources
            addends = [c[0] for c in columns[:-1]]
        else:
            addends = []
        terms = Terms(columns[-1:], columns[-1].values) if columns else Terms([], np.zeros(0))
        computed = math.fsum([terms.total, *(f.value for f in addends)])
        n = len(terms) + len(addends)
        size = terms.size + sum(abs(f.value) for f in addends)
        bound = rounding(r.outputs[0].dtype, max(n - 1, 0), size, computed if n > 1 else 0.0)
        follow = [(a, tuple(columns[0].index[0])) for a in r.args[:1] if n == 1 and columns[0].index is not None]
        return Made("y = sum of all that lands here", computed, bound, f"gamma_{n} sum |terms|", terms, addends,
                    follow=follow)  # fmt: skip

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        here = int(np.ravel_multi_index(index, r.outputs[0].shape)) if index else 0
        found = []
        for position, a in enumerate(r.args):
            if isinstance(a, Value):
                flat = np.flatnonzero(goal_map(trace, r, position).ravel() == here)
                found.append(Slopes(position, as_rows(flat, a.shape), np.ones(len(flat))))
        return found

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        flat = np.array([goal_map(trace, r, argument)[index]])
        return [Slopes(0, as_rows(flat, r.outputs[0].shape), np.ones(1))]
