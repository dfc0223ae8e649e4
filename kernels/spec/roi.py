"""The definition of RoI pooling: one window of one region at a time, in plain NumPy; documented in ``kernels.roi``."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from ..arrays import array_module
from .pooling import largest


def shares(first: int, size: int, out: int, limit: int) -> list[range]:
    """What each of ``out`` windows has of ``size`` positions from ``first`` on, as far as it lies in [0, limit).

    >>> shares(-1, 5, 2, 3)
    [range(0, 2), range(1, 3)]
    """
    ends = [(first + p * size // out, first - (-(p + 1) * size // out)) for p in range(out)]
    return [range(max(0, low), min(limit, high)) for low, high in ends]


def images(regions: np.ndarray, count: int) -> Iterator[tuple[int, int]]:
    """(region, its image) where there is such an image."""
    for k, n in enumerate(regions[:, 0].tolist()):
        if 0 <= n < count:
            yield k, n


def roi_pool(x: np.ndarray, regions: np.ndarray, output_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Values and flat places (K, C, P, Q); 0 and -1 of an empty window."""
    xp, shape = array_module(x), (len(regions), x.shape[1], *output_size)
    values, indices = xp.zeros(shape, x.dtype), xp.full(shape, -1, np.int32)
    for k, n in images(regions, len(x)):
        top, left, rows, columns = regions[k, 1:].tolist()
        for p, i in enumerate(shares(top, rows, output_size[0], x.shape[2])):
            for q, j in enumerate(shares(left, columns, output_size[1], x.shape[3])):
                if i and j:
                    window = x[n, :, i.start : i.stop, j.start : j.stop].reshape(x.shape[1], len(i) * len(j))  # (C, RS)
                    winner = largest(window)
                    values[k, :, p, q] = xp.take_along_axis(window, winner[:, None], 1)[:, 0]
                    indices[k, :, p, q] = (i.start + winner // len(j)) * x.shape[3] + j.start + winner % len(j)
    return values, indices


def roi_pool_grad(g: np.ndarray, indices: np.ndarray, regions: np.ndarray, x_shape: tuple[int, ...]) -> np.ndarray:
    """dx (N, C, H, W): each g at the place that won its window."""
    xp, channels = array_module(g), x_shape[1]
    dx = xp.zeros((*x_shape[:2], x_shape[2] * x_shape[3]), g.dtype)  # (N, C, HW)
    for k, n in images(regions, x_shape[0]):
        at, of_winners = (a[k].reshape(channels, prod(a.shape[2:])) for a in (indices, g))  # (C, PQ)
        places = xp.arange(channels)[:, None], xp.maximum(at, 0)
        xp.add.at(dx[n], places, xp.where(at >= 0, of_winners, xp.zeros_like(of_winners)))
    return dx.reshape(x_shape)


def roi_gather(u: np.ndarray, indices: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """u at the places that won: (K, C, P, Q); 0 of an empty window."""
    xp = array_module(u)
    y = xp.zeros(indices.shape, u.dtype)
    for k, n in images(regions, len(u)):
        at = indices[k].reshape(u.shape[1], prod(y.shape[2:]))  # (C, PQ)
        read = xp.take_along_axis(u[n].reshape(u.shape[1], prod(u.shape[2:])), xp.maximum(at, 0), 1)
        y[k] = xp.where(at >= 0, read, xp.zeros_like(read)).reshape(y[k].shape)
    return y
