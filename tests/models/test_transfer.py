"""Features of any layer, frozen layers, heads and groups: the pieces of transfer learning."""

import numpy as np
import pytest

import minidl
from minidl import models, nn, optim
from minidl.transfer import LayerNameError, Standardize
from tests.checks.models import shell


def image(*shape, seed=5):
    return minidl.tensor(np.random.default_rng(seed).standard_normal(shape, dtype="float32"))


def state(model):
    return {name: t.numpy().copy() for name, t in model.state_dict().items()}


# ---- features -------------------------------------------------------------------------------------------------------


def test_features_are_the_outputs_of_the_layers():
    net, x = models.cifar_resnet20().eval(), image(2, 3, 32, 32)
    stem = net.bn1(net.conv1(x)).relu()
    wanted = net.layer2(net.layer1(stem))
    np.testing.assert_array_equal(models.feature_extractor(net, "layer2")(x).numpy(), wanted.detach().numpy())
    both = models.feature_extractor(net, {"layer1.0": "first", "layer2": "second"})(x)
    assert list(both) == ["first", "second"]
    np.testing.assert_array_equal(both["first"].numpy(), net.layer1[0](stem).detach().numpy())
    np.testing.assert_array_equal(both["second"].numpy(), wanted.detach().numpy())
    assert list(models.feature_extractor(net, ["layer2", "layer1"])(x)) == ["layer2", "layer1"]


def test_what_lies_behind_the_last_layer_is_not_computed():
    net = models.cifar_resnet20().eval()

    def never(*args):
        raise AssertionError("layer3 ran")

    net.layer3.register_forward_hook(never)
    models.feature_extractor(net, "layer2")(image(1, 3, 32, 32))
    assert not net.layer2._forward_hooks  # no hook is left behind


def test_gradients_flow_through_features():
    net, x = models.cifar_resnet20(), image(2, 3, 32, 32)
    features = models.feature_extractor(net, "layer1")
    y = features(x)
    y.backward(image(*y.shape, seed=6))
    assert net.conv1.weight.grad is not None and net.layer2[0].conv1.weight.grad is None
    assert len(list(features.parameters())) == len(list(net.parameters()))


def test_names_that_do_not_exist():
    net = shell("cifar_resnet20")
    with pytest.raises(
        LayerNameError, match=r"CifarResNet has no layer 'layer4'; did you mean layer\d.* Its stages: conv1"
    ):
        models.feature_extractor(net, "layer4")
    with pytest.raises(LayerNameError, match="needs the name of a layer at least"):
        models.feature_extractor(net, [])
    with pytest.raises(LayerNameError, match="has no layer ''"):
        models.freeze_until(net, "")
    aux = models.googlenet_aux(num_classes=3).eval()
    with pytest.raises(LayerNameError, match="did not run its layer aux1 in this mode"):
        models.feature_extractor(aux, "aux1")(image(1, 3, 32, 32))


def test_a_linear_probe_learns_its_classifier_alone():
    net = models.cifar_resnet20()
    probe, x, y = models.linear_probe(net, "layer2", 4, (3, 32, 32)), image(6, 3, 32, 32), [0, 1, 2, 3, 0, 1]
    before, step = state(probe), optim.SGD([p for p in probe.parameters() if p.requires_grad], lr=1e-3)
    probe.train()
    losses = []
    for _ in range(3):
        step.zero_grad()
        loss = nn.functional.cross_entropy(probe(x), minidl.tensor(y))
        loss.backward()
        step.step()
        losses.append(loss.item())
    assert losses[2] < losses[0]
    changed = [name for name, value in state(probe).items() if not np.array_equal(value, before[name])]
    assert changed == ["standardize.mean", "standardize.variance", "standardize.count", "fc.weight", "fc.bias"]
    features = models.feature_extractor(net, "layer2")(x).mean((2, 3)).numpy()
    scaled = (features - features.mean(0)) / np.sqrt(features.var(0) + 1e-6)  # the batch was seen three times
    expected = scaled @ probe.fc.weight.detach().numpy().T + probe.fc.bias.detach().numpy()
    np.testing.assert_allclose(probe.eval()(x).detach().numpy(), expected, rtol=1e-4, atol=1e-4)
    flat = models.linear_probe(models.lenet5(), "classifier.1", 3, (1, 32, 32))
    assert flat(image(2, 1, 32, 32)).shape == (2, 3)


