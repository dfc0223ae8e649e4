"""Normalisation against a definition that knows groups only.

Every normalisation is: give each element the number of its group, standardise within each group.  Gradients are the
complex step of that definition, second derivatives the complex step of the closed form of the first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minidl
import minidl.nn.functional as F
from minidl.ops.normalization import _standardize

from .tape import close, draw, leaf, slopes

EPS = 0.1  # large enough that its place shows
Array = np.ndarray


def standardised(x: Array, group: Array, eps: float = EPS) -> Array:
    """(x - mean) / sqrt(variance + eps) within the elements of equal ``group`` number, one group after the other."""
    y = np.empty_like(x)
    for number in np.unique(group):
        members = [at for at in np.ndindex(*x.shape) if group[at] == number]
        mean = sum(x[at] for at in members) / len(members)
        variance = sum((x[at] - mean) ** 2 for at in members) / len(members)
        for at in members:
            y[at] = (x[at] - mean) / np.sqrt(variance + eps)
    return y


def by_channel(x: Array) -> Array:
    return np.indices(x.shape)[1]


def by_sample(x: Array) -> Array:
    return np.indices(x.shape)[0]


def by_row(x: Array) -> Array:
    """All but the last axis."""
    return np.arange(x.size).reshape(x.shape) // x.shape[-1]


def by_sample_and_channel(x: Array) -> Array:
    n, c = np.indices(x.shape)[:2]
    return n * x.shape[1] + c


def by_channel_group(groups: int) -> Callable[[Array], Array]:
    def numbers(x: Array) -> Array:
        n, c = np.indices(x.shape)[:2]
        return n * groups + c // (x.shape[1] // groups)

    return numbers


def along_channels(v: Array, x: Array) -> Array:
    return v.reshape(1, -1, *[1] * (x.ndim - 2))


# name: (on tensors x, w, b; group numbers; are w and b laid along the channels, else along the last axes)
KINDS: dict[str, tuple[Callable[..., Any], Callable[[Array], Array], tuple[int, ...], bool]] = {
    "batch_norm of a cube": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True, 0.1, EPS), by_channel, (3, 3, 3), True),
    "batch_norm of features": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True, 0.1, EPS), by_channel, (5, 3), True),
    "batch_norm of images": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True, 0.1, EPS), by_channel, (3, 2, 2, 4), True),
    "instance_norm": (
        lambda x, w, b: F.instance_norm(x, None, None, w, b, eps=EPS), by_sample_and_channel, (2, 3, 2, 3), True),
    "group_norm in 2": (lambda x, w, b: F.group_norm(x, 2, w, b, EPS), by_channel_group(2), (2, 6, 3), True),
    "group_norm in 3": (lambda x, w, b: F.group_norm(x, 3, w, b, EPS), by_channel_group(3), (2, 6, 3), True),
    "layer_norm of rows": (lambda x, w, b: F.layer_norm(x, (4,), w, b, EPS), by_row, (2, 3, 4), False),
    "layer_norm of samples": (lambda x, w, b: F.layer_norm(x, (3, 4), w, b, EPS), by_sample, (2, 3, 4), False),
}  # fmt: skip


def normalisations() -> None:
    """Value, gradients of x, weight and bias, with and without the two, for every kind."""
    rng = np.random.default_rng(1)
    for name, (function, groups, shape, channels) in KINDS.items():
        x, g = draw(rng, shape, shape)
        inner = (shape[1],) if channels else {by_row: shape[-1:], by_sample: shape[1:]}[groups]
        w, b = draw(rng, inner, inner)
        lay = along_channels if channels else lambda v, x: v

        def formula(x: Array, w: Array, b: Array, groups: Any = groups, lay: Any = lay) -> Array:
            return standardised(x, groups(x)) * lay(w, x) + lay(b, x)

        leaves = [leaf(a) for a in (x, w, b)]
        y = function(*leaves)
        close(y, formula(x, w, b), name)
        y.backward(minidl.tensor(g))
        for which, t, slope in zip(("input", "weight", "bias"), leaves, slopes(formula, [x, w, b], g), strict=True):
            close(t.grad, slope, f"{name}: gradient of the {which}")
        close(function(leaf(x), None, None), standardised(x, groups(x)), f"{name} without weight and bias")


def second_derivative() -> None:
    """d/dx of <v, dx(g)>, from the closed form of the first gradient; also the statistics are differentiable."""
    rng = np.random.default_rng(2)
    shape, axes = (4, 3, 2), (0, 2)
    a, g, v = draw(rng, shape, shape, shape)

    def first(x: Array, g: Array) -> Array:
        count = x.size // x.shape[1]
        mean = x.sum(axes, keepdims=True) / count
        root = np.sqrt(((x - mean) ** 2).sum(axes, keepdims=True) / count + EPS)
        y = (x - mean) / root
        return (g - g.sum(axes, keepdims=True) / count - y * (g * y).sum(axes, keepdims=True) / count) / root

    x, upstream = leaf(a), leaf(g)
    y = F.batch_norm(x, None, None, training=True, eps=EPS)
    (dx,) = minidl.autograd.grad(y, x, upstream, create_graph=True)
    close(dx, first(a, g), "batch_norm: first gradient")
    wanted = slopes(first, [a, g], v)
    for which, got, want in zip(("x", "g"), minidl.autograd.grad(dx, (x, upstream), minidl.tensor(v)), wanted):
        close(got, want, f"batch_norm: second gradient with respect to {which}")

    statistics = (
        ("mean", 1, lambda z: z.sum(axes, keepdims=True) / 8),
        ("variance", 2, lambda z: ((z - z.sum(axes, keepdims=True) / 8) ** 2).sum(axes, keepdims=True) / 8),
    )
    for which, output, formula in statistics:
        x = leaf(a)
        result = _standardize(x, axes=axes, eps=EPS)[output]
        close(result, formula(a), which)
        (u,) = draw(rng, result.shape)
        close(
            minidl.autograd.grad(result, x, minidl.tensor(u))[0], slopes(formula, [a], u)[0], f"gradient of the {which}"
        )


def running_statistics() -> None:
    """By hand: values 1, 3 and 2, 8 have means 2, 5, unbiased variances 2, 18; a tenth of them is taken over."""
    x = minidl.tensor([[1.0, 2.0], [3.0, 8.0]], dtype="float64")
    mean, var = (minidl.tensor(v, dtype="float64") for v in ([10.0, 20.0], [4.0, 5.0]))
    F.batch_norm(x, mean, var, training=True, momentum=0.1)
    close(mean, [9.2, 18.5], "running mean after one batch")
    close(var, [3.8, 6.3], "running variance after one batch")
    F.batch_norm(x, mean, var, training=False)
    close(mean, [9.2, 18.5], "running mean after an evaluation")
    mean, var = (minidl.tensor([v], dtype="float64") for v in (10.0, 4.0))
    rows = minidl.tensor([[[1.0, 3.0]], [[2.0, 8.0]]], dtype="float64")  # two samples of one channel
    F.instance_norm(rows, mean, var, momentum=0.25)
    close(mean, [0.75 * 10 + 0.25 * (2 + 5) / 2], "running mean of instance_norm")
    close(var, [0.75 * 4 + 0.25 * (2 + 18) / 2], "running variance of instance_norm")


def evaluation() -> None:
    """The running statistics are constants: y = w (x - mean) / sqrt(var + eps) + b."""
    rng = np.random.default_rng(3)
    for shape in ((4, 3), (3, 3, 3), (2, 3, 2, 4)):
        x, g, w, b, mean = draw(rng, shape, shape, (3,), (3,), (3,))
        var = rng.uniform(0.5, 2, 3)
        stats = [minidl.tensor(mean), minidl.tensor(var)]

        def formula(x: Array, w: Array, b: Array, mean: Array = mean, var: Array = var) -> Array:
            lay = [along_channels(v, x) for v in (mean, var, w, b)]
            return (x - lay[0]) / np.sqrt(lay[1] + EPS) * lay[2] + lay[3]

        for name in ("batch_norm", "instance_norm"):
            if name == "instance_norm" and x.ndim == 2:
                continue
            leaves = [leaf(a) for a in (x, w, b)]
            y = getattr(F, name)(leaves[0], *stats, leaves[1], leaves[2], False, 0.1, EPS)
            close(y, formula(x, w, b), f"{name} in evaluation")
            with minidl.no_grad():
                unrecorded = getattr(F, name)(leaves[0], *stats, leaves[1], leaves[2], False, 0.1, EPS)
            close(unrecorded, formula(x, w, b), f"{name} in evaluation, not recorded")
            y.backward(minidl.tensor(g))
            for which, t, slope in zip(("input", "weight", "bias"), leaves, slopes(formula, [x, w, b], g)):
                close(t.grad, slope, f"{name} in evaluation: gradient of the {which}")
            ones = np.ones(3)
            for given in ((w, None), (None, b), (None, None)):
                parts = [None if v is None else minidl.tensor(v) for v in given]
                got = getattr(F, name)(minidl.tensor(x), *stats, *parts, False, 0.1, EPS)
                want = formula(x, ones if given[0] is None else w, ones * 0 if given[1] is None else b)
                close(got, want, f"{name} in evaluation, weight or bias missing")
        close(stats[0], mean, "running mean after evaluation")
        close(stats[1], var, "running variance after evaluation")


def rms() -> None:
    """x / sqrt(mean of squares + eps), over the last axis and the last two."""
    rng = np.random.default_rng(4)
    for inner in ((4,), (3, 4)):
        x, g, w = draw(rng, (2, 3, 4), (2, 3, 4), inner)
        axes = tuple(range(3 - len(inner), 3))
        count = int(np.prod(inner))

        def formula(x: Array, w: Array, axes: Any = axes, count: int = count) -> Array:
            return x / np.sqrt((x * x).sum(axes, keepdims=True) / count + EPS) * w

        leaves = [leaf(x), leaf(w)]
        y = F.rms_norm(leaves[0], inner, leaves[1], EPS)
        close(y, formula(x, w), "rms_norm")
        y.backward(minidl.tensor(g))
        for t, slope in zip(leaves, slopes(formula, [x, w], g)):
            close(t.grad, slope, "rms_norm: gradient")
    for dtype in ("float32", "float64"):
        small = F.rms_norm(minidl.tensor([1e-9], dtype=dtype), 1).item()
        want = 1e-9 / np.sqrt(1e-18 + np.finfo(dtype).eps)
        assert abs(small / want - 1) < 1e-5, f"rms_norm's default eps in {dtype}: {small}, should be {want}"


def local_response() -> None:
    """Windows of any size, even ones too, that hang over both ends; mean and sum; by hand once."""
    rng = np.random.default_rng(5)
    alpha, beta, k = 0.7, 0.6, 1.5
    for size in (1, 2, 3, 4, 5):
        for average in (True, False):
            x, g = draw(rng, (2, 4, 3), (2, 4, 3))

            def formula(x: Array, size: int = size, average: bool = average) -> Array:
                y = np.empty_like(x)
                for c in range(x.shape[1]):
                    window = range(max(c - size // 2, 0), min(c + (size - 1) // 2, x.shape[1] - 1) + 1)
                    energy = sum(x[:, i] ** 2 for i in window) / (size if average else 1)
                    y[:, c] = x[:, c] / (k + alpha * energy) ** beta
                return y

            t = leaf(x)
            y = F.local_response_norm(t, size, alpha, beta, k, average)
            what = f"local_response_norm over {size} channels, {'mean' if average else 'sum'}"
            close(y, formula(x), what)
            y.backward(minidl.tensor(g))
            close(t.grad, slopes(formula, [x], g)[0], f"{what}: gradient")
    x = minidl.tensor([[1.0, 2.0, 3.0]], dtype="float64")
    close(F.local_response_norm(x, 3, 1.0, 1.0, 0.0, average=False), [[1 / 5, 2 / 14, 3 / 13]], "the paper's formula")
    close(F.local_response_norm(x, 3, 3.0, 1.0, 0.0), [[1 / 5, 2 / 14, 3 / 13]], "PyTorch's formula, alpha times 3")


CHECKS = (normalisations, second_derivative, running_statistics, evaluation, rms, local_response)
