"""Convolution on channels-last storage with register tiles.

Storage (N, P, Q, C) makes convolution a sum of matrix products: tap (r, s) multiplies the C channels of a pixel,
which lie side by side, by a C x K matrix of weights, and the K results of neighbouring pixels lie side by side
too.  `products.py` does that for all taps at once, on tiles of 8 pixels x 32 filters (AVX-512).  What remains
here is to write each pass as such a product:

* forward: the windows of x times the weights.
* input_grad: the inputs that share a residue mod stride are a stride-1 convolution of g with part of the taps.  With
  few channels the product the other way round is faster, of g's pixels and all taps: see `col2im`.

Arrays are (N, C, *size) as everywhere; those that are not channels-last are copied first.  Results are
channels-last, whatever the operands are, so that a network changes its storage once, in its first layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

import numpy as np

from ..geometry import Conv
from . import col2im_tiles
from .col2im import spread
from .depthwise import filter_channels, weight_sums
from .depthwise_tiles import ChannelTile, gradient_tile, groups_fit
from .direct_tiles import Axis3, Geometry, geometry, residues, whole_row
from .elements import last_and_dense
from .finish import NOTHING, Finish, finishing
from .places import address
from .products import NO_GAPS, Gaps, multiply_rows, whole
from .relayout import as_last, deliver, edge_windows, padded_rows, result, rows_of_channels
from .replay import permanent_zeros, replayed
from .simd import machine
from .sums import multiply_columns
from .windows import Windows, windows

Array = np.ndarray


@replayed
def forward(x: Array, w: Array, conv: Conv, out: Array | None = None) -> Array:
    """y (N, K, *out), channels-last where no ``out`` is given."""
    y = result(conv.y_shape, x.dtype, out)
    if 0 in w.shape:
        y[...] = 0
    elif y.size:
        _forward(x, w, y, conv, NOTHING)
    return deliver(y, out)


def forward_then(
    x: Array, w: Array, conv: Conv, scale: Array | None, shift: Array | None, added: Array | None, ceiling: float | None
) -> Array:
    """``cut(forward(x, w) * scale + shift + added)``: see `finish`.  There has to be something to compute."""
    return _forward_then(x, w, scale, shift, added, (conv, ceiling))


@replayed(operands=5)
def _forward_then(
    x: Array,
    w: Array,
    scale: Array | None,
    shift: Array | None,
    added: Array | None,
    problem: tuple[Conv, float | None],
    out: Array | None = None,
) -> Array:
    conv, ceiling = problem
    y = result(conv.y_shape, x.dtype, None)
    added = None if added is None else last_and_dense(added, "added")
    _forward(x, w, y, conv, finishing(y, scale, shift, added, ceiling))
    return y


def _forward(x: Array, w: Array, y: Array, conv: Conv, last: Finish) -> None:
    view, merged = _windows(x, y, geometry(conv), conv.groups)
    weights = _by_group(w, conv)
    if by_channels(conv, x.dtype.name):
        taps0, taps1, taps2 = (range(axis.taps) for axis in geometry(conv))
        filter_channels([(view, (taps0, taps1, taps2))], _by_channel(weights), last)
    else:
        multiply_rows(view, weights, x.dtype.name, merged=merged, last=last)


@replayed
def input_grad(w: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dx (N, C, *size), channels-last where no ``out`` is given."""
    dx = result(conv.x_shape, g.dtype, out)
    if 0 in g.shape:
        dx[...] = 0
    elif dx.size:
        g = as_last(g, "g")
        if col2im_tiles.pays(conv, machine().lanes(g.dtype)):
            spread(w, g, dx, conv)
            return deliver(dx, out)
        weights = _by_group(w, conv).swapaxes(1, 2)  # (G, C/G, K/G, T0, T1, T2)
        alone, parts = by_channels(conv, g.dtype.name), []
        gaps = NO_GAPS if alone else _gaps(conv, dx)
        tile = _upsampling(conv, g.dtype.name) if alone else None
        *rows, last = geometry(conv)
        columns = residues(last) if tile is None else [whole_row(last)]
        for classes in product(*map(residues, rows), columns):
            if gaps != NO_GAPS and not all(r.axis.taps for r in classes):
                continue  # zeros, which the other class leaves
            first, step = [r.first for r in classes], [r.step for r in classes]
            view, merged = _windows(g, dx, tuple(r.axis for r in classes), conv.groups, first, step)
            if alone:
                taps0, taps1, taps2 = (range(axis.taps)[r.taps][::-1] for axis, r in zip(geometry(conv), classes))
                parts.append((view, (taps0, taps1, taps2)))
            else:
                part = weights[:, :, :, *(r.taps for r in classes)][:, :, :, ::-1, ::-1, ::-1]
                multiply_rows(view, part, g.dtype.name, merged=merged, gaps=gaps)
        if alone:
            filter_channels(parts, _by_channel(weights), tile=tile)
    return deliver(dx, out)


