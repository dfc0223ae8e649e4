"""The settings of a run, and good values for those that nobody gives."""

from __future__ import annotations

import ast
import dataclasses
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import TrainingError

OptimizerName = Literal["sgd", "nesterov", "adam", "adamw", "rmsprop", "rmsprop_tf", "diagonal_lm"]
LossName = Literal["cross_entropy", "map"]
ScheduleName = Literal["constant", "cosine", "step", "exponential", "poly", "plateau"]
AugmentName = Literal[
    "none", "shift", "affine", "flip", "reflect", "alexnet", "vgg", "resnet", "inception", "autoaugment", "corners"
]
NormalizeName = Literal["colours", "mean_image", "mean_photo", "whiten", "paper_ink"]
GroupsName = Literal["alike", "biases", "depthwise"]


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
        Rule of the updates. diagonal_lm (stochastic diagonal Levenberg-Marquardt) divides each step by mu (see
        optimizer-options) and the curvature of the loss, measured before each epoch on 500 training images.
    lr
        Learning rate after the warm-up, before the schedule lowers it.
    momentum
        Of sgd, nesterov, rmsprop and rmsprop_tf (as TensorFlow computes it: eps below the root).
    weight_decay
        L2 penalty (decoupled with adamw).
    groups
        Parameters that learn otherwise: biases (as in Caffe's files twice as fast, without weight decay), depthwise
        (depthwise filters without weight decay), or alike.
    schedule
        Of the learning rate: cosine to 0, step (by default a tenth after 1/2 and 3/4 of the epochs), exponential
        (times gamma after each interval), poly (to 0, a little after each step), plateau (a tenth when the test loss
        stops falling), constant.
    schedule_epochs
        Epochs that the schedule takes, all of them unless given. In those that follow, as when a run is resumed with
        more epochs, the learning rate stays what it was in the last of these.
    milestones
        Where step lowers the learning rate, as shares of the run: --milestones 0.5 --milestones 0.75.
    gamma
        What step and exponential multiply the learning rate by.
    factors
        What step multiplies lr by after each milestone in turn, where that is no power of gamma: 0.4, 0.2, 0.1.
    interval
        How often exponential does, as a share of the run.
    warmup
        Epochs in which the learning rate rises to its value.
    warmup_lr
        Learning rate of the epochs of the warm-up, if it shall stay the same in them.
    augment
        Random changes of the training images: shift (a sixteenth of the side), affine (small rotation, shift and
        scale), flip (left-right and shift), reflect (the same, the border mirrored), none; and those of the papers for
        photographs: alexnet (crop, flip, principal colours), vgg and resnet (the same of images of random size),
        inception (crops of 8 to 100 % of the area, flip, colours), autoaugment (the same crops and flip, then pairs of
        operations that a search on ImageNet has found), corners (corners and centre, flip).
    max_shift
        Pixels by which shift, flip and reflect move images at most; by default a sixteenth of the side (shift) or an
        eighth.
    normalize
        How values are normalised by what is measured on the training images: colours (mean and deviation of each
        channel), mean_image (the mean of each pixel subtracted), mean_photo (the same on the scale of 0 to 255, of the
        photographs from which crops are then cut, 256 pixels wide for crops of 224), whiten (global contrast
        normalisation, then ZCA whitening; small images). Or without measuring: paper_ink (LeNet-5's: paper -0.1, ink
        1.175).
    loss
        What is made small in training: cross_entropy of the scores, or map (LeNet-5's: cross-entropy with one more
        class of a constant score, so that scores far below it are not pushed on).
    rubbish_penalty
        Of map: the score of that class, times -1.
    test_crops
        How many crops of an image are looked at in tests: 1 (the centre) or 10 (corners, centre, and mirrored).
    label_smoothing
        Share of the target that all classes get evenly.
    clip
        Largest norm of the gradient; 0 lets it be.
    filter_rms
        Largest root mean square of a filter of a convolution, to which it is scaled back after an update; 0 lets it be.
    ema
        Decay of a running average of weights and statistics over the updates, such as 0.9999, which is tested and kept;
        0 tests the weights themselves.
    amp
        Mixed precision: products in float16 on CUDA, with values rounded to bfloat16 on the CPU.
    seed
        Of weights, order and random changes.
    weights
        A file of weights to begin with, the folder of a run, or a name of minidl weights list; the last layer is new.
    freeze_until
        Name of the first layer that learns; what stands before it is fixed, batch normalisation with its statistics.
    features
        Name of a layer: the network up to it is fixed, and a linear classifier learns on its features.
    head_lr
        Learning rate of the last layer, where it differs from lr.
    optimizer_options
        Further settings of the optimizer, as --optimizer-options.eps 1.0.
    options
        Of the model, as --options.activation relu.

    >>> config = TrainConfig(epochs=5, optimizer="adam", lr=1e-3)
    >>> config.epochs, config.batch_size
    (5, None)
    """

    data: str | None = None
    data_dir: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    optimizer: OptimizerName | None = None
    lr: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    groups: GroupsName | None = None
    schedule: ScheduleName | None = None
    schedule_epochs: int | None = None
    milestones: list[float] | None = None
    gamma: float | None = None
    factors: list[float] | None = None
    interval: float | None = None
    warmup: int | None = None
    warmup_lr: float | None = None
    augment: AugmentName | None = None
    max_shift: int | None = None
    normalize: NormalizeName | None = None
    loss: LossName | None = None
    rubbish_penalty: float | None = None
    test_crops: int | None = None
    label_smoothing: float | None = None
    clip: float | None = None
    filter_rms: float | None = None
    ema: float | None = None
    amp: bool | None = None
    seed: int | None = None
    weights: str | None = None
    freeze_until: str | None = None
    features: str | None = None
    head_lr: float | None = None
    optimizer_options: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def given(self) -> dict[str, Any]:
        """The settings that have a value."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v is not None and v != {}}

    def in_use(self) -> dict[str, Any]:
        """The settings that this run depends on: no momentum where the optimiser has none, no clipping by 0."""
        without = {"data_dir", "options"} | (set() if self.warmup else {"warmup_lr"})
        without |= {name for name in _UNLESS_ZERO if not getattr(self, name)}
        without |= {name for name, usual in _USUAL.items() if getattr(self, name) == usual}
        if self.loss != "map":
            without.add("rubbish_penalty")
        if self.optimizer not in ("sgd", "nesterov", "rmsprop", "rmsprop_tf"):
            without.add("momentum")
        steps = {"milestones", "factors" if self.factors else "gamma"}
        shape = {"step": steps, "exponential": {"gamma", "interval"}}.get(self.schedule or "", set())
        without |= {"milestones", "gamma", "factors", "interval"} - shape
        if self.schedule in ("constant", "plateau") or self.schedule_epochs == self.epochs:
            without.add("schedule_epochs")
        return {name: value for name, value in self.given().items() if name not in without}

    def over(self, base: TrainConfig) -> TrainConfig:
        """These settings, and those of ``base`` where these say nothing.

        >>> TrainConfig(lr=0.5, options={"pool": "max"}).over(TrainConfig(lr=1.0, options={"act": "relu"})).options
        {'act': 'relu', 'pool': 'max'}
        """
        both = {name: {**getattr(base, name), **getattr(self, name)} for name in ("options", "optimizer_options")}
        return TrainConfig(**{**base.given(), **self.given(), **both})


_BASE = TrainConfig(
    data="digits",
    epochs=20,
    batch_size=64,
    optimizer="adam",
    lr=1e-3,
    momentum=0.9,
    weight_decay=0.0,
    groups="alike",
    schedule="cosine",
    milestones=[0.5, 0.75],
    gamma=0.1,
    interval=0.1,
    warmup=0,
    augment="none",
    normalize="colours",
    loss="cross_entropy",
    rubbish_penalty=0.1,
    test_crops=1,
    label_smoothing=0.0,
    clip=0.0,
    filter_rms=0.0,
    ema=0.0,
    amp=False,
    seed=0,
)
# not worth a word
_USUAL = {"groups": "alike", "normalize": "colours", "loss": "cross_entropy", "test_crops": 1}
_UNLESS_ZERO = ("warmup", "label_smoothing", "clip", "filter_rms", "ema", "amp")

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
    full = _BASE
    for layer in (_RECIPES.get(("*", data)), _RECIPES.get((model, data)), config):
        full = full if layer is None else layer.over(full)
    full.optimizer_options = {name: _number(value) for name, value in full.optimizer_options.items()}
    full.schedule_epochs = full.epochs if full.schedule_epochs is None else full.schedule_epochs
    _check(full)
    return full


def _number(value: Any) -> Any:
    """A text of the command line as the number, the pair or the truth that it spells.

    >>> _number("1e-3"), _number("0.9,0.99"), _number("true"), _number("much")
    (0.001, (0.9, 0.99), True, 'much')
    """
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value.capitalize() if value in ("true", "false") else value)
    except (ValueError, SyntaxError):
        return value


