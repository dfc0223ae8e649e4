"""What the two sides of a comparison of whole networks have in common: the network as plain values, its operands.

A network travels to PyTorch's process as a `Description`, and its weights are drawn there anew from the same seed.
Only NumPy and the standard library are imported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .networks import Network
from .sides import Side, resident

LEARNING_RATE = 1e-3
MOMENTUM = 0.9


class Description(NamedTuple):
    """A tree of layers: the class's name, its settings, its named children."""

    kind: str
    settings: dict[str, Any]
    children: tuple[tuple[str, Description], ...]


def operands(network: Network, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, C, H, W), normally distributed float32, and labels (N,)."""
    generator = np.random.default_rng(21)
    images = generator.standard_normal((batch, *network.shape), dtype=np.float32)
    return images, generator.integers(0, network.classes, batch)


def weights(state: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Values for the names and shapes of a state dict, the same in every process.

    Matrices and filters as He et al. 2015 draw them, so that no activation grows or dies; what has one number for
    each channel is near 1 (scales, variances) or near 0 (biases, means), and random.
    """
    generator = np.random.default_rng(22)
    values: dict[str, np.ndarray] = {}
    for name, shape in sorted(state.items()):
        if len(shape) > 1:
            value = generator.standard_normal(shape, dtype=np.float32)
            value *= np.float32((2 / np.prod(shape[1:])) ** 0.5)
        else:
            value = generator.uniform(-0.1, 0.1, shape).astype(np.float32)
            value += np.float32(name.endswith(("weight", "running_var")))
        values[name] = value
    return values


class StepsSide(Side):
    """A library that can train and run networks.  Subclasses build them."""

    def __init__(self) -> None:
        super().__init__()
        self.before = resident()

    def answers(self, dtype: str = "float32") -> dict[str, np.ndarray]:
        """Scores of the batch in training mode without dropout, and the gradients of the first and last weights."""
        raise NotImplementedError

    def peak(self) -> int | None:
        """Bytes that this process has held at most since the network was built, beyond its libraries."""
        most = resident("VmHWM")
        return None if most is None or self.before is None else most - self.before
