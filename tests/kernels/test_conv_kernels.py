"""Every registered (pass, algorithm, dtype) of convolution on the CPU keeps every promise of tests.checks.conv."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels import catalogue, conv, jit
from minidl.kernels.errors import UnsupportedError
from minidl.kernels.geometry import Conv
from tests.checks import conv as checks
from tests.checks import shapes

DTYPES = ("float32", "float64")


def _registered() -> list:
    """One parameter set per row of the catalogue and dtype; what cannot run here is skipped and says why."""
    rows = []
    for pass_ in checks.PASSES:
        for kernel in catalogue.kernels("conv", pass_, "cpu"):
            for dtype in DTYPES:
                missing = kernel.needs_numba and not jit.HAVE_NUMBA
                other = kernel.dtypes is not None and dtype not in kernel.dtypes
                why = "needs Numba, which is not installed" if missing else f"not made for {dtype}"
                marks = [pytest.mark.skip(reason=why)] if missing or other else []
                rows.append(pytest.param(pass_, kernel.algorithm, dtype, marks=marks))
    return rows


registered = pytest.mark.parametrize(("pass_", "algorithm", "dtype"), _registered())
ALGORITHMS = sorted({p.values[1] for p in _registered() if not p.marks})


def test_the_contracted_algorithms_are_registered() -> None:
    expected = {"spec", "im2col", "fft"} | ({"direct"} if jit.HAVE_NUMBA else set())
    assert expected <= set(ALGORITHMS)


@registered
def test_agreement_with_the_spec(pass_, algorithm, dtype, record_property) -> None:
    worst = checks.agreement(algorithm, dtype, (pass_,))
    record_property("measured/bound", worst)  # in the junit file
    assert worst <= 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_trilinear_identity(algorithm, dtype) -> None:
    checks.trilinear(algorithm, dtype)


@registered
def test_agreement_in_pieces(pass_, algorithm, dtype) -> None:
    checks.in_pieces(algorithm, dtype, (pass_,))


@registered
def test_memory_manners(pass_, algorithm, dtype) -> None:
    checks.manners(algorithm, dtype, (pass_,))


@registered
def test_storage_orders(pass_, algorithm, dtype) -> None:
    checks.layouts(algorithm, dtype, (pass_,))


@registered
def test_same_bits(pass_, algorithm, dtype) -> None:
    checks.same_bits(algorithm, dtype, (pass_,))


@registered
def test_empty_batch_and_no_output_channels(pass_, algorithm, dtype) -> None:
    checks.empty(algorithm, dtype, (pass_,))


@registered
def test_the_other_byte_order_is_refused_or_understood(pass_, algorithm, dtype) -> None:
    """A loop that takes an array by its address would read the bytes the wrong way round."""
    problem, rng = Conv.from_shapes((2, 3, 5, 6), (4, 3, 3, 3), padding=1), np.random.default_rng(0)
    shapes = {"forward": ("x", "w"), "input_grad": ("w", "y"), "weight_grad": ("x", "y")}[pass_]
    arrays = [rng.standard_normal(getattr(problem, f"{name}_shape")).astype(dtype) for name in shapes]
    swapped = [a.astype(a.dtype.newbyteorder()) for a in arrays]
    want, compute = getattr(conv, pass_)(*arrays, problem, "spec"), getattr(conv, pass_)
    np.testing.assert_allclose(compute(*swapped, problem), want, rtol=1e-4, atol=1e-5)
    kernel = next(k for k in catalogue.kernels("conv", pass_, "cpu") if k.algorithm == algorithm)
    if kernel.dtypes is None:
        np.testing.assert_allclose(compute(*swapped, problem, algorithm), want, rtol=1e-4, atol=1e-5)
        return
    with pytest.raises(UnsupportedError, match=f"the byte order of this machine, not in {swapped[0].dtype.str}"):
        compute(*swapped, problem, algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_worked_by_hand(algorithm) -> None:
    assert not checks.refusal(algorithm, "forward", checks.problem(checks.BY_HAND[0]), "float64")
    for dtype in DTYPES:
        checks.worked_by_hand(algorithm, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_spec_is_the_definition(dtype) -> None:
    checks.spec_is_the_definition(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_readable_twins(dtype) -> None:
    checks.im2col_twin(dtype)
    checks.fft_twin(dtype)
    checks.winograd_twin(dtype)


def test_spec_gradients_are_derivatives() -> None:
    checks.complex_step()


def test_the_problems_are_awkward() -> None:
    """What DESIGN asks of the shapes is really among them."""
    for cases in (shapes.ALL, shapes.FEW):
        two = [c for c in cases if len(c.size) == 2]
        assert {len(c.size) for c in cases} == {1, 2, 3}
        for differs in (
            lambda c: c.size[0] != c.size[1],
            lambda c: c.kernel[0] != c.kernel[1],
            lambda c: c.stride[0] != c.stride[1],
            lambda c: c.padding[0] != c.padding[1],
            lambda c: c.padding[0][0] != c.padding[0][1] and c.padding[1][0] != c.padding[1][1],
            lambda c: c.dilation[0] != c.dilation[1],
            lambda c: c.in_channels != c.out_channels and c.batch > 1,
            lambda c: c.groups > 1,
            lambda c: c.groups == c.in_channels > 1,
            lambda c: any(s > k for s, k in zip(c.stride, c.kernel)),
            lambda c: any(
                (low + i + high - d * (k - 1) - 1) % s
                for i, k, s, d, (low, high) in zip(c.size, c.kernel, c.stride, c.dilation, c.padding)
            ),
        ):
            assert any(differs(c) for c in two)
    assert any(set(c.kernel) == {1} for c in shapes.ALL)
    assert any(c.kernel == c.size for c in shapes.ALL)
    assert len(set(shapes.ALL)) == len(shapes.ALL)


def test_the_problems_are_the_same_everywhere() -> None:
    """Drawn from a fixed seed: a failure names a problem that anybody can run again."""
    drawn = shapes.awkward(3)
    assert [c.x_shape for c in drawn] == [(1, 3, 1, 1), (3, 3, 4, 7), (2, 6, 11)]
    x, _, _ = drawn[1].arrays("float32")
    assert np.array_equal(x, drawn[1].arrays("float64")[0].astype("float32"))


# the checks' own failures say what is wrong ---------------------------------------------------------------


def test_a_wrong_element_is_named_with_both_values() -> None:
    want = np.array([[1.0, 2.0], [3.0, 4.0]])
    got = np.array([[1.0, 2.5], [3.001, 4.0]])
    with pytest.raises(AssertionError) as caught:
        checks.assert_within(got, want, 0.01, "y")
    assert str(caught.value) == (
        "y: element (0, 1) is 2.5, should be 2.0; off by 0.5, 50 times its bound; 1 of 4 elements are wrong"
    )


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_is_wrong(wrong) -> None:
    with pytest.raises(AssertionError, match=r"element \(2,\) is .*inf times its bound; 1 of 3"):
        checks.assert_within(np.array([1.0, 2.0, wrong]), np.array([1.0, 2.0, 3.0]), 0.1, "y")


def test_a_wrong_shape_is_wrong() -> None:
    with pytest.raises(AssertionError, match=r"y: shape \(2,\), should be \(3,\)"):
        checks.assert_within(np.zeros(2), np.zeros(3), 1.0, "y")


def test_an_exact_zero_bound_allows_equality_only() -> None:
    assert checks.assert_within(np.zeros(3), np.zeros(3), 0.0, "y") == 0
    with pytest.raises(AssertionError, match="inf times its bound"):
        checks.assert_within(np.array([1e-30]), np.zeros(1), 0.0, "y")


def test_bits_that_differ_are_named() -> None:
    a = np.array([1.0, 2.0, np.nan])
    checks.assert_same_bits(a, a.copy(), "y")
    with pytest.raises(AssertionError, match=r"y: 1 of 3 elements differ, first \(1,\)"):
        checks.assert_same_bits(a, np.array([1.0, np.nextafter(2.0, 3), np.nan]), "y")


def test_a_check_over_nothing_fails() -> None:
    count = len(shapes.ALL)
    with pytest.raises(AssertionError, match=f"telepathy does the forward in float64 of none of {count} problems"):
        checks.agreement("telepathy", "float64")


@pytest.mark.parametrize("shapes", [((5, 0, 12, 10), (7, 0, 3, 3)), ((2, 0, 6, 6), (40, 0, 1, 1))], ids=str)
def test_no_channels_give_zeros(shapes) -> None:
    """By every algorithm that can, into memory that holds something else too."""
    problem = Conv.from_shapes(*shapes, padding=1)
    x, w = (np.ones(shape, "float32") for shape in shapes)
    able = [k for k in catalogue.kernels("conv", "forward", "cpu") if k.obstacle(problem, x.dtype) is None]
    assert {"spec", "im2col"} <= {k.algorithm for k in able}
    for algorithm in (None, *(k.algorithm for k in able)):
        out = np.full(problem.y_shape, np.nan, "float32")
        for y in (conv.forward(x, w, problem, algorithm), conv.forward(x, w, problem, algorithm, out=out)):
            assert y.shape == problem.y_shape and not y.any(), algorithm
