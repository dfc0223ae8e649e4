"""Stochastic gradient descent with its kinds of momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..backend import array_module
from .optimizer import Group, Optimizer, State, decayed


class SGD(Optimizer):
    """``v = momentum v + (1 - dampening) g``, ``p = p - lr v``: Polyak 1964, as PyTorch writes it.

    The first step takes ``v = g``.  ``dampening=momentum`` is the averaging form of many lectures
    (``v = b v + (1 - b) g``) but for that first step; ``DampenedSGD`` is exactly theirs.  ``nesterov`` looks ahead:
    ``p = p - lr (g + momentum v)`` (Nesterov 1983; Sutskever et al. 2013).

    >>> import minidl
    >>> w = minidl.tensor([1.0], requires_grad=True)
    >>> (w * 3).sum().backward()
    >>> _ = minidl.optim.SGD([w], lr=0.1).step()
    >>> w
    tensor([0.7], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("SGD: Nesterov's method needs momentum above 0 and no dampening")
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def update(self, p: Any, g: Any, state: State, group: Group) -> None:
        g = decayed(p, g, group["weight_decay"])
        momentum = group["momentum"]
        if momentum:
            v = state.get("momentum_buffer")
            if v is None:
                # an array also of a single number, whose arithmetic gives NumPy's scalars
                v = state["momentum_buffer"] = array_module(p).array(g)
            else:
                v *= momentum
                v += (1 - group["dampening"]) * g
            g = g + momentum * v if group["nesterov"] else v
        p -= group["lr"] * g


class DampenedSGD(Optimizer):
    """``v = beta v + (1 - beta) g`` from ``v = 0``, ``p = p - lr v``; optionally v / (1 - beta^t) as Adam does.

    The exponentially weighted average of the gradients, as lectures introduce momentum.

    >>> import minidl
    >>> w = minidl.tensor([1.0], requires_grad=True)
    >>> w.grad = minidl.tensor([5.0])
    >>> minidl.optim.DampenedSGD([w], lr=1.0, beta=0.9).step()  # a tenth of the gradient
    >>> w.detach()
    tensor([0.5])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        beta: float = 0.9,
        weight_decay: float = 0.0,
        bias_correction: bool = False,
    ) -> None:
        if not 0 <= beta < 1:
            raise ValueError(f"DampenedSGD: beta must lie in [0, 1), got {beta}")
        super().__init__(
            params, {"lr": lr, "beta": beta, "weight_decay": weight_decay, "bias_correction": bias_correction}
        )

    def update(self, p: Any, g: Any, state: State, group: Group) -> None:
        g = decayed(p, g, group["weight_decay"])
        beta = group["beta"]
        if not state:
            state.update(step=0, momentum_buffer=array_module(p).zeros_like(p))
        state["step"] += 1
        v = state["momentum_buffer"]
        v *= beta
        v += (1 - beta) * g
        correction = 1 - beta ** state["step"] if group["bias_correction"] else 1.0
        p -= (group["lr"] / correction) * v