_LEAST = {
    "epochs": 1,
    "schedule_epochs": 1,
    "batch_size": 1,
    "lr": 0,
    "momentum": 0,
    "weight_decay": 0,
    "warmup": 0,
    "seed": 0,
    "clip": 0,
    "filter_rms": 0,
}


def _check(config: TrainConfig) -> None:
    for name, least in _LEAST.items():
        value = getattr(config, name)
        if not value >= least:
            raise TrainingError(f"--{name.replace('_', '-')} must be at least {least}, not {value}")
    if config.warmup and config.schedule == "plateau":
        raise TrainingError("--warmup goes with the schedules cosine, step and constant, not with plateau")
    if config.warmup_lr is not None and not config.warmup_lr > 0:
        raise TrainingError(f"--warmup-lr is a learning rate above 0, not {config.warmup_lr}")
    if config.warmup and config.schedule_epochs and config.warmup >= config.schedule_epochs:
        raise TrainingError(f"--warmup {config.warmup} leaves nothing of {config.schedule_epochs} epochs")
    if config.max_shift is not None and config.max_shift < 0:
        raise TrainingError(f"--max-shift must be at least 0, not {config.max_shift}")
    if not 0 <= (config.ema or 0) < 1:
        raise TrainingError(f"--ema is a decay of at least 0 and below 1, such as 0.9999, not {config.ema}")
    milestones = config.milestones or ()
    if config.factors is not None and len(config.factors) != len(milestones):
        raise TrainingError(
            f"--factors holds {len(config.factors)} numbers for {len(milestones)} milestones: give one for each"
        )
    shares = {"interval": (config.interval,), "milestones": milestones, "gamma": (config.gamma,)}
    shares["factors"] = config.factors or ()
    for name, values in shares.items():
        for value in values:
            if value is None or not 0 < value <= 1:
                raise TrainingError(f"--{name} takes numbers above 0, at most 1, not {value}")
    if not 0 <= (config.label_smoothing or 0) < 1:
        raise TrainingError(f"--label-smoothing is a share of at least 0 and below 1, not {config.label_smoothing}")
    if config.test_crops not in (1, 10):
        raise TrainingError(f"--test-crops is 1 or 10, not {config.test_crops}")
    if config.loss == "map" and config.label_smoothing:
        raise TrainingError("--label-smoothing changes the targets of --loss cross_entropy, and map has none")
    if config.optimizer == "diagonal_lm" and config.amp:
        raise TrainingError("--amp scales gradients, which diagonal_lm compares with a curvature: train without it")
    if config.features and config.freeze_until:
        raise TrainingError("--features fixes the whole network below its classifier, so --freeze-until says nothing")
    if config.optimizer == "nesterov" and not config.momentum:
        raise TrainingError("--optimizer nesterov needs --momentum above 0; with 0 it is --optimizer sgd")


