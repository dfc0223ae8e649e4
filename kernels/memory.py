"""Memory: why a fresh array costs more than its arithmetic, and two remedies.

glibc hands medium-sized blocks back to the operating system on every ``free``; the next array of that size is
mapped and zeroed again, page by page.  A hundred temporaries of 1 MB take 40 ms that way and 2 ms when their
memory is reused.  `tune_allocator` tells glibc to keep the memory; `Workspace` is what kernels use for the
buffers they need again and again.
"""

import math
import os
import threading
import weakref
from types import TracebackType
from typing import Any

import numpy as np

__all__ = ["Workspace", "allocator_tuned", "release", "scratch", "tune_allocator"]

# The allocator ----------------------------------------------------------------------------------------

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


# Scratch buffers --------------------------------------------------------------------------------------

_ALIGNMENT = 64  # bytes: a cache line and the widest vector register


class Workspace:
    """Scratch memory for kernels, kept for the next call; each Python thread has its own.

    ``with workspace.scratch(shape, dtype) as columns:`` lends an array whose contents are undefined.  Blocks
    may be nested, each gets its own memory.  The array must not be used after its block.  At most `limit`
    bytes per thread are kept; what exceeds them is freed when its block ends.

    >>> workspace = Workspace()
    >>> with workspace.scratch((2, 3)) as a, workspace.scratch(4, np.float64) as b:
    ...     a.shape, a.dtype, b.shape, np.shares_memory(a, b)
    ((2, 3), dtype('float32'), (4,), False)
    >>> workspace.kept() > 0
    True
    >>> workspace.release()
    >>> workspace.kept()
    0
    """

    def __init__(self, limit: int = 64 * _MIB) -> None:
        self.limit = limit
        self._local = threading.local()
        self._shelves: weakref.WeakSet[_Shelf] = weakref.WeakSet()
        self._lock = threading.Lock()

    def scratch(self, shape: int | tuple[int, ...], dtype: Any = np.float32) -> "_Loan":
        """Context manager that lends an uninitialised C-contiguous array, aligned to 64 bytes."""
        return _Loan(self._shelf(), shape, np.dtype(dtype))

    def kept(self) -> int:
        """Bytes kept at the moment for all threads together, without those on loan."""
        with self._lock:
            return sum(shelf.bytes() for shelf in self._shelves)

    def release(self) -> None:
        """Free the memory kept for all threads; arrays on loan stay valid."""
        with self._lock:
            for shelf in self._shelves:
                shelf.clear()

    def _shelf(self) -> "_Shelf":
        shelf = getattr(self._local, "shelf", None)
        if shelf is None:
            shelf = self._local.shelf = _Shelf(self)
            with self._lock:
                self._shelves.add(shelf)
        return shelf


class _Shelf:
    """The free buffers of one thread, smallest first."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._free: list[np.ndarray] = []  # arrays of bytes
        self._lock = threading.Lock()  # against release() from another thread

    def take(self, nbytes: int) -> np.ndarray:
        with self._lock:
            for i, buffer in enumerate(self._free):
                if buffer.size >= nbytes:
                    return self._free.pop(i)
            if self._free:  # all too small: replace the largest instead of keeping ever more of them
                self._free.pop()
        return np.empty(nbytes, np.uint8)

    def give_back(self, buffer: np.ndarray) -> None:
        with self._lock:
            if sum(b.size for b in self._free) + buffer.size <= self._workspace.limit:
                self._free.append(buffer)
                self._free.sort(key=lambda b: b.size)

    def bytes(self) -> int:
        with self._lock:
            return sum(buffer.size for buffer in self._free)

    def clear(self) -> None:
        with self._lock:
            self._free.clear()


class _Loan:
    """One array on loan from a shelf."""

    def __init__(self, shelf: _Shelf, shape: int | tuple[int, ...], dtype: np.dtype) -> None:
        self._shelf = shelf
        self._shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self._dtype = dtype
        self._buffer: np.ndarray | None = None

    def __enter__(self) -> np.ndarray:
        nbytes = math.prod(self._shape) * self._dtype.itemsize
        self._buffer = self._shelf.take(nbytes + _ALIGNMENT)
        start = -self._buffer.ctypes.data % _ALIGNMENT
        return self._buffer[start : start + nbytes].view(self._dtype).reshape(self._shape)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            self._shelf.give_back(buffer)


_workspace = Workspace()
scratch = _workspace.scratch


def release() -> None:
    """Give the kept scratch memory of all threads, and on glibc all other free memory, back to the system."""
    _workspace.release()
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)
