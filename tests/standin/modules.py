"""The modules ``cupy``, ``cupyx`` and their parts, made of NumPy's functions and of what CuPy does otherwise."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from . import cuda, emulated, offered
from .array import _poison, check_device, host_indices, ndarray, unwrap, unwrap_dict, wrap
from .capture import ran, wrote
from .offered import words
from .state import TRAFFIC


def on_device(function: Callable[..., Any], waits: bool = False) -> Callable[..., Any]:
    """``function`` of NumPy on device arrays: refuses all other arrays, gives device arrays."""

    @functools.wraps(function, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        out = kwargs.get("out")
        TRAFFIC.downloads += waits
        result = ran(function, *unwrap(args), **unwrap_dict(kwargs))
        return wrap(result) if out is None else out

    return call


class ufunc:
    """An elementwise function with ``at`` and the two reductions that CuPy has."""

    def __init__(self, name: str) -> None:
        self.__name__ = self.name = name
        self._host = getattr(np, name)

    def __call__(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        arrays = [a for a in args if isinstance(a, ndarray)]
        if not arrays:
            for a in args:
                unwrap(a)  # a NumPy array is refused, numbers are computed with
        if self.name in ("floor", "ceil", "trunc") and arrays and arrays[0].dtype.kind in "bui":
            return wrap(arrays[0]._host.astype(np.result_type(arrays[0].dtype, np.float16)))  # never integers
        if out is not None:
            check_device(out)
            kwargs["out"] = out._host
        result = ran(self._host, *unwrap(args), **unwrap_dict({k: v for k, v in kwargs.items() if k != "out"}),
                        **({"out": out._host} if out is not None else {}))  # fmt: skip
        return out if out is not None else wrap(result)

    def at(self, array: ndarray, indices: Any, b: Any = None) -> None:
        if self.name not in ("add", "subtract", "maximum", "minimum"):
            raise NotImplementedError(f"`{self.name}.at` is not supported yet")
        kinds = ("int32", "uint32") if self.name == "subtract" else (
            "int32", "int64", "float16", "float32", "float64", "uint32", "uint64",
        )  # fmt: skip
        value = unwrap(b)
        host_index, _ = host_indices(indices)
        check_device(array)
        if array.dtype.name not in kinds:
            raise TypeError(f"cupy.{self.name}.at only supports {', '.join(kinds)} as data type")
        values = np.asarray(value).astype(array.dtype)
        wrote(array._host, lambda: self._host.at(array._host, host_index, values))

    def reduce(self, array: ndarray, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        if self.name not in ("add", "multiply"):
            raise NotImplementedError(f"`{self.name}.reduce` is not supported yet")
        return wrap(ran(self._host.reduce, unwrap(array), axis, dtype, keepdims=keepdims))

    def outer(self, a: Any, b: Any) -> Any:
        return wrap(ran(self._host.outer, unwrap(a), unwrap(b)))


# ---- what CuPy does otherwise than NumPy --------------------------------------------------------------------------


def array(obj: Any, dtype: Any = None, copy: Any = True, order: str = "K", ndmin: int = 0, **options: Any) -> ndarray:
    if isinstance(obj, ndarray):
        same = (dtype is None or np.dtype(dtype) == obj.dtype) and obj.ndim >= ndmin
        if same and not copy:
            return obj  # also if it lies on another device
        check_device(obj)
        return wrap(ran(np.array, obj._host, dtype=dtype, order=order, ndmin=ndmin))
    if isinstance(obj, (list, tuple)) and any(isinstance(v, ndarray) for v in obj):
        return wrap(ran(np.array, unwrap(obj), dtype=dtype, ndmin=ndmin))
    if hasattr(obj, "__array__") and not isinstance(obj, (np.ndarray, np.generic)):
        raise TypeError(f"Unsupported type {type(obj)}")
    host = np.array(obj, dtype=dtype, order="C", ndmin=ndmin)
    if host.dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {host.dtype}")
    TRAFFIC.uploads += bool(host.ndim)  # a single number travels with the kernel that fills
    return wrap(host.astype(host.dtype.newbyteorder("="), copy=False))


def asarray(obj: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, blocking: bool = False) -> ndarray:
    return array(obj, dtype, bool(copy))


def ascontiguousarray(obj: Any, dtype: Any = None) -> ndarray:
    obj = asarray(obj, dtype)
    return obj if obj.flags.c_contiguous else obj.copy()


def asnumpy(obj: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True) -> np.ndarray:
    return obj.get(stream, order, out) if isinstance(obj, ndarray) else np.asarray(obj)


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return ndarray(shape, dtype, order=order)


def empty_like(a: ndarray, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None) -> ndarray:
    host = np.empty_like(unwrap(a), dtype, order, shape=shape)
    _poison(host)
    return wrap(host)


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> ndarray:
    return wrap(ran(np.full, shape, unwrap(fill_value), dtype, order))


def broadcast_to(a: ndarray, shape: Any) -> ndarray:
    """Not read-only, as NumPy's is: whoever writes into it writes into one place many times."""
    host = unwrap(a)
    view = np.broadcast_to(host, shape)
    return wrap(np.lib.stride_tricks.as_strided(host, view.shape, view.strides))


