"""Resizing: a linear map of the image and its transpose, each the gradient of the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..autograd.tape import Primitive, vjp
from ..kernels import resize as kernel
from ._common import floating

_resize: Primitive = Primitive(
    "resize",
    lambda x, *, problem: kernel.resize(x, problem),
    vjp(lambda g, y, x, *, problem: _resize_grad(g, problem=problem)),
)
_resize_grad: Primitive = Primitive(
    "resize_grad",
    lambda g, *, problem: kernel.resize_grad(g, problem),
    vjp(lambda u, y, g, *, problem: _resize(u, problem=problem)),
)


def interpolate(
    input: Any,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """Images (N, C, *size) at another size: ``size``, or ``scale_factor`` times the old one rounded down.

    ``mode``: "nearest" (by the corner of a pixel), "nearest-exact" (by its centre), "area" (the mean of what a pixel
    covers), or "linear" for (N, C, L), "bilinear" and "bicubic" for (N, C, H, W), "trilinear" for (N, C, D, H, W).
    ``align_corners=True`` puts the corner pixels of both images on each other; False (the default of the linear and
    cubic modes) lets both cover the same area.  ``antialias``, for bilinear and bicubic: widens the kernel where the
    image gets smaller, so that no pixel is left out.
    ``recompute_scale_factor`` places the pixels by the ratio of the sizes instead of ``scale_factor``.  Raises
    ShapeError where mode, axes and sizes do not go together.

    >>> import minidl
    >>> x = minidl.tensor([[[0.0, 4.0]]])
    >>> minidl.nn.functional.interpolate(x, size=4)
    tensor([[[0., 0., 4., 4.]]])
    >>> minidl.nn.functional.interpolate(x, scale_factor=2, mode="linear")
    tensor([[[0., 1., 3., 4.]]])
    """
    x = floating(input)
    return _resize(x, problem=kernel.Resize.from_shape(
        x.shape, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias
    ))  # fmt: skip


upsample = interpolate
"""The older name of :func:`interpolate`."""
