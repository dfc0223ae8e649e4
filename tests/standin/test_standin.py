"""The stand-in refuses what CuPy refuses, gives what CuPy gives, and counts."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from tests.standin import TRAFFIC, modules


@pytest.fixture
def cp(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, module in modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return sys.modules["cupy"]


@pytest.mark.parametrize(
    ("attempt", "error", "message"),
    [
        (lambda cp, x: np.asarray(x), TypeError, "Implicit conversion to a NumPy array"),
        (lambda cp, x: x + np.ones(3), TypeError, "Unsupported type <class 'numpy.ndarray'>"),
        (lambda cp, x: np.ones(3) * x, TypeError, "Unsupported type <class 'numpy.ndarray'>"),
        (lambda cp, x: cp.exp(np.ones(3)), TypeError, "Unsupported type"),
        (lambda cp, x: cp.concatenate([x, np.ones((2, 3))]), TypeError, "Unsupported type"),
        (lambda cp, x: x.__setitem__(0, np.ones(3)), ValueError, "non-scalar numpy.ndarray"),
        (lambda cp, x: x.__iadd__(np.ones(3)), TypeError, "Unsupported type"),
        (lambda cp, x: x[cp.asarray([7])], AssertionError, "would not notice, and wrap around"),
        (lambda cp, x: x[5], IndexError, "out of bounds"),
        (lambda cp, x: range(cp.asarray(3)), TypeError, "cannot be interpreted as an integer"),
        (lambda cp, x: x.flags.writeable, AttributeError, "writeable"),
        (lambda cp, x: x.ctypes, AttributeError, "ctypes"),
        (lambda cp, x: cp.vectorise, AttributeError, "vectorise"),
        (lambda cp, x: cp.asarray(2.0).nonzero(), ValueError, "0d arrays"),
        (lambda cp, x: cp.argsort(x, kind="quicksort"), ValueError, "stable"),
        (lambda cp, x: cp.add.at(x.astype("int8"), cp.asarray([0]), 1), TypeError, "only supports"),
        (lambda cp, x: cp.linalg.solve(cp.ones((2, 1, 2, 2)), cp.ones((3, 2, 1))), ValueError, "must have"),
    ],
)
def test_it_refuses(cp: Any, attempt: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        attempt(cp, cp.asarray(np.arange(6.0).reshape(2, 3)))


def test_an_array_of_another_device_is_refused_until_copied(cp: Any) -> None:
    x = cp.ones(3)
    with cp.cuda.Device(1):
        with pytest.raises(ValueError, match="different from the current device"):
            x + 1
        y = x.copy()
        assert (x.device.id, y.device.id) == (0, 1)
        assert (y + 1).device.id == 1
        assert cp.asarray(x) is x  # the trap: no copy to the current device


def test_numpys_functions_stay_on_the_device(cp: Any) -> None:
    x = cp.asarray(np.arange(6.0).reshape(2, 3))
    for y in (np.exp(x), np.sum(x), np.add.at and np.maximum(x, 1), np.concatenate([x, x]), np.linalg.norm(x)):
        assert type(y) is cp.ndarray
    with pytest.raises(TypeError):
        np.maximum(x, np.ones(3))
    with pytest.raises(TypeError):
        np.vectorize(float)(x)  # not a function that CuPy has


def test_reductions_and_elements_are_arrays(cp: Any) -> None:
    x = cp.asarray(np.arange(6.0).reshape(2, 3))
    assert all(type(y) is cp.ndarray and y.shape == () for y in (x.sum(), x.max(), x[0, 0], cp.argmax(x)))
    x[1, 2][...] = 9  # an element is a view
    assert float(x[1, 2]) == 9
    assert cp.floor(cp.arange(3)).dtype == np.float64
    assert np.isnan(cp.linalg.inv(cp.zeros((2, 2))).get()).all()
    assert np.isnan(cp.empty(3).get()).all()


def test_it_counts(cp: Any) -> None:
    with TRAFFIC.counted() as seen:
        x = cp.asarray(np.ones((2, 3)))
        y = (x * 2).sum() + x[0, 1:].max()
    assert (seen.uploads, seen.downloads) == (1, 0)
    with TRAFFIC.counted() as seen:
        float(y), y.item(), bool(y), cp.asnumpy(x), x.tolist(), str(y)
    assert seen.downloads == 6
    with TRAFFIC.counted() as seen:
        x[x > 1], cp.nonzero(x), cp.delete(x, 0, axis=1)
    assert seen.downloads == 3
    with TRAFFIC.counted() as seen:
        x[[0, 1]], cp.lib.stride_tricks.sliding_window_view(x, 2, axis=1)
    assert (seen.uploads, seen.downloads) == (2, 1)
