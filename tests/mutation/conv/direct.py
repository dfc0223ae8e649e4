"""Bugs in the compiled loops.  None of these reads outside its arrays: that could end the process."""

from __future__ import annotations

from functools import partial

from tests.checks import conv as checks

from ..framework import Mutant
from .common import anywhere, of_every_second_result, promises

_DIRECT = "minidl.kernels.cpu.direct"


def _direct(name: str, function: str, story: str, old: str, new: str) -> Mutant:
    return Mutant(f"{name}/direct", f"{_DIRECT}:{function}", promises("direct"), story, old, new)


_GROUP = "image = (n * groups + k // (filters // groups)) * channels * plane"
_LEFT_OUT = "for border in range(o2n - (stop - start)):"

DIRECT = (
    _direct(
        "every_group_reads_the_first",
        "_forward",
        "the group's offset into the input is forgotten",
        _GROUP,
        "image = n * groups * channels * plane",
    ),
    _direct(
        "F_groups_interleaved",
        "_forward",
        "filter k is put into group k % G",
        _GROUP,
        "image = (n * groups + k % groups) * channels * plane",
    ),
    _direct(
        "row_not_cleared",
        "_forward",
        "each row adds to the one before it",
        "row[:] = 0",
        "pass",
    ),
    _direct("borders_left_out", "_forward", "only whole windows are summed", _LEFT_OUT, "for border in range(0):"),
    _direct(
        "F_dilation_ignored_on_one_axis",
        "_forward",
        "the taps of one axis lie side by side",
        "i0 = o0 * s0 + t0 * d0 - l0",
        "i0 = o0 * s0 + t0 - l0",
    ),
    _direct(
        "F_stride_hw_swapped",
        "_forward",
        "the stride of the neighbouring axis",
        "i1 = o1 * s1 + t1 * d1 - l1",
        "i1 = o1 * s2 + t1 * d1 - l1",
    ),
    _direct(
        "F_pad_hw_swapped",
        "_forward",
        "the padding of the neighbouring axis",
        "i1 = o1 * s1 + t1 * d1 - l1",
        "i1 = o1 * s1 + t1 * d1 - l2",
    ),
    _direct(
        "remainder_loop_forgotten",
        "_add_products",
        "terms that do not fill a bundle of four are lost",
        "for m in range(by_four, terms):",
        "for m in range(terms, terms):",
    ),
    _direct(
        "strided_bundle_reads_neighbours",
        "_add_products",
        "the loop for strides > 1 forgets the stride",
        "i = j * step",
        "i = j",
    ),
    _direct(
        "low_and_high_pad_swapped",
        "_thrice",
        "pads before by what belongs behind",
        "a.pad[0]",
        "a.pad[1]",
    ),
    _direct(
        "two_copies_in_one_buffer",
        "forward",
        "both operands are made contiguous in the same scratch memory",
        '_flat(w, "w")',
        '_flat(w, "x")',
    ),
    _direct(
        "B_gx_group0_weights",
        "_input_grad",
        "every group gets the weights of the first",
        "(group * group_filters * group_channels + c % group_channels)",
        "(c % group_channels)",
    ),
    _direct(
        "B_gx_kernel_flipped",
        "_input_grad",
        "the kernel's rows in reverse order",
        "(t0 * t1n + t1) * t2n",
        "((t0n - 1 - t0) * t1n + t1n - 1 - t1) * t2n",
    ),
    _direct(
        "B_gx_forgets_dilation",
        "_input_grad",
        "sends back as if the taps of one axis lay side by side",
        "o1 = (i1 + l1 - t1 * d1) // s1\n",
        "o1 = (i1 + l1 - t1) // s1\n",
    ),
    _direct(
        "gradient_smeared_over_skipped_positions",
        "_input_grad",
        "a position between two windows gets the gradient of the lower one",
        "or o1 * s1 != i1 + l1 - t1 * d1",
        "",
    ),
    _direct(
        "positions_between_strides_unwritten",
        "_input_grad",
        "only every s-th position is written",
        "for rho in range(s2):",
        "for rho in range(1):",
    ),
    _direct(
        "row_of_gradients_not_cleared",
        "_input_grad",
        "each row adds to the one before it",
        "row[: j1 - j0] = 0",
        "pass",
    ),
    _direct(
        "B_gw_first_sample_only",
        "_weight_grad",
        "the batch sum sees the first image only",
        "for n in range(batch):",
        "for n in range(min(batch, 1)):",
    ),
    _direct(
        "B_gw_stride_hw_swapped",
        "_weight_grad",
        "the stride of the neighbouring axis",
        "i1 = o1 * s1 + t1 * d1 - l1",
        "i1 = o1 * s2 + t1 * d1 - l1",
    ),
    _direct(
        "B_gw_every_group_reads_the_first",
        "_weight_grad",
        "the group's offset into the input is forgotten",
        _GROUP,
        "image = n * groups * channels * plane",
    ),
    _direct(
        "B_gw_borders_left_out", "_weight_grad", "only whole windows are summed", _LEFT_OUT, "for border in range(0):"
    ),
    _direct(
        "B_gw_last_of_four_added_to_its_neighbour",
        "_add_dots",
        "an index typed wrong in an unrolled loop",
        "total[m + 3] += sum3",
        "total[m + 2] += sum3",
    ),
    Mutant(
        "second_run_differs/direct",
        f"{_DIRECT}:forward",
        (partial(checks.same_bits, "direct", "float64"),),
        "something is left from the call before",
        replace=of_every_second_result,
    ),
    *anywhere("direct", _DIRECT),
)
