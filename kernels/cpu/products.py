"""Blocked products over register tiles: what GEMM and convolution have in common.

`multiply_rows` computes y[m, k] = sum over taps t and channels c of x[window(m), t][c] * b[t, c, k].  With one tap
it is a matrix product.  Its blocking, from the outside:

    piece of work    some pixels (a *chunk*), some panels of columns; one thread, one table of addresses
      depth block    as many taps, or channels of one tap, that a panel's part of them stays in the L2 cache
        panel        ``tile.width`` columns of b
          tile       ``tile.rows`` pixels: rows_times_panel

Pieces depend on the problem's sizes only and each result is summed by one thread, depth blocks in order: the
number of threads does not change a bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from .finish import NOTHING, Finish, finish
from .packing import bands, pack
from .pieces import LINE, Address, allocate, free, number, read, run, write_number
from .places import address
from .simd import Lanes, copy_bytes, finish_streams, prefetch, store, stream, zero
from .tiles import Tile, rows_tile, rows_times_panel
from .windows import Windows, fill_tables, finish_tile, pixel_count, read_taps, tap_count, upright

DEPTH_BYTES = 200 << 10  # of a panel in a depth block: a part of the L2 cache
CHUNK_PIXELS = 48
CHUNK_BYTES = 96 << 10  # of rows of x, which each panel reads again; with few channels a chunk has more pixels
TABLE_ENTRIES = 1 << 14
PIECES = 32  # wanted, for the threads
FAR_BYTES = 10 << 20  # of rows of x that come from memory; asking the last cache for fewer takes longer than it saves
STREAM_BYTES = 20 << 20  # results that leave no room in the last cache for what is computed next go past it
FLOPS = 1e11  # multiply-adds in a second, roughly


class Cut(NamedTuple):
    """How a product is cut into pieces, and where its panels are."""

    depth: int  # channels of a row of x
    all_columns: int  # of a group of y
    groups: int
    first: int  # column of y that panel 0 begins with
    columns: int  # in all panels
    tiles: int  # register tiles of a chunk
    chunks: int
    piece_panels: int  # panels of a piece
    bands: int  # pieces that share the panels
    block_taps: int
    block_depth: int
    panel_bytes: int  # of one
    panels: Address = 0
    add: int = 0  # 1: to what y holds
    stream: int = 0  # 1: results go past the caches
    far: int = 0  # 1: rows of x are asked for before they are needed


class Gaps(NamedTuple):
    """Results between the pixels of a product that become 0: of a block of pixels that begins with each of them.

    Written between two tiles they take hardly any time: memory has nothing else to do while products are summed up.
    """

    size0: int  # pixels of a block
    step0: int  # bytes
    size1: int
    step1: int
    size2: int
    step2: int


NO_GAPS = Gaps(1, 0, 1, 0, 1, 0)


@lru_cache(maxsize=1024)
def cutting(
    tile: Tile, pixels: int, taps: int, depth: int, all_columns: int, groups: int, first: int, stop: int
) -> Cut:
    """How the columns first, ..., stop - 1 of a product are computed; sizes only, no address yet."""
    most = max(1, DEPTH_BYTES // (tile.width * tile.itemsize))  # rows of a panel in a block
    block_taps = _even(max(1, taps), most // depth)
    block_depth = _even(depth, most) if block_taps == 1 else depth
    tiles, panels = -(-pixels // tile.rows), -(-(stop - first) // tile.width)
    # long chunks use a panel often; few of them leave the panels to be shared out, and then chunks to be cut
    chunk = max(CHUNK_PIXELS // tile.rows, min(CHUNK_BYTES // (depth * tile.rows * tile.itemsize), tiles // PIECES))
    chunk = _even(tiles, min(chunk, TABLE_ENTRIES // (max(1, taps) * tile.rows)))
    bands = min(panels, -(-PIECES // (-(-tiles // chunk) * groups)))
    if -(-tiles // chunk) * groups * bands < PIECES:
        chunk = _even(tiles, max(1, tiles * groups * bands // PIECES))
    chunks, piece_panels = -(-tiles // chunk), -(-panels // bands)
    return Cut(
        depth, all_columns, groups, first, stop - first, chunk, chunks, piece_panels, -(-panels // piece_panels),
        block_taps, block_depth, tile.width * depth * taps * tile.itemsize,
    )  # fmt: skip


def _even(size: int, most: int) -> int:
    """The size of equal pieces of at most ``most``.

    >>> _even(9, 4), _even(64, 100)
    (3, 64)
    """
    pieces = -(-size // max(1, most))
    return -(-size // pieces)


def multiply_rows(
    windows: Windows,
    b: np.ndarray,
    dtype: str,
    accumulate: bool = False,
    merged: bool = False,
    last: Finish = NOTHING,
    gaps: Gaps = NO_GAPS,
) -> None:
    """y (windows.y), or y += with ``accumulate``, from the windows of x and b (G, K/G, C/G, T0, T1, T2).

    ``merged``: the T2 taps of a kernel row are the channels t2 * C/G + c of one tap of x.  ``last``: what is done with
    the results.  ``gaps``: where there is one tap, and all tiles are `whole`.
    """
    groups, columns, depth, *kernel = b.shape
    if merged:
        depth, kernel = depth * kernel[2], kernel[:2]
    taps, pixels = prod(kernel), windows.batch * windows.out0 * windows.out1 * windows.out2
    windows = upright(windows)
    for tile, first, stop in bands(columns, rows_tile(dtype)):
        cut = cutting(tile, pixels, taps, depth, columns, groups, first, stop)
        panels = pack(b, tile, first, stop, merged=merged)
        pieces = groups * cut.chunks * cut.bands
        seconds = pixels * b.size / FLOPS
        once = cut.block_taps >= taps and cut.block_depth >= cut.depth and not accumulate and not last.scale
        places = windows.y, windows.y_image, windows.y_step0, windows.y_step1, windows.y_step2
        steps = gaps.step0, gaps.step1, gaps.step2
        row = cut.all_columns * tile.itemsize
        size = pixels * gaps.size0 * gaps.size1 * gaps.size2 * cut.groups * row
        stream = once and may_stream(size, tile, (row, *places, *steps))
        far = pixels * groups * depth * tile.itemsize >= FAR_BYTES
        cut = cut._replace(panels=address(panels), add=int(accumulate), stream=int(stream), far=int(far))
        run(_rows_piece, tile, (windows, cut, last, gaps), pieces, seconds)


def whole(columns: int, dtype: str) -> bool:
    """Whether all panels are as wide as their tiles."""
    return all((stop - first) % tile.width == 0 for tile, first, stop in bands(columns, rows_tile(dtype)))


def may_stream(size: int, lanes: Lanes, places: Iterable[int]) -> bool:
    """Whether a result of ``size`` bytes that is written once should go past the caches.

    If it is large, and made of whole cache lines, each of which is a vector: its address and its steps, ``places``, are
    multiples of them.  Memory is read before it is written otherwise, a cache line at a time.  With shorter vectors two
    of them make a line, which often leaves half full.
    """
    whole = lanes.lanes * lanes.itemsize == LINE
    return whole and size >= STREAM_BYTES and all(place % LINE == 0 for place in places)


@native
def _rows_piece(tile: Any, arguments: int, piece: int) -> None:
    w = read(Windows, arguments)
    cut = read(Cut, arguments + 8 * len(w))
    last = read(Finish, arguments + 8 * (len(w) + len(cut)))
    gaps = read(Gaps, arguments + 8 * (len(w) + len(cut) + len(last)))
    band, chunk, group = piece % cut.bands, piece // cut.bands % cut.chunks, piece // cut.bands // cut.chunks
    first = chunk * cut.tiles * tile.rows
    count = min(cut.tiles * tile.rows, pixel_count(w) - first)
    tiles, taps = -(-count // tile.rows), tap_count(w)
    edge_width, pixels = tile.width * tile.itemsize, tiles * tile.rows
    # no arrays: handing one on is counted by an atomic step, which waits until all that was stored is in the cache
    addresses = pixels * (taps + 1) + tile.rows
    edge = allocate(tile.rows * edge_width + 8 * addresses)
    table = edge + tile.rows * edge_width  # (tile, tap, row)
    results = table + 8 * pixels * taps
    edge_rows = results + 8 * pixels
    for row in range(tile.rows):  # of a tile of which some columns are no result
        write_number(edge_rows, row, edge + row * edge_width)
    fill_tables(w, first, count, tile.rows if taps > 1 else pixels, table, results)  # in longer runs where it may
    finish_tile(count, tile.rows, taps, table, results)
    all_panels = -(-cut.columns // tile.width)
    t = c = 0
    while t == 0 or t < taps:
        some_taps, some_depth = min(cut.block_taps, taps - t), min(cut.block_depth, cut.depth - c)
        offset = (group * cut.depth + c) * tile.itemsize
        for p in range(band * cut.piece_panels, min((band + 1) * cut.piece_panels, all_panels)):
            panel = cut.panels + (group * all_panels + p) * cut.panel_bytes
            panel += (t * cut.depth + c) * tile.width * tile.itemsize
            shift = (group * cut.all_columns + cut.first + p * tile.width) * tile.itemsize
            size = min(tile.width, cut.columns - p * tile.width) * tile.itemsize
            accumulate = t + c + cut.add
            if taps == 1 and size == edge_width:
                ahead = some_depth * tile.itemsize if cut.far > 0 and p == band * cut.piece_panels else 0
                _whole_tiles(
                    tile, cut, gaps, table, count, offset, some_depth, panel, results, shift, accumulate, ahead
                )
                continue
            for m in range(0, count, tile.rows):
                begin, end = read_taps(w, table, m // tile.rows, tile.rows, t, t + some_taps)
                if begin == end and accumulate:
                    continue
                source = table + (m * taps + begin * tile.rows) * 8
                target, moved, stream = results + m * 8, shift, cut.stream
                if size < edge_width:
                    target, moved, stream = edge_rows, 0, 0
                    for i in range(tile.rows if accumulate else 0):
                        copy_bytes(edge + i * edge_width, number(results, m + i) + shift, size)
                weights = panel + (begin - t) * some_depth * edge_width
                rows_times_panel(
                    tile, source, end - begin, offset, some_depth, weights, target, moved, accumulate, stream
                )
                if size < edge_width:
                    for i in range(tile.rows):
                        copy_bytes(number(results, m + i) + shift, edge + i * edge_width, size)
        c += some_depth
        if c == cut.depth:
            t, c = t + max(1, some_taps), 0
    if last.scale != 0:
        begin, stop = band * cut.piece_panels * tile.width, min((band + 1) * cut.piece_panels * tile.width, cut.columns)
        channel = group * cut.all_columns + cut.first + begin
        for m in range(count):
            finish(tile, last, number(results, m) + channel * tile.itemsize, channel, stop - begin)
    if cut.stream:
        finish_streams()
    free(edge)


@native
def _whole_tiles(
    tile: Any, cut: Any, gaps: Any, table: int, count: int, offset: int, depth: int, panel: int, results: int,
    shift: int, accumulate: int, ahead: int,
) -> None:  # fmt: skip
    """One tap and one panel, all of whose columns are results, times ``count`` rows of x.

    A tile of few channels takes no longer than the processor's way into it, so there is little on that way.
    ``ahead``: bytes of each row of the next tile that are fetched from memory meanwhile.
    """
    for m in range(0, count, tile.rows):
        for i in range(tile.rows if ahead > 0 else 0):
            row = number(table, m + tile.rows + i) + offset
            for j in range(0, ahead, LINE):
                prefetch(row + j)
        rows_times_panel(tile, table + m * 8, 1, offset, depth, panel, results + m * 8, shift, accumulate, cut.stream)
        if gaps.size0 * gaps.size1 * gaps.size2 > 1 and accumulate == 0:
            for i in range(tile.rows):
                _clear(tile, gaps, number(results, m + i) + shift, cut.stream)


@native
def _clear(tile: Any, gaps: Any, place: int, past_caches: int) -> None:
    """The gaps behind one pixel whose results lie at ``place``, for one panel."""
    for i0 in range(gaps.size0):
        for i1 in range(gaps.size1):
            for i2 in range(gaps.size2):
                at = place + i0 * gaps.step0 + i1 * gaps.step1 + i2 * gaps.step2
                for j in range(0, tile.width * tile.itemsize if at != place else 0, tile.lanes * tile.itemsize):
                    if past_caches != 0:
                        stream(at + j, zero(tile))
                    else:
                        store(at + j, zero(tile))
