"""Tiles of Winograd's convolution on their way in and out: images -> transformed blocks of tiles -> images.

The idea: an image (or g) is cut into tiles of n x n positions that begin m positions apart, so they overlap by the
kernel's reach; results are tiles of m x m that do not.  `transform_tiles` reads a tile, transforms it (`sandwich`) and
shares out its n x n numbers among as many matrices, row t of each belonging to tile t; `deliver_tiles` collects row t
of the n x n products, transforms back and writes m x m results.

The blocking: a thread has one block of tiles in hand, which stays in its L2 cache from the one to the other.

A vector is as many channels of one position as a register holds.  Where a tile hangs over the edge, or channels do not
fill a vector, it goes through a *patch*, a tile of one vector in memory, which is zero where the image is not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from ..workspace import borrow
from .finish import finish
from .pieces import Address
from .places import address
from .simd import address_of, clear_bytes, copy_bytes, keep, load, store
from .winograd_tiles import Tiling, row_bytes, scratch_bytes
from .winograd_transforms import Scheme, sandwich


class Image(NamedTuple):
    """Where tiles lie in an array (N, C, H, W), channels-last."""

    address: Address
    image_step: int  # bytes
    row_step: int
    column_step: int
    rows: int
    columns: int
    top: int  # position of the first tile's first element, which may lie in the padding
    left: int
    m: int  # elements from tile to tile
    row_gap: int  # positions from element to element: each phase of so many is covered by tiles of its own
    column_gap: int
    down: int  # tiles of an image
    across: int


def image(a: np.ndarray, t: Tiling, top: int = 0, left: int = 0) -> Image:
    """The tiles that ``t`` cuts, the first one beginning at (top, left)."""
    n, _, row, column = a.strides
    return Image(address(a), n, row, column, *a.shape[2:], top, left, t.m, *t.apart, t.down, t.across)


class Block(NamedTuple):
    """V, and M or the transformed g, of a block: [point][tile, channel], in a thread's own memory."""

    scratch: Address  # (workers, V and M)
    worker_bytes: int
    v_row: int  # bytes from tile to tile
    v_plane: int  # from point to point
    m: int  # from the beginning of V to that of M
    m_row: int
    m_plane: int


