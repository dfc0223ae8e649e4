"""The tape: what ran.  It knows nothing of derivatives beyond which rule belongs to which operation.

Every operation on tensors is a :class:`Primitive`: a forward function on arrays and one gradient rule for each
argument.  Calling it computes, tells the listeners (``Tape``, the NaN watcher, ``see``), and, where an
argument requires a gradient, leaves a :class:`Node` behind.  A node keeps just the values that its rules
declare with ``uses``; of everything else it knows shape and dtype only.
"""

from __future__ import annotations

import inspect
import itertools
import sys
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from ..backend import array_module, together
from .mode import MODE

if TYPE_CHECKING:
    from ..tensor import Tensor
else:
    Tensor = None  # put here by minidl.tensor, which needs this module first; an import in each call would cost more


class GraphError(RuntimeError):
    """The graph cannot be differentiated as asked: freed, changed in place, or never recorded.

    >>> import minidl
    >>> x = minidl.tensor(3.0, requires_grad=True)
    >>> y = x * x
    >>> y.backward()
    >>> try:
    ...     y.backward()
    ... except minidl.GraphError:
    ...     print("retain_graph=True keeps the graph for a second time")
    retain_graph=True keeps the graph for a second time
    """


class RuleShapeError(GraphError):
    """A gradient rule returned another shape than its argument has."""

    def __init__(self, name: str, got: tuple[int, ...], expected: tuple[int, ...]) -> None:
        super().__init__(f"the gradient rule of '{name}' returned shape {got} for an argument of shape {expected}")
        self.got, self.expected = got, expected


class Storage:
    """What all views of one piece of memory share: how often it was written, and who may see it.

    ``readers`` are the values that live graphs saved; ``escaped`` says that a writable NumPy view was handed out,
    so that writes can happen behind the version counter's back; ``members`` are the live views.  Views of one lineage
    have a history in common; a detached tensor begins a lineage of its own.
    """

    __slots__ = ("escaped", "members", "readers", "version")

    def __init__(self) -> None:
        self.version = 0
        self.readers: set[Saved] = set()
        self.members: dict[int, Member] = {}
        self.escaped = False

    def escape(self) -> None:
        """Somebody else may write from now on: whatever is saved already is known by its checksum."""
        self.escaped = True
        for saved in self.readers:
            saved.checksum = _checksum(saved.array)

    def join(self, tensor: Tensor, lineage: object) -> None:
        """``tensor`` lies in this memory; its history is that of the others of its ``lineage``."""
        key, members = id(tensor), self.members
        members[key] = Member(weakref.ref(tensor, lambda _: members.pop(key, None)), lineage)

    def lineage(self, tensor: Tensor) -> object:
        """The lineage of ``tensor``, a new one if it was alone on this memory until now."""
        if id(tensor) not in self.members:
            self.join(tensor, object())
        return self.members[id(tensor)].lineage

    def views(self) -> list[Tensor]:
        """The live tensors on this memory, as far as there is more than one."""
        tensors = [member.ref() for member in tuple(self.members.values())]
        return [t for t in tensors if t is not None and t._storage is self]


class Member(NamedTuple):
    """A tensor on a piece of memory."""

    ref: weakref.ref[Tensor]
    lineage: object


class Spec(NamedTuple):
    """All that a rule may know of a value which it did not ask to keep."""

    shape: tuple[int, ...]
    dtype: np.dtype
    by_columns: bool = False
    """Of a matrix: whether it lies in memory as its transpose would."""

    @property
    def ndim(self) -> int:
        return len(self.shape)


def lies_by_columns(array: Any) -> bool:
    """Whether ``array`` is a matrix whose columns, not its rows, lie side by side."""
    return array.ndim == 2 and array.flags.f_contiguous and not array.flags.c_contiguous


class Edge(NamedTuple):
    """Where an argument came from: output number ``output`` of ``node``, or a leaf that collects its gradient."""

    node: Node | None
    output: int
    leaf: Tensor | None
    spec: Spec


