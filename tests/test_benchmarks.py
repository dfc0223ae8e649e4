"""The logic of benchmarks/: statistics, turns, stamps, shapes, and one small run.  Nothing here asserts a time."""

import doctest
import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from benchmarks import conv as bench
from benchmarks import report, shapes, side_minidl, sides, stamp, timing
from benchmarks.sides import ROOT, Remote, Side, operands, settings
from minidl import get_num_threads
from minidl.kernels.conv_algorithms import PASSES
from minidl.kernels.spec import conv as spec

# tiny layers, every argument in play
TINY = shapes.conv("tiny", "conv", 2, 4, 6, (5, 7), (3, 2), stride=(2, 1), padding=(1, 0), groups=2)
TINY_TRANSPOSED = shapes.conv(
    "tiny", "transposed", 2, 6, 4, (3, 5), (3, 2), (2, 3), (1, 0), groups=2, transposed=True, output_padding=1
)
PUBLIC = [layer for layers in shapes.PUBLIC.values() for layer in layers]
# four spatial axes: only the NumPy kernels can, so nothing has to be compiled
FOUR_AXES = shapes.conv("tiny", "4d", 2, 3, 4, (3, 4, 2, 5), (2, 3, 1, 2), padding=(0, 1, 0, 1))


class FakeClock:
    """Time that passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


# timing ------------------------------------------------------------------------------------------------


def test_statistics_of_known_numbers() -> None:
    values = [0.5, 0.1, 0.4, 0.2, 0.3]
    got = timing.statistics(values)
    assert (got.median, got.minimum, got.calls) == (0.3, 0.1, 5)
    assert got.p20 == pytest.approx(np.quantile(values, 0.2))
    assert got.p80 == pytest.approx(np.quantile(values, 0.8))


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.77, 1])
def test_quantile_is_numpys(share: float) -> None:
    values = np.random.default_rng(1).exponential(size=11)
    assert timing.quantile(list(values), share) == pytest.approx(np.quantile(values, share))


def test_what_has_no_value_is_refused() -> None:
    with pytest.raises(ValueError, match="no ratios"):
        timing.geometric_mean([])
    with pytest.raises(ValueError, match="of 0 values"):
        timing.quantile([], 0.5)
    with pytest.raises(ValueError, match="2 turns are too few"):
        timing.noise_floor([[], [1.0]])


def test_geometric_mean() -> None:
    assert timing.geometric_mean([1.0, 2.0, 4.0]) == pytest.approx(2.0)
    assert timing.geometric_mean([3.0]) == pytest.approx(3.0)


def test_noise_floor_is_symmetric_and_blind_to_steady_drift() -> None:
    assert timing.noise_floor([[1.0], [2.0], [3.0], [4.0]]) == pytest.approx(0)
    assert timing.noise_floor([[1.2], [1.0], [1.0], [1.2]]) == pytest.approx(0.2)
    assert timing.noise_floor([[1.0], [1.2], [1.2], [1.0]]) == pytest.approx(0.2)


def test_turns_go_forwards_and_backwards() -> None:
    clock, took = FakeClock(), []

    def side(name: str, seconds: float) -> Callable[[float], list[float]]:
        def take(share: float) -> list[float]:
            took.append((name, round(clock.now - 100, 6)))
            clock.sleep(seconds)
            assert share == 0.25
            return [seconds]

        return take

    sides = {"A": side("A", 1.0), "B": side("B", 2.0)}
    turns = timing.interleave(sides, 17.0, turn_seconds=0.25, clock=clock)
    assert [name for name, _ in took] == list("ABBA" * 3)  # five rounds end at 15 s, and rounds come in pairs
    assert [at for _, at in took[:4]] == [0, 1, 3, 5]
    assert turns == {"A": [[1.0]] * 6, "B": [[2.0]] * 6}


def test_however_short_the_time_there_are_four_rounds() -> None:
    clock, shares = FakeClock(), []

    def take(share: float) -> list[float]:
        shares.append(share)
        clock.sleep(1.0)
        return [1.0]

    assert timing.interleave({"A": take}, 0.08, clock=clock)["A"] == [[1.0]] * 4
    assert shares == [pytest.approx(0.02)] * 4  # and shorter turns


@pytest.mark.parametrize(
    ("durations", "calls"),
    [
        ([2.0, 0.01, 0.01, 0.01], 3),  # compiled, first touched, steady
        ([0.01, 0.01], 2),
        ([2.0**-n for n in range(20)], timing.MOST_WARM_UPS),
    ],
)
def test_warm_up_goes_on_while_calls_become_faster(durations: list[float], calls: int) -> None:
    clock, left = FakeClock(), iter(durations)
    assert timing.warm_up(lambda: clock.sleep(next(left)), clock) == calls


def test_a_turn_leaves_out_its_first_calls_and_counts_at_least_one() -> None:
    clock, lengths = FakeClock(), []

    def call() -> None:
        lengths.append(0.002)
        clock.sleep(0.002)

    times = timing.turn(call, 0.0099, clock)
    assert times == pytest.approx([0.002] * 5)
    assert len(lengths) == 8  # three calls are over before the lead of 5 ms is
    assert timing.turn(lambda: clock.sleep(0.3), 0.1, clock) == pytest.approx([0.3])  # a long call needs no lead
    assert len(timing.turn(lambda: clock.sleep(0.02), 0.0, clock)) == 1


def test_rest_lasts_until_no_thread_computes() -> None:
    clock = FakeClock()
    spinning = [1.0, 0.9, 0.3, 0.1, 0.0]  # shares of a core

    def sleep(seconds: float) -> None:
        clock.now += spinning.pop(0) * seconds

    assert timing.rest(clock, sleep) == 4 and spinning == [0.0]
    assert timing.rest(clock, clock.sleep) == timing.MOST_RESTS  # a thread that never sleeps


# shapes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", shapes.LAYERS + PUBLIC, ids=lambda layer: layer.title)
def test_every_layer_is_a_convolution(layer: shapes.Layer) -> None:
    conv = side_minidl.problem(layer)  # raises where shapes do not fit
    assert conv.macs > 0 and layer.tags[0] == layer.net
    assert 4 * max(np.prod(s) for s in (conv.x_shape, conv.w_shape, conv.y_shape)) <= shapes.MOST_BYTES
    assert 2e-9 * conv.macs <= shapes.MOST_GFLOP
    if layer.transposed:
        assert layer.x_shape == conv.y_shape


def test_titles_and_tags() -> None:
    titles = [layer.title for layer in shapes.LAYERS + PUBLIC]
    assert len(set(titles)) == len(titles)
    tags = {tag for layer in shapes.LAYERS + PUBLIC for tag in layer.tags} | set(shapes.PUBLIC)
    assert set(report.FIGURES) - {"all"} <= tags
    assert not tags & set(titles)
    assert all(len(set(layer.tags)) == len(layer.tags) for layer in shapes.LAYERS)  # or a ratio would count twice


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("resnet50 1", "first"),
        ("resnet50 3.1 project", "strided"),
        ("resnet50 3 expand", "1x1"),
        ("mobilenet dw 96@112/2", "depthwise"),
        ("resnext50 2", "grouped"),
        ("alexnet 2", "5x5"),
        ("context 512@28/d4", "dilated"),
        ("dcgan 128-64@16", "transposed"),
        ("replknet dw 31x31", "large"),
        ("ecg 32@7680/2", "1d"),
    ],
)
def test_kind(title: str, kind: str) -> None:
    (layer,) = shapes.select([title])
    assert layer.kind == kind


def test_big_needs_channels_on_both_sides_and_tiles() -> None:
    layer = shapes.conv("net", "layer", 3, 32, 32, (18, 38), 3, padding=1)
    assert layer.tags == ("net", "3x3", "3x3-big")  # 3 * 5 * 10 tiles
    for change in ({"filters": 31}, {"channels": 31}, {"size": (18, 36)}, {"padding": (0, 0)}):
        assert replace(layer, **change).tags == ("net", "3x3")


@pytest.mark.parametrize(
    ("title", "gflop", "batch"),  # of the whole batch, as the papers' tables give them
    [
        ("alexnet 1", 9.00, 64),
        ("alexnet 5", 12.76, 64),
        ("vgg16 1.2", 236.76, 64),
        ("vgg16 5", 59.19, 64),
        ("resnet50 3.1 3x3", 14.80, 64),
        ("resnet50 5.1 project", 13.15, 64),
        ("googlenet 4e 5x5", 2.57, 64),
        ("mobilenet 24-144@56", 1.39, 64),
        ("mobilenet dw 576@14/2", 0.03, 64),
    ],
)
def test_operations_are_the_known_ones(title: str, gflop: float, batch: int) -> None:
    (layer,) = shapes.select([title])
    macs = side_minidl.problem(replace(layer, batch=batch)).macs
    assert 2 * macs / 1e9 == pytest.approx(gflop, abs=0.0051)


def test_select() -> None:
    assert shapes.select([]) == shapes.LAYERS
    assert {layer.kind for layer in shapes.select(["depthwise", "1d"])} == {"depthwise", "1d"}
    with pytest.raises(ValueError, match=r"no layer and no tag is called vgg17; the tags are .*3x3-big.*vgg16"):
        shapes.select(["vgg16", "vgg17"])


def test_public_lists_are_measured_where_they_are_named() -> None:
    assert not set(PUBLIC) & set(shapes.select(["first", "strided", "1x1", "3x3", "3x3-big", "5x5"]))
    assert shapes.select(["deepbench-all"]) == shapes.PUBLIC["deepbench-all"]
    assert [layer.batch for layer in shapes.select(["overfeat"])] == [128, 128, 128, 64, 32]
    assert {layer.net for layer in shapes.select(["convnet-all"])} == {
        "alexnet-128", "overfeat", "vgg-a", "googlenet-128", "convnet-128"
    }  # fmt: skip
    assert [layer.title for layer in shapes.select(["convnet-128 L2", "lenet5 1"])] == ["lenet5 1", "convnet-128 L2"]


def test_deepbench_is_whole() -> None:
    layers = shapes.PUBLIC["deepbench-all"]
    assert len(layers) == sum(len(row[-1]) for row in shapes.deepbench.TRAINING) == 90
    assert {layer.batch for layer in layers} == {4, 8, 16, 32}  # all of them affordable


@pytest.mark.parametrize(
    ("change", "batch"),
    [({}, 64), ({"filters": 32}, 128), ({"filters": 65}, 32), ({"filters": 2**14}, 1), ({"kernel": (8, 1)}, 128)],
)
def test_a_public_layers_batch_is_halved_until_it_is_affordable(
    change: dict[str, int], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "MOST_BYTES", 4 * 64 * 64 * 10 * 20)
    layer = replace(shapes.conv("net", "layer", 128, 8, 64, (10, 20), 1), **change)
    assert shapes.affordable(layer) == replace(layer, batch=batch)
    monkeypatch.setattr(shapes, "MOST_GFLOP", 2e-9 * side_minidl.problem(replace(layer, batch=1)).macs * 16)
    assert shapes.affordable(layer) == replace(layer, batch=min(batch, 16))


# both sides --------------------------------------------------------------------------------------------


def expected(layer: shapes.Layer, pass_: str) -> np.ndarray:
    shape = side_minidl.y_shape(layer)
    x, w, g = (a.astype(np.float64) for a in operands(layer, shape))
    conv = side_minidl.problem(layer)
    if layer.transposed:
        x, g = g, x
    first = {"forward": (x, w), "input_grad": (w, g), "weight_grad": (x, g)}
    pass_ = side_minidl.kernel_pass(layer, pass_)
    return getattr(spec, pass_)(*first[pass_], conv)


@pytest.mark.parametrize("layout", ["NCHW", "channels-last"])
@pytest.mark.parametrize("pass_", PASSES)
@pytest.mark.parametrize("layer", [TINY, TINY_TRANSPOSED], ids=lambda layer: layer.name)
def test_our_side_computes_the_layer(layer: shapes.Layer, pass_: str, layout: str) -> None:
    side = side_minidl.MinidlSide(get_num_threads())
    shape = side_minidl.y_shape(layer)
    side.prepare("it", layer, shape, pass_, layout=layout, algorithm="im2col")
    want = expected(layer, pass_)
    assert want.shape == {"forward": shape, "input_grad": layer.x_shape, "weight_grad": layer.w_shape}[pass_]
    np.testing.assert_allclose(side.result("it"), want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(side.reference(layer, shape, pass_), want, rtol=1e-12, atol=1e-12)


def test_scipy_computes_the_layers_that_it_can() -> None:
    pytest.importorskip("scipy")
    layer = shapes.conv("tiny", "plain", 2, 3, 4, (5, 7), (3, 2), padding=(1, 0))
    side = side_minidl.MinidlSide(get_num_threads())
    side.prepare("it", layer, side_minidl.y_shape(layer), "forward", layout="NCHW", algorithm="scipy")
    np.testing.assert_allclose(side.result("it"), expected(layer, "forward"), rtol=1e-4, atol=1e-5)
    names = [v.name for v in bench.variants(layer, "forward", "channels-last", 0, ["scipy"])]
    assert names == ["minidl", "scipy.signal"]
    assert not any(
        side_minidl.scipy_can(t, "forward") for t in (TINY, TINY_TRANSPOSED, shapes.select(["vgg16 1.2"])[0])
    )
    assert not side_minidl.scipy_can(layer, "weight_grad")


@pytest.mark.torch
@pytest.mark.parametrize("layout", ["NCHW", "channels-last"])
@pytest.mark.parametrize("pass_", PASSES)
@pytest.mark.parametrize("layer", [TINY, TINY_TRANSPOSED], ids=lambda layer: layer.name)
def test_torchs_side_computes_the_same(layer: shapes.Layer, pass_: str, layout: str) -> None:
    torch = pytest.importorskip("torch")
    from benchmarks.side_torch import TorchSide

    side = TorchSide(torch.get_num_threads())
    side.prepare("it", layer, side_minidl.y_shape(layer), pass_, layout=layout)
    np.testing.assert_allclose(side.result("it"), expected(layer, pass_), rtol=1e-4, atol=1e-5)


class Spending(Side):
    """Its call writes 32 MB of scratch memory, of which it keeps some, and returns 8."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[np.ndarray] = []
        self.calls["it"] = self.spend

    def spend(self) -> np.ndarray:
        result, *scratch = (np.ones(1_000_000) for _ in range(5))
        self.kept = scratch[:2]
        return result

    def release(self) -> None:
        self.kept.clear()
        super().release()


