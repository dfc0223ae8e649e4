"""Losses against sums written out entry by entry; gradients by complex step, and by hand where there is a kink."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

import minidl
import minidl.nn.functional as F

from .tape import close, draw, leaf, slopes

Array = np.ndarray
REDUCTIONS = ("mean", "sum", "none")


def tensor(values: Any) -> Any:
    return minidl.tensor(np.asarray(values, "float64"))


def agrees(what: str, function: Callable[..., Any], formula: Callable[..., Any], arrays: list[Array]) -> None:
    """The value, and the gradient of each array under a random cotangent."""
    leaves = [leaf(a) for a in arrays]
    y, want = function(*leaves), np.asarray(formula(*arrays))
    close(y, want, what)
    g = np.asarray(np.random.default_rng(9).standard_normal(want.shape))
    y.backward(minidl.tensor(g))
    for i, (t, slope) in enumerate(zip(leaves, slopes(formula, arrays, g), strict=True)):
        close(t.grad, slope, f"{what}: gradient of argument {i}")


def reduced(losses: Any, reduction: str, total: float | None = None) -> Any:
    """The sum, the sum divided by ``total`` (the count), or the losses themselves."""
    losses = np.asarray(losses)
    if reduction == "none":
        return losses
    return losses.sum() / (1 if reduction == "sum" else losses.size if total is None else total)


def log_probabilities(x: Array) -> Array:
    """Along axis 1."""
    return x - np.log(np.exp(x).sum(1, keepdims=True))


# ---- classes ------------------------------------------------------------------------------------------------


def cross_entropy() -> None:
    """Class numbers, with every mixture of weights, ignored entries and smoothing, for rows and for images."""
    rng = np.random.default_rng(1)
    for shape in ((6, 4), (2, 3, 2, 2)):
        classes = shape[1]
        (x,) = draw(rng, shape)
        target = rng.integers(0, classes, (shape[0], *shape[2:]))
        weight = rng.uniform(0.5, 2, classes)
        options = itertools.product(REDUCTIONS, (None, weight), (-100, int(target.flat[0])), (0.0, 0.3))
        for reduction, w, ignored, smoothing in options:

            def formula(
                x: Array, w: Any = w, ignored: int = ignored, smoothing: float = smoothing, reduction: str = reduction,
                target: Array = target, classes: int = classes,
            ) -> Any:  # fmt: skip
                logp, share = log_probabilities(x), np.ones(classes) if w is None else w
                losses, total = np.zeros(target.shape, x.dtype), 0.0
                for at in np.ndindex(*target.shape):
                    right = target[at]
                    if right == ignored:
                        continue
                    p = logp[(at[0], slice(None), *at[1:])]
                    uniform = sum(share[c] * p[c] for c in range(classes)) / classes
                    losses[at] = -(1 - smoothing) * share[right] * p[right] - smoothing * uniform
                    total += share[right]
                return reduced(losses, reduction, total)

            def function(x: Any, w: Any = w, t: Array = target, rest: Any = (ignored, reduction, smoothing)) -> Any:
                return F.cross_entropy(x, minidl.tensor(t), None if w is None else minidl.tensor(w), *rest)

            what = f"cross_entropy of {shape}, {reduction}, weight {w is not None}, ignore {ignored}, {smoothing}"
            agrees(what, function, formula, [x])
    one = F.cross_entropy(tensor([2.0, 0.0, 1.0]), minidl.tensor(2))
    close(one, np.log(np.exp(2) + 1 + np.e) - 1, "cross_entropy of one sample without a batch")
    (scores,), direction = draw(rng, (3, 4)), rng.standard_normal((3, 4))
    x = tensor(scores).requires_grad_()
    (slope,) = minidl.autograd.grad(F.cross_entropy(x, minidl.tensor([2, 0, 0])), [x], create_graph=True)
    (second,) = minidl.autograd.grad(slope, [x], tensor(direction))
    p = np.exp(log_probabilities(scores))
    close(second, p * (direction - (p * direction).sum(1, keepdims=True)) / 3, "cross_entropy's second derivative")
    scores = minidl.tensor([[-np.inf, 0.0]], dtype="float64")  # an ignored entry may hold -inf
    close(F.nll_loss(scores, minidl.tensor([1]), ignore_index=1, reduction="sum"), 0.0, "-inf where it is ignored")


def cross_entropy_with_probabilities() -> None:
    """Probabilities as the target: differentiable in both; the mean divides by the rows, weighted or not."""
    rng = np.random.default_rng(2)
    for shape in ((3, 4), (2, 3, 2)):
        x = rng.standard_normal(shape)
        q = rng.uniform(0.1, 1, shape)
        weight = rng.uniform(0.5, 2, shape[1])
        for reduction, w, smoothing in itertools.product(REDUCTIONS, (None, weight), (0.0, 0.2)):

            def formula(x: Array, q: Array, w: Any = w, s: float = smoothing, reduction: str = reduction) -> Any:
                classes = x.shape[1]
                share = (np.ones(classes) if w is None else w).reshape(1, -1, *[1] * (x.ndim - 2))
                losses = -(share * (q * (1 - s) + s / classes) * log_probabilities(x)).sum(1)
                return reduced(losses, reduction)

            def function(x: Any, q: Any, w: Any = w, s: float = smoothing, reduction: str = reduction) -> Any:
                w = None if w is None else minidl.tensor(w)
                return F.cross_entropy(x, q, w, reduction=reduction, label_smoothing=s)

            agrees(f"cross_entropy with probabilities {shape}, {reduction}, {smoothing}", function, formula, [x, q])


def multi_margin() -> None:
    """By hand: right class 0 of scores 1, 2, 0.5, margin 1: the others give 2 and 0.5, their mean over 3 classes."""
    x, t = tensor([[1.0, 2.0, 0.5]]).requires_grad_(), minidl.tensor([0])
    y = F.multi_margin_loss(x, t)
    close(y, (2 + 0.5) / 3, "multi_margin_loss")
    y.backward()
    close(x.grad, [[-2 / 3, 1 / 3, 1 / 3]], "multi_margin_loss: gradient")
    close(F.multi_margin_loss(x, t, p=2), (4 + 0.25) / 3, "multi_margin_loss, squared")
    close(F.multi_margin_loss(x, t, weight=tensor([3.0, 1.0, 1.0])), 2.5, "multi_margin_loss, weighted")
    close(F.multi_margin_loss(x, t, margin=0.5), 1.5 / 3, "multi_margin_loss with the kink at 0")


# ---- probabilities --------------------------------------------------------------------------------------------


def binary() -> None:
    """Both forms, with weights; exact at probabilities 0 and 1 and at scores of 1000."""
    rng = np.random.default_rng(3)
    p, t = rng.uniform(0.05, 0.95, (3, 4)), rng.uniform(0.05, 0.95, (3, 4))
    x = rng.standard_normal((3, 4)) * 3
    w, pos = rng.uniform(0.5, 2, (3, 4)), rng.uniform(0.5, 2, 4)

    def entropy(p: Array, t: Array, pos: Any = 1.0) -> Array:
        return -(pos * t * np.log(p) + (1 - t) * np.log(1 - p))

    def logits(x: Array, t: Array, pos: Any = 1.0) -> Array:
        return entropy(1 / (1 + np.exp(-x)), t, pos)

    weight, positive = minidl.tensor(w), minidl.tensor(pos)
    of_scores = F.binary_cross_entropy_with_logits
    for r in REDUCTIONS:
        agrees(f"binary_cross_entropy, {r}", lambda p, t, r=r: F.binary_cross_entropy(p, t, weight, r),
               lambda p, t, r=r: reduced(w * entropy(p, t), r), [p, t])  # fmt: skip
        agrees(f"of scores, weighted, {r}", lambda x, t, r=r: of_scores(x, t, weight, r, positive),
               lambda x, t, r=r: reduced(w * logits(x, t, pos), r), [x, t])  # fmt: skip
        agrees(f"of scores, {r}", lambda x, t, r=r: of_scores(x, t, reduction=r),
               lambda x, t, r=r: reduced(logits(x, t), r), [x, t])  # fmt: skip
    ends = leaf([0.0, 0.0, 1.0, 1.0])
    with np.errstate(all="raise", under="ignore"):
        y = F.binary_cross_entropy(ends, tensor([0.0, 1.0, 0.0, 1.0]), reduction="none")
        close(y, [0, 100, 100, 0], "binary_cross_entropy at probabilities 0 and 1")
        y.backward(tensor([1.0, 1.0, 1.0, 1.0]))
        close(ends.grad, [0, -1e12, 1e12, 0], "binary_cross_entropy's slope at probabilities 0 and 1")
        far = leaf([1000.0, 1000.0, -1000.0, -1000.0])
        y = F.binary_cross_entropy_with_logits(far, tensor([0.0, 1.0, 0.0, 1.0]), reduction="none")
        close(y, [1000, 0, 0, 1000], "binary_cross_entropy_with_logits of scores of 1000")
        y.backward(tensor([1.0, 1.0, 1.0, 1.0]))
        close(far.grad, [1, 0, 0, -1], "binary_cross_entropy_with_logits: slope at scores of 1000")


def divergence() -> None:
    """sum t (log t - x), zero where t is 0; "batchmean" divides by the rows."""
    rng = np.random.default_rng(4)
    x, t = rng.standard_normal((3, 4)), rng.uniform(0.1, 1, (3, 4))
    for reduction in (*REDUCTIONS, "batchmean"):

        def total(losses: Array, reduction: str = reduction) -> Any:
            return losses.sum() / 3 if reduction == "batchmean" else reduced(losses, reduction)

        agrees(f"kl_div, {reduction}", lambda x, t, r=reduction: F.kl_div(x, t, r),
               lambda x, t, total=total: total(t * (np.log(t) - x)), [x, t])  # fmt: skip
        agrees(f"kl_div of logarithms, {reduction}", lambda x, t, r=reduction: F.kl_div(x, t, r, True),
               lambda x, t, total=total: total(np.exp(t) * (t - x)), [x, t])  # fmt: skip
    x, t = tensor([-1.0, -2.0]), leaf([0.0, 1.0])
    y = F.kl_div(x, t, "sum")
    close(y, 2.0, "kl_div where the target is 0")
    y.backward()
    close(t.grad, [1.0, 3.0], "kl_div: gradient where the target is 0")


# ---- distances ------------------------------------------------------------------------------------------------

# each: loss, arguments after input and target, (input, target, loss, slope)
BY_HAND: dict[str, tuple[Callable[..., Any], tuple[tuple[float, float, float, float], ...]]] = {
    "mse_loss": (F.mse_loss, ((3, 1, 4, 4), (1, 3, 4, -4))),
    "l1_loss": (F.l1_loss, ((3, 1, 2, 1), (1, 3, 2, -1), (1, 1, 0, 0))),
    "huber_loss": (
        lambda x, t, **o: F.huber_loss(x, t, delta=2.0, **o),
        ((1.5, 1, 0.125, 0.5), (3, 1, 2, 2), (5, 1, 6, 2), (-3, 1, 6, -2), (1, 1, 0, 0)),
    ),
    "smooth_l1_loss": (
        lambda x, t, **o: F.smooth_l1_loss(x, t, beta=2.0, **o),
        ((1.5, 1, 0.0625, 0.25), (3, 1, 1, 1), (5, 1, 3, 1), (-3, 1, 3, -1)),
    ),
    "hinge_embedding_loss": (
        lambda x, t, **o: F.hinge_embedding_loss(x, t, 0.5, **o),
        ((3, 1, 3, 1), (-3, 1, -3, 1), (0.25, -1, 0.25, -1), (-2, -1, 2.5, -1), (3, -1, 0, 0)),
    ),
    "soft_margin_loss": (
        F.soft_margin_loss,
        ((0, 1, np.log(2), -0.5), (0, -1, np.log(2), 0.5), (2, -1, np.log1p(np.exp(2)), 1 / (1 + np.exp(-2)))),
    ),
    "margin_ranking_loss": (
        lambda x, t, **o: F.margin_ranking_loss(x, x * 0 + 1, t, 0.5, **o),
        ((3, 1, 0, 0), (3, -1, 2.5, 1), (0.75, 1, 0.75, -1), (-1, -1, 0, 0)),
    ),
}


def distances() -> None:
    """Values and slopes worked out by hand, on both sides of every kink, and the three reductions."""
    for name, (function, rows) in BY_HAND.items():
        x, t, losses, slope = (np.array(column, dtype=float) for column in zip(*rows))
        for reduction in REDUCTIONS:
            z = leaf(x)
            y = function(z, minidl.tensor(t), reduction=reduction)
            close(y, reduced(losses, reduction), f"{name}, {reduction}")
            g = np.random.default_rng(5).standard_normal(y.shape)
            y.backward(minidl.tensor(g))
            close(z.grad, slope * g / (len(x) if reduction == "mean" else 1), f"{name}, {reduction}: gradient")
    assert np.isnan(F.mse_loss(tensor([]), tensor([])).item()), "the mean of no losses is NaN"


def cosines() -> None:
    """cos = <a, b> / |a| |b|, also of short vectors and of none."""
    rng = np.random.default_rng(6)
    a, b = draw(rng, (3, 4), (3, 4))

    def cosine(a: Array, b: Array, axis: int = 1) -> Array:
        return (a * b).sum(axis) / np.sqrt((a * a).sum(axis) * (b * b).sum(axis))

    agrees("cosine_similarity", F.cosine_similarity, cosine, [a, b])
    agrees("cosine_similarity along axis 0", lambda a, b: F.cosine_similarity(a, b, 0), lambda a, b: cosine(a, b, 0),
           [a, b])  # fmt: skip
    close(F.cosine_similarity(tensor([[3e-6, 4e-6]]), tensor([[1e-6, 0.0]])), [0.6], "cosine of short vectors")
    close(F.cosine_similarity(tensor([[0.0, 0.0]]), tensor([[1.0, 0.0]])), [0.0], "cosine of a vector of length 0")
    t = np.array([1, -1, -1])
    margin = float(np.sort(cosine(a, b)[1:]).mean())  # between the two: one is active, one is not
    agrees(
        "cosine_embedding_loss",
        lambda a, b: F.cosine_embedding_loss(a, b, minidl.tensor(t), margin, "none"),
        lambda a, b: np.where(t == 1, 1 - cosine(a, b), np.where(cosine(a, b).real > margin, cosine(a, b) - margin, 0)),
        [a, b],
    )


def triplets() -> None:
    """By hand: distances 5 and 1, 5 and 10 with margin 2; and, swapped, 5 and 3."""
    a = tensor([[0.0, 0.0], [0.0, 0.0]])
    p, n = tensor([[3.0, 4.0], [3.0, 4.0]]), tensor([[0.0, 1.0], [6.0, 8.0]])
    close(F.triplet_margin_loss(a, p, n, 2.0, eps=0.0, reduction="none"), [6.0, 0.0], "triplet_margin_loss")
    close(F.triplet_margin_loss(a, p, tensor([[3.0, 7.0], [6.0, 8.0]]), 2.0, eps=0.0, swap=True, reduction="none"),
          [4.0, 2.0], "triplet_margin_loss, swapped")  # fmt: skip


CHECKS = (
    cross_entropy, cross_entropy_with_probabilities, multi_margin, binary, divergence, distances, cosines, triplets
)  # fmt: skip
