"""The number of threads, the kernels' and BLAS's together."""

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from minidl.kernels import threads

ROOT = Path(__file__).parents[2]
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
def test_another_python_thread_may_set_the_number_too() -> None:
    for n in (1, 2):
        threads.set_num_threads(n)
    seen: list[set[int]] = []

    def other() -> None:
        for n in (1, 2):
            threads.set_num_threads(n)
            seen.append(set(blas_counts()))

    worker = threading.Thread(target=other)
    worker.start()
    worker.join()
    assert seen == [{1}, {2}]


def test_without_threadpoolctl_the_kernels_have_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)  # importing it fails
    threads.set_num_threads(1)
    assert threads.get_num_threads() == 1


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
