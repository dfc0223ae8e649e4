"""The innermost loops of `direct`: products of weights and rows of positions, added up in registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..jit import native
from .simd import (
    I64,
    ConstantType,
    Lanes,
    emit_broadcast,
    emit_fma,
    emit_load,
    emit_loop,
    emit_pointer,
    emit_store,
)

VECTORS = 4  # of sums, to a multiple of which a row of them is rounded up


@native
def add_products(
    tile: Any, sums: int, pitch: int, filters: int, starts: int, weights: int, w: int, w_filter: int, terms: int
) -> None:
    """sums[k][j] += sum over terms m of w[k][weights[m]] * x[starts[m] + j], as many j as fill ``pitch`` bytes.

    All are named by address: rows of sums are ``pitch`` bytes apart, filters ``w_filter``, and starts are addresses.
    """
    k = 0
    while k + 4 <= filters:
        _four(tile, sums + k * pitch, pitch, starts, weights, w + k * w_filter, w_filter, terms)
        k += 4
    while k + 2 <= filters:
        _two(tile, sums + k * pitch, pitch, starts, weights, w + k * w_filter, w_filter, terms)
        k += 2
    if k < filters:
        _one(tile, sums + k * pitch, pitch, starts, weights, w + k * w_filter, w_filter, terms)


def _of(filters: int, vectors: int) -> Callable[..., Any]:
    """The loop for so many filters, of whose rows so many vectors stay in registers while all terms pass."""

    @intrinsic
    def products(_context, tile, sums, pitch, starts, weights, w, w_filter, terms):
        if not isinstance(tile, ConstantType):
            return None
        spec = tile.value

        def emit(ctx: Any, b: ir.IRBuilder, _sig: Any, args: Any) -> Any:
            _emit(b, spec, filters, vectors, *args[1:])
            return ctx.get_dummy_value()

        return types.void(tile, *(types.intp,) * 7), emit

    return products


def _emit(
    b: ir.IRBuilder, lanes: Lanes, filters: int, vectors: int, sums: ir.Value, pitch: ir.Value, starts: ir.Value,
    weights: ir.Value, w: ir.Value, w_filter: ir.Value, terms: ir.Value,
) -> None:  # fmt: skip
    strip_bytes = I64(vectors * lanes.lanes * lanes.itemsize)
    indices = [(f, v) for f in range(filters) for v in range(vectors)]

    def strip(i: ir.Value, _carried: list[ir.Value]) -> list[ir.Value]:
        j = b.mul(i, strip_bytes)
        begins = [b.add(b.add(sums, j), b.mul(pitch, I64(f))) for f in range(filters)]
        rows = [emit_pointer(b, begin, lanes.element) for begin in begins]

        def term(m: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            x = emit_pointer(b, b.add(_number(b, starts, m), j), lanes.element)
            at = b.add(w, _number(b, weights, m))
            xs = [emit_load(b, lanes, x, v * lanes.lanes) for v in range(vectors)]
            places = [emit_pointer(b, b.add(at, b.mul(w_filter, I64(f))), lanes.element) for f in range(filters)]
            ws = [emit_broadcast(b, lanes, b.load(place)) for place in places]
            return [emit_fma(b, lanes, ws[f], xs[v], total) for (f, v), total in zip(indices, carried)]

        before = [emit_load(b, lanes, rows[f], v * lanes.lanes) for f, v in indices]
        for (f, v), total in zip(indices, emit_loop(b, terms, before, term)):
            emit_store(b, lanes, total, rows[f], v * lanes.lanes)
        return []

    emit_loop(b, b.udiv(pitch, strip_bytes), [], strip)


def _number(b: ir.IRBuilder, row: ir.Value, m: ir.Value) -> ir.Value:
    """Integer m of the row that begins at address ``row``."""
    return b.load(b.gep(emit_pointer(b, row, I64), [m]))


_one, _two, _four = _of(1, VECTORS), _of(2, VECTORS), _of(4, VECTORS // 2)