@pytest.mark.parametrize("sizes", [(5,), (1, 4), (3, 1, 1, 7)])
def test_features_are_standardised_by_all_that_was_seen(sizes):
    rng = np.random.default_rng(sum(sizes))
    x = (rng.standard_normal((sum(sizes), 3)) * [1e-2, 1, 50] + [5, 0, -400]).astype("float32")
    layer, start = Standardize(3), 0
    for size in sizes:
        layer(minidl.tensor(x[start : start + size]))
        start += size
    np.testing.assert_allclose(layer.mean.numpy(), x.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.variance.numpy(), x.var(0), rtol=1e-3)
    kept = state(layer)
    given = rng.standard_normal((2, 3)).astype("float32")
    y = layer.eval()(minidl.tensor(given)).numpy()
    np.testing.assert_allclose(y, (given - x.mean(0)) / np.sqrt(x.var(0) + 1e-6), rtol=1e-3)
    layer.train()(minidl.zeros(0, 3))
    assert all(np.array_equal(value, kept[name]) for name, value in state(layer).items())


# ---- freezing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["layer2", "layer3.1", "linear"])
def test_frozen_layers_keep_weights_and_statistics_while_the_rest_learns(layer):
    net = models.cifar_resnet20()
    frozen = models.freeze_until(net, layer)
    before = state(net)
    step = optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1, momentum=0.9, weight_decay=0.1)
    net.train()
    for seed in range(2):
        step.zero_grad()
        nn.functional.cross_entropy(net(image(4, 3, 32, 32, seed=seed)), minidl.tensor([1, 2, 3, 4])).backward()
        step.step()
    names = list(before)
    first = next(i for i, name in enumerate(names) if name.startswith(f"{layer}."))
    for i, (name, value) in enumerate(state(net).items()):
        assert np.array_equal(value, before[name]) == (i < first), name
    assert {name.rpartition(".")[0] for name in names[:first]} == set(frozen)
    assert net.training and not net.bn1.training and net.linear.training


def test_unfrozen_layers_learn_again():
    net = models.freeze(models.cifar_resnet20())
    assert not any(p.requires_grad for p in net.parameters()) and not net.train().training
    models.unfreeze(net)
    assert net.train().bn1.training and all(p.requires_grad for p in net.parameters())


# ---- heads and groups -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("resnet18", ["fc"]),
        ("vgg16", ["classifier.6"]),
        ("densenet121", ["classifier"]),
        ("squeezenet1_1", ["classifier.1"]),
        ("mobilenet_v3_small", ["classifier.3"]),
        ("googlenet_aux", ["fc", "aux1.fc2", "aux2.fc2"]),
        ("inception_v3_aux", ["fc", "AuxLogits.fc"]),
        ("cifar_resnet20", ["linear"]),
        ("lenet5", ["classifier.4"]),
        ("senet154", ["last_linear"]),
    ],
)
def test_the_layers_that_give_the_scores(name, heads):
    found = models.head_layers(shell(name), models.info(name).input_shape)
    assert found[0] == heads[0] and sorted(found) == sorted(heads)


def test_no_head():
    with pytest.raises(LayerNameError, match="Sequential has no linear or convolutional layer that could be its last"):
        models.head_layers(nn.Sequential(nn.ReLU()), (3, 4, 4))


def test_learning_rates_by_group():
    net = models.cifar_resnet20()
    models.freeze_until(net, "layer3")
    groups = models.param_groups(net, ["linear"], 0.01, 0.5)
    assert [g["lr"] for g in groups] == [0.01, 0.5]
    assert [p is q for p, q in zip(groups[1]["params"], net.linear.parameters())] == [True, True]
    assert len(groups[0]["params"]) == len(list(net.layer3.parameters()))
    before = state(net)
    step = optim.SGD(groups)
    nn.functional.cross_entropy(net(image(2, 3, 32, 32)), minidl.tensor([0, 1])).backward()
    gradients = {name: p.grad.numpy() for name, p in net.named_parameters() if p.grad is not None}
    step.step()
    for name, gradient in gradients.items():
        lr = 0.5 if name.startswith("linear") else 0.01
        np.testing.assert_allclose(state(net)[name], before[name] - np.float32(lr) * gradient, rtol=1e-5, atol=1e-7)
    models.freeze_until(net, "linear")
    assert [g["lr"] for g in models.param_groups(net, ["linear"], 0.01, 0.5)] == [0.5]


def test_layers_that_the_model_lacks_are_no_silent_nothing():
    """A wrong name would leave the new layer at the small rate, or frozen, without a word."""
    net = shell("cifar_resnet20")
    with pytest.raises(LayerNameError, match=r"CifarResNet has no layer 'fc'.* Its stages: conv1"):
        models.param_groups(net, ["fc"], 0.01, 0.5)
    with pytest.raises(LayerNameError, match="CifarResNet has no layer 'fc'"):
        models.freeze_until(net, "layer2", keep=["fc"])
    assert all(p.requires_grad for p in net.parameters())
    one = models.param_groups(net, "linear", 0.01, 0.5)
    assert [(len(g["params"]), g["lr"]) for g in one] == [(57, 0.01), (2, 0.5)]
    assert "conv1" not in models.freeze_until(net, "layer1", keep="conv1")
