"""What the networks from AlexNet to VGG share: convolutions, then fully connected layers."""

from __future__ import annotations

from typing import Any

import minidl
from minidl import nn
from minidl.registry import ModelOptionError

# Local response normalisation b = a / (k + alpha/n * sum of squares over n channels)^beta.  The formula of Krizhevsky
# et al. 2012 (section 3.3) has alpha where PyTorch and Caffe have alpha/n: its 1e-4 is their 5e-4.
LRN: dict[str, dict[str, Any]] = {
    "paper": {"size": 5, "alpha": 5e-4, "beta": 0.75, "k": 2.0},
    "caffe": {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1.0},  # bvlc_alexnet and bvlc_reference_caffenet
}


def local_response_norm(model: str, lrn: str | None) -> nn.Module:
    """The normalisation with the constants called ``lrn``; None for none at all."""
    if lrn is None:
        return nn.Identity()
    if lrn not in LRN:
        raise ModelOptionError(f"{model}: lrn is one of {', '.join(LRN)} or None, not {lrn!r}")
    return nn.LocalResponseNorm(**LRN[lrn])


class ConvNet(nn.Module):
    """``features``, ``avgpool`` (nothing where the paper has none) and, on flattened maps, ``classifier``."""

    def __init__(self, features: nn.Sequential, classifier: nn.Sequential, avgpool: nn.Module | None = None) -> None:
        super().__init__()
        self.features = features
        self.avgpool = avgpool if avgpool is not None else nn.Identity()
        self.classifier = classifier

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.avgpool(self.features(x))  # (N, C, h, w)
        return self.classifier(x.flatten(1))


def two_hidden_layers(in_features: int, num_classes: int, dropout: float) -> nn.Sequential:
    """The head of AlexNet, ZFNet and VGG: 4096, 4096 and the classes; dropout after each hidden layer."""
    return nn.Sequential(
        nn.Linear(in_features, 4096),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(4096, num_classes),
    )


def conv_and_linear(model: nn.Module) -> list[nn.Module]:
    """The layers with weights, in order."""
    return [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def normal_init(layers: list[Any], std: float, bias: float = 0.0) -> None:
    """Weights from N(0, std^2), biases constant."""
    for layer in layers:
        nn.init.normal_(layer.weight, 0.0, std)
        if layer.bias is not None:
            nn.init.constant_(layer.bias, bias)
