"""Pre-activation ResNet and Wide ResNet: order of the layers, shared pre-activation, identity shortcuts."""

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl.models.preact_resnet import (
    CifarPreActResNet,
    PreActBasic,
    PreActBottleneck,
    PreActResNet,
    blocks_per_stage,
)
from tests.checks.models import check_runs_both_ways, shell, sizes


def image(*shape):
    return minidl.tensor(np.random.default_rng(6).standard_normal(shape, dtype="float32"))


def test_layers_with_weights_as_the_names_say():
    depths = {f"cifar_preact_resnet{d}": d for d in (110, 164, 1001)} | {"preact_resnet200": 200, "wide_resnet50_2": 50}
    for name, depth in depths.items():
        net = shell(name)
        layers = [k for k, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear) and "downsample" not in k]
        assert len(layers) == depth, name
    for name, depth in {"wrn_16_4": 16, "wrn_28_10": 28}.items():  # counted with the three projections
        assert sum(isinstance(m, nn.Conv2d) for m in shell(name).modules()) == depth


def test_normalisation_of_the_very_first_block():
    """The authors' program leaves it out; pytorchcv's form has 128 parameters more."""
    for norm_first, count in ((False, 64_666_152), (True, 64_666_280)):
        net = shell("preact_resnet200", norm_first=norm_first)
        assert sum(p.numel() for p in net.parameters()) == count
        assert ("layer1.0.bn1.weight" in net.state_dict()) == norm_first


def test_sizes():
    wrn = sizes(shell("wrn_28_10"), (3, 32, 32))
    assert wrn[0] == (16, 32, 32) and wrn[-2:] == [(640, 1, 1), (10,)]
    assert set(wrn[1:-2]) == {(160, 32, 32), (320, 16, 16), (640, 8, 8)}
    deep = sizes(shell("cifar_preact_resnet164"), (3, 32, 32))
    assert {(64, 32, 32), (128, 16, 16), (256, 8, 8)} < set(deep)
    imagenet = sizes(shell("preact_resnet50"), (3, 224, 224))
    assert imagenet[:2] == [(64, 112, 112), (64, 56, 56)] and imagenet[-3] == (2048, 7, 7)


def test_nothing_stands_in_the_shortcut():
    """A block whose last convolution is zero gives its input back, negative values too."""
    x = image(2, 8, 5, 6)
    for block in (PreActBasic(8, 8), PreActBottleneck(8, 8)):
        nn.init.zeros_(next(getattr(block, f"conv{i}").weight for i in (3, 2) if hasattr(block, f"conv{i}")))
        np.testing.assert_array_equal(block(x).detach().numpy(), x.numpy())


@pytest.mark.parametrize("stride_in_1x1", [False, True])
def test_where_the_shape_changes_both_paths_share_the_activation(stride_in_1x1):
    block, x = PreActBottleneck(6, 16, 2, stride_in_1x1), image(2, 6, 8, 5)
    assert (block.conv1.stride, block.conv2.stride) == (((2, 2), (1, 1)) if stride_in_1x1 else ((1, 1), (2, 2)))
    a = block.bn1(x).relu()
    y = block.conv3(block.bn3(block.conv2(block.bn2(block.conv1(a)).relu())).relu()) + block.downsample(a)
    np.testing.assert_array_equal(block(x).detach().numpy(), y.detach().numpy())
    first = PreActBottleneck(6, 16, norm_first=False)
    assert first.bn1 is None
    y = first.conv3(first.bn3(first.conv2(first.bn2(first.conv1(x)).relu())).relu()) + first.downsample(x)
    np.testing.assert_array_equal(first(x).detach().numpy(), y.detach().numpy())


def test_stride_in_the_3x3_costs_more():
    """1,490,995,712 for 1001 layers, as pytorchcv has it, instead of 1,487,849,984."""
    for flag, macs in ((True, 244_500_992), (False, 247_646_720)):
        assert minidl._macs.count_macs(shell("cifar_preact_resnet164", stride_in_1x1=flag), (3, 32, 32)) == macs
    with nn.utils.skip_init():
        lua = PreActResNet((3, 24, 36, 3), stride_in_1x1=True)
    assert minidl._macs.count_macs(lua, (3, 224, 224)) == 14_776_270_848


def test_only_the_first_block_lacks_its_own_normalisation():
    net = shell("preact_resnet50")
    lacking = [k for k, m in net.named_modules() if isinstance(m, PreActBottleneck) and m.bn1 is None]
    assert lacking == ["layer1.0"]


def test_dropout_of_the_wide_network_stands_between_the_convolutions():
    block = shell("wrn_16_4", dropout=0.3).layer1[0]
    assert block.dropout.p == 0.3
    assert [k for k, _ in block.named_children()][2:5] == ["bn2", "dropout", "conv2"]


def test_a_depth_that_does_not_exist():
    with pytest.raises(models.ModelOptionError, match=r"wrn: depth is 6n \+ 4, not 27"):
        blocks_per_stage("wrn", 27, 2, 4)


def test_initial_values():
    net = CifarPreActResNet(PreActBasic, 1, (16, 32, 64), 10)
    for name, m in net.named_modules():
        if isinstance(m, nn.Conv2d):
            _, fan_out = nn.init.fan_in_and_fan_out(m.weight)
            spread = 5 * (2 * m.weight.numel()) ** -0.5
            assert float(m.weight.detach().numpy().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=spread), name
            assert m.bias is None


@pytest.mark.parametrize(
    ("net", "side"),
    [
        (lambda: CifarPreActResNet(PreActBasic, 2, (32, 64, 128), 6), 16),
        (lambda: CifarPreActResNet(lambda i, o, s: PreActBottleneck(i, o, s, True), 2, (64, 128, 256), 6), 16),
        (lambda: PreActResNet((1, 2, 1, 1), 6), 64),
    ],
)
def test_they_run_both_ways(net, side):
    check_runs_both_ways(net(), (3, side, side - 4), (6,), batch=3)