class Saved:
    """A value kept for the backward pass, able to tell whether it was written to since."""

    __slots__ = ("array", "checksum", "edge", "storage", "version")

    def __init__(self, tensor: Tensor, edge: Edge | None) -> None:
        self.array = tensor._array
        self.storage = tensor._storage
        self.version = self.storage.version
        self.edge = edge
        self.checksum = _checksum(self.array) if self.storage.escaped else None
        self.storage.readers.add(self)

    @property
    def spec(self) -> Spec:
        return Spec(self.array.shape, self.array.dtype)

    def unchanged(self) -> bool:
        if self.version != self.storage.version:
            return False
        if self.edge is not None and self.edge.leaf is not None and self.edge.leaf._array is not self.array:
            return False  # leaf.data = ... put another array there
        return self.checksum is None or self.checksum == _checksum(self.array)

    def unpack(self, node: Node | None = None, output: int = 0) -> Tensor:
        """The value as a tensor in its old place in the graph, so that rules can be differentiated again."""
        if self.edge is not None:
            if self.edge.leaf is not None:
                return self.edge.leaf
            node, output = self.edge.node, self.edge.output
        return Tensor._wrap(self.array, node, output, storage=self.storage)


def _checksum(array: Any) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data) if array_module(array) is np else 0


class Rule(NamedTuple):
    """Gradient with respect to one argument: ``function(g, y, *args, **attrs)`` and the names whose values it uses."""

    function: Callable[..., Any]
    uses: frozenset[str]


def vjp(function: Callable[..., Any], uses: str = "") -> Rule:
    """A gradient rule.

    ``function(g, y, *arguments, **attributes)`` takes the cotangent ``g`` of the result ``y`` and returns that
    of its argument, all as tensors and by differentiable operations.  ``uses`` names the arguments (and ``y``)
    whose *values* it reads; the others arrive as a :class:`Spec` with ``shape``, ``ndim`` and ``dtype`` only.
    Of several results ``y0``, ``y1``, ... name one each, ``y`` all.

    >>> import minidl
    >>> rule = minidl.autograd.vjp(lambda g, y, x: g * 3 * x * x, uses="x")  # of x ** 3
    >>> rule.function(minidl.tensor(1.0), None, minidl.tensor(2.0)), rule.uses
    (tensor(12.), frozenset({'x'}))
    """
    return Rule(function, frozenset(uses.split()))


class Keeping(NamedTuple):
    """What a call leaves behind: of each argument whether its value is kept and whether it has an edge; and which
    results are kept, "y" for all."""

    values: tuple[bool, ...]
    edges: tuple[bool, ...]
    results: frozenset[str]


