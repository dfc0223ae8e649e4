"""How long the first call of a kernel takes: ``python -m benchmarks.first_call``.

Each kernel runs in a process of its own, first with an empty folder for compiled code (cold), then with the folder
that this filled (warm); both some times, each cold one with a folder of its own, of which the medians count: one of a
dozen processes falls into a moment in which the machine does something else.  Importing Numba is not counted: it is
said beside the times, and a process does it once.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from . import AS_STARTED, checked
from .shapes import select
from .sides import ROOT

REPEATS = 3
# title of a layer, its pass, the algorithm
CASES = (
    ("resnet50 2 3x3", "forward", "nhwc"),
    ("resnet50 2 3x3", "input_grad", "nhwc"),
    ("resnet50 2 3x3", "weight_grad", "nhwc"),
    ("mobilenet dw 144@56/1", "forward", "nhwc"),
    ("mobilenet dw 144@56/1", "weight_grad", "nhwc"),
    ("resnet50 2 3x3", "forward", "winograd"),
    ("resnet50 2 3x3", "input_grad", "winograd"),
    ("resnet50 2 3x3", "weight_grad", "winograd"),
    ("resnet50 2 3x3", "forward", "direct"),
    ("filter 31x31", "forward", "fft"),
    ("filter 31x31", "weight_grad", "fft"),
)


def child(title: str, pass_: str, algorithm: str) -> dict[str, float]:
    """In a fresh process: seconds of importing Numba, of the first call and of the second."""
    import time

    begin = time.perf_counter()
    importlib.import_module("numba")  # before anything else imports it
    imported = time.perf_counter() - begin
    from .side_minidl import MinidlSide, y_shape

    (layer,) = select([title])
    call = MinidlSide(1).call(layer, y_shape(layer), pass_, algorithm=algorithm)
    begin = time.perf_counter()
    call()
    first = time.perf_counter()
    call()
    return {"numba": imported, "first": first - begin, "second": time.perf_counter() - first}


def run(
    cases: Sequence[tuple[str, str, str]] = CASES, progress: Callable[[str], None] = lambda line: None
) -> list[dict[str, Any]]:
    """A row for each kernel: seconds of the first call, cold and warm, without those of a second call; medians."""
    rows: list[dict[str, Any]] = []
    for case in cases:
        progress("first call: " + " ".join(case))
        pairs = []
        for _ in range(REPEATS):
            with tempfile.TemporaryDirectory() as folder:
                pairs.append([_ask(case, folder) for _ in ("cold", "warm")])
        row: dict[str, Any] = dict(zip(("layer", "pass", "algorithm"), case))
        for name, calls in zip(("cold", "warm"), zip(*pairs)):
            row[name] = median(call["first"] - call["second"] for call in calls)
        rows.append(row | {"numba": median(warm["numba"] for _, warm in pairs)})
    return rows


def _ask(case: Sequence[str], folder: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.first_call", "--child", *case]
    environment = {**AS_STARTED, "NUMBA_CACHE_DIR": folder}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the first call of {' '.join(case)} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def show(rows: Sequence[dict[str, Any]], console: Any) -> None:
    """Print the table with rich."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), title="seconds of the first call beyond those of the second")
    for heading in ("layer", "pass", "algorithm"):
        table.add_column(heading)
    for heading in ("cold", "warm", "import numba"):
        table.add_column(heading, justify="right")
    for row in rows:
        times = (f"{row[name]:.2f}" for name in ("cold", "warm", "numba"))
        table.add_row(row["layer"], row["pass"], row["algorithm"], *times)
    console.print(table)


def main(words: Sequence[str] | None = None) -> None:
    from rich.console import Console

    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_call", description="First calls of kernels.")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=checked.file, metavar="FILE", help="write the results there as well")
    options = parser.parse_args(words)
    if options.child:
        print(json.dumps(child(*options.child)))
        return
    rows = run(progress=lambda line: print(line, file=sys.stderr))
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    show(rows, Console())


if __name__ == "__main__":
    main()
