"""Where windows lie in memory: the tables of addresses that register tiles read.

Output pixels are numbered through images and axes, m = ((n * O + o) * P + p) * Q + q, and kernel taps likewise.
The table says for each tap and pixel at which address the C channels of that input position begin.  A position in
the padding has the address of a row of zeros.  So stride, dilation, padding, layout and the number of axes (1 to
3) are settled here, and no kernel needs to know of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..jit import njit
from .direct_tiles import ABSENT, Axis3, Geometry


class Windows(NamedTuple):
    """What the table is computed from.  Flat, because parallel loops take no nested tuples.

    x and y: the address of element (0, 0, 0, 0, 0), and steps in bytes from image to image and along the axes.
    """

    x: int
    x_image: int
    x_step0: int
    x_step1: int
    x_step2: int
    y: int
    y_image: int
    y_step0: int
    y_step1: int
    y_step2: int
    zeros: int  # address of as many zeros as a row has channels
    batch: int
    size0: int
    taps0: int
    out0: int
    stride0: int
    low0: int
    dilation0: int
    size1: int
    taps1: int
    out1: int
    stride1: int
    low1: int
    dilation1: int
    size2: int
    taps2: int
    out2: int
    stride2: int
    low2: int
    dilation2: int


def windows(
    x: np.ndarray,
    y: np.ndarray,
    axes: Geometry,
    zeros: np.ndarray,
    first: Sequence[int] = (0, 0, 0),
    step: Sequence[int] = (1, 1, 1),
) -> Windows:
    """The windows of x (N, C, *size) whose results are y's positions first, first + step, ... (N, K, *out)."""
    x_image, *x_steps = _steps(x)
    y_image, *y_steps = _steps(y)
    start = address(y) + sum(f * s for f, s in zip(first, y_steps))
    y_steps = [f * s for f, s in zip(step, y_steps)]
    flat = [number for axis in axes for number in axis]
    return Windows(
        address(x), x_image, *x_steps, start, y_image, *y_steps, address(zeros), x.shape[0], *flat
    )  # fmt: skip


def matrix(a: np.ndarray, c: np.ndarray) -> Windows:
    """A matrix a (M, C), times something, giving c (M, K): an image of M pixels under a kernel of one tap."""
    line = Axis3(len(a), 1, len(a), 1, 0, 1)
    numbers = [number for axis in (ABSENT, ABSENT, line) for number in axis]
    return Windows(address(a), 0, 0, 0, a.strides[0], address(c), 0, 0, 0, c.strides[0], 0, 1, *numbers)


def address(a: np.ndarray) -> int:
    return a.__array_interface__["data"][0]


def _steps(a: np.ndarray) -> tuple[int, ...]:
    """Bytes from image to image, and along three axes, those first that the array has not."""
    return (a.strides[0], *(0,) * (5 - a.ndim), *a.strides[2:])


@njit
def tap_count(w: Any) -> int:
    return w.taps0 * w.taps1 * w.taps2


@njit
def pixel_count(w: Any) -> int:
    return w.batch * w.out0 * w.out1 * w.out2


@njit
def fill_tables(w: Any, first: int, count: int, rows: int, table: Any, results: Any) -> None:
    """Addresses for the pixels first, ..., first + count - 1, in groups of ``rows``.

    table (groups, taps, rows) gets input positions, results (groups, rows) the pixels' places in y.
    """
    taps = tap_count(w)
    offsets = np.empty(taps, np.int64)
    t = 0
    for r0 in range(w.taps0):
        for r1 in range(w.taps1):
            for r2 in range(w.taps2):
                offsets[t] = r0 * w.dilation0 * w.x_step0 + r1 * w.dilation1 * w.x_step1 + r2 * w.dilation2 * w.x_step2
                t += 1
    rest, q = first // w.out2, first % w.out2
    rest, p = rest // w.out1, rest % w.out1
    n, o = rest // w.out0, rest % w.out0
    for m in range(count):
        i0, i1, i2 = o * w.stride0 - w.low0, p * w.stride1 - w.low1, q * w.stride2 - w.low2
        base = w.x + n * w.x_image + i0 * w.x_step0 + i1 * w.x_step1 + i2 * w.x_step2
        at = m // rows * rows * taps + m % rows
        inside = i0 >= 0 and i1 >= 0 and i2 >= 0
        inside &= i0 + (w.taps0 - 1) * w.dilation0 < w.size0 and i1 + (w.taps1 - 1) * w.dilation1 < w.size1
        inside &= i2 + (w.taps2 - 1) * w.dilation2 < w.size2
        if inside:
            for t in range(taps):
                table[at + t * rows] = base + offsets[t]
        else:
            t = 0
            for r0 in range(w.taps0):
                j0 = i0 + r0 * w.dilation0
                for r1 in range(w.taps1):
                    j1 = i1 + r1 * w.dilation1
                    fits = 0 <= j0 < w.size0 and 0 <= j1 < w.size1
                    for r2 in range(w.taps2):
                        j2 = i2 + r2 * w.dilation2
                        real = fits and 0 <= j2 < w.size2
                        table[at + t * rows] = base + offsets[t] if real else w.zeros
                        t += 1
        results[m] = w.y + n * w.y_image + o * w.y_step0 + p * w.y_step1 + q * w.y_step2
        q += 1
        if q == w.out2:
            q, p = 0, p + 1
            if p == w.out1:
                p, o = 0, o + 1
                if o == w.out0:
                    o, n = 0, n + 1


@njit
def finish_tile(count: int, rows: int, taps: int, table: Any, results: Any) -> None:
    """Let the rows of the last tile that are no pixels repeat its row 0: they write what it writes, where it writes."""
    last = (count - 1) // rows
    for i in range(count - last * rows, rows):
        results[last * rows + i] = results[last * rows]
        for t in range(last * taps, (last + 1) * taps):
            table[t * rows + i] = table[t * rows]
