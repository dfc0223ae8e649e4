"""Bugs of the channels-last convolution and of what it stands on: products, sums, tables of addresses, panels,
rearrangements, depthwise loops, register tiles.  None of them writes outside its arrays: that could end the process.
"""

from __future__ import annotations

from functools import partial

from minidl.kernels.jit import HAVE_NUMBA
from tests.checks import conv as checks
from tests.checks.shapes import FEW, WIDE

from .conv.common import anywhere
from .framework import Mutant

CPU = "minidl.kernels.cpu"


def _faces(name: str) -> tuple[partial[object], ...]:
    """The promises that a bug faces, the quickest verdict first; those of one pass where its name says which."""
    pass_ = {"F_": "forward", "B_gx": "input_grad", "B_gw": "weight_grad"}
    passes = next(((p,) for prefix, p in pass_.items() if name.startswith(prefix)), checks.PASSES)
    # the first three look at problems made for these tiles, the others are those of every algorithm
    of_every_kernel = (checks.agreement, checks.in_pieces, checks.manners, checks.layouts, checks.empty)
    return (
        partial(checks.agreement, "nhwc", "float64", passes, WIDE + FEW),
        partial(checks.in_pieces, "nhwc", "float64", passes, WIDE),
        *(partial(check, "nhwc", "float64", passes) for check in of_every_kernel),
        partial(checks.same_bits, "nhwc", "float64", passes),
    )


def _bug(name: str, target: str, story: str, old: str, new: str, *through: str) -> Mutant:
    compiled = tuple(f"{CPU}.{function}" for function in through)
    return Mutant(name, f"{CPU}.{target}", _faces(name), story, old, new, through=compiled)


def _product_bug(name: str, target: str, story: str, old: str, new: str) -> Mutant:
    from tests.checks import gemm

    return Mutant(f"{name}/gemm", f"{CPU}.{target}", gemm.CHECKS, story, old, new)


def _passes() -> tuple[Mutant, ...]:
    nhwc = "nhwc:"
    return (
        _bug(
            "F_merged_taps_in_the_wrong_order",
            "packing:_offset",
            "first layer: weights go by channel, then tap; the rows of pixels by tap, then channel",
            "c // p.inner * p.outer_step\n        + c % p.inner * p.channel_step",
            "c % (p.depth // p.inner) * p.outer_step\n        + c // (p.depth // p.inner) * p.channel_step",
        ),
        _bug(
            "B_gx_weight_not_flipped",
            nhwc + "input_grad",
            "correlates the upstream gradient with the kernel as it is",
            "[:, :, :, ::-1, ::-1, ::-1]",
            "",
        ),
        _bug(
            "B_gx_group0_weights",
            nhwc + "input_grad",
            "every group gets the weights of the first",
            "part = weights[",
            "part = weights[[0] * len(weights)][",
        ),
        _bug(
            "B_gx_first_residue_only",
            nhwc + "input_grad",
            "only every s-th position is written",
            "in product(*map(residues, rows), columns):",
            "in list(product(*map(residues, rows), columns))[:1]:",
        ),
        _bug(
            "B_gx_residues_all_written_to_the_first",
            nhwc + "input_grad",
            "the offset of a residue class is forgotten",
            "conv.groups, first, step)",
            "conv.groups, (0, 0, 0), step)",
        ),
        _bug(
            "B_gx_nothing_comes_from_nowhere",
            nhwc + "input_grad",
            "no output channels, so nothing is written",
            "dx[...] = 0",
            "pass",
        ),
        _bug(
            "B_gw_empty_batch_leaves_out_unwritten",
            nhwc + "weight_grad",
            "nothing to sum, so nothing is written",
            "dw[...] = 0",
            "pass",
        ),
        _bug(
            "B_gw_out_with_gaps_unwritten",
            nhwc + "weight_grad",
            "the result stays in the array that stands for an out= with gaps",
            "out[...] = dw",
            "pass",
        ),
        _bug(
            "result_stays_where_it_was_computed",
            "relayout:deliver",
            "an out= whose channels do not lie side by side is left unwritten",
            "assign(out, computed)",
            "pass",
        ),
        _bug(
            "padding_of_a_padded_row_counted_twice",
            nhwc + "_windows",
            "first layer: the copy holds its padding, and the windows begin before it all the same",
            "last.out, last.stride, 0, last.dilation)",
            "last.out, last.stride, last.low, last.dilation)",
        ),
        _bug(
            "F_windows_at_the_high_end_are_those_of_the_low_end",
            "windows:fill_tables",
            "first layer: copies of windows that hang over the high end of a row are counted from its low end",
            "high = low + (w.edge_count - w.out2) * w.edge_bytes",
            "high = low",
        ),
        _bug(
            "F_windows_at_an_end_all_read_the_first",
            "windows:fill_tables",
            "first layer: of several windows that hang over an end the first is read for all",
            "start, low, between)",
            "start, low, 0)",
        ),
        _bug(
            "F_windows_at_the_high_end_copied_from_the_low_end",
            "relayout:_edges_piece",
            "first layer: all copies are of the first windows of a row",
            "q = i if i < e.low else e.out - e.count + i",
            "q = i",
        ),
        _bug(
            "dilated_taps_taken_for_neighbours",
            nhwc + "_windows",
            "first layer: the taps of a row are merged although something lies between them",
            "groups == 1 and last.dilation == 1 and",
            "groups == 1 and",
        ),
        _bug(
            "few_channels_in_groups_taken_for_dense",
            nhwc + "_windows",
            "first layer: the channels of a group are merged with those of its neighbour",
            "groups == 1 and last.dilation == 1 and",
            "last.dilation == 1 and",
        ),
        _bug(
            "depth_multiplier_forgotten",
            nhwc + "by_channels",
            "one filter a channel, however many there are",
            "conv.in_channels == conv.out_channels > 1 < conv.groups",
            "conv.out_channels > 1 < conv.groups",
        ),
    )


