"""Convolution, transposed convolution and their weight gradient: three sides of one trilinear form.

With i = p * stride + t * dilation - low (window p, tap t, position i) the products x[n, c, i] w[k, c, t] y[n, k, p]
are enumerated from whichever element is given: all that one output reads (``of_y``), all outputs that read one input
(``of_x``), all places where one weight was used (``of_w``).  A convolution sums over the first, its input gradient
(which is the transposed convolution) over the second, its weight gradient over the third.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...kernels.catalogue import plan
from ...kernels.cpu import winograd_tiles
from ...kernels.geometry import Axis, Conv
from ...kernels.spec import error_bounds
from ..terms import rounding
from .base import (
    Array,
    Column,
    Explainer,
    Factor,
    Index,
    Made,
    Record,
    Slopes,
    Terms,
    Trace,
    Value,
    column_of,
    grid,
    register,
)  # fmt: skip

SIDES = {"conv": ("x", "w", "y"), "conv_input_grad": ("w", "y", "x"), "conv_weight_grad": ("x", "y", "w")}
PASSES = {"conv": "forward", "conv_input_grad": "input_grad", "conv_weight_grad": "weight_grad"}
FORMULAS = {
    "conv": "y[n,k,p] = b[k] + sum over c, t of x[n,c,i] w[k,c,t]",
    "conv_input_grad": "y[n,c,i] = b[c] + sum over k and (p,t) that meet i of g[n,k,p] w[k,c,t]",
    "conv_weight_grad": "dw[k,c,t] = sum over n, p of x[n,c,i] g[n,k,p]",
}


class Products(NamedTuple):
    """All products that hold one element: where each of the three factors stands, and whether x is inside."""

    x: Array
    w: Array
    y: Array
    inside: Array


def positions(axis: Axis, window: Array, tap: Array) -> Array:
    """Equation (1) of ``kernels.geometry`` for arrays."""
    return axis.position(window, tap)  # type: ignore[arg-type,return-value]


def within(at: Array, conv: Conv) -> Array:
    """Which positions (n, axes) lie inside the image."""
    return np.asarray(((at >= 0) & (at < np.array(conv.size))).all(1))


def of_y(conv: Conv, index: Index) -> Products:
    """Everything that output (n, k, *p) reads, padding included."""
    n, k, *p = index
    depth = conv.in_channels // conv.groups
    taps = grid(range(depth), *map(range, conv.kernel))  # (C/G * R * S, 1 + ndim)
    first = k // (conv.out_channels // conv.groups) * depth
    at = np.stack([positions(a, np.array(q), taps[:, 1 + i]) for i, (a, q) in enumerate(zip(conv.axes, p))], 1)
    m = len(taps)
    x = np.column_stack([np.full(m, n), first + taps[:, 0], at])
    w = np.column_stack([np.full(m, k), taps])
    return Products(x, w, np.tile(np.array(index), (m, 1)), within(at, conv))


def of_x(conv: Conv, index: Index) -> Products:
    """Every output that reads input (n, c, *i), with the tap that does."""
    n, c, *i = index
    depth, filters = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    group = c // depth
    meets = []
    for a, position in zip(conv.axes, i):
        t = np.arange(a.kernel)
        reach = position + a.pad[0] - t * a.dilation
        p = reach // a.stride
        fits = (reach % a.stride == 0) & (p >= 0) & (p < a.out)
        meets.append(np.stack([p[fits], t[fits]], 1))
    chosen = grid(range(filters), *(range(len(pairs)) for pairs in meets))
    k = group * filters + chosen[:, 0]
    p, t = (np.stack([pairs[chosen[:, 1 + a], j] for a, pairs in enumerate(meets)], 1) for j in (0, 1))
    m = len(chosen)
    w = np.column_stack([k, np.full(m, c - group * depth), t])
    y = np.column_stack([np.full(m, n), k, p])
    return Products(np.tile(np.array(index), (m, 1)), w, y, np.ones(m, bool))


def of_w(conv: Conv, index: Index) -> Products:
    """Every place where weight (k, c, *t) was used."""
    k, c, *t = index
    windows = grid(range(conv.batch), *map(range, conv.out))  # (N * P * Q, 1 + ndim)
    at = np.stack([positions(a, windows[:, 1 + i], np.array(u)) for i, (a, u) in enumerate(zip(conv.axes, t))], 1)
    m = len(windows)
    channel = k // (conv.out_channels // conv.groups) * (conv.in_channels // conv.groups) + c
    x = np.column_stack([windows[:, 0], np.full(m, channel), at])
    y = np.column_stack([windows[:, 0], np.full(m, k), windows[:, 1:]])
    return Products(x, np.tile(np.array(index), (m, 1)), y, within(at, conv))


FROM = {"x": of_x, "w": of_w, "y": of_y}


def picked(letter: str, value: Value, index: Array, inside: Array) -> Column:
    """A column of elements, 0 where x lies outside."""
    values = np.zeros(len(index))
    values[inside] = value.at(index[inside])
    return Column(letter, value.name, index, values)


@register
class Convolution(Explainer):
    """The three passes of a convolution: each result is a sum of products."""

    names = ("conv", "conv_input_grad", "conv_weight_grad")

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        conv: Conv = r.attrs["conv"]
        *sides, result = SIDES[r.op]
        products = FROM[result](conv, index)
        columns = [
            picked({"y": "g"}.get(side, side), value, getattr(products, side), products.inside)
            if side == "x"
            else column_of({"y": "g"}.get(side, side), value, getattr(products, side))
            for side, value in zip(sides, r.args)
        ]
        terms = Terms(columns, columns[0].values * columns[1].values, ~products.inside)
        addends = []
        if len(r.args) > 2 and r.args[2] is not None:
            addends.append(Factor(r.args[2].name, (index[1],), r.args[2].item((index[1],))))
        computed = terms.total + sum(f.value for f in addends)
        bound, rule = self._bound(r, conv, terms, addends, products, computed)
        outside = int((~products.inside).sum())
        notes = [f"{outside} of {len(terms)} terms read padding and are 0"] if outside else []
        return Made(FORMULAS[r.op], computed, bound, rule, terms, addends, [], notes)

    def _bound(
        self, r: Record, conv: Conv, terms: Terms, addends: list[Factor], products: Products, computed: float
    ) -> tuple[float, str]:
        dtype, pass_ = r.outputs[0].dtype, PASSES[r.op]
        algorithm = plan("conv", pass_, conv, dtype=dtype, algorithm=r.attrs["algorithm"]).algorithm
        size = terms.size + sum(abs(f.value) for f in addends)
        if algorithm not in ("fft", "winograd"):
            n = max(len(terms), 1) + len(addends)
            return rounding(dtype, n, size, computed), f"{algorithm}: gamma_{n} sum |terms|, any order of summation"
        arrays = _cropped(r, conv, products)
        if arrays is None:
            return rounding(dtype, 1, size, computed), f"{algorithm}: no products"
        small, a, b = arrays
        options = winograd_tiles.options(pass_, conv) if algorithm == "winograd" else {}
        limit = float(error_bounds.error_bound(algorithm, pass_, a, b, small, dtype, **options).max())
        return limit + rounding(dtype, 2, size, computed), f"{algorithm}: the bound of kernels.spec.error_bounds"

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        *sides, result = SIDES[r.op]
        return self._slopes(r, FROM[result](r.attrs["conv"], index), sides, sides) + self._bias_row(r, index)

    def _bias_row(self, r: Record, index: Index) -> list[Slopes]:
        if len(r.args) < 3 or r.args[2] is None:
            return []
        return [Slopes(2, np.array([[index[1]]]), np.ones(1))]

    def _slopes(self, r: Record, products: Products, wanted: list[str], sides: list[str]) -> list[Slopes]:
        """For each wanted side its elements; the slope is the other argument's element."""
        found = []
        keep = products.inside
        for position, side in enumerate(wanted):
            other = 1 - position
            at = getattr(products, sides[other])[keep]
            why = column_of({"y": "g"}.get(sides[other], sides[other]), r.args[other], at)
            found.append(Slopes(position, getattr(products, side)[keep], why.values, why))
        return found

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        conv: Conv = r.attrs["conv"]
        *sides, result = SIDES[r.op]
        if argument == 2:  # the bias of a channel is added to all its outputs
            shape = r.outputs[0].shape
            at = grid(range(shape[0]), index[0], *map(range, shape[2:]))
            return [Slopes(0, at, np.ones(len(at)))]
        products = FROM[sides[argument]](conv, index)
        other = 1 - argument
        keep = products.inside
        why = column_of(
            {"y": "g"}.get(sides[other], sides[other]), r.args[other], getattr(products, sides[other])[keep]
        )
        return [Slopes(0, getattr(products, result)[keep], why.values, why)]


