"""Networks that torchvision lacks against the same layers of torch: outputs, gradients, statistics, in float64."""

from collections import OrderedDict

import numpy as np
import pytest

import minidl
from minidl import models, nn
from tests.checks.models import narrow_head

MODELS = {  # name, side of the images
    "alexnet_grouped": 227,
    "zfnet": 224,
    "vgg11_lrn": 32,
    "nin_cifar10": 32,
    "nin_imagenet": 99,
    "strided_cnn_b": 32,
    "convpool_cnn_c": 20,
    "all_cnn_c_padded": 20,
    "mobilenet_v1_025": 32,
}
SETTINGS = {
    "Conv2d": "in_channels out_channels kernel_size stride padding dilation groups",
    "Linear": "in_features out_features",
    "BatchNorm2d": "num_features eps momentum",
    "MaxPool2d": "kernel_size stride padding dilation return_indices ceil_mode",
    "AvgPool2d": "kernel_size stride padding ceil_mode count_include_pad",
    "AdaptiveAvgPool2d": "output_size",
    "LocalResponseNorm": "size alpha beta k",
}


def twin(torch, module):
    """torch's layers for ours, with the names of the state dict."""
    kind = type(module).__name__
    if kind in SETTINGS:
        settings = {name: getattr(module, name) for name in SETTINGS[kind].split()}
        if kind in ("Conv2d", "Linear"):
            settings["bias"] = module.bias is not None
        return getattr(torch.nn, kind)(**settings)
    if not list(module.children()):
        return getattr(torch.nn, "Identity" if kind == "Dropout" else kind)()
    parts = [(name, twin(torch, child)) for name, child in module.named_children()]
    if isinstance(module, nn.Sequential):
        return torch.nn.Sequential(OrderedDict(parts))
    *front, head = parts  # features and pooling, then the classifier on flattened maps
    pooling = [("mean", torch.nn.AdaptiveAvgPool2d(1))] if kind.startswith("MobileNet") else []
    return torch.nn.Sequential(OrderedDict([*front, *pooling, ("flatten", torch.nn.Flatten()), head]))


def distance(got, wanted):
    wanted = wanted.detach().numpy()
    return np.abs(got.detach().numpy() - wanted).max() / max(np.abs(wanted).max(), 1e-9)


@pytest.mark.torch
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if side > 200 else n for n, side in MODELS.items()]
)
def test_outputs_gradients_and_statistics(name, monkeypatch):
    torch = pytest.importorskip("torch")
    for module in ("alexnet", "zfnet", "vgg"):
        narrow_head(monkeypatch, module, 60)
    rng = np.random.default_rng(0)
    with nn.utils.skip_init():
        ours = models.create(name, num_classes=7).to("float64")
    theirs = twin(torch, ours).double()
    state = {}
    for key, value in ours.state_dict().items():
        fan_in = max(1, value.numel() // max(1, (value.shape or (1,))[0]))
        weight = rng.standard_normal(value.shape) * (2 / fan_in) ** 0.5
        drawn = weight if value.ndim > 1 else rng.uniform(0.1, 1, value.shape)
        state[key] = drawn if value.dtype.kind == "f" else value.numpy().copy()
    ours.load_state_dict(state)
    theirs.load_state_dict({key: torch.tensor(value) for key, value in state.items()})

    for training in (False, True):
        for model in (theirs, ours):
            model.train(training)
            model.zero_grad()
        for layer in ours.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
        x = rng.standard_normal((2, 3, MODELS[name], MODELS[name]))
        a, b = torch.tensor(x, requires_grad=True), minidl.tensor(x, requires_grad=True)
        y, z = theirs(a), ours(b)
        g = rng.standard_normal(y.shape)
        y.backward(torch.tensor(g))
        z.backward(minidl.tensor(g))
        assert distance(z, y) < 1e-9
        assert distance(b.grad, a.grad) < 1e-7
        mine = dict(ours.named_parameters())
        for key, p in theirs.named_parameters():
            assert distance(mine[key].grad, p.grad) < 1e-7, key
        after = ours.state_dict()
        for key, value in theirs.state_dict().items():
            assert distance(after[key], value) < 1e-9, key
