"""The list of models: a constructor function for each name, and what is known about it.

It stands below the models, which put themselves into it when they are imported: ``import minidl.models`` brings the
networks of the papers, and a function of your own that :func:`register` decorates can be trained by its name as well.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from .nn import Module

F = TypeVar("F", bound="Callable[..., Module]")
Shape = tuple[int, ...]
Adapt = Callable[[Shape, int], dict[str, Any]]


class UnknownModelError(ValueError):
    """No model of that name; the message lists the nearest."""


class ModelOptionError(ValueError):
    """A model has no such option, or cannot take that value; the message says which it has."""


@dataclass(frozen=True)
class ModelInfo:
    """One entry of the zoo: how to make it, the input it was made for (C, H, W), and where it comes from.

    ``adapt(image shape, classes)`` gives the options for a data set to a model that takes any input; the others are
    asked by the names of their options.
    """

    name: str
    constructor: Callable[..., Module]
    input_shape: Shape
    source: str
    adapt: Adapt | None = None

    def options(self) -> dict[str, Any]:
        """Names and defaults of the constructor's options."""
        return {name: p.default for name, p in inspect.signature(self.constructor).parameters.items()}

    def parse_options(self, given: dict[str, Any]) -> dict[str, Any]:
        """Options as they come from a command line ("32", "784,100,10") in the types of their defaults.

        >>> import minidl.models
        >>> info("lenet5").parse_options({"pool": "max", "input_size": "28"})
        {'pool': 'max', 'input_size': 28}
        """
        known = self.options()
        parsed = {}
        for name, value in given.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else "."
                has = ", ".join(known) or "none"
                raise ModelOptionError(f"{self.name} has no option {name!r}{hint} Its options: {has}")
            try:
                parsed[name] = _like(known[name], value)
            except (ValueError, KeyError, TypeError):
                kind = _KINDS[type(known[name])]
                raise ModelOptionError(f"option {name} of {self.name} takes {kind}, not {value!r}") from None
        return parsed

    def for_data(self, image_shape: Shape, classes: int, given: dict[str, Any]) -> tuple[dict[str, Any], Shape]:
        """Options for images (C, H, W) of so many classes, and the input shape to bring the images to.

        >>> import minidl.models
        >>> info("lenet5").for_data((3, 40, 40), 7, {"pool": "max"})
        ({'num_classes': 7, 'in_channels': 3, 'pool': 'max'}, (3, 32, 32))
        """
        if self.adapt is not None:
            return {**self.adapt(image_shape, classes), **given}, image_shape
        known = self.options()
        fitting = {"num_classes": classes, "in_channels": image_shape[0]}
        options = {name: value for name, value in fitting.items() if name in known} | given
        c, h, w = self.input_shape
        side = options.get("input_size", h)
        return options, (options.get("in_channels", c), side, options.get("input_size", w))


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", tuple: "whole numbers with commas"}
_BOOLS = {"true": True, "false": False}


def _like(default: Any, value: Any) -> Any:
    """``value`` in the type of ``default``."""
    if isinstance(default, bool):
        return _BOOLS[str(value).lower()]
    if isinstance(default, (int, float)):
        return type(default)(value)
    if isinstance(default, tuple):
        return tuple(int(v) for v in (value.split(",") if isinstance(value, str) else value))
    return None if value in (None, "none") else str(value)


_MODELS: dict[str, ModelInfo] = {}
_RECOGNISERS: list[Callable[[str, Path], Any]] = []


def add_recogniser(function: Callable[[str, Path], Any]) -> None:
    """``function(model, file)`` says what is known of a public file of weights besides its arrays, or None."""
    _RECOGNISERS.append(function)


def recognise(model: str, file: Path) -> Any:
    """What a table of public weights knows of this file (``models.weights.PublicWeights``), or None."""
    return next((known for function in _RECOGNISERS if (known := function(model, file)) is not None), None)


def register(input_shape: Shape, source: str, adapt: Adapt | None = None) -> Callable[[F], F]:
    """Decorator: put a constructor function into the zoo under its own name."""

    def put(constructor: F) -> F:
        name = constructor.__name__
        if name in _MODELS:
            raise ValueError(f"two models are called {name!r}")
        _MODELS[name] = ModelInfo(name, constructor, input_shape, source, adapt)
        return constructor

    return put


def names() -> list[str]:
    """All names that :func:`create` knows, in alphabetical order."""
    return sorted(_MODELS)


def info(name: str) -> ModelInfo:
    """The entry of ``name``; UnknownModelError with the nearest names otherwise."""
    if not _MODELS:
        raise UnknownModelError(
            f"there is no model {name!r}: none is known yet. `import minidl.models` brings the networks of the papers"
        )
    if name not in _MODELS:
        near = difflib.get_close_matches(name.lower(), _MODELS, n=3, cutoff=0.4)
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        raise UnknownModelError(f"there is no model {name!r}{hint} `minidl models` lists all {len(_MODELS)}")
    return _MODELS[name]


def create(name: str, **options: Any) -> Module:
    """A new model by name, its weights freshly drawn; ``options`` go to its constructor.

    >>> import minidl.models
    >>> sum(p.numel() for p in create("lenet5", num_classes=10).parameters())
    61706
    """
    return info(name).constructor(**options)
