"""The number of threads, the kernels' and BLAS's together."""

import contextlib
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl.kernels import jit, threads

ROOT = Path(__file__).parents[2]
needs_numba = pytest.mark.skipif(not jit.HAVE_NUMBA, reason="needs Numba")
two_threads = pytest.mark.skipif(threads._most_threads() < 2, reason="needs two CPUs")


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = dict(os.environ, PYTHONPATH=str(ROOT)) | environment
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env=env, cwd=ROOT, timeout=300
    )


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


def blas_counts() -> list[int]:
    threadpoolctl = pytest.importorskip("threadpoolctl")
    return [info["num_threads"] for info in threadpoolctl.threadpool_info() if info["user_api"] == "blas"]


@two_threads
def test_set_num_threads_sets_blas_and_is_read_back() -> None:
    for n in (1, 2):
        threads.set_num_threads(n)
        assert threads.get_num_threads() == n
        assert blas_counts() and set(blas_counts()) == {n}


def test_more_threads_than_cpus_are_refused() -> None:
    most = threads._most_threads()
    with pytest.raises(ValueError, match=rf"set_num_threads\({most + 1}\): this process can use 1 to {most} threads"):
        threads.set_num_threads(most + 1)
    with pytest.raises(ValueError, match=rf"to have them anyway, start Python with NUMBA_NUM_THREADS={most + 1}$"):
        threads.set_num_threads(most + 1)
    with pytest.raises(ValueError, match=rf"set_num_threads\(0\): this process can use 1 to {most} threads$"):
        threads.set_num_threads(0)


@pytest.mark.parametrize("n", [True, 1.5, "2"])
def test_a_count_that_is_no_integer_is_refused(n: object) -> None:
    with pytest.raises(TypeError, match="set_num_threads takes an integer, not"):
        threads.set_num_threads(n)  # type: ignore[arg-type]


def test_a_numpy_integer_is_a_count() -> None:
    threads.set_num_threads(np.int64(1))  # type: ignore[arg-type]
    assert threads.get_num_threads() == 1


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({"OMP_NUM_THREADS": "1"}, "1"), ({"NUMBA_NUM_THREADS": "1"}, "1"), ({"OMP_NUM_THREADS": "1,2"}, "1")],
)
def test_the_usual_variables_lower_the_default(environment: dict[str, str], expected: str) -> None:
    done = run("from minidl.kernels import threads; print(threads.get_num_threads())", **environment)
    assert done.stdout.strip() == expected, done.stderr


@two_threads
def test_blas_threads_nests_and_restores() -> None:
    threads.set_num_threads(2)
    with threads.blas_threads(1):
        assert set(blas_counts()) == {1}
        with threads.blas_threads(2):
            assert set(blas_counts()) == {1}  # the smaller number of the open blocks
        assert set(blas_counts()) == {1}
    assert set(blas_counts()) == {2}


@two_threads
def test_overlapping_blocks_of_two_threads_restore_only_at_the_end() -> None:
    threads.set_num_threads(2)
    first_is_open, first_may_end = threading.Event(), threading.Event()

    def first() -> None:
        with threads.blas_threads(1):
            first_is_open.set()
            first_may_end.wait(60)

    worker = threading.Thread(target=first)
    worker.start()
    first_is_open.wait(60)
    with threads.blas_threads(1):
        first_may_end.set()
        worker.join()
        assert set(blas_counts()) == {1}  # the other thread's end did not open it again
    assert set(blas_counts()) == {2}


@two_threads
def test_blas_threads_restores_after_an_error_and_keeps_a_setting_made_inside() -> None:
    threads.set_num_threads(2)
    with pytest.raises(KeyError), threads.blas_threads(1):
        raise KeyError
    assert set(blas_counts()) == {2}
    with threads.blas_threads(1):
        threads.set_num_threads(1)
    assert set(blas_counts()) == {1}


@two_threads
def test_another_python_thread_may_set_the_number_too() -> None:
    for n in (1, 2):
        threads.set_num_threads(n)
    seen: list[set[int]] = []

    def other() -> None:
        with threads.blas_threads(1):
            seen.append(set(blas_counts()))
        seen.append(set(blas_counts()))

    worker = threading.Thread(target=other)
    worker.start()
    worker.join()
    assert seen == [{1}, {2}]


@two_threads
def test_the_thread_that_ends_last_restores_the_number() -> None:
    threads.set_num_threads(2)
    is_open, may_end = threading.Event(), threading.Event()

    def other() -> None:
        with threads.blas_threads(1):
            is_open.set()
            may_end.wait(60)

    worker = threading.Thread(target=other)
    with threads.blas_threads(1):
        worker.start()
        is_open.wait(60)
    may_end.set()
    worker.join()
    assert set(blas_counts()) == {2}


@two_threads
@pytest.mark.parametrize("where", ["open", "close"])
def test_a_block_that_is_interrupted_on_its_way_in_or_out_limits_nothing(monkeypatch, where) -> None:
    """As by Ctrl-C, which may come between any two steps."""
    threads.set_num_threads(2)

    def interrupted(limit: Any) -> None:
        if where == "open":
            type(threads._blas).open(threads._blas, limit)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(threads._blas, where, interrupted)
        with contextlib.suppress(KeyboardInterrupt), threads.blas_threads(1):
            pass
    with threads.blas_threads(2):
        assert set(blas_counts()) == {2}
    assert set(blas_counts()) == {2}


def test_blas_threads_needs_one() -> None:
    with pytest.raises(ValueError, match=r"blas_threads\(0\): at least one"), threads.blas_threads(0):
        pass


def test_one_controller_is_reused(monkeypatch: pytest.MonkeyPatch) -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")
    threads._blas.libraries()
    monkeypatch.setattr(threadpoolctl, "ThreadpoolController", None)  # making another one would fail
    for _ in range(3):
        with threads.blas_threads(1):
            pass


# CPUs of a container -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu.max": "nonsense\n"}, None),
        ({}, None),
    ],
)
def test_container_quota(tmp_path: Path, files: dict[str, str], cpus: int | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads._container_quota(tmp_path) == cpus


def test_a_quota_lowers_the_available_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_container_quota", lambda: 1)
    assert threads.available_cpus() == 1
    monkeypatch.setattr(threads, "_container_quota", lambda: 10_000)
    assert threads.available_cpus() == threads._affinity_cpus()
