"""What the pickles in PyTorch's files build: tensors as views of storages, in dictionaries of plain values.

The names that such pickles may ask for stand for functions here, see `minidl.io.pickles`; everything else, also the
classes of a model that was pickled whole, is refused. A storage is only named in the pickle; its bytes lie
elsewhere in the file and are read for the tensors that are wanted.
"""

from __future__ import annotations

import math
import pickle
import sys
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from .pickles import NUMPY_NAMES, Name, PlainUnpickler, StandIn, are_counts, checked_key, only_mentioned, shown

STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
}
_WITHOUT_STORAGE = ("uint16", "uint32", "uint64")  # newer dtypes, kept in untyped storages


def itemsize(kind: str) -> int:
    """Bytes per element in the file."""
    return 2 if kind == "bfloat16" else np.dtype(kind).itemsize


class Storage:
    """One block of elements in the file; ``raw`` has its bytes once they are read."""

    def __init__(self, key: str, kind: str, count: int) -> None:
        self.key, self.kind, self.count = key, kind, count
        self.raw: np.ndarray | None = None  # (bytes,) uint8
        self.order: str = sys.byteorder  # of the bytes
        self._typed: dict[str, np.ndarray] = {}

    @property
    def root(self) -> Storage:
        """The storage that has the bytes."""
        return self

    @property
    def nbytes(self) -> int:
        return self.count * itemsize(self.kind)

    def typed(self, kind: str) -> np.ndarray:
        """All elements, (count,), in this machine's byte order; of bfloat16 as float32, which holds each exactly."""
        if self.raw is None:
            raise ValueError(f"the storage {shown(self.key)} is missing")
        if kind not in self._typed:
            stored = np.dtype("uint16" if kind == "bfloat16" else kind)
            values = self.raw.view(stored.newbyteorder("<" if self.order == "little" else ">"))
            values = values.astype(stored, copy=False)  # to native order
            if kind == "bool":  # NumPy's own bytes are 0 or 1, nothing else
                values = self.raw != 0
            if kind == "bfloat16":  # the upper half of a float32
                values = (values.astype(np.uint32) << 16).view(np.float32)
            self._typed[kind] = values
        return self._typed[kind]


class StoredTensor(StandIn):
    """A tensor that is named, not read: a part of a storage, with strides in elements."""

    __slots__ = ("kind", "offset", "shape", "storage", "strides")

    def __init__(self, storage: Any, offset: Any, shape: Any, strides: Any, kind: str | None = None) -> None:
        if not isinstance(storage, Storage):
            raise ValueError("a tensor without a storage")
        if not are_counts((offset,)) or not are_counts(shape) or not are_counts(strides) or len(shape) != len(strides):
            raise ValueError("a tensor with malformed shape or strides")
        self.storage, self.offset, self.shape, self.strides = storage, offset, tuple(shape), tuple(strides)
        self.kind = kind or storage.kind
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides))
        available = storage.nbytes // itemsize(self.kind)
        if 0 not in shape and last >= available:
            raise ValueError(
                f"a tensor of shape {self.shape} with strides {self.strides} from element {offset} on needs "
                f"{last + 1:,} elements, its storage {shown(storage.key)} has {available:,}"
            )

    @property
    def nbytes(self) -> int:
        """Of the array, which takes that much only if somebody copies it."""
        return math.prod(self.shape) * max(itemsize(self.kind), 4 if self.kind == "bfloat16" else 1)

    def finish(self) -> StoredTensor:
        return self

    def array(self) -> np.ndarray:
        """The tensor as a view of its storage."""
        values = self.storage.typed(self.kind)
        if 0 in self.shape:
            return np.empty(self.shape, values.dtype)
        steps = [step * values.itemsize if n > 1 else values.itemsize for n, step in zip(self.shape, self.strides)]
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, steps)


# What stands for the names -----------------------------------------------------------------------------