def scratch(t: Tiling, scheme: Scheme, workers: int) -> Block:
    """Memory for the blocks that ``workers`` threads have in hand at a time."""
    v, m = scratch_bytes(t, scheme.itemsize, scheme.tile.width)
    memory = borrow("winograd", (workers, v + m), np.dtype(np.uint8))
    v_row, m_row = row_bytes(t.depth, scheme.itemsize), row_bytes(t.band * scheme.tile.width, scheme.itemsize)
    return Block(address(memory), v + m, v_row, v // t.points, v, m_row, m // t.points)


@native
def addresses(first: int, step: int, count: int) -> Any:
    """first, first + step, ...: where the rows of a product lie.  (``np.arange`` takes a second to compile.)"""
    table = np.empty(count, np.int64)
    for i in range(count):
        table[i] = first + i * step
    return table


@native
def transform_tiles(
    kind: Any, x: Any, first: int, count: int, begin: int, channels: int, target: int, row: int, plane: int,
    width: int, panel: int,
) -> None:  # fmt: skip
    """The tiles first, ..., transformed: target[point][channel // width][tile][channel % width].

    ``plane``, ``panel`` and ``row`` are the bytes from point to point, panel to panel and tile to tile.
    Where a tile reaches beyond x, and where channels fill no vector, what there is of it is copied into zeros.
    """
    size, lanes = kind.size, kind.lanes
    vector = lanes.lanes * lanes.itemsize
    patch = np.empty(size * size * vector, np.uint8)
    for t in range(count):
        n, top, left = place_of_tile(x, first + t)
        r0, r1 = below(0, top, x.row_gap, size), below(x.rows, top, x.row_gap, size)
        s0, s1 = below(0, left, x.column_gap, size), below(x.columns, left, x.column_gap, size)
        inside = r0 == 0 and s0 == 0 and r1 == size and s1 == size
        if not inside:
            clear_bytes(address_of(patch), size * size * vector)
        tile = x.address + n * x.image_step + top * x.row_step + left * x.column_step + begin * lanes.itemsize
        for c in range(0, channels, lanes.lanes):
            source, down, across = tile + c * lanes.itemsize, x.row_gap * x.row_step, x.column_gap * x.column_step
            real = min(vector, (channels - c) * lanes.itemsize)
            if not inside or real < vector:
                for r in range(r0, r1):
                    for s in range(s0, s1):
                        to, origin = address_of(patch) + (r * size + s) * vector, source + r * down + s * across
                        if real == vector:
                            store(to, load(lanes, origin))
                        else:
                            copy_bytes(to, origin, real)
                source, down, across = address_of(patch), size * vector, vector
            to = target + c // width * panel + t * row + c % width * lanes.itemsize
            sandwich(kind, to, kind.height * plane, plane, source, down, across)
    keep((patch,))


@native
def deliver_tiles(
    scheme: Any, y: Any, first: int, count: int, begin: int, columns: int, source: int, row: int, plane: int,
    last: Any, stream: int,
) -> None:  # fmt: skip
    """The way back: y of the tiles from their sums [point][tile][column]; what lies beyond y is dropped.

    ``last``: a `Finish`, what is done with the results.  ``stream``: not 0 if they go past the caches, where they are
    whole vectors.
    """
    m, size, lanes = scheme.m, scheme.n, scheme.lanes
    vector = lanes.lanes * lanes.itemsize
    patch = np.empty(m * m * vector, np.uint8)
    down, right = y.row_gap * y.row_step, y.column_gap * y.column_step
    for t in range(count):
        n, top, left = place_of_tile(y, first + t)
        rows, across = below(y.rows, top, y.row_gap, m), below(y.columns, left, y.column_gap, m)
        inside = rows == m and across == m
        tile = y.address + n * y.image_step + top * y.row_step + left * y.column_step + begin * lanes.itemsize
        for k in range(0, columns, lanes.lanes):
            place, real = tile + k * lanes.itemsize, min(vector, (columns - k) * lanes.itemsize)
            whole = inside and real == vector
            to, to_row, to_column = address_of(patch), m * vector, vector
            if whole:
                to, to_row, to_column = place, down, right
            origin = source + t * row + k * lanes.itemsize
            if whole and stream:
                sandwich(scheme.streamed, to, to_row, to_column, origin, size * plane, plane)
            else:
                sandwich(scheme.output, to, to_row, to_column, origin, size * plane, plane)
            if not whole:
                for r in range(rows):
                    for s in range(across):
                        origin, to = address_of(patch) + (r * m + s) * vector, place + r * down + s * right
                        if real == vector:
                            store(to, load(lanes, origin))
                        else:
                            copy_bytes(to, origin, real)
            for r in range(rows if last.scale != 0 else 0):
                for s in range(across):
                    finish(lanes, last, place + r * down + s * right, begin + k, real // lanes.itemsize)
    keep((patch,))


@native
def place_of_tile(x: Any, tile: int) -> tuple[int, int, int]:
    """Tile's image, and the row and column of its first element."""
    rest, j = tile // x.across, tile % x.across
    n, i = rest // x.down, rest % x.down
    top = i // x.row_gap * x.row_gap * x.m + i % x.row_gap
    left = j // x.column_gap * x.column_gap * x.m + j % x.column_gap
    return n, x.top + top, x.left + left


@native
def below(limit: int, first: int, gap: int, most: int) -> int:
    """How many of the positions first, first + gap, ..., ``most`` of them, lie below ``limit``."""
    if first + (most - 1) * gap < limit:
        return most
    return max(0, -((first - limit) // gap))
