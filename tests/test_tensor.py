"""The tensor: construction, dtypes, text, indexing, in-place writes, copies, other array libraries."""

import copy
import operator
import pickle

import numpy as np
import pytest

import minidl
from minidl import GraphError, tensor

# ---- construction and dtypes ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, "float32"),
        ([1, 2], "int64"),
        ([1.0, 2], "float32"),
        (True, "bool"),
        ([[True], [False]], "bool"),
        ([], "float32"),
        (np.zeros(2), "float64"),
        (np.zeros(2, "float32"), "float32"),
        (np.arange(3, dtype="int16"), "int16"),
        (np.float64(2), "float64"),
    ],
)
def test_dtype_of_new_tensors(data, dtype):
    assert tensor(data).dtype == dtype


def test_a_new_tensor_owns_its_memory():
    array = np.zeros(3, "float32")
    t = tensor(array)
    array[0] = 1
    assert t[0].item() == 0


def test_nested_tensors_and_explicit_dtype():
    t = tensor([tensor([1.0, 2.0]), tensor([3.0, 4.0])], dtype="float64", requires_grad=True)
    assert t.shape == (2, 2) and t.dtype == "float64" and t.requires_grad


@pytest.mark.parametrize("data", [[1j], ["a"], None])
def test_only_real_numbers(data):
    with pytest.raises(TypeError, match="a tensor holds real numbers of at most 64 bits, integers or booleans, not"):
        tensor(data)
    with pytest.raises(TypeError, match="not complex128"):
        minidl.from_numpy(np.zeros(2, complex))
    with pytest.raises(TypeError, match="this is a tensor already"):
        minidl.from_numpy(tensor(1.0))


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize <= 8, reason="no wider floating point here")
@pytest.mark.parametrize("make", [tensor, minidl.from_numpy])
def test_no_more_than_64_bits(make):
    with pytest.raises(TypeError, match=r"at most 64 bits, .* not float"):
        make(np.zeros(2, np.longdouble))


def test_the_byte_order_is_that_of_the_machine():
    """Files of other machines hold arrays that compiled kernels cannot read."""
    foreign = np.array([[[1.0, 3.0, 2.0]]], np.dtype("float32").newbyteorder("S"))
    x = tensor(foreign)
    assert x.dtype.isnative and x.dtype == "float32" and x.tolist() == [[[1, 3, 2]]]
    assert minidl.nn.functional.max_pool1d(x, 2).item() == 3
    assert (x + foreign).dtype.isnative
    with pytest.raises(TypeError, match=r"has the other byte order than this machine: copy it with minidl.tensor"):
        minidl.from_numpy(foreign)


def test_default_dtype():
    minidl.set_default_dtype("float64")
    try:
        assert (
            tensor(1.0).dtype
            == minidl.zeros(2).dtype
            == minidl.randn(2).dtype
            == (tensor([1]) * 0.5).dtype
            == "float64"
        )
    finally:
        minidl.set_default_dtype(minidl.float32)
    with pytest.raises(TypeError, match="the default dtype must be floating point, not int64"):
        minidl.set_default_dtype("int64")


def test_nothing_becomes_float64_by_accident():
    x, i = tensor([1.0, 2.0, 3.0]), tensor([1, 2, 3])
    results = [
        x + 0.1,
        x * np.float64(2),
        np.float64(2) * x,
        x * np.array(2.0),
        np.array(2.0) * x,
        x / 3,
        1 / x,
        x**2,
        x**0.5,
        2**x,
        x.mean(),
        x.var(),
        x.std(),
        x.norm(),
        x.logsumexp(0),
        minidl.softmax(x, 0),
        i / 2,
        i * 0.5,
        i.float().mean(),
        minidl.exp(i),
        minidl.sqrt(i),
        minidl.where(x > 1, x, 0.0),
        x.clamp(0.5, 2),
        x + i,
        i.clamp(0.5, 2),
        minidl.linspace(0, 1, 3),
        minidl.full((2,), 0.5),
        minidl.arange(0, 1, 0.5),
        minidl.eye(2),
        x + True,
        x % 2,
        x // 2,
        i % 0.5,
        minidl.cat([i, x]),
        minidl.stack([x, x]),
        minidl.erf(x),
        minidl.rand(2),
        minidl.atan2(x, 1.0),
        x.masked_fill(x > 1, 0.5),
        x + tensor(1.0, dtype="float64"),
        minidl.sigmoid(i),
        x[0] + 1.0,
        x.sum() * np.float64(0.5),
        np.float64(0.5) * x.sum(),
        x.sum() / np.float64(3),
        minidl.maximum(x.sum(), np.float64(1)),
        minidl.where(x.sum() > 0, x.sum(), np.float64(0)),
        minidl.nn.functional.smooth_l1_loss(x, x * 2, beta=np.float64(0.5)),
    ]
    assert [str(r.dtype) for r in results] == ["float32"] * len(results)
    y = (x * 1).requires_grad_()
    (y * 0.5 + np.float64(1)).sum().backward()
    assert y.grad.dtype == "float32"


