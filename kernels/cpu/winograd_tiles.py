"""How the Winograd kernels cut a convolution: plain arithmetic, shared with the cost model."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import NamedTuple

from ..geometry import Conv
from ..spec import winograd as twin

FORMS = {3: (4, 2), 5: (2,)}  # m of F(m x m, r x r), by r
POINTS = {6: "paired", 4: "lavin"}  # by m + r - 1
TRANSFORM = 12
"""Multiply-adds that transforming an element costs as much time as, roughly: what decides between m = 2 and 4."""

BLOCK_BYTES = 400 << 10  # of V and M: they should stay in the L2 cache
BLOCK_TILES = (24, 96)  # at least; at most, and where U is so large that it should not be read often
NEAR_BYTES = 4 << 20  # of U: larger ones come from far
BAND = 192  # columns; fewer, and the transforms of a block would be repeated too often
PIECES = 8  # wanted, for the threads
ALONE = 1 << 21  # products that are worth a second thread
WIDE = 128  # columns of the weight gradient that make two bands: it has parts of the sum instead of blocks
SUM_BAND = 320  # columns of two bands, roughly
SUM_BLOCK_BYTES = 2 << 20  # of V and U: more of them for each thread would leave the last cache
FAR_BYTES = 16 << 20  # of the weight gradient's sums, which have left it
SUM_TILES = 192  # where they have: they should not be read often
PART_TILES = 384  # of the weight gradient, at least: each part writes sums of its own, which are read again
SUMS_BYTES = 8 << 20  # of all parts
THREADS = 2  # where the machine does not matter: in estimates
ROWS, WIDTH = 8, 32  # of a register tile, where the machine does not matter: in estimates


class Tiling(NamedTuple):
    """One pass of one group.  A tile is m x m positions of its result (of g, in the weight gradient)."""

    m: int
    r: int  # rows, and columns, of the kernel
    apart: tuple[int, ...]  # positions from element to element of a tile, along H and W: the dilation
    down: int  # tiles along H
    across: int  # tiles along W
    tiles: int  # of all images
    depth: int  # channels that are summed (C/G of x, in the weight gradient)
    columns: int  # channels of the result (K/G of g, in the weight gradient)
    block: int  # tiles that are transformed and multiplied together
    blocks: int
    band: int  # panels of columns that one piece of work takes
    bands: int
    parts: int  # of the sum over blocks, in the weight gradient

    @property
    def points(self) -> int:
        """Elements of a transformed tile."""
        return (self.m + self.r - 1) ** 2


def supports(pass_: str, conv: Conv) -> str | None:
    """Why this convolution cannot go through the fast kernels, or None."""
    if conv.ndim != 2 or conv.kernel[0] != conv.kernel[1] or conv.kernel[0] not in FORMS:
        return f"Winograd is written for 3 x 3 and 5 x 5 kernels in two dimensions, got kernel {conv.kernel}"
    return twin.unsupported(conv)


def options(pass_: str, conv: Conv) -> dict:
    """With which ``m`` and ``points`` the readable twin does what the fast kernels do.

    >>> options("forward", Conv.from_shapes((1, 8, 9, 9), (8, 8, 3, 3), padding=1))
    {'m': 4, 'points': 'paired'}
    """
    m = _outputs(pass_, conv)
    return {"m": m, "points": POINTS[m + conv.kernel[0] - 1]}


def _tiles(pass_: str, conv: Conv, m: int) -> list[int]:
    """Along H and W: those of every d-th position with dilation d, d times."""
    result = conv.size if pass_ == "input_grad" else conv.out
    return [d * -(-size // (m * d)) for size, d in zip(result, conv.dilation)]


def _outputs(pass_: str, conv: Conv) -> int:
    """m of F(m x m, r x r): the one with fewer operations.  Tiles of 4 reach further over the edge of a small image.

    >>> [_outputs("forward", Conv.from_shapes((1, 8, n, n), (8, 8, 3, 3), padding=1)) for n in (2, 3, 9)]
    [2, 4, 4]
    """
    c, k = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    work = c * k + TRANSFORM * (c + k)  # for each element of the tiles

    def operations(m: int) -> int:
        return (m + conv.kernel[0] - 1) ** 2 * prod(_tiles(pass_, conv, m)) * work

    return min(FORMS[conv.kernel[0]], key=operations)


@lru_cache(maxsize=1024)
def tiling(
    pass_: str, conv: Conv, itemsize: int, rows: int = ROWS, width: int = WIDTH, threads: int = THREADS
) -> Tiling:
    """How a group is cut for register tiles of ``rows`` x ``width``.

    ``threads`` may add bands of the weight gradient; in what order numbers are summed follows from sizes only.
    """
    m, r = _outputs(pass_, conv), conv.kernel[0]
    down, across = _tiles(pass_, conv, m)
    tiles, points = conv.batch * down * across, (m + r - 1) ** 2
    depth, columns = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    if pass_ == "input_grad":
        depth, columns = columns, depth
    panels, parts = max(1, -(-columns // width)), 1
    if pass_ == "weight_grad":
        block, bands, parts = _sum_block(points, tiles, depth, panels, itemsize, rows, width)
        if parts * bands > 1:
            bands = min(panels, max(bands, -(-threads // parts)))
    else:
        block, bands = _block(points, tiles, depth, columns, itemsize, rows, width)
    blocks = max(1, -(-tiles // block))
    band = -(-panels // bands)
    bands = -(-panels // band)
    return Tiling(m, r, conv.dilation, down, across, tiles, depth, columns, block, blocks, band, bands, parts)


def _block(points: int, tiles: int, depth: int, columns: int, itemsize: int, rows: int, width: int) -> tuple[int, int]:
    """Tiles of a block and number of bands, forward and in the input gradient."""
    panels = max(1, -(-columns // width))
    least, most = BLOCK_TILES
    block = min(most, BLOCK_BYTES // (points * itemsize * max(1, depth + min(columns, BAND))))
    block = even(tiles, max(least, block), rows)
    if points * depth * columns * itemsize > NEAR_BYTES:
        block = even(tiles, most, rows)
    blocks = max(1, -(-tiles // block))
    bands = max(1, min(-(-PIECES // blocks), panels * width // BAND))
    if blocks * bands == 1 and points * tiles * depth * columns > ALONE:
        block = even(tiles, max(1, tiles // 2), rows)
        bands = min(panels, 2) if tiles <= block else 1
    elif blocks * bands % 2 and bands > 1:
        bands = min(bands + 1, panels)  # as much for each of two threads
    elif blocks % 2 and 1 < blocks < PIECES:
        block = even(tiles, -(-tiles // (blocks + 1)), rows)
    return block, bands


def _sum_block(
    points: int, tiles: int, depth: int, panels: int, itemsize: int, rows: int, width: int
) -> tuple[int, int, int]:
    """Tiles of a block, number of bands and of parts, in the weight gradient.

    Threads that share out the columns have no parts to add, but each transforms x.  So bands are wide, and there are
    parts instead where columns are few or cannot be halved, or tiles so many that it costs little.  Each block reads
    and writes all sums of its band: V and U of it may take as much memory, within limits.
    """
    columns, point = panels * width, points * itemsize
    sums = point * depth * columns
    if points * tiles * depth * columns <= ALONE:
        bands, parts = 1, 1
    elif columns < WIDE or (2 * sums <= SUMS_BYTES and (panels % 2 or tiles >= PIECES * PART_TILES)):
        most = min(PIECES, tiles // PART_TILES, SUMS_BYTES // sums)
        bands, parts = 1, 1 << max(2, most).bit_length() - 1  # an even number
    else:
        bands = 2 * max(1, round(columns / SUM_BAND))
        parts = 2 if bands == 2 and tiles >= 2 * PART_TILES and 2 * sums <= SUMS_BYTES else 1
    (least, most), part = BLOCK_TILES, -(-tiles // parts)
    if sums > FAR_BYTES:
        block = even(part, SUM_TILES, rows)
    else:
        size = max(BLOCK_BYTES, min(sums // bands, SUM_BLOCK_BYTES))
        block = even(part, max(least, min(most, size // (point * max(1, depth + columns // bands)))), rows)
    return block, bands, max(1, -(-tiles // max(1, part)))


def even(size: int, most: int, step: int) -> int:
    """The size of equal pieces of about ``most``, a multiple of ``step``.

    >>> even(100, 28, 8), even(30, 28, 8), even(5, 28, 8)
    (32, 32, 8)
    """
    pieces = max(1, round(size / most))
    return max(1, -(-size // (pieces * step))) * step


def row_bytes(channels: int, itemsize: int) -> int:
    """Bytes from tile to tile in V and M: whole vectors, and not a multiple of a page (see `plane_bytes`)."""
    return plane_bytes(-(-channels * itemsize // 64) * 64)


def plane_bytes(size: int) -> int:
    """``size`` or a cache line more.  Addresses a page apart share a few lines of the L1 cache.

    >>> plane_bytes(320), plane_bytes(8192)
    (320, 8256)
    """
    return size + 64 if size % 512 == 0 else size


def scratch_bytes(t: Tiling, itemsize: int, width: int) -> tuple[int, int]:
    """What a thread needs for V and for M (in the weight gradient for the transformed g) of a block."""
    v = t.points * plane_bytes(t.block * row_bytes(t.depth, itemsize))
    return v, t.points * plane_bytes(t.block * row_bytes(t.band * width, itemsize))


def workspace_bytes(pass_: str, conv: Conv, itemsize: int, threads: int = 2) -> int:
    """Scratch memory of a call: V and M of a block for each thread, and U, or the weight gradient's sums."""
    t = tiling(pass_, conv, itemsize)
    pairs = t.points * t.depth * -(-t.columns // WIDTH) * WIDTH * itemsize
    return threads * sum(scratch_bytes(t, itemsize, WIDTH)) + pairs * t.parts
