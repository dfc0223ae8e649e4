"""Activation functions.  Those with a kink say which slope they take at it (PyTorch's choice).

``inplace=True`` overwrites the input, as in PyTorch; it saves no memory while a graph is recorded.
"""

from __future__ import annotations

import math
from typing import Any

from ..autograd.tape import Primitive, vjp
from ..backend import array_module
from ..kernels import activation as kernel
from ..kernels.errors import ShapeError
from ._common import as_operand, floating, normalise_dim
from .elementwise import clamp, erf, exp, sigmoid, tanh, where
from .reduction import norm


def _into(input: Any, y: Any, inplace: bool) -> Any:
    """``y``, or ``input`` overwritten with it."""
    return as_operand(input)._assign(y) if inplace and y is not input else y


def _relu_rule(g: Any, y: Any, x: Any) -> Any:
    return _relu_grad(g, y)


_relu: Primitive = Primitive("relu", lambda x: kernel.relu(x), vjp(_relu_rule, uses="y"))
# linear in g, and flat in y wherever it has a slope; so are the gradients of the others with straight pieces
_relu_grad: Primitive = Primitive(
    "relu_grad", lambda g, y: kernel.relu_grad(g, y), vjp(lambda u, dx, g, y: _relu_grad(u, y), uses="y")
)


