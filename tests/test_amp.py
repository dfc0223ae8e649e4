"""Mixed precision: which operations take it, that training gets through it, and the scaler's bookkeeping."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import nn, optim
from minidl.amp import rounded_array

VALUES = np.random.default_rng(3).standard_normal((4, 5)).astype("float32")


def bits_kept(x: np.ndarray) -> int:
    """Bits behind the point that any of the values uses."""
    mantissa, _ = np.frexp(x[np.isfinite(x) & (x != 0)].astype("float64"))
    return next(n for n in range(53) if (np.ldexp(mantissa, n + 1) % 1 == 0).all())


@pytest.mark.parametrize(("kind", "bits"), [("bfloat16", 7), ("float16", 10)])
def test_rounding_keeps_so_many_bits(kind: str, bits: int) -> None:
    x = np.concatenate([VALUES.reshape(-1), np.float32([0, -0.0, np.inf, -np.inf, 1e30])])
    y = rounded_array(x, kind)
    assert y.dtype == np.float32 and bits_kept(y) == bits < bits_kept(x)
    ordinary = np.isfinite(x) & (abs(x) < 1e4) & (x != 0)
    assert (abs(y[ordinary] - x[ordinary]) <= 2.0 ** -(bits + 1) * abs(x[ordinary])).all()
    np.testing.assert_array_equal(rounded_array(-x, kind), -y)
    assert np.isnan(rounded_array(np.float32([np.nan]), kind)).all()
    assert (y[-1] == np.inf) == (kind == "float16")


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_products_are_rounded_and_sums_are_not(kind: str) -> None:
    rng = np.random.default_rng(1)
    x, w, b = (minidl.from_numpy(rng.standard_normal(s).astype("float32")) for s in ((6, 5), (3, 5), (3,)))
    image, filters = minidl.from_numpy(rng.standard_normal((2, 3, 7, 6)).astype("float32")), minidl.randn(4, 3, 3, 3)
    bits = {"bfloat16": 7, "float16": 10}[kind]
    with minidl.autocast("cpu", kind):
        for y in (F.linear(x, w, b), x @ w.mT, F.conv2d(image, filters, padding=1), minidl.einsum("ij,kj->ik", x, w)):
            assert y.dtype == np.float32 and bits_kept(y.numpy()) <= bits
        for y in (
            x.sum(0),
            F.softmax(x, -1),
            F.layer_norm(x, 5),
            x + 1,
            x.exp(),
            F.cross_entropy(x, minidl.zeros(6).long()),
        ):
            assert bits_kept(np.atleast_1d(y.numpy())) > bits
        with minidl.autocast("cpu", enabled=False):
            assert bits_kept((x @ w.mT).numpy()) > bits
        with minidl.autocast("cuda", "float16"):
            assert bits_kept((x @ w.mT).numpy()) > bits, "it concerns tensors on CUDA"
    assert bits_kept((x @ w.mT).numpy()) > bits
    low = minidl.from_numpy(rounded_array(x.numpy(), kind)), minidl.from_numpy(rounded_array(w.numpy(), kind))
    decorated = minidl.autocast("cpu", kind)(F.linear)(x, w)
    np.testing.assert_array_equal(decorated.numpy(), rounded_array(F.linear(*low).numpy(), kind))


def test_gradients_take_the_precision_of_the_results() -> None:
    w = minidl.nn.Parameter(VALUES)
    with minidl.autocast("cpu"):
        y = minidl.from_numpy(VALUES) @ w.mT
    y.backward(minidl.from_numpy(np.random.default_rng(2).standard_normal((4, 4)).astype("float32")))
    assert w.grad.dtype == w.dtype == np.float32 and bits_kept(w.grad.numpy()) == 7


def network() -> tuple[nn.Module, Any, Any]:
    minidl.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 2),
    )
    rng = np.random.default_rng(8)
    x, y = rng.standard_normal((48, 1, 6, 6)).astype("float32"), rng.integers(0, 2, 48)
    x[y == 1, :, :3] += 1
    return model, minidl.from_numpy(x), minidl.from_numpy(y)


def trained(kind: str | None, scaled: bool = False, steps: int = 25) -> tuple[float, float]:
    """Loss and share of right answers after training in a precision."""
    model, x, y = network()
    optimiser, scaler = optim.Adam(model.parameters(), lr=0.03), minidl.GradScaler("cpu", enabled=scaled)
    for _ in range(steps):
        optimiser.zero_grad()
        with minidl.autocast("cpu", kind, enabled=kind is not None):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        scaler.step(optimiser)
        scaler.update()
    return loss.item(), (model(x).argmax(1) == y).float().mean().item()


def test_training_comes_as_far() -> None:
    plain = trained(None)
    assert plain[1] >= 0.95
    for kind, scaled in (("bfloat16", False), ("float16", True)):
        loss, right = trained(kind, scaled)
        assert loss == pytest.approx(plain[0], abs=0.03) and loss != plain[0] and right >= plain[1] - 0.05


def test_the_scaler_backs_off_and_grows() -> None:
    w = minidl.nn.Parameter([2.0, 3.0])
    sgd = optim.SGD([w], lr=1.0)
    scaler = minidl.GradScaler("cpu", init_scale=16.0, growth_interval=2)
    scales = []
    for slope in (1.0, math.inf, 0.5, 0.25, math.nan, 0.0):
        before = w.detach().numpy().copy()
        sgd.zero_grad()
        scaler.scale((w * slope).sum()).backward()
        scaler.step(sgd)
        expected = before - slope if math.isfinite(slope) else before
        np.testing.assert_array_equal(w.detach().numpy(), expected)
        scaler.update()
        scales.append(scaler.get_scale())
    assert scales == [16, 8, 8, 16, 8, 8]
    other = minidl.GradScaler("cpu")
    other.load_state_dict(scaler.state_dict())
    assert other.state_dict() == scaler.state_dict() and other.get_scale() == 8
    sgd.zero_grad()
    scaler.scale(w.sum()).backward()
    scaler.unscale_(sgd)
    np.testing.assert_array_equal(w.grad.numpy(), [1, 1])
    with pytest.raises(RuntimeError, match="unscale_ has been called for this optimizer since the last update"):
        scaler.unscale_(sgd)
    scaler.step(sgd)
    with pytest.raises(RuntimeError, match="step has been called for this optimizer since the last update"):
        scaler.step(sgd)
    scaler.update(2.0)
    assert scaler.get_scale() == 2
    assert [y.item() for y in scaler.scale([minidl.tensor(3.0), minidl.tensor(4.0)])] == [6, 8]


def test_a_scaler_that_is_not_enabled_does_nothing() -> None:
    w = minidl.nn.Parameter([2.0])
    sgd, scaler = optim.SGD([w], lr=1.0), minidl.GradScaler(enabled=False)
    loss = w.sum()
    assert scaler.scale(loss) is loss
    loss.backward()
    scaler.unscale_(sgd)
    scaler.step(sgd)
    scaler.update()
    scaler.load_state_dict(scaler.state_dict())
    assert w.item() == 1 and scaler.get_scale() == 1 and not scaler.is_enabled() and scaler.state_dict() == {}


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="the device type is 'cuda' or 'cpu', not 'tpu'"):
        minidl.autocast("tpu")
    with pytest.raises(ValueError, match="the low precision is 'float16' or 'bfloat16', not 'int8'"):
        minidl.autocast("cpu", "int8")
    with pytest.raises(ValueError, match="the growth factor must be above 1, not 1"):
        minidl.GradScaler(growth_factor=1.0)
    with pytest.raises(ValueError, match="the backoff factor must lie between 0 and 1, not 2"):
        minidl.GradScaler(backoff_factor=2.0)
    with pytest.raises(TypeError, match="takes a tensor or several, not float"):
        minidl.GradScaler().scale(1.0)
    with pytest.raises(RuntimeError, match=r"there was no step\(\) nor unscale_\(\) since the last"):
        minidl.GradScaler().update()
    with pytest.raises(
        RuntimeError, match=r"the state lacks scale, growth_factor.* was the scaler that gave it enabled"
    ):
        minidl.GradScaler().load_state_dict({})
    w = minidl.nn.Parameter(minidl.ones(2, dtype="float16"))
    w.grad = minidl.ones(2, dtype="float16")
    with pytest.raises(ValueError, match="does not scale gradients of float16: keep the parameters in float32"):
        minidl.GradScaler().unscale_(optim.SGD([w]))
    with minidl.autocast("cpu"), pytest.raises(TypeError, match="linear needs one dtype"):
        F.linear(minidl.ones(2, 3, dtype="float64"), minidl.ones(2, 3))


def test_what_is_computed_again_takes_the_precision_of_the_first_time() -> None:
    """A checkpoint runs its function a second time in the backward pass, which lies outside of ``autocast``."""
    rng = np.random.default_rng(4)
    x, g = (minidl.from_numpy(rng.standard_normal((4, 5)).astype("float32")) for _ in "xg")
    found = []
    for apply in (lambda f, x: f(x), minidl.autograd.checkpoint):
        for inside in (False, True):
            minidl.manual_seed(0)
            net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 5))
            with minidl.autocast("cpu"):
                y = apply(net, x)
                if inside:
                    y.backward(g)
            if not inside:
                y.backward(g)
            found.append([y.tolist(), *(p.grad.tolist() for p in net.parameters())])
    assert found[0] == found[1] == found[2] == found[3]
    with minidl.autocast("cpu", enabled=False):
        minidl.manual_seed(0)
        assert nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 5))(x).tolist() != found[0][0]


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_operands_of_float16_and_float32_meet_in_the_low_precision(kind: str) -> None:
    rng = np.random.default_rng(5)
    x, image = (minidl.from_numpy(rng.standard_normal(s).astype("float16")) for s in ((6, 5), (2, 3, 7, 6)))
    w, b, filters = (minidl.from_numpy(rng.standard_normal(s).astype("float32")) for s in ((3, 5), (3,), (4, 3, 3, 3)))
    with minidl.autocast("cpu", kind):
        got = F.linear(x, w, b), x @ w.mT, F.conv2d(image, filters, padding=1)
        x, image = x.float(), image.float()
        want = F.linear(x, w, b), x @ w.mT, F.conv2d(image, filters, padding=1)
    for y, z in zip(got, want, strict=True):
        assert y.dtype == np.float32 and y.tolist() == z.tolist()


def test_tensors_of_another_device_are_not_its_business() -> None:
    half, single = minidl.ones(2, 3, dtype="float16"), minidl.ones(4, 3)
    with minidl.autocast("cuda"):
        with pytest.raises(TypeError, match="linear needs one dtype for all its arguments, got float16, float32"):
            F.linear(half, single)
        assert F.mse_loss(half, half).dtype == np.float16
    with minidl.autocast("cpu"):
        assert F.mse_loss(half, half).dtype == np.float32


@pytest.mark.parametrize("outputs", ["loss", {"loss": 1.0}, 3.0], ids=str)
def test_only_tensors_are_scaled(outputs: Any) -> None:
    with pytest.raises(TypeError, match=f"takes a tensor or several, not {type(outputs).__name__}"):
        minidl.GradScaler().scale(outputs)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_a_linear_layer_has_the_same_bits_for_one_axis_more_and_for_whoever_listens(kind: str) -> None:
    """Where it takes its steps one by one, what lies between them is not rounded, and the bias is."""
    rng = np.random.default_rng(6)
    x, w, b, g = (rng.standard_normal(s).astype("float32") for s in ((6, 5), (3, 5), (3,), (6, 3)))
    found = []
    for way in ("together", "one axis more", "listened"):
        leaves = [minidl.tensor(a, requires_grad=True) for a in (x, w, b)]
        given = leaves[0].reshape(2, 3, 5) if way == "one axis more" else leaves[0]
        with minidl.autocast("cpu", kind), minidl.autograd.Tape() if way == "listened" else nullcontext():
            y = F.linear(given, *leaves[1:]).reshape(6, 3)
        y.backward(minidl.tensor(g))
        assert bits_kept(y.detach().numpy()) <= {"bfloat16": 7, "float16": 10}[kind]
        found.append([y.tolist(), *(leaf.grad.tolist() for leaf in leaves)])
    assert found[0] == found[1] == found[2]
