"""Bugs of what inference remembers of a layer's calls: what they depend on, what they need, what is let go of."""

from __future__ import annotations

from minidl.kernels import memory
from minidl.kernels.jit import HAVE_NUMBA
from tests.checks import inference as checks

from .framework import Mutant

_OPS, _CONV, _CONSTANTS = "minidl.ops.inference:", "minidl.ops.conv:conv_then", "minidl.kernels.constants:"
_NORM = "minidl.ops.normalization:"
_CPU = "minidl.kernels.cpu."
WRITES = (checks.writes_are_seen,)
OTHERS = (checks.arrays_that_others_hold_are_not_remembered,)
REUSED = (checks.a_new_array_in_the_place_of_one_that_went,)
STORAGE = (checks.storage_counts,)
RESIDUALS = (checks.residuals_count,)
NORMS = (checks.a_norm_by_itself_asks_as_much,)
PARTS = (checks.parts_of_the_weights_have_panels_of_their_own,)
LIVES = (checks.what_a_program_reads_lives_as_long_as_it,)
COPIES = (checks.copies_that_end_are_no_places,)
ROWS = (checks.a_copy_of_rows_is_noted,)
GRADIENTS = (checks.gradients_let_go,)
LIMIT = (checks.no_more_is_kept_than_may_be,)
SIZES = (checks.sizes_that_never_come_again_pile_up_nothing,)
DEATH = (checks.layers_that_die_take_it_along,)


def _bug(name: str, target: str, checks: tuple, story: str, old: str, new: str) -> Mutant:
    return Mutant(f"remembered_{name}", target, checks, story, old, new, cleanup=memory.release)


