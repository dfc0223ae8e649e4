"""Learning-rate schedules, by PyTorch's names.

Each is a closed formula of the number of steps taken (except on a plateau), so that a resumed run has the learning
rate of an uninterrupted one to the last bit.  Unlike PyTorch's, two of them on one optimiser therefore do not
multiply: the one that steps last holds, with a warning.  :class:`SequentialLR` and :class:`LambdaLR` combine them.
"""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from .optimizer import Optimizer


class LRScheduler:
    """Base class: ``factor(t)`` times each group's initial learning rate, after ``t`` calls of :meth:`step`.

    >>> import minidl
    >>> class Halves(minidl.optim.lr_scheduler.LRScheduler):
    ...     def factor(self, t):
    ...         return 0.5**t
    >>> sgd = minidl.optim.SGD([minidl.zeros(1)], lr=1.0)
    >>> schedule = Halves(sgd)
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.base_lrs = [g["initial_lr"] for g in optimizer.param_groups]
        self.last_epoch = 0
        self._apply()

    def factor(self, t: int) -> float:
        """What the initial learning rate is multiplied by after ``t`` steps."""
        raise NotImplementedError

    def get_lr(self, t: int) -> list[float]:
        """Learning rates of the groups after ``t`` steps."""
        return [base * self.factor(t) for base in self.base_lrs]

    def get_last_lr(self) -> list[float]:
        """Learning rates of the groups at present."""
        return [g["lr"] for g in self.optimizer.param_groups]

    def step(self) -> None:
        """One epoch (or whatever the schedule counts) is over."""
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(self.last_epoch)):
            if group["lr"] != lr:
                warnings.warn(
                    f"{type(self).__name__}: the learning rate is {group['lr']:g}, this schedule had left it at {lr:g} "
                    "and now sets it by its own formula: what was set by hand or by another schedule is lost. Join "
                    "schedules with SequentialLR, or write their product as a LambdaLR",
                    stacklevel=2,
                )
                break
        self.last_epoch += 1
        self._apply()

    def _apply(self) -> None:
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(self.last_epoch)):
            group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        """The position in the schedule."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.last_epoch = int(state["last_epoch"])
        self.base_lrs = list(state["base_lrs"])
        self._apply()


class LambdaLR(LRScheduler):
    """Any factor: ``lr_lambda(t)``; a list has one function for each parameter group.

    >>> import minidl
    >>> sgd = minidl.optim.SGD([minidl.zeros(1)], lr=1.0)
    >>> schedule = minidl.optim.lr_scheduler.LambdaLR(sgd, lambda t: 1 - t / 4)
    >>> [schedule.step() or schedule.get_last_lr()[0] for _ in range(3)]
    [0.75, 0.5, 0.25]
    """

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]]
    ) -> None:
        groups = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise ValueError(f"LambdaLR: {len(self.lr_lambdas)} functions for {groups} parameter groups")
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        return self.lr_lambdas[0](t)

    def get_lr(self, t: int) -> list[float]:
        return [base * factor(t) for base, factor in zip(self.base_lrs, self.lr_lambdas)]


class StepLR(LRScheduler):
    """Times ``gamma`` every ``step_size`` steps.

    >>> import minidl
    >>> sgd = minidl.optim.SGD([minidl.zeros(1)], lr=1.0)
    >>> schedule = minidl.optim.lr_scheduler.StepLR(sgd, step_size=2)
    >>> [schedule.step() or round(sgd.param_groups[0]["lr"], 3) for _ in range(4)]
    [1.0, 0.1, 0.1, 0.01]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        if step_size < 1:
            raise ValueError(f"StepLR: step_size must be at least 1, got {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        return self.gamma ** (t // self.step_size)


class MultiStepLR(LRScheduler):
    """Times ``gamma`` at each of ``milestones``.

    >>> import minidl
    >>> sgd = minidl.optim.SGD([minidl.zeros(1)], lr=1.0)
    >>> schedule = minidl.optim.lr_scheduler.MultiStepLR(sgd, [1, 3], gamma=0.5)
    >>> [schedule.step() or schedule.get_last_lr()[0] for _ in range(4)]
    [0.5, 0.5, 0.25, 0.25]
    """

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        return self.gamma ** bisect_right(self.milestones, t)


class ExponentialLR(LRScheduler):
    """Times ``gamma`` at each step.

    >>> import minidl
    >>> sgd = minidl.optim.SGD([minidl.zeros(1)], lr=1.0)
    >>> schedule = minidl.optim.lr_scheduler.ExponentialLR(sgd, gamma=0.5)
    >>> [schedule.step() or schedule.get_last_lr()[0] for _ in range(3)]
    [0.5, 0.25, 0.125]
    """

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = gamma
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        return self.gamma**t


class PolynomialLR(LRScheduler):
    """``(1 - t / total_iters) ** power``, 0 from ``total_iters`` on.

    >>> import minidl
    >>> sgd = minidl.optim.SGD([minidl.zeros(1)], lr=1.0)
    >>> schedule = minidl.optim.lr_scheduler.PolynomialLR(sgd, total_iters=4)
    >>> [schedule.step() or schedule.get_last_lr()[0] for _ in range(5)]
    [0.75, 0.5, 0.25, 0.0, 0.0]
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0) -> None:
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        return (1 - min(t, self.total_iters) / self.total_iters) ** self.power


class LinearLR(LRScheduler):
    """From ``start_factor`` to ``end_factor`` in equal steps over ``total_iters``: a warm-up (Goyal et al. 2017).

    >>> import minidl
    >>> sgd = minidl.optim.SGD([minidl.zeros(1)], lr=1.0)
    >>> schedule = minidl.optim.lr_scheduler.LinearLR(sgd, start_factor=0.5, total_iters=2)
    >>> [schedule.get_last_lr()[0], *(schedule.step() or schedule.get_last_lr()[0] for _ in range(3))]
    [0.5, 0.75, 1.0, 1.0]
    """

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor must lie in (0, 1], got {start_factor}")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        share = min(t, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * share


