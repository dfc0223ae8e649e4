"""Bugs in the compiled loops.  None of these reads outside its arrays: that could end the process."""

from __future__ import annotations

from functools import partial

from tests.checks import conv as checks

from ..framework import Mutant
from .common import anywhere, of_every_second_result, promises

_DIRECT = "minidl.kernels.cpu.direct"
_PRODUCTS = "minidl.kernels.cpu.direct_products"


def _direct(name: str, function: str, story: str, old: str, new: str, module: str = _DIRECT) -> Mutant:
    callers = {"_emit": "add_products", "_emit_dots": "add_dots"}
    through = (f"{_PRODUCTS}:{callers[function]}",) if function in callers else ()
    return Mutant(f"{name}/direct", f"{module}:{function}", promises("direct", name), story, old, new, through=through)


def _tiles(name: str, function: str, story: str, old: str, new: str) -> Mutant:
    return _direct(name, function, story, old, new, "minidl.kernels.cpu.direct_tiles")


_READ = "x = n.x + n0 * n.x_image + (group * n.channels + c) * n.x_channel + i0 * n.x_step0"
_TAP = "i0 = o0 * n.stride0 + t0 * n.dilation0 - n.low0"

GEOMETRY = (
    _tiles(
        "low_and_high_pad_swapped",
        "geometry",
        "pads before by what belongs behind",
        "a.pad[0]",
        "a.pad[1]",
    ),
    _tiles(
        "B_gx_forgets_padding",
        "residues",
        "the gradient's first window is not where the padding puts it",
        "shift - first, a.dilation // common",
        "shift, a.dilation // common",
    ),
    _tiles(
        "B_gx_taps_too_far_apart",
        "residues",
        "the taps of a residue class taken for as far apart as in the forward pass",
        "shift - first, a.dilation // common",
        "shift - first, a.dilation",
    ),
    _direct(
        "B_gx_kernel_flipped",
        "input_grad",
        "correlates the upstream gradient with the kernel as it is",
        "[:, :, :, ::-1, ::-1, ::-1]",
        "",
    ),
    _direct(
        "B_gx_channels_not_exchanged",
        "input_grad",
        "the weights lie as in the forward pass",
        "w.reshape(groups, k, c, *taps).swapaxes(1, 2)",
        "w.reshape(groups, c, k, *taps)",
    ),
    _direct(
        "B_gx_group0_weights",
        "input_grad",
        "every group gets the weights of the first",
        "exchanged = w.reshape(groups, k, c, *taps)",
        "exchanged = np.repeat(w.reshape(groups, k, c, *taps)[:1], groups, 0)",
    ),
    _direct(
        "positions_between_strides_unwritten",
        "input_grad",
        "only every s-th position is written",
        "in product(*(residues(axis) for axis in geometry(conv))):",
        "in list(product(*(residues(axis) for axis in geometry(conv))))[:1]:",
    ),
    _direct(
        "B_gw_first_sample_only",
        "_deliver_piece",
        "the partial sums of the first images are taken for the whole",
        "for chunk in range(1, s.chunks):",
        "for chunk in range(1, 1):",
    ),
    _direct(
        "empty_batch_leaves_out_unwritten",
        "weight_grad",
        "nothing to sum, so nothing is written",
        "dw[...] = 0",
        "pass",
    ),
)

