"""``kernels.cpu.col2im``: the input gradient by products of g's pixels, spread over their windows.

That `nhwc`, which chooses it, keeps all promises of a convolution kernel: tests/kernels/test_conv_kernels.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from minidl.kernels import jit, threads
from minidl.kernels.geometry import Conv
from tests.checks import conv as checks
from tests.checks import shapes

if not jit.HAVE_NUMBA:
    pytest.skip("needs Numba, which is not installed", allow_module_level=True)

from minidl.kernels.cpu import col2im, col2im_tiles, relayout

CASES = [
    *(c for c in shapes.ALL + shapes.WIDE if c.groups == 1 and c.dilation[-1] == 1 and len(c.size) <= 2),
    shapes.case((2, 3, 23, 21), (20, 3, 11, 11), 4, 2, story="a run that panels cut, and several bands"),
    shapes.case((1, 1, 40, 9), (6, 1, 3, 2), 1, 0, story="one channel: sixteen layers"),
    shapes.case((1, 20, 17, 6), (9, 20, 2, 3), (5, 1), 1, story="rows that nothing reads, between and behind"),
    shapes.case((1, 5, 30), (3, 5, 4), 3, ((2, 5),), story="1-d"),
]


def computed(c: shapes.Case, w: np.ndarray, g: np.ndarray, store=checks.channels_last) -> np.ndarray:
    """dx, written into memory that is NaN before."""
    dx = store(np.full(c.x_shape, np.nan, g.dtype))
    col2im.spread(w, relayout.as_last(g, "g"), dx, checks.problem(c))
    return dx


def agrees(dtype: str, store=checks.channels_last) -> None:
    for c in CASES:
        if 0 in c.x_shape + c.y_shape:
            continue
        bound = checks.error_bound(c, "input_grad", "nhwc", dtype)
        got = computed(c, *(store(a) for a in checks.operands(c, "input_grad", dtype)))
        checks.assert_within(got, checks.truth(c, "input_grad", dtype), bound, f"{dtype}, {c}")


@pytest.mark.parametrize("store", [np.asarray, checks.channels_last, checks.every_other])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_awkward_problems(dtype, store) -> None:
    agrees(dtype, store)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tiles_of_other_machines(host, dtype) -> None:
    agrees(dtype)


def test_many_bands_and_chunks(monkeypatch) -> None:
    for name, value in (("CHUNK_PIXELS", 5), ("PIECES", 7), ("HALOS", 1)):
        monkeypatch.setattr(col2im_tiles, name, value)
    col2im_tiles.tiling.cache_clear()
    try:
        assert any(col2im_tiles.tiling(checks.problem(c)).bands > 2 for c in CASES)
        agrees("float64")
    finally:
        col2im_tiles.tiling.cache_clear()


def test_a_pixel_reaches_its_window_and_no_other_pixel() -> None:
    """A sum that is NaN shares vectors with others, which stay what they were."""
    for c in CASES:
        if 0 in c.x_shape + c.y_shape:
            continue
        w, g = checks.operands(c, "input_grad", "float32")
        clean = computed(c, w, g)
        at = tuple(n // 2 for n in g.shape)
        g[at] = np.nan
        got = computed(c, w, g)
        mark = np.zeros_like(g, "float64")
        mark[at] = 1
        reached = checks.brute_force(c, "input_grad", np.ones_like(w, "float64"), mark) > 0
        assert np.isnan(got[reached]).all(), str(c)
        np.testing.assert_array_equal(got[~reached], clean[~reached], str(c))


def test_pixels_of_dx_with_gaps_between_them() -> None:
    c = CASES[0]
    operands = checks.operands(c, "input_grad", "float32")
    wide = np.full((c.batch, *c.size, 2 * c.in_channels), np.nan, "float32")
    dx = np.moveaxis(wide[..., : c.in_channels], -1, 1)
    col2im.spread(operands[0], relayout.as_last(operands[1], "g"), dx, checks.problem(c))
    checks.assert_same_bits(dx, computed(c, *operands), "dx in every second half of a pixel")
    assert np.isnan(wide[..., c.in_channels :]).all()


def test_the_same_bits_whatever_the_number_of_threads() -> None:
    conv = Conv.from_shapes((1, 3, 96, 40), (16, 3, 5, 5), stride=2, padding=2)
    assert col2im_tiles.tiling(conv).bands > 2
    rng = np.random.default_rng(5)
    w, g = (rng.standard_normal(shape).astype("float32") for shape in (conv.w_shape, conv.y_shape))
    before, results = threads.get_num_threads(), []
    try:
        for count in (1, 2):
            threads.set_num_threads(min(count, threads.available_cpus()))
            results.append(checks.channels_last(np.full(conv.x_shape, np.nan, "float32")))
            col2im.spread(w, relayout.as_last(g, "g"), results[-1], conv)
    finally:
        threads.set_num_threads(before)
    checks.assert_same_bits(*results, "one thread and two")


def test_chosen_for_few_channels_and_where_g_would_be_padded() -> None:
    """With 16 lanes; problems of benchmarks/shapes.py."""
    for x, w, stride, padding, chosen in (
        ((32, 3, 224, 224), (64, 3, 11, 11), 4, 2, True),
        ((4, 3, 224, 224), (64, 3, 3, 3), 1, 1, True),
        ((64, 6, 14, 14), (16, 6, 5, 5), 1, 0, True),
        ((4, 128, 16, 16), (128, 128, 7, 7), 1, 0, True),
        ((16, 64, 56, 56), (192, 64, 3, 3), 1, 1, False),
        ((8, 128, 56, 56), (128, 128, 3, 3), 2, 1, False),
        ((8, 256, 56, 56), (512, 256, 1, 1), 2, 0, False),
        ((32, 16, 32, 32), (16, 16, 3, 3), 1, 1, False),
    ):
        assert col2im_tiles.pays(Conv.from_shapes(x, w, stride=stride, padding=padding), 16) == chosen
    for refused in (
        Conv.from_shapes((4, 6, 30, 30), (64, 3, 3, 3), groups=2),
        Conv.from_shapes((4, 3, 30, 30), (64, 3, 3, 3), dilation=(1, 2)),
        Conv.from_shapes((4, 3, 30, 30, 30), (64, 3, 3, 3, 3)),
        Conv.from_shapes((1, 1, 40_000), (64, 1, 3)),
        Conv.from_shapes((0, 3, 30, 30), (64, 3, 3, 3)),
    ):
        assert not col2im_tiles.pays(refused, 16)
