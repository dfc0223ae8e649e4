"""Pooling on channels-last storage: the channels of a position lie side by side, so they are the vector.

A window's result is kept in registers while its taps pass.  The gradients are computed the other way round than one
would expect, not window by window but position by position: all windows that hold a position are added up in a
register, in their order, and each position is written once.

Channels that fill no vector are computed with the last whole vector, moved back: some twice, none by themselves.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..geometry import Axis
from ..jit import native
from ..pooling import Pool
from .elements import elements
from .pieces import Address, read, run
from .places import address
from .pooling_tables import begin, divisors, pair, reach, split, table, three
from .simd import Lanes, Machine, broadcast, keep, keep_larger, load, machine, store, where_equal, zero

SECONDS = 1e-10  # for an element of a tap


class _Tables(NamedTuple):
    """Addresses of (count, 2) integers for each axis, and what else follows from the windows alone."""

    table0: Address
    table1: Address
    table2: Address
    begin0: Address
    begin1: Address
    begin2: Address
    step0: int  # from tap to tap
    step1: int
    step2: int
    size0: int
    size1: int
    size2: int
    out0: int
    out1: int
    out2: int
    images: int
    channels: int
    most_taps: int  # of a window
    most_windows: int  # that hold one position


class _Arrays(NamedTuple):
    """(N, D, H, W, C) in memory: what is pooled, or its gradient; the results; where winners stood; divisors."""

    x: Address
    y: Address
    places: Address
    divisors: Address  # of the windows; for the gradient one divided by them


class _Cut(NamedTuple):
    tables: _Tables
    tile: Lanes
    work: float  # seconds
    kept: tuple[np.ndarray, ...]  # what the addresses lead to


def fits(dtype: np.dtype, pool: Pool) -> bool:
    """Whether the functions here compute in ``dtype``: others, and planes beyond 32 bits, go channels first."""
    return dtype.char in "fd" and prod(pool.size) < 2**31


@lru_cache(maxsize=512)
def _cut(pool: Pool, dtype: np.dtype, gradient: bool, host: Machine) -> _Cut:
    axes = three(pool)
    lanes = host.lanes(dtype)
    while lanes > max(1, pool.channels):
        lanes //= 2
    tables = [np.ascontiguousarray((_holding if gradient else reach)(a), np.int64) for a in axes]
    begins = [np.ascontiguousarray(begin(a), np.int64) for a in axes]
    steps = [table(a)[2] for a in axes]
    numbers = _Tables(
        *map(address, tables), *map(address, begins), *steps, *(a.size for a in axes), *(a.out for a in axes),
        pool.batch, pool.channels, *(int(np.prod([_longest(of(a)) for a in axes])) for of in (reach, _holding)),
    )  # fmt: skip
    taps = np.prod([(table(a)[1] - table(a)[0]).sum() for a in axes])
    return _Cut(numbers, Lanes(dtype.name, lanes), SECONDS * taps * pool.batch * pool.channels, (*tables, *begins))


def _longest(table: np.ndarray) -> int:
    return int((table[:, 1] - table[:, 0]).max(initial=1))


def _holding(axis: Any) -> np.ndarray:
    """For each position the windows first, ..., stop - 1 that reach over it: (size, 2)."""
    positions = np.arange(axis.size)
    reach = begin(axis) + axis.extent if isinstance(axis, Axis) else table(axis)[1]
    return np.stack([np.searchsorted(reach, positions, "right"), np.searchsorted(begin(axis), positions, "right")], 1)


@lru_cache(maxsize=512)
def _divisors(pool: Pool, count_include_pad: bool, divisor_override: int | None, dtype: np.dtype) -> np.ndarray:
    return divisors(pool, count_include_pad, divisor_override, dtype)


def tables(pool: Pool, dtype: np.dtype, *counting: Any) -> tuple[np.ndarray, ...]:
    """What the loops of a forward pass read beside x; ``counting``: of a mean, how its divisors count."""
    kept = _cut(pool, dtype, False, machine()).kept
    return (*kept, _divisors(pool, *counting, dtype)) if counting else kept


@lru_cache(maxsize=512)
def _parts(pool: Pool, count_include_pad: bool, divisor_override: int | None, dtype: np.dtype) -> np.ndarray:
    return 1 / _divisors(pool, count_include_pad, divisor_override, dtype)


def max_pool(x: np.ndarray, pool: Pool, values: np.ndarray, indices: np.ndarray) -> None:
    """Write the largest element of each window of x (N, C, *size), channels-last, and its place in its plane."""
    cut = _cut(pool, x.dtype, False, machine())
    arrays = _Arrays(address(x), address(values), address(indices), 0)
    run(_max_piece, cut.tile, (cut.tables, arrays), _rows(pool.batch, cut.tables, False), cut.work)


def max_pool_grad(g: np.ndarray, indices: np.ndarray, pool: Pool, dx: np.ndarray) -> None:
    """Write dx (N, C, *size), channels-last: each cotangent g where its window's winner stood."""
    cut = _cut(pool, g.dtype, True, machine())
    arrays = _Arrays(address(dx), address(g), address(indices), 0)
    run(_max_grad_piece, cut.tile, (cut.tables, arrays), _rows(pool.batch, cut.tables, True), cut.work)


