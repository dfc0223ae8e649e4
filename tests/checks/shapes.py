"""Awkward convolution problems, small enough that one check over all of them takes milliseconds.

A `Case` is plain numbers and never asks ``kernels.geometry`` for anything: the oracle of
``tests.checks.conv`` must stay right while a bug sits in the geometry.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Case:
    """One convolution problem; x (N, C, *size), w (K, C/G, *kernel)."""

    batch: int
    in_channels: int
    out_channels: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pads
    dilation: tuple[int, ...]
    groups: int = 1
    story: str = ""

    @property
    def x_shape(self) -> tuple[int, ...]:
        return (self.batch, self.in_channels, *self.size)

    @property
    def w_shape(self) -> tuple[int, ...]:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    @property
    def out(self) -> tuple[int, ...]:
        """Windows per axis, counted one by one: the largest window start that still fits, not a formula."""
        counts = []
        for i, r, s, (low, high), d in zip(
            self.size, self.kernel, self.stride, self.padding, self.dilation, strict=True
        ):
            last_tap, padded = d * (r - 1), low + i + high
            counts.append(sum(1 for start in range(0, padded, s) if start + last_tap < padded))
        return tuple(counts)

    @property
    def y_shape(self) -> tuple[int, ...]:
        return (self.batch, self.out_channels, *self.out)

    @property
    def seed(self) -> int:
        """A fixed seed per problem, the same on every machine and in every process."""
        return zlib.crc32(repr(replace(self, story="")).encode())

    def arrays(self, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Random x, w and upstream gradient g of this problem, contiguous, always the same ones."""
        rng = np.random.default_rng(self.seed)
        return tuple(rng.standard_normal(s).astype(dtype) for s in (self.x_shape, self.w_shape, self.y_shape))  # type: ignore[return-value]

    def __str__(self) -> str:
        name = f"{self.story}: " if self.story else ""
        return (
            f"{name}x {self.x_shape}, w {self.w_shape}, stride {self.stride}, padding {self.padding}, "
            f"dilation {self.dilation}, groups {self.groups}"
        )


def case(
    x: tuple[int, ...],
    w: tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int | tuple[int, int], ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
    story: str = "",
) -> Case:
    """A Case from shapes, with torch's shorthand for the rest."""
    ndim = len(x) - 2
    each = lambda v: v if isinstance(v, tuple) else (v,) * ndim  # noqa: E731
    pads = tuple(p if isinstance(p, tuple) else (p, p) for p in each(padding))
    return Case(x[0], x[1], w[0], x[2:], w[2:], each(stride), pads, each(dilation), groups, story)


FEW = (
    case((7, 3, 6, 5), (4, 3, 3, 2), 1, 1, story="a batch that no piece of work divides"),
    case((2, 3, 4, 5), (2, 3, 6, 7), 1, 1, story="kernel = padded input, wider than the input"),
    case((2, 3, 9, 8), (5, 3, 2, 3), (3, 4), story="stride > kernel: input columns that nothing reads"),
    case((2, 2, 8, 9), (3, 2, 3, 2), (3, 2), story="leftover rows and columns"),
    case((2, 3, 6, 6), (4, 3, 3, 3), 1, 1, story="square, where swapped axes hide"),
    case((2, 3, 6, 5), (4, 3, 3, 2), 1, ((0, 2), (3, 1)), story="asymmetric padding"),
    case((2, 3, 6, 5), (4, 3, 3, 2), (1, 2), ((2, 0), (0, 1)), (2, 1), story="asymmetric, strided, dilated"),
    case((2, 2, 4, 3), (3, 2, 3, 3), 1, (4, 3), story="padding beyond the kernel: whole windows of zeros"),
    case((2, 6, 6, 5), (4, 3, 3, 2), 1, 1, 1, 2, story="groups 2"),
    case((3, 6, 5, 6), (9, 2, 2, 3), (2, 1), (0, 1), 1, 3, story="groups 3, more outputs than inputs"),
    case((16, 2, 3, 7), (13, 2, 2, 3), story="as many images as wanted pieces: eight filters stay together, and five"),
    case((2, 5, 7, 6), (5, 1, 3, 2), 1, 1, 1, 5, story="depthwise"),
    case((2, 3, 6, 7), (6, 1, 2, 3), (1, 2), (1, 0), (2, 1), 3, story="depthwise, multiplier 2"),
    case((2, 9, 5, 34), (33, 9, 3, 2), 2, 1, story="channels past two register tiles, strided"),
    case((3, 2, 13), (5, 2, 4), 3, ((2, 1),), story="1-d"),
    case((2, 4, 9), (6, 2, 3), 2, 1, 2, 2, story="1-d, grouped and dilated"),
    case((2, 2, 4, 5, 6), (3, 2, 2, 3, 2), (1, 2, 1), (1, 0, 2), story="3-d, padded"),
    case((2, 4, 5, 4, 6), (2, 2, 2, 1, 3), (2, 1, 3), ((0, 1), (1, 0), (2, 1)), (1, 2, 1), 2, story="3-d"),
)
"""A cross-section, for checks that multiply it by layouts, threads or dtypes."""

