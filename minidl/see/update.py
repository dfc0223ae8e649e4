"""What an optimiser does to one weight in one step, term by term.

Every update here is, for one weight, a sum of a few products: so much of the gradient, of the weight (decay), of the
momentum.  The change is also computed by the optimiser's own ``update`` on copies of that one element, and the two
must agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ..backend import CPU, to_device
from ..optim import SGD, Adadelta, Adagrad, Adam, DampenedSGD, Optimizer, RMSprop
from .errors import SeeError
from .names import element
from .terms import Column, Explanation, Step, Terms, rounding

Index = tuple[int, ...]


@dataclass
class Rule:
    """An update in formulas: ``change = sum of coefficient * quantity``; ``terms`` are (name, both)."""

    formula: str
    terms: list[tuple[str, float, float]]
    steps: list[Step] = field(default_factory=list)


def _decay(p: float, g: float, group: dict[str, Any]) -> list[tuple[str, float, float]]:
    """The gradient with its L2 penalty, as terms."""
    decay = group["weight_decay"]
    return [("gradient", 1.0, g)] + ([("weight (decay)", decay, p)] if decay else [])


def _scaled(by: float, terms: list[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    return [(name, by * coefficient, quantity) for name, coefficient, quantity in terms]


def _total(terms: list[tuple[str, float, float]]) -> float:
    return math.fsum(c * q for _, c, q in terms)


def sgd(p: float, g: float, state: dict[str, Any], group: dict[str, Any]) -> Rule:
    """SGD, with momentum and dampening where they are set."""
    lr, momentum, gradient = group["lr"], group["momentum"], _decay(p, g, group)
    if not momentum:
        return Rule("w = w - lr g", _scaled(-lr, gradient))
    old = state.get("momentum_buffer")
    v = gradient if old is None else _scaled(1 - group["dampening"], gradient)
    v = v if old is None else [("momentum", momentum, float(old)), *v]
    steps = [
        Step("velocity", "v = momentum v + (1 - dampening) g" if old is not None else "v = g (first step)", _total(v))
    ]
    if not group["nesterov"]:
        return Rule("w = w - lr v", _scaled(-lr, v), steps)
    ahead = [*gradient, *_scaled(momentum, v)]
    return Rule("w = w - lr (g + momentum v)", _scaled(-lr, ahead), steps)


def dampened(p: float, g: float, state: dict[str, Any], group: dict[str, Any]) -> Rule:
    """SGD with a velocity that is an average of gradients."""
    beta, old = group["beta"], float(state.get("momentum_buffer", 0.0))
    v = [("momentum", beta, old), *_scaled(1 - beta, _decay(p, g, group))]
    correction = 1 - beta ** (state.get("step", 0) + 1) if group["bias_correction"] else 1.0
    steps = [Step("velocity", "v = beta v + (1 - beta) g", _total(v)), Step("correction", "1 - beta^t", correction)]
    return Rule("w = w - lr v / correction", _scaled(-group["lr"] / correction, v), steps)


def adagrad(p: float, g: float, state: dict[str, Any], group: dict[str, Any]) -> Rule:
    """Adagrad: the rate falls with the sum of squared gradients."""
    gradient, t = _decay(p, g, group), state.get("step", 0) + 1
    s = float(state.get("sum", group["initial_accumulator_value"])) + _total(gradient) ** 2
    lr = group["lr"] / (1 + (t - 1) * group["lr_decay"])
    steps = [Step("sum of squares", "s = s + g^2", s), Step("rate", "lr / (1 + (t - 1) lr_decay)", lr)]
    return Rule("w = w - lr g / (sqrt(s) + eps)", _scaled(-lr / (math.sqrt(s) + group["eps"]), gradient), steps)


def rmsprop(p: float, g: float, state: dict[str, Any], group: dict[str, Any]) -> Rule:
    """RMSprop: the rate falls with a running mean of squared gradients."""
    gradient, alpha = _decay(p, g, group), group["alpha"]
    s = alpha * float(state.get("square_avg", 0.0)) + (1 - alpha) * _total(gradient) ** 2
    steps = [Step("mean square", "s = alpha s + (1 - alpha) g^2", s)]
    if group["centered"]:
        mean = alpha * float(state.get("grad_avg", 0.0)) + (1 - alpha) * _total(gradient)
        s -= mean * mean
        steps += [Step("mean", "m = alpha m + (1 - alpha) g", mean), Step("variance", "s - m^2", s)]
    move = _scaled(1 / (math.sqrt(s) + group["eps"]), gradient)
    if group["momentum"]:
        move = [("momentum", group["momentum"], float(state.get("momentum_buffer", 0.0))), *move]
        steps.append(Step("velocity", "v = momentum v + g / (sqrt(s) + eps)", _total(move)))
    return Rule("w = w - lr g / (sqrt(s) + eps)", _scaled(-group["lr"], move), steps)


def adadelta(p: float, g: float, state: dict[str, Any], group: dict[str, Any]) -> Rule:
    """Adadelta: steps as large as earlier ones were beside their gradients."""
    gradient, rho, eps = _decay(p, g, group), group["rho"], group["eps"]
    s = rho * float(state.get("square_avg", 0.0)) + (1 - rho) * _total(gradient) ** 2
    d = float(state.get("acc_delta", 0.0))
    ratio = math.sqrt(d + eps) / math.sqrt(s + eps)
    steps = [Step("mean square", "s = rho s + (1 - rho) g^2", s), Step("ratio", "sqrt(d + eps) / sqrt(s + eps)", ratio)]
    return Rule("w = w - lr sqrt(d + eps) / sqrt(s + eps) g", _scaled(-group["lr"] * ratio, gradient), steps)


def adam(p: float, g: float, state: dict[str, Any], group: dict[str, Any], decoupled: bool = False) -> Rule:
    """Adam, or AdamW where the decay is ``decoupled``: running means of gradients and of their squares."""
    (beta1, beta2), t, lr = group["betas"], state.get("step", 0) + 1, group["lr"]
    gradient = [("gradient", 1.0, g)] if decoupled else _decay(p, g, group)
    m = [("momentum m", beta1, float(state.get("exp_avg", 0.0))), *_scaled(1 - beta1, gradient)]
    v = beta2 * float(state.get("exp_avg_sq", 0.0)) + (1 - beta2) * _total(gradient) ** 2
    steps = [
        Step("m", "m = beta1 m + (1 - beta1) g", _total(m)),
        Step("v", "v = beta2 v + (1 - beta2) g^2", v),
    ]
    if group["amsgrad"]:
        v = max(v, float(state.get("max_exp_avg_sq", 0.0)))
        steps.append(Step("largest v", "max of all v", v))
    root = math.sqrt(v) / math.sqrt(1 - beta2**t) + group["eps"]
    rate = lr / (1 - beta1**t)
    steps += [
        Step("root", f"sqrt(v / (1 - beta2^{t})) + eps", root),
        Step("rate", f"lr / (1 - beta1^{t})", rate),
    ]
    terms = _scaled(-rate / root, m)
    if decoupled and group["weight_decay"]:
        terms.append(("weight (decay)", -lr * group["weight_decay"], p))
    return Rule("w = w - rate m / root", terms, steps)


RULES: list[tuple[type[Optimizer], Callable[..., Rule]]] = [
    (SGD, sgd), (DampenedSGD, dampened), (Adagrad, adagrad), (RMSprop, rmsprop), (Adadelta, adadelta), (Adam, adam),
]  # fmt: skip


def explain_update(optimizer: Optimizer, parameter: Any, gradient: np.ndarray, index: Index, name: str) -> Explanation:
    """The change of one element of ``parameter`` in the next step of ``optimizer``, for ``gradient``.

    Nothing is changed: the optimiser's ``update`` runs on copies of this element and its state.  SeeError where the
    optimiser does not have the parameter.
    """
    group = next((g for g in optimizer.param_groups if any(p is parameter for p in g["params"])), None)
    if group is None:
        raise SeeError(f"{name} is not among the parameters of this {type(optimizer).__name__}")
    shape, dtype = parameter.shape, parameter.dtype
    p = np.array(to_device(parameter._array, CPU)[index], dtype).reshape(1)
    g = np.array(gradient[index], dtype).reshape(1)
    if group.get("maximize"):
        g = -g
    state = {
        key: np.array(to_device(v, CPU)[index], v.dtype).reshape(1) if getattr(v, "shape", None) == shape else v
        for key, v in optimizer.state.get(parameter, {}).items()
    }
    old = {key: float(v[0]) if hasattr(v, "shape") else v for key, v in state.items()}
    before = float(p[0])
    optimizer.update(p, g, state, group)
    change = float(p[0]) - before
    rule = _rule(optimizer)
    if rule is None:
        described = Rule("w after the optimiser's own update", [("change", 1.0, change)])
    else:
        described = rule(before, float(g[0]), old, group)
    kept = [t for t in described.terms if t[2] != 0.0] or described.terms[:1]
    columns = [
        Column("", ", ".join(n for n, _, _ in kept), None, np.array([q for _, _, q in kept])),
        Column("", "factor", None, np.array([c for _, c, _ in kept])),
    ]
    terms = Terms(columns, columns[0].values * columns[1].values)
    states = [Step(f"{k} before", f"{old.get(k, 0.0):.7g}", float(old.get(k, 0.0))) for k in state if k != "step"]
    states += [Step(f"{k} after", f"{float(v[0]):.7g}", float(v[0])) for k, v in state.items() if hasattr(v, "shape")]
    bound = rounding(dtype, 2, abs(before), before) + rounding(dtype, 16, terms.size)
    note = f"{before:.9g} becomes {float(p[0]):.9g}"
    return Explanation(
        f"{element(name, index)} change", "update", type(optimizer).__name__, "", -1, shape, str(dtype),
        described.formula, change, terms.total, bound, "u |w| for the subtraction, gamma_16 sum |terms|", terms, [],
        described.steps + states, notes=[f"{t[0]}: {t[2]:.7g} * {t[1]:.7g} = {t[1] * t[2]:.7g}" for t in kept] + [note],
    )  # fmt: skip


def _rule(optimizer: Optimizer) -> Callable[..., Rule] | None:
    for kind, rule in RULES:
        if isinstance(optimizer, kind):
            if isinstance(optimizer, Adam) and optimizer.decoupled:
                return partial(adam, decoupled=True)
            return rule if type(optimizer).update is kind.update else None
    return None
