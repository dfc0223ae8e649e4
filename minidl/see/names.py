"""How people name a number of a run: ``conv2[0,3,5,5]``, ``conv1.weight.grad[0,0,1,1]``, ``loss``, ``#17[0,2]``.

Where no module has such a name, ``conv2`` is the second convolution of the model, ``fc1`` the first linear layer,
``pool1`` and ``norm1`` the first pool and normalisation.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

from .errors import SeeError
from .trace import Trace, Value

_LAYERS = {"conv": "Conv", "fc": "Linear", "pool": "Pool", "norm": "Norm", "bn": "BatchNorm"}
_NTH = re.compile(rf"^({'|'.join(_LAYERS)})(\d+)(?=$|[.#/:])")
_PATTERN = re.compile(r"^\s*(?P<name>[^\[\]]+?)(?P<grad>\.grad)?\s*(\[(?P<index>[^\[\]]*)\])?\s*$")


@dataclass(frozen=True)
class Place:
    """A value, an element of it (None: not said), and whether its gradient is meant."""

    value: Value
    index: tuple[int, ...] | None
    grad: bool

    def __str__(self) -> str:
        return element(self.value.name + (".grad" if self.grad else ""), self.index or ())


def element(name: str, index: tuple[int, ...]) -> str:
    """``conv2[0,3,5,5]``; a single number needs no brackets.

    >>> element("conv2", (0, 3))
    'conv2[0,3]'
    """
    return f"{name}[{','.join(map(str, index))}]" if len(index) else name


def find(trace: Trace, at: str) -> Place:
    """The place that ``at`` names in this run; SeeError with near names where there is none."""
    match = _PATTERN.match(at)
    if match is None:
        raise SeeError(
            f"{at!r} names no number: write NAME[i,j,...], for example conv2[0,3,5,5] or conv1.weight.grad[0]"
        )
    name, grad = match["name"], bool(match["grad"])
    if name + ".grad" in trace.names:  # a parameter may be called so
        name, grad = (name + ".grad", False) if grad else (name, grad)
    value = _value(trace, name)
    index = None
    if match["index"] is not None:
        index = _index(match["index"], value, at)
    elif value.shape == ():
        index = ()
    return Place(value, index, grad)


def find_element(trace: Trace, at: str) -> tuple[Value, tuple[int, ...], bool]:
    """As :func:`find`, but one element must be named; of a value with one element it is that one."""
    place = find(trace, at)
    if place.index is None:
        if len(place.value.shape) and max(place.value.shape) > 1:
            example = element(place.value.name, tuple(n // 2 for n in place.value.shape))
            raise SeeError(f"{at!r} has shape {place.value.shape}: say which element, for example {example}")
        return place.value, (0,) * len(place.value.shape), place.grad
    return place.value, place.index, place.grad


def _value(trace: Trace, name: str) -> Value:
    if name in trace.names:
        return trace.names[name]
    number, _, output = name.removeprefix("#").partition(":")
    if name.startswith("#") and number.isdigit() and (output.isdigit() or not output):
        if int(number) >= len(trace.records):
            raise SeeError(f"there is no record {name}: this run has #0 to #{len(trace.records) - 1}")
        outputs = trace.records[int(number)].outputs
        return outputs[min(int(output or 0), len(outputs) - 1)]
    full = layer_path(trace.model, name)
    if full != name:
        return _value(trace, full)
    near = difflib.get_close_matches(name, trace.names, 5, 0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"it has {', '.join(list(trace.names)[:8])}, ..."
    raise SeeError(f"nothing is called {name!r} in this run; {hint}")


def layer_path(model: Any, name: str) -> str:
    """``conv2.weight`` with the path of the model's second convolution in the place of ``conv2``."""
    match = _NTH.match(name)
    if match is None or not hasattr(model, "named_modules"):
        return name
    kind = _LAYERS[match[1]]
    paths = [path for path, m in model.named_modules() if path and kind in type(m).__name__ and not m._modules]
    number = int(match[2])
    return paths[number - 1] + name[match.end() :] if 1 <= number <= len(paths) else name


def _index(text: str, value: Value, at: str) -> tuple[int, ...]:
    parts = [p.strip() for p in text.split(",")] if text.strip() else []
    if not all(re.fullmatch(r"-?\d+", p) for p in parts):
        raise SeeError(f"{at!r}: an element is named by whole numbers, as in {value.name}[0,1], not [{text}]")
    numbers = [int(p) for p in parts]
    if len(numbers) != len(value.shape):
        raise SeeError(
            f"{at!r}: {value.name} has shape {value.shape}, so an element has {len(value.shape)} numbers, not "
            f"{len(numbers)}"
        )
    for axis, (i, n) in enumerate(zip(numbers, value.shape)):
        if not -n <= i < n:
            raise SeeError(f"{at!r}: axis {axis} of {value.name} has length {n}, so {i} is outside 0 to {n - 1}")
    return tuple(i % n for i, n in zip(numbers, value.shape))
