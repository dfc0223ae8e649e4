"""Fourier transforms of real tiles as products with small real matrices, one per axis.

A transform of F points is a product with the matrix exp(-2 pi i k p / F).  Register tiles do fifty times more
operations a second than the loops of a mixed-radix transform of so few points, which outweighs its n / log n fewer.
A product also skips what is known to be zero and what is not wanted: only the columns (rows) of the matrix that belong
to given positions, the *taps*, are there.

A complex number is two real ones, in separate *planes* of memory, real and imaginary part; so the matrix of an axis is
real too, with twice the rows and columns.  The last axis comes first and is the halved one: its input is real, so its
frequencies are 0 .. F // 2, and the others follow from the symmetry of a real signal's spectrum.

What is transformed further goes ahead of what is not yet, each sample being a run of many signals' (see
`fft_blocks.py`): (taps2, taps0, taps1) -> (freq2, planes, taps0, taps1) -> (freq2, freq0, planes, taps1) -> (freq2,
freq0, freq1, planes).  So the columns of a matrix, taps of two planes, always lie equally far apart.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

Sizes = tuple[int, int, int]
Taps = tuple[range, range, range]

ORDER = 2, 0, 1  # of the axes
PARTS, KERNEL_PARTS = ("re", "im"), ("-im", "re", "im")


class Step(NamedTuple):
    """One axis: (lead, columns, rest) -> (lead, rows, rest)."""

    axis: int
    lead: int
    columns: int
    rows: int
    rest: int

    @property
    def products(self) -> int:
        """Multiply-adds for one signal."""
        return self.lead * self.columns * self.rows * self.rest


def _axes(size: Sizes) -> list[int]:
    """Those that are transformed: one point is its own transform, but the last axis makes complex numbers of real."""
    return [axis for axis in ORDER if axis == 2 or size[axis] > 1]


def frequencies(size: Sizes) -> int:
    """How many are kept.

    >>> frequencies((1, 6, 8))
    30
    """
    return size[0] * size[1] * (size[2] // 2 + 1)


def steps(size: Sizes, counts: Sizes, parts: tuple[str, ...] = PARTS) -> list[Step]:
    """Samples, so many along each axis, become ``parts`` of their spectra.

    >>> [tuple(step) for step in steps((1, 6, 8), (1, 3, 5))]
    [(2, 1, 5, 10, 3), (1, 5, 6, 12, 1)]
    """
    axes, lead, found = _axes(size), 1, []
    for i, axis in enumerate(axes):
        freq = size[axis] // 2 + 1 if axis == 2 else size[axis]
        rows = freq * (len(parts) if axis == axes[-1] else 2)
        rest = prod(counts[a] for a in axes[i + 1 :])
        found.append(Step(axis, lead, counts[axis] * (1 if axis == 2 else 2), rows, rest))
        lead *= freq
    return found


def inverse_steps(size: Sizes, counts: Sizes) -> list[Step]:
    """Spectra become samples, so many along each axis.

    >>> [tuple(step) for step in inverse_steps((1, 6, 8), (1, 3, 5))]
    [(1, 5, 12, 6, 1), (2, 1, 10, 5, 3)]
    """
    found = []
    for step in reversed(steps(size, counts)):
        freq = size[2] // 2 + 1 if step.axis == 2 else size[step.axis]
        found.append(Step(step.axis, step.lead, 2 * freq, counts[step.axis] * (1 if step.axis == 2 else 2), step.rest))
    return found


def matrices(size: Sizes, taps: Taps, dtype: str, parts: tuple[str, ...] = PARTS) -> list[np.ndarray]:
    """Those of `steps`, each (columns, rows)."""
    axes = _axes(size)
    return [_matrix(size[a], taps[a], dtype, a == 2, parts if a == axes[-1] else PARTS) for a in axes]


def inverse_matrices(size: Sizes, taps: Taps, dtype: str) -> list[np.ndarray]:
    """Those of `inverse_steps`, each (columns, rows)."""
    return [_inverse_matrix(size[a], taps[a], dtype, a == 2) for a in reversed(_axes(size))]


@lru_cache(maxsize=256)
def _matrix(size: int, taps: range, dtype: str, halved: bool, parts: tuple[str, ...]) -> np.ndarray:
    """((planes,) taps), (freq, parts)."""
    f = _fourier(size, taps, size // 2 + 1 if halved else size)  # (freq, taps)
    # of a + i b the real part is re a - im b, the imaginary part im a + re b
    of_a = {"re": f.real, "im": f.imag, "-im": -f.imag}
    of_b = {"re": -f.imag, "im": f.real, "-im": -f.real}
    rows = [[of_a[part]] if halved else [of_a[part], of_b[part]] for part in parts]
    table = np.stack([np.concatenate(row, 1) for row in rows], 1)  # (freq, parts, columns)
    return np.ascontiguousarray(table.reshape(-1, table.shape[2]).T.astype(dtype))


@lru_cache(maxsize=256)
def _inverse_matrix(size: int, taps: range, dtype: str, halved: bool) -> np.ndarray:
    """(freq, planes), ((planes,) taps)."""
    f = _fourier(size, taps, size // 2 + 1 if halved else size).conj() / size  # (freq, taps)
    if halved:
        f[1 : (size + 1) // 2] *= 2  # these stand for their mirror images too
        table = np.stack([f.real, -f.imag], 1)  # (freq, planes, taps)
    else:
        real, imaginary = np.concatenate([f.real, f.imag], 1), np.concatenate([-f.imag, f.real], 1)
        table = np.stack([real, imaginary], 1)  # of (1, i): (freq, planes, planes * taps)
    return np.ascontiguousarray(table.reshape(-1, table.shape[2]).astype(dtype))


def _fourier(size: int, taps: range, frequencies: int) -> np.ndarray:
    """exp(-2 pi i f p / size), (frequencies, taps) in complex128."""
    return _roots(size)[np.outer(np.arange(frequencies), np.asarray(taps)) % size]


def _roots(size: int) -> np.ndarray:
    """exp(-2 pi i k / size) for k = 0 .. size - 1, from angles of at most an eighth of a turn.

    Sine and cosine of a large angle inherit the rounding of the angle; small angles keep the error below 2 u.
    """
    eighths = 8 * np.arange(size)  # a full turn is 8 * size
    quarter, rest = np.divmod(eighths, 2 * size)
    angle = np.minimum(rest, 2 * size - rest) * (np.pi / (4 * size))
    c, s = np.cos(angle), np.sin(angle)
    c, s = np.where(rest <= size, c, s), np.where(rest <= size, s, c)
    return (c - 1j * s) * np.array([1, -1j, -1, 1j])[quarter]
