"""Squeeze-and-excitation: the unit by its definition, where it stands, the three kinds of network."""

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.models.cifar_resnet import CifarResNet
from minidl.models.resnet import BasicBlock, Bottleneck
from minidl.models.se_net import SENet, SqueezeExcite
from tests.checks.models import check_runs_both_ways, shell, sizes


def test_the_unit_by_its_definition():
    rng = np.random.default_rng(8)
    unit, x = SqueezeExcite(12, reduction=4).double(), rng.standard_normal((3, 12, 5, 4))
    w1, b1, w2, b2 = (p.detach().numpy().reshape(p.shape[:2] if p.ndim > 1 else p.shape) for p in unit.parameters())
    hidden = np.maximum(x.mean((2, 3)) @ w1.T + b1, 0)
    factors = 1 / (1 + np.exp(-(hidden @ w2.T + b2)))
    np.testing.assert_allclose(unit(minidl.tensor(x)).detach().numpy(), x * factors[:, :, None, None], rtol=1e-12)


def test_it_stands_behind_the_last_norm_and_before_the_addition():
    block = Bottleneck(8, 4, 8, se=lambda maps: SqueezeExcite(maps, 2)).eval()
    x = minidl.tensor(np.random.default_rng(9).standard_normal((2, 8, 5, 6), dtype="float32"))
    y = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu())).relu()
    y = (x + block.se_module(block.bn3(block.conv3(y)))).relu()
    np.testing.assert_array_equal(block(x).detach().numpy(), y.detach().numpy())


def test_names_of_the_state_dict():
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    keys = [k for k in shell("se_resnext50_32x4d").state_dict() if k.startswith(("layer0", "layer1.0", "last"))]
    at = "layer1.0"
    wanted = ["layer0.conv1.weight", *(f"layer0.bn1.{k}" for k in norm)]
    for i in (1, 2, 3):
        wanted += [f"{at}.conv{i}.weight", *(f"{at}.bn{i}.{k}" for k in norm)]
    wanted += [f"{at}.se_module.fc{i}.{k}" for i in (1, 2) for k in ("weight", "bias")]
    wanted += [f"{at}.downsample.0.weight", *(f"{at}.downsample.1.{k}" for k in norm)]
    assert keys == [*wanted, "last_linear.weight", "last_linear.bias"]


def test_strides_and_stems():
    first = {name: shell(name).layer2[0] for name in ("se_resnet50", "se_resnet50_v1_5", "se_resnext50_32x4d")}
    strides = {name: (b.conv1.stride[0], b.conv2.stride[0]) for name, b in first.items()}
    assert strides == {"se_resnet50": (2, 1), "se_resnet50_v1_5": (1, 2), "se_resnext50_32x4d": (1, 2)}
    caffe, padded = shell("se_resnet50").layer0.pool, shell("se_resnet50_v1_5").layer0.pool
    assert (caffe.padding, caffe.ceil_mode, padded.padding, padded.ceil_mode) == (0, True, 1, False)


def test_senet154_as_the_authors_entered_it():
    net = shell("senet154")
    shapes = sizes(net, (3, 224, 224))
    assert shapes[:4] == [(64, 112, 112), (64, 112, 112), (128, 112, 112), (128, 56, 56)]
    for stage in range(1, 5):
        maps = 64 * 2 ** (stage - 1)
        block = getattr(net, f"layer{stage}")[0]
        assert [c.out_channels for c in (block.conv1, block.conv2, block.conv3)] == [2 * maps, 4 * maps, 4 * maps]
        assert block.conv2.groups == 64
        assert block.downsample[0].kernel_size == ((1, 1) if stage == 1 else (3, 3))
    assert net.dropout.p == 0.2


@pytest.mark.parametrize(
    ("make", "side"),
    [
        (lambda: SENet(BasicBlock, (1, 1, 1, 1), 5), 64),
        (lambda: SENet(Bottleneck, (1, 1, 1, 1), 5, groups=32, width_per_group=4, ceil_pool=False), 64),
        (lambda: SENet(Bottleneck, (1, 1, 1, 1), 5, groups=8, width_per_group=2, senet154=True), 48),
        (lambda: CifarResNet(8, 5, "B", se=SqueezeExcite), 16),
    ],
)
def test_it_runs_both_ways(make, side):
    net = make()
    check_runs_both_ways(net, (3, side, side - 8), (5,), batch=3)
    assert any(isinstance(m, SqueezeExcite) for m in net.modules())
    assert not any(m.bias is not None for k, m in net.named_modules() if isinstance(m, nn.Conv2d) and "fc" not in k)
