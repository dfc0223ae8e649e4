"""minidl: a from-scratch deep-learning framework on NumPy, Numba and CuPy.

>>> import minidl
>>> x = minidl.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> (x**2).sum().backward()
>>> x.grad
tensor([2., 4., 6.])
"""

import importlib as _importlib
from typing import Any as _Any

from . import autograd, dtypes, ops, random
from .autograd import GraphError, enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from .backend import DeviceError, device
from .dtypes import (
    bool_,
    double,
    float16,
    float32,
    float64,
    get_default_dtype,
    half,
    int8,
    int16,
    int32,
    int64,
    long,
    set_default_dtype,
    uint8,
)  # fmt: skip
from .kernels import memory as _memory
from .kernels.catalogue import conv_precision
from .kernels.threads import get_num_threads, set_num_threads
from .ops import *
from .random import (
    Generator,
    bernoulli,
    get_rng_state,
    manual_seed,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    randperm,
    set_rng_state,
)  # fmt: skip
from .tensor import Tensor, as_tensor, from_dlpack, from_numpy, tensor

__version__ = "0.1.0"

_memory.tune_allocator()  # a fresh array otherwise costs more than filling it; see its docstring

# loaded when first used, so that `import minidl` needs NumPy only and stays quick
_LAZY = {"amp", "cuda", "data", "doctor", "io", "kernels", "models", "nn", "optim", "registry", "train"}


# PyTorch's short names; real attributes would hide the built-in ones in this module
_DTYPE_NAMES = {"float": float32, "bool": bool_, "int": int32, "short": int16}


def __getattr__(name: str) -> _Any:
    if name in _DTYPE_NAMES:
        return _DTYPE_NAMES[name]
    if name in _LAZY:
        return _importlib.import_module(f"minidl.{name}")
    if name in ("gradcheck", "gradgradcheck"):
        return getattr(autograd, name)
    if name in ("autocast", "GradScaler"):
        return getattr(_importlib.import_module("minidl.amp"), name)
    raise AttributeError(f"module 'minidl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | _LAZY)