def avg_pool(x: np.ndarray, pool: Pool, include_pad: bool, override: int | None, y: np.ndarray) -> None:
    """Write the mean of each window of x (N, C, *size), channels-last, into y."""
    cut = _cut(pool, x.dtype, False, machine())
    shares = _divisors(pool, include_pad, override, x.dtype)
    arrays = _Arrays(address(x), address(y), 0, address(shares))
    run(_mean_piece, cut.tile, (cut.tables, arrays), _rows(pool.batch, cut.tables, False), cut.work)


def avg_pool_grad(g: np.ndarray, pool: Pool, include_pad: bool, override: int | None, dx: np.ndarray) -> None:
    """Write dx (N, C, *size), channels-last: each cotangent g shared out among its window."""
    cut = _cut(pool, g.dtype, True, machine())
    shares = _parts(pool, include_pad, override, g.dtype)
    arrays = _Arrays(address(dx), address(g), 0, address(shares))
    run(_mean_grad_piece, cut.tile, (cut.tables, arrays), _rows(pool.batch, cut.tables, True), cut.work)


def _rows(batch: int, t: _Tables, gradient: bool) -> int:
    """Pieces of work: rows of results."""
    return batch * (t.size0 * t.size1 if gradient else t.out0 * t.out1)


# ---- the loops: a piece is a row of windows, or of positions ----


class _Begin(NamedTuple):
    position: int


@native
def _list_rows(t: Any, p: int, q: int, rows: Any) -> int:
    """Where in the plane the rows begin that window (p, q, ...) reads, for any r; how many."""
    i0, i1 = pair(t.table0, p)
    j0, j1 = pair(t.table1, q)
    count, i = 0, i0
    while i < i1:
        j = j0
        while j < j1:
            rows[count] = (i * t.size1 + j) * t.size2
            count, j = count + 1, j + t.step1
        i += t.step0
    return count


@native
def _list_taps(t: Any, rows: Any, many: int, r: int, taps: Any) -> int:
    """The positions in the plane of what a window reads, from its rows and r; how many."""
    k0, k1 = pair(t.table2, r)
    count = 0
    for row in range(many):
        k = k0
        while k < k1:
            taps[count] = rows[row] + k
            count, k = count + 1, k + t.step2
    return count


@native
def _list_rows_of_windows(t: Any, i: int, j: int, rows: Any) -> int:
    """The numbers of the first windows of the rows of windows that may read position (i, j, ...); how many."""
    p0, p1 = pair(t.table0, i)
    q0, q1 = pair(t.table1, j)
    count = 0
    for p in range(p0, p1):
        for q in range(q0, q1):
            if _reads(t.begin0, t.step0, p, i) and _reads(t.begin1, t.step1, q, j):
                rows[count] = (p * t.out1 + q) * t.out2
                count += 1
    return count


@native
def _list_windows(t: Any, rows: Any, many: int, k: int, windows: Any) -> int:
    """The numbers of the windows that read a position, from its rows of windows and k, in their order; how many."""
    r0, r1 = pair(t.table2, k)
    count = 0
    for row in range(many):
        for r in range(r0, r1):
            if _reads(t.begin2, t.step2, r, k):
                windows[count] = rows[row] + r
                count += 1
    return count


@native
def _reads(begins: int, step: int, window: int, position: int) -> bool:
    """Whether a window that reaches over a position has a tap there."""
    return step == 1 or (position - read(_Begin, begins + 8 * window).position) % step == 0


WIDE = 4  # vectors side by side: what a tap costs besides its loads is paid once for all of them


