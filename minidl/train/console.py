"""What a run shows while it goes: a progress bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Protocol

from .metrics import accuracy_line, confusion_table, evaluate
from .plots import plot_confusion, plot_history


class Display(Protocol):
    """Told what happens; shows it or not."""

    def begin_epoch(self, epoch: int, epochs: int, batches: int, done: int) -> None: ...

    def batch(self, images: int, loss: float, accuracy: float) -> None: ...

    def end_epoch(self, row: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class SilentDisplay:
    """Shows nothing."""

    def begin_epoch(self, epoch: int, epochs: int, batches: int, done: int) -> None:
        """Nothing."""

    def batch(self, images: int, loss: float, accuracy: float) -> None:
        """Nothing."""

    def end_epoch(self, row: dict[str, Any]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def epoch_line(row: dict[str, Any], epochs: int) -> str:
    """One epoch in one line."""
    width = len(str(epochs))
    return (
        f"epoch {row['epoch']:{width}}/{epochs}  "
        f"train loss {row['train_loss']:.4f} accuracy {row['train_accuracy']:.2%}  "
        f"test loss {row['test_loss']:.4f} accuracy {row['test_accuracy']:.2%}  "
        f"{row['seconds']:.1f} s  {row['images_per_second']:,.0f} images/s"
    )


PATIENCE = 3.0  # seconds without a batch, after which the wait is explained


class ConsoleDisplay:
    """Lines of finished epochs, and below them, on a terminal, a bar of the whole run with rate and time left."""

    def __init__(self, console: Any) -> None:
        self.console = console
        self.epochs = 0
        self.progress: Any = None
        self.task: Any = None
        self.first_batch: threading.Timer | None = None

    def begin_epoch(self, epoch: int, epochs: int, batches: int, done: int) -> None:
        self.epochs = epochs
        if self.first_batch is None:
            self.first_batch = threading.Timer(PATIENCE, self._explain_the_wait)
            self.first_batch.daemon = True
            self.first_batch.start()
        if not self.console.is_terminal:
            return
        if self.progress is None:
            self.progress = self._start(total=epochs * batches, completed=epoch * batches + done)
        self.progress.update(self.task, description=f"epoch {epoch + 1}/{epochs}")

    def _explain_the_wait(self) -> None:
        self.console.print("the first batch also compiles the kernels, once on a machine; this can take a minute")

    def _start(self, total: int, completed: int) -> Any:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[state]}"),
            console=self.console,
            transient=True,
        )
        progress.start()
        self.task = progress.add_task("", total=total, completed=completed, rate="", state="")
        return progress

    def batch(self, images: int, loss: float, accuracy: float) -> None:
        if self.first_batch is not None:
            self.first_batch.cancel()
        if self.progress is None:
            return
        speed = self.progress.tasks[0].speed  # batches a second
        rate = "" if speed is None else f"{speed * images:,.0f} images/s"
        self.progress.update(self.task, advance=1, rate=rate, state=f"loss {loss:.4f} accuracy {accuracy:.2%}")

    def end_epoch(self, row: dict[str, Any]) -> None:
        self.console.print(epoch_line(row, self.epochs), highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take the bar away (also after an error)."""
        if self.first_batch is not None:
            self.first_batch.cancel()
        if self.progress is not None:
            self.progress.stop()
            self.progress = None


def report(trainer: Any, console: Any) -> None:
    """The end of a run: confusion matrix, plots, test accuracy, and where everything lies."""
    folder = Path(trainer.folder)
    names = trainer.config["classes"]
    result = evaluate(trainer.tested, trainer.test_loader, len(names))
    title = f"{trainer.config['model']} on {trainer.config['settings']['data']}"
    console.print(confusion_table(result, names))
    try:
        plot_history(trainer.history, folder / "curves.png", title)
        plot_confusion(result.confusion, names, folder / "confusion.png", f"{title}: {result.accuracy:.2%}")
    except ImportError as error:
        console.print(f"no plots were drawn: {error}", highlight=False, soft_wrap=True)
    seconds = sum(row["seconds"] for row in trainer.history)
    console.print(
        f"{accuracy_line(result)}, after {trainer.epoch} "
        f"epoch{'s' if trainer.epoch != 1 else ''} of {seconds:.0f} s in all. The run is in {folder}",
        highlight=False,
        soft_wrap=True,
    )
