"""Corners where minidl once differed from PyTorch without a word."""

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import GraphError

rng = np.random.default_rng(5)


def drawn(*shape: int, grad: bool = False) -> minidl.Tensor:
    return minidl.tensor(rng.standard_normal(shape), dtype="float64", requires_grad=grad)


@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "norm", "amax", "amin", "logsumexp"])
@pytest.mark.parametrize("nothing", [(), []])
def test_no_dims_are_all_dims(name, nothing):
    x = drawn(2, 3)
    function = getattr(minidl, name)
    everything = (0, 1)
    assert function(x, dim=nothing).item() == function(x, dim=everything).item()
    assert function(x, dim=nothing, keepdim=True).shape == (1, 1)
    assert x.any(dim=nothing).shape == (2, 3)  # there PyTorch takes it by its word


def test_view_shares_memory_where_the_layout_allows():
    x = drawn(2, 3, 4)
    x[:, :, :2].view(2, 3, 2, 1).zero_()
    x[0].view(12)[3] = 7.0
    assert x[:, :, :2].abs().sum() == 0 and x[0, 0, 3] == 7


@pytest.mark.parametrize("make", [lambda x: x.t(), lambda x: x[:, 1:], lambda x: x.expand(2, 3, 4)])
def test_view_refuses_to_copy(make):
    x = drawn(3, 4)
    y = make(x)
    with pytest.raises(ValueError, match=r"cannot be seen as \(\d+,\) without moving elements, and other tensors or"):
        y.view(-1)
    assert np.array_equal(y.reshape(-1).numpy(), y.numpy().reshape(-1))


def test_view_of_a_leaf_or_of_an_array_in_another_order_is_refused():
    array = np.asfortranarray(rng.standard_normal((3, 4)))
    for x in (minidl.from_numpy(array), minidl.from_numpy(array).requires_grad_()):
        with pytest.raises(ValueError, match="use reshape"):
            x.view(-1)


def test_view_of_a_channels_last_result_is_a_view():
    """A convolution may store its result as it likes; programs written for PyTorch flatten it with view."""
    x, w = drawn(2, 3, 5, 5), drawn(4, 3, 3, 3, grad=True)
    y = F.conv2d(x, w)
    assert not y.is_contiguous()
    before = y.detach().numpy().copy()
    z = F.conv2d(x, w)
    flat = z.view(2, -1)
    assert np.array_equal(flat.detach().numpy(), before.reshape(2, -1))
    g = drawn(*flat.shape)
    (mine,) = minidl.autograd.grad(flat, [w], g)
    (expected,) = minidl.autograd.grad(F.conv2d(x, w).reshape(2, -1), [w], g)
    np.testing.assert_allclose(mine.numpy(), expected.numpy(), rtol=1e-12)
    with minidl.no_grad():
        flat[1, 5] = 100.0
        assert z.reshape(2, -1)[1, 5] == 100


def test_a_write_to_a_view_of_a_saved_result_is_noticed():
    x, w = drawn(1, 3, 5, 5), drawn(4, 3, 3, 3, grad=True)
    y = F.conv2d(x, w)
    loss = (y * y).sum()
    with minidl.no_grad():
        y.view(-1)[0] = 5.0
    with pytest.raises(GraphError, match="written to in place after the forward pass"):
        loss.backward()


@pytest.mark.parametrize("dtype", ["int32", minidl.int32, int])
def test_view_does_not_reinterpret(dtype):
    with pytest.raises(TypeError, match="under another shape, not as another dtype"):
        minidl.ones(2).view(dtype)


def test_stride():
    x = minidl.zeros(2, 3, 4)
    assert x.stride() == (12, 4, 1) and x.stride(-1) == 1
    assert x.transpose(0, 2).stride() == (1, 4, 12)


