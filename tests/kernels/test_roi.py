"""RoI pooling: its check on both implementations, and the operation around it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.kernels import roi
from minidl.kernels.errors import ShapeError
from minidl.kernels.jit import HAVE_NUMBA
from minidl.see import explain, trace
from tests.checks.roi import BOXES, GRID, SCALE, SHAPE, check_roi, oracle

IMPLEMENTATIONS = [
    "spec",
    pytest.param("numba", marks=pytest.mark.skipif(not HAVE_NUMBA, reason="Numba is not installed")),
]


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_what_loops_give(dtype: str, impl: str) -> None:
    check_roi(impl, dtype)


def test_the_operation_and_its_derivatives() -> None:
    """Boxes in one table or in a list for each image; the gradient is copied back, that of the gradient read again."""
    rng = np.random.default_rng(3)
    boxes = BOXES[np.argsort(BOXES[:-1, 0], kind="stable")]  # without the image that there is not
    x, u = (minidl.from_numpy(rng.standard_normal(SHAPE)) for _ in range(2))
    x.requires_grad_()
    y = F.roi_pool(x, minidl.from_numpy(boxes), GRID, SCALE)
    lists = [minidl.from_numpy(boxes[boxes[:, 0] == n, 1:]) for n in range(SHAPE[0])]
    np.testing.assert_array_equal(F.roi_pool(x, lists, GRID, SCALE).detach().numpy(), y.detach().numpy())
    g = minidl.from_numpy(rng.standard_normal(y.shape)).requires_grad_()
    (dx,) = minidl.autograd.grad(y, [x], g, create_graph=True)
    (dg,) = minidl.autograd.grad((dx * u).sum(), [g])
    step = 1e-6
    moved = [F.roi_pool(x.detach() + s * step * u, minidl.from_numpy(boxes), GRID, SCALE) for s in (1, -1)]
    np.testing.assert_allclose(dg.numpy(), (moved[0] - moved[1]).numpy() / (2 * step), atol=1e-8)
    assert np.isclose((dx.detach() * u).sum().item(), (dg * g.detach()).sum().item())


def test_nothing_to_pool() -> None:
    x = minidl.zeros(2, 3, 4, 5)
    assert F.roi_pool(x, minidl.zeros(0, 5), 2).shape == (0, 3, 2, 2)
    assert F.roi_pool(x, [minidl.zeros(0, 4)] * 2, (2, 1)).shape == (0, 3, 2, 1)
    (dx,) = minidl.autograd.grad(F.roi_pool(x.requires_grad_(), minidl.zeros(0, 5), 2).sum(), [x])
    assert not dx.numpy().any()


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_no_channels(impl: str) -> None:
    x, regions = np.zeros((2, 0, 4, 5)), roi.regions(BOXES, SCALE)
    values, indices = roi.roi_pool(x, regions, (2, 3), algorithm=impl)
    read = roi.roi_gather(x, indices, regions, algorithm=impl)
    assert values.shape == indices.shape == read.shape == (len(BOXES), 0, 2, 3)
    assert roi.roi_pool_grad(values, indices, regions, x.shape, algorithm=impl).shape == x.shape


def test_mistakes() -> None:
    x = minidl.zeros(2, 3, 4, 5)
    wrong = [
        (
            lambda: F.roi_pool(x[0], minidl.zeros(1, 5), 2),
            r"roi_pool: the input must be \(N, C, H, W\), not \(3, 4, 5\)",
        ),
        (lambda: F.roi_pool(x, minidl.zeros(1, 5), 0), "roi_pool: output_size must be at least 1 on both axes, got 0"),
        (
            lambda: F.roi_pool(x, minidl.zeros(1, 4), 2),
            r"roi_pool: boxes must be \(K, 5\), the number of an image and ",
        ),
        (
            lambda: F.roi_pool(x, [minidl.zeros(1, 4)], 2),
            r"roi_pool: a list of boxes has \(L, 4\) for each of the 2 images, this one has \(1, 4\)",
        ),
        (
            lambda: roi.roi_pool(np.zeros((3, 4)), np.zeros((1, 5), int), (1, 1)),
            r"roi_pool: takes x \(N, C, H, W\) and ",
        ),
    ]
    for call, message in wrong:
        with pytest.raises(ShapeError, match=message):
            call()
    with pytest.raises(IndexError, match="roi_pool: box 1 is of image 2, and the input has images 0 to 1"):
        F.roi_pool(x, minidl.tensor([[1.0, 0, 0, 3, 3], [2.0, 0, 0, 3, 3]]), 2)
    with pytest.raises(IndexError, match="roi_pool: box 0 is of image 0, and the input has no images"):
        F.roi_pool(x[:0], minidl.tensor([[0.0, 0, 0, 3, 3]]), 2)
    with pytest.raises(ValueError, match=r"roi_pool: box 1 has a corner that is not a number: 0\.0, nan, 3\.0, 3\.0"):
        F.roi_pool(x, minidl.tensor([[1.0, 0, 0, 3, 3], [0.0, 0, np.nan, 3, 3]]), 2)


@pytest.mark.torch
def test_the_oracle_is_that_of_the_paper() -> None:
    """A region shared among windows is adaptive pooling of its pixels."""
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(2).standard_normal(SHAPE)
    values, _ = oracle(x)
    image, top, left, rows, columns = roi.regions(BOXES, SCALE)[1].tolist()
    crop = torch.tensor(x[image, :, top : top + rows, left : left + columns])
    np.testing.assert_array_equal(values[1], torch.nn.functional.adaptive_max_pool2d(crop, GRID).numpy())


def test_where_a_number_comes_from() -> None:
    """The winner among the terms of its window, its place, and a window outside of the image."""

    class Boxes(nn.Module):
        def forward(self, x: Any) -> Any:
            return F.roi_pool(x, minidl.from_numpy(BOXES[:-1]), GRID, SCALE)

    x = minidl.from_numpy(np.random.default_rng(1).standard_normal(SHAPE))
    run = trace(Boxes(), x)
    values, indices = oracle(x.numpy())
    for at in ((1, 1, 1, 2), (3, 0, 0, 0)):
        name = ",".join(map(str, at))
        assert explain(run, f"roi_pool:0[{name}]").value == values[at]
        assert explain(run, f"roi_pool:1[{name}]").value == indices[at] >= 0
    assert "nothing of this window lies inside the image" in str(explain(run, "roi_pool:0[5,0,1,1]"))
