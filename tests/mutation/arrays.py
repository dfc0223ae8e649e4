"""Bugs in the kernels that "cuda" has: whole-array operations, checked here on NumPy arrays."""

from __future__ import annotations

from functools import partial

import numpy as np

from minidl.kernels.arrays import im2col
from tests.checks import pooling as pools
from tests.kernels.convolution_cases import CASES, arrays, by_definition, operands

from .framework import Mutant

_CONV, _POOL = "minidl.kernels.arrays.im2col:", "minidl.kernels.arrays.pooling:"


def check_convolution() -> None:
    """All passes on awkward shapes, all images at once, one and two at a time."""
    for name, problem in CASES.items():
        x, w, g = arrays(problem)
        expected, given = by_definition(problem, x, w, g), operands(x, w, g)
        usual = im2col.CHUNK_BYTES
        for chunk in (usual, 1, 2 * im2col.image_bytes(problem, 8)):
            im2col.CHUNK_BYTES = chunk
            try:
                for pass_, operand in given.items():
                    out = np.full(expected[pass_].shape, np.nan)
                    got = getattr(im2col, pass_)(*operand, problem, out=out)
                    np.testing.assert_allclose(got, expected[pass_], 1e-10, 1e-10, err_msg=f"{name}, {pass_}")
            finally:
                im2col.CHUNK_BYTES = usual


CONV = (check_convolution,)
MAX = (partial(pools.check_max_pool, "arrays"),)
MAX_GRAD = (partial(pools.check_max_pool_grad, "arrays"),)
AVG = (partial(pools.check_avg_pool, "arrays"),)
AVG_GRAD = (partial(pools.check_avg_pool_grad, "arrays"),)

MUTANTS = (
    Mutant("arrays_columns_ignore_dilation", _CONV + "columns", CONV, "the taps lie side by side",
           "tuple(s * a.dilation for s, a", "tuple(s for s, a"),
    Mutant("arrays_columns_ignore_stride", _CONV + "columns", CONV, "the windows lie side by side",
           "tuple(s * a.stride for s, a", "tuple(s for s, a"),
    Mutant("arrays_columns_exchange_taps_and_steps", _CONV + "columns", CONV, "windows and taps exchanged",
           "(*x.strides[:2], *taps, *steps)", "(*x.strides[:2], *steps, *taps)"),
    Mutant("arrays_first_chunk_only", _CONV + "weight_grad", CONV, "a chunk overwrites those before",
           "dw += products", "dw[...] = products"),
    Mutant("arrays_weights_not_zeroed", _CONV + "weight_grad", CONV, "adds to what the buffer held",
           "dw[...] = 0", "dw *= 1"),
    Mutant("arrays_chunks_leave_out_the_rest", _CONV + "chunks", CONV, "the last image of a chunk is left out",
           "min(i + at_once, conv.batch)", "max(i + at_once - 1, i + 1)"),
    Mutant("arrays_last_of_equals", _POOL + "_max_along", MAX, "of equal values the last wins",
           "value > best", "value >= best"),
    Mutant("arrays_padding_wins", _POOL + "_max_along", MAX, "what stands beside the padding counts twice",
           "real & ((value", "((value"),
    Mutant("arrays_nan_loses", _POOL + "_max_along", MAX, "a NaN is no maximum", " | (value != value)", ""),
    Mutant("arrays_axes_in_order", _POOL + "max_pool", MAX, "rows before columns: ties in another order",
           "reversed(list(enumerate(pool.axes, start=2)))", "list(enumerate(pool.axes, start=2))"),
    Mutant("arrays_scatter_assigns", _POOL + "max_pool_grad", MAX_GRAD, "of two windows with one winner one counts",
           "xp.add.at(dx, (planes, _flat(indices)), _flat(g))", "dx[planes, _flat(indices)] = _flat(g)"),
    Mutant("arrays_average_counts_the_overhang", _POOL + "divisors", AVG, "divides by taps beyond the padding",
           "xp.minimum((axis.size + axis.pad[1] - 1 - low) // axis.dilation + 1, axis.kernel)",
           "xp.full(axis.out, axis.kernel)"),
    Mutant("arrays_average_sums_the_edge_twice", _POOL + "_sum_along", AVG, "padding counts as its neighbour",
           "xp.where(along(real, i, x.ndim), x.take(position, i), x.dtype.type(0))", "x.take(position, i)"),
    Mutant("arrays_average_grad_to_the_edge", _POOL + "avg_pool_grad", AVG_GRAD, "the padding's share goes to the edge",
           "xp.where(along(real, i, g.ndim), dx, g.dtype.type(0))", "dx"),
    Mutant("arrays_average_grad_not_divided", _POOL + "avg_pool_grad", AVG_GRAD, "the gradient of the sum",
           "g / divisors(pool, count_include_pad, divisor_override, g)", "g * 1"),
    Mutant("arrays_adaptive_end_rounds_down", _POOL + "_end", AVG, "a window ends too early",
           "+ axis.out - 1", ""),
)  # fmt: skip
