"""Convolution through the Fourier transform: ``spec/fft.py``, with as many images at a time as memory can hold.

The transforms are those of the array module: cuFFT on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import Any

from ..geometry import Conv
from ..spec import fft as twin
from . import array_module

Array = Any

CHUNK_BYTES = 512 << 20  # of spectra and signals; those of a single image may need more


def forward(x: Array, w: Array, conv: Conv, out: Array | None = None) -> Array:
    """y (N, K, *out)."""
    y = array_module(x).empty(conv.y_shape, x.dtype) if out is None else out
    y[...] = 0  # as it stays where there are no channels
    for images, part in chunks(conv, x.itemsize):
        y[images] = twin.forward(x[images], w, part).result
    return y


def input_grad(w: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dx (N, C, *size)."""
    dx = array_module(g).empty(conv.x_shape, g.dtype) if out is None else out
    dx[...] = 0
    for images, part in chunks(conv, g.itemsize):
        dx[images] = twin.input_grad(w, g[images], part).result
    return dx


def weight_grad(x: Array, g: Array, conv: Conv, out: Array | None = None) -> Array:
    """dw (K, C/G, *kernel), added up over the images."""
    dw = array_module(x).empty(conv.w_shape, x.dtype) if out is None else out
    dw[...] = 0
    for images, part in chunks(conv, x.itemsize):
        dw += twin.weight_grad(x[images], g[images], part).result
    return dw


def chunks(conv: Conv, itemsize: int) -> Iterator[tuple[slice, Conv]]:
    """The images, as many at a time as ``CHUNK_BYTES`` allow, one at least, and the problem of so many."""
    at_once = max(1, CHUNK_BYTES // max(1, image_bytes(conv, itemsize)))
    for i in range(0, conv.batch if prod(conv.w_shape) else 0, at_once):
        stop = min(i + at_once, conv.batch)
        yield slice(i, stop), replace(conv, batch=stop - i)


def points(conv: Conv) -> int:
    """Of the transform of one channel."""
    return prod(twin.transform_size(conv))


def image_bytes(conv: Conv, itemsize: int) -> int:
    """Signals and spectra of one image, each as large as the padded signal and there twice, in another order too."""
    return 3 * itemsize * points(conv) * (conv.in_channels + conv.out_channels)


def filter_bytes(conv: Conv, itemsize: int) -> int:
    """The same of all filters."""
    return 3 * itemsize * points(conv) * prod(conv.w_shape[:2])
