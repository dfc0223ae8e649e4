"""How good the planner's choices are: ``python -m benchmarks.plan --layers googlenet --seconds 60``.

Each layer and pass is measured with every algorithm that the cost model gives at most ``NEAR`` times the least
estimate.  The regret of a choice is how much slower it is than the best one measured: 0 where it was the best.

All layers of `shapes.LAYERS`, in short turns, take about eleven minutes, and seven with ``OPENBLAS_THREAD_TIMEOUT=20``
in the environment: OpenBLAS's threads then sleep soon after a product, and need not be waited for.  ``--out`` writes
JSON and a page of Markdown named after the processor.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from minidl.kernels.conv_algorithms import PASSES

from . import checked, conv, pages, shapes, timing

NEAR = 4.0


def run(
    layers: Sequence[shapes.Layer],
    passes: Sequence[str] = PASSES,
    threads: int = 2,
    seconds: float = 60,
    minutes: float = math.inf,
    clock: str = "wall",
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """``{"stamp": ..., "rows": [...], "regret": {...}}``; times in seconds.

    After so many ``minutes`` no further layer is begun; what was disturbed is then still measured again.  The order
    mixes all kinds.
    """
    start = time.perf_counter()
    mixed = random.Random(0).sample(layers, len(layers))
    results = conv.run(
        mixed, passes, threads, seconds, NEAR, [], clock=clock, deadline=start + 60 * minutes, times_only=True,
        progress=progress,
    )  # fmt: skip
    rows = [choice(row) for row in results["rows"]]
    stamp = results["stamp"] | {"minutes": (time.perf_counter() - start) / 60}
    return {"stamp": stamp, "rows": rows, "regret": regret(rows)}


def choice(row: dict[str, Any]) -> dict[str, Any]:
    """Of one row of ``conv.run``: what was chosen, what was best, the regret, and all times by algorithm.

    ``noise`` is that of the chosen or of the best, whichever is greater.
    """
    sides = {side["algorithm"]: side for side in row["sides"].values()}
    best = min(sides, key=lambda algorithm: sides[algorithm]["median"])
    chosen = row["sides"][conv.PLANNED]["algorithm"]
    return {
        "layer": row["layer"],
        "pass": row["pass"],
        "chosen": chosen,
        "best": best,
        "times": {algorithm: side["median"] for algorithm, side in sides.items()},
        "regret": row["regret"],
        "noise": max(sides[chosen]["noise"], sides[best]["noise"]),
    }


def regret(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean over the rows, as ratios are averaged, and the greatest.

    ``contested``: choices for which more than one algorithm was measured; ``wrong``: those that `is_wrong`.

    >>> a = {"layer": "a", "pass": "forward", "regret": 0.0, "noise": 0.0, "times": {"nhwc": 1.0}}
    >>> b = {"layer": "b", "pass": "forward", "regret": 0.21, "noise": 0.0, "times": {"nhwc": 1.21, "fft": 1.0}}
    >>> regret([a, b])
    {'count': 2, 'contested': 1, 'wrong': 1, 'mean': 0.1, 'most': 0.21, 'layer': 'b forward'}
    """
    worst = max(rows, key=lambda row: row["regret"])
    mean = timing.geometric_mean([1 + row["regret"] for row in rows]) - 1
    return {
        "count": len(rows),
        "contested": sum(len(row["times"]) > 1 for row in rows),
        "wrong": sum(map(is_wrong, rows)),
        "mean": round(mean, 4),
        "most": round(worst["regret"], 4),
        "layer": f"{worst['layer']} {worst['pass']}",
    }


def is_wrong(row: dict[str, Any]) -> bool:
    """Whether the regret exceeds 5 % and the noise."""
    return row["regret"] > max(0.05, row["noise"])


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
        colour = "red" if is_wrong(row) else "default"
        table.add_row(
            row["layer"], row["pass"], row["chosen"], row["best"], *cells,
            f"[{colour}]{row['regret']:.0%}[/]", f"{row['noise']:.0%}",
        )  # fmt: skip
    console.print(table)
    console.print(f"regret: {in_words(results['regret'])}")


def in_words(found: dict[str, Any]) -> str:
    """What `regret` says, as a line."""
    return (
        f"{found['mean']:.1%} mean of {found['count']} choices, {found['most']:.0%} at most ({found['layer']}); "
        f"{found['contested']} have been measured with several algorithms, {found['wrong']} are wrong by more than 5 % "
        "and the noise"
    )


def choices(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A table of Markdown: what was chosen, what was best."""
    heads = ["layer", "pass", "chosen", "best", "regret", "noise"]
    names = ("layer", "pass", "chosen", "best")
    return pages.table(
        heads, [[*(row[n] for n in names), f"{row['regret']:.0%}", f"{row['noise']:.0%}"] for row in rows]
    )


def markdown(results: dict[str, Any]) -> str:
    """The page: machine, regret, the choices with the time of every algorithm measured."""
    names = sorted({name for row in results["rows"] for name in row["times"]})
    lines = [
        *pages.head(results["stamp"], "python -m benchmarks.plan"),
        f"Regret, chosen / best - 1: {in_words(results['regret'])}.",
        "",
    ]
    rows = sorted(results["rows"], key=lambda row: -row["regret"])
    lines += pages.table(
        ["layer", "pass", "chosen", *(f"{name} ms" for name in names), "regret", "noise"],
        [
            [
                row["layer"], row["pass"], row["chosen"],
                *(f"{row['times'][n] * 1e3:.3g}" if n in row["times"] else "" for n in names),
                f"{row['regret']:.0%}", f"{row['noise']:.0%}",
            ]
            for row in rows
        ],
    )  # fmt: skip
    return "\n".join(lines) + "\n"


def write(results: dict[str, Any], folder: Path) -> list[Path]:
    """JSON and Markdown in ``folder``, which is there; what was written."""
    name = pages.name(results["stamp"])
    data, page = folder / f"{name}-plan.json", folder / f"{name}-plan.md"
    data.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    page.write_text(markdown(results), encoding="utf-8")
    return [data, page]


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plan", description="The planner's choices, measured.")
    parser.add_argument("--layers", nargs="+", default=[], metavar="TAG", help='tags or titles ("vgg16 3.1"); all')
    parser.add_argument("--passes", nargs="+", default=list(PASSES), choices=PASSES)
    parser.add_argument("--threads", type=checked.threads, default=checked.THREADS)
    parser.add_argument(
        "--seconds", type=checked.seconds, default=60, help="measuring time in all, preparations excluded"
    )
    parser.add_argument("--minutes", type=checked.minutes, default=math.inf, help="begin no layer after so many")
    parser.add_argument("--clock", default="wall", choices=timing.CLOCKS, help="cpu, with --threads 1: busy machines")
    parser.add_argument("--out", type=checked.folder, metavar="FOLDER", help="write JSON and Markdown there")
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
    file, folder = options.pop("json"), options.pop("out")
    results = run(**options, progress=lambda line: print(line, file=sys.stderr))
    if file is not None:
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    show(results, Console() if sys.stdout.isatty() else Console(width=170))
    for path in write(results, folder) if folder else []:
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
