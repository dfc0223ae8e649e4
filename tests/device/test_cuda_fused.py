"""Norms, cross-entropy, activations and updates written in CUDA C++: their definitions, and networks that use them."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import models, nn, optim
from minidl.kernels import activation, catalogue, choice
from minidl.kernels import norm as kernels
from minidl.kernels.cuda import elements, loss, norm
from minidl.kernels.cuda import optim as updates
from tests.checks import cuda_fused as checks
from tests.checks.cuda import channels_last, gappy, plain

EMULATED = True


@pytest.fixture(autouse=True)
def used(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter]:
    """How often each kernel was launched."""
    count: Counter = Counter()
    for module in (norm, loss, elements, updates):
        true = module.function

        def function(xp: Any, file: str, name: str, *flags: Any, true: Any = true, **macros: Any) -> Any:
            count[name] += 1
            return true(xp, file, name, *flags, **macros)

        monkeypatch.setattr(module, "function", function)
    yield count


LAYOUTS = (plain, channels_last, gappy)


@pytest.mark.parametrize("number", range(len(checks.SHAPES)), ids=[str(s) for s in checks.SHAPES])
def test_batch_norm(number: int, cupy: Any, used: Counter) -> None:
    """Each shape in one precision and two storage orders, its sums in one slice and in several."""
    dtype = ("float32", "float64")[number % 2]
    for i in range(2):
        checks.norms(cupy, checks.SHAPES[number], dtype, LAYOUTS[(number + i) % 3], slices=i == 1)
    assert {"moments", "statistics", "normalise", "sums", "slopes", "combine"} <= set(used)


def test_nothing_to_normalise(cupy: Any) -> None:
    for shape in ((0, 3, 4, 4), (2, 0, 3), (2, 3, 0)):
        x, v = cupy.zeros(shape, "float32"), cupy.ones(shape[1], "float32")
        y, mean, variance = kernels.batch_norm(x, v, v)
        dx, dweight, dbias = kernels.batch_norm_grad(x, x, v, mean, variance)
        assert y.shape == dx.shape == shape and np.isnan(mean.get()).all() and np.isnan(variance.get()).all()
        assert kernels.scale_shift(x, v, v).shape == kernels.scale_shift_grad(x, x, v)[0].shape == shape
        np.testing.assert_array_equal(dweight.get(), dbias.get())


@pytest.mark.parametrize("lay", [plain, channels_last])
def test_a_large_mean_costs_no_digits(lay: Any, cupy: Any) -> None:
    checks.large_mean(cupy, lay)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("ceiling", [np.inf, 6.0])
def test_an_infinite_result_passes_its_gradient_unless_it_is_cut_off(ceiling: float, dtype: str, cupy: Any) -> None:
    """As ReLU by itself does; in float16 a sum is soon too large."""
    x, g = (cupy.asarray(a).astype(dtype) for a in checks.operands((3, 4, 5, 2), "float32")[:2])
    added = cupy.ones(x.shape, dtype)
    added[1, :, 3, 1] = np.inf
    y, mean, variance = kernels.batch_norm_relu(x, None, None, added=added, ceiling=ceiling)
    kept = kernels.batch_norm_relu_grad(g, x, None, None, mean, variance, y=y, ceiling=ceiling)[3]
    assert (y.get()[1, :, 3, 1] == ceiling).all()
    want = g.get()[1, :, 3, 1] if ceiling == np.inf else np.zeros(4)
    np.testing.assert_array_equal(kept.get()[1, :, 3, 1], want)


def test_the_same_bits_in_every_run(cupy: Any) -> None:
    x, g = (cupy.asarray(a) for a in checks.operands((3, 5, 6, 7), "float32")[:2])
    first, second = (kernels.batch_norm_relu(x, None, None, added=g) for _ in range(2))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, second))


@pytest.mark.parametrize("number", range(len(checks.LOSSES)))
def test_cross_entropy(number: int, cupy: Any, used: Counter) -> None:
    """Loss, gradient by a random cotangent, and the gradient of that: those of the CPU."""
    checks.cross_entropy(number)
    assert used["cross_entropy"] and used["cross_entropy_grad"] and used["reduce"]


def test_scores_that_rule_classes_out(cupy: Any) -> None:
    x = np.array([[0.5, -np.inf, 2.0], [-np.inf, -np.inf, -np.inf], [np.inf, 0.0, 1.0], [np.nan, 0.0, 1.0]], "float32")
    y = minidl.tensor([0, 1, 1, 1])
    with np.errstate(invalid="ignore"):
        host = F.cross_entropy(minidl.from_numpy(x), y, reduction="none")
    device = F.cross_entropy(minidl.from_numpy(x).cuda(), y.cuda(), reduction="none")
    np.testing.assert_allclose(device.numpy(), host.numpy(), 1e-6)
    assert np.isnan(host.numpy()[1:]).all()


@pytest.mark.parametrize("number", range(len(checks.UPDATES)))
def test_updates_have_the_bits_of_the_definition(number: int, cupy: Any, used: Counter) -> None:
    rule = checks.updates(cupy, number)
    assert used[rule] >= 3, "one launch for all parameters of a step"


def test_a_step_uploads_no_table_twice(cupy: Any) -> None:
    from tests.standin import TRAFFIC

    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).cuda()
    optimiser = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    kept = [minidl.ones(*p.shape, device="cuda") for p in model.parameters()]
    for step in range(4):
        for p, g in zip(model.parameters(), kept):
            p.grad = g
        with TRAFFIC.counted() as seen:
            optimiser.step()
        if cupy.__version__.endswith("standin"):  # the first step is told that it is the first
            assert seen.uploads == (3, 1, 0, 0)[step] and seen.downloads == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_are_clipped_and_scaled_together(dtype: str, cupy: Any, used: Counter) -> None:
    """9,100 elements are two shares; the scaler finds what is not finite in any of them."""
    rng = np.random.default_rng(4)
    arrays = [rng.standard_normal(s).astype(dtype) for s in ((3, 4), (), (70, 130), (0, 2))]
    found = []
    for place in ("cpu", "cuda"):
        params = [minidl.zeros(*a.shape, dtype=dtype, device=place).requires_grad_() for a in arrays]
        for p, a in zip(params, arrays):
            p.grad = minidl.from_numpy(np.array(a)).to(place)
        norms = [nn.utils.clip_grad_norm_(params, most).item() for most in (1e3, 2.0)]
        sgd, scaler = optim.SGD(params, lr=1.0), minidl.GradScaler(place, init_scale=4.0)
        scaler.unscale_(sgd)
        found.append([np.array(norms), *(p.grad.numpy().copy() for p in params)])
        assert scaler.step(sgd) is None and params[0].detach().numpy().any()
        scaler.update()
        before = params[0].detach().numpy().copy()
        params[2].grad[69, 129] = np.inf
        scaler.step(sgd)
        scaler.update()
        np.testing.assert_array_equal(params[0].detach().numpy(), before)
        assert scaler.get_scale() == 2
    for a, b in zip(*found):
        np.testing.assert_allclose(b, a, {"float32": 1e-6, "float64": 1e-13}[dtype])
    assert used["scale"] == 4 and used["squares"] >= 2


@pytest.mark.parametrize("lay", [plain, channels_last])
def test_activations(lay: Any, cupy: Any, used: Counter) -> None:
    rng = np.random.default_rng(2)
    x, g = rng.standard_normal((2, 2, 5, 7, 41)).astype("float32")
    x[0, 0, 0, :3] = 0, np.nan, -0.0
    for name, others in (("relu_grad", ()), ("leaky_relu_grad", (0.3,)), ("clip_grad", (-0.5, 0.7))):
        got = getattr(activation, name)(lay(cupy, g), lay(cupy, x), *others)
        want = getattr(activation, name)(g, x, *others, algorithm="spec")
        np.testing.assert_array_equal(got.get(), want)
        mixed = getattr(activation, name)(cupy.asarray(g), channels_last(cupy, x), *others)  # not stored alike
        np.testing.assert_array_equal(mixed.get(), want)
    got = activation.leaky_relu(lay(cupy, x), 0.3)
    np.testing.assert_array_equal(got.get(), activation.leaky_relu(x, 0.3, algorithm="spec"))
    assert {"relu_grad", "leaky_relu_grad", "clip_grad", "leaky_relu"} <= set(used)


def test_a_residual_block_takes_fewer_passes(cupy: Any, used: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward, backward and in evaluation it gives what the CPU gives; who watches it sees the steps."""
    for pass_ in ("forward", "input_grad", "weight_grad"):  # to compile the convolutions for the emulator takes long
        rows = [k for k in catalogue.kernels("conv", pass_, "cuda") if k.algorithm == "im2col"]
        monkeypatch.setitem(catalogue._table, ("conv", pass_, "cuda"), rows)
    catalogue._choose.cache_clear()
    minidl.manual_seed(4)
    block = models.Bottleneck(3, 4, 5, 2, shortcut=nn.Sequential(nn.Conv2d(3, 5, 1, stride=2), nn.BatchNorm2d(5)))
    head = nn.Sequential(nn.Conv2d(5, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    host = nn.Sequential(block, head)
    device = copy.deepcopy(host).cuda()
    rng = np.random.default_rng(1)
    x, g = rng.standard_normal((3, 3, 6, 5)).astype("float32"), rng.standard_normal((3, 4)).astype("float32")
    with minidl.no_grad():
        for model, place in ((host, "cpu"), (device, "cuda")):
            model(minidl.from_numpy(x).to(place))  # so that evaluation has statistics
    evaluated = used["normalise"]
    results = []
    for model, place in ((host, "cpu"), (device, "cuda")):
        t = minidl.from_numpy(x.copy()).to(place).requires_grad_()
        y = model(t)
        y.backward(minidl.from_numpy(g).to(place))
        found = [y, t.grad, *(p.grad for p in model.parameters()), *model.buffers()]
        with minidl.no_grad():
            found.append(model.eval()(t))
        results.append([v.detach().numpy() for v in found])
    for a, b in zip(*results):
        np.testing.assert_allclose(b, a, 2e-4, 2e-5)
    assert used["normalise"] == evaluated + 10 and used["combine"] == 5 and used["track"] == 10
    assert not used["relu_grad"], "ReLU's gradient is part of that of the norm"
    device.train()
    seen = []
    device[1][1].register_forward_hook(lambda module, args, y: seen.append(float(y.min())))
    device(minidl.from_numpy(x).cuda())
    assert seen[0] < 0, "before the ReLU"


def test_second_derivatives_of_a_norm_with_relu(cupy: Any) -> None:
    gradients = []
    for place in ("cpu", "cuda"):
        rng = np.random.default_rng(5)
        x, r, v = (minidl.from_numpy(rng.standard_normal((3, 2, 4))).to(place).requires_grad_(i < 2) for i in range(3))
        layer = nn.BatchNorm1d(2, dtype="float64").to(place)
        y = layer.then_relu(x, r)
        (dx,) = minidl.autograd.grad((y * v).sum(), [x], create_graph=True)
        gradients.append([t.numpy() for t in minidl.autograd.grad((dx * v).sum(), [x, layer.weight])])
    for a, b in zip(*gradients):
        np.testing.assert_allclose(b, a, 1e-9, 1e-12)


def test_it_is_the_choice_for_arrays_of_a_device(cupy: Any) -> None:
    x = cupy.ones((2, 3), "float32")
    assert choice.module("norm", None, x) is norm and choice.module("activation", "cuda", x) is elements
    half = x.astype("float16")
    assert choice.on_cuda("norm", half) is norm and choice.on_cuda("activation", half) is None
    assert choice.on_cuda("norm", x, x.astype("float64")) is None
    with pytest.raises(Exception, match="norm: algorithm 'cuda' computes with CuPy's float32 and float64 only"):
        choice.module("norm", "cuda", np.ones((2, 3)))
