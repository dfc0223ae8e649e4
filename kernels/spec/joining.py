"""The definition of joining, which is that of the array module; also what joins where no kernel can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..arrays import array_module


def concatenate(arrays: Sequence[Any], axis: int) -> Any:
    """The arrays one behind the other along ``axis``."""
    return array_module(arrays[0]).concatenate(arrays, axis=axis)
