"""Explanations as text for a terminal, 100 columns wide and without colours, so that it can go anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .names import element

if TYPE_CHECKING:
    from .explain import Scattered
    from .terms import Explanation, Term, Terms

SHOWN = 12


def number(x: float) -> str:
    """Seven digits, aligned by its sign.

    >>> number(0.5), number(-1 / 3)
    (' 0.5', '-0.3333333')
    """
    return f"{x: .7g}"


def explanation(e: Explanation, limit: int = SHOWN, indent: str = "") -> str:
    """All of an explanation, at most ``limit`` terms of each sum (the largest, in their order)."""
    lines = [f"{e.at} = {number(e.value).strip()}   ({e.op}{' in ' + e.label if e.label else ''}, {e.dtype} {e.shape})"]
    lines.append(f"  {e.formula}")
    if e.terms is not None and len(e.terms):
        lines += [f"  {line}" for line in table(e.terms, limit)]
    lines += [f"  {'+ ' + f.name:<60}{number(f.value):>14}   (bias)" for f in e.addends]
    lines += [f"  {s.name}: {s.formula}" for s in e.steps]
    lines.append(f"  {proof(e)}")
    lines += [f"  note: {n}" for n in e.notes]
    lines += [f"  then {s.name} = {s.formula}" for s in e.then]
    for part in e.parts:
        lines += explanation(part, max(limit // 2, 3), "    ").splitlines()
    return "\n".join(indent + line if line else line for line in lines)


def proof(e: Explanation) -> str:
    """The sum beside the stored value."""
    verdict = "equal" if e.difference == 0 else f"{e.ulps:.3g} ulp apart"
    bound = f"{e.bound:.1e}" if e.bound else "0"
    mark = "" if e.exact else "   NOT EXPLAINED: beyond the bound"
    return f"stored {e.value:.9g}, from the terms {e.computed:.9g}: {verdict} (bound {bound}: {e.bound_rule}){mark}"


def table(terms: Terms, limit: int) -> list[str]:
    """The terms in lines, the running sum at their end."""
    chosen = sorted(terms.largest(limit)) if len(terms) > limit else list(range(len(terms)))
    running = terms.running
    rows = [_cells(terms[i], terms) for i in chosen]
    widths = [max(len(r[c]) for r in rows) for c in range(len(rows[0]))] if rows else []
    lines = []
    if len(chosen) < len(terms):
        lines.append(f"{len(terms)} terms, the {len(chosen)} largest of them:")
    for i, cells in zip(chosen, rows):
        text = " * ".join(c.ljust(w) for c, w in zip(cells, widths))
        mark = "  padding" if terms.padding is not None and terms.padding[i] else ""
        lines.append(f"{text} = {number(float(terms.products[i])):<13} sum {number(float(running[i]))}{mark}")
    return lines


def _cells(term: Term, terms: Terms) -> list[str]:
    return [f"{c.letter} {f.name} {number(f.value)}".strip() for c, f in zip(terms.columns, term.factors)]


def scattered(s: Scattered, limit: int = SHOWN) -> str:
    """Where a gradient goes, as text."""
    lines = [f"{s.at} has gradient {number(s.gradient).strip()} and sends it through {s.op} ({s.label}) to"]
    for goal in s.goals:
        order = sorted(range(len(goal.sent)), key=lambda i: -abs(goal.sent[i]))[:limit]
        more = f", the {len(order)} largest of them" if len(order) < len(goal.sent) else ""
        lines.append(f"  {goal.source} ({goal.argument}): {len(goal.sent)} elements{more}")
        for i in sorted(order):
            name = element(goal.source, tuple(int(n) for n in goal.index[i]))
            sent = f"{number(s.gradient).strip()} * {number(float(goal.slope[i])).strip()}"
            senders = "" if goal.senders is None else f" from {goal.senders[i]} results"
            total = f"in all {number(float(goal.total[i]))}{senders}"
            lines.append(f"    {name:<28} gets {sent} = {number(float(goal.sent[i]))}, {total}")
    return "\n".join(lines)
