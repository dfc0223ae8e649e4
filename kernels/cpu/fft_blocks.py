"""Tiles of FFT convolution on their way in and out: arrays -> spectra of tiles -> arrays.

The idea: an axis of a tile is transformed by a product with a small matrix (`dft.py`).  Each sample of a tile is not a
number but a row of as many as a register tile has columns, those of neighbouring channels (and, where there are few,
of the next tiles); then a transform is what register tiles do best, a matrix times a *panel* of such rows.

The blocking: a thread has one such bundle of signals in hand.  It collects their samples, transforms one axis after
the other, to and fro between two buffers in its L2 cache, and delivers them.  Spectra lie frequency by frequency,
(freq, planes, tiles, channels), because what follows is a product for each frequency.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from ..threads import get_num_threads
from ..workspace import borrow
from . import dft
from .fft_tiles import Lines, buffers, counts, taps, up
from .finish import NOTHING, Finish, finish
from .pieces import LINE, Address, read, run, write_number
from .places import address
from .simd import address_of, clear_bytes, copy_bytes, keep, load, store
from .tiles import Tile, columns_times_panel
from .winograd_tiles import plane_bytes

ALL = slice(None)
FLOPS = 1e11  # multiply-adds in a second, roughly


class Samples(NamedTuple):
    """Where the samples of tiles lie in an array (N, *size, channels): count0 x count1 x count2 for each tile."""

    address: Address
    image_step: int  # bytes
    step0: int
    step1: int
    step2: int
    size0: int
    size1: int
    size2: int
    first0: int  # index of the first tile's first sample, which may lie in the padding
    first1: int
    first2: int
    hop0: int  # samples from tile to tile
    hop1: int
    hop2: int
    count0: int
    count1: int
    count2: int
    tiles1: int  # of an image
    tiles2: int
    image_tiles: int
    begin: int  # the first tile
    channels: int
    channel: int  # which of the whole array's the first of them is
    channel_step: int  # bytes; where samples are read channels lie side by side


class Spectra(NamedTuple):
    """Where (freq, planes, tile, channel) lie; the channels of a tile are a row."""

    address: Address
    plane_step: int  # bytes: from plane to plane, and from frequency to frequency
    tile_step: int
    row: int  # channels of a tile, and what fills them up
    columns: int  # of all tiles


class _Stage(NamedTuple):
    """One axis: see `dft.Step`."""

    matrix: Address  # (columns, rows); rows of it lie ``matrix_step`` bytes apart
    matrix_step: int
    lead: int
    columns: int
    rows: int
    kept: int  # rows that are results: where they are fewer than a register tile has, zeros follow
    rest: int
    in_step: int  # bytes from row to row
    out_step: int


class _Job(NamedTuple):
    stages: int
    buffers: Address  # (workers, two)
    first_bytes: int
    worker_bytes: int
    pieces: int
    workers: int


class Way(NamedTuple):
    """A transform, to or fro, where its matrices begin, and the numbers that a signal has in its two buffers."""

    steps: tuple[dft.Step, ...]
    places: tuple[int, ...]
    buffers: tuple[int, int]  # as large as any transform of the pass needs


class Matrices(NamedTuple):
    """All that a pass needs, in one array: those of its signal, of what that meets, and of its result."""

    memory: np.ndarray
    signal: Way
    other: Way
    result: Way


@lru_cache(maxsize=256)
def matrices(fft: dft.Sizes, signal: Lines, other: Lines, result: Lines, dtype: str, rows: int) -> Matrices:
    """The matrices, none with fewer than ``rows`` results."""
    found = (
        (dft.steps(fft, counts(signal)), dft.matrices(fft, taps(signal), dtype)),
        (dft.steps(fft, counts(other), dft.KERNEL_PARTS), dft.matrices(fft, taps(other), dtype, dft.KERNEL_PARTS)),
        (dft.inverse_steps(fft, counts(result)), dft.inverse_matrices(fft, taps(result), dtype)),
    )
    flat: list[np.ndarray] = []
    ways = []
    for steps, tables in found:
        tables = [np.pad(table, ((0, 0), (0, max(0, rows - table.shape[1])))) for table in tables]
        sizes = [0, *(table.size for table in (*flat, *tables))]
        ways.append(
            Way(tuple(steps), tuple(accumulate(sizes))[len(flat) : -1], buffers(fft, (signal, other, result), rows))
        )
        flat += tables
    return Matrices(np.concatenate([table.reshape(-1) for table in flat]), *ways)


def samples(
    a: np.ndarray, lines: Lines, tiles: dft.Sizes, hop: dft.Sizes, begin: int, channels: slice = ALL
) -> Samples:
    """Those of some channels of ``a`` (N, C, *size), channels-last, from tile number ``begin`` on."""
    a, channel = a[:, channels], channels.start or 0
    missing = 3 - (a.ndim - 2)
    steps, size = (0,) * missing + a.strides[2:], (1,) * missing + a.shape[2:]
    first = [line.first(0, h) for line, h in zip(lines, hop)]
    hops = [h // line.step for line, h in zip(lines, hop)]
    return Samples(
        address(a), a.strides[0], *steps, *size, *first, *hops, *counts(lines), *tiles[1:], tiles[0] * tiles[1] *
        tiles[2], begin, a.shape[1], channel, a.itemsize,
    )  # fmt: skip


def images(
    place: int, image_step: int, steps: Sequence[int], size: Sequence[int], channels: int, channel_step: int
) -> Samples:
    """Where each image is one tile: bytes from sample to sample, and how many there are, on three axes."""
    return Samples(
        place, image_step, *steps, *size, 0, 0, 0, 0, 0, 0, *size, 1, 1, 1, 0, channels, 0, channel_step
    )  # fmt: skip


def transform(tile: Tile, way: Way, memory: np.ndarray, source: Samples, target: Spectra) -> None:
    """Spectra of the samples.  ``memory``: of the matrices."""
    width = tile.width * tile.itemsize
    gap = plane_bytes(way.steps[0].rest * width)
    in_steps = [gap, *(step.rest * width for step in way.steps[1:])]
    out_steps = [*(step.rest * width for step in way.steps[:-1]), target.plane_step]
    _run(_transform_piece, tile, way, memory, source, target, in_steps, out_steps)


def inverse(tile: Tile, way: Way, memory: np.ndarray, source: Spectra, target: Samples, last: Finish = NOTHING) -> None:
    """Samples of the spectra, delivered to their places; ``last``: what is done with them there."""
    width = tile.width * tile.itemsize
    out_steps = [step.rest * width for step in way.steps]
    in_steps = [source.plane_step, *out_steps[1:]]
    _run(_inverse_piece, tile, way, memory, target, source, in_steps, out_steps, last)


def _run(
    function: Any, tile: Tile, way: Way, memory: np.ndarray, samples: Samples, spectra: Spectra,
    in_steps: Sequence[int], out_steps: Sequence[int], last: Finish = NOTHING,
) -> None:  # fmt: skip
    item = tile.itemsize
    stages = [
        _Stage(
            address(memory) + at * item, max(step.rows, tile.rows) * item, step.lead, step.columns,
            max(step.rows, tile.rows), step.rows, step.rest, before, after,
        )
        for step, at, before, after in zip(way.steps, way.places, in_steps, out_steps)
    ]  # fmt: skip
    pieces = -(-spectra.columns // tile.width)
    workers = min(pieces, get_num_threads())
    first, second = (up(n * tile.width * item, LINE) for n in way.buffers)
    block = borrow("fft tiles", (get_num_threads(), first + second), np.dtype(np.uint8))  # for all transforms alike
    job = _Job(len(stages), address(block), first, first + second, pieces, workers)
    seconds = pieces * tile.width * sum(step.products for step in way.steps) / FLOPS
    run(function, tile, (samples, spectra, job, last, *stages), workers, seconds)


@native
def _transform_piece(tile: Any, arguments: int, worker: int) -> None:
    s = read(Samples, arguments)
    z = read(Spectra, arguments + 8 * len(s))
    job = read(_Job, arguments + 8 * (len(s) + len(z)))
    last = read(Finish, arguments + 8 * (len(s) + len(z) + len(job)))
    stages = arguments + 8 * (len(s) + len(z) + len(job) + len(last))
    one = read(_Stage, stages)
    buffer = job.buffers + worker * job.worker_bytes
    table = np.empty(_longest(stages, job.stages), np.int64)
    for piece in range(worker, job.pieces, job.workers):
        first = piece * tile.width
        _collect(tile, s, z, first, buffer, one.in_step)
        source, target = buffer, buffer + job.first_bytes
        for i in range(job.stages):
            stage = read(_Stage, stages + 8 * i * len(one))
            if i == job.stages - 1:
                target = z.address + first // z.row * z.tile_step + first % z.row * tile.itemsize
            _apply(tile, stage, source, target, address_of(table))
            source, target = target, source
    keep((table,))


@native
def _inverse_piece(tile: Any, arguments: int, worker: int) -> None:
    s = read(Samples, arguments)
    z = read(Spectra, arguments + 8 * len(s))
    job = read(_Job, arguments + 8 * (len(s) + len(z)))
    last = read(Finish, arguments + 8 * (len(s) + len(z) + len(job)))
    stages = arguments + 8 * (len(s) + len(z) + len(job) + len(last))
    table = np.empty(_longest(stages, job.stages), np.int64)
    for piece in range(worker, job.pieces, job.workers):
        first = piece * tile.width
        found = _restore(tile, z, job, stages, first, job.buffers + worker * job.worker_bytes, address_of(table))
        _deliver(tile, s, z, first, found, last)
    keep((table,))


@native
def _longest(stages: int, count: int) -> int:
    """Columns of the largest matrix."""
    most = 0
    for i in range(count):
        stage = read(_Stage, stages)
        most = max(most, read(_Stage, stages + 8 * i * len(stage)).columns)
    return most


@native
def _restore(tile: Any, z: Any, job: Any, stages: int, first: int, buffer: int, table: int) -> int:
    """Where samples (count2, count0, count1, width) of the columns from ``first`` on are after the inverse."""
    source = z.address + first // z.row * z.tile_step + first % z.row * tile.itemsize
    target, other = buffer + job.first_bytes, buffer
    for i in range(job.stages):
        stage = read(_Stage, stages)
        _apply(tile, read(_Stage, stages + 8 * i * len(stage)), source, target, table)
        source, target, other = target, other, target
    return source


@native
def _apply(tile: Any, stage: Any, source: int, target: int, table: int) -> None:
    """(lead, columns, rest) -> (lead, rows, rest), each element a row of the tile's width."""
    width = tile.width * tile.itemsize
    for i in range(stage.columns):
        write_number(table, i, stage.matrix + i * stage.matrix_step)
    for lead in range(stage.lead):
        for rest in range(stage.rest):
            panel = source + lead * stage.columns * stage.in_step + rest * width
            to = target + lead * stage.kept * stage.out_step + rest * width
            done = 0
            while done < stage.rows:
                row = min(done, stage.rows - tile.rows)  # the last ones overlap
                columns_times_panel(
                    tile, table, stage.columns, row * tile.itemsize, panel, stage.in_step, to + row * stage.out_step,
                    stage.out_step, 0,
                )  # fmt: skip
                done += tile.rows


