"""PyTorch's keywords and its other names of arguments."""

import pickle

import numpy as np
import pytest

import minidl

x = minidl.tensor(np.random.default_rng(7).standard_normal((2, 3)), dtype="float64", requires_grad=True)


def same(a, b):
    assert np.array_equal(a.detach().numpy(), b.detach().numpy())


def test_axis_is_dim_and_keepdims_is_keepdim():
    for name in ("sum", "mean", "amax", "var", "logsumexp", "any", "argmin", "cumsum", "softmax"):
        same(getattr(minidl, name)(x, axis=1), getattr(x, name)(dim=1))
    same(x.sum(axis=0, keepdims=True), x.sum(0, keepdim=True))
    same(minidl.cat([x, x], axis=1), minidl.cat([x, x], 1))
    with pytest.raises(TypeError, match="axis is another name of dim: give one of them"):
        x.sum(dim=0, axis=0)


def test_sizes_and_dims_by_name():
    same(x.permute(dims=(1, 0)), x.t())
    same(minidl.permute(x, dims=(1, 0)), x.t())
    same(minidl.flip(x, dims=[1]), x.flip(1))
    same(x.tile(dims=(2, 1)), x.repeat(repeats=(2, 1)))
    same(minidl.reshape(x, shape=(3, 2)), x.view(size=(3, 2)))
    same(x.expand(size=(4, 2, 3)), x.expand(4, 2, 3))
    assert minidl.zeros(size=(2, 3)).shape == minidl.randn(size=(2, 3)).shape == (2, 3)


def test_numpy_asks_the_tensor():
    total = np.sum(x)
    assert isinstance(total, minidl.Tensor) and total.requires_grad
    same(np.mean(x, axis=0), x.mean(0))
    with pytest.raises(TypeError, match="out= is not taken: write the result"):
        x.sum(dim=0, out=x)


def test_functions_with_other_names_can_be_pickled_and_described():
    for function in (minidl.sum, minidl.permute, minidl.rand, minidl.zeros):
        assert pickle.loads(pickle.dumps(function)) is function
    assert minidl.Tensor.sum is minidl.sum


def test_ranges():
    assert minidl.arange(end=3).tolist() == [0, 1, 2]
    assert minidl.arange(3, 3).tolist() == []
    for made in (minidl.arange(3.0, requires_grad=True), minidl.linspace(0, 1, 3, requires_grad=True)):
        assert made.requires_grad
    for range_ in ((5, 0), (0, 3, -1), (0, 3, 0)):
        with pytest.raises(ValueError, match=r"arange: steps of -?\d do not lead from \d to \d"):
            minidl.arange(*range_)


def test_keywords_of_single_functions():
    same(x.max(other=-x), x.maximum(-x))
    same(minidl.min(x, other=-x), x.minimum(-x))
    assert minidl.round(minidl.tensor([1.256, 12.0]), decimals=1).tolist() == pytest.approx([1.3, 12.0])
    index = minidl.tensor([[0, 2], [1, 1]])
    same(x.scatter(1, index, value=5.0), x.scatter(1, index, 5.0))
    same(x.scatter(1, index, value=5.0, reduce="add"), x.scatter_add(1, index, minidl.full((2, 2), 5.0)))
    same(x.take_along_dim(minidl.tensor([5, 0])), x.reshape(-1)[minidl.tensor([5, 0])])
    rows, columns = minidl.where(x > 0)
    same(x[rows, columns], x[x > 0])
    a = minidl.tensor([[2.0, 1.0], [0.0, 3.0]], dtype="float64")
    b = minidl.tensor([[1.0, 2.0]], dtype="float64")
    np.testing.assert_allclose((minidl.solve(a, b, left=False) @ a).numpy(), b.numpy())


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: x.scatter(0, minidl.tensor([[0]])), "scatter needs either src or value"),
        (lambda: x.scatter(0, minidl.tensor([[0]]), 1.0, reduce="multiply"), "reduce is None or 'add', not 'multiply'"),
        (lambda: minidl.where(x > 0, x), "where takes the condition alone, or both"),
    ],
)
def test_what_does_not_go_together(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
