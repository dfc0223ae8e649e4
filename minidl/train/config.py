"""The settings of a run, and good values for those that nobody gives."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import TrainingError

OptimizerName = Literal["sgd", "nesterov", "adam", "adamw", "rmsprop"]
ScheduleName = Literal["constant", "cosine", "step", "plateau"]
AugmentName = Literal["none", "shift", "affine", "flip"]


@dataclass(kw_only=True)
class TrainConfig:
    """The settings of a run; ``None`` is filled in by :func:`complete`, from the model and the data.

    Parameters
    ----------
    data
        digits, mnist, fashion_mnist, cifar10, cifar100, or a folder of images with one sub-folder a class.
    data_dir
        Folder of the files of mnist, fashion_mnist, cifar10 or cifar100.
    epochs
        Passes over the training images.
    batch_size
        Images a step.
    optimizer
        Rule of the updates.
    lr
        Learning rate after the warm-up, before the schedule lowers it.
    momentum
        Of sgd, nesterov and rmsprop.
    weight_decay
        L2 penalty (decoupled with adamw).
    schedule
        Of the learning rate: cosine to 0, step (a tenth after 1/2 and 3/4 of the epochs), plateau (a tenth when the
        test loss stops falling), constant.
    warmup
        Epochs in which the learning rate rises to its value.
    augment
        Random changes of the training images: shift (a sixteenth of the side), affine (small rotation, shift and
        scale), flip (left-right and shift), none.
    seed
        Of weights, order and random changes.
    options
        Of the model, as --options.activation relu.
    """

    data: str | None = None
    data_dir: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    optimizer: OptimizerName | None = None
    lr: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    schedule: ScheduleName | None = None
    warmup: int | None = None
    augment: AugmentName | None = None
    seed: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def given(self) -> dict[str, Any]:
        """The settings that have a value."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v is not None and v != {}}


_BASE = TrainConfig(
    data="digits",
    epochs=20,
    batch_size=64,
    optimizer="adam",
    lr=1e-3,
    momentum=0.9,
    weight_decay=0.0,
    schedule="cosine",
    warmup=0,
    augment="none",
    seed=0,
)

# Measured, see docs/results; "*" is any model
_RECIPES: dict[tuple[str, str], TrainConfig] = {
    ("*", "digits"): TrainConfig(epochs=30, lr=2e-3, augment="affine"),
    ("*", "mnist"): TrainConfig(epochs=15, lr=2e-3, batch_size=128, augment="shift"),
}


def complete(model: str, config: TrainConfig) -> TrainConfig:
    """``config`` with every setting: as given, or the recipe of the model and data, or the general one.

    >>> complete("lenet5", TrainConfig(lr=0.5)).lr, complete("lenet5", TrainConfig()).data
    (0.5, 'digits')
    """
    data = config.data or _BASE.data or ""
    settings: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for layer in (_BASE, _RECIPES.get(("*", data)), _RECIPES.get((model, data)), config):
        if layer is not None:
            settings |= layer.given()
            options |= layer.options
    full = TrainConfig(**{**settings, "options": options})
    _check(full)
    return full


_LEAST = {"epochs": 1, "batch_size": 1, "lr": 0, "momentum": 0, "weight_decay": 0, "warmup": 0, "seed": 0}


def _check(config: TrainConfig) -> None:
    for name, least in _LEAST.items():
        value = getattr(config, name)
        if not value >= least:
            raise TrainingError(f"--{name.replace('_', '-')} must be at least {least}, not {value}")
    if config.warmup and config.schedule == "plateau":
        raise TrainingError("--warmup goes with the schedules cosine, step and constant, not with plateau")
    if config.warmup and config.epochs and config.warmup >= config.epochs:
        raise TrainingError(f"--warmup {config.warmup} leaves nothing of {config.epochs} epochs")
    if config.optimizer == "nesterov" and not config.momentum:
        raise TrainingError("--optimizer nesterov needs --momentum above 0; with 0 it is --optimizer sgd")


def make_optimizer(config: TrainConfig, parameters: Any) -> Any:
    """The optimiser that the settings name."""
    from .. import optim

    momentum = config.momentum or 0.0
    common: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    match config.optimizer:
        case "adam":
            return optim.Adam(parameters, **common)
        case "adamw":
            return optim.AdamW(parameters, **common)
        case "rmsprop":
            return optim.RMSprop(parameters, momentum=momentum, **common)
        case _:
            nesterov = config.optimizer == "nesterov"
            return optim.SGD(parameters, momentum=momentum, nesterov=nesterov, **common)


def make_scheduler(config: TrainConfig, optimizer: Any) -> Any:
    """The schedule that the settings name, one step an epoch, with its warm-up."""
    from ..optim import lr_scheduler as schedules

    warmup = config.warmup or 0
    epochs = (config.epochs or 1) - warmup
    if config.schedule == "plateau":
        return schedules.ReduceLROnPlateau(optimizer, patience=3)
    main: Any
    if config.schedule == "cosine":
        main = schedules.CosineAnnealingLR(optimizer, T_max=epochs)
    elif config.schedule == "step":
        main = schedules.MultiStepLR(optimizer, milestones=[max(1, epochs // 2), max(1, epochs * 3 // 4)])
    else:
        main = schedules.ConstantLR(optimizer, factor=1.0)
    if not warmup:
        return main
    rise = schedules.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    return schedules.SequentialLR(optimizer, [rise, main], milestones=[warmup])
