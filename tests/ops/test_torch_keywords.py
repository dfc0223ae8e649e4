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


def test_gradients_of_what_is_not_used():
    w, unused = minidl.ones(2, requires_grad=True), minidl.ones(3, requires_grad=True)
    g, zeros = minidl.autograd.grad((w * 2).sum(), (w, unused), materialize_grads=True)
    assert g.tolist() == [2, 2] and zeros.tolist() == [0, 0, 0]
    for options in ({"is_grads_batched": True}, {"only_inputs": False}):
        with pytest.raises(ValueError, match="grad takes one cotangent at a time"):
            minidl.autograd.grad(w.sum(), w, **options)
    square = minidl.autograd.functional.jacobian(lambda v: v * v, w, vectorize=True)
    assert square.tolist() == [[2, 0], [0, 2]]


def test_options_that_only_have_their_default():
    rows = minidl.nn.Embedding(3, 2, None, None, 2.0, False, False)
    for make in (
        lambda: minidl.nn.Embedding(3, 2, max_norm=1.0),
        lambda: minidl.nn.functional.embedding(minidl.tensor([1]), rows.weight, sparse=True),
    ):
        with pytest.raises(ValueError, match="is not supported here: gradients are dense"):
            make()
    rows.load_state_dict(rows.state_dict(), assign=False)
    with pytest.raises(ValueError, match="load_state_dict copies values: assign=True"):
        rows.load_state_dict(rows.state_dict(), assign=True)
    with pytest.raises(ValueError, match="batch_sampler is not taken: give batch_size"):
        minidl.data.DataLoader([1, 2], batch_sampler=[[0], [1]])


def test_a_generator_seeds_the_order_of_a_loader():
    made = [
        next(iter(minidl.data.DataLoader(range(20), 20, True, pin_memory=True, **how))).tolist()
        for how in ({"generator": minidl.Generator().manual_seed(5)}, {"seed": 5}, {"seed": 6})
    ]
    assert made[0] == made[1] != made[2]


def test_weights_of_elements():
    with pytest.raises(ValueError, match=r"mse_loss: the weight \(3,\) must have the shape of the input, \(2, 3\)"):
        minidl.nn.functional.mse_loss(x, x, weight=minidl.ones(3))


@pytest.mark.torch
@pytest.mark.parametrize("size", [(3,), (7,), (4, 9), (11, 2), (1, 1)])
@pytest.mark.parametrize("scale", [None, 0.7, 2.6])
def test_nearest_exact(size, scale):
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(3).standard_normal((2, 3, 5, 6)[: 2 + len(size)])
    options = {"size": size} if scale is None else {"scale_factor": scale}
    v, tv = minidl.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    y = minidl.nn.functional.interpolate(v, mode="nearest-exact", **options)
    ty = torch.nn.functional.interpolate(tv, mode="nearest-exact", **options)
    assert np.array_equal(y.detach().numpy(), ty.detach().numpy())
    g = np.random.default_rng(4).standard_normal(y.shape)
    y.backward(minidl.tensor(g)), ty.backward(torch.tensor(g))
    np.testing.assert_allclose(v.grad.numpy(), tv.grad.numpy(), rtol=1e-12, atol=1e-12)


def test_schedules_for_each_group():
    a, b = minidl.zeros(1), minidl.zeros(1)
    sgd = minidl.optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=1.0)
    schedule = minidl.optim.lr_scheduler.LambdaLR(sgd, [lambda t: 1 / (1 + t), lambda t: 2.0**t])
    schedule.step()
    assert schedule.get_last_lr() == [0.5, 1.0]
    with pytest.raises(ValueError, match="LambdaLR: 1 functions for 2 parameter groups"):
        minidl.optim.lr_scheduler.LambdaLR(sgd, [lambda t: 1.0])
    plateau = minidl.optim.lr_scheduler.ReduceLROnPlateau(sgd, factor=0.1, patience=0, min_lr=[0.3, 0.01])
    for _ in range(2):
        plateau.step(1.0)
    assert plateau.get_last_lr() == pytest.approx([0.3, 0.1])
    with pytest.raises(ValueError, match="3 values of min_lr for 2 parameter groups"):
        minidl.optim.lr_scheduler.ReduceLROnPlateau(sgd, min_lr=[0, 0, 0])


def test_further_arguments_of_torch():
    s = minidl.tensor([[4.0, 2.0], [2.0, 2.0]])
    same(minidl.cholesky(s, upper=True), minidl.cholesky(s).t())
    assert s.half().norm(dtype="float64").dtype == "float64"
    assert minidl.full_like(s, fill_value=2).tolist() == s.new_full(size=(2, 2), fill_value=2).tolist() == [[2, 2]] * 2
    assert s.clone().div_(3, rounding_mode="floor").tolist() == [[1, 0], [0, 0]]
    assert s.clone().copy_(src=s * 2, non_blocking=True)[0, 0] == 8
    assert np.array_equal(x.numpy(force=True), x.detach().numpy())
    same(s.where(condition=s > 3, other=0.0), minidl.where(s > 3, s, 0.0))
