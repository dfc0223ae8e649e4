"""``kernels.cpu.direct``: agreement in tiles of any size, in vectors of every machine, layouts, and bits that no number
of threads changes."""

import numpy as np
import pytest

from minidl.kernels import jit, layout, threads
from minidl.kernels.cpu import direct_tiles
from minidl.kernels.geometry import Axis, Conv
from tests.kernels import convolution_cases as cases

if not jit.HAVE_NUMBA:
    pytest.skip("needs Numba, which is not installed", allow_module_level=True)

from minidl.kernels.cpu import direct

SIZES = {
    "as they are": (2048, 8, 16),
    "small tiles": (30, 3, 1),
    "single positions": (1, 1, 1),
    "filters together": (2048, 8, 1),
}


@pytest.fixture(params=SIZES)
def tiles(request, monkeypatch):
    """Tiles so small that small problems have many, ragged at the ends; or so few that all filters share their copies
    of x, as in large problems."""
    for name, value in zip(("TILE", "FILTERS", "ITEMS"), SIZES[request.param]):
        monkeypatch.setattr(direct_tiles, name, value)
    caches = direct_tiles.tiling, direct.forward, direct.input_grad, direct.weight_grad
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.mark.parametrize("name", cases.CASES)
def test_agrees_with_the_definition_whatever_the_tiles(name, tiles) -> None:
    conv = cases.CASES[name]
    x, w, g = cases.arrays(conv)
    want = cases.by_definition(conv, x, w, g)
    for store in (np.asarray, cases.channels_last, cases.gappy):
        for pass_, operands in cases.operands(store(x), w, store(g)).items():
            before = [a.copy() for a in operands]
            out = store(np.full(want[pass_].shape, np.nan))
            assert getattr(direct, pass_)(*operands, conv, out=out) is out
            cases.close(out, want[pass_], (pass_, store))
            cases.close(getattr(direct, pass_)(*operands, conv), want[pass_], (pass_, store))
            for a, b in zip(operands, before):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", cases.CASES)
def test_float32(name) -> None:
    conv = cases.CASES[name]
    x, w, g = cases.arrays(conv, "float32")
    exact = cases.by_definition(conv, *(a.astype("float64") for a in (x, w, g)))
    for pass_, operands in cases.operands(x, w, g).items():
        got = getattr(direct, pass_)(*operands, conv)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, exact[pass_], rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_vectors_of_other_machines(host, dtype) -> None:
    """One, two and four filters at a time, rows that end within a vector, buffers of every storage."""
    problems = [cases.CASES[name] for name in ("strides, pads and dilations differ", "three axes", "many channels")]
    problems += [
        Conv.from_shapes((1, 1, 1, 1), (1, 1, 1, 1)),
        Conv.from_shapes((2, 5, 9, 33), (7, 5, 3, 5), (1, 2), (1, 2)),
        Conv.from_shapes((2, 3, 67), (3, 3, 13), 1, 6),
    ]
    for conv in problems:
        x, w, g = cases.arrays(conv, dtype)
        exact = cases.by_definition(conv, *(a.astype("float64") for a in (x, w, g)))
        for store in (np.asarray, cases.channels_last, cases.gappy):
            for pass_, operands in cases.operands(store(x), w, store(g)).items():
                out = store(np.full(exact[pass_].shape, np.nan, dtype))
                getattr(direct, pass_)(*operands, conv, out=out)
                tolerance = 2e-5 if dtype == "float32" else 1e-12
                np.testing.assert_allclose(out, exact[pass_], tolerance, tolerance * 10, err_msg=f"{conv}, {pass_}")


def test_larger_than_a_tile() -> None:
    """Several tiles along both axes at the real tile size, and more filters and channels than a block."""
    conv = Conv.from_shapes((2, 5, 70, 67), (11, 5, 3, 2), (1, 2), ((1, 1), (0, 1)))
    t = direct_tiles.tiling(direct_tiles.geometry(conv), 2, 1, 11)
    assert t.rows < conv.out[0] and t.filters < 11
    x, w, g = cases.arrays(conv)
    want = cases.by_definition(conv, x, w, g)
    for pass_, operands in cases.operands(x, w, g).items():
        cases.close(getattr(direct, pass_)(*operands, conv), want[pass_], pass_)


