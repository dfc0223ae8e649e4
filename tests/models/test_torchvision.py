"""The same weights give the same numbers as torchvision's models, where torchvision is installed."""

import numpy as np
import pytest

import minidl
from minidl import models, nn
from tests.checks.torchvision_models import torchvision_models

# name, side of the images: so large that no batch norm has three values to normalise, which blows up each rounding
MODELS = {
    "alexnet": 96,
    "densenet121": 64,
    "efficientnet_b0": 48,
    "googlenet": 64,
    "googlenet_aux": 64,
    "inception_v3": 107,
    "mnasnet1_0": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_large": 64,
    "mobilenet_v3_small": 64,
    "resnet18": 48,
    "resnet50": 48,
    "resnext50_32x4d": 48,
    "shufflenet_v2_x1_0": 64,
    "squeezenet1_0": 96,
    "squeezenet1_1": 96,
    "vgg11": 64,
    "vgg16_bn": 32,
}


def of_torchvision(zoo, name):
    """Its model with 7 classes; GoogLeNet and Inception have auxiliary heads there unless told."""
    options = {}
    if name.startswith(("googlenet", "inception")):
        options = {"aux_logits": name.endswith("_aux"), "init_weights": False}
    return getattr(zoo, name.removesuffix("_aux"))(num_classes=7, **options)


def narrow(classifier, linear, width=50):
    """The two hidden layers of AlexNet and VGG, 4096 wide, narrower: they cost a gigabyte and show nothing more."""
    places = [i for i, layer in enumerate(classifier) if isinstance(layer, linear)]
    sizes = [classifier[places[0]].in_features, width, width, 7]
    for i, place in enumerate(places):
        classifier[place] = linear(sizes[i], sizes[i + 1])


def distance(got, wanted):
    wanted = wanted.detach().numpy()
    return np.abs(got.detach().numpy() - wanted).max() / max(np.abs(wanted).max(), 1e-12)


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_outputs_gradients_and_statistics(name):
    torch = pytest.importorskip("torch")
    zoo = torchvision_models()
    rng = np.random.default_rng(0)
    theirs = of_torchvision(zoo, name)
    with nn.utils.skip_init():
        ours = models.create(name, num_classes=7)
        if name.startswith(("alexnet", "vgg")):
            narrow(ours.classifier, nn.Linear)
            narrow(theirs.classifier, torch.nn.Linear)
    ours, theirs = ours.to("float64"), theirs.double()
    state = {key: value.numpy() for key, value in theirs.state_dict().items()}
    assert list(state) == list(ours.state_dict())
    for key, value in state.items():  # statistics and biases that are not 0 and 1
        if value.ndim == 1:
            state[key] = value + rng.uniform(0, 0.2, value.shape)
    for key, value in theirs.state_dict().items():  # load_state_dict of MNASNet asks for the version of a file
        value.copy_(torch.tensor(state[key]))
    ours.load_state_dict(state)

    for training in (False, True):
        for model in (theirs, ours):
            model.train(training)
            model.zero_grad()
            for layer in model.modules():
                if type(layer).__name__ in ("Dropout", "StochasticDepth", "DropPath"):
                    layer.p = 0.0  # the two draw different numbers
        x = rng.standard_normal((3, 3, MODELS[name], MODELS[name]))
        a, b = torch.tensor(x, requires_grad=True), minidl.tensor(x, requires_grad=True)
        y, z = theirs(a), ours(b)
        y, z = (out if isinstance(out, tuple) else (out,) for out in (y, z))  # with auxiliary heads there are three
        assert len(y) == len(z)
        for i, (u, v) in enumerate(zip(y, z)):
            g = rng.standard_normal(u.shape)
            u.backward(torch.tensor(g), retain_graph=i + 1 < len(y))
            v.backward(minidl.tensor(g), retain_graph=i + 1 < len(z))
            assert distance(v, u) < 1e-9
        assert distance(b.grad, a.grad) < 1e-7
        mine = dict(ours.named_parameters())
        for key, p in theirs.named_parameters():
            if p.grad is None:  # of an auxiliary head in eval mode
                assert mine[key].grad is None
                continue
            assert distance(mine[key].grad, p.grad) < 1e-7 or p.grad.abs().max() < 1e-9, key
        after = ours.state_dict()
        for key, value in theirs.state_dict().items():
            assert distance(after[key], value) < 1e-9, key