def _spreading() -> tuple[Mutant, ...]:
    piece, runs, deliver = "col2im:_band_piece", "col2im:_add_runs", "col2im:_deliver"
    return (
        _bug(
            "B_gx_a_run_goes_on_into_the_next",
            runs,
            "the lanes beyond a run, sums of the next kernel row, are added too",
            "broadcast(tile, float(length - v))",
            "broadcast(tile, float(length))",
        ),
        _bug(
            "B_gx_last_layer_lost",
            deliver,
            "a row of dx is the sum of all its layers but one",
            "in range(1, s.layers)",
            "in range(1, s.layers - 1)",
        ),
        _bug(
            "B_gx_rows_of_the_ring_keep_their_sums",
            deliver,
            "a later row of dx begins with what an earlier one was",
            "clear_bytes(row, s.layers * s.length)",
            "pass",
        ),
        _bug(
            "B_gx_padding_delivered",
            deliver,
            "the padding in front of a row of the ring is taken for its first pixels",
            "copy_bytes(place, row + s.low * pixel,",
            "copy_bytes(place, row,",
        ),
        _bug(
            "B_gx_band_without_what_begins_above",
            piece,
            "windows that begin above a band and reach into it are forgotten",
            "s.row_dilation * (s.row_taps - 1) - begin - s.row_low",
            "-begin - s.row_low",
        ),
        _bug(
            "B_gx_rows_that_nothing_reads_share_a_place",
            piece,
            "a row between two windows is still in the ring when the next one needs its place",
            "done = _deliver(tile, s, ring, image, done, min(end, p * s.row_stride - s.row_low))",
            "done = _deliver(tile, s, ring, image, done, min(end, (p - 1) * s.row_stride - s.row_low))",
        ),
        _bug(
            "B_gx_row_of_a_kernel_undilated",
            "col2im:_add_panel",
            "the rows of a kernel are neighbours, whatever the dilation",
            "r * s.row_dilation",
            "r",
        ),
    )


