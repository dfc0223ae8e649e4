"""What a module lets others see and change: hooks around its forward and backward pass, and where it stands.

A backward hook needs to know the gradients at a module's two boundaries.  Both are read by an identity in the
graph, ``module_boundary``: its gradient rule hands the cotangents to the hooks and passes on what they return.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..autograd.tape import Primitive, vjp
from ..tensor import Tensor

if TYPE_CHECKING:
    from .module import Module

Gradients = tuple[Tensor | None, ...]


def _observe(g: Any, y: Any, *args: Any, needs: Sequence[bool], observe: Callable[[Gradients], Gradients]) -> Any:
    return [gradient if need else None for gradient, need in zip(observe(tuple(g)), needs)]


_boundary: Primitive = Primitive("module_boundary", lambda *arrays, observe: arrays, joint=vjp(_observe))


class BackwardObserver:
    """One call of a module with backward hooks: collects the gradients of its outputs, then those of its inputs."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.grad_output: Gradients = ()
        self.input_count = 0
        self.inputs_in_graph = False

    def wrap_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        leaves = _leaves(args)
        self.input_count = len(leaves)
        self.inputs_in_graph = any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in leaves)
        return _through_boundary(args, leaves, self._on_input_gradients)

    def wrap_output(self, output: Any) -> Any:
        return _through_boundary(output, _leaves(output), self._on_output_gradients)

    def _on_output_gradients(self, gradients: Gradients) -> Gradients:
        for hook in tuple(self.module._backward_pre_hooks):
            changed = hook(self.module, gradients)
            gradients = gradients if changed is None else _as_tuple(changed, len(gradients), "backward pre-hook")
        self.grad_output = gradients
        if not self.inputs_in_graph:  # no input boundary will be reached: the hooks run here
            self._run((None,) * self.input_count)
        return gradients

    def _on_input_gradients(self, gradients: Gradients) -> Gradients:
        return self._run(gradients)

    def _run(self, gradients: Gradients) -> Gradients:
        for hook in tuple(self.module._backward_hooks):
            changed = hook(self.module, gradients, self.grad_output)
            gradients = gradients if changed is None else _as_tuple(changed, len(gradients), "backward hook")
        return gradients


def _as_tuple(changed: Any, count: int, what: str) -> Gradients:
    gradients = changed if isinstance(changed, tuple) else (changed,)
    if len(gradients) != count:
        raise ValueError(
            f"a {what} must return None or a tuple of {count} gradients, this one returned {len(gradients)}"
        )
    return gradients


def _leaves(structure: Any) -> list[Any]:
    """Everything in nested tuples, lists and dicts, in order."""
    if isinstance(structure, (tuple, list)):
        return [leaf for item in structure for leaf in _leaves(item)]
    if isinstance(structure, dict):
        return [leaf for item in structure.values() for leaf in _leaves(item)]
    return [structure]


def _rebuild(structure: Any, replacements: Any) -> Any:
    """``structure`` with its leaves taken from the iterator ``replacements``, in order."""
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*(_rebuild(item, replacements) for item in structure))
    if isinstance(structure, (tuple, list)):
        return type(structure)(_rebuild(item, replacements) for item in structure)
    if isinstance(structure, dict):
        return type(structure)((key, _rebuild(item, replacements)) for key, item in structure.items())
    return next(replacements)


def _through_boundary(structure: Any, leaves: list[Any], on_gradients: Callable[[Gradients], Gradients]) -> Any:
    """``structure`` with its tensors passed through the identity; hooks see one entry a leaf, None for no tensor."""
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    if not any(leaves[i].requires_grad for i in places):
        return structure

    def observe(gradients: Gradients) -> Gradients:
        full: list[Tensor | None] = [None] * len(leaves)
        for place, gradient in zip(places, gradients):
            full[place] = gradient
        changed = on_gradients(tuple(full))
        return tuple(changed[place] for place in places)

    tensors = [leaves[i] for i in places]
    replaced = list(leaves)
    for place, before, after in zip(places, tensors, _boundary(*tensors, observe=observe)):
        after._storage = before._storage  # the same memory: a write to either changes both
        after._storage.join(after, after._storage.lineage(before))
        replaced[place] = after
    return _rebuild(structure, iter(replaced))


class _Active(threading.local):
    """The modules that are running in this thread, outermost first, with their paths."""

    def __init__(self) -> None:
        self.stack: list[tuple[str, Module]] = []


ACTIVE = _Active()


def enter(module: Module) -> None:
    """Note that ``module`` begins to run; its path is its name inside the outermost running module."""
    path = ""
    if ACTIVE.stack:
        outer, parent = ACTIVE.stack[-1]
        name = _name_inside(parent, module)
        path = f"{outer}.{name}" if outer and name else outer or name
    ACTIVE.stack.append((path, module))


def _name_inside(parent: Module, module: Module) -> str:
    """Where ``module`` stands in ``parent``; its class where it does not.  Most modules call their own children."""
    for name, child in parent._modules.items():
        if child is module:
            return name
    return next((n for n, m in parent.named_modules() if m is module), type(module).__name__)


def leave() -> None:
    """Note that the module which runs now has ended."""
    ACTIVE.stack.pop()


def say_where(error: Exception, module: Module) -> None:
    """Note on ``error`` in which module it arose; each module that it leaves on its way out knows a longer path."""
    failed = getattr(error, "failed_module", module)
    error.failed_module = failed  # type: ignore[attr-defined]
    path = next((name for name, m in module.named_modules() if m is failed), "")
    what = f"{type(failed).__name__}.forward" if failed._modules else repr(failed)
    notes = [n for n in getattr(error, "__notes__", ()) if not n.startswith("in module ")]
    error.__notes__ = [*notes, f"in module {path}: {what}" if path else f"in module {what}"]


def current_path() -> str:
    """Dotted name of the module that runs now, seen from the outermost one ("" there, and outside of all modules).

    Kept up to date only while an autograd listener is active, so that it costs nothing otherwise.
    """
    return ACTIVE.stack[-1][0] if ACTIVE.stack else ""


def current_module() -> Module | None:
    """The module that runs now; kept up to date only while an autograd listener is active."""
    return ACTIVE.stack[-1][1] if ACTIVE.stack else None


def current_label() -> str:
    """Path and class of the module that runs now, as people say it: ``conv2 (Conv2d)``; "" outside of all modules.

    >>> import minidl
    >>> class Where(minidl.autograd.Listener):
    ...     def on_forward(self, primitive, *rest):
    ...         print(primitive.name, "in", minidl.nn.module.current_label())
    >>> net = minidl.nn.Sequential(minidl.nn.Flatten(), minidl.nn.ReLU())
    >>> with Where():
    ...     y = net(minidl.ones(2, 3, 4))
    reshape in 0 (Flatten)
    relu in 1 (ReLU)
    """
    if not ACTIVE.stack:
        return ""
    path, module = ACTIVE.stack[-1]
    return f"{path} ({type(module).__name__})" if path else type(module).__name__
