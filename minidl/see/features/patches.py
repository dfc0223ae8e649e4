"""The patches of images that make a unit answer most, cut out where it looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SeeError, check_least
from ..text import number
from . import picture
from .colours import Colours, shown
from .picture import Picture
from .units import Sight, Unit, answers, as_batch, check_unit, find_unit, sight

if TYPE_CHECKING:
    from ...nn import Module


@dataclass
class Patch:
    """What one unit saw when it answered ``value``: at ``position`` of its layer, in image number ``image``.

    ``box`` are the input's rows and columns that it sees, parts of which may lie outside; ``pixels`` (C, h, w) what is
    there, NaN outside.
    """

    unit: Unit
    image: int
    position: tuple[int, ...]
    value: float
    box: tuple[range, ...]
    pixels: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        return {
            "unit": str(self.unit), "image": self.image, "position": list(self.position), "value": self.value,
            "box": [[b.start, b.stop] for b in self.box],
        }  # fmt: skip


@dataclass(repr=False)
class Patches(Picture):
    """The strongest patches of some units: ``rows[i]`` those of ``units[i]``, strongest first."""

    layer: str
    sight: Sight
    units: list[Unit]
    rows: list[list[Patch]]
    colours: Colours | None = None

    def to_dict(self) -> dict[str, Any]:
        fields = [{"size": f.size, "jump": f.jump, "start": f.start} for f in self.sight.fields]
        return {"layer": self.layer, "fields": fields, "patches": [[p.to_dict() for p in row] for row in self.rows]}

    def __str__(self) -> str:
        size = "x".join(str(f.size) for f in self.sight.fields)
        lines = [f"a unit of {self.layer} sees {size} pixels, every {self.sight.fields[0].jump or 'image'}"]
        if self.sight.fields[0].jump == 0:
            lines = [f"a unit of {self.layer} sees {size} pixels, one window an image"]
        for unit, row in zip(self.units, self.rows):
            found = [
                f"{number(p.value).strip()} in image {p.image}" + (f" at {p.position}" if p.position else "")
                for p in row[:5]
            ]
            lines.append(f"{unit}: {', '.join(found)}{', ...' if len(row) > 5 else ''}")
        return "\n".join(lines)

    def image(self) -> np.ndarray:
        """A row for each unit; what lies outside of the image is grey."""
        rows = []
        for row in self.rows:
            tiles = np.stack([self._tile(p) for p in row])
            factor = picture.zoom_to(72, *tiles.shape[-2:])
            rows.append(picture.grid(tiles, columns=len(row), scale="none", zoom=factor))
        panels = [(str(unit), row) for unit, row in zip(self.units, rows)]
        return picture.captioned(panels, columns=1)

    def _tile(self, patch: Patch) -> np.ndarray:
        outside = np.isnan(patch.pixels)
        return np.where(outside, np.nan, shown(np.where(outside, 0, patch.pixels), self.colours))


def patches(
    model: Module,
    images: Any,
    unit: str | int | Unit,
    *,
    k: int = 9,
    most: int = 16,
    batch: int = 64,
    colours: Colours | None = None,
) -> Patches:
    """The ``k`` patches of ``images`` (N, C, H, W) that a unit answers to most, one of each image.

    ``unit`` is a channel (``"conv2[3]"``, at any position), one position of it (``"conv2[3,5,5]"``), or a layer
    (``"conv2"``: its first ``most`` channels, a row each).  A patch is the receptive field of the position with the
    largest answer, computed from the windows of the layers below.

    Source: Zeiler and Fergus 2014, arXiv:1311.2901, figure 2; Springenberg et al. 2015, arXiv:1412.6806, figure 3.
    The fields: Araujo, Norris and Sim 2019.  SeeError for units that there are not, and for layers whose units look
    through no sliding window.

    >>> import numpy as np
    >>> from minidl import models, see
    >>> images = np.random.default_rng(0).random((8, 1, 32, 32))
    >>> found = see.features.patches(models.lenet5(), images, "conv2[3]", k=2)
    >>> found.rows[0][0].pixels.shape, found.rows[0][0].value >= found.rows[0][1].value
    ((1, 14, 14), True)
    """
    x = as_batch(model, images)
    if x.ndim != 4:
        raise SeeError(f"patches are cut out of images (N, C, H, W), not of inputs of shape {x.shape}")
    check_least(k=(k, 1), most=(most, 1))
    asked = find_unit(model, unit)
    seen = sight(model, asked.layer, x.shape[1:])
    y = answers(model, asked.layer, x, batch)  # (N, K, P, Q) or (N, K)
    units = [asked] if asked.index else [Unit(asked.layer, (c,)) for c in range(min(most, y.shape[1]))]
    check_unit(units[0], y.shape)
    pixels = x.cpu().numpy()
    rows = [_strongest(one, y, pixels, seen, k) for one in units]
    return Patches(asked.layer, seen, units, rows, colours)


def _strongest(unit: Unit, y: np.ndarray, images: np.ndarray, seen: Sight, k: int) -> list[Patch]:
    places = y.shape[2:]
    flat = y[:, unit.index[0]].reshape(len(y), -1)  # (N, P Q)
    best = flat.argmax(1)
    if unit.index[1:]:
        best[:] = np.ravel_multi_index(unit.index[1:], places)
    values = flat[np.arange(len(y)), best]
    found = []
    for i in np.argsort(-values, kind="stable")[:k]:
        position = tuple(int(p) for p in np.unravel_index(best[i], places)) if places else ()
        box = seen.box(position)
        found.append(Patch(unit, int(i), position, float(values[i]), box, cut_out(images[i], box)))
    return found


def cut_out(image: np.ndarray, box: tuple[range, ...]) -> np.ndarray:
    """The part ``box`` of an image (C, H, W), NaN where it lies outside.

    >>> cut_out(np.ones((1, 2, 2)), (range(-1, 1), range(0, 2))).tolist()
    [[[nan, nan], [1.0, 1.0]]]
    """
    part = np.full((len(image), *(len(b) for b in box)), np.nan, image.dtype)
    inside = [range(max(b.start, 0), min(b.stop, n)) for b, n in zip(box, image.shape[1:])]
    if all(len(r) for r in inside):
        to = tuple(slice(r.start - b.start, r.stop - b.start) for r, b in zip(inside, box))
        part[(slice(None), *to)] = image[(slice(None), *(slice(r.start, r.stop) for r in inside))]
    return part
