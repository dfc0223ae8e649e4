"""SqueezeNet: AlexNet's accuracy with a fiftieth of its parameters.

Source: Iandola et al. 2016, arXiv:1602.07360, table 1; version 1.1 from the authors' repository, 2.4 times less work.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import minidl
from minidl import nn
from minidl.io import WeightsError, load_weights
from minidl.registry import register


class Fire(nn.Module):
    """1x1 convolutions squeeze the channels, 1x1 and 3x3 convolutions expand them side by side."""

    def __init__(self, in_channels: int, squeeze: int, expand1x1: int, expand3x3: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand1x1, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand3x3, 3, padding=1)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.squeeze(x).relu()
        return minidl.cat([self.expand1x1(x), self.expand3x3(x)], 1).relu()


class SqueezeNet(nn.Module):
    """A convolution, eight Fire modules with three poolings among them, a 1x1 convolution to the classes, the mean.

    | | 1.0 | 1.1 |
    |---|---|---|
    | conv1 | 96 @ 7x7/2 | 64 @ 3x3/2 |
    | pool | | |
    | fire2, fire3 | 16-64-64 | 16-64-64, pool |
    | fire4 | 32-128-128, pool | 32-128-128 |
    | fire5 | 32-128-128 | 32-128-128, pool |
    | fire6, fire7 | 48-192-192 | 48-192-192 |
    | fire8 | 64-256-256, pool | 64-256-256 |
    | fire9 | 64-256-256 | 64-256-256 |
    | conv10 | 1000 @ 1x1 | 1000 @ 1x1 |
    """

    def __init__(self, version: str, num_classes: int, dropout: float, final_padding: int) -> None:
        super().__init__()
        maps, size = (96, 7) if version == "1.0" else (64, 3)
        pool_behind = (1, 4, 8) if version == "1.0" else (1, 3, 5)
        layers: list[nn.Module] = [nn.Conv2d(3, maps, size, stride=2), nn.ReLU()]
        layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))  # behind layer 1
        fires = [(16, 64)] * 2 + [(32, 128)] * 2 + [(48, 192)] * 2 + [(64, 256)] * 2
        for number, (squeeze, expand) in enumerate(fires, 2):
            layers.append(Fire(maps, squeeze, expand, expand))
            maps = 2 * expand
            if number in pool_behind:
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        last = nn.Conv2d(maps, num_classes, 1, padding=final_padding)
        self.classifier = nn.Sequential(nn.Dropout(dropout), last, nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                if layer is last:
                    nn.init.normal_(layer.weight, 0.0, 0.01)
                else:
                    nn.init.kaiming_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return self.classifier(self.features(x)).flatten(1)


@register((3, 224, 224), "Iandola et al. 2016, version 1.0, as in torchvision: 1,248,424 parameters")
def squeezenet1_0(num_classes: int = 1000, dropout: float = 0.5, final_padding: int = 0) -> SqueezeNet:
    """SqueezeNet 1.0: (N, 3, 224, 224) -> (N, num_classes).  Sizes from 21 on run.

    ``final_padding=1`` pads the last 1x1 convolution as the authors' Caffe file does; their weights expect it (the
    frame of bias values counts in the mean), and 227 pixels in BGR: see :func:`from_caffe`.

    >>> from minidl import models
    >>> sum(p.numel() for p in models.squeezenet1_0().parameters())
    1248424
    """
    return SqueezeNet("1.0", num_classes, dropout, final_padding)


@register((3, 224, 224), "Iandola et al. 2016, version 1.1, as in torchvision: 1,235,496 parameters")
def squeezenet1_1(num_classes: int = 1000, dropout: float = 0.5, final_padding: int = 0) -> SqueezeNet:
    """SqueezeNet 1.1: smaller filters at the bottom and earlier pooling; options as :func:`squeezenet1_0`."""
    return SqueezeNet("1.1", num_classes, dropout, final_padding)


# ---- the authors' own weights -------------------------------------------------------------------------------------


def from_caffe(state: Mapping[str, Any], version: str = "1.0") -> dict[str, Any]:
    """Names of the authors' Caffe files ("fire2/squeeze1x1.weight", "conv10.bias") as those of this file.

    >>> sorted(from_caffe({"conv1.bias": 0, "fire4/expand3x3.weight": 1, "conv10.weight": 2}))
    ['classifier.1.weight', 'features.0.bias', 'features.5.expand3x3.weight']
    """
    with nn.utils.skip_init():
        features = SqueezeNet(version, 2, 0.0, 0).features
    places = [i for i, layer in enumerate(features) if isinstance(layer, Fire)]
    prefix = {"conv1": "features.0", "conv10": "classifier.1"}
    prefix |= {f"fire{number}": f"features.{place}" for number, place in enumerate(places, 2)}
    renamed = {}
    for name, value in state.items():
        module, kind = name.rsplit(".", 1)
        module, _, part = module.partition("/")
        part = part.replace("squeeze1x1", "squeeze")
        renamed[".".join(filter(None, (prefix.get(module, module), part, kind)))] = value
    return renamed


def read_compressed(path: Path) -> dict[str, np.ndarray]:
    """The authors' Deep Compression file of version 1.0, or a file of the arrays it stands for, by our names.

    The file holds, after the number of kept weights of each layer: 256 shared values, the biases, for each kept weight
    which value it has (a byte), and how many zeros lie before it (four bits).

    Source: Han, Mao and Dally 2016, arXiv:1510.00149, sections 2 and 3.

    :raises WeightsError: the file is cut short, or of another network.
    """
    with path.open("rb") as file:
        start = file.read(2)
    if start == b"PK" or path.suffix == ".caffemodel":
        return from_caffe(load_weights(path))
    with nn.utils.skip_init():
        net = squeezenet1_0()
    layers = {name: m for name, m in net.named_modules() if isinstance(m, nn.Conv2d)}
    data = path.read_bytes()
    offset = 0

    def take(dtype: str, count: int) -> np.ndarray:
        nonlocal offset
        size = count * np.dtype(dtype).itemsize
        if size > len(data) - offset:
            raise WeightsError(path, f"the file ends {size - (len(data) - offset):,} bytes too early", offset)
        offset += size
        return np.frombuffer(data, dtype, count, offset - size)

    state = {}
    for (name, layer), kept in zip(layers.items(), take("<u4", len(layers)).tolist(), strict=True):
        values, bias = take("<f4", 256), take("<f4", layer.out_channels)
        codes = take("u1", kept)
        pairs = take("u1", (kept + 1) // 2)
        gaps = np.stack([pairs & 15, pairs >> 4], 1).ravel()[:kept]
        places = np.cumsum(gaps.astype(np.int64) + 1) - 1
        weight = np.full(layer.weight.numel(), values[0], np.float32)
        if kept and places[-1] >= len(weight):
            raise WeightsError(path, f"a weight of {name} lies outside: this is another network's file", offset)
        weight[places] = values[codes]
        state[f"{name}.weight"], state[f"{name}.bias"] = weight.reshape(layer.weight.shape), bias.copy()
    if offset != len(data):
        raise WeightsError(path, f"{len(data) - offset:,} bytes are left: this is another network's file", offset)
    return state
