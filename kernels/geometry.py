"""Sizes of sliding windows: written here once, used by every op, kernel, error message and picture.

On one axis a window of ``kernel`` taps, ``dilation`` apart, moves by ``stride`` over an input of ``size``
positions padded by ``pad = (low, high)``.  Tap ``t`` of window ``p`` reads input position

    i = p * stride + t * dilation - low                                                            (1)

which is padding when ``i < 0`` or ``i >= size``.  Everything in this file follows from (1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from operator import index

from . import shape_errors as say

Ints = int | Sequence[int]
Pads = tuple[tuple[int, int], ...]
Padding = int | str | Sequence[int] | Sequence[tuple[int, int]]


def integer(value: object, name: str, op: str = "") -> int:
    """``value`` as an int; ShapeError where it is none (2.5, "3", None)."""
    try:
        return index(value)  # type: ignore[arg-type]
    except TypeError:
        raise say.not_an_integer(name, value, op) from None


def per_axis(value: Ints, ndim: int, name: str, op: str = "") -> tuple[int, ...]:
    """``3`` -> ``(3, 3)``; ``(1, 2)`` stays.  Raises ShapeError for any other length.

    >>> per_axis(3, 2, "stride")
    (3, 3)
    """
    if isinstance(value, Sequence):
        values = tuple(integer(v, name, op) for v in value)
        if len(values) == 1:
            values *= ndim
    else:
        values = (integer(value, name, op),) * ndim
    if len(values) != ndim:
        raise say.wrong_length(name, ndim, value, op=op)
    return values


def per_axis_pads(padding: Padding, op: str, kernel: Sequence[int], stride: Ints, dilation: Ints) -> Pads:
    """Any way of writing padding -> one ``(low, high)`` per axis.

    An integer, one integer per axis, one (low, high) pair per axis, "valid" (none) or "same" (output as large
    as the input, stride 1 only; an odd total puts the extra position on the high side, as PyTorch does).

    >>> per_axis_pads(((0, 1), (2, 2)), "conv2d", (3, 3), 1, 1)
    ((0, 1), (2, 2))
    >>> per_axis_pads("same", "conv2d", (3, 4), 1, 1)
    ((1, 1), (1, 2))
    """
    ndim = len(kernel)
    if isinstance(padding, str):
        if padding == "valid":
            return ((0, 0),) * ndim
        if padding != "same":
            raise say.padding_word(op, padding)
        strides = per_axis(stride, ndim, "stride", op)
        if any(s != 1 for s in strides):
            raise say.same_needs_stride_one(op, strides)
        totals = [d * (k - 1) for d, k in zip(per_axis(dilation, ndim, "dilation", op), kernel)]
        return tuple((t // 2, t - t // 2) for t in totals)
    if not isinstance(padding, Sequence):
        return ((integer(padding, "padding", op),) * 2,) * ndim
    pads = []
    for p in padding:
        if isinstance(p, Sequence):
            if len(p) != 2:
                raise say.wrong_length("padding", ndim, padding, pairs=True, op=op)
            pads.append((integer(p[0], "padding", op), integer(p[1], "padding", op)))
        else:
            pads.append((integer(p, "padding", op),) * 2)
    if len(pads) == 1 and not isinstance(padding[0], Sequence):
        pads *= ndim
    if len(pads) != ndim:
        raise say.wrong_length("padding", ndim, padding, pairs=True, op=op)
    return tuple(pads)


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

    def windows_at(self, tap: int) -> range:
        """The windows whose tap ``tap`` reads a real input position, not padding: (1) solved for p.

        >>> Axis(size=5, kernel=3, pad=(1, 1)).windows_at(0)
        range(1, 5)
        """
        offset = self.pad[0] - tap * self.dilation  # i = p * stride - offset
        first = max(0, -(-offset // self.stride))
        stop = min(self.out, (self.size - 1 + offset) // self.stride + 1)
        return range(first, max(first, stop))

    def position(self, window: int, tap: int) -> int:
        """Equation (1); outside ``0 .. size - 1`` it is padding."""
        return window * self.stride + tap * self.dilation - self.pad[0]

    def sizes(self, out: int) -> range:
        """All input sizes (>= 1) that give ``out`` windows: what ``output_padding`` chooses from.

        The ceil rule is inverted for a high pad smaller than the extent, which every pooling layer has.

        >>> Axis(size=0, kernel=3, stride=2, pad=(1, 1)).sizes(4)
        range(7, 9)
        """
        return range(self._least_size(out), self._least_size(out + 1))

    def _least_size(self, out: int) -> int:
        low, high = self.pad
        if not self.ceil:
            return max(1, (out - 1) * self.stride + self.extent - low - high)
        some_input_left = (out - 2) * self.stride + 1 + self.extent - low - high
        begins_before_high_pad = (out - 1) * self.stride + 1 - low
        return max(1, some_input_left, begins_before_high_pad)


@dataclass(frozen=True, slots=True)
class Conv:
    """One convolution problem (cross-correlation, as every framework computes it), any number of axes.

    Shapes: x (N, C, *size), w (K, C/G, *kernel), y (N, K, *out).  ``Conv.from_shapes`` builds it from
    arguments as PyTorch takes them and checks everything; the fields themselves are taken as they are.
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

    @classmethod
    def from_shapes(
        cls,
        x_shape: Sequence[int],
        w_shape: Sequence[int],
        stride: Ints = 1,
        padding: Padding = 0,
        dilation: Ints = 1,
        groups: int = 1,
        op: str | None = None,
    ) -> Conv:
        """The convolution of x (N, C, *size) with w (K, C/G, *kernel); ShapeError where they do not fit.

        ``padding`` takes what ``per_axis_pads`` takes; ``op`` is who asks, for the errors (default "conv2d" ...).

        >>> Conv.from_shapes((8, 3, 32, 30), (16, 3, 5, 3), stride=(2, 1), padding=((2, 2), (0, 2))).y_shape
        (8, 16, 16, 30)
        """
        x_shape, w_shape = tuple(x_shape), tuple(w_shape)
        ndim = len(w_shape) - 2
        op = op or f"conv{max(ndim, 1)}d"
        if ndim < 1:
            raise say.weight_rank(op, w_shape)
        groups = _positive(op, "groups", (integer(groups, "groups", op),))[0]
        if len(x_shape) != ndim + 2:
            raise say.input_rank(op, x_shape, w_shape, w_shape[1] * groups, ["K", "C/G"])
        strides, pads, dilations = _steps(op, w_shape[2:], stride, padding, dilation)
        if w_shape[1] * groups != x_shape[1]:
            if w_shape[1] and x_shape[1] % groups and x_shape[-1] != w_shape[1] * groups:
                raise say.bad_groups(op, groups, x_shape, w_shape, "C", x_shape[1])
            raise say.channels(op, x_shape, w_shape, groups)
        if w_shape[0] % groups:
            raise say.bad_groups(op, groups, x_shape, w_shape, "K", w_shape[0])
        conv = cls(x_shape[0], x_shape[1], w_shape[0], x_shape[2:], w_shape[2:], strides, pads, dilations, groups)
        shapes = [
            say.named("x", ["N", "C"], say.INPUT, x_shape),
            say.named("w", ["K", "C/G"], say.KERNEL, w_shape),
        ]
        _windows_fit(op, conv.axes, shapes)
        return conv

    @classmethod
    def transposed(
        cls,
        x_shape: Sequence[int],
        w_shape: Sequence[int],
        stride: Ints = 1,
        padding: Padding = 0,
        output_padding: Ints = 0,
        output_size: Sequence[int] | None = None,
        dilation: Ints = 1,
        groups: int = 1,
    ) -> Conv:
        """The convolution whose *input gradient* is the transposed convolution of x with w (C, K/G, *kernel).

        Its ``y_shape`` is x's shape, its ``w_shape`` w's and its ``x_shape`` the result's, one of the sizes
        that the convolution maps to x's: ``output_padding`` (counted from the smallest) or ``output_size``
        (spatial sizes) says which.  Unlike PyTorch, ``output_padding`` must be below the stride even where
        the dilation is larger: beyond it the result would hold positions that no input reaches.

        Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic", section 4, relationship 14.

        >>> Conv.transposed((2, 8, 4, 5), (8, 6, 3, 3), stride=2, padding=1, output_padding=1).x_shape
        (2, 6, 8, 10)
        """
        x_shape, w_shape = tuple(x_shape), tuple(w_shape)
        ndim = len(w_shape) - 2
        op = f"conv_transpose{max(ndim, 1)}d"
        if ndim < 1:
            raise say.weight_rank(op, w_shape)
        groups = _positive(op, "groups", (integer(groups, "groups", op),))[0]
        if len(x_shape) != ndim + 2:
            raise say.input_rank(op, x_shape, w_shape, w_shape[0], ["C", "K/G"])
        kernel = w_shape[2:]
        strides, pads, dilations = _steps(op, kernel, stride, padding, dilation)
        if w_shape[0] != x_shape[1]:
            raise say.transposed_channels(op, x_shape, w_shape)
        if x_shape[1] % groups:
            raise say.bad_groups(op, groups, x_shape, w_shape, "C", x_shape[1])
        lines = [
            say.named("x", ["N", "C"], say.INPUT, x_shape),
            say.named("w", ["C", "K/G"], say.KERNEL, w_shape),
        ]
        least = []
        for a in range(ndim):
            letter = say.letters(say.INPUT, ndim)[a]
            if x_shape[2 + a] < 1:
                raise say.no_output(op, lines, letter, f"x is empty along {letter}")
            reach = (x_shape[2 + a] - 1) * strides[a] + dilations[a] * (kernel[a] - 1) + 1
            least.append(reach - sum(pads[a]))
        if output_size is not None:
            wanted = tuple(integer(v, "output_size", op) for v in output_size)[-ndim:]
            ranges = [range(max(1, m), m + s) for m, s in zip(least, strides)]
            if len(output_size) not in (ndim, ndim + 2):
                raise say.wrong_length("output_size", ndim, output_size, op=op)
            if not all(v in r for v, r in zip(wanted, ranges)):
                raise say.output_size(op, wanted, ranges)
        else:
            extra = per_axis(output_padding, ndim, "output_padding", op)
            if not all(0 <= e < s for e, s in zip(extra, strides)):
                raise say.output_padding(op, extra, strides)
            wanted = tuple(m + e for m, e in zip(least, extra))
        for a, size in enumerate(wanted):
            if size < 1:
                formula = (
                    f"({x_shape[2 + a]}-1)*{strides[a]} - {pads[a][0]} - {pads[a][1]} + "
                    f"{dilations[a]}*({kernel[a]}-1) + {size - least[a]} + 1 = {size}"
                )
                raise say.no_output(op, lines, say.letters(say.INPUT, ndim)[a], formula)
        return cls(x_shape[0], w_shape[1] * groups, x_shape[1], wanted, kernel, strides, pads, dilations, groups)

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.size)

    @property
    def axes(self) -> tuple[Axis, ...]:
        return tuple(Axis(*a) for a in zip(self.size, self.kernel, self.stride, self.padding, self.dilation))

    @property
    def out(self) -> tuple[int, ...]:
        """Spatial output size (P, Q, ...)."""
        return _out(self)

    @property
    def x_shape(self) -> tuple[int, ...]:
        return (self.batch, self.in_channels, *self.size)

    @property
    def w_shape(self) -> tuple[int, ...]:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    @property
    def y_shape(self) -> tuple[int, ...]:
        return (self.batch, self.out_channels, *self.out)

    def __str__(self) -> str:
        text = f"x {self.x_shape} * w {self.w_shape} -> y {self.y_shape}"
        if set(self.stride) != {1}:
            text += f", stride {self.stride}"
        if set(self.padding) != {(0, 0)}:
            text += f", padding {self.padding}"
        if set(self.dilation) != {1}:
            text += f", dilation {self.dilation}"
        return text + (f", groups {self.groups}" if self.groups > 1 else "")

    @property
    def one_group(self) -> Conv:
        """The problem of each group by itself.

        >>> Conv.from_shapes((1, 6, 9), (4, 3, 2), groups=2).one_group.w_shape
        (2, 3, 2)
        """
        channels, filters = self.in_channels // self.groups, self.out_channels // self.groups
        return replace(self, in_channels=channels, out_channels=filters, groups=1)

    @property
    def macs(self) -> int:
        """Multiply-adds of each of the three passes, padding taps counted."""
        return prod(self.y_shape) * prod(self.w_shape[1:])


