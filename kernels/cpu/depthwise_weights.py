"""Weights of depthwise kernels with the channels side by side: in the weights themselves these lie farthest apart."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..constants import made_of
from ..jit import native
from .pieces import Address, read, run
from .places import address
from .simd import Lanes, load, store

Taps = tuple[range, range, range]


def by_channel(weights: np.ndarray, taps: Taps, width: int) -> np.ndarray:
    """Some taps of the weights (C, M, T0, T1, T2), ``width`` channels at a time; memory of `made_of`.

    (tiles, T0, T1, T2, M, width); the last tile is moved back to end with the last channel.
    """
    (channels, members), tiles = weights.shape[:2], -(-weights.shape[0] // width)

    def fill(packed: np.ndarray) -> None:
        steps = weights.strides[2:]
        start = address(weights) + sum(chosen[0] * step for chosen, step in zip(taps, steps) if chosen)
        steps = [chosen.step * step for chosen, step in zip(taps, steps)]
        order = _Order(
            start, *weights.strides[:2], *steps, *packed.shape[1:4], members, channels, width, address(packed)
        )  # fmt: skip
        one = Lanes(weights.dtype.name, 1)  # the same code for every tile
        run(_order_piece, one, order, tiles * order.taps0 * order.taps1 * order.taps2, weights.size * 1e-9)

    shape = tiles, *map(len, taps), members, width
    return made_of(weights, ("by channel", taps, width), shape, weights.dtype, "panels", fill)


class _Order(NamedTuple):
    weights: Address  # of the first of the taps; (C, M, T0, T1, T2), steps in bytes
    channel_step: int
    member_step: int
    step0: int
    step1: int
    step2: int
    taps0: int
    taps1: int
    taps2: int
    members: int
    channels: int
    width: int
    packed: Address  # (tiles, T0, T1, T2, M, width)


@native
def _order_piece(one: Any, arguments: int, piece: int) -> None:
    """One tap of one tile."""
    o = read(_Order, arguments)
    taps = o.taps0 * o.taps1 * o.taps2
    tile, t = piece // taps, piece % taps
    source = o.weights + min(tile * o.width, o.channels - o.width) * o.channel_step
    source += t // (o.taps1 * o.taps2) * o.step0 + t // o.taps2 % o.taps1 * o.step1 + t % o.taps2 * o.step2
    target = o.packed + piece * o.members * o.width * one.itemsize
    for d in range(o.members):
        for c in range(o.width):
            store(target, load(one, source + d * o.member_step + c * o.channel_step))
            target += one.itemsize
