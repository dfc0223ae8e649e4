"""The report in a cell of a notebook: the page's own module, as a widget for anywidget."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from ...packages import PIP
from ..errors import SeeError
from ..trace import Trace
from . import COMMAND, contents

if TYPE_CHECKING:
    import anywidget

    from ...optim import Optimizer


def widget(
    trace: Trace,
    *,
    title: str | None = None,
    optimizer: Optimizer | None = None,
    limit: int = 6_000_000,
    command: str = COMMAND,
) -> anywidget.AnyWidget:
    """The report of ``trace`` as a widget: JupyterLab, Jupyter Notebook, VS Code and marimo show it below the cell.

    It is the page that :func:`report` writes, with the same options, and goes on working without the kernel.
    A cell has room for less than a window, so it is 640 pixels high unless the style ``--minidl-height`` says
    otherwise.  Raises SeeError for a trace without values, and where the package anywidget is not installed.

    >>> import minidl
    >>> from minidl import models, see
    >>> run = see.trace(models.lenet5(), minidl.ones(1, 1, 32, 32), target=[3], loss="cross_entropy")
    >>> see.widget(run)  # doctest: +SKIP
    <report of LeNet5, 0.7 MB>
    """
    from .page import pack

    kind = _kind()  # before the work
    document, numbers = contents(trace, title=title, optimizer=optimizer, limit=limit, command=command)
    return kind(data=pack(document, numbers), title=document["title"])


@functools.cache
def _kind() -> Any:
    """The class of the widget."""
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise SeeError(f"a report in a notebook needs the package anywidget ({error}): {PIP} anywidget") from error
    from .page import script, style

    class ReportWidget(anywidget.AnyWidget):
        _esm = script()
        _css = style()
        data = traitlets.Bytes().tag(sync=True)
        title = traitlets.Unicode()

        def __repr__(self) -> str:
            return f"<report of {self.title}, {len(self.data) / 1e6:.1f} MB>"

    return ReportWidget
