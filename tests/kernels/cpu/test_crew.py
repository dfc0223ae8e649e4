"""``kernels.cpu.crew``: each piece once, nobody left behind, nobody waited for; threads, forks, sleep."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("numba")

from numba import types

from minidl.kernels import jit, machine_code, threads
from minidl.kernels.cpu import crew, pieces
from minidl.kernels.cpu.replay import replayed
from minidl.kernels.cpu.simd import Lanes, keep

_usleep = types.ExternalFunction("usleep", types.int32(types.uint32))
_who = types.ExternalFunction("pthread_self", types.intp())
posix = pytest.mark.skipif(sys.platform == "win32", reason="usleep and pthread_self are POSIX's")
two_threads = pytest.mark.skipif(threads._most_threads() < 2, reason="needs two CPUs")
LANES = Lanes("float64", 1)  # `run` hands a compile-time value on; these need none


class Work(NamedTuple):
    target: pieces.Address
    microseconds: int


@jit.native
def _count(lanes, arguments, piece):
    work = pieces.read(Work, arguments)
    place = work.target + piece * 8
    crew.put(place, crew.look(place) + 1)


@jit.native
def _sign_slowly(lanes, arguments, piece):
    """Sleep, then write which thread this is."""
    work = pieces.read(Work, arguments)
    _usleep(work.microseconds)
    crew.put(work.target + piece * 8, _who())


class Room(NamedTuple):
    target: pieces.Address
    wanted: int  # bytes, by one piece of them


@jit.native
def _take_an_array(lanes, arguments, piece):
    room = pieces.read(Room, arguments)
    taken = np.empty(room.wanted if piece == 3 else 8, np.uint8)
    crew.put(room.target + piece * 8, 1)
    keep((taken,))


@jit.native
def _allocate(lanes, arguments, piece):
    room = pieces.read(Room, arguments)
    taken = pieces.allocate(room.wanted if piece == 3 else 8)
    crew.put(room.target + piece * 8, 1)
    pieces.free(taken)


def _address(function) -> int:
    return pieces.code_address(function, LANES)


def _share(team: crew.Crew, helpers: int, code: int, target: np.ndarray, microseconds: int = 0) -> None:
    numbers = np.array([target.ctypes.data, microseconds], np.int64)
    board = team.gather(helpers + 1)
    assert board
    try:
        machine_code.entry(pieces._loop, 4)(code, numbers.ctypes.data, len(target), board)
    finally:
        team.dismiss()


@pytest.mark.parametrize("helpers", [1, 2, 5])
def test_each_piece_once_whoever_sleeps(helpers) -> None:
    """Pauses of all lengths between the loops: helpers look out, fall asleep, sleep."""
    team, code, rng = crew.Crew(), _address(_count), np.random.default_rng(helpers)
    for round_ in range(300):
        target = np.zeros(int(rng.integers(1, 40)), np.int64)
        _share(team, int(rng.integers(1, helpers + 1)), code, target)
        assert (target == 1).all(), round_
        if round_ % 3 == 0:
            time.sleep(float(rng.random()) * 0.003)


@posix
@two_threads
def test_the_caller_waits_for_what_a_helper_has_begun() -> None:
    team, code, deadline = crew.Crew(), _address(_sign_slowly), time.monotonic() + 60
    helped = 0
    while helped < 3:
        assert time.monotonic() < deadline, "no helper ever came"
        target = np.zeros(3, np.int64)
        _share(team, 1, code, target, 20_000)
        assert target.all()
        helped += len(set(target.tolist())) > 1


@posix
def test_no_more_helpers_than_wanted() -> None:
    """Four were hired for an earlier loop; with two threads at most one of them may take pieces."""
    team, code = crew.Crew(), _address(_sign_slowly)
    _share(team, 4, code, np.zeros(8, np.int64), 1000)
    for _ in range(20):
        target = np.zeros(8, np.int64)
        _share(team, 1, code, target, 500)
        assert target.all() and len(set(target.tolist())) <= 2


@pytest.mark.parametrize("function", [_take_an_array, _allocate])
@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_a_piece_that_finds_no_memory_is_an_error(function, seconds) -> None:
    """Not a result in which something is missing.  The other pieces are done, and the next loop runs as ever."""
    target = np.zeros(9, np.int64)
    with pytest.raises(MemoryError, match=r"a kernel found no memory for its intermediate results: a smaller batch"):
        pieces.run(function, LANES, Room(target.ctypes.data, 1 << 60), len(target), seconds)
    assert target.tolist() == [1, 1, 1, 0, 1, 1, 1, 1, 1]
    pieces.run(function, LANES, Room(target.ctypes.data, 8), len(target), seconds)
    assert (target == 1).all()


def test_a_call_that_is_run_again_fails_as_the_first_one_would() -> None:
    wanted = np.array([8], np.int64)

    @replayed(operands=1)
    def kernel(x, problem, out=None):
        y = np.zeros(9)
        pieces.run(_allocate, LANES, Room(y.ctypes.data, int(wanted[0])), len(y))
        return y

    x = np.zeros(3)
    kernel(x, "problem")
    (program,) = kernel.known.values()
    assert program is not None
    number = program.numbers.tolist().index(8, 5)  # of the arguments: how much is wanted
    program.numbers[number] = 1 << 60
    with pytest.raises(MemoryError, match=r"found no memory"):
        kernel(x, "problem")


def test_where_no_thread_can_be_had_the_caller_computes_alone(monkeypatch) -> None:
    team, code, target = crew.Crew(), _address(_count), np.zeros(9, np.int64)
    with monkeypatch.context() as patched:

        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        patched.setattr(threading.Thread, "start", refuse)
        _share(team, 3, code, target)
        assert (target == 1).all() and not team.bells
    _share(team, 1, code, target)
    assert (target == 2).all() and len(team.bells) == 1


def test_a_second_caller_computes_alone() -> None:
    team = crew.Crew()
    boards = []
    assert team.gather(2)
    try:
        second = threading.Thread(target=lambda: boards.append(team.gather(2)))
        second.start()
        second.join()
        assert boards == [0]
    finally:
        team.dismiss()
    assert team.gather(2)
    team.dismiss()


def test_a_caller_that_was_interrupted_has_helpers_the_next_time() -> None:
    """Ctrl-C may come between any two steps of Python, also after `gather` and before `dismiss`."""
    team, target = crew.Crew(), np.zeros(9, np.int64)
    assert team.gather(2)
    _share(team, 1, _address(_count), target)
    assert (target == 1).all() and team.busy[0] == 0


def test_callers_in_many_threads_at_once() -> None:
    wrong = []

    def work() -> None:
        for _ in range(200):
            target = np.zeros(17, np.int64)
            pieces.run(_count, LANES, Work(target.ctypes.data, 0), len(target))
            if not (target == 1).all():
                wrong.append(target)

    callers = [threading.Thread(target=work) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_idle_helpers_sleep() -> None:
    team = crew.Crew()
    _share(team, 3, _address(_count), np.zeros(9, np.int64))
    time.sleep(0.2)  # busy or not, half a millisecond of looking out is over
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.25


PROGRAM = """
import os, sys
import numpy as np
import minidl
minidl.set_num_threads(min(2, os.cpu_count()))
x, w = minidl.randn(4, 16, 20, 20), minidl.randn(16, 16, 3, 3)
y = minidl.nn.functional.conv2d(x, w, algorithm="nhwc").numpy()
"""


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
def test_a_forked_process_computes() -> None:
    code = """
child = os.fork()
if child == 0:
    again = minidl.nn.functional.conv2d(x, w, algorithm="nhwc").numpy()
    os._exit(0 if np.array_equal(again, y) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert _run(code) == "0"


def test_a_process_ends_while_helpers_look_out() -> None:
    assert _run("print('done')") == "done"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_all_threads_on_one_core() -> None:
    """Where helper and caller share a core, giving way lets both come to an end."""
    code = """
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
for _ in range(20):
    assert np.array_equal(minidl.nn.functional.conv2d(x, w, algorithm="nhwc").numpy(), y)
print("done")
"""
    assert _run(code) == "done"
