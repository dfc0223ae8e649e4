"""What the host works out for the CUDA kernels: divisions, residues, tiles, plans; no kernel runs here."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest

from minidl.kernels import catalogue
from minidl.kernels.cuda import implicit_gemm, parts, source, windows
from minidl.kernels.geometry import Conv
from tests.kernels.convolution_cases import CASES, EMPTY

PASSES = ("forward", "input_grad", "weight_grad")


def test_division_by_multiplication() -> None:
    rng = np.random.default_rng(1)
    for d in (*range(1, 200), *(2**k + i for k in range(8, 31) for i in (-1, 0, 1)), *rng.integers(1, 2**31, 200)):
        multiplier, shift, divisor = windows.divider(int(d))
        assert multiplier < 2**32 and shift < 64 and divisor == d
        edges = {min(2**31 - 1, max(0, q * int(d) + i)) for q in (0, 1, 2, 2**31 // int(d)) for i in (-1, 0, 1)}
        for n in (*edges, 2**31 - 1, *map(int, rng.integers(0, 2**31, 5))):
            assert n * multiplier >> shift == n // d


@pytest.mark.parametrize("name", CASES)
def test_an_input_gradient_is_its_residues(name: str) -> None:
    """All (position, tap) pairs that meet a window, each once: counted in the parts, and one by one."""
    problem = CASES[name]
    for a in problem.axes:
        line = Conv(1, 1, 1, (a.size,), (a.kernel,), (a.stride,), (a.pad,), (a.dilation,), 1)
        met = sum(
            (i + a.pad[0] - t * a.dilation) % a.stride == 0 and 0 <= (i + a.pad[0] - t * a.dilation) // a.stride < a.out
            for i, t in itertools.product(range(a.size), range(a.kernel))
        )
        found = 0
        for _, _, part in windows.correlations("input_grad", line):
            assert part.stride == 1
            reads = (p - part.low + t * part.dilation for p in range(part.out) for t in range(part.taps))
            found += sum(0 <= r < part.size for r in reads)
        assert found == met


@pytest.mark.parametrize("name", CASES)
def test_parts_share_out_an_axis(name: str) -> None:
    """Each position once, each (position, tap) pair that meets a window once; taps are counted in reverse."""
    for a in CASES[name].axes:
        line = Conv(1, 1, 1, (a.size,), (a.kernel,), (a.stride,), (a.pad,), (a.dilation,), 1)
        *_, own = parts.parts("input_grad", line)
        positions = [part.first + j * part.hop for part in own for j in range(part.axis.out)]
        assert sorted(positions) == list(range(a.size))
        found = []
        for part in own:
            for j, t in itertools.product(range(part.axis.out), range(part.axis.taps)):
                tap, window = a.kernel - 1 - (part.begin + t * part.step), j - part.axis.low + t * part.axis.dilation
                if 0 <= window < a.out:
                    found.append((part.first + j * part.hop, tap, window))
        met = [(p * a.stride + t * a.dilation - a.pad[0], t, p) for p in range(a.out) for t in range(a.kernel)]
        assert sorted(found) == sorted(m for m in met if 0 <= m[0] < a.size)


def test_what_a_kernel_is_given_stays_below_4_kb() -> None:
    """Beside three pointers; as large as the structures of window.cuh."""
    text = source.text("implicit_gemm.cu")
    assert f"constexpr int MOST_RESIDUES = {parts.MOST};" in text
    x, w = (np.zeros(s, "float32") for s in ((1, 2, 9, 9), (1, 2, 2, 1, 3, 3)))
    for stride, size in ((1, 4 * 72), (2, 4 * (72 + 3 + parts.MOST * parts.FIELDS))):
        conv = Conv.from_shapes(x.shape, (2, 2, 3, 3), stride, 1)
        of_axes = parts.parts("input_grad", conv)
        assert parts.strided(of_axes) == (stride > 1)
        assert parts.problem(x, w, x, of_axes).nbytes == size <= 4096 - 24


def test_the_source_is_one_text() -> None:
    for name in ("direct.cu", "depthwise.cu", "implicit_gemm.cu"):
        text = source.text(name)
        assert '#include "' not in text and text.count("struct Window {") == 1
        assert 'extern "C" __global__' in text


def test_tiles_cover_the_result() -> None:
    for problem in (*CASES.values(), Conv.from_shapes((64, 256, 28, 28), (512, 256, 3, 3), 2, 1)):
        for pass_ in PASSES:
            products = list(implicit_gemm.problems(pass_, problem))
            flops = sum(p.rows * p.columns * p.depth * p.count for p in products)
            assert flops >= problem.macs or pass_ == "input_grad"
            for p in products:
                down, across = p.tile.count(p.rows, p.columns)
                assert (down - 1) * p.tile.rows < p.rows <= down * p.tile.rows
                assert (across - 1) * p.tile.columns < p.columns <= across * p.tile.columns
                for terms, side in itertools.product((0, 3), (p.tile.rows, p.tile.columns)):
                    assert side * p.tile.depth % p.tile.threads(terms) == 0, "the threads share a tile evenly"


@pytest.mark.parametrize(
    ("problem", "dtype", "chosen"),
    [
        (Conv.from_shapes((64, 256, 56, 56), (256, 256, 3, 3), 1, 1), "float32", "winograd"),
        (Conv.from_shapes((64, 256, 56, 56), (256, 256, 3, 3), 2, 1), "float32", "tf32x3"),
        (Conv.from_shapes((32, 128, 64, 64), (128, 128, 31, 31), 1, 15), "float32", "fft"),
        (Conv.from_shapes((64, 144, 56, 56), (144, 1, 3, 3), 1, 1, groups=144), "float32", "depthwise"),
        (Conv.from_shapes((64, 144, 56, 56), (144, 1, 3, 3), 1, 1, groups=144), "float64", "depthwise"),
        (Conv.from_shapes((2, 3, 5, 5, 5, 5), (4, 3, 3, 3, 3, 3)), "float32", "im2col"),
        (Conv.from_shapes((8, 64, 28, 28), (64, 64, 3, 3)), "float16", "fp16"),
    ],
)
def test_the_plan(problem: Conv, dtype: str, chosen: str) -> None:
    for pass_ in PASSES:
        assert catalogue.plan("conv", pass_, problem, dtype=dtype, device="cuda").algorithm == chosen
        if chosen in ("winograd", "tf32x3"):
            exact = catalogue.plan("conv", pass_, problem, dtype=dtype, device="cuda", precision="exact")
            assert exact.algorithm in ("implicit_gemm", "im2col", "direct")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_estimate_is_a_time(dtype: str) -> None:
    for problem in (CASES | EMPTY).values():
        for pass_ in PASSES:
            for k in catalogue.kernels("conv", pass_, "cuda"):
                if k.obstacle(problem, np.dtype(dtype)) is None:
                    cost = k.cost(problem, np.dtype(dtype).itemsize)
                    assert 0 < cost.seconds < 1 and cost.flops >= 0 and cost.workspace >= 0


def test_reasons() -> None:
    def why(algorithm: str, problem: Conv, dtype: str = "float32") -> str | None:
        rows = catalogue.kernels("conv", "forward", "cuda")
        return next(k for k in rows if k.algorithm == algorithm).obstacle(problem, np.dtype(dtype))

    wide = Conv.from_shapes((2, 8, 9, 9), (8, 8, 3, 3))
    assert why("depthwise", wide) == "is made for groups of at most 4 channels or filters, not 8"
    assert why("direct", Conv.from_shapes((1, 1, 2, 2, 2, 2), (1, 1, 1, 1, 1, 1))) == (
        "has loops for 1 to 3 spatial axes, not 4"
    )
    huge = Conv.from_shapes((2048, 64, 128, 128), (8, 64, 3, 3))
    assert why("direct", huge) == "counts elements in 32 bits, and an array here has 2147483648"
    many = Conv.from_shapes((1, 40000, 2, 2), (40000, 1, 1, 1), groups=40000)
    assert why("implicit_gemm", many) == "has a grid for at most 30000 groups, not 40000"
    sparse = Conv.from_shapes((1, 8, 60, 60), (8, 8, 3, 3), 40, 1)
    assert parts.obstacle("input_grad", sparse) == "has a table for 72 residues along the axes, not 81"
    assert implicit_gemm.supports("input_grad", sparse) == parts.obstacle("input_grad", sparse)
    assert why("implicit_gemm", sparse) is None
    fused = partial(why, "winograd_fused")
    assert fused(Conv.from_shapes((1, 70000, 3, 3), (70000, 1, 3, 3), groups=70000)) == (
        "has a grid for at most 65535 groups, not 70000"
    )
    assert fused(Conv.from_shapes((1, 16384, 3, 3), (8192, 16384, 3, 3))) == (
        "counts elements in 32 bits, and transformed filters here have 2147483648"
    )
    assert why("implicit_gemm", wide, "float64") == "computes in float32, not float64"
    long = Conv.from_shapes((2, 8, 40, 9), (8, 8, 28, 3))
    assert why("fp16", long, "float16") == "has a bit for each of 31 taps along the axes, not 32"
    assert why("tf32", long) is None, "its twin counts taps, however many"
    swollen = Conv.from_shapes((2048, 63, 128, 128), (63, 1, 3, 3), groups=63)
    assert why("bf16", swollen) == "counts elements in 32 bits, and an array here has 16911433728"
