"""Multiply-accumulates of a model, counted from what ran on an empty batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from .autograd import no_grad
from .autograd.tape import Listener, Primitive
from .nn import Module
from .nn.modes import modes_kept
from .nn.normalization import _BatchNorm
from .ops import zeros


def _size(shape: Sequence[int]) -> int:
    """Elements of ``shape``; an empty axis, the batch, counts as 1."""
    return math.prod(max(n, 1) for n in shape)


def call_macs(primitive: Primitive, args: Sequence[Any], attrs: dict[str, Any], output: Any) -> int:
    """Multiply-accumulates of one call of a primitive for its whole batch, an empty batch counted as one image.

    Products of matrices and (transposed) convolutions have some; biases, norms, pooling and activations count 0.
    """
    if primitive.name in ("conv", "conv_input_grad"):
        conv = attrs["conv"]  # a transposed convolution multiplies as often as the convolution that it transposes
        return _size(conv.y_shape) * (conv.in_channels // conv.groups) * math.prod(conv.kernel)
    if primitive.name == "matmul":
        return _size(output.shape) * max(args[0].shape[-1], 1)
    if primitive.name == "einsum" and len(args) > 1:
        sizes = {c: n for letters, x in zip(attrs["inputs"], args) for c, n in zip(letters, x.shape)}
        return _size(tuple(sizes.values()))
    return 0


class _Counter(Listener):
    def __init__(self) -> None:
        self.macs = 0

    def on_forward(self, primitive: Primitive, args: Any, attrs: Any, outputs: Any, node: Any) -> None:
        self.macs += call_macs(primitive, args, attrs, outputs[0])


class DryRun(NamedTuple):
    """What :func:`dry_run` found out: the model's result for an empty batch, and the multiply-accumulates."""

    output: Any
    macs: int


def dry_run(model: Module, input_shape: Sequence[int], training: bool = False) -> DryRun:
    """Send an empty batch (0, *input_shape) through ``model``: shapes propagate and nothing is computed.

    In eval mode, or with ``training`` in training mode except for batch norms, which have no statistics of an empty
    batch; afterwards the modes of all modules are as before.  The batch must stay an axis of its own: a model that
    merges it with another one (N*T, as a recurrent net may) has that axis counted as 1 too.

    >>> import minidl
    >>> from minidl._macs import dry_run
    >>> with minidl.nn.utils.skip_init():
    ...     net = minidl.nn.Sequential(minidl.nn.Conv2d(3, 8, 3), minidl.nn.Flatten(), minidl.nn.Linear(8 * 6 * 6, 10))
    >>> output, macs = dry_run(net, (3, 8, 8))
    >>> output.shape, macs == 8 * 6 * 6 * 3 * 3 * 3 + 8 * 6 * 6 * 10
    ((0, 10), True)
    """
    first = next(model.parameters(), None)
    place = {"dtype": first.dtype, "device": first.device} if first is not None else {}
    with modes_kept(model), no_grad(), _Counter() as counter:
        for module in model.modules():
            module.training = training and not isinstance(module, _BatchNorm)
        output = model(zeros(0, *input_shape, **place))
    return DryRun(output, counter.macs)


def count_macs(model: Module, input_shape: Sequence[int]) -> int:
    """Multiply-accumulates of one forward pass for one input of ``input_shape`` (C, H, W), in eval mode.

    Convolutions, transposed convolutions and products of matrices count; biases, norms, pooling and element-wise
    work do not.  Nothing is computed: see :func:`dry_run`.

    >>> import minidl
    >>> count_macs(minidl.nn.Conv2d(3, 64, 3, padding=1), (3, 224, 224))
    86704128
    """
    return dry_run(model, input_shape).macs
