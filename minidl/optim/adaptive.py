"""Optimisers that scale each coordinate by the history of its gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..backend import array_module
from .optimizer import Group, Optimizer, State, decayed


class Adagrad(Optimizer):
    """``s = s + g^2``, ``p = p - lr g / (sqrt(s) + eps)``: Duchi, Hazan and Singer 2011.

    >>> import minidl
    >>> w = minidl.tensor([1.0], requires_grad=True)
    >>> w.grad = minidl.tensor([3.0])
    >>> minidl.optim.Adagrad([w], lr=0.1).step()
    >>> w.detach()
    tensor([0.9])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
                "maximize": maximize,
            },
        )

    def update(self, p: Any, g: Any, state: State, group: Group) -> None:
        xp = array_module(p)
        if not state:
            state.update(step=0, sum=xp.full_like(p, group["initial_accumulator_value"]))
        state["step"] += 1
        g = decayed(p, g, group["weight_decay"])
        s = state["sum"]
        s += g * g
        lr = group["lr"] / (1 + (state["step"] - 1) * group["lr_decay"])
        p -= lr * g / (xp.sqrt(s) + group["eps"])


class RMSprop(Optimizer):
    """``s = alpha s + (1 - alpha) g^2``, ``p = p - lr g / (sqrt(s) + eps)``: Tieleman and Hinton 2012, lecture 6e.

    ``centered`` subtracts the squared mean of the gradient from s (Graves 2013).

    >>> import minidl
    >>> w = minidl.tensor([1.0], requires_grad=True)
    >>> w.grad = minidl.tensor([3.0])
    >>> minidl.optim.RMSprop([w], lr=0.01).step()  # the first step has the length lr / sqrt(1 - alpha)
    >>> w.detach()
    tensor([0.9])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "maximize": maximize,
            },
        )

    def update(self, p: Any, g: Any, state: State, group: Group) -> None:
        xp = array_module(p)
        alpha = group["alpha"]
        g = decayed(p, g, group["weight_decay"])
        s = state.setdefault("square_avg", xp.zeros_like(p))
        s *= alpha
        s += (1 - alpha) * (g * g)
        spread = s
        if group["centered"]:
            mean = state.setdefault("grad_avg", xp.zeros_like(p))
            mean *= alpha
            mean += (1 - alpha) * g
            spread = s - mean * mean
        step = g / (xp.sqrt(spread) + group["eps"])
        if group["momentum"]:
            v = state.setdefault("momentum_buffer", xp.zeros_like(p))
            v *= group["momentum"]
            v += step
            step = v
        p -= group["lr"] * step


class Adadelta(Optimizer):
    """Steps in the ratio of the running sizes of steps and gradients: Zeiler 2012, algorithm 1.

    >>> import minidl
    >>> w = minidl.tensor([1.0], requires_grad=True)
    >>> w.grad = minidl.tensor([3.0])
    >>> minidl.optim.Adadelta([w]).step()  # it begins slowly
    >>> bool(0.99 < w.item() < 1)
    True
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize})

    def update(self, p: Any, g: Any, state: State, group: Group) -> None:
        xp = array_module(p)
        rho, eps = group["rho"], group["eps"]
        g = decayed(p, g, group["weight_decay"])
        if not state:
            state.update(square_avg=xp.zeros_like(p), acc_delta=xp.zeros_like(p))
        s, d = state["square_avg"], state["acc_delta"]
        s *= rho
        s += (1 - rho) * (g * g)
        step = xp.sqrt(d + eps) / xp.sqrt(s + eps) * g
        d *= rho
        d += (1 - rho) * (step * step)
        p -= group["lr"] * step


class Adam(Optimizer):
    """Running means m of g and v of g^2, both corrected for their start at 0: Kingma and Ba 2015, algorithm 1.

    ``p = p - lr m^ / (sqrt(v^) + eps)``.  ``weight_decay`` is an L2 penalty in the gradient; see AdamW for the
    decoupled form.  ``amsgrad`` divides by the largest v so far (Reddi et al. 2018).

    >>> import minidl
    >>> w = minidl.tensor([1.0], requires_grad=True)
    >>> w.grad = minidl.tensor([3.0])
    >>> minidl.optim.Adam([w], lr=0.1).step()  # the first step has the length lr
    >>> w.detach()
    tensor([0.9])
    """

    decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": tuple(betas),
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
            },
        )

    def update(self, p: Any, g: Any, state: State, group: Group) -> None:
        xp = array_module(p)
        if not state:
            state.update(step=0, exp_avg=xp.zeros_like(p), exp_avg_sq=xp.zeros_like(p))
            if group["amsgrad"]:
                state["max_exp_avg_sq"] = xp.zeros_like(p)
        state["step"] += 1
        lr, (beta1, beta2), t = group["lr"], group["betas"], state["step"]
        if self.decoupled:
            p *= 1 - lr * group["weight_decay"]
        else:
            g = decayed(p, g, group["weight_decay"])
        m, v = state["exp_avg"], state["exp_avg_sq"]
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * (g * g)
        if group["amsgrad"]:
            v = xp.maximum(state["max_exp_avg_sq"], v, out=state["max_exp_avg_sq"])
        root = xp.sqrt(v)
        root /= math.sqrt(1 - beta2**t)
        root += group["eps"]
        p -= (lr / (1 - beta1**t)) * (m / root)


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameters directly: Loshchilov and Hutter 2019, algorithm 2.

    >>> import minidl
    >>> w = minidl.tensor([1.0], requires_grad=True)
    >>> w.grad = minidl.tensor([3.0])
    >>> minidl.optim.AdamW([w], lr=0.1, weight_decay=1.0).step()  # 1 - 0.1 * 1, then - 0.1
    >>> w.detach()
    tensor([0.8])
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
