"""What the kernels are told about a convolution: the structure ``Window`` of ``window.cuh``.

All three passes are two problems.  *Correlate* slides windows over an input: the forward pass as it stands, and the
input gradient once for each residue of its positions mod stride, because those that share one are a stride-1
correlation of the cotangent with part of the weights, flipped (``residues``); here one after the other, in ``parts.py``
in one launch.  *Weight gradient* is the other.  One and two axes are three of which the first have length 1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from itertools import product
from math import prod
from typing import Any

from .. import layout
from ..arrays import array_module
from ..cpu.direct_tiles import Geometry, Residue, geometry, residues
from ..geometry import Conv
from . import source

Array = Any
Ints = tuple[int, ...]

LIMIT = 1 << 31  # of whatever is counted in 32 bits
RUN = 4  # results of a thread in depthwise.cu


def supports(pass_: str, conv: Conv) -> str | None:
    """Why a kernel that counts in 32 bits, over three axes, cannot do this."""
    if conv.ndim > 3:
        return f"has loops for 1 to 3 spatial axes, not {conv.ndim}"
    largest = max(prod(conv.x_shape), prod(conv.w_shape), prod(conv.y_shape))
    if largest >= LIMIT:
        return f"counts elements in 32 bits, and an array here has {largest}"
    return None


def divider(d: int) -> Ints:
    """(multiplier, shift, d) such that n // d == n * multiplier >> shift for all n below 2^31.

    Source: Granlund and Montgomery 1994, "Division by Invariant Integers using Multiplication", theorem 4.2.

    >>> multiplier, shift, _ = divider(7)
    >>> (2**31 - 1) * multiplier >> shift == (2**31 - 1) // 7
    True
    """
    d = max(1, d)
    shift = 31 + (d - 1).bit_length()
    return -(-(1 << shift) // d), shift, d


def of_correlation(x: Array, w: Array, y: Array, axes: Geometry) -> Any:
    """Window for x (N, G*depth, ...), w (G, columns, depth, T0, T1, T2) and y (N, G*columns, ...)."""
    groups, columns, depth = w.shape[:3]
    strides = tuple(s // w.itemsize for s in w.strides)
    return _window(axes, len(x), groups, depth, columns, five(x), five(y), strides)


def of_weights(
    x: Array, g: Array, strides: Ints, conv: Conv, axes: Geometry, slice_: int = 0, distance: int = 0
) -> Any:
    """Window for a weight gradient with ``strides`` of (G, K/G, C/G, T0, T1, T2) and a ``distance`` of its slices."""
    sizes = conv.groups, conv.w_shape[1], conv.out_channels // conv.groups
    return _window(axes, len(x), *sizes, five(x), five(g), strides, slice_, distance)


def of_axes(axes: Geometry, batch: int, channels: int, x_strides: Ints, y_strides: Ints, w_strides: Ints) -> Any:
    """Window for what treats each channel on its own."""
    return _window(axes, batch, channels, 1, 1, x_strides, y_strides, w_strides)


@functools.lru_cache(maxsize=4096)
def _window(*sizes: Any) -> Any:
    return source.structure(tuple(numbers(*sizes)))


def numbers(
    axes: Geometry,
    batch: int,
    groups: int,
    depth: int,
    columns: int,
    x_strides: Ints,
    y_strides: Ints,
    w_strides: Ints,
    slice_: int = 0,
    w_slice: int = 0,
) -> list[int]:
    """The structure ``Window``, its fields in the order of window.cuh."""
    found = [n for axis in axes for n in axis]
    found += [batch, groups, depth, columns, *x_strides, *y_strides, *w_strides, slice_, w_slice, 0, 0]
    runs = -(-axes[1].out // RUN)
    for d in (*(a.out for a in axes), *(a.taps for a in axes), depth, columns, groups * columns, runs):
        found += divider(d)
    return found


def five(a: Array) -> Ints:
    """Strides in elements of (N, C, *size) as those of an array with three spatial axes."""
    n, c, *rest = (s // a.itemsize for s in a.strides)
    return (n, c, *(0,) * (3 - len(rest)), *rest)


def weight_strides(w: Array, conv: Conv) -> Ints:
    """Strides in elements of (K, C/G, *kernel) as those of (G, K/G, C/G, T0, T1, T2)."""
    k, *rest = five(w)
    return (k * (conv.out_channels // conv.groups), k, *rest)


Correlate = Callable[[Array, Array, Array, Geometry], None]
"""x (N, G*depth, ...), w (G, columns, depth, T0, T1, T2), y (N, G*columns, ...) to write, and the axes."""


def forward(correlate: Correlate, x: Array, w: Array, conv: Conv, out: Array | None) -> Array:
    """y (N, K, *out); channels-last where x is and no ``out`` is given."""
    y = layout.empty(conv.y_shape, x) if out is None else out
    if y.size:
        correlate(x, by_group(w, conv), y, geometry(conv))
    return y


def input_grad(correlate: Correlate, w: Array, g: Array, conv: Conv, out: Array | None) -> Array:
    """dx (N, C, *size), one residue after the other; channels-last where g is and no ``out`` is given.

    What no tap reaches, as three of four positions under a 1 x 1 kernel of stride 2, is zero from the beginning.
    """
    dx = layout.empty(conv.x_shape, g) if out is None else out
    exchanged = by_group(w, conv).swapaxes(1, 2)  # (G, C/G, K/G, T0, T1, T2)
    reached, all_of_them = _reached(conv)
    if not all_of_them:
        dx[...] = 0
    for parts in reached:
        weights = exchanged[:, :, :, *(r.taps for r in parts)][:, :, :, ::-1, ::-1, ::-1]
        positions = [slice(r.first, None, r.step) for r in parts[-conv.ndim :]]
        if (part := dx[:, :, *positions]).size:
            first, second, third = (r.axis for r in parts)
            correlate(g, weights, part, (first, second, third))
    return dx


def by_group(w: Array, conv: Conv) -> Array:
    """(K, C/G, *kernel) -> (G, K/G, C/G, T0, T1, T2)"""
    taps = [a.taps for a in geometry(conv)]
    return w.reshape(conv.groups, conv.out_channels // conv.groups, conv.w_shape[1], *taps)


Launch = Callable[[Array, Ints, int], None]
"""Where sums go, their strides as ``weight_strides`` has them, pixels of a slice."""


def in_slices(launch: Launch, dw: Array, conv: Conv, count: int) -> Array:
    """dw, summed in ``count`` slices of the pixels that are then added in their order: the same bits in every run.

    What is launched writes float32 where dw is float16.
    """
    length, half = -(-(conv.batch * prod(conv.out)) // count), dw.itemsize < 4
    if count == 1 and not half:
        launch(dw, weight_strides(dw, conv), length)
        return dw
    sums = array_module(dw).empty((count, *dw.shape), "float32" if half else dw.dtype)
    launch(sums, weight_strides(sums[0], conv), length)
    dw[...] = sums.sum(axis=0)
    return dw


def slice_count(pixels: int, blocks: int, wanted: int, shortest: int) -> int:
    """Slices of the pixels, for about ``wanted`` blocks in all where each slice has ``blocks``.

    >>> slice_count(1000, 10, wanted=50, shortest=64), slice_count(1000, 10, wanted=50, shortest=300)
    (5, 3)
    """
    return max(1, min(-(-wanted // max(1, blocks)), pixels // shortest))


def correlations(pass_: str, conv: Conv) -> Iterator[Geometry]:
    """The axes of each problem that a forward pass or an input gradient is made of: what a cost is estimated from."""
    if pass_ == "forward":
        yield geometry(conv)
        return
    for parts in _reached(conv)[0]:
        first, second, third = (r.axis for r in parts)
        yield first, second, third


def _reached(conv: Conv) -> tuple[list[tuple[Residue, ...]], bool]:
    """The residues that some tap reaches, and whether these are all."""
    every = list(product(*(residues(axis) for axis in geometry(conv))))
    reached = [parts for parts in every if all(r.axis.taps for r in parts)]
    return reached, len(reached) == len(every)
