"""Input gradients as a matrix product whose columns are added where they belong, on channels-last storage.

A pixel of g (K numbers) times all weights (K x R*S*C) gives what it adds to the R x S pixels of dx below its window.
The S*C numbers of a kernel row lie side by side in dx too: a *run*.  So few channels are no narrow product, and nothing
is multiplied by padding; only the last tiles of pixels and of columns compute in vain.  From the outside:

    piece of work    a *band* of rows of one image of dx; one thread
      chunk          a few rows of g: their windows' rows of dx are in a ring of rows, in the L1 or L2 cache
        panel        ``tile.width`` columns, the product of all pixels of the chunk: rows_times_panel
          run        what of it lies in one kernel row, added to the rows of the ring

A row of the ring that no later row of g reaches goes to dx.  Each number of dx is summed by one thread, in an order
that follows from the sizes.  A pixel of g is added to the pixels of its window and to no other, be it NaN.
"""

from __future__ import annotations

from functools import cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..geometry import Conv
from ..jit import native
from .col2im_tiles import tiling
from .direct_tiles import geometry
from .packing import pack
from .pieces import LINE, Address, allocate, free, number, outside_of_loops, read, run, write_number
from .places import address
from .products import FLOPS
from .relayout import as_last
from .replay import permanent
from .simd import broadcast, clear_bytes, copy_bytes, load, prefetch, store, where_between
from .tiles import rows_tile, rows_times_panel

Array = np.ndarray


class Spread(NamedTuple):
    """One input gradient.  Steps are bytes; rows and columns are the last two axes."""

    g: Address
    g_image: int
    g_row: int
    g_pixel: int
    dx: Address
    dx_image: int
    dx_row: int
    dx_pixel: int
    panels: Address
    ramp: Address  # 0, 1, 2, ...
    depth: int  # K
    channels: int  # C
    columns: int  # R * S * C
    run: int  # S * C
    g_rows: int
    g_width: int
    rows: int
    width: int
    row_taps: int  # R
    row_stride: int
    row_low: int
    row_dilation: int
    stride: int
    low: int
    length: int  # bytes of a row of the ring, which begins with the padding
    ring: int  # rows
    layers: int  # of each, whose sum it is
    chunk: int  # rows of g
    band: int  # rows of dx
    bands: int


