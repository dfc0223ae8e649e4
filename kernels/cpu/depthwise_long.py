"""Depthwise convolution with long kernels, as 31 x 31: so many taps that only the registers and the L2 cache count.

A piece of work takes the channels of one register tile and copies the rows of x that it reads, with their padding,
pixel after pixel.  The copy stays in the L2 cache, as do the weights of these channels, packed likewise: in x
and in the weights themselves they are scattered, over few lines of the cache that it can keep at the same time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from .depthwise_tiles import ChannelTile, filter_run
from .depthwise_weights import Taps, by_channel
from .finish import Finish, finish
from .pieces import Address, allocate, free, read, run, write_number
from .places import address
from .products import FLOPS
from .simd import clear_bytes, copy_bytes
from .windows import Windows

PIECES = 16  # wanted, for the threads
ROWS_BYTES = 512 << 10  # of copied rows


class _Long(NamedTuple):
    channels: int
    members: int
    tiles: int  # of channels
    parts: int  # of the rows of y
    part_rows: int
    rows: int  # of each plane of x that a part reads
    row_bytes: int  # of a copied one
    weights: Address  # (tiles, T0, T1, T2, M, width)


def filter_long(windows: Windows, weights: np.ndarray, taps: Taps, tile: ChannelTile, last: Finish) -> None:
    """y from the windows of x, neighbours along their last axis, and taps of the weights (C, M, T0, T1, T2).

    M is the number of members of a group.
    """
    w, (channels, members) = windows, weights.shape[:2]
    tiles, pixel = -(-channels // tile.width), tile.width * tile.itemsize
    packed = by_channel(weights, taps, tile.width)
    row_bytes = (max(w.out2, tile.rows) + w.taps2 - 1) * pixel
    halo = (w.taps1 - 1) * w.dilation1
    part_rows = max(w.taps1, (ROWS_BYTES // (w.taps0 * row_bytes) - halo) // w.stride1)
    parts = max(-(-w.out1 // part_rows), min(w.out1, PIECES // (w.batch * w.out0 * tiles)))
    part_rows = -(-w.out1 // parts)
    parts = -(-w.out1 // part_rows)
    rows = (part_rows - 1) * w.stride1 + halo + 1
    job = _Long(channels, members, tiles, parts, part_rows, rows, row_bytes, address(packed))
    seconds = 2 * w.batch * w.out0 * w.out1 * w.out2 * weights.size / FLOPS
    run(_long_piece, tile, (w, job, last), w.batch * w.out0 * parts * tiles, seconds)


@native
def _long_piece(tile: Any, arguments: int, piece: int) -> None:
    """Some rows of a plane of y, the channels of one tile."""
    w = read(Windows, arguments)
    job = read(_Long, arguments + 8 * len(w))
    last = read(Finish, arguments + 8 * (len(w) + len(job)))
    t, part = piece % job.tiles, piece // job.tiles % job.parts
    n, o = piece // job.tiles // job.parts // w.out0, piece // job.tiles // job.parts % w.out0
    pixel, channel = tile.width * tile.itemsize, min(t * tile.width, job.channels - tile.width)
    step, shift = job.members * pixel, channel * tile.itemsize  # from tap to tap; from the first channel
    weights = job.weights + t * w.taps0 * w.taps1 * w.taps2 * step
    table = allocate(16 * w.taps0 * w.taps1 + 64 + w.taps0 * job.rows * job.row_bytes)
    copy = (table + 16 * w.taps0 * w.taps1 + 63) // 64 * 64
    begin, stop = part * job.part_rows, min((part + 1) * job.part_rows, w.out1)
    for r in range(w.taps0 * job.rows):
        j0 = o * w.stride0 - w.low0 + r // job.rows * w.dilation0
        j1 = begin * w.stride1 - w.low1 + r % job.rows
        if 0 <= j0 < w.size0 and 0 <= j1 < w.size1:
            source = w.x + n * w.x_image + j0 * w.x_step0 + j1 * w.x_step1 + shift
            _copy_pixels(w, source, pixel, copy + r * job.row_bytes, job.row_bytes)
    for p in range(begin, stop):
        count = 0
        for r0 in range(w.taps0):
            for r1 in range(w.taps1):
                j0, j1 = o * w.stride0 - w.low0 + r0 * w.dilation0, p * w.stride1 - w.low1 + r1 * w.dilation1
                if 0 <= j0 < w.size0 and 0 <= j1 < w.size1:
                    row = r0 * job.rows + (p - begin) * w.stride1 + r1 * w.dilation1
                    write_number(table, 2 * count, copy + row * job.row_bytes)
                    write_number(table, 2 * count + 1, weights + (r0 * w.taps1 + r1) * w.taps2 * step)
                    count += 1
        pixels = min(tile.rows, w.out2)
        for i in range(0, w.out2, tile.rows):
            q = min(i, w.out2 - pixels)  # the last moved back
            s = min(w.taps2, max(0, w.low2 - q - pixels + 1))  # taps that do not read padding alone
            taps = max(0, min(w.taps2, w.size2 + w.low2 - q) - s)
            y = w.y + n * w.y_image + o * w.y_step0 + p * w.y_step1 + q * w.y_step2 + shift
            filter_run(
                tile, table, count, taps, 0, q + s, 0, pixel, 1, 1, 0, s * step, step, pixel, y, w.y_step2, pixels, 0
            )
            for k in range(pixels if last.scale != 0 else 0):
                finish(tile, last, y + k * w.y_step2, channel, tile.width)
    free(table)


@native
def _copy_pixels(w: Any, source: int, pixel: int, to: int, length: int) -> None:
    """``pixel`` bytes of each pixel of the row at ``source``, with the row's padding."""
    low = min(max(0, w.low2 * pixel), length)
    stop = min(max(low, (w.low2 + w.size2) * pixel), length)
    clear_bytes(to, low)
    for i in range(low, stop, pixel):
        copy_bytes(to + i, source + (i // pixel - w.low2) * w.x_step2, pixel)
    clear_bytes(to + stop, length - stop)
