"""The table of figures, the page, the pictures, the planner's regret: from results written down here, nothing timed."""

from __future__ import annotations

import doctest
import io
import json
import math
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import conv, figures, first_call, pages, peak, plan, shapes
from benchmarks.sides import ROOT
from minidl import get_num_threads


def side(median: float, algorithm: str | None = None) -> dict:
    return {
        "median": median, "noise": 0.01, "error": 1e-7, "gflops": 40.0, "algorithm": algorithm, "workspace": 10,
        "memory": None if algorithm == "fft" else 12_340_000,
    }  # fmt: skip


def layer(title: str, pass_: str, ratio: float, tags: list[str]) -> dict:
    sides = {"minidl": side(0.001, "nhwc"), "torch NCHW": side(0.001 * ratio)}
    row = {"layer": title, "pass": pass_, "tags": tags, "problem": "", "macs": 10**7, "bytes": 10**6, "sides": sides}
    return {**row, "ratio": ratio, "peer": "torch NCHW", "noise": 0.01, "regret": 0.0}


def network(title: str, model: str, step: float, infer: float, memory: float) -> dict:
    times = {name: {"median": 0.01, "noise": 0.0} for name in ("minidl", "torch NCHW")}
    row = {"network": title, "model": model, "batch": 4, "step": times, "infer": times, "errors": {}}
    row["memory"] = {"minidl": 10**8, "torch NCHW": None}
    return {**row, "ratios": {"step": step, "infer": infer, "memory": memory}}


def made(quick: bool = False) -> dict:
    layers = [layer("a 1", "forward", 1.4, ["a", "depthwise"]), layer("a 2", "weight_grad", 0.8, ["a", "1x1"])]
    nets = [network("VGG-16", "vgg16", 2.5, 1.4, 0.9), network("LeNet-5", "lenet5", 1.0, 1.4, 1.2)]
    choices = [{"layer": "a 1", "pass": "forward", "chosen": "nhwc", "best": "fft", "regret": 0.5, "noise": 0.02}]
    choices[0]["times"] = {"nhwc": 0.003, "fft": 0.002}
    calls = [{"layer": "a 1", "pass": "forward", "algorithm": "nhwc", "cold": 2.5, "warm": 0.05, "numba": 0.4}]
    blas = [{"internal_api": "openblas", "version": "1", "architecture": "Zen"}]
    stamp = dict.fromkeys(("commit", "time", "clock", "python", "numpy", "numba", "torch", "OPENBLAS_CORETYPE"), "x")
    stamp |= {"cpu": "Some CPU (R) 7", "kernels_for": "avx2", "threads": 2, "cores": 2, "blas": blas}
    stamp |= {
        "load_average": None,
        "load_average_before": [3.0, 1.0, 1.0],
        "quick": quick,
        "minutes": 9.6,
        "left_out": 12,
        "again": 5,
        "settings": {"NUMBA_CPU_NAME": "haswell", "OMP_NUM_THREADS": "2"},
    }
    return {
        "stamp": stamp,
        "limits": {"gflops": 200.0, "copy_gbytes": 20.0},
        "layers": {"rows": layers, "summary": figures.report.summary(layers)},
        "networks": {"rows": nets, "summary": figures.steps.summary(nets)},
        "plan": {"rows": choices, "regret": plan.regret(choices)},
        "first_call": calls,
    }


def test_the_table_says_what_is_reached() -> None:
    lines = {line.work: line for line in figures.table(made())}
    assert lines["layers: depthwise"].reached and not lines["layers: 1x1"].reached
    assert lines["layers: 1x1"].measured == "mean 0.80, least 0.80 (a 2 weight_grad), 1 ratios"
    steps = lines["training steps"]
    assert not steps.reached and steps.measured == "mean 1.58, least 1.00 (LeNet-5), VGG-16 2.50"
    assert lines["inference, one image"].reached
    assert not lines["peak memory, ours / torch's"].reached
    assert "most 1.20 (LeNet-5)" in lines["peak memory, ours / torch's"].measured
    assert not lines["first call, cold cache"].reached and lines["first call, warm cache"].reached
    assert not lines["regret of the planner"].reached and "mean 50.0%" in lines["regret of the planner"].measured


def test_every_result_is_written_and_the_page_names_the_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    results = made(quick=True)
    written = figures.write(results, tmp_path / "results")
    stem = "some-cpu-r-7-avx2-2-threads-quick"
    ends = (".json", ".md", "-roofline.png", "-layers.png", "-networks.png")
    assert [path.name for path in written] == [stem + end for end in ends]
    assert json.loads(written[0].read_text()) == json.loads(json.dumps(results))
    page = written[1].read_text()
    assert all(path.name in page for path in written[2:]) and "not results to keep" in page
    assert "The processor could do more: `NUMBA_CPU_NAME=haswell`." in page
    assert "In 5 rows slow calls of one side took 30% more" in page and "at most 2 times" in page
    assert "12 passes of layers were left out for lack of time" in page
    assert "| VGG-16 x 4 | 10 | 10 | 10 | 10 | 100 | 0 | 2.50 | 1.40 | 0.90 |" in page
    assert "| a 2 | weight_grad | nhwc | 1 | 40 | 20% | 0.80 | 1% | 1.0e-07 | 1.0e-07 | 12.3 | 12.3 |" in page
    for table in page.split("\n\n"):  # every row of a table has as many cells as its head
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in rows}) <= 1, table
    for picture in written[2:]:
        assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 5000


