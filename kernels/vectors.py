"""How wide the vectors of this computer's processor are, for estimates: asked of NumPy, not of a compiler."""

from __future__ import annotations

import importlib
from functools import cache


@cache
def speed() -> float:
    """Arithmetic on registers is so many times as fast as with AVX2, vectors of 32 bytes: 2 with AVX-512, else 1.

    Vectors of 16 bytes are not counted as slow: processors that have no others (ARM) have more units for them.
    """
    core = importlib.import_module("numpy._core._multiarray_umath")  # private, hence the default
    return 2.0 if getattr(core, "__cpu_features__", {}).get("AVX512F") else 1.0
