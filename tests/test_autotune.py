"""``minidl.autotune``: who competes, who wins, what is remembered, and what a damaged file does."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from minidl import autotune
from minidl.kernels import catalogue, conv
from minidl.kernels.geometry import Conv
from minidl.kernels.spec import conv as definition

# four spatial axes: spec and im2col alone can, so nothing has to be compiled
PROBLEM = Conv.from_shapes((2, 3, 3, 4, 2, 5), (4, 3, 2, 3, 1, 2), stride=(1, 2, 1, 1))


def planned(pass_: str = "forward") -> catalogue.Plan:
    return catalogue.plan("conv", pass_, PROBLEM)


@pytest.fixture
def two(monkeypatch):
    """Lets the definition compete with im2col, and counts what is measured."""
    seen = []

    def contestants(plan, precision):
        return [k for k, _ in plan.candidates if k.algorithm in ("spec", "im2col")]

    def fastest(plan, kernels):
        seen.append(plan.problem)
        return next(k for k in kernels if k.algorithm == "spec")

    monkeypatch.setattr(autotune, "contestants", contestants)
    monkeypatch.setattr(autotune, "fastest", fastest)
    return seen


def test_a_problem_is_measured_once_and_remembered(tmp_path, two):
    file = tmp_path / "plans.json"
    for _ in range(2):  # the second time from the file
        with autotune.measured(file) as tuner:
            for _ in range(2):
                plan = planned()
                assert plan.algorithm == "spec" and plan.reason == "the fastest measured on this machine"
        assert planned().algorithm == "im2col"  # by estimate again
    assert len(two) == 1 and len(tuner.choices) == 1
    assert json.loads(file.read_text())["machines"][autotune.machine()] == tuner.choices


def test_what_another_machine_measured_does_not_count(tmp_path, two, monkeypatch):
    file = tmp_path / "plans.json"
    with autotune.measured(file):
        planned()
    monkeypatch.setattr(autotune, "machine", lambda: "another")
    with autotune.measured(file):
        planned()
    assert len(two) == 2 and len(json.loads(file.read_text())["machines"]) == 2


def test_who_asks_for_an_algorithm_gets_it(tmp_path, two):
    with autotune.measured(tmp_path / "plans.json"):
        assert catalogue.plan("conv", "forward", PROBLEM, algorithm="im2col").algorithm == "im2col"
    assert not two


def test_a_remembered_algorithm_that_cannot_do_the_case_is_measured_anew(tmp_path, two):
    file = tmp_path / "plans.json"
    with autotune.measured(file) as tuner:
        planned()
        (name,) = tuner.choices
    file.write_text(file.read_text().replace('"spec"', '"winograd"'))
    with autotune.measured(file) as tuner:
        assert planned().algorithm == "spec" and tuner.choices[name] == "spec"
    assert len(two) == 2


@pytest.mark.parametrize("pass_", ["forward", "input_grad", "weight_grad"])
def test_results_stay_right(tmp_path, two, pass_):
    rng = np.random.default_rng(5)
    arrays = {"x": rng.standard_normal(PROBLEM.x_shape), "w": rng.standard_normal(PROBLEM.w_shape)}
    arrays["g"] = rng.standard_normal(PROBLEM.y_shape)
    operands = [arrays[name] for name in {"forward": "xw", "input_grad": "wg", "weight_grad": "xg"}[pass_]]
    with autotune.measured(tmp_path / "plans.json"):
        got = getattr(conv, pass_)(*operands, PROBLEM)
    np.testing.assert_allclose(got, getattr(definition, pass_)(*operands, PROBLEM), rtol=1e-12, atol=1e-12)


def test_contestants_may_be_chosen_by_the_planner_and_are_near():
    plan = catalogue.plan("conv", "forward", Conv.from_shapes((4, 8, 32, 32), (8, 8, 31, 31), padding=15))
    costs = {k.algorithm: c for k, c in plan.candidates if isinstance(c, catalogue.Cost)}
    fast = {k.algorithm for k in autotune.contestants(plan, "fast")}
    assert plan.algorithm in fast and "spec" not in fast and "fft" in fast
    assert all(costs[name].seconds <= 4 * plan.cost.seconds for name in fast)
    exact = catalogue.plan(
        "conv", "forward", Conv.from_shapes((4, 8, 32, 32), (8, 8, 31, 31), padding=15), precision="exact"
    )
    assert "fft" not in {k.algorithm for k in autotune.contestants(exact, "exact")}


def test_the_fastest_call_wins():
    plan = planned("weight_grad")
    kernel = plan.kernel
    calls = {"slow": 0, "fast": 0}

    def run(name, rounds):
        def call(x, g, problem, out=None):
            calls[name] += 1
            assert (x.shape, g.shape) == (PROBLEM.x_shape, PROBLEM.y_shape) and x.strides[1] == x.itemsize
            for _ in range(rounds):
                np.linalg.norm(x)

        return call

    kernels = []
    for name, rounds in (("slow", 400), ("fast", 1)):
        kernels.append(replace(kernel, algorithm=name))
        kernels[-1].__dict__["call"] = run(name, rounds)
    assert autotune.fastest(plan, kernels).algorithm == "fast"
    assert calls["slow"] == calls["fast"] >= 4


@pytest.mark.parametrize("text", ["", "[]", '{"machines": {}}', '{"minidl": "plans", "machines": {"a": 1}}', "{"])
def test_a_file_of_something_else_is_left_alone(tmp_path, text):
    file = tmp_path / "mine.json"
    file.write_text(text)
    with (
        pytest.raises(autotune.AutotuneError, match="holds no measured plans: name another file, or delete this one"),
        autotune.measured(file),
    ):
        pass
    assert file.read_text() == text and catalogue.tuner is None


def test_an_error_inside_ends_the_measuring(tmp_path):
    with pytest.raises(ZeroDivisionError), autotune.measured(tmp_path / "plans.json"):
        raise ZeroDivisionError
    assert catalogue.tuner is None
