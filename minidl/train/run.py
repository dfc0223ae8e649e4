"""A run and its folder: start one from settings, go on with one, load its model."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import no_grad, random, registry, zeros
from ..amp import DEFAULT
from ..backend import CPU, Device, usable
from ..data import DataLoader
from ..io import atomic_write
from ..nn.functional import cross_entropy
from ..nn.modes import modes_kept
from .checkpoint import load_checkpoint, tested_weights
from .config import TrainConfig, complete, goes_on_each_step, make_optimizer, make_scheduler
from .crops import TenCrops, whole_shape
from .curvature import CurvatureBefore
from .errors import CheckpointError, TrainingError
from .groups import grouped, limit_filters
from .losses import map_loss
from .normalization import Normalization
from .start import Start, build, find_start, what_learns
from .tasks import Task, find_source, load_task
from .trainer import CHECKPOINT, Trainer

CONFIG = "config.json"


@dataclass
class Run:
    """A trained or half-trained model, with all that is needed to use it on new images.

    ``description`` is the content of config.json: model, its options, settings, classes, input_shape, mean, std.

    >>> from minidl import models
    >>> run = Run(models.mlp(), {"classes": ["cat", "dog"], "input_shape": [1, 8, 8]}, 3, Path("runs/mlp"))
    >>> run.classes, run.input_shape
    (['cat', 'dog'], (1, 8, 8))
    """

    model: Any
    description: dict[str, Any]
    epochs: int  # completed
    path: Path
    device: Device = CPU  # where the model computes
    fitted: dict[str, Any] = field(default_factory=dict)  # arrays that were measured on the training images

    @property
    def settings(self) -> TrainConfig:
        return TrainConfig(**self.description["settings"])

    @property
    def classes(self) -> list[str]:
        return self.description["classes"]

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.description["input_shape"])

    @property
    def statistics(self) -> tuple[list[float], list[float]]:
        return self.description["mean"], self.description["std"]

    @property
    def tested(self) -> Any:
        """The model, or what looks at ten crops with it where the run is tested so."""
        views = _views(self.settings, self.input_shape)
        return self.model if views is None else views(self.model)

    @functools.cached_property
    def normalization(self) -> Normalization:
        """How the values of images are brought to what the model learned from."""
        return _normalization(self.description, self.fitted)


def new_run_folder(out: str | Path | None, model: str, data: str, root: str | Path = "runs") -> Path:
    """``out``, which must not hold a run yet; or runs/MODEL-DATA, with a number behind it if that is taken; of a folder
    of images DATA is its name.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     first = new_run_folder(None, "lenet5", "digits", root)
    ...     first.mkdir()
    ...     first.name, new_run_folder(None, "lenet5", "digits", root).name
    ('lenet5-digits', 'lenet5-digits-2')
    """
    if out is not None:
        if (Path(out) / CHECKPOINT).exists():
            raise TrainingError(
                f"{out} holds a run already. Go on with it: minidl train --resume {out}; or choose another --out"
            )
        if (Path(out) / CONFIG).exists() and not _describes_a_run(Path(out) / CONFIG):
            raise TrainingError(f"{out} holds a {CONFIG} that minidl train did not write: choose another --out")
        return Path(out)
    name = f"{model}-{os.path.basename(os.path.abspath(data.removeprefix('folder:')))}"
    taken = {path.name for path in Path(root).iterdir()} if Path(root).is_dir() else set()
    number = 1
    while (name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    return Path(root) / (name if number == 1 else f"{name}-{number}")


def _describes_a_run(path: Path) -> bool:
    """Whether a run that stopped before its first checkpoint left ``path`` behind; it may begin again."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(content, dict) and set(_DESCRIPTION) <= set(content)


