"""Matrix products: NumPy's numbers, and the threads that a product is worth."""

import subprocess
import sys

import numpy as np
import pytest

from minidl.kernels import blas, threads
from minidl.kernels.jit import HAVE_NUMBA
from tests.checks import one_row as checks

SHARED = [
    ((300, 250), (250, 310)),
    ((2, 3, 200, 150), (150, 250)),
    ((7, 180, 170), (7, 170, 180)),
    ((1, 90, 500), (500, 900)),
]


@pytest.mark.parametrize(
    "shapes", [((3, 4), (4, 5)), ((100, 90), (90, 110)), ((2, 100, 90), (90, 110)), ((0, 4), (4, 5)), *SHARED]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_numpys_product(shapes, dtype):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype(dtype) for s in shapes)
    expected, close = a @ b, {"rtol": 1e-12, "atol": 1e-12} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(blas.matmul(a, b), expected, **close)
    out = np.full(expected.shape, np.nan, dtype)
    assert blas.matmul(a, b, out=out) is out
    np.testing.assert_allclose(out, expected, **close)
    turned = b.swapaxes(-1, -2).copy().swapaxes(-1, -2)
    np.testing.assert_allclose(blas.matmul(a, turned), expected, **close)


@pytest.mark.skipif(not HAVE_NUMBA, reason="without Numba all products are left to BLAS")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_row(dtype):
    checks.check_one_row(dtype)


@pytest.mark.skipif(not HAVE_NUMBA, reason="without Numba all products are left to BLAS")
def test_which_products_of_one_row_are_left_to_blas(monkeypatch):
    from minidl.kernels.cpu import one_row

    x, rows = np.ones((1, 600), "float32"), np.ones((500, 600), "float32")
    expected = np.full((1, 500), 600)
    wide = np.ones((1, 1200), "float32")[:, ::2]  # has gaps
    np.testing.assert_array_equal(blas.matmul(wide, rows.T), expected)
    monkeypatch.setattr(one_row, "times_rows", None)  # would raise
    for a, b, out in (
        (x, rows.T.copy(), None),
        (x, np.repeat(rows, 2, axis=1)[:, ::2].T, None),
        (x.astype("float64"), rows.T, None),
        (x.astype("float16"), rows.astype("float16").T, None),
        (x[None], rows.T, None),
        (np.repeat(x, 2, axis=0), rows.T, None),
        (x, rows.T, np.empty((1, 500), "float32")),
    ):
        np.testing.assert_array_equal(blas.matmul(a, b, out=out).reshape(-1, 500)[:1], expected)
    with pytest.raises(TypeError):
        blas.matmul(x, rows.T)


@pytest.mark.skipif(not HAVE_NUMBA, reason="without Numba all products are left to BLAS")
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("few", [2, 7, 32])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", ["few rows", "few products"])
def test_much_that_is_read_for_little(monkeypatch, shape, dtype, few, turned):
    """On register tiles: within the rounding of sums in any order, the same bits for any number of threads."""
    monkeypatch.setattr(blas, "LARGE", 3000)
    monkeypatch.setattr(blas, "ALWAYS_ALONE", 0)
    rng, before = np.random.default_rng(0), threads.get_num_threads()
    m, k, n = (few, 101, 67) if shape == "few rows" else (101, few, 67)
    a, b = (rng.standard_normal(lengths).astype(dtype) for lengths in ((m, k), (k, n)))
    if shape == "few rows":
        b = b.T.copy().T  # as the weights of a linear layer
    if turned:
        a = a.T.copy().T
    exact = a.astype("longdouble") @ b.astype("longdouble")
    bound = (k + 2) * np.finfo(dtype).eps * (np.abs(a).astype("float64") @ np.abs(b))
    monkeypatch.setattr(np, "matmul", None)  # would raise
    try:
        found = []
        for count in (1, 2):
            threads.set_num_threads(count)
            found.append(blas.matmul(a, b))
    finally:
        threads.set_num_threads(before)
    assert found[0].flags.c_contiguous and found[0].dtype == dtype
    assert (np.abs(found[0] - exact) <= bound).all()
    np.testing.assert_array_equal(*found)