MEMORY = """
from tests.test_benchmarks import Spending
spending = Spending()
for _ in range(3):  # also where buffers have been kept and memory has been freed before
    spending.spend()
    print(spending.memory("it"))
"""


def test_memory_is_what_one_call_holds_beside_its_result() -> None:
    """In a process of its own, as sides are: other threads of this one come and go with their memory."""
    done = subprocess.run([sys.executable, "-c", MEMORY], cwd=ROOT, capture_output=True, text=True)
    found = done.stdout.split()
    if found == ["None"] * 3:  # only Linux says
        pytest.skip("the system does not tell the peak of a process")
    assert len(found) == 3 and all(31e6 < int(memory) < 34e6 for memory in found), done


def test_where_the_system_does_not_tell_there_is_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    spending = Spending()
    monkeypatch.setattr(sides, "reset_peak", lambda: False)
    assert spending.memory("it") is None
    monkeypatch.setattr(sides, "resident", lambda field="VmRSS": None)
    assert spending.memory("it") is None


def test_torchs_process_does_not_import_minidl() -> None:
    code = "import sys, benchmarks.side_torch; sys.exit('minidl' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_operands_are_the_same_each_time_and_random() -> None:
    first, second = (operands(TINY, (2, 6, 3, 6)) for _ in range(2))
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == np.float32 and 0.5 < a.std() < 1.5
    assert [a.shape for a in first] == [(2, 4, 5, 7), (6, 2, 3, 2), (2, 6, 3, 6)]


