"""The multilayer perceptron of the lectures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from minidl import nn
from minidl.registry import ModelOptionError, register

from ._layers import ACTIVATIONS, choose


def _for_data(image_shape: tuple[int, ...], classes: int) -> dict[str, Any]:
    return {"sizes": (math.prod(image_shape), 100, classes), "hidden": "relu", "output": None}


@register(input_shape=(3,), source="lecture 002: 3-4-4-1, sigmoid; 41 parameters", adapt=_for_data)
def mlp(sizes: Sequence[int] = (3, 4, 4, 1), hidden: str = "sigmoid", output: str | None = "sigmoid") -> nn.Sequential:
    """Fully connected layers of ``sizes`` with ``hidden`` activations between them and ``output`` at the end.

    Inputs (N, sizes[0]), or anything that flattens to it; outputs (N, sizes[-1]).  Activations are "tanh", "relu" or
    "sigmoid"; ``output=None`` ends with scores for a loss that takes them.

    >>> from minidl import models
    >>> sum(p.numel() for p in models.mlp().parameters())
    41
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ModelOptionError(f"mlp: sizes are at least an input and an output width, each >= 1, not {tuple(sizes)}")
    between = choose("mlp", "hidden", hidden, ACTIVATIONS)
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), between()]
    layers[-1:] = [] if output is None else [choose("mlp", "output", output, ACTIVATIONS)()]
    return nn.Sequential(*layers)
