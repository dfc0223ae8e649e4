"""Affine maps of features: linear, bilinear, and the look-up table that is a linear map of one-hot rows."""

from __future__ import annotations

import math
from typing import Any

from ..autograd.mode import MODE
from ..autograd.tape import Primitive, step_by_step, vjp
from ..kernels.errors import ShapeError
from ._common import as_operand, same_device, same_dtype, sum_to, tensor_operand
from .elementwise import where
from .indexing import extremes
from .linalg import _matmul, _product, einsum
from .shape import transpose


def _checked_bias(op: str, bias: Any, outputs: int) -> Any:
    bias = None if bias is None else as_operand(bias)
    if bias is not None and bias.shape != (outputs,):
        raise ShapeError(f"{op}: the bias must have one value for each of {outputs} outputs, not shape {bias.shape}")
    return bias


def _plus_bias(op: str, y: Any, bias: Any) -> Any:
    bias = _checked_bias(op, bias, y.shape[-1])
    return y if bias is None else y + bias


def _linear_forward(x: Any, w: Any, b: Any) -> Any:
    y = _product(x, w.T)
    if b is not None:
        y += b
    return y


# the product and the sum in one; whoever listens sees the two, and the same bits
_linear: Primitive = Primitive(
    "linear",
    _linear_forward,
    vjp(lambda g, y, x, w, b: _matmul(g, w), uses="w"),
    vjp(lambda g, y, x, w, b: _matmul(transpose(g, 0, 1), x), uses="x"),
    vjp(lambda g, y, x, w, b: sum_to(g, b)),
)


def _in_steps(x: Any, w: Any, bias: Any) -> Any:
    return _plus_bias("linear", x @ w.mT, bias)


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """``x @ weight.T + bias``: (..., in_features), (out_features, in_features), (out_features,) -> (..., out_features).

    >>> import minidl
    >>> weight = minidl.tensor([[1.0, 1.0], [1.0, -1.0]])
    >>> minidl.nn.functional.linear(minidl.tensor([5.0, 2.0]), weight, minidl.tensor([0.0, 10.0]))
    tensor([ 7., 13.])
    """
    x, w = tensor_operand(input), as_operand(weight)
    same_dtype("linear", x, w, bias)
    same_device("linear", input=x, weight=w, bias=bias)
    if w.ndim != 2:
        raise ShapeError(f"linear: the weight must be (out_features, in_features), not {w.shape}")
    if x.ndim == 0 or x.shape[-1] != w.shape[1]:
        features = x.shape[-1] if x.ndim else 0
        hint = ""
        if x.ndim > 2 and w.shape[1] == math.prod(x.shape[1:]):
            hint = ": the input looks unflattened, try x.flatten(1)"
        elif features == w.shape[0]:
            hint = ": the weight looks transposed"
        raise ShapeError(
            f"linear: the weight {w.shape} (out_features, in_features) takes inputs whose last axis has "
            f"{w.shape[1]} features, but x is {x.shape} and has {features}{hint}"
        )
    if x.ndim != 2 or step_by_step():
        return _in_steps(x, w, bias) if MODE.autocast is None else MODE.autocast.lowered(_in_steps, x, w, bias)
    return _linear(x, w, _checked_bias("linear", bias, w.shape[0]))


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """``y_k = x1^T W_k x2 + b_k``: (..., A), (..., B), (K, A, B) -> (..., K).

    >>> import minidl
    >>> minidl.nn.functional.bilinear(minidl.ones(4, 2), minidl.ones(4, 3), minidl.ones(5, 2, 3)).shape
    (4, 5)
    """
    x1, x2, w = tensor_operand(input1), tensor_operand(input2), as_operand(weight)
    same_dtype("bilinear", x1, x2, w, bias)
    if w.ndim != 3 or not x1.ndim or not x2.ndim or (x1.shape[-1], x2.shape[-1]) != w.shape[1:]:
        raise ShapeError(
            f"bilinear: the weight {w.shape} must be (K, A, B) for inputs (..., A) and (..., B), which are "
            f"{x1.shape} and {x2.shape}"
        )
    if x1.shape[:-1] != x2.shape[:-1]:
        raise ShapeError(f"bilinear: the inputs {x1.shape} and {x2.shape} must agree in all axes but the last")
    return _plus_bias("bilinear", einsum("...a,kab,...b->...k", x1, w, x2), bias)


def unsupported_embedding(op: str, max_norm: Any, norm_type: float, scale_grad_by_freq: bool, sparse: bool) -> None:
    """PyTorch's further options, which are accepted where they ask for nothing."""
    for name, value in (("max_norm", max_norm), ("scale_grad_by_freq", scale_grad_by_freq), ("sparse", sparse)):
        if value:
            raise ValueError(
                f"{op}: {name}={value!r} is not supported here: gradients are dense and rows stay as they are"
            )


def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """Rows of ``weight`` (entries, width) by number: (*) integers -> (*, width).

    The row ``padding_idx`` gets no gradient.  Of PyTorch's further options only the defaults are taken.

    >>> import minidl
    >>> table = minidl.tensor([[0.0, 0.5], [1.0, 1.5], [2.0, 2.5]])
    >>> minidl.nn.functional.embedding(minidl.tensor([2, 0]), table)
    tensor([[2. , 2.5],
            [0. , 0.5]])
    """
    unsupported_embedding("embedding", max_norm, norm_type, scale_grad_by_freq, sparse)
    index, w = tensor_operand(input), as_operand(weight)
    if index.dtype.kind not in "iu":
        raise TypeError(f"embedding looks rows up by number and needs integers, not {index.dtype}: use input.long()")
    if w.ndim != 2:
        raise ShapeError(f"embedding: the weight must be (entries, width), not {w.shape}")
    rows = w.shape[0]
    low, high = extremes(index._array)
    if low < 0 or high >= rows:
        raise IndexError(f"embedding: numbers {low} to {high} for a table of {rows} rows (0 to {rows - 1})")
    y = w[index]
    if padding_idx is None:
        return y
    if not -rows <= padding_idx < rows:
        raise IndexError(f"embedding: padding_idx = {padding_idx} for a table of {rows} rows (0 to {rows - 1})")
    return where((index == padding_idx % rows).unsqueeze(-1), y.detach(), y)
