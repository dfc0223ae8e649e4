"""Convolution through the Fourier transform of tiles (overlap-save); the readable twin is ``spec/fft.py``.

The line of stride-1 outputs is cut into pieces of ``hop`` positions.  One piece needs ``hop + E - 1`` inputs, E the
extent of the dilated kernel, so with transforms of length F >= hop + E - 1 per axis nothing wraps into it:

    forward      per tile  y  = inverse( sum over c of  X conj(W) )
    input grad   the same, of g spread out to the stride, with reversed taps and exchanged channels
    weight grad  dw = inverse( sum over images and tiles of  X conj(Y) ),  Y the transform of one piece of g

The sums over channels (or tiles) are matrix products, one for each frequency.  Work goes through in blocks of
groups, tiles, input and output channels, so that all buffers together stay under ``WORKSPACE`` bytes.

Sources: Oppenheim, Schafer, Discrete-Time Signal Processing, section 8.7 (overlap-save); Mathieu, Henaff, LeCun
2014, Fast Training of Convolutional Networks through FFTs; Vasilache et al. 2015, Fast Convolutional Nets With
fbfft, section 6 (tiling).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import ceil, prod

import numpy as np

from ..catalogue import Cost
from ..errors import UnsupportedError
from ..geometry import Axis, Conv
from ..spec.fft import good_size
from ..tiling import read, write
from . import dft

WORKSPACE = 96 * 2**20
COPIES = 4  # live buffers per block of spectra at the worst moment: signal, its planes, spectrum, product
GATHER_BYTES = 2e9  # per second: tiles are transposed on the way in and out
SPECTRUM_BYTES = 4e10  # per second, in passes that go straight through
CALL_SECONDS = 1.5e-5  # of the Python and BLAS overhead per block and tile
START_SECONDS = 1.5e-4  # of a call: dozens of NumPy's


@dataclass(frozen=True, slots=True)
class Line:
    """How the samples of an array lie along one axis of each tile.

    Sample j stands at position ``j * step``; tile i begins at position ``i * hop + offset``; ``taps`` are the
    positions within a tile that hold samples.
    """

    offset: int
    step: int
    taps: range

    def first(self, tile: int, hop: int) -> int:
        """Index of the sample at the first tap of a tile."""
        return (tile * hop + self.offset + self.taps.start) // self.step


@dataclass(frozen=True, slots=True)
class Tiling:
    """One way to cut a pass into tiles and blocks.

    ``signal`` is cut into tiles and ``other`` is what it meets: the kernel, or in the weight gradient the pieces
    of g; ``result`` is what comes out.  ``block`` counts groups, tiles (of all images), in and out channels.
    """

    fft: tuple[int, ...]
    hop: tuple[int, ...]
    tiles: tuple[int, ...]
    signal: tuple[Line, ...]
    other: tuple[Line, ...]
    result: tuple[Line, ...]
    block: tuple[int, int, int, int]
    cost: Cost


def forward(x: np.ndarray, w: np.ndarray, conv: Conv, out: np.ndarray | None = None) -> np.ndarray:
    """y (N, K, *out) of x (N, C, *size) and w (K, C/G, *kernel)."""
    y = np.empty(conv.y_shape, x.dtype) if out is None else out
    kernel = _split(w, 0, conv.groups).swapaxes(1, 2)  # (G, C/G, K/G, *kernel)
    _correlate(_split(x, 1, conv.groups), kernel, _split(y, 1, conv.groups), _supported("forward", conv, x))
    return y


def input_grad(w: np.ndarray, g: np.ndarray, conv: Conv, out: np.ndarray | None = None) -> np.ndarray:
    """dx (N, C, *size) of w (K, C/G, *kernel) and the output gradient g (N, K, *out)."""
    dx = np.empty(conv.x_shape, g.dtype) if out is None else out
    kernel = np.flip(_split(w, 0, conv.groups), tuple(range(3, 3 + conv.ndim)))  # (G, K/G, C/G, *kernel)
    _correlate(_split(g, 1, conv.groups), kernel, _split(dx, 1, conv.groups), _supported("input_grad", conv, g))
    return dx


def weight_grad(x: np.ndarray, g: np.ndarray, conv: Conv, out: np.ndarray | None = None) -> np.ndarray:
    """dw (K, C/G, *kernel) of x (N, C, *size) and the output gradient g (N, K, *out)."""
    dw = np.empty(conv.w_shape, x.dtype) if out is None else out
    t = _supported("weight_grad", conv, x)
    x, g, split = _split(x, 1, conv.groups), _split(g, 1, conv.groups), _split(dw, 0, conv.groups)
    split[...] = 0  # stays so where nothing is summed: no images
    group, _, cin, cout = t.block
    for gs, ks, cs in product(_parts(x.shape[1], group), _parts(g.shape[2], cout), _parts(x.shape[2], cin)):
        total = None
        for tiles, images in _tile_blocks(t, len(x)):
            Y = dft.transform(_gather(g[images, gs, ks], tiles, t, t.other), t.fft, [a.taps for a in t.other])
            Y = np.conjugate(Y, out=Y).swapaxes(-1, -2)  # (*freq, G, K/G, T)
            X = dft.transform(_gather(x[images, gs, cs], tiles, t, t.signal), t.fft, [a.taps for a in t.signal])
            total = _add(total, _contract(Y, X))  # (*freq, G, K/G, C/G)
        if total is not None:
            taps = dft.inverse(total, t.fft, [a.taps for a in t.result])  # (*kernel, G, K/G, C/G)
            split[gs, ks, cs] = np.moveaxis(taps, (-3, -2, -1), (0, 1, 2))
    return dw


def supports(pass_: str, conv: Conv) -> str | None:
    """Why this convolution cannot go through here (in float64, which needs twice the room), or None."""
    return None if tiling(pass_, conv, 8) else _too_large(conv)


def cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    """Estimate for the planner; asks for ``supports`` to be None."""
    found = tiling(pass_, conv, itemsize)
    if found is None:
        raise UnsupportedError(_too_large(conv))
    return found.cost


def _too_large(conv: Conv) -> str:
    least = tuple(_least(a) for a in conv.axes)
    return (
        f"FFT needs transforms of at least {' x '.join(map(str, least))} points (kernel extent + stride - 1); "
        f"one tile of that does not fit the workspace of {WORKSPACE / 2**20:.0f} MiB"
    )


def _supported(pass_: str, conv: Conv, a: np.ndarray) -> Tiling:
    found = tiling(pass_, conv, a.dtype.itemsize)
    if found is None:
        raise UnsupportedError(_too_large(conv))
    return found


def _correlate(s: np.ndarray, w: np.ndarray, out: np.ndarray, t: Tiling) -> None:
    """out (N, G, Co, *) of s (N, G, Ci, *) and kernels w (G, Ci, Co, *)."""
    (group, _, cin, cout), channels = t.block, s.shape[2]
    if channels == 0:
        out[...] = 0
    for gs, ks in product(_parts(out.shape[1], group), _parts(out.shape[2], cout)):
        W = None
        for tiles, images in _tile_blocks(t, len(s)):
            total = None
            for cs in _parts(channels, cin):
                if W is None or cin < channels:  # one block of channels: its kernel spectra serve all tiles
                    W = _kernel_spectra(w[gs, cs, ks], t)
                tile = _gather(s[images, gs, cs], tiles, t, t.signal)
                X = dft.transform(tile, t.fft, [a.taps for a in t.signal])
                del tile
                total = _add(total, _contract(X, W))  # (*freq, G, T, Co)
                del X
            if total is not None:
                piece = dft.inverse(total, t.fft, [a.taps for a in t.result])
                _scatter(out[images, gs, ks], piece, tiles, t)


def _kernel_spectra(w: np.ndarray, t: Tiling) -> np.ndarray:
    taps = np.ascontiguousarray(np.moveaxis(w, (0, 1, 2), (-3, -2, -1)))  # (*kernel, G, Ci, Co)
    W = dft.transform(taps, t.fft, [a.taps for a in t.other])
    return np.conjugate(W, out=W)


def _contract(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b for each frequency and group; with one term to sum (depthwise) a broadcast product is faster."""
    return a * b if a.shape[-1] == 1 else a @ b


