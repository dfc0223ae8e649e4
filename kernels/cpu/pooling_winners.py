"""Reading and writing at the positions that won: arrays (A, L, B), and as many positions (A, M, B) as results.

Channels first A = N * C planes and B = 1, channels last A = N and B = C.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from .crew import add
from .elements import elements, kind_of
from .pieces import Address, read, run
from .places import address
from .pooling_first import Stored, U
from .simd import clear_bytes

BLOCK = 64  # values of B that a piece takes: 256 bytes of float32
PIECE = 1 << 15  # elements of planes that a piece takes where B is 1
SECONDS = 1e-9  # for an element


class _Winners(NamedTuple):
    plane: Address  # (A, L, B)
    values: Address  # (A, M, B)
    places: Address  # (A, M, B)
    outside: Address  # a number, raised by how many places lie outside 0..L-1
    planes: int
    length: int
    many: int
    beside: int
    block: int  # planes that a piece takes
    strips: int  # pieces that share them
    adds: int


def scatter(values: np.ndarray, indices: np.ndarray, y: np.ndarray, adds: bool) -> int:
    """y (A, L, B), written whole, from values (A, M, B).  Returns how many indices lie outside 0..L-1."""
    return _run(_scatter, y, values, indices, adds)


def gather(u: np.ndarray, indices: np.ndarray, y: np.ndarray) -> int:
    """y (A, M, B) from u (A, L, B).  Returns how many indices lie outside 0..L-1."""
    return _run(_gather, u, y, indices, False)


def _run(function: Any, plane: np.ndarray, values: np.ndarray, places: np.ndarray, adds: bool) -> int:
    planes, length, beside = plane.shape
    many, outside = values.shape[1], np.zeros(1, np.int64)
    block = max(1, PIECE // max(1, (length + many) * beside)) if beside == 1 else 1
    strips = -(-beside // BLOCK)
    numbers = _Winners(
        address(plane), address(values), address(places), address(outside), planes, length, many, beside, block,
        strips, int(adds),
    )  # fmt: skip
    pieces = -(-planes // block) * strips
    stored = Stored(kind_of(values), kind_of(places))
    run(function, stored, numbers, pieces, (plane.size + values.size) * SECONDS)
    return int(outside[0])


@native
def _part(w: Any, piece: int) -> tuple[int, int, int, int]:
    """Of a piece: its planes first..stop-1, and its part low..high-1 of B."""
    first, low = piece // w.strips * w.block, piece % w.strips * BLOCK
    return first, min(w.planes, first + w.block), low, min(w.beside, low + BLOCK)


@native
def _scatter(stored: Any, arguments: int, piece: int) -> None:
    w = read(_Winners, arguments)
    first, stop, low, high = _part(w, piece)
    row, outside = w.beside * stored.values.itemsize, 0
    for a in range(first, stop):
        y, values, places = _arrays(stored, w, a)
        if w.strips == 1:
            clear_bytes(w.plane + a * w.length * row, w.length * row)
        else:
            for i in range(w.length):
                begin = w.plane + (a * w.length + i) * row + low * stored.values.itemsize
                clear_bytes(begin, (high - low) * stored.values.itemsize)
        if w.beside == 1:
            for m in range(w.many):
                outside += _put(w, y, m, 0, values, places)
        else:
            for m in range(w.many):
                for b in range(low, high):
                    outside += _put(w, y, m * w.beside, b, values, places)
    if outside > 0:
        add(w.outside, outside)


@native
def _put(w: Any, y: Any, row: int, b: int, values: Any, places: Any) -> int:
    """Put value ``row + b`` where it belongs; 1 where that is outside."""
    at, value = np.int64(places[U(row + b)]), values[U(row + b)]
    if U(at) >= U(w.length):
        return 1
    if w.adds:
        y[U(at * w.beside + b)] += value
    else:
        y[U(at * w.beside + b)] = value
    return 0


@native
def _gather(stored: Any, arguments: int, piece: int) -> None:
    w = read(_Winners, arguments)
    first, stop, low, high = _part(w, piece)
    outside = 0
    for a in range(first, stop):
        u, y, places = _arrays(stored, w, a)
        for m in range(w.many):
            for b in range(low, high):
                at = np.int64(places[U(m * w.beside + b)])
                if U(at) >= U(w.length):
                    outside += 1
                else:
                    y[U(m * w.beside + b)] = u[U(at * w.beside + b)]
    if outside > 0:
        add(w.outside, outside)


@native
def _arrays(stored: Any, w: Any, a: int) -> tuple[Any, Any, Any]:
    """Of plane ``a``: its elements, those read from it or written to it, and the places of these."""
    size, length, many = stored.values.itemsize, w.length * w.beside, w.many * w.beside
    plane = elements(stored.values, w.plane + a * length * size, length)
    values = elements(stored.values, w.values + a * many * size, many)
    return plane, values, elements(stored.places, w.places + a * many * stored.places.itemsize, many)
