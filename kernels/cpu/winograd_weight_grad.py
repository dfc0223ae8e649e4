"""The weight gradient by Winograd: dw = A^T [ sum over tiles of (G g G^T) * (B^T d B) ] A, F(r, m) of each tile.

Per tile of m x m output gradients, the r x r taps are a correlation of (m + r - 1)^2 inputs with them: V is that of
the forward pass, and U is made of g.  The sum over tiles is taken before the last transform, so that is done once:

    M[point][c, k] = sum over tiles t of V[point][t, c] * U[point][t, k]

Where the sums leave the L2 cache from block to block, those of the next register tile are fetched while one is summed.
For how it is cut into pieces see `winograd.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..geometry import Conv
from ..jit import native
from ..threads import get_num_threads
from ..workspace import borrow
from .pieces import LINE, Address, read, run
from .places import address
from .products import FLOPS
from .relayout import as_last
from .replay import replayed
from .simd import address_of, keep, load, prefetch, store, transpose
from .tiles import columns_tile, columns_times_panel
from .winograd_blocks import Block, Image, addresses, image, scratch, transform_tiles
from .winograd_tiles import plane_bytes, tiling
from .winograd_transforms import Scheme, sandwich

Array = np.ndarray
NEAR_SUMS = 1 << 20  # bytes that stay in the L2 cache from block to block


class _Job(NamedTuple):
    """How the sum is cut, and where it is: (parts, panels, points, depth, width)."""

    sums: Address
    part_step: int  # bytes
    panel_step: int
    point_step: int
    depth: int
    columns: int
    ahead: int  # bytes of the next sums that are fetched meanwhile; 0 where they stay near
    tiles: int
    block: int
    band: int
    bands: int
    parts: int
    part_tiles: int
    pieces: int
    workers: int


class _Target(NamedTuple):
    """dw (K, C, r, r): each filter's elements side by side."""

    address: Address
    filter_step: int  # bytes


