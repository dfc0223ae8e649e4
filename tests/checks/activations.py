"""Activations and dropout: the complex step where a function is analytic, values and slopes by hand at its kinks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import minidl
import minidl.nn.functional as F

from .tape import close, draw, leaf, slopes

Array = np.ndarray
ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805
E = math.e


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def below(x: Array, formula: Callable[[Array], Array]) -> Array:
    """x itself above 0, the formula below."""
    return np.where(x.real > 0, x, formula(np.where(x.real > 0, 0, x)))


ANALYTIC: dict[str, tuple[Callable[[Any], Any], Callable[[Array], Array]]] = {
    "silu": (F.silu, lambda x: x * sigmoid(x)),
    "softplus": (F.softplus, lambda x: np.log(1 + np.exp(x))),
    "softplus of 3 x": (lambda x: F.softplus(x, 3.0), lambda x: np.log(1 + np.exp(3 * x)) / 3),
    "mish": (F.mish, lambda x: x * np.tanh(np.log(1 + np.exp(x)))),
    "logsigmoid": (F.logsigmoid, lambda x: np.log(sigmoid(x))),
    "gelu by tanh": (
        lambda x: F.gelu(x, "tanh"),
        lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    "tanhshrink": (F.tanhshrink, lambda x: x - np.tanh(x)),
    "softsign": (F.softsign, lambda x: x / (1 + np.where(x.real > 0, x, -x))),
    "elu": (lambda x: F.elu(x, 1.5), lambda x: below(x, lambda z: 1.5 * (np.exp(z) - 1))),
    "celu": (lambda x: F.celu(x, 1.5), lambda x: below(x, lambda z: 1.5 * (np.exp(z / 1.5) - 1))),
    "selu": (F.selu, lambda x: SCALE * below(x, lambda z: ALPHA * (np.exp(z) - 1))),
    "glu of rows": (F.glu, lambda x: x[:, :2] * sigmoid(x[:, 2:])),
    "glu of columns": (lambda x: F.glu(x, 0), lambda x: x[:2] * sigmoid(x[2:])),
    "softmax of rows": (lambda x: F.softmax(x, 1), lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
    "softmax of columns": (lambda x: F.softmax(x, 0), lambda x: np.exp(x) / np.exp(x).sum(0, keepdims=True)),
    "softmin": (lambda x: F.softmin(x, 0), lambda x: np.exp(-x) / np.exp(-x).sum(0, keepdims=True)),
    "log_softmax": (lambda x: F.log_softmax(x, 0), lambda x: x - np.log(np.exp(x).sum(0, keepdims=True))),
    "normalize": (F.normalize, lambda x: x / np.sqrt((x * x).sum(1, keepdims=True))),
}


def analytic() -> None:
    """Values, and gradients under a random cotangent."""
    rng = np.random.default_rng(1)
    for name, (function, formula) in ANALYTIC.items():
        (x,) = draw(rng, (4, 4))
        t = leaf(x)
        y = function(t)
        want = formula(x)
        close(y, want, name)
        (g,) = draw(rng, want.shape)
        y.backward(minidl.tensor(g))
        close(t.grad, slopes(formula, [x], g)[0], f"{name}: gradient")
    for x in (-1.3, 0.4, 2.0):  # the exact form stands on erf, which NumPy has not
        t = leaf(x)
        y = F.gelu(t)
        y.backward()
        phi = (1 + math.erf(x / math.sqrt(2))) / 2
        close(y, x * phi, "gelu")
        close(t.grad, phi + x * math.exp(-x * x / 2) / math.sqrt(2 * math.pi), "gelu: gradient")


# name: (function, rows of x, value, slope)
KINKS: dict[str, tuple[Callable[[Any], Any], tuple[tuple[float, float, float], ...]]] = {
    "relu": (F.relu, ((-2, 0, 0), (0, 0, 0), (3, 3, 1))),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.25), ((-2, -0.5, 0.25), (0, 0, 0.25), (3, 3, 1))),
    "elu": (lambda x: F.elu(x, 2.0), ((-1, 2 / E - 2, 2 / E), (0, 0, 2), (3, 3, 1))),
    "celu": (lambda x: F.celu(x, 2.0), ((-2, 2 / E - 2, 1 / E), (0, 0, 1), (3, 3, 1))),
    "selu": (F.selu, ((0, 0, SCALE * ALPHA), (3, 3 * SCALE, SCALE))),
    "hardtanh": (
        lambda x: F.hardtanh(x, -1.0, 2.0), ((-3, -1, 0), (-1, -1, 0), (0.5, 0.5, 1), (2, 2, 0), (3, 2, 0)),
    ),
    "relu6": (F.relu6, ((-3, 0, 0), (0, 0, 0), (3, 3, 1), (6, 6, 0), (7, 6, 0))),
    "hardsigmoid": (F.hardsigmoid, ((-4, 0, 0), (-3, 0, 0), (0, 0.5, 1 / 6), (3, 1, 0), (4, 1, 0))),
    "hardswish": (F.hardswish, ((-4, 0, 0), (-3, 0, 0), (0, 0, 0.5), (1.5, 1.125, 1), (4, 4, 1))),
    "threshold": (lambda x: F.threshold(x, 1.0, 7.0), ((0, 7, 0), (1, 7, 0), (2, 2, 1))),
    "hardshrink": (lambda x: F.hardshrink(x, 1.0), ((-2, -2, 1), (-1, 0, 0), (0, 0, 0), (1, 0, 0), (2, 2, 1))),
    "softshrink": (lambda x: F.softshrink(x, 1.0), ((-2, -1, 1), (-1, 0, 0), (0, 0, 0), (1, 0, 0), (2, 1, 1))),
}  # fmt: skip


def kinks() -> None:
    """Values and slopes worked out by hand at every kink and on both sides of it, times a random cotangent."""
    for name, (function, rows) in KINKS.items():
        x, value, slope = (np.array(column, dtype=float) for column in zip(*rows))
        t = leaf(x)
        y = function(t)
        close(y, value, name)
        (g,) = draw(np.random.default_rng(2), x.shape)
        y.backward(minidl.tensor(g))
        close(t.grad, slope * g, f"{name}: slope")


def learned_slopes() -> None:
    """prelu: one slope for each channel, also where the channels are as many as the positions."""
    x, w, g = draw(np.random.default_rng(3), (3, 3, 3), (3,), (3, 3, 3))

    def formula(x: Array, w: Array) -> Array:
        return np.where(x.real > 0, x, x * w.reshape(1, 3, 1))

    leaves = [leaf(x), leaf(w)]
    y = F.prelu(*leaves)
    close(y, formula(x, w), "prelu")
    y.backward(minidl.tensor(g))
    for which, t, slope in zip(("input", "slopes"), leaves, slopes(formula, [x, w], g)):
        close(t.grad, slope, f"prelu: gradient of the {which}")


FAR = np.array([-1e30, -1e4, -800.0, -100.0, 100.0, 800.0, 1e4, 1e30])
LIMITS: dict[str, tuple[Callable[[Any], Any], float, float]] = {  # (function, slopes far left and far right)
    "softplus": (F.softplus, 0, 1),
    "softplus without a threshold": (lambda x: F.softplus(x, threshold=math.inf), 0, 1),
    "logsigmoid": (F.logsigmoid, 1, 0),
    "elu": (F.elu, 0, 1),
    "selu": (F.selu, 0, SCALE),
    "silu": (F.silu, 0, 1),
    "mish": (F.mish, 0, 1),
    "gelu": (F.gelu, 0, 1),
    "gelu by tanh": (lambda x: F.gelu(x, "tanh"), 0, 1),
    "tanh": (F.tanh, 0, 0),
    "sigmoid": (F.sigmoid, 0, 0),
}


def far_out() -> None:
    """No overflow and no NaN at large numbers, forward and backward, in both dtypes."""
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for name, (function, left, right) in LIMITS.items():
            for dtype in ("float32", "float64"):
                x = leaf(FAR, dtype)
                y = function(x)
                assert np.isfinite(y.detach().numpy()).all(), f"{name} far out: {y}"
                y.backward(minidl.ones(len(FAR), dtype=dtype))
                want = np.where(FAR < 0, left, right)
                assert np.abs(x.grad.numpy() - want).max() < 1e-6, f"{name}: slopes far out are {x.grad}"
        for dtype in ("float32", "float64"):
            x = minidl.tensor([[1e4, -1e4, 1e4 - 1]], dtype=dtype)
            p = 1 / (1 + 1 / E)
            assert np.allclose(F.softmax(x, 1).numpy(), [[p, 0, 1 - p]], atol=1e-6), "softmax of large numbers"
            want = [[math.log(p), math.log(p) - 2e4, math.log(1 - p)]]
            assert np.allclose(F.log_softmax(x, 1).numpy(), want, rtol=1e-6), "log_softmax of large numbers"
    nan = minidl.tensor([math.nan])
    for name in ("relu", "threshold", "hardtanh", "elu", "softplus", "hardshrink"):
        y = F.threshold(nan, 0.0, 1.0) if name == "threshold" else getattr(F, name)(nan)
        assert np.isnan(y.item()), f"{name} hides a NaN"


def second_slopes() -> None:
    """The second derivative by the complex step of the first, written out."""
    rng = np.random.default_rng(4)
    a, v = draw(rng, (3, 4), (3, 4))

    def softmax(z: Array) -> Array:
        return np.exp(z) / np.exp(z).sum(1, keepdims=True)

    (g,) = draw(rng, (3, 4))
    firsts: dict[str, tuple[Callable[[Any], Any], Callable[[Array], Array]]] = {
        "softplus": (F.softplus, lambda z: g * sigmoid(z)),
        "elu": (F.elu, lambda z: g * np.where(z.real > 0, 1, np.exp(z))),
        "softmax": (lambda x: F.softmax(x, 1), lambda z: softmax(z) * (g - (g * softmax(z)).sum(1, keepdims=True))),
        "log_softmax": (lambda x: F.log_softmax(x, 1), lambda z: g - softmax(z) * g.sum(1, keepdims=True)),
    }
    for name, (function, first) in firsts.items():
        x = leaf(a)
        (dx,) = minidl.autograd.grad(function(x), x, minidl.tensor(g), create_graph=True)
        close(dx, first(a), f"{name}: first derivative")
        (ddx,) = minidl.autograd.grad(dx, x, minidl.tensor(v))
        close(ddx, slopes(first, [a], v)[0], f"{name}: second derivative")
    zero = leaf([0.0])
    (d,) = minidl.autograd.grad(F.softplus(zero), zero, minidl.tensor([1.0], dtype="float64"), create_graph=True)
    close(minidl.autograd.grad(d, zero, minidl.tensor([1.0], dtype="float64"))[0], [0.25], "softplus'' at 0")


def in_place() -> None:
    """inplace=True overwrites the input and returns it, also while a graph is recorded."""
    x = minidl.tensor([-1.0, 2.0])
    assert F.relu(x, inplace=True) is x and x.tolist() == [0, 2], "relu(inplace=True) left its input as it was"
    t = leaf([-1.0, 2.0])
    y = t * 3
    F.leaky_relu(y, 0.5, inplace=True)
    y.backward(minidl.tensor([1.0, 1.0], dtype="float64"))
    close(t.grad, [1.5, 3.0], "leaky_relu(inplace=True): gradient")


# ---- dropout --------------------------------------------------------------------------------------------------


def dropout() -> None:
    """The share that is dropped, the scale of the rest, one mask forward and backward, a seed's same bits."""
    n, p = 20000, 0.3
    x = leaf(np.random.default_rng(5).uniform(1, 2, n))
    minidl.manual_seed(3)
    y = F.dropout(x, p)
    got = y.detach().numpy()
    kept = got != 0
    assert abs(kept.mean() - (1 - p)) < 5 * math.sqrt(p * (1 - p) / n), f"{1 - kept.mean()} were dropped, not {p}"
    close(got, x.detach().numpy() * kept / (1 - p), "dropout: what is kept is divided by 1 - p")
    (g,) = draw(np.random.default_rng(6), (n,))
    y.backward(minidl.tensor(g))
    close(x.grad, g * kept / (1 - p), "dropout: the gradient goes through the same mask")
    minidl.manual_seed(3)
    assert (F.dropout(x, p).detach().numpy() == got).all(), "the same seed dropped other elements"
    assert (F.dropout(x, p).detach().numpy() != got).any(), "the next call dropped the same elements"
    one, two = (F.dropout(x, p, generator=minidl.Generator().manual_seed(8)).detach().numpy() for _ in range(2))
    assert (one == two).all(), "the same generator state dropped other elements"
    for name in ("dropout", "alpha_dropout"):
        close(getattr(F, name)(x, p, training=False), x.detach().numpy(), f"{name} in evaluation")
    close(F.dropout(x, 1.0), np.zeros(n), "dropout of everything")
    close(F.dropout(x, 0.0), x.detach().numpy(), "dropout of nothing")
    half = F.dropout(minidl.ones(9), 0.5)
    assert half.dtype == np.float32, f"dropout made {half.dtype} of float32"


