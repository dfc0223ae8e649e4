"""Training and evaluation mode of a model, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .module import Module


@contextmanager
def modes_kept(model: Module) -> Iterator[None]:
    """Afterwards each module of ``model`` is in the mode that it has now, whatever happens inside.

    A part may be in evaluation mode while the rest trains, so to remember the mode of the whole is not enough.

    >>> from minidl import nn
    >>> net = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2).eval())
    >>> with modes_kept(net):
    ...     net = net.eval()
    >>> [module.training for module in net]
    [True, False]
    """
    before = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode
