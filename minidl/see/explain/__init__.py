"""Where a number comes from: :func:`explain`, :func:`explain_grad` and :func:`scatter`.

A family of primitives has a file here, with an explainer that lists the terms of one result and the slopes of its
results by its arguments; from these come the explanation of values and gradients alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import SeeError
from ..names import element, find_element
from ..shown import Shown
from ..terms import Column, Explanation, Step, Terms, rounding
from ..trace import Record, Trace, Value, trace
from . import conv, elementwise, linear, loss, norm, pooling, reduction, resize, roi, shape, softmax
from .base import REGISTRY, Array, Explainer, Index, Made, Slopes
from .generic import GENERIC

_DEPTH = 8  # of operations inside one module that are followed down


def explainer_of(r: Record) -> Explainer:
    """The explainer of a record's primitive; the generic one where no family knows it."""
    return REGISTRY.get(r.op, GENERIC)


def explain_registry() -> dict[str, Explainer]:
    """The explainer of every primitive that has one, by the primitive's name."""
    return dict(REGISTRY)


def explain(model_or_trace: Any, at: str, input: Any = None, **options: Any) -> Explanation:
    """Every term of the number that ``at`` names, and the proof that they make the stored value.

    ``model_or_trace`` is a :class:`Trace`, or a model that is traced on ``input`` first (``options`` go to
    :func:`trace`).  ``at`` is the path of a module (``conv2[0,3,5,5]``; its second call is ``conv2#2``), a record's
    label or number (``bn1/mul[0,0]``, ``#17[0]``), ``input``, a parameter, ``output`` or ``loss``; with ``.grad`` its
    gradient (see :func:`explain_grad`).  SeeError where nothing is called so, or the index does not fit.

    >>> import minidl
    >>> from minidl import see
    >>> layer = minidl.nn.Conv2d(1, 1, 2, bias=False)
    >>> _ = layer.weight.detach().copy_(minidl.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    >>> run = see.trace(minidl.nn.Sequential(layer), minidl.arange(9.0).reshape(1, 1, 3, 3))
    >>> e = see.explain(run, "0[0,0,0,1]")
    >>> [term.product for term in e.terms], e.value, e.exact
    ([1.0, 4.0, 12.0, 20.0], 37.0, True)
    """
    run = _run(model_or_trace, input, options)
    value, index, grad = find_element(run, at)
    if grad:
        return _gradient(run, value, index)
    if value.record is None:
        return _given(value, index)
    return _value(run, value, index, 0)


def explain_grad(model_or_trace: Any, at: str, input: Any = None, **options: Any) -> Explanation:
    """The gradient of the loss with respect to one number, gathered: which results sent how much, and their sum.

    ``at`` as in :func:`explain`, with or without ``.grad``: ``conv1.weight.grad[0,0,1,1]``, ``input.grad[0,0,3,3]``.
    A number that several operations use has a part for each.
    """
    run = _run(model_or_trace, input, options)
    value, index, _ = find_element(run, at)
    return _gradient(run, value, index)


def _run(model_or_trace: Any, input: Any, options: dict[str, Any]) -> Trace:
    if isinstance(model_or_trace, Trace):
        return model_or_trace
    if input is None:
        raise SeeError("explain needs a run: give a trace, or a model and its input=")
    return trace(model_or_trace, input, **options)


# ---- values ------------------------------------------------------------------------------------------------------


def _given(value: Value, index: Index) -> Explanation:
    stored = value.item(index)
    return Explanation(
        element(value.name, index), "value", "given", "", -1, value.shape, str(value.dtype), f"{value.name} is given",
        stored, stored, 0.0, "not computed in this run",
    )  # fmt: skip


def _value(run: Trace, value: Value, index: Index, depth: int) -> Explanation:
    r = value.record
    assert r is not None
    made: Made | None = loss.described(run) if value is run.loss and depth == 0 else None
    if made is None:
        made = explainer_of(r).value(run, r, value.output, index)
    e = Explanation(
        element(value.name, index), "value", r.op, r.label, r.number, value.shape, str(value.dtype), made.formula,
        value.item(index), made.computed, made.bound, made.bound_rule, made.terms, made.addends, made.steps,
        notes=made.notes,
    )  # fmt: skip
    if depth < _DEPTH:
        for v, i in made.follow:
            if v.record is not None and r.phase == v.record.phase != "backward" and r.path == v.record.path and r.path:
                e.parts.append(_value(run, v, i, depth + 1))
    if depth == 0 and r.phase == "forward":
        e.then = _afterwards(run, value, index)
    return e


def _afterwards(run: Trace, value: Value, index: Index, most: int = 4) -> list[Step]:
    """What the next operations made of this number, as long as they go element by element."""
    steps: list[Step] = []
    while len(steps) < most:
        users = [r for r, _ in run.consumers(value) if r.phase == "forward"]
        if len(users) != 1 or not elementwise.is_elementwise(users[0].primitive):
            break
        made = (
            explainer_of(users[0]).value(run, users[0], 0, index) if users[0].outputs[0].shape == value.shape else None
        )
        if made is None or not made.steps:
            break
        value = users[0].outputs[0]
        steps.append(Step(element(value.name, index), made.steps[-1].formula, value.item(index)))
    return steps


