"""Padding layers: what they add around the last one, two or three axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from . import functional as F
from .module import Module

_SIDES = ("left, right", "left, right, top, bottom", "left, right, top, bottom, front, back")


class _Pad(Module):
    """``padding``: one number for all sides, or two for each axis from the last on: (left, right, top, bottom, ...)."""

    ndim: ClassVar[int]
    mode: ClassVar[str]
    value: float = 0.0

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        sides: tuple[int, ...] = tuple(padding) if isinstance(padding, (tuple, list)) else (padding,) * (2 * self.ndim)  # type: ignore[assignment]
        if len(sides) != 2 * self.ndim or not all(hasattr(n, "__index__") for n in sides):
            raise ValueError(
                f"{type(self).__name__}: padding must be one whole number or the {2 * self.ndim} numbers "
                f"({_SIDES[self.ndim - 1]}), got {padding!r}"
            )
        self.padding = sides

    def forward(self, input: Any) -> Any:
        return F.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _Constant(_Pad):
    mode = "constant"

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_Constant):
    """``value`` beside the last axis."""

    ndim = 1


class ConstantPad2d(_Constant):
    """``value`` around the last two axes.

    >>> import minidl
    >>> minidl.nn.ConstantPad2d((1, 0, 0, 1), 9.0)(minidl.zeros(1, 1, 2))
    tensor([[[9., 0., 0.],
             [9., 9., 9.]]])
    """

    ndim = 2


class ConstantPad3d(_Constant):
    """``value`` around the last three axes."""

    ndim = 3


class ZeroPad1d(_Pad):
    """Zeros beside the last axis."""

    ndim, mode = 1, "constant"


class ZeroPad2d(_Pad):
    """Zeros around the last two axes."""

    ndim, mode = 2, "constant"


class ZeroPad3d(_Pad):
    """Zeros around the last three axes."""

    ndim, mode = 3, "constant"


class ReflectionPad1d(_Pad):
    """The last axis mirrored at its ends, which are not repeated."""

    ndim, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """The last two axes mirrored at their ends, which are not repeated."""

    ndim, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """The last three axes mirrored at their ends, which are not repeated."""

    ndim, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """The ends of the last axis repeated."""

    ndim, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """The ends of the last two axes repeated."""

    ndim, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """The ends of the last three axes repeated."""

    ndim, mode = 3, "replicate"


class CircularPad1d(_Pad):
    """The last axis goes on with its other end."""

    ndim, mode = 1, "circular"


class CircularPad2d(_Pad):
    """The last two axes go on with their other ends."""

    ndim, mode = 2, "circular"


class CircularPad3d(_Pad):
    """The last three axes go on with their other ends."""

    ndim, mode = 3, "circular"
