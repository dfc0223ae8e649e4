"""Reading and writing: weights, checkpoints, and files that survive a crash while they are written."""

from .atomic import atomic_path, atomic_write
from .caffe import load_caffe
from .errors import WeightsError
from .loading import LoadReport, load_into
from .named import Weights
from .npz import load_npz, save_npz
from .safetensors import load_safetensors, read_header, save_safetensors
from .torch_file import load_torch
from .torch_write import save_torch
from .weights import load_weights, read_metadata, save_weights

__all__ = [
    "LoadReport",
    "Weights",
    "WeightsError",
    "atomic_path",
    "atomic_write",
    "load_caffe",
    "load_into",
    "load_npz",
    "load_safetensors",
    "load_torch",
    "load_weights",
    "read_header",
    "read_metadata",
    "save_npz",
    "save_safetensors",
    "save_torch",
    "save_weights",
]