# ---- gradients: the gather view -----------------------------------------------------------------------------------


def _gradient(run: Trace, value: Value, index: Index, depth: int = 0) -> Explanation:
    total = run.gradient(value)
    stored = total.item(index)
    name = element(f"{value.name}.grad", index)
    if value is run.loss:
        return Explanation(
            name, "gradient", "seed", "", -1, value.shape, str(value.dtype), "the loss has slope 1 by itself", stored,
            1.0, 0.0, "the seed of the backward pass",
        )  # fmt: skip
    users = [
        (r, position)
        for r, position in run.consumers(value)
        if position < len(r.gradients) and r.gradients[position] is not None
    ]
    if len(users) == 1 and (moved := _moved(run, *users[0], index)) is not None and depth < _DEPTH:
        goal, place = moved
        inner = _gradient(run, goal, place, depth + 1)
        inner.notes = [f"{element(value.name, index)} moves on as {element(goal.name, place)}", *inner.notes]
        inner.at, inner.value, inner.shape = name, stored, value.shape
        return inner
    parts = [_share(run, value, r, position, index) for r, position in users]
    if len(parts) == 1:
        parts[0].at, parts[0].value = name, stored
        return parts[0]
    sent = np.array([p.value for p in parts])
    terms = Terms([Column("share", ", ".join(p.label for p in parts), None, sent)], sent)
    bound = rounding(value.dtype, len(parts), terms.size, terms.total)
    return Explanation(
        name, "gradient", "sum", "", -1, value.shape, str(value.dtype),
        f"the sum of what {len(parts)} operations send back", stored, terms.total, bound,
        f"gamma_{len(parts)} sum |shares|", terms, parts=parts,
    )  # fmt: skip


def _moved(run: Trace, r: Record, position: int, index: Index) -> tuple[Value, Index] | None:
    """Where a number goes that is only moved: its gradient is that of the one place where it stands next."""
    explainer = explainer_of(r)
    if not isinstance(explainer, shape.Move):
        return None
    found = [(s, i) for s in explainer.column(run, r, position, index) for i in range(len(s.index))]
    if len(found) != 1:
        return None
    slopes, _ = found[0]
    if slopes.position >= len(r.cotangents) or r.cotangents[slopes.position] is None:
        return None
    return r.outputs[slopes.position], tuple(int(i) for i in slopes.index[0])


def _share(run: Trace, value: Value, r: Record, position: int, index: Index) -> Explanation:
    """What one operation sends back to one element of its argument."""
    gradient = r.gradients[position]
    assert gradient is not None
    stored = gradient.item(index)
    g_columns, slopes_of, products, whys = [], [], [], []
    size, roundings, outputs = 0.0, 0, []
    for s in explainer_of(r).column(run, r, position, index):
        g = r.cotangents[s.position] if s.position < len(r.cotangents) else None
        if g is None:
            continue
        values = g.at(s.index).astype(np.float64)
        g_columns.append((g.name, s.index, values))
        slopes_of.append(s.slope)
        products.append(values * s.slope)
        whys.append(s.why)
        outputs.append(r.outputs[s.position])
        size += float((np.abs(values) * np.maximum(np.abs(s.slope), s.scale if s.scale is not None else 0.0)).sum())
        roundings = max(roundings, s.roundings)
    terms = _gathered(g_columns, slopes_of, products, whys)
    n = len(terms) + roundings
    bound, rule = rounding(value.dtype, n, size, terms.total), f"gamma_{n} sum |g| |dy/dx|"
    if gradient.record is not None and gradient.record.op in conv.SIDES:
        made = explainer_of(gradient.record).value(run, gradient.record, 0, index)
        bound, rule = made.bound, made.bound_rule
    result = outputs[0].name if outputs else r.label
    formula = f"d loss / d {value.name}{list(index)} = sum over {result} of g * dy/dx"
    return Explanation(
        element(value.name, index), "gradient", r.op, r.label, r.number, value.shape, str(value.dtype), formula, stored,
        terms.total, bound, rule, terms, notes=[] if len(terms) else ["no result depends on this element"],
    )  # fmt: skip


def _gathered(g: list[tuple[str, Array, Array]], slopes: list[Array], products: list[Array], whys: list[Any]) -> Terms:
    """Cotangents and slopes of all results as two columns; of several results the places stand in the first alone."""
    if not g:
        return Terms([], np.zeros(0))
    if len(g) == 1:
        name, index, values = g[0]
        slope = whys[0] if whys[0] is not None else Column("dy/dx", "slope", None, slopes[0])
        return Terms([Column("g", name, index, values), slope], products[0])
    values = np.concatenate([v for _, _, v in g])
    names = " and ".join(name for name, _, _ in g)
    return Terms(
        [Column("g", names, None, values), Column("dy/dx", "slope", None, np.concatenate(slopes))],
        np.concatenate(products),
    )


