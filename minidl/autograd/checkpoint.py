"""Gradient checkpointing: values that a region saved are dropped and computed again when the backward pass asks.

Chen et al. 2016, "Training deep nets with sublinear memory cost".  The graph of the region stays (so gradients reach
parameters that the function merely closes over, and ``grad``, hooks and higher derivatives work as without); only
the saved values go.  The first one that is asked for runs the function again and brings back all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .mode import MODE, enable_grad, is_grad_enabled
from .tape import Edge, GraphError, Listener, Node, Primitive, Saved, Spec, Storage

if TYPE_CHECKING:
    from ..tensor import Tensor


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)`` without keeping what its backward pass needs: that is computed again then.

    Memory falls by what the function saved inside, time grows by one more forward pass.  The generators that it draws
    from are put back for the second run (unless ``preserve_rng_state=False``), so dropout drops the same elements.
    It runs under the ``autocast`` of the first run.
    ``use_reentrant`` is taken for PyTorch's sake and changes nothing.  Calls may be nested.

    Raises GraphError in the backward pass when the function does something else the second time, or when an argument
    was written to in place.

    >>> import minidl
    >>> x = minidl.tensor([1.0, 2.0], requires_grad=True)
    >>> minidl.autograd.checkpoint(lambda x: (x.exp() * x).sin().sum(), x).backward()
    >>> y = minidl.tensor([1.0, 2.0], requires_grad=True)
    >>> (y.exp() * y).sin().sum().backward()
    >>> bool((x.grad == y.grad).all())
    True
    """
    if not is_grad_enabled():
        return function(*args, **kwargs)
    region = _Region(function, args, kwargs, preserve_rng_state)
    with _Recorder() as recorder, region.drawn:
        result = function(*args, **kwargs)
    region.forget(recorder.nodes)
    return result


