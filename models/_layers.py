"""Layers that the models name by a word, so that a command line or a file can choose them."""

from __future__ import annotations

from collections.abc import Callable

from minidl import nn

from ._registry import ModelOptionError

ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid}
POOLS: dict[str, Callable[..., nn.Module]] = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}


def choose(model: str, option: str, name: str, table: dict[str, Callable[..., nn.Module]]) -> Callable[..., nn.Module]:
    """The layer called ``name``, or an error that lists what there is."""
    if name not in table:
        raise ModelOptionError(f"{model}: {option} is one of {', '.join(table)}, not {name!r}")
    return table[name]
