"""Convolution, batch norm and ReLU in one step: the bits of one after the other, and only where nobody would notice."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
from minidl import models, nn
from minidl.autograd.tape import Primitive
from minidl.kernels import memory
from minidl.ops.conv import conv_relu


class Names(minidl.autograd.Listener):
    """The primitives that run, for somebody who does not want the steps."""

    steps = False

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_forward(self, primitive, *rest):
        self.names.append(primitive.name)


@pytest.fixture
def ran(monkeypatch) -> list[str]:
    """Names of the primitives that ran, without a listener, which would change what runs."""
    names: list[str] = []
    call = Primitive.__call__

    def noted(self, *args, **attrs):
        names.append(self.name)
        return call(self, *args, **attrs)

    monkeypatch.setattr(Primitive, "__call__", noted)
    return names


def unit(relu: type[nn.Module] | None = nn.ReLU, bias: bool = False, norm: bool = True) -> nn.Sequential:
    layers = [nn.Conv2d(6, 9, 3, padding=1, bias=bias)]
    if norm:
        layers.append(nn.BatchNorm2d(9))
        nn.init.uniform_(layers[1].weight, 4.0, 8.0)  # so that ReLU6 has something to cut off
        nn.init.uniform_(layers[1].running_mean, -1.0, 1.0)
        nn.init.uniform_(layers[1].running_var, 0.5, 2.0)
    return nn.Sequential(*layers, *([] if relu is None else [relu()]), nn.Conv2d(9, 2, 1)).eval()


def one_after_the_other(net: nn.Sequential, x: minidl.Tensor) -> minidl.Tensor:
    for layer in net:
        x = layer(x)
    return x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("relu", [None, nn.ReLU, nn.ReLU6])
def test_in_evaluation_it_is_one_step_with_the_same_bits(relu, norm, bias, dtype, ran) -> None:
    minidl.manual_seed(0)
    net, x = unit(relu, bias, norm).to(dtype), minidl.randn(2, 6, 7, 5).to(dtype)
    with minidl.no_grad():
        want = one_after_the_other(net, x)
        memory.release()  # a call that was made before runs no primitive
        ran.clear()
        got = net(x)
    together = not bias if norm else relu is not None
    assert ran[0] == "conv_then" and "conv_relu" not in ran
    assert len(ran) == (2 if together else 1 + norm + (relu is not None and not norm) + 1), ran
    np.testing.assert_array_equal(got.numpy(), want.numpy())


def test_with_gradients_or_in_training_batch_norm_goes_by_itself(ran) -> None:
    minidl.manual_seed(0)
    net, x = unit(), minidl.randn(2, 6, 7, 5)
    net(x)
    with minidl.no_grad():
        net.train()(x)
    assert ran.count("conv") == ran.count("conv_then") == 2 and "batch_norm_relu" in ran


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("relu", [nn.ReLU, nn.ReLU6])
def test_a_convolution_with_its_relu_has_the_gradients_of_one_after_the_other(relu, bias, dtype, ran) -> None:
    minidl.manual_seed(0)
    net, x = unit(relu, bias, norm=False).to(dtype), (minidl.randn(2, 6, 17, 15) * 3).to(dtype)
    nn.init.uniform_(net[0].weight, -2.0, 2.0)
    g = minidl.randn(2, 2, 17, 15).to(dtype)
    results = []
    for run in (net, lambda x: one_after_the_other(net, x)):
        leaf = x.clone().requires_grad_()
        ran.clear()
        y = run(leaf)
        assert ("conv_relu" in ran) == (run is net)
        results.append([y.detach(), *minidl.autograd.grad(y, [leaf, *net.parameters()], g)])
    for got, want in zip(*results, strict=True):
        np.testing.assert_array_equal(got.numpy(), want.numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("window", [(2, 2, 0), (3, 2, 1), (3, 1, 1)])
def test_a_maximum_behind_a_relu_changes_places_with_it_and_no_gradient_changes(window, norm, dtype, ran) -> None:
    minidl.manual_seed(0)
    size, stride, padding = window
    net = unit(bias=not norm, norm=norm).to(dtype).train()
    net = nn.Sequential(*net[:-1], nn.MaxPool2d(size, stride, padding), net[-1])
    x = (minidl.randn(2, 6, 9, 7).round() * 3).to(dtype)  # many equal numbers, so many windows have several winners
    with minidl.no_grad():
        net[0].weight.copy_(minidl.randn(9, 6, 3, 3).round())
    names, results = [], []
    for run in (net, lambda x: one_after_the_other(net, x)):
        leaf = x.clone().requires_grad_()
        ran.clear()
        y = run(leaf)
        names.append([name for name in ran if name in ("conv", "conv_relu", "max_pool", "relu")])
        minidl.manual_seed(1)
        g = minidl.randn(*y.shape).to(dtype)
        results.append([y.detach(), *minidl.autograd.grad(y, [leaf, *net.parameters()], g)])
    assert names == [["conv", "max_pool", "relu", "conv"], ["conv", "relu", "max_pool", "conv"]]
    for got, want in zip(*results, strict=True):
        np.testing.assert_array_equal(got.numpy(), want.numpy())


def test_places_are_kept_where_somebody_would_notice(ran) -> None:
    class Mine(nn.MaxPool2d):
        def forward(self, input):
            return super().forward(input) + 1

    x = minidl.randn(2, 3, 8, 8)
    for pool in (Mine(2), nn.AvgPool2d(2), nn.MaxPool2d(2, return_indices=True)):
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), pool)
        ran.clear()
        net(x)
        assert ran[0] == "conv_relu"
    calls = []
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2))
    for layer in net[1:]:
        handle = layer.register_forward_pre_hook(lambda module, args: calls.append(args[0]))
        net(x)
        handle.remove()
    assert calls[0].min() < 0 and calls[1].min() == 0 and calls[1].shape == (2, 4, 6, 6)
    ran.clear()
    with minidl.no_grad():
        net(x)
    assert ran == ["conv_then", "max_values"]


@pytest.mark.parametrize("ceiling", [np.inf, 0.5])
def test_its_gradients_by_finite_differences(ceiling) -> None:
    """To the second derivative."""
    rng = np.random.default_rng(0)
    shapes = ((2, 3, 4, 3), (2, 3, 2, 2), (2,))
    x, w, b = (minidl.tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes)

    def f(x, w, b):
        return conv_relu(2, x, w, b, 1, 0, 1, 1, None, ceiling)

    assert minidl.gradcheck(f, (x, w, b)) and minidl.gradgradcheck(f, (x, w, b))


def test_whoever_watches_sees_every_layer(ran) -> None:
    minidl.manual_seed(0)
    net, x, calls = unit(), minidl.randn(2, 6, 7, 5), []
    with minidl.no_grad():
        plain = net(x)
        for layer in net[:3]:
            handle = layer.register_forward_hook(lambda module, *rest: calls.append(type(module).__name__))
            assert net(x).tolist() == plain.tolist()
            handle.remove()
        ran.clear()
        with Names() as seen:
            assert net(x).tolist() == plain.tolist()
    assert calls == ["Conv2d", "BatchNorm2d", "ReLU"]
    assert "conv" in seen.names and "conv_then" not in seen.names


def test_a_forward_put_into_one_layer_is_asked() -> None:
    net, x = unit(), minidl.randn(2, 6, 7, 5)
    with minidl.no_grad():
        for index, put in (
            (0, lambda x: x[:, :1] * minidl.ones(9, 1, 1)),
            (1, lambda x: x * 3),
            (2, lambda x: x.abs()),
        ):
            net[index].forward = put
            assert net(x).tolist() == one_after_the_other(net, x).tolist()
            del net[index].forward


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_class_with_its_own_way_to_be_called_is_called(index) -> None:
    net, x, calls = unit(), minidl.randn(2, 6, 7, 5), []

    class Mine(type(net[index])):
        def __call__(self, *args):
            calls.append(args)
            return super().__call__(*args) * 2

    net[index].__class__ = Mine
    for recording in (minidl.no_grad, minidl.enable_grad):
        with recording():
            calls.clear()
            got = net(x).tolist()
            assert len(calls) == 1
            assert got == one_after_the_other(net, x).tolist()


@pytest.mark.parametrize("ceiling", [np.inf, 0.5])
def test_with_a_residual_of_any_kind(ceiling, ran) -> None:
    minidl.manual_seed(0)
    net, x = unit(), minidl.randn(2, 6, 7, 5)
    conv, norm = net[0], net[1]
    with minidl.no_grad():
        y = norm(conv(x))
        for residual, steps in (
            (minidl.randn(2, 9, 7, 5), 1),
            (minidl.randn(9, 1, 1), 3),
            (minidl.randn(2, 9, 7, 5).to("float64"), None),
            (0.5, None),
            (np.ones(5, "float32"), None),
        ):
            want = nn.functional.hardtanh(y + residual, 0.0, ceiling)
            ran.clear()
            got = norm.then_relu(x, residual, ceiling, behind=conv)
            assert steps is None or len(ran) == steps
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got.numpy(), want.numpy())


def test_under_autocast_the_dtypes_are_those_of_the_layers() -> None:
    net, x = unit(), minidl.randn(2, 6, 7, 5)
    with minidl.no_grad(), minidl.autocast("cpu"):
        got, want = net(x), one_after_the_other(net, x)
    assert got.dtype == want.dtype and got.tolist() == want.tolist()


def test_a_single_image_and_an_array_go_the_way_of_the_layers() -> None:
    net, x = unit(norm=False, bias=True), minidl.randn(6, 7, 5)
    with minidl.no_grad():
        assert net(x).tolist() == one_after_the_other(net, x).tolist()
        assert net(x.numpy()).tolist() == net(x).tolist()


def test_mistakes_say_where() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(5), nn.ReLU()).eval()
    with minidl.no_grad(), pytest.raises(ValueError, match="5 channels") as caught:
        net(minidl.randn(2, 3, 4, 4))
    assert caught.value.__notes__ == [f"in module 1: {net[1]!r}"]
    net = nn.Sequential(nn.Conv2d(3, 5, 1, bias=False), nn.BatchNorm2d(5), nn.ReLU()).eval()
    with minidl.no_grad(), pytest.raises(ValueError, match="channels") as caught:
        net(minidl.randn(2, 7, 4, 4))
    assert caught.value.__notes__ == [f"in module 0: {net[0]!r}"]


def _norm_with(**parts: minidl.Tensor | None) -> nn.Module:
    norm = nn.BatchNorm2d(5)
    for name, value in parts.items():
        setattr(norm, name, nn.Parameter(value) if name in ("weight", "bias") else value)
    return norm


@pytest.mark.parametrize("relu", [[], [nn.ReLU()]])
@pytest.mark.parametrize(
    ("norm", "sentence"),
    [
        (nn.BatchNorm1d(5), "BatchNorm1d takes inputs of 2 or 3 axes"),
        (_norm_with(weight=minidl.ones(1)), r"the weight must have shape \(5,\)"),
        (_norm_with(bias=minidl.zeros(5, dtype="float64")), "batch_norm needs one dtype for all its arguments"),
        (_norm_with(running_mean=minidl.zeros(1), running_var=minidl.ones(1)), r"running_mean has shape \(1,\)"),
        (_norm_with(running_var=None), "give both running_mean and running_var, got running_mean"),
    ],
)
def test_what_batch_norm_refuses_it_refuses_in_one_step_too(norm, sentence, relu) -> None:
    net = nn.Sequential(nn.Conv2d(3, 5, 1, bias=False), norm, *relu).eval()
    x = minidl.randn(2, 3, 4, 4)
    with pytest.raises((ValueError, TypeError), match=sentence):
        net(x)
    with minidl.no_grad(), pytest.raises((ValueError, TypeError), match=sentence) as caught:
        net(x)
    assert caught.value.__notes__ == [f"in module 1: {norm!r}"]


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v2", "googlenet", "preact_resnet50"])
def test_networks_give_the_same_scores_with_gradients_and_without(name) -> None:
    minidl.manual_seed(0)
    net = models.create(name, num_classes=7).eval()
    x = minidl.randn(2, 3, 33, 33)
    with minidl.no_grad():
        first, second, third = net(x), net(x), net(x)
    for fast in (first, second, third):
        np.testing.assert_array_equal(fast.numpy(), net(x).detach().numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("added", [False, True])
def test_batch_norm_with_relu_by_itself_is_remembered_until_something_is_written(added, dtype, ran) -> None:
    minidl.manual_seed(0)
    norm = nn.BatchNorm2d(5).to(dtype).eval()
    for v in (norm.weight, norm.bias, norm.running_mean):
        nn.init.uniform_(v, -2.0, 2.0)
    x = minidl.randn(2, 4, 3, 5).to(dtype).movedim(-1, 1)
    residual = minidl.randn(2, 4, 3, 5).to(dtype).movedim(-1, 1) if added else None
    with minidl.no_grad():
        for change in (None, norm.running_var, norm.bias):
            if change is not None:
                change.copy_(change + 0.5)
            first = norm.then_relu(x, residual, 1.5)
            assert "scale_shift_relu" in ran
            norm.then_relu(x, residual, 1.5)
            ran.clear()
            again = norm.then_relu(x, residual, 1.5)
            assert ran == []
            np.testing.assert_array_equal(again.numpy(), first.numpy())
            memory.release()
            np.testing.assert_array_equal(norm.then_relu(x, residual, 1.5).numpy(), first.numpy())
        other = norm.then_relu(x, residual, 1.0)
    assert other.max().item() == 1.0 < first.max().item()
