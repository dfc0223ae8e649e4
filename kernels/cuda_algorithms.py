"""The kernels of the catalogue for device "cuda": what each can do and what it costs.

``im2col`` computes with the array operations of CuPy (``arrays/``), the others are written in CUDA (``cuda/``).  The
constants are those of a data-centre card of 2024 (67 TFLOP/s in float32, 4.3 TB/s measured copies) times the share that
such kernels are known to reach; nothing has run on a GPU yet.
"""

from __future__ import annotations

from functools import partial
from math import prod

from .arrays import fft, im2col
from .catalogue import Cost
from .conv_algorithms import add, anything, traffic
from .cuda import depthwise, implicit_gemm, pipelined, windows, winograd, winograd_fused
from .geometry import Conv

MEMORY = 3.5e12  # bytes per second, read and written once
LAUNCH = 5e-6  # seconds of the host for a kernel


def parts(pass_: str, conv: Conv) -> int:
    """Kernels that a pass launches: an input gradient one for each residue of its positions, if they do not share."""
    return len(list(windows.correlations(pass_, conv))) if pass_ == "input_grad" else 1


# im2col: one batch of products by cuBLAS -----------------------------------------------------------------

GEMM_FLOPS = 4e13  # float32
COPY_BYTES = 1e12  # columns written, or added back, with CuPy's general strides; and then read
IM2COL_CALL = 5e-5  # some ten calls of CuPy


def im2col_cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    """Columns written and read, and products of cuBLAS."""
    columns = conv.batch * im2col.image_bytes(conv, itemsize)
    rows, depth = conv.out_channels // conv.groups, prod(conv.w_shape[1:])
    rate = GEMM_FLOPS * 4 / itemsize * rows / (rows + 32) * depth / (depth + 32)
    seconds = 2 * conv.macs / max(rate, 1) + traffic(conv, itemsize) / MEMORY + 2 * columns / COPY_BYTES + IM2COL_CALL
    return Cost(2 * conv.macs, traffic(conv, itemsize), im2col.workspace_bytes(conv, itemsize), seconds)


add("im2col", ".arrays.im2col", anything, im2col_cost, device="cuda")


# direct: the definition, one sum for each thread -----------------------------------------------------------

DIRECT_FLOPS = 2e12  # each product reads both of its factors from a cache


def direct_cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    """Products that read both factors from a cache."""
    moved = traffic(conv, itemsize)
    seconds = 2 * conv.macs * max(1, itemsize / 4) / DIRECT_FLOPS + moved / MEMORY + parts(pass_, conv) * LAUNCH
    return Cost(2 * conv.macs, moved, 0, seconds)


FLOATS = ("float32", "float64", "float16")

add("direct", ".cuda.direct", windows.supports, direct_cost, device="cuda", dtypes=FLOATS)


# depthwise: as fast as memory ------------------------------------------------------------------------------

DEPTHWISE_FLOPS = 1e13


def depthwise_cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    """As long as memory takes, or the multiply-adds where the kernel is large."""
    moved = traffic(conv, itemsize)
    seconds = 2 * conv.macs * max(1, itemsize / 4) / DEPTHWISE_FLOPS + moved / MEMORY
    launches = 2 if pass_ == "weight_grad" else parts(pass_, conv)
    return Cost(2 * conv.macs, moved, 0, seconds + launches * LAUNCH)


add("depthwise", ".cuda.depthwise", depthwise.supports, depthwise_cost, device="cuda", dtypes=FLOATS)


# implicit_gemm and its relatives on tensor cores: tiles of a product ------------------------------------------

TILE_FLOPS = {"implicit_gemm": 2.5e13, "tf32": 2e14, "tf32x3": 7.5e13, "bf16": 4e14, "fp16": 4e14}  # on a full card
TILE_FLOPS |= {"bf16_wgmma": 6e14, "fp16_wgmma": 6e14}  # of a Hopper card
TWIN_FLOPS = {"tf32": 1e14, "tf32x3": 4e13}  # of the tiles that registers feed, where vectors do not suit
TILE_SHARE = {implicit_gemm.LARGE: 1.0, implicit_gemm.NARROW: 0.85, implicit_gemm.SMALL: 0.6}  # of it that they reach
KINDS = {"tf32": pipelined.TF32, "tf32x3": pipelined.TF32X3, "bf16": pipelined.BF16, "fp16": pipelined.FP16}
KINDS |= {"bf16_wgmma": pipelined.BF16_WGMMA, "fp16_wgmma": pipelined.FP16_WGMMA}


def tiles_cost(algorithm: str, pass_: str, conv: Conv, itemsize: int) -> Cost:
    """Whole tiles of a product on as much of the card as they fill, and what is staged before."""
    work = seconds = 0.0
    kind, wide, rate = KINDS.get(algorithm), conv, TILE_FLOPS[algorithm]
    if algorithm in TWIN_FLOPS and not KINDS[algorithm].suits(pass_, conv):
        rate = TWIN_FLOPS[algorithm]
    elif kind is not None:
        wide = kind.operands(pass_, conv)
    problems = list(implicit_gemm.problems(pass_, wide, kind.step if kind else 0))
    tiles = [prod(p.tile.count(p.rows, p.columns)) * p.count for p in problems]
    for count, problem in zip(tiles, problems):
        flops = 2.0 * count * problem.tile.rows * problem.tile.columns * problem.depth
        busy = min(1.0, sum(tiles) * problem.slices / implicit_gemm.BLOCKS)  # all in one launch
        work += flops
        seconds += flops / (rate * busy * TILE_SHARE[problem.tile] or 1)
    slices = max((p.slices for p in problems), default=1)
    seconds += (2 if slices == 1 or pass_ == "weight_grad" else 4) * LAUNCH  # one packs weights, others add up slices
    workspace = itemsize * prod(conv.w_shape) * (slices if pass_ == "weight_grad" else 1)
    if pass_ != "weight_grad" and slices > 1:
        workspace += 4 * slices * prod(conv.y_shape if pass_ == "forward" else conv.x_shape)
    moved = traffic(conv, itemsize)
    if (
        kind is not None and kind.element == "bfloat16"
    ):  # float32 operands are copied first: 4 bytes read, 2 written, 2 read instead of 4
        moved += moved
        workspace += staged_bytes(pass_, wide)
    return Cost(work, moved, int(workspace), seconds + moved / MEMORY)


