"""AlexNet in its three forms."""

import importlib
import json
import types
from pathlib import Path

import numpy as np
import pytest

from minidl import models, nn
from minidl.kernels.geometry import Axis, receptive_field
from tests.checks.models import check_runs_both_ways, layer_shapes, narrow_head, sizes

TABLES = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))["_tables"]


def shell(name, **options):
    with nn.utils.skip_init():
        return models.create(name, **options)


def test_the_volumes_of_the_lecture_line_by_line():
    net = shell("alexnet_cs231n")
    kinds = (nn.Conv2d, nn.MaxPool2d, nn.LocalResponseNorm, nn.Linear)
    rows = TABLES["alexnet_cs231n_layers"]
    assert [list(shape) for _, shape in layer_shapes(net, (3, 227, 227), kinds)] == [row["out"] for row in rows]
    weighted = [row for row in rows if row["weights"]]
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert [(m.weight.numel(), m.bias.numel()) for m in layers] == [(r["weights"], r["bias"]) for r in weighted]


def test_the_first_layer_by_the_lectures_arithmetic():
    conv1 = shell("alexnet_cs231n").features[0]
    assert conv1.weight.numel() == 34_848 and (227 - 11) // 4 + 1 == 55
    assert 55 * 55 * 96 * (11 * 11 * 3 + 1) == 105_705_600  # without sharing of weights
    # the 224 of the paper's text gives 54 without padding
    assert sizes(nn.Sequential(conv1), (3, 224, 224)) == [(96, 54, 54)]


def test_two_towers_see_each_other_in_the_third_convolution_only():
    one, two = shell("alexnet_cs231n"), shell("alexnet_grouped")
    convolutions = [m for m in two.modules() if isinstance(m, nn.Conv2d)]
    assert [m.groups for m in convolutions] == [1, 2, 1, 2, 2]
    assert sizes(one, (3, 227, 227)) == sizes(two, (3, 227, 227))


def test_torchvisions_sizes_and_names():
    net = shell("alexnet")
    volumes = [(64, 55), (64, 27), (192, 27), (192, 13), (384, 13), (256, 13), (256, 13), (256, 6), (256, 6)]
    assert sizes(net, (3, 224, 224))[:9] == [(c, n, n) for c, n in volumes]
    keys = [f"features.{i}" for i in (0, 3, 6, 8, 10)] + [f"classifier.{i}" for i in (1, 4, 6)]
    assert list(net.state_dict()) == [f"{k}.{kind}" for k in keys for kind in ("weight", "bias")]


def test_receptive_field_of_the_last_map():
    """Each value of the 6x6 maps sees 195 pixels of 227: r grows by (k - 1) times the product of the strides below."""
    axes, size = [], 227
    for kernel, stride, pad in [(11, 4, 0), (3, 2, 0), (5, 1, 2), (3, 2, 0), *[(3, 1, 1)] * 3, (3, 2, 0)]:
        axes.append(Axis(size, kernel, stride=stride, pad=(pad, pad)))
        size = axes[-1].out
    field = receptive_field(axes)
    assert (size, field.size, field.jump) == (6, 195, 32)


@pytest.mark.parametrize("name", ["alexnet_cs231n", "alexnet_grouped"])
@pytest.mark.parametrize("norm_first", [False, True])
def test_order_of_pooling_and_normalisation(name, norm_first):
    kinds = (nn.MaxPool2d, nn.LocalResponseNorm)
    order = [kind for kind, _ in layer_shapes(shell(name, norm_first=norm_first), (3, 227, 227), kinds)]
    pair = ["LocalResponseNorm", "MaxPool2d"] if norm_first else ["MaxPool2d", "LocalResponseNorm"]
    assert order == [*pair, *pair, "MaxPool2d"]
    default = [kind for kind, _ in layer_shapes(shell(name), (3, 227, 227), kinds)]
    assert (default == order) == (norm_first == (name == "alexnet_grouped"))


def test_constants_of_the_normalisation():
    def norms(lrn):
        return [m for m in shell("alexnet_cs231n", lrn=lrn).modules() if isinstance(m, nn.LocalResponseNorm)]

    assert [(m.size, m.alpha / m.size, m.beta, m.k) for m in norms("paper")] == [(5, 1e-4, 0.75, 2)] * 2
    assert [(m.size, m.alpha, m.beta, m.k) for m in norms("caffe")] == [(5, 1e-4, 0.75, 1)] * 2
    assert not norms(None)


@pytest.mark.parametrize(("init", "hidden_std", "positive"), [("paper", 0.01, 1.0), ("caffe", 0.005, 0.1)])
def test_initial_values(init, hidden_std, positive, monkeypatch):
    narrow_head(monkeypatch, "alexnet")
    net = models.alexnet_grouped(num_classes=300, init=init)
    std = [0.01] * 5 + [hidden_std] * 2 + [0.01]
    bias = [0, positive, 0, positive, positive, positive, positive, 0]
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for layer, wanted, constant in zip(layers, std, bias):
        assert float(layer.weight.detach().numpy().std()) == pytest.approx(wanted, rel=0.02)
        np.testing.assert_array_equal(layer.bias.detach().numpy(), np.float32(constant))


def test_initial_values_of_torchvisions_layers(monkeypatch):
    """Those of the paper for the one-piece net too; otherwise PyTorch's, uniform with biases that are not constant."""
    module = importlib.import_module("minidl.models.alexnet")
    fewer = types.SimpleNamespace(**vars(nn))
    fewer.Linear = lambda inputs, outputs: nn.Linear(min(inputs, 300), min(outputs, 300))
    monkeypatch.setattr(module, "nn", fewer)
    bias = [0, 1, 0, 1, 1, 1, 1, 0]
    layers = [
        m for m in models.alexnet(num_classes=300, init="paper").modules() if isinstance(m, nn.Conv2d | nn.Linear)
    ]
    for layer, constant in zip(layers, bias, strict=True):
        assert float(layer.weight.detach().numpy().std()) == pytest.approx(0.01, rel=0.03)
        np.testing.assert_array_equal(layer.bias.detach().numpy(), np.float32(constant))
    plain = models.alexnet(num_classes=300).features[0]
    bound = 1 / np.sqrt(3 * 11 * 11)
    assert np.abs(plain.weight.detach().numpy()).max() == pytest.approx(bound, rel=0.01) and plain.bias.std().item() > 0
    with pytest.raises(models.ModelOptionError, match="alexnet: init is 'torchvision' or 'paper', not 'zeros'"):
        models.alexnet(num_classes=300, init="zeros")


def test_options_that_do_not_exist_are_named():
    with pytest.raises(
        models.ModelOptionError, match="alexnet_grouped: lrn is one of paper, caffe or None, not 'keras'"
    ):
        shell("alexnet_grouped", lrn="keras")
    with pytest.raises(models.ModelOptionError, match="init is 'paper' or 'caffe', not 'zeros'"):
        shell("alexnet_cs231n", init="zeros")


@pytest.mark.parametrize(("name", "side"), [("alexnet", 63), ("alexnet_cs231n", 227), ("alexnet_grouped", 227)])
def test_it_runs_both_ways(name, side, monkeypatch):
    """63 is the smallest input of torchvision's form; the others have one size only."""
    narrow_head(monkeypatch, "alexnet")
    check_runs_both_ways(models.create(name, num_classes=5), (3, side, side), (5,))


def test_dropout_is_an_option():
    net = shell("alexnet", dropout=0.25)
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.25, 0.25]
