"""``minidl eval``."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import cyclopts


def register(app: "cyclopts.App") -> None:
    app.command(evaluate_command, name="eval")


def evaluate_command(run: str, *, data: str | None = None, data_dir: str | None = None, workers: int = 0) -> None:
    """Test a trained model: loss, accuracy and confusion matrix on the test part of its data.

    Parameters
    ----------
    run
        Folder of a run (its last checkpoint is taken), or a checkpoint file, such as RUN/best.safetensors.
    data
        Other data with the same classes.
    data_dir
        Where the files of the data are, if not where they were.
    workers
        Threads that read images.
    """
    from rich.console import Console

    import minidl.models  # noqa: F401  it puts the networks on the list that names are looked up in
    from minidl.data import DataLoader
    from minidl.train import TrainingError, evaluate, load_run, load_task
    from minidl.train.metrics import accuracy_line, confusion_table

    loaded = load_run(run)
    name = data or loaded.settings.data or ""
    folder = data_dir or loaded.settings.data_dir
    task = load_task(name, loaded.input_shape, data_dir=folder, statistics=loaded.statistics)
    if list(task.classes) != loaded.classes:
        raise TrainingError(
            f"the classes of {name} ({', '.join(task.classes)}) are not those of the model "
            f"({', '.join(loaded.classes)})"
        )
    result = evaluate(loaded.model, DataLoader(task.test, 256, num_workers=workers), len(task.classes))
    console = Console(markup=False)  # names may hold brackets
    model = loaded.description["model"]
    console.print(f"{model} after {loaded.epochs} epochs, on the test part of {name}", highlight=False)
    console.print(confusion_table(result, task.classes))
    console.print(accuracy_line(result), highlight=False)
