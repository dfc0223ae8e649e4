"""Convolution by definition: what every fast kernel is compared with.

With i = p * stride + t * dilation - low on each axis (p window, t tap, i input position; geometry.py, (1)):

    y[n, k, p]  = sum over c, t of            x[n, c, i] * w[k, c, t]
    dx[n, c, i] = sum over k and (p, t) -> i  g[n, k, p] * w[k, c, t]
    dw[k, c, t] = sum over n, p of            g[n, k, p] * x[n, c, i]

where x is 0 outside its array, and with groups k and c belong to the same group.  Any number of axes, any
float or complex dtype (nothing is conjugated: the complex step needs an analytic function).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..geometry import Conv

Array = np.ndarray


def forward(x: Array, w: Array, conv: Conv, out: Array | None = None) -> Array:
    """y (N, K, *out): each window of the padded x times w, summed."""
    n, g = conv.batch, conv.groups
    xp = np.pad(x, ((0, 0), (0, 0), *conv.padding))
    spatial = tuple(range(2, x.ndim))
    windows = sliding_window_view(xp, [a.extent for a in conv.axes], axis=spatial)
    every = [slice(None, None, s) for s in conv.stride] + [slice(None, None, d) for d in conv.dilation]
    windows = windows[:, :, *every].reshape(n, g, conv.in_channels // g, *conv.out, *conv.kernel)
    weights = w.reshape(g, conv.out_channels // g, *w.shape[1:])
    p, t = [10 + a for a in range(conv.ndim)], [20 + a for a in range(conv.ndim)]
    y = np.einsum(windows, [0, 1, 3, *p, *t], weights, [1, 2, 3, *t], [0, 1, 2, *p])  # (N, G, K/G, *out)
    return _deliver(y.reshape(conv.y_shape), x.dtype, out)


def input_grad(w: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dx (N, C, *size): what each tap of each window sends back to the position it read."""
    dx = np.zeros((conv.batch, conv.groups, conv.in_channels // conv.groups, *conv.size), g.dtype)
    weights, cotangent = _by_group(w, 0, conv), _by_group(g, 1, conv)
    for tap, positions, windows in _taps(conv):
        sent = np.einsum("ngk...,gkc->ngc...", cotangent[windows], weights[tap])
        dx[positions] += sent  # one tap reads a position at most once, so nothing is lost here
    return _deliver(dx.reshape(conv.x_shape), g.dtype, out)


def weight_grad(x: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dw (K, C/G, *kernel): for each tap, all that it read times what came back."""
    dw = np.zeros((conv.groups, conv.out_channels // conv.groups, *conv.w_shape[1:]), x.dtype)
    image, cotangent = _by_group(x, 1, conv), _by_group(g, 1, conv)
    for tap, positions, windows in _taps(conv):
        came, read = _flat(cotangent[windows]), _flat(image[positions])
        dw[tap] = np.einsum("ngkp,ngcp->gkc", came, read)
    return _deliver(dw.reshape(conv.w_shape), x.dtype, out)


def _taps(conv: Conv) -> Iterator[tuple[tuple, tuple, tuple]]:
    """Each tap, the input positions that it reads (padding left out), the windows that read them: as indices."""
    for tap in np.ndindex(*conv.kernel):
        positions, windows = [], []
        for a, t in zip(conv.axes, tap):
            p = np.arange(a.out)
            i = p * a.stride + t * a.dilation - a.pad[0]
            real = (i >= 0) & (i < a.size)
            positions.append(i[real])
            windows.append(p[real])
        everything = (slice(None),) * 3  # N, G and the channels of a group
        yield (..., *tap), (*everything, *np.ix_(*positions)), (*everything, *np.ix_(*windows))


def _by_group(a: Array, axis: int, conv: Conv) -> Array:
    """(..., K or C, ...) -> (..., G, K/G or C/G, ...)"""
    shape = a.shape
    return a.reshape(*shape[:axis], conv.groups, shape[axis] // conv.groups, *shape[axis + 1 :])


def _flat(a: Array) -> Array:
    """(N, G, channels, *spatial) -> (N, G, channels, positions)"""
    return a.reshape(*a.shape[:3], prod(a.shape[3:]))


def _deliver(result: Array, dtype: np.dtype, out: Array | None) -> Array:
    if out is None:
        return np.ascontiguousarray(result, dtype)
    out[...] = result
    return out
