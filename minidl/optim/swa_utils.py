"""Averages of weights over the updates, by the names of ``torch.optim.swa_utils``.

The weights of the last update are one of many points that an optimiser visits on its way around a minimum; their mean
lies nearer to it (Polyak and Juditsky 1992).  A *running* average forgets the older ones (EMA: Inception, EfficientNet,
MobileNet-v3); *stochastic weight averaging* takes the plain mean of the weights at the end of each of the last epochs
(SWA: Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization", UAI).
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..autograd.mode import no_grad
from ..backend import on
from ..nn.modes import modes_kept
from ..nn.module import Module
from ..nn.normalization import _BatchNorm
from ..ops import zeros
from ..tensor import Tensor
from .lr_scheduler import LRScheduler
from .optimizer import Optimizer

AvgFn = Callable[[Tensor, Tensor, Any], Tensor]
MultiAvgFn = Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]


def _move(average: Tensor, value: Tensor, share: float) -> None:
    """``average`` moved by ``share`` of the way to ``value``, in its memory; whole numbers are rounded towards 0."""
    a, v = average._array, value._array
    with on(average.device):
        if a.dtype.kind == "f":
            way = v - a
            way *= a.dtype.type(share)
            a += way
        else:
            a[...] = a * (1 - share) + v * share
    average._storage.version += 1


def _check_decay(decay: float) -> float:
    if not 0 <= decay <= 1:
        raise ValueError(f"decay is the share of the average that stays in an update, between 0 and 1, not {decay}")
    return decay


def get_ema_multi_avg_fn(decay: float = 0.999, *, warmup: bool = False) -> MultiAvgFn:
    """Exponential moving average, ``average = decay average + (1 - decay) weights``, of lists of tensors in place.

    ``warmup`` (not PyTorch's) lets it begin with a smaller decay, ``min(decay, (1 + n) / (10 + n))`` in the update
    after n weights: with 0.9999 the average would otherwise be mostly the initial weights for 10,000 updates.  It is
    what TensorFlow's ``ExponentialMovingAverage`` does with ``num_updates``, with which Inception was trained.

    >>> import minidl
    >>> average = minidl.tensor([1.0])
    >>> get_ema_multi_avg_fn(0.75)([average], [minidl.tensor([5.0])], 1)
    >>> average
    tensor([2.])
    """
    _check_decay(decay)

    def update(averages: Sequence[Tensor], values: Sequence[Tensor], num_averaged: Any) -> None:
        n = int(num_averaged)
        stays = min(decay, (1 + n) / (10 + n)) if warmup else decay
        for average, value in zip(averages, values, strict=True):
            _move(average, value, 1 - stays)

    return update


def get_swa_multi_avg_fn() -> MultiAvgFn:
    """The plain mean of all weights so far, of lists of tensors in place; see :class:`AveragedModel`.

    >>> import minidl
    >>> average = minidl.tensor([1.0])
    >>> get_swa_multi_avg_fn()([average], [minidl.tensor([4.0])], 2)  # of 1, 1 and 4
    >>> average
    tensor([2.])
    """

    def update(averages: Sequence[Tensor], values: Sequence[Tensor], num_averaged: Any) -> None:
        for average, value in zip(averages, values, strict=True):
            _move(average, value, 1 / (int(num_averaged) + 1))

    return update


def get_ema_avg_fn(decay: float = 0.999) -> AvgFn:
    """:func:`get_ema_multi_avg_fn` for one tensor, which returns the new average.

    >>> import minidl
    >>> get_ema_avg_fn(0.75)(minidl.tensor([1.0]), minidl.tensor([5.0]), 1)
    tensor([2.])
    """
    _check_decay(decay)
    return lambda average, value, num_averaged: decay * average + (1 - decay) * value


def get_swa_avg_fn() -> AvgFn:
    """:func:`get_swa_multi_avg_fn` for one tensor, which returns the new average.

    >>> import minidl
    >>> get_swa_avg_fn()(minidl.tensor([1.0]), minidl.tensor([4.0]), 2)
    tensor([2.])
    """
    return lambda average, value, num_averaged: average + (value - average) / (int(num_averaged) + 1)


class AveragedModel(Module):
    """A copy of ``model`` (``.module``) whose parameters are an average of the model's over the updates.

    ``multi_avg_fn(averages, values, number)`` changes lists of tensors in place, ``avg_fn(average, value, number)``
    returns a new average; without either it is the plain mean (SWA).  The first :meth:`update_parameters` copies.
    Buffers, such as the running statistics of batch norm, are copied each time, or with ``use_buffers`` averaged as the
    parameters are, as TensorFlow's programs for Inception and EfficientNet do.  With copied ones call :func:`update_bn`
    when all is averaged.  ``n_averaged``, a buffer on the CPU, counts the weights in the average.

    >>> import minidl
    >>> from minidl.optim.swa_utils import AveragedModel
    >>> net = minidl.nn.Linear(1, 1, bias=False)
    >>> averaged = AveragedModel(net)
    >>> for value in (1.0, 2.0, 6.0):
    ...     _ = net.weight.detach().fill_(value)
    ...     averaged.update_parameters(net)
    >>> averaged.module.weight.item(), averaged.n_averaged.item()
    (3.0, 3)
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: AvgFn | None = None,
        multi_avg_fn: MultiAvgFn | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("AveragedModel takes avg_fn or multi_avg_fn, not both: which of them shall average?")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module.to(device=device)
        self.register_buffer("n_averaged", zeros((), dtype="int64"))  # on the CPU: a device would be waited for
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the copy with the averaged weights computes."""
        return self.module(*args, **kwargs)

    def _tensors(self, model: Module) -> list[Tensor]:
        """What is averaged, without its graph."""
        found = itertools.chain(model.parameters(), model.buffers() if self.use_buffers else ())
        return [t.detach() for t in found]

    def update_parameters(self, model: Module) -> None:
        """Take the present weights of ``model`` into the average."""
        averages, given = self._tensors(self.module), self._tensors(model)
        if [a.shape for a in averages] != [v.shape for v in given]:
            raise ValueError(
                f"the average is one of a {type(self.module).__name__} with {len(averages)} tensors, which are not "
                f"those of the {type(model).__name__} with {len(given)} that was given: a new model needs an "
                "AveragedModel of its own"
            )
        values = [v.to(a.device) for a, v in zip(averages, given)]
        number = int(self.n_averaged.item())
        with no_grad():
            if number == 0:
                for average, value in zip(averages, values):
                    average.copy_(value)
            elif self.avg_fn is not None:
                for average, value in zip(averages, values):
                    average.copy_(self.avg_fn(average, value, number).to(average.dtype))
            else:
                (self.multi_avg_fn or get_swa_multi_avg_fn())(averages, values, number)
            if not self.use_buffers:
                for mine, theirs in zip(self.module.buffers(), model.buffers(), strict=True):
                    mine.copy_(theirs.detach())
            self.n_averaged.add_(1)


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Measure the running statistics of all batch norms anew: the plain mean over one pass of ``loader``.

    Averaged weights give activations of their own, for which the statistics of the weights that were averaged do not
    hold (Izmailov et al. 2018, section 3.2).  A batch is a tensor, or a tuple or list that begins with one; ``device``
    is where it goes.  Layers that are frozen keep theirs.  The model is put back into the mode it had.

    >>> import minidl
    >>> from minidl.optim.swa_utils import update_bn
    >>> net = minidl.nn.BatchNorm1d(1)
    >>> update_bn([minidl.tensor([[1.0], [3.0]]), (minidl.tensor([[5.0], [7.0]]), "labels")], net)
    >>> net.running_mean, net.running_var  # the means of 2 and 6, of 2 and 2
    (tensor([4.]), tensor([2.]))
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats and not m.frozen]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean
    try:
        with modes_kept(model), no_grad():
            model.train()
            for batch in loader:
                x = batch[0] if isinstance(batch, list | tuple) else batch
                model(x if device is None else x.to(device))
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum


class SWALR(LRScheduler):
    """The learning rate goes to ``swa_lr`` within ``anneal_epochs`` steps and stays there, while weights are averaged.

    It begins with what another schedule has left when :meth:`step` is called for the first time.  ``anneal_strategy``
    "cos" or "linear"; ``swa_lr`` is one number or one for each group.

    >>> import minidl
    >>> sgd = minidl.optim.SGD([minidl.zeros(1)], lr=1.0)
    >>> schedule = minidl.optim.swa_utils.SWALR(sgd, swa_lr=0.5, anneal_epochs=2, anneal_strategy="linear")
    >>> [schedule.step() or schedule.get_last_lr()[0] for _ in range(3)]
    [0.75, 0.5, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | Sequence[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
    ) -> None:
        groups = len(optimizer.param_groups)
        self.swa_lrs = [float(swa_lr)] * groups if isinstance(swa_lr, int | float) else [float(lr) for lr in swa_lr]
        if len(self.swa_lrs) != groups:
            raise ValueError(f"SWALR: {len(self.swa_lrs)} learning rates for {groups} parameter groups")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"SWALR: anneal_strategy is 'cos' or 'linear', not {anneal_strategy!r}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"SWALR: anneal_epochs is a whole number of at least 0, not {anneal_epochs!r}")
        self.anneal_epochs, self.anneal_strategy = anneal_epochs, anneal_strategy
        super().__init__(optimizer)

    def get_lr(self, t: int) -> list[float]:
        done = min(1.0, t / self.anneal_epochs) if self.anneal_epochs else 1.0
        share = (1 - math.cos(math.pi * done)) / 2 if self.anneal_strategy == "cos" else done
        return [swa * share + base * (1 - share) for swa, base in zip(self.swa_lrs, self.base_lrs)]

    def step(self) -> None:
        if self.last_epoch == 0 and self.anneal_epochs:
            self.base_lrs = self.get_last_lr()
        super().step()

    def _apply(self) -> None:
        if self.last_epoch or not self.anneal_epochs:  # before the first step the other schedule holds
            super()._apply()


__all__ = [
    "SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn", "get_swa_multi_avg_fn",
    "update_bn",
]  # fmt: skip
