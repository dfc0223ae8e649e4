"""``kernels.cpu.joining`` against elements put one by one, and what it leaves to NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels import jit, joining

if not jit.HAVE_NUMBA:
    pytest.skip("needs Numba, which is not installed", allow_module_level=True)

from minidl.kernels.cpu import joining as kernel
from tests.checks import joining as checks


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_storage_along_every_axis(dtype: str) -> None:
    checks.check_storages(dtype)


def test_pieces_of_rows_and_rows_of_pieces() -> None:
    checks.check_pieces()


def test_a_plan_serves_the_sizes_that_it_was_made_for() -> None:
    checks.check_other_arrays()


@pytest.mark.parametrize("storage", ["first", "last", "narrow last"])
def test_maps_of_branches_are_joined_by_the_loop(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [checks.stored(np.ones((2, c, 5, 4), "float32"), storage) for c in (3, 1, 6)]
    if storage == "first":
        assert joining.concatenate(arrays, 1, algorithm="numba").flags.c_contiguous
    monkeypatch.setattr(np, "concatenate", None)  # would raise
    y = joining.concatenate(arrays, 1, algorithm="numba")
    assert y.flags.c_contiguous == (storage == "first") and (y == 1).all() and y.shape == (2, 10, 5, 4)


def test_an_array_joined_with_itself() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype("float32")
    np.testing.assert_array_equal(joining.concatenate([x, x[:, ::-1], x], 1, algorithm="numba")[:, 6:], x)


def test_more_parts_than_a_program_would_take() -> None:
    arrays = [np.full((2, 1, 3), i, "float32") for i in range(300)]
    np.testing.assert_array_equal(joining.concatenate(arrays, 1, algorithm="numba")[1, :, 2], np.arange(300))


@pytest.mark.parametrize(
    ("arrays", "axis", "message"),
    [
        ([np.ones((2, 3)), np.ones((3, 3))], 1, "must match exactly"),
        ([np.ones((2, 3)), np.ones(3)], 0, "number of dimensions"),
        ([np.ones((2, 3)), np.ones((2, 3))], 2, "out of bounds"),
        ([np.ones(()), np.ones(())], 0, "zero-dimensional"),
    ],
)
def test_what_does_not_fit_is_told_by_numpy(arrays: list[np.ndarray], axis: int, message: str) -> None:
    for algorithm in ("numba", "spec", None):
        with pytest.raises(ValueError, match=message):
            joining.concatenate(arrays, axis, algorithm=algorithm)


def test_other_dtypes_and_small_arrays_are_joined_by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "concatenate", None)  # would raise
    ones = np.ones((2, joining.SMALL))
    for dtype in ("float16", "int64", "bool"):
        assert joining.concatenate([ones.astype(dtype)] * 2, 1).dtype == dtype
    assert joining.concatenate([ones[:, :9]] * 2, 1).shape == (2, 18)
    with pytest.raises(TypeError):
        joining.concatenate([ones], 0)


def test_dtypes_that_differ_are_promoted() -> None:
    a, b = np.ones((1, 3, 2), "float32"), np.full((1, 3, 2), 2.0)
    assert joining.concatenate([a, b], 1, algorithm="numba").dtype == "float64"
