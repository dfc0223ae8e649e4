"""Cover parts of an image one after the other, and watch the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import no_grad
from ..errors import SeeError
from ..text import number
from . import picture
from .colours import Colours, shown
from .picture import Picture
from .units import OUTPUT, Unit, answer, as_batch, evaluating, find_unit, score, top_classes

if TYPE_CHECKING:
    from ...nn import Module


@dataclass(repr=False)
class Occlusion(Picture):
    """``scores`` (P, Q) of the unit with the square at each place, its score ``whole`` without one.

    ``rows`` and ``columns`` are where the squares of ``size`` begin; ``map`` (H, W) is what each pixel is worth: the
    mean fall of the score over the squares that covered it.
    """

    unit: Unit
    whole: float
    scores: np.ndarray
    rows: list[int]
    columns: list[int]
    size: int
    map: np.ndarray
    x: np.ndarray
    probability: bool
    colours: Colours | None = None
    names: Sequence[str] | None = None

    @property
    def drops(self) -> np.ndarray:
        """How far the score falls, (P, Q)."""
        return self.whole - self.scores

    def to_dict(self) -> dict[str, Any]:
        p, q = np.unravel_index(int(self.drops.argmax()), self.drops.shape)
        return {
            "unit": str(self.unit), "probability": self.probability, "whole": self.whole, "size": self.size,
            "rows": self.rows, "columns": self.columns, "scores": self.scores.tolist(),
            "most": {"row": self.rows[p], "column": self.columns[q], "score": float(self.scores[p, q])},
        }  # fmt: skip

    def __str__(self) -> str:
        most = self.to_dict()["most"]
        what = "probability" if self.probability else "score"
        squares = f"{self.scores.size} squares of {self.size}x{self.size}"
        return (
            f"{self.unit.called(self.names)}: {what} {number(self.whole).strip()}; of {squares} "
            f"the one at ({most['row']}, {most['column']}) hurts most: {number(most['score']).strip()}"
        )

    def image(self) -> np.ndarray:
        pixels = shown(self.x, self.colours)
        cover = self.map - self.map.min()
        what = "probability" if self.probability else "score"
        return picture.captioned(
            [
                ("image", picture.photo(pixels, 224)),
                (f"{what} of {self.unit.called(self.names)} lost", picture.heat_map(cover, 224)),
                ("over the image", picture.heat_map(cover, 224, pixels)),
            ]
        )


def occlusion(
    model: Module,
    x: Any,
    unit: str | int | Unit | None = None,
    *,
    size: int = 8,
    stride: int = 4,
    value: float | None = None,
    probability: bool = False,
    batch: int = 64,
    colours: Colours | None = None,
    names: Sequence[str] | None = None,
) -> Occlusion:
    """The score of a unit with a square of the first image of ``x`` covered, one place after the other.

    ``unit`` as for :func:`saliency`.  The squares have ``size`` pixels a side and begin every ``stride`` pixels; the
    last one of a row is moved in, so that all pixels are covered.  They have ``value`` in all channels; without one it
    is the middle between black and white with ``colours``, otherwise 0.  ``probability`` takes the softmax of
    the scores, as the paper does.

    Source: Zeiler and Fergus 2014, arXiv:1311.2901, section 4.2.  SeeError for a square that does not fit.

    >>> import minidl
    >>> from minidl import models, see
    >>> found = see.features.occlusion(models.lenet5(), minidl.ones(1, 1, 32, 32), 3, size=10, stride=7)
    >>> found.rows, found.scores.shape
    ([0, 7, 14, 21, 22], (5, 5))
    """
    image = as_batch(model, x)[:1]
    if image.ndim != 4:
        raise SeeError(f"squares cover parts of images (N, C, H, W), not of inputs of shape {image.shape}")
    c, h, w = image.shape[1:]
    if not 1 <= size <= min(h, w) or stride < 1:
        raise SeeError(
            f"a square of size {size} every {stride} pixels on an image of {h}x{w}: size is 1 to {min(h, w)}, stride "
            "at least 1"
        )
    pixels = image.cpu().numpy()
    fill = np.full((c, 1, 1), 0.0 if value is None else value)
    if value is None and colours is not None:
        fill = np.mean(colours.limits(c), axis=0)
    rows, columns = _begins(h, size, stride), _begins(w, size, stride)
    with evaluating(model), no_grad():
        asked = _unit(model, unit, image)
        if probability and (asked.layer != OUTPUT or len(asked.index) != 1):
            raise SeeError(f"probabilities are those of classes, and {asked} is none: leave probability out")

        def scores(inputs: np.ndarray) -> np.ndarray:
            y = answer(model, asked.layer, as_batch(model, inputs))
            return score(y.softmax(1) if probability else y, asked, "strongest")[0].cpu().numpy()

        whole = float(scores(pixels)[0])
        places = [(top, left) for top in rows for left in columns]
        found: list[np.ndarray] = []
        for i in range(0, len(places), batch):
            some = places[i : i + batch]
            covered = pixels.repeat(len(some), 0)
            for one, (top, left) in zip(covered, some):
                one[:, top : top + size, left : left + size] = fill
            found.append(scores(covered))
    grid = np.concatenate(found).reshape(len(rows), len(columns)).astype(np.float64)
    total, count = np.zeros((h, w)), np.zeros((h, w))
    for (top, left), drop in zip(places, (whole - grid).ravel()):
        total[top : top + size, left : left + size] += drop
        count[top : top + size, left : left + size] += 1
    map_ = total / np.maximum(count, 1)
    return Occlusion(asked, whole, grid, rows, columns, size, map_, pixels[0], probability, colours, names)


def _begins(n: int, size: int, stride: int) -> list[int]:
    """Where the squares of one axis begin; the last one ends at the border."""
    begins = list(range(0, n - size + 1, stride))
    return begins if begins[-1] == n - size else [*begins, n - size]


def _unit(model: Module, unit: str | int | Unit | None, image: Any) -> Unit:
    if unit is not None:
        return find_unit(model, unit)
    return Unit(OUTPUT, (int(top_classes(answer(model, OUTPUT, image))[0]),))
