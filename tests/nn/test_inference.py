"""A layer's call that is run again in inference: the bits of one with nothing remembered, whatever happened before."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("numba")

import minidl
from minidl import nn
from minidl.kernels import jit, memory
from minidl.kernels.catalogue import _choose
from minidl.ops import inference
from tests.checks import inference as checks
from tests.checks.inference import agrees, answer, fresh, last, programs, two_inputs, unit


@pytest.fixture(autouse=True)
def nothing_remembered():
    memory.release()


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
def test_a_call_that_is_run_again(check) -> None:
    check()


@pytest.mark.parametrize("name", checks.WRITES)
def test_a_write_is_seen(name: str) -> None:
    checks.write_is_seen(name)


# ---- which layers ----

LAYERS = {
    "1-D": (lambda: nn.Conv1d(6, 8, 5, stride=2, padding=3), (2, 6, 19)),
    "3-D": (lambda: nn.Conv3d(4, 6, (2, 3, 1), padding=(1, 0, 0)), (2, 4, 4, 6, 5)),
    "one channel": (lambda: nn.Conv2d(1, 5, 3), (3, 1, 6, 6)),
    "groups": (lambda: nn.Conv2d(8, 12, 3, groups=2, dilation=2, padding=2), (2, 8, 9, 7)),
    "depthwise": (lambda: nn.Conv2d(12, 12, 3, groups=12, stride=2), (2, 12, 9, 7)),
    "depthwise, two filters": (lambda: nn.Conv2d(12, 24, 3, groups=12, padding=1), (2, 12, 9, 7)),
    "uneven padding": (lambda: nn.Conv2d(6, 8, 3, padding=((0, 1), (2, 1))), (2, 6, 9, 7)),
    "same": (lambda: nn.Conv2d(6, 8, 4, padding="same"), (2, 6, 9, 7)),
    "reflected": (lambda: nn.Conv2d(6, 8, 3, padding=1, padding_mode="reflect"), (2, 6, 9, 7)),
    "Winograd": (lambda: nn.Conv2d(32, 32, 3, padding=1, algorithm="winograd"), (2, 32, 9, 7)),
    "Winograd, groups": (lambda: nn.Conv2d(32, 32, 3, groups=2, algorithm="winograd"), (2, 32, 9, 7)),
    "FFT": (lambda: nn.Conv2d(6, 8, 3, padding=1, algorithm="fft"), (2, 6, 9, 7)),
    "FFT, depthwise": (lambda: nn.Conv2d(6, 6, 5, groups=6, padding=1, algorithm="fft"), (2, 6, 9, 7)),
    "FFT, groups": (lambda: nn.Conv2d(6, 8, 3, groups=2, algorithm="fft"), (2, 6, 9, 7)),
    "im2col": (lambda: nn.Conv2d(6, 8, 3, padding=1, algorithm="im2col"), (2, 6, 9, 7)),
}
NOT_RUN_AGAIN = ("reflected", "Winograd, groups", "FFT, groups", "im2col")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_all_kinds(name: str, dtype: str) -> None:
    minidl.manual_seed(0)
    make, shape = LAYERS[name]
    conv, (x, other) = make().to(dtype).eval(), two_inputs(shape, dtype)
    for y in (x, last(other), x):
        agrees(conv, y)
        assert programs(conv.weight) == (name not in NOT_RUN_AGAIN)
        residual = minidl.as_tensor(answer(conv, y) * 0.5)
        agrees(lambda y, residual=residual: conv.then_relu(y, residual, 0.75), y)


@pytest.mark.parametrize("dtype", ["float16", "int64"])
def test_dtypes_without_a_compiled_kernel(dtype: str) -> None:
    conv, x = nn.Conv2d(3, 4, 2), minidl.arange(120).reshape(2, 3, 4, 5).to(dtype)
    conv.weight = nn.Parameter(minidl.arange(48).reshape(4, 3, 2, 2).to(dtype), requires_grad=False)
    conv.bias = nn.Parameter(minidl.arange(4).to(dtype), requires_grad=False)
    agrees(conv, x)
    assert answer(conv, x).dtype == dtype and programs(conv.weight) == 0


def test_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "HAVE_NUMBA", False)
    _choose.cache_clear()
    try:
        net, (x, _) = unit(), two_inputs()
        agrees(net, x)
        assert programs(net[0].weight) == 0 and inference.kept_bytes() == 0
    finally:
        _choose.cache_clear()


def test_copies_of_a_module_are_layers_of_their_own() -> None:
    net, (x, _) = unit(), two_inputs()
    agrees(net, x)
    twins = [copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    want = answer(net, x)
    for twin in twins:
        assert programs(twin[0].weight) == 0
        agrees(twin, x)
        with minidl.no_grad():
            twin[0].weight.mul_(2)
        agrees(twin, x)
        np.testing.assert_array_equal(answer(net, x), want)


def test_weights_that_were_saved_are_remembered_still(tmp_path) -> None:
    """Nobody got an array that could be written to."""
    from minidl.io import save_weights
    from minidl.train.checkpoint import save_checkpoint

    net, (x, _) = unit(), two_inputs()
    save_weights(tmp_path / "net.safetensors", net)
    save_checkpoint(tmp_path / "checkpoint.safetensors", {"model": net.state_dict()})
    agrees(net, x)
    assert programs(net[0].weight) == programs(net[3].weight) == 1


# ---- whoever watches ----


def test_whoever_listens_or_hooks_in_later_sees_every_layer() -> None:
    net, (x, _) = unit(), two_inputs()
    agrees(net, x)
    want, seen = answer(net, x), []
    with minidl.autograd.Tape() as tape:
        np.testing.assert_array_equal(answer(net, x), want)
    assert [call.primitive.name for call in tape.calls if "conv" in call.primitive.name] == ["conv", "conv"]
    for layer in (net[0], net[1], net[3]):
        handle = layer.register_forward_hook(lambda module, args, y: seen.append(module))
        np.testing.assert_array_equal(answer(net, x), want)
        handle.remove()
    assert seen == [net[0], net[1], net[3]]
    net[0].forward = lambda x: minidl.zeros(2, 9, 8, 7)
    assert np.abs(answer(net, x) - want).max() > 0
    del net[0].forward
    np.testing.assert_array_equal(answer(net, x), want)
    np.testing.assert_allclose(net(x)._array, want, rtol=1e-5, atol=1e-5)


def test_under_autocast_nothing_is_run_again() -> None:
    net, (x, _) = unit(), two_inputs()
    agrees(net, x)
    want = answer(net, x)
    with minidl.autocast("cpu"):
        rounded = answer(net, x)
        np.testing.assert_array_equal(rounded, fresh(net, x))
    assert np.abs(rounded - want).max() > 0


def test_a_trace_between_two_calls_changes_nothing() -> None:
    from minidl import see

    net, (x, _) = unit(), two_inputs()
    agrees(net, x)
    want = answer(net, x)
    see.trace(net.train(), x)  # it puts the running statistics back
    net.eval()
    np.testing.assert_array_equal(answer(net, x), want)
    agrees(net, x)


# ---- mistakes ----

PARAMETER = nn.Parameter
MISTAKES = {
    "another dtype of the bias": ({"bias": PARAMETER(minidl.ones(4).double())}, (2, 3, 8, 8)),
    "one bias for all": ({"bias": PARAMETER(minidl.ones(1))}, (2, 3, 8, 8)),
    "a bias of two axes": ({"bias": PARAMETER(minidl.ones(1, 4))}, (2, 3, 8, 8)),
    "weights of 3 axes": ({"weight": PARAMETER(minidl.ones(4, 3, 3))}, (2, 3, 8, 8)),
    "weights of other channels": ({"weight": PARAMETER(minidl.ones(4, 2, 3, 3))}, (2, 3, 8, 8)),
    "groups": ({"groups": 2}, (2, 3, 8, 8)),
    "stride": ({"stride": 0}, (2, 3, 8, 8)),
    "padding": ({"padding": "more"}, (2, 3, 8, 8)),
    "algorithm": ({"algorithm": "guess"}, (2, 3, 8, 8)),
    "channels": ({}, (2, 5, 8, 8)),
    "too small": ({}, (2, 3, 1, 2)),
    "axes": ({}, (3, 8)),
}


def _error(conv: nn.Module, x: minidl.Tensor) -> str:
    with pytest.raises((ValueError, TypeError)) as caught:
        conv(x)
    return f"{type(caught.value).__name__}: {caught.value} {caught.value.__notes__}"


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_say_what_they_say_with_gradients(name: str) -> None:
    settings, shape = MISTAKES[name]
    conv, x, right = nn.Conv2d(3, 4, 3).eval(), minidl.ones(*shape), minidl.ones(2, 3, 8, 8)
    conv.weight.data.mul_(2)
    before = {name: getattr(conv, name) for name in settings}
    agrees(conv, right)
    for name, value in settings.items():
        setattr(conv, name, value)
    with minidl.no_grad():
        first, second = _error(conv, x), _error(conv, x)
    assert first == second == _error(conv, x)
    for name, value in before.items():
        setattr(conv, name, value)
    agrees(conv, right)


@pytest.mark.parametrize("name", ["stride", "padding", "dilation"])
def test_settings_in_a_list_are_asked_each_time(name: str) -> None:
    conv, (x, _) = nn.Conv2d(6, 4, 3).eval(), two_inputs()
    setting = [1, 2]
    setattr(conv, name, setting)
    for _ in range(2):
        agrees(conv, x)
        setting[:] = 2, 1
    assert programs(conv.weight) == 0


# ---- several threads ----


def test_threads_that_evaluate_release_and_forget_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    nets, inputs = [unit(), unit("float64")], [minidl.randn(n, 6, 5 + n, 8) for n in (1, 2, 3)]
    cases = [(net, x.to(net[0].weight.dtype)) for net in nets for x in inputs]
    want = [fresh(net, x) for net, x in cases]
    monkeypatch.setattr(inference, "KEPT_BYTES", 6000)
    end, failures, done = time.monotonic() + 1.0, [], []

    def evaluate(seed: int) -> None:
        order, count = np.random.default_rng(seed), 0
        while time.monotonic() < end:
            i = int(order.integers(len(cases)))
            if not np.array_equal(answer(*cases[i]), want[i]):
                failures.append(i)
            count += 1
        done.append(count)

    def disturb() -> None:
        while time.monotonic() < end:
            for net in nets:
                inference.forget(net[0].weight)
            inference._known.clear()
            answer(unit(), inputs[0])
            assert inference.kept_bytes() >= 0
        done.append(1)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=evaluate, args=(seed,)) for seed in range(3)]
        threads.append(threading.Thread(target=disturb))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failures and len(done) == 4 and min(done) > 0
