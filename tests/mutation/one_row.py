"""Bugs of the product of one row: which row is summed where, and where a piece ends."""

from __future__ import annotations

from functools import partial

from tests.checks import one_row as checks

from .framework import Mutant

_PIECE = "minidl.kernels.cpu.one_row:_rows_piece"
_TIMES = "minidl.kernels.cpu.one_row:times_rows"
CHECKS = tuple(partial(checks.check_one_row, dtype) for dtype in ("float32", "float64"))

MUTANTS = (
    Mutant("row_third_sum_of_the_second", _PIECE, CHECKS, "two of four rows are one",
           "place + 2 * pitch", "place + pitch"),
    Mutant("row_sums_exchanged", _PIECE, CHECKS, "the fourth sum lands in the third place",
           "= sum0, sum1, sum2, sum3", "= sum0, sum1, sum3, sum2"),
    Mutant("row_rest_is_left_out", _PIECE, CHECKS, "rows that make no four are forgotten",
           "while n < stop:", "while n < stop - 1:"),
    Mutant("row_piece_ends_early", _PIECE, CHECKS, "leaves out the last row of each piece",
           "min((piece + 1) * p.block, p.count)", "min((piece + 1) * p.block - 1, p.count)"),
    Mutant("row_last_element_is_left_out", _PIECE, CHECKS, "the sums of four rows end early",
           "range(len(x)):\n            sum0", "range(len(x) - 1):\n            sum0"),
    Mutant("row_pieces_too_few", _TIMES, CHECKS, "what fills no piece is not computed",
           "-(-count // block)", "max(1, count // block)"),
)  # fmt: skip
