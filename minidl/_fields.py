"""What a unit of each layer sees of the input: receptive fields, followed through the operations as they run."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Sequence
from typing import Any

from .autograd.tape import Listener, Primitive
from .kernels.geometry import Axis, Field

Fields = tuple[Field, ...]  # one for each spatial axis; jump 0: the layer has only one position, or none

# what leaves no window that slides over the input in whole steps
_UNKNOWN = ("conv_input_grad", "max_unpool", "max_pool_scatter", "resize", "fold", "unfold")


class FieldTracker(Listener):
    """Follows the fields of ``x`` (N, C, spatial axes...) and of all that is computed from it.

    Where branches meet, the field is the smallest that holds theirs.  A factor for a whole map (squeeze-and-excitation)
    sees the whole image; it is left out.
    """

    def __init__(self, x: Any) -> None:
        self.axes = max(0, x.ndim - 2)
        self._known: dict[int, tuple[weakref.ref[Any], Fields | None]] = {}
        if self.axes:
            self._note(x, (Field(),) * self.axes)

    def of(self, tensor: Any) -> Fields | None:
        """The fields of ``tensor``; None where they are unknown, or it does not come from the input."""
        return self._known[id(tensor)][1] if self._has(tensor) else None

    def on_forward(
        self, primitive: Primitive, args: Sequence[Any], attrs: dict[str, Any], outputs: Any, node: Any
    ) -> None:
        sources = [a for a in args if self._has(a)]
        if sources:
            fields = self._through(primitive.name, sources, attrs, outputs[0])
            for output in outputs:
                self._note(output, fields)

    def _has(self, tensor: Any) -> bool:
        return (
            id(tensor) in self._known and self._known[id(tensor)][0]() is tensor
        )  # numbers of dead objects come again

    def _note(self, tensor: Any, fields: Fields | None) -> None:
        self._known[id(tensor)] = (weakref.ref(tensor), fields)

    def _through(self, name: str, sources: list[Any], attrs: dict[str, Any], output: Any) -> Fields | None:
        first = self.of(sources[0])
        if name in _UNKNOWN or any(self.of(s) is None for s in sources):
            return None
        assert first is not None
        if name == "conv":
            return tuple(f.then(axis) for f, axis in zip(first, attrs["conv"].axes))
        if name in ("max_pool", "avg_pool"):
            return _pooled(first, attrs["pool"].axes)
        if name == "pad":
            return tuple(Field(f.size, f.jump, f.start - low * f.jump) for f, (low, _) in _last(first, attrs["pads"]))
        if name == "getitem" and output.ndim == sources[0].ndim:
            index = attrs["index"] if isinstance(attrs["index"], tuple) else (attrs["index"],)
            index += (slice(None),) * (output.ndim - len(index))
            if all(isinstance(i, slice) for i in index):
                steps = [i.indices(n) for i, n in zip(index, sources[0].shape)]
                return tuple(Field(f.size, f.jump * s[2], f.start + s[0] * f.jump) for f, s in _last(first, steps))
        return self._joined(sources, output)

    def _joined(self, sources: list[Any], output: Any) -> Fields | None:
        """Element by element, joined along the channels, or (where positions vanish) summed over the whole map."""
        k = self.axes
        slide = [s for s in sources if s.ndim > k and output.ndim > k and s.shape[-k:] == output.shape[-k:]]
        moving: list[Fields | None] = [f for f in map(self.of, slide) if f is not None and f[0].jump]
        if moving:
            return functools.reduce(_hull, moving)
        fields = self.of(sources[0])
        assert fields is not None
        if not any(f.jump for f in fields):
            return fields
        return tuple(_whole(f, n) for f, n in _last(fields, sources[0].shape))


def _last(fields: Fields, values: Sequence[Any]) -> Any:
    """Each field with the value of its axis, of values for all axes or the last."""
    return zip(fields, list(values)[-len(fields) :])


def _whole(field: Field, positions: int) -> Field:
    """All positions together."""
    return Field(field.size + (positions - 1) * field.jump, 0, field.start)


def _pooled(fields: Fields, axes: Sequence[Any]) -> Fields | None:
    result = []
    for field, axis in zip(fields, axes):
        if isinstance(axis, Axis):
            result.append(field.then(axis))
        elif axis.out == 1:
            result.append(_whole(field, axis.size))
        elif axis.size % axis.out == 0:
            window = axis.size // axis.out
            result.append(field.then(Axis(axis.size, window, stride=window)))
        else:  # adaptive windows of different sizes
            return None
    return tuple(result)


def _hull(a: Fields | None, b: Fields | None) -> Fields | None:
    """The smallest fields that hold both; None where they move over the input by different steps."""
    if a is None or b is None or any(p.jump != q.jump for p, q in zip(a, b)):
        return None
    starts = [min(p.start, q.start) for p, q in zip(a, b)]
    ends = [max(p.start + p.size, q.start + q.size) for p, q in zip(a, b)]
    return tuple(Field(end - start, p.jump, start) for start, end, p in zip(starts, ends, a))
