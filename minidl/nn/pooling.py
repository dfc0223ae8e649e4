"""Pooling layers: windows without parameters.  The rules (padding, ties, ceil) stand at the functions they call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ..kernels.geometry import Ints, per_axis
from . import functional as F
from .module import Module

OptionalInts = int | None | Sequence[int | None]


class _Pool(Module):
    ndim: ClassVar[int]
    function: ClassVar[Callable[..., Any]]

    def _check(self, **sizes: Any) -> None:
        """Each setting must be one whole number above zero for each axis; paddings may be zero."""
        name = type(self).__name__
        for what, value in sizes.items():
            least = 0 if what == "padding" else 1
            for n in per_axis(value, self.ndim, what):
                if n < least:
                    raise ValueError(f"{name}: {what} must be at least {least} on every axis, got {value!r}")


class _MaxPool(_Pool):
    """Largest value of each window.  Settings as in :class:`MaxPool2d`."""

    def __init__(
        self,
        kernel_size: Ints,
        stride: Ints | None = None,
        padding: Ints = 0,
        dilation: Ints = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode
        self._check(kernel_size=kernel_size, stride=self.stride, padding=padding, dilation=dilation)

    def forward(self, input: Any) -> Any:
        return type(self).function(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """Largest value of each window of (N, C, L); settings as :class:`MaxPool2d`.

    (N, C, L) -> (N, C, Q); without N too.

    >>> import minidl
    >>> minidl.nn.MaxPool1d(2)(minidl.tensor([[[1.0, 4.0, 3.0, 2.0]]]))
    tensor([[[4., 3.]]])
    """

    ndim, function = 1, staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """Largest value of each window of (N, C, H, W).

    ``stride`` defaults to ``kernel_size``; padding counts as minus infinity; of equal values the first in row-major
    order takes the whole gradient; ``return_indices`` adds the winners' positions for :class:`MaxUnpool2d`;
    ``ceil_mode`` adds a last window that begins inside of the input and overhangs it.

    >>> import minidl
    >>> minidl.nn.MaxPool2d(3, stride=2)(minidl.randn(2, 4, 13, 13)).shape
    (2, 4, 6, 6)
    """

    ndim, function = 2, staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPool):
    """Largest value of each window of (N, C, D, H, W); settings as :class:`MaxPool2d`.

    (N, C, D, H, W) -> (N, C, O, P, Q); without N too.

    >>> import minidl
    >>> minidl.nn.MaxPool3d(2)(minidl.randn(1, 2, 4, 4, 6)).shape
    (1, 2, 2, 2, 3)
    """

    ndim, function = 3, staticmethod(F.max_pool3d)


class _AvgPool(_Pool):
    """Mean of each window.  Settings as in :class:`AvgPool2d`."""

    def __init__(
        self,
        kernel_size: Ints,
        stride: Ints | None = None,
        padding: Ints = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override
        self._check(kernel_size=kernel_size, stride=self.stride, padding=padding)
        if divisor_override == 0:
            raise ValueError(f"{type(self).__name__}: divisor_override must not be zero")

    def forward(self, input: Any) -> Any:
        settings = (self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
        return type(self).function(input, *settings, self.divisor_override)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    """Mean of each window of (N, C, L); settings as :class:`AvgPool2d`, without ``divisor_override``.

    (N, C, L) -> (N, C, Q); without N too.

    >>> import minidl
    >>> minidl.nn.AvgPool1d(2)(minidl.tensor([[[1.0, 3.0, 5.0, 7.0]]]))
    tensor([[[2., 6.]]])
    """

    ndim = 1

    def __init__(
        self,
        kernel_size: Ints,
        stride: Ints | None = None,
        padding: Ints = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.kernel_size = per_axis(self.kernel_size, 1, "kernel_size")
        self.stride = per_axis(self.stride, 1, "stride")
        self.padding = per_axis(self.padding, 1, "padding")

    def forward(self, input: Any) -> Any:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AvgPool2d(_AvgPool):
    """Mean of each window of (N, C, H, W).

    ``stride`` defaults to ``kernel_size``; ``count_include_pad`` lets padding count as zeros that share in the mean;
    ``divisor_override`` divides by this number instead of the count.

    >>> import minidl
    >>> minidl.nn.AvgPool2d(2)(minidl.ones(1, 1, 4, 4))
    tensor([[[[1., 1.],
              [1., 1.]]]])
    """

    ndim, function = 2, staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPool):
    """Mean of each window of (N, C, D, H, W); settings as :class:`AvgPool2d`.

    (N, C, D, H, W) -> (N, C, O, P, Q); without N too.

    >>> import minidl
    >>> minidl.nn.AvgPool3d(2)(minidl.randn(1, 2, 4, 4, 6)).shape
    (1, 2, 2, 2, 3)
    """

    ndim, function = 3, staticmethod(F.avg_pool3d)


class _LPPool(_Pool):
    """``(sum of x^p) ^ (1/p)`` over each window, p = ``norm_type``: for odd p, x should not be negative."""

    def __init__(
        self, norm_type: float, kernel_size: Ints, stride: Ints | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        if not norm_type > 0:
            raise ValueError(f"{type(self).__name__}: norm_type must be positive, got {norm_type!r}")
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode
        self._check(kernel_size=kernel_size, stride=kernel_size if stride is None else stride)

    def forward(self, input: Any) -> Any:
        return type(self).function(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        window = f"kernel_size={self.kernel_size}, stride={self.stride}, ceil_mode={self.ceil_mode}"
        return f"norm_type={self.norm_type}, {window}"


class LPPool1d(_LPPool):
    """p-norm of each window of (N, C, L).

    (N, C, L) -> (N, C, Q); without N too.

    >>> import minidl
    >>> minidl.nn.LPPool1d(2, 2)(minidl.tensor([[[3.0, 4.0, 0.0, 1.0]]]))
    tensor([[[5., 1.]]])
    """

    ndim, function = 1, staticmethod(F.lp_pool1d)


class LPPool2d(_LPPool):
    """p-norm of each window of (N, C, H, W): L2 pooling for ``norm_type=2``.

    >>> import minidl
    >>> minidl.nn.LPPool2d(2, 2)(minidl.ones(1, 1, 2, 2)).item()
    2.0
    """

    ndim, function = 2, staticmethod(F.lp_pool2d)


class LPPool3d(_LPPool):
    """p-norm of each window of (N, C, D, H, W).

    (N, C, D, H, W) -> (N, C, O, P, Q); without N too.

    >>> import minidl
    >>> minidl.nn.LPPool3d(2, 2)(minidl.randn(1, 2, 4, 4, 6)).shape
    (1, 2, 2, 2, 3)
    """

    ndim, function = 3, staticmethod(F.lp_pool3d)


class _Adaptive(_Pool):
    """As many windows as asked for, which share the input evenly."""

    def __init__(self, output_size: OptionalInts) -> None:
        super().__init__()
        sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,)
        if len(sizes) not in (1, self.ndim) or any(
            n is not None and (not hasattr(n, "__index__") or n < 1) for n in sizes
        ):
            raise ValueError(
                f"{type(self).__name__}: output_size must be one number of at least 1, or one (or None: as the input) "
                f"for "
                f"each of {self.ndim} axes, got {output_size!r}"
            )
        self.output_size = output_size

    def forward(self, input: Any) -> Any:
        return type(self).function(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_Adaptive):
    """Means of ``output_size`` windows that share (N, C, L).

    (N, C, L) -> (N, C, output_size); None keeps a length.

    >>> import minidl
    >>> minidl.nn.AdaptiveAvgPool1d(2)(minidl.tensor([[[1.0, 3.0, 5.0, 7.0]]]))
    tensor([[[2., 6.]]])
    """

    ndim, function = 1, staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_Adaptive):
    """Means of ``output_size`` windows that share (N, C, H, W); 1 is global average pooling (Lin et al. 2014).

    >>> import minidl
    >>> minidl.nn.AdaptiveAvgPool2d((None, 3))(minidl.randn(2, 4, 7, 8)).shape
    (2, 4, 7, 3)
    """

    ndim, function = 2, staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_Adaptive):
    """Means of ``output_size`` windows that share (N, C, D, H, W).

    (N, C, D, H, W) -> (N, C, *output_size), a number for all axes or one for each; None keeps a length.

    >>> import minidl
    >>> minidl.nn.AdaptiveAvgPool3d((1, 2, 3))(minidl.randn(1, 2, 5, 6, 7)).shape
    (1, 2, 1, 2, 3)
    """

    ndim, function = 3, staticmethod(F.adaptive_avg_pool3d)


class _AdaptiveMax(_Adaptive):
    def __init__(self, output_size: OptionalInts, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Any) -> Any:
        return type(self).function(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMax):
    """Largest values of ``output_size`` windows that share (N, C, L).

    (N, C, L) -> (N, C, output_size); None keeps a length.

    >>> import minidl
    >>> minidl.nn.AdaptiveMaxPool1d(2)(minidl.tensor([[[1.0, 3.0, 7.0, 5.0]]]))
    tensor([[[3., 7.]]])
    """

    ndim, function = 1, staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMax):
    """Largest values of ``output_size`` windows that share (N, C, H, W).

    (N, C, H, W) -> (N, C, *output_size), a number for both axes or one for each; None keeps a length.

    >>> import minidl
    >>> minidl.nn.AdaptiveMaxPool2d((None, 3))(minidl.randn(2, 4, 7, 8)).shape
    (2, 4, 7, 3)
    """

    ndim, function = 2, staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMax):
    """Largest values of ``output_size`` windows that share (N, C, D, H, W).

    (N, C, D, H, W) -> (N, C, *output_size), a number for all axes or one for each; None keeps a length.

    >>> import minidl
    >>> minidl.nn.AdaptiveMaxPool3d((1, 2, 3))(minidl.randn(1, 2, 5, 6, 7)).shape
    (1, 2, 1, 2, 3)
    """

    ndim, function = 3, staticmethod(F.adaptive_max_pool3d)


class _MaxUnpool(_Pool):
    """Values back at the positions that a max pooling with ``return_indices`` named; zeros elsewhere."""

    def __init__(self, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0) -> None:
        super().__init__()
        self._check(kernel_size=kernel_size, stride=kernel_size if stride is None else stride, padding=padding)
        self.kernel_size = per_axis(kernel_size, self.ndim, "kernel_size")
        self.stride = self.kernel_size if stride is None else per_axis(stride, self.ndim, "stride")
        self.padding = per_axis(padding, self.ndim, "padding")

    def forward(self, input: Any, indices: Any, output_size: Sequence[int] | None = None) -> Any:
        return type(self).function(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Undoes :class:`MaxPool1d`, zeros where nothing had won.

    >>> import minidl
    >>> pool = minidl.nn.MaxPool1d(2, return_indices=True)
    >>> minidl.nn.MaxUnpool1d(2)(*pool(minidl.tensor([[[1.0, 4.0, 3.0, 2.0]]])))
    tensor([[[0., 4., 3., 0.]]])
    """

    ndim, function = 1, staticmethod(F.max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    """Undoes :class:`MaxPool2d`, zeros where nothing had won: Zeiler and Fergus 2014, section 2.1.

    ``output_size`` in the call says which of the sizes that pool to the same one is meant.

    >>> import minidl
    >>> from minidl import nn
    >>> y, where = nn.MaxPool2d(2, return_indices=True)(minidl.arange(16.0).reshape(1, 1, 4, 4))
    >>> nn.MaxUnpool2d(2)(y, where)[0, 0, 1]
    tensor([0., 5., 0., 7.])
    """

    ndim, function = 2, staticmethod(F.max_unpool2d)


class MaxUnpool3d(_MaxUnpool):
    """Undoes :class:`MaxPool3d`, zeros where nothing had won.

    >>> import minidl
    >>> pool = minidl.nn.MaxPool3d(2, return_indices=True)
    >>> minidl.nn.MaxUnpool3d(2)(*pool(minidl.randn(1, 2, 4, 4, 6))).shape
    (1, 2, 4, 4, 6)
    """

    ndim, function = 3, staticmethod(F.max_unpool3d)


class Maxout(Module):
    """Largest of each ``pool`` neighbouring channels: (N, C, *) to (N, C / pool, *).  Goodfellow et al. 2013.

    >>> import minidl
    >>> minidl.nn.Maxout(3)(minidl.randn(2, 12, 5)).shape
    (2, 4, 5)
    """

    def __init__(self, pool: int) -> None:
        super().__init__()
        if not hasattr(pool, "__index__") or pool < 1:
            raise ValueError(f"Maxout: pool must be a whole number of at least 1, got {pool!r}")
        self.pool = pool

    def forward(self, input: Any) -> Any:
        return F.maxout(input, self.pool)

    def extra_repr(self) -> str:
        return f"pool={self.pool}"
