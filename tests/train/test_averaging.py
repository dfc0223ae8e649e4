"""Runs whose weights are averaged: what is tested, kept and gone on with."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
import minidl.models
from minidl.data import DataLoader
from minidl.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from minidl.train import (
    CheckpointError,
    TrainConfig,
    Trainer,
    TrainingError,
    load_checkpoint,
    load_run,
    resume_run,
    start_run,
)
from minidl.train.metrics import evaluate
from tests.train.small_run import EPOCHS, data, outcome, trainer
from tests.train.test_resume import Stop, StopAfter


def averaging(folder: Path, **options: Any) -> Trainer:
    """The small run, which has batch norm and random layers, with an average that uses all it may."""
    run = trainer(folder, **options)
    average = AveragedModel(run.model, multi_avg_fn=get_ema_multi_avg_fn(0.9, warmup=True), use_buffers=True)
    return Trainer(
        run.model, run.optimizer, run.train_loader, run.test_loader, folder, scheduler=run.scheduler, averaged=average,
        display=run.display, save_every=run.save_every,
    )  # fmt: skip


def as_arrays(state: Any) -> dict[str, np.ndarray]:
    return {name: np.array(t.numpy() if isinstance(t, minidl.Tensor) else t) for name, t in state.items()}


def test_the_average_is_that_of_the_updates(tmp_path: Path) -> None:
    """Followed from outside, from the initial weights on: w = d w + (1 - d) weights, d = min(0.9, (1 + n)/(10 + n))."""
    run = averaging(tmp_path)
    wanted = as_arrays(run.model.state_dict())
    updates = 0

    class Follow(StopAfter):
        def batch(self, images: int, loss: float, accuracy: float) -> None:
            nonlocal updates
            updates += 1
            decay = min(0.9, (1 + updates) / (10 + updates))
            for name, value in as_arrays(run.model.state_dict()).items():
                wanted[name] = (wanted[name] * decay + value * (1 - decay)).astype(value.dtype)

    run.display = Follow()
    run.fit(2)
    assert run.averaged.n_averaged.item() == 1 + updates == 13
    got = as_arrays(run.averaged.module.state_dict())
    for name, value in wanted.items():
        np.testing.assert_allclose(got[name], value, rtol=2e-5, atol=1e-6, err_msg=name)
    assert any(np.abs(got[name] - value).max() > 1e-3 for name, value in as_arrays(run.model.state_dict()).items())


def test_the_average_is_what_is_tested_and_kept_as_best(tmp_path: Path) -> None:
    run = averaging(tmp_path)
    history = run.fit(1)
    loader = DataLoader(data(12), 5)
    loader.set_epoch(0)
    assert run.tested is run.averaged.module
    assert history[0]["test_loss"] == evaluate(run.averaged.module, loader).loss
    loader.set_epoch(0)
    assert history[0]["test_loss"] != evaluate(run.model, loader).loss
    best = load_checkpoint(tmp_path / "best.safetensors")["model"]
    for name, value in as_arrays(run.averaged.module.state_dict()).items():
        np.testing.assert_array_equal(best[name], value)
    assert run.model.training  # the trained one goes on in its mode


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("whole")
    averaging(folder).fit(EPOCHS)
    return outcome(folder)


@pytest.mark.parametrize("stop", [{"epochs": 1}, {"batches": 4}, {"batches": 9}])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(tmp_path: Path, whole: Any, stop: dict[str, int]) -> None:
    with pytest.raises(Stop):
        averaging(tmp_path, display=StopAfter(**stop), save_every=0).fit(EPOCHS)
    minidl.manual_seed(999)
    run = averaging(tmp_path)
    run.resume()
    run.fit(EPOCHS)
    assert outcome(tmp_path) == whole
    assert "averaged" in whole and whole["averaged"]["n_averaged"][2] == (1 + 3 * 6).to_bytes(8, "little")


def test_a_checkpoint_without_an_average_does_not_fit_and_changes_nothing(tmp_path: Path) -> None:
    trainer(tmp_path / "plain").fit(1)
    run = averaging(tmp_path / "own")
    before = as_arrays(run.averaged.state_dict())
    with pytest.raises(CheckpointError, match="does not fit this run: it lacks its entry 'averaged'"):
        run.load_state_dict(load_checkpoint(tmp_path / "plain" / "checkpoint.safetensors"))
    after = as_arrays(run.averaged.state_dict())
    assert all((after[name] == value).all() for name, value in before.items())


def test_by_name_and_after_a_resume(tmp_path: Path) -> None:
    """`minidl train ... --ema`: the run says so, its model is the average, and a stop in between changes no bit."""
    config = TrainConfig(data="digits", epochs=2, ema=0.99, batch_size=256, seed=3)
    start_run("mlp", config, tmp_path / "whole").fit(2)
    start_run("mlp", config, tmp_path / "parts").fit(1)
    trainer = resume_run(tmp_path / "parts")
    trainer.fit(2)
    whole, parts = (outcome(tmp_path / name) for name in ("whole", "parts"))
    assert whole == parts and "ema" in trainer.config["settings"]
    state = load_checkpoint(tmp_path / "whole" / "checkpoint.safetensors")
    loaded = as_arrays(load_run(tmp_path / "whole").model.state_dict())
    for name, value in loaded.items():
        np.testing.assert_array_equal(value, state["averaged"][f"module.{name}"])
    assert any((value != state["model"][name]).any() for name, value in loaded.items())


def test_a_decay_of_the_average_that_cannot_be_meant(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"--ema is a decay of at least 0 and below 1, such as 0\.9999, not 1\.0"):
        start_run("mlp", TrainConfig(ema=1.0), tmp_path)
