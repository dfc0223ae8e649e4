"""Bugs of the kernels written in CUDA: in their sources, which the emulator of the tests compiles anew, and in Python.

Without an emulator (a C++ compiler on Linux) there are none, because nothing could notice them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tests.checks.cuda import emulated_agreement, emulated_pooling, emulated_unpooling
from tests.checks.cuda_resize import emulated_resizing
from tests.checks.cuda_roi import emulated_roi
from tests.standin import emulated

from .framework import Mutant, StaleMutant

FIRST = "strides, pads and dilations differ"
GROUPED = "two channels to a group, strided"
ROWS = "runs of rows that are left over"
TILED = "several tiles each way"


def _in_source(file: str, old: str, new: str) -> Callable[[Callable[[str], str]], Callable[[str], str]]:
    """Replaces ``source.text``, which gives sources with what they include: the kernels' own text is edited."""

    def replace(true: Callable[[str], str]) -> Callable[[str], str]:
        if (count := true(file).count(old)) != 1:
            raise StaleMutant(f"{old!r} occurs {count} times in {file} with what it includes, not once")
        return lambda name: true(name).replace(old, new)

    return replace


Noticed = Callable[[], object] | tuple[Any, ...]  # a check, or what `emulated_agreement` is asked


def _checks(by: Noticed) -> tuple[Callable[[], object]]:
    return (by if callable(by) else partial(emulated_agreement, *by),)


def _bug(name: str, file: str, by: Noticed, story: str, old: str, new: str) -> Mutant:
    """Of a kernel's source."""
    replace = _in_source(file, old, new)
    return Mutant(f"cuda_{name}", "minidl.kernels.cuda.source:text", _checks(by), story, replace=replace)


def _in_python(name: str, target: str, by: Noticed, story: str, old: str, new: str) -> Mutant:
    """Of what launches it."""
    return Mutant(f"cuda_{name}", f"minidl.kernels.cuda.{target}", _checks(by), story, old, new)


WINDOWS = (
    _bug("edge_read_as_image", "direct.cu", ("direct", "forward", FIRST),
         "the position just behind the image counts as part of it",
         "(unsigned)position < (unsigned)axis[a].size", "(unsigned)position <= (unsigned)axis[a].size"),
    _bug("strides_swapped", "direct.cu", ("direct", "forward", FIRST),
         "rows move by the stride of columns", "axis[1].stride - axis[1].low", "axis[2].stride - axis[1].low"),
    _bug("dilation_forgotten", "implicit_gemm.cu", ("implicit_gemm", "forward", FIRST),
         "taps lie side by side", "split(k, by_taps[2]) * axis[2].dilation", "split(k, by_taps[2])"),
    _bug("signed_bounds", "implicit_gemm.cu", ("implicit_gemm", "forward", FIRST),
         "a negative position is below the size, and so inside",
         "(unsigned)position < (unsigned)axis[a].size", "position < axis[a].size"),
)  # fmt: skip

DIRECT = (
    _bug("sums_without_barrier", "direct.cu", ("direct", "weight_grad", FIRST),
         "halves are added before the others have been",
         "sums[threadIdx.x + half];\n        __syncthreads();", "sums[threadIdx.x + half];"),
    _bug("pixels_of_one_group", "direct.cu", ("direct", "weight_grad", FIRST),
         "every group reads the channels of the first", "corner.at + group * p.depth * p.x_channel", "corner.at"),
)  # fmt: skip

DEPTHWISE = (
    _bug("run_beyond_the_last_row", "depthwise.cu", ("depthwise", "forward", ROWS),
         "a run that is cut off writes all its rows", "if (first + r < rows.out) round_to", "round_to"),
    _bug("unsigned_offset", "depthwise.cu", ("depthwise", "weight_grad", GROUPED, 2),
         "blockIdx is unsigned, and with it the whole of an offset that can be negative",
         "dw[slice * p.w_slice", "dw[blockIdx.y * p.w_slice"),
    _bug("channel_of_the_group", "depthwise.cu", ("depthwise", "forward", GROUPED),
         "takes a group's number for its first channel",
         "p.x_image + (group * p.depth + c)", "p.x_image + (group + c)"),
    _bug("slices_overlap", "depthwise.cu", ("depthwise", "weight_grad", GROUPED, 0, 5),
         "a slice ends where the pixels do", "min(p.pixels(), (slice + 1) * p.slice)", "p.pixels()"),
)  # fmt: skip

