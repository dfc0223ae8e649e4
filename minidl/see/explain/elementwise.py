"""Element by element: arithmetic, functions, comparisons, choices.  Broadcast arguments are read where they repeat.

The number is computed again from the stored operands by the same operation, in the same dtype; slopes come from the
primitive's own gradient rule, applied to the elements concerned.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from ...autograd.mode import no_grad
from ...autograd.tape import Primitive
from ...tensor import Tensor
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
    Value,
    column_of,
    grid,
    register,
    replayed,
    short,
)  # fmt: skip

SYMBOLS = {
    "add": "{} + {}", "sub": "{} - {}", "mul": "{} * {}", "div": "{} / {}", "pow": "{} ** {}", "maximum": "max({}, {})",
    "minimum": "min({}, {})", "remainder": "{} mod {}", "atan2": "atan2({}, {})", "floor_divide": "floor({} / {})",
    "eq": "{} == {}", "ne": "{} != {}", "lt": "{} < {}", "le": "{} <= {}", "gt": "{} > {}", "ge": "{} >= {}",
    "where": "{1} if {0} else {2}", "relu": "max({}, 0)", "sqrt": "sqrt({})", "rsqrt": "1 / sqrt({})", "neg": "-({})",
    "reciprocal": "1 / {}", "abs": "|{}|", "exp2": "2 ** {}", "sigmoid": "1 / (1 + exp(-({})))", "cast": "{}",
    "move": "{}", "clone": "{}", "logical_not": "not {}", "logical_and": "{} and {}", "logical_or": "{} or {}",
}  # fmt: skip
LETTERS = "xyz"


def read_from(a: Any, index: Array) -> Array:
    """For elements ``index`` (n, ndim) of a result, the places (n, a.ndim) in a broadcast argument."""
    tail = index[:, index.shape[1] - len(a.shape) :]
    return np.where(np.array(a.shape) == 1, 0, tail)


def shown(r: Record, names: list[str]) -> str:
    """The operation with ``names`` in the place of its arguments."""
    settings = ", ".join(f"{k}={v!r}" for k, v in r.attrs.items() if isinstance(v, (int, float, bool)))
    if r.op in SYMBOLS:
        return SYMBOLS[r.op].format(*names)
    return f"{r.op}({', '.join([*names, settings] if settings else names)})"


@register
class Elementwise(Explainer):
    """Operations whose result at one place comes from the arguments at that place."""

    names: ClassVar[tuple[str, ...]] = (
        "add", "sub", "mul", "div", "pow", "maximum", "minimum", "remainder", "atan2", "exp", "exp2", "expm1", "log",
        "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
        "cosh", "tanh", "sigmoid", "erf", "neg", "abs", "sign", "floor", "ceil", "round", "trunc", "floor_divide", "eq",
        "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor", "logical_not", "bitwise_and",
        "bitwise_or", "bitwise_xor", "bitwise_not", "isnan", "isinf", "isfinite", "where", "clamp", "cast", "move",
        "clone", "relu", "leaky_relu", "elu", "softplus", "hardtanh", "binary_cross_entropy",
        "relu_grad", "hardtanh_grad", "leaky_relu_grad",
    )  # fmt: skip
    uniform = True

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        at = np.array([index], np.int64).reshape(1, len(index))
        operands: list[Any] = []
        names, values, follow = [], [], []
        for a in r.args:
            if isinstance(a, Value):
                place = tuple(int(i) for i in read_from(a, at)[0])
                operands.append(a.read()[place].reshape(1))
                names.append(column_of("", a, np.array([place], np.int64).reshape(1, -1))[0].name)
                values.append(short(float(operands[-1][0])))
                follow.append((a, place))
            else:
                operands.append(a)
                names.append(repr(a))
                values.append(short(a) if isinstance(a, (int, float)) else repr(a))
        computed = float(np.asarray(r.primitive.forward(*operands, **r.attrs)).reshape(-1)[0])
        dtype = r.outputs[0].dtype
        unit = float(np.spacing(dtype.type(abs(computed)))) if dtype.kind == "f" and math.isfinite(computed) else 0.0
        exact = r.op in ("neg", "abs", "relu", "where", "clone", "cast", "move", "maximum", "minimum", "sign")
        step = Step(r.op, f"{shown(r, values)} = {short(computed)}", computed)
        notes = _remarks(r, computed, operands)
        bound = 0.0 if exact or dtype.kind != "f" else 4 * unit
        rule = "no rounding" if bound == 0 else replayed(dtype)
        return Made(f"y = {shown(r, names)}", computed, bound, rule, steps=[step], notes=notes, follow=follow)

    def _slope(self, r: Record, argument: int, at: Array) -> tuple[Array, Array]:
        """dy/dx of results ``at`` (n, ndim) with respect to one argument, by the primitive's rule; and its scale."""
        rule = r.primitive.rules[argument] if argument < len(r.primitive.rules) else None
        if rule is None:
            return np.zeros(len(at)), np.zeros(len(at))
        args = [Tensor._wrap(a.at(read_from(a, at)).reshape(-1)) if isinstance(a, Value) else a for a in r.args]
        y = Tensor._wrap(r.outputs[0].at(at).reshape(-1))
        with no_grad(), np.errstate(all="ignore"):
            slope = rule.function(Tensor._wrap(np.ones(len(at), y.dtype)), y, *args, **r.attrs)
        values = np.broadcast_to(np.asarray(slope.numpy(), np.float64), len(at))
        # a rule like 1 - y*y rounds 1, however small the slope comes out
        return values, np.maximum(np.abs(values), 1.0)

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        at = np.array([index], np.int64).reshape(1, len(index))
        found = []
        for position, a in enumerate(r.args):
            if isinstance(a, Value) and position < len(r.primitive.rules) and r.primitive.rules[position] is not None:
                slope, scale = self._slope(r, position, at)
                why = _factor(r, position, at)
                found.append(Slopes(position, read_from(a, at), slope, why, 8, scale))
        return found

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        at = repeats(r.args[argument].shape, index, r.outputs[0].shape)
        slope, scale = self._slope(r, argument, at)
        return [Slopes(0, at, slope, _factor(r, argument, at), 8, scale)]