def _cropped(r: Record, conv: Conv, products: Products) -> tuple[Conv, Array, Array] | None:
    """The smallest convolution that contains this element, for the bounds of the tiled algorithms.

    One image or one pair of channels: the bounds of Winograd and FFT hold for it elementwise, or as a norm over the
    spatial axes, which no element exceeds.
    """
    if not len(products.x):
        return None
    one = dict.fromkeys(("size", "kernel", "stride", "padding", "dilation"))
    rest = {name: getattr(conv, name) for name in one}
    depth, filters = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    first, second = (a.read() for a in r.args[:2])
    k, n = int(products.y[0, 1]), int(products.y[0, 0])
    group = k // filters
    channels, chosen = slice(group * depth, (group + 1) * depth), slice(group * filters, (group + 1) * filters)
    if r.op == "conv":
        return Conv(1, depth, 1, **rest, groups=1), first[n : n + 1, channels], second[k : k + 1]
    if r.op == "conv_input_grad":
        c = int(products.w[0, 1])
        return Conv(1, 1, filters, **rest, groups=1), first[chosen, c : c + 1], second[n : n + 1, chosen]
    c = int(products.x[0, 1])
    return Conv(conv.batch, 1, 1, **rest, groups=1), first[:, c : c + 1], second[:, k : k + 1]


def senders(r: Record, s: Slopes) -> Array:
    """How many results share in the gradient of each element ``s.index`` of an argument."""
    conv: Conv = r.attrs["conv"]
    sides = SIDES[r.op][:2]
    side = "b" if s.position == 2 else sides[s.position]
    if side == "b":
        shape = r.outputs[0].shape
        return np.full(len(s.index), int(np.prod(shape)) // shape[1])
    enumerate_, seen, counts = FROM[side], {}, []
    for i in s.index.tolist():
        # what counts of an element is where it stands, not its image or channel (w: not its filter)
        key = tuple(i[2:])
        if key not in seen:
            seen[key] = int(enumerate_(conv, tuple(i)).inside.sum())
        counts.append(seen[key])
    return np.array(counts, np.int64)