def test_show_prints_all_tables() -> None:
    from rich.console import Console

    out = io.StringIO()
    figures.show(made(), Console(file=out, width=220))
    for word in (
        "depthwise",
        "VGG-16 x 4",
        "figures",
        "regret of the planner",
        "limits: 200 GFLOP/s",
        "2.50",
        "missed",
    ):
        assert word in out.getvalue()


def test_quick_has_every_kind() -> None:
    layers = figures.quick_layers()
    assert {layer.kind for layer in layers} == {layer.kind for layer in shapes.LAYERS} - {"9x9", "dilated"}
    assert len(set(layers)) == len(layers) <= 2 * len({layer.kind for layer in layers})


def test_choice_and_regret() -> None:
    row = {"layer": "a", "pass": "forward", "regret": 0.5, "noise": 0.01}
    noisy = {**side(2.0, "fft"), "noise": 0.4}
    row["sides"] = {"minidl": side(3.0, "nhwc"), "minidl fft": noisy, "minidl direct": side(9, "direct")}
    got = plan.choice(row)
    assert (got["chosen"], got["best"], got["times"]) == ("nhwc", "fft", {"nhwc": 3.0, "fft": 2.0, "direct": 9})
    assert got["noise"] == 0.4 and plan.is_wrong(got) and not plan.is_wrong({**got, "regret": 0.3})
    assert not plan.is_wrong({**got, "regret": 0.04, "noise": 0.0})
    found = plan.regret([got, {**got, "regret": 0.0, "times": {"nhwc": 3.0}}])
    assert found["mean"] == pytest.approx(math.sqrt(1.5) - 1, abs=1e-4)
    assert (found["count"], found["contested"], found["wrong"]) == (2, 1, 1)


def test_the_planners_page(tmp_path: Path) -> None:
    choices = made()["plan"]["rows"]
    choices.append({**choices[0], "layer": "b", "chosen": "fft", "regret": 0.0, "times": {"fft": 0.001}})
    choices = choices[::-1]
    results = {"stamp": made()["stamp"], "rows": choices, "regret": plan.regret(choices)}
    data, page = plan.write(results, tmp_path)
    assert (data.name, page.name) == ("some-cpu-r-7-avx2-2-threads-plan.json", "some-cpu-r-7-avx2-2-threads-plan.md")
    assert json.loads(data.read_text()) == json.loads(json.dumps(results))
    lines = page.read_text().splitlines()
    assert "22.5% mean of 2 choices, 50% at most (a 1 forward); 1 have been measured with several" in page.read_text()
    assert lines[-4:] == [  # the greatest regret first
        "| layer | pass | chosen | fft ms | nhwc ms | regret | noise |",
        "|---|---|---|---|---|---|---|",
        "| a 1 | forward | nhwc | 2 | 3 | 50% | 2% |",
        "| b | forward | fft | 1 |  | 0% | 2% |",
    ]


def test_a_small_run_of_the_planner() -> None:
    from rich.console import Console

    four_axes = shapes.conv("tiny", "4d", 2, 3, 4, (3, 4, 2, 5), (2, 3, 1, 2), padding=(0, 1, 0, 1))
    results = plan.run([four_axes], ["forward"], 1, 0.0)
    assert results["rows"][0]["chosen"] == "im2col" and results["regret"]["count"] == 1
    assert 0 < results["stamp"]["minutes"] < 10
    (row,) = conv.run([four_axes], ["forward"], 1, 0.0, peers=[], times_only=True)["rows"]
    ours = row["sides"][conv.PLANNED]
    assert (ours["error"], ours["memory"]) == (None, None) and ours["median"] > 0
    out = io.StringIO()
    plan.show(results, Console(file=out, width=170))
    assert "tiny 4d" in out.getvalue() and "mean of 1 choices" in out.getvalue()


def test_first_calls_are_of_layers_and_kernels_that_exist() -> None:
    from minidl.kernels.catalogue import kernels

    for title, pass_, algorithm in first_call.CASES:
        assert len(shapes.select([title])) == 1
        assert algorithm in [kernel.algorithm for kernel in kernels("conv", pass_)]


def test_first_calls_take_the_time_of_the_second_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The medians of three cold ones, and of three warm ones, each in the folder of a cold one."""
    seconds = [(0.5, 2.0, 0.25), (0.4, 0.5, 0.25), (0.5, 9.0, 0.25), (0.3, 0.75, 0.25), (0.5, 1.5, 0.25), (9, 9.0, 0.5)]
    answers = iter(dict(zip(("numba", "first", "second"), row)) for row in seconds)
    folders: list[str] = []
    monkeypatch.setattr(first_call, "_ask", lambda case, folder: (folders.append(folder), next(answers))[1])
    (row,) = first_call.run([("vgg16 5", "forward", "nhwc")])
    assert (row["cold"], row["warm"], row["numba"]) == (1.75, 0.5, 0.4)
    assert folders[0::2] == folders[1::2] and len(set(folders)) == 3 and not any(Path(f).exists() for f in folders)


def test_a_first_call_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"the first call of vgg16 5 forward none failed:(?s:.*)no algorithm 'none'"):
        first_call._ask(("vgg16 5", "forward", "none"), str(ROOT))


def test_the_limits_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "BLOCK_BYTES", 1 << 20)
    monkeypatch.setattr(peak, "REPEATS", 20)
    threads = get_num_threads()
    assert all(0 < value < math.inf for value in peak.measure(threads).values())


@pytest.mark.parametrize("module", [pages, plan], ids=lambda module: module.__name__)
def test_examples_in_docstrings(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module)
    assert tried and not failed
