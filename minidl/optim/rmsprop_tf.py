"""RMSprop as TensorFlow computes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..backend import array_module
from .optimizer import Group, Optimizer, State, decayed


class RMSpropTF(Optimizer):
    """RMSprop with TensorFlow's arithmetic: ``s = alpha s + (1 - alpha) g^2``, ``p = p - lr g / sqrt(s + eps)``.

    Other than in :class:`RMSprop`, ``eps`` stands below the root, s begins as 1, and what ``momentum`` keeps is
    multiplied by the learning rate already, so that a change of the rate comes in slowly.  It matters where eps is
    large: the recipes of Inception, MobileNet and NASNet, which were trained with TensorFlow, have 1.

    >>> import minidl
    >>> w = minidl.tensor([1.0], requires_grad=True)
    >>> w.grad = minidl.tensor([3.0])
    >>> minidl.optim.RMSpropTF([w], lr=0.5, alpha=0.5, eps=4.0).step()  # 0.5 * 3 / sqrt(0.5 * 1 + 0.5 * 9 + 4)
    >>> w.detach()
    tensor([0.5])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.9,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(params, {**settings, "maximize": maximize})

    def update(self, p: Any, g: Any, state: State, group: Group) -> None:
        xp = array_module(p)
        g = decayed(p, g, group["weight_decay"])
        if not state:
            state["square_avg"] = xp.ones_like(p)
        s = state["square_avg"]
        s *= group["alpha"]
        s += (1 - group["alpha"]) * (g * g)
        step = group["lr"] * g / xp.sqrt(s + group["eps"])
        if group["momentum"]:
            v = state.setdefault("momentum_buffer", xp.zeros_like(p))
            v *= group["momentum"]
            v += step
            step = v
        p -= step
