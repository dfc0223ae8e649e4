"""Resizing over 1, 2 or 3 axes: x (N, C, *size) -> y (N, C, *out), and its exact adjoint.

``Resize`` says what is to be done.  The functions run on the Numba kernels of ``cpu/resize.py`` for float32 and
float64 where Numba is installed, on ``cuda/resize.py`` where the arrays are CuPy's, and on the definitions of
``spec/resize.py`` otherwise; ``algorithm="spec"``, ``"numba"`` or ``"cuda"`` forces one.  Arrays in, arrays out;
results of the kernels lie channels last when the operand does.

On one axis a resizing is a matrix with few entries in a row, which `rows` gives; the gradient is the transposed one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .choice import module
from .errors import ShapeError
from .spec.resize import Resize, ResizeAxis, taps


def resize(x: Any, problem: Resize, *, algorithm: str | None = None) -> Any:
    """x (N, C, *size) -> y (N, C, *out), a new array.

    >>> x = np.array([[[1.0, 3.0]]])
    >>> resize(x, Resize.from_shape(x.shape, 3, mode="linear", align_corners=True)).tolist()
    [[[1.0, 2.0, 3.0]]]
    """
    if x.shape != problem.x_shape:
        raise ShapeError(f"interpolate: x has shape {x.shape}, this resizing needs {problem.x_shape}")
    return module("resize", algorithm, x).resize(x, problem)


def resize_grad(g: Any, problem: Resize, *, algorithm: str | None = None) -> Any:
    """The exact adjoint of ``resize``: g (N, C, *out) -> dx (N, C, *size).

    >>> resize_grad(np.array([[[1.0, 2.0, 3.0]]]), Resize.from_shape((1, 1, 2), 3)).tolist()
    [[[3.0, 3.0]]]
    """
    if g.shape != problem.y_shape:
        raise ShapeError(f"interpolate: g has shape {g.shape}, this resizing gives {problem.y_shape}")
    return module("resize", algorithm, g).resize_grad(g, problem)


class Rows(NamedTuple):
    """A matrix by its rows: entries start[r] to start[r + 1] are those of row r, ``weight`` in column ``at``."""

    start: np.ndarray  # (rows + 1,)
    at: np.ndarray  # (entries,), in each row from left to right, none twice
    weight: np.ndarray  # (entries,), float64

    @property
    def widest(self) -> int:
        """The most entries of a row."""
        return int(np.diff(self.start).max())


@lru_cache(maxsize=256)
def rows(axis: ResizeAxis, mode: str, align_corners: bool, transposed: bool = False) -> Rows:
    """The matrix (out, size) of one axis, or (size, out), that of the gradient.

    >>> start, at, weight = rows(ResizeAxis(2, 4, 0.5), "linear", False)
    >>> start.tolist(), at.tolist(), weight.tolist()
    ([0, 2, 4, 6, 7], [0, 1, 0, 1, 0, 1, 1], [1.0, 0.0, 0.75, 0.25, 0.25, 0.75, 1.0])
    """
    positions, weights = (np.array(part) for part in zip(*taps(axis, mode, align_corners)))  # (taps, out)
    outputs = np.broadcast_to(np.arange(axis.out), positions.shape)
    row, column, height, width = outputs, positions, axis.out, axis.size
    if transposed:
        row, column, height, width = column, row, width, height
    entries, same = np.unique((row * width + column).ravel(), return_inverse=True)
    weight = np.bincount(same, weights.ravel(), len(entries))  # taps of one position, at a border, are one entry
    start = np.searchsorted(entries, np.arange(height + 1) * width)
    return Rows(start.astype(np.int32), (entries % width).astype(np.int32), weight)
