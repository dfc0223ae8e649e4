"""The whole table of figures by one command: ``python -m benchmarks.figures --out benchmarks/results``.

Measures the machine's limits, all layers, all networks and first calls, prints what is reached and what is missed,
and writes JSON, a page of Markdown and three pictures named after the processor.  ``--quick`` takes a few layers of
each kind and the small networks.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import checked, conv, first_call, networks, pages, peak, plan, plots, report, shapes, steps, timing
from .side_minidl import problem
from .stamp import load_average

QUICK_LAYERS = 2  # of each kind
LAYER_SECONDS = 1.0  # of measuring, for the three passes
NETWORK_SECONDS = 8.0
QUICK_NETWORKS = ["resnet18", "all_cnn_c", "lenet5"]


class Line(NamedTuple):
    """One figure: what was measured, what was asked for, whether that is reached."""

    work: str
    measured: str
    wanted: str
    reached: bool


def table(results: dict[str, Any]) -> list[Line]:
    """The figures that the results say something about."""
    summary = results["layers"]["summary"]
    lines = [_layers(tag, summary) for tag in report.FIGURES if tag in summary]
    summary = results["networks"]["summary"]
    rows = {row["model"]: row["ratios"] for row in results["networks"]["rows"]}
    if "step" in summary:
        found = summary["step"]
        vgg = rows.get("vgg16", {}).get("step")
        measured = f"mean {found['mean']:.2f}, least {found['least'][0]:.2f} ({found['least'][1]})"
        measured += f", VGG-16 {vgg:.2f}" if vgg else ""
        reached = found["mean"] >= 1.5 and found["least"][0] >= 1.1 and (vgg or 2.0) >= 2.0
        lines.append(Line("training steps", measured, "mean 1.5, least 1.1, VGG-16 2.0", reached))
    if "infer" in summary:
        found = summary["infer"]
        measured = f"mean {found['mean']:.2f}, least {found['least'][0]:.2f} ({found['least'][1]})"
        lines.append(Line("inference, one image", measured, "mean 1.3", found["mean"] >= 1.3))
    if "memory" in summary:
        most, whose = summary["memory"]["greatest"]
        measured = f"mean {summary['memory']['mean']:.2f}, most {most:.2f} ({whose})"
        lines.append(Line("peak memory, ours / torch's", measured, "at most 1.0", most <= 1.0))
    for name, limit in (("cold", 2.0), ("warm", 0.1)):
        if results["first_call"]:
            slowest = max(results["first_call"], key=lambda row: row[name])
            measured = f"{slowest[name]:.2f} s ({slowest['algorithm']} {slowest['pass']})"
            wanted = f"at most {limit} s"
            lines.append(Line(f"first call, {name} cache", measured, wanted, slowest[name] <= limit))
    regret = results["plan"]["regret"]
    measured = f"mean {regret['mean']:.1%}, most {regret['most']:.0%} ({regret['layer']}), {regret['count']} choices"
    lines.append(Line("regret of the planner", measured, "mean below 5 %", regret["mean"] < 0.05))
    return lines


def _layers(tag: str, summary: dict[str, Any]) -> Line:
    found, (wanted, floor) = summary[tag], report.FIGURES[tag]
    measured = f"mean {found['mean']:.2f}, least {found['least']:.2f} ({found['layer']}), {found['count']} ratios"
    asked = f"mean {wanted}" + (f", least {floor}" if floor is not None else "")
    return Line(f"layers: {tag}", measured, asked, report.verdict(tag, found["mean"], found["least"]) == "reached")


def quick_layers() -> list[shapes.Layer]:
    """Of each kind the layers with the fewest multiply-adds, ten million to a thousand million."""
    kinds = dict.fromkeys(layer.kind for layer in shapes.LAYERS)
    work = {layer: problem(layer).macs for layer in shapes.LAYERS}
    found: list[shapes.Layer] = []
    for kind in kinds:
        layers = [layer for layer in shapes.LAYERS if layer.kind == kind and 10**7 <= work[layer] <= 10**9]
        found += sorted(layers, key=lambda layer: work[layer])[:QUICK_LAYERS]
    return found


def run(
    threads: int = 2,
    quick: bool = False,
    minutes: float = math.inf,
    torch: bool = True,
    clock: str = "wall",
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure all of it; plain values.

    Networks, first calls and the planner come first; then as many layers as the ``minutes`` allow, in an order that
    mixes their kinds.
    """
    start, before = time.perf_counter(), load_average()
    few, nets, cases = quick_layers(), list(networks.NETWORKS), first_call.CASES
    layers = random.Random(0).sample(shapes.LAYERS, len(shapes.LAYERS))
    if quick:
        layers, nets, cases = few, networks.select(QUICK_NETWORKS), cases[:3]
    limits = peak.measure(threads, timing.CLOCKS[clock])
    by_network = steps.run(nets, threads, NETWORK_SECONDS * len(nets), torch, not quick, clock, progress)
    calls = first_call.run(cases, progress)
    one_a_kind = few[::QUICK_LAYERS]
    choices = plan.run(one_a_kind, threads=threads, seconds=len(one_a_kind), clock=clock, progress=progress)
    by_layer = conv.run(
        layers, threads=threads, seconds=LAYER_SECONDS * len(layers), peers=["torch"] if torch else [], clock=clock,
        deadline=start + 60 * minutes, progress=progress,
    )  # fmt: skip
    stamp = by_layer.pop("stamp") | {"load_average_before": before, "quick": quick}
    stamp |= {"minutes": (time.perf_counter() - start) / 60}
    for part in (by_network, choices):
        part.pop("stamp")
    return {
        "stamp": stamp, "limits": limits, "layers": by_layer, "networks": by_network, "plan": choices,
        "first_call": calls,
    }  # fmt: skip


