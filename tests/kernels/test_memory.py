"""Allocator settings and scratch buffers: what they promise about memory, not how fast they are."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from minidl.kernels import memory

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


# Workspace ---------------------------------------------------------------------------------------------


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def test_the_same_memory_serves_again() -> None:
    workspace = memory.Workspace()
    with workspace.scratch((100, 30)) as first:
        at = address(first)
    with workspace.scratch((7, 9), np.float64) as second:
        assert address(second) == at
        assert second.shape == (7, 9) and second.dtype == np.float64 and second.flags.c_contiguous
        second[...] = 1.0  # writable


@pytest.mark.parametrize("shape", [(), 5, (3, 4), (0, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.complex128])
def test_shapes_dtypes_and_alignment(shape: int | tuple[int, ...], dtype: type) -> None:
    with memory.scratch(shape, dtype) as a:
        assert a.shape == ((shape,) if isinstance(shape, int) else shape)
        assert a.dtype == dtype
        assert a.size == 0 or address(a) % 64 == 0


def test_nested_blocks_do_not_share() -> None:
    workspace = memory.Workspace()
    for _ in range(2):  # the second time from kept buffers
        with workspace.scratch(1000) as a, workspace.scratch(1000) as b, workspace.scratch(10) as c:
            assert not (np.shares_memory(a, b) or np.shares_memory(a, c) or np.shares_memory(b, c))


def test_the_smallest_buffer_that_fits_is_taken() -> None:
    workspace = memory.Workspace()
    with workspace.scratch(100_000) as large, workspace.scratch(100) as small:
        at_large, at_small = address(large), address(small)
    with workspace.scratch(50) as a, workspace.scratch(50) as b:
        assert (address(a), address(b)) == (at_small, at_large)


def test_a_growing_request_replaces_the_buffer() -> None:
    workspace = memory.Workspace()
    for n in (1000, 2000, 4000):
        with workspace.scratch(n):
            pass
    assert workspace.kept() == 4000 * 4 + 64


def test_no_more_than_the_limit_is_kept() -> None:
    workspace = memory.Workspace(limit=10_000)
    with workspace.scratch(9000, np.uint8), workspace.scratch(900, np.uint8):
        assert workspace.kept() == 0
    assert workspace.kept() == 964  # the inner one came back first; the outer would exceed the limit
    with workspace.scratch(1 << 20, np.uint8):
        pass
    assert workspace.kept() <= 10_000


def test_release_frees_the_memory_of_all_threads() -> None:
    workspace = memory.Workspace()
    kept, released = threading.Event(), threading.Event()

    def work() -> None:
        with workspace.scratch(1000):
            pass
        kept.set()
        released.wait(60)

    worker = threading.Thread(target=work)
    worker.start()
    kept.wait(60)
    assert workspace.kept() > 0
    workspace.release()
    assert workspace.kept() == 0
    released.set()
    worker.join()


def test_a_block_that_fails_gives_its_buffer_back() -> None:
    workspace = memory.Workspace()
    with pytest.raises(KeyError), workspace.scratch(1000):
        raise KeyError
    assert workspace.kept() == 4064


def test_threads_never_share() -> None:
    workspace = memory.Workspace()
    both = threading.Barrier(2, timeout=60)
    wrong: list[int] = []

    def work(value: int) -> None:
        for _ in range(50):
            with workspace.scratch(1000) as a:
                a[...] = value
                both.wait()
                if not (a == value).all():
                    wrong.append(value)
                both.wait()

    workers = [threading.Thread(target=work, args=(i,)) for i in (1, 2)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not wrong


def test_the_memory_of_a_finished_thread_is_not_kept() -> None:
    workspace = memory.Workspace()

    def work() -> None:
        with workspace.scratch(1000):
            pass

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert workspace.kept() == 0
