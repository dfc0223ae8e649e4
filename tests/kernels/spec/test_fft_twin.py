"""The FFT twin against counting, and its spectra against the sums that define them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from minidl.kernels.spec import fft
from tests.checks.conv import PASSES, brute_force, operands, problem
from tests.checks.shapes import ALL, EMPTY, case

SMALL = [c for c in ALL if np.prod(c.y_shape) < 4000]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 1e-5)])
@pytest.mark.parametrize("pass_", PASSES)
def test_awkward_shapes(pass_, dtype, tolerance):
    for c in SMALL:
        arrays = operands(c, pass_, dtype)
        copies = [a.copy() for a in arrays]
        run = getattr(fft, pass_)(*arrays, problem(c))
        exact = brute_force(c, pass_, *(a.astype("float64") for a in arrays))
        assert run.result.dtype == dtype
        assert {run.X.dtype, run.W.dtype, run.Y.dtype} == {np.result_type(dtype, "complex64")}
        np.testing.assert_allclose(run.result, exact, rtol=0, atol=tolerance * max(1, np.abs(exact).max()))
        assert all(np.array_equal(a, b) for a, b in zip(arrays, copies))


@pytest.mark.parametrize("c", EMPTY, ids=str)
@pytest.mark.parametrize("pass_", PASSES)
def test_empty(c, pass_):
    arrays = operands(c, pass_, "float32")
    assert np.array_equal(getattr(fft, pass_)(*arrays, problem(c)).result, brute_force(c, pass_, *arrays))


def fourier(line: np.ndarray, frequency: tuple[int, ...], size: tuple[int, ...]) -> complex:
    """One frequency of a line by definition."""
    return sum(
        line[at] * np.exp(-2j * np.pi * sum(f * i / n for f, i, n in zip(frequency, at, size)))
        for at in itertools.product(*map(range, line.shape))
    )


def test_the_spectra_are_those_of_the_spread_out_signals():
    c = case((2, 2, 6, 5), (4, 1, 3, 2), (1, 2), ((2, 0), (0, 1)), (2, 1), 2)
    x, w, g = c.arrays("float64")
    conv = problem(c)
    assert fft.transform_size(conv) == (8, 6)
    padded = np.pad(x, ((0, 0), (0, 0), (2, 0), (0, 1)))
    kernel = np.zeros((4, 1, 5, 2))
    kernel[:, :, ::2] = w
    spread = np.zeros((2, 4, 4, 5))
    spread[..., ::2] = g
    run, back = fft.forward(x, w, conv), fft.weight_grad(x, g, conv)
    for frequency in ((0, 0), (3, 1), (7, 3), (4, 2)):
        X, W, Y = (fourier(line, frequency, (8, 6)) for line in (padded[1, 1], kernel[3, 0], spread[1, 3]))
        np.testing.assert_allclose(run.X[1, 1][frequency], X, atol=1e-12)
        np.testing.assert_allclose(run.W[3, 0][frequency], W, atol=1e-12)
        np.testing.assert_allclose(run.Y[1, 3][frequency], X * np.conj(W), atol=1e-11)
        np.testing.assert_allclose(back.Y[1, 3][frequency], Y, atol=1e-12)


def test_good_sizes():
    smooth = sorted({2**a * 3**b * 5**c for a in range(11) for b in range(7) for c in range(5)})
    for n in range(1, 600):
        assert fft.good_size(n) == next(s for s in smooth if s >= n)
