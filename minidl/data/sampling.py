"""Bilinear interpolation of images: at any coordinates, and onto a regular grid.

Pixel (i, j) is the unit square whose centre has the coordinates (i, j); the image covers [-1/2, H - 1/2]. A
resized pixel p therefore looks at (p + 1/2) * scale - 1/2, the rule of Pillow and of PyTorch with
``align_corners=False``.
"""

from __future__ import annotations

import numpy as np


def restore_dtype(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Float results back to the dtype of the image: whole numbers are rounded and kept in range."""
    if dtype.kind in "ui":
        info = np.iinfo(dtype)
        values = np.clip(np.rint(values), info.min, info.max)
    return values.astype(dtype, copy=False)


def working_dtype(dtype: np.dtype) -> np.dtype:
    """float32 for whole numbers and small floats, float64 for float64."""
    return np.result_type(dtype, np.float32) if dtype.kind == "f" else np.dtype(np.float32)


def sample_bilinear(images: np.ndarray, ys: np.ndarray, xs: np.ndarray, fill: float = 0.0) -> np.ndarray:
    """Values of ``images`` (N, C, H, W) at the coordinates ``ys``, ``xs`` (N, P, Q), as floats (N, C, P, Q).

    Beyond the border lies the value ``fill``; the half pixel at the border fades into it.

    >>> import numpy as np
    >>> image = np.array([[[[0.0, 10.0, 20.0]]]])
    >>> sample_bilinear(image, np.zeros((1, 1, 3)), np.array([[[0.25, 1.5, 9.0]]]), fill=7.0)
    array([[[[ 2.5, 15. ,  7. ]]]])
    """
    n, c, h, w = images.shape
    _, p, q = ys.shape
    dtype = working_dtype(images.dtype)
    frame = ((0, 0), (0, 0), (1, 2), (1, 2))  # one pixel of fill around, one more for the right neighbour
    padded = np.pad(images.astype(dtype, copy=False), frame, constant_values=fill)
    flat = padded.reshape(-1)  # (N C (H + 3) (W + 3),)

    ys = np.clip(ys, -1.0, h) + 1.0
    xs = np.clip(xs, -1.0, w) + 1.0
    top, left = np.floor(ys), np.floor(xs)  # (N, P, Q)
    fy = (ys - top).astype(dtype).reshape(n, 1, p * q)
    fx = (xs - left).astype(dtype).reshape(n, 1, p * q)
    corner = (top * (w + 3) + left).astype(np.intp).reshape(n, 1, p * q)
    corner = corner + np.arange(n * c).reshape(n, c, 1) * ((h + 3) * (w + 3))  # (N, C, PQ)

    def at(shift: int) -> np.ndarray:
        return flat[shift:].take(corner, mode="clip")  # never outside, and faster than being asked

    upper = at(0) * (1 - fx) + at(1) * fx
    lower = at(w + 3) * (1 - fx) + at(w + 4) * fx
    return (upper * (1 - fy) + lower * fy).reshape(n, c, p, q)


def resize_weights(n_in: int, n_out: int, antialias: bool = True) -> np.ndarray:
    """The matrix (n_out, n_in) that resizes one axis; each row sums to one.

    Row p is a triangle around (p + 1/2) * n_in / n_out - 1/2 of half width one input pixel, or, when shrinking
    with ``antialias``, one output pixel, so that no input pixel is passed over. Without ``antialias`` the
    border pixel stands for everything beyond it.

    >>> resize_weights(2, 4).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    >>> resize_weights(4, 2).tolist()[0]
    [0.42857142857142855, 0.42857142857142855, 0.14285714285714285, 0.0]
    >>> resize_weights(4, 2, antialias=False).tolist()[0]
    [0.5, 0.5, 0.0, 0.0]
    """
    scale = n_in / n_out
    width = max(scale, 1.0) if antialias else 1.0
    centre = (np.arange(n_out) + 0.5) * scale - 0.5
    if width == 1.0:
        centre = np.clip(centre, 0.0, n_in - 1.0)
    distance = np.abs(np.arange(n_in)[None, :] - centre[:, None]) / width  # (n_out, n_in)
    weights = np.maximum(0.0, 1.0 - distance)
    return weights / weights.sum(axis=1, keepdims=True)


def resize(images: np.ndarray, size: tuple[int, int], antialias: bool = True) -> np.ndarray:
    """Bilinear resize of (..., H, W) to (..., P, Q) = ``size``, in the dtype of ``images``.

    >>> import numpy as np
    >>> resize(np.array([[0, 100]], np.uint8), (1, 4))
    array([[  0,  25,  75, 100]], dtype=uint8)
    """
    h, w = images.shape[-2:]
    p, q = size
    if min(h, w, p, q) < 1:
        raise ValueError(f"cannot resize an image of H x W = {h} x {w} to {p} x {q}: every side must be >= 1")
    if (p, q) == (h, w):
        return images.copy()
    dtype = working_dtype(images.dtype)
    rows = resize_weights(h, p, antialias).astype(dtype)  # (P, H)
    columns = resize_weights(w, q, antialias).astype(dtype)  # (Q, W)
    out = np.matmul(rows, np.matmul(images.astype(dtype, copy=False), columns.T))  # (..., P, Q)
    return restore_dtype(out, images.dtype)
