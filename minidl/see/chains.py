"""The whole way from the loss to the change of one weight."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import SeeError
from .explain import explain_grad
from .names import element, find, find_element
from .shown import Shown
from .terms import Explanation
from .trace import Trace, Value
from .update import explain_update

_LONGEST = 2000


@dataclass
class Link:
    """One named gradient between the loss and the weight: its norm, and its largest element."""

    name: str
    op: str
    label: str
    shape: tuple[int, ...]
    norm: float
    largest: float

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "shape": list(self.shape)}


@dataclass(repr=False)
class Chain(Shown):
    """``links``: every gradient on the way, loss first.  ``strand``: one element of each, the weight's first, each
    explained; it follows the largest term.  ``update``: what the optimiser makes of it."""

    at: str
    loss: float
    gradient: float
    links: list[Link] = field(default_factory=list)
    strand: list[Explanation] = field(default_factory=list)
    update: Explanation | None = None

    @property
    def exact(self) -> bool:
        """Whether every explanation of it is."""
        return all(e.exact for e in (*self.strand, *([] if self.update is None else [self.update])))

    def to_dict(self, limit: int | None = None) -> dict[str, Any]:
        return {
            "at": self.at,
            "loss": self.loss,
            "gradient": self.gradient,
            "links": [k.to_dict() for k in self.links],
            "strand": [e.to_dict(limit) for e in self.strand],
            "update": None if self.update is None else self.update.to_dict(limit),
        }

    def __str__(self) -> str:
        from .text import chained

        return chained(self)


def chain(run: Trace, at: str, optimizer: Any = None) -> Chain:
    """From the loss through every gradient to one weight, and to its change in the next step of ``optimizer``.

    ``at`` names an element of a parameter (``conv1.weight[0,0,1,1]``).  The strand goes back from the weight to the
    loss: of all terms of a gradient it follows the largest.  Nothing is changed; a step of the optimiser with these
    gradients changes the weight by ``update.value``.  SeeError for anything but a parameter.

    >>> import minidl
    >>> from minidl import see
    >>> net = minidl.nn.Sequential(minidl.nn.Linear(2, 1, bias=False))
    >>> _ = net[0].weight.detach().copy_(minidl.tensor([[1.0, -1.0]]))
    >>> run = see.trace(net, minidl.tensor([[3.0, 2.0]]), loss=lambda y: (y * y).sum())
    >>> c = see.chain(run, "0.weight[0,1]", minidl.optim.SGD(net.parameters(), lr=0.125))
    >>> [e.at for e in c.strand], c.gradient, c.update.value
    (['0.weight.grad[0,1]', '0.grad[0,0]', 'loss/mul.grad[0,0]'], 4.0, -0.5)
    """
    value, index, _ = find_element(run, at)
    parameters = dict(run.model.named_parameters()) if hasattr(run.model, "named_parameters") else {}
    if value.name not in parameters:
        raise SeeError(f"a chain ends at a parameter, and {value.name} is none: name one, as conv1.weight[0,0,1,1]")
    gradient = run.gradient(value)
    assert run.loss is not None
    result = Chain(element(value.name, index), run.loss.item(()), gradient.item(index), _links(run, value))
    result.strand = _strand(run, value, index)
    if optimizer is not None:
        result.update = explain_update(optimizer, parameters[value.name], gradient.read(), index, value.name)
    return result


def _links(run: Trace, start: Value) -> list[Link]:
    """The gradients of all values that lie between ``start`` and the loss, the loss first."""
    reached, values = {start.number}, [start]
    for r in run.records:
        differentiated = [a for a, g in zip(r.args, r.gradients) if isinstance(a, Value) and g is not None]
        if r.phase != "backward" and any(a.number in reached for a in differentiated):
            reached |= {v.number for v in r.outputs}
            values += [v for v, g in zip(r.outputs, r.cotangents) if g is not None]
    links = []
    for v in reversed(values):
        g = run.gradient(v).read().astype(np.float64)
        op, label = (v.record.op, v.record.label) if v.record is not None else ("parameter", "")
        largest = float(g.ravel()[np.abs(g).argmax()]) if g.size else 0.0
        links.append(Link(f"{v.name}.grad", op, label, v.shape, float(np.linalg.norm(g)), largest))
    return links


def _strand(run: Trace, value: Value, index: tuple[int, ...]) -> list[Explanation]:
    strand: list[Explanation] = []
    while value is not run.loss and len(strand) < _LONGEST:
        e = explain_grad(run, element(value.name, index))
        strand.append(e)
        heaviest = max(e.parts, key=lambda p: abs(p.value)) if e.parts else e
        terms = heaviest.terms
        if terms is None or not len(terms) or terms.columns[0].index is None:
            break
        factor = terms.columns[0][terms.largest(1)[0]]
        assert factor.index is not None
        value, index = find(run, factor.source.removesuffix(".grad")).value, factor.index
    return strand
