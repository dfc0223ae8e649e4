"""Convolution by short correlations with few multiplications (Winograd, Toom-Cook): the readable twin.

F(m, r) computes m neighbouring outputs of a correlation with r taps from n = m + r - 1 inputs:

    y = A^T [ (G g) * (B^T d) ]          y (m)   g (r)   d (n)   * elementwise, only n multiplications

Where it comes from: the product of the polynomials g(t) (degree r - 1) and h(t) (degree m - 1) is found by
evaluating both at n points, multiplying the values, and interpolating.  The linear map h -> g h, transposed, is the
correlation d -> y; transposing its three steps gives the formula, with A and G evaluations and B interpolation.
In more dimensions the same matrices act along each axis in turn (nesting).  A correlation with dilation d is d
correlations without, of every d-th position each: tiles have elements d apart.

Every function works in the dtype of its arguments; with an object array of ``fractions.Fraction`` it is exact.

Sources: Winograd 1980, Arithmetic Complexity of Computations, ch. IV; Lavin, Gray 2016, Fast Algorithms for
Convolutional Neural Networks, section 4; Barabasz, Anderson, Soodhalter, Gregg 2020, Error Analysis and Improving
the Accuracy of Winograd Convolution for Deep Neural Networks, sections 3 and 7 (choice of points).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..errors import UnsupportedError
from ..geometry import Conv, Ints, per_axis
from ..tiling import read

# F(m, r) takes the first m + r - 2 of these; the last point is infinity.  The pairs of "paired" are those of a few
# bits between 1/2 and 2 that made the smallest error of F(4, 3) in float32: 2/3 of barabasz's, 1/2 of lavin's.  Where
# a point and its negative are both there, their rows share half the work.
POINTS: dict[str, tuple[Fraction, ...]] = {
    "barabasz": tuple(map(Fraction, ("0", "1", "-1", "1/2", "-2", "-1/2", "2", "1/4", "-4"))),
    "lavin": tuple(map(Fraction, ("0", "1", "-1", "2", "-2", "1/2", "-1/2", "4", "-4"))),
    "paired": tuple(map(Fraction, ("0", "5/8", "-5/8", "3/2", "-3/2", "1/4", "-1/4", "4", "-4"))),
}


class Transforms(NamedTuple):
    """The matrices of F(m, r), n = m + r - 1, as read-only object arrays of exact fractions."""

    AT: np.ndarray  # (m, n)
    G: np.ndarray  # (n, r)
    BT: np.ndarray  # (n, n)


@dataclass(frozen=True, slots=True)
class Winograd:
    """What one pass went through; T = N * phases * tiles, and (n...) is one n = m + r - 1 per spatial axis.

    Phases are the d positions, for each axis, with which every d-th one begins: one without dilation.

    transforms  the matrices of each axis
    U           transformed filters, (n..., G, out/G, in/G); in the weight gradient the transformed tiles of g,
                (n..., G, K/G, T)
    V           transformed input tiles, (n..., G, in/G, T)
    M           products, summed over channels (n..., G, out/G, T), or over tiles (n..., G, K/G, C/G)
    Y           what the pass was asked for: y, dx or dw
    """

    transforms: tuple[Transforms, ...]
    U: np.ndarray
    V: np.ndarray
    M: np.ndarray
    Y: np.ndarray


@lru_cache(maxsize=64)
def transforms(m: int, r: int, points: str = "barabasz") -> Transforms:
    """Matrices of F(m, r), in exact arithmetic.

    The row of a finite point a_i in A and G is its powers, in B^T the coefficients of prod_{j != i} (t - a_j);
    infinity picks the highest coefficient.  The divisors prod_{j != i} (a_i - a_j) of the interpolation go into G,
    because filters are transformed once and inputs often; their signs go into B^T.

    >>> print(transforms(2, 3).G)
    [[Fraction(1, 1) Fraction(0, 1) Fraction(0, 1)]
     [Fraction(1, 2) Fraction(1, 2) Fraction(1, 2)]
     [Fraction(1, 2) Fraction(-1, 2) Fraction(1, 2)]
     [Fraction(0, 1) Fraction(0, 1) Fraction(1, 1)]]
    """
    n = m + r - 1
    if points not in POINTS:
        raise UnsupportedError(f"points must be one of {sorted(POINTS)}, got {points!r}")
    if m < 1 or r < 1 or n - 1 > len(POINTS[points]):
        raise UnsupportedError(
            f"F({m}, {r}) needs m, r >= 1 and {m} + {r} - 2 = {n - 1} finite points; "
            f"{len(POINTS[points])} are listed in POINTS[{points!r}]"
        )
    a = POINTS[points][: n - 1]
    divisor = [prod((a[i] - a[j] for j in range(n - 1) if j != i), start=Fraction(1)) for i in range(n - 1)]
    sign = [1 if d > 0 else -1 for d in divisor]
    BT = [[sign[i] * c for c in _monic([a[j] for j in range(n - 1) if j != i])] + [Fraction(0)] for i in range(n - 1)]
    BT.append(_monic(a))
    exact = Transforms(
        AT=np.array(_powers(a, m), dtype=object).T,
        G=np.array(_powers(a, r), dtype=object) / np.array([*map(abs, divisor), Fraction(1)], dtype=object)[:, None],
        BT=np.array(BT, dtype=object),
    )
    for matrix in exact:
        matrix.setflags(write=False)
    return exact


def _powers(a: Sequence[Fraction], width: int) -> list[list[Fraction]]:
    """Rows 1, a_i, a_i^2, ...; last the row of infinity, 0, ..., 0, 1.  (n, width)"""
    return [[p**k for k in range(width)] for p in a] + [[Fraction(int(k == width - 1)) for k in range(width)]]


def _monic(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients of the product of (t - root), lowest power first."""
    c = [Fraction(1)]
    for root in roots:
        c = [low - root * high for low, high in zip([Fraction(0), *c], [*c, Fraction(0)])]
    return c


