"""state_dict and load_state_dict: torch's names, all or nothing, and messages that find the wrong name."""

from collections import OrderedDict

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.nn import StateDictError


def small():
    return nn.Sequential(OrderedDict(conv1=nn.Conv2d(1, 2, 3), bn=nn.BatchNorm2d(2), fc=nn.Linear(4, 3)))


def values(net):
    return {k: v.numpy().copy() for k, v in net.state_dict().items()}


def filled(net, seed=0):
    rng = np.random.default_rng(seed)
    return {k: rng.uniform(1, 2, v.shape).astype(v.dtype) for k, v in net.state_dict().items()}


@pytest.mark.torch
def test_a_big_composite_model_has_torchs_names_shapes_and_values():
    torch = pytest.importorskip("torch")

    def build(lib):
        class Residual(lib.Module):
            def __init__(self, channels, out, stride):
                super().__init__()
                self.conv1 = lib.Conv2d(channels, out, 3, stride, 1, bias=False)
                self.bn1 = lib.BatchNorm2d(out)
                self.relu = lib.ReLU(inplace=True)
                self.conv2 = lib.Conv2d(out, out, 3, 1, 1, groups=2)
                self.norm = lib.GroupNorm(2, out)
                self.downsample = (
                    lib.Sequential(lib.Conv2d(channels, out, 1, stride), lib.BatchNorm2d(out)) if stride != 1 else None
                )

            def forward(self, x):
                y = self.norm(self.conv2(self.relu(self.bn1(self.conv1(x)))))
                return self.relu(y + (x if self.downsample is None else self.downsample(x)))

        class Net(lib.Module):
            def __init__(self):
                super().__init__()
                self.stem = lib.Sequential(
                    OrderedDict(conv=lib.Conv2d(3, 8, 7, 2, 3), act=lib.PReLU(8), pool=lib.MaxPool2d(3, 2, 1))
                )
                self.stages = lib.ModuleList([Residual(8, 8, 1), Residual(8, 12, 2)])
                self.up = lib.ConvTranspose2d(12, 6, 3, 2, 1, 1)
                self.ln = lib.LayerNorm([6, 8, 8])
                self.heads = lib.ModuleDict(
                    {"class": lib.Linear(6, 5), "seq": lib.LSTM(6, 4, 2, batch_first=True, bidirectional=True)}
                )
                self.table = lib.Embedding(5, 6)
                self.mix = lib.Bilinear(5, 6, 7)
                self.free = lib.ParameterList([lib.Parameter(self.table.weight.detach()[0] * 2)])

            def forward(self, x, index):
                x = self.stem(x)
                for stage in self.stages:
                    x = stage(x)
                x = self.ln(self.up(x)).mean((2, 3)) + self.free[0]
                seq, _ = self.heads["seq"](self.table(index))
                return self.mix(self.heads["class"](x), x).sum() + (seq * seq).sum()

        return Net()

    ours, theirs = build(nn), build(torch.nn)
    assert [(k, v.shape) for k, v in ours.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in theirs.state_dict().items()
    ]
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    assert repr(ours.stages) == repr(theirs.stages) and repr(ours.heads) == repr(theirs.heads)
    ours.double(), theirs.double()
    assert repr(ours.load_state_dict(theirs.state_dict())) == "<All keys matched successfully>"
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})  # and back
    rng = np.random.default_rng(1)
    x, index = rng.standard_normal((2, 3, 31, 32)), rng.integers(0, 5, (2, 3))
    for mode in (True, False):
        ours.train(mode), theirs.train(mode)
        ours.zero_grad(), theirs.zero_grad()
        y, t = ours(minidl.tensor(x), minidl.tensor(index)), theirs(torch.tensor(x), torch.tensor(index))
        assert y.item() == pytest.approx(t.item(), rel=1e-10)
        y.backward(), t.backward()
        for (name, p), q in zip(ours.named_parameters(), theirs.parameters()):
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-7, atol=1e-9, err_msg=name)


def test_the_dict_shares_memory_and_carries_no_graph():
    net = small()
    state = net.state_dict()
    assert type(state) is OrderedDict and not any(v.requires_grad for v in state.values())
    assert np.shares_memory(state["fc.weight"].numpy(), net.fc.weight.detach().numpy())
    assert net.state_dict(keep_vars=True)["fc.weight"] is net.fc.weight
    assert state["bn.num_batches_tracked"].dtype == np.int64


