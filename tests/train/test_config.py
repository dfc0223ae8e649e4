"""Settings: given, from a recipe, general; and what does not go together."""

import math

import pytest

from minidl import nn, optim
from minidl.train import TrainConfig, TrainingError, complete
from minidl.train import config as module
from minidl.train.config import make_optimizer, make_scheduler


def test_given_beats_the_recipe_which_beats_the_general_value(monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = {
        ("*", "mnist"): TrainConfig(epochs=7, lr=0.5),
        ("net", "mnist"): TrainConfig(lr=0.25, options={"pool": "max"}),
    }
    monkeypatch.setattr(module, "_RECIPES", recipes)
    full = complete("net", TrainConfig(data="mnist", batch_size=10))
    assert (full.epochs, full.lr, full.batch_size, full.options) == (7, 0.25, 10, {"pool": "max"})
    assert complete("other", TrainConfig(data="mnist")).lr == 0.5
    assert complete("net", TrainConfig(data="digits")).lr == module._BASE.lr
    assert complete("net", TrainConfig(data="mnist", lr=0.0)).lr == 0.0  # zero is a value
    merged = complete("net", TrainConfig(data="mnist", options={"activation": "relu"}))
    assert merged.options == {"pool": "max", "activation": "relu"}


def test_all_settings_get_a_value() -> None:
    full = complete("lenet5", TrainConfig())
    missing = [name for name, value in vars(full).items() if value is None]
    unset = ["data_dir", "factors", "warmup_lr", "max_shift", "weights", "freeze_until", "features", "head_lr"]
    assert missing == unset


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "--epochs must be at least 1, not 0"),
        ({"batch_size": -1}, "--batch-size must be at least 1, not -1"),
        ({"lr": -0.1}, r"--lr must be at least 0, not -0\.1"),
        ({"lr": math.nan}, "--lr must be at least 0, not nan"),
        ({"warmup": 3, "schedule": "plateau"}, "--warmup goes with the schedules cosine, step and constant"),
        ({"warmup": 5, "epochs": 5}, "--warmup 5 leaves nothing of 5 epochs"),
        ({"warmup": 1, "warmup_lr": 0.0}, r"--warmup-lr is a learning rate above 0, not 0\.0"),
        ({"warmup": 2, "epochs": 5, "schedule_epochs": 2}, "--warmup 2 leaves nothing of 2 epochs"),
        ({"schedule_epochs": 0}, "--schedule-epochs must be at least 1, not 0"),
        ({"optimizer": "nesterov", "momentum": 0.0}, "--optimizer nesterov needs --momentum above 0"),
    ],
)
def test_settings_that_make_no_sense(settings: dict, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        complete("lenet5", TrainConfig(**settings))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sgd", "SGD"),
        ("nesterov", "SGD"),
        ("adam", "Adam"),
        ("adamw", "AdamW"),
        ("rmsprop", "RMSprop"),
        ("rmsprop_tf", "RMSpropTF"),
        ("diagonal_lm", "DiagonalLM"),
    ],
)
def test_optimisers(name: str, kind: str) -> None:
    settings = TrainConfig(optimizer=name, lr=0.3, momentum=0.8, weight_decay=0.01)
    made = make_optimizer(complete("m", settings), nn.Linear(2, 2).parameters())
    group = made.param_groups[0]
    assert type(made).__name__ == kind and (group["lr"], group["weight_decay"]) == (0.3, 0.01)
    assert group.get("momentum", 0.8) == 0.8 and group.get("nesterov", False) == (name == "nesterov")


def rates(**settings) -> list[float]:
    full = complete("m", TrainConfig(lr=1.0, **settings))
    steps = optim.SGD(nn.Linear(2, 2).parameters(), lr=full.lr)
    schedule = make_scheduler(full, steps)
    seen = []
    for _ in range(full.epochs):
        seen.append(round(steps.param_groups[0]["lr"], 4))
        schedule.step()
    return seen


def test_schedules() -> None:
    assert rates(epochs=4, schedule="constant") == [1, 1, 1, 1]
    assert rates(epochs=8, schedule="step") == [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]
    assert rates(epochs=3, schedule="step") == [1, 0.1, 0.01]
    assert rates(epochs=4, schedule="cosine") == [1, 0.8536, 0.5, 0.1464]
    assert rates(epochs=7, schedule="cosine", warmup=3) == [0.25, 0.5, 0.75, 1, 0.8536, 0.5, 0.1464]
    assert rates(epochs=1, schedule="step") == [1.0]
    assert rates(epochs=6, schedule="step", warmup=2, warmup_lr=0.2) == [0.2, 0.2, 1, 1, 0.1, 0.01]


