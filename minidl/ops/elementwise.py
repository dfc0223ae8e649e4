"""Element-wise functions of one tensor, comparison, choice and limits: gradients are in these same operations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..autograd import tape
from ..autograd.mode import MODE
from ..autograd.tape import Primitive, vjp
from ..backend import Device, array_module, device_of, on, to_device
from ..backend import device as parse_device
from ..dtypes import as_dtype
from ..kernels import activation as kernel
from . import _erf
from ._common import as_operand, floating, is_tensor, promote, sum_to
from ._examples import named

# ---- functions of one argument ------------------------------------------------------------------------------


def _unary(
    name: str, forward: Callable[..., Any], rule: Callable[..., Any] | None, uses: str, doc: str
) -> Callable[..., Any]:
    primitive = Primitive(name, forward, None if rule is None else vjp(rule, uses=uses))

    def function(input: Any) -> Any:
        return primitive(floating(input))

    return named(function, name, doc)


def _np(name: str) -> Callable[..., Any]:
    return lambda x: getattr(array_module(x), name)(x)


def _rounded(name: str) -> Callable[..., Any]:
    """Integers are whole already; CuPy would make floating point of them."""
    return lambda x: x.copy() if x.dtype.kind in "ui" else getattr(array_module(x), name)(x)


exp: Callable[..., Any] = _unary("exp", _np("exp"), lambda g, y, x: g * y, "y", "e to the power of x.")
exp2: Callable[..., Any] = _unary("exp2", _np("exp2"), lambda g, y, x: g * y * math.log(2), "y", "2 to the power of x.")
expm1: Callable[..., Any] = _unary(
    "expm1", _np("expm1"), lambda g, y, x: g * (y + 1), "y", "exp(x) - 1, accurate near 0."
)
log: Callable[..., Any] = _unary(
    "log", _np("log"), lambda g, y, x: g / x, "x", "Natural logarithm; -inf at 0, NaN below."
)
log2: Callable[..., Any] = _unary(
    "log2", _np("log2"), lambda g, y, x: g / (x * math.log(2)), "x", "Logarithm to base 2."
)
log10: Callable[..., Any] = _unary(
    "log10", _np("log10"), lambda g, y, x: g / (x * math.log(10)), "x", "Logarithm to base 10."
)
log1p: Callable[..., Any] = _unary(
    "log1p", _np("log1p"), lambda g, y, x: g / (x + 1), "x", "log(1 + x), accurate near 0."
)
sqrt: Callable[..., Any] = _unary("sqrt", _np("sqrt"), lambda g, y, x: g / (y * 2), "y", "Square root; NaN below 0.")
rsqrt: Callable[..., Any] = _unary(
    "rsqrt", lambda x: 1 / array_module(x).sqrt(x), lambda g, y, x: g * y**3 * -0.5, "y", "1 / sqrt(x)."
)
reciprocal: Callable[..., Any] = _unary("reciprocal", lambda x: 1 / x, lambda g, y, x: -g * y * y, "y", "1 / x.")
sin: Callable[..., Any] = _unary("sin", _np("sin"), lambda g, y, x: g * cos(x), "x", "Sine of an angle in radians.")
cos: Callable[..., Any] = _unary("cos", _np("cos"), lambda g, y, x: -g * sin(x), "x", "Cosine of an angle in radians.")
tan: Callable[..., Any] = _unary(
    "tan", _np("tan"), lambda g, y, x: g * (1 + y * y), "y", "Tangent of an angle in radians."
)
asin: Callable[..., Any] = _unary(
    "asin", _np("arcsin"), lambda g, y, x: g * rsqrt(1 - x * x), "x", "Inverse sine, in radians."
)
acos: Callable[..., Any] = _unary(
    "acos", _np("arccos"), lambda g, y, x: -g * rsqrt(1 - x * x), "x", "Inverse cosine, in radians."
)
atan: Callable[..., Any] = _unary(
    "atan", _np("arctan"), lambda g, y, x: g / (1 + x * x), "x", "Inverse tangent, in radians."
)
sinh: Callable[..., Any] = _unary("sinh", _np("sinh"), lambda g, y, x: g * cosh(x), "x", "Hyperbolic sine.")
cosh: Callable[..., Any] = _unary("cosh", _np("cosh"), lambda g, y, x: g * sinh(x), "x", "Hyperbolic cosine.")
tanh: Callable[..., Any] = _unary("tanh", kernel.tanh, lambda g, y, x: _tanh_rule(g, y), "y", "Hyperbolic tangent.")
sigmoid: Callable[..., Any] = _unary(
    "sigmoid", lambda x: _sigmoid(x), lambda g, y, x: g * y * (1 - y), "y", "1 / (1 + exp(-x)), without overflow."
)


def _tanh_rule(g: Any, y: Any) -> Any:
    """g (1 - y y); straight on arrays where nobody records or wants the steps, in the same order: the same bits."""
    if MODE.recording or tape.step_by_step():
        return g * (1 - y * y)
    return tape.Tensor._wrap(kernel.tanh_grad(g._array, y._array))


def _sigmoid(x: Any) -> Any:
    xp = array_module(x)
    if x.dtype.kind == "c":  # complex step: analytic, so no absolute value
        return 1 / (1 + xp.exp(-x))
    e = xp.exp(-xp.abs(x))  # never above 1
    return xp.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype)


erf: Callable[..., Any] = _unary(
    "erf", _erf.erf, lambda g, y, x: g * exp(-(x * x)) * (2 / math.sqrt(math.pi)), "x",
    "Error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x.",
)  # fmt: skip

_neg: Primitive = Primitive("neg", lambda x: -x, vjp(lambda g, y, x: -g))
_abs: Primitive = Primitive("abs", lambda x: abs(x), vjp(lambda g, y, x: g * sign(x), uses="x"))


def neg(input: Any) -> Any:
    """``-input``.

    >>> import minidl
    >>> minidl.neg(minidl.tensor([1, -2]))
    tensor([-1,  2])
    """
    x = as_operand(input)
    if is_tensor(x) and x.dtype.kind == "b":
        raise TypeError("-x of booleans has no meaning: write ~x for not x, or -x.to('int64')")
    return _neg(x)


def abs_(input: Any) -> Any:
    """Absolute value; the gradient at 0 is 0.

    >>> import minidl
    >>> minidl.abs(minidl.tensor([1, -2]))
    tensor([1, 2])
    """
    return _abs(as_operand(input))


# ---- flat almost everywhere: no gradient --------------------------------------------------------------------


def _flat(name: str, forward: Callable[..., Any], doc: str) -> Callable[..., Any]:
    """A step function: its gradient is zero wherever it exists."""
    primitive = Primitive(name, forward, vjp(lambda g, y, x: g * 0))

    def function(input: Any) -> Any:
        return primitive(as_operand(input))

    return named(function, name, doc)


sign: Callable[..., Any] = _flat("sign", _np("sign"), "-1, 0 or 1.")
floor: Callable[..., Any] = _flat("floor", _rounded("floor"), "The largest integer not above x.")
ceil: Callable[..., Any] = _flat("ceil", _rounded("ceil"), "The smallest integer not below x.")
trunc: Callable[..., Any] = _flat("trunc", _rounded("trunc"), "x without its fraction.")
_round: Primitive = Primitive(
    "round", lambda x, *, decimals: array_module(x).round(x, decimals), vjp(lambda g, y, x, *, decimals: g * 0)
)


def round(input: Any, *, decimals: int = 0) -> Any:
    """The nearest integer, or multiple of ``10**-decimals``; halves to even.

    >>> import minidl
    >>> minidl.round(minidl.tensor([0.5, 1.5, 2.75])), minidl.tensor([1.75]).round(decimals=1)
    (tensor([0., 2., 3.]), tensor([1.8]))
    """
    return _round(as_operand(input), decimals=decimals)


def _compare(name: str, forward: Callable[..., Any], doc: str) -> Callable[..., Any]:
    primitive = Primitive(name, forward)

    def function(input: Any, other: Any) -> Any:
        return primitive(*promote(input, other, compares=True))

    return named(function, name, doc + " Boolean, broadcast, no gradient.")


def comparable(value: Any) -> bool:
    """Whether ``tensor == value`` compares elements; None, strings and the like are simply unequal."""
    return isinstance(value, (int, float, list, tuple)) or hasattr(value, "dtype")


eq = _compare("eq", lambda a, b: a == b, "Equal.")
ne = _compare("ne", lambda a, b: a != b, "Not equal.")
lt = _compare("lt", lambda a, b: a < b, "Less.")
le = _compare("le", lambda a, b: a <= b, "Less or equal.")
gt = _compare("gt", lambda a, b: a > b, "Greater.")
ge = _compare("ge", lambda a, b: a >= b, "Greater or equal.")
logical_and = _compare("logical_and", lambda a, b: array_module(a).logical_and(a, b), "Both true.")
logical_or = _compare("logical_or", lambda a, b: array_module(a).logical_or(a, b), "At least one true.")
logical_xor = _compare("logical_xor", lambda a, b: array_module(a).logical_xor(a, b), "Exactly one true.")
_logical_not: Primitive = Primitive("logical_not", _np("logical_not"))
_bitwise_and: Primitive = Primitive("bitwise_and", lambda a, b: a & b)
_bitwise_or: Primitive = Primitive("bitwise_or", lambda a, b: a | b)
_bitwise_xor: Primitive = Primitive("bitwise_xor", lambda a, b: a ^ b)
_bitwise_not: Primitive = Primitive("bitwise_not", lambda a: ~a)


def bitwise_and(input: Any, other: Any) -> Any:
    """``input & other`` on integers and booleans.

    >>> import minidl
    >>> minidl.bitwise_and(minidl.tensor([6, 3]), 5)
    tensor([4, 1])
    """
    return _bitwise_and(*promote(input, other))


def bitwise_or(input: Any, other: Any) -> Any:
    """``input | other`` on integers and booleans.

    >>> import minidl
    >>> minidl.bitwise_or(minidl.tensor([6, 3]), 5)
    tensor([7, 7])
    """
    return _bitwise_or(*promote(input, other))


def bitwise_xor(input: Any, other: Any) -> Any:
    """``input ^ other`` on integers and booleans.

    >>> import minidl
    >>> minidl.bitwise_xor(minidl.tensor([6, 3]), 5)
    tensor([3, 6])
    """
    return _bitwise_xor(*promote(input, other))


def bitwise_not(input: Any) -> Any:
    """``~input`` on integers and booleans.

    >>> import minidl
    >>> minidl.bitwise_not(minidl.tensor([0, 5]))
    tensor([-1, -6])
    """
    return _bitwise_not(as_operand(input))


def logical_not(input: Any) -> Any:
    """True where ``input`` is zero.

    >>> import minidl
    >>> minidl.logical_not(minidl.tensor([0, 2]))
    tensor([ True, False])
    """
    return _logical_not(as_operand(input))


_isnan, _isinf, _isfinite = (Primitive(n, _np(n)) for n in ("isnan", "isinf", "isfinite"))


def isnan(input: Any) -> Any:
    """True where ``input`` is not a number.

    >>> import minidl
    >>> minidl.isnan(minidl.tensor([1.0, float("nan")]))
    tensor([False,  True])
    """
    return _isnan(as_operand(input))


def isinf(input: Any) -> Any:
    """True where ``input`` is plus or minus infinity.

    >>> import minidl
    >>> minidl.isinf(minidl.tensor([1.0, float("-inf")]))
    tensor([False,  True])
    """
    return _isinf(as_operand(input))


def isfinite(input: Any) -> Any:
    """True where ``input`` is neither infinite nor NaN.

    >>> import minidl
    >>> minidl.isfinite(minidl.tensor([1.0, float("nan"), float("inf")]))
    tensor([ True, False, False])
    """
    return _isfinite(as_operand(input))


# ---- choice and limits --------------------------------------------------------------------------------------

_where: Primitive = Primitive(
    "where",
    lambda condition, a, b: array_module(condition).where(condition, a, b),
    None,
    vjp(lambda g, y, condition, a, b: sum_to(where(condition, g, 0.0), a), uses="condition"),
    vjp(lambda g, y, condition, a, b: sum_to(where(condition, 0.0, g), b), uses="condition"),
)


def beside(value: Any, like: Any) -> Any:
    """A Python number as a 0-d tensor beside ``like``."""
    if is_tensor(value):
        return value
    with on(like.device):
        return tape.Tensor._wrap(like._xp.asarray(value, dtype=like.dtype))


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """``input`` where ``condition`` is true, else ``other``; all three broadcast.

    The branch that is not taken gets gradient 0 whatever its value, NaN included.  ``where(condition)`` alone gives
    the indices of its true elements, one tensor for each axis.

    >>> import minidl
    >>> x = minidl.tensor([-1.0, 2.0])
    >>> minidl.where(x > 0, x, 0.0)
    tensor([0., 2.])
    """
    condition = as_operand(condition)
    if input is None or other is None:
        if input is not other:
            raise TypeError("where takes the condition alone, or both what stands where it is true and where it is not")
        from .indexing import nonzero

        return nonzero(condition, as_tuple=True)
    a, b = promote(input, other)
    if not (is_tensor(input) or is_tensor(other)):
        a = a.to(condition.device)  # of two numbers
    return _where(condition.to(bool), beside(a, b if is_tensor(b) else condition), beside(b, a))


_clamp: Primitive = Primitive(
    "clamp",
    lambda x, *, low, high: array_module(x).clip(x, low, high),
    vjp(lambda g, y, x, *, low, high: g * _inside(x, low, high).to(g.dtype), uses="x"),
)


def _inside(x: Any, low: float | None, high: float | None) -> Any:
    if low is None:
        return x <= high
    return x >= low if high is None else (x >= low) & (x <= high)


def clamp(input: Any, min: Any = None, max: Any = None) -> Any:
    """Limit to [min, max] (numbers or tensors).  The gradient passes inside and at the limits, as in PyTorch.

    ValueError without a limit.

    >>> import minidl
    >>> minidl.clamp(minidl.tensor([-1.0, 0.5, 2.0]), 0, 1)
    tensor([0. , 0.5, 1. ])
    """
    if min is None and max is None:
        raise ValueError("clamp needs min or max, or both")
    x = as_operand(input)
    min, max = (None if limit is None else as_operand(limit) for limit in (min, max))
    for limit in (min, max):
        if limit is not None:
            x = promote(x, limit, compares=True)[0]
    if is_tensor(min) or is_tensor(max):
        x = x if min is None else where(x < min, min, x)
        return x if max is None else where(x > max, max, x)
    return _clamp(x, low=min, high=max)


clip = clamp


# ---- dtype and device ---------------------------------------------------------------------------------------

_cast: Primitive = Primitive(
    "cast",
    lambda x, *, dtype: x.astype(dtype),
    vjp(lambda g, y, x, *, dtype: g.to(x.dtype) if x.dtype.kind == "f" else None),
)
_move: Primitive = Primitive(
    "move",
    lambda x, *, device, source: to_device(x, device),
    vjp(lambda g, y, x, *, device, source: to(g, source)),
)
_clone: Primitive = Primitive("clone", lambda x, *, order: x.copy(order=order), vjp(lambda g, y, x, *, order: g))


def to(input: Any, *targets: Any, dtype: Any = None, device: Any = None, copy: bool = False) -> Any:
    """Another dtype, device or both: ``x.to("float64")``, ``x.to("cuda")``, ``x.to(other)``.

    Returns ``input`` itself where nothing has to change (unless ``copy``).

    >>> import minidl
    >>> minidl.tensor([1, 2]).to("float64")
    tensor([1., 2.], dtype=float64)
    """
    for target in targets:
        if is_tensor(target):
            dtype, device = target.dtype, target.device
        elif isinstance(target, Device) or (isinstance(target, str) and target.startswith(("cpu", "cuda"))):
            device = target
        else:
            try:
                dtype = as_dtype(target)
            except TypeError as error:
                raise TypeError(
                    f"to: {target!r} is neither a device ('cpu', 'cuda' or 'cuda:0') nor a dtype, such as 'float32'"
                ) from error
    result = input
    if dtype is not None and as_dtype(dtype) != result.dtype:
        result = _cast(result, dtype=as_dtype(dtype))
    if device is not None and parse_device(device) != device_of(result._array):
        result = _move(result, device=parse_device(device), source=result.device)
    return clone(result) if copy and result is input else result


def clone(input: Any) -> Any:
    """A copy with its own memory in the same layout (channels-last stays so); the gradient passes through.

    >>> import minidl
    >>> x = minidl.tensor([1, 2])
    >>> y = x.clone()
    >>> y[0] = 5
    >>> x, y
    (tensor([1, 2]), tensor([5, 2]))
    """
    return _clone(input, order="K")


def contiguous(input: Any) -> Any:
    """``input`` itself, or a copy of it in C order when it is not.

    >>> import minidl
    >>> x = minidl.zeros(2, 3).t()
    >>> x.is_contiguous(), x.contiguous().is_contiguous()
    (False, True)
    """
    return input if input.is_contiguous() else _clone(input, order="C")
