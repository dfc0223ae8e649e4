"""The innermost loops of `direct`: products of weights and rows of positions, or of two rows, added up in registers."""

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
    emit_total,
    emit_zero,
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


SUMS = 12
"""Vectors of sums of dot products: so many multiply-adds do not wait for each other, and leave room in 16 registers."""


@native
def add_dots(
    tile: Any, totals: int, step: int, filters: int, g: int, pitch: int, starts: int, terms: int, vectors: int
) -> None:
    """totals[k][m] += sum over j of g[k][j] * x[starts[m] + j], as many j as fill so many ``vectors``.

    All are named by address: totals, in float64, of filters are ``step`` bytes apart, rows of g ``pitch``.
    """
    k = 0
    while k + 4 <= filters:
        _four_dots(tile, totals + k * step, step, g + k * pitch, pitch, starts, terms, vectors)
        k += 4
    while k + 2 <= filters:
        _two_dots(tile, totals + k * step, step, g + k * pitch, pitch, starts, terms, vectors)
        k += 2
    if k < filters:
        _one_dot(tile, totals + k * step, step, g + k * pitch, pitch, starts, terms, vectors)


def _dots_of(filters: int) -> Callable[..., Any]:
    """The loops for so many filters: SUMS dot products at a time, then those of one term after the other."""

    @intrinsic
    def dots(_context, tile, totals, step, g, pitch, starts, terms, vectors):
        if not isinstance(tile, ConstantType):
            return None
        spec, bundle = tile.value, SUMS // filters

        def emit(ctx: Any, b: ir.IRBuilder, _sig: Any, args: Any) -> Any:
            _, totals, step, g, pitch, starts, terms, vectors = args
            whole = b.mul(b.udiv(terms, I64(bundle)), I64(bundle))
            for first, last, count in ((I64(0), whole, bundle), (whole, terms, 1)):
                _emit_dots(b, spec, filters, count, totals, step, g, pitch, starts, first, last, vectors)
            return ctx.get_dummy_value()

        return types.void(tile, *(types.intp,) * 7), emit

    return dots


def _emit_dots(
    b: ir.IRBuilder, lanes: Lanes, filters: int, bundle: int, totals: ir.Value, step: ir.Value, g: ir.Value,
    pitch: ir.Value, starts: ir.Value, first: ir.Value, last: ir.Value, vectors: ir.Value,
) -> None:  # fmt: skip
    """The terms first, ..., last - 1, ``bundle`` of them at a time.

    Sums have a number for each lane; when all positions have passed, these are added to each other and to the total.
    """
    rows = [emit_pointer(b, b.add(g, b.mul(pitch, I64(f))), lanes.element) for f in range(filters)]
    indices = [(f, t) for f in range(filters) for t in range(bundle)]

    def terms(i: ir.Value, _carried: list[ir.Value]) -> list[ir.Value]:
        m = b.add(first, b.mul(i, I64(bundle)))
        places = [emit_pointer(b, _number(b, starts, b.add(m, I64(t))), lanes.element) for t in range(bundle)]

        def positions(v: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            j = b.mul(v, I64(lanes.lanes))
            xs = [emit_load(b, lanes, place, j) for place in places]
            gs = [emit_load(b, lanes, row, j) for row in rows]
            return [emit_fma(b, lanes, gs[f], xs[t], total) for (f, t), total in zip(indices, sums)]

        sums = emit_loop(b, vectors, [emit_zero(lanes)] * len(indices), positions)
        for (f, t), vector in zip(indices, sums):
            total = b.add(b.add(totals, b.mul(step, I64(f))), b.mul(b.add(m, I64(t)), I64(8)))
            place, one = emit_pointer(b, total, ir.DoubleType()), emit_total(b, lanes, vector)
            one = one if lanes.dtype == "float64" else b.fpext(one, ir.DoubleType())
            b.store(b.fadd(b.load(place), one), place)
        return []

    emit_loop(b, b.udiv(b.sub(last, first), I64(bundle)), [], terms)


def _number(b: ir.IRBuilder, row: ir.Value, m: ir.Value) -> ir.Value:
    """Integer m of the row that begins at address ``row``."""
    return b.load(b.gep(emit_pointer(b, row, I64), [m]))


_one, _two, _four = _of(1, VECTORS), _of(2, VECTORS), _of(4, VECTORS // 2)
_one_dot, _two_dots, _four_dots = _dots_of(1), _dots_of(2), _dots_of(4)