@pytest.mark.skipif(not HAVE_NUMBA, reason="without Numba all products are left to BLAS")
@pytest.mark.parametrize(
    ("a", "b", "whether"),
    [
        ((32, 2048), (1024, 2048), True),
        ((33, 2048), (1024, 2048), False),  # as many as BLAS is good at
        ((32, 2047), (1024, 2047), False),  # the large one is small
    ],
)
def test_what_is_few_and_what_is_much(a, b, whether):
    x, w = np.ones(a, "float32"), np.ones(b, "float32")
    assert blas._reads_much_for_little(x, w.T) == whether
    assert not blas._reads_much_for_little(x, w.T.copy())  # its rows lie side by side: nothing to gain
    assert not blas._reads_much_for_little(x, w.T.astype("float64"))
    large = np.ones((1 << 11, a[0]), "float32"), np.ones((a[0], 1 << 10), "float32")
    assert blas._reads_much_for_little(*large) == (a[0] <= 32)
    assert not blas._reads_much_for_little(large[0][:-1], large[1])


@pytest.mark.parametrize("turned", [False, True])
def test_lengths_that_do_not_fit_are_told_by_numpy(turned):
    rows = np.ones((500, 601), "float32")
    with pytest.raises(ValueError, match="mismatch in its core dimension"):
        blas.matmul(np.ones((1, 600), "float32"), rows.T if turned else rows.T.copy())


PRODUCT = """
import sys
import numpy as np
from minidl.kernels import blas
if sys.argv[1] == "later":
    import minidl.kernels.cpu.crew
rng = np.random.default_rng(0)
a, b = rng.standard_normal((128, 784), "float32"), rng.standard_normal((512, 784), "float32").T
sys.stdout.buffer.write(blas.matmul(a, b).tobytes())
"""


@pytest.mark.skipif(not HAVE_NUMBA, reason="without Numba all products are left to BLAS")
def test_what_was_computed_before_does_not_change_a_bit():
    """The first step of a run that is resumed is one in the middle of a run that is not."""
    found = [subprocess.run([sys.executable, "-c", PRODUCT, when], capture_output=True) for when in ("first", "later")]
    assert all(process.returncode == 0 and len(process.stdout) == 4 * 128 * 512 for process in found)
    assert found[0].stdout == found[1].stdout


def test_all_parts_of_a_shared_product_are_its_parts():
    for a_shape, b_shape in SHARED:
        a, b = np.ones(a_shape), np.ones(b_shape)
        out = np.zeros((*np.broadcast_shapes(a_shape[:-2], b_shape[:-2]), a_shape[-2], b_shape[-1]))
        parts = list(blas._parts(a, b, out, 4))
        assert len(parts) > 1
        for part_of_a, part_of_b, part in parts:
            part += part_of_a @ part_of_b
        np.testing.assert_array_equal(out, a @ b)


@pytest.mark.parametrize(
    "m, k, n, alone, shared",
    [
        (8, 8, 8, [], []),
        (64, 64, 64, [], []),
        (64, 65, 64, [1], [1]),
        (200, 200, 200, [1], [1]),
        (400, 400, 400, [], [1]),
        (1, 800, 1000, [1], [1]),
        (1, 1000, 1000, [], [1]),
        (4000, 1000, 1, [], [1]),
    ],
)
def test_products_that_ask_for_one_thread_of_blas(monkeypatch, m, k, n, alone, shared):
    """Without Numba, large products are left to the threads of BLAS."""
    asked = []

    class Recorder:
        def __init__(self, count):
            asked.append(count)

        def __enter__(self):
            pass

        def __exit__(self, *exc):
            pass

    class Crew:
        @staticmethod
        def work_together(work, count):
            assert count == 2
            work()

    monkeypatch.setattr(blas, "blas_threads", Recorder)
    monkeypatch.setattr(blas, "controls_blas", lambda: True)
    monkeypatch.setattr(blas, "get_num_threads", lambda: 2)
    a, b = np.ones((m, k), np.float32), np.ones((k, n), np.float32)
    monkeypatch.setitem(sys.modules, "minidl.kernels.cpu.crew", Crew)
    for have_numba, wanted in ((False, alone), (True, shared)):
        monkeypatch.setattr(blas, "HAVE_NUMBA", have_numba)
        asked.clear()
        assert (blas.matmul(a, b) == k).all()
        assert asked == wanted


def test_the_setting_comes_back():
    libraries = threads._blas.libraries()
    if not libraries:
        pytest.skip("no BLAS whose threads can be set")
    before = [library.get_num_threads() for library in libraries]
    blas.matmul(np.ones((100, 100)), np.ones((100, 100)))
    assert [library.get_num_threads() for library in libraries] == before
