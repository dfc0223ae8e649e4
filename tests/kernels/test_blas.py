"""Matrix products: NumPy's numbers, and the threads that a product is worth."""

import numpy as np
import pytest

from minidl.kernels import blas, threads


@pytest.mark.parametrize(
    "shapes", [((3, 4), (4, 5)), ((100, 90), (90, 110)), ((2, 100, 90), (90, 110)), ((0, 4), (4, 5))]
)
def test_it_is_numpys_product(shapes):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s) for s in shapes)
    expected = a @ b
    np.testing.assert_allclose(blas.matmul(a, b), expected, rtol=1e-12, atol=1e-12)
    out = np.full(expected.shape, np.nan)
    assert blas.matmul(a, b, out=out) is out
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "m, k, n, wanted",
    [(8, 8, 8, None), (64, 64, 64, None), (64, 65, 64, 1), (300, 300, 300, 1), (400, 400, 400, None)],
)
def test_only_products_of_middle_size_ask_for_one_thread(monkeypatch, m, k, n, wanted):
    asked = []

    class Recorder:
        def __init__(self, count):
            asked.append(count)

        def __enter__(self):
            pass

        def __exit__(self, *exc):
            pass

    monkeypatch.setattr(blas, "blas_threads", Recorder)
    blas.matmul(np.ones((m, k), np.float32), np.ones((k, n), np.float32))
    assert asked == ([] if wanted is None else [wanted])


def test_the_setting_comes_back():
    libraries = threads._blas.libraries()
    if not libraries:
        pytest.skip("no BLAS whose threads can be set")
    before = [library.get_num_threads() for library in libraries]
    blas.matmul(np.ones((100, 100)), np.ones((100, 100)))
    assert [library.get_num_threads() for library in libraries] == before
