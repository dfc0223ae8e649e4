"""Padding: with a constant, or with values of the tensor itself (reflect, replicate, circular)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd.tape import Primitive, vjp
from ..backend import array_module
from ..kernels.errors import ShapeError
from ..kernels.layout import channels_last, empty_last
from ._common import as_operand

Pads = tuple[tuple[int, int], ...]


def _padded(x: Any, *, pads: Pads, value: float) -> Any:
    """As ``np.pad``, but channels that lie side by side stay so: what follows is faster on them, and as exact."""
    if x.ndim < 3 or not channels_last(x):
        return array_module(x).pad(x, pads, constant_values=value)
    y = empty_last(tuple(low + n + high for n, (low, high) in zip(x.shape, pads)), x)
    y[...] = value
    y[_without(pads, y.shape)] = x
    return y


_pad: Primitive = Primitive(
    "pad",
    _padded,
    vjp(lambda g, y, x, *, pads, value: g[_without(pads, g.shape)]),
)


def _without(pads: Pads, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The part of a padded tensor that is not padding."""
    return tuple(slice(low, n - high) for (low, high), n in zip(pads, shape))


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """Longer (or, with negative numbers, shorter) axes; ``pad`` counts from the last: (left, right, top, bottom, ...).

    ``mode``: "constant" (``value``), "reflect" (mirrored without repeating the edge), "replicate" (the edge
    repeated), "circular" (the other end).  ``value`` (default 0) belongs to "constant" alone.

    >>> import minidl
    >>> minidl.nn.functional.pad(minidl.tensor([[1.0, 2.0, 3.0]]), (2, 1), mode="reflect")
    tensor([[3., 2., 1., 2., 3., 2.]])
    """
    x = as_operand(input)
    numbers = [int(v) for v in pad]
    if len(numbers) % 2 or len(numbers) > 2 * x.ndim:
        raise ShapeError(
            f"pad needs two numbers for each padded axis, from the last axis on; got {len(numbers)} numbers for a "
            f"tensor of {x.ndim} axes"
        )
    if mode not in ("constant", "reflect", "replicate", "circular"):
        raise ValueError(f"pad: mode must be 'constant', 'reflect', 'replicate' or 'circular', not {mode!r}")
    if mode != "constant" and value:
        raise ValueError(
            f"pad: value = {value} has no meaning for mode {mode!r}, which repeats the tensor's own values"
        )
    pairs = list(zip(numbers[::2], numbers[1::2]))
    pads = ((0, 0),) * (x.ndim - len(pairs)) + tuple(reversed(pairs))
    for axis, (n, (low, high)) in enumerate(zip(x.shape, pads)):
        if n + low + high < 0:
            raise ShapeError(f"pad: axis {axis} of length {n} cannot lose {-low} and {-high} entries")
    if mode == "constant":
        grow: Pads = tuple((max(low, 0), max(high, 0)) for low, high in pads)
        cut: Pads = tuple((max(-low, 0), max(-high, 0)) for low, high in pads)
        if any(sum(p) for p in cut):
            x = x[_without(cut, x.shape)]
        return _pad(x, pads=grow, value=value or 0)
    for axis, (low, high) in enumerate(pads):
        if low or high:
            x = x.index_select(axis, _source(x.shape[axis], low, high, mode, axis))
    return x.clone() if x is input else x


def _source(n: int, low: int, high: int, mode: str, axis: int) -> list[int]:
    """For each position of the padded axis, the entry of the axis it shows."""
    cut = max(-low, 0)
    kept = n - cut - max(-high, 0)  # as in PyTorch, "circular" wraps what negative padding left over
    most = {"reflect": n - 1, "circular": kept, "replicate": math.inf if n else 0}[mode]
    if max(low, high) > most:
        raise ShapeError(
            f"pad: mode {mode!r} can add at most {most} entries to axis {axis} of length {n}, not {max(low, high)}"
        )
    i = np.arange(-low, n + high)
    if mode == "replicate":
        i = np.clip(i, 0, n - 1)
    elif mode == "circular":
        i = (i - cut) % max(kept, 1) + cut
    else:
        i = np.abs(i)
        i = np.where(i >= n, 2 * (n - 1) - i, i)
    return i.tolist()
