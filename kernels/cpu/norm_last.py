"""Batch norm of channels-last arrays, with the addition and the ReLU behind it, in as few passes as there can be.

    forward     one pass over x for the statistics; one that reads x again and writes y
    backward    one pass over x and g for the two sums of each channel; one that reads both again and writes dx

One after the other norm, addition and ReLU read and write thirteen arrays in a training step, here eight.  Where the
ReLU was flat the backward pass computes anew from x, as the forward pass did; only where something was added it looks
at the result.  ReLU ends at ``ceiling``, infinity or the 6 of MobileNet; None says that there is no ReLU.

The numbers are those of the single steps, to the last bit.  The passes stand in `norm_passes`.  A call is written down
and run again (`replay`): to work out anew what its loops are told would take as long as a small array's passes.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np

from ..constants import is_constant, made_of
from ..workspace import borrow
from . import norm_passes as passes
from .elements import Rows, address, as_rows, last_and_dense, like, pitch_of, seconds
from .norm_passes import Pass
from .pieces import run
from .products import may_stream
from .replay import permanent, permanent_zeros, replayed
from .simd import Lanes, machine

Array = np.ndarray

BLOCK_BYTES = 128 << 10  # of a block of rows: half of a small L2 cache
BLOCK_ROWS = 64  # at least, so that there is little to put together
STRIP_BYTES = 32 << 10
STRIP_ROWS = 4  # at least, so that sums stay in registers for some time


class Blocks:
    """How an array is cut into blocks, by its shape alone."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.shape = Rows(shape, last=True)
        self.row_bytes = self.shape.groups * dtype.itemsize
        self.size = max(BLOCK_ROWS, BLOCK_BYTES // max(1, self.row_bytes))  # rows
        self.strip = max(STRIP_ROWS, STRIP_BYTES // max(1, self.row_bytes))
        self.pieces = -(-self.shape.rows // self.size)
        self.zeros = permanent_zeros(dtype, self.shape.groups)[: self.shape.groups]

    def spread(self, v: Array | None) -> Array:
        """A value for each channel, 0 without, as one for each group."""
        if v is None:
            return self.zeros
        v = np.ascontiguousarray(v, self.zeros.dtype)
        rows = (v,) * self.shape.fold
        if len(rows) > 1 and is_constant(v):
            return made_of(v, "folded", (len(rows) * v.size,), v.dtype, "", lambda a: np.concatenate(rows, out=a))
        return v if len(rows) == 1 else np.concatenate(rows)


@lru_cache(maxsize=512)
def _blocks(shape: tuple[int, ...], dtype: np.dtype) -> Blocks:
    return Blocks(shape, dtype)


def _run(function: Any, x: Array, ceiling: float | None, p: Pass, pieces: int, *moved: Array) -> None:
    kind = passes.kind_of(x.dtype.name, ceiling is not None, machine())
    run(function, kind, p, pieces, seconds(*moved))


def _pass(
    x: Array, y: Array | None = None, ceiling: float | None = None, g_step: int = 0, **arrays: Array | None
) -> Pass:
    blocks, dtype = _blocks(x.shape, x.dtype), x.dtype
    places = {name: 0 if a is None else address(a) for name, a in {"y": y, **arrays}.items()}
    top = np.nan if ceiling is None or ceiling == np.inf else ceiling  # nothing is above NaN
    stream = False
    if y is not None and y is not x:
        stream = may_stream(y.nbytes, Lanes(dtype.name, machine().lanes(dtype)), (places["y"], blocks.row_bytes))
    return _NOWHERE._replace(
        x=address(x), ceiling=address(_number(top, dtype)), **places, g_step=g_step, rows=blocks.shape.rows,
        groups=blocks.shape.groups, channels=blocks.shape.channels, size=blocks.size, blocks=blocks.pieces,
        strip=blocks.strip, stream=int(stream),
    )  # fmt: skip


_NOWHERE = Pass(*(0,) * len(Pass._fields))


@cache
def _number(value: float, dtype: np.dtype) -> Array:
    return permanent(np.array([value], dtype))


# ---- training ----


def batch_norm(
    x: Array, weight: Array | None, bias: Array | None, eps: float, added: Array | None, ceiling: float | None
) -> tuple[Array, Array, Array]:
    """relu(norm(x) + added) (N, C, *size), mean and biased variance (C,); NaN without elements, as in NumPy."""
    x = last_and_dense(x, "x")
    mean, variance = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    if not x.size:
        mean[:] = variance[:] = np.nan
        return like(x), mean, variance
    y = _forward(x, _row(weight, x), _row(bias, x), added, mean, variance, (x.shape, eps, ceiling))
    return y, mean, variance


def batch_norm_grad(
    g: Array,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    mean: Array,
    variance: Array,
    eps: float,
    y: Array | None,
    ceiling: float | None,
) -> tuple[Array, ...]:
    """dx (N, C, *size), dweight and dbias (C,); with y, the result, the gradient of what was added comes fourth."""
    x = last_and_dense(x, "x")
    dweight, dbias = np.zeros(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
    kept = None if y is None else like(x)
    rows = [_row(v, x) for v in (weight, bias, mean, variance)]
    dx = _backward(g, x, *rows, y, kept, dweight, dbias, (x.shape, eps, ceiling)) if x.size else like(x)
    return (dx, dweight, dbias) if kept is None else (dx, dweight, dbias, kept)


def add_batch_norm_grad(
    g: Array,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    mean: Array,
    variance: Array,
    eps: float,
    y: Array | None,
    ceiling: float | None,
    into: Array,
) -> tuple[Array, ...] | None:
    """`batch_norm_grad` whose dx is added to ``into`` (N, C, *size), and the other gradients; None where ``into`` lies
    in another way than row by row of channels."""
    x = last_and_dense(x, "x")
    if not x.size or into.dtype != x.dtype or _pitch(into, _blocks(x.shape, x.dtype)) is None:
        return None
    dweight, dbias = np.zeros(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
    kept = None if y is None else like(x)
    rows = [_row(v, x) for v in (weight, bias, mean, variance)]
    _add_backward(g, x, *rows, y, kept, dweight, dbias, into, (x.shape, eps, ceiling))
    return (dweight, dbias) if kept is None else (dweight, dbias, kept)


def _pitch(a: Array, blocks: Blocks) -> int | None:
    """How many elements lie from row to row of ``a``, which may be some of the channels of an array; None where its
    rows have gaps."""
    return pitch_of(a) if blocks.shape.fold == 1 else None


def _row(v: Array | None, x: Array) -> Array | None:
    return None if v is None else np.ascontiguousarray(v, x.dtype)


@replayed(operands=6)
def _forward(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    added: Array | None,
    mean: Array,
    variance: Array,
    problem: tuple[Any, float, float | None],
    out: None = None,
) -> Array:
    _, eps, ceiling = problem
    blocks, y, z = _blocks(x.shape, x.dtype), like(x), None
    if added is not None:
        _, z = as_rows(x, added)
    partial, table = _scratch(blocks, x.dtype)
    p = _pass(
        x, y, ceiling, z=z, weight=weight, bias=bias, mean=mean, variance=variance, eps=_number(eps, x.dtype),
        partial=partial, **table,
    )  # fmt: skip
    _run(passes.moments_piece, x, ceiling, p, blocks.pieces, x, x)
    _run(passes.statistics, x, ceiling, p, 1)
    _run(passes.cut_piece, x, ceiling, p, blocks.pieces, x, y)
    return y


@replayed(operands=11)
def _add_backward(
    g: Array,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    mean: Array,
    variance: Array,
    y: Array | None,
    kept: Array | None,
    dweight: Array,
    dbias: Array,
    into: Array,
    problem: tuple[Any, float, float | None],
    out: None = None,
) -> Array:
    pitch = _pitch(into, _blocks(x.shape, x.dtype))
    assert pitch is not None  # `add_batch_norm_grad` has asked
    steps = {"y_step": pitch * x.itemsize, "add": 1}
    _pull_back(g, x, weight, bias, mean, variance, y, kept, dweight, dbias, into, problem, steps)
    return np.empty(0, x.dtype)


@replayed(operands=10)
def _backward(
    g: Array,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    mean: Array,
    variance: Array,
    y: Array | None,
    kept: Array | None,
    dweight: Array,
    dbias: Array,
    problem: tuple[Any, float, float | None],
    out: None = None,
) -> Array:
    dx = like(x)
    step = _blocks(x.shape, x.dtype).row_bytes
    _pull_back(g, x, weight, bias, mean, variance, y, kept, dweight, dbias, dx, problem, {"y_step": step})
    return dx


def _pull_back(
    g: Array,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    mean: Array,
    variance: Array,
    y: Array | None,
    kept: Array | None,
    dweight: Array,
    dbias: Array,
    dx: Array,
    problem: tuple[Any, float, float | None],
    steps: dict[str, int],
) -> None:
    """Write dx, or add to it, the gradients of weight and bias, and ``kept`` where there is a y."""
    _, eps, ceiling = problem
    blocks, z = _blocks(x.shape, x.dtype), None
    if y is not None:
        _, z = as_rows(x, y)
    pitch = _pitch(g, blocks)
    if pitch is None:
        g, pitch = last_and_dense(g, "g"), blocks.shape.groups
    partial, table = _scratch(blocks, x.dtype)
    p = _pass(
        x, dx, ceiling, pitch * x.itemsize, g=g, z=z, kept=kept, weight=weight, bias=bias, mean=mean,
        variance=variance, dweight=dweight, dbias=dbias, eps=_number(eps, x.dtype), partial=partial, **table,
    )._replace(**steps)  # fmt: skip
    if p.add:
        p = p._replace(stream=0)  # what is there is read anyway
    _run(passes.spread, x, ceiling, p, 1)
    _run(passes.sums_piece, x, ceiling, p, blocks.pieces, x, x)
    _run(passes.slopes, x, ceiling, p, 1)
    _run(passes.grad_piece, x, ceiling, p, blocks.pieces, x, x, dx)


def _scratch(blocks: Blocks, dtype: np.dtype) -> tuple[Array, dict[str, Array]]:
    """What the first pass finds, and what the second multiplies with and adds: a number for each group."""
    groups, names = blocks.shape.groups, ("centre", "slope", "shift", "of_x", "constant")
    table = borrow("norm table", (len(names), groups), dtype)
    return borrow("norm sums", (blocks.pieces, 2, groups), dtype), dict(zip(names, table))


# ---- known scales and shifts: evaluation, biases ----


def scale_shift(x: Array, scale: Array, shift: Array | None, added: Array | None, ceiling: float | None) -> Array:
    """relu(x scale + shift + added) (N, C, *size)."""
    x = last_and_dense(x, "x")
    scale, shift = np.ascontiguousarray(scale, x.dtype), None if shift is None else np.ascontiguousarray(shift, x.dtype)
    return _scale_shift(x, scale, shift, added, (x.shape, ceiling))


@replayed(operands=4)
def _scale_shift(
    x: Array, scale: Array, shift: Array | None, added: Array | None, problem: Any, out: None = None
) -> Array:
    _, ceiling = problem
    blocks, y, z = _blocks(x.shape, x.dtype), like(x), None
    if added is not None:
        _, z = as_rows(x, added)
    if x.size:
        spread = {"centre": blocks.zeros, "slope": blocks.spread(scale), "shift": blocks.spread(shift)}
        _run(passes.cut_piece, x, ceiling, _pass(x, y, ceiling, z=z, **spread), blocks.pieces, x, y)
    return y


def scale_shift_grad(g: Array, x: Array, scale: Array) -> tuple[Array, Array, Array]:
    """dx (N, C, *size), dscale and dshift (C,)."""
    x = last_and_dense(x, "x")
    g = last_and_dense(g, "g")
    blocks = _blocks(x.shape, x.dtype)
    partial = np.zeros((blocks.pieces, 2, blocks.shape.groups), x.dtype)
    if x.size:
        zeros = {"centre": blocks.zeros, "slope": blocks.zeros, "shift": blocks.zeros}
        p = _pass(x, g_step=blocks.row_bytes, g=g, partial=partial, **zeros)
        _run(passes.sums_piece, x, None, p, blocks.pieces, x, x)
    total = partial.sum(axis=0, dtype=np.float64)  # (2, fold * C)
    dshift, dscale = total.reshape(2, blocks.shape.fold, x.shape[1]).sum(axis=1).astype(x.dtype)
    return scale_shift(g, scale, None, None, None), dscale, dshift


def add_to_channels(x: Array, shift: Array) -> None:
    """``x += shift`` for a dense x (N, C, *size), shift (C,)."""
    blocks = _blocks(x.shape, x.dtype)
    spread = {"centre": blocks.zeros, "slope": blocks.spread(np.ones_like(shift)), "shift": blocks.spread(shift)}
    _run(passes.cut_piece, x, None, _pass(x, x, **spread), blocks.pieces, x, x)


def channel_sums(g: Array) -> Array:
    """The sum over each channel of g (N, C, *size), (C,): blocks are added up in float64."""
    g = last_and_dense(g, "g")
    blocks = _blocks(g.shape, g.dtype)
    partial = np.zeros((blocks.pieces, blocks.shape.groups), g.dtype)
    if g.size:
        _run(passes.totals_piece, g, None, _pass(g, partial=partial), blocks.pieces, g)
    return partial.sum(axis=0, dtype=np.float64).reshape(-1, g.shape[1]).sum(axis=0).astype(g.dtype)
