"""The bounds hold, are not silly, and notice errors that matter."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels import conv as kernels
from minidl.kernels import jit
from minidl.kernels.cpu import fft_tiles
from minidl.kernels.spec import conv as spec
from minidl.kernels.spec import error_bounds, fft, winograd
from minidl.kernels.spec.error_bounds import error_bound, error_ratio
from tests.checks.conv import PASSES, operands, problem
from tests.checks.shapes import ALL, EMPTY, Case, case

EXACT = {"float32": np.float64, "float64": np.longdouble}
WIDER = np.finfo(np.longdouble).eps < np.finfo(np.float64).eps
DTYPES = [
    "float32",
    pytest.param("float64", marks=pytest.mark.skipif(not WIDER, reason="no type wider than float64 here")),
]


def measure(algorithm: str, pass_: str, c: Case, dtype: str) -> float | None:
    """Error over bound of one run; None where the algorithm cannot."""
    conv, arrays, options = problem(c), operands(c, pass_, dtype), {}
    if algorithm == "direct":
        result = getattr(spec, pass_)(*arrays, conv)
    elif algorithm == "fft twin":
        result = getattr(fft, pass_)(*arrays, conv).result
    elif algorithm == "fft":
        if jit.HAVE_NUMBA:  # without it this is the twin
            options = fft_tiles.options(pass_, conv, np.dtype(dtype).itemsize)
        result = getattr(kernels, pass_)(*arrays, conv, algorithm="fft")
    else:
        if winograd.unsupported(conv) or max(conv.kernel) > 5:
            return None
        m = tuple(1 if r == 1 else 4 if r <= 3 else 2 for r in conv.kernel)
        options = {"m": m, "points": algorithm.split()[1]}
        result = getattr(winograd, pass_)(*arrays, conv, **options).Y
    exact = getattr(spec, pass_)(*(a.astype(EXACT[dtype]) for a in arrays), conv)
    return error_ratio(result, exact, error_bound(algorithm.split()[0], pass_, *arrays, conv, dtype, **options))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pass_", PASSES)
@pytest.mark.parametrize(
    "algorithm", ["direct", "fft", "fft twin", "winograd barabasz", "winograd lavin", "winograd paired"]
)
def test_errors_are_within_their_bounds_and_not_far_below(algorithm, pass_, dtype, record_property):
    ratios = [r for c in ALL if (r := measure(algorithm, pass_, c, dtype)) is not None]
    record_property("measured/bound", max(ratios))
    assert len(ratios) > 15
    assert max(ratios) <= 1
    assert np.median(ratios) > 1e-4  # worst cases of all roundings at once do not happen, but it is no blank cheque


@pytest.mark.parametrize("pass_", PASSES)
@pytest.mark.parametrize("algorithm", ["direct", "fft", "winograd"])
def test_operands_rounded_to_ten_bits_exceed_the_bound(algorithm, pass_):
    """What a TF32 unit does to its operands is not a float32 result, and the bounds of all algorithms say so."""
    c = case((2, 4, 9, 8), (5, 4, 3, 3), 1, 1)
    arrays = operands(c, pass_, "float32")
    exact = getattr(spec, pass_)(*(a.astype("float64") for a in arrays), problem(c))
    rounded = [(a.view(np.int32) & ~0x1FFF).view(np.float32).astype("float64") for a in arrays]
    wrong = getattr(spec, pass_)(*rounded, problem(c))
    assert error_ratio(wrong, exact, error_bound(algorithm, pass_, *arrays, problem(c), "float32")) > 1


@pytest.mark.parametrize("c", EMPTY, ids=str)
def test_nothing_has_no_error(c):
    for algorithm in ("direct", "fft", "fft twin"):
        for pass_ in PASSES:
            assert measure(algorithm, pass_, c, "float32") == 0


def test_ratio_rules():
    exact = np.zeros((2, 3, 4))
    assert error_ratio(exact + 1, exact, np.full((2, 3, 1), 4.0)) == 0.5  # 2-norm of four ones
    assert error_ratio(exact + 1, exact, np.full(exact.shape, 4.0)) == 0.25
    assert error_ratio(exact, exact, np.zeros(exact.shape)) == 0
    assert error_ratio(exact + 1e-30, exact, np.zeros(exact.shape)) == np.inf


def test_gamma_is_infinite_when_no_digit_is_certain():
    assert error_bounds.gamma(2**24, "float32") == np.inf
    assert error_bounds.gamma(1, "float32") == pytest.approx(2.0**-24)


def test_an_algorithm_without_a_bound_is_named():
    c = case((1, 1, 3), (1, 1, 2))
    x, w, _ = c.arrays("float32")
    with pytest.raises(KeyError, match="no error bound is derived for the algorithm 'guess'"):
        error_bound("guess", "forward", x, w, problem(c), "float32")
