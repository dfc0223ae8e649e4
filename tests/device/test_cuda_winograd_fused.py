"""Winograd in one kernel, which keeps transformed squares and their products to itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minidl.kernels import catalogue
from minidl.kernels.cuda import winograd_fused
from minidl.kernels.geometry import Conv
from tests.checks.cuda import SQUARES, TILED, agrees, channels_last, gappy, kernel, plain
from tests.kernels.convolution_cases import CASES, arrays, operands
from tests.standin import emulated

EMULATED = True  # the stand-in's planner chooses from these kernels too
PASSES = ("forward", "input_grad")


@pytest.mark.parametrize("pass_", PASSES)
def test_it_is_the_definition(pass_: str, cupy: Any) -> None:
    for i, problem in enumerate((SQUARES | TILED | {"many channels": CASES["many channels"]}).values()):
        for lay in (plain, channels_last, gappy)[i % 2 : i % 2 + 2]:
            agrees(cupy, kernel(pass_, "winograd_fused"), problem, "float32", lay)


def test_no_images(cupy: Any) -> None:
    k = kernel("forward", "winograd_fused")
    w, nothing = cupy.ones((4, 3, 3, 3), "float32"), cupy.empty((0, 3, 5, 5), "float32")
    assert k.call(nothing, w, Conv.from_shapes((0, 3, 5, 5), (4, 3, 3, 3))).shape == (0, 4, 3, 3)


def test_the_same_bits_in_every_run(cupy: Any) -> None:
    problem = SQUARES["several blocks of squares"]
    x, w, g = (cupy.asarray(a) for a in arrays(problem, "float32"))
    for pass_ in PASSES:
        first, second = (kernel(pass_, "winograd_fused").call(*operands(x, w, g)[pass_], problem) for _ in range(2))
        assert first.tobytes() == second.tobytes() and np.isfinite(first.get()).all()


def test_one_kernel_beside_that_of_the_filters(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if not cupy.__version__.endswith("standin"):
        pytest.skip("counts the launches of the stand-in")
    launched: list[str] = []
    run = emulated.RawKernel._run
    monkeypatch.setattr(emulated.RawKernel, "_run", lambda self, *a: launched.append(self.name) or run(self, *a))
    problem = SQUARES["groups, uneven pads"]
    x, w, _ = (cupy.asarray(a) for a in arrays(problem, "float32"))
    kernel("forward", "winograd_fused").call(x, w, problem)
    assert launched == ["to_points", "correlate"]


def test_it_has_no_weight_gradient() -> None:
    names = [k.algorithm for k in catalogue.kernels("conv", "weight_grad", "cuda")]
    assert "winograd" in names and "winograd_fused" not in names
    assert winograd_fused.SHARED_BYTES <= 64 << 10, "what a block can have on compute capability 7.5"
