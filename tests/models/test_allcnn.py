"""The All-CNN family: three bases in four forms."""

import math

import numpy as np
import pytest

from minidl import models, nn
from minidl.kernels.geometry import Axis, receptive_field
from tests.checks.models import check_runs_both_ways, layer_shapes

FORMS = ("allcnn_model", "strided_cnn", "convpool_cnn", "all_cnn")
# (filter size, stride) of the convolutions in front of the common tail, "p" for a pooling: tables 1 and 2
LAYERS = {
    "allcnn_model_a": [(5, 1), "p", (5, 1), "p"],
    "allcnn_model_b": [(5, 1), (1, 1), "p", (5, 1), (1, 1), "p"],
    "allcnn_model_c": [(3, 1), (3, 1), "p", (3, 1), (3, 1), "p"],
    "strided_cnn_a": [(5, 2), (5, 2)],
    "strided_cnn_b": [(5, 1), (1, 2), (5, 1), (1, 2)],
    "strided_cnn_c": [(3, 1), (3, 2), (3, 1), (3, 2)],
    "convpool_cnn_a": [(5, 1), (3, 1), "p", (5, 1), (3, 1), "p"],
    "convpool_cnn_b": [(5, 1), (1, 1), (3, 1), "p", (5, 1), (1, 1), (3, 1), "p"],
    "convpool_cnn_c": [(3, 1), (3, 1), (3, 1), "p", (3, 1), (3, 1), (3, 1), "p"],
    "all_cnn_a": [(5, 1), (3, 2), (5, 1), (3, 2)],
    "all_cnn_b": [(5, 1), (1, 1), (3, 2), (5, 1), (1, 1), (3, 2)],
    "all_cnn_c": [(3, 1), (3, 1), (3, 2), (3, 1), (3, 1), (3, 2)],
}


def shell(name, **options):
    with nn.utils.skip_init():
        return models.create(name, **options)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_the_tables(name):
    net = shell(name)
    kinds = (nn.Conv2d, nn.MaxPool2d)
    layers = [m for m in net if isinstance(m, kinds)]
    got = ["p" if isinstance(m, nn.MaxPool2d) else (m.kernel_size[0], m.stride[0]) for m in layers]
    assert got == [*LAYERS[name], (3, 1), (1, 1), (1, 1)]
    shapes = [shape for _, shape in layer_shapes(net, (3, 32, 32), kinds)]
    side, expected = 32, []
    block = [96] * (len(LAYERS[name]) // 2) + [192] * (len(LAYERS[name]) // 2)
    for maps, layer in zip(block, LAYERS[name]):
        side //= 2 if layer == "p" or layer[1] == 2 else 1
        expected.append((maps, side, side))
    assert side == 8
    assert shapes == [*expected, (192, 6, 6), (192, 6, 6), (10, 6, 6)]


@pytest.mark.parametrize("base", "abc")
def test_strides_cost_nothing_and_the_controls_match(base):
    """Strided has the parameters of Model, ConvPool those of ALL-CNN, as the paper's comparison needs."""
    model, strided, convpool, all_cnn = (sum(p.numel() for p in shell(f"{form}_{base}").parameters()) for form in FORMS)
    assert model == strided and convpool == all_cnn
    assert all_cnn - model == sum(c * (9 * c + 1) for c in (96, 192))


def test_names_and_dropout():
    net = shell("all_cnn_c")
    keys = [f"conv{i}.{kind}" for i in range(1, 10) for kind in ("weight", "bias")]
    assert list(net.state_dict()) == keys
    assert [m.p for m in net if isinstance(m, nn.Dropout)] == [0.2, 0.5, 0.5]
    names = [name for name, _ in net.named_children()]
    assert [names[names.index(f"drop{i}") - 1] for i in (1, 2)] == ["relu3", "relu6"]  # behind what halves
    assert sum(isinstance(m, nn.ReLU) for m in net) == 9


def test_receptive_field_of_all_cnn_c():
    """Each 3x3 layer adds 2 pixels times the product of the strides in front of it: 3 times 2, 3 times 4, once 8."""
    axes, size = [], 32
    for layer in (m for m in shell("all_cnn_c") if isinstance(m, nn.Conv2d)):
        axes.append(Axis(size, layer.kernel_size[0], stride=layer.stride[0], pad=(layer.padding[0],) * 2))
        size = axes[-1].out
    assert (size, receptive_field(axes).size) == (6, 1 + 3 * 2 + 3 * 4 + 8)


def test_a_padded_tail_means_over_8_by_8():
    by_option, by_name = shell("all_cnn_c", padded=True), shell("all_cnn_c_padded")
    for net in (by_option, by_name):
        assert layer_shapes(net, (3, 32, 32), (nn.Conv2d,))[-1][1] == (10, 8, 8)
    assert not any(m.p for m in shell("all_cnn_a", dropout=0.0, input_dropout=0.0) if isinstance(m, nn.Dropout))


def test_initial_values_are_caffes_xavier():
    for layer in models.strided_cnn_a():
        if isinstance(layer, nn.Conv2d):
            bound = math.sqrt(3 / math.prod(layer.weight.shape[1:]))
            top = float(np.abs(layer.weight.detach().numpy()).max())
            assert 0.98 * bound < top <= bound * (1 + 1e-6)
            assert not layer.bias.detach().numpy().any()


@pytest.mark.parametrize("name", ["allcnn_model_a", "strided_cnn_b", "convpool_cnn_c", "all_cnn_c"])
def test_it_runs_both_ways(name):
    check_runs_both_ways(models.create(name, num_classes=4), (3, 20, 18), (4,), batch=3)
