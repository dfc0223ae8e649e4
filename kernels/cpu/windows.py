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

from ..jit import native
from .direct_tiles import ABSENT, Axis3, Geometry
from .pieces import Address, number, write_number
from .places import address


class Windows(NamedTuple):
    """What the table is computed from.  Flat, because parallel loops take no nested tuples.

    x and y: the address of element (0, 0, 0, 0, 0), and steps in bytes from image to image and along the axes.
    """

    x: Address
    x_image: int
    x_step0: int
    x_step1: int
    x_step2: int
    y: Address
    y_image: int
    y_step0: int
    y_step1: int
    y_step2: int
    zeros: Address  # address of as many zeros as a row has channels
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
    edges: Address = 0  # copies of windows that hang over an end of their row, see `relayout.edge_windows`; 0: of none
    edge_bytes: int = 0  # of a copy
    edge_low: int = 0  # of each row, at its low end
    edge_count: int = 0  # of each row, at either end


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


def _steps(a: np.ndarray) -> tuple[int, ...]:
    """Bytes from image to image, and along three axes, those first that the array has not."""
    return (a.strides[0], *(0,) * (5 - a.ndim), *a.strides[2:])


COLUMN = 8  # pixels of a column that are neighbours enough for a tile


def upright(w: Windows) -> Windows:
    """The same windows, numbered down the columns of an image where a kernel has taps along its rows alone.

    Then neighbours reach into the padding together, and nobody multiplies by its zeros (`read_taps`, `read_pixels`).
    """
    if w.taps1 > 1 or w.taps2 == 1 or w.low2 <= 0 or w.out1 < COLUMN:
        return w
    names = "x_step", "y_step", "size", "taps", "out", "stride", "low", "dilation"
    return w._replace(**{f"{name}{i}": getattr(w, f"{name}{3 - i}") for name in names for i in (1, 2)})


@native
def tap_count(w: Any) -> int:
    """Positions of the kernel."""
    return w.taps0 * w.taps1 * w.taps2


@native
def pixel_count(w: Any) -> int:
    """Output pixels of all images."""
    return w.batch * w.out0 * w.out1 * w.out2


@native
def split_pixel(w: Any, m: int) -> tuple[int, int, int, int]:
    """Pixel m's image and position (n, o, p, q)."""
    rest, q = m // w.out2, m % w.out2
    rest, p = rest // w.out1, rest % w.out1
    return rest // w.out0, rest % w.out0, p, q


@native
def next_pixel(w: Any, pixel: tuple[int, int, int, int], count: int) -> tuple[int, int, int, int]:
    """The position (n, o, p, q) ``count`` pixels further on."""
    n, o, p, q = pixel
    q += count
    while q >= w.out2:
        q, p = q - w.out2, p + 1
        if p == w.out1:
            p, o = 0, o + 1
            if o == w.out0:
                o, n = 0, n + 1
    return n, o, p, q


