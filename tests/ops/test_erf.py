"""The error function by rational approximations, against the C library's."""

import math

import numpy as np
import pytest

import minidl
from minidl.ops import _erf
from tests.checks import erf as checks


@pytest.mark.parametrize(("dtype", "most"), [("float64", 2), ("float32", 0.51)])
def test_within_two_units_in_the_last_place_of_the_c_library(dtype, most) -> None:
    checks.last_places(dtype, most)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_special_values(dtype) -> None:
    checks.special_values(dtype)


def test_a_larger_x_is_never_more_than_the_last_place_below() -> None:
    x = np.sort(checks.points())
    assert (np.diff(minidl.erf(minidl.tensor(x)).numpy()) >= -np.spacing(1.0)).all()


def test_shapes_and_storage() -> None:
    x = np.random.default_rng(1).standard_normal((3, 4, 5)).astype("float32")
    for stored in (x, x.T, x[:, ::2], x[:0], x[0, 0, 0]):
        got = minidl.erf(minidl.from_numpy(np.asarray(stored))).numpy()
        want = [math.erf(v) for v in np.asarray(stored).ravel().tolist()]
        np.testing.assert_array_equal(got, np.array(want, "float32").reshape(np.shape(stored)))


def test_integers_become_floating_and_complex_is_refused() -> None:
    assert minidl.erf(minidl.tensor([0, 1])).dtype == minidl.float32
    with pytest.raises(TypeError, match="erf is made for real numbers, got complex128"):
        _erf.erf(np.array([1j]))