def test_reductions_give_arrays_that_can_be_written_to():
    s = tensor([1.0, 2.0]).sum()
    s.add_(1)
    assert s.item() == 4 and isinstance(s._array, np.ndarray)


@pytest.mark.parametrize("name", ["empty", "zeros", "ones"])
def test_made_tensors(name):
    t = getattr(minidl, name)(2, 3, dtype="int32", requires_grad=False)
    assert t.shape == (2, 3) and t.dtype == "int32"
    like = getattr(minidl, name + "_like")(t, dtype="float64", requires_grad=True)
    assert like.shape == (2, 3) and like.dtype == "float64" and like.requires_grad and like.is_leaf


def test_only_floating_point_requires_a_gradient():
    with pytest.raises(GraphError, match="only floating-point tensors can require a gradient, not int64"):
        tensor([1], requires_grad=True)


# ---- text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("t", "text"),
    [
        (tensor([1.0, 2.5]), "tensor([1. , 2.5])"),
        (tensor(3.0), "tensor(3.)"),
        (tensor([1, 2]), "tensor([1, 2])"),
        (tensor([True]), "tensor([ True])"),
        (tensor([1.0], dtype="float64"), "tensor([1.], dtype=float64)"),
        (tensor([1], dtype="int32"), "tensor([1], dtype=int32)"),
        (tensor([1.0], requires_grad=True), "tensor([1.], requires_grad=True)"),
        (tensor([1.0], requires_grad=True) * 2, "tensor([2.], grad_fn=<mul>)"),
        (minidl.zeros(0, 3), "tensor([], dtype=float32, size=(0, 3))"),
        (tensor([[1.0, 2.0], [3.0, 4.0]]), "tensor([[1., 2.],\n        [3., 4.]])"),
    ],
)
def test_repr(t, text):
    assert repr(t) == text


def test_format():
    assert f"{tensor(1.2345):.2f}" == "1.23"
    assert f"{tensor([1.0])}" == "tensor([1.])"


# ---- scalars and Python protocols ----------------------------------------------------------------


