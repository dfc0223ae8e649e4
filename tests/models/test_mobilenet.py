"""MobileNet, versions 1 and 2."""

import math

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl.models.mobilenet import InvertedResidual, make_divisible
from tests.checks.models import check_runs_both_ways, layer_shapes


def shell(name, **options):
    with nn.utils.skip_init():
        return models.create(name, **options)


def convolutions(net):
    return [m for m in net.modules() if isinstance(m, nn.Conv2d)]


# ---- version 1 ----------------------------------------------------------------------------------------------------


def test_table_1_of_the_paper():
    shapes = [shape for _, shape in layer_shapes(shell("mobilenet_v1"), (3, 224, 224), (nn.Conv2d,))]
    expected, maps = [(32, 112, 112)], 32
    pairs = [(64, 112), (128, 56), (128, 56), (256, 28), (256, 28), (512, 14), *[(512, 14)] * 5, (1024, 7), (1024, 7)]
    for outputs, side in pairs:
        expected += [(maps, side, side), (outputs, side, side)]
        maps = outputs
    assert shapes == expected


def test_every_second_convolution_sees_one_map_only():
    layers = convolutions(shell("mobilenet_v1"))
    assert all(m.groups == m.in_channels == m.out_channels for m in layers[1::2])
    assert all(m.groups == 1 and m.kernel_size == (1, 1) for m in layers[2::2])
    assert all(m.bias is None for m in layers)


def test_what_a_pair_costs_beside_a_full_convolution():
    """1/K + 1/9 of the multiplications: section 3.1."""
    c, k = 64, 128
    pair = nn.Sequential(nn.Conv2d(c, c, 3, groups=c, bias=False), nn.Conv2d(c, k, 1, bias=False))
    full = nn.Conv2d(c, k, 3, bias=False)
    share = sum(p.numel() for p in pair.parameters()) / full.weight.numel()
    assert share == pytest.approx(1 / k + 1 / 9)


def test_what_tensorflow_does_otherwise():
    paper, keras = shell("mobilenet_v1"), shell("mobilenet_v1", activation="relu6", padding="bottom_right", eps=1e-3)
    assert {type(m) for m in paper.modules() if isinstance(m, nn.ReLU | nn.ReLU6)} == {nn.ReLU}
    assert {type(m) for m in keras.modules() if isinstance(m, nn.ReLU | nn.ReLU6)} == {nn.ReLU6}
    assert {m.eps for m in keras.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}
    for a, b in zip(convolutions(paper), convolutions(keras)):
        strided = a.stride == (2, 2)
        assert b.padding == (((0, 1), (0, 1)) if strided else a.padding)
    shapes = [layer_shapes(net, (3, 224, 224), (nn.Conv2d,)) for net in (paper, keras)]
    assert shapes[0] == shapes[1]


def test_options_that_do_not_exist_are_named():
    with pytest.raises(models.ModelOptionError, match="padding is 'symmetric' or 'bottom_right', not 'same'"):
        shell("mobilenet_v1", padding="same")
    with pytest.raises(models.ModelOptionError, match="activation is one of relu, relu6, not 'elu'"):
        shell("mobilenet_v1", activation="elu")


# ---- version 2 ----------------------------------------------------------------------------------------------------


def test_table_2_of_the_paper():
    rows = [(16, 112), *[(24, 56)] * 2, *[(32, 28)] * 3, *[(64, 14)] * 4, *[(96, 14)] * 3, *[(160, 7)] * 3, (320, 7)]
    net, outputs = shell("mobilenet_v2"), []
    blocks = [m for m in net.features if isinstance(m, InvertedResidual)]
    for block in blocks:
        block.register_forward_hook(lambda module, args, output: outputs.append(output.shape[1:]))
    layer_shapes(net, (3, 224, 224))
    assert outputs == [(c, n, n) for c, n in rows]
    assert [b.residual for b in blocks] == [a == b for a, b in zip([(32, 112), *rows], rows)]
    hidden = [b.conv[-3][0].out_channels for b in blocks]
    assert hidden == [32, *(6 * c for c, _ in rows[:-1])]


def test_names_are_torchvisions():
    names = {name.rsplit(".", 1)[0] for name in shell("mobilenet_v2").state_dict()}
    wanted = {"features.0.0", "features.0.1", "features.18.0", "features.18.1", "classifier.1"}
    wanted |= {f"features.1.conv.{i}" for i in ("0.0", "0.1", "1", "2")}
    wanted |= {f"features.{n}.conv.{i}" for n in range(2, 18) for i in ("0.0", "0.1", "1.0", "1.1", "2", "3")}
    assert names == wanted


def test_the_last_convolution_of_a_block_has_no_activation():
    block = InvertedResidual(8, 12, 2, 6)
    assert [type(m).__name__ for m in block.conv] == ["Sequential", "Sequential", "Conv2d", "BatchNorm2d"]
    y = block(minidl.tensor(np.random.default_rng(0).standard_normal((2, 8, 9, 7), dtype="float32")))
    assert y.shape == (2, 12, 5, 4) and float(y.min()) < 0 < float(y.max())


@pytest.mark.parametrize(
    ("value", "rounded"), [(32 * 0.35, 16), (16 * 0.35, 8), (24 * 1.4, 32), (96 * 1.3, 128), (1, 8), (20, 24), (12, 16)]
)
def test_rounding_never_takes_more_than_a_tenth(value, rounded):
    assert make_divisible(value) == rounded
    assert rounded % 8 == 0 and rounded >= 0.9 * value


def test_widths_grow_the_head_and_do_not_shrink_it():
    assert shell("mobilenet_v2_025").classifier[1].in_features == 1280
    assert shell("mobilenet_v2_14").classifier[1].in_features == 1792
    assert sum(p.numel() for p in shell("mobilenet_v2", width=0.35).parameters()) == 1_677_128


# ---- both ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mobilenet_v1_050", "mobilenet_v2_05"])
def test_initial_values(name):
    net = models.create(name, num_classes=50)
    for layer in convolutions(net):
        wanted = math.sqrt(2 / nn.init.fan_in_and_fan_out(layer.weight)[1])
        got = float(layer.weight.detach().numpy().std())
        assert got == pytest.approx(wanted, rel=6 / math.sqrt(2 * layer.weight.numel()))
    last = net.classifier[1]
    assert float(last.weight.detach().numpy().std()) == pytest.approx(0.01, rel=0.05)
    assert not last.bias.detach().numpy().any()


@pytest.mark.parametrize("name", ["mobilenet_v1_025", "mobilenet_v2_025"])
def test_it_runs_both_ways(name):
    check_runs_both_ways(models.create(name, num_classes=5), (3, 48, 40), (5,), batch=3)
