"""The compiled twins of update functions: all parameters of a group in one call, with the same bits.

An optimiser's ``update`` is the definition, and what runs in a subclass that overrides it, and without Numba.  Here
stands, for each of them, what its twins in ``kernels.cpu.optim`` and ``kernels.cuda.optim`` must know of a parameter.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..backend import Device, array_module, on
from ..kernels.choice import compiles, on_cuda
from ..kernels.cuda.tables import CAPTURE, CaptureError
from ..tensor import Tensor
from .adaptive import Adadelta, Adagrad, Adam, RMSprop
from .conditional import CONDITION, corrected, extra_numbers
from .optimizer import Group, State
from .sgd import SGD, DampenedSGD


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


def _dampened(p: np.ndarray, state: State, group: Group) -> Step:
    """SGD whose momentum begins at zero."""
    if not state:
        state.update(step=0, momentum_buffer=np.zeros_like(p))
    state["step"] += 1
    beta, decay = group["beta"], group["weight_decay"]
    correction = 1 - beta ** state["step"] if group["bias_correction"] else 1.0
    numbers = (group["lr"] / correction, decay, beta, beta, 1 - beta)
    return _step("sgd", group, {"decay": decay, "momentum": True}, (state["momentum_buffer"],), numbers)


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


def _adadelta(p: np.ndarray, state: State, group: Group) -> Step:
    if not state:
        state.update(square_avg=np.zeros_like(p), acc_delta=np.zeros_like(p))
    decay, rho = group["weight_decay"], group["rho"]
    numbers = (group["lr"], decay, rho, 1 - rho, group["eps"])
    return _step("adadelta", group, {"decay": decay}, (state["square_avg"], state["acc_delta"]), numbers)


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
    options["maximize"] = group.get("maximize", False)
    return Step(rule, tuple([(name, bool(value)) for name, value in options.items()]), state, numbers)


TWINS: dict[Callable[..., None], Callable[[Any, np.ndarray, State, Group], Step]] = {
    SGD.update: lambda _, p, state, group: _sgd(p, state, group),
    DampenedSGD.update: lambda _, p, state, group: _dampened(p, state, group),
    Adagrad.update: lambda _, p, state, group: _adagrad(p, state, group),
    RMSprop.update: lambda _, p, state, group: _rmsprop(p, state, group),
    Adadelta.update: lambda _, p, state, group: _adadelta(p, state, group),
    Adam.update: lambda optimiser, p, state, group: _adam(p, state, group, optimiser.decoupled),
}


def fits(p: Any, g: Any, state: State) -> bool:
    """Whether one loop can pass over the parameter, its gradient and its state."""
    if compiles(p):
        if not p.flags.writeable:
            return False
    elif on_cuda("optim", p) is None:
        return False
    arrays = [a for a in state.values() if hasattr(a, "flags")]
    alike = all(type(a) is type(p) and a.dtype == p.dtype and a.shape == p.shape for a in (g, *arrays))
    return alike and all(a.flags.c_contiguous for a in (p, *arrays))


class Call(NamedTuple):
    """One call of a kernel: the arrays of each parameter, and its numbers."""

    arrays: list[tuple[Any, ...]]
    numbers: list[tuple[float, ...]]


Kind = tuple[str, tuple[tuple[str, bool], ...], np.dtype, Device]  # rule, options, dtype, where


class Member(NamedTuple):
    """A parameter that one loop passes over together with others, and all that this depends on."""

    parameter: Tensor
    array: Any
    state: State
    entries: tuple[tuple[str, Any], ...]  # of the state: its arrays, None for numbers
    device: Device

    def is_as_it_was(self, parameter: Tensor, state: State | None) -> bool:
        """Whether that still is so: nothing but numbers has changed, on the CPU, and there is a gradient that fits."""
        p, grad = self.array, parameter.grad
        if grad is None or parameter is not self.parameter or state is not self.state or parameter._array is not p:
            return False
        g = grad._array
        if type(g) is not np.ndarray or g.dtype != p.dtype or g.shape != p.shape or not p.flags.writeable:
            return False
        if len(state) != len(self.entries):
            return False
        for name, array in self.entries:
            value = state.get(name)
            if value is not array and (array is not None or hasattr(value, "flags")):
                return False
        return True


_LAST: weakref.WeakKeyDictionary[Any, dict[int, list[Member]]] = weakref.WeakKeyDictionary()
"""Who was updated together by an optimiser's last step, by the number of the group."""