@native
def fill_tables(w: Any, first: int, count: int, rows: int, table: int, results: int) -> None:
    """Addresses for the pixels first, ..., first + count - 1, in groups of ``rows``.

    table (groups, taps, rows) gets input positions, results (groups, rows) the pixels' places in y.  Both are told by
    their addresses: an array would be counted, by an atomic step, wherever it is handed on.
    """
    taps = tap_count(w)
    n, o, p, q = split_pixel(w, first)
    m, skip = 0, rows * (taps - 1)
    while m < count:  # pixels of one row of y
        run, within = min(w.out2 - q, count - m), m % rows
        at = (m - within) * taps + within
        i0, i1, i2 = o * w.stride0 - w.low0, p * w.stride1 - w.low1, q * w.stride2 - w.low2
        for r0 in range(w.taps0):
            j0 = i0 + r0 * w.dilation0
            for r1 in range(w.taps1):
                j1 = i1 + r1 * w.dilation1
                real = 0 <= j0 < w.size0 and 0 <= j1 < w.size1
                line = w.x + n * w.x_image + j0 * w.x_step0 + j1 * w.x_step1
                low = high = w.zeros  # where to read what lies before and after a row
                between = 0
                if real and w.edges != 0:
                    between = w.edge_bytes
                    low = w.edges + (((n * w.size0 + j0) * w.size1 + j1) * w.edge_count + q) * w.edge_bytes
                    high = low + (w.edge_count - w.out2) * w.edge_bytes
                for r2 in range(w.taps2):
                    j = i2 + r2 * w.dilation2
                    start, stop = run, run  # of the positions in the row
                    if real:
                        start, stop = _inside(j, w.stride2, w.size2, run)
                    place = at, rows - within
                    place = _fill_run(table, place, rows, skip, start, low, between)
                    place = _fill_run(
                        table, place, rows, skip, stop - start, line + (j + start * w.stride2) * w.x_step2,
                        w.stride2 * w.x_step2,
                    )  # fmt: skip
                    _fill_run(table, place, rows, skip, run - stop, high + stop * between, between)
                    at += rows
        place = w.y + n * w.y_image + o * w.y_step0 + p * w.y_step1 + q * w.y_step2
        for i in range(run):
            write_number(results, m + i, place + i * w.y_step2)
        m += run
        n, o, p, q = next_pixel(w, (n, o, p, q), run)


@native
def _inside(j: int, stride: int, size: int, run: int) -> tuple[int, int]:
    """Which of the positions j, j + stride, ..., ``run`` of them, lie in a row: start, ..., stop - 1."""
    if j >= 0 and j + (run - 1) * stride < size:  # most runs: no need to divide
        return 0, run
    start = min(run, max(0, -(j // stride)))
    return start, max(start, min(run, (size - 1 - j) // stride + 1))


@native
def _fill_run(
    table: int, place: tuple[int, int], rows: int, skip: int, count: int, first: int, step: int
) -> tuple[int, int]:
    """The addresses first, first + step, ..., ``count`` of them, and the place after them.

    A place: an entry of the table, and how many entries of its group follow.  Groups are ``skip`` entries apart.
    """
    at, left = place
    while count > 0:
        now = min(left, count)
        for i in range(now):
            write_number(table, at + i, first + i * step)
        at, left, first, count = at + now, left - now, first + now * step, count - now
        if left == 0:
            at, left = at + skip, rows
    return at, left


@native
def finish_tile(count: int, rows: int, taps: int, table: int, results: int) -> None:
    """Let the rows of the last tile that are no pixels repeat its row 0: they write what it writes, where it writes."""
    last = (count - 1) // rows
    for i in range(count - last * rows, rows):
        write_number(results, last * rows + i, number(results, last * rows))
        for t in range(last * taps, (last + 1) * taps):
            write_number(table, t * rows + i, number(table, t * rows))


@native
def read_taps(w: Any, table: int, group: int, rows: int, first: int, stop: int) -> tuple[int, int]:
    """The part of the taps first, ..., stop - 1 outside of which all rows of a group read only padding.

    At the edge of an image that is the kernel's rows above or below it, so nobody multiplies by their zeros.
    """
    if tap_count(w) == 1:  # mostly a matrix product, which has no padding
        return first, stop
    at = group * tap_count(w) * rows
    while first < stop and _is_padding(w, table, at + first * rows, rows):
        first += 1
    while first < stop and _is_padding(w, table, at + (stop - 1) * rows, rows):
        stop -= 1
    return first, stop


@native
def read_pixels(w: Any, rows: int, count: int) -> tuple[int, int]:
    """The part of the ``count`` pixels of one tap, whose addresses lie at ``rows``, outside of which all is padding."""
    first, stop = 0, count
    if tap_count(w) > 1:
        while first < stop and number(rows, first) == w.zeros:
            first += 1
        while first < stop and number(rows, stop - 1) == w.zeros:
            stop -= 1
    return first, stop


@native
def _is_padding(w: Any, table: int, at: int, rows: int) -> bool:
    i = 0
    while i < rows and number(table, at + i) == w.zeros:
        i += 1
    return i == rows