TILES = (
    _bug("tile_overwritten", "implicit_gemm.cu", ("implicit_gemm", "forward", TILED),
         "the next tiles go into the half that others still multiply", "put(half ^ 1)", "put(half)"),
    _bug("no_barrier_between_steps", "implicit_gemm.cu", ("implicit_gemm", "forward", TILED),
         "a step begins before its tiles are complete",
         "before the barrier of the step before\n        __syncthreads();", "\n"),
    _bug("the_same_tile_again", "implicit_gemm.cu", ("implicit_gemm", "forward", TILED),
         "prefetches the tiles that it has", "if (more) fetch(first + DEPTH)", "if (more) fetch(first)"),
    _bug("rest_of_the_sum", "implicit_gemm.cu", ("implicit_gemm", "forward", TILED),
         "weights beyond the last term are read, and zero times NaN is NaN",
         "k < total && column < p.columns", "column < p.columns"),
    _bug("slice_runs_on", "implicit_gemm.cu", ("implicit_gemm", "weight_grad", GROUPED, 0, 5),
         "the last slice goes beyond the last pixel", "min(p.pixels(), start + p.slice)", "start + p.slice"),
    _bug("results_side_by_side", "implicit_gemm.cu", ("implicit_gemm", "forward", TILED),
         "a thread's two runs of rows are written as one of eight", "f(down * (ROWS / 2) + row", "f(down * 4 + row"),
)  # fmt: skip

ONE_CHANNEL = "depthwise, two filters each"  # which stays with the tiles that registers feed
FRAGMENTS = (
    _bug("fragment_rows_and_columns", "implicit_gemm.cu", ("tf32", "forward", ONE_CHANNEL),
         "the second element of a lane lies four columns on, not eight rows down",
         "a[k + c + e / 2 * 4][row + i * 16 + r + e % 2 * 8]", "a[k + c + e % 2 * 4][row + i * 16 + r + e / 2 * 8]"),
    _bug("fragment_b_in_pairs", "implicit_gemm.cu", ("tf32", "forward", ONE_CHANNEL),
         "a lane's two elements of b taken for neighbours", "b[k + c + e * 4]", "b[k + c * 2 + e]"),
    _bug("low_times_low", "pipelined.cu", ("tf32x3", "forward", TILED),
         "adds the product that may be left out, and leaves out one that may not",
         "a.low, b[j].high", "a.low, b[j].low"),
    _bug("high_part_not_rounded", "pipelined.cu", ("tf32x3", "forward", TILED),
         "nothing is left for the low part, and the tensor core cuts off the rest",
         "high[i] = round_to_tf32(x);", "high[i] = x;"),
)  # fmt: skip