def test_an_error_in_the_other_process_comes_back_with_its_traceback() -> None:
    with Remote("benchmarks.side_minidl", 1) as remote:
        with pytest.raises(RuntimeError, match=r"side_minidl could not turn(?s:.*)KeyError: 'nothing'"):
            remote.ask("turn", "nothing", 0.1)
        assert remote.ask("forget") is None  # it still answers
    assert remote.child.returncode == 0


def test_what_this_process_set_for_its_libraries_does_not_reach_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    with Remote("benchmarks.side_minidl", 1) as remote:
        assert "GOMP_SPINCOUNT" in settings() and "GOMP_SPINCOUNT" not in remote.ask("stamp")["settings"]


def test_the_death_of_the_other_process_is_an_error() -> None:
    with (
        pytest.raises(RuntimeError, match=r"no_such_module has ended \(exit code 1\) during stamp"),
        Remote("benchmarks.no_such_module") as remote,
    ):
        remote.child.wait()
        remote.ask("stamp")


# results -----------------------------------------------------------------------------------------------


def side(median: float, noise: float = 0.0, **more: object) -> dict[str, object]:
    facts = {"error": 1e-7, "gflops": 10.0, "workspace": 2048, "memory": 4096}
    return {"median": median, "p20": median, "p80": median, "noise": noise, **facts, **more}


