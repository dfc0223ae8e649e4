"""Max-pooling on channels-last storage where nobody asks for the places of the winners.

Then a tap costs one instruction, a processor's own maximum, which passes NaN over.  So the taps are added up beside it,
by units that the maximum does not need: a sum tells whether there was a NaN, or infinities of both signs.  Where it
does, the window is computed again as `pooling_last` does.  The values are the same in all bits, to the sign of a zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..jit import native
from ..pooling import Pool
from .pieces import read, run
from .places import address
from .pooling_last import WIDE, _Arrays, _cut, _list_rows, _list_taps, _rows, _Tables
from .pooling_tables import split
from .simd import VectorType, broadcast, keep, keep_larger, load, machine, store


def max_values(x: np.ndarray, pool: Pool, values: np.ndarray) -> None:
    """Write the largest element of each window of x (N, C, *size), channels-last."""
    cut = _cut(pool, x.dtype, False, machine())
    arrays = _Arrays(address(x), address(values), 0, 0)
    run(_values_piece, cut.tile, (cut.tables, arrays), _rows(pool.batch, cut.tables, False), cut.work)


@intrinsic
def _larger(_context, x, best):
    """x where it is larger than ``best``, which else stays: the first of equals, and where one of them is NaN."""
    if not isinstance(x, VectorType) or x != best:
        return None

    def emit(_ctx, b, _sig, args):
        return b.select(b.fcmp_ordered(">", *args), *args)

    return x(x, best), emit


@intrinsic
def _any_nan(_context, x):
    """Whether an element of a vector is NaN."""
    if not isinstance(x, VectorType):
        return None

    def emit(_ctx, b, _sig, args):
        bits = ir.IntType(x.lanes.lanes)
        return b.icmp_unsigned("!=", b.bitcast(b.fcmp_unordered("uno", args[0], args[0]), bits), bits(0))

    return types.boolean(x), emit


@native
def _largest(tile: Any, source: int, pixel: int, taps: Any, count: int) -> Any:
    """Of one vector of channels, with NaN."""
    best, nowhere = load(tile, source + taps[0] * pixel), broadcast(tile.places, 0)
    for i in range(count):
        best, _ = keep_larger(load(tile, source + taps[i] * pixel), best, nowhere, nowhere)
    return best


@native
def _values_piece(tile: Any, arguments: int, piece: int) -> None:
    t = read(_Tables, arguments)
    m = read(_Arrays, arguments + 8 * len(t))
    n, p, q = split(piece, t.out0, t.out1)
    vector, pixel = tile.lanes * tile.itemsize, t.channels * tile.itemsize
    taps, rows = np.empty(t.most_taps, np.int64), np.empty(t.most_taps, np.int64)
    many = _list_rows(t, p, q, rows)
    image = m.x + n * t.size0 * t.size1 * t.size2 * pixel
    for r in range(t.out2):
        count = _list_taps(t, rows, many, r, taps)
        result, c = m.y + (piece * t.out2 + r) * pixel, 0
        while c + WIDE * vector <= pixel:
            tap = image + taps[0] * pixel + c
            b0, b1 = load(tile, tap), load(tile, tap + vector)
            b2, b3 = load(tile, tap + 2 * vector), load(tile, tap + 3 * vector)
            s0, s1, s2, s3 = b0, b1, b2, b3
            for i in range(1, count):
                tap = image + taps[i] * pixel + c
                x0, x1 = load(tile, tap), load(tile, tap + vector)
                x2, x3 = load(tile, tap + 2 * vector), load(tile, tap + 3 * vector)
                b0, b1, b2, b3 = _larger(x0, b0), _larger(x1, b1), _larger(x2, b2), _larger(x3, b3)
                s0, s1, s2, s3 = s0 + x0, s1 + x1, s2 + x2, s3 + x3
            if _any_nan((s0 + s1) + (s2 + s3)):
                b0 = _largest(tile, image + c, pixel, taps, count)
                b1 = _largest(tile, image + c + vector, pixel, taps, count)
                b2 = _largest(tile, image + c + 2 * vector, pixel, taps, count)
                b3 = _largest(tile, image + c + 3 * vector, pixel, taps, count)
            store(result + c, b0)
            store(result + c + vector, b1)
            store(result + c + 2 * vector, b2)
            store(result + c + 3 * vector, b3)
            c += WIDE * vector
        while c < pixel:
            first = min(c, pixel - vector)
            store(result + first, _largest(tile, image + first, pixel, taps, count))
            c += vector
    keep((taps, rows))
