"""Resizing: every result is a weighted mean of one (nearest) or two (linear) positions on each axis."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from ...kernels.spec.resize import Resize, resize
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


@lru_cache(maxsize=64)
def matrix(problem: Resize, axis: int) -> Array:
    """The weights of one axis as a matrix (out, size): what the resizing makes of unit vectors."""
    line = problem.axes[axis]
    units = np.eye(line.size)[None]  # (1, C = size, size)
    mode = replace(problem, batch=1, channels=line.size, axes=(line,))
    return resize(units, mode)[0].T


def _sparse(problem: Resize, index: Index, transposed: bool) -> tuple[Array, Array]:
    """Places with a weight other than 0, and the weights: of what output ``index`` reads, or what reads input it."""
    places, weights = [], []
    for axis, i in enumerate(index[2:]):
        w = matrix(problem, axis)
        line = w[:, i] if transposed else w[i]
        places.append(np.flatnonzero(line))
        weights.append(line[places[-1]])
    at = grid(*index[:2], *places)
    product = np.ones(1)
    for w in weights:
        product = np.multiply.outer(product, w).ravel()
    return at, product


@register
class Resizing(Explainer):
    """A weighted mean of few positions, and its gradient."""

    names = ("resize", "resize_grad")

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        at, weights = _sparse(r.attrs["problem"], index, r.op == "resize_grad")
        x = column_of("x" if r.op == "resize" else "g", r.args[0], at)
        terms = Terms([x, constant_column("weight", "weight", 0.0, len(at))], x.values * weights)
        terms.columns[1].values[:] = weights
        n = 3 * (len(r.attrs["problem"].axes) + 1) + len(terms)
        bound = rounding(r.outputs[0].dtype, n, terms.size, terms.total)
        formula = "y = sum over the nearest positions of weight * x"
        if r.op == "resize_grad":
            formula = "dx = sum over the outputs that read this position of weight * g"
        return Made(formula, terms.total, bound, f"gamma_{n} sum |terms|", terms)

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        at, weights = _sparse(r.attrs["problem"], index, r.op == "resize_grad")
        return [Slopes(0, at, weights, roundings=12)]

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        at, weights = _sparse(r.attrs["problem"], index, r.op == "resize")
        return [Slopes(0, at, weights, roundings=12)]