def test_compare_takes_torchs_better_layout() -> None:
    sides = {
        "minidl": side(2.0, noise=0.02),
        "minidl direct": side(1.6),
        "NumPy im2col": side(0.5),
        "torch NCHW": side(5.0, noise=0.5),
        "torch channels-last": side(3.0, noise=0.04),
    }
    got = bench.compare(sides)
    found = {"peer": "torch channels-last", "noise": 0.04, "regret": pytest.approx(0.25), "unrest": 0.5}
    assert got == {"ratio": pytest.approx(1.5), **found}
    alone = bench.compare({"minidl": side(2.0, noise=0.02)})
    assert alone == {"ratio": None, "peer": None, "noise": 0.02, "regret": 0.0, "unrest": 0.02}


def test_a_row_is_restless_where_any_side_was_slow_for_a_while() -> None:
    """Measured once: ours took twice its time for the whole row; that of PyTorch's sides shows why."""
    sides = {
        "minidl": side(0.93, p20=0.92, p80=0.97),
        "torch NCHW": side(1.44, p20=0.90, p80=1.50, noise=0.55),
        "torch channels-last": side(0.50, p20=0.49, p80=0.98, noise=0.04),
    }
    got = bench.compare(sides)
    assert got["noise"] == 0.04 and got["unrest"] == pytest.approx(1.0)


