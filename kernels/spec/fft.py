"""Convolution through the Fourier transform, one transform over the whole image: the readable twin.

On one axis let ``E`` be the extent of the dilated kernel and ``L`` any length that holds the padded input.  With
the padded input x', the kernel spread out to its dilation w', and the output gradient spread out to its stride g',

    forward        y'[q] = sum_t w'[t] x'[q + t]     a correlation:   Y = X conj(W)
    input grad     dx'[i] = sum_t w'[t] g'[i - t]    a convolution:   X = Y W
    weight grad    dw'[t] = sum_q g'[q] x'[q + t]    a correlation:   W = X conj(Y)

All three are circular of length ``L`` without anything wrapping round, because every index that occurs with a
nonzero product lies in ``0 .. L - 1``.  A stride keeps every s-th y'; a dilation keeps every d-th dw'.

Source: Mathieu, Henaff, LeCun 2014, Fast Training of Convolutional Networks through FFTs, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import array_module
from ..geometry import Conv
from ..tiling import read, write


@dataclass(frozen=True, slots=True)
class Spectra:
    """What one pass went through.  Each pass is given two of the spectra and makes the third.

    size    length of the transform on each axis; ``freq`` below is (*size[:-1], size[-1] // 2 + 1)
    X       (N, C, *freq) of the padded input or of its gradient
    W       (K, C/G, *freq) of the dilated kernel or of its gradient
    Y       (N, K, *freq) of the output at stride 1 or of its gradient
    result  what the pass was asked for: y, dx or dw
    """

    size: tuple[int, ...]
    X: np.ndarray
    W: np.ndarray
    Y: np.ndarray
    result: np.ndarray


def good_size(n: int) -> int:
    """Smallest number >= n with no prime factor above 5; mixed-radix transforms are fast at these.

    >>> [good_size(n) for n in (1, 7, 11, 13, 17, 61, 97)]
    [1, 8, 12, 15, 18, 64, 100]
    """
    while True:
        rest = n
        for p in (2, 3, 5):
            while rest % p == 0:
                rest //= p
        if rest == 1:
            return n
        n += 1


def transform_size(conv: Conv) -> tuple[int, ...]:
    """Length of the transform that holds the whole padded input, per axis."""
    return tuple(good_size(a.padded) for a in conv.axes)


def forward(x: np.ndarray, w: np.ndarray, conv: Conv) -> Spectra:
    """y (N, K, *out) of x (N, C, *size) and w (K, C/G, *kernel)."""
    X, W = _input_spectrum(x, conv), _kernel_spectrum(w, conv)
    Y = array_module(x).einsum("ngc...,gkc...->ngk...", _split(X, 1, conv.groups), _split(W, 0, conv.groups).conj())
    Y = Y.reshape(conv.batch, conv.out_channels, *Y.shape[3:])  # (N, G, K/G, *freq) -> (N, K, *freq)
    y = array_module(x).zeros(conv.y_shape, x.dtype)
    write(y, _inverse(Y, conv), (0,) * conv.ndim, conv.stride)
    return Spectra(transform_size(conv), X, W, Y, y)


def input_grad(w: np.ndarray, g: np.ndarray, conv: Conv) -> Spectra:
    """dx (N, C, *size) of w (K, C/G, *kernel) and the output gradient g (N, K, *out)."""
    W, Y = _kernel_spectrum(w, conv), _output_spectrum(g, conv)
    X = array_module(g).einsum("gkc...,ngk...->ngc...", _split(W, 0, conv.groups), _split(Y, 1, conv.groups))
    X = X.reshape(conv.batch, conv.in_channels, *X.shape[3:])  # (N, G, C/G, *freq) -> (N, C, *freq)
    dx = array_module(g).zeros(conv.x_shape, g.dtype)
    write(dx, _inverse(X, conv), _before_padding(conv))
    return Spectra(transform_size(conv), X, W, Y, dx)


def weight_grad(x: np.ndarray, g: np.ndarray, conv: Conv) -> Spectra:
    """dw (K, C/G, *kernel) of x (N, C, *size) and the output gradient g (N, K, *out)."""
    X, Y = _input_spectrum(x, conv), _output_spectrum(g, conv)
    W = array_module(x).einsum("ngc...,ngk...->gkc...", _split(X, 1, conv.groups), _split(Y, 1, conv.groups).conj())
    W = W.reshape(*conv.w_shape[:2], *W.shape[3:])  # (G, K/G, C/G, *freq) -> (K, C/G, *freq)
    dw = array_module(x).zeros(conv.w_shape, x.dtype)
    write(dw, _inverse(W, conv), (0,) * conv.ndim, conv.dilation)
    return Spectra(transform_size(conv), X, W, Y, dw)


def _input_spectrum(x: np.ndarray, conv: Conv) -> np.ndarray:
    return _transform(x, conv, _before_padding(conv), (1,) * conv.ndim)


def _kernel_spectrum(w: np.ndarray, conv: Conv) -> np.ndarray:
    return _transform(w, conv, (0,) * conv.ndim, conv.dilation)


def _output_spectrum(g: np.ndarray, conv: Conv) -> np.ndarray:
    return _transform(g, conv, (0,) * conv.ndim, conv.stride)


def _before_padding(conv: Conv) -> tuple[int, ...]:
    return tuple(-low for low, _ in conv.padding)


def _transform(a: np.ndarray, conv: Conv, start: tuple[int, ...], step: tuple[int, ...]) -> np.ndarray:
    xp = array_module(a)
    signal = read(xp.empty((*a.shape[:2], *transform_size(conv)), a.dtype), a, start, step)
    return xp.fft.rfftn(signal, axes=_spatial(conv))


def _inverse(spectrum: np.ndarray, conv: Conv) -> np.ndarray:
    return array_module(spectrum).fft.irfftn(spectrum, s=transform_size(conv), axes=_spatial(conv))


def _spatial(conv: Conv) -> tuple[int, ...]:
    return tuple(range(2, 2 + conv.ndim))


def _split(a: np.ndarray, axis: int, groups: int) -> np.ndarray:
    """Split a channel axis into (G, channels/G)."""
    return a.reshape(*a.shape[:axis], groups, a.shape[axis] // groups, *a.shape[axis + 1 :])
