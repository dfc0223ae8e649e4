"""``kernels.cpu.simd``, ``tiles``, ``pieces``: vectors of any width, register tiles of any machine, the disk cache."""

from __future__ import annotations

import pickle
import platform
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest

from minidl.kernels import jit, threads

if not jit.HAVE_NUMBA:
    pytest.skip("needs Numba, which is not installed", allow_module_level=True)

from minidl.kernels.cpu import pieces, simd, tiles
from minidl.kernels.cpu.places import address
from minidl.kernels.cpu.simd import Lanes

MACHINES = {"AVX-512": simd.AVX512, "AVX2": simd.AVX2, "NEON": simd.NEON, "portable": simd.PORTABLE}
DTYPES = ("float32", "float64")

rng = np.random.default_rng(11)


@jit.njit(cache=False)
def _formula(lanes, x, y, z, count):
    for i in range(0, count * lanes.itemsize, lanes.lanes * lanes.itemsize):
        u, v = simd.load(lanes, x + i), simd.load(lanes, y + i)
        w = simd.maximum(u * 2.0 + v - 0.5, simd.zero(lanes)) + 0.25 * u * v
        simd.store(z + i, simd.fma(w, u, simd.broadcast(lanes, 3)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lanes", [1, 4, 32])
def test_vector_arithmetic_is_the_arrays(dtype, lanes) -> None:
    x, y = rng.standard_normal((2, 65)).astype(dtype)[:, 1:]  # aligned to an element only
    z = np.full(64, np.nan, dtype)
    _formula(Lanes(dtype, lanes), address(x), address(y), address(z), 64)
    want = (np.maximum(x * 2 + y - 0.5, 0) + x * y / 4) * x + 3
    np.testing.assert_allclose(z, want, rtol=8 * np.finfo(dtype).eps, atol=8 * np.finfo(dtype).eps)


def test_the_maximum_with_zero_is_relu_and_drops_nan() -> None:
    x, zero, z = np.array([-1.0, np.nan, 2.0, -0.0]), np.zeros(4), np.empty(4)

    @jit.njit(cache=False)
    def relu(lanes, x, y, z):
        simd.store(z, simd.maximum(simd.load(lanes, x), simd.load(lanes, y)))

    relu(Lanes("float64", 4), address(x), address(zero), address(z))
    np.testing.assert_array_equal(z, [0, 0, 2, 0])


@jit.njit(cache=False)
def _turn(lanes, target, target_step, source, source_step):
    simd.transpose(lanes, target, target_step, source, source_step)


@pytest.mark.parametrize("lanes", [1, 2, 8, 16])
def test_transposition_of_a_block_inside_a_matrix(lanes) -> None:
    source, target = rng.standard_normal((lanes, 19)).astype("float32"), np.full((lanes, 23), np.nan, "float32")
    _turn(Lanes("float32", lanes), address(target) + 4, 23 * 4, address(source) + 8, 19 * 4)
    np.testing.assert_array_equal(target[:, 1 : 1 + lanes], source[:, 2 : 2 + lanes].T)
    assert np.isnan(target).sum() == lanes * (23 - lanes)


@jit.njit(cache=False)
def _rows(tile, table, taps, offset, depth, panel, results, shift, accumulate):
    tiles.rows_times_panel(tile, table, taps, offset, depth, panel, results, shift, accumulate, 0)


@jit.njit(cache=False)
def _columns(tile, table, count, offset, panel, panel_step, result, step, accumulate):
    tiles.columns_times_panel(tile, table, count, offset, panel, panel_step, result, step, accumulate)


def _table(a: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Addresses of the rows of a (rows, n) in the order given."""
    return (address(a) + order * a.strides[0]).astype(np.int64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MACHINES)
def test_register_tiles_multiply(name, dtype) -> None:
    """Rows in any order, some read twice; an offset into each; once over NaN, once added to what is there."""
    host = MACHINES[name]
    plain = tiles.rows_tile(dtype, host)
    for tile in (plain, plain.narrow(99), plain.fit(1, host), plain.fit(3 * plain.lanes, host)):
        taps, depth, offset, shift = 3, 5, 2, 1
        a, b = rng.standard_normal((40, offset + depth)), rng.standard_normal((taps, depth, tile.width))
        a, b = a.astype(dtype), b.astype(dtype)
        order = rng.integers(0, 40, (taps, tile.rows))
        y = np.full((tile.rows, tile.width + 2), np.nan, dtype)
        table, results = _table(a, order), _table(y, np.arange(tile.rows)[::-1])
        want = np.einsum("tic,tcj->ij", a[order][..., offset:], b)[::-1]
        size = a.itemsize
        for times in (1, 2):
            _rows(
                tile, address(table), taps, offset * size, depth, address(b), address(results), shift * size, times - 1
            )
            np.testing.assert_allclose(y[:, 1:-1], times * want, rtol=100 * np.finfo(dtype).eps, atol=1e-4)
        assert np.isnan(y[:, [0, -1]]).all()
        _rows(tile, address(table), 0, 0, depth, address(b), address(results), shift * size, 0)
        assert not y[:, 1:-1].any()  # no taps: the empty sum

    tile, count = tiles.columns_tile(dtype, host), 9
    a, b = (
        rng.standard_normal((20, tile.rows + 3)).astype(dtype),
        rng.standard_normal((count, tile.width + 5)).astype(dtype),
    )
    order = rng.integers(0, 20, count)
    y = np.full((tile.rows, tile.width + 1), np.nan, dtype)
    table = _table(a, order)
    want = a[order, 3:].T @ b[:, 5:]
    panel = address(b[:, 5:]), b.strides[0]
    for times in (1, 2):
        _columns(tile, address(table), count, 3 * a.itemsize, *panel, address(y), y.strides[0], times - 1)
        np.testing.assert_allclose(y[:, :-1], times * want, rtol=100 * np.finfo(dtype).eps, atol=1e-4)
    assert np.isnan(y[:, -1]).all()


def test_tiles_fit_the_registers() -> None:
    for host in MACHINES.values():
        few = [tiles.columns_tile("float32", host, depth) for depth in range(1, 50)]
        few += [tiles.rows_tile("float32", host).fit(columns, host) for columns in range(1, 50)]
        for tile in (tiles.rows_tile("float32", host), tiles.columns_tile("float32", host), *few):
            assert tile.rows * tile.vectors + tile.vectors + 1 <= host.registers
            assert tile.lanes * 4 == host.width


def test_another_machine_can_be_asked_for() -> None:
    host = simd.machine()
    with simd.using(simd.AVX2):
        assert simd.machine() == simd.AVX2 and tiles.rows_tile("float32").lanes == 8
        with pytest.raises(RuntimeError, match="gone"), simd.using(simd.PORTABLE):
            raise RuntimeError("gone")
        assert simd.machine() == simd.AVX2
    assert simd.machine() == host


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="names of x86 processors")
@pytest.mark.parametrize(
    ("name", "machine"), [("skylake-avx512", simd.AVX512), ("haswell", simd.AVX2), ("nehalem", simd.PORTABLE)]
)
def test_the_machine_is_the_one_that_numba_compiles_for(name, machine, monkeypatch) -> None:
    """Intel's AVX-512 processors too, for which LLVM's own vectoriser prefers half the width."""
    monkeypatch.setattr(simd.config, "CPU_NAME", name)
    monkeypatch.setattr(simd.config, "CPU_FEATURES", "")
    assert simd._host.__wrapped__() == machine


def test_the_machine_is_known_before_anything_is_compiled() -> None:
    code = "from minidl.kernels.cpu.simd import machine; print(machine())"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == repr(simd.machine())


def test_compile_time_values_are_one_type_each() -> None:
    tile = tiles.rows_tile("float32", simd.AVX2)
    again = pickle.loads(pickle.dumps(tile._numba_type_))
    assert again == tile._numba_type_ != tile.narrow(8)._numba_type_
    assert pickle.dumps(tile) == pickle.dumps(tiles.rows_tile("float32", simd.AVX2))


class Filling(NamedTuple):
    target: int
    start: int


@jit.native
def _fill(lanes, arguments, piece):
    a = pieces.read(Filling, arguments)
    simd.store(a.target + piece * lanes.itemsize, simd.broadcast(lanes, a.start + piece))


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_all_pieces_run_once_in_parallel_and_serially(seconds) -> None:
    before = threads.get_num_threads()
    try:
        for n in (1, before):
            threads.set_num_threads(n)
            target = np.zeros(1000)
            pieces.run(_fill, Lanes("float64", 1), Filling(address(target), 7), 1000, seconds)
            np.testing.assert_array_equal(target, 7.0 + np.arange(1000))
    finally:
        threads.set_num_threads(before)
