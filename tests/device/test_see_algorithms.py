"""`see.algorithms` with kernels written in CUDA."""

from __future__ import annotations

from typing import Any

import pytest

import minidl
from minidl import see
from minidl.kernels import catalogue

EMULATED = True


def test_kernels_in_cuda_stand_beside_those_of_arrays(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results are brought back and compared with the definition; the operands may lie on the device."""
    for pass_ in ("forward", "input_grad", "weight_grad"):  # to compile them all for the emulator takes long
        rows = [k for k in catalogue.kernels("conv", pass_, "cuda") if k.algorithm in ("direct", "im2col", "fp16")]
        monkeypatch.setitem(catalogue._table, ("conv", pass_, "cuda"), rows)
    catalogue._choose.cache_clear()
    x, w = minidl.randn(2, 4, 5, 6, device="cuda"), minidl.randn(6, 2, 3, 2, device="cuda")
    table = see.algorithms(x, w, stride=2, padding=1, groups=2, repeats=1, steps=False, device="cuda")
    assert [r.algorithm for r in table.rows] == ["im2col", "direct", "fp16"] * 3
    for row in table.rows:
        if row.algorithm == "fp16":
            assert row.reason == "computes in float16, not float32"
        else:
            assert 0 < row.error <= row.bound and row.seconds > 0
    lines = str(table).splitlines()
    assert lines[2].split()[:2] == ["algorithm", "time"] and any(line[2:].startswith("direct ") for line in lines)
