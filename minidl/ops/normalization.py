"""Normalisation: one primitive that brings mean 0 and variance 1 to groups of elements, and what stands on it.

Batch, layer, group and instance normalisation differ in which elements form a group, and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import tape
from ..autograd.mode import MODE
from ..autograd.tape import LISTENERS, Primitive, step_by_step, vjp
from ..backend import array_module, on
from ..kernels import norm as kernel
from ..kernels.activation import accumulate
from ..kernels.errors import ShapeError
from ..kernels.pooling import Pool
from ._common import floating, in_float32, is_tensor, same_dtype, tensor_operand
from .activation import cut_grad, relu_up_to
from .elementwise import rsqrt, sqrt
from .inference import circumstances, known
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
    """dx = (g - mean(g) - y mean(g y)) / sqrt(variance + eps): Ioffe and Szegedy 2015, section 3, simplified.

    The statistics are results like y: a second derivative sends cotangents to them too.
    """
    (gy, g_mean, g_variance), (y, _, variance) = g, y
    count = math.prod(x.shape[a] for a in axes)
    shares = []
    if gy is not None:
        shares.append((gy - gy.mean(axes, True) - y * (gy * y).mean(axes, True)) * rsqrt(variance + eps))
    if g_mean is not None:
        shares.append((g_mean / count).expand(x.shape))
    if g_variance is not None:  # d variance / dx = 2 (x - mean) / count
        shares.append(g_variance * sqrt(variance + eps) * (2 / count) * y)
    return (sum(shares[1:], shares[0]),)


_standardize: Primitive = Primitive("standardize", _standardize_forward, joint=vjp(_standardize_rule, uses="y"))


def _batch_norm_rule(
    g: Any, y: Any, x: Any, weight: Any, bias: Any, *, needs: tuple[bool, ...], eps: float
) -> tuple[Any, Any, Any]:
    """As for ``standardize``, with weight and bias.  One kernel does it, unless it has to be differentiated itself."""
    (gy, g_mean, g_variance), (_, mean, variance) = g, y
    if gy is not None and g_mean is None and g_variance is None and not MODE.recording:
        dx, dweight, dbias = _batch_norm_grad(gy, x, weight, mean, variance, eps=eps)
        return dx, _like(dweight, weight), _like(dbias, bias)
    shape, axes = _per_channel(x), (0, *range(2, x.ndim))
    count = math.prod(x.shape) // x.shape[1]
    centred = x.to(mean.dtype) - mean.reshape(shape)
    shares, dweight, dbias = [], None, None
    if gy is not None:
        gy = gy.to(mean.dtype)
        deviation = rsqrt(variance + eps).reshape(shape)
        normal = centred * deviation
        dweight, dbias = (gy * normal).sum(axes), gy.sum(axes)
        slope = deviation if weight is None else deviation * weight.reshape(shape)
        shares.append((gy - gy.mean(axes, True) - normal * (gy * normal).mean(axes, True)) * slope)
    if g_mean is not None:
        shares.append((g_mean / count).reshape(shape).expand(x.shape))
    if g_variance is not None:
        shares.append(g_variance.reshape(shape) * (2 / count) * centred)
    return _like(sum(shares[1:], shares[0]), x), _like(dweight, weight), _like(dbias, bias)


def _like(gradient: Any, argument: Any) -> Any:
    """The gradient of an argument, which may be float16 where statistics are float32; None where either is."""
    return None if gradient is None or argument is None else gradient.to(argument.dtype)


_batch_norm: Primitive = Primitive(
    "batch_norm",
    lambda x, weight, bias, *, eps: kernel.batch_norm(x, weight, bias, eps),
    joint=vjp(_batch_norm_rule, uses="x weight y1 y2"),
)
_batch_norm_grad: Primitive = Primitive(
    "batch_norm_grad",
    lambda g, x, weight, mean, variance, *, eps: kernel.batch_norm_grad(g, x, weight, mean, variance, eps),
)


def _batch_norm_relu_rule(
    g: Any,
    y: Any,
    x: Any,
    weight: Any,
    bias: Any,
    added: Any,
    *,
    needs: tuple[bool, ...],
    eps: float,
    ceiling: float,
    into: Any = None,
) -> tuple[Any, ...]:
    (gy, g_mean, g_variance), (positive, mean, variance) = g, y
    if gy is not None and g_mean is None and g_variance is None and not MODE.recording:
        last = None if added is None else positive
        dx, dweight, dbias, *dadded = _batch_norm_relu_grad(
            gy, x, weight, bias, mean, variance, last, eps=eps, ceiling=ceiling, into=into
        )
        return dx if into is None else None, _like(dweight, weight), _like(dbias, bias), dadded[0] if dadded else None
    kept = None if gy is None else cut_grad(gy, positive, ceiling)
    gradients = _batch_norm_rule((kept, g_mean, g_variance), y, x, weight, bias, needs=needs[:3], eps=eps)
    if into is not None:
        accumulate(into, gradients[0]._array)
        gradients = None, *gradients[1:]
    return *gradients, None if added is None else kept


# where it spares passes over memory, see kernels.norm.takes_relu
_batch_norm_relu: Primitive = Primitive(
    "batch_norm_relu",
    lambda x, weight, bias, added, *, eps, ceiling: kernel.batch_norm_relu(x, weight, bias, eps, added, ceiling),
    joint=vjp(_batch_norm_relu_rule, uses="x weight bias y"),
    adds=0,
)
_batch_norm_relu_grad: Primitive = Primitive(
    "batch_norm_relu_grad",
    lambda g, x, weight, bias, mean, variance, y, *, eps, ceiling, into: kernel.batch_norm_relu_grad(
        g, x, weight, bias, mean, variance, eps, y, ceiling, into
    ),
)
_scale_shift_relu: Primitive = Primitive(
    "scale_shift_relu",
    lambda x, scale, shift, added, *, ceiling: kernel.scale_shift_relu(x, scale, shift, added, ceiling),
)


def _scale_shift_rule(g: Any, y: Any, x: Any, scale: Any, shift: Any, *, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    axes = (0, *range(2, g.ndim))
    if needs[0] and needs[1] and not MODE.recording:
        dx, dscale, dshift = _scale_shift_grad(g, x, scale)
    else:
        dx = _scale_shift(g, scale, None) if needs[0] else None
        wide = g.to(scale.dtype)
        dscale = (wide * x).sum(axes) if needs[1] else None
        dshift = wide.sum(axes) if needs[2] else None
    return dx, dscale, dshift if needs[2] else None


_scale_shift: Primitive = Primitive(
    "scale_shift",
    lambda x, scale, shift: kernel.scale_shift(x, scale, shift),
    joint=vjp(_scale_shift_rule, uses="x scale"),
)
_scale_shift_grad: Primitive = Primitive("scale_shift_grad", lambda g, x, scale: kernel.scale_shift_grad(g, x, scale))


def _group_norm_rule(
    g: Any, y: Any, x: Any, weight: Any, bias: Any, *, needs: tuple[bool, ...], groups: int, eps: float
) -> tuple[Any, Any, Any]:
    """As for batch norm, with statistics (N, groups)."""
    (gy, g_mean, g_variance), (_, mean, variance) = g, y
    if gy is not None and g_mean is None and g_variance is None and not MODE.recording:
        settings: dict[str, Any] = {"groups": groups, "eps": eps, "parameters": needs[1] or needs[2]}
        dx, *found = _group_norm_grad(gy, x, weight, mean, variance, **settings)
        dweight, dbias = found or (None, None)
        return dx, _like(dweight, weight), _like(dbias, bias)
    count = math.prod(x.shape[1:]) // groups
    shape, axes = (x.shape[0], groups, count), (0, *range(2, x.ndim))
    centred = x.to(mean.dtype).reshape(shape) - mean.unsqueeze(2)
    shares, dweight, dbias = [], None, None
    if gy is not None:
        gy, deviation = gy.to(mean.dtype), rsqrt(variance + eps).unsqueeze(2)
        normal = centred * deviation
        dweight, dbias = (gy * normal.reshape(x.shape)).sum(axes), gy.sum(axes)
        slope = (gy if weight is None else gy * weight.reshape(_per_channel(x))).reshape(shape)
        shares.append((slope - slope.mean(2, True) - normal * (slope * normal).mean(2, True)) * deviation)
    if g_mean is not None:
        shares.append((g_mean / count).unsqueeze(2).expand(shape))
    if g_variance is not None:
        shares.append(g_variance.unsqueeze(2) * (2 / count) * centred)
    return _like(sum(shares[1:], shares[0]).reshape(x.shape), x), _like(dweight, weight), _like(dbias, bias)


# layer and instance norm too, on a device, where nobody wants the steps
_group_norm: Primitive = Primitive(
    "group_norm",
    lambda x, weight, bias, *, groups, eps: kernel.group_norm(x, groups, weight, bias, eps),
    joint=vjp(_group_norm_rule, uses="x weight y1 y2"),
)
_group_norm_grad: Primitive = Primitive(
    "group_norm_grad",
    lambda g, x, weight, mean, variance, *, groups, eps, parameters: kernel.group_norm_grad(
        g, x, groups, weight, mean, variance, eps, parameters=parameters
    )[: 3 if parameters else 1],
)


def _in_one(x: Any) -> bool:
    """Whether a kernel does all of a norm over groups, and nobody wants the steps."""
    return kernel.groups_have_a_kernel(x._array) and not step_by_step()


def _input(input: Any, *parameters: Any) -> Any:
    """Whole numbers count as floating ones only where no parameter says which: PyTorch refuses them beside weights."""
    return floating(input) if all(p is None for p in parameters) else tensor_operand(input)


def _check_parameters(op: str, x: Any, shape: tuple[int, ...], **parameters: Any) -> None:
    """Each parameter that is there has ``shape`` and the dtype of x."""
    same_dtype(op, x, *parameters.values())
    for name, parameter in parameters.items():
        if parameter is not None and parameter.shape != shape:
            raise ShapeError(
                f"{op}: the {name} must have shape {shape} for an input of {x.shape}, not {parameter.shape}"
                f"{_channels_last(x, parameter)}"
            )


def _channels_last(x: Any, parameter: Any) -> str:
    if x.ndim > 2 and parameter.shape == x.shape[-1:]:
        return ": the input looks channels-last, try input.movedim(-1, 1)"
    return ""


def _affine(x: Any, weight: Any, bias: Any, shape: tuple[int, ...]) -> Any:
    """``x * weight + bias``, both laid along ``shape``."""
    if weight is not None and bias is not None and shape[1:2] == (-1,):
        return _scale_shift(x, weight, bias)
    if weight is not None:
        x = x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def _per_channel(x: Any) -> tuple[int, ...]:
    return (1, -1) + (1,) * (x.ndim - 2)


def _track(running_mean: Any, running_var: Any, mean: Any, variance: Any, count: int, momentum: float) -> None:
    """Move the running statistics (C,) towards those of this batch, (C,) or of each sample (N, C, 1...), the variance
    unbiased.  On the arrays: it is no operation of the network, and a hundred layers do it in each step."""
    with on(running_mean.device):
        arrays = [v._array for v in (mean, variance)]
        new, spread = (a if a.ndim == 1 else a.mean(axis=0).reshape(-1) for a in arrays)
        kernel.track(running_mean._array, running_var._array, new, spread, count, momentum)
    for running in (running_mean, running_var):
        running._storage.version += 1


def _check_running(op: str, x: Any, running_mean: Any, running_var: Any, needed: bool) -> None:
    if (running_mean is None) != (running_var is None) or (needed and running_mean is None):
        given = [n for n, v in (("running_mean", running_mean), ("running_var", running_var)) if v is not None]
        raise ValueError(f"{op}: give both running_mean and running_var, got {' and '.join(given) or 'neither'}")
    for name, stat in (("running_mean", running_mean), ("running_var", running_var)):
        if stat is not None and stat.shape != (x.shape[1],):
            raise ShapeError(
                f"{op}: {name} has shape {stat.shape}, but the input {x.shape} (N, C, ...) has {x.shape[1]} channels"
                f"{_channels_last(x, stat)}"
            )


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
    Otherwise the running statistics are used as constants (without any, those of the batch).  ``input`` (N, C) or
    (N, C, *).

    Raises ShapeError where a channel has one value only while training: its variance would be 0.

    >>> import minidl
    >>> x = minidl.tensor([[1.0, 10.0], [3.0, 30.0]])
    >>> minidl.nn.functional.batch_norm(x, None, None, training=True, eps=0.0)
    tensor([[-1., -1.],
            [ 1.,  1.]])
    """
    x = _batch_norm_input(input, running_mean, running_var, weight, bias)
    if not training and running_mean is not None:
        return _scale_shift(x, *running_scale(_computed(x), running_mean, running_var, weight, bias, eps))
    y, mean, variance = _batch_norm(x, weight, bias, eps=_checked_eps(x, training, eps))
    if training and running_mean is not None:
        _track_batch(running_mean, running_var, x, mean, variance, momentum)
    return y