def test_numbers_out_of_tensors():
    assert float(tensor([2.5])) == 2.5 and int(tensor(3)) == 3 and [10, 20, 30][tensor(1)] == 20
    assert bool(tensor([1])) and not bool(tensor(0.0))
    assert len(tensor([[1], [2]])) == 2 and [r.tolist() for r in tensor([[1], [2]])] == [[1], [2]]
    assert 2.0 in tensor([1.0, 2.0]) and tensor(5.0) not in tensor([1.0])


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (lambda: bool(tensor([1, 2])), ValueError, r"a tensor of shape \(2,\) is neither true nor false"),
        (
            lambda: tensor([1, 2]).item(),
            ValueError,
            r"item\(\) needs a tensor of one element, this one has shape \(2,\)",
        ),
        (lambda: len(tensor(1)), TypeError, "a tensor of a single number has no length"),
        (lambda: list(tensor(1)), TypeError, "cannot iterate over a tensor of a single number"),
        (
            lambda: operator.index(tensor(1.0)),
            TypeError,
            "only an integer tensor of one element can be an index, not float32",
        ),
        (
            lambda: tensor([1.0, 2.0]) + tensor([1.0, 2.0, 3.0]),
            ValueError,
            r"shapes \(2,\) and \(3,\) do not go together: lined up at their last axes, axis -1 has 2 entries",
        ),
        (
            lambda: minidl.zeros(4, 3) * minidl.zeros(2, 1, 5, 3),
            ValueError,
            "axis -2 has 4 entries in one and 5 in the other",
        ),
        (lambda: tensor([1, 2]).mean(), TypeError, r"mean\(\) needs floating point, got int64"),
        (
            lambda: minidl.zeros(2, 3) @ minidl.zeros(2, 3),
            ValueError,
            r"matmul: \(2, 3\) @ \(2, 3\): the last axis of the left \(3\) must equal",
        ),
        (
            lambda: minidl.zeros(2) @ minidl.zeros(2, dtype="float64"),
            TypeError,
            "matmul needs one dtype for all its arguments",
        ),
        (
            lambda: minidl.from_dlpack([1, 2]),
            TypeError,
            r"from_dlpack takes an array of another library that speaks DLPack, not list: minidl.tensor\(\) takes",
        ),
        (
            lambda: minidl.zeros(2, 3).reshape(4),
            ValueError,
            r"cannot reshape \(2, 3\) \(6 elements\) to \(4,\) \(4 elements\)",
        ),
        (
            lambda: minidl.zeros(2, 3).reshape(4, -1),
            ValueError,
            "at most one length may be -1, and it must come out whole",
        ),
        (lambda: minidl.zeros(2, 3).permute(0, 0), ValueError, "does not name each of the 2 axes once"),
        (
            lambda: minidl.zeros(2, 3).sum(2),
            IndexError,
            r"dim 2 is out of range for a tensor of 2 dimensions \(-2 to 1\)",
        ),
        (lambda: minidl.zeros(2, 3).sum((0, -2)), ValueError, "names an axis twice"),
        (lambda: minidl.zeros(2, 3).expand(4, 3), ValueError, "axis 0 has length 2, only 1 can grow"),
        (lambda: minidl.zeros(2, 3).expand(3), ValueError, "has fewer axes than the tensor's shape"),
        (lambda: minidl.zeros(2, 3).t().unsqueeze(0).t(), ValueError, r"t\(\) is for matrices"),
        (lambda: minidl.cat([minidl.zeros(2, 3), minidl.zeros(2, 2)]), ValueError, "tensor 1 does not fit"),
        (lambda: minidl.cat([]), ValueError, "cat needs at least one tensor"),
        (lambda: minidl.stack([minidl.zeros(2), minidl.zeros(3)]), ValueError, "stack needs tensors of one shape"),
        (lambda: minidl.zeros(0).max(), ValueError, r"^max\(\) of no elements"),
        (lambda: minidl.zeros(3)[1.5], IndexError, "not 1.5, in a tensor of shape"),
        (lambda: minidl.zeros(3)[tensor([0.5])], IndexError, "an index must be integers or booleans, not float32"),
        (lambda: minidl.zeros(3)[3], IndexError, "index 3 on axis 0 of length 3"),
        (
            lambda: minidl.gather(minidl.zeros(2, 3), 1, tensor([[3]])),
            IndexError,
            "index values 3 to 3 on an axis of length 3",
        ),
        (
            lambda: minidl.gather(minidl.zeros(2, 3), 1, tensor([0])),
            IndexError,
            "the index has 1 dimensions, the input 2",
        ),
        (lambda: minidl.inv(minidl.zeros(2, 3)), ValueError, "inv needs square matrices"),
        (
            lambda: minidl.einsum("ij,jk->ik", minidl.zeros(2, 3), minidl.zeros(2, 3)),
            ValueError,
            "letter 'j' is 3 in one",
        ),
        (lambda: minidl.clamp(tensor(1.0)), ValueError, "clamp needs min or max, or both"),
        (
            lambda: minidl.div(tensor(1.0), 2, rounding_mode="up"),
            ValueError,
            "rounding_mode must be None, 'floor' or 'trunc'",
        ),
        (lambda: minidl.zeros(2).topk(3), ValueError, "topk: k = 3 of an axis of length 2"),
        (
            lambda: minidl.split(minidl.zeros(5), [2, 2]),
            ValueError,
            r"split: the sizes \[2, 2\] add up to 4, the axis has 5",
        ),
        (lambda: minidl.split(minidl.zeros(5), 0), ValueError, "split: the size must be positive, got 0"),
        (lambda: minidl.zeros(2, 3).narrow(1, 2, 2), IndexError, "narrow: entries 2 to 4 of an axis of length 3"),
        (
            lambda: minidl.diagonal(minidl.zeros(2, 2), 0, 1, -1),
            ValueError,
            "diagonal needs two different axes, got 1 twice",
        ),
        (lambda: minidl.movedim(minidl.zeros(2, 2), (0, 1), 0), ValueError, "movedim: 2 axes for 1 places"),
        (lambda: tensor(1.0).to("cpu:7"), minidl.DeviceError, "unknown device 'cpu:7'"),
    ],
)
def test_messages(action, error, message):
    with pytest.raises(error, match=message):
        action()


