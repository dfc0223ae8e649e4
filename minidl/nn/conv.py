"""Convolutions and transposed convolutions: one class of each kind for any number of axes, a name for each number."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..autograd.mode import MODE
from ..kernels.geometry import Ints, Padding, per_axis, per_axis_pads
from ..ops._common import is_tensor
from ..ops.conv import Statistics, conv_relu, conv_then
from . import functional as F
from .hooks import say_where
from .linear import default_init, new_parameter, positive
from .module import Module, Registered, is_watched

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What both kinds share: checked settings, parameters and ``repr``."""

    ndim: ClassVar[int]
    transposed: ClassVar[bool]
    function: ClassVar[Callable[..., Any]]
    padding: Any
    weight: Any = Registered("_parameters")
    bias: Any = Registered("_parameters")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints,
        padding: Padding,
        dilation: Ints,
        output_padding: Ints,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
        algorithm: str | None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        positive(name, in_channels=in_channels, out_channels=out_channels, groups=groups)
        for what, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(
                    f"{name}: groups = {groups} must divide {what} = {channels}, but {channels} / {groups} = "
                    f"{channels / groups:g}; a depthwise convolution has groups = in_channels"
                )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = per_axis(kernel_size, self.ndim, "kernel_size")
        self.stride = per_axis(stride, self.ndim, "stride")
        self.dilation = per_axis(dilation, self.ndim, "dilation")
        for what in ("kernel_size", "stride", "dilation"):
            positive(name, **{f"{what}[{axis}]": n for axis, n in enumerate(getattr(self, what))})
        self._pads = per_axis_pads(padding, name, self.kernel_size, self.stride, self.dilation)
        if any(n < 0 for pair in self._pads for n in pair):
            raise ValueError(f"{name}: padding must not be negative, got {padding!r}; to crop use nn.functional.pad")
        if isinstance(padding, str):
            self.padding = padding
        elif all(low == high for low, high in self._pads):
            self.padding = tuple(low for low, _ in self._pads)
        else:
            self.padding = self._pads
        self.output_padding = per_axis(output_padding, self.ndim, "output_padding")
        self.groups = groups
        self.padding_mode = padding_mode
        self.algorithm = algorithm
        left, right = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        self.weight = new_parameter(left, right // groups, *self.kernel_size, device=device, dtype=dtype)
        self.register_parameter("bias", new_parameter(out_channels, device=device, dtype=dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new values."""
        default_init(self.weight, self.bias)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if isinstance(self.padding, str) or any(n for pair in self._pads for n in pair):
            text += f", padding={self.padding}"
        if any(d != 1 for d in self.dilation):
            text += f", dilation={self.dilation}"
        if any(self.output_padding):
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _Conv(_ConvNd):
    """A convolution over ``ndim`` axes.  Further arguments and formulas: :class:`Conv2d`."""

    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints = 1,
        padding: Padding = 0,
        dilation: Ints = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        algorithm: str | None = None,
    ) -> None:
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"{type(self).__name__}: padding_mode must be one of {', '.join(_PADDING_MODES)}, not {padding_mode!r}"
            )
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode, device,
            dtype, algorithm,
        )  # fmt: skip

    def forward(self, input: Any) -> Any:
        if self.finishes(input):
            return self.finish(input)
        padding = self.padding
        if self.padding_mode != "zeros":
            from_last_axis = [n for pair in reversed(self._pads) for n in pair]
            input, padding = F.pad(input, from_last_axis, self.padding_mode), 0
        return type(self).function(
            input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups, algorithm=self.algorithm
        )

    def then_relu(
        self, input: Any, residual: Any = None, ceiling: float = math.inf, *, behind: Module | None = None
    ) -> Any:
        """``relu(self(input) + residual)`` in the passes over memory that the convolution alone takes.

        That is on the CPU, where nobody watches; with a residual where nobody asks for gradients either.
        """
        if behind is not None:
            input = behind(input)
        if self.finishes(input, residual):
            return self.finish(input, residual=residual, ceiling=ceiling)
        if residual is not None or not self._does_all_itself(input, None):
            return super().then_relu(input, residual, ceiling)
        try:
            return conv_relu(
                self.ndim, input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups,
                self.algorithm, ceiling,
            )  # fmt: skip
        except Exception as error:  # as where the module is called
            say_where(error, self)
            raise

    def finishes(self, input: Any, residual: Any = None) -> bool:
        """Whether what comes behind may be done to the results of this convolution before it writes them.

        So it is on the CPU, where nobody asks for gradients or watches.
        """
        return not MODE.recording and self._does_all_itself(input, residual)

    def _does_all_itself(self, input: Any, residual: Any) -> bool:
        """Whether a convolution is all that happens when it is called, on the CPU, in one dtype."""
        if MODE.autocast is not None or is_watched(self) or self.padding_mode != "zeros":
            return False
        if type(self).forward is not _Conv.forward or not is_tensor(input) or input._array.ndim != self.ndim + 2:
            return False
        dtype = self.weight._array.dtype
        return _is_plain(input, dtype) and (residual is None or _is_plain(residual, dtype))

    def finish(
        self, input: Any, norm: Statistics | None = None, residual: Any = None, ceiling: float | None = None
    ) -> Any:
        """``relu(norm(self(input)) + residual)``, where `finishes` allows it.

        ``norm`` for a convolution without a bias; ``ceiling``: where ReLU ends, None: no ReLU.
        """
        try:
            return conv_then(
                input, self.weight, self.stride, self.padding, self.dilation, self.groups, self.algorithm,
                bias=self.bias, norm=norm, residual=residual, ceiling=ceiling,
            )  # fmt: skip
        except Exception as error:  # as where the module is called
            say_where(error, self)
            raise


def _is_plain(value: Any, dtype: np.dtype) -> bool:
    """Whether it is a tensor on the CPU, of ``dtype``."""
    return is_tensor(value) and type(value._array) is np.ndarray and value._array.dtype == dtype


class Conv1d(_Conv):
    """Convolution of (N, C, L) or (C, L); arguments as :class:`Conv2d`.

    >>> import minidl
    >>> minidl.nn.Conv1d(16, 33, 3, stride=2)(minidl.randn(20, 16, 50)).shape
    (20, 33, 24)
    """

    ndim = 1
    function = staticmethod(F.conv1d)


class Conv2d(_Conv):
    """Convolution (cross-correlation, as everywhere in deep learning) of (N, C, H, W) or (C, H, W).

    Args:
        in_channels, out_channels: C and K; both must be multiples of ``groups``.
        kernel_size: (R, S), or one number for both.
        stride: step of the window for each axis.
        padding: one number, one for each axis, one (low, high) pair for each axis, "valid" or "same" (stride 1 only).
        dilation: distance of the kernel's taps for each axis.
        groups: the channels fall into this many groups that do not see each other; C of them is depthwise.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        algorithm: "direct", "im2col", "fft", ... to force one; None lets the planner choose.

    Parameters: ``weight`` (K, C/groups, R, S) and ``bias`` (K,), from U(-b, b) with b = 1/sqrt(C/groups * R * S).
    The result has P = (H + low + high - dilation * (R - 1) - 1) // stride + 1 rows; columns likewise.

    >>> import minidl
    >>> layer = minidl.nn.Conv2d(3, 8, (3, 5), stride=(2, 1), padding=(1, 2))
    >>> layer
    Conv2d(3, 8, kernel_size=(3, 5), stride=(2, 1), padding=(1, 2))
    >>> layer(minidl.randn(4, 3, 9, 11)).shape
    (4, 8, 5, 11)
    """

    ndim = 2
    function = staticmethod(F.conv2d)


class Conv3d(_Conv):
    """Convolution of (N, C, D, H, W) or (C, D, H, W); arguments as :class:`Conv2d`.

    >>> import minidl
    >>> minidl.nn.Conv3d(2, 3, (3, 2, 1))(minidl.randn(1, 2, 5, 6, 7)).shape
    (1, 3, 3, 5, 7)
    """

    ndim = 3
    function = staticmethod(F.conv3d)


class _ConvTranspose(_ConvNd):
    """A transposed convolution over ``ndim`` axes.  Further arguments and formulas: :class:`ConvTranspose2d`."""

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints = 1,
        padding: Padding = 0,
        output_padding: Ints = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Ints = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        algorithm: str | None = None,
    ) -> None:
        name = type(self).__name__
        if padding_mode != "zeros":
            raise ValueError(
                f"{name}: a transposed convolution crops its result, so padding_mode must be 'zeros', not "
                f"{padding_mode!r}"
            )
        if isinstance(padding, str):
            raise ValueError(
                f"{name}: padding must be numbers, {padding!r} has no meaning for a transposed convolution"
            )
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups, bias,
            padding_mode, device, dtype, algorithm,
        )  # fmt: skip

    def forward(self, input: Any, output_size: Sequence[int] | None = None) -> Any:
        if output_size is not None:
            output_size = tuple(output_size)[-self.ndim :]
        return type(self).function(
            input, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation,
            output_size=output_size, algorithm=self.algorithm,
        )  # fmt: skip


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution of (N, C, L) or (C, L); arguments as :class:`ConvTranspose2d`.

    >>> import minidl
    >>> minidl.nn.ConvTranspose1d(8, 4, 3, stride=2)(minidl.randn(1, 8, 5)).shape
    (1, 4, 11)
    """

    ndim = 1
    function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_ConvTranspose):
    """The transpose of a convolution (its gradient with respect to the input): (N, C, H, W) to (N, K, P, Q).

    Arguments as :class:`Conv2d` has them for the convolution that leads back from the result to the input.  With a
    stride several result sizes lead back to one input size: ``output_padding`` says which one, or ``output_size`` in
    the call.

    Parameters: ``weight`` (C, K/groups, R, S) and ``bias`` (K,).
    The result has P = (H - 1) * stride - 2 * padding + dilation * (R - 1) + output_padding + 1 rows.

    >>> import minidl
    >>> up = minidl.nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1)
    >>> x = minidl.randn(1, 8, 5, 5)
    >>> up(x).shape, up(x, output_size=(10, 10)).shape
    ((1, 4, 9, 9), (1, 4, 10, 10))
    """

    ndim = 2
    function = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution of (N, C, D, H, W) or (C, D, H, W); arguments as :class:`ConvTranspose2d`.

    >>> import minidl
    >>> minidl.nn.ConvTranspose3d(8, 4, 2, stride=2)(minidl.randn(1, 8, 2, 3, 4)).shape
    (1, 4, 4, 6, 8)
    """

    ndim = 3
    function = staticmethod(F.conv_transpose3d)
