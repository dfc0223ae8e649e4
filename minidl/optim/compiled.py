"""The compiled twins of update functions: all parameters of a group in one call, with the same bits.

An optimiser's ``update`` is the definition, and what runs on a GPU, in a subclass that overrides it, and without
Numba.  Here stands, for each of them, what its twin in ``kernels.cpu.optim`` needs to know of one parameter.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..kernels.choice import compiles
from ..tensor import Tensor
from .adaptive import Adagrad, Adam, RMSprop
from .optimizer import Group, State
from .sgd import SGD


class Step(NamedTuple):
    """The rule, what it is compiled for, the arrays of state, and the numbers of this step."""

    rule: str
    options: tuple[tuple[str, bool], ...]
    state: tuple[np.ndarray, ...]
    numbers: tuple[float, ...]


def _sgd(p: np.ndarray, state: State, group: Group) -> Step:
    momentum, first = group["momentum"], state.get("momentum_buffer") is None
    if momentum and first:
        state["momentum_buffer"] = np.zeros_like(p)
    kept, taken = (0.0, 1.0) if first else (momentum, 1 - group["dampening"])
    options = {"decay": group["weight_decay"], "momentum": momentum, "nesterov": group["nesterov"]}
    numbers = (group["lr"], group["weight_decay"], momentum, kept, taken)
    return _step("sgd", group, options, (state["momentum_buffer"],) if momentum else (), numbers)


def _adagrad(p: np.ndarray, state: State, group: Group) -> Step:
    if not state:
        state.update(step=0, sum=np.full_like(p, group["initial_accumulator_value"]))
    state["step"] += 1
    lr = group["lr"] / (1 + (state["step"] - 1) * group["lr_decay"])
    numbers = (lr, group["weight_decay"], group["eps"])
    return _step("adagrad", group, {"decay": group["weight_decay"]}, (state["sum"],), numbers)


def _rmsprop(p: np.ndarray, state: State, group: Group) -> Step:
    names = ("square_avg", "momentum_buffer", "grad_avg")
    used = (True, bool(group["momentum"]), bool(group["centered"]))
    for name, needed in zip(names, used):
        if needed and name not in state:
            state[name] = np.zeros_like(p)
    arrays = tuple(state[name] if needed else p for name, needed in zip(names, used))  # p: anything, it is not read
    options = {"decay": group["weight_decay"], "momentum": group["momentum"], "centered": group["centered"]}
    alpha = group["alpha"]
    numbers = (group["lr"], group["weight_decay"], alpha, 1 - alpha, group["eps"], group["momentum"])
    return _step("rmsprop", group, options, arrays, numbers)


def _adam(p: np.ndarray, state: State, group: Group, decoupled: bool) -> Step:
    if not state:
        state.update(step=0, exp_avg=np.zeros_like(p), exp_avg_sq=np.zeros_like(p))
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = np.zeros_like(p)
    state["step"] += 1
    lr, (beta1, beta2), t, decay = group["lr"], group["betas"], state["step"], group["weight_decay"]
    numbers = (
        lr / (1 - beta1**t), 1 - lr * decay if decoupled else decay, beta1, 1 - beta1, beta2, 1 - beta2,
        math.sqrt(1 - beta2**t), group["eps"],
    )  # fmt: skip
    options = {"decay": decay and not decoupled, "decoupled": decoupled, "amsgrad": group["amsgrad"]}
    names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")[: 3 if group["amsgrad"] else 2]
    return _step("adam", group, options, tuple(state[name] for name in names), numbers)


def _step(
    rule: str, group: Group, options: dict[str, Any], state: tuple[np.ndarray, ...], numbers: tuple[float, ...]
) -> Step:
    options["maximize"] = group["maximize"]
    return Step(rule, tuple((name, bool(value)) for name, value in options.items()), state, numbers)


TWINS: dict[Callable[..., None], Callable[[Any, np.ndarray, State, Group], Step]] = {
    SGD.update: lambda _, p, state, group: _sgd(p, state, group),
    Adagrad.update: lambda _, p, state, group: _adagrad(p, state, group),
    RMSprop.update: lambda _, p, state, group: _rmsprop(p, state, group),
    Adam.update: lambda optimiser, p, state, group: _adam(p, state, group, optimiser.decoupled),
}


def _fit(p: Any, g: Any, state: State) -> bool:
    """Whether one loop can pass over the parameter, its gradient and its state."""
    if not (compiles(p) and p.flags.c_contiguous and p.flags.writeable and g.dtype == p.dtype and g.shape == p.shape):
        return False
    arrays = [a for a in state.values() if isinstance(a, np.ndarray)]
    return all(a.flags.c_contiguous and a.dtype == p.dtype and a.shape == p.shape for a in arrays)


def update_together(optimiser: Any, group: Group) -> list[Tensor]:
    """Update what can be updated by a compiled twin; returns the parameters with a gradient that are left."""
    twin = TWINS.get(type(optimiser).update)
    left: list[Tensor] = []
    calls: dict[tuple[Any, ...], tuple[list[tuple[np.ndarray, ...]], list[tuple[float, ...]]]] = {}
    for parameter in group["params"]:
        if parameter.grad is None:
            continue
        p, g = parameter._array, parameter.grad._array
        state = optimiser.state.setdefault(parameter, {})
        if twin is None or not _fit(p, g, state):
            left.append(parameter)
            continue
        step = twin(optimiser, p, state, group)
        arrays, numbers = calls.setdefault((step.rule, step.options, p.dtype), ([], []))
        arrays.append((p, np.ascontiguousarray(g), *step.state))
        numbers.append(step.numbers)
        parameter._storage.version += 1
    if calls:
        from ..kernels.cpu import optim

        for (rule, options, _), (arrays, numbers) in calls.items():
            optim.update(rule, dict(options), arrays, numbers)
    return left
