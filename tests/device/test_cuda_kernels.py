"""The kernels written in CUDA C++: emulated on the CPU through the stand-in, and on a device where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import nn, optim
from minidl.kernels import catalogue, conv, pooling
from minidl.kernels.arrays import fft
from minidl.kernels.arrays import pooling as array_pooling
from minidl.kernels.cuda import winograd
from minidl.kernels.errors import ShapeError, UnsupportedError
from minidl.kernels.geometry import Conv
from minidl.kernels.spec import conv as spec
from tests.checks.cuda import (
    FEW,
    GROUPED,
    PASSES,
    PIPELINED,
    SQUARES,
    TILED,
    WHOLE,
    WINDOWS,
    agrees,
    channels_last,
    gappy,
    kernel,
    plain,
    pools,
    shifted,
    slices,
    tiled,
    unpools,
)
from tests.kernels.convolution_cases import CASES, EMPTY, arrays, operands

EMULATED = True  # the stand-in's planner chooses from these kernels too


def cases(algorithm: str) -> dict[str, Conv]:
    if algorithm in PIPELINED:
        return {name: CASES[name] for name in FEW} | TILED | WHOLE
    if algorithm == "winograd":
        return SQUARES | TILED
    extra = GROUPED if algorithm == "depthwise" else TILED if algorithm == "implicit_gemm" else {}
    return {n: c for n, c in CASES.items() if n != "many channels" or algorithm == "implicit_gemm"} | EMPTY | extra


@pytest.mark.parametrize("pass_", PASSES)
@pytest.mark.parametrize("algorithm", ["direct", "depthwise", "implicit_gemm", *PIPELINED, "winograd", "fft"])
def test_it_is_the_definition(algorithm: str, pass_: str, cupy: Any) -> None:
    k, done = kernel(pass_, algorithm), 0
    for i, problem in enumerate(cases(algorithm).values()):
        dtypes = k.dtypes or ()
        for dtype in sorted({dtypes[0], dtypes[i % len(dtypes)]}):
            if k.obstacle(problem, np.dtype(dtype)) is None:
                agrees(cupy, k, problem, dtype, plain)
                if dtype != "float64" or algorithm == "direct":
                    agrees(cupy, k, problem, dtype, channels_last)
                done += 1
    assert done >= len(FEW)


@pytest.mark.parametrize("algorithm", ["direct", "depthwise", "implicit_gemm", "tf32"])
def test_arrays_with_gaps(algorithm: str, cupy: Any) -> None:
    for pass_ in PASSES:
        agrees(cupy, kernel(pass_, algorithm), GROUPED["two channels to a group, strided"], "float32", gappy)


def test_vectors_off_their_boundary(cupy: Any) -> None:
    for pass_ in PASSES:
        agrees(cupy, kernel(pass_, "tf32"), WHOLE["many pixels"], "float32", shifted)


def test_images_in_groups(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where they would not fit into memory together."""
    for module, algorithm in ((winograd, "winograd"), (fft, "fft")):
        monkeypatch.setattr(module, "CHUNK_BYTES", 1)
        for pass_ in PASSES:
            agrees(cupy, kernel(pass_, algorithm), TILED["several tiles each way"], "float32", plain)


@pytest.mark.parametrize(
    ("algorithm", "tile"),
    [("implicit_gemm", t) for t in ("LARGE", "NARROW")] + [("tf32x3", "LARGE"), ("tf32", "NARROW"), ("fp16", "LARGE")],
)
def test_tiles_of_large_layers(algorithm: str, tile: str, cupy: Any) -> None:
    with tiled(tile):
        for pass_, lay in zip(PASSES, (plain, channels_last, plain)):
            dtype = "float16" if algorithm == "fp16" else "float32"
            agrees(cupy, kernel(pass_, algorithm), TILED["several tiles each way"], dtype, lay)


@pytest.mark.parametrize("algorithm", ["depthwise", "implicit_gemm"])
def test_a_weight_gradient_in_slices(algorithm: str, cupy: Any) -> None:
    for count in (2, 5, 83):  # of 84 pixels
        with slices(count):
            problem = GROUPED["two channels to a group, strided"]
            agrees(cupy, kernel("weight_grad", algorithm), problem, "float32", plain)


def test_few_pixels_in_slices_of_the_terms(cupy: Any) -> None:
    for count in (2, 4, 20):  # of 9 steps
        with slices(count):
            for pass_ in PASSES:
                agrees(cupy, kernel(pass_, "tf32"), WHOLE["many terms"], "float32", gappy if count == 4 else plain)
    with slices(3):
        agrees(cupy, kernel("forward", "fp16"), WHOLE["many terms"], "float16", plain)


