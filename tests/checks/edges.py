"""Operands and results that end, or begin, where memory ends: whoever reads beyond them is stopped by the processor.

``python -m tests.checks.edges [NUMBER [SEED]]`` runs every convolution kernel, pooling and the matrix product on such
arrays, with scratch memory of that kind, full of NaN; with NUMBER on so many random problems instead of the named ones.
It says what it computes before it does: the last line is the culprit.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from minidl.kernels import catalogue, pooling, workspace
from minidl.kernels.cpu.few_rows import rows_times, supports
from minidl.kernels.cpu.gemm import matmul
from minidl.kernels.pooling import Pool

from . import conv, gemm, shapes

PAGE = mmap.PAGESIZE
NONE = 0  # PROT_NONE: neither read nor written
LINE = workspace.ALIGNMENT


def at_an_edge(a: np.ndarray, end: bool) -> np.ndarray:
    """A copy of a C-contiguous array between two pages that must not be touched, up against the last or the first."""
    inside = -(-a.nbytes // PAGE) * PAGE
    region = mmap.mmap(-1, inside + 2 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(region))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for page in (start, start + PAGE + inside):
        if protect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), NONE):
            raise OSError(ctypes.get_errno(), "mprotect")
    offset = PAGE + (inside - a.nbytes if end else 0)
    copy = np.frombuffer(region, a.dtype, a.size, offset).reshape(a.shape)
    copy[...] = a
    return copy


@contextmanager
def scratch_at_edges() -> Iterator[None]:
    """Inside, what kernels borrow ends where memory ends, but for what is left of a cache line, and is NaN."""

    def aligned(size: int) -> np.ndarray:
        return at_an_edge(np.full(-(-size // LINE) * LINE, 0xFF, np.uint8), end=True)[:size]

    before, workspace.aligned = workspace.aligned, aligned
    try:
        yield
    finally:
        workspace.aligned = before
        workspace.release()


def placed(a: np.ndarray, end: bool, last: bool) -> np.ndarray:
    """A copy of a (N, C, ...) at an edge, channels last or first."""
    if not last:
        return at_an_edge(np.ascontiguousarray(a), end)
    return np.moveaxis(at_an_edge(np.ascontiguousarray(np.moveaxis(a, 1, -1)), end), -1, 1)


def convolutions(cases: tuple[shapes.Case, ...]) -> Iterator[str]:
    """Runs them; yields what comes next."""
    for pass_ in conv.PASSES:
        for kernel in catalogue.kernels("conv", pass_, "cpu"):
            for c in cases:
                problem = conv.problem(c)
                for dtype in ("float32", "float64"):
                    if kernel.algorithm == "spec" or conv.refusal(kernel.algorithm, pass_, problem, dtype):
                        continue
                    given = conv.operands(c, pass_, dtype)
                    expected = conv.truth(c, pass_, dtype)
                    bound = conv.error_bound(c, pass_, kernel.algorithm, dtype)
                    for end, last in ((True, True), (True, False), (False, True)):
                        what = f"{kernel.algorithm} {pass_} {dtype}, end {end}, channels last {last}: {c}"
                        yield what
                        arrays = [placed(a, end, last) for a in given]
                        out = placed(np.full(expected.shape, np.nan, dtype), end, last and pass_ != "weight_grad")
                        workspace.release()  # blocks as large as this call wants, not those before it
                        conv.call(pass_, kernel.algorithm, problem, *arrays, out=out)
                        conv.assert_within(out, expected, bound, what)


def poolings(rng: np.random.Generator, count: int) -> Iterator[str]:
    """Random windows over random planes; the results are those of the definition."""
    for _ in range(count):
        n, c, h, w = (int(v) for v in rng.integers(1, (3, 40, 12, 12)))
        kernel = (int(rng.integers(1, h + 1)), int(rng.integers(1, w + 1)))
        options = {"stride": int(rng.integers(1, 4)), "padding": tuple(k // 2 * int(rng.integers(2)) for k in kernel)}
        pool = Pool.from_shape((n, c, h, w), kernel, **options, ceil_mode=bool(rng.integers(2)))
        for dtype in ("float32", "float64"):
            x, g = (rng.standard_normal(s).astype(dtype) for s in (pool.x_shape, pool.y_shape))
            indices = pooling.max_pool(x, pool, algorithm="spec")[1]
            for end, last in ((True, True), (True, False), (False, True)):
                yield f"pooling {dtype}, end {end}, channels last {last}: {pool}"
                here, there = placed(x, end, last), placed(g, end, last)
                values, at = pooling.max_pool(here, pool)
                np.testing.assert_array_equal(values, pooling.max_pool(x, pool, algorithm="spec")[0])
                dx = pooling.max_pool_grad(there, placed(at, end, last), x.shape, pool=pool)
                near = {"rtol": 1e-4, "atol": 1e-5}
                np.testing.assert_allclose(dx, pooling.max_pool_grad(g, indices, x.shape, algorithm="spec"), **near)
                np.testing.assert_allclose(
                    pooling.avg_pool(here, pool), pooling.avg_pool(x, pool, algorithm="spec"), **near
                )
                dx = pooling.avg_pool_grad(there, pool)
                np.testing.assert_allclose(dx, pooling.avg_pool_grad(g, pool, algorithm="spec"), **near)


def products(shapes: tuple[tuple[int, int, int], ...]) -> Iterator[str]:
    """Matrix products (M, K, N), each operand by rows and by columns."""
    for shape in shapes:
        for dtype in ("float32", "float64"):
            for end, by_rows in ((True, True), (True, False), (False, True)):
                what = f"product {dtype}, end {end}, by rows {by_rows}: {shape}"
                yield what
                a, b = gemm.operands(*shape, dtype)
                here, there = (at_an_edge(m, end) if by_rows else at_an_edge(m.T.copy(), end).T for m in (a, b))
                gemm.close(matmul(here, there), a, b, what)
                if supports(there):
                    gemm.close(rows_times(here, there), a, b, f"{what}, read row by row")


def random_cases(count: int, seed: int) -> tuple[shapes.Case, ...]:
    """Planes of a few pixels with up to 2,048 channels, which tiles, vectors and pages divide in every way."""
    rng = np.random.default_rng(seed)
    cases = []
    while len(cases) < count:
        groups = int(rng.choice([1, 1, 1, 1, 2, 3]))
        c, k = (groups * int(rng.choice([1, 2, 3, 4, 7, 8, 16, 17, 24, 33, 64, 128, 256, 1024])) for _ in range(2))
        if rng.random() < 0.15:
            groups, k = c, c * int(rng.integers(1, 3))
        kernel, stride, dilation = (tuple(int(v) for v in rng.integers(1, most, 2)) for most in (4, 4, 3))
        pads = tuple((int(rng.integers(0, 3)), int(rng.integers(0, 3))) for _ in range(2))
        size = tuple(int(v) for v in rng.integers(1, 12, 2))
        extent = [d * (t - 1) + 1 for d, t in zip(dilation, kernel)]
        fits = all(s + sum(p) >= e for s, p, e in zip(size, pads, extent))
        if fits and c * k // groups <= 1 << 17 and k <= 4096:
            cases.append(
                shapes.case(
                    (int(rng.integers(1, 4)), c, *size), (k, c // groups, *kernel), stride, pads, dilation, groups
                )
            )
    return tuple(cases)


def main(number: int = 0, seed: int = 0) -> None:
    cases = (*shapes.FEW, *shapes.WIDE) if not number else random_cases(number, seed)
    done = 0
    with scratch_at_edges():
        for what in convolutions(cases):
            print(what, flush=True)
            done += 1
    for what in poolings(np.random.default_rng(seed), number or 12):
        print(what, flush=True)
        done += 1
    for what in products(gemm.SHAPES):
        print(what, flush=True)
        done += 1
    print(f"{done} calls touched nothing beyond their arrays")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
