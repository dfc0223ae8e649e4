"""Sequential, ModuleList, ModuleDict, ParameterList."""

from collections import OrderedDict

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.kernels.jit import HAVE_NUMBA
from minidl.ops.normalization import batch_norm_relu


def linears(*sizes):
    return [nn.Linear(n, n) for n in sizes]


def sizes(modules):
    return [m.in_features for m in modules]


def names(module):
    return [n for n, _ in module.named_children()]


def test_sequential_runs_in_order_and_slices():
    a, b, c = linears(2, 2, 2)
    net = nn.Sequential(a, b, c)
    x = minidl.randn(3, 2)
    np.testing.assert_array_equal(net(x).detach().numpy(), c(b(a(x))).detach().numpy())
    assert net[1:][0] is b and names(net[1:]) == ["1", "2"] and net[-1] is c and len(net[:0]) == 0
    assert list(net) == [a, b, c] and b in net and nn.ReLU() not in net
    assert nn.Sequential()(x) is x


def test_sequential_by_name():
    a, b = linears(2, 2)
    net = nn.Sequential(OrderedDict(low=a, high=b))
    assert net.low is a and net[1] is b and names(net[1:]) == ["high"]
    net[0] = b
    assert net.low is b and names(net) == ["low"]  # one module under two names is one child
    del net[0]
    assert names(net) == ["high"]


def test_lists_grow_shrink_and_renumber():
    for make in (lambda ms: nn.Sequential(*ms), nn.ModuleList):
        layers = make(linears(1, 2, 3))
        assert layers.append(nn.Linear(4, 4)) is layers
        assert sizes(layers.insert(1, nn.Linear(9, 9))) == [1, 9, 2, 3, 4] and names(layers) == list("01234")
        assert sizes(layers.extend(linears(5))) == [1, 9, 2, 3, 4, 5]
        assert layers.pop(1).in_features == 9 and sizes(layers) == [1, 2, 3, 4, 5]
        del layers[-2:]
        assert sizes(layers) == [1, 2, 3] and names(layers) == ["0", "1", "2"]
        layers[-1] = nn.Linear(8, 8)
        assert sizes(layers) == [1, 2, 8] and names(layers) == ["0", "1", "2"]
        with pytest.raises(IndexError, match=r"has 3 entries: index 3 is out of range"):
            layers[3]
        with pytest.raises(IndexError, match=r"has 3 entries: index 5 is out of range"):
            layers.insert(5, nn.ReLU())


def test_module_list_slices_adds_and_is_no_layer():
    layers = nn.ModuleList(linears(1, 2, 3))
    assert type(layers[:2]) is nn.ModuleList and sizes(layers[::-1]) == [3, 2, 1] and names(layers[1:]) == ["0", "1"]
    layers += linears(4)
    assert sizes(layers + linears(5)) == [1, 2, 3, 4, 5] and len(layers) == 4
    with pytest.raises(NotImplementedError, match="ModuleList has no forward"):
        layers(1)


def test_module_dict():
    d = nn.ModuleDict({"b": nn.Linear(2, 2)})
    d["a"] = nn.ReLU()
    d.update([("c", nn.Tanh())])
    assert list(d) == list(d.keys()) == ["b", "a", "c"] and "a" in d and "z" not in d and len(d) == 3
    assert [type(m).__name__ for m in d.values()] == ["Linear", "ReLU", "Tanh"] and dict(d.items())["a"] is d["a"]
    assert type(d.pop("a")) is nn.ReLU and "a" not in d
    del d["c"]
    assert list(d.state_dict()) == ["b.weight", "b.bias"]
    with pytest.raises(KeyError, match=r"no module is called 'x'; there are 'b'"):
        d["x"]
    with pytest.raises(KeyError, match="ModuleDict already has an attribute 'pop'"):
        d["pop"] = nn.ReLU()


