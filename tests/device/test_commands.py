"""The commands with ``--device``, and what they say where there is no GPU."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from minidl import backend
from minidl.__main__ import main

pytest.importorskip("cyclopts")
pytest.importorskip("sklearn")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")


def history(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("runs", name, "metrics.jsonl").read_text().splitlines()]


def test_train_on_a_device_and_go_on_on_the_cpu(cupy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ("train", "lenet5", "--data", "digits", "--epochs", "1", "--augment", "none", "--batch-size", "128")
    assert main([*quick, "--device", "cuda"]) == 0
    assert main([*quick]) == 0
    there, here = history("lenet5-digits"), history("lenet5-digits-2")
    for name in ("train_loss", "test_loss"):
        assert there[0][name] == pytest.approx(here[0][name], rel=1e-3)
    assert main(["train", "--resume", "runs/lenet5-digits", "--epochs", "2"]) == 0
    assert len(history("lenet5-digits")) == 2
    assert main(["eval", "runs/lenet5-digits"]) == 0


def test_gradcheck_on_a_device(cupy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gradcheck", "conv2d", "--device", "cuda"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 of 1 right"


@pytest.mark.parametrize("arguments", [["train", "lenet5", "--data", "digits"], ["gradcheck", "relu"]])
def test_without_a_gpu_one_line_says_what_to_do(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)  # import cupy raises ImportError
    backend._cupy.cache_clear()
    assert main([*arguments, "--device", "cuda"]) != 0
    said = " ".join(capsys.readouterr().err.split())
    assert "CuPy is not installed; `minidl doctor` tells the command that fits your driver" in said.replace("│ ", "")
    assert "Traceback" not in said and not Path("runs").exists()


def test_the_extra_cuda_asks_for_nothing_but_a_driver() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    assert extras["cuda"] == ["minidl[cuda12]"]
    for name in ("cuda12", "cuda13"):
        assert extras[name][0].startswith(f"cupy-{name}x[ctk]")  # [ctk] brings the toolkit's libraries
    pairs = [{entry["extra"] for entry in pair} for pair in project["tool"]["uv"]["conflicts"]]
    assert {"cuda12", "cuda13"} in pairs and {"cuda", "cuda13"} in pairs