@native
def _place(s: Any, t: int) -> tuple[int, int, int, int]:
    """Tile's image, and the indices of its first sample."""
    t += s.begin
    n, i = t // s.image_tiles, t % s.image_tiles
    i0, i1, i2 = i // (s.tiles1 * s.tiles2), i // s.tiles2 % s.tiles1, i % s.tiles2
    return n, s.first0 + i0 * s.hop0, s.first1 + i1 * s.hop1, s.first2 + i2 * s.hop2


@native
def _within(first: int, count: int, size: int) -> tuple[int, int]:
    """Which of the samples first, first + 1, ... lie in an array of so many."""
    return min(count, max(0, -first)), max(0, min(count, size - first))


@native
def _collect(tile: Any, s: Any, z: Any, first: int, buffer: int, step2: int) -> None:
    """Samples (count2, count0, count1, width) of the columns from ``first`` on; zeros where the array has none."""
    item = tile.itemsize
    width = tile.width * item
    done = 0
    while done < tile.width and first + done < z.columns:
        t, c = (first + done) // z.row, (first + done) % z.row
        run = min(z.row - c, tile.width - done)
        real = min(run, s.channels - c)
        n, o0, o1, o2 = _place(s, t)
        a0, b0 = _within(o0, s.count0, s.size0)
        a1, b1 = _within(o1, s.count1, s.size1)
        a2, b2 = _within(o2, s.count2, s.size2)
        whole = b0 - a0 == s.count0 and b1 - a1 == s.count1 and b2 - a2 == s.count2 and real == tile.width
        if done == 0 and not whole:
            clear_bytes(buffer, s.count2 * step2)
        origin = s.address + n * s.image_step + c * item
        for j0 in range(a0, b0):
            for j1 in range(a1, b1):
                source = origin + (o0 + j0) * s.step0 + (o1 + j1) * s.step1 + (o2 + a2) * s.step2
                to = buffer + (j0 * s.count1 + j1) * width + done * item + a2 * step2
                for _ in range(a2, b2):
                    if real == tile.width:
                        for v in range(0, width, tile.lanes * item):
                            store(to + v, load(tile, source + v))
                    elif real > 0:
                        copy_bytes(to, source, real * item)
                    source, to = source + s.step2, to + step2
        done += run