def test_plateau() -> None:
    steps = optim.SGD(nn.Linear(2, 2).parameters(), lr=1.0)
    schedule = make_scheduler(complete("m", TrainConfig(lr=1.0, schedule="plateau")), steps)
    for _ in range(6):
        schedule.step(0.5)
    assert steps.param_groups[0]["lr"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("settings", "said", "not_said"),
    [
        ({"optimizer": "adam"}, ("optimizer adam", "weight_decay 0.0", "seed 0"), ("momentum", "milestones", "None")),
        (
            {"optimizer": "sgd", "schedule": "step"},
            ("momentum 0.9", "milestones [0.5, 0.75]", "gamma 0.1"),
            ("interval",),
        ),
        ({"schedule": "exponential"}, ("gamma 0.1", "interval 0.1"), ("milestones",)),
        ({"schedule": "constant"}, ("schedule constant",), ("gamma", "schedule_epochs", "warmup", "clip")),
        ({"warmup": 2, "clip": 1.0}, ("warmup 2", "clip 1.0"), ("label_smoothing", "warmup_lr")),
        ({"warmup": 2, "warmup_lr": 0.01}, ("warmup 2", "warmup_lr 0.01"), ()),
        ({"warmup_lr": 0.01}, (), ("warmup",)),
        ({"epochs": 9, "schedule_epochs": 5}, ("epochs 9", "schedule_epochs 5"), ()),
    ],
)
def test_what_is_printed_of_the_settings_is_what_has_a_say(settings: dict, said: tuple, not_said: tuple) -> None:
    line = ", ".join(f"{k} {v}" for k, v in complete("lenet5", TrainConfig(**settings)).in_use().items())
    assert all(word in line for word in said), line
    assert not any(word in line for word in not_said), line


def test_schedules_and_options_that_do_not_fit() -> None:
    with pytest.raises(TrainingError, match=r"--milestones takes numbers above 0, at most 1, not 30"):
        complete("lenet5", TrainConfig(milestones=[0.5, 30]))
    with pytest.raises(TrainingError, match=r"--interval takes numbers above 0, at most 1, not 0"):
        complete("lenet5", TrainConfig(interval=0))
    with pytest.raises(TrainingError, match=r"--label-smoothing is a share of at least 0 and below 1, not 1\.5"):
        complete("lenet5", TrainConfig(label_smoothing=1.5))
    config = complete("lenet5", TrainConfig(optimizer="sgd", optimizer_options={"alpha": 0.9}))
    with pytest.raises(TrainingError, match="--optimizer sgd does not take all of the options alpha: "):
        make_optimizer(config, nn.Linear(2, 2).parameters())
    config = complete("lenet5", TrainConfig(optimizer="rmsprop", optimizer_options={"alpha": 0.9, "eps": 1.0}))
    group = make_optimizer(config, nn.Linear(2, 2).parameters()).param_groups[0]
    assert (group["alpha"], group["eps"], group["momentum"]) == (0.9, 1.0, 0.9)


def test_schedules_that_count_steps() -> None:
    config = complete("lenet5", TrainConfig(schedule="poly", epochs=2, lr=1.0))
    optimizer = make_optimizer(config, nn.Linear(2, 2).parameters())
    schedule = make_scheduler(config, optimizer, batches=2)
    rates = [schedule.step() or optimizer.param_groups[0]["lr"] for _ in range(3)]
    assert rates == pytest.approx([0.75, 0.5, 0.25])  # and 0 at the end of the run
    config = complete("lenet5", TrainConfig(schedule="exponential", epochs=4, lr=1.0, interval=0.5, gamma=0.5))
    optimizer = make_optimizer(config, nn.Linear(2, 2).parameters())
    schedule = make_scheduler(config, optimizer, batches=3)
    rates = [schedule.step() or optimizer.param_groups[0]["lr"] for _ in range(11)]
    assert rates == pytest.approx([1.0] * 5 + [0.5] * 6)
