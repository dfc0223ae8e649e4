"""Normalisation: y = (x - mean) / sqrt(variance + eps) over a set of elements, and the scale and shift behind it.

``standardize`` is the core of layer, group and instance norm; ``batch_norm`` has weight and bias with it;
``scale_shift`` is y = x * scale + shift by channel, which is all that batch norm does in evaluation.
"""

from __future__ import annotations

import math

import numpy as np

from ...kernels.spec.error_bounds import gamma
from ..errors import SeeError
from ..terms import rounding
from .base import (
    REGISTRY,
    Array,
    Column,
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


@register
class Standardize(Explainer):
    """Results: y, mean, variance."""

    names = ("standardize",)
    uniform = True

    def _set(self, r: Record, index: Index) -> Array:
        axes = r.attrs["axes"]
        return grid(*(range(n) if a in axes else i for a, (n, i) in enumerate(zip(r.args[0].shape, index))))

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        at = self._set(r, index)
        x, dtype, m = column_of("x", r.args[0], at), r.outputs[0].dtype, len(at)
        mean = math.fsum(x.values.tolist()) / m
        variance = math.fsum(((x.values - mean) ** 2).tolist()) / m
        eps = r.attrs["eps"]
        root = math.sqrt(variance + eps)
        size = float(np.abs(x.values).mean())
        off_mean = rounding(dtype, m + 1, size, mean)
        off_variance = gamma(m + 4, dtype) * variance + off_mean**2
        steps = [
            Step("mean", f"mean of {m} values = {short(mean)}", mean),
            Step("variance", f"mean of (x - mean)^2 = {short(variance)}", variance),
        ]
        share = constant_column("1/n", f"1/{m}", 1 / m, m)
        if output == 1:
            return Made("mean = sum of x / n", mean, off_mean, f"gamma_{m + 1} mean |x|",
                        Terms([x, share], x.values / m), steps=steps[:1])  # fmt: skip
        if output == 2:
            return Made("variance = mean of (x - mean)^2", variance, off_variance, f"gamma_{m + 4} variance + mean's^2",
                        Terms([x, share], (x.values - mean) ** 2 / m), steps=steps)  # fmt: skip
        here = r.args[0].item(index)
        y = (here - mean) / root
        steps.append(Step("y", f"({short(here)} - {short(mean)}) / sqrt({short(variance)} + {eps:g}) = {short(y)}", y))
        bound = (off_mean + rounding(dtype, 2, abs(here) + abs(mean))) / root
        bound += abs(y) * off_variance / (2 * root * root) + rounding(dtype, 6, abs(y), y)
        terms = Terms([x, share], x.values / m)
        rule = f"gamma_{m + 1} mean |x| in the mean, gamma_{m + 4} in the variance"
        return Made("y = (x - mean) / sqrt(variance + eps)", y, bound, rule, terms, steps=steps,
                    notes=["the terms are those of the mean"])  # fmt: skip

    def _slopes(self, r: Record, output: int, index: Index) -> Slopes:
        """y: (d_ij - 1/m - y_i y_j / m) / root, symmetric in i and j; mean: 1/m; variance: 2 (x - mean) / m."""
        at = self._set(r, index)
        m = len(at)
        place = tuple(0 if a in r.attrs["axes"] else i for a, i in enumerate(index))
        mean, variance = (float(r.outputs[i].read()[place]) for i in (1, 2))
        root = math.sqrt(variance + r.attrs["eps"])
        if output == 1:
            return Slopes(0, at, np.full(m, 1 / m))
        if output == 2:
            return Slopes(0, at, 2 * (r.args[0].at(at).astype(np.float64) - mean) / m, roundings=m)
        y = r.outputs[0].at(at).astype(np.float64)
        mine = float(r.outputs[0].read()[index])
        here = (at == np.array(index)).all(1)
        # the two means round as sums of m terms: relative to each term's own size, not to what is left of them
        scale = (here + (1 + np.abs(y * mine)) / m) / root
        return Slopes(0, at, (here - 1 / m - y * mine / m) / root, roundings=m + 12, scale=scale)

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        if output:
            index = tuple(0 if a in r.attrs["axes"] else i for a, i in enumerate(index))
        return [self._slopes(r, output, index)]

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        found = [self._slopes(r, 0, index)]
        place = np.array([[0 if a in r.attrs["axes"] else i for a, i in enumerate(index)]])
        m = math.prod(r.args[0].shape[a] for a in r.attrs["axes"])
        used = [g is not None for g in r.cotangents]
        if len(used) > 1 and used[1]:
            found.append(Slopes(1, place, np.array([1 / m])))
        if len(used) > 2 and used[2]:
            distance = r.args[0].item(index) - float(r.outputs[1].read()[tuple(place[0])])
            found.append(Slopes(2, place, np.array([2 * distance / m]), roundings=m))
        return found


def channel(shape: tuple[int, ...], c: int) -> Array:
    """The places of channel ``c`` of (N, C, *size)."""
    return grid(range(shape[0]), c, *map(range, shape[2:]))


def _or(value: Value | None, c: int, default: float) -> float:
    return default if value is None else value.item((c,))


@register
class BatchNorm(Explainer):
    """Arguments x, weight, bias; results y, mean (C,), variance (C,), of which the last two are those of the batch."""

    names = ("batch_norm",)
    uniform = True

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        x, weight, bias = r.args
        c = index[1] if output == 0 else index[0]
        at, dtype = channel(x.shape, c), x.dtype
        m, values = len(at), column_of("x", x, at)
        mean, variance, off_mean, off_variance = statistics(values.values, dtype)
        terms = Terms([values, constant_column("1/n", f"1/{m}", 1 / m, m)], values.values / m)
        steps = [
            Step("mean", f"mean of {m} values = {short(mean)}", mean),
            Step("variance", f"mean of (x - mean)^2 = {short(variance)}", variance),
        ]
        if output == 1:
            return Made("mean = sum of x / n", mean, off_mean, f"gamma_{m + 1} mean |x|", terms, steps=steps[:1])
        if output == 2:
            terms.products = (values.values - mean) ** 2 / m
            rule = f"gamma_{m + 4} variance and the error of the mean"
            return Made("variance = mean of (x - mean)^2", variance, off_variance, rule, terms, steps=steps)
        here, root = x.item(index), math.sqrt(variance + r.attrs["eps"])
        w, b = _or(weight, c, 1.0), _or(bias, c, 0.0)
        normal = (here - mean) / root
        y = normal * w + b
        steps += [
            Step(
                "normalised",
                f"({short(here)} - {short(mean)}) / sqrt({short(variance)} + {r.attrs['eps']:g}) = {short(normal)}",
                normal,
            ),
            Step("scaled", f"{short(normal)} * {short(w)} + {short(b)} = {short(y)}", y),
        ]
        off = (off_mean + rounding(dtype, 2, abs(here) + abs(mean))) / root
        off += abs(normal) * off_variance / (2 * root * root)
        # a kernel may fold the mean into the shift, b - mean w / root, which cancels as x w / root + shift
        bound = abs(w) * off + rounding(dtype, 8, abs(w) * (abs(here) + abs(mean)) / root + abs(b), y)
        rule = f"gamma_{m + 1} mean |x| in the mean, gamma_{m + 4} in the variance, 8 roundings"
        notes = ["the terms are those of the mean"]
        return Made("y = (x - mean) / sqrt(variance + eps) * weight + bias", y, bound, rule, terms, [], steps, notes)

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        c = index[1] if output == 0 else index[0]
        found = [_channel_slopes(r, output, index, c)]
        if output == 0 and r.args[1] is not None:
            normal, size = _normal(r, np.array([index]))
            found.append(Slopes(1, np.array([[c]]), normal, None, 8, size))
        if output == 0 and r.args[2] is not None:
            found.append(Slopes(2, np.array([[c]]), np.ones(1)))
        return found

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        c = index[1] if argument == 0 else index[0]
        if argument:
            at = channel(r.args[0].shape, c)
            normal, size = _normal(r, at) if argument == 1 else (np.ones(len(at)), None)
            return [Slopes(0, at, normal, None, 8, size)]
        found = [_channel_slopes(r, 0, index, c)]
        m = len(found[0].index)
        used = [g is not None for g in r.cotangents]
        if used[1:2] == [True]:
            found.append(Slopes(1, np.array([[c]]), np.array([1 / m])))
        if used[2:3] == [True]:
            distance = r.args[0].item(index) - r.outputs[1].item((c,))
            found.append(Slopes(2, np.array([[c]]), np.array([2 * distance / m]), roundings=m))
        return found


def statistics(x: Array, dtype: np.dtype) -> tuple[float, float, float, float]:
    """Mean and variance of float64 values, and what rounding in ``dtype`` may change of each."""
    m = len(x)
    mean = math.fsum(x.tolist()) / m
    variance = math.fsum(((x - mean) ** 2).tolist()) / m
    off_mean = rounding(dtype, m + 1, float(np.abs(x).mean()), mean)
    off_variance = gamma(m + 4, dtype) * variance + off_mean**2 + 2 * rounding(dtype, 2, float(np.abs(x).max())) ** 2
    off_variance += 2 * rounding(dtype, 2, float((np.abs(x) * np.abs(x - mean)).mean()))
    return mean, variance, off_mean, off_variance


def _normal(r: Record, at: Array) -> tuple[Array, Array]:
    """(x - mean) / sqrt(variance + eps) at places ``at``, and the size of what cancels in it."""
    x, mean, variance = r.args[0], r.outputs[1].read(), r.outputs[2].read()
    c = at[:, 1]
    root = np.sqrt(variance[c].astype(np.float64) + r.attrs["eps"])
    values, centre = x.at(at).astype(np.float64), mean[c].astype(np.float64)
    return (values - centre) / root, (np.abs(values) + np.abs(centre)) / root


def _channel_slopes(r: Record, output: int, index: Index, c: int) -> Slopes:
    """Of y: weight / root (d_ij - 1/m - n_i n_j / m), symmetric in i and j; of the mean and the variance as known."""
    x = r.args[0]
    at = channel(x.shape, c)
    m = len(at)
    if output == 1:
        return Slopes(0, at, np.full(m, 1 / m))
    if output == 2:
        return Slopes(0, at, 2 * (x.at(at).astype(np.float64) - r.outputs[1].item((c,))) / m, roundings=m)
    normal, size = _normal(r, at)
    here = (at == np.array(index)).all(1)
    factor = _or(r.args[1], c, 1.0) / math.sqrt(r.outputs[2].item((c,)) + r.attrs["eps"])
    slope = factor * (here - 1 / m - normal * normal[here] / m)
    scale = abs(factor) * (here + (1 + size * size[here]) / m)
    return Slopes(0, at, slope, roundings=m + 16, scale=scale)


@register
class ScaleShift(Explainer):
    """y = x * scale + shift, both (C,)."""

    names = ("scale_shift",)
    uniform = True

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        x, scale, shift = r.args
        at, c = np.array([index]), np.array([[index[1]]])
        columns = [column_of("x", x, at), column_of("scale", scale, c)]
        terms = Terms(columns, columns[0].values * columns[1].values)
        addends = [] if shift is None else [Factor(shift.name, (index[1],), shift.item((index[1],)))]
        y = terms.total + sum(f.value for f in addends)
        bound = rounding(x.dtype, 2, terms.size + sum(abs(f.value) for f in addends), y)
        follow: list[tuple[Value, Index]] = [(v, (index[1],)) for v in (scale, shift) if v is not None]
        formula = "y = x * scale + shift"
        return Made(formula, y, bound, "gamma_2 (|x scale| + |shift|)", terms, addends, follow=follow)

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        at, c = np.array([index]), np.array([[index[1]]])
        x, scale = column_of("x", r.args[0], at), column_of("scale", r.args[1], c)
        found = [Slopes(0, at, scale.values, scale), Slopes(1, c, x.values, x)]
        return found if r.args[2] is None else [*found, Slopes(2, c, np.ones(1))]

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        if argument == 0:
            scale = column_of("scale", r.args[1], np.array([[index[1]]]))
            return [Slopes(0, np.array([index]), scale.values, scale)]
        at = channel(r.args[0].shape, index[0])
        if argument == 2:
            return [Slopes(0, at, np.ones(len(at)))]
        x = column_of("x", r.args[0], at)
        return [Slopes(0, at, x.values, x)]


@register
class BackwardOfNorm(Explainer):
    """The fused gradients of the two above: three results, each a sum of cotangents times slopes."""

    names = ("batch_norm_grad", "scale_shift_grad")

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        if r.of is None:
            raise SeeError(f"{r.label} ran outside of a backward pass: ask for the gradient of what it belongs to")
        g = r.args[0]
        (s, *_) = REGISTRY[r.of.op].column(trace, r.of, output, index)
        values = column_of("g", g, s.index)
        slope = s.why or Column("dy/dx", "slope", None, s.slope)
        terms = Terms([values, slope], values.values * s.slope)
        size = np.maximum(np.abs(s.slope), 0.0 if s.scale is None else s.scale)
        n = len(terms) + s.roundings
        bound = rounding(g.dtype, n, float((np.abs(values.values) * size).sum()), terms.total)
        return Made("dx = sum of g * dy/dx", terms.total, bound, f"gamma_{n} sum |g| |dy/dx|", terms)

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        return []

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        return []
