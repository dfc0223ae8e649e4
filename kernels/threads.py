"""Threads: how many compute, in the kernels' loops (``cpu/crew.py``) and in BLAS.

`set_num_threads` sets both, for all Python threads.  They never compute at the same time inside one kernel: a kernel
either calls BLAS or runs a parallel loop.  A kernel that runs BLAS
*inside* several Python threads, as ``blas.matmul`` does, wraps that phase in ``with blas_threads(1)``.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import weakref
from pathlib import Path
from typing import Any

__all__ = [
    "available_cpus",
    "blas_threads",
    "controls_blas",
    "get_num_threads",
    "set_num_threads",
]


def available_cpus() -> int:
    """CPUs that this process may use: its affinity mask, and below that a container's CPU quota."""
    quota = _container_quota()
    return max(1, min(_affinity_cpus(), quota)) if quota else _affinity_cpus()


def _affinity_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _container_quota(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """CPU quota of a Linux container, rounded up (cgroup version 2, then 1); None where there is none."""
    with contextlib.suppress(OSError, ValueError):
        limit, period = (root / "cpu.max").read_text().split()
        return None if limit == "max" else -(-int(limit) // int(period))
    with contextlib.suppress(OSError, ValueError):
        limit = (root / "cpu" / "cpu.cfs_quota_us").read_text()
        period = (root / "cpu" / "cpu.cfs_period_us").read_text()
        return None if int(limit) <= 0 else -(-int(limit) // int(period))
    return None


# The number of threads --------------------------------------------------------------------------------

_wanted: int | None = None  # None: nobody has asked, the defaults of each pool hold


def set_num_threads(n: int) -> None:
    """Compute with `n` threads from now on: the kernels' and BLAS's together, for all Python threads.

    The results do not depend on it, but for the last bits of large matrix products (see `blas`).  Raises ValueError
    for n < 1 and for more threads than there are CPUs (or ``NUMBA_NUM_THREADS`` says).

    >>> before = get_num_threads()
    >>> set_num_threads(1)
    >>> get_num_threads()
    1
    >>> set_num_threads(before)
    """
    global _wanted
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"set_num_threads takes an integer, not {type(n).__name__}")
    n = int(n)
    most = _most_threads()
    if not 1 <= n <= most:
        raise ValueError(
            f"set_num_threads({n}): this process can use 1 to {most} threads"
            + f". More threads than CPUs only wait for one another; to have them anyway, start Python with "
            f"NUMBA_NUM_THREADS={n}" * (n > most)
        )
    _wanted = n
    _blas.reload()  # libraries loaded since the last call count as well
    _blas.set_base(n)


def get_num_threads() -> int:
    """Threads that kernels compute with: what `set_num_threads` was given, otherwise the CPUs available.

    ``OMP_NUM_THREADS`` and ``NUMBA_NUM_THREADS`` lower the default, as people expect from them.

    >>> get_num_threads() >= 1
    True
    """
    return _default_threads() if _wanted is None else _wanted


def _most_threads() -> int:
    return _environment_number("NUMBA_NUM_THREADS") or _affinity_cpus()


@functools.cache
def _default_threads() -> int:
    limits = [available_cpus(), _most_threads()]
    limits += filter(None, (_environment_number("OMP_NUM_THREADS"), _environment_number("NUMBA_NUM_THREADS")))
    return min(limits)


def _environment_number(name: str) -> int | None:
    # OMP_NUM_THREADS may be a list with a number per nesting level, the outermost first
    value = os.environ.get(name, "").partition(",")[0].strip()
    return int(value) if value.isdigit() and int(value) > 0 else None


# BLAS --------------------------------------------------------------------------------------------------


class _Blas:
    """Thread counts of the loaded BLAS libraries, through one controller: making one takes a millisecond.

    Without threadpoolctl everything here does nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._found: list[Any] | None = None
        self._limits: list[weakref.ref[blas_threads]] = []  # the open blocks of all Python threads
        self._base: list[int] = []  # what each library had outside of them
        self._given: list[int] = []  # what each was told last

    def libraries(self) -> list[Any]:
        with self._lock:
            if self._found is None:
                try:
                    from threadpoolctl import ThreadpoolController
                except ImportError:
                    self._found = []
                else:
                    controllers = ThreadpoolController().lib_controllers
                    self._found = [c for c in controllers if c.user_api == "blas"]
                self._base = self._given = self._counts()
            return self._found

    def reload(self) -> None:
        with self._lock:
            if not self._open():  # inside a block the numbers in force are not the base
                self._found = None

    def set_base(self, n: int) -> None:
        with self._lock:
            self._base = [n for _ in self.libraries()]
            self._apply(self._counts())

    def open(self, limit: blas_threads) -> None:
        with self._lock:
            now, others = self._counts(), self._open()
            if not others and now != self._given:  # somebody else has changed it
                self._base = now
            others.append(limit)
            self._limits = [*map(weakref.ref, others)]
            self._apply(now)

    def close(self, limit: blas_threads) -> None:
        with self._lock:
            self._limits = [weakref.ref(other) for other in self._open() if other is not limit]
            self._apply(self._counts())

    def _open(self) -> list[blas_threads]:
        return [limit for limit in (ref() for ref in self._limits) if limit is not None]

    def _counts(self) -> list[int]:
        return [library.get_num_threads() for library in self.libraries()]

    def _apply(self, now: list[int]) -> None:
        lowest = min((limit.n for limit in self._open()), default=None)
        self._given = [base if lowest is None else lowest for base in self._base]
        for library, before, n in zip(self.libraries(), now, self._given, strict=True):
            if before != n:
                _tell(library, n)


def _tell(library: Any, n: int) -> None:
    """Set a library's number of threads.  Of threadpoolctl 3.8 only the thread that did so first may, silently."""
    at_once = getattr(library, "_real_set_num_threads", None)
    if at_once is not None:
        at_once(n)
        return
    let_go = getattr(library, "clear_controlling_thread", None)
    if let_go is not None:
        let_go(force=True)
    library.set_num_threads(n)
    if let_go is not None:
        let_go(force=True)


_blas = _Blas()


def controls_blas() -> bool:
    """Whether there is a BLAS whose number of threads `blas_threads` can set (and threadpoolctl to do it)."""
    return bool(_blas.libraries())


class blas_threads:
    """Let BLAS use `n` threads inside the block, for a whole phase rather than for one product.

    BLAS has one setting for the process: while blocks of several Python threads overlap, the smallest number
    holds, and the number from before comes back when the last one ends.  A block that is interrupted on its way in or
    out leaves nothing: the limit is the block itself, and kept by nobody else.

    >>> with blas_threads(1):
    ...     pass  # several Python threads, each with its own matrix product
    """

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"blas_threads({n}): at least one thread has to compute")
        self.n = n

    def __enter__(self) -> None:
        _blas.open(self)

    def __exit__(self, *exc: object) -> None:
        _blas.close(self)


def _after_fork_in_child() -> None:
    _blas._lock = threading.RLock()  # its owner may not exist here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
