"""Fetching files from the network: resumed where they broke off, checked against a known hash, then put in their place.

A file grows under the name ``NAME.part``, which survives a lost connection and a killed process; the next attempt
asks for the rest.  Only when its hash is right does it get its own name, all at once.  Standard library only; the
progress bar needs rich.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ..io.atomic import FULL, put_in_place
from .errors import DataError, DataNotFoundError

Progress = Callable[[int, int | None], None]  # bytes that are there, and of how many if that is known

TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 3  # of a connection that breaks; each goes on where the one before stopped
WAIT = 1.0  # seconds before the second attempt, twice as many before each further one

_CHUNK = 1 << 18


class RemoteFile(NamedTuple):
    """A file to fetch: its name, and the hash that identifies it, as ``"md5:..."`` or ``"sha256:..."``.

    Fewer digits than the hash has are its first ones.
    """

    name: str
    known_hash: str


def missing_message(what: str, folder: Path, files: Sequence[RemoteFile], mirrors: Sequence[str]) -> str:
    """Which files belong where, and where they can be had: for a person who has to carry them by hand."""
    lines = [f"{what} needs these files in {folder}:"]
    lines += [f"  {file.name}  ({file.known_hash})" for file in files]
    lines += ["They are published at " + " and ".join(f"{mirror}" for mirror in mirrors)]
    return "\n".join(lines)


def hash_fits(path: Path, known_hash: str) -> bool:
    """Whether a file has the hash, or one that begins with these digits; always with an empty hash.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "hello")
    ...     _ = path.write_bytes(b"hello")
    ...     hash_fits(path, "sha256:2cf24dba"), hash_fits(path, "md5:00")
    (True, False)
    """
    algorithm, _, digits = known_hash.partition(":")
    return not known_hash or hash_of(path, algorithm).startswith(digits.lower())


def hash_of(path: Path, algorithm: str) -> str:
    """The hash of a file in hexadecimal digits; ``algorithm`` "sha256", "md5", ..."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def fetch(what: str, folder: Path, files: Sequence[RemoteFile], mirrors: Sequence[str], progress: bool = True) -> None:
    """Bring the files that are not yet in ``folder`` there, from the first mirror that has them.

    A file with the right hash is left alone.  An interrupted download leaves ``NAME.part``, and the next call goes on
    with it.

    :raises DataNotFoundError: no mirror could be reached; the message says what to put where.
    :raises DataError: what came has the wrong hash.
    :raises OSError: the disk is full, or the folder cannot be written.
    """
    for file in files:
        _fetch_one(what, folder, file, files, mirrors, progress)


def _fetch_one(
    what: str,
    folder: Path,
    file: RemoteFile,
    files: Sequence[RemoteFile],
    mirrors: Sequence[str],
    progress: bool,
) -> None:
    target = folder / file.name
    if target.is_file() and hash_fits(target, file.known_hash):
        return
    folder.mkdir(parents=True, exist_ok=True)
    troubles = []
    for mirror in mirrors:
        bar = _Bar(file.name) if progress else None
        try:
            download(mirror + file.name, target, file.known_hash, bar.show if bar is not None else None)
            return
        except Unreachable as trouble:
            troubles.append(f"{mirror}: {trouble}")
        finally:
            if bar is not None:
                bar.close()
    raise DataNotFoundError(
        f"{file.name} could not be downloaded.\n"
        + missing_message(what, folder, files, mirrors)
        + "\nWhat was tried:\n  "
        + "\n  ".join(troubles),
        target,
    )


class Unreachable(Exception):
    """An address that gave no file, or not the whole of it; the message says why."""


def download(url: str, target: Path, known_hash: str = "", progress: Progress | None = None) -> None:
    """Fetch one address (http, https, file) to ``target``, going on with what an earlier call has left.

    :raises Unreachable: no connection, an error page, or a connection that broke several times.
    :raises DataError: the wrong hash; what had been put together from two attempts is loaded anew before.
    :raises OSError: of the disk, with a sentence where it is full.
    """
    part = target.with_name(f"{target.name}.part")
    with _only_one(part):
        if target.is_file() and known_hash and hash_fits(target, known_hash):
            part.unlink()
            return  # another process has fetched it while this one waited
        try:
            resumed = _complete(url, part, progress)
            if resumed and not hash_fits(part, known_hash):  # of another version of the file, perhaps
                os.truncate(part, 0)
                _complete(url, part, progress)
        except BaseException:
            if not part.stat().st_size:
                part.unlink()
            raise
        if not hash_fits(part, known_hash):
            found = part.stat().st_size
            part.unlink()
            raise DataError(
                "what was downloaded has the wrong hash and was thrown away",
                target,
                expected=known_hash,
                found=f"something else, of {found:,} bytes, at {url}",
                hint="A proxy's error page is the usual cause: try again, or fetch the file by hand",
            )
        put_in_place(part, target)


