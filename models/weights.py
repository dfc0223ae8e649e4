"""Public weights: which files there are (``weights.toml``), into the cache, out of the cache into a network.

>>> from minidl.models import weights
>>> file = weights.find("resnet50")
>>> file.name, file.url, file.top1
('resnet50.v1', 'https://download.pytorch.org/models/resnet50-0676ba61.pth', 76.13)
"""

from __future__ import annotations

import difflib
import functools
import importlib
import os
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minidl import registry
from minidl.data.download import RemoteFile, fetch, hash_of
from minidl.data.errors import DataNotFoundError
from minidl.io import LoadReport, Weights, load_into, load_weights
from minidl.nn import Module
from minidl.predict.preprocess import PREPROCESS, Preprocess, with_fields

HERE = Path(__file__).parent
CACHE_VARIABLE = "MINIDL_CACHE"


class UnknownWeightsError(ValueError):
    """There is no public file of that name in the table; the message lists what there is."""


@dataclass(frozen=True)
class PublicWeights:
    """One file of the table.

    ``top1`` and ``top5`` are the source's measurement in percent, with ``preprocess``; ``mib`` the size in units of
    2^20 bytes; both may be unknown.  ``sha256`` are the first digits at least.  ``options`` belong to the
    constructor.  ``drop`` are beginnings of names that the network lacks, ``aliases`` renamings for the others (see
    :func:`minidl.io.load_into`); ``background`` says that the first output is none of the classes; ``read`` names the
    function, as "module.function" of this package, that reads a format of its own.
    """

    model: str
    tag: str
    file: str
    sha256: str
    address: tuple[str, ...]
    licence: str
    page: str
    classes: str
    preprocess: Preprocess
    mib: float | None = None
    top1: float | None = None
    top5: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    background: bool = False
    read: str = ""

    @property
    def name(self) -> str:
        """ "resnet50.v1": the network and which of its files."""
        return f"{self.model}.{self.tag}"

    @property
    def url(self) -> str:
        """Where the file is published; empty where there is no address."""
        return self.address[0] + self.file if self.address else ""

    def path(self, cache: str | os.PathLike[str] | None = None) -> Path:
        """Where the file lies in the cache, or would."""
        return cache_folder(cache) / self.file

    def fetch(self, cache: str | os.PathLike[str] | None = None, progress: bool = True) -> Path:
        """The file in the cache, from the network if it is not there.

        :raises DataNotFoundError: it cannot be had; the message says what to put where.
        :raises DataError: something else came.
        """
        path = self.path(cache)
        if not self.address:
            if path.is_file():
                return path
            raise DataNotFoundError(
                f"{self.name} has no public address: put {self.file} there, or name your file with --weights", path
            )
        fetch(self.name, path.parent, [RemoteFile(self.file, f"sha256:{self.sha256}")], self.address, progress)
        return path

    def load(self, model: Module, path: str | os.PathLike[str], head: str | Sequence[str] = "auto") -> LoadReport:
        """The arrays of a file of this kind into ``model``; all but the head for another number of classes.

        ``head`` names layers that keep their new weights in any case, as in :func:`minidl.io.load_into`.
        """
        if self.read:
            module, _, function = self.read.partition(".")
            arrays = getattr(importlib.import_module(f"minidl.models.{module}"), function)(Path(path))
        else:
            arrays = load_weights(path)
        prefix = arrays.prefix if isinstance(arrays, Weights) else ""
        kept = {name: array for name, array in arrays.items() if not name.startswith(self.drop or ("\0",))}
        if self.background:  # the last layer's weight and bias
            for name in list(kept)[-2:]:
                kept[name] = kept[name][1:]
        return load_into(model, Weights(kept, prefix=prefix), aliases=self.aliases, head=head)


@functools.cache
def table() -> dict[str, list[PublicWeights]]:
    """The files of each network, in the order of the table; read once."""
    with (HERE / "weights.toml").open("rb") as file:
        content = tomllib.load(file)
    return {
        model: [_entry(model, row, content["sources"][row["source"]]) for row in rows]
        for model, rows in content["files"].items()
    }


def _entry(model: str, row: Mapping[str, Any], source: Mapping[str, Any]) -> PublicWeights:
    values = dict(source) | {name: value for name, value in row.items() if name != "source"}
    preprocess: dict[str, Any] = {
        name: values.pop(name) for name in ("resize", "crop", "interpolation") if name in values
    }
    values["preprocess"] = with_fields(PREPROCESS[values["preprocess"]], preprocess)
    if "sha256" not in values:  # the publishers' rule: the first digits stand in the name
        digits = re.search(r"-([0-9a-f]{8,64})\.\w+$", values["file"])
        values["sha256"] = digits.group(1) if digits else ""
    values["address"], values["drop"] = tuple(values["address"]), tuple(values.get("drop", ()))
    return PublicWeights(model=model, **values)