@replayed
def weight_grad(x: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dw (K, C/G, r, r) of x (N, C, H, W) and the output gradient g (N, K, P, Q)."""
    dw = out if out is not None and out.flags.c_contiguous else np.empty(conv.w_shape, x.dtype)
    if 0 in g.shape or 0 in dw.shape:
        dw[...] = 0
    else:
        _sum_products(as_last(x, "x"), as_last(g, "g"), dw, conv)
    if out is not None and out is not dw:
        out[...] = dw
        return out
    return dw


def _sum_products(x: Array, g: Array, dw: Array, conv: Conv) -> None:
    tile = columns_tile(x.dtype.name).fit(conv.out_channels // conv.groups)
    low = [before for before, _ in conv.padding]
    t = tiling("weight_grad", conv, x.itemsize, tile.rows, tile.width, get_num_threads())
    scheme = Scheme(tile, t.m, t.r)
    point_step = plane_bytes(-(-t.depth // tile.rows) * tile.rows * tile.width * x.itemsize)
    panels = -(-t.columns // tile.width)
    part_step = panels * t.points * point_step
    sums = borrow("winograd U", (t.parts * part_step,), np.dtype(np.uint8))
    workers = min(t.parts * t.bands, get_num_threads())
    block = scratch(t, scheme, workers)
    part_tiles = -(-t.tiles // t.parts)
    ahead = tile.rows * tile.width * x.itemsize if t.points * t.band * point_step > NEAR_SUMS else 0
    job = _Job(
        address(sums), part_step, t.points * point_step, point_step, t.depth, t.columns, ahead, t.tiles, t.block,
        t.band, t.bands, t.parts, part_tiles, t.parts * t.bands, workers,
    )  # fmt: skip
    groups = conv.groups
    for x_group, g_group, dw_group in zip(np.split(x, groups, 1), np.split(g, groups, 1), np.split(dw, groups)):
        source, cotangent = image(x_group, t, -low[0], -low[1]), image(g_group, t)
        seconds = t.points * t.tiles * t.depth * t.columns / FLOPS
        run(_sum_piece, scheme, (source, cotangent, block, job), workers, seconds)
        target = _Target(address(dw_group), dw_group.strides[0])
        chunks = panels * -(-t.depth // tile.lanes)
        run(_deliver_piece, scheme, (job, target), chunks, dw_group.size * t.parts * 1e-9)


@native
def _sum_piece(scheme: Any, arguments: int, worker: int) -> None:
    x = read(Image, arguments)
    g = read(Image, arguments + 8 * len(x))
    block = read(Block, arguments + 8 * (len(x) + len(g)))
    job = read(_Job, arguments + 8 * (len(x) + len(g) + len(block)))
    tile = scheme.tile
    width = tile.width * scheme.itemsize
    v = block.scratch + worker * block.worker_bytes
    u, u_panel, u_plane = v + block.m, job.block * width, block.m_plane
    v_rows = addresses(v, block.v_row, job.block)
    panels = -(-job.columns // tile.width)
    for piece in range(worker, job.pieces, job.workers):
        begin, panel = piece // job.bands * job.part_tiles, piece % job.bands * job.band
        end, stop = min(begin + job.part_tiles, job.tiles), min(panel + job.band, panels)
        sums = job.sums + piece // job.bands * job.part_step
        k = panel * tile.width
        columns = min(job.columns, stop * tile.width) - k
        for first in range(begin, end, job.block):
            count = min(job.block, end - first)
            transform_tiles(scheme.input, x, first, count, 0, job.depth, v, block.v_row, block.v_plane, job.depth, 0)
            transform_tiles(scheme.cotangent, g, first, count, k, columns, u, width, u_plane, tile.width, u_panel)
            for point in range(scheme.points):
                for p in range(panel, stop):
                    for c in range(0, job.depth, tile.rows):
                        to = sums + p * job.panel_step + point * job.point_step + c * width
                        for i in range(job.ahead, 2 * job.ahead, LINE):
                            prefetch(to + i)
                        columns_times_panel(
                            tile, address_of(v_rows), count, point * block.v_plane + c * scheme.itemsize,
                            u + point * u_plane + (p - panel) * u_panel, width, to, width, first - begin,
                        )  # fmt: skip
    keep((v_rows,))


@native
def _deliver_piece(scheme: Any, arguments: int, piece: int) -> None:
    """Some channels of one panel: add the parts, transform, and put filters where taps were side by side."""
    job = read(_Job, arguments)
    dw = read(_Target, arguments + 8 * len(job))
    lanes, item, width = scheme.lanes, scheme.itemsize, scheme.tile.width
    chunks = -(-job.depth // lanes.lanes)
    p, begin = piece // chunks, piece % chunks * lanes.lanes
    sums = job.sums + p * job.panel_step
    channels, columns = min(lanes.lanes, job.depth - begin), min(width, job.columns - p * width)
    row, channel = width * item, scheme.taps * width * item
    elements, taps = channels * scheme.taps, np.empty(lanes.lanes * channel, np.uint8)  # (channel, tap, column)
    for c in range(channels):
        for k in range(0, row, lanes.lanes * item):
            at = sums + (begin + c) * row + k
            for point in range(scheme.points if job.parts > 1 else 0):
                place = at + point * job.point_step
                total = load(lanes, place)
                for part in range(1, job.parts):
                    total = total + load(lanes, place + part * job.part_step)
                store(place, total)
            to = address_of(taps) + c * channel + k
            sandwich(scheme.weights, to, scheme.r * row, row, at, scheme.n * job.point_step, job.point_step)
    target = dw.address + p * width * dw.filter_step + begin * scheme.taps * item
    whole_rows, whole_columns = elements // lanes.lanes * lanes.lanes, columns // lanes.lanes * lanes.lanes
    for i in range(0, whole_rows, lanes.lanes):
        for k in range(0, whole_columns, lanes.lanes):
            source = address_of(taps) + i * row + k * item
            transpose(lanes, target + k * dw.filter_step + i * item, dw.filter_step, source, row)
    for k in range(columns):
        for i in range(whole_rows if k < whole_columns else 0, elements):
            store(target + k * dw.filter_step + i * item, load(lanes.one, address_of(taps) + i * row + k * item))
    keep((taps,))
