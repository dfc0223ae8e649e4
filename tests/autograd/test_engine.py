"""Differentiation: accumulation, shared subgraphs, deep chains, hooks, modes, grad(), memory."""

import gc
import weakref

import numpy as np
import pytest

import minidl
from minidl import GraphError, tensor
from minidl.autograd import Primitive, Tape, grad, vjp
from minidl.autograd.tape import RuleShapeError, Saved


def leaf(*values, dtype="float64"):
    return tensor(list(values), dtype=dtype, requires_grad=True)


# ---- backward ------------------------------------------------------------------------------------


def test_gradients_add_up_in_grad():
    x = leaf(1.0, 2.0)
    (x * 3).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    assert x.grad.tolist() == [5, 7] and x.grad is first


def test_grad_is_not_shared_with_other_leaves_or_the_cotangent():
    a, b, g = leaf(1.0), leaf(2.0), tensor([1.0], dtype="float64")
    (a + b).backward(g)
    a.grad.add_(10)
    assert b.grad.item() == 1 and g.item() == 1


def test_differentiable_gradients_are_not_shared_either():
    """The sum hands the same broadcast, read-only ones to both leaves."""
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (a + b).sum().backward(create_graph=True)
    (a * tensor([10.0, 20.0], dtype="float64")).sum().backward()
    assert a.grad.tolist() == [11, 21] and b.grad.tolist() == [1, 1]
    b.grad = None
    (a + b).sum().backward(create_graph=True, inputs=[b])
    minidl.nn.utils.clip_grad_value_([b], 0.5)
    assert b.grad.tolist() == [0.5, 0.5] and a.grad.tolist() == [11, 21]


def test_a_grad_of_another_shape_is_refused():
    x = leaf(1.0, 2.0)
    x.grad = minidl.zeros(2, 2, dtype="float64")
    with pytest.raises(GraphError, match=r"\.grad has shape \(2, 2\), the tensor that it belongs to \(2,\)"):
        (x * x).sum().backward()


def test_diamond_and_shared_subgraphs():
    x = leaf(0.3, -0.7)
    a = x.sin()
    b, c = a * x, a + x  # both use a and x
    d = b * c + a
    d.backward(tensor([1.0, -2.0], dtype="float64"))
    s, co = np.sin(x._array), np.cos(x._array)
    expected = (co * x._array + s) * (s + x._array) + s * x._array * (co + 1) + co
    assert np.allclose(x.grad.numpy(), expected * [1, -2], rtol=1e-14)


def test_each_node_is_pulled_back_once():
    x = leaf(1.0)
    y = x
    for _ in range(30):  # recursion without bookkeeping would take 2**30 steps
        y = y + y
    with Tape() as tape:
        y.sum().backward()
    assert len(tape.backward_calls) == 31 and x.grad.item() == 2**30


@pytest.mark.parametrize("operation", [lambda y: y + 1, lambda y: y.exp() * 0.1, lambda y: y.reshape(1)[0:1]])
def test_deep_chains(operation):
    """No recursion: not in the backward pass, and not when the graph is let go."""
    x = leaf(1.0)
    y = x * 1
    for _ in range(20_000):
        y = operation(y)
    y.backward()
    assert np.isfinite(x.grad.item())
    del y  # Python frees the chain link by link
    z = x * 1
    for _ in range(20_000):
        z = operation(z)
    del z  # also one that was never pulled back


def test_several_roots():
    x = leaf(1.0, 2.0)
    minidl.autograd.backward([x * 2, (x * x).sum()], [tensor([1.0, 10.0], dtype="float64"), None])
    assert x.grad.tolist() == [4, 24]


def test_a_leaf_is_its_own_gradient():
    x = tensor(3.0, requires_grad=True)
    x.backward()
    assert x.grad.item() == 1


