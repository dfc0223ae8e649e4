"""Allocator settings: what they promise about memory, not how fast they are."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minidl.kernels import memory, workspace

ROOT = Path(__file__).parents[2]
on_glibc = pytest.mark.skipif(memory._glibc() is None, reason="needs glibc")


def run(code: str, **environment: str) -> str:
    env = {k: v for k, v in os.environ.items() if k not in memory._USER_SETTINGS and k != "GLIBC_TUNABLES"}
    env |= {"PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# Page faults count what the allocator costs without a clock.
FAULTS = """
import resource, sys
import numpy as np
from minidl.kernels import memory
tuned = memory.tune_allocator(sys.argv[1:] != ["off"] and {enabled})
np.ones(2_000_000 // 8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    np.ones(2_000_000 // 8)
print(tuned, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@on_glibc
def test_a_tuned_allocator_reuses_memory_and_can_be_switched_off() -> None:
    tuned, faults = run(FAULTS.format(enabled=True)).split()
    assert tuned == "True" and int(faults) < 500
    tuned, faults = run(FAULTS.format(enabled="memory.tune_allocator() and False")).split()
    assert tuned == "False" and int(faults) > 5000  # 50 arrays of 488 pages, mapped afresh each time


@on_glibc
@pytest.mark.parametrize(
    "environment",
    [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"}],
)
def test_the_users_own_settings_are_left_alone(environment: dict[str, str]) -> None:
    code = "from minidl.kernels import memory; print(memory.tune_allocator(), memory.allocator_tuned())"
    assert run(code) == "True True"
    assert run(code, **environment) == "False False"


@pytest.mark.parametrize("error", [ValueError, OSError, AttributeError])
def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def confstr(name: str) -> str:
        raise error

    monkeypatch.setattr(os, "confstr", confstr, raising=False)
    monkeypatch.setattr(memory, "user_tuned_malloc", lambda: False)
    assert memory.tune_allocator() is False
    memory.release()


@on_glibc
def test_the_threshold_of_an_older_glibc_is_tried_second(monkeypatch: pytest.MonkeyPatch) -> None:
    class OldLibc:
        def __init__(self) -> None:
            self.settings: dict[int, int] = {}

        def mallopt(self, name: int, value: int) -> int:
            if name == memory._M_MMAP_THRESHOLD and value > 32 << 20:
                return 0
            self.settings[name] = value
            return 1

    libc = OldLibc()
    monkeypatch.setattr(memory, "_glibc", lambda: libc)
    monkeypatch.setattr(memory, "user_tuned_malloc", lambda: False)
    monkeypatch.setattr(memory, "_tuned", False)
    assert memory.tune_allocator() is True
    assert libc.settings == {-3: 32 << 20, -1: 2**31 - 1, -2: 64 << 20}


def test_release_includes_the_scratch_memory_of_kernels() -> None:
    workspace.borrow("test", (100,), np.dtype("float32"))
    assert workspace.kept() > 0
    memory.release()
    assert workspace.kept() == 0
