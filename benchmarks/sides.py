"""The two sides of a comparison as processes that take turns, and the operands that both compute with.

The protocol: the parent writes a pickled ``(method, arguments)`` to the child's standard input, the child calls
that method of its `Side` and writes ``(True, result)`` or ``(False, traceback)`` to its standard output, as soon as all
its threads sleep.  So there is never more than one of them computing.  Only NumPy and the standard library are imported
here.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from . import AS_STARTED, timing
from .shapes import Layer

ROOT = Path(__file__).resolve().parents[1]
PREFIXES = ("OPENBLAS_", "OMP_", "GOMP_", "KMP_", "MKL_", "ONEDNN_", "DNNL_", "NUMBA_", "MALLOC_", "GLIBC_", "ATEN_")


def settings() -> dict[str, str]:
    """The environment variables of this process that change speed; values that are paths are left out."""
    return {k: v for k, v in sorted(os.environ.items()) if k.startswith(PREFIXES) and os.sep not in v}


def operands(layer: Layer, y_shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, w and the cotangent g of y: normally distributed float32, the same in every process.

    Never zeros: arithmetic on them is faster on some hardware.
    """
    generator = np.random.default_rng(20)
    x, w, g = (generator.standard_normal(s, dtype=np.float32) for s in (layer.x_shape, layer.w_shape, y_shape))
    return x, w, g


class Side:
    """A library that can compute layers: what runs in the child.  Subclasses say how in ``call``."""

    def __init__(self) -> None:
        self.calls: dict[str, Callable[[], Any]] = {}

    def stamp(self) -> dict[str, Any]:
        """What is worth knowing about this process."""
        raise NotImplementedError

    def call(self, *args: Any, **how: Any) -> Callable[[], Any]:
        """A function that computes once what the arguments say."""
        raise NotImplementedError

    def prepare(self, name: str, *args: Any, **how: Any) -> None:
        """Make a call known under ``name``, and warm it up."""
        self.calls[name] = self.call(*args, **how)
        timing.warm_up(self.calls[name])

    def turn(self, name: str, seconds: float, clock: str = "wall") -> list[float]:
        """Time the call for so many seconds, by one of ``timing.CLOCKS``."""
        return timing.turn(self.calls[name], seconds, timing.CLOCKS[clock])

    def memory(self, name: str) -> int | None:
        """Bytes that the call takes at most beside its operands and its result; None where the system does not say.

        Physical memory of the whole process: the most during one call, less what was held before it and the bytes of
        the result.  The library has given back what it can before, so buffers that it keeps from call to call count.
        The system counts in pages, and pages that a call writes for the first time, so a megabyte here or there says
        nothing.
        """
        self.release()
        before = resident()
        if before is None or not reset_peak():
            return None
        result = self.calls[name]()
        most = resident("VmHWM")
        return None if most is None else max(0, most - before - result.nbytes)

    def release(self) -> None:
        """Give free memory back to the system, where that can be asked for (glibc)."""
        with contextlib.suppress(AttributeError, OSError, TypeError):
            ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))

    def result(self, name: str) -> np.ndarray:
        """What the call computes."""
        return np.ascontiguousarray(self.calls[name]())

    def forget(self) -> None:
        """Drop all calls and their operands."""
        self.calls.clear()


def reset_peak() -> bool:
    """Let the most that `resident` tells begin anew with what is held now; whether the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def resident(field: str = "VmRSS") -> int | None:
    """Bytes of physical memory of this process, VmHWM for the most so far; None where the system does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return None


def serve(side: Side) -> None:
    """The child's end: answer until the parent closes the pipe."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not get between the answers
    while True:
        try:
            method, args, how = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = (True, getattr(side, method)(*args, **how))
        except Exception:
            answer = (False, traceback.format_exc())
        timing.rest()
        pickle.dump(answer, answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()


class Remote:
    """The parent's end of a side: ``Remote("benchmarks.side_torch", 2).ask("stamp")``; a context manager.

    ``ask`` raises RuntimeError with the child's traceback where the method raised, or where the child has died.
    """

    def __init__(self, module: str, *arguments: Any) -> None:
        command = [sys.executable, "-m", module, *map(str, arguments)]
        self.module = module
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=AS_STARTED)

    def ask(self, method: str, *args: Any, **how: Any) -> Any:
        assert self.child.stdin is not None and self.child.stdout is not None
        try:
            pickle.dump((method, args, how), self.child.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            self.child.stdin.flush()
            done, answer = pickle.load(self.child.stdout)
        except (EOFError, BrokenPipeError):
            raise RuntimeError(
                f"{self.module} has ended (exit code {self.child.wait()}) during {method}{args}"
            ) from None
        if not done:
            raise RuntimeError(f"{self.module} could not {method}{args}:\n{answer}")
        return answer

    def __enter__(self) -> Remote:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.child.kill()  # it may be in the middle of a long call
        self.child.communicate()