def checkpoint_sequential(
    functions: Sequence[Callable[..., Any]], segments: int, input: Any, preserve_rng_state: bool = True
) -> Any:
    """``functions`` one after another, in ``segments`` checkpointed runs; the last is not checkpointed.

    Memory is least for about as many segments as the square root of the number of functions.

    >>> import minidl
    >>> layers = [minidl.nn.Linear(3, 3) for _ in range(4)]
    >>> x = minidl.ones(2, 3, requires_grad=True)
    >>> minidl.autograd.checkpoint_sequential(layers, 2, x).sum().backward()
    >>> x.grad.shape
    (2, 3)
    """
    chain = list(functions)
    size = max(1, len(chain) // segments)
    starts = list(range(0, size * (segments - 1), size))

    def run(part: list[Callable[..., Any]]) -> Callable[[Any], Any]:
        def through(x: Any) -> Any:
            for f in part:
                x = f(x)
            return x

        return through

    x = input
    for start in starts:
        x = checkpoint(run(chain[start : start + size]), x, preserve_rng_state=preserve_rng_state)
    return run(chain[size * (segments - 1) :])(x)


class _Recorder(Listener):
    """Collects the nodes that come into being, in order."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def on_forward(
        self,
        primitive: Primitive,
        args: Sequence[Any],
        attrs: dict[str, Any],
        outputs: tuple[Tensor, ...],
        node: Node | None,
    ) -> None:
        if node is not None and self.in_its_thread():
            self.nodes.append(node)


class _Region:
    """One checkpointed call: what it takes to run it again, and the values that the second run brought back."""

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], preserve_rng_state: bool
    ) -> None:
        from ..random import Drawn

        self.function = function
        self.args = [_kept(a) for a in args]
        self.kwargs = {k: _kept(v) for k, v in kwargs.items()}
        self.drawn, self.preserve_rng_state = Drawn(), preserve_rng_state
        self.autocast = MODE.autocast
        self.expected: list[tuple[str, Spec]] = []
        self.values: list[Saved] | None = None

    def forget(self, nodes: list[Node]) -> None:
        """Replace the values that ``nodes`` saved by promises to compute them again."""
        inside = {id(n) for n in nodes}
        for node in nodes:
            for slots, i in _slots(node, inside):
                saved: Saved = slots[i]
                saved.storage.readers.discard(saved)
                slots[i] = _Forgotten(saved, self, len(self.expected))
                self.expected.append((node.name, saved.spec))

    def recall(self, position: int) -> Saved:
        if self.values is None:
            self.values = self._run_again()
        return self.values[position]

    def __del__(self) -> None:
        for value in itertools.chain(self.args, self.kwargs.values()):
            if isinstance(value, Saved):
                value.storage.readers.discard(value)

    def _run_again(self) -> list[Saved]:
        args = [_returned(a) for a in self.args]
        kwargs = {k: _returned(v) for k, v in self.kwargs.items()}
        now = {generator: generator.get_state() for generator in self.drawn.before}
        if self.preserve_rng_state:
            self.drawn.rewind()
        outside, MODE.autocast = MODE.autocast, self.autocast
        try:
            with enable_grad(), _Recorder() as recorder:
                result = self.function(*args, **kwargs)
        finally:
            MODE.autocast = outside
            if self.preserve_rng_state:
                for generator, state in now.items():
                    generator.set_state(state)
        inside = {id(n) for n in recorder.nodes}
        found = [(node.name, slots[i]) for node in recorder.nodes for slots, i in _slots(node, inside)]
        del result
        got = [(name, saved.spec) for name, saved in found]
        if got != self.expected:
            raise GraphError(_difference(self.expected, got))
        return [saved for _, saved in found]


class _Forgotten(Saved):
    """In the place of a saved value: remembers where it stood, and gets it from the second run."""

    __slots__ = ("position", "region", "told")

    def __init__(self, saved: Saved, region: _Region, position: int) -> None:
        self.edge = saved.edge
        self.told = saved.spec
        self.region = region
        self.position = position
        self.storage = Storage()

    @property
    def spec(self) -> Spec:
        return self.told

    @property
    def array(self) -> Any:  # type: ignore[override]
        return self.region.recall(self.position).array

    def unchanged(self) -> bool:
        return True  # nobody else has seen the value


def _slots(node: Node, inside: set[int]) -> list[tuple[list[Any], int]]:
    """Where ``node`` keeps values of the region; its inputs and parameters live anyway and stay."""
    kept = [(node.args, i) for i, a in enumerate(node.args) if isinstance(a, Saved) and _is_inner(a.edge, inside)]
    results = node.saved_y or []
    return kept + [(results, i) for i, y in enumerate(results) if isinstance(y, Saved)]


def _is_inner(edge: Edge | None, inside: set[int]) -> bool:
    return edge is None or (edge.leaf is None and id(edge.node) in inside)


def _kept(value: Any) -> Any:
    """A tensor argument as a saved value, so that a write to it is noticed."""
    from ..tensor import Tensor

    if not isinstance(value, Tensor):
        return value
    leaf = value if value.is_leaf else None
    return Saved(value, Edge(value._node, value._index, leaf, Spec(value.shape, value.dtype)))


def _returned(value: Any) -> Any:
    if not isinstance(value, Saved):
        return value
    if not value.unchanged():
        raise GraphError(
            f"checkpoint: an argument of shape {value.spec.shape} was written to in place after the forward pass, so "
            "the function cannot be run again; write into a copy (x.clone())"
        )
    return value.unpack()


def _difference(expected: list[tuple[str, Spec]], got: list[tuple[str, Spec]]) -> str:
    text = "checkpoint: the function did something else when it was run again for the backward pass: "
    for i, (a, b) in enumerate(zip(expected, got)):
        if a != b:
            return text + f"value {i} was saved by '{a[0]}' with shape {a[1].shape}, now by '{b[0]}' with {b[1].shape}"
    return text + f"{len(expected)} values were saved the first time, {len(got)} the second"


__all__ = ["checkpoint", "checkpoint_sequential"]
