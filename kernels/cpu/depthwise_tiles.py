"""Register tiles of depthwise work, where a channel meets only itself; ``[:]`` are channels.

    filter_run    y[i][:]      = sum over rows k and taps s     of   x[k][i, s][:] * w[k][s, :]
    sum_run       d[r, s][:]  += sum over rows k and pixels q   of   x[k][q, r, s][:] * g[k][q][:]

x[k][i, s] is what tap s of the window of pixel i reads in row k: windows are ``apart`` bytes from one another, taps
``between``.  Rows lie where a *table* of addresses says; of those in the padding filter_run is told nothing.

Neighbouring windows share most of their pixels.  Where it is known beforehand how many taps there are and how far
windows are apart, filter_run loads each pixel once for all windows that it belongs to (`ChannelTile.taps`).

With groups of a few channels, each channel meets the members d of its group: x[...][:] is then the vector in which
every channel is replaced by member d of its group, one shuffle, and w and d have a row for each (s, d).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .simd import (
    I32,
    I64,
    ConstantType,
    Machine,
    emit_fma,
    emit_load,
    emit_loop,
    emit_opaque,
    emit_pointer,
    emit_store,
    emit_zero,
    machine,
)
from .tiles import INTS, Tile


@dataclass(frozen=True)
class ChannelTile(Tile):
    """``rows`` pixels, or taps of the weight gradient, x ``vectors`` of channels that meet ``group`` of their own.

    ``taps`` in a row of the kernel, ``stride`` pixels from window to window; 0: as many as filter_run is told.
    ``wide``: the vectors of a tile of one pixel.
    """

    group: int = 1
    taps: int = 0
    stride: int = 1
    wide: int = 1

    @property
    def lines(self) -> int:
        """Of the kernel, where ``rows`` counts taps."""
        return self.rows // self.taps

    @property
    def single(self) -> ChannelTile:
        """A tile of one pixel: with more vectors, so that there are as many sums to add to in turn."""
        return ChannelTile(self.dtype, self.lanes, 1, self.wide, self.group)


_PIXELS = {32: (12, 2), 16: (6, 2)}  # rows x vectors by the number of registers
SHAPES = (3, 3), (2, 5), (1, 9), (1, 3), (1, 1)  # of the kernel's taps in a tile of sums; few, to be compiled seldom
MOST_SUMS = 12  # vectors, or pairs of them where registers are many
MOST_PIXELS = 8
MOST_WIDE = 4  # vectors of a single pixel
SHARED_TAPS = (3, 5, 7)  # the usual ones; each is compiled by itself, so in float64, for checks, only the first


def filter_tile(
    dtype: str, channels: int, group: int = 1, taps: int = 0, stride: int = 1, host: Machine | None = None
) -> ChannelTile:
    """The tile of filter_run, no wider than there are channels.

    Windows share pixels where the weights of a row, ``taps`` of them, leave registers for four pixels at least.

    >>> filter_tile("float32", 96, taps=3, host=Machine(32, 16))
    ChannelTile(dtype='float32', lanes=8, rows=4, vectors=2, group=1, taps=3, stride=1, wide=4)
    >>> filter_tile("float32", 96, taps=9, host=Machine(32, 16))
    ChannelTile(dtype='float32', lanes=8, rows=6, vectors=2, group=1, taps=0, stride=1, wide=4)
    """
    host = host or machine()
    wide = _fit(dtype, channels, group, host, (1, MOST_WIDE)).vectors
    if group == 1 and taps in SHARED_TAPS[: None if dtype == "float32" else 1] and stride <= 2:
        for vectors in (2, 1):
            rows = (host.registers - 2) // vectors - taps
            tile = _fit(dtype, channels, 1, host, (min(rows, MOST_PIXELS), vectors))
            if rows >= 4 and tile.vectors == vectors:
                return replace(tile, taps=taps, stride=stride, wide=wide)
    return replace(_fit(dtype, channels, group, host, _PIXELS[host.registers]), wide=wide)


def sum_tile(
    dtype: str, channels: int, group: int, kernel: tuple[int, int], host: Machine | None = None
) -> ChannelTile:
    """The tile of sum_run for a kernel of so many lines and taps, no wider than there are channels.

    >>> sum_tile("float32", 96, 1, (3, 3), Machine(32, 16))
    ChannelTile(dtype='float32', lanes=8, rows=9, vectors=1, group=1, taps=3, stride=1, wide=1)
    """
    host = host or machine()
    tile = _fit(dtype, channels, group, host, (1, 1 if host.registers == 16 else 2))

    def cycles(shape: tuple[int, int]) -> float:
        """Of one pixel: two loads each, or what it takes until a sum can be added to again."""
        tiles = -(-kernel[0] // shape[0]) * -(-kernel[1] // shape[1])
        return tiles * max((prod(shape) * group + 1) / 2, 4)

    lines, taps = min((shape for shape in SHAPES if prod(shape) * group <= MOST_SUMS), key=cycles)
    return ChannelTile(dtype, tile.lanes, lines * taps, tile.vectors, group, taps)


def _fit(dtype: str, channels: int, group: int, host: Machine, shape: tuple[int, int]) -> ChannelTile:
    """Of the widths up to the one allowed, the one that computes the fewest channels twice."""
    rows, most = shape
    lanes = host.lanes(dtype)
    while lanes > max(1, channels):
        lanes //= 2
    widths = range(min(most, max(1, channels // lanes)), 0, -1)
    vectors = min(widths, key=lambda v: -(-channels // (v * lanes)) * v)
    return ChannelTile(dtype, lanes, rows, vectors, group)


def groups_fit(dtype: str, channels: int, group: int, host: Machine | None = None) -> bool:
    """Whether groups of so many channels lie within vectors, and a tap's sums in registers.

    >>> [groups_fit("float32", 32, group, Machine(64, 32)) for group in (1, 3, 4, 8, 16)]
    [True, False, True, True, False]
    """
    return group <= MOST_SUMS and filter_tile(dtype, channels, host=host).lanes % group == 0


# The loops -------------------------------------------------------------------------------------------


def _row(b: ir.IRBuilder, table: ir.Value, k: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Pair k of the table."""
    pair = b.gep(emit_pointer(b, table, I64), [b.mul(k, I64(2))])
    return b.load(pair), b.load(b.gep(pair, [I64(1)]))