def _readable(x: Any) -> Any:
    """x in float32 under ``autocast``, unless kernels read float16 and compute in float32 themselves."""
    return x if kernel.reads_half(x._array) else in_float32(x)


def _computed(x: Any) -> Any:
    """The dtype of what is computed with x: statistics, and scale and shift."""
    return np.dtype("float32") if kernel.reads_half(x._array) else x.dtype


def _batch_norm_input(input: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any) -> Any:
    x = _readable(_input(input, weight, bias))
    if x.ndim < 2:
        raise ShapeError(f"batch_norm: the input must be (N, C) or (N, C, ...), not {x.shape}")
    _check_parameters("batch_norm", x, (x.shape[1],), weight=weight, bias=bias)
    _check_running("batch_norm", x, running_mean, running_var, needed=False)
    return x


def _checked_eps(x: Any, training: bool, eps: float) -> float:
    """``eps`` as a number, where the batch is large enough to train with."""
    count = math.prod((x.shape[0], *x.shape[2:]))
    if training and count <= 1:
        raise ShapeError(
            f"batch_norm: with an input of shape {x.shape} each channel has {count} value to take the variance of: "
            "use a larger batch, or eval()"
        )
    return float(eps)


def _track_batch(running_mean: Any, running_var: Any, x: Any, mean: Any, variance: Any, momentum: float) -> None:
    count = math.prod((x.shape[0], *x.shape[2:]))
    _track(running_mean, running_var, mean, variance, count, momentum)


