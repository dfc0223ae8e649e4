"""Weights as a file of PyTorch, zip format, that ``torch.load(path, weights_only=True)`` reads."""

from __future__ import annotations

import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from .atomic import atomic_write
from .metadata import as_comment
from .torch_pickle import STORAGES

_CLASSES = {kind: name for name, kind in STORAGES.items() if name != "UntypedStorage"}  # NumPy's dtype -> class
_FOLDER = "archive"  # of all entries; PyTorch takes any name
_ALIGNMENT = 64  # bytes, PyTorch's own: storages can then be mapped into memory
_PADDING = 0x4246  # the kind of extra field in which PyTorch keeps its padding
_LOCAL_HEADER = 30  # bytes of a zip entry before its name
_ZIP64_FROM = 0x7000_0000  # bytes of an entry


def save_torch(
    path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays as a state dict of PyTorch (1.6 and later); equal arrays give equal bytes.

    The order of the names is kept. Any memory layout is stored C-contiguous; arrays that share memory are stored one
    by one. `metadata` becomes the comment of the archive. `path` is replaced at once or not at all.

    Raises TypeError for names that are no strings and dtypes that such files lack (uint16, uint32, uint64, text);
    OSError when the disk is full.

    >>> import pathlib, tempfile
    >>> from minidl.io import load_torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.pth")
    ...     save_torch(path, {"fc.weight": np.eye(2, 3, dtype=np.float32), "epoch": np.array(3)})
    ...     load_torch(path)["fc.weight"]
    array([[1., 0., 0.],
           [0., 1., 0.]], dtype=float32)
    """
    arrays = {_checked_name(name): _stored_form(name, array) for name, array in tensors.items()}
    comment = as_comment(metadata)
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.comment = comment
        _add(archive, "data.pkl", _pickled(arrays))
        _add(archive, "byteorder", sys.byteorder.encode())
        for key, array in enumerate(arrays.values()):
            _add(archive, f"data/{key}", array.reshape(-1).view(np.uint8).data)
        _add(archive, "version", b"3\n")


def _checked_name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of an array is a string, not {name!r}")
    return name


def _stored_form(name: str, array: Any) -> np.ndarray:
    array = np.asarray(array, order="C")
    if array.dtype.name not in _CLASSES:
        raise TypeError(f"array {name!r}: files of PyTorch have no {array.dtype}; change it with array.astype(...)")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _add(archive: zipfile.ZipFile, name: str, content: bytes | memoryview) -> None:
    """One entry, stored as it is, its bytes at a multiple of the alignment in the file."""
    member = zipfile.ZipInfo(f"{_FOLDER}/{name}")  # with the fixed date of the format's beginning
    member.create_system = 3  # whatever the system, for equal bytes
    large = len(content) >= _ZIP64_FROM
    begin = archive.start_dir + _LOCAL_HEADER + len(member.filename) + 4 + 20 * large  # 20: the long sizes of zip64
    member.extra = struct.pack("<HH", _PADDING, -begin % _ALIGNMENT) + bytes(-begin % _ALIGNMENT)
    with archive.open(member, "w", force_zip64=large) as stream:
        stream.write(content)


def _pickled(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The pickle, protocol 2, of an OrderedDict of tensors; written by hand, since their classes are not here.

    PyTorch keeps the version of each module's names in an attribute of the dictionary.  The outermost one is said to be
    2, without which torchvision's MNASNet takes no file; modules inside that are told none take the names as they are.
    """
    ordered_dict = b"ccollections\nOrderedDict\n)R"
    items = [
        _text(name)
        + b"ctorch._utils\n_rebuild_tensor_v2\n("
        + b"(" + _text("storage") + f"ctorch\n{_CLASSES[array.dtype.name]}\n".encode()
        + _text(str(key)) + _text("cpu") + _number(array.size) + b"tQ"
        + _number(0) + _numbers(array.shape) + _numbers(_strides(array.shape)) + b"\x89" + ordered_dict
        + b"tR"
        for key, (name, array) in enumerate(arrays.items())
    ]  # fmt: skip
    versions = b"}" + _text("_metadata") + b"}" + _text("") + b"}" + _text("version") + _number(2) + b"sss"
    return b"\x80\x02" + ordered_dict + b"(" + b"".join(items) + b"u" + versions + b"b."


def _text(text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogatepass")
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def _number(number: int) -> bytes:
    if number < 1 << 31:
        return pickle.BININT + struct.pack("<i", number)
    return pickle.LONG1 + b"\x08" + struct.pack("<q", number)


def _numbers(numbers: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(_number, numbers)) + b"t"


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a C-contiguous array, in elements."""
    steps: list[int] = []
    step = 1
    for n in reversed(shape):
        steps.insert(0, step)
        step *= max(n, 1)
    return tuple(steps)
