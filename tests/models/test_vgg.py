"""VGG A to E, with normalisation and without."""

import json
from pathlib import Path

import numpy as np
import pytest

from minidl import models, nn
from minidl.kernels.geometry import Axis, receptive_field
from minidl.models.vgg import VGG, start_from
from tests.checks.models import check_runs_both_ways, layer_shapes, narrow_head, sizes

TABLES = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))["_tables"]

# places of the convolutions in features, as torchvision numbers them
NAMES = {
    "vgg11": "0 3 6 8 11 13 16 18",
    "vgg13": "0 2 5 7 10 12 15 17 20 22",
    "vgg16": "0 2 5 7 10 12 14 17 19 21 24 26 28",
    "vgg19": "0 2 5 7 10 12 14 16 19 21 23 25 28 30 32 34",
    "vgg11_bn": "0 4 8 11 15 18 22 25",
    "vgg13_bn": "0 3 7 10 14 17 21 24 28 31",
    "vgg16_bn": "0 3 7 10 14 17 20 24 27 30 34 37 40",
    "vgg19_bn": "0 3 7 10 14 17 20 23 27 30 33 36 40 43 46 49",
}


def shell(name, **options):
    with nn.utils.skip_init():
        return models.create(name, **options)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_the_state_dict(name):
    keys = []
    for place in map(int, NAMES[name].split()):
        keys += [f"features.{place}.weight", f"features.{place}.bias"]
        if name.endswith("_bn"):
            state = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
            keys += [f"features.{place + 1}.{kind}" for kind in state]
    keys += [f"classifier.{i}.{kind}" for i in (0, 3, 6) for kind in ("weight", "bias")]
    assert list(shell(name).state_dict()) == keys


def test_vgg16_line_by_line_as_the_lecture_lists_it():
    """Memory and weights of each line, and their sums; the slide's 24M values are not the sum of its own lines."""
    net, rows, totals = shell("vgg16"), TABLES["vgg16_layers"], TABLES["vgg16_totals"]
    kinds = (nn.Conv2d, nn.MaxPool2d, nn.Linear)
    shapes = [shape for _, shape in layer_shapes(net, (3, 224, 224), kinds)]
    assert [list(shape) for shape in shapes] == [row["out"] for row in rows]
    assert [int(np.prod(shape)) for shape in shapes] == [row["activations"] for row in rows]
    assert sum(int(np.prod(s)) for s in shapes) + 3 * 224 * 224 == totals["activation_values_incl_input"] == 15_237_608
    weights = [m.weight.numel() for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert weights == [row["weights"] for row in rows if row["weights"]]
    assert sum(weights) == totals["weights"] == 138_344_128
    assert weights[13] / sum(weights) == pytest.approx(totals["fc6_share_of_weights"])


@pytest.mark.parametrize(("count", "field"), [(1, 3), (2, 5), (3, 7)])
def test_three_small_filters_see_what_one_large_one_sees(count, field):
    assert receptive_field([Axis(32, 3, pad=(1, 1))] * count).size == field
    c = 64
    stack = sum(nn.Conv2d(c, c, 3, bias=False).weight.numel() for _ in range(3))
    assert (stack, nn.Conv2d(c, c, 7, bias=False).weight.numel()) == (27 * c * c, 49 * c * c)


def test_layers_with_weights_as_the_names_say():
    for name in ("vgg11", "vgg11_lrn", "vgg13", "vgg16_c", "vgg16", "vgg19"):
        layers = [m for m in shell(name).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        assert len(layers) == int(name[3:5]), name
    one_by_one = [i for i, m in enumerate(shell("vgg16_c").features) if getattr(m, "kernel_size", 0) == (1, 1)]
    assert one_by_one == [14, 21, 28]
    lrn = shell("vgg11_lrn").features
    assert [type(m).__name__ for m in lrn][:4] == ["Conv2d", "ReLU", "LocalResponseNorm", "MaxPool2d"]
    assert sum(isinstance(m, nn.LocalResponseNorm) for m in lrn) == 1


def test_other_sizes_run_through_the_adaptive_pooling():
    assert sizes(shell("vgg11", num_classes=7), (3, 96, 64))[-4:] == [(512, 7, 7), (4096,), (4096,), (7,)]


def test_batch_norm_without_the_useless_biases():
    """pytorchcv's bn_vgg16 has none in the convolutions: 138,361,768 parameters."""
    assert sum(p.numel() for p in shell("vgg16_bn", conv_bias=False).parameters()) == 138_361_768


def small(init, monkeypatch):
    """VGG with an eighth of the maps, so that it is drawn at once."""
    monkeypatch.setattr("minidl.models.vgg.MAPS", (8, 16, 32, 64, 64))
    narrow_head(monkeypatch, "vgg")
    return lambda configuration, **options: VGG(configuration, init=init, **options)


@pytest.mark.parametrize("init", ["torchvision", "paper", "xavier"])
def test_initial_values(init, monkeypatch):
    net = small(init, monkeypatch)("A", num_classes=100)
    for layer in (m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)):
        fan_in, fan_out = nn.init.fan_in_and_fan_out(layer.weight)
        linear = isinstance(layer, nn.Linear)
        wanted = {
            "torchvision": 0.01 if linear else (2 / fan_out) ** 0.5,
            "paper": 0.1,
            "xavier": (2 / (fan_in + fan_out)) ** 0.5,
        }[init]
        got = float(layer.weight.detach().numpy().std())
        assert got == pytest.approx(wanted, rel=5 * (2 * layer.weight.numel()) ** -0.5), layer
        np.testing.assert_array_equal(layer.bias.detach().numpy(), np.float32(0))


def test_unknown_initial_values_are_named():
    with pytest.raises(models.ModelOptionError, match="init is 'torchvision', 'paper' or 'xavier', not 'he'"):
        shell("vgg11", init="he")


def test_the_paper_starts_the_deeper_nets_from_net_a(monkeypatch):
    make = small("torchvision", monkeypatch)
    a, d = make("A", num_classes=5), make("D", num_classes=5)
    before = {name: value.numpy().copy() for name, value in d.state_dict().items()}
    assert start_from(d, a) is d
    copied = {"features.0": "features.0", "features.5": "features.3"}
    copied |= {"features.10": "features.6", "features.12": "features.8"}
    copied |= {f"classifier.{i}": f"classifier.{i}" for i in (0, 3, 6)}
    source = a.state_dict()
    for name, value in d.state_dict().items():
        layer, kind = name.rsplit(".", 1)
        wanted = source[f"{copied[layer]}.{kind}"].numpy() if layer in copied else before[name]
        np.testing.assert_array_equal(value.numpy(), wanted, err_msg=name)
    with pytest.raises(models.ModelOptionError, match=r"no convolution of the deeper net is \(16, 8, 3, 3\)"):
        start_from(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1)), a)


@pytest.mark.parametrize(
    ("configuration", "options"), [("A", {}), ("A", {"lrn": "paper"}), ("C", {}), ("B", {"batch_norm": True})]
)
def test_it_runs_both_ways(configuration, options, monkeypatch):
    net = small("torchvision", monkeypatch)(configuration, num_classes=6, **options)
    check_runs_both_ways(net, (3, 64, 32), (6,), batch=3)
