"""im2col + matrix product on the CPU, in NumPy: ``spec/im2col.py`` with a bounded workspace.

The windows of a *chunk*, some images or some rows of one image, become columns (C/G*T, windows of all images
of the chunk), T the number of taps; one product per group (`matmul`) does the rest.  What makes it fast enough:

* The column workspace stays under ``CHUNK_BYTES`` and is borrowed, not allocated.
* All images of a chunk share a product: small images would make small, slow products.
* Nothing is padded: windows that reach outside get zeros written into their columns.
* Channels-last input with enough channels gives columns in (tap, channel) order: whole runs of channels are
  copied.  Its result is channels-last too, and the product writes it in place.
* A 1x1 kernel with stride 1 needs no columns at all: x is the column matrix.

Works in every dtype that NumPy multiplies, complex included.  The chunks depend on shapes only, so that the same
machine gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from .. import layout
from ..geometry import Conv
from ..matmul import matmul
from ..workspace import borrow

Array = np.ndarray
PANEL = 64  # more columns than a panel of packed operands is filled up with

CHUNK_BYTES = 8 << 20  # columns of a chunk; one row of windows may need more. 2 and 32 MB are slower


def forward(x: Array, w: Array, conv: Conv, out: Array | None = None) -> Array:
    """y (N, K, *out); channels-last where x is and no ``out`` is given."""
    y = layout.empty(conv.y_shape, x) if out is None else out
    if is_pointwise(conv):
        weights = _weights(w, conv, False)
        for image, target in zip(*_pixels(conv, x, y)):
            _multiply(weights, _matrix(image, "columns"), target)
        return y
    last = _tap_major(x, conv)
    weights = _weights(w, conv, last)
    for chunk in _chunks(conv, x.itemsize):
        columns, matrix = _borrow_columns(conv, chunk, last, x.dtype)
        _gather(columns, _by_group(x[chunk.images], conv), conv, chunk)
        _multiply(weights, matrix, _by_group(y[chunk.images, :, chunk.rows], conv))
    return y


def input_grad(w: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dx (N, C, *size); channels-last where g is and no ``out`` is given."""
    dx = layout.empty(conv.x_shape, g) if out is None else out
    if is_pointwise(conv):
        weights = _weights(w, conv, False).swapaxes(1, 2)
        for image, target in zip(*_pixels(conv, g, dx)):
            _multiply(weights, _matrix(image, "columns"), target)
        return dx
    dx[...] = 0
    last = _tap_major(g, conv)
    weights = _weights(w, conv, last).swapaxes(1, 2)
    for chunk in _chunks(conv, g.itemsize):
        columns, matrix = _borrow_columns(conv, chunk, last, g.dtype)
        cotangent = _matrix(_by_group(g[chunk.images, :, chunk.rows], conv), "chunk")
        matmul(weights, cotangent, out=matrix)
        _scatter(_by_group(dx[chunk.images], conv), columns, conv, chunk)
    return dx


