"""Direct convolution in Numba: the definition's loops in an order that a CPU likes.  No workspace.

Any stride, dilation, groups and asymmetric padding, without a padded copy; one to three spatial axes (fewer
become three by axes of size 1).  A row of outputs along the last axis is summed up in a small buffer:

* Where a whole row of taps lies inside the input, the *interior*, products of four (channel, tap) pairs at a
  time are added to the row in one vectorised loop.
* The few positions at the borders are summed one by one.

**Order of summing**, and so the bits: one output row, filter or plane is computed by one thread in a fixed
order, whatever the number of threads.  forward and input_grad sum in the arrays' dtype, kernel rows outermost,
then channels, then taps of a row, four at a time.  weight_grad sums products along a row of the cotangent
in the arrays' dtype and adds the rows up in float64.

Parallel over images and channels: (n, k) in the forward pass, (n, c) in the input gradient, (k, kernel row)
in the weight gradient.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ..geometry import Conv
from ..jit import njit, prange
from ..workspace import borrow

Array = np.ndarray


def forward(x: Array, w: Array, conv: Conv, out: Array | None = None) -> Array:
    """y (N, K, *out)."""
    y = np.empty(conv.y_shape, x.dtype) if out is None else out
    size = _thrice(conv)
    _forward(_flat(x, "x"), _flat(w, "w"), _five(y), size, conv.groups, *_row_terms(conv))
    return y


def input_grad(w: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dx (N, C, *size)."""
    dx = np.empty(conv.x_shape, g.dtype) if out is None else out
    size = _thrice(conv)
    _input_grad(_flat(w, "w"), _flat(g, "g"), _five(dx), size, conv.groups, conv.out_channels, *_back_terms(conv))
    return dx


