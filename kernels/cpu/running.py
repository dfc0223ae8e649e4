"""Scale and shift of batch norm in evaluation, in one call where NumPy takes eight."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..jit import native
from .elements import elements, kind_of
from .pieces import Address, read, run
from .places import address
from .replay import permanent

Array = np.ndarray


class Statistics(NamedTuple):
    """Addresses, 0 of what there is not; ``eps`` is one number, the others have ``count``."""

    mean: Address
    variance: Address
    weight: Address
    bias: Address
    eps: Address
    scale: Address
    shift: Address
    count: int


def running_scale(
    mean: Array, variance: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array]:
    """Scale and shift (C,), the bits of ``spec.norm.running_scale``; all (C,), contiguous and of one dtype."""
    scale, shift = np.empty((2, len(mean)), mean.dtype)
    given = (0 if a is None else address(a) for a in (mean, variance, weight, bias, _one_number(eps, mean.dtype)))
    numbers = Statistics(*given, address(scale), address(shift), len(mean))
    run(_scale_and_shift, kind_of(mean), numbers, 1)
    return scale, shift


@cache
def _one_number(value: float, dtype: np.dtype) -> Array:
    return permanent(np.array([value], dtype))


@native(fastmath=set())  # each operation rounded as NumPy rounds it
def _scale_and_shift(kind: Any, arguments: int, piece: int) -> None:
    p = read(Statistics, arguments)
    mean, variance = elements(kind, p.mean, p.count), elements(kind, p.variance, p.count)
    scale, shift = elements(kind, p.scale, p.count), elements(kind, p.shift, p.count)
    eps, one = elements(kind, p.eps, 1)[0], mean.dtype.type(1)
    for c in range(p.count):
        scale[c] = one / np.sqrt(variance[c] + eps)
        shift[c] = -mean[c] * scale[c]
    if p.weight != 0:
        weight = elements(kind, p.weight, p.count)
        for c in range(p.count):
            scale[c] *= weight[c]
            shift[c] *= weight[c]
    if p.bias != 0:
        bias = elements(kind, p.bias, p.count)
        for c in range(p.count):
            shift[c] += bias[c]
