"""Direct convolution in Numba: the definition's loops in an order that a CPU likes.

The output is cut into tiles of about ``TILE`` positions.  For a tile, the part of an input channel that it
reads is copied into a small buffer in which three nuisances disappear:

* *Padding*: the buffer holds zeros there.  Nothing larger than a tile is ever padded.
* *Stride*: position i goes to phase i mod stride, so that a tap reads side by side what its windows read.
* *Short rows*: rows follow one another, small images too, and a tap's products are added to the whole tile
  in one long vectorised loop; the sums that straddle two rows are not stored.

A loop adds the products of four taps to two filters at once.  The input gradient runs through the same
function: the inputs that share a residue mod stride are a stride-1 correlation of g with part of the weights.

**Order of summing**, and so the bits: a tile is computed by one thread, tiles depend on the problem's sizes
only, so the number of threads changes nothing.  forward and input_grad add in the arrays' dtype, channels
outermost, four taps at a time.  weight_grad adds within a tile in the arrays' dtype and tiles in float64; in
it zeros stand for the cotangent where rows end, so an infinity or NaN in x spreads to all taps of its channel.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np

from .. import layout
from ..geometry import Conv
from ..jit import njit, prange
from .direct_tiles import ITEMS, SLICES, Axis3, Geometry, geometry, items, residues, tiling

Array = np.ndarray

LANES = 64  # loops are rounded up to whole vectors of any CPU, four at a time


def forward(x: Array, w: Array, conv: Conv, out: Array | None = None) -> Array:
    """y (N, K, *out); channels-last where x is and no ``out`` is given."""
    y = layout.empty(conv.y_shape, x) if out is None else out
    target = y if layout.memory(y) is not None else np.empty(y.shape, y.dtype)
    _run(x, w, target, (0, 0, 0), (1, 1, 1), conv.groups, geometry(conv))
    if target is not y:
        y[...] = target
    return y


def input_grad(w: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dx (N, C, *size); channels-last where g is and no ``out`` is given."""
    dx = layout.empty(conv.x_shape, g) if out is None else out
    target = dx if layout.memory(dx) is not None else np.empty(dx.shape, dx.dtype)
    if layout.memory(g) is None:
        g = np.ascontiguousarray(g)  # once, not for each residue
    groups, k, c = conv.groups, conv.out_channels // conv.groups, conv.w_shape[1]
    taps = [a.taps for a in geometry(conv)]
    exchanged = w.reshape(groups, k, c, *taps).swapaxes(1, 2)  # (G, C/G, K/G, T0, T1, T2)
    for classes in product(*(residues(axis) for axis in geometry(conv))):
        part = exchanged[:, :, :, *(r.taps for r in classes)][:, :, :, ::-1, ::-1, ::-1]
        r0, r1, r2 = classes
        first, step = (r0.first, r1.first, r2.first), (r0.step, r1.step, r2.step)
        _run(g, part, target, first, step, groups, (r0.axis, r1.axis, r2.axis))
    if target is not dx:
        dx[...] = target
    return dx


