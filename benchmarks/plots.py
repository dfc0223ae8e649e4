"""Pictures of results: a roofline of the layers, bars of the ratios.  Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .report import FIGURES

COLOURS = {"forward": "#2a6f97", "input_grad": "#d1495b", "weight_grad": "#66a182"}
MARKERS = {"nhwc": "o", "winograd": "^", "im2col": "s", "direct": "D", "fft": "*"}


def roofline(rows: Sequence[dict[str, Any]], limits: dict[str, float], file: Path) -> None:
    """GFLOP/s of each layer and pass against its operations per byte, under what the machine can do.

    Operations are those of direct convolution: Winograd and the FFT do fewer, and may lie above the roof.
    """
    figure, axes = _axes((9, 6))
    seen: dict[str, Any] = {}
    for row in rows:
        ours = row["sides"]["minidl"]
        marker = MARKERS.get(ours["algorithm"], "x")
        points = axes.scatter(
            2 * row["macs"] / row["bytes"], ours["gflops"], s=18, marker=marker, color=COLOURS[row["pass"]], alpha=0.7
        )
        seen.setdefault(f"{row['pass']}, {ours['algorithm']}", points)
    roof, slope = limits["gflops"], limits["copy_gbytes"]
    corner, (left, right) = roof / slope, axes.get_xlim()
    ends = min(left, corner / 10), max(right, corner * 10)
    axes.plot([ends[0], corner, ends[1]], [slope * ends[0], roof, roof], color="black", linewidth=1)
    axes.annotate(f"{roof:.0f} GFLOP/s, {slope:.0f} GB/s measured", (corner, roof), fontsize=8, va="bottom")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations per byte of operands and result")
    axes.set_ylabel("GFLOP/s, operations of direct convolution")
    axes.legend(seen.values(), seen.keys(), fontsize=7, loc="lower right")
    _save(figure, file)


def layer_bars(summary: dict[str, dict[str, Any]], file: Path) -> None:
    """PyTorch's time / ours by tag: geometric mean as a bar, the least as a line, what is to be reached as a mark."""
    tags = [tag for tag in FIGURES if tag in summary]
    figure, axes = _axes((8, 0.4 * len(tags) + 1.5))
    places = range(len(tags))
    axes.barh(places, [summary[tag]["mean"] for tag in tags], color=COLOURS["forward"], height=0.6)
    for place, tag in zip(places, tags):
        axes.plot([summary[tag]["least"]] * 2, [place - 0.3, place + 0.3], color="white", linewidth=2)
        axes.plot(FIGURES[tag][0], place, marker="d", color="black", markersize=6)
    _finish_bars(axes, tags, "PyTorch's better time / ours (line: least, diamond: to reach)")
    _save(figure, file)


def step_bars(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """PyTorch's time / ours of the networks, for a training step and for one image; our memory / PyTorch's."""
    kinds = ("step", "infer", "memory")
    figure, axes = _axes((8, 0.7 * len(rows) + 1.5))
    for i, (kind, colour) in enumerate(zip(kinds, COLOURS.values())):
        heights = [row["ratios"][kind] or 0 for row in rows]
        places = [place + 0.27 * (i - 1) for place in range(len(rows))]
        axes.barh(places, heights, height=0.25, color=colour, label=kind)
    axes.legend(fontsize=8)
    names = [f"{row['network']} x {row['batch']}" for row in rows]
    _finish_bars(axes, names, "PyTorch's better time / ours; memory: ours / PyTorch's")
    _save(figure, file)


def _axes(size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    figure = Figure(figsize=size)
    return figure, figure.subplots()


def _finish_bars(axes: Any, names: Sequence[str], label: str) -> None:
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(label)


def _save(figure: Any, file: Path) -> None:
    figure.savefig(file, dpi=120, bbox_inches="tight", metadata={"Software": None})