@native
def _max_piece(tile: Any, arguments: int, piece: int) -> None:
    t = read(_Tables, arguments)
    m = read(_Arrays, arguments + 8 * len(t))
    n, p, q = split(piece, t.out0, t.out1)
    vector, four, pixel = tile.lanes * tile.itemsize, 4 * tile.lanes, t.channels * tile.itemsize
    taps, rows = np.empty(t.most_taps, np.int64), np.empty(t.most_taps, np.int64)
    many = _list_rows(t, p, q, rows)
    image = m.x + n * t.size0 * t.size1 * t.size2 * pixel
    for r in range(t.out2):
        count = _list_taps(t, rows, many, r, taps)
        at, c, place = (piece * t.out2 + r) * t.channels, 0, broadcast(tile.places, taps[0])
        while c + WIDE * tile.lanes <= t.channels:
            source = image + c * tile.itemsize
            tap = source + taps[0] * pixel
            b0, b1 = load(tile, tap), load(tile, tap + vector)
            b2, b3 = load(tile, tap + 2 * vector), load(tile, tap + 3 * vector)
            w0, w1, w2, w3 = place, place, place, place
            for i in range(count):  # the first tap again: if it is NaN it wins
                tap, here = source + taps[i] * pixel, broadcast(tile.places, taps[i])
                b0, w0 = keep_larger(load(tile, tap), b0, here, w0)
                b1, w1 = keep_larger(load(tile, tap + vector), b1, here, w1)
                b2, w2 = keep_larger(load(tile, tap + 2 * vector), b2, here, w2)
                b3, w3 = keep_larger(load(tile, tap + 3 * vector), b3, here, w3)
            result, places = m.y + (at + c) * tile.itemsize, m.places + (at + c) * 4
            store(result, b0)
            store(result + vector, b1)
            store(result + 2 * vector, b2)
            store(result + 3 * vector, b3)
            store(places, w0)
            store(places + four, w1)
            store(places + 2 * four, w2)
            store(places + 3 * four, w3)
            c += WIDE * tile.lanes
        while c < t.channels:
            first = min(c, t.channels - tile.lanes)
            source = image + first * tile.itemsize
            best, winner = load(tile, source + taps[0] * pixel), place
            for i in range(count):
                tap, here = load(tile, source + taps[i] * pixel), broadcast(tile.places, taps[i])
                best, winner = keep_larger(tap, best, here, winner)
            store(m.y + (at + first) * tile.itemsize, best)
            store(m.places + (at + first) * 4, winner)
            c += tile.lanes
    keep((taps, rows))


@native
def _max_grad_piece(tile: Any, arguments: int, piece: int) -> None:
    t = read(_Tables, arguments)
    m = read(_Arrays, arguments + 8 * len(t))
    n, i, j = split(piece, t.size0, t.size1)
    vector, four, pixel = tile.lanes * tile.itemsize, 4 * tile.lanes, t.channels * tile.itemsize
    windows, rows = np.empty(t.most_windows, np.int64), np.empty(t.most_windows, np.int64)
    many = _list_rows_of_windows(t, i, j, rows)
    image = n * t.out0 * t.out1 * t.out2 * t.channels
    for k in range(t.size2):
        count = _list_windows(t, rows, many, k, windows)
        own = broadcast(tile.places, (i * t.size1 + j) * t.size2 + k)
        result, c = m.x + (piece * t.size2 + k) * pixel, 0
        while c + WIDE * tile.lanes <= t.channels:
            s0, s1, s2, s3 = zero(tile), zero(tile), zero(tile), zero(tile)
            for w in range(count):
                at = image + windows[w] * t.channels + c
                winner, share = m.places + at * 4, m.y + at * tile.itemsize
                s0 = s0 + where_equal(load(tile.places, winner), own, load(tile, share))
                s1 = s1 + where_equal(load(tile.places, winner + four), own, load(tile, share + vector))
                s2 = s2 + where_equal(load(tile.places, winner + 2 * four), own, load(tile, share + 2 * vector))
                s3 = s3 + where_equal(load(tile.places, winner + 3 * four), own, load(tile, share + 3 * vector))
            store(result + c * tile.itemsize, s0)
            store(result + c * tile.itemsize + vector, s1)
            store(result + c * tile.itemsize + 2 * vector, s2)
            store(result + c * tile.itemsize + 3 * vector, s3)
            c += WIDE * tile.lanes
        while c < t.channels:
            first = min(c, t.channels - tile.lanes)
            total = zero(tile)
            for w in range(count):
                at = image + windows[w] * t.channels + first
                winner, share = load(tile.places, m.places + at * 4), load(tile, m.y + at * tile.itemsize)
                total = total + where_equal(winner, own, share)
            store(result + first * tile.itemsize, total)
            c += tile.lanes
    keep((windows, rows))


@native
def _number(tile: Any, numbers: int, index: int) -> Any:
    """Number ``index`` of an array of the tile's dtype, in all elements of a vector."""
    return broadcast(tile, elements(tile, numbers + index * tile.itemsize, 1)[0])


