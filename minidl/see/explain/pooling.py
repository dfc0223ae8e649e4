"""Pools: who won a maximum (and who tied), what went into an average."""

from __future__ import annotations

import math

import numpy as np

from ...kernels.geometry import Axis
from ...kernels.pooling import AdaptiveAxis, Pool
from ...kernels.spec.pooling import reach, taps
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
    column_of,
    constant_column,
    grid,
    register,
)  # fmt: skip


def window(pool: Pool, index: Index) -> Array:
    """The input places (n, ndim) of window ``index`` = (n, c, *p), padding left out."""
    return grid(index[0], index[1], *(taps(a, p) for a, p in zip(pool.axes, index[2:])))


def windows_with(axis: Axis | AdaptiveAxis, i: int) -> list[int]:
    """The windows along one axis that hold position i."""
    if isinstance(axis, AdaptiveAxis):
        return [
            p for p in range(axis.out) if i in range(p * axis.size // axis.out, -(-(p + 1) * axis.size // axis.out))
        ]
    found = []
    for t in range(axis.kernel):
        p, rest = divmod(i + axis.pad[0] - t * axis.dilation, axis.stride)
        if rest == 0 and 0 <= p < axis.out:
            found.append(p)
    return sorted(found)


def divisor(r: Record, index: Index) -> float:
    """What the sum of window ``index`` is divided by."""
    if r.attrs["divisor"] is not None:
        return float(r.attrs["divisor"])
    count = 1
    for axis, p in zip(r.attrs["pool"].axes, index[2:]):
        if r.attrs["include_pad"] and isinstance(axis, Axis):
            count *= sum(t < axis.size + axis.pad[1] for t in reach(axis, p))
        else:
            count *= len(taps(axis, p))
    return float(count)


@register
class MaxPool(Explainer):
    """Two results: the largest of each window, and its flat place in the plane."""

    names = ("max_pool", "maxout")

    def _window(self, r: Record, index: Index) -> Array:
        if r.op == "max_pool":
            return window(r.attrs["pool"], index)
        group = r.attrs["pool"]
        n, c, *rest = index
        return grid(n, range(c * group, (c + 1) * group), *rest)

    def _winner(self, r: Record, index: Index) -> Index:
        flat = int(r.outputs[1].read()[index])
        if r.op == "maxout":
            return (index[0], flat, *index[2:])
        return (*index[:2], *(int(i) for i in np.unravel_index(flat, r.args[0].shape[2:])))

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        at, winner = self._window(r, index), self._winner(r, index)
        x = column_of("x", r.args[0], at)
        best = r.args[0].item(winner)
        ties = int((x.values == best).sum())
        won = (at == np.array(winner)).all(1)
        terms = Terms([x, constant_column("wins", "wins", 1.0, len(at))], np.where(won, x.values, 0.0))
        terms.columns[1].values[~won] = 0.0
        notes = (
            [f"{ties} of {len(at)} elements tie at the maximum; the first takes all of the gradient"]
            if ties > 1
            else []
        )
        if output == 1:
            place = winner[1] if r.op == "maxout" else np.ravel_multi_index(winner[2:], r.args[0].shape[2:])
            return Made("the flat place of the largest", float(place), 0.0, "no rounding", terms, notes=notes)
        right = best == x.values.max(initial=-math.inf) or math.isnan(best)
        computed = best if right else float(x.values.max())
        return Made("y = the largest of the window", computed, 0.0, "a copy has the same bits", terms, notes=notes,
                    follow=[(r.args[0], winner)])  # fmt: skip

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        return [Slopes(0, np.array([self._winner(r, index)]), np.ones(1))] if output == 0 else []

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        winners = r.outputs[1].read()
        if r.op == "maxout":
            at = np.array([(index[0], index[1] // r.attrs["pool"], *index[2:])])
            won = winners[tuple(at.T)] == index[1]
        else:
            pool: Pool = r.attrs["pool"]
            at = grid(*index[:2], *(windows_with(a, i) for a, i in zip(pool.axes, index[2:])))
            won = winners[tuple(at.T)] == np.ravel_multi_index(index[2:], r.args[0].shape[2:])
        return [Slopes(0, at[won], np.ones(int(won.sum())))]


@register
class AvgPool(Explainer):
    """The mean of a window, and backwards what the windows that hold a position send it."""

    names = ("avg_pool", "avg_pool_grad")

    def _read(self, r: Record, index: Index) -> tuple[Array, Array]:
        """From the small side to the large one: the places of a window, each with its share."""
        at = window(r.attrs["pool"], index)
        return at, np.full(len(at), 1 / divisor(r, index))

    def _held(self, r: Record, index: Index) -> tuple[Array, Array]:
        """From the large side to the small one: the windows that hold a position, with the share that each gives."""
        pool: Pool = r.attrs["pool"]
        at = grid(*index[:2], *(windows_with(a, i) for a, i in zip(pool.axes, index[2:])))
        return at, np.array([1 / divisor(r, tuple(p)) for p in at.tolist()])

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        at, share = self._read(r, index) if r.op == "avg_pool" else self._held(r, index)
        x = column_of("x" if r.op == "avg_pool" else "g", r.args[0], at)
        terms = Terms([x, constant_column("1/n", "1/n", 0.0, len(at))], x.values * share)
        terms.columns[1].values[:] = share
        n = len(terms) + 2
        bound = rounding(r.outputs[0].dtype, n, terms.size, terms.total)
        formula = "y = (sum of the window) / n"
        if r.op == "avg_pool_grad":
            formula = "dx = sum over the windows that hold this place of g / n"
        return Made(formula, terms.total, bound, f"gamma_{n} sum |terms|", terms)

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        return [Slopes(0, *(self._read(r, index) if r.op == "avg_pool" else self._held(r, index)))]

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        return [Slopes(0, *(self._held(r, index) if r.op == "avg_pool" else self._read(r, index)))]