def _complete(url: str, part: Path, progress: Progress | None) -> bool:
    """Load ``part`` to its end; whether it holds bytes of more than one request."""
    resumed = False
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _load(url, part, progress) or resumed
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416 and part.stat().st_size:  # nothing comes behind the last byte
                    total = error.headers.get("Content-Range", "").rpartition("/")[2]
                    if total == str(part.stat().st_size):
                        return True
                    os.truncate(part, 0)  # longer than the file there, so of another one
                    continue
                if error.code < 500 or attempt == ATTEMPTS:
                    raise Unreachable(f"HTTPError: {error.code} {_words(error.reason)}") from error
        except urllib.error.URLError as error:
            raise Unreachable(_words(error.reason)) from error
        except (OSError, HTTPException) as error:
            ours = isinstance(error, OSError) and error.filename is not None  # the disk, not the network
            if ours:
                raise
            if attempt == ATTEMPTS:
                raise Unreachable(f"{_words(error)}. What came is kept: the next attempt goes on with it") from error
            resumed = True
        time.sleep(WAIT * 2 ** (attempt - 1))
    raise Unreachable("the server does not say how long the file is")


def _words(reason: BaseException | str) -> str:
    text = str(reason) or "without a reason"  # as a timeout of some systems, and the answer of some proxies
    return f"{type(reason).__name__}: {text}" if isinstance(reason, BaseException) else text


def _load(url: str, part: Path, progress: Progress | None) -> bool:
    """One request for all that is missing; whether bytes of an earlier one were kept."""
    have = part.stat().st_size
    headers = {"User-Agent": "minidl", "Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT, context=_certificates()) as answer:
        if not _continues(answer, have):
            have = 0
        length = answer.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        with _about_the_disk(part, have, total), part.open("ab" if have else "wb") as file:
            _copy(answer, file, have, total, progress)
    return bool(have)


def _continues(answer: Any, have: int) -> bool:
    """Whether the server sends what was asked for; otherwise it sends the file from its beginning."""
    headers: Message = answer.headers
    return answer.status == 206 and headers.get("Content-Range", "").startswith(f"bytes {have}-")


def _copy(answer: Any, file: BinaryIO, done: int, total: int | None, progress: Progress | None) -> None:
    while True:
        if progress is not None:
            progress(done, total)
        chunk = answer.read(_CHUNK)
        if not chunk:
            break
        file.write(chunk)
        done += len(chunk)
    if total is not None and done < total:
        raise ConnectionError(f"the connection ended after {done:,} of {total:,} bytes")


@contextlib.contextmanager
def _about_the_disk(part: Path, have: int, total: int | None) -> Iterator[None]:
    """Asks for the space before anything is loaded, and says what to do where it runs out all the same."""
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - have > free:
        raise OSError(
            errno.ENOSPC,
            f"no room for a file of {total:,} bytes: {free:,} bytes are free. Make room, or choose another folder",
            str(part),
        )
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise OSError(
            error.errno, f"{FULL[error.errno]}. What came is kept: make room and run the same again", str(part)
        ) from error


@contextlib.contextmanager
def _only_one(part: Path) -> Iterator[None]:
    """Lets one process at a time write ``part``; without such locks (Windows) the hash finds out a mixture."""
    try:
        import fcntl
    except ImportError:
        part.touch()
        yield
        return
    while True:
        with part.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if part.exists() and part.stat().st_ino == os.fstat(file.fileno()).st_ino:
                yield
                return
            # while this one waited, the other has finished: the file has another name now


def _certificates() -> Any:
    """Those of the system, or of certifi where Python has been installed without them."""
    import ssl

    context = ssl.create_default_context()
    if not context.get_ca_certs():
        with contextlib.suppress(ImportError):
            import certifi

            context.load_verify_locations(certifi.where())
    return context


class _Bar:
    """rich's progress bar, drawn when the first bytes come."""

    def __init__(self, label: str) -> None:
        from rich.console import Console
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
            console=Console(stderr=True),  # what a command prints may be read by a program
        )
        self.task = self.progress.add_task(label, total=None)

    def show(self, done: int, total: int | None) -> None:
        self.progress.start()
        self.progress.update(self.task, completed=done, total=total)

    def close(self) -> None:
        self.progress.stop()
