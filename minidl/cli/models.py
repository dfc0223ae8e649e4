"""``minidl models``."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import cyclopts


def register(app: "cyclopts.App") -> None:
    app.command(models)


def models() -> None:
    """List the models: names for train and summary, the input (C×H×W), options with their defaults, source."""
    from rich.console import Console
    from rich.table import Table

    from minidl import models as zoo

    table = Table("model", "input", "options", "source")
    for name in zoo.list():
        info = zoo.info(name)
        options = ", ".join(f"{key}={value}" for key, value in info.options().items())
        table.add_row(name, "×".join(map(str, info.input_shape)), options, info.source)
    Console(markup=False).print(table)
