"""The residual and plain networks for CIFAR-10: shapes, both shortcuts, published weights."""

import itertools

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl.models.cifar_resnet import CifarResNet, PadShortcut
from tests.checks.models import check_runs_both_ways, shell, sizes


def test_sizes_and_number_of_layers():
    for depth in (20, 56):
        net, n = shell(f"cifar_resnet{depth}"), (depth - 2) // 6
        stages = [((16, 32, 32), 2 * n + 1), ((32, 16, 16), 2 * n), ((64, 8, 8), 2 * n)]
        wanted = [*itertools.chain(*([shape] * times for shape, times in stages)), (64, 1, 1), (10,)]
        assert sizes(net, (3, 32, 32)) == wanted
        assert len(wanted) - 1 == depth


def test_names_and_order_of_the_state_dict():
    state = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    keys = ["conv1.weight", *(f"bn1.{k}" for k in state)]
    for stage, i, j in itertools.product((1, 2, 3), range(3), (1, 2)):
        keys += [f"layer{stage}.{i}.conv{j}.weight", *(f"layer{stage}.{i}.bn{j}.{k}" for k in state)]
    keys += ["linear.weight", "linear.bias"]
    assert list(shell("cifar_resnet20").state_dict()) == keys == list(shell("cifar_plain20").state_dict())


def test_the_shortcut_of_option_a():
    x = np.random.default_rng(2).standard_normal((2, 4, 7, 6), dtype="float32")
    strided, zeros = x[:, :, ::2, ::2], np.zeros((2, 2, 4, 3), dtype="float32")
    for pad, wanted in {"after": [strided, zeros, zeros], "both": [zeros, strided, zeros]}.items():
        got = PadShortcut(4, 8, 2, pad)(minidl.tensor(x))
        np.testing.assert_array_equal(got.numpy(), np.concatenate(wanted, axis=1))


def test_where_the_shortcuts_are_not_the_identity():
    kinds = {"A": PadShortcut, "B": nn.Sequential}
    for shortcut, kind in kinds.items():
        net = shell("cifar_resnet20", shortcut=shortcut)
        others = {k: m.downsample for k, m in net.named_modules() if getattr(m, "downsample", None) is not None}
        assert list(others) == ["layer2.0", "layer3.0"]
        assert all(type(m) is kind for m in others.values())
    plain = shell("cifar_plain20")
    assert not any(getattr(m, "residual", False) for m in plain.modules())


def test_the_plain_network_is_the_residual_one_without_additions():
    """Same weights in both: a block of the one differs from the same block of the other by its input."""
    residual, plain = CifarResNet(8), CifarResNet(8, shortcut="none")
    plain.load_state_dict(residual.state_dict())
    x = minidl.tensor(np.random.default_rng(4).standard_normal((2, 16, 5, 5), dtype="float32"))
    for a, b in zip(residual.eval().layer1, plain.eval().layer1):
        np.testing.assert_array_equal(a(x).detach().numpy(), (x + b.branch(x)).relu().detach().numpy())
        np.testing.assert_array_equal(b(x).detach().numpy(), b.branch(x).relu().detach().numpy())


def test_initial_values():
    for name, m in CifarResNet(8, num_classes=100).named_modules():
        if isinstance(m, nn.Conv2d | nn.Linear):
            fan_in, _ = nn.init.fan_in_and_fan_out(m.weight)
            spread = 5 * (2 * m.weight.numel()) ** -0.5
            assert float(m.weight.detach().numpy().std()) == pytest.approx((2 / fan_in) ** 0.5, rel=spread), name


def test_options_that_do_not_exist_are_named():
    with pytest.raises(models.ModelOptionError, match=r"depth is 6n \+ 2 \(8, 14, 20, ...\), not 21"):
        CifarResNet(21)
    with pytest.raises(models.ModelOptionError, match="shortcut is 'A', 'B' or 'none', not 'C'"):
        shell("cifar_resnet20", shortcut="C")
    with pytest.raises(models.ModelOptionError, match="pad is 'after' or 'both', not 'front'"):
        shell("cifar_resnet20", pad="front")


@pytest.mark.parametrize("options", [{}, {"pad": "both"}, {"shortcut": "B"}, {"shortcut": "none"}])
def test_it_runs_both_ways(options):
    check_runs_both_ways(CifarResNet(14, 7, **options), (3, 16, 20), (7,), batch=3)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["resnet20-12fca82f", "resnet56-4bfd9763"])
def test_published_weights_recognise_training_images(name, shared_data):
    """akamaster's checkpoints, which saw these images in training: 99.8 % and more of all 4,000."""
    torch = pytest.importorskip("torch")
    file = shared_data / "weights" / "cifar_resnet" / f"{name}.th"
    state = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
    net = models.create(f"cifar_{name.split('-')[0]}", pad="both").eval()
    net.load_state_dict({k.removeprefix("module."): minidl.tensor(v.numpy()) for k, v in state.items()})
    with np.load(shared_data / "cifar10" / "train_first4000_lossless.npz") as images:
        x, labels = images["x"][:200], images["y"][:200]
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    x = ((x / np.float32(255) - mean) / std).transpose(0, 3, 1, 2)  # (N, 3, 32, 32)
    with minidl.no_grad():
        logits = net(minidl.tensor(np.ascontiguousarray(x))).numpy()
    assert (logits.argmax(1) == labels).mean() >= 0.99
