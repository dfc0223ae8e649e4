"""``kernels.cpu.winograd``: its transforms against the twin's named intermediates, tiles, storage, kept filters.

That the algorithm keeps all promises of a convolution kernel on this machine: tests/kernels/test_conv_kernels.py.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from minidl.kernels import catalogue, jit, memory
from minidl.kernels.cpu import winograd_tiles
from minidl.kernels.errors import UnsupportedError
from minidl.kernels.geometry import Conv
from minidl.kernels.spec import winograd as twin
from tests.checks import conv as checks
from tests.checks.shapes import case
from tests.checks.winograd import CASES, in_pieces, other_weights

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


# without Numba: what it can do, and what that costs -----------------------------------------------------


@pytest.mark.parametrize("pass_", checks.PASSES)
def test_what_it_cannot_do_it_says(pass_) -> None:
    for c, why in (
        (case((1, 1, 9), (1, 1, 3)), "Winograd is written for 3 x 3 and 5 x 5 kernels in two dimensions, got kernel"),
        (case((1, 1, 9, 9), (1, 1, 4, 4)), r"got kernel \(4, 4\)"),
        (case((1, 1, 9, 9), (1, 1, 5, 3)), r"got kernel \(5, 3\)"),
        (case((1, 1, 9, 9), (1, 1, 3, 3), 2), "Winograd needs stride 1"),
    ):
        with pytest.raises(UnsupportedError, match=why if jit.HAVE_NUMBA else "needs Numba"):
            catalogue.plan("conv", pass_, checks.problem(c), algorithm="winograd")


def test_the_estimate_counts_the_saved_products() -> None:
    """F(4, 3) in two dimensions multiplies a quarter as often as the definition."""
    conv = checks.problem(case((8, 64, 32, 32), (64, 64, 3, 3), 1, 1))
    products = 2 * 36 * 8 * 64 * 64 * 64  # points, tiles, C, K
    assert 2 * conv.macs == 4 * products
    kernel = next(k for k in catalogue.kernels("conv", "forward") if k.algorithm == "winograd")
    assert products < kernel.cost(conv, 4).flops < 1.5 * products  # the rest is transforms


def test_when_it_is_chosen() -> None:
    if not jit.HAVE_NUMBA:
        pytest.skip("needs Numba, which is not installed")

    def chosen(n: int, c: int, size: int, k: int, pass_: str = "forward", precision: str = "fast") -> str:
        conv = Conv.from_shapes((n, c, size, size), (k, c, 3, 3), padding=1)
        return catalogue.plan("conv", pass_, conv, precision=precision).algorithm

    for pass_ in checks.PASSES:
        assert chosen(4, 64, 56, 64, pass_) == chosen(8, 256, 14, 256, pass_) == "winograd"
        assert chosen(8, 3, 32, 16, pass_) != "winograd"  # few channels: transforms cost more than products
        assert chosen(8, 8, 32, 8, pass_) != "winograd"
        assert chosen(1, 512, 4, 512, pass_) != "winograd"  # one tile: the filters' transform does
        assert chosen(4, 64, 56, 64, pass_, "exact") == "nhwc"


def test_small_images_take_small_tiles() -> None:
    sizes = {n: Conv.from_shapes((1, 64, n, n), (64, 64, 3, 3), padding=1) for n in (2, 7)}
    assert winograd_tiles.options("forward", sizes[2]) == {"m": 2, "points": "lavin"}
    assert winograd_tiles.options("forward", sizes[7]) == {"m": 4, "points": "paired"}
    apart = Conv.from_shapes((1, 64, 7, 7), (64, 64, 3, 3), padding=4, dilation=4)  # phases of 2 and of 1
    assert winograd_tiles.options("forward", apart) == {"m": 2, "points": "lavin"}
    large = Conv.from_shapes((1, 64, 27, 27), (64, 64, 5, 5), padding=2)
    assert winograd_tiles.options("forward", large) == {"m": 2, "points": "paired"}


if not jit.HAVE_NUMBA:
    pytest.skip("needs Numba, which is not installed", allow_module_level=True)

from minidl.kernels.cpu import products, relayout, simd, winograd, winograd_blocks, winograd_filters  # noqa: E402
from minidl.kernels.cpu.tiles import columns_tile, rows_tile  # noqa: E402
from minidl.kernels.cpu.winograd_transforms import Scheme  # noqa: E402
from minidl.kernels.workspace import borrow  # noqa: E402


def agrees(cases, dtype: str, store=lambda a: a) -> float:
    worst = 0.0
    for c in cases:
        for pass_ in checks.PASSES:
            operands = [store(a) for a in checks.operands(c, pass_, dtype)]
            got = getattr(winograd, pass_)(*operands, checks.problem(c))
            bound = checks.error_bound(c, pass_, "winograd", dtype)
            what = f"winograd {pass_} {dtype}, {c}"
            worst = max(worst, checks.assert_within(got, checks.truth(c, pass_, dtype), bound, what))
    return worst


@pytest.mark.parametrize("store", [np.asarray, checks.channels_last, checks.every_other])
@DTYPES
def test_awkward_problems(dtype, store, record_property) -> None:
    record_property("measured/bound", agrees(CASES, dtype, store))


def test_tiles_of_other_machines(host) -> None:
    agrees(CASES, "float32")


@DTYPES
def test_small_blocks(dtype) -> None:
    in_pieces(dtype)


@pytest.mark.parametrize("k, c, n", [(224, 112, 14), (384, 192, 7), (32, 128, 14)])
def test_two_threads_have_as_much_to_do_for_one_small_image(k, c, n) -> None:
    for pass_ in ("forward", "input_grad"):
        conv = Conv.from_shapes((1, c, n, n), (k, c, 3, 3), padding=1)
        t = winograd_tiles.tiling(pass_, conv, 4, 6, 16)
        assert t.blocks * t.bands % 2 == 0


@pytest.mark.parametrize("tile", [(8, 32), (6, 16)])
def test_two_threads_have_as_much_to_do_for_a_few_blocks(tile) -> None:
    conv = Conv.from_shapes((16, 160, 14, 14), (320, 160, 3, 3), padding=1)
    t = winograd_tiles.tiling("forward", conv, 4, *tile)
    assert t.bands == 1 and t.blocks in (2, 4)
    split = winograd_tiles.tiling("weight_grad", Conv.from_shapes((8, 256, 14, 14), (256, 256, 3, 3)), 4, *tile)
    assert split.parts * split.bands % 2 == 0


def test_more_threads_share_out_columns() -> None:
    """Bands do not change in which order numbers are summed; parts and blocks do."""
    few = Conv.from_shapes((8, 64, 14, 14), (256, 64, 3, 3), padding=1)
    two, many = (winograd_tiles.tiling("weight_grad", few, 4, threads=threads) for threads in (2, 8))
    assert two.bands * two.parts == 2 and many.bands * many.parts == 8
    assert (two.block, two.parts) == (many.block, many.parts)


def test_parts_of_the_weight_gradient() -> None:
    """Where columns are few, tiles many, or panels cannot be halved."""

    def cut(n: int, k: int, size: int = 14) -> tuple[int, int]:
        conv = Conv.from_shapes((n, 64, size, size), (k, 64, 3, 3), padding=1)
        t = winograd_tiles.tiling("weight_grad", conv, 4)
        return t.bands, t.parts

    assert cut(8, 128) == (2, 1) and cut(64, 128) == (2, 2)
    assert cut(8, 64) == cut(8, 160) == (1, 2) and cut(64, 64, 28) == (1, 8) and cut(64, 128, 28) == (1, 4)


# U, V, M and what they are called -----------------------------------------------------------------------


def lying(memory: np.ndarray, at: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """float64 numbers in the bytes of ``memory``."""
    return np.lib.stride_tricks.as_strided(memory[at:].view("float64"), shape, strides)


@pytest.mark.parametrize(("c", "m"), [(CASES[0], 4), (CASES[4], 2), (CASES[13], 2)], ids=["4x4", "2x2", "2x2 of 5x5"])
@pytest.mark.parametrize("pass_", checks.PASSES)
def test_the_intermediates_are_those_of_the_twin(c, m, pass_) -> None:
    conv, (a, b) = checks.problem(c), checks.operands(c, pass_, "float64")
    tile = columns_tile("float64") if pass_ == "weight_grad" else rows_tile("float64")
    tile = tile.fit(conv.in_channels if pass_ == "input_grad" else conv.out_channels)
    t = winograd_tiles.tiling(pass_, conv, 8, tile.rows, tile.width)
    assert t.blocks == t.bands == t.parts == 1
    want, scheme = getattr(twin, pass_)(a, b, conv, **winograd_tiles.options(pass_, conv)), Scheme(tile, t.m, t.r)
    assert scheme.m == m

    def same(got: np.ndarray, named: np.ndarray) -> None:
        """got (points, ...) and the twin's (n, n, G, ...)"""
        np.testing.assert_allclose(got, named.reshape(got.shape), rtol=0, atol=1e-12 * np.abs(named).max())

    getattr(winograd, pass_)(a, b, conv)
    block = winograd_blocks.scratch(t, scheme, 1)
    memory = borrow("winograd", (block.worker_bytes,), np.dtype("uint8"))
    v = lying(memory, 0, (t.points, t.depth, t.tiles), (block.v_plane, 8, block.v_row))
    same(v, want.V)
    if pass_ == "weight_grad":
        panel, row = t.block * tile.width * 8, tile.width * 8  # [point][panel][tile][column]
        u = lying(memory, block.m, (t.points, t.band, tile.width, t.tiles), (block.m_plane, panel, 8, row))
        same(u.reshape(t.points, -1, t.tiles)[:, : t.columns], want.U)
        return
    m = lying(memory, block.m, (t.points, t.columns, t.tiles), (block.m_plane, 8, block.m_row))
    same(m, want.M)
    w = a if pass_ == "input_grad" else b
    filters = winograd_filters.transformed(w, scheme, pass_ == "input_grad")
    strides = filters.point_step, filters.panel_step, 8, tile.width * 8
    u = lying(filters.memory, 0, (t.points, -(-t.columns // tile.width), tile.width, t.depth), strides)
    same(u.reshape(t.points, -1, t.depth)[:, : t.columns], want.U)


# storage ------------------------------------------------------------------------------------------------


def test_results_are_channels_last_and_go_into_any_storage() -> None:
    for c in CASES[:2]:
        conv = checks.problem(c)
        for pass_ in checks.PASSES:
            operands = checks.operands(c, pass_, "float32")
            want = getattr(winograd, pass_)(*operands, conv)
            assert want.flags.c_contiguous if pass_ == "weight_grad" else relayout.rows_of_channels(want)
            for store in checks.OUT_LAYOUTS.values():
                out = store(np.full(want.shape, np.nan, "float32"))
                assert getattr(winograd, pass_)(*operands, conv, out=out) is out
                checks.assert_same_bits(out, want, f"{pass_} into {store.__name__}, {c}")


@pytest.mark.parametrize("c", [CASES[0], CASES[8]], ids=str)
def test_nothing_is_read_beside_the_operands(c) -> None:
    """Channels that fill no vector, in the last pixel of an array: what follows it is NaN."""
    for pass_ in checks.PASSES:
        given = []
        for a in checks.operands(c, pass_, "float32"):
            pixels = np.ascontiguousarray(np.moveaxis(a, 1, -1))
            inside, _ = checks.fenced(pixels)
            given.append(np.moveaxis(inside, -1, 1))
        got = getattr(winograd, pass_)(*given, checks.problem(c))
        bound = checks.error_bound(c, pass_, "winograd", "float32")
        checks.assert_within(got, checks.truth(c, pass_, "float32"), bound, f"{pass_} between NaNs, {c}")


def test_one_bad_number_reaches_its_neighbours_only() -> None:
    """NaN spreads over the tiles that read it, and over no other image, tile or group."""
    conv = Conv.from_shapes((2, 32, 12, 12), (32, 16, 3, 3), padding=1, groups=2)
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal(conv.x_shape).astype("float32"), rng.standard_normal(conv.w_shape).astype("float32")
    x[0, 3, 1, 1] = np.nan
    bad = np.isnan(winograd.forward(x, w, conv))
    assert bad[0, :16, :4, :4].all()
    bad[0, :16, :4, :4] = False
    assert not bad.any()


@pytest.mark.parametrize("c", [CASES[6], CASES[7], CASES[14]], ids=str)
def test_large_results_go_past_the_caches(c, monkeypatch) -> None:
    """Where vectors are cache lines, and so are channels: those of the first problem."""
    asked, run = [], winograd.run

    def watched(function, scheme, arguments, *rest):
        asked.extend(part.stream for part in arguments if isinstance(part, winograd._Job))
        run(function, scheme, arguments, *rest)

    with simd.using(simd.AVX512):
        for pass_ in ("forward", "input_grad"):
            operands = [checks.channels_last(a) for a in checks.operands(c, pass_, "float32")]
            kernel, conv = getattr(winograd, pass_), checks.problem(c)
            want = kernel(*operands, conv)
            winograd._correlate_group.cache_clear()
            with monkeypatch.context() as patch:
                patch.setattr(products, "STREAM_BYTES", 0)
                patch.setattr(winograd, "run", watched)
                checks.assert_same_bits(kernel(*operands, conv), want, pass_)
            winograd._correlate_group.cache_clear()
    assert (1 in asked) == (c == CASES[6])


# filters that are kept ----------------------------------------------------------------------------------


@pytest.fixture
def nothing_kept():
    winograd_filters.release()
    yield
    winograd_filters.release()


KEPT = case((2, 16, 8, 8), (24, 16, 3, 3), 1, 1)


@DTYPES
def test_filters_are_kept_and_never_stale(dtype, nothing_kept) -> None:
    conv, (x, w, _) = checks.problem(KEPT), KEPT.arrays(dtype)
    for kept in (False, True, True):
        winograd.forward(x, w, conv)
        assert (winograd_filters.kept_bytes() > 4 * w.nbytes) is kept  # once: the weights may be gone in the next step
    other_weights(dtype)


def test_another_array_in_the_same_place_is_another(nothing_kept) -> None:
    """The address, shape and dtype of freed weights come back, as they do when a layer is built again."""
    conv, (x, w, _) = checks.problem(KEPT), KEPT.arrays("float32")
    place = np.empty_like(w)
    for sign in (1, -1):
        np.multiply(w, sign, out=place)
        for _ in range(3):
            y = winograd.forward(x, place, conv)
        checks.assert_same_bits(y, sign * winograd.forward(x, w.copy(), conv), f"sign {sign}")


def test_zero_and_minus_zero_are_not_the_same_weights(nothing_kept) -> None:
    """They compare equal, and 1/0 tells them apart: the comparison is of bits."""
    assert winograd_filters._same_bits(np.array([np.nan, 1]), np.array([np.nan, 1]))
    assert not winograd_filters._same_bits(np.array([0.0]), np.array([-0.0]))


def test_what_is_kept_is_bounded_and_can_be_released(monkeypatch, nothing_kept) -> None:
    conv, (x, w, _) = checks.problem(KEPT), KEPT.arrays("float32")
    many = [w + i for i in range(6)]
    for v in many[:1] * 3:
        winograd.forward(x, v, conv)
    one = winograd_filters.kept_bytes()
    monkeypatch.setattr(winograd_filters, "KEPT_BYTES", 3 * one)
    for v in many:
        for _ in range(2):
            winograd.forward(x, v, conv)
    assert winograd_filters.kept_bytes() == 3 * one
    monkeypatch.setattr(winograd_filters, "KEPT_BYTES", one - 1)  # too much for one: not kept at all
    winograd_filters.release()
    for _ in range(3):
        winograd.forward(x, w, conv)
    assert winograd_filters.kept_bytes() == 0
    monkeypatch.undo()
    for _ in range(2):
        winograd.forward(x, w, conv)
    assert winograd_filters.kept_bytes() == one
    memory.release()
    assert winograd_filters.kept_bytes() == 0


def test_threads_that_share_weights(nothing_kept) -> None:
    conv, (x, w, _) = checks.problem(KEPT), KEPT.arrays("float32")
    want = winograd.forward(x, w, conv)
    with ThreadPoolExecutor(4) as pool:
        for y in pool.map(lambda _: winograd.forward(x, w, conv), range(40)):
            checks.assert_same_bits(y, want, "in one of four threads")
