"""Memory: why a fresh array costs more than its arithmetic, and what is done about it.

glibc hands medium-sized blocks back to the operating system on every ``free``; the next array of that size is
mapped and zeroed again, page by page.  A hundred temporaries of 1 MB take 40 ms that way and 2 ms when their
memory is reused.  `tune_allocator` tells glibc to keep the memory; beyond that, kernels keep the buffers that
they need again and again in ``workspace``.  `release` gives both back.
"""

import os
from typing import Any

from . import workspace

__all__ = ["allocator_tuned", "release", "tune_allocator"]

# Parameters of mallopt(3), <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_KIB, _MIB = 1 << 10, 1 << 20
_GLIBC_DEFAULTS = {_M_MMAP_THRESHOLD: 128 * _KIB, _M_TRIM_THRESHOLD: 128 * _KIB, _M_TOP_PAD: 128 * _KIB}
_KEEPING = {_M_TRIM_THRESHOLD: 2**31 - 1, _M_TOP_PAD: 64 * _MIB}
_MMAP_THRESHOLDS = (1024 * _MIB, 32 * _MIB)  # glibc before 2.35 takes no more than the second
_USER_SETTINGS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")

_tuned = False


def tune_allocator(enabled: bool = True) -> bool:
    """Let the process keep freed memory for its next arrays.  Returns whether that now holds.

    ``import minidl`` calls it once.  It changes speed and the memory that the process holds on to (its peak),
    never a number.  ``tune_allocator(False)`` goes back to glibc's initial thresholds and returns what is
    free to the operating system.  Where the user has set one of glibc's own variables
    (``MALLOC_MMAP_THRESHOLD_``, ``MALLOC_TRIM_THRESHOLD_``, ``MALLOC_TOP_PAD_``, ``glibc.malloc`` in
    ``GLIBC_TUNABLES``), and on systems without glibc, it does nothing.  It never raises.

    >>> tune_allocator(False)
    False
    """
    global _tuned
    if user_tuned_malloc() or (libc := _glibc()) is None:
        return False
    if enabled:
        mapped = any(_set(libc, _M_MMAP_THRESHOLD, value) for value in _MMAP_THRESHOLDS)  # the first accepted
        kept = [_set(libc, name, value) for name, value in _KEEPING.items()]
        _tuned = mapped and all(kept)
    elif _tuned:
        for name, value in _GLIBC_DEFAULTS.items():
            _set(libc, name, value)
        libc.malloc_trim(0)
        _tuned = False
    return _tuned


def allocator_tuned() -> bool:
    """Whether `tune_allocator` is in force."""
    return _tuned


def user_tuned_malloc() -> bool:
    """Whether the environment holds settings of glibc's malloc, which are then left alone."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return "glibc.malloc" in tunables or any(name in os.environ for name in _USER_SETTINGS)


def _glibc() -> Any:
    """The C library through ctypes if it is glibc, otherwise None."""
    try:
        if not os.confstr("CS_GNU_LIBC_VERSION"):
            return None
        import ctypes

        libc = ctypes.CDLL(None)
        libc.mallopt.argtypes, libc.mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
        libc.malloc_trim.argtypes, libc.malloc_trim.restype = (ctypes.c_size_t,), ctypes.c_int
    except (AttributeError, ImportError, OSError, ValueError):  # Windows, macOS, musl, no ctypes
        return None
    return libc


def _set(libc: Any, name: int, value: int) -> bool:
    return libc.mallopt(name, value) == 1


def release() -> None:
    """Give the kernels' scratch memory (``workspace``) and, on glibc, all other free memory back to the system.

    >>> release()
    """
    workspace.release()
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)
