"""Exceptions of reading and writing weights."""

import os
from pathlib import Path


class WeightsError(ValueError):
    """A weights file that cannot be used: truncated, damaged, or not what its name says.

    `path` is the file and `offset` the byte at which the trouble starts, where one can be named.
    """

    def __init__(self, path: str | os.PathLike[str], problem: str, offset: int | None = None) -> None:
        self.path = Path(path)
        self.offset = offset
        place = "" if offset is None else f" (at byte {offset:,})"
        super().__init__(f"{path}: {problem}{place}")
        self._arguments = (path, problem, offset)

    def __reduce__(self) -> tuple[type["WeightsError"], tuple[str | os.PathLike[str], str, int | None]]:
        return type(self), self._arguments  # so that it crosses to another process whole
