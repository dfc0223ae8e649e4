"""Products summed over pixels, blocked: weight gradients.

`multiply_columns` computes d[t, c, k] = sum over pixels m of x[window(m), t][c] * g[m, k].  Its blocking, from the
outside:

    piece of work    some pixels (a *part*), some panels of columns (a *band*), some tiles (a *block*); one thread
      chunk          so many pixels that their rows of x, and of g in the band's panels, stay in the L2 cache
        tap, tiles   all of the block, or where rows of x share a few sets of the L1 cache and several panels read
                     them, as many as read a cache line or two of each row, which are copied
          panel      ``tile.width`` columns of g, packed, or read where they lie where few tiles and taps read them
            tile     ``tile.rows`` channels: columns_times_panel, added to the part's own sums

The parts' sums are added in their order at the end, by a second loop; of one part, each piece brings its own to where
they belong.  With one tap x and g may change places, see `_turns`: then tiles of sums are tiles of dw.  Those of one
part lie there from the beginning; several parts are as many arrays like dw.  How many parts there are is a matter of
sizes only, so the number of threads does not change a bit.
Bands and blocks are as many as keep the threads busy: each piece packs and copies for itself.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from ..threads import get_num_threads
from ..workspace import borrow
from .crew import call
from .packing import bands
from .parts import product_parts, worth_turning
from .pieces import LINE, Address, allocate, code_address, fail, free, number, read, run, write_number
from .places import address
from .products import FLOPS
from .simd import clear_bytes, copy_bytes, load, prefetch, store, transpose
from .tiles import Tile, columns_tile, columns_times_panel
from .windows import Windows, fill_tables, pixel_count, read_pixels, tap_count, upright

CHUNK_BYTES = 256 << 10  # of rows of x that are read where they lie
CHUNK_PIXELS = (64, 256)
COPY_COLUMNS = 192  # which read the copied rows of x: so many are worth it
ALIASED = 2 << 10  # bytes: rows a multiple of it apart share a few sets of the L1 cache, and drive each other out
PIECES = 4  # wanted, for each thread; each packs and copies for itself
BAND = 256  # columns of a piece that copies
BLOCK = 8  # tiles of a piece, at least: it fills the tables and packs for them alone
SPAN = 256  # elements of a column of d that one piece brings there
UNPACKED_USES = 4  # of a panel: where taps and tiles read it no more often, it is not worth packing


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
    band: int  # panels of a piece
    bands: int  # that cover all panels
    block: int  # tiles of a piece
    blocks: int  # that cover all tiles
    together: int  # tiles that are done for all panels before the next ones
    copied: int  # 1: what they read of the rows of x is copied
    steady: int  # bytes from pixel to pixel of g, where panels are read where they lie; 0: they are packed
    sums: Address  # (parts, groups, panels, tiles, taps, rows, width), or (parts, rows of d) if there is a ``row_step``
    row_step: int  # bytes from row to row, where x and g have changed places: what is said of x is true of g


class Target(NamedTuple):
    """Where d goes: column k's ``depth * taps`` elements lie side by side, channel by channel, tap by tap.

    Where the ``merged`` taps of a kernel row count as channels of x, all channels of one tap before those of the next,
    they do not in d: there they follow the channel and the tap that they belong to.
    """

    address: Address
    column_step: int  # bytes
    taps: int
    merged: int  # 1: each is a tap
    span: int  # elements of a column that one piece brings there; whole columns, where x and g have changed places
    code: int = 0  # of `_deliver_piece`, for the pieces that have summed all of what they call it for; 0: for none


@lru_cache(maxsize=1024)
def cutting(
    tile: Tile, pixels: int, taps: int, depth: int, all_depth: int, all_columns: int, groups: int, first: int,
    stop: int, apart: int, steady: int, turned: bool, pieces: int,
) -> Cut:  # fmt: skip
    """How the sums for the columns first, ..., stop - 1 are cut into about so many pieces; no address yet.

    ``apart``: bytes between the rows of x that neighbours read; ``steady``: see `_steady`.
    The parts follow from sizes only: in what order numbers are added does not depend on how many pieces are wanted.
    Neither do the chunks, at whose ends padding is left out.
    """
    tiles, panels = -(-depth // tile.rows), -(-(stop - first) // tile.width)
    sums = groups * panels * taps * tiles * tile.rows * tile.width * tile.itemsize
    part_pixels, parts = _evenly(pixels, -(-pixels // product_parts(pixels, groups, sums, turned)))
    copies = taps == 1 and stop - first >= COPY_COLUMNS and apart % ALIASED == 0

    def shares(pieces: int) -> tuple[int, int, int, int]:
        band, bands = _evenly(panels, max(1, BAND // tile.width if copies else panels * groups * parts // pieces))
        return band, bands, *_evenly(tiles, max(BLOCK, tiles * groups * parts * bands // pieces))

    band, bands, block, blocks = shares(pieces)
    least, most = CHUNK_PIXELS
    together = block
    if copies:
        chunk, _ = _evenly(part_pixels, 2 * most if turned else most)
        together = max(2, LINE // (tile.rows * tile.itemsize))  # lines come in pairs
    else:
        most = min(most, 4 * tile.lanes * tile.itemsize)  # narrow registers leave more of each cache line for later
        rows = shares(2 * PIECES)[2] * tile.rows * tile.itemsize
        chunk = min(part_pixels, max(least, min(most, CHUNK_BYTES // rows)))
    unpacked = (stop - first) % tile.width == 0 and taps * block <= UNPACKED_USES and not (turned or copies)
    return Cut(
        depth, all_depth, all_columns, groups, first, stop - first, tiles, chunk, parts, part_pixels, band, bands,
        block, blocks, together, int(copies), steady if unpacked and steady % ALIASED else 0, 0, 0,
    )  # fmt: skip


def _steady(w: Windows) -> int:
    """Bytes from each pixel of y to the next, through rows and images; 0 where they are not the same everywhere."""
    apart, count = 0, 1
    for size, step in ((w.out2, w.y_step2), (w.out1, w.y_step1), (w.out0, w.y_step0), (w.batch, w.y_image)):
        if size > 1:
            apart = step if count == 1 else apart
            if step != apart * count:
                return 0
            count *= size
    return apart


def _evenly(count: int, most: int) -> tuple[int, int]:
    """The size of equal shares of at most ``most``, and their number.

    >>> _evenly(100, 32), _evenly(3, 32)
    ((25, 4), (3, 1))
    """
    size = -(-count // -(-count // most))
    return size, -(-count // size)


def multiply_columns(windows: Windows, depth: int, columns: int, groups: int, d: np.ndarray, merged: int = 1) -> None:
    """The sums for all groups, from the windows of x and g, which stands at windows.y; at least one pixel.

    d: (groups * columns, ...), C-contiguous, see `Target`, as for ``merged``.  x has ``groups * depth`` channels; where
    that is less than a tile has rows, memory up to a tile's rows is read.
    """
    w = upright(windows)
    pixels, taps = w.batch * w.out0 * w.out1 * w.out2, w.taps0 * w.taps1 * w.taps2
    apart, pieces = w.x_step2 * w.stride2, PIECES * get_num_threads()
    steady, turned = _steady(w), taps == merged == 1 and _turns(depth, columns, pixels, d)
    if turned:  # rows of d are rows of tiles
        depth, columns, apart = columns, depth, w.y_step2
    for tile, first, stop in bands(columns, columns_tile(d.dtype.name, depth=depth)):
        cut = cutting(
            tile, pixels, taps, depth, groups * depth, columns, groups, first, stop, apart, steady, turned, pieces
        )
        panels = -(-cut.columns // tile.width)
        shape = (cut.parts, groups, panels, cut.tiles, taps, tile.rows, tile.width)
        work = pixels * taps * depth * columns * groups / FLOPS
        if turned:
            cut, target = _among_rows(cut, pieces, d)
        else:
            cut, target = _among_tiles(tile, cut, shape, merged, d)
        run(_sum_piece, tile, (w, cut, target), groups * cut.parts * cut.bands * cut.blocks, work)
        if turned and cut.parts > 1:
            run(_add_piece, tile, (cut, target), -(-cut.all_depth // target.span), prod(shape) * 1e-10)
        elif target.code == 0 and not turned:
            spans = -(-depth * taps // SPAN)
            run(_deliver_piece, tile, (cut, target), groups * panels * spans, prod(shape) * 1e-9)


def _among_rows(cut: Cut, pieces: int, d: np.ndarray) -> tuple[Cut, Target]:
    """Where the sums lie if x and g have changed places: in d, or, of several parts, in as many arrays like it."""
    row_step = cut.all_columns * d.itemsize
    target = Target(address(d) + cut.first * d.itemsize, row_step, 1, 1, -(-cut.all_depth // pieces))
    if cut.parts == 1:
        return cut._replace(sums=target.address, row_step=row_step), target
    parts = borrow("sums", (cut.parts, cut.all_depth, cut.columns), d.dtype)
    return cut._replace(sums=address(parts), row_step=parts.strides[1]), target


def _among_tiles(tile: Tile, cut: Cut, shape: tuple[int, ...], merged: int, d: np.ndarray) -> tuple[Cut, Target]:
    """Where the sums lie otherwise: tile by tile, in memory of this ``shape``.  Of one part those who have summed them
    bring them to d too, if what a piece of work has summed lies together there."""
    taps = shape[4]
    target = Target(address(d), cut.depth * taps * d.itemsize, taps, merged, SPAN)
    if cut.parts == 1 and (merged == 1 or cut.blocks == 1):
        target = target._replace(span=cut.block * tile.rows * taps, code=code_address(_deliver_piece, tile))
    return cut._replace(sums=address(borrow("sums", shape, d.dtype))), target


def _turns(depth: int, columns: int, pixels: int, d: np.ndarray) -> bool:
    """Whether x and g change places: d (groups * columns, depth) has to be made of whole register tiles."""
    tile = columns_tile(d.dtype.name, depth=columns)
    whole = all(columns % t.rows == 0 == (stop - first) % t.width for t, first, stop in bands(depth, tile))
    return whole and worth_turning(depth, columns, pixels, d.nbytes)


@native
def _channel_begin(tile: Any, cut: Any, group: int, i: int) -> int:
    """First channel of tile i of a group, counted in x: the last tiles are moved back to end where x ends."""
    return max(0, min(group * cut.depth + i * tile.rows, cut.all_depth - tile.rows))


@native
def _panel_shift(tile: Any, cut: Any, group: int, panel: int) -> int:
    """Bytes from where a pixel's columns begin to those of a panel of a group."""
    return (group * cut.all_columns + cut.first + panel * tile.width) * tile.itemsize


