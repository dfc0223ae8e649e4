"""Stochastic diagonal Levenberg-Marquardt against the paper's equations, written out with explicit Jacobians."""

import itertools
import re

import numpy as np
import pytest

import minidl
from minidl import nn, optim
from minidl.nn import functional as F
from minidl.optim.diagonal_lm import diagonal_curvature, output_curvature


class EverySign:
    """All ways to draw signs, one after the other: what is computed with each, averaged, is the expectation."""

    def __init__(self) -> None:
        self.pattern: tuple[int, ...] = ()
        self.used = 0

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        count = int(np.prod(shape))
        start, self.used = self.used, self.used + count
        return np.array((self.pattern + (1,) * 99)[start : self.used]).reshape(shape)

    def mean(self, compute):
        compute(self)
        count, results = self.used, []
        for self.pattern in itertools.product((-1, 1), repeat=count):
            self.used = 0
            results.append(compute(self))
            assert self.used == count
        return [np.mean(parts, axis=0) for parts in zip(*results, strict=True)]


def tensors(seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


def test_two_layers_are_equations_22_to_25():
    """h of a unit: f'(a)^2 times the sum over the units behind it of squared weight times their h; h of a weight:
    squared input times the h of its unit."""
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)).to("float64")
    x, y = tensors(0, (1, 2))[0], np.array([1])
    minidl.manual_seed(3)
    w1, b1, w2, b2 = (p.detach().numpy() for p in net.parameters())
    a = x @ w1.T + b1  # (1, 3)
    s = np.tanh(a) @ w2.T + b2  # (1, 2)
    p = np.exp(s) / np.exp(s).sum()
    h_s = p * (1 - p)  # of cross-entropy
    h_a = (1 - np.tanh(a) ** 2) ** 2 * (h_s @ w2**2)
    wanted = [h_a.T * x**2, h_a[0], h_s.T * np.tanh(a) ** 2, h_s[0]]
    parameters = list(net.parameters())
    found = EverySign().mean(
        lambda signs: diagonal_curvature(net, F.cross_entropy, minidl.tensor(x), minidl.tensor(y), parameters, signs)
    )
    for got, expected in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_shared_weights_add_what_their_places_give():
    """A convolution over 3 places: the sum over places of squared input times h of the place (section C, below 21)."""
    net = nn.Sequential(nn.Conv1d(1, 1, 2), nn.Flatten()).to("float64")
    (x,) = tensors(1, (1, 1, 4))
    y = np.array([2])
    w, b = (p.detach().numpy() for p in net.parameters())
    places = np.stack([x[0, 0, i : i + 2] for i in range(3)])  # (P, R)
    s = places @ w[0, 0] + b
    p = np.exp(s) / np.exp(s).sum()
    h = p * (1 - p)
    found = EverySign().mean(
        lambda signs: diagonal_curvature(
            net, F.cross_entropy, minidl.tensor(x), minidl.tensor(y), list(net.parameters()), signs
        )
    )
    np.testing.assert_allclose(found[0], [[h @ places**2]], rtol=1e-12)
    np.testing.assert_allclose(found[1], [h.sum()], rtol=1e-12)


def test_one_layer_is_the_diagonal_of_the_gauss_newton_matrix():
    """J^T H J of a linear network with two outputs, J by hand; where no unit stands behind another it is the same."""
    net = nn.Linear(3, 2).to("float64")
    x, target = tensors(2, (5, 3), (5, 2))
    total = np.zeros(8)
    for row in x:
        jacobian = np.zeros((2, 8))  # of the outputs with respect to weight (2, 3) and bias (2,)
        for k in range(2):
            jacobian[k, 3 * k : 3 * k + 3], jacobian[k, 6 + k] = row, 1
        total += np.diag(jacobian.T @ np.eye(2) @ jacobian)  # mse_loss halves the 2 of a square
    found = diagonal_curvature(net, F.mse_loss, minidl.tensor(x), minidl.tensor(target), list(net.parameters()))
    np.testing.assert_allclose(np.concatenate([h.ravel() for h in found]), total / 5, rtol=1e-12)


def test_the_estimate_comes_near_with_many_samples():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).to("float64")
    x = np.repeat(tensors(3, (1, 3))[0], 800, axis=0)  # one sample, so that only the signs differ
    y = np.zeros(800, np.int64)
    parameters = list(net.parameters())

    def measure(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        found = diagonal_curvature(net, F.cross_entropy, minidl.tensor(x), minidl.tensor(y), parameters, rng)
        return np.concatenate([h.ravel() for h in found])

    first, again, other = measure(0), measure(0), measure(1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_allclose(first, other, rtol=0.4)
    assert (first >= 0).all()


def test_nothing_is_left_behind():
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.Linear(2, 2))
    net.train()[2].eval()
    state = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    drawn = minidl.random.get_rng_state()
    x, y = minidl.ones(3, 2), minidl.tensor([0, 1, 1])
    diagonal_curvature(net, F.cross_entropy, x, y, list(net.parameters()))
    assert [module.training for module in net.modules()] == [True, True, True, False]
    assert all(p.grad is None for p in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())
    assert str(drawn) == str(minidl.random.get_rng_state())
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), state[name])


def test_curvature_of_the_outputs():
    (z,) = tensors(4, (4, 3))
    y = minidl.tensor([0, 2, 1, 1])
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    found = output_curvature(lambda z: z, F.cross_entropy, minidl.tensor(z), y)
    np.testing.assert_allclose(found.numpy(), p * (1 - p), rtol=1e-10)
    bent = output_curvature(lambda z: z, lambda z, y: -(z**2).sum() / 4, minidl.tensor(z), y)
    np.testing.assert_array_equal(bent.numpy(), 0 * z)  # negative everywhere
    straight = output_curvature(lambda z: z, lambda z, y: z.sum() / 4, minidl.tensor(z), y)
    np.testing.assert_array_equal(straight.numpy(), 0 * z)


def test_a_step_divides_by_what_it_knows():
    values, gradients, curvatures = tensors(5, (2, 3), (4,)), tensors(6, (2, 3), (4,)), tensors(7, (2, 3), (4,))
    parameters = [minidl.tensor(v, requires_grad=True) for v in values]
    rule = optim.DiagonalLM(parameters, lr=0.3, mu=0.1, weight_decay=0.02)
    rule.know([c**2 for c in curvatures])
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = minidl.tensor(g)
    rule.step()
    for p, v, g, c in zip(parameters, values, gradients, curvatures, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), v - 0.3 / (0.1 + c**2) * (g + 0.02 * v), rtol=1e-13)
    again = optim.DiagonalLM(parameters, lr=1.0)
    again.load_state_dict(rule.state_dict())
    for p in parameters:
        np.testing.assert_array_equal(again.state[p]["curvature"], rule.state[p]["curvature"])
    assert again.param_groups[0]["mu"] == 0.1


def test_mistakes():
    w = minidl.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match=re.escape("a curvature that may be 0, so it must be above 0, got 0")):
        optim.DiagonalLM([w], mu=0.0)
    rule = optim.DiagonalLM([w])
    w.grad = minidl.ones(2)
    with pytest.raises(ValueError, match="divides each step by a curvature that it does not know yet"):
        rule.step()
    message = "a curvature of shape (3,) does not belong to a parameter of shape (2,)"
    with pytest.raises(ValueError, match=re.escape(message)):
        rule.know([np.ones(3)])
