"""What must be true of the norms in CUDA that have no twin on the CPU: over groups, and of float16."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any
from unittest import mock

import numpy as np

import minidl
from minidl import nn
from minidl.kernels import norm as kernels

from .cuda import Layout, channels_last, plain, standin
from .cuda_fused import EPS, many_slices, operands

GROUPS: list[tuple[tuple[int, ...], int]] = [
    ((3, 6, 4, 7), 2), ((2, 4, 3, 5), 4), ((5, 12), 1), ((2, 70, 3), 7), ((70, 3), 1), ((1, 4, 1, 1), 2),
    ((2, 3, 2, 3, 5), 3), ((2, 8, 9, 17), 1),
]  # fmt: skip
TOLERANCE = {"float16": 1e-3, "float32": 3e-5, "float64": 1e-12}


def close(got: Any, want: np.ndarray, dtype: str, what: str) -> None:
    """A result on the device, of ``dtype``, is what the definition gives in float64."""
    assert got.dtype == dtype and got.shape == want.shape, what
    tolerance = TOLERANCE[dtype]
    scale = tolerance * max(1, np.abs(want).max(initial=0))
    np.testing.assert_allclose(got.get().astype("float64"), want, tolerance, scale, err_msg=what)


def wide(*arrays: Any) -> list[Any]:
    return [None if a is None else a.astype("float64") for a in arrays]


def statistics_of(dtype: str) -> str:
    return "float32" if dtype == "float16" else dtype


def prepared(cupy: Any, shape: tuple[int, ...], dtype: str, lay: Layout) -> tuple[list[np.ndarray], list[Any]]:
    """x, g and something to add of ``dtype``, weight and bias as statistics are; and all of it on the device."""
    host = operands(shape, "float64")
    host = [a.astype(dtype if a.ndim > 1 else statistics_of(dtype)) for a in host]
    device = [lay(cupy, a) if a.ndim > 1 else cupy.asarray(a) for a in host]
    device[1] = (channels_last if lay is plain else plain)(cupy, host[1])  # stored otherwise
    return host, device


def groups(cupy: Any, number: int, dtype: str, lay: Layout, slices: bool = False) -> None:
    """Group norm and its gradients are the definition, with and without weight and bias; nothing else is written."""
    shape, count = GROUPS[number]
    host, device = prepared(cupy, shape, dtype, lay)
    (x, g, _, w, b), (dx, dg, _, dw, db) = host, device
    statistics = statistics_of(dtype)
    with many_slices() if slices else nullcontext():
        for weight, bias, dweight, dbias in ((w, b, dw, db), (None, b, None, db), (None, None, None, None)):
            exact = kernels.group_norm(*wide(x), count, *wide(weight, bias), EPS, algorithm="spec")
            y, mean, variance = kernels.group_norm(dx, count, dweight, dbias, EPS)
            close(y, exact[0], dtype, "y")
            close(mean, exact[1], statistics, "mean")
            close(variance, exact[2], statistics, "variance")
            want = kernels.group_norm_grad(*wide(g, x), count, *wide(weight), *exact[1:], EPS, algorithm="spec")
            got = kernels.group_norm_grad(dg, dx, count, dweight, mean, variance, EPS)
            for a, e, what in zip(got, want, ("dx", "dweight", "dbias"), strict=True):
                close(a, e, dtype if what == "dx" else statistics, what)
            alone = kernels.group_norm_grad(dg, dx, count, dweight, mean, variance, EPS, parameters=False)
            np.testing.assert_array_equal(alone[0].get(), got[0].get())
            assert alone[1:] == (None, None)
    for a, before in zip(device, host):
        np.testing.assert_array_equal(a.get(), before)
    if lay is channels_last and len(shape) > 2:
        assert y.strides == dx.strides, "results lie as x does"


def halves(cupy: Any, shape: tuple[int, ...], lay: Layout, slices: bool = False) -> None:
    """Batch norm of float16, with ReLU and an addition: each result is rounded once, statistics are float32."""
    host, device = prepared(cupy, shape, "float16", lay)
    (x, g, added, w, b), (dx, dg, dadded, dw, db) = host, device
    w[0], b[0] = 0, 0.8998  # below the ceiling of 0.9, which is stored as 0.8999, and rounded to that
    dw[0], db[0] = 0, 0.8998
    with many_slices() if slices else nullcontext():
        exact = kernels.batch_norm(*wide(x, w, b), EPS, algorithm="spec")
        y, mean, variance = kernels.batch_norm(dx, dw, db, EPS)
        close(y, exact[0], "float16", "y")
        close(mean, exact[1], "float32", "mean")
        close(variance, exact[2], "float32", "variance")
        want = kernels.batch_norm_grad(*wide(g, x, w), *exact[1:], EPS, algorithm="spec")
        same_gradients(kernels.batch_norm_grad(dg, dx, dw, mean, variance, EPS), want)
        for extra, dextra, ceiling in ((None, None, 0.9), (added, dadded, np.inf), (added, dadded, 0.9)):
            want = kernels.batch_norm_relu(*wide(x, w, b), EPS, *wide(extra), ceiling, algorithm="spec")
            y, mean, variance = kernels.batch_norm_relu(dx, dw, db, EPS, dextra, ceiling)
            close(y, want[0], "float16", "relu")
            top = np.float16(ceiling)
            keep = (y.get() > 0) & (y.get() < top)
            assert ceiling == np.inf or (y.get() == top).any()
            want = kernels.batch_norm_grad(*wide(g * keep, x, w), *exact[1:], EPS, algorithm="spec")
            seen = None if extra is None else y
            got = kernels.batch_norm_relu_grad(dg, dx, dw, db, mean, variance, EPS, seen, ceiling)
            same_gradients(got[:3], want)
            if extra is not None:
                np.testing.assert_array_equal(got[3].get(), g * keep)
        close(
            kernels.scale_shift(dx, dw, db), kernels.scale_shift(*wide(x, w, b), algorithm="spec"), "float16", "shift"
        )
        want = kernels.scale_shift_relu(*wide(x, w, b, added), 6.0, algorithm="spec")
        close(kernels.scale_shift_relu(dx, dw, db, dadded, 6.0), want, "float16", "shift and relu")
        want = kernels.scale_shift_grad(*wide(g, x, w), algorithm="spec")
        same_gradients(kernels.scale_shift_grad(dg, dx, dw), want)
    for a, before in zip(device, host):
        np.testing.assert_array_equal(a.get(), before)


def same_gradients(got: Any, want: Any) -> None:
    for a, e, what in zip(got, want, ("dx", "dweight", "dbias"), strict=True):
        close(a, e, "float16" if what == "dx" else "float32", what)


def large_mean_of_groups(cupy: Any, lay: Layout) -> None:
    """Mean 10,000 and deviation 1, the first value far from both: squares keep nothing of the deviation."""
    x = (1e4 + np.random.default_rng(1).standard_normal((2, 4, 9, 31))).astype("float32")
    x[:, ::2, 0, 0] = 0
    _, mean, variance = kernels.group_norm(lay(cupy, x), 2)
    exact = x.astype("float64").reshape(2, 2, -1)
    np.testing.assert_allclose(mean.get(), exact.mean(axis=2), rtol=1e-6)
    np.testing.assert_allclose(variance.get(), exact.var(axis=2), rtol=1e-5)


LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "group": (lambda: nn.GroupNorm(3, 6), (4, 6, 3, 5)),
    "layer": (lambda: nn.LayerNorm([3, 5]), (2, 4, 3, 5)),
    "layer without bias": (lambda: nn.LayerNorm(5, bias=False), (3, 5)),
    "instance": (lambda: nn.InstanceNorm2d(3, affine=True, track_running_stats=True), (4, 3, 5, 2)),
    "instance without parameters": (lambda: nn.InstanceNorm1d(3), (4, 3, 7)),
}


def layers(name: str) -> None:
    """A layer on the device gives results, statistics, first and second derivatives of the CPU, as one primitive."""
    make, shape = LAYERS[name]
    rng = np.random.default_rng(3)
    x, g, v = rng.standard_normal((3, *shape))
    parameters = [rng.standard_normal(p.shape) for p in make().parameters()]
    found = []
    for place in ("cpu", "cuda"):
        layer = make().to(place, "float64")
        for p, value in zip(layer.parameters(), parameters):
            p.data = minidl.from_numpy(value).to(place)
        t = minidl.from_numpy(x).to(place).requires_grad_()
        with mock.patch.object(kernels, "group_norm", wraps=kernels.group_norm) as one:
            y = layer(t)
        assert one.call_count == (place == "cuda")
        cotangent, turn = (minidl.from_numpy(a).to(place) for a in (g, v))
        first = minidl.autograd.grad(y, [t, *layer.parameters()], cotangent, retain_graph=True)
        again = minidl.autograd.grad(y, [t, *layer.parameters()], cotangent, create_graph=True)
        second = minidl.autograd.grad((again[0] * turn).sum(), [t, *layer.parameters()], allow_unused=True)
        kept = [a for a in (y, *first, *again, *second, *layer.buffers()) if a is not None]
        found.append([a.detach().numpy() for a in kept])
    assert len(found[0]) == len(found[1])
    for a, b in zip(*found):
        np.testing.assert_allclose(b, a, 1e-9, 1e-10)


# for the mutants: on the stand-in ----------------------------------------------------


def emulated_groups(number: int, dtype: str, lay: Layout, slices: bool = False) -> None:
    with standin() as cupy:
        groups(cupy, number, dtype, lay, slices)


def emulated_halves(shape: tuple[int, ...], lay: Layout) -> None:
    with standin() as cupy:
        halves(cupy, shape, lay, True)


def emulated_large_mean_of_groups(lay: Layout) -> None:
    with standin() as cupy:
        large_mean_of_groups(cupy, lay)


def emulated_layers(*names: str) -> None:
    with standin():
        for name in names:
            layers(name)