WIDE = (
    case((2, 40, 5, 6), (50, 40, 3, 2), 1, 1, story="panels and a narrow rest"),
    case((1, 16, 9, 7), (16, 16, 3, 3), (2, 1), 1, story="one vector of filters"),
    case((2, 24, 5, 7), (32, 24, 3, 3), 2, 1, story="taps of an input gradient that have no neighbours"),
    case((2, 24, 8, 7), (5, 24, 3, 3), 2, 1, 2, story="stride and dilation share a factor: rows that no tap reads"),
    case((2, 18, 9, 11), (3, 18, 2, 3), (3, 2), (1, 2), (3, 4), story="the same, rows and columns, few filters"),
    case((2, 33, 4, 5), (70, 33, 1, 1), 2, story="1x1, strided"),
    case((1, 1024, 3, 5), (20, 1024, 1, 1), story="pixels a page apart"),
    case((1, 26, 3, 5), (34, 13, 1, 1), 1, 0, 1, 2, story="1x1 in groups, tiles that are moved back"),
    case((2, 224, 4, 5), (96, 112, 1, 1), 1, 0, 1, 2, story="1x1 in groups, weights made of whole tiles"),
    case((2, 160, 5, 5), (192, 80, 1, 1), 1, 0, 1, 2, story="1x1 in groups, the same, more filters than channels"),
    case((1, 32, 3, 5), (44, 32, 1, 1), story="1x1, channels made of whole tiles and filters that are not"),
    case((2, 40, 9, 8), (48, 40, 1, 1), 2, 1, story="1x1, strided and padded, weights made of whole tiles of double"),
    case((2, 96, 6, 4), (9, 96, 1, 1), (3, 2), story="1x1, each pixel that a window reads begins a whole block"),
    case((1, 64, 4, 4, 6), (10, 32, 1, 1, 1), (2, 2, 3), 0, 1, 2, story="3-d, the same in groups"),
    case((2, 22, 4, 6), (9, 22, 1, 1), 2, story="1x1, such blocks, and channels that fill no tile"),
    case((2, 32, 5, 6), (9, 32, 1, 1), 2, story="1x1, the last row begins a block that is none"),
    case((1, 512, 3, 4), (17, 512, 2, 2), 1, 1, story="pixels a page apart, several taps"),
    case((1, 9, 5, 6), (1024, 9, 1, 1), 2, story="1x1, strided, pixels of the gradient a page apart"),
    case((2, 37, 6, 5), (37, 1, 3, 3), (1, 2), 1, 1, 37, story="depthwise, channels that fill no vector"),
    case((2, 20, 4, 29), (20, 1, 3, 3), 1, 1, 1, 20, story="depthwise, runs of pixels that read no padding"),
    case((1, 48, 5, 41), (48, 1, 2, 3), (1, 2), (0, 1), (2, 3), 48, story="depthwise, strided runs, three vectors"),
    case((2, 20, 4, 23), (20, 1, 3, 9), (2, 1), (1, 5), 1, 20, story="depthwise, rows of many taps"),
    case((1, 24, 3, 20), (24, 2, 2, 31), 1, (1, 15), 1, 12, story="rows of many taps, groups of two"),
    case((1, 20, 2, 20), (20, 1, 1, 2), 1, (0, 8), (1, 8), 20, story="depthwise, taps in the padding for many pixels"),
    case((2, 3, 11, 12), (20, 3, 5, 4), (2, 3), 2, story="first layer: taps count as channels"),
    case((2, 3, 9, 12), (10, 3, 3, 2), 1, 1, (1, 2), story="first layer, dilated: taps are no neighbours"),
    case((2, 3, 12, 11), (20, 3, 3, 4), 1, 1, (2, 1), story="first layer, the rows of a kernel apart"),
    case((2, 2, 8, 9), (6, 1, 3, 3), 1, 1, 1, 2, story="few channels in groups"),
    case((1, 24, 5, 4), (36, 4, 2, 3), 1, 1, 1, 6, story="groups narrower than a tile"),
    case((1, 44, 5, 29), (44, 4, 3, 3), 1, 1, 1, 11, story="groups of four within a vector, runs of pixels"),
    case((2, 26, 6, 5), (26, 2, 3, 2), (1, 2), 1, 1, 13, story="groups of two, the last vector moved back"),
    case((2, 26, 4, 13), (26, 2, 3, 3), 2, (1, 2), 1, 13, story="groups of two, gradients of strided rows as a whole"),
    case((1, 20, 3, 18), (20, 1, 2, 5), 2, (0, 2), 1, 20, story="depthwise, the same, five taps"),
    case((1, 12, 6, 9), (20, 12, 5, 5), 1, 2, story="many channels, and taps that count as channels all the same"),
    case((2, 40, 11, 7), (36, 40, 1, 5), (1, 2), (0, (3, 2)), story="taps along rows alone: pixels go down columns"),
    case((1, 34, 2, 10, 6), (33, 34, 2, 1, 3), 1, (1, 0, 1), story="3-d, the same"),
    case((1, 16, 3, 4, 5), (18, 16, 2, 3, 2), 1, (1, 0, 1), story="3-d, channels that fill a vector"),
)
"""Channels enough for the register tiles of channels-last storage, and first layers, which have too few."""

