"""LeNet-5, as it is built today and as it was built in 1998, and its relatives.

Source: LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition", Proc. IEEE
86(11), section II.B.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import minidl
from minidl import nn
from minidl.registry import ModelOptionError, register

from ._layers import ACTIVATIONS, POOLS, choose


class LeNet5(nn.Module):
    """Today's LeNet-5: all maps connected, plain pooling, a linear layer at the end.

    | layer | | out | parameters |
    |---|---|---|---|
    | C1 | conv 6 @ 5x5 | 6x28x28 | 156 |
    | S2 | pool 2x2 | 6x14x14 | |
    | C3 | conv 16 @ 5x5 | 16x10x10 | 2,416 |
    | S4 | pool 2x2 | 16x5x5 | |
    | C5 | 400 -> 120 | 120 | 48,120 |
    | F6 | 120 -> 84 | 84 | 10,164 |
    | output | 84 -> 10 | 10 | 850 |
    """

    def __init__(
        self,
        num_classes: int = 10,
        activation: str = "tanh",
        pool: str = "avg",
        in_channels: int = 1,
        input_size: int = 32,
        init: str = "pytorch",
    ) -> None:
        super().__init__()
        if init not in ("pytorch", "paper"):
            raise ModelOptionError(f"lenet5: init is 'pytorch' or 'paper', not {init!r}")
        if input_size not in (28, 32):
            raise ModelOptionError(
                f"lenet5: input_size is 32, or 28 with two rows of padding on each side, not {input_size}"
            )
        squash, pooling = choose("lenet5", "activation", activation, ACTIVATIONS), choose("lenet5", "pool", pool, POOLS)
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 6, 5, padding=(32 - input_size) // 2),  # C1
            squash(),
            pooling(2),  # S2
            nn.Conv2d(6, 16, 5),  # C3
            squash(),
            pooling(2),  # S4
        )
        self.classifier = nn.Sequential(
            nn.Linear(16 * 5 * 5, 120),  # C5
            squash(),
            nn.Linear(120, 84),  # F6
            squash(),
            nn.Linear(84, num_classes),
        )
        if init == "paper":
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    _draw(layer, fan_in=layer.weight[0].numel())

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        x = self.features(x)  # (N, 16, 5, 5)
        return self.classifier(x.flatten(1))


@register(input_shape=(1, 32, 32), source="LeCun et al. 1998, as it is taught today: 61,706 parameters")
def lenet5(
    num_classes: int = 10,
    activation: str = "tanh",
    pool: str = "avg",
    in_channels: int = 1,
    input_size: int = 32,
    init: str = "pytorch",
) -> LeNet5:
    """LeNet-5 with full connections and a softmax output: (N, 1, 32, 32) -> scores (N, 10).

    ``activation`` "tanh", "relu" or "sigmoid"; ``pool`` "avg" or "max"; ``input_size=28`` pads the first layer.
    ``init``: initial values as PyTorch draws them, or those of the "paper", within 2.4 / fan-in (appendix A).

    >>> from minidl import models
    >>> import minidl
    >>> models.lenet5()(minidl.zeros(2, 1, 32, 32)).shape
    (2, 10)
    """
    return LeNet5(num_classes, activation, pool, in_channels, input_size, init)


# ---- 1998 ---------------------------------------------------------------------------------------------------------

# Table I of the paper: the maps of S2 that each map of C3 sees
C3_TABLE = ("012", "123", "234", "345", "045", "015", "0123", "1234", "2345", "0345", "0145", "0125", "0134", "1245",
            "0235", "012345")  # fmt: skip


def _squash(x: minidl.Tensor) -> minidl.Tensor:
    """1.7159 tanh(2x/3): f(1) = 1 and f(-1) = -1 (appendix A of the paper)."""
    return (x * (2 / 3)).tanh() * 1.7159


def _uniform(*shape: int, fan_in: int) -> nn.Parameter:
    """U(-2.4/F, 2.4/F), F the number of inputs of a unit (appendix A)."""
    bound = 2.4 / fan_in
    return nn.Parameter(minidl.rand(*shape) * (2 * bound) - bound)


def _draw(layer: Any, fan_in: int) -> None:
    """New weights and biases of a layer, as the paper has them."""
    layer.weight.data = _uniform(*layer.weight.shape, fan_in=fan_in).data
    layer.bias.data = _uniform(*layer.bias.shape, fan_in=fan_in).data


class Subsampling(nn.Module):
    """S2 and S4: the *sum* of 2x2 inputs times one coefficient a map, plus one bias a map, squashed."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.weight = _uniform(maps, fan_in=4)
        self.bias = _uniform(maps, fan_in=4)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        total = nn.functional.avg_pool2d(x, 2, divisor_override=1)
        return _squash(total * self.weight.reshape(1, -1, 1, 1) + self.bias.reshape(1, -1, 1, 1))


