"""Where arrays lie in memory."""

from __future__ import annotations

import ctypes
import sys

import numpy as np


def asked(a: np.ndarray) -> int:
    """Of a's first element, as NumPy says it: 1.4 us."""
    return a.ctypes.data


def looked_up(a: np.ndarray) -> int:
    """The same from the first field of NumPy's array object, which its C interface lays down: 0.3 us."""
    return ctypes.c_size_t.from_address(id(a) + object.__basicsize__).value


def _agree() -> bool:
    if sys.implementation.name != "cpython":  # elsewhere id() is no address
        return False
    block = np.zeros((3, 4))
    return all(looked_up(a) == asked(a) for a in (block, block[1:, ::-2], block.T, np.zeros(0), np.array(1.0)))


address = looked_up if _agree() else asked
"""Of an array's first element.  A network of a hundred layers asks a thousand times."""
