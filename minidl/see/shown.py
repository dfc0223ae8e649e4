"""How answers look where nobody prints them: whole in a notebook, a line in a terminal."""

from __future__ import annotations

from typing import Any


class Shown:
    """An answer with a text: ``print`` and a notebook show all of it, Python's prompt and a list its first line.

    >>> class Answer(Shown):
    ...     def __str__(self):
    ...         return "6 = 2 * 3\\n  proven"
    >>> Answer()
    <Answer: 6 = 2 * 3>
    """

    def __repr__(self) -> str:
        first = str(self).partition("\n")[0]
        return f"<{type(self).__name__}: {first}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What IPython asks for text."""
        for number, line in enumerate(str(self).split("\n")):
            if number:
                printer.break_()
            printer.text(line)
