"""A run that stopped anywhere goes on to the same bits as one that did not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.train import CheckpointError
from minidl.train.console import SilentDisplay
from tests.train.small_run import EPOCHS, as_bytes, outcome, read_metrics, trainer

BATCHES = 6  # an epoch


class Stop(Exception):
    pass


class StopAfter(SilentDisplay):
    """Ends the run after so many batches (of this process) or epochs."""

    def __init__(self, batches: int = -1, epochs: int = -1) -> None:
        self.left = {"batches": batches, "epochs": epochs}

    def _count(self, what: str) -> None:
        self.left[what] -= 1
        if self.left[what] == 0:
            raise Stop

    def batch(self, images: int, loss: float, accuracy: float) -> None:
        self._count("batches")

    def end_epoch(self, row: dict[str, Any]) -> None:
        self._count("epochs")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Outcomes by (optimizer, schedule), computed once each."""
    known: dict[tuple[str, str], dict[str, Any]] = {}

    def get(optimizer: str = "adam", schedule: str = "cosine") -> dict[str, Any]:
        key = optimizer, schedule
        if key not in known:
            folder = tmp_path_factory.mktemp("whole")
            trainer(folder, optimizer=optimizer, schedule=schedule).fit(EPOCHS)
            known[key] = outcome(folder)
        return known[key]

    return get


def interrupted(folder: Path, stop: StopAfter, **options: Any) -> None:
    with pytest.raises(Stop):
        trainer(folder, display=stop, **options).fit(EPOCHS)


def go_on(folder: Path, **options: Any) -> None:
    minidl.manual_seed(999)  # whatever another process would have drawn
    run = trainer(folder, **options)
    run.resume()
    run.fit(EPOCHS)


def test_the_run_is_deterministic_and_not_trivial(tmp_path: Path, uninterrupted: Any) -> None:
    history = trainer(tmp_path).fit(EPOCHS)
    assert outcome(tmp_path) == uninterrupted()
    assert history[-1]["train_loss"] < history[0]["train_loss"] - 0.05
    assert [row["epoch"] for row in read_metrics(tmp_path)] == [1, 2, 3]
    rates = [row["lr"] for row in history]
    assert rates[0] == 0.01 and rates == sorted(rates, reverse=True) and rates[2] == pytest.approx(0.0025)


@pytest.mark.parametrize(("optimizer", "schedule"), [("adam", "cosine"), ("sgd", "plateau"), ("rmsprop", "cosine")])
@pytest.mark.parametrize("workers", [(0, 0), (0, 2), (3, 1)])
def test_from_the_end_of_an_epoch(
    tmp_path: Path, uninterrupted: Any, optimizer: str, schedule: str, workers: tuple[int, int]
) -> None:
    kind = {"optimizer": optimizer, "schedule": schedule}
    interrupted(tmp_path, StopAfter(epochs=2), workers=workers[0], **kind)
    go_on(tmp_path, workers=workers[1], **kind)
    assert outcome(tmp_path) == uninterrupted(optimizer, schedule)


@pytest.mark.parametrize("batches", [1, 4, BATCHES, BATCHES + 1, 2 * BATCHES + 5])
@pytest.mark.parametrize("workers", [(0, 0), (2, 0), (0, 2)])
def test_from_the_middle_of_an_epoch(
    tmp_path: Path, uninterrupted: Any, batches: int, workers: tuple[int, int]
) -> None:
    """The batch whose display fails is not in a checkpoint yet, the one before is."""
    interrupted(tmp_path, StopAfter(batches), workers=workers[0], save_every=0)
    before = trainer(tmp_path)
    before.resume()
    position = before.train_loader.state_dict()["position"]
    assert (before.epoch * BATCHES + position) == batches - 1
    go_on(tmp_path, workers=workers[1])
    assert outcome(tmp_path) == uninterrupted()


def test_again_and_again(tmp_path: Path, uninterrupted: Any) -> None:
    stops = 0
    while True:
        run = trainer(tmp_path, workers=stops % 3, display=StopAfter(4), save_every=0)
        if (tmp_path / "checkpoint.safetensors").exists():
            run.resume()
        try:
            run.fit(EPOCHS)
            break
        except Stop:
            stops += 1
    assert stops >= 5
    assert outcome(tmp_path) == uninterrupted()


def test_more_epochs_than_planned(tmp_path: Path) -> None:
    trainer(tmp_path).fit(2)
    go_on(tmp_path)
    assert [row["epoch"] for row in read_metrics(tmp_path)] == [1, 2, 3]


def test_metrics_that_were_written_after_the_checkpoint_are_taken_back(tmp_path: Path, uninterrupted: Any) -> None:
    interrupted(tmp_path, StopAfter(epochs=1))
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 2, "half a line')
    go_on(tmp_path)
    assert outcome(tmp_path) == uninterrupted()


SPOILED: dict[str, tuple[Any, str]] = {
    "no scheduler entry": (lambda s: s.pop("scheduler"), "it lacks its entry 'scheduler'"),
    "a parameter is missing": (lambda s: s["model"].pop("5.bias"), "1 missing"),
    "another shape": (lambda s: s["model"].update({"0.weight": minidl.zeros(3, 1, 2, 2)}), "1 of another shape"),
    "moments of another shape": (lambda s: s["optimizer"]["state"][0].update(exp_avg=np.zeros(7)), r"shape \(7,\)"),
    "no parameter groups": (
        lambda s: s["optimizer"].pop("param_groups"),
        "not the state of an optimiser: param_groups missing",
    ),
    "another batch size": (lambda s: s["loader"].update(batch_size=9), "batch_size=9"),
    "another order": (lambda s: s["loader"].update(position=2, order_crc32=1), "the order of epoch"),
    "no random state": (lambda s: s.update(random={"state": "garbage"}), ""),
    "a list for a dictionary": (lambda s: s.update(model=[1, 2]), "needs a mapping"),
    "no sums": (lambda s: s.update(sums=None), ""),
}


def test_a_checkpoint_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.fit(1)
    for spoil, (change, message) in SPOILED.items():
        state = run.state_dict()
        state["model"] = {k: v.detach().clone() * 2 for k, v in run.model.state_dict().items()}
        change(state)
        before = snapshot(run)
        with pytest.raises(CheckpointError, match="(?s)the checkpoint does not fit this run: .*" + message):
            run.load_state_dict(state)
        assert snapshot(run) == before, spoil
    run.fit(2)  # and it still works


def snapshot(run: Any) -> Any:
    state = run.state_dict()
    state["model"] = {k: v.detach().numpy() for k, v in state["model"].items()}
    return as_bytes(state)
