"""Two runs side by side: the first place where they part, and how the difference grows from there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .names import element
from .shown import Shown
from .terms import ulps
from .trace import Trace, Value


@dataclass
class Parting:
    """One value that differs: where first (in C order), both numbers there, the largest difference, how many differ."""

    name: str
    label: str
    record: int
    phase: str
    index: tuple[int, ...]
    a: float
    b: float
    ulps: float
    largest: float
    relative: float
    differing: int
    elements: int

    @property
    def at(self) -> str:
        return element(self.name, self.index)

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "index": list(self.index), "at": self.at}


@dataclass(repr=False)
class Difference(Shown):
    """What :func:`diff` found.  ``given`` are inputs, parameters and constants that differ before anything runs;
    ``first`` is the first result that does, and ``after`` all that do, in order; ``structure`` says in words where the
    two programs part, if they do."""

    same: bool
    given: list[Parting] = field(default_factory=list)
    first: Parting | None = None
    after: list[Parting] = field(default_factory=list)
    compared: int = 0
    structure: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "same": self.same,
            "given": [p.to_dict() for p in self.given],
            "first": None if self.first is None else self.first.to_dict(),
            "after": [p.to_dict() for p in self.after],
            "compared": self.compared,
            "structure": self.structure,
        }

    def __str__(self) -> str:
        from .text import differing

        return differing(self)


def diff(a: Trace, b: Trace, *, rtol: float = 0.0) -> Difference:
    """Where two runs part: of the same model with other inputs, weights, algorithms or dtypes, or after an edit.

    Values are compared record by record, bit for bit (NaN equals NaN); ``rtol`` lets pass what differs by less than
    that part of the value's largest element.  Where the runs are not the same operations, ``structure`` says so and
    the comparison ends there.

    >>> import minidl
    >>> from minidl import see
    >>> f = lambda x: (x * 2).exp()
    >>> d = see.diff(see.trace(f, minidl.tensor([1.0, 2.0])), see.trace(f, minidl.tensor([1.0, 2.5])))
    >>> d.given[0].at, d.first.at, d.first.a, d.first.b
    ('input[1]', 'mul[1]', 4.0, 5.0)
    """
    result = Difference(True)
    seen: set[int] = set()
    for ra, rb in zip(a.records, b.records):
        shapes = [[v.shape for v in r.outputs] for r in (ra, rb)]
        if ra.op != rb.op or ra.label != rb.label or shapes[0] != shapes[1]:
            one, other = (f"{r.label} -> {shape}" for r, shape in zip((ra, rb), shapes))
            result.structure = f"operation {ra.number} is {one} in one run and {other} in the other"
            break
        for va, vb in zip(ra.args, rb.args):
            if isinstance(va, Value) and isinstance(vb, Value) and va.record is None and va.number not in seen:
                seen.add(va.number)
                if (p := _compare(va, vb, rtol)) is not None:
                    result.given.append(p)
        for va, vb in zip(ra.outputs, rb.outputs):
            result.compared += 1
            if (p := _compare(va, vb, rtol)) is not None:
                result.after.append(p)
    else:
        if len(a.records) != len(b.records):
            longer = a if len(a.records) > len(b.records) else b
            extra = longer.records[min(len(a.records), len(b.records))]
            result.structure = f"one run goes on with {extra.label} where the other ends"
    result.first = result.after[0] if result.after else None
    result.same = not (result.given or result.after or result.structure)
    return result


def _compare(va: Value, vb: Value, rtol: float) -> Parting | None:
    a, b = va.read(), vb.read()
    record = va.record
    where = (va.name, record.label, record.number, record.phase) if record else (va.name, "", -1, "given")
    if a.shape != b.shape:
        return Parting(*where, (), np.nan, np.nan, np.inf, np.inf, np.inf, a.size, a.size)
    if a is b or np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
        return None
    wide_a, wide_b = (x.astype(np.float64) for x in (a, b))
    with np.errstate(invalid="ignore"):
        distance = np.asarray(np.abs(wide_a - wide_b))
    distance[np.isnan(wide_a) & np.isnan(wide_b)] = 0.0
    distance[np.isnan(distance)] = np.inf
    largest = float(np.nanmax(np.abs(wide_a), initial=0.0))
    over = distance > rtol * largest
    if not over.any():
        return None
    index = tuple(int(i) for i in np.argwhere(over)[0])
    top = float(distance.max())
    first, other = float(a[index]), float(b[index])
    apart = ulps(first, other, str(a.dtype))
    relative = top / largest if largest else float("inf")
    return Parting(*where, index, first, other, apart, top, relative, int(over.sum()), a.size)
