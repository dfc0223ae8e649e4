"""The Winograd twin: exact identities in rational arithmetic, published matrices, named intermediates."""

from __future__ import annotations

from fractions import Fraction
from math import prod

import numpy as np
import pytest

from minidl.kernels.errors import UnsupportedError
from minidl.kernels.spec import winograd
from minidl.kernels.spec.winograd import POINTS, transforms
from tests.checks.conv import PASSES, brute_force, operands, problem
from tests.checks.shapes import ALL, EMPTY, case

SUPPORTED = [c for c in ALL if not winograd.unsupported(problem(c)) and max(c.kernel) <= 5]
PAIRS = [(m, r) for m in range(1, 7) for r in range(1, 8) if m + r - 2 <= 9]


def fractions(rng: np.random.Generator, *shape: int) -> np.ndarray:
    flat = [
        Fraction(int(p), int(q)) for p, q in zip(rng.integers(-9, 10, prod(shape)), rng.integers(1, 8, prod(shape)))
    ]
    return np.array(flat, dtype=object).reshape(shape)


@pytest.mark.parametrize("points", sorted(POINTS))
@pytest.mark.parametrize(("m", "r"), PAIRS)
def test_the_identity_is_exact(m, r, points):
    rng = np.random.default_rng(100 * m + r)
    g, d = fractions(rng, r), fractions(rng, m + r - 1)
    t = transforms(m, r, points)
    y = t.AT @ ((t.G @ g) * (t.BT @ d))
    assert y.tolist() == [sum((g[k] * d[p + k] for k in range(r)), Fraction(0)) for p in range(m)]


def test_published_matrices():
    """F(2, 3) and F(4, 3) of Lavin and Gray 2016, rows up to sign."""
    two = transforms(2, 3, "lavin")
    assert two.BT.tolist() == [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]]
    assert two.AT.tolist() == [[1, 1, 1, 0], [0, 1, -1, 1]]
    four = transforms(4, 3, "lavin")
    assert four.BT.tolist() == [
        [4, 0, -5, 0, 1, 0],
        [0, 4, 4, -1, -1, 0],
        [0, -4, 4, 1, -1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
    sixth, fourth, twelfth = Fraction(1, 6), Fraction(1, 24), Fraction(1, 12)
    assert four.G.tolist() == [
        [Fraction(1, 4), 0, 0],
        [sixth, sixth, sixth],
        [sixth, -sixth, sixth],
        [fourth, twelfth, sixth],
        [fourth, -twelfth, sixth],
        [0, 0, 1],
    ]


def test_matrices_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        transforms(2, 3).G[0, 0] = 5


@pytest.mark.parametrize(
    "c",
    [
        case((2, 4, 5), (6, 2, 3), 1, ((2, 1),), 1, 2),
        case((2, 2, 5, 7), (3, 2, 3, 2), 1, ((0, 2), (3, 1))),
        case((1, 2, 4, 3, 5), (2, 1, 2, 1, 3), 1, ((0, 1), (1, 0), (2, 1)), 1, 2),
        case((2, 2, 8, 11), (3, 2, 3, 2), 1, ((0, 3), (4, 1)), (3, 2)),
    ],
    ids=str,
)
@pytest.mark.parametrize("pass_", PASSES)
def test_every_pass_is_exact_in_fractions(c, pass_):
    rng = np.random.default_rng(7)
    named = {"x": fractions(rng, *c.x_shape), "w": fractions(rng, *c.w_shape), "g": fractions(rng, *c.y_shape)}
    arrays = {"forward": ("x", "w"), "input_grad": ("w", "g"), "weight_grad": ("x", "g")}[pass_]
    a, b = (named[n] for n in arrays)
    for m in (2, 3):
        result = getattr(winograd, pass_)(a, b, problem(c), m).Y
        assert np.array_equal(result, brute_force(c, pass_, a, b))


@pytest.mark.parametrize(("dtype", "points", "tolerance"), [
    ("float64", "barabasz", 1e-12), ("float64", "lavin", 1e-12), ("float64", "paired", 1e-12),
    ("float32", "barabasz", 5e-4), ("float32", "paired", 5e-4),
])  # fmt: skip
@pytest.mark.parametrize("pass_", PASSES)
def test_awkward_shapes(pass_, dtype, points, tolerance):
    assert len(SUPPORTED) > 12
    for c in SUPPORTED:
        arrays = operands(c, pass_, dtype)
        copies = [a.copy() for a in arrays]
        for m in (2, 4):
            result = getattr(winograd, pass_)(*arrays, problem(c), m, points).Y
            exact = brute_force(c, pass_, *(a.astype("float64") for a in arrays))
            assert result.dtype == dtype
            assert result.flags.c_contiguous or pass_ == "weight_grad"
            np.testing.assert_allclose(result, exact, rtol=0, atol=tolerance * max(1, np.abs(exact).max()))
        assert all(np.array_equal(a, b) for a, b in zip(arrays, copies))


@pytest.mark.parametrize("c", [c for c in EMPTY if set(c.stride) == {1}], ids=str)
@pytest.mark.parametrize("pass_", PASSES)
def test_empty(c, pass_):
    arrays = operands(c, pass_, "float32")
    result = getattr(winograd, pass_)(*arrays, problem(c)).Y
    assert np.array_equal(result, brute_force(c, pass_, *arrays))


def test_the_intermediates_are_what_they_are_called():
    c = case((2, 4, 7, 6), (6, 2, 3, 2), 1, ((1, 1), (0, 1)), 1, 2)
    x, w, _ = c.arrays("float64")
    run = winograd.forward(x, w, problem(c), (4, 2))
    th, tw = run.transforms  # F(4, 3) along H, F(2, 2) along W
    tiles = 2 * 2 * 3  # N * ceil(7 / 4) * ceil(6 / 2)
    assert (run.U.shape, run.V.shape, run.M.shape) == ((6, 3, 2, 3, 2), (6, 3, 2, 2, tiles), (6, 3, 2, 3, tiles))
    gh, gw = th.G.astype(float), tw.G.astype(float)
    for group, k, ch in ((0, 2, 1), (1, 0, 0)):
        np.testing.assert_allclose(run.U[:, :, group, k, ch], gh @ w[group * 3 + k, ch] @ gw.T)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 8), (0, 8)))
    tile = padded[1, 3, 4:10, 2:5]  # image 1, channel 3 (group 1, 1), second tile down, second across
    bh, bw = th.BT.astype(float), tw.BT.astype(float)
    np.testing.assert_allclose(run.V[:, :, 1, 1, (1 * 2 + 1) * 3 + 1], bh @ tile @ bw.T, atol=1e-12)
    np.testing.assert_allclose(run.M, np.einsum("abgkc,abgct->abgkt", run.U, run.V))


