"""GoogLeNet: the lectures' table of blocks, the naive and the reduced module, auxiliary heads, both variants."""

import json
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl._macs import count_macs
from minidl.models.googlenet import ConvUnit, GoogLeNet, Inception, NaiveInception, to_half
from tests.checks.models import check_runs_both_ways, shell

TABLES = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))["_tables"]
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def test_the_blocks_of_the_lectures_table():
    """Outputs, weights and multiply-adds of each block, with the slide's slips put right (golden.json keeps both)."""
    net, rows = shell("googlenet_original"), TABLES["googlenet_blocks"]
    stem = nn.Sequential(net.conv2, net.conv3)
    parts = [net.conv1, stem, *(getattr(net, f"inception{row['block']}") for row in rows[2:11]), net.fc]
    shape, total = [3, 224, 224], 0
    for part, row in zip(parts, rows, strict=True):
        if row["block"] in ("3a", "conv2 (1x1-64, 3x3-192)", "4a", "5a"):  # behind a pooling that halves the size
            shape = [shape[0], shape[1] // 2, shape[2] // 2]
        shape = shape[:1] if isinstance(part, nn.Linear) else shape
        assert count_macs(part, shape) == row["macs"], row
        weights = [p.numel() for k, p in part.named_parameters() if k.endswith("weight")]
        biases = [p.numel() for k, p in part.named_parameters() if k.endswith("bias")]
        assert sum(weights) == row["weights"] and sum(biases) == row.get("biases", sum(biases)), row
        shape, total = row["out"], total + sum(weights)
    assert total == 6_990_272


@pytest.mark.parametrize("name", ["googlenet", "googlenet_original"])
def test_sizes_and_layers_of_the_whole(name):
    """22 layers in a row with weights, 27 with the poolings; 224 56 28 14 7 at the modules."""
    net, seen = shell(name), {}
    for key, module in net.named_children():
        module.register_forward_hook(lambda m, a, out, key=key: seen.update({key: out.shape[1:]}))
    count_macs(net, (3, 224, 224))
    assert seen["conv1"] == (64, 112, 112) and seen["conv3"] == (192, 56, 56)
    outputs = {row["block"]: tuple(row["out"]) for row in TABLES["googlenet_blocks"][2:11]}
    assert {key: seen[f"inception{key}"] for key in outputs} == outputs
    poolings = [key for key in seen if key.startswith(("maxpool", "avgpool"))]
    modules = [m for m in net.modules() if isinstance(m, Inception)]
    assert (3 + 2 * len(modules) + 1, len(poolings)) == (22, 5)


def test_the_modules_of_the_lecture():
    naive, reduced = shell("inception_naive_module"), shell("inception_reduced_module")
    assert 28 * 28 * (128 + 192 + 96 + 256) == 526_848  # the slide says 529k
    assert naive(minidl.zeros(0, 256, 28, 28)).shape == (0, 672, 28, 28)
    assert reduced(minidl.zeros(0, 256, 28, 28)).shape == (0, 480, 28, 28)
    # the slide's 358M counts the 3x3 convolution of the reduced module twice
    three = count_macs(reduced.branch2[1], (64, 28, 28))
    assert (three, count_macs(reduced, (256, 28, 28)) + three) == (86_704_128, 358_055_936)


@pytest.mark.parametrize("module", [Inception(5, 2, (3, 4), (2, 3), 1), NaiveInception(5, 2, 3, 4)])
def test_branches_stand_side_by_side(module):
    x = minidl.tensor(np.random.default_rng(3).standard_normal((2, 5, 6, 4), dtype="float32"))
    parts = [b(x).detach().numpy() for b in (module.branch1, module.branch2, module.branch3, module.branch4)]
    np.testing.assert_array_equal(module(x).detach().numpy(), np.concatenate(parts, axis=1))


def test_names_and_order_of_the_state_dict():
    def unit(name, kinds=NORM):
        return [f"{name}.conv.weight", *(f"{name}.bn.{k}" for k in kinds)]

    wanted = [*unit("conv1"), *unit("conv2"), *unit("conv3")]
    for block in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        for part in ("branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1"):
            wanted += unit(f"inception{block}.{part}")
    for head in ("aux1", "aux2"):
        wanted += unit(f"{head}.conv")
        wanted += [f"{head}.{fc}.{k}" for fc in ("fc1", "fc2") for k in ("weight", "bias")]
    assert list(shell("googlenet_aux").state_dict()) == [*wanted, "fc.weight", "fc.bias"]
    names = list(shell("googlenet_original").state_dict())
    assert names[:3] == ["conv1.conv.weight", "conv1.conv.bias", "conv2.conv.weight"]


def test_what_torchvision_changed():
    old, new = shell("googlenet_original"), shell("googlenet")
    assert old.inception4a.branch3[1].conv.kernel_size == (5, 5)
    assert new.inception4a.branch3[1].conv.kernel_size == (3, 3)
    assert shell("googlenet", five_by_five=True).inception4a.branch3[1].conv.kernel_size == (5, 5)
    assert (old.maxpool4.kernel_size, new.maxpool4.kernel_size) == (3, 2)
    assert (old.dropout.p, new.dropout.p) == (0.4, 0.2)
    assert new.conv1.bn.eps == 0.001 and old.conv1.bn is None
    assert isinstance(old.norm1, nn.LocalResponseNorm) and isinstance(new.norm1, nn.Identity)
    with pytest.raises(models.ModelOptionError, match="variant is 'original' or 'torchvision', not 'keras'"):
        GoogLeNet("keras")


def test_auxiliary_heads_only_while_training():
    net = models.googlenet_aux(num_classes=4)
    x = minidl.tensor(np.random.default_rng(4).standard_normal((2, 3, 64, 48), dtype="float32"))
    outputs = net(x)
    assert [o.shape for o in outputs] == [(2, 4)] * 3
    assert outputs.aux_logits2 is outputs[1] and outputs.aux_logits1 is outputs[2]
    assert net.aux1.conv.conv.in_channels == 512 and net.aux2.conv.conv.in_channels == 528
    (outputs.logits + 0.3 * (outputs.aux_logits1 + outputs.aux_logits2)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert net.eval()(x).shape == (2, 4)


def test_images_for_weights_from_tensorflow():
    x = np.random.default_rng(5).uniform(0, 1, (2, 3, 3, 2))
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normalised = (x - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(to_half(minidl.tensor(normalised)).numpy(), (x - 0.5) / 0.5, atol=1e-14)
    net, seen = shell("googlenet", transform_input=True).double().eval(), []
    net.conv1.register_forward_pre_hook(lambda module, args: seen.append(args[0].numpy()))
    net(minidl.tensor(np.tile(normalised, (1, 1, 5, 8))))
    np.testing.assert_allclose(seen[0], np.tile((x - 0.5) / 0.5, (1, 1, 5, 8)), atol=1e-14)


def test_initial_values():
    for name, m in models.googlenet(num_classes=50).named_modules():
        if isinstance(m, nn.Conv2d | nn.Linear):
            spread = 5 * (2 * m.weight.numel()) ** -0.5
            assert float(m.weight.detach().numpy().std()) == pytest.approx(0.01, rel=spread), name
    for name, m in models.googlenet_original_aux(num_classes=50).named_modules():
        if isinstance(m, nn.Conv2d | nn.Linear):
            fan_in, _ = nn.init.fan_in_and_fan_out(m.weight)
            bound = (3 / fan_in) ** 0.5
            assert 0.9 * bound < np.abs(m.weight.detach().numpy()).max() <= bound * (1 + 1e-6), name
            constant = 0 if name in ("fc", "aux1.fc2", "aux2.fc2") else 0.2
            np.testing.assert_array_equal(m.bias.detach().numpy(), np.float32(constant))


@pytest.mark.parametrize("name", ["googlenet", "googlenet_original"])
def test_it_runs_both_ways(name):
    check_runs_both_ways(models.create(name, num_classes=5), (3, 48, 36), (5,), batch=3)


def test_modules_run_both_ways():
    check_runs_both_ways(models.inception_naive_module(8), (8, 6, 5), (424, 6, 5))
    check_runs_both_ways(ConvUnit(3, 4, (1, 7), padding=(0, 3)), (3, 5, 6), (4, 5, 6))
