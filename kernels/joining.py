"""Arrays one behind the other along an axis they have, as networks join the maps of their branches.

The function runs on the Numba kernel of ``cpu/joining.py`` for float32 and float64 where Numba is installed, and on the
definition of ``spec/joining.py`` otherwise; ``algorithm="spec"`` or ``"numba"`` forces one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .choice import module
from .spec import joining as definition

SMALL = 1 << 18  # elements up to which NumPy's own loop, which need not be told how, is as fast as any


def concatenate(arrays: Sequence[Any], axis: int, *, algorithm: str | None = None) -> Any:
    """The arrays along ``axis`` in their order, stored as NumPy stores its result: in the order that all of them have.

    Raises ValueError where the shapes do not fit, as NumPy does.

    >>> import numpy as np
    >>> concatenate([np.zeros((1, 2)), np.ones((1, 1))], 1).tolist()
    [[0.0, 0.0, 1.0]]
    """
    if algorithm is None and sum([a.size for a in arrays]) <= SMALL:
        return definition.concatenate(arrays, axis)
    return module("joining", algorithm, arrays[0]).concatenate(arrays, axis)
