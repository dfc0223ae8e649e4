"""Inception-v3, Inception-v4 and Inception-ResNet-v2: sizes, factorised filters, names, scaled residuals."""

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl._macs import dry_run
from minidl.models.inception import Conv, InceptionAux, Mixed, _a, _c, _d, _e, fix_gammas, unit
from minidl.models.inception_v4 import _V4C, Branches, ResidualBranches, _v4_a, chain, pooled
from tests.checks.models import check_runs_both_ways, shell


def shapes_of(net, names, side=299):
    seen = {}
    for name in names:
        module = net.get_submodule(name)
        module.register_forward_hook(lambda m, a, out, name=name: seen.update({name: out.shape[1:]}))
    dry_run(net, (3, side, side))
    return [(seen[name][0], seen[name][1]) for name in names]


def image(*shape):
    return minidl.tensor(np.random.default_rng(5).standard_normal(shape, dtype="float32"))


def test_sizes_of_inception_v3():
    names = "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 maxpool1 Conv2d_4a_3x3 maxpool2 Mixed_5b Mixed_5d Mixed_6a "
    names += "Mixed_6e Mixed_7a Mixed_7b Mixed_7c"
    assert shapes_of(shell("inception_v3"), names.split()) == [
        (32, 149), (32, 147), (64, 147), (64, 73), (192, 71), (192, 35), (256, 35), (288, 35), (768, 17),
        (768, 17), (1280, 8), (2048, 8), (2048, 8),
    ]  # fmt: skip


def test_sizes_of_inception_v4():
    places = [0, 1, 2, 3, 4, 5, 9, 10, 17, 18, 21]
    assert shapes_of(shell("inception_v4"), [f"features.{i}" for i in places]) == [
        (32, 149), (32, 147), (64, 147), (160, 73), (192, 71), (384, 35), (384, 35), (1024, 17), (1024, 17),
        (1536, 8), (1536, 8),
    ]  # fmt: skip


def test_sizes_of_inception_resnet_v2():
    names = ["conv2d_4a", "mixed_5b", "repeat", "mixed_6a", "repeat_1", "mixed_7a", "repeat_2", "block8", "conv2d_7b"]
    sides = [(192, 71), (320, 35), (320, 35), (1088, 17), (1088, 17), (2080, 8), (2080, 8), (2080, 8), (1536, 8)]
    net = shell("inception_resnet_v2")
    assert shapes_of(net, names) == sides
    blocks = [m for m in net.modules() if isinstance(m, ResidualBranches)]
    assert [b.scale for b in blocks] == [0.17] * 10 + [0.1] * 20 + [0.2] * 9 + [1.0]
    assert [b.relu for b in blocks] == [True] * 39 + [False]


def test_the_lectures_factorisation():
    """5x5 as two 3x3 has 18/25 of the weights, 3x3 as 1x3 and 3x1 has 6/9, nxn as 1xn and nx1 has 2/n."""

    def weights(*sizes):
        return sum(nn.Conv2d(8, 8, size, bias=False).weight.numel() for size in sizes)

    assert weights(3, 3) * 25 == weights(5) * 18
    assert weights((1, 3), (3, 1)) * 9 == weights(3) * 6
    assert weights((1, 7), (7, 1)) * 7 == weights(7) * 2


def test_names_and_order_in_a_module_as_in_torchvision():
    keys = [k for k in shell("inception_v3_aux").state_dict() if k.endswith(("conv.weight", "fc.weight"))]
    modules = list(dict.fromkeys(k.split(".")[0] for k in keys))
    stem = ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3"]
    mixed = ["5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e"]
    assert modules == [*stem, *(f"Mixed_{m}" for m in mixed), "AuxLogits", "Mixed_7a", "Mixed_7b", "Mixed_7c", "fc"]

    def units(module):
        return [k.split(".")[1] for k in keys if k.startswith(f"{module}.")]

    dbl = [f"branch3x3dbl_{i}" for i in (1, 2, 3)]
    assert units("Mixed_5c") == ["branch1x1", "branch5x5_1", "branch5x5_2", *dbl, "branch_pool"]
    assert units("Mixed_6a") == ["branch3x3", *dbl]
    sevens = [*(f"branch7x7_{i}" for i in (1, 2, 3)), *(f"branch7x7dbl_{i}" for i in range(1, 6))]
    assert units("Mixed_6c") == ["branch1x1", *sevens, "branch_pool"]
    assert units("Mixed_7a") == ["branch3x3_1", "branch3x3_2", *(f"branch7x7x3_{i}" for i in range(1, 5))]
    ends = ["branch3x3_1", "branch3x3_2a", "branch3x3_2b", "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3a"]
    assert units("Mixed_7b") == ["branch1x1", *ends, "branch3x3dbl_3b", "branch_pool"]
    assert units("AuxLogits") == ["conv0", "conv1", "fc"]


def test_names_as_in_timm():
    keys = set(shell("inception_v4").state_dict())
    assert keys >= {f"features.{k}.conv.weight" for k in ("0", "3.conv", "4.branch1.3", "6.branch3.1", "21.branch2_3b")}
    assert keys >= {"last_linear.weight", "features.10.branch1.2.bn.running_var"}
    keys = set(shell("inception_resnet_v2").state_dict())
    wanted = ("conv2d_1a", "mixed_5b.branch3.1", "repeat.9.branch2.2", "mixed_7a.branch0.1", "block8.branch1.2")
    assert keys >= {f"{k}.conv.weight" for k in wanted}
    assert keys >= {"repeat_1.19.conv2d.weight", "repeat_1.19.conv2d.bias", "classif.bias"}


