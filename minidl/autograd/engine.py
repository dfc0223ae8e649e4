"""Differentiation of a recorded graph: one loop over its nodes, newest first."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import on
from ..kernels.activation import accumulate
from .mode import MODE, set_grad_enabled
from .tape import LISTENERS, Edge, GraphError, Node, RuleShapeError, Spec

if TYPE_CHECKING:
    from ..tensor import Tensor

Slot = tuple[int, int]  # (node id, output index), or (-1, id of a leaf)


def _slot(node: Node | None, index: int, leaf: Tensor | None) -> Slot:
    return (-1, id(leaf)) if node is None else (node.id, index)


def _reachable(roots: Iterable[Tensor]) -> list[Node]:
    """Every node below ``roots``, newest first.

    A node is always younger than the nodes of its arguments, so this order is a reverse topological one: when
    a node's turn comes, all that use its outputs have been dealt with and its cotangent is complete.
    """
    seen: dict[int, Node] = {}
    stack = [t._node for t in roots if t._node is not None]
    while stack:
        node = stack.pop()
        if node.id not in seen:
            seen[node.id] = node
            stack.extend(e.node for e in node.edges if e is not None and e.node is not None)
    return [seen[i] for i in sorted(seen, reverse=True)]


def _on_path(nodes: list[Node], targets: set[Slot]) -> dict[int, list[bool]]:
    """For each node (id), which arguments lead to a target; nodes that lead to none are absent."""
    paths: dict[int, list[bool]] = {}
    for node in reversed(nodes):  # oldest first
        leads = [
            e is not None
            and (_slot(e.node, e.output, e.leaf) in targets or (e.node is not None and e.node.id in paths))
            for e in node.edges
        ]
        if any(leads):
            paths[node.id] = leads
    return paths


def backpropagate(
    roots: Sequence[Tensor],
    cotangents: Sequence[Tensor],
    targets: Sequence[Tensor] | None,
    *,
    retain_graph: bool,
    create_graph: bool,
) -> dict[Slot, Tensor]:
    """Cotangents of ``targets`` (all leaves when None), by slot.  Each node is visited once, newest first."""
    nodes = _reachable(roots)
    leaves = {_slot(None, 0, e.leaf): e.leaf for n in nodes for e in n.edges if e is not None and e.leaf is not None}
    leaves |= {_slot(None, 0, t): t for t in roots if t._node is None and t.requires_grad}
    wanted = set(leaves) if targets is None else {_slot(t._node, t._index, t) for t in targets}
    paths = _on_path(nodes, wanted)

    pending: dict[Slot, Tensor] = {}
    found: dict[Slot, Tensor] = {}
    with set_grad_enabled(create_graph):
        for root, g in zip(roots, cotangents):
            _accumulate(pending, _slot(root._node, root._index, root), g)
        for node in nodes:
            slots = [(node.id, i) for i in range(len(node.outputs))]
            gs = [pending.pop(s, None) for s in slots]
            for index, hooks in node.hooks.items():
                gs[index] = _run_hooks(hooks, gs[index])
            for index, ref in node.retained.items():
                tensor, kept = ref(), gs[index]
                if tensor is not None and kept is not None:
                    _add_to_grad(tensor, kept, create_graph)
            found.update({s: g for s, g in zip(slots, gs) if s in wanted and g is not None})
            needs = paths.get(node.id)
            if needs is None or all(g is None for g in gs):
                continue
            outer, autocast = MODE.differentiating, MODE.autocast
            MODE.differentiating, MODE.autocast = node, None  # gradients take the precision that their results had
            into = None if create_graph or node.primitive.adds is None else _to_add_to(pending, node, needs)
            try:
                gradients = node.pull_back(gs, needs, into)
            finally:
                into = None  # nobody else has it
                MODE.differentiating, MODE.autocast = outer, autocast
            for edge, need, gradient in zip(node.edges, needs, gradients):
                if need and edge is not None and gradient is not None:
                    _accumulate(pending, _slot(edge.node, edge.output, edge.leaf), _conform(gradient, edge, node))
            for listener in tuple(LISTENERS):
                listener.on_backward(node, gs, gradients)
            if not retain_graph:
                node.free()
        for slot, leaf in leaves.items():
            if slot in pending and slot in wanted:
                total = _run_hooks(leaf._hooks, pending[slot])
                if total is not None:
                    found[slot] = total
    return found


def _accumulate(pending: dict[Slot, Tensor], slot: Slot, gradient: Tensor) -> None:
    if slot not in pending:
        pending[slot] = gradient
    elif not MODE.recording and gradient.dtype == pending[slot].dtype and _nobody_else_has(pending, slot):
        accumulate(pending[slot]._array, gradient._array)
    else:
        pending[slot] = pending[slot] + gradient


def _to_add_to(pending: dict[Slot, Tensor], node: Node, needs: Sequence[bool]) -> Any:
    """The array that holds the gradient so far of the argument ``node.primitive.adds``, where the node's share may be
    added to it as it is computed: nobody else has it, and nobody wants to see the share."""
    number: int = node.primitive.adds  # type: ignore[assignment]
    edge = node.edges[number]
    if LISTENERS or edge is None or not needs[number]:
        return None
    slot = _slot(edge.node, edge.output, edge.leaf)
    if slot not in pending or pending[slot].dtype != edge.spec.dtype or not _nobody_else_has(pending, slot):
        return None
    return pending[slot]._array


_one = {0: object()}
_ALONE = sys.getrefcount(_one[0])  # what Python counts for an object with one owner, looked at like this


def _nobody_else_has(tensors: dict[Slot, Tensor], slot: Slot) -> bool:
    """Whether ``tensors[slot]`` and its memory are known here only, so that they may be written to or given away.

    A rule may hand one array to two arguments (addition does), or a view of what somebody else holds.  Python's
    count of references tells, for the tensor, its array, and the array that this is a view of.
    """
    if sys.getrefcount(tensors[slot]) != _ALONE or sys.getrefcount(tensors[slot]._array) != _ALONE:
        return False
    array = tensors[slot]._array
    if type(array) is not np.ndarray or not array.flags.writeable:
        return False
    if array.base is None:
        return True
    return type(array.base) is np.ndarray and array.base.flags.owndata and sys.getrefcount(array.base) == _ALONE


def _run_hooks(hooks: list[Callable[[Tensor], Tensor | None]] | None, g: Tensor | None) -> Tensor | None:
    for hook in tuple(hooks or ()):
        if g is not None:
            changed = hook(g)
            g = g if changed is None else _replacement(changed, g)
    return g


def _replacement(changed: Any, g: Tensor) -> Tensor:
    """What a hook returned in the place of ``g``, which it must fit."""
    if not isinstance(changed, type(g)):
        raise GraphError(f"a hook must return a tensor or None, not {type(changed).__name__}")
    if changed.shape != g.shape:
        raise GraphError(f"a hook returned a gradient of shape {changed.shape}, the tensor has shape {g.shape}")
    return changed if changed.dtype == g.dtype else changed.to(g.dtype)


def _conform(gradient: Tensor, edge: Edge, node: Node) -> Tensor:
    """A rule must return its argument's shape; a wider dtype is brought back to the argument's."""
    if gradient.shape != edge.spec.shape:
        raise RuleShapeError(node.name, gradient.shape, edge.spec.shape)
    return gradient if gradient.dtype == edge.spec.dtype else gradient.to(edge.spec.dtype)


def _seed(output: Tensor, cotangent: Any, what: str) -> Tensor:
    """The cotangent to begin with: given, or one for a scalar."""
    from ..tensor import Tensor

    if not output.requires_grad:
        raise GraphError(
            f"{what} does not require a gradient: no argument of the computation had requires_grad=True, or it ran "
            "under no_grad() or on detached tensors"
        )
    if cotangent is None:
        if output.numel() != 1:
            raise GraphError(
                f"{what} has shape {output.shape}: only a single number has a gradient of its own. Reduce it first "
                f"(y.sum().backward()), or pass the cotangent: y.backward(gradient of shape {output.shape})"
            )
        with on(output.device):
            return Tensor._wrap(output._xp.ones(output.shape, output.dtype))
    g = cotangent if isinstance(cotangent, Tensor) else Tensor(cotangent).to(output.device)
    if g.shape != output.shape:
        raise GraphError(f"the cotangent has shape {g.shape}, but {what} has shape {output.shape}")
    return g if g.dtype == output.dtype else g.to(output.dtype)


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Sequence[Tensor] | None = None,
) -> None:
    """Add the gradient of ``tensors`` to ``.grad`` of every leaf (or of ``inputs`` only).

    ``grad_tensors`` are the cotangents; a single number needs none.  The graph's saved values are freed unless
    ``retain_graph`` (default: ``create_graph``).

    >>> import minidl
    >>> x = minidl.tensor([2.0, 3.0], requires_grad=True)
    >>> minidl.autograd.backward((x * x).sum())
    >>> x.grad
    tensor([4., 6.])
    """
    roots, seeds = _pair_up(tensors, grad_tensors)
    found = backpropagate(
        roots,
        seeds,
        inputs,
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
    )
    by_slot = {_slot(None, 0, t): t for t in _leaves(roots)} if inputs is None else {
        _slot(t._node, t._index, t): t for t in inputs
    }  # fmt: skip
    with set_grad_enabled(create_graph):
        for slot in list(found):
            fresh = not create_graph and _nobody_else_has(found, slot)
            _add_to_grad(by_slot[slot], found.pop(slot), create_graph, fresh)


def _leaves(roots: Sequence[Tensor]) -> list[Tensor]:
    below = [e.leaf for n in _reachable(roots) for e in n.edges if e is not None and e.leaf is not None]
    return below + [t for t in roots if t._node is None]


def _add_to_grad(leaf: Tensor, gradient: Tensor, create_graph: bool, fresh: bool = False) -> None:
    if leaf.grad is None:
        # a leaf owns its gradient: a copy, unless this one is fresh and nobody else's
        leaf.grad = gradient if fresh else (gradient if create_graph else gradient.detach()).clone()
    elif leaf.grad.shape != gradient.shape:
        raise GraphError(f".grad has shape {leaf.grad.shape}, the tensor that it belongs to {gradient.shape}")
    elif create_graph:
        leaf.grad = leaf.grad + gradient
    else:
        accumulate(leaf.grad._array, gradient._array)
        leaf.grad._storage.version += 1


def _pair_up(outputs: Tensor | Sequence[Tensor], cotangents: Any) -> tuple[list[Tensor], list[Tensor]]:
    from ..tensor import Tensor

    roots: list[Tensor]
    if isinstance(outputs, Tensor):
        roots, given = [outputs], [cotangents]
    else:
        roots = list(outputs)
        given = [cotangents] if cotangents is None or isinstance(cotangents, Tensor) else list(cotangents)
        given = given * len(roots) if cotangents is None else given
    if len(given) != len(roots):
        raise GraphError(f"{len(roots)} outputs but {len(given)} cotangents")
    names = ["the output"] if len(roots) == 1 else [f"output {i}" for i in range(len(roots))]
    return roots, [_seed(r, g, n) for r, g, n in zip(roots, given, names)]


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of ``outputs`` with respect to ``inputs``, returned instead of stored.

    ``create_graph=True`` records the backward pass too, for higher derivatives.  An input that the outputs do
    not depend on is an error unless ``allow_unused`` (then its gradient is None) or ``materialize_grads`` (zeros).
    ``only_inputs`` and ``is_grads_batched`` are PyTorch's and have their defaults only.

    >>> import minidl
    >>> x = minidl.tensor(3.0, requires_grad=True)
    >>> (dx,) = minidl.autograd.grad(x**3, x, create_graph=True)
    >>> (d2x,) = minidl.autograd.grad(dx, x)
    >>> dx.item(), d2x.item()
    (27.0, 18.0)
    """
    from ..tensor import Tensor

    if is_grads_batched or not only_inputs:
        raise ValueError("grad takes one cotangent at a time and touches its inputs only: call it in a loop")
    targets = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for position, t in enumerate(targets):
        if not t.requires_grad:
            raise GraphError(f"input {position} does not require a gradient: call .requires_grad_() before it is used")
    roots, seeds = _pair_up(outputs, grad_outputs)
    found = backpropagate(
        roots,
        seeds,
        targets,
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
    )
    results: list[Tensor | None] = [found.get(_slot(t._node, t._index, t)) for t in targets]
    if materialize_grads:
        results = [t.detach() * 0 if result is None else result for t, result in zip(targets, results)]
    for position, result in enumerate(results):
        if result is None and not allow_unused:
            raise GraphError(
                f"the outputs do not depend on input {position} (shape {targets[position].shape}); pass "
                "allow_unused=True to get None for it"
            )
    return tuple(results)


__all__ = ["MODE", "Spec", "backpropagate", "backward", "grad"]