def members(optimiser: Any, group: Group) -> tuple[list[Member], list[Tensor]]:
    """The parameters with a gradient that a compiled twin can update, and those that it cannot."""
    params, states = group["params"], optimiser.state
    last = _LAST.setdefault(optimiser, {}).get(id(group), [])
    if len(last) == len(params) and all(m.is_as_it_was(p, states.get(p)) for m, p in zip(last, params)):
        return last, []
    compiles_it = type(optimiser).update in TWINS
    found: list[Member] = []
    left: list[Tensor] = []
    seen: dict[int, list[Any]] = {}  # arrays by the number of their memory
    for parameter in params:
        if parameter.grad is None:
            continue
        p, g = parameter._array, parameter.grad._array
        state = states.setdefault(parameter, {})
        others = seen.setdefault(id(parameter._storage), [])
        tied = any(array_module(p).may_share_memory(p, other) for other in others)  # threads would write both at once
        others.append(p)
        if not compiles_it or tied or not fits(p, g, state):
            left.append(parameter)
            continue
        entries = tuple((name, value if hasattr(value, "flags") else None) for name, value in state.items())
        found.append(Member(parameter, p, state, entries, parameter.device))
    _LAST[optimiser][id(group)] = found if all(type(m.array) is np.ndarray for m in found) else []
    return found, left


def plan(optimiser: Any, group: Group, flagged: bool = False) -> tuple[dict[Kind, Call], list[Tensor]]:
    """The calls that update what can be updated by a compiled twin; and the parameters with a gradient that are left.

    The state of the parameters counts the step.  ``flagged``: a flag on the device decides about it.
    """
    found, left = members(optimiser, group)
    update = type(optimiser).update
    calls: dict[Kind, Call] = {}
    last: Kind | None = None
    for parameter, p, state, _, device in found:
        with on(device):
            step = TWINS[update](optimiser, p, state, group)
            kind = (step.rule, step.options, p.dtype, device)
            if kind != last:  # mostly all are of one
                call, last = calls.setdefault(kind, Call([], [])), kind
            g = parameter.grad._array  # type: ignore[union-attr]
            call.arrays.append((p, g if g.flags.c_contiguous else array_module(p).ascontiguousarray(g), *step.state))
        extra = extra_numbers(update, state, group) if flagged else ()
        call.numbers.append((*step.numbers, *extra))
        parameter._storage.version += 1
    return calls, left


def update_together(optimiser: Any, group: Group) -> list[Tensor]:
    """Update what can be updated by a compiled twin; returns the parameters with a gradient that are left."""
    flagged = CONDITION.keep is not None
    calls, left = plan(optimiser, group, flagged)
    tables = [np.array(call.numbers, np.float64) for call in calls.values()]
    if CAPTURE.recording is not None:
        tables = _recorded(optimiser, group, tables, left, flagged)
    for ((rule, options, _, device), (arrays, _)), table in zip(calls.items(), tables):
        if device.type == "cpu":
            from ..kernels.cpu import optim

            optim.update(rule, dict(options), arrays, table)
        else:
            from ..kernels.cuda import optim as device_optim

            with on(device):
                numbers = corrected(type(optimiser).update, table, arrays[0][0])
                device_optim.update(rule, dict(options), arrays, numbers, CONDITION.keep)
    return left


def _recorded(optimiser: Any, group: Group, tables: list[np.ndarray], left: list[Tensor], flagged: bool) -> list[Any]:
    """The numbers of the calls in a captured graph: memory that is written anew before each launch."""
    if left:
        raise CaptureError(
            f"graph_step: {type(optimiser).__name__} computes its update of a parameter of shape {left[0].shape} in "
            "Python, with numbers that a graph would repeat as they are: use SGD, DampenedSGD, Adagrad, "
            "Adadelta, RMSprop, Adam or AdamW"
        )
    kept = [(p, p._array, p.grad) for p in group["params"] if p.grad is not None]

    def again() -> list[np.ndarray]:
        for p, array, grad in kept:
            if p._array is not array:
                raise CaptureError(
                    f"graph_step: a parameter of shape {p.shape} has other memory than when the step was recorded: "
                    "make a new graph_step after moving or replacing parameters"
                )
            p.grad = grad
        return [np.array(call.numbers, np.float64) for call in plan(optimiser, group, flagged)[0].values()]

    return CAPTURE.recording.feed(kept[0][0]._xp, tables, again) if kept else tables
