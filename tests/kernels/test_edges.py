"""Kernels beside memory that they must not touch: in a process of its own, which a wrong address kills."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba", reason="NumPy's own kernels check every index")

from tests.checks import edges

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="protects pages with mprotect, which Windows does not have")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_nothing_is_touched_beyond_operands_and_results() -> None:
    done = run("-m", "tests.checks.edges")
    last = done.stdout.strip().splitlines()[-1]
    assert done.returncode == 0, f"killed by signal {-done.returncode} in {last}\n{done.stderr}"
    assert last.endswith("calls touched nothing beyond their arrays") and int(last.split()[0]) > 2000


@pytest.mark.parametrize("place", ["a.size", "-1"])
def test_who_touches_more_is_killed(place: str) -> None:
    code = f"""
import ctypes
import numpy as np
from tests.checks.edges import at_an_edge
a = at_an_edge(np.arange(5.0), end={place != "-1"})
assert a.tolist() == [0, 1, 2, 3, 4]
ctypes.c_double.from_address(a.ctypes.data + 8 * ({place})).value
print("survived")
"""
    done = run("-c", code)
    assert done.returncode < 0 and "survived" not in done.stdout


def test_who_reads_beyond_scratch_memory_is_killed() -> None:
    code = """
import ctypes
import numpy as np
from minidl.kernels.workspace import borrow
from tests.checks.edges import scratch_at_edges
with scratch_at_edges():
    a = borrow("a", (16,), np.dtype("float32"))
    assert np.isnan(a).all()
    ctypes.c_float.from_address(a.ctypes.data + 4 * a.size).value
print("survived")
"""
    done = run("-c", code)
    assert done.returncode < 0 and "survived" not in done.stdout, done.stderr


def test_problems_of_the_random_run_differ() -> None:
    cases = edges.random_cases(20, 3)
    assert len({str(c) for c in cases}) == 20 and cases == edges.random_cases(20, 3)
