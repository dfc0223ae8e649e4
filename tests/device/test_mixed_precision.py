"""Mixed precision on a device: what is float16, what float32, and that training comes as far as in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import nn, optim
from minidl.data import ArrayDataset, DataLoader
from minidl.train import Trainer
from tests.standin import TRAFFIC


def network() -> nn.Module:
    minidl.manual_seed(5)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(16, 2)).cuda()


def images(n: int = 32) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    x, y = rng.standard_normal((n, 1, 5, 6)).astype("float32"), rng.integers(0, 2, n)
    x[y == 1, :, :2] += 1.5
    return x, y


def test_products_are_float16_and_norms_and_losses_float32(cupy: Any) -> None:
    model = network()
    x, y = (minidl.from_numpy(a).cuda() for a in images(4))
    seen = []
    for layer in model:
        layer.register_forward_hook(lambda module, args, result: seen.append(str(result.dtype)))
    with minidl.autocast("cuda"):
        loss = F.cross_entropy(model(x), y)
        assert F.mse_loss(model(x), minidl.zeros(4, 2, device="cuda")).dtype == np.float32
        with minidl.autocast("cuda", "bfloat16"):
            assert model(x).dtype == np.float32
    assert seen[:6] == ["float16", "float32", "float32", "float32", "float32", "float16"]
    assert loss.dtype == np.float32
    loss.backward()
    assert all(p.dtype == p.grad.dtype == np.float32 for p in model.parameters())


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_it_trains_as_far(kind: str, cupy: Any) -> None:
    x, y = (minidl.from_numpy(a).cuda() for a in images())
    found = []
    for enabled in (False, True):
        model = network()
        optimiser, scaler = optim.Adam(model.parameters(), lr=0.03), minidl.GradScaler(enabled=enabled)
        for _ in range(15):
            optimiser.zero_grad()
            with minidl.autocast("cuda", kind, enabled=enabled):
                loss = F.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimiser)
            scaler.update()
        found.append(loss.item())
    assert found[0] < 0.3 and found[1] == pytest.approx(found[0], abs=0.03) and found[0] != found[1]


def test_the_trainer_still_asks_the_device_once_a_step(cupy: Any, tmp_path: Any) -> None:
    model, data = network(), ArrayDataset(*images())
    loaders = [DataLoader(data, 8, device="cuda") for _ in range(2)]
    run = Trainer(model, optim.SGD(model.parameters(), lr=0.1), *loaders, tmp_path, amp="float16", clip=1.0)
    x, y = (minidl.from_numpy(a).cuda() for a in images(8))
    run._step(x, y)
    with TRAFFIC.counted() as seen:
        run._step(x, y)
    if cupy.__version__.endswith("standin"):
        assert (seen.downloads, seen.waits) == (1, 0)
    before = [p.detach().numpy().copy() for p in model.parameters()]
    run.scaler._scale = 2.0**30
    run._step(x, y)
    assert run.scaler.get_scale() == 2.0**29
    for a, p in zip(before, model.parameters()):
        np.testing.assert_array_equal(p.detach().numpy(), a)


def test_a_step_without_any_gradient_counts_as_a_good_one(cupy: Any) -> None:
    scaler, sgd = minidl.GradScaler(init_scale=8.0), optim.SGD([w := minidl.ones(2, device="cuda")], lr=0.5)
    for gradient in (minidl.tensor([8.0, 16.0], device="cuda"), None):
        w.grad = gradient
        scaler.step(sgd)
        scaler.update()
    assert w.tolist() == [0.5, 0.0]
    assert scaler.state_dict()["_growth_tracker"] == 2 and scaler.get_scale() == 8.0
