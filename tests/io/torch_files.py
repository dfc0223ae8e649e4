"""Files of PyTorch's two formats made by hand, good and bad ones, where PyTorch is not installed too."""

import pickle
import struct
import zipfile
from io import BytesIO

import numpy as np

from minidl.io.torch_write import _numbers, _pickled, _text

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
ORDERED_DICT = b"ccollections\nOrderedDict\n)R"


def zip_file(pickled: bytes, storages: dict[str, bytes], order: bytes = b"little", compress: bool = False) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", order)
        for key, raw in storages.items():
            archive.writestr(f"archive/data/{key}", raw)
        archive.writestr("archive/version", b"3\n")
    return out.getvalue()


def older_file(pickled: bytes, storages: dict[str, tuple[int, bytes]]) -> bytes:
    """``storages``: key -> (number of elements, bytes)."""
    machine = {"protocol_version": VERSION, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    parts = [pickle.dumps(value, 2) for value in (MAGIC, VERSION, machine)]
    parts += [pickled, pickle.dumps(list(storages), 2)]
    parts += [struct.pack("<q", count) + raw for count, raw in storages.values()]
    return b"".join(parts)


def storage(key: str = "0", kind: str = "FloatStorage", count: int = 6, view: bytes = b"") -> bytes:
    return (
        b"(" + _text("storage") + f"ctorch\n{kind}\n".encode() + _text(key) + _text("cpu") + _numbers((count,))[1:-1]
        + view + b"tQ"
    )  # fmt: skip


def tensor(place: bytes, shape: tuple[int, ...] = (2, 3), strides: tuple[int, ...] = (3, 1), offset: int = 0) -> bytes:
    arguments = place + _numbers((offset,))[1:-1] + _numbers(shape) + _numbers(strides) + b"\x89" + ORDERED_DICT
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def dictionary(**values: bytes) -> bytes:
    """A whole pickle of a dict, from pickled values."""
    return b"\x80\x02}(" + b"".join(_text(name) + value for name, value in values.items()) + b"u."


SIX = np.arange(6, dtype="<f4")


def both_formats(arrays: dict[str, np.ndarray]) -> dict[str, bytes]:
    arrays = {name: np.asarray(a, order="C") for name, a in arrays.items()}
    pickled = _pickled(arrays)
    raw = {str(key): a.tobytes() for key, a in enumerate(arrays.values())}
    counts = {str(key): (a.size, a.tobytes()) for key, a in enumerate(arrays.values())}
    return {"zip": zip_file(pickled, raw), "older": older_file(pickled, counts)}
