"""Parameters that learn otherwise than the rest."""

from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import models, nn, optim
from minidl.train import TrainConfig, TrainingError, start_run
from minidl.train.config import complete, make_optimizer, make_scheduler
from minidl.train.groups import grouped, limit_filters


def settings(groups: list[dict], net: nn.Module) -> dict[str, tuple]:
    names = {id(p): name for name, p in net.named_parameters()}
    return {names[id(p)]: (g.get("lr"), g.get("weight_decay")) for g in groups for p in g["params"]}


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4), nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3, groups=2), nn.Flatten(),
        nn.Linear(8, 2),
    )  # fmt: skip


def test_biases_learn_twice_as_fast_and_do_not_decay() -> None:
    net = network()
    found = settings(grouped(net, list(net.parameters()), "biases", 0.1), net)
    fast = {"0.bias", "2.bias", "3.bias", "5.bias"}
    assert found == {name: (0.2, 0.0) if name in fast else (None, None) for name, _ in net.named_parameters()}
    head = [{"params": list(net[5].parameters()), "lr": 1.0}, {"params": list(net[0].parameters()), "lr": 0.1}]
    assert settings(grouped(net, head, "biases", 0.1), net) == {
        "5.weight": (1.0, None), "5.bias": (2.0, 0.0), "0.weight": (0.1, None), "0.bias": (0.2, 0.0)
    }  # fmt: skip


def test_depthwise_filters_do_not_decay() -> None:
    net = network()
    found = settings(grouped(net, list(net.parameters()), "depthwise", 0.1), net)
    assert found == {name: (None, 0.0 if name == "0.weight" else None) for name, _ in net.named_parameters()}
    with nn.utils.skip_init():
        mobile = models.mobilenet_v1()
    groups = grouped(mobile, list(mobile.parameters()), "depthwise", 0.1)
    assert [len(g["params"]) for g in groups][1] == 13 and all(p.shape[1:] == (1, 3, 3) for p in groups[1]["params"])
    same = list(net.parameters())
    assert grouped(net, same, "alike", 0.1) is same


def test_an_update_by_groups(tmp_path: Path) -> None:
    """Of a gradient of 1: a bias goes twice as far, and only weights shrink."""
    net = nn.Linear(2, 2)
    net.load_state_dict({"weight": np.ones((2, 2)), "bias": np.ones(2)})
    full = complete("mlp", TrainConfig(optimizer="sgd", lr=0.1, weight_decay=0.5, momentum=0.0, groups="biases"))
    sgd = make_optimizer(full, grouped(net, list(net.parameters()), full.groups, full.lr))
    for p in net.parameters():
        p.grad = minidl.ones(*p.shape)
    sgd.step()
    np.testing.assert_allclose(net.weight.detach().numpy(), 1 - 0.1 * 1.5, rtol=1e-6)
    np.testing.assert_allclose(net.bias.detach().numpy(), 1 - 0.2, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_filters_are_scaled_back_to_the_limit(dtype: str) -> None:
    rng = np.random.default_rng(6)
    net = nn.Sequential(nn.Conv2d(3, 5, (2, 3)), nn.Conv2d(5, 2, 1), nn.Linear(4, 4)).to(dtype)
    before = [rng.standard_normal(p.shape).astype(dtype) * s for p, s in zip(net.parameters(), (1, 1, 0.01, 1, 9, 1))]
    for p, value in zip(net.parameters(), before):
        p.detach().copy_(minidl.tensor(value))
    limit_filters(net, 0.9)
    for (name, p), value in zip(net.named_parameters(), before):
        wanted = value
        if name == "0.weight":
            rms = np.sqrt((value.astype("float64") ** 2).mean((1, 2, 3), keepdims=True))
            assert (rms > 0.9).any() and (rms < 0.9).any()
            wanted = np.where(rms > 0.9, value * 0.9 / rms, value)
        np.testing.assert_allclose(p.detach().numpy(), wanted, rtol=1e-6)
        assert name == "0.weight" or (p.detach().numpy() == value).all()


def test_a_run_keeps_its_filters_short(tmp_path: Path) -> None:
    config = TrainConfig(data="digits", epochs=1, batch_size=512, filter_rms=0.05)
    run = start_run("lenet5", config, tmp_path)
    run.fit(1)
    convs = [m for m in run.model.modules() if isinstance(m, nn.Conv2d)]
    sizes = np.concatenate([np.sqrt((m.weight.detach().numpy() ** 2).mean((1, 2, 3))) for m in convs])
    assert sizes.max() < 0.0500001 and (sizes > 0.0499).sum() > 5
    assert max(p.detach().abs().max().item() for p in run.model.classifier.parameters()) > 0.1


def test_rates_of_their_own_after_the_milestones() -> None:
    full = complete("mlp", TrainConfig(epochs=10, lr=1.0, schedule="step", milestones=[0.2, 0.5], factors=[0.5, 0.4]))
    sgd = optim.SGD([minidl.zeros(1)], lr=1.0)
    schedule = make_scheduler(full, sgd)
    rates = [sgd.param_groups[0]["lr"]] + [schedule.step() or sgd.param_groups[0]["lr"] for _ in range(9)]
    assert rates == [1.0] * 2 + [0.5] * 3 + [0.4] * 5
    assert "factors" in full.in_use() and "gamma" not in full.in_use()
    with pytest.raises(TrainingError, match="--factors holds 1 numbers for 2 milestones: give one for each"):
        complete("mlp", TrainConfig(factors=[0.5]))
    with pytest.raises(TrainingError, match="--factors takes numbers above 0, at most 1, not 2"):
        complete("mlp", TrainConfig(factors=[2.0, 0.1]))
    with pytest.raises(TrainingError, match="--filter-rms must be at least 0, not -1"):
        complete("mlp", TrainConfig(filter_rms=-1))