def _vectors(b: ir.IRBuilder, tile: ChannelTile, address: ir.Value) -> list[ir.Value]:
    pointer = emit_pointer(b, address, tile.element)
    return [emit_load(b, tile, pointer, j * tile.lanes) for j in range(tile.vectors)]


def _places(b: ir.IRBuilder, address: ir.Value, step: ir.Value, count: int) -> list[ir.Value]:
    """``count`` addresses, ``step`` bytes apart."""
    return [b.add(address, b.mul(step, I64(i))) for i in range(count)]


def _member(b: ir.IRBuilder, tile: ChannelTile, vector: ir.Value, d: int) -> ir.Value:
    """The vector with member d of its group in place of each channel."""
    if tile.group == 1:
        return vector
    lanes = [lane // tile.group * tile.group + d for lane in range(tile.lanes)]
    return b.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(I32, tile.lanes), lanes))


def _tile(constant: object) -> ChannelTile | None:
    found = constant.value if isinstance(constant, ConstantType) else None
    return found if isinstance(found, ChannelTile) else None


@intrinsic
def filter_run(
    _context, tile, table, count, taps, x_shift, apart, between, w_shift, w_between, w_member, y, y_step, stream
):
    """y[i][:] = sum over k < count, s < taps, members d of x[k][i, s][:], member d, * w[k][s, d][:]

    ``table``: address of (count, 2) addresses, of rows of x and of w, to which ``x_shift`` and ``w_shift`` bytes are
    added.  The weights of neighbouring taps are ``w_between`` bytes apart, those of members ``w_member``; neighbouring
    results ``y_step``.  ``stream``: not 0 to write past the caches; y[i] then begins where a vector may.
    """
    spec = _tile(tile)
    if spec is None:
        return None

    def emit(ctx, b, _sig, args):
        _, table, count, taps, x_shift, apart, between, w_shift, w_between, w_member, y, y_step, stream = args

        def row(k, sums):
            x, w = _row(b, table, k)
            x, w = b.add(x, x_shift), b.add(w, w_shift)
            if spec.taps:
                return _shared_row(b, spec, x, between, w, w_between, sums)

            def tap(s, sums):
                first, weights = b.add(x, b.mul(s, between)), b.add(w, b.mul(s, w_between))
                pixels = [_vectors(b, spec, place) for place in _places(b, first, apart, spec.rows)]
                for d, place in enumerate(_places(b, weights, w_member, spec.group)):
                    factors = _vectors(b, spec, place) * spec.rows
                    values = [_member(b, spec, vector, d) for pixel in pixels for vector in pixel]
                    sums = [emit_fma(b, spec, *three) for three in zip(values, factors, sums)]
                return sums

            return emit_loop(b, taps, sums, tap)

        sums = emit_loop(b, count, [emit_zero(spec)] * (spec.rows * spec.vectors), row)
        _write(b, spec, sums, _places(b, y, y_step, spec.rows), stream)
        return ctx.get_dummy_value()

    return types.void(tile, *[INTS] * 12), emit


