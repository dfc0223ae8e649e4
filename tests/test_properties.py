"""Properties that hold for any shapes, with shapes drawn by hypothesis.

The draws are derandomised: the same examples in every run, so that a failure is never a matter of luck.
"""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minidl
from minidl.kernels import conv as kernel
from minidl.kernels.errors import ShapeError
from minidl.kernels.geometry import Axis, Conv

steady = settings(derandomize=True, deadline=None, max_examples=60, database=None)


@st.composite
def convolutions(draw: st.DrawFn) -> Conv:
    """Any convolution problem that fits, in one to three axes, small."""
    ndim = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    x = (draw(st.integers(0, 3)), groups * draw(st.integers(1, 3)), *draw(st.tuples(*[st.integers(1, 6)] * ndim)))
    w = (groups * draw(st.integers(1, 3)), x[1] // groups, *draw(st.tuples(*[st.integers(1, 3)] * ndim)))
    per_axis = st.tuples(*[st.integers(1, 3)] * ndim)
    padding = draw(st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * ndim))
    try:
        return Conv.from_shapes(x, w, draw(per_axis), padding, draw(per_axis), groups)
    except ShapeError:
        assume(False)
        raise


@steady
@given(conv=convolutions(), algorithm=st.sampled_from(["im2col", "fft", "spec"]), seed=st.integers(0, 99))
def test_the_three_passes_of_a_convolution_are_one_trilinear_form(conv, algorithm, seed):
    rng = np.random.default_rng(seed)
    x, w, g = (rng.standard_normal(s) for s in (conv.x_shape, conv.w_shape, conv.y_shape))
    forward = np.vdot(kernel.forward(x, w, conv, algorithm), g)
    through_x = np.vdot(x, kernel.input_grad(w, g, conv, algorithm))
    through_w = np.vdot(w, kernel.weight_grad(x, g, conv, algorithm))
    scale = np.linalg.norm(x) * np.linalg.norm(w) * np.linalg.norm(g) + 1e-300
    assert abs(forward - through_x) <= 1e-13 * scale
    assert abs(forward - through_w) <= 1e-13 * scale


@steady
@given(conv=convolutions(), seed=st.integers(0, 99))
def test_the_planned_kernel_computes_the_definition(conv, seed):
    rng = np.random.default_rng(seed)
    x, w = (rng.standard_normal(s) for s in (conv.x_shape, conv.w_shape))
    expected = kernel.forward(x, w, conv, "spec")
    np.testing.assert_allclose(kernel.forward(x, w, conv), expected, rtol=1e-11, atol=1e-11)


@steady
@given(
    size=st.integers(1, 30),
    kernel_size=st.integers(1, 5),
    stride=st.integers(1, 5),
    pad=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.integers(1, 3),
)
def test_windows_fit_and_one_more_would_not(size, kernel_size, stride, pad, dilation):
    axis = Axis(size, kernel_size, stride, pad, dilation)
    assume(axis.out >= 1)
    last_read = axis.position(axis.out - 1, kernel_size - 1)
    assert last_read < size + pad[1] <= last_read + stride
    assert size in axis.sizes(axis.out)


shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@steady
@given(pair=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3), seed=st.integers(0, 99))
def test_gradients_undo_any_broadcast(pair, seed):
    rng = np.random.default_rng(seed)
    a, b = (minidl.tensor(rng.standard_normal(s), requires_grad=True) for s in pair.input_shapes)
    g = rng.standard_normal(pair.result_shape)
    (a * b).backward(minidl.tensor(g))
    for mine, other in ((a, b), (b, a)):
        full = g * np.broadcast_to(other.detach().numpy(), g.shape)
        assert mine.grad.shape == mine.shape
        # an element of the operand collects the cotangents of all places it was stretched to
        index = np.broadcast_to(np.arange(mine.numel()).reshape(mine.shape), g.shape)
        expected = np.zeros(mine.numel())
        np.add.at(expected, index.reshape(-1), full.reshape(-1))
        np.testing.assert_allclose(mine.grad.numpy().reshape(-1), expected, rtol=1e-12, atol=1e-12)


@steady
@given(data=st.data(), shape=shapes.filter(lambda s: 0 not in s), seed=st.integers(0, 99))
def test_reading_and_adding_back_by_any_index_are_transposed(data, shape, seed):
    index = data.draw(hnp.basic_indices(shape, allow_ellipsis=True, allow_newaxis=True))
    rng = np.random.default_rng(seed)
    x = minidl.tensor(rng.standard_normal(shape), requires_grad=True)
    y = x[index]
    expected = x.detach().numpy()[index]
    assert y.shape == np.shape(expected)
    np.testing.assert_array_equal(y.detach().numpy(), expected)
    assume(np.size(expected))
    g = rng.standard_normal(y.shape)
    y.backward(minidl.tensor(g))
    assert np.vdot(y.detach().numpy(), g) == pytest.approx(np.vdot(x.detach().numpy(), x.grad.numpy()), rel=1e-12)


@steady
@given(shape=shapes, data=st.data())
def test_permuting_back_and_forth_changes_nothing(shape, data):
    order = data.draw(st.permutations(range(len(shape))))
    x = minidl.tensor(np.random.default_rng(0).standard_normal(shape))
    y = x.permute(order)
    assert y.shape == tuple(shape[i] for i in order)
    back = y.permute(np.argsort(order).tolist() if shape else [])
    np.testing.assert_array_equal(back.numpy(), x.numpy())
