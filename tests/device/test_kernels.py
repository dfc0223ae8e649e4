"""The kernels that the catalogue has for "cuda", against the definitions, on arrays of the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minidl.kernels import catalogue, conv, pooling
from minidl.kernels.arrays import im2col
from minidl.kernels.geometry import Conv
from tests.checks.cuda import WINDOWS
from tests.kernels.convolution_cases import CASES, EMPTY, arrays, by_definition, operands

PASSES = ("forward", "input_grad", "weight_grad")
ALL = {**CASES, **EMPTY}


def on(cupy: Any, *host: np.ndarray) -> list[Any]:
    return [cupy.asarray(a) for a in host]


def test_every_pass_has_a_kernel() -> None:
    for pass_ in PASSES:
        names = [k.algorithm for k in catalogue.kernels("conv", pass_, "cuda")]
        assert names[:4] == ["im2col", "direct", "depthwise", "implicit_gemm"]
        wgmma, fused = ([], []) if pass_ == "weight_grad" else (["bf16_wgmma", "fp16_wgmma"], ["winograd_fused"])
        assert names[4:] == ["tf32", "tf32x3", "bf16", "fp16", *wgmma, "winograd", *fused, "fft"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pass_", PASSES)
@pytest.mark.parametrize("name", ALL)
def test_convolution(name: str, pass_: str, dtype: str, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In whole-array operations; the kernels written in CUDA have a file of their own."""
    (kernel,) = (k for k in catalogue.kernels("conv", pass_, "cuda") if k.algorithm == "im2col")
    problem = ALL[name]
    x, w, g = arrays(problem, dtype)
    expected = by_definition(problem, x, w, g)[pass_]
    host = operands(x, w, g)[pass_]
    two = 2 * im2col.image_bytes(problem, np.dtype(dtype).itemsize)
    for chunk in (im2col.CHUNK_BYTES, 1, two):  # all images at once, one, two at a time
        monkeypatch.setattr(im2col, "CHUNK_BYTES", chunk)
        for stored in (host, tuple(np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) for a in host)):
            device = on(cupy, *stored)
            got = kernel.call(*device, problem)
            assert type(got) is cupy.ndarray and got.dtype == dtype and got.shape == expected.shape
            close(got, expected)
            out = cupy.full(expected.shape, np.nan, dtype)
            assert kernel.call(*device, problem, out=out) is out
            close(out, expected)
            for a, before in zip(device, host):
                np.testing.assert_array_equal(a.get(), before)


def close(got: Any, expected: np.ndarray) -> None:
    tolerance = 300 * np.finfo(expected.dtype).eps
    np.testing.assert_allclose(got.get(), expected, tolerance, tolerance * max(1, np.abs(expected).max(initial=0)))


def test_the_planner_chooses_by_where_the_array_lies(cupy: Any) -> None:
    problem = Conv.from_shapes((2, 3, 5, 5), (4, 3, 3, 3))
    x, w, _ = arrays(problem, "float32")
    close(conv.forward(*on(cupy, x, w), problem), conv.forward(x, w, problem, "spec"))
    text = catalogue.plan("conv", "forward", problem, device="cuda").explain()
    assert "conv forward on cuda" in text and "chosen: " in text


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", WINDOWS)
def test_pooling(name: str, dtype: str, cupy: Any) -> None:
    pool = WINDOWS[name]
    rng = np.random.default_rng(3)
    x = rng.integers(-3, 4, pool.x_shape).astype(dtype)  # with ties
    if x.size:
        x.flat[:: max(7, x.size // 9)] = np.nan
        x[0, 0] = -np.inf  # what padding counts as
    g = rng.standard_normal(pool.y_shape).astype(dtype)
    (dx_,) = on(cupy, x)
    values, indices = pooling.max_pool(dx_, pool)
    expected, where = pooling.max_pool(x, pool, algorithm="spec")
    np.testing.assert_array_equal(values.get(), expected)
    np.testing.assert_array_equal(indices.get(), where)
    (dg,) = on(cupy, g)
    close(pooling.max_pool_grad(dg, indices, pool.x_shape), pooling.max_pool_grad(g, where, pool.x_shape))
    np.testing.assert_array_equal(pooling.gather(dx_, indices).get(), expected)
    x = rng.standard_normal(pool.x_shape).astype(dtype)
    (dx_,) = on(cupy, x)
    for rule in ((True, None), (False, None), (True, 3)):
        close(pooling.avg_pool(dx_, pool, *rule), pooling.avg_pool(x, pool, *rule, algorithm="spec"))
        close(pooling.avg_pool_grad(dg, pool, *rule), pooling.avg_pool_grad(g, pool, *rule, algorithm="spec"))


def test_unpooling_refuses_an_index_outside(cupy: Any) -> None:
    from minidl.kernels.errors import ShapeError

    x, indices = on(cupy, np.ones((1, 1, 2)), np.array([[[0, 6]]]))
    with pytest.raises(ShapeError, match=r"indices\[0, 0, 1\] = 6 lies outside a plane of 4 positions \(0 to 3\)"):
        pooling.max_unpool(x, indices, (4,))
