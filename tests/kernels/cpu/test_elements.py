"""Arrays brought to one storage: without gaps, whatever slices, broadcasts and orders they come in."""

import numpy as np
import pytest

pytest.importorskip("numba")
from minidl.kernels import activation
from minidl.kernels.cpu.elements import as_rows, dense, is_last, matched

SHAPE = (3, 64, 9, 12)


def last(a):
    return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def sources(rng, dtype):
    """The same numbers: channels first and last, a slice of each, a broadcast of the mean, transposed, reversed."""
    x = rng.standard_normal(SHAPE).astype(dtype)
    wide = np.zeros((3, 64, 18, 12), dtype)
    wide[:, :, ::2] = x
    yield x
    yield last(x)
    yield wide[:, :, ::2]
    yield last(wide)[:, :, ::2]
    yield np.broadcast_to(x[:, :, :1, :1], SHAPE)
    yield np.broadcast_to(x[:1], SHAPE)
    yield x[:, :, ::-1].copy()[:, :, ::-1]
    yield last(x)[..., ::-1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_come_without_gaps(dtype):
    rng = np.random.default_rng(0)
    for first in (rng.standard_normal(SHAPE).astype(dtype), last(rng.standard_normal(SHAPE).astype(dtype))):
        for a in sources(rng, dtype):
            for bring in (as_rows, matched):
                x, z = bring(first, a)
                assert dense(x) and dense(z) and is_last(x) == is_last(z) == is_last(first)
                np.testing.assert_array_equal(z, a)
                np.testing.assert_array_equal(x, first)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adding_what_has_gaps(dtype):
    rng = np.random.default_rng(1)
    for target in (rng.standard_normal(SHAPE).astype(dtype), last(rng.standard_normal(SHAPE).astype(dtype))):
        for a in sources(rng, dtype):
            got = target.copy(order="K")
            activation.accumulate(got, a)
            np.testing.assert_array_equal(got, target + a)
