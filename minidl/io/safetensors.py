"""Weights in the safetensors format: names, shapes, dtypes and raw bytes, no code.

Written by the ``safetensors`` package, after a guard against its 0.8.0, which stores arrays that are not
C-contiguous (transposed, strided, broadcast) in the wrong order and says nothing
(github.com/safetensors/safetensors/issues/825).  Read here, so that a truncated or hostile file gets an error
with the byte where it goes wrong.

The format (github.com/safetensors/safetensors, "Format"): the length of the header in 8 bytes, little endian;
the header, a JSON object ``{name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}}`` with an
optional ``"__metadata__"``; then the arrays without gaps, offsets counted from the end of the header.
"""

import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .atomic import atomic_path
from .errors import WeightsError
from .metadata import checked

_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "C64": "complex64",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
_FROM_ML_DTYPES = {"bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1}  # and their bytes per element
_MAX_HEADER = 100_000_000  # bytes; the limit of the reference implementation


@dataclass(frozen=True)
class Entry:
    """One array of a file: NumPy's name of its dtype, its shape, and its bytes [begin, end) in the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """What a safetensors file says about itself."""

    entries: dict[str, Entry]
    metadata: dict[str, str]


def save_safetensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named arrays to `path`, which is replaced at once or not at all.

    Any memory layout is stored correctly; scalars keep their empty shape.  What was written is read back
    (names, dtypes, shapes) before it takes the place of an older file.

    Raises TypeError for a dtype that the format lacks, for names or metadata that are not strings; OSError
    when the disk is full; ImportError where the ``safetensors`` package is missing.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     save_safetensors(path, {"fc.weight": np.eye(2, 3, dtype=np.float32)}, {"epoch": "3"})
    ...     read_header(path).metadata, load_safetensors(path)["fc.weight"].shape
    ({'epoch': '3'}, (2, 3))
    """
    arrays = {_checked_name(name): _stored_form(name, array) for name, array in tensors.items()}
    metadata = checked(metadata)
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import save_file
    except ImportError as error:
        raise ImportError("safetensors files are written by a package: python -m pip install safetensors") from error
    with atomic_path(path) as temporary:
        try:
            save_file(arrays, temporary, metadata=metadata or None)
        except SafetensorError as error:
            raise _as_os_error(error, path) from error
        written = read_header(temporary).entries
        expected = {name: (array.dtype.name, array.shape) for name, array in arrays.items()}
        if {name: (entry.dtype, entry.shape) for name, entry in written.items()} != expected:
            raise WeightsError(path, "what was written does not read back as what was given; nothing was replaced")


def load_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read all arrays of a safetensors file into writable memory.

    Takes no more memory than the file is long.  bfloat16 and float8 need the ``ml_dtypes`` package.  Raises
    WeightsError, with the file and the byte, for a file that is truncated, damaged or of another format, and
    FileNotFoundError.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     save_safetensors(path, {"fc.bias": np.array([1.0, 2.0])})
    ...     load_safetensors(path)
    {'fc.bias': array([1., 2.])}
    """
    header = read_header(path)
    arrays = {}
    with open(path, "rb") as file:
        for name, entry in header.entries.items():
            dtype = _numpy_dtype(path, name, entry.dtype)
            try:
                array = np.empty(entry.shape, dtype)
            except ValueError as error:  # more axes than NumPy has, or an empty array with an absurd one
                raise WeightsError(path, f"array {name!r}: {error}", entry.begin) from error
            file.seek(entry.begin)
            target = array.reshape(-1).view(np.uint8)
            count = file.readinto(target.data) if target.size else 0
            if count != target.size:  # the file got shorter since the header was checked
                raise WeightsError(path, f"the file ends inside the array {name!r}", entry.begin + count)
            arrays[name] = array if sys.byteorder == "little" else array.byteswap()
    return arrays


def read_header(path: str | os.PathLike[str]) -> Header:
    """Names, dtypes, shapes, places and metadata of a safetensors file, all checked; no array is read.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     save_safetensors(path, {"fc.bias": np.array([1.0, 2.0])}, {"epoch": "3"})
    ...     header = read_header(path)
    >>> header.metadata, header.entries["fc.bias"].dtype, header.entries["fc.bias"].shape
    ({'epoch': '3'}, 'float64', (2,))
    """
    size = os.stat(path).st_size
    with open(path, "rb") as file:
        start = file.read(8)
        if len(start) < 8:
            raise WeightsError(path, f"too short for a safetensors file: {size} bytes, the header needs 8", size)
        length = int.from_bytes(start, "little")
        if length > min(size - 8, _MAX_HEADER):
            raise WeightsError(
                path,
                f"its first 8 bytes announce a header of {length:,} bytes, but {size - 8:,} bytes follow "
                f"(and {_MAX_HEADER:,} is the limit); the file is truncated or not a safetensors file",
                0,
            )
        text = file.read(length)
    declared = _parse_json(path, text)
    metadata = declared.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise WeightsError(path, "__metadata__ is not a table of strings", 8)
    data_start = 8 + length
    entries = {name: _checked_entry(path, name, value, data_start) for name, value in declared.items()}
    _check_no_gaps(path, entries, data_start, size)
    return Header(entries, metadata)


# Checks of a header ------------------------------------------------------------------------------------


def _parse_json(path: str | os.PathLike[str], text: bytes) -> dict[str, Any]:
    def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise WeightsError(path, f"the header names {twice!r} twice", 8)
        return table

    try:
        declared = json.loads(text.decode(), object_pairs_hook=without_duplicates)
    except UnicodeDecodeError as error:
        raise WeightsError(path, "the header is not text (UTF-8); not a safetensors file", 8 + error.start) from error
    except json.JSONDecodeError as error:
        offset = 8 + len(error.doc[: error.pos].encode())
        raise WeightsError(path, f"the header is not JSON: {error.msg}", offset) from error
    except WeightsError:
        raise
    except (RecursionError, ValueError) as error:  # nested too deeply, a number with thousands of digits
        raise WeightsError(path, f"the header is not usable JSON: {error}", 8) from error
    if not isinstance(declared, dict):
        raise WeightsError(path, f"the header is a JSON {type(declared).__name__}, not an object", 8)
    return declared


def _checked_entry(path: str | os.PathLike[str], name: str, value: Any, data_start: int) -> Entry:
    def is_count(number: Any) -> bool:
        return isinstance(number, int) and not isinstance(number, bool) and number >= 0

    if not isinstance(value, dict) or not {"dtype", "shape", "data_offsets"} <= value.keys():
        raise WeightsError(path, f"array {name!r}: its entry needs dtype, shape and data_offsets", 8)
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise WeightsError(path, f"array {name!r}: unknown dtype {dtype!r}; known are {', '.join(_DTYPES)}", 8)
    if not isinstance(shape, list) or not all(map(is_count, shape)):
        raise WeightsError(path, f"array {name!r}: its shape {shape!r} is not a list of counts", 8)
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(is_count, offsets)):
        raise WeightsError(path, f"array {name!r}: data_offsets {offsets!r} are not two counts", 8)
    begin, end = offsets
    expected = math.prod(shape) * _itemsize(_DTYPES[dtype])
    if end - begin != expected:
        raise WeightsError(
            path,
            f"array {name!r}: {dtype} {shape} takes {expected:,} bytes, data_offsets span {end - begin:,}",
            data_start + begin,
        )
    return Entry(_DTYPES[dtype], tuple(shape), data_start + begin, data_start + end)


def _check_no_gaps(path: str | os.PathLike[str], entries: dict[str, Entry], start: int, size: int) -> None:
    """The arrays fill the rest of the file, each byte belongs to exactly one of them."""
    position = start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != position:
            what = "overlaps the array before it" if entry.begin < position else "leaves a gap before it"
            raise WeightsError(path, f"array {name!r} {what}", entry.begin)
        position = entry.end
        if position > size:
            raise WeightsError(path, f"truncated: array {name!r} ends at byte {position:,}, the file at {size:,}", size)
    if position != size:
        raise WeightsError(path, f"{size - position:,} bytes follow the last array", position)


def _itemsize(dtype: str) -> int:
    return _FROM_ML_DTYPES.get(dtype) or np.dtype(dtype).itemsize


def _numpy_dtype(path: str | os.PathLike[str], name: str, dtype: str) -> np.dtype:
    if dtype not in _FROM_ML_DTYPES:
        return np.dtype(dtype)
    try:
        import ml_dtypes
    except ImportError as error:
        raise WeightsError(
            path, f"array {name!r} is {dtype}, which NumPy lacks: python -m pip install ml-dtypes"
        ) from error
    return np.dtype(getattr(ml_dtypes, dtype))


# Checks before writing ---------------------------------------------------------------------------------


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or name == "__metadata__":
        raise TypeError(f"the name of an array is a string other than '__metadata__', not {name!r}")
    return name


def _stored_form(name: str, array: Any) -> np.ndarray:
    """The array as the format wants it: C-contiguous and of native byte order."""
    # np.ascontiguousarray would turn a scalar into shape (1,)
    array = np.asarray(array, order="C")
    if array.dtype.name not in _DTYPES.values():
        raise TypeError(f"array {name!r}: safetensors has no dtype for NumPy's {array.dtype}")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _as_os_error(error: Exception, path: str | os.PathLike[str]) -> Exception:
    """The system's error code, which the package gives only as text like "... (os error 28)"."""
    _, marker, rest = str(error).rpartition("(os error ")
    code = rest.partition(")")[0]
    if marker and code.isdigit():
        return OSError(int(code), os.strerror(int(code)), str(path))
    return WeightsError(str(path), f"could not be written: {error}")
