"""Depthwise convolution on channels-last storage: each channel is filtered by itself, so channels are the vector.

There is no sum over channels to gain from and little arithmetic for each element read: what counts is to read memory
once and in its order, not to read y before it is written, and to load little from the L1 cache.

* y is computed row by row, all channels of a few pixels at a time, so that a row of x is still in the L2 cache when the
  next row of y wants it.  A few neighbouring pixels and one or two vectors of channels are a register tile
  (`depthwise_tiles.filter_run`), which reads zeros where its windows reach into the padding of a row, and leaves out
  taps that read nothing else.  A tile of a strided row's input gradient has neighbouring pixels of all residues.  Large
  results go past the caches, into which memory would be read first only to be overwritten.
* The weight gradient keeps all taps of a small kernel in registers while the pixels of some rows pass
  (`depthwise_tiles.sum_run`), which reads zeros as padding too.

Groups of two, four or eight channels go the same way: each vector is multiplied once for each member of a group,
which a shuffle puts in the place of its neighbours.

Channels that fill no vector are computed with the last whole vector, moved back: some twice, none by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from ..workspace import borrow
from .depthwise_long import filter_long
from .depthwise_tiles import ChannelTile, filter_run, filter_tile, sum_run, sum_tile
from .depthwise_weights import Taps, by_channel
from .finish import NOTHING, Finish, finish
from .parts import channel_parts
from .pieces import Address, allocate, free, number, read, run, write_number
from .places import address
from .products import FLOPS, PIECES
from .simd import clear_bytes, copy_bytes, finish_streams, load, prefetch, store
from .windows import Windows

WEIGHT_BYTES = 24 << 10  # of channels whose pixels are computed one after the other: a part of the L1 cache
PART_ROWS = 4  # of an image, at least, in a piece of work
STREAM_BYTES = 14 << 20  # operands and result that do not fit in the last cache together: the result goes past it
LINE_BYTES = 64
RUN_PIXELS = 128  # that a tile of sums takes at a time: so many multiply-adds for reading the sums and writing them
LONG_BYTES = 1 << 10  # pixels a multiple of that apart compete for a few lines of the L1 cache: rows are copied
CLASSES = 4  # in a run, see `filter_channels`


class _Weights(NamedTuple):
    """Where the weights of a class of results begin, and steps in bytes from tap to tap."""

    first: Address
    step0: int
    step1: int
    step2: int


class _Job(NamedTuple):
    classes: int
    channels: int
    band: int  # channels at a time
    rows: int  # of each class in an image, the most there are
    parts: int  # pieces of an image
    stream: int  # 1: results go past the caches
    lines: int  # taps along the first two axes: rows that a window reads


def filter_channels(
    classes: Sequence[tuple[Windows, Taps]],
    weights: np.ndarray,
    last: Finish = NOTHING,
    tile: ChannelTile | None = None,
) -> None:
    """y from the windows of x and weights (C, M, T0, T1, T2), M the members of a group.

    y may be in several classes, the residues of an input gradient, each with windows and taps of its own; they are
    computed together, row by row, because they share rows of x.  ``last``: what is done with the results.  ``tile``:
    one that upsamples; the windows' last axis is then that of the convolution whose input gradient y is, whole.
    """
    (channels, members), size = weights.shape[:2], weights.itemsize
    taps0, taps1, taps2 = weights.shape[2:]
    first = classes[0][0]
    if tile is None:
        known = first.taps2 if len(classes) == 1 and first.dilation2 == 1 else 0
        tile = filter_tile(weights.dtype.name, channels, members, known, first.stride2)
    if tile.long:
        filter_long(first, weights, classes[0][1], tile, last)
        return

    rows = by_channel(weights, (range(taps0), range(taps1), range(taps2)), channels)
    steps = rows.strides[1:4]
    pixels = sum(w.batch * w.out0 * w.out1 * w.out2 for w, _ in classes)
    moved = (pixels + first.batch * first.size0 * first.size1 * first.size2) * channels * size
    lines = channels % tile.width == 0 and tile.width * size % LINE_BYTES == 0
    lines &= moved > STREAM_BYTES and not last.scale  # `finish` reads what was written
    for begin in range(0, len(classes), CLASSES):
        some = classes[begin : begin + CLASSES]
        most = max(w.out0 * w.out1 for w, _ in some)
        parts = max(1, min(-(-PIECES // first.batch), most // PART_ROWS))
        places = [place for w, _ in some for place in (w.y, w.y_image, w.y_step0, w.y_step1, w.y_step2)]
        stream = lines and all(place % LINE_BYTES == 0 for place in places)
        band = max(1, WEIGHT_BYTES // (weights[0].nbytes * tile.width)) * tile.width
        numbers: list[Any] = [_Job(len(some), channels, band, most, parts, int(stream), taps0 * taps1), last]
        for w, taps in some:
            start = address(rows) + sum(chosen[0] * step for chosen, step in zip(taps, steps) if chosen)
            numbers += [w, _Weights(start, *(chosen.step * step for chosen, step in zip(taps, steps)))]
        run(_filter_piece, tile, tuple(numbers), first.batch * parts, 2 * pixels * weights.size / FLOPS)


@native
def _filter_piece(tile: Any, arguments: int, piece: int) -> None:
    """Some rows of an image, of each class."""
    job = read(_Job, arguments)
    last = read(Finish, arguments + 8 * len(job))
    n, part = piece // job.parts, piece % job.parts
    table = allocate(16 * job.lines)  # of each line where its row of x begins, and its weights
    for row in range(part * job.rows // job.parts, (part + 1) * job.rows // job.parts):
        at = arguments + 8 * (len(job) + len(last))
        for _ in range(job.classes):
            w = read(Windows, at)
            weights = read(_Weights, at + 8 * len(w))
            at += 8 * (len(w) + len(weights))
            if row < w.out0 * w.out1:
                _filter_row(tile, w, weights, job, last, n, row, table)
    finish_streams()
    free(table)


@native
def _filter_row(tile: Any, w: Any, weights: Any, job: Any, last: Any, n: int, row: int, table: int) -> None:
    o, p = row // w.out1, row % w.out1
    count = 0
    for r0 in range(w.taps0):
        for r1 in range(w.taps1):
            j0, j1 = o * w.stride0 - w.low0 + r0 * w.dilation0, p * w.stride1 - w.low1 + r1 * w.dilation1
            if 0 <= j0 < w.size0 and 0 <= j1 < w.size1:
                write_number(table, 2 * count, w.x + n * w.x_image + j0 * w.x_step0 + j1 * w.x_step1)
                write_number(table, 2 * count + 1, weights.first + r0 * weights.step0 + r1 * weights.step1)
                count += 1
    place = w.y + n * w.y_image + o * w.y_step0 + p * w.y_step1
    pixels = min(tile.rows, w.out2)
    for begin in range(0, job.channels, job.band):
        for i in range(0, w.out2, tile.rows):
            q = min(i, w.out2 - pixels)  # the last moved back
            if tile.upsamples:
                q += q % tile.stride
            if job.stream and count and begin == 0:
                _fetch_next(tile, w, number(table, 2 * count - 2), q)
            some = min(pixels, w.out2 - q)
            _filter_step(tile, w, weights, job, last, table, count, q, some, begin, place + q * w.y_step2)


@native
def _first_pixel(tile: Any, w: Any, q: int) -> int:
    """What pixel q's window begins with; of pixels that are upsampled, the windows of those from q on."""
    if tile.upsamples:
        return (q + w.low2 - tile.phase) // tile.stride - tile.low
    return q * w.stride2 - w.low2