def _products() -> tuple[Mutant, ...]:
    piece = "products:_rows_piece"
    return (
        _bug(
            "F_last_chunk_of_pixels_lost",
            "products:cutting",
            "the split among threads rounds down",
            "chunks, piece_panels = -(-tiles // chunk), -(-panels // bands)",
            "chunks, piece_panels = max(1, tiles // chunk), -(-panels // bands)",
        ),
        _bug(
            "F_every_group_reads_the_first",
            piece,
            "the group's offset into a row of x is forgotten",
            "offset = (group * cut.depth + c) * tile.itemsize",
            "offset = c * tile.itemsize",
        ),
        _bug(
            "F_second_depth_block_reads_the_first",
            piece,
            "the channel offset into a row of x is forgotten",
            "offset = (group * cut.depth + c) * tile.itemsize",
            "offset = group * cut.depth * tile.itemsize",
        ),
        _bug(
            "F_second_depth_block_gets_weights_of_the_first",
            piece,
            "the channel offset into a panel is forgotten",
            "panel += (t * cut.depth + c) * tile.width",
            "panel += t * cut.depth * tile.width",
        ),
        _bug(
            "F_depth_blocks_overwrite",
            piece,
            "the sum over channels keeps its last block only",
            "accumulate = t + c + cut.add",
            "accumulate = t + cut.add",
        ),
        _bug(
            "F_blocks_of_taps_overwrite",
            piece,
            "the sum over taps keeps its last block only",
            "accumulate = t + c + cut.add",
            "accumulate = c + cut.add",
        ),
        _bug(
            "F_narrow_band_written_over_the_first_columns",
            piece,
            "the column that a band begins with is forgotten",
            "shift = (group * cut.all_columns + cut.first + p * tile.width) * tile.itemsize",
            "shift = (group * cut.all_columns + p * tile.width) * tile.itemsize",
        ),
        _bug(
            "F_groups_write_over_one_another",
            piece,
            "the group's offset into a row of y is forgotten",
            "shift = (group * cut.all_columns + cut.first + p * tile.width) * tile.itemsize",
            "shift = (cut.first + p * tile.width) * tile.itemsize",
        ),
        _bug(
            "F_last_row_of_an_edge_tile_lost",
            piece,
            "one pixel too few is copied from the buffer of a tile that is wider than the result",
            "for i in range(tile.rows):",
            "for i in range(tile.rows - 1):",
        ),
        _bug(
            "F_edge_tile_adds_to_another's_sums",
            piece,
            "a tile that is wider than the result does not read back what it summed so far",
            "for i in range(tile.rows if accumulate else 0):",
            "for i in range(0):",
        ),
        _bug(
            "F_at_the_edge_the_first_weights",
            piece,
            "taps that read only padding are left out, their weights are not",
            "weights = panel + (begin - t) * some_depth * edge_width",
            "weights = panel",
        ),
        _bug(
            "F_nothing_but_padding_left_unwritten",
            piece,
            "results to which no tap contributes keep what the memory held",
            "if begin == end and accumulate:",
            "if begin == end:",
        ),
        _bug(
            "F_a_tap_is_padding_if_its_first_row_is",
            "windows:_is_padding",
            "the other pixels of a tile are not asked",
            "return i == rows",
            "return i > 0",
        ),
        _bug(
            "F_padding_stays_with_its_axis",
            "windows:upright",
            "taps along rows alone: pixels go down columns, padding does not",
            '"stride", "low", "dilation"',
            '"stride", "dilation"',
        ),
        _bug(
            "B_gw_pixels_of_g_where_padding_was_left_out",
            "sums:_sum_piece",
            "a chunk that begins in the padding meets g's first pixels all the same",
            " + low_pixel * panel_step",
            "",
        ),
        _bug(
            "B_gw_padding_at_the_end_counts_from_the_front",
            "windows:read_pixels",
            "as many pixels are left out, at the other end",
            "return first, stop",
            "return count - stop, count - first",
            "sums:_sum_piece",
        ),
        _bug(
            "F_addresses_of_many_taps_in_one_run",
            piece,
            "the table of a kernel with several taps is filled as if it had one",
            "tile.rows if taps > 1 else pixels",
            "pixels",
        ),
        _bug(
            "B_gx_zeros_in_the_first_row_of_a_block",
            "products:_clear",
            "1x1, strided: the other rows keep what lay in memory",
            "for i1 in range(gaps.size1):",
            "for i1 in range(1):",
            "products:_rows_piece",
        ),
        _bug(
            "B_gx_zeros_in_the_first_plane_of_a_block",
            "products:_clear",
            "1x1, strided, 3-d: the other planes keep what lay in memory",
            "for i0 in range(gaps.size0):",
            "for i0 in range(1):",
            "products:_rows_piece",
        ),
        _bug(
            "B_gx_zeros_of_whole_tiles_alone",
            "nhwc:_gaps",
            "1x1, strided: columns of a tile that has more of them than there are channels get no zeros",
            "if not blocks or not whole(conv.w_shape[1], dx.dtype.name):",
            "if not blocks:",
        ),
        _bug(
            "B_gx_zeros_behind_the_first_pixel_of_a_tile",
            "products:_whole_tiles",
            "1x1, strided: as if a tile had one row",
            "_clear(tile, gaps, number(results, m + i) + shift, cut.stream)",
            "_clear(tile, gaps, number(results, m) + shift, cut.stream)",
            "products:_rows_piece",
        ),
        _bug(
            "F_second_tile_reads_the_rows_of_the_first",
            "products:_whole_tiles",
            "one tap: the table of addresses is read from its beginning for each tile",
            "table + m * 8, 1, offset",
            "table, 1, offset",
        ),
        _bug(
            "F_whole_tiles_overwrite",
            "products:_whole_tiles",
            "one tap: the sum over channels keeps its last block only",
            "shift, accumulate, cut.stream)",
            "shift, 0, cut.stream)",
        ),
        _product_bug(
            "accumulate_forgotten",
            piece,
            "what c holds is not added to",
            "accumulate = t + c + cut.add",
            "accumulate = t + c",
        ),
        _product_bug(
            "gaps_not_added_to",
            "gemm:_multiply",
            "a result with gaps is overwritten though it should be added to",
            "c[...] = c + dense if accumulate else dense",
            "c[...] = dense",
        ),
        _product_bug(
            "columns_not_added_to",
            "gemm:_multiply",
            "the transposed product forgets to accumulate",
            "_multiply(b.T, a.T, c.T, accumulate)",
            "_multiply(b.T, a.T, c.T, False)",
        ),
        _product_bug(
            "empty_sum_clears_what_it_adds_to",
            "gemm:matmul",
            "K = 0: c is set to zero, accumulate or not",
            "if not accumulate:",
            "if True:",
        ),
        _product_bug(
            "empty_sum_left_unwritten",
            "gemm:matmul",
            "K = 0: nothing to sum, so nothing is written",
            "c[...] = 0",
            "pass",
        ),
        _product_bug(
            "last_chunk_of_rows_lost",
            "products:cutting",
            "the split among threads rounds down",
            "chunks, piece_panels = -(-tiles // chunk), -(-panels // bands)",
            "chunks, piece_panels = max(1, tiles // chunk), -(-panels // bands)",
        ),
    )


