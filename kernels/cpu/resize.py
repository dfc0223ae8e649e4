"""Resizing on the CPU: Numba, parallel over rows of results, each written by one thread.

A row of results is made in two steps.  The rows of the input that it comes from are added up with their weights, side
by side in memory, which a processor does for many columns at once; then each result takes its few columns of that sum.
The gradient is the same with transposed matrices.

An array is (A, D, H, W, B) here, as in `pooling.py`: A = N * C planes and B = 1, or channels last A = N and B = C.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ..jit import njit, prange
from ..resize import rows
from ..spec.resize import Resize
from .pooling import as5, buffer, is_last

Matrix = tuple[np.ndarray, np.ndarray, np.ndarray]  # start, at, weight


def resize(x: np.ndarray, problem: Resize) -> np.ndarray:
    return _resized(x, problem, False)


def resize_grad(g: np.ndarray, problem: Resize) -> np.ndarray:
    return _resized(g, problem, True)


def _resized(x: np.ndarray, problem: Resize, transposed: bool) -> np.ndarray:
    last = is_last(x)
    y = buffer(None, problem.x_shape if transposed else problem.y_shape, x.dtype, last)
    if last:
        weigh_last(as5(x, True), *_matrices(problem, transposed, x.dtype.char), as5(y, True))
    else:
        weigh_planes(as5(x, False), *_matrices(problem, transposed, x.dtype.char), as5(y, False))
    return y


@lru_cache(maxsize=256)
def _matrices(problem: Resize, transposed: bool, kind: str) -> tuple[Matrix, ...]:
    """Of three axes; those that a problem has not are one position each."""
    absent = np.array([0, 1], np.int32), np.zeros(1, np.int32), np.ones(1, kind)
    own = [rows(a, problem.mode, problem.align_corners, transposed) for a in problem.axes]
    return (absent,) * (3 - len(own)) + tuple((m.start, m.at, m.weight.astype(kind)) for m in own)


@njit
def add_weighted(x: Any, weight: Any, total: Any) -> None:
    for i in range(len(total)):
        total[i] += weight * x[i]


@njit
def add_rows(x: Any, depth: Any, height: Any, p: int, q: int, line: Any) -> None:
    """The rows of x (D, H, L) that row q of plane p of the results comes from, added up in line (L,)."""
    start, at, weight = height
    for i in range(depth[0][p], depth[0][p + 1]):
        for j in range(start[q], start[q + 1]):
            add_weighted(x[depth[1][i], at[j]], depth[2][i] * weight[j], line)


@njit(parallel=True)
def weigh_planes(x, depth, height, width, y):
    count, outs, high, columns, _ = y.shape
    x4 = x.reshape(x.shape[0], x.shape[1], x.shape[2], x.shape[3])
    start, at, weight = width
    for task in prange(count * outs * high):
        a, p, q = task // (outs * high), task // high % outs, task % high
        line = np.zeros(x.shape[3], x.dtype)
        add_rows(x4[a], depth, height, p, q, line)
        for r in range(columns):
            total = x.dtype.type(0)
            for k in range(start[r], start[r + 1]):
                total += weight[k] * line[at[k]]
            y[a, p, q, r, 0] = total


@njit(parallel=True)
def weigh_last(x, depth, height, width, y):
    count, outs, high, columns, channels = y.shape
    x4 = x.reshape(x.shape[0], x.shape[1], x.shape[2], x.shape[3] * x.shape[4])
    start, at, weight = width
    for task in prange(count * outs * high):
        a, p, q = task // (outs * high), task // high % outs, task % high
        line = np.zeros(x4.shape[3], x.dtype)
        add_rows(x4[a], depth, height, p, q, line)
        for r in range(columns):
            result = y[a, p, q, r]
            result[:] = 0
            for k in range(start[r], start[r + 1]):
                add_weighted(line[at[k] * channels : (at[k] + 1) * channels], weight[k], result)
