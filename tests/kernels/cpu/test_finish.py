"""What a convolution does to its results before they leave the cache: the bits of one step after the other."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels import jit, threads
from minidl.kernels.errors import ShapeError
from tests.checks import finish

if not jit.HAVE_NUMBA:
    pytest.skip("needs Numba, which is not installed", allow_module_level=True)

from minidl.kernels import conv as kernel


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", finish.CASES, ids=str)
def test_changes_no_bit(case, dtype) -> None:
    finish.same_bits(case, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_in_vectors_of_other_machines(host, dtype) -> None:
    for case in finish.CASES[1:3]:
        finish.same_bits(case, dtype)


def test_nan_and_infinity_stay_what_they_are() -> None:
    finish.not_numbers()


def test_with_one_thread() -> None:
    before = threads.get_num_threads()
    try:
        threads.set_num_threads(1)
        finish.same_bits(finish.CASES[0], "float32")
    finally:
        threads.set_num_threads(before)


def test_wrong_shapes_and_dtypes_are_refused() -> None:
    x, w, conv = finish.operands(finish.CASES[0], "float32")
    filters = conv.out_channels
    with pytest.raises(ShapeError, match=r"shift has shape \(2,\), but this convolution needs"):
        kernel.forward_then(x, w, conv, shift=np.zeros(2, "float32"))
    with pytest.raises(ShapeError, match="x is float32 and scale is float64: convert one of them"):
        kernel.forward_then(x, w, conv, scale=np.ones(filters))
    with pytest.raises(ShapeError, match="added has shape"):
        kernel.forward_then(x, w, conv, added=x[:, :1, 1:])
