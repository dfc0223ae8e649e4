"""The table (problem, pass, device, algorithm) -> kernel, and the planner that chooses from it.

The kernels of a problem are registered in ``kernels/<problem>_algorithms.py``, those of all problems on "cuda" in
``kernels/cuda_algorithms.py``, which are imported when they are first asked for; the module of a kernel is imported
when the kernel first runs.  So asking what exists loads neither Numba nor CuPy.

A plan depends on its arguments and on the width of the processor's vectors: the same problem gets the same algorithm
on all machines of a kind, because the estimates come from constants, not from a stopwatch.  Unless somebody asks for
the stopwatch: `tuner`.
"""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from . import jit
from .errors import UnsupportedError

Precision = Literal["fast", "exact"]


class _Wish(threading.local):
    precision: Precision = "fast"


_wish = _Wish()


@contextmanager
def conv_precision(precision: Precision) -> Iterator[None]:
    """Inside, this thread plans with ``precision`` where a call does not say otherwise; backward passes too.

    "exact" leaves out what rounds more than plain summation does: Winograd, FFT, and tensor cores on a GPU.

    >>> import minidl
    >>> x, w = minidl.randn(1, 32, 56, 56), minidl.randn(32, 32, 3, 3)
    >>> with minidl.conv_precision("exact"):
    ...     y = minidl.nn.functional.conv2d(x, w, padding=1)
    """
    _check_precision(precision)
    before, _wish.precision = _wish.precision, precision
    try:
        yield
    finally:
        _wish.precision = before


def wished_precision() -> Precision:
    """What `conv_precision` says in this thread."""
    return _wish.precision


def _check_precision(precision: Any) -> None:
    if precision not in ("fast", "exact"):
        raise ValueError(f'precision must be "fast" or "exact", got {precision!r}')


@dataclass(frozen=True, slots=True)
class Cost:
    """What running a kernel once takes: the model's numbers, not measurements.

    flops and bytes (moved to and from main memory), workspace in bytes beside inputs and outputs, and
    seconds as estimated for two cores of a current server CPU.
    """

    flops: float
    bytes: float
    workspace: int
    seconds: float


@dataclass(frozen=True)
class Kernel:
    """One row of the table.

    ``supports(problem)`` says why the kernel can *not* do a case, or None; ``cost(problem, itemsize)``
    estimates it.  ``automatic`` False: used on request only.  ``exact`` False: its rounding error is a
    multiple of that of plain summation, so ``precision="exact"`` leaves it out.  ``dtypes`` None: any.
    """

    problem: str
    pass_: str
    device: str
    algorithm: str
    module: str
    function: str
    supports: Callable[[Any], str | None]
    cost: Callable[[Any, int], Cost]
    automatic: bool = True
    exact: bool = True
    needs_numba: bool = False
    dtypes: tuple[str, ...] | None = None

    def obstacle(self, problem: Any, dtype: np.dtype) -> str | None:
        """Why this kernel cannot compute ``problem`` in ``dtype`` here; None where it can."""
        if self.needs_numba and not jit.HAVE_NUMBA:
            return "needs Numba, which is not installed"
        if self.dtypes is not None and dtype.name not in self.dtypes:
            return f"computes in {' or '.join(self.dtypes)}, not {dtype.name}"
        if self.dtypes is not None and not dtype.isnative:
            return f"computes in the byte order of this machine, not in {dtype.str}"
        return self.supports(problem)

    @functools.cached_property
    def call(self) -> Callable[..., Any]:
        """The kernel's function; its module is imported by the first use."""
        return getattr(importlib.import_module(self.module, package=__package__), self.function)

    @functools.cached_property
    def call_then(self) -> Callable[..., Any] | None:
        """The kernel's function that does what comes behind it too (``forward_then``); None where there is none."""
        return getattr(importlib.import_module(self.module, package=__package__), f"{self.function}_then", None)


@dataclass(frozen=True)
class Plan:
    """The chosen kernel for one problem, and what it was chosen from.

    ``candidates`` holds each kernel of the table with its Cost, or with the reason why it cannot.
    """

    problem: Any
    dtype: np.dtype
    kernel: Kernel
    candidates: tuple[tuple[Kernel, Cost | str], ...]
    reason: str

    @property
    def algorithm(self) -> str:
        return self.kernel.algorithm

    @property
    def cost(self) -> Cost:
        """The model's numbers for the chosen kernel."""
        return next(c for k, c in self.candidates if k is self.kernel and isinstance(c, Cost))

    def run(self, *arrays: Any, out: Any = None) -> Any:
        """Compute: ``kernel(*arrays, problem, out=out)``."""
        return self.kernel.call(*arrays, self.problem, out=out)

    def explain(self) -> str:
        """A table of the candidates in text, the chosen one marked, and why it was chosen."""
        k = self.kernel
        width = max(10, *(len(kernel.algorithm) + 1 for kernel, _ in self.candidates))
        lines = [
            f"{k.problem} {k.pass_} on {k.device} in {self.dtype.name}: {self.problem}",
            f"  {'algorithm':<{width}}{'flops':>10}{'workspace':>12}{'estimate':>12}",
        ]
        for kernel, cost in self.candidates:
            mark = ">" if kernel is k else " "
            if isinstance(cost, str):
                lines.append(f"{mark} {kernel.algorithm:<{width}}cannot: {cost}")
                continue
            numbers = f"{quantity(cost.flops):>10}{quantity(cost.workspace, 'B'):>12}{duration(cost.seconds):>12}"
            note = "" if kernel.automatic else "  on request only"
            lines.append(f"{mark} {kernel.algorithm:<{width}}{numbers}{note}")
        return "\n".join([*lines, f"chosen: {self.algorithm}, {self.reason}"])