def unsupported(conv: Conv) -> str | None:
    """Why F(m, r) cannot compute this convolution, or None."""
    if any(s != 1 for s in conv.stride):
        return f"Winograd needs stride 1 on every axis, got {conv.stride}"
    return None


def forward(x: np.ndarray, w: np.ndarray, conv: Conv, m: Ints = 4, points: str = "barabasz") -> Winograd:
    """y (N, K, *out) of x (N, C, *size) and w (K, C/G, *kernel), m outputs of each axis at a time.

    Raises UnsupportedError where a stride is not 1, or POINTS lists too few points.
    """
    return compute("forward", x, w, conv, matrices("forward", conv, m, points))


def input_grad(w: np.ndarray, g: np.ndarray, conv: Conv, m: Ints = 4, points: str = "barabasz") -> Winograd:
    """dx (N, C, *size) of w (K, C/G, *kernel) and the output gradient g (N, K, *out); errors as ``forward``.

    It is the forward pass of g with filters whose channels are exchanged and taps reversed:
    dx[i] = sum_t w[t] g[i + low - t d] = sum_t w[r - 1 - t] g[i + t d - ((r - 1) d - low)].
    """
    return compute("input_grad", w, g, conv, matrices("input_grad", conv, m, points))


def weight_grad(x: np.ndarray, g: np.ndarray, conv: Conv, m: Ints = 4, points: str = "barabasz") -> Winograd:
    """dw (K, C/G, *kernel) of x (N, C, *size) and the output gradient g (N, K, *out); errors as ``forward``.

    Per tile the correlation of n inputs with m output gradients has r outputs, so this is F(r, m).  Its points
    are those of F(m, r): V is the V of the forward pass.  Products are summed over tiles before the one output
    transform.
    """
    return compute("weight_grad", x, g, conv, matrices("weight_grad", conv, m, points))


def matrices(pass_: str, conv: Conv, m: Ints, points: str) -> tuple[Transforms, ...]:
    """F(m, r), or F(r, m) for the weight gradient, of each axis."""
    pairs = zip(per_axis(m, conv.ndim, "m"), conv.kernel)
    return tuple(transforms(r, m_, points) if pass_ == "weight_grad" else transforms(m_, r, points) for m_, r in pairs)


