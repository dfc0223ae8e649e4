"""The product of one row against sums in float64, element by element."""

from __future__ import annotations

import numpy as np

from minidl.kernels import threads
from minidl.kernels.matmul import matmul

SHAPES = ((1000, 1001), (999, 513), (70_000, 7), (520_000, 1), (3, 90_001), (4096, 66))  # K and N


def check_one_row(dtype: str = "float32") -> None:
    """Within the rounding of sums in any order, the same bits for any number of threads, inputs left alone."""
    rng, before = np.random.default_rng(0), threads.get_num_threads()
    for width, count in SHAPES:
        x, rows = rng.standard_normal((1, width)).astype(dtype), rng.standard_normal((count, width)).astype(dtype)
        kept = x.copy(), rows.copy()
        exact = (rows.astype("longdouble") * x).sum(1)
        bound = (width + 2) * np.finfo(dtype).eps * np.abs(rows.astype("float64") * x).sum(1)
        found = []
        try:
            for threads_ in {1, before}:
                threads.set_num_threads(threads_)
                found.append(matmul(x, rows.T))
        finally:
            threads.set_num_threads(before)
        for y in found:
            assert y.shape == (1, count) and y.dtype == dtype and y.flags.writeable
            assert (np.abs(y[0] - exact) <= bound).all(), f"{dtype}, {width} x {count}: {np.abs(y[0] - exact).max()}"
            np.testing.assert_array_equal(y, found[0])
        np.testing.assert_array_equal(x, kept[0])
        np.testing.assert_array_equal(rows, kept[1])