MUTANTS: tuple[Mutant, ...] = (
    (
        _bug("without_versions", _OPS + "known", WRITES, "takes the same array for the same numbers",
             "[id(t._array), storage.version]", "[id(t._array), 0]"),
        _bug("without_arrays", _OPS + "known", REUSED, "a tensor that got another array is as it was",
             "[id(t._array), storage.version]", "[0, storage.version]"),
        _bug("by_its_weight_alone", _OPS + "known", WRITES, "does not ask for bias and statistics",
             "for t in (owner, *others):", "for t in (owner,):"),
        _bug("escaped_arrays", _OPS + "known", OTHERS, "trusts a version that NumPy does not count",
             "if storage.escaped:", "if False:"),
        _bug("for_good", _OPS + "known", WRITES, "never looks again", "and found.state == state", ""),
        _bug("never", _OPS + "known", (checks.the_second_call_is_remembered,), "always the first call",
             "and found.state == state", "and found.state is state"),
        _bug("numbers_of_dead_arrays", _OPS + "Known.__init__", REUSED,
             "the next array gets the number of one that went", "[t._array for t in tensors if t is not None]", "[]"),
        _bug("after_gradients", _OPS + "forget", GRADIENTS, "forgets nothing",
             "_known.pop(id(tensor), None)", "pass"),
        _bug("after_death", _OPS + "_drop", DEATH, "keeps what belongs to layers that died",
             "_known.pop(number, None)", "pass"),
        _bug("without_limit", _OPS + "Known.keep", LIMIT, "keeps whatever there is",
             "if kept_bytes() <= KEPT_BYTES:", "if True:"),
        _bug("then_dropped_at_once", _OPS + "Known.keep", LIMIT, "lets go of every other layer",
             "if kept_bytes() <= KEPT_BYTES:", "if False:"),
        _bug("calls_without_limit", _OPS + "Known.keep", SIZES, "a size that never comes again stays for ever",
             "if len(self.programs) >= KEPT_CALLS:", "if False:"),
        _bug("constants_of_dropped_calls", _OPS + "Known.keep", SIZES,
             "drops the programs of old calls, not what they were given",
             "_drop(self.number, self.tensor)", "self.programs.clear()"),
        _bug("any_threads", _OPS + "circumstances", (checks.threads_count,), "does not ask how many threads there are",
             "get_num_threads()", "0"),
        _bug("any_precision", _OPS + "circumstances", (checks.the_wished_precision_counts,),
             'takes the kernel of a call without "exact"', "catalogue.wished_precision()", "0"),
        _bug("any_tuner", _OPS + "circumstances", (checks.whoever_tunes_is_asked,), "does not ask whoever measures",
             ", catalogue.tuner", ""),
        _bug("call_of_other_strides", _CONV, STORAGE, "an input that lies in another way is read as the first one",
             "x.shape, x.strides, None", "x.shape, None"),
        _bug("call_of_another_shape", _CONV, STORAGE, "strides say all", "x.shape, x.strides, None", "x.strides, None"),
        _bug("call_with_any_residual", _CONV, RESIDUALS, "what is added lies as what was added before",
             "(added.shape, added.strides)", "0"),
        _bug("call_of_a_residual_of_other_strides", _CONV, RESIDUALS, "what is added lies as what was added before",
             "(added.shape, added.strides)", "added.shape"),
        _bug("call_to_any_ceiling", _CONV, (checks.ceilings_count,), "ReLU6 is ReLU", "norm and norm.eps, ceiling,",
             "norm and norm.eps,"),
        _bug("call_with_any_eps", _CONV, (checks.eps_counts,), "eps is what it was", "norm and norm.eps, ceiling,",
             "ceiling,"),
        _bug("call_of_any_stride", _CONV, WRITES, "the layer's stride is what it was",
             "(added.shape, added.strides), stride,", "(added.shape, added.strides),"),
        _bug("call_of_any_dilation", _CONV, WRITES, "the layer's dilation is what it was",
             "padding, dilation,\n            groups, algorithm,", "padding, groups, algorithm,"),
        _bug("call_of_any_algorithm", _CONV, WRITES, "the layer's algorithm is what it was",
             "groups, algorithm, norm and", "groups, norm and"),
        _bug("norm_of_other_strides", _NORM + "_call", NORMS, "an input that lies in another way is read as it did",
             "a.shape, a.strides, a.dtype", "a.shape, a.dtype"),
        _bug("norm_to_any_ceiling", _NORM + "batch_norm_relu", NORMS, "ReLU6 is ReLU",
             "_call(residual._array), ceiling,", "_call(residual._array),"),
        _bug("norm_with_any_eps", _NORM + "batch_norm_relu", NORMS, "eps is what it was",
             "ceiling, eps, circumstances()", "ceiling, circumstances()"),
        _bug("norm_with_any_residual", _NORM + "batch_norm_relu", NORMS, "what is added lies as what was added before",
             "None if residual is None else _call(residual._array), ceiling", "residual is None, ceiling"),
        _bug("norm_with_any_scale", _NORM + "batch_norm_relu", NORMS, "does not ask for weight and bias",
             "known(running_mean, running_var, weight, bias)", "known(running_mean, running_var)"),
        _bug("panels_of_another_part", _CONSTANTS + "Constants.made_of", PARTS,
             "all parts of one shape have the panels of the first",
             "what, address(a), a.strides, shape", "what, a.strides, shape"),
        _bug("panels_of_other_strides", _CONSTANTS + "Constants.made_of", PARTS, "a part read backwards is the same",
             "what, address(a), a.strides, shape", "what, address(a), shape"),
        _bug("panels_of_other_arrays", _CONSTANTS + "Constants.hold", PARTS, "takes every array for a constant",
             "any(begin <= low and high <= end for", "any(True for"),
        _bug("panels_not_held", _CONSTANTS + "Constants.made_of", LIVES, "a program reads what is somebody else's",
             "self._made.setdefault(key, found)", "(key, found)[1]"),
        _bug("statistics_not_held", _CONSTANTS + "Constants.give", LIVES, "scale and shift go when the call ends",
             "[a for a in arrays if", "[a for a in arrays[:1] if"),
        _bug("copy_of_rows", _CPU + "relayout:padded_rows", ROWS, "takes a copy that ended for what was made next",
             "outside_of_loops()", "pass"),
        _bug("copy_of_weights", _CPU + "winograd_filters:transformed", COPIES,
             "takes a copy of the weights that ended for the result", "is_constant(given)", "is_constant(w)"),
    )
    if HAVE_NUMBA
    else ()
)  # fmt: skip
