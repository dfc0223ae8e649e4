"""Convolution's bugs: the 27 of the first experiment under their names, and those that our own kernels invite.

F_ bugs are self-consistent: forward and gradients are wrong together, so only an independent reference sees
them.  B_ bugs are in a gradient alone.  The part after the slash says where the bug sits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tests.checks import conv as checks
from tests.checks import geometry

from .framework import Mutant

SPEC = (partial(checks.spec_is_the_definition, "float64"), checks.complex_step)
TWIN = (partial(checks.im2col_twin, "float64"),)


CHECKS = (
    checks.agreement, checks.in_pieces, checks.manners, checks.layouts, checks.empty, checks.same_bits, checks.trilinear
)  # fmt: skip


def promises(algorithm: str, dtype: str = "float64") -> tuple[Callable[[], object], ...]:
    """Every check that tests/kernels/test_conv_kernels.py runs on one algorithm, the quickest verdict first."""
    return tuple(partial(check, algorithm, dtype) for check in CHECKS)


# bugs in the geometry: everything agrees with everything else, and all of it is wrong -------------------------

_CONV = "minidl.kernels.geometry:Conv.from_shapes"
_CHECKED = "strides, pads, dilations = _steps(op, w_shape[2:], stride, padding, dilation)"
_AXIS = "minidl.kernels.geometry:Axis"

GEOMETRY = (
    Mutant(
        "F_stride_hw_swapped",
        _CONV,
        SPEC,
        "reads stride as (width, height)",
        _CHECKED,
        _CHECKED + "; strides = strides[::-1]",
    ),
    Mutant(
        "F_pad_hw_swapped",
        _CONV,
        SPEC,
        "reads padding as (width, height)",
        _CHECKED,
        _CHECKED + "; pads = pads[::-1]",
    ),
    Mutant(
        "F_pad_low_high_swapped",
        _CONV,
        SPEC,
        "pads behind what should be padded before",
        _CHECKED,
        _CHECKED + "; pads = tuple(p[::-1] for p in pads)",
    ),
    Mutant(
        "F_dilation_uses_h_for_both",
        _CONV,
        SPEC,
        "takes the dilation of the first axis for all",
        _CHECKED,
        _CHECKED + "; dilations = dilations[:1] * ndim",
    ),
    Mutant(
        "F_ceil_output",
        f"{_AXIS}.out",
        (geometry.windows_by_counting, *SPEC),
        "counts a window that does not fit whole",
        "return room // self.stride + 1",
        "return -(-room // self.stride) + 1",
    ),
    Mutant(
        "F_one_window_too_few",
        f"{_AXIS}.out",
        SPEC,
        "forgets the + 1 where the last window touches the end exactly",
        "return room // self.stride + 1",
        "return max(1, -(-room // self.stride))",
    ),
    Mutant(
        "F_extent_without_dilation",
        f"{_AXIS}.extent",
        (geometry.windows_by_counting, *SPEC),
        "extent of a dilated kernel taken for d * k - 1",
        "self.dilation * (self.kernel - 1) + 1",
        "self.dilation * self.kernel",
    ),
    Mutant(
        "ceil_rule_keeps_window_in_padding",
        f"{_AXIS}.out",
        (geometry.ceil_rule_by_counting,),
        "ceil rule without the exception for a window that begins in the high padding",
        "windows -= 1",
        "pass",
    ),
    Mutant(
        "ceil_rule_off_by_one_at_the_padding",
        f"{_AXIS}.out",
        (geometry.ceil_rule_by_counting,),
        "> where >= belongs: the window that begins exactly at the high padding stays",
        ">= self.size + self.pad[0]",
        "> self.size + self.pad[0]",
    ),
    Mutant(
        "windows_at_drops_the_last",
        f"{_AXIS}.windows_at",
        (geometry.windows_by_counting, *promises("im2col")),
        "last position taken for an exclusive end",
        "(self.size - 1 + offset)",
        "(self.size - 2 + offset)",
    ),
    Mutant(
        "windows_at_rounds_down",
        f"{_AXIS}.windows_at",
        (geometry.windows_by_counting, *promises("im2col")),
        "first window rounded towards minus infinity: it reads padding",
        "max(0, -(-offset // self.stride))",
        "max(0, offset // self.stride)",
    ),
    Mutant(
        "sizes_forget_the_padding_behind",
        f"{_AXIS}._least_size",
        (geometry.sizes_invert_out,),
        "inverse size with the low pad only",
        "return max(1, (out - 1) * self.stride + self.extent - low - high)",
        "return max(1, (out - 1) * self.stride + self.extent - low)",
    ),
    Mutant(
        "sizes_of_the_ceil_rule_as_of_the_floor",
        f"{_AXIS}._least_size",
        (geometry.sizes_invert_out,),
        "inverse size of the ceil rule computed as that of the floor rule",
        "if not self.ceil:",
        "if True:",
    ),
    Mutant(
        "same_pads_before",
        "minidl.kernels.geometry:per_axis_pads",
        (geometry.same_and_transposed,),
        "'same' puts the odd pad before, as Caffe, not behind",
        "(t // 2, t - t // 2)",
        "(t - t // 2, t // 2)",
    ),
    Mutant(
        "transposed_forgets_dilation",
        "minidl.kernels.geometry:Conv.transposed",
        (geometry.same_and_transposed,),
        "output size of a transposed convolution as if the kernel were dense",
        "dilations[a] * (kernel[a] - 1) + 1",
        "(kernel[a] - 1) + 1",
    ),
    Mutant(
        "field_grows_by_stride",
        "minidl.kernels.geometry:Field.then",
        (geometry.fields_by_walking,),
        "receptive field: multiplies by the new layer's stride too early",
        "(axis.extent - 1) * self.jump",
        "(axis.extent - 1) * self.jump * axis.stride",
    ),
    Mutant(
        "field_forgets_the_padding",
        "minidl.kernels.geometry:Field.then",
        (geometry.fields_by_walking,),
        "receptive field: the first unit is said to begin at position 0",
        "self.start - axis.pad[0] * self.jump",
        "self.start",
    ),
)

# bugs in the definition ----------------------------------------------------------------------------------

_SPEC = "minidl.kernels.spec.conv"

DEFINITION = (
    Mutant(
        "F_pad_replicate_not_zero/spec",
        f"{_SPEC}:forward",
        SPEC,
        "pads with the border's values",
        "((0, 0), (0, 0), *conv.padding))",
        "((0, 0), (0, 0), *conv.padding), mode='edge')",
    ),
    Mutant(
        "F_true_convolution(flip)/spec",
        f"{_SPEC}:forward",
        SPEC,
        "flips the kernel, as the mathematical convolution does",
        "weights = w.reshape(",
        "weights = np.flip(w, tuple(range(2, w.ndim))).reshape(",
    ),
    Mutant(
        "B_gx_kernel_flipped",
        f"{_SPEC}:input_grad",
        SPEC,
        "turns the kernel by 180 degrees once too often",
        "weights[:, :, :, *tap]",
        "weights[:, :, :, *(k - 1 - t for k, t in zip(conv.kernel, tap))]",
    ),
    Mutant(
        "B_gw_flipped_180/spec",
        f"{_SPEC}:weight_grad",
        SPEC,
        "the right weight gradient, turned by 180 degrees",
        "dw[:, :, :, *tap] =",
        "dw[:, :, :, *(k - 1 - t for k, t in zip(conv.kernel, tap))] =",
    ),
    Mutant(
        "B_gx_assign_not_accumulate/spec",
        f"{_SPEC}:input_grad",
        SPEC,
        "overlapping windows overwrite one another",
        "dx[positions] += sent",
        "dx[positions] = sent",
    ),
    Mutant(
        "B_gx_group0_weights/spec",
        f"{_SPEC}:input_grad",
        SPEC,
        "every group gets the weights of the first",
        "weights[:, :, :, *tap]",
        "np.repeat(weights[:1, :, :, *tap], conv.groups, 0)",
    ),
    Mutant(
        "B_gw_first_sample_only/spec",
        f"{_SPEC}:weight_grad",
        SPEC,
        "the batch sum sees the first image only",
        '"ngkp,ngcp->gkc", came, read',
        '"ngkp,ngcp->gkc", came[:1], read[:1]',
    ),
    Mutant(
        "B_gx_forgets_dilation",
        f"{_SPEC}:input_grad",
        SPEC,
        "sends back as if the taps lay side by side",
        "in _taps(conv):",
        "in _taps(__import__('dataclasses').replace(conv, dilation=(1,) * conv.ndim,"
        " padding=tuple((low, high - (d - 1) * (k - 1)) for (low, high), d, k in"
        " zip(conv.padding, conv.dilation, conv.kernel)))):",
    ),
    Mutant(
        "padding_read_as_the_last_row",
        f"{_SPEC}:_taps",
        SPEC,
        "a negative position is not left out, and NumPy reads it from the end",
        "real = (i >= 0) & (i < a.size)",
        "real = i < a.size",
    ),
    Mutant(
        "spec_ignores_out",
        f"{_SPEC}:_deliver",
        promises("spec"),
        "returns a fresh array although out= was given",
        "out[...] = result\n    return out",
        "return result",
    ),
)

# bugs in the readable im2col -------------------------------------------------------------------------------

_TWIN = "minidl.kernels.spec.im2col"

READABLE_IM2COL = (
    Mutant(
        "B_gx_crop_uses_ph_for_w",
        f"{_TWIN}:col2im",
        TWIN,
        "crops every axis by the padding of the first",
        "for (low, _), size in zip(conv.padding, conv.size)",
        "for (low, _), size in zip(conv.padding[:1] * conv.ndim, conv.size)",
    ),
    Mutant(
        "F_dilation_ignored/twin",
        f"{_TWIN}:_read_by",
        TWIN,
        "columns read neighbours although the kernel is dilated",
        "slice(t * a.dilation, t * a.dilation + (a.out - 1) * a.stride + 1, a.stride)",
        "slice(t, t + (a.out - 1) * a.stride + 1, a.stride)",
    ),
    Mutant(
        "col2im_assigns",
        f"{_TWIN}:col2im",
        TWIN,
        "overlapping windows overwrite one another",
        "+= split[:, :, *tap]",
        "= split[:, :, *tap]",
    ),
    Mutant(
        "B_gw_batch_mean/twin",
        f"{_TWIN}:weight_grad_steps",
        TWIN,
        "mean over the batch for the sum",
        "products.sum(0)",
        "products.mean(0)",
    ),
)

# bugs in the fast im2col --------------------------------------------------------------------------------------

_IM2COL = "minidl.kernels.cpu.im2col"
_ORDER = "taps.append(Tap((*everything, *tap), windows, positions, tuple(borders)))"


def _im2col(name: str, function: str, story: str, old: str, new: str) -> Mutant:
    return Mutant(f"{name}/im2col", f"{_IM2COL}:{function}", promises("im2col"), story, old, new)


IM2COL = (
    _im2col(
        "F_true_convolution(flip)",
        "_taps",
        "all three passes with the kernel turned by 180 degrees",
        _ORDER,
        _ORDER.replace("*tap)", "*(k - 1 - t for k, t in zip(conv.kernel, tap)))"),
    ),
    _im2col(
        "F_kernel_transposed",
        "_taps",
        "all three passes with height and width of a square kernel exchanged",
        _ORDER,
        _ORDER.replace("*tap)", "*(tap[::-1] if len(set(conv.kernel)) == 1 else tap))"),
    ),
    _im2col(
        "F_channel_order_in_flatten",
        "_weights",
        "weights flattened as (kernel, channel) where the columns are (channel, kernel)",
        "if last:",
        "if True:",
    ),
    _im2col(
        "channels_last_order_forgotten",
        "_weights",
        "weights flattened as (channel, kernel) where channels-last columns are (kernel, channel)",
        "if last:",
        "if False:",
    ),
    _im2col(
        "F_groups_interleaved",
        "_by_group",
        "channel c is put into group c % G",
        "a.reshape(n, conv.groups, channels // conv.groups, *axes)",
        "a.reshape(n, channels // conv.groups, conv.groups, *axes).swapaxes(1, 2)",
    ),
    _im2col(
        "border_keeps_old_values",
        "_gather",
        "padding is not written into the columns: what the last call left there counts",
        "column[border] = 0",
        "pass",
    ),
    _im2col(
        "B_gx_assign_not_accumulate",
        "_scatter",
        "overlapping windows overwrite one another",
        "+= columns",
        "= columns",
    ),
    _im2col(
        "gradient_added_to_what_was_there",
        "input_grad",
        "the result is not set to zero before it is added to",
        "dx[...] = 0",
        "pass",
    ),
    _im2col(
        "B_gx_group0_weights",
        "input_grad",
        "every group gets the weights of the first",
        "weights = _weights(w, conv, last).swapaxes(1, 2)",
        "weights = _weights(w, conv, last)[:1].swapaxes(1, 2)",
    ),
    _im2col(
        "B_gy_flattened_without_transpose",
        "_weight_grad_factors",
        "the upstream gradient read as (N, P, Q, K) without moving its axes",
        "_by_group(g[chunk.images, :, chunk.rows], conv)",
        "_by_group(np.moveaxis(g, 1, -1).reshape(g.shape)[chunk.images, :, chunk.rows], conv)",
    ),
    _im2col(
        "B_gw_stride_hw_swapped",
        "_weight_grad_factors",
        "columns of the weight gradient gathered with (width, height) strides",
        "_gather(columns, _by_group(x[chunk.images], conv), conv, chunk)",
        "_gather(columns, _by_group(x[chunk.images], conv), "
        "conv._replace_stride() if hasattr(conv, '_replace_stride') else "
        "__import__('dataclasses').replace(conv, stride=conv.stride[::-1]), chunk)",
    ),
    _im2col(
        "B_gw_first_sample_only",
        "_weight_grad_factors",
        "only the first chunk of the batch is summed",
        "for chunk in _chunks(conv, x.itemsize):",
        "for chunk in list(_chunks(conv, x.itemsize))[:1]:",
    ),
    _im2col(
        "last_chunk_instead_of_the_sum",
        "weight_grad",
        "each chunk's product replaces the sum so far",
        "total += np.matmul",
        "total = np.matmul",
    ),
    _im2col(
        "last_images_dropped",
        "_chunks",
        "a batch that is no multiple of the chunk loses its rest",
        "for n in range(0, conv.batch, images):",
        "for n in range(0, max(conv.batch - images, 0) + 1, images):",
    ),
    _im2col(
        "last_rows_dropped",
        "_chunks",
        "rows that do not fill a chunk are lost",
        "for p in range(0, conv.out[0], rows):",
        "for p in range(0, max(conv.out[0] - rows, 0) + 1, rows):",
    ),
    _im2col(
        "chunk_rows_from_zero",
        "_taps",
        "every chunk of rows reads the first rows",
        "(first_row, stop_row) if a == 0",
        "(0, stop_row - first_row) if a == 0",
    ),
    _im2col(
        "pointwise_ignores_stride",
        "is_pointwise",
        "a strided 1x1 convolution takes x itself for its columns",
        "and set(conv.stride) == {1}",
        "",
    ),
    _im2col(
        "pointwise_ignores_padding",
        "is_pointwise",
        "a padded 1x1 convolution takes x itself for its columns",
        "and all(pad == (0, 0) for pad in conv.padding)",
        "",
    ),
    _im2col(
        "empty_batch_leaves_out_unwritten",
        "weight_grad",
        "nothing to sum, so nothing is written",
        "dw[...] = 0",
        "pass",
    ),
    Mutant(
        "float64_by_accident/im2col",
        f"{_IM2COL}:_result",
        promises("im2col", "float32"),
        "the result is made in the default dtype",
        "return np.empty(shape, like.dtype)",
        "return np.empty(shape)",
    ),
    _im2col(
        "out_ignored",
        "forward",
        "a fresh array is returned although out= was given",
        "if out is None else out",
        "",
    ),
)

# bugs of any algorithm: the true kernel, and something done to what goes in or comes out --------------------------

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


def _of_result(change: Callable[[np.ndarray, Any], np.ndarray]) -> Wrap:
    """The kernel's result, changed."""

    def wrap(true: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(first: Any, second: Any, conv: Any, out: Any = None) -> Any:
            result = true(first, second, conv, out=out)
            result[...] = change(result.copy(), conv)
            return result

        return wrong

    return wrap


def _of_cotangent(change: Callable[[np.ndarray], np.ndarray]) -> Wrap:
    """The kernel, given a changed upstream gradient."""
    return lambda true: lambda first, g, conv, out=None: true(first, change(g), conv, out=out)


def _of_problem(change: Callable[[Any], Any]) -> Wrap:
    """The kernel, told another geometry."""
    return lambda true: lambda first, g, conv, out=None: true(first, g, change(conv), out=out)


def _of_every_second_result(true: Callable[..., Any]) -> Callable[..., Any]:
    """The last bit of every second result."""
    calls = itertools.count()

    def wrong(first: Any, second: Any, conv: Any, out: Any = None) -> Any:
        result = true(first, second, conv, out=out)
        if next(calls) % 2:
            result[...] = np.nextafter(result, np.inf)
        return result

    return wrong


def _flip(a: np.ndarray, conv: Any) -> np.ndarray:
    return np.flip(a, tuple(range(2, a.ndim)))


def _last_pixel_zero(a: np.ndarray, conv: Any) -> np.ndarray:
    a[(..., *[-1] * conv.ndim)] = 0
    return a


def _transposed(g: np.ndarray) -> np.ndarray:
    square = g.ndim == 4 and g.shape[2] == g.shape[3]
    return g.swapaxes(2, 3) if square else g


def _mean(g: np.ndarray) -> np.ndarray:
    axes = tuple(range(2, g.ndim))
    return np.broadcast_to(g.mean(axes, keepdims=True), g.shape)


def _flattened(g: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(g, 1, -1)).reshape(g.shape)


def anywhere(algorithm: str, module: str) -> tuple[Mutant, ...]:
    """The bugs that do not depend on how an algorithm works."""
    bugs: tuple[tuple[str, str, str, Wrap], ...] = (
        (
            "B_gx_gy_spatially_transposed",
            "input_grad",
            "height and width of a square upstream gradient exchanged",
            _of_cotangent(_transposed),
        ),
        (
            "B_gx_uses_mean_gy",
            "input_grad",
            "the mean of the upstream gradient for the gradient",
            _of_cotangent(_mean),
        ),
        (
            "B_gx_ignores_gy(ones)",
            "input_grad",
            "the gradient of the sum, whatever comes from above",
            _of_cotangent(np.ones_like),
        ),
        (
            "B_gw_ignores_gy(ones)",
            "weight_grad",
            "the gradient of the sum, whatever comes from above",
            _of_cotangent(np.ones_like),
        ),
        (
            "B_gy_flattened_without_transpose",
            "input_grad",
            "the upstream gradient read as (N, P, Q, K) without moving its axes",
            _of_cotangent(_flattened),
        ),
        (
            "B_gw_flipped_180",
            "weight_grad",
            "the right weight gradient, turned by 180 degrees",
            _of_result(_flip),
        ),
        (
            "B_gw_divided_by_N",
            "weight_grad",
            "mean over the batch for the sum",
            _of_result(lambda dw, conv: dw / max(conv.batch, 1)),
        ),
        (
            "B_gx_last_pixel_zero",
            "input_grad",
            "the last position is not reached",
            _of_result(_last_pixel_zero),
        ),
        ("B_gx_off_by_0.3%", "input_grad", "a scale factor", _of_result(lambda dx, conv: dx * 1.003)),
        ("F_off_by_rounding", "forward", "32-bit sums of 64-bit numbers", _of_result(_in_half_the_bits)),
    )
    return tuple(
        Mutant(f"{name}/{algorithm}", f"{module}:{function}", promises(algorithm), story, replace=wrap)
        for name, function, story, wrap in bugs
    )


def _in_half_the_bits(y: np.ndarray, conv: Any) -> np.ndarray:
    return y.astype("float32" if y.dtype == "float64" else "float16")


# bugs in the compiled loops ----------------------------------------------------------------------------------
# None of these reads outside its arrays: that could end the process.

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
        replace=_of_every_second_result,
    ),
)

MUTANTS: tuple[Mutant, ...] = (
    *GEOMETRY,
    *DEFINITION,
    *READABLE_IM2COL,
    *IM2COL,
    *anywhere("im2col", _IM2COL),
    *DIRECT,
    *anywhere("direct", _DIRECT),
)
