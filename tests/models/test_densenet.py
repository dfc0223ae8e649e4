"""DenseNet: the lectures' table and counts, who sees whom, dropout, names old and new."""

import re

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl.io import load_into
from minidl.models.densenet import DenseBlock, DenseLayer, DenseNet, Transition
from tests.checks.models import check_runs_both_ways, layer_shapes, shell, sizes

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@pytest.mark.parametrize(
    ("name", "blocks", "k", "last"),
    [
        ("densenet121", (6, 12, 24, 16), 32, 1024),
        ("densenet161", (6, 12, 36, 24), 48, 2208),
        ("densenet169", (6, 12, 32, 32), 32, 1664),
        ("densenet264", (6, 12, 64, 48), 32, 2688),
    ],
)
def test_the_lectures_table(name, blocks, k, last):
    """112 56 28 14 7, and (6 + 12 + 24 + 16) * 2 + 1 + 3 + 1 = 121 layers with weights.

    Table 1 of the paper gives the network called 264 one layer more.
    """
    net = shell(name)
    weighted = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weighted) == 2 * sum(blocks) + 1 + 3 + 1
    assert len(weighted) == int(name.removeprefix("densenet")) + (name == "densenet264")
    rows = layer_shapes(net, (3, 224, 224), (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d))
    assert rows[0] == ("Conv2d", (2 * k, 112, 112)) and rows[1] == ("MaxPool2d", (2 * k, 56, 56))
    assert [shape[1] for kind, shape in rows if kind == "AvgPool2d"] == [28, 14, 7]
    assert rows[-1] == ("Conv2d", (k, 7, 7)) and net.classifier.weight.shape == (1000, last)


def test_names_and_order_of_the_state_dict():
    keys = list(shell("densenet121").state_dict())
    at = "features.denseblock1.denselayer1"
    wanted = ["features.conv0.weight", *(f"features.norm0.{k}" for k in NORM)]
    for i in (1, 2):
        wanted += [*(f"{at}.norm{i}.{k}" for k in NORM), f"{at}.conv{i}.weight"]
    assert keys[: len(wanted)] == wanted
    start = keys.index("features.transition1.norm.weight")
    assert keys[start - 1] == "features.denseblock1.denselayer6.conv2.weight"
    assert keys[start + 5 : start + 7] == ["features.transition1.conv.weight", keys[start + 6]]
    assert keys[-7:] == [*(f"features.norm5.{k}" for k in NORM), "classifier.weight", "classifier.bias"]


def test_names_of_the_first_checkpoints_still_load():
    net = DenseNet(4, (2, 3), 8, 5)
    new = {k: np.full(v.shape, i, v.dtype) for i, (k, v) in enumerate(net.state_dict().items())}
    old = {re.sub(r"(denselayer\d\.(?:norm|conv))([12])", r"\1.\2", k): v for k, v in new.items()}
    report = load_into(net, old)
    assert len(report.renamed) == 5 * 12
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), new[name])


