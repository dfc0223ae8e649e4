"""Sums of products of spectra, frequency by frequency: what FFT convolution does between its transforms.

They are products of complex matrices, which register tiles compute as products of real ones (`tiles.py`).  With (re,
im) of a tile's channels as two taps, a x conj(b) needs

    re: (X.re, X.im) times (B.re, B.im)        im: (X.re, X.im) times (-B.im, B.re)

so the second operand is kept as three planes, -im, re, im: two neighbours of them are what one of the sums needs.
Where each channel meets one filter only (depthwise) there is nothing to sum, and channels are multiplied in vectors.

The blocking, from the outside: a frequency, some tiles, a panel of columns, the two parts, a register tile.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from ..threads import get_num_threads
from .fft_blocks import FLOPS, Spectra
from .fft_tiles import up
from .pieces import Address, read, run, write_number
from .simd import address_of, keep, load, store, zero
from .tiles import Tile, columns_times_panel, rows_times_panel

CHUNK_TILES = 96  # of a product, about: their spectra stay in the L2 cache


class _Product(NamedTuple):
    """The sums of a block, frequency by frequency."""

    x: Address
    x_plane: int  # bytes
    x_tile: int
    w: Address
    w_plane: int
    w_panel: int
    sums: Address
    sums_plane: int
    sums_tile: int
    depth: int
    panels: int
    tiles: int
    chunk: int  # tiles of a piece
    chunks: int
    accumulate: int
    pieces: int
    workers: int


def sum_over_channels(
    tile: Tile, X: Spectra, W: Spectra, sums: Spectra, freqs: int, tiles: int, depth: int, alone: bool, accumulate: bool
) -> None:
    """sums (freq, planes, tile, column) = or += X conj(W), summed over ``depth`` channels; ``alone``: over none."""
    panels = sums.row // tile.width
    chunks = -(-tiles // CHUNK_TILES)
    chunk = up(-(-tiles // chunks), tile.rows)
    chunks = -(-tiles // chunk)
    pieces = freqs * chunks
    workers = min(pieces, get_num_threads())
    job = _Product(
        X.address, X.plane_step, X.tile_step, W.address, W.plane_step, W.tile_step, sums.address, sums.plane_step,
        sums.tile_step, depth, panels, tiles, chunk, chunks, int(accumulate), pieces, workers,
    )  # fmt: skip
    function = _scale_piece if alone else _product_piece
    run(function, tile, job, workers, 4 * freqs * tiles * sums.row * (1 if alone else depth) / FLOPS)


@native
def _product_piece(tile: Any, arguments: int, worker: int) -> None:
    p = read(_Product, arguments)
    rows, width = tile.rows, tile.width * tile.itemsize
    count = -(-p.tiles // rows) * rows
    table = np.empty(3 * count, np.int64)  # (register tile, plane, row), then results
    sources = address_of(table)
    results = sources + 16 * count
    for i in range(count):
        t = min(i, p.tiles - 1)  # what is left of the last register tile repeats the last row
        for plane in range(2):
            write_number(sources, (i // rows * 2 + plane) * rows + i % rows, p.x + plane * p.x_plane + t * p.x_tile)
        write_number(results, i, p.sums + t * p.sums_tile)
    for piece in range(worker, p.pieces, p.workers):
        f, first = piece // p.chunks, piece % p.chunks * p.chunk
        for panel in range(p.panels):
            for part in range(2):  # re, im
                w = p.w + panel * p.w_panel + (3 * f + 1 - part) * p.w_plane
                shift = (2 * f + part) * p.sums_plane + panel * width
                for i in range(first, min(first + p.chunk, p.tiles), rows):
                    rows_times_panel(
                        tile, sources + 16 * i, 2, 2 * f * p.x_plane, p.depth, w, results + 8 * i, shift, p.accumulate,
                        0,
                    )  # fmt: skip
    keep((table,))


@native
def _scale_piece(tile: Any, arguments: int, worker: int) -> None:
    """Where channels do not meet: a filter for each."""
    p = read(_Product, arguments)
    vector, width = tile.lanes * tile.itemsize, tile.width * tile.itemsize
    for piece in range(worker, p.pieces, p.workers):
        f, first = piece // p.chunks, piece % p.chunks * p.chunk
        for c in range(0, p.panels * width, vector):
            w = p.w + c // width * p.w_panel + (3 * f + 1) * p.w_plane + c % width
            re, im = load(tile, w), load(tile, w + p.w_plane)
            for t in range(first, min(first + p.chunk, p.tiles)):
                x = p.x + 2 * f * p.x_plane + t * p.x_tile + c
                a, b = load(tile, x), load(tile, x + p.x_plane)
                to = p.sums + 2 * f * p.sums_plane + t * p.sums_tile + c
                store(to, a * re + b * im)
                store(to + p.sums_plane, b * re - a * im)


class _Sum(NamedTuple):
    """Sums over the tiles of a block, frequency by frequency."""

    x: Address
    x_plane: int  # bytes
    x_tile: int
    y: Address
    y_plane: int
    y_tile: int
    sums: Address
    sums_plane: int
    sums_row: int
    depth: int
    panels: int
    tiles: int
    accumulate: int
    pieces: int
    workers: int


def sum_over_tiles(
    tile: Tile, X: Spectra, Y: Spectra, sums: Spectra, freqs: int, tiles: int, depth: int, alone: bool, accumulate: bool
) -> None:
    """sums (freq, planes, channel, column) = or += X conj(Y), summed over the tiles; ``alone``: one channel each."""
    panels = sums.row // tile.width
    pieces = freqs * panels
    workers = min(pieces, get_num_threads())
    job = _Sum(
        X.address, X.plane_step, X.tile_step, Y.address, Y.plane_step, Y.tile_step, sums.address, sums.plane_step,
        sums.tile_step, depth, panels, tiles, int(accumulate), pieces, workers,
    )  # fmt: skip
    function = _sum_scaled_piece if alone else _sum_piece
    run(function, tile, job, workers, 4 * freqs * tiles * sums.row * (1 if alone else depth) / FLOPS)


@native
def _sum_piece(tile: Any, arguments: int, worker: int) -> None:
    p = read(_Sum, arguments)
    width = tile.width * tile.itemsize
    table = np.empty(2 * p.tiles, np.int64)
    rows = address_of(table)
    for plane in range(2):
        for t in range(p.tiles):
            write_number(rows, plane * p.tiles + t, p.x + plane * p.x_plane + t * p.x_tile)
    for piece in range(worker, p.pieces, p.workers):
        f, panel = piece // p.panels, piece % p.panels
        for part in range(2):  # re, im
            y = p.y + (3 * f + 1 - part) * p.y_plane + panel * width
            to = p.sums + (2 * f + part) * p.sums_plane + panel * width
            for c in range(0, p.depth, tile.rows):
                columns_times_panel(
                    tile, rows, 2 * p.tiles, 2 * f * p.x_plane + c * tile.itemsize, y, p.y_tile, to + c * p.sums_row,
                    p.sums_row, p.accumulate,
                )  # fmt: skip
    keep((table,))


@native
def _sum_scaled_piece(tile: Any, arguments: int, worker: int) -> None:
    """Where channels do not meet: a sum for each."""
    p = read(_Sum, arguments)
    vector, width = tile.lanes * tile.itemsize, tile.width * tile.itemsize
    for piece in range(worker, p.pieces, p.workers):
        f, panel = piece // p.panels, piece % p.panels
        for c in range(panel * width, (panel + 1) * width, vector):
            to = p.sums + 2 * f * p.sums_plane + c
            re, im = zero(tile), zero(tile)
            if p.accumulate:
                re, im = load(tile, to), load(tile, to + p.sums_plane)
            for t in range(p.tiles):
                x, y = p.x + 2 * f * p.x_plane + t * p.x_tile + c, p.y + (3 * f + 1) * p.y_plane + t * p.y_tile + c
                a, b = load(tile, x), load(tile, x + p.x_plane)
                u, v = load(tile, y), load(tile, y + p.y_plane)
                re, im = re + (a * u + b * v), im + (b * u - a * v)
            store(to, re)
            store(to + p.sums_plane, im)
