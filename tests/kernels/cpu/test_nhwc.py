"""``kernels.cpu.nhwc``: every machine's tiles, block seams, few channels, storage of results.

That the algorithm keeps all promises of a convolution kernel on this machine: tests/kernels/test_conv_kernels.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels import jit, workspace
from minidl.kernels.catalogue import plan
from minidl.kernels.geometry import Conv
from tests.checks import conv as checks
from tests.checks import shapes
from tests.checks.shapes import WIDE

if not jit.HAVE_NUMBA:
    pytest.skip("needs Numba, which is not installed", allow_module_level=True)

from minidl.kernels.cpu import nhwc, products, relayout, replay, simd, sums, tiles
from minidl.kernels.cpu.direct_tiles import Axis3


def agrees(cases, dtype: str, store=lambda a: a) -> None:
    for c in cases:
        for pass_ in checks.PASSES:
            operands = [store(a) for a in checks.operands(c, pass_, dtype)]
            got = getattr(nhwc, pass_)(*operands, checks.problem(c))
            bound = checks.error_bound(c, pass_, "nhwc", dtype)
            checks.assert_within(got, checks.truth(c, pass_, dtype), bound, f"nhwc {pass_} {dtype}, {c}")


@pytest.mark.parametrize("store", [np.asarray, checks.channels_last, checks.every_other])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_wide_problems(dtype, store) -> None:
    agrees(WIDE, dtype, store)


def test_tiles_of_other_machines(host) -> None:
    groups = [shapes.case((2, 32, 5, 9), (32, size, 3, 3), 1, 1, groups=32 // size) for size in (2, 4, 8, 16)]
    agrees([*WIDE, *shapes.ALL, *groups], "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_no_more_zeros_are_read_than_were_asked_for(monkeypatch, dtype, channels) -> None:
    """Few channels, and rows in the padding: what lies behind the zeros is somebody else's."""

    def poisoned(dtype: np.dtype, count: int) -> np.ndarray:
        row = np.full(1 << 14, np.nan, dtype)
        row[:count] = 0
        return replay.permanent(row)

    monkeypatch.setattr(nhwc, "permanent_zeros", poisoned)
    agrees(
        [
            shapes.case((2, channels, 7, 9), (5, channels, 3, 3), 1, 1),
            shapes.case((1, channels, 5, 6), (channels, channels, 2, 2), 1, 0),
            shapes.case((1, channels, 9, 20), (6, channels, 5, 3), 2, 2),
        ],
        dtype,
        checks.channels_last,
    )


STREAMED = [
    shapes.case((2, 16, 9, 11), (48, 16, 1, 1), 1, 0, story="one tap, two tiles and a wider one"),
    shapes.case((2, 3, 9, 11), (32, 3, 3, 3), 2, 1, story="the taps of a row count as channels"),
    shapes.case((1, 32, 7, 10), (64, 16, 3, 2), 1, 1, groups=2, story="groups of a panel each"),
    shapes.case((1, 16, 6, 6), (16, 16, 3, 3), 2, 1, story="classes of pixels"),
    shapes.case((2, 64, 4, 6), (32, 64, 1, 1), 2, 0, story="zeros between the pixels of an input gradient"),
    shapes.case((1, 20, 5, 7), (20, 20, 3, 3), 1, 1, story="columns that end within a line: not streamed"),
]


@pytest.mark.parametrize("c", STREAMED, ids=[c.story for c in STREAMED])
def test_results_past_the_caches_are_the_same(c, monkeypatch) -> None:
    """With vectors as long as cache lines, whatever machine this is."""
    asked = []
    run = products.run

    def watched(function, tile, arguments, *rest):
        asked.extend(part.stream for part in arguments if isinstance(part, products.Cut))
        run(function, tile, arguments, *rest)

    with simd.using(simd.AVX512):
        for pass_ in ("forward", "input_grad"):
            operands = [checks.channels_last(a) for a in checks.operands(c, pass_, "float32")]
            kernel, conv = getattr(nhwc, pass_), checks.problem(c)
            kernel.cache_clear()
            want = kernel(*operands, conv)
            kernel.cache_clear()
            with monkeypatch.context() as patch:
                patch.setattr(products, "STREAM_BYTES", 0)
                patch.setattr(products, "run", watched)
                checks.assert_same_bits(kernel(*operands, conv), want, pass_)
            kernel.cache_clear()
    assert (1 in asked) == ("not streamed" not in c.story)


