"""The commands with ``--device``, and what they say where there is no GPU."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import backend, models
from minidl.__main__ import main
from minidl.kernels import catalogue
from minidl.train import TrainConfig, start_run
from tests.standin import TRAFFIC

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


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run on the CPU; in it an image of a digit, and weights for a network of the zoo."""
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("run")
    start_run("mlp", TrainConfig(data="digits", epochs=1, batch_size=256, augment="none"), folder).fit(1)
    pixels = np.zeros((9, 8), np.uint8)
    pixels[1:8, 4] = 200
    image.fromarray(pixels).save(folder / "one.png")
    minidl.io.save_weights(folder / "mine.safetensors", models.lenet5().state_dict())
    return folder


COMMANDS: dict[str, list[str]] = {
    "eval": ["eval", "RUN"],
    "predict": ["predict", "RUN", "RUN/one.png", "--csv"],
    "predict with the zoo": ["predict", "lenet5", "RUN/one.png", "--weights", "RUN/mine.safetensors", "--csv"],
    "explain": ["explain", "RUN", "--at", "output[0,3]", "loss", "fc1.weight.grad[2,20]", "--input", "digits:4"],
    "features": ["features", "saliency", "RUN", "--input", "digits:4"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_computes_on_the_device_what_it_does_on_the_cpu(
    name: str, run: Path, cupy: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for device in ("cpu", "cuda"):
        with TRAFFIC.counted() as seen:
            assert main([word.replace("RUN", str(run)) for word in COMMANDS[name]] + ["--device", device]) == 0
        said.append(re.findall(r"\d+\.\d{3,}", capsys.readouterr().out))
        if cupy.__version__.endswith("standin"):
            assert bool(seen.uploads and seen.downloads) == (device == "cuda")
    assert said[0]
    np.testing.assert_allclose(*(np.array(numbers, float) for numbers in said), rtol=2e-4, atol=2e-6)


def test_algorithms_of_a_device(cupy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the catalogue for it, right and with a bound."""
    assert main(["algorithms", "1,2,6,6", "3,2,3,3", "--repeats", "1", "--device", "cuda", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    names = {kernel.algorithm for kernel in catalogue.kernels("conv", "forward", "cuda")}
    assert {row["algorithm"] for row in rows} == names and "im2col" in names
    for row in rows:
        assert row["reason"] or (row["error"] <= row["bound"] and row["seconds"] > 0)
    assert [row["pass_"] for row in rows if row["chosen"]] == ["forward", "input_grad", "weight_grad"]


def test_gradcheck_on_a_device(cupy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gradcheck", "conv2d", "--device", "cuda"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 of 1 right"


WITHOUT = [
    ["train", "lenet5", "--data", "digits"],
    ["finetune", "lenet5", "--data", "digits", "--weights", "nowhere"],
    ["gradcheck", "relu"],
    ["eval", "runs/a"],
    ["eval", "lenet5", "--data", "."],
    ["predict", "runs/a", "one.png"],
    ["predict", "lenet5", "one.png"],
    ["explain", "lenet5", "--at", "output[0,3]"],
    ["features", "saliency", "lenet5"],
    ["algorithms"],
]


@pytest.mark.parametrize("arguments", WITHOUT, ids=[" ".join(words[:2]) for words in WITHOUT])
def test_without_a_gpu_one_line_says_what_to_do(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("one.png").touch()
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
