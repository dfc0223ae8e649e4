"""MobileNet version 3, MnasNet, ShuffleNet, EfficientNet, BN-Inception, Xception: sizes, parts, both modes."""

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl.models.bninception import BLOCKS
from minidl.models.mobilenet_v3 import LARGE, SMALL
from minidl.models.shufflenet import shuffle
from tests.checks.models import check_runs_both_ways, layer_shapes, shell

RUNS = {  # name, options, side
    "mobilenet_v3_small": ({"width": 0.5}, 32),
    "mnasnet1_0": ({"width": 0.5}, 32),
    "shufflenet_v2_x1_0": ({}, 32),
    "efficientnet_b0": ({"width": 0.5, "drop_path": 0.0}, 32),
    "bninception": ({}, 32),
    "xception": ({}, 32),
}


@pytest.mark.parametrize("name", RUNS)
def test_forward_and_backward_in_both_modes(name):
    options, side = RUNS[name]
    minidl.manual_seed(1)
    check_runs_both_ways(models.create(name, num_classes=5, **options), (3, side, side), (5,), batch=3)


@pytest.mark.parametrize(("name", "rows"), [("mobilenet_v3_large", LARGE), ("mobilenet_v3_small", SMALL)])
def test_mobilenet_v3_is_the_table_of_its_paper(name, rows):
    net = shell(name)
    blocks = list(net.features)[1:-1]
    assert len(blocks) == len(rows)
    side = 112
    for block, (size, expanded, maps, squeeze, activation, stride) in zip(blocks, rows):
        convs = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
        depthwise = next(c for c in convs if c.groups > 1)
        assert (depthwise.kernel_size[0], depthwise.groups, depthwise.stride[0]) == (size, expanded, stride)
        assert convs[-1].out_channels == maps
        squeezes = [m for m in block.modules() if isinstance(m, models.SqueezeExcite)]
        assert bool(squeezes) == squeeze
        assert any(isinstance(m, nn.Hardswish) for m in block.modules()) == (activation == "HS")
        side = -(-side // stride)
    assert side == 7


def test_maps_of_bn_inception_by_module():
    """As its published network has them: 4c and 4d have 608, where the paper's table says 576."""
    channels, wanted = 192, [256, 320, 576, 576, 576, 608, 608, 1056, 1024, 1024]
    got = []
    for one, three, double, projected, _ in BLOCKS.values():
        channels = one + three[1] + double[1] + (projected or channels)
        got.append(channels)
    assert got == wanted
    shapes = [s for kind, s in layer_shapes(shell("bninception"), (3, 224, 224)) if kind == "MaxPool2d"]
    assert shapes == [(64, 56, 56), (192, 28, 28), (320, 14, 14), (608, 7, 7), (1024, 7, 7)]


def test_sizes_of_xception():
    shapes = [s for kind, s in layer_shapes(shell("xception"), (3, 299, 299)) if kind == "MaxPool2d"]
    assert shapes == [(128, 74, 74), (256, 37, 37), (728, 19, 19), (1024, 10, 10)]


def test_channels_are_dealt_out_in_turns():
    x = np.arange(2 * 6 * 2).reshape(2, 6, 2, 1)
    got = shuffle(minidl.tensor(x), 3).numpy()
    np.testing.assert_array_equal(got, x[:, [0, 2, 4, 1, 3, 5]])


def test_branches_fall_out_more_often_deeper():
    net = shell("efficientnet_b0", drop_path=0.32)
    rates = [block.stochastic_depth.p for stage in list(net.features)[1:-1] for block in stage]
    assert rates == pytest.approx([0.32 * i / 16 for i in range(16)])
    wide = shell("efficientnet_b0", width=1.1, depth=1.2)  # B2
    assert sum(p.numel() for p in wide.parameters()) == 9_109_994
