"""Convolution algorithms chosen by the stopwatch instead of by estimate, and remembered in a file.

    with autotune.measured("plans.json"):
        train(...)

The first time that a problem comes up, every algorithm that could be the fastest runs a few times on random numbers;
from then on, in this process and in later ones, the fastest is taken.  So results may differ in rounding from one
machine to another, which estimates never let them do.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__
from .io import atomic_write
from .kernels import catalogue
from .kernels.catalogue import Cost, Kernel, Plan, Precision
from .kernels.threads import get_num_threads

NEAR = 4.0  # algorithms with a longer estimate, as a multiple of the least, are not tried
SECONDS = 0.05  # of calls for each algorithm, three at least
REASON = "the fastest measured on this machine"


class AutotuneError(ValueError):
    """A file that does not hold measured plans.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "plans.json")
    ...     _ = path.write_text("[]")
    ...     try:
    ...         Tuner(path)
    ...     except AutotuneError as error:
    ...         print(str(error).split(": ")[1])
    name another file, or delete this one to measure anew
    """


@contextlib.contextmanager
def measured(file: str | os.PathLike[str]) -> Iterator[Tuner]:
    """Within the block convolutions on the CPU are planned by measurement, for all threads of the process.

    ``file`` keeps the choices: JSON, by processor, number of threads and version of minidl; made if it is not there.
    Blocks may be nested; the innermost counts.  Raises AutotuneError where the file holds something else.

    >>> import minidl, tempfile
    >>> from minidl import autotune
    >>> with tempfile.TemporaryDirectory() as folder, autotune.measured(f"{folder}/plans.json") as tuner:
    ...     y = minidl.nn.functional.conv2d(minidl.ones(1, 2, 5, 5), minidl.ones(3, 2, 3, 3))
    ...     len(tuner.choices)
    1
    """
    tuner, before = Tuner(file), catalogue.tuner
    catalogue.tuner = tuner
    try:
        yield tuner
    finally:
        catalogue.tuner = before


class Tuner:
    """Takes a plan by estimate and gives the measured one.  ``choices``: the algorithm for each problem so far.

    >>> Tuner("no such file.json").choices
    {}
    """

    def __init__(self, file: str | os.PathLike[str]) -> None:
        self.file = Path(file)
        self.machines = _read(self.file)
        self.plans: dict[Any, Plan] = {}

    @property
    def choices(self) -> dict[str, str]:
        return self.machines.setdefault(machine(), {})

    def __call__(self, plan: Plan, precision: Precision) -> Plan:
        if plan.kernel.problem != "conv" or plan.kernel.device != "cpu":
            return plan
        key = (plan.kernel.pass_, plan.problem, plan.dtype, precision, get_num_threads())
        if key not in self.plans:
            self.plans[key] = self._choose(plan, precision)
        return self.plans[key]

    def _choose(self, plan: Plan, precision: Precision) -> Plan:
        name = f"{plan.kernel.pass_} {plan.dtype} {precision}: {plan.problem}"
        able = contestants(plan, precision)
        chosen = next((k for k in able if k.algorithm == self.choices.get(name)), None)
        if chosen is None:
            chosen = fastest(plan, able) if len(able) > 1 else plan.kernel
            self.choices[name] = chosen.algorithm
            self._write()
        return replace(plan, kernel=chosen, reason=REASON)

    def _write(self) -> None:
        with atomic_write(self.file, "w", encoding="utf-8") as file:
            json.dump({"minidl": "plans", "machines": self.machines}, file, indent=1)


def machine() -> str:
    """What a measurement holds for: processor, threads, version.

    >>> machine().split(", ")[-1].split()[0]
    'minidl'
    """
    from .doctor import _cpu_name

    return f"{_cpu_name()}, {get_num_threads()} threads, minidl {__version__}"


def contestants(plan: Plan, precision: Precision) -> list[Kernel]:
    """The kernels worth measuring: those that the planner may choose, with estimates near the least.

    >>> from minidl.kernels.catalogue import plan
    >>> from minidl.kernels.geometry import Conv
    >>> chosen = plan("conv", "forward", Conv.from_shapes((1, 2, 5, 5), (3, 2, 3, 3)))
    >>> chosen.kernel in contestants(chosen, "fast")
    True
    """
    return [
        kernel
        for kernel, cost in plan.candidates
        if kernel is plan.kernel
        or (
            isinstance(cost, Cost)
            and kernel.automatic
            and (kernel.exact or precision == "fast")
            and cost.seconds <= NEAR * plan.cost.seconds
        )
    ]


def fastest(plan: Plan, kernels: list[Kernel]) -> Kernel:
    """The kernel whose fastest call is the fastest; they take turns, so that a slow moment meets all of them.

    >>> from minidl.kernels.catalogue import plan
    >>> from minidl.kernels.geometry import Conv
    >>> chosen = plan("conv", "forward", Conv.from_shapes((1, 2, 5, 5), (3, 2, 3, 3)))
    >>> fastest(chosen, [chosen.kernel]) is chosen.kernel
    True
    """
    arrays = operands(plan)
    best = dict.fromkeys((k.algorithm for k in kernels), math.inf)
    for kernel in kernels:
        kernel.call(*arrays, plan.problem, out=None)  # compiles
    calls, start = 0, time.perf_counter()
    while calls < 3 or time.perf_counter() - start < SECONDS * len(kernels):
        for kernel in kernels:
            begin = time.perf_counter()
            kernel.call(*arrays, plan.problem, out=None)
            best[kernel.algorithm] = min(best[kernel.algorithm], time.perf_counter() - begin)
        calls += 1
    return min(kernels, key=lambda kernel: best[kernel.algorithm])


def operands(plan: Plan) -> list[np.ndarray]:
    """Random arrays for a pass; x and g channels-last, as they are inside a network.

    >>> from minidl.kernels.catalogue import plan
    >>> from minidl.kernels.geometry import Conv
    >>> chosen = plan("conv", "forward", Conv.from_shapes((1, 2, 5, 5), (3, 2, 3, 3)))
    >>> [array.shape for array in operands(chosen)]
    [(1, 2, 5, 5), (3, 2, 3, 3)]
    """
    conv, rng = plan.problem, np.random.default_rng(0)
    shapes = {
        "forward": (conv.x_shape, conv.w_shape),
        "input_grad": (conv.w_shape, conv.y_shape),
        "weight_grad": (conv.x_shape, conv.y_shape),
    }[plan.kernel.pass_]
    arrays = [rng.standard_normal(shape).astype(plan.dtype) for shape in shapes]
    return [a if shape == conv.w_shape else _channels_last(a) for a, shape in zip(arrays, shapes)]


def _channels_last(a: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)


def _read(file: Path) -> dict[str, dict[str, str]]:
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        held = None
    machines = held.get("machines") if isinstance(held, dict) and held.get("minidl") == "plans" else None
    if not isinstance(machines, dict) or not all(isinstance(choices, dict) for choices in machines.values()):
        raise AutotuneError(f"{file} holds no measured plans: name another file, or delete this one to measure anew")
    return machines
