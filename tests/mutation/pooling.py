"""Pooling's bugs: those that people's pooling layers had, and those that the storage and tables here invite."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.checks import pooling as checks
from tests.checks.roi import check_roi

from .framework import Mutant

Checks = tuple[Callable[[], object], ...]


def both(check: Callable[..., None]) -> Checks:
    return partial(check, "spec"), partial(check, "numba")


MAX, AVG, AVG_GRAD = (
    (partial(c, "numba"),) for c in (checks.check_max_pool, checks.check_avg_pool, checks.check_avg_pool_grad)
)
SCATTER = partial(checks.check_max_pool_grad, "numba"), partial(checks.check_max_unpool, "numba")
SPEC_MAX, SPEC_AVG = (partial(checks.check_max_pool, "spec"),), (partial(checks.check_avg_pool, "spec"),)
LP = (checks.check_lp_pool,)
VALUES = checks.check_max_values, checks.check_rare_nan

_POOL = "minidl.kernels.pooling:"
_SPEC = "minidl.kernels.spec.pooling:"
_CPU = "minidl.kernels.cpu.pooling:"
_TABLES = "minidl.kernels.cpu.pooling_tables:"
_FIRST = "minidl.kernels.cpu.pooling_first:"
_LAST = "minidl.kernels.cpu.pooling_last:"
_WINNERS = "minidl.kernels.cpu.pooling_winners:"
_VALUES = "minidl.kernels.cpu.pooling_values:"
_WINS = "if v > best or at < 0 or v != v:"
_TAIL = "axes = tuple(Axis(*a, ceil_mode) for a in zip(size, kernel, strides, pads, steps))"


def mutant(name: str, target: str, checks: Checks, story: str, old: str, new: str) -> Mutant:
    return Mutant(name, target, checks, story, old, new)


WINDOWS = (
    mutant("pool_stride_hw_swapped", _POOL + "Pool.from_shape", both(checks.check_max_pool),
           "reads stride as (width, height)", _TAIL, "strides = strides[::-1]; " + _TAIL),
    mutant("pool_kernel_hw_swapped", _POOL + "Pool.from_shape", both(checks.check_avg_pool),
           "reads kernel_size as (width, height)", _TAIL, "kernel = kernel[::-1]; " + _TAIL),
    mutant("pool_pad_hw_swapped", _POOL + "Pool.from_shape", both(checks.check_max_pool),
           "reads padding as (width, height)", _TAIL, "pads = pads[::-1]; " + _TAIL),
    mutant("pool_stride_defaults_to_one", _POOL + "Pool.from_shape", both(checks.check_max_pool),
           "takes a convolution's default stride", "kernel if stride is None", "(1,) * ndim if stride is None"),
    mutant("pool_ceil_ignored", _POOL + "Pool.from_shape", both(checks.check_max_pool),
           "never adds the window that hangs over", "Axis(*a, ceil_mode)", "Axis(*a, False)"),
    mutant("pool_ceil_keeps_window_in_the_padding", "minidl.kernels.geometry:Axis.out", both(checks.check_avg_pool),
           "rounds up and forgets that the last window must begin in the input", "windows -= 1", "windows -= 0"),
    mutant("pool_ceil_window_begins_in_high_padding", "minidl.kernels.geometry:Axis.out", both(checks.check_avg_pool),
           "counts the high padding as input in the ceil rule", "self.size + self.pad[0]", "self.padded"),
    mutant("pool_floor_rounds_up", "minidl.kernels.geometry:Axis.out", both(checks.check_max_pool),
           "pools as Caffe does, always rounding up", "if not self.ceil:", "if False:"),
)  # fmt: skip

DEFINITION = (
    mutant("spec_tap_at_the_edge_lost", _SPEC + "taps", SPEC_MAX,
           "an inclusive bound written as an exclusive one", "0 <= i < axis.size", "0 < i < axis.size"),
    mutant("spec_adaptive_end_floor", _SPEC + "reach", SPEC_MAX,
           "the end of an adaptive window rounded down: positions between windows are lost",
           "-(-(p + 1) * axis.size // axis.out)", "(p + 1) * axis.size // axis.out"),
    mutant("spec_last_tie_wins", _SPEC + "largest", SPEC_MAX,
           "the last of equal values is named", "window.argmax(-1)",
           "window.shape[-1] - 1 - window[..., ::-1].argmax(-1)"),
    mutant("spec_index_in_the_window", _SPEC + "max_pool", SPEC_MAX,
           "stores the position within the window", "plane[read].ravel()[winner]", "winner"),
    mutant("spec_nan_is_lost", _SPEC + "largest", SPEC_MAX,
           "ignores NaN as np.nanmax does", "nan.any(-1), last_nan, window.argmax(-1)",
           "nan.any(-1), np.where(nan, -np.inf, window).argmax(-1), window.argmax(-1)"),
    mutant("spec_grad_assigns", _SPEC + "max_pool_grad", (partial(checks.check_max_pool_grad, "spec"),),
           "overlapping windows overwrite each other: dx[indices] += g in NumPy",
           "np.add.at(plane, i, value)", "plane[i] += value"),
    mutant("spec_unpool_adds", _SPEC + "max_unpool", (partial(checks.check_max_unpool, "spec"),),
           "unpooling adds where it should assign", "plane[i] = value", "np.add.at(plane, i, value)"),
    mutant("spec_divisor_ignores_clipping", _SPEC + "divisors", SPEC_AVG,
           "always divides by the whole kernel, also where the window hangs over",
           "sum(t < axis.size + axis.pad[1] for t in reach(axis, i))", "axis.kernel"),
    mutant("spec_divisor_excludes_pad", _SPEC + "divisors", SPEC_AVG,
           "count_include_pad has no effect", "if count_include_pad and isinstance(axis, Axis):", "if False:"),
    mutant("spec_average_grad_not_divided", _SPEC + "avg_pool_grad", (partial(checks.check_avg_pool_grad, "spec"),),
           "spreads g without dividing by the window", "(g / divisors(pool, count_include_pad, divisor_override))",
           "(g * np.ones(pool.out))"),
    mutant("spec_average_grad_assigns", _SPEC + "avg_pool_grad", (partial(checks.check_avg_pool_grad, "spec"),),
           "overlapping windows overwrite each other", "dx[read] += share", "dx[read] = share"),
    mutant("spec_average_grad_keeps_rubbish", _SPEC + "avg_pool_grad", (partial(checks.check_avg_pool_grad, "spec"),),
           "adds into the buffer it was given without clearing it", "dx[...] = 0", "pass"),
    mutant("lp_forgets_the_root", _SPEC + "lp_pool", LP, "returns the sum of powers", "** (1 / norm_type)", "** 1"),
    mutant("lp_is_a_mean", _SPEC + "lp_pool", LP, "the root of the mean instead of the sum",
           " * x.dtype.type(taps_per_window)", " * x.dtype.type(1)"),
    mutant("lp_grad_without_root", _SPEC + "lp_pool_grad", LP,
           "differentiates the sum of powers and forgets the root", "g * slope", "g"),
    mutant("maxout_groups_interleaved", _POOL + "channel_max", both(checks.check_channel_max),
           "channels c, c + C/pool, ... form a group, instead of neighbours",
           "(Axis(x.shape[1], pool, stride=pool),)", "(Axis(x.shape[1], pool, 1, (0, 0), x.shape[1] // pool),)"),
    mutant("maxout_reshaped_not_transposed", _POOL + "channel_max", both(checks.check_channel_max),
           "reads (N, L, C/pool) as (N, C/pool, L)", "return values.swapaxes(1, 2).reshape(shape)",
           "return values.reshape(shape)"),
)  # fmt: skip

TABLES = (
    mutant("table_first_tap_off_dilation", _TABLES + "table", MAX,
           "a dilated window that begins in the padding reads from position 0",
           "start + skipped * axis.dilation", "np.maximum(start, 0)"),
    mutant("table_not_clipped_at_the_end", _TABLES + "table", AVG,
           "a window that hangs over reads the next row's memory",
           "np.minimum(start + axis.extent, axis.size)", "np.minimum(start + axis.extent, axis.size + 1)"),
    mutant("table_adaptive_end_floor", _TABLES + "table", AVG,
           "the end of an adaptive window rounded down", "-(-(p + 1) * axis.size // axis.out)",
           "(p + 1) * axis.size // axis.out"),
    mutant("table_low_padding_forgotten", _TABLES + "begin", MAX,
           "padding enlarges the output and moves nothing", " - axis.pad[0]", ""),
    mutant("count_without_high_padding", _TABLES + "counts", AVG,
           "the divisor counts the low padding only", "axis.size + axis.pad[1]", "axis.size"),
    mutant("count_beyond_the_padding", _TABLES + "counts", AVG,
           "a window that hangs over the padding is divided by the whole kernel",
           "np.minimum(first + axis.extent, axis.size + axis.pad[1])", "first + axis.extent"),
    mutant("count_ignores_dilation", _TABLES + "counts", AVG,
           "counts positions instead of taps", "-((first - stop) // step)", "stop - first"),
    mutant("divisor_axes_reversed", _TABLES + "divisors", AVG,
           "the divisors of the rows are laid along the columns", "enumerate(reversed(pool.axes))",
           "enumerate(pool.axes)"),
    mutant("divisor_override_ignored", _TABLES + "divisors", AVG,
           "a divisor of one's own has no effect", "if divisor_override is not None:", "if False:"),
    mutant("last_storage_taken_for_first", _CPU + "as5", SCATTER,
           "channels-last memory is reshaped as if it were channels first",
           "np.moveaxis(x, 1, -1)).reshape(n, *size, c)", "x).reshape(n, *size, c)"),
    mutant("out_not_filled", _CPU + "give", MAX,
           "a buffer stored otherwise is returned unwritten", "out[...] = y", "pass"),
)  # fmt: skip

COMPILED = (
    mutant("max_padded_with_zero", _FIRST + "_max_windows", MAX,
           "zero padding: the maximum of negatives is 0 at the border",
           "x.dtype.type(-np.inf), -1", "x.dtype.type(0), 0"),
    mutant("max_last_tie_wins", _FIRST + "_max_windows", MAX, "the last of equal values is named",
           "v > best", "v >= best"),
    mutant("max_nan_lost", _FIRST + "_max_windows", MAX, "a comparison with NaN is false, so NaN is passed over",
           _WINS, "if v > best or at < 0:"),
    mutant("max_all_minus_infinity", _FIRST + "_max_windows", MAX, "a window of -inf keeps the index -1",
           _WINS, "if v > best or v != v:"),
    mutant("max_index_in_the_window", _FIRST + "_max_windows", MAX, "stores the position within the window",
           "best, at = v, begin + k", "best, at = v, ((i - i0) * w.size1 + j - j0) * w.size2 + k - k0"),
    mutant("max_index_height_for_width", _FIRST + "_max_windows", MAX, "flattens with the height as the row length",
           "best, at = v, begin + k", "best, at = v, (i * w.size1 + j) * w.size1 + k"),
    mutant("max_rows_index_of_padded_plane", _FIRST + "_max_rows", MAX, "indexes a plane that has its padding",
           "tap = elements", "at = (i * w.size1 + j) * (w.size2 + 2 * w.low) + k + w.low; tap = elements"),
    mutant("max_rows_two_for_one", _FIRST + "_max_rows", MAX, "the branch for stride 2 was copied with its 1",
           "_keep_larger(tap, 2,", "_keep_larger(tap, 1,"),
    mutant("max_rows_last_tie_wins", _FIRST + "_keep_larger", MAX, "the last of equal values is named",
           "v > best[U(r)]", "v >= best[U(r)]"),
    mutant("rows_window_begins_one_late", _FIRST + "_inside", MAX,
           "rounds the first window down in the wrong direction", "-(offset // w.stride)", "-offset // w.stride + 1"),
    mutant("rows_stop_without_dilation", _FIRST + "_inside", AVG_GRAD, "forgets the dilation",
           "t * w.dilation - w.low", "t - w.low"),
    mutant("max_last_index_of_the_first_tap", _LAST + "_max_piece", MAX, "keeps the value and forgets the index",
           "keep_larger(tap, best, here, winner)", "keep_larger(tap, best, winner, winner)"),
    mutant("max_last_third_vector_keeps_the_second_winner", _LAST + "_max_piece", MAX, "names another's",
           "store(places + 2 * four, w2)", "store(places + 2 * four, w1)"),
    mutant("max_last_first_tap_is_the_largest_so_far", _LAST + "_max_piece", MAX, "begins with another's",
           "b2, b3 = load(tile, tap + 2 * vector)", "b2, b3 = load(tile, tap + vector)"),
    mutant("max_grad_last_fourth_vector_of_the_first", _LAST + "_max_grad_piece", SCATTER, "asks another's",
           "load(tile.places, winner + 3 * four)", "load(tile.places, winner)"),
    mutant("max_last_ties_to_the_last", _LAST + "_max_piece", MAX, "the taps are read from back to front",
           "for i in range(count):\n                tap, here = load",
           "for i in range(count - 1, -1, -1):\n                tap, here = load"),
    mutant("max_last_row_by_the_rows", _TABLES + "split", MAX, "takes the row out of the piece's number by the planes",
           "row % rows1", "row % rows0"),
    mutant("max_last_vector_not_moved_back", _LAST + "_max_piece", MAX, "the last channels are the next position's",
           "source = image + first * tile.itemsize", "source = image + c * tile.itemsize"),
    mutant("max_grad_last_assigns", _LAST + "_max_grad_piece", SCATTER, "overlapping windows overwrite each other",
           "total = total + where_equal", "total = where_equal"),
    mutant("max_grad_last_everywhere", _LAST + "_max_grad_piece", SCATTER, "every tap gets the gradient",
           "where_equal(winner, own, ", "where_equal(own, own, "),
    mutant("holding_one_window_too_few", _LAST + "_holding", SCATTER, "a window does not hold its first position",
           'np.searchsorted(begin(axis), positions, "right")', 'np.searchsorted(begin(axis), positions, "left")'),
    mutant("mean_not_divided", _FIRST + "_mean_windows", AVG, "returns the sum", "total / divisor[U(r)]", "total"),
    mutant("mean_rows_adds_to_rubbish", _FIRST + "_mean_rows", AVG, "adds into the buffer without clearing it",
           "clear_bytes(m.y + item * w.out2 * size, w.out2 * size)", "pass"),
    mutant("mean_rows_first_divisor", _FIRST + "_mean_rows", AVG, "divides a whole row by its first window's count",
           "divisor[U(r)]", "divisor[U(0)]"),
    mutant("mean_last_wrong_divisor", _LAST + "_mean_piece", AVG, "divides by the count of a row's first window",
           "(p * t.out1 + q) * t.out2 + r", "(p * t.out1 + q) * t.out2"),
    mutant("mean_last_fourth_vector_reads_the_third", _LAST + "_mean_piece", AVG, "one of four vectors is lost",
           "load(tile, tap + 3 * vector)", "load(tile, tap + 2 * vector)"),
    mutant("mean_grad_last_second_vector_not_shared_out", _LAST + "_mean_grad_piece", AVG_GRAD,
           "one of four vectors gets all of g", "load(tile, share + vector) * part",
           "load(tile, share + vector)"),
    mutant("mean_grad_not_divided", _FIRST + "_mean_grad_windows", AVG_GRAD, "spreads g undivided",
           "/ divisor[U(r)]", "/ 1"),
    mutant("mean_grad_assigns", _FIRST + "_mean_grad_windows", AVG_GRAD, "overlapping windows overwrite each other",
           "+= share", "= share"),
    mutant("mean_grad_rows_assigns", _FIRST + "_add_share", AVG_GRAD, "overlapping windows overwrite each other",
           "+= share[U(r)]", "= share[U(r)]"),
    mutant("mean_grad_rows_ignores_g", _FIRST + "_mean_grad_rows", AVG_GRAD, "spreads ones: right for a sum only",
           "g[U(r)] / divisor[U(r)]", "1 / divisor[U(r)] + 0 * g[U(r)]"),
    mutant("mean_last_taps_of_the_first_window", _LAST + "_mean_piece", AVG, "all windows of a row are the first",
           "image + (k0 - begin) * pixel", "image"),
    mutant("mean_last_taps_of_a_cut_window", _LAST + "_mean_piece", AVG, "a whole window has those of the one before",
           "if k1 - k0 != length:", "if length < 0:"),
    mutant("mean_grad_alone_vector_not_moved_back", _LAST + "_share_out_alone", AVG_GRAD,
           "the last channels are the next position's", "store(result + k * pixel + first",
           "store(result + k * pixel + c"),
    mutant("mean_grad_alone_between_the_windows", _LAST + "_share_out_alone", AVG_GRAD,
           "a row that no window reads gets a share", "if row >= 0 and r < stop", "if r < stop"),
    mutant("mean_grad_last_ignores_dilation", _LAST + "_reads", AVG_GRAD, "a window has a tap wherever it reaches over",
           "step == 1 or", "True or"),
    mutant("mean_grad_last_not_divided", _LAST + "_parts", AVG_GRAD, "spreads g undivided",
           "1 / _divisors", "1 + 0 * _divisors"),
    mutant("mean_grad_last_one_window", _LAST + "_mean_grad_piece", AVG_GRAD, "overlapping windows overwrite",
           "total = total + share", "total = share"),
    mutant("scatter_assigns", _WINNERS + "_put", SCATTER, "overlapping windows overwrite each other",
           "+= value", "= value"),
    mutant("unpool_adds", _CPU + "scattered", SCATTER, "unpooling adds where it should assign",
           "flat(y, last), add)", "flat(y, last), True)"),
    mutant("scatter_keeps_rubbish", _WINNERS + "_scatter", SCATTER, "does not clear its buffer",
           "clear_bytes(w.plane + a * w.length * row, w.length * row)", "pass"),
    mutant("scatter_range_unchecked", _CPU + "scattered", SCATTER, "drops indices outside the plane without a word",
           "check_indices(indices, shape)", "pass"),
    mutant("scatter_planes_mixed", _CPU + "scattered", SCATTER, "indices are read in another storage than the values",
           "places(indices, last)", "places(indices, is_last(indices)).reshape(flat(values, last).shape)"),
    mutant("gather_from_the_first_plane", _WINNERS + "_gather", (partial(checks.check_gather, "numba"),),
           "reads every plane's values from the first", "places = _arrays(stored, w, a)",
           "places = _arrays(stored, w, a); u, _, _ = _arrays(stored, w, 0)"),
)  # fmt: skip

AGAIN = (
    mutant("again_whatever_the_strides", _CPU + "_again", (checks.sizes_seen_before,),
           "takes every array for one that is stored as the first", "x.strides, x.dtype", "x.dtype"),
    mutant("again_whatever_is_counted", _CPU + "_again", (checks.sizes_seen_before,),
           "every rule gets the first one's divisors", "counting, x.strides", "x.strides"),
    mutant("max_values_named_nowhere", "minidl.ops.pooling:_largest", (checks.places_are_kept,),
           "forgets that a gradient needs the places", "MODE.recording and x.requires_grad", "False"),
    mutant("max_values_behind_the_listener", "minidl.ops.pooling:_largest", (checks.places_are_kept,),
           "a listener sees another operation", "or LISTENERS ", ""),
    mutant("max_values_instead_of_places", "minidl.ops.pooling:_largest", (checks.places_are_kept,),
           "forgets that the caller asked", "(indices or LISTENERS", "(LISTENERS"),
    mutant("max_values_third_vector_lost", _VALUES + "_values_piece", VALUES,
           "stores one of four vectors twice", "c + 2 * vector, b2)", "c + 2 * vector, b1)"),
    mutant("max_values_nan_of_the_fourth_vector", _VALUES + "_values_piece", VALUES,
           "looks for NaN in three of four vectors", "(s0 + s1) + (s2 + s3)", "(s0 + s1) + s2"),
    mutant("max_values_nan_behind_the_first_tap", _VALUES + "_values_piece", VALUES,
           "adds up nothing, so a later NaN goes unseen", "s0 + x0, s1 + x1", "s0, s1"),
    mutant("max_values_nan_is_lost", _VALUES + "_largest", VALUES,
           "looks at the window again and passes NaN over as before", "for i in range(count):", "for i in range(0):"),
    mutant("max_values_vector_not_moved_back", _VALUES + "_values_piece", VALUES,
           "the last channels are the next position's", "_largest(tile, image + first,", "_largest(tile, image + c,"),
    mutant("max_values_without_the_last_tap", _VALUES + "_values_piece", VALUES,
           "counts from one and stops one early", "for i in range(1, count):", "for i in range(1, count - 1):"),
)  # fmt: skip

BOXES = (
    mutant("roi_boxes_without_their_last_pixel", "minidl.kernels.roi:regions", (check_roi,),
           "a box ends before its second corner",
           "corners[:, 2:] - corners[:, :2] + 1", "corners[:, 2:] - corners[:, :2]"),
    mutant("roi_halves_to_even", "minidl.kernels.roi:regions", (check_roi,), "rounds as NumPy does",
           "xp.floor(xp.abs(scaled) + 0.5)", "xp.round(xp.abs(scaled))"),
    mutant("roi_columns_for_rows", "minidl.kernels.roi:regions", (check_roi,), "keeps x before y",
           "corners[:, 1::-1]", "corners[:, :2]"),
    mutant("roi_gradient_of_one_image", "minidl.kernels.cpu.roi:_add_to_winners", (partial(check_roi, "numba"),),
           "every region adds to every image", "if _region(kind, s, k)[0] == n:", "if True:"),
)  # fmt: skip

MUTANTS = WINDOWS + DEFINITION + TABLES + COMPILED + AGAIN + BOXES
