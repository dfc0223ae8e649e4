"""Whole networks in benchmarks/: the description that travels, PyTorch's twin of it, the numbers that come out."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import networks, sides, steps, steps_side
from benchmarks.sides import ROOT
from benchmarks.steps_minidl import MinidlSteps, create, describe
from minidl import get_num_threads, nn
from tests.checks.models import narrow_head

TINY = replace(networks.NETWORKS[-1], batch=2)  # LeNet-5
SMALL = [replace(n, batch=2, shape=n.shape if n.shape[-1] == 32 else (3, 64, 64), classes=7) for n in networks.NETWORKS]


def test_select() -> None:
    assert networks.select([]) == list(networks.NETWORKS)
    with pytest.raises(ValueError, match="no network is called lenet6; there are vgg16, alexnet"):
        networks.select(["lenet6", "vgg16"])


def test_weights_are_the_same_each_time_random_and_of_a_size_that_neither_grows_nor_dies() -> None:
    shapes = {"a.weight": (6, 50, 3, 3), "b.weight": (8,), "b.bias": (8,), "b.running_var": (8,)}
    first, again = steps_side.weights(shapes), steps_side.weights(dict(reversed(shapes.items())))
    for name, shape in shapes.items():
        assert first[name].shape == shape and first[name].dtype == np.float32
        np.testing.assert_array_equal(first[name], again[name])
    assert first["a.weight"].std() == pytest.approx((2 / 450) ** 0.5, rel=0.1)
    assert (first["b.weight"] > 0.8).all() and (first["b.running_var"] > 0.8).all() and (first["b.bias"] < 0.2).all()
    assert len(set(first["b.weight"])) == 8


def test_a_description_has_the_layers_and_what_torch_needs_to_know_of_them() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.ReLU(), nn.Dropout(0.25))
    got = describe(model)
    assert got.kind == "Sequential" and [name for name, _ in got.children] == ["0", "1", "2"]
    conv, relu, dropout = (child for _, child in got.children)
    assert conv.settings["bias"] is False and conv.settings["out_channels"] == 2 and not conv.children
    assert relu == steps_side.Description("ReLU", {}, ()) and dropout.settings == {"p": 0.25}


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("network", SMALL, ids=lambda network: network.model)
def test_torchs_twin_computes_our_network(network: networks.Network, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    for module in ("alexnet", "vgg"):
        narrow_head(monkeypatch, module, 60)
    from benchmarks.steps_torch import TorchSteps

    ours, theirs = MinidlSteps(get_num_threads()), TorchSteps(1, "channels-last")
    theirs.build(network, ours.build(network))
    exact = ours.answers("float64")
    for what, got in theirs.answers("float64").items():
        assert steps.relative(got, exact[what]) < 1e-9, what
    assert exact["scores"].shape == (2, 7) and exact["scores"].std() > 0
    scores = ours.call("infer")().numpy()
    np.testing.assert_allclose(theirs.call("infer")().numpy(), scores, rtol=1e-3, atol=1e-4 * abs(scores).max())


@pytest.mark.torch
def test_a_block_that_nobody_wrote_down_is_an_error() -> None:
    pytest.importorskip("torch")
    from benchmarks.torch_models import build

    leaf = steps_side.Description("ReLU", {}, ())
    with pytest.raises(KeyError, match="does not say what it does with its children"):
        build(steps_side.Description("Mixture", {}, (("a", leaf),)))


def test_torchs_process_does_not_import_minidl() -> None:
    code = "import sys, benchmarks.steps_side, benchmarks.networks; sys.exit('minidl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_a_step_changes_the_weights_and_inference_does_not() -> None:
    side = MinidlSteps(get_num_threads())
    side.build(TINY)
    step, before = side.call("step"), side.model.state_dict()["features.0.weight"].numpy().copy()
    first = step().item()
    for _ in range(5):
        last = step().item()
    assert last < first and not np.array_equal(side.model.state_dict()["features.0.weight"].numpy(), before)
    assert side.call("infer")().shape == (1, 10)
    np.testing.assert_array_equal(create(TINY).state_dict()["features.0.weight"].numpy(), before)


def test_the_peak_of_memory_counts_what_was_held() -> None:
    side = MinidlSteps(get_num_threads())
    if side.peak() is None:
        assert sides.resident() is None
        return
    sides.reset_peak()
    block = np.ones(30_000_000)
    del block
    assert side.peak() > 100e6


def test_relative() -> None:
    assert steps.relative(np.array([3.0, 4.5]), np.array([3.0, 4.0])) == pytest.approx(0.1)
    with pytest.raises(RuntimeError, match=r"shape \(1,\) where float64 has \(2,\)"):
        steps.relative(np.ones(1), np.ones(2))


class Fake:
    """A side that answers from a table."""

    def __init__(self, float32: float, float64: float = 1.0) -> None:
        self.scores = {"float32": float32, "float64": float64}

    def ask(self, method: str, dtype: str = "float32") -> dict[str, np.ndarray]:
        return {"scores": np.array([self.scores[dtype]])}


def test_compare_finds_the_side_that_computes_another_network() -> None:
    ours = Fake(1.0 + 1e-6)
    good = steps.compare({"minidl": ours, "torch NCHW": Fake(1.0 - 1e-3), "torch channels-last": Fake(1.0)})
    assert good["torch NCHW"]["scores"] == pytest.approx(1e-3) and good["torch channels-last"]["scores"] == 0
    with pytest.raises(RuntimeError, match=r"computes another network: its scores differs by 0.1 in float64"):
        steps.compare({"minidl": ours, "torch NCHW": Fake(1.0, 1.1)})


def test_ratios_take_torchs_better_layout() -> None:
    parts = {"step": {"minidl": {"median": 2.0}, "torch NCHW": {"median": 5.0}, "torch channels-last": {"median": 3.0}}}
    memory = {"minidl": 300, "torch NCHW": 200, "torch channels-last": 250}
    assert steps.ratios(parts, memory) == {"step": 1.5, "memory": 1.5}
    assert steps.ratios({"step": {"minidl": {"median": 2.0}}}, {"minidl": None}) == {"step": None, "memory": None}


def test_the_command_line() -> None:
    options = steps.arguments(["--networks", "lenet5", "--no-torch", "--clock", "cpu"])
    assert options.networks == [networks.NETWORKS[-1]] and not options.torch and options.clock == "cpu"
    with pytest.raises(SystemExit):
        steps.arguments(["--networks", "lenet6"])


def test_a_small_run_without_torch() -> None:
    from rich.console import Console

    results = steps.run([TINY], threads=1, seconds=0.0, torch=False)
    (row,) = json.loads(json.dumps(results))["rows"]
    assert row["step"]["minidl"]["calls"] >= 4 and row["errors"]["minidl"]["scores"] < 1e-4
    assert row["ratios"] == {"step": None, "infer": None, "memory": None} and results["summary"] == {}
    assert results["stamp"]["threads"] == 1
    out = io.StringIO()
    steps.show(results, Console(file=out, width=200))
    assert "LeNet-5 x 2" in out.getvalue()
