"""The vector code of Winograd convolution: X -> P X P^T for a small constant matrix P and a square X of vectors.

All five transforms have this form.  With B, G and A of ``spec/winograd.py``, d a tile of x, g a filter or a tile of
the output gradient:

    V = B^T d B      U = G g G^T      y = A^T M A

The elements of X are vectors of neighbouring channels, so nothing is shuffled: an instruction does for 8 or 16
channels what the formula says for one.  `Sandwich` knows P at compile time, and LLVM gets one straight run of
additions and multiplications without a branch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..spec.winograd import transforms
from .pieces import LINE
from .simd import (
    FUSE,
    I64,
    Constant,
    ConstantType,
    Lanes,
    emit_broadcast,
    emit_fma,
    emit_load,
    emit_pointer,
    emit_store,
    emit_zero,
)
from .tiles import Tile
from .winograd_tiles import POINTS

Row = list[Fraction]


@dataclass(frozen=True)
class Sandwich(Constant):
    """The matrix P: "BT", "G" or "AT" of F(m, r)."""

    lanes: Lanes
    matrix: str
    m: int
    r: int
    points: str
    past_caches: bool = False  # how the result is stored

    @property
    def rows(self) -> list[Row]:
        """P, exactly."""
        return getattr(transforms(self.m, self.r, self.points), self.matrix).tolist()

    @property
    def height(self) -> int:
        """Rows of P, and of the result."""
        return len(self.rows)

    @property
    def size(self) -> int:
        """Columns of P: rows and columns of X."""
        return len(self.rows[0])


@dataclass(frozen=True)
class Scheme(Constant):
    """All that is known when a kernel is compiled: the register tile of the products, m and r of F(m x m, r x r)."""

    tile: Tile
    m: int
    r: int

    @property
    def n(self) -> int:
        """Rows, and columns, of a transformed tile."""
        return self.m + self.r - 1

    @property
    def taps(self) -> int:
        """Of a filter."""
        return self.r**2

    @property
    def points(self) -> int:
        return self.n**2

    @property
    def itemsize(self) -> int:
        return self.tile.itemsize

    @property
    def lanes(self) -> Lanes:
        return Lanes(self.tile.dtype, self.tile.lanes)

    @property
    def block(self) -> Lanes:
        """The widest vectors of taps that can be transposed: all taps but one, of 3 x 3 and of 5 x 5."""
        return Lanes(self.tile.dtype, min(8, self.tile.lanes))

    @property
    def input(self) -> Sandwich:
        """V of a tile of x."""
        return self._sandwich("BT", self.m, self.r)

    @property
    def filters(self) -> Sandwich:
        """U of a filter.  Past the caches where a vector is a cache line: most U are larger than what they leave."""
        line = self.tile.lanes * self.itemsize == LINE
        return replace(self._sandwich("G", self.m, self.r), past_caches=line)

    @property
    def output(self) -> Sandwich:
        """y of a tile of M."""
        return self._sandwich("AT", self.m, self.r)

    @property
    def streamed(self) -> Sandwich:
        """The same, stored past the caches."""
        return replace(self.output, past_caches=True)

    @property
    def cotangent(self) -> Sandwich:
        """U of a tile of g, in the weight gradient."""
        return self._sandwich("G", self.r, self.m)

    @property
    def weights(self) -> Sandwich:
        """dw of M, in the weight gradient."""
        return self._sandwich("AT", self.r, self.m)

    def _sandwich(self, matrix: str, m: int, r: int) -> Sandwich:
        return Sandwich(self.lanes, matrix, m, r, POINTS[self.n])


@intrinsic
def sandwich(_context, kind, target, target_row, target_column, source, source_row, source_column):
    """Y = P X P^T.  X[i, j] is the vector at source + i * source_row + j * source_column, Y likewise; in bytes."""
    if not (isinstance(kind, ConstantType) and isinstance(kind.value, Sandwich)):
        return None
    spec = kind.value

    def emit(ctx, b, _sig, args):
        _, target, target_row, target_column, source, source_row, source_column = args

        def place(base: ir.Value, row: ir.Value, i: int, column: ir.Value, j: int) -> ir.Value:
            at = b.add(base, b.add(b.mul(row, I64(i)), b.mul(column, I64(j))))
            return emit_pointer(b, at, spec.lanes.element)

        n, lanes = range(spec.size), spec.lanes
        columns = []
        for j in n:
            x = [emit_load(b, lanes, place(source, source_row, i, source_column, j)) for i in n]
            columns.append(_product(b, lanes, spec.rows, x))
        for i in range(spec.height):
            for j, y in enumerate(_product(b, lanes, spec.rows, [column[i] for column in columns])):
                emit_store(b, lanes, y, place(target, target_row, i, target_column, j), past_caches=spec.past_caches)
        return ctx.get_dummy_value()

    return types.void(kind, *[types.intp] * 6), emit


# P x for a vector x of vectors -----------------------------------------------------------------------
# Points come as p and -p.  Where two columns of P are equal up to signs, their elements of x are needed only as sum
# and difference; where two rows are, they are a sum and a difference themselves.


def _product(b: ir.IRBuilder, lanes: Lanes, matrix: list[Row], x: list[ir.Value]) -> list[ir.Value]:
    matrix, x = [list(row) for row in matrix], list(x)
    for j, k in _mirrored(list(zip(*matrix))):
        total, difference = b.fadd(x[j], x[k], flags=FUSE), b.fsub(x[j], x[k], flags=FUSE)
        for row in matrix:  # a x_j + a x_k = a total,  a x_j - a x_k = a difference
            row[j], row[k] = (row[j], Fraction(0)) if row[j] == row[k] else (Fraction(0), row[j])
        x[j], x[k] = total, difference
    y: list[Any] = [None] * len(matrix)
    for i, k in _mirrored(matrix):
        same = [p if p == q else Fraction(0) for p, q in zip(matrix[i], matrix[k])]
        other = [p if p != q else Fraction(0) for p, q in zip(matrix[i], matrix[k])]
        scale = _scale(other)
        even, odd = _sum(b, lanes, same, x), _sum(b, lanes, [p / scale for p in other], x)
        y[i], y[k] = (_add(b, lanes, even, s, odd) for s in (scale, -scale))
    return [_sum(b, lanes, row, x) if known is None else known for row, known in zip(matrix, y)]


def _mirrored(rows: list[Any]) -> list[tuple[int, int]]:
    """Pairs of rows that are equal up to signs, some equal and some opposite."""
    pairs, free = [], list(range(len(rows)))
    while free:
        i = free.pop(0)
        for k in free:
            equal = any(p == q != 0 for p, q in zip(rows[i], rows[k]))
            opposite = any(p == -q != 0 for p, q in zip(rows[i], rows[k]))
            if equal and opposite and all(abs(p) == abs(q) for p, q in zip(rows[i], rows[k])):
                pairs.append((i, k))
                free.remove(k)
                break
    return pairs


def _scale(row: Row) -> Fraction:
    """One of the row's entries, by which the others are divided: if possible so that the quotients are exact."""
    entries = [p for p in row if p]
    exact = [p for p in entries if all((q / p).denominator.bit_count() == 1 for q in entries)]
    return (exact or entries)[0]


def _sum(b: ir.IRBuilder, lanes: Lanes, row: Row, x: list[ir.Value]) -> ir.Value:
    """row . x, beginning with a term that needs no multiplication if there is one."""
    terms = sorted(((p, v) for p, v in zip(row, x) if p), key=lambda term: term[0] != 1)
    if not terms:
        return emit_zero(lanes)
    (p, v), *rest = terms
    value = v if p == 1 else b.fmul(v, _constant(b, lanes, p), flags=FUSE)
    for p, v in rest:
        value = _add(b, lanes, value, p, v)
    return value


def _add(b: ir.IRBuilder, lanes: Lanes, value: ir.Value, p: Fraction, v: ir.Value) -> ir.Value:
    """value + p v"""
    if abs(p) == 1:
        return (b.fadd if p == 1 else b.fsub)(value, v, flags=FUSE)
    return emit_fma(b, lanes, v, _constant(b, lanes, p), value)


def _constant(b: ir.IRBuilder, lanes: Lanes, p: Fraction) -> ir.Value:
    return emit_broadcast(b, lanes, ir.Constant(lanes.element, float(p)))