def repeats(shape: tuple[int, ...], index: Index, stretched: tuple[int, ...]) -> Array:
    """All places (n, ndim) of a result of shape ``stretched`` that a broadcast argument's element is read for."""
    lead = len(stretched) - len(shape)
    axes = [
        range(n) if a < lead or (shape[a - lead] == 1 and n != 1) else index[a - lead] for a, n in enumerate(stretched)
    ]
    return grid(*axes) if axes else np.zeros((1, 0), np.int64)


def _factor(r: Record, argument: int, at: Array) -> Any:
    """The slope of a product is the other factor."""
    if r.op != "mul" or not isinstance(r.args[1 - argument], Value):
        return None
    other = r.args[1 - argument]
    return column_of(r.argument_name(1 - argument), other, read_from(other, at))


def _remarks(r: Record, y: float, operands: list[Any]) -> list[str]:
    if r.op == "relu":
        return [] if y > 0 else ["the unit is off: the result is 0 and no gradient passes"]
    if r.op in ("sigmoid", "tanh") and abs(y) > 0.9999:
        return ["the unit is saturated: almost no gradient passes"]
    if r.op in ("maximum", "minimum") and operands[0] == operands[1]:
        return ["a tie: each operand gets half of the gradient"]
    if r.kind.startswith(("Dropout", "AlphaDropout", "FeatureAlphaDropout")) and r.op == "mul":
        from .dropout import remark

        return remark(r, operands)
    return []


def is_elementwise(primitive: Primitive) -> bool:
    """Whether a result at one place comes from the arguments at that place only."""
    return primitive.name in Elementwise.names


__all__ = ["Elementwise", "Terms", "is_elementwise", "read_from", "repeats"]