def _tables() -> tuple[Mutant, ...]:
    tables = "windows:fill_tables"
    return (
        _bug(
            "F_dilation_ignored",
            tables,
            "the taps of one axis lie side by side",
            "j1 = i1 + r1 * w.dilation1",
            "j1 = i1 + r1",
        ),
        _bug(
            "F_stride_for_dilation",
            tables,
            "taps are as far apart as windows",
            "i2 + r2 * w.dilation2",
            "i2 + r2 * w.stride2",
        ),
        _bug(
            "F_padding_of_the_other_axis",
            tables,
            "rows are padded by what belongs to columns",
            "q * w.stride2 - w.low2",
            "q * w.stride2 - w.low1",
        ),
        _bug(
            "F_padding_offset_forgotten",
            tables,
            "the first window begins at the first pixel",
            "p * w.stride1 - w.low1",
            "p * w.stride1",
        ),
        _bug(
            "F_every_image_reads_the_first",
            tables,
            "the step from image to image is forgotten",
            "line = w.x + n * w.x_image + j0",
            "line = w.x + j0",
        ),
        _bug(
            "F_first_real_position_taken_for_padding",
            "windows:_inside",
            "off by one at the low edge",
            "start = min(run, max(0, -(j // stride)))",
            "start = min(run, max(0, 1 - (j // stride)))",
        ),
        _bug(
            "F_last_real_position_taken_for_padding",
            "windows:_inside",
            "off by one at the high edge",
            "(size - 1 - j) // stride + 1",
            "(size - 1 - j) // stride",
        ),
        _bug(
            "F_stride_forgotten_within_a_run",
            tables,
            "neighbouring windows read neighbouring pixels",
            "w.stride2 * w.x_step2,",
            "w.x_step2,",
        ),
        _bug(
            "F_each_group_of_a_run_reads_the_first",
            "windows:_fill_run",
            "pixels of a row that belong to the next register tile are taken for those of the one before",
            "first + now * step",
            "first",
        ),
        _bug(
            "F_next_image_never_comes",
            "windows:next_pixel",
            "the last pixel of an image is followed by the first of the same",
            "o, n = 0, n + 1",
            "o = 0",
        ),
        _bug(
            "B_gx_results_side_by_side",
            "windows:windows",
            "a residue class is written as if the stride were 1",
            "y_steps = [f * s for f, s in zip(step, y_steps)]",
            "pass",
        ),
    )


def _panels() -> tuple[Mutant, ...]:
    return (
        _bug(
            "F_left_over_columns_dropped",
            "packing:bands",
            "filters that fill no panel are not computed",
            "return [(tile, 0, first), wider] if",
            "return [(tile, 0, first)] if",
        ),
        _bug(
            "F_narrow_band_gets_the_first_columns",
            "packing:_pack_piece",
            "the column that a band begins with is forgotten",
            "(p.first + panel * tile.width) * p.column_step",
            "panel * tile.width * p.column_step",
        ),
        _bug(
            "F_weights_of_the_first_group",
            "packing:_pack_piece",
            "the group's offset into the weights is forgotten",
            "p.b + group * p.group_step",
            "p.b",
        ),
        _bug(
            "F_tail_of_a_panel_not_packed",
            "packing:_pack_panel",
            "rows that fill no block of the transposition are lost",
            "for m in range(done, p.depth * taps):",
            "for m in range(done, p.depth * taps // tile.lanes * tile.lanes):",
        ),
        _bug(
            "F_panel_by_channel_then_tap",
            "packing:_pack_panel",
            "rows of a panel in the order of the weights, not of the products",
            "row = to + (m % taps * p.depth + m // taps) * width",
            "row = to + m * width",
        ),
        _bug(
            "F_first_two_axes_exchanged",
            "packing:_offset",
            "3-d: the step of the neighbouring axis",
            "t // (p.taps1 * p.taps2) * p.tap0_step",
            "t // (p.taps1 * p.taps2) * p.tap1_step",
        ),
        _bug(
            "B_gx_taps_taken_for_neighbours",
            "packing:_taps_are_neighbours",
            "part of the taps read as if they were all there are",
            "and p.channel_step == p.taps0 * plane",
            "",
        ),
        _bug(
            "left_over_columns_of_a_transposition_lost",
            "relayout:_transpose_piece",
            "positions that fill no block keep what the array held",
            "range(whole_rows if j < whole_columns else 0, p.rows)",
            "range(whole_rows, p.rows)",
        ),
        _bug(
            "left_over_rows_of_a_transposition_lost",
            "relayout:_transpose_piece",
            "channels that fill no block keep what the array held",
            "range(whole_rows if j < whole_columns else 0, p.rows)",
            "range(p.rows if j < whole_columns else 0, p.rows)",
        ),
        _bug(
            "every_image_rearranged_is_the_first",
            "relayout:_transpose_piece",
            "the step from image to image is forgotten",
            "source, target = p.source + n * p.matrix_bytes, p.target",
            "source, target = p.source, p.target",
        ),
        _bug(
            "low_padding_of_a_row_not_cleared",
            "relayout:_pad_piece",
            "first layer: what the workspace held counts as padding",
            "clear_bytes(target, p.low * pixel)",
            "pass",
        ),
        _bug(
            "high_padding_of_a_row_not_cleared",
            "relayout:_pad_piece",
            "first layer: what the workspace held counts as padding",
            "clear_bytes(target + stop * pixel, (p.length - stop) * pixel)",
            "pass",
        ),
    )