class Primitive:
    """One differentiable operation: a forward function on arrays and a rule for each positional argument.

    ``rules`` are in the order of the forward function's positional arguments; ``None`` marks an argument
    without a gradient.  ``joint`` replaces them where one function computes all gradients together:
    ``joint(g, y, *args, needs, **attrs)`` returns one gradient (or None) for each argument.
    ``view`` says that the result may share memory with the first argument.
    ``adds`` is the number of an argument whose gradient can be added to an array where it is computed: its rule (or
    ``joint``) then takes the keyword ``into``, an array that holds the gradient so far, and returns None for it.

    >>> import minidl
    >>> mul = minidl.autograd.Primitive.registry["mul"]
    >>> mul(minidl.tensor([1.0, 2.0]), minidl.tensor([3.0, 4.0]))
    tensor([3., 8.])
    """

    registry: ClassVar[dict[str, Primitive]] = {}

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        *rules: Rule | None,
        joint: Rule | None = None,
        view: bool = False,
        adds: int | None = None,
    ) -> None:
        self._keeping: dict[tuple[bool, ...], Keeping] = {}
        self.name = name
        self.forward = forward
        self.rules = rules
        self.joint = joint
        self.view = view
        self.adds = adds
        self.__doc__ = forward.__doc__
        self.arguments = _argument_names(joint or next((r for r in rules if r is not None), None))
        if name in Primitive.registry:
            raise ValueError(f"two primitives are called {name!r}")
        Primitive.registry[name] = self

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("rules", "joint"):
            self._keeping.clear()  # another rule may use other values
            self.adds = None  # and know nothing of arrays to add to

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __call__(self, *args: Any, **attrs: Any) -> Any:
        if MODE.autocast is not None:
            return MODE.autocast.run(self, args, attrs)
        arrays = [a._array if isinstance(a, Tensor) else a for a in args]
        if "cupy" in sys.modules:
            with together(self.name, self.names(len(args)), [a if isinstance(a, Tensor) else None for a in args]):
                result = self.forward(*arrays, **attrs)
        else:
            result = self.forward(*arrays, **attrs)
        many = isinstance(result, tuple)
        node = None
        if MODE.recording:
            wanted = tuple([isinstance(a, Tensor) and (a._requires_grad or a._node is not None) for a in args])
            if True in wanted and (self.joint is not None or any(w and r for w, r in zip(wanted, self.rules))):
                node = Node(self, args, attrs, result, wanted)
        base = args[0] if self.view and isinstance(args[0], Tensor) else None
        if many or base is not None:
            outputs = self._outputs(result if many else (result,), node, base)
        else:
            outputs = (Tensor._wrap(result, node if result.dtype.kind in "fc" else None),)
        if node is not None and node.saved_y is not None:
            kept = zip(outputs, node.saved_y, node.outputs)
            node.saved_y = [Saved(output, None) if keep else spec for output, keep, spec in kept]
        if LISTENERS:
            for listener in tuple(LISTENERS):  # another thread may leave its context meanwhile
                listener.on_forward(self, args, attrs, outputs, node)
        return outputs if many else outputs[0]

    def _outputs(self, results: tuple[Any, ...], node: Node | None, base: Tensor | None) -> tuple[Tensor, ...]:
        """The results as tensors; a view of ``base`` lies in its storage and belongs to its lineage."""
        outputs = tuple(
            Tensor._wrap(array, node if array.dtype.kind in "fc" else None, index, _shared(array, base))
            for index, array in enumerate(results)
        )
        if base is not None:
            for output in outputs:
                if output._storage is base._storage:
                    base._storage.join(output, base._storage.lineage(base))
        return outputs

    def keeps(self, wanted: tuple[bool, ...]) -> Keeping:
        """What a call must keep of whose arguments those that are ``wanted`` need a gradient."""
        found = self._keeping.get(wanted)
        if found is None:
            found = self._keeping[wanted] = self._what_it_keeps(wanted)
        return found

    def _what_it_keeps(self, wanted: tuple[bool, ...]) -> Keeping:
        if self.joint is not None:
            uses = self.joint.uses
            ruled = (True,) * len(wanted)
        else:
            uses = frozenset().union(*(r.uses for r, w in zip(self.rules, wanted) if w and r is not None))
            ruled = tuple(i < len(self.rules) and self.rules[i] is not None for i in range(len(wanted)))
        names = self.names(len(wanted))
        values = tuple("args" in uses or (i < len(names) and names[i] in uses) for i in range(len(wanted)))
        return Keeping(values, ruled, frozenset(n for n in uses if n == "y" or (n[0] == "y" and n[1:].isdigit())))

    def names(self, count: int) -> Sequence[str]:
        """Names of ``count`` positional arguments; those of a variadic operation are x0, x1, ..."""
        if self.arguments and self.arguments[0] == "*":
            return [f"x{i}" for i in range(count)]
        return self.arguments[:count]


def _shared(array: Any, base: Tensor | None) -> Storage | None:
    """The storage of ``base`` where ``array`` is a view of it."""
    if base is None or not array_module(array).may_share_memory(array, base._array):
        return None
    return base._storage


def _argument_names(rule: Rule | None) -> tuple[str, ...]:
    """Names of the forward arguments as the rules call them: all positional parameters after ``g`` and ``y``."""
    if rule is None:
        return ()
    parameters = list(inspect.signature(rule.function).parameters.values())
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return ("*",)
    return tuple(p.name for p in parameters[2:] if p.kind is p.POSITIONAL_OR_KEYWORD)