def start_run(
    model: str,
    config: TrainConfig,
    folder: Path,
    *,
    download: bool = False,
    workers: int = 0,
    device: str = "cpu",
    **trainer_options: Any,
) -> Trainer:
    """A trainer at its beginning: model, data, optimiser and schedule by the settings; writes config.json.

    ``device`` is where it computes; it is no setting of the run, which may go on elsewhere.

    >>> import tempfile
    >>> import minidl.models
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     trainer = start_run("mlp", TrainConfig(data="digits", epochs=1), Path(folder))
    ...     history = trainer.fit(1)
    >>> len(history), history[0]["epoch"]
    (1, 1)
    """
    target, asked = usable(device), config.normalize
    config = complete(model, config)
    info = registry.info(model)
    source = find_source(config.data or "")
    start = None if config.weights is None else find_start(config.weights, model)
    known = start.normalization if start else None
    if known is not None and asked in (None, known.name):
        config.normalize = known.name  # type: ignore[assignment]
    given = (start.options if start else {}) | info.parse_options(config.options)
    _, input_shape = info.for_data(source.image_shape, 1, given)  # the number of classes is known after reading
    if 0 in input_shape:
        raise TrainingError(f"{model} takes images as they are, but those of a folder have no size in common")
    task = load_task(
        config.data or "",
        input_shape,
        data_dir=config.data_dir,
        augment=config.augment or "none",
        download=download,
        statistics=None if start is None else start.statistics(input_shape),
        normalize=_known_or_name(known, config.normalize or "colours", input_shape),
        max_shift=config.max_shift,
        test_crops=config.test_crops or 1,
    )
    options, _ = info.for_data(source.image_shape, len(task.classes), given)
    description = {
        "model": model,
        "options": options,
        "settings": dataclasses.asdict(config),
        "classes": list(task.classes),
        "input_shape": list(input_shape),
        "mean": list(task.mean),
        "std": list(task.std),
    }
    return _trainer(description, config, task, folder, workers, target, trainer_options, start)


def resume_run(
    folder: Path,
    *,
    epochs: int | None = None,
    data_dir: str | None = None,
    download: bool = False,
    workers: int = 0,
    device: str = "cpu",
    **trainer_options: Any,
) -> Trainer:
    """A trainer that goes on where the run in ``folder`` stopped; ``epochs`` may be more than it was started with.

    The schedule keeps the length that it was planned with: epochs beyond have the learning rate of its last one.

    >>> import tempfile
    >>> import minidl.models
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = start_run("mlp", TrainConfig(data="digits", epochs=1), Path(folder)).fit(1)
    ...     history = resume_run(Path(folder), epochs=2).fit(2)
    >>> [row["epoch"] for row in history]
    [1, 2]
    """
    target = usable(device)
    state = _load(folder / CHECKPOINT)
    description = state["config"]
    config = TrainConfig(**description["settings"])
    config.schedule_epochs = config.schedule_epochs or config.epochs
    if epochs is not None:
        if epochs < state["epoch"]:
            raise TrainingError(f"{folder} has {state['epoch']} epochs behind it, so --epochs {epochs} is too few")
        config.epochs = epochs
    config.data_dir = data_dir or config.data_dir
    description["settings"] = dataclasses.asdict(config)
    task = load_task(
        config.data or "",
        tuple(description["input_shape"]),
        data_dir=config.data_dir,
        augment=config.augment or "none",
        download=download,
        normalize=_normalization(description, state.get("fitted", {})),
        max_shift=config.max_shift,
        test_crops=config.test_crops or 1,
    )
    if list(task.classes) != description["classes"]:
        raise CheckpointError(f"{folder}: the classes of the data have changed since the run was started")
    trainer = _trainer(description, config, task, folder, workers, target, trainer_options)
    trainer.load_state_dict(state)
    return trainer


def load_run(path: str | Path, device: str | Device = "cpu") -> Run:
    """The model of a run folder (its last checkpoint), or of one checkpoint file, in evaluation mode on ``device``.

    >>> import tempfile
    >>> import minidl.models
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = start_run("mlp", TrainConfig(data="digits", epochs=1), Path(folder)).fit(1)
    ...     run = load_run(folder)
    >>> run.epochs, len(run.classes), run.model.training
    (1, 10, False)
    """
    target, path = usable(device), Path(path)
    state = _load(path / CHECKPOINT if path.is_dir() else path)
    description = state["config"]
    try:
        model = build(description)
        model.load_state_dict(tested_weights(state))
    except Exception as error:  # the names and numbers come from a file
        raise CheckpointError(f"{path}: its model cannot be built again: {error}") from error
    return Run(model.to(target).eval(), description, state["epoch"], path, target, state.get("fitted", {}))


def _normalization(description: dict[str, Any], fitted: dict[str, Any]) -> Normalization:
    name = description["settings"].get("normalize") or "colours"
    return Normalization(name, description["mean"], description["std"], fitted)


def _known_or_name(known: Normalization | None, name: str, input_shape: tuple[int, ...]) -> str | Normalization:
    """What was measured for the weights to begin with, if it is that and for such images; else its name."""
    shape = whole_shape(input_shape) if name == "mean_photo" else input_shape
    return known if known is not None and (known.name, known.shape) == (name, shape) else name


_DESCRIPTION = ("model", "options", "settings", "classes", "input_shape", "mean", "std")


