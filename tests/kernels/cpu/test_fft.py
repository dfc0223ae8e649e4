"""What test_conv_kernels.py does not ask of the FFT kernel: tiles, blocks, the bound on its memory, the estimate."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from minidl.kernels.cpu import dft, fft
from minidl.kernels.errors import UnsupportedError
from tests.checks.conv import PASSES, brute_force, operands, problem, result_shape
from tests.checks.shapes import FEW, case

LARGE = (
    case((3, 5, 40, 33), (4, 5, 5, 7), 1, ((2, 1), (0, 3)), story="many tiles"),
    case((2, 6, 31, 26), (4, 3, 4, 5), (3, 2), (1, 2), (1, 2), 2, story="tiles, strides, groups, dilation"),
    case((2, 4, 90), (4, 1, 9), 2, 4, 1, 4, story="1-d depthwise"),
    case((1, 2, 9, 12, 11), (3, 2, 2, 3, 4), (1, 2, 1), 1, story="3-d"),
)


@pytest.fixture
def small_workspace(monkeypatch):
    """Little memory, and a mixed-radix transform from nine points on: many tiles and blocks on small problems."""
    monkeypatch.setattr(fft, "WORKSPACE", 60_000)
    monkeypatch.setattr(dft, "DENSE", 8)
    fft.tiling.cache_clear()
    yield
    fft.tiling.cache_clear()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pass_", PASSES)
def test_many_tiles_and_blocks(pass_, dtype, small_workspace):
    split = {"groups": False, "tiles": False}
    for c in LARGE + FEW:
        conv, arrays = problem(c), operands(c, pass_, dtype)
        if fft.supports(pass_, conv):
            continue
        t = fft.tiling(pass_, conv, np.dtype(dtype).itemsize)
        split["groups"] |= t.block[0] < conv.groups
        split["tiles"] |= t.block[1] < conv.batch * np.prod(t.tiles)
        out = np.full(result_shape(c, pass_), np.nan, dtype)
        got = getattr(fft, pass_)(*arrays, conv, out=out)
        exact = brute_force(c, pass_, *(a.astype("float64") for a in arrays))
        assert got is out
        np.testing.assert_allclose(got, exact, rtol=0, atol=np.finfo(dtype).eps * 40 * max(1, np.abs(exact).max()))
    assert all(split.values())  # both really came in parts


@pytest.mark.parametrize("room", [3, 7, 12, 40, 200, 10**6])
def test_blocks_fit_their_room_and_cover(room):
    for groups, tiles, cin, cout in ((1, 50, 8, 40), (6, 3, 1, 1), (2, 1, 30, 2), (1, 0, 3, 0)):
        g, t, ci, co = fft._blocks(room, groups, tiles, cin, cout)
        assert 1 <= g <= groups and 1 <= t <= max(1, tiles) and 1 <= ci <= cin and 1 <= co <= max(1, cout)
        assert g * (ci * co + t * (ci + co)) <= room
    assert fft._blocks(2, 1, 1, 1, 1) is None


@pytest.mark.parametrize("pass_", PASSES)
def test_split_channels(pass_, monkeypatch):
    """Blocks of input channels accumulate, blocks of output channels do not."""
    c = case((2, 6, 9, 8), (5, 6, 3, 2), (1, 2), 1)
    conv, arrays = problem(c), operands(c, pass_, "float64")
    monkeypatch.setattr(fft, "_blocks", lambda room, groups, tiles, cin, cout: (1, 1, 2, 3))
    fft.tiling.cache_clear()
    try:
        assert fft.tiling(pass_, conv, 8).block == (1, 1, 2, 3)
        got = getattr(fft, pass_)(*arrays, conv)
    finally:
        fft.tiling.cache_clear()
    np.testing.assert_allclose(got, brute_force(c, pass_, *arrays), atol=1e-12)


@pytest.mark.parametrize("c", [
    case((2, 8, 150, 140), (8, 8, 7, 9), 1, 3, story="many tiles"),
    case((1, 96, 30, 30), (96, 96, 5, 5), 1, 2, story="many channels"),
    case((3, 40, 40, 40), (40, 1, 31, 31), 1, 15, 1, 40, story="depthwise"),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("pass_", PASSES)
def test_memory_stays_under_the_bound(c, pass_, monkeypatch):
    monkeypatch.setattr(fft, "WORKSPACE", 6 * 2**20)
    fft.tiling.cache_clear()
    try:
        conv, arrays = problem(c), operands(c, pass_, "float32")
        out = np.empty(result_shape(c, pass_), "float32")
        getattr(fft, pass_)(*arrays, conv, out=out)  # Fourier matrices are kept from here on
        tracemalloc.start()
        try:
            getattr(fft, pass_)(*arrays, conv, out=out)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        stated = fft.cost(pass_, conv, 4).workspace
    finally:
        fft.tiling.cache_clear()
    assert peak <= stated + 2**16 and stated <= 6 * 2**20  # 64 KiB for Python objects


@pytest.mark.parametrize("pass_", PASSES)
def test_one_tile_too_large_is_refused_with_its_size(pass_):
    c = case((1, 1, 4000, 4000), (1, 1, 3, 5), 1, 0, (1500, 900))
    conv = problem(c)
    reason = (
        r"FFT needs transforms of at least 3001 x 3601 points \(kernel extent \+ stride - 1\); "
        r"one tile of that does not fit the workspace of 96 MiB"
    )
    assert fft.supports(pass_, conv) is not None
    with pytest.raises(UnsupportedError, match=reason):
        fft.cost(pass_, conv, 4)
    with pytest.raises(UnsupportedError, match=reason):
        getattr(fft, pass_)(*(np.broadcast_to(np.float32(0), s) for s in _shapes(c, pass_)), conv)


def _shapes(c, pass_):
    return {
        "forward": (c.x_shape, c.w_shape),
        "input_grad": (c.w_shape, c.y_shape),
        "weight_grad": (c.x_shape, c.y_shape),
    }[pass_]


def test_the_estimate_grows_with_the_work():
    small, large = (problem(case((n, 16, 30, 30), (16, 16, 5, 5))) for n in (4, 16))
    for pass_ in PASSES:
        a, b = fft.cost(pass_, small, 4), fft.cost(pass_, large, 4)
        assert a.seconds < b.seconds and a.flops < b.flops
        assert max(a.workspace, b.workspace) <= fft.WORKSPACE


def test_outputs_that_are_not_contiguous():
    c = case((2, 3, 11, 9), (4, 3, 3, 2), (2, 1), 1)
    for pass_ in PASSES:
        arrays = operands(c, pass_, "float64")
        shape = result_shape(c, pass_)
        out = np.full((shape[0], *shape[2:], shape[1]), np.nan)
        got = getattr(fft, pass_)(*arrays, problem(c), out=np.moveaxis(out, -1, 1))
        np.testing.assert_allclose(got, brute_force(c, pass_, *arrays), atol=1e-12)
        assert np.shares_memory(got, out)


# transforms ----------------------------------------------------


@pytest.mark.parametrize("dense", [0, 100])
@pytest.mark.parametrize("size", [(1,), (2,), (15,), (8, 6), (5, 9, 4)], ids=str)
def test_transforms_are_numpys(size, dense, monkeypatch):
    monkeypatch.setattr(dft, "DENSE", dense)
    rng = np.random.default_rng(3)
    a = rng.standard_normal((*size, 3))
    axes = (*range(1, len(size)), 0)  # the last of these is NumPy's halved one
    spectrum = dft.transform(a, size, [range(n) for n in size])
    np.testing.assert_allclose(spectrum, np.fft.rfftn(a, axes=axes), atol=1e-12)
    assert spectrum.shape[:-1] == dft.spectrum_shape(size)
    np.testing.assert_allclose(dft.inverse(spectrum, size, [range(n) for n in size]), a, atol=1e-13)


@pytest.mark.parametrize("dense", [0, 100])
def test_transforms_of_some_positions_only(dense, monkeypatch):
    monkeypatch.setattr(dft, "DENSE", dense)
    rng = np.random.default_rng(4)
    positions = [range(1, 12, 4), range(0, 7, 3)]
    a = rng.standard_normal((3, 3, 2)).astype("float32")
    line = np.zeros((12, 10, 2), "float32")
    line[1:12:4, 0:7:3] = a
    spectrum = dft.transform(a, (12, 10), positions)
    assert spectrum.dtype == np.complex64
    np.testing.assert_allclose(spectrum, np.fft.rfftn(line, axes=(1, 0)), atol=1e-5)
    back = dft.inverse(spectrum, (12, 10), positions)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, a, atol=1e-6)


def test_fourier_matrix_entries_are_accurate():
    """Within 2 u of the roots of unity, which cosine of a large rounded angle is not."""
    for size in (7, 48, 60, 64):
        exact = np.arange(size) * (np.longdouble(8) * np.arctan(np.longdouble(1)) / size)
        error = np.abs(dft._roots(size) - (np.cos(exact) - 1j * np.sin(exact)))
        assert error.max() <= 2 * 2.0**-53


def test_numpy_keeps_float32():
    """What the memory bound and the speed rest on: no transform of NumPy goes through float64."""
    assert np.fft.rfftn(np.ones((4, 4), "float32")).dtype == np.complex64
    assert np.fft.irfftn(np.ones((4, 3), "complex64")).dtype == np.float32
