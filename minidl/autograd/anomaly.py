"""``detect_anomaly``: stop at the first operation that makes a NaN or an infinity, and say where and of what."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .mode import MODE
from .tape import Listener, Node, Primitive

if TYPE_CHECKING:
    from ..tensor import Tensor

_PACKAGE = str(Path(__file__).resolve().parents[1])


class AnomalyError(ArithmeticError):
    """A NaN or infinity appeared; ``op`` is the operation, ``index`` the first place in its result.

    >>> import minidl
    >>> x = minidl.tensor([1.0, float("inf")])
    >>> try:
    ...     with minidl.autograd.detect_anomaly():
    ...         y = x * 2
    ... except minidl.autograd.AnomalyError as error:
    ...     print(error.op, error.index)
    mul (1,)
    """

    def __init__(self, message: str, op: str, index: tuple[int, ...]) -> None:
        super().__init__(message)
        self.op, self.index = op, index


class detect_anomaly(Listener):
    """Context in which the first operation with a result that is not finite raises :class:`AnomalyError`.

    The message names the operation (in the backward pass also the one that is being differentiated, and the line that
    called it), the first such element, and the operands there.  ``check_inf=False`` looks for NaN only, for programs
    that use infinities on purpose (masks).  Slow: every result is read once more.

    >>> import minidl
    >>> with minidl.autograd.detect_anomaly():
    ...     minidl.exp(minidl.tensor([1.0, float("nan")]))
    Traceback (most recent call last):
    minidl.autograd.anomaly.AnomalyError: 'exp' produced nan at [1] of result, shape (2,): its argument x is nan there
    """

    def __init__(self, check_nan: bool = True, check_inf: bool = True) -> None:
        self.check_nan, self.check_inf = check_nan, check_inf
        self.lines: weakref.WeakKeyDictionary[Node, str] = weakref.WeakKeyDictionary()

    def on_forward(
        self,
        primitive: Primitive,
        args: Sequence[Any],
        attrs: dict[str, Any],
        outputs: tuple[Tensor, ...],
        node: Node | None,
    ) -> None:
        if node is not None:
            self.lines[node] = _callers_line()
        for number, output in enumerate(outputs):
            index = self._first_bad(output)
            if index is None:
                continue
            which = f"result {number}" if len(outputs) > 1 else "result"
            message = f"'{primitive.name}' produced {output._array[index]} at {list(index)} of {which}, shape "
            message += f"{output.shape}" + self._operands(primitive, args, output.shape, index)
            raise AnomalyError(self._where() + message, primitive.name, index)

    def _first_bad(self, tensor: Tensor) -> tuple[int, ...] | None:
        array = tensor._array
        if array.dtype.kind not in "fc":
            return None
        xp = tensor._xp
        bad = xp.isnan(array) if not self.check_inf else ~xp.isfinite(array)
        if not self.check_nan:
            bad &= ~xp.isnan(array)
        if not bool(bad.any()):
            return None
        return tuple(int(i) for i in np.unravel_index(int(bad.argmax()), array.shape))

    def _where(self) -> str:
        node = MODE.differentiating
        if node is None:
            return ""
        line = self.lines.get(node, "")
        return f"in the backward pass of '{node.name}'" + (f" (called at {line})" if line else "") + ": "

    def _operands(
        self, primitive: Primitive, args: Sequence[Any], shape: tuple[int, ...], index: tuple[int, ...]
    ) -> str:
        from ..tensor import Tensor

        parts = []
        for name, arg in zip(primitive.names(len(args)) or [f"x{i}" for i in range(len(args))], args):
            if isinstance(arg, Tensor):
                parts.append(f"its argument {name} {_describe(arg, shape, index, self._first_bad(arg))}")
            elif arg is not None:
                parts.append(f"its argument {name} is {arg!r}")
        return ": " + ", ".join(parts) if parts else ""


def _describe(arg: Tensor, shape: tuple[int, ...], index: tuple[int, ...], bad: tuple[int, ...] | None) -> str:
    """The operand at ``index`` where it lines up with the result, else its range."""
    lead = len(shape) - arg.ndim
    if lead >= 0 and all(n in (1, m) for n, m in zip(arg.shape, shape[lead:])):
        place = tuple(0 if n == 1 else i for n, i in zip(arg.shape, index[lead:]))
        return f"is {arg._array[place]} there"
    if bad is not None:
        return f"(shape {arg.shape}) holds {arg._array[bad]} already, at {list(bad)}"
    return f"(shape {arg.shape}) lies between {arg._array.min()} and {arg._array.max()}" if arg.numel() else "is empty"


def _callers_line() -> str:
    """File and line of the innermost caller outside this package."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back  # type: ignore[assignment]
    return f"{Path(frame.f_code.co_filename).name}, line {frame.f_lineno}" if frame is not None else ""


__all__ = ["AnomalyError", "detect_anomaly"]
