"""New tensors: constant, ranges, random.  Random numbers come from a seeded generator, see ``minidl.random``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..backend import device as parse_device
from ..backend import module_for, on
from ..dtypes import as_dtype, get_default_dtype
from ._examples import named
from .shape import lengths


def _made(array: Any, requires_grad: bool) -> Any:
    from ..tensor import Tensor

    return Tensor._from_leaf(array, False).requires_grad_(requires_grad) if requires_grad else Tensor._wrap(array)


def _on(device: Any, name: str, *args: Any, **options: Any) -> Any:
    """An array that the function ``name`` of NumPy or CuPy makes on ``device``."""
    target = parse_device(device)
    with on(target):
        return getattr(module_for(target), name)(*args, **options)


def _filled(name: str, doc: str) -> Callable[..., Any]:
    def function(*size: Any, dtype: Any = None, device: Any = "cpu", requires_grad: bool = False) -> Any:
        return _made(_on(device, name, lengths(name, size), as_dtype(dtype or get_default_dtype())), requires_grad)

    return named(function, name, doc)


zeros = _filled("zeros", "A tensor of zeros: ``zeros(2, 3)`` or ``zeros((2, 3))``.")
ones = _filled("ones", "A tensor of ones.")
empty = _filled("empty", "A tensor whose values are whatever the memory held.")


def full(size: Any, fill_value: float, *, dtype: Any = None, device: Any = "cpu", requires_grad: bool = False) -> Any:
    """A tensor of one value; its dtype follows the value unless given (float32, int64 or bool).

    >>> import minidl
    >>> minidl.full((2, 2), 7), minidl.full((2,), 0.5).dtype
    (tensor([[7, 7],
            [7, 7]]), dtype('float32'))
    """
    if dtype is None:
        dtype = (
            bool if isinstance(fill_value, bool) else "int64" if isinstance(fill_value, int) else get_default_dtype()
        )
    shape = lengths("full", (size,))
    try:
        array = _on(device, "full", shape, fill_value, as_dtype(dtype))
    except (TypeError, ValueError):
        raise TypeError(f"full: a tensor is filled with a number, not {fill_value!r}") from None
    return _made(array, requires_grad)


def _like(make: Callable[..., Any], doc: str) -> Callable[..., Any]:
    def function(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
        return make(input.shape, dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad)

    return named(function, f"{make.__name__}_like", doc)


zeros_like = _like(zeros, "Zeros of the shape, dtype and device of ``input``.")
ones_like = _like(ones, "Ones of the shape, dtype and device of ``input``.")
empty_like = _like(empty, "Uninitialised memory of the shape, dtype and device of ``input``.")


def full_like(
    input: Any, fill_value: float, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Any:
    """``fill_value`` in the shape, dtype and device of ``input``.

    >>> import minidl
    >>> minidl.full_like(minidl.zeros(2), 7.0)
    tensor([7., 7.])
    """
    return full(
        input.shape,
        fill_value,
        dtype=dtype or input.dtype,
        device=device or input.device,
        requires_grad=requires_grad,
    )


def arange(
    start: float = 0,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: Any = "cpu",
    requires_grad: bool = False,
) -> Any:
    """Numbers from ``start`` (default 0) up to but not including ``end``.

    int64 where all three are integers, otherwise the default floating dtype; ValueError where the steps lead away.

    >>> import minidl
    >>> minidl.arange(4), minidl.arange(1, 2, 0.5)
    (tensor([0, 1, 2, 3]), tensor([1. , 1.5]))
    """
    if end is None:
        start, end = 0, start
    if step == 0 or (end - start) * step < 0:
        raise ValueError(f"arange: steps of {step} do not lead from {start} to {end}")
    if dtype is None:
        dtype = "int64" if all(isinstance(v, int) for v in (start, end, step)) else get_default_dtype()
    return _made(_on(device, "arange", start, end, step, dtype=as_dtype(dtype)), requires_grad)


def linspace(
    start: float, end: float, steps: int, *, dtype: Any = None, device: Any = "cpu", requires_grad: bool = False
) -> Any:
    """``steps`` numbers at equal distances, both ends included.

    >>> import minidl
    >>> minidl.linspace(0, 1, 5)
    tensor([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    if steps < 0:
        raise ValueError(f"linspace: the number of steps is at least 0, not {steps}")
    values = _on(device, "linspace", start, end, steps, dtype=as_dtype(dtype or get_default_dtype()))
    return _made(values, requires_grad)


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = "cpu", requires_grad: bool = False) -> Any:
    """Identity matrix (n, m).

    >>> import minidl
    >>> minidl.eye(2, 3)
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    n, m = lengths("eye", (n, n if m is None else m))
    return _made(_on(device, "eye", n, m, dtype=as_dtype(dtype or get_default_dtype())), requires_grad)
