"""NumPy or CuPy: which module owns an array, which devices exist, how arrays move between them.

Nothing here imports CuPy until somebody asks for a CUDA device or hands over a CuPy array.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from .kernels.arrays import array_module
from .kernels.cuda.tables import CAPTURE, CaptureError, fed


class DeviceError(RuntimeError):
    """A device that does not exist here, or tensors on different devices in one operation.

    >>> import minidl
    >>> try:
    ...     minidl.zeros(2, device="cuda:99")
    ... except minidl.DeviceError:
    ...     print("no such card")
    no such card
    """


@dataclass(frozen=True, slots=True)
class Device:
    """``cpu`` or one CUDA device; prints and compares like the string people write.

    >>> Device("cuda", 1)
    device(type='cuda', index=1)
    >>> Device("cpu") == "cpu"
    True
    """

    type: str
    index: int | None = None

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        return f"device(type={self.type!r}" + (")" if self.index is None else f", index={self.index})")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            other = device(other)
        return isinstance(other, Device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))


CPU = Device("cpu")


def device(spec: str | Device) -> Device:
    """``"cpu"``, ``"cuda"`` (device 0) or ``"cuda:1"`` as a :class:`Device`.

    >>> str(device("cuda"))
    'cuda:0'
    """
    if isinstance(spec, Device):
        return spec
    kind, _, index = str(spec).partition(":")
    if kind == "cpu" and not index:
        return CPU
    if kind == "cuda" and (not index or index.isdigit()):
        return Device("cuda", int(index or 0))
    raise DeviceError(f"unknown device {spec!r}: write 'cpu', 'cuda' or 'cuda:0'")


def device_of(array: Any) -> Device:
    """Where an array of NumPy or CuPy lies."""
    return CPU if array_module(array) is np else Device("cuda", array.device.id)


@functools.cache
def _cupy() -> ModuleType:
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(
            "no CUDA device can be used: CuPy is not installed; `minidl doctor` tells the command that fits your driver"
        ) from error
    except Exception as error:  # a library of CUDA that is missing or too old
        raise DeviceError(
            f"no CUDA device can be used: CuPy is installed but does not load ({error}); `minidl doctor` tells the "
            "command that mends it"
        ) from error
    if not cupy.cuda.is_available():
        raise DeviceError(
            "no CUDA device can be used: CuPy is installed but finds no GPU; `minidl doctor` tells what is wrong"
        )
    return cupy


def cuda_is_available() -> bool:
    """Whether ``.to("cuda")`` would work.

    >>> import minidl
    >>> device = "cuda" if minidl.cuda.is_available() else "cpu"
    """
    try:
        _cupy()
    except DeviceError:
        return False
    return True


def to_device(array: Any, target: Device) -> Any:
    """``array`` on ``target``; the same object when it already lies there."""
    if device_of(array) == target:
        return array
    if CAPTURE.recording is not None:
        way = "from the host to the device" if target.type == "cuda" else "from the device to the host"
        raise CaptureError(
            f"graph_step: the step copies an array of shape {array.shape} {way}, which a graph cannot repeat: bring it "
            "there before the step, as an argument of it, or look at it afterwards"
        )
    if target.type == "cpu":
        return array.get()
    cupy = _cupy()
    if array_module(array) is not np:
        with on(device_of(array)):
            array = cupy.ascontiguousarray(array)  # others do not go from device to device
        with on(target):
            return array.copy()
    with on(target):
        return cupy.asarray(array)


def from_host(make: Callable[[], np.ndarray], target: Device) -> Any:
    """What ``make`` gives on ``target``; a captured graph calls it again before each of its launches.

    >>> from_host(lambda: np.ones(2), device("cpu"))
    array([1., 1.])
    """
    if target.type == "cpu":
        return make()
    with on(target):
        return fed(_cupy(), make)


_NOWHERE_ELSE = contextlib.nullcontext()


def on(target: Device) -> contextlib.AbstractContextManager[Any]:
    """Inside, CuPy allocates and computes on ``target``.  DeviceError where there is no such device."""
    if target.type == "cpu":
        return _NOWHERE_ELSE
    cupy = _cupy()
    if cupy.cuda.runtime.getDevice() == target.index:
        return contextlib.nullcontext()
    count = cupy.cuda.runtime.getDeviceCount()
    if target.index >= count:
        names = "cuda:0 is the only one" if count == 1 else f"there are cuda:0 to cuda:{count - 1}"
        raise DeviceError(f"this machine has no device {target}: {names}")
    return cupy.cuda.Device(target.index)


def usable(spec: str | Device) -> Device:
    """The device that ``spec`` names, which is there; DeviceError with the way to one where it is not.

    >>> usable("cpu")
    device(type='cpu')
    """
    target = device(spec)
    on(target)
    return target


def together(name: str, names: Sequence[str], tensors: Sequence[Any]) -> contextlib.AbstractContextManager[Any]:
    """Where an operation on ``tensors`` (None: no tensor) computes.  DeviceError where they lie on several devices."""
    first: tuple[str, Any] | None = None
    for label, tensor in zip(names, tensors):
        if tensor is None:
            continue
        if first is None:
            first = label, tensor
        elif tensor.device != first[1].device:
            raise apart(name, first, (label, tensor))
    return contextlib.nullcontext() if first is None else on(first[1].device)


def apart(name: str, a: tuple[str, Any], b: tuple[str, Any]) -> DeviceError:
    """Two tensors, each with what the operation calls it, on two devices: where they are and the line to change."""
    stay, move = (a, b) if b[1].device == CPU else (b, a)
    where = str(stay[1].device)
    line = f"{move[0]} = {move[0]}.to({where!r})"
    if move[1].is_leaf and move[1].requires_grad:
        line = f"model.to({where!r}), as it looks like a parameter"
    first, second = (f"{label!r} {tensor.shape} is on {tensor.device}" for label, tensor in (a, b))
    return DeviceError(f"{name}: {first} and {second}; bring {move[0]!r} there too: {line}")


def is_writeable(array: Any) -> bool:
    """Whether writing into ``array`` is safe.  CuPy has no flag for it; there an expanded view counts as read-only."""
    if array_module(array) is np:
        return array.flags.writeable
    return not array.size or not any(stride == 0 and n > 1 for stride, n in zip(array.strides, array.shape))


@contextlib.contextmanager
def singular_raises(array: Any) -> Iterator[None]:
    """Linear algebra on ``array`` raises LinAlgError for a singular matrix, as NumPy does and CuPy must be asked to."""
    if array_module(array) is np:
        yield
        return
    import cupyx

    with cupyx.errstate(linalg="raise"):
        yield


def module_for(target: Device) -> ModuleType:
    """The array module of ``target``; it allocates there inside of :func:`on`."""
    return np if target.type == "cpu" else _cupy()