def spread(w: Array, g: Array, dx: Array, conv: Conv) -> None:
    """dx (N, C, *size) of w (K, C, *kernel) and g (N, K, *out), both with their channels side by side; one group."""
    tile = rows_tile(dx.dtype.name)
    _, rows, last = geometry(conv)
    weights = as_last(w, "weights")
    matrix = np.moveaxis(weights, 1, -1).reshape(conv.out_channels, -1)  # (K, R*S*C)
    if not np.may_share_memory(matrix, weights):
        outside_of_loops()  # a copy, which ends here
    cut = tiling(conv)
    panels = pack(matrix.T[None, :, :, None, None, None], tile, 0, matrix.shape[1])
    reach = max(last.low + last.size, (last.out - 1) * last.stride + last.taps) * conv.in_channels + tile.lanes
    g_steps, dx_steps = ((0, *a.strides[2:])[-2:] for a in (g, dx))
    numbers = Spread(
        address(g), g.strides[0], *g_steps, address(dx), dx.strides[0], *dx_steps, address(panels),
        address(_ramp(dx.dtype)), conv.out_channels, conv.in_channels, matrix.shape[1],
        last.taps * conv.in_channels, rows.out, last.out, rows.size, last.size, rows.taps, rows.stride, rows.low,
        rows.dilation, last.stride, last.low, -(-reach * dx.itemsize // LINE) * LINE,
        (cut.chunk - 1) * rows.stride + (rows.taps - 1) * rows.dilation + 1,
        -(-tile.lanes // (last.stride * conv.in_channels)), cut.chunk, cut.band, cut.bands,
    )  # fmt: skip
    run(_band_piece, tile, numbers, conv.batch * cut.bands, prod(g.shape) * matrix.shape[1] / FLOPS)


@cache
def _ramp(dtype: np.dtype) -> np.ndarray:
    return permanent(np.arange(LINE, dtype=dtype))


@native
def _band_piece(tile: Any, arguments: int, piece: int) -> None:
    s = read(Spread, arguments)
    image, begin = piece // s.bands, piece % s.bands * s.band
    end = min(begin + s.band, s.rows)
    # rows of g whose windows reach the band
    first = max(0, -((s.row_dilation * (s.row_taps - 1) - begin - s.row_low) // s.row_stride))
    stop = min(s.g_rows, -((-end - s.row_low) // s.row_stride))
    tiles = -(-s.chunk * s.g_width // tile.rows)
    pixels, width = tiles * tile.rows, tile.width * tile.itemsize
    ring = allocate(s.ring * s.layers * s.length + (pixels + 1) * width + 16 * pixels)
    sums = ring + s.ring * s.layers * s.length  # (pixel, column), and what a vector reads beyond
    table = sums + (pixels + 1) * width
    results = table + 8 * pixels
    clear_bytes(ring, s.ring * s.layers * s.length)
    for m in range(pixels):
        write_number(results, m, sums + m * width)
    done = begin
    for p in range(first, stop, s.chunk):
        done = _deliver(tile, s, ring, image, done, min(end, p * s.row_stride - s.row_low))
        lines = min(s.chunk, stop - p)
        count = lines * s.g_width
        _fill_table(s, table, image, p, lines, tile.rows)
        for panel in range(-(-s.columns // tile.width)):
            weights = s.panels + panel * s.depth * width
            for m in range(0, count, tile.rows):
                for i in range(tile.rows if panel == 0 else 0):
                    ahead = number(table, m + i) + tile.rows * s.g_pixel
                    for c in range(0, s.depth * tile.itemsize, LINE):
                        prefetch(ahead + c)
                rows_times_panel(tile, table + 8 * m, 1, 0, s.depth, weights, results + 8 * m, 0, 0, 0)
            _add_panel(tile, s, ring, sums, panel * tile.width, p, lines, begin, end)
    _deliver(tile, s, ring, image, done, end)
    free(ring)


@native
def _fill_table(s: Any, table: int, image: int, first: int, lines: int, rows: int) -> None:
    """Where the pixels of some rows of g lie; a last tile's rows that are none read the first again."""
    place = s.g + image * s.g_image + first * s.g_row
    for line in range(lines):
        for q in range(s.g_width):
            write_number(table, line * s.g_width + q, place + line * s.g_row + q * s.g_pixel)
    count = lines * s.g_width
    for m in range(count, -(-count // rows) * rows):
        write_number(table, m, place)


@native
def _add_panel(
    tile: Any, s: Any, ring: int, sums: int, column: int, first: int, lines: int, begin: int, end: int
) -> None:
    """The sums of a panel's columns, for some rows of g, to the rows of dx they belong to; those of the band."""
    stop = min(column + tile.width, s.columns)
    for r in range(column // s.run, -(-stop // s.run)):
        left, right = max(column, r * s.run), min(stop, (r + 1) * s.run)
        for line in range(lines):
            i = (first + line) * s.row_stride - s.row_low + r * s.row_dilation
            if begin <= i < end:
                row = ring + i % s.ring * s.layers * s.length + (left - r * s.run) * tile.itemsize
                source = sums + (line * s.g_width * tile.width + left - column) * tile.itemsize
                _add_runs(tile, s, row, source, right - left)


@native
def _add_runs(tile: Any, s: Any, row: int, source: int, length: int) -> None:
    """``length`` sums of each pixel of a row of g: those of the next one go ``stride`` pixels of dx further on.

    A vector at a time; its lanes beyond the run add 0.  Neighbours whose vectors overlap go to different layers: what
    was just stored takes long to load.
    """
    step, width = s.stride * s.channels * tile.itemsize, tile.width * tile.itemsize
    ramp, none = load(tile, s.ramp), broadcast(tile, -1.0)
    for v in range(0, length, tile.lanes):
        beyond = broadcast(tile, float(length - v))
        for layer in range(s.layers):
            place = row + layer * s.length + v * tile.itemsize
            for q in range(layer, s.g_width, s.layers):
                own = where_between(ramp, none, beyond, load(tile, source + q * width + v * tile.itemsize))
                store(place + q * step, load(tile, place + q * step) + own)


@native
def _deliver(tile: Any, s: Any, ring: int, image: int, first: int, stop: int) -> int:
    """The rows first, ..., stop - 1 from the ring, where they become zeros again, to dx; the row after them."""
    pixel = s.channels * tile.itemsize
    for i in range(first, stop):
        row, place = ring + i % s.ring * s.layers * s.length, s.dx + image * s.dx_image + i * s.dx_row
        for v in range(0, s.length if s.layers > 1 else 0, tile.lanes * tile.itemsize):
            total = load(tile, row + v)
            for layer in range(1, s.layers):
                total = total + load(tile, row + layer * s.length + v)
            store(row + v, total)
        if s.dx_pixel == pixel:
            copy_bytes(place, row + s.low * pixel, s.width * pixel)
        else:
            for q in range(s.width):
                copy_bytes(place + q * s.dx_pixel, row + (s.low + q) * pixel, pixel)
        clear_bytes(row, s.layers * s.length)
    return max(first, stop)
