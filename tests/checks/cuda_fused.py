"""What must be true of the kernels in CUDA that do in one pass what takes several: norms, losses, updates."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import numpy as np

import minidl
import minidl.nn.functional as F
from minidl import optim
from minidl.kernels import norm as kernels
from minidl.kernels.cuda import norm, windows

from .cuda import Layout, channels_last, plain, standin

EPS = 0.3
SHAPES: list[tuple[int, ...]] = [
    (3, 5, 4, 7), (4, 3), (2, 37, 3), (2, 33, 5, 3), (1, 4, 1, 1), (2, 3, 1, 2, 5), (6, 1, 5, 5), (70, 3),
    (1, 2, 21, 17),
]  # fmt: skip


def operands(shape: tuple[int, ...], dtype: str, seed: int = 0) -> list[np.ndarray]:
    """x, g, something to add, weight, bias"""
    rng = np.random.default_rng(seed)
    x, g, added = rng.standard_normal((3, *shape)).astype(dtype)
    weight, bias = rng.standard_normal((2, shape[1])).astype(dtype)
    return [2 * x + 3, g, added, weight, bias]


def agree(got: Any, want: Any, what: str) -> None:
    """Results on the device, all of them written, are those of the definition."""
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        tolerance = {"float32": 3e-5, "float64": 1e-12}[b.dtype.name]
        assert a.dtype == b.dtype and a.shape == b.shape
        scale = tolerance * max(1, np.abs(b).max(initial=0))
        np.testing.assert_allclose(a.get(), b, tolerance, scale, err_msg=f"{what}, result {i}")


@contextmanager
def many_slices() -> Any:
    """Sums in three slices, as those of large layers have."""
    cut = norm._cut.__wrapped__
    with mock.patch.object(windows, "slice_count", lambda *sizes: 3), mock.patch.object(norm, "_cut", cut):
        yield


def norms(cupy: Any, shape: tuple[int, ...], dtype: str, lay: Layout, slices: bool = False) -> None:
    """Every function of the family, forward and backward, with and without parameters, ReLU and an addition."""
    host = operands(shape, dtype)
    x, g, added, w, b = host
    device = [lay(cupy, a) if a.ndim > 1 else cupy.asarray(a) for a in host]
    device[1] = (channels_last if lay is plain else plain)(cupy, g)  # stored otherwise
    dx, dg, dadded, dw, db = device
    with many_slices() if slices else nullcontext():
        for number, (weight, bias, dweight, dbias) in enumerate(((w, b, dw, db), (None, None, None, None))):
            wide = [None if a is None else a.astype("float64") for a in (x, weight, bias)]
            exact = [a.astype(dtype) for a in kernels.batch_norm(*wide, EPS, algorithm="spec")]
            agree(kernels.batch_norm(dx, dweight, dbias, EPS), exact, "batch_norm")
            mean, variance = (cupy.asarray(a) for a in exact[1:])
            want = kernels.batch_norm_grad(g, x, weight, *exact[1:], EPS, algorithm="spec")
            agree(kernels.batch_norm_grad(dg, dx, dweight, mean, variance, EPS), want, "batch_norm_grad")
            ceilings = (np.inf, 1.5) if number else (0.75, np.inf)
            for (extra, dextra), ceiling in zip(((None, None), (added, dadded)), ceilings):
                want = kernels.batch_norm_relu(x, weight, bias, EPS, extra, ceiling, algorithm="spec")
                got = kernels.batch_norm_relu(dx, dweight, dbias, EPS, dextra, ceiling)
                agree(got, want, "batch_norm_relu")
                y, dy = (None, None) if extra is None else (got[0].get(), got[0])
                keep = (got[0].get() > 0) & (
                    got[0].get() < ceiling
                )  # where rounding decides, both sides take what the forward pass took
                slopes = kernels.batch_norm_grad(g * keep, x, weight, *exact[1:], EPS, algorithm="spec")
                mask = kernels.batch_norm_relu_grad(dg, dx, dweight, dbias, got[1], got[2], EPS, dy, ceiling)
                agree(mask[:3], slopes, "batch_norm_relu_grad")
                assert len(mask) == (3 if y is None else 4)
                if y is not None:
                    np.testing.assert_array_equal(mask[3].get(), g * keep)
        agree([kernels.scale_shift(dx, dw, db)], [kernels.scale_shift(x, w, b, algorithm="spec")], "scale_shift")
        got = kernels.scale_shift_relu(dx, dw, db, dadded, 6.0)
        agree([got], [kernels.scale_shift_relu(x, w, b, added, 6.0, algorithm="spec")], "scale_shift_relu")
        want = kernels.scale_shift_grad(g, x, w, algorithm="spec")
        agree(kernels.scale_shift_grad(dg, dx, dw), want, "scale_shift_grad")
    for a, before in zip(device, host):
        np.testing.assert_array_equal(a.get(), before)
    if lay is not plain:
        assert got.strides == kernels.scale_shift(dx, dw, None).strides


def large_mean(cupy: Any, lay: Layout) -> None:
    """Mean 10,000 and deviation 1, the first value far from both: squares keep nothing of the deviation."""
    x = (1e4 + np.random.default_rng(1).standard_normal((4, 3, 9, 31))).astype("float32")
    x[0, 0, 0, 0] = 0
    with many_slices():
        _, mean, variance = kernels.batch_norm(lay(cupy, x))
    exact = x.astype("float64")
    np.testing.assert_allclose(mean.get(), exact.mean(axis=(0, 2, 3)), rtol=1e-7)
    np.testing.assert_allclose(variance.get(), exact.var(axis=(0, 2, 3)), rtol=1e-5)


# shape of the scores, dtype, options of the loss
LOSSES: list[tuple[tuple[int, ...], str, dict[str, Any]]] = [
    ((5, 3), "float32", {}),
    ((7, 70), "float64", {"reduction": "sum"}),
    ((4, 6, 5), "float32", {"label_smoothing": 0.2, "weight": True}),
    ((2, 5, 3, 4), "float64", {"ignore_index": 2, "weight": True, "label_smoothing": 0.1}),
    ((6, 4), "float64", {"ignore_index": 1, "reduction": "none", "weight": True}),
    ((3, 1), "float32", {}),
]


def cross_entropy(number: int) -> None:
    """On the device the loss, its gradient by a random cotangent and the gradient of that are those of the CPU."""
    shape, dtype, options = LOSSES[number]
    rng = np.random.default_rng(number)
    scores = 3 * rng.standard_normal(shape).astype(dtype)
    target = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    weight = rng.uniform(0.5, 2, shape[1]).astype(dtype)
    turn = rng.standard_normal(shape).astype(dtype)
    by = rng.standard_normal(target.shape if options.get("reduction") == "none" else ()).astype(dtype)
    found = []
    for place in ("cpu", "cuda"):
        x, w, v, g = (minidl.from_numpy(np.asarray(a)).to(place) for a in (scores, weight, turn, by))
        x.requires_grad_()
        given = options | ({"weight": w} if "weight" in options else {})
        loss = F.cross_entropy(x, minidl.from_numpy(target).to(place), **given)
        (dx,) = minidl.autograd.grad(loss, [x], g, retain_graph=True)
        (again,) = minidl.autograd.grad(loss, [x], g, create_graph=True)
        (second,) = minidl.autograd.grad((again * v).sum(), [x])
        found.append([t.detach().numpy() for t in (loss, dx, again, second)])
    tolerance = {"float32": 2e-5, "float64": 1e-11}[dtype]
    for a, b in zip(*found):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(b, a, tolerance, tolerance)


UPDATES: list[tuple[type, dict[str, Any], str]] = [
    (optim.SGD, {}, "float32"),
    (optim.SGD, {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.02}, "float64"),
    (optim.SGD, {"momentum": 0.8, "nesterov": True, "weight_decay": 0.02, "maximize": True}, "float32"),
    (optim.Adagrad, {"lr_decay": 0.1, "weight_decay": 0.05, "initial_accumulator_value": 0.3}, "float32"),
    (optim.RMSprop, {"centered": True, "momentum": 0.7, "maximize": True}, "float64"),
    (optim.RMSprop, {"weight_decay": 0.03}, "float32"),
    (optim.Adam, {"weight_decay": 0.1, "amsgrad": True, "betas": (0.7, 0.95)}, "float32"),
    (optim.Adam, {}, "float64"),
    (optim.AdamW, {"weight_decay": 0.2}, "float32"),
    (optim.Adadelta, {"rho": 0.8, "weight_decay": 0.05, "maximize": True}, "float32"),
    (optim.DampenedSGD, {"beta": 0.8, "weight_decay": 0.05, "bias_correction": True}, "float32"),
]


def updates(cupy: Any, number: int) -> str:
    """Three steps on the device have the bits of the definition on the CPU; returns the rule."""
    kind, options, dtype = UPDATES[number]
    defined = type(kind.__name__, (kind,), {"update": lambda self, *args: kind.update(self, *args)})
    shapes = [(3, 4), (), (0, 3), (70, 130), (1,), (2, 1, 3)]  # 9,100 elements are two shares
    optimisers = []
    for place, make in (("cuda", kind), ("cpu", defined)):
        rng = np.random.default_rng(3)
        params = [minidl.from_numpy(np.array(rng.standard_normal(s), dtype)).to(place).requires_grad_() for s in shapes]
        optimisers.append(make(params, lr=0.05, **options))
    for step in range(3):
        for optimiser, place in zip(optimisers, ("cuda", "cpu")):
            rng = np.random.default_rng(step)
            for i, p in enumerate(optimiser.param_groups[0]["params"]):
                g = minidl.from_numpy(np.array(rng.standard_normal(p.shape), dtype)).to(place)
                p.grad = None if step == 1 and i == 3 else g
            optimiser.step()
    device, host = optimisers
    for a, b in zip(*(o.param_groups[0]["params"] for o in optimisers)):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
        for name, value in host.state[b].items():
            got = device.state[a][name]
            if hasattr(value, "shape"):
                assert type(got) is cupy.ndarray
                np.testing.assert_array_equal(got.get(), value)
            else:
                assert got == value
    return {"AdamW": "adam", "DampenedSGD": "sgd"}.get(kind.__name__, kind.__name__.lower())


# for the mutants: on the stand-in ----------------------------------------------------


def emulated_norms(number: int, dtype: str, lay: Layout, slices: bool) -> None:
    with standin() as cupy:
        norms(cupy, SHAPES[number], dtype, lay, slices)


def emulated_large_mean(lay: Layout) -> None:
    with standin() as cupy:
        large_mean(cupy, lay)


def emulated_loss(number: int) -> None:
    with standin():
        cross_entropy(number)


def emulated_updates(number: int) -> None:
    with standin() as cupy:
        updates(cupy, number)


def emulated_norm_of_gradients() -> None:
    with standin():
        g = np.random.default_rng(1).standard_normal((90, 101)).astype("float32")
        p = minidl.zeros(90, 101, device="cuda").requires_grad_()
        p.grad = minidl.from_numpy(g).cuda()
        norm = minidl.nn.utils.clip_grad_norm_([p], 1.0).item()
        np.testing.assert_allclose(norm, np.linalg.norm(g), 1e-6)
        np.testing.assert_allclose(p.grad.numpy(), g / norm, 1e-5)
