"""A value that a live graph needs cannot change unnoticed, whichever way it is written to."""

import numpy as np
import pytest

import minidl
from minidl import GraphError, tensor

AGAIN = "it was written to in place after the forward pass"


def pair():
    """x and w of a product: the gradient of each needs the other's value."""
    return tensor([1.0, 2.0, 3.0]), tensor([4.0, 5.0, 6.0], requires_grad=True)


WRITES = {
    "method": lambda x: x.add_(1),
    "operator": lambda x: x.__iadd__(1),
    "index": lambda x: x.__setitem__(0, 9.0),
    "zero": lambda x: x.zero_(),
    "copy": lambda x: x.copy_(tensor([0.0, 0.0, 1.0])),
    "view": lambda x: x[1:].mul_(2),
    "view of a view": lambda x: x.reshape(3, 1)[1:, 0].fill_(0),
    "transpose": lambda x: x.unsqueeze(0).t().fill_(0),
    "detached": lambda x: x.detach().fill_(0),
    "data": lambda x: x.data.sub_(1),
    "clamp": lambda x: x.clamp_(max=2),
}


@pytest.mark.parametrize("name", WRITES)
def test_writes_through_tensors_are_noticed(name):
    x, w = pair()
    y = (x * w).sum()
    WRITES[name](x)
    with pytest.raises(GraphError, match=rf"'mul' needs its argument 0 \('a'\), shape \(3,\), .* but {AGAIN}"):
        y.backward()


def test_the_advice_works():
    x, w = pair()
    y = (x.clone() * w).sum()
    x.add_(1)
    y.backward()
    assert w.grad.tolist() == [1, 2, 3]


def test_a_result_that_was_saved_is_guarded_too():
    x = tensor([0.5, 1.0], requires_grad=True)
    y = x.exp()
    with minidl.no_grad():
        y.mul_(2)
    with pytest.raises(GraphError, match=rf"'exp' needs its result, shape \(2,\), for its gradient, but {AGAIN}"):
        y.sum().backward()


def test_an_optimiser_step_between_forward_and_backward_is_noticed():
    w = tensor([1.0, 2.0], requires_grad=True)
    y = (w * w).sum()
    with minidl.no_grad():
        w -= 0.1
    with pytest.raises(GraphError, match=AGAIN):
        y.backward()


def test_replaced_data_is_noticed():
    w = tensor([1.0, 2.0], requires_grad=True)
    y = (w * w).sum()
    w.data = tensor([5.0, 5.0])
    with pytest.raises(GraphError, match=AGAIN):
        y.backward()


def test_values_that_nobody_needs_may_change():
    x, w = pair()
    y = (x + w).sum()
    x.add_(1)
    y.backward()
    assert w.grad.tolist() == [1, 1, 1]


def test_a_finished_graph_needs_nothing():
    x, w = pair()
    y = (x * w).sum()
    y.backward()
    x.add_(1)
    x.numpy()[0] = 5


# ---- writes behind the tensor's back -------------------------------------------------------------


def test_numpy_view_is_read_only_while_a_graph_needs_it():
    x, w = pair()
    y = x * w
    with pytest.raises(ValueError, match="read-only"):
        x.numpy()[0] = 5
    with pytest.raises(ValueError, match="read-only"):
        x.reshape(3, 1).numpy()[0] = 5  # the same memory
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(w)[0] = 5
    del y
    x.numpy()[0] = 5
    assert x[0].item() == 5


def test_a_tensor_that_requires_a_gradient_is_read_only_to_numpy():
    w = tensor([1.0], requires_grad=True)
    assert not w.numpy().flags.writeable and w.numpy().copy().flags.writeable


@pytest.mark.parametrize("escape", ["numpy", "asarray", "from_numpy"])
def test_writes_through_other_libraries_are_noticed(escape):
    x, w = pair()
    if escape == "from_numpy":
        array = np.array([1.0, 2.0, 3.0], "float32")
        x = minidl.from_numpy(array)
    elif escape in ("numpy", "asarray"):
        array = x.numpy() if escape == "numpy" else np.asarray(x)
    y = (x * w).sum()
    array[1] = 7
    with pytest.raises(GraphError, match=AGAIN):
        y.backward()


