"""``minidl predict``."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import cyclopts


def register(app: "cyclopts.App") -> None:
    app.command(predict)


def predict(run: str, /, *images: Path, top: int = 3, invert: bool | None = None, json: bool = False) -> None:
    """Classify image files with a trained model.

    Parameters
    ----------
    run
        Folder of a run, or a checkpoint file.
    images
        Image files of any size and format that Pillow reads.
    top
        How many answers to show for each image.
    invert
        Exchange black and white. By default it is done for models of drawings (digits, MNIST) when the border of
        the image is bright; the table says so.
    json
        Print the answers as JSON for programs.
    """
    import minidl.models  # it puts the networks on the list that names are looked up in
    import minidl.train as training

    if not images:
        raise training.TrainingError("no image was named: minidl predict RUN IMAGE...")
    predictions = training.predict(training.load_run(run), images, invert=invert)
    if json:
        import json as encoder

        rows = [{"image": str(p.path), "inverted": p.inverted, "ranking": p.ranking[:top]} for p in predictions]
        print(encoder.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("image", "answer", "probability")
    for p in predictions:
        for rank, (name, probability) in enumerate(p.ranking[:top]):
            label = f"{p.path}{' (inverted: its border is bright)' if p.inverted and invert is None else ''}"
            table.add_row(label if rank == 0 else "", name, f"{probability:.2%}", end_section=rank == top - 1)
    Console(markup=False).print(table)
