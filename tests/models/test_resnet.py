"""ResNet 18 to 152: the lectures' table, where the stride stands, shortcuts, initial values."""

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl.models.facts import FACTS
from minidl.models.resnet import BasicBlock, Bottleneck, ResNet, projection
from tests.checks.models import check_runs_both_ways, layer_shapes, shell, sizes

BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def stage_shapes(net, side=224):
    """Shape behind the stem's pooling and behind each stage."""
    seen = []
    stages = [net.maxpool, net.layer1, net.layer2, net.layer3, net.layer4]
    hooks = [m.register_forward_hook(lambda m, a, out: seen.append(out.shape[1:])) for m in stages]
    sizes(net, (3, side, side))
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize(("name", "expansion"), [("resnet18", 1), ("plain34", 1), ("resnet50", 4), ("resnet50_v1", 4)])
def test_sizes_of_the_lectures_table(name, expansion):
    """112 56 28 14 7; one max-pooling, in the stem only (a slide puts one between the modules)."""
    net = shell(name)
    assert sizes(net, (3, 224, 224))[0] == (64, 112, 112)
    maps = [64, *(expansion * m for m in (64, 128, 256, 512))]
    assert stage_shapes(net) == [(c, n, n) for c, n in zip(maps, (56, 56, 28, 14, 7))]
    assert len([m for m in net.modules() if isinstance(m, nn.MaxPool2d)]) == 1
    assert net.fc.weight.shape == (1000, 512 * expansion)


def test_layers_with_weights_as_the_names_say():
    """Projections in the shortcuts are not counted: 18 = 1 + 4 * 4 + 1."""
    for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "plain18", "plain34"):
        net = shell(name)
        layers = [k for k, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear) and "downsample" not in k]
        assert len(layers) == int(name.lstrip("resntplai")), name


def test_resnet18_has_no_2x2_filters():
    """One slide lists conv2_x as "2x2, 64"."""
    kernels = [m.kernel_size for m in shell("resnet18").layer1.modules() if isinstance(m, nn.Conv2d)]
    assert kernels == [(3, 3)] * 4


@pytest.mark.parametrize(("name", "inner"), [("resnet34", 2), ("resnet50", 3)])
def test_names_and_order_of_the_state_dict(name, inner):
    keys = ["conv1.weight", *(f"bn1.{k}" for k in BATCH_NORM)]
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        for i in range(blocks):
            at = f"layer{stage}.{i}"
            for j in range(1, inner + 1):
                keys += [f"{at}.conv{j}.weight", *(f"{at}.bn{j}.{k}" for k in BATCH_NORM)]
            if i == 0 and (stage > 1 or inner == 3):
                keys += [f"{at}.downsample.0.weight", *(f"{at}.downsample.1.{k}" for k in BATCH_NORM)]
    assert list(shell(name).state_dict()) == [*keys, "fc.weight", "fc.bias"]


def test_biases_of_the_convolutions_as_in_keras():
    """As many parameters as keras.applications counts as trainable; what a bias adds, the mean behind it takes away."""
    keras = shell("resnet50", conv_bias=True, stride_in_1x1=True)
    assert sum(p.numel() for p in keras.parameters()) == 25_583_592
    rng = np.random.default_rng(7)
    nets = [ResNet(Bottleneck, (1, 1, 1, 1), 5, conv_bias=bias).eval() for bias in (False, True)]
    state = {name: t.numpy().copy() for name, t in nets[0].state_dict().items()}
    for name, t in nets[1].state_dict().items():
        if name not in state:  # a bias
            state[name] = rng.standard_normal(t.shape, dtype="float32")
            norm = name.replace("conv", "bn").replace("downsample.0", "downsample.1").replace("bias", "running_mean")
            state[norm] = state[norm] + state[name]
    nets[1].load_state_dict(state)
    x = minidl.tensor(rng.standard_normal((2, 3, 40, 36), dtype="float32"))
    with minidl.no_grad():
        plain, biased = (net(x).numpy() for net in nets)
    np.testing.assert_allclose(biased, plain, rtol=1e-3, atol=1e-4 * np.abs(plain).max())


@pytest.mark.parametrize("stride_in_1x1", [False, True])
def test_where_the_stride_of_a_bottleneck_stands(stride_in_1x1):
    block = shell("resnet50", stride_in_1x1=stride_in_1x1).layer3[0]
    strides = [conv.stride for conv in (block.conv1, block.conv2, block.conv3, block.downsample[0])]
    assert strides == ([(2, 2), (1, 1), (1, 1), (2, 2)] if stride_in_1x1 else [(1, 1), (2, 2), (1, 1), (2, 2)])


