"""The loop: what stops it, what it shows and writes."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn, optim
from minidl.data import ArrayDataset, DataLoader
from minidl.train import Interrupted, Trainer, TrainingError, load_checkpoint
from minidl.train.console import ConsoleDisplay, SilentDisplay, epoch_line
from tests.train.small_run import data, network, trainer


class LogOfZero(nn.Module):
    """Fine in the first epoch, log(0) from the call number ``bad`` on."""

    def __init__(self, bad: int) -> None:
        super().__init__()
        self.calls, self.bad = 0, bad

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        self.calls += self.training
        return x + (x * 0).log() if self.calls >= self.bad else x


class RootOfZero(nn.Module):
    """Finite itself, but with an infinite gradient."""

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return x + (x * 0).sqrt()


def with_layer(layer: nn.Module, folder: Path) -> Trainer:
    minidl.manual_seed(1)
    net = nn.Sequential(*network(), layer)
    loader = DataLoader(data(), 8, shuffle=True)
    return Trainer(net, optim.SGD(net.parameters(), lr=0.01), loader, DataLoader(data(12), 5), folder)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy notices it, too
def test_nan_stops_with_the_name_of_the_first_operation(tmp_path: Path) -> None:
    run = with_layer(LogOfZero(bad=9), tmp_path)
    with pytest.raises(TrainingError) as error:
        run.fit(3)
    text = str(error.value)
    assert text.startswith("epoch 2, batch 3: the loss is nan. 'log' produced -inf at [0, 0] of result, shape (8, 3)")
    assert text.endswith("A smaller learning rate (--lr) is the usual cure. The last checkpoint is as it was")
    state = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert state["epoch"] == 1 and all(np.isfinite(a).all() for a in state["model"].values())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_infinite_gradient_stops_before_the_weights_are_spoiled(tmp_path: Path) -> None:
    run = with_layer(RootOfZero(), tmp_path)
    with pytest.raises(TrainingError, match=r"(?s)epoch 1, batch 1: the gradient of 0\.weight, .* is not finite\. "
                       r"in the backward pass of 'sqrt'"):  # fmt: skip
        run.fit(1)
    assert all(p.isfinite().all().item() for p in run.model.parameters())


class Disturb(SilentDisplay):
    """Sends signals to its own process after so many batches."""

    def __init__(self, after: int, *numbers: int) -> None:
        self.left, self.numbers = after, numbers

    def batch(self, images: int, loss: float, accuracy: float) -> None:
        self.left -= 1
        if self.left == 0:
            for number in self.numbers:
                signal.raise_signal(number)


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGINT, "stopped by Ctrl-C"), (signal.SIGTERM, "stopped by SIGTERM")]
)
def test_a_signal_saves_after_the_batch_and_says_how_to_go_on(tmp_path: Path, number: int, reason: str) -> None:
    before = signal.getsignal(number)
    run = trainer(tmp_path, display=Disturb(8, number))
    with pytest.raises(Interrupted) as stop:
        run.fit(3)
    expected = f"{reason}: saved after epoch 1 and 16 images of the next. Go on with: minidl train --resume {tmp_path}"
    assert str(stop.value) == expected
    assert load_checkpoint(tmp_path / "checkpoint.safetensors")["loader"]["position"] == 2
    assert signal.getsignal(number) is before
    run.fit(3)  # also in the same process
    assert [row["epoch"] for row in run.history] == [1, 2, 3]


def test_at_the_end_of_an_epoch_nothing_is_said_of_the_next(tmp_path: Path) -> None:
    class AtTheEnd(SilentDisplay):
        def end_epoch(self, row: dict[str, Any]) -> None:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match=r"stopped by Ctrl-C: saved after epoch 1\. Go on with"):
        trainer(tmp_path, display=AtTheEnd()).fit(3)


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    run = trainer(tmp_path, display=Disturb(2, signal.SIGINT, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt) as stop:
        run.fit(1)
    assert not isinstance(stop.value, Interrupted)


def test_the_files_of_a_run(tmp_path: Path) -> None:
    run = trainer(tmp_path, config={"model": "small"})
    history = run.fit(3)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows == history
    assert set(rows[0]) == {
        "epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds", "images_per_second",
    }  # fmt: skip
    best = load_checkpoint(tmp_path / "best.safetensors")
    accuracies = [row["test_accuracy"] for row in history]
    assert best["epoch"] == 1 + accuracies.index(max(accuracies)) and best["config"] == {"model": "small"}
    assert sorted(os.listdir(tmp_path)) == ["best.safetensors", "checkpoint.safetensors", "metrics.jsonl"]


def test_loss_and_accuracy_of_an_epoch_are_means_over_images_not_batches(tmp_path: Path) -> None:
    """With a learning rate of 0 they are those of one fixed model; 44 images make five batches of 8 and one of 4."""
    minidl.manual_seed(2)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    plain = ArrayDataset(*data().arrays)
    loader = DataLoader(plain, 8, shuffle=True)
    history = Trainer(net, optim.SGD(net.parameters(), lr=0.0), loader, DataLoader(plain, 7), tmp_path).fit(1)
    images, labels = (minidl.tensor(a) for a in plain.arrays)
    scores = net(images)
    assert history[0]["train_loss"] == pytest.approx(nn.functional.cross_entropy(scores, labels).item(), rel=1e-5)
    assert history[0]["train_accuracy"] == (scores.argmax(1) == labels).numpy().mean()
    assert history[0]["test_loss"] == pytest.approx(history[0]["train_loss"], rel=1e-5)
    assert history[0]["test_accuracy"] == history[0]["train_accuracy"]


ROW = {
    "epoch": 3, "lr": 0.1, "train_loss": 0.5, "train_accuracy": 0.75, "test_loss": 0.25, "test_accuracy": 0.9125,
    "seconds": 2.04, "images_per_second": 12345.6,
}  # fmt: skip


def test_a_line_an_epoch() -> None:
    assert epoch_line(ROW, 20) == (
        "epoch  3/20  train loss 0.5000 accuracy 75.00%  test loss 0.2500 accuracy 91.25%  2.0 s  12,346 images/s"
    )


def test_without_a_terminal_there_are_lines_only(tmp_path: Path) -> None:
    from rich.console import Console

    console = Console(width=60, force_terminal=False)
    with console.capture() as capture:
        trainer(tmp_path, display=ConsoleDisplay(console)).fit(2)
    lines = capture.get().splitlines()
    assert len(lines) == 2 and lines[0].startswith("epoch 1/2  train loss") and lines[1].startswith("epoch 2/2")


def test_on_a_terminal_there_is_a_bar_with_rate_and_time(tmp_path: Path) -> None:
    from rich.console import Console

    console = Console(width=120, force_terminal=True)
    display = ConsoleDisplay(console)
    with console.capture() as capture:
        trainer(tmp_path, display=display).fit(2)
    text = capture.get()
    assert "epoch 2/2" in text and "━" in text and "loss" in text and "accuracy" in text and "0:00:0" in text
    assert display.progress is None


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_bar_goes_away_when_the_run_fails(tmp_path: Path) -> None:
    from rich.console import Console

    display = ConsoleDisplay(Console(force_terminal=True, quiet=True))
    run = with_layer(LogOfZero(bad=2), tmp_path)
    run.display = display
    with pytest.raises(TrainingError):
        run.fit(1)
    assert display.progress is None


def test_mixed_precision_learns_and_leaves_out_what_overflows(tmp_path) -> None:
    """Digits of four classes: as far as in float32; a scale that is too large halves until the gradients fit."""
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((4, 6)).astype("float32") * 2
    y = np.arange(64) % 4
    data = minidl.data.ArrayDataset(centres[y] + rng.standard_normal((64, 6)).astype("float32") / 2, y)
    accuracies = {}
    for amp in (None, "bfloat16", "float16"):
        minidl.manual_seed(0)
        model = minidl.nn.Sequential(minidl.nn.Linear(6, 8), minidl.nn.ReLU(), minidl.nn.Linear(8, 4))
        loaders = [minidl.data.DataLoader(data, 16) for _ in range(2)]
        sgd = minidl.optim.SGD(model.parameters(), lr=0.2)
        trainer = Trainer(model, sgd, *loaders, tmp_path / str(amp), amp=amp, clip=5.0)
        if amp == "float16":
            trainer.scaler._scale = 2.0**18
        accuracies[amp] = trainer.fit(6)[-1]["test_accuracy"]
        state = trainer.state_dict()
        assert ("scaler" in state) == (amp == "float16")
    assert min(accuracies.values()) >= accuracies[None] - 0.02 > 0.9
    assert trainer.scaler.get_scale() < 2.0**18, "steps with infinite gradients were left out"
    again = Trainer(model, sgd, *loaders, tmp_path / "float16", amp="float16")
    again.resume()
    assert again.scaler.state_dict() == trainer.scaler.state_dict()
