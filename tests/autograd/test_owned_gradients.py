"""The engine writes into, and gives away, only gradients that nobody else holds."""

from __future__ import annotations

import sys

import numpy as np

import minidl
from minidl.autograd import Listener, engine, grad, vjp
from minidl.ops import normalization
from tests.checks import fused


def test_what_is_shared_is_copied() -> None:
    fused.owned_gradients()


def test_a_fresh_gradient_is_given_to_the_leaf_without_a_copy() -> None:
    w = minidl.tensor(np.ones((300, 200)), requires_grad=True)
    kept = {}

    class Watch(Listener):
        def on_backward(self, node, cotangents, gradients) -> None:
            kept[node.name] = gradients[0].numpy().ctypes.data  # the address, not the array

    with Watch():
        (w * 3.0).sum().backward()
    assert w.grad.numpy().ctypes.data == kept["mul"]


def test_who_holds_a_gradient_is_counted() -> None:
    def fresh() -> dict:
        return {(0, 0): minidl.tensor(np.ones((4, 4)))}

    held = fresh()
    assert engine._nobody_else_has(held, (0, 0))
    tensor = held[0, 0]
    assert not engine._nobody_else_has(held, (0, 0))
    del tensor
    view = held[0, 0]._array[1:]
    assert not engine._nobody_else_has(held, (0, 0))
    del view
    assert engine._nobody_else_has(held, (0, 0))
    base = np.ones((8, 4))
    held = {(0, 0): minidl.from_numpy(base[2:6])}
    assert sys.getrefcount(base) > 2 and not engine._nobody_else_has(held, (0, 0))
    held = {(0, 0): minidl.ones(1, 4).expand((4, 4))}
    assert not engine._nobody_else_has(held, (0, 0))
    held = {(0, 0): minidl.from_numpy(np.frombuffer(bytearray(16), np.float32))}  # memory of something else
    assert not engine._nobody_else_has(held, (0, 0))


def test_the_gradient_of_a_matrix_lies_as_the_matrix_does() -> None:
    """Otherwise an optimiser would transpose the gradient of every linear layer, which takes longer than the update."""
    rng = np.random.default_rng(0)
    for needs in (True, False):
        x = minidl.tensor(rng.standard_normal((6, 5)), requires_grad=needs)
        w = minidl.tensor(rng.standard_normal((4, 5)), requires_grad=True)
        v = minidl.tensor(rng.standard_normal((5, 4)), requires_grad=True)
        g = rng.standard_normal((6, 4))
        minidl.nn.functional.linear(x, w).backward(minidl.tensor(g))
        (x @ v).backward(minidl.tensor(g))
        np.testing.assert_allclose(w.grad.numpy(), g.T @ x.numpy(), rtol=1e-12)
        np.testing.assert_allclose(v.grad.numpy(), x.numpy().T @ g, rtol=1e-12)
        assert w.grad.is_contiguous() and v.grad.is_contiguous()


def test_what_is_concatenated_and_averaged_gets_both_gradients() -> None:
    """The first is some of the channels of a channels-last gradient, the second one number for each of them."""
    rng = np.random.default_rng(7)
    x = minidl.from_numpy(np.moveaxis(rng.standard_normal((3, 40, 41, 5)).astype("float32"), -1, 1)).requires_grad_()
    more = minidl.from_numpy(np.moveaxis(rng.standard_normal((3, 40, 41, 2)).astype("float32"), -1, 1))
    g, h = rng.standard_normal((3, 40, 41, 7)).astype("float32"), rng.standard_normal((3, 5)).astype("float32")
    mean, y = x.mean((2, 3)), minidl.cat([x, more], 1) * 1.5  # the gradient of what came last is there first
    minidl.autograd.backward([y, mean], [minidl.from_numpy(np.moveaxis(g, -1, 1)), minidl.from_numpy(h)])
    want = 1.5 * np.moveaxis(g, -1, 1)[:, :5] + h[:, :, None, None] / np.float32(40 * 41)
    np.testing.assert_allclose(x.grad.numpy(), want, rtol=1e-6, atol=1e-7)


# ---- shares that are added where they are computed ----


def read_twice(average: float = 0.0, fused: bool = True) -> tuple[list[minidl.Tensor], minidl.Tensor]:
    """Leaves, and a loss of h, which batch norm and ReLU read, and products whose share of its gradient comes first.

    ``average``: how much the mean that batch norm finds counts.
    """
    rng = np.random.default_rng(12)
    arrays = np.moveaxis(rng.standard_normal((3, 4, 5, 16)), -1, 1), *rng.standard_normal((2, 16))
    x, w, b = leaves = [minidl.from_numpy(a).requires_grad_() for a in arrays]
    h = x * 2.0
    if fused:
        y, mean, _ = normalization._batch_norm_relu(h, w, b, None, eps=0.1, ceiling=np.inf)
    else:
        y, mean, _ = normalization._batch_norm(h, w, b, eps=0.1)
        y = y.relu()
    loss = (y * y * y).sum() + (h * h * h).sum()
    return leaves, loss + (mean * b).sum() * average if average else loss


def same_gradients(average: float = 0.0) -> None:
    """Whether or not somebody listens to the backward pass, who then is told of each share."""
    leaves, loss = read_twice(average)
    alone = grad(loss, leaves)
    leaves, loss = read_twice(average)
    shares = []

    class Watch(Listener):
        def on_backward(self, node, cotangents, gradients) -> None:
            if node.name == "batch_norm_relu":  # nothing else is kept: what is held elsewhere is not added to anyway
                shares.append(gradients[0])

    with Watch():
        heard = grad(loss, leaves)
    for a, b in zip(alone, heard, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert len(shares) == 1 and shares[0] is not None


def test_who_listens_to_the_backward_pass_sees_the_share() -> None:
    same_gradients()


def test_a_share_of_statistics_is_added_too() -> None:
    same_gradients(average=0.7)


def test_shares_that_are_differentiated_again() -> None:
    def second(fused: bool) -> tuple[minidl.Tensor, ...]:
        leaves, loss = read_twice(fused=fused)
        first = grad(loss, leaves, create_graph=True)
        return *first, *grad(sum(((g * g).sum() for g in first[1:]), (first[0] * first[0]).sum()), leaves)

    for a, b in zip(second(True), second(False), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-9)


def test_another_rule_is_not_given_what_it_does_not_take() -> None:
    primitive = normalization._batch_norm_relu
    rule, adds = primitive.joint, primitive.adds

    def plain(g, y, x, weight, bias, added, *, needs, eps, ceiling):
        return rule.function(g, y, x, weight, bias, added, needs=needs, eps=eps, ceiling=ceiling)

    leaves, loss = read_twice()
    want = grad(loss, leaves)
    try:
        primitive.joint = vjp(plain, uses=" ".join(rule.uses))
        leaves, loss = read_twice()
        got = grad(loss, leaves)
    finally:
        primitive.joint, primitive.adds = rule, adds
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