def compute(pass_: str, a: np.ndarray, b: np.ndarray, conv: Conv, ts: tuple[Transforms, ...]) -> Winograd:
    """One pass with given matrices; (a, b) is (x, w), (w, g) or (x, g)."""
    if reason := unsupported(conv):
        raise UnsupportedError(reason)
    low = tuple(low for low, _ in conv.padding)
    if pass_ == "weight_grad":
        return _weight_grad(a, b, conv, low, ts)
    w = b if pass_ == "forward" else a
    w = w.reshape(conv.groups, conv.out_channels // conv.groups, *w.shape[1:])  # (G, K/G, C/G, *kernel)
    if pass_ == "forward":
        return _correlate(a, w, low, conv.out, conv.dilation, ts)
    w = np.flip(w.swapaxes(1, 2), tuple(range(3, 3 + conv.ndim)))  # (G, C/G, K/G, *kernel)
    low = tuple(axis.extent - 1 - before for axis, before in zip(conv.axes, low))  # negative: wide padding
    return _correlate(b, w, low, conv.size, conv.dilation, ts)


def _weight_grad(x: np.ndarray, g: np.ndarray, conv: Conv, low: Sequence[int], ts: tuple[Transforms, ...]) -> Winograd:
    m, n = (tuple(matrix.shape[1] for matrix in each) for each in ([t.G for t in ts], [t.BT for t in ts]))
    d, tiles = conv.dilation, tuple(-(-p // (m_ * d)) for p, m_, d in zip(conv.out, m, conv.dilation))
    U = _along([t.G for t in ts], _tiles(g, (0,) * conv.ndim, m, m, d, tiles, conv.groups))  # (n..., G, K/G, T)
    V = _along([t.BT for t in ts], _tiles(x, low, n, m, d, tiles, conv.groups))  # (n..., G, C/G, T)
    M = U @ V.swapaxes(-1, -2)  # (n..., G, K/G, C/G)
    dw = _along([t.AT for t in ts], M)  # (r..., G, K/G, C/G)
    dw = np.moveaxis(dw, (-3, -2, -1), (0, 1, 2)).reshape(conv.w_shape)
    return Winograd(ts, U, V, M, dw)


def _correlate(
    x: np.ndarray, w: np.ndarray, low: Sequence[int], out: Sequence[int], d: Sequence[int], ts: tuple[Transforms, ...]
) -> Winograd:
    """y[p] = sum_t w[t] x[p + t d - low], x (N, C, *size) zero outside itself, w (G, K/G, C/G, *kernel)."""
    ndim, (groups, per_group) = len(out), w.shape[:2]
    m, n = (tuple(t.AT.shape[i] for t in ts) for i in (0, 1))
    tiles = tuple(-(-p // (m_ * d_)) for p, m_, d_ in zip(out, m, d))
    U = _along([t.G for t in ts], np.moveaxis(w, (0, 1, 2), (-3, -2, -1)))  # (n..., G, K/G, C/G)
    V = _along([t.BT for t in ts], _tiles(x, low, n, m, d, tiles, groups))  # (n..., G, C/G, T)
    M = U @ V  # (n..., G, K/G, T)
    y = _along([t.AT for t in ts], M)  # (m..., G, K/G, T)
    y = y.reshape(*m, groups * per_group, len(x), *d, *tiles)
    # (m..., K, N, phases..., tiles...) -> (N, K, tiles_1, m_1, phases_1, tiles_2, m_2, phases_2, ...)
    y = y.transpose(ndim + 1, ndim, *(i + axis for axis in range(ndim) for i in (2 * ndim + 2, 0, ndim + 2)))
    y = y.reshape(len(x), groups * per_group, *map(prod, zip(tiles, m, d)))
    inside: Any = (..., *map(slice, out))  # the last tiles may reach beyond the output
    return Winograd(ts, U, V, M, np.ascontiguousarray(y[inside]))


def _tiles(
    x: np.ndarray, low: Sequence[int], n: Sequence[int], m: Sequence[int], d: Sequence[int], tiles: Sequence[int],
    groups: int,
) -> np.ndarray:  # fmt: skip
    """Tiles of n of every d-th position, m of them apart, the first beginning low before x.  (n..., G, C/G, T)"""
    length = tuple((t - 1) * m_ + n_ for t, m_, n_ in zip(tiles, m, n))
    line = read(np.empty((*x.shape[:2], *map(prod, zip(length, d))), x.dtype), x, tuple(-start for start in low))
    line = line.reshape(*x.shape[:2], *(size for pair in zip(length, d) for size in pair))
    line = np.moveaxis(line, range(3, line.ndim, 2), range(1, 1 + len(d)))  # (N, phases..., C, *length)
    line = line.reshape(len(x) * prod(d), x.shape[1], *length)
    windows = sliding_window_view(line, tuple(n), axis=tuple(range(2, x.ndim)))  # (N phases, C, *positions, *n)
    apart: Any = (..., *(slice(None, None, m_) for m_ in m), *(slice(None),) * len(m))
    windows = windows[apart]
    windows = np.moveaxis(windows, (*range(2 + len(m), windows.ndim), 1, 0), range(len(m) + 2))  # (n..., C, N, t...)
    return windows.reshape(*n, groups, x.shape[1] // groups, len(line) * prod(tiles))


def _along(matrices: Sequence[np.ndarray], a: np.ndarray) -> np.ndarray:
    """Apply matrix i along axis i."""
    for axis, matrix in enumerate(matrices):
        a = np.moveaxis(np.tensordot(matrix.astype(a.dtype), a, axes=(1, axis)), 0, axis)
    return a
