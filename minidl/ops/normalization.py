"""Normalisation: one primitive that brings mean 0 and variance 1 to groups of elements, and what stands on it.

Batch, layer, group and instance normalisation differ in which elements form a group, and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..autograd.tape import Primitive, vjp
from ..backend import array_module
from ..kernels.errors import ShapeError
from ..kernels.pooling import Pool
from ._common import as_operand, same_dtype
from .elementwise import rsqrt
from .pooling import _avg_pool


def _standardize_forward(x: Any, *, axes: tuple[int, ...], eps: float) -> Any:
    """(x - mean) / sqrt(variance + eps) over ``axes``, and the two statistics (biased variance), axes kept."""
    xp = array_module(x)
    mean = x.mean(axis=axes, keepdims=True)
    centred = x - mean
    variance = (centred * centred).mean(axis=axes, keepdims=True)
    centred *= 1 / xp.sqrt(variance + x.dtype.type(eps))
    return centred, mean, variance


def _standardize_rule(g: Any, y: Any, x: Any, *, needs: tuple[bool, ...], axes: tuple[int, ...], eps: float) -> Any:
    """dx = (g - mean(g) - y mean(g y)) / sqrt(variance + eps): Ioffe and Szegedy 2015, section 3, simplified."""
    g, y = g[0], y[0]
    scale = rsqrt(x.var(axes, correction=0, keepdim=True) + eps)
    return ((g - g.mean(axes, True) - y * (g * y).mean(axes, True)) * scale,)


_standardize: Primitive = Primitive("standardize", _standardize_forward, joint=vjp(_standardize_rule, uses="x y"))


def _affine(x: Any, weight: Any, bias: Any, shape: tuple[int, ...]) -> Any:
    if weight is not None:
        x = x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def _per_channel(x: Any) -> tuple[int, ...]:
    return (1, -1) + (1,) * (x.ndim - 2)


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Each channel (axis 1) normalised over the batch and all positions: Ioffe and Szegedy 2015.

    Training uses the statistics of this batch and moves the running ones (tensors of C, changed in place) towards
    them by ``momentum``; the running variance takes the unbiased estimate, the normalisation the biased one.
    Otherwise the running statistics are used as constants.  ``input`` (N, C) or (N, C, *).

    Raises ShapeError where a channel has one value only while training: its variance would be 0.
    """
    x = as_operand(input)
    same_dtype("batch_norm", x, weight, bias)
    if x.ndim < 2:
        raise ShapeError(f"batch_norm: the input must be (N, C) or (N, C, ...), not {x.shape}")
    for name, stat in (("running_mean", running_mean), ("weight", weight), ("bias", bias)):
        if stat is not None and stat.shape != (x.shape[1],):
            raise ShapeError(
                f"batch_norm: {name} has shape {stat.shape}, but the input {x.shape} has {x.shape[1]} channels"
            )
    shape = _per_channel(x)
    if not training and running_mean is not None:
        scale = (running_var + eps).rsqrt()
        if weight is not None:
            scale = weight * scale
        shift = -running_mean * scale
        if bias is not None:
            shift = shift + bias
        return x * scale.reshape(shape).to(x.dtype) + shift.reshape(shape).to(x.dtype)
    axes = (0, *range(2, x.ndim))
    count = math.prod(x.shape[a] for a in axes)
    if training and count <= 1:
        raise ShapeError(
            f"batch_norm: with an input of shape {x.shape} each channel has {count} value to take the variance of: "
            "use a larger batch, or eval()"
        )
    y, mean, variance = _standardize(x, axes=axes, eps=eps)
    if training and running_mean is not None:
        for running, new in ((running_mean, mean._array), (running_var, variance._array * (count / (count - 1)))):
            running._array += (new.reshape(-1) - running._array) * running._array.dtype.type(momentum)
            running._storage.version += 1
    return _affine(y, weight, bias, shape)


def layer_norm(
    input: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Each sample normalised over its last axes, which have ``normalized_shape``: Ba, Kiros and Hinton 2016."""
    x = as_operand(input)
    same_dtype("layer_norm", x, weight, bias)
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ShapeError(f"layer_norm: the input {x.shape} does not end in normalized_shape {shape}")
    y = _standardize(x, axes=tuple(range(x.ndim - len(shape), x.ndim)), eps=eps)[0]
    return _affine(y, weight, bias, shape)


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Each sample normalised over ``num_groups`` groups of neighbouring channels: Wu and He 2018."""
    x = as_operand(input)
    same_dtype("group_norm", x, weight, bias)
    if x.ndim < 2 or x.shape[1] % num_groups:
        raise ShapeError(f"group_norm: {num_groups} groups do not divide the channels of an input of shape {x.shape}")
    grouped = x.reshape(x.shape[0], num_groups, math.prod(x.shape[1:]) // num_groups)  # (N, G, C/G*H*W)
    y = _standardize(grouped, axes=(2,), eps=eps)[0].reshape(x.shape)
    return _affine(y, weight, bias, _per_channel(x))


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Each channel of each sample normalised over its positions: Ulyanov et al. 2016."""
    x = as_operand(input)
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    same_dtype("instance_norm", x, weight, bias)
    axes = tuple(range(2, x.ndim))
    count = math.prod(x.shape[2:])
    if count <= 1:
        raise ShapeError(f"instance_norm: an input of shape {x.shape} has one value a channel, whose variance is 0")
    y, mean, variance = _standardize(x, axes=axes, eps=eps)
    if running_mean is not None:
        for running, new in ((running_mean, mean._array), (running_var, variance._array * (count / (count - 1)))):
            batch_mean = new.mean(axis=0).reshape(-1)
            running._array += (batch_mean - running._array) * running._array.dtype.type(momentum)
            running._storage.version += 1
    return _affine(y, weight, bias, _per_channel(x))


def rms_norm(input: Any, normalized_shape: Sequence[int], weight: Any = None, eps: float | None = None) -> Any:
    """``x / sqrt(mean(x^2) + eps)`` over the last axes: Zhang and Sennrich 2019.  ``eps`` defaults to the dtype's."""
    x = as_operand(input)
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ShapeError(f"rms_norm: the input {x.shape} does not end in normalized_shape {shape}")
    import numpy as np

    small = float(np.finfo(x.dtype).eps) if eps is None else eps
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    return _affine(x * rsqrt((x * x).mean(axes, True) + small), weight, None, shape)


def local_response_norm(
    input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, average: bool = True
) -> Any:
    """Divides by a power of the energy of ``size`` neighbouring channels: Krizhevsky et al. 2012, section 3.3.

    ``x / (k + alpha * E) ** beta``, where E is the *mean* of the squares over the window (PyTorch, Caffe; zeros
    beyond the first and last channel count), or with ``average=False`` their *sum* (the paper, whose alpha is
    therefore ``size`` times smaller).
    """
    x = as_operand(input)
    if x.ndim < 2:
        raise ShapeError(f"local_response_norm: the input must be (N, C, ...), not {x.shape}")
    if size < 1:
        raise ValueError(f"local_response_norm: the window must hold at least one channel, not {size}")
    rows = (x * x).reshape(x.shape[0], 1, x.shape[1], math.prod(x.shape[2:]))  # (N, 1, C, H*W)
    pool = Pool.from_shape(rows.shape, (size, 1), 1, ((size // 2, (size - 1) // 2), (0, 0)), op="local_response_norm")
    energy = _avg_pool(rows, pool=pool, include_pad=True, divisor=None if average else 1)
    return x / (energy.reshape(x.shape) * alpha + k) ** beta
