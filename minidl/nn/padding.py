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
    """``value`` beside the last axis.

    ``padding`` is one number or (left, right); (..., L) -> (..., left + L + right).

    >>> import minidl
    >>> minidl.nn.ConstantPad1d((1, 2), 9.0)(minidl.tensor([[1.0, 2.0]]))
    tensor([[9., 1., 2., 9., 9.]])
    """

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
    """``value`` around the last three axes.

    >>> import minidl
    >>> minidl.nn.ConstantPad3d(1, 9.0)(minidl.zeros(1, 2, 3, 4)).shape
    (1, 4, 5, 6)
    """

    ndim = 3


class ZeroPad1d(_Pad):
    """Zeros beside the last axis.

    >>> import minidl
    >>> minidl.nn.ZeroPad1d((1, 2))(minidl.tensor([[1.0, 2.0]]))
    tensor([[0., 1., 2., 0., 0.]])
    """

    ndim, mode = 1, "constant"


class ZeroPad2d(_Pad):
    """Zeros around the last two axes.

    ``padding`` is one number or (left, right, top, bottom).

    >>> import minidl
    >>> minidl.nn.ZeroPad2d((1, 0, 0, 1))(minidl.tensor([[[1.0, 2.0]]]))
    tensor([[[0., 1., 2.],
             [0., 0., 0.]]])
    """

    ndim, mode = 2, "constant"


class ZeroPad3d(_Pad):
    """Zeros around the last three axes.

    >>> import minidl
    >>> minidl.nn.ZeroPad3d(1)(minidl.zeros(1, 2, 3, 4)).shape
    (1, 4, 5, 6)
    """

    ndim, mode = 3, "constant"


class ReflectionPad1d(_Pad):
    """The last axis mirrored at its ends, which are not repeated.

    >>> import minidl
    >>> minidl.nn.ReflectionPad1d(2)(minidl.tensor([[1.0, 2.0, 3.0]]))
    tensor([[3., 2., 1., 2., 3., 2., 1.]])
    """

    ndim, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """The last two axes mirrored at their ends, which are not repeated.

    >>> import minidl
    >>> minidl.nn.ReflectionPad2d((2, 0, 0, 1))(minidl.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]))
    tensor([[[3., 2., 1., 2., 3.],
             [6., 5., 4., 5., 6.],
             [3., 2., 1., 2., 3.]]])
    """

    ndim, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """The last three axes mirrored at their ends, which are not repeated.

    >>> import minidl
    >>> minidl.nn.ReflectionPad3d(1)(minidl.zeros(1, 2, 3, 4)).shape
    (1, 4, 5, 6)
    """

    ndim, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """The ends of the last axis repeated.

    >>> import minidl
    >>> minidl.nn.ReplicationPad1d(2)(minidl.tensor([[1.0, 2.0, 3.0]]))
    tensor([[1., 1., 1., 2., 3., 3., 3.]])
    """

    ndim, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """The ends of the last two axes repeated.

    >>> import minidl
    >>> minidl.nn.ReplicationPad2d((2, 0, 0, 1))(minidl.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]))
    tensor([[[1., 1., 1., 2., 3.],
             [4., 4., 4., 5., 6.],
             [4., 4., 4., 5., 6.]]])
    """

    ndim, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """The ends of the last three axes repeated.

    >>> import minidl
    >>> minidl.nn.ReplicationPad3d(1)(minidl.zeros(1, 2, 3, 4)).shape
    (1, 4, 5, 6)
    """

    ndim, mode = 3, "replicate"


class CircularPad1d(_Pad):
    """The last axis goes on with its other end.

    >>> import minidl
    >>> minidl.nn.CircularPad1d(2)(minidl.tensor([[1.0, 2.0, 3.0]]))
    tensor([[2., 3., 1., 2., 3., 1., 2.]])
    """

    ndim, mode = 1, "circular"


class CircularPad2d(_Pad):
    """The last two axes go on with their other ends.

    >>> import minidl
    >>> minidl.nn.CircularPad2d((2, 0, 0, 1))(minidl.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]))
    tensor([[[2., 3., 1., 2., 3.],
             [5., 6., 4., 5., 6.],
             [2., 3., 1., 2., 3.]]])
    """

    ndim, mode = 2, "circular"


class CircularPad3d(_Pad):
    """The last three axes go on with their other ends.

    >>> import minidl
    >>> minidl.nn.CircularPad3d(1)(minidl.zeros(1, 2, 3, 4)).shape
    (1, 4, 5, 6)
    """

    ndim, mode = 3, "circular"
