"""Normalisation over channels: batch norm with the statistics of the batch, and a scale and a shift per channel.

The functions run on the Numba kernels of ``cpu/norm.py`` for float32 and float64 where Numba is installed, and on the
definitions of ``spec/norm.py`` otherwise; ``algorithm="spec"`` or ``"numba"`` forces one.  Arrays in, arrays out:
x (N, C, *size), parameters and statistics (C,).  Results lie channels last when x does.
"""

from __future__ import annotations

from typing import Any

from .choice import module


def batch_norm(
    x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *, algorithm: str | None = None
) -> tuple[Any, Any, Any]:
    """``(x - mean) / sqrt(variance + eps) * weight + bias``, and the mean and biased variance of each channel.

    Ioffe and Szegedy 2015, algorithm 1.  ``weight`` and ``bias`` (C,) may be None.

    >>> import numpy as np
    >>> y, mean, variance = batch_norm(np.array([[1.0, 10.0], [3.0, 30.0]]), eps=0.0)
    >>> y.tolist(), mean.tolist(), variance.tolist()
    ([[-1.0, -1.0], [1.0, 1.0]], [2.0, 20.0], [1.0, 100.0])
    """
    return module("norm", algorithm, x).batch_norm(x, weight, bias, eps)


def batch_norm_grad(
    g: Any, x: Any, weight: Any, mean: Any, variance: Any, eps: float = 1e-5, *, algorithm: str | None = None
) -> tuple[Any, Any, Any]:
    """Gradients of x, weight and bias from the cotangent g of y: section 3 of the paper, simplified.

    >>> import numpy as np
    >>> x, g = np.array([[1.0], [3.0]]), np.array([[1.0], [5.0]])
    >>> _, dweight, dbias = batch_norm_grad(g, x, None, *batch_norm(x, eps=0.0)[1:], eps=0.0)
    >>> dweight.tolist(), dbias.tolist()
    ([4.0], [6.0])
    """
    return module("norm", algorithm, x).batch_norm_grad(g, x, weight, mean, variance, eps)


def scale_shift(x: Any, scale: Any, shift: Any = None, *, algorithm: str | None = None) -> Any:
    """``x * scale + shift``, each channel with its own: batch norm in evaluation.

    >>> import numpy as np
    >>> scale_shift(np.ones((1, 2, 2)), np.array([2.0, 3.0]), np.array([0.0, 1.0])).tolist()
    [[[2.0, 2.0], [4.0, 4.0]]]
    """
    return module("norm", algorithm, x).scale_shift(x, scale, shift)


def scale_shift_grad(g: Any, x: Any, scale: Any, *, algorithm: str | None = None) -> tuple[Any, Any, Any]:
    """Gradients of x, scale and shift from the cotangent g.

    >>> import numpy as np
    >>> dx, dscale, dshift = scale_shift_grad(np.ones((1, 1, 2)), np.array([[[4.0, 5.0]]]), np.array([2.0]))
    >>> dx.tolist(), dscale.tolist(), dshift.tolist()
    ([[[2.0, 2.0]]], [9.0], [2.0])
    """
    return module("norm", algorithm, x).scale_shift_grad(g, x, scale)
