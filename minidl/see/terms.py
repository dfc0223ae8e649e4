"""What an explanation is made of: columns of factors, their products and sums, and the proof that they add up.

An output of a large layer has thousands of terms, so terms are kept as columns of arrays; ``terms[7]`` gives one of
them.  Everything here turns into JSON by ``to_dict``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..kernels.spec.error_bounds import gamma
from .names import element
from .shown import Shown

Array = np.ndarray


@dataclass(frozen=True)
class Factor:
    """One factor of one term: an element of a value (or a constant, whose ``index`` is None)."""

    source: str
    index: tuple[int, ...] | None
    value: float

    @property
    def name(self) -> str:
        return self.source if self.index is None else element(self.source, self.index)


@dataclass(frozen=True)
class Term:
    """One product of the sum, and the sum so far."""

    factors: tuple[Factor, ...]
    product: float
    running: float
    padding: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "factors": [{"source": f.source, "index": f.index, "value": f.value} for f in self.factors],
            "product": self.product,
            "running": self.running,
            "padding": self.padding,
        }


@dataclass
class Column:
    """The same factor of all terms: where it stands in ``source`` (n, ndim), and its values (n,)."""

    letter: str
    source: str
    index: Array | None
    values: Array

    def __getitem__(self, i: int) -> Factor:
        index = None if self.index is None else tuple(int(n) for n in self.index[i])
        return Factor(self.source, index, float(self.values[i]))


@dataclass(repr=False)
class Terms(Shown):
    """n terms: products of ``columns``.  ``padding`` marks those that read outside the array."""

    columns: list[Column]
    products: Array
    padding: Array | None = None

    def __len__(self) -> int:
        return len(self.products)

    def __str__(self) -> str:
        from .text import SHOWN, table

        return "\n".join([f"{len(self)} terms, in all {self.total:.9g}", *table(self, SHOWN)])

    @property
    def running(self) -> Array:
        """The sum after each term, in float64."""
        return np.cumsum(self.products)

    @property
    def total(self) -> float:
        """The sum, rounded once."""
        return math.fsum(self.products.tolist())

    @property
    def size(self) -> float:
        """The sum of the absolute values, which error bounds are multiples of."""
        return float(np.abs(self.products).sum())

    def __getitem__(self, i: int) -> Term:
        i = range(len(self))[i]
        running = float(self.products[: i + 1].sum())
        padding = self.padding is not None and bool(self.padding[i])
        return Term(tuple(c[i] for c in self.columns), float(self.products[i]), running, padding)

    def __iter__(self) -> Iterator[Term]:
        return (self[i] for i in range(len(self)))

    def largest(self, count: int) -> list[int]:
        """Numbers of the ``count`` terms of largest absolute value, the largest first."""
        return [int(i) for i in np.argsort(-np.abs(self.products), kind="stable")[:count]]

    def to_dict(self, limit: int | None = None) -> dict[str, Any]:
        """Columns as lists; with ``limit`` only the largest terms, in their order (``numbers`` says which)."""
        numbers = np.arange(len(self)) if limit is None else np.sort(np.array(self.largest(limit), int))
        return {
            "count": len(self),
            "numbers": numbers.tolist(),
            "columns": [
                {
                    "letter": c.letter,
                    "source": c.source,
                    "index": None if c.index is None else c.index[numbers].tolist(),
                    "value": c.values[numbers].tolist(),
                }
                for c in self.columns
            ],
            "product": self.products[numbers].tolist(),
            "running": self.running[numbers].tolist(),
            "padding": None if self.padding is None else self.padding[numbers].tolist(),
        }


@dataclass
class Step:
    """One line of arithmetic: a name, the formula with numbers put in, its value."""

    name: str
    formula: str
    value: float

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "formula": self.formula, "value": self.value}


@dataclass(repr=False)
class Explanation(Shown):
    """Where one number comes from.

    ``value`` is the stored number and ``computed`` the same from ``terms``, ``addends`` (bias) and ``steps`` in
    float64; they must agree within ``bound``, which ``bound_rule`` derives.  ``parts`` explain what went in, ``then``
    says what became of the number, ``notes`` what is special (padding, ties, a unit that is off).
    """

    at: str
    what: str
    op: str
    label: str
    record: int
    shape: tuple[int, ...]
    dtype: str
    formula: str
    value: float
    computed: float
    bound: float
    bound_rule: str
    terms: Terms | None = None
    addends: list[Factor] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    parts: list[Explanation] = field(default_factory=list)
    then: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def difference(self) -> float:
        """Stored less computed."""
        if self.value == self.computed or (math.isnan(self.value) and math.isnan(self.computed)):
            return 0.0
        return self.value - self.computed

    @property
    def ulps(self) -> float:
        """The difference in units of the last place of the stored number."""
        return ulps(self.value, self.computed, self.dtype)

    @property
    def exact(self) -> bool:
        """Whether stored and computed agree as well as rounding allows; NaN agrees with NaN and with nothing else."""
        return self.difference == 0 or abs(self.difference) <= self.bound

    def to_dict(self, limit: int | None = None) -> dict[str, Any]:
        """For JSON; ``limit`` keeps only so many of the largest terms."""
        return {
            "at": self.at,
            "what": self.what,
            "op": self.op,
            "label": self.label,
            "record": self.record,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "formula": self.formula,
            "value": self.value,
            "computed": self.computed,
            "difference": self.difference,
            "ulps": self.ulps,
            "bound": self.bound,
            "bound_rule": self.bound_rule,
            "exact": self.exact,
            "terms": None if self.terms is None else self.terms.to_dict(limit),
            "addends": [{"source": f.source, "index": f.index, "value": f.value} for f in self.addends],
            "steps": [s.to_dict() for s in self.steps],
            "parts": [p.to_dict(limit) for p in self.parts],
            "then": [s.to_dict() for s in self.then],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        from .text import explanation

        return explanation(self)


def ulps(stored: float, computed: float, dtype: str) -> float:
    """``stored - computed`` in units of the last place of ``stored``.

    >>> ulps(1.0, 1.0 + 2.0**-23, "float32")
    1.0
    """
    if stored == computed:
        return 0.0
    if not (math.isfinite(stored) and math.isfinite(computed)):
        return 0.0 if math.isnan(stored) and math.isnan(computed) else math.inf
    if np.dtype(dtype).kind != "f":
        return abs(stored - computed)
    return abs(stored - computed) / float(np.spacing(np.dtype(dtype).type(abs(stored))))


def rounding(dtype: Any, roundings: int, size: float, value: float = 0.0) -> float:
    """``gamma_n * size`` and the last rounding of ``value``; subnormal results may lose one more unit."""
    if np.dtype(dtype).kind not in "fc":
        return 0.0
    info = np.finfo(dtype)
    return (
        gamma(roundings, dtype) * size + float(info.eps) / 2 * abs(value) + float(info.smallest_subnormal) * roundings
    )
