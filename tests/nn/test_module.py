"""Module: registration, names, order, modes, dtypes, copies, and what it says when it is used wrongly."""

import copy
import pickle
import warnings

import numpy as np
import pytest

import minidl
from minidl import nn


class Block(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.scale = nn.Parameter(minidl.ones(width))
        self.fc = nn.Linear(3, width)
        self.register_buffer("offset", minidl.zeros(width))
        self.register_buffer("cache", minidl.zeros(2), persistent=False)

    def forward(self, x):
        return self.fc(x) * self.scale + self.offset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Block()
        self.rest = nn.ModuleList([nn.Linear(4, 4), nn.ReLU()])
        self.bias = nn.Parameter(minidl.zeros(1))
        self.tied = self.rest[0]

    def forward(self, x):
        x = self.first(x)
        for layer in self.rest:
            x = layer(x)
        return self.tied(x) + self.bias


def test_names_come_in_the_order_of_registration_parameters_first():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == [
        "bias", "first.scale", "first.fc.weight", "first.fc.bias", "rest.0.weight", "rest.0.bias",
    ]  # fmt: skip
    assert [n for n, _ in net.named_parameters(prefix="net", recurse=False)] == ["net.bias"]
    assert [n for n, _ in net.named_buffers()] == ["first.offset", "first.cache"]
    assert [n for n, _ in net.named_modules()] == ["", "first", "first.fc", "rest", "rest.0", "rest.1"]
    assert [n for n, _ in net.named_modules(remove_duplicate=False)][-1] == "tied"
    assert [n for n, _ in net.named_children()] == ["first", "rest", "tied"]
    assert list(net.state_dict()) == [
        "bias", "first.scale", "first.offset", "first.fc.weight", "first.fc.bias", "rest.0.weight", "rest.0.bias",
        "tied.weight", "tied.bias",
    ]  # fmt: skip
    assert "first.cache" not in net.state_dict(prefix="")
    assert next(iter(net.state_dict(prefix="m."))) == "m.bias"


def test_a_shared_child_is_named_once_as_a_child_too():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.ReLU()
            self.b = self.a

    assert [n for n, _ in Twice().named_children()] == ["a"]


@pytest.mark.torch
def test_walking_is_torchs():
    torch = pytest.importorskip("torch")

    def build(lib, ones):
        class Inner(lib.Module):
            def __init__(self):
                super().__init__()
                self.b = lib.BatchNorm2d(3)
                self.register_buffer("table", ones(2))
                self.a = lib.Conv2d(3, 3, 1, bias=False)
                self.register_parameter("none", None)

        class Outer(lib.Module):
            def __init__(self):
                super().__init__()
                self.inner = Inner()
                self.w = lib.Parameter(ones(3))
                self.again = self.inner.a
                self.layers = lib.ModuleDict({"x": lib.Sequential(lib.Linear(2, 3), Inner()), "y": lib.ReLU()})
                self.params = lib.ParameterList([lib.Parameter(ones(1)), lib.Parameter(ones(2))])
                self.inner.late = lib.PReLU()

        return Outer()

    ours, theirs = build(nn, minidl.ones), build(torch.nn, torch.ones)
    for walk in ("named_parameters", "named_buffers", "named_modules", "named_children"):
        assert [n for n, _ in getattr(ours, walk)()] == [n for n, _ in getattr(theirs, walk)()], walk
    for walk in ("named_parameters", "named_modules"):
        mine = [n for n, _ in getattr(ours, walk)(remove_duplicate=False)]
        assert mine == [n for n, _ in getattr(theirs, walk)(remove_duplicate=False)], walk
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours.layers) == repr(theirs.layers)


def test_attributes_can_change_their_kind():
    net = Block()
    net.offset = minidl.ones(4)
    assert dict(net.named_buffers())["offset"] is net.offset
    net.scale = None
    assert "scale" not in dict(net.named_parameters()) and net.scale is None
    net.scale = nn.Parameter(minidl.zeros(4))
    net.fc = nn.Identity()
    assert [n for n, _ in net.named_parameters()] == ["scale"]
    net.plain = 3
    net.plain = nn.ReLU()
    assert net.get_submodule("plain") is net.plain and "plain" not in vars(net)
    del net.plain, net.offset
    assert not hasattr(net, "plain") and list(net.state_dict()) == ["scale"]
    with pytest.raises(TypeError, match=r"Block.scale is a parameter: assign an nn.Parameter or None, not Tensor"):
        net.scale = minidl.zeros(4)
    with pytest.raises(TypeError, match=r"Block.fc is a module: assign a Module or None, not 3"):
        net.fc = 3
    with pytest.raises(TypeError, match=r"Block.cache is a buffer: assign a Tensor or None, not list"):
        net.cache = [1]


def test_a_buffer_made_persistent_again_is_in_the_state():
    net = Block()
    net.register_buffer("cache", minidl.ones(2))
    assert "cache" in net.state_dict()


