"""Fourier transforms of many short real signals at once, laid out for a batched product over frequencies.

Signals stand as (*samples, B): the batch is last, so that a transform along any other axis is one matrix product
and the spectra (*freq, B) need no transposition afterwards.  A transform of up to ``DENSE`` points is a product
with the Fourier matrix: a GEMM does twenty to fifty times more operations per second than a mixed-radix transform
in NumPy, which outweighs its n / log n more operations.  It also skips what is known to be zero, or not wanted:
only the columns (rows) of the matrix that belong to given positions are used.

The first axis is the halved one: its frequencies are 0 .. F // 2, the others follow from the symmetry of a real
signal's spectrum.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import log2, prod

import numpy as np

from .. import vectors

DENSE = 64
GEMM_FLOPS = 1e11  # per second in float32 on two cores with AVX2, a complex multiply-add counted as 8
FFT_FLOPS = 3e9  # of NumPy's transform, 5 n log2 n operations counted


def gemm_flops() -> float:
    """GEMM_FLOPS on this machine."""
    return GEMM_FLOPS * vectors.speed()


def spectrum_shape(size: Sequence[int]) -> tuple[int, ...]:
    """Frequencies that are kept of a transform of length ``size`` per axis.

    >>> spectrum_shape((8, 6))
    (5, 6)
    """
    return (size[0] // 2 + 1, *size[1:])


def transform(a: np.ndarray, size: Sequence[int], positions: Sequence[range]) -> np.ndarray:
    """Spectra (*freq, B) of signals of length ``size`` that are zero outside ``positions``, where they are a.

    ``a`` is (len(positions[0]), len(positions[1]), ..., B), real.
    """
    if size[0] <= DENSE:
        matrix = _real_forward(size[0], positions[0], a.dtype.name)  # (2 freq, samples): cosines, then -sines
        planes = matrix @ a.reshape(len(a), -1)
        half = len(planes) // 2
        z = np.empty((half, planes.shape[1]), np.result_type(a.dtype, np.complex64))
        z.real, z.imag = planes[:half], planes[half:]
        del planes
        z = z.reshape(half, *a.shape[1:])
    else:
        z = np.fft.rfft(_spread(a, 0, size[0], positions[0]), axis=0)
    for axis in range(1, len(size)):
        if size[axis] <= DENSE:
            z = _multiply(_complex(size[axis], positions[axis], z.dtype.name), z, axis)
        else:
            z = np.fft.fft(_spread(z, axis, size[axis], positions[axis]), axis=axis)
    return z


def inverse(z: np.ndarray, size: Sequence[int], positions: Sequence[range]) -> np.ndarray:
    """The real signals (len(positions[0]), ..., B) with spectra z (*freq, B), at those positions only."""
    for axis in range(len(size) - 1, 0, -1):
        if size[axis] <= DENSE:
            matrix = _complex(size[axis], positions[axis], z.dtype.name)  # symmetric before the columns were taken
            z = _multiply(matrix.conj().T / size[axis], z, axis)
        else:
            z = _pick(np.fft.ifft(z, axis=axis), axis, positions[axis])
    if size[0] > DENSE:
        return np.ascontiguousarray(_pick(np.fft.irfft(z, n=size[0], axis=0), 0, positions[0]))
    flat = z.reshape(len(z), -1)
    matrix = _real_inverse(size[0], positions[0], flat.real.dtype.name)  # (samples, 2 freq)
    return (matrix @ np.concatenate([flat.real, flat.imag])).reshape(len(positions[0]), *z.shape[1:])


def seconds(size: Sequence[int], samples: Sequence[int], itemsize: int) -> float:
    """Estimated time of ``transform`` or ``inverse`` of one signal with so many samples per axis."""
    total, done = 0.0, 1
    for axis, (f, n) in enumerate(zip(size, samples)):
        kept, flops = (f // 2 + 1, 4.0) if axis == 0 else (f, 8.0)
        lines = done * prod(samples[axis + 1 :])
        dense = flops * kept * n / gemm_flops()
        total += lines * (dense if f <= DENSE else flops * f * log2(f) / FFT_FLOPS)
        done *= kept
    return total * itemsize / 4


def _fourier(size: int, positions: range, frequencies: int) -> np.ndarray:
    """exp(-2 pi i f p / size), (frequencies, positions) in complex128."""
    return _roots(size)[np.outer(np.arange(frequencies), np.asarray(positions)) % size]


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


@lru_cache(maxsize=256)
def _complex(size: int, positions: range, dtype: str) -> np.ndarray:
    return _fourier(size, positions, size).astype(dtype)


@lru_cache(maxsize=256)
def _real_forward(size: int, positions: range, dtype: str) -> np.ndarray:
    f = _fourier(size, positions, size // 2 + 1)
    return np.concatenate([f.real, f.imag]).astype(dtype)


@lru_cache(maxsize=256)
def _real_inverse(size: int, positions: range, dtype: str) -> np.ndarray:
    f = _fourier(size, positions, size // 2 + 1).T / size  # (positions, freq)
    f[:, 1 : (size + 1) // 2] *= 2  # these stand for their mirror images too
    return np.concatenate([f.real, f.imag], axis=1).astype(dtype)


def _multiply(matrix: np.ndarray, a: np.ndarray, axis: int) -> np.ndarray:
    """matrix (out, in) along one axis of a."""
    lead, rest = a.shape[:axis], a.shape[axis + 1 :]
    product = matrix @ a.reshape(prod(lead), a.shape[axis], prod(rest))
    return product.reshape(*lead, len(matrix), *rest)


def _spread(a: np.ndarray, axis: int, size: int, positions: range) -> np.ndarray:
    if positions == range(size):
        return a
    line = np.zeros((*a.shape[:axis], size, *a.shape[axis + 1 :]), a.dtype)
    line[_at(axis, positions)] = a
    return line


def _pick(a: np.ndarray, axis: int, positions: range) -> np.ndarray:
    return a[_at(axis, positions)]


def _at(axis: int, positions: range) -> tuple[slice, ...]:
    return (*(slice(None),) * axis, slice(positions.start, positions.stop, positions.step))
