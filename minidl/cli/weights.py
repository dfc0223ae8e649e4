"""``minidl weights``."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import cyclopts


def register(app: "cyclopts.App") -> None:
    app.command(weights)


def weights(
    action: Literal["list", "get", "path", "remove"] = "list", /, *names: str, cache: Path | None = None
) -> int:
    """Public weights: list them, fetch files into the cache, say where one lies, remove them.

    A fetched file is compared with its checksum, or with the first digits of it where the table has no more; all of it
    is then kept beside the file, in NAME.sha256. A download that was interrupted goes on where it stopped.

    Parameters
    ----------
    action
        list (of all, or of the networks named), get, path or remove.
    names
        Such as resnet50, which means its first file, or resnet50.v2. For remove also "all".
    cache
        Folder of the files, if not the usual one, which `minidl weights path` names.
    """
    from minidl.models import weights as table

    if action == "list":
        _list(names, cache)
        return 0
    if action == "path" and not names:
        print(table.cache_folder(cache))
        return 0
    if not names:
        raise table.UnknownWeightsError(f"which weights? minidl weights {action} NAME, such as resnet50")
    if action == "remove" and names == ("all",):
        names = tuple(table.names())
    entries = [table.find(name) for name in names]  # all names are right before anything is done
    missing = 0
    for entry in entries:
        path = entry.path(cache)
        if action == "get":
            print(entry.fetch(cache))
        elif action == "path":
            print(path)
            missing += not path.is_file()
        else:
            for old in (path, *(path.with_name(f"{path.name}.{end}") for end in ("part", "sha256"))):
                if old.exists():
                    old.unlink()
                    print(f"removed {old}")
    return 1 if missing else 0  # for scripts: the file is not there


def _list(names: tuple[str, ...], cache: Path | None) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    from minidl.models import weights as table

    wanted = set(names)
    for name in wanted:
        table.find(name)
    first, last = Column("name", no_wrap=True), Column("file", overflow="fold")
    rows = Table(first, "top-1", "top-5", "MiB", "here", "licence", last)
    for entries in table.table().values():
        for entry in entries:
            if not wanted or wanted & {entry.model, entry.name}:
                numbers = (entry.top1, entry.top5, entry.mib)
                shown = [f"{value:.1f}" if value is not None else "" for value in numbers]
                here = "yes" if entry.path(cache).is_file() else ""
                rows.add_row(entry.name, *shown, here, entry.licence, entry.url or f"your {entry.file}")
    console = Console(markup=False)
    if not console.is_terminal:
        console.width = max(console.width, 160)  # a file or pipe is as wide as it takes
    console.print(rows)
    print(f"top-1 and top-5 in percent, as published. The files are kept in {table.cache_folder(cache)}")