@native
def _filter_step(
    tile: Any, w: Any, weights: Any, job: Any, last: Any, table: int, count: int, q: int, pixels: int, begin: int,
    place: int,
) -> None:  # fmt: skip
    """The pixels from q on, a band of channels from ``begin`` on, with the taps that do not read padding alone."""
    j = _first_pixel(tile, w, q)
    s, stop = 0, w.taps2
    if tile.told:
        end = j + (pixels - 1) * w.stride2  # what the last pixel's window begins with
        s = min(w.taps2, max(0, -(end // w.dilation2)))
        stop = max(s, min(w.taps2, (w.size2 - 1 - j) // w.dilation2 + 1))
    for c in range(begin, min(begin + job.band, job.channels), tile.width):
        shift = min(c, job.channels - tile.width) * tile.itemsize
        y = place + shift
        filter_run(
            tile, table, count, stop - s, shift, j + s * w.dilation2, w.size2, w.x_step2, w.stride2, w.dilation2,
            w.zeros, shift + s * weights.step2, weights.step2, job.channels * tile.itemsize, y, w.y_step2, pixels,
            job.stream,
        )  # fmt: skip
        for i in range(pixels if last.scale != 0 else 0):
            finish(tile, last, y + i * w.y_step2, shift // tile.itemsize, tile.width)


@native
def _fetch_next(tile: Any, w: Any, row: int, q: int) -> None:
    """Ask for what the pixels from q on read in the rows after ``row``, the last that they read in this one."""
    place, length = row + (_first_pixel(tile, w, q) + (w.taps2 - 1) * w.dilation2) * w.x_step2, tile.rows * w.stride2
    if tile.upsamples:
        length = tile.pixels
    for _ in range(w.stride1):
        place += w.x_step1
        for i in range(0, length * w.x_step2, LINE_BYTES):
            prefetch(place + i)


class _Sum(NamedTuple):
    channels: int
    part_rows: int
    rows: int  # of g that a tile sums at a time, and pixels of each
    run: int
    copied: int  # bytes from pixel to pixel in copied rows of x; 0: they are read where they are
    taps1: int  # rounded up to whole tiles
    taps2: int
    sums: Address  # (parts, T0, taps1, taps2, members, vectors * width)


def weight_sums(windows: Windows, dw: np.ndarray) -> None:
    """dw (C, M, T0, T1, T2): sum over the pixels of x's windows times g, which stands at windows.y."""
    w, (channels, members) = windows, dw.shape[:2]
    tile = sum_tile(dw.dtype.name, channels, members, (w.taps1, w.taps2), w.stride2 if w.dilation2 == 1 else 0)
    taps1, taps2 = -(-w.taps1 // tile.lines) * tile.lines, -(-w.taps2 // tile.taps) * tile.taps
    taps, vectors = w.taps0 * taps1 * taps2, -(-channels // tile.width)
    rows = w.batch * w.out0 * w.out1
    parts = channel_parts(rows, w.out2)
    part_rows = -(-rows // parts)
    parts = -(-rows // part_rows)
    sums = borrow("sums", (parts, taps * members, vectors * tile.width), dw.dtype)
    copied = 0
    if w.x_step2 % LONG_BYTES == 0:  # an odd number of lines: no two neighbours compete
        copied = (-(-channels * dw.itemsize // LINE_BYTES) | 1) * LINE_BYTES
    length = -(-w.out2 // -(-w.out2 // RUN_PIXELS))
    at_once = max(1, min(part_rows, w.out1, RUN_PIXELS // length))
    job = _Sum(channels, part_rows, at_once, length, copied, taps1, taps2, address(sums))
    run(_sum_piece, tile, (w, job), parts, 2 * rows * w.out2 * dw.size / FLOPS)
    result = _Result(
        address(sums), sums[0].nbytes, parts, vectors, channels, members, *dw.shape[2:], taps1, taps2, address(dw)
    )  # fmt: skip
    run(_deliver_piece, tile, result, dw[0].size, sums.size * 1e-9)


class _Result(NamedTuple):
    sums: Address  # (parts, rows (t, d), vectors * width)
    part_step: int  # bytes
    parts: int
    vectors: int
    channels: int
    members: int
    taps0: int
    taps1: int
    taps2: int
    all_taps1: int  # with those that fill up a tile
    all_taps2: int
    dw: Address  # (C, M, T0, T1, T2)


@native
def _deliver_piece(tile: Any, arguments: int, piece: int) -> None:
    """Add the parts' sums of one tap and member, and put each channel's where it belongs."""
    r = read(_Result, arguments)
    item, width = tile.itemsize, tile.width
    taps = r.taps0 * r.taps1 * r.taps2
    m, t = piece % r.members, piece // r.members
    at = (t // (r.taps1 * r.taps2) * r.all_taps1 + t // r.taps2 % r.taps1) * r.all_taps2 + t % r.taps2
    row = r.sums + (at * r.members + m) * r.vectors * width * item
    for part in range(1, r.parts):
        for j in range(0, r.vectors * width * item, tile.lanes * item):
            store(row + j, load(tile, row + j) + load(tile, row + part * r.part_step + j))
    last = (r.vectors - 1) * width  # channels that are no multiple of the width: the last vectors were moved back
    place = r.dw + (m * taps + t) * item
    for c in range(r.channels):
        k = c if c < last else c - (r.channels - width) + last
        store(place + c * r.members * taps * item, load(tile.one, row + k * item))


@native
def _sum_piece(tile: Any, arguments: int, piece: int) -> None:
    """Sums over some rows of y.  If the rows of x that they read are copied, into a ring of rows."""
    w = read(Windows, arguments)
    job = read(_Sum, arguments + 8 * len(w))
    step = -(-job.channels // tile.width) * tile.width * tile.itemsize  # from row to row of sums
    plane = job.taps1 * job.taps2 * tile.group * step
    sums = job.sums + piece * w.taps0 * plane
    clear_bytes(sums, w.taps0 * plane)
    length = w.size2 * job.copied
    ring_rows = (job.taps1 - 1) * w.dilation1 + (job.rows - 1) * w.stride1 + 1
    table_bytes = -(-8 * job.rows * (1 + 2 * job.taps1) // LINE_BYTES) * LINE_BYTES
    table = allocate(table_bytes + ring_rows * length)  # where a row of g lies, and the rows of x that it reads
    ring = table + table_bytes
    end = min((piece + 1) * job.part_rows, w.batch * w.out0 * w.out1)
    for r0 in range(w.taps0):
        row, copied = piece * job.part_rows, 0  # rows of y, and of this plane of x from below its first
        while row < end:
            n, o, p = row // w.out1 // w.out0, row // w.out1 % w.out0, row % w.out1
            rows = min(job.rows, min(end - row, w.out1 - p))
            j0, j1 = o * w.stride0 - w.low0 + r0 * w.dilation0, p * w.stride1 - w.low1
            copied = max(copied, j1) if p > 0 and row > piece * job.part_rows else j1
            row += rows
            if not 0 <= j0 < w.size0:
                continue
            x = w.x + n * w.x_image + j0 * w.x_step0
            if job.copied:
                for j in range(copied, j1 + (rows - 1) * w.stride1 + (job.taps1 - 1) * w.dilation1 + 1):
                    if 0 <= j < w.size1:
                        _copy_row(tile, w, job, x + j * w.x_step1, ring + j % ring_rows * length)
                    copied = j + 1
            for k in range(rows):
                entry = k * (1 + 2 * job.taps1)
                write_number(table, entry, w.y + n * w.y_image + o * w.y_step0 + (p + k) * w.y_step1)
                for r in range(job.taps1):
                    j = j1 + k * w.stride1 + r * w.dilation1
                    place = ring + j % ring_rows * length if job.copied else x + j * w.x_step1
                    write_number(table, entry + 1 + 2 * r, place)
                    write_number(table, entry + 2 + 2 * r, w.size2 if 0 <= j < w.size1 else 0)
            _sum_rows(tile, w, job, table, rows, sums + r0 * plane, step)
    free(table)


@native
def _sum_rows(tile: Any, w: Any, job: Any, table: int, rows: int, sums: int, step: int) -> None:
    """Add what some rows of g contribute to all taps, some neighbouring pixels of all channels after others."""
    x_step = job.copied if job.copied else w.x_step2
    for q in range(0, w.out2, job.run):
        count = min(job.run, w.out2 - q)
        following = number(table, (rows - 1) * (1 + 2 * job.taps1)) + w.y_step1  # the rows of g after these
        for k in range(rows):
            for i in range(q * w.y_step2, (q + count) * w.y_step2, LINE_BYTES):
                prefetch(following + k * w.y_step1 + i)
        for c in range(0, job.channels, tile.width):
            shift = min(c, job.channels - tile.width) * tile.itemsize
            for r in range(0, job.taps1, tile.lines):
                for s in range(0, job.taps2, tile.taps):
                    # of the pixels of g, those that meet something else than padding; then those that meet none
                    j, reach = q * w.stride2 - w.low2 + s * w.dilation2, (tile.taps - 1) * w.dilation2
                    skip = min(count, max(0, -((j + reach) // w.stride2)))
                    left = max(0, min(count, (w.size2 - 1 - j) // w.stride2 + 1) - skip)
                    j += skip * w.stride2
                    low = min(left, max(0, -(j // w.stride2)))
                    inside = max(0, min(left, (w.size2 - 1 - j - reach) // w.stride2 + 1) - low)
                    sum_run(
                        tile, table, rows, 8 * (1 + 2 * job.taps1), r, shift, j, x_step, w.stride2, w.dilation2,
                        w.zeros, (q + skip) * w.y_step2 + shift, w.y_step2, left, low, inside,
                        sums + (r * job.taps2 + s) * tile.group * step + c * tile.itemsize,
                        job.taps2 * tile.group * step, step,
                    )  # fmt: skip


@native
def _copy_row(tile: Any, w: Any, job: Any, place: int, to: int) -> None:
    """The pixels of the row of x at ``place``."""
    for _ in range(w.size2):
        copy_bytes(to, place, job.channels * tile.itemsize)
        place += w.x_step2
        to += job.copied
