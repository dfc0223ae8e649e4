"""Channels-last storage: telling it, making it, and a threaded blocked transposition for arrays that have it not."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from ..workspace import ALIGNMENT, borrow
from .direct_tiles import Axis3
from .pieces import Address, outside_of_loops, read, run
from .places import address
from .simd import Lanes, clear_bytes, copy_bytes, load, machine, store, transpose

SPAN = 64  # elements of a row that a piece takes
ELEMENT_SECONDS = 5e-10


def rows_of_channels(a: np.ndarray) -> bool:
    """Whether the channels of each position of a (N, C, *size) lie side by side.

    >>> rows_of_channels(np.zeros((2, 3, 4, 4))), rows_of_channels(np.zeros((2, 4, 4, 3)).transpose(0, 3, 1, 2))
    (False, True)
    """
    return a.shape[1] == 1 or a.strides[1] == a.itemsize


def empty_last(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array (N, C, *size) that is stored channels-last, from the beginning of a cache line on.

    NumPy's own begin 16 bytes into one, so that every second load of a whole register would touch two lines.
    """
    return empty_like_strides(shape, _last_strides(shape, dtype.itemsize), dtype)[0]


@lru_cache(maxsize=1024)
def _last_strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    step, strides = itemsize * shape[1], []
    for n in reversed(shape[2:]):
        strides.append(step)
        step *= n
    return (step, itemsize, *reversed(strides))


def empty_like_strides(shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype) -> tuple[np.ndarray, int]:
    """A dense array with these strides, from the beginning of a cache line on, and its address."""
    block = np.empty(prod(shape) * dtype.itemsize + ALIGNMENT, np.uint8)
    start = address(block)
    skip = -start % ALIGNMENT
    return np.ndarray(shape, dtype, block, skip, strides), start + skip


def as_last(a: np.ndarray, name: str) -> np.ndarray:
    """``a`` (N, C, *size) with its channels side by side: itself, or a copy in the workspace ``name``."""
    if rows_of_channels(a):
        return a
    copy = np.moveaxis(borrow(name, (a.shape[0], *a.shape[2:], a.shape[1]), a.dtype), -1, 1)
    assign(copy, a)
    return copy


def result(shape: tuple[int, ...], dtype: np.dtype, out: np.ndarray | None) -> np.ndarray:
    """Where to compute: ``out`` itself if its channels lie side by side, otherwise an array that `deliver` takes."""
    return out if out is not None and rows_of_channels(out) else empty_last(shape, dtype)