def test_each_layer_sees_all_before_it():
    """The lecture's block of L = 5 layers, k = 4: L (L + 1) / 2 = 15 links, and layer l sees k0 + k (l - 1) maps."""
    block = DenseBlock(5, 6, 4, bottleneck=True, dropout=0.0)
    seen = [layer.norm1.num_features for layer in block.children()]
    assert seen == [6 + 4 * i for i in range(5)]
    assert sum((n - 6) // 4 + 1 for n in seen) == 15
    x = minidl.tensor(np.random.default_rng(1).standard_normal((2, 6, 4, 5), dtype="float32"))
    maps = [x]
    for layer in block.children():
        maps.append(layer(minidl.cat(maps, 1)))
        assert maps[-1].shape == (2, 4, 4, 5)
    got = block(x).detach().numpy()
    np.testing.assert_array_equal(got, np.concatenate([m.detach().numpy() for m in maps], axis=1))


def test_a_layer_and_a_transition_are_what_their_definitions_say():
    x = minidl.tensor(np.random.default_rng(2).standard_normal((2, 6, 5, 4), dtype="float32"))
    layer = DenseLayer(6, 3, bottleneck=True, dropout=0.0)
    y = layer.conv2(layer.norm2(layer.conv1(layer.norm1(x).relu())).relu())
    np.testing.assert_array_equal(layer(x).detach().numpy(), y.detach().numpy())
    down = Transition(6, 3, 0.0)
    y = down.conv(down.norm(x).relu()).detach().numpy()[:, :, :4]  # (2, 3, 4, 4)
    np.testing.assert_allclose(down(x).detach().numpy(), y.reshape(2, 3, 2, 2, 2, 2).mean((3, 5)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "maps"),
    [
        ("cifar_densenet40_k12", (160, 304, 448)),
        ("cifar_densenet_bc100_k12", (216, 300, 342)),
    ],
)
def test_sizes_for_cifar(name, maps):
    net = shell(name)
    shapes = [s for _, s in layer_shapes(net, (3, 32, 32), (nn.BatchNorm2d,)) if s[0] in maps]
    assert {(m, n, n) for m, n in zip(maps, (32, 16, 8))} <= set(shapes)
    assert sizes(net, (3, 32, 32))[-1] == (10,)
    assert list(net.state_dict())[-7] == "features.norm4.weight"


def test_the_authors_other_forms():
    assert sum(p.numel() for p in shell("cifar_densenet100_k12", stem_maps=24).parameters()) == 7_083_538
    assert sum(p.numel() for p in shell("densenet264", growth_rate=48).parameters()) == 72_686_632


def test_dropout_follows_every_convolution_but_the_first():
    net = DenseNet(4, (2, 2), 8, 5, dropout=0.2, small=True)
    places = [m for m in net.modules() if isinstance(m, nn.Dropout)]
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    calls = [kind for kind, _ in layer_shapes(net, (3, 8, 8), (nn.Conv2d, nn.Dropout))]
    assert calls == ["Conv2d", *["Conv2d", "Dropout"] * (len(convolutions) - 1)]
    assert all(m.p == 0.2 for m in places)


class _Always(nn.Dropout):
    """Dropout that goes on in evaluation, as for Monte Carlo estimates; it halves, so that the result is known."""

    def forward(self, input):
        return input * 0.5


def test_what_somebody_puts_in_the_place_of_dropout_is_called_in_evaluation_too():
    layer = DenseLayer(6, 3, bottleneck=True, dropout=0.0).eval()
    layer.dropout = _Always()
    layer.eval()
    x = minidl.tensor(np.random.default_rng(2).standard_normal((2, 6, 5, 4), dtype="float32"))
    with minidl.no_grad():
        middle = layer.norm2(layer.conv1(layer.norm1(x).relu()) * 0.5).relu()
        np.testing.assert_array_equal(layer(x).numpy(), (layer.conv2(middle) * 0.5).numpy())


@pytest.mark.parametrize(("init", "mode"), [("torchvision", 0), ("authors", 1)])
def test_initial_values(init, mode):
    net = DenseNet(16, (2, 2), 32, 5, init=init)
    for name, m in net.named_modules():
        if isinstance(m, nn.Conv2d):
            fan = nn.init.fan_in_and_fan_out(m.weight)[mode]
            spread = 5 * (2 * m.weight.numel()) ** -0.5
            assert float(m.weight.detach().numpy().std()) == pytest.approx((2 / fan) ** 0.5, rel=spread), name
    np.testing.assert_array_equal(net.classifier.bias.detach().numpy(), np.float32(0))
    with pytest.raises(models.ModelOptionError, match="init is 'torchvision' or 'authors', not 'he'"):
        shell("densenet121", init="he")


@pytest.mark.parametrize(
    ("options", "side"),
    [({}, 40), ({"small": True, "bottleneck": False, "compression": 1.0, "init": "authors"}, 12)],
)
def test_it_runs_both_ways(options, side):
    check_runs_both_ways(DenseNet(8, (2, 3, 2), 16, 6, **options), (3, side, side + 4), (6,), batch=3)