@lru_cache(maxsize=4096)
def _out(conv: Conv) -> tuple[int, ...]:
    return tuple(a.out for a in conv.axes)


def _positive(op: str, name: str, values: tuple[int, ...]) -> tuple[int, ...]:
    if any(v < 1 for v in values):
        raise say.too_small(op, name, values, 1)
    return values


def _steps(
    op: str, kernel: tuple[int, ...], stride: Ints, padding: Padding, dilation: Ints
) -> tuple[tuple[int, ...], Pads, tuple[int, ...]]:
    """Checked stride, padding and dilation, one per axis."""
    ndim = len(kernel)
    _positive(op, "kernel size", kernel)
    strides = _positive(op, "stride", per_axis(stride, ndim, "stride", op))
    dilations = _positive(op, "dilation", per_axis(dilation, ndim, "dilation", op))
    pads = per_axis_pads(padding, op, kernel, strides, dilations)
    for pad in pads:
        if min(pad) < 0:
            raise say.too_small(op, "padding", pad, 0, "to drop positions, slice x")
    return strides, pads, dilations


def _windows_fit(op: str, axes: Sequence[Axis], shapes: list[str]) -> None:
    sizes = tuple(a.size for a in axes)
    for i, a in enumerate(axes):
        if a.size < 1 or a.out < 1:
            raise say.no_window(op, shapes, i, sizes, a.kernel, a.stride, a.pad, a.dilation)


