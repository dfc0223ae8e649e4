"""RoI pooling: the largest values of boxes in images, whatever their sizes, on one grid (Girshick 2015, section 2.1).

A box becomes a *region*: an image, its first row and column, and how many it has.  Its rows are shared among P windows,
its columns among Q, as adaptive pooling shares an axis; what lies outside of the image is left out, and a window with
nothing inside gives 0.  Arrays in, arrays out: x (N, C, H, W), regions (K, 5) -> y (K, C, P, Q).

The functions run on the Numba kernels of ``cpu/roi.py`` for float32 and float64 where Numba is installed, on those of
``cuda/roi.py`` where the arrays are CuPy's, and on the definitions of ``spec/roi.py`` otherwise; ``algorithm`` forces
one of "numba", "cuda" and "spec".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import array_module
from .choice import module
from .errors import ShapeError

FARTHEST = 1 << 18  # from 0 that a corner lies: such a size times that of a grid has 32 bits


def regions(boxes: Any, spatial_scale: float = 1.0) -> Any:
    """Boxes (K, 5) of image, x1, y1, x2, y2 -> whole numbers (K, 5) of image, top, left, rows, columns.

    Corners are scaled and rounded, halves away from zero; both belong to the region, which is at least 1 x 1.

    >>> regions(np.array([[0.0, 8.0, 0.0, 24.0, 15.0]]), 1 / 16).tolist()
    [[0, 0, 1, 2, 2]]
    """
    xp = array_module(boxes)
    scaled = boxes[:, 1:].astype(np.float64) * spatial_scale
    corners = xp.sign(scaled) * xp.floor(xp.abs(scaled) + 0.5).clip(0, FARTHEST)  # (K, 4): x1, y1, x2, y2
    sizes = xp.maximum(corners[:, 2:] - corners[:, :2] + 1, 1)  # (K, 2): columns, rows
    parts = [boxes[:, :1].astype(np.float64), corners[:, 1::-1], sizes[:, ::-1]]
    return xp.concatenate(parts, axis=1).astype(np.int32)


def roi_pool(x: Any, regions: Any, output_size: tuple[int, int], *, algorithm: str | None = None) -> tuple[Any, Any]:
    """The largest value of each window, and its flat position in the plane of its image; 0 and -1 where it is empty.

    Ties and NaN as in ``max_pool``.  An image number that there is not makes a region empty.

    >>> x = np.arange(12.0).reshape(1, 1, 3, 4)
    >>> values, indices = roi_pool(x, np.array([[0, 1, 0, 2, 3]]), (1, 2))
    >>> values.tolist(), indices.tolist()
    ([[[[9.0, 10.0]]]], [[[[9, 10]]]])
    """
    if x.ndim != 4 or regions.ndim != 2 or regions.shape[1] != 5:
        raise ShapeError(f"roi_pool: takes x (N, C, H, W) and regions (K, 5), got {x.shape} and {regions.shape}")
    return module("roi", algorithm, x).roi_pool(x, regions, output_size)


def roi_pool_grad(g: Any, indices: Any, regions: Any, x_shape: tuple[int, ...], *, algorithm: str | None = None) -> Any:
    """Adds each g (K, C, P, Q) to the position that won its window: dx (N, C, H, W); adjoint of ``roi_gather``.

    >>> g, indices = np.array([[[[5.0, 7.0]]]]), np.array([[[[1, -1]]]])
    >>> roi_pool_grad(g, indices, np.array([[0, 0, 1, 1, 1]]), (1, 1, 1, 3)).tolist()
    [[[[0.0, 5.0, 0.0]]]]
    """
    return module("roi", algorithm, g).roi_pool_grad(g, indices, regions, x_shape)


def roi_gather(u: Any, indices: Any, regions: Any, *, algorithm: str | None = None) -> Any:
    """Reads u (N, C, H, W) at the winners of ``roi_pool``: (K, C, P, Q), 0 where a window was empty.

    >>> roi_gather(np.array([[[[4.0, 5.0]]]]), np.array([[[[1, -1]]]]), np.array([[0, 0, 1, 1, 1]])).tolist()
    [[[[5.0, 0.0]]]]
    """
    return module("roi", algorithm, u).roi_gather(u, indices, regions)
