"""Named arrays in NumPy's ``.npz``, written at once or not at all, and read without running code."""

import math
import os
import zipfile
from collections.abc import Mapping

import numpy as np

from .atomic import atomic_write
from .errors import refusing
from .metadata import as_comment

_DEFLATE_MOST = 1032  # the largest ratio that deflate can reach (zlib's own documentation)


def save_npz(
    path: str | os.PathLike[str],
    arrays: Mapping[str, np.ndarray],
    compress: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named arrays to `path`; equal arrays give equal bytes.

    Unlike ``numpy.savez`` it takes any name (also "file") and adds no suffix.  `metadata` becomes the comment of the
    archive.  Raises TypeError for arrays of Python objects and OSError when the disk is full.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "run.npz")
    ...     save_npz(path, {"loss": np.array([1.5, 0.5])})
    ...     load_npz(path)["loss"]
    array([1.5, 0.5])
    """
    converted = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in converted.items():
        if array.dtype.hasobject:
            raise TypeError(f"array {name!r} holds Python objects; .npz files here hold numbers and text only")
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    comment = as_comment(metadata)
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.comment = comment
        for name, array in converted.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # with the fixed date of the format's beginning
            member.compress_type = method
            with archive.open(member, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def load_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read all arrays of an ``.npz`` file.  Pickled objects are refused.

    Takes no more memory than the file can hold, packed or not.  Raises WeightsError naming the file and the array
    for a truncated or damaged file, FileNotFoundError for a missing one.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "run.npz")
    ...     np.savez(path, loss=np.array([1.5, 0.5]), epoch=3)
    ...     load_npz(path)
    {'loss': array([1.5, 0.5]), 'epoch': array(3)}
    """
    arrays = {}
    name = None

    def problem(error: BaseException) -> str:
        return ("" if name is None else f"array {name!r}: ") + f"not a usable .npz file: {error}"

    with refusing(path, problem), zipfile.ZipFile(path) as archive:
        room = os.path.getsize(path)
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            room -= member.compress_size
            if room < 0:
                raise ValueError("the entries overlap")
            _check_size(archive, member)
            with archive.open(member) as stream:
                arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
                if stream.read(1):  # also makes zipfile compare the checksum
                    raise ValueError("bytes follow the array")
    return arrays


def _check_size(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """That the array which the entry announces can be in it; NumPy takes the memory for it before it looks."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("it is packed in a way that NumPy never uses")
    most = member.compress_size * (_DEFLATE_MOST if member.compress_type == zipfile.ZIP_DEFLATED else 1)
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize > most:
        raise ValueError(f"an array of shape {shape} and dtype {dtype} does not fit into its {most} bytes")
