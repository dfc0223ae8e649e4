"""Whether two tensors are the same as a whole: one answer, no gradient."""

from __future__ import annotations

from typing import Any

from ._common import promote, tensor_operand
from .elementwise import isfinite, isnan


def equal(input: Any, other: Any) -> bool:
    """Whether both have the same shape and the same elements (NaN equals nothing).

    >>> import minidl
    >>> minidl.equal(minidl.tensor([1, 2]), minidl.tensor([1, 2])), minidl.equal(minidl.zeros(2), minidl.zeros(2, 1))
    (True, False)
    """
    a, b = tensor_operand(input), tensor_operand(other)
    return a.shape == b.shape and bool((a == b).all())


def allclose(input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether ``|input - other| <= atol + rtol * |other|`` everywhere; infinities must be the same.

    >>> import minidl
    >>> minidl.allclose(minidl.tensor([1.0, 2.0]), minidl.tensor([1.0, 2.00001]))
    True
    """
    a, b = promote(tensor_operand(input).detach(), tensor_operand(other).detach())
    near = ((a - b).abs() <= atol + rtol * b.abs()) & isfinite(b) if a.dtype.kind == "f" else a == b
    near = near | (a == b)
    return bool((near | (isnan(a) & isnan(b)) if equal_nan else near).all())
