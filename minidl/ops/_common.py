"""What several op families share: promotion, undoing a broadcast, axes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import tape
from ..autograd.mode import MODE
from ..autograd.tape import Primitive, Spec, vjp
from ..backend import apart, array_module, together
from ..dtypes import get_default_dtype, result_dtype
from ..kernels.errors import ShapeError

Dims = int | Sequence[int] | None


def is_tensor(value: Any) -> bool:
    """Whether it is a tensor of minidl."""
    return isinstance(value, tape.Tensor)


def as_operand(value: Any) -> Any:
    """Tensors and Python numbers stay; arrays, NumPy scalars and lists become constant tensors."""
    if isinstance(value, tape.Tensor) or (isinstance(value, (int, float)) and not isinstance(value, np.generic)):
        return value
    if isinstance(value, (np.ndarray, np.generic)) or array_module(value) is not np:
        constant = tape.Tensor._wrap(value)
        constant._storage.escaped = not isinstance(value, np.generic)  # its owner may write to it
        return constant
    from ..tensor import tensor

    return tensor(value)


def promote(a: Any, b: Any, *, compares: bool = False) -> tuple[Any, Any]:
    """Two operands that broadcast, in their common dtype (see :func:`minidl.dtypes.result_dtype`).

    Python numbers stay numbers, unless both are.  NumPy's scalars are numbers too: ``loss * np.float64(0.5)`` stays
    float32, as in PyTorch.
    """
    a, b = (as_operand(v.item() if isinstance(v, np.generic) else v) for v in (a, b))
    if is_tensor(a) and is_tensor(b):
        x, y = a._array, b._array
        if x.shape != y.shape:
            check_broadcast(x.shape, y.shape)
        if x.dtype == y.dtype and (type(x) is type(y) is np.ndarray or a.device == b.device):
            return a, b
        if a.device != b.device:
            if a.ndim and b.ndim:
                raise apart("elementwise operation", ("left", a), ("right", b))
            a, b = (a.to(b.device), b) if b.ndim else (a, b.to(a.device))
    dtype = result_dtype(a, b)
    if is_tensor(a) and a._array.dtype != dtype:
        a = a.to(dtype)
    if is_tensor(b) and b._array.dtype != dtype:
        b = b.to(dtype)
    if not is_tensor(a) and not is_tensor(b):
        from ..tensor import tensor

        a = tensor(a, dtype)
    elif dtype.kind in "iu" and not compares:  # any number can be compared with
        _check_fits(b if is_tensor(a) else a, dtype)
    return a, b


def _check_fits(number: Any, dtype: np.dtype) -> None:
    if isinstance(number, int) and not np.iinfo(dtype).min <= number <= np.iinfo(dtype).max:
        raise OverflowError(
            f"{number} does not fit into {dtype} ({np.iinfo(dtype).min} to {np.iinfo(dtype).max}), the dtype of the "
            "tensor beside it: widen that first, as with x.to('int64')"
        )


def check_broadcast(a: Sequence[int], b: Sequence[int]) -> None:
    """Raise where two shapes do not broadcast, and say on which axis."""
    for i, (m, n) in enumerate(zip(reversed(a), reversed(b)), 1):
        if m != n and m != 1 and n != 1:
            raise ShapeError(
                f"shapes {tuple(a)} and {tuple(b)} do not go together: lined up at their last axes, axis -{i} has "
                f"{m} entries in one and {n} in the other; they must agree, or one of them must be 1"
            )


def tensor_operand(x: Any) -> Any:
    """As :func:`as_operand`, and Python numbers as tensors too."""
    x = as_operand(x)
    if is_tensor(x):
        return x
    from ..tensor import tensor

    return tensor(x)


def floating(x: Any) -> Any:
    """Integers and booleans as the default floating dtype, as PyTorch's mathematical functions take them."""
    x = tensor_operand(x)
    return x if x.dtype.kind in "fc" else x.to(get_default_dtype())


