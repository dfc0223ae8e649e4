"""The table and the picture of the degradation experiment, from run folders."""

import json
from pathlib import Path

import pytest

from benchmarks.degradation import main, plot, read_run, table

ERRORS = {"cifar_plain20": (30.0, 20.0), "cifar_plain56": (60.0, 40.0), "cifar_resnet20": (28.0, 18.0)}


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    folders = []
    for model, errors in ERRORS.items():
        folder = tmp_path / model
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model": model, "settings": {"epochs": 2}}))
        rows = [
            {
                "epoch": i + 1,
                "train_loss": error / 50,
                "train_accuracy": 1 - error / 100,
                "test_accuracy": 0.99 - error / 100,
                "seconds": 60.0,
            }
            for i, error in enumerate(errors)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        folders.append(folder)
    return folders


def test_errors_after_the_last_epoch(runs: list[Path]) -> None:
    curves = [read_run(folder) for folder in runs]
    assert curves[0].errors("train") == pytest.approx([30.0, 20.0])
    assert "| cifar_plain56 | 2 | 40.0 % | 0.800 | 41.0 % | 2 |" in table(curves).splitlines()


def test_a_picture_of_both_kinds(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    main([*map(str, runs), "--png", str(tmp_path / "both.png")])
    assert "cifar_resnet20" in capsys.readouterr().out
    assert (tmp_path / "both.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    plot([read_run(runs[0])], tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 5000


def test_a_run_without_an_epoch(runs: list[Path]) -> None:
    (runs[0] / "metrics.jsonl").write_text("")
    with pytest.raises(ValueError, match="no epoch of this run is complete yet"):
        read_run(runs[0])
