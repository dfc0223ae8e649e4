"""The kernels of the catalogue for device "cuda": what each can do and what it costs.

What stands here computes with the array operations of CuPy (``arrays/``).  A kernel written in CUDA gets one entry
beside them and is chosen where its estimate is smaller.  The constants are guesses: nothing has run on a GPU yet.
"""

from __future__ import annotations

from .arrays import im2col
from .catalogue import Cost
from .conv_algorithms import add, anything, traffic
from .geometry import Conv

GEMM_FLOPS = 1e13  # float32
COPY_BYTES = 1e12  # columns written, then read
CALL_SECONDS = 5e-5


def im2col_cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    columns = conv.batch * im2col.image_bytes(conv, itemsize)
    seconds = 2 * conv.macs * itemsize / 4 / GEMM_FLOPS + 2 * columns / COPY_BYTES + CALL_SECONDS
    return Cost(2 * conv.macs, traffic(conv, itemsize), im2col.workspace_bytes(conv, itemsize), seconds)


add("im2col", ".arrays.im2col", anything, im2col_cost, device="cuda")