def weight_grad(x: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dw (K, C/G, *kernel)."""
    dw = np.empty(conv.w_shape, x.dtype) if out is None else out
    size = _thrice(conv)
    _weight_grad(_flat(x, "x"), _flat(g, "g"), _five(dw), size, conv.batch, conv.groups, *_row_terms(conv))
    return dw


# Geometry for the compiled loops ---------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _thrice(conv: Conv) -> tuple[tuple[int, int, int, int, int, int], ...]:
    """Per axis, three of them: (input, kernel, output, stride, low pad, dilation)."""
    own = [(a.size, a.kernel, a.out, a.stride, a.pad[0], a.dilation) for a in conv.axes]
    return tuple([(1, 1, 1, 1, 0, 1)] * (3 - len(own)) + own)


@lru_cache(maxsize=1024)
def _row_terms(conv: Conv) -> tuple[Array, Array]:
    """For each (channel of a group, tap of a kernel row) its offset in x and in w."""
    last = conv.axes[-1]
    c, s = np.arange(conv.w_shape[1])[:, None], np.arange(last.kernel)
    in_x = c * int(np.prod(conv.size)) + s * last.dilation
    in_w = c * int(np.prod(conv.kernel)) + s
    return in_x.ravel(), in_w.ravel()


@lru_cache(maxsize=1024)
def _back_terms(conv: Conv) -> tuple[Array, Array, Array, Array]:
    """For each (filter of a group, tap of a kernel row) its offset in g and in w, ordered by residue.

    Input position i is read by tap s where i + low - s * dilation is a multiple of the stride.  So the taps
    fall into residue classes rho = s * dilation mod stride, and with i = j * stride + rho - low the window is
    j - shift: within a class, j and windows run side by side however large the stride.  Returned are the
    offsets, the shifts, and where each class begins.
    """
    last = conv.axes[-1]
    filters = np.arange(conv.out_channels // conv.groups)[:, None]
    in_g, in_w, shifts, starts = [], [], [], [0]
    for rho in range(last.stride):
        s = np.array([t for t in range(last.kernel) if t * last.dilation % last.stride == rho], np.int64)
        shift = (s * last.dilation - rho) // last.stride
        in_g.append((filters * int(np.prod(conv.out)) - shift).ravel())
        in_w.append((filters * int(np.prod(conv.w_shape[1:])) + s).ravel())
        shifts.append((filters * 0 + shift).ravel())
        starts.append(starts[-1] + in_g[-1].size)
    return np.concatenate(in_g), np.concatenate(in_w), np.concatenate(shifts), np.array(starts)


def _five(a: Array) -> Array:
    """(.., .., *axes) -> (.., .., 1, 1, axis) or as many axes of size 1 as are missing, a view"""
    return np.expand_dims(a, tuple(range(2, 7 - a.ndim)))


def _flat(a: Array, name: str) -> Array:
    """All elements in a row, channels first; a borrowed copy where they do not lie so."""
    if not a.flags.c_contiguous:
        copy = borrow(name, a.shape, a.dtype)
        copy[...] = a
        a = copy
    return a.reshape(-1)


# The loops -------------------------------------------------------------------------------------------
# Indices are cast to unsigned: Numba would test a signed one for being negative and could not vectorise.

U = np.uint64


@njit
def _add_products(
    row: Array, start: int, stop: int, a: Array, base: int, step: int, w: Array, w_base: int, in_a: Array, in_w: Array
) -> None:
    """row[j] += sum over terms of w[w_base + in_w] * a[base + in_a + j * step], start <= j < stop."""
    if stop <= start:
        return
    terms = in_a.size
    by_four = terms - terms % 4
    for m in range(0, by_four, 4):
        w0, w1 = w[w_base + in_w[m]], w[w_base + in_w[m + 1]]
        w2, w3 = w[w_base + in_w[m + 2]], w[w_base + in_w[m + 3]]
        a0, a1, a2, a3 = base + in_a[m], base + in_a[m + 1], base + in_a[m + 2], base + in_a[m + 3]
        if step == 1:
            for j in range(start, stop):
                row[U(j)] += (w0 * a[U(a0 + j)] + w1 * a[U(a1 + j)]) + (w2 * a[U(a2 + j)] + w3 * a[U(a3 + j)])
        else:
            for j in range(start, stop):
                i = j * step
                row[U(j)] += (w0 * a[U(a0 + i)] + w1 * a[U(a1 + i)]) + (w2 * a[U(a2 + i)] + w3 * a[U(a3 + i)])
    for m in range(by_four, terms):
        w0, a0 = w[w_base + in_w[m]], base + in_a[m]
        if step == 1:
            for j in range(start, stop):
                row[U(j)] += w0 * a[U(a0 + j)]
        else:
            for j in range(start, stop):
                row[U(j)] += w0 * a[U(a0 + j * step)]


@njit
def _interior(size: int, taps: int, out: int, stride: int, low: int, dilation: int) -> tuple[int, int]:
    """The windows [start, stop) of which every tap reads input."""
    start = min(out, -(-low // stride))
    stop = (size - 1 + low - (taps - 1) * dilation) // stride + 1
    return start, max(start, min(out, stop))


@njit(parallel=True)
def _forward(x: Array, w: Array, y: Array, size: Any, groups: int, in_x: Array, in_w: Array) -> None:
    (i0n, t0n, o0n, s0, l0, d0), (i1n, t1n, o1n, s1, l1, d1), (i2n, t2n, o2n, s2, l2, d2) = size
    filters = y.shape[1]
    plane, taps = i0n * i1n * i2n, t0n * t1n * t2n
    channels = in_x.size // t2n  # of one group
    start, stop = _interior(i2n, t2n, o2n, s2, l2, d2)
    for item in prange(y.shape[0] * filters):
        n, k = item // filters, item % filters
        image = (n * groups + k // (filters // groups)) * channels * plane
        row = np.empty(o2n, x.dtype)
        for o0 in range(o0n):
            for o1 in range(o1n):
                row[:] = 0
                for t0 in range(t0n):
                    i0 = o0 * s0 + t0 * d0 - l0
                    if i0 < 0 or i0 >= i0n:
                        continue
                    for t1 in range(t1n):
                        i1 = o1 * s1 + t1 * d1 - l1
                        if i1 < 0 or i1 >= i1n:
                            continue
                        base = image + (i0 * i1n + i1) * i2n - l2
                        w_base = k * channels * taps + (t0 * t1n + t1) * t2n
                        _add_products(row, start, stop, x, base, s2, w, w_base, in_x, in_w)
                        for border in range(o2n - (stop - start)):
                            q = border if border < start else border + stop - start
                            for t2 in range(t2n):
                                i2 = q * s2 + t2 * d2
                                if l2 <= i2 < i2n + l2:
                                    for c in range(channels):
                                        row[q] += w[w_base + c * taps + t2] * x[base + c * plane + i2]
                for q in range(o2n):
                    y[n, k, o0, o1, q] = row[q]


@njit(parallel=True)
def _input_grad(
    w: Array,
    g: Array,
    dx: Array,
    size: Any,
    groups: int,
    filters: int,
    in_g: Array,
    in_w: Array,
    shifts: Array,
    classes: Array,
) -> None:
    (i0n, t0n, o0n, s0, l0, d0), (i1n, t1n, o1n, s1, l1, d1), (i2n, t2n, o2n, s2, l2, _) = size
    channels = dx.shape[1]
    group_channels, group_filters = channels // groups, filters // groups
    plane, taps = o0n * o1n * o2n, t0n * t1n * t2n
    for item in prange(dx.shape[0] * channels):
        n, c = item // channels, item % channels
        group = c // group_channels
        image = (n * filters + group * group_filters) * plane
        w_first = (group * group_filters * group_channels + c % group_channels) * taps
        row = np.empty(i2n, g.dtype)
        for i0 in range(i0n):
            for i1 in range(i1n):
                for rho in range(s2):
                    # positions i2 = j * s2 + rho - l2 for j in [j0, j1); row[j - j0] is their sum
                    first, last = classes[rho], classes[rho + 1]
                    j0 = -((rho - l2) // s2)
                    j1 = max(j0, (i2n - 1 + l2 - rho) // s2 + 1)
                    row[: j1 - j0] = 0
                    if first < last:
                        start = min(j1, max(j0, shifts[last - 1]))
                        stop = max(start, min(j1, o2n + shifts[first]))
                        for t0 in range(t0n):
                            o0 = (i0 + l0 - t0 * d0) // s0
                            if o0 < 0 or o0 >= o0n or o0 * s0 != i0 + l0 - t0 * d0:
                                continue
                            for t1 in range(t1n):
                                o1 = (i1 + l1 - t1 * d1) // s1
                                if o1 < 0 or o1 >= o1n or o1 * s1 != i1 + l1 - t1 * d1:
                                    continue
                                base = image + (o0 * o1n + o1) * o2n
                                w_base = w_first + (t0 * t1n + t1) * t2n
                                _add_products(
                                    row,
                                    start - j0,
                                    stop - j0,
                                    g,
                                    base + j0,
                                    1,
                                    w,
                                    w_base,
                                    in_g[first:last],
                                    in_w[first:last],
                                )
                                for border in range(j1 - j0 - (stop - start)):
                                    j = j0 + border
                                    if j >= start:
                                        j += stop - start
                                    for m in range(first, last):
                                        if 0 <= j - shifts[m] < o2n:
                                            row[j - j0] += w[w_base + in_w[m]] * g[base + in_g[m] + j]
                    for j in range(j0, j1):
                        dx[n, c, i0, i1, j * s2 + rho - l2] = row[j - j0]


@njit(parallel=True)
def _weight_grad(x: Array, g: Array, dw: Array, size: Any, batch: int, groups: int, in_x: Array, in_w: Array) -> None:
    (i0n, t0n, o0n, s0, l0, d0), (i1n, t1n, o1n, s1, l1, d1), (i2n, t2n, o2n, s2, l2, d2) = size
    filters, channels = dw.shape[0], dw.shape[1]
    plane = i0n * i1n * i2n
    start, stop = _interior(i2n, t2n, o2n, s2, l2, d2)
    for item in prange(filters * t0n * t1n):
        k, t0, t1 = item // (t0n * t1n), item // t1n % t0n, item % t1n
        total = np.zeros(in_x.size, np.float64)
        for n in range(batch):
            image = (n * groups + k // (filters // groups)) * channels * plane
            for o0 in range(o0n):
                i0 = o0 * s0 + t0 * d0 - l0
                if i0 < 0 or i0 >= i0n:
                    continue
                for o1 in range(o1n):
                    i1 = o1 * s1 + t1 * d1 - l1
                    if i1 < 0 or i1 >= i1n:
                        continue
                    base = image + (i0 * i1n + i1) * i2n - l2
                    g_base = (((n * filters + k) * o0n + o0) * o1n + o1) * o2n
                    _add_dots(total, start, stop, g, g_base, x, base, s2, in_x)
                    for border in range(o2n - (stop - start)):
                        q = border if border < start else border + stop - start
                        for t2 in range(t2n):
                            i2 = q * s2 + t2 * d2
                            if l2 <= i2 < i2n + l2:
                                for c in range(channels):
                                    total[c * t2n + t2] += g[g_base + q] * x[base + c * plane + i2]
        for c in range(channels):
            for t2 in range(t2n):
                dw[k, c, t0, t1, t2] = total[c * t2n + t2]


@njit
def _add_dots(
    total: Array, start: int, stop: int, g: Array, g_base: int, x: Array, base: int, step: int, in_x: Array
) -> None:
    """total[m] += sum over start <= q < stop of g[g_base + q] * x[base + in_x[m] + q * step]."""
    if stop <= start:
        return
    terms = in_x.size
    by_four = terms - terms % 4
    zero = g[0] * 0
    for m in range(0, by_four, 4):
        x0, x1, x2, x3 = base + in_x[m], base + in_x[m + 1], base + in_x[m + 2], base + in_x[m + 3]
        sum0 = sum1 = sum2 = sum3 = zero
        if step == 1:
            for q in range(start, stop):
                v = g[U(g_base + q)]
                sum0 += v * x[U(x0 + q)]
                sum1 += v * x[U(x1 + q)]
                sum2 += v * x[U(x2 + q)]
                sum3 += v * x[U(x3 + q)]
        else:
            for q in range(start, stop):
                v, i = g[U(g_base + q)], q * step
                sum0 += v * x[U(x0 + i)]
                sum1 += v * x[U(x1 + i)]
                sum2 += v * x[U(x2 + i)]
                sum3 += v * x[U(x3 + i)]
        total[m] += sum0
        total[m + 1] += sum1
        total[m + 2] += sum2
        total[m + 3] += sum3
    for m in range(by_four, terms):
        x0 = base + in_x[m]
        sum0 = zero
        for q in range(start, stop):
            sum0 += g[U(g_base + q)] * x[U(x0 + q * step)]
        total[m] += sum0
