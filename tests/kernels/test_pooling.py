"""Pooling: every check of tests.checks.pooling on both implementations, those of vectors with every machine's, errors,
and PyTorch as a second opinion."""

import numpy as np
import pytest

from minidl.kernels import pooling
from minidl.kernels.errors import ShapeError, UnsupportedError
from minidl.kernels.jit import HAVE_NUMBA
from minidl.kernels.pooling import Pool
from tests.checks import pooling as checks

IMPLEMENTATIONS = [
    "spec",
    "arrays",
    pytest.param("numba", marks=pytest.mark.skipif(not HAVE_NUMBA, reason="Numba is not installed")),
]
CHECKS = [f for name, f in vars(checks).items() if name.startswith("check_") and name != "check_lp_pool"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda f: f.__name__)
def test_properties(check, impl, dtype):
    check(impl, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_vectors_of_other_machines(host, dtype):
    """Channels-last storage; channels first has loops that no machine changes."""
    for check in (checks.check_max_pool, checks.check_max_values, checks.check_rare_nan, checks.check_max_pool_grad):
        check("numba", dtype)
    checks.check_avg_pool("numba", dtype)
    checks.check_avg_pool_grad("numba", dtype)


def test_places_are_kept_where_somebody_asks_for_them():
    checks.places_are_kept()


@pytest.mark.skipif(not HAVE_NUMBA, reason="Numba is not installed")
def test_sizes_seen_before():
    checks.sizes_seen_before()


@pytest.mark.skipif(not HAVE_NUMBA, reason="Numba is not installed")
@pytest.mark.parametrize("last", [False, True])
def test_a_known_call_runs_its_program_alone(last, monkeypatch):
    """Otherwise each of them takes the time of a first one."""
    from minidl.kernels.cpu import pooling as compiled
    from minidl.kernels.cpu import pooling_first, pooling_last

    compiled._again.cache_clear()
    pool = Pool.from_shape((1, 3, 6, 8), 2, padding=1)
    drawn = [checks.layouts(x) for x in np.random.default_rng(0).standard_normal((2, 1, 3, 6, 8))]
    first, second = (dict(x)["channels last" if last else "contiguous"] for x in drawn)
    want = pooling.avg_pool(second, pool), pooling.max_pool(second, pool)[0]
    compiled._again.cache_clear()
    pooling.avg_pool(first, pool), pooling.max_values(first, pool)
    assert [known is not None for known in compiled._known.values()] == [True, last]
    monkeypatch.setattr(pooling_last if last else pooling_first, "run", None)  # would raise
    np.testing.assert_array_equal(pooling.avg_pool(second, pool), want[0])
    if last:
        np.testing.assert_array_equal(pooling.max_values(second, pool), want[1])


def test_halves():
    """Numba has no float16: the definitions compute it."""
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 6)).astype("float16")
    pool = Pool.from_shape(x.shape, 2, padding=1)
    for last in (False, True):
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if last else x
        values, indices = pooling.max_pool(x, pool)
        expected = pooling.max_pool(x.astype("float32"), pool)
        assert values.dtype == "float16" and np.array_equal(values, expected[0])
        assert np.array_equal(indices, expected[1])
        g = pooling.avg_pool(x, pool)
        assert g.dtype == "float16"
        np.testing.assert_allclose(g, pooling.avg_pool(x.astype("float32"), pool), rtol=2e-3, atol=2e-3)
        for dx in (pooling.avg_pool_grad(g, pool), pooling.max_pool_grad(g, indices, x.shape)):
            assert dx.dtype == "float16" and dx.shape == x.shape
    with pytest.raises(UnsupportedError, match=r"pooling: algorithm 'numba' (cannot compute in <f2|needs Numba)"):
        pooling.avg_pool(x, pool, algorithm="numba")


def test_lp_pool():
    checks.check_lp_pool()