@native
def _mean_piece(tile: Any, arguments: int, piece: int) -> None:
    t = read(_Tables, arguments)
    m = read(_Arrays, arguments + 8 * len(t))
    n, p, q = split(piece, t.out0, t.out1)
    vector, pixel = tile.lanes * tile.itemsize, t.channels * tile.itemsize
    taps, rows = np.empty(t.most_taps, np.int64), np.empty(t.most_taps, np.int64)
    many = _list_rows(t, p, q, rows)
    image = m.x + n * t.size0 * t.size1 * t.size2 * pixel
    length = begin = count = -1
    for r in range(t.out2):
        k0, k1 = pair(t.table2, r)
        if k1 - k0 != length:  # otherwise the taps are those of the last window, some positions on
            length, begin, count = k1 - k0, k0, _list_taps(t, rows, many, r, taps)
        source = image + (k0 - begin) * pixel
        divisor = _number(tile, m.divisors, (p * t.out1 + q) * t.out2 + r)
        result, c = m.y + (piece * t.out2 + r) * pixel, 0
        while c + WIDE * vector <= pixel:
            s0, s1, s2, s3 = zero(tile), zero(tile), zero(tile), zero(tile)
            for i in range(count):
                tap = source + taps[i] * pixel + c
                s0, s1 = s0 + load(tile, tap), s1 + load(tile, tap + vector)
                s2, s3 = s2 + load(tile, tap + 2 * vector), s3 + load(tile, tap + 3 * vector)
            store(result + c, s0 / divisor)
            store(result + c + vector, s1 / divisor)
            store(result + c + 2 * vector, s2 / divisor)
            store(result + c + 3 * vector, s3 / divisor)
            c += WIDE * vector
        while c < pixel:
            first = min(c, pixel - vector)
            total = zero(tile)
            for i in range(count):
                total = total + load(tile, source + taps[i] * pixel + first)
            store(result + first, total / divisor)
            c += vector
    keep((taps, rows))


@native
def _mean_grad_piece(tile: Any, arguments: int, piece: int) -> None:
    t = read(_Tables, arguments)
    m = read(_Arrays, arguments + 8 * len(t))
    n, i, j = split(piece, t.size0, t.size1)
    vector, pixel = tile.lanes * tile.itemsize, t.channels * tile.itemsize
    windows, rows = np.empty(t.most_windows, np.int64), np.empty(t.most_windows, np.int64)
    many = _list_rows_of_windows(t, i, j, rows)
    image = m.y + n * t.out0 * t.out1 * t.out2 * pixel
    if t.most_windows == 1 and pixel < WIDE * vector:
        _share_out_alone(tile, t, m, image, rows[0] if many == 1 else -1, m.x + piece * t.size2 * pixel)
        keep((windows, rows))
        return
    for k in range(t.size2):
        count = _list_windows(t, rows, many, k, windows)
        result, c = m.x + (piece * t.size2 + k) * pixel, 0
        while c + WIDE * vector <= pixel:
            s0, s1, s2, s3 = zero(tile), zero(tile), zero(tile), zero(tile)
            for w in range(count):
                share, part = image + windows[w] * pixel + c, _number(tile, m.divisors, windows[w])
                s0, s1 = s0 + load(tile, share) * part, s1 + load(tile, share + vector) * part
                s2, s3 = s2 + load(tile, share + 2 * vector) * part, s3 + load(tile, share + 3 * vector) * part
            store(result + c, s0)
            store(result + c + vector, s1)
            store(result + c + 2 * vector, s2)
            store(result + c + 3 * vector, s3)
            c += WIDE * vector
        while c < pixel:
            first = min(c, pixel - vector)
            total = zero(tile)
            for w in range(count):
                share = load(tile, image + windows[w] * pixel + first)
                total = total + share * _number(tile, m.divisors, windows[w])
            store(result + first, total)
            c += vector
    keep((windows, rows))


@native
def _share_out_alone(tile: Any, t: Any, m: Any, image: int, row: int, result: int) -> None:
    """A row of gradients where no two windows share a position and channels are few; ``row``: its first window or -1.

    What there is to find out for a position costs as much as its few channels: they take turns outside.
    """
    vector, pixel = tile.lanes * tile.itemsize, t.channels * tile.itemsize
    for c in range(0, pixel, vector):
        first = min(c, pixel - vector)
        for k in range(t.size2):
            r, stop = pair(t.table2, k)
            total = zero(tile)
            if row >= 0 and r < stop and _reads(t.begin2, t.step2, r, k):
                share = load(tile, image + (row + r) * pixel + first)
                total = share * _number(tile, m.divisors, row + r)
            store(result + k * pixel + first, total)
