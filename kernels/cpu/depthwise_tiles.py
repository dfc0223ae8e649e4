"""Register tiles of depthwise work, where a channel meets only itself; ``[:]`` are channels.

    filter_run    y[i][:]      = sum over rows k and taps s     of   x[k][i, s][:] * w[k][s, :]
    sum_run       d[r, s][:]  += sum over rows k and pixels q   of   x[k][q, r, s][:] * g[k][q][:]

x[k][i, s] is what tap s of the window of pixel i reads in row k.  Rows lie where a *table* of addresses says; of those
in the padding filter_run is told nothing.  What a row reads before its first pixel or after its last one are zeros.

Neighbouring windows share most of their pixels.  Where it is known beforehand how many taps there are and how far
windows are apart, filter_run loads each pixel once for all windows that it belongs to (`ChannelTile.taps`); of a long
kernel's row, once for some taps at a time.  The windows of a strided row's input gradient lie closer than pixels
(`ChannelTile.upsamples`): result i reads pixel (i + phase - s) / stride with tap s, where that is a whole number.

With groups of a few channels, each channel meets the members d of its group: x[...][:] is then the vector in which
every channel is replaced by member d of its group, one shuffle, and w and d have a row for each (s, d).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
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

    ``taps`` in a row of the kernel, or with ``long`` at a time, ``stride`` pixels from window to window.  0 taps: as
    many as filter_run is told, and the stride too.  ``run``: pixels that sum_run takes at a time.  ``upsamples``: the
    results are the input gradient of a row with that stride, from a multiple of it on, and ``phase`` is what is left
    of the padding's width divided by it.
    """

    group: int = 1
    taps: int = 0
    stride: int = 1
    long: bool = False
    run: int = 1
    upsamples: bool = False
    phase: int = 0

    @property
    def lines(self) -> int:
        """Of the kernel, where ``rows`` counts taps."""
        return self.rows // self.taps

    @property
    def told(self) -> int:
        """1: filter_run needs to be told how many taps there are."""
        return int(self.long or not self.taps)

    @property
    def low(self) -> int:
        """Pixels of the row that are read before pixel 0, with ``upsamples``."""
        return (self.taps - 1 - self.phase) // self.stride

    @property
    def pixels(self) -> int:
        """Neighbouring pixels of a row that filter_run reads, where it knows the taps."""
        if self.upsamples:
            return self.low + (self.rows - 1 + self.phase) // self.stride + 1
        return (self.rows - 1) * self.stride + self.taps

    def meets(self, c: int) -> list[tuple[int, int]]:
        """The taps s that pixel c of those meets, each with its result i."""
        if self.upsamples:
            found = [(s, self.stride * (c - self.low) + s - self.phase) for s in range(self.taps)]
        else:
            found = [(s, (c - s) // self.stride) for s in range(self.taps) if (c - s) % self.stride == 0]
        return [(s, i) for s, i in found if 0 <= i < self.rows]


_PIXELS = {32: (7, 2), 16: (6, 2)}  # rows x vectors by the number of registers
_LONG = {32: (14, 1), 16: (7, 1)}
SHAPES = (3, 3), (2, 5), (1, 9), (1, 3), (1, 1)  # of the kernel's taps in a tile of sums; few, to be compiled seldom
MOST_SUMS = 12  # vectors, or pairs of them where registers are many
RUN = 4  # pixels that meet all taps of a tile of sums at a time
MOST_PIXELS = 7  # rows of images are multiples of that, mostly
MOST_BETWEEN = 8  # the same of results that lie closer than pixels, an even number
SHARED_TAPS = (3, 5, 7)  # the usual ones; each is compiled by itself, so in float64, for checks, only the first
LONG_TAPS = 4  # at a time, of at least twice as many


def filter_tile(
    dtype: str, channels: int, group: int = 1, taps: int = 0, stride: int = 1, host: Machine | None = None
) -> ChannelTile:
    """The tile of filter_run, no wider than there are channels.

    Windows share pixels where the weights of a row, ``taps`` of them, leave registers for four pixels at least.

    >>> for taps in (3, 31):
    ...     tile = filter_tile("float32", 96, taps=taps, host=Machine(32, 16))
    ...     print(tile.lanes, tile.rows, tile.vectors, tile.taps, tile.long)
    8 4 2 3 False
    8 7 1 4 True
    """
    host = host or machine()
    shared = _sharing(dtype, channels, group, taps, stride, MOST_PIXELS, host)
    if shared is not None:
        return shared
    if taps >= 2 * LONG_TAPS and stride == 1:
        return replace(_fit(dtype, channels, group, host, _LONG[host.registers]), taps=LONG_TAPS, long=True)
    return _fit(dtype, channels, group, host, _PIXELS[host.registers])


def gradient_tile(
    dtype: str, channels: int, group: int, taps: int, stride: int, low: int, host: Machine | None = None
) -> ChannelTile | None:
    """The tile of filter_run for the input gradient of a row with a stride and ``low`` pixels of padding before it.

    None where no tile takes it as a whole: it is that of filter_tile for each residue of its pixels then.

    >>> tile = gradient_tile("float32", 96, 1, taps=3, stride=2, low=1, host=Machine(64, 32))
    >>> [tile.meets(c) for c in range(tile.pixels)][:2]
    [[(1, 0), (2, 1)], [(0, 1), (1, 2), (2, 3)]]
    """
    host = host or machine()
    tile = None if stride == 1 else _sharing(dtype, channels, group, taps, stride, MOST_BETWEEN, host, stride)
    return None if tile is None else replace(tile, upsamples=True, phase=low % stride)


def _sharing(
    dtype: str, channels: int, group: int, taps: int, stride: int, most: int, host: Machine, step: int = 1
) -> ChannelTile | None:
    """The tile that loads what neighbouring windows share once, if there is one, of a multiple of ``step`` pixels."""
    if taps in SHARED_TAPS[: None if dtype == "float32" else 1] and stride <= 2:
        for vectors in (2, 1) if group == 1 else (1,):  # a group's pixels stay in registers, for all of its members
            rows = (host.registers - 2) // vectors - taps
            tile = _fit(dtype, channels, group, host, (min(rows, most) // step * step, vectors))
            if rows >= 4 and tile.vectors == vectors:
                return replace(tile, taps=taps, stride=stride)
    return None


def sum_tile(
    dtype: str, channels: int, group: int, kernel: tuple[int, int], stride: int = 0, host: Machine | None = None
) -> ChannelTile:
    """The tile of sum_run for a kernel of so many lines and taps, no wider than there are channels.

    ``stride``: from window to window, where taps are neighbours; 0 where they are not.

    >>> tile = sum_tile("float32", 96, 1, (3, 3), 1, Machine(32, 16))
    >>> tile.lanes, tile.rows, tile.vectors, tile.run
    (8, 9, 1, 4)
    """
    host = host or machine()
    tile = _fit(dtype, channels, group, host, (1, 1 if host.registers == 16 else 2))
    run = RUN if 1 <= stride <= 2 else 1

    def cycles(shape: tuple[int, int]) -> float:
        """Of one pixel: two loads each, or what it takes until a sum can be added to again."""
        tiles = -(-kernel[0] // shape[0]) * -(-kernel[1] // shape[1])
        return tiles * max((prod(shape) * group + 1) / 2, 4)

    lines, taps = min((shape for shape in SHAPES if prod(shape) * group <= MOST_SUMS), key=cycles)
    return ChannelTile(dtype, tile.lanes, lines * taps, tile.vectors, group, taps, max(1, stride), run=run)


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
    _context, tile, table, count, taps, x_shift, first, size, step, stride, dilation, zeros, w_shift, w_between,
    w_member, y, y_step, pixels, stream,
):  # fmt: skip
    """y[i][:] = sum over k < count, s < taps, members d of x[k][i, s][:], member d, * w[k][s, d][:], for i < pixels

    ``table``: address of (count, 2) addresses, of rows of x and of w, to which ``x_shift`` and ``w_shift`` bytes are
    added.  x[k][i, s] is pixel ``first`` + i * ``stride`` + s * ``dilation`` of a row, whose ``size`` pixels lie
    ``step`` bytes apart; if there is none, the vectors at ``zeros``.  The weights of neighbouring taps are
    ``w_between`` bytes apart, those of members ``w_member``; neighbouring results ``y_step``.  ``stream``: not 0 to
    write past the caches; y[i] then begins where a vector may.
    """
    spec = _tile(tile)
    if spec is None:
        return None

    def emit(ctx, b, _sig, args):
        _, table, count, taps, x_shift, first, size, step, stride, dilation, zeros, *args = args
        w_shift, w_between, w_member, y, y_step, pixels, stream = args

        def row(k, sums, padded):
            x, w = _row(b, table, k)
            x, w = b.add(x, x_shift), b.add(w, w_shift)

            def pixel(j):
                """Where pixel j lies; with ``padded``, zeros if there is none."""
                place = b.add(x, b.mul(j, step))
                return b.select(b.icmp_unsigned("<", j, size), place, zeros) if padded else place

            def weights(s, d):
                return _vectors(b, spec, b.add(w, b.add(b.mul(s, w_between), b.mul(I64(d), w_member))))

            def shared(s, sums):
                """Taps s, s + 1, ...: each pixel is loaded once and meets the weights of all its windows."""
                begin = b.add(first, s)
                places = [pixel(b.add(begin, I64(c))) for c in range(spec.pixels)]
                for d in range(spec.group):
                    factors = [weights(b.add(s, I64(t)), d) for t in range(spec.taps)]
                    sums = _meet(b, spec, places, d, factors, sums)
                return sums

            def tap(s, sums):
                begin = b.add(first, b.mul(s, dilation))
                places = [pixel(b.add(begin, b.mul(stride, I64(i)))) for i in range(spec.rows)]
                values = [_vectors(b, spec, place) for place in places]
                for d in range(spec.group):
                    factors = weights(s, d) * spec.rows
                    members = [_member(b, spec, vector, d) for value in values for vector in value]
                    sums = [emit_fma(b, spec, *three) for three in zip(members, factors, sums)]
                return sums

            if not spec.taps:
                return emit_loop(b, taps, sums, tap)
            if not spec.long:
                return shared(I64(0), sums)
            blocks = b.sdiv(taps, I64(spec.taps))
            sums = emit_loop(b, blocks, sums, lambda i, sums: shared(b.mul(i, I64(spec.taps)), sums))
            done = b.mul(blocks, I64(spec.taps))
            return emit_loop(b, b.sub(taps, done), sums, lambda i, sums: tap(b.add(done, i), sums))

        def rows(padded):
            start = [emit_zero(spec)] * (spec.rows * spec.vectors)
            return emit_loop(b, count, start, lambda k, sums: row(k, sums, padded))

        if spec.long:
            sums = rows(False)
        else:
            reach = b.add(b.mul(I64(spec.rows - 1), stride), b.mul(b.sub(taps, I64(1)), dilation))
            if spec.taps:
                reach = I64(spec.pixels - 1)
            inside = b.and_(b.icmp_signed(">=", first, I64(0)), b.icmp_signed("<", b.add(first, reach), size))
            sums = _either(b, inside, lambda: rows(False), lambda: rows(True))
        _write(b, spec, sums, _places(b, y, y_step, spec.rows), pixels, stream)
        return ctx.get_dummy_value()

    return types.void(tile, *[INTS] * 17), emit


def _either(
    b: ir.IRBuilder, condition: ir.Value, yes: Callable[[], list[ir.Value]], no: Callable[[], list[ir.Value]]
) -> list[ir.Value]:
    """The values of ``yes`` where the condition holds, those of ``no`` where it does not."""
    ends = []
    with b.if_else(condition) as (then, otherwise):
        for branch, values in ((then, yes), (otherwise, no)):
            with branch:
                ends.append((values(), b.block))
    chosen = [b.phi(value.type) for value in ends[0][0]]
    for made, block in ends:
        for phi, value in zip(chosen, made):
            phi.add_incoming(value, block)
    return chosen


def _meet(
    b: ir.IRBuilder,
    tile: ChannelTile,
    places: list[ir.Value],
    d: int,
    weights: list[list[ir.Value]],
    sums: list[ir.Value],
) -> list[ir.Value]:
    """``sums`` and what member d of the pixels at ``places`` contributes, with the weights of neighbouring taps."""
    new = list(sums)
    for c, place in enumerate(places):
        pixel = [_member(b, tile, vector, d) for vector in _vectors(b, tile, place)]
        for s, i in tile.meets(c):
            for j in range(tile.vectors):
                at = i * tile.vectors + j
                new[at] = emit_fma(b, tile, pixel[j], weights[s][j], new[at])
    return new


def _write(
    b: ir.IRBuilder,
    tile: ChannelTile,
    sums: list[ir.Value],
    places: list[ir.Value],
    pixels: ir.Value,
    stream: ir.Value,
) -> None:
    """Store the sums of the first ``pixels`` at their places; past the caches if ``stream`` is not 0."""
    pointers = [emit_pointer(b, place, tile.element) for place in places]
    with b.if_else(b.icmp_signed("!=", stream, I64(0))) as (past, plain):
        for branch, past_caches in ((past, True), (plain, False)):
            with branch:
                for i, pointer in enumerate(pointers):
                    with b.if_then(b.icmp_signed("<", I64(i), pixels)):
                        for j in range(tile.vectors):
                            value = sums[i * tile.vectors + j]
                            emit_store(b, tile, value, pointer, j * tile.lanes, past_caches)


@intrinsic
def sum_run(
    _context, tile, table, rows, step, line, x_shift, first, x_step, stride, dilation, zeros, g_shift, g_step, count,
    low, inside, d, d_line, d_step,
):  # fmt: skip
    """d[r, s, m][:] += sum over k < rows, q < count of x[k][q, r, s][:], member m, * g[k][q][:]

    The tile has ``lines`` rows r of ``taps`` taps s.  ``table``: address of ``rows`` rows, ``step`` bytes apart, of
    the address of row k of g and pairs: the address of a row of x and how many pixels it has, 0 for one in the
    padding.  Pair ``line`` is that of row r = 0.  x[k][q, r, s] is pixel ``first`` + q * ``stride`` + s * ``dilation``
    of its row, whose pixels lie ``x_step`` bytes apart, plus ``x_shift``; if there is none, the vectors at ``zeros``.
    From q = ``low`` on, ``inside`` windows have all their pixels in rows that are not in the padding.  g[k][q] lies
    ``g_shift`` + q * ``g_step`` bytes from the address.  The sums of a tap are ``group`` rows ``d_step`` bytes apart
    from address ``d`` on, those of its neighbour follow, and those of the next line are ``d_line`` bytes further on.
    """
    spec = _tile(tile)
    if spec is None:
        return None

    def emit(ctx, b, _sig, args):
        _, table, rows, step, line, x_shift, first, x_step, stride, dilation, zeros, *args = args
        g_shift, g_step, count, low, inside, d, d_line, d_step = args
        begins = _places(b, d, d_line, spec.lines)
        places = [place for begin in begins for place in _places(b, begin, d_step, spec.taps * spec.group)]

        def row(k, sums):
            entry = emit_pointer(b, b.add(table, b.mul(k, step)), I64)
            pairs = b.gep(entry, [b.add(I64(1), b.mul(line, I64(2)))])
            lines = [b.add(b.load(b.gep(pairs, [I64(2 * r)])), x_shift) for r in range(spec.lines)]
            sizes = [b.load(b.gep(pairs, [I64(2 * r + 1)])) for r in range(spec.lines)]
            empty = [b.icmp_signed("==", size, I64(0)) for size in sizes]
            nothing = reduce(b.and_, empty)  # all is padding

            def add(run, j, g, sums, padded):
                """What ``run`` neighbouring pixels contribute; x, from pixel j on, is loaded once for all of them."""
                new = list(sums)
                factors = [_vectors(b, spec, place) for place in _places(b, emit_opaque(b, g), g_step, run)]
                columns = (run - 1) * spec.stride + spec.taps
                between = b.mul(x_step, dilation)
                begin = [emit_opaque(b, b.add(x, b.mul(j, x_step))) for x in lines]
                places = [_places(b, x, between, columns) for x in begin]
                if padded:
                    numbers = [b.add(j, b.mul(dilation, I64(c))) for c in range(columns)]
                    for r, size in enumerate(sizes):
                        real = [b.icmp_unsigned("<", number, size) for number in numbers]
                        places[r] = [b.select(*three, zeros) for three in zip(real, places[r])]
                for c, r in product(range(columns), range(spec.lines)):
                    pairs = [(s, *divmod(c - s, spec.stride)) for s in range(spec.taps)] if run > 1 else [(c, 0, 0)]
                    met = [(s, i) for s, i, rest in pairs if rest == 0 and 0 <= i < run]  # taps and pixels
                    vectors = _vectors(b, spec, places[r][c]) if met else []
                    for m, (v, vector) in product(range(spec.group), enumerate(vectors)):
                        member = _member(b, spec, vector, m)
                        for s, i in met:
                            at = ((r * spec.taps + s) * spec.group + m) * spec.vectors + v
                            new[at] = emit_fma(b, spec, member, factors[i][v], new[at])
                return new

            def pixels(run, padded):
                def body(_, carried):
                    j, g, *sums = carried
                    moved = b.add(j, b.mul(stride, I64(run))), b.add(g, b.mul(g_step, I64(run)))
                    return [*moved, *add(run, j, g, sums, padded)]

                return body

            carried = [first, b.add(b.load(entry), g_shift), *sums]
            left = b.select(nothing, I64(0), count)
            if spec.run > 1:
                before = b.select(nothing, I64(0), low)
                runs = b.select(reduce(b.or_, empty), I64(0), b.sdiv(inside, I64(spec.run)))
                carried = emit_loop(b, before, carried, pixels(1, True))
                carried = emit_loop(b, runs, carried, pixels(spec.run, False))
                left = b.sub(b.sub(left, before), b.mul(runs, I64(spec.run)))
            return emit_loop(b, left, carried, pixels(1, True))[2:]

        start = [v for place in places for v in _vectors(b, spec, place)]
        sums = emit_loop(b, rows, start, row)
        for i, place in enumerate(places):
            for j in range(spec.vectors):
                value = sums[i * spec.vectors + j]
                emit_store(b, spec, value, emit_pointer(b, place, spec.element), j * spec.lanes)
        return ctx.get_dummy_value()

    return types.void(tile, *[INTS] * 19), emit