def _depthwise() -> tuple[Mutant, ...]:
    step = "depthwise:_filter_step"
    return (
        _bug(
            "F_left_over_channels_dropped",
            step,
            "channels that fill no tile are not computed",
            "min(begin + job.band, job.channels)",
            "min(begin + job.band, job.channels // tile.width * tile.width)",
        ),
        _bug(
            "F_left_over_pixels_lost",
            "depthwise:_filter_row",
            "pixels at the end of a row that fill no tile are not computed",
            "range(0, w.out2, tile.rows)",
            "range(0, w.out2 - pixels + 1, tile.rows)",
        ),
        _bug(
            "F_filters_of_the_first_channels",
            step,
            "the channel offset into the weights is forgotten",
            "shift + s * weights.step2",
            "s * weights.step2",
        ),
        _bug(
            "F_taps_that_are_left_get_the_first_weights",
            step,
            "at the low edge the first taps read padding and are left out, their weights are not",
            "shift + s * weights.step2",
            "shift",
        ),
        _bug(
            "F_depthwise_taps_and_channels_exchanged",
            "depthwise_weights:_order_piece",
            "weights are read as (taps, C) without moving their axes",
            "source + d * o.member_step + c * o.channel_step",
            "source + d * o.member_step + c * o.step2",
        ),
        _bug(
            "F_stride_ignored_in_a_run_of_pixels",
            step,
            "windows begin one pixel after another",
            "w.x_step2, w.stride2, w.dilation2",
            "w.x_step2, 1, w.dilation2",
        ),
        _bug(
            "F_run_of_pixels_ignores_dilation",
            step,
            "the taps of a row lie side by side",
            "w.x_step2, w.stride2, w.dilation2",
            "w.x_step2, w.stride2, 1",
        ),
        _bug(
            "F_shared_pixels_meet_the_taps_backwards",
            "depthwise_tiles:_meet",
            "correlation taken for convolution where windows share their pixels",
            "pixel[j], weights[s][j]",
            "pixel[j], weights[-1 - s][j]",
            "depthwise:_filter_piece",
            "depthwise_long:_long_piece",
        ),
        _bug(
            "F_first_weights_for_the_taps_of_a_long_row_that_are_left",
            "depthwise_long:_long_piece",
            "at the low edge the first taps read padding and are left out, their weights are not",
            "1, 1, 0, s * step",
            "1, 1, 0, 0",
        ),
        _bug(
            "F_padding_of_a_long_row_not_cleared",
            "depthwise_long:_copy_pixels",
            "what the memory held counts as padding",
            "clear_bytes(to, low)",
            "clear_bytes(to, 0)",
        ),
        _bug(
            "B_gx_depthwise_weight_not_flipped",
            "nhwc:input_grad",
            "each class meets its taps in the order of the forward pass",
            "[r.taps][::-1]",
            "[r.taps]",
        ),
        _bug(
            "B_gx_classes_after_the_first_few_lost",
            "depthwise:filter_channels",
            "of the residues only as many are computed as fit into one run",
            "range(0, len(classes), CLASSES)",
            "range(0, CLASSES, CLASSES)",
        ),
        _bug(
            "B_gx_whole_rows_out_of_phase",
            "depthwise_tiles:gradient_tile",
            "gradients of strided rows meet the taps of an image without padding",
            "phase=low % stride",
            "phase=0",
        ),
        _bug(
            "B_gx_whole_rows_from_odd_pixels_on",
            "depthwise:_filter_row",
            "the tile that ends a row of odd length begins between two pixels of g",
            "q += q % tile.stride",
            "q += 0",
        ),
        _bug(
            "B_gx_whole_rows_begin_with_pixel_0",
            "depthwise:_first_pixel",
            "what lies before the first pixel of g that a tile is about is forgotten",
            "(q + w.low2 - tile.phase) // tile.stride - tile.low",
            "(q + w.low2 - tile.phase) // tile.stride",
        ),
        _bug(
            "B_gw_moved_back_vector_taken_for_one_that_follows",
            "depthwise:_deliver_piece",
            "the last vector's sums belong to the last channels, all of them",
            "k = c if c < last else c - (r.channels - width) + last",
            "k = c",
        ),
        _bug(
            "B_gw_first_part_of_the_pixels_only",
            "depthwise:_deliver_piece",
            "the sums of one thread are taken for the whole",
            "for part in range(1, r.parts)",
            "for part in range(0)",
        ),
        _bug(
            "B_gw_taps_that_fill_up_a_tile_taken_for_real",
            "depthwise:_deliver_piece",
            "a row of sums has more taps than a row of the kernel",
            "% r.taps1) * r.all_taps2",
            "% r.taps1) * r.taps2",
        ),
        _bug(
            "B_gw_last_part_of_the_pixels_lost",
            "depthwise:weight_sums",
            "the split among threads rounds down",
            "parts = -(-rows // part_rows)",
            "parts = max(1, rows // part_rows)",
        ),
        _bug(
            "B_gw_all_parts_sum_in_one_place",
            "depthwise:_sum_piece",
            "a part's offset into the sums is forgotten",
            "sums = job.sums + piece * w.taps0 * plane",
            "sums = job.sums",
        ),
        _bug(
            "B_gw_ring_of_rows_too_short",
            "depthwise:_sum_piece",
            "a row of x is written over while taps still read it",
            "(job.taps1 - 1) * w.dilation1 + (job.rows - 1) * w.stride1 + 1",
            "(job.rows - 1) * w.stride1 + 1",
        ),
        _bug(
            "B_gw_rows_of_the_last_image_in_the_ring",
            "depthwise:_sum_piece",
            "a new image begins with the rows that the ring still holds",
            "if p > 0 and row > piece * job.part_rows else j1",
            "if row > piece * job.part_rows else j1",
        ),
        _bug(
            "B_gw_copied_pixels_read_as_if_they_were_not",
            "depthwise:_sum_rows",
            "pixels are further apart in the copy than in x",
            "job.copied if job.copied else w.x_step2",
            "w.x_step2",
        ),
    )