def staged_bytes(pass_: str, wide: Conv) -> int:
    """Copies in 16 bits of the operands that are images."""
    x, y = (2 * prod(shape) for shape in (wide.x_shape, wide.y_shape))
    return {"forward": x, "input_grad": y, "weight_grad": x + y}[pass_]


for name, dtype in (
    ("implicit_gemm", "float32"), ("tf32", "float32"), ("tf32x3", "float32"), ("bf16", "float32"), ("fp16", "float16"),
):  # fmt: skip
    supports = KINDS[name].obstacle if name in ("bf16", "fp16") else implicit_gemm.supports
    add(
        name, f".cuda.{name}", supports, partial(tiles_cost, name), device="cuda",
        automatic=name not in ("tf32", "bf16"), exact=name in ("implicit_gemm", "fp16"), dtypes=(dtype,),
    )  # fmt: skip

for name, dtype in (("bf16_wgmma", "float32"), ("fp16_wgmma", "float16")):  # until a card has shown that they are right
    add(
        name, f".cuda.{name}", KINDS[name].obstacle, partial(tiles_cost, name), passes=("forward", "input_grad"),
        device="cuda", automatic=False, exact=name == "fp16_wgmma", dtypes=(dtype,),
    )  # fmt: skip


# winograd: transforms, and a batch of products by cuBLAS -----------------------------------------------------

WINOGRAD_CALL = 2e-5  # of CuPy's product, and its allocations


def winograd_cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    """Products of transformed squares, which are written and read, and the calls for groups of images."""
    m, _ = winograd.matrices(pass_, conv)
    points = (m + 2) ** 2
    filters = itemsize * points * prod(conv.w_shape[:2])
    squares = conv.batch * winograd.image_bytes(pass_, conv)
    tiles = squares // (itemsize * points * (conv.in_channels + conv.out_channels) or 1)
    flops = 2.0 * points * tiles * conv.in_channels * conv.out_channels / conv.groups
    depth, columns = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    rate = GEMM_FLOPS * depth / (depth + 32) * columns / (columns + 32)
    calls = -(-squares // winograd.CHUNK_BYTES)
    moved = traffic(conv, itemsize) + 2 * squares + 2 * filters  # the tiles overlap, but a cache sees to that
    seconds = flops / max(rate, 1) + moved / MEMORY + 4 * calls * LAUNCH + calls * WINOGRAD_CALL
    return Cost(flops, moved, int(min(squares, winograd.CHUNK_BYTES) + filters), seconds)


add(
    "winograd", ".cuda.winograd", winograd.supports, winograd_cost,
    device="cuda", exact=False, dtypes=("float32",),
)  # fmt: skip


# winograd_fused: 16 products for 36, without a detour through memory ------------------------------------------

FUSED_FLOPS = 2.5e13  # float32, on a full card; the transforms take a quarter of the time
FUSED_BLOCKS = 132  # one on each multiprocessor


def fused_cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    """Products of transformed squares; the squares themselves are never written."""
    tiles = winograd_fused.tiles(pass_, conv) * conv.groups
    channels = (conv.in_channels if pass_ == "forward" else conv.out_channels) // conv.groups
    depth = -(-channels // winograd_fused.DEPTH) * winograd_fused.DEPTH
    flops = 2.0 * winograd_fused.POINTS * tiles * winograd_fused.ROWS * winograd_fused.COLUMNS * depth
    filters = itemsize * winograd_fused.POINTS * prod(conv.w_shape[:2])
    moved = traffic(conv, itemsize) + 2 * filters
    rate = FUSED_FLOPS * min(1.0, tiles / FUSED_BLOCKS)
    return Cost(flops, moved, filters, flops / (rate or 1) + moved / MEMORY + 2 * LAUNCH)


add(
    "winograd_fused", ".cuda.winograd_fused", winograd_fused.supports, fused_cost,
    passes=("forward", "input_grad"), device="cuda", exact=False, dtypes=("float32",),
)  # fmt: skip


# fft: cuFFT, and a batch of complex products ------------------------------------------------------------------

FFT_PASSES = 8  # over the spectra: transforms in two steps, put into the products' order and back
FFT_CALL = 3e-4  # some thirty calls of CuPy


def fft_cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    """Passes over the spectra, and their products."""
    images, filters = conv.batch * fft.image_bytes(conv, itemsize), fft.filter_bytes(conv, itemsize)
    flops = 4.0 * fft.points(conv) * conv.batch * conv.in_channels * conv.out_channels / conv.groups
    chunks = max(1, -(-images // fft.CHUNK_BYTES))
    moved = FFT_PASSES * (images + chunks * filters) // 3
    depth, columns = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    rate = GEMM_FLOPS * 4 / itemsize * depth / (depth + 32) * columns / (columns + 32)
    seconds = flops / max(rate, 1) + moved / COPY_BYTES + chunks * FFT_CALL
    return Cost(flops, moved, int(min(images, fft.CHUNK_BYTES) + filters), seconds)


add("fft", ".arrays.fft", anything, fft_cost, device="cuda", exact=False, dtypes=("float32", "float64"))
