"""Updates about which a flag on the device decides, so that the host need not wait to know whether to make them.

A step that is left out leaves parameters and state as they are.  The host counts it nevertheless, and cannot know
better without asking; so the device keeps count of the steps that were left out, and corrects the numbers that follow
from how many there were.  Whoever asks for the state (``Optimizer.state_dict``) gets the true count.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..backend import array_module, device_of, on
from .adaptive import Adadelta, Adagrad, Adam, RMSprop
from .optimizer import Group, Optimizer, State
from .sgd import SGD


class Late(NamedTuple):
    """How the numbers of an update follow from the count of steps: what stands behind them in the table, and the
    correction of the table (parameters, width) for so many steps that were left out."""

    extra: Callable[[State, Group], tuple[float, ...]]
    correct: Callable[[Any, Any], None]


def _adam(table: Any, left_out: Any) -> None:
    lr, t = table[:, -2], table[:, -1] - left_out
    table[:, 0] = lr / (1 - table[:, 2] ** t)
    table[:, 6] = np.sqrt(1 - table[:, 4] ** t)


def _adagrad(table: Any, left_out: Any) -> None:
    lr, decay, t = table[:, -3], table[:, -2], table[:, -1] - left_out
    table[:, 0] = lr / (1 + (t - 1) * decay)


LATE: dict[Callable[..., None], Late | None] = {
    SGD.update: None,
    RMSprop.update: None,
    Adadelta.update: None,
    Adam.update: Late(lambda state, group: (group["lr"], state["step"]), _adam),
    Adagrad.update: Late(lambda state, group: (group["lr"], group["lr_decay"], state["step"]), _adagrad),
}


class _Condition(threading.local):
    keep: Any = None  # int64 (1,) on the device while `step_unless` runs: 1 where the step is made
    left_out: Any = None  # int64 (1,): steps of this optimiser that were not


CONDITION = _Condition()


def takes_a_flag(optimizer: Any) -> bool:
    """Whether :func:`step_unless` can make the next step of ``optimizer``.

    All of it must be kernels on one CUDA device, and no two parameters parts of one memory.  SGD with dampening has
    other numbers in its first step, which the device may have left out.

    >>> import minidl
    >>> takes_a_flag(minidl.optim.SGD([minidl.ones(2)], lr=0.1))
    False
    """
    from .compiled import fits

    if type(optimizer).step is not Optimizer.step or type(optimizer).update not in LATE:
        return False
    devices, seen = set(), set()
    for group in optimizer.param_groups:
        if group.get("momentum") and group.get("dampening"):
            return False
        for p in group["params"]:
            if p.grad is None:
                continue
            devices.add(p.device)
            memory = id(p._storage)
            if memory in seen or not p.is_cuda or not fits(p._array, p.grad._array, optimizer.state.get(p, {})):
                return False
            seen.add(memory)
    return len(devices) == 1


def step_unless(optimizer: Any, found: Any) -> None:
    """``optimizer.step()``, which changes nothing where ``found``, one truth value on the device, holds."""
    xp = array_module(found)
    with on(device_of(found)):
        if optimizer._left_out is None:
            optimizer._left_out = xp.zeros(1, "int64")
        CONDITION.keep, CONDITION.left_out = (~found).astype("int64").reshape(1), optimizer._left_out
        try:
            optimizer.step()
        finally:
            CONDITION.keep = CONDITION.left_out = None
        optimizer._left_out += found


def settle(optimizer: Any) -> None:
    """Take the steps that were left out off the counts of the state; asks the device."""
    if optimizer._left_out is None:
        return
    with on(device_of(optimizer._left_out)):
        count = int(optimizer._left_out.item())
        optimizer._left_out.fill(0)
    for state in optimizer.state.values():
        if "step" in state:
            state["step"] = max(0, state["step"] - count)


def extra_numbers(update: Callable[..., None], state: State, group: Group) -> tuple[float, ...]:
    """What the correction of an update's numbers must know."""
    late = LATE.get(update)
    return () if late is None else late.extra(state, group)


def corrected(update: Callable[..., None], table: Any, like: Any) -> Any:
    """The numbers of an update beside ``like``, for the steps that were made; ``table`` where no flag decides."""
    late = LATE.get(update)
    if CONDITION.keep is None or late is None:
        return table
    table = array_module(like).array(table)
    late.correct(table, CONDITION.left_out)
    return table
