"""Winograd convolution on channels-last storage: 3 x 3 kernels, stride 1, with a quarter of the multiplications.

The idea (``spec/winograd.py`` derives it and returns every intermediate): from a tile d of 6 x 6 positions of x, the
4 x 4 results that lie in it are

    y = A^T [ sum over channels c of  (G g_c G^T) * (B^T d_c B) ] A              * elementwise

with constant matrices A, B, G.  That is 36 products per channel, where the definition has 16 x 9 = 144.  Call the
transformed filters U, tiles V and sums M.  For each of the 36 points, over all tiles t,

    M[point][t, k] = sum over c of V[point][t, c] * U[point][c, k]

is a matrix product, which register tiles do at the speed of the machine (`tiles.py`).  The transforms are a few
additions per element of vectors of channels (`winograd_transforms.py`), U is kept while the weights stay the same
(`winograd_filters.py`).  The other passes:

* input_grad is the forward pass of g with the filters flipped and their channels exchanged.
* weight_grad: per tile, G' g G'^T of 4 x 4 positions of g takes the place of U; products are summed over the tiles
  of all images, and one last transform makes 3 x 3 taps of 36 sums.

The blocking, from the outside (`winograd_tiles.py` has the numbers):

    piece of work    some tiles (a *block*; in the weight gradient a *part*: some blocks), some panels of columns (a
                     *band*); one thread, with V and M of one block, which stay in the L2 cache
      point          36 small matrix products, one after the other
        panel        of U, in the L1 cache
          tile       of registers

Pieces depend on the problem's sizes only, each result is summed by one thread, and parts are added in their order:
the number of threads does not change a bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..geometry import Conv
from ..jit import njit
from ..threads import get_num_threads
from .pieces import Address, read, run
from .products import FLOPS
from .relayout import as_last, deliver, result
from .simd import address_of, keep
from .tiles import rows_tile, rows_times_panel
from .windows import address
from .winograd_blocks import Block, Image, addresses, deliver_tiles, image, scratch, transform_tiles
from .winograd_filters import transformed
from .winograd_tiles import tiling
from .winograd_transforms import Scheme
from .winograd_weight_grad import weight_grad

__all__ = ["forward", "input_grad", "weight_grad"]

Array = np.ndarray


def forward(x: Array, w: Array, conv: Conv, out: Array | None = None) -> Array:
    """y (N, K, *out), channels-last where no ``out`` is given."""
    y = result(conv.y_shape, x.dtype, out)
    low = [before for before, _ in conv.padding]
    if y.size:
        _correlate("forward", as_last(x, "x"), w, y, low, conv)
    return deliver(y, out)


def input_grad(w: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dx (N, C, *size), channels-last where no ``out`` is given."""
    dx = result(conv.x_shape, g.dtype, out)
    low = [2 - before for before, _ in conv.padding]
    if 0 in g.shape:
        dx[...] = 0
    elif dx.size:
        _correlate("input_grad", as_last(g, "g"), w, dx, low, conv)
    return deliver(dx, out)


# y = x correlated with w -------------------------------------------------------------------------------


class _Job(NamedTuple):
    """How a correlation is cut, and where U is."""

    u: Address
    panel_step: int
    point_step: int
    depth: int
    columns: int
    tiles: int
    block: int
    band: int
    bands: int
    pieces: int
    workers: int


def _correlate(pass_: str, x: Array, w: Array, y: Array, low: list[int], conv: Conv) -> None:
    """y[p] = sum over taps t of x[p + t - low] times w[t], or, for the input gradient, w[2 - t] with exchanged axes."""
    tile = rows_tile(x.dtype.name)
    t = tiling(pass_, conv, x.itemsize, tile.rows, tile.width)
    scheme = Scheme(tile, t.m)
    pieces = t.blocks * t.bands
    workers = min(pieces, get_num_threads())
    block = scratch(t, scheme, workers)
    groups = conv.groups  # x and y by their channels, w (K, C/G, 3, 3) by its filters
    for x_group, w_group, y_group in zip(np.split(x, groups, 1), np.split(w, groups), np.split(y, groups, 1)):
        u = transformed(w_group, scheme, gradient=pass_ == "input_grad")
        job = _Job(
            address(u.memory), u.panel_step, u.point_step, t.depth, t.columns, t.tiles, t.block, t.band, t.bands,
            pieces, workers,
        )  # fmt: skip
        source, target = image(x_group, t, -low[0], -low[1]), image(y_group, t)
        seconds = t.points * t.tiles * t.depth * t.columns / FLOPS
        run(_correlate_piece, scheme, (source, target, block, job), workers, seconds)


@njit
def _correlate_piece(scheme: Any, arguments: int, worker: int) -> None:
    x = read(Image, arguments)
    y = read(Image, arguments + 8 * len(x))
    block = read(Block, arguments + 8 * (len(x) + len(y)))
    job = read(_Job, arguments + 8 * (len(x) + len(y) + len(block)))
    v = block.scratch + worker * block.worker_bytes
    m = v + block.m
    v_rows, m_rows = addresses(v, block.v_row, job.block), addresses(m, block.m_row, job.block)
    width, rows = scheme.tile.width, scheme.tile.rows
    panels = -(-job.columns // width)
    for piece in range(worker, job.pieces, job.workers):
        first, panel = piece // job.bands * job.block, piece % job.bands * job.band
        count, stop = min(job.block, job.tiles - first), min(panel + job.band, panels)
        begin = panel * width  # column
        transform_tiles(
            scheme.input, scheme.m, x, first, count, 0, job.depth, v, block.v_row, block.v_plane, job.depth, 0
        )
        for point in range(scheme.points):
            for p in range(panel, stop):
                u = job.u + p * job.panel_step + point * job.point_step
                shift = point * block.m_plane + (p - panel) * width * scheme.itemsize
                for t in range(0, count, rows):
                    rows_times_panel(
                        scheme.tile, address_of(v_rows) + 8 * t, 1, point * block.v_plane, job.depth, u,
                        address_of(m_rows) + 8 * t, shift, 0,
                    )  # fmt: skip
        columns = min(job.columns, stop * width) - begin
        deliver_tiles(scheme.output, scheme.m, y, first, count, begin, columns, m, block.m_row, block.m_plane)
    keep((v_rows, m_rows))
