"""Group norm in CUDA, which is layer norm where there is one group, and instance norm where each channel is one.

Forward is one launch.  Backward is one for x, and two for weight and bias, whose sums go over the images.  float16 is
read and written as it is; statistics, parameters and sums are float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import array_module
from . import windows
from .norm import THREADS, Pass, given, is_last, like, per_channel, stored
from .source import function, structure

Array = Any

SHORT = 512  # elements of a row that a warp does by itself
WARP = 32


def group_norm(x: Array, groups: int, weight: Array, bias: Array, eps: float) -> tuple[Array, Array, Array]:
    """y, mean and biased variance (N, groups), as ``kernels.norm.group_norm``."""
    xp = array_module(x)
    (x,) = stored(x)
    p = Pass(x)
    y, mean, variance = like(x), *(xp.empty((x.shape[0], groups), p.real) for _ in range(2))
    if not x.size:
        mean[...] = variance[...] = np.nan
        return y, mean, variance
    weight, bias = (per_channel(v, p.real) for v in (weight, bias))
    _rows(p, x, groups, "group_norm", (x, given(weight), given(bias), mean, variance, y, p.real.type(eps)))
    return y, mean, variance


def group_norm_grad(
    g: Array, x: Array, groups: int, weight: Array, mean: Array, variance: Array, eps: float, parameters: bool
) -> tuple[Array, Array, Array]:
    """dx, dweight and dbias, as ``kernels.norm.group_norm_grad``; without ``parameters`` the last two are None."""
    xp = array_module(x)
    x, g = stored(x, g)
    p = Pass(x)
    dx, small = like(x), p.real.type(eps)
    dweight, dbias = (xp.zeros(p.channels, p.real) if parameters else None for _ in range(2))
    if not x.size:
        return dx, dweight, dbias
    mean, variance = (xp.ascontiguousarray(v, p.real) for v in (mean, variance))
    _rows(p, x, groups, "group_norm_grad", (g, x, given(per_channel(weight, p.real)), mean, variance, dx, small))
    if parameters:
        partial = xp.empty((p.slices, 2, p.channels), p.real)
        arguments = (g, x, mean, variance, partial, small, np.int32(groups), p.layout)
        kernel = function(xp, "group_norm.cu", "parameter_sums", **p.macros, TEAM=WARP)
        kernel(p.grid, (THREADS,), arguments)
        p.add_up(partial, dweight, dbias)
    return dx, dweight, dbias


def _rows(p: Pass, x: Array, groups: int, name: str, arguments: tuple[Any, ...]) -> None:
    """Launch a kernel that takes the rows of x one by one."""
    rows, per_group = x.shape[0] * groups, p.channels // groups
    length, positions = x.size // rows, x.size // (x.shape[0] * p.channels)
    team = WARP if length <= SHORT else THREADS
    dividers = (*windows.divider(groups), *windows.divider(positions), *windows.divider(per_group))
    layout = structure((rows, length, p.channels, per_group, *dividers))
    macros = {**p.macros, "CHANNELS_LAST": is_last(x), "TEAM": team}  # a single position lies either way
    kernel = function(array_module(x), "group_norm.cu", name, **macros)
    kernel((-(-rows * team // THREADS),), (THREADS,), (*arguments, layout))
