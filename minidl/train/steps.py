"""One step of training, from a batch to the update: operation by operation, or as a captured graph.

Both answer with the loss, how many answers were right before the update, whether all gradients were finite (1 or 0),
and what the loss was scaled with.  Where a gradient is not finite there is no update.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..amp import autocast
from ..backend import CPU, on
from ..cuda import graph_step
from ..nn.utils import all_finite, clip_grad_norm_
from ..optim.conditional import step_unless, takes_a_flag
from ..tensor import Tensor
from .errors import TrainingError
from .losses import total_loss

if TYPE_CHECKING:
    from .trainer import Trainer


class PlainStep:
    """The operations of a step one after the other; of a device the host asks one question."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def __call__(self, x: Any, y: Any) -> tuple[float, float, float, float]:
        t = self.trainer
        loss, scores = gradients(t, x, y)
        scale = t.scaler.get_scale()
        t.scaler.unscale_(t.optimizer)
        value, right, finite = asked(t, loss, scores, y).tolist()
        t.scaler.know(t.optimizer, not finite)
        if finite and math.isfinite(value):  # any other gradient would make the weights so, and the next loss
            if t.clip:
                clip_grad_norm_(learning(t), t.clip)
            t.scaler.step(t.optimizer)
        t.scaler.update()
        return value, right, finite, scale


class CapturedStep:
    """The same as a graph, which is launched as one; whether to update is decided on the device.

    Batches of fewer samples than ``batch_size``, as the last of an epoch, run operation by operation.  TrainingError
    where no graph can repeat a step.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.launch = trainer, graph_step(self._compute)
        device = next((p.device for p in trainer.model.parameters()), CPU)
        if device.type != "cuda":
            raise TrainingError(
                f"a graph of a training step (--graph) is recorded on a CUDA device, but the model is on the {device}: "
                "train with --device cuda, or without --graph"
            )
        if hasattr(trainer.model, "set_progress"):
            raise TrainingError(
                f"{type(trainer.model).__name__} computes otherwise as the training goes on (set_progress), where a "
                "graph would repeat its first step: train it without --graph"
            )

    def __call__(self, x: Any, y: Any) -> tuple[float, float, float, float]:
        whole = len(y) == self.trainer.train_loader.batch_size
        value, right, finite, scale = (self.launch if whole else self._compute)(x, y).tolist()
        return value, right, finite, scale

    def _compute(self, x: Any, y: Any) -> Tensor:
        """All that the device does, without a question."""
        t = self.trainer
        loss, scores = gradients(t, x, y)
        with on(loss.device):
            answer = loss._xp.concatenate([asked(t, loss, scores, y), t.scaler.scale_for(loss)._array.reshape(1)])
        t.scaler.unscale_(t.optimizer)
        if t.clip:
            clip_grad_norm_(learning(t), t.clip)
        if not takes_a_flag(t.optimizer):
            raise TrainingError(
                f"{type(t.optimizer).__name__} with these settings cannot leave out an update on the device, as a "
                "graph of a step must (--graph): take SGD without dampening, Adam, AdamW, Adagrad, RMSprop or Adadelta"
            )
        if t.scaler.is_enabled():
            t.scaler.step(t.optimizer)
            t.scaler.update()
        else:
            with on(loss.device):
                step_unless(t.optimizer, ~loss._xp.isfinite(answer[:1]).all() | (answer[2] == 0))
        return Tensor._wrap(answer)


def gradients(t: Trainer, x: Any, y: Any) -> tuple[Any, Any]:
    """The loss of a batch and its scores; the gradients of the scaled loss are in the parameters."""
    t.optimizer.zero_grad()
    with precision(t, x):
        loss, scores = total_loss(t.loss, t.model(x), y)
    t.scaler.scale(loss).backward()
    return loss, scores


def precision(t: Trainer, x: Any) -> autocast:
    """The precision that the products of a batch like x are computed in."""
    return autocast(x.device.type, t.amp, enabled=t.amp is not None)


def learning(t: Trainer) -> list[Any]:
    """The parameters that the optimiser updates."""
    return [p for group in t.optimizer.param_groups for p in group["params"]]


def asked(t: Trainer, loss: Any, scores: Any, y: Any) -> Any:
    """The loss, the number of right answers, and whether all gradients are finite: float64 (3,) where they lie.

    All of a step that the host asks of a device, in one question: each would make it wait.
    """
    xp = loss._xp
    with on(loss.device):
        arrays = [p.grad._array for p in t.model.parameters() if p.grad is not None]
        finite = all_finite(arrays) if arrays else xp.isfinite(loss._array)
        right = (scores._array.argmax(1) == y._array).sum()
        return xp.stack([value.astype("float64") for value in (loss._array, right, finite)])
