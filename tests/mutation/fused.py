"""Bugs of the kernels that make one pass over memory: normalisation, activations, updates of parameters."""

from __future__ import annotations

from functools import partial

from tests.checks import activations, fused

from .framework import Mutant

_ACT, _NORM, _OPTIM = (f"minidl.kernels.cpu.{name}:" for name in ("activation", "norm", "optim"))
_RELU = "minidl.kernels.cpu.norm_relu:"
_RUNNING = "minidl.kernels.cpu.running:"
_SPEC = "minidl.kernels.spec.activation:"
KINKS = (activations.kinks,)
STEPS = (partial(fused.straight_pieces, "float32"),)
NORM = (partial(fused.batch_norm, "float32"),)
CHANNELS = (partial(fused.channel_passes, "float32"),)
RUNNING = (partial(fused.running_scale, "float32"),)
TANH = (partial(fused.tanh, "float32"),)
LARGE_MEAN = (fused.large_mean,)
NORM_RELU = (partial(fused.batch_norm_relu, "float32"),)
UPDATES = (fused.updates,)
PARTS = (partial(fused.accumulated_parts, "float32"),)

MUTANTS = (
    Mutant("relu_slope_at_0", _SPEC + "relu_grad", KINKS, "slope 1 at 0", "(y > 0)", "(y >= 0)"),
    Mutant("relu_passes_everything", _SPEC + "relu_grad", KINKS, "the gradient ignores the mask", "(y > 0)",
           "(y == y)"),
    Mutant("leaky_slope_on_the_wrong_side", _SPEC + "leaky_relu_grad", KINKS, "damps what is above 0",
           "g, g * slope", "g * slope, g"),
    Mutant("leaky_slope_at_0", _SPEC + "leaky_relu_grad", KINKS, "slope 1 at 0", "x > 0", "x >= 0"),
    Mutant("leaky_forward_only_above", _SPEC + "leaky_relu", KINKS, "is ReLU forward, leaky backward",
           "x * slope", "x * 0"),
    Mutant("hardtanh_slope_at_its_limits", _SPEC + "clip_grad", KINKS, "passes the gradient at the limits, as clamp",
           "(x > low) & (x < high)", "(x >= low) & (x <= high)"),
    Mutant("hardtanh_open_below", _SPEC + "clip_grad", KINKS, "passes the gradient below the lower limit",
           "(x > low) & (x < high)", "x < high"),
    Mutant("fused_relu_slope_at_0", _ACT + "_relu_grad", STEPS, "slope 1 at 0", "y[i] > 0", "y[i] >= 0"),
    Mutant("fused_relu_swallows_nan", _ACT + "_relu", STEPS, "NaN > 0 is false", " or x[i] != x[i]", ""),
    Mutant("fused_clip_forgets_below", _ACT + "_clip", STEPS, "one limit only", "low if x[i] < low else x[i]", "x[i]"),
    Mutant("fused_pieces_on_top_of_each_other", _ACT + "_part", STEPS, "every piece begins where the first does",
           "skip, count = piece * PIECE * kind.itemsize,", "skip, count = 0,"),
    Mutant("fused_sum_forgets_what_was_there", _ACT + "_accumulate", STEPS, "assigns instead of adding",
           "y[i] += b[i]", "y[i] = b[i]"),
    Mutant("fused_sum_of_parts_walks_evenly", _ACT + "_accumulate_rows", PARTS, "takes both for rows of one length",
           "p.z + m * p.z_pitch", "p.z + m * p.x_pitch"),
    Mutant("fused_sum_of_parts_ends_early", _ACT + "_accumulate_rows", PARTS, "the last piece is cut short",
           "min(p.count, (piece + 1) * p.block)", "min(p.count - 1, (piece + 1) * p.block)"),
    Mutant("pitch_of_uneven_rows", "minidl.kernels.cpu.elements:pitch_of", PARTS, "asks the last axis only",
           "if stride != step:", "if stride < 0:"),
    Mutant("running_scale_without_eps", _RUNNING + "_scale_and_shift", RUNNING, "eps in training only",
           "np.sqrt(variance[c] + eps)", "np.sqrt(variance[c])"),
    Mutant("running_mean_not_scaled", _RUNNING + "_scale_and_shift", RUNNING, "subtracts the mean after the division",
           "-mean[c] * scale[c]", "-mean[c]"),
    Mutant("running_weight_beside_the_mean", _RUNNING + "_scale_and_shift", RUNNING, "scales the input, not the mean",
           "shift[c] *= weight[c]", "pass"),
    Mutant("running_scale_of_other_statistics", _RUNNING + "_is_row", RUNNING,
           "takes every other number of a row for all of it", " and a.flags.c_contiguous", ""),
    Mutant("running_scale_of_earlier_arrays", _RUNNING + "_is_same", RUNNING, "a new weight is not looked at",
           "b is weight and ", ""),
    Mutant("running_scale_of_the_definition_without_eps", "minidl.kernels.spec.norm:running_scale", RUNNING,
           "the same without Numba", "np.sqrt(variance + eps)", "np.sqrt(variance)"),
    Mutant("blocks_of_equal_weight", _NORM + "_merge", NORM, "averages the means of unequal blocks",
           "share, weight = counts[b] / n,", "share, weight = 1 / (b + 1),"),
    Mutant("blocks_without_their_distance", _NORM + "_merge", NORM, "adds the squares of the blocks only",
           " + d * d * weight", ""),
    Mutant("moments_of_squares", _NORM + "_moments_piece", LARGE_MEAN, "takes squares about 0 in the block",
           "d = x[m * groups + v] - means[v]\n", "d = x[m * groups + v] - means[v] * 0\n"),
    Mutant("norm_sum_of_products_not_centred", _NORM + "_sums_piece", NORM, "sum of g x instead of g (x - mean)",
           "g[at] * (x[at] - mean[v])", "g[at] * x[at]"),
    Mutant("batch_norm_over_the_batch_only", "minidl.kernels.spec.norm:axes", NORM,
           "each position has statistics of its own", "(0, *range(2, x.ndim))", "(0,)"),
    Mutant("batch_norm_is_instance_norm", "minidl.kernels.spec.norm:axes", NORM, "forgets the batch",
           "(0, *range(2, x.ndim))", "tuple(range(2, x.ndim)) or (0,)"),
    Mutant("batch_norm_of_rows_not_channels", _NORM + "_merge", NORM, "takes the channel of a group by its half",
           "partial[begin + c]", "partial[begin + c - (first + c + 1) // 2]"),
    Mutant("channel_sums_of_the_last_row", _NORM + "_total_piece", CHANNELS, "assigns instead of adding",
           "total[v] += x", "total[v] = x"),
    Mutant("channel_sums_of_half_the_channels", _NORM + "channel_sums", CHANNELS, "one position of several in a row",
           ".sum(axis=0).astype", "[0].astype"),
    Mutant("channels_added_to_twice_over", _NORM + "_shifted_piece", CHANNELS, "the number of the next channel",
           "+= shift[v]", "+= shift[v - v % 2]"),
    Mutant("tanh_without_its_last_term", _ACT + "_tanh", TANH, "cut off a power too early",
           "(p4 * s + p3)", "p3"),
    Mutant("tanh_beyond_one", _ACT + "_tanh", TANH, "follows the fraction to infinity", "value if value < one else one",
           "value"),
    Mutant("tanh_grad_of_y", _ACT + "_tanh_grad", TANH, "1 - y instead of 1 - y y", "y[i] * y[i]", "y[i]"),
    Mutant("norm_shift_lost", _NORM + "_scaled_piece", NORM, "forgets the bias, channels first",
           "(x[i] - a) * b + c", "(x[i] - a) * b"),
    Mutant("norm_mean_of_g_lost", _NORM + "batch_norm_grad", NORM, "treats the mean as a constant",
           "-slope * (dbias / count)", "0 * slope"),
    Mutant("norm_deviation_squared_once", _NORM + "batch_norm_grad", NORM, "one deviation too few",
           "-slope * scale * scale *", "-slope * scale *"),
    Mutant("norm_relu_mask_without_the_bias", _RELU + "_sums_of_row", NORM_RELU, "asks the result before the bias",
           "load(tile, p.shift + v)", "none"),
    Mutant("norm_relu_grad_passes_everything", _RELU + "_grad_of_row", NORM_RELU, "dx without the ReLU's mask",
           "fma(kept, scale, rest)", "fma(load(tile, p.g + at + v), scale, rest)"),
    Mutant("norm_relu_last_channels_forgotten", _RELU + "_sums_piece", NORM_RELU, "whole vectors only",
           "_sums_of_row(tile.one, p, partial, at, whole, p.groups)", "pass"),
    Mutant("norm_relu_nothing_added", _RELU + "_cut_piece", NORM_RELU, "forgets what was to be added",
           " + shift[v] + z[at]", " + shift[v]"),
    Mutant("norm_relu_without_its_ceiling", _RELU + "_between", NORM_RELU, "is ReLU where ReLU6 was asked for",
           "top if value > top else value", "value"),
    Mutant("norm_relu_products_not_centred", _RELU + "_sums_of_row", NORM_RELU, "sum of g x instead of g (x - mean)",
           "fma(kept, centred, load(", "fma(kept, load(tile, p.x + at + v), load("),
    Mutant("norm_relu_sums_of_the_block_before", _RELU + "_sums_piece", NORM_RELU, "adds to what lay in memory",
           "clear_bytes(partial, 2 * p.groups", "clear_bytes(partial, p.groups"),
    Mutant("norm_relu_gradient_beyond_the_ceiling", _RELU + "_sums_of_row", NORM_RELU,
           "passes the gradient where the result was cut off above", "p.z + at + v), none, top, g)",
           "p.z + at + v), none, top + top, g)"),
    Mutant("gradient_given_away_twice", "minidl.autograd.engine:_nobody_else_has", (fused.owned_gradients,),
           "takes every gradient as its own", "if sys.getrefcount(tensors[slot]) != _ALONE", "if False"),
    Mutant("view_given_away", "minidl.autograd.engine:_nobody_else_has", (fused.owned_gradients,),
           "forgets that a view has a base", " and sys.getrefcount(array.base) == _ALONE", ""),
    Mutant("sgd_dampens_the_first_step", "minidl.optim.compiled:_sgd", UPDATES, "treats all steps alike",
           "(0.0, 1.0) if first", "(0.0, 1 - group['dampening']) if first"),
    Mutant("dampened_begins_as_sgd", "minidl.optim.compiled:_dampened", UPDATES, "the gradient counts whole",
           "beta, beta, 1 - beta", "beta, beta, 1.0"),
    Mutant("update_of_the_state_before", "minidl.optim.compiled:Member.is_as_it_was", UPDATES,
           "a state that was exchanged is still written to", "state is not self.state", "False"),
    Mutant("update_of_the_arrays_before", "minidl.optim.compiled:Member.is_as_it_was", UPDATES,
           "a parameter with another array is updated in the one that it had", " or parameter._array is not p", ""),
    Mutant("adadelta_eps_outside", _OPTIM + "_adadelta", UPDATES, "adds eps to the root, as Adam does",
           "np.sqrt(s[i] + eps)", "(np.sqrt(s[i]) + eps)"),
    Mutant("adam_decay_in_the_gradient_too", _OPTIM + "_adam", UPDATES, "reads the decay of AdamW as Adam's",
           "d = _slope(rule, q, g[i], decay)", "d = g[i] + decay * q"),
    Mutant("adam_eps_inside", _OPTIM + "_adam", UPDATES, "corrects eps as well",
           "np.sqrt(square) / correction + eps", "(np.sqrt(square) + eps) / correction"),
    Mutant("amsgrad_forgets", _OPTIM + "_adam", UPDATES, "does not keep the largest square",
           "largest[i] = square\n", "largest[i] = v[i]\n"),
    Mutant("update_of_the_first_piece_only", _OPTIM + "_share", UPDATES, "every piece begins where the first does",
           "skip = s.first * rule.itemsize", "skip = 0"),
)  # fmt: skip
