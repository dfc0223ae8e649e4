"""Pickles of data sets: numbers, texts, bytes, lists, dicts and NumPy arrays; nothing else, and no code."""

from __future__ import annotations

import io
from typing import Any

from ..io.pickles import PlainUnpickler, finished, trouble
from ._files import PathLike
from .errors import DataError


def load_data_pickle(data: bytes | bytearray, path: PathLike) -> Any:
    """The data in a pickle; texts of Python 2 come as ``bytes``. ``path`` is what an error names.

    >>> import pickle
    >>> load_data_pickle(pickle.dumps({b"labels": [1, 2]}, protocol=2), "batch")
    {b'labels': [1, 2]}

    :raises DataError: anything but plain data, or a pickle that is cut short or damaged.
    """
    stream = io.BytesIO(data)
    try:
        return finished(PlainUnpickler(stream).load(), deepest=8)
    except (MemoryError, Exception) as error:
        raise DataError(f"not a pickle of plain data ({trouble(error)})", path, offset=stream.tell()) from error
