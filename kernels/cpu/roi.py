"""RoI pooling on the CPU: Numba, parallel over the planes of regions, and of images in the backward pass."""

from __future__ import annotations

import numpy as np

from ..jit import njit, prange


def roi_pool(x: np.ndarray, regions: np.ndarray, output_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    shape = (len(regions), x.shape[1], *output_size)
    values, indices = np.empty(shape, x.dtype), np.empty(shape, np.int32)
    largest(np.ascontiguousarray(x), _numbers(regions), values, indices)
    return values, indices


def roi_pool_grad(g: np.ndarray, indices: np.ndarray, regions: np.ndarray, x_shape: tuple[int, ...]) -> np.ndarray:
    dx = np.zeros(x_shape, g.dtype)
    add_to_winners(np.ascontiguousarray(g), _numbers(indices), _numbers(regions), dx.reshape(*x_shape[:2], -1))
    return dx


def roi_gather(u: np.ndarray, indices: np.ndarray, regions: np.ndarray) -> np.ndarray:
    y = np.empty(indices.shape, u.dtype)
    planes = np.ascontiguousarray(u).reshape(*u.shape[:2], -1)
    read_winners(planes, _numbers(indices), _numbers(regions), y)
    return y


def _numbers(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(a, np.int32)


@njit
def share(p, first, size, out, limit):
    """What window p of ``out`` has of ``size`` positions from ``first`` on, as far as it lies in [0, limit)."""
    return max(0, first + p * size // out), min(limit, first + ((p + 1) * size + out - 1) // out)


@njit(parallel=True)
def largest(x, regions, values, indices):
    """values and indices (K, C, P, Q): the largest of each window of x (N, C, H, W), and where in its plane it is."""
    count, channels, high, wide = values.shape
    for task in prange(count * channels):
        k, c = task // channels, task % channels
        n, top, left, rows, columns = regions[k]
        for p in range(high):
            first, stop = share(p, top, rows, high, x.shape[2])
            for q in range(wide):
                begin, end = share(q, left, columns, wide, x.shape[3])
                best, winner = x.dtype.type(0), -1
                if 0 <= n < x.shape[0]:
                    for i in range(first, stop):
                        for j in range(begin, end):
                            v = x[n, c, i, j]
                            if winner < 0 or v > best or v != v:
                                best, winner = v, i * x.shape[3] + j
                values[k, c, p, q] = best
                indices[k, c, p, q] = winner


@njit(parallel=True)
def add_to_winners(g, indices, regions, dx):
    """dx (N, C, HW) += g (K, C, P, Q), each at the position that won; a plane of dx is one thread's."""
    count, channels, high, wide = g.shape
    for task in prange(dx.shape[0] * channels):
        n, c = task // channels, task % channels
        for k in range(count):
            if regions[k, 0] == n:
                for p in range(high):
                    for q in range(wide):
                        if indices[k, c, p, q] >= 0:
                            dx[n, c, indices[k, c, p, q]] += g[k, c, p, q]


@njit(parallel=True)
def read_winners(u, indices, regions, y):
    """y (K, C, P, Q): u (N, C, HW) at the positions that won, 0 where nothing did."""
    count, channels, high, wide = y.shape
    for task in prange(count * channels):
        k, c = task // channels, task % channels
        n = regions[k, 0]
        for p in range(high):
            for q in range(wide):
                at = indices[k, c, p, q]
                y[k, c, p, q] = u[n, c, at] if at >= 0 and 0 <= n < u.shape[0] else u.dtype.type(0)
