"""Panels: the second operand of a product, rearranged so that a register tile reads it from front to back.

A matrix b with J columns is cut into panels of ``tile.width`` columns.  A panel stores its rows one after another
(taps outermost, then channels), ``width`` elements each, missing columns zero.  The last columns get a
tile that is a vector wider, few columns one that is narrower.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..constants import made_of
from ..jit import native
from .pieces import Address, read, run
from .places import address
from .simd import address_of, clear_bytes, copy_bytes, keep, load, store, transpose
from .tiles import Tile


def bands(columns: int, tile: Tile) -> list[tuple[Tile, int, int]]:
    """(tile, first, stop): the columns that are cut into panels as wide as a tile, and the rest.

    What would fit into one vector goes with the columns before it: by itself it would load as much as it multiplies.

    >>> wide = Tile("float32", 16, 8, 2)
    >>> [[(t.width, first, stop) for t, first, stop in bands(k, wide)] for k in (6, 64, 80, 90)]
    [[(8, 0, 6)], [(32, 0, 64)], [(32, 0, 32), (48, 32, 80)], [(32, 0, 90)]]
    """
    rest = columns % tile.width
    if not 0 < rest <= tile.lanes:
        return [(tile, 0, columns)]
    if columns == rest:
        return [(tile.narrow(columns), 0, columns)]
    first = columns - rest - tile.width
    wider = (tile.widen(), first, columns)
    return [(tile, 0, first), wider] if first else [wider]


SHARE = 4  # panels of a piece of work, at most: longer runs of b's rows, which lie pages apart
PIECES = 8  # wanted, for the threads


class _Packing(NamedTuple):
    b: Address
    group_step: int  # bytes
    column_step: int
    channel_step: int
    tap0_step: int
    tap1_step: int
    tap2_step: int
    taps0: int
    taps1: int
    taps2: int
    inner: int  # channel o * inner + i lies o * outer_step + i * channel_step from the first
    outer_step: int
    depth: int
    first: int
    columns: int
    count: int  # panels
    panels: Address
    panel_bytes: int  # of one panel
    share: int  # panels of a piece of work


def pack(b: np.ndarray, tile: Tile, first: int, stop: int, name: str = "panels", merged: bool = False) -> np.ndarray:
    """Panels of the columns first, ..., stop - 1 of b (G, J, C, T0, T1, T2), any strides; memory of `made_of`.

    (G, panels, taps, C, width); ``merged``: the T2 taps of a row count as channels, t2 * C + c of one tap.
    """
    groups, _, depth, *taps = b.shape
    inner, outer_step = depth, 0
    if merged:
        depth, outer_step, taps[2] = depth * taps[2], b.strides[5], 1
    count = -(-(stop - first) // tile.width)
    size = taps[0] * taps[1] * taps[2] * depth * tile.width * b.itemsize
    share = max(1, min(SHARE, groups * count // PIECES))

    def fill(panels: np.ndarray) -> None:
        numbers = _Packing(
            address(b), *b.strides, *taps, inner, outer_step, depth, first, stop - first, count, address(panels), size,
            share,
        )  # fmt: skip
        run(_pack_piece, tile, numbers, groups * -(-count // share), b.size * 1e-9)

    shape = groups, count, taps[0] * taps[1] * taps[2], depth, tile.width
    return made_of(b, (tile, first, merged), shape, b.dtype, name, fill)


@native
def _pack_piece(tile: Any, arguments: int, piece: int) -> None:
    p = read(_Packing, arguments)
    shares = -(-p.count // p.share)
    group, panel = piece // shares, piece % shares * p.share
    panels = min(p.share, p.count - panel)
    to = p.panels + (group * p.count + panel) * p.panel_bytes
    source = p.b + group * p.group_step + (p.first + panel * tile.width) * p.column_step
    left = p.columns - panel * tile.width
    if _taps_are_neighbours(tile, p):
        for i in range(panels):
            begin = i * tile.width
            columns = min(tile.width, left - begin)
            _pack_panel(tile, p, to + i * p.panel_bytes, source + begin * p.column_step, columns)
        return
    last = to + (panels - 1) * p.panel_bytes
    if left < panels * tile.width:
        clear_bytes(last, p.panel_bytes)
    for c in range(p.depth):
        for t in range(p.taps0 * p.taps1 * p.taps2):
            row, origin = to + (t * p.depth + c) * tile.width * tile.itemsize, source + _offset(p, c, t)
            for i in range(panels):
                _copy_row(tile, row, origin, p.column_step, min(tile.width, left - i * tile.width))
                row, origin = row + p.panel_bytes, origin + tile.width * p.column_step


@native
def _copy_row(tile: Any, to: int, source: int, step: int, count: int) -> None:
    """``count`` elements, ``step`` bytes apart, side by side."""
    if step != tile.itemsize:
        for j in range(count):
            store(to + j * tile.itemsize, load(tile.one, source + j * step))
    elif count == tile.width:
        for j in range(0, tile.width, tile.lanes):
            store(to + j * tile.itemsize, load(tile, source + j * tile.itemsize))
    else:
        copy_bytes(to, source, count * tile.itemsize)


@native
def _pack_panel(tile: Any, p: Any, to: int, source: int, columns: int) -> None:
    """A panel of columns whose element i = c * taps + t is channel c at tap t."""
    width, taps = tile.width * tile.itemsize, p.taps0 * p.taps1 * p.taps2
    if columns < tile.width:
        clear_bytes(to, p.panel_bytes)
    done = 0
    if columns == tile.width:
        done = p.depth * taps // tile.lanes * tile.lanes
        block = np.empty(tile.lanes * width, np.uint8)
        for i in range(0, done, tile.lanes):
            for j in range(0, tile.width, tile.lanes):
                transpose(
                    tile, address_of(block) + j * tile.itemsize, width,
                    source + j * p.column_step + i * tile.itemsize, p.column_step,
                )  # fmt: skip
            for m in range(i, i + tile.lanes):
                row = to + (m % taps * p.depth + m // taps) * width
                for j in range(0, width, tile.lanes * tile.itemsize):
                    store(row + j, load(tile, address_of(block) + (m - i) * width + j))
        keep((block,))
    for m in range(done, p.depth * taps):
        place = to + (m % taps * p.depth + m // taps) * width
        _copy_row(tile, place, source + m * tile.itemsize, p.column_step, columns)


@native
def _offset(p: Any, c: int, t: int) -> int:
    """Bytes from a column's begin to its channel c at tap t."""
    return (
        c // p.inner * p.outer_step
        + c % p.inner * p.channel_step
        + t // (p.taps1 * p.taps2) * p.tap0_step
        + t // p.taps2 % p.taps1 * p.tap1_step
        + t % p.taps2 * p.tap2_step
    )


@native
def _taps_are_neighbours(tile: Any, p: Any) -> bool:
    """Whether channel c at tap t is element c * taps + t of its column, as in contiguous weights."""
    size = tile.itemsize
    row, plane = p.taps2 * size, p.taps1 * p.taps2 * size
    fits = p.inner == p.depth and (p.tap2_step == size or p.taps2 == 1) and (p.tap1_step == row or p.taps1 == 1)
    return fits and (p.tap0_step == plane or p.taps0 == 1) and p.channel_step == p.taps0 * plane