def test_parameter_list():
    w = nn.Parameter(minidl.ones(2))
    params = nn.ParameterList([w, minidl.zeros(3)])
    params += [minidl.ones(1)]
    assert params[0] is w and len(params) == 3 and all(type(p) is nn.Parameter for p in params)
    assert [n for n, _ in params.named_parameters()] == ["0", "1", "2"]
    params[-1] = minidl.zeros(4)
    assert params[2].shape == (4,) and [p.shape for p in params[1:]] == [(3,), (4,)]
    assert "(0): Parameter (2,) float32" in repr(params)
    with pytest.raises(IndexError, match="ParameterList has 3 entries"):
        params[3]


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: nn.Sequential([nn.ReLU()]), TypeError, r"Sequential takes modules, not a list of them: .*\*layers"),
        (lambda: nn.Sequential(nn.ReLU(), 3), TypeError, "needs a Module or None, got int"),
        (lambda: nn.ModuleList([3]), TypeError, "needs a Module or None, got int"),
        (lambda: nn.ModuleDict({"a.b": nn.ReLU()}), KeyError, "must not be empty or contain a dot"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.torch
def test_repr_is_torchs():
    torch = pytest.importorskip("torch")
    for build in (
        lambda n: n.Sequential(),
        lambda n: n.Sequential(n.ReLU(), n.Sequential(n.Linear(2, 3), n.Tanh())),
        lambda n: n.ModuleList(),
        lambda n: n.ModuleList([n.Sequential(n.ReLU()), n.Sequential(n.ReLU()), n.Tanh(), n.ReLU()]),
        lambda n: n.ModuleDict({"x": n.ModuleList([n.Linear(1, 2), n.Linear(1, 2)])}),
    ):
        assert repr(build(nn)) == repr(build(torch.nn))


def test_parameter_dict():
    w = nn.Parameter(minidl.ones(2))
    params = nn.ParameterDict({"w": w, "b": minidl.zeros(3)})
    params.update([("c", minidl.ones(1))])
    assert params["w"] is w and len(params) == 3 and all(type(p) is nn.Parameter for p in params.values())
    assert [n for n, _ in params.named_parameters()] == list(params) == list(params.keys()) == ["w", "b", "c"]
    assert "b" in params and params.pop("b").shape == (3,) and "b" not in params
    assert "(w): Parameter (2,) float32" in repr(params) and dict(params.items())["c"].shape == (1,)
    with pytest.raises(KeyError, match="no parameter is called 'b'; there are 'w', 'c'"):
        params["b"]


def _of(net, x, g):
    for p in net.parameters():
        p.grad = None
    y = net(x)
    y.backward(g)
    return [y.detach(), *(p.grad for p in net.parameters()), *(b.clone() for b in net.buffers())]


@pytest.mark.parametrize("relu", [nn.ReLU, nn.ReLU6])
def test_a_batch_norm_takes_the_relu_behind_it_along(relu):
    """Without a bit of difference; and not where somebody watches either of them."""
    minidl.manual_seed(3)
    x = minidl.randn(4, 3, 6, 5)
    seen = []

    class Names(minidl.autograd.Listener):
        steps = False

        def on_forward(self, primitive, *rest):
            seen.append(primitive.name)

    nets = [nn.Sequential(nn.Conv2d(3, 7, 3), nn.BatchNorm2d(7), relu(), nn.Conv2d(7, 2, 1)) for _ in range(4)]
    minidl.nn.init.uniform_(nets[0][1].weight, 4.0, 8.0)  # so that ReLU6 has something to cut off
    for net in nets[1:]:
        net.load_state_dict(nets[0].state_dict())
    calls = []
    nets[1][2].register_forward_hook(lambda *a: calls.append("relu"))
    nets[2][1].register_full_backward_hook(lambda *a: calls.append("norm"))
    g = minidl.randn(4, 2, 4, 3)
    results = [_of(net, x, g) for net in nets[:3]]
    assert calls == ["relu", "norm"]
    last = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # where channels lie side by side
    assert nets[0][:3](last).grad_fn.name == ("batch_norm_relu" if HAVE_NUMBA else nets[1][:3](last).grad_fn.name)
    with Names():
        watched = _of(nets[3], x, g)
    assert "relu" in seen or "hardtanh" in seen
    for other in (*results[1:], watched):
        for a, b in zip(results[0], other, strict=True):
            assert a.tolist() == b.tolist()


def test_what_is_put_in_the_place_of_a_batch_norm_is_asked_itself():
    class Twice(nn.BatchNorm2d):
        def forward(self, input):
            return super().forward(input) * 2

    x = minidl.randn(4, 3, 6, 5)
    norm, twice, r = nn.BatchNorm2d(3), Twice(3), minidl.randn(4, 3, 6, 5)
    assert nn.Sequential(twice, nn.ReLU())(x).tolist() == (norm(x) * 2).relu().tolist()
    assert twice.then_relu(x, r, 1.0).tolist() == minidl.nn.functional.hardtanh(norm(x) * 2 + r, 0.0, 1.0).tolist()
    assert nn.Identity().then_relu(x, r).tolist() == (x + r).relu().tolist()


@pytest.mark.parametrize("ceiling", [np.inf, 0.5])
@pytest.mark.parametrize("adds", [False, True])
def test_the_gradients_of_batch_norm_with_its_relu(adds, ceiling):
    """By finite differences, to the second derivative, which goes by other rules."""
    rng = np.random.default_rng(2)
    x, r = (minidl.tensor(rng.standard_normal((5, 3)), requires_grad=True) for _ in "xr")
    w, b = (minidl.tensor(rng.uniform(0.3, 0.9, 3), requires_grad=True) for _ in "wb")

    def f(x, w, b, *r):
        return batch_norm_relu(x, r[0] if r else None, ceiling, None, None, w, b, True, 0.1, 1e-5)

    inputs = (x, w, b, r) if adds else (x, w, b)
    assert f(*inputs).grad_fn.name == "batch_norm_relu" or not HAVE_NUMBA
    assert minidl.gradcheck(f, inputs)
    assert minidl.gradgradcheck(f, inputs)


def test_a_mistake_says_in_which_batch_norm_although_its_relu_is_taken_along():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(5), nn.ReLU())
    with pytest.raises(ValueError) as caught:
        net(minidl.randn(2, 3, 4, 4))
    assert caught.value.__notes__ == [f"in module 1: {net[1]!r}"]
    with pytest.raises(ValueError) as caught:
        net[1].then_relu(minidl.randn(1, 5, 1, 1))
    assert caught.value.__notes__ == [f"in module {net[1]!r}"]


