"""Updates of parameters by their gradients: one pass over memory and one call for all parameters, however small.

Each rule is the update of the optimiser of that name in ``minidl.optim``, operation by operation in the same order
and rounded at each (no fused multiply-adds), so the results have the same bits.  What does not change from element to
element comes as a row of numbers for each parameter: the learning rate corrected for the step, and so on.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from .elements import BYTES_A_SECOND, address, elements
from .pieces import read, run
from .simd import Lanes

PIECE = 1 << 14  # elements of a parameter that one piece of work takes


@dataclass(frozen=True)
class Rule(Lanes):
    """What is known when a rule is compiled, 0 or 1 each: a combination is compiled by itself, without branches."""

    maximize: int = 0
    decay: int = 0  # weight decay in the gradient
    momentum: int = 0
    nesterov: int = 0
    decoupled: int = 0  # weight decay of the parameter
    amsgrad: int = 0
    centered: int = 0


class _Update(NamedTuple):
    entries: int  # addresses of tables
    numbers: int
    width: int  # of a row of numbers
    shares: int


class _Entry(NamedTuple):
    """Addresses of a parameter, its gradient, and up to three arrays of state."""

    p: int
    g: int
    a: int
    b: int
    c: int


class _Share(NamedTuple):
    """What a piece of work updates."""

    parameter: int
    first: int
    count: int


def update(
    name: str,
    options: dict[str, bool],
    arrays: Sequence[Sequence[np.ndarray]],
    numbers: Sequence[Sequence[float]] | np.ndarray,
) -> None:
    """Update every parameter in place by the rule ``name``.

    ``arrays``: for each parameter itself, its gradient and its state, C-contiguous and of one dtype, float32 or
    float64.  ``numbers``: as many for each parameter, as the rule reads them.

    >>> p, g = np.array([1.0, 2.0]), np.array([10.0, 20.0])
    >>> update("sgd", {}, [(p, g)], [(0.1, 0.0, 0.0, 0.0, 0.0)])
    >>> p.tolist()
    [0.0, 0.0]
    """
    if not arrays:
        return
    dtype = arrays[0][0].dtype
    table = np.ascontiguousarray(numbers, dtype)
    entries = array("q", [n for row in arrays for n in (*map(address, row), *(0,) * (5 - len(row)))])
    shares, count = _shares(tuple([row[0].size for row in arrays]))
    arguments = _Update(entries.buffer_info()[0], address(table), table.shape[1], address(shares))
    moved = count * dtype.itemsize * (len(arrays[0]) + 1)
    run(RULES[name], _rule(dtype.name, tuple(options.items())), arguments, len(shares), moved / BYTES_A_SECOND)


@lru_cache
def _rule(dtype: str, options: tuple[tuple[str, bool], ...]) -> Rule:
    return Rule(dtype, 1, **{name: int(value) for name, value in options})


@lru_cache(maxsize=64)
def _shares(sizes: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """The pieces of work for parameters of these sizes, and how many elements they have together."""
    rows = [(i, first, min(PIECE, n - first)) for i, n in enumerate(sizes) for first in range(0, n, PIECE)]
    return np.array(rows, np.int64).reshape(-1, 3), sum(sizes)


@native
def _share(rule: Any, arguments: int, piece: int) -> tuple:
    """A piece's part of the parameter, its gradient and its state, and the parameter's numbers."""
    u = read(_Update, arguments)
    s = read(_Share, u.shares + piece * 24)
    e = read(_Entry, u.entries + s.parameter * 40)
    skip = s.first * rule.itemsize
    return (
        elements(rule, e.p + skip, s.count), elements(rule, e.g + skip, s.count), elements(rule, e.a + skip, s.count),
        elements(rule, e.b + skip, s.count), elements(rule, e.c + skip, s.count),
        elements(rule, u.numbers + s.parameter * u.width * rule.itemsize, u.width),
    )  # fmt: skip


@native(fastmath=False)
def _slope(rule: Any, p: Any, g: Any, decay: Any) -> Any:
    """The gradient, turned round to maximise, with that of the penalty."""
    if rule.maximize:
        g = -g
    if rule.decay:
        g = g + decay * p
    return g


@native(fastmath=False)
def _sgd(rule: Any, arguments: int, piece: int) -> None:
    p, g, v, _, _, k = _share(rule, arguments, piece)
    lr, decay, momentum, kept, taken = k[0], k[1], k[2], k[3], k[4]
    for i in range(len(p)):
        d = _slope(rule, p[i], g[i], decay)
        if rule.momentum:
            v[i] = v[i] * kept + taken * d
            d = d + momentum * v[i] if rule.nesterov else v[i]
        p[i] -= lr * d


@native(fastmath=False)
def _adagrad(rule: Any, arguments: int, piece: int) -> None:
    p, g, s, _, _, k = _share(rule, arguments, piece)
    lr, decay, eps = k[0], k[1], k[2]
    for i in range(len(p)):
        d = _slope(rule, p[i], g[i], decay)
        s[i] += d * d
        p[i] -= lr * d / (np.sqrt(s[i]) + eps)


@native(fastmath=False)
def _rmsprop(rule: Any, arguments: int, piece: int) -> None:
    p, g, s, v, mean, k = _share(rule, arguments, piece)
    lr, decay, alpha, rest, eps, momentum = k[0], k[1], k[2], k[3], k[4], k[5]
    for i in range(len(p)):
        d = _slope(rule, p[i], g[i], decay)
        s[i] = s[i] * alpha + rest * (d * d)
        spread = s[i]
        if rule.centered:
            mean[i] = mean[i] * alpha + rest * d
            spread = spread - mean[i] * mean[i]
        step = d / (np.sqrt(spread) + eps)
        if rule.momentum:
            v[i] = v[i] * momentum + step
            step = v[i]
        p[i] -= lr * step


@native(fastmath=False)
def _adam(rule: Any, arguments: int, piece: int) -> None:
    p, g, m, v, largest, k = _share(rule, arguments, piece)
    lr, decay, beta1, rest1, beta2, rest2, correction, eps = k[0], k[1], k[2], k[3], k[4], k[5], k[6], k[7]
    for i in range(len(p)):
        q = p[i] * decay if rule.decoupled else p[i]  # decay is 1 - lr weight_decay then
        d = _slope(rule, q, g[i], decay)
        m[i] = m[i] * beta1 + rest1 * d
        v[i] = v[i] * beta2 + rest2 * (d * d)
        square = v[i]
        if rule.amsgrad:
            square = square if square > largest[i] or square != square else largest[i]  # NaN stays, as in NumPy
            largest[i] = square
        p[i] = q - lr * (m[i] / (np.sqrt(square) / correction + eps))


@native(fastmath=False)
def _adadelta(rule: Any, arguments: int, piece: int) -> None:
    p, g, s, moved, _, k = _share(rule, arguments, piece)
    lr, decay, rho, rest, eps = k[0], k[1], k[2], k[3], k[4]
    for i in range(len(p)):
        d = _slope(rule, p[i], g[i], decay)
        s[i] = s[i] * rho + rest * (d * d)
        step = np.sqrt(moved[i] + eps) / np.sqrt(s[i] + eps) * d
        moved[i] = moved[i] * rho + rest * (step * step)
        p[i] -= lr * step


RULES: dict[str, Callable[..., None]] = {
    "sgd": _sgd, "adagrad": _adagrad, "rmsprop": _rmsprop, "adadelta": _adadelta, "adam": _adam,
}  # fmt: skip