def weight_grad(x: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dw (K, C/G, *kernel)."""
    dw = np.empty(conv.w_shape, x.dtype) if out is None else out
    axes, groups = geometry(conv), conv.groups
    channels, filters = conv.w_shape[1], conv.out_channels // groups
    if 0 in g.shape or 0 in dw.shape:
        dw[...] = 0
        return dw
    t = tiling(axes, conv.batch, groups, filters)
    pieces = groups * -(-filters // t.filters) * -(-channels // SLICES)
    chunks = min(-(-conv.batch // t.images), -(-ITEMS // pieces))
    sums = np.zeros((chunks, conv.out_channels, channels, prod(conv.kernel)), np.float64)
    (xs, x_strides), (gs, g_strides) = layout.memory_or_copy(x, "x"), layout.memory_or_copy(g, "g")
    sizes = (conv.batch, groups, channels, filters)
    _dots(
        chunks * pieces, xs, _ints(_five(x_strides)), gs, _ints(_five(g_strides)), sums,
        _ints(sizes), _ints(axes), _ints(t),
    )  # fmt: skip
    dw[...] = sums.sum(0).reshape(conv.w_shape)
    return dw


def _five(strides: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of (.., .., axis) as those of (.., .., 1, 1, axis), or as many axes of size 1 as are missing."""
    return (*strides[:2], *(0,) * (5 - len(strides)), *strides[2:])


def _run(
    x: Array,
    w: Array,
    y: Array,
    first: tuple[int, int, int],
    step: tuple[int, int, int],
    groups: int,
    axes: Geometry,
) -> None:
    """Correlate x with w (K, C/G, ...) into y's positions first, first + step, ... along the three axes."""
    if 0 in y.shape:
        return
    found = layout.memory(y)
    assert found is not None  # forward and input_grad see to it
    flat, strides = found[0], _five(found[1])
    base = sum(f * s for f, s in zip(first, strides[2:]))
    strides = (*strides[:2], *(s * t for s, t in zip(strides[2:], step)))
    xs, x_strides = layout.memory_or_copy(x, "x")
    channels, filters = x.shape[1] // groups, y.shape[1] // groups
    t = tiling(axes, x.shape[0], groups, filters)
    weights = layout.memory_or_copy(np.ascontiguousarray(w), "w")[0]
    sizes = (x.shape[0], groups, channels, filters)
    pieces = items(t, axes, x.shape[0], groups, filters)
    _correlate(
        pieces, xs, _ints(_five(x_strides)), weights, flat, base, _ints(strides), _ints(sizes), _ints(axes), _ints(t)
    )


def _ints(values: Any) -> Array:
    """Loops that run in parallel take arrays, not nested tuples."""
    return np.array(values, np.int64)


# The loops -------------------------------------------------------------------------------------------
# Indices are cast to unsigned: Numba would test a signed one for being negative and could not vectorise.

U = np.uint64


@njit
def _axes(a: Array) -> tuple[Axis3, Axis3, Axis3]:
    return (
        Axis3(a[0, 0], a[0, 1], a[0, 2], a[0, 3], a[0, 4], a[0, 5]),
        Axis3(a[1, 0], a[1, 1], a[1, 2], a[1, 3], a[1, 4], a[1, 5]),
        Axis3(a[2, 0], a[2, 1], a[2, 2], a[2, 3], a[2, 4], a[2, 5]),
    )


@njit
def _phases(a: Axis3) -> Any:
    """The residues mod stride that taps fall into, each tap's phase (index of its residue), and its shift."""
    residues, phase, shift = np.empty(a.taps, np.int64), np.empty(a.taps, np.int64), np.empty(a.taps, np.int64)
    count = 0
    for t in range(a.taps):
        rho = t * a.dilation % a.stride
        shift[t] = t * a.dilation // a.stride
        phase[t] = count
        for known in range(count):
            if residues[known] == rho:
                phase[t] = known
        if phase[t] == count:
            residues[count] = rho
            count += 1
    return residues[:count], phase, shift, shift[a.taps - 1] if a.taps else 0


@njit
def _tap_offsets(a_phases: Any, b_phases: Any, rows: int, width: int, images: int) -> Array:
    """Where each tap of a slice begins in its buffer [phase a][phase b][image][row][column]."""
    residues_b = b_phases[0].size
    _, phase_a, shift_a, _ = a_phases
    _, phase_b, shift_b, _ = b_phases
    offsets = np.empty(phase_a.size * phase_b.size, np.int64)
    for s in range(phase_a.size):
        for t in range(phase_b.size):
            plane = phase_a[s] * residues_b + phase_b[t]
            offsets[s * phase_b.size + t] = (plane * images * rows + shift_a[s]) * width + shift_b[t]
    return offsets


@njit
def _copy_plane(
    buffer: Array,
    at: int,
    rows: int,
    width: int,
    a: Array,
    base: int,
    strides: Any,
    sizes: Any,
    first: Any,
    step: Any,
) -> None:
    """buffer[at + r * width + q] = a at (first + (r, q) * step), 0 outside [0, sizes)."""
    start = min(width, max(0, -(first[1] // step[1])))
    stop = max(start, min(width, (sizes[1] - 1 - first[1]) // step[1] + 1))
    for r in range(rows):
        i = first[0] + r * step[0]
        to = at + r * width
        if i < 0 or i >= sizes[0] or stop == start:
            buffer[to : to + width] = 0
            continue
        buffer[to : to + start] = 0
        buffer[to + stop : to + width] = 0
        source = base + i * strides[0] + first[1] * strides[1]
        jump = step[1] * strides[1]
        if jump == 1:
            for q in range(start, stop):
                buffer[U(to + q)] = a[U(source + q)]
        else:
            for q in range(start, stop):
                buffer[U(to + q)] = a[U(source + q * jump)]


@njit
def _copy_slice(
    buffer: Array, at: int, images: int, rows: int, width: int, x: Array, base: int, xs: Any, a: Axis3, b: Axis3,
    residues_a: Array, residues_b: Array, p0: int, q0: int,
) -> None:  # fmt: skip
    """One channel of some images, all phases: buffer[at + [phase a][phase b][image][row][column]]."""
    for rho_a in residues_a:
        for rho_b in residues_b:
            first = (p0 * a.stride + rho_a - a.low, q0 * b.stride + rho_b - b.low)
            for image in range(images):
                _copy_plane(
                    buffer, at, rows, width, x, base + image * xs[0], (xs[3], xs[4]), (a.size, b.size), first,
                    (a.stride, b.stride),
                )  # fmt: skip
                at += rows * width


@njit
def _add_products(
    sums: Array, at: int, second: int, length: int, x: Array, starts: Array, w: Array, w0: int, w1: int,
    w_index: Array, terms: int,
) -> None:  # fmt: skip
    """sums[at + j] += sum over terms m of w[w0 + w_index[m]] * x[starts[m] + j], 0 <= j < length.

    The same for a second filter, w1 and sums[second + j], where second >= 0.
    """
    by_four = terms - terms % 4
    for m in range(0, by_four, 4):
        i0, i1, i2, i3 = w_index[m], w_index[m + 1], w_index[m + 2], w_index[m + 3]
        x0, x1, x2, x3 = starts[m], starts[m + 1], starts[m + 2], starts[m + 3]
        a0, a1, a2, a3 = w[w0 + i0], w[w0 + i1], w[w0 + i2], w[w0 + i3]
        if second >= 0:
            b0, b1, b2, b3 = w[w1 + i0], w[w1 + i1], w[w1 + i2], w[w1 + i3]
            for j in range(length):
                v0, v1, v2, v3 = x[U(x0 + j)], x[U(x1 + j)], x[U(x2 + j)], x[U(x3 + j)]
                sums[U(at + j)] += (a0 * v0 + a1 * v1) + (a2 * v2 + a3 * v3)
                sums[U(second + j)] += (b0 * v0 + b1 * v1) + (b2 * v2 + b3 * v3)
        else:
            for j in range(length):
                v0, v1, v2, v3 = x[U(x0 + j)], x[U(x1 + j)], x[U(x2 + j)], x[U(x3 + j)]
                sums[U(at + j)] += (a0 * v0 + a1 * v1) + (a2 * v2 + a3 * v3)
    for m in range(by_four, terms):
        x0, a0 = starts[m], w[w0 + w_index[m]]
        for j in range(length):
            sums[U(at + j)] += a0 * x[U(x0 + j)]
        if second >= 0:
            b0 = w[w1 + w_index[m]]
            for j in range(length):
                sums[U(second + j)] += b0 * x[U(x0 + j)]


@njit(parallel=True)
def _correlate(
    items: int, x: Array, xs: Array, w: Array, y: Array, y_base: int, ys: Array, sizes: Array, geometry: Array,
    tiling: Array,
) -> None:  # fmt: skip
    for item in prange(items):
        # inside the loop Numba takes a number without a sign for it: the tile would be compiled a second time
        _correlate_tile(np.int64(item), x, xs, w, y, y_base, ys, sizes, geometry, tiling)


@njit
def _correlate_tile(
    item: int, x: Array, xs: Array, w: Array, y: Array, y_base: int, ys: Array, sizes: Array, geometry: Array,
    tiling: Array,
) -> None:  # fmt: skip
    batch, groups, channels, filters = sizes[0], sizes[1], sizes[2], sizes[3]
    most_images, most_filters, most_rows, most_columns = tiling[0], tiling[1], tiling[2], tiling[3]
    depth, a, b = _axes(geometry)
    a_phases, b_phases = _phases(a), _phases(b)
    residues_a, residues_b, halo_a, halo_b = a_phases[0], b_phases[0], a_phases[3], b_phases[3]
    planes = residues_a.size * residues_b.size
    taps = a.taps * b.taps
    parts_a, parts_b = -(-a.out // most_rows), -(-b.out // most_columns)
    parts_k = -(-filters // most_filters)
    q0 = item % parts_b * most_columns
    p0 = item // parts_b % parts_a * most_rows
    o0 = item // (parts_b * parts_a) % depth.out
    k0 = item // (parts_b * parts_a * depth.out) % parts_k * most_filters
    group = item // (parts_b * parts_a * depth.out * parts_k) % groups
    n0 = item // (parts_b * parts_a * depth.out * parts_k * groups) * most_images
    # the tile: images x rows x columns of outputs; its buffer has a halo for the taps
    images, block = min(most_images, batch - n0), min(most_filters, filters - k0)
    out_rows, out_columns = min(most_rows, a.out - p0), min(most_columns, b.out - q0)
    rows, width = out_rows + halo_a, out_columns + halo_b
    length = ((images - 1) * rows + out_rows - 1) * width + out_columns
    length = -(-length // LANES) * LANES
    slice_size = planes * images * rows * width
    offsets = _tap_offsets(a_phases, b_phases, rows, width, images)
    slices = min(SLICES, channels * depth.taps)
    buffer = np.empty(slices * slice_size + LANES, x.dtype)
    buffer[slices * slice_size :] = 0
    sums = np.zeros(block * length, x.dtype)
    starts, w_index = np.empty(slices * taps, np.int64), np.empty(slices * taps, np.int64)
    filled = 0
    for c in range(channels):
        for t0 in range(depth.taps):
            i0 = o0 * depth.stride + t0 * depth.dilation - depth.low
            if 0 <= i0 < depth.size:
                base = n0 * xs[0] + (group * channels + c) * xs[1] + i0 * xs[2]
                at = filled * slice_size
                _copy_slice(buffer, at, images, rows, width, x, base, xs, a, b, residues_a, residues_b, p0, q0)
                for t in range(taps):
                    starts[filled * taps + t] = at + offsets[t]
                    w_index[filled * taps + t] = (c * depth.taps + t0) * taps + t
                filled += 1
            if filled == slices or (c == channels - 1 and t0 == depth.taps - 1):
                per_filter = channels * depth.taps * taps
                for k in range(0, block, 2):
                    second = (k + 1) * length if k + 1 < block else -1
                    w0 = (group * filters + k0 + k) * per_filter
                    _add_products(
                        sums, k * length, second, length, buffer, starts, w, w0, w0 + per_filter, w_index,
                        filled * taps,
                    )  # fmt: skip
                filled = 0
    for k in range(block):
        to = y_base + n0 * ys[0] + (group * filters + k0 + k) * ys[1] + o0 * ys[2]
        for image in range(images):
            for p in range(out_rows):
                row = to + image * ys[0] + (p0 + p) * ys[3] + q0 * ys[4]
                summed = k * length + (image * rows + p) * width
                if ys[4] == 1:
                    for q in range(out_columns):
                        y[U(row + q)] = sums[U(summed + q)]
                else:
                    for q in range(out_columns):
                        y[U(row + q * ys[4])] = sums[U(summed + q)]


@njit
def _add_dots(total: Array, g: Array, at: int, length: int, x: Array, starts: Array) -> None:
    """total[m] += sum over j < length of g[at + j] * x[starts[m] + j]."""
    terms = starts.size
    by_four = terms - terms % 4
    zero = g[0] * 0
    for m in range(0, by_four, 4):
        x0, x1, x2, x3 = starts[m], starts[m + 1], starts[m + 2], starts[m + 3]
        sum0, sum1, sum2, sum3 = zero, zero, zero, zero
        for j in range(length):
            v = g[U(at + j)]
            sum0 += v * x[U(x0 + j)]
            sum1 += v * x[U(x1 + j)]
            sum2 += v * x[U(x2 + j)]
            sum3 += v * x[U(x3 + j)]
        total[m] += sum0
        total[m + 1] += sum1
        total[m + 2] += sum2
        total[m + 3] += sum3
    for m in range(by_four, terms):
        x0, sum0 = starts[m], zero
        for j in range(length):
            sum0 += g[U(at + j)] * x[U(x0 + j)]
        total[m] += sum0


@njit(parallel=True)
def _dots(
    items: int, x: Array, xs: Array, g: Array, gs: Array, sums: Array, sizes: Array, geometry: Array, tiling: Array
) -> None:  # fmt: skip
    for item in prange(items):
        _dots_block(np.int64(item), x, xs, g, gs, sums, sizes, geometry, tiling)


@njit
def _dots_block(
    item: int, x: Array, xs: Array, g: Array, gs: Array, sums: Array, sizes: Array, geometry: Array, tiling: Array
) -> None:  # fmt: skip
    """sums (chunks, K, C/G, T) += products of g and x, for some filters and channels and one chunk of images."""
    batch, groups, channels, filters = sizes[0], sizes[1], sizes[2], sizes[3]
    most_images, most_filters, most_rows, most_columns = tiling[0], tiling[1], tiling[2], tiling[3]
    depth, a, b = _axes(geometry)
    a_phases, b_phases = _phases(a), _phases(b)
    residues_a, residues_b, halo_a, halo_b = a_phases[0], b_phases[0], a_phases[3], b_phases[3]
    planes = residues_a.size * residues_b.size
    taps = a.taps * b.taps
    chunks = sums.shape[0]
    parts_c, parts_k, parts_n = -(-channels // SLICES), -(-filters // most_filters), -(-batch // most_images)
    c0 = item % parts_c * SLICES
    k0 = item // parts_c % parts_k * most_filters
    group = item // (parts_c * parts_k) % groups
    chunk = item // (parts_c * parts_k * groups)
    block = min(most_filters, filters - k0)
    rows, width = most_rows + halo_a, most_columns + halo_b
    size = most_images * rows * width
    x_buffer = np.zeros(planes * size + LANES, x.dtype)
    g_buffer = np.zeros(most_filters * (size + LANES), g.dtype)
    for part in range(chunk * parts_n // chunks, (chunk + 1) * parts_n // chunks):
        n0 = part * most_images
        images = min(most_images, batch - n0)
        for o0 in range(depth.out):
            for p0 in range(0, a.out, most_rows):
                for q0 in range(0, b.out, most_columns):
                    rows, width = min(most_rows, a.out - p0) + halo_a, min(most_columns, b.out - q0) + halo_b
                    size = images * rows * width
                    length = size - halo_a * width - halo_b
                    offsets = _tap_offsets(a_phases, b_phases, rows, width, images)
                    for k in range(block):
                        # zeros where a row or an image of the x buffer has its halo
                        at = k * size
                        base = n0 * gs[0] + (group * filters + k0 + k) * gs[1] + o0 * gs[2]
                        for image in range(images):
                            _copy_plane(
                                g_buffer, at + image * rows * width, rows, width, g, base + image * gs[0],
                                (gs[3], gs[4]), (p0 + rows - halo_a, q0 + width - halo_b), (p0, q0), (1, 1),
                            )  # fmt: skip
                    for c in range(c0, min(c0 + SLICES, channels)):
                        for t0 in range(depth.taps):
                            i0 = o0 * depth.stride + t0 * depth.dilation - depth.low
                            if i0 < 0 or i0 >= depth.size:
                                continue
                            base = n0 * xs[0] + (group * channels + c) * xs[1] + i0 * xs[2]
                            _copy_slice(
                                x_buffer, 0, images, rows, width, x, base, xs, a, b, residues_a, residues_b, p0, q0
                            )
                            for k in range(block):
                                total = sums[chunk, group * filters + k0 + k, c, t0 * taps : (t0 + 1) * taps]
                                _add_dots(total, g_buffer, k * size, length, x_buffer, offsets)