def channel_dropout() -> None:
    """A channel of a sample is kept or dropped as a whole, each sample by itself."""
    for ndim in (1, 2, 3):
        function = getattr(F, f"dropout{ndim}d")
        minidl.manual_seed(4)
        y = function(minidl.ones(50, 40, *(2, 3, 2)[:ndim]), 0.4).numpy().reshape(50, 40, -1)
        assert (y == y[:, :, :1]).all(), f"dropout{ndim}d cut through a channel"
        kept = y[:, :, 0]
        assert np.allclose(kept[kept != 0], 1 / 0.6), f"dropout{ndim}d does not divide by 1 - p"
        assert abs((kept == 0).mean() - 0.4) < 5 * math.sqrt(0.24 / 2000), f"dropout{ndim}d drops another share"
        assert (kept != kept[:1]).any(), f"dropout{ndim}d drops the same channels of every sample"
        assert (kept != kept[:, :1]).any(), f"dropout{ndim}d drops whole samples"
        assert (function(minidl.ones(2, 3, *(2, 3, 2)[:ndim]), 0.4, False).numpy() == 1).all(), "in evaluation"


def alpha_dropout() -> None:
    """Mean 0 and variance 1 stay, and dropped elements all take one value."""
    n, p = 40000, 0.25
    x = np.random.default_rng(7).standard_normal(n)
    minidl.manual_seed(5)
    y = F.alpha_dropout(minidl.tensor(x), p, training=True).numpy()
    assert abs(y.mean()) < 5 / math.sqrt(n), f"the mean became {y.mean()}"
    assert abs(y.var() - 1) < 12 / math.sqrt(n), f"the variance became {y.var()}"
    values, counts = np.unique(y, return_counts=True)
    assert abs(counts.max() / n - p) < 5 * math.sqrt(p * (1 - p) / n), f"{counts.max() / n} were dropped, not {p}"
    scale = ((1 - p) * (1 + p * (ALPHA * SCALE) ** 2)) ** -0.5
    close(values[counts.argmax()], (1 - p) * -ALPHA * SCALE * scale, "the value of what is dropped")


def maxout() -> None:
    """The largest of each group of neighbouring channels; its gradient goes to the winner alone."""
    x, g = draw(np.random.default_rng(8), (2, 6, 3), (2, 2, 3))
    t = leaf(x)
    y = F.maxout(t, 3)
    groups = x.reshape(2, 2, 3, 3)
    close(y, groups.max(2), "maxout")
    y.backward(minidl.tensor(g))
    winners = groups == groups.max(2, keepdims=True)
    close(t.grad, (winners * g[:, :, None]).reshape(2, 6, 3), "maxout: gradient")


CHECKS = (
    analytic, kinks, learned_slopes, far_out, second_slopes, in_place, dropout, channel_dropout, alpha_dropout, maxout
)  # fmt: skip
