"""PyTorch's networks with the same layers as ours, built from a `Description`; nothing of minidl is imported.

Leaves are torch.nn's classes of the same names.  What a block does with its children is written here once more, as
torchvision writes it: activations in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .steps_side import Description

IN_PLACE = ("ReLU", "ReLU6")


def build(d: Description) -> nn.Module:
    """The layer or network that ``d`` describes.  KeyError for a block whose forward is not written here."""
    if d.kind == "Sequential" or d.kind == "AllCNN":
        layers = nn.Sequential()
        for name, child in d.children:
            layers.add_module(name, build(child))
        return layers
    if d.kind in FORWARDS:
        return Block(d)
    if d.children:
        raise KeyError(f"{d.kind}: torch_models.py does not say what it does with its children")
    return getattr(nn, d.kind)(**d.settings, **({"inplace": True} if d.kind in IN_PLACE else {}))


class Block(nn.Module):
    """Children by name, absent ones None, and the forward of the block's kind."""

    def __init__(self, d: Description) -> None:
        super().__init__()
        self.kind, self.settings = d.kind, d.settings
        for name, child in d.children:
            self.add_module(name, build(child))

    def part(self, name: str) -> Callable[[Tensor], Tensor] | None:
        return self._modules.get(name)

    def forward(self, x: Tensor) -> Tensor:
        return FORWARDS[self.kind](self, x)


def _relu(x: Tensor) -> Tensor:
    return F.relu(x, inplace=True)


def _classify(m: Any, x: Tensor) -> Tensor:
    return m.classifier(m.avgpool(m.features(x)).flatten(1))


def _lenet(m: Any, x: Tensor) -> Tensor:
    return m.classifier(m.features(x).flatten(1))


def _residual(m: Any, y: Tensor, x: Tensor) -> Tensor:
    downsample = m.part("downsample")
    y += x if downsample is None else downsample(x)
    return _relu(y)


def _basic(m: Any, x: Tensor) -> Tensor:
    return _residual(m, m.bn2(m.conv2(_relu(m.bn1(m.conv1(x))))), x)


def _bottleneck(m: Any, x: Tensor) -> Tensor:
    y = _relu(m.bn1(m.conv1(x)))
    y = _relu(m.bn2(m.conv2(y)))
    return _residual(m, m.bn3(m.conv3(y)), x)


def _resnet(m: Any, x: Tensor) -> Tensor:
    x = m.maxpool(_relu(m.bn1(m.conv1(x))))
    x = m.layer4(m.layer3(m.layer2(m.layer1(x))))
    return m.fc(m.avgpool(x).flatten(1))


def _conv_unit(m: Any, x: Tensor) -> Tensor:
    return _relu(m.bn(m.conv(x)))


def _inception(m: Any, x: Tensor) -> Tensor:
    return torch.cat([m.branch1(x), m.branch2(x), m.branch3(x), m.branch4(x)], 1)


def _googlenet(m: Any, x: Tensor) -> Tensor:
    x = m.maxpool1(m.conv1(x))
    x = m.maxpool2(m.conv3(m.conv2(x)))
    x = m.maxpool3(m.inception3b(m.inception3a(x)))
    x = m.inception4e(m.inception4d(m.inception4c(m.inception4b(m.inception4a(x)))))
    x = m.inception5b(m.inception5a(m.maxpool4(x)))
    return m.fc(m.dropout(m.avgpool(x).flatten(1)))


def _dense_block(m: Any, x: Tensor) -> Tensor:
    maps = [x]
    for layer in m.children():
        maps.append(layer(torch.cat(maps, 1)))
    return torch.cat(maps, 1)


def _dense_layer(m: Any, x: Tensor) -> Tensor:
    x = m.conv1(_relu(m.norm1(x)))
    return m.conv2(_relu(m.norm2(x)))


def _transition(m: Any, x: Tensor) -> Tensor:
    return m.pool(m.conv(_relu(m.norm(x))))


def _densenet(m: Any, x: Tensor) -> Tensor:
    return m.classifier(F.adaptive_avg_pool2d(_relu(m.features(x)), 1).flatten(1))


def _mobilenet(m: Any, x: Tensor) -> Tensor:
    return m.classifier(F.adaptive_avg_pool2d(m.features(x), 1).flatten(1))


def _inverted(m: Any, x: Tensor) -> Tensor:
    return x + m.conv(x) if m.settings["residual"] else m.conv(x)


def _cifar_resnet(m: Any, x: Tensor) -> Tensor:
    x = _relu(m.bn1(m.conv1(x)))
    return m.linear(m.avgpool(m.layer3(m.layer2(m.layer1(x)))).flatten(1))


def _pad_shortcut(m: Any, x: Tensor) -> Tensor:
    x = x[:, :, :: m.settings["stride"], :: m.settings["stride"]]
    return F.pad(x, (0, 0, 0, 0, m.settings["before"], m.settings["after"]))


FORWARDS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "AlexNet": _classify,
    "VGG": _classify,
    "LeNet5": _lenet,
    "BasicBlock": _basic,
    "Bottleneck": _bottleneck,
    "ResNet": _resnet,
    "ConvUnit": _conv_unit,
    "Inception": _inception,
    "GoogLeNet": _googlenet,
    "DenseBlock": _dense_block,
    "DenseLayer": _dense_layer,
    "Transition": _transition,
    "DenseNet": _densenet,
    "MobileNetV2": _mobilenet,
    "InvertedResidual": _inverted,
    "CifarResNet": _cifar_resnet,
    "PadShortcut": _pad_shortcut,
}
