"""Resizing in CUDA: float16, float32 and float64, up to three axes, any storage order.

All axes in one launch where a result reads few positions.  Where it would read many, as when an antialiased image gets
much smaller, one axis after the other, first the one that leaves the least.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from .. import layout
from ..arrays import array_module
from ..cpu.direct_tiles import ABSENT, Axis3, Geometry
from ..resize import Rows, rows
from ..spec import resize as spec
from ..spec.resize import Resize
from . import tables, windows
from .source import function, real

Array = Any

THREADS = 128
MOST_READ = 64  # positions that one result reads where all axes are done together


def resize(x: Array, problem: Resize) -> Array:
    """y (N, C, *out); channels last where x is."""
    return _resized(x, problem, False) if _countable(problem) else spec.resize(x, problem)


def resize_grad(g: Array, problem: Resize) -> Array:
    """dx (N, C, *size); channels last where g is."""
    return _resized(g, problem, True) if _countable(problem) else spec.resize_grad(g, problem)


def _countable(problem: Resize) -> bool:
    return max(prod(problem.x_shape), prod(problem.y_shape)) < windows.LIMIT


def _resized(x: Array, problem: Resize, transposed: bool) -> Array:
    for axes in _passes(problem, transposed, MOST_READ):
        sizes = [len(r.start) - 1 for r in _matrices(problem, transposed)]
        shape = (*x.shape[:2], *(sizes[i] if i in axes else n for i, n in enumerate(x.shape[2:])))
        y = layout.empty(shape, x)
        if y.size:
            _launch(x, y, _stacked(problem, transposed, axes, x.shape[2:], "d" if x.dtype.char == "d" else "f"))
        x = y
    return x


def _matrices(problem: Resize, transposed: bool) -> list[Rows]:
    return [rows(a, problem.mode, problem.align_corners, transposed) for a in problem.axes]


@lru_cache(maxsize=256)
def _passes(problem: Resize, transposed: bool, most: int) -> tuple[tuple[int, ...], ...]:
    """The axes of each launch."""
    matrices = _matrices(problem, transposed)
    every = range(len(matrices))
    if prod(m.widest for m in matrices) <= most:
        return (tuple(every),)
    kept = [(len(m.start) - 1) / (a.out if transposed else a.size) for m, a in zip(matrices, problem.axes)]
    return tuple((i,) for i in sorted(every, key=kept.__getitem__))


@lru_cache(maxsize=256)
def _stacked(
    problem: Resize, transposed: bool, axes: tuple[int, ...], size: tuple[int, ...], kind: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start, at and weight of the matrices below each other, those that change nothing but for ``axes``."""
    matrices = [m if i in axes else _unchanged(size[i]) for i, m in enumerate(_matrices(problem, transposed))]
    matrices = [_unchanged(1)] * (3 - len(size)) + matrices
    entries = np.cumsum([0, *(len(m.at) for m in matrices)])
    start = np.concatenate([*(m.start[:-1] + first for m, first in zip(matrices, entries)), entries[-1:]])
    weight = np.concatenate([m.weight for m in matrices])
    return start.astype(np.int32), np.concatenate([m.at for m in matrices]), weight.astype(kind)


def _unchanged(size: int) -> Rows:
    return Rows(np.arange(size + 1, dtype=np.int32), np.arange(size, dtype=np.int32), np.ones(size))


def _launch(x: Array, y: Array, host: tuple[np.ndarray, ...]) -> None:
    """One thread for each result; neighbouring ones where y has neighbours."""
    xp = array_module(x)
    own = [Axis3(size, 1, out, 1, 0, 1) for size, out in zip(x.shape[2:], y.shape[2:])]
    first, second, third = [ABSENT] * (3 - len(own)) + own
    geometry: Geometry = (first, second, third)
    window = windows.of_axes(geometry, x.shape[0], x.shape[1], windows.five(x), windows.five(y), (0,) * 6)
    kernel = function(xp, "resize.cu", "resize", REAL=real(x.dtype), CHANNELS_LAST=layout.channels_last(y))
    arguments = (x, y, *(tables.constant(xp, a) for a in host), window, np.int32(y.size))
    kernel((-(-y.size // THREADS),), (THREADS,), arguments)