class ConstantLR(LRScheduler):
    """Times ``factor`` for the first ``total_iters`` steps: the constant warm-up of He et al. 2016 on CIFAR-10.

    >>> import minidl
    >>> sgd = minidl.optim.SGD([minidl.zeros(1)], lr=1.0)
    >>> schedule = minidl.optim.lr_scheduler.ConstantLR(sgd, factor=0.5, total_iters=2)
    >>> [schedule.get_last_lr()[0], *(schedule.step() or schedule.get_last_lr()[0] for _ in range(2))]
    [0.5, 0.5, 1.0]
    """

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5) -> None:
        self.low, self.total_iters = factor, total_iters
        super().__init__(optimizer)

    def factor(self, t: int) -> float:
        return self.low if t < self.total_iters else 1.0


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial rate to ``eta_min`` over ``T_max`` steps: Loshchilov and Hutter 2017.

    >>> import minidl
    >>> sgd = minidl.optim.SGD([minidl.zeros(1)], lr=1.0)
    >>> schedule = minidl.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=4)
    >>> [round(schedule.step() or schedule.get_last_lr()[0], 4) for _ in range(4)]
    [0.8536, 0.5, 0.1464, 0.0]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        if T_max < 1:
            raise ValueError(f"CosineAnnealingLR: T_max must be at least 1, got {T_max}")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def get_lr(self, t: int) -> list[float]:
        share = (1 + math.cos(math.pi * t / self.T_max)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]


class SequentialLR(LRScheduler):
    """One schedule after another: ``schedulers[i + 1]`` takes over, from its own beginning, at ``milestones[i]``.

    >>> import minidl
    >>> sgd = minidl.optim.SGD([minidl.zeros(1)], lr=1.0)
    >>> from minidl.optim.lr_scheduler import ConstantLR, ExponentialLR, SequentialLR
    >>> warm_up, decay = ConstantLR(sgd, 0.5, total_iters=9), ExponentialLR(sgd, 0.5)
    >>> schedule = SequentialLR(sgd, [warm_up, decay], milestones=[2])
    >>> [schedule.get_last_lr()[0], *(schedule.step() or schedule.get_last_lr()[0] for _ in range(3))]
    [0.5, 0.5, 1.0, 0.5]
    """

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]) -> None:
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(f"SequentialLR: {len(schedulers)} schedules need {len(schedulers) - 1} milestones")
        if any(s.optimizer is not optimizer for s in schedulers):
            raise ValueError("SequentialLR: all schedules must belong to the same optimiser")
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer)

    def get_lr(self, t: int) -> list[float]:
        i = bisect_right(self.milestones, t)
        return self.schedulers[i].get_lr(t - (self.milestones[i - 1] if i else 0))


class ReduceLROnPlateau:
    """Times ``factor`` when ``metric`` has not improved for more than ``patience`` epochs.

    ``step(metric)`` after each epoch; ``mode`` "min" or "max"; an improvement is one by more than ``threshold``
    (relative or absolute, ``threshold_mode`` "rel" or "abs").  ``min_lr`` is one bound, or one for each group.

    >>> import minidl
    >>> sgd = minidl.optim.SGD([minidl.zeros(1)], lr=1.0)
    >>> schedule = minidl.optim.lr_scheduler.ReduceLROnPlateau(sgd, factor=0.5, patience=0)
    >>> [schedule.step(loss) or sgd.param_groups[0]["lr"] for loss in (3.0, 2.0, 2.0)]
    [1.0, 1.0, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: factor must be below 1, got {factor}")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f"ReduceLROnPlateau: mode is 'min' or 'max' and threshold_mode 'rel' or 'abs', got {mode!r} and "
                f"{threshold_mode!r}"
            )
        self.optimizer = optimizer
        self.mode, self.reduction, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown = threshold, threshold_mode, cooldown
        groups = len(optimizer.param_groups)
        self.min_lrs = list(min_lr) if isinstance(min_lr, Sequence) else [min_lr] * groups
        if len(self.min_lrs) != groups:
            raise ValueError(f"ReduceLROnPlateau: {len(self.min_lrs)} values of min_lr for {groups} parameter groups")
        self.eps = eps
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        self.last_epoch = 0

    def get_last_lr(self) -> list[float]:
        """Learning rates of the groups at present."""
        return [g["lr"] for g in self.optimizer.param_groups]

    def step(self, metric: float) -> None:
        """An epoch is over and ended with ``metric``."""
        value = float(metric)
        self.last_epoch += 1
        if self._better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, least in zip(self.optimizer.param_groups, self.min_lrs):
                lower = max(group["lr"] * self.reduction, least)
                if group["lr"] - lower > self.eps:
                    group["lr"] = lower
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _better(self, value: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "abs" or math.isinf(self.best):
            limit = self.best + sign * (self.threshold if self.threshold_mode == "abs" else 0.0)
        else:
            limit = self.best * (1 + sign * self.threshold)
        return value < limit if self.mode == "min" else value > limit

    def state_dict(self) -> dict[str, Any]:
        """What the next decision depends on."""
        return {k: getattr(self, k) for k in ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")} | {
            "lrs": self.get_last_lr()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        for name in ("best", "num_bad_epochs", "cooldown_counter", "last_epoch"):
            setattr(self, name, state[name])
        for group, lr in zip(self.optimizer.param_groups, state["lrs"]):
            group["lr"] = lr
