"""What must be true of Winograd convolution beyond what every kernel promises: its tiles, and filters that are kept."""

from __future__ import annotations

import numpy as np

from minidl.kernels import conv as kernels
from minidl.kernels import memory

from . import conv as checks
from .shapes import Case, case

CASES = (
    case((2, 40, 9, 13), (50, 40, 3, 3), 1, ((0, 2), (1, 0)), story="asymmetric padding, vectors that are not whole"),
    case((3, 17, 5, 7), (19, 17, 3, 3), story="no padding, leftover tiles"),
    case((2, 16, 1, 30), (33, 16, 3, 3), 1, 1, story="one row"),
    case((2, 16, 30, 1), (33, 16, 3, 3), 1, 1, story="one column"),
    case((5, 20, 2, 2), (36, 20, 3, 3), 1, 1, story="tiles of 2 x 2"),
    case((2, 6, 2, 5), (10, 6, 3, 3), 1, 1, story="tiles of 2 x 2 or 4 x 4"),
    case((4, 64, 7, 7), (32, 64, 3, 3), 1, 1, story="tiles of several images in a block"),
    case((2, 24, 8, 9), (36, 8, 3, 3), 1, 1, 1, 3, story="groups"),
    case((1, 8, 4, 3), (300, 8, 3, 3), 1, (4, 3), story="bands of columns; padding beyond the kernel"),
    case((2, 300, 6, 5), (40, 300, 3, 3), 1, 2, story="bands of the input gradient"),
    case((1, 1, 6, 6), (1, 1, 3, 3), 1, 1, story="one channel"),
    case((2, 16, 45, 47), (16, 16, 3, 3), 1, 1, story="many blocks and parts, as many filters as channels"),
    case((2, 40, 9, 13), (50, 40, 5, 5), 1, ((0, 2), (3, 1)), story="5 x 5 taps, asymmetric padding"),
    case((1, 17, 5, 7), (19, 17, 5, 5), story="5 x 5 taps, one row of results, no padding"),
    case((2, 24, 6, 3), (36, 8, 5, 5), 1, (2, 5), 1, 3, story="5 x 5 taps, groups; padding beyond the kernel"),
    case((2, 20, 11, 13), (18, 20, 3, 3), 1, ((2, 3), (0, 1)), 2, story="dilation 2, asymmetric padding"),
    case((2, 16, 9, 12), (33, 16, 3, 3), 1, (1, 6), (1, 4), story="dilation along one axis"),
    case((1, 8, 7, 5), (9, 8, 3, 3), 1, ((3, 2), 4), (3, 4), story="more phases than results"),
    case((2, 6, 12, 13), (10, 6, 5, 5), 1, ((4, 3), (6, 7)), (2, 3), story="5 x 5 taps with dilation"),
    case((1, 3, 4, 4), (5, 3, 3, 3), 1, 1, story="one tile, which threads cannot share"),
)
"""Problems made for its tiles: 3 x 3 kernels first, then 5 x 5, and dilation; then a single tile."""


def agreement(dtype: str = "float64", passes: tuple[str, ...] = checks.PASSES) -> float:
    """`checks.agreement` on CASES, with nothing kept from elsewhere."""
    memory.release()
    return checks.agreement("winograd", dtype, passes, CASES)


def in_pieces(dtype: str = "float64", passes: tuple[str, ...] = checks.PASSES) -> None:
    """`checks.in_pieces` on CASES: blocks, bands and parts so small that each problem has several of them."""
    memory.release()
    checks.in_pieces("winograd", dtype, passes, CASES)


def other_weights(dtype: str = "float64", cases: tuple[Case, ...] = (CASES[1], CASES[11])) -> None:
    """Weights that stay as they are give the same bits, and any write into them is seen, through whatever view.

    Kept filters of the forward pass are not the input gradient's, nor overwritten by a call with other weights.
    """
    memory.release()
    for c in cases:
        conv = checks.problem(c)
        x, given, g = c.arrays(dtype)
        w = given.copy()
        bytes_of_w = memoryview(w).cast("B")
        writes = {
            "nothing": lambda w=w: None,
            "an element": lambda w=w: w.__setitem__((3, 2, 1, 0), 7),
            "the last element, through a flat view": lambda w=w: w.reshape(-1)[-1:].fill(-5),
            "a filter's sign, in place": lambda w=w: np.negative(w[5], out=w[5]),
            "last bits": lambda w=w: w.__imul__(1 + np.finfo(w.dtype).eps),
            "a byte, through its buffer": lambda b=bytes_of_w: b.__setitem__(3, b[3] ^ 1),
            "all": lambda w=w, v=given: np.multiply(v[::-1], 2, out=w),
        }
        for pass_, others in (("forward", (x, w)), ("input_grad", (w, g))):
            run = getattr(kernels, pass_)
            for what, write in writes.items():
                kept = [run(*others, conv, algorithm="winograd") for _ in range(3)]  # twice to be kept, once to be used
                for y in kept[1:]:
                    checks.assert_same_bits(y, kept[0], f"{pass_}, filters kept and transformed")
                write()
                fresh = [a.copy() if a is w else a for a in others]  # in another place
                want = run(*fresh, conv, algorithm="winograd")
                got = run(*others, conv, algorithm="winograd")
                checks.assert_same_bits(got, want, f"{pass_} after a write of {what}")
        fresh_w = w.copy()
        for _ in range(3):
            forward, grad = (kernels.forward(x, w, conv, "winograd"), kernels.input_grad(w, g, conv, "winograd"))
            for other in (2 * w, -w):
                kernels.forward(x, other, conv, "winograd")
        checks.assert_same_bits(forward, kernels.forward(x, fresh_w, conv, "winograd"), "forward, among others")
        checks.assert_same_bits(grad, kernels.input_grad(fresh_w, g, conv, "winograd"), "input_grad, among others")
