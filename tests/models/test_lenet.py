"""LeNet-5 in both versions and its relatives: shapes, counts, connections, options, real weights."""

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl.models.lenet import C3_TABLE, PartialConv, Subsampling, digit_codes


def shapes(model: nn.Module, *input_shape: int) -> dict[str, tuple[int, ...]]:
    """Output shape of every module below ``model``, by name."""
    found: dict[str, tuple[int, ...]] = {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda m, args, out, name=name: found.update({name: out.shape}))
    model(minidl.randn(*input_shape))
    return found


def test_the_shapes_of_lenet5_layer_by_layer() -> None:
    found = shapes(models.lenet5(), 3, 1, 32, 32)
    assert [found[f"features.{i}"] for i in (0, 2, 3, 5)] == [
        (3, 6, 28, 28), (3, 6, 14, 14), (3, 16, 10, 10), (3, 16, 5, 5),
    ]  # fmt: skip
    assert [found[f"classifier.{i}"] for i in (0, 2, 4)] == [(3, 120), (3, 84), (3, 10)]


def test_the_shapes_of_the_network_of_1998() -> None:
    found = shapes(models.lenet5_1998(), 2, 1, 32, 32)
    names = ["c1", "s2", "c3", "s4", "c5", "f6", ""]
    expected = [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (120, 1, 1), (84,), (10,)]
    assert [found[name] for name in names] == [(2, *shape) for shape in expected]


def test_parameters_by_layer() -> None:
    def counts(model: nn.Module) -> list[int]:
        sums = [sum(p.numel() for p in m.parameters(recurse=False)) for m in model.modules()]
        return [n for n in sums if n]

    assert counts(models.lenet5()) == [156, 2416, 48120, 10164, 850]
    assert counts(models.lenet5_1998()) == [156, 12, 1516, 32, 48120, 10164]
    assert sum(counts(models.lenet_caffe())) == 431_080
    assert sum(counts(models.lenet_300_100())) == 266_610
    assert counts(models.simple_convnet()) == [336, 30730]
    assert counts(models.mlp()) == [16, 20, 5]


def test_the_connections_of_1998_by_formula() -> None:
    """Every unit counts its inputs and its bias; an output unit (RBF) has 84 inputs and none."""
    pairs = sum(len(row) for row in C3_TABLE)
    assert pairs == 60 and len(C3_TABLE) == 16 and len(set(C3_TABLE)) == 16
    layers = [
        28 * 28 * 6 * (25 + 1),
        14 * 14 * 6 * (4 + 1),
        10 * 10 * (pairs * 25 + 16),
        5 * 5 * 16 * (4 + 1),
        120 * (16 * 25 + 1),
        84 * (120 + 1),
        10 * 84,
    ]
    assert layers == [122_304, 5_880, 151_600, 2_000, 48_120, 10_164, 840]
    assert sum(layers) == 340_908


def test_a_map_of_c3_sees_the_maps_of_its_row_and_no_others() -> None:
    minidl.manual_seed(1)
    layer = PartialConv(C3_TABLE, 6, 5)
    x = minidl.randn(2, 6, 9, 8)
    before = layer(x).numpy()
    for c in range(6):
        changed = x.numpy().copy()
        changed[:, c] += 1.0
        differs = (layer(minidl.tensor(changed)).numpy() != before).any((0, 2, 3))
        assert differs.tolist() == [str(c) in row for row in C3_TABLE]


def test_the_partial_convolution_is_the_full_one_with_the_other_weights_zero() -> None:
    minidl.manual_seed(2)
    layer = PartialConv(C3_TABLE, 6, 5)
    full = np.zeros((16, 6, 5, 5), np.float32)
    weights = iter(layer.weight.detach().numpy())
    for k, row in enumerate(C3_TABLE):
        for c in row:
            full[k, int(c)] = next(weights)
    x = minidl.randn(2, 6, 7, 6)
    expected = nn.functional.conv2d(x, minidl.tensor(full), layer.bias)
    np.testing.assert_array_equal(layer(x).detach().numpy(), expected.detach().numpy())