def _sums() -> tuple[Mutant, ...]:
    return (
        _bug(
            "B_gw_last_part_lost",
            "sums:_evenly",
            "the split of pixels, panels or tiles rounds down",
            "return size, -(-count // size)",
            "return size, max(1, count // size)",
        ),
        _bug(
            "B_gw_chunks_overwrite",
            "sums:_sum_piece",
            "of the chunks of a part the last one stays",
            "result, step, m - begin,",
            "result, step, 0,",
        ),
        _bug(
            "B_gw_upstream_of_the_first_group",
            "sums:_panel_shift",
            "the group's offset into a row of g is forgotten",
            "(group * cut.all_columns + cut.first + panel",
            "(cut.first + panel",
            "sums:_sum_piece",
        ),
        _bug(
            "B_gw_narrow_band_reads_the_first_columns",
            "sums:_panel_shift",
            "the column that a band begins with is forgotten",
            "(group * cut.all_columns + cut.first + panel",
            "(group * cut.all_columns + panel",
            "sums:_sum_piece",
        ),
        _bug(
            "B_gw_rows_of_g_taken_for_neighbours",
            "sums:_steady",
            "columns read where they lie: what lies between rows of g is read with them",
            "if step != apart * count:",
            "if False:",
        ),
        _bug(
            "B_gw_copied_channels_of_the_first_tile",
            "sums:_sum_piece",
            "where rows of x were copied, every tile reads the first",
            "offset = _channel_begin(tile, cut, group, i) * tile.itemsize - low",
            "offset = 0 if cut.copied > 0 else _channel_begin(tile, cut, group, i) * tile.itemsize",
        ),
        _bug(
            "B_gw_copied_rows_of_the_first_group",
            "sums:_sum_piece",
            "the group's offset into a row of x is forgotten where rows are copied",
            "rows, count, low, high - low)",
            "rows, count, max(0, low - group * cut.depth * tile.itemsize), high - low)",
        ),
        _bug(
            "B_gw_rows_of_dw_of_the_first_group",
            "sums:_sum_piece",
            "one tap, x and g exchanged: every group writes the rows of the first",
            "(part * cut.all_depth + group * cut.depth + i * tile.rows) * step",
            "(part * cut.all_depth + i * tile.rows) * step",
        ),
        _bug(
            "B_gw_rows_of_dw_of_all_parts_in_one",
            "sums:_sum_piece",
            "one tap, x and g exchanged: the last part stands where the first is expected",
            "(part * cut.all_depth + group * cut.depth + i * tile.rows) * step",
            "(group * cut.depth + i * tile.rows) * step",
        ),
        _bug(
            "B_gw_columns_of_dw_of_the_first_panel",
            "sums:_sum_piece",
            "one tap, x and g exchanged: every panel writes the columns of the first",
            "result += p * width",
            "result += 0",
        ),
        _bug(
            "B_gw_columns_of_dw_of_the_first_band",
            "sums:_among_rows",
            "one tap, x and g exchanged: the column that a wider tile begins with is forgotten",
            "Target(address(d) + cut.first * d.itemsize, row_step",
            "Target(address(d), row_step",
        ),
        _bug(
            "B_gw_rows_of_dw_as_far_apart_as_those_of_parts",
            "sums:_add_piece",
            "one tap, x and g exchanged: parts hold some columns of dw, and their rows are shorter",
            "row * to.column_step",
            "row * cut.row_step",
        ),
        _bug(
            "B_gw_rows_of_dw_without_the_last_part",
            "sums:_add_piece",
            "one tap, x and g exchanged: a part is forgotten",
            "for part in range(1, cut.parts):",
            "for part in range(2, cut.parts):",
        ),
        _bug(
            "B_gw_third_part_not_added",
            "sums:_add_parts",
            "of the parts only the first two are summed",
            "for part in range(1, cut.parts):",
            "for part in range(1, min(2, cut.parts)):",
        ),
        _bug(
            "B_gw_moved_back_tile_read_as_if_not_moved",
            "sums:_add_parts",
            "the rows of a tile that was moved back belong to earlier channels",
            "group * cut.depth + channel - _channel_begin(tile, cut, group, i)",
            "channel - i * tile.rows",
        ),
        _bug(
            "B_gw_groups_written_over_one_another",
            "sums:_deliver_piece",
            "the group's offset into dw is forgotten",
            "(panel // panels * cut.all_columns + cut.first + k)",
            "(cut.first + k)",
        ),
        _bug(
            "B_gw_merged_taps_in_the_order_of_x",
            "sums:_add_parts",
            "the taps of a kernel row stay where x has them, outside of its channels",
            "channel = element % to.merged * (cut.depth // to.merged) + rest // to.taps",
            "channel = element // to.taps",
        ),
        _bug(
            "B_gw_every_block_delivers_the_first",
            "sums:_sum_piece",
            "a piece that delivers what it has summed forgets which channels these are",
            "(group * panels + p) * cut.blocks + block",
            "(group * panels + p) * cut.blocks",
        ),
        _bug(
            "B_gw_columns_lost_in_a_whole_tile",
            "sums:_pack_rows",
            "only the first vector of a row of g is packed",
            "for j in range(0, width, tile.lanes * tile.itemsize):",
            "for j in range(0, tile.lanes * tile.itemsize, tile.lanes * tile.itemsize):",
        ),
    )