def _add(total: np.ndarray | None, part: np.ndarray) -> np.ndarray:
    return part if total is None else np.add(total, part, out=total)


def _gather(a: np.ndarray, tiles: Sequence[tuple[int, ...]], t: Tiling, lines: Sequence[Line]) -> np.ndarray:
    """Samples of the tiles of a (N, G, C, *), as (*taps, G, T, C) with T = tiles * N."""
    n, g, c = a.shape[:3]
    tile = np.empty((*(len(line.taps) for line in lines), g, len(tiles), n, c), a.dtype)
    for i, index in enumerate(tiles):
        first = tuple(line.first(j, hop) for line, j, hop in zip(lines, index, t.hop))
        # view (*taps, G, N, C) of tile i as (N, G, C, *taps)
        read(np.moveaxis(tile[..., i, :, :], (-2, -3, -1), (0, 1, 2)), a, first)
    return tile.reshape(*tile.shape[: len(lines)], g, len(tiles) * n, c)


def _scatter(out: np.ndarray, piece: np.ndarray, tiles: Sequence[tuple[int, ...]], t: Tiling) -> None:
    """Put the pieces (*taps, G, T, C) of the tiles to their places in out (N, G, C, *)."""
    n, g, c = out.shape[:3]
    piece = piece.reshape(*piece.shape[: len(t.fft)], g, len(tiles), n, c)
    for i, index in enumerate(tiles):
        first = tuple(line.first(j, hop) for line, j, hop in zip(t.result, index, t.hop))
        write(out, np.moveaxis(piece[..., i, :, :], (-2, -3, -1), (0, 1, 2)), first)


