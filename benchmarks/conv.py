"""Convolution layers against PyTorch: ``python -m benchmarks.conv --layers vgg16 depthwise --seconds 120``.

For each layer and pass: the time of our planned algorithm (``--algorithms``: of all of them), of PyTorch in its
default layout and channels-last, and of im2col in plain NumPy; GFLOP/s counted as direct convolution has them; the
ratio, PyTorch's better time / ours; the relative error of either side against float64; the memory that a call takes.

Either side runs in a process of its own, and they take turns.  In one process they would change each other:

* PyTorch runs on GNU OpenMP, whose idle threads spin for a while on the cores that minidl's threads would need, and
  the other way round.
* ``import minidl`` tells glibc to keep freed memory (``mallopt``), for the whole process.  PyTorch would gain by it,
  and its users do not have it.

So each side is as its users have it.  Results are allocated by each call, as in a training step.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from minidl.kernels.catalogue import Cost, plan
from minidl.kernels.conv_algorithms import PASSES, traffic

from . import checked, report, timing
from .shapes import Layer, select
from .side_minidl import kernel_pass, problem, scipy_can, y_shape
from .side_torch import LAYOUTS
from .sides import Remote
from .stamp import load_average

PLANNED = "minidl"
NUMPY = "NumPy im2col"
SCIPY = "scipy.signal"
TORCH = tuple(f"torch {layout}" for layout in LAYOUTS)


@dataclass(frozen=True)
class Variant:
    """One thing to measure: its name in the results, the process that runs it, and how."""

    name: str
    process: str
    how: dict[str, Any]
    algorithm: str | None = None
    workspace: int | None = None


DISTURBED = 0.3
"""Unrest of a row during which somebody else had the machine for a while."""
MORE_TRIES = 2  # for a disturbed row


def variants(layer: Layer, pass_: str, layout: str, algorithms: float, peers: Sequence[str]) -> list[Variant]:
    """What is measured for one pass of one layer: ours, then the peers; for ``algorithms`` see `run`."""
    chosen = plan("conv", kernel_pass(layer, pass_), problem(layer))
    found = [Variant(PLANNED, "minidl", {"layout": layout}, chosen.algorithm, chosen.cost.workspace)]
    for kernel, cost in chosen.candidates:
        name = kernel.algorithm
        # spec is a definition, not a competitor: it takes seconds
        near = isinstance(cost, Cost) and cost.seconds <= algorithms * chosen.cost.seconds
        if near and name not in (chosen.algorithm, "spec"):
            how = {"layout": layout, "algorithm": name}
            found.append(Variant(f"minidl {name}", "minidl", how, name, cost.workspace))
        if name == "im2col" and isinstance(cost, Cost) and "numpy" in peers:
            found.append(Variant(NUMPY, "minidl", {"layout": "NCHW", "algorithm": name}, name, cost.workspace))
    if "scipy" in peers and scipy_can(layer, pass_):
        found.append(Variant(SCIPY, "minidl", {"layout": "NCHW", "algorithm": "scipy"}))
    if "torch" in peers:
        for name, torch_layout in zip(TORCH, LAYOUTS):
            if torch_layout == "NCHW" or len(layer.size) == 2:  # it knows channels-last for images only
                found.append(Variant(name, "torch", {"layout": torch_layout}))
    return found


def measure(
    layer: Layer,
    pass_: str,
    wanted: Sequence[Variant],
    processes: dict[str, Any],
    seconds: float,
    clock: str = "wall",
    times_only: bool = False,
) -> dict[str, Any]:
    """One row of the results: all ``wanted`` variants of one pass of one layer, measured in turns; for
    ``times_only`` see `run`."""
    shape = y_shape(layer)
    reference = None if times_only else processes["minidl"].ask("reference", layer, shape, pass_)
    errors: dict[str, float | None] = {}
    turns: dict[str, Callable[[float], list[float]]] = {}
    try:
        for v in wanted:
            process = processes[v.process]
            process.ask("prepare", v.name, layer, shape, pass_, **v.how)
            errors[v.name] = None if reference is None else relative_error(process.ask("result", v.name), reference)
            turns[v.name] = partial(process.ask, "turn", v.name, clock=clock)
        times = timing.interleave(turns, seconds)
        memory = {v.name: None if times_only else processes[v.process].ask("memory", v.name) for v in wanted}
    finally:
        for process in processes.values():
            process.ask("forget")
    conv = problem(layer)
    sides = {}
    for v in wanted:
        stats = timing.statistics([t for turn in times[v.name] for t in turn])
        sides[v.name] = {
            **asdict(stats),
            "gflops": 2 * conv.macs / stats.median / 1e9,
            "error": errors[v.name],
            "noise": timing.noise_floor(times[v.name]),
            "algorithm": v.algorithm,
            "workspace": v.workspace,
            "memory": memory[v.name],
        }
    row = {"layer": layer.title, "tags": layer.tags, "pass": pass_, "problem": str(conv), "macs": conv.macs}
    row["bytes"] = traffic(conv, 4)
    return {**row, "sides": sides, **compare(sides)}


def compare(sides: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """PyTorch's better median / ours, the noise of the two, and how far the planner's choice is from the best.

    ``ratio`` is None where PyTorch was not measured, and so is ``peer``, the name of PyTorch's better side; ``regret``
    is 0 where the choice was the fastest measured.

    ``unrest``: the most by which slow calls of any one side exceed its quick ones (p80 and p20), or half of its turns
    the other half.  On a shared machine somebody else's work halves the speed for some tenths of a second.  Where that
    falls on most turns of one side, its median is twice what it should be and its ``noise`` nothing; but another side,
    or the turns that were spared, show it.
    """
    ours = sides[PLANNED]
    own = [s["median"] for name, s in sides.items() if name.startswith("minidl")]
    torch = [name for name in TORCH if name in sides]
    peer = min(torch, key=lambda name: sides[name]["median"], default=None)
    best = sides[peer] if peer else None
    return {
        "ratio": best["median"] / ours["median"] if best else None,
        "peer": peer,
        "noise": max(ours["noise"], best["noise"]) if best else ours["noise"],
        "regret": ours["median"] / min(own) - 1,
        "unrest": max(max(s["noise"], s["p80"] / s["p20"] - 1) for s in sides.values()),
    }


def relative_error(result: np.ndarray, reference: np.ndarray) -> float:
    """||result - reference|| / ||reference|| in float64; RuntimeError where that is not a rounding error."""
    if result.shape != reference.shape:
        raise RuntimeError(f"the result has shape {result.shape}, the reference {reference.shape}")
    # not vdot or norm: they wake BLAS threads in this process, which then spin
    difference = float(np.sqrt(np.square(result - reference).sum()))
    error = difference / max(float(np.sqrt(np.square(reference).sum())), np.finfo(np.float64).tiny)
    if not error < 1e-2:
        raise RuntimeError(f"the result is wrong: its relative error against float64 is {error:.3g}")
    return error


@contextlib.contextmanager
def running(threads: int, peers: Sequence[str]) -> Iterator[dict[str, Remote]]:
    """The processes of both sides, ended when the block is left."""
    with contextlib.ExitStack() as stack:
        modules = {"minidl": "benchmarks.side_minidl"}
        if "torch" in peers:
            modules["torch"] = "benchmarks.side_torch"
        yield {name: stack.enter_context(Remote(module, threads)) for name, module in modules.items()}


def run(
    layers: Sequence[Layer],
    passes: Sequence[str] = PASSES,
    threads: int = 2,
    seconds: float = 60,
    algorithms: float = 0,
    peers: Sequence[str] = ("torch", "numpy"),
    layout: str = "channels-last",
    clock: str = "wall",
    deadline: float = math.inf,
    times_only: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure; the results as plain values: ``{"stamp": ..., "rows": [...], "summary": {...}}``.

    ``algorithms``: also ours whose estimates are at most so many times that of the chosen one.

    ``seconds`` are shared out over the layers and passes; preparing them (operands, compiling, the float64
    reference) comes on top, and each is measured for at least four rounds.  Past ``deadline``, a reading of
    ``time.perf_counter``, no further layer is begun; the stamp says how many passes of layers were ``left_out``.

    ``times_only`` leaves out errors and memory, which take about a quarter of the time.

    At the end rows that were DISTURBED are measured again, at most MORE_TRIES times, and the measurement with the least
    unrest is kept, whatever its ratio; the stamp says how many rows (``again``).
    """
    cells = [(layer, pass_) for layer in layers for pass_ in passes]
    before, rows, left = load_average(), [], seconds
    with running(threads, peers) as processes:

        def row(layer: Layer, pass_: str, share: float) -> dict[str, Any]:
            wanted = variants(layer, pass_, layout, algorithms, peers)
            return measure(layer, pass_, wanted, processes, share, clock, times_only)

        for i, (layer, pass_) in enumerate(cells):
            if time.perf_counter() > deadline and pass_ == passes[0]:
                break
            progress(f"{i + 1}/{len(cells)} {layer.title} {pass_}")
            start = time.perf_counter()
            share = left / (len(cells) - i)
            rows.append(row(layer, pass_, share))
            left = max(0.0, left - min(share, time.perf_counter() - start))
        again = 0
        for _ in range(MORE_TRIES):
            disturbed = [i for i, found in enumerate(rows) if found["unrest"] > DISTURBED]
            again = again or len(disturbed)
            for count, i in enumerate(disturbed):
                layer, pass_ = cells[i]
                progress(f"again {count + 1}/{len(disturbed)} {layer.title} {pass_}")
                rows[i] = min(rows[i], row(layer, pass_, seconds / len(cells)), key=lambda found: found["unrest"])
        stamp = processes["minidl"].ask("stamp")
        stamp |= {"load_average_before": before, "layout": layout, "seconds": seconds, "clock": clock}
        stamp |= {"left_out": len(cells) - len(rows), "again": again}
        if "torch" in processes:
            stamp["peer"] = processes["torch"].ask("stamp")
    return {"stamp": stamp, "rows": rows, "summary": report.summary(rows)}


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; torch is a default peer only where it is installed."""
    installed = importlib.util.find_spec("torch") is not None
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.conv", description="Convolution layers against PyTorch, in turns."
    )
    parser.add_argument("--layers", nargs="+", default=[], metavar="TAG", help='tags or titles ("vgg16 3.1"); all')
    parser.add_argument("--passes", nargs="+", default=list(PASSES), choices=PASSES)
    parser.add_argument("--threads", type=checked.threads, default=checked.THREADS)
    parser.add_argument(
        "--seconds", type=checked.seconds, default=60, help="measuring time in all, preparations excluded"
    )
    parser.add_argument(
        "--algorithms", action="store_const", const=math.inf, default=0, help="all of ours, not the planned only"
    )
    parser.add_argument(
        "--peers", nargs="*", default=["torch"] if installed else ["numpy"], choices=["torch", "numpy", "scipy"]
    )
    parser.add_argument("--layout", default="channels-last", choices=LAYOUTS, help="of our x and g")
    parser.add_argument("--clock", default="wall", choices=timing.CLOCKS, help="cpu, with --threads 1: busy machines")
    parser.add_argument("--json", type=checked.file, metavar="FILE", help="write the results there as well")
    options = parser.parse_args(words)
    try:
        options.layers = select(options.layers)
    except ValueError as error:
        parser.error(str(error))
    return options


def main(words: Sequence[str] | None = None) -> None:
    options = vars(arguments(words))
    file = options.pop("json")
    results = run(**options, progress=lambda line: print(line, file=sys.stderr))
    if file is not None:
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    report.show(results)


if __name__ == "__main__":
    main()
