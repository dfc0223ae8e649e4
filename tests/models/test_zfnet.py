"""ZFNet, figure 3 of the paper and the wider one of the lectures."""

import numpy as np
import pytest

from minidl import models, nn
from tests.checks.models import check_runs_both_ways, layer_shapes, narrow_head, sizes


def shell(name, **options):
    with nn.utils.skip_init():
        return models.create(name, **options)


@pytest.mark.parametrize(("name", "widths"), [("zfnet", (384, 384, 256)), ("zfnet_512", (512, 1024, 512))])
def test_sizes_of_the_figure(name, widths):
    w1, w2, w3 = widths
    volumes = [(96, 110), (96, 55), (256, 26), (256, 13), (w1, 13), (w2, 13), (w3, 13), (w3, 6)]
    assert sizes(shell(name), (3, 224, 224)) == [*((c, n, n) for c, n in volumes), (4096,), (4096,), (1000,)]


def test_the_paper_could_also_mean_225_pixels_without_padding():
    net = shell("zfnet")
    net.features[0] = nn.Conv2d(3, 96, 7, stride=2)
    net.features[2] = nn.MaxPool2d(3, 2, ceil_mode=True)
    assert sizes(net, (3, 225, 225))[0] == (96, 110, 110)


def test_it_normalises_twice_behind_the_pooling():
    kinds = (nn.MaxPool2d, nn.LocalResponseNorm)
    order = [kind for kind, _ in layer_shapes(shell("zfnet"), (3, 224, 224), kinds)]
    assert order == ["MaxPool2d", "LocalResponseNorm", "MaxPool2d", "LocalResponseNorm", "MaxPool2d"]
    assert len(shell("zfnet", lrn=None).state_dict()) == len(shell("zfnet").state_dict()) == 16


def test_initial_values_of_section_3(monkeypatch):
    narrow_head(monkeypatch, "zfnet")
    for layer in (m for m in models.zfnet(num_classes=200).modules() if isinstance(m, nn.Conv2d | nn.Linear)):
        assert float(layer.weight.detach().numpy().std()) == pytest.approx(0.01, rel=0.02)
        np.testing.assert_array_equal(layer.bias.detach().numpy(), np.float32(0))


def test_it_runs_both_ways(monkeypatch):
    narrow_head(monkeypatch, "zfnet")
    check_runs_both_ways(models.zfnet(num_classes=4), (3, 224, 224), (4,))
