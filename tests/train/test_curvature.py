"""Runs with stochastic diagonal Levenberg-Marquardt: what they measure, when, and that they go on as they were."""

from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.data import ArrayDataset
from minidl.nn.functional import cross_entropy
from minidl.optim import DiagonalLM, diagonal_curvature
from minidl.train import TrainConfig, TrainingError, complete, load_checkpoint, resume_run, start_run
from minidl.train.curvature import CurvatureBefore

SMALL = TrainConfig(
    data="digits", epochs=2, batch_size=200, optimizer="diagonal_lm", lr=1e-3, loss="map", rubbish_penalty=3.0,
    augment="shift", seed=4,
)  # fmt: skip


def test_it_measures_some_of_the_images_and_others_in_the_next_epoch() -> None:
    rng = np.random.default_rng(0)
    data = ArrayDataset(rng.standard_normal((30, 4)).astype(np.float32), rng.integers(0, 3, 30))
    net = nn.Linear(4, 3)
    rule = DiagonalLM(net.parameters())

    def after(epoch: int, seed: int = 5, samples: int = 10) -> np.ndarray:
        CurvatureBefore(net, rule, cross_entropy, data, seed, samples)(epoch)
        return rule.state[net.weight]["curvature"].copy()

    first = after(0)
    np.testing.assert_array_equal(first, after(0))
    assert not np.allclose(first, after(1)) and not np.allclose(first, after(0, seed=6))
    everything = after(0, samples=500)  # all 30; one layer needs no random signs
    x, y = (minidl.tensor(np.stack(part)) for part in zip(*(data[i] for i in range(30)), strict=True))
    wanted = diagonal_curvature(net, cross_entropy, x, y, rule.parameters())[0]
    np.testing.assert_allclose(everything, wanted, rtol=1e-5)


def weights(folder: Path) -> dict[str, np.ndarray]:
    return {
        name: np.asarray(value) for name, value in load_checkpoint(folder / "checkpoint.safetensors")["model"].items()
    }


def test_a_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = start_run("mlp", SMALL, tmp_path / "whole").fit(2)
    start_run("mlp", SMALL, tmp_path / "parts").fit(1)
    parts = resume_run(tmp_path / "parts").fit(2)
    for a, b in zip(whole, parts, strict=True):
        assert (a["train_loss"], a["test_loss"]) == (b["train_loss"], b["test_loss"])
    for name, value in weights(tmp_path / "whole").items():
        np.testing.assert_array_equal(value, weights(tmp_path / "parts")[name], err_msg=name)


def test_a_run_that_was_stopped_in_an_epoch_keeps_what_was_measured_before_it(tmp_path: Path) -> None:
    trainer = start_run("mlp", SMALL, tmp_path / "a", save_every=0.0)
    trainer.fit(1)
    state = load_checkpoint(tmp_path / "a" / "checkpoint.safetensors")
    again = resume_run(tmp_path / "a")
    seen = []
    again.before_epoch = seen.append
    again.train_loader.load_state_dict(again.train_loader.state_dict() | {"position": 3})
    again.fit(2)
    assert seen == []  # three batches of the epoch were behind it
    for p, entry in again.optimizer.state.items():
        assert entry["curvature"].shape == p.shape
    assert any("curvature" in str(key) for entry in state["optimizer"]["state"].values() for key in entry)


def test_what_does_not_go_together() -> None:
    with pytest.raises(
        TrainingError, match="--label-smoothing changes the targets of --loss cross_entropy, and map has"
    ):
        complete("mlp", TrainConfig(loss="map", label_smoothing=0.1))
    with pytest.raises(
        TrainingError, match="--amp scales gradients, which diagonal_lm compares with a curvature: train"
    ):
        complete("mlp", TrainConfig(optimizer="diagonal_lm", amp=True))
    assert "rubbish_penalty" not in complete("mlp", TrainConfig()).in_use()
    assert complete("mlp", TrainConfig(loss="map")).in_use()["rubbish_penalty"] == 0.1