def test_only_the_inputs_that_were_asked_for():
    x, w = leaf(1.0), leaf(2.0)
    (x * w).backward(inputs=[w])
    assert w.grad.item() == 1 and x.grad is None


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (
            lambda: (leaf(1.0, 2.0) * 2).backward(),
            r"the output has shape \(2,\): only a single number has a gradient",
        ),
        (lambda: tensor(1.0).backward(), "the output does not require a gradient: no argument of the computation had"),
        (lambda: leaf(1.0).detach().backward(), "or it ran under no_grad"),
        (
            lambda: (leaf(1.0, 2.0) * 2).backward(tensor([1.0])),
            r"the cotangent has shape \(1,\), but the output has shape \(2,\)",
        ),
        (lambda: minidl.autograd.backward([leaf(1.0)], [None, None]), "1 outputs but 2 cotangents"),
        (
            lambda: grad(leaf(1.0) * 2, leaf(1.0)),
            r"the outputs do not depend on input 0 \(shape \(1,\)\); pass allow_unused=True",
        ),
        (lambda: grad(leaf(1.0) * 2, tensor(1.0)), r"input 0 does not require a gradient: call .requires_grad_\(\)"),
        (lambda: (leaf(1.0) * 2).requires_grad_(False), "only a leaf can stop requiring a gradient"),
        (lambda: tensor(1.0).register_hook(print), "a hook needs a tensor that requires a gradient"),
        (lambda: tensor(1.0).retain_grad(), r"retain_grad\(\) needs a tensor that requires a gradient"),
    ],
)
def test_messages(action, message):
    with pytest.raises(GraphError, match=message):
        action()


def test_a_freed_graph_says_so():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(GraphError, match=r"the values that 'mul' had saved are gone. Call the first backward\("):
        y.backward()
    z = (x * x).sum()
    z.backward(retain_graph=True)
    z.backward()
    assert x.grad.tolist() == [6, 12]


def test_a_graph_that_saved_nothing_can_be_used_again():
    x = leaf(1.0, 2.0)
    y = (x + 1).sum()
    y.backward()
    y.backward()  # as in PyTorch
    assert x.grad.tolist() == [2, 2]


# ---- grad ----------------------------------------------------------------------------------------


def test_grad_of_intermediate_tensors():
    x = leaf(2.0)
    y = x * x
    z = y * y
    dz_dy, dz_dx = grad(z, [y, x])
    assert dz_dy.item() == 8 and dz_dx.item() == 32 and x.grad is None


def test_grad_of_itself():
    x = leaf(2.0)
    y = x * 3
    assert grad(y, y)[0].item() == 1 and grad(x, x)[0].item() == 1


def test_allow_unused():
    x, w = leaf(1.0), leaf(1.0)
    assert grad(x * 2, [x, w], allow_unused=True)[1] is None


def test_one_cotangent_for_a_list_of_one():
    x = leaf(1.0, 2.0)
    assert grad([x * 2], [x], tensor([1.0, 3.0], dtype="float64"))[0].tolist() == [2, 6]


def test_numpy_and_python_cotangents_take_the_dtype_of_the_output():
    x = tensor([1.0, 2.0], requires_grad=True)
    assert grad(x * 2, x, np.array([1.0, 3.0]))[0].dtype == "float32"
    assert grad((x * 2).sum(), x, 2)[0].tolist() == [4, 4]


def test_third_derivative():
    x = leaf(1.5)
    y = x**5
    for _ in range(3):
        (y,) = grad(y, x, create_graph=True)
    assert abs(y.item() - 60 * 1.5**2) < 1e-12


def test_create_graph_makes_grad_differentiable():
    x = leaf(2.0)
    (x**3).sum().backward(create_graph=True)
    g = x.grad
    x.grad = None
    g.backward()
    assert x.grad.item() == 12


def test_results_with_several_outputs_and_only_one_used():
    x = leaf(3.0, 1.0, 2.0)
    values, indices = x.sort()
    assert not indices.requires_grad
    values[2].backward()
    assert x.grad.tolist() == [1, 0, 0]
    sign, log = minidl.slogdet(minidl.eye(2, dtype="float64").requires_grad_())
    assert sign.requires_grad and log.requires_grad


def test_integer_results_never_require_a_gradient():
    x = leaf(1.5, 2.5)
    assert not (x > 2).requires_grad and not x.argmax().requires_grad and not x.long().requires_grad


# ---- modes ---------------------------------------------------------------------------------------


