"""Products of matrices: linear layers, matmul and einsum."""

from __future__ import annotations

import numpy as np

from ..terms import rounding
from .base import (
    Array,
    Column,
    Explainer,
    Factor,
    Index,
    Made,
    Record,
    Slopes,
    Terms,
    Trace,
    Value,
    column_of,
    grid,
    register,
)  # fmt: skip
from .elementwise import Elementwise


def _operand(a: Value, lead: Index, inner: Array) -> Array:
    """Places in an operand (..., rows, columns): batch axes as broadcast, ``inner`` (n, 2) rows and columns."""
    own = a.shape[:-2]
    batch = [0 if n == 1 else i for n, i in zip(own, lead[len(lead) - len(own) :])]
    return np.column_stack([np.tile(np.array(batch, np.int64), (len(inner), 1)), inner])


@register
class MatMul(Explainer):
    """y[.., i, j] = sum over k of a[.., i, k] b[.., k, j]."""

    names = ("matmul",)
    uniform = True

    def _columns(self, r: Record, index: Index) -> tuple[Column, Column]:
        a, b = r.args
        *lead, i, j = index
        k = np.arange(a.shape[-1])
        full = np.full(len(k), i), np.full(len(k), j)
        left = column_of("a", a, _operand(a, tuple(lead), np.column_stack([full[0], k])))
        right = column_of("b", b, _operand(b, tuple(lead), np.column_stack([k, full[1]])))
        return left, right

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        left, right = self._columns(r, index)
        terms = Terms([left, right], left.values * right.values)
        n = max(len(terms), 1)
        bound = rounding(r.outputs[0].dtype, n, terms.size, terms.total)
        rule = f"gamma_{n} sum |terms|, any order of summation"
        return Made("y[i,j] = sum over k of a[i,k] b[k,j]", terms.total, bound, rule, terms)

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        left, right = self._columns(r, index)
        assert left.index is not None and right.index is not None
        return [Slopes(0, left.index, right.values, right), Slopes(1, right.index, left.values, left)]

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        a, b = r.args
        out = r.outputs[0].shape
        own = r.args[argument].shape[:-2]
        lead = len(out) - 2 - len(own)
        batch = [range(n) if x < lead or own[x - lead] == 1 else index[x - lead] for x, n in enumerate(out[:-2])]
        row, column = index[-2:]
        at = grid(*batch, row, range(out[-1])) if argument == 0 else grid(*batch, range(out[-2]), column)
        other = b if argument == 0 else a
        batch_of_other = np.where(np.array(other.shape[:-2]) == 1, 0, at[:, len(out) - len(other.shape) : -2])
        inner = [np.full(len(at), column), at[:, -1]] if argument == 0 else [at[:, -2], np.full(len(at), row)]
        why = column_of("b" if argument == 0 else "a", other, np.column_stack([batch_of_other, *inner]))
        return [Slopes(0, at, why.values, why)]


@register
class Einsum(Explainer):
    """A sum of products over the letters that the result lacks."""

    names = ("einsum",)
    uniform = True

    def _enumerate(self, r: Record, known: dict[str, int]) -> tuple[list[Array], Array]:
        """Places in all operands and in the result for every choice of the letters that are not known."""
        inputs, output = r.attrs["inputs"], r.attrs["output"]
        sizes = {c: n for letters, a in zip(inputs, r.args) for c, n in zip(letters, a.shape)}
        letters = list(sizes)
        table = grid(*(known[c] if c in known else range(sizes[c]) for c in letters))
        places = [table[:, [letters.index(c) for c in part]] for part in (*inputs, output)]
        return places[:-1], places[-1]

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        places, _ = self._enumerate(r, dict(zip(r.attrs["output"], index)))
        columns = [column_of(f"x{i}", a, p) for i, (a, p) in enumerate(zip(r.args, places))]
        terms = Terms(columns, np.prod([c.values for c in columns], axis=0))
        n = max(len(terms), 1) + len(columns)
        size = rounding(r.outputs[0].dtype, n, terms.size, terms.total)
        formula = f"{','.join(r.attrs['inputs'])} -> {r.attrs['output']}"
        return Made(f"sum of products: {formula}", terms.total, size, f"gamma_{n} sum |terms|", terms)

    def _others(self, r: Record, argument: int, places: list[Array]) -> Array:
        others = [a.at(p).astype(np.float64) for i, (a, p) in enumerate(zip(r.args, places)) if i != argument]
        return np.prod(others, axis=0) if others else np.ones(len(places[0]))

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        places, _ = self._enumerate(r, dict(zip(r.attrs["output"], index)))
        n = len(r.args) + 1
        return [Slopes(i, p, self._others(r, i, places), roundings=n) for i, p in enumerate(places)]

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        places, out = self._enumerate(r, dict(zip(r.attrs["inputs"][argument], index)))
        return [Slopes(0, out, self._others(r, argument, places), roundings=len(r.args) + 1)]


@register
class Sum2(Elementwise):
    """Addition: of a product and a bias (a linear layer) the product's terms are shown, and the bias beside them."""

    names = ("add",)

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        made = super().value(trace, r, output, index)
        product = r.args[0]
        if not isinstance(product, Value) or product.record is None or product.record.op != "matmul":
            return made
        (_, at), (bias, place) = made.follow
        if product.record.path != r.path or bias.record is not None:
            return made
        inner = MatMul().value(trace, product.record, 0, at)
        computed = inner.computed + bias.item(place)
        n = len(inner.terms or ()) + 1
        size = (inner.terms.size if inner.terms else 0.0) + abs(bias.item(place))
        bound = rounding(r.outputs[0].dtype, n, size, computed)
        terms = _named_from_weight(trace, inner.terms)
        formula = "y[n,k] = b[k] + sum over c of x[n,c] w[k,c]"
        rule = f"gamma_{n} sum |terms|, any order of summation"
        return Made(formula, computed, bound, rule, terms, [Factor(bias.name, place, bias.item(place))])


def _named_from_weight(trace: Trace, terms: Terms | None) -> Terms | None:
    """Columns that read a transposed parameter, named as the parameter has them."""
    if terms is None:
        return None
    renamed = []
    for letter, c in zip("xw", terms.columns):
        value = trace.names.get(c.source)
        made = value.record if value is not None else None
        if made is not None and made.op == "permute" and c.index is not None and made.args[0].record is None:
            at = np.empty_like(c.index)
            at[:, list(made.attrs["dims"])] = c.index
            renamed.append(Column(letter, made.args[0].name, at, c.values))
        else:
            renamed.append(Column(letter, c.source, c.index, c.values))
    return Terms(renamed, terms.products, terms.padding)
