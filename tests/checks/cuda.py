"""What must be true of a convolution kernel written in CUDA, on CuPy's arrays or on those of the stand-in."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import numpy as np

from minidl.kernels import catalogue, pooling
from minidl.kernels.cpu import winograd_tiles
from minidl.kernels.cuda import implicit_gemm, windows, winograd_fused
from minidl.kernels.geometry import Conv
from minidl.kernels.pooling import Pool
from minidl.kernels.spec import conv as spec
from minidl.kernels.spec.error_bounds import error_bound
from tests.kernels.convolution_cases import CASES, arrays, operands
from tests.standin import modules

PASSES = ("forward", "input_grad", "weight_grad")
GROUPED = {
    "two channels to a group, strided": Conv.from_shapes((3, 6, 7, 8), (9, 2, 3, 3), (2, 1), 1, groups=3),
    "a known kernel, dilated": Conv.from_shapes((2, 5, 9, 11), (5, 1, 5, 5), (2, 3), ((2, 0), (1, 3)), (1, 2), 5),
    "runs of rows that are left over": Conv.from_shapes((2, 35, 5, 3), (35, 1, 3, 3), 1, 1, groups=35),
}
TILED = {"several tiles each way": Conv.from_shapes((2, 5, 9, 10), (70, 5, 3, 3), 1, 1)}
PIPELINED = ("tf32", "tf32x3", "bf16", "fp16")
WHOLE = {  # channels fill whole vectors, and terms or pixels more steps than there are stages
    "many terms": Conv.from_shapes((2, 64, 6, 7), (48, 32, 3, 3), (2, 1), 1, groups=2),
    "many pixels": Conv.from_shapes((5, 8, 9, 8), (16, 8, 3, 3), 1, 1),
}
SQUARES = {  # 3 x 3 kernels of stride 1, for Winograd
    "groups, uneven pads": Conv.from_shapes((2, 6, 7, 5), (4, 3, 3, 3), 1, ((0, 3), (2, 1)), groups=2),
    "two by two": Conv.from_shapes((3, 5, 2, 2), (4, 5, 3, 3), 1, 1),
    "several blocks of squares": Conv.from_shapes((3, 11, 11, 9), (37, 11, 3, 3), 1, (1, 0)),
}
STRIDED = {  # whose input gradients have many residues
    "several tiles each way, strided": Conv.from_shapes((2, 68, 17, 13), (8, 68, 3, 3), 2, 1),
    "half of the positions": Conv.from_shapes((3, 12, 9, 8), (8, 6, 1, 3), (2, 1), (0, 1), groups=2),
    "one position": Conv.from_shapes((2, 4, 1, 1), (8, 4, 3, 3), 2, 1),
    "more residues than positions": Conv.from_shapes((2, 4, 3, 2), (8, 4, 3, 3), (5, 4), 2),
}
FEW = ("strides, pads and dilations differ", "stride and dilation share a factor", "three axes")
WINDOWS = {
    "overlapping": Pool.from_shape((2, 3, 7, 6), (3, 2), (2, 1), (1, 0)),
    "dilated": Pool.from_shape((2, 3, 9, 8), 3, 2, 1, (2, 1)),
    "ceil": Pool.from_shape((2, 3, 7, 8), 3, 2, ceil_mode=True),
    "stride above kernel": Pool.from_shape((2, 3, 9, 8), 2, 3),
    "rows left over": Pool.from_shape((2, 3, 7, 9), 2, 2),
    "adaptive": Pool.adaptive((2, 3, 7, 5), (3, 4)),
    "more windows than positions": Pool.adaptive((2, 3, 3, 2), (5, 7)),
    "shared evenly on one axis only": Pool.adaptive((2, 3, 8, 5), (4, 3)),
    "shared, three axes": Pool.adaptive((1, 3, 5, 3, 7), (2, 3, 5)),
    "global": Pool.adaptive((2, 3, 5, 7), 1),
    "one axis": Pool.from_shape((2, 3, 11), 4, 3, 2),
    "three axes": Pool.from_shape((2, 3, 4, 5, 6), (2, 3, 2), 2, (1, 1, 0)),
    "no images": Pool.from_shape((0, 3, 7, 6), 2),
}


# storage orders on the device ----------------------------------------------------


def plain(cupy: Any, a: np.ndarray) -> Any:
    return cupy.asarray(a)


def channels_last(cupy: Any, a: np.ndarray) -> Any:
    return cupy.moveaxis(cupy.asarray(np.ascontiguousarray(np.moveaxis(a, 1, -1))), -1, 1)


def gappy(cupy: Any, a: np.ndarray) -> Any:
    """Every second element of a wider array, backwards along the last axis; NaN lies between."""
    wide = cupy.full((*a.shape[:-1], 2 * a.shape[-1]), np.nan, a.dtype)
    wide[..., ::-2] = cupy.asarray(a)
    return wide[..., ::-2]


def shifted(cupy: Any, a: np.ndarray) -> Any:
    """Channels-last, but not from the beginning of a vector on."""
    flat = cupy.full(a.size + 1, np.nan, a.dtype)[1:]
    flat[...] = cupy.asarray(np.ascontiguousarray(np.moveaxis(a, 1, -1)).reshape(-1))
    return cupy.moveaxis(flat.reshape(a.shape[0], *a.shape[2:], a.shape[1]), -1, 1)


Layout = Callable[[Any, np.ndarray], Any]
LAYOUTS: tuple[Layout, ...] = (plain, channels_last, gappy, shifted)


# the promise ----------------------------------------------------


def kernel(pass_: str, algorithm: str) -> catalogue.Kernel:
    return next(k for k in catalogue.kernels("conv", pass_, "cuda") if k.algorithm == algorithm)


def agrees(cupy: Any, k: catalogue.Kernel, problem: Conv, dtype: str, lay: Layout) -> None:
    """The result, all of it written, lies within the bound of its algorithm, and the operands are as they were."""
    host = operands(*arrays(problem, dtype))[k.pass_]
    wide = [a.astype("float64") for a in host]
    expected = getattr(spec, k.pass_)(*wide, problem)
    options = winograd_tiles.options(k.pass_, problem) if k.algorithm == "winograd" else {}
    if k.algorithm == "winograd_fused":
        options = winograd_fused.OPTIONS
    bound = error_bound(k.algorithm, k.pass_, *wide, problem, dtype, **options)
    device = [lay(cupy, a) for a in host]
    out = None if lay is plain else lay(cupy, np.full(expected.shape, np.nan, dtype))
    got = k.call(*device, problem, out=out)
    assert type(got) is cupy.ndarray and got.dtype == dtype and got.shape == expected.shape
    assert out is None or got is out
    error = np.abs(got.get().astype("float64") - expected)
    if bound.shape != error.shape:  # on the 2-norm over the spatial axes
        error = np.sqrt((error**2).sum(axis=tuple(range(2, error.ndim)), keepdims=True))
    wrong = int((~(error <= bound)).sum())
    assert not wrong, f"{k.algorithm} {k.pass_} {dtype} {lay.__name__}, {problem}: {wrong} of {error.size} are wrong"
    for a, before in zip(device, host):
        np.testing.assert_array_equal(a.get(), before)


def pools(cupy: Any, pool: Pool, dtype: str, lay: Layout) -> None:
    """Each kind of pooling is its definition, forward and backward; with ties and NaN, several of them in a window."""
    rng = np.random.default_rng(3)
    x = rng.integers(-3, 4, pool.x_shape).astype(dtype)
    if x.size:
        x.flat[:: max(7, x.size // 9)] = np.nan
        x[0, 0] = -np.inf  # what padding counts as
    g = rng.standard_normal(pool.y_shape).astype(dtype)
    values, indices = pooling.max_pool(lay(cupy, x), pool)
    expected, where = pooling.max_pool(x, pool, algorithm="spec")
    np.testing.assert_array_equal(values.get(), expected)
    np.testing.assert_array_equal(indices.get(), where)
    dx = pooling.max_pool_grad(lay(cupy, g), indices, pool.x_shape, pool=pool)
    same(dx, pooling.max_pool_grad(g, where, pool.x_shape, algorithm="spec"))
    x = rng.standard_normal(pool.x_shape).astype(dtype)
    for rule in ((True, None), (False, None), (True, 3)):
        same(pooling.avg_pool(lay(cupy, x), pool, *rule), pooling.avg_pool(x, pool, *rule, algorithm="spec"))
        dx = pooling.avg_pool_grad(lay(cupy, g), pool, *rule)
        same(dx, pooling.avg_pool_grad(g, pool, *rule, algorithm="spec"))


def unpools(cupy: Any, pool: Pool, dtype: str, lay: Layout) -> None:
    """Values put at winners, which windows may share, and at any positions; and values read there."""
    rng = np.random.default_rng(4)
    values, u = (rng.standard_normal(s).astype(dtype) for s in (pool.y_shape, pool.x_shape))
    winners = pooling.max_pool(u, pool, algorithm="spec")[1]
    anywhere = rng.integers(0, math.prod(pool.size), pool.y_shape).astype("int32")
    for indices in (winners, anywhere):
        at = (plain if lay is gappy else lay)(cupy, indices)  # no whole number is NaN, as the gaps are
        expected = pooling.max_unpool(values, indices, pool.size, algorithm="spec")
        out = lay(cupy, np.full(expected.shape, np.nan, dtype))
        assert pooling.max_unpool(lay(cupy, values), at, pool.size, out=out) is out
        for got in (out, pooling.max_unpool(lay(cupy, values), at, pool.size)):
            assert got.dtype == dtype
            np.testing.assert_array_equal(got.get(), expected)
        got = pooling.gather(lay(cupy, u), at)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got.get(), pooling.gather(u, indices, algorithm="spec"))
        np.testing.assert_array_equal(at.get(), indices)


def same(got: Any, expected: np.ndarray) -> None:
    tolerance = 20 * np.finfo(expected.dtype).eps
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got.get(), expected, tolerance, tolerance)


@contextmanager
def tiled(name: str) -> Iterator[None]:
    """LARGE or NARROW tiles, as for the layers of a large network, which are too large to be emulated."""
    with mock.patch.object(implicit_gemm, "tile", lambda *sizes: getattr(implicit_gemm, name)):
        yield


@contextmanager
def slices(count: int) -> Iterator[None]:
    """Weight gradients are summed in as many slices."""
    with mock.patch.object(windows, "slice_count", lambda *sizes: count):
        yield


@contextmanager
def standin() -> Iterator[Any]:
    """The stand-in under the names of CuPy's modules."""
    made = modules()
    before = {name: sys.modules.get(name) for name in made}
    sys.modules.update(made)
    try:
        yield made["cupy"]
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def emulated_agreement(algorithm: str, pass_: str, problem: str, layout: int = 0, count: int = 0) -> None:
    """`agrees` on the stand-in, for one of the problems here by its name; ``count`` slices, 0: as chosen."""
    case = {**CASES, **GROUPED, **TILED, **WHOLE, **SQUARES, **STRIDED}[problem]
    with standin() as cupy, slices(count) if count else nullcontext():
        dtype = "float16" if algorithm.startswith("fp16") else "float32"
        agrees(cupy, kernel(pass_, algorithm), case, dtype, LAYOUTS[layout])


def emulated_unpooling(name: str, layout: int = 0) -> None:
    """`unpools` in float32 on the stand-in, for one of the windows here by its name."""
    with standin() as cupy:
        unpools(cupy, WINDOWS[name], "float32", LAYOUTS[layout])


def emulated_pooling(name: str) -> None:
    """`pools` in float32 on the stand-in, for one of the windows here by its name."""
    with standin() as cupy:
        pools(cupy, WINDOWS[name], "float32", plain)
