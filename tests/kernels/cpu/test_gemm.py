"""``kernels.cpu.gemm``: any shapes and strides, every machine's tiles, block seams, bits that threads do not change."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

from minidl.kernels import jit, threads
from minidl.kernels.errors import ShapeError

if not jit.HAVE_NUMBA:
    pytest.skip("needs Numba, which is not installed", allow_module_level=True)

from minidl.kernels.cpu import gemm
from tests.checks import gemm as checks
from tests.checks.conv import small_workspaces


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_product_of_any_shape(dtype) -> None:
    checks.any_shape(dtype)
    checks.any_shape_in_pieces(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tiles_of_other_machines(host, dtype) -> None:
    checks.any_shape(dtype)
    checks.any_shape_in_pieces(dtype)


def test_operands_and_results_in_any_storage() -> None:
    checks.any_storage("float32")


def test_nothing_to_multiply() -> None:
    checks.nothing_to_multiply()


def test_threads_do_not_change_a_bit() -> None:
    before = threads.get_num_threads()
    a, b = checks.operands(333, 700, 250, "float32")
    counts = {1, min(2, threads.available_cpus())}
    try:
        for blocks in (nullcontext(), small_workspaces()):
            with blocks:
                want = gemm.matmul(a, b)
                for n in counts:
                    threads.set_num_threads(n)
                    np.testing.assert_array_equal(gemm.matmul(a, b), want)
                threads.set_num_threads(before)
    finally:
        threads.set_num_threads(before)


def test_what_does_not_fit_is_said() -> None:
    a, b = np.ones((2, 3)), np.ones((3, 4))
    with pytest.raises(ShapeError, match=r"needs the same K in both, got a \(2, 3\) and b \(4, 3\)"):
        gemm.matmul(a, b.T)
    with pytest.raises(ShapeError, match="both be float32 or both float64, got float64 and float32"):
        gemm.matmul(a, b.astype("float32"))
    with pytest.raises(ShapeError, match="both be float32 or both float64, got complex128"):
        gemm.matmul(a.astype(complex), b.astype(complex))
    with pytest.raises(ShapeError, match="accumulate=True adds to out, and there is none"):
        gemm.matmul(a, b, accumulate=True)
    with pytest.raises(ShapeError, match=r"out must be float64 of shape \(M, N\) = \(2, 4\), got float64 \(4, 2\)"):
        gemm.matmul(a, b, np.ones((4, 2)))
