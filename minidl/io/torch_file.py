"""PyTorch's checkpoints (``.pth``, ``.pt``, ``.th``) without PyTorch, and without running what they say.

Two formats are read, told by their first bytes (the source for both: torch/serialization.py of PyTorch):

- since 1.6: a zip archive with one pickle, ``NAME/data.pkl``, and the bytes of each storage in ``NAME/data/KEY``;
- before: five pickles in a row (a magic number, the version, the machine, the object, the keys of the storages),
  then for each key the number of elements in 8 bytes and the elements, little endian on all machines.

Memory stays within a small multiple of the file's size, whatever the file says: entries are stored, not compressed,
nothing is read twice, the pickles are limited, and the arrays are views of their storages.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from .errors import refusing
from .named import Weights
from .pickles import finished, shown, trouble
from .torch_pickle import Storage, StoredTensor, TorchUnpickler

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_MOST_PICKLED = 32 << 20  # bytes of structure: names, shapes, options; a large model has one or two MB
_CHUNK = 1 << 20
_DEEPEST = 32  # dictionaries in dictionaries
_MOST_EXTRA = 10_000  # plain values beside the weights, written out
_PREFIXES = ("module.", "_orig_mod.")  # of nn.DataParallel and torch.compile
_USUAL_KEYS = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "weights", "params",
    "state", "student", "teacher",
)  # fmt: skip


def load_torch(path: str | os.PathLike[str], key: str | None = None, strip_prefix: bool = True) -> Weights:
    """Read the weights of a PyTorch checkpoint, of the zip format or the older one.

    Returns arrays by name in the order of the file, with the dtypes of the file; bfloat16, which NumPy lacks, as
    float32, which holds each value exactly. Tensors that shared memory share it here too. In nested files the usual
    places are looked into ("state_dict", "model", ...), or ``key``; what stands beside the weights and is simple is
    in ``.extra``, everything else (the state of an optimizer) is left out. A prefix of all names ("module." of
    DataParallel, "_orig_mod." of torch.compile) is taken off and kept in ``.prefix``, unless ``strip_prefix=False``.

    Nothing in the file is executed or imported; a model that was saved whole, or any other object, is refused.
    Raises WeightsError with the reason, FileNotFoundError.

    >>> import pathlib, tempfile
    >>> from minidl.io import save_torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.pth")
    ...     save_torch(path, {"module.fc.weight": np.eye(2, 3, dtype=np.float16)})
    ...     weights = load_torch(path)
    >>> {name: (array.shape, str(array.dtype)) for name, array in weights.items()}, weights.prefix
    ({'fc.weight': ((2, 3), 'float16')}, 'module.')
    """
    with refusing(path, lambda error: f"not a usable PyTorch file: {trouble(error)}"), open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        return _load(_opened(file, size), size, key, strip_prefix)


def _load(source: _Zip | _Older, size: int, key: str | None, strip_prefix: bool) -> Weights:
    found = _find(source.value, key)
    tensors = {name: value for name, value in found.state.items() if isinstance(value, StoredTensor)}
    _check_total(found.state.values(), size)
    source.read(tensor.storage for tensor in tensors.values())
    arrays = {
        name: tensors[name].array() if name in tensors else value
        for name, value in found.state.items()
        if _is_array(value) and isinstance(name, str)
    }
    prefix = _common_prefix(arrays) if strip_prefix else ""
    arrays = {name[len(prefix) :]: array for name, array in arrays.items()}
    return Weights(arrays, extra=_plain_values(found.beside), key=found.key, prefix=prefix)


# The two formats ---------------------------------------------------------------------------------------


def _opened(file: BinaryIO, size: int) -> _Zip | _Older:
    start = file.read(4)
    file.seek(0)
    return _Zip(file, size) if start == b"PK\x03\x04" else _Older(file, size)


class _Zip:
    """The format since PyTorch 1.6. ``value`` is the object, its tensors not read yet."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.archive, self.room = zipfile.ZipFile(file), size
        self.members = {member.filename: member for member in self.archive.infolist()}
        if len(self.members) != len(self.archive.infolist()):
            raise ValueError("the archive has two entries of one name")
        pickles = [name for name in self.members if f"/{name}".endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"the archive has {len(pickles)} entries data.pkl instead of one")
        self.folder = pickles[0].removesuffix("data.pkl")
        if f"{self.folder}constants.pkl" in self.members:
            raise ValueError("it is a TorchScript program; save the weights: torch.save(module.state_dict(), path)")
        self.checked = self.members[pickles[0]].CRC != 0  # torch.serialization.set_crc32_options(False) writes zeros
        if self.members[pickles[0]].file_size > _MOST_PICKLED:
            raise ValueError(f"more than {_MOST_PICKLED:,} bytes of structure")
        self.reader = TorchUnpickler(io.BytesIO(self._bytes("data.pkl").data))
        self.value = finished(self.reader.load(), _DEEPEST)
        order = self._bytes("byteorder").tobytes() if f"{self.folder}byteorder" in self.members else b"little"
        if order not in (b"little", b"big"):
            raise ValueError(f"byte order {shown(order)}")
        self.order = order.decode()

    def read(self, wanted: Iterable[Storage]) -> None:
        for storage in wanted:
            if storage.root.raw is None:
                root = storage.root
                root.raw, root.order = self._bytes(f"data/{root.key}", root.nbytes), self.order

    def _bytes(self, name: str, expected: int | None = None) -> np.ndarray:
        """All bytes of one entry, which is stored as it is and not larger than the file."""
        member = self.members.get(f"{self.folder}{name}")
        if member is None:
            raise ValueError(f"the archive has no entry {shown(name)}")
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise ValueError(f"the entry {shown(name)} is compressed, which PyTorch never does")
        if expected is not None and member.file_size != expected:
            raise ValueError(f"the entry {shown(name)} has {member.file_size:,} bytes instead of {expected:,}")
        self.room -= member.file_size
        if self.room < 0:
            raise ValueError("its entries promise more bytes than the file has")
        if not self.checked:
            member.CRC = None  # type: ignore[assignment]  # zipfile then compares nothing
        target = np.empty(member.file_size, np.uint8)
        with self.archive.open(member) as stream:
            for start in range(0, target.size, _CHUNK):
                part = target[start : start + _CHUNK]
                if stream.readinto(part.data) != part.size:  # type: ignore[attr-defined]
                    raise ValueError(f"the entry {shown(name)} ends too early")
        return target