def test_relative_error() -> None:
    exact = np.array([[3.0, 0.0], [0.0, 4.0]])
    assert bench.relative_error((exact + [[0.003, 0], [0, 0.004]]).astype(np.float64), exact) == pytest.approx(1e-3)
    with pytest.raises(RuntimeError, match="wrong: its relative error against float64 is 2"):
        bench.relative_error(-exact, exact)
    with pytest.raises(RuntimeError, match="against float64 is nan"):
        bench.relative_error(np.full((2, 2), np.nan), exact)
    with pytest.raises(RuntimeError, match=r"shape \(4,\), the reference \(2, 2\)"):
        bench.relative_error(exact.ravel(), exact)


def test_variants() -> None:
    layer = shapes.select(["vgg16 3.1"])[0]
    planned = bench.variants(layer, "forward", "channels-last", 0, [])
    assert [v.name for v in planned] == ["minidl"]
    every = bench.variants(layer, "forward", "channels-last", math.inf, ["torch", "numpy"])
    names = [v.name for v in every]
    assert names[-2:] == ["torch NCHW", "torch channels-last"] and "NumPy im2col" in names
    assert {"minidl", "minidl im2col", "minidl winograd"} <= {*names, f"minidl {planned[0].algorithm}"}
    near = bench.variants(layer, "forward", "channels-last", 1.0, [])
    assert {v.name for v in near} < {*names} and near[0].name == "minidl"
    assert "minidl spec" not in names and len(set(names)) == len(names)
    one_axis = bench.variants(shapes.select(["ecg 1"])[0], "forward", "channels-last", 0, ["torch"])
    assert [v.name for v in one_axis] == ["minidl", "torch NCHW"]


