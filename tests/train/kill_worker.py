"""The process that test_killing.py kills: the small run, saved after every batch, gone on with if there is one.

Usage: kill_worker.py FOLDER [FUNCTION CALL WHEN].  FUNCTION of os ("replace", "fsync") kills the process at its CALL-th
call, WHEN "before" or "after" it has done its work.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from minidl.train.console import SilentDisplay
from tests.train.small_run import EPOCHS, trainer


def die() -> None:
    if hasattr(signal, "SIGKILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(137)  # Windows: the end without any cleaning up, too


def kill_inside(function: str, call: int, when: str) -> None:
    original, calls = getattr(os, function), 0

    def patched(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            die()
        result = original(*args)
        if calls == call:
            die()
        return result

    setattr(os, function, patched)


class Announce(SilentDisplay):
    def batch(self, images: int, loss: float, accuracy: float) -> None:
        print("batch", flush=True)


if __name__ == "__main__":
    run = trainer(Path(sys.argv[1]), save_every=0, display=Announce())
    if (Path(sys.argv[1]) / "checkpoint.safetensors").exists():
        run.resume()
    if sys.argv[2:]:
        kill_inside(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    run.fit(EPOCHS)