@native
def _sum_piece(tile: Any, arguments: int, piece: int) -> None:
    w = read(Windows, arguments)
    cut = read(Cut, arguments + 8 * len(w))
    rest, band, block = piece // cut.bands // cut.blocks, piece % cut.bands, piece // cut.bands % cut.blocks
    part, group = rest % cut.parts, rest // cut.parts
    taps, panels, width = tap_count(w), -(-cut.columns // tile.width), tile.width * tile.itemsize
    first, stop = band * cut.band, min((band + 1) * cut.band, panels)
    begin_tile, end_tile = block * cut.block, min((block + 1) * cut.block, cut.tiles)
    panel_bytes = cut.chunk * width
    copy_step = cut.together * tile.rows * tile.itemsize
    packed = allocate(cut.band * panel_bytes + 8 * cut.chunk * (taps + 2) + cut.copied * cut.chunk * copy_step)
    table = packed + cut.band * panel_bytes  # (tap, pixel)
    places = table + 8 * cut.chunk * taps  # of g's pixels
    copy_table = places + 8 * cut.chunk
    copy = copy_table + 8 * cut.chunk
    for m in range(cut.chunk if cut.copied > 0 else 0):
        write_number(copy_table, m, copy + m * copy_step)
    begin = part * cut.part_pixels
    end = min(begin + cut.part_pixels, pixel_count(w))
    for m in range(begin, end, cut.chunk):
        count = min(cut.chunk, end - m)
        fill_tables(w, m, count, cut.chunk, table, places)
        packed_rows = table if cut.row_step != 0 else places
        for p in range(first, first if cut.steady != 0 else stop):
            size = min(tile.width, cut.columns - p * tile.width) * tile.itemsize
            _pack_rows(
                tile, packed + (p - first) * panel_bytes, packed_rows, count, _panel_shift(tile, cut, group, p), size
            )
        for t in range(taps):
            rows = places if cut.row_step != 0 else table + t * cut.chunk * 8
            low_pixel, high_pixel = read_pixels(w, rows, count)
            for tiles in range(begin_tile, end_tile, cut.together):
                after = min(tiles + cut.together, end_tile)
                low = 0
                if cut.copied > 0:
                    low = _channel_begin(tile, cut, group, tiles) * tile.itemsize
                    high = (_channel_begin(tile, cut, group, after - 1) + tile.rows) * tile.itemsize
                    _copy_rows(tile, copy, copy_step, rows, count, low, high - low)
                for p in range(first, stop):
                    panel, panel_step = packed + (p - first) * panel_bytes, width
                    if cut.steady != 0:
                        panel, panel_step = number(places, 0) + _panel_shift(tile, cut, group, p), cut.steady
                    for i in range(tiles, after):
                        offset = _channel_begin(tile, cut, group, i) * tile.itemsize - low
                        at = (((part * cut.groups + group) * panels + p) * cut.tiles + i) * taps + t
                        result, step = cut.sums + at * tile.rows * width, width
                        if cut.row_step != 0:
                            step = cut.row_step
                            result = cut.sums + (part * cut.all_depth + group * cut.depth + i * tile.rows) * step
                            result += p * width
                        columns_times_panel(
                            tile, (copy_table if cut.copied > 0 else rows) + 8 * low_pixel, high_pixel - low_pixel,
                            offset, panel + low_pixel * panel_step, panel_step, result, step, m - begin,
                        )  # fmt: skip
    free(packed)
    to, failed = read(Target, arguments + 8 * (len(w) + len(cut))), 0
    for p in range(first, stop if to.code != 0 else first):  # while the sums are in this core's cache
        if call(to.code, arguments + 8 * len(w), (group * panels + p) * cut.blocks + block) != 0:
            failed += 1
    fail(failed)


@native
def _copy_rows(tile: Any, copy: int, step: int, table: int, count: int, low: int, size: int) -> None:
    """``size`` bytes of each row of x, which share a few sets of the L1 cache where they lie."""
    vector = tile.lanes * tile.itemsize
    for m in range(count):
        row = number(table, m) + low
        prefetch(row + size)  # what is copied next, before it is needed
        if size == vector:
            store(copy + m * step, load(tile, row))
        else:
            copy_bytes(copy + m * step, row, size)


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
    spans = -(-elements // to.span)
    panel, begin = piece // spans, piece % spans * to.span
    end, k = min(begin + to.span, elements), panel % panels * tile.width
    columns, width, size = min(tile.width, cut.columns - k), tile.width * tile.itemsize, tile.itemsize
    place = to.address + (panel // panels * cut.all_columns + cut.first + k) * to.column_step
    block = allocate(tile.lanes * width)
    for e in range(begin, end, tile.lanes):
        count = min(tile.lanes, end - e)
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
def _add_piece(tile: Any, arguments: int, piece: int) -> None:
    """Some rows of d, where x and g have changed places: add the parts, each of which lies as d does."""
    cut = read(Cut, arguments)
    to = read(Target, arguments + 8 * len(cut))
    part_bytes = cut.all_depth * cut.row_step
    for row in range(piece * to.span, min((piece + 1) * to.span, cut.all_depth)):
        for j in range(0, cut.columns * tile.itemsize, tile.lanes * tile.itemsize):
            total = load(tile, cut.sums + row * cut.row_step + j)
            for part in range(1, cut.parts):
                total = total + load(tile, cut.sums + part * part_bytes + row * cut.row_step + j)
            store(to.address + row * to.column_step + j, total)


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
