"""Checks of RoI pooling: loops in plain Python, the adjoint identity, boxes that hang over the edge or lie outside."""

from __future__ import annotations

import itertools
from math import ceil, floor

import numpy as np

from minidl.kernels.roi import regions, roi_gather, roi_pool, roi_pool_grad

SHAPE, GRID, SCALE = (3, 2, 7, 9), (3, 4), 0.5
BOXES = np.array([
    [0, 0, 0, 16, 12],  # the whole image
    [2, 2, 3, 11, 9],
    [2, 4, 4, 4, 4],  # one pixel, for all windows
    [0, 9, 7, 30, 25],  # over the edge
    [1, -9, -7, 3, 2],  # over the other edge
    [1, 40, 40, 60, 60],  # outside
    [0, 8, 8, 3, 3],  # turned round: one pixel
    [0, 3, 1, 15, 1],  # halves are rounded away from zero
    [7, 0, 0, 9, 9],  # of an image that there is not
], "float64")  # fmt: skip


def bins(low: float, high: float, out: int, limit: int) -> list[list[int]]:
    """The positions of each window along one axis, from the corners of a box."""
    first, last = (floor(abs(v) * SCALE + 0.5) * (1 if v >= 0 else -1) for v in (low, high))
    size = max(last - first + 1, 1)
    return [
        [i for i in range(limit) if first + floor(p * size / out) <= i < first + ceil((p + 1) * size / out)]
        for p in range(out)
    ]


def oracle(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, indices = np.zeros((len(BOXES), SHAPE[1], *GRID), x.dtype), np.full((len(BOXES), SHAPE[1], *GRID), -1)
    for k, (n, x1, y1, x2, y2) in enumerate(BOXES):
        rows, columns = bins(y1, y2, GRID[0], SHAPE[2]), bins(x1, x2, GRID[1], SHAPE[3])
        for c, p, q in itertools.product(range(SHAPE[1]), range(GRID[0]), range(GRID[1])):
            if n >= SHAPE[0]:
                continue
            for i, j in itertools.product(rows[p], columns[q]):
                v, at = x[int(n), c, i, j], (k, c, p, q)
                if indices[at] < 0 or v > values[at] or v != v:
                    values[at], indices[at] = v, i * SHAPE[3] + j
    return values, indices


def operands(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """x with ties and NaN, and a random cotangent."""
    rng = np.random.default_rng(6)
    x = rng.integers(-3, 4, SHAPE).astype(dtype)
    x[2, 1, 3, 2:4] = np.nan
    return x, rng.standard_normal((len(BOXES), SHAPE[1], *GRID)).astype(dtype)


def check_roi(impl: str = "spec", dtype: str = "float64") -> None:
    """Values, winners, gradient and what is read at the winners, of arrays in C order, channels last and with gaps."""
    x, g = operands(dtype)
    table = regions(BOXES, SCALE)
    values, indices = oracle(x)
    assert (indices >= 0).any() and (indices < 0).any()
    dx = np.zeros(x.shape)
    for at in np.ndindex(indices.shape):
        if indices[at] >= 0:
            dx[int(BOXES[at[0], 0]), at[1]].reshape(-1)[indices[at]] += g[at]
    for stored in (x, np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1), x.repeat(2, -1)[..., ::2]):
        got, winners = roi_pool(stored, table, GRID, algorithm=impl)
        assert got.dtype == dtype and got.shape == values.shape
        np.testing.assert_array_equal(got, values)
        np.testing.assert_array_equal(winners, indices)
        np.testing.assert_array_equal(roi_gather(stored, winners, table, algorithm=impl), values)
    for stored in (g, g.repeat(2, -1)[..., ::2]):
        got = roi_pool_grad(stored, indices, table, SHAPE, algorithm=impl)
        assert got.dtype == dtype
        eps = 20 * np.finfo(dtype).eps
        np.testing.assert_allclose(got, dx, eps, eps)