HARD = (
    *FEW,
    case((1, 1, 3, 3), (1, 1, 1, 1), story="1x1 kernel, one channel"),
    case((3, 5, 4, 6), (7, 5, 1, 1), story="1x1 kernel is a matrix product"),
    case((2, 3, 7, 5), (4, 3, 1, 1), (2, 3), story="1x1 kernel, stride skips most of the input"),
    case((2, 3, 4, 5), (6, 3, 4, 5), story="kernel = input"),
    case((2, 3, 7, 7), (4, 3, 3, 3), 2, 1, story="square, strided"),
    case((2, 3, 5, 5), (4, 3, 2, 3), 1, (1, (2, 0)), story="square input, everything else not"),
    case((2, 2, 9, 7), (3, 2, 3, 2), 1, 0, (3, 2), story="dilation by axis"),
    case((2, 2, 11, 9), (3, 2, 2, 3), (2, 1), (1, 2), (4, 3), story="dilation > kernel"),
    case((1, 4, 5, 6), (2, 4, 2, 3), story="batch 1"),
    case((5, 1, 4, 6), (1, 1, 3, 2), story="one channel in, one out"),
    case((2, 17, 6, 37), (19, 17, 3, 3), 1, 1, story="channels and columns past one register tile"),
    case((2, 3, 5), (4, 3, 5), story="1-d, kernel = input"),
    case((2, 512, 18, 16), (2, 512, 3, 3), 1, 1, story="more columns than im2col's workspace holds, by rows"),
    case((5, 256, 4, 24), (4, 128, 3, 3), 1, 1, 1, 2, story="more columns than the workspace holds, by images"),
    case((2, 3, 300), (4, 3, 7), 1, 3, story="a line longer than a dense Fourier transform"),
    case((1, 2, 5, 130), (2, 2, 2, 9), (1, 2), (0, 3), story="rows longer than a dense Fourier transform"),
)
"""Known to be hard: each one is a place where somebody's convolution was wrong."""

EMPTY = (
    case((0, 3, 6, 5), (4, 3, 3, 2), (1, 2), (1, 0), story="batch 0"),
    case((0, 4, 7), (6, 2, 3), 2, 1, 1, 2, story="batch 0, 1-d, grouped"),
    case((0, 2, 4, 5, 6), (3, 2, 2, 3, 2), story="batch 0, 3-d"),
    case((2, 3, 6, 5), (0, 3, 3, 2), 1, 1, story="no output channels"),
    case((0, 3, 6, 5), (0, 3, 3, 2), story="neither"),
    case((0, 3, 6, 5), (4, 3, 3, 3), 1, 1, story="batch 0, stride 1"),
    case((2, 3, 6, 5), (0, 3, 3, 3), 1, 1, story="no output channels, stride 1"),
    case((2, 0, 6, 5), (3, 0, 3, 3), 1, 1, story="no input channels"),
    case((2, 0, 6, 5), (0, 0, 3, 3), 1, 1, story="no channels at all"),
)


@cache
def awkward(count: int = 30, seed: int = 0) -> tuple[Case, ...]:
    """`count` drawn problems: 2-d mostly, some 1-d and 3-d, axes that differ in everything where they can."""
    rng = np.random.default_rng(seed)
    draw = lambda low, high, n: tuple(int(v) for v in rng.integers(low, high + 1, n))  # noqa: E731
    found: list[Case] = []
    while len(found) < count:
        ndim = (2, 2, 1, 2, 3)[len(found) % 5]
        largest = {1: 14, 2: 9, 3: 5}[ndim]
        groups = int(rng.choice([1, 1, 2, 3]))
        depthwise = groups > 1 and rng.random() < 0.3
        c_in = groups if depthwise else groups * int(rng.integers(1, 4))
        c_out = groups * int(rng.integers(1, 4))
        drawn = Case(
            int(rng.integers(1, 4)),
            c_in,
            c_out,
            draw(1, largest, ndim),
            draw(1, 4 if ndim < 3 else 3, ndim),
            draw(1, 3, ndim),
            tuple(zip(draw(0, 2, ndim), draw(0, 2, ndim), strict=True)),
            draw(1, 2, ndim),
            groups,
            f"drawn {len(found)}",
        )
        if min(drawn.out) < 1:
            continue
        if ndim > 1 and len(found) % 3 and (len(set(drawn.kernel)) == 1 or len(set(drawn.size)) == 1):
            continue  # two in three have no equal axes; the others are as they come
        found.append(drawn)
    return tuple(found)


ALL = HARD + awkward()
"""Every problem the agreement checks run over."""
