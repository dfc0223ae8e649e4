"""The list of models: a constructor function for each name, and what is known about it.

It stands below the models, which put themselves into it when they are imported: ``import minidl.models`` brings the
networks of the papers, and a function of your own that :func:`register` decorates can be trained by its name as well.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

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

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The constructor's options as Python sees them."""
        return inspect.signature(self.constructor).parameters

    def options(self) -> dict[str, Any]:
        """Names and defaults of the constructor's options."""
        return {name: p.default for name, p in self.parameters.items() if p.kind not in _ANY}

    def parse_options(self, given: dict[str, Any]) -> dict[str, Any]:
        """Options as they come from a command line ("32", "784,100,10") in the types of their defaults.

        >>> import minidl.models
        >>> info("lenet5").parse_options({"pool": "max", "input_size": "28"})
        {'pool': 'max', 'input_size': 28}
        """
        known = self.parameters
        parsed = {name: _read(known[name], value) if name in known else value for name, value in given.items()}
        self.check(parsed)
        return parsed

    def check(self, given: Mapping[str, Any]) -> None:
        """Raise ModelOptionError where the model has no such option, or the option cannot have that value.

        The type is that of the option's default.  What a number may be is told by the option's name (``RANGES``).
        Words, and what depends on several options, are for the models to check.
        """
        known = self.options()
        for name, value in given.items():
            if name in known:
                wanted = _wanted(self.parameters[name], value)
                if wanted:
                    raise ModelOptionError(f"option {name} of {self.name} takes {wanted}, not {value!r}")
            elif not any(p.kind is p.VAR_KEYWORD for p in self.parameters.values()):
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else "."
                if name == "pretrained":  # of models.create, which reads weights as well
                    hint = f": models.create({self.name!r}, pretrained={value!r}) loads weights."
                has = ", ".join(known) or "none"
                raise ModelOptionError(f"{self.name} has no option {name!r}{hint} Its options: {has}")

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


# What numbers may be that have these names, in any model: the words of the message, and the test
_COUNT = (" of at least 1", lambda v: v >= 1)
_SHARE = (" of at least 0 and below 1", lambda v: 0 <= v < 1)
_FACTOR = (" above 0", lambda v: v > 0)
RANGES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("num_classes", "in_channels", "input_size", "stem_maps", "growth_rate", "sizes"), _COUNT),
    **dict.fromkeys(("dropout", "input_dropout", "drop_path"), _SHARE),
    **dict.fromkeys(("width", "depth", "eps"), _FACTOR),
    "final_padding": (" of at least 0", lambda v: v >= 0),
}

_ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_KINDS: dict[type, tuple[str, str]] = {  # of one, of several
    bool: ("true or false", "true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a word", "words"),
}
_BOOLS = {"true": True, "false": False}


def _wanted(option: inspect.Parameter, value: Any) -> str:
    """What an option takes, in words, where ``value`` is none of it; nothing where it is, or where nobody knows."""
    default = option.default
    several = isinstance(default, tuple) and len(default) > 0
    kind = type(default[0] if several else default)
    if kind not in _KINDS or (value is None and _may_be_none(option)):
        return ""
    text, holds = RANGES.get(option.name, ("", lambda v: True))
    wanted = _KINDS[kind][several] + text
    if several:
        wanted += f" with commas, as {_text(default)}"
    values = value if several and isinstance(value, (tuple, list)) else None if several else (value,)
    return "" if values is not None and all(_is(kind, v) and holds(v) for v in values) else wanted


def _may_be_none(option: inspect.Parameter) -> bool:
    return option.annotation is option.empty or "None" in str(option.annotation)


def _is(kind: type, value: Any) -> bool:
    """Whether ``value`` stands for a ``kind``: numbers of NumPy do, 3.0 and True are no whole numbers."""
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is float:
        return isinstance(value, numbers.Real) and math.isfinite(value)
    return isinstance(value, numbers.Integral) if kind is int else isinstance(value, kind)


