"""Training steps as captured graphs: the numbers of the step itself, and a refusal of what a graph cannot repeat."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import nn, optim
from minidl.cuda import CaptureError, graph_step
from minidl.optim.conditional import step_unless
from tests.checks import cuda_scale as checks

EMULATED = True  # the optimisers' kernels are what a graph can hold


def model(dropout: float = 0.0) -> nn.Module:
    minidl.manual_seed(3)
    layers = [nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(dropout), nn.Linear(6, 3)]
    return nn.Sequential(*layers).cuda()


def batches(count: int, n: int = 4) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(1)
    arrays = [(rng.standard_normal((n, 5)).astype("float32"), rng.integers(0, 3, n)) for _ in range(count)]
    return [tuple(minidl.from_numpy(a).cuda() for a in pair) for pair in arrays]


def step_of(net: nn.Module, optimiser: Any) -> Any:
    def step(x: Any, y: Any) -> Any:
        optimiser.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimiser.step()
        return loss

    return step


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_it_trains_as_the_step_does(kind: str, cupy: Any) -> None:
    """With a schedule, dropout and running statistics, and a batch of another size in between."""
    make = {
        "sgd": lambda p: optim.SGD(p, lr=0.3, momentum=0.9, weight_decay=0.01),
        "adamw": lambda p: optim.AdamW(p, lr=0.05),
    }[kind]
    data = batches(4) + batches(1, 3) + batches(3)
    results = []
    for captured in (False, True):
        net = model(0.25)
        optimiser = make(net.parameters())
        schedule = optim.lr_scheduler.ExponentialLR(optimiser, 0.8)
        step = step_of(net, optimiser)
        step = graph_step(step, warmup=1) if captured else step
        losses = []
        for i, (x, y) in enumerate(data):
            losses.append(step(x, y).item())
            schedule.step()
            if i == 5:
                optimiser.zero_grad()  # outside of the step: the recorded gradients come back
        state = optimiser.state_dict()["state"]
        results.append((losses, [v.numpy() for v in net.state_dict().values()], state, step))
    (losses, weights, state, _), (others, captured_weights, captured_state, recorded) = results
    assert losses == others and len(set(losses)) == len(losses)
    for a, b in zip(weights, captured_weights, strict=True):
        np.testing.assert_array_equal(b, a)
    for a, b in zip(state.values(), captured_state.values(), strict=True):
        for name, value in a.items():
            np.testing.assert_array_equal(np.asarray(b[name].get() if hasattr(value, "get") else b[name]),
                                          np.asarray(value.get() if hasattr(value, "get") else value))  # fmt: skip
    assert len(recorded._recorded) == 1, "three batches of four were enough to record, one of three was not"


def test_nothing_happens_while_it_is_recorded(cupy: Any) -> None:
    """The call that records runs the step once, by launching it."""
    net = model()
    optimiser = optim.SGD(net.parameters(), lr=0.1)
    step = graph_step(step_of(net, optimiser), warmup=1)
    (x, y), *_ = batches(1)
    step(x, y)
    before = [p.detach().numpy().copy() for p in net.parameters()]
    loss = step(x, y)
    (recorded,) = step._recorded.values()
    moved = [abs(p.detach().numpy() - b).max() for p, b in zip(net.parameters(), before)]
    assert max(moved) > 0 and np.isfinite(loss.item())
    if cupy.__version__.endswith("standin"):
        assert recorded.graph.launches == 1
    assert step(x, y) is loss, "the result is overwritten by the next call"


class Signs(optim.SGD):
    """An update of its own, which has no twin in CUDA."""

    def update(self, p: Any, g: Any, state: Any, group: Any) -> None:
        p -= group["lr"] * np.sign(g)


def test_what_a_graph_cannot_repeat_is_refused(cupy: Any) -> None:
    net = model()
    optimiser = optim.SGD(net.parameters(), lr=0.1)
    plain = step_of(net, optimiser)
    (x, y), *_ = batches(1)
    slow = step_of(net, Signs(net.parameters(), lr=0.1))
    refused = [
        ("asks the device for a value, waits for it or copies from the host", lambda x, y: plain(x, y).item()),
        (
            "from the host to the device, which a graph cannot repeat: bring it there before",
            lambda x, y: plain(x + minidl.randn(4, 5).cuda(), y),
        ),
        (r"copies an array of shape \(4, 5\) from the device to the host", lambda x, y: plain(x.cpu().cuda(), y)),
        (
            r"Signs computes its update of a parameter of shape \(6, 5\) in Python, with numbers that a graph",
            slow,
        ),
    ]
    for message, step in refused:
        recorded = graph_step(step, warmup=1)
        recorded(x, y)
        with pytest.raises(CaptureError, match=message):
            recorded(x, y)
        plain(x, y)  # and everything goes on as before
    with pytest.raises(CaptureError, match="argument 1 is no tensor on a CUDA device"):
        graph_step(plain)(x, y.cpu())
    with pytest.raises(ValueError, match="warmup must be at least 1, not 0"):
        graph_step(plain, warmup=0)
    recorded = graph_step(plain, warmup=1)
    recorded(x, y)
    recorded(x, y)
    net.to("cpu").to("cuda")
    with pytest.raises(CaptureError, match="has other memory than when the step was recorded"):
        recorded(x, y)


def scaled_step(net: nn.Module, optimiser: Any, scaler: Any, ask: bool) -> Any:
    """A step in float16; with ``ask`` the host wants to know whether a gradient was not finite, and decides."""

    def step(x: Any, y: Any) -> Any:
        optimiser.zero_grad()
        with minidl.autocast("cuda"):
            loss = F.cross_entropy(net(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimiser)
        if ask:
            scaler.know(optimiser, not all(p.grad.isfinite().all().item() for p in net.parameters()))
        scaler.step(optimiser)
        scaler.update()
        return loss

    return step


SCALED = {
    "sgd": lambda p: optim.SGD(p, lr=0.3, momentum=0.9),
    "adamw": lambda p: optim.AdamW(p, lr=0.05),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.05, lr_decay=0.1),
}


@pytest.mark.parametrize("kind", SCALED)
def test_the_scale_of_gradients_stays_on_the_device(kind: str, cupy: Any) -> None:
    """Too large at first, grown again, and a batch that is not finite: the steps that the host would have left out."""
    data = batches(9)
    data[6] = (data[6][0] * float("inf"), data[6][1])
    found = []
    for captured in (False, True):
        net = model()
        optimiser, scaler = SCALED[kind](net.parameters()), minidl.GradScaler(init_scale=2.0**19, growth_interval=2)
        step = scaled_step(net, optimiser, scaler, ask=not captured)
        step = graph_step(step, warmup=1) if captured else step
        losses, scales = [], []
        for x, y in data:
            losses.append(step(x, y).item())
            scales.append(scaler.get_scale())
        state = optimiser.state_dict()["state"]
        counts = [entry.get("step") for entry in state.values()]
        found.append((losses, scales, counts, [p.detach().numpy() for p in net.parameters()], scaler.state_dict()))
    (losses, scales, counts, weights, state), (others, captured_scales, captured_counts, others_weights, last) = found
    assert scales[0] == 2.0**18 and scales[6] < scales[5] and max(scales[1:6]) > min(scales[1:6])
    assert scales == captured_scales and counts == captured_counts and state == last
    np.testing.assert_allclose(others, losses, 1e-6)
    for a, b in zip(weights, others_weights, strict=True):
        np.testing.assert_allclose(b, a, 1e-5, 1e-6)


def test_a_step_with_a_scale_asks_nothing(cupy: Any) -> None:
    from tests.standin import TRAFFIC

    net = model()
    optimiser, scaler = optim.Adam(net.parameters()), minidl.GradScaler()
    step = scaled_step(net, optimiser, scaler, ask=False)
    (x, y), *_ = batches(1)
    step(x, y)
    with TRAFFIC.counted() as seen:
        step(x, y)
    if cupy.__version__.endswith("standin"):
        assert (seen.downloads, seen.waits) == (0, 0)
    scaler.load_state_dict(scaler.state_dict() | {"scale": 8.0})
    assert scaler.get_scale() == 8.0
    scaler.step(optimiser)
    scaler.update(4.0)
    assert scaler.get_scale() == 4.0


def test_what_must_ask_whether_to_update_cannot_be_captured(cupy: Any) -> None:
    net = model()
    optimiser = optim.SGD(net.parameters(), lr=0.1, momentum=0.9, dampening=0.5)
    (x, y), *_ = batches(1)
    recorded = graph_step(scaled_step(net, optimiser, minidl.GradScaler(), ask=False), warmup=1)
    recorded(x, y)
    with pytest.raises(CaptureError, match="asks the device for a value"):
        recorded(x, y)


def test_a_step_on_the_hosts_word_counts_those_that_were_made(cupy: Any) -> None:
    results = []
    for place in ("cpu", "cuda"):
        w = minidl.ones(3, device=place).requires_grad_()
        adam = optim.Adam([w], lr=0.1)
        w.grad = minidl.tensor([1.0, -2.0, 3.0], device=place)
        for _ in range(3 if place == "cuda" else 0):
            step_unless(adam, cupy.asarray(np.array(True)))
        adam.step()
        w.grad = minidl.tensor([-1.0, -2.0, 0.5], device=place)
        adam.step()
        results.append(w.detach().cpu().numpy())
    np.testing.assert_allclose(results[1], results[0], rtol=1e-6)


def test_parameters_in_one_memory_take_turns_and_no_flag(cupy: Any) -> None:
    memory = minidl.zeros(6, device="cuda")
    tied = [memory[:4].requires_grad_(), memory[2:].requires_grad_()]
    sgd, scaler = optim.SGD(tied, lr=0.5), minidl.GradScaler(init_scale=2.0)
    for gradient in (2.0, np.inf, 4.0):
        for p in tied:
            p.grad = minidl.full((4,), gradient, device="cuda")
        scaler.step(sgd)
        scaler.update()
    assert memory.tolist() == [-2.5, -2.5, -5.0, -5.0, -2.5, -2.5]  # 2 / 2 and 4 / 1, halved


def test_synchronize_waits(cupy: Any) -> None:
    assert minidl.cuda.is_available()
    minidl.cuda.synchronize()


@pytest.mark.parametrize("number", range(len(checks.RULES)), ids=[rule.__name__ for rule, _ in checks.RULES])
def test_a_flag_on_the_device_decides_about_an_update(number: int, cupy: Any) -> None:
    checks.flags(cupy, number)


def test_the_scale_changes_as_that_of_the_host(cupy: Any) -> None:
    checks.scale(cupy)
