"""Exceptions of reading and writing weights."""

from pathlib import Path


class WeightsError(ValueError):
    """A weights file that cannot be used: truncated, damaged, or not what its name says.

    `path` is the file and `offset` the byte at which the trouble starts, where one can be named.
    """

    def __init__(self, path: str | Path, problem: str, offset: int | None = None) -> None:
        self.path = Path(path)
        self.offset = offset
        place = "" if offset is None else f" (at byte {offset:,})"
        super().__init__(f"{path}: {problem}{place}")
