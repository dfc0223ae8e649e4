"""What shifting the image does to each layer: whether its maps shift along (equivariance), or stay (invariance)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import no_grad
from ...kernels.geometry import Field
from ...transfer import feature_extractor
from ..errors import SeeError
from . import plots
from .picture import Picture
from .units import OUTPUT, Sight, as_batch, evaluating, find_path, sight

if TYPE_CHECKING:
    from ...nn import Module


@dataclass
class LayerShift:
    """What became of one layer when the image moved by each of the shifts.

    ``jump``: how many pixels the image has to move for the maps to move by one (0: the layer has no positions).
    ``equivariance``: relative distance between the maps of the shifted image and the shifted maps; 0 means that the
    layer follows exactly.  NaN where no position sees only what is in both images.  ``change``: relative distance from
    the maps as they were, which is small where the layer is invariant; ``changed``: share of its numbers that differ.
    """

    name: str
    jump: int
    equivariance: np.ndarray
    change: np.ndarray
    changed: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        numbers = {
            key: [None if np.isnan(v) else float(v) for v in getattr(self, key)]
            for key in ("equivariance", "change", "changed")
        }
        return {"layer": self.name, "jump": self.jump, **numbers}


@dataclass(repr=False)
class Shifting(Picture):
    """``layers`` for the ``shifts`` (pixels) of the image along ``axis`` (0 rows, 1 columns); ``wrap`` as asked."""

    layers: list[LayerShift]
    shifts: list[int]
    axis: int
    wrap: bool

    def to_dict(self) -> dict[str, Any]:
        return {
            "shifts": self.shifts, "axis": self.axis, "wrap": self.wrap, "layers": [la.to_dict() for la in self.layers],
        }  # fmt: skip

    def __str__(self) -> str:
        width = max(len(la.name) for la in self.layers) + 2
        lines = ["does it follow? distance from the shifted maps, as a share of them, for a shift by"]
        lines.append(" " * width + "step" + "".join(f"{s:>9}" for s in self.shifts))
        lines += [self._line(la, la.equivariance, width) for la in self.layers]
        lines.append("does it stay? share of its numbers that change")
        lines += [self._line(la, la.changed, width) for la in self.layers]
        lines.append("and by how much: distance from the maps as they were")
        lines += [self._line(la, la.change, width) for la in self.layers]
        return "\n".join(lines)

    @staticmethod
    def _line(layer: LayerShift, values: np.ndarray, width: int) -> str:
        shown = ["      ---" if np.isnan(v) else f"{v:>9.2g}" for v in values]
        return f"{layer.name:<{width}}{layer.jump or '':>4}{''.join(shown)}"

    def image(self) -> np.ndarray:
        """Curves over the shift, by matplotlib."""
        return plots.shifting(self)


def shift(
    model: Module,
    x: Any,
    layers: Sequence[str] | None = None,
    *,
    shifts: Sequence[int] = (1, 2, 3, 4, 5, 6, 7, 8),
    axis: int = 1,
    wrap: bool = False,
) -> Shifting:
    """Move the images ``x`` (N, C, H, W) by whole pixels and compare what each of ``layers`` makes of them.

    A convolution of stride 1 followed by another moves along with the image exactly.  Behind strides of together
    ``jump`` pixels that holds for shifts by multiples of ``jump`` only; for others the maps are compared with those
    shifted by the nearest whole step.  Pooling makes maps change less than the image (invariance), the more the wider.

    The image is rolled around its border.  Compared are positions whose receptive field lies inside both images, so
    that neither padding nor the seam counts; with ``wrap`` all positions, for networks with circular padding (of layers
    whose length divides that of the image).
    ``layers`` are, without a wish, all that compute something on maps, and the output.

    Source: Goodfellow, Bengio and Courville 2016, "Deep learning", section 9.3 (figure 9.8: of max-pooled values half
    change); Zhang 2019, "Making convolutional networks shift-invariant again", arXiv:1904.11486, section 3.

    >>> import minidl
    >>> from minidl import models, see
    >>> found = see.features.shift(models.lenet5(), minidl.randn(2, 1, 32, 32), ["conv1", "pool1"], shifts=(1, 2))
    >>> [(layer.jump, layer.equivariance.round(6).tolist()[1]) for layer in found.layers]
    [(1, 0.0), (2, 0.0)]
    """
    batch = as_batch(model, x)
    if batch.ndim != 4 or axis not in (0, 1):
        raise SeeError(
            f"images (N, C, H, W) are moved along axis 0 (rows) or 1 (columns); got {batch.shape}, axis {axis}"
        )
    size = batch.shape[2 + axis]
    moves = [int(s) for s in shifts]
    if not moves or any(abs(s) >= size for s in moves):
        raise SeeError(f"shifts are whole pixels below {size}, the image's length on that axis, not {moves}")
    names = [find_path(model, name) for name in layers] if layers is not None else _working_layers(model, batch)
    with evaluating(model), no_grad():
        before = _all_answers(model, names, batch)
        after = [_all_answers(model, names, batch.roll(s, 2 + axis)) for s in moves]
    found = []
    for name in names:
        field = _ring(before[name], size, axis) if wrap else _field(model, name, batch.shape[1:], axis, before[name])
        rows = [_compare(before[name], a[name], s, field, size, axis, wrap) for s, a in zip(moves, after)]
        equivariance, change, changed = (np.array(column) for column in zip(*rows))
        found.append(LayerShift(name, 0 if field is None else field.jump, equivariance, change, changed))
    return Shifting(found, moves, axis, wrap)


def _working_layers(model: Module, batch: Any) -> list[str]:
    """The modules at the ends of the tree that are run and give maps, in their order, and the output."""
    order: list[str] = []

    def note(path: str) -> Any:
        def hook(module: Any, args: Any, y: Any) -> None:
            if getattr(y, "ndim", 0) == 4 and path not in order:
                order.append(path)

        return hook

    ends = [(path, m) for path, m in model.named_modules() if path and not m._modules]
    handles = [m.register_forward_hook(note(path)) for path, m in ends]
    try:
        with evaluating(model), no_grad():
            model(batch[:1])
    finally:
        for handle in handles:
            handle.remove()
    return [*order, OUTPUT]


def _all_answers(model: Module, names: Sequence[str], x: Any) -> dict[str, np.ndarray]:
    inner = [name for name in names if name != OUTPUT]
    found = feature_extractor(model, inner)(x) if len(inner) else {}
    if len(inner) == 1 and not isinstance(found, dict):
        found = {inner[0]: found}
    if OUTPUT in names:
        found[OUTPUT] = model(x)
    for name, y in found.items():
        if not hasattr(y, "_array"):
            raise SeeError(f"{name} gives a {type(y).__name__}, and only a tensor can be compared: name a layer inside")
    return {name: y.cpu().numpy() for name, y in found.items()}


def _ring(y: np.ndarray, size: int, axis: int) -> Field | None:
    """The same on a ring, where only the step matters: the image's length in those of the layer."""
    if y.ndim != 4 or size % y.shape[2 + axis]:
        return None
    return Field(jump=size // y.shape[2 + axis])


def _field(model: Module, name: str, shape: Sequence[int], axis: int, y: np.ndarray) -> Field | None:
    """How the positions of a layer lie over the input along the axis; None where they do not slide over it."""
    if y.ndim != 4:
        return None
    try:
        seen: Sight = sight(model, name, shape)
    except SeeError:
        return None
    field = seen.fields[axis]
    return field if field.jump else None


def _compare(
    before: np.ndarray, after: np.ndarray, s: int, field: Field | None, size: int, axis: int, wrap: bool
) -> tuple[float, float, float]:
    """Equivariance error, relative change and share of changed numbers of one layer for a shift by ``s``."""
    change = _distance(after, before)
    changed = float((after != before).mean())
    if field is None:
        return float("nan"), change, changed
    steps = round(s / field.jump)
    count = before.shape[2 + axis]
    if wrap:
        return _distance(after, np.roll(before, steps, 2 + axis)), change, changed
    new = range(
        max(s, 0), size + min(s, 0)
    )  # what the shifted image shows of the old one; new position p was p - steps
    places = [
        p
        for p in range(max(steps, 0), count + min(steps, 0))
        if _lies_in(field.seen(p), new) and _lies_in(field.seen(p - steps), range(new.start - s, new.stop - s))
    ]
    if not places:
        return float("nan"), change, changed
    return _distance(after.take(places, 2 + axis), before.take([p - steps for p in places], 2 + axis)), change, changed


def _lies_in(inner: range, outer: range) -> bool:
    return inner.start >= outer.start and inner.stop <= outer.stop


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    length = float(np.sqrt((b**2).sum()))
    return float(np.sqrt(((a - b) ** 2).sum())) / (length or 1.0)
