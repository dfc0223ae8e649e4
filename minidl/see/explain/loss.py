"""The usual losses, sample by sample, from the scores and the target themselves.

They are made of several primitives, each of which has its explainer; this is the sum that people have in mind.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...kernels.spec.error_bounds import gamma
from ..terms import rounding
from .base import Array, Column, Made, Step, Terms, Trace, every, short


def _classes(trace: Trace) -> tuple[Array, Array, Array]:
    """The scores of each entry (n, C), its class (n,), and where it stands in the target (n, ndim)."""
    scores, target = trace.outputs[0].read().astype(np.float64), trace.names["target"].read()
    rows = np.moveaxis(scores, 1, -1) if scores.ndim > 1 else scores
    return rows.reshape(-1, rows.shape[-1]), target.reshape(-1), every(target.shape)


def _mean(trace: Trace, each: Array, at: Array, letter: str, formula: str, slack: float, steps: list[Step]) -> Made:
    n, dtype = len(each), trace.outputs[0].dtype
    columns = [Column(letter, "entry", at, each), Column("1/n", f"1/{n}", None, np.full(n, 1 / n))]
    terms = Terms(columns, each / n)
    bound = rounding(dtype, n + 4, terms.size, terms.total) + slack
    return Made(
        formula, terms.total, bound, f"gamma_{n + 4} sum |terms|, and the rounding of each term", terms, [], steps
    )


def cross_entropy(trace: Trace) -> Made:
    """The loss from the scores, with the entry whose share is largest."""
    rows, classes, at = _classes(trace)
    largest = rows.max(1)
    total = np.exp(rows - largest[:, None]).sum(1)
    own = rows[np.arange(len(rows)), classes]
    each = largest + np.log(total) - own
    worst = int(each.argmax())
    steps = [
        Step("largest entry", f"entry {worst}, class {classes[worst]}: score {short(own[worst])}", float(own[worst])),
        Step("log of the sum", f"log sum exp(scores) = {short(largest[worst] + math.log(total[worst]))}",
             float(largest[worst] + np.log(total[worst]))),
        Step("-log p", f"difference = {short(each[worst])}, p = {short(math.exp(-each[worst]))}", float(each[worst])),
    ]  # fmt: skip
    dtype = trace.outputs[0].dtype
    sizes = np.abs(own - largest) + np.abs(np.log(total)) + 1
    slack = gamma(rows.shape[1] + 16, dtype) * float(sizes.mean())
    spread = float((np.abs(rows - largest[:, None]) * np.exp(rows - largest[:, None])).sum(1).max())
    slack += gamma(2, dtype) * spread
    formula = "loss = mean over entries of log(sum over classes of exp(x_c)) - x_target"
    return _mean(trace, each, at, "-log p", formula, slack, steps)


def nll_loss(trace: Trace) -> Made:
    """The loss from the log-probabilities of the right classes."""
    rows, classes, at = _classes(trace)
    each = -rows[np.arange(len(rows)), classes]
    return _mean(trace, each, at, "-log p", "loss = mean over entries of -x_target", 0.0, [])


def _distances(trace: Trace) -> tuple[Array, Array]:
    x, t = trace.outputs[0].read().astype(np.float64), trace.names["target"].read().astype(np.float64)
    return (x - t).ravel(), every(x.shape)


def mse_loss(trace: Trace) -> Made:
    """The mean of the squared distances."""
    distance, at = _distances(trace)
    return _mean(trace, distance**2, at, "(x - t)^2", "loss = mean of (x - target)^2", 0.0, [])


def l1_loss(trace: Trace) -> Made:
    """The mean of the distances."""
    distance, at = _distances(trace)
    return _mean(trace, abs(distance), at, "|x - t|", "loss = mean of |x - target|", 0.0, [])


LOSSES: dict[str, Callable[[Trace], Made]] = {
    "cross_entropy": cross_entropy, "nll_loss": nll_loss, "mse_loss": mse_loss, "l1_loss": l1_loss,
}  # fmt: skip


def described(trace: Trace) -> Made | None:
    """The loss of this run in one sum; None for a loss that is not among :data:`LOSSES`, or takes further arguments."""
    known = LOSSES.get(trace.loss_name)
    if (
        known is None
        or len(trace.outputs) != 1
        or "target" not in trace.names
        or (trace.names["target"].read() < 0).any()
    ):
        return None
    return known(trace)
