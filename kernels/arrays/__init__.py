"""Kernels in whole-array operations that NumPy and CuPy share: no loop over elements, nothing read back.

They are what "cuda" has until a kernel written for it takes their place in the catalogue, and what such a kernel is
compared with on the device itself.  On the CPU they run too, which is how they are tested without a GPU.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np


def array_module(array: Any) -> ModuleType:
    """The module (NumPy or CuPy) whose functions work on ``array``; scalars belong to NumPy.

    >>> array_module(np.ones(3)).__name__
    'numpy'
    """
    if isinstance(array, (np.ndarray, np.generic)) or not type(array).__module__.startswith("cupy"):
        return np
    return sys.modules["cupy"]


def device_of(array: Any) -> str:
    """The catalogue's word for where ``array`` lies.

    >>> device_of(np.ones(3))
    'cpu'
    """
    return "cpu" if array_module(array) is np else "cuda"
