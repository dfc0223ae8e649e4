"""The methods of a tensor that are operations: each is the function of that name in this package."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from . import activation as a
from . import arithmetic as ar
from . import comparison as co
from . import creation as c
from . import elementwise as e
from . import indexing as i
from . import linalg as la
from . import reduction as r
from . import shape as s
from .keywords import with_torch_names


def _new(make: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
        return make(*size, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)

    method.__name__ = method.__qualname__ = f"new_{make.__name__}"
    method.__doc__ = f"As :func:`minidl.{make.__name__}`, of the dtype and on the device of this tensor unless given."
    return method


class TensorMethods:
    """Mixed into :class:`minidl.Tensor`; ``x.exp()`` is ``minidl.exp(x)``."""

    __slots__ = ()

    # arithmetic
    add, sub, mul, div, pow = ar.add, ar.sub, ar.mul, ar.div, ar.pow
    subtract, multiply, divide, true_divide = ar.sub, ar.mul, ar.div, ar.div
    neg, abs, square, floor_divide, remainder = e.neg, e.abs_, ar.square, ar.floor_divide, ar.remainder
    maximum, minimum, clamp, clip = ar.maximum, ar.minimum, e.clamp, e.clamp
    __add__ = __radd__ = ar.add
    __mul__ = __rmul__ = ar.mul
    __sub__, __truediv__, __pow__, __floordiv__, __mod__ = ar.sub, ar.div, ar.pow, ar.floor_divide, ar.remainder
    __neg__, __abs__, __invert__ = e.neg, e.abs_, e.bitwise_not
    __and__, __or__, __xor__ = e.bitwise_and, e.bitwise_or, e.bitwise_xor

    def __rsub__(self, other: Any) -> Any:
        return ar.sub(other, self)

    def __rtruediv__(self, other: Any) -> Any:
        return ar.div(other, self)

    def __rpow__(self, other: Any) -> Any:
        return ar.pow(other, self)

    def __rfloordiv__(self, other: Any) -> Any:
        return ar.floor_divide(other, self)

    def __rmod__(self, other: Any) -> Any:
        return ar.remainder(other, self)

    def where(self, condition: Any, other: Any) -> Any:
        """This tensor where ``condition`` is true, else ``other``."""
        return e.where(condition, self, other)

    # functions
    exp, exp2, expm1, log, log2, log10, log1p = e.exp, e.exp2, e.expm1, e.log, e.log2, e.log10, e.log1p
    sqrt, rsqrt, reciprocal, erf, sigmoid = e.sqrt, e.rsqrt, e.reciprocal, e.erf, e.sigmoid
    sin, cos, tan, asin, acos, atan, sinh, cosh, tanh = (
        e.sin, e.cos, e.tan, e.asin, e.acos, e.atan, e.sinh, e.cosh, e.tanh,
    )  # fmt: skip
    sign, floor, ceil, round, trunc = e.sign, e.floor, e.ceil, e.round, e.trunc

    relu, softmax, log_softmax = a.relu, a.softmax, a.log_softmax

    # comparison
    eq, ne, lt, le, gt, ge = e.eq, e.ne, e.lt, e.le, e.gt, e.ge
    __lt__, __le__, __gt__, __ge__ = e.lt, e.le, e.gt, e.ge

    def __eq__(self, other: Any) -> Any:
        return e.eq(self, other) if e.comparable(other) else NotImplemented

    def __ne__(self, other: Any) -> Any:
        return e.ne(self, other) if e.comparable(other) else NotImplemented

    logical_and, logical_or, logical_xor, logical_not = e.logical_and, e.logical_or, e.logical_xor, e.logical_not
    isnan, isinf, isfinite = e.isnan, e.isinf, e.isfinite

    allclose, equal = co.allclose, co.equal

    # dtype, device, memory
    to, clone, contiguous = e.to, e.clone, e.contiguous

    def type_as(self, other: Any) -> Any:
        """In the dtype (and on the device) of ``other``."""
        return e.to(self, other)

    def float(self) -> Any:
        """As float32."""
        return e.to(self, "float32")

    def double(self) -> Any:
        """As float64."""
        return e.to(self, "float64")

    def half(self) -> Any:
        """As float16."""
        return e.to(self, "float16")

    def long(self) -> Any:
        """As int64."""
        return e.to(self, "int64")

    def int(self) -> Any:
        """As int32."""
        return e.to(self, "int32")

    def bool(self) -> Any:
        """True where not zero."""
        return e.to(self, "bool")

    # new tensors beside this one
    def new_tensor(self, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: Any = False) -> Any:
        """A copy of ``data``, of the dtype and on the device of this tensor unless given."""
        from ..tensor import tensor

        return tensor(data, dtype or self.dtype, device or self.device, requires_grad)  # type: ignore[attr-defined]

    new_zeros, new_ones, new_empty = (_new(f) for f in (c.zeros, c.ones, c.empty))

    def new_full(
        self: Any, size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: Any = False
    ) -> Any:
        """``fill_value`` everywhere, of the dtype and on the device of this tensor unless given."""
        options = {"dtype": dtype or self.dtype, "device": device or self.device, "requires_grad": requires_grad}
        return c.full(size, fill_value, **options)

    # reductions
    sum, mean, var, std, prod, norm = r.sum, r.mean, r.var, r.std, r.prod, r.norm
    max, min, amax, amin, argmax, argmin = r.max, r.min, r.amax, r.amin, r.argmax, r.argmin
    any, all, cumsum, cumprod, logsumexp, median = r.any, r.all, r.cumsum, r.cumprod, r.logsumexp, r.median

    # shape
    reshape, view, permute, transpose, t, movedim = s.reshape, s.view, s.permute, s.transpose, s.t, s.movedim
    flatten, unflatten, squeeze, unsqueeze = s.flatten, s.unflatten, s.squeeze, s.unsqueeze
    expand, expand_as, repeat, tile, flip, roll = s.expand, s.expand_as, s.repeat, s.tile, s.flip, s.roll
    narrow, select, split, chunk, unbind, tril, triu = (
        s.narrow, s.select, s.split, s.chunk, s.unbind, s.tril, s.triu,
    )  # fmt: skip

    @property
    def T(self) -> Any:
        """All axes in reverse order."""
        return s.permute(self, tuple(reversed(range(self.ndim))))  # type: ignore[attr-defined]

    @property
    def mT(self) -> Any:
        """The last two axes exchanged."""
        return s.transpose(self, -1, -2)

    # indexing
    __getitem__, __setitem__ = i.getitem, i.setitem
    gather, scatter, scatter_add, take_along_dim = i.gather, i.scatter, i.scatter_add, i.take_along_dim
    index_select, index_add, index_put = i.index_select, i.index_add, i.index_put
    masked_fill, masked_select, sort, argsort, topk, nonzero = (
        i.masked_fill, i.masked_select, i.sort, i.argsort, i.topk, i.nonzero,
    )  # fmt: skip

    # linear algebra
    matmul = __matmul__ = la.matmul
    mm, bmm, dot, mv, outer, addmm, trace, diagonal, diag = (
        la.mm, la.bmm, la.dot, la.mv, la.outer, la.addmm, la.trace, la.diagonal, la.diag,
    )  # fmt: skip
    inverse, det, slogdet, cholesky = la.inv, la.det, la.slogdet, la.cholesky

    def __rmatmul__(self, other: Any) -> Any:
        return la.matmul(other, self)


for _name, _method in list(vars(TensorMethods).items()):
    if isinstance(_method, FunctionType) and not _name.startswith("_"):
        setattr(TensorMethods, _name, with_torch_names(_method))
