"""A strict stand-in for CuPy 14, for machines without a GPU: host memory that refuses what device memory refuses.

Its ``ndarray`` is no NumPy array.  It refuses ``np.asarray``, refuses to meet a NumPy array in an operation or an
assignment, has the attributes and functions of CuPy 14.2 and no others (``offered.py``), gives 0-d arrays where NumPy
gives scalars, keeps its results where the calling device is, and counts every copy between host and device and every
wait of the host.  Where CuPy's behaviour is a trap (an index out of range wraps around), it raises AssertionError.

What it cannot show: CUDA's rounding, its speed, and a race between streams.
"""

from __future__ import annotations

from types import ModuleType

from .modules import modules
from .state import TRAFFIC, Traffic

__all__ = ["TRAFFIC", "ModuleType", "Traffic", "modules"]
