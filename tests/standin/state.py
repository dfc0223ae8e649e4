"""What the stand-in keeps: which device is current, and what went between host and device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

DEVICES = 2  # without peer access: an array of one cannot be used while the other is current


@dataclass
class Traffic:
    """``uploads`` and ``downloads`` copy between host and device; a download, or a wait, holds the host up.

    ``events`` names what the streams were asked to do, in order.
    """

    uploads: int = 0
    downloads: int = 0
    waits: int = 0
    events: list[str] = field(default_factory=list)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("uploads", "downloads", "waits") and value > getattr(self, name, value):
            from .capture import forbid

            forbid(name)
        super().__setattr__(name, value)

    @contextmanager
    def counted(self) -> Iterator[Traffic]:
        """The traffic of a block of code, complete when the block ends."""
        before = (self.uploads, self.downloads, self.waits, len(self.events))
        seen = Traffic()
        try:
            yield seen
        finally:
            seen.uploads, seen.downloads = self.uploads - before[0], self.downloads - before[1]
            seen.waits, seen.events = self.waits - before[2], self.events[before[3] :]


TRAFFIC = Traffic()
CURRENT: dict[str, Any] = {"device": 0, "graph": None, "capturing": None}
