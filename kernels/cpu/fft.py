"""Convolution through the Fourier transform of tiles (overlap-save); the readable twin is ``spec/fft.py``.

Spectra X of tiles of x, W of the kernel, Y of tiles of y or of its gradient g:

    forward      per tile  y  = inverse( sum over c of  X conj(W) )
    input grad   the same, of g spread out to the stride, with reversed taps and exchanged channels
    weight grad  dw = inverse( sum over images and tiles of  X conj(Y) ),  Y the spectrum of one piece of g

How an axis is cut into tiles: `fft_tiles.py`; how tiles become spectra: `dft.py`, `fft_blocks.py`.

The sums are a product of complex matrices for each frequency, which register tiles compute as one of real matrices
(`tiles.py`).  With (re, im) of a tile's channels side by side, as two taps, a x conj(b) needs

    re: (X.re, X.im) times (B.re, B.im)        im: (X.re, X.im) times (-B.im, B.re)

so the second operand is kept as three planes, -im, re, im: two neighbours of them are what one of the sums needs.
Where each channel meets one filter only (depthwise) there is nothing to sum, and channels are multiplied in vectors.

The blocking, from the outside: blocks of out channels, of tiles, of in channels, whose spectra fit into ``WORKSPACE``;
in the product a frequency, some tiles, a panel of out channels.  All of it depends on the problem's sizes only and each
sum is made by one thread: the number of threads does not change a bit.

Sources: Oppenheim, Schafer, Discrete-Time Signal Processing, section 8.7 (overlap-save); Mathieu, Henaff, LeCun
2014, Fast Training of Convolutional Networks through FFTs; Vasilache et al. 2015, Fast Convolutional Nets With
fbfft, section 6 (tiling).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..constants import Constants, holding, is_constant, made_of
from ..geometry import Conv
from ..jit import native
from ..threads import get_num_threads
from ..workspace import borrow
from .dft import frequencies
from .elements import last_and_dense
from .fft_blocks import FLOPS, Matrices, Samples, Spectra, inverse, matrices, samples, transform
from .fft_tiles import Tiling, by_channels, cost, order, supported, supports, up
from .finish import finishing
from .packing import pack
from .pieces import Address, read, run, write_number
from .places import address
from .relayout import as_last, deliver, result
from .replay import replayed
from .simd import address_of, keep, load, store, zero
from .tiles import Tile, columns_tile, columns_times_panel, rows_tile, rows_times_panel
from .winograd_tiles import plane_bytes

__all__ = ["cost", "forward", "forward_then", "input_grad", "supports", "weight_grad"]

Array = np.ndarray
CHUNK_TILES = 96  # of a product, about: their spectra stay in the L2 cache


def forward(x: Array, w: Array, conv: Conv, out: Array | None = None) -> Array:
    """y (N, K, *out), channels-last where no ``out`` is given."""
    return _correlate(x, w, _Problem("forward", conv), out)


def forward_then(
    x: Array, w: Array, conv: Conv, scale: Array | None, shift: Array | None, added: Array | None, ceiling: float | None
) -> Any:
    """``cut(forward(x, w) * scale + shift + added)``: see `finish`.  NotImplemented for groups of several channels."""
    p = _Problem("forward", conv, ceiling)
    return _correlate_tiles(x, w, p.memory(x, w), scale, shift, added, p) if p.whole else NotImplemented


def input_grad(w: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dx (N, C, *size), channels-last where no ``out`` is given."""
    return _correlate(g, w, _Problem("input_grad", conv), out)