def test_a_forward_put_into_one_module_is_asked_too():
    """As people do who try something out: neither the batch norm nor the ReLU may pass it by."""
    x = minidl.randn(4, 6)
    net = nn.Sequential(nn.BatchNorm1d(6), nn.ReLU())
    plain = net(x)
    net[0].forward = lambda input: input * 3
    assert net(x).tolist() == (x * 3).relu().tolist() == net[0].then_relu(x).tolist()
    del net[0].forward
    net[1].forward = lambda input: input.abs()
    assert net(x).tolist() == nn.BatchNorm1d(6)(x).abs().tolist()
    del net[1].forward
    assert net(x).tolist() == plain.tolist()


def test_batch_norm_before_a_relu_takes_what_it_takes_alone():
    """Arrays of NumPy, and numbers as what is added."""
    x = np.random.default_rng(4).standard_normal((5, 3)).astype("float32")
    norm = nn.BatchNorm1d(3)
    alone = norm(x)
    assert nn.Sequential(norm, nn.ReLU())(x).tolist() == alone.relu().tolist()
    for residual in (0.5, minidl.tensor(0.5), minidl.tensor([1.0, -1.0, 0.5]), x):
        got = norm.then_relu(minidl.from_numpy(x), residual)
        assert got.tolist() == (alone + residual).relu().tolist()
