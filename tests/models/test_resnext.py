"""ResNeXt: its groups, the equivalence of the paper's forms A and C, the networks for CIFAR."""

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.models.resnet import Bottleneck, ResNet
from minidl.models.resnext import CifarResNeXt
from tests.checks.models import check_runs_both_ways, shell, sizes


@pytest.mark.parametrize(
    ("name", "groups", "widths"),
    [
        ("resnext50_32x4d", 32, (128, 256, 512, 1024)),
        ("resnext101_32x8d", 32, (256, 512, 1024, 2048)),
        ("resnext101_64x4d", 64, (256, 512, 1024, 2048)),
        ("cifar_resnext29_8x64d", 8, (512, 1024, 2048)),
        ("cifar_resnext29_32x4d", 32, (128, 256, 512)),
    ],
)
def test_groups_and_widths(name, groups, widths):
    net = shell(name)
    for stage, width in enumerate(widths, 1):
        for i, block in enumerate(getattr(net, f"layer{stage}")):
            assert block.conv2.groups == groups
            assert block.conv2.weight.shape == (width, width // groups, 3, 3)
            assert block.conv2.stride == ((2, 2) if stage > 1 and i == 0 else (1, 1))  # not in the 1x1
            assert block.conv3.weight.shape[:2] == (256 * 2 ** (stage - 1), width)


def test_sizes_of_the_network_for_cifar():
    net = shell("cifar_resnext29_8x64d")
    shapes = sizes(net, (3, 32, 32))
    assert shapes[0] == (64, 32, 32) and shapes[-3:] == [(1024, 8, 8), (1024, 1, 1), (10,)]
    layers = [k for k, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear) and "downsample" not in k]
    assert len(layers) == 29


def test_groups_are_paths_that_are_added():
    """Figure 3: form C (grouped convolution) equals form A (the sum of separate narrow bottlenecks)."""
    rng = np.random.default_rng(5)
    c, groups, d = 6, 3, 2
    block = Bottleneck(c, groups * d, c, groups=groups).double()
    x = minidl.tensor(rng.standard_normal((2, c, 5, 4)))
    wanted = block.conv3(block.conv2(block.conv1(x))).detach().numpy()
    total = 0
    for g in range(groups):
        part = slice(g * d, (g + 1) * d)
        path = Bottleneck(c, d, c).double()
        path.conv1.weight = nn.Parameter(block.conv1.weight.detach()[part])
        path.conv2.weight = nn.Parameter(block.conv2.weight.detach()[part])
        path.conv3.weight = nn.Parameter(block.conv3.weight.detach()[:, part])
        total = total + path.conv3(path.conv2(path.conv1(x))).detach().numpy()
    np.testing.assert_allclose(wanted, total, rtol=1e-10, atol=1e-12)


def test_they_run_both_ways():
    net = ResNet(Bottleneck, (1, 1, 1, 1), 5, groups=32, width_per_group=4)
    check_runs_both_ways(net, (3, 64, 40), (5,), batch=3)
    check_runs_both_ways(CifarResNeXt(4, 8, 6, blocks=2), (3, 12, 16), (6,), batch=3)