TERMS, PIXELS = "many terms", "many pixels"
PIPELINE = (
    _bug("copies_not_waited_for", "pipelined.cu", ("fp16", "forward", TERMS),
         "multiplies what is still on its way", "wait_for_copies<STAGES - 2>();", ""),
    _bug("waits_for_the_step_before", "pipelined.cu", ("fp16", "forward", TERMS),
         "one group too many may be under way", "wait_for_copies<STAGES - 2>();", "wait_for_copies<STAGES - 1>();"),
    _bug("waits_for_its_own_copies_only", "pipelined.cu", ("fp16", "forward", TERMS),
         "no barrier: the others' copies may not have arrived",
         "__syncthreads();                // and so", "// and so"),
    _bug("brings_into_the_stage_that_is_read", "pipelined.cu", ("fp16", "forward", TERMS),
         "the ring is taken for one stage longer than it is", "bring(step + STAGES - 1);", "bring(step + STAGES);"),
    _bug("empty_groups_not_counted", "pipelined.cu", ("fp16", "forward", TERMS),
         "the last steps wait for a group that was never ended, and so not for their own",
         "end_group_of_copies();  // an empty", "if (step < steps) end_group_of_copies();  // an empty"),
    _bug("rest_of_a_step", "pipelined.cu", ("fp16", "forward", TERMS),
         "beyond the last term the first one is added again", "return {0, 0, NO_TAP};", "return {0, 0, 0};"),
    _bug("rows_in_the_same_banks", "pipelined.cu", ("fp16", "forward", TERMS),
         "vectors lie in their order, and eight rows of a tile in the same four banks",
         "row * BYTES + (vector ^ row % 8) * 16", "row * BYTES + vector * 16"),
    _bug("pixels_prepared_too_late", "pipelined.cu", ("fp16", "weight_grad", PIXELS),
         "the table of pixels is written while others read it",
         "prepare(step + STAGES);", "prepare(step + STAGES - 1);"),
    _bug("pixels_without_barrier", "pipelined.cu", ("fp16", "weight_grad", PIXELS),
         "the first pixels are used before they have been worked out",
         "prepare(step);\n    __syncthreads();", "prepare(step);"),
    _bug("slices_of_the_same_terms", "pipelined.cu", ("fp16", "forward", TERMS, 0, 3),
         "every slice begins with the first term",
         "(start + step) * DEPTH + A::vector()", "step * DEPTH + A::vector()"),
    _bug("matrices_exchanged", "pipelined.cu", ("fp16", "forward", TERMS),
         "rows 8 to 15 and the second half of the terms change places",
         "place(first + lane % 16, 2 * k + lane / 16)",
         "place(first + lane % 8 + lane / 16 * 8, 2 * k + lane / 8 % 2)"),
    _bug("columns_exchanged", "pipelined.cu", ("fp16", "weight_grad", PIXELS),
         "pixels 8 to 15 and the next eight columns change places",
         "place(k * 16 + lane % 16, first / VECTOR + lane / 16)",
         "place(k * 16 + lane % 8 + lane / 16 * 8, first / VECTOR + lane / 8 % 2)"),
    _bug("numbers_not_transposed", "pipelined.cu", ("tf32", "weight_grad", PIXELS),
         "reads filters where pixels lie", "number(tile, k * 8 + lane % 4 + e / 2 * 4, first + lane / 4 + e % 2 * 8)",
         "number(tile, k * 8 + lane % 4 + e % 2 * 4, first + lane / 4 + e / 2 * 8)"),
    _bug("bits_of_rows_and_columns", "pipelined.cu", ("fp16", "forward", TERMS),
         "the bits of rows follow those of planes, and columns do not follow them",
         "1u << (p.axis[0].taps + p.axis[1].taps + t2)", "1u << (p.axis[0].taps + t2)"),
    _bug("halves_exchanged", "pipelined.cu", ("fp16", "forward", TERMS),
         "odd lanes write their neighbour's results behind their own",
         "odd ? Four{other, b} :", "odd ? Four{b, other} :"),
    _bug("pair_over_the_edge", "pipelined.cu", ("fp16", "forward", FIRST),
         "the second of two results is written where there is only one", "if (k + 1 < p.columns) to", "to"),
    _bug("zeros_left_out", "staging.cu", ("bf16", "forward", TILED),
         "behind a group's last channel stands the next number, not zero",
         "round_to(real ? wide(", "round_to(true ? wide("),
    _in_python("not_on_a_boundary", "staging:_in_vectors", ("tf32", "forward", PIXELS, 3),
               "takes channels that lie side by side for vectors, wherever they begin",
               " and a.data.ptr % 16 == 0", ""),
    _in_python("filters_not_padded", "pipelined:Kind.operands", ("fp16", "weight_grad", FIRST),
               "the weight gradient is told of the input's zeros only",
               'if pass_ != "forward":', 'if pass_ == "input_grad":'),
)  # fmt: skip