def test_zeros_between_pixels_come_from_the_loop_that_computes_these(monkeypatch) -> None:
    """Where every pixel has the same zeros behind it: otherwise each class of pixels has a loop."""
    loops = []
    run = products.run

    def watched(*arguments):
        loops.append(arguments)
        run(*arguments)

    monkeypatch.setattr(products, "run", watched)
    with simd.using(simd.AVX512):
        for size, want in (((4, 6), 1), ((5, 6), 4)):
            c = shapes.case((2, 64, *size), (40, 64, 1, 1), 2, 0)
            nhwc.input_grad.cache_clear()
            loops.clear()
            agrees([c], "float32", checks.channels_last)
            assert len(loops) == 1 + want  # the first is that of the forward pass


def test_columns_that_few_sums_need_are_read_where_they_lie(host, monkeypatch) -> None:
    """Where pixels of g lie at equal distances; the same bits as from packed columns."""
    steady = []
    cutting = sums.cutting

    def watched(*arguments):
        steady.append(cutting(*arguments).steady)
        return cutting(*arguments)

    last = checks.channels_last
    stores = {  # how g is stored: whether pixels lie at equal distances
        last: True,
        lambda g: last(np.pad(g, ((0, 0), (1, 4), (0, 0), (0, 0)), constant_values=np.nan))[:, 1:-4]: True,
        lambda g: last(np.pad(g, ((0, 0), (0, 0), (0, 0), (0, 1)), constant_values=np.nan))[..., :-1]: False,
        lambda g: last(np.pad(g, ((0, 0), (0, 0), (0, 1), (0, 0)), constant_values=np.nan))[:, :, :-1]: False,
    }
    wide = 12 * host.width // 4  # whole panels of two, three and four vectors
    column = shapes.case((1, 4, 50, 1), (wide, 4, 1, 1), 1, 0)  # its pixels always do
    cases = (
        shapes.case((2, 3, 7, 33), (wide, 3, 2, 3), 1, 1),  # rows of taps as channels: two taps
        shapes.case((2, 8, 9, 30), (2 * wide, 4, 2, 1), 1, 0, groups=2),
        shapes.case((3, 5, 1, 40), (wide + 3, 5, 1, 1), (1, 2), 0),  # a panel that is not whole
        shapes.case((3, 5, 4, 10), (5 * host.width // 4, 5, 1, 1), 1, 0),  # panels of different widths
        column,
    )
    monkeypatch.setattr(sums, "cutting", watched)
    for c in cases:
        conv, results = checks.problem(c), []
        x, g = checks.operands(c, "weight_grad", "float32")
        for uses in (sums.UNPACKED_USES, 0):
            monkeypatch.setattr(sums, "UNPACKED_USES", uses)
            for store, even in stores.items():
                nhwc.weight_grad.cache_clear()
                cutting.cache_clear()
                steady.clear()
                results.append(nhwc.weight_grad(last(x), store(g), conv))
                whole = c.out_channels % host.width == 0 or host.width == 4
                assert any(steady) == (uses > 0 and whole and (even or c is column)), c
        bound = checks.error_bound(c, "weight_grad", "nhwc", "float32")
        checks.assert_within(results[0], checks.truth(c, "weight_grad", "float32"), bound, f"{c}")
        for result in results[1:]:
            checks.assert_same_bits(result, results[0], f"{c}")


def test_sums_are_cut_alike_for_any_number_of_threads() -> None:
    """Parts, in whose order numbers are added, and chunks, at whose ends padding is left out."""
    for taps, columns, apart in ((9, 64, 4096), (1, 64, 4096), (1, 512, 4096)):
        cuts = []
        for threads in (1, 2, 16):
            tile, wanted = tiles.columns_tile("float32"), sums.PIECES * threads
            cuts.append(sums.cutting(tile, 5000, taps, 2048, 2048, columns, 1, 0, columns, apart, 0, False, wanted))
        assert len({(cut.parts, cut.part_pixels, cut.chunk) for cut in cuts}) == 1
        assert len({(cut.band, cut.block) for cut in cuts}) > 1


WEIGHT_GRADS = (
    ((16, 64, 28, 28), (64, 64, 3, 3), 1),
    ((8, 96, 28, 28), (32, 96, 1, 1), 1),  # sums of parts
    ((8, 512, 14, 14), (256, 512, 1, 1), 1),  # few pixels, and sums that lie where they belong
    ((8, 48, 28, 28), (48, 1, 5, 5), 48),
    ((1, 32, 20, 20), (32, 1, 3, 3), 32),
)


@pytest.mark.parametrize(("x", "w", "groups"), WEIGHT_GRADS)
def test_the_workspace_of_a_weight_gradient_is_near_what_the_cost_says(x, w, groups) -> None:
    conv = Conv.from_shapes(x, w, padding=w[-1] // 2, groups=groups)
    operands = [relayout.empty_last(shape, np.dtype("float32")) for shape in (conv.x_shape, conv.y_shape)]
    workspace.release()
    nhwc.weight_grad(*operands, conv)
    said = next(cost for k, cost in plan("conv", "weight_grad", conv).candidates if k.algorithm == "nhwc").workspace
    assert said / 1.5 <= workspace.kept() <= 1.5 * said


def test_small_blocks() -> None:
    """Depth blocks, chunks, parts and panels so small that each problem has many, ragged at the ends."""
    checks.in_pieces("nhwc", "float32", cases=WIDE)


def test_results_are_channels_last_whatever_the_operands_are() -> None:
    c = WIDE[0]
    x, w, g = c.arrays("float32")
    conv = checks.problem(c)
    assert relayout.rows_of_channels(nhwc.forward(x, w, conv))
    assert relayout.rows_of_channels(nhwc.input_grad(w, g, conv))
    assert nhwc.weight_grad(x, g, conv).flags.c_contiguous


def test_results_go_into_any_storage() -> None:
    for c in (WIDE[0], *(c for c in WIDE if c.groups == c.in_channels)):
        conv = checks.problem(c)
        for pass_ in checks.PASSES:
            operands = checks.operands(c, pass_, "float32")
            want = getattr(nhwc, pass_)(*operands, conv)
            for store in checks.LAYOUTS.values():
                if store is checks.read_only:
                    continue
                out = store(np.full(want.shape, np.nan, "float32"))
                assert getattr(nhwc, pass_)(*operands, conv, out=out) is out
                checks.assert_same_bits(out, want, f"{pass_} into {store.__name__}, {c}")


def test_the_sums_do_not_depend_on_what_a_row_holds_beside_its_group() -> None:
    """Tiles of the weight gradient that read a neighbour's channels must drop them, NaN or not."""
    conv = Conv.from_shapes((2, 12, 5, 4), (12, 4, 3, 3), padding=1, groups=3)
    rng = np.random.default_rng(3)
    x, g = rng.standard_normal(conv.x_shape).astype("float32"), rng.standard_normal(conv.y_shape).astype("float32")
    want = nhwc.weight_grad(x, g, conv)
    x[:, 4:8] = np.nan
    got = nhwc.weight_grad(x, g, conv)
    np.testing.assert_array_equal(got[:4], want[:4])
    np.testing.assert_array_equal(got[8:], want[8:])
    assert np.isnan(got[4:8]).all()


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 40, 9, 21), (3, 17, 130), (2, 64, 64), (1, 8, 3, 4, 5), (2, 5, 0)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_storage_orders_are_exchanged(shape, dtype) -> None:
    a = np.random.default_rng(1).standard_normal(shape).astype(dtype)
    for source in (a, checks.channels_last(a), checks.every_other(a)):
        for target in (np.full(shape, np.nan, dtype), checks.channels_last(np.full(shape, np.nan, dtype))):
            relayout.assign(target, source)
            np.testing.assert_array_equal(target, a)
    np.testing.assert_array_equal(relayout.as_last(a, "test"), a)
    assert relayout.rows_of_channels(relayout.as_last(a, "test"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_storage_orders_are_exchanged_in_vectors_of_other_machines(host, dtype) -> None:
    """Squares of vectors, and what lies beside the last of them, along both sides and in spans of rows."""
    n = host.lanes(dtype)
    for channels, positions in ((1, 1), (n - 1, n + 1), (n, n), (2 * n + 1, 3 * n - 1), (3, 130), (130, 3)):
        a = np.random.default_rng(1).standard_normal((2, channels, positions)).astype(dtype)
        for source in (a, checks.channels_last(a)):
            for target in (np.full(a.shape, np.nan, dtype), checks.channels_last(np.full(a.shape, np.nan, dtype))):
                relayout.assign(target, source)
                np.testing.assert_array_equal(target, a)
    for channels in (1, n + 1):
        a = np.random.default_rng(2).standard_normal((2, channels, 4, 5)).astype(dtype)
        rows = np.pad(a, ((0, 0), (0, 0), (0, 0), (2, 3)))
        for store in (np.asarray, checks.channels_last, checks.every_other):
            np.testing.assert_array_equal(relayout.padded_rows(store(a), 2, 10, 8, "test"), rows)
        axis, windows = Axis3(5, 3, 5, 1, 1, 1), np.moveaxis(rows, 1, -1)  # the first hangs over, and the last
        edges, low, count = relayout.edge_windows(checks.channels_last(a), axis, "test")
        assert (low, count) == (1, 2)
        for i, begin in enumerate((1, 5)):
            want = windows[..., begin : begin + 3, :].reshape(2, 4, 3 * channels)
            np.testing.assert_array_equal(edges[:, :, i], want)


def test_rows_with_their_padding() -> None:
    a = np.random.default_rng(2).standard_normal((2, 3, 4, 5)).astype("float32")
    for store in (np.asarray, checks.channels_last, checks.every_other):
        for low, length in ((2, 9), (0, 5), (1, 4), (0, 3)):
            want = np.pad(a, ((0, 0), (0, 0), (0, 0), (low, 9)))[..., :length]
            np.testing.assert_array_equal(relayout.padded_rows(store(a), low, length, 8, "test"), want)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 2, 7), (1, 2, 3, 2, 4), (4, 1, 20, 3)])
def test_windows_that_hang_over_an_end_of_their_row(shape) -> None:
    a = checks.channels_last(np.random.default_rng(4).standard_normal(shape).astype("float32"))
    size = shape[-1]
    rows = np.moveaxis(np.pad(a, (*((0, 0),) * (a.ndim - 1), (9, 9))), 1, -1)  # (N, *rows, 9 + size + 9, C)
    for taps, stride, low in ((3, 1, 1), (3, 2, 1), (2, 3, 1), (size + 2, 1, 2), (5, 2, 4), (2, 1, 0)):
        out = (low + size + 2 - taps) // stride + 1
        begins = [q * stride - low for q in range(out)]
        hanging = [j for j in begins if j < 0 or j + taps > size]
        last = Axis3(size, taps, out, stride, low, 1)
        edges, first, count = relayout.edge_windows(a, last, "test")
        assert (first, count) == (sum(j < 0 for j in begins), len(hanging))
        for i, j in enumerate(hanging):
            want = rows[..., 9 + j : 9 + j + taps, :].reshape(shape[0], -1, taps * shape[1])
            np.testing.assert_array_equal(edges[:, :, i], want)
