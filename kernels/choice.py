"""Numba or plain NumPy: the choice of the families whose functions exist once in ``cpu/`` and once in ``spec/``.

Where a problem has several algorithms worth choosing from, ``catalogue`` does that; here the compiled one is better
whenever it can compute at all.
"""

from __future__ import annotations

import functools
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from .errors import UnsupportedError
from .jit import HAVE_NUMBA


def compiles(x: Any) -> bool:
    """Whether a compiled kernel takes the array x: NumPy's, float32 or float64, Numba installed.

    >>> compiles(np.ones(2, "float16")), compiles(3.0)
    (False, False)
    """
    return HAVE_NUMBA and isinstance(x, np.ndarray) and x.dtype.char in "fd" and x.dtype.isnative


def module(family: str, algorithm: str | None, x: Any) -> ModuleType:
    """``cpu/<family>.py`` ("numba") or ``spec/<family>.py`` ("spec"), for an array like x; the first where it can.

    Raises UnsupportedError where the named algorithm does not exist or cannot.
    """
    if algorithm is None:
        algorithm = "numba" if compiles(x) else "spec"
    if algorithm == "numba" and not compiles(x):
        reason = f"cannot compute in {x.dtype}" if HAVE_NUMBA else "needs Numba, which is not installed"
        raise UnsupportedError(f"{family}: algorithm 'numba' {reason}; 'spec' can")
    if algorithm not in _FOLDERS:
        raise UnsupportedError(f"{family} has no algorithm {algorithm!r}; it has {', '.join(_FOLDERS)}")
    return _imported(f".{_FOLDERS[algorithm]}.{family}")


@functools.cache
def _imported(name: str) -> ModuleType:
    return import_module(name, __package__)


_FOLDERS = {"numba": "cpu", "spec": "spec"}
