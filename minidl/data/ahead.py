"""Batches on their way to a CUDA device: the copy of the next one runs while the present one is computed with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..backend import Device, module_for, on
from ..tensor import Tensor


def batches_on(batches: Iterable[Any], target: Device) -> Iterator[Any]:
    """``batches`` with their tensors on ``target``, in order; on CUDA one batch is copied ahead.

    CuPy copies through pinned memory of its own, so the host goes on at once.  The copies run on a stream beside the
    one that computes.  Two things keep them apart: a batch is handed out once the computing stream waits for its copy,
    and a copy begins after all that was computed until now, because the memory it gets may be that of an older batch.
    """
    if target.type == "cpu":
        yield from (moved(batch, target) for batch in batches)
        return
    cuda = module_for(target).cuda
    with on(target):
        copying = cuda.Stream(non_blocking=True)
    ahead: tuple[Any, Any] | None = None
    for batch in batches:
        with on(target):
            copying.wait_event(cuda.get_current_stream().record())
            with copying:
                coming = moved(batch, target)
            event = copying.record()
        if ahead is not None:
            yield _arrived(*ahead, cuda, target)
        ahead = coming, event
    if ahead is not None:
        yield _arrived(*ahead, cuda, target)


def _arrived(batch: Any, event: Any, cuda: Any, target: Device) -> Any:
    """The batch, once the stream that computes waits for its copy; the host does not."""
    with on(target):
        cuda.get_current_stream().wait_event(event)
    return batch


def moved(batch: Any, target: Device) -> Any:
    """Every tensor of a batch on ``target``; whatever else there is stays.

    >>> import minidl
    >>> moved({"x": minidl.zeros(2), "name": "a"}, minidl.device("cpu"))
    {'x': tensor([0., 0.]), 'name': 'a'}
    """
    if isinstance(batch, dict):
        return {key: moved(value, target) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        values = [moved(value, target) for value in batch]
        return type(batch)(*values) if hasattr(batch, "_fields") else type(batch)(values)  # a named tuple
    return batch.to(target) if isinstance(batch, Tensor) else batch
