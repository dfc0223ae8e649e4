"""What belongs to CUDA devices alone: whether there is one, waiting for it, and training steps as captured graphs.

A step of a small network is hundreds of short kernels, and Python takes longer to launch them than the device to run
them.  CUDA can record the launches of one step and repeat them at once; :func:`graph_step` does that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from .backend import Device, cuda_is_available, module_for, on
from .kernels.cuda.tables import CAPTURE, CaptureError
from .tensor import Tensor

__all__ = ["CaptureError", "GraphStep", "graph_step", "is_available", "synchronize"]

is_available = cuda_is_available


def synchronize(device: str | Device = "cuda") -> None:
    """Wait until the device has done all that it was asked to.

    >>> import minidl
    >>> if minidl.cuda.is_available():
    ...     minidl.cuda.synchronize()
    """
    from .backend import usable

    target = usable(device)
    with on(target):
        module_for(target).cuda.runtime.deviceSynchronize()


def graph_step(step: Callable[..., Any], *, warmup: int = 3) -> GraphStep:
    """``step`` as a function that computes the same and is launched as a whole.

    ``step(*tensors)`` is one step of training on a CUDA device, forward, backward and update, of a batch whose tensors
    are its arguments.  It returns tensors, such as the loss, or None.  The first ``warmup`` calls with some shapes run
    as they are; the next one records the step, and from then on a call copies its arguments into the memory that the
    recorded step reads, and launches it.  What it returns lies in memory that the next call overwrites.

    A recorded step does the same again: it must not ask the device (``item()``, ``if loss > 1``), draw random tensors,
    or copy from the host, and raises CaptureError where it does.  The learning rate and whatever else an optimiser of
    ``minidl.optim`` computes for a step, and the masks of dropout, are computed anew for each call.

    >>> import minidl
    >>> if minidl.cuda.is_available():
    ...     net = minidl.nn.Linear(3, 2).cuda()
    ...     optimizer = minidl.optim.SGD(net.parameters(), lr=0.1)
    ...
    ...     def step(x, y):
    ...         optimizer.zero_grad()
    ...         loss = minidl.nn.functional.cross_entropy(net(x), y)
    ...         loss.backward()
    ...         optimizer.step()
    ...         return loss
    ...
    ...     fast = minidl.cuda.graph_step(step)
    """
    return GraphStep(step, warmup)


class GraphStep:
    """A step of training, recorded for each set of shapes that it was called with; see :func:`graph_step`.

    >>> GraphStep(print, 0)
    Traceback (most recent call last):
    ...
    ValueError: graph_step: the state of an optimiser is made in its first step, so warmup must be at least 1, not 0
    """

    def __init__(self, step: Callable[..., Any], warmup: int = 3) -> None:
        if warmup < 1:
            raise ValueError(
                "graph_step: the state of an optimiser is made in its first step, so warmup must be at least 1, not "
                f"{warmup}"
            )
        self.step, self.warmup = step, warmup
        self._calls: dict[Any, int] = {}
        self._recorded: dict[Any, _Recorded] = {}

    def __call__(self, *inputs: Tensor) -> Any:
        for i, x in enumerate(inputs):
            if not isinstance(x, Tensor) or not x.is_cuda:
                raise CaptureError(
                    f"graph_step: argument {i} is no tensor on a CUDA device: bring it there with .cuda()"
                )
        key = tuple((x.shape, x.dtype, x.device) for x in inputs)
        if (recorded := self._recorded.get(key)) is not None:
            return recorded(inputs)
        self._calls[key] = self._calls.get(key, 0) + 1
        if self._calls[key] <= self.warmup:
            return self.step(*inputs)
        recorded = self._recorded[key] = _Recorded(self.step, inputs)
        return recorded(inputs)


class _Recorded:
    """One captured graph with the memory that it reads and writes."""

    def __init__(self, step: Callable[..., Any], inputs: tuple[Tensor, ...]) -> None:
        self.device = inputs[0].device if inputs else Device("cuda", 0)
        xp = module_for(self.device)
        self.recording = Recording()
        with on(self.device):
            self.inputs = tuple(Tensor._wrap(x._array.copy()) for x in inputs)
            self.stream = xp.cuda.Stream(non_blocking=True)
            self.pool = xp.cuda.MemoryPool()  # nobody else gets the memory of what the step computes on its way
            self.stream.wait_event(xp.cuda.get_current_stream().record())
            with self.stream, xp.cuda.using_allocator(self.pool.malloc):
                self.stream.begin_capture()
                CAPTURE.recording = self.recording
                try:
                    self.result = step(*self.inputs)
                except BaseException as error:
                    _abandon(self.stream)
                    if "StreamCapture" in str(error):
                        raise CaptureError(
                            "graph_step: the step asks the device for a value, waits for it or copies from the host, "
                            f"which a graph cannot repeat ({error})"
                        ) from error
                    raise
                finally:
                    CAPTURE.recording = None
                self.graph = self.stream.end_capture()
            with self.stream:
                for buffer, host in self.recording.constants:
                    buffer.set(host)

    def __call__(self, inputs: tuple[Tensor, ...]) -> Any:
        xp = module_for(self.device)
        with on(self.device):
            outside = xp.cuda.get_current_stream()
            self.stream.wait_event(outside.record())
            with self.stream:
                for own, x in zip(self.inputs, inputs):
                    own._array[...] = x._array
                self.recording.fill()
                self.graph.launch(self.stream)
            outside.wait_event(self.stream.record())
        return self.result


def _abandon(stream: Any) -> None:
    """End a capture that has failed; CUDA then gives no graph."""
    with contextlib.suppress(RuntimeError):
        stream.end_capture()


class Recording:
    """What a captured step takes from the host: tables that stay, and numbers that are new for each launch."""

    def __init__(self) -> None:
        self.constants: list[tuple[Any, np.ndarray]] = []
        self.fed: list[tuple[list[Any], Callable[[], list[np.ndarray]], list[np.ndarray] | None]] = []

    def constant(self, xp: Any, host: np.ndarray) -> Any:
        """Memory that will hold ``host`` when the graph runs."""
        buffer = xp.empty(host.shape, host.dtype)
        self.constants.append((buffer, host))
        return buffer

    def feed(self, xp: Any, first: list[np.ndarray], again: Callable[[], list[np.ndarray]]) -> list[Any]:
        """Memory that will hold ``first`` when the graph first runs, and before each later run what ``again`` gives."""
        buffers = [xp.empty(host.shape, host.dtype) for host in first]
        self.fed.append((buffers, again, first))
        return buffers

    def fill(self) -> None:
        """Write what the next launch reads."""
        for i, (buffers, again, first) in enumerate(self.fed):
            for buffer, host in zip(buffers, again() if first is None else first, strict=True):
                buffer.set(np.ascontiguousarray(host))
            self.fed[i] = buffers, again, None