@pytest.mark.parametrize(
    "call",
    [
        lambda w: np.exp(w),
        lambda w: np.add(np.ones(3), w),
        lambda w: np.add(minidl.ones(3), w),
        lambda w: np.multiply(w, 2),
        lambda w: np.matmul(w, np.ones(3)),
        lambda w: np.modf(w),
    ],
)
def test_ufuncs_do_not_drop_a_gradient(call):
    w = drawn(3, grad=True)
    with pytest.raises(GraphError, match="that requires a gradient would drop the gradient"):
        call(w)
    plain = call(w.detach())
    assert all(isinstance(p, (np.ndarray, np.floating)) for p in (plain if isinstance(plain, tuple) else (plain,)))


def test_arrays_of_tensors_are_not_copies():
    w = drawn(3, grad=True)
    for x in (w.detach(), drawn(3)):
        assert np.shares_memory(np.asarray(x), x._array)
    assert isinstance(np.ones(3) + w, minidl.Tensor) and (np.ones(3) * w).requires_grad
    assert (np.float64(2) * w).requires_grad
    assert type(np.sqrt(minidl.tensor(4.0))) is np.float32


i = minidl.tensor([4, 5])


@pytest.mark.parametrize(
    "call",
    [
        lambda: i // 0,
        lambda: i // minidl.tensor([0, 1]),
        lambda: i % 0,
        lambda: 3 % (i - 4),
        lambda: minidl.div(i, 0, rounding_mode="floor"),
        lambda: minidl.div(i, minidl.tensor([1, 0]), rounding_mode="trunc"),
    ],
)
def test_whole_numbers_are_not_divided_by_zero(call):
    with pytest.raises(ZeroDivisionError, match="of whole numbers by 0, which has no answer"):
        call()
    assert (i.float() // 0).isinf().all()


def test_whole_numbers_stay_whole():
    for call in (lambda: minidl.add(i, i, alpha=0.5), lambda: i.sub(1, alpha=0.5)):
        with pytest.raises(TypeError, match=r"alpha = 0.5 between whole numbers: give alpha as one too"):
            call()
    assert minidl.add(i, i, alpha=2).tolist() == [12, 15]
    with pytest.raises(OverflowError, match="9223372036854775808 does not fit into int64"):
        minidl.tensor([2**63])
    assert minidl.tensor([2**63 - 1]).dtype == "int64"


def test_einsum_says_which_diagonal_there_is_not():
    with pytest.raises(ValueError, match="letter 'i' is 2 and 3 in operand 0"):
        minidl.einsum("ii->i", minidl.zeros(2, 3))


def test_what_norm_and_meshgrid_do_not_know():
    with pytest.raises(ValueError, match="p is a number or 'fro', not 'nuc': minidl has no singular values"):
        minidl.norm(minidl.ones(2, 2), "nuc")
    with pytest.raises(ValueError, match="indexing is 'ij' or 'xy', not 'yx'"):
        minidl.meshgrid(i, i, indexing="yx")
    with pytest.raises(ValueError, match=r"median\(\) of no elements"):
        minidl.zeros(0).median()


def test_new_tensors_take_after_another():
    x = drawn(2)
    assert x.new_zeros(2, 3).dtype == x.new_ones((1,)).dtype == x.new_tensor([1]).dtype == "float64"
    assert x.new_full((2,), 7.0).tolist() == [7.0, 7.0] and x.new_empty(3, dtype="int32").dtype == "int32"
    assert x.new_zeros(size=(4,)).shape == (4,) and x.new_ones(2, requires_grad=True).requires_grad


def test_more_writing_in_place():
    x, y = drawn(3, grad=True), drawn(3)
    z = x * 1
    z.pow_(3)
    z.masked_fill_(y > 0, 2.0)
    g = drawn(3)
    (mine,) = minidl.autograd.grad(z, [x], g)
    expected = np.where(y.numpy() > 0, 0, 3 * x.detach().numpy() ** 2 * g.numpy())
    np.testing.assert_allclose(mine.numpy(), expected, rtol=1e-12)


def test_detach_in_place():
    x = drawn(3, grad=True)
    y = x * 2
    assert y.detach_() is y and y.is_leaf and not y.requires_grad
    z = x * 2
    row = z[:2]
    with pytest.raises(GraphError, match="of a tensor whose memory other tensors see"):
        z.detach_()
    assert row.requires_grad