def _tiles() -> tuple[Mutant, ...]:
    return (
        _bug(
            "F_tile_never_adds_to_memory",
            "tiles:_Sums.start",
            "every block of a sum begins at zero",
            "phi.add_incoming(value, read)",
            "phi.add_incoming(emit_zero(tile), read)",
            "products:_rows_piece",
        ),
        _bug(
            "F_second_vector_adds_to_the_first",
            "tiles:_times_row",
            "an index typed wrong in an unrolled loop",
            "sums[i * tile.vectors + j]",
            "sums[i * tile.vectors]",
            "products:_rows_piece",
        ),
        _bug(
            "B_gw_product_and_sum_exchanged",
            "simd:emit_fma",
            "x * z + y",
            "[x, y, z]",
            "[x, z, y]",
            "sums:_sum_piece",
        ),
        _bug(
            "F_all_vectors_get_the_first_filters",
            "depthwise_tiles:_vectors",
            "depthwise: the second vector of channels is filtered like the first",
            "emit_load(b, tile, pointer, j * tile.lanes)",
            "emit_load(b, tile, pointer, 0)",
            "depthwise:_filter_piece",
        ),
        _bug(
            "F_every_channel_meets_the_first_of_its_group",
            "depthwise_tiles:_member",
            "grouped: member 0 stands in for all",
            "lane // tile.group * tile.group + d",
            "lane // tile.group * tile.group",
            "depthwise:_filter_piece",
        ),
        _bug(
            "last_piece_of_work_lost",
            "pieces:_loop",
            "the loop over pieces ends one too early",
            "range(pieces)",
            "range(pieces - 1)",
        ),
        _bug(
            "last_piece_of_parallel_work_lost",
            "crew:_take",
            "nobody takes the last piece",
            "while piece < pieces:",
            "while piece < pieces - 1:",
        ),
    )


