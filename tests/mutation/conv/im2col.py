"""Bugs in the fast im2col."""

from __future__ import annotations

from ..framework import Mutant
from .common import anywhere, promises

_IM2COL = "minidl.kernels.cpu.im2col"
_ORDER = "taps.append(Tap((*everything, *tap), windows, positions, tuple(borders)))"


def _im2col(name: str, function: str, story: str, old: str, new: str) -> Mutant:
    return Mutant(f"{name}/im2col", f"{_IM2COL}:{function}", promises("im2col", name), story, old, new)


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
        "B_gw_gy_flattened_without_transpose",
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
        "total += matmul",
        "total = matmul",
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
        "minidl.kernels.layout:empty",
        promises("im2col", dtype="float32"),
        "the result is made in the default dtype",
        "return xp.empty(shape, like.dtype)",
        "return np.empty(shape)",
    ),
    _im2col(
        "out_ignored",
        "forward",
        "a fresh array is returned although out= was given",
        "if out is None else out",
        "",
    ),
    *anywhere("im2col", _IM2COL),
)
