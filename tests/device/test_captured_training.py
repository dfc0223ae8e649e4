"""`minidl train --graph`: steps as captured graphs give the history of steps that run operation by operation."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn, optim
from minidl.__main__ import main
from minidl.data import ArrayDataset, DataLoader
from minidl.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from minidl.train import Trainer, TrainingError
from tests.standin import TRAFFIC

EMULATED = True


def trainer(folder: Path, device: str = "cuda", make: Any = None, model: Any = None, **options: Any) -> Trainer:
    """Five batches of four and one of two in an epoch; with dropout, running statistics and a schedule."""
    rng = np.random.default_rng(4)
    data = ArrayDataset(rng.standard_normal((22, 5)).astype("float32"), rng.integers(0, 3, 22))
    minidl.manual_seed(6)
    layers = [nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.25), nn.Linear(6, 3)]
    net = (model or nn.Sequential(*layers)).to(device)
    optimiser = (make or (lambda p: optim.SGD(p, lr=0.2, momentum=0.9)))(net.parameters())
    loaders = [DataLoader(data, 4, shuffle=i == 0, device=device) for i in range(2)]
    schedule = optim.lr_scheduler.ExponentialLR(optimiser, 0.9)
    return Trainer(net, optimiser, *loaders, folder, scheduler=schedule, each_step=True, **options)


RUNS: dict[str, dict[str, Any]] = {
    "sgd, clipped": {"clip": 0.5},
    "adam": {"make": lambda p: optim.Adam(p, lr=0.02)},
    "float16": {"amp": "float16", "make": lambda p: optim.AdamW(p, lr=0.02)},
}


@pytest.mark.parametrize("name", RUNS)
def test_the_history_is_that_of_single_operations(name: str, cupy: Any, tmp_path: Path) -> None:
    runs = []
    for graph in (False, True):
        runs.append(trainer(tmp_path / str(graph), graph=graph, **RUNS[name]))
        runs[-1].fit(2)
    for a, b in zip(*(run.history for run in runs), strict=True):
        for key in ("lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy"):
            assert b[key] == pytest.approx(a[key], rel=1e-6), key
    plain, captured = (run.state_dict() for run in runs)
    for a, b in zip(plain["model"].values(), captured["model"].values(), strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy(), 1e-5, 1e-6)
    assert plain.get("scaler") == captured.get("scaler")
    for a, b in zip(plain["optimizer"]["state"].values(), captured["optimizer"]["state"].values(), strict=True):
        assert a.get("step") == b.get("step")
    (recorded,) = runs[1].step.launch._recorded.values()
    if cupy.__version__.endswith("standin"):
        assert recorded.graph.launches == 7, "of ten whole batches three ran as they are; the small ones always do"


def test_launched_updates_are_averaged_too(tmp_path: Path, cupy: Any) -> None:
    averages = []
    for graph in (False, True):
        run = trainer(tmp_path / str(graph), graph=graph)
        run.averaged = AveragedModel(run.model, multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True)
        run.averaged.update_parameters(run.model)
        run.fit(2)
        averages.append((run.averaged.state_dict(), [row["test_loss"] for row in run.history]))
    assert averages[0][0]["n_averaged"].item() == averages[1][0]["n_averaged"].item() == 13
    assert averages[1][1] == pytest.approx(averages[0][1], rel=1e-6)
    for a, b in zip(*(average.values() for average, _ in averages), strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy(), 1e-5, 1e-6)


def test_a_launched_step_asks_once(cupy: Any, tmp_path: Path) -> None:
    run = trainer(tmp_path, graph=True, amp="float16")
    batches = list(run.train_loader)[:5]
    for x, y in batches:
        run._step(x, y)
    with TRAFFIC.counted() as seen:
        run._step(*batches[0])
    if cupy.__version__.endswith("standin"):
        assert (seen.downloads, seen.waits) == (1, 0)


def test_a_loss_that_is_not_finite_is_explained_by_weights_that_it_did_not_spoil(cupy: Any, tmp_path: Path) -> None:
    for graph in (False, True):
        run = trainer(tmp_path, graph=graph)
        batches = list(run.train_loader)[:5]
        for x, y in batches:
            run._step(x, y)
        before = [p.detach().numpy().copy() for p in run.model.parameters()]
        x, y = batches[0]
        with pytest.raises(TrainingError, match=r"the loss is nan\. '.*' produced (nan|inf)"):
            run._step(x * math.inf, y)
        for a, p in zip(before, run.model.parameters()):
            np.testing.assert_array_equal(p.detach().numpy(), a)


class Progressing(nn.Linear):
    def set_progress(self, share: float) -> None:
        self.share = share


def test_what_a_graph_cannot_repeat_is_said_before_or_in_the_first_step(cupy: Any, tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match="recorded on a CUDA device, but the model is on the cpu: train with --device"
    ):
        trainer(tmp_path, "cpu", graph=True)
    with pytest.raises(TrainingError, match="Progressing computes otherwise as the training goes on"):
        trainer(tmp_path, model=Progressing(5, 3), graph=True)
    run = trainer(tmp_path, make=lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5), graph=True)
    with pytest.raises(TrainingError, match="SGD with these settings cannot leave out an update on the device"):
        run.fit(1)


def test_the_command(cupy: Any, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    pytest.importorskip("cyclopts")
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    quick = ["train", "mlp", "--data", "digits", "--epochs", "1", "--augment", "none", "--batch-size", "256"]
    assert main([*quick, "--graph"]) == 2
    assert "train with --device cuda, or without --graph" in " ".join(capsys.readouterr().err.split())
    losses = []
    for i, graph in enumerate(([], ["--graph"])):
        assert main([*quick, "--device", "cuda", "--out", str(i), *graph]) == 0
        (row,) = map(json.loads, Path(str(i), "metrics.jsonl").read_text().splitlines())
        losses.append((row["train_loss"], row["test_loss"]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
