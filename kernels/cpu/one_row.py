"""The product of one row and a matrix whose columns lie side by side in memory: a linear layer for one image.

Each weight is read for one product, so memory takes the time: 4 MB for a thousand classes.  To tell OpenBLAS how many
threads it may have, and hand it parts of the matrix, takes longer than that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from .elements import PIECE, elements, kind_of, seconds
from .pieces import Address, read, run
from .places import address

FOUR = 4  # rows at once


class _Product(NamedTuple):
    x: Address
    rows: Address
    y: Address
    width: int  # elements of a row
    count: int
    block: int  # rows of a piece


def times_rows(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """``x @ rows.T``: x (1, K) and rows (N, K), C-contiguous -> (1, N), the same bits for any number of threads."""
    x, (count, width) = np.ascontiguousarray(x), rows.shape
    y, block = np.empty((1, count), rows.dtype), FOUR * max(1, PIECE // (FOUR * width))
    product = _Product(address(x), address(rows), address(y), width, count, block)
    run(_rows_piece, kind_of(rows), product, -(-count // block), seconds(rows))
    return y


@native
def _rows_piece(kind: Any, arguments: int, piece: int) -> None:
    p = read(_Product, arguments)
    x, y = elements(kind, p.x, p.width), elements(kind, p.y, p.count)
    pitch, n, stop = p.width * kind.itemsize, piece * p.block, min((piece + 1) * p.block, p.count)
    while n + FOUR <= stop:  # side by side: memory delivers several streams faster than one
        place = p.rows + n * pitch
        row0, row1 = elements(kind, place, p.width), elements(kind, place + pitch, p.width)
        row2, row3 = elements(kind, place + 2 * pitch, p.width), elements(kind, place + 3 * pitch, p.width)
        sum0 = sum1 = sum2 = sum3 = x.dtype.type(0)
        for k in range(len(x)):
            sum0 += row0[k] * x[k]
            sum1 += row1[k] * x[k]
            sum2 += row2[k] * x[k]
            sum3 += row3[k] * x[k]
        y[n], y[n + 1], y[n + 2], y[n + 3] = sum0, sum1, sum2, sum3
        n += FOUR
    while n < stop:
        row, total = elements(kind, p.rows + n * pitch, p.width), x.dtype.type(0)
        for k in range(len(x)):
            total += row[k] * x[k]
        y[n] = total
        n += 1
