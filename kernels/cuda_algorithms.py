"""The kernels of the catalogue for device "cuda": what each can do and what it costs.

``im2col`` computes with the array operations of CuPy (``arrays/``), the others are written in CUDA (``cuda/``).  The
constants are those of a data-centre card of 2024 (67 TFLOP/s in float32, 4.3 TB/s measured copies) times the share that
such kernels are known to reach; nothing has run on a GPU yet.
"""

from __future__ import annotations

from functools import partial
from math import prod

from .arrays import im2col
from .catalogue import Cost
from .conv_algorithms import add, anything, traffic
from .cuda import depthwise, implicit_gemm, windows
from .geometry import Conv

MEMORY = 3.5e12  # bytes per second, read and written once
LAUNCH = 5e-6  # seconds of the host for a kernel


def parts(pass_: str, conv: Conv) -> int:
    """Kernels that a pass launches: an input gradient needs one for each residue of positions mod stride."""
    return prod(conv.stride) if pass_ == "input_grad" else 1


# im2col: one batch of products by cuBLAS -----------------------------------------------------------------

GEMM_FLOPS = 4e13  # float32
COPY_BYTES = 1e12  # columns written, or added back, with CuPy's general strides; and then read
IM2COL_CALL = 5e-5  # some ten calls of CuPy


def im2col_cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    columns = conv.batch * im2col.image_bytes(conv, itemsize)
    rows, depth = conv.out_channels // conv.groups, prod(conv.w_shape[1:])
    rate = GEMM_FLOPS * 4 / itemsize * rows / (rows + 32) * depth / (depth + 32)
    seconds = 2 * conv.macs / max(rate, 1) + traffic(conv, itemsize) / MEMORY + 2 * columns / COPY_BYTES + IM2COL_CALL
    return Cost(2 * conv.macs, traffic(conv, itemsize), im2col.workspace_bytes(conv, itemsize), seconds)


add("im2col", ".arrays.im2col", anything, im2col_cost, device="cuda")


# direct: the definition, one sum for each thread -----------------------------------------------------------

DIRECT_FLOPS = 2e12  # each product reads both of its factors from a cache


def direct_cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    moved = traffic(conv, itemsize)
    seconds = 2 * conv.macs * itemsize / 4 / DIRECT_FLOPS + moved / MEMORY + parts(pass_, conv) * LAUNCH
    return Cost(2 * conv.macs, moved, 0, seconds)


add("direct", ".cuda.direct", windows.supports, direct_cost, device="cuda", dtypes=("float32", "float64"))


# depthwise: as fast as memory ------------------------------------------------------------------------------

DEPTHWISE_FLOPS = 1e13


def depthwise_cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    moved = traffic(conv, itemsize)
    seconds = 2 * conv.macs * itemsize / 4 / DEPTHWISE_FLOPS + moved / MEMORY
    launches = 2 if pass_ == "weight_grad" else parts(pass_, conv)
    return Cost(2 * conv.macs, moved, 0, seconds + launches * LAUNCH)


add("depthwise", ".cuda.depthwise", depthwise.supports, depthwise_cost, device="cuda", dtypes=("float32", "float64"))


# implicit_gemm and its relatives on tensor cores: tiles of a product ------------------------------------------

TILE_FLOPS = {0: 2.5e13, 1: 1e14, 3: 4e13}  # whole tiles that fill the card, by ``terms``
TILE_SHARE = {implicit_gemm.LARGE: 1.0, implicit_gemm.NARROW: 0.85, implicit_gemm.SMALL: 0.6}  # of it that they reach


def implicit_gemm_cost(terms: int, pass_: str, conv: Conv, itemsize: int) -> Cost:
    work = seconds = workspace = 0.0
    for problem in implicit_gemm.problems(pass_, conv):
        tiles = prod(problem.tile.count(problem.rows, problem.columns)) * problem.count
        flops = 2.0 * tiles * problem.tile.rows * problem.tile.columns * problem.depth
        busy = min(1.0, tiles * problem.slices / implicit_gemm.BLOCKS)
        share = busy * TILE_SHARE[problem.tile]
        work += flops
        seconds += flops / (TILE_FLOPS[terms] * share or 1) + 2 * LAUNCH  # one packs weights or adds up slices
        workspace += itemsize * prod(conv.w_shape) * (problem.slices if pass_ == "weight_grad" else 1)
    moved = traffic(conv, itemsize)
    return Cost(work, moved, int(workspace), seconds + moved / MEMORY)


for name, terms in (("implicit_gemm", 0), ("tf32", 1), ("tf32x3", 3)):
    add(
        name, f".cuda.{name}", implicit_gemm.supports, partial(implicit_gemm_cost, terms),
        device="cuda", automatic=terms == 0, exact=terms == 0, dtypes=("float32",),
    )  # fmt: skip
