"""IDX, the array format of MNIST.

Big-endian: two zero bytes, a byte for the dtype, a byte for the number of dimensions, each size as four bytes,
then the values. The description stood on the MNIST page of Yann LeCun ("THE IDX FILE FORMAT").
"""

from __future__ import annotations

import gzip
import math
import os
import struct

import numpy as np

from ..io.atomic import atomic_write
from ._files import PathLike, open_bounded
from .errors import DataError

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CODES = {np.dtype(name).newbyteorder("="): code for code, name in _DTYPES.items()}
_MOST = 1 << 30


def read_idx(path: PathLike, *, max_bytes: int = _MOST) -> np.ndarray:
    """The array in an IDX file, plain or gzip, in native byte order; writable and owned by the caller.

    No more memory is taken than the file has bytes; a gzip file may unpack to at most ``max_bytes``. A file
    that is not IDX, is cut short or goes on too long raises :class:`DataError` with the offset.

    >>> import tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "numbers.gz")
    >>> write_idx(path, np.array([[1, 2, 3]], np.int16))
    >>> read_idx(path)
    array([[1, 2, 3]], dtype=int16)
    """
    with open_bounded(path, max_bytes) as file:
        magic = file.exactly(4, "the magic number")
        known = ", ".join(f"0x{code:02x}" for code in _DTYPES)
        if magic[:2] != b"\0\0":
            raise DataError(
                "wrong magic number", path, offset=0, expected="two zero bytes", found=f"0x{magic.hex()}",
                hint="This is not an IDX file",
            )  # fmt: skip
        if magic[2] not in _DTYPES:
            raise DataError(
                "unknown dtype in the magic number",
                path,
                offset=2,
                expected=f"one of {known}",
                found=f"0x{magic[2]:02x}",
            )
        dims = struct.unpack(f">{magic[3]}I", file.exactly(4 * magic[3], f"the {magic[3]} sizes"))
        dtype = np.dtype(_DTYPES[magic[2]])
        if len(dims) > 32:
            raise DataError("too many dimensions", path, offset=3, expected="at most 32", found=len(dims))
        count = math.prod(dims)
        data = file.exactly(
            count * dtype.itemsize, f"the values of an array {'x'.join(map(str, dims)) or 'of one value'}"
        )
        file.end()
    try:
        array = np.frombuffer(data, dtype).reshape(dims)
    except ValueError as error:  # 0 x 2^32 x 2^32 is empty, and yet beyond what an array may be
        raise DataError(f"sizes that no array can have ({error})", path, offset=4, found=dims) from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def write_idx(path: PathLike, array: np.ndarray) -> None:
    """Write an array as IDX, gzip if the name ends in ``.gz``; the file appears whole or not at all.

    dtypes: uint8, int8, int16, int32, float32, float64. The same array gives the same bytes.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "labels")
    ...     write_idx(path, np.array([3, 1], np.uint8))
    ...     path.read_bytes().hex(" ")
    '00 00 08 01 00 00 00 02 03 01'
    """
    array = np.asarray(array)
    code = _CODES.get(array.dtype.newbyteorder("="))
    if code is None:
        raise TypeError(f"IDX has no dtype {array.dtype}; it knows {', '.join(str(d) for d in _CODES)}")
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    payload = header + array.astype(_DTYPES[code], copy=False).tobytes()
    if os.fspath(path).endswith(".gz"):
        payload = gzip.compress(payload, mtime=0)
    with atomic_write(path) as file:
        file.write(payload)