def test_forward_and_weight_grad_share_their_input_tiles():
    c = case((2, 3, 6, 7), (4, 3, 3, 3), 1, 1)
    x, w, g = c.arrays("float64")
    forward, weight = winograd.forward(x, w, problem(c)), winograd.weight_grad(x, g, problem(c))
    assert np.array_equal(forward.V, weight.V)


def test_better_points_round_less():
    c = case((4, 64, 16, 16), (8, 64, 3, 3), 1, 1)
    x, w, _ = c.arrays("float32")
    exact = winograd.forward(x.astype("float64"), w.astype("float64"), problem(c)).Y
    error = {p: np.linalg.norm(winograd.forward(x, w, problem(c), 4, p).Y - exact) for p in POINTS}
    assert error["barabasz"] < 0.85 * error["lavin"]
    assert error["paired"] < 0.85 * error["barabasz"]


@pytest.mark.parametrize(
    ("c", "message"),
    [
        (case((1, 1, 6, 6), (1, 1, 3, 3), (1, 2)), r"Winograd needs stride 1 on every axis, got \(1, 2\)"),
        (
            case((1, 1, 9), (1, 1, 8)),
            r"F\(4, 8\) needs m, r >= 1 and 4 \+ 8 - 2 = 10 finite points; 9 are listed in POINTS\['barabasz'\]",
        ),
    ],
)
def test_what_it_cannot_do_it_says(c, message):
    x, w, _ = c.arrays("float32")
    with pytest.raises(UnsupportedError, match=message):
        winograd.forward(x, w, problem(c))


def test_unknown_points_are_named():
    names = r"\['barabasz', 'lavin', 'paired'\]"
    with pytest.raises(UnsupportedError, match=rf"points must be one of {names}, got 'chebyshev'"):
        transforms(2, 3, "chebyshev")