def markdown(results: dict[str, Any], name: str) -> str:
    """The page: machine, figures, networks, layers."""
    stamp, limits = results["stamp"], results["limits"]
    lines = [
        *pages.head(stamp, f"python -m benchmarks.figures{' --quick' if stamp['quick'] else ''}"),
        f"Limits of the machine, measured: {limits['gflops']:.0f} GFLOP/s, copying {limits['copy_gbytes']:.1f} GB/s.",
        "",
        "Ratios are PyTorch's better time of its two layouts / ours. Operations are those of direct convolution.",
        "",
        "| work | measured | to reach | |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {n.work} | {n.measured} | {n.wanted} | {'reached' if n.reached else 'missed'} |" for n in table(results)
    ]
    lines += ["", f"![ratios by kind of layer]({name}-layers.png)", "", "## Networks", ""]
    lines += _networks(results["networks"]["rows"])
    lines += ["", f"![ratios of networks]({name}-networks.png)", "", "## Layers", ""]
    lines += _layer_rows(results["layers"]["rows"], limits["gflops"])
    lines += ["", f"![roofline]({name}-roofline.png)", "", "## What the planner chose", ""]
    lines += plan.choices(results["plan"]["rows"])
    lines += ["", "## First calls", ""]
    lines += pages.table(
        ["layer", "pass", "algorithm", "cold s", "warm s"],
        [
            [row["layer"], row["pass"], row["algorithm"], f"{row['cold']:.2f}", f"{row['warm']:.2f}"]
            for row in results["first_call"]
        ],
    )
    return "\n".join(lines) + "\n"


