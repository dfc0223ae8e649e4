"""Training on a device: layers, losses, optimisers, clipping, checkpoints, the trainer; and what it costs in copies."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import nn, optim
from minidl.data import DataLoader
from minidl.nn.utils import clip_grad_norm_, clip_grad_value_
from minidl.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from minidl.train import Trainer, TrainingError, load_checkpoint, save_checkpoint
from minidl.train.groups import limit_filters
from tests.standin import TRAFFIC


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, stride=2), nn.GroupNorm(2, 6), nn.GELU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Dropout(0.25), nn.Linear(6, 3),
    )  # fmt: skip


def batch(n: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((n, 1, 8, 8)).astype("float32"), rng.integers(0, 3, n)


def seeded(device: str, dtype: str = "float32") -> nn.Module:
    minidl.manual_seed(5)
    return network().to(device, dtype)


OPTIMISERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, weight_decay=0.01),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "dampened": lambda p: optim.DampenedSGD(p, lr=0.1),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.1),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "rmsprop_tf": lambda p: optim.RMSpropTF(p, lr=0.01, momentum=0.5, eps=1.0, weight_decay=0.01),
    "adadelta": lambda p: optim.Adadelta(p),
    "adam": lambda p: optim.Adam(p, lr=0.01, amsgrad=True, weight_decay=0.1),
    "adamw": lambda p: optim.AdamW(p, lr=0.01),
}


def steps(model: nn.Module, optimiser: Any, device: str, count: int = 3) -> list[float]:
    x, y = (minidl.from_numpy(a).to(device) for a in batch())
    x = x.to(next(iter(model.parameters())).dtype)
    losses = []
    for _ in range(count):
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x), y, label_smoothing=0.1)
        loss.backward()
        clip_grad_norm_(model.parameters(), 0.5)
        clip_grad_value_(model.parameters(), 0.3)
        optimiser.step()
        losses.append(loss.item())
    return losses


def same(a: Any, b: Any, tolerance: float = 2e-4) -> None:
    for (name, host), device in zip(a.state_dict().items(), b.state_dict().values()):
        np.testing.assert_allclose(device.numpy(), host.numpy(), tolerance, tolerance, err_msg=name)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_steps_are_those_of_the_cpu(name: str, cupy: Any) -> None:
    losses, models, states = [], [], []
    for device in ("cpu", "cuda"):
        model = seeded(device, "float64")
        optimiser = OPTIMISERS[name](model.parameters())
        losses.append(steps(model, optimiser, device))
        models.append(model)
        states.append(optimiser.state_dict()["state"])
    np.testing.assert_allclose(*losses, 1e-9)
    same(*models, 1e-8)
    for entry in states[1].values():
        assert all(type(v) is cupy.ndarray for v in entry.values() if hasattr(v, "shape"))
    assert all(p.device == "cuda:0" and p.grad.device == "cuda:0" for p in models[1].parameters())


def test_steps_that_know_the_curvature_are_those_of_the_cpu(cupy: Any) -> None:
    models, curvatures = [], []
    for device in ("cpu", "cuda"):
        model = seeded(device, "float64")
        rule = optim.DiagonalLM(model.parameters(), lr=0.01, mu=0.1)
        x, y = (minidl.from_numpy(a).to(device) for a in batch())
        rule.know(optim.diagonal_curvature(model, F.cross_entropy, x.to("float64"), y, rule.parameters()))
        steps(model, rule, device)
        models.append(model)
        curvatures.append([rule.state[p]["curvature"] for p in rule.parameters()])
    same(*models, 1e-8)
    assert all(type(h) is cupy.ndarray for h in curvatures[1]) and any(h.max() > 0 for h in curvatures[0])


def test_schedulers_change_the_rate_on_a_device(cupy: Any) -> None:
    model = seeded("cuda")
    for make in (
        lambda o: optim.lr_scheduler.CosineAnnealingLR(o, T_max=4),
        lambda o: optim.lr_scheduler.MultiStepLR(o, milestones=[1]),
        lambda o: optim.lr_scheduler.ReduceLROnPlateau(o, patience=0),
    ):
        optimiser = optim.SGD(model.parameters(), lr=0.1)
        schedule = make(optimiser)
        loss = F.mse_loss(model(minidl.zeros(2, 1, 8, 8, device="cuda")), minidl.zeros(2, 3, device="cuda"))
        before = optimiser.param_groups[0]["lr"]
        for _ in range(3):
            schedule.step(loss) if hasattr(schedule, "num_bad_epochs") else schedule.step()
        assert optimiser.param_groups[0]["lr"] < before


def test_a_step_copies_nothing_and_waits_for_nothing(cupy: Any) -> None:
    """All but the mask of dropout, which is drawn on the CPU so that a seed means the same everywhere."""
    model = seeded("cuda")
    optimiser = optim.AdamW(model.parameters())
    x, y = (minidl.from_numpy(a).to("cuda") for a in batch())
    with TRAFFIC.counted() as seen:
        optimiser.zero_grad()
        F.cross_entropy(model(x), y).backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    if cupy.__version__.endswith("standin"):
        assert (seen.uploads, seen.downloads, seen.waits) == (1, 0, 0)


def test_weights_are_averaged_and_filters_limited_where_they_lie(cupy: Any) -> None:
    models = []
    for device in ("cpu", "cuda"):
        model = seeded(device)
        averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9, warmup=True), use_buffers=True)
        rng = np.random.default_rng(2)
        for _ in range(3):
            for p in model.parameters():
                p.detach().copy_(minidl.tensor(rng.standard_normal(p.shape).astype("float32"), device=device))
            with TRAFFIC.counted() as seen:
                limit_filters(model, 0.5)
                averaged.update_parameters(model)
            if cupy.__version__.endswith("standin"):
                assert (seen.uploads, seen.downloads, seen.waits) == (0, 0, 0)
        assert all(p.device.type == device for p in averaged.module.parameters()) and not averaged.n_averaged.is_cuda
        models += [model, averaged.module]
    same(models[0], models[2], 1e-6)
    same(models[1], models[3], 1e-6)


def test_state_dicts_and_checkpoints_move_between_devices(cupy: Any, tmp_path: Any) -> None:
    host, device = seeded("cpu"), seeded("cuda")
    steps(device, device_optimiser := optim.Adam(device.parameters()), "cuda")
    host.load_state_dict(device.state_dict())
    same(host, device, 0)
    assert all(t.device == "cpu" for t in host.state_dict().values())
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, {"model": dict(device.state_dict()), "optimizer": device_optimiser.state_dict()})
    state = load_checkpoint(path)
    for where in ("cpu", "cuda"):
        model = seeded(where)
        optimiser = optim.Adam(model.parameters())
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimizer"])
        same(model, device, 0)
        kept = optimiser.state_dict()["state"][0]["exp_avg"]
        assert type(kept) is (cupy.ndarray if where == "cuda" else np.ndarray)
        steps(model, optimiser, where)
    minidl.io.save_weights(tmp_path / "weights.safetensors", device.state_dict())
    host.load_state_dict(minidl.io.load_weights(tmp_path / "weights.safetensors"))
    same(host, device, 0)


def test_there_and_back(cupy: Any) -> None:
    model = seeded("cpu")
    steps(model, optim.SGD(model.parameters()), "cpu", 1)
    there = copy.deepcopy(model).cuda()
    assert all(p.device == "cuda:0" for p in there.parameters()) and there[1].running_mean.device == "cuda:0"
    assert all(p.grad.device == "cuda:0" for p in there.parameters())
    back = copy.deepcopy(there).cpu()
    same(model, back, 0)
    assert all(p.device == "cpu" and p.grad.device == "cpu" for p in back.parameters())
    double = copy.deepcopy(there).to("cpu", "float64")
    assert all(p.device == "cpu" and p.dtype == "float64" for p in double.parameters())


def test_evaluation_mode_and_recurrent_layers(cupy: Any) -> None:
    x, _ = batch()
    model = seeded("cpu").eval()
    expected = model(minidl.from_numpy(x))
    got = copy.deepcopy(model).cuda()(minidl.from_numpy(x).cuda())
    np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), 1e-4, 1e-5)
    for layer in (nn.RNN(3, 4), nn.LSTM(3, 4, num_layers=2), nn.GRU(3, 4, bidirectional=True)):
        sequence = minidl.randn(5, 2, 3)
        y, _ = layer(sequence)
        there, _ = copy.deepcopy(layer).cuda()(sequence.cuda())
        assert there.device == "cuda:0"
        np.testing.assert_allclose(there.detach().numpy(), y.detach().numpy(), 1e-5, 1e-5)


def test_a_wrong_class_makes_the_loss_nan(cupy: Any) -> None:
    scores = minidl.randn(4, 3, device="cuda")
    for wrong in (3, -1):
        target = minidl.tensor([0, 1, wrong, 2], device="cuda")
        assert math.isnan(F.cross_entropy(scores, target).item())
        assert math.isnan(F.cross_entropy(scores, target, weight=minidl.ones(3, device="cuda"), reduction="sum").item())
    ignored = minidl.tensor([0, 1, -100, 2], device="cuda")
    assert F.cross_entropy(scores, ignored).item() == pytest.approx(
        F.cross_entropy(scores.cpu(), ignored.cpu()).item(), rel=1e-5
    )
    assert math.isnan(F.cross_entropy(scores, minidl.tensor([-100] * 4, device="cuda")).item())


class Examples:
    def __init__(self, classes: int = 3) -> None:
        self.x, self.y = batch(20)
        self.y = self.y.copy()
        self.y[7] = classes - 1

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Any:
        return self.x[i], int(self.y[i])


def trainer(folder: Any, device: str, data: Any = None, **options: Any) -> Trainer:
    data = data or Examples()
    model = seeded(device)
    return Trainer(
        model,
        optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        DataLoader(data, 8, shuffle=True, device=device),
        DataLoader(Examples(), 8, device=device),
        folder,
        **options,
    )


def test_the_trainer_gives_the_history_of_the_cpu(cupy: Any, tmp_path: Any) -> None:
    histories = [trainer(tmp_path / device, device).fit(2) for device in ("cpu", "cuda")]
    for a, b in zip(*histories):
        for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
            assert b[name] == pytest.approx(a[name], rel=1e-3), name
    on = trainer(tmp_path / "cuda", "cuda")
    on.resume()
    assert on.epoch == 2 and next(iter(on.model.parameters())).device == "cuda:0"
    off = trainer(tmp_path / "cuda", "cpu")  # the checkpoint of a device goes on on the CPU
    off.resume()
    same(off.model, on.model, 0)
    off.fit(3)


def test_a_step_of_the_trainer_asks_the_device_once(cupy: Any, tmp_path: Any) -> None:
    run = trainer(tmp_path, "cuda", clip=1.0)
    x, y = (minidl.from_numpy(a).to("cuda") for a in batch())
    with TRAFFIC.counted() as seen:
        run._step(x, y)
    if cupy.__version__.endswith("standin"):
        assert (seen.uploads, seen.downloads, seen.waits) == (1, 1, 0)


def test_the_trainer_says_which_class_is_wrong(cupy: Any, tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="class number 3 in the target, but the input has 3 classes"):
        trainer(tmp_path, "cuda", Examples(classes=4)).fit(1)


def test_the_trainer_names_the_operation_that_left_the_finite_numbers(cupy: Any, tmp_path: Any) -> None:
    run = trainer(tmp_path, "cuda")
    with minidl.no_grad():
        next(iter(run.model.parameters())).fill_(math.inf)
    with pytest.raises(
        TrainingError, match=r"epoch 1, batch 1: the loss is nan.*'conv' produced nan at \[0, 0, 0, 0\]"
    ):
        run.fit(1)


def test_the_next_batch_is_copied_while_this_one_is_computed_with(cupy: Any) -> None:
    loader = DataLoader(Examples(), 8, device="cuda")
    with TRAFFIC.counted() as seen:
        got = list(loader)
    plain = list(DataLoader(Examples(), 8))
    assert [x.device for x, _ in got] == ["cuda:0"] * 3
    for (a, b), (c, d) in zip(got, plain):
        np.testing.assert_array_equal(a.numpy(), c.numpy())
        np.testing.assert_array_equal(b.numpy(), d.numpy())
    if cupy.__version__.endswith("standin"):
        copied = ["null records", "copy waits for null", "copy records"]
        assert seen.events == [*copied, *copied, "null waits for copy", *copied, *["null waits for copy"] * 2]
        assert (seen.uploads, seen.downloads, seen.waits) == (6, 0, 0)


def test_a_loader_on_a_device_resumes_where_the_caller_is(cupy: Any) -> None:
    loader = DataLoader(Examples(), 4, shuffle=True, seed=3, device="cuda", num_workers=1)
    whole = [y.tolist() for _, y in loader]
    loader.set_epoch(0)
    for number, _ in enumerate(loader):
        if number == 1:
            break
    again = DataLoader(Examples(), 4, shuffle=True, seed=3, device="cuda")
    again.load_state_dict(loader.state_dict())
    assert [y.tolist() for _, y in again] == whole[2:]


def test_a_loader_of_arrays_stays_on_the_cpu(cupy: Any) -> None:
    with pytest.raises(ValueError, match="to_tensor=False leaves NumPy arrays, which cannot go to cuda:0"):
        DataLoader(Examples(), to_tensor=False, device="cuda")