def _shared_row(
    b: ir.IRBuilder,
    tile: ChannelTile,
    x: ir.Value,
    between: ir.Value,
    w: ir.Value,
    w_between: ir.Value,
    sums: list[ir.Value],
) -> list[ir.Value]:
    """``sums`` and a row's contribution: each pixel is loaded once and meets the weights of all its windows."""
    weights = [_vectors(b, tile, place) for place in _places(b, w, w_between, tile.taps)]
    new = list(sums)
    for c, place in enumerate(_places(b, x, between, (tile.rows - 1) * tile.stride + tile.taps)):
        pixel = _vectors(b, tile, place)
        for s in range(tile.taps):
            i, rest = divmod(c - s, tile.stride)
            if rest == 0 and 0 <= i < tile.rows:
                for j in range(tile.vectors):
                    at = i * tile.vectors + j
                    new[at] = emit_fma(b, tile, pixel[j], weights[s][j], new[at])
    return new


def _write(b: ir.IRBuilder, tile: ChannelTile, sums: list[ir.Value], places: list[ir.Value], stream: ir.Value) -> None:
    """Store the sums of each pixel at its place; past the caches if ``stream`` is not 0."""
    pointers = [emit_pointer(b, place, tile.element) for place in places]
    with b.if_else(b.icmp_signed("!=", stream, I64(0))) as (past, plain):
        for branch, past_caches in ((past, True), (plain, False)):
            with branch:
                for i, pointer in enumerate(pointers):
                    for j in range(tile.vectors):
                        value = sums[i * tile.vectors + j]
                        emit_store(b, tile, value, pointer, j * tile.lanes, past_caches)


@intrinsic
def sum_run(
    _context, tile, table, rows, step, line, x_shift, apart, between, g_shift, g_step, count, d, d_line, d_step
):
    """d[r, s, m][:] += sum over k < rows, q < count of x[k][q, r, s][:], member m, * g[k][q][:]

    The tile has ``lines`` rows r of ``taps`` taps s.  ``table``: address of ``rows`` rows, ``step`` bytes apart, of
    addresses: of row k of g, and from place ``line`` on of the rows r of x that it reads.  x[k][q, r, s] lies
    ``x_shift`` + q * ``apart`` + s * ``between`` bytes from there, g[k][q] ``g_shift`` + q * ``g_step`` bytes.  The
    sums of a tap are ``group`` rows ``d_step`` bytes apart from address ``d`` on, those of its neighbour follow, and
    those of the next line are ``d_line`` bytes further on.
    """
    spec = _tile(tile)
    if spec is None:
        return None

    def emit(ctx, b, _sig, args):
        _, table, rows, step, line, x_shift, apart, between, g_shift, g_step, count, d, d_line, d_step = args
        begins = _places(b, d, d_line, spec.lines)
        places = [place for begin in begins for place in _places(b, begin, d_step, spec.taps * spec.group)]

        def row(k, sums):
            entry = emit_pointer(b, b.add(table, b.mul(k, step)), I64)
            g = b.add(b.load(entry), g_shift)
            lines = [b.add(b.load(b.gep(entry, [b.add(line, I64(r))])), x_shift) for r in range(spec.lines)]
            return emit_loop(b, count, [g, *lines, *sums], pixel)[1 + spec.lines :]

        def pixel(_q, carried):
            g, *lines = carried[: 1 + spec.lines]
            sums, new = carried[1 + spec.lines :], []
            factors = _vectors(b, spec, g)
            for first in lines:
                for place in _places(b, emit_opaque(b, first), between, spec.taps):
                    vectors = _vectors(b, spec, place)
                    for m in range(spec.group):
                        for vector, factor in zip(vectors, factors):
                            new.append(emit_fma(b, spec, _member(b, spec, vector, m), factor, sums[len(new)]))
            return [b.add(g, g_step), *[b.add(first, apart) for first in lines], *new]

        before = [v for place in places for v in _vectors(b, spec, place)]
        sums = emit_loop(b, rows, before, row)
        for i, place in enumerate(places):
            for j in range(spec.vectors):
                value = sums[i * spec.vectors + j]
                emit_store(b, spec, value, emit_pointer(b, place, spec.element), j * spec.lanes)
        return ctx.get_dummy_value()

    return types.void(tile, *[INTS] * 13), emit
