"""Direct convolution: the definition's loops in an order that a CPU likes.

The output is cut into tiles of about ``TILE`` positions.  For a tile, the part of an input channel that it
reads is copied into a small buffer in which three nuisances disappear:

* *Padding*: the buffer holds zeros there.  Nothing larger than a tile is ever padded.
* *Stride*: position i goes to phase i mod stride, so that a tap reads side by side what its windows read.
* *Short rows*: rows follow one another, small images too, and a tap's products are added to the whole tile
  in one long loop; the sums that straddle two rows are not stored.

That loop keeps the sums of a few vectors and filters in registers while the taps of some channels pass.  The input
gradient runs through the same function: the inputs that share a residue mod stride are a stride-1 correlation of g
with part of the weights.  Arrays are named by address and steps in bytes, so they may lie in memory as they like.

**Order of summing**, and so the bits: a tile is one piece of work, tiles depend on the problem's sizes
only, so the number of threads changes nothing.  forward and input_grad add in the arrays' dtype, channels
outermost.  weight_grad adds the products of a tile in the arrays' dtype, and tiles in float64; in it zeros stand for
the cotangent where rows end, so an infinity or NaN in x spreads to all taps of its channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .. import layout
from ..geometry import Conv
from ..jit import native
from ..workspace import borrow
from .direct_products import VECTORS, add_dots, add_products
from .direct_tiles import ITEMS, SLICES, Axis3, Geometry, Tiling, geometry, items, phases, residues, tiling
from .elements import elements, in_float64
from .pieces import Address, allocate, free, number, read, run, write_number
from .places import address
from .replay import replayed
from .simd import Lanes, clear_bytes, copy_bytes, load, machine, store, transpose

Array = np.ndarray

SECONDS = 1e-10  # for a product of a tap and a result

U = np.uint64  # of indices: Numba would test a signed one for being negative and could not vectorise


@replayed
def forward(x: Array, w: Array, conv: Conv, out: Array | None = None) -> Array:
    """y (N, K, *out); channels-last where x is, or may be said to be, and no ``out`` is given."""
    if out is not None:
        y = out
    else:  # a network whose images have one channel changes its storage here, for the layers behind
        y = layout.empty_last(conv.y_shape, x) if conv.in_channels == 1 else layout.empty(conv.y_shape, x)
    weights = w.reshape(conv.groups, conv.out_channels // conv.groups, *w.shape[1:])  # (G, K/G, C/G, *kernel)
    _correlate(x, weights, y, (0, 0, 0), (1, 1, 1), geometry(conv))
    return y


@replayed
def input_grad(w: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dx (N, C, *size); channels-last where g is and no ``out`` is given."""
    dx = layout.empty(conv.x_shape, g) if out is None else out
    groups, k, c = conv.groups, conv.out_channels // conv.groups, conv.w_shape[1]
    taps = [a.taps for a in geometry(conv)]
    exchanged = w.reshape(groups, k, c, *taps).swapaxes(1, 2)  # (G, C/G, K/G, T0, T1, T2)
    for classes in product(*(residues(axis) for axis in geometry(conv))):
        part = exchanged[:, :, :, *(r.taps for r in classes)][:, :, :, ::-1, ::-1, ::-1]
        r0, r1, r2 = classes
        first, step = (r0.first, r1.first, r2.first), (r0.step, r1.step, r2.step)
        _correlate(g, part, dx, first, step, (r0.axis, r1.axis, r2.axis))
    return dx


