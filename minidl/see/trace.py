"""A recorded run: every primitive, forward and backward, with its place in the model, values and time.

``trace`` sends an input through a model (and, with a loss, gradients back) under a listener of the tape.  Nothing
in the model, its parameters or its running statistics changes.  What the rest of this package says about a run it
reads from the :class:`Trace`.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autograd.mode import MODE, set_grad_enabled
from ..autograd.tape import Listener, Node, Primitive, Saved
from ..backend import CPU, to_device
from ..nn.hooks import current_module, current_path
from .errors import SeeError

if TYPE_CHECKING:
    from ..tensor import Tensor


@dataclass(eq=False, repr=False)
class Value:
    """One array of a run: who made it (``record``, None for what was given), and what it is called."""

    number: int
    shape: tuple[int, ...]
    dtype: np.dtype
    name: str
    record: Record | None = None
    output: int = 0
    array: Any = None
    storage: Any = None
    version: int = 0

    def __repr__(self) -> str:
        return f"<value {self.name}: {self.dtype} {self.shape}>"

    def read(self) -> np.ndarray:
        """The values as a NumPy array, not to be written to; SeeError where they are gone."""
        if self.array is None:
            raise SeeError(
                f"the values of {self.name} were not kept: this run was traced with keep_values=False; trace it "
                "again with keep_values=True to ask about numbers"
            )
        if self.storage is not None and self.storage.version != self.version:
            raise SeeError(
                f"{self.name} was written to in place after the run was traced (by an optimiser's step?), so its "
                "numbers explain nothing any more: trace the model again, or ask before you step"
            )
        return to_device(self.array, CPU)

    def at(self, index: np.ndarray) -> np.ndarray:
        """The elements at ``index`` (n, ndim), in their own dtype."""
        array = self.read()
        return array[tuple(index.T)] if array.ndim else np.full(len(index), array)

    def item(self, index: tuple[int, ...]) -> float:
        return float(self.read()[index])

    def to_dict(self) -> dict[str, Any]:
        made = None if self.record is None else self.record.number
        return {"name": self.name, "shape": list(self.shape), "dtype": str(self.dtype), "record": made}


@dataclass(eq=False)
class Record:
    """One call of a primitive.

    ``label`` is its name in this run (``conv1/conv``, ``layer1.0/add``; those of the backward pass begin with
    ``backward/``), ``path`` and ``kind`` the module that ran it, ``phase`` "forward", "loss" or "backward".
    ``args`` holds a :class:`Value` for each tensor.  ``cotangents`` and ``gradients`` are what came to its outputs
    and went to its arguments in the backward pass; a record of that pass names in ``of`` the one whose rule ran.
    ``seconds`` reach from the end of the record before.  ``saved`` names each value that was kept for the backward
    pass, and the arguments whose gradients read it.
    """

    number: int
    primitive: Primitive
    label: str
    path: str
    kind: str
    phase: str
    args: tuple[Any, ...]
    attrs: dict[str, Any]
    outputs: tuple[Value, ...]
    seconds: float
    of: Record | None = None
    cotangents: tuple[Value | None, ...] = ()
    gradients: tuple[Value | None, ...] = ()
    backward_seconds: float = 0.0
    saved: tuple[tuple[str, Value, tuple[str, ...]], ...] = ()

    @property
    def op(self) -> str:
        return self.primitive.name

    def argument_name(self, position: int) -> str:
        """What the gradient rules call an argument."""
        names = self.primitive.names(len(self.args))
        return names[position] if position < len(names) else f"x{position}"

    def __repr__(self) -> str:
        return f"<record #{self.number} {self.label} -> {', '.join(str(v.shape) for v in self.outputs)}>"

    def to_dict(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "op": self.op,
            "label": self.label,
            "path": self.path,
            "kind": self.kind,
            "phase": self.phase,
            "inputs": [a.to_dict() if isinstance(a, Value) else _plain(a) for a in self.args],
            "outputs": [v.to_dict() for v in self.outputs],
            "seconds": self.seconds,
            "backward_seconds": self.backward_seconds,
            "of": None if self.of is None else self.of.number,
        }


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float, str, bool, type(None))) else str(value)


@dataclass(eq=False)
class Trace:
    """A run as :func:`trace` recorded it.

    ``records`` in the order in which they ran; ``names`` says which value a name means (the input, parameters,
    buffers, modules by their path, records by their label); ``calls`` the outputs of each call of each module;
    ``gradients`` those of inputs and parameters by name.
    """

    records: list[Record] = field(default_factory=list)
    names: dict[str, Value] = field(default_factory=dict)
    calls: dict[str, list[tuple[Value, ...]]] = field(default_factory=dict)
    outputs: tuple[Value, ...] = ()
    loss: Value | None = None
    gradients: dict[str, Value] = field(default_factory=dict)
    seconds: float = 0.0
    model: Any = None
    loss_name: str = ""
    keeps_values: bool = True
    cache: dict[Any, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        phases = [r.phase for r in self.records]
        count = ", ".join(f"{phases.count(p)} {p}" for p in ("forward", "loss", "backward") if p in phases)
        return f"<trace of {type(self.model).__name__}: {count} records>"

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def consumers(self, value: Value) -> list[tuple[Record, int]]:
        """Forward records that take ``value``, with the argument's position."""
        if "consumers" not in self.cache:
            found: dict[int, list[tuple[Record, int]]] = {}
            for r in self.records:
                if r.phase != "backward":
                    for position, a in enumerate(r.args):
                        if isinstance(a, Value):
                            found.setdefault(a.number, []).append((r, position))
            self.cache["consumers"] = found
        return self.cache["consumers"].get(value.number, [])

    def gradient(self, value: Value) -> Value:
        """The gradient of the loss with respect to ``value``; SeeError where none was computed."""
        found = self.gradients.get(value.name) if value.record is None else None
        if value.record is not None and value.output < len(value.record.cotangents):
            found = value.record.cotangents[value.output]
        if found is None:
            reason = "no gradient reaches it: it does not require one, or the loss does not depend on it"
            if self.loss is None:
                reason = "this run has no backward pass: trace it with a loss"
            raise SeeError(f"{value.name} has no gradient in this run; {reason}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Everything but the values, ready for JSON."""
        return {
            "model": type(self.model).__name__,
            "seconds": self.seconds,
            "records": [r.to_dict() for r in self.records],
            "outputs": [v.to_dict() for v in self.outputs],
            "loss": None if self.loss is None else self.loss.to_dict(),
            "gradients": {name: v.to_dict() for name, v in self.gradients.items()},
        }


class Recorder(Listener):
    """Fills a trace while primitives run."""

    def __init__(self, trace: Trace, keep_values: bool) -> None:
        self.trace = trace
        self.keep_values = self.steps = keep_values  # without values no step can be explained
        self.phase = "forward"
        self.values: dict[int, tuple[Any, Value]] = {}  # by id of the array, which a weak reference proves
        self.known: dict[int, str] = {}  # names given beforehand, by id of the array
        self.by_node: dict[int, Record] = {}
        self.labels: dict[str, int] = {}
        self.count = 0
        self.last = time.perf_counter()

    # ---- values ----------------------------------------------------------------------------------------

    def new(self, tensor: Tensor, name: str, record: Record | None = None, output: int = 0) -> Value:
        array = tensor._array
        value = Value(self.count, array.shape, array.dtype, name, record, output)
        self.count += 1
        if self.keep_values:
            value.array, value.storage, value.version = array, tensor._storage, tensor._storage.version
        self.values[id(array)] = (weakref.ref(array), value)
        return value

    def value(self, tensor: Tensor, name: str = "constant") -> Value:
        """The value that ``tensor`` is; one that nobody made is a constant, or a parameter or buffer by its name."""
        array = tensor._array
        found = self.values.get(id(array))
        if found is not None and found[0]() is array:
            return found[1]
        value = self.new(tensor, self.known.get(id(array), name))
        self.trace.names.setdefault(value.name, value)
        return value

    # ---- events ----------------------------------------------------------------------------------------

    def on_forward(
        self,
        primitive: Primitive,
        args: Sequence[Any],
        attrs: dict[str, Any],
        outputs: tuple[Tensor, ...],
        node: Node | None,
    ) -> None:
        if not self.in_its_thread():
            return
        now = time.perf_counter()
        path, module, of = current_path(), current_module(), None
        if self.phase == "backward":
            differentiating = MODE.differentiating
            of = None if differentiating is None else self.by_node.get(differentiating.id)
            path = of.path if of is not None else ""
            stem = f"backward/{of.label}/{primitive.name}" if of is not None else f"backward/{primitive.name}"
        else:
            path = "loss" if self.phase == "loss" else path
            stem = f"{path}/{primitive.name}" if path else primitive.name
        repeat = self.labels.get(stem, 0) + 1
        self.labels[stem] = repeat
        label = stem if repeat == 1 else f"{stem}.{repeat}"
        known = tuple(self.value(a) if hasattr(a, "_array") else a for a in args)
        kind = "" if module is None or self.phase != "forward" else type(module).__name__
        settings = {name: _on_the_host(setting) for name, setting in attrs.items()}
        record = Record(
            len(self.trace.records), primitive, label, path, kind, self.phase, known, settings, (), now - self.last, of
        )
        record.outputs = tuple(
            self.new(o, label if len(outputs) == 1 else f"{label}:{i}", record, i) for i, o in enumerate(outputs)
        )
        self.trace.records.append(record)
        if node is not None and self.phase != "backward":
            self.by_node[node.id] = record
            record.saved = _saved(node, record)
        if of is not None:
            of.backward_seconds += record.seconds
        self.last = time.perf_counter()

    def on_backward(self, node: Node, cotangents: Sequence[Tensor | None], gradients: Sequence[Tensor | None]) -> None:
        record = self.by_node.get(node.id)
        if record is not None and self.in_its_thread():
            record.cotangents = tuple(None if g is None else self.value(g, "seed") for g in cotangents)
            record.gradients = tuple(None if g is None else self.value(g, "seed") for g in gradients)

    def on_module(self, module: Any, args: Any, output: Any) -> None:
        """A module has ended its forward pass."""
        if not self.in_its_thread() or self.phase != "forward":
            return
        found = tuple(self.value(t) for t in tensors_in(output))
        path = current_path()
        if not found:
            return
        self.trace.calls.setdefault(path, []).append(found)
        number = len(self.trace.calls[path])
        for i, value in enumerate(found):
            name = path if number == 1 else f"{path}#{number}"
            name = name if len(found) == 1 else f"{name}:{i}"
            if path:
                if value.record is not None and value.name == value.record.label:  # the innermost module names it
                    value.name = name
                self.trace.names.setdefault(name, value)


def _on_the_host(setting: Any) -> Any:
    """What an operation was told, where the values are read: indices may be arrays on a device."""
    if type(setting) in (tuple, list):
        return type(setting)(map(_on_the_host, setting))
    return to_device(setting, CPU)


def _saved(node: Node, record: Record) -> tuple[tuple[str, Value, tuple[str, ...]], ...]:
    """What the node keeps: (name, value, arguments whose gradient reads it)."""
    primitive, kept = node.primitive, []
    for position, arg in enumerate(node.args):
        if isinstance(arg, Saved) and isinstance(record.args[position], Value):
            kept.append((record.argument_name(position), record.args[position]))
    if node.saved_y is not None:
        kept += [("y", value) for value in record.outputs]
    rules = [primitive.joint] * len(node.args) if primitive.joint is not None else primitive.rules
    readers = {
        name: tuple(
            record.argument_name(i)
            for i, (rule, edge) in enumerate(zip(rules, node.edges))
            if rule is not None and edge is not None and (name in rule.uses or "args" in rule.uses)
        )
        for name, _ in kept
    }
    return tuple((name, value, readers[name]) for name, value in kept)


def tensors_in(structure: Any) -> list[Any]:
    """All tensors in nested tuples, lists, dicts and dataclasses, in order."""
    if hasattr(structure, "_array"):
        return [structure]
    if isinstance(structure, dict):
        structure = list(structure.values())
    elif hasattr(structure, "__dataclass_fields__"):
        structure = [getattr(structure, name) for name in structure.__dataclass_fields__]
    if isinstance(structure, (tuple, list)):
        return [t for item in structure for t in tensors_in(item)]
    return []


def trace(
    model: Callable[..., Any],
    input: Any,
    *,
    target: Any = None,
    loss: Callable[..., Any] | str | None = None,
    keep_values: bool = True,
) -> Trace:
    """Run ``model`` (a Module or any function of tensors) on ``input`` and record every primitive.

    ``input`` is a tensor or array, or a tuple of them.  With ``loss`` (a function of output and target, or the name
    of one in ``nn.functional``; of the output alone when there is no target) the run goes on through the loss and
    back.  ``keep_values=False`` keeps shapes and times only, of the operations as they run when nobody looks: there a
    linear layer or a cross-entropy is one record, otherwise each of its steps.  A batch norm and the ReLU behind it
    stay two, each with its own module.

    The model's mode stays as it is, ``.grad`` of the parameters is not touched, and running statistics are put back.

    >>> from minidl import models, nn, see
    >>> import minidl
    >>> run = see.trace(models.lenet5(), minidl.ones(1, 1, 32, 32))
    >>> [r.label for r in run][:4]
    ['features.0/conv', 'features.1/tanh', 'features.2/avg_pool', 'features.3/conv']
    """
    from .. import as_tensor
    from ..autograd.engine import grad
    from ..nn import Module, functional

    inputs = [as_tensor(x) for x in (input if isinstance(input, (tuple, list)) else [input])]
    criterion: Any = loss
    if isinstance(loss, str):
        criterion = getattr(functional, loss, None)
        if criterion is None or not loss.endswith(("loss", "cross_entropy", "div", "logits")):
            raise SeeError(f"there is no loss called {loss!r} in minidl.nn.functional; try 'cross_entropy'")
    target = None if target is None else as_tensor(target)
    run = Trace(model=model, keeps_values=keep_values)
    recorder = Recorder(run, keep_values)
    leaves: dict[str, Any] = {}
    for i, x in enumerate(inputs):
        leaf = x.detach()
        leaf._storage.escaped = x._storage.escaped
        inputs[i] = leaf.requires_grad_() if leaf.dtype.kind == "f" and loss is not None else leaf
        leaves["input" if len(inputs) == 1 else f"input:{i}"] = inputs[i]
    module = model if isinstance(model, Module) else None
    if module is not None:
        leaves |= dict(module.named_parameters())
    buffers = {} if module is None else dict(module.named_buffers())
    before = {name: (b._storage.version, b._array.copy()) for name, b in buffers.items()}
    for name, tensor in [*leaves.items(), *buffers.items()]:
        recorder.known[id(tensor._array)] = name
    if target is not None:
        recorder.known[id(target._array)] = "target"
    hooks = [] if module is None else [m.register_forward_hook(recorder.on_module) for m in module.modules()]
    begin = time.perf_counter()
    try:
        with set_grad_enabled(loss is not None), recorder:
            for tensor in [*inputs, *([] if target is None else [target])]:
                recorder.value(tensor)
            recorder.last = time.perf_counter()
            output = model(*inputs)
            run.outputs = tuple(recorder.value(t) for t in tensors_in(output))
            if loss is not None:
                recorder.phase = "loss"
                run.loss_name = getattr(criterion, "__name__", type(criterion).__name__)
                result = criterion(output) if target is None else criterion(output, target)
                if result.numel() != 1:
                    raise SeeError(f"the loss must be one number to have a gradient, but its shape is {result.shape}")
                run.loss = recorder.value(result)
                recorder.phase = "backward"
                wanted = {name: t for name, t in leaves.items() if t.requires_grad}
                found = grad(result, list(wanted.values()), allow_unused=True) if wanted else ()
                run.gradients = {
                    name: recorder.value(g, f"{name}.grad") for name, g in zip(wanted, found) if g is not None
                }
    finally:
        for hook in hooks:
            hook.remove()
        for name, b in buffers.items():
            version, old = before[name]
            if b._storage.version != version:
                b._array[...] = old
                b._storage.version = version  # the same numbers again as when the run read them
    run.seconds = time.perf_counter() - begin
    _finish_names(run)
    return run


def _finish_names(run: Trace) -> None:
    """Names for the records, the results and all gradients, where nothing better is known."""
    for r in run.records:
        for value in r.outputs:
            run.names.setdefault(r.label if len(r.outputs) == 1 else f"{r.label}:{value.output}", value)
    for i, value in enumerate(run.outputs):
        run.names.setdefault("output" if len(run.outputs) == 1 else f"output:{i}", value)
    if run.loss is not None:
        run.names["loss"] = run.loss
        run.loss.name = "loss"
    for r in reversed(run.records):  # an addition hands its cotangent on as it is: the name is that of its result
        for value, g in zip(r.outputs, r.cotangents):
            if g is not None and (
                g.name.startswith("backward/") or (g.record is None and g.name in ("seed", "constant"))
            ):
                g.name = f"{value.name}.grad"
    for name, g in run.gradients.items():
        if g.name.startswith("backward/"):
            g.name = f"{name}.grad"
