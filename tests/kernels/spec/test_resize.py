"""Resizing: its check, its errors, and PyTorch's interpolate as a second opinion."""

import numpy as np
import pytest

from minidl.kernels.errors import ShapeError
from minidl.kernels.jit import HAVE_NUMBA
from minidl.kernels.resize import Resize, resize, resize_grad
from tests.checks.resize import check_recomputed, check_resize, problems

IMPLEMENTATIONS = [
    "spec",
    pytest.param("numba", marks=pytest.mark.skipif(not HAVE_NUMBA, reason="Numba is not installed")),
]


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_properties(dtype, impl):
    check_resize(dtype, impl)


def test_the_ratio_of_the_sizes_for_the_factor():
    check_recomputed()


def test_area_and_cubic_by_hand():
    x = np.array([[[0.0, 10, 40]] * 2]).reshape(1, 1, 2, 3)
    assert resize(x, Resize.from_shape(x.shape, (1, 2), mode="area")).tolist() == [[[[5, 25]]]]
    # a = -3/4 at half a position: -3/32, 19/32, 19/32, -3/32, beyond the border the border's value
    want = np.array([-3 * 0 + 19 * 0 + 19 * 10 - 3 * 40, -3 * 0 + 19 * 10 + 19 * 40 - 3 * 40]) / 32
    got = resize(x, Resize.from_shape(x.shape, (2, 5), mode="bicubic", align_corners=True))
    np.testing.assert_allclose(got[0, 0], [[0, want[0], 10, want[1], 40]] * 2, rtol=1e-14)


def test_by_hand():
    x = np.array([[[0.0, 10, 40]]])
    assert resize(x, Resize.from_shape(x.shape, 2)).tolist() == [[[0, 10]]]
    assert resize(x, Resize.from_shape(x.shape, 6, mode="linear")).tolist() == [[[0, 2.5, 7.5, 17.5, 32.5, 40]]]
    assert resize(x, Resize.from_shape(x.shape, 5, mode="linear", align_corners=True)).tolist() == [
        [[0, 5, 10, 25, 40]]
    ]


def test_nearest_keeps_infinities_to_themselves():
    x = np.array([[[np.inf, 1, 2, np.nan]]])
    assert (
        np.isfinite(resize(x, Resize.from_shape(x.shape, 8)))[0, 0].tolist() == [False] * 2 + [True] * 4 + [False] * 2
    )


@pytest.mark.parametrize(
    "arguments, part",
    [
        (((1, 2, 3, 4), 5, None, "linear"), "mode='linear' does not go with x of 4 axes, (1, 2, 3, 4)"),
        (((3, 4), 5), "x must be (N, C, L), (N, C, H, W) or (N, C, D, H, W), not of shape (3, 4)"),
        (((1, 2, 3), 5, 2.0), "got size=5, scale_factor=2.0"),
        (((1, 2, 3),), "got size=None, scale_factor=None"),
        (((1, 2, 3), 5, None, "nearest", False), "align_corners has no meaning for mode='nearest'"),
        (((1, 2, 3, 4), None, (2, 0.2)), "x (N, C, H, W) = (1, 2, 3, 4) cannot become (6, 0)"),
        (((1, 2, 3, 4), None, (2, -1)), "scale_factor must be 2 positive number(s)"),
        (((1, 2, 3, 4), (2, 3, 4)), "size must be one integer or 2"),
    ],
)
def test_messages(arguments, part):
    with pytest.raises(ShapeError) as error:
        Resize.from_shape(*arguments)
    assert part in str(error.value), str(error.value)


def test_wrong_shapes():
    problem = Resize.from_shape((1, 2, 3), 4)
    with pytest.raises(ShapeError, match=r"x has shape \(1, 2, 4\), this resizing needs \(1, 2, 3\)"):
        resize(np.zeros((1, 2, 4)), problem)
    with pytest.raises(ShapeError, match=r"g has shape \(1, 2, 3\), this resizing gives \(1, 2, 4\)"):
        resize_grad(np.zeros((1, 2, 3)), problem)


@pytest.mark.torch
def test_as_torch():
    torch = pytest.importorskip("torch")
    for shape, how in problems():
        problem, rng = Resize.from_shape(shape, **how), np.random.default_rng(1)
        x = rng.standard_normal(shape)
        t = torch.tensor(x, requires_grad=True)
        y = torch.nn.functional.interpolate(t, **how)
        np.testing.assert_allclose(resize(x, problem), y.detach().numpy(), rtol=1e-12, atol=1e-12)
        g = rng.standard_normal(problem.y_shape)
        (dx,) = torch.autograd.grad(y, t, torch.tensor(g))
        np.testing.assert_allclose(resize_grad(g, problem), dx.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_sizes_as_torch(mode):
    """Every pair of sizes: where nearest sits on the edge of two positions, integers decide, as in PyTorch."""
    torch = pytest.importorskip("torch")
    for size in range(1, 60):
        x = np.arange(float(size))[None, None]
        for how in [{"size": o} for o in range(1, 60)] + [{"scale_factor": f} for f in (0.7, 1.5, 7 / 3, 1 / 3, 3.1)]:
            if floor_is_zero(size, how):
                continue
            want = torch.nn.functional.interpolate(torch.tensor(x), mode=mode, **how).numpy()
            got = resize(x, Resize.from_shape(x.shape, mode=mode, **how), algorithm="spec")
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-12, err_msg=f"{size}, {how}")


def floor_is_zero(size, how):
    return int(size * how.get("scale_factor", 1)) == 0
