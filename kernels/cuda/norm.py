"""Batch norm in CUDA, with ReLU and an addition in the same pass where they follow.

Arrays are float32, float64 or float16; of float16, statistics, parameters and sums are float32.

A training step reads x twice forward, and x and g twice backward, which no order of the passes can avoid: the
statistics, and the sums of the gradients, must be complete before anything can be written.  Everything that has one
number for each channel is computed on the device, by one small launch between the two large ones.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..arrays import array_module
from . import windows
from .source import function, real, structure

Array = Any

THREADS = 256
LANES = 32  # channels of a block where they lie side by side, as in norm.cu
FINAL_LANES = 8
ITEMS = 4 * THREADS  # elements that a block of the passes over everything takes
WANTED = 512  # blocks for the sums: a few for each multiprocessor of a large card
SHORTEST = 8  # elements of a slice for each of a block's threads, at least
NONE = np.uintp(0)  # no array
NO_RELU = -1.0  # for a ceiling


def batch_norm(
    x: Array, weight: Array, bias: Array, eps: float, added: Array = None, ceiling: float = NO_RELU
) -> tuple[Array, Array, Array]:
    """y, mean and biased variance, as ``kernels.norm.batch_norm``; ``relu(y + added)``, which ends at ``ceiling``."""
    xp = array_module(x)
    x, added = stored(x, added)
    p = Pass(x)
    mean, variance, scale = (xp.empty(p.channels, p.real) for _ in range(3))
    if not x.size:
        mean[...] = variance[...] = np.nan
        return like(x), mean, variance
    weight, bias = (per_channel(v, p.real) for v in (weight, bias))
    partial = xp.empty((p.slices, 4, p.channels), p.real)
    p.launch("moments", p.grid, (x, partial, p.layout))
    p.launch("statistics", p.final, (partial, given(weight), mean, variance, scale, p.real.type(eps), p.layout))
    return p.normalised(x, mean, scale, bias, added, ceiling), mean, variance


def batch_norm_grad(
    g: Array,
    x: Array,
    weight: Array,
    mean: Array,
    variance: Array,
    eps: float,
    bias: Array = None,
    ceiling: float = NO_RELU,
    y: Array = None,
) -> tuple[Array, ...]:
    """dx, dweight and dbias, as ``kernels.norm.batch_norm_grad``.

    With a ``ceiling`` g is the cotangent of what ReLU gave.  Where something was added before the ReLU, ``y`` is that
    result, and the gradient of what was added comes fourth.
    """
    xp = array_module(x)
    x, g, y = stored(x, g, y)
    p = Pass(x)
    number, top = p.real.type, p.ceiling(ceiling)
    dx, kept = like(x), None if y is None else like(x)
    dweight, dbias = (xp.zeros(p.channels, p.real) for _ in range(2))
    if x.size:
        weight, bias, mean, variance = (per_channel(v, p.real) for v in (weight, bias, mean, variance))
        mask = 0 if ceiling < 0 else 1 if y is None else 2
        partial, factors = xp.empty((p.slices, 2, p.channels), p.real), xp.empty((3, p.channels), p.real)
        arrays = (g, x, mean, variance, given(weight), given(bias), given(y), given(kept), partial)
        p.launch("sums", p.grid, (*arrays, number(eps), np.int32(mask), top, p.layout))
        p.launch("slopes", p.final, (partial, variance, given(weight), dweight, dbias, factors, number(eps), p.layout))
        g, mask = (g, mask) if kept is None else (kept, 0)
        more = (np.int32(mask), top, np.int32(x.size), p.layout)
        p.launch("combine", p.blocks, (g, x, mean, given(bias), factors, dx, *more))
    return (dx, dweight, dbias) if kept is None else (dx, dweight, dbias, kept)


def scale_shift(x: Array, scale: Array, shift: Array, added: Array = None, ceiling: float = NO_RELU) -> Array:
    """``x * scale + shift``, each channel with its own; ``relu(y + added)``, which ends at ``ceiling``."""
    x, added = stored(x, added)
    if not x.size:
        return like(x)
    p = Pass(x)
    return p.normalised(x, None, per_channel(scale, p.real), per_channel(shift, p.real), added, ceiling)


def scale_shift_grad(g: Array, x: Array, scale: Array) -> tuple[Array, Array, Array]:
    """Gradients of x, scale and shift."""
    xp = array_module(x)
    x, g = stored(x, g)
    p = Pass(x)
    number = p.real.type
    dscale, dshift = (xp.zeros(p.channels, p.real) for _ in range(2))
    if not x.size:
        return like(x), dscale, dshift
    partial = xp.empty((p.slices, 2, p.channels), p.real)
    p.launch("sums", p.grid, (g, x, *(NONE,) * 6, partial, number(0), np.int32(0), number(0), p.layout))
    p.add_up(partial, dscale, dshift)
    return p.normalised(g, None, per_channel(scale, p.real), None, None, NO_RELU), dscale, dshift


def track(running_mean: Array, running_var: Array, mean: Array, variance: Array, count: int, momentum: float) -> None:
    """Move the running statistics (C,) towards those of a batch of ``count`` elements a channel, variance unbiased."""
    xp, number = array_module(running_mean), running_mean.dtype.type
    kernel = function(xp, "norm.cu", "track", **macros(running_mean.dtype, False))
    numbers = number(count / (count - 1)), number(momentum), np.int32(running_mean.size)
    blocks = -(-running_mean.size // THREADS)
    kernel((blocks,), (THREADS,), (running_mean, running_var, mean, variance, *numbers))


# ---- how arrays lie, and how they are cut ----


def stored(first: Array, *others: Array) -> tuple[Array, ...]:
    """Arrays (N, C, *size) without gaps, all stored as the first, by rows or channels last; None stays."""
    last = is_last(first)
    return tuple(None if a is None else _dense(a, last) for a in (first, *others))


def is_last(a: Array) -> bool:
    """Whether the channels of ``a`` lie side by side, without gaps, and not as in C order."""
    return not a.flags.c_contiguous and a.transpose((0, *range(2, a.ndim), 1)).flags.c_contiguous


def _dense(a: Array, last: bool) -> Array:
    xp = array_module(a)
    if not last:
        return xp.ascontiguousarray(a)
    return a if is_last(a) else xp.moveaxis(xp.ascontiguousarray(xp.moveaxis(a, 1, -1)), -1, 1)


def like(a: Array) -> Array:
    """An uninitialised array stored as ``a``, which has no gaps."""
    xp = array_module(a)
    if a.flags.c_contiguous:
        return xp.empty(a.shape, a.dtype)
    return xp.moveaxis(xp.empty((a.shape[0], *a.shape[2:], a.shape[1]), a.dtype), -1, 1)


def given(v: Array) -> Any:
    """v, or the address that the kernels take for nothing."""
    return NONE if v is None else v


def per_channel(v: Array, dtype: Any) -> Array:
    """(C,) side by side, of ``dtype``; None stays."""
    return None if v is None else array_module(v).ascontiguousarray(v, dtype)


def macros(dtype: Any, last: bool) -> dict[str, Any]:
    """What the kernels of norms are compiled for: the type that is stored, and that of statistics and sums."""
    computed = "float" if np.dtype(dtype) == np.float16 else real(dtype)
    return {"STORED": real(dtype), "REAL": computed, "CHANNELS_LAST": last, "THREADS": THREADS}


class Pass:
    """How the kernels go over x, which is stored without gaps."""

    def __init__(self, x: Array) -> None:
        self.xp, self.dtype = array_module(x), x.dtype
        self.real = np.dtype("float32") if x.dtype == np.float16 else x.dtype  # of statistics, parameters and sums
        self.channels = x.shape[1]
        self.last = is_last(x) or x.size == x.shape[0] * x.shape[1]
        count, run = (x.size // self.channels, x.size // (x.shape[0] * x.shape[1])) if x.size else (0, 1)
        self.slices, self.layout = _cut(count, run, self.channels, self.last)
        self.grid = (-(-self.channels // (LANES if self.last else 1)), self.slices)
        self.final = (-(-self.channels // FINAL_LANES),)
        self.blocks = (-(-x.size // ITEMS),)
        self.macros = macros(x.dtype, self.last)

    def launch(self, name: str, grid: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
        """Start a kernel of norm.cu, compiled for arrays stored like this one."""
        function(self.xp, "norm.cu", name, **self.macros)(grid, (THREADS,), arguments)

    def add_up(self, partial: Array, products: Array, plain: Array) -> None:
        """Put the slices of two sums for each channel together."""
        numbers = self.real.type(0), self.layout
        self.launch("slopes", self.final, (partial, NONE, NONE, products, plain, NONE, *numbers))

    def ceiling(self, ceiling: float) -> Any:
        """Where ReLU ends, as a result can be stored."""
        return self.real.type(self.dtype.type(ceiling))

    def normalised(self, x: Array, mean: Array, scale: Array, shift: Array, added: Array, ceiling: float) -> Array:
        """relu((x - mean) scale + shift + added) up to ``ceiling``, stored as x; no ReLU where that is negative."""
        y = like(x)
        arrays = (x, given(mean), scale, given(shift), given(added), y)
        numbers = self.ceiling(ceiling), np.int32(x.size), self.layout
        self.launch("normalise", self.blocks, (*arrays, *numbers))
        return y


@functools.lru_cache(maxsize=1024)
def _cut(count: int, run: int, channels: int, last: bool) -> tuple[int, Any]:
    """Slices of the ``count`` elements of a channel, and the structure ``Layout`` of norm.cu."""
    lanes = LANES if last else 1
    blocks, rows = -(-channels // lanes), THREADS // lanes
    slices = windows.slice_count(count, blocks, WANTED, rows * SHORTEST)
    length = max(1, -(-count // slices))
    slices = max(1, -(-count // length))
    numbers = (count, length, slices, *windows.divider(run), *windows.divider(channels))
    return slices, structure(numbers)
