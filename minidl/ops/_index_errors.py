"""What is wrong with an index that NumPy or CuPy has refused, in a sentence with the shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import array_module

_KINDS = "an index is made of whole numbers, slices, ..., None, and tensors or lists of whole numbers or booleans"


def explained(error: Exception, shape: tuple[int, ...], index: Any) -> Exception:
    """The error to raise instead of ``error``, which reading ``index`` of a tensor of ``shape`` gave.

    >>> explained(IndexError(), (3,), 5)
    IndexError('index 5 on axis 0 of length 3 (-3 to 2), in a tensor of shape (3,)')
    """
    parts = index if isinstance(index, tuple) else (index,)
    text = _wrong_kind(parts) or _wrong_count(shape, parts) or _wrong_place(shape, parts) or _wrong_shapes(parts)
    if text is None:
        return error
    return IndexError(f"{text}, in a tensor of shape {tuple(shape)}")


def _wrong_kind(parts: tuple[Any, ...]) -> str | None:
    for part in parts:
        if isinstance(part, slice):
            ends = (part.start, part.stop, part.step)
            if not all(end is None or hasattr(end, "__index__") for end in ends):
                return f"a slice is made of whole numbers, not {':'.join('' if e is None else repr(e) for e in ends)}"
            if part.step == 0:
                return "a slice with steps of 0 never gets on"
        elif not (part is None or part is Ellipsis or hasattr(part, "__index__") or hasattr(part, "dtype")):
            return f"{_KINDS}, not {part!r}"
    return None


def _axes_of(part: Any) -> int:
    """How many axes an entry of an index uses up."""
    if part is None or part is Ellipsis or isinstance(part, bool):
        return 0
    return part.ndim if _is_mask(part) else 1


def _is_mask(part: Any) -> bool:
    return hasattr(part, "dtype") and part.dtype == bool


def _wrong_count(shape: tuple[int, ...], parts: tuple[Any, ...]) -> str | None:
    dots = sum(part is Ellipsis for part in parts)
    if dots > 1:
        return f"an index may hold one ..., this one holds {dots}"
    used = sum(map(_axes_of, parts))
    return f"an index for {used} axes" if used > len(shape) else None


def _wrong_place(shape: tuple[int, ...], parts: tuple[Any, ...]) -> str | None:
    axis = 0
    for i, part in enumerate(parts):
        if part is Ellipsis:
            axis = len(shape) - sum(map(_axes_of, parts[i + 1 :]))
        elif _is_mask(part):
            axes = shape[axis : axis + part.ndim]
            if tuple(part.shape) != axes:
                return f"a mask of shape {tuple(part.shape)} on axes of lengths {axes}"
        elif hasattr(part, "dtype") or (hasattr(part, "__index__") and not isinstance(part, bool)):
            n, values = shape[axis], (part if hasattr(part, "dtype") else np.asarray(part)).reshape(-1)
            for value in (values.min(), values.max()) if values.size else ():
                if not -n <= int(value) < n:
                    return f"index {int(value)} on axis {axis} of length {n}" + (f" ({-n} to {n - 1})" if n else "")
        axis += _axes_of(part)
    return None


def _wrong_shapes(parts: tuple[Any, ...]) -> str | None:
    """Arrays that stand beside each other in an index are broadcast, masks by the number of their true elements."""
    arrays = [part for part in parts if hasattr(part, "dtype")]
    shapes = [(int(array_module(a).count_nonzero(a)),) if _is_mask(a) else tuple(a.shape) for a in arrays]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        return f"index arrays of shapes {', '.join(map(str, shapes))} do not go together"
    return None
