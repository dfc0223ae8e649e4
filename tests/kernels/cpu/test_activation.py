"""``kernels.cpu.activation`` against the definitions in ``kernels.spec.activation``."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels import activation, jit, threads
from tests.checks import fused

if not jit.HAVE_NUMBA:
    pytest.skip("needs Numba, which is not installed", allow_module_level=True)

ARGUMENTS: dict[str, tuple[int, tuple[float, ...]]] = {  # number of arrays, and what follows them
    "relu": (1, ()),
    "relu_grad": (2, ()),
    "leaky_relu": (1, (0.3,)),
    "leaky_relu_grad": (2, (0.3,)),
    "clip": (1, (-0.4, 1.1)),
    "clip_grad": (2, (-0.4, 1.1)),
    "add": (2, ()),
}
SHAPES = [(3, 5, 4, 7), (40_000,), (2, 130, 300), (), (0, 3), (2, 3, 1, 2, 5)]
STORAGES = ["first", "last", "mixed", "strided", "columns"]


def operands(shape: tuple[int, ...], dtype: str, storage: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(dtype) for _ in range(2)]
    for a in arrays:  # zeros and the limits themselves
        a.reshape(-1)[::5] = 0
        a.reshape(-1)[1::7] = np.asarray(-0.4, dtype)
    if storage in ("last", "mixed") and len(shape) > 2:
        last = [np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) for a in arrays]
        arrays = last if storage == "last" else [arrays[0], last[1]]
    if storage == "strided" and shape:
        arrays = [np.repeat(a, 2, axis=-1)[..., ::2] for a in arrays]
    return [np.asfortranarray(a) for a in arrays] if storage == "columns" and shape else arrays


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_equals_the_definition(name, storage, dtype) -> None:
    count, rest = ARGUMENTS[name]
    for shape in SHAPES:
        arrays = operands(shape, dtype, storage)
        before = [a.copy() for a in arrays]
        got, want = (getattr(activation, name)(*arrays[:count], *rest, algorithm=a) for a in ("numba", "spec"))
        assert got.dtype == dtype and got.shape == shape
        np.testing.assert_array_equal(got, want)
        for a, old in zip(arrays, before):
            np.testing.assert_array_equal(a, old)
            assert not np.shares_memory(a, got)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("storage", STORAGES)
def test_accumulation_writes_where_the_sum_is_wanted(storage, dtype) -> None:
    for shape in SHAPES:
        a, b = operands(shape, dtype, storage)
        want = a + b
        activation.accumulate(a, b, algorithm="numba")
        np.testing.assert_array_equal(a, want)


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_parts_of_one_memory_are_added_as_they_were_before(shift) -> None:
    memory = np.random.default_rng(0).standard_normal(200_002).astype("float32")
    a, b = memory[1:-1], memory[1 + shift : len(memory) - 1 + shift]
    want = a + b
    activation.accumulate(a, b)
    np.testing.assert_array_equal(a, want)


@pytest.mark.parametrize("name", ["relu", "clip", "leaky_relu"])
def test_nan_stays_nan_and_infinity_is_large(name) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1.0], "float32")
    for algorithm in ("numba", "spec"):
        y = getattr(activation, name)(x, *ARGUMENTS[name][1], algorithm=algorithm)
        assert np.isnan(y[0]) and y[1] > 1 and y[3] == 1


@pytest.mark.parametrize("name", ["relu_grad", "leaky_relu_grad"])
def test_the_slope_of_infinity_is_1(name) -> None:
    g, y = np.array([2.0, 2.0]), np.array([np.inf, 1.0])
    for algorithm in ("numba", "spec"):
        dx = getattr(activation, name)(g, y, *ARGUMENTS[name][1], algorithm=algorithm)
        np.testing.assert_array_equal(dx, [2.0, 2.0])


def test_results_are_stored_as_what_the_forward_pass_left() -> None:
    g, y = operands((4, 16, 5, 6), "float32", "mixed")  # g channels first, y channels last
    dx = activation.relu_grad(g, y, algorithm="numba")
    assert np.moveaxis(dx, 1, -1).flags.c_contiguous


@pytest.mark.parametrize("name", ["relu", "relu_grad", "add"])
def test_results_of_a_part_are_stored_as_the_whole_is(name) -> None:
    for storage in ("first", "last"):
        whole = operands((3, 5, 6, 8), "float32", storage)
        for some in (np.s_[:, :, 1:], np.s_[:, 2:5], np.s_[..., ::2]):
            parts = [a[some] for a in whole][: ARGUMENTS[name][0]]
            got = getattr(activation, name)(*parts, algorithm="numba")
            assert (np.moveaxis(got, 1, -1) if storage == "last" else got).flags.c_contiguous
            np.testing.assert_array_equal(got, getattr(activation, name)(*map(np.ascontiguousarray, parts)))


def test_threads_do_not_change_a_bit() -> None:
    a, b = operands((2, 130, 300), "float32", "first")
    before, results = threads.get_num_threads(), []
    try:
        for n in sorted({1, min(2, threads.available_cpus())}):
            threads.set_num_threads(n)
            results.append(activation.add(activation.relu(a), activation.clip(b, -1, 1)))
    finally:
        threads.set_num_threads(before)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_unlike_operands_are_left_to_numpy() -> None:
    wide, narrow = np.ones((3, 4)), np.ones(4, "float32")
    assert activation.add(wide, narrow, algorithm="numba").dtype == np.float64
    assert activation.add(wide, 2.0).tolist() == [[3.0] * 4] * 3 and activation.add(1, narrow).tolist() == [2.0] * 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tanh_and_its_gradient(dtype) -> None:
    fused.tanh(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_some_of_the_channels_are_added_to_where_they_lie(dtype) -> None:
    """The gradient of what was concatenated, as in a DenseNet."""
    fused.accumulated_parts(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_addend_that_is_repeated_is_added_to_some_of_the_channels(dtype) -> None:
    """The gradient of a mean over positions: its channels lie side by side, and yet it has no rows to walk along."""
    rng = np.random.default_rng(6)
    whole = np.moveaxis(rng.standard_normal((3, 4, 5, 9)).astype(dtype), -1, 1)
    b = np.moveaxis(rng.standard_normal((3, 4, 5, 5)).astype(dtype), -1, 1)
    for once in (b[..., :1], b[:, :, :1], b[:, :, :1, :1], b[:1], b[:1, :, :1, :1]):
        addend = np.broadcast_to(once, b.shape)
        assert addend.strides[1] == addend.itemsize
        got, want = np.array(whole, order="K"), np.array(whole, order="K")
        activation.accumulate(got[:, 2:7], addend, algorithm="numba")
        want[:, 2:7] += addend
        np.testing.assert_array_equal(got, want, err_msg=str(once.shape))
