"""How `col2im` cuts an input gradient, and when it pays: plain arithmetic, shared with the cost model."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import NamedTuple

from ..geometry import Conv
from .direct_tiles import geometry

CHUNK_PIXELS = 128  # of g, multiplied together
PIECES = 16  # wanted, for the threads
HALOS = 4  # a band has so many times the rows that a window reaches, at least: what lies on its edge is computed twice
WIDEST = 1 << 14  # pixels of a row of g: a row's sums, and a row of dx, are in memory at once

ADD = 9  # multiply-adds of a vector that adding a vector of sums to its row takes as long as
NARROW = 1.2  # times as long takes a product of few columns: its tile has one vector, and loads more for each product
TAP = 3  # channels that fit into the time in which a tap finds its pixels


class Tiling(NamedTuple):
    """Rows of g that are multiplied together, rows of dx of a piece of work, and such pieces of an image."""

    chunk: int
    band: int
    bands: int


@lru_cache(maxsize=1024)
def tiling(conv: Conv) -> Tiling:
    """From the sizes alone.

    >>> tiling(Conv.from_shapes((8, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3))
    Tiling(chunk=1, band=112, bands=2)
    """
    _, rows, last = geometry(conv)
    chunks = -(-rows.out // max(1, CHUNK_PIXELS // max(1, last.out)))
    reach = (rows.taps - 1) * rows.dilation + 1
    bands = max(1, min(-(-PIECES // max(1, conv.batch)), rows.size // (HALOS * reach)))
    band = -(-rows.size // bands)
    return Tiling(-(-rows.out // max(1, chunks)), band, -(-rows.size // band))


def can(conv: Conv) -> bool:
    """One group, at most two axes, and the taps of a kernel row are neighbours in rows that are not too long."""
    last = geometry(conv)[2]
    return conv.groups == 1 and conv.ndim <= 2 and last.dilation == 1 and last.out <= WIDEST


def work(conv: Conv, lanes: int) -> float:
    """Multiply-adds of vectors of so many ``lanes`` that take as long, roughly."""
    wide = lanes >= 16
    rows, width, pixels = 8 if wide else 6, 2 * lanes, prod(conv.out)
    chunk = tiling(conv).chunk * conv.out[-1]
    computed = pixels * -(-chunk // rows) * rows / chunk
    run = conv.in_channels * conv.kernel[-1]
    kernel_rows = prod(conv.kernel[:-1])
    products = computed * 2 * -(-run * kernel_rows // width) * conv.out_channels
    return conv.batch * (products + pixels * ADD * kernel_rows * (run / lanes + 1))


@lru_cache(maxsize=4096)
def pays(conv: Conv, lanes: int) -> bool:
    """Whether spreading the pixels of g is faster than gathering those that a pixel of dx belongs to, tap by tap.

    Gathering multiplies by the padding at the ends of g's rows, and has vectors of no more channels than dx has.

    >>> pays(Conv.from_shapes((8, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3), 16)
    True
    >>> pays(Conv.from_shapes((8, 64, 56, 56), (64, 64, 3, 3), padding=1), 16)
    False
    """
    if not can(conv) or not prod(conv.y_shape):
        return False
    vectors = -(-conv.in_channels // lanes)
    pairs = prod(conv.out[:-1]) * conv.size[-1] / conv.stride[-1] * prod(conv.kernel)  # of pixels and taps
    gathered = conv.batch * pairs * vectors * (conv.out_channels + TAP) * (NARROW if vectors == 1 else 1)
    return work(conv, lanes) < gathered
