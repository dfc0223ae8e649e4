"""The training loop: epochs, evaluation, metrics, checkpoints, and going on exactly where it stopped."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from .. import no_grad, random
from ..amp import GradScaler
from ..backend import CPU
from ..data.ahead import moved
from ..io import atomic_write
from ..nn.functional import cross_entropy
from .checkpoint import load_checkpoint, save_checkpoint
from .console import Display, SilentDisplay
from .errors import CheckpointError, Interrupted, TrainingError
from .losses import total_loss
from .metrics import evaluate
from .steps import CapturedStep, PlainStep, precision

CHECKPOINT = "checkpoint.safetensors"
BEST = "best.safetensors"
METRICS = "metrics.jsonl"


class Trainer:
    """Trains a classifier and keeps its run in a folder.

    ``train_loader`` and ``test_loader`` are :class:`minidl.data.DataLoader` of (images, class numbers).
    ``scheduler.step()`` is called after each epoch (with the test loss, if it is ReduceLROnPlateau), or with
    ``each_step`` after each update.  ``clip`` is the largest norm of all gradients together; 0 lets them be.  A model
    may have auxiliary heads (:func:`minidl.train.losses.total_loss`), and a method ``set_progress``, which is told
    before each update how much of the training is over, between 0 and 1.  ``amp`` "float16" or "bfloat16" computes
    products in that precision (:class:`minidl.autocast`); with float16 the loss is scaled, and an update by gradients
    that are not finite is left out (:class:`minidl.GradScaler`).  With ``graph`` a step of a whole batch is recorded on
    the CUDA device after three that run as they are, and from then on launched as one (:func:`minidl.cuda.graph_step`);
    the losses are the same.

    ``averaged`` is an :class:`minidl.optim.swa_utils.AveragedModel` of the model: it takes in the weights of every
    update, is tested, and kept as best.  ``after_update()`` may change weights after an update, ``before_epoch(epoch)``
    the optimiser before an epoch (counted from 0; not when a run goes on in the middle of one).  ``views(model)``
    is what tests look with, such as :class:`minidl.train.crops.TenCrops`.  ``fitted`` are arrays
    that belong to the run and do not change, such as what images are whitened with; checkpoints hold them.

    In ``folder``: ``checkpoint.safetensors`` (the whole state, after each epoch and every ``save_every`` seconds),
    ``best.safetensors`` (the weights with the best test accuracy), ``metrics.jsonl`` (a line an epoch).

    A run that is resumed from its checkpoint goes on bit for bit as if it had not stopped: weights, optimiser,
    schedule, order of the data, random numbers and the metrics that are written.

    >>> import tempfile
    >>> import minidl
    >>> import numpy as np
    >>> data = minidl.data.ArrayDataset(np.eye(4, dtype=np.float32), np.arange(4))
    >>> loader, model = minidl.data.DataLoader(data, batch_size=2), minidl.nn.Linear(4, 4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     history = Trainer(model, minidl.optim.SGD(model.parameters(), lr=5.0), loader, loader, folder).fit(9)
    >>> len(history), history[-1]["test_accuracy"]
    (9, 1.0)
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        train_loader: Any,
        test_loader: Any,
        folder: str | os.PathLike[str],
        *,
        scheduler: Any = None,
        loss: Callable[[Any, Any], Any] = cross_entropy,
        save_every: float = 60.0,
        clip: float = 0.0,
        each_step: bool = False,
        amp: str | None = None,
        graph: bool = False,
        display: Display | None = None,
        config: dict[str, Any] | None = None,
        averaged: Any = None,
        after_update: Callable[[], None] | None = None,
        before_epoch: Callable[[int], None] | None = None,
        views: Callable[[Any], Any] | None = None,
        fitted: dict[str, Any] | None = None,
    ) -> None:
        self.model, self.optimizer, self.scheduler, self.loss = model, optimizer, scheduler, loss
        self.train_loader, self.test_loader = train_loader, test_loader
        self.folder = Path(folder)
        self.save_every, self.clip, self.each_step = save_every, clip, each_step
        self.amp, self.scaler = amp, GradScaler(enabled=amp == "float16")
        self.step = CapturedStep(self) if graph else PlainStep(self)
        self.display: Display = display or SilentDisplay()
        self.config = config or {}
        self.averaged, self.after_update, self.before_epoch = averaged, after_update, before_epoch
        self.views, self.fitted = views, fitted or {}
        if averaged is not None and not averaged.n_averaged.item():
            averaged.update_parameters(model)  # the average begins with the initial weights
        self.epoch = 0  # epochs completed
        self.history: list[dict[str, Any]] = []
        self._sums = {"loss": 0.0, "correct": 0, "seen": 0, "seconds": 0.0}  # of the epoch that is under way
        self._stop: str | None = None

    @property
    def tested(self) -> Any:
        """The model that is evaluated and kept: the averaged one, where weights are averaged."""
        return self.model if self.averaged is None else self.averaged.module

    # ---- state ------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        return {
            "config": self.config,
            "epoch": self.epoch,
            "history": self.history,
            "sums": dict(self._sums),
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "loader": self.train_loader.state_dict(),
            "random": random.get_rng_state(),
            "generators": {name: generator.get_state() for name, generator in self._generators()},
            **({"scaler": self.scaler.state_dict()} if self.scaler.is_enabled() else {}),
            **({} if self.averaged is None else {"averaged": dict(self.averaged.state_dict())}),
            **({"fitted": self.fitted} if self.fitted else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`.  CheckpointError where it does not fit; then nothing has changed."""
        before = self.state_dict()
        for name in {"model", "averaged"} & before.keys():
            before[name] = {key: t.detach().clone() for key, t in before[name].items()}
        try:
            self._put(state)
        except Exception as error:  # the state came from a file, and may hold anything
            self._put(before)
            what = f"it lacks its entry {error}" if isinstance(error, KeyError) else str(error)
            raise CheckpointError(f"the checkpoint does not fit this run: {what}") from error

    def _put(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None and state["scheduler"] is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self.train_loader.load_state_dict(state["loader"])
        random.set_rng_state(state["random"])
        saved = state.get("generators", {})  # which older checkpoints lack
        for name, generator in self._generators():
            if name in saved:
                generator.set_state(saved[name])
        if "scaler" in state:
            self.scaler.load_state_dict(state["scaler"])
        self.epoch, self.history, self._sums = int(state["epoch"]), list(state["history"]), dict(state["sums"])

    def _generators(self) -> list[tuple[str, random.Generator]]:
        """Random generators that modules have of their own, as dropout can, by the place where they are kept."""
        return [
            (f"{path}.{name}".strip("."), value)
            for path, module in self.model.named_modules()
            for name, value in vars(module).items()
            if isinstance(value, random.Generator)
        ]

    def save(self) -> None:
        """Write the checkpoint; the old one stays until the new one is complete."""
        self.folder.mkdir(parents=True, exist_ok=True)
        save_checkpoint(self.folder / CHECKPOINT, self.state_dict())
        self._saved_at = time.monotonic()

    def resume(self) -> None:
        """Load the checkpoint of the folder."""
        self.load_state_dict(load_checkpoint(self.folder / CHECKPOINT))

    # ---- the loop ---------------------------------------------------------------------------------------------

    def fit(self, epochs: int) -> list[dict[str, Any]]:
        """Train until ``epochs`` epochs are complete; returns the history, one dictionary an epoch.

        Ctrl-C (and SIGTERM) finish the batch, save, and raise Interrupted.  A loss that is not finite raises
        TrainingError with the name of the operation that produced it first.
        """
        self.save()
        self._write_metrics()
        try:
            with _Signals(self):
                while self.epoch < epochs:
                    self._one_epoch(epochs)
                    self._check_stop()
        finally:
            self.display.close()
        return self.history

    def _one_epoch(self, epochs: int) -> None:
        self.model.train()
        loader = self.train_loader
        loader.set_epoch(self.epoch)
        done = loader.state_dict()["position"]
        self.display.begin_epoch(self.epoch, epochs, len(loader), done)
        started, before = time.perf_counter(), self._sums["seconds"]
        if self.before_epoch is not None and not done:
            self.before_epoch(self.epoch)
        for number, (x, y) in enumerate(loader, done):
            if hasattr(self.model, "set_progress"):
                self.model.set_progress((self.epoch + number / len(loader)) / epochs)
            loss, correct = self._step(x, y)
            if self.after_update is not None:
                self.after_update()
            if self.averaged is not None:
                self.averaged.update_parameters(self.model)
            self._sums["loss"] += loss * len(y)
            self._sums["correct"] += correct
            self._sums["seen"] += len(y)
            self._sums["seconds"] = before + time.perf_counter() - started
            seen = self._sums["seen"]
            self.display.batch(len(y), self._sums["loss"] / seen, self._sums["correct"] / seen)
            if self._stop is not None or time.monotonic() - self._saved_at > self.save_every:
                self.save()
                self._check_stop()
        self._finish_epoch()

    def _step(self, x: Any, y: Any) -> tuple[float, int]:
        """One update; the loss, and how many answers were right before it."""
        with random.Drawn() as drawn:
            value, correct, finite, scale = self.step(x, y)
        scaled_too_far = not finite and scale > 1
        if not math.isfinite(value) or not (finite or scaled_too_far):
            self._explain(x, y, drawn, value)
        if self.scheduler is not None and self.each_step:
            self.scheduler.step()
        return value, int(correct)

    def _bad_gradients(self) -> list[str]:
        parameters = self.model.named_parameters()
        return [name for name, p in parameters if p.grad is not None and not p.grad.isfinite().all().item()]

    def _explain(self, x: Any, y: Any, drawn: random.Drawn, value: float) -> None:
        """Run the batch once more, watched, and stop with the first operation that left the finite numbers."""
        from ..autograd import AnomalyError, detect_anomaly

        what = f"the loss is {value}"
        if math.isfinite(value):
            what = f"the gradient of {', '.join(self._bad_gradients())} is not finite"
        where = f"epoch {self.epoch + 1}, batch {self.train_loader.state_dict()['position']}: {what}"
        cure = "A smaller learning rate (--lr) is the usual cure. The last checkpoint is as it was"
        drawn.rewind()
        self.optimizer.zero_grad()
        if y.is_cuda:  # there a loss does not look at class numbers; on the CPU it says what is wrong with them
            with no_grad():
                total_loss(self.loss, moved(self.model(x), CPU), y.cpu())
            drawn.rewind()
        try:
            with detect_anomaly():
                with precision(self, x):
                    loss, _ = total_loss(self.loss, self.model(x), y)
                loss.backward()
        except AnomalyError as error:
            raise TrainingError(f"{where}. {error}. {cure}") from error
        raise TrainingError(f"{where}, but no single operation left the finite numbers when it was run again. {cure}")

    def _finish_epoch(self) -> None:
        self.test_loader.set_epoch(self.epoch)  # in case the test data has random changes, too
        test = evaluate(self.tested if self.views is None else self.views(self.tested), self.test_loader)
        seen = self._sums["seen"]
        row = {
            "epoch": self.epoch + 1,
            "lr": self.optimizer.param_groups[0]["lr"],
            "train_loss": self._sums["loss"] / seen if seen else math.nan,
            "train_accuracy": self._sums["correct"] / seen if seen else math.nan,
            "test_loss": test.loss,
            "test_accuracy": test.accuracy,
            "seconds": round(self._sums["seconds"], 3),
            "images_per_second": round(seen / self._sums["seconds"], 1) if self._sums["seconds"] else 0.0,
        }
        best = max((r["test_accuracy"] for r in self.history), default=-1.0)
        self.history.append(row)
        self.epoch += 1
        self._sums = {"loss": 0.0, "correct": 0, "seen": 0, "seconds": 0.0}
        if self.scheduler is not None and not self.each_step:
            if hasattr(self.scheduler, "num_bad_epochs"):
                self.scheduler.step(test.loss)
            else:
                self.scheduler.step()
        if test.accuracy > best:
            state = {"config": self.config, "epoch": self.epoch, "model": dict(self.tested.state_dict())}
            save_checkpoint(self.folder / BEST, state | ({"fitted": self.fitted} if self.fitted else {}))
        self.save()
        self._write_metrics()
        self.display.end_epoch(row)

    def _write_metrics(self) -> None:
        """The whole file anew from the history, so that it always fits the checkpoint."""
        with atomic_write(self.folder / METRICS, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in self.history)

    def _check_stop(self) -> None:
        if self._stop is not None:
            reason, self._stop = self._stop, None
            raise Interrupted(
                f"{reason}: saved after epoch {self.epoch}"
                + (f" and {self._sums['seen']} images of the next" if self._sums["seen"] else "")
                + f". Go on with: minidl train --resume {self.folder}"
            )


class _Signals:
    """Turns Ctrl-C and SIGTERM into a wish to stop after the batch; a second Ctrl-C stops at once."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():  # only there can handlers be set
            for number in (signal.SIGINT, signal.SIGTERM):
                self.before[number] = signal.signal(number, self.handle)

    def handle(self, number: int, frame: FrameType | None) -> None:
        if self.trainer._stop is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.trainer._stop = "stopped by Ctrl-C" if number == signal.SIGINT else "stopped by SIGTERM"

    def __exit__(self, *exc: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