class _Older:
    """The format before PyTorch 1.6. ``value`` is the object, its tensors not read yet."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size
        stream = io.BytesIO(file.read(min(size, _MOST_PICKLED)))
        try:
            self._check_start(stream)
            self.reader = TorchUnpickler(stream)
            self.value = finished(self.reader.load(), _DEEPEST)
            self.keys = finished(TorchUnpickler(stream).load(), 1)
        except Exception as error:
            if size > _MOST_PICKLED == stream.tell():
                raise ValueError(f"more than {_MOST_PICKLED:,} bytes of structure") from error
            raise
        self.start = stream.tell()

    @staticmethod
    def _check_start(stream: io.BytesIO) -> None:
        try:
            magic = TorchUnpickler(stream).load()
        except Exception as error:
            raise ValueError(
                f"it begins neither as a zip archive nor as an older file of PyTorch{_guess(stream)}"
            ) from error
        if type(magic) is not int or magic != _MAGIC:
            raise ValueError("a pickle, but not one of PyTorch's")
        version = TorchUnpickler(stream).load()
        if type(version) is not int or version != _VERSION:
            raise ValueError(f"version {shown(version)} of the older format; known is {_VERSION}")
        finished(TorchUnpickler(stream).load(), 2)  # the machine that wrote it, which changes nothing

    def read(self, wanted: Iterable[Storage]) -> None:
        roots = {storage.root.key for storage in wanted}
        position, seen = self.start, set()
        if not isinstance(self.keys, list):
            raise ValueError("the keys of the storages are no list")
        for key in self.keys:
            storage = self.reader.storages.get(key if isinstance(key, str) else "")
            if storage is None or key in seen:
                raise ValueError(f"{shown(key)} as the key of a storage, which it is not, or not once")
            seen.add(key)
            self.file.seek(position)
            count = int.from_bytes(self.file.read(8), "little")
            position += 8 + storage.nbytes
            if position > self.size:
                raise ValueError(
                    f"truncated: the storage {shown(key)} ends at byte {position:,}, the file at {self.size:,}"
                )
            if count != storage.count:
                raise ValueError(f"the storage {shown(key)} has {count:,} elements instead of {storage.count:,}")
            if key in roots:
                storage.raw, storage.order = np.empty(storage.nbytes, np.uint8), "little"
                if storage.nbytes and self.file.readinto(storage.raw.data) != storage.nbytes:  # type: ignore[attr-defined]
                    raise ValueError(f"the file ends inside the storage {shown(key)}")


def _guess(stream: io.BytesIO) -> str:
    """What else the file may be."""
    start = stream.getvalue()[:512]
    for offset, letters, what in (
        (0, b"version https://git-lfs", "a pointer of Git LFS: fetch the file itself with git lfs pull"),
        (0, b"<", "a web page: the download went wrong"),
        (0, b"\x89HDF", "an HDF5 file (Keras)"),
        (0, b"\x1f\x8b", "a gzip file: unpack it first"),
        (257, b"ustar", "a tar file (PyTorch before 0.2): load and save it with a newer PyTorch"),
    ):
        if start[offset:].startswith(letters):
            return f"; it looks like {what}"
    return ""


# The weights in it -------------------------------------------------------------------------------------


class _Found(NamedTuple):
    state: dict[Any, Any]
    key: str  # of `state`, with dots where it is deep inside
    beside: dict[Any, Any]  # all values passed on the way to it, and those in it that are no arrays


def _is_array(value: Any) -> bool:
    return isinstance(value, (StoredTensor, np.ndarray))


def _has_arrays(value: Any) -> bool:
    return isinstance(value, dict) and any(_is_array(v) for v in value.values())


def _find(value: Any, key: str | None) -> _Found:
    if not isinstance(value, dict):
        kind = "one tensor without a name" if _is_array(value) else f"a {type(value).__name__}"
        raise ValueError(f"it holds {kind}, not a dictionary of named tensors")
    if key is not None:
        if not isinstance(value.get(key), dict):
            raise ValueError(f"it has no dictionary {key!r}; it has {_listed(value)}")
        inner = _find(value[key], None)
        beside = {k: v for k, v in value.items() if k != key} | inner.beside
        return _Found(inner.state, ".".join(filter(None, (key, inner.key))), beside)
    usual = [k for k in _USUAL_KEYS if _has_arrays(value.get(k)) or _has_usual(value.get(k))]
    if usual:
        return _find(value, usual[0])
    if _has_arrays(value):
        return _Found(value, "", {k: v for k, v in value.items() if not _is_array(v) or not isinstance(k, str)})
    distinct: dict[int, str] = {}  # one dictionary may stand there under many names
    for k, v in value.items():
        if isinstance(k, str):
            distinct.setdefault(id(v), k)
    inside = [k for k in distinct.values() if _has_arrays(value[k])]
    if len(inside) == 1:
        return _find(value, inside[0])
    if inside:
        raise ValueError(f"it has several sets of tensors: {_listed(inside)}; choose one, as in key={inside[0]!r}")
    if not value:  # the state of a model without parameters
        return _Found(value, "", {})
    raise ValueError(f"it has no named tensors; it has {_listed(value)}")


def _has_usual(value: Any) -> bool:
    return isinstance(value, dict) and any(_has_arrays(value.get(k)) for k in _USUAL_KEYS)


def _listed(names: Iterable[Any]) -> str:
    names = [shown(name) for name in names]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") or "nothing"


def _common_prefix(names: Iterable[str]) -> str:
    names, found = list(names), ""
    while names and (prefix := next((p for p in _PREFIXES if all(n.startswith(p, len(found)) for n in names)), "")):
        found += prefix
    return found


def _check_total(values: Iterable[Any], size: int) -> None:
    """Views cost nothing, but whoever copies them gets them all: a storage shown a million times is a trap."""
    total = sum(value.nbytes for value in values if _is_array(value))
    if total > 8 * size + (64 << 20):
        raise ValueError(f"a file of {size:,} bytes with tensors of {total:,} bytes that overlap")


def _plain_values(beside: dict[Any, Any]) -> dict[str, Any]:
    """The entries that are numbers, texts and small collections of them."""

    def count(value: Any, room: int) -> int:
        """How many values it is, written out, or more than `room` where it is too many or holds arrays."""
        if _is_array(value):
            return room + 1
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        total = 1
        if isinstance(parts, (list, tuple)):
            for part in parts:
                if total > room:
                    break
                total += count(part, room - total)
        return total

    plain, room = {}, 10 * _MOST_EXTRA
    for key, value in beside.items():
        if not room:
            break
        most = min(room, _MOST_EXTRA)
        values = count(value, most)
        room -= min(values, most)
        if values <= most:
            plain[str(key)] = value
    return plain
