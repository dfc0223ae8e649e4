"""The readable Winograd twin as an algorithm of the catalogue: on request only, it is not written for speed."""

from __future__ import annotations

from math import ceil, prod

import numpy as np

from ..catalogue import Cost
from ..geometry import Conv
from ..spec import winograd

LARGEST_KERNEL = 5
NUMPY_FLOPS = 2e9  # of the twin: strided copies around small products


def forward(x: np.ndarray, w: np.ndarray, conv: Conv, out: np.ndarray | None = None) -> np.ndarray:
    """y (N, K, *out) of x (N, C, *size) and w (K, C/G, *kernel)."""
    return _deliver(winograd.forward(x, w, conv, outputs(conv)).Y, out)


def input_grad(w: np.ndarray, g: np.ndarray, conv: Conv, out: np.ndarray | None = None) -> np.ndarray:
    """dx (N, C, *size) of w (K, C/G, *kernel) and the output gradient g (N, K, *out)."""
    return _deliver(winograd.input_grad(w, g, conv, outputs(conv)).Y, out)


def weight_grad(x: np.ndarray, g: np.ndarray, conv: Conv, out: np.ndarray | None = None) -> np.ndarray:
    """dw (K, C/G, *kernel) of x (N, C, *size) and the output gradient g (N, K, *out)."""
    return _deliver(winograd.weight_grad(x, g, conv, outputs(conv)).Y, out)


def outputs(conv: Conv) -> tuple[int, ...]:
    """m of F(m, r) per axis: tiles of at most six positions, beyond which float32 loses too many digits.

    >>> outputs(Conv.from_shapes((1, 1, 9, 9), (1, 1, 3, 5)))
    (4, 2)
    """
    return tuple(1 if r == 1 else 4 if r <= 3 else 2 for r in conv.kernel)


def supports(pass_: str, conv: Conv) -> str | None:
    """Why this convolution cannot go through here, or None."""
    if max(conv.kernel) > LARGEST_KERNEL:
        return (
            f"Winograd goes up to {LARGEST_KERNEL} taps per axis, got kernel {conv.kernel}: "
            "more need more interpolation points, and the rounding error grows exponentially with them"
        )
    return winograd.unsupported(conv)


def cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    """Estimate for the planner."""
    m = outputs(conv)
    n = prod(m_ + r - 1 for m_, r in zip(m, conv.kernel))
    size = conv.size if pass_ == "input_grad" else conv.out
    tiles = conv.batch * prod(ceil(p / m_) for p, m_ in zip(size, m))
    pairs = conv.out_channels * conv.in_channels // conv.groups
    spectra = n * (tiles * (conv.in_channels + conv.out_channels) + pairs)  # elements of U, V and M
    flops = 2 * n * tiles * pairs + 4 * sum(m) * spectra
    return Cost(flops, 3 * itemsize * spectra, 3 * itemsize * spectra, flops / NUMPY_FLOPS)


def _deliver(result: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    if out is None:
        return result
    out[...] = result
    return out
