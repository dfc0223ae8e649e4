"""Reading files that may be anything: bounded in memory, every trouble a DataError with file and offset."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from .errors import DataError

PathLike = str | os.PathLike[str]

_GZIP_MAGIC = b"\x1f\x8b"
_DEFLATE_MOST = 1032  # the largest ratio that deflate can reach (zlib's own documentation)
_CHUNK = 1 << 20


class BoundedReader:
    """A stream that is read in pieces, never more than asked for and never more than a limit in all.

    ``offset`` counts the bytes of the unpacked data. Memory grows with what really comes, not with what a
    header promises.
    """

    def __init__(self, stream: BinaryIO, path: PathLike, most: int, packed: bool) -> None:
        self.stream, self.path, self.most, self.packed, self.offset = stream, path, most, packed, 0

    def upto(self, count: int) -> bytearray:
        """The next ``count`` bytes, or as many as there are."""
        out = bytearray()
        while len(out) < count:
            try:
                piece = self.stream.read(min(_CHUNK, count - len(out)))
            except EOFError as error:
                raise self.error("the compressed file is truncated", hint=_AGAIN) from error
            except (zlib.error, gzip.BadGzipFile) as error:
                raise self.error(f"the compressed data is corrupt ({error})", hint=_AGAIN) from error
            if not piece:
                break
            out += piece
            self.offset += len(piece)
        return out

    def exactly(self, count: int, what: str) -> bytearray:
        """The next ``count`` bytes, or a DataError that says how many are missing."""
        total = self.offset + count
        if total > self.most and self.packed:
            raise self.error(
                f"{what} would need more than this compressed file may hold",
                expected=f"at most {self.most} bytes",
                found=f"{total} bytes promised",
            )
        if total > self.most:
            raise self.error(
                f"the file is too short for {what}",
                expected=f"{total} bytes in all",
                found=self.most,
                hint=_AGAIN,
            )
        start = self.offset
        out = self.upto(count)
        if len(out) < count:
            raise DataError(
                f"the file ends inside {what}",
                self.path,
                offset=self.offset,
                expected=f"{count} bytes from byte {start}",
                found=len(out),
                hint=_AGAIN,
            )
        return out

    def end(self) -> None:
        """A DataError unless nothing is left."""
        here = self.offset
        if self.upto(1):
            raise DataError(
                "the file goes on after its data",
                self.path,
                offset=here,
                expected="its end",
                found="more bytes",
            )

    def error(self, problem: str, *, expected: object = None, found: object = None, hint: str = "") -> DataError:
        return DataError(problem, self.path, offset=self.offset, expected=expected, found=found, hint=hint)


_AGAIN = "Fetch the file again"


@contextmanager
def open_bounded(path: PathLike, max_bytes: int) -> Iterator[BoundedReader]:
    """Open a plain or gzip file (told by its first bytes, not by its name) for bounded reading.

    A plain file holds what its size says. A gzip file may hold 1032 times as much; ``max_bytes`` bounds it.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as raw:
        packed = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        if not packed:
            yield BoundedReader(raw, path, size, packed)
            return
        with gzip.GzipFile(fileobj=raw) as stream:
            yield BoundedReader(stream, path, min(size * _DEFLATE_MOST, max_bytes), packed)  # type: ignore[arg-type]