def test_equality_with_anything():
    t = tensor([1.0, 2.0])
    assert (
        (t == 1).tolist() == [True, False]
        and (t != t).tolist() == [False, False]
        and (t == [1, 2]).tolist() == [True] * 2
    )
    assert (t == None) is False and (t != "text") is True  # noqa: E711
    assert len({t, t, tensor(1.0)}) == 2  # hashed by identity


def test_numpy_arrays_on_either_side():
    t, a = tensor([1.0, 2.0]), np.array([3.0, 4.0], "float32")
    for r in (t + a, a + t, a * t, a - t, a / t, a @ t, np.float32(2) ** t):
        assert isinstance(r, minidl.Tensor) and r.dtype == "float32"
    assert (a - t).tolist() == [2, 2] and (a < t).tolist() == [False, False]


# ---- indexing that torch does not have -----------------------------------------------------------


@pytest.mark.parametrize(
    "index",
    [
        np.s_[::-1],
        np.s_[:, ::-2],
        np.s_[3:0:-1, ::-1],
        np.s_[..., None, 1],
        np.s_[np.array([0, 2]), 1:],
        np.s_[-1, ::-1],
        np.s_[np.array([[0, 1], [2, 2]])],
        np.s_[np.array([True, False, True, True])],
        np.s_[range(2).stop],
    ],
)
def test_reading_follows_numpy(index):
    a = np.arange(12.0).reshape(4, 3)
    x = tensor(a, requires_grad=True)
    y = x[index]
    assert np.array_equal(y.detach().numpy(), a[index])
    g = np.random.default_rng(0).standard_normal(y.shape)
    y.backward(g)
    expected = np.zeros_like(a)
    np.add.at(expected, index, g)
    assert np.allclose(x.grad.numpy(), expected)


def test_numbers_leave_before_arrays_are_read():
    """x[0, :, [1, 1]] is x[0][:, [1, 1]], as in PyTorch; NumPy alone would move the array's axis to the front."""
    x = minidl.arange(24).reshape(2, 3, 4)
    assert x[0, :, [1, 2]].shape == (3, 2)
    assert (x[0, :, [1, 2]] == x[0][:, [1, 2]]).all()
    x[1, :, [0, 3]] = tensor([[10, 20]] * 3)
    assert x[1].tolist()[0] == [10, 13, 14, 20]


def test_an_index_tensor_may_change_afterwards():
    x, i = tensor([1.0, 2.0, 3.0], requires_grad=True), tensor([0, 1])
    y = x[i]
    i.fill_(2)
    y.sum().backward()
    assert x.grad.tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    "value", [5.0, tensor(5.0), tensor([5.0, 6.0, 7.0]), np.ones(3), [1.0, 2.0, 3.0], tensor([1, 2, 3])]
)
def test_plain_writes_go_to_memory(value):
    a = np.zeros((2, 3), "float32")
    x = minidl.from_numpy(a)
    x[1] = value
    assert np.array_equal(a[1], np.broadcast_to(np.asarray(value, "float32"), 3))
    assert x.dtype == "float32" and not a[0].any()


def test_views_share_memory():
    x = minidl.zeros(2, 3)
    for view in (
        x[0],
        x[0, 1],
        x.t(),
        x.reshape(-1),
        x[None],
        x.expand(2, 2, 3),
        x.flatten(),
        x.detach(),
        x.split(1)[1],
    ):
        assert np.shares_memory(view._array, x._array)
    x[0, 1].fill_(7)
    assert x.tolist() == [[0, 7, 0], [0, 0, 0]]
    for copied in (x.clone(), x.flip(0), minidl.einsum("ij->ji", x), x[[0]], x.roll(1, 0)):
        assert not np.shares_memory(copied._array, x._array)


def test_writing_to_an_expanded_view_is_refused():
    with pytest.raises(ValueError, match=r"cannot be written to in place: it is an expanded view"):
        minidl.zeros(1, 3).expand(2, 3).add_(1)