ROWS = [
    {"layer": "a 1", "pass": "forward", "tags": ("a", "1x1"), "ratio": 2.0},
    {"layer": "a 2", "pass": "input_grad", "tags": ("a", "1x1"), "ratio": 0.5},
    {"layer": "b 1", "pass": "forward", "tags": ("b", "large"), "ratio": 8.0},
    {"layer": "b 2", "pass": "forward", "tags": ("b", "large"), "ratio": None},
]


def test_summary_by_tag_and_pass() -> None:
    got = report.summary(ROWS)
    assert set(got) == {"a", "b", "1x1", "large", "forward", "input_grad", "all"}
    assert got["1x1"] == {"count": 2, "mean": pytest.approx(1.0), "least": 0.5, "layer": "a 2 input_grad"}
    assert got["all"]["mean"] == pytest.approx(2.0) and got["forward"]["mean"] == pytest.approx(4.0)
    assert got["large"]["count"] == 1


def test_verdict() -> None:
    assert report.verdict("3x3-big", 2.0, 1.3) == "reached"
    assert report.verdict("3x3-big", 1.9, 1.2) == "missed: mean 2.0, least 1.3"
    assert report.verdict("depthwise", 1.4, 0.1) == "reached"
    assert report.verdict("vgg16", 0.1, 0.1) == ""


def test_the_command_line() -> None:
    options = bench.arguments(["--layers", "lenet5", "--passes", "forward", "--peers", "numpy", "--seconds", "3"])
    assert [layer.title for layer in options.layers] == ["lenet5 1", "lenet5 2"]
    assert (options.passes, options.peers, options.seconds, options.threads) == (["forward"], ["numpy"], 3.0, 2)
    with pytest.raises(SystemExit):
        bench.arguments(["--layers", "lenet6"])


@pytest.mark.parametrize("module", [report, shapes, timing], ids=lambda module: module.__name__)
def test_examples_in_docstrings(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module)
    assert tried and not failed


# stamp -------------------------------------------------------------------------------------------------


