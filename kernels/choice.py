"""Compiled or plain: the choice of the families whose functions exist in ``cpu/``, some in ``cuda/``, and in ``spec/``.

Where a problem has several algorithms worth choosing from, ``catalogue`` does that; here the compiled one is better
whenever it can compute at all.
"""

from __future__ import annotations

import functools
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from .arrays import array_module
from .errors import UnsupportedError
from .jit import HAVE_NUMBA


def compiles(x: Any) -> bool:
    """Whether a compiled kernel takes the array x: NumPy's, float32 or float64, Numba installed.

    >>> compiles(np.ones(2, "float16")), compiles(3.0)
    (False, False)
    """
    return HAVE_NUMBA and isinstance(x, np.ndarray) and x.dtype.char in "fd" and x.dtype.isnative


CUDA = {
    "activation": ".cuda.elements",
    "group_norm": ".cuda.group_norm",
    "loss": ".cuda.loss",
    "norm": ".cuda.norm",
    "norm_relu": ".cuda.norm_relu",
    "optim": ".cuda.optim",
    "resize": ".cuda.resize",
    "roi": ".cuda.roi",
}
HALVES = ("group_norm", "norm", "norm_relu", "resize", "roi")  # their kernels read float16 and compute in float32
LIMIT = 1 << 30  # elements that the kernels in CUDA count


def on_cuda(family: str, *arrays: Any) -> ModuleType | None:
    """The kernels of ``family`` in CUDA where they take these arrays (None: absent), else None.

    They take CuPy's, float32 or float64 (some float16 too) and all of one dtype.

    >>> on_cuda("norm", np.ones(2, "float32")) is None
    True
    """
    first = arrays[0]
    if isinstance(first, (np.ndarray, np.generic)) or family not in CUDA or array_module(first) is np:
        return None
    kinds = "efd" if family in HALVES else "fd"
    if first.dtype.char not in kinds or any(a is not None and a.dtype != first.dtype for a in arrays):
        return None
    return _imported(CUDA[family]) if first.size < LIMIT else None


def module(family: str, algorithm: str | None, x: Any) -> ModuleType:
    """``cpu/<family>.py`` ("numba"), that of ``cuda/`` ("cuda") or ``spec/<family>.py`` ("spec"), for an array like x.

    Without ``algorithm`` the first of them that can compute with it.

    Raises UnsupportedError where the named algorithm does not exist or cannot.
    """
    if algorithm is None:
        if compiles(x):
            algorithm = "numba"
        elif found := on_cuda(family, x):
            return found
        else:
            algorithm = "spec"
    if algorithm == "cuda":
        if found := on_cuda(family, x):
            return found
        raise UnsupportedError(f"{family}: algorithm 'cuda' computes with CuPy's float32 and float64 only")
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
