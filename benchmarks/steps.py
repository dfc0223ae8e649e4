"""Whole networks against PyTorch: ``python -m benchmarks.steps --networks vgg16 resnet50 --seconds 120``.

For each network, the time of a training step (forward, cross-entropy, backward, SGD with momentum) and of the scores
of one image, the memory that training took at most, and the error of scores and gradients against our own float64.
PyTorch's side is built from a description of our network (torch_models.py) and has the same weights; before anything
is timed, the scores and the gradients of the first and the last weights are compared in float64.

Each network gets fresh processes, one for us and one for each layout of PyTorch, so that each has a peak of memory
of its own; they take turns as in ``conv.py``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from . import checked, timing
from .networks import NETWORKS, Network, select
from .side_torch import LAYOUTS
from .sides import Remote
from .stamp import load_average

OURS = "minidl"
PARTS = ("step", "infer")
SAME = 1e-6  # relative, float64 against float64: rounding errors through a hundred layers stay far below


def sides(threads: int, torch: bool, stack: contextlib.ExitStack) -> dict[str, Remote]:
    """The processes by name, ended with ``stack``."""
    found = {OURS: Remote("benchmarks.steps_minidl", threads)}
    if torch:
        found |= {f"torch {layout}": Remote("benchmarks.steps_torch", threads, layout) for layout in LAYOUTS}
    return {name: stack.enter_context(side) for name, side in found.items()}


def measure(
    network: Network, threads: int, seconds: float, torch: bool = True, check: bool = True, clock: str = "wall"
) -> dict[str, Any]:
    """One network: times of both parts, peaks of memory, errors; see ``run``."""
    with contextlib.ExitStack() as stack:
        processes = sides(threads, torch, stack)
        description = processes[OURS].ask("build", network)
        for name, side in processes.items():
            if name != OURS:
                side.ask("build", network, description)
        parts: dict[str, Any] = {}
        memory: dict[str, Any] = {}
        for part, share in zip(PARTS, (0.8, 0.2)):
            turns: dict[str, Callable[[float], list[float]]] = {}
            for name, side in processes.items():
                side.ask("prepare", part, part)
                turns[name] = partial(side.ask, "turn", part, clock=clock)
            times = timing.interleave(turns, share * seconds)
            parts[part] = {name: _numbers(times[name]) for name in processes}
            if part == "step":
                memory = {name: side.ask("peak") for name, side in processes.items()}
            for side in processes.values():
                side.ask("forget")
        errors = compare(processes) if check else {}
        stamps = {"minidl": processes[OURS].ask("stamp")}
        if torch:
            stamps["torch"] = processes[f"torch {LAYOUTS[0]}"].ask("stamp")
    row: dict[str, Any] = {"network": network.title, "model": network.model, "batch": network.batch}
    row |= {"step": parts["step"], "infer": parts["infer"], "memory": memory, "errors": errors}
    return {**row, "ratios": ratios(parts, memory), "stamp": stamps}


def _numbers(turns: Sequence[Sequence[float]]) -> dict[str, Any]:
    stats = timing.statistics([t for turn in turns for t in turn])
    return {**vars(stats), "noise": timing.noise_floor(turns)}


def compare(processes: dict[str, Remote]) -> dict[str, dict[str, float]]:
    """Relative errors of each side's scores and gradients against our float64.

    RuntimeError where PyTorch's differ from ours in float64: then the sides do not compute the same network.
    """
    exact = processes[OURS].ask("answers", dtype="float64")
    errors: dict[str, dict[str, float]] = {}
    for name, side in processes.items():
        if name == f"torch {LAYOUTS[0]}":
            for what, a in side.ask("answers", dtype="float64").items():
                if not (error := relative(a, exact[what])) < SAME:
                    raise RuntimeError(f"{name} computes another network: its {what} differs by {error:.3g} in float64")
        errors[name] = {what: relative(a, exact[what]) for what, a in side.ask("answers").items()}
    return errors


def relative(a: np.ndarray, exact: np.ndarray) -> float:
    """||a - exact|| / ||exact||; RuntimeError where the shapes differ."""
    if a.shape != exact.shape:
        raise RuntimeError(f"shape {a.shape} where float64 has {exact.shape}")
    return float(np.sqrt(np.square(a - exact).sum() / np.square(exact).sum()))


def ratios(parts: dict[str, Any], memory: dict[str, int | None]) -> dict[str, float | None]:
    """PyTorch's better median / ours for both parts; our peak of memory / PyTorch's lower one.  None without it."""
    found: dict[str, float | None] = {}
    for part, by_side in parts.items():
        theirs = [numbers["median"] for name, numbers in by_side.items() if name != OURS]
        found[part] = min(theirs) / by_side[OURS]["median"] if theirs else None
    ours = memory.get(OURS)
    theirs = [m for name, m in memory.items() if name != OURS and m]
    found["memory"] = ours / min(theirs) if ours and theirs else None
    return found


def run(
    networks: Sequence[Network] = NETWORKS,
    threads: int = 2,
    seconds: float = 180,
    torch: bool = True,
    check: bool = True,
    clock: str = "wall",
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure; the results as plain values: ``{"stamp": ..., "rows": [...], "summary": {...}}``.

    ``seconds`` are shared out over the networks; building them and the check come on top.
    """
    before, rows = load_average(), []
    for i, network in enumerate(networks):
        progress(f"{i + 1}/{len(networks)} {network.title}")
        rows.append(measure(network, threads, seconds / len(networks), torch, check, clock))
    stamps = [row.pop("stamp") for row in rows]
    stamp = {**stamps[-1]["minidl"], "peer": stamps[-1].get("torch")} if stamps else {}
    stamp |= {"load_average_before": before, "seconds": seconds, "clock": clock}
    return {"stamp": stamp, "rows": rows, "summary": summary(rows)}


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of step, infer and memory: the geometric mean of the ratios, the least and the greatest, and whose they are."""
    found: dict[str, Any] = {}
    for what in (*PARTS, "memory"):
        pairs = [(row["ratios"][what], row["network"]) for row in rows if row["ratios"][what]]
        if pairs:
            mean = timing.geometric_mean([r for r, _ in pairs])
            found[what] = {"count": len(pairs), "mean": mean, "least": min(pairs), "greatest": max(pairs)}
    return found


def show(results: dict[str, Any], console: Any) -> None:
    """Print the table with rich."""
    from rich.table import Table

    names = list(dict.fromkeys(name for row in results["rows"] for name in row["step"]))
    table = Table(box=None, padding=(0, 1, 0, 0), title="ms: median; MB: peak beyond the libraries; error: of scores")
    table.add_column("network", no_wrap=True)
    for label in ("step", "1 image"):
        for heading in (*(f"{label} {name}" for name in names), "ratio", "noise"):
            table.add_column(heading.replace("minidl", "ours"), justify="right")
    for heading in (*(f"MB {name}" for name in names), "ratio", "error", "torch's"):
        table.add_column(heading.replace("minidl", "ours"), justify="right")
    for row in results["rows"]:
        cells = [f"{row['network']} x {row['batch']}"]
        for part in PARTS:
            cells += [f"{row[part][name]['median'] * 1e3:.3g}" for name in names]
            cells.append(_number(row["ratios"][part]))
            cells.append(f"{max(numbers['noise'] for numbers in row[part].values()):.0%}")
        cells += [f"{(row['memory'][name] or 0) / 1e6:.0f}" for name in names]
        cells.append(_number(row["ratios"]["memory"]))
        scores = {name: error["scores"] for name, error in row["errors"].items()}
        torch = [error for name, error in scores.items() if name != OURS]
        cells.append(f"{scores[OURS]:.1e}" if scores else "")
        cells.append(f"{max(torch):.1e}" if torch else "")
        table.add_row(*cells)
    console.print(table)
    for what, spread in results["summary"].items():
        (least, whose), (most, whose_most) = spread["least"], spread["greatest"]
        line = (
            f"{what}: geometric mean {spread['mean']:.2f}, least {least:.2f} ({whose}), most {most:.2f} ({whose_most})"
        )
        console.print(line)


def _number(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps", description="Whole networks against PyTorch.")
    parser.add_argument("--networks", nargs="+", default=[], metavar="MODEL", help="vgg16, alexnet ...; all")
    parser.add_argument("--threads", type=checked.threads, default=checked.THREADS)
    parser.add_argument(
        "--seconds", type=checked.seconds, default=180, help="measuring time in all, preparations excluded"
    )
    parser.add_argument("--no-torch", dest="torch", action="store_false")
    parser.add_argument("--no-check", dest="check", action="store_false", help="leave float64 out")
    parser.add_argument("--clock", default="wall", choices=timing.CLOCKS, help="cpu, with --threads 1: busy machines")
    parser.add_argument("--json", type=checked.file, metavar="FILE", help="write the results there as well")
    options = parser.parse_args(words)
    options.torch &= importlib.util.find_spec("torch") is not None
    try:
        options.networks = select(options.networks)
    except ValueError as error:
        parser.error(str(error))
    return options


def main(words: Sequence[str] | None = None) -> None:
    from rich.console import Console

    options = vars(arguments(words))
    file = options.pop("json")
    results = run(**options, progress=lambda line: print(line, file=sys.stderr))
    if file is not None:
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    show(results, Console() if sys.stdout.isatty() else Console(width=220))


if __name__ == "__main__":
    main()
