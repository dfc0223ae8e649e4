"""The degradation problem: training and test errors of plain and residual networks of two depths, from their runs.

    python -m benchmarks.degradation runs/plain20 runs/resnet20 runs/plain56 runs/resnet56 --png degradation.png

Prints a table and draws figure 6 of He et al. 2016 (arXiv:1512.03385) from the folders that ``minidl train`` has left.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .plots import _save


@dataclass(frozen=True)
class Curve:
    """One run: the model, its settings, a row an epoch."""

    model: str
    settings: dict[str, Any]
    rows: list[dict[str, Any]]

    def errors(self, part: str) -> list[float]:
        """Error in % after each epoch, of the "train" or the "test" part."""
        return [100 * (1 - row[f"{part}_accuracy"]) for row in self.rows]


def read_run(folder: Path) -> Curve:
    """The run in ``folder``; FileNotFoundError where there is none, ValueError before its first epoch is over."""
    description = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    if not rows:
        raise ValueError(f"{folder}: no epoch of this run is complete yet")
    return Curve(description["model"], description["settings"], rows)


def table(curves: Sequence[Curve]) -> str:
    """Errors after the last epoch, as Markdown.

    >>> row = {"train_accuracy": 0.75, "test_accuracy": 0.5, "train_loss": 0.7, "seconds": 90.0}
    >>> print(table([Curve("cifar_plain20", {"epochs": 3}, [row])]))
    | network | epochs | training error | training loss | test error | minutes |
    |---|---|---|---|---|---|
    | cifar_plain20 | 1 of 3 | 25.0 % | 0.700 | 50.0 % | 2 |
    """
    lines = [
        "| network | epochs | training error | training loss | test error | minutes |",
        "|---|---|---|---|---|---|",
    ]
    for curve in curves:
        last, done, planned = curve.rows[-1], len(curve.rows), curve.settings["epochs"]
        epochs = str(done) if done == planned else f"{done} of {planned}"
        minutes = sum(row["seconds"] for row in curve.rows) / 60
        lines.append(
            f"| {curve.model} | {epochs} | {curve.errors('train')[-1]:.1f} % | {last['train_loss']:.3f} "
            f"| {curve.errors('test')[-1]:.1f} % | {minutes:.0f} |"
        )
    return "\n".join(lines)


def plot(curves: Sequence[Curve], file: Path) -> None:
    """Plain networks on the left, residual ones on the right: training error thin, test error thick."""
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    axes = figure.subplots(1, 2)
    for place, kind in zip(axes, ("plain", "resnet")):
        for curve in curves:
            if kind in curve.model:
                epochs = [row["epoch"] for row in curve.rows]
                (line,) = place.plot(epochs, curve.errors("test"), linewidth=2.2, label=f"{curve.model}, test")
                thin: dict[str, Any] = {"linewidth": 1, "color": line.get_color(), "label": f"{curve.model}, training"}
                place.plot(epochs, curve.errors("train"), "--", **thin)
        place.set(xlabel="epoch", ylabel="error (%)", title={"plain": "plain", "resnet": "residual"}[kind])
        place.grid(alpha=0.3)
        place.xaxis.get_major_locator().set_params(integer=True)
        if place.lines:
            place.legend(fontsize=8)
    limits = [place.get_ylim() for place in axes if place.lines]
    for place in axes:
        place.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    _save(figure, file)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders that minidl train has left")
    parser.add_argument("--png", type=Path, help="draw the curves into this file")
    given = parser.parse_args(arguments)
    curves = [read_run(folder) for folder in given.runs]
    print(table(curves))
    if given.png is not None:
        plot(curves, given.png)


if __name__ == "__main__":
    main()
