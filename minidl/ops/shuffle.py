"""Channels and positions rearranged: shuffles that are nothing but a reshape, a permutation and a reshape."""

from __future__ import annotations

from typing import Any

from ..kernels.errors import ShapeError
from ._common import as_operand


def channel_shuffle(input: Any, groups: int) -> Any:
    """Channels (axis 1) of ``groups`` groups dealt out in turn: Zhang et al. 2018, figure 1.

    >>> import minidl
    >>> minidl.nn.functional.channel_shuffle(minidl.arange(6).reshape(1, 6), 2)
    tensor([[0, 3, 1, 4, 2, 5]])
    """
    x = as_operand(input)
    if x.ndim < 2 or groups < 1 or x.shape[1] % groups:
        raise ShapeError(f"channel_shuffle: {groups} groups do not divide the channels of {x.shape} (N, C, ...)")
    n, c, *size = x.shape
    return x.reshape(n, groups, c // groups, *size).transpose(1, 2).reshape(n, c, *size)  # (N, G, C/G) -> (N, C/G, G)


def _images(op: str, input: Any, factor: int) -> tuple[Any, tuple[int, ...]]:
    """The input and its axes before (C, H, W)."""
    x = as_operand(input)
    if x.ndim < 3 or factor < 1:
        raise ShapeError(f"{op}: takes (..., C, H, W) and a positive factor, not {x.shape} and {factor}")
    return x, x.shape[:-3]


def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """(N, C r^2, H, W) -> (N, C, H r, W r): channels become positions.  Shi et al. 2016.

    >>> import minidl
    >>> minidl.nn.functional.pixel_shuffle(minidl.arange(4).reshape(1, 4, 1, 1), 2)
    tensor([[[[0, 1],
              [2, 3]]]])
    """
    r = upscale_factor
    x, lead = _images("pixel_shuffle", input, r)
    c, h, w = x.shape[-3:]
    if c % (r * r):
        raise ShapeError(f"pixel_shuffle: {c} channels are not a multiple of {r}^2 = {r * r}")
    k = len(lead)
    x = x.reshape(*lead, c // (r * r), r, r, h, w)
    x = x.permute(*range(k + 1), k + 3, k + 1, k + 4, k + 2)  # (..., C, H, r, W, r)
    return x.reshape(*lead, c // (r * r), h * r, w * r)


def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """(N, C, H r, W r) -> (N, C r^2, H, W): the inverse of :func:`pixel_shuffle`.

    >>> import minidl
    >>> minidl.nn.functional.pixel_unshuffle(minidl.ones(1, 1, 4, 6), 2).shape
    (1, 4, 2, 3)
    """
    r = downscale_factor
    x, lead = _images("pixel_unshuffle", input, r)
    c, h, w = x.shape[-3:]
    if h % r or w % r:
        raise ShapeError(f"pixel_unshuffle: {r} does not divide the size {h} x {w}")
    k = len(lead)
    x = x.reshape(*lead, c, h // r, r, w // r, r)
    x = x.permute(*range(k + 1), k + 2, k + 4, k + 1, k + 3)  # (..., C, r, r, H, W)
    return x.reshape(*lead, c * r * r, h // r, w // r)
