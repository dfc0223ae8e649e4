"""Named arrays in NumPy's ``.npz``, written at once or not at all, and read without running code."""

import os
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from .atomic import atomic_write
from .errors import WeightsError


def save_npz(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], compress: bool = False) -> None:
    """Write named arrays to `path`; equal arrays give equal bytes.

    Unlike ``numpy.savez`` it takes any name (also "file") and adds no suffix.  Raises TypeError for arrays of
    Python objects and OSError when the disk is full.

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
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in converted.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # with the fixed date of the format's beginning
            member.compress_type = method
            with archive.open(member, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def load_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read all arrays of an ``.npz`` file.  Pickled objects are refused.

    Raises WeightsError naming the file and the array for a truncated or damaged file, FileNotFoundError for
    a missing one.
    """
    arrays = {}
    name = None
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                with archive.open(member) as stream:
                    arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
                    if stream.read(1):  # also makes zipfile compare the checksum
                        raise ValueError("bytes follow the array")
    except (ValueError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        place = "" if name is None else f"array {name!r}: "
        raise WeightsError(path, f"{place}not a usable .npz file: {error}") from error
    return arrays