def test_lp_pool_of_zeros_has_gradient_zero():
    from minidl.kernels.spec.pooling import lp_pool, lp_pool_grad

    x = np.array([[[0.0, 0, 3, 4]]])
    pool = Pool.from_shape(x.shape, 2)
    assert lp_pool(x, pool, 2).tolist() == [[[0, 5]]]
    assert np.allclose(lp_pool_grad(np.array([[[7.0, 10]]]), x, pool, 2), [[[0, 0, 6, 8]]])


@pytest.mark.parametrize("last", [False, True])
def test_result_is_stored_as_the_input(last):
    x = np.zeros((2, 3, 6, 8), np.float32)
    if last:
        x = np.moveaxis(np.zeros((2, 6, 8, 3), np.float32), -1, 1)
    pool = Pool.from_shape(x.shape, 2)
    values, indices = pooling.max_pool(x, pool, algorithm="numba" if HAVE_NUMBA else "spec")
    if HAVE_NUMBA:
        for y in (values, indices, pooling.avg_pool(x, pool), pooling.max_pool_grad(values, indices, x.shape)):
            assert np.moveaxis(y, 1, -1).flags.c_contiguous == last


@pytest.mark.skipif(not HAVE_NUMBA, reason="Numba is not installed")
def test_the_gradient_of_some_channels_is_stored_as_they_are():
    """Behind a concatenation: its gradient is that of all, of which each part takes its channels."""
    rng = np.random.default_rng(0)
    pool, wide = Pool.from_shape((2, 20, 6, 8), 2), rng.standard_normal((2, 3, 4, 29)).astype("float32")
    g = np.moveaxis(wide, -1, 1)[:, 5:25]
    winners = pooling.max_pool(np.moveaxis(rng.standard_normal((2, 6, 8, 20)).astype("float32"), -1, 1), pool)[1]
    for of in (
        lambda g: pooling.avg_pool_grad(g, pool),
        lambda g: pooling.max_pool_grad(g, winners, pool.x_shape, pool=pool),
    ):
        dx = of(g)
        assert np.moveaxis(dx, 1, -1).flags.c_contiguous
        np.testing.assert_array_equal(dx, of(np.moveaxis(np.ascontiguousarray(np.moveaxis(g, 1, -1)), -1, 1)))


# ---- errors ----


@pytest.mark.parametrize(
    "arguments, parts",
    [
        (((2, 3, 4, 9), 5), ["R = 5, padded H = 4", "P = (4 + 2*0 - 1*(5-1) - 1)//5 + 1 = 0", "H >= 5"]),
        (((2, 3, 9, 4), (3, 3), 1, 0, (1, 2)), ["S = 3 dilated by 2 spans 5, padded W = 4"]),
        (((2, 3, 9, 9), 3, 1, 2), ["padding along H", "kernel // 2 = 3 // 2 = 1", "padding=1 is the most"]),
        (((2, 3, 9, 9), 3, 1, ((0, 1), (0, 2))), ["padding along W", "(low, high) = (0, 2)"]),
        (((2, 3, 9, 9), 3, 1, -1), ["padding along H", "(-1, -1)"]),
        (((2, 3, 9, 9), 3, 0), ["stride must be at least 1", "(0, 0)"]),
        (((2, 3, 9, 9), (0, 2)), ["kernel_size must be at least 1"]),
        (((2, 3, 9, 9), (3, 3, 3)), ["kernel_size must be one integer or 2"]),
        (((2, 3, 9, 9), 3, 1, ((0, 1),)), ["padding", "got ((0, 1),)"]),
        (((3, 9), 3), ["x must be (N, C, W) or (N, C, H, W) or (N, C, D, H, W)", "(3, 9)", "batch axis"]),
        (((2, 3, 3), 2, 1, 1, 4), ["window 0 along W reads nothing but padding", "[-1, 3]", "0..2", "dilation = 4"]),
        (((2, 3, 0, 4), 2), ["x is empty along H"]),
    ],
)
def test_windows_that_do_not_fit(arguments, parts):
    with pytest.raises(ShapeError) as error:
        Pool.from_shape(*arguments)
    for part in parts:
        assert part in str(error.value), str(error.value)


