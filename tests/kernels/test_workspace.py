"""Borrowed scratch memory: who shares it, and when it goes."""

import threading

import numpy as np
import pytest

from minidl.kernels import workspace

F4 = np.dtype("float32")


@pytest.fixture(autouse=True)
def nothing_kept():
    workspace.release()
    yield
    workspace.release()


@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (0, 3)])
@pytest.mark.parametrize("dtype", ["float32", "int8", "complex128"])
def test_shapes_dtypes_and_alignment(shape: tuple[int, ...], dtype: str) -> None:
    a = workspace.borrow("a", shape, np.dtype(dtype))
    assert a.shape == shape and a.dtype == dtype and a.flags.c_contiguous and a.flags.writeable
    assert a.size == 0 or a.ctypes.data % workspace.ALIGNMENT == 0


def test_one_block_for_each_name() -> None:
    a = workspace.borrow("a", (100, 3), F4)
    assert np.shares_memory(a, workspace.borrow("a", (7,), np.dtype("complex128")))
    assert not np.shares_memory(a, workspace.borrow("b", (100, 3), F4))


def test_a_block_grows_and_the_old_one_is_not_kept() -> None:
    a = workspace.borrow("a", (100,), F4)
    b = workspace.borrow("a", (1000,), F4)
    assert not np.shares_memory(a, b)
    assert np.shares_memory(b, workspace.borrow("a", (100,), F4))
    assert 4000 <= workspace.kept() <= 4000 + workspace.ALIGNMENT


def test_the_largest_are_lent_but_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "LARGEST", 1000)
    assert workspace.borrow("a", (251,), F4).shape == (251,) and workspace.kept() == 0
    workspace.borrow("a", (250,), F4)
    assert workspace.kept() > 0


def test_release_frees_the_memory_of_all_threads_and_spares_what_is_lent() -> None:
    lent, released, seen = threading.Event(), threading.Event(), []

    def work() -> None:
        a = workspace.borrow("a", (1000,), F4)
        a[:] = 7
        lent.set()
        released.wait(60)
        workspace.borrow("a", (1000,), F4)[:] = 8
        seen.append(a.tolist())

    worker = threading.Thread(target=work)
    worker.start()
    assert lent.wait(60)
    assert workspace.kept() >= 4000
    workspace.release()
    assert workspace.kept() == 0
    released.set()
    worker.join()
    assert seen == [[7.0] * 1000]


def test_threads_never_share() -> None:
    both, wrong = threading.Barrier(2, timeout=60), []

    def work(value: int) -> None:
        for _ in range(50):
            a = workspace.borrow("a", (1000,), F4)
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
    worker = threading.Thread(target=workspace.borrow, args=("a", (1000,), F4))
    worker.start()
    worker.join()
    assert workspace.kept() == 0
