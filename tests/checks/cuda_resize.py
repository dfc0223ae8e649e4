"""What must be true of the kernels in CUDA that resize."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import numpy as np

from minidl.kernels.cuda import resize as kernels
from minidl.kernels.resize import Resize, resize, resize_grad, rows

from .cuda import LAYOUTS, Layout, standin

PROBLEMS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "bilinear": ((2, 3, 5, 4), {"size": (7, 9), "mode": "bilinear"}),
    "smaller": ((2, 3, 6, 7), {"size": (4, 3), "mode": "bicubic", "antialias": True}),
    "three axes": ((1, 2, 3, 4, 2), {"scale_factor": (2, 0.5, 1.5), "mode": "trilinear"}),
    "one axis": ((2, 3, 9), {"size": 4, "mode": "area"}),
}


def resizes(cupy: Any, shape: tuple[int, ...], how: dict[str, Any], dtype: str, lay: Layout) -> None:
    """Forward and backward, all of the result written, within the rounding of its sums."""
    problem = Resize.from_shape(shape, **how)
    rng = np.random.default_rng(sum(shape))
    for function, size in ((resize, problem.x_shape), (resize_grad, problem.y_shape)):
        x = rng.standard_normal(size).astype(dtype)
        exact = function(x.astype("float64"), problem, algorithm="spec")
        device = lay(cupy, x)
        got = function(device, problem)
        assert type(got) is cupy.ndarray and got.dtype == dtype and got.shape == exact.shape
        error = np.abs(got.get().astype("float64") - exact)
        bound = rounding(x, problem, function is resize_grad)
        wrong = int((~(error <= bound)).sum())
        assert not wrong, f"{function.__name__} {dtype} {lay.__name__}, {shape}, {how}: {wrong} wrong"
        np.testing.assert_array_equal(device.get(), x)


def rounding(x: np.ndarray, problem: Resize, transposed: bool) -> np.ndarray:
    """How far sums of weight * x may lie from the exact ones: each weight, product and addition is rounded once."""
    size, roundings = np.abs(x.astype("float64")), 0
    for i, axis in enumerate(problem.axes, start=2):
        m = rows(axis, problem.mode, problem.align_corners, transposed)
        dense = np.zeros((len(m.start) - 1, size.shape[i]))
        dense[np.repeat(np.arange(len(dense)), np.diff(m.start)), m.at] = np.abs(m.weight)
        size = np.moveaxis(np.tensordot(dense, size, (1, i)), 0, i)
        roundings += m.widest + 2
    unit = np.finfo("float64" if x.dtype == "float64" else "float32").eps / 2
    stored = np.finfo(x.dtype)  # results are rounded to it, of each axis where they take turns
    return (1.01 * roundings * unit + len(problem.axes) * stored.eps / 2) * size + stored.smallest_subnormal


@contextmanager
def one_axis_at_a_time() -> Iterator[None]:
    """As where a result would read many positions."""
    with mock.patch.object(kernels, "MOST_READ", 0):
        yield


def emulated_resizing(name: str, layout: int = 0, alone: bool = False) -> None:
    """`resizes` in float32 on the stand-in for one of the problems here, from tables that are worked out anew."""
    kept = (rows, kernels._passes, kernels._stacked)
    try:
        for function in kept:
            function.cache_clear()
        with standin() as cupy, one_axis_at_a_time() if alone else nullcontext():
            resizes(cupy, *PROBLEMS[name], "float32", LAYOUTS[layout])
    finally:
        for function in kept:
            function.cache_clear()
