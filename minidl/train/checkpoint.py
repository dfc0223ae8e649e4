"""One file with everything that the rest of a run depends on.

A checkpoint is a safetensors file: arrays by names like ``model/conv1.weight`` and ``optimizer/3/momentum_buffer``,
and in its metadata one JSON text with all numbers (epoch, place in the epoch, learning rates, random state, history).
JSON writes floats so that they read back to the same bits.  A checksum over both tells a damaged file from a good
one.  The file is replaced at once or not at all.
"""

from __future__ import annotations

import json
import os
import zlib
from typing import Any

import numpy as np

from ..backend import CPU, array_module, to_device
from ..io import WeightsError, load_safetensors, read_header, save_safetensors
from ..tensor import Tensor
from .errors import CheckpointError

CHECKPOINT_KEY = "minidl.checkpoint"
_CHECKSUM = "minidl.checksum"
_VERSION = 1


def save_checkpoint(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write nested dictionaries of arrays, tensors, numbers, text, lists and None.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "checkpoint.safetensors")
    ...     save_checkpoint(path, {"epoch": 3, "model": {"bias": np.zeros(2)}, "lrs": (0.1, None)})
    ...     load_checkpoint(path)
    {'epoch': 3, 'model': {'bias': array([0., 0.])}, 'lrs': (0.1, None)}
    """
    arrays: dict[str, np.ndarray] = {}
    plain = _split(state, "", arrays)
    text = json.dumps({"version": _VERSION, "state": plain})
    save_safetensors(path, arrays, {CHECKPOINT_KEY: text, _CHECKSUM: _checksum(text, arrays)})


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What :func:`save_checkpoint` wrote, tensors as arrays.

    Raises CheckpointError for a file that is damaged or no checkpoint, FileNotFoundError where there is none.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "checkpoint.safetensors")
    ...     save_checkpoint(path, {"epoch": 3, "bias": np.zeros(2)})
    ...     load_checkpoint(path)
    {'epoch': 3, 'bias': array([0., 0.])}
    """
    try:
        metadata = read_header(path).metadata
        arrays = load_safetensors(path)
    except WeightsError as error:
        raise CheckpointError(f"{error}. The checkpoint cannot be used; nothing was changed") from error
    if CHECKPOINT_KEY not in metadata:
        raise CheckpointError(f"{path}: these are weights, not a checkpoint of a training run")
    text = metadata[CHECKPOINT_KEY]
    if metadata.get(_CHECKSUM) != _checksum(text, arrays):
        raise CheckpointError(f"{path}: the contents do not fit their checksum, so the checkpoint is damaged")
    try:
        content = json.loads(text)
        version = content["version"]
        if version == _VERSION:
            return _join(content["state"], arrays)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: the description of the checkpoint is damaged ({error})") from error
    raise CheckpointError(f"{path}: written as version {version} of the format, this minidl reads {_VERSION}")


def tested_weights(state: dict[str, Any]) -> dict[str, Any]:
    """The weights in a checkpoint of a run that it tests: the averaged ones, where it averages.

    >>> tested_weights({"model": {"bias": 1.0}, "averaged": {"module.bias": 0.5, "n_averaged": 3}})
    {'bias': 0.5}
    """
    if "averaged" not in state:
        return state["model"]
    prefix = "module."
    return {name.removeprefix(prefix): a for name, a in state["averaged"].items() if name.startswith(prefix)}


def _checksum(text: str, arrays: dict[str, np.ndarray]) -> str:
    total = zlib.crc32(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        total = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), total)
        total = zlib.crc32(array.tobytes(), total)
    return f"crc32:{total:08x}"


def _split(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """``value`` with each array replaced by its name in the file, collecting the arrays."""
    if isinstance(value, Tensor):
        value = to_device(value._array, CPU)  # only read: ``numpy()`` would say that somebody may write to it
    elif array_module(value) is not np:
        value = value.get()
    if isinstance(value, np.ndarray):
        if name in arrays:
            raise ValueError(f"two arrays of the checkpoint would be called {name!r}: leave '/' out of the names")
        arrays[name] = value
        return {"array": name}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {"items": [[k, _split(v, f"{name}/{k}".strip("/"), arrays)] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        parts = [_split(v, f"{name}/{i}", arrays) for i, v in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": parts}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    kind = type(value).__name__
    raise TypeError(f"a checkpoint holds arrays, numbers, text, lists and dictionaries, not {kind} ({name})")


def _join(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The inverse of :func:`_split`."""
    if not isinstance(value, dict):
        return value
    [(kind, content)] = value.items()
    if kind == "array":
        return arrays[content]
    if kind == "items":
        return {k: _join(v, arrays) for k, v in content}
    parts = [_join(v, arrays) for v in content]
    return tuple(parts) if kind == "tuple" else parts
