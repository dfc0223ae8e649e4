"""``kernels.cpu.gemm``: any shapes and strides, every machine's tiles, block seams, bits that threads do not change."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels import jit, threads
from minidl.kernels.errors import ShapeError

if not jit.HAVE_NUMBA:
    pytest.skip("needs Numba, which is not installed", allow_module_level=True)

from minidl.kernels.cpu import gemm, products, simd

SHAPES = [
    (1, 1, 1), (1, 7, 5), (5, 1, 3), (6, 9, 1), (14, 8, 32), (15, 33, 33), (28, 5, 16), (29, 40, 48), (61, 70, 83),
    (3, 1024, 17), (40, 2050, 40),
]  # fmt: skip


def operands(m: int, k: int, n: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([m, k, n])
    return rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)


def close(got: np.ndarray, a: np.ndarray, b: np.ndarray, start: np.ndarray | float = 0.0) -> None:
    """|got - (start + ab)| <= (K + 1) u / (1 - (K + 1) u) (|start| + |a||b|), Higham 2002, equation 3.5."""
    a, b, start = a.astype("float64"), b.astype("float64"), np.asarray(start, "float64")
    u = (len(b) + 1) * np.finfo(got.dtype).eps / 2
    bound = (u / (1 - u) + len(b) * 2e-16) * (np.abs(start) + np.abs(a) @ np.abs(b))
    assert got.shape == (len(a), b.shape[1])
    assert (np.abs(got - (start + a @ b)) <= bound).all()


@pytest.fixture(params=["blocks as they are", "small blocks"])
def blocks(request, monkeypatch):
    if request.param == "small blocks":
        for name, value in {"DEPTH_BYTES": 512, "CHUNK_TILES": 2, "PIECES": 3}.items():
            monkeypatch.setattr(products, name, value)
        products.cutting.cache_clear()
    yield
    products.cutting.cache_clear()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_product_of_any_shape(shape, dtype, blocks) -> None:
    a, b = operands(*shape, dtype)
    close(gemm.matmul(a, b), a, b)


@pytest.mark.parametrize("host", [simd.AVX2, simd.PORTABLE], ids=["AVX2", "portable"])
def test_tiles_of_other_machines(host, blocks) -> None:
    with simd.using(host):
        for shape in SHAPES:
            a, b = operands(*shape, "float32")
            close(gemm.matmul(a, b), a, b)


def stored(a: np.ndarray, how: str) -> np.ndarray:
    if how == "rows":
        return a.copy()
    if how == "columns":
        return a.T.copy().T
    if how == "backwards":
        return a[::-1, ::-1].copy()[::-1, ::-1]
    big = np.full([2 * n for n in a.shape], np.nan, a.dtype)  # every other element
    big[::2, ::2] = a
    return big[::2, ::2]


STORES = ("rows", "columns", "backwards", "gaps")


@pytest.mark.parametrize("how_a", STORES)
@pytest.mark.parametrize("how_b", STORES)
def test_operands_and_results_in_any_storage(how_a, how_b) -> None:
    a, b = operands(29, 37, 45, "float32")
    left, right = stored(a, how_a), stored(b, how_b)
    for how in STORES:
        out = stored(np.full((29, 45), np.nan, "float32"), how)
        assert gemm.matmul(left, right, out) is out
        close(out, a, b)
        out[...] = start = np.float32(1.5) * np.arange(45, dtype="float32")
        gemm.matmul(left, right, out, accumulate=True)
        close(out, a, b, start)
    np.testing.assert_array_equal(left, a)
    np.testing.assert_array_equal(right, b)


@pytest.mark.parametrize(("m", "k", "n"), [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)])
def test_nothing_to_multiply(m, k, n) -> None:
    out = np.full((m, n), 7.0)
    gemm.matmul(np.ones((m, k)), np.ones((k, n)), out, accumulate=True)
    assert (out == 7).all()
    assert not gemm.matmul(np.ones((m, k)), np.ones((k, n)), out).any()


def test_threads_do_not_change_a_bit(blocks) -> None:
    before = threads.get_num_threads()
    a, b = operands(333, 700, 250, "float32")
    want = gemm.matmul(a, b)
    try:
        for n in {1, min(2, threads.available_cpus())}:
            threads.set_num_threads(n)
            np.testing.assert_array_equal(gemm.matmul(a, b), want)
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
