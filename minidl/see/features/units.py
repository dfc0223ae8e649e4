"""Layers and units of a network by name, what they answer, and which part of the input they see.

A unit is named as ``"conv2[3]"`` (channel 3 of a layer), ``"conv2[3,5,5]"`` (its position 5, 5), ``"output[7]"`` or
just ``7`` (score 7 of the network).  There is no image number: a unit answers to every image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..._fields import Fields, FieldTracker
from ...nn.modes import modes_kept
from ...transfer import feature_extractor, find_layer
from ..errors import SeeError
from ..names import element, layer_path

if TYPE_CHECKING:
    from ...nn import Module
    from ...tensor import Tensor

OUTPUT = "output"
_PATTERN = re.compile(r"^\s*([^\[\]]+?)\s*(?:\[([^\[\]]*)\])?\s*$")


@dataclass(frozen=True)
class Unit:
    """A channel of a layer (``index`` of one number), or one position of it; ``index`` () is the whole layer."""

    layer: str
    index: tuple[int, ...]

    def __str__(self) -> str:
        return element(self.layer, self.index)

    def called(self, names: Sequence[str] | None) -> str:
        """The unit, and of a class its name.

        >>> Unit("output", (1,)).called(["cat", "dog"]), Unit("conv", (1,)).called(["cat", "dog"])
        ('output[1] (dog)', 'conv[1]')
        """
        is_class = self.layer == OUTPUT and len(self.index) == 1
        name = names[self.index[0]] if is_class and names and self.index[0] < len(names) else ""
        return f"{self} ({name})" if name and name != str(self.index[0]) else str(self)


def find_unit(model: Module, unit: str | int | Unit) -> Unit:
    """The unit that is meant, with the full path of its layer; whether its numbers fit shows when it answers."""
    if isinstance(unit, Unit):
        return unit
    if not isinstance(unit, str):
        return Unit(OUTPUT, (int(unit),))
    if unit.strip().isdigit():
        return Unit(OUTPUT, (int(unit),))
    match = _PATTERN.match(unit)
    parts = [] if match is None or not match[2] else match[2].split(",")
    if match is None or not all(part.strip().isdigit() for part in parts):
        raise SeeError(
            f"{unit!r} names no unit: write conv2[3] for a channel, conv2[3,5,5] for one of its positions, or 7 for a "
            "class"
        )
    return Unit(find_path(model, match[1]), tuple(int(part) for part in parts))


def find_path(model: Module, layer: str) -> str:
    """The path of the layer called ``layer``, a path of ``named_modules()`` or ``conv2``, ``fc1``, ..., or "output"."""
    if layer in (OUTPUT, ""):
        return OUTPUT
    path = layer if layer in dict(model.named_modules()) else layer_path(model, layer)
    find_layer(model, path)
    return path


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """``model`` in evaluation mode for a while."""
    with modes_kept(model):
        model.eval()
        yield


def as_batch(model: Module, x: Any) -> Tensor:
    """Inputs (N, C, ...) as a tensor of the dtype and on the device of the model's parameters, cut off any graph."""
    from ... import as_tensor

    values = as_tensor(x).detach()
    if values.ndim < 2 or not values.shape[0]:
        raise SeeError(f"inputs have shape (N, C, H, W) with at least one image, not {values.shape}")
    first = next(model.parameters(), None)
    dtype = None if first is None else first.dtype
    if dtype is None and values.dtype.kind != "f":
        dtype = np.dtype("float32")
    values = values if dtype is None else values.to(dtype)
    return values if first is None else values.to(first.device)


def answer(model: Module, layer: str, x: Tensor) -> Tensor:
    """The result of a layer for ``x``; a network is computed only as far as that."""
    y = model(x) if layer == OUTPUT else feature_extractor(model, layer)(x)
    if not hasattr(y, "_array"):
        raise SeeError(f"{layer} gives a {type(y).__name__}, and only a tensor can be looked at: name a layer inside")
    if y.ndim < 2:
        raise SeeError(f"{layer} gives a result of shape {y.shape}, which has no axes of images and channels (N, K)")
    return y


def answers(model: Module, layer: str, x: Any, batch: int = 64) -> np.ndarray:
    """The result (N, K, ...) of a layer for many inputs, as an array, in evaluation mode and without a graph."""
    from ... import no_grad

    values = as_batch(model, x)
    with evaluating(model), no_grad():
        parts = [answer(model, layer, values[i : i + batch]).cpu().numpy() for i in range(0, len(values), batch)]
    return np.concatenate(parts)