def test_subsampling_adds_four_neighbours_and_squashes() -> None:
    layer = Subsampling(3)
    x = np.random.default_rng(3).standard_normal((2, 3, 4, 6)).astype("float32")
    w, b = (p.detach().numpy()[:, None, None] for p in (layer.weight, layer.bias))
    total = x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]
    expected = 1.7159 * np.tanh(2 / 3 * (w * total + b))
    np.testing.assert_allclose(layer(minidl.tensor(x)).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_the_largest_score_is_the_nearest_drawing() -> None:
    codes = digit_codes()
    assert codes.shape == (10, 84) and set(np.unique(codes)) == {-1.0, 1.0}
    distances = ((codes[:, None] - codes[None]) ** 2).sum(2)
    assert (distances + 1000 * np.eye(10)).min() > 0  # no two digits are drawn alike
    model = models.lenet5_1998().eval()
    x = minidl.randn(4, 1, 32, 32)
    seen: list[np.ndarray] = []
    model.f6.register_forward_hook(lambda m, args, out: seen.append(out.detach().numpy()))
    scores = model(x).detach().numpy()
    f6 = 1.7159 * np.tanh(2 / 3 * seen[0])
    np.testing.assert_allclose(scores, -((f6[:, None] - codes) ** 2).sum(2), rtol=1e-5)
    assert not model.codes.requires_grad and "codes" in model.state_dict()


@pytest.mark.parametrize("name", ["lenet5", "lenet5_1998", "lenet_300_100", "lenet_caffe", "mlp", "simple_convnet"])
@pytest.mark.parametrize("training", [True, False])
def test_every_model_computes_and_every_parameter_gets_a_gradient(name: str, training: bool) -> None:
    minidl.manual_seed(4)
    model = models.create(name).train(training)
    x = minidl.randn(3, *models.info(name).input_shape, requires_grad=True)
    y = model(x)
    y.backward(minidl.randn(*y.shape))
    assert y.isfinite().all().item() and x.grad is not None
    for label, p in model.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all().item() and p.grad.abs().sum().item() > 0, label


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
@pytest.mark.parametrize("pool", ["avg", "max"])
def test_options_of_lenet5(activation: str, pool: str) -> None:
    model = models.lenet5(num_classes=7, activation=activation, pool=pool, in_channels=3, input_size=28)
    assert model(minidl.randn(2, 3, 28, 28)).shape == (2, 7)
    kinds = {type(m).__name__.lower() for m in model.modules()}
    assert {activation, f"{pool}pool2d"} <= kinds


def test_28_by_28_with_padding_is_32_by_32_with_a_border_of_zeros() -> None:
    small, large = models.lenet5(input_size=28), models.lenet5()
    large.load_state_dict(small.state_dict())
    x = minidl.randn(2, 1, 28, 28)
    padded = nn.functional.pad(x, (2, 2, 2, 2))
    np.testing.assert_allclose(small(x).detach().numpy(), large(padded).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_wrong_options_say_what_there_is() -> None:
    with pytest.raises(models.ModelOptionError, match="lenet5: activation is one of tanh, relu, sigmoid, not 'rleu'"):
        models.lenet5(activation="rleu")
    with pytest.raises(models.ModelOptionError, match="lenet5: pool is one of avg, max, not 'min'"):
        models.lenet5(pool="min")
    with pytest.raises(models.ModelOptionError, match=r"input_size is 32, or 28 .* not 30"):
        models.lenet5(input_size=30)
    with pytest.raises(models.ModelOptionError, match=r"mlp: sizes are at least .* not \(3,\)"):
        models.mlp((3,))
    with pytest.raises(models.ModelOptionError, match="mlp: output is one of"):
        models.mlp(output="softmax")


def test_the_lenet_of_caffe_with_its_published_weights(shared_data) -> None:
    """Measured with Caffe's weights: 99.05 % and a loss of 0.029757 on the test part of MNIST, input x / 256."""
    from minidl.data import MNIST, DataLoader, Mapped
    from minidl.train import evaluate

    with np.load(shared_data / "weights" / "lenet_caffe" / "lenet.npz") as file:
        arrays = list(file.values())
    model = models.lenet_caffe()
    names = list(model.state_dict())
    model.load_state_dict({n: a.reshape(model.state_dict()[n].shape) for n, a in zip(names, arrays, strict=True)})
    test = Mapped(MNIST(shared_data / "mnist", train=False), lambda image: image.astype(np.float32) / 256)
    result = evaluate(model, DataLoader(test, 500))
    assert (result.correct, result.count) == (9905, 10_000)
    assert result.loss == pytest.approx(0.029757, abs=1e-6)


def test_initial_values_of_the_paper():
    """Uniform within 2.4 / fan-in, biases too (LeCun et al. 1998, appendix A); otherwise as PyTorch draws them."""
    minidl.manual_seed(4)
    net = models.lenet5(init="paper")
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for layer, fan_in in zip(layers, (25, 150, 400, 120, 84), strict=True):
        for p in (layer.weight, layer.bias):
            values = p.detach().numpy() * fan_in / 2.4
            assert np.abs(values).max() <= 1 and abs(values.mean()) < 3 / np.sqrt(3 * values.size)
            if values.size > 1000:
                assert values.std() == pytest.approx(3**-0.5, rel=0.05) and np.abs(values).max() > 0.98
    conv = models.lenet5().features[0].weight
    assert conv.abs().max().item() <= 1 / 5 and (conv.abs() > 2.4 / 25).any().item()
    with pytest.raises(models.ModelOptionError, match="lenet5: init is 'pytorch' or 'paper', not 'zeros'"):
        models.lenet5(init="zeros")
