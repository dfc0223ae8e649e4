"""Scratch memory that is kept: fresh arrays cost more than what is computed in them (see ``memory``).

Kernels borrow the arrays that they need again and again here: one growing block per name and thread.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from math import prod

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
LARGEST = 256 << 20  # bytes: a larger block is lent, but not kept


class _Blocks(dict[str, np.ndarray]):
    """The blocks of one thread, arrays of bytes by name; they go with the thread."""


class _Kept(threading.local):
    def __init__(self) -> None:  # runs in each thread that borrows
        self.blocks = _Blocks()
        with _lock:
            _threads[threading.get_ident()] = self.blocks


_lock = threading.Lock()
_threads: weakref.WeakValueDictionary[int, _Blocks] = weakref.WeakValueDictionary()
_kept = _Kept()


def borrow(name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array of undefined contents, valid until this thread borrows ``name`` again.  Never return it.

    >>> a = borrow("example", (2, 5), np.dtype("float64"))
    >>> b = borrow("example", (3, 4), np.dtype("float32"))  # fits into the 80 bytes of a
    >>> bool(np.shares_memory(a, b)), b.shape
    (True, (3, 4))
    """
    size = prod(shape) * dtype.itemsize
    blocks = _kept.blocks
    block = blocks.get(name)
    if block is None or block.size < size:
        block = aligned(size)
        if size <= LARGEST:
            blocks[name] = block
    return block[:size].view(dtype).reshape(shape)


def aligned(size: int) -> np.ndarray:
    """``size`` bytes of undefined contents, from the beginning of a cache line on; nobody else's.

    >>> aligned(100).ctypes.data % ALIGNMENT, aligned(100).size
    (0, 100)
    """
    raw = np.empty(size + ALIGNMENT, np.uint8)
    skip = -raw.ctypes.data % ALIGNMENT
    return raw[skip : skip + size]


def kept() -> int:
    """Bytes kept at the moment for all threads together."""
    with _lock:
        return sum(block.size for blocks in _threads.values() for block in tuple(blocks.values()))


def release() -> None:
    """Let go of the scratch memory of all threads; arrays that are borrowed at the moment stay valid."""
    with _lock:
        for blocks in _threads.values():
            blocks.clear()
    for also in _at_release:
        also()


_at_release: list[Callable[[], None]] = []


def at_release(function: Callable[[], None]) -> None:
    """Let ``release`` call ``function`` too: of a module that keeps more than scratch memory."""
    _at_release.append(function)