def make_optimizer(config: TrainConfig, parameters: Any) -> Any:
    """The optimiser that the settings name."""
    momentum = config.momentum or 0.0
    common: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay, **config.optimizer_options}
    try:
        return _optimizer(config, parameters, momentum, common)
    except TypeError as error:
        given = ", ".join(config.optimizer_options)
        raise TrainingError(
            f"--optimizer {config.optimizer} does not take all of the options {given}: {error}"
        ) from error
    except ValueError as error:  # a number out of its range, as --head-lr -1
        raise TrainingError(f"--optimizer {config.optimizer}: {error}") from error


def _optimizer(config: TrainConfig, parameters: Any, momentum: float, common: dict[str, Any]) -> Any:
    from .. import optim

    match config.optimizer:
        case "adam":
            return optim.Adam(parameters, **common)
        case "adamw":
            return optim.AdamW(parameters, **common)
        case "rmsprop":
            return optim.RMSprop(parameters, momentum=momentum, **common)
        case "diagonal_lm":
            return optim.DiagonalLM(parameters, **common)
        case "rmsprop_tf":
            return optim.RMSpropTF(parameters, momentum=momentum, **common)
        case _:
            nesterov = config.optimizer == "nesterov"
            return optim.SGD(parameters, momentum=momentum, nesterov=nesterov, **common)


def goes_on_each_step(config: TrainConfig) -> bool:
    """Whether the schedule counts steps, not epochs."""
    return config.schedule in ("poly", "exponential")


def make_scheduler(config: TrainConfig, optimizer: Any, batches: int = 1) -> Any:
    """The schedule that the settings name, with its warm-up.

    It counts epochs, or steps (of which an epoch has ``batches``) where :func:`goes_on_each_step`.
    """
    from ..optim import lr_scheduler as schedules
    from .hold import HoldLR

    unit = batches if goes_on_each_step(config) else 1
    warmup = (config.warmup or 0) * unit
    steps = (config.schedule_epochs or config.epochs or 1) * unit
    epochs = steps - warmup
    if config.schedule == "plateau":
        return schedules.ReduceLROnPlateau(optimizer, patience=3)
    main: Any
    if config.schedule == "cosine":
        main = schedules.CosineAnnealingLR(optimizer, T_max=epochs)
    elif config.schedule == "step":
        shares = config.milestones or (0.5, 0.75)
        places = [max(1, int(epochs * share + 1e-9)) for share in shares]  # 0.3 of 10 is 3
        if config.factors is None:
            main = schedules.MultiStepLR(optimizer, milestones=places, gamma=config.gamma or 0.1)
        else:
            factors = [1.0, *config.factors]
            main = schedules.LambdaLR(optimizer, lambda t: factors[bisect_right(places, t)])
    elif config.schedule == "exponential":
        every = max(1, round(epochs * (config.interval or 0.1)))
        main = schedules.StepLR(optimizer, step_size=every, gamma=config.gamma or 0.1)
    elif config.schedule == "poly":
        main = schedules.PolynomialLR(optimizer, total_iters=epochs)
    else:
        main = schedules.ConstantLR(optimizer, factor=1.0)
    if not warmup:
        return HoldLR(main, steps)
    before: Any
    if config.warmup_lr is None:
        before = schedules.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    else:
        before = schedules.ConstantLR(optimizer, factor=config.warmup_lr / (config.lr or 1.0), total_iters=warmup)
    return HoldLR(schedules.SequentialLR(optimizer, [before, main], milestones=[warmup]), steps)
