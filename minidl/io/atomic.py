"""Files that are either the old ones or the complete new ones, whatever happens while they are written."""

import contextlib
import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

_STALE_AFTER = 3600.0  # seconds; a younger temporary file may belong to a process that is still writing

FULL = {
    errno.ENOSPC: "no space is left on the device",
    errno.EFBIG: "the file is larger than the limit for files here",
    getattr(errno, "EDQUOT", errno.ENOSPC): "the disk quota is used up",
}


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`; the file written there takes the place of `path` when the block ends.

    For writers that want a file name; `atomic_write` gives an open file.  The data reach the disk before the
    new name does.  If the block fails, the temporary file is removed and `path` is as it was.  No folder is
    created.  A full disk raises the OSError of the system with a sentence that says what was kept; no error of the
    system names the temporary path.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "metrics.json")
    ...     with atomic_path(path) as temporary:
    ...         _ = temporary.write_text("{}")
    ...         before = path.exists()
    ...     before, path.read_text()
    (False, '{}')
    """
    target = Path(os.path.realpath(path))  # through a link: what it points to is replaced, not the link
    if not target.parent.exists():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder to write a file into", str(Path(path).parent))
    _remove_stale(target)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        yield temporary
        put_in_place(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno in FULL:
            kept = "The file from before is unchanged." if target.exists() else "Nothing was left behind."
            raise OSError(error.errno, f"could not be written: {FULL[error.errno]}. {kept}", str(path)) from error
        if isinstance(error, OSError) and str(error.filename) == str(temporary):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """Open `path` for writing so that it is replaced at once, or not at all.

    `mode` is "wb" or "w", `options` are those of ``open``.  See `atomic_path` for what holds when the block
    fails, the disk is full or the process is killed.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "metrics.json")
    ...     with atomic_write(path, "w") as file:
    ...         _ = file.write("{}")
    ...     path.read_text()
    '{}'
    """
    if mode not in ("wb", "w"):
        raise ValueError(f'atomic_write writes whole files: mode is "wb" or "w", not {mode!r}')
    with atomic_path(path) as temporary, open(temporary, mode.replace("w", "x"), **options) as file:
        yield file


def put_in_place(temporary: Path, target: Path) -> None:
    """Give a finished file its name, in the place of an older one, once its data are on the disk."""
    _sync(temporary)
    try:
        shutil.copymode(target, temporary)
    except FileNotFoundError:  # a first file gets the mode of any new file, whatever its writer asked for
        _new_file_mode(temporary)
    os.replace(temporary, target)
    _sync(target.parent)


def _new_file_mode(path: Path) -> None:
    """Give ``path`` the mode of a file that was opened for writing here, without a look at the process's umask."""
    probe = path.with_name(f"{path.name}.mode.tmp")  # os.umask would change it for all threads
    try:
        probe.touch()
        shutil.copymode(probe, path)
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names where the system has that, is on the disk."""
    folder = path.is_dir()
    if folder and not hasattr(os, "O_DIRECTORY"):  # Windows cannot open folders
        return
    # Windows flushes only what was opened for writing
    descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not folder or error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
            raise
    finally:
        os.close(descriptor)


def _remove_stale(target: Path) -> None:
    """Remove what processes that were killed while they wrote `target` have left."""
    prefix, suffix = f".{target.name}.", ".tmp"
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and entry.name.endswith(suffix):
                with contextlib.suppress(OSError):
                    if time.time() - entry.stat().st_mtime > _STALE_AFTER:
                        os.unlink(entry.path)
