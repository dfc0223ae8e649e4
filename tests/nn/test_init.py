"""Initial values: exact bounds, statistics against the formulas, structure, seeds."""

import math

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.nn import init

SHAPES = [(300, 200), (40, 30, 3, 5)]  # fan in 200, 450; fan out 300, 600


def fans(shape):
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def drawn(function, shape, *args, **kwargs):
    t = minidl.zeros(shape, dtype="float64")
    assert function(t, *args, generator=minidl.Generator(11), **kwargs) is t
    return t.numpy()


def check_uniform(values, bound):
    assert np.abs(values).max() <= bound and np.abs(values).max() > 0.999 * bound
    assert abs(values.mean()) < 6 * bound / math.sqrt(3 * values.size)
    assert values.var() == pytest.approx(bound**2 / 3, rel=0.03)


def check_normal(values, std):
    n = values.size
    assert abs(values.mean()) < 5 * std / math.sqrt(n) and values.std() == pytest.approx(std, rel=5 / math.sqrt(n))
    assert (values**4).mean() / std**4 == pytest.approx(3, rel=0.05)  # no uniform distribution in disguise (1.8)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bounds_and_statistics(shape):
    fan_in, fan_out = fans(shape)
    gain = 1.7
    check_uniform(drawn(init.xavier_uniform_, shape, gain), gain * math.sqrt(6 / (fan_in + fan_out)))
    check_normal(drawn(init.xavier_normal_, shape, gain), gain * math.sqrt(2 / (fan_in + fan_out)))
    check_uniform(drawn(init.kaiming_uniform_, shape, nonlinearity="relu"), math.sqrt(6 / fan_in))
    check_uniform(drawn(init.kaiming_uniform_, shape, 0.5, "fan_out"), math.sqrt(6 / 1.25 / fan_out))
    check_normal(drawn(init.kaiming_normal_, shape), math.sqrt(2 / fan_in))
    check_normal(drawn(init.kaiming_normal_, shape, mode="fan_out", nonlinearity="linear"), math.sqrt(1 / fan_out))
    check_uniform(drawn(init.lecun_uniform_, shape), math.sqrt(3 / fan_in))
    check_normal(drawn(init.lecun_normal_, shape), math.sqrt(1 / fan_in))


def test_plain_distributions():
    u = drawn(init.uniform_, (200, 300), -2, 5)
    assert u.min() >= -2 and u.max() <= 5 and u.mean() == pytest.approx(1.5, abs=0.05)
    check_normal(drawn(init.normal_, (200, 300), 3, 0.5) - 3, 0.5)
    t = drawn(init.trunc_normal_, (200, 300), 1.0, 2.0, 0.0, 2.5)
    assert t.min() >= 0 and t.max() <= 2.5
    low, high = -0.5, 0.75  # mean of a normal distribution cut off at these: (pdf(low) - pdf(high)) / mass
    pdf = [math.exp(-z * z / 2) / math.sqrt(2 * math.pi) for z in (low, high)]
    mass = 0.5 * (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)))
    assert t.mean() == pytest.approx(1 + 2 * (pdf[0] - pdf[1]) / mass, abs=0.015)
    w = minidl.zeros(3, 2)
    assert init.constant_(w, 4.5) is w and (w.numpy() == 4.5).all()
    assert (init.ones_(w).numpy() == 1).all() and not init.zeros_(w).numpy().any()


def test_bounds_hold_in_float32_too():
    w = init.uniform_(minidl.zeros(1000, 1000), -0.1, 0.1, generator=minidl.Generator(0))
    assert w.dtype == np.float32 and np.abs(w.numpy()).max() <= np.float32(0.1)


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5), (6, 2, 3, 2), (3, 4, 2)], ids=str)
def test_orthogonal(shape):
    w = drawn(init.orthogonal_, shape, 2.0).reshape(shape[0], -1)
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, 4 * np.eye(min(w.shape)), atol=1e-12)


def test_orthogonal_is_uniform_over_rotations():
    rng = minidl.Generator(4)
    corners = [init.orthogonal_(minidl.zeros(2, 2), generator=rng).numpy()[0, 0] for _ in range(400)]
    assert abs(np.mean(corners)) < 0.15  # without the signs of R it would be biased to one side
    assert np.mean(np.square(corners)) == pytest.approx(0.5, abs=0.1)


def test_identities():
    np.testing.assert_array_equal(init.eye_(minidl.ones(2, 3)).numpy(), np.eye(2, 3))
    rng = np.random.default_rng(0)
    for ndim, size in ((1, (7,)), (2, (5, 6)), (3, (3, 4, 5))):
        conv = getattr(nn.functional, f"conv{ndim}d")
        x = rng.standard_normal((2, 4, *size)).astype("float32")
        w = init.dirac_(minidl.ones(6, 2, *(3,) * ndim), groups=2)
        y = conv(minidl.tensor(x), w, padding=1, groups=2).numpy()
        np.testing.assert_array_equal(y[:, [0, 1, 3, 4]], x)
        assert not y[:, [2, 5]].any()