def test_op_and_rank_are_named():
    with pytest.raises(
        ShapeError, match=r"max_pool2d: x must be \(N, C, H, W\)[^$]*x has 3 axes: \(3, 8, 8\)[^$]*batch"
    ):
        Pool.from_shape((3, 8, 8), 2, op="max_pool2d", ndim=2)


@pytest.mark.parametrize(
    "call, part",
    [
        (lambda: Pool.adaptive((2, 3, 5, 6), (1, 2, 3)), "output_size must be one integer or 2"),
        (lambda: Pool.adaptive((2, 3, 5, 6), -1), "output_size = (-1, -1)"),
        (lambda: Pool.adaptive((2, 3, 0, 6), 1), "x (N, C, H, W) = (2, 3, 0, 6)"),
        (lambda: pooling.channel_max(np.zeros((2, 7, 3)), 3), "7 = 2 * 3 + 1"),
        (lambda: pooling.avg_pool(np.zeros((1, 1, 4)), Pool.from_shape((1, 1, 4), 2), True, 0), "divisor_override=0"),
        (lambda: pooling.max_pool(np.zeros((1, 2, 4)), Pool.from_shape((1, 1, 4), 2)), "x (N, C, W) = (1, 2, 4)"),
        (lambda: pooling.max_pool_grad(np.zeros((1, 2, 4)), np.zeros((1, 2, 3), int), (1, 2, 8)), "indices"),
        (lambda: pooling.gather(np.zeros((1, 2, 4)), np.zeros((1, 3, 2), int)), "must agree in N and C"),
        (
            lambda: pooling.max_unpool(np.zeros((1, 1, 2, 1)), np.array([[[[0], [6]]]]), (2, 3)),
            "indices[0, 0, 1, 0] = 6 lies outside a plane of 2 * 3 = 6 positions (0 to 5)",
        ),
        (lambda: pooling.gather(np.zeros((1, 1, 2)), np.zeros((1, 1, 2), int), out=np.zeros((1, 1, 3))), "out"),
    ],
)
def test_messages(call, part):
    with pytest.raises(ShapeError) as error:
        call()
    assert part in str(error.value), str(error.value)


def test_unknown_algorithm():
    with pytest.raises(UnsupportedError, match="no algorithm 'fft' on cpu; it has numba, spec, arrays"):
        pooling.gather(np.zeros((1, 1, 2)), np.zeros((1, 1, 2), int), algorithm="fft")


# ---- PyTorch ----

SYMMETRIC = [c for c in checks.CASES if not c.adaptive and all(low == high for low, high in c.pads())]
ADAPTIVE = [c for c in checks.CASES if c.adaptive and 0 not in (*c.adaptive, c.x[0])]  # else PyTorch refuses


def leaf(torch, case):
    x = case.rng().standard_normal(case.x)
    x[case.rng().random(case.x) < 0.3] = 0.5  # ties
    return x, torch.tensor(x, requires_grad=True)