def test_the_stamp_says_what_matters_and_nothing_private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.setenv("NUMBA_CACHE_DIR", os.path.join(os.sep, "somewhere"))
    got = stamp.environment()
    assert got["cpu"] and got["cores"] >= 1 and got["threads"] == get_num_threads()
    assert got["numpy"] == np.__version__ and got["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"cpu_features", "load_average", "numba", "torch", "blas", "commit", "time"} <= set(got)
    assert all({"internal_api", "architecture", "num_threads"} <= set(library) for library in got["blas"])
    assert got["OPENBLAS_CORETYPE"] == "Haswell" and got["settings"]["OMP_WAIT_POLICY"] == "passive"
    assert "NUMBA_CACHE_DIR" not in settings()
    assert got["kernels_for"] in ("avx512", "avx2", "neon", "portable")
    assert str(ROOT) not in json.dumps(got)


# a run -------------------------------------------------------------------------------------------------


def test_a_small_run_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    monkeypatch.setattr(bench, "DISTURBED", math.inf)
    seen: list[str] = []
    results = bench.run([FOUR_AXES], ["forward", "weight_grad"], 1, 0.0, math.inf, ["numpy"], progress=seen.append)
    assert seen == ["1/2 tiny 4d forward", "2/2 tiny 4d weight_grad"]
    assert json.loads(json.dumps(results))["stamp"]["threads"] == 1
    for row, pass_ in zip(results["rows"], ["forward", "weight_grad"], strict=True):
        ours = row["sides"]["minidl"]
        assert (row["layer"], row["pass"], ours["algorithm"]) == ("tiny 4d", pass_, "im2col")
        assert row["ratio"] is None and "NumPy im2col" in row["sides"]
        assert 0 < ours["minimum"] <= ours["p20"] <= ours["median"] <= ours["p80"] and ours["calls"] >= 4
        assert ours["gflops"] == pytest.approx(2 * row["macs"] / ours["median"] / 1e9)
        assert 0 < ours["error"] < 1e-5
        assert ours["memory"] is None or 0 <= ours["memory"] < 1e7
    assert results["summary"] == {} and results["stamp"]["left_out"] == 0

    out = io.StringIO()
    results["stamp"]["load_average_before"] = [9.0, 9.0, 9.0]
    report.show(results, Console(file=out))
    assert "tiny 4d" in out.getvalue() and "NumPy im2col" in out.getvalue() and "busy" in out.getvalue()


def test_disturbed_rows_are_measured_again_and_the_calmest_one_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    unrest = iter([0.1, 0.7, 0.4, 0.8, 0.25, 0.6])  # three passes; again the second and the third; again the second
    made = []

    def measure(layer: shapes.Layer, pass_: str, *rest: object) -> dict[str, object]:
        made.append({"pass": pass_, "unrest": next(unrest), "ratio": None})
        return made[-1]

    monkeypatch.setattr(bench, "measure", measure)
    seen: list[str] = []
    results = bench.run([FOUR_AXES], list(bench.PASSES), 1, 0.0, peers=[], progress=seen.append)
    assert seen[3:] == [
        "again 1/2 tiny 4d input_grad",
        "again 2/2 tiny 4d weight_grad",
        "again 1/1 tiny 4d input_grad",
    ]
    assert results["rows"] == [made[0], made[5], made[4]] and results["stamp"]["again"] == 2
    assert next(unrest, None) is None


def test_past_the_deadline_no_layer_is_begun() -> None:
    results = bench.run([FOUR_AXES], ["forward"], 1, 0.0, peers=[], deadline=-1.0)
    assert results["rows"] == [] and results["stamp"]["left_out"] == 1


def test_the_table_of_ratios() -> None:
    from rich.console import Console

    row = {"layer": "b 1", "pass": "forward", "tags": ["b", "large"], "ratio": 8.0, "noise": 0.02, "macs": 1}
    row["sides"] = {"minidl": side(0.001, algorithm="fft"), "torch NCHW": side(0.008, memory=None)}
    row["sides"]["torch channels-last"] = side(0.009, error=0.5)
    row["peer"] = "torch NCHW"
    blas = [{"internal_api": "openblas", "version": "1", "architecture": "SkylakeX"}]
    fields = dict.fromkeys(("cpu", "threads", "cores", "commit", "python", "numpy", "numba", "torch"), 2)
    stamped = {**fields, "blas": blas, "OPENBLAS_CORETYPE": None, "load_average": None, "load_average_before": None}
    out = io.StringIO()
    report.show({"stamp": stamped, "rows": [row], "summary": report.summary([row])}, Console(file=out))
    lines = {line.split()[0]: line for line in out.getvalue().splitlines() if line.strip()}
    assert lines["b"].split()[-1] == "forward"  # the tag's line comes after the layer's
    assert out.getvalue().count("4.1 kB") == 1 and "0.5" not in out.getvalue().replace("0.51", "")
    assert lines["large"].split() == ["large", "1", "8.00", "8.00", "b", "1", "forward", "reached"]
    assert "busy" not in out.getvalue()
