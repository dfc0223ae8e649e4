"""Which pixels a unit answers to: saliency, deconvnet, guided backpropagation, Grad-CAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SeeError
from ..text import number
from . import picture
from .colours import Colours, shown
from .picture import Picture
from .relu_rules import Rule, relu_backward
from .units import OUTPUT, Sight, Unit, answer, as_batch, evaluating, find_path, find_unit, score, sight, top_classes

if TYPE_CHECKING:
    from ...nn import Module

_SOURCES = {
    "saliency": "Simonyan et al. 2014, section 3",
    "deconvnet": "Zeiler and Fergus 2014, section 2.1",
    "guided": "Springenberg et al. 2015, section 3.4",
    "grad_cam": "Selvaraju et al. 2017, section 3",
}


@dataclass(repr=False)
class Attribution(Picture):
    """Which pixels of each image made a unit answer as it did.

    ``units`` and their ``scores`` for each image, ``places`` the position in the layer whose answer that was (()
    where the unit has none); ``gradient`` (N, C, H, W) as it came back at the input (of Grad-CAM None); ``map``
    (N, H, W), what each pixel counts; ``x`` the images; ``seen`` says which part of them each position sees.
    """

    kind: str
    units: list[Unit]
    places: list[tuple[int, ...]]
    scores: np.ndarray
    gradient: np.ndarray | None
    map: np.ndarray
    x: np.ndarray
    seen: Sight | None = None
    colours: Colours | None = None
    names: Sequence[str] | None = None

    def to_dict(self) -> dict[str, Any]:
        peaks = [np.unravel_index(int(m.argmax()), m.shape) for m in self.map]
        return {
            "kind": self.kind,
            "source": _SOURCES[self.kind],
            "images": [
                {
                    "unit": str(unit),
                    "score": float(s),
                    "place": list(place),
                    "strongest_pixel": [int(i) for i in peak],
                    "half": _half(m),
                    "pixels": int(m.size),
                    "map": m.tolist(),
                }
                for unit, place, s, m, peak in zip(self.units, self.places, self.scores, self.map, peaks)
            ],
        }

    def __str__(self) -> str:
        lines = []
        for i, (unit, found) in enumerate(zip(self.units, self.to_dict()["images"])):
            at = f" at {tuple(found['place'])}" if found["place"] else ""
            share = "the map is 0 everywhere"
            if self.map[i].any():
                half, pixels = found["half"], found["pixels"]
                share = (
                    f"strongest pixel {tuple(found['strongest_pixel'])}, half of the sum in {half} of {pixels} pixels"
                )
            lines.append(f"{self.kind} of {unit.called(self.names)}{at} = {number(found['score']).strip()}: {share}")
        return "\n".join(lines)

    def image(self) -> np.ndarray:
        """For each image a row: the image, what came back with its sign, how much each pixel counts.

        Of a unit with a position only the part that it sees is shown.
        """
        panels: list[tuple[str, np.ndarray]] = []
        pixels = shown(self.x, self.colours)
        for i, unit in enumerate(self.units):
            part: tuple[Any, ...] = (slice(None), slice(None))
            words = f"image {i}" if len(self.units) > 1 else "image"
            if self.seen is not None and self.places[i]:
                part = self.seen.inside(self.places[i])
                words += f", rows {part[0].start}-{part[0].stop - 1}, columns {part[1].start}-{part[1].stop - 1}"
            cut = (slice(None), *part)
            panels.append((words, picture.photo(pixels[i][cut], _SIDE)))
            title = f"{self.kind} of {unit.called(self.names)}"
            if self.gradient is None:
                panels.append((title, picture.heat_map(self.map[i], _SIDE)))
                panels.append(("over the image", picture.heat_map(self.map[i], _SIDE, pixels[i])))
            else:
                panels.append((title, self._signs(self.gradient[i][cut])))
                counts = self.map[i][part]
                panels.append(("largest of the channels", picture.heat_map(np.minimum(counts, _most(counts)), _SIDE)))
        return picture.captioned(panels, columns=3)

    def _signs(self, g: np.ndarray) -> np.ndarray:
        """A gradient (C, H, W): as colours around grey if it has three channels, else blue, white and red."""
        g = g if self.colours is None else self.colours.rgb(g)
        unit = np.clip(g / (_most(np.abs(g)) or 1.0), -1, 1)
        colours = unit * 0.5 + 0.5 if len(g) == 3 else picture.signed(unit.mean(0)).transpose(2, 0, 1)
        return picture.photo(colours, _SIDE)


_SIDE = 224  # pixels of a panel, about


def _most(values: np.ndarray) -> float:
    """What counts as the largest value, so that a few strong pixels do not leave the rest dark."""
    return float(np.quantile(values, 0.999))


def _half(values: np.ndarray) -> int:
    """How few pixels hold half of the sum."""
    ordered = np.sort(np.maximum(values.ravel(), 0))[::-1].astype(np.float64)
    total = ordered.sum()
    return int(np.searchsorted(ordered.cumsum(), total / 2) + 1) if total else 0


def _back(kind: str, model: Module, x: Any, unit: str | int | Unit | None, rule: Rule, *how: Any) -> Attribution:
    """The signal that ``rule`` brings back to the input from the answer of a unit."""
    from ...autograd import enable_grad, grad

    batch = as_batch(model, x)
    asked = _unit(model, unit, batch)
    leaf = batch.detach().requires_grad_()
    with evaluating(model), enable_grad(), relu_backward(rule) as relus:
        total, units, places = _asked(answer(model, asked.layer, leaf), asked)
        if rule != "gradient" and not relus.count:
            raise SeeError(
                f"no ReLU runs before {asked.layer}, and {kind} differs from the gradient in nothing but ReLU: take "
                "saliency, or a network with ReLU (lenet5 has --options.activation relu)"
            )
        (gradient,) = grad(total.sum(), leaf)
    assert gradient is not None
    g = gradient.cpu().numpy()
    scores, seen = total.detach().cpu().numpy(), _sight_of(model, asked, batch) if places[0] else None
    return Attribution(kind, units, places, scores, g, np.abs(g).max(1), batch.cpu().numpy(), seen, *how)


def _sight_of(model: Module, unit: Unit, batch: Any) -> Sight | None:
    """What the layer of a unit sees; None where that is no window."""
    try:
        return sight(model, unit.layer, batch.shape[1:])
    except SeeError:
        return None


def _unit(model: Module, unit: str | int | Unit | None, batch: Any) -> Unit:
    if batch.ndim != 4:
        raise SeeError(f"a map of pixels needs images (N, C, H, W), not inputs of shape {batch.shape}")
    return Unit(OUTPUT, ()) if unit is None else find_unit(model, unit)


def _asked(y: Any, unit: Unit) -> tuple[Any, list[Unit], list[tuple[int, ...]]]:
    """What the unit answers to each image; of the whole output the largest score of each."""
    if unit.index or unit.layer != OUTPUT:
        values, places = score(y, unit, "strongest")
        return values, [unit] * len(places), places
    best = top_classes(y)
    return y[np.arange(len(best)), best], [Unit(OUTPUT, (int(b),)) for b in best], [()] * len(best)


def saliency(
    model: Module,
    x: Any,
    unit: str | int | Unit | None = None,
    *,
    colours: Colours | None = None,
    names: Sequence[str] | None = None,
) -> Attribution:
    """How fast the answer of a unit changes with each pixel: its gradient, and the largest size over the channels.

    ``x`` (N, C, H, W); ``unit`` a class number, ``"conv2[3]"`` (the strongest position of a channel) or
    ``"conv2[3,5,5]"``; None is the class with the largest score of each image.  Scores, not probabilities: the
    gradient of a softmax is also that of making the other classes worse.  ``colours`` and
    ``names`` of the classes are for the picture.

    Source: Simonyan, Vedaldi and Zisserman 2014, "Deep inside convolutional networks", arXiv:1312.6034, section 3.
    SeeError for units that there are not.

    >>> import minidl
    >>> from minidl import models, see
    >>> minidl.manual_seed(0)  # doctest: +ELLIPSIS
    <...>
    >>> found = see.features.saliency(models.lenet5(), minidl.randn(2, 1, 32, 32), 3)
    >>> found.map.shape, [str(unit) for unit in found.units]
    ((2, 32, 32), ['output[3]', 'output[3]'])
    """
    return _back("saliency", model, x, unit, "gradient", colours, names)


def deconvnet(
    model: Module,
    x: Any,
    unit: str | int | Unit | None = None,
    *,
    colours: Colours | None = None,
    names: Sequence[str] | None = None,
) -> Attribution:
    """What of the image a unit answers to, by Zeiler and Fergus: back through the layers, ReLU applied to the signal.

    Arguments as for :func:`saliency`; the signal begins as 1 at the unit (at the strongest position of a channel).
    Filters go back transposed and max-pooling to where it won, as in the gradient.

    Source: Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", arXiv:1311.2901, section
    2.1.  SeeError where no ReLU runs.
    """
    return _back("deconvnet", model, x, unit, "deconvnet", colours, names)


def guided_backprop(
    model: Module,
    x: Any,
    unit: str | int | Unit | None = None,
    *,
    colours: Colours | None = None,
    names: Sequence[str] | None = None,
) -> Attribution:
    """As :func:`deconvnet`, but ReLU lets a signal pass only where it was itself above 0 on the way up.

    Source: Springenberg et al. 2015, "Striving for simplicity: the all convolutional net", arXiv:1412.6806, section
    3.4.
    """
    return _back("guided", model, x, unit, "guided", colours, names)


def grad_cam(
    model: Module,
    x: Any,
    unit: str | int | Unit | None = None,
    *,
    layer: str | None = None,
    colours: Colours | None = None,
    names: Sequence[str] | None = None,
) -> Attribution:
    """Where in the image the maps of a layer speak for a class: the maps weighed by their mean gradients.

    With a_k the mean of dS/dA[k] over all positions, the map is max(0, sum over k of a_k A[k]), brought to the size of
    the image.  ``layer`` is the last convolution without a wish; ``unit`` as for :func:`saliency`.

    Source: Selvaraju et al. 2017, "Grad-CAM", arXiv:1610.02391, section 3, equations 1 and 2.
    """
    from ...autograd import enable_grad, grad
    from ...data.sampling import resize

    batch = as_batch(model, x)
    asked = _unit(model, unit, batch)
    path = find_path(model, layer) if layer is not None else _last_convolution(model)
    if path == OUTPUT:
        raise SeeError("Grad-CAM needs a layer before the scores, not the output: name a convolution, as conv2")
    maps: list[Any] = []
    handle = model.get_submodule(path).register_forward_hook(lambda module, args, y: maps.append(y))
    try:
        with evaluating(model), enable_grad():
            total, units, places = _asked(answer(model, asked.layer, batch.detach().requires_grad_()), asked)
            if maps and getattr(maps[0], "ndim", 0) != 4:
                raise SeeError(f"Grad-CAM needs a layer with maps (N, K, P, Q), and {path} gives none")
            (gradient,) = grad(total.sum(), maps[0], allow_unused=True) if maps else (None,)
    finally:
        handle.remove()
    if gradient is None:
        raise SeeError(f"the score does not depend on {path}: take a layer before the scores")
    a, g = maps[0].detach().cpu().numpy(), gradient.cpu().numpy()
    weights = g.mean((2, 3), keepdims=True)  # (N, K, 1, 1)
    small = np.maximum((weights * a).sum(1), 0)  # (N, P, Q)
    full = resize(small, (batch.shape[2], batch.shape[3]))
    return Attribution(
        "grad_cam", units, places, total.detach().cpu().numpy(), None, full, batch.cpu().numpy(), None, colours, names
    )


def _last_convolution(model: Module) -> str:
    found = [path for path, m in model.named_modules() if type(m).__name__ == "Conv2d"]
    if not found:
        raise SeeError(f"{type(model).__name__} has no convolution, and Grad-CAM needs a layer with maps: name one")
    return found[-1]
