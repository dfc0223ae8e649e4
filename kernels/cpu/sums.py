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
from .simd import clear_bytes, copy_bytes, load, store, transpose
from .tiles import Tile, columns_tile, columns_times_panel
from .windows import Windows, fill_tables, pixel_count, tap_count

CHUNK_BYTES = 128 << 10  # of rows of x
CHUNK_PIXELS = (64, 256)
PART_PIXELS = 512
PIECES = 16  # wanted, for the threads; each packs and copies for itself
COPY_PANELS = 4  # of a piece, which read the copied rows of x: so many are worth it
COPY_PIXELS = 128  # of a chunk whose rows are copied
SUMS_BYTES = 8 << 20  # of all parts
SPAN = 256  # elements of a column of d, brought there by one piece


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
    sums: Address  # (parts, groups, panels, tiles, taps, rows, width)


class Target(NamedTuple):
    """Where d goes: column k's ``depth * taps`` elements lie side by side, channel by channel, tap by tap.

    Where the ``merged`` taps of a kernel row count as channels of x, all channels of one tap before those of the next,
    they do not in d: there they follow the channel and the tap that they belong to.
    """

    address: Address
    column_step: int  # bytes
    taps: int
    merged: int  # 1: each is a tap


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


def multiply_columns(
    windows: Windows, depth: int, columns: int, groups: int, d: np.ndarray, merged: int = 1
) -> None:
    """The sums for all groups, from the windows of x and g, which stands at windows.y; at least one pixel.

    d: (groups * columns, ...), C-contiguous, see `Target`, as for ``merged``.  x has ``groups * depth`` channels.  Where that is less than a tile has rows, memory up to a tile's rows is read.
    """
    w = windows
    pixels, taps = w.batch * w.out0 * w.out1 * w.out2, w.taps0 * w.taps1 * w.taps2
    target = Target(address(d), depth * taps * d.itemsize, taps, merged)
    for tile, first, stop in bands(columns, columns_tile(d.dtype.name, depth=depth)):
        cut = cutting(tile, pixels, taps, depth, groups * depth, columns, groups, first, stop)
        panels = -(-cut.columns // tile.width)
        shape = (cut.parts, groups, panels, cut.tiles, taps, tile.rows, tile.width)
        sums = borrow("sums", shape, d.dtype)
        cut = cut._replace(sums=address(sums))
        work = pixels * taps * depth * columns * groups / FLOPS
        run(_sum_piece, tile, (w, cut), groups * cut.parts * cut.bands, work)
        spans = -(-depth * taps // SPAN)
        run(_deliver_piece, tile, (cut, target), groups * panels * spans, prod(shape) * 1e-9)


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
                    at = (((part * cut.groups + group) * panels + p) * cut.tiles + i) * taps + t
                    rows, offset = table + t * cut.chunk * 8, _channel_begin(tile, cut, group, i) * tile.itemsize
                    if cut.copied > 0:
                        rows, offset = copy_table, i * cut.copied
                    columns_times_panel(
                        tile, rows, count, offset, packed,
                        cut.sums + at * tile.rows * width, width, m - begin,
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
    """Some elements of the columns of one panel of one group: add the parts' sums, and put them where they belong.

    A row of sums belongs to one element and has all columns, a row of d is one column: blocks of them are transposed.
    """
    cut = read(Cut, arguments)
    to = read(Target, arguments + 8 * len(cut))
    panels, elements = -(-cut.columns // tile.width), cut.depth * to.taps
    spans = -(-elements // SPAN)
    panel, begin = piece // spans, piece % spans * SPAN
    k = panel % panels * tile.width
    columns, width, size = min(tile.width, cut.columns - k), tile.width * tile.itemsize, tile.itemsize
    place = to.address + (panel // panels * cut.all_columns + cut.first + k) * to.column_step
    block = allocate(tile.lanes * width)
    for e in range(begin, min(begin + SPAN, elements), tile.lanes):
        count = min(tile.lanes, elements - e)
        for i in range(count):
            _add_parts(tile, cut, to, panel, e + i, block + i * width)
        whole = columns // tile.lanes * tile.lanes if count == tile.lanes else 0
        for j in range(0, whole, tile.lanes):
            transpose(tile, place + j * to.column_step + e * size, to.column_step, block + j * size, width)
        for j in range(whole, columns):
            for i in range(count):
                store(place + j * to.column_step + (e + i) * size, load(tile.one, block + i * width + j * size))
    free(block)


@native
def _add_parts(tile: Any, cut: Any, to: Any, panel: int, element: int, row: int) -> None:
    """The sums of one element of the columns of a panel, counted through the groups, to the address ``row``."""
    panels = -(-cut.columns // tile.width)
    group, rest = panel // panels, element // to.merged
    channel = element % to.merged * (cut.depth // to.merged) + rest // to.taps
    i = channel // tile.rows
    at = (panel * cut.tiles + i) * to.taps + rest % to.taps
    width, vector = tile.width * tile.itemsize, tile.lanes * tile.itemsize
    source = at * tile.rows + group * cut.depth + channel - _channel_begin(tile, cut, group, i)
    source = cut.sums + source * width
    part_bytes = cut.groups * panels * cut.tiles * to.taps * tile.rows * width
    for j in range(0, width, vector):
        total = load(tile, source + j)
        for part in range(1, cut.parts):
            total = total + load(tile, source + part * part_bytes + j)
        store(row + j, total)
