"""Winograd convolution F(2 x 2, 3 x 3) on CUDA in one kernel (``winograd_fused.cu``): 16 products for 36.

`winograd` saves more products but writes transformed squares and their products out, 2.25 times as much as x and y are
each way; this kernel keeps them in shared memory and registers.  Filters are transformed by a launch of their own.  For
the forward pass and the input gradient; a weight gradient sums over squares, which only main memory holds all of.

Source: Lavin, Gray 2016, Fast Algorithms for Convolutional Neural Networks, sections 4.1 and 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

from ..arrays import array_module
from ..cpu import winograd_tiles
from ..geometry import Conv
from ..layout import channels_last
from ..spec.winograd import transforms
from . import windows, winograd
from .source import function

Array = Any

M = 2
OPTIONS = {"m": M, "points": winograd_tiles.POINTS[M + 2]}  # of the readable twin
POINTS = (M + 2) ** 2
ROWS, COLUMNS, DEPTH = 64, 32, 8  # squares, filters and channels that a block has at a time
THREADS = POINTS * 32
SHARED_BYTES = 4 * POINTS * DEPTH * (ROWS + COLUMNS + 8)
MATRICES = transforms(M, 3, winograd_tiles.POINTS[M + 2])
MOST_GROUPS = 65535  # the grid ends there


def supports(pass_: str, conv: Conv) -> str | None:
    """None, or why it cannot."""
    if (why := winograd.supports(pass_, conv)) is not None:
        return why
    if conv.groups > MOST_GROUPS:
        return f"has a grid for at most {MOST_GROUPS} groups, not {conv.groups}"
    if (filters := POINTS * prod(conv.w_shape[:2])) >= windows.LIMIT:
        return f"counts elements in 32 bits, and transformed filters here have {filters}"
    return None


def tiles(pass_: str, conv: Conv) -> int:
    """Blocks of a group."""
    size, columns = (conv.out, conv.out_channels) if pass_ == "forward" else (conv.size, conv.in_channels)
    squares = conv.batch * prod(-(-n // M) for n in size)
    return -(-squares // ROWS) * -(-(columns // conv.groups) // COLUMNS)


def _correlate(pass_: str, x: Array, w: Array, y: Array, conv: Conv, low: Sequence[int]) -> None:
    down, across = (-(-n // M) for n in y.shape[2:])
    u = winograd.filters_to_points(w, MATRICES)
    from_, to = winograd.by_group(x, conv), winograd.by_group(y, conv)
    squares = winograd.squares(from_, (down, across), M, low), winograd.squares(to, (down, across), M, (0, 0))
    kernel = function(array_module(x), "winograd_fused.cu", "correlate", **macros(channels_last(x)))
    kernel.max_dynamic_shared_size_bytes = SHARED_BYTES  # above 48 kB a kernel has to ask
    kernel((tiles(pass_, conv), conv.groups), (THREADS,), (x, u, y, *squares), shared_mem=SHARED_BYTES)


def macros(channels_last: bool) -> dict[str, Any]:
    """What the source is compiled with."""
    return {
        "ROWS": ROWS, "COLUMNS": COLUMNS, "DEPTH": DEPTH, "CHANNELS_LAST": channels_last,
        "INTO": winograd.literal(MATRICES.BT), "BACK": winograd.literal(MATRICES.AT),
    }  # fmt: skip


forward = partial(winograd.forward, correlate=_correlate)
input_grad = partial(winograd.input_grad, correlate=_correlate)