@pytest.mark.torch
@pytest.mark.parametrize("after", [False, True])
def test_writes_through_torch_are_noticed(after):
    torch = pytest.importorskip("torch")
    x, w = pair()
    theirs = None if after else torch.from_dlpack(x)
    y = (x * w).sum()
    theirs = torch.from_dlpack(x) if after else theirs
    theirs[0] = 100
    with pytest.raises(GraphError, match=AGAIN):
        y.backward()


@pytest.mark.parametrize(
    "use",
    [
        lambda x, a: x * a,
        lambda x, a: minidl.where(a > 0, x, 0.0) * minidl.where(a, x, 0.0),
        lambda x, a: x.clamp(min=a).clamp(max=a + 1),
        lambda x, a: minidl.nn.functional.linear(x, a.reshape(1, 3)),
    ],
    ids=["product", "where", "clamp", "linear"],
)
def test_arrays_as_operands_are_guarded(use):
    """An array takes part as it is, without a copy, so that its owner may write to it."""
    x, a = tensor([1.0, 2.0, 3.0], requires_grad=True), np.array([0.5, 3.0, 1.0], np.float32)
    right = minidl.autograd.grad(use(x, a).sum(), x)[0].tolist()
    y = use(x, a).sum()
    a[:] = -a
    try:
        y.backward()
    except GraphError as error:
        assert AGAIN in str(error)
    else:  # the values were copied
        assert x.grad.tolist() == right


def test_indices_and_weights_are_copied():
    F = minidl.nn.functional
    pooled, indices = F.max_pool1d(tensor([[[1.0, 3.0, 2.0, 0.0]]]), 2, return_indices=True)
    pooled.requires_grad_()
    y = F.max_unpool1d(pooled, indices, 2)
    indices.zero_()
    (y * tensor([1.0, 10.0, 100.0, 1000.0])).sum().backward()
    assert pooled.grad.tolist() == [[[10, 100]]]

    scores, weight = tensor([[1.0, 2.0]], requires_grad=True), tensor([1.0, 2.0])
    loss = F.cross_entropy(scores, tensor([0]), weight=weight, label_smoothing=0.1)
    right = minidl.autograd.grad(loss, scores, retain_graph=True)[0].tolist()
    weight.zero_()
    loss.backward()
    assert scores.grad.tolist() == right


def test_unchanged_escaped_values_pass():
    x, w = pair()
    x.numpy()
    y = (x * w).sum()
    y.backward()
    assert w.grad.tolist() == [1, 2, 3]


# ---- recorded in-place operations ----------------------------------------------------------------


def test_recorded_writes_are_functional():
    """y * y was computed before y changed, and its gradient is that of the old y."""
    x = tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    z = (y * y).sum()
    y += 1
    z.backward(retain_graph=True)
    assert x.grad.tolist() == [18, 36] and y.tolist() == [4, 7]


def test_saved_results_survive_recorded_writes():
    x = tensor([0.0, 1.0], requires_grad=True, dtype="float64")
    y = x.exp()
    y *= 2
    y.sum().backward()
    assert np.allclose(x.grad.numpy(), 2 * np.exp([0, 1]))


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.add_(1),
        lambda x: x.__setitem__(0, 1.0),
        lambda x: x[0].mul_(2),
        lambda x: x.reshape(-1).zero_(),
        lambda x: x.__imul__(2),
    ],
)
def test_leaves_are_not_written_to(write):
    x = tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(GraphError, match="a leaf that requires a gradient cannot be written to in place, nor"):
        write(x)
    assert x.tolist() == [1, 2] and x.is_leaf
    with minidl.no_grad():
        x.add_(1)
    assert x.tolist() == [2, 3]


def test_indexed_update_is_differentiable():
    x, v = tensor([1.0, 2.0, 3.0], requires_grad=True), tensor([10.0, 20.0], requires_grad=True)
    y = x * 2
    y[1:] = v * v
    y[0] += v[1]
    y.backward(tensor([1.0, 2.0, 3.0]))
    assert x.grad.tolist() == [2, 0, 0] and v.grad.tolist() == [40, 121]