class Node:
    """One recorded call of a primitive: its edges to the arguments, and the values its rules will read.

    >>> import minidl
    >>> x = minidl.tensor(2.0, requires_grad=True)
    >>> node = (x * x).grad_fn
    >>> node.name, len(node.edges)
    ('mul', 2)
    """

    __slots__ = (
        "__weakref__", "args", "attrs", "edges", "freed", "hooks", "id", "many", "outputs", "primitive", "retained",
        "saved_y",
    )  # fmt: skip
    _ids: Iterator[int] = itertools.count()

    def __init__(
        self, primitive: Primitive, args: Sequence[Any], attrs: dict[str, Any], result: Any, wanted: tuple[bool, ...]
    ) -> None:
        self.id = next(Node._ids)
        self.primitive = primitive
        self.attrs = attrs
        self.hooks: dict[int, list[Callable[[Tensor], Tensor | None]]] = {}
        self.retained: dict[int, weakref.ref[Tensor]] = {}  # outputs that asked to keep their gradient
        self.freed = False
        self.many = isinstance(result, tuple)
        self.outputs = tuple(Spec(r.shape, r.dtype) for r in (result if self.many else (result,)))

        keeping = primitive.keeps(wanted)
        edges: list[Edge | None] = []
        stored: list[Any] = []
        for arg, want, keep, leads in zip(args, wanted, keeping.values, keeping.edges):
            if not isinstance(arg, Tensor):
                edges.append(None)
                stored.append(arg)
                continue
            spec, edge = Spec(arg._array.shape, arg._array.dtype, lies_by_columns(arg._array)), None
            if want:
                edge = Edge(arg._node, arg._index, arg if arg._node is None else None, spec)
            edges.append(edge if leads else None)
            stored.append(Saved(arg, edge) if keep else spec)
        self.edges = edges
        self.args = stored
        # the results are saved by the caller, once they are tensors; they do not point back here (no cycle)
        self.saved_y: list[Any] | None = None
        if keeping.results:
            keep_y = [not keeping.results.isdisjoint(("y", f"y{i}")) for i in range(len(self.outputs))]
            self.saved_y = keep_y if True in keep_y else None

    @property
    def name(self) -> str:
        return self.primitive.name

    def __repr__(self) -> str:
        return f"<{self.name} #{self.id} -> {', '.join(str(s.shape) for s in self.outputs)}>"

    def pull_back(
        self, cotangents: Sequence[Tensor | None], needs: Sequence[bool], into: Any = None
    ) -> list[Tensor | None]:
        """Cotangents of the arguments (None where not needed) from those of the outputs.

        ``into``: the array that the cotangent of argument ``primitive.adds`` is added to; it is None in what returns.
        """
        if self.freed:
            raise GraphError(
                f"the graph was freed by an earlier backward pass: the values that '{self.name}' had saved are gone. "
                "Call the first backward(..., retain_graph=True), or compute the result again"
            )
        args = [self._load(a, position) for position, a in enumerate(self.args)]
        y: Any = self.outputs
        if self.saved_y is not None:
            y = tuple(self._load(s, -1, i) for i, s in enumerate(self.saved_y))
        g: Any = tuple(cotangents)
        if not self.many:
            y, g = y[0], g[0]
        primitive = self.primitive
        more = {} if into is None else {"into": into}
        if primitive.joint is not None:
            return list(primitive.joint.function(g, y, *args, needs=tuple(needs), **self.attrs, **more))
        return [
            primitive.rules[i].function(  # type: ignore[union-attr]
                g, y, *args, **self.attrs, **(more if i == primitive.adds else {})
            )
            if need
            else None
            for i, need in enumerate(needs)
        ]

    def _load(self, value: Any, position: int, output: int = 0) -> Any:
        if not isinstance(value, Saved):
            return value
        if not value.unchanged():
            what = "its result" if position < 0 else f"its argument {position}"
            names = self.primitive.names(len(self.args))
            if 0 <= position < len(names):
                what += f" ({names[position]!r})"
            raise GraphError(
                f"'{self.name}' needs {what}, shape {value.spec.shape}, for its gradient, but it was written "
                "to in place after the forward pass. Write into a copy (x.clone()), or use the out-of-place operation"
            )
        return value.unpack(self if position < 0 else None, output)

    def free(self) -> None:
        """Let go of the saved values; the edges stay, so the structure can still be drawn.

        A node that saved nothing (a sum, a view) has nothing to lose and can be pulled back again, as in PyTorch.
        """
        self._release()
        self.freed = self.freed or self.saved_y is not None or any(isinstance(a, Saved) for a in self.args)
        self.args = [a.spec if isinstance(a, Saved) else a for a in self.args]
        self.saved_y = None

    def _release(self) -> None:
        for saved in itertools.chain(self.args, self.saved_y or ()):
            if isinstance(saved, Saved):
                saved.storage.readers.discard(saved)

    def __del__(self) -> None:
        if not self.freed and hasattr(self, "saved_y"):
            self._release()


