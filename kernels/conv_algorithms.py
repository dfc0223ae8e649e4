"""The convolution kernels of the catalogue: what each can do and what it costs.

The cost model is a handful of constants, rounded from measurements on two cores of current server CPUs.  It
need not be exact: algorithms differ by factors where the choice matters.  Operations per second are those of vectors
of 32 bytes (AVX2), and grow with their width (`vectors.speed`); bytes per second are the same on all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import log2, prod

from . import jit, vectors
from .arrays import fft
from .catalogue import Cost, Kernel, register
from .cpu import col2im_tiles, direct_tiles, fft_tiles, im2col, parts, winograd_tiles
from .geometry import Conv

PASSES = ("forward", "input_grad", "weight_grad")


def add(
    algorithm: str,
    module: str,
    supports: Callable[[str, Conv], str | None],
    cost: Callable[[str, Conv, int], Cost],
    passes: tuple[str, ...] = PASSES,
    device: str = "cpu",
    automatic: bool = True,
    exact: bool = True,
    needs_numba: bool = False,
    dtypes: tuple[str, ...] | None = None,
) -> None:
    """Register ``module``'s functions forward, input_grad and weight_grad (or those in ``passes``)."""
    for p in passes:
        register(
            Kernel(
                "conv", p, device, algorithm, module, p, partial(supports, p), partial(cost, p),
                automatic, exact, needs_numba, dtypes,
            )
        )  # fmt: skip


def traffic(conv: Conv, itemsize: int) -> int:
    """Bytes of x, w and y: each read or written once."""
    return itemsize * (prod(conv.x_shape) + prod(conv.w_shape) + prod(conv.y_shape))


def anything(pass_: str, conv: Conv) -> None:
    """For algorithms that can do every pass of every problem."""
    return None


# spec: the definition --------------------------------------------------------------------------------

SPEC_FLOPS = 5e8


def spec_cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    """The definition in NumPy: slow, and never chosen."""
    columns = itemsize * conv.batch * conv.in_channels * prod(conv.out) * prod(conv.kernel)
    padded = itemsize * conv.batch * conv.in_channels * prod(a.padded for a in conv.axes)
    workspace = columns if pass_ == "forward" and conv.groups > 1 else padded
    return Cost(2 * conv.macs, traffic(conv, itemsize), workspace, 2 * conv.macs / SPEC_FLOPS + 1e-4)


add("spec", ".spec.conv", anything, spec_cost, automatic=False)


# im2col: one matrix product per group ----------------------------------------------------------------

GEMM_FLOPS = 1.8e11  # float32, large matrices; float64 half of it
COPY_BYTES = 1.2e10  # columns written or added back
WEIGHT_SECONDS = 9e-10  # for each weight, brought into the order of the columns
RUN_SECONDS = 6e-9  # NumPy's start of one run of neighbouring elements
FEW_CHANNELS = 8, 4, 16  # with fewer than the first, channels-last x has no runs: reading, adding so many times as slow
START_SECONDS = 1.5e-4  # of a call that is dozens of NumPy's
CALL_SECONDS = 1.5e-6  # one NumPy call: each tap of each chunk needs one


def im2col_cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    """Columns copied or added back, and one product per group; 1 x 1 kernels need no columns."""
    filters, depth = conv.out_channels // conv.groups, prod(conv.w_shape[1:])
    # a product with few rows or columns waits for memory
    rate = GEMM_FLOPS * vectors.speed() * 4 / itemsize * filters / (filters + 8) * depth / (depth + 16)
    chunks = im2col.chunk_count(conv, itemsize)
    seconds = 2 * conv.macs / max(rate, 1) + 2e-5
    if im2col.is_pointwise(conv):
        seconds += traffic(conv, itemsize) / NHWC_BYTES
    else:
        columns = conv.batch * conv.in_channels * prod(conv.kernel) * prod(conv.out)
        runs = columns / conv.out[-1] * (2 if conv.stride[-1] > 1 else 1)
        reading, adding = FEW_CHANNELS[1:] if conv.w_shape[1] < FEW_CHANNELS[0] else (1.0, 1.5)  # adding reads first
        copies = adding if pass_ == "input_grad" else reading
        seconds += copies * (columns * itemsize / COPY_BYTES + runs * RUN_SECONDS)
        seconds += prod(conv.w_shape) * WEIGHT_SECONDS
        seconds += chunks * prod(conv.kernel) * CALL_SECONDS
    seconds += chunks * conv.groups * CALL_SECONDS
    workspace = im2col.workspace_bytes(pass_, conv, itemsize)
    return Cost(2 * conv.macs, traffic(conv, itemsize), workspace, seconds)


