"""Matrix products through NumPy's BLAS, with as many threads as the product is worth.

BLAS has threads of its own, and they are bad neighbours.  They are woken for any product above a quarter of a million
multiply-adds, and when it is done they keep their cores busy for another twenty milliseconds, waiting for the next
one; the loops of compiled kernels then find a core taken.  So a product that one core finishes in a third of a
millisecond is left to one thread, and a larger one is cut into parts, which the threads of those kernels take
(`cpu/crew.py`).  Without Numba BLAS may do as it likes.

Where one matrix is large and the other small, as in a linear layer of many weights for a few images, memory takes the
time, and BLAS packs the large one before it reads it for a few products.  Such products do not go to BLAS: one row
times columns to `cpu/one_row.py`, few rows times columns and few columns times rows to register tiles (`cpu/gemm.py`),
which read the large matrix where it lies.

BLAS gives the parts of a product other last bits than the whole, so these depend on the number of threads, as they do
when BLAS divides the work; parts that follow from sizes alone would cost one thread a tenth of its time.  They do not
depend on what the process has computed before.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from .choice import compiles
from .jit import HAVE_NUMBA
from .threads import blas_threads, controls_blas, get_num_threads

ALWAYS_ALONE = 262_144  # multiply-adds up to which OpenBLAS takes one thread by itself
WORTH_SHARING = 1.5e7  # multiply-adds of about a third of a millisecond on one core
MANY_ROWS = 16  # with fewer rows or columns memory takes the time: a matrix is read for few products
PARTS = 2  # for each thread: one that comes late finds some left; each part packs an operand anew
FEW = 32  # rows, or products in a sum: so many at most fill the width of a register tile
LARGE = 1 << 21  # elements of a matrix that is read, or written, for few products each
STEP = 64  # rows or columns: parts begin at a multiple, where register tiles and cache lines do


def matmul(a: Any, b: Any, out: Any = None) -> Any:
    """``numpy.matmul`` (M, K) @ (K, N), also of batches, with `minidl.get_num_threads` threads where that pays.

    >>> matmul(np.ones((2, 3)), np.ones((3, 4))).shape
    (2, 4)
    """
    of_a_pair = prod(a.shape[-2:]) * b.shape[-1]  # of a batch NumPy hands one pair at a time to BLAS
    if of_a_pair <= ALWAYS_ALONE or min(a.ndim, b.ndim) < 2:
        return np.matmul(a, b, out=out)
    if a.shape[0] == 1 and out is None and _by_columns(a, b):
        from .cpu.one_row import times_rows

        return times_rows(a, b.T)
    if out is None and _reads_much_for_little(a, b):
        from .cpu.gemm import matmul as on_tiles

        if a.shape[0] <= FEW:
            return np.ascontiguousarray(on_tiles(b.T, a.T).T)  # the large one's columns are the rows of tiles
        return on_tiles(a, b)
    if not controls_blas():
        return np.matmul(a, b, out=out)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    few = min(a.shape[-2], b.shape[-1], MANY_ROWS)
    worth_sharing = prod(batch) * of_a_pair >= WORTH_SHARING * few / MANY_ROWS
    if worth_sharing and (not HAVE_NUMBA or get_num_threads() == 1):
        return np.matmul(a, b, out=out)
    with blas_threads(1):
        if not worth_sharing:
            return np.matmul(a, b, out=out)
        from .cpu.crew import work_together

        if out is None:
            out = np.empty((*batch, a.shape[-2], b.shape[-1]), np.result_type(a, b))
        heap = iter(tuple(_parts(a, b, out, PARTS * get_num_threads())))

        def work() -> None:
            for part_of_a, part_of_b, part_of_out in heap:
                np.matmul(part_of_a, part_of_b, out=part_of_out)

        work_together(work, get_num_threads())
    return out


def _by_columns(a: Any, b: Any) -> bool:
    """Whether two matrices can be multiplied by a compiled kernel that reads the columns of the second."""
    return _fit(a, b) and b.T.flags.c_contiguous


def _reads_much_for_little(a: Any, b: Any) -> bool:
    """Whether few rows meet many columns that lie side by side, or many rows and columns are a sum of few products."""
    if not _fit(a, b):
        return False
    (m, k), n = a.shape, b.shape[1]
    if m <= FEW:
        return k * n >= LARGE and b.T.flags.c_contiguous
    return k <= FEW and m * n >= LARGE and b.flags.c_contiguous


def _fit(a: Any, b: Any) -> bool:
    """Whether a compiled kernel can multiply two matrices."""
    fits = a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0] and a.dtype == b.dtype
    return fits and compiles(a) and compiles(b)


Part = tuple[Any, Any, Any]


def _parts(a: Any, b: Any, out: Any, count: int) -> Iterator[Part]:
    """``count`` products at most that make the product: some of a batch, or some of the longer side of the result."""
    if out.ndim > 2 and out.shape[0] > 1:
        for begin, end in _cut(out.shape[0], count, 1):
            a_part, b_part = (p[begin:end] if p.ndim == out.ndim and len(p) > 1 else p for p in (a, b))
            yield a_part, b_part, out[begin:end]
    elif out.shape[-2] >= out.shape[-1]:
        for begin, end in _cut(out.shape[-2], count, STEP):
            yield a[..., begin:end, :], b, out[..., begin:end, :]
    else:
        for begin, end in _cut(out.shape[-1], count, STEP):
            yield a, b[..., begin:end], out[..., begin:end]


def _cut(size: int, count: int, step: int) -> Iterator[tuple[int, int]]:
    """Parts of a range, as equal as multiples of ``step`` can be.

    >>> list(_cut(300, 2, 64)), list(_cut(5, 4, 1))
    ([(0, 192), (192, 300)], [(0, 2), (2, 4), (4, 5)])
    """
    part = -(-size // (count * step)) * step
    for begin in range(0, size, part):
        yield begin, min(begin + part, size)