def _load(path: Path) -> dict[str, Any]:
    """A checkpoint that `minidl train` wrote, its description complete."""
    if not path.exists():
        raise CheckpointError(f"{path} does not exist: no run was saved there. Start one with: minidl train MODEL")
    state = load_checkpoint(path)
    try:
        lacks = [name for name in _DESCRIPTION if name not in state["config"]]
        TrainConfig(**state["config"]["settings"])
        lacks += [name for name in ("model", "epoch") if name not in state]
        if (
            state["config"]["settings"].get("normalize") in ("mean_image", "mean_photo", "whiten")
            and "fitted" not in state
        ):
            lacks.append("fitted")
    except (KeyError, TypeError) as error:
        lacks = [str(error)]
    if lacks:
        raise CheckpointError(
            f"{path}: this checkpoint was not written by minidl train, it lacks {', '.join(lacks)}; load its weights "
            "with minidl.train.load_checkpoint"
        )
    return state


def _trainer(
    description: dict[str, Any],
    config: TrainConfig,
    task: Task,
    folder: Path,
    workers: int,
    device: Device,
    options: dict[str, Any],
    start: Start | None = None,
) -> Trainer:
    common = (description, config, task, folder, workers, device, options)
    if start is not None and start.path is None:
        _made(*common)  # says what is wrong with the settings before anything is fetched
    trainer = _made(*common, start)
    folder.mkdir(parents=True, exist_ok=True)  # after all that can be wrong with the settings
    with atomic_write(folder / CONFIG, "w", encoding="utf-8") as file:
        file.write(json.dumps(description, indent=2) + "\n")
    return trainer


def _made(
    description: dict[str, Any],
    config: TrainConfig,
    task: Task,
    folder: Path,
    workers: int,
    device: Device,
    options: dict[str, Any],
    start: Start | None = None,
) -> Trainer:
    random.manual_seed(config.seed or 0)
    model = _tried(description, start).to(device)
    learns = what_learns(model, config, description["input_shape"])
    optimizer = make_optimizer(config, grouped(model, learns, config.groups or "alike", config.lr or 0.0))
    batch_size, seed = config.batch_size or 1, config.seed or 0
    loss = functools.partial(cross_entropy, label_smoothing=config.label_smoothing or 0.0)
    if config.loss == "map":
        loss = functools.partial(map_loss, rubbish_penalty=config.rubbish_penalty or 0.0)
    measures = config.optimizer == "diagonal_lm"
    train_loader = DataLoader(task.train, batch_size, shuffle=True, seed=seed, num_workers=workers, device=device)
    return Trainer(
        model,
        optimizer,
        train_loader,
        DataLoader(task.test, max(batch_size, 256), num_workers=workers, device=device),
        folder,
        scheduler=make_scheduler(config, optimizer, len(train_loader)),
        loss=loss,
        clip=config.clip or 0.0,
        amp=DEFAULT[device.type] if config.amp else None,
        each_step=goes_on_each_step(config),
        config=description,
        views=_views(config, tuple(description["input_shape"])),
        averaged=_average(model, config.ema) if config.ema else None,
        before_epoch=CurvatureBefore(model, optimizer, loss, task.train, seed) if measures else None,
        after_update=functools.partial(limit_filters, model, config.filter_rms) if config.filter_rms else None,
        fitted=dict(task.normalization.arrays),
        **options,
    )


def _views(config: TrainConfig, input_shape: tuple[int, ...]) -> Any:
    """What makes of a model one that looks at ten crops; None where tests look at the centre."""
    return functools.partial(TenCrops, size=input_shape[1:]) if (config.test_crops or 1) > 1 else None


def _average(model: Any, decay: float) -> Any:
    """A running average of weights and statistics, as TensorFlow's programs for Inception and EfficientNet keep it."""
    from ..optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay, warmup=True), use_buffers=True)


def _tried(description: dict[str, Any], start: Start | None) -> Any:
    """A new model, tried on a batch of zeros: it must give one score a class."""
    name, classes = description["model"], len(description["classes"])
    shape = (2, *description["input_shape"])
    model = build(description, start)
    try:
        with modes_kept(model), no_grad():
            found = model.eval()(zeros(*shape)).shape
    except ValueError as error:
        raise TrainingError(f"{name} does not take images of shape {shape[1:]}: {error}") from error
    if found != (2, classes):
        raise TrainingError(
            f"{name} gives {found} for two images, but the data has {classes} classes and training needs (2, {classes})"
        )
    return model
