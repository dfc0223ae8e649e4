"""Matrix product on register tiles: no BLAS, so the same speed whichever BLAS NumPy was built with.

A matrix is an image of one row of pixels, a product with it a convolution of one tap: `products.multiply_rows`
does both, and its docstring explains the blocking.  Left to do here: operands that lie in memory in another way.
"""

from __future__ import annotations

import numpy as np

from ..errors import ShapeError
from .products import multiply_rows
from .relayout import as_last, empty_last
from .replay import replayed
from .windows import matrix

DTYPES = ("float32", "float64")


def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None, accumulate: bool = False) -> np.ndarray:
    """a (M, K) @ b (K, N), with ``accumulate`` added to ``out`` (M, N); float32 or float64, any strides.

    Products are summed in their dtype, in an order that depends on the shapes only.  ``out`` shares no memory with a
    or b.  Raises ShapeError where shapes or dtypes do not fit.

    >>> matmul(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]))
    array([[11.]])
    """
    _check(a, b, out, accumulate)
    m, n = len(a), b.shape[1]
    if 0 in (m, n, len(b)):
        c = np.empty((m, n), a.dtype) if out is None else out
        if not accumulate:
            c[...] = 0
        return c
    if out is not None and accumulate:
        return _multiply(a, b, out, accumulate)
    return _product(a, b, (m, len(b), n), out=out)


@replayed
def _product(a: np.ndarray, b: np.ndarray, sizes: tuple[int, int, int], out: np.ndarray | None = None) -> np.ndarray:
    return _multiply(a, b, empty_last((sizes[0], sizes[2]), a.dtype) if out is None else out, False)


def _multiply(a: np.ndarray, b: np.ndarray, c: np.ndarray, accumulate: bool) -> np.ndarray:
    """c = a @ b, or c += a @ b; no length is 0."""
    if c.strides[1] != c.itemsize and c.shape[1] > 1:  # rows of results have to lie side by side
        if c.strides[0] == c.itemsize:
            _multiply(b.T, a.T, c.T, accumulate)
        else:
            dense = matmul(a, b)
            c[...] = c + dense if accumulate else dense
        return c
    if a.strides[1] != a.itemsize:
        a = as_last(a.T[None], "a")[0].T
    multiply_rows(matrix(a, c), b.T[None, :, :, None, None, None], a.dtype.name, accumulate)
    return c


def _check(a: np.ndarray, b: np.ndarray, out: np.ndarray | None, accumulate: bool) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ShapeError(f"a (M, K) @ b (K, N) needs the same K in both, got a {a.shape} and b {b.shape}")
    if a.dtype != b.dtype or a.dtype.name not in DTYPES:
        raise ShapeError(f"a and b must both be float32 or both float64, got {a.dtype} and {b.dtype}")
    if out is None and accumulate:
        raise ShapeError("accumulate=True adds to out, and there is none")
    if out is not None and (out.shape != (len(a), b.shape[1]) or out.dtype != a.dtype):
        raise ShapeError(f"out must be {a.dtype} of shape (M, N) = {(len(a), b.shape[1])}, got {out.dtype} {out.shape}")