def quantity(value: float, unit: str = "") -> str:
    """``1500000`` -> ``1.5 M``"""
    for prefix in ("", "k", "M", "G", "T"):
        if value < 999.5 or prefix == "T":
            break
        value /= 1000
    return f"{value:.3g} {prefix}{unit}".rstrip()


def duration(seconds: float) -> str:
    """``0.0021`` -> ``2.1 ms``"""
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


_table: dict[tuple[str, str, str], list[Kernel]] = {}


def register(kernel: Kernel) -> Kernel:
    """Add a kernel to the table.  ValueError where problem, pass, device and algorithm are taken."""
    row = _table.setdefault((kernel.problem, kernel.pass_, kernel.device), [])
    if any(k.algorithm == kernel.algorithm for k in row):
        raise ValueError(f"{kernel.problem} {kernel.pass_} on {kernel.device} has {kernel.algorithm!r} already")
    row.append(kernel)
    _choose.cache_clear()
    return kernel


def kernels(problem: str, pass_: str, device: str = "cpu") -> tuple[Kernel, ...]:
    """All kernels of the table for one pass of one problem, in the order of registration.

    >>> [k.algorithm for k in kernels("conv", "forward")][:2]
    ['spec', 'im2col']
    """
    importlib.import_module(f".{problem}_algorithms", package=__package__)
    if device == "cuda":
        importlib.import_module(".cuda_algorithms", package=__package__)
    return tuple(_table.get((problem, pass_, device), ()))


def plan(
    problem: str,
    pass_: str,
    case: Any,
    *,
    dtype: Any = "float32",
    device: str = "cpu",
    algorithm: str | None = None,
    precision: Precision | None = None,
) -> Plan:
    """Choose the kernel with the smallest estimated time, or the one named by ``algorithm``.

    ``case`` is the problem's geometry, for example a ``Conv``.  ``precision="exact"`` leaves out algorithms
    that round more than plain summation does; None: as :func:`conv_precision` says.  Equal estimates: the one
    registered first.

    Raises UnsupportedError where the named algorithm cannot, saying why and which ones can.

    >>> from minidl.kernels.geometry import Conv
    >>> plan("conv", "forward", Conv.from_shapes((8, 256, 14, 14), (256, 256, 3, 3), stride=2)).algorithm
    'nhwc'
    """
    precision = precision or _wish.precision
    estimated = _choose(problem, pass_, case, np.dtype(dtype), device, algorithm, precision)
    return estimated if tuner is None or algorithm is not None else tuner(estimated, precision)


tuner: Callable[[Plan, Precision], Plan] | None = None
"""What may replace a choice by estimate with one by measurement: ``minidl.autotune`` sets it."""


@functools.lru_cache(maxsize=4096)
def _choose(
    problem: str,
    pass_: str,
    case: Any,
    dtype: np.dtype,
    device: str,
    algorithm: str | None,
    precision: Precision,
) -> Plan:
    _check_precision(precision)
    rows = kernels(problem, pass_, device)
    candidates: list[tuple[Kernel, Cost | str]] = []
    for k in rows:
        why_not = k.obstacle(case, dtype)
        candidates.append((k, k.cost(case, dtype.itemsize) if why_not is None else why_not))
    able = [(k, c) for k, c in candidates if isinstance(c, Cost)]
    if algorithm is not None:
        chosen = next((k for k, _ in able if k.algorithm == algorithm), None)
        if chosen is None:
            raise _unsupported(problem, pass_, case, dtype, device, algorithm, candidates)
        reason = "because it was asked for"
    elif not able:
        raise _unsupported(problem, pass_, case, dtype, device, None, candidates)
    else:
        pool = [(k, c) for k, c in able if k.automatic and (k.exact or precision == "fast")]
        reason = "the smallest estimate"
        if precision == "exact":
            reason += " of those that round no more than plain summation"
        if not pool:
            pool, reason = able, "because no other can"
        chosen = min(pool, key=lambda row: row[1].seconds)[0]
    return Plan(case, dtype, chosen, tuple(candidates), reason)


def _unsupported(
    problem: str,
    pass_: str,
    case: Any,
    dtype: np.dtype,
    device: str,
    algorithm: str | None,
    candidates: list[tuple[Kernel, Cost | str]],
) -> UnsupportedError:
    where = f"{problem} {pass_} on {device} in {dtype.name}"
    refusals = {k.algorithm: c for k, c in candidates if isinstance(c, str)}
    can = [k.algorithm for k, c in candidates if isinstance(c, Cost)]
    if algorithm is None:
        reasons = "; ".join(f"{name} {why}" for name, why in refusals.items()) or "the table has none"
        return UnsupportedError(f"no kernel can compute {where} ({case}): {reasons}")
    if algorithm in refusals:
        text = f"algorithm={algorithm!r} cannot compute {where} ({case}): {refusals[algorithm]}"
    else:
        text = f"there is no algorithm {algorithm!r} for {where}"
    return UnsupportedError(f"{text}. These can: {', '.join(can) or 'none'}")
