"""load_into: strict, with a new head, renamed, and with messages that name the line to change."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.io import Weights, load_into, load_weights, save_weights
from minidl.nn import StateDictError


class Net(nn.Module):
    """conv, bn, aux.fc and fc, the last two for the classes."""

    def __init__(self, classes: int = 5, width: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, width, (1, 2))
        self.bn = nn.BatchNorm2d(width)
        self.aux = nn.Sequential(OrderedDict(fc=nn.Linear(width, classes)))
        self.fc = nn.Linear(width, classes)


def values(net: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in net.state_dict().items()}


def other(net: nn.Module) -> dict[str, np.ndarray]:
    return {name: array + 1 for name, array in values(net).items()}


def assert_same(net: nn.Module, expected: dict[str, np.ndarray]) -> None:
    for name, array in values(net).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_a_file_of_data_parallel(tmp_path: Path) -> None:
    net = Net()
    given = other(net)
    save_weights(tmp_path / "x.pth", {f"module.{name}": array for name, array in given.items()})
    report = load_into(net, tmp_path / "x.pth")
    assert str(report) == "11 arrays loaded"
    assert_same(net, given)


def test_a_model_whose_own_names_begin_with_module(tmp_path: Path) -> None:
    net = nn.Sequential(OrderedDict(module=Net()))
    given = other(net)
    save_weights(tmp_path / "x.pth", given)
    assert load_into(net, tmp_path / "x.pth").loaded == 11
    assert_same(net, given)


@pytest.mark.parametrize("head", ["auto", ["fc", "aux"], ["fc", "aux.fc"]])
def test_another_number_of_classes(head: str | list[str]) -> None:
    given, net = other(Net(7)), Net(5)
    before = values(net)
    report = load_into(net, given, head=head)
    heads = ["aux.fc.weight", "aux.fc.bias", "fc.weight", "fc.bias"]
    assert report.skipped == {
        "aux.fc.weight": ((7, 4), (5, 4)), "aux.fc.bias": ((7,), (5,)), "fc.weight": ((7, 4), (5, 4)),
        "fc.bias": ((7,), (5,)),
    }  # fmt: skip
    assert report.loaded == 7 and "not loaded, so still as initialised: aux.fc.weight (file (7, 4)" in str(report)
    assert_same(net, {name: before[name] if name in heads else given[name] for name in before})


def test_a_named_head_may_be_missing_or_of_the_right_shape() -> None:
    given, net = other(Net()), Net()
    before = values(net)
    del given["fc.bias"]
    report = load_into(net, given, head="fc")
    assert report.skipped == {"fc.weight": ((5, 4), (5, 4)), "fc.bias": (None, (5,))}
    assert "fc.bias (file without it, model (5,))" in str(report)
    assert_same(net, {**given, "fc.weight": before["fc.weight"], "fc.bias": before["fc.bias"]})


def test_auto_loads_all_where_the_classes_agree() -> None:
    given, net = other(Net()), Net()
    assert load_into(net, given, head="auto").skipped == {}
    assert_same(net, given)


def test_auto_does_not_hide_another_network() -> None:
    net = Net(5, 4)
    before = values(net)
    for given in (other(Net(5, 6)), other(Net(7, 6))):
        with pytest.raises(StateDictError, match="of another shape or kind") as caught:
            load_into(net, given, head="auto")
        assert "conv.weight" in caught.value.mismatched_keys
    given = other(net)
    given["conv.weight"], given["conv.bias"] = np.zeros((9, 2, 1, 2)), np.zeros(9)  # not the last layer
    with pytest.raises(StateDictError):
        load_into(net, given, head="auto")
    given = other(net)
    given["fc.weight"], given["aux.fc.weight"] = np.zeros((9, 4)), np.zeros((8, 4))  # two numbers of classes
    with pytest.raises(StateDictError):
        load_into(net, given, head="auto")
    assert_same(net, before)


def test_the_message_names_the_file_and_the_remedy(tmp_path: Path) -> None:
    save_weights(tmp_path / "x.npz", Net(7))
    net = Net(5)
    before = values(net)
    with pytest.raises(StateDictError) as caught:
        load_into(net, tmp_path / "x.npz")
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'x.npz'}: the state dict does not fit Net; nothing was loaded.")
    assert "fc.weight: the state dict has (7, 4), the module wants (5, 4)" in text
    assert text.endswith(
        'the number of classes differs: head="auto" loads all the rest and leaves the last layer as it is'
    )
    assert_same(net, before)


def test_arrays_that_were_read_before_name_their_file_too(tmp_path: Path) -> None:
    save_weights(tmp_path / "x.npz", {"module.conv.weight": np.zeros(3), "bn.weights": np.ones(4)})
    with pytest.raises(StateDictError) as caught:
        load_into(Net(), load_weights(tmp_path / "x.npz"))
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'x.npz'}: the state dict does not fit Net; nothing was loaded.")
    assert "10 missing" in text and "bn.weights (4,); nearest: 'bn.weight' (4,)" in text
    assert "2 unexpected" in text and "strict=False" not in text  # what a caller of load_state_dict could do
    with pytest.raises(StateDictError, match=r"^the weights: the state dict does not fit Net"):
        load_into(Net(), dict(load_weights(tmp_path / "x.npz")))


def test_a_prefix_of_all_names_is_told_without_lines_of_python() -> None:
    given = {f"model.{name}": array for name, array in other(Net()).items()}
    with pytest.raises(StateDictError, match=r"every name would fit without 'model\.'$"):
        load_into(Net(), given)


def test_complex_numbers_are_refused() -> None:
    net = Net()
    before = values(net)
    given = other(net) | {"conv.bias": np.zeros(4, np.complex64)}
    message = r"conv\.bias: the state dict holds complex64, and tensors here are real: load array\.real or array\.imag"
    with pytest.raises(StateDictError, match=message):
        load_into(net, given)
    assert_same(net, before)


def test_missing_and_unexpected_names_come_with_the_nearest(tmp_path: Path) -> None:
    given = other(Net())
    given["convolution.weight"] = given.pop("conv.weight")
    with pytest.raises(StateDictError) as caught:
        load_into(Net(), given)
    assert (caught.value.missing_keys, caught.value.unexpected_keys) == (["conv.weight"], ["convolution.weight"])
    assert "nearest: 'convolution.weight' (4, 2, 1, 2)" in str(caught.value)
    assert "head=" not in str(caught.value)
    report = load_into(Net(), given, strict=False)
    assert (report.loaded, report.missing, report.unexpected) == (10, ["conv.weight"], ["convolution.weight"])
    assert str(report).splitlines()[1:] == [
        "not in the file, so as they were: conv.weight", "in the file only: convolution.weight",
    ]  # fmt: skip


def test_a_wrong_head() -> None:
    with pytest.raises(
        ValueError, match=r"head='classifier' is no layer with weights of this model.*: fc, aux\.fc, bn"
    ):
        load_into(Net(), other(Net()), head="classifier")


def test_aliases() -> None:
    net = Net()
    given = other(net)
    old = {f"backbone.{name}".replace("bn", "norm"): array for name, array in given.items()}
    report = load_into(net, old, aliases={r"^backbone\.": "", r"^norm\.": "bn."})
    assert report.renamed["backbone.norm.weight"] == "bn.weight" and report.loaded == 11
    assert "renamed: backbone.conv.weight -> conv.weight" in str(report) and "and 5 more" in str(report)
    assert_same(net, given)
    with pytest.raises(ValueError, match="two arrays would be called 'x'"):
        load_into(net, given, aliases={"^.*": "x"})


def test_known_renamings() -> None:
    layer = nn.Sequential(OrderedDict(norm1=nn.BatchNorm2d(2), conv2=nn.Conv2d(2, 3, 1)))
    net = nn.Sequential(OrderedDict(denselayer12=layer, ln=nn.LayerNorm(3)))
    given = other(net)
    old = {n.replace("norm1", "norm.1").replace("conv2", "conv.2"): array for n, array in given.items()}
    old["ln.gamma"], old["ln.beta"] = old.pop("ln.weight"), old.pop("ln.bias")
    report = load_into(net, old)
    assert report.renamed["denselayer12.norm.1.running_var"] == "denselayer12.norm1.running_var"
    assert report.renamed["ln.gamma"] == "ln.weight" and report.loaded == len(given)
    assert_same(net, given)


def test_known_renamings_leave_the_models_own_names_alone() -> None:
    net = nn.Module()
    net.gamma = nn.Parameter(minidl.zeros(2))
    assert load_into(net, {"gamma": np.ones(2)}).renamed == {}
    both = nn.Module()
    both.weight = nn.Parameter(minidl.zeros(2))
    with pytest.raises(StateDictError, match="unexpected"):
        load_into(both, {"weight": np.ones(2), "gamma": np.ones(2)})


def test_weights_keep_what_the_file_said() -> None:
    weights = Weights({"x": np.zeros(2)}, extra={"epoch": 3}, key="model", prefix="module.")
    assert (dict(weights).keys(), weights.extra, weights.key, weights.prefix) == (
        {"x"}, {"epoch": 3}, "model", "module.",
    )  # fmt: skip
