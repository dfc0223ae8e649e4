"""Winograd convolution on channels-last storage: 3 x 3 and 5 x 5 kernels, stride 1, with fewer multiplications.

The idea (``spec/winograd.py`` derives it and returns every intermediate): from a tile d of 6 x 6 positions of x, the
4 x 4 results that lie in it are

    y = A^T [ sum over channels c of  (G g_c G^T) * (B^T d_c B) ] A              * elementwise

with constant matrices A, B, G.  That is 36 products per channel, where the definition has 16 x 9 = 144.  (Of 5 x 5
kernels there are 2 x 2 results in such a tile, 36 products for 100.  With dilation d a tile has every d-th position.)
Call the transformed filters U, tiles V and sums M.  For each of the 36 points, over all tiles t,

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

Blocks and parts depend on the problem's sizes only, each result is summed by one thread, and parts are added in their
order: the number of threads, for which the weight gradient may have more bands, does not change a bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..geometry import Conv
from ..jit import native
from ..threads import get_num_threads
from .elements import last_and_dense
from .finish import Finish, finishing
from .pieces import Address, read, run
from .places import address
from .products import FLOPS, may_stream
from .relayout import as_last, deliver, result
from .replay import replayed
from .simd import address_of, finish_streams, keep
from .tiles import rows_tile, rows_times_panel
from .winograd_blocks import Block, Image, addresses, deliver_tiles, image, scratch, transform_tiles
from .winograd_filters import Filters, filter_steps, transformed
from .winograd_tiles import tiling
from .winograd_transforms import Scheme
from .winograd_weight_grad import weight_grad

__all__ = ["forward", "forward_then", "input_grad", "weight_grad"]

Array = np.ndarray


def forward(x: Array, w: Array, conv: Conv, out: Array | None = None) -> Array:
    """y (N, K, *out), channels-last where no ``out`` is given."""
    return _correlate(x, w, _Problem("forward", conv), out)


def forward_then(
    x: Array, w: Array, conv: Conv, scale: Array | None, shift: Array | None, added: Array | None, ceiling: float | None
) -> Any:
    """``cut(forward(x, w) * scale + shift + added)``: see `finish`.  NotImplemented for several groups."""
    if conv.groups > 1:
        return NotImplemented
    p = _Problem("forward", conv, ceiling)
    return _correlate_group(x, _filters(w, p).memory, scale, shift, added, p)


def input_grad(w: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dx (N, C, *size), channels-last where no ``out`` is given."""
    return _correlate(g, w, _Problem("input_grad", conv), out)


# y = x correlated with w -------------------------------------------------------------------------------


class _Problem(NamedTuple):
    """A pass, forward or input_grad; x and y are the arrays that it reads and writes, whatever they are called."""

    pass_: str
    conv: Conv
    ceiling: float | None = None  # of the ReLU that ends it

    @property
    def shape(self) -> tuple[int, ...]:
        """Of y."""
        return self.conv.y_shape if self.pass_ == "forward" else self.conv.x_shape

    @property
    def columns(self) -> int:
        """Channels of a group of y."""
        return self.shape[1] // self.conv.groups

    @property
    def low(self) -> list[int]:
        """y[p] = sum over taps t of x[p + t d - low] times w[t], or, for the input gradient, w[r - 1 - t]."""
        return [axis.pad[0] if self.pass_ == "forward" else axis.extent - 1 - axis.pad[0] for axis in self.conv.axes]


class _Job(NamedTuple):
    """How a correlation is cut, and where U is."""

    u: Address
    panel_step: int
    point_step: int
    depth: int
    columns: int
    stream: int  # not 0: results go past the caches
    tiles: int
    block: int
    band: int
    bands: int
    pieces: int
    workers: int


