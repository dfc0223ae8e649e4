"""The table of kernels and the planner: choices, refusals and explanations."""

import os

import numpy as np
import pytest

from minidl.kernels import catalogue, conv, jit, vectors
from minidl.kernels.catalogue import Cost, Kernel, conv_precision, plan
from minidl.kernels.cpu import fft_tiles
from minidl.kernels.errors import ShapeError, UnsupportedError
from minidl.kernels.geometry import Conv

SMALL = Conv.from_shapes((2, 3, 9, 8), (5, 3, 3, 2))
needs_numba = pytest.mark.skipif(not jit.HAVE_NUMBA, reason="Numba is not installed")


@pytest.fixture
def table(monkeypatch):
    """An empty table for a made-up problem."""
    monkeypatch.setattr(catalogue, "_table", {})
    monkeypatch.setattr(catalogue.importlib, "import_module", lambda name, package=None: None)
    catalogue._choose.cache_clear()
    yield
    catalogue._choose.cache_clear()


def kernel(algorithm: str, seconds: float, refusal: str | None = None, **options) -> Kernel:
    cost = Cost(1.5e9, 1e6, 2048, seconds)
    return catalogue.register(
        Kernel("toy", "forward", "cpu", algorithm, "", "", lambda case: refusal, lambda case, size: cost, **options)
    )


def test_the_smallest_estimate_wins_and_the_first_of_equals(table) -> None:
    kernel("slow", 2.0)
    kernel("quick", 1.0)
    kernel("also quick", 1.0)
    chosen = plan("toy", "forward", SMALL)
    assert chosen.algorithm == "quick" and chosen.reason == "the smallest estimate" and chosen.cost.seconds == 1.0


def test_what_is_left_out(table) -> None:
    kernel("on request", 0.1, automatic=False)
    kernel("rounds", 0.2, exact=False)
    kernel("plain", 0.3)
    kernel("cannot", 0.0, refusal="sees red")
    kernel("double only", 0.05, dtypes=("float64",))
    assert plan("toy", "forward", SMALL).algorithm == "rounds"
    assert plan("toy", "forward", SMALL, precision="exact").algorithm == "plain"
    assert plan("toy", "forward", SMALL, dtype=np.float64).algorithm == "double only"
    assert plan("toy", "forward", SMALL, algorithm="on request").reason == "because it was asked for"
    with pytest.raises(ValueError, match='precision must be "fast" or "exact", got \'best\''):
        plan("toy", "forward", SMALL, precision="best")


def test_a_kernel_on_request_serves_where_nothing_else_can(table) -> None:
    kernel("on request", 1.0, automatic=False)
    kernel("cannot", 0.0, refusal="sees red")
    chosen = plan("toy", "forward", SMALL)
    assert (chosen.algorithm, chosen.reason) == ("on request", "because no other can")


def test_without_numba(table, monkeypatch) -> None:
    kernel("numpy", 2.0)
    kernel("numba", 1.0, needs_numba=True)
    monkeypatch.setattr(jit, "HAVE_NUMBA", False)
    assert plan("toy", "forward", SMALL).algorithm == "numpy"
    with pytest.raises(UnsupportedError, match=r"needs Numba, which is not installed. These can: numpy"):
        plan("toy", "forward", SMALL, algorithm="numba")


def test_refusals_name_the_reason_and_who_can(table) -> None:
    kernel("cannot", 0.0, refusal="sees red")
    with pytest.raises(
        UnsupportedError, match=r"no kernel can compute toy forward on cpu in float32 \(x \(2,.*cannot sees red"
    ):
        plan("toy", "forward", SMALL)
    with pytest.raises(UnsupportedError, match=r"toy forward on cuda in float32.*the table has none"):
        plan("toy", "forward", SMALL, device="cuda")
    kernel("plain", 1.0)
    kernel("double only", 1.0, dtypes=("float64",))
    with pytest.raises(UnsupportedError, match=r"algorithm='cannot' cannot compute.*sees red. These can: plain$"):
        plan("toy", "forward", SMALL, algorithm="cannot")
    with pytest.raises(UnsupportedError, match="computes in float64, not float32"):
        plan("toy", "forward", SMALL, algorithm="double only")
    with pytest.raises(UnsupportedError, match=r"there is no algorithm 'best' for toy forward.*These can: plain$"):
        plan("toy", "forward", SMALL, algorithm="best")
    with pytest.raises(ValueError, match="toy forward on cpu has 'plain' already"):
        kernel("plain", 2.0)


