"""What must be true of RoI pooling in CUDA."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.kernels.roi import regions, roi_gather, roi_pool, roi_pool_grad

from .cuda import LAYOUTS, Layout, gappy, plain, standin
from .roi import BOXES, GRID, SCALE, SHAPE, operands


def pools_boxes(cupy: Any, dtype: str, lay: Layout) -> None:
    """Values, winners and gradients are those of the definition, all of them written."""
    x, g = operands(dtype)
    host, table = regions(BOXES, SCALE), regions(cupy.asarray(BOXES), SCALE)
    np.testing.assert_array_equal(table.get(), host)
    values, indices = roi_pool(x, host, GRID, algorithm="spec")
    got, winners = roi_pool(lay(cupy, x), table, GRID)
    assert type(got) is cupy.ndarray and got.dtype == dtype
    np.testing.assert_array_equal(got.get(), values)
    np.testing.assert_array_equal(winners.get(), indices)
    np.testing.assert_array_equal(roi_gather(lay(cupy, x), winners, table).get(), values)
    stored = (plain if lay is gappy else lay)(cupy, indices)  # no whole number is NaN, as the gaps are
    dx = roi_pool_grad(lay(cupy, g), stored, table, SHAPE)
    eps = 20 * np.finfo(dtype).eps
    assert dx.dtype == dtype and dx.shape == SHAPE
    np.testing.assert_allclose(dx.get(), roi_pool_grad(g, indices, host, SHAPE, algorithm="spec"), eps, eps)


def emulated_roi(layout: int = 0) -> None:
    """`pools_boxes` in float32 on the stand-in."""
    with standin() as cupy:
        pools_boxes(cupy, "float32", LAYOUTS[layout])