def weight_grad(x: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dw (K, C/G, *kernel)."""
    p = _Problem("weight_grad", conv)
    dw = out if out is not None and out.flags.c_contiguous else np.empty(conv.w_shape, x.dtype)
    if 0 in g.shape or 0 in dw.shape:
        dw[...] = 0
    elif p.whole:
        memory = p.memory(x)
        if out is None:
            return _sum_tiles(x, g, memory, p)
        _sum_tiles(x, g, memory, p, dw)
    else:
        x, g, alone = as_last(x, "x"), as_last(g, "g"), _Problem("weight_grad", _one_group(conv))
        memory = alone.memory(x)
        for parts in zip(np.split(x, conv.groups, 1), np.split(g, conv.groups, 1), np.split(dw, conv.groups)):
            _sum_tiles(*parts[:2], memory, alone, parts[2])
    if out is not None and out is not dw:
        out[...] = dw
        return out
    return dw


class _Problem(NamedTuple):
    """One pass of a convolution; x and y are the arrays that a correlation reads and writes."""

    pass_: str
    conv: Conv
    ceiling: float | None = None  # of the ReLU that ends it

    @property
    def whole(self) -> bool:
        """Whether all groups are computed together."""
        return self.conv.groups == 1 or by_channels(self.conv)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of y."""
        return self.conv.y_shape if self.pass_ == "forward" else self.conv.x_shape

    def tile(self, dtype: str) -> Tile:
        """The register tile; of one group, or of them all."""
        columns = self.conv.in_channels if self.pass_ == "input_grad" else self.conv.out_channels
        return (columns_tile if self.pass_ == "weight_grad" else rows_tile)(dtype).fit(columns)

    def matrices(self, a: Array) -> Matrices:
        t, dtype = supported(self.pass_, self.conv, a.itemsize), a.dtype.name
        return matrices(t.fft, t.signal, t.other, t.result, dtype, self.tile(dtype).rows)

    def memory(self, a: Array, w: Array | None = None) -> Array:
        """Of the matrices; where ``w`` stays as it is, one that stays with it."""
        memory = self.matrices(a).memory
        if w is None or not is_constant(w):
            return memory
        return made_of(w, self, memory.shape, memory.dtype, "", lambda kept: np.copyto(kept, memory))


def _one_group(c: Conv) -> Conv:
    return replace(c, in_channels=c.in_channels // c.groups, out_channels=c.out_channels // c.groups, groups=1)


def _parts(n: int, size: int) -> Iterator[slice]:
    return (slice(i, min(i + size, n)) for i in range(0, n, size))


class _Cut(NamedTuple):
    """What all blocks of a pass have in common."""

    tile: Tile
    t: Tiling
    alone: bool  # each channel meets one filter only

    @property
    def frequencies(self) -> int:
        return frequencies(self.t.fft)

    def wide(self, channels: int) -> int:
        """Channels, and what fills them up to whole panels."""
        return up(channels, self.tile.width)

    def spectra(self, name: str, planes: int, plane_step: int, tile_step: int, row: int, columns: int) -> Spectra:
        """Memory for them."""
        size = self.frequencies * planes * plane_step + self.tile.rows * self.tile.itemsize  # the last tile reads on
        return Spectra(address(borrow(name, (size,), np.dtype(np.uint8))), plane_step, tile_step, row, columns)

    def signal(self, tiles: int, channels: int) -> Spectra:
        row, item = self.wide(channels) if self.alone else channels, self.tile.itemsize
        return self.spectra("fft X", 2, plane_bytes(self.wide(tiles * row) * item), row * item, row, tiles * row)

    def sums(self, rows: int, channels: int, room: int) -> Spectra:
        """Of tiles, or in the weight gradient of in channels; room for so many rows."""
        row = self.wide(channels)
        step = row * self.tile.itemsize
        return self.spectra("fft sums", 2, plane_bytes(room * step), step, row, rows * row)


# y = x correlated with w -------------------------------------------------------------------------------


def _correlate(x: Array, w: Array, p: _Problem, out: Array | None) -> Array:
    """The groups one after the other, or all of them together."""
    supported(p.pass_, p.conv, x.itemsize)
    if x.size and w.size and p.whole:
        return _correlate_tiles(x, w, p.memory(x, w), None, None, None, p, out)
    y = result(p.shape, x.dtype, out)
    if not x.size or not w.size:
        y[...] = 0
        return deliver(y, out)
    x, groups, alone = as_last(x, "x"), p.conv.groups, _Problem(p.pass_, _one_group(p.conv))
    memory = alone.memory(x)
    for x_group, w_group, y_group in zip(np.split(x, groups, 1), np.split(w, groups), np.split(y, groups, 1)):
        _correlate_tiles(x_group, w_group, memory, None, None, None, alone, y_group)
    return deliver(y, out)


@replayed(operands=6)
def _correlate_tiles(
    x: Array,
    w: Array,
    memory: Array,
    scale: Array | None,
    shift: Array | None,
    added: Array | None,
    p: _Problem,
    out: Array | None = None,
) -> Array:
    """y of one group, or of groups of one channel.  ``memory``: of the matrices."""
    y, x = result(p.shape, x.dtype, out), as_last(x, "x")
    added = None if added is None else last_and_dense(added, "added")
    last = finishing(y, scale, shift, added, p.ceiling)
    cut = _Cut(p.tile(x.dtype.name), supported(p.pass_, p.conv, x.itemsize), by_channels(p.conv))
    t, tile, ways = cut.t, cut.tile, p.matrices(x)
    kernel, channels, filters = _kernel(w, p), x.shape[1], y.shape[1]
    source, target = (_in_order(a, p.conv) for a in (x, y))
    at_once, cin, cout = t.block
    whole = w if filters <= cout and (cut.alone or channels <= cin) else None
    for ks in _parts(filters, cout):
        W = None
        for ts in _parts(len(x) * prod(t.tiles), at_once):
            tiles = ts.stop - ts.start
            sums = cut.sums(tiles, ks.stop - ks.start, tiles)
            for cs in [ks] if cut.alone else _parts(channels, cin):
                if W is None or not (cut.alone or cin >= channels):  # all channels in a block: W serves all tiles
                    some = kernel[:, ks] if cut.alone else kernel[:, ks, cs]
                    W = _kernel_spectra(some, cut, ways, memory, whole)
                X = cut.signal(tiles, cs.stop - cs.start)
                transform(tile, ways.signal, memory, samples(source, t.signal, t.tiles, t.hop, ts.start, cs), X)
                _multiply(cut, X, W, sums, tiles, cs.stop - cs.start, cs.start > 0 and not cut.alone)
            inverse(tile, ways.result, memory, sums, samples(target, t.result, t.tiles, t.hop, ts.start, ks), last)
    return deliver(y, out)


def _kernel(w: Array, p: _Problem) -> Array:
    """(1, columns, depth, T0, T1, T2): in the input gradient its channels exchanged and its taps in reverse."""
    if p.pass_ == "input_grad":
        w = np.flip(w if by_channels(p.conv) else w.swapaxes(0, 1), tuple(range(2, w.ndim)))
    return _upright(w, p.conv)[None]


def _in_order(a: Array, conv: Conv) -> Array:
    """A view of ``a`` with its spatial axes as `fft_tiles` takes them."""
    return a.transpose(0, 1, *(2 + axis for axis in order(conv)))


def _upright(w: Array, conv: Conv) -> Array:
    """The same with three axes behind the channels."""
    return _in_order(w, conv)[(slice(None), slice(None), *(None,) * (3 - conv.ndim))]


def _kernel_spectra(w: Array, cut: _Cut, ways: Matrices, memory: Array, whole: Array | None) -> Spectra:
    """(panel, freq, planes, depth, width) of w (1, columns, depth, T0, T1, T2).

    ``whole``: the weights, if ``w`` is all of them; what is made of constant ones is kept.
    """
    tile, item, taps = cut.tile, w.itemsize, w.shape[3:]
    panels, row = -(-w.shape[1] // tile.width), w.shape[2] * tile.width
    plane = row * item
    steps = taps[1] * taps[2] * plane, taps[2] * plane, plane
    size = cut.frequencies * 3 * plane

    def spectra(block: Array) -> Spectra:
        return Spectra(address(block), plane, size, row, panels * row)

    def fill(block: Array) -> None:
        with holding(Constants()):  # nobody needs the panels of constant weights again
            packed = pack(w, tile, 0, w.shape[1])  # (1, panels, taps, depth, width)
        places = 0, 0, 0, 1, 1, 1  # each panel is an image of one tile
        source = Samples(address(packed), prod(taps) * plane, *steps, *taps, *places, *taps, 1, 1, 1, 0, row)
        transform(tile, ways.other, memory, source, spectra(block))

    kind = np.dtype(np.uint8)
    if whole is not None:
        return spectra(made_of(whole, cut, (panels * size,), kind, "fft W", fill))
    block = borrow("fft W", (panels * size,), kind)
    fill(block)
    return spectra(block)


class _Product(NamedTuple):
    """The sums of a block, frequency by frequency."""

    x: Address
    x_plane: int  # bytes
    x_tile: int
    w: Address
    w_plane: int
    w_panel: int
    sums: Address
    sums_plane: int
    sums_tile: int
    depth: int
    panels: int
    tiles: int
    chunk: int  # tiles of a piece
    chunks: int
    accumulate: int
    pieces: int
    workers: int


def _multiply(cut: _Cut, X: Spectra, W: Spectra, sums: Spectra, tiles: int, depth: int, accumulate: bool) -> None:
    panels = sums.row // cut.tile.width
    chunks = -(-tiles // CHUNK_TILES)
    chunk = up(-(-tiles // chunks), cut.tile.rows)
    chunks = -(-tiles // chunk)
    pieces = cut.frequencies * chunks
    workers = min(pieces, get_num_threads())
    job = _Product(
        X.address, X.plane_step, X.tile_step, W.address, W.plane_step, W.tile_step, sums.address, sums.plane_step,
        sums.tile_step, depth, panels, tiles, chunk, chunks, int(accumulate), pieces, workers,
    )  # fmt: skip
    function = _scale_piece if cut.alone else _product_piece
    run(function, cut.tile, job, workers, 4 * cut.frequencies * tiles * sums.row * (1 if cut.alone else depth) / FLOPS)


@native
def _product_piece(tile: Any, arguments: int, worker: int) -> None:
    p = read(_Product, arguments)
    rows, width = tile.rows, tile.width * tile.itemsize
    count = -(-p.tiles // rows) * rows
    table = np.empty(3 * count, np.int64)  # (register tile, plane, row), then results
    sources = address_of(table)
    results = sources + 16 * count
    for i in range(count):
        t = min(i, p.tiles - 1)  # what is left of the last register tile repeats the last row
        for plane in range(2):
            write_number(sources, (i // rows * 2 + plane) * rows + i % rows, p.x + plane * p.x_plane + t * p.x_tile)
        write_number(results, i, p.sums + t * p.sums_tile)
    for piece in range(worker, p.pieces, p.workers):
        f, first = piece // p.chunks, piece % p.chunks * p.chunk
        for panel in range(p.panels):
            for part in range(2):  # re, im
                w = p.w + panel * p.w_panel + (3 * f + 1 - part) * p.w_plane
                shift = (2 * f + part) * p.sums_plane + panel * width
                for i in range(first, min(first + p.chunk, p.tiles), rows):
                    rows_times_panel(
                        tile, sources + 16 * i, 2, 2 * f * p.x_plane, p.depth, w, results + 8 * i, shift, p.accumulate,
                        0,
                    )  # fmt: skip
    keep((table,))


@native
def _scale_piece(tile: Any, arguments: int, worker: int) -> None:
    """Where channels do not meet: a filter for each."""
    p = read(_Product, arguments)
    vector, width = tile.lanes * tile.itemsize, tile.width * tile.itemsize
    for piece in range(worker, p.pieces, p.workers):
        f, first = piece // p.chunks, piece % p.chunks * p.chunk
        for c in range(0, p.panels * width, vector):
            w = p.w + c // width * p.w_panel + (3 * f + 1) * p.w_plane + c % width
            re, im = load(tile, w), load(tile, w + p.w_plane)
            for t in range(first, min(first + p.chunk, p.tiles)):
                x = p.x + 2 * f * p.x_plane + t * p.x_tile + c
                a, b = load(tile, x), load(tile, x + p.x_plane)
                to = p.sums + 2 * f * p.sums_plane + t * p.sums_tile + c
                store(to, a * re + b * im)
                store(to + p.sums_plane, b * re - a * im)


# dw = x correlated with g ------------------------------------------------------------------------------


@replayed(operands=3)
def _sum_tiles(x: Array, g: Array, memory: Array, p: _Problem, out: Array | None = None) -> Array:
    """dw of one group, or of groups of one channel.  ``memory``: of the matrices."""
    dw = np.empty(p.conv.w_shape, x.dtype) if out is None else out
    x, g = _in_order(as_last(x, "x"), p.conv), _in_order(as_last(g, "g"), p.conv)
    cut = _Cut(p.tile(x.dtype.name), supported(p.pass_, p.conv, x.itemsize), by_channels(p.conv))
    t, tile, ways, item = cut.t, cut.tile, p.matrices(x), x.itemsize
    at_once, cin, cout = t.block
    for ks in _parts(g.shape[1], cout):
        for cs in [ks] if cut.alone else _parts(x.shape[1], cin):
            depth, row = cs.stop - cs.start, cut.wide(ks.stop - ks.start)
            rows, room = (1, 1) if cut.alone else (depth, up(depth, tile.rows))  # register tiles are written whole
            sums = cut.sums(rows, ks.stop - ks.start, room)
            for ts in _parts(len(x) * prod(t.tiles), at_once):
                tiles = ts.stop - ts.start
                X = cut.signal(tiles, depth)
                transform(tile, ways.signal, memory, samples(x, t.signal, t.tiles, t.hop, ts.start, cs), X)
                Y = cut.spectra("fft W", 3, tiles * row * item, row * item, row, tiles * row)
                transform(tile, ways.other, memory, samples(g, t.other, t.tiles, t.hop, ts.start, ks), Y)
                _sum(cut, X, Y, sums, tiles, depth, ts.start > 0)
            some = _upright(dw[ks] if cut.alone else dw[ks, cs], p.conv)
            filter_step, channel_step, *steps = some.strides
            taps = some.shape[2:]
            target = Samples(
                address(some), channel_step, *steps, *taps, 0, 0, 0, filter_step, 0, 0, *taps, 1, 1, 1, 0, len(some)
            )
            inverse(tile, ways.result, memory, sums, target, filters=True)
    return dw


class _Sum(NamedTuple):
    """Sums over the tiles of a block, frequency by frequency."""

    x: Address
    x_plane: int  # bytes
    x_tile: int
    y: Address
    y_plane: int
    y_tile: int
    sums: Address
    sums_plane: int
    sums_row: int
    depth: int
    panels: int
    tiles: int
    accumulate: int
    pieces: int
    workers: int


def _sum(cut: _Cut, X: Spectra, Y: Spectra, sums: Spectra, tiles: int, depth: int, accumulate: bool) -> None:
    panels = sums.row // cut.tile.width
    pieces = cut.frequencies * panels
    workers = min(pieces, get_num_threads())
    job = _Sum(
        X.address, X.plane_step, X.tile_step, Y.address, Y.plane_step, Y.tile_step, sums.address, sums.plane_step,
        sums.tile_step, depth, panels, tiles, int(accumulate), pieces, workers,
    )  # fmt: skip
    function = _sum_scaled_piece if cut.alone else _sum_piece
    run(function, cut.tile, job, workers, 4 * cut.frequencies * tiles * sums.row * (1 if cut.alone else depth) / FLOPS)


@native
def _sum_piece(tile: Any, arguments: int, worker: int) -> None:
    p = read(_Sum, arguments)
    width = tile.width * tile.itemsize
    table = np.empty(2 * p.tiles, np.int64)
    rows = address_of(table)
    for plane in range(2):
        for t in range(p.tiles):
            write_number(rows, plane * p.tiles + t, p.x + plane * p.x_plane + t * p.x_tile)
    for piece in range(worker, p.pieces, p.workers):
        f, panel = piece // p.panels, piece % p.panels
        for part in range(2):  # re, im
            y = p.y + (3 * f + 1 - part) * p.y_plane + panel * width
            to = p.sums + (2 * f + part) * p.sums_plane + panel * width
            for c in range(0, p.depth, tile.rows):
                columns_times_panel(
                    tile, rows, 2 * p.tiles, 2 * f * p.x_plane + c * tile.itemsize, y, p.y_tile, to + c * p.sums_row,
                    p.sums_row, p.accumulate,
                )  # fmt: skip
    keep((table,))


@native
def _sum_scaled_piece(tile: Any, arguments: int, worker: int) -> None:
    """Where channels do not meet: a sum for each."""
    p = read(_Sum, arguments)
    vector, width = tile.lanes * tile.itemsize, tile.width * tile.itemsize
    for piece in range(worker, p.pieces, p.workers):
        f, panel = piece // p.panels, piece % p.panels
        for c in range(panel * width, (panel + 1) * width, vector):
            to = p.sums + 2 * f * p.sums_plane + c
            re, im = zero(tile), zero(tile)
            if p.accumulate:
                re, im = load(tile, to), load(tile, to + p.sums_plane)
            for t in range(p.tiles):
                x, y = p.x + 2 * f * p.x_plane + t * p.x_tile + c, p.y + (3 * f + 1) * p.y_plane + t * p.y_tile + c
                a, b = load(tile, x), load(tile, x + p.x_plane)
                u, v = load(tile, y), load(tile, y + p.y_plane)
                re, im = re + (a * u + b * v), im + (b * u - a * v)
            store(to, re)
            store(to + p.sums_plane, im)
