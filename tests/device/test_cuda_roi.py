"""RoI pooling written in CUDA C++: emulated on the CPU through the stand-in, and on a device where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.see import explain, trace
from tests.checks.cuda import channels_last, gappy, plain
from tests.checks.cuda_roi import pools_boxes
from tests.checks.roi import BOXES, GRID, SCALE, SHAPE

EMULATED = True


@pytest.mark.parametrize(("dtype", "lay"), [("float32", plain), ("float64", channels_last), ("float16", gappy)])
def test_it_is_the_definition(dtype: str, lay: Any, cupy: Any) -> None:
    pools_boxes(cupy, dtype, lay)


def test_derivatives_of_any_order(cupy: Any) -> None:
    """The operation on both devices, boxes in one table and in lists; a box of no image gives zeros on a device."""
    found = []
    for place in ("cpu", "cuda"):
        rng = np.random.default_rng(5)
        x, u = (minidl.from_numpy(rng.standard_normal(SHAPE)).to(place) for _ in range(2))
        y = F.roi_pool(x.requires_grad_(), minidl.from_numpy(BOXES[:-1]).to(place), GRID, SCALE)
        lists = [minidl.from_numpy(BOXES[BOXES[:, 0] == n, 1:]).to(place) for n in range(SHAPE[0])]
        g = minidl.from_numpy(rng.standard_normal(y.shape)).to(place).requires_grad_()
        (dx,) = minidl.autograd.grad(y, [x], g, create_graph=True)
        results = (y, dx, F.roi_pool(x, lists, GRID, SCALE), *minidl.autograd.grad((dx * u).sum(), [g]))
        found.append([t.detach().numpy() for t in results])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, 1e-12, 1e-12)
    assert not F.roi_pool(x, minidl.tensor([[9.0, 0, 0, 3, 3]]).cuda(), 2).detach().numpy().any()


def test_the_host_does_not_wait(cupy: Any) -> None:
    from tests.standin import TRAFFIC

    x, boxes = minidl.ones(*SHAPE, device="cuda").requires_grad_(), minidl.from_numpy(BOXES).cuda()
    g = minidl.randn(len(BOXES), SHAPE[1], *GRID).cuda()
    with TRAFFIC.counted() as seen:
        F.roi_pool(x, boxes, GRID, SCALE).backward(g)
    if cupy.__version__.endswith("standin"):
        assert (seen.uploads, seen.downloads, seen.waits) == (0, 0, 0)


def test_where_a_number_comes_from_on_a_device(cupy: Any) -> None:
    class Boxes(nn.Module):
        def forward(self, x: Any) -> Any:
            return F.roi_pool(x, minidl.from_numpy(BOXES[:-1]).to(x.device), GRID, SCALE)

    x = minidl.from_numpy(np.random.default_rng(1).standard_normal(SHAPE)).cuda().requires_grad_()
    run = trace(Boxes(), x, loss=lambda y: (y * y).sum())
    y = Boxes()(x)
    (dx,) = minidl.autograd.grad((y * y).sum(), [x])
    assert explain(run, "roi_pool:0[1,1,1,2]").value == y[1, 1, 1, 2].item()
    found = explain(run, "input.grad[0,1,2,3]")
    assert abs(found.value - dx[0, 1, 2, 3].item()) < 1e-12
