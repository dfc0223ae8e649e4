"""What must be true of a convolution kernel written in CUDA, on CuPy's arrays or on those of the stand-in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import numpy as np

from minidl.kernels import catalogue
from minidl.kernels.cuda import implicit_gemm, windows
from minidl.kernels.geometry import Conv
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
FEW = ("strides, pads and dilations differ", "stride and dilation share a factor", "three axes")


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


Layout = Callable[[Any, np.ndarray], Any]
LAYOUTS: tuple[Layout, ...] = (plain, channels_last, gappy)


# the promise ----------------------------------------------------


def kernel(pass_: str, algorithm: str) -> catalogue.Kernel:
    return next(k for k in catalogue.kernels("conv", pass_, "cuda") if k.algorithm == algorithm)


def agrees(cupy: Any, k: catalogue.Kernel, problem: Conv, dtype: str, lay: Layout) -> None:
    """The result, all of it written, lies within the bound of its algorithm, and the operands are as they were."""
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
    wrong = int((~(error <= bound)).sum())
    assert not wrong, f"{k.algorithm} {k.pass_} {dtype} {lay.__name__}, {problem}: {wrong} of {error.size} are wrong"
    for a, before in zip(device, host):
        np.testing.assert_array_equal(a.get(), before)


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
    """`agrees` in float32 on the stand-in, for one of the problems here by its name; ``count`` slices, 0: as chosen."""
    case = {**CASES, **GROUPED, **TILED}[problem]
    with standin() as cupy, slices(count) if count else nullcontext():
        agrees(cupy, kernel(pass_, algorithm), case, "float32", LAYOUTS[layout])
