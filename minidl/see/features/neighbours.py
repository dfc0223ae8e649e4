"""The images most like an image: pixel by pixel, and by what a layer makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...transfer import head_layers
from ..errors import SeeError
from . import picture
from .colours import Colours, shown
from .picture import Picture
from .units import answers, as_batch, find_path

if TYPE_CHECKING:
    from ...nn import Module

Metric = Literal["l2", "cosine"]


@dataclass
class Near:
    """In one space: ``index`` (Q, k) of the nearest images of each query, nearest first, and their ``distance``."""

    index: np.ndarray
    distance: np.ndarray

    def agreement(self, labels: Sequence[int], query_labels: Sequence[int]) -> float:
        """Share of the neighbours that have the label of their query."""
        return float((np.asarray(labels)[self.index] == np.asarray(query_labels)[:, None]).mean())


@dataclass(repr=False)
class Neighbours(Picture):
    """The nearest images by ``pixels`` and by the ``features`` of ``layer``; ``labels`` where they are known."""

    layer: str
    pixels: Near
    features: Near
    labels: list[int] | None
    query_labels: list[int] | None
    queries: np.ndarray
    images: np.ndarray
    colours: Colours | None = None
    names: Sequence[str] | None = None

    def agreement(self) -> tuple[float, float] | None:
        """Share of the neighbours with the label of their query, by pixels and by features."""
        if self.labels is None or self.query_labels is None:
            return None
        return tuple(near.agreement(self.labels, self.query_labels) for near in (self.pixels, self.features))  # type: ignore[return-value]

    def to_dict(self) -> dict[str, Any]:
        spaces = {"pixels": self.pixels, "features": self.features}
        near = {name: {"index": s.index.tolist(), "distance": s.distance.tolist()} for name, s in spaces.items()}
        agreement = self.agreement()
        return {"layer": self.layer, **near, "agreement": None if agreement is None else list(agreement)}

    def __str__(self) -> str:
        lines = []
        for q in range(min(len(self.queries), 10)):
            of = "" if self.query_labels is None else f" ({self._name(self.query_labels[q])})"
            for space, near in (("pixels", self.pixels), (self.layer, self.features)):
                found = [
                    f"{i}{'' if self.labels is None else f' ({self._name(self.labels[i])})'} at {d:.3g}"
                    for i, d in zip(near.index[q], near.distance[q])
                ]
                lines.append(f"query {q}{of} by {space}: {', '.join(found)}")
        if (agreement := self.agreement()) is not None:
            count = self.pixels.index.size
            lines.append(
                f"of {count} neighbours {agreement[0]:.1%} by pixels and {agreement[1]:.1%} by {self.layer} have the "
                "label of their query"
            )
        return "\n".join(lines)

    def _name(self, label: int) -> str:
        return str(label) if self.names is None else self.names[label]

    def image(self) -> np.ndarray:
        """A row for each query: itself, its neighbours by pixels; below these by features."""
        queries, images = shown(self.queries, self.colours), self.images
        side = 96
        panels = []
        for q in range(min(len(queries), 6)):
            own = picture.photo(queries[q], side, shrink=True)
            blank = np.full_like(own, picture.PAPER)
            for space, near in (("pixels", self.pixels), ("features", self.features)):
                name = "" if self.query_labels is None else self._name(self.query_labels[q])
                first = space == "pixels"
                panels.append((f"query {name}" if first else "", own if first else blank))
                for i, d in zip(near.index[q], near.distance[q]):
                    label = f"{space} {d:.3g}" if self.labels is None else f"{self._name(self.labels[i])}, {space}"
                    panels.append((label, picture.photo(shown(images[i], self.colours), side, shrink=True)))
        return picture.captioned(panels, columns=self.pixels.index.shape[1] + 1)


def distances(a: np.ndarray, b: np.ndarray, metric: Metric = "l2") -> np.ndarray:
    """Distance of each row of ``a`` (Q, D) from each of ``b`` (N, D): Euclidean, or 1 - the cosine of their angle.

    >>> distances(np.array([[3.0, 0.0]]), np.array([[0.0, 4.0], [6.0, 0.0]])).tolist()
    [[5.0, 3.0]]
    >>> distances(np.array([[3.0, 0.0]]), np.array([[0.0, 4.0], [6.0, 0.0]]), "cosine").tolist()
    [[1.0, 0.0]]
    """
    if metric not in ("l2", "cosine"):
        raise SeeError(f"distances are measured by 'l2' or 'cosine', not {metric!r}")
    a, b = a.astype(np.float64), b.astype(np.float64)
    if metric == "cosine":
        a, b = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (a, b))
        return 1 - a @ b.T
    return np.stack([np.sqrt(((b - row) ** 2).sum(1)) for row in a])  # |a|² - 2ab + |b|² would lose small distances


def _nearest(a: np.ndarray, b: np.ndarray, k: int, metric: Metric, same: np.ndarray) -> Near:
    all_ = distances(a.reshape(len(a), -1), b.reshape(len(b), -1), metric)  # (Q, N)
    all_[same] = np.inf
    index = np.argsort(all_, axis=1, kind="stable")[:, :k]
    return Near(index, np.take_along_axis(all_, index, 1))


def neighbours(
    model: Module,
    queries: Any,
    images: Any,
    layer: str | None = None,
    *,
    k: int = 5,
    metric: Metric = "l2",
    average: bool = True,
    labels: Sequence[int] | None = None,
    query_labels: Sequence[int] | None = None,
    colours: Colours | None = None,
    names: Sequence[str] | None = None,
) -> Neighbours:
    """The ``k`` of ``images`` (N, C, H, W) nearest to each of ``queries`` (Q, C, H, W): by pixels, and by a layer.

    ``layer`` is, without a wish, what enters the layer of the scores; of maps (N, K, P, Q) the mean of each counts,
    unless ``average`` is off.  Images that equal the query number for number are passed over.  With ``labels`` of
    images and queries the share of neighbours with the right one is counted, ``names`` are those of the labels.

    Source: Krizhevsky, Sutskever and Hinton 2012, section 6.1 and figure 4 (right).  SeeError for more neighbours than
    there are images.

    >>> import numpy as np
    >>> from minidl import models, see
    >>> images = np.random.default_rng(0).random((8, 1, 32, 32))
    >>> found = see.features.neighbours(models.lenet5(), images[3:4] + 0.001, images, "fc2", k=2)
    >>> found.pixels.index[0, 0].item(), found.features.index[0, 0].item()
    (3, 3)
    >>> 3 in see.features.neighbours(models.lenet5(), images[3:4], images, k=2).pixels.index
    False
    """
    few, many = as_batch(model, queries), as_batch(model, images)
    if few.shape[1:] != many.shape[1:]:
        raise SeeError(f"queries of shape {few.shape[1:]} cannot be compared with images of shape {many.shape[1:]}")
    if layer is None:
        name, inputs = _before_the_scores(model, many.shape[1:])
        a, b = inputs(few), inputs(many)
    else:
        name = find_path(model, layer)
        a, b = answers(model, name, few), answers(model, name, many)
    if average:
        a, b = (v.mean(tuple(range(2, v.ndim))) if v.ndim > 2 else v for v in (a, b))
    x, y = few.cpu().numpy(), many.cpu().numpy()
    same = np.array([(y == one).reshape(len(y), -1).all(1) for one in x])  # (Q, N)
    others = int((~same).sum(1).min())
    if not 1 <= k <= others:
        raise SeeError(f"{k} neighbours of {others} other images: k is 1 to their number")
    return Neighbours(
        name,
        _nearest(x, y, k, metric, same),
        _nearest(a, b, k, metric, same),
        None if labels is None else [int(v) for v in labels],
        None if query_labels is None else [int(v) for v in query_labels],
        x,
        y,
        colours,
        names,
    )


def _before_the_scores(model: Module, input_shape: Sequence[int]) -> tuple[str, Any]:
    """A name for what enters the last layer with weights, and a function that computes it."""
    head = head_layers(model, input_shape)[0]

    def inputs(x: Any) -> np.ndarray:
        seen: list[np.ndarray] = []
        module = model.get_submodule(head)
        handle = module.register_forward_pre_hook(lambda m, args: seen.append(args[0].detach().cpu().numpy()))
        try:
            answers(model, head, x)
        finally:
            handle.remove()
        return np.concatenate(seen)

    return f"the input of {head}", inputs