def agree(got, want):
    np.testing.assert_allclose(got, want.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.torch
@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_max_pool_as_torch(impl):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    for case in SYMMETRIC + ADAPTIVE:
        nd, (x, t) = len(case.x) - 2, leaf(torch, case)
        if case.adaptive:
            pooled = getattr(F, f"adaptive_max_pool{nd}d")(t, case.adaptive, return_indices=True)
        else:
            pads = tuple(p for p, _ in case.pads())
            arguments = case.kernel, case.stride, pads, case.dilation, case.ceil
            pooled = getattr(F, f"max_pool{nd}d")(t, *arguments, return_indices=True)
        values, indices = pooling.max_pool(x, case.pool, algorithm=impl)
        agree(values, pooled[0])
        assert (indices == pooled[1].numpy()).all(), case
        g = torch.tensor(case.rng().standard_normal(values.shape), requires_grad=True)
        (dx,) = torch.autograd.grad(pooled[0], t, g, create_graph=True)
        agree(pooling.max_pool_grad(g.detach().numpy(), indices, case.x, algorithm=impl), dx)
        u = torch.tensor(case.rng().standard_normal(case.x))
        (ddg,) = torch.autograd.grad(dx, g, u)
        agree(pooling.gather(u.numpy(), indices, algorithm=impl), ddg)


@pytest.mark.torch
@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_max_pool_of_nan_as_torch(impl):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    for size in ((5, 7), (4, 40)):
        x = rng.standard_normal((3, 2, *size))
        x[rng.random(x.shape) < 0.2] = np.nan
        x[rng.random(x.shape) < 0.3] = -np.inf
        want = torch.nn.functional.max_pool2d(torch.tensor(x), (2, 3), 1, 1, return_indices=True)
        values, indices = pooling.max_pool(x, Pool.from_shape(x.shape, (2, 3), 1, 1), algorithm=impl)
        agree(values, want[0])
        assert (indices == want[1].numpy()).all()


@pytest.mark.torch
@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_avg_pool_as_torch(impl):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    for case in SYMMETRIC + ADAPTIVE:
        if case.dilation != 1:  # PyTorch's average has no dilation
            continue
        nd, (x, t) = len(case.x) - 2, leaf(torch, case)
        for include, override in checks.AVERAGES if not case.adaptive else ((True, None),):
            if case.adaptive:
                y = getattr(F, f"adaptive_avg_pool{nd}d")(t, case.adaptive)
            else:
                arguments = [case.kernel, case.stride, tuple(p for p, _ in case.pads()), case.ceil, include]
                if nd == 1 and override is not None:  # avg_pool1d has none
                    continue
                y = getattr(F, f"avg_pool{nd}d")(t, *arguments, *([override] if nd > 1 else []))
            agree(pooling.avg_pool(x, case.pool, include, override, algorithm=impl), y)
            g = torch.tensor(case.rng().standard_normal(case.y))
            (dx,) = torch.autograd.grad(y, t, g)
            agree(pooling.avg_pool_grad(g.numpy(), case.pool, include, override, algorithm=impl), dx)


@pytest.mark.torch
@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_max_unpool_as_torch(impl):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((2, 3, 7, 6))
    values, indices = pooling.max_pool(x, Pool.from_shape(x.shape, (3, 2), (2, 1)), algorithm=impl)  # shared winners
    t = torch.tensor(values, requires_grad=True)
    y = torch.nn.functional.max_unpool2d(t, torch.tensor(indices).long(), (3, 2), (2, 1), output_size=(7, 6))
    agree(pooling.max_unpool(values, indices, (7, 6), algorithm=impl), y)
    g = torch.tensor(np.random.default_rng(1).standard_normal(x.shape))
    agree(pooling.gather(g.numpy(), indices, algorithm=impl), torch.autograd.grad(y, t, g)[0])


@pytest.mark.torch
def test_lp_pool_as_torch():
    torch = pytest.importorskip("torch")
    from minidl.kernels.spec.pooling import lp_pool, lp_pool_grad

    for case in (c for c in SYMMETRIC if c.dilation == 1 and not any(map(sum, c.pads())) and len(c.kernel) < 3):
        x, t = leaf(torch, case)
        y = getattr(torch.nn.functional, f"lp_pool{len(case.kernel)}d")(
            t, 2.0, case.kernel if len(case.kernel) > 1 else case.kernel[0], case.stride, case.ceil
        )
        agree(lp_pool(x, case.pool, 2), y)
        g = case.rng().standard_normal(case.y)
        agree(lp_pool_grad(g, x, case.pool, 2), torch.autograd.grad(y, t, torch.tensor(g))[0])