def deliver(computed: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """``out`` with what was computed, or that itself where there is no ``out``."""
    if out is None or out is computed:
        return computed
    assign(out, computed)
    return out


def padded_rows(a: np.ndarray, low: int, length: int, slack: int, name: str) -> np.ndarray:
    """A channels-last copy of ``a`` (N, C, *size) whose rows, its last axis, have zeros around them.

    A row has ``length`` positions, of which ``low`` precede a's; ``slack`` elements of memory follow the last row.
    """
    n, channels, *size = a.shape
    rows = prod(size[:-1])
    block = borrow(name, (n * rows * length * channels + slack,), a.dtype)
    padded = block[: block.size - slack].reshape(n, *size[:-1], length, channels)
    source = a.reshape(n, channels, rows, size[-1])
    if not np.may_share_memory(source, a):
        outside_of_loops()  # a copy, which ends here
    numbers = _Padding(
        address(source), *source.strides, address(padded), rows, size[-1], channels, low, length, n * rows, slack,
    )  # fmt: skip
    lanes = Lanes(a.dtype.name, machine().lanes(a.dtype))
    run(_pad_piece, lanes, numbers, n * rows, padded.size * ELEMENT_SECONDS)
    return np.moveaxis(padded, -1, 1)


class _Padding(NamedTuple):
    source: Address
    image_step: int  # bytes
    channel_step: int
    row_step: int
    column_step: int
    target: Address
    rows: int  # of an image
    columns: int  # of a row of the source
    channels: int
    low: int
    length: int
    all_rows: int
    slack: int  # elements after the last row


@native
def _pad_piece(lanes: Any, arguments: int, piece: int) -> None:
    p = read(_Padding, arguments)
    pixel = p.channels * lanes.itemsize
    source = p.source + piece // p.rows * p.image_step + piece % p.rows * p.row_step
    target = p.target + piece * p.length * pixel
    stop = min(p.low + p.columns, p.length)
    if piece == p.all_rows - 1:
        clear_bytes(target + p.length * pixel, p.slack * lanes.itemsize)
    clear_bytes(target, p.low * pixel)
    clear_bytes(target + stop * pixel, (p.length - stop) * pixel)
    if p.channel_step == lanes.itemsize and p.column_step == pixel:
        copy_bytes(target + p.low * pixel, source, (stop - p.low) * pixel)
        return
    for c in range(p.channels):
        for q in range(stop - p.low):
            value = load(lanes.one, source + c * p.channel_step + q * p.column_step)
            store(target + (p.low + q) * pixel + c * lanes.itemsize, value)


def edge_windows(a: np.ndarray, last: Axis3, name: str) -> tuple[np.ndarray, int, int]:
    """Copies, with zeros, of the windows along the last axis of ``a`` that hang over an end of their row.

    (edges, low, count): edges (N, rows, count, taps * C), the first ``low`` of each row from its low end.  The channels
    of ``a`` (N, C, *size) and the pixels of a row lie side by side.
    """
    positions = [q * last.stride - last.low for q in range(last.out)]
    low = sum(j < 0 for j in positions)
    count = low + sum(j + last.taps > last.size for j in positions[low:])
    n, channels, *size = a.shape
    sizes, steps = (1, 1, *size)[-3:-1], (0, 0, *a.strides[2:])[-3:-1]
    pixel, rows = channels * a.itemsize, prod(size[:-1])
    edges = borrow(name, (n, rows, count, last.taps * channels), a.dtype)
    numbers = _Edges(
        address(a), a.strides[0], steps[0], steps[1], sizes[-1], rows, pixel, address(edges), low, count, last.taps,
        last.out, last.stride, last.low, last.size, n * rows,
    )  # fmt: skip
    lanes = Lanes(a.dtype.name, machine().lanes(a.dtype))
    run(_edges_piece, lanes, numbers, -(-n * rows // SPAN), edges.size * ELEMENT_SECONDS)
    return edges, low, count


class _Edges(NamedTuple):
    source: Address
    image_step: int  # bytes
    plane_step: int
    row_step: int
    plane_rows: int
    rows: int  # of an image
    pixel: int  # bytes
    target: Address
    low: int
    count: int
    taps: int
    out: int
    stride: int
    padding: int
    columns: int
    all_rows: int


@native
def _edges_piece(_lanes: Any, arguments: int, piece: int) -> None:
    e = read(_Edges, arguments)
    for row in range(piece * SPAN, min((piece + 1) * SPAN, e.all_rows)):
        r = row % e.rows
        source = e.source + row // e.rows * e.image_step
        source += r // e.plane_rows * e.plane_step + r % e.plane_rows * e.row_step
        for i in range(e.count):
            q = i if i < e.low else e.out - e.count + i
            j, target = q * e.stride - e.padding, e.target + (row * e.count + i) * e.taps * e.pixel
            begin = min(e.taps, max(0, -j))
            end = max(begin, min(e.taps, e.columns - j))
            clear_bytes(target, begin * e.pixel)
            copy_bytes(target + begin * e.pixel, source + (j + begin) * e.pixel, (end - begin) * e.pixel)
            clear_bytes(target + end * e.pixel, (e.taps - end) * e.pixel)


def assign(target: np.ndarray, source: np.ndarray) -> None:
    """``target[...] = source``, both (N, C, *size); fast between channels-last and channels-first."""
    positions = prod(source.shape[2:])
    first, last = (source, target) if target.strides[1] == target.itemsize else (target, source)
    moved = np.moveaxis(last, 1, -1)
    if source.dtype != target.dtype or not (first.flags.c_contiguous and moved.flags.c_contiguous):
        outside_of_loops()
        target[...] = source
        return
    channels, size = source.shape[1], source.itemsize
    from_first = first is source
    rows, columns = (channels, positions) if from_first else (positions, channels)
    spans = -(-columns // SPAN)
    numbers = _Transposition(address(source), address(target), rows, columns, spans, rows * columns * size)
    lanes = Lanes(source.dtype.name, machine().lanes(source.dtype))
    run(_transpose_piece, lanes, numbers, source.shape[0] * spans, source.size * ELEMENT_SECONDS)


class _Transposition(NamedTuple):
    source: Address  # (N, rows, columns)
    target: Address  # (N, columns, rows)
    rows: int
    columns: int
    spans: int
    matrix_bytes: int


@native
def _transpose_piece(lanes: Any, arguments: int, piece: int) -> None:
    p = read(_Transposition, arguments)
    n, first = piece // p.spans, piece % p.spans * SPAN
    stop = min(first + SPAN, p.columns)
    source, target = p.source + n * p.matrix_bytes, p.target + n * p.matrix_bytes
    size, block = lanes.itemsize, lanes.lanes
    whole_rows, whole_columns = p.rows - p.rows % block, stop - (stop - first) % block
    for i in range(0, whole_rows, block):
        for j in range(first, whole_columns, block):
            transpose(
                lanes, target + (j * p.rows + i) * size, p.rows * size, source + (i * p.columns + j) * size,
                p.columns * size,
            )  # fmt: skip
    for j in range(first, stop):
        for i in range(whole_rows if j < whole_columns else 0, p.rows):
            store(target + (j * p.rows + i) * size, load(lanes.one, source + (i * p.columns + j) * size))