@pytest.mark.skipif(threads.available_cpus() < 2, reason="needs two CPUs")
@pytest.mark.parametrize("name", ["strides, pads and dilations differ", "depthwise", "many channels", "three axes"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_bits_for_any_number_of_threads(name, dtype) -> None:
    conv = cases.CASES[name]
    x, w, g = cases.arrays(conv, dtype)
    before = threads.get_num_threads()
    results = []
    try:
        for n in (1, 2):
            threads.set_num_threads(n)
            results.append({p: getattr(direct, p)(*o, conv) for p, o in cases.operands(x, w, g).items()})
    finally:
        threads.set_num_threads(before)
    for pass_ in results[0]:
        assert results[0][pass_].tobytes() == results[1][pass_].tobytes(), pass_


def test_tiles_do_not_depend_on_threads() -> None:
    conv = cases.CASES["many channels"]
    before = threads.get_num_threads()
    found = set()
    try:
        for n in {1, before}:
            threads.set_num_threads(n)
            direct_tiles.tiling.cache_clear()
            found.add(direct_tiles.tiling(direct_tiles.geometry(conv), 3, 1, 19))
    finally:
        threads.set_num_threads(before)
    assert len(found) == 1


@pytest.mark.parametrize("name", cases.EMPTY)
def test_empty(name) -> None:
    conv = cases.EMPTY[name]
    x, w, g = cases.arrays(conv)
    shapes = {"forward": conv.y_shape, "input_grad": conv.x_shape, "weight_grad": conv.w_shape}
    for pass_, operands in cases.operands(x, w, g).items():
        got = getattr(direct, pass_)(*operands, conv, out=np.full(shapes[pass_], np.nan))
        assert got.shape == shapes[pass_] and not got.any()


def test_results_lie_as_inputs_do() -> None:
    conv = cases.CASES["many channels"]
    x, w, g = cases.arrays(conv)
    assert layout.channels_last(direct.forward(cases.channels_last(x), w, conv))
    assert layout.channels_last(direct.input_grad(w, cases.channels_last(g), conv))
    assert direct.forward(x, w, conv).flags.c_contiguous


@pytest.mark.parametrize("filters", [1, 3, 4, 6, 7, 8, 13])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tiles", ["filters together"], indirect=True)
def test_weight_gradients_of_any_number_of_filters(filters, dtype, tiles) -> None:
    """Bundles of four, two and one filter, of so many taps that some bundles of them are whole and some are not, and
    rows of pixels too short for a square of four."""
    rng = np.random.default_rng(8)
    for shape, taps in (((3, 2, 9, 11), (5, 5)), ((2, 1, 6, 3), (2, 3)), ((2, 3, 40), (13,))):
        conv = Conv.from_shapes(shape, (filters, shape[1], *taps), padding=tuple(t // 2 for t in taps))
        x, g = rng.standard_normal(conv.x_shape).astype(dtype), rng.standard_normal(conv.y_shape).astype(dtype)
        want = cases.spec.weight_grad(x.astype("float64"), g.astype("float64"), conv)
        for store in (np.asarray, cases.channels_last, cases.gappy):
            got = direct.weight_grad(store(x), store(g), conv)
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4 if dtype == "float32" else 1e-12)


def test_infinity_beside_a_window_does_not_touch_it() -> None:
    """Sums that straddle two rows are computed and dropped: nothing of them may leak."""
    conv = Conv.from_shapes((2, 1, 6, 7), (1, 1, 2, 3), padding=((1, 0), (0, 1)))
    x, w, _ = cases.arrays(conv)
    x[0, 0, 5, 6] = np.inf
    with np.errstate(invalid="ignore"):
        want = cases.spec.forward(x, w, conv)
    got = direct.forward(x, w, conv)
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))


def test_residues_are_the_windows_that_read_a_position() -> None:
    """Brute force: along one axis, part by part, the taps and windows that meet at each input position."""
    count = 0
    for size in range(1, 8):
        for taps in range(1, 5):
            for stride in range(1, 5):
                for dilation in range(1, 4):
                    for low, high in ((0, 0), (1, 0), (2, 5)):
                        axis = Axis(size, taps, stride, (low, high), dilation)
                        if axis.out < 1:
                            continue
                        want = {
                            (axis.position(p, t), t, p)
                            for p in range(axis.out) for t in range(taps)
                            if 0 <= axis.position(p, t) < size
                        }  # fmt: skip
                        assert _meetings(axis) == want
                        count += 1
    assert count == 760


def _meetings(axis: Axis) -> set[tuple[int, int, int]]:
    """(position, tap, window) according to ``residues``."""
    found, positions = set(), []
    whole = direct_tiles.Axis3(axis.size, axis.kernel, axis.out, axis.stride, axis.pad[0], axis.dilation)
    for part in direct_tiles.residues(whole):
        taps = list(range(axis.kernel))[part.taps][::-1]
        assert len(taps) == part.axis.taps and part.axis.stride == 1 and part.axis.size == axis.out
        for j in range(part.axis.out):
            positions.append(part.first + j * part.step)
            for index, tap in enumerate(taps):
                window = j + index * part.axis.dilation - part.axis.low
                if 0 <= window < axis.out:
                    found.add((positions[-1], tap, window))
    assert sorted(positions) == list(range(axis.size))
    return found


@pytest.mark.torch
@pytest.mark.parametrize("name", cases.CASES)
def test_agrees_with_torch(name) -> None:
    torch = pytest.importorskip("torch")
    conv = cases.CASES[name]
    x, w, g = cases.arrays(conv)
    want = cases.by_torch(torch, conv, x, w, g)
    for pass_, operands in cases.operands(x, w, g).items():
        cases.close(getattr(direct, pass_)(*operands, conv), want[pass_], pass_)
