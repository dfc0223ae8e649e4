"""Convolution through the Fourier transform of tiles (overlap-save); the readable twin is ``spec/fft.py``.

Spectra X of tiles of x, W of the kernel, Y of tiles of y or of its gradient g:

    forward      per tile  y  = inverse( sum over c of  X conj(W) )
    input grad   the same, of g spread out to the stride, with reversed taps and exchanged channels
    weight grad  dw = inverse( sum over images and tiles of  X conj(Y) ),  Y the spectrum of one piece of g

How an axis is cut into tiles: `fft_tiles.py`; how tiles become spectra: `dft.py`, `fft_blocks.py`; how spectra are
summed: `fft_products.py`.

The blocking: blocks of out channels, of tiles, of in channels, whose spectra fit into ``WORKSPACE`` together.  It
depends on the problem's sizes only and each sum is made by one thread: the number of threads does not change a bit.

Sources: Oppenheim, Schafer, Discrete-Time Signal Processing, section 8.7 (overlap-save); Mathieu, Henaff, LeCun
2014, Fast Training of Convolutional Networks through FFTs; Vasilache et al. 2015, Fast Convolutional Nets With
fbfft, section 6 (tiling).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..constants import Constants, holding, is_constant, made_of
from ..geometry import Conv
from ..workspace import borrow
from .dft import frequencies
from .elements import last_and_dense
from .fft_blocks import Matrices, Spectra, images, inverse, matrices, samples, transform
from .fft_products import sum_over_channels, sum_over_tiles
from .fft_tiles import Tiling, by_channels, cost, order, supported, supports, up
from .finish import finishing
from .packing import pack
from .pieces import LINE
from .places import address
from .relayout import as_last, deliver, result
from .replay import replayed
from .tiles import Tile, columns_tile, rows_tile
from .winograd_tiles import plane_bytes

__all__ = ["cost", "forward", "forward_then", "input_grad", "supports", "weight_grad"]

Array = np.ndarray


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
    dw = np.empty(conv.w_shape, x.dtype) if out is None else out
    if 0 in g.shape or 0 in dw.shape:
        dw[...] = 0
    elif p.whole:
        memory = p.memory(x)
        if out is None:
            return _sum_tiles(x, g, memory, p)
        _sum_tiles(x, g, memory, p, dw)
    else:
        x, g, alone = as_last(x, "x"), as_last(g, "g"), _Problem("weight_grad", conv.one_group)
        memory = alone.memory(x)
        for parts in zip(np.split(x, conv.groups, 1), np.split(g, conv.groups, 1), np.split(dw, conv.groups)):
            _sum_tiles(*parts[:2], memory, alone, parts[2])
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
        what = "fft matrices", self.pass_, self.conv
        return made_of(w, what, memory.shape, memory.dtype, "fft matrices", lambda kept: np.copyto(kept, memory))


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

    def signal(self, place: int, tiles: int, channels: int) -> Spectra:
        row, item = self.wide(channels) if self.alone else channels, self.tile.itemsize
        return Spectra(place, plane_bytes(self.wide(tiles * row) * item), row * item, row, tiles * row)

    def sums(self, place: int, rows: int, channels: int, room: int) -> Spectra:
        """Of tiles, or in the weight gradient of in channels; room for so many rows."""
        row = self.wide(channels)
        step = row * self.tile.itemsize
        return Spectra(place, plane_bytes(room * step), step, row, rows * row)

    def room(self, rows: int) -> int:
        """For in channels, of which register tiles compute some in vain."""
        return rows if self.alone else up(rows, self.tile.rows)

    def places(self, signal: Spectra, sums: Spectra, other: int) -> tuple[int, int, int]:
        """Where the largest blocks of signal, sums and ``other`` bytes begin: in one piece, other passes use it too."""
        beyond = self.tile.rows * self.tile.itemsize  # the last register tile reads on
        sizes = [up(self.frequencies * 2 * z.plane_step + beyond, LINE) for z in (signal, sums)]
        place = address(borrow("fft", (sum(sizes) + other,), np.dtype(np.uint8)))
        return place, place + sizes[0], place + sum(sizes)


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
    x, groups, alone = as_last(x, "x"), p.conv.groups, _Problem(p.pass_, p.conv.one_group)
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
    total = len(x) * prod(t.tiles)
    most, deep, columns = min(at_once, total), min(cin, channels), min(cout, filters)
    kept = is_constant(w) and columns == filters and (cut.alone or deep == channels)
    W_bytes = 0 if kept else _kernel_bytes(cut, columns, 1 if cut.alone else deep)
    X_place, sums_place, W_place = cut.places(
        cut.signal(0, most, columns if cut.alone else deep), cut.sums(0, most, columns, most), W_bytes
    )
    for ks in _parts(filters, cout):
        W = None
        for ts in _parts(total, at_once):
            tiles = ts.stop - ts.start
            sums = cut.sums(sums_place, tiles, ks.stop - ks.start, tiles)
            for cs in [ks] if cut.alone else _parts(channels, cin):
                if W is None or not (cut.alone or cin >= channels):  # all channels in a block: W serves all tiles
                    some = kernel[:, ks] if cut.alone else kernel[:, ks, cs]
                    W = _kernel_spectra(some, cut, ways, memory, (w, p.pass_, p.conv) if kept else None, W_place)
                X = cut.signal(X_place, tiles, cs.stop - cs.start)
                transform(tile, ways.signal, memory, samples(source, t.signal, t.tiles, t.hop, ts.start, cs), X)
                depth, more = cs.stop - cs.start, cs.start > 0
                sum_over_channels(tile, X, W, sums, cut.frequencies, tiles, depth, cut.alone, more)
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


def _kernel_bytes(cut: _Cut, columns: int, depth: int) -> int:
    return cut.frequencies * 3 * depth * cut.wide(columns) * cut.tile.itemsize


def _kernel_spectra(
    w: Array, cut: _Cut, ways: Matrices, memory: Array, kept: tuple[Array, str, Conv] | None, place: int
) -> Spectra:
    """(panel, freq, planes, depth, width) of w (1, columns, depth, T0, T1, T2), at ``place``.

    ``kept``: the constant weights that w is a view of, and what they are used for; then the spectra stay with them.
    """
    tile, item, taps = cut.tile, w.itemsize, w.shape[3:]
    panels, row = -(-w.shape[1] // tile.width), w.shape[2] * tile.width
    plane = row * item
    size = cut.frequencies * 3 * plane

    def fill(place: int) -> None:
        with holding(Constants()):  # nobody needs the panels of constant weights again
            packed = pack(w, tile, 0, w.shape[1])  # (1, panels, taps, depth, width)
        steps = taps[1] * taps[2] * plane, taps[2] * plane, plane
        source = images(address(packed), prod(taps) * plane, steps, taps, row, item)
        transform(tile, ways.other, memory, source, Spectra(place, plane, size, row, panels * row))

    if kept is None:
        fill(place)
    else:
        weights, *use = kept
        shape, kind = (panels * size,), np.dtype(np.uint8)
        block = made_of(weights, ("fft W", *use), shape, kind, "fft W", lambda block: fill(address(block)))
        place = address(block)
    return Spectra(place, plane, size, row, panels * row)


# dw = x correlated with g ------------------------------------------------------------------------------


@replayed(operands=3)
def _sum_tiles(x: Array, g: Array, memory: Array, p: _Problem, out: Array | None = None) -> Array:
    """dw of one group, or of groups of one channel.  ``memory``: of the matrices."""
    dw = np.empty(p.conv.w_shape, x.dtype) if out is None else out
    x, g = _in_order(as_last(x, "x"), p.conv), _in_order(as_last(g, "g"), p.conv)
    cut = _Cut(p.tile(x.dtype.name), supported(p.pass_, p.conv, x.itemsize), by_channels(p.conv))
    t, tile, ways, item = cut.t, cut.tile, p.matrices(x), x.itemsize
    at_once, cin, cout = t.block
    total = len(x) * prod(t.tiles)
    most, deep, columns = min(at_once, total), min(cin, x.shape[1]), min(cout, g.shape[1])
    rows = 1 if cut.alone else deep
    X_place, sums_place, Y_place = cut.places(
        cut.signal(0, most, columns if cut.alone else deep), cut.sums(0, rows, columns, cut.room(rows)),
        cut.frequencies * 3 * most * cut.wide(columns) * item,
    )  # fmt: skip
    for ks in _parts(g.shape[1], cout):
        for cs in [ks] if cut.alone else _parts(x.shape[1], cin):
            depth, row = cs.stop - cs.start, cut.wide(ks.stop - ks.start)
            rows = 1 if cut.alone else depth
            sums = cut.sums(sums_place, rows, ks.stop - ks.start, cut.room(rows))
            for ts in _parts(total, at_once):
                tiles = ts.stop - ts.start
                X = cut.signal(X_place, tiles, depth)
                transform(tile, ways.signal, memory, samples(x, t.signal, t.tiles, t.hop, ts.start, cs), X)
                Y = Spectra(Y_place, tiles * row * item, row * item, row, tiles * row)
                transform(tile, ways.other, memory, samples(g, t.other, t.tiles, t.hop, ts.start, ks), Y)
                sum_over_tiles(tile, X, Y, sums, cut.frequencies, tiles, depth, cut.alone, ts.start > 0)
            some = _upright(dw[ks] if cut.alone else dw[ks, cs], p.conv)
            filter_step, channel_step, *steps = some.strides
            target = images(address(some), channel_step, steps, some.shape[2:], len(some), filter_step)
            inverse(tile, ways.result, memory, sums, target)
    return dw
