"""The report: one HTML file about one run of a model, to look at and to click through."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..errors import SeeError
from ..trace import Trace

if TYPE_CHECKING:
    from ...optim import Optimizer

__all__ = ["render", "report"]

COMMAND = "minidl explain MODEL --input X"

_RULES = {"SGD": ("lr", "momentum", "weight_decay", "nesterov"), "Adam": ("lr", "betas", "eps", "weight_decay")}
_RULES["AdamW"] = _RULES["Adam"]


def report(
    trace: Trace,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    optimizer: Optimizer | None = None,
    limit: int = 6_000_000,
    command: str = COMMAND,
) -> None:
    """Write the report of ``trace`` to ``path``: a self-contained HTML file that opens without a network.

    Graph, shapes, times and memory; feature maps, filters, gradients and their histograms; each number taken apart
    into its terms.  ``limit`` bounds the bytes of exact numbers in the file, small values first: of the others the
    page has pictures.  With ``optimizer`` (SGD, Adam or AdamW of the model's parameters, before its first step) the
    page also tells why each weight changes in one step; model and optimiser are left as they were.  ``command`` is
    what the page advises for numbers that it has not.

    Raises SeeError for a trace without values, and OSError where the file cannot be written; an older file is then
    left whole.

    >>> import tempfile, pathlib, minidl
    >>> from minidl import models, see
    >>> run = see.trace(models.lenet5(), minidl.ones(1, 1, 32, 32), target=[3], loss="cross_entropy")
    >>> path = pathlib.Path(tempfile.mkdtemp(), "lenet5.html")
    >>> see.report(run, path)
    >>> path.stat().st_size < 3_000_000
    True
    """
    from ...io import atomic_write

    text = render(trace, title=title, optimizer=optimizer, limit=limit, command=command)
    with atomic_write(path, "w", encoding="utf-8") as file:
        file.write(text)


def render(trace: Trace, **options: Any) -> str:
    """The page that :func:`report` writes, as text."""
    from .page import page

    return page(*contents(trace, **options))


def contents(
    trace: Trace,
    *,
    title: str | None = None,
    optimizer: Optimizer | None = None,
    limit: int = 6_000_000,
    command: str = COMMAND,
) -> tuple[dict[str, Any], bytes]:
    """What the report shows, as document and numbers."""
    from .document import document

    if not trace.keeps_values:
        raise SeeError("a report shows numbers, and this run was traced with keep_values=False; trace it again")
    step = None if optimizer is None else _step(trace, optimizer)
    shown, numbers = document(trace, title=title or type(trace.model).__name__, limit=limit, step=step)
    return {**shown, "command": command}, numbers


def _step(trace: Trace, optimizer: Optimizer) -> dict[str, Any]:
    """What one step of ``optimizer`` with the gradients of the run makes of each parameter; all is put back after."""
    from ...tensor import Tensor

    kind = type(optimizer).__name__
    if kind not in _RULES or len(optimizer.param_groups) != 1 or optimizer.state:
        raise SeeError(
            "the report can show the first step of SGD, Adam or AdamW with one group of parameters; "
            f"this {kind} has {len(optimizer.param_groups)} groups and {len(optimizer.state)} states"
        )
    group = optimizer.param_groups[0]
    parameters = dict(trace.model.named_parameters())
    before = {name: (p._array.copy(), p.grad, p._storage.version) for name, p in parameters.items()}
    try:
        for name, p in parameters.items():
            gradient = trace.gradients.get(name)
            p.grad = None if gradient is None else Tensor(gradient.read().copy())
        optimizer.step()
        after = {name: p._array.copy() for name, p in parameters.items()}
    finally:
        for name, p in parameters.items():
            p._array[...], p.grad, p._storage.version = before[name]  # the same numbers: what was saved is still good
        optimizer.state.clear()
    rule = {key: list(v) if isinstance(v := group.get(key, 0), tuple) else v for key in _RULES[kind]}
    return {"rule": {"name": kind, **rule}, "after": after}
