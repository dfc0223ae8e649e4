"""Convolution, transposed convolution, unfold and fold.

Without its bias a convolution is linear in x and in w, and with a cotangent g

    T(x, w, g) = <conv(x, w), g> = <x, input_grad(w, g)> = <w, weight_grad(x, g)>

is linear in all three.  So three primitives are enough, each the gradient of the other two, for derivatives of any
order.  A transposed convolution is ``input_grad`` by another name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..autograd import tape
from ..autograd.mode import MODE
from ..autograd.tape import Primitive, vjp
from ..kernels import conv as kernel
from ..kernels.errors import ShapeError
from ..kernels.geometry import Conv
from ..kernels.norm import add_to_channels, running_scale
from ..kernels.remembered import remembered
from ..kernels.spec import im2col
from ._common import as_operand, batched, same_dtype
from .activation import cut_grad, relu_up_to
from .inference import circumstances, forget, known

Size = int | Sequence[int]

_geometry = remembered(Conv.from_shapes)


def _forward(x: Any, w: Any, b: Any, *, conv: Conv, algorithm: str | None) -> Any:
    return kernel.forward_then(x, w, conv, shift=b, algorithm=algorithm)


_conv: Primitive = Primitive(
    "conv",
    _forward,
    vjp(lambda g, y, x, w, b, *, conv, algorithm: _input_grad(w, g, None, conv=conv, algorithm=algorithm), uses="w"),
    vjp(lambda g, y, x, w, b, *, conv, algorithm: _weight_grad(x, g, conv=conv, algorithm=algorithm), uses="x"),
    vjp(lambda g, y, x, w, b, *, conv, algorithm: _bias_grad(g)),
)


def _transposed(w: Any, g: Any, b: Any, *, conv: Conv, algorithm: str | None) -> Any:
    dx = kernel.input_grad(w, g, conv, algorithm)
    if b is not None:
        add_to_channels(dx, b)
    return dx


_input_grad: Primitive = Primitive(
    "conv_input_grad",
    _transposed,
    vjp(lambda u, y, w, g, b, *, conv, algorithm: _weight_grad(u, g, conv=conv, algorithm=algorithm), uses="g"),
    vjp(lambda u, y, w, g, b, *, conv, algorithm: _conv(u, w, None, conv=conv, algorithm=algorithm), uses="w"),
    vjp(lambda u, y, w, g, b, *, conv, algorithm: _bias_grad(u)),
)
_weight_grad: Primitive = Primitive(
    "conv_weight_grad",
    lambda x, g, *, conv, algorithm: kernel.weight_grad(x, g, conv, algorithm),
    vjp(lambda v, y, x, g, *, conv, algorithm: _input_grad(v, g, None, conv=conv, algorithm=algorithm), uses="g"),
    vjp(lambda v, y, x, g, *, conv, algorithm: _conv(x, v, None, conv=conv, algorithm=algorithm), uses="x"),
)


def _conv_relu_rule(
    g: Any,
    y: Any,
    x: Any,
    w: Any,
    b: Any,
    *,
    conv: Conv,
    algorithm: str | None,
    ceiling: float,
    needs: tuple[bool, ...],
) -> tuple[Any, ...]:
    kept = cut_grad(g, y, ceiling)
    return (
        _input_grad(w, kept, None, conv=conv, algorithm=algorithm) if needs[0] else None,
        _weight_grad(x, kept, conv=conv, algorithm=algorithm) if needs[1] else None,
        _bias_grad(kept) if needs[2] else None,
    )


_conv_relu: Primitive = Primitive(
    "conv_relu",
    lambda x, w, b, *, conv, algorithm, ceiling: kernel.forward_then(
        x, w, conv, shift=b, ceiling=ceiling, algorithm=algorithm
    ),
    joint=vjp(_conv_relu_rule, uses="x w y"),
)
_conv_then: Primitive = Primitive(
    "conv_then",
    lambda x, w, scale, shift, added, *, conv, algorithm, ceiling: kernel.forward_then(
        x, w, conv, scale, shift, added, ceiling, algorithm
    ),
)


def _bias_grad(g: Any) -> Any:
    """Every output of a channel has the bias once: (N, K, *out) -> (K,)."""
    return g.sum((0, *range(2, g.ndim)))


def _check_bias(op: str, bias: Any, channels: int) -> None:
    if bias is not None and bias.shape != (channels,):
        raise ShapeError(
            f"{op}: the bias must have one value for each of the {channels} output channels, not {bias.shape}"
        )


def _check_image(op: str, shape: tuple[int, ...], channels: int) -> None:
    """Say how an input without a batch axis was read, where its channels do not fit."""
    if shape[0] == channels:
        return
    cause = "the channels do not fit, or this is a batch for a convolution of fewer axes"
    if shape[-1] == channels:
        cause = "the image looks channels-last: try x.movedim(-1, 0)"
    elif channels == 1:
        cause = "the channel axis is missing: try x.unsqueeze(1) for a batch, x.unsqueeze(0) for one image"
    raise ShapeError(
        f"{op}: x of {len(shape)} axes, {shape}, is one image (C, ...) with C = {shape[0]}, but w is made for "
        f"C = {channels}; {cause}"
    )


def _conv_nd(
    ndim: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Size,
    padding: Any,
    dilation: Size,
    groups: int,
    algorithm: str | None,
) -> Any:
    x, w, bias, conv, single = _operands(ndim, input, weight, bias, stride, padding, dilation, groups)
    y = _conv(x, w, bias, conv=conv, algorithm=algorithm)
    return y.squeeze(0) if single else y


def _operands(
    ndim: int, input: Any, weight: Any, bias: Any, stride: Size, padding: Any, dilation: Size, groups: int
) -> tuple[Any, Any, Any, Conv, bool]:
    """x (N, C, ...), the weight, the bias, the geometry of their convolution, and whether x was a single image."""
    op = f"conv{ndim}d"
    if MODE.recording:
        forget(weight)
    w, bias = as_operand(weight), None if bias is None else as_operand(bias)
    x, single = batched(input, ndim)
    if w.ndim != ndim + 2:
        raise ShapeError(f"{op}: the weight must have {ndim + 2} axes (K, C/groups, kernel...), not shape {w.shape}")
    same_dtype(op, x, w, bias)
    if single:
        _check_image(op, x.shape[1:], w.shape[1] * groups)
    conv = _geometry(x.shape, w.shape, stride, padding, dilation, groups)
    _check_bias(op, bias, conv.out_channels)
    return x, w, bias, conv, single


def conv_relu(
    ndim: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Size,
    padding: Any,
    dilation: Size,
    groups: int,
    algorithm: str | None,
    ceiling: float,
) -> Any:
    """``relu(conv(input, weight, bias))`` up to ``ceiling``, as one primitive; ``input`` is a batch."""
    x, w, bias, conv, _ = _operands(ndim, input, weight, bias, stride, padding, dilation, groups)
    return _conv_relu(x, w, bias, conv=conv, algorithm=algorithm, ceiling=ceiling)


class Statistics(NamedTuple):
    """Of a batch norm in evaluation, each (C,), the last two may be None."""

    mean: Any
    variance: Any
    weight: Any
    bias: Any
    eps: float


def conv_then(
    input: Any,
    weight: Any,
    stride: Size,
    padding: Any,
    dilation: Size,
    groups: int,
    algorithm: str | None,
    *,
    bias: Any = None,
    norm: Statistics | None = None,
    residual: Any = None,
    ceiling: float | None = None,
) -> Any:
    """``relu(norm(conv(input, weight)) + residual)`` in evaluation, ReLU up to ``ceiling`` (None: without).

    For CPU tensors where nobody records or listens, all but the ``bias`` of one dtype.  ``input`` is a batch.  A
    convolution has a ``bias`` or a ``norm`` behind it, not both.  Errors as :func:`conv2d`.
    """
    x, added = input._array, None if residual is None else residual._array
    found = known(weight, bias) if norm is None else known(weight, *norm[:4])
    if found is not None:
        call = (
            x.shape, x.strides, None if added is None else (added.shape, added.strides), stride, padding, dilation,
            groups, algorithm, norm and norm.eps, ceiling, circumstances(),
        )  # fmt: skip
        try:
            program = found.programs.get(call)
        except TypeError:  # lists among the settings: they may change, so such calls are not remembered
            found = program = None
        if program is not None:
            return tape.Tensor._wrap(program.run((x,) if added is None else (x, added)))
    ndim = len(x.shape) - 2
    _, _, _, conv, _ = _operands(ndim, input, weight, bias, stride, padding, dilation, groups)
    scale, shift = None, None if bias is None else bias._array
    if norm is not None:
        mean, variance, factor, offset = (None if v is None else v._array for v in norm[:4])
        scale, shift = running_scale(mean, variance, factor, offset, norm.eps, x.dtype)
    if added is not None and added.shape != conv.y_shape:
        y = _conv_then(input, weight, scale, shift, None, conv=conv, algorithm=algorithm, ceiling=None) + residual
        return y if ceiling is None else relu_up_to(ceiling, y)
    if found is None or call in found.programs:
        return _conv_then(input, weight, scale, shift, residual, conv=conv, algorithm=algorithm, ceiling=ceiling)
    y, program = kernel.learn_forward_then(
        x, weight._array, conv, scale, shift, added, ceiling, algorithm, constants=found.constants
    )
    found.keep(call, program)
    return tape.Tensor._wrap(y)


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Any = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    algorithm: str | None = None,
) -> Any:
    """Convolution of (N, C, L) or (C, L) with (K, C/groups, kernel), as :func:`conv2d`.

    The result is (N, K, Q); ShapeError with the arithmetic where shapes do not fit, TypeError where dtypes differ.

    >>> import minidl
    >>> x, w = minidl.tensor([[[1.0, 2.0, 4.0, 8.0]]]), minidl.tensor([[[1.0, 1.0]]])
    >>> minidl.nn.functional.conv1d(x, w)
    tensor([[[ 3.,  6., 12.]]])
    >>> minidl.nn.functional.conv1d(x, w, stride=2, padding=1).shape
    (1, 1, 3)
    """
    return _conv_nd(1, input, weight, bias, stride, padding, dilation, groups, algorithm)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Any = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    algorithm: str | None = None,
) -> Any:
    """Cross-correlation of images with filters (what every framework calls convolution).

    ``input`` (N, C, H, W) or (C, H, W); ``weight`` (K, C/groups, R, S); ``bias`` (K,) or None; result (N, K, P, Q).
    ``padding``: an integer, one for each axis, (low, high) pairs, ``"valid"`` or ``"same"`` (stride 1).
    ``algorithm`` forces a kernel ("im2col", "direct", "fft", "winograd", "spec"); None lets the planner choose.

    Raises ShapeError with the arithmetic when shapes do not fit, TypeError when the dtypes differ.

    >>> import minidl
    >>> x = minidl.arange(9.0).reshape(1, 1, 3, 3)
    >>> minidl.nn.functional.conv2d(x, minidl.ones(1, 1, 2, 2))
    tensor([[[[ 8., 12.],
              [20., 24.]]]])
    """
    return _conv_nd(2, input, weight, bias, stride, padding, dilation, groups, algorithm)


def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Any = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    algorithm: str | None = None,
) -> Any:
    """Convolution of (N, C, D, H, W) or (C, D, H, W), as :func:`conv2d`.

    The weight is (K, C/groups, *kernel).

    The result is (N, K, O, P, Q).  ShapeError with the arithmetic where shapes do not fit, TypeError for two dtypes.

    >>> import minidl
    >>> minidl.nn.functional.conv3d(minidl.ones(1, 2, 4, 5, 6), minidl.ones(3, 2, 2, 2, 2)).shape
    (1, 3, 3, 4, 5)
    """
    return _conv_nd(3, input, weight, bias, stride, padding, dilation, groups, algorithm)


def _conv_transpose_nd(
    ndim: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Size,
    padding: Any,
    output_padding: Size,
    groups: int,
    dilation: Size,
    output_size: Sequence[int] | None,
    algorithm: str | None,
) -> Any:
    op = f"conv_transpose{ndim}d"
    w, bias = as_operand(weight), None if bias is None else as_operand(bias)
    x, single = batched(input, ndim)
    if w.ndim != ndim + 2:
        raise ShapeError(f"{op}: the weight must have {ndim + 2} axes (C, K/groups, kernel...), not shape {w.shape}")
    same_dtype(op, x, w, bias)
    conv = Conv.transposed(
        x.shape,
        w.shape,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        output_size=output_size,
        dilation=dilation,
        groups=groups,
    )
    _check_bias(op, bias, conv.in_channels)
    y = _input_grad(w, x, bias, conv=conv, algorithm=algorithm)
    return y.squeeze(0) if single else y


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Any = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    output_size: Sequence[int] | None = None,
    algorithm: str | None = None,
) -> Any:
    """Transposed convolution of (N, C, L) with (C, K/groups, kernel), as :func:`conv_transpose2d`.

    The result is (N, K, Q) with Q = (L - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1.

    >>> import minidl
    >>> x, w = minidl.tensor([[[1.0, 2.0]]]), minidl.tensor([[[1.0, 10.0]]])
    >>> minidl.nn.functional.conv_transpose1d(x, w, stride=2)
    tensor([[[ 1., 10.,  2., 20.]]])
    """
    return _conv_transpose_nd(
        1, input, weight, bias, stride, padding, output_padding, groups, dilation, output_size, algorithm
    )


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Any = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    output_size: Sequence[int] | None = None,
    algorithm: str | None = None,
) -> Any:
    """The transpose of a convolution: sends each input value, times the filter, to where a convolution would read it.

    ``input`` (N, C, P, Q), ``weight`` (C, K/groups, R, S), result (N, K, H, W) with
    ``H = (P - 1) * stride - 2 * padding + dilation * (R - 1) + output_padding + 1``.  Several H give the same P in
    the forward convolution; ``output_padding`` (or ``output_size`` directly) says which one is meant.

    >>> import minidl
    >>> minidl.nn.functional.conv_transpose2d(minidl.ones(1, 1, 1, 1), minidl.ones(1, 1, 2, 3)).shape
    (1, 1, 2, 3)
    """
    return _conv_transpose_nd(
        2, input, weight, bias, stride, padding, output_padding, groups, dilation, output_size, algorithm
    )


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Any = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    output_size: Sequence[int] | None = None,
    algorithm: str | None = None,
) -> Any:
    """Transposed convolution of (N, C, D, H, W) with (C, K/groups, *kernel), as :func:`conv_transpose2d`.

    >>> import minidl
    >>> minidl.nn.functional.conv_transpose3d(minidl.ones(1, 3, 2, 2, 2), minidl.ones(3, 2, 2, 2, 2), stride=2).shape
    (1, 2, 4, 4, 4)
    """
    return _conv_transpose_nd(
        3, input, weight, bias, stride, padding, output_padding, groups, dilation, output_size, algorithm
    )


# ---- unfold and fold: a map and its transpose -----------------------------------------------------------------

_unfold: Primitive = Primitive(
    "unfold",
    lambda x, *, size, window: im2col.im2col(x, **window),
    vjp(lambda g, y, x, *, size, window: _fold(g, size=size, window=window)),
)
_fold: Primitive = Primitive(
    "fold",
    lambda x, *, size, window: im2col.col2im(x, size, **window),
    vjp(lambda g, y, x, *, size, window: _unfold(g, size=size, window=window)),
)


def unfold(input: Any, kernel_size: Size, dilation: Size = 1, padding: Any = 0, stride: Size = 1) -> Any:
    """Every window as a column: (N, C, H, W) -> (N, C * R * S, number of windows).  Also called im2col.

    (C, H, W) is one image, as in PyTorch; volumes (N, C, D, H, W) work alike.

    >>> import minidl
    >>> minidl.nn.functional.unfold(minidl.arange(6.0).reshape(1, 1, 2, 3), 2)[0]
    tensor([[0., 1.],
            [1., 2.],
            [3., 4.],
            [4., 5.]])
    """
    x, single = batched(input, 2)
    if x.ndim not in (4, 5):
        raise ShapeError(f"unfold: the input must be (N, C, H, W), (C, H, W) or (N, C, D, H, W), not {x.shape}")
    window = {"kernel_size": kernel_size, "dilation": dilation, "padding": padding, "stride": stride}
    y = _unfold(x, size=tuple(x.shape[2:]), window=window)
    return y.squeeze(0) if single else y


def fold(
    input: Any, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Any = 0, stride: Size = 1
) -> Any:
    """Columns added back to where :func:`unfold` would have read them: its transpose.  Also called col2im.

    (N, C * R * S, number of windows) -> (N, C, *output_size); without N too.

    >>> import minidl
    >>> columns = minidl.nn.functional.unfold(minidl.ones(1, 1, 3, 3), 2)
    >>> columns.shape
    (1, 4, 4)
    >>> minidl.nn.functional.fold(columns, 3, 2)  # how many windows read each place
    tensor([[[[1., 2., 1.],
              [2., 4., 2.],
              [1., 2., 1.]]]])
    """
    x = as_operand(input)
    single = x.ndim == 2
    window = {"kernel_size": kernel_size, "dilation": dilation, "padding": padding, "stride": stride}
    size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
    y = _fold(x.unsqueeze(0) if single else x, size=size, window=window)
    return y.squeeze(0) if single else y
