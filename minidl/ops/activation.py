"""Activation functions.  Those with a kink say which slope they take at it (PyTorch's choice)."""

from __future__ import annotations

import math
from typing import Any

from ..autograd.tape import Primitive, vjp
from ..backend import array_module
from ._common import as_operand, floating, normalise_dim
from .elementwise import clamp, erf, exp, log1p, maximum, sigmoid, tanh, where

_relu: Primitive = Primitive(
    "relu",
    lambda x: array_module(x).maximum(x, 0),
    vjp(lambda g, y, x: g * (y > 0).to(g.dtype), uses="y"),
)


def relu(input: Any) -> Any:
    """max(x, 0); slope 0 at 0.  Nair and Hinton 2010.

    >>> import minidl
    >>> minidl.relu(minidl.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return _relu(as_operand(input))


_leaky_relu: Primitive = Primitive(
    "leaky_relu",
    lambda x, *, slope: array_module(x).where(x > 0, x, x * x.dtype.type(slope)),
    vjp(lambda g, y, x, *, slope: where(x > 0, g, g * slope), uses="x"),
)


def leaky_relu(input: Any, negative_slope: float = 0.01) -> Any:
    """x above 0, ``negative_slope * x`` below (and at 0).  Maas et al. 2013."""
    return _leaky_relu(floating(input), slope=float(negative_slope))


def prelu(input: Any, weight: Any) -> Any:
    """Leaky ReLU with learned slopes: one, or one for each channel (axis 1).  He et al. 2015."""
    x = as_operand(input)
    slope = as_operand(weight)
    if slope.numel() != 1:
        if x.ndim < 2 or x.shape[1] != slope.numel():
            raise ValueError(
                f"prelu: {slope.numel()} slopes for an input of shape {x.shape}: give one, or one a channel"
            )
        slope = slope.reshape(1, -1, *(1,) * (x.ndim - 2))
    return where(x > 0, x, slope * x)


def elu(input: Any, alpha: float = 1.0) -> Any:
    """x above 0, ``alpha * (exp(x) - 1)`` below.  Clevert et al. 2016."""
    x = floating(input)
    return where(x > 0, x, where(x > 0, 0.0, x).expm1() * alpha)


def celu(input: Any, alpha: float = 1.0) -> Any:
    """x above 0, ``alpha * (exp(x / alpha) - 1)`` below.  Barron 2017."""
    x = floating(input)
    return where(x > 0, x, (where(x > 0, 0.0, x) / alpha).expm1() * alpha)


def selu(input: Any) -> Any:
    """ELU with the scale and alpha that keep mean 0 and variance 1.  Klambauer et al. 2017."""
    return elu(input, 1.6732632423543772) * 1.0507009873554805


def gelu(input: Any, approximate: str = "none") -> Any:
    """x times the normal distribution function of x; ``approximate="tanh"`` for the cheaper form.  Hendrycks 2016."""
    x = floating(input)
    if approximate == "tanh":
        return x * 0.5 * (1 + tanh((x + x**3 * 0.044715) * math.sqrt(2 / math.pi)))
    if approximate != "none":
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', not {approximate!r}")
    return x * 0.5 * (1 + erf(x * math.sqrt(0.5)))


def silu(input: Any) -> Any:
    """``x * sigmoid(x)``, also called swish.  Elfwing et al. 2018."""
    x = floating(input)
    return x * sigmoid(x)


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """``log(1 + exp(beta x)) / beta``, and x itself where ``beta x`` exceeds ``threshold``."""
    x = floating(input)
    scaled = x * beta
    smooth = (maximum(scaled, 0.0) + log1p(exp(-scaled.abs()))) / beta
    return where(scaled > threshold, x, smooth)


def mish(input: Any) -> Any:
    """``x * tanh(softplus(x))``.  Misra 2019."""
    x = floating(input)
    return x * tanh(softplus(x))


def logsigmoid(input: Any) -> Any:
    """``log(sigmoid(x))`` without overflow."""
    return -softplus(-floating(input), threshold=math.inf)


def softsign(input: Any) -> Any:
    """``x / (1 + |x|)``."""
    x = floating(input)
    return x / (x.abs() + 1)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """x limited to [min_val, max_val]; slope 0 at the limits."""
    x = floating(input)
    return where((x > min_val) & (x < max_val), x, clamp(x, min_val, max_val).detach())


def relu6(input: Any) -> Any:
    """min(max(x, 0), 6).  Howard et al. 2017."""
    return hardtanh(input, 0.0, 6.0)


def hardsigmoid(input: Any) -> Any:
    """min(max(x + 3, 0), 6) / 6."""
    return relu6(floating(input) + 3) / 6


def hardswish(input: Any) -> Any:
    """``x * hardsigmoid(x)``.  Howard et al. 2019."""
    x = floating(input)
    return x * hardsigmoid(x)


def threshold(input: Any, threshold: float, value: float) -> Any:
    """x above ``threshold``, ``value`` elsewhere."""
    x = as_operand(input)
    return where(x > threshold, x, value)


def glu(input: Any, dim: int = -1) -> Any:
    """First half along ``dim`` times the sigmoid of the second.  Dauphin et al. 2017."""
    dim = normalise_dim(dim, input.ndim)
    if input.shape[dim] % 2:
        raise ValueError(f"glu halves axis {dim}, which has the odd length {input.shape[dim]}")
    a, b = input.chunk(2, dim)
    return a * sigmoid(b)


# ---- over one axis ----------------------------------------------------------------------------------------------


def _shifted_exp(x: Any, axis: int) -> tuple[Any, Any]:
    """x less its maximum along ``axis`` (so that nothing overflows), and the exponential of that."""
    xp = array_module(x)
    if x.dtype.kind == "c":  # complex step: shift by the largest real part
        shifted = x - x.real.max(axis=axis, keepdims=True)
    else:
        shifted = x - x.max(axis=axis, keepdims=True, initial=-math.inf)
    return shifted, xp.exp(shifted)


def _softmax_forward(x: Any, *, axis: int) -> Any:
    e = _shifted_exp(x, axis)[1]
    return e / e.sum(axis=axis, keepdims=True)


def _log_softmax_forward(x: Any, *, axis: int) -> Any:
    shifted, e = _shifted_exp(x, axis)
    return shifted - array_module(x).log(e.sum(axis=axis, keepdims=True))


_softmax: Primitive = Primitive(
    "softmax", _softmax_forward, vjp(lambda g, y, x, *, axis: (g - (g * y).sum(axis, True)) * y, uses="y")
)
_log_softmax: Primitive = Primitive(
    "log_softmax", _log_softmax_forward, vjp(lambda g, y, x, *, axis: g - exp(y) * g.sum(axis, True), uses="y")
)


def softmax(input: Any, dim: int = -1, *, dtype: Any = None) -> Any:
    """exp(x) divided by its sum along ``dim``: positive, adding up to 1.

    PyTorch guesses ``dim`` where it is not given; here it is the last axis.
    """
    x = floating(input if dtype is None else as_operand(input).to(dtype))
    return _softmax(x, axis=normalise_dim(dim, x.ndim)) if x.ndim else x * 0 + 1


def log_softmax(input: Any, dim: int = -1, *, dtype: Any = None) -> Any:
    """Logarithm of :func:`softmax`, computed without leaving the logarithms."""
    x = floating(input if dtype is None else as_operand(input).to(dtype))
    return _log_softmax(x, axis=normalise_dim(dim, x.ndim)) if x.ndim else x * 0


def softmin(input: Any, dim: int = -1) -> Any:
    """Softmax of ``-x``."""
    return softmax(-floating(input), dim)


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    """``x`` divided by its p-norm along ``dim`` (by ``eps`` where the norm is smaller)."""
    from .reduction import norm

    return input / norm(input, p, dim, True).clamp(min=eps)
