"""Matrix products: NumPy's numbers, and which kernel takes which."""

import subprocess
import sys
from functools import partial
from math import prod

import numpy as np
import pytest

from minidl.kernels import matmul, threads
from minidl.kernels.jit import HAVE_NUMBA
from tests.checks import one_row as checks

needs_numba = pytest.mark.skipif(not HAVE_NUMBA, reason="without Numba all products are left to BLAS")

SHAPES = [
    ((3, 4), (4, 5)),
    ((100, 90), (90, 110)),
    ((2, 100, 90), (90, 110)),
    ((0, 4), (4, 5)),
    ((300, 250), (250, 310)),
    ((2, 3, 200, 150), (150, 250)),
    ((7, 180, 170), (7, 170, 180)),
    ((2, 300, 250), (2, 250, 310)),
    ((3, 1, 20, 900), (2, 900, 1000)),
    ((2, 0, 4), (4, 5)),
    ((2, 3, 0), (0, 5)),
    ((3, 1, 90, 130), (2, 130, 70)),
    ((1, 90, 500), (500, 900)),
    ((20, 300), (300, 400)),
    ((1, 900), (900, 700)),
    ((900, 700), (700, 1)),
    ((400, 3), (3, 500)),
]


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_numpys_product(shapes, dtype):
    """By rows and by columns, with and without a place for it; ours the same bits for any number of threads."""
    ours = HAVE_NUMBA and (len(shapes[1]) == 2 or prod(shapes[0][-2:]) * shapes[1][-1] > matmul.PAIR)
    same = np.testing.assert_array_equal if ours else partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
    rng, before = np.random.default_rng(0), threads.get_num_threads()
    a, b = (rng.standard_normal(s).astype(dtype) for s in shapes)
    expected, close = a @ b, {"rtol": 1e-12, "atol": 1e-12} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-4}
    turned_a, turned_b = (m.swapaxes(-1, -2).copy().swapaxes(-1, -2) for m in (a, b))
    for left in (a, turned_a):
        for right in (b, turned_b):
            got = matmul.matmul(left, right)
            assert got.dtype == dtype and got.shape == expected.shape and got.flags.c_contiguous
            np.testing.assert_allclose(got, expected, **close)
            out = np.full(expected.shape, np.nan, dtype)
            assert matmul.matmul(left, right, out=out) is out
            same(out, got)
            try:
                threads.set_num_threads(1)
                same(matmul.matmul(left, right), got)
            finally:
                threads.set_num_threads(before)


@pytest.mark.parametrize("rows", [20, 90, 200])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_a_result_may_lie_where_an_operand_lies(rows, batch):
    rng = np.random.default_rng(1)
    wide, square = rng.standard_normal((*batch, rows, 200)), rng.standard_normal((200, 200))
    expected = np.matmul(wide, square)
    for right in (square, square.T.copy().T):
        for shift in (0, 3):  # columns
            room = np.full((*batch, rows, 203), np.nan)
            room[..., :200] = wide
            got = matmul.matmul(room[..., :200], right, out=room[..., shift : shift + 200])
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
    got = np.broadcast_to(square, (*batch, 200, 200)).copy()
    left = rng.standard_normal((*batch, 200, 200))
    expected = np.matmul(left, got)
    np.testing.assert_allclose(matmul.matmul(left, got, out=got), expected, rtol=1e-12, atol=1e-12)


@needs_numba
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_row(dtype):
    checks.check_one_row(dtype)


@needs_numba
@pytest.mark.parametrize(
    ("m", "k", "n", "kernel"),
    [
        (64, 64, 64, "numpy"),
        (64, 65, 64, "gemm"),
        (1, 600, 500, "one_row by columns"),
        (1, 600, 500, "few_rows"),
        (500, 600, 1, "one_row"),
        (32, 100, 200, "few_rows"),
        (32, 100, 200, "gemm by columns"),
        (33, 100, 200, "gemm"),
        (32, 100, 90, "gemm by columns"),
        (32, 9000, 3, "gemm"),
    ],
)
def test_which_kernel_takes_it(monkeypatch, m, k, n, kernel):
    from minidl.kernels.cpu import few_rows, gemm, one_row

    name, _, by_columns = kernel.partition(" ")
    a, b = np.ones((m, k), "float32"), np.ones((k, n), "float32")
    if by_columns:
        b = b.T.copy().T
    for module, function in ((np, "matmul"), (gemm, "matmul"), (one_row, "times_rows"), (few_rows, "rows_times")):
        if module.__name__.rpartition(".")[2] != name:
            monkeypatch.setattr(module, function, None)  # would raise
    assert (matmul.matmul(a, b) == k).all()


def test_what_does_not_compile_is_numpys():
    a, b = np.ones((70, 70), "float16"), np.ones((70, 70), "float16")
    assert matmul.matmul(a, b).dtype == "float16"
    mixed = matmul.matmul(a.astype("float32"), b.astype("float64"))
    assert mixed.dtype == "float64" and (mixed == 70).all()
    assert (matmul.matmul(a.astype(int), b.astype(int)) == 70).all()
    assert (matmul.matmul(a.astype("float32"), b.astype("float32"), np.empty((70, 70))) == 70).all()
    assert matmul.matmul(np.ones(70_000), np.ones((70_000, 4))).shape == (4,)


@pytest.mark.parametrize("turned", [False, True])
def test_lengths_that_do_not_fit_are_told_by_numpy(turned):
    rows = np.ones((500, 601), "float32")
    with pytest.raises(ValueError, match="mismatch in its core dimension"):
        matmul.matmul(np.ones((1, 600), "float32"), rows.T if turned else rows.T.copy())
    with pytest.raises(ValueError, match="broadcast"):
        matmul.matmul(np.ones((2, 90, 90), "float32"), np.ones((3, 90, 90), "float32"))
    for rows in (20, 90):
        a, b, out = (np.ones(shape, "float32") for shape in ((rows, 200), (200, 90), (2, rows, 90)))
        with pytest.raises(ValueError, match=r"mismatch in its core dimension|non-broadcastable output"):
            matmul.matmul(a, b, out[:, :-1])
        assert (matmul.matmul(a, b, out) == 200).all()  # NumPy's too


PRODUCT = """
import sys
import numpy as np
from minidl.kernels.matmul import matmul
rng = np.random.default_rng(0)
a, b = rng.standard_normal((128, 784), "float32"), rng.standard_normal((512, 784), "float32").T
sys.stdout.buffer.write(matmul(a, b).tobytes())
"""


@needs_numba
def test_settings_of_blas_do_not_change_a_bit(monkeypatch):
    found = []
    for core in ("Haswell", "Nehalem"):
        monkeypatch.setenv("OPENBLAS_CORETYPE", core)
        found.append(subprocess.run([sys.executable, "-c", PRODUCT], capture_output=True))
    assert all(process.returncode == 0 and len(process.stdout) == 4 * 128 * 512 for process in found)
    assert found[0].stdout == found[1].stdout