def test_arrays_tensors_lists_and_other_dtypes_load():
    net = small()
    new = filled(net)
    mixed = dict(new)
    mixed["fc.bias"] = new["fc.bias"].tolist()
    mixed["fc.weight"] = minidl.tensor(new["fc.weight"])
    mixed["conv1.weight"] = new["conv1.weight"].astype("float64").transpose(2, 3, 0, 1).transpose(2, 3, 0, 1)
    before = net.fc.weight
    net.load_state_dict(mixed)
    assert net.fc.weight is before and net.conv1.weight.dtype == np.float32
    for name, value in values(net).items():
        np.testing.assert_allclose(value, new[name], rtol=1e-6)
    mixed["fc.weight"].fill_(0)
    assert net.fc.weight.detach().numpy().all()  # copied, not shared


@pytest.mark.parametrize("strict", [True, False])
def test_nothing_changes_when_a_shape_is_wrong_even_when_not_strict(strict):
    net = small()
    before, state = values(net), filled(net)
    state["fc.weight"] = np.ones((4, 3))
    state["bn.num_batches_tracked"] = np.array(1.5)
    with pytest.raises(StateDictError) as caught:
        net.load_state_dict(state, strict=strict)
    assert caught.value.mismatched_keys == ["bn.num_batches_tracked", "fc.weight"]
    text = str(caught.value)
    assert "the state dict does not fit Sequential; nothing was loaded." in text
    assert "fc.weight: the state dict has (4, 3), the module wants (3, 4)" in text
    assert "bn.num_batches_tracked: the state dict holds float64, the module wants int64" in text
    for name, value in values(net).items():
        np.testing.assert_array_equal(value, before[name])


def test_missing_and_unexpected_names_are_listed_with_their_nearest():
    net = small()
    before, state = values(net), filled(net)
    state["conv.weight"], state["fc.biases"] = state.pop("conv1.weight"), state.pop("fc.bias")
    state["extra"] = np.ones(2)
    with pytest.raises(StateDictError) as caught:
        net.load_state_dict(state)
    error = caught.value
    assert error.missing_keys == ["conv1.weight", "fc.bias"]
    assert error.unexpected_keys == ["conv.weight", "fc.biases", "extra"] and error.mismatched_keys == []
    assert str(error).splitlines()[1:] == [
        "  2 missing (the module has them, the state dict does not):",
        "    conv1.weight (2, 1, 3, 3); nearest: 'conv.weight' (2, 1, 3, 3)",
        "    fc.bias (3,); nearest: 'fc.biases' (3,)",
        "  3 unexpected (the state dict has them, the module does not):",
        "    conv.weight (2, 1, 3, 3); nearest: 'conv1.weight' (2, 1, 3, 3)",
        "    fc.biases (3,); nearest: 'fc.bias' (3,)",
        "    extra (2,)",
        "  load_state_dict(..., strict=False) loads the names that fit and returns the others",
    ]
    for name, value in values(net).items():
        np.testing.assert_array_equal(value, before[name])
    result = net.load_state_dict(state, strict=False)
    assert result == (error.missing_keys, error.unexpected_keys) and "conv1.weight" in repr(result)
    np.testing.assert_array_equal(values(net)["fc.weight"], state["fc.weight"])
    np.testing.assert_array_equal(values(net)["fc.bias"], before["fc.bias"])


def test_a_common_prefix_is_recognised():
    net = small()
    with pytest.raises(StateDictError) as caught:
        net.load_state_dict({f"module.{k}": v for k, v in filled(net).items()})
    assert (
        "every name would fit without 'module.': load {k.removeprefix('module.'): v for k, v in state.items()}"
        in str(caught.value)
    )


def test_long_lists_are_cut_but_the_exception_has_them_all():
    net = nn.Sequential(*(nn.Linear(1, 1) for _ in range(15)))
    with pytest.raises(StateDictError, match="and 10 more") as caught:
        net.load_state_dict({})
    assert len(caught.value.missing_keys) == 30


def test_old_batch_norm_states_without_the_counter_load():
    norm = nn.BatchNorm1d(2)
    state = filled(norm)
    del state["num_batches_tracked"]
    assert repr(norm.load_state_dict(state)) == "<All keys matched successfully>"


def test_what_is_no_state_dict():
    with pytest.raises(TypeError, match=r"needs a mapping from names to arrays, got str; read a file first"):
        small().load_state_dict("weights.npz")
    with pytest.raises(StateDictError, match=r"fc.bias: the state dict holds <U1, not numbers"):
        small().load_state_dict(filled(small()) | {"fc.bias": np.array(["a", "b", "c"])})


def test_loading_is_seen_by_a_live_graph():
    layer = nn.Linear(2, 1)
    x = minidl.ones(1, 2).requires_grad_()
    y = layer(x).sum()
    layer.load_state_dict(filled(layer))
    with pytest.raises(minidl.GraphError, match="was written to in place"):
        y.backward()
