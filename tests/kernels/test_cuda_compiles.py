"""NVRTC, which CuPy compiles with, takes every kernel for the cards from 2018 to 2025 and keeps its sums in registers.

It needs no GPU: the library alone, from the package nvidia-cuda-nvrtc.  Every source is compiled for every
architecture, its variants in turn; all of all would take minutes.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from minidl.kernels.cuda import depthwise, direct, implicit_gemm, norm, source, windows
from tests.needs import needs

KERNELS = {  # of a source; those of the others are the two passes of a convolution
    "pooling.cu": ["avg_pool", "avg_pool_grad", "max_pool", "max_pool_grad"],
    "unpool.cu": ["claim", "gather", "take"],
    "resize.cu": ["resize"],
    "roi.cu": ["roi_gather", "roi_pool", "roi_pool_grad"],
    "gradient_scale.cu": ["adapt"],
    "group_norm.cu": ["group_norm", "group_norm_grad", "parameter_sums"],
    "norm.cu": ["combine", "moments", "normalise", "slopes", "statistics", "sums", "track"],
    "loss.cu": ["cross_entropy", "cross_entropy_grad", "reduce"],
    "optim.cu": ["adadelta", "adagrad", "adam", "rmsprop", "scale", "sgd", "squares"],
    "elements.cu": ["clip_grad", "leaky_relu", "leaky_relu_grad", "relu_grad"],
}
ARCHITECTURES = (75, 80, 86, 90, 100, 120)


@functools.cache
def nvrtc() -> ctypes.CDLL | None:
    """The library of an installed package of NVIDIA, with the part that it loads itself by its bare name."""
    found = importlib.util.find_spec("nvidia")
    for folder in (found.submodule_search_locations or ()) if found else ():
        for library in sorted(Path(folder).glob("*/lib/libnvrtc.so.*"), reverse=True):
            if ".alt." not in library.name:
                for builtins in library.parent.glob("libnvrtc-builtins.so.*"):
                    ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
                return ctypes.CDLL(str(library))
    return None


def without_nvrtc() -> str | None:
    """Why nothing can be compiled here, None where it can."""
    return None if nvrtc() else "NVRTC is not installed: python -m pip install nvidia-cuda-nvrtc"


def compiled(name: str, architecture: int | str, macros: dict[str, Any]) -> tuple[int, str, str]:
    """NVRTC's status, 0 for success, what it says, and the kernel in PTX, the assembly of all cards."""
    library, program, size = nvrtc(), ctypes.c_void_p(), ctypes.c_size_t()
    assert library is not None
    # as CuPy calls it, and for the numbers of registers
    options = [*source.options(**macros), f"-arch=sm_{architecture}", "-ftz=true", "--ptxas-options=-v"]
    text = source.text(name).encode()
    assert library.nvrtcCreateProgram(ctypes.byref(program), text, name.encode(), 0, None, None) == 0
    status = library.nvrtcCompileProgram(
        program, len(options), (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
    )
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    library.nvrtcGetPTXSize(program, ctypes.byref(size))
    ptx = ctypes.create_string_buffer(size.value)
    library.nvrtcGetPTX(program, ptx)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return status, log.value.decode(), ptx.value.decode()


def _direct(real: str) -> dict[str, Any]:
    return {"REAL": real, "THREADS": direct.THREADS}


def _depthwise(real: str, taps: tuple[int, int], channels_last: bool) -> dict[str, Any]:
    return {
        "REAL": real, "TAPS1": taps[0], "TAPS2": taps[1], "CHANNELS_LAST": channels_last,
        "RUN": windows.RUN, "THREADS": depthwise.THREADS,
    }  # fmt: skip


def _tiled(tile: implicit_gemm.Tile, terms: int, channels_last: bool, residues: bool = False) -> dict[str, Any]:
    return {
        "ROWS": tile.rows, "COLUMNS": tile.columns, "DEPTH": tile.depth, "WARP_ROWS": tile.warp_rows,
        "TERMS": terms, "CHANNELS_LAST": channels_last, "RESIDUES": residues,
    }  # fmt: skip


def variants() -> list[tuple[str, int, dict[str, Any]]]:
    """(file, architecture, macros)"""
    chosen: list[tuple[str, int, dict[str, Any]]] = []
    chosen += [("direct.cu", a, _direct(("float", "double")[i % 2])) for i, a in enumerate(ARCHITECTURES)]
    known = [
        (real, taps, last)
        for real in ("float", "double")
        for taps in ((0, 0), *depthwise.KNOWN_TAPS)
        for last in (False, True)
    ]
    chosen += [("depthwise.cu", ARCHITECTURES[i % 6], _depthwise(*v)) for i, v in enumerate(known)]
    for i, a in enumerate(ARCHITECTURES):
        stored: dict[str, Any] = {"CHANNELS_LAST": i % 2 == 0}
        real = {"REAL": ("float", "double", "float16")[i % 3]}
        width = {"INDEX_BYTES": (4, 8)[i // 2 % 2]}
        chosen.append(("pooling.cu", a, real | width | {"SHARED": i // 3 % 2} | stored))
        chosen.append(("roi.cu", a, real | stored))
        chosen.append(("unpool.cu", a, {"BYTES": (4, 8, 2)[i % 3]} | width | stored))
        chosen.append(("resize.cu", a, real | stored))
    for i, file in enumerate(("gradient_scale.cu", "loss.cu", "optim.cu", "elements.cu")):
        for j, a in enumerate((75, (80, 86, 90, 100)[i], 120)):  # the oldest, the newest, and one by turns
            macros: dict[str, Any] = {"REAL": ("float", "double")[(i + j) % 2], "THREADS": norm.THREADS}
            if file == "loss.cu":
                macros["CHANNELS_LAST"] = j % 2 == i % 2
            chosen.append((file, a, macros))
    for i, a in enumerate(ARCHITECTURES):
        macros = norm.macros(("float32", "float64", "float16")[i % 3], i % 2 == 0)
        chosen.append(("norm.cu", a, macros))
        chosen.append(("group_norm.cu", a, macros | {"TEAM": (32, 256)[i // 3]}))
    large, narrow, small = implicit_gemm.LARGE, implicit_gemm.NARROW, implicit_gemm.SMALL
    for architecture, *tiled in (
        (75, large, 0, False), (80, large, 3, True), (86, narrow, 0, True), (90, small, 0, False),
        (100, narrow, 1, False), (120, large, 0, True),
        (75, large, 0, True, True), (86, small, 3, False, True),
    ):  # fmt: skip
        chosen.append(("implicit_gemm.cu", architecture, _tiled(*tiled)))
    return chosen


@pytest.mark.parametrize(
    ("name", "architecture", "macros"),
    [pytest.param(*v, id="-".join([v[0], f"sm_{v[1]}", *map(str, v[2].values())])) for v in variants()],
)
def test_it_compiles_and_spills_nothing(name: str, architecture: int, macros: dict[str, Any]) -> None:
    needs(without_nvrtc())
    status, log, ptx = compiled(name, architecture, macros)
    assert status == 0, log
    kernels = re.findall(r"Compiling entry function '(\w+)'", log)
    assert sorted(kernels) == KERNELS.get(name, ["correlate", "weight_grad"])
    memory = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    assert memory == [("0", "0", "0")] * len(kernels), f"values are kept in memory: {log}"
    if name == "implicit_gemm.cu":
        for instruction, count in expected_instructions(macros).items():
            assert len(re.findall(instruction, ptx)) == count * len(kernels), instruction


def expected_instructions(macros: dict[str, Any]) -> dict[str, int]:
    """What multiplies two tiles: vectors of four from shared memory and 8 x 8 sums, or tensor cores only."""
    if not macros["TERMS"]:
        return {r"ld\.shared\.v4\.[fb]32": 4, r"fma\.rn\.ftz\.f32": 64, r"ld\.shared\.[fb]32": 0, r"mma\.sync": 0}
    pieces = macros["WARP_ROWS"] // 16 * 4 * macros["DEPTH"] // 8  # of 16 x 8 x 8
    products = r"mma\.sync\.aligned\.m16n8k8\.row\.col\.f32\.tf32\.tf32\.f32"
    return {products: pieces * macros["TERMS"], r"fma\.rn\.ftz\.f32": 0}
