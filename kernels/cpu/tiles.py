"""Register tiles: the innermost loops on which GEMM and convolution are built.

A *tile* of the result, ``rows`` x ``vectors * lanes`` elements, is summed up in registers and touches memory only
before and after.  Where the operands lie is said by a *table* of addresses, one per row: so the same loop serves
a matrix, the windows of an image (a tap is a shifted pixel) and padding (the address of a row of zeros).

Two loops; a row of ``b`` holds the tile's columns side by side (a *panel*, see packing.py):

    rows_times_panel      y[i, :] = sum over taps t and channels c   of   a[t, i][c] * b[t, c, :]
    columns_times_panel   y[i, :] = sum over pixels m                of   a[m][i]    * b[m, :]

Where channels do not meet: depthwise_tiles.py.

The register budget: rows * vectors sums, the ``vectors`` of b, one more for a.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .simd import (
    I64,
    ConstantType,
    Lanes,
    Machine,
    emit_broadcast,
    emit_fma,
    emit_load,
    emit_loop,
    emit_pointer,
    emit_store,
    emit_zero,
    machine,
)


@dataclass(frozen=True)
class Tile(Lanes):
    """Lanes, and the size of a register tile: ``rows`` x ``vectors``."""

    rows: int
    vectors: int

    @property
    def width(self) -> int:
        """Columns of the tile."""
        return self.vectors * self.lanes

    def narrow(self, columns: int) -> Tile:
        """A tile of one vector with room for ``columns``: 16 bytes wide at least, a register at most.

        Eight rows at least: so many multiply-adds are under way at once, and each needs a sum of its own.

        >>> Tile("float32", 8, 6, 2).narrow(3)
        Tile(dtype='float32', lanes=4, rows=8, vectors=1)
        """
        lanes = min(self.lanes, 16 // self.itemsize)
        while lanes < min(columns, self.lanes):
            lanes *= 2
        return Tile(self.dtype, lanes, max(self.rows, 8), 1)

    def widen(self, host: Machine | None = None) -> Tile:
        """A tile with one vector more, and as few rows as the registers then demand.

        >>> Tile("float32", 8, 6, 2).widen(Machine(32, 16))
        Tile(dtype='float32', lanes=8, rows=4, vectors=3)
        """
        registers = (host or machine()).registers
        vectors = self.vectors + 1
        return Tile(self.dtype, self.lanes, min(self.rows, (registers - 1) // vectors - 1), vectors)

    def fit(self, columns: int, host: Machine | None = None) -> Tile:
        """The tile for so many columns: of another width where that computes fewer in vain.

        Of one vector, with rows for as many sums as before, or of a vector more.

        >>> [Tile("float32", 16, 8, 2).fit(k, Machine(64, 32)).vectors for k in (16, 32, 48, 64, 80, 144)]
        [1, 2, 3, 2, 2, 3]
        """
        if columns <= self.lanes:
            return Tile(self.dtype, self.lanes, self.rows * self.vectors, 1)
        wider = self.widen(host)
        return min(self, wider, key=lambda tile: -(-columns // tile.width) * tile.width)


# Rows x vectors by the registers of a machine.  More rows mean fewer loads of b per product, and 14 x 2 would fit into
# 32 registers.  But with as many channels as networks often have, rows lie a multiple of a page apart; then all rows of
# a tile share one set of the L1 cache, of 8 to 12 lines, and if they are more they drive each other out.
_SIZES = {32: (8, 2), 16: (6, 2)}


def rows_tile(dtype: str, host: Machine | None = None) -> Tile:
    """The tile of rows_times_panel.

    >>> rows_tile("float32", Machine(64, 32))
    Tile(dtype='float32', lanes=16, rows=8, vectors=2)
    """
    host = host or machine()
    return Tile(dtype, host.lanes(dtype), *_SIZES[host.registers])


FEW_ROWS = 40  # of channels: so few that a tile of their own is worth its compilation


def columns_tile(dtype: str, host: Machine | None = None, depth: int | None = None) -> Tile:
    """The tile of columns_times_panel; for few channels (``depth``) with as many rows as compute least in vain.

    >>> [columns_tile("float32", Machine(32, 16), depth).rows for depth in (3, 6, 8, 9, 64)]
    [4, 6, 4, 5, 6]
    >>> [columns_tile("float32", Machine(64, 32), depth).rows for depth in (3, 6, 8, 9, 21, 33, 64)]
    [4, 8, 8, 9, 7, 11, 8]
    """
    host = host or machine()
    rows, vectors = _SIZES[host.registers]
    if depth is not None and depth <= 8 and -(-depth // 4) * 4 < -(-depth // rows) * rows:
        rows = 4
    elif depth is not None and rows < depth <= FEW_ROWS:
        most = (host.registers - 1) // vectors - 1
        candidates = (rows, *range(rows - 1, most + 1))
        rows = min(candidates, key=lambda n: -(-depth // n) * (n + 1))  # what else a tile reads is worth a row
    return Tile(dtype, host.lanes(dtype), rows, vectors)


# The loops -------------------------------------------------------------------------------------------

INTS = types.intp


class _Sums:
    """The sums of one tile as a flat list of vectors, row by row, and where they go in memory.

    ``rows`` gives a pointer to elements for each row.  It is asked where they are needed: pointers that were kept for
    the end while the products are summed up would take the registers of those that are read.
    """

    def __init__(self, b: ir.IRBuilder, tile: Tile, rows: Callable[[], list[ir.Value]]) -> None:
        self.b, self.tile, self.rows = b, tile, rows

    def start(self, accumulate: ir.Value) -> list[ir.Value]:
        """Zeros, or what lies in memory if ``accumulate`` is not 0."""
        b, tile = self.b, self.tile
        before, read, ready = b.block, b.append_basic_block("read"), b.append_basic_block("ready")
        b.cbranch(b.icmp_signed("!=", accumulate, I64(0)), read, ready)
        b.position_at_end(read)
        old = [emit_load(b, tile, row, j * tile.lanes) for row in self.rows() for j in range(tile.vectors)]
        b.branch(ready)
        b.position_at_end(ready)
        sums = [b.phi(tile.vector) for _ in old]
        for phi, value in zip(sums, old):
            phi.add_incoming(emit_zero(tile), before)
            phi.add_incoming(value, read)
        return sums

    def finish(self, sums: list[ir.Value], stream: ir.Value | None = None) -> None:
        """Store the sums; past the caches if there is a ``stream`` that is not 0."""
        b, tile = self.b, self.tile
        places = [(row, j * tile.lanes) for row in self.rows() for j in range(tile.vectors)]

        def write(past_caches: bool) -> None:
            for value, (row, at) in zip(sums, places):
                emit_store(b, tile, value, row, at, past_caches)

        if stream is None:
            write(False)
            return
        with b.if_else(b.icmp_signed("!=", stream, I64(0))) as (past, plain):
            with past:
                write(True)
            with plain:
                write(False)


def _read_table(
    b: ir.IRBuilder, table: ir.Value, first: ir.Value, tile: Tile, offset: ir.Value, step: ir.Value | None = None
) -> list[ir.Value]:
    """The pointers table[first], table[first + step], ... one for each row, each moved by ``offset`` bytes."""
    at = b.gep(emit_pointer(b, table, I64), [first])
    entries = [I64(i) if step is None else b.mul(step, I64(i)) for i in range(tile.rows)]
    addresses = [b.load(b.gep(at, [entry])) for entry in entries]
    return [emit_pointer(b, b.add(address, offset), tile.element) for address in addresses]


def _spaced(b: ir.IRBuilder, address: ir.Value, step: ir.Value, tile: Tile, count: int | None = None) -> list[ir.Value]:
    """``count`` (else ``rows``) pointers, ``step`` bytes apart."""
    places = [b.add(address, b.mul(step, I64(i))) for i in range(tile.rows if count is None else count)]
    return [emit_pointer(b, place, tile.element) for place in places]


def _times_row(b: ir.IRBuilder, tile: Tile, a: list[ir.Value], row: list[ir.Value], sums: list[ir.Value]) -> list[Any]:
    """sums[i, :] + a[i] * row[:] for scalars a."""
    new = []
    for i, scalar in enumerate(a):
        wide = emit_broadcast(b, tile, scalar)
        new += [emit_fma(b, tile, wide, v, sums[i * tile.vectors + j]) for j, v in enumerate(row)]
    return new


def _is_tile(tile: Any) -> bool:
    return isinstance(tile, ConstantType) and isinstance(tile.value, Tile)


@intrinsic
def rows_times_panel(_context, tile, table, taps, offset, depth, panel, results, shift, accumulate, stream):
    """y[i, :] (+)= sum over t < taps, c < depth of a[t, i][c] * panel[t, c, :]

    ``table``: address of (taps, rows) addresses, row i of a at tap t, to each of which ``offset`` bytes are added.
    ``panel``: address of (taps, depth, width) elements.  ``results``: address of (rows,) addresses of y's rows, to
    which ``shift`` bytes are added.  ``accumulate``: 0 to overwrite y.  ``stream``: not 0 to write past the caches;
    every vector of y then begins where one may.
    """
    if not _is_tile(tile):
        return None
    spec = tile.value

    def emit(ctx, b, _sig, args):
        _, table, taps, offset, depth, panel, results, shift, accumulate, stream = args
        out = _Sums(b, spec, lambda: _read_table(b, results, I64(0), spec, shift))
        base = emit_pointer(b, panel, spec.element)

        def tap(t, sums):
            a = _read_table(b, table, b.mul(t, I64(spec.rows)), spec, offset)
            begin = b.gep(base, [b.mul(b.mul(t, depth), I64(spec.width))])

            def channel(c, sums):
                at = b.gep(begin, [b.mul(c, I64(spec.width))])
                row = [emit_load(b, spec, at, j * spec.lanes) for j in range(spec.vectors)]
                return _times_row(b, spec, [b.load(b.gep(p, [c])) for p in a], row, sums)

            return emit_loop(b, depth, sums, channel)

        out.finish(emit_loop(b, taps, out.start(accumulate), tap), stream)
        return ctx.get_dummy_value()

    return types.void(tile, *[INTS] * 9), emit


@intrinsic
def columns_times_panel(_context, tile, table, count, offset, panel, panel_step, result, step, accumulate):
    """y[i, :] (+)= sum over m < count of a[m][i] * panel[m, :]

    ``table``: address of (count,) addresses, each the first element of a row of a, to which ``offset`` bytes are
    added.  ``panel``: address of (count, width) elements, with ``panel_step`` bytes from row to row.  ``result``: y's
    address, its rows ``step`` bytes apart.
    """
    if not _is_tile(tile):
        return None
    spec = tile.value

    def emit(ctx, b, _sig, args):
        _, table, count, offset, panel, panel_step, result, step, accumulate = args
        out = _Sums(b, spec, lambda: _spaced(b, result, step, spec))
        rows = emit_pointer(b, table, I64)

        def pixel(m, sums):
            a = emit_pointer(b, b.add(b.load(b.gep(rows, [m])), offset), spec.element)
            at = emit_pointer(b, b.add(panel, b.mul(m, panel_step)), spec.element)
            row = [emit_load(b, spec, at, j * spec.lanes) for j in range(spec.vectors)]
            return _times_row(b, spec, [b.load(b.gep(a, [I64(i)])) for i in range(spec.rows)], row, sums)

        out.finish(emit_loop(b, count, out.start(accumulate), pixel))
        return ctx.get_dummy_value()

    return types.void(tile, *[INTS] * 8), emit
