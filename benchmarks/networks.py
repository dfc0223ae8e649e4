"""Whole networks worth measuring, with batches whose training step two cores finish in about a second.

Facts only, as in shapes.py; nothing of minidl is imported.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """``model``: the constructor's name in minidl.models; ``shape``: of one image (C, H, W)."""

    title: str
    model: str
    batch: int
    shape: tuple[int, ...] = (3, 224, 224)
    classes: int = 1000


NETWORKS = (
    Network("VGG-16", "vgg16", 4),
    Network("AlexNet", "alexnet", 32),
    Network("ResNet-18", "resnet18", 16),
    Network("ResNet-50", "resnet50", 8),
    Network("All-CNN-C", "all_cnn_c", 32, (3, 32, 32), 10),
    Network("GoogLeNet", "googlenet", 16),
    Network("DenseNet-121", "densenet121", 8),
    Network("MobileNet-v2", "mobilenet_v2", 16),
    Network("LeNet-5", "lenet5", 64, (1, 32, 32), 10),
)


def select(wanted: list[str]) -> list[Network]:
    """Networks by their model's name; all of them for an empty list.  ValueError for a name that is not here.

    >>> [network.title for network in select(["lenet5", "vgg16"])]
    ['VGG-16', 'LeNet-5']
    """
    known = [network.model for network in NETWORKS]
    if unknown := sorted(set(wanted) - set(known)):
        raise ValueError(f"no network is called {', '.join(unknown)}; there are {', '.join(known)}")
    return [network for network in NETWORKS if not wanted or network.model in wanted]