BLOCKS = "several blocks of squares"
SQUARES = (
    _bug("points_exchanged", "winograd.cu", ("winograd", "forward", TILED),
         "points are numbered column by column on the way in, and row by row on the way back",
         "points[(long long)(i * HEIGHT + j)", "points[(long long)(j * HEIGHT + i)"),
    _bug("square_over_the_edge", "winograd.cu", ("winograd", "forward", TILED),
         "a square that reaches over the edge writes all its results",
         "if (inside(p, square.i + i, square.j + j)) image", "image"),
    _in_python("winograd_not_flipped", "winograd:input_grad", ("winograd", "input_grad", TILED),
               "correlates the cotangent with the filters as they are", "[..., ::-1, ::-1]", ""),
    _in_python("winograd_pads_of_the_input", "winograd:input_grad", ("winograd", "input_grad", "groups, uneven pads"),
               "the cotangent is padded as the input was", "[2 - low for", "[low for"),
    _bug("fused_without_barrier", "winograd_fused.cu", ("winograd_fused", "forward", BLOCKS),
         "the next squares go where others still read",
         "tiles.u[warp]);\n        __syncthreads();", "tiles.u[warp]);"),
    _bug("fused_filters_that_are_not_there", "winograd_fused.cu", ("winograd_fused", "input_grad", BLOCKS),
         "the last block writes results of filters behind the last one",
         "number < squares && k < to.columns", "number < squares"),
    _bug("fused_quarter_overwritten", "winograd_fused.cu", ("winograd_fused", "forward", BLOCKS),
         "the next quarter of the products is put while this one is read",
         "                });\n        __syncthreads();", "                });"),
    _bug("fused_channel_of_the_step", "winograd_fused.cu", ("winograd_fused", "forward", BLOCKS, 1),
         "every step multiplies the first channels of the filters",
         "* depth + first) * to.columns]", "* depth) * to.columns]"),
    _bug("fused_filters_of_the_neighbour", "winograd_fused.cu", ("winograd_fused", "forward", "groups, uneven pads"),
         "every group has the filters of the first", "DEPTH * from.groups + group) * depth",
         "DEPTH * from.groups) * depth"),
)  # fmt: skip

STRIDES, HALF = "strides, pads and dilations differ", "half of the positions"
SHARED = "stride and dilation share a factor"
RESIDUES = (
    _bug("residue_of_another_axis", "implicit_gemm.cu", ("implicit_gemm", "input_grad", STRIDES),
         "takes the residues of rows for those of columns",
         "count[0] + count[1] + i2", "count[0] + i2"),
    _bug("results_of_the_first_residue", "pipelined.cu", ("tf32", "input_grad", HALF),
         "every residue writes where the first one does", ", p.y_first += own.y_first", ""),
    _bug("weights_of_the_first_residue", "pipelined.cu", ("fp16", "input_grad", STRIDES),
         "every residue reads from the first tap on", "w += p.w_first + group", "w += group"),
    _bug("taps_of_a_residue_side_by_side", "implicit_gemm.cu", ("implicit_gemm", "input_grad", STRIDES),
         "takes the next taps, not those a stride apart", "RESIDUES ? p.weight(k) : k * p.columns", "k * p.columns"),
    _bug("residue_without_divisors", "implicit_gemm.cu", ("implicit_gemm", "input_grad", "pointwise with stride"),
         "divides by the sizes of the first residue", "p.by_out[a] = own.by_out, ", ""),
    _in_python("taps_counted_from_the_front", "parts:parts", ("implicit_gemm", "input_grad", SHARED),
               "the taps of the flipped weights are numbered as if they were not",
               "a.taps - r.taps.stop", "r.taps.start"),
    _in_python("all_at_once_not_flipped", "parts:correlate", ("tf32", "input_grad", HALF),
               "correlates the cotangent with the weights as they are", "[:, :, :, ::-1, ::-1, ::-1]", ""),
    _in_python("positions_that_no_tap_reaches", "parts:parts", ("implicit_gemm", "input_grad", "stride above kernel"),
               "leaves out residues without taps, and so does not write them",
               "for r in residues(a)", "for r in residues(a) if r.axis.taps"),
)  # fmt: skip

