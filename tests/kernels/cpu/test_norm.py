"""``kernels.cpu.norm`` against the definition in ``kernels.spec.norm``: storages, shapes, precision, threads."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from minidl.kernels import jit, norm, threads
from minidl.kernels.errors import UnsupportedError
from tests.checks import fused

if not jit.HAVE_NUMBA:
    pytest.skip("needs Numba, which is not installed", allow_module_level=True)

from minidl.kernels.cpu import norm_last, products, relayout, simd

SHAPES = [(3, 5, 4, 7), (4, 3), (2, 130, 3), (8, 64, 9, 9), (2, 3, 1, 2, 5), (6, 1, 5, 5), (300, 70), (1, 2, 200, 201)]
STORAGES = ["first", "last", "strided"]
EPS = 0.3


def stored(a: np.ndarray, storage: str) -> np.ndarray:
    if storage == "last":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)
    return np.repeat(a, 2, axis=-1)[..., ::2] if storage == "strided" else a


def operands(shape: tuple[int, ...], dtype: str, storage: str, seed: int = 0) -> list[np.ndarray]:
    """x, g, weight, bias"""
    rng = np.random.default_rng(seed)
    x, g = rng.standard_normal((2, *shape)).astype(dtype)
    w, b = rng.standard_normal((2, shape[1])).astype(dtype)
    return [stored(2 * x + 3, storage), stored(g, "last" if storage == "first" else storage), w, b]


def agree(got: tuple, want: tuple, dtype: str) -> None:
    tolerance = {"float32": 3e-5, "float64": 1e-12}[dtype]
    for a, b in zip(got, want, strict=True):
        assert a.dtype == dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1, np.abs(b).max(initial=0)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_definition(shape, storage, dtype) -> None:
    x, g, w, b = operands(shape, dtype, storage)
    before = [a.copy() for a in (x, g, w, b)]
    for weight, bias in ((w, b), (None, None), (w, None)):
        got = norm.batch_norm(x, weight, bias, EPS)
        want = norm.batch_norm(x, weight, bias, EPS, algorithm="spec")
        agree(got, want, dtype)
        slopes = [norm.batch_norm_grad(g, x, weight, *want[1:], EPS, algorithm=a) for a in ("numba", "spec")]
        agree(*slopes, dtype)
        agree(*((norm.scale_shift(x, w, bias, algorithm=a),) for a in ("numba", "spec")), dtype)
    agree(*(norm.scale_shift_grad(g, x, w, algorithm=a) for a in ("numba", "spec")), dtype)
    for a, old in zip((x, g, w, b), before):
        np.testing.assert_array_equal(a, old)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_biases_are_added_and_summed_as_numpy_does(dtype) -> None:
    fused.channel_passes(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scale_and_shift_in_evaluation_have_the_bits_of_the_definition(dtype) -> None:
    fused.running_scale(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_relu_behind_it_takes_no_pass_of_its_own_and_changes_no_bit(dtype) -> None:
    fused.batch_norm_relu(dtype)
    fused.batch_norm_relu(dtype, ((1, 3, 2, 2), (2, 64, 3), (5, 2), (8, 9, 20, 21)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_cotangent_that_is_part_of_an_array_is_read_where_it_lies(dtype) -> None:
    fused.parts_of_cotangents(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("channels", "first", "stop"), [(20, 4, 20), (33, 1, 17), (5, 0, 2)])
def test_a_slice_of_a_channels_last_array_is_channels_last(channels, first, stop, dtype) -> None:
    """Its results are stored so too, and are to the last bit those of a copy without gaps."""
    fused.slices(channels, slice(first, stop), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_gradient_is_added_to_what_is_there(dtype) -> None:
    fused.added_gradients(dtype)


def test_shares_of_a_gradient_are_added_where_they_are_computed() -> None:
    fused.shares_added_where_they_are_computed()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_vectors_of_other_machines(host, dtype) -> None:
    """One channel, fewer than a vector has, and 95: on every machine some vectors side by side, one alone, and a rest.

    A wrong sum in the first of the two passes costs digits only where the mean is large.
    """
    fused.batch_norm_relu(dtype, ((6, 37, 5), (3, 2, 4), (5, 95)))
    for shape in ((3, 5, 4, 7), (6, 1, 5, 5), (65, 95)):
        x, g, w, b = operands(shape, dtype, "last")
        y, mean, variance = norm.batch_norm(x, w, b, EPS, algorithm="spec")
        agree(norm.batch_norm(x, w, b, EPS), (y, mean, variance), dtype)
        agree(*(norm.batch_norm_grad(g, x, w, mean, variance, EPS, algorithm=a) for a in ("numba", "spec")), dtype)
        agree(*((norm.scale_shift(x, w, b, algorithm=a),) for a in ("numba", "spec")), dtype)
        agree(*(norm.scale_shift_grad(g, x, w, algorithm=a) for a in ("numba", "spec")), dtype)
    x = ({"float32": 1e4, "float64": 1e9}[dtype] + np.random.default_rng(1).standard_normal((65, 95))).astype(dtype)
    _, mean, variance = norm.batch_norm(x)
    np.testing.assert_allclose(mean, x.mean(axis=0, dtype="float64"), rtol=1e-7)
    np.testing.assert_allclose(variance, x.var(axis=0, dtype="float64"), rtol=1e-5)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("ceiling", [np.inf, 0.5])
def test_relu_behind_it_equals_the_definition(storage, ceiling) -> None:
    x, g, w, b = operands((3, 5, 4, 7), "float64", storage)
    for added in (None, stored(np.random.default_rng(3).standard_normal(x.shape), storage)):
        sides = []
        for a in ("numba", "spec"):
            y, mean, variance = norm.batch_norm_relu(x, w, b, EPS, added, ceiling, algorithm=a)
            seen = None if added is None else y
            back = norm.batch_norm_relu_grad(g, x, w, b, mean, variance, EPS, seen, ceiling, algorithm=a)
            sides.append((y, mean, variance, *back, norm.scale_shift_relu(x, w, b, added, ceiling, algorithm=a)))
        agree(*sides, "float64")
    assert norm.takes_relu(x) == (storage == "last")


def test_relu_behind_it_keeps_nan_and_takes_nothing() -> None:
    x, g, w, b = operands((4, 20, 6, 6), "float32", "last")
    x[1, 3, 2, 2] = np.nan
    y, mean, variance = norm.batch_norm_relu(x, w, b, ceiling=6.0)
    assert np.isnan(y[:, 3]).all() and np.isfinite(np.delete(y, 3, axis=1)).all()
    dx, dw, _ = norm.batch_norm_relu_grad(g, x, w, b, mean, variance)
    assert np.isnan(dw[3]) and np.isfinite(np.delete(dx, 3, axis=1)).all()
    x, g, w, b = operands((2, 3, 0), "float32", "first")
    nothing = norm.batch_norm_relu_grad(g, x, w, b, w, b * b, algorithm="numba")
    assert nothing[0].shape == x.shape and not nothing[2].any()
    assert norm.scale_shift_relu(x, w, b, algorithm="numba").shape == x.shape


STREAMED = [((2, 32, 5, 7), "float32"), ((3, 8, 5, 7), "float64"), ((65, 32), "float32"), ((2, 20, 5, 7), "float32")]


@pytest.mark.parametrize(("shape", "dtype"), STREAMED, ids=str)
def test_large_results_go_past_the_caches(shape, dtype, monkeypatch) -> None:
    """Where vectors are cache lines and rows are made of them; what is added to another array never does."""
    run, asked = norm_last.run, []

    def watched(function, kind, p, *rest):
        asked.append(p.stream)
        whole = p.y % 64 == 0 and p.groups * kind.itemsize % 64 == 0
        assert not p.stream or (whole and not p.add), p
        run(function, kind, p, *rest)

    def results() -> list[np.ndarray]:
        for name in ("_forward", "_backward", "_add_backward", "_scale_shift"):
            getattr(norm_last, name).cache_clear()
        x, g, w, b = operands(shape, dtype, "last")
        y, mean, variance = norm.batch_norm_relu(x, w, b, EPS, g)
        found = [y, mean, variance, norm.scale_shift(x, w, b)]
        for seen in (None, y):
            found += norm.batch_norm_relu_grad(g, x, w, b, mean, variance, EPS, seen)
            into = relayout.empty_last((shape[0], shape[1] + 5, *shape[2:]), np.dtype(dtype))[:, : shape[1]]
            into[...] = 0
            found += norm.batch_norm_relu_grad(g, x, w, b, mean, variance, EPS, seen, np.inf, into)
        return found

    with simd.using(simd.AVX512):
        want = results()
        monkeypatch.setattr(products, "STREAM_BYTES", 0)
        monkeypatch.setattr(norm_last, "run", watched)
        for a, c in zip(results(), want, strict=True):
            np.testing.assert_array_equal(a, c)
    assert (1 in asked) == (shape != (2, 20, 5, 7)) or shape == (65, 32)  # NumPy's own arrays begin anywhere


@pytest.mark.parametrize("ceiling", [np.inf, 0.5])
@pytest.mark.parametrize("shape", [(6, 1, 5, 5), (40, 1), (3, 1, 70, 71), (2, 4, 1, 1)], ids=str)
def test_relu_behind_it_with_one_channel_or_one_position(shape, ceiling) -> None:
    """Their storage passes for channels-first and channels-last alike."""
    x, g, w, b = operands(shape, "float64", "first")
    for added in (None, np.random.default_rng(3).standard_normal(shape)):
        sides = []
        for a in ("numba", "spec"):
            y, mean, variance = norm.batch_norm_relu(x, w, b, EPS, added, ceiling, algorithm=a)
            seen = None if added is None else y
            back = norm.batch_norm_relu_grad(g, x, w, b, mean, variance, EPS, seen, ceiling, algorithm=a)
            sides.append((y, mean, variance, *back, norm.scale_shift_relu(x, w, b, added, ceiling, algorithm=a)))
        agree(*sides, "float64")


@pytest.mark.parametrize("ceiling", [np.inf, 6.0])
def test_relu_behind_it_passes_the_gradient_of_an_infinite_result(ceiling) -> None:
    """As ReLU does by itself: it ends at no number; a ceiling cuts infinity off too."""
    x, g, w, b = operands((4, 20, 6, 6), "float32", "last")
    added = np.full_like(x, 1.0)
    added[2, :19, 3, 1], added[1, :, 4, 4] = np.inf, -np.inf
    sides = []
    for a in ("numba", "spec"):
        y, mean, variance = norm.batch_norm_relu(x, w, b, EPS, added, ceiling, algorithm=a)
        back = norm.batch_norm_relu_grad(g, x, w, b, mean, variance, EPS, y, ceiling, algorithm=a)
        assert y[2, :19, 3, 1].tolist() == [ceiling] * 19
        sides.append(back)
    agree(*sides, "float32")
    passed = sides[0][3][2, :19, 3, 1]
    assert passed.tolist() == (g[2, :19, 3, 1] if ceiling == np.inf else np.zeros(19)).tolist()


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 3), (2, 3, 0)], ids=str)
def test_nothing_to_normalise(shape) -> None:
    x, g, w, b = operands(shape, "float32", "first")
    for algorithm in ("numba", "spec"):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Mean of empty slice|invalid value", RuntimeWarning)  # of the definition
            y, mean, variance = norm.batch_norm(x, w, b, EPS, algorithm=algorithm)
        assert y.shape == shape and np.isnan(mean).all()
        slopes = norm.batch_norm_grad(g, x, w, mean, variance, EPS, algorithm=algorithm)
        behind = norm.batch_norm_relu_grad(g, x, w, b, mean, variance, EPS, y, algorithm=algorithm)
        for dx, dw, db, *_ in (slopes, behind):
            assert dx.shape == shape and dw.tolist() == db.tolist() == [0.0] * shape[1]


@pytest.mark.parametrize("storage", STORAGES)
def test_a_large_mean_costs_no_digits(storage) -> None:
    """Mean 10,000 and deviation 1: the squares of float32 values keep nothing of the deviation, blocks do."""
    rng = np.random.default_rng(1)
    x = stored((1e4 + rng.standard_normal((16, 8, 40, 40))).astype("float32"), storage)
    _, mean, variance = norm.batch_norm(x)
    exact = x.astype("float64")
    np.testing.assert_allclose(mean, exact.mean(axis=(0, 2, 3)), rtol=1e-7)
    np.testing.assert_allclose(variance, exact.var(axis=(0, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("storage", STORAGES)
def test_results_are_stored_as_the_input_is(storage) -> None:
    x, g, w, b = operands((4, 16, 5, 6), "float32", storage)
    y, mean, variance = norm.batch_norm(x, w, b)
    dx, _, _ = norm.batch_norm_grad(g, x, w, mean, variance)
    for result in (y, dx, norm.scale_shift(x, w)):
        dense = np.moveaxis(result, 1, -1) if storage == "last" else result
        assert dense.flags.c_contiguous and not np.shares_memory(result, x)


@pytest.mark.parametrize("storage", ["first", "last"])
def test_threads_do_not_change_a_bit(storage) -> None:
    x, g, w, b = operands((16, 24, 33, 32), "float32", storage)
    before = threads.get_num_threads()
    results = []
    try:
        for n in sorted({1, min(2, threads.available_cpus())}):
            threads.set_num_threads(n)
            y, mean, variance = norm.batch_norm(x, w, b)
            results.append((y, mean, variance, *norm.batch_norm_grad(g, x, w, mean, variance)))
    finally:
        threads.set_num_threads(before)
    for result in results[1:]:
        for a, b in zip(results[0], result, strict=True):
            np.testing.assert_array_equal(a, b)


def test_nan_stays_in_its_channel() -> None:
    x, _, w, b = operands((4, 20, 6, 6), "float32", "last")
    x[1, 3, 2, 2] = np.nan
    y, _, _ = norm.batch_norm(x, w, b)
    assert np.isnan(y[:, 3]).all() and np.isfinite(np.delete(y, 3, axis=1)).all()


def test_what_does_not_fit_is_said() -> None:
    x = np.ones((2, 3), "float16")
    with pytest.raises(UnsupportedError, match="algorithm 'numba' cannot compute in float16; 'spec' can"):
        norm.batch_norm(x, algorithm="numba")
    with pytest.raises(UnsupportedError, match="norm has no algorithm 'cudnn'; it has numba, spec"):
        norm.batch_norm(x, algorithm="cudnn")
    assert norm.batch_norm(x)[0].dtype == "float16"
