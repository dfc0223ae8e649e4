"""RoI pooling: which value of a box's window won."""

from __future__ import annotations

import numpy as np

from ...kernels.spec.roi import shares
from .base import (
    Array,
    Explainer,
    Index,
    Made,
    Record,
    Slopes,
    Terms,
    Trace,
    column_of,
    constant_column,
    grid,
    register,
)  # fmt: skip


@register
class RoIPool(Explainer):
    """Two results: the largest of each window, and its flat place in the plane; 0 and -1 of an empty one."""

    names = ("roi_pool",)

    def _window(self, r: Record, index: Index) -> Array:
        image, top, left, rows, columns = r.attrs["regions"][index[0]].tolist()
        high, wide = r.attrs["size"]
        shape = r.args[0].shape
        i = shares(top, rows, high, shape[2])[index[2]]
        j = shares(left, columns, wide, shape[3])[index[3]]
        return grid(image, index[1], i, j)

    def _winner(self, r: Record, index: Index) -> Index | None:
        flat = int(r.outputs[1].read()[index])
        if flat < 0:
            return None
        image = int(r.attrs["regions"][index[0], 0])
        return (image, index[1], *(int(i) for i in np.unravel_index(flat, r.args[0].shape[2:])))

    def value(self, trace: Trace, r: Record, output: int, index: Index) -> Made:
        winner = self._winner(r, index)
        if winner is None:
            note = ["nothing of this window lies inside the image"]
            return Made("y = constant", -1.0 if output else 0.0, 0.0, "a constant", notes=note)
        at = self._window(r, index)
        x = column_of("x", r.args[0], at)
        won = (at == np.array(winner)).all(1)
        terms = Terms([x, constant_column("wins", "wins", 1.0, len(at))], np.where(won, x.values, 0.0))
        terms.columns[1].values[~won] = 0.0
        if output == 1:
            place = float(np.ravel_multi_index(winner[2:], r.args[0].shape[2:]))
            return Made("the flat place of the largest", place, 0.0, "no rounding", terms)
        return Made("y = the largest of the window", r.args[0].item(winner), 0.0, "a copy has the same bits", terms,
                    follow=[(r.args[0], winner)])  # fmt: skip

    def row(self, trace: Trace, r: Record, output: int, index: Index) -> list[Slopes]:
        winner = self._winner(r, index)
        return [] if output or winner is None else [Slopes(0, np.array([winner]), np.ones(1))]

    def column(self, trace: Trace, r: Record, argument: int, index: Index) -> list[Slopes]:
        mine = r.attrs["regions"][:, 0] == index[0]
        won = r.outputs[1].read()[:, index[1]] == np.ravel_multi_index(index[2:], r.args[0].shape[2:])  # (K, P, Q)
        at = np.argwhere(won & mine[:, None, None])
        at = np.insert(at, 1, index[1], axis=1)
        return [Slopes(0, at, np.ones(len(at)))]
