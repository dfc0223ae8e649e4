"""Where steps have a quicker way together: the same bits, and the steps themselves for whoever listens or records."""

import numpy as np
import pytest

import minidl
from minidl.autograd import Tape, grad
from minidl.nn import functional as F


@pytest.mark.parametrize("shape", [(3, 5), ()])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_of_tanh(dtype: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x = minidl.tensor(rng.standard_normal(shape), dtype=dtype, requires_grad=True)
    g = minidl.tensor(rng.standard_normal(shape), dtype=dtype)
    (together,) = grad(x.tanh(), [x], g)
    with Tape() as tape:
        (listened,) = grad(x.tanh(), [x], g)
    assert [call.primitive.name for call in tape.calls] == ["tanh", "mul", "sub", "mul"]
    (recorded,) = grad(x.tanh(), [x], g, create_graph=True)
    assert together.dtype == dtype and together.shape == shape and recorded.requires_grad
    np.testing.assert_array_equal(together.numpy(), listened.numpy())
    np.testing.assert_array_equal(together.numpy(), recorded.detach().numpy())
    np.testing.assert_allclose(together.numpy(), g.numpy() / np.cosh(x.detach().numpy()) ** 2, rtol=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cross_entropy(dtype: str, reduction: str) -> None:
    rng = np.random.default_rng(1)
    x = minidl.tensor(rng.standard_normal((7, 5)) * 3, dtype=dtype, requires_grad=True)
    t, g = minidl.tensor(rng.integers(0, 5, 7)), minidl.tensor(rng.standard_normal(), dtype=dtype)
    together = F.cross_entropy(x, t, reduction=reduction)
    assert together.grad_fn.name == "cross_entropy" and together.dtype == dtype and together.shape == ()
    (dx,) = grad(together, [x], g)
    with Tape() as tape:
        listened = F.cross_entropy(x, t, reduction=reduction)
        (dx_listened,) = grad(listened, [x], g)
    assert tape.calls[0].primitive.name == "log_softmax"
    np.testing.assert_array_equal(together.detach().numpy(), listened.detach().numpy())
    np.testing.assert_array_equal(dx.numpy(), dx_listened.numpy())
    assert dx.dtype == dtype
    p = np.exp(x.detach().numpy()) / np.exp(x.detach().numpy()).sum(1, keepdims=True)
    expected = (p - np.eye(5)[t.numpy()]) * g.item() / (7 if reduction == "mean" else 1)
    np.testing.assert_allclose(dx.numpy(), expected, rtol=1e-5, atol=1e-7)


def test_the_second_derivative_of_cross_entropy() -> None:
    """diag(p) - p p' for each sample, divided by their number."""
    rng = np.random.default_rng(2)
    x = minidl.tensor(rng.standard_normal((3, 4)), dtype="float64", requires_grad=True)
    t, v = minidl.tensor([2, 0, 0]), rng.standard_normal((3, 4))
    (dx,) = grad(F.cross_entropy(x, t), [x], create_graph=True)
    (ddx,) = grad(dx, [x], minidl.tensor(v))
    p = np.exp(x.detach().numpy()) / np.exp(x.detach().numpy()).sum(1, keepdims=True)
    np.testing.assert_allclose(ddx.numpy(), p * (v - (p * v).sum(1, keepdims=True)) / 3, rtol=1e-12, atol=1e-15)


def test_entries_that_are_ignored_take_the_steps() -> None:
    x = minidl.tensor([[1.0, 2.0], [3.0, 5.0]], requires_grad=True)
    loss = F.cross_entropy(x, minidl.tensor([1, -100]))
    np.testing.assert_allclose(loss.item(), np.log1p(np.exp(-1)), rtol=1e-6)
    loss.backward()
    np.testing.assert_array_equal(x.grad.numpy()[1], [0, 0])
    assert np.isnan(F.cross_entropy(x, minidl.tensor([-100, -100])).item())
    assert np.isnan(F.cross_entropy(x[:0], minidl.tensor([], dtype="int64")).item())


@pytest.mark.parametrize("way", ["tensor", "array"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_target_that_is_written_to_after_the_loss_changes_no_gradient(way: str, smoothing: float) -> None:
    """A buffer of labels that is filled anew for the next batch; with the quick way and with the steps."""
    rng = np.random.default_rng(8)
    scores, labels = rng.standard_normal((6, 4)), np.array([0, 3, 1, 1, 2, 0])
    slopes = []
    for written in (False, True):
        x, own = minidl.tensor(scores, requires_grad=True), labels.copy()
        target = minidl.from_numpy(own)
        loss = F.cross_entropy(x, target, label_smoothing=smoothing)
        if written and way == "tensor":
            target.copy_(minidl.tensor([3, 2, 1, 0, 0, 1]))
        elif written:
            own[:] = [3, 2, 1, 0, 0, 1]
        loss.backward()
        slopes.append(x.grad.numpy())
    np.testing.assert_array_equal(*slopes)