def batch_norm_relu(
    input: Any,
    residual: Any,
    ceiling: float,
    running_mean: Any,
    running_var: Any,
    weight: Any,
    bias: Any,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    """``relu(batch_norm(...) + residual)``, ending at ``ceiling``; one primitive where a kernel can and nobody wants
    the steps."""
    found = call = None
    if not training and running_mean is not None and _is_quiet(input, residual):
        found = known(running_mean, running_var, weight, bias)
        call = _call(input._array), None if residual is None else _call(residual._array), ceiling, eps, circumstances()
        program = None if found is None else found.programs.get(call)
        if program is not None:
            return tape.Tensor._wrap(program.run([v._array for v in (input, residual) if v is not None]))
    input, residual = (_readable(v) if is_tensor(v) else v for v in (input, residual))
    if is_tensor(input) and is_tensor(residual) and input.dtype != residual.dtype:
        residual = in_float32(residual)
    if step_by_step() or not _fuses(input, residual):
        y = batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
        return relu_up_to(ceiling, y if residual is None else y + residual)
    x = _batch_norm_input(input, running_mean, running_var, weight, bias)
    if not training and running_mean is not None:
        scale, shift = running_scale(_computed(x), running_mean, running_var, weight, bias, eps)
        if MODE.recording:
            y = _scale_shift(x, scale, shift)
            return relu_up_to(ceiling, y if residual is None else y + residual)
        if found is None or call in found.programs:
            return _scale_shift_relu(x, scale, shift, residual, ceiling=ceiling)
        added = None if residual is None else residual._array
        y, program = kernel.learn_scale_shift_relu(x._array, scale, shift, added, ceiling, constants=found.constants)
        found.keep(call, program)
        return tape.Tensor._wrap(y)
    y, mean, variance = _batch_norm_relu(x, weight, bias, residual, eps=_checked_eps(x, training, eps), ceiling=ceiling)
    if training and running_mean is not None:
        _track_batch(running_mean, running_var, x, mean, variance, momentum)
    return y


def _is_quiet(*tensors: Any) -> bool:
    """Whether nobody records, listens or chooses another precision, and these (None: absent) lie on the CPU."""
    if MODE.recording or MODE.autocast is not None or LISTENERS:
        return False
    return all(v is None or (is_tensor(v) and type(v._array) is np.ndarray) for v in tensors)


def _call(a: np.ndarray) -> tuple[Any, ...]:
    return a.shape, a.strides, a.dtype


def _fuses(x: Any, residual: Any) -> bool:
    """Whether there is a kernel for all of it: both are tensors on one device, and nothing is broadcast."""
    if not (is_tensor(x) and kernel.takes_relu(x._array)):
        return False
    if residual is None:
        return True
    return is_tensor(residual) and (residual.shape, residual.dtype, residual.device) == (x.shape, x.dtype, x.device)


def running_scale(dtype: Any, mean: Any, variance: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Any]:
    """Scale and shift of each channel in evaluation; arrays do where nobody records or wants the steps."""
    if not (MODE.recording or step_by_step()):
        mean, variance, weight, bias = (None if v is None else v._array for v in (mean, variance, weight, bias))
        return kernel.running_scale(mean, variance, weight, bias, eps, dtype)
    scale = rsqrt(variance.detach() + eps).to(dtype)
    shift = -mean.detach().to(dtype) * scale
    if weight is not None:
        scale, shift = scale * weight, shift * weight
    return scale, shift if bias is None else shift + bias


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
    """Each channel of each sample (N, C, *) normalised over its positions: Ulyanov et al. 2016.

    ``use_input_stats=False`` normalises by the running statistics, as :func:`batch_norm` does in evaluation.

    >>> import minidl
    >>> minidl.nn.functional.instance_norm(minidl.tensor([[[1.0, 3.0], [10.0, 30.0]]]))
    tensor([[[-1.,  1.],
             [-1.,  1.]]])
    """
    x = _input(input, weight, bias)
    if x.ndim < 3:
        raise ShapeError(f"instance_norm: the input must be (N, C, ...) with positions to average over, not {x.shape}")
    _check_parameters("instance_norm", x, (x.shape[1],), weight=weight, bias=bias)
    _check_running("instance_norm", x, running_mean, running_var, needed=not use_input_stats)
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    count = math.prod(x.shape[2:])
    if count <= 1:
        raise ShapeError(
            f"instance_norm: an input of shape {x.shape} has {count} value in each channel of a sample, whose variance "
            "is 0: normalise before the positions are pooled away, or use batch_norm"
        )
    one = _in_one(x)
    if one:
        y, mean, variance = _group_norm(x, weight, bias, groups=x.shape[1], eps=float(eps))
    else:
        y, mean, variance = _standardize(x, axes=tuple(range(2, x.ndim)), eps=float(eps))
    if running_mean is not None and x.shape[0]:
        _track(running_mean, running_var, mean, variance, count, momentum)
    return y if one else _affine(y, weight, bias, _per_channel(x))


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Each sample normalised over ``num_groups`` groups of neighbouring channels: Wu and He 2018.

    (N, C, *), of which ``num_groups`` must divide C; ``weight`` and ``bias`` are (C,).

    >>> import minidl
    >>> minidl.nn.functional.group_norm(minidl.tensor([[1.0, 3.0, 10.0, 30.0]]), 2)
    tensor([[-1.,  1., -1.,  1.]])
    """
    x = _input(input, weight, bias)
    if x.ndim < 2 or num_groups < 1 or x.shape[1] % num_groups:
        raise ShapeError(
            f"group_norm: {num_groups} groups do not divide the channels (axis 1) of an input of shape {x.shape}"
        )
    _check_parameters("group_norm", x, (x.shape[1],), weight=weight, bias=bias)
    if _in_one(x):
        return _group_norm(x, weight, bias, groups=num_groups, eps=float(eps))[0]
    grouped = x.reshape(x.shape[0], num_groups, math.prod(x.shape[1:]) // num_groups)  # (N, G, C/G*H*W)
    y = _standardize(grouped, axes=(2,), eps=float(eps))[0].reshape(x.shape)
    return _affine(y, weight, bias, _per_channel(x))


def _trailing(op: str, x: Any, normalized_shape: int | Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """``normalized_shape`` as a tuple, and the last axes of x, which it describes."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or x.shape[-len(shape) :] != shape:
        hint = ""
        if x.ndim > 2 and shape == x.shape[1:2]:
            hint = ": axis 1 has that length; bring it last with input.movedim(1, -1), or use group_norm"
        raise ShapeError(f"{op}: the input {x.shape} does not end in normalized_shape {shape}{hint}")
    return shape, tuple(range(x.ndim - len(shape), x.ndim))


def layer_norm(
    input: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Each sample normalised over its last axes, which have ``normalized_shape``: Ba, Kiros and Hinton 2016.

    ``weight`` and ``bias`` have ``normalized_shape`` too.

    >>> import minidl
    >>> minidl.nn.functional.layer_norm(minidl.tensor([[1.0, 3.0], [10.0, 30.0]]), 2)
    tensor([[-1.,  1.],
            [-1.,  1.]])
    """
    x = _input(input, weight, bias)
    shape, axes = _trailing("layer_norm", x, normalized_shape)
    _check_parameters("layer_norm", x, shape, weight=weight, bias=bias)
    if _in_one(x):
        rows = x.reshape(math.prod(x.shape[: axes[0]]), math.prod(shape))  # a group of one position
        weight, bias = (None if v is None else v.reshape(-1) for v in (weight, bias))
        return _group_norm(rows, weight, bias, groups=1, eps=float(eps))[0].reshape(x.shape)
    y = _standardize(x, axes=axes, eps=float(eps))[0]
    return _affine(y, weight, bias, shape)


def rms_norm(input: Any, normalized_shape: int | Sequence[int], weight: Any = None, eps: float | None = None) -> Any:
    """``x / sqrt(mean(x^2) + eps)`` over the last axes: Zhang and Sennrich 2019.  ``eps`` defaults to the dtype's.

    >>> import minidl
    >>> minidl.nn.functional.rms_norm(minidl.tensor([[3.0, -3.0]]), 2)
    tensor([[ 1., -1.]])
    """
    x = _input(input, weight)
    shape, axes = _trailing("rms_norm", x, normalized_shape)
    _check_parameters("rms_norm", x, shape, weight=weight)
    small = float(np.finfo(x.dtype).eps) if eps is None else eps
    return _affine(x * rsqrt((x * x).mean(axes, True) + small), weight, None, shape)


def local_response_norm(
    input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, average: bool = True
) -> Any:
    """Divides by a power of the energy of ``size`` neighbouring channels: Krizhevsky et al. 2012, section 3.3.

    ``x / (k + alpha * E) ** beta``, where E is the *mean* of the squares over the window (PyTorch, Caffe; zeros
    beyond the first and last channel count), or with ``average=False`` their *sum* (the paper, whose alpha is
    therefore ``size`` times smaller).

    >>> import minidl
    >>> x = minidl.tensor([[1.0, 2.0, 3.0]])  # energies, as sums: 5, 14, 13
    >>> minidl.nn.functional.local_response_norm(x, 3, alpha=1.0, beta=1.0, k=0.0, average=False)
    tensor([[0.2   , 0.1429, 0.2308]])
    """
    x = floating(input)
    if x.ndim < 2:
        raise ShapeError(f"local_response_norm: the input must be (N, C, ...), not {x.shape}")
    if size < 1:
        raise ValueError(f"local_response_norm: the window must hold at least one channel, not {size}")
    if not x.numel():
        return x.clone()
    rows = (x * x).reshape(x.shape[0], 1, x.shape[1], math.prod(x.shape[2:]))  # (N, 1, C, H*W)
    pool = Pool.from_shape(rows.shape, (size, 1), 1, ((size // 2, (size - 1) // 2), (0, 0)), op="local_response_norm")
    energy = _avg_pool(rows, pool=pool, include_pad=True, divisor=None if average else 1)
    return x * (energy.reshape(x.shape) * alpha + k) ** -beta
