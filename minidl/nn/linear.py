"""Layers that multiply by a matrix, and the one that does nothing."""

from __future__ import annotations

import math
from typing import Any

from ..ops import empty, zeros
from . import functional as F
from . import init
from .module import Module, Registered
from .parameter import Parameter


def positive(layer: str, **sizes: int) -> None:
    """Refuse sizes that are not whole numbers above zero, before anything is allocated."""
    for name, value in sizes.items():
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
            raise ValueError(f"{layer}: {name} must be a whole number of at least 1, got {value!r}")


def new_parameter(*shape: int, device: Any = None, dtype: Any = None) -> Parameter:
    """A parameter whose values the caller fills in; inside of ``utils.skip_init`` one zero seen from every place."""
    if init.SKIPPING.on:
        return Parameter(zeros((), dtype=dtype, device=device or "cpu").expand(shape))
    return Parameter(empty(shape, dtype=dtype, device=device or "cpu"))


class Identity(Module):
    """Gives back its input, whatever its arguments were: a place for a layer to come.

    >>> import minidl
    >>> minidl.nn.Identity()(minidl.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Linear(Module):
    """``x W^T + b``: (*, in_features) to (*, out_features).

    Parameters: ``weight`` (out_features, in_features) and ``bias`` (out_features,), both from
    U(-1/sqrt(in_features), 1/sqrt(in_features)), as in PyTorch.

    >>> import minidl
    >>> layer = minidl.nn.Linear(20, 30)
    >>> layer(minidl.randn(128, 20)).shape
    (128, 30)
    """

    weight: Any = Registered("_parameters")
    bias: Any = Registered("_parameters")

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        sizes = {"in_features": in_features, "out_features": out_features}
        # none is a size too, as in PyTorch: a branch without inputs, a head that a class is yet to be added to
        positive("Linear", **{name: n for name, n in sizes.items() if not (type(n) is int and n == 0)})
        self.in_features = in_features
        self.out_features = out_features
        self.weight = new_parameter(out_features, in_features, device=device, dtype=dtype)
        self.register_parameter("bias", new_parameter(out_features, device=device, dtype=dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new values."""
        default_init(self.weight, self.bias)

    def forward(self, input: Any) -> Any:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def default_init(weight: Parameter, bias: Parameter | None) -> None:
    """PyTorch's choice for linear layers and convolutions: everything from U(-1/sqrt(fan in), 1/sqrt(fan in))."""
    if weight.numel():
        init.kaiming_uniform_(weight, a=math.sqrt(5))  # its gain, sqrt(2 / 6), leaves just 1/sqrt(fan in)
    if bias is not None:
        bound = 1 / math.sqrt(max(1, init.fan_in_and_fan_out(weight)[0]))
        init.uniform_(bias, -bound, bound)


class Bilinear(Module):
    """``x1^T W_k x2 + b_k`` for each output k: (*, in1_features) and (*, in2_features) to (*, out_features).

    Parameters: ``weight`` (out_features, in1_features, in2_features), ``bias`` (out_features,).

    >>> import minidl
    >>> minidl.nn.Bilinear(2, 3, 5)(minidl.randn(4, 2), minidl.randn(4, 3)).shape
    (4, 5)
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        positive("Bilinear", in1_features=in1_features, in2_features=in2_features, out_features=out_features)
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.weight = new_parameter(out_features, in1_features, in2_features, device=device, dtype=dtype)
        self.register_parameter("bias", new_parameter(out_features, device=device, dtype=dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new values from U(-1/sqrt(in1_features), 1/sqrt(in1_features))."""
        bound = 1 / math.sqrt(self.in1_features)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, input1: Any, input2: Any) -> Any:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
