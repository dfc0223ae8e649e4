"""Names of dtypes, the default one, and PyTorch's promotion rule.

Nothing becomes float64 by accident: Python numbers and 0-d tensors take the dtype of the tensor they meet, and
integers meet floating point in the default dtype (float32), where NumPy would go to float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

float16 = half = np.dtype("float16")
float32 = float = np.dtype("float32")
float64 = double = np.dtype("float64")
int8, int16, int32 = np.dtype("int8"), np.dtype("int16"), np.dtype("int32")
int64 = long = np.dtype("int64")
uint8 = np.dtype("uint8")
bool_ = np.dtype("bool")

_default = float32


def get_default_dtype() -> np.dtype:
    """The dtype of Python floats and of new parameters.

    >>> import minidl
    >>> minidl.get_default_dtype()
    dtype('float32')
    """
    return _default


def set_default_dtype(dtype: Any) -> None:
    """Change it (float32 or float64): ``minidl.set_default_dtype("float64")`` for checking gradients.

    >>> import minidl
    >>> minidl.set_default_dtype("float64")
    >>> minidl.tensor([0.5]).dtype
    dtype('float64')
    >>> minidl.set_default_dtype("float32")
    """
    global _default
    dtype = as_dtype(dtype)
    if dtype.kind != "f":
        raise TypeError(f"the default dtype must be floating point, not {dtype}")
    _default = dtype


def as_dtype(dtype: Any) -> np.dtype:
    """A NumPy dtype from a name, a Python type or a dtype; Python's ``float`` is the default dtype."""
    import builtins

    if dtype is builtins.float:
        return get_default_dtype()
    try:
        return np.dtype(dtype)
    except TypeError:
        raise TypeError(
            f"there is no dtype {dtype!r}: float16, float32, float64, int8 to int64, uint8 and bool are some"
        ) from None


_RANK = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


def result_dtype(a: Any, b: Any) -> np.dtype:
    """Common dtype of two operands, each an array-like with ``dtype``/``ndim`` or a Python number.

    PyTorch's rule: the higher kind (bool < integer < floating) wins; within one kind an operand with dimensions beats a
    0-d tensor, which beats a Python number.

    >>> result_dtype(np.zeros(3, "float32"), np.zeros((), "float64"))
    dtype('float32')
    >>> result_dtype(np.zeros(3, "int64"), 0.5)
    dtype('float32')
    """
    (ka, pa, da), (kb, pb, db) = _describe(a), _describe(b)
    if ka != kb:
        return da if ka > kb else db
    if pa != pb:
        return da if pa > pb else db
    return np.promote_types(da, db)


def _describe(operand: Any) -> tuple[int, int, np.dtype]:
    """(kind rank, priority: 2 array, 1 zero-dimensional, 0 Python number; dtype)."""
    if isinstance(operand, (bool, int)) and not isinstance(operand, np.generic):
        return (0, 0, bool_) if isinstance(operand, bool) else (1, 0, int64)
    dtype = getattr(operand, "dtype", None)
    if dtype is None:
        return 2, 0, get_default_dtype()
    return _RANK[dtype.kind], 2 if getattr(operand, "ndim", 0) else 1, dtype
