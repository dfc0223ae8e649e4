"""Scratch memory that is kept: fresh arrays cost more than what is computed in them (see ``memory``).

Kernels borrow the arrays that they need again and again here: one growing block per name and thread.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import NamedTuple

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
LARGEST = 256 << 20  # bytes: a larger block is lent, but not kept


class Block(NamedTuple):
    """Memory that is kept, and where it begins."""

    memory: np.ndarray  # of bytes
    address: int


class _Blocks(dict[str, Block]):
    """The blocks of one thread by name; they go with the thread."""


class _Kept(threading.local):
    lent: list[tuple[str, int, int]] | None = None
    held: list[np.ndarray] | None = None

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
    found = block(name, size)
    if _kept.lent is not None and _kept.held is not None:
        _kept.lent.append((name, found.address, size))
        _kept.held.append(found.memory)
    return np.ndarray(shape, dtype, found.memory)


def block(name: str, size: int) -> Block:
    """What `borrow` lends: at least ``size`` bytes, from the beginning of a cache line on."""
    blocks = _kept.blocks
    found = blocks.get(name)
    if found is None or found.memory.size < size:
        memory = aligned(size)
        found = Block(memory, memory.__array_interface__["data"][0])
        if size <= LARGEST:
            blocks[name] = found
    return found


@contextmanager
def lending() -> Iterator[list[tuple[str, int, int]]]:
    """Write down what this thread borrows inside: names, addresses, bytes.

    Until the end it stays valid for whoever knows its address alone: a block that is too large to be kept, one that
    another thread lets go of with `release`.
    """
    before = _kept.lent, _kept.held
    _kept.lent, _kept.held = [], []
    try:
        yield _kept.lent
    finally:
        _kept.lent, _kept.held = before


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
        return sum(kept.memory.size for blocks in _threads.values() for kept in tuple(blocks.values()))


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