def relu(input: Any, inplace: bool = False) -> Any:
    """max(x, 0); slope 0 at 0.  Nair and Hinton 2010.

    >>> import minidl
    >>> minidl.relu(minidl.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return _into(input, _relu(as_operand(input)), inplace)


def _leaky_relu_rule(g: Any, y: Any, x: Any, *, slope: float) -> Any:
    return _leaky_relu_grad(g, x, slope=slope)


_leaky_relu: Primitive = Primitive(
    "leaky_relu", lambda x, *, slope: kernel.leaky_relu(x, slope), vjp(_leaky_relu_rule, uses="x")
)
_leaky_relu_grad: Primitive = Primitive(
    "leaky_relu_grad",
    lambda g, x, *, slope: kernel.leaky_relu_grad(g, x, slope),
    vjp(lambda u, dx, g, x, *, slope: _leaky_relu_grad(u, x, slope=slope), uses="x"),
)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """x above 0, ``negative_slope * x`` below; ``negative_slope`` is also the slope at 0.  Maas et al. 2013.

    >>> import minidl
    >>> minidl.nn.functional.leaky_relu(minidl.tensor([-1.0, 2.0]), 0.1)
    tensor([-0.1,  2. ])
    """
    return _into(input, _leaky_relu(floating(input), slope=float(negative_slope)), inplace)


def prelu(input: Any, weight: Any) -> Any:
    """Leaky ReLU with learned slopes: one, or one for each channel (axis 1).  He et al. 2015.

    >>> import minidl
    >>> minidl.nn.functional.prelu(minidl.tensor([[-1.0, 2.0]]), minidl.tensor([0.25, 0.5]))
    tensor([[-0.25,  2.  ]])
    """
    x = floating(input)
    slope = as_operand(weight)
    if slope.numel() != 1:
        if x.ndim < 2 or x.shape[1] != slope.numel():
            raise ShapeError(
                f"prelu: {slope.numel()} slopes for an input of shape {x.shape}: give one, or one for each channel "
                "(axis 1)"
            )
        slope = slope.reshape(1, -1, *(1,) * (x.ndim - 2))
    elif x.ndim == 0:
        slope = slope.reshape(())
    return where(x > 0, x, slope * x)


def _elu_forward(x: Any, *, alpha: float, scale: float, rate: float) -> Any:
    """scale x above 0, scale alpha (exp(rate x) - 1) below."""
    xp = array_module(x)
    return xp.where(x > 0, x, xp.expm1(xp.minimum(x, 0) * rate) * alpha) * scale


def _elu_rule(g: Any, y: Any, x: Any, *, alpha: float, scale: float, rate: float) -> Any:
    """The slope below 0, scale alpha rate exp(rate x), is rate (y + scale alpha)."""
    return where(x > 0, g * scale, g * (y + scale * alpha) * rate)


_elu: Primitive = Primitive("elu", _elu_forward, vjp(_elu_rule, uses="x y"))


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x above 0, ``alpha * (exp(x) - 1)`` below; slope ``alpha`` at 0.  Clevert et al. 2016.

    >>> import minidl
    >>> minidl.nn.functional.elu(minidl.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.    ])
    """
    return _into(input, _elu(floating(input), alpha=float(alpha), scale=1.0, rate=1.0), inplace)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x above 0, ``alpha * (exp(x / alpha) - 1)`` below; slope 1 at 0.  Barron 2017.

    >>> import minidl
    >>> minidl.nn.functional.celu(minidl.tensor([-1.0, 2.0]), alpha=2.0)
    tensor([-0.7869,  2.    ])
    """
    if alpha == 0:
        raise ValueError("celu divides by alpha, which must not be 0")
    return _into(input, _elu(floating(input), alpha=float(alpha), scale=1.0, rate=1 / alpha), inplace)


def selu(input: Any, inplace: bool = False) -> Any:
    """ELU with the scale and alpha that keep mean 0 and variance 1.  Klambauer et al. 2017.

    >>> import minidl
    >>> minidl.nn.functional.selu(minidl.tensor([-1.0, 1.0]))
    tensor([-1.1113,  1.0507])
    """
    return _into(input, _elu(floating(input), alpha=SELU_ALPHA, scale=SELU_SCALE, rate=1.0), inplace)


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def gelu(input: Any, approximate: str = "none") -> Any:
    """x times the normal distribution function of x; ``approximate="tanh"`` for the cheaper form.

    Hendrycks and Gimpel 2016.

    >>> import minidl
    >>> minidl.nn.functional.gelu(minidl.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1587,  0.    ,  0.8413])
    """
    x = floating(input)
    if approximate == "tanh":
        near = clamp(x, -10, 10)  # beyond, tanh is 1 to the last bit, and the cube could overflow
        return x * 0.5 * (1 + tanh((near + near * near * near * 0.044715) * math.sqrt(2 / math.pi)))
    if approximate != "none":
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', not {approximate!r}")
    return x * 0.5 * (1 + erf(clamp(x, -40, 40) * math.sqrt(0.5)))  # beyond, erf is 1 and its slope 0


def silu(input: Any, inplace: bool = False) -> Any:
    """``x * sigmoid(x)``, also called swish.  Elfwing et al. 2018.

    >>> import minidl
    >>> minidl.nn.functional.silu(minidl.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.2689,  0.    ,  0.7311])
    """
    x = floating(input)
    return _into(input, x * sigmoid(x), inplace)


def _softplus_forward(x: Any, *, beta: float, threshold: float) -> Any:
    xp = array_module(x)
    scaled = x * beta
    if x.dtype.kind == "c":  # complex step: analytic, so no maximum
        return xp.log1p(xp.exp(scaled)) / beta
    smooth = xp.maximum(scaled, 0) + xp.log1p(xp.exp(-xp.abs(scaled)))  # an exponential never above 1
    return xp.where(scaled > threshold, x, smooth / beta)


def _softplus_rule(g: Any, y: Any, x: Any, *, beta: float, threshold: float) -> Any:
    return where(x * beta > threshold, g, g * sigmoid(x * beta))


_softplus: Primitive = Primitive("softplus", _softplus_forward, vjp(_softplus_rule, uses="x"))


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """``log(1 + exp(beta x)) / beta``, and x itself where ``beta x`` exceeds ``threshold``.

    >>> import minidl
    >>> minidl.nn.functional.softplus(minidl.tensor([0.0, 1.0, 100.0]))
    tensor([  0.6931,   1.3133, 100.    ])
    """
    return _softplus(floating(input), beta=float(beta), threshold=float(threshold))


def mish(input: Any, inplace: bool = False) -> Any:
    """``x * tanh(softplus(x))``.  Misra 2019.

    >>> import minidl
    >>> minidl.nn.functional.mish(minidl.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.3034,  0.    ,  0.8651])
    """
    x = floating(input)
    return _into(input, x * tanh(softplus(x)), inplace)


def logsigmoid(input: Any) -> Any:
    """``log(sigmoid(x))`` without overflow.

    >>> import minidl
    >>> minidl.nn.functional.logsigmoid(minidl.tensor([-100.0, 0.0]))
    tensor([-100.    ,   -0.6931])
    """
    return -softplus(-floating(input), threshold=math.inf)


def softsign(input: Any) -> Any:
    """``x / (1 + |x|)``.

    >>> import minidl
    >>> minidl.nn.functional.softsign(minidl.tensor([-1.0, 0.0, 3.0]))
    tensor([-0.5 ,  0.  ,  0.75])
    """
    x = floating(input)
    return x / (x.abs() + 1)


def _hardtanh_rule(g: Any, y: Any, x: Any, *, low: float, high: float) -> Any:
    return _hardtanh_grad(g, y, low=low, high=high)


# inside the limits y is x, so y tells as well, and the next layer keeps it anyway
_hardtanh: Primitive = Primitive(
    "hardtanh", lambda x, *, low, high: kernel.clip(x, low, high), vjp(_hardtanh_rule, uses="y")
)
_hardtanh_grad: Primitive = Primitive(
    "hardtanh_grad",
    lambda g, y, *, low, high: kernel.clip_grad(g, y, low, high),
    vjp(lambda u, dx, g, y, *, low, high: _hardtanh_grad(u, y, low=low, high=high), uses="y"),
)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """x limited to [min_val, max_val]; slope 0 at the limits (unlike :func:`minidl.clamp`, which has 1 there).

    >>> import minidl
    >>> minidl.nn.functional.hardtanh(minidl.tensor([-2.0, 0.5, 2.0]))
    tensor([-1. ,  0.5,  1. ])
    """
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val = {min_val} must not exceed max_val = {max_val}")
    return _into(input, _hardtanh(floating(input), low=float(min_val), high=float(max_val)), inplace)


def relu_up_to(ceiling: float, input: Any) -> Any:
    """ReLU that ends at ``ceiling``, which may be infinity.

    >>> import minidl
    >>> relu_up_to(2.0, minidl.tensor([-1.0, 1.0, 3.0]))
    tensor([0., 1., 2.])
    """
    return relu(input) if ceiling == math.inf else hardtanh(input, 0.0, ceiling)


def cut_grad(g: Any, y: Any, ceiling: float) -> Any:
    """The cotangent g before a ReLU that ends at ``ceiling`` and gave y.

    >>> import minidl
    >>> cut_grad(minidl.tensor([3.0, 4.0, 5.0]), minidl.tensor([0.0, 1.0, 2.0]), 2.0)
    tensor([0., 4., 0.])
    """
    return _relu_grad(g, y) if ceiling == math.inf else _hardtanh_grad(g, y, low=0.0, high=ceiling)


def relu6(input: Any, inplace: bool = False) -> Any:
    """min(max(x, 0), 6); slope 0 at 0 and 6.  Howard et al. 2017.

    >>> import minidl
    >>> minidl.nn.functional.relu6(minidl.tensor([-1.0, 3.0, 8.0]))
    tensor([0., 3., 6.])
    """
    return hardtanh(input, 0.0, 6.0, inplace)


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """min(max(x + 3, 0), 6) / 6; slope 0 at -3 and 3.

    >>> import minidl
    >>> minidl.nn.functional.hardsigmoid(minidl.tensor([-4.0, 0.0, 1.5, 4.0]))
    tensor([0.  , 0.5 , 0.75, 1.  ])
    """
    return _into(input, relu6(floating(input) + 3) / 6, inplace)


def hardswish(input: Any, inplace: bool = False) -> Any:
    """``x * hardsigmoid(x)``; slope 0 at -3 and 1 at 3.  Howard et al. 2019.

    >>> import minidl
    >>> minidl.nn.functional.hardswish(minidl.tensor([-1.5, 0.0, 4.0]))
    tensor([-0.375,  0.   ,  4.   ])
    """
    x = floating(input)
    return _into(input, x * hardsigmoid(x), inplace)


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """x above ``threshold``, ``value`` elsewhere; slope 0 at the threshold.

    >>> import minidl
    >>> minidl.nn.functional.threshold(minidl.tensor([0.5, 2.0]), 1.0, -7.0)
    tensor([-7.,  2.])
    """
    x = as_operand(input)
    return _into(input, where(x <= threshold, value, x), inplace)  # so that NaN stays NaN


def hardshrink(input: Any, lambd: float = 0.5) -> Any:
    """x outside [-lambd, lambd], 0 inside; slope 0 at the limits.

    >>> import minidl
    >>> minidl.nn.functional.hardshrink(minidl.tensor([-2.0, 0.25, 2.0]))
    tensor([-2.,  0.,  2.])
    """
    x = floating(input)
    return where((x >= -lambd) & (x <= lambd), 0.0, x)


def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """x brought nearer to 0 by ``lambd``, 0 inside [-lambd, lambd]; slope 0 at the limits.

    >>> import minidl
    >>> minidl.nn.functional.softshrink(minidl.tensor([-2.0, 0.25, 2.0]))
    tensor([-1.5,  0. ,  1.5])
    """
    if not lambd >= 0:
        raise ValueError(f"softshrink: lambd must not be negative, got {lambd}")
    x = floating(input)
    return where((x >= -lambd) & (x <= lambd), 0.0, x - x.sign() * lambd)


def tanhshrink(input: Any) -> Any:
    """``x - tanh(x)``.

    >>> import minidl
    >>> minidl.nn.functional.tanhshrink(minidl.tensor([0.0, 1.0]))
    tensor([0.    , 0.2384])
    """
    x = floating(input)
    return x - tanh(x)


def glu(input: Any, dim: int = -1) -> Any:
    """First half along ``dim`` times the sigmoid of the second.  Dauphin et al. 2017.

    The length of ``dim`` must be even: half of it comes out.

    >>> import minidl
    >>> minidl.nn.functional.glu(minidl.tensor([[1.0, 2.0, 0.0, 0.0]]))
    tensor([[0.5, 1. ]])
    """
    x = floating(input)
    if x.ndim == 0:
        raise ShapeError("glu halves an axis, and a single number has none")
    dim = normalise_dim(dim, x.ndim)
    if x.shape[dim] % 2:
        raise ShapeError(f"glu halves axis {dim} of {x.shape}, which has the odd length {x.shape[dim]}")
    a, b = x.chunk(2, dim) if x.shape[dim] else (x, x)
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
    e /= e.sum(axis=axis, keepdims=True)
    return e


def log_softmax_array(x: Any, *, axis: int) -> Any:
    """log(softmax(x)) along ``axis``, of an array."""
    shifted, e = _shifted_exp(x, axis)
    shifted -= array_module(x).log(e.sum(axis=axis, keepdims=True))
    return shifted


def _softmax_rule(g: Any, y: Any, x: Any, *, axis: int) -> Any:
    return (g - (g * y).sum(axis, True)) * y


def _log_softmax_rule(g: Any, y: Any, x: Any, *, axis: int) -> Any:
    return g - exp(y) * g.sum(axis, True)


_softmax: Primitive = Primitive("softmax", _softmax_forward, vjp(_softmax_rule, uses="y"))
_log_softmax: Primitive = Primitive("log_softmax", log_softmax_array, vjp(_log_softmax_rule, uses="y"))


def softmax(input: Any, dim: int = -1, *, dtype: Any = None) -> Any:
    """exp(x) divided by its sum along ``dim``: positive, adding up to 1.  ``dtype``: converted to that first.

    PyTorch guesses ``dim`` where it is not given; here it is the last axis.

    >>> import minidl
    >>> minidl.softmax(minidl.tensor([[1000.0, 1000.0, 0.0]]), dim=1)
    tensor([[0.5, 0.5, 0. ]])
    """
    return _over_axis(_softmax, input, dim, dtype)


def log_softmax(input: Any, dim: int = -1, *, dtype: Any = None) -> Any:
    """Logarithm of :func:`softmax`, computed without leaving the logarithms.

    >>> import minidl
    >>> minidl.log_softmax(minidl.tensor([[0.0, 0.0]]))
    tensor([[-0.6931, -0.6931]])
    """
    return _over_axis(_log_softmax, input, dim, dtype)


def _over_axis(primitive: Primitive, input: Any, dim: int, dtype: Any) -> Any:
    x = floating(input if dtype is None else as_operand(input).to(dtype))
    if x.ndim == 0:  # a class of its own
        normalise_dim(dim, 0)
        return primitive(x.reshape(1), axis=0).reshape(())
    return primitive(x, axis=normalise_dim(dim, x.ndim))


def softmin(input: Any, dim: int = -1, *, dtype: Any = None) -> Any:
    """Softmax of ``-x``.

    >>> import minidl
    >>> minidl.nn.functional.softmin(minidl.tensor([[0.0, 0.0, 1000.0]]))
    tensor([[0.5, 0.5, 0. ]])
    """
    return softmax(-floating(input), dim, dtype=dtype)


def normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Any:
    """``x`` divided by its p-norm along ``dim`` (by ``eps`` where the norm is smaller).

    >>> import minidl
    >>> minidl.nn.functional.normalize(minidl.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6, 0.8],
            [0. , 0. ]])
    """
    x = floating(input)
    return x / norm(x, p, dim, True).clamp(min=eps)
