"""Matrix products: which kernel takes one.

They are ours: register tiles (`cpu/gemm.py`), whose speed and whose last bits depend on neither the BLAS that NumPy was
built with nor its settings, and not on the number of threads either.  BLAS is left with products so small that they
are done before a kernel of ours has begun (OpenBLAS takes one thread for them), with batches of pairs that are not
large, which NumPy begins one after the other without coming back to Python, and with what does not compile.

Where one matrix is large and the other has few rows, memory takes the time, and what counts is that the large one is
read once, where it lies: column by column as in a linear layer's forward pass (`cpu/one_row.py` for one row), or row by
row as in the gradient of its input (`cpu/few_rows.py`).
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .choice import compiles

SMALL = 1 << 18  # multiply-adds of one product; OpenBLAS wakes no thread for so few
PAIR = 1 << 24  # multiply-adds of each pair of a batch; to begin a product takes as long as some million of them
FEW = 32  # rows for which the other matrix is read


def matmul(a: Any, b: Any, out: Any = None) -> Any:
    """``numpy.matmul`` (*, M, K) @ (*, K, N), with `minidl.get_num_threads` threads where that pays.

    >>> matmul(np.ones((2, 3)), np.ones((3, 4))).shape
    (2, 4)
    """
    if min(a.ndim, b.ndim) < 2 or not _fit(a, b, out):
        return np.matmul(a, b, out=out)
    if a.ndim > 2 == b.ndim and a.size and (out is None or out.flags.c_contiguous):
        flat = a.reshape(-1, a.shape[-1])  # many matrices times one are a taller one
        y = matmul(flat, b, None if out is None else out.reshape(len(flat), b.shape[1]))
        return y.reshape(*a.shape[:-1], b.shape[1]) if out is None else out
    if prod(a.shape[-2:]) * b.shape[-1] <= (SMALL if a.ndim == b.ndim == 2 else PAIR):
        return np.matmul(a, b, out=out)
    if out is not None and (np.may_share_memory(a, out) or np.may_share_memory(b, out)):
        out[...] = matmul(a, b)  # results must not be written where operands are still read
        return out
    if a.ndim == b.ndim == 2:
        return _product(a, b, out)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    y = np.empty((*batch, a.shape[-2], b.shape[-1]), a.dtype) if out is None else out
    pairs = np.broadcast_to(a, (*batch, *a.shape[-2:])), np.broadcast_to(b, (*batch, *b.shape[-2:]))
    for index in np.ndindex(batch):
        _product(pairs[0][index], pairs[1][index], y[index])
    return y


def _fit(a: Any, b: Any, out: Any) -> bool:
    """Whether compiled kernels can multiply the matrices; where lengths do not fit, NumPy says so."""
    if a.shape[-1] != b.shape[-2] or a.dtype != b.dtype or not (compiles(a) and compiles(b)):
        return False
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    return out is None or (out.dtype == a.dtype and out.shape == shape)


def _product(a: np.ndarray, b: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    from .cpu import few_rows, gemm, one_row

    few, by_row, by_column = len(a) <= FEW, b.strides[1] == b.itemsize, b.strides[0] == b.itemsize
    if len(a) == 1 and b.T.flags.c_contiguous:
        y = one_row.times_rows(a, b.T)
    elif b.shape[1] == 1 and a.flags.c_contiguous:
        y = one_row.times_rows(b.T, a).T
    elif few and by_row and few_rows.supports(b):
        y = few_rows.rows_times(a, b)
    elif few and by_column and len(a) < b.shape[1]:
        y = gemm.matmul(b.T, a.T).T  # the large one's columns are the rows of tiles
    else:
        return gemm.matmul(a, b, out)
    if out is None:
        return np.ascontiguousarray(y)
    out[...] = y
    return out
