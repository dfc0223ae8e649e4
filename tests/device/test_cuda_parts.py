"""Input gradients with a stride in one launch, whatever the stride: all residues of the positions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minidl.kernels.cuda import parts
from tests.checks.cuda import STRIDED, agrees, channels_last, gappy, kernel, plain, slices, tiled
from tests.kernels.convolution_cases import CASES, arrays
from tests.standin import emulated

EMULATED = True  # the stand-in's planner chooses from these kernels too


@pytest.mark.parametrize("algorithm", ["implicit_gemm", "tf32", "fp16"])
def test_it_is_the_definition(algorithm: str, cupy: Any) -> None:
    dtype = "float16" if algorithm == "fp16" else "float32"
    for problem in STRIDED.values():
        for lay in (plain, channels_last):
            agrees(cupy, kernel("input_grad", algorithm), problem, dtype, lay)


def test_tiles_of_large_layers(cupy: Any) -> None:
    with tiled("LARGE"):
        problem = STRIDED["several tiles each way, strided"]
        agrees(cupy, kernel("input_grad", "implicit_gemm"), problem, "float32", channels_last)


def test_sums_in_slices(cupy: Any) -> None:
    """Also where a slice has nothing to add, and at positions that no tap reaches."""
    for name, count, lay in (("several tiles each way, strided", 2, plain), ("half of the positions", 3, gappy)):
        with slices(count):
            agrees(cupy, kernel("input_grad", "tf32"), STRIDED[name], "float32", lay)


@pytest.mark.parametrize(
    "name", ["stride above kernel", "stride and dilation share a factor", "three axes", "pointwise with stride"]
)
def test_one_launch(name: str, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if not cupy.__version__.endswith("standin"):
        pytest.skip("counts the launches of the stand-in")
    launched: list[str] = []
    run = emulated.RawKernel._run
    monkeypatch.setattr(emulated.RawKernel, "_run", lambda self, *a: launched.append(self.name) or run(self, *a))
    problem = CASES[name]
    _, w, g = (cupy.asarray(a) for a in arrays(problem, "float32"))
    assert parts.count(parts.parts("input_grad", problem)) > 3
    for algorithm in ("implicit_gemm", "bf16"):
        kernel("input_grad", algorithm).call(w, g, problem)
        assert launched.count("correlate") == 1 and set(launched) <= {"correlate", "stage"}
        launched.clear()


def test_the_same_bits_in_every_run(cupy: Any) -> None:
    problem = STRIDED["half of the positions"]
    _, w, g = (cupy.asarray(a) for a in arrays(problem, "float32"))
    for algorithm in ("implicit_gemm", "tf32x3"):
        first, second = (kernel("input_grad", algorithm).call(w, g, problem) for _ in range(2))
        assert first.tobytes() == second.tobytes() and np.isfinite(first.get()).all()
