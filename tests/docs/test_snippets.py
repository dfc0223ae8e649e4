"""Every Python block of the documentation runs and prints what it shows; every command in it exists."""

import re
import shlex
from pathlib import Path

import pytest

import minidl.nn  # noqa: F401 (all operations, before a page works with a copy of their list)
from minidl.autograd import Primitive
from minidl.cli._app import build_app, run
from tests.docs.snippets import ROOT, Session, blocks, pages

NAMES = [page.relative_to(ROOT).as_posix() for page in pages()]
WITH_COMMANDS = [name for name in NAMES if name != "docs/roadmap.md"]  # which speaks of commands to come


@pytest.mark.parametrize("name", NAMES)
def test_the_python_blocks_run_as_shown(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # pages write files
    monkeypatch.setattr(Primitive, "registry", dict(Primitive.registry))  # and make operations
    differences = Session(ROOT / name).run()
    assert not differences, f"{differences}\nto renew the output: python -m tests.docs.snippets {name}"


def commands(name: str) -> list[list[str]]:
    """The words of each minidl command in the shell blocks and in the text of a page."""
    text = (ROOT / name).read_text(encoding="utf-8")
    joined = (code.replace("\\\n", " ") for _, code in blocks(text, "sh"))  # a line that goes on below
    lines = [line for code in joined for line in re.split(r"\n|&&", code)]
    lines += re.findall(r"`(minidl [^`]+)`", text)
    words = [shlex.split(line, comments=True) for line in lines]
    return [w[1:] for w in words if w[:1] == ["minidl"]]


@pytest.mark.parametrize("name", WITH_COMMANDS)
def test_the_commands_exist_with_these_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    app = build_app()
    for words in commands(name):
        grouped = words[1:2] and not words[1].startswith("-") and words[1] in app[words[0]]
        assert run([*words[: 2 if grouped else 1], "--help"]) == 0, words
        shown = capsys.readouterr().out
        options = [word.partition("=")[0] for word in words if word.startswith("--") and word != "--help"]
        missing = [o for o in options if o.split(".")[0] not in shown]  # --options.NAME is listed as --options
        assert not missing, f"minidl {words[0]} has no {missing}"


def test_the_commands_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of a command are parsed as they stand, which also finds wrong choices and numbers."""
    monkeypatch.chdir(tmp_path)
    Path("settings.toml").write_text("epochs = 5\n")
    app = build_app()
    with_arguments = [words for name in WITH_COMMANDS for words in commands(name) if words[1:] not in ([], ["--help"])]
    assert with_arguments
    for words in with_arguments:
        app.parse_args(words, exit_on_error=False, print_error=True)


def test_a_wrong_page_is_noticed_and_renewed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Text.\n\n```python\n>>> a = 2\n>>> a + 2\n5\n>>> a\n2\n```\n\n```python\nb = a + 1\n```\n")
    assert "expected:\n5\ngot:\n4\n" in Session(page).run()
    assert Session(page).renew() == 1
    assert Session(page).run() == ""
    assert ">>> a + 2\n4\n>>> a\n2\n" in page.read_text()


def test_an_exception_is_compared_with_its_message_and_notes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\n>>> error = ValueError('one\\n\\n  two')\n>>> error.add_note('three')\n>>> raise error\n```\n"
    )
    assert Session(page).renew() == 1
    shown = "Traceback (most recent call last):\n    ...\nValueError: one\n<BLANKLINE>\n  two\nthree\n```\n"
    assert page.read_text().endswith(f">>> raise error\n{shown}")
    assert Session(page).run() == ""
    page.write_text(page.read_text().replace("three\n`", "four\n`"))
    assert "four" in Session(page).run()
