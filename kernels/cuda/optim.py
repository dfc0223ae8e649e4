"""Updates of all parameters in one launch, the twins of ``kernels.cpu.optim`` in CUDA, with the same bits.

What the kernel needs to know of the parameters stands in tables on the device.  CuPy's pool gives a step's gradients
the places that those of the step before had, so the tables of addresses are copied there once, not in each step, and a
table of numbers only where a number has changed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..arrays import array_module
from . import tables
from .source import function, real

Array = Any

THREADS = 256
PIECE = 1 << 13  # elements of a parameter that a block takes
FLAGS = ("maximize", "decay", "momentum", "nesterov", "decoupled", "amsgrad", "centered")  # as in optim.cu
EXACT = ("--fmad=false",)  # a product is rounded before it is added to: as NumPy does it


def update(
    name: str,
    options: dict[str, bool],
    arrays: Sequence[Sequence[Array]],
    numbers: Array,
    keep: Array = None,
) -> None:
    """Update every parameter in place by the rule ``name``, as ``kernels.cpu.optim.update``.

    ``numbers`` (parameters, width): float64, on the host or on the device already.  ``keep``: int64 (1,) on the device,
    0 where nothing shall change: no block has a share then.
    """
    first = arrays[0][0]
    xp = array_module(first)
    flags = sum(1 << FLAGS.index(option) for option, on in options.items() if on)
    entries, shares, blocks = _tables(xp, arrays)
    if not blocks:
        return
    if keep is not None:
        shares = shares * keep
    width = len(numbers[0])
    if array_module(numbers) is np:
        numbers = tables.constant(xp, np.ascontiguousarray(numbers, np.float64))
    kernel = _kernel(xp, first.dtype, name)
    kernel((blocks,), (THREADS,), (entries, shares, numbers, np.int32(width), np.int32(flags)))


def scale(gradients: Sequence[Array], factor: Array) -> None:
    """Multiply the gradients, of one dtype, with ``factor`` in place: a float64 array of one number on the device."""
    xp = array_module(factor)
    entries, shares, blocks = _tables(xp, [(g, g) for g in gradients])
    if blocks:
        _kernel(xp, gradients[0].dtype, "scale")((blocks,), (THREADS,), (entries, shares, factor))


def sum_of_squares(gradients: Sequence[Array]) -> Array:
    """Of all elements of the gradients, which are of one dtype: float64, added up in a fixed order.

    It is not finite exactly where an element is not: no sum of so few squares of float32 leaves the range of float64.
    Of float64 gradients a square may.
    """
    xp = array_module(gradients[0])
    entries, shares, blocks = _tables(xp, [(g, g) for g in gradients])
    sums = xp.empty(blocks, np.dtype("float64"))
    if blocks:
        _kernel(xp, gradients[0].dtype, "squares")((blocks,), (THREADS,), (entries, shares, sums))
    return sums.sum()


def _kernel(xp: Any, dtype: Any, name: str) -> Callable[..., None]:
    return function(xp, "optim.cu", name, EXACT, REAL=real(dtype), THREADS=THREADS)


def _tables(xp: Any, arrays: Sequence[Sequence[Array]]) -> tuple[Array, Array, int]:
    """Addresses of all arrays, and the shares of the blocks, on the device; how many shares."""
    addresses = np.zeros((len(arrays), 5), np.int64)
    for row, own in zip(addresses, arrays):
        row[: len(own)] = [a.data.ptr for a in own]
    shares = _shares(tuple(own[0].size for own in arrays))
    return tables.constant(xp, addresses), tables.constant(xp, shares), len(shares)


@functools.lru_cache(maxsize=64)
def _shares(sizes: tuple[int, ...]) -> np.ndarray:
    rows = [(i, first, min(PIECE, n - first)) for i, n in enumerate(sizes) for first in range(0, n, PIECE)]
    return np.array(rows, np.int64).reshape(-1, 3)
