"""The Python blocks of a Markdown page as one session of doctest, and a command that renews their output.

``python -m tests.docs.snippets PAGE...`` writes what the blocks print now into the pages; read the difference before
you commit it.
"""

import contextlib
import doctest
import io
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """README.md, CONTRIBUTING.md and every page of docs/."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str, *languages: str) -> list[tuple[int, str]]:
    """(line, content) of the fenced blocks in one of ``languages``; lines are counted from 0."""
    found = [m for m in FENCE.finditer(text) if m.group(1) in languages]
    return [(text.count("\n", 0, m.start(2)), m.group(2)) for m in found]


class Session:
    """Runs the Python blocks of one page one after the other, in one namespace, as a reader would type them.

    A block with ``>>>`` must print what it shows; one without must run.
    """

    def __init__(self, page: Path) -> None:
        self.page = page
        self.lines = page.read_text(encoding="utf-8").splitlines(keepends=True)
        self.globals: dict[str, object] = {"__name__": "__main__"}
        self.report = io.StringIO()
        self.renewals: list[tuple[doctest.Example, int, str]] = []  # example, line of its block, what it printed

    def run(self) -> str:
        """The differences, as doctest writes them; empty when all is as shown."""
        for line, code in blocks("".join(self.lines), "python"):
            if ">>>" in code:
                test = doctest.DocTestParser().get_doctest(code, self.globals, self.page.name, str(self.page), line)
                runner = _Runner(self, line)
                runner.run(test, out=self.report.write, clear_globs=False)
                self.globals.update(test.globs)
            else:
                with contextlib.redirect_stdout(io.StringIO()):
                    exec(compile("\n" * line + code, self.page, "exec"), self.globals)
        return self.report.getvalue()

    def renew(self) -> int:
        """Write what the examples printed into the page; returns how many were wrong."""
        self.run()
        for example, start, got in reversed(self.renewals):
            first = start + example.lineno + example.source.count("\n")
            self.lines[first : first + example.want.count("\n")] = got.splitlines(keepends=True)
        self.page.write_text("".join(self.lines), encoding="utf-8")
        return len(self.renewals)


class _Runner(doctest.DocTestRunner):
    def __init__(self, session: Session, line: int) -> None:
        super().__init__(optionflags=doctest.ELLIPSIS, verbose=False)
        self.session, self.line = session, line

    def report_failure(self, out, test, example, got):  # type: ignore[no-untyped-def]
        self.session.renewals.append((example, self.line, got))
        super().report_failure(out, test, example, got)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        session = Session(Path(name))
        print(f"{name}: {session.renew()} renewed")
        print(session.report.getvalue() if "Traceback" in session.report.getvalue() else "", end="")
