"""Layers that the models name by a word, so that a command line or a file can choose them."""

from __future__ import annotations

from collections.abc import Callable

import minidl
from minidl import nn
from minidl.nn import functional as F
from minidl.registry import ModelOptionError

ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid}
POOLS: dict[str, Callable[..., nn.Module]] = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}


def choose(model: str, option: str, name: str, table: dict[str, Callable[..., nn.Module]]) -> Callable[..., nn.Module]:
    """The layer called ``name``, or an error that lists what there is."""
    if name not in table:
        raise ModelOptionError(f"{model}: {option} is one of {', '.join(table)}, not {name!r}")
    return table[name]


class DropPath(nn.Module):
    """While training, all of an image zero with probability ``p``, the others divided by 1 - p: a branch falls out.

    Huang et al. 2016, "Deep networks with stochastic depth", arXiv:1603.09382; (N, ...) -> (N, ...).

    >>> DropPath(0.5).eval()(minidl.ones(2, 3))
    tensor([[1., 1., 1.],
            [1., 1., 1.]])
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        if not self.training or self.p == 0:
            return x
        ones = minidl.ones(x.shape[0], *(1,) * (x.ndim - 1), dtype=x.dtype, device=x.device)
        return x * F.dropout(ones, self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"
