"""The kernels for tensor cores and Winograd, as NVRTC compiles them.

They hold their sums in registers, and use the instructions that they are written for as often as the tile asks for.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from minidl.kernels.cuda import pipelined, windows, winograd, winograd_fused
from minidl.kernels.cuda.implicit_gemm import LARGE, NARROW, SMALL, Tile
from minidl.kernels.cuda.pipelined import BF16, BF16_WGMMA, FP16, FP16_WGMMA, TF32, TF32X3, Kind
from minidl.kernels.spec.winograd import transforms
from tests.needs import needs

from .test_cuda_compiles import compiled, without_nvrtc

PRODUCT = {
    "float": r"mma\.sync\.aligned\.m16n8k8\.row\.col\.f32\.tf32\.tf32\.f32",
    "float16": r"mma\.sync\.aligned\.m16n8k16\.row\.col\.f32\.f16\.f16\.f32",
    "bfloat16": r"mma\.sync\.aligned\.m16n8k16\.row\.col\.f32\.bf16\.bf16\.f32",
}
VARIANTS = [
    (80, SMALL, TF32, "float32", False),
    (90, LARGE, TF32X3, "float32", False),
    (86, NARROW, BF16, "float32", False),
    (120, SMALL, FP16, "float16", False),
    (80, SMALL, TF32X3, "float32", True),
    (90, LARGE, FP16, "float16", True),
]


def checked(name: str, architecture: int | str, macros: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """What the compiler says, and each kernel's PTX, once it is known that it spills nothing."""
    needs(without_nvrtc())
    status, log, ptx = compiled(name, architecture, macros)
    assert status == 0, log
    kernels = dict(re.findall(r"\.entry (\w+)\((.*?)(?=\.visible|\Z)", ptx, re.DOTALL))
    memory = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    assert memory == [("0", "0", "0")] * len(kernels), f"values are kept in memory: {log}"
    return log, kernels


@pytest.mark.parametrize(("architecture", "tile", "kind", "dtype", "residues"), VARIANTS)
def test_copies_and_products(architecture: int, tile: Tile, kind: Kind, dtype: str, residues: bool) -> None:
    _, kernels = checked("pipelined.cu", architecture, pipelined.macros(tile, kind, dtype, residues))
    assert sorted(kernels) == ["correlate", "weight_grad"]
    down, across = tile.rows // 2 // 16, tile.columns // 2 // 8  # pieces of a warp
    parts = 1 if kind.terms == 3 else 4  # of a step, as far as they are unrolled
    for name, ptx in kernels.items():
        plain = name == "weight_grad" and kind.element == "float"  # 32 bits cannot be transposed on the way
        exchanged = down * across if name == "correlate" and dtype == "float16" else 0  # to write 32 bytes of a row
        form = r"\.trans" if name == "weight_grad" else ""
        matrices = rf"ldmatrix\.sync\.aligned\.m8n8\.x4{form}\.shared\.b16"
        for instruction, count in {
            PRODUCT[kind.element]: parts * down * across * kind.terms,
            matrices: 0 if plain else parts * (down + across // 2),
            r"cp\.async\.cg\.shared\.global": 2 * (tile.rows + tile.columns) // 16,  # before the loop, and in it
            r"cp\.async\.wait_group 1": 1,
            r"bar\.sync": 2,
            r"shfl\.sync": exchanged,
        }.items():
            assert len(re.findall(instruction, ptx)) == count, (name, instruction)


def test_staging() -> None:
    for architecture, source, target in ((75, "float", "float16"), (80, "float", "bfloat16"), (120, "float", "float")):
        macros = {"FROM": source, "TO": target, "CHANNELS_LAST": target == "float"}
        _, kernels = checked("staging.cu", architecture, macros)
        assert len(re.findall(r"st\.global\.v4|st\.global\.v2\.[bu]64", kernels["stage"])) >= 1, "16 bytes at once"


@pytest.mark.parametrize("matrix", ["BT", "AT"])
def test_winograd_multiplies_by_what_is_not_zero(matrix: str) -> None:
    P = getattr(transforms(4, 3, "paired"), matrix)
    macros = {"HEIGHT": P.shape[0], "WIDTH": P.shape[1], "MATRIX": winograd.literal(P)}
    _, kernels = checked("winograd.cu", 90 if matrix == "BT" else 75, macros)
    assert sorted(kernels) == ["from_points", "to_points"]
    for ptx in kernels.values():
        products = len(re.findall(r"(?:fma\.rn|mul|add|sub)\.ftz\.f32", ptx))
        assert 0 < products <= (np.count_nonzero(P) + len(P)) * sum(P.shape)  # and where a sum begins


def test_half_precision() -> None:
    macros = {"REAL": "float16", "TAPS1": 3, "TAPS2": 3, "CHANNELS_LAST": True, "RUN": windows.RUN, "THREADS": 128}
    for architecture, source in ((75, "direct.cu"), (120, "depthwise.cu")):
        _, kernels = checked(source, architecture, macros)
        for ptx in kernels.values():
            assert re.search(r"cvt\.f32\.f16", ptx) and re.search(r"fma\.rn\.ftz\.f32", ptx)


@pytest.mark.parametrize(("architecture", "channels_last"), [(75, True), (80, False), (90, True), (120, False)])
def test_winograd_in_one_kernel(architecture: int, channels_last: bool) -> None:
    """As many registers as 512 threads leave each, a row of the product at a time, and no more barriers than said."""
    _, kernels = checked("winograd_fused.cu", architecture, winograd_fused.macros(channels_last))
    (ptx,) = kernels.values()
    counts = {r"ld\.shared\.v4\.[fb]32": 4, r"st\.shared\.v4\.[fb]32": 16, r"bar\.sync": 2 + 8}
    for instruction, count in counts.items():
        assert len(re.findall(instruction, ptx)) == count, instruction
    assert len(re.findall(r"fma\.rn\.ftz\.f32", ptx)) == 64, "the transforms only add"


@pytest.mark.parametrize(
    ("tile", "kind", "dtype", "residues"),
    [
        (LARGE, FP16_WGMMA, "float16", False),
        (NARROW, BF16_WGMMA, "float32", False),
        (SMALL, BF16_WGMMA, "float32", True),
    ],
)
def test_four_warps_multiply_together(tile: Tile, kind: Kind, dtype: str, residues: bool) -> None:
    """Tensor cores read the tiles themselves, and nothing makes the compiler put the products one after the other."""
    log, kernels = checked("warpgroup.cu", "90a", pipelined.macros(tile, kind, dtype, residues))
    assert "serialize" not in log
    (ptx,) = kernels.values()
    number = {"float16": "f16", "bfloat16": "bf16"}[kind.element]
    for instruction, count in {
        rf"wgmma\.mma_async\.sync\.aligned\.m64n{tile.columns}k16\.f32\.{number}\.{number}": 4 * tile.rows // 64,
        r"wgmma\.fence": 1,
        r"wgmma\.wait_group\.sync\.aligned 0": 1,
        r"fence\.proxy\.async": 1,
        r"cp\.async\.cg\.shared\.global": 2 * (tile.rows + tile.columns) // 16,
        r"ldmatrix|mma\.sync": 0,
    }.items():
        assert len(re.findall(instruction, ptx)) == count, instruction