@dataclass(frozen=True, slots=True)
class Field:
    """What one unit sees of the input along one axis, after a chain of windows.

    Unit p of the layer sees input positions ``start + p * jump .. start + p * jump + size - 1`` (part of
    them padding).  The input itself is ``Field()``.

    Source: Araujo, Norris and Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks",
    equations 2 and 5 (Distill, doi 10.23915/distill.00021).

    >>> Field().then(Axis(32, 5)).then(Axis(28, 2, stride=2)).then(Axis(14, 5))
    Field(size=14, jump=2, start=0)
    """

    size: int = 1
    jump: int = 1
    start: int = 0

    @property
    def centre(self) -> float:
        """Centre of unit 0's field, in input positions."""
        return self.start + (self.size - 1) / 2

    def then(self, axis: Axis) -> Field:
        """The field of a layer that slides ``axis``'s windows over this one."""
        return Field(
            size=self.size + (axis.extent - 1) * self.jump,
            jump=self.jump * axis.stride,
            start=self.start - axis.pad[0] * self.jump,
        )

    def seen(self, unit: int) -> range:
        """Input positions that unit ``unit`` sees, padding included."""
        first = self.start + unit * self.jump
        return range(first, first + self.size)


def receptive_field(axes: Iterable[Axis]) -> Field:
    """The field of the last of a chain of windows along one axis, first layer first.

    >>> receptive_field([Axis(224, 7, stride=2, pad=(3, 3)), Axis(112, 3, stride=2, pad=(1, 1))])
    Field(size=11, jump=4, start=-5)
    """
    field = Field()
    for axis in axes:
        field = field.then(axis)
    return field
