"""The product of few rows and a large matrix that lies row by row: the gradient of a linear layer's input.

The idea: y[i, :] is the sum over k of a[i, k] times row k of b.  A register tile holds some columns of a few rows of y,
and reads as many columns of the rows of b, one after the other, where they lie (`columns_times_panel`).

The blocking: memory takes the time, and b should be read once.  A piece of work has the columns of some register tiles
(a *slab*).  It takes a few rows of b at a time (a *chunk*), so that what the first tile has read is in the caches for
the others; between chunks its sums lie in scratch memory, panel by panel.  Rows of a chunk lie far from one another, so
that no processor guesses what is read next: while one panel is multiplied, the next one is asked for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from .pieces import LINE, Address, allocate, free, read, run, write_number
from .places import address
from .products import FLOPS
from .simd import copy_bytes, prefetch
from .tiles import columns_tile, columns_times_panel

CHUNK = 16  # rows of b; more would drive each other out of the L1 cache where they lie a multiple of a page apart
SLAB = 16  # panels


class _Job(NamedTuple):
    a: Address  # (K, M), and zeros up to a tile's rows
    a_step: int  # bytes
    b: Address
    b_step: int
    y: Address
    y_step: int
    rows: int
    depth: int
    columns: int
    panels: int


def supports(b: np.ndarray) -> bool:
    """Whether the rows of b lie side by side and fill a register tile."""
    return b.strides[1] == b.itemsize and b.shape[1] >= columns_tile(b.dtype.name).width


def rows_times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a (M, K) @ b (K, N) -> (M, N), for b that is supported; float32 or float64, K > 0.

    Products are summed in their dtype, in an order that depends on the shapes only.

    >>> rows_times(np.array([[1.0, 2.0]]), np.ones((2, 50)))[0, :3]
    array([3., 3., 3.])
    """
    (m, depth), n = a.shape, b.shape[1]
    tile = columns_tile(a.dtype.name, depth=m)
    turned = np.zeros((depth, -(-m // tile.rows) * tile.rows), a.dtype)
    turned[:, :m] = a.T
    y, panels = np.empty((m, n), a.dtype), -(-n // tile.width)
    steps = (address(turned), turned.strides[0], address(b), b.strides[0], address(y), y.strides[0])
    run(_slab_piece, tile, _Job(*steps, m, depth, n, panels), -(-panels // SLAB), m * b.size / FLOPS)
    return y


@native
def _slab_piece(tile: Any, arguments: int, piece: int) -> None:
    job = read(_Job, arguments)
    width, tiles = tile.width * tile.itemsize, -(-job.rows // tile.rows)
    first, stop, size = piece * SLAB, min((piece + 1) * SLAB, job.panels), tile.rows * width
    sums = allocate(SLAB * tiles * size + 8 * job.depth)
    table = sums + SLAB * tiles * size
    for k in range(job.depth):
        write_number(table, k, job.a + k * job.a_step)
    for k in range(0, job.depth, CHUNK):
        rows = job.b + k * job.b_step
        for p in range(first, stop):
            if p + 1 < stop:
                _fetch(rows + _column(tile, job, p + 1), job.b_step, width)
            else:
                _fetch(rows + CHUNK * job.b_step + _column(tile, job, first), job.b_step, width)
            for i in range(tiles):
                columns_times_panel(
                    tile, table + 8 * k, min(CHUNK, job.depth - k), i * tile.rows * tile.itemsize,
                    rows + _column(tile, job, p), job.b_step, sums + ((p - first) * tiles + i) * size, width, k,
                )  # fmt: skip
    for p in range(first, stop):
        for i in range(job.rows):
            copy_bytes(
                job.y + i * job.y_step + _column(tile, job, p), sums + (p - first) * tiles * size + i * width, width
            )
    free(sums)


@native
def _column(tile: Any, job: Any, panel: int) -> int:
    """Bytes from where a row begins to a panel; the last one is moved back to end where the row ends."""
    return min(panel * tile.width, job.columns - tile.width) * tile.itemsize


@native
def _fetch(panel: int, step: int, size: int) -> None:
    """Ask for the rows of a chunk."""
    for i in range(CHUNK):
        for j in range(0, size, LINE):
            prefetch(panel + i * step + j)
