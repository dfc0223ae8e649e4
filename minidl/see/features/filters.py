"""The filters of a layer and its maps as grids of small pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import no_grad
from ...transfer import find_layer
from ..errors import SeeError, check_least
from . import picture
from .colours import Colours
from .picture import Picture, Scale
from .units import OUTPUT, answer, as_batch, evaluating, find_path

if TYPE_CHECKING:
    from ...nn import Module


@dataclass(repr=False)
class Filters(Picture):
    """The filters of one layer: ``weights`` (K, C/groups, R, S), K filters of C/groups slices.

    ``norms`` (K,) are their lengths.  The picture shows filters over three channels in colour if ``colour``, otherwise
    a row for each filter and a tile for each channel, at most ``rows`` x ``columns``.
    """

    layer: str
    weights: np.ndarray
    colour: bool
    scale: Scale = "tile"
    rows: int = 16
    columns: int = 16
    bgr: bool = False

    @property
    def norms(self) -> np.ndarray:
        return np.sqrt((self.weights.astype(np.float64) ** 2).sum((1, 2, 3)))

    def to_dict(self) -> dict[str, Any]:
        k, c, r, s = self.weights.shape
        norms = self.norms
        return {
            "layer": self.layer, "filters": k, "channels": c, "height": r, "width": s,
            "norms": norms.tolist(), "weak": int((norms < 0.01 * norms.max()).sum()),
        }  # fmt: skip

    def __str__(self) -> str:
        found = self.to_dict()
        size = f"{found['height']}x{found['width']}"
        text = f"{self.layer}: {found['filters']} filters of {size} over {found['channels']} channels, "
        text += f"norms {self.norms.min():.3g} to {self.norms.max():.3g}"
        return text + (f", {found['weak']} below a hundredth of the largest" if found["weak"] else "")

    def image(self) -> np.ndarray:
        _, c, r, s = self.weights.shape
        if self.colour or c == 1:
            tiles = self.weights[:, ::-1] if self.bgr and c == 3 else self.weights
            columns = None
        else:
            tiles = self.weights[: self.rows, : self.columns].reshape(-1, r, s)
            columns = min(c, self.columns)
        shown = len(tiles) ** 0.5 if columns is None else max(columns, len(tiles) / columns)
        factor = max(1, round(500 / (shown * max(r, s))))
        return picture.grid(tiles, columns, scale=self.scale, centred=not self.colour, zoom=factor)


def filters(
    model: Module,
    layer: str | None = None,
    *,
    scale: Scale = "tile",
    rows: int = 16,
    columns: int = 16,
    colours: Colours | None = None,
) -> Filters:
    """The filters of ``layer``, the first convolution without a wish.

    Those over three channels are shown as colours if they see the image, others one channel a tile, 0 as middle grey:
    ``scale`` "tile" gives each its own contrast, "whole" one for all, so that weak filters look weak.  Filters of one
    dimension (K, C, R) are shown as C x R.  ``colours`` says whether blue comes first.

    Source: Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep convolutional neural networks",
    figure 3.  SeeError for a layer without filters.

    >>> from minidl import models, see
    >>> print(see.features.filters(models.lenet5(), "conv2"))
    features.3: 16 filters of 5x5 over 6 channels, norms ...
    """
    convolutions = [path for path, m in model.named_modules() if type(m).__name__ in ("Conv1d", "Conv2d")]
    if layer is None and not convolutions:
        raise SeeError(f"{type(model).__name__} has no convolution whose filters could be shown")
    path = convolutions[0] if layer is None else find_path(model, layer)
    weight = None if path == OUTPUT else getattr(find_layer(model, path), "weight", None)
    if weight is None or weight.ndim not in (3, 4):
        raise SeeError(f"{path} has no filters (K, C, R, S); those that have: {', '.join(convolutions) or 'none'}")
    values = weight.detach().cpu().numpy()
    values = values if values.ndim == 4 else values[:, None]  # (K, 1, C, R)
    colour = values.shape[1] == 3 and path == convolutions[0]
    check_least(rows=(rows, 1), columns=(columns, 1))
    return Filters(path, values, colour, scale, rows, columns, colours is not None and colours.bgr)


@dataclass(repr=False)
class Maps(Picture):
    """What a layer makes of one image: ``maps`` (K, P, Q); the picture shows the first ``limit``."""

    layer: str
    maps: np.ndarray
    scale: Scale = "tile"
    limit: int = 64

    def to_dict(self) -> dict[str, Any]:
        k, p, q = self.maps.shape
        silent = int((~self.maps.any((1, 2))).sum())
        return {
            "layer": self.layer, "maps": k, "height": p, "width": q, "silent": silent,
            "mean": self.maps.mean((1, 2)).tolist(), "largest": self.maps.max((1, 2)).tolist(),
        }  # fmt: skip

    def __str__(self) -> str:
        k, p, q = self.maps.shape
        best = int(self.maps.max((1, 2)).argmax())
        return (
            f"{self.layer}: {k} maps of {p}x{q}, {self.to_dict()['silent']} of them 0 everywhere; the largest value, "
            f"{self.maps.max():.4g}, is in map {best}"
        )

    def image(self) -> np.ndarray:
        tiles = self.maps[: self.limit]
        across = len(tiles) ** 0.5
        return picture.grid(tiles, scale=self.scale, zoom=max(1, round(500 / (across * max(tiles.shape[1:])))))


def maps(model: Module, x: Any, layer: str, *, scale: Scale = "tile", limit: int = 64) -> Maps:
    """The maps of ``layer`` for the first image of ``x`` (N, C, H, W); scaled as for :func:`filters`.

    Source: Zeiler and Fergus 2014, arXiv:1311.2901, figure 4.  SeeError for a layer without maps.
    """
    check_least(limit=(limit, 1))
    batch = as_batch(model, x)[:1]
    path = find_path(model, layer)
    with evaluating(model), no_grad():
        y = answer(model, path, batch).cpu().numpy()
    if y.ndim != 4:
        raise SeeError(f"{path} gives a result of shape {y.shape}, no maps (N, K, P, Q)")
    return Maps(path, y[0], scale, limit)