def _sum_to(x: Any, *, shape: tuple[int, ...]) -> Any:
    """Undo a broadcast on an array: sum over the axes that were added or stretched."""
    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1 and x.shape[lead + i] != 1)
    return x.sum(axis=axes, keepdims=True).reshape(shape)


def _broadcast_to(x: Any, *, shape: tuple[int, ...]) -> Any:
    return array_module(x).broadcast_to(x, shape)


# the two are each other's transpose
_sum_to_primitive: Primitive = Primitive("sum_to", _sum_to, vjp(lambda g, y, x, *, shape: broadcast_to(g, x.shape)))
_broadcast_primitive: Primitive = Primitive(
    "expand", _broadcast_to, vjp(lambda g, y, x, *, shape: sum_to(g, x.shape)), view=True
)


def sum_to(x: Any, like: Any) -> Any:
    """The transpose of broadcasting: ``x`` summed down to the shape of ``like`` (a shape, Spec or tensor)."""
    shape = like if isinstance(like, tuple) and not isinstance(like, Spec) else like.shape
    return x if x.shape == shape else _sum_to_primitive(x, shape=tuple(shape))


def broadcast_to(x: Any, shape: Sequence[int]) -> Any:
    """``x`` with its axes of length 1 repeated up to ``shape``; a view."""
    return x if x.shape == tuple(shape) else _broadcast_primitive(x, shape=tuple(shape))


def normalise_dims(dim: Dims, ndim: int) -> tuple[int, ...]:
    """``dim`` (None: all) as distinct non-negative axes.

    >>> normalise_dims(-1, 3)
    (2,)
    """
    if dim is None:
        return tuple(range(ndim))
    if not ndim:  # a single number may be reduced over its axis 0, which it does not have
        for d in (dim,) if isinstance(dim, (int, np.integer)) else dim:
            normalise_dim(d, ndim)
        return ()
    dims = (dim,) if isinstance(dim, (int, np.integer)) else tuple(dim)
    out = tuple(normalise_dim(d, ndim) for d in dims)
    if len(set(out)) != len(out):
        raise ValueError(f"dim {dim} names an axis twice")
    return out


def normalise_dim(dim: int, ndim: int) -> int:
    """An axis that may count from the end as 0, ..., ndim - 1; IndexError where there is none."""
    limit = max(ndim, 1)
    if not -limit <= dim < limit:
        raise IndexError(f"dim {dim} is out of range for a tensor of {ndim} dimensions ({-limit} to {limit - 1})")
    return int(dim) % limit


def same_dtype(name: str, *tensors: Any) -> None:
    """Layers and products do not promote: a float64 input to float32 weights is a mistake, not a wish."""
    dtypes = [t.dtype for t in tensors if t is not None]
    if dtypes.count(dtypes[0]) == len(dtypes):
        return
    if MODE.autocast is not None and all(MODE.autocast.concerns(t) for t in tensors if t is not None):
        return  # it brings them to one
    listed = ", ".join(str(d) for d in dtypes)
    advice = f"bring the input to the parameters' dtype with .to({str(dtypes[1])!r})"
    if len(set(dtypes[1:])) > 1:
        advice = f"bring the parameters to one dtype, for example all with .to({str(dtypes[0])!r})"
    raise TypeError(f"{name} needs one dtype for all its arguments, got {listed}: {advice}")


def in_float32(x: Any) -> Any:
    """A float16 tensor under ``autocast`` as float32, which it computes losses and norms in; all else as it is."""
    raised = MODE.autocast is not None and x.dtype == np.float16 and MODE.autocast.concerns(x)
    return x.to("float32") if raised else x


def same_device(name: str, **tensors: Any) -> None:
    """DeviceError where the arguments (None: not given) lie on several devices; no question without CuPy."""
    if "cupy" in sys.modules:
        together(name, tuple(tensors), tuple(tensors.values()))


def batched(x: Any, ndim: int) -> tuple[Any, bool]:
    """``x`` (N, C, *size) with ``ndim`` spatial axes, and whether it came without N: (C, *size) is one image."""
    x = as_operand(x)
    return (x.unsqueeze(0), True) if x.ndim == ndim + 1 else (x, False)
