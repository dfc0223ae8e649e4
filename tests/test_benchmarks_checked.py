"""Wrong words on the benchmarks' command lines: one line that says why, before anything is measured."""

from __future__ import annotations

import argparse
import doctest
import re
from types import ModuleType

import pytest

from benchmarks import checked, conv, figures, first_call, peak, plan, steps
from minidl import get_num_threads, set_num_threads

PROGRAMS = {"conv": conv, "figures": figures, "plan": plan, "steps": steps, "peak": peak}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize(
    ("count", "why"),
    [
        ("0", r"argument --threads: set_num_threads\(0\): this process can use 1 to \d+"),
        (
            "100000",
            r"this process can use 1 to \d+ threads. More threads than CPUs only wait for one another",
        ),
        ("two", "argument --threads: invalid literal for int.*'two'"),
    ],
)
def test_threads_that_there_cannot_be(program: ModuleType, count: str, why: str, capsys) -> None:
    _refused(program, ["--threads", count], why, capsys)


@pytest.mark.parametrize("program", [conv, plan, steps], ids=["conv", "plan", "steps"])
@pytest.mark.parametrize("time", ["-3", "nan", "inf", "soon"])
def test_seconds_that_are_no_time(program: ModuleType, time: str, capsys) -> None:
    _refused(program, [f"--seconds={time}"], f"seconds to measure for are a number, 0 or more, not {time}", capsys)
    _refused(figures, [f"--minutes={time}"], f"minutes to measure for are a number, 0 or more, not {time}", capsys)


@pytest.mark.parametrize("program", [conv, plan, steps, first_call], ids=["conv", "plan", "steps", "first_call"])
def test_files_that_cannot_be_written(program: ModuleType, tmp_path, capsys) -> None:
    _refused(program, ["--json", str(tmp_path)], "results are written to a file, and .* is a folder", capsys)
    missing = str(tmp_path / "missing" / "x.json")
    _refused(program, ["--json", missing], "results cannot be written to .*: there is no folder .*missing", capsys)


def test_folders_that_cannot_be_made(tmp_path, capsys) -> None:
    (tmp_path / "taken").write_text("")
    words = ["--out", str(tmp_path / "taken" / "x")]
    _refused(figures, words, "results cannot be written to the folder .*taken", capsys)


def _refused(program: ModuleType, words: list[str], why: str, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        program.main(words)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and re.search(why, error.splitlines()[-1]), error


def test_asking_changes_no_number_of_threads() -> None:
    before = get_num_threads()
    try:
        set_num_threads(1)
        assert checked.threads("1") == 1 and get_num_threads() == 1
        with pytest.raises(argparse.ArgumentTypeError):
            checked.threads("0")
        assert get_num_threads() == 1
    finally:
        set_num_threads(before)


def test_importing_numba_is_timed_where_it_happens() -> None:
    got = first_call.run(first_call.CASES[-1:])[0]
    assert got["numba"] > 1e-3  # an import that had happened before takes microseconds


def test_examples_in_docstrings() -> None:
    failed, tried = doctest.testmod(checked)
    assert tried and not failed
