"""What test_conv_kernels.py does not ask of the FFT kernel: tiles, blocks, the bound on its memory, the estimate."""

from __future__ import annotations

import tracemalloc
from math import prod

import numpy as np
import pytest

from minidl.kernels import catalogue, conv, jit, memory, workspace
from minidl.kernels.cpu import dft, fft_tiles
from minidl.kernels.errors import UnsupportedError
from tests.checks.conv import PASSES, brute_force, channels_last, operands, problem, result_shape
from tests.checks.shapes import FEW, case

needs_numba = pytest.mark.skipif(not jit.HAVE_NUMBA, reason="needs Numba, which is not installed")

LARGE = (
    case((3, 5, 40, 33), (4, 5, 5, 7), 1, ((2, 1), (0, 3)), story="many tiles"),
    case((2, 6, 31, 26), (4, 3, 4, 5), (3, 2), (1, 2), (1, 2), 2, story="tiles, strides, groups, dilation"),
    case((2, 4, 90), (4, 1, 9), 2, 4, 1, 4, story="1-d depthwise"),
    case((2, 35, 21, 30), (35, 1, 6, 4), (1, 2), 2, (2, 1), 35, story="depthwise"),
    case((1, 2, 9, 12, 11), (3, 2, 2, 3, 4), (1, 2, 1), 1, story="3-d"),
    case((2, 3, 9, 40), (37, 3, 1, 8), 1, (0, 3), story="an axis of one tap"),
    case((2, 3, 40, 9), (37, 3, 8, 1), (2, 1), (3, 0), story="the last axis of one tap"),
    case((1, 2, 9, 21, 4), (3, 2, 3, 5, 1), 1, (1, 2, 0), story="the last of three axes of one tap"),
    case((2, 35, 12, 10), (35, 1, 4, 1), 1, (2, 0), 1, 35, story="depthwise, the last axis of one tap"),
    case((1, 2, 9, 4, 21), (3, 2, 3, 1, 5), 1, 1, story="an axis of one tap in the middle"),
    case((1, 5, 3, 70), (4, 5, 3, 21), 1, 3, 3, story="dilated"),
    case((1, 16, 6, 9, 16), (3, 16, 4, 2, 5), 1, (2, 0, 0), story="padding ahead of the first axis alone"),
    case((1, 2, 6, 7), (3, 2, 12, 12), 3, 4, story="more taps than samples of the strided gradient"),
)


@pytest.fixture
def small_workspace(monkeypatch):
    """Little memory: many blocks on small problems."""
    monkeypatch.setattr(fft_tiles, "WORKSPACE", 1_200_000)
    fft_tiles.tiling.cache_clear()
    _forget()
    yield
    fft_tiles.tiling.cache_clear()
    _forget()


def _forget():
    """The calls that were made before."""
    if jit.HAVE_NUMBA:
        from minidl.kernels.cpu import fft

        for kernel in (fft._correlate_tiles, fft._sum_tiles):
            kernel.cache_clear()


def compute(pass_, c, arrays, out=None):
    return getattr(conv, pass_)(*arrays, problem(c), algorithm="fft", out=out)


def assert_right(pass_, c, dtype):
    arrays = operands(c, pass_, dtype)
    out = np.full(result_shape(c, pass_), np.nan, dtype)
    assert compute(pass_, c, arrays, out) is out
    exact = brute_force(c, pass_, *(a.astype("float64") for a in arrays))
    bound = np.finfo(dtype).eps * 40 * max(1, np.abs(exact).max())
    for got in (out, compute(pass_, c, arrays), compute(pass_, c, arrays)):
        np.testing.assert_allclose(got, exact, rtol=0, atol=bound, err_msg=str(c))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pass_", PASSES)
def test_many_tiles(pass_, dtype):
    for c in LARGE:
        assert_right(pass_, c, dtype)


@needs_numba
@pytest.mark.parametrize("pass_", PASSES)
def test_many_blocks(pass_, small_workspace):
    blocks = set()
    for c in LARGE + FEW:
        p = problem(c)
        if fft_tiles.supports(pass_, p):
            continue
        t = fft_tiles.tiling(pass_, p, 8)
        blocks |= {t.block[0] < p.batch * prod(t.tiles)}
        assert_right(pass_, c, "float64")
    assert True in blocks  # some really came in parts


