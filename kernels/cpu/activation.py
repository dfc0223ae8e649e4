"""Element by element, one pass over memory, shared out among the threads.

What does not differ from element to element, the slope and the limits, comes as an array of two numbers.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from .elements import PIECE, address, dense, elements, kind_of, last_and_dense, like, matched, pitch_of, seconds
from .pieces import Address, read, run

Array = np.ndarray


class Pass(NamedTuple):
    """Addresses: y is computed from x and z, ``limits`` are two numbers."""

    x: Address
    z: Address
    y: Address
    limits: Address
    count: int


class Rows(NamedTuple):
    """Rows of channels: addresses of x and z, and how many elements lie from row to row."""

    x: Address
    z: Address
    count: int
    channels: int
    x_pitch: int
    z_pitch: int
    block: int  # rows of a piece


def relu(x: Array) -> Array:
    """max(x, 0), stored as x; NaN stays."""
    return _mapped(_relu, x)


def relu_grad(g: Array, y: Array) -> Array:
    """g where the result y is positive, 0 elsewhere; stored as y."""
    return _mapped(_relu_grad, g, y)


def leaky_relu(x: Array, slope: float) -> Array:
    """x above 0, slope x elsewhere; stored as x."""
    return _mapped(_leaky_relu, x, None, slope)


def leaky_relu_grad(g: Array, x: Array, slope: float) -> Array:
    """g where x is positive, slope g elsewhere; stored as x."""
    return _mapped(_leaky_relu_grad, g, x, slope)


def clip(x: Array, low: float, high: float) -> Array:
    """x limited to [low, high], stored as x; NaN stays."""
    return _mapped(_clip, x, None, low, high)


def clip_grad(g: Array, x: Array, low: float, high: float) -> Array:
    """g where low < x < high, 0 elsewhere; stored as x."""
    return _mapped(_clip_grad, g, x, low, high)


def tanh(x: Array) -> Array:
    """tanh(x), stored as x; of float64 NumPy's."""
    return np.tanh(x) if x.dtype.char == "d" else _mapped(_tanh, x)


def tanh_grad(g: Array, y: Array) -> Array:
    """g (1 - y y), stored as y."""
    return _mapped(_tanh_grad, g, y)


def add(a: Array, b: Array) -> Array:
    """a + b, two arrays of one shape and dtype; stored as b."""
    return _mapped(_add, a, b)