add("im2col", ".cpu.im2col", anything, im2col_cost)


# direct: the definition's loops, compiled ------------------------------------------------------------

DIRECT_FLOPS = {"forward": 1.5e11, "input_grad": 1e11, "weight_grad": 1.6e11}  # float32
DIRECT_STRIDED = 2.5  # the loops of a strided input gradient are short: so many times as slow
DIRECT_READ = 3e-10  # seconds per element copied into a tile's buffer
DIRECT_LINE = 1.5e-9  # as many more where it comes from a cache line of its own, as of channels-last storage
LINE_BYTES = 64
DIRECT_WRITE = 2e-10  # seconds per output element
DIRECT_GRADIENT = 3e-10  # seconds per element of g that the weight gradient copies, for a few channels at a time
PARALLEL_SECONDS = 3e-5  # start and end of a parallel loop, and the call around it


def direct_supports(pass_: str, conv: Conv) -> str | None:
    """None, or why the loops cannot."""
    return None if conv.ndim <= 3 else f"has loops for 1 to 3 spatial axes, not {conv.ndim}"


def direct_cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    """Multiply-adds of whole tiles, halos copied for each tile, results written."""
    axes, filters = direct_tiles.geometry(conv), conv.out_channels // conv.groups
    t = direct_tiles.tiling(axes, conv.batch, conv.groups, filters)
    halos = [1 + direct_tiles.halo(a) / n for a, n in zip(axes[1:], (t.rows, t.columns))]
    wide = 2 * conv.macs * prod(halos)  # sums across the ends of rows are computed too, and dropped
    loops = prod(conv.stride) if pass_ == "input_grad" else 1
    slower = DIRECT_STRIDED if loops > 1 else 1.0
    copies = -(-filters // t.filters) * prod(halos) * prod(conv.x_shape)
    outputs = prod(conv.y_shape) * DIRECT_WRITE
    if pass_ == "weight_grad":
        outputs = -(-conv.w_shape[1] // direct_tiles.SLICES) * prod(conv.y_shape) * DIRECT_GRADIENT
    apart = conv.in_channels * itemsize >= LINE_BYTES
    seconds = (
        slower * wide / (DIRECT_FLOPS[pass_] * vectors.speed() * 4 / itemsize)
        + copies * (DIRECT_READ + (DIRECT_LINE if apart else 0))
        + outputs
        + loops * PARALLEL_SECONDS
    )
    return Cost(wide, traffic(conv, itemsize), direct_tiles.workspace_bytes(conv, itemsize), seconds)


add("direct", ".cpu.direct", direct_supports, direct_cost, needs_numba=True, dtypes=("float32", "float64"))


# nhwc: register tiles on channels-last storage --------------------------------------------------------
# Measured with operands that are channels-last already, as they are inside a network.

NHWC_FLOPS = 2.05e11  # float32, whole tiles
VECTOR_BYTES = 32  # of the vectors that those operations are of
NHWC_LANES = 16  # columns are computed in vectors
NHWC_ROWS = 8  # channels that the weight gradient computes at least
NHWC_SUMS = 0.95  # of that: the weight gradient packs its factors and adds up the sums of its parts
NHWC_WAITING = 1.6  # the weight gradient of few filters has a tile of eight sums, which wait for each other
NHWC_TAP = 3  # channels that fit into the time in which a tap finds its rows
NHWC_BYTES = 2e10  # operands read and results written, fresh memory
COL2IM_PRODUCTS = 0.9  # of those operations: sums are written before they are added
COL2IM_BYTES = 4e10  # operands fetched ahead of the products
NHWC_PACK = 3e-10  # seconds per weight rearranged
NHWC_DEPTHWISE = {"forward": 2e11, "input_grad": 2e11, "weight_grad": 8e10}  # float32 operations per second
NHWC_DEPTHWISE_BYTES = 3e10
NHWC_CALL = 8e-6  # one loop of a call that was made before, and its part of the call


def nhwc_supports(pass_: str, conv: Conv) -> str | None:
    """None, or why channels-last tiles cannot."""
    return None if conv.ndim <= 3 else f"has tables for 1 to 3 spatial axes, not {conv.ndim}"


def nhwc_cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    """Multiply-adds of whole vectors of columns, memory moved, weights packed."""
    depth, columns, taps = conv.w_shape[1], conv.out_channels // conv.groups, prod(conv.kernel)
    moved = traffic(conv, itemsize)
    if pass_ == "input_grad" and col2im_tiles.pays(conv, _lanes(itemsize)):
        return _spread_cost(conv, itemsize)
    loops = 2 * prod(conv.stride) if pass_ == "input_grad" else 2
    needed = moved
    if pass_ != "input_grad" and taps == 1:  # of a strided layer, pixels that no window has
        needed -= itemsize * conv.batch * conv.in_channels * (prod(conv.size) - min(prod(conv.size), prod(conv.out)))
    seconds = needed / NHWC_BYTES + loops * NHWC_CALL
    flops = 2.0 * conv.macs
    if pass_ == "input_grad":  # tiles leave out whole rows of padding, but not the padding within a row
        last = conv.axes[-1]
        flops *= max(1.0, last.size / (last.out * last.stride))
    if depth == columns and depth in (1, 2, 4, 8) and conv.groups > 1:  # nhwc.by_channels
        seconds = flops * itemsize / 4 / (NHWC_DEPTHWISE[pass_] * vectors.speed()) + moved / NHWC_DEPTHWISE_BYTES
        workspace = itemsize * prod(conv.w_shape)
        if pass_ == "weight_grad":
            workspace *= parts.channel_parts(conv.batch * prod(conv.out[:-1]), conv.out[-1])
        return Cost(flops, moved, workspace, loops * NHWC_CALL + seconds)
    if pass_ == "input_grad":
        depth, columns = columns, depth
    elif conv.in_channels < NHWC_ROWS and conv.groups == 1:  # the taps of a row count as channels
        depth, taps = depth * conv.kernel[-1], taps // conv.kernel[-1]
    lanes = NHWC_LANES * 4 // itemsize
    wide = -(-columns // lanes) * lanes
    deep = max(depth, NHWC_ROWS) if pass_ == "weight_grad" else depth + NHWC_TAP
    work = flops * wide / max(1, columns) * deep / max(1, depth)
    if pass_ == "weight_grad" and 2 * columns <= lanes:
        work *= NHWC_WAITING
    rate = NHWC_FLOPS * vectors.speed() * (NHWC_SUMS if pass_ == "weight_grad" else 1)
    seconds += work * itemsize / 4 / rate
    # forward packs once for all calls in inference; in training a batch outweighs it.  Sums of one tap lie in dw
    if pass_ == "input_grad" or (pass_ == "weight_grad" and taps > 1):
        seconds += prod(conv.w_shape) * NHWC_PACK
    workspace = itemsize * conv.groups * wide * depth * taps
    if pass_ == "weight_grad":
        pixels = conv.batch * prod(conv.out)
        turned = taps == 1 and not (columns % NHWC_ROWS or depth % _lanes(itemsize))
        turned = turned and parts.worth_turning(depth, columns, pixels, workspace)
        count = parts.product_parts(pixels, conv.groups, workspace, turned)
        workspace = 0 if turned and count == 1 else count * workspace
    return Cost(work, moved, workspace, seconds)


def _lanes(itemsize: int) -> int:
    return int(VECTOR_BYTES * vectors.speed()) // itemsize


def _spread_cost(conv: Conv, itemsize: int) -> Cost:
    """Of the input gradient that goes from g's pixels to dx's: ``cpu/col2im.py``."""
    weights, moved = prod(conv.w_shape), traffic(conv, itemsize)
    work = 2.0 * _lanes(itemsize) * col2im_tiles.work(conv, _lanes(itemsize))
    rate = NHWC_FLOPS * vectors.speed() * COL2IM_PRODUCTS
    seconds = work * itemsize / 4 / rate + moved / COL2IM_BYTES
    seconds += 2 * weights * NHWC_PACK + 3 * NHWC_CALL
    return Cost(work, moved, 2 * itemsize * weights, seconds)


add("nhwc", ".cpu.nhwc", nhwc_supports, nhwc_cost, needs_numba=True, dtypes=("float32", "float64"))


# fft: on register tiles, else NumPy's transforms ---------------------------------------------------------

FFT_FLOPS = 7e9  # of NumPy's transforms
FFT_PRODUCTS = 4.5e9  # and of its products of spectra


def plain_fft_cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    """Transforms of whole images and filters, and a product for each frequency."""
    points = fft.points(conv)
    signals = conv.batch * (conv.in_channels + conv.out_channels) + prod(conv.w_shape[:2])
    transforms = 5.0 * points * log2(max(2, points)) / 2 * signals
    products = 4.0 * points * conv.batch * conv.in_channels * conv.w_shape[0] // conv.groups
    images, filters = conv.batch * fft.image_bytes(conv, itemsize), fft.filter_bytes(conv, itemsize)
    workspace = int(min(images, fft.CHUNK_BYTES) + filters)
    seconds = transforms / FFT_FLOPS + products / FFT_PRODUCTS
    return Cost(transforms + products, images + filters, workspace, seconds * itemsize / 4 + START_SECONDS)


if jit.HAVE_NUMBA:
    add("fft", ".cpu.fft", fft_tiles.supports, fft_tiles.cost, exact=False, dtypes=("float32", "float64"))
else:
    add("fft", ".arrays.fft", anything, plain_fft_cost, exact=False, dtypes=("float32", "float64"))


# winograd: 36 products for 144 --------------------------------------------------------------------------

WINOGRAD_FLOPS = 2e11  # float32, of the products
WINOGRAD_TRANSFORM = 1e-10  # seconds per element of V, M, and the weight gradient's U
WINOGRAD_FILTER = 3e-10  # seconds per element of U
WINOGRAD_SUM = 1e-10, 2e-10  # seconds per element of the weight gradient's sums in the last cache, and beyond it
WINOGRAD_RAGGED = 3  # times as long takes a vector that channels do not fill: it is copied, element by element
WINOGRAD_CALL = 2.5e-5


def winograd_cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    """Products of transformed tiles, the transforms, and what a call takes by itself."""
    t = winograd_tiles.tiling(pass_, conv, itemsize)
    wide = -(-t.columns // NHWC_LANES) * NHWC_LANES
    products = 2.0 * t.points * t.tiles * t.depth * wide * conv.groups
    channels = _transformed(t.depth) * t.bands + _transformed(t.columns)
    elements = t.points * t.tiles * channels * conv.groups
    filters = t.points * t.depth * t.columns * t.parts * conv.groups
    # forward: U is made once for all calls in inference, and read
    filter_seconds = 4 / NHWC_BYTES if pass_ == "forward" else WINOGRAD_FILTER
    if pass_ == "weight_grad":
        filter_seconds = WINOGRAD_SUM[filters * itemsize > winograd_tiles.FAR_BYTES]
    seconds = (products / WINOGRAD_FLOPS + elements * WINOGRAD_TRANSFORM) / vectors.speed() + filters * filter_seconds
    moved = traffic(conv, itemsize)
    seconds = seconds * itemsize / 4 + moved / NHWC_BYTES + conv.groups * WINOGRAD_CALL
    flops = products + winograd_tiles.TRANSFORM * (elements + filters)
    return Cost(flops, moved, winograd_tiles.workspace_bytes(pass_, conv, itemsize), seconds)


def _transformed(channels: int) -> int:
    """Of how many channels the transforms take as long, were their vectors full."""
    return (channels // NHWC_LANES + WINOGRAD_RAGGED * (channels % NHWC_LANES > 0)) * NHWC_LANES


add(
    "winograd", ".cpu.winograd", winograd_tiles.supports, winograd_cost,
    exact=False, needs_numba=True, dtypes=("float32", "float64"),
)  # fmt: skip
