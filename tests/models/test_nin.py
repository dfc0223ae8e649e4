"""Network in Network for CIFAR and for ImageNet."""

import numpy as np
import pytest

import minidl
from minidl import models, nn
from tests.checks.models import check_runs_both_ways, sizes


def shell(name, **options):
    with nn.utils.skip_init():
        return models.create(name, **options)


@pytest.mark.parametrize("pool", ["ceil", "padded"])
def test_sizes_on_cifar(pool):
    blocks = [(192, 160, 96, 32), (192, 192, 192, 16), (192, 192, 10, 8)]
    expected = []
    for *maps, side in blocks:
        expected += [(c, side, side) for c in maps]
        expected.append((maps[-1], side // 2, side // 2) if side > 8 else (10, 1, 1))
    assert sizes(shell("nin_cifar10", pool=pool), (3, 32, 32)) == expected


def test_sizes_on_imagenet():
    expected = []
    for maps, side, behind in ((96, 54, 27), (256, 27, 13), (384, 13, 6)):
        expected += [(maps, side, side)] * 3 + [(maps, behind, behind)]
    assert sizes(shell("nin_imagenet"), (3, 224, 224)) == [*expected, *[(1024, 6, 6)] * 2, (1000, 6, 6), (1000, 1, 1)]


def test_names_are_those_of_the_authors_files():
    keys = list(shell("nin_cifar10").state_dict())
    layers = ["conv1", "cccp1", "cccp2", "conv2", "cccp3", "cccp4", "conv3", "cccp5", "cccp6"]
    assert keys == [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
    assert [name for name, m in shell("nin_cifar10").named_children() if isinstance(m, nn.MaxPool2d)] == ["pool1"]
    assert [name for name, m in shell("nin_cifar10").named_children() if isinstance(m, nn.AvgPool2d)] == ["pool2"]


def test_scores_are_never_negative_since_a_relu_follows_every_convolution():
    net = shell("nin_imagenet")
    assert sum(isinstance(m, nn.ReLU) for m in net) == sum(isinstance(m, nn.Conv2d) for m in net) == 12
    x = minidl.tensor(np.random.default_rng(0).standard_normal((4, 3, 32, 32), dtype="float32"))
    scores = models.nin_cifar10().eval()(x).detach().numpy()
    assert scores.min() >= 0 and scores.max() > 0


def test_the_two_ways_of_pooling_differ_in_value_only():
    ours, theirs = models.nin_cifar10(pool="ceil").eval(), models.nin_cifar10(pool="padded").eval()
    theirs.load_state_dict(ours.state_dict())
    x = minidl.tensor(np.random.default_rng(1).standard_normal((2, 3, 32, 32), dtype="float32"))
    assert not np.allclose(ours(x).detach().numpy(), theirs(x).detach().numpy())
    with pytest.raises(models.ModelOptionError, match="pool is 'ceil' or 'padded', not 'floor'"):
        models.nin_cifar10(pool="floor")


def test_initial_values_of_the_authors_file():
    net = models.nin_imagenet(num_classes=200)
    for name, layer in net.named_children():
        if isinstance(layer, nn.Conv2d):
            wanted = 0.01 if name in ("conv1", "conv2", "conv3") else 0.05
            assert float(layer.weight.detach().numpy().std()) == pytest.approx(wanted, rel=0.04), name
            assert not layer.bias.detach().numpy().any()


@pytest.mark.parametrize(("name", "side"), [("nin_cifar10", 32), ("nin_imagenet", 99)])
def test_it_runs_both_ways(name, side):
    check_runs_both_ways(models.create(name, num_classes=7), (3, side, side), (7,))
