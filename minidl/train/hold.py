"""A schedule that ends: what a run does when it goes on for longer than was planned."""

from __future__ import annotations

from ..optim.lr_scheduler import LRScheduler


class HoldLR(LRScheduler):
    """``schedule`` for ``steps`` steps; from then on the learning rate stays what it was in the last of them.

    >>> import minidl
    >>> from minidl.optim.lr_scheduler import CosineAnnealingLR
    >>> sgd = minidl.optim.SGD([minidl.zeros(1)], lr=1.0)
    >>> schedule = HoldLR(CosineAnnealingLR(sgd, T_max=2), 2)
    >>> [schedule.step() or round(sgd.param_groups[0]["lr"], 3) for _ in range(4)]
    [0.5, 0.5, 0.5, 0.5]
    """

    def __init__(self, schedule: LRScheduler, steps: int) -> None:
        self.schedule, self.steps = schedule, steps
        super().__init__(schedule.optimizer)

    def get_lr(self, t: int) -> list[float]:
        return self.schedule.get_lr(min(t, self.steps - 1))