def test_a_view_of_constants_becomes_part_of_the_graph():
    base, w = minidl.zeros(2, 2), tensor([3.0, 4.0], requires_grad=True)
    row = base[1]
    row += w
    assert base.requires_grad and base.tolist() == [[0, 0], [3, 4]]
    (base * tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    assert w.grad.tolist() == [3, 4]


def test_views_stay_views_after_a_recorded_write():
    x = tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    y = x * 1
    left, backwards = y[:3], minidl.from_numpy(np.zeros(1))
    backwards = y[::-1]
    left += 10
    y *= 2
    with minidl.no_grad():
        y[3] = -1
    assert left.tolist() == [22, 24, 26] and backwards.tolist() == [-1, 26, 24, 22] and y.tolist() == [22, 24, 26, -1]


def test_dead_views_cost_nothing():
    x = tensor([1.0, 2.0], requires_grad=True)
    y = x * 1
    y.reshape(2, 1)
    with minidl.autograd.Tape() as tape:
        y += 1
    assert [c.primitive.name for c in tape.calls] == ["add"]


def test_a_detached_tensor_follows_recorded_writes():
    """As in PyTorch: it shares the memory, so it shows what is written there, and stays without a history."""
    x = tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    y = x * 1
    whole, part, of_a_view = y.detach(), y.detach()[1:3], y[::2].detach()
    y *= 10
    y[1] = x[0] * 7
    assert whole.tolist() == y.tolist() == [10, 7, 30, 40]
    assert part.tolist() == [7, 30] and of_a_view.tolist() == [10, 30]
    assert not whole.requires_grad and not part.requires_grad and not of_a_view.requires_grad
    part.fill_(-1)  # and the other way round
    assert y.tolist() == [10, -1, -1, 40]
    y.backward(tensor([1.0, 2.0, 3.0, 4.0]))
    assert x.grad.tolist() == [10 + 2 * 7, 0, 30, 40]


def test_a_detached_tensor_that_outlives_its_view_gives_it_no_history():
    x = tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 1
    whole, last = y.detach(), y[1:]
    del y
    last *= 3
    last.backward(tensor([5.0, 7.0]))
    assert whole.tolist() == [1, 6, 9] and x.grad.tolist() == [0, 15, 21]


@pytest.mark.parametrize("make", [lambda x: x * 1, lambda x: x], ids=["computed", "leaf"])
def test_a_recorded_write_to_a_detached_tensor_is_refused(make):
    """PyTorch changes the source's values below its history: gradients of one thing, values of another."""
    x, w = tensor([1.0, 2.0], requires_grad=True), tensor([3.0, 4.0], requires_grad=True)
    y = make(x)
    d = y.detach()
    with pytest.raises(GraphError, match=r"shares its memory by detach\(\).*write into a copy, x.detach\(\).clone\(\)"):
        d += w
    assert y.tolist() == d.tolist() == [1, 2]
    with pytest.raises(GraphError, match=r"would then have the values of another computation"):
        d[0] = w[0]
    copy = y.detach().clone()
    copy += w
    assert copy.tolist() == [4, 6] and y.tolist() == [1, 2]


def test_a_leaf_made_by_detaching_does_not_change_under_its_name():
    y = tensor([1.0, 2.0], requires_grad=True) * 1
    leaf = y.detach().requires_grad_()
    with pytest.raises(GraphError, match=r"shares its memory by detach\(\)"):
        y *= 2
    assert leaf.tolist() == y.tolist() == [1, 2]
    del leaf
    y *= 2
    assert y.tolist() == [2, 4]


def test_an_array_keeps_what_it_shows_when_its_tensor_is_written_to_with_a_record():
    y = tensor([1.0, 2.0], requires_grad=True) * 1
    shown = y.numpy()
    y *= 2
    assert shown.tolist() == [1, 2] and y.numpy().tolist() == [2, 4]