@replayed
def weight_grad(x: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dw (K, C/G, *kernel)."""
    dw = out if out is not None and out.flags.c_contiguous else np.empty(conv.w_shape, x.dtype)
    if 0 in g.shape or 0 in dw.shape:
        dw[...] = 0
    else:
        _sum_dots(x, g, dw, conv)
    if out is not None and out is not dw:
        out[...] = dw
        return out
    return dw


def _sum_dots(x: Array, g: Array, dw: Array, conv: Conv) -> None:
    axes, groups = geometry(conv), conv.groups
    channels, filters = conv.w_shape[1], conv.out_channels // groups
    t = tiling(axes, conv.batch, groups, filters)
    pieces = groups * -(-filters // t.filters) * -(-channels // SLICES)
    chunks = min(-(-conv.batch // t.images), -(-ITEMS // pieces))
    sums = borrow("sums", (chunks, groups, filters, channels, prod(conv.kernel)), np.dtype(np.float64))
    numbers = _numbers(x, sums[0], g, (0, 0, 0), (1, 1, 1), axes, t)._replace(chunks=chunks, w_chunk=sums.strides[0])
    lanes = Lanes(x.dtype.name, machine().lanes(x.dtype))
    run(_dots_piece, lanes, numbers, chunks * pieces, SECONDS * g.size * dw.size / conv.out_channels)
    parts = _Sums(address(sums), address(dw), chunks, conv.out_channels, dw.size // conv.out_channels)
    run(_deliver_piece, in_float64(x.dtype), parts, conv.out_channels, sums.size * 1e-9)


class _Problem(NamedTuple):
    """x and y by their addresses and steps in bytes, w (G, K/G, C/G, T0, T1, T2) too; the sizes, and those of tiles.

    For the weight gradient w is what is written, (chunks, G, K/G, C/G, T), and y what is read.
    """

    x: Address
    x_image: int
    x_channel: int
    x_step0: int
    x_step1: int
    x_step2: int
    w: Address
    w_group: int
    w_filter: int
    w_channel: int
    w_step0: int
    w_step1: int
    w_step2: int
    y: Address
    y_image: int
    y_channel: int
    y_step0: int
    y_step1: int
    y_step2: int
    batch: int
    groups: int
    channels: int  # of a group
    filters: int
    size0: int
    taps0: int
    out0: int
    stride0: int
    low0: int
    dilation0: int
    size1: int
    taps1: int
    out1: int
    stride1: int
    low1: int
    dilation1: int
    size2: int
    taps2: int
    out2: int
    stride2: int
    low2: int
    dilation2: int
    phases1: int
    phases2: int
    images: int  # of a tile
    block: int
    rows: int
    columns: int
    chunks: int = 1
    w_chunk: int = 0


def _numbers(
    x: Array, w: Array, y: Array, first: Sequence[int], step: Sequence[int], axes: Geometry, t: Tiling
) -> _Problem:
    """Of y its positions first, first + step, ... along the three axes."""
    y_strides = _five(y.strides)
    begin = address(y) + sum(f * s for f, s in zip(first, y_strides[2:]))
    y_steps = [s * t for s, t in zip(y_strides[2:], step)]
    w_strides = (*w.strides[:3], *(0,) * (6 - w.ndim), *w.strides[3:])
    groups, filters, channels = w.shape[:3]
    return _Problem(
        address(x), *_five(x.strides), address(w), *w_strides, begin, *y_strides[:2], *y_steps, x.shape[0], groups,
        channels, filters, *axes[0], *axes[1], *axes[2], phases(axes[1]), phases(axes[2]), *t,
    )  # fmt: skip


def _five(strides: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of (.., .., axis) as those of (.., .., 1, 1, axis), or as many axes of size 1 as are missing."""
    return (*strides[:2], *(0,) * (5 - len(strides)), *strides[2:])


def _correlate(
    x: Array, w: Array, y: Array, first: tuple[int, int, int], step: tuple[int, int, int], axes: Geometry
) -> None:
    """Correlate x with w (G, K/G, C/G, ...) into y's positions first, first + step, ... along the three axes."""
    if 0 in y.shape:
        return
    groups, filters = w.shape[:2]
    t = tiling(axes, x.shape[0], groups, filters)
    lanes = Lanes(x.dtype.name, machine().lanes(x.dtype))
    pieces, products = items(t, axes, x.shape[0], groups, filters), y.size // prod(step) * (prod(w.shape[2:]) + 1)
    run(_correlate_piece, lanes, _numbers(x, w, y, first, step, axes, t), pieces, SECONDS * products)


# The loops -------------------------------------------------------------------------------------------
# Names of sizes: rows and width are those of a tile in its buffer, halo included.


@native
def _axis1(n: Any) -> Any:
    return Axis3(n.size1, n.taps1, n.out1, n.stride1, n.low1, n.dilation1)


@native
def _axis2(n: Any) -> Any:
    return Axis3(n.size2, n.taps2, n.out2, n.stride2, n.low2, n.dilation2)


@native
def _shift(a: Any, t: int) -> int:
    """How far into its phase tap t begins.  Its phase is t modulo their number."""
    return t * a.dilation // a.stride


@native
def _halo(a: Any) -> int:
    return _shift(a, a.taps - 1) if a.taps > 0 else 0


@native
def _tap_offset(n: Any, t: int, rows: int, width: int, images: int) -> int:
    """Where tap t of a slice begins in its buffer [phase a][phase b][image][row][column], in elements."""
    a, b = t // n.taps2, t % n.taps2
    plane = a % n.phases1 * n.phases2 + b % n.phases2
    return (plane * images * rows + _shift(_axis1(n), a)) * width + _shift(_axis2(n), b)


@native
def _copy_planes(
    kind: Any, buffer: int, pitch: int, planes: int, rows: int, width: int, a: int, apart: int, steps: Any, sizes: Any,
    first: Any, step: Any,
) -> None:  # fmt: skip
    """buffer[k, r, q] = a at channel k, (first + (r, q) * step), 0 outside [0, sizes).

    Planes of the buffer begin ``pitch`` bytes apart.  ``apart`` and ``steps``: bytes from channel to channel of a, and
    along its axes.
    """
    size = kind.itemsize
    start = min(width, max(0, -(first[1] // step[1])))
    stop = max(start, min(width, (sizes[1] - 1 - first[1]) // step[1] + 1))
    jump, count = step[1] * steps[1], stop - start
    for r in range(rows):
        i, to = first[0] + r * step[0], buffer + r * width * size
        if i < 0 or i >= sizes[0] or count == 0:
            for k in range(planes):
                clear_bytes(to + k * pitch, width * size)
            continue
        for k in range(planes):
            clear_bytes(to + k * pitch, start * size)
            clear_bytes(to + k * pitch + stop * size, (width - stop) * size)
        to += start * size
        source = a + i * steps[0] + (first[1] + start * step[1]) * steps[1]
        if apart == size and jump != size and planes >= 4 and count >= 4:
            _copy_pixels(kind, to, pitch, planes, source, jump, count)
            continue
        for k in range(planes):
            if jump == size:
                copy_bytes(to + k * pitch, source + k * apart, count * size)
            else:
                for q in range(count):
                    store(to + k * pitch + q * size, load(kind.one, source + k * apart + q * jump))


@native
def _copy_pixels(kind: Any, to: int, pitch: int, planes: int, source: int, jump: int, count: int) -> None:
    """Pixels whose channels lie side by side, to a row of each plane: squares of four, the last moved back to fit."""
    for i in range(0, planes, 4):
        k = min(i, planes - 4)
        for j in range(0, count, 4):
            q = min(j, count - 4)
            place, origin = to + k * pitch + q * kind.itemsize, source + k * kind.itemsize + q * jump
            transpose(kind.four, place, pitch, origin, jump)


@native
def _copy_slice(kind: Any, n: Any, buffer: int, images: int, rows: int, width: int, x: int, p0: int, q0: int) -> None:
    """One channel of some images, all phases: buffer [phase a][phase b][image][row][column]."""
    a, b, to = _axis1(n), _axis2(n), buffer
    for phase_a in range(n.phases1):
        rho_a = phase_a * a.dilation % a.stride
        for phase_b in range(n.phases2):
            rho_b = phase_b * b.dilation % b.stride
            first = (p0 * a.stride + rho_a - a.low, q0 * b.stride + rho_b - b.low)
            for image in range(images):
                _copy_planes(
                    kind, to, 0, 1, rows, width, x + image * n.x_image, 0, (n.x_step1, n.x_step2), (a.size, b.size),
                    first, (a.stride, b.stride),
                )  # fmt: skip
                to += rows * width * kind.itemsize


@native
def _exchange_pairs(row: int, terms: int) -> None:
    """Of each four terms the second is added before the first and the fourth before the third.

    Compilers had chosen that order when it was theirs to choose, and results keep their bits.
    """
    for m in range(0, terms - terms % 4, 2):
        first = number(row, m)
        write_number(row, m, number(row, m + 1))
        write_number(row, m + 1, first)


@native
def _correlate_piece(tile: Any, arguments: int, item: int) -> None:
    n = read(_Problem, arguments)
    a, b, size, vector = _axis1(n), _axis2(n), tile.itemsize, tile.lanes * tile.itemsize
    taps = n.taps1 * n.taps2
    parts_a, parts_b, parts_k = -(-n.out1 // n.rows), -(-n.out2 // n.columns), -(-n.filters // n.block)
    q0 = item % parts_b * n.columns
    p0 = item // parts_b % parts_a * n.rows
    o0 = item // (parts_b * parts_a) % n.out0
    k0 = item // (parts_b * parts_a * n.out0) % parts_k * n.block
    group = item // (parts_b * parts_a * n.out0 * parts_k) % n.groups
    n0 = item // (parts_b * parts_a * n.out0 * parts_k * n.groups) * n.images
    # the tile: images x rows x columns of outputs; its buffer has a halo for the taps
    images, block = min(n.images, n.batch - n0), min(n.block, n.filters - k0)
    out_rows, out_columns = min(n.rows, n.out1 - p0), min(n.columns, n.out2 - q0)
    rows, width = out_rows + _halo(a), out_columns + _halo(b)
    length = ((images - 1) * rows + out_rows - 1) * width + out_columns
    pitch = -(-length * size // (VECTORS * vector)) * (VECTORS * vector)
    slice_bytes = n.phases1 * n.phases2 * images * rows * width * size
    slices = min(SLICES, n.channels * n.taps0)
    sums = allocate(block * pitch + 16 * slices * taps + slices * slice_bytes + VECTORS * vector)
    starts, weights = sums + block * pitch, sums + block * pitch + 8 * slices * taps
    buffer = weights + 8 * slices * taps
    clear_bytes(sums, block * pitch)
    clear_bytes(buffer + slices * slice_bytes, VECTORS * vector)
    w, filled = n.w + group * n.w_group + k0 * n.w_filter, 0
    for c in range(n.channels):
        for t0 in range(n.taps0):
            i0 = o0 * n.stride0 + t0 * n.dilation0 - n.low0
            if 0 <= i0 < n.size0:
                x = n.x + n0 * n.x_image + (group * n.channels + c) * n.x_channel + i0 * n.x_step0
                to = buffer + filled * slice_bytes
                _copy_slice(tile, n, to, images, rows, width, x, p0, q0)
                for t in range(taps):
                    at = c * n.w_channel + t0 * n.w_step0 + t // n.taps2 * n.w_step1 + t % n.taps2 * n.w_step2
                    write_number(starts, filled * taps + t, to + _tap_offset(n, t, rows, width, images) * size)
                    write_number(weights, filled * taps + t, at)
                filled += 1
            if filled == slices or (c == n.channels - 1 and t0 == n.taps0 - 1):
                terms = filled * taps
                _exchange_pairs(starts, terms)
                _exchange_pairs(weights, terms)
                add_products(tile, sums, pitch, block, starts, weights, w, n.w_filter, terms)
                filled = 0
    for k in range(block):
        to = n.y + n0 * n.y_image + (group * n.filters + k0 + k) * n.y_channel + o0 * n.y_step0
        for image in range(images):
            for p in range(out_rows):
                row = to + image * n.y_image + (p0 + p) * n.y_step1 + q0 * n.y_step2
                summed = sums + k * pitch + (image * rows + p) * width * size
                if n.y_step2 == size:
                    copy_bytes(row, summed, out_columns * size)
                else:
                    for q in range(out_columns):
                        store(row + q * n.y_step2, load(tile.one, summed + q * size))
    free(sums)


@native
def _dots_piece(tile: Any, arguments: int, item: int) -> None:
    """Sums (chunks, G, K/G, C/G, T) of products of g and x, for some filters and channels and one chunk of images."""
    n = read(_Problem, arguments)
    a, b, size, vector = _axis1(n), _axis2(n), tile.itemsize, tile.lanes * tile.itemsize
    halo_a, halo_b, taps = _halo(a), _halo(b), n.taps1 * n.taps2
    parts_c, parts_k, parts_n = -(-n.channels // SLICES), -(-n.filters // n.block), -(-n.batch // n.images)
    c0 = item % parts_c * SLICES
    k0 = item // parts_c % parts_k * n.block
    group = item // (parts_c * parts_k) % n.groups
    chunk = item // (parts_c * parts_k * n.groups)
    block, stop = min(n.block, n.filters - k0), min(c0 + SLICES, n.channels)
    sums = n.w + chunk * n.w_chunk + group * n.w_group + k0 * n.w_filter
    for k in range(block):
        clear_bytes(sums + k * n.w_filter + c0 * n.w_channel, (stop - c0) * n.w_channel)
    most = n.images * (n.rows + halo_a) * (n.columns + halo_b) * size
    pitch = -(-most // vector) * vector
    g_buffer = allocate(block * pitch + 8 * taps + n.phases1 * n.phases2 * most + vector)
    starts = g_buffer + block * pitch
    x_buffer = starts + 8 * taps
    for part in range(chunk * parts_n // n.chunks, (chunk + 1) * parts_n // n.chunks):
        n0 = part * n.images
        images = min(n.images, n.batch - n0)
        for o0 in range(n.out0):
            for p0 in range(0, n.out1, n.rows):
                for q0 in range(0, n.out2, n.columns):
                    rows, width = min(n.rows, n.out1 - p0) + halo_a, min(n.columns, n.out2 - q0) + halo_b
                    area = images * rows * width
                    vectors = -(-(area - halo_a * width - halo_b) // tile.lanes)
                    for t in range(taps):
                        write_number(starts, t, x_buffer + _tap_offset(n, t, rows, width, images) * size)
                    # zeros where a row or an image of the x buffer has its halo
                    g = n.y + n0 * n.y_image + (group * n.filters + k0) * n.y_channel + o0 * n.y_step0
                    for image in range(images):
                        _copy_planes(
                            tile, g_buffer + image * rows * width * size, pitch, block, rows, width,
                            g + image * n.y_image, n.y_channel, (n.y_step1, n.y_step2),
                            (p0 + rows - halo_a, q0 + width - halo_b), (p0, q0), (1, 1),
                        )  # fmt: skip
                    for k in range(block):
                        clear_bytes(g_buffer + k * pitch + area * size, max(0, vectors * vector - area * size))
                    for c in range(c0, stop):
                        for t0 in range(n.taps0):
                            i0 = o0 * n.stride0 + t0 * n.dilation0 - n.low0
                            if i0 < 0 or i0 >= n.size0:
                                continue
                            x = n.x + n0 * n.x_image + (group * n.channels + c) * n.x_channel + i0 * n.x_step0
                            _copy_slice(tile, n, x_buffer, images, rows, width, x, p0, q0)
                            clear_bytes(x_buffer + n.phases1 * n.phases2 * area * size, vector)
                            to = sums + c * n.w_channel + t0 * taps * 8
                            add_dots(tile, to, n.w_filter, block, g_buffer, pitch, starts, taps, vectors)
    free(g_buffer)


class _Sums(NamedTuple):
    """What `_dots_piece` has summed, (chunks, K, C/G * T) in float64, and dw (K, C/G * T)."""

    sums: Address
    dw: Address
    chunks: int
    filters: int
    length: int


@native
def _deliver_piece(kinds: Any, arguments: int, k: int) -> None:
    """One filter of dw: the chunks' sums, in their order."""
    s = read(_Sums, arguments)
    dw = elements(kinds.values, s.dw + k * s.length * kinds.values.itemsize, s.length)
    sums = elements(kinds.sums, s.sums + 8 * k * s.length, s.length)
    for chunk in range(1, s.chunks):
        more = elements(kinds.sums, s.sums + 8 * (chunk * s.filters + k) * s.length, s.length)
        for i in range(s.length):
            sums[U(i)] += more[U(i)]
    for i in range(s.length):
        dw[U(i)] = sums[U(i)]
