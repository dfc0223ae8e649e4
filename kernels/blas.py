"""Matrix products through NumPy's BLAS, with as many threads as the product is worth.

BLAS wakes all its threads for any product above a quarter of a million multiply-adds.  A thread that has no core of
its own then keeps the others waiting for a slice of the scheduler, milliseconds for a product of microseconds; a
training step of LeNet-5 took 50 times as long beside a busy neighbour.  So products that one core finishes in about
a millisecond are done by one.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .threads import blas_threads

ALWAYS_ALONE = 262_144  # multiply-adds up to which OpenBLAS takes one thread by itself
WORTH_SHARING = 5e7  # multiply-adds of about a millisecond on one core


def matmul(a: Any, b: Any, out: Any = None) -> Any:
    """``numpy.matmul`` (M, K) @ (K, N), also of batches, without waking threads for a small product.

    >>> matmul(np.ones((2, 3)), np.ones((3, 4))).shape
    (2, 4)
    """
    # of a batch NumPy hands one pair at a time to BLAS
    multiply_adds = prod(a.shape[-2:]) * b.shape[-1]
    if ALWAYS_ALONE < multiply_adds < WORTH_SHARING:
        with blas_threads(1):
            return np.matmul(a, b, out=out)
    return np.matmul(a, b, out=out)
