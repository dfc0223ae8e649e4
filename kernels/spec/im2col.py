"""im2col in the open: convolution as one matrix product per group, with every intermediate named.

Each window of x is written out as one column, so that the K filters, one per row, meet all windows in a
single product:  y = weights @ columns.  The gradients follow from that line: columns' = weights^T @ g, added
back to where they were read from (col2im), and dw = g @ columns^T.

``cpu/im2col.py`` computes the same with a bounded workspace.  Source: Chellapilla, Puri and Simard 2006,
"High Performance Convolutional Neural Networks for Document Processing", section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from ..arrays import array_module
from ..errors import ShapeError
from ..geometry import Conv, Ints, Padding, per_axis

Array = np.ndarray


@dataclass(frozen=True)
class Im2colForward:
    """weights (G, K/G, C/G*R*S) @ columns (N, G, C/G*R*S, P*Q) = product (N, G, K/G, P*Q), which is y."""

    columns: Array
    weights: Array
    product: Array
    y: Array


@dataclass(frozen=True)
class Im2colInputGrad:
    """weights^T @ cotangent (N, G, K/G, P*Q) = columns (N, G, C/G*R*S, P*Q), which col2im adds up to dx."""

    cotangent: Array
    weights: Array
    columns: Array
    dx: Array


@dataclass(frozen=True)
class Im2colWeightGrad:
    """cotangent (N, G, K/G, P*Q) @ columns^T = products (N, G, K/G, C/G*R*S), whose sum over N is dw."""

    columns: Array
    cotangent: Array
    products: Array
    dw: Array


def forward_steps(x: Array, w: Array, conv: Conv) -> Im2colForward:
    """The forward pass with its intermediates.

    >>> conv = Conv.from_shapes((1, 1, 4), (1, 1, 2))
    >>> steps = forward_steps(np.array([[[1.0, 2.0, 3.0, 4.0]]]), np.array([[[1.0, -1.0]]]), conv)
    >>> steps.columns[0, 0]
    array([[1., 2., 3.],
           [2., 3., 4.]])
    >>> steps.y
    array([[[-1., -1., -1.]]])
    """
    columns, weights = _columns(x, conv), _weights(w, conv)
    product = weights @ columns
    return Im2colForward(columns, weights, product, product.reshape(conv.y_shape))


def input_grad_steps(w: Array, g: Array, conv: Conv) -> Im2colInputGrad:
    """The input gradient with its intermediates."""
    cotangent, weights = _cotangent(g, conv), _weights(w, conv)
    columns = weights.swapaxes(1, 2) @ cotangent
    flat = columns.reshape(conv.batch, prod(conv.w_shape[1:]) * conv.groups, prod(conv.out))
    dx = col2im(flat, conv.size, conv.kernel, conv.dilation, conv.padding, conv.stride)
    return Im2colInputGrad(cotangent, weights, columns, dx)


def weight_grad_steps(x: Array, g: Array, conv: Conv) -> Im2colWeightGrad:
    """The weight gradient with its intermediates."""
    columns, cotangent = _columns(x, conv), _cotangent(g, conv)
    products = cotangent @ columns.swapaxes(2, 3)
    return Im2colWeightGrad(columns, cotangent, products, products.sum(0).reshape(conv.w_shape))


def im2col(x: Array, kernel_size: Ints, dilation: Ints = 1, padding: Padding = 0, stride: Ints = 1) -> Array:
    """Every window as a column: x (N, C, *size) -> (N, C*prod(kernel), windows).  PyTorch's ``unfold``.

    Rows run over channel, then tap; columns over windows, last axis fastest.  Any number of spatial axes and
    any dtype, of NumPy or CuPy; ``padding`` as in ``Conv.from_shapes``.  ShapeError where no window fits.

    >>> im2col(np.arange(6.0).reshape(1, 1, 2, 3), 2)[0]
    array([[0., 1.],
           [1., 2.],
           [3., 4.],
           [4., 5.]])
    """
    conv = _windows("unfold", x.shape, kernel_size, dilation, padding, stride)
    xp = array_module(x)
    padded = xp.pad(x, ((0, 0), (0, 0), *conv.padding))
    columns = xp.empty((*x.shape[:2], *conv.kernel, *conv.out), x.dtype)
    for tap in np.ndindex(*conv.kernel):
        columns[:, :, *tap] = padded[:, :, *_read_by(tap, conv)]
    return columns.reshape(x.shape[0], x.shape[1] * prod(conv.kernel), prod(conv.out))


def col2im(
    columns: Array,
    output_size: Sequence[int],
    kernel_size: Ints,
    dilation: Ints = 1,
    padding: Padding = 0,
    stride: Ints = 1,
) -> Array:
    """Add columns back to where ``im2col`` read them: (N, C*prod(kernel), windows) -> (N, C, *output_size).

    The transpose of ``im2col`` (not its inverse: positions in several windows get a sum).  PyTorch's
    ``fold``.  ShapeError where the columns' shape is not what ``im2col`` gives for ``output_size``.

    >>> col2im(np.ones((1, 4, 2)), (2, 3), 2)[0, 0]
    array([[1., 2., 1.],
           [1., 2., 1.]])
    """
    taps = prod(per_axis(kernel_size, len(output_size), "kernel_size"))
    channels = columns.shape[1] // taps
    shape = (columns.shape[0], channels, *output_size)
    conv = _windows("fold", shape, kernel_size, dilation, padding, stride)
    if columns.shape[1:] != (channels * taps, prod(conv.out)):
        raise ShapeError(
            f"col2im: columns has shape {columns.shape}; for output_size = {tuple(output_size)} and kernel "
            f"{conv.kernel} it must be (N, C * {taps}, {' * '.join(map(str, conv.out))} = {prod(conv.out)})"
        )
    split = columns.reshape(*shape[:2], *conv.kernel, *conv.out)
    xp = array_module(columns)
    padded = xp.zeros((*shape[:2], *(a.padded for a in conv.axes)), columns.dtype)
    for tap in np.ndindex(*conv.kernel):
        padded[:, :, *_read_by(tap, conv)] += split[:, :, *tap]
    inside = tuple(slice(low, low + size) for (low, _), size in zip(conv.padding, conv.size))
    return xp.ascontiguousarray(padded[:, :, *inside])


def _windows(op: str, shape: Sequence[int], kernel: Ints, dilation: Ints, padding: Padding, stride: Ints) -> Conv:
    """The geometry, as that of a convolution with one filter."""
    kernels = per_axis(kernel, len(shape) - 2, "kernel_size")
    return Conv.from_shapes(shape, (1, shape[1], *kernels), stride, padding, dilation, op=op)


def _read_by(tap: tuple[int, ...], conv: Conv) -> tuple[slice, ...]:
    """The positions of the padded input that tap ``tap`` reads in windows 0, 1, 2, ..."""
    return tuple(
        slice(t * a.dilation, t * a.dilation + (a.out - 1) * a.stride + 1, a.stride) for t, a in zip(tap, conv.axes)
    )


def _columns(x: Array, conv: Conv) -> Array:
    columns = im2col(x, conv.kernel, conv.dilation, conv.padding, conv.stride)
    return columns.reshape(conv.batch, conv.groups, prod(conv.w_shape[1:]), prod(conv.out))


def _weights(w: Array, conv: Conv) -> Array:
    return w.reshape(conv.groups, conv.out_channels // conv.groups, prod(conv.w_shape[1:]))


def _cotangent(g: Array, conv: Conv) -> Array:
    return g.reshape(conv.batch, conv.groups, conv.out_channels // conv.groups, prod(conv.out))