class PartialConv(nn.Module):
    """C3: each output map sees the input maps of its row of the table; the other weights do not exist."""

    def __init__(self, table: tuple[str, ...], in_channels: int, kernel: int) -> None:
        super().__init__()
        pairs = [(k, int(c)) for k, row in enumerate(table) for c in row]
        self.shape = (len(table), in_channels, kernel, kernel)
        self.pairs = tuple(np.array(p) for p in zip(*pairs))
        fans = np.array([len(table[k]) * kernel * kernel for k, _ in pairs], dtype="float32")
        bound = minidl.tensor(2.4 / fans).reshape(-1, 1, 1)
        self.weight = nn.Parameter((minidl.rand(len(pairs), kernel, kernel) * 2 - 1) * bound)  # (60, 5, 5)
        self.bias = _uniform(len(table), fan_in=in_channels * kernel * kernel)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        empty = minidl.zeros(self.shape, dtype=self.weight.dtype, device=self.weight.device)
        return nn.functional.conv2d(x, minidl.index_put(empty, self.pairs, self.weight), self.bias)


# Targets of the output units: digits drawn 7 wide and 12 high, in the manner of figure 3 of the paper (the drawings
# are ours).  Ink is +1, paper -1.
_DIGITS = """
..###.. ...##.. .#####. .#####. .....#. ####### ..####. ####### .#####. .#####.
.#...#. ..###.. ##...## ##...## ....##. ##..... .##..#. ##...## ##...## ##...##
##...## .####.. ##...## .....## ....##. ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## ...##.. ##..... ##..... ....##. ##...## ##...##
##...## ...##.. .....## .....## ..###.. ######. ##..... ....##. .##.##. ##...##
##...## ...##.. ....##. ..####. ..##.#. ##...## ######. ...##.. ..###.. .######
##...## ...##.. ...##.. .....## .##.##. .....## ##...## ...##.. .##.##. .....##
##...## ...##.. ..##... .....## ##..##. .....## ##...## ..##... ##...## .....##
##...## ...##.. .##.... .....## ####### .....## ##...## ..##... ##...## .....##
##...## ...##.. ##..... .....## ....##. .....## ##...## .##.... ##...## .....##
.#...#. ...##.. ##...## ##...## ....##. ##...## .##..#. .##.... ##...## .#..##.
..###.. .#####. ####### .#####. ....##. .#####. ..####. .##.... .#####. ..###..
"""


def digit_codes() -> np.ndarray:
    """The ten targets (10, 84), +1 for ink and -1 for paper."""
    rows = [line.split() for line in _DIGITS.strip().splitlines()]
    art = np.array([[list(row[digit]) for row in rows] for digit in range(10)])  # (10, 12, 7)
    return np.where(art == "#", 1.0, -1.0).reshape(10, 84).astype("float32")


class LeNet5From1998(nn.Module):
    """LeNet-5 as published: trainable subsampling, the partial C3, radial basis functions at the end.

    60,000 trainable parameters and 340,908 connections.  The output units measure the squared distance of F6 to a
    drawing of each digit; ``forward`` returns its negative, so that the largest score is the nearest drawing.
    Input as in the paper: white -0.1, black 1.175.
    """

    codes: minidl.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, 5)
        self.s2 = Subsampling(6)
        self.c3 = PartialConv(C3_TABLE, 6, 5)
        self.s4 = Subsampling(16)
        self.c5 = nn.Conv2d(16, 120, 5)  # a full connection, written as a convolution as in the paper
        self.f6 = nn.Linear(120, 84)
        self.register_buffer("codes", minidl.tensor(digit_codes()))
        for layer, fan_in in ((self.c1, 25), (self.c5, 400), (self.f6, 120)):
            _draw(layer, fan_in)

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return self.score(self.embed(x))

    def embed(self, x: minidl.Tensor) -> minidl.Tensor:
        """What F6 draws: (N, 84)."""
        x = self.s2(_squash(self.c1(x)))  # (N, 6, 14, 14)
        x = self.s4(_squash(self.c3(x)))  # (N, 16, 5, 5)
        x = _squash(self.c5(x)).flatten(1)  # (N, 120)
        return _squash(self.f6(x))

    def score(self, drawn: minidl.Tensor) -> minidl.Tensor:
        """The output units: (N, 84) -> (N, 10)."""
        distance = drawn.unsqueeze(1) - self.codes  # (N, 10, 84)
        return -(distance * distance).sum(2)


@register(input_shape=(1, 32, 32), source="LeCun et al. 1998, section II.B: 60,000 parameters, 340,908 connections")
def lenet5_1998() -> LeNet5From1998:
    """LeNet-5 of the paper, (N, 1, 32, 32) -> scores (N, 10); see :class:`LeNet5From1998`."""
    return LeNet5From1998()


@register(input_shape=(1, 28, 28), source="Caffe's MNIST example and Deep Compression's LeNet-5: 431,080 parameters")
def lenet_caffe(num_classes: int = 10) -> nn.Sequential:
    """Conv 20, max-pool, conv 50, max-pool, 500, 10: (N, 1, 28, 28) -> (N, num_classes)."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(50 * 4 * 4, 500),
        nn.ReLU(),
        nn.Linear(500, num_classes),
    )


@register(input_shape=(1, 28, 28), source="LeCun et al. 1998, section III.C: 784-300-100-10; 266,610 parameters")
def lenet_300_100(num_classes: int = 10) -> nn.Sequential:
    """Two hidden layers and no convolution: (N, 1, 28, 28) -> (N, num_classes)."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(28 * 28, 300),
        nn.ReLU(),
        nn.Linear(300, 100),
        nn.ReLU(),
        nn.Linear(100, num_classes),
    )
