"""The program for a card runs to its end on the stand-in for CuPy and PyTorch's CPU, with sizes that say nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu, gpu_sides, shapes
from minidl import backend
from minidl.kernels import catalogue, choice, pooling
from tests.standin import modules


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The stand-in as a card whose kernels are whole-array operations: to emulate CUDA would take minutes."""
    for name, module in modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    for pass_ in ("forward", "input_grad", "weight_grad"):
        rows = [k for k in catalogue.kernels("conv", pass_, "cuda") if k.algorithm == "im2col"]
        monkeypatch.setitem(catalogue._table, ("conv", pass_, "cuda"), rows)
    monkeypatch.setitem(pooling.MODULES, "cuda", {"arrays": ".arrays.pooling"})
    monkeypatch.setattr(choice, "CUDA", {})
    small = [
        shapes.conv("lenet5", "2", 1, 6, 16, 8, 5),
        shapes.conv("dcgan", "t", 1, 3, 2, 4, 2, 2, 0, transposed=True),
    ]
    monkeypatch.setattr(shapes, "LAYERS", small)
    monkeypatch.setattr(gpu_sides, "UPDATED", 3)
    kept = ("NCHW", "TF32 channels-last", "BF16 channels-last")  # float16 takes long on a CPU
    monkeypatch.setattr(gpu, "MODES", tuple(m for m in gpu.MODES if m.name in kept))
    for cached in (backend._cupy, catalogue._choose):
        cached.cache_clear()
    found = gpu_sides.Card(sys.modules["cupy"], 1e-7)
    found.l2 = 1  # one set of operands is enough
    yield found
    for cached in (backend._cupy, catalogue._choose):
        cached.cache_clear()


def test_it_runs_to_its_end(card: Any, tmp_path: Path) -> None:
    try:
        torch = gpu_sides.Torch("cpu")
    except ImportError:
        torch = None
    file = tmp_path / "gpu.json"
    results = gpu.measure(card, torch, gpu.arguments(["--tiny", "--json", str(file)]))
    assert set(gpu.SECTIONS) < set(results) and "failed" not in results
    assert json.loads(file.read_text()) == json.loads(json.dumps(results))
    assert results["check"][-1]["checked"] == results["check"][-1]["of"] and "wrong" not in results
    assert len(results["layers"]) == 6 and all("median" in r["sides"]["minidl im2col"] for r in results["layers"])
    assert all(row["sides"]["minidl"]["median"] > 0 for row in results["fused"])
    assert all(row["sides"]["minidl"]["median"] > 0 for row in results["steps"])
    if torch is not None:
        assert all(row["ratio"] for row in results["fused"])
        assert all(row["ratios"]["float32"] for row in results["layers"])
        assert all(row["ratio"] for row in results["steps"]), results["steps"]
        assert not [s for row in results["layers"] for s in row["sides"].values() if "error" in s]
    lines = gpu.table(results)
    assert 20 < len(lines) <= gpu.LINES and all(len(line) < 160 for line in lines)


def test_minutes_and_sections(card: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    gpu.main(["--tiny", "--no-torch", "--minutes", "0", "--only", "ceilings", "layers", "steps"])
    out = capsys.readouterr().out.splitlines()
    assert "stand-in" in out[0] and "no PyTorch with CUDA" in out[0] and any("GB/s" in line for line in out)
    assert not any("layers:" in line for line in out), "no minute is left for them"
    monkeypatch.setattr(gpu, "fused", lambda run: 1 / 0)
    options = gpu.arguments(["--tiny", "--only", "fused"])
    options.tiny = False
    assert "ZeroDivisionError" in gpu.measure(card, None, options)["failed"][0]["error"]


def test_a_card_without_a_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise backend.DeviceError("no CUDA device can be used: CuPy is not installed")

    monkeypatch.setattr(backend, "_cupy", none)
    with pytest.raises(backend.DeviceError, match="no CUDA device can be used"):
        gpu.main([])
