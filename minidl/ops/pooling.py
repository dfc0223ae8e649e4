"""Pooling and unpooling.

An average is linear; its gradient is the transposed map.  A maximum, once its winners are known, only copies
numbers: ``gather`` reads the winners and ``scatter`` adds back to them, each the gradient of the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..autograd.mode import MODE
from ..autograd.tape import LISTENERS, Primitive, vjp
from ..kernels import pooling as kernel
from ..kernels.errors import ShapeError
from ..kernels.geometry import per_axis
from ..kernels.pooling import Pool
from ..kernels.remembered import remembered
from ._common import as_operand, batched, floating
from .reduction import _root

_windows, _shares = remembered(Pool.from_shape), remembered(Pool.adaptive)

Size = int | Sequence[int]
OptionalSize = int | Sequence[int | None] | None

_max_pool: Primitive = Primitive(
    "max_pool",
    lambda x, *, pool: kernel.max_pool(x, pool),
    vjp(lambda g, y, x, *, pool: _scatter(g[0], indices=y[1]._array, shape=x.shape, pool=pool), uses="y1"),
)
_max_values: Primitive = Primitive("max_values", lambda x, *, pool: kernel.max_values(x, pool))
_scatter: Primitive = Primitive(
    "max_pool_scatter",
    lambda g, *, indices, shape, pool: kernel.max_pool_grad(g, indices, shape, pool=pool),
    vjp(lambda u, y, g, *, indices, shape, pool: _gather(u, indices=indices, pool=pool)),
)
_gather: Primitive = Primitive(
    "max_pool_gather",
    lambda u, *, indices, pool: kernel.gather(u, indices),
    vjp(lambda g, y, u, *, indices, pool: _scatter(g, indices=indices, shape=u.shape, pool=pool)),
)
_unpool: Primitive = Primitive(
    "max_unpool",
    lambda x, *, indices, size: kernel.max_unpool(x, indices, size),
    vjp(lambda g, y, x, *, indices, size: _gather(g, indices=indices, pool=None)),
)
_avg_pool: Primitive = Primitive(
    "avg_pool",
    lambda x, *, pool, include_pad, divisor: kernel.avg_pool(x, pool, include_pad, divisor),
    vjp(
        lambda g, y, x, *, pool, include_pad, divisor: _avg_pool_grad(
            g, pool=pool, include_pad=include_pad, divisor=divisor
        )
    ),
)
_avg_pool_grad: Primitive = Primitive(
    "avg_pool_grad",
    lambda g, *, pool, include_pad, divisor: kernel.avg_pool_grad(g, pool, include_pad, divisor),
    vjp(
        lambda u, y, g, *, pool, include_pad, divisor: _avg_pool(u, pool=pool, include_pad=include_pad, divisor=divisor)
    ),
)
_maxout: Primitive = Primitive(
    "maxout",
    lambda x, *, pool: kernel.channel_max(x, pool),
    vjp(lambda g, y, x, *, pool: _maxout_scatter(g[0], indices=y[1]._array, shape=x.shape), uses="y1"),
)
_maxout_scatter: Primitive = Primitive(
    "maxout_scatter",
    lambda g, *, indices, shape: kernel.channel_max_grad(g, indices, shape),
    vjp(lambda u, y, g, *, indices, shape: _maxout_gather(u, indices=indices)),
)
_maxout_gather: Primitive = Primitive(
    "maxout_gather",
    lambda u, *, indices: kernel.channel_gather(u, indices),
    vjp(lambda g, y, u, *, indices: _maxout_scatter(g, indices=indices, shape=u.shape)),
)


def _max_pool_nd(
    ndim: int, input: Any, kernel_size: Size, stride: Any, padding: Any, dilation: Size, ceil_mode: bool, indices: bool
) -> Any:
    op = f"max_pool{ndim}d"
    x, single = batched(input, ndim)
    pool = _windows(x.shape, kernel_size, stride, padding, dilation, ceil_mode, op=op, ndim=ndim)
    return _largest(x, pool, single, indices)


def _largest(x: Any, pool: Pool, single: bool, indices: bool) -> Any:
    """The largest of each window; where they stood too, where the caller, a gradient or a listener wants to know."""
    if not (indices or LISTENERS or (MODE.recording and x.requires_grad)):
        y = _max_values(x, pool=pool)
        return y.squeeze(0) if single else y
    y, where = _max_pool(x, pool=pool)
    if single:
        y, where = y.squeeze(0), where.squeeze(0)
    return (y, where.to("int64")) if indices else y


def max_pool1d(
    input: Any,
    kernel_size: Size,
    stride: Any = None,
    padding: Any = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum over windows of (N, C, L), as :func:`max_pool2d`.

    (N, C, L) -> (N, C, Q); without N too.

    >>> import minidl
    >>> minidl.nn.functional.max_pool1d(minidl.tensor([[[1.0, 4.0, 3.0, 2.0]]]), 2)
    tensor([[[4., 3.]]])
    """
    return _max_pool_nd(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Any,
    kernel_size: Size,
    stride: Any = None,
    padding: Any = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum over windows of (N, C, H, W) or (C, H, W); ``stride`` defaults to the window's size.

    Padding counts as minus infinity, never as zero.  Of equal values the first in row-major order wins and takes
    the whole gradient.  ``return_indices`` adds the winners' flat positions for :func:`max_unpool2d`.

    >>> import minidl
    >>> minidl.nn.functional.max_pool2d(minidl.arange(16.0).reshape(1, 1, 4, 4), 2)
    tensor([[[[ 5.,  7.],
              [13., 15.]]]])
    """
    return _max_pool_nd(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Any,
    kernel_size: Size,
    stride: Any = None,
    padding: Any = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum over windows of (N, C, D, H, W), as :func:`max_pool2d`.

    (N, C, D, H, W) -> (N, C, O, P, Q); without N too.

    >>> import minidl
    >>> minidl.nn.functional.max_pool3d(minidl.ones(1, 2, 4, 4, 6), 2).shape
    (1, 2, 2, 2, 3)
    """
    return _max_pool_nd(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool1d_with_indices(*args: Any, **options: Any) -> Any:
    """:func:`max_pool1d` with ``return_indices=True``.

    >>> import minidl
    >>> values, indices = minidl.nn.functional.max_pool1d_with_indices(minidl.tensor([[[1.0, 4.0, 3.0, 2.0]]]), 2)
    >>> values, indices
    (tensor([[[4., 3.]]]), tensor([[[1, 2]]]))
    """
    return max_pool1d(*args, **{**options, "return_indices": True})


def max_pool2d_with_indices(*args: Any, **options: Any) -> Any:
    """:func:`max_pool2d` with ``return_indices=True``.

    >>> import minidl
    >>> values, indices = minidl.nn.functional.max_pool2d_with_indices(minidl.arange(4.0).reshape(1, 1, 2, 2), 2)
    >>> values.item(), indices.item()
    (3.0, 3)
    """
    return max_pool2d(*args, **{**options, "return_indices": True})


def max_pool3d_with_indices(*args: Any, **options: Any) -> Any:
    """:func:`max_pool3d` with ``return_indices=True``.

    >>> import minidl
    >>> values, indices = minidl.nn.functional.max_pool3d_with_indices(minidl.arange(8.0).reshape(1, 1, 2, 2, 2), 2)
    >>> values.item(), indices.item()
    (7.0, 7)
    """
    return max_pool3d(*args, **{**options, "return_indices": True})


def _avg_pool_nd(
    ndim: int,
    input: Any,
    kernel_size: Size,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Any:
    op = f"avg_pool{ndim}d"
    x, single = batched(input, ndim)
    pool = _windows(x.shape, kernel_size, stride, padding, 1, ceil_mode, op=op, ndim=ndim)
    y = _avg_pool(x, pool=pool, include_pad=count_include_pad, divisor=divisor_override)
    return y.squeeze(0) if single else y


def avg_pool1d(
    input: Any,
    kernel_size: Size,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """Mean over windows of (N, C, L), as :func:`avg_pool2d`.

    (N, C, L) -> (N, C, Q); without N too.

    >>> import minidl
    >>> minidl.nn.functional.avg_pool1d(minidl.tensor([[[1.0, 3.0, 5.0, 7.0]]]), 2)
    tensor([[[2., 6.]]])
    """
    return _avg_pool_nd(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Any,
    kernel_size: Size,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Mean over windows of (N, C, H, W) or (C, H, W); ``stride`` defaults to the window's size.

    ``count_include_pad`` (PyTorch's default) counts padding as zeros that share in the mean; False divides by the
    inputs alone.

    (N, C, H, W) -> (N, C, P, Q).

    >>> import minidl
    >>> x = minidl.ones(1, 1, 2, 2)
    >>> minidl.nn.functional.avg_pool2d(x, 2, padding=1)
    tensor([[[[0.25, 0.25],
              [0.25, 0.25]]]])
    >>> minidl.nn.functional.avg_pool2d(x, 2, padding=1, count_include_pad=False).sum().item()
    4.0
    """
    return _avg_pool_nd(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    input: Any,
    kernel_size: Size,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Mean over windows of (N, C, D, H, W), as :func:`avg_pool2d`.

    (N, C, D, H, W) -> (N, C, O, P, Q); without N too.

    >>> import minidl
    >>> minidl.nn.functional.avg_pool3d(minidl.ones(1, 2, 4, 4, 6), 2).shape
    (1, 2, 2, 2, 3)
    """
    return _avg_pool_nd(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _lp_pool_nd(ndim: int, input: Any, norm_type: float, kernel_size: Size, stride: Any, ceil_mode: bool) -> Any:
    op = f"lp_pool{ndim}d"
    if norm_type == math.inf:
        return _max_pool_nd(ndim, as_operand(input).abs(), kernel_size, stride, 0, 1, ceil_mode, False)
    if not norm_type > 0:
        raise ValueError(f"{op}: norm_type must be positive, got {norm_type}")
    x, single = batched(floating(input), ndim)
    pool = Pool.from_shape(x.shape, kernel_size, stride, 0, 1, ceil_mode, op=op, ndim=ndim)
    taps = math.prod(per_axis(kernel_size, ndim, "kernel_size"))
    y = _root(_avg_pool(x**norm_type, pool=pool, include_pad=True, divisor=None) * taps, norm_type)
    return y.squeeze(0) if single else y


def lp_pool1d(input: Any, norm_type: float, kernel_size: Size, stride: Any = None, ceil_mode: bool = False) -> Any:
    """Lp norm over windows of (N, C, L): ``(sum x^p)^(1/p)``; p = 2 is the L2 pooling of the textbooks.

    As in PyTorch no absolute values are taken: odd p keeps signs, and a negative sum has no root (NaN).  A window of
    zeros passes no gradient.  Windows that hang over the edge (``ceil_mode``) count as if they were full.

    >>> import minidl
    >>> minidl.nn.functional.lp_pool1d(minidl.tensor([[[3.0, 4.0, 5.0, 12.0]]]), 2, 2)
    tensor([[[ 5., 13.]]])
    """
    return _lp_pool_nd(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input: Any, norm_type: float, kernel_size: Size, stride: Any = None, ceil_mode: bool = False) -> Any:
    """Lp norm over windows of (N, C, H, W), as :func:`lp_pool1d`.

    (N, C, H, W) -> (N, C, P, Q); without N too.

    >>> import minidl
    >>> minidl.nn.functional.lp_pool2d(minidl.ones(1, 1, 2, 4), 2, 2)
    tensor([[[[2., 2.]]]])
    """
    return _lp_pool_nd(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(input: Any, norm_type: float, kernel_size: Size, stride: Any = None, ceil_mode: bool = False) -> Any:
    """Lp norm over windows of (N, C, D, H, W), as :func:`lp_pool1d`.

    (N, C, D, H, W) -> (N, C, O, P, Q); without N too.

    >>> import minidl
    >>> minidl.nn.functional.lp_pool3d(minidl.ones(1, 2, 4, 4, 6), 2, 2).shape
    (1, 2, 2, 2, 3)
    """
    return _lp_pool_nd(3, input, norm_type, kernel_size, stride, ceil_mode)


def _adaptive(ndim: int, input: Any, output_size: OptionalSize, maximum: bool, indices: bool = False) -> Any:
    op = f"adaptive_{'max' if maximum else 'avg'}_pool{ndim}d"
    x, single = batched(input, ndim)
    pool = _shares(x.shape, output_size, op=op, ndim=ndim)
    if maximum:
        return _largest(x, pool, single, indices)
    y = _avg_pool(x, pool=pool, include_pad=True, divisor=None)
    return y.squeeze(0) if single else y


def adaptive_avg_pool1d(input: Any, output_size: OptionalSize) -> Any:
    """Mean over ``output_size`` windows that share (N, C, L) evenly; 1 is global average pooling.

    (N, C, L) -> (N, C, output_size); None keeps a length.

    >>> import minidl
    >>> minidl.nn.functional.adaptive_avg_pool1d(minidl.tensor([[[1.0, 3.0, 5.0, 7.0]]]), 2)
    tensor([[[2., 6.]]])
    """
    return _adaptive(1, input, output_size, False)


def adaptive_avg_pool2d(input: Any, output_size: OptionalSize) -> Any:
    """Mean over ``output_size`` windows that share (N, C, H, W) evenly; 1 is global average pooling.

    (N, C, H, W) -> (N, C, *output_size), a number for both axes or one for each; None keeps a length.

    >>> import minidl
    >>> x = minidl.arange(6.0).reshape(1, 1, 2, 3)
    >>> minidl.nn.functional.adaptive_avg_pool2d(x, 1).item(), minidl.nn.functional.adaptive_avg_pool2d(x, (2, 1)).shape
    (2.5, (1, 1, 2, 1))
    """
    return _adaptive(2, input, output_size, False)


def adaptive_avg_pool3d(input: Any, output_size: OptionalSize) -> Any:
    """Mean over ``output_size`` windows that share (N, C, D, H, W) evenly.

    (N, C, D, H, W) -> (N, C, *output_size), a number for all axes or one for each; None keeps a length.

    >>> import minidl
    >>> minidl.nn.functional.adaptive_avg_pool3d(minidl.ones(1, 2, 5, 6, 7), (1, 2, 3)).shape
    (1, 2, 1, 2, 3)
    """
    return _adaptive(3, input, output_size, False)


def adaptive_max_pool1d(input: Any, output_size: OptionalSize, return_indices: bool = False) -> Any:
    """Maximum over ``output_size`` windows that share (N, C, L) evenly.

    (N, C, L) -> (N, C, output_size); None keeps a length.

    >>> import minidl
    >>> minidl.nn.functional.adaptive_max_pool1d(minidl.tensor([[[1.0, 3.0, 7.0, 5.0]]]), 2)
    tensor([[[3., 7.]]])
    """
    return _adaptive(1, input, output_size, True, return_indices)


def adaptive_max_pool2d(input: Any, output_size: OptionalSize, return_indices: bool = False) -> Any:
    """Maximum over ``output_size`` windows that share (N, C, H, W) evenly; 1 is global max pooling.

    (N, C, H, W) -> (N, C, *output_size), a number for both axes or one for each; None keeps a length.

    >>> import minidl
    >>> minidl.nn.functional.adaptive_max_pool2d(minidl.arange(6.0).reshape(1, 1, 2, 3), 1).item()
    5.0
    """
    return _adaptive(2, input, output_size, True, return_indices)


def adaptive_max_pool3d(input: Any, output_size: OptionalSize, return_indices: bool = False) -> Any:
    """Maximum over ``output_size`` windows that share (N, C, D, H, W) evenly.

    (N, C, D, H, W) -> (N, C, *output_size), a number for all axes or one for each; None keeps a length.

    >>> import minidl
    >>> minidl.nn.functional.adaptive_max_pool3d(minidl.ones(1, 2, 5, 6, 7), (1, 2, 3)).shape
    (1, 2, 1, 2, 3)
    """
    return _adaptive(3, input, output_size, True, return_indices)


def _max_unpool_nd(
    ndim: int, input: Any, indices: Any, kernel_size: Size, stride: Any, padding: Size, output_size: Any
) -> Any:
    op = f"max_unpool{ndim}d"
    x, single = batched(input, ndim)
    where = as_operand(indices)
    if where.dtype.kind not in "iu":
        raise TypeError(f"{op}: the indices must be integers as max_pool{ndim}d returns them, not {where.dtype}")
    if single:
        where = where.unsqueeze(0)
    if x.ndim != ndim + 2 or where.shape != x.shape:
        raise ShapeError(
            f"{op}: the input {x.shape} and the indices {where.shape} must both be what max_pool{ndim}d returned, with "
            f"{ndim + 2} axes, or {ndim + 1} without a batch"
        )
    kernel_ = per_axis(kernel_size, ndim, "kernel_size")
    strides = kernel_ if stride is None else per_axis(stride, ndim, "stride")
    pads = per_axis(padding, ndim, "padding")
    usual = tuple((n - 1) * s + k - 2 * p for n, s, k, p in zip(x.shape[2:], strides, kernel_, pads))
    size = usual if output_size is None else per_axis(tuple(output_size)[-ndim:], ndim, "output_size")
    for n, s, middle, wanted in zip(x.shape[2:], strides, usual, size):
        if not middle - s < wanted < middle + s:
            raise ShapeError(
                f"{op}: output_size {size} does not fit: an axis of {n} windows comes from a size between "
                f"{middle - s + 1} and {middle + s - 1}, not {wanted}"
            )
    y = _unpool(x, indices=where._array.copy(), size=size)  # the gradient reads them later
    return y.squeeze(0) if single else y


def max_unpool1d(
    input: Any, indices: Any, kernel_size: Size, stride: Any = None, padding: Size = 0, output_size: Any = None
) -> Any:
    """Values put back at the indices of :func:`max_pool1d`, zeros elsewhere, as :func:`max_unpool2d`.

    >>> import minidl
    >>> y, at = minidl.nn.functional.max_pool1d(minidl.tensor([[[1.0, 4.0, 3.0, 2.0]]]), 2, return_indices=True)
    >>> minidl.nn.functional.max_unpool1d(y, at, 2)
    tensor([[[0., 4., 3., 0.]]])
    """
    return _max_unpool_nd(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Any, indices: Any, kernel_size: Size, stride: Any = None, padding: Size = 0, output_size: Any = None
) -> Any:
    """Values put back at the indices of :func:`max_pool2d`, zeros elsewhere (N, C, P, Q) -> (N, C, H, W).

    ``output_size`` resolves which of the sizes that pool to (P, Q) is meant.  Where indices repeat, one value stays.

    >>> import minidl
    >>> y, at = minidl.nn.functional.max_pool2d(minidl.arange(4.0).reshape(1, 1, 2, 2), 2, return_indices=True)
    >>> minidl.nn.functional.max_unpool2d(y, at, 2)
    tensor([[[[0., 0.],
              [0., 3.]]]])
    """
    return _max_unpool_nd(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Any, indices: Any, kernel_size: Size, stride: Any = None, padding: Size = 0, output_size: Any = None
) -> Any:
    """Values put back at the indices of :func:`max_pool3d`, zeros elsewhere, as :func:`max_unpool2d`.

    >>> import minidl
    >>> y, at = minidl.nn.functional.max_pool3d(minidl.ones(1, 2, 4, 4, 6), 2, return_indices=True)
    >>> minidl.nn.functional.max_unpool3d(y, at, 2).shape
    (1, 2, 4, 4, 6)
    """
    return _max_unpool_nd(3, input, indices, kernel_size, stride, padding, output_size)


def maxout(input: Any, pool: int) -> Any:
    """Maximum over groups of ``pool`` consecutive channels, (N, C, *) -> (N, C/pool, *): Goodfellow et al. 2013.

    >>> import minidl
    >>> minidl.nn.functional.maxout(minidl.tensor([[1.0, 4.0, 3.0, 2.0]]), 2)
    tensor([[4., 3.]])
    """
    return _maxout(as_operand(input), pool=pool)[0]
