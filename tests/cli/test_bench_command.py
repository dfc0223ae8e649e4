"""``minidl bench``: finds the programs of a checkout, passes the words on, says where there is none."""

import subprocess
import sys
from pathlib import Path

import pytest

from minidl.cli import _app, bench

ROOT = Path(__file__).parents[2]


def test_words_reach_the_program(capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(bench, "program", lambda name: type("", (), {"main": lambda words: seen.append((name, words))}))
    assert _app.run(["bench", "plan", "--layers", "vgg16 3.1", "1x1", "--seconds", "5"]) == 0
    assert _app.run(["bench", "first-call", "--help"]) == 0
    assert seen == [("plan", ["--layers", "vgg16 3.1", "1x1", "--seconds", "5"]), ("first-call", ["--help"])]
    assert _app.run(["bench", "stairs"]) == 2 and "stairs" in capsys.readouterr().err


def test_every_program_is_there():
    for name in bench.PROGRAMS:
        assert callable(bench.program(name).main)


def test_without_a_checkout_one_line_says_what_to_do(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    assert _app.run(["bench", "conv"]) == 2
    error = capsys.readouterr().err
    assert "programs of the folder benchmarks/, which is not installed: clone the repository" in error
    assert "Traceback" not in error


def test_it_runs_from_another_folder(tmp_path):
    command = [sys.executable, "-c", "from minidl.cli import bench; print(bench.program('steps').OURS)"]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.stdout == "minidl\n", done.stderr


@pytest.mark.parametrize("name", ["conv", "steps", "plan", "figures"])
def test_a_wrong_word_ends_with_exit_code_2(name, capsys):
    with pytest.raises(SystemExit) as stop:
        bench.program(name).main(["--layers-and-networks"])
    assert stop.value.code == 2 and "--layers-and-networks" in capsys.readouterr().err
