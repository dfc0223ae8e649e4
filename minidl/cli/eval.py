"""``minidl eval``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ._checks import at_least
from ._looking import Looking, is_a_run

if TYPE_CHECKING:
    import cyclopts

    from minidl.predict import Samples


def register(app: "cyclopts.App") -> None:
    """Add ``minidl eval`` to ``app``."""
    app.command(evaluate_command, name="eval")


def evaluate_command(
    model: str,
    /,
    *,
    data: str | None = None,
    data_dir: str | None = None,
    download: bool = False,
    workers: int = 0,
    looking: Annotated[Looking | None, Parameter(name="*")] = None,
) -> int:
    """Test a network: top-1 and top-5 of the zoo's on labelled images; of a run loss, accuracy and confusion matrix.

    Parameters
    ----------
    model
        Name of a network, resnet50 or resnet50.v2; or the folder of a run (its last checkpoint is taken), or a
        checkpoint file, such as RUN/best.safetensors.
    data
        For the zoo: a folder with a sub-folder for each class, or with labels.csv (columns file and label), or with
        WordNet numbers in the names of its files; an .npz file with x and y; mnist or cifar10. For a run: other data
        with the same classes.
    data_dir
        Where the files of the data are, if not where they were.
    download
        Fetch the data set if it is not there.
    workers
        Of a run: threads that read images.
    """
    from minidl.train import TrainingError

    at_least(0, workers=workers)
    looking = looking or Looking()
    if is_a_run(model):
        if given := ", ".join(looking.of_the_zoo()):
            raise TrainingError(f"{model} is no network of the zoo but a run, which takes no {given}")
        _evaluate_run(model, data, data_dir, download, workers, looking.device)
        return 0
    if data is None:
        raise TrainingError(f"on which images? minidl eval {model} --data FOLDER")
    return _evaluate_network(model, data, data_dir, download, looking)


def _evaluate_network(model: str, data: str, data_dir: str | Path | None, download: bool, looking: Looking) -> int:
    import sys

    from rich.console import Console
    from rich.progress import Progress

    from minidl.predict import load_samples, score

    def samples_for(classes: Sequence[str], mode: str) -> "Samples":
        return load_samples(data, classes, mode=mode, data_dir=data_dir, download=download)

    choices = looking.choices(model)
    known = next(((one.classes, one.mode) for one in choices if one.classes is not None), None)
    samples = samples_for(*known) if known else None  # before anything is fetched
    classifier = looking.load(choices)
    print(classifier)
    if samples is None:
        samples = samples_for(classifier.classes, classifier.mode)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("images", total=len(samples))
        result = score(classifier, samples, progress=lambda done: progress.update(task, completed=done))
    for name, why in result.broken:
        print(f"minidl: {why if name in why else f'{name}: {why}'}", file=sys.stderr)
    print(result)
    return 1 if result.broken else 0


def _evaluate_run(run: str, data: str | None, data_dir: str | None, download: bool, workers: int, device: str) -> None:
    from rich.console import Console

    import minidl.models  # noqa: F401  it puts the networks on the list that names are looked up in
    from minidl.data import DataLoader
    from minidl.train import TrainingError, evaluate, load_run, load_task
    from minidl.train.metrics import accuracy_line, confusion_table

    loaded = load_run(run, device)
    name = data or loaded.settings.data or ""
    folder = data_dir or loaded.settings.data_dir
    task = load_task(
        name,
        loaded.input_shape,
        data_dir=folder,
        download=download,
        normalize=loaded.normalization,
        test_crops=loaded.settings.test_crops or 1,
    )
    if list(task.classes) != loaded.classes:
        raise TrainingError(
            f"the classes of {name} ({', '.join(task.classes)}) are not those of the model "
            f"({', '.join(loaded.classes)})"
        )
    loader = DataLoader(task.test, 256, num_workers=workers, device=loaded.device)
    result = evaluate(loaded.tested, loader, len(task.classes))
    console = Console(markup=False)  # names may hold brackets
    model = loaded.description["model"]
    console.print(f"{model} after {loaded.epochs} epochs, on the test part of {name}", highlight=False)
    console.print(confusion_table(result, task.classes))
    console.print(accuracy_line(result), highlight=False)
