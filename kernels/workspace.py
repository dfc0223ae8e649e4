"""Scratch memory that is kept: fresh arrays cost more than what is computed in them.

The C library hands a freed array of about a megabyte back to the system, and the next one is paid for page
by page again.  Kernels therefore borrow their scratch arrays here: one growing block per name and thread.
"""

from __future__ import annotations

import threading
from math import prod

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector

_kept = threading.local()


def borrow(name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array of undefined contents, valid until this thread borrows ``name`` again.  Never return it.

    >>> a = borrow("example", (3, 4), np.dtype("float32"))
    >>> b = borrow("example", (2, 5), np.dtype("float64"))
    >>> bool(np.shares_memory(a, b)), b.shape
    (True, (2, 5))
    """
    size = prod(shape) * dtype.itemsize
    blocks: dict[str, np.ndarray] = _kept.__dict__
    block = blocks.get(name)
    if block is None or block.size < size:
        raw = np.empty(size + ALIGNMENT, np.uint8)
        block = blocks[name] = raw[-raw.ctypes.data % ALIGNMENT :]
    return block[:size].view(dtype).reshape(shape)


def release() -> None:
    """Give this thread's scratch memory back to the system."""
    _kept.__dict__.clear()
