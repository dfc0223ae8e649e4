"""Panels: the second operand of a product, rearranged so that a register tile reads it from front to back.

A matrix b with J columns is cut into panels of ``tile.width`` columns.  A panel stores its rows one after another
(taps outermost, then channels), ``width`` elements each, missing columns zero.  Where one vector suffices for
what is left of the columns, the last panel is only that wide.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..jit import njit
from ..workspace import borrow
from .pieces import read, run
from .simd import clear_bytes, copy_bytes, load, store, transpose
from .tiles import Tile
from .windows import address


def bands(columns: int, tile: Tile) -> list[tuple[Tile, int, int]]:
    """(tile, first, stop): the columns that are cut into panels as wide as a tile, and the rest.

    >>> wide = Tile("float32", 16, 14, 2)
    >>> [[(t.width, first, stop) for t, first, stop in bands(k, wide)] for k in (8, 64, 80, 90)]
    [[(16, 0, 8)], [(32, 0, 64)], [(32, 0, 64), (16, 64, 80)], [(32, 0, 90)]]
    """
    rest = columns % tile.width
    if not 0 < rest <= tile.lanes:
        return [(tile, 0, columns)]
    return [(t, a, b) for t, a, b in ((tile, 0, columns - rest), (tile.narrow, columns - rest, columns)) if a < b]


class _Packing(NamedTuple):
    b: int
    group_step: int  # bytes
    column_step: int
    channel_step: int
    tap0_step: int
    tap1_step: int
    tap2_step: int
    taps0: int
    taps1: int
    taps2: int
    depth: int
    first: int
    columns: int
    count: int  # panels
    panels: int
    panel_bytes: int  # of one panel


def pack(b: np.ndarray, tile: Tile, first: int, stop: int, name: str = "panels") -> np.ndarray:
    """Panels of the columns first, ..., stop - 1 of b (G, J, C, T0, T1, T2), any strides; borrowed memory.

    (G, panels, taps, C, width)
    """
    groups, _, depth, *taps = b.shape
    count = -(-(stop - first) // tile.width)
    panels = borrow(name, (groups, count, taps[0] * taps[1] * taps[2], depth, tile.width), b.dtype)
    if panels.size:
        size = panels[0, 0].nbytes
        numbers = _Packing(
            address(b), *b.strides, *taps, depth, first, stop - first, count, address(panels), size
        )  # fmt: skip
        run(_pack_piece, tile, numbers, groups * count, b.size * 1e-9)
    return panels


@njit
def _pack_piece(tile: Any, arguments: int, piece: int) -> None:
    p = read(_Packing, arguments)
    group, panel = piece // p.count, piece % p.count
    to = p.panels + piece * p.panel_bytes
    k = panel * tile.width
    source = p.b + group * p.group_step + (p.first + k) * p.column_step
    real = min(tile.width, p.columns - k)
    if real < tile.width:
        clear_bytes(to, p.panel_bytes)
    for t0 in range(p.taps0):
        for t1 in range(p.taps1):
            for t2 in range(p.taps2):
                origin = source + t0 * p.tap0_step + t1 * p.tap1_step + t2 * p.tap2_step
                _pack_matrix(tile, to, origin, p.column_step, p.channel_step, p.depth, real)
                to += p.depth * tile.width * tile.itemsize


@njit
def _pack_matrix(tile: Any, to: int, origin: int, column_step: int, channel_step: int, depth: int, real: int) -> None:
    """One tap: row c of the panel gets the elements c of the columns."""
    width = tile.width * tile.itemsize
    if column_step == tile.itemsize:  # the columns lie side by side
        for c in range(depth):
            copy_bytes(to + c * width, origin + c * channel_step, real * tile.itemsize)
        return
    blocks = 0
    if channel_step == tile.itemsize:  # the channels do
        blocks = depth // tile.lanes * tile.lanes
        for c in range(0, blocks, tile.lanes):
            for j in range(0, real - real % tile.lanes, tile.lanes):
                transpose(
                    tile, to + c * width + j * tile.itemsize, width, origin + j * column_step + c * channel_step,
                    column_step,
                )  # fmt: skip
    for c in range(depth):
        for j in range(real - real % tile.lanes if c < blocks else 0, real):
            value = load(tile.one, origin + j * column_step + c * channel_step)
            store(to + c * width + j * tile.itemsize, value)
