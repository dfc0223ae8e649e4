"""Dropout: random zeros while training, nothing in evaluation.  Srivastava et al. 2014.

What is kept is divided by 1 - p, so that evaluation needs no scaling.  ``generator=`` gives a layer its own stream of
random numbers; otherwise the default one (:func:`minidl.manual_seed`) serves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ..random import Generator
from . import functional as F
from .module import Module


class _Dropout(Module):
    function: ClassVar[Callable[..., Any]]

    def __init__(self, p: float = 0.5, inplace: bool = False, *, generator: Generator | None = None) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: p is the probability to drop a value, between 0 and 1, got {p!r}")
        self.p = p
        self.inplace = inplace
        self.generator = generator

    def forward(self, input: Any) -> Any:
        return type(self).function(input, self.p, self.training, self.inplace, generator=self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Each element zero with probability ``p``; ``inplace`` overwrites the input.

    >>> import minidl
    >>> layer = minidl.nn.Dropout(0.25).eval()
    >>> layer(minidl.ones(3))
    tensor([1., 1., 1.])
    """

    function = staticmethod(F.dropout)


class Dropout1d(_Dropout):
    """Whole channels of (N, C, L) zero with probability ``p``: Tompson et al. 2015.

    >>> import minidl
    >>> y = minidl.nn.Dropout1d(0.5)(minidl.ones(2, 3, 4))
    >>> y.shape, bool((y.amin(-1) == y.amax(-1)).all())  # a channel lives or dies as a whole
    ((2, 3, 4), True)
    """

    function = staticmethod(F.dropout1d)


class Dropout2d(_Dropout):
    """Whole channels of (N, C, H, W) zero with probability ``p``: Tompson et al. 2015.

    >>> import minidl
    >>> y = minidl.nn.Dropout2d(0.5)(minidl.ones(2, 3, 4, 4))
    >>> y.shape, bool((y.amin((2, 3)) == y.amax((2, 3))).all())
    ((2, 3, 4, 4), True)
    """

    function = staticmethod(F.dropout2d)


class Dropout3d(_Dropout):
    """Whole channels of (N, C, D, H, W) zero with probability ``p``: Tompson et al. 2015.

    >>> import minidl
    >>> minidl.nn.Dropout3d(0.5).eval()(minidl.ones(2, 3, 4, 4, 4)).sum().item()
    384.0
    """

    function = staticmethod(F.dropout3d)


class AlphaDropout(_Dropout):
    """Dropout that keeps mean and variance of SELU activations: Klambauer et al. 2017, section 3.

    >>> import minidl
    >>> minidl.nn.AlphaDropout(0.1)(minidl.randn(2, 3)).shape
    (2, 3)
    """

    function = staticmethod(F.alpha_dropout)
