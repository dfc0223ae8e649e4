"""``minidl train``."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from minidl.train.config import TrainConfig
from minidl.train.errors import TrainingError

from ._checks import at_least

if TYPE_CHECKING:
    import cyclopts

# What may change when a run goes on; all else would make it another run
_ON_RESUME = ("epochs", "data_dir")


def register(app: "cyclopts.App") -> None:
    app.command(train, config=(_settings_file,))


def _settings_file(app: Any, commands: Any, arguments: Any) -> None:
    """Read --config, where it is given, for all that the command line leaves open."""
    import tomllib

    from cyclopts.config import Toml

    for argument in arguments:
        if "--config" in argument.names and argument.tokens:
            path = argument.tokens[0].value
            with open(path, "rb") as file:
                try:
                    tomllib.load(file)
                except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                    raise TrainingError(f"{path} is not a TOML file: {error}") from error
            Toml(path, must_exist=True, search_parents=False, use_commands_as_keys=False)(app, commands, arguments)


def train(
    model: str | None = None,
    *,
    settings: Annotated[TrainConfig | None, Parameter(name="*")] = None,
    resume: Path | None = None,
    out: Path | None = None,
    config: Path | None = None,
    recipe: str | None = None,
    download: bool = False,
    workers: int = 0,
    threads: int | None = None,
    device: str = "cpu",
    graph: bool = False,
    save_every: float = 60.0,
) -> None:
    """Train a model: minidl train lenet5 --data digits.

    The run is kept in a folder, runs/MODEL-DATA: config.json, metrics.jsonl, checkpoint.safetensors (the whole state,
    to go on with), best.safetensors (the weights with the best test accuracy), curves.png and confusion.png.
    Settings that are not given have defaults that depend on the model and the data.

    Parameters
    ----------
    model
        Name of a model; minidl models lists them.
    resume
        Folder of a run to go on with, exactly where it stopped. Beside it only --epochs, --data-dir, --download,
        --workers, --threads, --device, --graph and --save-every may be given.
    out
        Folder of the run instead of runs/MODEL-DATA.
    config
        A TOML file with any of these settings: epochs = 5.
    recipe
        "paper" for the settings of the model's paper (minidl recipes shows them); what is given besides goes before.
    download
        Fetch the data set if it is not there.
    workers
        Threads that read images ahead.
    threads
        Threads that compute; by default all CPUs.
    device
        Where to compute: cpu, or cuda for an NVIDIA GPU (minidl doctor says whether there is one that works).
    graph
        Record a step of the training on the CUDA device and launch it as one from then on, with the same losses: for
        small networks, whose operations take the host longer to launch than the device to compute.
    save_every
        Seconds between two checkpoints inside an epoch; there is one after each epoch as well.
    """
    settings = settings or TrainConfig()
    if recipe is not None and model is not None and resume is None:
        settings = _with_recipe(model, recipe, settings)
    elif recipe is not None and resume is not None:
        raise TrainingError("a run goes on with the settings it has, so --recipe cannot be given with --resume")
    run_training("train", model, settings, resume, out, download, workers, threads, device, graph, save_every)


def _with_recipe(model: str, name: str, settings: TrainConfig) -> TrainConfig:
    """``settings``, and those of the model's paper where they say nothing; prints what the paper did otherwise."""
    from rich.console import Console

    from minidl.models.recipes import recipe

    found = recipe(model, name)
    if found.differs:
        Console(markup=False, highlight=False, soft_wrap=True).print(f"not as in the paper: {found.differs}")
    if found.data == "imagenet" and settings.data is None:
        raise TrainingError(f"the recipe of {model} is for ImageNet: name a folder of images with --data FOLDER")
    return settings.over(found.settings())


def run_training(
    command: str,
    model: str | None,
    settings: TrainConfig,
    resume: Path | None,
    out: Path | None,
    download: bool,
    workers: int,
    threads: int | None,
    device: str,
    graph: bool,
    save_every: float,
    begun: Callable[[], None] = lambda: None,
) -> None:
    """What ``minidl train`` and ``minidl finetune`` do: start a run or go on with one, show it, report its result.

    ``begun`` is called when a run has begun: weights to begin with fit.
    """
    at_least(0, workers=workers, save_every=save_every)
    from rich.console import Console

    import minidl.models  # noqa: F401  it puts the networks on the list that names are looked up in
    from minidl.train import new_run_folder, resume_run, start_run
    from minidl.train.console import ConsoleDisplay, report

    if threads is not None:
        from minidl.kernels.threads import set_num_threads

        try:
            set_num_threads(threads)
        except ValueError as error:
            raise TrainingError(f"--threads {threads}: {error}") from error
    console = Console(markup=False)  # names may hold brackets
    display = ConsoleDisplay(console)
    common: dict[str, Any] = {"workers": workers, "device": device, "save_every": save_every, "display": display}
    common |= {"download": download, "graph": graph}
    if resume is not None:
        fixed = [name for name in settings.given() if name not in _ON_RESUME]
        fixed += [name for name, value in (("model", model), ("out", out)) if value is not None]
        if fixed:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in fixed)
            raise TrainingError(f"a run goes on with the settings it has, so {names} cannot be given with --resume")
        trainer = resume_run(resume, epochs=settings.epochs, data_dir=settings.data_dir, **common)
    elif model is None:
        raise TrainingError(f"which model? For example: minidl {command} lenet5. minidl models lists them")
    else:
        folder = new_run_folder(out, model, settings.data or "digits")
        trainer = start_run(model, settings, folder, **common)
        begun()
    description = trainer.config
    full = TrainConfig(**description["settings"])
    options = "".join(f", {k} {v}" for k, v in description["options"].items())
    console.print(f"{description['model']}{options}", highlight=False, soft_wrap=True)
    console.print(", ".join(f"{k} {v}" for k, v in full.in_use().items()), highlight=False, soft_wrap=True)
    planned = full.schedule_epochs or 0
    if "schedule_epochs" in full.in_use() and (full.epochs or 0) > planned:
        said = f"the {full.schedule} schedule is over after {planned} epochs; the learning rate then stays as it is"
        console.print(said, highlight=False, soft_wrap=True)
    trainer.fit(full.epochs or 0)
    report(trainer, console)