def _tile_blocks(t: Tiling, batch: int) -> Iterator[tuple[list[tuple[int, ...]], slice]]:
    """Tile positions and images, together at most ``t.block[1]`` tiles at a time."""
    if batch == 0:
        return
    images = min(batch, t.block[1])
    at_once = max(1, t.block[1] // images)
    positions = list(product(*map(range, t.tiles)))
    for tiles in _parts(len(positions), at_once):
        for part in _parts(batch, images):
            yield positions[tiles], part


def _parts(n: int, size: int) -> Iterator[slice]:
    return (slice(i, min(i + size, n)) for i in range(0, n, size))


def _split(a: np.ndarray, axis: int, groups: int) -> np.ndarray:
    """Split a channel axis into (G, channels/G): always a view."""
    return a.reshape(*a.shape[:axis], groups, a.shape[axis] // groups, *a.shape[axis + 1 :])


# Choosing the tiles ----------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def tiling(pass_: str, conv: Conv, itemsize: int) -> Tiling | None:
    """The cheapest tiles by the cost model among those that fit ``WORKSPACE``; None where none does."""
    options = [_lengths(a, pass_) for a in conv.axes]
    found = (_cut(pass_, conv, itemsize, fft) for fft in product(*options))
    return min((t for t in found if t), key=lambda t: t.cost.seconds, default=None)


def _least(a: Axis) -> int:
    """Shortest transform that gives at least one output of each tile."""
    return a.extent + a.stride - 1


def _lengths(a: Axis, pass_: str) -> list[int]:
    """Lengths to try: those that cut the axis into 1, 2, 3, 4, 6, 8, ... pieces, rounded up to good ones."""
    positions = a.size if pass_ == "input_grad" else (a.out - 1) * a.stride + 1
    least, pieces, found = _least(a), 1, set()
    while True:
        found.add(good_size(max(least, a.extent - 1 + ceil(positions / pieces))))
        if pieces >= positions:
            return sorted(found)
        pieces = pieces * 3 // 2 if pieces & (pieces - 1) == 0 and pieces > 1 else pieces // 3 * 4 or 2


def _cut(pass_: str, conv: Conv, itemsize: int, fft: tuple[int, ...]) -> Tiling | None:
    axes = [_axis_lines(pass_, a, f) for a, f in zip(conv.axes, fft)]
    hop, tiles, signal, other, result = zip(*axes)
    spectrum = 2 * itemsize * prod(dft.spectrum_shape(fft))
    cin, cout = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    if pass_ == "input_grad":
        cin, cout = cout, cin
    count = conv.batch * prod(tiles)
    room = WORKSPACE // (COPIES * spectrum)  # spectra at a time
    block = _blocks(room, conv.groups, count, cin, cout)
    if block is None:
        return None
    return Tiling(fft, hop, tiles, signal, other, result, block, _cost(
        pass_, conv, itemsize, fft, (signal, other, result), block, count, cin, cout, spectrum
    ))  # fmt: skip


def _axis_lines(pass_: str, a: Axis, f: int) -> tuple[int, int, Line, Line, Line]:
    """hop, number of tiles, and the lines of signal, other and result; see the module's head."""
    s, d = a.stride, a.dilation
    kernel = Line(0, d, range(0, a.extent, d))
    if pass_ == "input_grad":
        hop = (f - a.extent + 1) // s * s  # a multiple of the stride: g lies the same in each tile
        low = a.extent - 1 - a.pad[0]
        spread = Line(-low, s, range(low % s, f, s))
        return hop, ceil(a.size / hop), spread, kernel, Line(0, 1, range(hop))
    hop = ((f - a.extent) // s + 1) * s  # what follows the last output of a tile may wrap: nobody reads it
    tiles = ceil(a.out * s / hop)
    image, every = Line(-a.pad[0], 1, range(f)), Line(0, s, range(0, hop, s))
    if pass_ == "forward":
        return hop, tiles, image, kernel, every
    return hop, tiles, image, every, kernel


def _blocks(room: int, groups: int, tiles: int, cin: int, cout: int) -> tuple[int, int, int, int] | None:
    """Groups, tiles, in and out channels per block such that the spectra of all three operands fit in ``room``.

    Channels first, up to half the room: each further block of them transforms the tiles again.
    """
    if room < 3:
        return None
    tiles, cin, cout = max(1, tiles), max(1, cin), max(1, cout)
    ci, co = cin, cout
    while ci * co + ci + co > max(3, room // 2):
        if co > 16 or ci == 1:
            co = -(-co // 2)
        else:
            ci = -(-ci // 2)
    t = min(tiles, (room - ci * co) // (ci + co))
    whole = (ci, co, t) == (cin, cout, tiles)
    return (min(groups, room // (ci * co + t * (ci + co))) if whole else 1), t, ci, co


def _cost(
    pass_: str,
    conv: Conv,
    itemsize: int,
    fft: tuple[int, ...],
    lines: tuple[tuple[Line, ...], ...],
    block: tuple[int, int, int, int],
    tiles: int,
    cin: int,
    cout: int,
    spectrum: int,
) -> Cost:
    group, t, ci, co = block
    per_signal = [dft.seconds(fft, [len(a.taps) for a in line], itemsize) for line in lines]
    in_blocks, out_blocks, tile_blocks = ceil(cin / ci), ceil(cout / co), ceil(tiles / t)
    signals: tuple[int, ...]
    if pass_ == "weight_grad":
        signals = (tiles * cin * out_blocks, tiles * cout * in_blocks, cin * cout)
    else:
        signals = (tiles * cin * out_blocks, cin * cout * (tile_blocks if ci < cin else 1), tiles * cout)
    signals = tuple(conv.groups * n for n in signals)
    flops = 8 * prod(dft.spectrum_shape(fft)) * conv.groups * tiles * cin * cout
    calls = conv.groups / group * out_blocks * in_blocks * tile_blocks + tiles * in_blocks * out_blocks
    transforms = sum(n * s for n, s in zip(signals, per_signal))
    gathered = itemsize * sum(n * prod(len(a.taps) for a in line) for n, line in zip(signals, lines))
    moved = gathered + COPIES * spectrum * sum(signals)
    products = flops / dft.gemm_flops() * itemsize / 4
    seconds = (
        products + transforms + gathered / GATHER_BYTES + moved / SPECTRUM_BYTES + calls * CALL_SECONDS + START_SECONDS
    )
    used = spectrum * group * (t * (ci + co) + ci * co) * COPIES
    return Cost(flops + transforms * dft.gemm_flops(), moved, used, seconds)
