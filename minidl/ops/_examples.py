"""Examples for the docstrings of functions that are made from tables: an expression, and what it shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_EXAMPLES = {
    "exp": ("minidl.exp(minidl.tensor([0.0, 1.0]))", "tensor([1.    , 2.7183])"),
    "exp2": ("minidl.exp2(minidl.tensor([0.0, 3.0]))", "tensor([1., 8.])"),
    "expm1": ("minidl.expm1(minidl.tensor([0.0, 1.0]))", "tensor([0.    , 1.7183])"),
    "log": ("minidl.log(minidl.tensor([1.0, 2.0]))", "tensor([0.    , 0.6931])"),
    "log2": ("minidl.log2(minidl.tensor([1.0, 8.0]))", "tensor([0., 3.])"),
    "log10": ("minidl.log10(minidl.tensor([1.0, 1000.0]))", "tensor([0., 3.])"),
    "log1p": ("minidl.log1p(minidl.tensor([0.0, 1.0]))", "tensor([0.    , 0.6931])"),
    "sqrt": ("minidl.sqrt(minidl.tensor([4.0, 9.0]))", "tensor([2., 3.])"),
    "rsqrt": ("minidl.rsqrt(minidl.tensor([4.0, 0.25]))", "tensor([0.5, 2. ])"),
    "reciprocal": ("minidl.reciprocal(minidl.tensor([2.0, 4.0]))", "tensor([0.5 , 0.25])"),
    "sin": ("minidl.sin(minidl.tensor([0.0, 1.0]))", "tensor([0.    , 0.8415])"),
    "cos": ("minidl.cos(minidl.tensor([0.0, 1.0]))", "tensor([1.    , 0.5403])"),
    "tan": ("minidl.tan(minidl.tensor([0.0, 1.0]))", "tensor([0.    , 1.5574])"),
    "asin": ("minidl.asin(minidl.tensor([0.0, 1.0]))", "tensor([0.    , 1.5708])"),
    "acos": ("minidl.acos(minidl.tensor([0.0, 1.0]))", "tensor([1.5708, 0.    ])"),
    "atan": ("minidl.atan(minidl.tensor([0.0, 1.0]))", "tensor([0.    , 0.7854])"),
    "sinh": ("minidl.sinh(minidl.tensor([0.0, 1.0]))", "tensor([0.    , 1.1752])"),
    "cosh": ("minidl.cosh(minidl.tensor([0.0, 1.0]))", "tensor([1.    , 1.5431])"),
    "tanh": ("minidl.tanh(minidl.tensor([0.0, 1.0]))", "tensor([0.    , 0.7616])"),
    "sigmoid": ("minidl.sigmoid(minidl.tensor([-1.0, 0.0, 1.0]))", "tensor([0.2689, 0.5   , 0.7311])"),
    "erf": ("minidl.erf(minidl.tensor([0.0, 1.0]))", "tensor([0.    , 0.8427])"),
    "sign": ("minidl.sign(minidl.tensor([-2.5, 0.0, 3.0]))", "tensor([-1.,  0.,  1.])"),
    "floor": ("minidl.floor(minidl.tensor([-1.5, 1.5]))", "tensor([-2.,  1.])"),
    "ceil": ("minidl.ceil(minidl.tensor([-1.5, 1.5]))", "tensor([-1.,  2.])"),
    "trunc": ("minidl.trunc(minidl.tensor([-1.5, 1.5]))", "tensor([-1.,  1.])"),
    "eq": ("minidl.eq(minidl.tensor([1, 2, 3]), 2)", "tensor([False,  True, False])"),
    "ne": ("minidl.ne(minidl.tensor([1, 2, 3]), 2)", "tensor([ True, False,  True])"),
    "lt": ("minidl.lt(minidl.tensor([1, 2, 3]), 2)", "tensor([ True, False, False])"),
    "le": ("minidl.le(minidl.tensor([1, 2, 3]), 2)", "tensor([ True,  True, False])"),
    "gt": ("minidl.gt(minidl.tensor([1, 2, 3]), 2)", "tensor([False, False,  True])"),
    "ge": ("minidl.ge(minidl.tensor([1, 2, 3]), 2)", "tensor([False,  True,  True])"),
    "logical_and": (
        "minidl.logical_and(minidl.tensor([0, 0, 2, 2]), minidl.tensor([0, 3, 0, 3]))",
        "tensor([False, False, False,  True])",
    ),
    "logical_or": (
        "minidl.logical_or(minidl.tensor([0, 0, 2, 2]), minidl.tensor([0, 3, 0, 3]))",
        "tensor([False,  True,  True,  True])",
    ),
    "logical_xor": (
        "minidl.logical_xor(minidl.tensor([0, 0, 2, 2]), minidl.tensor([0, 3, 0, 3]))",
        "tensor([False,  True,  True, False])",
    ),
    "argmax": ("minidl.tensor([[1, 5], [7, 7]]).argmax(1)", "tensor([1, 0])"),
    "argmin": ("minidl.tensor([[5, 1], [7, 7]]).argmin(1)", "tensor([1, 0])"),
    "zeros": ('minidl.zeros(2), minidl.zeros((2, 3), dtype="int64").shape', "(tensor([0., 0.]), (2, 3))"),
    "ones": ("minidl.ones(2), minidl.ones((2, 3)).dtype", "(tensor([1., 1.]), dtype('float32'))"),
    "empty": ("minidl.empty(2, 3).shape", "(2, 3)"),
    "zeros_like": ("minidl.zeros_like(minidl.tensor([1, 2]))", "tensor([0, 0])"),
    "ones_like": ("minidl.ones_like(minidl.tensor([1.5, 2.5]))", "tensor([1., 1.])"),
    "empty_like": ("minidl.empty_like(minidl.zeros(2, 3)).shape", "(2, 3)"),
}


def named(function: Callable[..., Any], name: str, doc: str) -> Callable[..., Any]:
    """``function`` as the public ``name``, with its docstring and the example above."""
    expression, shown = _EXAMPLES[name]
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc}\n\n    >>> import minidl\n    >>> {expression}\n    {shown}\n    "
    return function