def check_unit(unit: Unit, shape: Sequence[int]) -> None:
    """SeeError unless ``unit`` is a channel or a position of a result of ``shape`` (N, K, ...)."""
    lengths = tuple(shape[1:])
    if len(unit.index) not in (1, len(lengths)):
        of = "channel" if len(lengths) == 1 else f"channel, or {len(lengths)}: channel and position"
        numbers = ", ".join(map(str, unit.index)) or "none"
        raise SeeError(f"{unit.layer} has shape {lengths} for an image: a unit has 1 number ({of}), not {numbers}")
    for axis, (i, n) in enumerate(zip(unit.index, lengths)):
        if not 0 <= i < n:
            what = "channels" if axis == 0 else f"positions on axis {axis}"
            raise SeeError(f"{unit}: {unit.layer} has {n} {what}, so {i} is outside 0 to {n - 1}")


def score(y: Tensor, unit: Unit, of_map: Literal["strongest", "mean"]) -> tuple[Tensor, list[tuple[int, ...]]]:
    """What ``unit`` answers (N,) in the result ``y`` (N, K, ...), and where (its positions, one for each image).

    Of a channel without a position its strongest place counts, or the mean of its map (then the positions are ()).
    """
    check_unit(unit, y.shape)
    n = y.shape[0]
    if len(unit.index) == y.ndim - 1:
        return y[(slice(None), *unit.index)], [unit.index[1:]] * n
    map_ = y[:, unit.index[0]].reshape(n, -1)  # (N, P Q)
    if of_map == "mean":
        return map_.mean(1), [()] * n
    best = map_.detach().cpu().numpy().argmax(1)  # (N,)
    places = [tuple(int(i) for i in np.unravel_index(b, y.shape[2:])) for b in best]
    return map_[np.arange(n), best], places


def top_classes(y: Tensor) -> np.ndarray:
    """The class (N,) with the largest of the scores (N, K)."""
    if y.ndim != 2:
        raise SeeError(f"the network's result has shape {y.shape}, no scores (N, K): name a unit, as output[3,5,5]")
    return y.detach().cpu().numpy().argmax(1)


# ---- what a unit sees --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sight:
    """What the units of a layer see of an input: ``fields`` along each spatial axis, ``positions`` of the layer.

    ``size`` are the lengths of the input's axes.
    """

    layer: str
    fields: Fields
    positions: tuple[int, ...]
    size: tuple[int, ...]

    def box(self, position: Sequence[int]) -> tuple[range, ...]:
        """Input positions that the unit at ``position`` sees, along each axis; parts may lie in the padding."""
        return tuple(f.seen(p if f.jump else 0) for f, p in zip(self.fields, position or (0,) * len(self.fields)))

    def inside(self, position: Sequence[int]) -> tuple[slice, ...]:
        """The part of the box that lies in the input."""
        boxes = zip(self.box(position), self.size)
        return tuple(slice(max(b.start, 0), max(min(b.stop, n), 0)) for b, n in boxes)

    @property
    def centre(self) -> tuple[int, ...]:
        """The position in the middle of the layer."""
        return tuple(p // 2 for p in self.positions)


def sight(model: Module, layer: str, input_shape: Sequence[int]) -> Sight:
    """What the units of ``layer`` see of an input (C, H, W): followed through the operations, as in ``summary``.

    SeeError where that is no window that slides: behind a resize or a transposed convolution.

    >>> from minidl import models
    >>> found = sight(models.lenet5(), "conv2", (1, 32, 32))
    >>> found.positions, found.box((0, 9))
    ((10, 10), (range(0, 14), range(18, 32)))
    """
    from ... import no_grad, ops

    layer = find_path(model, layer)

    first = next(model.parameters(), None)
    place = {} if first is None else {"dtype": first.dtype, "device": first.device}
    x = ops.zeros(0, *input_shape, **place)
    with evaluating(model), no_grad(), FieldTracker(x) as tracker:
        y = answer(model, layer, x)
        fields = tracker.of(y)
    if fields is None or not tracker.axes:
        raise SeeError(
            f"what a unit of {layer} sees is no window that slides over the input {tuple(input_shape)} (a resize, a "
            "transposed convolution, circular padding or branches of different steps lie before it)"
        )
    size = tuple(input_shape[1:])
    positions = tuple(y.shape[2:]) if y.ndim == len(size) + 2 else ()
    return Sight(layer, fields, positions, size)
