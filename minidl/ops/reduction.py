"""Reductions over axes, and cumulative sums.  ``dim`` is None or () (all axes), an integer or several."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..autograd.tape import Primitive, vjp
from ..backend import array_module
from ..dtypes import as_dtype, int64
from ..kernels.norm import channel_sums
from ._common import Dims, as_operand, broadcast_to, floating, normalise_dim, normalise_dims
from ._examples import named
from .elementwise import exp, log, sqrt, where


class ValuesIndices(NamedTuple):
    """What ``max``, ``min``, ``sort``, ``topk`` and ``median`` along one axis return."""

    values: Any
    indices: Any


def kept_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` with length 1 on ``axes``."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def reduced_dims(dim: Dims, ndim: int) -> tuple[int, ...]:
    """As :func:`normalise_dims`; to reduce over no axis in particular, ``()``, is to reduce over all, as in PyTorch."""
    return normalise_dims(None if isinstance(dim, Sequence) and not dim else dim, ndim)


def _spread(g: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """A reduced cotangent, stretched back over the reduced axes."""
    return broadcast_to(g.reshape(kept_shape(shape, axes)), shape)


def _summed(x: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
    if x.ndim > 2 and axes == (0, *range(2, x.ndim)) and x.dtype.kind == "f":  # the gradient of a bias
        total = channel_sums(x)
        return total.reshape(kept_shape(x.shape, axes)) if keepdim else total
    return array_module(x).sum(x, axis=axes, keepdims=keepdim)


_sum: Primitive = Primitive(
    "sum",
    lambda x, *, axes, keepdim: _summed(x, axes, keepdim),
    vjp(lambda g, y, x, *, axes, keepdim: _spread(g, x.shape, axes)),
)


def sum(input: Any, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Sum over ``dim``; integers and booleans add up in int64.

    (2, 3, 4) over ``dim=1`` gives (2, 4), with ``keepdim`` (2, 1, 4); over all axes ().

    >>> import minidl
    >>> x = minidl.tensor([[1, 2], [3, 4]])
    >>> x.sum(), x.sum(0), x.sum(1, keepdim=True).shape
    (tensor(10), tensor([4, 6]), (2, 1))
    """
    x = as_operand(input)
    if dtype is not None:
        x = x.to(as_dtype(dtype))
    elif x.dtype.kind in "bui":
        x = x.to(int64)
    return _sum(x, axes=reduced_dims(dim, x.ndim), keepdim=keepdim)


def _count(x: Any, axes: tuple[int, ...]) -> int:
    return math.prod(x.shape[a] for a in axes)


def _at_least_one(x: Any, axes: tuple[int, ...]) -> int:
    return _count(x, axes) or 1  # nothing receives the gradient of the mean of nothing


_mean: Primitive = Primitive(
    "mean",
    lambda x, *, axes, keepdim: (
        array_module(x).mean(x, axis=axes, keepdims=keepdim) if x.size else _sum_over_none(x, axes, keepdim)
    ),
    vjp(lambda g, y, x, *, axes, keepdim: _spread(g / _at_least_one(x, axes), x.shape, axes)),
)