def weight_grad(x: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dw (K, C/G, *kernel)."""
    last = _tap_major(x, conv)
    dw = np.empty(conv.w_shape, x.dtype) if out is None else out
    total = None
    for matrix, cotangent in _weight_grad_factors(x, g, conv, last):
        if total is None:
            total = matmul(cotangent, matrix.swapaxes(1, 2))  # (G, K/G, C/G*T)
        else:
            part = borrow("product", total.shape, total.dtype)
            total += matmul(cotangent, matrix.swapaxes(1, 2), out=part)
    if total is None:  # an empty batch
        dw[...] = 0
        return dw
    g_, k, c = conv.groups, conv.out_channels // conv.groups, conv.w_shape[1]
    if last and not is_pointwise(conv):
        total = np.moveaxis(total.reshape(g_, k, *conv.kernel, c), -1, 2)
    dw[...] = total.reshape(conv.w_shape)
    return dw


def _weight_grad_factors(x: Array, g: Array, conv: Conv, last: bool) -> Iterator[tuple[Array, Array]]:
    """Per chunk the columns (G, C/G*T, windows) and the cotangent (G, K/G, windows)."""
    if is_pointwise(conv):
        for image, cotangent in zip(*_pixels(conv, x, g)):
            yield _matrix(image, "columns"), _matrix(cotangent, "chunk")
        return
    for chunk in _chunks(conv, x.itemsize):
        columns, matrix = _borrow_columns(conv, chunk, last, x.dtype)
        _gather(columns, _by_group(x[chunk.images], conv), conv, chunk)
        yield matrix, _matrix(_by_group(g[chunk.images, :, chunk.rows], conv), "chunk")


def is_pointwise(conv: Conv) -> bool:
    """Each window is one position: x itself is the column matrix."""
    return set(conv.kernel) == {1} and set(conv.stride) == {1} and all(pad == (0, 0) for pad in conv.padding)


def workspace_bytes(pass_: str, conv: Conv, itemsize: int) -> int:
    """The most that one call borrows: columns, copies of chunks of y or g that no view can serve, and what a product
    of one group makes of its operands, one packed and one copied."""
    chunk = next(_chunks(conv, itemsize), None)
    if chunk is None:
        return 0
    windows = (chunk.images.stop - chunk.images.start) * _windows(conv, chunk)
    columns = 0 if is_pointwise(conv) else conv.in_channels * prod(conv.kernel) * windows
    partial = prod(conv.w_shape) if pass_ == "weight_grad" else 0
    copies = conv.out_channels * windows
    filters, depth = conv.out_channels // conv.groups, prod(conv.w_shape[1:])
    lengths = {"forward": (filters, depth, windows), "input_grad": (depth, filters, windows)}
    m, k, n = lengths.get(pass_, (filters, windows, depth))
    return itemsize * (columns + copies + partial + k * (m + n + 2 * PANEL))


def chunk_count(conv: Conv, itemsize: int) -> int:
    """How many products per group one call takes (channels first)."""
    return conv.batch if is_pointwise(conv) else sum(1 for _ in _chunks(conv, itemsize))


# Chunks ----------------------------------------------------------------------------------------------


class Chunk(NamedTuple):
    """A part of a problem, whose columns are in memory at once."""

    images: slice
    rows: slice  # windows along the first spatial axis


def _chunks(conv: Conv, itemsize: int) -> Iterator[Chunk]:
    """Whole images while one fits into the workspace, otherwise rows of one image."""
    row = itemsize * conv.in_channels * prod(conv.kernel) * prod(conv.out[1:])
    rows = max(1, min(conv.out[0], CHUNK_BYTES // max(row, 1)))
    images = max(1, CHUNK_BYTES // max(row * rows, 1)) if rows == conv.out[0] else 1
    for n in range(0, conv.batch, images):
        for p in range(0, conv.out[0], rows):
            yield Chunk(slice(n, min(n + images, conv.batch)), slice(p, min(p + rows, conv.out[0])))


def _windows(conv: Conv, chunk: Chunk) -> int:
    """Windows of one image in the chunk."""
    return (chunk.rows.stop - chunk.rows.start) * prod(conv.out[1:])


def _borrow_columns(conv: Conv, chunk: Chunk, last: bool, dtype: np.dtype) -> tuple[Array, Array]:
    """The same memory as columns (n, G, C/G, *kernel, *out) and as a matrix (G, C/G*T, n*windows)."""
    n, groups, c = chunk.images.stop - chunk.images.start, conv.groups, conv.w_shape[1]
    out = (chunk.rows.stop - chunk.rows.start, *conv.out[1:])
    taps, windows = prod(conv.kernel), n * prod(out)
    d = conv.ndim
    if last:
        flat = borrow("columns", (groups, n, *out, *conv.kernel, c), dtype)
        columns = flat.transpose(1, 0, 2 * d + 2, *range(d + 2, 2 * d + 2), *range(2, d + 2))
        return columns, flat.reshape(groups, windows, taps * c).swapaxes(1, 2)
    flat = borrow("columns", (groups, c, *conv.kernel, n, *out), dtype)
    columns = flat.transpose(d + 2, 0, 1, *range(2, d + 2), *range(d + 3, 2 * d + 3))
    return columns, flat.reshape(groups, c * taps, windows)


class Tap(NamedTuple):
    """One tap in one chunk: columns[tap][windows] <-> x[positions]; columns[tap][b] for b in borders is 0."""

    tap: tuple
    windows: tuple
    positions: tuple
    borders: tuple


@lru_cache(maxsize=256)
def _taps(conv: Conv, first_row: int, stop_row: int) -> list[Tap]:
    everything = (slice(None),) * 3  # images, groups, channels
    taps = []
    for tap in np.ndindex(*conv.kernel):
        windows: tuple[slice, ...] = everything
        positions: tuple[slice, ...] = everything
        borders: list[tuple[slice, ...]] = []
        for a, (axis, t) in enumerate(zip(conv.axes, tap)):
            low, high = (first_row, stop_row) if a == 0 else (0, axis.out)
            real = axis.windows_at(t)
            start = min(max(real.start, low), high)
            stop = max(start, min(real.stop, high))
            if start > low:
                borders.append((*windows, slice(0, start - low)))
            if stop < high:
                borders.append((*windows, slice(stop - low, high - low)))
            windows = (*windows, slice(start - low, stop - low))
            read = slice(axis.position(start, t), axis.position(stop - 1, t) + 1, axis.stride)
            positions = (*positions, read if start < stop else slice(0))
        taps.append(Tap((*everything, *tap), windows, positions, tuple(borders)))
    return taps


def _gather(columns: Array, x: Array, conv: Conv, chunk: Chunk) -> None:
    """im2col: columns (n, G, C/G, *kernel, *out) from x (n, G, C/G, *size)."""
    for tap in _taps(conv, chunk.rows.start, chunk.rows.stop):
        column = columns[tap.tap]
        for border in tap.borders:
            column[border] = 0
        column[tap.windows] = x[tap.positions]


def _scatter(dx: Array, columns: Array, conv: Conv, chunk: Chunk) -> None:
    """col2im: adds columns to dx (n, G, C/G, *size), tap by tap in row-major order."""
    for tap in _taps(conv, chunk.rows.start, chunk.rows.stop):
        dx[tap.positions] += columns[tap.tap][tap.windows]


# Views -----------------------------------------------------------------------------------------------


def _tap_major(a: Array, conv: Conv) -> bool:
    """Columns in (tap, channel) order: pays where ``a`` holds runs of channels worth a copy of their own."""
    return layout.channels_last(a) and conv.w_shape[1] >= 8


def _by_group(a: Array, conv: Conv) -> Array:
    """(n, channels, *axes) -> (n, G, channels/G, *axes), a view"""
    n, channels, *axes = a.shape
    return a.reshape(n, conv.groups, channels // conv.groups, *axes)


def _weights(w: Array, conv: Conv, last: bool) -> Array:
    """(K, C/G, *kernel) -> (G, K/G, C/G*T), in (tap, channel) order for channels-last columns"""
    if last:
        w = np.moveaxis(w, 1, -1)
    return w.reshape(conv.groups, conv.out_channels // conv.groups, prod(conv.w_shape[1:]))


def _matrix_view(a: Array) -> Array | None:
    """(n, G, channels, *axes) -> (G, channels, n*windows), where the strides allow it."""
    n, groups, channels, *axes = a.shape
    try:
        return np.reshape(np.moveaxis(a, 0, 2), (groups, channels, n * prod(axes)), copy=False)
    except ValueError:
        return None


def _borrow_matrix(a: Array, name: str) -> tuple[Array, Array]:
    """Scratch like a (n, G, channels, *axes), and the same memory as (G, channels, n*windows)."""
    n, groups, channels, *axes = a.shape
    block = borrow(name, (groups, channels, n, *axes), a.dtype)
    return np.moveaxis(block, 2, 0), block.reshape(groups, channels, n * prod(axes))


def _matrix(a: Array, name: str) -> Array:
    """(n, G, channels, *axes) -> (G, channels, n*windows): a view where there is one, else a borrowed copy."""
    matrix = _matrix_view(a)
    if matrix is None:
        copy, matrix = _borrow_matrix(a, name)
        copy[...] = a
    return matrix


def _multiply(weights: Array, columns: Array, target: Array) -> None:
    """target (n, G, K/G, *out) = weights (G, K/G, M) @ columns (G, M, n*windows)"""
    matrix = _matrix_view(target)
    if matrix is not None:
        matmul(weights, columns, out=matrix)
    else:
        product, matrix = _borrow_matrix(target, "chunk")
        matmul(weights, columns, out=matrix)
        target[...] = product


def _pixels(conv: Conv, *arrays: Array) -> list[list[Array]]:
    """Each array in pieces (n, G, channels, *axes) that are matrices as they lie: the whole batch where the
    channels are last, else image by image."""
    whole = all(layout.channels_last(a) for a in arrays)
    pieces = [slice(0, conv.batch)] if whole and conv.batch else [slice(n, n + 1) for n in range(conv.batch)]
    return [[_by_group(a[p], conv) for p in pieces] for a in arrays]
