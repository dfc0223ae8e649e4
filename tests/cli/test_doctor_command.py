"""The command line: help, version, wrong words, errors as one line; and `minidl doctor`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minidl import doctor, packages
from minidl.__main__ import main
from minidl.cli import _app
from minidl.doctor import Finding, Report
from minidl.io import WeightsError
from minidl.kernels.errors import ShapeError

pytest.importorskip("cyclopts")
ROOT = Path(__file__).parents[2]


def test_help_lists_the_commands_and_the_debug_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert "doctor" in printed and "--debug" in printed and "--version" in printed


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import minidl

    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == minidl.__version__


def test_a_wrong_word_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["docter"]) == 2
    assert 'Did you mean "doctor"?' in capsys.readouterr().err
    assert main(["doctor", "--jsn"]) == 2
    assert "Did you mean --json?" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("note", 0), ("problem", 1)])
def test_doctor_exits_with_1_for_a_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: Any, code: int
) -> None:
    report = Report((Finding("CPU", "BLAS", "value", status, "because.", "do this"),))
    monkeypatch.setattr(doctor, "collect", lambda: report)
    assert main(["doctor"]) == code
    printed = capsys.readouterr().out
    assert "value" in printed and "because." in printed and "do this" in printed
    assert main(["doctor", "--json"]) == code
    assert json.loads(capsys.readouterr().out) == report.as_dict()


class FailingApp:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, arguments: list[str], **options: Any) -> None:
        raise self.error


def noted(error: Exception, note: str) -> Exception:
    error.add_note(note)
    return error


@pytest.mark.parametrize(
    ("error", "printed"),
    [
        (ShapeError("3 channels, not 4"), "minidl: 3 channels, not 4\n"),
        (WeightsError("w.pt", "truncated", 12), "minidl: w.pt: truncated (at byte 12)\n"),
        (noted(ShapeError("3 channels, not 4"), "in module 0"), "minidl: 3 channels, not 4\nin module 0\n"),
        (FileNotFoundError(2, "No such file", "x.png"), "minidl: x.png: No such file\n"),
        (ImportError("plots need matplotlib: python -m pip install matplotlib"), "minidl: plots need matplotlib"),
    ],
)
def test_a_users_error_is_one_line_unless_debugging(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, printed: str
) -> None:
    monkeypatch.setattr(_app, "build_app", lambda: FailingApp(error))
    assert main(["predict", "x.png"]) == 2
    captured = capsys.readouterr()
    lines = 1 + len(getattr(error, "__notes__", []))
    assert captured.err.startswith(printed) and captured.err.count("\n") == lines and captured.out == ""
    with pytest.raises(type(error)):
        main(["predict", "--debug", "x.png"])


@pytest.mark.parametrize(
    "error", [ValueError("a mistake of ours"), ModuleNotFoundError("No module named 'x'", name="x"), OSError("odd")]
)
def test_other_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(_app, "build_app", lambda: FailingApp(error))
    with pytest.raises(type(error)):
        main(["train"])


def test_interruption(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(_app, "build_app", lambda: FailingApp(KeyboardInterrupt()))
    assert main(["train"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_without_cyclopts_the_message_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cyclopts", None)
    assert main(["doctor"]) == 2
    assert "python -m pip install cyclopts" in capsys.readouterr().err


WITHOUT = """import sys
sys.modules[sys.argv[1]] = None
sys.argv[:2] = ["minidl"]
from minidl.__main__ import main
sys.exit(main())
"""


def test_the_doctor_runs_without_rich_and_says_so() -> None:
    done = minidl("-c", WITHOUT, "rich", "doctor", capture_output=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert "\nrich: installed but fails to import: ModuleNotFoundError: import of rich halted" in done.stdout
    assert "\n    python -m pip install --force-reinstall rich\n" in done.stdout and done.stdout.startswith("Python ")


@pytest.mark.parametrize(
    ("module", "name", "arguments"),
    [
        ("rich", "rich", ("summary", "mlp")),
        ("rich", "rich", ("train", "mlp", "--no-such-option")),
        ("PIL", "pillow", ("predict", "lenet5", "--weights", "{folder}/w.npz", "{folder}/image.png")),
    ],
)
def test_a_package_that_does_not_load_is_one_line(
    tmp_path: Path, module: str, name: str, arguments: tuple[str, ...]
) -> None:
    from minidl import models
    from minidl.io import save_weights

    (tmp_path / "image.png").write_bytes(b"")
    save_weights(tmp_path / "w.npz", models.create("lenet5"))
    words = [word.format(folder=tmp_path) for word in arguments]
    done = minidl("-c", WITHOUT, module, *words, capture_output=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"minidl: this needs the package {name}, which is installed but fails to import (")
    assert done.stderr.endswith(f"): python -m pip install --force-reinstall {name}\n")


def test_a_package_that_is_not_installed_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "version", lambda name: None)
    error = ModuleNotFoundError("No module named 'PIL.Image'", name="PIL.Image")
    assert packages.explain(error) == (
        "this needs the package pillow, which is not installed: python -m pip install pillow"
    )


def minidl(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    return subprocess.run([sys.executable, *arguments], text=True, env=env, cwd=ROOT, timeout=120, **options)


def test_the_module_runs_and_help_loads_nothing_heavy() -> None:
    done = minidl("-X", "importtime", "-m", "minidl", "--help", capture_output=True)
    assert done.returncode == 0 and "Usage: minidl" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "cyclopts" in imported
    heavy = {"numba", "llvmlite", "matplotlib", "PIL", "sklearn", "scipy", "cupy", "torch", "safetensors"}
    assert not heavy & imported


@pytest.mark.skipif(os.name != "posix", reason="POSIX pipes")
def test_a_reader_that_leaves_early_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = minidl("-m", "minidl", "doctor", "--json", stdout=writing, stderr=subprocess.PIPE)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
