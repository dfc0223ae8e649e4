"""Any primitive without an explainer of its own: its local Jacobian, by its own gradient rule.

The number is computed once more from the stored arguments; a row of the Jacobian is the rule applied to a cotangent
of one 1 and zeros, a column the same rule differentiated by its cotangent.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...autograd.engine import grad
from ...autograd.mode import enable_grad
from ...tensor import Tensor
from ..terms import rounding
from .base import Array, Explainer, Index, Made, Record, Slopes, Step, Terms, Trace, Value, column_of, short
from .shape import as_rows


class Generic(Explainer):
    """Any other operation: computed once more, with slopes found by its own gradient rule."""

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        again = r.primitive.forward(*(a.read() if isinstance(a, Value) else a for a in r.args), **r.attrs)
        y = np.asarray((again if isinstance(again, tuple) else (again,))[output])
        computed = float(y[index])
        step = Step(r.op, f"{r.op} computed once more = {short(computed)}", computed)
        slopes = self.row(trace, r, output, index)
        terms = None
        if slopes:
            s = max(slopes, key=lambda s: len(s.index))
            slope = column_of("", r.args[s.position], s.index)
            slope.letter, terms = r.argument_name(s.position), Terms([slope], s.slope)
        bound = rounding(r.outputs[output].dtype, 4, abs(computed))
        notes = ["no explainer knows this operation: the terms are the slopes dy/dx of this result (not a sum)"]
        return Made(
            f"y = {r.op}(...)", computed, bound, "the same operation run again", terms, steps=[step], notes=notes
        )

    def _run(self, r: Record) -> tuple[list[Any], list[Any]]:
        """The primitive recorded once more on leaves of its own; arguments and results."""
        args = []
        for a in r.args:
            leaf = a
            if isinstance(a, Value):
                leaf = Tensor._wrap(np.array(a.read(), np.float64 if a.dtype.kind == "f" else a.dtype))
                leaf = leaf.requires_grad_() if a.dtype.kind == "f" else leaf
            args.append(leaf)
        result = r.primitive(*args, **r.attrs)
        return args, list(result) if isinstance(result, tuple) else [result]

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        with enable_grad():
            args, results = self._run(r)
            y = results[output]
            leaves = [(i, a) for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
            if not y.requires_grad:
                return []
            unit = np.zeros(y.shape)
            unit[index] = 1.0
            found = grad(y, [a for _, a in leaves], Tensor._wrap(unit), allow_unused=True)
        return [_nonzero(i, g.numpy(), y.numel()) for (i, _), g in zip(leaves, found) if g is not None]

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        found = []
        with enable_grad():
            args, results = self._run(r)
            for output, y in enumerate(results):
                if not y.requires_grad or y.dtype.kind != "f":
                    continue
                dummy = Tensor._wrap(np.zeros(y.shape)).requires_grad_()
                (g,) = grad(y, args[argument], dummy, create_graph=True, allow_unused=True)
                if g is None or not g.requires_grad:
                    continue
                tangent = np.zeros(g.shape)
                tangent[index] = 1.0
                (moved,) = grad(g, dummy, Tensor._wrap(tangent), allow_unused=True)
                if moved is not None:
                    found.append(_nonzero(output, moved.numpy(), math.prod(g.shape)))
        return found


def _nonzero(position: int, slopes: Array, work: int) -> Slopes:
    """The elements with a slope, and a bound on what its rule may round (a guess: as many as the other side has)."""
    flat = np.flatnonzero(slopes.ravel())
    return Slopes(position, as_rows(flat, slopes.shape), slopes.ravel()[flat].astype(np.float64), roundings=work + 64)


GENERIC = Generic()
