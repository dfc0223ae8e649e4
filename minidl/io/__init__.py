"""Reading and writing: weights, checkpoints, and files that survive a crash while they are written."""

from .atomic import atomic_path, atomic_write
from .errors import WeightsError
from .npz import load_npz, save_npz
from .safetensors import load_safetensors, read_header, save_safetensors

__all__ = [
    "WeightsError",
    "atomic_path",
    "atomic_write",
    "load_npz",
    "load_safetensors",
    "read_header",
    "save_npz",
    "save_safetensors",
]