def test_no_grad_and_enable_grad():
    x = leaf(1.0)
    with minidl.no_grad():
        assert not minidl.is_grad_enabled() and (x * 2).is_leaf
        with minidl.enable_grad():
            assert (x * 2).requires_grad
        with minidl.set_grad_enabled(True):
            assert (x * 2).requires_grad

    @minidl.no_grad()
    def evaluate(t):
        return t * 2

    assert not evaluate(x).requires_grad and minidl.is_grad_enabled()


def test_the_mode_is_put_back_after_an_error():
    with pytest.raises(ZeroDivisionError), minidl.no_grad():
        raise ZeroDivisionError
    assert minidl.is_grad_enabled()


def test_modes_belong_to_threads():
    from concurrent.futures import ThreadPoolExecutor

    with minidl.no_grad(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(minidl.is_grad_enabled).result()


def test_detach():
    x = leaf(2.0)
    (x * x.detach()).backward()
    assert x.grad.item() == 2 and np.shares_memory(x._array, x.detach()._array)


# ---- hooks ---------------------------------------------------------------------------------------


def test_hooks_see_the_whole_gradient_once():
    x = leaf(1.0)
    seen = []
    x.register_hook(lambda g: seen.append(g.item()))
    y = x * 2
    y.register_hook(lambda g: seen.append(g.item()))
    (y * 3 + y * 4).sum().backward()
    assert seen == [7, 14]


def test_a_hook_may_replace_the_gradient_and_be_removed():
    x = leaf(1.0)
    y = x * 2
    handle = y.register_hook(lambda g: g * 10)
    (y * 3).sum().backward(retain_graph=True)
    assert x.grad.item() == 60
    handle.remove()
    handle.remove()
    x.grad = None
    (y * 3).sum().backward()
    assert x.grad.item() == 6


def test_hooks_of_leaves_change_grad_too():
    x = leaf(1.0)
    x.register_hook(lambda g: -g)
    (x * 2).sum().backward()
    assert x.grad.item() == -2 and grad((x * 2).sum(), x)[0].item() == -2


@pytest.mark.parametrize("of", ["leaf", "result"])
@pytest.mark.parametrize(
    "hook, message",
    [
        (lambda g: g.sum(), r"a hook returned a gradient of shape \(\), the tensor has shape \(2,\)"),
        (lambda g: 1.0, r"a hook must return a tensor or None, not float"),
    ],
)
def test_what_a_hook_returns_is_checked(of, hook, message):
    x = leaf(1.0, 2.0)
    y = x * 2
    (x if of == "leaf" else y).register_hook(hook)
    with pytest.raises(GraphError, match=message):
        (y * y).sum().backward()


def test_a_handle_removes_its_own_hook_once():
    x, seen = leaf(1.0), []
    first, second = x.register_hook(seen.append), x.register_hook(seen.append)
    first.remove()
    first.remove()
    (x * 2).backward()
    assert len(seen) == 1
    second.remove()
    (x * 2).backward()
    assert len(seen) == 1


def test_retain_grad():
    x = leaf(1.0, 2.0)
    y = x * 2
    y.retain_grad()
    y.retain_grad()  # twice is once
    y.register_hook(lambda g: g * 10)  # registered later, still seen
    (y * y).sum().backward(retain_graph=True)
    assert y.grad.tolist() == [40, 80]
    (y * y).sum().backward()
    assert y.grad.tolist() == [80, 160]
    x.retain_grad()  # leaves do anyway


# ---- memory --------------------------------------------------------------------------------------


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.exp().sum(),
        lambda x: (x * x).sigmoid().sum(),
        lambda x: minidl.softmax(x, 0).std(),
        lambda x: x.split(1)[1] * x[0],
        lambda x: x.sort()[0].norm(),
        lambda x: (x.reshape(-1)[None] @ x).sum(),
    ],
)
@pytest.mark.parametrize("backward", [False, True])
def test_graphs_are_freed_without_the_garbage_collector(no_collector, function, backward):
    x = leaf(0.5, 1.0, 1.5)
    y = function(x)
    node = weakref.ref(y._node)
    if backward:
        y.backward(minidl.ones_like(y))
    del y
    assert node() is None


