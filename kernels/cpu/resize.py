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

ROWS = 8  # of results that share a line for sums

Matrix = tuple[np.ndarray, np.ndarray, np.ndarray]  # start, at, weight


def resize(x: np.ndarray, problem: Resize) -> np.ndarray:
    """y (N, C, *out), channels last where x is: ``kernels.resize.resize``."""
    return _resized(x, problem, False)


def resize_grad(g: np.ndarray, problem: Resize) -> np.ndarray:
    """dx (N, C, *size), channels last where g is: ``kernels.resize.resize_grad``."""
    return _resized(g, problem, True)


def _resized(x: np.ndarray, problem: Resize, transposed: bool) -> np.ndarray:
    last = is_last(x)
    y = buffer(None, problem.x_shape if transposed else problem.y_shape, x.dtype, last)
    depth, height, width = _matrices(problem, transposed, x.dtype.char)
    if last:
        weigh_last(as5(x, True), depth, height, width, as5(y, True))
    else:
        copies = bool((np.diff(width[0]) == 1).all())
        weigh_planes(as5(x, False), depth, height, width, copies, as5(y, False))
    return y


@lru_cache(maxsize=256)
def _matrices(problem: Resize, transposed: bool, kind: str) -> tuple[Matrix, ...]:
    """Of three axes; those that a problem has not are one position each."""
    absent = np.array([0, 1], np.int32), np.zeros(1, np.uint32), np.ones(1, kind)
    own = [rows(a, problem.mode, problem.align_corners, transposed) for a in problem.axes]
    return (absent,) * (3 - len(own)) + tuple((m.start, m.at.astype(np.uint32), m.weight.astype(kind)) for m in own)


@njit
def add_weighted(x: Any, weight: Any, total: Any) -> None:
    """total (L,) += weight * x (L,)"""
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
def weigh_planes(x, depth, height, width, copies, y):
    """y (A, P, Q, R, 1) from x (A, D, H, W, 1) and a matrix for each axis; ``copies``: each column of y is one of x."""
    count, outs, high, columns, _ = y.shape
    blocks = (high + ROWS - 1) // ROWS
    x4 = x.reshape(x.shape[0], x.shape[1], x.shape[2], x.shape[3])
    start, at, weight = width
    for task in prange(count * outs * blocks):
        a, p, first = task // (outs * blocks), task // blocks % outs, task % blocks * ROWS
        line = np.empty(x.shape[3], x.dtype)
        for q in range(first, min(high, first + ROWS)):
            line[:] = 0
            add_rows(x4[a], depth, height, p, q, line)
            result = y[a, p, q, :, 0]
            if copies:  # each result comes from one column
                for r in range(columns):
                    result[r] = weight[r] * line[at[r]]
                continue
            for r in range(columns):
                total = x.dtype.type(0)
                for k in range(start[r], start[r + 1]):
                    total += weight[k] * line[at[k]]
                result[r] = total


@njit(parallel=True)
def weigh_last(x, depth, height, width, y):
    """y (A, P, Q, R, B) from x (A, D, H, W, B), whose channels B lie side by side."""
    count, outs, high, columns, channels = y.shape
    blocks = (high + ROWS - 1) // ROWS
    x4 = x.reshape(x.shape[0], x.shape[1], x.shape[2], x.shape[3] * x.shape[4])
    start, at, weight = width
    for task in prange(count * outs * blocks):
        a, p, first = task // (outs * blocks), task // blocks % outs, task % blocks * ROWS
        line = np.empty(x4.shape[3], x.dtype)
        for q in range(first, min(high, first + ROWS)):
            line[:] = 0
            add_rows(x4[a], depth, height, p, q, line)
            for r in range(columns):
                result = y[a, p, q, r]
                result[:] = 0
                for k in range(start[r], start[r + 1]):
                    add_weighted(line[at[k] * channels : (at[k] + 1) * channels], weight[k], result)
