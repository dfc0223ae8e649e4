"""Softmax cross-entropy with class numbers in CUDA: two launches forward, one backward, the scores read once each way.

What a loss in PyTorch's sense can ask for is in them: weights of the classes, smoothing, entries that are left out.
"""

from __future__ import annotations

import functools
from math import prod
from typing import Any

import numpy as np

from ..arrays import array_module
from . import norm, windows
from .source import function, real, structure

Array = Any

THREADS = 128


def cross_entropy(
    x: Array, target: Array, weight: Array, ignored: int, smoothing: float, reduction: str
) -> tuple[Array, Array, Array]:
    """The loss of scores x (N, C, *) with class numbers (N, *) of int64, and what its gradient needs of it.

    These are the logarithm of each distribution's denominator, (N, *), and two numbers: what the sum of the losses was
    divided by, and the sum of all weights.  ``reduction`` "none" gives the loss of each.  A class that there is not
    makes the loss NaN.
    """
    xp, number = array_module(x), x.dtype.type
    (x,) = norm.stored(x)
    last, layout, rows = _layout(x, ignored)
    losses, shares, normalizers = (xp.empty(target.shape, x.dtype) for _ in range(3))
    result = xp.empty(3, x.dtype)
    if rows and x.shape[1]:
        blocks = -(-rows // (THREADS // (32 if last else 1)))
        given = norm.given(norm.per_channel(weight, x.dtype))
        arrays = x, xp.ascontiguousarray(target), given, losses, shares, normalizers
        _kernel(x, last, "cross_entropy")((blocks,), (THREADS,), (*arrays, result, number(smoothing), layout))
    else:
        rows = 0
        losses[...] = result[...] = 0
    arguments = losses, shares, result, np.int32(reduction == "mean"), np.int32(rows)
    _kernel(x, last, "reduce")((1,), (THREADS,), arguments)
    return losses if reduction == "none" else result[0], normalizers, result[1:]


def cross_entropy_grad(
    g: Array, x: Array, target: Array, weight: Array, normalizers: Array, facts: Array, ignored: int, smoothing: float
) -> Array:
    """dx from the cotangent g of the loss, of one number or (N, *)."""
    xp, number = array_module(x), x.dtype.type
    (x,) = norm.stored(x)
    last, layout, _ = _layout(x, ignored)
    dx = norm.like(x)
    if x.size:
        weight = norm.given(norm.per_channel(weight, x.dtype))
        arrays = xp.ascontiguousarray(g), x, xp.ascontiguousarray(target), weight, normalizers, facts, dx
        numbers = number(smoothing), np.int32(g.ndim > 0), np.int32(x.size), layout
        blocks = -(-x.size // THREADS)
        _kernel(x, last, "cross_entropy_grad")((blocks,), (THREADS,), (*arrays, *numbers))
    return dx


def _kernel(x: Array, last: bool, name: str) -> Any:
    return function(array_module(x), "loss.cu", name, REAL=real(x.dtype), CHANNELS_LAST=last, THREADS=THREADS)


def _layout(x: Array, ignored: int) -> tuple[bool, Any, int]:
    """Whether the scores of a distribution lie side by side, the structure ``Layout`` of loss.cu, how many they are."""
    run = prod(x.shape[2:])
    last = norm.is_last(x) or run == 1
    return last, _structure(len(x) * run, run, x.shape[1], ignored), len(x) * run


@functools.lru_cache(maxsize=256)
def _structure(rows: int, run: int, classes: int, ignored: int) -> Any:
    return structure((rows, ignored, *windows.divider(run), *windows.divider(classes)))
