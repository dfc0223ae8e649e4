"""``minidl weights``."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import cyclopts


def register(app: "cyclopts.App") -> None:
    """Add ``minidl weights`` to ``app``."""
    app.command(weights)


def weights(
    action: Literal["list", "get", "path", "verify", "remove"] = "list", /, *names: str, cache: Path | None = None
) -> int:
    """Public weights: list them, fetch files into the cache, say where one lies, check them, remove them.

    A fetched file is compared with its SHA-256, or with the first digits of it where the table has no more: then all
    of it is noted beside the file, in NAME.sha256, and compared whenever the file is used or downloaded again. A
    download that was interrupted goes on where it stopped.

    Parameters
    ----------
    action
        list (of all, or of the networks named), get, path, verify (reads the files in the cache whole, all or those
        named; the exit code is 1 where one is wrong or missing) or remove (which leaves NAME.sha256 where it is).
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
    if action == "verify":
        return _verify(names, cache)
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
            for old in (path, path.with_name(f"{path.name}.part")):
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
    rows = Table(first, "top-1", "top-5", "MiB", "here", "SHA-256", "licence", last)
    for entries in table.table().values():
        for entry in entries:
            if not wanted or wanted & {entry.model, entry.name}:
                numbers = (entry.top1, entry.top5, entry.mib)
                shown = [f"{value:.1f}" if value is not None else "" for value in numbers]
                here = "yes" if entry.path(cache).is_file() else ""
                rows.add_row(
                    entry.name, *shown, here, entry.trust(cache), entry.licence, entry.url or f"your {entry.file}"
                )
    console = Console(markup=False)
    if not console.is_terminal:
        console.width = max(console.width, 160)  # a file or pipe is as wide as it takes
    console.print(rows)
    print(f"top-1 and top-5 in percent, as published. The files are kept in {table.cache_folder(cache)}")
    print(
        "SHA-256: whole in the table; or its first digits only, as the publisher gives them, until the first download "
        "notes the whole here"
    )


def _verify(names: tuple[str, ...], cache: Path | None) -> int:
    """One line for each file: those named, or all that are in the cache."""
    from minidl.models import weights as table

    entries = {entry.file: entry for entry in map(table.find, names or reversed(table.names()))}  # two may share one
    if not names:
        entries = {file: entry for file, entry in sorted(entries.items()) if entry.path(cache).is_file()}
    sound = True
    for entry in entries.values():
        right, line = entry.verdict(cache)
        sound = sound and right
        print(line, flush=True)
    if not entries:
        print(f"no file of `minidl weights list` is in {table.cache_folder(cache)}")
    return 0 if sound else 1