LOOPS = (
    _direct(
        "every_group_reads_the_first",
        "_correlate_piece",
        "the group's offset into the input is forgotten",
        _READ,
        _READ.replace("(group * n.channels + c)", "c"),
    ),
    _direct(
        "F_groups_interleaved",
        "_correlate_piece",
        "channel c is put into group c % G",
        _READ,
        _READ.replace("(group * n.channels + c)", "(c * n.groups + group)"),
    ),
    _direct(
        "every_tile_reads_the_first_images",
        "_correlate_piece",
        "a tile's offset into the batch is forgotten",
        _READ,
        _READ.replace("n0 * n.x_image + ", ""),
    ),
    _direct(
        "weights_of_the_first_group",
        "_correlate_piece",
        "the group's offset into the weights is forgotten",
        "n.w + group * n.w_group + k0 * n.w_filter",
        "n.w + k0 * n.w_filter",
    ),
    _direct(
        "F_dilation_ignored_on_the_first_axis",
        "_correlate_piece",
        "the taps of one axis lie side by side",
        _TAP,
        _TAP.replace("t0 * n.dilation0", "t0"),
    ),
    _direct(
        "last_channels_not_flushed",
        "_correlate_piece",
        "channels that do not fill the buffer are lost",
        "if filled == slices or (c == n.channels - 1 and t0 == n.taps0 - 1):",
        "if filled == slices:",
    ),
    _direct(
        "row_written_side_by_side",
        "_correlate_piece",
        "a result with a stride is written as if it had none",
        "store(row + q * n.y_step2,",
        "store(row + q * size,",
    ),
    _direct(
        "padding_keeps_old_values",
        "_copy_planes",
        "rows outside the input are not set to zero: what was in the buffer counts",
        "clear_bytes(to + k * pitch, width * size)",
        "pass",
    ),
    _direct(
        "F_stride_hw_swapped",
        "_copy_slice",
        "the strides of the two axes exchanged",
        "(a.stride, b.stride),",
        "(b.stride, a.stride),",
    ),
    _direct(
        "F_pad_hw_swapped",
        "_copy_slice",
        "the padding of the neighbouring axis",
        "rho_b - b.low",
        "rho_b - a.low",
    ),
    _direct(
        "later_tiles_forget_the_stride",
        "_copy_slice",
        "a tile begins at its number of outputs, not at that many strides",
        "p0 * a.stride + rho_a",
        "p0 + rho_a",
    ),
    _direct(
        "F_dilation_forgotten_in_the_shift",
        "_shift",
        "a tap is looked for where a dense kernel has it",
        "t * a.dilation // a.stride",
        "t // a.stride",
    ),
    _direct(
        "remainder_loop_forgotten",
        "add_products",
        "filters that do not fill a bundle of two are lost",
        "if k < filters:",
        "if False:",
        _PRODUCTS,
    ),
    _direct(
        "second_filter_gets_a_weight_of_the_first",
        "_emit",
        "the filters' distance in the weights is forgotten",
        "b.mul(w_filter, I64(f))",
        "I64(0)",
        _PRODUCTS,
    ),
    _direct(
        "last_filter_has_the_weights_of_the_first",
        "add_products",
        "the weights of a bundle begin where those of the first do",
        "_one(tile, sums + k * pitch, pitch, starts, weights, w + k * w_filter,",
        "_one(tile, sums + k * pitch, pitch, starts, weights, w,",
        _PRODUCTS,
    ),
    _direct(
        "starts_exchanged_and_not_weights",
        "_correlate_piece",
        "pairs of terms change places, and not their weights",
        "_exchange_pairs(weights, terms)",
        "pass",
    ),
    _direct(
        "B_gw_every_group_reads_the_first",
        "_dots_piece",
        "the group's offset into the input is forgotten",
        _READ,
        _READ.replace("(group * n.channels + c)", "c"),
    ),
    _direct(
        "B_gw_upstream_of_the_first_group",
        "_dots_piece",
        "the group's offset into the upstream gradient is forgotten",
        "(group * n.filters + k0) * n.y_channel",
        "k0 * n.y_channel",
    ),
    _direct(
        "B_gw_one_part_of_each_chunk",
        "_dots_piece",
        "of the images of a chunk only the first tile is summed",
        "(chunk + 1) * parts_n // n.chunks)",
        "chunk * parts_n // n.chunks + 1)",
    ),
    _direct(
        "B_gw_first_rows_only",
        "_dots_piece",
        "of the tiles of a plane only the first row of them is summed",
        "for p0 in range(0, n.out1, n.rows):",
        "for p0 in range(0, 1):",
    ),
    _direct(
        "B_gw_added_to_the_call_before",
        "_dots_piece",
        "the sums are not set to zero",
        "clear_bytes(sums + k * n.w_filter + c0 * n.w_channel, (stop - c0) * n.w_channel)",
        "pass",
    ),
    _direct(
        "B_gw_all_squares_from_the_first_pixels",
        "_copy_pixels",
        "squares of pixels and channels are read where the first of a row is",
        "source + k * kind.itemsize + q * jump",
        "source + k * kind.itemsize",
    ),
    _direct(
        "B_gw_filters_beside_the_squares_lost",
        "_copy_pixels",
        "five filters fill one square of four, and the last is not copied",
        "k = min(i, planes - 4)",
        "k = min(i, planes // 4 * 4 - 4)",
    ),
    _direct(
        "B_gw_pixels_beside_the_squares_lost",
        "_copy_pixels",
        "five pixels of a row fill one square of four, and the last is not copied",
        "q = min(j, count - 4)",
        "q = min(j, count // 4 * 4 - 4)",
    ),
    _direct(
        "B_gw_last_filter_lost",
        "add_dots",
        "filters that do not fill a bundle of two are lost",
        "if k < filters:",
        "if False:",
        _PRODUCTS,
    ),
    _direct(
        "B_gw_second_filter_reads_the_first",
        "_emit_dots",
        "the filters' distance in the upstream gradient is forgotten",
        "b.mul(pitch, I64(f))",
        "I64(0)",
        _PRODUCTS,
    ),
    _direct(
        "B_gw_remainder_loop_forgotten",
        "_emit_dots",
        "taps that do not fill a bundle are lost",
        "b.udiv(b.sub(last, first), I64(bundle))",
        "b.udiv(b.sub(last, first), I64(bundle if bundle > 1 else 1 << 40))",
        _PRODUCTS,
    ),
    Mutant(
        "second_run_differs/direct",
        f"{_DIRECT}:forward",
        (partial(checks.same_bits, "direct", "float64"),),
        "something is left from the call before",
        replace=of_every_second_result,
    ),
)

DIRECT = (*GEOMETRY, *LOOPS, *anywhere("direct", _DIRECT))