@native
def _deliver(tile: Any, s: Any, z: Any, first: int, found: int, last: Any) -> None:
    """Samples (count2, count0, count1, width) of one tile's channels to their places in an array."""
    item = tile.itemsize
    width = tile.width * item
    t, c = first // z.row, first % z.row
    real = min(tile.width, s.channels - c)
    n, o0, o1, o2 = _place(s, t)
    a0, b0 = _within(o0, s.count0, s.size0)
    a1, b1 = _within(o1, s.count1, s.size1)
    a2, b2 = _within(o2, s.count2, s.size2)
    origin = s.address + n * s.image_step + c * s.channel_step
    if s.channel_step != item:
        _deliver_apart(tile, s, origin, found, real)
        return
    for j0 in range(a0, b0):
        for j1 in range(a1, b1):
            to = origin + (o0 + j0) * s.step0 + (o1 + j1) * s.step1 + (o2 + a2) * s.step2
            source = found + ((a2 * s.count0 + j0) * s.count1 + j1) * width
            for _ in range(a2, b2):
                if real == tile.width:
                    for v in range(0, width, tile.lanes * item):
                        store(to + v, load(tile, source + v))
                else:
                    copy_bytes(to, source, real * item)
                if last.scale != 0:
                    finish(tile, last, to, s.channel + c, real)
                source, to = source + s.count0 * s.count1 * width, to + s.step2


@native
def _deliver_apart(tile: Any, s: Any, origin: int, found: int, real: int) -> None:
    """The same for `images` whose channels lie far apart, as filters do: one after the other, not tap after tap.

    The same tap of filters often lies a multiple of a page apart, where the L1 cache has room for a few.
    """
    width = tile.width * tile.itemsize
    for i in range(real):
        for j0 in range(s.count0):
            for j1 in range(s.count1):
                to = origin + i * s.channel_step + j0 * s.step0 + j1 * s.step1
                source = found + (j0 * s.count1 + j1) * width + i * tile.itemsize
                for _ in range(s.count2):
                    store(to, load(tile.one, source))
                    source, to = source + s.count0 * s.count1 * width, to + s.step2
