"""Resizing written in CUDA C++: emulated on the CPU through the stand-in, and on a device where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl.kernels.cuda import resize as kernels
from minidl.kernels.resize import Resize, resize, resize_grad, rows
from minidl.kernels.spec.resize import ResizeAxis
from tests.checks import cuda_resize as checks
from tests.checks.cuda import channels_last, gappy, plain
from tests.checks.resize import problems

EMULATED = True


@pytest.mark.parametrize(("dtype", "lay"), [("float32", plain), ("float64", channels_last), ("float16", gappy)])
def test_it_is_the_definition(dtype: str, lay: Any, cupy: Any) -> None:
    """Every mode, forward and backward, with random cotangents."""
    for shape, how in problems():
        checks.resizes(cupy, shape, how, dtype, lay)


def test_one_axis_after_the_other(cupy: Any) -> None:
    with checks.one_axis_at_a_time():
        for problem in checks.PROBLEMS.values():
            checks.resizes(cupy, *problem, "float32", plain)


def test_the_axis_that_leaves_the_least_is_first() -> None:
    shrunk = Resize.from_shape((1, 1, 64, 64), (32, 2), mode="bicubic", antialias=True)
    assert kernels._passes(shrunk, False, 64) == ((1,), (0,)), "columns become 32 times fewer, rows half as many"
    assert kernels._passes(shrunk, True, 64) == ((0, 1),), "a position is in few windows"
    grown = Resize.from_shape((1, 1, 8, 8), (16, 64), mode="bicubic")
    assert kernels._passes(grown, False, 64) == ((0, 1),) and kernels._passes(grown, True, 64) == ((1,), (0,))


def test_rows_of_the_transposed_matrix() -> None:
    axis = ResizeAxis(5, 7, 5 / 7)
    dense = {}
    for transposed in (False, True):
        start, at, weight = rows(axis, "cubic", False, transposed)
        dense[transposed] = np.zeros((len(start) - 1, 12 - (len(start) - 1)))
        for r in range(len(start) - 1):
            assert (np.diff(at[start[r] : start[r + 1]]) > 0).all(), "from left to right, none twice"
            dense[transposed][r, at[start[r] : start[r + 1]]] = weight[start[r] : start[r + 1]]
    np.testing.assert_array_equal(dense[True], dense[False].T)
    np.testing.assert_allclose(dense[False].sum(1), 1)


def test_nearest_keeps_what_is_not_finite_to_itself(cupy: Any) -> None:
    x = cupy.asarray(np.array([[[np.inf, 1, 2, np.nan]]], "float32"))
    y = resize(x, Resize.from_shape(x.shape, 8)).get()
    assert np.isfinite(y)[0, 0].tolist() == [False] * 2 + [True] * 4 + [False] * 2


def test_results_are_stored_as_operands_are(cupy: Any) -> None:
    problem = Resize.from_shape((2, 3, 5, 4), 7)
    for lay, step in ((plain, 49), (channels_last, 1)):
        y = resize(lay(cupy, np.ones(problem.x_shape, "float32")), problem)
        assert y.strides[1] == step * y.itemsize and resize_grad(y, problem).strides[1] == min(step, 20) * y.itemsize


def test_derivatives_of_any_order(cupy: Any) -> None:
    """The operation on both devices: the result, its gradient by a random cotangent, and the gradient of that."""
    found = []
    shapes = (2, 3, 5, 4), (2, 3, 8, 6), (2, 3, 5, 4)
    for place in ("cpu", "cuda"):
        rng = np.random.default_rng(5)
        x, g, v = (minidl.from_numpy(rng.standard_normal(s)).to(place) for s in shapes)
        x.requires_grad_()
        g.requires_grad_()
        y = F.interpolate(x * x, (8, 6), mode="bilinear")
        (dx,) = minidl.autograd.grad(y, [x], g, create_graph=True)
        found.append([t.detach().numpy() for t in (y, dx, *minidl.autograd.grad((dx * v).sum(), [x, g]))])
    for a, b in zip(*found):
        np.testing.assert_allclose(b, a, 1e-12, 1e-12)


def test_tables_are_copied_once(cupy: Any) -> None:
    from tests.standin import TRAFFIC

    problem = Resize.from_shape((2, 3, 5, 6), 9, mode="bilinear")
    x, g = cupy.ones(problem.x_shape, "float32"), cupy.ones(problem.y_shape, "float32")
    for step in range(2):
        with TRAFFIC.counted() as seen:
            resize(x, problem)
            resize_grad(g, problem)
        if cupy.__version__.endswith("standin") and step:
            assert (seen.uploads, seen.downloads, seen.waits) == (0, 0, 0)