def test_views_written_in_place_are_freed_too(no_collector):
    x = leaf(0.5, 1.0, 1.5)
    y = x * 2
    y[0] += x[1]
    node, storage = weakref.ref(y._node), y._storage
    del y
    assert node() is None and storage.views() == []


def saved_values(y):
    return [s for s in [*y._node.args, *(y._node.saved_y or ())] if isinstance(s, Saved)]


@pytest.mark.parametrize(
    ("function", "count"),
    [
        (lambda a, b: a + b, 0),
        (lambda a, b: a - b, 0),
        (lambda a, b: a * b, 2),
        (lambda a, b: a * b.detach(), 1),
        (lambda a, b: a.detach() * b, 1),
        (lambda a, b: a * 2, 0),
        (lambda a, b: a / b.detach(), 1),
        (lambda a, b: -a, 0),
        (lambda a, b: a.sum(), 0),
        (lambda a, b: a.mean(), 0),
        (lambda a, b: a.reshape(1, -1), 0),
        (lambda a, b: a[0], 0),
        (lambda a, b: a.exp(), 1),
        (lambda a, b: a.log(), 1),
        (lambda a, b: minidl.cat([a, b]), 0),
        (lambda a, b: a.cumsum(0), 0),
        (lambda a, b: minidl.where(a > b, a, b), 1),
        (lambda a, b: a.expand(3, 2), 0),
        (lambda a, b: a.clone(), 0),
        (lambda a, b: a.unsqueeze(0) @ b.detach().unsqueeze(1), 1),
        (lambda a, b: a.float(), 0),
        (lambda a, b: a.flip(0), 0),
        (lambda a, b: minidl.relu(a), 1),
        (lambda a, b: a.sigmoid(), 1),
    ],
)
def test_only_what_a_rule_reads_is_kept(function, count):
    assert len(saved_values(function(leaf(1.0, 2.0), leaf(3.0, 4.0)))) == count


def test_nothing_is_recorded_without_need():
    assert (tensor([1.0]) * 2)._node is None
    with minidl.no_grad():
        assert (leaf(1.0) * 2)._node is None


# ---- primitives ----------------------------------------------------------------------------------


def test_a_rule_of_the_wrong_shape_is_caught():
    broken = Primitive("broken_for_test", lambda a, b: a + b, vjp(lambda g, y, a, b: g), vjp(lambda g, y, a, b: g))
    x = leaf(1.0)
    with pytest.raises(RuleShapeError, match=r"returned shape \(3, 1\) for an argument of shape \(1,\)"):
        broken(x, minidl.zeros(3, 1, dtype="float64")).sum().backward()


def test_names_of_primitives_are_unique():
    with pytest.raises(ValueError, match="two primitives are called 'add'"):
        Primitive("add", lambda a, b: a + b)


def test_tape_records_calls_and_pull_backs():
    x = leaf(1.0, 2.0)
    with Tape() as tape:
        (x.exp() * 2).sum().backward()
    assert [c.primitive.name for c in tape.calls[:3]] == ["exp", "mul", "sum"]
    assert [node.name for node, _, _ in tape.backward_calls] == ["sum", "mul", "exp"]
    assert repr(tape.calls[0].node).startswith("<exp #") and repr(tape.calls[0].primitive) == "<primitive exp>"


def test_a_tape_hears_its_own_thread_only():
    from concurrent.futures import ThreadPoolExecutor

    with Tape() as tape, ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: leaf(1.0).exp().backward()).result()
        leaf(1.0).sin()
    assert [c.primitive.name for c in tape.calls] == ["sin"] and tape.backward_calls == []


def test_a_primitive_with_another_rule_keeps_what_that_rule_uses():
    square = Primitive("reruled_for_test", lambda x: x * x, vjp(lambda g, y, x: g, uses=""))
    x = tensor([3.0], requires_grad=True)
    square(x).sum().backward()  # what a call keeps is worked out once
    square.rules = (vjp(lambda g, y, x: g * 2 * x, uses="x"),)
    (gradient,) = grad(square(x).sum(), [x])
    assert gradient.item() == 6.0
