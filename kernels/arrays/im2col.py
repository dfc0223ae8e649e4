"""Convolution as one batch of matrix products: ``spec/im2col.py`` with its columns cut out by strides.

The windows of the padded input are a view of it, in which a position stands once for each window that holds it; only
laying them out as columns copies.  Some images at a time, so that the columns stay under ``CHUNK_BYTES``.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from ..geometry import Conv
from ..spec.im2col import col2im
from . import array_module

Array = Any

CHUNK_BYTES = 256 << 20  # columns of a chunk; those of a single image may need more


def forward(x: Array, w: Array, conv: Conv, out: Array | None = None) -> Array:
    """y (N, K, *out): (K/G, C/G*RS) @ (C/G*RS, PQ) for each image and group."""
    y = array_module(x).empty(conv.y_shape, x.dtype) if out is None else out
    for images in chunks(conv, x.itemsize):
        product = _weights(w, conv) @ columns(x[images], conv)  # (N, G, K/G, PQ)
        y[images] = product.reshape(product.shape[0], *conv.y_shape[1:])
    return y


def input_grad(w: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dx (N, C, *size): (C/G*RS, K/G) @ (K/G, PQ), each column added back to where it was cut out."""
    dx = array_module(g).empty(conv.x_shape, g.dtype) if out is None else out
    for images in chunks(conv, g.itemsize):
        sent = _weights(w, conv).swapaxes(1, 2) @ _cotangent(g[images], conv)  # (N, G, C/G*RS, PQ)
        sent = sent.reshape(sent.shape[0], conv.in_channels * prod(conv.kernel), prod(conv.out))
        dx[images] = col2im(sent, conv.size, conv.kernel, conv.dilation, conv.padding, conv.stride)
    return dx


def weight_grad(x: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dw (K, C/G, *kernel): (K/G, PQ) @ (PQ, C/G*RS), added up over the images."""
    dw = array_module(x).empty(conv.w_shape, x.dtype) if out is None else out
    dw[...] = 0
    for images in chunks(conv, x.itemsize):
        products = _cotangent(g[images], conv) @ columns(x[images], conv).swapaxes(2, 3)  # (N, G, K/G, C/G*RS)
        dw += products.sum(axis=0).reshape(conv.w_shape)
    return dw


def columns(x: Array, conv: Conv) -> Array:
    """Every window as a column: some images (N, C, *size) -> (N, G, C/G*RS, PQ)."""
    xp = array_module(x)
    if any(low or high for low, high in conv.padding):
        x = xp.pad(x, ((0, 0), (0, 0), *conv.padding))
    taps = tuple(s * a.dilation for s, a in zip(x.strides[2:], conv.axes))
    steps = tuple(s * a.stride for s, a in zip(x.strides[2:], conv.axes))
    shape = (*x.shape[:2], *conv.kernel, *conv.out)
    windows = xp.lib.stride_tricks.as_strided(x, shape, (*x.strides[:2], *taps, *steps))  # (N, C, R, S, P, Q)
    return windows.reshape(x.shape[0], conv.groups, prod(conv.w_shape[1:]), prod(conv.out))


def chunks(conv: Conv, itemsize: int) -> Iterator[slice]:
    """The images, as many at a time as ``CHUNK_BYTES`` of columns allow, one at least."""
    at_once = max(1, CHUNK_BYTES // max(1, image_bytes(conv, itemsize)))
    return (slice(i, min(i + at_once, conv.batch)) for i in range(0, conv.batch, at_once))


def image_bytes(conv: Conv, itemsize: int) -> int:
    """The columns of one image."""
    return itemsize * conv.in_channels * prod(conv.kernel) * prod(conv.out)


def workspace_bytes(conv: Conv, itemsize: int) -> int:
    """The columns of a chunk, and its padded images."""
    images = min(conv.batch, max(1, CHUNK_BYTES // max(1, image_bytes(conv, itemsize))))
    return images * (image_bytes(conv, itemsize) + itemsize * conv.in_channels * prod(a.padded for a in conv.axes))


def _weights(w: Array, conv: Conv) -> Array:
    """(K, C/G, *kernel) -> (G, K/G, C/G*RS)"""
    return w.reshape(conv.groups, conv.out_channels // conv.groups, prod(conv.w_shape[1:]))


def _cotangent(g: Array, conv: Conv) -> Array:
    """(N, K, *out) -> (N, G, K/G, PQ)"""
    return g.reshape(g.shape[0], conv.groups, conv.out_channels // conv.groups, prod(conv.out))
