"""Bugs of the product of few rows: which panel lies where, where a chunk ends, and what a part of a tile is.  None of
them reads or writes outside of its arrays: that could end the process.
"""

from __future__ import annotations

from functools import partial

from tests.checks import few_rows as checks

from .framework import Mutant

_PIECE = "minidl.kernels.cpu.few_rows:_slab_piece"
_COLUMN = "minidl.kernels.cpu.few_rows:_column"
_TIMES = "minidl.kernels.cpu.few_rows:rows_times"
CHECKS = tuple(partial(check, dtype) for check in checks.CHECKS for dtype in ("float32", "float64"))

MUTANTS = (
    Mutant("few_chunk_ends_early", _PIECE, CHECKS, "leaves out the last row of each whole chunk",
           "min(CHUNK, job.depth - k)", "min(CHUNK - 1, job.depth - k)"),
    Mutant("few_chunk_begins_anew", _PIECE, CHECKS, "forgets the sums of earlier chunks", "width, k,", "width, 0,"),
    Mutant("few_chunks_of_the_first_rows", _PIECE, CHECKS, "each chunk multiplies the first rows of b",
           "job.b + k * job.b_step\n", "job.b\n"),
    Mutant("few_tiles_exchange_their_rows", _PIECE, CHECKS, "all tiles have the rows of the first",
           "i * tile.rows * tile.itemsize", "0 * i"),
    Mutant("few_rows_of_one_tile_only", _PIECE, CHECKS, "delivers only the rows of the first tile",
           "for i in range(job.rows)", "for i in range(min(job.rows, tile.rows))"),
    Mutant("few_last_panel_is_left_out", _PIECE, CHECKS, "a slab's last panel is lost",
           "min((piece + 1) * SLAB, job.panels)", "min((piece + 1) * SLAB - 1, job.panels)"),
    Mutant("few_last_panel_hangs_over", _COLUMN, CHECKS, "the last panel begins too early",
           "job.columns - tile.width", "job.columns - tile.width - 1"),
    Mutant("few_rows_not_filled_up", _TIMES, CHECKS, "rows of a that make no tile are dropped",
           "turned[:, :m] = a.T", "turned[:, : m // tile.rows * tile.rows] = a.T[:, : m // tile.rows * tile.rows]"),
    Mutant("few_slabs_too_few", _TIMES, CHECKS, "what fills no slab is not computed",
           "-(-panels // SLAB)", "max(1, panels // SLAB)"),
)  # fmt: skip
