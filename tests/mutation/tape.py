"""Bugs of the tape, the engine, and the rules that undo a broadcast or a reduction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minidl.autograd.mode import MODE
from tests.checks import conv_op, tape

from .framework import Mutant

_ENGINE = "minidl.autograd.engine"
_TAPE = "minidl.autograd.tape"
_MODE = "minidl.autograd.mode:set_grad_enabled"
_TENSOR = "minidl.tensor:Tensor"
_ARITHMETIC = "minidl.ops.arithmetic"
_REDUCTION = "minidl.ops.reduction"
_COMMON = "minidl.ops._common"
_CONV = "minidl.ops.conv"


def _edit(name: str, target: str, story: str, old: str, new: str) -> Mutant:
    return Mutant(name, target, tape.CHECKS, story, old, new)


def _switch(name: str, method: str, story: str, old: str, new: str) -> Mutant:
    """These leave the switch of this thread as it should not be."""
    return Mutant(name, f"{_MODE}.{method}", tape.CHECKS, story, old, new, cleanup=_record_again)


def _record_again() -> None:
    MODE.recording = True


def _rule(name: str, target: str, story: str, wrong: Callable[..., Any], checks: tuple = tape.CHECKS) -> Mutant:
    """A gradient rule replaced; `wrong` gets the true rule and the rule's own arguments."""

    def replace(true: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **attributes: wrong(true, *args, **attributes)

    return Mutant(name, target, checks, story, replace=replace)


ENGINE = (
    _edit(
        "accumulation_replaced_by_assignment",
        f"{_ENGINE}:_accumulate",
        "a value used twice keeps the last of its cotangents only",
        "slot not in pending",
        "True",
    ),
    _edit(
        "depth_first_order",
        f"{_ENGINE}:_reachable",
        "nodes are pulled back as they are found, before their cotangent is complete",
        "[seen[i] for i in sorted(seen, reverse=True)]",
        "list(seen.values())",
    ),
    _edit(
        "oldest_first",
        f"{_ENGINE}:_reachable",
        "the tape is run forwards",
        "sorted(seen, reverse=True)",
        "sorted(seen)",
    ),
    _edit(
        "grad_overwritten",
        f"{_ENGINE}:_add_to_grad",
        "a second backward pass replaces .grad",
        "accumulate(leaf.grad._array, gradient._array)",
        "leaf.grad._array[...] = gradient._array",
    ),
    _edit(
        "grad_shared_between_leaves",
        f"{_ENGINE}:_add_to_grad",
        "two leaves, or a leaf and the user's cotangent, own the same gradient array",
        "(gradient if create_graph else gradient.detach()).clone()",
        "gradient if create_graph else gradient.detach()",
    ),
    _edit(
        "differentiable_grad_shared_between_leaves",
        f"{_ENGINE}:_add_to_grad",
        "the same, of gradients that can be differentiated",
        "(gradient if create_graph else gradient.detach()).clone()",
        "gradient if create_graph else gradient.detach().clone()",
    ),
    _edit(
        "hook_of_another_shape_believed",
        f"{_ENGINE}:_replacement",
        "a gradient of another shape is broadcast into .grad",
        "changed.shape != g.shape",
        "False",
    ),
    _edit(
        "hook_between_ignored",
        f"{_ENGINE}:backpropagate",
        "what a hook on a computed tensor returns is not used",
        "gs[index] = _run_hooks(hooks, gs[index])",
        "_run_hooks(hooks, gs[index])",
    ),
    _edit(
        "hook_on_leaf_skipped",
        f"{_ENGINE}:backpropagate",
        "hooks of leaves are not run",
        "_run_hooks(leaf._hooks, pending[slot])",
        "pending[slot]",
    ),
    _edit(
        "silent_hook_drops_the_gradient",
        f"{_ENGINE}:_run_hooks",
        "a hook that returns nothing is taken to return no gradient",
        "g = g if changed is None else _replacement(changed, g)",
        "g = changed",
    ),
    _edit(
        "retain_grad_forgotten",
        f"{_ENGINE}:backpropagate",
        "computed tensors never get their .grad",
        "_add_to_grad(tensor, kept, create_graph)",
        "pass",
    ),
    _edit(
        "graph_never_freed",
        f"{_ENGINE}:backpropagate",
        "saved values live on after the backward pass",
        "if not retain_graph:",
        "if False:",
    ),
    _edit(
        "retain_graph_ignored",
        f"{_ENGINE}:backpropagate",
        "the graph is freed although the user asked to keep it",
        "if not retain_graph:",
        "if True:",
    ),
    _edit(
        "create_graph_ignored",
        f"{_ENGINE}:backpropagate",
        "the backward pass is never recorded",
        "set_grad_enabled(create_graph)",
        "set_grad_enabled(False)",
    ),
    _edit(
        "backward_always_recorded",
        f"{_ENGINE}:backpropagate",
        "the backward pass is recorded without being asked, and never forgotten",
        "set_grad_enabled(create_graph)",
        "set_grad_enabled(True)",
    ),
    _edit(
        "paths_must_lead_by_every_argument",
        f"{_ENGINE}:_on_path",
        "a node counts only if all its arguments lead to a target",
        "if any(leads):",
        "if all(leads):",
    ),
    _edit(
        "output_number_forgotten",
        f"{_ENGINE}:backpropagate",
        "every cotangent goes to the first output of the operation that made the argument",
        "_slot(edge.node, edge.output, edge.leaf), _conform",
        "_slot(edge.node, 0, edge.leaf), _conform",
    ),
    _edit(
        "cotangent_ignored",
        f"{_ENGINE}:_seed",
        "the pass begins with ones whatever the user gives",
        "return g if g.dtype == output.dtype else g.to(output.dtype)",
        "return Tensor._wrap(output._xp.ones(output.shape, output.dtype))",
    ),
    _edit(
        "cotangent_keeps_its_dtype",
        f"{_ENGINE}:_seed",
        "a float64 cotangent runs through a float32 graph",
        "return g if g.dtype == output.dtype else g.to(output.dtype)",
        "return g",
    ),
    _edit(
        "cotangent_of_any_shape",
        f"{_ENGINE}:_seed",
        "a cotangent of another shape is broadcast silently",
        "if g.shape != output.shape:",
        "if False:",
    ),
    _edit(
        "vectors_begin_with_ones",
        f"{_ENGINE}:_seed",
        "backward of many numbers silently means that of their sum",
        "if output.numel() != 1:",
        "if False:",
    ),
    _edit(
        "unused_input_unnoticed",
        f"{_ENGINE}:grad",
        "an input that the output does not depend on gives None without being asked",
        "if result is None and not allow_unused:",
        "if False:",
    ),
    _edit(
        "inputs_ignored",
        f"{_ENGINE}:backward",
        "backward(inputs=[y]) fills the gradient of every leaf",
        "        seeds,\n        inputs,",
        "        seeds,\n        None if inputs is None else [*inputs, *_leaves(roots)],",
    ),
)

SWITCHES = (
    _switch(
        "no_grad_leaks",
        "__exit__",
        "recording stays off after the block",
        "MODE.recording = self.before.pop()",
        "self.before.pop()",
    ),
    _switch(
        "no_grad_does_not_nest",
        "__exit__",
        "the end of an inner block switches recording on in the outer one",
        "MODE.recording = self.before.pop()",
        "MODE.recording = True",
    ),
    _switch(
        "no_grad_does_nothing",
        "__enter__",
        "the block records as before",
        "MODE.recording = self.mode",
        "pass",
    ),
    _switch(
        "decorator_forgets_the_switch",
        "__call__",
        "a decorated function runs as if it were not",
        "with set_grad_enabled(self.mode):",
        "with set_grad_enabled(True):",
    ),
    _edit(
        "recorded_under_no_grad",
        f"{_TAPE}:Primitive.__call__",
        "operations do not look at the switch",
        "if MODE.recording:",
        "if True:",
    ),
    _edit(
        "detach_keeps_the_history",
        f"{_TENSOR}.detach",
        "a detached tensor still leads back",
        "Tensor._wrap(self._array)",
        "Tensor._wrap(self._array, self._node, self._index)"
        " if self._node else Tensor._from_leaf(self._array, self._requires_grad)",
    ),
)

GUARDS = (
    _edit(
        "version_check_dropped",
        f"{_TAPE}:Saved.unchanged",
        "a saved value that was written to in place is used as it is now",
        "self.version != self.storage.version",
        "False",
    ),
    _edit(
        "checksum_dropped",
        f"{_TAPE}:Saved.unchanged",
        "writes through a NumPy view go unnoticed",
        "return self.checksum is None or self.checksum == _checksum(self.array)",
        "return True",
    ),
    _edit(
        "exchanged_data_unnoticed",
        f"{_TAPE}:Saved.unchanged",
        "x.data = ... between forward and backward goes unnoticed",
        "self.edge.leaf._array is not self.array",
        "False",
    ),
    _edit(
        "writes_not_counted",
        f"{_TENSOR}._assign",
        "an in-place operation does not count as a change",
        "self._storage.version += 1",
        "pass",
    ),
    _edit(
        "detached_tensor_has_its_own_version",
        f"{_TENSOR}._share",
        "a write through detach() is not counted for the original",
        "self._array, self._storage = other._array, other._storage",
        "self._array = other._array",
    ),
    _edit(
        "view_has_its_own_version",
        f"{_TAPE}:Primitive.__call__",
        "a write into a view is not counted for the whole",
        "if self.view",
        "if False",
    ),
    _edit(
        "escape_forgotten",
        f"{_TENSOR}.numpy",
        "a writable NumPy view is handed out and nobody remembers",
        "self._storage.escape()",
        "pass",
    ),
    _edit(
        "leaf_written_in_place",
        "minidl.ops.views:assign_recorded",
        "a leaf that requires a gradient becomes a computed tensor",
        "if any(t._node is None and t._requires_grad for t in group):",
        "if False:",
    ),
    _edit(
        "views_keep_the_old_value",
        "minidl.ops.views:assign_recorded",
        "a recorded write reaches the tensor that was written, not its views",
        "for tensor, value, lineage in zip(group, values, lineages):",
        "for tensor, value, lineage in [*zip(group, values, lineages)][:1]:",
    ),
    _edit(
        "freed_graph_runs_again",
        f"{_TAPE}:Node.pull_back",
        "a second pass over a freed graph is tried",
        "if self.freed:",
        "if False:",
    ),
    _edit(
        "readers_not_released",
        f"{_TAPE}:Node._release",
        "a value counts as needed for ever",
        "saved.storage.readers",
        "set()",
    ),
)

RULES = (
    _edit(
        "broadcast_not_summed",
        f"{_COMMON}:_sum_to",
        "of the copies that a broadcast made only the first sends its gradient back",
        "x.sum(axis=axes, keepdims=True).reshape(shape)",
        "x[tuple(slice(0, 1) if i in axes else slice(None) for i in range(x.ndim))].reshape(shape)",
    ),
    _edit(
        "broadcast_averaged",
        f"{_COMMON}:_sum_to",
        "mean over the copies that a broadcast made",
        "x.sum(axis=axes",
        "x.mean(axis=axes",
    ),
    _edit(
        "stretched_axes_not_summed",
        f"{_COMMON}:_sum_to",
        "only axes that the broadcast added are summed, not those that it stretched",
        "if n == 1 and x.shape[lead + i] != 1)",
        "if False)",
    ),
    _edit(
        "keepdim_forgotten",
        f"{_REDUCTION}:_spread",
        "a reduced cotangent is broadcast along the wrong axis",
        "g.reshape(kept_shape(shape, axes))",
        "g",
    ),
    _rule(
        "mean_not_divided",
        f"{_REDUCTION}:_mean.rules.0.function",
        "the gradient of the mean is that of the sum",
        lambda true, g, y, x, *, axes, keepdim: true(g, y, x, axes=axes, keepdim=keepdim) * (x.shape[axes[0]] + 0.0),
    ),
    _rule(
        "product_rule_forgets_the_factor",
        f"{_ARITHMETIC}:_mul.rules.0.function",
        "the gradient of a * b with respect to a is taken for g",
        lambda true, g, y, a, b: true(g, y, a, b * 0 + 1),
    ),
    _rule(
        "sign_of_the_subtrahend",
        f"{_ARITHMETIC}:_sub.rules.1.function",
        "the second argument of a difference gets the first one's gradient",
        lambda true, g, y, a, b: true(-g, y, a, b),
    ),
    _rule(
        "rule_detaches",
        f"{_ARITHMETIC}:_pow.rules.0.function",
        "right gradients that cannot be differentiated again",
        lambda true, g, y, a, b: true(g, y, a, b).detach(),
    ),
    Mutant(
        "B_gb_mean_over_batch",
        f"{_CONV}:_bias_grad",
        conv_op.CHECKS,
        "the bias gradient is a mean over the batch",
        "g.sum((0, *range(2, g.ndim)))",
        "g.sum((0, *range(2, g.ndim))) / g.shape[0]",
    ),
    Mutant(
        "B_gb_wrong(ones)",
        f"{_CONV}:_bias_grad",
        conv_op.CHECKS,
        "the bias gradient ignores what comes from above",
        "g.sum(",
        "(g * 0 + 1).sum(",
    ),
    Mutant(
        "B_gb_of_the_last_axis",
        "minidl.kernels.spec.norm:add_to_channels",
        conv_op.CHECKS,
        "the bias is added along the last axis, as for channels-last arrays",
        "along(shift, x)",
        "shift",
    ),
    _rule(
        "second_derivative_of_conv_forgets_a_term",
        f"{_CONV}:_input_grad.rules.0.function",
        "the input gradient is taken for independent of the weights",
        lambda true, *a, **k: true(*a, **k) * 0,
        conv_op.CHECKS,
    ),
    _rule(
        "second_derivative_of_conv_detached",
        f"{_CONV}:_conv.rules.1.function",
        "the weight gradient has no history",
        lambda true, *a, **k: true(*a, **k).detach(),
        conv_op.CHECKS,
    ),
)

MUTANTS: tuple[Mutant, ...] = (*ENGINE, *SWITCHES, *GUARDS, *RULES)
