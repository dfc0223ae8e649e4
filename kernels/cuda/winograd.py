"""Winograd convolution on CUDA, 3 x 3 kernels of stride 1: 36 products for 144, in three steps.

Squares of 6 x 6 positions become V by a kernel (``winograd.cu``), filters become U, V U are 36 matrix products in one
call of cuBLAS, and a kernel makes 4 x 4 results of each square of products M.  F(2x2, 3x3) is the same with 16 for 36.
``spec/winograd.py`` derives it all, `winograd_tiles` chooses between the two, and says at which points.

    forward, input_grad    M = V U    (points, G, tiles, C) @ (points, G, C, K)
    weight_grad            M = Z^T V  (points, G, K, tiles) @ (points, G, tiles, C), Z the transformed squares of g

V and M are 2.25 times as large as x and y (4 times for F(2x2, 3x3)), and written out; so images go through in groups.
U is made anew in each call: on the CPU it is kept, for weights that are compared with a copy; here the host would have
to wait for the answer.

Source: Lavin, Gray 2016, Fast Algorithms for Convolutional Neural Networks, section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from .. import layout
from ..arrays import array_module
from ..cpu import winograd_tiles
from ..geometry import Conv
from ..spec.winograd import Transforms, transforms
from . import windows
from .source import function, structure

Array = Any
Correlate = Callable[[str, Array, Array, Array, Conv, Sequence[int]], None]

THREADS = 128
CHUNK_BYTES = 512 << 20  # of V and M; those of a single image may need more


def supports(pass_: str, conv: Conv) -> str | None:
    """None, or why neither F(4x4, 3x3) nor F(2x2, 3x3) can."""
    if conv.kernel != (3, 3) or conv.dilation != (1, 1):
        got = f"kernel {conv.kernel}, dilation {conv.dilation}"
        return f"Winograd on a GPU is written for 3 x 3 kernels in two dimensions, without dilation, got {got}"
    return winograd_tiles.supports(pass_, conv) or windows.supports(pass_, conv)


def forward(x: Array, w: Array, conv: Conv, out: Array | None = None, correlate: Correlate | None = None) -> Array:
    """y (N, K, *out); channels-last where no ``out`` is given."""
    y = layout.empty_last(conv.y_shape, x) if out is None else out
    lows = [low for low, _ in conv.padding]
    return _by(correlate or _correlate, "forward", x, by_group(w, conv, 0), y, conv, lows)


def input_grad(w: Array, g: Array, conv: Conv, out: Array | None = None, correlate: Correlate | None = None) -> Array:
    """dx (N, C, *size); channels-last where no ``out`` is given.  The forward pass of g with the filters flipped."""
    dx = layout.empty_last(conv.x_shape, g) if out is None else out
    filters = by_group(w, conv, 0).swapaxes(1, 2)[..., ::-1, ::-1]  # (G, C/G, K/G, 3, 3)
    lows = [2 - low for low, _ in conv.padding]
    return _by(correlate or _correlate, "input_grad", g, filters, dx, conv, lows)


def weight_grad(x: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dw (K, C/G, 3, 3)."""
    dw = array_module(x).empty(conv.w_shape, x.dtype) if out is None else out
    dw[...] = 0
    if not (x.size and dw.size):
        return dw
    m, t = matrices("weight_grad", conv)
    tiles, total = [-(-n // m) for n in conv.out], None
    for images in chunks("weight_grad", conv):
        Z = _to_points(by_group(g[images], conv), t.G, tiles, m, (0, 0))  # (points, G, tiles, K/G)
        V = _to_points(by_group(x[images], conv), t.BT, tiles, m, [low for low, _ in conv.padding])
        M = Z.swapaxes(-1, -2) @ V  # (points, G, K/G, C/G)
        total = M if total is None else total + M
    _from_points(total, by_group(dw, conv, 0).swapaxes(0, 1), t.AT, (1, 1), 1)  # into (K/G, G, C/G, 3, 3)
    return dw


def matrices(pass_: str, conv: Conv) -> tuple[int, Transforms]:
    """m of F(m x m, 3 x 3), or of F(3 x 3, m x m) for the weight gradient, and its matrices."""
    chosen = winograd_tiles.options(pass_, conv)
    m, points = chosen["m"], chosen["points"]
    return m, transforms(3, m, points) if pass_ == "weight_grad" else transforms(m, 3, points)


def image_bytes(pass_: str, conv: Conv) -> int:
    """V and M of one image, in the weight gradient V and Z."""
    m, _ = matrices(pass_, conv)
    size = conv.size if pass_ == "input_grad" else conv.out
    return 4 * (m + 2) ** 2 * prod(-(-n // m) for n in size) * (conv.in_channels + conv.out_channels)


def chunks(pass_: str, conv: Conv) -> Iterator[slice]:
    """The images, as many at a time as ``CHUNK_BYTES`` allow, one at least."""
    at_once = max(1, CHUNK_BYTES // max(1, image_bytes(pass_, conv)))
    return (slice(i, min(i + at_once, conv.batch)) for i in range(0, conv.batch, at_once))


def _by(correlate: Correlate, pass_: str, x: Array, w: Array, y: Array, conv: Conv, low: Sequence[int]) -> Array:
    """y (N, G*columns, P, Q) of x (N, G*depth, H, W) and w (G, columns, depth, 3, 3)."""
    if x.size and y.size:
        correlate(pass_, x, w, y, conv, low)
    else:
        y[...] = 0
    return y


def _correlate(pass_: str, x: Array, w: Array, y: Array, conv: Conv, low: Sequence[int]) -> None:
    m, t = matrices(pass_, conv)
    tiles = [-(-n // m) for n in y.shape[2:]]
    U = filters_to_points(w, t)
    for images in chunks(pass_, conv):
        V = _to_points(by_group(x[images], conv), t.BT, tiles, m, low)  # (points, G, tiles, depth)
        _from_points(V @ U, by_group(y[images], conv), t.AT, tiles, m)


def filters_to_points(w: Array, t: Transforms) -> Array:
    """U (points, G, depth, columns) of w (G, columns, depth, 3, 3)."""
    return _to_points(w.transpose((2, 0, 1, 3, 4)), t.G, (1, 1), 1, (0, 0))


def by_group(a: Array, conv: Conv, axis: int = 1) -> Array:
    """(N, C, H, W) -> (N, G, C/G, H, W), with axis 0 (K, C/G, 3, 3) -> (G, K/G, C/G, 3, 3): a view."""
    shape = a.shape
    return a.reshape(*shape[:axis], conv.groups, shape[axis] // conv.groups, *shape[axis + 1 :])


def _to_points(image: Array, matrix: np.ndarray, tiles: Sequence[int], hop: int, low: Sequence[int]) -> Array:
    """``image`` (N, G, columns, H, W) -> (points, G, N * tiles, columns)"""
    n, groups, columns = image.shape[:3]
    xp, rows = array_module(image), n * prod(tiles)
    points = xp.empty((len(matrix) ** 2, groups, rows, columns), image.dtype)
    _launch("to_points", image, points, image, matrix, squares(image, tiles, hop, low))
    return points


def _from_points(points: Array, image: Array, matrix: np.ndarray, tiles: Sequence[int], hop: int) -> None:
    """The way back, into ``image``; what reaches over its edge is dropped."""
    _launch("from_points", points, image, image, matrix, squares(image, tiles, hop, (0, 0)))


def _launch(name: str, source: Array, target: Array, image: Array, matrix: np.ndarray, squares: Any) -> None:
    items = (target if name == "to_points" else source)[0].size
    height, width = matrix.shape
    macros = {"HEIGHT": height, "WIDTH": width, "MATRIX": literal(matrix)}
    kernel = function(array_module(image), "winograd.cu", name, **macros)
    kernel((-(-items // THREADS),), (THREADS,), (source, target, squares, np.int32(items)))


def squares(image: Array, tiles: Sequence[int], hop: int, low: Sequence[int]) -> Any:
    """``Squares`` of winograd.cuh: an image (N, G, C/G, *size), and how many squares it is cut into."""
    n, groups, columns, *size = image.shape
    strides = (s // image.itemsize for s in image.strides)
    return structure((groups, n, *tiles, columns, *size, hop, *low, *strides))


def literal(matrix: np.ndarray) -> str:
    """A matrix as C++ writes it.

    >>> literal(np.array([[1, 0.5], [0, -3]]))
    '{{1.0f,0.5f},{0.0f,-3.0f}}'
    """
    return "{" + ",".join("{" + ",".join(f"{float(e)!r}f" for e in row) + "}" for row in matrix) + "}"