def test_explain(table) -> None:
    kernel("plain", 0.0021)
    kernel("cannot", 0.0, refusal="sees red")
    kernel("other", 3.0, automatic=False)
    assert plan("toy", "forward", SMALL).explain() == (
        "toy forward on cpu in float32: x (2, 3, 9, 8) * w (5, 3, 3, 2) -> y (2, 5, 7, 7)\n"
        "  algorithm      flops   workspace    estimate\n"
        "> plain          1.5 G     2.05 kB      2.1 ms\n"
        "  cannot    cannot: sees red\n"
        "  other          1.5 G     2.05 kB         3 s  on request only\n"
        "chosen: plain, the smallest estimate"
    )


@pytest.mark.parametrize("pass_", ["forward", "input_grad", "weight_grad"])
def test_choices_for_convolution(pass_) -> None:
    def choice(x, w, **options) -> str:
        return plan("conv", pass_, Conv.from_shapes(x, w, **options)).algorithm

    best = "nhwc" if jit.HAVE_NUMBA else "im2col"
    assert choice((16, 256, 14, 14), (256, 256, 3, 3), padding=1) == ("winograd" if jit.HAVE_NUMBA else "im2col")
    assert choice((16, 256, 14, 14), (256, 256, 3, 3), padding=1, stride=2) == best
    assert choice((16, 256, 14, 14), (1024, 256, 1, 1)) in (best, "im2col")
    assert choice((4, 16, 96, 96), (16, 16, 15, 15), padding=7) == "fft"
    if jit.HAVE_NUMBA:
        assert choice((16, 256, 28, 28), (256, 256, 3, 3), padding=2, dilation=2) == "winograd"
        assert choice((16, 64, 27, 27), (192, 64, 5, 5), padding=2) in ("winograd", "fft")
        assert choice((8, 64, 56, 56), (64, 64, 7, 7), padding=3) == "fft"
        assert choice((8, 256, 28, 28), (256, 8, 3, 3), padding=1, groups=32) == "nhwc"
        assert choice((8, 64, 56, 56), (64, 1, 3, 3), padding=1, groups=64) in ("nhwc", "direct")


def test_plans_and_costs_are_numbers_only() -> None:
    """The same answer twice, and every estimate is positive and finite."""
    for case in (SMALL, Conv.from_shapes((0, 3, 9, 8), (5, 3, 3, 2)), Conv.from_shapes((2, 3, 9, 8), (0, 3, 3, 2))):
        for pass_ in ("forward", "input_grad", "weight_grad"):
            first = plan("conv", pass_, case)
            catalogue._choose.cache_clear()
            again = plan("conv", pass_, case)
            assert again.explain() == first.explain()
            for _, cost in first.candidates:
                if isinstance(cost, Cost):
                    assert 0 <= cost.seconds < 1 and cost.workspace >= 0 and cost.flops >= 0


def test_planning_loads_no_compiler() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from minidl.kernels.catalogue import plan; from minidl.kernels.geometry import Conv;"
        "plan('conv', 'forward', Conv.from_shapes((8, 1, 9, 8), (5, 1, 3, 2))).explain();"
        "assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@needs_numba
