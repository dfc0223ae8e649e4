"""Public weights: which files there are (``weights.toml``), into the cache, out of the cache into a network.

>>> from minidl.models import weights
>>> file = weights.find("resnet50")
>>> file.name, file.url, file.top1
('resnet50.v1', 'https://download.pytorch.org/models/resnet50-0676ba61.pth', 76.13)
"""

from __future__ import annotations

import contextlib
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
from minidl.io import LoadReport, Weights, WeightsError, load_into, load_weights, read_metadata
from minidl.nn import Module
from minidl.predict.preprocess import PREPROCESS, Preprocess, with_fields

from . import pins

HERE = Path(__file__).parent
CACHE_VARIABLE = "MINIDL_CACHE"
CONVERTED = ("minidl.source", "minidl.source.sha256")  # metadata of a converted file: what it was made from


class UnknownWeightsError(ValueError):
    """There is no public file of that name in the table; the message lists what there is."""


@dataclass(frozen=True)
class PublicWeights:
    """One file of the table.

    ``top1`` and ``top5`` are the source's measurement in percent, with ``preprocess``; ``mib`` the size in units of
    2^20 bytes; both may be unknown.  ``sha256`` are the first digits at least.  ``options`` belong to the
    constructor.  ``drop`` are beginnings of names that the network lacks, ``aliases`` renamings for the others (see
    :func:`minidl.io.load_into`); ``background`` names the layer, as the file calls it, whose first output is none of
    the classes; ``read`` names the function, as "module.function" of this package, that reads a format of its own.
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
    background: str = ""
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

    @property
    def known_whole(self) -> bool:
        """Whether the table has all digits of the hash, and not only those that the publisher gives."""
        return len(self.sha256) == pins.DIGITS

    def trust(self, cache: str | os.PathLike[str] | None = None) -> str:
        """What a file is compared with: "whole" hash of the table, the one "noted here", or so many "digits"."""
        return "whole" if self.known_whole else "noted here" if self.pinned(cache) else f"{len(self.sha256)} digits"

    def pinned(self, cache: str | os.PathLike[str] | None = None) -> str | None:
        """The whole hash as the first download noted it, where the table has the first digits only; None without."""
        return None if self.known_whole or not self.address else pins.pinned(self.path(cache), self.sha256)

    def fetch(self, cache: str | os.PathLike[str] | None = None, progress: bool = True) -> Path:
        """The file in the cache, from the network if it is not there.

        Where the table has only the first digits of the hash, all of it is noted beside the file, in NAME.sha256 (and
        shown, with ``progress``), and compared from then on.

        :raises DataNotFoundError: it cannot be had; the message says what to put where.
        :raises DataError: something else came, or a file with the same first digits as the one that was noted.
        """
        path = self.path(cache)
        if not self.address:
            if path.is_file():
                return path
            raise DataNotFoundError(
                f"{self.name} has no public address: put {self.file} there, or name your file with --weights", path
            )
        fetch(self.name, path.parent, [RemoteFile(self.file, f"sha256:{self.sha256}")], self.address, progress)
        if not self.known_whole:
            self._compare_or_pin(path, progress)
        return path

    def _compare_or_pin(self, path: Path, tell: bool) -> None:
        found, noted = hash_of(path, "sha256"), pins.pinned(path, self.sha256)
        if noted is not None:
            pins.compare(path, noted, found)
        elif pins.pin(path, found) and tell:
            print(
                f"minidl: of the SHA-256 of {self.file} its publisher gives {self.sha256} only, which agrees. All of "
                f"it is\n  {found}\nIt is noted in {pins.note_of(path)} and compared from now on.",
                file=sys.stderr,
            )

    def verdict(self, cache: str | os.PathLike[str] | None = None) -> tuple[bool, str]:
        """Whether the file in the cache has its hash, and one line that says what was compared; all of it is read."""
        path, noted = self.path(cache), self.pinned(cache)
        if not path.is_file():
            return False, f"missing  {self.file}"
        found, wanted = hash_of(path, "sha256"), noted or self.sha256
        if not found.startswith(wanted):
            other = f", or {pins.note_of(path)} if you trust it" if noted else ""
            return False, f"WRONG    {self.file}: SHA-256 is {found}, not {wanted}; delete {path}{other}"
        if not wanted:
            return True, f"unknown  {self.file}: no hash of it is known; it is {found}"
        if len(wanted) < pins.DIGITS:
            note = f"`minidl weights get {self.name}` notes the whole"
            return True, f"digits   {self.file}: its publisher's {wanted} of {found}; {note}"
        return True, f"whole    {self.file}: the SHA-256 {'noted here' if noted else 'of the table'}, {found}"

    def arrays(self, path: str | os.PathLike[str], key: str | None = None) -> Weights:
        """The arrays of a file of this kind, or of one that `minidl convert` made of it; ``read`` is done."""
        if not self.read or CONVERTED[0] in _metadata(path):
            return load_weights(path, key)
        if key is not None:
            raise WeightsError(path, f"key={key!r} chooses inside PyTorch files; {self.name} has one set of weights")
        module, _, function = self.read.partition(".")
        arrays = getattr(importlib.import_module(f"minidl.models.{module}"), function)(Path(path))
        return Weights(arrays, path=os.fspath(path))

    def load(self, model: Module, path: str | os.PathLike[str], head: str | Sequence[str] = "auto") -> LoadReport:
        """The arrays of a file of this kind into ``model``; all but the head for another number of classes.

        ``head`` names layers that keep their new weights in any case, as in :func:`minidl.io.load_into`.
        """
        arrays = self.arrays(path)
        for name in [name for name in arrays if name.startswith(self.drop)]:
            del arrays[name]
        if self.background:
            for name in (f"{self.background}.weight", f"{self.background}.bias"):
                if name in arrays:
                    arrays[name] = arrays[name][1:]
        return load_into(model, arrays, aliases=self.aliases, head=head)


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


# ---- files ---------------------------------------------------------------------------------------------------------


def _metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    try:
        return read_metadata(path)
    except WeightsError:  # whoever reads the arrays will say what is wrong with the file
        return {}


def source_of(path: str | os.PathLike[str]) -> tuple[list[PublicWeights], str]:
    """The rows of the table whose file this is, told by its SHA-256, and that hash.

    A file made by `minidl convert` says which one it was made from, and counts as that.  One file may belong to
    several networks (with auxiliary heads and without).

    :raises WeightsError: a public file is called so, and has another hash.
    :raises DataError: it begins with the digits of a public file, but is not as noted in the cache.
    """
    found = _metadata(path).get(CONVERTED[1]) or hash_of(Path(path), "sha256")
    rows = [entry for entries in table().values() for entry in entries if entry.sha256]
    known = [entry for entry in rows if found.startswith(entry.sha256)]
    for entry in rows:
        if not known and entry.address and entry.file == Path(path).name:  # before it computes something else
            raise WeightsError(
                path,
                f"it is called like {entry.name} of `minidl weights list`, whose SHA-256 begins with "
                f"{entry.sha256[:8]}, but has another: it is damaged, or needs another name",
            )
    for entry in known:
        if noted := entry.pinned():
            pins.compare(entry.path(), noted, found, Path(path))
    return known, found


def choose(name: str, given: str | os.PathLike[str] | None = None) -> tuple[Path | None, PublicWeights | None]:
    """The weights that are meant for a network: a file, or None where it is one to be fetched; and what is known of it.

    ``given`` is a file: a public one is recognised, and ``name`` may say that it holds the same arrays as one
    ("resnet50.v2").  Or it is a name itself, "resnet50.v2" or only "v2"; without it ``name`` is.  Nothing is fetched:
    :meth:`PublicWeights.fetch` does that.

    :raises UnknownWeightsError: none of that name, or a public file of other networks.
    :raises WeightsError: a public file is called so, and has another hash.
    :raises DataNotFoundError: no such file.

    >>> path, entry = choose("resnet50", "v2")
    >>> path, entry.name
    (None, 'resnet50.v2')
    """
    model, _, tag = name.partition(".")
    if given is not None and Path(given).is_file():
        known = [find(name)] if tag else source_of(given)[0]
        of_model = [entry for entry in known if entry.model == model]
        if known and not of_model:
            names = ", ".join(entry.name for entry in known)
            raise UnknownWeightsError(f"{os.fspath(given)} is {names} of `minidl weights list`, no file for {model}")
        return Path(given), of_model[0] if of_model else None
    return None, find(name) if given is None else _called(model, os.fspath(given))


def locate(
    name: str,
    given: str | os.PathLike[str] | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> tuple[Path, PublicWeights | None]:
    """The same as :func:`choose`, and a public file that was named is taken from the cache or fetched.

    :raises DataNotFoundError: no such file, or it could not be fetched.
    """
    path, entry = choose(name, given)
    if path is None and entry is not None:
        path = entry.fetch(cache, progress)
    assert path is not None
    return path, entry


registry.choose_with(choose)


def _called(model: str, text: str) -> PublicWeights:
    """The file of ``model`` with that name, or with the name it has for another network."""
    own = table().get(model, [])
    has = f"`minidl weights list`, which has {', '.join(entry.name for entry in own) or 'nothing'} for {model}"
    if not text:
        raise UnknownWeightsError(f"an empty text names no weights: see {has}")
    found = None
    for name in (f"{model}.{text}", text):
        with contextlib.suppress(UnknownWeightsError):
            found = found or find(name)
    for entry in own:
        if found is not None and found.file == entry.file:
            return entry
    if found is not None:
        raise UnknownWeightsError(f"{found.name} are weights of another network: see {has}")
    what = "this is a folder" if Path(text).is_dir() else "there is no such file of weights"
    raise DataNotFoundError(f"{what}, and no such name in {has}", text)


def create(
    name: str,
    *,
    pretrained: bool | str | os.PathLike[str] | None = False,
    cache: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Module:
    """A new model by name; ``options`` go to its constructor.

    Its weights are freshly drawn, or, with ``pretrained``, public ones: True for the first file of the network in
    `minidl weights list`, or which one, such as "v2".  They are fetched once into ``cache`` (a folder; None for the
    user's cache folder).  Or ``pretrained`` is a file of weights.  With a public file, also one that `minidl convert`
    has made, come the options that belong to it.  With another ``num_classes`` than theirs the last layer stays
    freshly drawn.

    >>> from minidl import models
    >>> sum(p.numel() for p in models.create("lenet5", num_classes=10).parameters())
    61706
    """
    if pretrained is None or pretrained is False:
        return registry.create(name, **options)
    if pretrained is not True and not isinstance(pretrained, (str, os.PathLike)):
        raise registry.ModelOptionError(
            f'pretrained is True, a name such as "v2" of `minidl weights list`, or a file, not {pretrained!r}'
        )
    return create_pretrained(name, None if pretrained is True else pretrained, cache=cache, **options)


def create_pretrained(
    name: str,
    which: str | os.PathLike[str] | None = None,
    *,
    cache: str | os.PathLike[str] | None = None,
    progress: bool = True,
    **options: Any,
) -> Module:
    """The network ``name`` with weights, in training mode like any new one; see :func:`create` and :func:`locate`."""
    registry.info(name).check(options)  # before anything is fetched
    path, entry = locate(name, which, cache, progress)
    model = registry.create(name, **{**(entry.options if entry else {}), **options})
    if entry is not None:
        entry.load(model, path)
    else:
        load_into(model, path, head="auto" if "num_classes" in options else None)
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
