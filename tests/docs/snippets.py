"""The Python blocks of a Markdown page as one session, and a command that renews their output.

``python -m tests.docs.snippets PAGE...`` writes what the blocks print now into the pages; read the difference before
you commit it.
"""

import contextlib
import doctest
import io
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from minidl.kernels import catalogue, vectors
from minidl.kernels.cpu import fft_tiles

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """README.md, CONTRIBUTING.md and every page of docs/."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str, *languages: str) -> list[tuple[int, str]]:
    """(line, content) of the fenced blocks in one of ``languages``; lines are counted from 0."""
    found = [m for m in FENCE.finditer(text) if m.group(1) in languages]
    return [(text.count("\n", 0, m.start(2)), m.group(2)) for m in found]


@contextlib.contextmanager
def estimates_for_avx2() -> Iterator[None]:
    """As the pages show them, on every machine."""
    known = catalogue._choose, fft_tiles.tiling
    try:
        with mock.patch.object(vectors, "speed", lambda: 1.0):
            for function in known:
                function.cache_clear()
            yield
    finally:
        for function in known:
            function.cache_clear()


class Session:
    """Runs the Python blocks of one page one after the other, in one namespace, as a reader would type them.

    A block with ``>>>`` must print what it shows (``...`` stands for anything); one without must run.  Exceptions are
    shown as in a terminal, their stack as ``...``.  Doctest's own runner is not used because what it compares of an
    exception with notes depends on the version of Python.
    """

    def __init__(self, page: Path) -> None:
        self.page = page
        self.text = page.read_text(encoding="utf-8")
        self.globals: dict[str, object] = {"__name__": "__main__"}
        self.wrong: list[tuple[int, doctest.Example, str]] = []  # line of the expected output, example, what it printed

    def run(self) -> str:
        """What differs, in words; empty when all is as shown."""
        with estimates_for_avx2():
            return self._run_blocks()

    def _run_blocks(self) -> str:
        for line, code in blocks(self.text, "python"):
            if ">>>" not in code:
                exec(compile("\n" * line + code, self.page, "exec"), self.globals)
                continue
            for example in doctest.DocTestParser().get_examples(code, str(self.page)):
                got = self._run(example)
                if not doctest.OutputChecker().check_output(example.want, got, doctest.ELLIPSIS):
                    self.wrong.append((line + example.lineno + example.source.count("\n"), example, got))
        return "\n".join(
            f"{self.page}:{at}\n{example.source}expected:\n{example.want}got:\n{got}" for at, example, got in self.wrong
        )

    def _run(self, example: doctest.Example) -> str:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            try:
                exec(compile(example.source, str(self.page), "single"), self.globals)
            except Exception as error:
                message = "".join(traceback.format_exception_only(error))
                print(f"Traceback (most recent call last):\n    ...\n{message}", end="")
        return re.sub(r"^$(?=.)", "<BLANKLINE>", printed.getvalue(), flags=re.MULTILINE | re.DOTALL)

    def renew(self) -> int:
        """Write what the examples printed into the page; returns how many were wrong."""
        self.run()
        lines = self.text.splitlines(keepends=True)
        for at, example, got in reversed(self.wrong):
            lines[at : at + example.want.count("\n")] = got.splitlines(keepends=True)
        self.page.write_text("".join(lines), encoding="utf-8")
        return len(self.wrong)


if __name__ == "__main__":
    for page in [Path(name).resolve() for name in sys.argv[1:]]:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # pages write files
            print(f"{page}: {Session(page).renew()} renewed")