@pytest.mark.parametrize(("speed", "algorithm"), [(1.0, "fft"), (2.0, "nhwc")])
def test_wide_vectors_leave_less_to_transforms(speed, algorithm, monkeypatch) -> None:
    """They make sums of products faster, and not the traffic between passes."""
    monkeypatch.setattr(vectors, "speed", lambda: speed)
    fft_tiles.tiling.cache_clear()
    catalogue._choose.cache_clear()
    problem = Conv.from_shapes((8, 32, 27, 27), (32, 32, 4, 4))
    assert plan("conv", "weight_grad", problem).algorithm == algorithm
    fft_tiles.tiling.cache_clear()
    catalogue._choose.cache_clear()


@needs_numba
def test_vectors_are_those_of_this_machine() -> None:
    from minidl.kernels.cpu.simd import AVX512, machine

    if "NUMBA_CPU_NAME" not in os.environ:  # which may name another
        assert vectors.speed() == (2 if machine() == AVX512 else 1)


def test_four_axes_go_to_im2col() -> None:
    case = Conv.from_shapes((2, 3, 4, 3, 4, 5), (5, 3, 2, 1, 3, 2), stride=(1, 2, 1, 1))
    assert plan("conv", "forward", case).algorithm in ("im2col", "fft")
    if jit.HAVE_NUMBA:
        with pytest.raises(UnsupportedError, match="has loops for 1 to 3 spatial axes, not 4"):
            plan("conv", "forward", case, algorithm="direct")
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(case.x_shape), rng.standard_normal(case.w_shape)
    want = conv.forward(x, w, case, algorithm="spec")
    np.testing.assert_allclose(conv.forward(x, w, case, algorithm="im2col"), want, rtol=1e-12, atol=1e-12)


def test_arrays_that_do_not_fit_the_problem() -> None:
    x, w = np.zeros(SMALL.x_shape), np.zeros(SMALL.w_shape)
    with pytest.raises(ShapeError, match=r"w has shape \(5, 3, 2, 2\), but this convolution needs \(5, 3, 3, 2\)"):
        conv.forward(x, np.zeros((5, 3, 2, 2)), SMALL)
    with pytest.raises(ShapeError, match=r"x is float64 and w is float32: convert one of them, .* w.astype\(x.dtype\)"):
        conv.forward(x, w.astype("float32"), SMALL)
    with pytest.raises(ShapeError, match=r"out has shape \(1,\)"):
        conv.forward(x, w, SMALL, out=np.zeros(1))
    with pytest.raises(ShapeError, match="g has shape"):
        conv.input_grad(w, np.zeros((2, 5, 7, 6)), SMALL)
    with pytest.raises(ShapeError, match="out is float32"):
        conv.weight_grad(x, np.zeros(SMALL.y_shape), SMALL, out=np.zeros(SMALL.w_shape, "float32"))


def test_complex_numbers_go_to_numpy() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(SMALL.x_shape) + 1j * rng.standard_normal(SMALL.x_shape)
    w = rng.standard_normal(SMALL.w_shape) + 1j * rng.standard_normal(SMALL.w_shape)
    chosen = plan("conv", "forward", SMALL, dtype=x.dtype)
    assert chosen.algorithm == "im2col"
    want = conv.forward(x, w, SMALL, algorithm="spec")
    np.testing.assert_allclose(chosen.run(x, w), want, rtol=1e-13, atol=1e-13)


def test_a_block_is_planned_exactly() -> None:
    """By its thread, and no longer than it lasts; what a call says itself counts more."""
    import threading

    case = Conv.from_shapes((8, 64, 56, 56), (64, 64, 3, 3), padding=1)
    chosen: list[str] = []

    def choose(**wish: str) -> None:
        chosen.append(plan("conv", "forward", case, **wish).algorithm)

    with conv_precision("exact"):
        choose()
        choose(precision="fast")
        with conv_precision("fast"):
            choose()
        other = threading.Thread(target=choose)
        other.start()
        other.join()
    choose()
    assert chosen[0] != "winograd" and set(chosen[1:]) == {plan("conv", "forward", case, precision="fast").algorithm}
    assert chosen[1] == "winograd" or not jit.HAVE_NUMBA
    with pytest.raises(ValueError, match='precision must be "fast" or "exact"'), conv_precision("slow"):
        pass