def test_in_place_keeps_shape_and_kind():
    with pytest.raises(ValueError, match=r"an in-place operation cannot change the shape from \(3,\) to \(2, 3\)"):
        minidl.zeros(3).add_(minidl.ones(2, 3))
    with pytest.raises(TypeError, match="an in-place operation cannot turn int64 into float32"):
        tensor([1, 2]).div_(2)
    w = tensor([0.5, 0.5], requires_grad=True)
    with pytest.raises(TypeError, match="an in-place operation cannot turn int64 into float32"):
        tensor([1, 2]).mul_(w)


# ---- copies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_deepcopy_and_pickle(duplicate):
    x = tensor([[1.0, 2.0]], requires_grad=True)
    y = duplicate(x)
    assert y.requires_grad and y.is_leaf and not np.shares_memory(x._array, y._array) and (x == y).all()
    shared = duplicate([x, x])
    assert shared[0] is shared[1]


def test_deepcopy_takes_the_gradient_along():
    x = tensor([1.0], requires_grad=True)
    (x * 2).sum().backward()
    y = copy.deepcopy(x)
    y.grad.zero_()
    assert x.grad.item() == 2 and y.grad.item() == 0


def test_only_leaves_are_copied():
    y = tensor([1.0], requires_grad=True) * 2
    with pytest.raises(GraphError, match=r"only leaves can be copied deeply; detach\(\) the tensor first"):
        copy.deepcopy(y)
    with pytest.raises(GraphError, match=r"only leaves can be pickled; detach\(\) the tensor first"):
        pickle.dumps(y)


def test_clone_keeps_the_layout():
    x = minidl.zeros(2, 4, 5, 3).permute(0, 3, 1, 2)
    assert x.clone()._array.strides == x._array.strides and x.contiguous().is_contiguous()
    assert x.contiguous().contiguous() is not x and x.clone() is not x


# ---- other libraries -----------------------------------------------------------------------------


def test_array_protocol():
    t = tensor([1.0, 2.0])
    assert np.shares_memory(np.asarray(t), t._array)
    assert np.asarray(t, dtype="float64").dtype == "float64" and not np.shares_memory(np.array(t), t._array)
    with pytest.raises(ValueError, match="a copy is needed to change float32 to float64"):
        t.__array__("float64", copy=False)


def test_from_numpy_shares_memory():
    a = np.zeros(3)
    t = minidl.from_numpy(a)
    a[0] = 1
    t[1] = 2
    assert t.tolist() == a.tolist() == [1, 2, 0]


def test_dlpack_with_numpy():
    t = minidl.arange(6.0).reshape(2, 3)
    a = np.from_dlpack(t)
    assert np.shares_memory(a, t._array)
    back = minidl.from_dlpack(a)
    assert np.shares_memory(back._array, t._array)


@pytest.mark.torch
def test_dlpack_with_torch():
    torch = pytest.importorskip("torch")
    t = minidl.arange(6.0).reshape(2, 3)
    theirs = torch.from_dlpack(t)
    theirs[0, 0] = 9
    assert t[0, 0].item() == 9
    again = minidl.from_dlpack(theirs.t())
    assert again.shape == (3, 2)
    again[2, 1] = -1
    assert t[1, 2].item() == -1
    assert torch.as_tensor(np.asarray(t)).data_ptr() == theirs.data_ptr()


def test_dlpack_refuses_what_requires_a_gradient():
    with pytest.raises(BufferError, match=r"cannot be exported: use .detach\(\) first"):
        np.from_dlpack(tensor([1.0], requires_grad=True))


def test_as_tensor_copies_only_if_it_must():
    a = np.zeros(3, "float32")
    assert np.shares_memory(minidl.as_tensor(a)._array, a)
    t = tensor([1.0])
    assert minidl.as_tensor(t) is t and minidl.as_tensor(t, "float64").dtype == "float64"
    assert minidl.as_tensor([1, 2], dtype="float32").dtype == "float32"


def test_to_something_that_is_neither_device_nor_dtype():
    x = minidl.zeros(2)
    for wrong in ("gpu", "float33"):
        with pytest.raises(
            TypeError, match=f"to: '{wrong}' is neither a device .*'cuda:0'.* nor a dtype, such as 'float32'"
        ):
            x.to(wrong)


def test_lists_of_unequal_lengths():
    for data in ([[1, 2], [3]], [[1.0], 2.0]):
        with pytest.raises(ValueError, match="tensor: the lists that stand beside each other must have one length"):
            minidl.tensor(data)
