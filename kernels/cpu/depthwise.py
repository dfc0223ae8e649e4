"""Depthwise convolution on channels-last storage: each channel is filtered by itself, so channels are the vector.

There is no sum over channels to gain from and little arithmetic for each element read: what counts is to read x
from memory once.  A tile of a few neighbouring pixels and two vectors of channels stays in registers while the
taps pass (`tiles.depthwise_rows`); neighbours and taps find their elements of x in the L1 cache.  The weight
gradient keeps nine taps in registers while the pixels pass (`tiles.depthwise_columns`).

Groups of two, four or eight channels go the same way: each vector is multiplied once for each member of a group,
which a shuffle puts in the place of its neighbours.

Channels that fill no vector are computed with the last whole vector, moved back: some twice, none by themselves.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from ..workspace import borrow
from .finish import NOTHING, Finish, finish
from .pieces import Address, read, run
from .products import FLOPS, PIECES
from .simd import address_of, keep, load, store
from .tiles import depthwise_columns, depthwise_rows, depthwise_run, depthwise_taps_tile, depthwise_tile
from .windows import (
    Windows,
    address,
    fill_run,
    fill_tables,
    finish_tile,
    next_pixel,
    pixel_count,
    split_pixel,
    tap_count,
)

CHUNK_TILES = 64
CHUNK_PIXELS = 256
TABLE_ENTRIES = 1 << 14
PART_PIXELS = 192  # at least, in each of the parts that threads sum


class _Job(NamedTuple):
    channels: int
    chunk: int  # pixels
    weights: Address  # (taps, members, C)
    # or of the weight gradient's sums: (parts, blocks of taps, rows, members, vectors * width)
    parts: int
    part_pixels: int


def filter_channels(windows: Windows, weights: np.ndarray, last: Finish = NOTHING) -> None:
    """y (windows.y) from the windows of x and weights (C, M, T0, T1, T2), M the members of a group.

    ``last``: what is done with the results.
    """
    w, (channels, members) = windows, weights.shape[:2]
    tile = depthwise_tile(weights.dtype.name, channels, members)
    taps = weights[0, 0].size
    rows = borrow("panels", (taps, members, channels), weights.dtype)
    order = _Order(address(weights), *weights.strides, *weights.shape[3:], members, channels, address(rows))
    run(_order_piece, tile, order, taps, weights.size * 1e-9)
    pixels = w.batch * w.out0 * w.out1 * w.out2
    chunk = tile.rows * max(1, min(CHUNK_TILES, pixels // (tile.rows * PIECES)))
    job = _Job(channels, chunk, address(rows), 0, 0)
    run(_filter_piece, tile, (w, job, last), -(-pixels // chunk), 4 * pixels * weights.size / FLOPS)


class _Order(NamedTuple):
    weights: Address  # (C, M, T0, T1, T2), steps in bytes
    channel_step: int
    member_step: int
    step0: int
    step1: int
    step2: int
    taps1: int
    taps2: int
    members: int
    channels: int
    rows: Address  # (taps, M, C)


@native
def _order_piece(tile: Any, arguments: int, piece: int) -> None:
    """One tap: its weights with the channels side by side."""
    o = read(_Order, arguments)
    source = o.weights + piece // (o.taps1 * o.taps2) * o.step0
    source += piece // o.taps2 % o.taps1 * o.step1 + piece % o.taps2 * o.step2
    target = o.rows + piece * o.members * o.channels * tile.itemsize
    for d in range(o.members):
        for c in range(o.channels):
            store(target, load(tile.one, source + d * o.member_step + c * o.channel_step))
            target += tile.itemsize


@native
def _filter_piece(tile: Any, arguments: int, piece: int) -> None:
    w = read(Windows, arguments)
    job = read(_Job, arguments + 8 * len(w))
    last = read(Finish, arguments + 8 * (len(w) + len(job)))
    taps, first = tap_count(w), piece * job.chunk
    count = min(job.chunk, pixel_count(w) - first)
    table = np.empty(taps * tile.rows, np.int64)  # of one tile: (tap, row), or (tap) for a run
    results = np.empty(tile.rows, np.int64)
    row, pixel = job.channels * tile.itemsize, split_pixel(w, first)
    for m in range(first, first + count, tile.rows):
        place = fill_run(w, pixel, tile.rows, table)
        pixel = next_pixel(w, pixel, tile.rows)
        rows = min(tile.rows, first + count - m)
        if not place:
            fill_tables(w, m, rows, tile.rows, table, results)
            finish_tile(rows, tile.rows, taps, table, results)
        for c in range(0, job.channels, tile.width):
            shift = min(c, job.channels - tile.width) * tile.itemsize
            source, weights = address_of(table), job.weights + shift
            if place:
                apart = w.stride2 * w.x_step2
                depthwise_run(tile, source, taps, apart, shift, weights, row, place + shift, w.y_step2)
            else:
                depthwise_rows(tile, source, taps, shift, weights, row, address_of(results))
            for i in range(rows if last.scale != 0 else 0):
                result = place + i * w.y_step2 if place else results[i]
                finish(tile, last, result + shift, shift // tile.itemsize, tile.width)
    keep((table, results))


def weight_sums(windows: Windows, dw: np.ndarray) -> None:
    """dw (C, M, T0, T1, T2): sum over the pixels of x's windows times g, which stands at windows.y."""
    w, (channels, members) = windows, dw.shape[:2]
    tile = depthwise_taps_tile(dw.dtype.name, channels, members)
    taps, vectors = dw[0, 0].size, -(-channels // tile.width)
    blocks = -(-taps // tile.rows)
    pixels = w.batch * w.out0 * w.out1 * w.out2
    parts = max(1, min(PIECES, pixels // PART_PIXELS))
    part_pixels = -(-pixels // parts)
    parts = -(-pixels // part_pixels)
    sums = borrow("sums", (parts, blocks * tile.rows * members, vectors * tile.width), dw.dtype)
    chunk = min(part_pixels, CHUNK_PIXELS, max(16, TABLE_ENTRIES // (blocks * tile.rows)))
    job = _Job(channels, chunk, address(sums), parts, part_pixels)
    run(_sum_piece, tile, (w, job), parts, 4 * pixels * dw.size / FLOPS)
    result = _Result(address(sums), sums[0].nbytes, parts, vectors, channels, members, taps, address(dw))
    run(_deliver_piece, tile, result, taps * members, sums.size * 1e-9)


class _Result(NamedTuple):
    sums: Address  # (parts, rows (t, d), vectors * width)
    part_step: int  # bytes
    parts: int
    vectors: int
    channels: int
    members: int
    taps: int
    dw: Address  # (C, M, taps)


@native
def _deliver_piece(tile: Any, arguments: int, piece: int) -> None:
    """Add the parts' sums of one tap and member, and put each channel's where it belongs."""
    r = read(_Result, arguments)
    item, width = tile.itemsize, tile.width
    row = r.sums + piece * r.vectors * width * item
    for part in range(1, r.parts):
        for j in range(0, r.vectors * width * item, tile.lanes * item):
            store(row + j, load(tile, row + j) + load(tile, row + part * r.part_step + j))
    last = (r.vectors - 1) * width  # channels that are no multiple of the width: the last vectors were moved back
    place = r.dw + (piece % r.members * r.taps + piece // r.members) * item
    for c in range(r.channels):
        k = c if c < last else c - (r.channels - width) + last
        store(place + c * r.members * r.taps * item, load(tile.one, row + k * item))


@native
def _sum_piece(tile: Any, arguments: int, piece: int) -> None:
    w = read(Windows, arguments)
    job = read(_Job, arguments + 8 * len(w))
    taps, vectors = tap_count(w), -(-job.channels // tile.width)
    blocks = -(-taps // tile.rows)
    begin = piece * job.part_pixels
    end = min(begin + job.part_pixels, pixel_count(w))
    table = np.empty(blocks * tile.rows * job.chunk, np.int64)  # (tap, pixel)
    table[taps * job.chunk :] = w.zeros  # taps that fill up the last block
    places = np.empty(job.chunk, np.int64)  # of g's pixels
    row, width = vectors * tile.width * tile.itemsize, tile.width * tile.itemsize
    for m in range(begin, end, job.chunk):
        count = min(job.chunk, end - m)
        fill_tables(w, m, count, job.chunk, table, places)
        for t in range(0, taps, tile.rows):
            for v in range(vectors):
                shift = min(v * tile.width, job.channels - tile.width) * tile.itemsize
                result = job.weights + (piece * blocks * tile.rows + t) * tile.group * row + v * width
                depthwise_columns(
                    tile, address_of(table) + t * job.chunk * 8, job.chunk, count, shift, address_of(places), result,
                    row, m - begin,
                )  # fmt: skip
    keep((table, places))