def accumulate(a: Array, b: Array) -> None:
    """``a += b``, two arrays of one shape and dtype, in place wherever a lies."""
    if a.flags.c_contiguous or (a.ndim > 2 and dense(a)):
        _run(_accumulate, a, matched(a, b)[1], a, ())
        return
    pitch = pitch_of(a)
    if pitch is None:  # a lies in a way of its own
        a += b
        return
    other = pitch_of(b)
    if other is None:
        b = last_and_dense(b, "b")
        other = b.shape[1]
    rows, channels = a.size // a.shape[1], a.shape[1]
    block = max(1, PIECE // channels)
    arguments = Rows(address(a), address(b), rows, channels, pitch, other, block)
    run(_accumulate_rows, kind_of(a), arguments, -(-rows // block), seconds(a, b))


def _mapped(function: Any, x: Array, z: Array | None = None, *limits: float) -> Array:
    """A new array, stored as z is where there is one: it comes from the forward pass, x from wherever."""
    if z is None:
        (x,) = matched(x)
    else:
        z, x = matched(z, x)
    y = like(x)
    _run(function, x, z, y, limits)
    return y


def _run(function: Any, x: Array, z: Array | None, y: Array, limits: tuple[float, ...]) -> None:
    numbers = np.array((*limits, 0, 0)[:2], x.dtype)
    arguments = Pass(address(x), 0 if z is None else address(z), address(y), address(numbers), x.size)
    run(function, kind_of(x), arguments, -(-x.size // PIECE), seconds(x, y))


# highest power first; see `_tanh`
_TANH_OVER = tuple(
    np.float32(c)
    for c in (
        1.3317163556311307e-8,
        2.0582364256689479e-5,
        3.4939801915133465e-3,
        0.13379677464116937,
        0.99999997965972248,
    )
)
_TANH_UNDER = tuple(
    np.float32(c) for c in (7.7613117219740281e-7, 3.2829939390059002e-4, 2.5870882327197593e-2, 0.4671299300363804)
)

# each operation rounded as NumPy rounds it
_rounded = native(fastmath=set())


@native
def _part(kind: Any, arguments: int, piece: int) -> tuple:
    """A piece's part of x, z and y, and the limits."""
    p = read(Pass, arguments)
    skip, count = piece * PIECE * kind.itemsize, min(PIECE, p.count - piece * PIECE)
    x, z, y = (elements(kind, p.x + skip, count), elements(kind, p.z + skip, count), elements(kind, p.y + skip, count))
    limits = elements(kind, p.limits, 2)
    return x, z, y, limits[0], limits[1]


@native
def _relu(kind: Any, arguments: int, piece: int) -> None:
    x, _, y, _, _ = _part(kind, arguments, piece)
    for i in range(len(x)):
        y[i] = x[i] if x[i] > 0 or x[i] != x[i] else x.dtype.type(0)


@native
def _relu_grad(kind: Any, arguments: int, piece: int) -> None:
    g, y, dx, _, _ = _part(kind, arguments, piece)
    for i in range(len(g)):
        dx[i] = g[i] if y[i] > 0 else g.dtype.type(0)


@native
def _leaky_relu(kind: Any, arguments: int, piece: int) -> None:
    x, _, y, slope, _ = _part(kind, arguments, piece)
    for i in range(len(x)):
        y[i] = x[i] if x[i] > 0 else x[i] * slope


@native
def _leaky_relu_grad(kind: Any, arguments: int, piece: int) -> None:
    g, x, dx, slope, _ = _part(kind, arguments, piece)
    for i in range(len(g)):
        dx[i] = g[i] if x[i] > 0 else g[i] * slope


@native
def _clip(kind: Any, arguments: int, piece: int) -> None:
    x, _, y, low, high = _part(kind, arguments, piece)
    for i in range(len(x)):
        v = low if x[i] < low else x[i]
        y[i] = high if v > high else v


@native
def _clip_grad(kind: Any, arguments: int, piece: int) -> None:
    g, x, dx, low, high = _part(kind, arguments, piece)
    for i in range(len(g)):
        dx[i] = g[i] if x[i] > low and x[i] < high else g.dtype.type(0)


@native
def _tanh(kind: Any, arguments: int, piece: int) -> None:
    """x times a fraction of two polynomials in s = x x, four powers each.

    Of all such fractions it is the one with the least relative error over 0 < x < 9.02, 2.1e-8, found by weighted least
    squares in 40 digits whose weights follow the errors (Lawson's method).  From 9.011 on the nearest float32 is 1.
    All coefficients are positive, so nothing cancels: rounding adds some units in the last place.
    """
    x, _, y, _, _ = _part(kind, arguments, piece)
    one = x.dtype.type(1)
    p4, p3, p2, p1, p0 = _TANH_OVER
    q4, q3, q2, q1 = _TANH_UNDER
    for i in range(len(x)):
        value = abs(x[i])
        s = value * value
        over = (((p4 * s + p3) * s + p2) * s + p1) * s + p0
        under = (((q4 * s + q3) * s + q2) * s + q1) * s + one
        value = value * over / under
        value = value if value < one else one  # the fraction goes on to rise, in the end to infinity by infinity
        y[i] = math.copysign(value, x[i]) if x[i] == x[i] else x[i]


@_rounded
def _tanh_grad(kind: Any, arguments: int, piece: int) -> None:
    g, y, dx, _, _ = _part(kind, arguments, piece)
    one = g.dtype.type(1)
    for i in range(len(g)):
        dx[i] = g[i] * (one - y[i] * y[i])


@native
def _add(kind: Any, arguments: int, piece: int) -> None:
    a, b, y, _, _ = _part(kind, arguments, piece)
    for i in range(len(a)):
        y[i] = a[i] + b[i]


@native
def _accumulate(kind: Any, arguments: int, piece: int) -> None:
    _, b, y, _, _ = _part(kind, arguments, piece)
    for i in range(len(b)):
        y[i] += b[i]


@native
def _accumulate_rows(kind: Any, arguments: int, piece: int) -> None:
    p = read(Rows, arguments)
    for m in range(piece * p.block, min(p.count, (piece + 1) * p.block)):
        y = elements(kind, p.x + m * p.x_pitch * kind.itemsize, p.channels)
        b = elements(kind, p.z + m * p.z_pitch * kind.itemsize, p.channels)
        for i in range(len(b)):
            y[i] += b[i]
