"""Graphs that a stream records: while it captures nothing happens, and the host may neither ask, wait nor copy.

What the stand-in computes goes through `ran`.  While a stream captures, a function of NumPy still runs, because only so
its result's shape is known; but what it wrote into is put back when the capture ends, its results become NaN, and a
kernel does not run at all.  A launch of the graph runs everything again, into the same arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .state import CURRENT


class CUDARuntimeError(RuntimeError):
    pass


class Graph:
    """What was recorded, in order."""

    def __init__(self) -> None:
        self.steps: list[Callable[[], None]] = []
        self.before: list[tuple[np.ndarray, np.ndarray]] = []  # what was written into, and what it held
        self.fresh: list[np.ndarray] = []
        self.launches = 0

    def launch(self, stream: Any = None) -> None:
        assert CURRENT.get("graph") is None, "a graph is launched while another one is recorded"
        self.launches += 1
        for step in self.steps:
            step()

    def upload(self, stream: Any = None) -> None:
        return None

    def end(self) -> None:
        for target, old in reversed(self.before):
            target[...] = old
        for array in self.fresh:
            if array.dtype.kind in "fc":
                array.fill(np.nan)
        self.before.clear()
        self.fresh.clear()


def ran(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What ``function`` gives for these arguments; recorded while a stream captures."""
    with np.errstate(all="ignore"):  # a GPU does not warn
        graph = CURRENT.get("graph")
        if graph is None:
            return function(*args, **kwargs)
        allowed()
        out = kwargs.get("out")
        if out is not None:
            graph.before.append((out, out.copy()))
        result = _arrays(function(*args, **kwargs))
    given = [a for a in (*args, *kwargs.values(), getattr(function, "__self__", None)) if isinstance(a, np.ndarray)]
    results = [r for r in _flat(result) if out is None and not any(np.may_share_memory(r, a) for a in given)]
    graph.fresh += results

    def again() -> None:
        with np.errstate(all="ignore"):
            new = function(*args, **kwargs)
        for target, value in zip(_flat(result), _flat(_arrays(new))):
            if any(target is r for r in results):
                target[...] = value

    graph.steps.append(again)
    return result


def wrote(target: np.ndarray, write: Callable[[], None]) -> None:
    """Carry out ``write``, which changes ``target``; recorded while a stream captures."""
    graph = CURRENT.get("graph")
    if graph is not None:
        allowed()
        graph.before.append((target, target.copy()))
        graph.steps.append(write)
    write()


def launched(run: Callable[[], None]) -> None:
    """Run a kernel, or record it."""
    graph = CURRENT.get("graph")
    if graph is None:
        run()
    else:
        allowed()
        graph.steps.append(run)


def allowed() -> None:
    from .cuda import get_current_stream

    if get_current_stream() is not CURRENT["capturing"]:
        raise CUDARuntimeError("cudaErrorStreamCaptureImplicit: an operation on a stream that is not the capturing one")


def forbid(what: str) -> None:
    """An operation that CUDA refuses while a stream captures, or that CuPy would record with the host's memory."""
    if CURRENT.get("graph") is not None:
        raise CUDARuntimeError(
            f"cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing: {what}"
        )


def _arrays(result: Any) -> Any:
    if isinstance(result, np.generic):
        return np.asarray(result)
    if isinstance(result, (tuple, list)):
        return type(result)(map(_arrays, result)) if type(result) in (tuple, list) else tuple(map(_arrays, result))
    return result


def _flat(result: Any) -> list[np.ndarray]:
    if isinstance(result, (tuple, list)):
        return [a for r in result for a in _flat(r)]
    return [result] if isinstance(result, np.ndarray) else []
