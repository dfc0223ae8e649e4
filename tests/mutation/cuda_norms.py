"""Bugs of norms over groups and of norms of float16 in CUDA, and of updates that a flag on the device decides about."""

from __future__ import annotations

from functools import partial

from tests.checks.cuda import channels_last, plain
from tests.checks.cuda_norms import emulated_groups, emulated_halves, emulated_large_mean_of_groups, emulated_layers
from tests.checks.cuda_scale import emulated_flags, emulated_scale
from tests.standin import emulated

from .cuda import _bug, _in_python
from .framework import Mutant

IMAGES = partial(emulated_groups, 0, "float32", plain)
LAST = partial(emulated_groups, 1, "float64", channels_last, True)
HALVES = partial(emulated_halves, (3, 5, 4, 7), plain)

GROUPS = (
    _bug("groups_first_value_twice", "group_norm.cu", IMAGES, "adds the first value to a mean that holds it",
         "wide(x[p.place(row, i, c)]) - near;", "wide(x[p.place(row, i, c)]);"),
    _bug("groups_team_without_barrier", "group_norm.cu", IMAGES, "halves are merged before the others have been",
         "half /= 2) {\n        __syncthreads();\n        if (lane < half)", "half /= 2) {\n        if (lane < half)"),
    _bug("groups_first_lane_only", "group_norm.cu", IMAGES, "a thread takes its own part for the whole",
         "return kept[t - lane];", "return kept[t];"),
    _bug("groups_squares_about_zero", "group_norm.cu", partial(emulated_large_mean_of_groups, plain),
         "parts with different means are merged as if they had one",
         "a.square + b.square + apart * apart * (a.count * share)", "a.square + b.square"),
    _bug("groups_channel_of_the_group", "group_norm.cu", IMAGES, "every group has the parameters of the first",
         "channel += i;\n        return (row * channels + channel) * by_positions.divisor + position;",
         "channel += i;\n        const int at = (row * channels + channel) * by_positions.divisor + position;\n"
         "        channel = i;\n        return at;"),
    _bug("groups_interleaved", "group_norm.cu", LAST, "takes a position's number for a channel's",
         "channel += split(i, by_per_group);", "channel += split(i, by_positions);"),
    _bug("groups_mean_of_slopes_lost", "group_norm.cu", IMAGES, "treats the mean as a constant",
         "(slope - constant - (wide", "(slope - (wide"),
    _bug("groups_variance_is_constant", "group_norm.cu", IMAGES, "treats the variance as a constant",
         "- (wide(x[at]) - centre) * of_x) * scale", ") * scale"),
    _bug("groups_slope_not_squared", "group_norm.cu", IMAGES, "divides by the deviation once",
         "of_x = scale * scale *", "of_x = scale *"),
    _bug("groups_statistics_of_the_first_image", "group_norm.cu", IMAGES, "all images are normalised as the first",
         "p.image_of(i) * groups + group", "group"),
    _bug("groups_bias_before_the_weight", "group_norm.cu", IMAGES, "the weight scales the bias too",
         "or_zero(bias, c)), y[at]);", "or_zero(bias, c) * (weight ? weight[c] : 1)), y[at]);"),
    _bug("groups_eps_in_one_pass", "group_norm.cu", IMAGES, "the gradient forgets eps",
         "scale = end ? 1 / root(variance[row] + eps)", "scale = end ? 1 / root(variance[row])"),
    _in_python("groups_of_one_storage", "group_norm:_rows", LAST, "channels-last rows are read as planes",
               '"CHANNELS_LAST": is_last(x)', '"CHANNELS_LAST": False'),
)  # fmt: skip

LAYERS = (partial(emulated_layers, "group", "layer"),)
RULE = "minidl.ops.normalization:_group_norm_rule"

RULES = (
    Mutant("groups_second_grad_mean_lost", RULE, LAYERS, "a composition that the kernel does not share",
           "slope - slope.mean(2, True) - normal", "slope - normal"),
    Mutant("groups_second_grad_of_the_variance_lost", RULE, LAYERS, "the second derivative takes it for a constant",
           "if g_variance is not None", "if False"),
    Mutant("groups_mean_hands_on_undivided", RULE, LAYERS, "the mean's cotangent goes to each element whole",
           "g_mean / count", "g_mean"),
    Mutant("groups_weight_forgotten_in_the_composition", RULE, LAYERS, "dx without the weight",
           "gy if weight is None else gy * weight.reshape(_per_channel(x))", "gy"),
    Mutant("layer_norm_over_all_axes", "minidl.ops.normalization:layer_norm", LAYERS, "takes the rows for the groups",
           "groups=1, eps", "groups=rows.shape[1], eps"),
)  # fmt: skip

HALF_BUGS = (
    _bug("half_mask_of_the_unrounded", "norm.cu", HALVES, "what is stored as the ceiling had not reached it",
         "rises(as_stored(normal(value, centre, scale, shift)),", "rises(normal(value, centre, scale, shift),"),
    _in_python("half_statistics", "norm:Pass.__init__", HALVES, "statistics of float16 are float16",
               'np.dtype("float32") if x.dtype == np.float16 else x.dtype', "x.dtype"),
    _in_python("half_ceiling_not_rounded", "norm:Pass.ceiling", HALVES, "ReLU ends where no result can",
               "self.real.type(self.dtype.type(ceiling))", "self.real.type(ceiling)"),
)  # fmt: skip

SCALE = (
    _bug("scale_counts_what_it_skips", "gradient_scale.cu", emulated_scale, "a step that was left out counts",
         "*found ? 0 : state[1] + 1", "state[1] + 1"),
    _bug("scale_grows_on", "gradient_scale.cu", emulated_scale, "once grown, it grows in every step",
         "grows ? 0 : steps", "steps"),
    _bug("scale_shrinks_never", "gradient_scale.cu", emulated_scale, "what was found changes nothing",
         "*found ? backoff : grows", "grows"),
    _in_python("update_in_any_case", "optim:update", emulated_flags, "the flag is not looked at",
               "if keep is not None:", "if False:"),
    Mutant("update_counts_what_it_leaves_out", "minidl.optim.conditional:_adam", (emulated_flags,),
           "Adam's means are corrected for steps that were not made", "table[:, -1] - left_out", "table[:, -1]"),
    Mutant("update_left_out_is_forgotten", "minidl.optim.conditional:step_unless", (emulated_flags,),
           "nobody counts the steps that were left out", "optimizer._left_out += found", "optimizer._left_out += 0"),
    Mutant("update_never_settled", "minidl.optim.conditional:settle", (emulated_flags,),
           "the state counts steps that were not made", 'state["step"] - count', 'state["step"]'),
)  # fmt: skip

MUTANTS = () if emulated.missing() else (*GROUPS, *RULES, *HALF_BUGS, *SCALE)
