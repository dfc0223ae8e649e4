"""``python -m tests.mutation``: injects every known bug and prints which check caught it, and the score."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import pkgutil
import sys

import tests.mutation

from .framework import Mutant, Result, false_alarms, is_fast, run, score, score_line


def families() -> dict[str, tuple[Mutant, ...]]:
    """Every module of this package that has MUTANTS, by name."""
    found = {}
    for info in pkgutil.iter_modules(tests.mutation.__path__):
        if info.name not in ("framework", "__main__"):
            found[info.name] = importlib.import_module(f"tests.mutation.{info.name}").MUTANTS
    return found


def _row(result: Result, width: tuple[int, int]) -> str:
    noted = result.check or result.message
    return (
        f"{result.name:<{width[0]}}  {result.target:<{width[1]}}  {result.verdict:<8}  {result.seconds:7.2f} s  {noted}"
    )


def main(arguments: list[str] | None = None) -> int:
    """0 where every chosen mutant is caught and no check fails on the true code, else 1."""
    every = families()
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--family", action="append", choices=sorted(every), help="only these families")
    parser.add_argument("--name", action="append", help="only mutants whose name contains this")
    parser.add_argument("--fast", action="store_true", help="only those that need no compilation")
    parser.add_argument("--list", action="store_true", help="print names, targets and stories; run nothing")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds per mutant (default %(default)g)")
    chosen = parser.parse_args(arguments)

    mutants = [m for f, ms in every.items() if not chosen.family or f in chosen.family for m in ms]
    if chosen.name:
        mutants = [m for m in mutants if any(n in m.name for n in chosen.name)]
    if chosen.fast:
        mutants = [m for m in mutants if is_fast(m)]
    if not mutants:
        print("no mutant is called so; --list shows all of them", file=sys.stderr)
        return 1
    if chosen.list:
        for m in mutants:
            print(f"{m.name}\n    {m.target}\n    {m.story}")
        return 0

    if alarms := false_alarms(mutants):
        for check, message in alarms.items():
            print(f"{check} fails on the true code: {message}", file=sys.stderr)
        return 1

    width = max(len(m.name) for m in mutants), max(len(m.target) for m in mutants)
    results = []
    for mutant in mutants:
        results.append(run(mutant, chosen.limit))
        if not chosen.json:
            print(_row(results[-1], width), flush=True)
            if chosen.name:  # few are chosen: show what a developer would read
                print(f"    the bug: {mutant.story}\n    the check says: {results[-1].message}")
    caught, total = score(results)
    if chosen.json:
        report = {
            "caught": caught,
            "total": total,
            "mutants": [dataclasses.asdict(r) for r in results],
        }
        print(json.dumps(report, indent=2))
    else:
        print(score_line(results))
    return 0 if caught == total else 1


if __name__ == "__main__":
    sys.exit(main())
