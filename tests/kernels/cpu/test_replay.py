"""Calls run again from a program give what the kernel itself gives, and what cannot be run again is not."""

from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("numba")

from minidl.kernels import threads, workspace
from minidl.kernels.cpu import nhwc, norm_last, norm_relu, pieces, relayout, replay, winograd
from minidl.kernels.cpu.places import address
from minidl.kernels.cpu.simd import Lanes, load, store
from minidl.kernels.geometry import Conv
from minidl.kernels.jit import native
from minidl.kernels.spec import conv as definition
from tests.checks import replay as replay_checks

CASES = {
    "several taps": Conv.from_shapes((2, 40, 9, 7), (24, 40, 3, 2), stride=(1, 2), padding=(1, 0)),
    "few channels": Conv.from_shapes((2, 3, 9, 8), (17, 3, 3, 3), stride=2, padding=1),
    "one channel, a row": Conv.from_shapes((1, 1, 20), (4, 1, 5)),
    "pointwise": Conv.from_shapes((3, 10, 5, 4), (7, 10, 1, 1)),
    "groups": Conv.from_shapes((2, 12, 6, 5), (18, 12 // 3, 3, 3), padding=2, dilation=2, groups=3),
    "depthwise": Conv.from_shapes((2, 37, 9, 8), (37, 1, 3, 3), stride=2, padding=1, groups=37),
    "pairs": Conv.from_shapes((1, 16, 5, 6), (16, 2, 3, 3), padding=1, groups=8),
    "a volume": Conv.from_shapes((1, 4, 4, 5, 3), (6, 4, 2, 3, 1), padding=(1, 0, 0)),
}
PASSES = {
    "forward": lambda conv: (conv.x_shape, conv.w_shape),
    "input_grad": lambda conv: (conv.w_shape, conv.y_shape),
    "weight_grad": lambda conv: (conv.x_shape, conv.y_shape),
}


@pytest.fixture(autouse=True)
def nothing_known():
    for name in PASSES:
        getattr(nhwc, name).cache_clear()
    norm_last._scale_shift.cache_clear()


def channels_last(a: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)


def drawn(rng: np.random.Generator, shape: tuple[int, ...], last: bool, dtype: str) -> np.ndarray:
    a = rng.standard_normal(shape).astype(dtype)
    return channels_last(a) if last else a


def spoil_scratch() -> None:
    """Whatever the next call finds in borrowed memory, it has not been put there for it."""
    for kept in workspace._kept.blocks.values():
        kept.memory[:] = 255  # NaN


@pytest.mark.parametrize("last", [True, False], ids=["last", "first"])
@pytest.mark.parametrize("pass_", PASSES)
@pytest.mark.parametrize("name", CASES)
def test_the_second_call_gives_what_the_kernel_gives(name: str, pass_: str, last: bool) -> None:
    conv, kernel = CASES[name], getattr(nhwc, pass_)
    dtype = "float64" if name == "groups" else "float32"
    rng, kept = np.random.default_rng(1), []
    for _ in range(3):
        a, b = (drawn(rng, s, last and s != conv.w_shape, dtype) for s in PASSES[pass_](conv))
        spoil_scratch()
        y = kernel(a, b, conv)
        expected = kernel.__wrapped__(a, b, conv)
        assert y.shape == expected.shape and y.strides == expected.strides and y.dtype == expected.dtype
        np.testing.assert_array_equal(y, expected)
        kept.append((y, expected, a, b))  # so that the next arrays lie elsewhere
    assert all(np.array_equal(y, e) for y, e, _, _ in kept)


@pytest.mark.parametrize("name", CASES)
def test_calls_on_channels_last_arrays_are_known(name: str) -> None:
    """Otherwise each of them takes the time of a first one."""
    conv, rng = CASES[name], np.random.default_rng(7)
    nhwc.forward(drawn(rng, conv.x_shape, True, "float32"), drawn(rng, conv.w_shape, False, "float32"), conv)
    assert all(nhwc.forward.known.values()) and len(nhwc.forward.known) == 1


LAYOUTS = {
    "reversed rows": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "reversed channels": lambda a: np.ascontiguousarray(a[:, ::-1])[:, ::-1],
    "reversed, channels last": lambda a: channels_last(a[..., ::-1])[..., ::-1],
    "every other": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "Fortran": np.asfortranarray,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("pass_", PASSES)
@pytest.mark.parametrize("name", ["several taps", "pointwise", "depthwise"])
def test_operands_that_do_not_begin_where_their_memory_does(name: str, pass_: str, layout: str) -> None:
    """Of negative strides the first element is not the lowest address."""
    conv, kernel, rng = CASES[name], getattr(nhwc, pass_), np.random.default_rng(4)
    for first, second in ((layout, "Fortran"), ("Fortran", layout), (layout, layout)):
        for _ in range(2):
            a, b = (rng.standard_normal(s).astype("float32") for s in PASSES[pass_](conv))
            y = kernel(LAYOUTS[first](a), LAYOUTS[second](b), conv)
            exact = getattr(definition, pass_)(a.astype("f8"), b.astype("f8"), conv)
            np.testing.assert_allclose(y, exact, rtol=0, atol=1e-5 * max(1.0, float(np.abs(exact).max())))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("pass_", PASSES)
def test_winograd_with_new_weights_each_time(pass_: str, groups: int) -> None:
    conv = Conv.from_shapes((2, 16, 9, 7), (20, 16 // groups, 3, 3), padding=1, groups=groups)
    rng, kernel = np.random.default_rng(6), getattr(winograd, pass_)
    exact = getattr(definition, pass_)
    for _ in range(3):
        a, b = (drawn(rng, s, s != conv.w_shape, "float32") for s in PASSES[pass_](conv))
        spoil_scratch()
        np.testing.assert_allclose(kernel(a, b, conv), exact(a.astype("f8"), b.astype("f8"), conv), rtol=0, atol=1e-3)
    assert groups > 1 or (winograd.weight_grad if pass_ == "weight_grad" else winograd._correlate_group).known


def test_a_known_call_does_not_run_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    conv, rng = CASES["several taps"], np.random.default_rng(2)
    x, w = drawn(rng, conv.x_shape, True, "float32"), drawn(rng, conv.w_shape, False, "float32")
    first = nhwc.forward(x, w, conv)
    monkeypatch.setattr(nhwc, "_windows", None)  # would raise
    np.testing.assert_array_equal(nhwc.forward(x, w, conv), first)
    with pytest.raises(TypeError):
        nhwc.forward(np.ascontiguousarray(x), w, conv)  # other strides


def test_a_loop_that_is_told_more_than_a_program_has_room_for_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    conv, rng = CASES["several taps"], np.random.default_rng(2)
    x, w = drawn(rng, conv.x_shape, True, "float32"), drawn(rng, conv.w_shape, False, "float32")
    monkeypatch.setattr(replay, "MOST_NUMBERS", 40)
    first = nhwc.forward(x, w, conv)
    assert list(nhwc.forward.known.values()) == [None]
    np.testing.assert_array_equal(nhwc.forward(x, w, conv), first)


@pytest.mark.parametrize("count", [1, 2])
def test_the_number_of_threads_does_not_matter(count: int) -> None:
    before = threads.get_num_threads()
    if count > before:
        pytest.skip("one processor")
    conv = Conv.from_shapes((4, 32, 30, 30), (32, 32, 3, 3), padding=1)  # enough work for two threads
    rng = np.random.default_rng(3)
    x, w = drawn(rng, conv.x_shape, True, "float32"), drawn(rng, conv.w_shape, False, "float32")
    expected = nhwc.forward.__wrapped__(x, w, conv)
    try:
        threads.set_num_threads(count)
        for _ in range(2):
            np.testing.assert_array_equal(nhwc.forward(x, w, conv), expected)
    finally:
        threads.set_num_threads(before)


# what a kernel may not do, and what happens then ----------------------------------------------------


class Copying(NamedTuple):
    source: pieces.Address
    target: pieces.Address
    count: int


@native
def _copy(lanes: Any, arguments: int, piece: int) -> None:
    c = pieces.read(Copying, arguments)
    for i in range(0, c.count * lanes.itemsize, lanes.itemsize):
        store(c.target + i, load(lanes, c.source + i))


def copied(source: np.ndarray, target: np.ndarray) -> None:
    pieces.run(_copy, Lanes("float32", 1), Copying(address(source), address(target), source.size), 1, 0.0)


def through_a_temporary(a: np.ndarray, b: np.ndarray, problem: Any, out: Any = None) -> np.ndarray:
    y = np.empty_like(a)
    copied(a + b, y)
    return y


def partly_in_numpy(a: np.ndarray, b: np.ndarray, problem: Any, out: Any = None) -> np.ndarray:
    y = np.empty_like(a)
    copied(a, y)
    pieces.outside_of_loops()
    y += b
    return y


def through_scratch(a: np.ndarray, b: np.ndarray, problem: Any, out: Any = None) -> np.ndarray:
    y, scratch = np.empty_like(a), workspace.borrow("copies", a.shape, a.dtype)
    copied(b, scratch)
    copied(scratch, y)
    return y


@pytest.mark.parametrize("kernel", [through_a_temporary, partly_in_numpy, through_scratch])
def test_only_what_is_known_is_run_again(kernel: Any) -> None:
    calls = []

    def counted(a: Any, b: Any, problem: Any, out: Any = None) -> Any:
        calls.append(1)
        return kernel(a, b, problem, out)

    again = replay.replayed(counted)
    rng = np.random.default_rng(5)
    for _ in range(3):
        a, b = rng.standard_normal((2, 50)).astype("float32")
        np.testing.assert_array_equal(again(a, b, None), b if kernel is through_scratch else a + b)
    assert len(calls) == (1 if kernel is through_scratch else 3)


def test_a_new_array_has_the_strides_that_it_should() -> None:
    a, place = relayout.empty_like_strides((2, 3, 4), (48, 4, 12), np.dtype("float32"))
    assert a.shape == (2, 3, 4) and a.strides == (48, 4, 12) and address(a) == place and place % 64 == 0
    assert a.flags.writeable


@pytest.mark.parametrize("check", replay_checks.CHECKS, ids=lambda check: check.__name__)
def test_what_a_call_depends_on(check: Any) -> None:
    check()


@pytest.mark.parametrize("ceiling", [np.inf, 6.0])
@pytest.mark.parametrize("shifted", [True, False])
@pytest.mark.parametrize("added", [True, False])
@pytest.mark.parametrize("channels", [70, 64, 5, 1])
def test_a_scale_and_a_shift_again_on_other_arrays(channels: int, added: bool, shifted: bool, ceiling: float) -> None:
    """Operands that are None, and, of few channels, some that go through a copy and are not run again."""
    rng = np.random.default_rng(channels)
    kernel = norm_last._scale_shift
    for round_ in range(3):
        x, z = (channels_last(rng.standard_normal((2, channels, 5, 3)).astype("float32")) for _ in range(2))
        scale, shift = rng.standard_normal((2, channels)).astype("float32") * 9
        expected = x * scale[:, None, None] + (shift[:, None, None] if shifted else 0) + (z if added else 0)
        got = norm_relu.scale_shift_relu(x, scale, shift if shifted else None, z if added else None, ceiling)
        np.testing.assert_allclose(got, expected.clip(0, ceiling), rtol=1e-5, atol=1e-5)
        assert got.strides == relayout.empty_last(x.shape, x.dtype).strides or channels == 1
        if round_ == 0 and channels >= 64:
            assert any(program is not None for program in kernel.known.values())


def test_a_scale_of_another_dtype_is_converted_each_time() -> None:
    x = channels_last(np.random.default_rng(0).standard_normal((2, 64, 3, 3)).astype("float32"))
    for scale in (np.full(64, 2.0), np.full(64, 3.0), np.full(64, 4.0, "float32"), np.full((64, 2), 5.0)[:, 0]):
        got = norm_relu.scale_shift_relu(x, scale, None, None, np.inf)
        np.testing.assert_array_equal(got, np.maximum(x * np.float32(scale[0]), 0))
