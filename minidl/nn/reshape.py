"""Layers without parameters that change the shape: flattening, windows as columns, shuffles, resizing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..kernels.geometry import Ints
from . import functional as F
from .linear import positive
from .module import Module


class Flatten(Module):
    """Axes ``start_dim`` to ``end_dim`` as one: by default (N, C, H, W) to (N, C H W).

    >>> import minidl
    >>> minidl.nn.Flatten()(minidl.ones(2, 3, 4, 5)).shape
    (2, 60)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Any) -> Any:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Axis ``dim`` as several of sizes ``unflattened_size``, one of which may be -1.

    >>> import minidl
    >>> minidl.nn.Unflatten(1, (3, 4, -1))(minidl.ones(2, 60)).shape
    (2, 3, 4, 5)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        sizes = tuple(unflattened_size)
        if not sizes or sum(n == -1 for n in sizes) > 1 or any(n < -1 for n in sizes):
            raise ValueError(
                f"Unflatten: the sizes must be whole numbers, at most one of them -1, got {unflattened_size!r}"
            )
        self.dim = dim
        self.unflattened_size = sizes

    def forward(self, input: Any) -> Any:
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Unfold(Module):
    """Every window as a column: (N, C, H, W) to (N, C R S, windows).  Known as im2col.

    >>> import minidl
    >>> minidl.nn.Unfold((2, 3))(minidl.ones(1, 4, 5, 6)).shape
    (1, 24, 16)
    """

    def __init__(self, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Any) -> Any:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Unfold):
    """The transpose of :class:`Unfold`: columns added up in an image of ``output_size``.  Known as col2im.

    >>> import minidl
    >>> minidl.nn.Fold(3, 2)(minidl.ones(1, 4, 4))  # how many windows cover each place
    tensor([[[[1., 2., 1.],
              [2., 4., 2.],
              [1., 2., 1.]]]])
    """

    def __init__(
        self, output_size: Ints, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1
    ) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        self.output_size = output_size

    def forward(self, input: Any) -> Any:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, {super().extra_repr()}"


class Upsample(Module):
    """Images (N, C, *) at another size: ``size``, or ``scale_factor`` times the old one rounded down.

    ``mode``: "nearest", "area", "linear", "bilinear", "bicubic" or "trilinear"; more at ``nn.functional.interpolate``.

    >>> import minidl
    >>> minidl.nn.Upsample(scale_factor=2, mode="bilinear")(minidl.ones(1, 3, 4, 5)).shape
    (1, 3, 8, 10)
    """

    def __init__(
        self,
        size: Ints | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        super().__init__()
        if (size is None) == (scale_factor is None):
            raise ValueError(
                f"Upsample needs either size or scale_factor, got size={size} and scale_factor={scale_factor}"
            )
        self.size = size
        self.scale_factor: float | tuple[float, ...] | None
        if isinstance(scale_factor, (tuple, list)):
            self.scale_factor = tuple(float(f) for f in scale_factor)
        else:
            self.scale_factor = None if scale_factor is None else float(scale_factor)  # type: ignore[arg-type]
        self.mode = mode
        self.align_corners = align_corners

    def forward(self, input: Any) -> Any:
        return F.interpolate(input, self.size, self.scale_factor, self.mode, self.align_corners)

    def extra_repr(self) -> str:
        what = f"scale_factor={self.scale_factor}" if self.size is None else f"size={self.size}"
        return f"{what}, mode={self.mode!r}"


class PixelShuffle(Module):
    """Channels become positions: (N, C r^2, H, W) to (N, C, H r, W r).  Shi et al. 2016.

    >>> import minidl
    >>> minidl.nn.PixelShuffle(2)(minidl.ones(1, 8, 3, 4)).shape
    (1, 2, 6, 8)
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        positive("PixelShuffle", upscale_factor=upscale_factor)
        self.upscale_factor = upscale_factor

    def forward(self, input: Any) -> Any:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """The inverse of :class:`PixelShuffle`: (N, C, H r, W r) to (N, C r^2, H, W).

    >>> import minidl
    >>> minidl.nn.PixelUnshuffle(2)(minidl.randn(1, 1, 4, 6)).shape
    (1, 4, 2, 3)
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        positive("PixelUnshuffle", downscale_factor=downscale_factor)
        self.downscale_factor = downscale_factor

    def forward(self, input: Any) -> Any:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Channels of ``groups`` groups dealt out in turn: Zhang et al. 2018, figure 1.

    >>> import minidl
    >>> minidl.nn.ChannelShuffle(2)(minidl.arange(6.0).reshape(1, 6, 1)).flatten()
    tensor([0., 3., 1., 4., 2., 5.])
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        positive("ChannelShuffle", groups=groups)
        self.groups = groups

    def forward(self, input: Any) -> Any:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