def clip(a: ndarray, a_min: Any, a_max: Any, out: Any = None) -> ndarray:
    if a_min is None and a_max is None:
        raise ValueError("array_clip: must set either max or min")
    return wrap(ran(np.clip, unwrap(a), unwrap(a_min), unwrap(a_max)))


def copyto(dst: ndarray, src: Any, casting: Any = "same_kind", where: Any = None) -> None:
    if not isinstance(src, ndarray) and np.ndim(src):
        raise TypeError(f"Unsupported type {type(src)}")
    options = {} if where is None else {"where": unwrap(where)}
    target, source = unwrap(dst), unwrap(src)
    wrote(target, lambda: np.copyto(target, source, casting, **options))


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None and y is None:
        return nonzero(condition)
    if not isinstance(condition, ndarray):
        raise TypeError(f"Unsupported type {type(condition)}")
    return wrap(ran(np.where, unwrap(condition), unwrap(x), unwrap(y)))


def nonzero(a: ndarray) -> tuple[ndarray, ...]:
    if not a.ndim:
        raise ValueError("Calling nonzero on 0d arrays is not allowed. Use cp.atleast_1d(scalar).nonzero() instead.")
    TRAFFIC.downloads += 1
    return wrap(np.nonzero(unwrap(a)))


def argsort(a: ndarray, axis: Any = -1, kind: Any = None) -> ndarray:
    if kind not in (None, "stable"):
        raise ValueError(f"`kind` must be None or 'stable', not {kind!r}")
    return wrap(ran(np.argsort, unwrap(a), axis, kind="stable"))


def may_share_memory(a: ndarray, b: ndarray, max_work: Any = None) -> bool:
    if max_work is not None:
        raise NotImplementedError("Only supported for `max_work` is `None`")
    return np.may_share_memory(a._host, b._host)


def shares_memory(a: ndarray, b: ndarray, max_work: Any = None) -> bool:
    TRAFFIC.downloads += 1
    return np.shares_memory(unwrap(a), unwrap(b))


def from_dlpack(source: Any) -> ndarray:
    if not isinstance(source, ndarray) and source.__dlpack_device__()[0] == 2:
        source = source.__dlpack__()
    if not isinstance(source, ndarray):
        raise BufferError("the stand-in reads DLPack of its own arrays only")
    return source.view()


def get_array_module(*args: Any) -> ModuleType:
    import cupy

    return cupy if any(isinstance(a, ndarray) for a in args) else np


def as_strided(x: ndarray, shape: Any = None, strides: Any = None) -> ndarray:
    check_device(x)
    shape, strides = (x.shape if shape is None else tuple(shape)), (x.strides if strides is None else tuple(strides))
    return wrap(np.lib.stride_tricks.as_strided(x._host, shape, strides), x)


def sliding_window_view(x: ndarray, window_shape: Any, axis: Any = None, **options: Any) -> ndarray:
    """CuPy checks the window's shape on the device, and waits for each number."""
    TRAFFIC.uploads += 1
    TRAFFIC.downloads += len(np.atleast_1d(window_shape))
    return wrap(np.lib.stride_tricks.sliding_window_view(unwrap(x), window_shape, axis))


class _Linalg:
    """Singular matrices give numbers that are none, unless ``cupyx.errstate(linalg="raise")`` says otherwise."""

    raises = False


