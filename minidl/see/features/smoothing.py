"""Gaussian blur of arrays."""

from __future__ import annotations

import math

import numpy as np

from ..errors import SeeError


def gaussian(sigma: float, radius: int | None = None) -> np.ndarray:
    """A Gaussian of deviation ``sigma`` at -radius..radius (3 sigma without a wish), with the sum 1.

    >>> gaussian(1.0, 1).round(4).tolist()
    [0.2741, 0.4519, 0.2741]
    """
    if sigma <= 0:
        raise SeeError(f"a Gaussian has a deviation above 0, not {sigma:g}")
    radius = math.ceil(3 * sigma) if radius is None else radius
    values = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return values / values.sum()


def blur(x: np.ndarray, sigma: float) -> np.ndarray:
    """(..., H, W) blurred along its last two axes, the border repeated outward; sigma 0 changes nothing."""
    if sigma == 0:
        return x
    weights = gaussian(sigma).astype(x.dtype)
    radius = len(weights) // 2
    for axis in (-2, -1):
        pads = [(0, 0)] * x.ndim
        pads[axis] = (radius, radius)
        padded = np.pad(x, pads, mode="edge")
        n = x.shape[axis]
        x = sum(w * padded.take(range(i, i + n), axis) for i, w in enumerate(weights))  # type: ignore[assignment]
    return x
