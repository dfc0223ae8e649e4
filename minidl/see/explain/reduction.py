"""Sums, means, extremes, running sums and products over axes."""

from __future__ import annotations

import math

import numpy as np

from ..terms import rounding
from .base import (
    Array,
    Explainer,
    Factor,
    Index,
    Made,
    Record,
    Slopes,
    Step,
    Terms,
    Trace,
    Value,
    column_of,
    constant_column,
    grid,
    register,
    short,
)  # fmt: skip


def _axes(r: Record) -> tuple[int, ...]:
    return tuple(r.attrs["axes"])


def _read(r: Record, index: Index) -> Array:
    """All places of the argument that a reduced result at ``index`` was made of."""
    axes, shape = _axes(r), r.args[0].shape
    rest = iter(index)
    chosen: list = []
    for a, n in enumerate(shape):
        if a in axes:
            chosen.append(range(n))
            if r.attrs["keepdim"]:
                next(rest)
        else:
            chosen.append(next(rest))
    return grid(*chosen) if chosen else np.zeros((1, 0), np.int64)


def _goes_to(r: Record, index: Index) -> Array:
    """The place in the result that an element of the argument is part of."""
    axes, keep = _axes(r), r.attrs["keepdim"]
    place = [0 if a in axes else i for a, i in enumerate(index) if keep or a not in axes]
    return np.array([place], np.int64).reshape(1, len(place))


@register
class Total(Explainer):
    """Sums and means."""

    names = ("sum", "mean")
    uniform = True

    def _share(self, r: Record) -> float:
        count = math.prod(r.args[0].shape[a] for a in _axes(r))
        return 1.0 if r.op == "sum" else 1.0 / max(count, 1)

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        at = _read(r, index)
        x, share = column_of("x", r.args[0], at), self._share(r)
        n = len(at)
        columns = [x] if r.op == "sum" else [x, constant_column("1/n", f"1/{n}", share, n)]
        terms = Terms(columns, x.values * share)
        computed = math.fsum(x.values.tolist()) * share
        bound = rounding(r.outputs[0].dtype, n + 1, terms.size, computed)
        formula = "y = sum of x" if r.op == "sum" else f"y = (sum of x) / {n}"
        follow = [(r.args[0], tuple(int(i) for i in at[terms.largest(1)[0]]))] if n else []
        return Made(formula, computed, bound, f"gamma_{n + 1} sum |terms|", terms, follow=follow)

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        at = _read(r, index)
        return [Slopes(0, at, np.full(len(at), self._share(r)))]

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        return [Slopes(0, _goes_to(r, index), np.array([self._share(r)]))]


@register
class Extreme(Explainer):
    """The largest or smallest, and where it stands."""

    names = ("amax", "amin")

    def _hits(self, r: Record, index: Index) -> tuple[Array, Array]:
        at = _read(r, index)
        return at, r.args[0].at(at) == r.outputs[0].read()[index]

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        at, hits = self._hits(r, index)
        winner = at[np.flatnonzero(hits)[:1]] if hits.any() else at[:1]
        terms = Terms([column_of("x", r.args[0], winner)], r.args[0].at(winner).astype(np.float64))
        notes = [f"{hits.sum()} of {len(at)} elements tie; each gets 1/{hits.sum()} of the gradient"]
        formula = "y = the largest of x" if r.op == "amax" else "y = the smallest of x"
        follow = [(r.args[0], tuple(int(i) for i in winner[0]))]
        return Made(formula, terms.total, 0.0, "a copy has the same bits", terms,
                    notes=notes if hits.sum() > 1 else [], follow=follow)  # fmt: skip

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        at, hits = self._hits(r, index)
        return [Slopes(0, at[hits], np.full(int(hits.sum()), 1 / max(int(hits.sum()), 1)))]

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        place = _goes_to(r, index)
        _, hits = self._hits(r, tuple(int(i) for i in place[0]))
        mine = bool(r.args[0].read()[index] == r.outputs[0].read()[tuple(place[0])])
        return [Slopes(0, place, np.array([mine / max(int(hits.sum()), 1)]))]


@register
class RunningSum(Explainer):
    """Sums of all elements up to one."""

    names = ("cumsum",)

    def _along(self, r: Record, index: Index, positions: range) -> Array:
        axis = _axis(r)
        return grid(*(positions if a == axis else i for a, i in enumerate(index)))

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        at = self._along(r, index, range(index[_axis(r)] + 1))
        x = column_of("x", r.args[0], at)
        terms = Terms([x], x.values)
        bound = rounding(r.outputs[0].dtype, len(terms), terms.size, terms.total)
        return Made("y[i] = x[0] + ... + x[i]", terms.total, bound, f"gamma_{len(terms)} sum |terms|", terms)

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        at = self._along(r, index, range(index[_axis(r)] + 1))
        return [Slopes(0, at, np.ones(len(at)))]

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        axis = _axis(r)
        at = self._along(r, index, range(index[axis], r.args[0].shape[axis]))
        return [Slopes(0, at, np.ones(len(at)))]


def _axis(r: Record) -> int:
    return int(next(v for k, v in r.attrs.items() if k in ("axis", "dim")))


@register
class Search(Explainer):
    """Results without a gradient: where an extreme stands, whether any or all are true."""

    names = ("argmax", "argmin", "any", "all")

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        stored = float(r.outputs[output].read()[index])
        again = r.primitive.forward(*(a.read() if isinstance(a, Value) else a for a in r.args), **r.attrs)
        computed = float(np.asarray(again)[index])
        step = Step(r.op, f"{r.op} over {r.args[0].name} {r.args[0].shape} = {short(computed)}", computed)
        return Made(f"y = {r.op}(x)", computed, 0.0, "no rounding", steps=[step],
                    notes=[] if stored == computed else ["the stored result differs"])  # fmt: skip

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        return []

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        return []


__all__ = ["Factor", "Total"]