def test_dilation_instead_of_stride():
    """The first block of such a stage keeps the dilation before, the others double it."""
    net = shell("resnet50", replace_stride_with_dilation=(False, True, True))
    assert [shape[1] for shape in stage_shapes(net)] == [56, 56, 28, 28, 28]
    dilations = [[b.conv2.dilation[0] for b in stage] for stage in (net.layer2, net.layer3, net.layer4)]
    assert dilations == [[1] * 4, [1, 2, 2, 2, 2, 2], [2, 4, 4]]
    assert all(b.conv2.padding == b.conv2.dilation for b in net.layer4)
    with pytest.raises(models.ModelOptionError, match=r"for each of the stages 2, 3 and 4 .* got \(True, False\)"):
        shell("resnet50", replace_stride_with_dilation=(True, False))


def block_input(channels):
    rng = np.random.default_rng(3)
    return minidl.tensor(np.abs(rng.standard_normal((2, channels, 6, 5), dtype="float32")))


@pytest.mark.parametrize("make", [lambda **k: BasicBlock(8, 8, 8, **k), lambda **k: Bottleneck(8, 4, 8, **k)])
def test_a_block_of_zeros_is_the_identity(make):
    """The lecture's argument, which needs that the input is not negative: relu(0 + x) = x."""
    block = make().eval()
    for p in block.parameters():
        nn.init.zeros_(p)
    x = block_input(8)
    np.testing.assert_array_equal(block(x).detach().numpy(), x.numpy())
    plain = make(residual=False).eval()
    plain.load_state_dict(block.state_dict())
    np.testing.assert_array_equal(plain(x).detach().numpy(), np.zeros_like(x.numpy()))


def test_a_block_is_what_its_definition_says():
    block = Bottleneck(8, 4, 12, 2, groups=2, shortcut=projection(8, 12, 2))
    x = block_input(8)
    y = block.bn1(block.conv1(x)).relu()
    y = block.bn2(block.conv2(y)).relu()
    y = block.bn3(block.conv3(y))
    y = (y + block.downsample[1](block.downsample[0](x))).relu()
    assert y.shape == (2, 12, 3, 3)
    np.testing.assert_array_equal(block(x).detach().numpy(), y.detach().numpy())


def test_a_projection_only_where_the_shapes_differ():
    assert projection(8, 8, 1) is None
    assert projection(8, 9, 1)[0].weight.shape == (9, 8, 1, 1)
    assert projection(8, 8, 2)[0].stride == (2, 2)
    firsts = {"resnet34": [False, True, True, True], "resnet50": [True] * 4, "plain34": [False] * 4}
    for name, wanted in firsts.items():
        net = shell(name)
        stages = (net.layer1, net.layer2, net.layer3, net.layer4)
        assert [stage[0].downsample is not None for stage in stages] == wanted
        assert all(block.downsample is None for stage in stages for block in list(stage)[1:])


def test_the_published_errors_are_those_of_these_shortcuts():
    """He et al. 2015, tables 2 and 3: zeros (A), projections where shapes differ (B, as here) or everywhere (C)."""
    assert FACTS["resnet34"].error == "24.52 / 7.46, 10 crops"
    assert FACTS["resnet18"].error == "27.88 / -, 10 crops, shortcuts A"


def test_initial_values():
    net = ResNet(Bottleneck, (1, 1, 1, 1), 7, zero_init_residual=True)
    for name, m in net.named_modules():
        if isinstance(m, nn.Conv2d):
            _, fan_out = nn.init.fan_in_and_fan_out(m.weight)
            spread = 5 * (2 * m.weight.numel()) ** -0.5
            assert float(m.weight.detach().numpy().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=spread), name
        if isinstance(m, nn.BatchNorm2d):
            np.testing.assert_array_equal(m.weight.detach().numpy(), np.float32(0 if name.endswith("bn3") else 1))
    ordinary = ResNet(BasicBlock, (1, 1, 1, 1), 7)
    assert all((b.bn2.weight.detach().numpy() == 1).all() for b in ordinary.modules() if isinstance(b, BasicBlock))


@pytest.mark.parametrize(
    ("block", "options"),
    [
        (BasicBlock, {}),
        (BasicBlock, {"residual": False}),
        (Bottleneck, {}),
        (Bottleneck, {"stride_in_1x1": True, "replace_stride_with_dilation": (False, True, False)}),
    ],
)
def test_it_runs_both_ways(block, options):
    check_runs_both_ways(ResNet(block, (2, 1, 1, 1), 5, **options), (3, 72, 40), (5,), batch=3)


def test_other_sizes_run():
    assert layer_shapes(shell("resnet18", num_classes=6), (3, 33, 1))[-1] == ("Linear", (6,))