def test_sparse():
    w = drawn(init.sparse_, (50, 40), 0.3, 0.5)
    assert ((w == 0).sum(axis=0) == 15).all() and w[w != 0].std() == pytest.approx(0.5, rel=0.1)
    assert len({tuple(column) for column in (w == 0).T}) > 30  # every column its own zeros


@pytest.mark.torch
def test_gains_and_structures_are_torchs():
    torch = pytest.importorskip("torch")
    for args in (
        ("linear",),
        ("conv3d",),
        ("sigmoid",),
        ("tanh",),
        ("relu",),
        ("leaky_relu",),
        ("leaky_relu", 0.3),
        ("selu",),
    ):
        assert init.calculate_gain(*args) == pytest.approx(torch.nn.init.calculate_gain(*args), rel=1e-15)
    for shape, groups in (((6, 2, 3), 2), ((4, 4, 2, 3), 1), ((2, 5, 3, 3, 3), 1)):
        theirs = torch.nn.init.dirac_(torch.ones(shape), groups).numpy()
        np.testing.assert_array_equal(init.dirac_(minidl.ones(shape), groups).numpy(), theirs)


def test_the_seed_decides_and_the_graph_is_not_touched():
    a, b = nn.Parameter(minidl.zeros(3, 4)), nn.Parameter(minidl.zeros(3, 4))
    for p in (a, b):
        init.kaiming_normal_(p, generator=minidl.Generator(5))
    assert (a.detach().numpy() == b.detach().numpy()).all() and a.is_leaf and a.requires_grad
    init.kaiming_normal_(b, generator=minidl.Generator(6))
    assert (a.detach().numpy() != b.detach().numpy()).all()
    nets = []
    for _ in range(2):
        minidl.manual_seed(3)
        nets.append(nn.Sequential(nn.Conv2d(2, 3, 3), nn.LSTM(3, 2), nn.Embedding(3, 2), nn.Bilinear(2, 2, 2)))
    for x, y in zip(nets[0].parameters(), nets[1].parameters()):
        np.testing.assert_array_equal(x.detach().numpy(), y.detach().numpy())


@pytest.mark.parametrize(
    "name, args, fan_in",
    [
        ("Linear", (50, 400), 50),
        ("Conv2d", (12, 120, (3, 5), 1, 0, 1, 3), 60),
        ("ConvTranspose2d", (12, 60, (3, 5), 1, 0, 0, 3), 300),
        ("Conv1d", (12, 300, 4), 48),
    ],
)
def test_default_initialisation_of_linear_layers_is_torchs(name, args, fan_in):
    minidl.manual_seed(1)
    layer = getattr(nn, name)(*args, dtype="float64")
    bound = 1 / math.sqrt(fan_in)
    check_uniform(layer.weight.detach().numpy(), bound * (1 + 1e-12))
    bias = layer.bias.detach().numpy()
    assert np.abs(bias).max() <= bound and bias.std() == pytest.approx(bound / math.sqrt(3), rel=0.15)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: init.calculate_gain("swish"), "no gain is known for 'swish': use linear, conv2d, sigmoid"),
        (lambda: init.calculate_gain("leaky_relu", "x"), "the slope of leaky_relu must be a number, not 'x'"),
        (lambda: init.xavier_uniform_(minidl.zeros(3)), "need a weight of at least 2 dimensions, got shape (3,)"),
        (lambda: init.kaiming_normal_(minidl.zeros(3, 4), mode="in"), "mode must be 'fan_in' or 'fan_out', not 'in'"),
        (lambda: init.normal_(minidl.zeros(3), 0, -1), "a standard deviation cannot be negative, got std=-1"),
        (lambda: init.trunc_normal_(minidl.zeros(3), 9.0), "lies in [-2.0, 2.0]: move the bounds or the mean"),
        (lambda: init.eye_(minidl.zeros(3)), "eye_ fills matrices, not a tensor of shape (3,)"),
        (lambda: init.dirac_(minidl.zeros(3, 4)), "dirac_ fills weights of convolutions (3 to 5 dimensions)"),
        (lambda: init.dirac_(minidl.zeros(3, 4, 1), 2), "2 groups do not divide 3 output channels"),
        (lambda: init.orthogonal_(minidl.zeros(3)), "orthogonal_ needs at least 2 dimensions, got shape (3,)"),
        (lambda: init.sparse_(minidl.zeros(3), 0.1), "sparse_ fills matrices, not a tensor of shape (3,)"),
        (lambda: init.sparse_(minidl.zeros(3, 3), 1.1), "sparsity is the share of zeros, between 0 and 1, got 1.1"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value)