def _sum_over_none(x: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
    """The mean of nothing is NaN, without NumPy's warning."""
    total = array_module(x).sum(x, axis=axes, keepdims=keepdim)
    return total + (math.nan if _count(x, axes) == 0 else 0.0)


def mean(input: Any, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Arithmetic mean over ``dim`` of a floating-point tensor.

    Other dtypes are a TypeError; the mean of nothing is NaN.

    (2, 3, 4) over ``dim=1`` gives (2, 4), with ``keepdim`` (2, 1, 4); over all axes ().

    >>> import minidl
    >>> x = minidl.tensor([[1.0, 2.0], [3.0, 6.0]])
    >>> x.mean(), x.mean(0)
    (tensor(3.), tensor([2., 4.]))
    """
    x = as_operand(input)
    if dtype is not None:
        x = x.to(as_dtype(dtype))
    if x.dtype.kind not in "fc":
        raise TypeError(f"mean() needs floating point, got {x.dtype}: use x.to('float32').mean()")
    return _mean(x, axes=reduced_dims(dim, x.ndim), keepdim=keepdim)


def var(
    input: Any, dim: Dims = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float = 1
) -> Any:
    """Variance over ``dim``: squared distances from the mean, divided by ``n - correction``.

    ``unbiased`` is PyTorch's older word for ``correction=1`` (True) or ``0`` (False).

    >>> import minidl
    >>> x = minidl.tensor([0.0, 3.0, 6.0])
    >>> x.var().item(), x.var(correction=0).item()
    (9.0, 6.0)
    """
    x = floating(input)
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None:
        correction = 1 if unbiased else 0
    axes = reduced_dims(dim, x.ndim)
    distance = x - mean(x, axes, True)
    n = _count(x, axes) - correction
    # of one value (or none) it is NaN; PyTorch's word for a correction beyond that is infinity
    return sum(distance * distance, axes, keepdim) * (1 / n if n > 0 else math.inf)


def std(
    input: Any, dim: Dims = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float = 1
) -> Any:
    """Standard deviation, the root of :func:`var`; its gradient where all values are equal is 0.

    >>> import minidl
    >>> minidl.tensor([1.0, 1.0, 4.0, 4.0]).std(correction=0)
    tensor(1.5)
    """
    return _root(var(input, dim, unbiased, keepdim, correction=correction))


def var_mean(
    input: Any, dim: Dims = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float = 1
) -> tuple[Any, Any]:
    """:func:`var` and :func:`mean` over the same ``dim``.

    >>> import minidl
    >>> minidl.var_mean(minidl.tensor([0.0, 3.0, 6.0]))
    (tensor(9.), tensor(3.))
    """
    axes = None if isinstance(dim, bool) else dim
    return var(input, dim, unbiased, keepdim, correction=correction), mean(floating(input), axes, keepdim)


# ---- extremes ------------------------------------------------------------------------------------------------


def _extreme_rule(g: Any, y: Any, x: Any, *, axes: tuple[int, ...], keepdim: bool) -> Any:
    """Equal shares for all elements that attain the extreme, as PyTorch's amax and amin."""
    shape = kept_shape(x.shape, axes)
    hits = (x == y.reshape(shape)).to(g.dtype)
    return hits * (g.reshape(shape) / hits.sum(axes, True))


_amax: Primitive = Primitive(
    "amax",
    lambda x, *, axes, keepdim: array_module(x).max(x, axis=axes, keepdims=keepdim),
    vjp(_extreme_rule, uses="x y"),
)
_amin: Primitive = Primitive(
    "amin",
    lambda x, *, axes, keepdim: array_module(x).min(x, axis=axes, keepdims=keepdim),
    vjp(_extreme_rule, uses="x y"),
)


def _not_empty(name: str, x: Any, axes: tuple[int, ...]) -> None:
    if _count(x, axes) == 0:
        raise ValueError(f"{name}() of no elements: shape {x.shape} is empty along dim {axes}")


def amax(input: Any, dim: Dims = None, keepdim: bool = False) -> Any:
    """Maximum over ``dim``; equal maxima share the gradient equally.

    ValueError where there is no element.

    >>> import minidl
    >>> minidl.tensor([[1, 5], [7, 3]]).amax(1)
    tensor([5, 7])
    """
    x = as_operand(input)
    axes = reduced_dims(dim, x.ndim)
    _not_empty("amax", x, axes)
    return _amax(x, axes=axes, keepdim=keepdim)


def amin(input: Any, dim: Dims = None, keepdim: bool = False) -> Any:
    """Minimum over ``dim``; equal minima share the gradient equally.

    ValueError where there is no element.

    >>> import minidl
    >>> minidl.tensor([[1, 5], [7, 3]]).amin(1)
    tensor([1, 3])
    """
    x = as_operand(input)
    axes = reduced_dims(dim, x.ndim)
    _not_empty("amin", x, axes)
    return _amin(x, axes=axes, keepdim=keepdim)


def _arg(name: str) -> Callable[..., Any]:
    primitive = Primitive(name, lambda x, *, axis, keepdim: _arg_forward(name, x, axis, keepdim))

    def function(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
        x = as_operand(input)
        axis = None if dim is None else normalise_dim(dim, x.ndim)
        _not_empty(name, x, normalise_dims(axis, x.ndim))
        return primitive(x, axis=axis, keepdim=keepdim)

    doc = f"Index of the first {name[3:]}imum along ``dim``, of the flattened tensor when None (int64)."
    return named(function, name, doc)


def _arg_forward(name: str, x: Any, axis: int | None, keepdim: bool) -> Any:
    return array_module(x).asarray(getattr(array_module(x), name)(x, axis=axis, keepdims=keepdim))


argmax, argmin = _arg("argmax"), _arg("argmin")


def _along(input: Any, dim: Any, keepdim: bool, arg: Callable[..., Any]) -> ValuesIndices:
    from .indexing import take_along_dim

    axis = normalise_dim(dim, input.ndim)
    _not_empty(arg.__name__.removeprefix("arg"), input, normalise_dims(axis, input.ndim))
    index = arg(input, axis, keepdim=True) if input.ndim else arg(input)
    values = take_along_dim(input, index, axis) if input.ndim else input
    return (
        ValuesIndices(values, index)
        if keepdim or not input.ndim
        else ValuesIndices(values.squeeze(axis), index.squeeze(axis))
    )


def max(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The maximum; along ``dim`` a pair (values, indices); of two tensors the larger of each pair.

    Along ``dim`` the gradient goes to the first maximum alone; over everything, to all of them equally.

    >>> import minidl
    >>> values, indices = minidl.tensor([[1, 5], [7, 3]]).max(1)
    >>> values, indices
    (tensor([5, 7]), tensor([1, 0]))
    >>> minidl.max(minidl.tensor([1, 4]), minidl.tensor([2, 3]))
    tensor([2, 4])
    """
    dim = other if dim is None else dim
    if dim is None:
        _not_empty("max", input, normalise_dims(None, input.ndim))
        return amax(input)
    if not isinstance(dim, (int, np.integer)):
        from .arithmetic import maximum

        return maximum(input, dim)
    return _along(as_operand(input), dim, keepdim, argmax)


def min(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The minimum; along ``dim`` a pair (values, indices); of two tensors the smaller of each pair.

    >>> import minidl
    >>> values, indices = minidl.tensor([[1, 5], [7, 3]]).min(1)
    >>> values, indices
    (tensor([1, 3]), tensor([0, 1]))
    """
    dim = other if dim is None else dim
    if dim is None:
        _not_empty("min", input, normalise_dims(None, input.ndim))
        return amin(input)
    if not isinstance(dim, (int, np.integer)):
        from .arithmetic import minimum

        return minimum(input, dim)
    return _along(as_operand(input), dim, keepdim, argmin)


_any: Primitive = Primitive("any", lambda x, *, axes, keepdim: array_module(x).any(x, axis=axes, keepdims=keepdim))
_all: Primitive = Primitive("all", lambda x, *, axes, keepdim: array_module(x).all(x, axis=axes, keepdims=keepdim))


def any(input: Any, dim: Dims = None, keepdim: bool = False) -> Any:
    """Whether some element is true (not zero).

    >>> import minidl
    >>> minidl.tensor([[0, 0], [0, 3]]).any(1)
    tensor([False,  True])
    """
    x = as_operand(input)
    return _any(x, axes=normalise_dims(dim, x.ndim), keepdim=keepdim)


def all(input: Any, dim: Dims = None, keepdim: bool = False) -> Any:
    """Whether every element is true (not zero).

    >>> import minidl
    >>> minidl.tensor([[1, 2], [0, 3]]).all(1)
    tensor([ True, False])
    """
    x = as_operand(input)
    return _all(x, axes=normalise_dims(dim, x.ndim), keepdim=keepdim)


# ---- products and running sums -------------------------------------------------------------------------------

_cumsum: Primitive = Primitive(
    "cumsum",
    lambda x, *, axis: array_module(x).cumsum(x, axis=axis),
    vjp(lambda g, y, x, *, axis: g.flip(axis).cumsum(axis).flip(axis)),
)


def cumsum(input: Any, dim: int, *, dtype: Any = None) -> Any:
    """Running sum along ``dim``.

    Integers and booleans add up in int64.

    >>> import minidl
    >>> minidl.tensor([1, 2, 3]).cumsum(0)
    tensor([1, 3, 6])
    """
    x = as_operand(input)
    if dtype is not None:
        x = x.to(as_dtype(dtype))
    x = x.to(int64) if x.dtype.kind in "bui" else x
    return _cumsum(x, axis=normalise_dim(dim, x.ndim)) if x.ndim else x


_exclusive_cumprod: Primitive = Primitive(
    "prod_of_others",
    lambda x, *, axis: _prod_of_others(x, axis),
    vjp(lambda g, y, x, *, axis: _prod_of_others_rule(g, x, axis), uses="x"),
)


def _prod_of_others(x: Any, axis: int) -> Any:
    """For each element the product of all others along ``axis``: exact also where there are zeros."""
    xp = array_module(x)
    if not x.size:
        return x.copy()
    one = xp.ones_like(xp.take(x, xp.arange(1), axis=axis))
    before = xp.cumprod(xp.concatenate([one, xp.delete(x, -1, axis=axis)], axis=axis), axis=axis)
    flipped = xp.flip(x, axis)
    after = xp.cumprod(xp.concatenate([one, xp.delete(flipped, -1, axis=axis)], axis=axis), axis=axis)
    return before * xp.flip(after, axis)


def _prod_of_others_rule(g: Any, x: Any, axis: int) -> Any:
    """d(prod of all but i)/dx_j = prod of all but i and j."""
    from .shape import stack

    n = x.shape[axis]
    if not n:
        return x * 0
    parts = []
    for j in range(n):
        others = [i for i in range(n) if i != j]
        if not others:
            parts.append(x.select(axis, j) * 0)
            continue
        rest = x.index_select(axis, others)
        parts.append((_exclusive_cumprod(rest, axis=axis) * g.index_select(axis, others)).sum(axis))
    return stack(parts, axis)


_prod: Primitive = Primitive(
    "prod",
    lambda x, *, axis, keepdim: array_module(x).prod(x, axis=axis, keepdims=keepdim),
    vjp(
        lambda g, y, x, *, axis, keepdim: _spread(g, x.shape, (axis,)) * _exclusive_cumprod(x, axis=axis),
        uses="x",
    ),
)


def prod(input: Any, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Product along ``dim`` (of everything when None); the gradient is right where there are zeros.

    >>> import minidl
    >>> minidl.tensor([[1, 2], [3, 4]]).prod(1)
    tensor([ 2, 12])
    """
    x = as_operand(input)
    if dtype is not None:
        x = x.to(as_dtype(dtype))
    x = x.to(int64) if x.dtype.kind in "bui" else x
    if dim is None:
        return prod(x.reshape(-1), 0)
    if not x.ndim:
        normalise_dim(dim, 0)
        return x.clone()
    return _prod(x, axis=normalise_dim(dim, x.ndim), keepdim=keepdim)


_cumprod: Primitive = Primitive(
    "cumprod",
    lambda x, *, axis: array_module(x).cumprod(x, axis=axis),
    vjp(lambda g, y, x, *, axis: _cumprod_rule(g, x, axis), uses="x"),
)


def _cumprod_rule(g: Any, x: Any, axis: int) -> Any:
    """Of the i-th product each of its factors gets the product of the others: a table (..., i, factor)."""
    upto = as_operand(array_module(x._array).tri(x.shape[axis], dtype=bool))
    factors = where(upto, x.movedim(axis, -1).unsqueeze(-2), 1.0)
    others = where(upto, _exclusive_cumprod(factors, axis=factors.ndim - 1), 0.0)
    return (others * g.movedim(axis, -1).unsqueeze(-1)).sum(-2).movedim(-1, axis)


def cumprod(input: Any, dim: int, *, dtype: Any = None) -> Any:
    """Running product along ``dim``; the gradient is right where there are zeros, in memory quadratic in the length.

    >>> import minidl
    >>> minidl.tensor([1, 2, 3]).cumprod(0)
    tensor([1, 2, 6])
    """
    x = as_operand(input)
    if dtype is not None:
        x = x.to(as_dtype(dtype))
    x = x.to(int64) if x.dtype.kind in "bui" else x
    return _cumprod(x, axis=normalise_dim(dim, x.ndim)) if x.ndim else x


def median(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle value, of an even number the lower of the two; along ``dim`` a pair (values, indices).

    NaN where there is one.  The gradient goes to the element that was found.

    >>> import minidl
    >>> minidl.median(minidl.tensor([4.0, 1.0, 3.0, 2.0])).item()
    2.0
    """
    from .indexing import argsort, take_along_dim

    x = as_operand(input)
    if dim is None:
        return median(x.reshape(-1), 0).values
    if not x.ndim:
        return ValuesIndices(x.clone(), argsort(x))
    axis = normalise_dim(dim, x.ndim)
    _not_empty("median", x, (axis,))
    middle = argsort(x, axis).narrow(axis, (x.shape[axis] - 1) // 2, 1)
    lacking = x.isnan()
    index = where(lacking.any(axis, True), argmax(lacking, axis, True), middle)
    values = take_along_dim(x, index, axis)
    return ValuesIndices(values, index) if keepdim else ValuesIndices(values.squeeze(axis), index.squeeze(axis))


def logsumexp(input: Any, dim: Dims, keepdim: bool = False) -> Any:
    """log(sum(exp(x))) over ``dim`` without overflow.

    >>> import minidl
    >>> x = minidl.tensor([1000.0, 1000.0])
    >>> print(f"{x.logsumexp(0).item():.4f}")  # 1000 + log 2
    1000.6932
    """
    x = floating(input)
    axes = reduced_dims(dim, x.ndim)
    if not x.numel():
        return log(sum(exp(x), axes, keepdim))  # of nothing: -inf
    top = amax(x, axes, True).detach()
    top = where(top.isfinite(), top, 0.0)  # a slice of -inf only: the shift must stay finite
    result = log(sum(exp(x - top), axes, True)) + top
    return result if keepdim else result.squeeze(axes)


def norm(input: Any, p: float | str = "fro", dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Vector p-norm over ``dim``: (sum |x|^p)^(1/p); ``p`` may be inf, -inf, 0, 1, 2 or "fro".

    The gradient at a zero vector is zero.

    >>> import minidl
    >>> x = minidl.tensor([3.0, -4.0])
    >>> x.norm().item(), x.norm(1).item(), x.norm(float("inf")).item()
    (5.0, 7.0, 4.0)
    """
    x = floating(input) if dtype is None else as_operand(input).to(as_dtype(dtype))
    axes = reduced_dims(dim, x.ndim)
    if p == "fro":
        p = 2
    if isinstance(p, str):
        raise ValueError(f"norm: p is a number or 'fro', not {p!r}: minidl has no singular values")
    p = float(p)
    if p == math.inf:
        return amax(x.abs(), axes, keepdim)
    if p == -math.inf:
        return amin(x.abs(), axes, keepdim)
    if p == 0:
        return sum((x != 0).to(x.dtype), axes, keepdim)
    if p == 1:
        return sum(x.abs(), axes, keepdim)
    total = sum(x * x if p == 2 else x.abs() ** p, axes, keepdim)
    return _root(total, p)


def _root(total: Any, p: float = 2) -> Any:
    """The p-th root, with gradient 0 at 0, where it has none."""
    zero = total == 0
    safe = where(zero, 1.0, total)
    return where(zero, 0.0, sqrt(safe) if p == 2 else safe ** (1 / p))
