"""Weights from a file into a model: strictly, with what changed since they were saved set right and told."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import WeightsError
from .named import Weights
from .weights import load_weights

if TYPE_CHECKING:
    from ..nn import Module

Shape = tuple[int, ...]

# Names of old checkpoints and what they are now; applied only to names that the model lacks, where it has the new one
_KNOWN_RENAMINGS = (
    (r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),  # DenseNet for PyTorch before 0.4: norm.1 -> norm1
    (r"(^|\.)gamma$", r"\1weight"),  # normalisation, as TensorFlow calls it
    (r"(^|\.)beta$", r"\1bias"),
)


@dataclass
class LoadReport:
    """What `load_into` did: how many arrays it loaded, what it renamed and what it left out.

    ``skipped`` has (shape in the file, shape in the model) by name; ``missing`` and ``unexpected`` are empty after
    strict loading. As a text it is one line for each kind.

    >>> print(LoadReport(62, skipped={"fc.weight": ((1000, 512), (10, 512))}))
    62 arrays loaded
    not loaded, so still as initialised: fc.weight (file (1000, 512), model (10, 512))
    """

    loaded: int
    renamed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, tuple[Shape | None, Shape]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.loaded} arrays loaded"]
        if self.renamed:
            lines.append("renamed: " + _some(f"{old} -> {new}" for old, new in self.renamed.items()))
        if self.skipped:
            pairs = (f"{name} (file {file or 'without it'}, model {own})" for name, (file, own) in self.skipped.items())
            lines.append("not loaded, so still as initialised: " + _some(pairs))
        if self.missing:
            lines.append("not in the file, so as they were: " + _some(self.missing))
        if self.unexpected:
            lines.append("in the file only: " + _some(self.unexpected))
        return "\n".join(lines)


def load_into(
    model: Module,
    weights: str | os.PathLike[str] | Mapping[str, Any],
    strict: bool = True,
    *,
    aliases: Mapping[str, str] | None = None,
    head: str | Iterable[str] | None = None,
    key: str | None = None,
) -> LoadReport:
    """Load a file of weights (see `load_weights`), or arrays by name, into a model.

    ``strict``: every name of both sides fits, or StateDictError lists what is missing, unexpected and of another
    shape with the nearest names, and nothing is changed. ``strict=False`` loads what fits by name.

    ``aliases`` are renamings, as regular expressions and their replacements, applied to all names of the file in
    their order: ``{r"^backbone\\.": ""}``. Known renamings of old files (DenseNet's "norm.1" for "norm1", "gamma"
    and "beta") are applied by themselves where the model has the new name.

    ``head`` leaves the last layer as it is, for another number of classes than that of the file: "auto" where only
    the number of outputs differs (also in auxiliary heads), or the names of the layers, such as "fc". The report says
    which were left. ``key`` chooses one of several sets of weights in the file.

    >>> import minidl
    >>> of_1000, of_10 = minidl.nn.Linear(4, 1000), minidl.nn.Linear(4, 10)
    >>> print(load_into(of_10, of_1000.state_dict(), head="auto"))
    0 arrays loaded
    not loaded, so still as initialised: weight (file (1000, 4), model (10, 4)), bias (file (1000,), model (10,))
    """
    from ..nn import StateDictError

    source = weights if isinstance(weights, Mapping) else load_weights(weights, key)
    file = getattr(source, "path", "") or "the weights"
    own = model.state_dict()
    prefix = source.prefix if isinstance(source, Weights) else ""
    if prefix and all(name.startswith(prefix) for name in own):  # not of DataParallel: the model's own name
        source = {prefix + name: value for name, value in source.items()}
    state, renamed = _renamed(source, own, aliases or {}, file)
    shapes = {name: tuple(getattr(value, "shape", ())) for name, value in state.items()}
    skipped = _head(head, shapes, {name: tuple(value.shape) for name, value in own.items()})
    kept = {name: value for name, value in state.items() if name not in skipped}
    try:
        found = model.load_state_dict(kept | {name: own[name] for name in skipped}, strict)
    except StateDictError as error:
        raise StateDictError(
            f"{file}: {error.problem}{_advice(head, shapes, own, error.mismatched_keys)}",
            error.missing_keys, error.unexpected_keys, error.mismatched_keys,
        ) from error  # fmt: skip
    loaded = len(kept) - len(found.unexpected_keys)
    return LoadReport(loaded, renamed, skipped, found.missing_keys, found.unexpected_keys)


def _renamed(
    source: Mapping[str, Any], own: Mapping[str, Any], aliases: Mapping[str, str], file: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """The arrays by the model's names, and which names changed."""
    state: dict[str, Any] = {}
    renamed = {}
    for old, value in source.items():
        name = old
        for pattern, replacement in aliases.items():
            name = re.sub(pattern, replacement, name)
        if name not in own:
            known = (re.sub(pattern, replacement, name) for pattern, replacement in _KNOWN_RENAMINGS)
            name = next((new for new in known if new in own and new not in source), name)
        if name in state:
            raise WeightsError(file, f"two arrays would be called {name!r}, one of them was {old!r}: see the aliases")
        state[name] = value
        if name != old:
            renamed[old] = name
    return state, renamed


def _head(
    head: str | Iterable[str] | None, given: Mapping[str, Shape], own: Mapping[str, Shape]
) -> dict[str, tuple[Shape | None, Shape]]:
    """The arrays that are not loaded, with their shapes in the file and in the model."""
    if head is None:
        return {}
    if head == "auto":
        names = _other_number_of_classes(given, own)
    else:
        layers = [head] if isinstance(head, str) else list(head)
        for layer in layers:
            if not any(_layer_of(name) == layer or name.startswith(f"{layer}.") for name in own):
                known = _some(dict.fromkeys(filter(None, (_layer_of(name) for name in list(own)[::-1]))))
                raise ValueError(f"head={layer!r} is no layer with weights of this model. The last ones are: {known}")
        names = [name for name in own if any(_layer_of(name) == x or name.startswith(f"{x}.") for x in layers)]
    return {name: (given.get(name), own[name]) for name in names}


def _other_number_of_classes(given: Mapping[str, Shape], own: Mapping[str, Shape]) -> list[str]:
    """Names where only the first axis differs, by the same two numbers everywhere and also in the last layer."""
    differing = [name for name in own if name in given and given[name] != own[name]]
    outputs = {(given[n][:1], own[n][:1]) for n in differing if given[n][1:] == own[n][1:]}
    same = all(given[name][1:] == own[name][1:] for name in differing)
    in_last_layer = bool(own) and _layer_of(list(own)[-1]) in {_layer_of(name) for name in differing}
    return differing if same and len(outputs) == 1 and in_last_layer else []


def _advice(head: Any, given: Mapping[str, Shape], own: Mapping[str, Any], mismatched: list[str]) -> str:
    shapes = {name: tuple(value.shape) for name, value in own.items()}
    if head is None and mismatched and _other_number_of_classes(given, shapes) == mismatched:
        return '\n  the number of classes differs: head="auto" loads all the rest and leaves the last layer as it is'
    return ""


def _layer_of(name: str) -> str:
    return name.rpartition(".")[0]


def _some(texts: Iterable[str]) -> str:
    listed = list(texts)
    return ", ".join(listed[:6]) + (f" and {len(listed) - 6} more" if len(listed) > 6 else "")
