"""Sizes of sliding windows: written here once, used by every op, kernel, error message and picture.

On one axis a window of ``kernel`` taps, ``dilation`` apart, moves by ``stride`` over an input of ``size``
positions padded by ``pad = (low, high)``.  Tap ``t`` of window ``p`` reads input position

    i = p * stride + t * dilation - low                                                            (1)

which is padding when ``i < 0`` or ``i >= size``.  Everything in this file follows from (1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from .errors import ShapeError

Ints = int | Sequence[int]
Pads = tuple[tuple[int, int], ...]


def per_axis(value: Ints, ndim: int, name: str) -> tuple[int, ...]:
    """``3`` -> ``(3, 3)``; ``(1, 2)`` stays.  Raises ShapeError for any other length."""
    if isinstance(value, Sequence):
        values = tuple(int(v) for v in value)
        if len(values) == 1:
            values *= ndim
    else:
        values = (int(value),) * ndim
    if len(values) != ndim:
        raise ShapeError(f"{name} must be one integer or {ndim} of them (one per spatial axis), got {value!r}")
    return values


@dataclass(frozen=True, slots=True)
class Axis:
    """A sliding window along one axis; see the module's equation (1).

    >>> Axis(size=7, kernel=3, stride=2).out
    3
    """

    size: int
    kernel: int
    stride: int = 1
    pad: tuple[int, int] = (0, 0)
    dilation: int = 1
    ceil: bool = False

    @property
    def extent(self) -> int:
        """Positions from the first tap to the last, both included: ``dilation * (kernel - 1) + 1``."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def padded(self) -> int:
        """Input size with both pads."""
        return self.pad[0] + self.size + self.pad[1]

    @property
    def out(self) -> int:
        """Number of windows (0 or less: no window fits).

        Floor rule: windows that fit whole.  Ceil rule (PyTorch's ``ceil_mode``): one more where input is left
        over, unless that window would begin in the high padding or beyond.
        """
        room = self.padded - self.extent
        if not self.ceil:
            return room // self.stride + 1
        windows = -(-room // self.stride) + 1
        if (windows - 1) * self.stride >= self.size + self.pad[0]:
            windows -= 1
        return windows

    @property
    def leftover(self) -> int:
        """Padded positions after the last tap of the last window (negative: the last window hangs over)."""
        return self.padded - ((self.out - 1) * self.stride + self.extent)


@dataclass(frozen=True, slots=True)
class Conv:
    """One convolution problem (cross-correlation, as every framework computes it), any number of axes.

    Shapes: x (N, C, *size), w (K, C/G, *kernel), y (N, K, *out).
    """

    batch: int
    in_channels: int
    out_channels: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pads
    dilation: tuple[int, ...]
    groups: int

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.size)

    @property
    def axes(self) -> tuple[Axis, ...]:
        return tuple(
            Axis(*a) for a in zip(self.size, self.kernel, self.stride, self.padding, self.dilation)
        )

    @property
    def out(self) -> tuple[int, ...]:
        """Spatial output size (P, Q, ...)."""
        return tuple(a.out for a in self.axes)

    @property
    def x_shape(self) -> tuple[int, ...]:
        return (self.batch, self.in_channels, *self.size)

    @property
    def w_shape(self) -> tuple[int, ...]:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    @property
    def y_shape(self) -> tuple[int, ...]:
        return (self.batch, self.out_channels, *self.out)

    @property
    def macs(self) -> int:
        """Multiply-adds of each of the three passes, padding taps counted."""
        return prod(self.y_shape) * prod(self.w_shape[1:])
