"""``minidl models``."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import cyclopts


def register(app: "cyclopts.App") -> None:
    app.command(models)


def models(filter: str = "", *, options: bool = False, json: bool = False) -> None:
    """List the models: input (C×H×W), parameters, multiply-adds (MACs), published error in %, paper.

    Parameters
    ----------
    filter
        Part of the names: minidl models resnet.
    options
        Show the options of the constructors with their defaults as well.
    json
        All there is to know, as JSON.
    """
    from json import dumps

    from rich.console import Console
    from rich.table import Table

    from minidl import models as zoo
    from minidl.models.facts import FACTS

    names = [name for name in zoo.list() if filter in name]
    if not names:
        raise zoo.UnknownModelError(f"no model has {filter!r} in its name; `minidl models` lists all")
    rows: dict[str, dict[str, Any]] = {}
    for name in names:
        info = zoo.info(name)
        facts = FACTS[name]._asdict() if name in FACTS else {}
        rows[name] = {"input": info.input_shape, **facts, "source": info.source, "options": info.options()}
    if json:
        print(dumps(rows, indent=2))
        return
    table = Table("model", "input", box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("MACs", justify="right", no_wrap=True)
    table.add_column("error %")
    table.add_column("options" if options else "paper")
    table.columns[0].no_wrap = True
    for name, row in rows.items():
        counts = [f"{row[key]:,}" if key in row else "" for key in ("parameters", "macs")]
        chosen = ", ".join(f"{key}={value}" for key, value in row["options"].items())
        paper = row["source"].partition(": ")[0]
        shape = "×".join(map(str, row["input"]))
        table.add_row(name, shape, *counts, row.get("error", ""), chosen if options else paper)
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 160)  # a file or pipe is as wide as it takes
    console.print(table)
