"""How good the planner's choices are: ``python -m benchmarks.plan --layers googlenet --seconds 60``.

Each layer and pass is measured with every algorithm that the cost model gives at most ``NEAR`` times the least
estimate.  The regret of a choice is how much slower it is than the best one measured: 0 where it was the best.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from minidl.kernels.conv_algorithms import PASSES

from . import checked, conv, shapes, timing

NEAR = 4.0


def run(
    layers: Sequence[shapes.Layer],
    passes: Sequence[str] = PASSES,
    threads: int = 2,
    seconds: float = 60,
    clock: str = "wall",
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """``{"stamp": ..., "rows": [...], "regret": {...}}``; times in seconds."""
    results = conv.run(layers, passes, threads, seconds, NEAR, [], clock=clock, progress=progress)
    rows = [choice(row) for row in results["rows"]]
    return {"stamp": results["stamp"], "rows": rows, "regret": regret(rows)}


def choice(row: dict[str, Any]) -> dict[str, Any]:
    """Of one row of ``conv.run``: what was chosen, what was best, the regret, and all times by algorithm."""
    times = {side["algorithm"]: side["median"] for side in row["sides"].values()}
    best = min(times, key=lambda algorithm: times[algorithm])
    chosen = row["sides"][conv.PLANNED]
    found = {"layer": row["layer"], "pass": row["pass"], "chosen": chosen["algorithm"], "best": best, "times": times}
    return {**found, "regret": row["regret"], "noise": row["noise"]}


def regret(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean over the rows, as ratios are averaged, and the greatest.

    >>> regret([{"layer": "a", "pass": "forward", "regret": 0.0}, {"layer": "b", "pass": "forward", "regret": 0.21}])
    {'count': 2, 'mean': 0.1, 'most': 0.21, 'layer': 'b forward'}
    """
    worst = max(rows, key=lambda row: row["regret"])
    mean = timing.geometric_mean([1 + row["regret"] for row in rows]) - 1
    layer = f"{worst['layer']} {worst['pass']}"
    return {"count": len(rows), "mean": round(mean, 4), "most": round(worst["regret"], 4), "layer": layer}


def show(results: dict[str, Any], console: Any) -> None:
    """Print the table with rich: what was chosen wrongly, and the mean over all."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), title="ms by algorithm; regret: chosen / best - 1")
    names = list(dict.fromkeys(name for row in results["rows"] for name in row["times"]))
    for heading in ("layer", "pass", "chosen", "best"):
        table.add_column(heading, no_wrap=True)
    for heading in (*names, "regret", "noise"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in results["rows"]:
        cells = [f"{row['times'][name] * 1e3:.3g}" if name in row["times"] else "" for name in names]
        colour = "red" if row["regret"] > max(0.05, row["noise"]) else "default"
        table.add_row(
            row["layer"], row["pass"], row["chosen"], row["best"], *cells,
            f"[{colour}]{row['regret']:.0%}[/]", f"{row['noise']:.0%}",
        )  # fmt: skip
    console.print(table)
    found = results["regret"]
    console.print(
        f"regret: {found['mean']:.1%} mean of {found['count']} choices, {found['most']:.0%} at most ({found['layer']})"
    )


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plan", description="The planner's choices, measured.")
    parser.add_argument("--layers", nargs="+", default=[], metavar="TAG", help='tags or titles ("vgg16 3.1"); all')
    parser.add_argument("--passes", nargs="+", default=list(PASSES), choices=PASSES)
    parser.add_argument("--threads", type=checked.threads, default=checked.THREADS)
    parser.add_argument(
        "--seconds", type=checked.seconds, default=60, help="measuring time in all, preparations excluded"
    )
    parser.add_argument("--clock", default="wall", choices=timing.CLOCKS, help="cpu, with --threads 1: busy machines")
    parser.add_argument("--json", type=checked.file, metavar="FILE", help="write the results there as well")
    options = parser.parse_args(words)
    try:
        options.layers = shapes.select(options.layers)
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
    show(results, Console() if sys.stdout.isatty() else Console(width=170))


if __name__ == "__main__":
    main()
