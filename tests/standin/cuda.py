"""``cupy.cuda``: devices, streams, events, memory pools and the part of the runtime that minidl asks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, ClassVar

from . import state
from .capture import CUDARuntimeError, Graph
from .state import CURRENT, TRAFFIC


class Device:
    """A device; as a context it is the current one."""

    def __init__(self, device: int | None = None) -> None:
        self.id = CURRENT["device"] if device is None else int(device)
        self._before: list[int] = []

    def use(self) -> None:
        runtime_set_device(self.id)

    def __enter__(self) -> Device:
        self._before.append(CURRENT["device"])
        self.use()
        return self

    def __exit__(self, *exc: object) -> None:
        CURRENT["device"] = self._before.pop()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def synchronize(self) -> None:
        TRAFFIC.waits += 1

    compute_capability = "90"
    mem_info = (70 << 30, 80 << 30)


def runtime_set_device(index: int) -> None:
    if not 0 <= index < state.DEVICES:
        raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
    CURRENT["device"] = index


class Event:
    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self.name = ""
        self.at = 0.0

    def record(self, stream: Stream | None = None) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        TRAFFIC.waits += 1


class Stream:
    """Runs nothing; notes what it was asked, for tests of the order."""

    null: Stream
    _stack: ClassVar[list[Stream]] = []

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        self.name = "null" if null else "copy"
        self.ptr = 0 if null else id(self)

    def __enter__(self) -> Stream:
        Stream._stack.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        Stream._stack.pop()

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.name = self.name
        TRAFFIC.events.append(f"{self.name} records")
        return event

    def wait_event(self, event: Event) -> None:
        TRAFFIC.events.append(f"{self.name} waits for {event.name}")

    def synchronize(self) -> None:
        TRAFFIC.waits += 1

    def begin_capture(self, mode: int | None = None) -> None:
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if CURRENT["graph"] is not None:
            raise CUDARuntimeError("cudaErrorIllegalState: a stream is capturing already")
        CURRENT.update(graph=Graph(), capturing=self)

    def end_capture(self) -> Graph:
        if CURRENT["capturing"] is not self:
            raise CUDARuntimeError("cudaErrorIllegalState: the stream is not capturing")
        graph = CURRENT["graph"]
        CURRENT.update(graph=None, capturing=None)
        graph.end()
        return graph

    def is_capturing(self) -> bool:
        return CURRENT["capturing"] is self


Stream.null = Stream(null=True)


def get_elapsed_time(start: Event, end: Event) -> float:
    """Milliseconds."""
    return 1e3 * (end.at - start.at)


def get_current_stream() -> Stream:
    return Stream._stack[-1] if Stream._stack else Stream.null


class MemoryPool:
    """Counts nothing: the host's allocator holds the memory."""

    def malloc(self, size: int) -> Any:
        raise AssertionError("the stand-in's arrays come from NumPy")

    def used_bytes(self) -> int:
        return 0

    def total_bytes(self) -> int:
        return 0

    def n_free_blocks(self) -> int:
        return 0

    def free_all_blocks(self, stream: Any = None) -> None:
        return None

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        return None


@contextmanager
def using_allocator(allocator: Any = None) -> Iterator[None]:
    assert callable(allocator)
    yield


def alloc_pinned_memory(size: int) -> bytearray:
    return bytearray(size)


runtime = SimpleNamespace(
    getDeviceCount=lambda: state.DEVICES,
    getDevice=lambda: CURRENT["device"],
    setDevice=runtime_set_device,
    getDeviceProperties=lambda index: {"name": b"stand-in", "major": 9, "minor": 0, "totalGlobalMem": 80 << 30},
    driverGetVersion=lambda: 13000,
    runtimeGetVersion=lambda: 13000,
    deviceSynchronize=lambda: Device().synchronize(),
    CUDARuntimeError=CUDARuntimeError,
)


def is_available() -> bool:
    return state.DEVICES > 0
