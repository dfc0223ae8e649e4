"""Fetching data sets: checked against a known hash, under a temporary name until whole, with a progress bar.

Needs ``pooch`` (the extra ``train``). Without a network the error says which files to put where.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .errors import DataError, DataNotFoundError


class RemoteFile(NamedTuple):
    """A file of a data set: its name, and the hash that identifies it, as ``"md5:..."`` or ``"sha256:..."``."""

    name: str
    known_hash: str


def missing_message(what: str, folder: Path, files: Sequence[RemoteFile], mirrors: Sequence[str]) -> str:
    """Which files belong where, and where they can be had: for a person who has to carry them by hand."""
    lines = [f"{what} needs these files in {folder}:"]
    lines += [f"  {file.name}  ({file.known_hash})" for file in files]
    lines += ["They are published at " + " and ".join(f"{mirror}" for mirror in mirrors)]
    return "\n".join(lines)


class _Bar:
    """rich's progress bar behind the few methods that pooch calls."""

    def __init__(self, label: str) -> None:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self.task = self.progress.add_task(label, total=None)
        self._total: int | None = None

    @property
    def total(self) -> int | None:
        return self._total

    @total.setter
    def total(self, value: int | None) -> None:
        self._total = value
        self.progress.start()
        self.progress.update(self.task, total=value)

    def update(self, amount: int) -> None:
        self.progress.update(self.task, advance=amount)

    def reset(self) -> None:  # pooch calls it before its last update, which fills the bar
        self.progress.reset(self.task, total=self._total)

    def close(self) -> None:
        self.progress.stop()


def fetch(what: str, folder: Path, files: Sequence[RemoteFile], mirrors: Sequence[str], progress: bool = True) -> None:
    """Bring the files that are not yet in ``folder`` there, from the first mirror that has them.

    A file with the right hash is left alone. An interrupted download leaves nothing under the final name.

    :raises DataNotFoundError: no mirror could be reached; the message says what to put where.
    :raises DataError: what came has the wrong hash.
    """
    try:
        import pooch
    except ImportError as error:
        raise DataNotFoundError(
            "downloading needs pooch (python -m pip install pooch), or fetch the files by hand.\n"
            + missing_message(what, folder, files, mirrors),
            folder,
        ) from error
    for file in files:
        _fetch_one(pooch, what, folder, file, files, mirrors, progress)


def _fetch_one(
    pooch: Any,
    what: str,
    folder: Path,
    file: RemoteFile,
    files: Sequence[RemoteFile],
    mirrors: Sequence[str],
    progress: bool,
) -> None:
    troubles = []
    for mirror in mirrors:
        bar = _Bar(file.name) if progress else None
        downloader = pooch.HTTPDownloader(progressbar=bar if bar is not None else False, timeout=30)
        try:
            pooch.retrieve(mirror + file.name, file.known_hash, file.name, folder, downloader=downloader)
            return
        except OSError as error:
            troubles.append(f"{mirror}: {type(error).__name__}: {error}")
        except ValueError as error:  # pooch's word for a wrong hash
            raise DataError(
                "what was downloaded has the wrong hash and was thrown away",
                folder / file.name,
                expected=file.known_hash,
                found=f"something else from {mirror}",
                hint="A proxy's error page is the usual cause: try again, or fetch the file by hand",
            ) from error
        finally:
            if bar is not None:
                bar.close()
    raise DataNotFoundError(
        f"{file.name} could not be downloaded.\n"
        + missing_message(what, folder, files, mirrors)
        + "\nWhat was tried:\n  "
        + "\n  ".join(troubles),
        folder / file.name,
    )
