"""Convolution on arrays: plan, then run.  What ``minidl.ops`` calls.

Arrays: x (N, C, *size), w (K, C/G, *kernel), y and its cotangent g (N, K, *out); see ``Conv``.  No bias: the
op adds it.  A transposed convolution is ``input_grad`` of the Conv that ``Conv.transposed`` gives, its input
gradient is ``forward`` and its weight gradient ``weight_grad`` with x and g exchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from . import activation, norm
from .arrays import device_of
from .catalogue import Plan, Precision, plan
from .constants import Constants
from .errors import ShapeError
from .geometry import Conv


def forward(
    x: Any,
    w: Any,
    conv: Conv,
    algorithm: str | None = None,
    out: Any = None,
    precision: Precision | None = None,
) -> Any:
    """y (N, K, *out), the cross-correlation of x and w.  ``out``, when given, is overwritten and returned.

    Raises ShapeError where an array has not the shape that ``conv`` says or the dtypes differ, and
    UnsupportedError where ``algorithm`` cannot do the case.

    >>> import numpy as np
    >>> conv = Conv.from_shapes((1, 1, 4), (1, 1, 2))
    >>> forward(np.array([[[1.0, 2.0, 3.0, 4.0]]]), np.array([[[1.0, -1.0]]]), conv)
    array([[[-1., -1., -1.]]])
    """
    shapes = _shapes(conv)
    _check(("x", x, shapes.x), ("w", w, shapes.w), ("out", out, shapes.y))
    return _plan("forward", conv, x, algorithm, precision).run(x, w, out=out)


def forward_then(
    x: Any,
    w: Any,
    conv: Conv,
    scale: Any = None,
    shift: Any = None,
    added: Any = None,
    ceiling: float | None = None,
    algorithm: str | None = None,
    precision: Precision | None = None,
) -> Any:
    """``cut(forward(x, w) * scale + shift + added)``: with a bias, or batch norm in evaluation, behind it.

    ``scale`` and ``shift`` (K,), ``added`` (N, K, *out), each None for nothing.  ``ceiling``: the cut is ReLU up to
    there (infinity: without an end), None: there is none.  Where the chosen kernel can, all of it is done to results
    that are still in the cache; the numbers are those of one step after the other.  Errors as ``forward``.

    >>> import numpy as np
    >>> conv = Conv.from_shapes((1, 1, 4), (1, 1, 2))
    >>> x, w = np.array([[[1.0, 2.0, 3.0, 1.0]]]), np.array([[[1.0, -1.0]]])
    >>> forward_then(x, w, conv, shift=np.array([0.5]), ceiling=np.inf)
    array([[[0. , 0. , 2.5]]])
    """
    chosen, then, scale, shift = _plan_then(x, w, conv, scale, shift, added, algorithm, precision)
    y = NotImplemented if then is None else then(x, w, conv, scale, shift, added, ceiling)
    return _then_in_passes(chosen, x, w, scale, shift, added, ceiling) if y is NotImplemented else y


def learn_forward_then(
    x: Any,
    w: Any,
    conv: Conv,
    scale: Any = None,
    shift: Any = None,
    added: Any = None,
    ceiling: float | None = None,
    algorithm: str | None = None,
    *,
    constants: Constants,
) -> tuple[Any, Any]:
    """``forward_then(...)``, and a program that does it again for arrays x and ``added`` with these strides.

    w, scale and shift become ``constants``, which the program needs as long as it is used.  None for the program where
    the chosen kernel cannot be run again so.  Errors as ``forward``.
    """
    chosen, then, scale, shift = _plan_then(x, w, conv, scale, shift, added, algorithm, None)
    y: Any = NotImplemented
    program = None
    if then is not None:
        from .cpu.replay import learned

        constants.give(w, scale, shift)
        kernel = partial(then, x, w, conv, scale, shift, added, ceiling)
        y, program = learned(kernel, (x,) if added is None else (x, added), constants)
    if y is NotImplemented:
        y = _then_in_passes(chosen, x, w, scale, shift, added, ceiling)
    return y, program


def _plan_then(
    x: Any, w: Any, conv: Conv, scale: Any, shift: Any, added: Any, algorithm: str | None, precision: Precision | None
) -> tuple[Plan, Callable[..., Any] | None, Any, Any]:
    """The plan for arrays that fit; its kernel that does all in one, if there is one and work for it; scale and shift
    as that takes them."""
    shapes = _shapes(conv)
    named = ("scale", scale, shapes.channels), ("shift", shift, shapes.channels), ("added", added, shapes.y)
    _check(("x", x, shapes.x), ("w", w, shapes.w), *named)
    chosen = _plan("forward", conv, x, algorithm, precision)
    then = chosen.kernel.call_then if shapes.has_work else None
    if then is not None:
        scale, shift = (None if v is None else np.ascontiguousarray(v) for v in (scale, shift))
    return chosen, then, scale, shift


def _then_in_passes(chosen: Plan, x: Any, w: Any, scale: Any, shift: Any, added: Any, ceiling: float | None) -> Any:
    """`forward_then`, one step after the other."""
    y = chosen.run(x, w)
    if scale is not None:
        y = norm.scale_shift(y, scale, shift)
    elif shift is not None:
        norm.add_to_channels(y, shift)
    if added is not None:
        y = activation.add(y, added)
    if ceiling is None:
        return y
    return activation.relu(y) if ceiling == np.inf else activation.clip(y, 0.0, ceiling)


def input_grad(
    w: Any,
    g: Any,
    conv: Conv,
    algorithm: str | None = None,
    out: Any = None,
    precision: Precision | None = None,
) -> Any:
    """dx (N, C, *size) from the weights and the cotangent g (N, K, *out); errors as ``forward``.

    >>> import numpy as np
    >>> conv = Conv.from_shapes((1, 1, 4), (1, 1, 2))
    >>> input_grad(np.array([[[1.0, -1.0]]]), np.array([[[1.0, 10.0, 100.0]]]), conv)
    array([[[   1.,    9.,   90., -100.]]])
    """
    shapes = _shapes(conv)
    _check(("w", w, shapes.w), ("g", g, shapes.y), ("out", out, shapes.x))
    return _plan("input_grad", conv, g, algorithm, precision).run(w, g, out=out)


def weight_grad(
    x: Any,
    g: Any,
    conv: Conv,
    algorithm: str | None = None,
    out: Any = None,
    precision: Precision | None = None,
) -> Any:
    """dw (K, C/G, *kernel) from the input and the cotangent g (N, K, *out); errors as ``forward``.

    >>> import numpy as np
    >>> conv = Conv.from_shapes((1, 1, 4), (1, 1, 2))
    >>> weight_grad(np.array([[[1.0, 2.0, 3.0, 4.0]]]), np.array([[[1.0, 10.0, 100.0]]]), conv)
    array([[[321., 432.]]])
    """
    shapes = _shapes(conv)
    _check(("x", x, shapes.x), ("g", g, shapes.y), ("out", out, shapes.w))
    return _plan("weight_grad", conv, g, algorithm, precision).run(x, g, out=out)


class _Shapes(NamedTuple):
    x: tuple[int, ...]
    w: tuple[int, ...]
    y: tuple[int, ...]
    channels: tuple[int, ...]  # of one number for each channel of y
    has_work: bool


@lru_cache(maxsize=4096)
def _shapes(conv: Conv) -> _Shapes:
    shapes = conv.x_shape, conv.w_shape, conv.y_shape
    return _Shapes(*shapes, (conv.out_channels,), all(prod(shape) for shape in shapes))


def _plan(pass_: str, conv: Conv, array: Any, algorithm: str | None, precision: Precision | None) -> Plan:
    where = device_of(array)
    return plan("conv", pass_, conv, dtype=array.dtype, device=where, algorithm=algorithm, precision=precision)


def _check(*named: tuple[str, Any, tuple[int, ...]]) -> None:
    """Compiled kernels do not check their bounds: a wrong shape must not reach them."""
    dtype = named[0][1].dtype
    for name, array, shape in named:
        if array is None:
            continue
        if array.shape != shape:
            raise ShapeError(f"{name} has shape {array.shape}, but this convolution needs {shape}")
        if array.dtype != dtype:
            raise ShapeError(
                f"{named[0][0]} is {dtype} and {name} is {array.dtype}: convert one of them, "
                f"for example {name}.astype({named[0][0]}.dtype)"
            )