def _networks(rows: Sequence[dict[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row["step"]))
    heads = [f"{part} {name}" for part in ("step ms", "1 image ms", "MB") for name in names]
    lines = ["| network | " + " | ".join([*heads, "step", "1 image", "memory"]) + " |", "|---" * (len(heads) + 4) + "|"]
    for row in rows:
        cells = [f"{row[part][name]['median'] * 1e3:.3g}" for part in steps.PARTS for name in names]
        cells += [f"{(row['memory'][name] or 0) / 1e6:.0f}" for name in names]
        cells += ["" if row["ratios"][k] is None else f"{row['ratios'][k]:.2f}" for k in (*steps.PARTS, "memory")]
        lines.append(f"| {row['network']} x {row['batch']} | " + " | ".join(cells) + " |")
    return lines


def _layer_rows(rows: Sequence[dict[str, Any]], gflops: float) -> list[str]:
    lines = [
        "| layer | pass | algorithm | ms | GFLOP/s | of peak | ratio | noise | error | torch's | MB | torch's |",
        "|---" * 12 + "|",
    ]
    for row in rows:
        ours = row["sides"]["minidl"]
        torch = row["sides"].get(row["peer"])
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        cells = (
            row["layer"], row["pass"], ours["algorithm"], f"{ours['median'] * 1e3:.3g}", f"{ours['gflops']:.0f}",
            f"{ours['gflops'] / gflops:.0%}", ratio, f"{row['noise']:.0%}", f"{ours['error']:.1e}",
            f"{torch['error']:.1e}" if torch else "", _megabytes(ours), _megabytes(torch),
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _megabytes(side: dict[str, Any] | None) -> str:
    return "" if side is None or side["memory"] is None else f"{side['memory'] / 1e6:.1f}"


def write(results: dict[str, Any], folder: Path) -> list[Path]:
    """JSON, Markdown and the pictures, named after the processor and the vectors used; what was written."""
    name = pages.name(results["stamp"]) + ("-quick" if results["stamp"]["quick"] else "")
    folder.mkdir(parents=True, exist_ok=True)
    data, page = folder / f"{name}.json", folder / f"{name}.md"
    data.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    page.write_text(markdown(results, name), encoding="utf-8")
    pictures = [folder / f"{name}-{part}.png" for part in ("roofline", "layers", "networks")]
    plots.roofline(results["layers"]["rows"], results["limits"], pictures[0])
    plots.layer_bars(results["layers"]["summary"], pictures[1])
    plots.step_bars(results["networks"]["rows"], pictures[2])
    return [data, page, *pictures]


def show(results: dict[str, Any], console: Any) -> None:
    """Print the tables with rich, the figures last."""
    from rich.table import Table

    report.show({**results["layers"], "stamp": results["stamp"]}, console)
    steps.show(results["networks"], console)
    plan.show(results["plan"], console)
    first_call.show(results["first_call"], console)
    limits = results["limits"]
    console.print(f"limits: {limits['gflops']:.0f} GFLOP/s, copying {limits['copy_gbytes']:.1f} GB/s")
    found = Table(box=None, padding=(0, 1, 0, 0), title="figures")
    for heading in Line._fields:
        found.add_column(heading, no_wrap=True)
    for line in table(results):
        colour = "green" if line.reached else "red"
        found.add_row(*line[:3], f"[{colour}]{'reached' if line.reached else 'missed'}[/]")
    console.print(found)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figures", description="The whole table of figures.")
    parser.add_argument("--threads", type=checked.threads, default=checked.THREADS)
    parser.add_argument("--quick", action="store_true", help="a few layers of each kind, small networks")
    parser.add_argument(
        "--minutes", type=checked.minutes, default=math.inf, help="begin no further layer after so many"
    )
    parser.add_argument("--no-torch", dest="torch", action="store_false")
    parser.add_argument("--clock", default="wall", choices=timing.CLOCKS, help="cpu, with --threads 1: busy machines")
    parser.add_argument("--out", type=checked.folder, metavar="FOLDER", help="write JSON, Markdown and pictures there")
    options = parser.parse_args(words)
    options.torch &= importlib.util.find_spec("torch") is not None
    return options


def main(words: Sequence[str] | None = None) -> None:
    from rich.console import Console

    options = vars(arguments(words))
    folder = options.pop("out")
    results = run(**options, progress=lambda line: print(line, file=sys.stderr))
    show(results, Console() if sys.stdout.isatty() else Console(width=report.WIDTH + 70))
    for path in write(results, folder) if folder else []:
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
