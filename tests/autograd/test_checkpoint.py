"""Checkpointing changes memory, never numbers."""

import gc
import weakref

import numpy as np
import pytest

import minidl
from minidl import GraphError, tensor
from minidl.autograd import checkpoint, checkpoint_sequential, grad

RNG = np.random.default_rng(3)
X, W = RNG.standard_normal((3, 4)), RNG.standard_normal((4, 4))


def leaves():
    return tensor(X, requires_grad=True), tensor(W, requires_grad=True)


def block(x, w):
    return ((x @ w).tanh() * x).exp().sigmoid() @ w


def gradients(apply, order=1):
    x, w = leaves()
    found = grad((apply(x, w) * tensor(X)).sum(), [x, w], create_graph=order > 1)
    if order > 1:
        found = grad((found[0] * found[0]).sum() + found[1].sin().sum(), [x, w])
    return [g.numpy() for g in found]


WAYS = {
    "arguments": lambda x, w: checkpoint(block, x, w),
    "closure": lambda x, w: checkpoint(lambda t: block(t, w), x),
    "keywords": lambda x, w: checkpoint(lambda t, *, weight: block(t, weight), x, weight=w),
    "nested": lambda x, w: checkpoint(lambda t: checkpoint(block, t, w) * 1, x),
    "of a computed tensor": lambda x, w: checkpoint(lambda a, b: block(a / 2, b), x * 2, w),
    "torch's option": lambda x, w: checkpoint(block, x, w, use_reentrant=False),
}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("way", WAYS)
def test_same_gradients_bit_for_bit(way, order):
    for a, b in zip(gradients(WAYS[way], order), gradients(block, order)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("order", [1, 2])
def test_an_operation_that_keeps_some_of_its_results(order):
    """Batch norm keeps its statistics, and of what it normalised the shape alone."""

    def through(x, w):
        return minidl.nn.functional.batch_norm(x @ w, None, None, training=True).sin()

    for a, b in zip(gradients(lambda x, w: checkpoint(through, x, w), order), gradients(through, order)):
        np.testing.assert_array_equal(a, b)


def test_several_outputs_and_one_unused():
    x, w = leaves()
    a, b, c = checkpoint(lambda x, w: (x.exp(), (x @ w).sin(), x.shape[0]), x, w)
    assert c == 3
    found = grad(b.sum(), [x, w])
    expected = grad((x @ w).sin().sum(), [x, w])
    assert all((f == e).all() for f, e in zip(found, expected))
    assert (grad(a.sum(), x)[0] == x.exp()).all()


def test_the_function_runs_again_once():
    runs = []

    def counted(x):
        runs.append(minidl.is_grad_enabled())
        return x.exp().sin()

    x, _ = leaves()
    y = checkpoint(counted, x).sum()
    assert len(runs) == 1
    y.backward(retain_graph=True)
    y.backward()
    assert runs == [True, True]


def test_not_again_where_nothing_is_asked():
    runs = []
    x, _ = leaves()
    with minidl.no_grad():
        checkpoint(lambda x: runs.append(1) or x.exp(), x)
    checkpoint(lambda x: runs.append(1) or x + 1, x).sum().backward()  # an addition saves nothing
    assert len(runs) == 2


def test_random_numbers_are_drawn_alike():
    minidl.manual_seed(7)
    x, _ = leaves()
    masks = []

    def drop(x):
        mask = (minidl.rand(3, 4, dtype="float64") > 0.5).to(x.dtype)
        masks.append(mask.numpy().copy())
        return (x * mask).sin()

    y = checkpoint(drop, x)
    after = minidl.get_rng_state()
    y.sum().backward()
    assert np.array_equal(masks[0], masks[1]) and minidl.get_rng_state() == after
    np.testing.assert_array_equal(x.grad.numpy(), np.cos(X * masks[0]) * masks[0])


def test_a_generator_of_its_own_is_put_back_too():
    """Otherwise dropout would drop other elements the second time, and the gradient be that of another function."""
    own = minidl.Generator(3)
    drop = minidl.nn.Dropout(0.5, generator=own)
    results = []
    for run in (lambda f, x: f(x), checkpoint):
        own.manual_seed(3)
        minidl.manual_seed(7)
        x, _ = leaves()
        y = run(lambda x: drop(minidl.nn.functional.dropout(x.exp(), 0.3)).sin(), x)
        after = own.get_state(), minidl.get_rng_state()
        y.sum().backward()
        assert (own.get_state(), minidl.get_rng_state()) == after
        results.append((y.tolist(), x.grad.tolist()))
    assert results[0] == results[1] and 0 in np.array(results[0][1])


def test_random_state_may_be_left_alone():
    minidl.manual_seed(7)
    x, _ = leaves()
    drawn = []

    def draw(x):
        drawn.append(minidl.rand(1).item())
        return x.exp()

    checkpoint(draw, x, preserve_rng_state=False).sum().backward()
    assert drawn[0] != drawn[1]


def test_memory_is_let_go():
    gc.disable()
    try:
        x = tensor(RNG.standard_normal(1000), requires_grad=True)
        inner = []

        def f(x):
            a = x.exp()
            inner.append(weakref.ref(a._array))
            b = a.sin()
            inner.append(weakref.ref(b._array))
            return b * a

        y = checkpoint(f, x).sum()
        assert all(r() is None for r in inner)
        y.backward()
        del y
        assert all(r() is None for r in inner) and len(inner) == 4
    finally:
        gc.enable()


@pytest.mark.parametrize("finish", [lambda y: y.backward(), lambda y: None], ids=["backward", "dropped"])
def test_an_argument_is_watched_no_longer_than_the_graph_lives(finish):
    x, w = tensor(X), tensor(W, requires_grad=True)
    for _ in range(3):
        y = checkpoint(block, x, w).sum()
        assert not x.numpy().flags.writeable
        finish(y)
        del y
        assert not x._storage.readers and x.numpy().flags.writeable


def test_hooks_inside():
    x, _ = leaves()
    seen = []

    def f(x):
        a = x.exp()
        a.register_hook(lambda g: seen.append(g.shape))
        return a * a

    checkpoint(f, x).sum().backward()
    assert seen == [(3, 4)]


def test_sequential():
    layers = [lambda x, k=k: (x * (k + 1)).sin() for k in range(5)]
    x, _ = leaves()
    expected = x
    for f in layers:
        expected = f(expected)
    (e,) = grad(expected.sum(), x)
    for segments in (1, 2, 3, 5):
        (g,) = grad(checkpoint_sequential(layers, segments, x).sum(), x)
        assert (g == e).all()


def test_a_changed_argument_is_an_error():
    x = tensor(X)
    w = tensor(W, requires_grad=True)
    y = checkpoint(lambda x, w: (x @ w).exp(), x, w).sum()
    x.add_(1)
    with pytest.raises(
        GraphError, match=r"checkpoint: an argument of shape \(3, 4\) was written to in place after the forward"
    ):
        y.backward()


def test_a_function_that_changes_its_mind_is_an_error():
    x, _ = leaves()
    calls = []

    def fickle(x):
        calls.append(1)
        return x.exp() if len(calls) == 1 else x.sigmoid()

    y = checkpoint(fickle, x).sum()
    with pytest.raises(GraphError, match="value 0 was saved by 'exp' with shape"):
        y.backward()

    calls.clear()
    y = checkpoint(lambda x: calls.append(1) or (x.exp() if len(calls) == 1 else x.exp().exp()), x).sum()
    with pytest.raises(GraphError, match="1 values were saved the first time, 2 the second"):
        y.backward()


def test_errors_inside_leave_no_listener():
    from minidl.autograd.tape import LISTENERS

    x, _ = leaves()
    with pytest.raises(ZeroDivisionError):
        checkpoint(lambda x: 1 / 0, x)
    assert not LISTENERS
