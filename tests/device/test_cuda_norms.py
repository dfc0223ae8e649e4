"""Norms over groups in CUDA C++, and norms of float16: their definitions, and layers that use them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import nn, see
from minidl.kernels import norm as kernels
from tests.checks import cuda_norms as checks
from tests.checks.cuda import channels_last, gappy, plain

EMULATED = True
LAYOUTS = (plain, channels_last, gappy)


@pytest.mark.parametrize("number", range(len(checks.GROUPS)), ids=[str(g) for g in checks.GROUPS])
def test_group_norm(number: int, cupy: Any) -> None:
    """Each shape in one precision and two storage orders, its sums in one slice and in several."""
    dtype = ("float32", "float64", "float16")[number % 3]
    for i in range(2):
        checks.groups(cupy, number, dtype, LAYOUTS[(number + i) % 3], slices=i == 1)


@pytest.mark.parametrize("lay", [plain, channels_last])
def test_a_large_mean_of_groups_costs_no_digits(lay: Any, cupy: Any) -> None:
    checks.large_mean_of_groups(cupy, lay)


def test_groups_of_nothing(cupy: Any) -> None:
    for shape in ((0, 4, 3), (2, 4, 0)):
        x, w = cupy.zeros(shape, "float32"), cupy.ones(4, "float32")
        y, mean, variance = kernels.group_norm(x, 2, w, w)
        dx, dweight, dbias = kernels.group_norm_grad(x, x, 2, w, mean, variance)
        assert y.shape == dx.shape == shape and mean.shape == variance.shape == (shape[0], 2)
        assert np.isnan(mean.get()).all() and not dweight.get().any() and not dbias.get().any()


@pytest.mark.parametrize(("shape", "lay"), [((3, 5, 4, 7), plain), ((2, 37, 3), channels_last), ((70, 3), gappy)])
def test_batch_norm_of_float16(shape: tuple[int, ...], lay: Any, cupy: Any) -> None:
    for slices in (False, True):
        checks.halves(cupy, shape, lay, slices)


@pytest.mark.parametrize("name", checks.LAYERS)
def test_layers_are_those_of_the_cpu(name: str, cupy: Any) -> None:
    """Results, gradients, running statistics and second derivatives."""
    checks.layers(name)


def test_whoever_listens_sees_the_steps(cupy: Any) -> None:
    layer, x = nn.GroupNorm(2, 4).cuda(), minidl.randn(2, 4, 3, device="cuda")
    assert layer(x).grad_fn.name == "group_norm"
    seen = [record.op for record in see.trace(layer, x)]
    assert "standardize" in seen and "group_norm" not in seen


def test_mixed_precision_reads_float16_as_it_is(cupy: Any) -> None:
    """Batch norm with its ReLU, and group norm, between products: float16 in and out, near the CPU's float32."""
    minidl.manual_seed(2)
    layers = [nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4), nn.GroupNorm(2, 4), nn.Linear(4, 3)]
    host = nn.Sequential(*layers)
    state = {name: v.detach().clone() for name, v in host.state_dict().items()}
    rng = np.random.default_rng(5)
    x, g = rng.standard_normal((9, 5)).astype("float32"), rng.standard_normal((9, 3)).astype("float32")
    found = []
    for place in ("cpu", "cuda"):
        host.load_state_dict(state)
        net = host.to(place).train()
        for p in net.parameters():
            p.grad = None
        t = minidl.from_numpy(x).to(place)
        with minidl.autocast("cuda"):
            y = net(t)
        (y * minidl.from_numpy(g).to(place)).sum().backward()
        with minidl.autocast("cuda"), minidl.no_grad():
            evaluated = net.eval()(t)
        kept = (y, *(p.grad for p in net.parameters()), *net.buffers(), evaluated)
        found.append([v.detach().cpu().numpy().copy() for v in kept])
    for a, b in zip(*found):
        np.testing.assert_allclose(b.astype("float32"), a, 2e-2, 3e-2)
    seen = []
    net.train()
    for layer in net:
        layer.register_forward_hook(lambda module, args, result: seen.append(str(result.dtype)))
    with minidl.autocast("cuda"):
        net(minidl.from_numpy(x).cuda())
    assert seen == ["float16"] * 6


def test_second_derivatives_of_norms_of_float16(cupy: Any) -> None:
    """A composition of differentiable operations, which computes in float32 and gives cotangents of float16."""
    x = minidl.randn(6, 4, device="cuda", dtype="float16").requires_grad_()
    w = minidl.ones(4, device="cuda").requires_grad_()
    v = minidl.randn(6, 4, device="cuda")
    with minidl.autocast("cuda"):
        for y in (F.batch_norm(x, None, None, w, None, True), F.group_norm(x, 2, w)):
            assert y.dtype == np.float16
            dx, dw = minidl.autograd.grad((y * v).sum(), [x, w], create_graph=True)
            assert dx.dtype == np.float16 and dw.dtype == np.float32
            plain_dx, plain_dw = minidl.autograd.grad((y * v).sum(), [x, w], retain_graph=True)
            np.testing.assert_allclose(dx.detach().numpy(), plain_dx.numpy(), 5e-3, 5e-3)
            np.testing.assert_allclose(dw.detach().numpy(), plain_dw.numpy(), 1e-3, 1e-3)
            second = minidl.autograd.grad((dx * v).sum(), [x, w])
            assert [s.dtype for s in second] == [np.float16, np.float32]
            assert all(np.isfinite(s.numpy()).all() for s in second)


def test_a_network_in_float16_has_parameters_and_gradients_in_float16(cupy: Any) -> None:
    layer = nn.BatchNorm1d(4).to("cuda", "float16")
    x, g = (minidl.randn(6, 4, device="cuda", dtype="float16") for _ in range(2))
    x.requires_grad_()
    (layer(x) * g).sum().backward()
    assert [t.dtype for t in (x.grad, layer.weight.grad, layer.bias.grad)] == [np.float16] * 3
    assert layer.eval()(x).dtype == np.float16 and layer.running_mean.dtype == np.float16
