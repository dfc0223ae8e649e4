"""How the FFT kernel cuts a convolution: plain arithmetic, shared with the cost model.

The line of stride-1 outputs is cut into pieces of ``hop`` positions.  One piece needs ``hop + E - 1`` inputs, E the
extent of the dilated kernel, so with transforms of length F >= hop + E - 1 per axis nothing wraps into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import ceil, prod

from .. import vectors
from ..catalogue import Cost
from ..errors import UnsupportedError
from ..geometry import Axis, Conv
from . import dft
from .dft import Sizes, Taps

WORKSPACE = 64 << 20  # bytes of spectra and samples: a call's scratch memory
FAR_BYTES = 16 << 20  # of a kernel's spectra, or a gradient's: larger ones come from memory for each block of tiles
NEAR_BYTES = 12 << 20  # of the spectra of a block of tiles, where that is not so
FEW_TILES = 16  # that a block has at least
LEAST = 8, 8, 14  # points of a transform: as many results as a register tile has rows
WIDTH = 32  # columns of a register tile, where the machine does not matter: in estimates
WIDEST = 48  # the most that a register tile has
ROWS = 16  # channels that the sums of a weight gradient are rounded up to, at most
GAP = 16  # numbers between planes, at most
THREADS = 2  # where the machine does not matter: in estimates

# The cost model, float32; operations are those of two cores with AVX2.  Fitted to the loops of 50 problems.
TRANSFORM_FLOPS, INVERSE_FLOPS, PRODUCT_FLOPS = 2.2e11, 1.6e11, 1.7e11
SAMPLE_SECONDS = 1.2e-10  # for each element collected or delivered
NUMBER_SECONDS = 1.9e-10  # for each number of a spectrum, written or read by a transform
FACTOR_SECONDS = 1.2e-10  # by a product
ALONE_SECONDS = 2.5e-10  # by a product of single channels
WEIGHT_SECONDS = 5e-10, 1.5e-9  # for each weight, as it lies or its taps in reverse
LOOP_SECONDS = 1.8e-5


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


Lines = tuple[Line, Line, Line]


def taps(lines: Lines) -> Taps:
    """Those of three axes."""
    a, b, c = (line.taps for line in lines)
    return a, b, c


def counts(lines: Lines) -> Sizes:
    """How many taps there are on each axis."""
    a, b, c = (len(line.taps) for line in lines)
    return a, b, c


@dataclass(frozen=True, slots=True)
class Tiling:
    """One way to cut a pass of one group, or of groups of one channel, into tiles and blocks; three axes, in `order`.

    ``signal`` is cut into tiles and ``other`` is what it meets: the kernel, or in the weight gradient the pieces
    of g; ``result`` is what comes out.  ``block`` counts tiles (of all images), in and out channels.
    """

    fft: Sizes
    hop: Sizes
    tiles: Sizes
    signal: Lines
    other: Lines
    result: Lines
    block: Sizes
    cost: Cost


def supports(pass_: str, conv: Conv) -> str | None:
    """Why this convolution cannot go through here (in float64, which needs twice the room), or None."""
    if conv.ndim > 3:
        return f"transforms 1 to 3 spatial axes, not {conv.ndim}"
    return None if tiling(pass_, conv, 8) else _too_large(conv)


def cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    """Estimate for the planner; asks for ``supports`` to be None."""
    return supported(pass_, conv, itemsize).cost


def supported(pass_: str, conv: Conv, itemsize: int) -> Tiling:
    """The tiling, or UnsupportedError where there is none."""
    found = tiling(pass_, conv, itemsize)
    if found is None:
        raise UnsupportedError(_too_large(conv))
    return found


def options(pass_: str, conv: Conv, itemsize: int) -> dict:
    """What the error bound of FFT convolution asks for.

    >>> found = options("forward", Conv.from_shapes((1, 1, 20), (1, 1, 15)), 4)
    >>> found["size"], found["hop"], found["dense"]
    ((20,), (6,), 20)
    """
    t = supported(pass_, conv, itemsize)
    back = [3 - conv.ndim + order(conv).index(axis) for axis in range(conv.ndim)]
    return {"size": tuple(t.fft[i] for i in back), "hop": tuple(t.hop[i] for i in back), "dense": max(t.fft)}


def _too_large(conv: Conv) -> str:
    least = tuple(_least(a) for a in conv.axes)
    return (
        f"FFT needs transforms of at least {' x '.join(map(str, least))} points (kernel extent + stride - 1); "
        f"one tile of that does not fit the workspace of {WORKSPACE / 2**20:.0f} MiB"
    )


def by_channels(conv: Conv) -> bool:
    """Whether each channel meets one filter only, so that nothing is summed over channels."""
    return conv.groups == conv.in_channels == conv.out_channels > 1


def channels(pass_: str, conv: Conv) -> tuple[int, int]:
    """In and out channels of one group, or of all groups of one channel."""
    groups = 1 if by_channels(conv) else conv.groups
    cin, cout = conv.in_channels // groups, conv.out_channels // groups
    return (cout, cin) if pass_ == "input_grad" else (cin, cout)


def order(conv: Conv) -> tuple[int, ...]:
    """In which the spatial axes are taken: the last has to be transformed, so one that needs it comes last.

    >>> order(Conv.from_shapes((1, 1, 9, 9), (1, 1, 7, 1))), order(Conv.from_shapes((1, 1, 9, 9), (1, 1, 1, 7)))
    ((1, 0), (0, 1))
    """
    return tuple(sorted(range(conv.ndim), key=lambda i: _least(conv.axes[i]) > 1))


def axes(conv: Conv) -> list[Axis]:
    """Three, in `order`; those that are missing come first, of one position."""
    return [Axis(1, 1)] * (3 - conv.ndim) + [conv.axes[i] for i in order(conv)]


@lru_cache(maxsize=1024)
def tiling(pass_: str, conv: Conv, itemsize: int) -> Tiling | None:
    """The cheapest tiles by the cost model among those that fit ``WORKSPACE``; None where none does."""
    options = [_lengths(pass_, a, i) for i, a in enumerate(axes(conv))]
    found = (_cut(pass_, conv, itemsize, fft) for fft in product(*options))
    return min((t for t in found if t), key=lambda t: t.cost.seconds, default=None)


def _least(a: Axis) -> int:
    """Shortest transform that gives at least one output of each tile."""
    return a.extent + a.stride - 1


def _lengths(pass_: str, a: Axis, number: int) -> list[int]:
    """Lengths to try: those that cut the axis, the one of this ``number``, into 1, 2, 3, 4, 6, 8, ... pieces.

    An axis of one point needs no transform, except the last one.
    """
    positions = a.size if pass_ == "input_grad" else (a.out - 1) * a.stride + 1
    least, pieces, found = _least(a), 1, set()
    while True:
        length = max(least, a.extent - 1 + ceil(positions / pieces))
        found.add(1 if length == 1 and number < 2 else max(LEAST[number], length))
        if pieces >= positions:
            return sorted(found)
        pieces = pieces * 3 // 2 if pieces & (pieces - 1) == 0 and pieces > 1 else pieces // 3 * 4 or 2


def _cut(pass_: str, conv: Conv, itemsize: int, fft: Sizes) -> Tiling | None:
    lines = [_axis_lines(pass_, a, f) for a, f in zip(axes(conv), fft)]
    hop, tiles, signal, other, result = zip(*lines)
    count = max(1, conv.batch * prod(tiles))
    block = _block(pass_, conv, itemsize, fft, count, (signal, other, result))
    if block is None:
        return None
    cost = _cost(pass_, conv, itemsize, fft, count, (signal, other, result), block)
    return Tiling(fft, hop, tiles, signal, other, result, block, cost)


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


# Blocks ------------------------------------------------------------------------------------------------


def up(n: int, to: int) -> int:
    """The next multiple.

    >>> up(5, 4), up(8, 4), up(0, 4)
    (8, 8, 0)
    """
    return -(-n // to) * to


def spectra(pass_: str, conv: Conv, tiles: int, cin: int, cout: int) -> tuple[int, int, int]:
    """Numbers of a frequency in the spectra of a block, at most: signal, other, result."""
    wide, alone, gradient = _wide(cout), by_channels(conv), pass_ == "weight_grad"
    signal = tiles * wide if alone else up(tiles * cin, WIDEST)
    rows = 1 if alone else cin
    result = (1 if alone else up(cin, ROWS)) if gradient else tiles
    return 2 * (GAP + signal), 3 * (tiles if gradient else rows) * wide, 2 * (GAP + result * wide)


def _wide(columns: int) -> int:
    """Columns of as many panels as they need, two or three vectors wide."""
    return max(up(columns, WIDTH), up(columns, WIDEST))


def scratch(fft: Sizes, lines: tuple[Lines, ...]) -> int:
    """Numbers that a thread has in hand while it transforms as many signals as a register tile has columns, at most."""
    return WIDEST * sum(buffers(fft, lines))


def buffers(fft: Sizes, lines: tuple[Lines, ...], rows: int = ROWS) -> tuple[int, int]:
    """Numbers of one signal before even and before odd steps of whatever transform of signal, other and result.

    A register tile may have more ``rows`` than there are results.
    """
    sizes: tuple[list[int], list[int]] = [0], [0]
    for forth in (dft.steps(fft, counts(lines[0])), dft.steps(fft, counts(lines[1]), dft.KERNEL_PARTS)):
        sizes[0].append(forth[0].columns * (forth[0].rest + 4))  # and gaps between the samples
        for i, step in enumerate(forth[:-1]):  # the last one's results are spectra
            sizes[(i + 1) % 2].append((step.lead * step.rows + rows) * step.rest)
    for i, step in enumerate(dft.inverse_steps(fft, counts(lines[2]))):
        sizes[(i + 1) % 2].append((step.lead * step.rows + rows) * step.rest)
    return max(sizes[0]), max(sizes[1])


def _block(pass_: str, conv: Conv, itemsize: int, fft: Sizes, tiles: int, lines: tuple[Lines, ...]) -> Sizes | None:
    """Tiles, in and out channels whose spectra fit into ``WORKSPACE`` together; None where one of each does not.

    Channels first, up to half of it: each further block of them transforms the tiles again.  Then tiles: as many as the
    last cache may hold; more only where what all of them meet comes from memory each time.
    """
    freqs = dft.frequencies(fft)
    room = WORKSPACE // itemsize - THREADS * scratch(fft, lines)
    cin, cout = (max(1, n) for n in channels(pass_, conv))

    def needed(tiles: int) -> int:
        return freqs * sum(spectra(pass_, conv, tiles, cin, cout)) + _panels(conv, cin, cout)

    while needed(1) > room // 2 and (cout > WIDTH or cin > 1):
        if cout > WIDTH:
            cout = up(-(-cout // 2), WIDTH)  # fewer would fill no register tile
            cin = cout if by_channels(conv) else cin
        elif by_channels(conv):
            break
        else:
            cin = -(-cin // 2)
    if needed(1) > room:
        return None
    if needed(0) * itemsize <= FAR_BYTES:
        room = min(room, max(needed(0) + NEAR_BYTES // itemsize, needed(FEW_TILES)))
    parts = 1
    while needed(-(-tiles // parts)) > room:
        parts = max(parts + 1, ceil(parts * min(2.0, needed(-(-tiles // parts)) / room)))
    return -(-tiles // parts), cin, cout


def _cost(
    pass_: str, conv: Conv, itemsize: int, fft: Sizes, tiles: int, lines: tuple[Lines, ...], block: Sizes
) -> Cost:
    t, ci, co = block
    cin, cout = (max(1, n) for n in channels(pass_, conv))
    alone, gradient = by_channels(conv), pass_ == "weight_grad"
    groups, summed, wide = (1, 1, up(cout, WIDTH)) if alone else (conv.groups, cin, up(cout, WIDTH))
    tile_blocks, out_blocks, in_blocks = ceil(tiles / t), ceil(cout / co), 1 if alone else ceil(cin / ci)
    signals = tiles * (wide if alone else cin * out_blocks)
    others = tiles * wide * in_blocks if gradient else summed * wide * (tile_blocks if in_blocks > 1 else 1)
    results = summed * wide if gradient else tiles * wide
    freqs = dft.frequencies(fft)
    forth = signals * _products(dft.steps(fft, counts(lines[0])))
    forth += others * _products(dft.steps(fft, counts(lines[1]), dft.KERNEL_PARTS))
    back = results * _products(dft.inverse_steps(fft, counts(lines[2])))
    products = freqs * 4 * tiles * summed * wide
    samples = sum(n * prod(counts(line)) for n, line in zip((signals, others, results), lines))
    numbers = freqs * (2 * signals + 3 * others + 2 * results)
    weights = 0.0 if gradient else prod(conv.w_shape) / groups * WEIGHT_SECONDS[pass_ == "input_grad"]
    arithmetic = 2 * (forth / TRANSFORM_FLOPS + back / INVERSE_FLOPS + products / PRODUCT_FLOPS) / vectors.speed()
    traffic = samples * SAMPLE_SECONDS + numbers * (NUMBER_SECONDS + (ALONE_SECONDS if alone else FACTOR_SECONDS))
    loops = out_blocks * (tile_blocks * in_blocks * 4 + 1) * LOOP_SECONDS
    seconds = groups * ((arithmetic + traffic + weights) * itemsize / 4 + loops)
    used = freqs * sum(spectra(pass_, conv, t, ci, co)) + _panels(conv, ci, co) + THREADS * scratch(fft, lines)
    moved = groups * (samples + 2 * numbers) * itemsize
    return Cost(2 * groups * (forth + back + products), moved, itemsize * used, seconds)


def _products(steps: Sequence[dft.Step]) -> int:
    return sum(step.products for step in steps)


def _panels(conv: Conv, cin: int, cout: int) -> int:
    """Weights in panels."""
    return (1 if by_channels(conv) else cin) * _wide(cout) * prod(conv.kernel)
