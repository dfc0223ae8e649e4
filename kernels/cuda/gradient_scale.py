"""The scale of gradients in mixed precision, kept on the device: see ``minidl.GradScaler``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import array_module
from .source import function


def adapt(state: Any, found: Any, growth: float, backoff: float, interval: int) -> None:
    """The next scale and count of good steps: ``state`` float64 (2,), in place; ``found`` one truth value.

    The scale grows by ``growth`` after ``interval`` steps in which nothing was found, and shrinks by ``backoff``.
    """
    numbers = np.float64(growth), np.float64(backoff), np.float64(interval)
    function(array_module(state), "gradient_scale.cu", "adapt")((1,), (1,), (state, found, *numbers))