@replayed
def weight_grad(x: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dw (K, C/G, *kernel)."""
    dw = out if out is not None and out.flags.c_contiguous else np.empty(conv.w_shape, x.dtype)
    if 0 in g.shape or 0 in dw.shape:
        dw[...] = 0
    else:
        view, merged = _windows(x, as_last(g, "g"), geometry(conv), conv.groups, slack=True)
        columns, (channels, *kernel) = conv.out_channels // conv.groups, conv.w_shape[1:]
        if by_channels(conv, dw.dtype.name):
            weight_sums(view, dw.reshape(conv.out_channels, channels, *(1,) * (3 - conv.ndim), *kernel))
        elif merged:
            multiply_columns(view, kernel[-1] * channels, columns, 1, dw, merged=kernel[-1])
        else:
            multiply_columns(view, channels, columns, conv.groups, dw)
    if out is not None and out is not dw:
        out[...] = dw
        return out
    return dw


def _upsampling(conv: Conv, dtype: str) -> ChannelTile | None:
    """The tile that computes rows of a depthwise input gradient as a whole, if there is one."""
    last = geometry(conv)[2]
    if last.dilation > 1:
        return None
    return gradient_tile(dtype, conv.in_channels, conv.w_shape[1], last.taps, last.stride, last.low)


def _gaps(conv: Conv, dx: Array) -> Gaps:
    """The elements of dx that no window reads, where a kernel has one tap and a stride: each pixel that one reads is
    the first of a block of pixels.  NO_GAPS where some block is not whole, or a tile is not (`whole`)."""
    axes = geometry(conv)
    blocks = all(a.taps == 1 and a.out * a.stride == a.size for a in axes)  # more windows if there were padding
    if not blocks or not whole(conv.w_shape[1], dx.dtype.name):
        return NO_GAPS
    steps = (0,) * (3 - conv.ndim) + dx.strides[2:]
    return Gaps(*(number for a, step in zip(axes, steps) for number in (a.stride, step)))


FEW_CHANNELS = 8
"""Below, a row of channels is too short to work on by itself (``tiles.columns_tile`` has at most as many rows)."""

MERGED_CHANNELS = 32
MERGED_WORK = 8  # products of an element of x, divided by its channels, that pay for copying it


def _windows(
    x: Array,
    y: Array,
    axes: Geometry,
    groups: int,
    first: Sequence[int] = (0, 0, 0),
    step: Sequence[int] = (1, 1, 1),
    slack: bool = False,
) -> tuple[Windows, bool]:
    """Where the windows of x lie, and whether the taps of a kernel row count as channels of one tap.

    They do with few channels, as in a first layer, where that pays: the S taps of a kernel row read S * C elements
    that lie side by side, one tap of S * C channels, if nothing comes between.  Windows that hang over an end of
    their row are copied, with zeros; or x is, into rows that hold their padding, where its channels do not lie side by
    side, or a window has less than FEW_CHANNELS channels and, with ``slack``, is read as if it had as many.
    """
    last, channels = axes[2], x.shape[1]
    work = prod(axis.taps for axis in axes) * y.shape[1]
    merged = groups == 1 and last.dilation == 1 and last.taps > 1 and last.low >= 0
    merged &= channels < FEW_CHANNELS or (channels <= MERGED_CHANNELS and work >= MERGED_WORK * channels)
    slack &= channels * (last.taps if merged else 1) < FEW_CHANNELS
    if not merged and not slack:
        x = as_last(x, "x")
        return windows(x, y, axes, permanent_zeros(x.dtype, channels), first, step), False
    if merged and not slack and rows_of_channels(x) and x.strides[-1] == channels * x.itemsize:
        zeros = permanent_zeros(x.dtype, last.taps * channels)
        row = Axis3(last.size - last.taps + 1, 1, last.out, last.stride, last.low, 1)
        view = windows(x, y, (*axes[:2], row), zeros, first, step)
        if last.low == 0 and (last.out - 1) * last.stride + last.taps <= last.size:
            return view, True  # no window hangs over; an empty copy would be no place that `replay` knows
        edges, low, count = edge_windows(x, last, "edges")
        step_bytes = last.taps * channels * x.itemsize
        return view._replace(edges=address(edges), edge_bytes=step_bytes, edge_low=low, edge_count=count), True
    length = max(last.low + last.size, (last.out - 1) * last.stride + (last.taps - 1) * last.dilation + 1)
    x = padded_rows(x, last.low, length, FEW_CHANNELS, "x")
    taps = 1 if merged else last.taps
    row = Axis3(length, taps, last.out, last.stride, 0, last.dilation)
    zeros = permanent_zeros(x.dtype, last.taps * channels + FEW_CHANNELS)
    return windows(x, y, (*axes[:2], row), zeros, first, step), merged


def by_channels(conv: Conv, dtype: str) -> bool:
    """Depthwise, or as many filters as channels in groups so small that they lie within a vector."""
    square = conv.in_channels == conv.out_channels > 1 < conv.groups
    return square and groups_fit(dtype, conv.in_channels, conv.w_shape[1])


def _by_group(w: Array, conv: Conv) -> Array:
    """(K, C/G, *kernel) -> (G, K/G, C/G, T0, T1, T2)"""
    kernel = (1,) * (3 - conv.ndim) + conv.kernel
    return w.reshape(conv.groups, conv.out_channels // conv.groups, conv.w_shape[1], *kernel)


def _by_channel(weights: Array) -> Array:
    """(G, K/G, C/G, T0, T1, T2) -> (K, C/G, T0, T1, T2)"""
    return weights.reshape(-1, *weights.shape[2:])
