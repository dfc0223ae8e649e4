"""Resizing on the CPU: compiled loops, of which a piece of work is some rows of results.

A row of results is made in two steps.  The rows of the input that it comes from are added up with their weights, side
by side in memory, which a processor does for many columns at once; then each result takes its few columns of that sum.
The gradient is the same with transposed matrices.

An array is (A, D, H, W, B) here: A = N * C planes and B = 1, or channels last A = N and B = C.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from ..resize import rows
from ..spec.resize import Resize
from .elements import elements, kind_of
from .pieces import Address, allocate, free, read, run
from .places import address
from .pooling import as5, buffer, is_last
from .pooling_tables import split
from .simd import clear_bytes

ROWS = 8  # of results that share a line for sums
SECONDS = 1e-9  # for an entry of a matrix and a column

U = np.uint64  # of indices: Numba would test a signed one for being negative


def resize(x: np.ndarray, problem: Resize) -> np.ndarray:
    """y (N, C, *out), channels last where x is: ``kernels.resize.resize``."""
    return _resized(x, problem, False)


def resize_grad(g: np.ndarray, problem: Resize) -> np.ndarray:
    """dx (N, C, *size), channels last where g is: ``kernels.resize.resize_grad``."""
    return _resized(g, problem, True)


class _Matrices(NamedTuple):
    """Of each axis the addresses of a matrix by its rows (``kernels.resize.Rows``), and the sizes on both sides."""

    start0: Address
    at0: Address
    weight0: Address
    start1: Address
    at1: Address
    weight1: Address
    start2: Address
    at2: Address
    weight2: Address
    size0: int
    size1: int
    size2: int
    out0: int
    out1: int
    out2: int
    copies: int  # each column of the results is one of the input


class _Arrays(NamedTuple):
    x: Address
    y: Address
    beside: int  # B
    blocks: int  # of ROWS rows


class _Cut(NamedTuple):
    matrices: _Matrices
    entries: int
    kept: tuple[np.ndarray, ...]  # what the addresses lead to


def _resized(x: np.ndarray, problem: Resize, transposed: bool) -> np.ndarray:
    last = is_last(x)
    y = buffer(None, problem.x_shape if transposed else problem.y_shape, x.dtype, last)
    cut, x5 = _cut(problem, transposed, x.dtype), as5(x, last)
    planes, beside, m = x5.shape[0], x5.shape[4], cut.matrices
    blocks = -(-m.out1 // ROWS)
    arrays, pieces = _Arrays(address(x5), address(y), beside, blocks), planes * m.out0 * blocks
    run(_rows_piece, kind_of(x), (m, arrays), pieces, cut.entries * m.size2 * planes * beside * SECONDS)
    return y


@lru_cache(maxsize=256)
def _cut(problem: Resize, transposed: bool, dtype: np.dtype) -> _Cut:
    """Of three axes; those that a problem has not are one position each."""
    absent = np.array([0, 1], np.int32), np.zeros(1, np.int32), np.ones(1, dtype)
    own = [rows(a, problem.mode, problem.align_corners, transposed) for a in problem.axes]
    matrices = [absent] * (3 - len(own)) + [(m.start, m.at, m.weight.astype(dtype)) for m in own]
    kept = tuple(part for matrix in matrices for part in matrix)
    sides = [(1, 1)] * (3 - len(own)) + [(a.out, a.size) if transposed else (a.size, a.out) for a in problem.axes]
    copies = int((np.diff(matrices[2][0]) == 1).all())
    numbers = _Matrices(*map(address, kept), *(s for s, _ in sides), *(o for _, o in sides), copies)
    return _Cut(numbers, len(matrices[0][1]) * len(matrices[1][1]), kept)


@native
def _entries(kind: Any, start: int, r: int) -> Any:
    """The entries first..stop-1 of row r of a matrix."""
    starts = elements(kind.places, start + 4 * r, 2)
    return np.int64(starts[0]), np.int64(starts[1])


@native
def add_weighted(x: Any, weight: Any, total: Any, count: int) -> None:
    """total (count,) += weight * x (count,)"""
    for i in range(count):
        total[U(i)] += weight * x[U(i)]


@native
def add_rows(kind: Any, m: Any, x: int, p: int, q: int, line: int, length: int) -> None:
    """The rows of x (D, H, length) that row q of plane p of the results comes from, added up in line (length,)."""
    size = kind.itemsize
    i0, i1 = _entries(kind, m.start0, p)
    j0, j1 = _entries(kind, m.start1, q)
    for i in range(i0, i1):
        plane, of_plane = elements(kind.places, m.at0 + 4 * i, 1)[0], elements(kind, m.weight0 + i * size, 1)[0]
        for j in range(j0, j1):
            row, of_row = elements(kind.places, m.at1 + 4 * j, 1)[0], elements(kind, m.weight1 + j * size, 1)[0]
            place = x + (np.int64(plane) * m.size1 + np.int64(row)) * length * size
            add_weighted(elements(kind, place, length), of_plane * of_row, elements(kind, line, length), length)


@native
def _rows_piece(kind: Any, arguments: int, piece: int) -> None:
    """Some rows of y (A, P, Q, R, B) from x (A, D, H, W, B) and a matrix for each axis."""
    m = read(_Matrices, arguments)
    a = read(_Arrays, arguments + 8 * len(m))
    size, length = kind.itemsize, m.size2 * a.beside
    n, p, block = split(piece, m.out0, a.blocks)
    x, line = a.x + n * m.size0 * m.size1 * length * size, allocate(length * size)
    for q in range(block * ROWS, min(m.out1, (block + 1) * ROWS)):
        clear_bytes(line, length * size)
        add_rows(kind, m, x, p, q, line, length)
        result = a.y + ((n * m.out0 + p) * m.out1 + q) * m.out2 * a.beside * size
        if a.beside == 1:
            weigh_columns(kind, m, line, result)
        else:
            weigh_pixels(kind, m, line, result, a.beside)
    free(line)


@native
def weigh_columns(kind: Any, m: Any, line: int, result: int) -> None:
    """Of each result the few columns of a line that it comes from, added up."""
    sums, y = elements(kind, line, m.size2), elements(kind, result, m.out2)
    start, at = elements(kind.places, m.start2, m.out2 + 1), elements(kind.places, m.at2, m.out2)
    weight = elements(kind, m.weight2, m.out2)
    if m.copies != 0:
        for r in range(m.out2):
            y[U(r)] = weight[U(r)] * sums[U(at[U(r)])]
        return
    for r in range(m.out2):
        total = y.dtype.type(0)
        for k in range(start[U(r)], start[U(r + 1)]):
            total += weight[U(k)] * sums[U(at[U(k)])]
        y[U(r)] = total


@native
def weigh_pixels(kind: Any, m: Any, line: int, result: int, beside: int) -> None:
    """The same where a column is ``beside`` channels side by side."""
    size = kind.itemsize
    clear_bytes(result, m.out2 * beside * size)
    for r in range(m.out2):
        k0, k1 = _entries(kind, m.start2, r)
        y = elements(kind, result + r * beside * size, beside)
        for k in range(k0, k1):
            at, weight = elements(kind.places, m.at2 + 4 * k, 1)[0], elements(kind, m.weight2 + k * size, 1)[0]
            add_weighted(elements(kind, line + np.int64(at) * beside * size, beside), weight, y, beside)
