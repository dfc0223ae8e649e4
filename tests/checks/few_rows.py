"""What must be true of a product of few rows that reads a matrix row by row, where it lies.  Needs Numba."""

from __future__ import annotations

import numpy as np

from minidl.kernels import threads
from minidl.kernels.cpu import few_rows

from . import gemm

SHAPES = (
    (1, 1, 64), (2, 17, 65), (4, 33, 127), (7, 16, 100), (8, 40, 1030), (9, 31, 97), (13, 5, 65), (32, 50, 600),
    (40, 35, 77), (33, 1, 513),
)  # fmt: skip
"""(M, K, N): one chunk and a row more or less, several slabs, a last panel that lies over the one before."""


def any_shape(dtype: str = "float64") -> None:
    for shape in SHAPES:
        a, b = gemm.operands(*shape, dtype)
        y = few_rows.rows_times(a, b)
        assert y.shape == (shape[0], shape[2]) and y.dtype == dtype and y.flags.c_contiguous
        gemm.close(y, a, b, f"{dtype} product of (M, K, N) = {shape}, row by row")


def any_storage(dtype: str = "float64") -> None:
    """Rows of b that lie apart, or backwards, and a in any order; the operands stay as they are."""
    a, b = gemm.operands(11, 37, 145, dtype)
    apart = np.full((37, 200), np.nan, dtype)
    apart[:, 20:165] = b
    for how in gemm.STORES:
        for right in (b, apart[:, 20:165], b[::-1].copy()[::-1]):
            left = gemm.stored(a, how)
            gemm.close(few_rows.rows_times(left, right), a, b, f"{dtype} product of {how}, row by row")
            assert (left == a).all() and (right == b).all(), f"product of {how}, row by row, changes an operand"


def threads_do_not_change_a_bit(dtype: str = "float64") -> None:
    a, b = gemm.operands(19, 333, 1700, dtype)
    before, want = threads.get_num_threads(), few_rows.rows_times(a, b)
    try:
        threads.set_num_threads(1)
        assert (few_rows.rows_times(a, b) == want).all(), f"{dtype}: one thread computes other bits than {before}"
    finally:
        threads.set_num_threads(before)


CHECKS = (any_shape, any_storage, threads_do_not_change_a_bit)
