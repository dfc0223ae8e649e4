"""Hooks around the forward and backward pass, and the path of the module that runs."""

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.nn.module import current_label, current_module, current_path


class Two(nn.Module):
    """Two inputs, nested results, and a setting."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(minidl.tensor([2.0, 3.0]))

    def forward(self, a, b, factor=1.0):
        return a * self.w, (b * factor, {"both": a * b})


def test_forward_hooks_see_and_replace():
    layer = nn.Identity()
    calls = []
    handles = [
        layer.register_forward_pre_hook(lambda m, args: calls.append(("pre", args)) or args[0] + 1),
        layer.register_forward_pre_hook(lambda m, args: calls.append(("early", args)), prepend=True),
        layer.register_forward_hook(lambda m, args, out: calls.append(("post", args, out)) or out * 10),
        layer.register_forward_hook(lambda m, args, out: None),
    ]
    assert layer(1) == 20
    assert calls == [("early", (1,)), ("pre", (1,)), ("post", (2,), 2)]
    for handle in handles:
        handle.remove()
        handle.remove()  # a second time does nothing
    assert layer(1) == 1 and len(calls) == 3


def test_hooks_with_keywords():
    layer = Two()
    one = minidl.ones(2)
    layer.register_forward_pre_hook(lambda m, args, kw: (args, kw | {"factor": 5.0}), with_kwargs=True)
    layer.register_forward_hook(lambda m, args, kw, out: (out, kw["factor"]), with_kwargs=True)
    (_, (b, _)), factor = layer(one, one, factor=2.0)
    assert b.tolist() == [5.0, 5.0] and factor == 5.0
    broken = nn.Identity()
    broken.register_forward_pre_hook(lambda m, args, kw: 3, with_kwargs=True)
    with pytest.raises(TypeError, match=r"a forward pre-hook with_kwargs must return None or \(args, kwargs\)"):
        broken(1)


@pytest.mark.torch
@pytest.mark.parametrize("inputs_require", [True, False])
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_backward_hooks_get_torchs_gradients(inputs_require):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, w, b, g = (rng.standard_normal(s) for s in ((4, 3), (5, 3), (5,), (4, 5)))
    seen = []
    for lib, make in ((nn, minidl.tensor), (torch.nn, torch.tensor)):
        net = lib.Sequential(lib.Linear(3, 5), lib.Tanh()).double()
        net.load_state_dict({"0.weight": make(w), "0.bias": make(b)})
        record = []
        for module in net:
            module.register_full_backward_pre_hook(lambda m, gy, record=record: record.append(gy[0]) or (gy[0] * 2,))
            module.register_full_backward_hook(
                lambda m, gx, gy, record=record: (
                    record.extend((gx[0], gy[0])) or (None if gx[0] is None else gx[0] * 3,)
                )
            )
        leaf = make(x)
        leaf.requires_grad_(inputs_require)
        net(leaf).backward(make(g))
        record.extend((leaf.grad, net[0].weight.grad))
        seen.append([None if t is None else t.detach().numpy() for t in record])
    ours, theirs = seen
    assert len(ours) == len(theirs) == 8 and (ours[4] is None) == (not inputs_require)
    for a, t in zip(ours, theirs):
        assert (a is None) == (t is None)
        if t is not None:
            np.testing.assert_allclose(a, t, rtol=1e-12)


def test_backward_hooks_flatten_nested_results_and_skip_what_is_no_tensor():
    layer, record = Two(), []
    layer.register_full_backward_hook(lambda m, gx, gy: record.append((gx, gy)))
    a = minidl.tensor([1.0, 2.0], requires_grad=True)
    y, (b, named) = layer(a, minidl.tensor([5.0, 6.0]), 2.0)
    assert isinstance(named, dict) and b.tolist() == [10.0, 12.0]
    (y * minidl.tensor([1.0, -1.0])).sum().backward()
    ((gx, gy),) = record
    assert [None if g is None else g.tolist() for g in gx] == [[2.0, -3.0], None, None]
    assert [None if g is None else g.tolist() for g in gy] == [[1.0, -1.0], None, None]


def test_backward_hooks_do_not_disturb_results_second_derivatives_and_the_write_guard():
    layer = nn.Tanh()
    handle = layer.register_full_backward_hook(lambda m, gx, gy: None)
    x = minidl.tensor([0.3, -0.7], dtype="float64", requires_grad=True)
    (first,) = minidl.autograd.grad(layer(x).sum(), x, create_graph=True)
    (second,) = minidl.autograd.grad(first.sum(), x)
    t = np.tanh(x.detach().numpy())
    np.testing.assert_allclose(second.numpy(), -2 * t * (1 - t**2), rtol=1e-12)
    y = layer(x)
    z = (y * y).sum()
    with minidl.no_grad():
        y.zero_()
    with pytest.raises(minidl.GraphError, match="was written to in place"):
        z.backward()
    handle.remove()
    assert minidl.autograd.grad(layer(x).sum(), x)[0].shape == (2,)


def test_a_hook_must_return_as_many_gradients():
    for register, what in (("register_full_backward_hook", "hook"), ("register_full_backward_pre_hook", "pre-hook")):
        layer = nn.Identity()
        getattr(layer, register)(lambda m, *gradients: (None, None))
        x = minidl.ones(2).requires_grad_()
        with pytest.raises(
            ValueError, match=f"a backward {what} must return None or a tuple of 1 gradients, .* returned 2"
        ):
            layer(x).sum().backward()


class Where(minidl.autograd.Listener):
    def __init__(self):
        self.seen = []

    def on_forward(self, primitive, args, attrs, outputs, node):
        self.seen.append((primitive.name, current_path(), current_label(), type(current_module()).__name__))


def test_the_running_module_is_announced_to_listeners():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.ModuleList([nn.Sequential(nn.ReLU()), nn.Flatten()])

        def forward(self, x):
            for layer in self.body:
                x = layer(x)
            return nn.Tanh()(x * 2)

    net = Net()
    with Where() as where:
        minidl.ones(1) + 1
        net(minidl.ones(2, 3, 2))
        assert current_path() == "" and current_module() is None
    assert where.seen == [
        ("add", "", "", "NoneType"),
        ("relu", "body.0.0", "body.0.0 (ReLU)", "ReLU"),
        ("reshape", "body.1", "body.1 (Flatten)", "Flatten"),
        ("mul", "", "Net", "Net"),
        ("tanh", "Tanh", "Tanh (Tanh)", "Tanh"),
    ]


def test_the_announcement_ends_when_a_module_fails_and_costs_nothing_without_listeners():
    layer = nn.Linear(2, 3)
    with Where(), pytest.raises(ValueError):
        layer(minidl.ones(5, 5))
    assert current_module() is None
    found = []
    layer.register_forward_hook(lambda *_: found.append(current_module()))
    layer(minidl.ones(1, 2))
    assert found == [None]


@pytest.mark.parametrize("layer", [nn.ReLU, nn.LeakyReLU, nn.Dropout], ids=lambda c: c.__name__)
def test_an_inplace_layer_writes_through_its_hooks(layer):
    """The module works on what its backward hooks look at, and that is the caller's tensor."""
    source = minidl.tensor([-1.0, 2.0, -3.0], requires_grad=True)
    options = {"p": 0.0} if layer is nn.Dropout else {}
    got = []
    for hooked in (False, True):
        module, seen = layer(inplace=True, **options), []
        if hooked:
            module.register_full_backward_hook(
                lambda m, gi, go, seen=seen: seen.append((gi[0].tolist(), go[0].tolist()))
            )
        x = source * 2
        y = module(x)
        assert x.tolist() == y.tolist()
        (y * x * minidl.tensor([1.0, 10.0, 100.0])).sum().backward()
        got.append((y.tolist(), source.grad.tolist()))
        source.grad = None
        assert len(seen) == hooked
    assert got[0] == got[1]
