"""The products of four warps that tensor cores of compute capability 9.0 read from shared memory themselves."""

from __future__ import annotations

from typing import Any

import pytest

from minidl.kernels import catalogue, conv
from minidl.kernels.errors import UnsupportedError
from minidl.kernels.geometry import Conv
from tests.checks.cuda import FEW, STRIDED, TILED, WHOLE, agrees, channels_last, gappy, kernel, plain, slices, tiled
from tests.kernels.convolution_cases import CASES, arrays

EMULATED = True  # the stand-in's planner chooses from these kernels too
DTYPES = {"bf16_wgmma": "float32", "fp16_wgmma": "float16"}
PASSES = ("forward", "input_grad")


@pytest.fixture(autouse=True)
def _can_run(cupy: Any) -> None:
    if cupy.cuda.Device().compute_capability != "90":
        pytest.skip("wgmma is an instruction of compute capability 9.0")


@pytest.mark.parametrize("algorithm", DTYPES)
def test_it_is_the_definition(algorithm: str, cupy: Any) -> None:
    cases = {name: CASES[name] for name in FEW} | TILED | WHOLE | STRIDED
    for i, problem in enumerate(cases.values()):
        for pass_, lay in zip(PASSES, (plain, channels_last) if i % 2 else (channels_last, plain)):
            agrees(cupy, kernel(pass_, algorithm), problem, DTYPES[algorithm], lay)


def test_tiles_of_large_layers(cupy: Any) -> None:
    for algorithm, size in (("fp16_wgmma", "LARGE"), ("bf16_wgmma", "NARROW")):
        with tiled(size):
            agrees(cupy, kernel("forward", algorithm), TILED["several tiles each way"], DTYPES[algorithm], plain)


def test_sums_in_slices(cupy: Any) -> None:
    for count, lay in ((2, channels_last), (7, gappy)):
        with slices(count):
            agrees(cupy, kernel("forward", "bf16_wgmma"), WHOLE["many terms"], "float32", lay)


def test_nobody_gets_them_who_does_not_ask() -> None:
    """No card has shown yet that they are right."""
    layer = Conv.from_shapes((64, 512, 28, 28), (512, 512, 3, 3), 1, 1)
    for algorithm, dtype in DTYPES.items():
        for pass_ in PASSES:
            plan = catalogue.plan("conv", pass_, layer, dtype=dtype, device="cuda")
            asked = catalogue.plan("conv", pass_, layer, dtype=dtype, device="cuda", algorithm=algorithm)
            assert plan.algorithm not in DTYPES and asked.cost.seconds < plan.cost.seconds
        assert algorithm not in [k.algorithm for k in catalogue.kernels("conv", "weight_grad", "cuda")]


def test_other_cards_have_no_such_instruction(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if not cupy.__version__.endswith("standin"):
        pytest.skip("asks a card of which kind it is")
    problem = CASES["pointwise"]
    x, w, _ = (cupy.asarray(a) for a in arrays(problem, "float32"))
    for capability, said in (("80", r"8\.0"), ("120", r"12\.0")):
        monkeypatch.setattr(cupy.cuda.Device, "compute_capability", capability)
        message = rf"wgmma is an instruction of compute capability 9\.0 only, and this card has {said}: .*\"bf16\" mult"
        with pytest.raises(UnsupportedError, match=message):
            conv.forward(x, w, problem, "bf16_wgmma")
