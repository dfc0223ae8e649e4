"""What the pages of results have in common: the name of their files, the paragraph on machine and run, tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from . import conv, report

FORCING = ("ATEN_CPU_CAPABILITY", "NUMBA_CPU_NAME", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE")
"""Settings that make Numba, PyTorch, its oneDNN and BLAS use less than the processor has."""


def name(stamp: dict[str, Any]) -> str:
    """Of the files: the processor, the vectors used, the threads.

    >>> name({"cpu": "Some CPU (R) 7", "kernels_for": "avx2", "threads": 2})
    'some-cpu-r-7-avx2-2-threads'
    """
    words = "".join(c.lower() if c.isalnum() else " " for c in stamp["cpu"]).split()
    return "-".join([*words, stamp["kernels_for"], f"{stamp['threads']}-threads"])


def head(stamp: dict[str, Any], command: str) -> list[str]:
    """The title, and what one has to know about the run: versions, load, what was left out and measured again."""
    blas = ", ".join(f"{b['internal_api']} {b['version']} for {b['architecture']}" for b in stamp["blas"])
    versions = ", ".join(f"{n} {stamp[n]}" for n in ("python", "numpy", "numba", "torch"))
    busy = report.busy(stamp["load_average_before"], stamp["cores"])
    forced = ", ".join(f"`{k}={v}`" for k, v in stamp["settings"].items() if k in FORCING)
    return [
        f"# {stamp['cpu']}, {stamp['threads']} of {stamp['cores']} cores",
        "",
        f"`{command}` at {stamp['commit']}, {stamp['time']}, "
        f"{stamp['minutes']:.0f} minutes, {stamp['clock']} clock. {versions}; BLAS {blas}. Load average before "
        f"{stamp['load_average_before']}, after {stamp['load_average']}."
        + (f" {stamp['left_out']} passes of layers were left out for lack of time." if stamp["left_out"] else "")
        + (
            f" In {stamp['again']} rows slow calls of one side took {conv.DISTURBED:.0%} more than its quick ones, or "
            "half of its turns than the other half; these were measured again at the end, at most "
            f"{conv.MORE_TRIES} times, and the calmest measurement kept."
            if stamp["again"]
            else ""
        )
        + (f" The processor could do more: {forced}." if forced else "")
        + (" **The machine was busy with other work: these are not results to keep.**" if busy else ""),
        "",
    ]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of Markdown.

    >>> table(["a", "b"], [["1", "2"]])
    ['| a | b |', '|---|---|', '| 1 | 2 |']
    """
    return ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|", *("| " + " | ".join(r) + " |" for r in rows)]
