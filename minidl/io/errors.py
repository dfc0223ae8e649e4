"""Exceptions of reading and writing weights."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

_LONGEST = 1000  # letters of a message: some of Python's quote the file


class WeightsError(ValueError):
    """A weights file that cannot be used: truncated, damaged, or not what its name says.

    `path` is the file and `offset` the byte at which the trouble starts, where one can be named.

    >>> import pathlib, tempfile
    >>> from minidl.io import load_npz
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "broken.npz")
    ...     _ = path.write_bytes(b"PK")
    ...     try:
    ...         load_npz(path)
    ...     except WeightsError as error:
    ...         print(error.path.name)
    broken.npz
    """

    def __init__(self, path: str | os.PathLike[str], problem: str, offset: int | None = None) -> None:
        self.path = Path(path)
        self.offset = offset
        place = "" if offset is None else f" (at byte {offset:,})"
        super().__init__(f"{path}: {problem}{place}")
        self._arguments = (path, problem, offset)

    def __reduce__(self) -> tuple[type["WeightsError"], tuple[str | os.PathLike[str], str, int | None]]:
        return type(self), self._arguments  # so that it crosses to another process whole


@contextlib.contextmanager
def refusing(path: str | os.PathLike[str], say: Callable[[BaseException], str]) -> Iterator[None]:
    """Turns whatever goes wrong with the contents of a file into a WeightsError with the words of `say`.

    What is wrong with the file as such (missing, not allowed, a broken disk) stays an OSError, which has a number.
    """
    try:
        yield
    except WeightsError:
        raise
    except (MemoryError, Exception) as error:
        # EINVAL: a damaged archive says that something lies before its beginning
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        if isinstance(error, MemoryError):  # which has no text
            raise WeightsError(path, f"there is not enough memory for what is in it {error}".rstrip()) from error
        raise WeightsError(path, say(error)[:_LONGEST]) from error
