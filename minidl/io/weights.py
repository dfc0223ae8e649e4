"""Weights from any file that people have, told by what is in it, and into the format that a name asks for."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .caffe import load_caffe
from .errors import WeightsError, refusing
from .metadata import from_comment
from .named import Weights
from .npz import load_npz, save_npz
from .safetensors import load_safetensors, read_header, save_safetensors
from .torch_file import load_torch
from .torch_write import save_torch

if TYPE_CHECKING:
    from ..nn import Module
    from ..tensor import Tensor

_WRITERS: dict[str, Callable[..., None]] = {
    ".safetensors": save_safetensors,
    ".npz": save_npz,
    ".pth": save_torch,
    ".pt": save_torch,
    ".th": save_torch,
}


def load_weights(path: str | os.PathLike[str], key: str | None = None) -> Weights:
    """Read the arrays of a safetensors, NumPy ``.npz``, PyTorch or Caffe file; its content says which it is, not its
    name.

    Arrays keep their dtypes, except bfloat16, which comes as float32, with the same values. For a PyTorch file see
    `load_torch`; ``key`` chooses one of several sets of weights in it. Metadata (`read_metadata`) is in ``.extra``.

    Raises WeightsError for a file that is damaged, hostile or of another kind; FileNotFoundError.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.th")
    ...     save_weights(path, {"fc.bias": np.arange(3.0)})
    ...     load_weights(path)
    {'fc.bias': array([0., 1., 2.])}
    """
    kind = _kind(path)
    if kind != "torch" and key is not None:
        raise WeightsError(path, f"key={key!r} chooses inside PyTorch files; this is a {kind} file, which has one set")
    if kind == "torch":
        weights = load_torch(path, key)
    elif kind == "npz":
        weights = Weights(load_npz(path))
    elif kind == "caffe":
        weights = load_caffe(path)
    else:
        weights = Weights({name: _without_bfloat16(array) for name, array in load_safetensors(path).items()})
    weights.extra |= read_metadata(path)
    weights.path = os.fspath(path)
    return weights


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts that `save_weights` put beside the arrays, without reading these; nothing where a file has none.

    Raises WeightsError for a safetensors file or a zip archive that is damaged, FileNotFoundError.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.npz")
    ...     save_weights(path, {"fc.bias": np.arange(3.0)}, {"epoch": "3"})
    ...     read_metadata(path)
    {'epoch': '3'}
    """
    kind = _kind(path)
    if kind == "safetensors":
        return read_header(path).metadata
    with open(path, "rb") as file:
        if file.read(2) != b"PK":
            return {}
        with refusing(path, _damaged_zip), zipfile.ZipFile(file) as archive:
            return from_comment(archive.comment)


def save_weights(
    path: str | os.PathLike[str],
    weights: Module | Mapping[str, Tensor | np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a module's state, or arrays or tensors by name, as the end of `path` says: .safetensors, .npz, .pth.

    ``.pt`` and ``.th`` are the same as ``.pth``, which PyTorch reads with ``torch.load(path, weights_only=True)``.
    `metadata` are texts for `read_metadata`; other programs that read the arrays do not see them. `path` is replaced at
    once or not at all. Raises WeightsError for another end of the name, TypeError for dtypes that the format lacks,
    OSError when the disk is full.

    >>> import pathlib, tempfile
    >>> import minidl
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "layer.pth")
    ...     save_weights(path, minidl.nn.Linear(3, 2))
    ...     {name: array.shape for name, array in load_weights(path).items()}
    {'weight': (2, 3), 'bias': (2,)}
    """
    writer = _WRITERS.get(Path(path).suffix.lower())
    if writer is None:
        raise WeightsError(path, f"the end of the name says the format: {', '.join(_WRITERS)}")
    named = weights if isinstance(weights, Mapping) else weights.state_dict()
    arrays = {name: _as_array(value) for name, value in named.items()}
    if writer is save_npz:  # whose files have no bfloat16
        arrays = {name: _without_bfloat16(array) for name, array in arrays.items()}
    writer(path, arrays, metadata=metadata)


def _kind(path: str | os.PathLike[str]) -> str:
    with open(path, "rb") as file:
        start = file.read(9)
        if start[:2] != b"PK":
            # a header's length may begin as a pickle does, with 80; then zeros follow, as they do in no pickle
            if start[8:] == b"{" and (start[:1] != b"\x80" or start[4:8] == bytes(4)):
                return "safetensors"
            # a name, a layer of the oldest format, or one of today's: the field with which protocol buffers begin
            return "caffe" if start[:1] in (b"\n", b"\x12") or start[:2] == b"\xa2\x06" else "torch"
        with refusing(path, _damaged_zip):
            names = zipfile.ZipFile(file).namelist()
    return "torch" if any(f"/{name}".endswith("/data.pkl") for name in names) else "npz"


def _damaged_zip(error: BaseException) -> str:
    return f"a damaged or truncated zip archive: {error}"


def _as_array(value: Any) -> np.ndarray:
    from ..backend import CPU, to_device
    from ..tensor import Tensor

    # only read: ``numpy()`` would say that somebody may write to it
    return to_device(value._array, CPU) if isinstance(value, Tensor) else np.asarray(value)


def _without_bfloat16(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
