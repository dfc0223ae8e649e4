"""Threads: how many compute, in the kernels' loops (``cpu/crew.py``) and in BLAS.

`set_num_threads` sets both, for all Python threads.  They never compute at the same time inside one kernel: a kernel
either calls BLAS or runs a parallel loop.
"""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path
from typing import Any

__all__ = [
    "available_cpus",
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

    The results do not depend on it, but for the last bits of what is left to BLAS: products where Numba is missing, and
    batches of small ones.  Raises ValueError for n < 1 and for more threads than there are CPUs (or
    ``NUMBA_NUM_THREADS`` says).

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
    _set_blas_threads(n)


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


def _set_blas_threads(n: int) -> None:
    """Tell all BLAS libraries that are loaded by now; none where threadpoolctl is missing."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return
    for library in ThreadpoolController().lib_controllers:
        if library.user_api == "blas" and library.get_num_threads() != n:
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
