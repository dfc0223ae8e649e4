"""What the machine can do at most: ``python -m benchmarks.peak --threads 2``.

* GFLOP/s of our register tile (``kernels/cpu/tiles.py``) on operands that stay in the L1 cache: multiply-adds and
  nothing else.  A processor's clock changes with its load, so this is measured beside the layers, not looked up.
* GB/s of copying between blocks that no cache holds, bytes read and bytes written added up.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import minidl
from minidl.kernels.cpu.pieces import read, run
from minidl.kernels.cpu.simd import copy_bytes
from minidl.kernels.cpu.tiles import rows_tile, rows_times_panel
from minidl.kernels.cpu.windows import address
from minidl.kernels.jit import native

from . import checked

DEPTH = 128  # of the product: a panel of 16 KiB (AVX-512)
REPEATS = 100_000  # some 30 ms: threads that wake late, or are sent away for a moment, must not count
BLOCK_BYTES = 256 << 20
ROUNDS = 9


class _Product(NamedTuple):
    table: int
    depth: int
    panel: int
    results: int
    repeats: int
    result_bytes: int


@native
def _multiply(tile: Any, arguments: int, piece: int) -> None:
    p = read(_Product, arguments)
    for _ in range(p.repeats):
        rows_times_panel(tile, p.table, 1, 0, p.depth, p.panel, p.results, piece * p.result_bytes, 0, 0)


class _Copy(NamedTuple):
    target: int
    source: int
    bytes: int


@native
def _copy(tile: Any, arguments: int, piece: int) -> None:
    c = read(_Copy, arguments)
    copy_bytes(c.target + piece * c.bytes, c.source + piece * c.bytes, c.bytes)


def gflops(threads: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Billions of float32 operations a second, a multiply-add counted as two; all ``threads`` together."""
    tile = rows_tile("float32")
    generator = np.random.default_rng(0)
    a = generator.standard_normal((tile.rows, DEPTH), dtype=np.float32)
    panel = generator.standard_normal((DEPTH, tile.width), dtype=np.float32)
    y = np.empty((threads, tile.rows, tile.width + 64), np.float32)  # apart: no cache line belongs to two threads
    table, results = (address(m) + m.strides[0] * np.arange(tile.rows) for m in (a, y[0]))
    job = _Product(address(table), DEPTH, address(panel), address(results), REPEATS, y.strides[0])
    seconds = _best(lambda: run(_multiply, tile, job, threads), threads, clock)
    return 2 * DEPTH * tile.rows * tile.width * REPEATS * threads / seconds / 1e9


def copy_gbytes(threads: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Billions of bytes a second, read and written."""
    source, target = np.ones(BLOCK_BYTES, np.uint8), np.ones(BLOCK_BYTES, np.uint8)
    job = _Copy(address(target), address(source), BLOCK_BYTES // threads)
    return 2 * BLOCK_BYTES / _best(lambda: run(_copy, rows_tile("float32"), job, threads), threads, clock) / 1e9


def _best(call: Callable[[], None], threads: int, clock: Callable[[], float]) -> float:
    """The fastest of some calls: a limit is what nothing disturbed."""
    minidl.set_num_threads(threads)
    call()
    found = []
    for _ in range(ROUNDS):
        start = clock()
        call()
        found.append(clock() - start)
    return min(found)


def measure(threads: int, clock: Callable[[], float] = time.perf_counter) -> dict[str, float]:
    """Both limits, by name."""
    return {"gflops": gflops(threads, clock), "copy_gbytes": copy_gbytes(threads, clock)}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peak", description="What the machine can do at most.")
    parser.add_argument("--threads", type=checked.threads, default=checked.THREADS)
    threads = parser.parse_args(words).threads
    limits = measure(threads)
    print(f"{threads} threads: {limits['gflops']:.0f} GFLOP/s, copying {limits['copy_gbytes']:.1f} GB/s")


if __name__ == "__main__":
    main()