class _Kind(Name):
    """A dtype, or the class of a storage, which has one."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(only_mentioned(text).make)
        self.kind, self.text = kind, text

    def finish(self) -> str:
        return self.text


class _Namespace(dict[str, Any]):
    """``argparse.Namespace``, in which training scripts keep their options, as a dict."""


class Python2Text(bytes, StandIn):
    """A text of Python 2, which did not tell text from bytes."""

    __slots__ = ()

    def finish(self) -> str | bytes:
        try:
            return self.decode()
        except UnicodeDecodeError:
            return bytes(self)


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    """An OrderedDict; Python 2 wrote its items as an argument."""
    if not isinstance(pairs, (list, tuple)) or not all(isinstance(p, (list, tuple)) and len(p) == 2 for p in pairs):
        raise ValueError("a malformed OrderedDict")
    return {checked_key(key): value for key, value in pairs}


def _namespace() -> _Namespace:
    return _Namespace()


def _size(numbers: Any = ()) -> tuple[Any, ...]:
    if not isinstance(numbers, tuple):
        raise ValueError("a malformed torch.Size")
    return numbers


def _device(kind: Any, index: Any = None) -> str:
    if not isinstance(kind, (str, bytes)) or not (index is None or isinstance(index, int)):
        raise ValueError("a malformed torch.device")
    return as_text(kind)[:20] + ("" if index is None else f":{index}")


def _tensor(
    storage: Any, offset: Any, size: Any, strides: Any, _grad: Any = None, _hooks: Any = None, marks: Any = None
) -> StoredTensor:
    if isinstance(marks, dict) and any(marks.get(mark) for mark in ("neg", "conj")):
        raise ValueError(
            "a tensor whose numbers are stored with the other sign (a lazy conjugate or negative view): save it after "
            ".resolve_conj().resolve_neg()"
        )
    return StoredTensor(storage, offset, size, strides)


def _tensor_v3(
    storage: Any, offset: Any, size: Any, strides: Any, _grad: Any, _hooks: Any, kind: Any, *_: Any
) -> StoredTensor:
    if not isinstance(kind, _Kind):
        raise ValueError("a tensor without a dtype")
    return StoredTensor(storage, offset, size, strides, kind.kind)


def _parameter(tensor: Any, *_: Any) -> StoredTensor:
    if not isinstance(tensor, StoredTensor):
        raise ValueError("a parameter without a tensor")
    return tensor


_REBUILD = {
    "_rebuild_tensor": Name(_tensor),
    "_rebuild_tensor_v2": Name(_tensor),
    "_rebuild_tensor_v3": Name(_tensor_v3),
    "_rebuild_parameter": Name(_parameter),
    "_rebuild_parameter_with_state": Name(_parameter),
}


def _from_type(rebuild: Any, _type: Any, arguments: Any, _state: Any = None) -> StoredTensor:
    """A tensor with attributes of its own; they are left out."""
    if not isinstance(rebuild, Name) or rebuild not in _REBUILD.values() or not isinstance(arguments, tuple):
        raise ValueError("a malformed tensor")
    made = rebuild.make(*arguments)
    assert isinstance(made, StoredTensor)
    return made


def _all_names() -> dict[tuple[str, str], Name]:
    names = dict(NUMPY_NAMES)
    names["collections", "OrderedDict"] = Name(_ordered_dict)
    names["argparse", "Namespace"] = Name(_namespace)
    names["torch", "Size"] = Name(_size)
    names["torch", "device"] = Name(_device)
    names["torch", "Tensor"] = names["torch._tensor", "Tensor"] = only_mentioned("torch.Tensor")
    names["torch.nn.parameter", "Parameter"] = only_mentioned("torch.nn.Parameter")
    names["torch._tensor", "_rebuild_from_type_v2"] = Name(_from_type)
    names |= {("torch._utils", name): value for name, value in _REBUILD.items()}
    for storage, kind in STORAGES.items():
        for module in ("torch", "torch.cuda", "torch.storage"):
            names[module, storage] = _Kind(kind, f"{module}.{storage}")
    for kind in (*STORAGES.values(), *_WITHOUT_STORAGE):
        names["torch", kind] = _Kind(kind, f"torch.{kind}")
    return names


def as_text(value: Any) -> str:
    """A text of Python 3 or 2, or a number, as a text."""
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, str) else str(int(value))


class TorchUnpickler(PlainUnpickler):
    """Reads one pickle; ``storages`` collects those that it names."""

    names: ClassVar[Mapping[tuple[str, str], Name]] = _all_names()
    unknown: ClassVar[str] = (
        "which is no part of weights; nothing was run. Save the weights alone, with PyTorch: torch.save(x, path), "
        "where x is model.state_dict() if this is a whole model, or checkpoint['state_dict'] if it has options beside"
    )
    dispatch: ClassVar[dict[int, Any]] = dict(PlainUnpickler.dispatch)

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.storages: dict[str, Storage] = {}

    def _decode_string(self, value: bytes) -> Python2Text:
        return Python2Text(value)

    def _build(self) -> None:
        thing = self.stack[-2]
        if not isinstance(thing, dict):
            super()._build()
            return
        state = self.stack.pop()
        if not isinstance(state, dict):
            raise ValueError("it sets a malformed state")
        if isinstance(thing, _Namespace):  # the state of an OrderedDict is PyTorch's _metadata, which nobody needs
            self.charge(len(state))
            thing.update(state)

    def _persistent(self) -> None:
        self.stack[-1] = self._storage(self.stack[-1])

    def _storage(self, place: Any) -> Storage:
        """The storage that a tuple (word, class, key, device, number of elements[, view]) names."""
        if (
            isinstance(place, tuple)
            and place
            and isinstance(place[0], (str, bytes))
            and place[0] in ("module", b"module")
        ):
            raise ValueError(f"it is a model that was saved whole, {self.unknown}")
        if not isinstance(place, tuple) or len(place) not in (5, 6) or not isinstance(place[1], _Kind):
            raise ValueError("a malformed storage")
        _, type_, key, _, count, *view = place
        if not isinstance(key, (str, bytes, int)) or not are_counts((count,)):
            raise ValueError("a malformed storage")
        root = self.storages.setdefault(as_text(key), Storage(as_text(key), type_.kind, count))
        if (root.kind, root.count) != (type_.kind, count):
            raise ValueError(f"two accounts of the storage {shown(root.key)}")
        return root if not view or view[0] is None else _part(root, view[0])

    dispatch[pickle.NEWOBJ[0]] = PlainUnpickler._reduce
    dispatch[pickle.BINPERSID[0]] = _persistent
    dispatch[pickle.BUILD[0]] = _build


class _StoragePart(Storage):
    """A storage that is a part of another one, as the older format knew them."""

    def __init__(self, root: Storage, key: str, start: int, count: int) -> None:
        super().__init__(key, root.kind, count)
        self._root, self.start = root, start

    @property
    def root(self) -> Storage:
        return self._root

    def typed(self, kind: str) -> np.ndarray:
        return self._root.typed(kind)[self.start : self.start + self.count]


def _part(root: Storage, view: Any) -> Storage:
    if not isinstance(view, tuple) or len(view) != 3 or not are_counts(view[1:]):
        raise ValueError("a malformed part of a storage")
    key, start, count = view
    if start + count > root.count:
        raise ValueError(f"a part [{start}, {start + count}) of a storage of {root.count} elements")
    return _StoragePart(root, as_text(key) if isinstance(key, (str, bytes, int)) else "", start, count)
