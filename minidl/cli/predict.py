"""``minidl predict``."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ._looking import Looking, is_a_run

if TYPE_CHECKING:
    import cyclopts


def register(app: "cyclopts.App") -> None:
    """Add ``minidl predict`` to ``app``."""
    app.command(predict)


def predict(
    model: str,
    /,
    *images: str,
    top: int | None = None,
    json: bool = False,
    csv: bool = False,
    invert: bool | None = None,
    looking: Annotated[Looking | None, Parameter(name="*")] = None,
) -> int:
    """Classify image files: minidl predict resnet50 photo.jpg, or minidl predict RUN drawing.png.

    Networks of the zoo take public weights, or a file of yours with --weights, and prepare images as these want it.
    A file that is no image is reported, the others are classified, and the exit code is 1.

    Parameters
    ----------
    model
        Name of a network, resnet50 or resnet50.v2; or the folder of a run that you trained, or a checkpoint of it.
    images
        Files of any size and format that Pillow reads, folders, patterns ("photos/*.jpg"), or @list, a file with a
        path a line.
    top
        How many answers to show for each image: by default 5, for a run 3.
    json
        Print the answers as JSON for programs.
    csv
        Print the answers as a table with commas: image, rank, class, probability.
    invert
        Of a run: exchange black and white. By default it is done for models of drawings (digits, MNIST) when the
        border of the image is bright; the table says so.
    """
    from minidl.predict import find_images
    from minidl.train import TrainingError

    looking = looking or Looking()
    if not images:
        raise TrainingError("no image was named: minidl predict RUN IMAGE..., or minidl predict resnet50 IMAGE...")
    if json and csv:
        raise TrainingError("--json or --csv, not both")
    if top is not None and top < 1:
        raise TrainingError(f"--top {top}: at least one answer")
    run = is_a_run(model)
    if run and (given := ", ".join(looking.of_the_zoo())):
        raise TrainingError(f"{model} is no network of the zoo but a run, which takes no {given}")
    if not run and invert is not None:
        raise TrainingError("--invert is for runs: networks of the zoo see images as they are")
    paths = find_images(images)
    answers = _answers_of_a_run(model, paths, invert, looking.device) if run else _answers(model, paths, looking)
    show = _print_json if json else _print_csv if csv else _print_table
    return 1 if show(list(answers), top or (3 if run else 5)) else 0


class Answer:
    """Of one image: the ranking of all classes, or why there is none; a remark for the table."""

    def __init__(self, path: Path, ranking: Sequence[tuple[str, float]] = (), error: str = "", **more: Any) -> None:
        self.path, self.ranking, self.error = path, ranking, error
        self.inverted: bool | None = more.get("inverted")
        self.remark: str = more.get("remark", "")


def _answers(model: str, paths: Sequence[Path], looking: Looking) -> list[Answer]:
    from minidl.data import DataError
    from minidl.predict import rank, read_photo

    found = [Answer(path) for path in paths]
    choices = looking.choices(model)
    for answer in found:  # up to the first that can be read: without one no weights are fetched
        try:
            read_photo(answer.path)
            break
        except (DataError, OSError) as error:
            answer.error = _text(error)
    else:
        return found
    classifier = looking.load(choices)

    def images() -> Iterator[Any]:
        for answer in found:
            if answer.error:
                continue
            try:
                yield read_photo(answer.path, classifier.mode)
            except (DataError, OSError) as error:
                answer.error = _text(error)

    rows = iter(classifier.probabilities(images()))
    for answer in found:
        if not answer.error:
            answer.ranking = rank(next(rows), classifier.classes, len(classifier.classes))
    return found


def _answers_of_a_run(run: str, paths: Sequence[Path], invert: bool | None, device: str) -> list[Answer]:
    import minidl.train as training
    from minidl.data import DataError, read_image

    loaded = training.load_run(run, device)
    found = [Answer(path) for path in paths]
    for answer in found:
        try:
            read_image(answer.path)
        except (DataError, OSError) as error:
            answer.error = _text(error)
    good = [answer for answer in found if not answer.error]
    for answer, said in zip(good, training.predict(loaded, [a.path for a in good], invert=invert), strict=True):
        answer.ranking, answer.inverted = said.ranking, said.inverted
        answer.remark = " (inverted: its border is bright)" if said.inverted and invert is None else ""
    return found


def _text(error: Exception) -> str:
    """Why a file could not be read, without its name where that comes before."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _print_json(answers: Sequence[Answer], top: int) -> bool:
    import json

    rows = []
    for answer in answers:
        row: dict[str, Any] = {"image": str(answer.path)}
        if answer.inverted is not None:
            row["inverted"] = answer.inverted
        rows.append(row | ({"error": answer.error} if answer.error else {"ranking": answer.ranking[:top]}))
    print(json.dumps(rows, indent=2))
    return any(answer.error for answer in answers)


def _print_csv(answers: Sequence[Answer], top: int) -> bool:
    import csv
    import sys

    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["image", "rank", "class", "probability"])
    for answer in answers:
        for rank, (name, probability) in enumerate(answer.ranking[:top], 1):
            table.writerow([answer.path, rank, name, f"{probability:.6g}"])
    return _print_errors(answers)


def _print_table(answers: Sequence[Answer], top: int) -> bool:
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(Column("image", overflow="fold"), "answer", "probability")
    for answer in answers:
        for rank, (name, probability) in enumerate(answer.ranking[:top], 1):
            label = f"{answer.path}{answer.remark}" if rank == 1 else ""
            table.add_row(label, name, f"{probability:.2%}", end_section=rank == min(top, len(answer.ranking)))
    if table.row_count:
        Console(markup=False).print(table)
    return _print_errors(answers)


def _print_errors(answers: Sequence[Answer]) -> bool:
    import sys

    broken = [answer for answer in answers if answer.error]
    for answer in broken:
        text = answer.error if str(answer.path) in answer.error else f"{answer.path}: {answer.error}"
        print(f"minidl: {text}", file=sys.stderr)
    return bool(broken)