def names() -> list[str]:
    """All names, such as "resnet50.v2", in the order of the table."""
    return [entry.name for entries in table().values() for entry in entries]


def find(name: str) -> PublicWeights:
    """The file of a name ("resnet50.v2"), or the first one of a network ("resnet50").

    :raises UnknownWeightsError: none of that name.
    """
    model, _, tag = name.partition(".")
    entries = table().get(model, [])
    for entry in entries:
        if tag in ("", entry.tag):
            return entry
    if entries:
        has = ", ".join(entry.name for entry in entries)
        raise UnknownWeightsError(f"there are no weights {name!r}; of {model} there are {has}")
    near = difflib.get_close_matches(model, table(), n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    raise UnknownWeightsError(f"no public weights of {model!r} are known{hint} `minidl weights list` shows all")


def recognise(model: str, path: str | os.PathLike[str]) -> PublicWeights | None:
    """Which of a network's public files this is, told by its hash."""
    known = table().get(model, [])
    found = hash_of(Path(path), "sha256") if known else ""
    return next((entry for entry in known if entry.sha256 and found.startswith(entry.sha256)), None)


registry.add_recogniser(recognise)


def create(
    name: str, *, pretrained: bool | str = False, cache: str | os.PathLike[str] | None = None, **options: Any
) -> Module:
    """A new model by name; ``options`` go to its constructor.

    Its weights are freshly drawn, or, with ``pretrained``, public ones: True for the first file of the network in
    `minidl weights list`, or which one, such as "v2".  They are fetched once into ``cache`` (a folder; None for the
    user's cache folder).  With another ``num_classes`` than theirs the last layer stays freshly drawn.

    >>> from minidl import models
    >>> sum(p.numel() for p in models.create("lenet5", num_classes=10).parameters())
    61706
    """
    if pretrained:
        return create_pretrained(name, "" if pretrained is True else pretrained, cache=cache, **options)
    return registry.create(name, **options)


def create_pretrained(
    name: str,
    tag: str = "",
    *,
    cache: str | os.PathLike[str] | None = None,
    progress: bool = True,
    **options: Any,
) -> Module:
    """The network ``name`` with public weights, in training mode like any new one; ``options`` as for ``create``.

    With another ``num_classes`` all is loaded but the last layer, which is freshly drawn.
    """
    constructor = registry.info(name).constructor
    entry = find(f"{name}.{tag}" if tag else name)
    path = entry.fetch(cache, progress)
    model = constructor(**{**entry.options, **options})
    entry.load(model, path)
    return model


# ---- the cache -----------------------------------------------------------------------------------------------------


def cache_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """Where files of weights are kept: ``given``, else the variable MINIDL_CACHE, else the user's cache folder.

    That is ``~/.cache/minidl/weights`` (or below ``XDG_CACHE_HOME``) on Linux, ``~/Library/Caches/minidl/weights`` on
    macOS and ``%LOCALAPPDATA%/minidl/weights`` on Windows.

    >>> cache_folder("/somewhere/else").as_posix()
    '/somewhere/else'
    """
    if given is not None or os.environ.get(CACHE_VARIABLE):
        return Path(given if given is not None else os.environ[CACHE_VARIABLE]).expanduser()
    return user_cache(sys.platform, os.environ, Path.home()) / "minidl" / "weights"


def user_cache(platform: str, environment: Mapping[str, str], home: Path) -> Path:
    """The folder for what programs may lose, by the rule of each system."""
    if platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local")
    if platform == "darwin":
        return home / "Library" / "Caches"
    named = Path(environment.get("XDG_CACHE_HOME") or ".")  # a relative path there is to be ignored
    return named if named.is_absolute() else home / ".cache"


# ---- classes -------------------------------------------------------------------------------------------------------


@functools.cache
def imagenet_classes() -> tuple[tuple[str, str], ...]:
    """(WordNet number, name) of the 1,000 classes of ILSVRC 2012, in the order of the networks' outputs.

    >>> imagenet_classes()[207]
    ('n02099601', 'golden retriever')
    """
    lines = (HERE / "imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    return tuple((line[:9], line[10:]) for line in lines)


def class_names(kind: str) -> tuple[str, ...]:
    """Names of "imagenet", "cifar10" or "mnist"; two of ImageNet's names stand for two classes each."""
    if kind == "imagenet":
        return tuple(name for _, name in imagenet_classes())
    from minidl.data import CIFAR10, MNIST

    return tuple({"cifar10": CIFAR10, "mnist": MNIST}[kind].classes)