def _correlate(x: Array, w: Array, p: _Problem, out: Array | None) -> Array:
    """The groups one after the other: x and y by their channels, w (K, C/G, r, r) by its filters."""
    groups = p.conv.groups
    if groups == 1 and x.size and w.size:
        return _correlate_group(x, _filters(w, p).memory, None, None, None, p, out)
    y = result(p.shape, x.dtype, out)
    if not x.size:
        y[...] = 0
    elif y.size:
        x, alone = as_last(x, "x"), _Problem(p.pass_, p.conv.one_group)
        for x_group, w_group, y_group in zip(np.split(x, groups, 1), np.split(w, groups), np.split(y, groups, 1)):
            _correlate_group(x_group, _filters(w_group, alone).memory, None, None, None, alone, y_group)
    return deliver(y, out)


def _filters(w: Array, p: _Problem) -> Filters:
    return transformed(w, _scheme(w.dtype.name, p, w.itemsize), gradient=p.pass_ == "input_grad")


def _scheme(dtype: str, p: _Problem, itemsize: int) -> Scheme:
    tile = rows_tile(dtype).fit(p.columns)
    t = tiling(p.pass_, p.conv, itemsize, tile.rows, tile.width)
    return Scheme(tile, t.m, t.r)


@replayed(operands=5)
def _correlate_group(
    x: Array,
    u: Array,
    scale: Array | None,
    shift: Array | None,
    added: Array | None,
    p: _Problem,
    out: Array | None = None,
) -> Array:
    """y of one group, with the transformed filters ``u``."""
    y = result(p.shape, x.dtype, out)
    x, scheme = as_last(x, "x"), _scheme(x.dtype.name, p, x.itemsize)
    t = tiling(p.pass_, p.conv, x.itemsize, scheme.tile.rows, scheme.tile.width)
    pieces = t.blocks * t.bands
    workers = min(pieces, get_num_threads())
    steps = filter_steps(t.depth, scheme)
    source, target = image(x, t, *(-before for before in p.low)), image(y, t)
    added = None if added is None else last_and_dense(added, "added")
    last = finishing(y, scale, shift, added, p.ceiling)
    stream = not last.scale and may_stream(y.nbytes, scheme.tile, (target.address, *y.strides[:1], *y.strides[2:]))
    job = _Job(address(u), *steps, t.depth, t.columns, int(stream), t.tiles, t.block, t.band, t.bands, pieces, workers)
    seconds = t.points * t.tiles * t.depth * t.columns / FLOPS
    run(_correlate_piece, scheme, (source, target, scratch(t, scheme, workers), job, last), workers, seconds)
    return deliver(y, out)


@native
def _correlate_piece(scheme: Any, arguments: int, worker: int) -> None:
    x = read(Image, arguments)
    y = read(Image, arguments + 8 * len(x))
    block = read(Block, arguments + 8 * (len(x) + len(y)))
    job = read(_Job, arguments + 8 * (len(x) + len(y) + len(block)))
    last = read(Finish, arguments + 8 * (len(x) + len(y) + len(block) + len(job)))
    v = block.scratch + worker * block.worker_bytes
    m = v + block.m
    v_rows, m_rows = addresses(v, block.v_row, job.block), addresses(m, block.m_row, job.block)
    width, rows = scheme.tile.width, scheme.tile.rows
    panels = -(-job.columns // width)
    for piece in range(worker, job.pieces, job.workers):
        first, panel = piece // job.bands * job.block, piece % job.bands * job.band
        count, stop = min(job.block, job.tiles - first), min(panel + job.band, panels)
        begin = panel * width  # column
        transform_tiles(scheme.input, x, first, count, 0, job.depth, v, block.v_row, block.v_plane, job.depth, 0)
        for point in range(scheme.points):
            for p in range(panel, stop):
                u = job.u + p * job.panel_step + point * job.point_step
                shift = point * block.m_plane + (p - panel) * width * scheme.itemsize
                for t in range(0, count, rows):
                    rows_times_panel(
                        scheme.tile, address_of(v_rows) + 8 * t, 1, point * block.v_plane, job.depth, u,
                        address_of(m_rows) + 8 * t, shift, 0, 0,
                    )  # fmt: skip
        columns = min(job.columns, stop * width) - begin
        deliver_tiles(scheme, y, first, count, begin, columns, m, block.m_row, block.m_plane, last, job.stream)
    if job.stream:
        finish_streams()
    keep((v_rows, m_rows))
