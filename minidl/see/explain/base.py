"""What every family of primitives tells about its elements.

An :class:`Explainer` answers three questions about one call (a :class:`~minidl.see.trace.Record`):

- ``value``: of what was this element of the result made?
- ``row``: which elements of the arguments does it depend on, with which slopes dy/dx?  A row of the local Jacobian:
  multiplied by the cotangent of the element it is what the element sends back (the scatter view).
- ``column``: which elements of the results depend on this element of an argument?  A column of the Jacobian:
  multiplied by their cotangents and summed it is the gradient (the gather view).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..terms import Array, Column, Explanation, Factor, Step, Terms
from ..trace import Record, Trace, Value

Index = tuple[int, ...]


@dataclass
class Made:
    """What ``value`` finds; the rest of an Explanation is the same for all."""

    formula: str
    computed: float
    bound: float
    bound_rule: str
    terms: Terms | None = None
    addends: list[Factor] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    follow: list[tuple[Value, Index]] = field(default_factory=list)


@dataclass
class Slopes:
    """Elements ``index`` (n, ndim) of one argument (in a row) or result (in a column), and dy/dx of each (n,).

    ``why`` is the factor that the slope consists of, where it is an element of another argument.  ``products`` may
    hold slope times cotangent as the gradient rule computes it; ``roundings`` is how many it meets in each.
    """

    position: int
    index: Array
    slope: Array
    why: Column | None = None
    roundings: int = 2
    scale: Array | None = None
    """What the errors of each slope are relative to, where that is not the slope itself."""


class Explainer:
    """One family; ``names`` are those of its primitives.

    ``uniform`` says that every element of an argument goes into equally many results.
    """

    names: ClassVar[tuple[str, ...]] = ()
    uniform: ClassVar[bool] = False

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        raise NotImplementedError

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        """For each argument that has a gradient, the elements that this element of result ``output`` depends on."""
        raise NotImplementedError

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        """For each result, the elements that depend on this element of ``argument``."""
        raise NotImplementedError


REGISTRY: dict[str, Explainer] = {}


def register(explainer: type[Explainer]) -> type[Explainer]:
    """Let an explainer, as a decorator of its class, explain the operations that it names."""
    for name in explainer.names:
        REGISTRY[name] = explainer()
    return explainer


def numbers(a: Value | float | int, shape: tuple[int, ...] = ()) -> Array:
    """An argument as a float64 array; integers of any size stay exact up to 2^53."""
    return np.asarray(a.read() if isinstance(a, Value) else a, np.float64)


def column_of(letter: str, value: Value, index: Array) -> Column:
    """The elements of ``value`` at ``index`` as a column."""
    return Column(letter, value.name, index, value.at(index).astype(np.float64))


def constant_column(letter: str, source: str, value: float, n: int) -> Column:
    """A column of n times one value."""
    return Column(letter, source, None, np.full(n, value))


def every(shape: tuple[int, ...]) -> Array:
    """The indices of all elements (n, ndim), in C order."""
    return np.indices(shape).reshape(len(shape), -1).T


def grid(*axes: Any) -> Array:
    """Indices (n, ndim) of all combinations, the last axis fastest; an axis is a sequence or one number."""
    lists = [np.atleast_1d(np.asarray(a, np.int64)) for a in axes]
    return np.stack([m.ravel() for m in np.meshgrid(*lists, indexing="ij")], axis=1)


def short(x: float) -> str:
    """A number for formulas: seven digits.

    >>> short(1 / 3), short(-2.0)
    ('0.3333333', '-2')
    """
    return f"{x:.7g}"


def replayed(dtype: Any) -> str:
    """How far an element may lie from what it is compared with, where it is computed once more."""
    return f"the same operation on this element alone, in {np.dtype(dtype)}: at most 4 ulp"


__all__ = [
    "REGISTRY", "Array", "Column", "Explainer", "Explanation", "Factor", "Index", "Made", "Record", "Slopes", "Step",
    "Terms", "Trace", "Value", "column_of", "constant_column", "every", "grid", "numbers", "register", "replayed",
    "short",
]  # fmt: skip