WGMMA = (
    _bug("products_not_shown_copies", "warpgroup.cu", ("bf16_wgmma", "forward", TERMS),
         "tensor cores read what the copies have not brought to them", "sums.copies_are_here();", ""),
    _bug("products_not_waited_for", "warpgroup.cu", ("fp16_wgmma", "forward", TERMS),
         "the sums are used while they are made", "        finish_products();\n", ""),
    _bug("products_of_the_first_terms", "warpgroup.cu", ("fp16_wgmma", "forward", TERMS),
         "all parts of a step multiply the same terms of b", "rows_of_128_bytes(b + k * 32)", "rows_of_128_bytes(b)"),
    _bug("products_of_the_same_rows", "warpgroup.cu", ("fp16_wgmma", "input_grad", PIXELS),
         "warps have rows as if each had a square of its own", "(APART == 16 ? DOWN * 16 : 16)", "DOWN * 16 * 2"),
    _bug("tiles_for_other_instructions", "warpgroup.cu", ("bf16_wgmma", "forward", TERMS),
         "vectors lie as they come, not as tensor cores expect them",
         "row * BYTES + (vector ^ row % 8) * 16", "row * BYTES + vector * 16"),
)  # fmt: skip

HOST = (
    _in_python("weights_not_flipped", "windows:input_grad", ("direct", "input_grad", FIRST),
               "correlates the cotangent with the weights as they are", "[:, :, :, ::-1, ::-1, ::-1]", ""),
    _in_python("positions_left_as_they_were", "windows:input_grad", ("direct", "input_grad", "stride above kernel"),
               "what no tap reaches is not written", "if not all_of_them:", "if False:"),
    _in_python("one_slice", "windows:in_slices", ("implicit_gemm", "weight_grad", GROUPED, 0, 5),
               "takes the first slice for the sum", "sums.sum(axis=0)", "sums[0]"),
    _in_python("groups_overlap", "windows:weight_strides", ("direct", "weight_grad", FIRST),
               "a group's weights begin one filter after those of the group before",
               "return (k * (conv.out_channels // conv.groups), k, *rest)", "return (k, k, *rest)"),
    _in_python("filters_left_over", "implicit_gemm:Tile.count", ("implicit_gemm", "forward", TILED),
               "rounds the number of tiles down",
               "-(-columns // self.columns)", "max(1, columns // self.columns)"),
)  # fmt: skip

POOLING = tuple(
    _bug(name, "pooling.cu", partial(emulated_pooling, windows), story, old, new)
    for name, windows, story, old, new in (
        ("pooling_nan_loses", "overlapping", "no comparison is true of NaN", " || value != value", ""),
        ("pooling_last_of_equals", "overlapping", "equal values take the place of the first",
         "value > best", "value >= best"),
        ("pooling_window_that_is_not_there", "rows left over",
         "a position behind the last whole window asks the next",
         "(unsigned)window.at[a] < (unsigned)p.axis[a].out", "window.at[a] >= 0"),
        ("pooling_between_two_windows", "overlapping", "every position asks every window in reach",
         "start >= 0 && start % axis.stride == 0 ?", "start >= 0 ?"),
        ("pooling_padding_not_counted", "overlapping", "divides by the inputs only", "by.count_pad ?", "false ?"),
        ("pooling_share_rounded_down", "adaptive", "a position that two windows share goes to the first",
         "return ((p + 1) * of + among - 1) / among - p * of / among;",
         "return (p + 1) * of / among - p * of / among;"),
        ("pooling_readers_of_a_share", "more windows than positions", "as many windows as positions read a position",
         "SHARED ? shares(i, axis.out, axis.size)", "SHARED ? shares(i, axis.size, axis.out)"),
    )
)  # fmt: skip