@pytest.mark.parametrize(
    ("dtype", "lay"),
    [("float32", plain), ("float32", channels_last), ("float64", channels_last), ("float16", plain)],
)
def test_pooling(dtype: str, lay: Any, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of every kind, with ties and NaN, several of them in a window; none is left to whole-array operations."""
    for name in ("max_pool", "max_pool_grad", "avg_pool", "avg_pool_grad"):
        monkeypatch.setattr(array_pooling, name, None)
    for pool in WINDOWS.values():
        if pool.batch:
            pools(cupy, pool, dtype, lay)


def test_pooling_of_nothing(cupy: Any) -> None:
    pools(cupy, WINDOWS["no images"], "float32", plain)
    unpools(cupy, WINDOWS["no images"], "float32", plain)


@pytest.mark.parametrize(("dtype", "lay"), [("float32", plain), ("float64", gappy), ("float16", channels_last)])
def test_unpooling(dtype: str, lay: Any, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("max_unpool", "gather"):
        monkeypatch.setattr(array_pooling, name, None)
    for name in ("overlapping", "stride above kernel", "adaptive", "one axis", "three axes"):
        unpools(cupy, WINDOWS[name], dtype, lay)


def test_what_is_gathered_is_stored_as_the_plane_is(cupy: Any) -> None:
    pool = WINDOWS["overlapping"]
    for lay in (plain, channels_last):
        x = lay(cupy, np.ones(pool.x_shape, "float32"))
        y, indices = pooling.max_pool(x, pool)
        found = y, indices, pooling.gather(x, indices), pooling.max_unpool(y, indices, pool.size)
        assert all((a.strides[1] == a.itemsize) == (lay is channels_last) for a in found)


def test_unpooling_of_an_index_outside(cupy: Any) -> None:
    x, bad = cupy.ones((1, 2, 2), "float32"), cupy.asarray(np.array([[[0, 1], [3, 4]]]))
    with pytest.raises(ShapeError, match=r"indices\[0, 1, 1\] = 4 lies outside a plane of 4 positions \(0 to 3\)"):
        pooling.max_unpool(x, bad, (4,))
    with pytest.raises(ShapeError, match=r"= -5 lies outside a plane"):
        pooling.max_unpool(x, bad - 5, (4,))
    read = pooling.gather(cupy.ones((1, 2, 4), "float32"), bad).get()
    np.testing.assert_array_equal(read, [[[1, 1], [1, np.nan]]])


def test_the_same_bits_in_every_run(cupy: Any) -> None:
    """The emulator runs threads and blocks in another order each time."""
    problem = CASES["strides, pads and dilations differ"]
    x, w, g = (cupy.asarray(a) for a in arrays(problem, "float32"))
    for algorithm in ("direct", "implicit_gemm", "tf32x3"):
        for pass_ in PASSES:
            first, second = (kernel(pass_, algorithm).call(*operands(x, w, g)[pass_], problem) for _ in range(2))
            assert first.tobytes() == second.tobytes()


def test_the_planner_chooses_them(cupy: Any) -> None:
    problem = Conv.from_shapes((64, 6, 9, 9), (6, 1, 3, 3), 1, 1, groups=6)
    assert catalogue.plan("conv", "forward", problem, device="cuda").algorithm == "depthwise"
    x, w, _ = arrays(problem, "float32")
    y = conv.forward(channels_last(cupy, x), cupy.asarray(w), problem)
    np.testing.assert_allclose(y.get(), spec.forward(x, w, problem), 1e-5, 1e-5)
    assert y.strides[1] == y.itemsize, "channels-last in, channels-last out"


def test_a_step_of_training_runs_on_them(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planner, the tape and the optimiser around them: the gradients are those of the CPU."""
    used = []
    for pass_ in PASSES:
        for k in catalogue.kernels("conv", pass_, "cuda"):
            call = k.call
            monkeypatch.setitem(k.__dict__, "call", lambda *a, k=k, call=call, **o: used.append(k) or call(*a, **o))
    results = []
    for device in ("cpu", "cuda"):
        minidl.manual_seed(2)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.Conv2d(8, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
        ).to(device)  # fmt: skip
        x = minidl.from_numpy(np.random.default_rng(3).standard_normal((4, 3, 9, 8)).astype("float32")).to(device)
        F.cross_entropy(model(x), minidl.tensor([0, 2, 1, 1], device=device)).backward()
        optim.SGD(model.parameters(), lr=0.5).step()
        results.append([p.detach().cpu().numpy() for p in model.parameters()])
    for host, device in zip(*results):
        np.testing.assert_allclose(device, host, 1e-4, 1e-6)
    assert len(used) == 8 and all(k.module.startswith(".cuda.") for k in used), "x itself needs no gradient"


def test_tf32_needs_a_card_that_has_it(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if not cupy.__version__.endswith("standin"):
        pytest.skip("asks a card of which kind it is")
    problem = CASES["pointwise"]
    x, w, _ = (cupy.asarray(a) for a in arrays(problem, "float32"))
    monkeypatch.setattr(cupy.cuda.Device, "compute_capability", "75")
    with pytest.raises(UnsupportedError, match=r"multiply TF32 from compute capability 8\.0 on, .* 7\.5"):
        conv.forward(x, w, problem, "tf32")
    with pytest.raises(UnsupportedError, match=r"multiply bfloat16 from compute capability 8\.0 on, .* 7\.5"):
        conv.forward(x, w, problem, "bf16")
    whole = conv.forward(x, w, problem, "tf32x3")  # with fused multiply-adds
    np.testing.assert_allclose(whole.get(), spec.forward(x.get(), w.get(), problem), 1e-5, 1e-5)
    half = conv.forward(x.astype("float16"), w.astype("float16"), problem, "fp16")  # with the products of CuPy
    np.testing.assert_allclose(half.get(), spec.forward(x.get(), w.get(), problem), 0.01, 0.01)
