"""Convolution with few channels per group, depthwise above all: limited by memory, not by arithmetic."""

from __future__ import annotations

from math import prod
from typing import Any

from ..arrays import array_module
from ..cpu.direct_tiles import Geometry, geometry
from ..geometry import Conv
from ..layout import channels_last
from . import windows
from .source import function, real

Array = Any

THREADS = 128
KNOWN_TAPS = ((3, 3), (5, 5))  # kernels with loops of their own; each costs a compilation
MOST_CHANNELS = 4  # of a group, on either side
BLOCKS = 1024  # wanted in a weight gradient
SHORTEST = 256  # pixels that are worth a block


def supports(pass_: str, conv: Conv) -> str | None:
    """None, or why it cannot: groups have a few channels at most."""
    most = max(conv.w_shape[1], conv.out_channels // conv.groups)
    if most > MOST_CHANNELS:
        return f"is made for groups of at most {MOST_CHANNELS} channels or filters, not {most}"
    return windows.supports(pass_, conv)


def forward(x: Array, w: Array, conv: Conv, out: Array | None = None) -> Array:
    """y (N, K, *out); channels-last where x is and no ``out`` is given."""
    return windows.forward(_correlate, x, w, conv, out)


def input_grad(w: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dx (N, C, *size); channels-last where g is and no ``out`` is given."""
    return windows.input_grad(_correlate, w, g, conv, out)


def weight_grad(x: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dw (K, C/G, *kernel): sums over slices of the pixels, then over the slices in their order."""
    xp, axes = array_module(x), geometry(conv)
    dw = xp.empty(conv.w_shape, x.dtype) if out is None else out
    if not dw.size:
        return dw
    macros = _macros(x, axes)
    taps = 1 if macros["TAPS1"] else axes[1].taps * axes[2].taps
    across = min(32, conv.out_channels) if macros["CHANNELS_LAST"] else 1
    across = 1 << (across.bit_length() - 1)  # the other threads of a block add up in pairs
    grid = -(-conv.out_channels // across), conv.w_shape[1] * axes[0].taps * taps

    count = windows.slice_count(conv.batch * prod(conv.out), grid[0] * grid[1], BLOCKS, SHORTEST)

    def launch(target: Array, strides: windows.Ints, length: int) -> None:
        window = windows.of_weights(x, g, strides, conv, axes, length, dw.size)
        kernel = function(xp, "depthwise.cu", "weight_grad", **macros)
        kernel((grid[0], count, grid[1]), (across, THREADS // across), (x, g, target, window))

    return windows.in_slices(launch, dw, conv, count)


def _correlate(x: Array, w: Array, y: Array, axes: Geometry) -> None:
    runs = -(-axes[1].out // windows.RUN)
    items = y.size // axes[1].out * runs
    kernel = function(array_module(x), "depthwise.cu", "correlate", **_macros(x, axes))
    kernel((-(-items // THREADS),), (THREADS,), (x, w, y, windows.of_correlation(x, w, y, axes)))


def _macros(x: Array, axes: Geometry) -> dict[str, Any]:
    taps = axes[1].taps, axes[2].taps
    known = taps if taps in KNOWN_TAPS else (0, 0)
    return {
        "REAL": real(x.dtype), "TAPS1": known[0], "TAPS2": known[1], "CHANNELS_LAST": channels_last(x),
        "RUN": windows.RUN, "THREADS": THREADS,
    }  # fmt: skip
