"""Softmax and its logarithm: every class takes part in every result."""

from __future__ import annotations

import math

import numpy as np

from ...kernels.spec.error_bounds import gamma, unit_roundoff
from ..terms import rounding
from .base import (
    Array,
    Explainer,
    Index,
    Made,
    Record,
    Slopes,
    Step,
    Terms,
    Trace,
    column_of,
    grid,
    register,
    short,
)  # fmt: skip


@register
class Softmax(Explainer):
    """Shares of a whole, or their logarithms: each depends on all scores of its row."""

    names = ("softmax", "log_softmax")
    uniform = True

    def _along(self, r: Record, index: Index) -> Array:
        axis = r.attrs["axis"]
        return grid(*(range(n) if a == axis else i for a, (n, i) in enumerate(zip(r.args[0].shape, index))))

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        at, mine = self._along(r, index), index[r.attrs["axis"]]
        x = column_of("x", r.args[0], at)
        largest = float(x.values.max())
        e = np.exp(x.values - largest)
        terms = Terms([x], e)
        total, dtype = terms.total, r.outputs[0].dtype
        shift = x.values[mine] - largest
        steps = [
            Step("largest", f"m = max of {len(e)} values = {short(largest)}", largest),
            Step("sum", f"s = sum of exp(x - m) = {short(total)}", total),
        ]
        # the shift rounds once, which exp turns into a relative error |x - m| u; weighted by what each exp counts
        spread = float((e * np.abs(x.values - largest)).sum() / total)
        relative = gamma(len(e) + 8, dtype) + 2 * unit_roundoff(dtype) * spread
        if r.op == "softmax":
            computed = float(e[mine] / total)
            relative += 2 * unit_roundoff(dtype) * abs(shift)
            steps.append(Step("quotient", f"exp({short(shift)}) / {short(total)} = {short(computed)}", computed))
            bound = rounding(dtype, 2, relative * abs(computed) / max(gamma(2, dtype), 1e-300), computed)
            formula = "y_i = exp(x_i - m) / sum over j of exp(x_j - m), m = max x"
        else:
            computed = shift - math.log(total)
            steps.append(Step("log", f"{short(shift)} - log({short(total)}) = {short(computed)}", computed))
            bound = relative + rounding(dtype, 4, abs(shift) + abs(math.log(total)), computed)
            formula = "y_i = x_i - m - log(sum over j of exp(x_j - m)), m = max x"
        rule = "gamma_n of the sum, 4 ulp of each exp, |x - m| u of each shift"
        return Made(formula, computed, bound, rule, terms, steps=steps)

    def _slope(self, r: Record, at: Array, one: Index, towards: bool) -> Array:
        """dy_i/dx_j along the axis: ``one`` is i (``at`` are the j) or, with ``towards``, j (``at`` are the i)."""
        mine = one[r.attrs["axis"]]
        y = r.outputs[0].at(at).astype(np.float64)
        here = np.arange(len(at)) == mine
        if r.op == "softmax":  # y_i (d_ij - y_j)
            return y[mine] * (here - y) if not towards else y * (here - y[mine])
        p = np.exp(y)  # d_ij - p_j
        return here - (p if not towards else p[mine])

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        at = self._along(r, index)
        return [Slopes(0, at, self._slope(r, at, index, False), roundings=len(at) + 12, scale=np.ones(len(at)))]

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        at = self._along(r, index)
        return [Slopes(0, at, self._slope(r, at, index, True), roundings=len(at) + 12, scale=np.ones(len(at)))]