@pytest.mark.parametrize("pass_", PASSES)
def test_tiles_of_other_machines(pass_, host):
    _forget()
    for c in LARGE:
        assert_right(pass_, c, "float32")
    _forget()


@pytest.mark.parametrize("pass_", PASSES)
@pytest.mark.parametrize(("groups", "channels"), [(1, 8), (2, 8), (8, 8), (70, 70)])
def test_blocks_fit_their_room_and_cover(pass_, groups, channels, monkeypatch):
    p = problem(case((3, channels, 40, 30), (channels, channels // groups, 5, 5), 1, 2, 1, groups))
    seen = set()
    for room in (1 << 19, 1 << 20, 1 << 21, 1 << 22, 1 << 26):
        monkeypatch.setattr(fft_tiles, "WORKSPACE", room)
        t = fft_tiles.tiling.__wrapped__(pass_, p, 4)
        if t is None:
            continue
        tiles, cin, cout = t.block
        most = fft_tiles.channels(pass_, p)
        assert 1 <= tiles <= p.batch * prod(t.tiles) and 1 <= cin <= most[0] and 1 <= cout <= most[1]
        assert 0 < t.cost.workspace <= room
        seen.add(t.block)
    assert len(seen) > 1
    monkeypatch.setattr(fft_tiles, "WORKSPACE", 1000)
    assert fft_tiles.tiling.__wrapped__(pass_, p, 4) is None


@needs_numba
@pytest.mark.parametrize("pass_", PASSES)
@pytest.mark.parametrize(("groups", "blocks"), [(1, (1, 2, 3)), (1, (4, 5, 2)), (6, (1, 4, 4)), (6, (3, 5, 5))])
def test_split_channels(pass_, groups, blocks, monkeypatch):
    """Blocks of input channels accumulate, blocks of output channels do not."""
    c = case((2, 6, 9, 8), (6 if groups > 1 else 5, 6 // groups, 3, 2), (1, 2), 1, 1, groups)
    monkeypatch.setattr(fft_tiles, "_block", lambda *_: blocks)
    fft_tiles.tiling.cache_clear()
    _forget()
    try:
        assert_right(pass_, c, "float64")
    finally:
        fft_tiles.tiling.cache_clear()
        _forget()


@needs_numba
@pytest.mark.parametrize("c", [
    case((2, 8, 150, 140), (8, 8, 7, 9), 1, 3, story="many tiles"),
    case((1, 96, 30, 30), (96, 96, 5, 5), 1, 2, story="many channels"),
    case((3, 40, 40, 40), (40, 1, 31, 31), 1, 15, 1, 40, story="depthwise"),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("pass_", PASSES)
def test_memory_stays_under_the_bound(c, pass_, monkeypatch):
    monkeypatch.setattr(fft_tiles, "WORKSPACE", 12 * 2**20)
    fft_tiles.tiling.cache_clear()
    _forget()
    try:
        arrays = [channels_last(a) for a in operands(c, pass_, "float32")]
        compute(pass_, c, arrays)  # Fourier matrices are kept from here on
        memory.release()
        tracemalloc.start()
        try:
            result = compute(pass_, c, arrays)
            peak = tracemalloc.get_traced_memory()[1] - result.nbytes
        finally:
            tracemalloc.stop()
        stated = fft_tiles.cost(pass_, problem(c), 4).workspace
    finally:
        fft_tiles.tiling.cache_clear()
        _forget()
    assert peak <= stated + 2**16 and stated <= 12 * 2**20  # 64 KiB for Python objects


@needs_numba
@pytest.mark.parametrize("pass_", PASSES)
def test_scratch_memory_is_written_before_it_is_read_and_nothing_behind_it(pass_, monkeypatch):
    """Each block is NaN at first, and so is what follows it, which stays so."""
    from minidl.kernels.cpu import fft_blocks

    aligned, behind = workspace.aligned, []

    def guarded(size):
        block = aligned(size + 2**14)
        block.fill(0xFF)
        behind.append(block[size:])
        return block[:size]

    monkeypatch.setattr(workspace, "aligned", guarded)
    monkeypatch.setattr(fft_blocks, "get_num_threads", lambda: 1)  # nobody's buffers follow those of the one thread
    _forget()
    for c in LARGE:
        for dtype in ("float32", "float64"):
            memory.release()
            assert_right(pass_, c, dtype)
            assert behind and all((room == 0xFF).all() for room in behind), f"{c} {dtype}"
            behind.clear()
    memory.release()
    _forget()


@pytest.mark.parametrize("pass_", PASSES)
def test_one_tile_too_large_is_refused_with_its_size(pass_):
    c = case((1, 1, 4000, 4000), (1, 1, 3, 5), 1, 0, (1500, 900))
    reason = (
        r"FFT needs transforms of at least 3001 x 3601 points \(kernel extent \+ stride - 1\); "
        r"one tile of that does not fit the workspace of 64 MiB"
    )
    assert fft_tiles.supports(pass_, problem(c)) is not None
    with pytest.raises(UnsupportedError, match=reason):
        fft_tiles.cost(pass_, problem(c), 4)
    if jit.HAVE_NUMBA:
        with pytest.raises(UnsupportedError, match=reason):
            catalogue.plan("conv", pass_, problem(c), algorithm="fft")


def test_the_estimate_grows_with_the_work():
    small, large = (problem(case((n, 16, 30, 30), (16, 16, 5, 5))) for n in (4, 16))
    for pass_ in PASSES:
        a, b = fft_tiles.cost(pass_, small, 4), fft_tiles.cost(pass_, large, 4)
        assert a.seconds < b.seconds and a.flops < b.flops
        assert max(a.workspace, b.workspace) <= fft_tiles.WORKSPACE


def test_outputs_that_are_not_contiguous():
    c = case((2, 3, 11, 9), (4, 3, 3, 2), (2, 1), 1)
    for pass_ in PASSES:
        arrays = operands(c, pass_, "float64")
        shape = result_shape(c, pass_)
        out = np.full((shape[0], *shape[2:], shape[1]), np.nan)
        got = compute(pass_, c, arrays, np.moveaxis(out, -1, 1))
        np.testing.assert_allclose(got, brute_force(c, pass_, *arrays), atol=1e-12)
        assert np.shares_memory(got, out)


# transforms ----------------------------------------------------


def follow(a, steps, matrices):
    for step, matrix in zip(steps, matrices, strict=True):
        assert matrix.shape == (step.columns, step.rows)
        a = np.einsum("lcr,ck->lkr", a.reshape(step.lead, step.columns, step.rest), matrix)
    return a.reshape(-1)


@pytest.mark.parametrize(("size", "taps"), [
    ((1, 1, 8), (range(1), range(1), range(1, 6, 2))),
    ((1, 6, 9), (range(1), range(0, 5, 2), range(7))),
    ((4, 6, 8), (range(1, 4), range(6), range(0, 8, 3))),
    ((5, 1, 3), (range(0, 5, 2), range(1), range(3))),
], ids=str)  # fmt: skip
def test_steps_make_numpys_spectra_and_lead_back(size, taps):
    counts = tuple(map(len, taps))
    a = np.random.default_rng(3).standard_normal((counts[2], *counts[:2]))
    line = np.zeros(size)
    line[np.ix_(*taps)] = np.moveaxis(a, 0, 2)
    spectrum = np.moveaxis(np.fft.rfftn(line), 2, 0).reshape(-1)
    assert len(spectrum) == dft.frequencies(size)
    planes = {"re": spectrum.real, "im": spectrum.imag, "-im": -spectrum.imag}
    for parts in (dft.PARTS, dft.KERNEL_PARTS):
        found = follow(a, dft.steps(size, counts, parts), dft.matrices(size, taps, "float64", parts))
        np.testing.assert_allclose(found.reshape(-1, len(parts)).T, [planes[part] for part in parts], atol=1e-12)
    flat = np.stack([spectrum.real, spectrum.imag], 1).reshape(-1)
    back = follow(flat, dft.inverse_steps(size, counts), dft.inverse_matrices(size, taps, "float64"))
    np.testing.assert_allclose(back.reshape(a.shape), a, atol=1e-13)


def test_fourier_matrix_entries_are_accurate():
    """Within 2 u of the roots of unity, which cosine of a large rounded angle is not."""
    for size in (7, 48, 60, 64):
        exact = np.arange(size) * (np.longdouble(8) * np.arctan(np.longdouble(1)) / size)
        error = np.abs(dft._roots(size) - (np.cos(exact) - 1j * np.sin(exact)))
        assert error.max() <= 2 * 2.0**-53