def _linalg(name: str) -> Callable[..., Any]:
    function = getattr(np.linalg, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        if name == "solve":
            a, b = args
            if b.ndim > 1 and a.shape[:-1] != b.shape[:-1]:
                raise ValueError("a must have (..., M, M) shape and b must have (..., M, K) for multidimensional b")
        host = unwrap(args)
        TRAFFIC.downloads += _Linalg.raises
        try:
            result = ran(function, *host, **kwargs)
        except np.linalg.LinAlgError:
            if _Linalg.raises:
                raise
            result = np.full_like(host[-1], np.nan)
        return wrap(result)

    return call


class errstate:
    """``cupyx.errstate``: of its settings the one for linear algebra."""

    def __init__(self, *, linalg: str | None = None) -> None:
        self.linalg = linalg

    def __enter__(self) -> None:
        self.before, _Linalg.raises = _Linalg.raises, self.linalg == "raise"

    def __exit__(self, *exc: object) -> None:
        _Linalg.raises = self.before


def scatter_add(a: ndarray, slices: Any, value: Any) -> None:
    ufunc("add").at(a, slices, value)


def _erf(x: ndarray) -> ndarray:
    host = unwrap(x)
    kind = host.dtype if host.dtype in (np.float32, np.float64) else np.dtype(float)
    return wrap(ran(np.vectorize(math.erf, otypes=[kind]), host) if host.size else host.astype(kind))


class _Generator:
    """``cupy.random.Generator``: other numbers than NumPy's, whatever the seed."""

    def __init__(self, seed: Any = None) -> None:
        self._host = np.random.Generator(np.random.SFC64(seed))

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> ndarray:
        return wrap(np.asarray(self._host.random(size, dtype)))

    def standard_normal(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> ndarray:
        return wrap(np.asarray(self._host.standard_normal(size, dtype)))

    def integers(self, low: Any, high: Any = None, size: Any = None, dtype: Any = np.int64) -> ndarray:
        return wrap(np.asarray(self._host.integers(low, high, size, dtype)))


def pinned(name: str) -> Callable[..., np.ndarray]:
    return lambda *args, **kwargs: getattr(np, name)(*args, **kwargs)


def modules() -> dict[str, ModuleType]:
    """Every module of the stand-in by the name under which it is imported."""
    names = words("""
        cupy cupy.fft cupy.linalg cupy.lib cupy.lib.stride_tricks cupy.cuda cupy.random
        cupyx cupyx.scipy cupyx.scipy.special
    """)
    made = {name: ModuleType(name) for name in names}
    for name, module in made.items():
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(made[parent], last, module)
    cupy = made["cupy"]
    for name in offered.UFUNCS:
        setattr(cupy, name, ufunc(name))
    for name in offered.FUNCTIONS + offered.CREATION:
        setattr(cupy, name, on_device(getattr(np, name)))
    for name in offered.WAITING:
        setattr(cupy, name, on_device(getattr(np, name), waits=True))
    for name in offered.CONSTANTS:
        setattr(cupy, name, getattr(np, name))
    for own in (
        array, asarray, ascontiguousarray, asnumpy, empty, empty_like, full, broadcast_to, clip, copyto, where, nonzero,
        argsort, may_share_memory, shares_memory, from_dlpack, get_array_module, ndarray,
    ):  # fmt: skip
        setattr(cupy, own.__name__, own)
    cupy.__dict__.update(
        ufunc=ufunc,
        RawKernel=emulated.RawKernel,
        RawModule=emulated.RawModule,
        __version__="14.2.0+standin",
        is_available=cuda.is_available,
        get_default_memory_pool=cuda.MemoryPool,
        get_default_pinned_memory_pool=cuda.MemoryPool,
    )
    for name in offered.FFT:
        setattr(made["cupy.fft"], name, on_device(getattr(np.fft, name)))
    for name in offered.LINALG:
        setattr(made["cupy.linalg"], name, _linalg(name))
    made["cupy.linalg"].__dict__["LinAlgError"] = np.linalg.LinAlgError
    made["cupy.lib.stride_tricks"].__dict__.update(as_strided=as_strided, sliding_window_view=sliding_window_view)
    for name in words("""
        Device Event MemoryPool Stream alloc_pinned_memory get_current_stream get_elapsed_time is_available runtime
        using_allocator
    """):
        setattr(made["cupy.cuda"], name, getattr(cuda, name))
    made["cupy.random"].__dict__.update(Generator=_Generator, default_rng=_Generator)
    made["cupyx"].__dict__.update(
        scatter_add=scatter_add,
        errstate=errstate,
        empty_pinned=pinned("empty"),
        empty_like_pinned=pinned("empty_like"),
        zeros_pinned=pinned("zeros"),
    )
    made["cupyx.scipy.special"].__dict__["erf"] = _erf
    made["cupy_backends.cuda.libs.nvrtc"] = emulated.Compiler()
    return made