UNPOOLING = tuple(
    _bug(name, "unpool.cu", partial(emulated_unpooling, "overlapping", lay), story, old, new)
    for name, lay, story, old, new in (
        ("unpool_whoever_comes_last", 0, "of several values with one index that of the last thread stays",
         "atomicMax(claims + claim_at(p, value, index), number);", "claims[claim_at(p, value, index)] = number;"),
        ("unpool_claims_of_one_image", 1, "all images claim the positions of the first",
         "(of.image * positions(p) + position) * p.groups", "position * p.groups"),
        ("unpool_value_of_another_row", 0, "the number of a value is taken apart by the sizes of the plane",
         "from.at[2] = split(number, p.by_out[2]);", "from.at[2] = number % p.axis[2].size, number /= p.axis[2].size;"),
        ("gather_rows_by_their_number", 0, "a row is as long as there are rows",
         "position % p.axis[2].size, position /= p.axis[2].size;",
         "position % p.axis[1].size, position /= p.axis[1].size;"),
    )
)  # fmt: skip


def _resizing(name: str, problem: str, story: str, old: str, new: str, *how: Any) -> Mutant:
    return _bug(f"resize_{name}", "resize.cu", partial(emulated_resizing, problem, *how), story, old, new)


RESIZING = (
    _resizing("rows_of_the_first_axis", "three axes", "the second matrix begins where the first does",
              "row1 = p.axis[0].out + to.at[1]", "row1 = to.at[1]"),
    _resizing("row_ends_early", "one axis", "the last entry of a row is left out", "k < stop2", "k < stop2 - 1"),
    _resizing("one_weight_for_a_plane", "bilinear", "forgets the weights of rows",
              "plane += weight[j] * line", "plane += line"),
    _resizing("steps_of_columns", "bilinear", "rows lie as far apart as columns",
              "at[j] * p.x_step[1]", "at[j] * p.x_step[2]", 1),
    Mutant("cuda_resize_gradient_not_transposed", "minidl.kernels.resize:rows.__wrapped__",
           (partial(emulated_resizing, "one axis"),), "the gradient takes the rows of the forward pass",
           "row, column, height, width = column, row, width, height", "pass"),
    Mutant("cuda_resize_axis_that_stays", "minidl.kernels.cuda.resize:_unchanged",
           (partial(emulated_resizing, "bilinear", 0, True),), "the other axes are turned round",
           "np.arange(size, dtype=np.int32)", "np.arange(size, dtype=np.int32)[::-1]"),
)  # fmt: skip

BOXES = tuple(
    Mutant(f"cuda_{name}", "minidl.kernels.cuda.source:text", (partial(emulated_roi, lay),), story,
           replace=_in_source("roi.cu", old, new))
    for name, lay, story, old, new in (
        ("roi_windows_apart", 0, "the end of a window is rounded down",
         "((p + 1) * size + axis.out - 1) / axis.out", "(p + 1) * size / axis.out"),
        ("roi_regions_of_all_images", 1, "a position asks the regions of other images too",
         "if (region[0] != position.image) continue;", ""),
        ("roi_beyond_the_edge", 0, "reads on behind the last column",
         "return {max(0, first + p * size / axis.out), min(axis.size,",
         "return {max(0, first + p * size / axis.out), max(axis.size,"),
    )
)  # fmt: skip

EVERY = (
    *WINDOWS, *DIRECT, *DEPTHWISE, *TILES, *FRAGMENTS, *PIPELINE, *SQUARES, *RESIDUES, *WGMMA, *HOST,
    *POOLING, *UNPOOLING, *RESIZING, *BOXES,
)  # fmt: skip
MUTANTS = () if emulated.missing() else EVERY
