"""Batch norm with an addition and ReLU behind it, in the passes over memory of batch norm alone; channels last.

One after the other they read and write thirteen arrays in a training step, here eight.  Where the ReLU was flat the
backward pass computes anew from x, as the forward pass did; only where something was added it looks at the result.

ReLU ends at ``ceiling``, infinity or the 6 of MobileNet.  The numbers are those of the single steps, to the last bit:
nothing is summed in another order, and no product is split up differently (without ``reassoc``).
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from . import norm
from .elements import address, as_rows, elements, last_and_dense, like, seconds
from .pieces import Address, read, run
from .replay import permanent, replayed
from .simd import Lanes, broadcast, clear_bytes, fma, load, machine, store, where_between, zero

Array = np.ndarray


def batch_norm_relu(
    x: Array, weight: Array | None, bias: Array | None, eps: float, added: Array | None, ceiling: float
) -> tuple[Array, Array, Array]:
    """y (N, C, *size) channels-last, mean and biased variance (C,): ``kernels.norm.batch_norm_relu``."""
    x = last_and_dense(x, "x")
    mean, variance = norm.moments(x)
    scale = 1 / np.sqrt(variance + x.dtype.type(eps))
    return _cut(x, mean, scale if weight is None else scale * weight, bias, added, ceiling), mean, variance


def scale_shift_relu(x: Array, scale: Array, shift: Array | None, added: Array | None, ceiling: float) -> Array:
    """relu(x scale + shift + added), up to ``ceiling``; (N, C, *size), channels-last."""
    x = last_and_dense(x, "x")
    scale, shift = np.ascontiguousarray(scale, x.dtype), None if shift is None else np.ascontiguousarray(shift, x.dtype)
    return _scale_shift_cut(x, scale, shift, added, (x.shape, ceiling))


@replayed(operands=4)
def _scale_shift_cut(
    x: Array, scale: Array, shift: Array | None, added: Array | None, problem: Any, out: None = None
) -> Array:
    return _cut(x, None, scale, shift, added, problem[1])


def batch_norm_relu_grad(
    g: Array,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    mean: Array,
    variance: Array,
    eps: float,
    y: Array | None,
    ceiling: float,
) -> tuple[Array, ...]:
    """dx channels-last, dweight and dbias (C,), and with y a fourth: ``kernels.norm.batch_norm_relu_grad``."""
    x, g, *rest = as_rows(last_and_dense(x, "x"), g, *(() if y is None else (y,)))
    count = max(1, x.size // max(1, x.shape[1]))
    scale = 1 / np.sqrt(variance + x.dtype.type(eps))
    slope = scale if weight is None else scale * weight
    blocks = _blocks_of(x)
    of = {"mean": blocks.spread(mean), "scale": blocks.spread(slope), "shift": blocks.spread(bias)}
    kept = like(x) if rest else None
    partial = np.empty((blocks.partials, 2, blocks.shape.groups), x.dtype)
    if not x.size:
        partial[...] = 0
    else:
        z = rest[0] if rest else None
        _run(_sums_piece, x, ceiling, g=g, z=z, y=kept, partial=partial, **of)
    dbias, product = norm.of_channels(partial, blocks, x.shape[1])
    of_x, constant = -slope * scale * scale * (product / count), -slope * (dbias / count)
    gradients = norm.of_parameters(x, product, scale, dbias)
    if kept is not None:
        return norm.combined(kept, x, mean, slope, of_x, constant), *gradients, kept
    dx = like(x)
    if x.size:
        more = {"of_x": blocks.spread(of_x), "constant": blocks.spread(constant)}
        _run(_grad_piece, x, ceiling, g=g, y=dx, **of, **more)
    return dx, *gradients


def _cut(x: Array, mean: Array | None, scale: Array, shift: Array | None, added: Array | None, ceiling: float) -> Array:
    """relu((x - mean) scale + shift + added), up to ``ceiling``."""
    blocks, y = _blocks_of(x), like(x)
    z = None if added is None else as_rows(x, added)[1]
    if x.size:
        spread = {"mean": mean, "scale": scale, "shift": shift}
        _run(_cut_piece, x, ceiling, z=z, y=y, **{name: blocks.spread(v) for name, v in spread.items()})
    return y


def _blocks_of(x: Array) -> norm.Blocks:
    """Rows of channels always: of one channel alone too, which otherwise passes for channels-first storage."""
    return norm.blocks_of(x, last=True)


class Pass(NamedTuple):
    """Addresses, 0 of what there is not; ``z`` was added (forward) or is the result of the forward pass (backward).
    From ``mean`` on they have an element for each group; ``ceiling`` is one number."""

    x: Address
    g: Address
    z: Address
    y: Address
    partial: Address
    mean: Address
    scale: Address
    shift: Address
    of_x: Address
    constant: Address
    ceiling: Address
    rows: int
    groups: int
    size: int  # rows of a block


def _run(function: Any, x: Array, ceiling: float, **arrays: Array | None) -> None:
    blocks, top = _blocks_of(x), _top(ceiling, x.dtype)
    places = {name: 0 if a is None else address(a) for name, a in arrays.items()}
    none = dict.fromkeys(Pass._fields[:10], 0)
    shape = blocks.shape
    numbers = Pass(
        **none | {"x": address(x)} | places,
        ceiling=address(top),
        rows=shape.rows,
        groups=shape.groups,
        size=blocks.size,
    )
    tile = Lanes(x.dtype.name, machine().lanes(x.dtype.name))
    run(function, tile, numbers, blocks.pieces, seconds(x, x))


@cache
def _top(ceiling: float, dtype: np.dtype) -> Array:
    """One number.  Without a ceiling NaN: nothing is above it, nor does it stop the gradient of an infinite result."""
    return permanent(np.array([np.nan if ceiling == np.inf else ceiling], dtype))


# ``contract`` allows a product and a sum to be rounded once, which is what ``norm`` does too
_native = native(fastmath={"contract"})


@_native
def _block(p: Any, piece: int) -> tuple[int, int]:
    """Of a block: the first element, and the number of rows."""
    row = piece * p.size
    return row * p.groups, min(p.size, p.rows - row)


@_native
def _cut_piece(tile: Any, arguments: int, piece: int) -> None:
    p = read(Pass, arguments)
    begin, rows = _block(p, piece)
    x = elements(tile, p.x + begin * tile.itemsize, rows * p.groups)
    y = elements(tile, p.y + begin * tile.itemsize, rows * p.groups)
    mean, scale = elements(tile, p.mean, p.groups), elements(tile, p.scale, p.groups)
    shift, top = elements(tile, p.shift, p.groups), elements(tile, p.ceiling, 1)[0]
    none = x.dtype.type(0)
    if p.z != 0:
        z = elements(tile, p.z + begin * tile.itemsize, rows * p.groups)
        for m in range(rows):
            for v in range(p.groups):
                at = m * p.groups + v
                y[at] = _between((x[at] - mean[v]) * scale[v] + shift[v] + z[at], none, top)
        return
    for m in range(rows):
        for v in range(p.groups):
            at = m * p.groups + v
            y[at] = _between((x[at] - mean[v]) * scale[v] + shift[v], none, top)


@_native
def _between(value: Any, none: Any, top: Any) -> Any:
    """``value`` cut off at ``none``, which is 0, and ``top``; NaN stays."""
    value = value if value > 0 or value != value else none
    return top if value > top else value


@_native
def _sums_piece(tile: Any, arguments: int, piece: int) -> None:
    """Sums of the cotangent before the ReLU, and of its products with x - mean; ``y`` gets it where there is a z."""
    p = read(Pass, arguments)
    first, rows = _block(p, piece)
    partial = p.partial + piece * 2 * p.groups * tile.itemsize
    clear_bytes(partial, 2 * p.groups * tile.itemsize)
    whole = p.groups // tile.lanes * tile.lanes
    for m in range(rows):
        at = (first + m * p.groups) * tile.itemsize
        _sums_of_row(tile, p, partial, at, 0, whole)
        _sums_of_row(tile.one, p, partial, at, whole, p.groups)


@_native
def _sums_of_row(tile: Any, p: Any, partial: int, at: int, first: int, stop: int) -> None:
    size, top, none = tile.itemsize, broadcast(tile, elements(tile, p.ceiling, 1)[0]), zero(tile)
    products = partial + p.groups * size
    for v in range(first * size, stop * size, tile.lanes * size):
        g, centred = load(tile, p.g + at + v), load(tile, p.x + at + v) - load(tile, p.mean + v)
        if p.z != 0:
            kept = where_between(load(tile, p.z + at + v), none, top, g)
            store(p.y + at + v, kept)
        else:
            kept = where_between(fma(centred, load(tile, p.scale + v), load(tile, p.shift + v)), none, top, g)
        store(partial + v, load(tile, partial + v) + kept)
        store(products + v, fma(kept, centred, load(tile, products + v)))


@_native
def _grad_piece(tile: Any, arguments: int, piece: int) -> None:
    """dx = kept scale + (x - mean) of_x + constant, where kept is the cotangent before the ReLU."""
    p = read(Pass, arguments)
    first, rows = _block(p, piece)
    whole = p.groups // tile.lanes * tile.lanes
    for m in range(rows):
        at = (first + m * p.groups) * tile.itemsize
        _grad_of_row(tile, p, at, 0, whole)
        _grad_of_row(tile.one, p, at, whole, p.groups)


@_native
def _grad_of_row(tile: Any, p: Any, at: int, first: int, stop: int) -> None:
    size, top, none = tile.itemsize, broadcast(tile, elements(tile, p.ceiling, 1)[0]), zero(tile)
    for v in range(first * size, stop * size, tile.lanes * size):
        centred, scale = load(tile, p.x + at + v) - load(tile, p.mean + v), load(tile, p.scale + v)
        kept = where_between(fma(centred, scale, load(tile, p.shift + v)), none, top, load(tile, p.g + at + v))
        rest = fma(centred, load(tile, p.of_x + v), load(tile, p.constant + v))
        store(p.y + at + v, fma(kept, scale, rest))
