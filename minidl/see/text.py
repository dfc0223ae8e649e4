"""Explanations as text for a terminal, 100 columns wide and without colours, so that it can go anywhere."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from .names import element

if TYPE_CHECKING:
    from .algorithm_table import Table
    from .breaking import Broken
    from .chains import Chain
    from .compare import Difference, Parting
    from .explain import Scattered
    from .step import Stepped
    from .terms import Explanation, Factor, Terms
    from .windows import Side, Window

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
    rows = [terms[i] for i in chosen]
    columns = [_aligned(c.letter, [t.factors[n] for t in rows]) for n, c in enumerate(terms.columns)]
    products = _flush([number(t.product) for t in rows])
    lines = []
    if len(chosen) < len(terms):
        lines.append(f"{len(terms)} terms, the {len(chosen)} largest of them:")
    for row, i in enumerate(chosen):
        text = " * ".join(c[row] for c in columns)
        mark = "  padding" if terms.padding is not None and terms.padding[i] else ""
        lines.append(f"{text} = {products[row]}  sum {number(float(running[i]))}{mark}")
    return lines


def _aligned(letter: str, factors: list[Factor]) -> list[str]:
    """One column of a table: names and values below one another."""
    names, values = _flush([f.name for f in factors]), _flush([number(f.value) for f in factors])
    return [f"{letter} {name} {value}".strip() for name, value in zip(names, values)]


def _flush(texts: list[str]) -> list[str]:
    width = max(map(len, texts), default=0)
    return [text.ljust(width) for text in texts]


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


def chained(c: Chain, limit: int = SHOWN) -> str:
    """The chain from the loss to a weight, as text."""
    lines = [f"loss = {number(c.loss).strip()}", "gradients on the way, from the loss:"]
    width = max((len(k.name) for k in c.links), default=0)
    for k in c.links:
        shape = "×".join(map(str, k.shape)) or "1"
        lines.append(f"  {k.name:<{width}}  {k.op:<12} {shape:<14} norm {number(k.norm)}  largest {number(k.largest)}")
    lines.append("one strand, from the weight back along the largest term:")
    for e in c.strand:
        largest = ""
        if e.terms is not None and len(e.terms):
            term = e.terms[e.terms.largest(1)[0]]
            product = " * ".join(f"{f.name} {number(f.value).strip()}" for f in term.factors)
            largest = f"{len(e.terms)} terms, largest {product} = {number(term.product).strip()}"
        lines.append(f"  {e.at} = {number(e.value).strip()}: {largest}")
    if c.update is not None:
        lines.append(explanation(c.update, limit))
    return "\n".join(lines)


def stepped(s: Stepped) -> str:
    """An operation that ran, in a line for itself and one for each result."""
    r = s.record
    names = [a.name if hasattr(a, "name") else repr(a) for a in r.args]
    lines = [f"#{r.number} {r.phase:<8} {r.label}({', '.join(names)})"]
    for v, array in zip(r.outputs, s.outputs):
        lines.append(f"  {v.name} {summary(array)}")
    if s.moved:
        lines.append(f"  differs from the recorded run by up to {s.moved:.3g}")
    return "\n".join(lines)


def summary(array: np.ndarray) -> str:
    """Shape, dtype, range and mean of an array in one line; small ones whole.

    >>> summary(np.array([1.0, 2.5]))
    'float64 (2,): [1, 2.5]'
    """
    head = f"{array.dtype} {array.shape}"
    if array.size <= 8:
        return f"{head}: {np.array2string(array, separator=', ', formatter={'float_kind': '{:.7g}'.format})}"
    wide = array.astype(np.float64)
    return f"{head}: min {wide.min():.5g}, mean {wide.mean():.5g}, max {wide.max():.5g}"


def differing(d: Difference) -> str:
    """Where two runs part, as text."""
    if d.same:
        return f"the runs are the same, bit for bit ({d.compared} values compared)"
    lines = [f"given: {_parting(p)}" for p in d.given]
    if d.first is not None:
        where = f"operation {d.first.record}, {d.first.label}, {d.first.phase}"
        lines.append(f"the runs part at {d.first.at} ({where}): {_parting(d.first, False)}")
        lines.append(f"{len(d.after)} of {d.compared} results differ; on the way:")
        chosen = d.after[:: max(1, len(d.after) // SHOWN)]
        lines += [f"  {p.label:<40} largest difference {p.largest:.3g}, relative {p.relative:.2e}" for p in chosen]
    if d.structure:
        lines.append(d.structure)
    return "\n".join(lines)


def _parting(p: Parting, named: bool = True) -> str:
    name = f"{p.at}: " if named else ""
    text = f"{name}{p.a:.9g} and {p.b:.9g}, {p.ulps:.3g} ulp apart"
    return f"{text}; {p.differing} of {p.elements} elements differ, by up to {p.largest:.3g}"


def window(w: Window) -> str:
    """A window operation drawn axis by axis, with its arithmetic."""
    return "\n\n".join("\n".join(_side(s)) for s in w.sides)


def _side(s: Side) -> list[str]:
    lines = [s.formula, *(f"  {line}" for line in s.drawing)]
    if s.out < 1:
        lines.append(f"no window fits: it spans {s.extent} positions, the padded input has {s.size + sum(s.pad)}")
        return lines
    if s.holes:
        lines.append(f"dilation {s.dilation}: {s.kernel} taps span {s.extent} positions with {s.holes} holes")
    if s.leftover > 0:
        lines.append(f"left over: {s.leftover} padded positions behind the last window")
    if s.leftover < 0:
        lines.append(f"the last window hangs over by {-s.leftover} positions")
    if s.unread:
        lines.append(f"never read: {_listed(s.unread)}")
    if s.floor != s.ceil:
        lines.append(f"floor rule {s.floor} windows, ceil rule {s.ceil}")
    if min(s.reads) != max(s.reads):
        lines.append(f"positions are read {min(s.reads)} to {max(s.reads)} times")
    names = [f"{n} (output_padding={s.output_padding[n]})" if n in s.output_padding else str(n) for n in s.same_output]
    lines.append(f"input sizes with {s.out} windows: {', '.join(names)}")
    return lines


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:20])) + (", ..." if len(numbers) > 20 else "")


def algorithms(table: Table) -> str:
    """The algorithms of one convolution beside one another, pass by pass."""
    from ..kernels.catalogue import duration, quantity

    lines, wide = [table.problem], max(10, *(len(row.algorithm) + 1 for row in table.rows))
    for pass_ in dict.fromkeys(row.pass_ for row in table.rows):
        lines.append(f"{pass_}:")
        lines.append(
            f"  {'algorithm':<{wide}}{'time':>10}{'operations':>12}{'bytes':>10}{'workspace':>11}{'error':>10}"
            f"{'bound':>10}"
        )
        for r in (row for row in table.rows if row.pass_ == pass_):
            mark = ">" if r.chosen else " "
            if r.reason:
                lines.append(f"{mark} {r.algorithm:<{wide}}cannot: {r.reason}")
                continue
            bound = "" if r.bound is None else f"{r.bound:.1e}"
            lines.append(
                f"{mark} {r.algorithm:<{wide}}{duration(r.seconds):>10}{quantity(r.flops):>12}"
                f"{quantity(r.bytes, 'B'):>10}{quantity(r.workspace, 'B'):>11}{r.error:>10.1e}{bound:>10}"
            )
        shapes = [f"{s.algorithm}: {', '.join(f'{n} {a.shape}' for n, a in s.arrays.items())}"
                  for s in table.steps if s.pass_ == pass_]  # fmt: skip
        lines += [f"  steps of {s}" for s in shapes]
    return "\n".join(lines)


def broken(b: Broken) -> str:
    """A bug, the findings of the checks, and both trainings."""
    lines = [f"{b.name}: {b.title}", *textwrap.wrap(b.story, 100, initial_indent="  ", subsequent_indent="  ")]
    for f in b.findings:
        verdict = "finds it" if f.found else "blind"
        lines.append(f"  {f.check:<24}{verdict:<10}{f.detail}")
    if b.losses:
        lines.append(f"  {'loss without the bug':<24}{_row(b.losses)}   test accuracy {b.accuracy:.1%}")
        lines.append(f"  {'loss with the bug':<24}{_row(b.losses_with_bug)}   test accuracy {b.accuracy_with_bug:.1%}")
    return "\n".join(lines)


def _row(losses: list[float]) -> str:
    return " ".join(f"{v:5.2f}" if v < 100 else f"{v:5.0e}" for v in losses)
