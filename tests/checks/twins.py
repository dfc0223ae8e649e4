"""Holding a network against a twin: the same equations, written a second time on torch's functions.

A twin is a function of a :class:`Net` (arrays by their names in the state dict) and the images.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn

torch = pytest.importorskip("torch")
F = torch.nn.functional


class Net:
    """torch's functions on arrays called by their names in the state dict."""

    def __init__(self, state, training, eps=1e-5):
        self.state, self.training, self.eps = state, training, eps

    def has(self, name):
        return f"{name}.weight" in self.state

    def conv(self, x, name, stride=1, padding=None, groups=1):
        w = self.state[f"{name}.weight"]
        padding = tuple(k // 2 for k in w.shape[2:]) if padding is None else padding
        return F.conv2d(x, w, self.state.get(f"{name}.bias"), stride, padding, 1, groups)

    def bn(self, x, name):
        weight, bias, mean, var = (self.state[f"{name}.{k}"] for k in ("weight", "bias", "running_mean", "running_var"))
        if self.training:
            self.state[f"{name}.num_batches_tracked"] += 1
        return F.batch_norm(x, mean, var, weight, bias, self.training, 0.1, self.eps)

    def linear(self, x, name):
        return F.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def count(self, prefix):
        """How many of prefix0, prefix1, ... there are."""
        i = 0
        while any(key.startswith(f"{prefix}{i}.") for key in self.state):
            i += 1
        return i


def mean(x):
    return x.mean((2, 3))


def unit(net, x, name, stride=1, valid=False):
    """Convolution, batch normalisation, ReLU; no padding where it strides or is ``valid``."""
    padding = 0 if valid or stride == 2 else None
    return net.bn(net.conv(x, f"{name}.conv", stride, padding), f"{name}.bn").relu()


def distance(got, wanted):
    wanted = wanted.detach().numpy()
    return np.abs(got.detach().numpy() - wanted).max() / max(np.abs(wanted).max(), 1e-12)


def several(outputs):
    """A network with auxiliary heads gives a tuple."""
    return outputs if isinstance(outputs, tuple) else (outputs,)


def check_twin(
    make: Callable[[], nn.Module],
    twin: Callable[..., Any],
    shape: tuple[int, ...],
    eps: float = 1e-5,
    **options: Any,
) -> None:
    """Same random weights, float64: outputs, gradients of the input and of every parameter, and the statistics of batch
    normalisation, in evaluation and in training mode, on images of ``shape`` (N, C, H, W)."""
    rng = np.random.default_rng(0)
    with nn.utils.skip_init():
        ours = make().to("float64")
    for layer in ours.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0  # the two would draw different numbers
    state = {}
    for key, value in ours.state_dict().items():
        if value.dtype.kind != "f":
            state[key] = torch.tensor(value.numpy().copy())
            continue
        fan_in = max(1, value.numel() // value.shape[0])
        drawn = (
            rng.standard_normal(value.shape) * (2 / fan_in) ** 0.5
            if value.ndim > 1
            else rng.uniform(0.5, 1.5, value.shape) * (0.1 if key.endswith("bias") else 1)
        )
        state[key] = torch.tensor(drawn)
    ours.load_state_dict({key: value.numpy() for key, value in state.items()})
    parameters = dict(ours.named_parameters())
    for key in parameters:
        state[key].requires_grad_(True)

    for training in (False, True):
        ours.train(training)
        ours.zero_grad()
        for value in state.values():
            value.grad = None
        x = rng.standard_normal(shape)
        a, b = torch.tensor(x, requires_grad=True), minidl.tensor(x, requires_grad=True)
        wanted, got = several(twin(Net(state, training, eps), a, **options)), several(ours(b))
        assert len(got) == len(wanted)
        upstream = [rng.standard_normal(tuple(y.shape)) for y in wanted]
        sum((y * torch.tensor(g)).sum() for y, g in zip(wanted, upstream)).backward()
        sum((z * minidl.tensor(g)).sum() for z, g in zip(got, upstream)).backward()
        for y, z in zip(wanted, got):
            assert distance(z, y) < 1e-9
        assert distance(b.grad, a.grad) < 1e-7
        trained = [key for key in parameters if state[key].grad is not None]
        largest = max(float(state[key].grad.abs().max()) for key in trained)
        for key, p in parameters.items():
            assert (p.grad is None) == (key not in trained), key  # auxiliary heads do nothing in evaluation
        for key in trained:  # a bias in front of batch normalisation has gradients of rounding alone
            grad = state[key].grad
            assert distance(parameters[key].grad, grad) < 1e-7 or float(grad.abs().max()) < 1e-12 * largest, key
        for key, value in ours.state_dict().items():
            assert distance(value, state[key]) < 1e-9, key
