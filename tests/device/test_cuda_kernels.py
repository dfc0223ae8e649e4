"""The kernels written in CUDA C++: emulated on the CPU through the stand-in, and on a device where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minidl.kernels import catalogue, conv
from minidl.kernels.cuda import implicit_gemm, windows
from minidl.kernels.errors import UnsupportedError
from minidl.kernels.geometry import Conv
from minidl.kernels.spec import conv as spec
from minidl.kernels.spec.error_bounds import error_bound
from tests.kernels.convolution_cases import CASES, EMPTY, arrays, operands
from tests.standin import emulated

PASSES = ("forward", "input_grad", "weight_grad")
GROUPED = {
    "two channels to a group, strided": Conv.from_shapes((3, 6, 7, 8), (9, 2, 3, 3), (2, 1), 1, groups=3),
    "a known kernel, dilated": Conv.from_shapes((2, 5, 9, 11), (5, 1, 5, 5), (2, 3), ((2, 0), (1, 3)), (1, 2), 5),
    "runs of rows that are left over": Conv.from_shapes((2, 35, 5, 3), (35, 1, 3, 3), 1, 1, groups=35),
}
TILED = {"several tiles each way": Conv.from_shapes((2, 5, 9, 10), (70, 5, 3, 3), 1, 1)}
FEW = ("strides, pads and dilations differ", "many channels", "three axes")


@pytest.fixture(autouse=True)
def _can_run(cupy: Any) -> None:
    if cupy.__version__.endswith("standin") and (why := emulated.missing()):
        pytest.skip(why)


def cases(algorithm: str) -> dict[str, Conv]:
    if algorithm.startswith("tf32"):
        return {name: CASES[name] for name in FEW} | TILED
    extra = GROUPED if algorithm == "depthwise" else TILED if algorithm == "implicit_gemm" else {}
    return {n: c for n, c in CASES.items() if n != "many channels" or algorithm == "implicit_gemm"} | EMPTY | extra


def kernel(pass_: str, algorithm: str) -> catalogue.Kernel:
    return next(k for k in catalogue.kernels("conv", pass_, "cuda") if k.algorithm == algorithm)


def check(cupy: Any, k: catalogue.Kernel, problem: Conv, dtype: str, lay: Any) -> None:
    """One result, all of it written, within the bound of its algorithm; operands as they were."""
    host = operands(*arrays(problem, dtype))[k.pass_]
    wide = [a.astype("float64") for a in host]
    expected = getattr(spec, k.pass_)(*wide, problem)
    bound = error_bound(k.algorithm, k.pass_, *wide, problem, dtype)
    device = [lay(cupy, a) for a in host]
    out = None if lay is plain else lay(cupy, np.full(expected.shape, np.nan, dtype))
    got = k.call(*device, problem, out=out)
    assert type(got) is cupy.ndarray and got.dtype == dtype and got.shape == expected.shape
    assert out is None or got is out
    error = np.abs(got.get().astype("float64") - expected)
    assert (error <= bound).all(), f"{k.algorithm} {k.pass_} {dtype}, {problem}: off by {np.nanmax(error):.3g}"
    for a, before in zip(device, host):
        np.testing.assert_array_equal(a.get(), before)


def plain(cupy: Any, a: np.ndarray) -> Any:
    return cupy.asarray(a)


def channels_last(cupy: Any, a: np.ndarray) -> Any:
    return cupy.moveaxis(cupy.asarray(np.ascontiguousarray(np.moveaxis(a, 1, -1))), -1, 1)


def gappy(cupy: Any, a: np.ndarray) -> Any:
    """Every second element of a wider array, backwards along the last axis; NaN lies between."""
    wide = cupy.full((*a.shape[:-1], 2 * a.shape[-1]), np.nan, a.dtype)
    wide[..., ::-2] = cupy.asarray(a)
    return wide[..., ::-2]


@pytest.mark.parametrize("pass_", PASSES)
@pytest.mark.parametrize("algorithm", ["direct", "depthwise", "implicit_gemm", "tf32", "tf32x3"])
def test_it_is_the_definition(algorithm: str, pass_: str, cupy: Any) -> None:
    k, done = kernel(pass_, algorithm), 0
    for problem in cases(algorithm).values():
        for dtype in k.dtypes or ():
            if k.obstacle(problem, np.dtype(dtype)) is None:
                for lay in (plain, channels_last)[: 2 if dtype == "float32" or algorithm == "direct" else 1]:
                    check(cupy, k, problem, dtype, lay)
                done += 1
    assert done >= len(FEW)


@pytest.mark.parametrize("algorithm", ["direct", "depthwise", "implicit_gemm"])
def test_arrays_with_gaps(algorithm: str, cupy: Any) -> None:
    problem = GROUPED["two channels to a group, strided"]
    for pass_ in PASSES:
        check(cupy, kernel(pass_, algorithm), problem, "float32", gappy)


@pytest.mark.parametrize("algorithm", ["implicit_gemm", "tf32x3"])
def test_large_tiles(algorithm: str, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for the layers of a large network, which are too large to be emulated."""
    monkeypatch.setattr(implicit_gemm, "tile", lambda *sizes: implicit_gemm.LARGE)
    monkeypatch.setattr(implicit_gemm, "SMALL", implicit_gemm.LARGE)
    for pass_, lay in zip(PASSES, (plain, channels_last, plain)):
        check(cupy, kernel(pass_, algorithm), TILED["several tiles each way"], "float32", lay)


@pytest.mark.parametrize("algorithm", ["depthwise", "implicit_gemm"])
def test_a_weight_gradient_in_slices(algorithm: str, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    k = kernel("weight_grad", algorithm)
    problem = GROUPED["two channels to a group, strided"]
    for count in (2, 5, 83):  # of 84 pixels
        monkeypatch.setattr(windows, "slice_count", lambda *sizes, wanted=count: wanted)
        check(cupy, k, problem, "float32", plain)


def test_the_same_bits_in_every_run(cupy: Any) -> None:
    """The emulator runs threads and blocks in another order each time."""
    problem = CASES["strides, pads and dilations differ"]
    x, w, g = (cupy.asarray(a) for a in arrays(problem, "float32"))
    for algorithm in ("direct", "implicit_gemm"):
        for pass_ in PASSES:
            first, second = (kernel(pass_, algorithm).call(*operands(x, w, g)[pass_], problem) for _ in range(2))
            assert first.tobytes() == second.tobytes()


def test_the_planner_chooses_them(cupy: Any) -> None:
    problem = Conv.from_shapes((64, 6, 9, 9), (6, 1, 3, 3), 1, 1, groups=6)
    plan = catalogue.plan("conv", "forward", problem, device="cuda")
    assert plan.algorithm == "depthwise"
    x, w, _ = arrays(problem, "float32")
    y = conv.forward(channels_last(cupy, x), cupy.asarray(w), problem)
    np.testing.assert_allclose(y.get(), spec.forward(x, w, problem), 1e-5, 1e-5)
    assert y.strides[1] == y.itemsize, "channels-last in, channels-last out"


def test_tf32_needs_a_card_that_has_it(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if not cupy.__version__.endswith("standin"):
        pytest.skip("asks a card of which kind it is")
    problem = CASES["pointwise"]
    x, w, _ = (cupy.asarray(a) for a in arrays(problem, "float32"))
    monkeypatch.setattr(cupy.cuda.Device, "compute_capability", "75")
    with pytest.raises(
        UnsupportedError, match=r"multiply TF32 from compute capability 8\.0 on, and this card has 7\.5"
    ):
        conv.forward(x, w, problem, "tf32")
