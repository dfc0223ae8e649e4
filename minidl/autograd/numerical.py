"""Derivatives by numbers: the complex step where a function is analytic, central differences elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

# f(x + ih) = f(x) + ih f'(x) + O(h^2): no subtraction, so h may be as small as one likes.
# Squire and Trapp 1998, "Using complex variables to estimate derivatives of real functions".
COMPLEX_STEP = 1e-100
# |error| of the extrapolated central difference is about h^4 + eps/h: smallest near h = eps^(1/5), taken smaller
# because a kink within 2h spoils the estimate
STEP = {"float64": 1e-4, "float32": 2e-2}
STEP_AT_KINK = {"float64": 1e-6, "float32": 1e-3}

Function = Callable[[Sequence[np.ndarray]], np.ndarray]  # arrays to one flat vector


class NotAnalytic(Exception):
    """The complex step cannot be used on this function."""


@dataclass
class Jacobian:
    """The derivative of all outputs (flat, m) by one input (flat, n): ``matrix`` (m, n).

    ``kinks`` are the flat positions in the input at which the two one-sided derivatives differ.  ``rounding`` is what
    the last bits of the results add to an element of the matrix.
    """

    matrix: np.ndarray
    method: str
    kinks: list[int] = field(default_factory=list)
    rounding: float = 0.0


def jacobian_of(function: Function, arrays: Sequence[np.ndarray], which: int, eps: float | None = None) -> Jacobian:
    """Derivative of ``function`` by its argument ``which``; ``eps`` forces central differences of that step."""
    if eps is None and arrays[which].dtype == np.float64:
        try:
            matrix = _by_complex_step(function, arrays, which)
        except Exception:  # whatever an operation says to complex numbers: there is another way
            matrix = None
        if matrix is not None and _plausible(function, arrays, which, matrix):
            return Jacobian(matrix, "complex step")
    return _by_differences(function, arrays, which, eps)


def _by_complex_step(function: Function, arrays: Sequence[np.ndarray], which: int) -> np.ndarray:
    columns = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        for i in range(arrays[which].size):
            moved = [a.astype(np.complex128) if a.dtype.kind == "f" else a for a in arrays]
            moved[which].reshape(-1)[i] += 1j * COMPLEX_STEP
            y = function(moved)
            if y.dtype.kind != "c":
                raise NotAnalytic
            columns.append(y.imag / COMPLEX_STEP)
    return np.stack(columns, axis=1) if columns else _no_columns(function, arrays)


def _no_columns(function: Function, arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.zeros((function(arrays).size, 0))


def _plausible(function: Function, arrays: Sequence[np.ndarray], which: int, matrix: np.ndarray) -> bool:
    """Whether ``matrix`` agrees roughly with a difference along a random direction.

    An operation that takes the absolute value or the real part on the way computes without complaint, but wrongly.
    """
    rng = np.random.default_rng(0)
    direction = rng.standard_normal(arrays[which].shape)
    slope = _slope(function, arrays, which, direction, 1e-6)
    predicted = matrix @ direction.reshape(-1)
    scale = np.abs(predicted).max(initial=0.0) + np.abs(slope).max(initial=0.0)
    return bool(np.isfinite(matrix).all() and np.abs(slope - predicted).max(initial=0.0) <= 1e-4 * scale + 1e-8)


def _slope(function: Function, arrays: Sequence[np.ndarray], which: int, direction: np.ndarray, h: float) -> np.ndarray:
    return (_moved(function, arrays, which, direction, h) - _moved(function, arrays, which, direction, -h)) / (2 * h)


def _moved(function: Function, arrays: Sequence[np.ndarray], which: int, direction: np.ndarray, h: float) -> np.ndarray:
    x = arrays[which]
    there = [*arrays[:which], (x + h * direction).astype(x.dtype), *arrays[which + 1 :]]
    return function(there).astype(np.float64)


def _by_differences(function: Function, arrays: Sequence[np.ndarray], which: int, eps: float | None) -> Jacobian:
    x = arrays[which]
    precision = "float64" if x.dtype == np.float64 else "float32"
    h = STEP[precision] if eps is None else eps
    result = function(arrays)
    here = result.astype(np.float64)
    rounding = 2 * float(np.finfo(result.dtype).eps) * float(np.abs(here).max(initial=0.0))
    columns, suspicion = [], []
    for i in range(x.size):
        unit = _unit(x, i)
        up, down = _moved(function, arrays, which, unit, h), _moved(function, arrays, which, unit, -h)
        near, far = (up - down) / (2 * h), _slope(function, arrays, which, unit, 2 * h)
        columns.append((4 * near - far) / 3)  # Richardson: the error h^2 of the two cancels
        # how much the slope changes within the step: little, unless there is a kink
        suspicion.append(max(np.abs(near - far).max(initial=0.0), np.abs(up + down - 2 * here).max(initial=0.0) / h))
    if not columns:
        return Jacobian(_no_columns(function, arrays), "central differences")
    matrix = np.stack(columns, axis=1)
    kinks = []
    threshold = 1e-2 * max(1.0, float(np.abs(matrix).max(initial=0.0)))
    for i in (i for i, s in enumerate(suspicion) if s > threshold + 4 * rounding / h):
        small = STEP_AT_KINK[precision] if eps is None else eps / 100
        unit = _unit(x, i)
        right = (_moved(function, arrays, which, unit, small) - here) / small
        left = (here - _moved(function, arrays, which, unit, -small)) / small
        matrix[:, i] = (left + right) / 2
        bend = float(np.abs(left - right).max(initial=0.0))
        if bend > 1e-2 * max(1.0, float(np.abs(matrix[:, i]).max())) + 4 * rounding / small:
            kinks.append(i)
    return Jacobian(matrix, "central differences", kinks, rounding / h)


def _unit(x: np.ndarray, i: int) -> np.ndarray:
    unit = np.zeros(x.shape)
    unit.reshape(-1)[i] = 1.0
    return unit
