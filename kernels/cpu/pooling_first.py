"""Pooling on channels-first storage: planes of positions, of which a piece of work takes some rows, or some planes.

An array is (A, D, H, W), contiguous: A = N * C planes of up to three axes.

* ``_..._windows``: the inner loop runs over the taps of one window
* ``_..._rows``: it runs over a row of windows, one tap at a time

The tables of `pooling_tables.py` say what a window reads.  Only regular windows have rows in which a tap moves by one
stride from window to window, which is what a processor reads in parallel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..geometry import Axis
from ..jit import native
from ..pooling import Pool
from .elements import elements, kind_of
from .pieces import Address, allocate, free, read, run
from .places import address
from .pooling_tables import divisors, pair, reach, split, table, three
from .simd import Constant, Lanes, clear_bytes

LONG = 12  # windows in a row from which a row at a time is faster than a window at a time
SECONDS = 5e-10  # for an element of a tap
PIECE = 20e-6  # seconds of work that a piece is worth

U = np.uint64  # of indices: Numba would test a signed one for being negative


class _Windows(NamedTuple):
    """Addresses of (out, 2) integers for each axis, and what else follows from the windows alone."""

    table0: Address
    table1: Address
    table2: Address
    step0: int  # from tap to tap
    step1: int
    step2: int
    size0: int
    size1: int
    size2: int
    out0: int
    out1: int
    out2: int
    taps: int  # of a row of regular windows: its axis
    stride: int
    dilation: int
    low: int
    items: int  # rows of windows, or planes
    block: int  # of them, that a piece takes


class _Arrays(NamedTuple):
    """What is pooled, or its gradient; the results, or theirs; where winners stood; what sums are divided by."""

    x: Address
    y: Address
    places: Address
    divisors: Address


@dataclass(frozen=True)
class Stored(Constant):
    """The dtypes of values and of the positions where they stood."""

    values: Lanes
    places: Lanes


class _Cut(NamedTuple):
    windows: _Windows
    in_rows: bool
    pieces: int
    work: float  # seconds
    kept: tuple[np.ndarray, ...]  # what the addresses lead to


@lru_cache(maxsize=512)
def _cut(pool: Pool, gradient: bool) -> _Cut:
    axes, axis = three(pool), pool.axes[-1]
    tables = [np.ascontiguousarray(reach(a), np.int64) for a in axes]
    row = (axis.kernel, axis.stride, axis.dilation, axis.pad[0]) if isinstance(axis, Axis) else (0, 1, 1, 0)
    planes = pool.batch * pool.channels
    items = planes if gradient else planes * axes[0].out * axes[1].out
    work = SECONDS * planes * prod([(table(a)[1] - table(a)[0]).sum().item() + a.out for a in axes])
    block = max(1, int(PIECE * items / work)) if work else 1
    numbers = _Windows(
        *map(address, tables), *(table(a)[2] for a in axes), *(a.size for a in axes), *(a.out for a in axes), *row,
        items, block,
    )  # fmt: skip
    return _Cut(numbers, row[0] > 0 and axis.out >= LONG, -(-items // block), work, tuple(tables))


@lru_cache(maxsize=512)
def _divisors(pool: Pool, count_include_pad: bool, divisor_override: int | None, dtype: np.dtype) -> np.ndarray:
    return divisors(pool, count_include_pad, divisor_override, dtype)


def tables(pool: Pool, dtype: np.dtype, *counting: Any) -> tuple[np.ndarray, ...]:
    """What the loops of a forward pass read beside x; ``counting``: of a mean, how its divisors count."""
    kept = _cut(pool, False).kept
    return (*kept, _divisors(pool, *counting, dtype)) if counting else kept


def max_pool(x: np.ndarray, pool: Pool, values: np.ndarray, indices: np.ndarray) -> None:
    """Write the largest element of each window of x (N, C, *size), C-contiguous, and its place in its plane."""
    cut = _cut(pool, False)
    arrays = _Arrays(address(x), address(values), address(indices), 0)
    function = _max_rows if cut.in_rows else _max_windows
    run(function, Stored(kind_of(x), kind_of(indices)), (cut.windows, arrays), cut.pieces, cut.work)


def avg_pool(x: np.ndarray, pool: Pool, include_pad: bool, override: int | None, y: np.ndarray) -> None:
    """Write the mean of each window of x (N, C, *size), C-contiguous, into y."""
    cut, shares = _cut(pool, False), _divisors(pool, include_pad, override, x.dtype)
    arrays = _Arrays(address(x), address(y), 0, address(shares))
    run(_mean_rows if cut.in_rows else _mean_windows, kind_of(x), (cut.windows, arrays), cut.pieces, cut.work)


def avg_pool_grad(g: np.ndarray, pool: Pool, include_pad: bool, override: int | None, dx: np.ndarray) -> None:
    """Write dx (N, C, *size), C-contiguous: each cotangent g shared out among its window."""
    cut, shares = _cut(pool, True), _divisors(pool, include_pad, override, g.dtype)
    arrays = _Arrays(address(dx), address(g), 0, address(shares))
    function = _mean_grad_rows if cut.in_rows else _mean_grad_windows
    run(function, kind_of(g), (cut.windows, arrays), cut.pieces, cut.work)


# ---- the loops: a piece is some rows of windows, of the gradient some planes ----


@native
def _items(w: Any, piece: int) -> Any:
    return range(piece * w.block, min(w.items, (piece + 1) * w.block))


@native
def _plane(kind: Any, w: Any, planes: int, a: int) -> Any:
    """Plane ``a`` of those that begin at address ``planes``."""
    area = w.size0 * w.size1 * w.size2
    return elements(kind, planes + a * area * kind.itemsize, area)


@native
def _row(kind: Any, w: Any, rows: int, item: int) -> Any:
    """What the windows of row ``item`` have, each one number, of those from address ``rows`` on."""
    return elements(kind, rows + item * w.out2 * kind.itemsize, w.out2)


@native
def _max_windows(stored: Any, arguments: int, piece: int) -> None:
    w = read(_Windows, arguments)
    m = read(_Arrays, arguments + 8 * len(w))
    for item in _items(w, piece):
        a, p, q = split(item, w.out0, w.out1)
        x = _plane(stored.values, w, m.x, a)
        values, places = _row(stored.values, w, m.y, item), _row(stored.places, w, m.places, item)
        i0, i1 = pair(w.table0, p)
        j0, j1 = pair(w.table1, q)
        for r in range(w.out2):
            k0, k1 = pair(w.table2, r)
            best, at, i = x.dtype.type(-np.inf), -1, i0
            while i < i1:
                j = j0
                while j < j1:
                    begin, k = (i * w.size1 + j) * w.size2, k0
                    while k < k1:
                        v = x[U(begin + k)]
                        if v > best or at < 0 or v != v:
                            best, at = v, begin + k
                        k += w.step2
                    j += w.step1
                i += w.step0
            values[U(r)], places[U(r)] = best, at


@native
def _inside(w: Any, t: int) -> tuple[int, int, int]:
    """Tap t of a row of windows: the windows first..stop-1 in which it reads input, and where the first reads."""
    offset = t * w.dilation - w.low
    first = max(0, -(offset // w.stride))
    stop = max(first, min(w.out2, (w.size2 - 1 - offset) // w.stride + 1))
    return first, stop, first * w.stride + offset


@native
def _keep_larger(tap: Any, stride: int, best: Any, winner: Any, at: int, count: int) -> None:
    for r in range(count):
        v = tap[U(r * stride)]
        wins = (v > best[U(r)]) | (winner[U(r)] < 0) | (v != v)
        best[U(r)] = v if wins else best[U(r)]
        winner[U(r)] = at + r * stride if wins else winner[U(r)]


@native
def _max_rows(stored: Any, arguments: int, piece: int) -> None:
    w = read(_Windows, arguments)
    m = read(_Arrays, arguments + 8 * len(w))
    size, four = stored.values.itemsize, stored.places.itemsize
    for item in _items(w, piece):
        a, p, q = split(item, w.out0, w.out1)
        values, places = _row(stored.values, w, m.y, item), _row(stored.places, w, m.places, item)
        for r in range(w.out2):
            values[U(r)], places[U(r)] = -np.inf, -1
        i0, i1 = pair(w.table0, p)
        j0, j1 = pair(w.table1, q)
        i = i0
        while i < i1:
            j = j0
            while j < j1:
                for t in range(w.taps):
                    first, stop, k = _inside(w, t)
                    at = (i * w.size1 + j) * w.size2 + k
                    place = m.x + (a * w.size0 * w.size1 * w.size2 + at) * size
                    tap = elements(stored.values, place, w.size2)
                    best = elements(stored.values, m.y + (item * w.out2 + first) * size, w.out2)
                    winner = elements(stored.places, m.places + (item * w.out2 + first) * four, w.out2)
                    if w.stride == 1:  # with the stride a constant the compiler knows how to read four at once
                        _keep_larger(tap, 1, best, winner, at, stop - first)
                    elif w.stride == 2:
                        _keep_larger(tap, 2, best, winner, at, stop - first)
                    else:
                        _keep_larger(tap, w.stride, best, winner, at, stop - first)
                j += w.step1
            i += w.step0


@native
def _mean_windows(kind: Any, arguments: int, piece: int) -> None:
    w = read(_Windows, arguments)
    m = read(_Arrays, arguments + 8 * len(w))
    for item in _items(w, piece):
        a, p, q = split(item, w.out0, w.out1)
        x, y = _plane(kind, w, m.x, a), _row(kind, w, m.y, item)
        divisor = _row(kind, w, m.divisors, p * w.out1 + q)
        i0, i1 = pair(w.table0, p)
        j0, j1 = pair(w.table1, q)
        for r in range(w.out2):
            k0, k1 = pair(w.table2, r)
            total, i = x.dtype.type(0), i0
            while i < i1:
                j = j0
                while j < j1:
                    begin = (i * w.size1 + j) * w.size2
                    for k in range(k0, k1, w.step2):
                        total += x[U(begin + k)]
                    j += w.step1
                i += w.step0
            y[U(r)] = total / divisor[U(r)]


@native
def _add_tap(tap: Any, stride: int, total: Any, count: int) -> None:
    for r in range(count):
        total[U(r)] += tap[U(r * stride)]


@native
def _mean_rows(kind: Any, arguments: int, piece: int) -> None:
    w = read(_Windows, arguments)
    m = read(_Arrays, arguments + 8 * len(w))
    size = kind.itemsize
    sums = allocate(w.size2 * size)  # the rows that some windows read, added up: all side by side
    line = elements(kind, sums, w.size2)
    for item in _items(w, piece):
        a, p, q = split(item, w.out0, w.out1)
        y, divisor = _row(kind, w, m.y, item), _row(kind, w, m.divisors, p * w.out1 + q)
        clear_bytes(sums, w.size2 * size)
        i0, i1 = pair(w.table0, p)
        j0, j1 = pair(w.table1, q)
        i = i0
        while i < i1:
            j = j0
            while j < j1:
                place = m.x + ((a * w.size0 + i) * w.size1 + j) * w.size2 * size
                _add_tap(elements(kind, place, w.size2), 1, line, w.size2)
                j += w.step1
            i += w.step0
        clear_bytes(m.y + item * w.out2 * size, w.out2 * size)
        for t in range(w.taps):
            first, stop, k = _inside(w, t)
            tap = elements(kind, sums + k * size, w.size2)
            total = elements(kind, m.y + (item * w.out2 + first) * size, w.out2)
            if w.stride == 1:
                _add_tap(tap, 1, total, stop - first)
            elif w.stride == 2:
                _add_tap(tap, 2, total, stop - first)
            else:
                _add_tap(tap, w.stride, total, stop - first)
        for r in range(w.out2):
            y[U(r)] /= divisor[U(r)]
    free(sums)


@native
def _mean_grad_windows(kind: Any, arguments: int, piece: int) -> None:
    w = read(_Windows, arguments)
    m = read(_Arrays, arguments + 8 * len(w))
    area, rows = w.size0 * w.size1 * w.size2, w.out0 * w.out1
    for a in _items(w, piece):
        dx = _plane(kind, w, m.x, a)
        clear_bytes(m.x + a * area * kind.itemsize, area * kind.itemsize)
        for row in range(rows):
            g, divisor = _row(kind, w, m.y, a * rows + row), _row(kind, w, m.divisors, row)
            i0, i1 = pair(w.table0, row // w.out1)
            j0, j1 = pair(w.table1, row % w.out1)
            for r in range(w.out2):
                k0, k1 = pair(w.table2, r)
                share, i = g[U(r)] / divisor[U(r)], i0
                while i < i1:
                    j = j0
                    while j < j1:
                        begin, k = (i * w.size1 + j) * w.size2, k0
                        while k < k1:
                            dx[U(begin + k)] += share
                            k += w.step2
                        j += w.step1
                    i += w.step0


@native
def _add_share(into: Any, stride: int, share: Any, count: int) -> None:
    for r in range(count):
        into[U(r * stride)] += share[U(r)]


@native
def _mean_grad_rows(kind: Any, arguments: int, piece: int) -> None:
    w = read(_Windows, arguments)
    m = read(_Arrays, arguments + 8 * len(w))
    area, rows, size = w.size0 * w.size1 * w.size2, w.out0 * w.out1, kind.itemsize
    scratch = allocate((w.out2 + w.size2) * size)
    sums = scratch + w.out2 * size
    shares, line = elements(kind, scratch, w.out2), elements(kind, sums, w.size2)  # what each position of a row gets
    for a in _items(w, piece):
        clear_bytes(m.x + a * area * size, area * size)
        for row in range(rows):
            g, divisor = _row(kind, w, m.y, a * rows + row), _row(kind, w, m.divisors, row)
            for r in range(w.out2):
                shares[U(r)] = g[U(r)] / divisor[U(r)]
            clear_bytes(sums, w.size2 * size)
            for t in range(w.taps):
                first, stop, k = _inside(w, t)
                into = elements(kind, sums + k * size, w.size2)
                share = elements(kind, scratch + first * size, w.out2)
                if w.stride == 1:
                    _add_share(into, 1, share, stop - first)
                elif w.stride == 2:
                    _add_share(into, 2, share, stop - first)
                else:
                    _add_share(into, w.stride, share, stop - first)
            i0, i1 = pair(w.table0, row // w.out1)
            j0, j1 = pair(w.table1, row % w.out1)
            i = i0
            while i < i1:
                j = j0
                while j < j1:
                    place = m.x + (a * area + (i * w.size1 + j) * w.size2) * size
                    _add_share(elements(kind, place, w.size2), 1, line, w.size2)
                    j += w.step1
                i += w.step0
    free(scratch)
