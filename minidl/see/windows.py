"""The shape explorer: one window operation with its arithmetic, drawn, and turned round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..kernels import drawing
from ..kernels import shape_errors as say
from ..kernels.geometry import Axis, Ints, Padding, per_axis, per_axis_pads
from .errors import SeeError
from .shown import Shown


@dataclass
class Side:
    """One axis.  ``out`` windows (by the rule that was asked for; ``floor`` and ``ceil`` by either), the arithmetic
    in ``formula``; ``leftover`` padded positions that no window reaches (below 0: the last window hangs over);
    ``unread`` input positions that no tap reads, ``holes`` positions inside a window that dilation steps over;
    ``reads`` how often each input position is read; ``same_output`` all input sizes with as many windows, and
    ``output_padding`` the one of each that brings a transposed convolution back to it."""

    letter: str
    size: int
    kernel: int
    stride: int
    pad: tuple[int, int]
    dilation: int
    ceil_mode: bool
    out: int
    floor: int
    ceil: int
    formula: str
    extent: int
    holes: int
    leftover: int
    unread: list[int]
    reads: list[int]
    same_output: list[int]
    output_padding: dict[int, int]
    drawing: list[str]

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "pad": list(self.pad)}


@dataclass(repr=False)
class Window(Shown):
    """A window operation on one axis or several."""

    sides: list[Side]

    @property
    def out(self) -> tuple[int, ...]:
        return tuple(side.out for side in self.sides)

    def to_dict(self) -> dict[str, Any]:
        return {"out": list(self.out), "sides": [s.to_dict() for s in self.sides]}

    def __str__(self) -> str:
        from .text import window

        return window(self)


def window(
    size: Ints,
    kernel: Ints,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
) -> Window:
    """What a window of ``kernel`` taps does on an input of ``size`` (one number, or one for each axis).

    Arguments as for the layers.  A window that does not fit is shown, not an error; SeeError for sizes, strides and
    dilations below 1.

    >>> side = window(7, 3, stride=2, padding=1).sides[0]
    >>> side.out, side.formula, side.same_output
    (4, 'P = (7 + 2*1 - 1*(3-1) - 1)//2 + 1 = 4', [7, 8])
    >>> side.output_padding
    {7: 0, 8: 1}
    """
    ndim = max(len(v) if isinstance(v, Sequence) else 1 for v in (size, kernel, stride, dilation))
    sizes, kernels = per_axis(size, ndim, "size"), per_axis(kernel, ndim, "kernel")
    strides, dilations = per_axis(stride, ndim, "stride"), per_axis(dilation, ndim, "dilation")
    for name, values in (("size", sizes), ("kernel", kernels), ("stride", strides), ("dilation", dilations)):
        if min(values) < 1:
            raise SeeError(f"{name} must be at least 1 on every axis, got {name} = {values}")
    pads = per_axis_pads(padding, "window", kernels, strides, dilations)
    if min(min(p) for p in pads) < 0:
        raise SeeError(f"padding must not be negative, got {pads}: it would drop positions, which slicing does")
    letters = ["P"] if ndim == 1 else say.letters(say.OUTPUT, ndim)
    axes = [Axis(*a, ceil_mode) for a in zip(sizes, kernels, strides, pads, dilations)]
    return Window([_side(letter, axis) for letter, axis in zip(letters, axes)])


def _side(letter: str, axis: Axis) -> Side:
    floor, ceil = replace(axis, ceil=False).out, replace(axis, ceil=True).out
    reads = [0] * axis.size
    for t in range(axis.kernel):
        for p in axis.windows_at(t) if axis.out > 0 else ():
            reads[axis.position(p, t)] += 1
    same = list(axis.sizes(axis.out)) if axis.out > 0 else []
    least = (axis.out - 1) * axis.stride + axis.extent - sum(axis.pad)
    formula = say.arithmetic(letter, axis.size, axis.kernel, axis.stride, axis.pad, axis.dilation)
    if axis.ceil and ceil != floor:
        formula += f" by the floor rule; the ceil rule adds a window over the rest: {ceil}"
    return Side(
        letter, axis.size, axis.kernel, axis.stride, axis.pad, axis.dilation, axis.ceil, axis.out, floor, ceil, formula,
        axis.extent, axis.extent - axis.kernel, axis.leftover if axis.out > 0 else 0,
        [i for i, n in enumerate(reads) if not n] if axis.out > 0 else [], reads, same,
        {n: n - least for n in same if 0 <= n - least < axis.stride},
        drawing.axis(axis.size, axis.kernel, axis.stride, axis.pad, axis.dilation, axis.out),
    )  # fmt: skip
