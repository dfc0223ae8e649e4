"""``kernels.cpu.depthwise``: what may change speed only, register tiles, and those of every machine in float64.

That it computes depthwise convolution: test_nhwc.py (every machine's tiles in float32), and
tests/kernels/test_conv_kernels.py.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from minidl.kernels import jit
from minidl.kernels.geometry import Conv

if not jit.HAVE_NUMBA:
    pytest.skip("needs Numba, which is not installed", allow_module_level=True)

from minidl.kernels.cpu import depthwise, depthwise_long, depthwise_tiles, nhwc, simd
from minidl.kernels.cpu.relayout import empty_last
from tests.checks import conv as checks
from tests.checks.conv import assert_same_bits
from tests.checks.shapes import WIDE

MACHINES = {"AVX-512": simd.AVX512, "AVX2": simd.AVX2, "NEON": simd.NEON, "portable": simd.PORTABLE}


def drawn(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """From the beginning of a cache line on, as results of layers are."""
    a = empty_last(shape, np.dtype("float32"))
    a[...] = np.random.default_rng(seed).standard_normal(shape)
    return a


def passes(conv: Conv) -> dict[str, np.ndarray]:
    """All passes of a problem, computed anew."""
    x, w, g = drawn(conv.x_shape, 1), drawn(conv.w_shape, 2), drawn(conv.y_shape, 3)
    for name in ("forward", "input_grad", "weight_grad"):
        getattr(nhwc, name).cache_clear()
    return {
        "forward": nhwc.forward(x, w, conv),
        "input_grad": nhwc.input_grad(w, g, conv),
        "weight_grad": nhwc.weight_grad(x, g, conv),
    }


@pytest.mark.parametrize(("kernel", "stride"), [((3, 3), 1), ((2, 5), 2)])
def test_pixels_shared_by_windows_change_no_bit(kernel, stride, monkeypatch) -> None:
    conv = Conv.from_shapes((2, 32, 7, 23), (32, 1, *kernel), stride=stride, padding=(1, kernel[1] // 2), groups=32)
    assert depthwise_tiles.filter_tile("float32", 32, 1, kernel[1], stride).taps == kernel[1]
    want = passes(conv)
    monkeypatch.setattr(depthwise_tiles, "SHARED_TAPS", ())
    for name, got in passes(conv).items():
        assert_same_bits(got, want[name], name)


@pytest.mark.parametrize(("taps", "low"), [(3, 0), (3, 1), (5, 2), (7, 4)])
def test_gradients_of_strided_rows_as_a_whole_change_no_bit(host, taps, low, monkeypatch) -> None:
    """Against each residue of their pixels by itself; rows shorter than a register tile, and of odd lengths, too."""
    for width in (taps, 9, 16, 29):
        conv = Conv.from_shapes((2, 40, 5, width), (40, 1, 3, taps), stride=2, padding=(1, low), groups=40)
        assert nhwc._upsampling(conv, "float32") is not None
        w, g = drawn(conv.w_shape, 2), drawn(conv.y_shape, 3)
        nhwc.input_grad.cache_clear()
        got = nhwc.input_grad(w, g, conv)
        with monkeypatch.context() as patch:
            patch.setattr(nhwc, "_upsampling", lambda conv, dtype: None)
            nhwc.input_grad.cache_clear()
            assert_same_bits(got, nhwc.input_grad(w, g, conv), f"{conv}")


@pytest.mark.parametrize("rows_bytes", [depthwise_long.ROWS_BYTES, 0])
def test_rows_of_many_taps_copied_change_no_bit(rows_bytes, monkeypatch) -> None:
    """In whatever parts; images narrower than the kernel, and than a register tile, too."""
    monkeypatch.setattr(depthwise_long, "ROWS_BYTES", rows_bytes)
    for shape, kernel in [((2, 40, 9, 33), (3, 11)), ((1, 20, 7, 5), (4, 9)), ((1, 20, 6, 7, 19), (2, 3, 8))]:
        channels = shape[1]
        conv = Conv.from_shapes(shape, (channels, 1, *kernel), padding=(1,) * (len(kernel) - 1) + (6,), groups=channels)
        with monkeypatch.context() as patch:
            assert depthwise_tiles.filter_tile("float32", channels, 1, kernel[-1]).long
            got = passes(conv)
            patch.setattr(depthwise_tiles, "LONG_TAPS", 100)
            want = passes(conv)
        for name in got:
            assert_same_bits(got[name], want[name], name)


@pytest.mark.parametrize("stride", [1, 2])
def test_results_past_the_caches_are_the_same(stride, monkeypatch) -> None:
    """Every one of them is written, in each residue class of the input gradient too."""
    conv = Conv.from_shapes((2, 32, 9, 21), (32, 1, 3, 3), stride=stride, padding=1, groups=32)
    want = passes(conv)
    streams, run = [], depthwise.run

    def watched(function, constant, arguments, *rest):
        streams.extend(part.stream for part in arguments if isinstance(part, depthwise._Job))
        run(function, constant, arguments, *rest)

    monkeypatch.setattr(depthwise, "STREAM_BYTES", 0)
    monkeypatch.setattr(depthwise, "run", watched)
    for name, got in passes(conv).items():
        assert_same_bits(got, want[name], name)
    assert streams == [1, 1]


def test_results_that_share_a_cache_line_do_not_go_past_the_caches(monkeypatch) -> None:
    conv = Conv.from_shapes((1, 24, 5, 9), (24, 1, 3, 3), padding=1, groups=24)
    want = passes(conv)
    monkeypatch.setattr(depthwise, "STREAM_BYTES", 0)
    for name, got in passes(conv).items():
        assert_same_bits(got, want[name], name)


def test_tiles_of_other_machines_in_double_precision(host) -> None:
    """Channels that fill no vector, shared pixels, rows of many taps, groups within a vector."""
    double = [c for c in WIDE if c.batch == 2 and c.groups > 2]
    assert len(double) == 5 and all(nhwc.by_channels(checks.problem(c), "float64") for c in double)
    for c in double:
        for pass_ in checks.PASSES:
            operands = [checks.channels_last(a) for a in checks.operands(c, pass_, "float64")]
            got = getattr(nhwc, pass_)(*operands, checks.problem(c))
            bound = checks.error_bound(c, pass_, "nhwc", "float64")
            checks.assert_within(got, checks.truth(c, pass_, "float64"), bound, f"{pass_}, {c}")


def test_tiles_fit_the_registers() -> None:
    for host in MACHINES.values():
        for channels in (1, 2, 3, 7, 40, 96):
            for taps in (0, 3, 5, 7, 31):
                tile = depthwise_tiles.filter_tile("float64", channels, 1, taps, 1, host)
                assert tile.width <= channels and tile.lanes * 8 <= host.width
                assert tile.rows * tile.vectors + max(1, tile.taps) * tile.vectors + 1 <= host.registers
                gradient = depthwise_tiles.gradient_tile("float32", channels, 1, taps, 2, 1, host)
                if gradient is not None:  # its rows begin with even pixels
                    assert gradient.rows % 2 == 0 < gradient.rows
                    assert (gradient.rows + taps) * gradient.vectors + 1 <= host.registers
        for kernel, stride in product(((3, 3), (5, 5), (1, 9), (31, 31), (1, 1), (4, 2)), (0, 1, 2)):
            for group in (1, 2, 4):
                tile = depthwise_tiles.sum_tile("float32", 40, group, kernel, stride, host)
                assert tile.group == group and tile.lines * tile.taps == tile.rows
                assert tile.rows * group * tile.vectors + tile.vectors + 1 <= host.registers


@pytest.mark.parametrize("host", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_groups_that_fit_have_tiles(dtype, host) -> None:
    """With wide vectors groups of 16 lie within one, but their sums do not fit the registers."""
    for group in (1, 2, 3, 4, 8, 16, 32):
        for channels in (group, 5 * group, 64 * group):
            if depthwise_tiles.groups_fit(dtype, channels, group, host):
                depthwise_tiles.filter_tile(dtype, channels, group, 3, 1, host)
                tile = depthwise_tiles.sum_tile(dtype, channels, group, (3, 3), 1, host)
                assert tile.rows * group * tile.vectors + tile.vectors + 1 <= host.registers