def _finish() -> tuple[Mutant, ...]:
    from tests.checks import finish

    faces = (
        *(
            partial(finish.same_bits, case, "float64")
            for case in finish.CASES
            if case.algorithm in ("nhwc", "winograd")
        ),
        finish.not_numbers,
    )

    def bug(name: str, target: str, story: str, old: str, new: str) -> Mutant:
        return Mutant(name, f"{CPU}.{target}", faces, story, old, new)

    return (
        bug(
            "finish_adds_the_first_image_to_all",
            "finish:_finish_vectors",
            "the addend of the first results, wherever they lie",
            "f.added + (place - f.y) + v",
            "f.added + v",
        ),
        bug(
            "finish_shifts_by_the_first_channels",
            "finish:_finish_vectors",
            "the shift of the first channels for all",
            "f.shift + channel + v",
            "f.shift + v",
        ),
        bug(
            "finish_forgets_the_ceiling",
            "finish:_finish_vectors",
            "ReLU6 is ReLU",
            "minimum(high, maximum(low, value))",
            "maximum(low, value)",
        ),
        bug(
            "finish_swallows_nan",
            "finish:_finish_vectors",
            "NaN > 0 is false",
            "maximum(low, value)",
            "maximum(value, low)",
        ),
        bug(
            "finish_leaves_out_the_last_channels",
            "finish:finish",
            "whole vectors only",
            "if whole < count:",
            "if whole < 0:",
        ),
        bug(
            "finish_of_the_first_band_for_all",
            "products:_rows_piece",
            "each band of columns scales by the channels of the first",
            "channel = group * cut.all_columns + cut.first + begin",
            "channel = group * cut.all_columns + begin",
        ),
        bug(
            "finish_of_the_first_group_for_all",
            "products:_rows_piece",
            "each group scales by the channels of the first, and where they are",
            "channel = group * cut.all_columns + cut.first + begin",
            "channel = cut.first + begin",
        ),
        bug(
            "finish_of_a_run_stands_still",
            "depthwise:_filter_step",
            "the first pixel of a run is finished again and again",
            "finish(tile, last, y + i * w.y_step2,",
            "finish(tile, last, y,",
        ),
        bug(
            "finish_of_the_first_row_of_a_tile",
            "winograd_blocks:deliver_tiles",
            "the rows of a tile but the first stay as they are",
            "for r in range(rows if last.scale != 0 else 0):",
            "for r in range(1 if last.scale != 0 else 0):",
        ),
        bug(
            "residual_as_it_lies",
            "nhwc:_forward_then",
            "reads an addend of another storage as if it lay like the result",
            'None if added is None else last_and_dense(added, "added")',
            "None if added is None else np.ascontiguousarray(added)",
        ),
    )


def _replay() -> tuple[Mutant, ...]:
    from tests.checks import replay

    def bug(name: str, target: str, story: str, old: str, new: str) -> Mutant:
        return Mutant(name, f"{CPU}.{target}", replay.CHECKS, story, old, new)

    return (
        bug(
            "known_call_of_other_strides",
            "replay:replayed",
            "weights that lie in another way are read as those of the first call",
            "problem, *strides, arrays[0].dtype",
            "problem, strides[0], arrays[0].dtype",
        ),
        bug(
            "known_call_begins_at_the_first_element",
            "replay:Program.run",
            "of a negative stride the first element is not the lowest address",
            "address(a) - below for a, below",
            "address(a) for a, below",
        ),
        bug(
            "known_call_of_one_array",
            "replay:_apart",
            "both operands were one array, and now the first is taken for the second",
            "all(high <= low for",
            "any(True for",
        ),
        bug(
            "known_call_without_its_work_in_numpy",
            "pieces:outside_of_loops",
            "what a kernel computes in NumPy is done in the first call only",
            "_watch.loops.append(None)",
            "pass",
        ),
        Mutant(
            "scratch_memory_that_ends_too_early",
            "minidl.kernels.workspace:borrow",
            replay.CHECKS,
            "the array of a copy ends before the loops that know its address",
            "_kept.held.append(found.memory)",
            "pass",
        ),
    )


MUTANTS: tuple[Mutant, ...] = (
    (
        *_passes(),
        *_spreading(),
        *_products(),
        *_tables(),
        *_panels(),
        *_depthwise(),
        *_sums(),
        *_tiles(),
        *_finish(),
        *_replay(),
        *anywhere("nhwc", f"{CPU}.nhwc"),
    )
    if HAVE_NUMBA
    else ()
)
