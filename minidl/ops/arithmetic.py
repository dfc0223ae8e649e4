"""Arithmetic of two operands, element by element: both gradients undo the broadcast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd.tape import Primitive, vjp
from ..backend import array_module
from ..kernels import activation as kernel
from ._common import floating, is_tensor, promote, sum_to
from .elementwise import beside, floor, log, trunc, where

_add: Primitive = Primitive(
    "add",
    lambda a, b: kernel.add(a, b),
    vjp(lambda g, y, a, b: sum_to(g, a)),
    vjp(lambda g, y, a, b: sum_to(g, b)),
)
_sub: Primitive = Primitive(
    "sub",
    lambda a, b: a - b,
    vjp(lambda g, y, a, b: sum_to(g, a)),
    vjp(lambda g, y, a, b: sum_to(-g, b)),
)
_mul: Primitive = Primitive(
    "mul",
    lambda a, b: a * b,
    vjp(lambda g, y, a, b: sum_to(g * b, a), uses="b"),
    vjp(lambda g, y, a, b: sum_to(g * a, b), uses="a"),
)
_div: Primitive = Primitive(
    "div",
    lambda a, b: a / b,
    vjp(lambda g, y, a, b: sum_to(g / b, a), uses="b"),
    vjp(lambda g, y, a, b: sum_to(-g * a / (b * b), b), uses="a b"),
)
_pow: Primitive = Primitive(
    "pow",
    lambda a, b: array_module(a).power(a, b) if hasattr(a, "dtype") else array_module(b).power(b.dtype.type(a), b),
    vjp(lambda g, y, a, b: sum_to(g * _power_slope(a, b), a), uses="a b"),
    # at a = 0 the true limit of 0**b * log(0) is 0 for b > 0
    vjp(lambda g, y, a, b: sum_to(g * where(_is_zero(a, b), 0.0, y * log(_positive(a, b))), b), uses="a b y"),
)


def _power_slope(a: Any, b: Any) -> Any:
    """d a**b / da = b a**(b-1), and 0 (not nan) where b = 0."""
    if not is_tensor(b):
        return b * a ** (b - 1) if b != 0 else a * 0
    return where(b == 0, 0.0, b * a ** where(b == 0, 1.0, b - 1))


def _is_zero(a: Any, b: Any) -> Any:
    return (a == 0) if is_tensor(a) else (b != b if a else b == b)


def _positive(a: Any, b: Any) -> Any:
    """``a`` with zeros replaced by one, as a tensor, so that its logarithm is finite."""
    if is_tensor(a):
        return where(a == 0, 1.0, a)
    return b.detach() * 0 + (a or 1)


def _comparable(name: str, forward: Callable[..., Any], prefer_a: Callable[..., Any]) -> Primitive:
    """maximum / minimum: the gradient goes to the larger (smaller), half each at a tie, as in PyTorch."""

    def share(g: Any, a: Any, b: Any, mine: bool) -> Any:
        first = prefer_a(a, b) if mine else prefer_a(b, a)
        return g * (first.to(g.dtype) + (a == b).to(g.dtype) * 0.5)

    return Primitive(
        name,
        forward,
        vjp(lambda g, y, a, b: sum_to(share(g, a, b, True), a), uses="a b"),
        vjp(lambda g, y, a, b: sum_to(share(g, a, b, False), b), uses="a b"),
    )


_maximum: Primitive = _comparable("maximum", lambda a, b: array_module(a).maximum(a, b), lambda a, b: a > b)
_minimum: Primitive = _comparable("minimum", lambda a, b: array_module(a).minimum(a, b), lambda a, b: a < b)
_remainder: Primitive = Primitive(
    "remainder",
    lambda a, b: array_module(a).remainder(a, b),
    vjp(lambda g, y, a, b: sum_to(g, a)),
    vjp(lambda g, y, a, b: sum_to(-g * floor(a / b), b), uses="a b"),
)
_atan2: Primitive = Primitive(
    "atan2",
    lambda a, b: array_module(a).arctan2(a, b),
    vjp(lambda g, y, a, b: sum_to(g * b / (a * a + b * b), a), uses="a b"),
    vjp(lambda g, y, a, b: sum_to(-g * a / (a * a + b * b), b), uses="a b"),
)
_floor_divide: Primitive = Primitive(
    "floor_divide",
    lambda a, b: array_module(a).floor_divide(a, b),
    vjp(lambda g, y, a, b: sum_to(g * 0, a)),
    vjp(lambda g, y, a, b: sum_to(g * 0, b)),
)


def add(input: Any, other: Any, *, alpha: float = 1) -> Any:
    """``input + alpha * other``, broadcast.

    >>> import minidl
    >>> minidl.add(minidl.tensor([1, 2]), minidl.tensor([10, 20]), alpha=2)
    tensor([21, 42])
    """
    return _add(*promote(input, other if alpha == 1 else _times_alpha(input, other, alpha)))


def sub(input: Any, other: Any, *, alpha: float = 1) -> Any:
    """``input - alpha * other``, broadcast.

    >>> import minidl
    >>> minidl.sub(minidl.tensor([1, 2]), 1)
    tensor([0, 1])
    """
    a, b = promote(input, other if alpha == 1 else _times_alpha(input, other, alpha))
    if is_tensor(a) and a.dtype.kind == "b" and (b.dtype.kind == "b" if is_tensor(b) else isinstance(b, bool)):
        raise TypeError("x - y of booleans has no meaning: write x ^ y for where they differ, or x.to('int64') - y")
    return _sub(a, b)


def _whole(value: Any) -> bool:
    return value.dtype.kind in "iub" if is_tensor(value) else isinstance(value, int)


def _times_alpha(input: Any, other: Any, alpha: float) -> Any:
    if isinstance(alpha, float) and _whole(input) and _whole(other):
        raise TypeError(f"alpha = {alpha} between whole numbers: give alpha as one too, or x.float()")
    return mul(other, alpha)


def _check_divisor(name: str, a: Any, b: Any) -> None:
    """Whole numbers have no infinity; on a device looking for a zero would make the host wait."""
    if _whole(a) and _whole(b) and (b == 0 if not is_tensor(b) else not b.is_cuda and not b._array.all()):
        raise ZeroDivisionError(f"{name} of whole numbers by 0, which has no answer: use floating point, x.float()")


def mul(input: Any, other: Any) -> Any:
    """Element-wise product, broadcast.

    >>> import minidl
    >>> minidl.mul(minidl.tensor([[1], [2]]), minidl.tensor([3, 4]))
    tensor([[3, 4],
            [6, 8]])
    """
    return _mul(*promote(input, other))


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    """Element-wise quotient; integers give the default floating dtype.  ``rounding_mode``: None, "floor", "trunc".

    >>> import minidl
    >>> x = minidl.tensor([-3, 3])
    >>> minidl.div(x, 2), minidl.div(x, 2, rounding_mode="floor"), minidl.div(x, 2, rounding_mode="trunc")
    (tensor([-1.5,  1.5]), tensor([-2,  1]), tensor([-1,  1]))
    """
    a, b = promote(input, other)
    if rounding_mode is None:
        a, b = (floating(a) if is_tensor(a) else a), (floating(b) if is_tensor(b) else b)
        return _div(*promote(a, b))
    if rounding_mode not in ("floor", "trunc"):
        raise ValueError(f"rounding_mode must be None, 'floor' or 'trunc', not {rounding_mode!r}")
    if rounding_mode == "floor":
        return floor_divide(a, b)
    integers = _whole(a) and _whole(b)
    _check_divisor("div", a, b)
    quotient = trunc(div(a, b))
    return quotient.to((a if is_tensor(a) else b).dtype) if integers else quotient


def floor_divide(input: Any, other: Any) -> Any:
    """Quotient rounded down; no gradient (it is flat wherever it has one).

    >>> import minidl
    >>> minidl.floor_divide(minidl.tensor([-3, 3]), 2)
    tensor([-2,  1])
    """
    a, b = promote(input, other)
    _check_divisor("floor_divide", a, b)
    return _floor_divide(a, b)


def pow(input: Any, exponent: Any) -> Any:
    """``input ** exponent``, broadcast.

    >>> import minidl
    >>> minidl.pow(minidl.tensor([2.0, 3.0]), 2), minidl.pow(2, minidl.tensor([0.0, 3.0]))
    (tensor([4., 9.]), tensor([1., 8.]))
    """
    a, b = promote(input, exponent)
    if not is_tensor(a) and not isinstance(a, float):
        a = float(a) if b.dtype.kind == "f" else a
    if _whole(a) and _whole(b) and _below_zero(b):
        raise ValueError("pow: whole numbers have no negative powers among them: use floating point, x.float()")
    return _pow(a, b)


def _below_zero(exponent: Any) -> bool:
    """On a device looking for one would make the host wait."""
    if is_tensor(exponent):
        return exponent.dtype.kind == "i" and not exponent.is_cuda and bool((exponent._array < 0).any())
    return exponent < 0


def maximum(input: Any, other: Any) -> Any:
    """The larger of two, broadcast; NaN where either is.  At a tie each gets half of the gradient.

    >>> import minidl
    >>> minidl.maximum(minidl.tensor([1, 4]), minidl.tensor([2, 3]))
    tensor([2, 4])
    """
    a, b = promote(input, other)
    return _maximum(beside(a, b), beside(b, a))


def minimum(input: Any, other: Any) -> Any:
    """The smaller of two, broadcast; NaN where either is.  At a tie each gets half of the gradient.

    >>> import minidl
    >>> minidl.minimum(minidl.tensor([1, 4]), minidl.tensor([2, 3]))
    tensor([1, 3])
    """
    a, b = promote(input, other)
    return _minimum(beside(a, b), beside(b, a))


def remainder(input: Any, other: Any) -> Any:
    """Remainder with the sign of the divisor, as Python's ``%``.

    >>> import minidl
    >>> minidl.remainder(minidl.tensor([-3, 3]), 2)
    tensor([1, 1])
    """
    a, b = promote(input, other)
    _check_divisor("remainder", a, b)
    return _remainder(a, b)


def atan2(input: Any, other: Any) -> Any:
    """Angle of the point (other, input), in (-pi, pi].

    >>> import minidl
    >>> minidl.atan2(minidl.tensor([1.0, -1.0]), minidl.tensor([0.0, 0.0]))
    tensor([ 1.5708, -1.5708])
    """
    a, b = promote(input, other)
    return _atan2(beside(floating(a), b), beside(floating(b), a))


def square(input: Any) -> Any:
    """``input * input``.

    >>> import minidl
    >>> minidl.square(minidl.tensor([1, -2]))
    tensor([1, 4])
    """
    return mul(input, input)
