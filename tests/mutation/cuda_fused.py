"""Bugs of the kernels in CUDA that do in one pass what takes several: norms, cross-entropy, activations, updates."""

from __future__ import annotations

from functools import partial

from tests.checks.cuda import channels_last, plain
from tests.checks.cuda_fused import (
    emulated_large_mean,
    emulated_loss,
    emulated_norm_of_gradients,
    emulated_norms,
    emulated_updates,
)
from tests.standin import emulated

from .cuda import _bug, _in_python

FIRST = partial(emulated_norms, 0, "float32", plain, True)
LAST = partial(emulated_norms, 3, "float64", channels_last, True)

NORM = (
    _bug("norm_squares_without_a_centre", "norm.cu", partial(emulated_large_mean, plain),
         "adds up squares of values far from 0", "wide(x[p.at(mine.channel, i)]) - near;",
         "wide(x[p.at(mine.channel, i)]);"),
    _bug("norm_means_not_apart", "norm.cu", FIRST, "parts with different means are merged as if they had one",
         "a.square + b.square + apart * apart * (a.count * share)", "a.square + b.square"),
    _bug("norm_slices_overlap", "norm.cu", FIRST, "every slice goes on to the end",
         "min(p.count, first + p.slice)", "p.count"),
    _bug("norm_tree_without_barrier", "norm.cu", LAST, "halves are merged before the others have been",
         "half /= 2) {\n        __syncthreads();\n        if (t < half) kept[t]",
         "half /= 2) {\n        if (t < half) kept[t]"),
    _bug("norm_mask_of_the_constant", "norm.cu", FIRST, "forgets the bias when it asks where ReLU was flat",
         "normal(value, mean[c], of_g, or_zero(bias, c))", "normal(value, mean[c], of_g, 0)"),
    _bug("norm_residual_after_relu", "norm.cu", FIRST, "adds to what ReLU has cut off",
         "if (added) value += wide(added[i]);\n        if (ceiling >= 0) value = value <= 0 ? 0 : value >= ceiling ? "
         "ceiling : value;  // NaN stays\n        round_to(value, y[i]);",
         "if (ceiling >= 0) value = value <= 0 ? 0 : value;\n        "
         "round_to(added ? value + wide(added[i]) : value, y[i]);"),
    _bug("norm_ceiling_in_one_pass_only", "norm.cu", FIRST, "the last pass takes ReLU6 for ReLU",
         "or_zero(bias, c))), ceiling)", "or_zero(bias, c))), 1e30f)"),
    _bug("norm_channel_of_planes", "norm.cu", FIRST, "takes the image for the channel",
         "if (!CHANNELS_LAST) split(at, by_run);", ""),
    _bug("norm_gradient_not_divided", "norm.cu", FIRST, "the sum of the cotangent stands where its mean belongs",
         "-slope * (own.plain / p.count)", "-slope * own.plain"),
    _bug("norm_tail_lanes", "norm.cu", LAST, "lanes beyond the last channel write too",
         "if (row > 0 || channel >= p.channels()) return;\n    mean", "if (row > 0) return;\n    mean"),
    _in_python("norm_mixed_storage", "norm:stored", partial(emulated_norms, 0, "float32", channels_last, False),
               "leaves the other arrays as they lie", "_dense(a, last)", "a"),
)  # fmt: skip

LOSS = (
    _bug("loss_sum_not_shrunk", "loss.cu", partial(emulated_loss, 1), "a larger score does not shrink what was summed",
         "total * exponential(from - to)", "total"),
    _bug("loss_ignored_counts", "loss.cu", partial(emulated_loss, 3), "an entry that is left out counts in the mean",
         "losses[row] = shares[row] = 0;", "losses[row] = 0, shares[row] = 1;"),
    _bug("loss_smoothed_by_c", "loss.cu", partial(emulated_loss, 2), "each class gets all of the smoothing",
         "even = smoothing / p.classes();\n        REAL loss", "even = smoothing;\n        REAL loss"),
    _bug("loss_gradient_of_another_row", "loss.cu", partial(emulated_loss, 2), "forgets the position inside the image",
         "row = row * p.by_run.divisor + position;", "row = row * p.by_run.divisor;"),
    _bug("loss_one_cotangent", "loss.cu", partial(emulated_loss, 4), "all rows take the cotangent of the first",
         "g[row * g_step]", "g[0]"),
)  # fmt: skip

OPTIM = (
    _bug("optim_first_share_only", "optim.cu", partial(emulated_updates, 0), "every share begins where the first does",
         "entry.p += share.first, entry.g += share.first;", "entry.g += share.first;"),
    _bug("optim_state_of_the_first_share", "optim.cu", partial(emulated_updates, 1),
         "the state of a later share is that of the first", "if (used & A) entry.a += share.first;", ""),
    _bug("optim_decay_of_the_old", "optim.cu", partial(emulated_updates, 8), "AdamW updates the parameter undecayed",
         "e.p = q - lr", "e.p = e.p - lr"),
    _bug("optim_state_not_kept", "optim.cu", partial(emulated_updates, 1), "the momentum of a step is forgotten",
         "if (changed & A) entry.a[i] = e[k].a;", ""),
    _bug("optim_nesterov_looks_back", "optim.cu", partial(emulated_updates, 2), "steps along the momentum alone",
         "flags & NESTEROV ? d + momentum * e.a : e.a", "e.a"),
    _bug("optim_sizes_of_gradients", "optim.cu", partial(emulated_updates, 9),
         "keeps the mean square of gradients where that of steps belongs", "rest * (step * step)", "rest * (d * d)"),
    _bug("optim_second_state_of_the_first_share", "optim.cu", partial(emulated_updates, 9),
         "the sizes of the steps of a later share are those of the first", "if (used & B) entry.b += share.first;", ""),
    _bug("optim_squares_of_one_thread", "optim.cu", emulated_norm_of_gradients,
         "the threads' sums are not added up", "if ((int)threadIdx.x < half) together[threadIdx.x] +=",
         "if ((int)threadIdx.x < half) together[threadIdx.x] ="),
    _in_python("optim_flags_of_the_rule", "optim:update", partial(emulated_updates, 1), "numbers the options anew",
               "1 << FLAGS.index(option)", "1 << list(options).index(option)"),
)  # fmt: skip

MUTANTS = () if emulated.missing() else (*NORM, *LOSS, *OPTIM)
