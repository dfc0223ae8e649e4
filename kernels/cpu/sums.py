"""Products summed over pixels, blocked: weight gradients, and matrix products whose left factor is transposed.

`multiply_columns` computes d[t, c, k] = sum over pixels m of x[window(m), t][c] * g[m, k].  Its blocking, from the
outside:

    piece of work    some pixels (a *part*), some panels of columns; one thread
      chunk          so many pixels that their rows of x, and of g in a panel, stay in the cache; where several panels
                     read the rows of x they are copied, tile by tile
        panel        ``tile.width`` columns of g, packed
          tap, tile  ``tile.rows`` channels: columns_times_panel, added to the part's own sums

The parts' sums are added in their order at the end.  How many parts there are is a matter of sizes only, so the
number of threads does not change a bit.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from ..workspace import borrow
from .packing import bands
from .pieces import LINE, Address, allocate, free, number, read, run, write_number
from .places import address
from .products import FLOPS
from .simd import clear_bytes, copy_bytes, load, store
from .tiles import Tile, columns_tile, columns_times_panel
from .windows import Windows, fill_tables, pixel_count, tap_count

CHUNK_BYTES = 128 << 10  # of rows of x
CHUNK_PIXELS = (64, 256)
PART_PIXELS = 512
PIECES = 16  # wanted, for the threads; each packs and copies for itself
COPY_PANELS = 4  # of a piece, which read the copied rows of x: so many are worth it
COPY_PIXELS = 128  # of a chunk whose rows are copied
SUMS_BYTES = 8 << 20  # of all parts


class Cut(NamedTuple):
    """How a sum is cut into pieces."""

    depth: int  # channels of a group of x
    all_depth: int  # of all groups
    all_columns: int  # of a group of g
    groups: int
    first: int  # column of g that panel 0 begins with
    columns: int  # in all panels
    tiles: int  # register tiles to cover the channels of a group
    chunk: int  # pixels
    parts: int
    part_pixels: int
    piece_panels: int  # panels of a piece
    bands: int  # pieces that share the panels
    copied: int  # bytes of a tile's part of a chunk's rows of x, if they are copied
    sums: Address  # (parts, groups, panels, taps, tiles, rows, width)


class Target(NamedTuple):
    """Where d[t, c, k] goes: bytes from tap to tap, column to column; channel c = o * inner + i takes two steps."""

    address: Address
    group_step: int
    tap_step: int
    column_step: int
    inner: int
    outer_step: int
    inner_step: int


class Count(NamedTuple):
    """What a loop is told about the kernel: its taps."""

    taps: int


@lru_cache(maxsize=1024)
def cutting(
    tile: Tile, pixels: int, taps: int, depth: int, all_depth: int, all_columns: int, groups: int, first: int, stop: int
) -> Cut:
    """How the sums for the columns first, ..., stop - 1 are cut; sizes only, no address yet."""
    tiles, panels = -(-depth // tile.rows), -(-(stop - first) // tile.width)
    sums = groups * panels * taps * tiles * tile.rows * tile.width * tile.itemsize
    parts = max(1, min(-(-PIECES // groups), pixels // PART_PIXELS, SUMS_BYTES // max(1, sums)))
    part_pixels = -(-pixels // parts)
    least, most = CHUNK_PIXELS
    most = min(most, 4 * tile.lanes * tile.itemsize)  # narrow registers leave more of each cache line for later
    chunk = min(part_pixels, max(least, min(most, CHUNK_BYTES // (depth * tile.itemsize))))
    piece_panels = max(1, panels * groups * parts // PIECES)
    copied = 0
    if taps == 1 and piece_panels >= COPY_PANELS:
        chunk = min(part_pixels, COPY_PIXELS)
        copied = -(-chunk * tile.rows * tile.itemsize // LINE) * LINE
        copied += LINE - copied % (2 * LINE)  # an odd number of lines: tiles begin in different sets of the L1 cache
    return Cut(
        depth, all_depth, all_columns, groups, first, stop - first, tiles, chunk, -(-pixels // part_pixels),
        part_pixels, piece_panels, -(-panels // piece_panels), copied, 0,
    )  # fmt: skip


def multiply_columns(windows: Windows, depth: int, columns: int, groups: int, target: Target, dtype: str) -> None:
    """The sums for all groups, from the windows of x and g, which stands at windows.y; at least one pixel.

    x has ``groups * depth`` channels.  Where that is less than a tile has rows, memory up to a tile's rows is read.
    """
    w = windows
    pixels, taps = w.batch * w.out0 * w.out1 * w.out2, w.taps0 * w.taps1 * w.taps2
    for tile, first, stop in bands(columns, columns_tile(dtype, depth=depth)):
        cut = cutting(tile, pixels, taps, depth, groups * depth, columns, groups, first, stop)
        panels = -(-cut.columns // tile.width)
        shape = (cut.parts, groups, panels, taps, cut.tiles, tile.rows, tile.width)
        sums = borrow("sums", shape, np.dtype(dtype))
        cut = cut._replace(sums=address(sums))
        work = pixels * taps * depth * columns * groups / FLOPS
        run(_sum_piece, tile, (w, cut), groups * cut.parts * cut.bands, work)
        run(_deliver_piece, tile, (cut, target, Count(taps)), groups * panels, prod(shape) * 1e-9)


@native
def _channel_begin(tile: Any, cut: Any, group: int, i: int) -> int:
    """First channel of tile i of a group, counted in x: the last tiles are moved back to end where x ends."""
    return max(0, min(group * cut.depth + i * tile.rows, cut.all_depth - tile.rows))


@native
def _sum_piece(tile: Any, arguments: int, piece: int) -> None:
    w = read(Windows, arguments)
    cut = read(Cut, arguments + 8 * len(w))
    band, part, group = piece % cut.bands, piece // cut.bands % cut.parts, piece // cut.bands // cut.parts
    taps, panels, width = tap_count(w), -(-cut.columns // tile.width), tile.width * tile.itemsize
    packed = allocate(cut.chunk * (width + 8 * (taps + 2)) + cut.tiles * cut.copied)
    table = packed + cut.chunk * width  # (tap, pixel)
    places = table + 8 * cut.chunk * taps  # of g's pixels
    copy_table = places + 8 * cut.chunk
    copies = copy_table + 8 * cut.chunk  # (tile, pixel, row)
    for m in range(cut.chunk if cut.copied > 0 else 0):
        write_number(copy_table, m, copies + m * tile.rows * tile.itemsize)
    begin = part * cut.part_pixels
    end = min(begin + cut.part_pixels, pixel_count(w))
    for m in range(begin, end, cut.chunk):
        count = min(cut.chunk, end - m)
        fill_tables(w, m, count, cut.chunk, table, places)
        if cut.copied > 0:
            _copy_tiles(tile, cut, group, table, count, copies)
        for p in range(band * cut.piece_panels, min((band + 1) * cut.piece_panels, panels)):
            k = p * tile.width
            shift = (group * cut.all_columns + cut.first + k) * tile.itemsize
            size = min(tile.width, cut.columns - k) * tile.itemsize
            _pack_rows(tile, packed, places, count, shift, size)
            for t in range(taps):
                for i in range(cut.tiles):
                    at = ((part * cut.groups + group) * panels + p) * taps + t
                    rows, offset = table + t * cut.chunk * 8, _channel_begin(tile, cut, group, i) * tile.itemsize
                    if cut.copied > 0:
                        rows, offset = copy_table, i * cut.copied
                    columns_times_panel(
                        tile, rows, count, offset, packed,
                        cut.sums + (at * cut.tiles + i) * tile.rows * width, width, m - begin,
                    )  # fmt: skip
    free(packed)


@native
def _copy_tiles(tile: Any, cut: Any, group: int, table: int, count: int, copies: int) -> None:
    """The rows of x, tile by tile.  Where they lie they share a few sets of the L1 cache, and drive each other out."""
    size = tile.rows * tile.itemsize
    for m in range(count):
        for i in range(cut.tiles):
            channel = _channel_begin(tile, cut, group, i) * tile.itemsize
            copy_bytes(copies + i * cut.copied + m * size, number(table, m) + channel, size)


@native
def _pack_rows(tile: Any, to: int, places: int, count: int, shift: int, size: int) -> None:
    """Row m of the panel gets ``size`` bytes of g's pixel m, and zeros up to the tile's width."""
    width = tile.width * tile.itemsize
    if size < width:
        clear_bytes(to, count * width)
        for m in range(count):
            copy_bytes(to + m * width, number(places, m) + shift, size)
    else:
        for m in range(count):
            for j in range(0, width, tile.lanes * tile.itemsize):
                store(to + m * width + j, load(tile, number(places, m) + shift + j))


@native
def _deliver_piece(tile: Any, arguments: int, piece: int) -> None:
    """Add the parts' sums of one panel of one group, and put them where they belong."""
    cut = read(Cut, arguments)
    to = read(Target, arguments + 8 * len(cut))
    taps = read(Count, arguments + 8 * (len(cut) + len(to))).taps
    panels = -(-cut.columns // tile.width)
    group, p = piece // panels, piece % panels
    width, vector = tile.width * tile.itemsize, tile.lanes * tile.itemsize
    panel_bytes = taps * cut.tiles * tile.rows * width
    sums = cut.sums + piece * panel_bytes
    for part in range(1, cut.parts):
        other = sums + part * cut.groups * panels * panel_bytes
        for j in range(0, panel_bytes, vector):
            store(sums + j, load(tile, sums + j) + load(tile, other + j))
    k = cut.first + p * tile.width
    columns = min(tile.width, cut.columns - p * tile.width)
    for t in range(taps):
        for c in range(cut.depth):
            i = c // tile.rows
            row = i * tile.rows + group * cut.depth + c - _channel_begin(tile, cut, group, i)
            source = sums + (t * cut.tiles * tile.rows + row) * width
            place = to.address + group * to.group_step + t * to.tap_step + k * to.column_step
            place += c // to.inner * to.outer_step + c % to.inner * to.inner_step
            if to.column_step == tile.itemsize:
                copy_bytes(place, source, columns * tile.itemsize)
            else:
                for j in range(columns):
                    store(place + j * to.column_step, load(tile.one, source + j * tile.itemsize))