def test_parameters_share_the_memory_of_a_tensor_and_give_plain_tensors():
    t = minidl.zeros(3)
    p = nn.Parameter(t)
    assert np.shares_memory(p.detach().numpy(), t.numpy()) and p.requires_grad and not t.requires_grad
    with minidl.no_grad():
        p.fill_(2)
    assert t.tolist() == [2.0, 2.0, 2.0]
    assert type(p + 1) is minidl.Tensor and type(p.detach()) is minidl.Tensor
    assert not nn.Parameter(minidl.arange(3), requires_grad=False).requires_grad
    with pytest.raises(minidl.GraphError, match="only floating-point tensors can require a gradient, not int64"):
        nn.Parameter([1, 2])
    assert type(copy.deepcopy(p)) is nn.Parameter and type(pickle.loads(pickle.dumps(p))) is nn.Parameter


def test_train_eval_requires_grad_zero_grad_apply():
    net = Net()
    assert net.training and net.eval() is net
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())
    with pytest.raises(TypeError, match=r"train\(mode\) needs True or False, got 'yes'"):
        net.train("yes")
    net(minidl.ones(2, 3)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad(set_to_none=False)
    assert all(not p.grad.numpy().any() for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.first.requires_grad_(False)
    assert [n for n, p in net.named_parameters() if p.requires_grad] == ["bias", "rest.0.weight", "rest.0.bias"]
    seen = []
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "Block", "Linear", "ReLU", "ModuleList", "Linear", "Net"]


def test_to_changes_floating_point_only_and_keeps_the_parameters_identity():
    layer = nn.BatchNorm1d(3)
    weight = layer.weight
    layer(minidl.randn(4, 3)).sum().backward()
    assert layer.double() is layer and layer.weight is weight
    assert {str(t.dtype) for t in (weight, weight.grad, layer.running_var)} == {"float64"}
    assert layer.num_batches_tracked.dtype == np.int64
    layer(minidl.randn(4, 3, dtype="float64")).sum().backward()
    assert layer.to(minidl.zeros(1)).weight.dtype == np.float32
    assert layer.to("cpu", "float16").weight.dtype == np.float16 and layer.float().bias.dtype == np.float32
    with pytest.raises(TypeError, match="a module can be brought to a floating-point dtype only, not int64"):
        layer.to("int64")


def test_default_dtype_and_dtype_argument():
    minidl.set_default_dtype("float64")
    try:
        assert nn.Conv1d(2, 3, 1).weight.dtype == np.float64
    finally:
        minidl.set_default_dtype("float32")
    for layer in (nn.Linear(2, 3, dtype="float64"), nn.BatchNorm1d(2, dtype="float64"), nn.LSTM(2, 3, dtype="float64")):
        floats = [t.dtype for t in (*layer.parameters(), *layer.buffers()) if t.is_floating_point()]
        assert set(floats) == {np.dtype("float64")}


def test_deepcopy_and_pickle_keep_values_names_and_ties():
    net = Net()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert list(other.state_dict()) == list(net.state_dict())
        assert other.tied is other.rest[0] and other.tied is not net.tied
        with minidl.no_grad():
            other.bias.fill_(7)
            other.tied.weight.fill_(1)
        assert net.bias.item() == 0 and repr(other) == repr(net)
        assert other.rest[0].weight[0, 0].item() == 1 and net.tied.weight[0, 0].item() != 1
        assert "first.cache" not in other.state_dict() and type(other.bias) is nn.Parameter


def test_repr_is_a_tree():
    class Noted(Net):
        def extra_repr(self):
            return "a=1,\nb=2"

    assert repr(Noted()) == (
        "Noted(\n"
        "  a=1,\n"
        "  b=2\n"
        "  (first): Block(\n"
        "    (fc): Linear(in_features=3, out_features=4, bias=True)\n"
        "  )\n"
        "  (rest): ModuleList(\n"
        "    (0): Linear(in_features=4, out_features=4, bias=True)\n"
        "    (1): ReLU()\n"
        "  )\n"
        "  (tied): Linear(in_features=4, out_features=4, bias=True)\n"
        ")"
    )


def test_lookups_by_dotted_name():
    net = Net()
    assert net.get_submodule("") is net and net.get_submodule("rest.0") is net.rest[0]
    assert net.get_parameter("first.fc.weight") is net.first.fc.weight
    assert net.get_buffer("first.offset") is net.first.offset
    with pytest.raises(AttributeError, match=r"Net has no module 'first.fe'; did you mean 'first.fc' or 'first'\?"):
        net.get_submodule("first.fe")
    with pytest.raises(AttributeError, match=r"Net has no parameter 'rest.0.wait'; did you mean 'rest.0.weight'"):
        net.get_parameter("rest.0.wait")
    with pytest.raises(AttributeError, match=r"Net has no buffer 'first.scale'; did you mean 'first.cache'"):
        net.get_buffer("first.scale")


def test_unknown_attributes_name_their_neighbours():
    net = Net()
    with pytest.raises(AttributeError, match=r"Net has no attribute 'frist'; did you mean 'first'"):
        net.frist  # noqa: B018
    with pytest.raises(AttributeError, match=r"Linear has no attribute 'wieght'; did you mean 'weight'"):
        net.tied.wieght  # noqa: B018
    with pytest.raises(AttributeError, match=r"^Linear has no attribute 'qqqqq'$"):
        net.tied.qqqqq  # noqa: B018
    with pytest.raises(AttributeError):
        del net.nothing
    assert {"first", "bias", "forward", "state_dict"} <= set(dir(net))


def test_only_who_reads_the_error_pays_for_its_suggestions(monkeypatch):
    """Building a network asks hasattr thousands of times."""
    monkeypatch.setattr("difflib.get_close_matches", lambda *args, **options: pytest.fail("searched for neighbours"))
    net = Net()
    assert not hasattr(net, "frist") and getattr(net, "frist", 7) == 7
    net.register_buffer("another", None)
    monkeypatch.undo()
    try:
        net.frist  # noqa: B018
    except AttributeError as error:
        assert "did you mean 'first'" in str(pickle.loads(pickle.dumps(error)))


def test_a_property_that_fails_is_not_hidden():
    class Broken(nn.Module):
        @property
        def width(self):
            return self.wdith

    with pytest.raises(AttributeError, match="Broken has no attribute 'wdith'; did you mean 'width'"):
        Broken().width  # noqa: B018


def test_forgotten_super_init_is_named():
    class Forgot(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(2, 3)

    class ForgotAll(nn.Module):
        def __init__(self):
            self.size = 3

        def forward(self, x):
            return x

    message = r"{0} was used before Module.__init__ ran: write super\(\).__init__\(\) as the first line of {0}.__init__"
    with pytest.raises(AttributeError, match=message.format("Forgot")):
        Forgot()
    with pytest.raises(AttributeError, match=message.format("ForgotAll")):
        ForgotAll()(minidl.ones(1))
    with pytest.raises(AttributeError, match=message.format("ForgotAll")):
        list(ForgotAll().parameters())


@pytest.mark.parametrize(
    "register, error, message",
    [
        (lambda m: m.register_buffer("a.b", None), KeyError, "name of a buffer must not be empty or contain a dot"),
        (lambda m: m.register_parameter("", None), KeyError, "name of a parameter must not be empty or contain a dot"),
        (lambda m: m.register_module(3, None), TypeError, "the name of a module must be a string, not 3"),
        (lambda m: m.register_buffer("forward", None), KeyError, "Block already has an attribute 'forward'"),
        (lambda m: m.register_buffer("fc", None), KeyError, "choose another name for the buffer"),
        (lambda m: m.register_buffer("new", 3.0), TypeError, "needs a Tensor or None, got float"),
        (lambda m: m.register_parameter("new", minidl.ones(1)), TypeError, "needs an nn.Parameter or None, got Tensor"),
        (lambda m: m.add_module("new", 3), TypeError, "needs a Module or None, got int"),
    ],
)
def test_registration_errors(register, error, message):
    with pytest.raises(error) as caught:
        register(Block())
    assert message in str(caught.value)


def test_a_plain_list_of_modules_is_warned_of():
    class Hidden(nn.Module):
        def __init__(self, layers):
            super().__init__()
            self.layers = layers

    with pytest.warns(UserWarning, match=r"Hidden.layers is a plain list .* Use nn.ModuleList or nn.ParameterList"):
        Hidden([nn.Linear(2, 2)])
    with pytest.warns(UserWarning, match=r"Hidden.layers is a plain dict .* Use nn.ModuleDict"):
        Hidden({"a": nn.Parameter(minidl.ones(2))})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Hidden([1, 2])
        Hidden(nn.ModuleList([nn.Linear(2, 2)]))


def test_forward_must_be_written():
    with pytest.raises(NotImplementedError, match=r"Module has no forward\(\): define what it computes"):
        nn.Module()(1)


def test_an_error_says_in_which_module_it_arose():
    net = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(5, 2)))
    with pytest.raises(ValueError) as caught:
        net(minidl.ones(2, 2, 3))
    assert caught.value.__notes__ == ["in module 1.2: Linear(in_features=5, out_features=2, bias=True)"]
    with pytest.raises(ValueError) as caught:
        net[1][2](minidl.ones(2, 3))
    assert caught.value.__notes__ == ["in module Linear(in_features=5, out_features=2, bias=True)"]

    class Wrong(Net):
        def forward(self, x):
            return x @ minidl.ones(7, 7)

    with pytest.raises(ValueError) as caught:
        nn.Sequential(Wrong())(minidl.ones(2, 3))
    assert caught.value.__notes__ == ["in module 0: Wrong.forward"]
