"""RoI pooling on the CPU: what `kernels.roi` describes, in plain loops.

The idea: a box of K x L positions is divided into P x Q windows (`share`); a window's result is its largest element,
whose place in the plane is kept.  The gradient adds what a window gets to that place; boxes may overlap.

The blocking: a piece of work is one channel of a box, in the gradient one channel of an image, which goes through all
boxes in that image: so no two threads write to one place, and the order of a sum is that of the boxes.  There are no
vectors: a window has few elements, and to find them costs more than to compare them.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from .elements import elements, kind_of
from .pieces import Address, read, run
from .places import address

SECONDS = 1e-9  # for an element of a plane

U = np.uint64  # of indices: Numba would test a signed one for being negative


def roi_pool(x: np.ndarray, regions: np.ndarray, output_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The largest element of each window of each box in x (N, C, H, W), and its place: ``kernels.roi.roi_pool``."""
    shape = (len(regions), x.shape[1], *output_size)
    values, indices = np.empty(shape, x.dtype), np.empty(shape, np.int32)
    _run(_largest, np.ascontiguousarray(x), values, indices, _numbers(regions), len(regions))
    return values, indices


def roi_pool_grad(g: np.ndarray, indices: np.ndarray, regions: np.ndarray, x_shape: tuple[int, ...]) -> np.ndarray:
    """dx (N, C, H, W): each cotangent g (boxes, C, P, Q) where its window's winner stood."""
    dx = np.zeros(x_shape, g.dtype)
    _run(_add_to_winners, dx, np.ascontiguousarray(g), _numbers(indices), _numbers(regions), len(dx))
    return dx


def roi_gather(u: np.ndarray, indices: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """The elements of u (N, C, H, W) that stand where ``indices`` (boxes, C, P, Q) say."""
    y = np.empty(indices.shape, u.dtype)
    _run(_read_winners, np.ascontiguousarray(u), y, _numbers(indices), _numbers(regions), len(regions))
    return y


def _numbers(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(a, np.int32)


class _Regions(NamedTuple):
    x: Address  # (N, C, H, W)
    y: Address  # (K, C, P, Q)
    indices: Address  # (K, C, P, Q)
    regions: Address  # (K, 5)
    images: int
    channels: int
    high: int  # H
    wide: int  # W
    count: int  # K
    rows: int  # P
    columns: int  # Q


def _run(function: Any, x: np.ndarray, y: np.ndarray, indices: np.ndarray, regions: np.ndarray, planes: int) -> None:
    arrays = x, y, indices, regions
    sizes = _Regions(*map(address, arrays), *x.shape, y.shape[0], *y.shape[2:])
    run(function, kind_of(x), sizes, planes * x.shape[1], (prod(x.shape) + prod(y.shape)) * SECONDS)


@native
def share(p: int, first: int, size: int, out: int, limit: int) -> tuple[int, int]:
    """What window p of ``out`` has of ``size`` positions from ``first`` on, as far as it lies in [0, limit)."""
    return max(0, first + p * size // out), min(limit, first + ((p + 1) * size + out - 1) // out)


@native
def _region(kind: Any, s: Any, k: int) -> Any:
    return elements(kind.places, s.regions + 20 * k, 5)


@native
def _plane(kind: Any, s: Any, n: int, c: int) -> Any:
    """Plane c of image n: (HW,)."""
    area = s.high * s.wide
    return elements(kind, s.x + (n * s.channels + c) * area * kind.itemsize, area)


@native
def _windows(kind: Any, place: int, s: Any, k: int, c: int) -> Any:
    """The windows (PQ,) of channel c of region k, of an array (K, C, P, Q) of such elements at address ``place``."""
    count = s.rows * s.columns
    return elements(kind, place + (k * s.channels + c) * count * kind.itemsize, count)


@native
def _largest(kind: Any, arguments: int, piece: int) -> None:
    """Of each window of a plane of a region the largest value, and where in the plane of its image it is."""
    s = read(_Regions, arguments)
    k, c = piece // s.channels, piece % s.channels
    values, indices = _windows(kind, s.y, s, k, c), _windows(kind.places, s.indices, s, k, c)
    region = _region(kind, s, k)
    n = np.int64(region[0])
    x = _plane(kind, s, n, c)
    for p in range(s.rows):
        first, stop = share(p, np.int64(region[1]), np.int64(region[3]), s.rows, s.high)
        for q in range(s.columns):
            begin, end = share(q, np.int64(region[2]), np.int64(region[4]), s.columns, s.wide)
            best, winner = values.dtype.type(0), -1
            if 0 <= n < s.images:
                for i in range(first, stop):
                    for j in range(begin, end):
                        v = x[U(i * s.wide + j)]
                        if winner < 0 or v > best or v != v:
                            best, winner = v, i * s.wide + j
            values[U(p * s.columns + q)], indices[U(p * s.columns + q)] = best, winner


@native
def _add_to_winners(kind: Any, arguments: int, piece: int) -> None:
    """A plane of dx gets what the windows of its image have, each at the position that won."""
    s = read(_Regions, arguments)
    n, c = piece // s.channels, piece % s.channels
    dx = _plane(kind, s, n, c)
    for k in range(s.count):
        if _region(kind, s, k)[0] == n:
            g, indices = _windows(kind, s.y, s, k, c), _windows(kind.places, s.indices, s, k, c)
            for i in range(s.rows * s.columns):
                if indices[U(i)] >= 0:
                    dx[U(indices[U(i)])] += g[U(i)]


@native
def _read_winners(kind: Any, arguments: int, piece: int) -> None:
    """The windows of a plane of a region read u at the positions that won, 0 where nothing did."""
    s = read(_Regions, arguments)
    k, c = piece // s.channels, piece % s.channels
    y, indices = _windows(kind, s.y, s, k, c), _windows(kind.places, s.indices, s, k, c)
    n = np.int64(_region(kind, s, k)[0])
    u = _plane(kind, s, n, c)
    for i in range(s.rows * s.columns):
        inside = indices[U(i)] >= 0 and 0 <= n < s.images
        y[U(i)] = u[U(indices[U(i)])] if inside else y.dtype.type(0)
