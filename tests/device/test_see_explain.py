"""Numbers of a network on a device are explained as those of one on the CPU, also where it was told by arrays there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.see import explain, trace

OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "an index": lambda x: x[minidl.tensor([1, 0], device=x.device)],
    "a mask": lambda x: x[x > 0],
    "gather": lambda x: x.gather(1, minidl.tensor([[[[2, 1, 3, 0, 0]]], [[[1, 1, 0, 2, 3]]]], device=x.device)),
    "sort": lambda x: x.sort(1)[0],
    "max_unpool2d": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
    "embedding": lambda x: F.embedding(minidl.tensor([1, 0], device=x.device), x.reshape(8, 30)),
    "roi_pool": lambda x: F.roi_pool(x, minidl.tensor([[1.0, 0, 1, 5, 4]], device=x.device), 2),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_results_and_gradients(name: str, cupy: Any) -> None:
    class Network(nn.Module):
        def forward(self, x: Any) -> Any:
            return OPERATIONS[name](x)

    values = np.random.default_rng(3).standard_normal((2, 4, 5, 6))
    found = []
    for place in ("cpu", "cuda"):
        x = minidl.from_numpy(values).to(place).requires_grad_()
        run = trace(Network(), x, loss=lambda y: (y**3).sum())
        first = ",".join("0" for _ in run.outputs[0].shape)
        found.append(
            [explain(run, at).value for at in (f"output[{first}]", "input.grad[1,2,3,4]", "input.grad[0,0,0,0]")]
        )
    np.testing.assert_allclose(found[1], found[0], 1e-12, 1e-12)
    assert np.any(found[0])
