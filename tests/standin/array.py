"""``cupy.ndarray``: host memory behind the fence of a device."""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .capture import ran, wrote
from .cuda import Device
from .offered import words
from .state import CURRENT, TRAFFIC

_NO_IMPLICIT = (
    "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly."
)


class Flags:
    """Only three of NumPy's flags exist: nothing says whether an array may be written to."""

    def __init__(self, host: np.ndarray) -> None:
        self.c_contiguous, self.f_contiguous = host.flags.c_contiguous, host.flags.f_contiguous
        self.owndata = host.base is None

    def __getitem__(self, name: str) -> bool:
        return {"C_CONTIGUOUS": self.c_contiguous, "F_CONTIGUOUS": self.f_contiguous, "OWNDATA": self.owndata}[name]


class MemoryPointer:
    """Where an array begins."""

    def __init__(self, array: ndarray) -> None:
        self.array = array
        self.ptr = array._host.__array_interface__["data"][0]
        self.device_id = array._on
        self.device = Device(array._on)


class ndarray:
    """An array on the device ``_on``, whose elements are kept in ``_host``."""

    __slots__ = ("__weakref__", "_host", "_on")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None, order: str = "C"
    ) -> None:
        self._on = CURRENT["device"] if memptr is None else memptr.device_id
        if memptr is None:
            self._host = np.empty(shape, dtype, order=order)
            _poison(self._host)
        else:
            self._host = np.lib.stride_tricks.as_strided(memptr.array._host, shape, strides)

    # ---- what it is ----------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self._host.shape

    @shape.setter
    def shape(self, shape: Any) -> None:
        self._host.shape = shape

    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    strides = property(lambda self: self._host.strides)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    flags = property(lambda self: Flags(self._host))
    data = property(MemoryPointer)
    device = property(lambda self: Device(self._on))
    T = property(lambda self: wrap(self._host.T, self))
    mT = property(lambda self: wrap(self._host.mT, self))
    real = property(lambda self: wrap(self._host.real, self))
    imag = property(lambda self: wrap(self._host.imag, self))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        host = self._host
        return {"shape": host.shape, "typestr": host.dtype.str, "data": (self.data.ptr, False), "version": 3}

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    # ---- to the host: explicitly, or not at all --------------------------------------------------------------

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError(_NO_IMPLICIT)

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        TRAFFIC.downloads += 1
        if out is not None:
            out[...] = self._host
            return out
        return self._host.copy(order)

    def item(self) -> Any:
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def tobytes(self, order: str = "C") -> bytes:
        return self.get().tobytes(order)

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __repr__(self) -> str:
        return repr(self.get())

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

    def __reduce__(self) -> Any:
        return _from_host, (self.get(),)

    def __copy__(self) -> ndarray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> ndarray:
        return self.copy()

    def set(self, array: np.ndarray, stream: Any = None) -> None:
        if not isinstance(array, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        TRAFFIC.uploads += 1
        self._host[...] = array

    def __dlpack__(self, **options: Any) -> Any:
        return self  # a capsule in CuPy; the stand-in's own from_dlpack is the only reader

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self._on  # kDLCUDA

    # ---- NumPy's functions on it stay on the device, if nothing of NumPy is among the arguments ----------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        import cupyx.scipy.special

        try:
            function = getattr(_cupy(), ufunc.__name__, None) or getattr(cupyx.scipy.special, ufunc.__name__)
            if method != "__call__":
                function = getattr(function, method)
        except AttributeError:
            return NotImplemented
        out = kwargs.get("out")
        if out is not None:
            (kwargs["out"],) = out
        for x in (*inputs, *(out or ())):
            if not is_scalar(x) and not isinstance(x, (ndarray, np.ndarray)):
                return NotImplemented
        return function(*inputs, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        try:
            module = functools.reduce(getattr, function.__module__.split(".")[1:], _cupy())
            ours = getattr(module, function.__name__)
        except AttributeError:
            return NotImplemented
        if not all(issubclass(t, (ndarray, np.ndarray)) for t in types):
            return NotImplemented
        return ours(*args, **kwargs)

    # ---- elements ----------------------------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> ndarray:
        check_device(self)
        host_index, basic = host_indices(index)
        if basic and Ellipsis not in (host_index if isinstance(host_index, tuple) else (host_index,)):
            host_index = (*host_index, Ellipsis) if isinstance(host_index, tuple) else (host_index, Ellipsis)
        get = operator.getitem if basic else functools.partial(ran, operator.getitem)  # a view is nothing to record
        return wrap(_in_range(lambda: get(self._host, host_index), basic), self)

    def __setitem__(self, index: Any, value: Any) -> None:
        check_device(self)
        host_index, basic = host_indices(index)
        if isinstance(value, ndarray):
            check_device(value)
            value = value._host
        elif isinstance(value, np.ndarray) or not is_scalar(value):
            if basic and np.asarray(value).shape != ():
                raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
            TRAFFIC.uploads += 1
        _in_range(lambda: wrote(self._host, lambda: operator.setitem(self._host, host_index, value)), basic)

    def astype(
        self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None, copy: bool = True
    ) -> ndarray:
        return wrap(ran(self._host.astype, dtype, order, copy=copy), self)

    def copy(self, order: str = "C") -> ndarray:
        """The one way from a device to another: the copy lies on the current one."""
        if self._on != CURRENT["device"] and not (self._host.flags.c_contiguous or self._host.flags.f_contiguous):
            raise NotImplementedError("CuPy cannot copy non-contiguous array between devices.")
        return _adopt(ran(self._host.copy, order), CURRENT["device"])

    def fill(self, value: Any) -> None:
        if isinstance(value, ndarray):
            value = value._host
        if np.shape(value) != ():
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        wrote(self._host, lambda: self._host.fill(value))

    def view(self, dtype: Any = None) -> ndarray:
        return wrap(self._host.view() if dtype is None else self._host.view(dtype), self)


METHODS = words("""
    all any argmax argmin argsort clip compress conj cumprod cumsum diagonal dot flatten max mean min nonzero prod ptp
    ravel repeat reshape round searchsorted sort squeeze std sum swapaxes take trace transpose var
""")
_SYMBOLS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "power", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or",
    "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift",
}  # fmt: skip


def wrap(result: Any, like: ndarray | None = None) -> Any:
    """A host result as what CuPy gives: an array on the current device, also where NumPy has a scalar."""
    if like is not None and result is like._host:
        return like
    if isinstance(result, (np.ndarray, np.generic)):
        return _adopt(np.asarray(result), CURRENT["device"] if like is None else like._on)
    if isinstance(result, (tuple, list)):
        return type(result)(wrap(r) for r in result) if type(result) in (tuple, list) else tuple(map(wrap, result))
    return result


def _adopt(host: np.ndarray, on: int) -> ndarray:
    new = object.__new__(ndarray)
    new._host, new._on = host, on
    return new


def _from_host(host: np.ndarray) -> ndarray:
    TRAFFIC.uploads += 1
    return _adopt(host, CURRENT["device"])


def unwrap(value: Any) -> Any:
    """The host arrays behind the arguments of a function; nothing but arrays of this device and numbers may pass."""
    if isinstance(value, ndarray):
        check_device(value)
        return value._host
    if isinstance(value, (list, tuple)):
        return type(value)([unwrap(v) for v in value])
    if isinstance(value, np.ndarray) or (hasattr(value, "__array__") and not is_scalar(value)):
        raise TypeError(f"Unsupported type {type(value)}")
    return value


def check_device(array: ndarray) -> None:
    if array._on != CURRENT["device"]:
        raise ValueError(
            f"The device where the array resides ({array._on}) is different from the current device "
            f"({CURRENT['device']}). Peer access is unavailable between these devices."
        )


def is_scalar(value: Any) -> bool:
    return isinstance(value, (int, float, complex, np.generic))


def host_indices(index: Any) -> tuple[Any, bool]:
    """The index for the host array, and whether it gives a view; whatever is not on the device is uploaded."""
    parts = index if isinstance(index, tuple) else (index,)
    found, basic, masks = [], True, 0
    for part in parts:
        if part is None or part is Ellipsis or isinstance(part, slice):
            found.append(part)
        elif isinstance(part, (int, np.integer)) and not isinstance(part, (bool, np.bool_)):
            found.append(int(part))
        elif hasattr(part, "__array__") and not isinstance(part, (ndarray, np.ndarray, np.generic)):
            raise TypeError(f"Unsupported type {type(part)}")
        else:
            basic = False
            if isinstance(part, ndarray):
                check_device(part)
                part = part._host
            else:
                TRAFFIC.uploads += 1
                part = np.asarray(part)
                part = part.astype(np.int32) if not part.size and part.dtype == np.float64 else part
            if part.dtype.kind not in "biu":
                raise IndexError(f"arrays used as indices must be of integer or boolean type. (actual: {part.dtype})")
            masks += part.dtype.kind == "b"
            found.append(part)
    if masks > 1:
        raise ValueError("CuPy does not support an index of more than one boolean array")
    TRAFFIC.downloads += masks  # the host waits for the number of elements
    return (tuple(found) if isinstance(index, tuple) else found[0]), basic


def _in_range(access: Callable[[], Any], basic: bool) -> Any:
    try:
        return access()
    except IndexError as error:
        if not basic and "out of bounds" in str(error):
            raise AssertionError(f"CuPy would not notice, and wrap around: {error}") from error
        raise


def _poison(host: np.ndarray) -> None:
    """Fresh device memory holds anything."""
    if host.dtype.kind in "fc":
        host.fill(np.nan)


def _cupy() -> Any:
    return sys.modules["cupy"]


def _method(name: str) -> Callable[..., Any]:
    def method(self: ndarray, *args: Any, **kwargs: Any) -> Any:
        if hasattr(_cupy(), name) and name not in ("round", "sort", "clip", "compress", "searchsorted", "reshape"):
            return getattr(_cupy(), name)(self, *args, **kwargs)
        check_device(self)
        return wrap(ran(getattr(self._host, name), *unwrap(args), **unwrap_dict(kwargs)), self)

    method.__name__ = name
    return method


def unwrap_dict(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {k: unwrap(v) for k, v in kwargs.items()}


def _operator(name: str, reflected: bool) -> Callable[..., Any]:
    def operation(self: ndarray, other: Any) -> Any:
        if not isinstance(other, (ndarray, np.ndarray)) and getattr(other, "__array_priority__", 0) > 100:
            return NotImplemented  # a class that asked for its own operator
        function = getattr(_cupy(), name)
        return function(other, self) if reflected else function(self, other)

    return operation


def _in_place(name: str) -> Callable[..., Any]:
    def operation(self: ndarray, other: Any) -> ndarray:
        getattr(_cupy(), name)(self, other, out=self)
        return self

    return operation


for _name in METHODS:
    setattr(ndarray, _name, _method(_name))
for _symbol, _name in _SYMBOLS.items():
    setattr(ndarray, f"__{_symbol}__", _operator(_name, False))
    setattr(ndarray, f"__r{_symbol}__", _operator(_name, True))
    if _symbol != "matmul":
        setattr(ndarray, f"__i{_symbol}__", _in_place(_name))
for _symbol, _name in {
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
}.items():  # fmt: skip
    setattr(ndarray, f"__{_symbol}__", _operator(_name, False))
for _symbol, _name in {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}.items():
    setattr(ndarray, f"__{_symbol}__", lambda self, _name=_name: getattr(_cupy(), _name)(self))
ndarray.__module__ = "cupy"