def test_mixed_rows_are_chains_side_by_side_with_forks_at_the_end():
    module = Mixed(
        4,
        [Conv("one", 3, 1)],
        [Conv("two_1", 5, 3), (Conv("two_2a", 2, (1, 3)), Conv("two_2b", 3, (3, 1)))],
        [nn.MaxPool2d(3, stride=1, padding=1)],
    )
    x = image(2, 4, 6, 5)
    two = module.two_1(x)
    parts = [module.one(x), module.two_2a(two), module.two_2b(two), module.pool2(x)]
    got = module(x).detach().numpy()
    assert module.out_channels == got.shape[1] == 3 + 2 + 3 + 4
    np.testing.assert_array_equal(got, np.concatenate([p.detach().numpy() for p in parts], axis=1))


def test_a_scaled_residual_block_by_its_definition():
    x = image(2, 6, 5, 4)
    for relu in (True, False):
        block = ResidualBranches(6, 5, 0.3, chain(6, (2, 1)), chain(6, (4, 1), (3, (1, 3))), relu=relu)
        joined = minidl.cat([block.branch0(x), block.branch1(x)], 1)
        y = x + block.conv2d(joined) * 0.3
        wanted = (y.relu() if relu else y).detach().numpy()
        np.testing.assert_array_equal(block(x).detach().numpy(), wanted)
        assert block.conv2d.bias is not None


def test_whether_the_border_counts_in_the_means():
    for flag in (True, False):
        pools = [m for m in shell("inception_v3", count_include_pad=flag).modules() if isinstance(m, nn.AvgPool2d)]
        assert len(pools) == 9 and all(p.count_include_pad == flag for p in pools)
    assert not pooled(3, 4)[0].count_include_pad


@pytest.mark.parametrize(("name", "count"), [("inception_v3", 23_817_352), ("inception_resnet_v2", 55_813_192)])
def test_without_gammas_as_in_keras(name, count):
    """The trainable parameters that keras.applications counts."""
    net = shell(name, gamma=False)
    assert sum(p.numel() for p in net.parameters()) == count
    assert set(net.state_dict()) == set(shell(name).state_dict())


def test_a_fixed_gamma_is_a_one_that_does_not_learn():
    free = unit(3, 4, 3)
    fixed = unit(3, 4, 3)
    fixed.load_state_dict(free.state_dict())
    fix_gammas(fixed)
    results = []
    for net in (free, fixed):
        x = minidl.tensor(np.random.default_rng(2).standard_normal((2, 3, 6, 5), dtype="float32"), requires_grad=True)
        y = net(x)
        y.backward(minidl.tensor(np.random.default_rng(3).standard_normal(y.shape, dtype="float32")))
        results.append([y, x.grad, net.conv.weight.grad, net.bn.bias.grad, net.bn.running_mean, net.bn.running_var])
    for a, b in zip(*results):
        np.testing.assert_allclose(b.detach().numpy(), a.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert free.bn.weight.grad is not None and fixed.bn.weight.grad is None
    assert [name for name, _ in fixed.named_parameters()] == ["conv.weight", "bn.bias"]
    assert fixed.bn.weight.numpy().tolist() == [1.0] * 4


def test_the_auxiliary_head_only_while_training():
    net, x = shell("inception_v3_aux", num_classes=6), minidl.zeros(0, 3, 299, 299)
    for m in net.modules():
        m.training = not isinstance(m, nn.BatchNorm2d)  # which has no statistics of an empty batch
    outputs = net(x)
    assert outputs.logits.shape == outputs.aux_logits.shape == (0, 6)
    assert net.eval()(x).shape == (0, 6)
    shapes = dry_run(InceptionAux(4, 3), (4, 17, 17)).output.shape
    assert shapes == (0, 3)


def test_initial_values():
    """torchvision means 0.01 for AuxLogits.conv1, but sets it where it has no effect."""
    for name, m in models.inception_v3_aux(num_classes=20).named_modules():
        if isinstance(m, nn.Conv2d | nn.Linear):
            wanted = 0.001 if name == "AuxLogits.fc" else 0.1
            spread = 5 * (2 * m.weight.numel()) ** -0.5
            assert float(m.weight.detach().numpy().std()) == pytest.approx(wanted, rel=spread), name


@pytest.mark.parametrize(
    ("module", "shape", "outputs"),
    [
        (lambda: _a(8, 4, True), (8, 5, 6), (228, 5, 6)),
        (lambda: _c(8, 6, False), (8, 5, 6), (768, 5, 6)),
        (lambda: _d(8), (8, 7, 5), (520, 3, 2)),
        (lambda: _e(8, True), (8, 4, 3), (2048, 4, 3)),
        (lambda: _v4_a(), (384, 4, 5), (384, 4, 5)),
        (lambda: _V4C(), (1536, 3, 4), (1536, 3, 4)),
        (lambda: InceptionAux(6, 5), (6, 17, 18), (5,)),
        (lambda: Branches(pooled(3, 4), nn.MaxPool2d(3, 1, padding=1)), (3, 5, 4), (7, 5, 4)),
    ],
)
def test_modules_run_both_ways(module, shape, outputs):
    check_runs_both_ways(module(), shape, outputs)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["inception_v3", "inception_v4", "inception_resnet_v2"])
def test_it_runs_both_ways(name):
    check_runs_both_ways(models.create(name, num_classes=5), (3, 75, 79), (5,))
