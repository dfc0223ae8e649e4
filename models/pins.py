"""Whole hashes of files of which a publisher gives the first digits only: trust on first use, as ssh has it for hosts.

After the first complete download of such a file whose digits agree, all of its SHA-256 is noted beside it, in
``NAME.sha256`` as ``sha256sum -c`` reads it.  Whoever uses the file or downloads it again compares the whole.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from minidl.data.errors import DataError
from minidl.io import atomic_write

DIGITS = 64  # of a SHA-256


def note_of(path: Path) -> Path:
    """Where the hash of a file is noted.

    >>> note_of(Path("cache", "net.pth")).name
    'net.pth.sha256'
    """
    return path.with_name(f"{path.name}.sha256")


def pinned(path: Path, digits: str) -> str | None:
    """The whole hash that was noted for a file, if it begins with these digits; None where there is no such note."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        found = note_of(path).read_text(encoding="ascii")[:DIGITS]
        if re.fullmatch(f"{digits}[0-9a-f]{{{DIGITS - len(digits)}}}", found):
            return found
    return None


def pin(path: Path, found: str) -> bool:
    """Note the whole hash of a file; False in a folder that may only be read, where nothing is noted."""
    with contextlib.suppress(OSError):
        with atomic_write(note_of(path)) as file:
            file.write(f"{found}  {path.name}\n".encode())
        return True
    return False


def compare(path: Path, noted: str, found: str, used: Path | None = None) -> None:
    """Nothing where a file has the hash that was noted for ``path``; else DataError with both hashes.

    ``used`` is the file that has it, if not ``path`` itself.
    """
    if found == noted:
        return
    file = path if used is None else used
    raise DataError(
        "its SHA-256 is not the one that was noted when a file of this name was first downloaded, though both begin "
        "with the digits that the publisher gives",
        file,
        expected=noted,
        found=found,
        hint=f"Do not use it before you know why: delete {file} to take the file anew, or {note_of(path)} if the "
        "publisher has another file now and you trust it",
    )