class Listener:
    """Receives every primitive as it runs; the base of tapes, watchers and the inspector.

    >>> import minidl
    >>> class Names(minidl.autograd.Listener):
    ...     def on_forward(self, primitive, args, attrs, outputs, node):
    ...         print(primitive.name)
    >>> with Names():
    ...     y = minidl.tensor([1.0, 2.0]).exp().sum()
    exp
    sum

    ``steps``: whether it wants each step by itself, as steps can be explained.  Where one fast primitive takes several
    of them at once (a linear layer, cross-entropy), the steps then run instead.
    """

    steps = True

    def on_forward(
        self,
        primitive: Primitive,
        args: Sequence[Any],
        attrs: dict[str, Any],
        outputs: tuple[Tensor, ...],
        node: Node | None,
    ) -> None:
        """After a primitive ran."""

    def on_backward(self, node: Node, cotangents: Sequence[Tensor | None], gradients: Sequence[Tensor | None]) -> None:
        """After a node was pulled back."""

    def __enter__(self) -> Any:
        self.thread = threading.get_ident()
        LISTENERS.append(self)
        return self

    def in_its_thread(self) -> bool:
        """Whether the present operation runs in the thread that entered the context; others run at their own pace."""
        return self.thread == threading.get_ident()

    def __exit__(self, *exc: object) -> None:
        LISTENERS.remove(self)


LISTENERS: list[Listener] = []


def step_by_step() -> bool:
    """Whether a listener wants the steps of what a faster primitive takes at once."""
    return bool(LISTENERS) and any(listener.steps for listener in tuple(LISTENERS))


class Call(NamedTuple):
    """One entry of a :class:`Tape`.

    >>> import minidl
    >>> with minidl.autograd.Tape() as tape:
    ...     y = minidl.tensor([1.0, 2.0]).sum()
    >>> call = tape.calls[0]
    >>> call.primitive.name, call.args, call.outputs
    ('sum', (tensor([1., 2.]),), (tensor(3.),))
    """

    primitive: Primitive
    args: tuple[Any, ...]
    attrs: dict[str, Any]
    outputs: tuple[Tensor, ...]
    node: Node | None


class Tape(Listener):
    """Records each operation, with its values, for as long as the context lasts.

    >>> import minidl
    >>> with minidl.autograd.Tape() as tape:
    ...     y = (minidl.tensor([1.0, 2.0]) * 3).sum()
    >>> [call.primitive.name for call in tape.calls]
    ['mul', 'sum']
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.backward_calls: list[tuple[Node, tuple[Tensor | None, ...], tuple[Tensor | None, ...]]] = []

    def on_forward(
        self,
        primitive: Primitive,
        args: Sequence[Any],
        attrs: dict[str, Any],
        outputs: tuple[Tensor, ...],
        node: Node | None,
    ) -> None:
        if self.in_its_thread():
            self.calls.append(Call(primitive, tuple(args), attrs, outputs, node))

    def on_backward(self, node: Node, cotangents: Sequence[Tensor | None], gradients: Sequence[Tensor | None]) -> None:
        if self.in_its_thread():
            self.backward_calls.append((node, tuple(cotangents), tuple(gradients)))
