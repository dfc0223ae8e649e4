"""Results as tables: each layer, then the geometric means of the ratios by tag beside the figures to reach."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from minidl.kernels.catalogue import quantity

from .timing import geometric_mean

# tag: geometric mean of the ratios to reach, and the least that a single one may be
FIGURES: dict[str, tuple[float, float | None]] = {
    "3x3-big": (2.0, 1.3),
    "depthwise": (1.3, None),
    "1x1": (1.0, 0.9),
    "strided": (1.0, 0.9),
    "first": (1.0, 0.9),
    "5x5": (1.0, 0.9),
    "dilated": (1.0, 0.9),
    "transposed": (1.0, 0.9),
    "large": (3.0, None),
    "all": (1.5, None),
}


WIDTH = 150


def summary(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each tag, each pass and "all": how many ratios, their geometric mean, the least and whose it is.

    Rows without a ratio (PyTorch was not measured) do not count.
    """
    groups: dict[str, list[tuple[float, str]]] = {}
    for row in rows:
        if row["ratio"] is None:
            continue
        for name in (*row["tags"], row["pass"], "all"):
            groups.setdefault(name, []).append((row["ratio"], f"{row['layer']} {row['pass']}"))
    return {name: _spread(pairs) for name, pairs in sorted(groups.items())}


def _spread(pairs: Sequence[tuple[float, str]]) -> dict[str, Any]:
    least, whose = min(pairs)
    return {"count": len(pairs), "mean": geometric_mean([r for r, _ in pairs]), "least": least, "layer": whose}


def verdict(tag: str, mean: float, least: float) -> str:
    """Whether a tag reaches its figures; empty where it has none.

    >>> verdict("1x1", 1.2, 0.8)
    'missed: least 0.9'
    """
    if tag not in FIGURES:
        return ""
    wanted, floor = FIGURES[tag]
    missed = [f"mean {wanted}"] if mean < wanted else []
    if floor is not None and least < floor:
        missed.append(f"least {floor}")
    return "missed: " + ", ".join(missed) if missed else "reached"


def show(results: dict[str, Any], console: Any = None) -> None:
    """Print the stamp's main lines and the tables, with rich."""
    from rich.console import Console

    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=WIDTH)  # a file has no width; 80 columns would break the lines
    stamp, rows = results["stamp"], results["rows"]
    blas = ", ".join(f"{b['internal_api']} {b['version']} for {b['architecture']}" for b in stamp["blas"])
    console.print(f"{stamp['cpu']}, {stamp['threads']} of {stamp['cores']} cores, minidl at {stamp['commit']}")
    versions = ", ".join(f"{n} {stamp[n]}" for n in ("python", "numpy", "numba", "torch"))
    console.print(f"{versions}; BLAS {blas}; OPENBLAS_CORETYPE {stamp['OPENBLAS_CORETYPE'] or 'not set'}")
    console.print(f"load average before {stamp['load_average_before']}, after {stamp['load_average']}")
    if busy(stamp["load_average_before"], stamp["cores"]):
        console.print("[yellow]The machine was busy with other work: these are not results to keep.[/]")
    console.print(_layers(rows))
    if results["summary"]:
        console.print(_means(results["summary"]))


def busy(load_average: Sequence[float] | None, cores: int) -> bool:
    """Whether others used more than a tenth of the cores in the minute before.

    >>> busy([0.05, 1.0, 1.0], 2), busy([1.5, 1.0, 1.0], 2)
    (False, True)
    """
    return load_average is not None and load_average[0] > 0.1 * cores


def _layers(rows: Sequence[dict[str, Any]]) -> Any:
    from rich.table import Table

    peers = list(dict.fromkeys(name for row in rows for name in row["sides"] if name != "minidl"))
    table = Table(box=None, padding=(0, 1, 0, 0), title="ms: median of a call; error: relative, against float64")
    for heading in ("layer", "pass", "algorithm"):
        table.add_column(heading, no_wrap=True)
    for heading in ("ours", "GFLOP/s", *peers, "ratio", "noise", "error", "torch's", "memory", "torch's"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        ours = row["sides"]["minidl"]
        torch = row["sides"].get(row["peer"])
        table.add_row(
            row["layer"],
            row["pass"],
            ours["algorithm"],
            _ms(ours),
            f"{ours['gflops']:.0f}",
            *(_ms(row["sides"][p]) if p in row["sides"] else "" for p in peers),
            _ratio(row),
            f"{row['noise']:.0%}",
            f"{ours['error']:.1e}",
            f"{torch['error']:.1e}" if torch else "",
            _bytes(ours),
            _bytes(torch),
        )
    return table


def _ms(side: dict[str, Any]) -> str:
    return f"{side['median'] * 1e3:.3g}"


def _bytes(side: dict[str, Any] | None) -> str:
    return "" if side is None or side["memory"] is None else quantity(side["memory"], "B")


def _ratio(row: dict[str, Any]) -> str:
    """Dim within the noise, red below 1."""
    if row["ratio"] is None:
        return ""
    within = max(row["ratio"], 1 / row["ratio"]) - 1 <= row["noise"]
    style = "dim" if within else "green" if row["ratio"] > 1 else "red"
    return f"[{style}]{row['ratio']:.2f}[/]"


def _means(groups: dict[str, dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), title="torch's better time / ours")
    table.add_column("tag")
    for heading in ("ratios", "geometric mean", "least"):
        table.add_column(heading, justify="right")
    table.add_column("of")
    table.add_column("figure")
    for tag in sorted(groups, key=lambda tag: (tag not in FIGURES, tag)):
        g = groups[tag]
        figure = verdict(tag, g["mean"], g["least"])
        table.add_row(tag, str(g["count"]), f"{g['mean']:.2f}", f"{g['least']:.2f}", g["layer"], figure)
    return table