# ---- gradients: the scatter view ----------------------------------------------------------------------------------


@dataclass
class Sent:
    """What one result sends back to one argument: places (n, ndim), slopes, products, the sums that it meets there.

    ``total`` is the whole gradient at each place, ``senders`` how many results share in it (None: not counted).
    """

    argument: str
    source: str
    index: Array
    slope: Array
    sent: Array
    total: Array
    senders: Array | None

    def to_dict(self, limit: int | None = None) -> dict[str, Any]:
        n = len(self.sent) if limit is None else min(limit, len(self.sent))
        chosen = np.sort(np.argsort(-np.abs(self.sent), kind="stable")[:n])
        return {
            "argument": self.argument,
            "source": self.source,
            "count": len(self.sent),
            "index": self.index[chosen].tolist(),
            "slope": self.slope[chosen].tolist(),
            "sent": self.sent[chosen].tolist(),
            "total": self.total[chosen].tolist(),
            "senders": None if self.senders is None else self.senders[chosen].tolist(),
        }


@dataclass(repr=False)
class Scattered(Shown):
    """Where the gradient of one number goes; ``goals`` has an entry for each argument of the operation that made it."""

    at: str
    op: str
    label: str
    gradient: float
    goals: list[Sent] = field(default_factory=list)

    def to_dict(self, limit: int | None = None) -> dict[str, Any]:
        goals = [s.to_dict(limit) for s in self.goals]
        return {"at": self.at, "op": self.op, "label": self.label, "gradient": self.gradient, "goals": goals}

    def __str__(self) -> str:
        from ..text import scattered

        return scattered(self)


def scatter(run: Trace, at: str) -> Scattered:
    """Where the gradient of the number ``at`` goes: to which elements of which arguments, how much, on top of what.

    The other view of :func:`explain_grad`: there the receiver is asked, here the sender.  Where windows overlap, an
    element has several senders and ``total`` is their sum; a rule that assigned instead of adding would lose all but
    one.

    >>> import minidl
    >>> from minidl import see
    >>> pool = minidl.nn.AvgPool1d(2, 1)
    >>> run = see.trace(lambda x: pool(x), minidl.ones(1, 1, 4), loss=lambda y: y.sum())
    >>> goal = see.scatter(run, "output[0,0,1]").goals[0]
    >>> goal.index.tolist(), goal.sent.tolist(), goal.total.tolist(), goal.senders.tolist()
    ([[0, 0, 1], [0, 0, 2]], [0.5, 0.5], [1.0, 1.0], [2, 2])
    """
    value, index, _ = find_element(run, at)
    r = value.record
    if r is None:
        raise SeeError(
            f"{value.name} is given, not computed: its gradient goes nowhere further; ask explain_grad for it"
        )
    g = run.gradient(value).item(index)
    goals = []
    explainer = explainer_of(r)
    for s in explainer.row(run, r, value.output, index):
        gradient = r.gradients[s.position] if s.position < len(r.gradients) else None
        if gradient is None:
            continue
        s = _merged(s)
        total = gradient.at(s.index).astype(np.float64)
        source = r.args[s.position]
        senders = _senders(explainer, run, r, s)
        goals.append(Sent(r.argument_name(s.position), source.name, s.index, s.slope, g * s.slope, total, senders))
    return Scattered(element(value.name, index), r.op, r.label, g, goals)


def _merged(s: Slopes) -> Slopes:
    """A place that a result depends on in several products (einsum) is one place, with the sum of their slopes."""
    places, where = np.unique(s.index, axis=0, return_inverse=True)
    if len(places) == len(s.index):
        return s
    return Slopes(s.position, places, np.bincount(where.ravel(), s.slope, len(places)), roundings=s.roundings)


def _senders(explainer: Explainer, run: Trace, r: Record, s: Slopes, most: int = 5000) -> Array | None:
    if isinstance(explainer, conv.Convolution):
        return conv.senders(r, s)
    if explainer.uniform and len(s.index):
        first = explainer.column(run, r, s.position, tuple(s.index[0].tolist()))
        return np.full(len(s.index), sum(len(np.unique(c.index, axis=0)) for c in first), np.int64)
    if len(s.index) > most:
        return None
    columns = (explainer.column(run, r, s.position, tuple(i)) for i in s.index.tolist())
    counts = [sum(len(np.unique(c.index, axis=0)) for c in found) for found in columns]
    return np.array(counts, np.int64)


__all__ = [
    "Explainer",
    "Explanation",
    "Scattered",
    "Sent",
    "explain",
    "explain_grad",
    "explain_registry",
    "explainer_of",
    "scatter",
]