def _read(option: inspect.Parameter, value: Any) -> Any:
    """``value``, if it is a text, in the type of the option's default; as it is where that cannot be."""
    default = option.default
    if value == "none" and _may_be_none(option):
        return None
    try:
        if isinstance(default, tuple) and default:
            values = value.split(",") if isinstance(value, str) else value
            return tuple(_as(type(default[0]), v) for v in values)
        return _as(type(default), value)
    except (ValueError, KeyError, TypeError):
        return value


def _as(kind: type, value: Any) -> Any:
    if not isinstance(value, str) or kind not in (bool, int, float):
        return value
    return _BOOLS[value.strip().lower()] if kind is bool else kind(value)


def _text(values: tuple[Any, ...]) -> str:
    """As a command line has them."""
    return ",".join(str(value).lower() for value in values)


_MODELS: dict[str, ModelInfo] = {}
_CHOOSE: list[Callable[[str, str], tuple[Path | None, Any]]] = []


def choose_with(function: Callable[[str, str], tuple[Path | None, Any]]) -> None:
    """``function(model, weights)`` finds files of weights; see :func:`choose`."""
    _CHOOSE.append(function)


def choose(model: str, weights: str) -> tuple[Path | None, Any]:
    """The file that is meant by ``weights``, its path or a name of public weights, and what is known of it.

    Nothing is fetched: of a public file that was named the path is None.  By the table of public weights
    (``models.weights.choose``, ``PublicWeights``); as long as the networks of the papers are not imported a path is a
    path, and nothing is known.
    """
    return _CHOOSE[-1](model, weights) if _CHOOSE else (Path(weights), None)


def register(input_shape: Shape, source: str, adapt: Adapt | None = None) -> Callable[[F], F]:
    """Decorator: put a constructor function into the zoo under its own name.

    The function that comes back looks at its options before it builds anything (:meth:`ModelInfo.check`), so that
    ``models.resnet50(num_classes=-3)`` and ``models.create("resnet50", num_classes=-3)`` say the same.  Classes such as
    ``models.ResNet`` leave numbers that cannot be to their layers.
    """

    def put(constructor: F) -> F:
        name = constructor.__name__
        if name in _MODELS:
            raise ValueError(f"two models are called {name!r}")

        @functools.wraps(constructor)
        def checked(*args: Any, **options: Any) -> Module:
            entry.check({**dict(zip(entry.options(), args)), **options})
            return constructor(*args, **options)

        entry = _MODELS[name] = ModelInfo(name, checked, input_shape, source, adapt)
        return cast(F, checked)

    return put


def names(filter: str = "") -> list[str]:
    """The names that :func:`create` knows, in alphabetical order: all, or those that contain ``filter``.

    >>> import minidl.models
    >>> names("resnet15")
    ['preact_resnet152', 'resnet152', 'resnet152_v1', 'se_resnet152']
    """
    return sorted(name for name in _MODELS if filter in name)


def info(name: str) -> ModelInfo:
    """The entry of ``name``; UnknownModelError with the nearest names otherwise."""
    if not _MODELS:
        raise UnknownModelError(
            f"there is no model {name!r}: none is known yet. `import minidl.models` brings the networks of the papers"
        )
    if name not in _MODELS:
        longer = [known for known in _MODELS if known.endswith("_" + name.lower())]  # resnet20: cifar_resnet20
        alike = difflib.get_close_matches(name.lower(), _MODELS, n=3, cutoff=0.4)
        near = list(dict.fromkeys(longer + alike))[:3]
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        raise UnknownModelError(f"there is no model {name!r}{hint} `minidl models` lists all {len(_MODELS)}")
    return _MODELS[name]


def create(name: str, **options: Any) -> Module:
    """A new model by name, its weights freshly drawn; ``options`` go to its constructor.

    :raises UnknownModelError: there is no such model.
    :raises ModelOptionError: it has no such option, or the option cannot have that value.

    >>> import minidl.models
    >>> try:
    ...     create("lenet5", num_classes=0)
    ... except ModelOptionError as error:
    ...     print(error)
    option num_classes of lenet5 takes a whole number of at least 1, not 0
    >>> sum(p.numel() for p in create("lenet5", num_classes=10).parameters())
    61706
    """
    return info(name).constructor(**options)
