"""Correlations in one launch: a forward pass, or all residues of an input gradient's positions mod stride.

Along each axis a result falls into parts, an input gradient into as many as its stride, and a part of each axis makes a
correlation.  So the host describes axes, not their product: ``Residues`` of ``window.cuh`` is a table of all parts, and
a block puts its window together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

from .. import layout
from ..cpu.direct_tiles import Axis3, geometry, residues
from ..geometry import Conv
from . import windows
from .source import structure
from .windows import Ints

Array = Any

MOST = 72  # parts of all axes together: MOST_RESIDUES of window.cuh
FIELDS = 11  # of one


class Part(NamedTuple):
    """Results ``first``, ``first + hop``, ... along an axis: correlations over ``axis``, whose taps are ``begin``,
    ``begin + step``, ... of the weights."""

    axis: Axis3
    begin: int
    step: int
    first: int
    hop: int


Parts = tuple[tuple[Part, ...], ...]


@functools.lru_cache(maxsize=1024)
def parts(pass_: str, conv: Conv) -> Parts:
    """The parts of the three axes of what a pass writes; an input gradient has the taps of its weights in reverse.

    Those with most taps come first, because their blocks take longest.  Those with none are there too: zeros.

    >>> [[p.axis.taps for p in own] for own in parts("input_grad", Conv.from_shapes((1, 1, 9), (1, 1, 4), stride=3))]
    [[1], [1], [2, 1, 1]]
    """
    if pass_ == "forward":
        return tuple((Part(a, 0, 1, 0, 1),) for a in geometry(conv))
    of_axes = []
    for a in geometry(conv):
        own = [
            Part(r.axis, a.taps - r.taps.stop, r.taps.step, r.first, r.step)
            if r.axis.taps
            else Part(r.axis, 0, 1, r.first, r.step)
            for r in residues(a)
        ]
        of_axes.append(tuple(sorted(own, key=lambda part: -part.axis.taps)))
    return tuple(of_axes)


def obstacle(pass_: str, conv: Conv) -> str | None:
    """Why the table cannot hold them."""
    count = sum(map(len, parts(pass_, conv)))
    return None if count <= MOST else f"has a table for {MOST} residues along the axes, not {count}"


def strided(of_axes: Parts) -> bool:
    """Whether a kernel is given the table."""
    return any(p.hop > 1 for own in of_axes for p in own)


def count(of_axes: Parts) -> int:
    """Correlations, each a choice of one part for each axis."""
    return prod(map(len, of_axes))


def largest(of_axes: Parts) -> tuple[int, int]:
    """The most positions, and the most taps, of any of the correlations."""
    return prod(max(p.axis.out for p in own) for own in of_axes), prod(max(p.axis.taps for p in own) for own in of_axes)


def working(of_axes: Parts) -> int:
    """Correlations that have taps."""
    return prod(sum(p.axis.taps > 0 for p in own) for own in of_axes)


Correlate = Callable[[Array, Array, Array, Parts], None]
"""x (N, G*depth, ...), w (G, columns, depth, T0, T1, T2), y (N, G*columns, ...) to write, and its parts."""


def correlate(launch: Correlate, pass_: str, x: Array, w: Array, conv: Conv, out: Array | None) -> Array:
    """y (N, K, *out) of x, or dx (N, C, *size) of a cotangent; channels-last where that is and no ``out`` is given."""
    shape = conv.y_shape if pass_ == "forward" else conv.x_shape
    y = layout.empty(shape, x) if out is None else out
    if y.size:
        filters = windows.by_group(w, conv)
        if pass_ == "input_grad":
            filters = filters.swapaxes(1, 2)[:, :, :, ::-1, ::-1, ::-1]  # (G, C/G, K/G, T0, T1, T2)
        launch(x, filters, y, parts(pass_, conv))
    return y


def problem(x: Array, w: Array, y: Array, of_axes: Parts, distance: int = 0) -> Any:
    """``Window``, or ``Residues`` for those of a stride; ``distance`` of the slices' results."""
    groups, columns, depth = w.shape[:3]
    w_strides = tuple(s // w.itemsize for s in w.strides)
    return _problem(of_axes, len(x), groups, depth, columns, windows.five(x), windows.five(y), w_strides, distance)


@functools.lru_cache(maxsize=1024)
def _problem(
    of_axes: Parts,
    batch: int,
    groups: int,
    depth: int,
    columns: int,
    x_strides: Ints,
    y_strides: Ints,
    w_strides: Ints,
    distance: int,
) -> Any:
    first, second, third = leading = [own[0] for own in of_axes]
    steps, taps = y_strides[2:], w_strides[3:]
    window = windows.numbers(
        (first.axis, second.axis, third.axis), batch, groups, depth, columns, x_strides,
        (*y_strides[:2], *(p.hop * step for p, step in zip(leading, steps))),
        (*w_strides[:3], *(p.step * tap for p, tap in zip(leading, taps))),
        w_slice=distance,
    )  # fmt: skip
    if not strided(of_axes):
        return structure(tuple(window))
    table = [
        number
        for own, step, tap in zip(of_axes, steps, taps)
        for p in own
        for number in (p.axis.taps, p.axis.out, p.axis.low, p.begin * tap, p.first * step,
                       *windows.divider(p.axis.out), *windows.divider(p.axis.taps))
    ]  # fmt: skip
    return structure((*window, *map(len, of_axes), *table, *(0,) * (MOST * FIELDS - len(table))))
