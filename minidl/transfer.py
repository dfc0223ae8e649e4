"""Transfer learning: features of any layer, layers that stay as they are, a new last layer, learning rates by group.

What to do with a trained network and a new task, as lectures put it:

| | data like those it was trained on | other data |
|---|---|---|
| little | a linear classifier on the last features | a linear classifier on features of several depths: try them |
| much | fine-tune the last stages | fine-tune more stages, or all |

Sources: Donahue et al. 2014, "DeCAF", arXiv:1310.1531; Razavian et al. 2014, "CNN features off-the-shelf",
arXiv:1403.6382; Yosinski et al. 2014, "How transferable are features in deep neural networks?", arXiv:1411.1792.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import minidl
from minidl import nn
from minidl._macs import dry_run

M = TypeVar("M", bound=nn.Module)


class LayerNameError(ValueError):
    """A model has no layer of that name; the message lists the nearest."""


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """The module called ``name``, as in ``named_modules()``; LayerNameError otherwise."""
    layers = dict(model.named_modules())
    if name in layers and name:
        return layers[name]
    near = difflib.get_close_matches(name, layers, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    stages = ", ".join(key for key, _ in model.named_children())
    raise LayerNameError(f"{type(model).__name__} has no layer {name!r}{hint} Its stages: {stages}")


# ---- features -------------------------------------------------------------------------------------------------------


class _AllSeen(Exception):
    """The last of the wanted layers has run: the rest of the network is not needed."""


class FeatureExtractor(nn.Module):
    """A model that gives the outputs of some of its layers; made by :func:`feature_extractor`."""

    def __init__(self, model: nn.Module, nodes: dict[str, str], single: bool) -> None:
        super().__init__()
        self.model = model
        self.nodes, self.single = nodes, single

    def forward(self, x: minidl.Tensor) -> Any:
        seen: dict[str, Any] = {}

        def note(name: str) -> Any:
            def hook(module: nn.Module, args: Any, output: Any) -> None:
                seen[self.nodes[name]] = output
                if len(seen) == len(self.nodes):
                    raise _AllSeen

            return hook

        handles = [find_layer(self.model, name).register_forward_hook(note(name)) for name in self.nodes]
        try:
            self.model(x)
        except _AllSeen:
            pass
        finally:
            for handle in handles:
                handle.remove()
        if len(seen) < len(self.nodes):
            idle = ", ".join(name for name, key in self.nodes.items() if key not in seen)
            raise LayerNameError(f"{type(self.model).__name__} did not run its layer {idle} in this mode")
        found = {key: seen[key] for key in self.nodes.values()}
        return next(iter(found.values())) if self.single else found


def feature_extractor(model: nn.Module, return_nodes: str | Sequence[str] | Mapping[str, str]) -> FeatureExtractor:
    """The outputs of layers of ``model``, which computes nothing behind the last of them.

    ``return_nodes`` is one name of ``model.named_modules()`` (the result is that output), several names, or a mapping
    of names to keys (the result is a dictionary), as in torchvision.  Weights are shared with ``model``.
    LayerNameError for a name that it does not have.

    >>> import minidl
    >>> from minidl import models
    >>> net = models.resnet18().eval()
    >>> models.feature_extractor(net, "layer3")(minidl.zeros(1, 3, 64, 64)).shape
    (1, 256, 4, 4)
    >>> features = models.feature_extractor(net, {"layer1": "fine", "avgpool": "mean"})(minidl.zeros(1, 3, 64, 64))
    >>> {key: value.shape for key, value in features.items()}
    {'fine': (1, 64, 16, 16), 'mean': (1, 512, 1, 1)}
    """
    single = isinstance(return_nodes, str)
    names = [return_nodes] if isinstance(return_nodes, str) else return_nodes
    nodes = dict(names) if isinstance(names, Mapping) else {name: name for name in names}
    if not nodes:
        raise LayerNameError("feature_extractor needs the name of a layer at least")
    for name, key in nodes.items():
        find_layer(model, name)
        others = [other for other in nodes if nodes[other] == key and other != name]
        if others:
            raise LayerNameError(f"feature_extractor would call the outputs of {name} and {others[0]} both {key!r}")
    return FeatureExtractor(model, nodes, single)


class Standardize(nn.Module):
    """Features (N, K) less their mean, divided by their deviation: over all that was seen in training so far.

    Unlike batch normalisation it treats a sample alike whatever stands beside it, so a batch of one will do; and
    nothing of it is learnt.  Means of two sets are merged as in Chan, Golub and LeVeque 1979, "Updating formulae and a
    pairwise algorithm for computing sample variances", equation 2.1.

    >>> layer = Standardize(1)
    >>> layer(minidl.tensor([[1.0], [3.0]]))
    tensor([[-1.],
            [ 1.]])
    >>> layer.eval()(minidl.tensor([[4.0]]))
    tensor([[2.]])
    """

    eps = 1e-6

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", minidl.zeros(num_features))
        self.register_buffer("variance", minidl.ones(num_features))
        self.register_buffer("count", minidl.tensor(0.0))

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        if self.training and len(x):
            with minidl.no_grad():
                self._see(x)
        return (x - self.mean) / (self.variance + self.eps).sqrt()

    def _see(self, x: minidl.Tensor) -> None:
        total = self.count + len(x)
        new, moved = len(x) / total, x.mean(0) - self.mean  # the share of the new samples
        self.variance.copy_(self.variance * (1 - new) + x.var(0, correction=0) * new + moved**2 * (new * (1 - new)))
        self.mean.copy_(self.mean + moved * new)
        self.count.copy_(total)


class LinearProbe(nn.Module):
    """A linear classifier on the features of one layer, maps averaged; the network below stays as it is.

    The features are standardised (:class:`Standardize`), as linear classifiers want them: those of a layer after ReLU
    have means many times their deviations, with which gradient descent gets nowhere.  Made by :func:`linear_probe`.
    """

    def __init__(self, extractor: FeatureExtractor, channels: int, num_classes: int) -> None:
        super().__init__()
        self.features = freeze(extractor)
        self.standardize = Standardize(channels)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        with minidl.no_grad():
            y = self.features(x)
        return self.fc(self.standardize(y.mean(tuple(range(2, y.ndim))) if y.ndim > 2 else y))


def linear_probe(model: nn.Module, layer: str, num_classes: int, input_shape: Sequence[int]) -> LinearProbe:
    """``model`` as a fixed feature extractor up to ``layer``, with a linear classifier of its own.

    ``input_shape`` (C, H, W) tells how many features there are.  (N, C, H, W) -> (N, num_classes)

    >>> from minidl import models
    >>> probe = models.linear_probe(models.cifar_resnet20(), "layer2", 5, (3, 32, 32))
    >>> [name for name, p in probe.named_parameters() if p.requires_grad], probe.fc.weight.shape
    (['fc.weight', 'fc.bias'], (5, 32))
    """
    extractor = feature_extractor(model, layer)
    shape = dry_run(extractor, input_shape).output.shape
    if len(shape) < 2:
        raise LayerNameError(f"layer {layer} gives a result of shape {shape}, which has no axis of features")
    return LinearProbe(extractor, shape[1], num_classes)


# ---- freezing -------------------------------------------------------------------------------------------------------


def freeze(module: M) -> M:
    """Fix a module: no gradients for its parameters, and evaluation mode whatever ``train()`` says.

    So batch normalisation keeps its statistics and uses them, and dropout drops nothing.

    >>> from minidl import models
    >>> net = models.resnet18()
    >>> models.freeze(net.layer1) is net.layer1, net.train().layer1[0].bn1.training, net.layer2[0].bn1.training
    (True, False, True)
    """
    module.requires_grad_(False)
    for part in module.modules():
        part.frozen, part.training = True, False
    return module


def unfreeze(module: M) -> M:
    """Undo :func:`freeze`; the module learns again from the next ``train()`` on."""
    module.requires_grad_(True)
    for part in module.modules():
        part.frozen = False
    return module


def _prefixes(model: nn.Module, layers: str | Iterable[str]) -> tuple[str, ...]:
    """What the names of all that lies in these layers begin with, a dot behind; LayerNameError for a wrong name."""
    names = [layers] if isinstance(layers, str) else list(layers)
    for name in names:
        find_layer(model, name)
    return tuple(f"{name}." for name in names)


def freeze_until(model: nn.Module, layer: str, keep: str | Iterable[str] = ()) -> list[str]:
    """Freeze all that stands before ``layer`` in ``model.named_modules()``; ``layer`` and what follows go on learning.

    ``keep`` are layers that learn wherever they stand: those with new weights, which :func:`head_layers` names.  An
    auxiliary head (Inception-v3's stands before the last stages) is frozen with the stages it stands among, but for its
    last layer.  Gives back the names of the frozen modules with parameters.  LayerNameError for a name that the model
    lacks.

    >>> from minidl import models
    >>> models.freeze_until(models.cifar_resnet20(), "layer2")[-2:]
    ['layer1.2.conv2', 'layer1.2.bn2']
    """
    find_layer(model, layer)
    kept = _prefixes(model, keep)
    frozen = []
    for name, module in model.named_modules():
        if name == layer:
            break
        if not list(module.children()) and not f"{name}.".startswith(kept):
            freeze(module)
            if list(module.parameters()):
                frozen.append(name)
    return frozen


# ---- heads and groups -----------------------------------------------------------------------------------------------


def head_layers(model: nn.Module, input_shape: Sequence[int]) -> list[str]:
    """Names of the layers that give the scores: the last one with weights, then those of auxiliary heads.

    >>> from minidl import models
    >>> models.head_layers(models.resnet18(), (3, 64, 64)), models.head_layers(models.vgg11_bn(), (3, 32, 32))
    (['fc'], ['classifier.6'])
    """
    last: dict[bool, list[tuple[str, Any]]] = {False: [], True: []}
    for training, calls in last.items():
        kinds = nn.Linear | nn.Conv2d
        handles = [
            module.register_forward_hook(lambda m, args, y, name=name, calls=calls: calls.append((name, m)))
            for name, module in model.named_modules()
            if isinstance(module, kinds)
        ]
        try:
            dry_run(model, input_shape, training=training)
        finally:
            for handle in handles:
                handle.remove()
    if not last[False]:
        raise LayerNameError(f"{type(model).__name__} has no linear or convolutional layer that could be its last")
    name, head = last[False][-1]
    usual = {called for called, _ in last[False]}
    outputs = head.weight.shape[0]
    return [name, *(n for n, m in last[True] if n not in usual and m.weight.shape[0] == outputs)]


def reverse_channels(model: nn.Module, input_shape: Sequence[int]) -> list[str]:
    """Make a network that was trained on images in blue, green, red take red, green, blue, or the other way round.

    The filters that see the image are turned over along its channels; the network computes what it did.  Give back the
    names of these layers.  LayerNameError where no convolution (of one group) takes the image as it comes.

    >>> import minidl
    >>> from minidl import models
    >>> net, image = models.squeezenet1_1().eval(), minidl.randn(1, 3, 64, 64)
    >>> before = net(image)
    >>> models.reverse_channels(net, (3, 64, 64)), minidl.allclose(net(image.flip(1)), before, atol=1e-5)
    (['features.0'], True)
    """
    images: list[minidl.Tensor] = []
    first: list[str] = []

    def note(name: str) -> Any:
        def hook(module: nn.Module, args: Any) -> None:
            if not name:
                images.append(args[0])
            if isinstance(module, nn.Conv2d) and args[0] is images[0] and name not in first:
                first.append(name)

        return hook

    handles = [module.register_forward_pre_hook(note(name)) for name, module in model.named_modules()]
    try:
        dry_run(model, input_shape)
    finally:
        for handle in handles:
            handle.remove()
    layers = [find_layer(model, name) for name in first]
    if not layers or any(layer.groups != 1 for layer in layers):
        raise LayerNameError(
            f"{type(model).__name__} has no convolution of one group that takes the image as it comes, whose filters "
            "could be turned over"
        )
    with minidl.no_grad():
        for layer in layers:
            layer.weight.copy_(layer.weight.flip(1))  # (K, C, R, S)
    return first


def param_groups(model: nn.Module, head: str | Iterable[str], lr: float, head_lr: float) -> list[dict[str, Any]]:
    """Groups for an optimiser: what learns of the model at ``lr``, and of the layers ``head`` at ``head_lr``.

    LayerNameError where the model has no layer of such a name; :func:`head_layers` knows the last ones.

    >>> from minidl import models, optim
    >>> net = models.cifar_resnet20()
    >>> groups = models.param_groups(net, ["linear"], lr=1e-3, head_lr=0.1)
    >>> [(len(group["params"]), group["lr"]) for group in optim.SGD(groups).param_groups]
    [(57, 0.001), (2, 0.1)]
    """
    heads = _prefixes(model, head)
    groups: list[dict[str, Any]] = [{"params": [], "lr": lr}, {"params": [], "lr": head_lr}]
    for name, p in model.named_parameters():
        if p.requires_grad:
            groups[name.startswith(heads)]["params"].append(p)
    return [group for group in groups if group["params"]]
