"""Recurrent layers and cells against torch in float64; their errors."""

import numpy as np
import pytest

import minidl
from minidl import nn

# name, settings, shape of the input, whether initial states are given
LAYERS = [
    ("RNN", {}, (5, 3, 4), False),
    ("RNN", {"nonlinearity": "relu", "num_layers": 2, "bidirectional": True, "batch_first": True}, (3, 5, 4), True),
    ("RNN", {"bias": False}, (1, 2, 4), True),
    ("LSTM", {}, (5, 3, 4), True),
    ("LSTM", {"num_layers": 3, "bidirectional": True}, (4, 2, 4), True),
    ("LSTM", {"batch_first": True, "proj_size": 3, "num_layers": 2, "bidirectional": True}, (2, 4, 4), True),
    ("LSTM", {"num_layers": 2, "dropout": 1.0}, (4, 2, 4), False),
    ("LSTM", {"bidirectional": True}, (5, 4), True),
    ("GRU", {}, (5, 3, 4), False),
    ("GRU", {"num_layers": 2, "bidirectional": True, "bias": False, "batch_first": True}, (3, 5, 4), True),
    ("GRU", {"batch_first": True}, (5, 4), False),
]


def pairs(structure):
    """The tensors of nested tuples in order."""
    return [t for item in structure for t in pairs(item)] if isinstance(structure, tuple) else [structure]


def both(torch, name, *args, **kwargs):
    """Both libraries' module in float64 with torch's values."""
    theirs = getattr(torch.nn, name)(*args, **kwargs).double()
    ours = getattr(nn, name)(*args, **kwargs).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    return ours, theirs


def compare(torch, ours, theirs, inputs, wrap):
    """Results, and gradients of parameters and inputs under random cotangents; ``inputs`` are arrays."""
    rng = np.random.default_rng(9)
    xs = [minidl.tensor(v, requires_grad=True) for v in inputs]
    ts = [torch.tensor(v, requires_grad=True) for v in inputs]
    results, wanted = pairs(ours(*wrap(xs))), pairs(theirs(*wrap(ts)))
    assert len(results) == len(wanted)
    loss, tloss = 0, 0
    for y, t in zip(results, wanted):
        np.testing.assert_allclose(y.detach().numpy(), t.detach().numpy(), rtol=1e-10, atol=1e-12, strict=True)
        g = rng.standard_normal(y.shape)
        loss, tloss = loss + (y * minidl.tensor(g)).sum(), tloss + (t * torch.tensor(g)).sum()
    loss.backward(), tloss.backward()
    gradients = [(p.grad, q.grad) for p, q in zip(ours.parameters(), theirs.parameters())]
    for a, b in [*gradients, *((x.grad, t.grad) for x, t in zip(xs, ts))]:
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-11, strict=True)


@pytest.mark.torch
@pytest.mark.parametrize("name, settings, shape, given", LAYERS)
def test_layers_are_torchs(name, settings, shape, given):
    torch = pytest.importorskip("torch")
    ours, theirs = both(torch, name, 4, 6, **settings)
    rng = np.random.default_rng(5)
    inputs = [rng.standard_normal(shape)]
    if given:
        count = settings.get("num_layers", 1) * (2 if settings.get("bidirectional") else 1)
        batch = () if len(shape) == 2 else (shape[0],) if settings.get("batch_first") else (shape[1],)
        widths = [settings.get("proj_size") or 6] + [6] * (name == "LSTM")
        inputs += [rng.standard_normal((count, *batch, w)) for w in widths]

    def wrap(tensors):
        x, *state = tensors
        return (x, tuple(state) if name == "LSTM" else state[0]) if state else (x,)

    if settings.get("dropout"):  # nothing passes the dropped layer: the state of the second layer shows it
        y, _ = ours(minidl.tensor(inputs[0]))
        t, _ = theirs(torch.tensor(inputs[0]))
        np.testing.assert_allclose(y.detach().numpy(), t.detach().numpy(), rtol=1e-10)
        ours.eval(), theirs.eval()
    compare(torch, ours, theirs, inputs, wrap)


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(3, 4), (4,)], ids=str)
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize(
    "name, settings",
    [
        ("RNNCell", {}),
        ("RNNCell", {"nonlinearity": "relu"}),
        ("LSTMCell", {}),
        ("GRUCell", {}),
        ("GRUCell", {"bias": False}),
    ],
)
def test_cells_are_torchs(name, settings, given, shape):
    torch = pytest.importorskip("torch")
    ours, theirs = both(torch, name, 4, 6, **settings)
    rng = np.random.default_rng(7)
    states = (2 if name == "LSTMCell" else 1) if given else 0
    inputs = [rng.standard_normal(shape), *(rng.standard_normal((*shape[:-1], 6)) for _ in range(states))]

    def wrap(tensors):
        x, *state = tensors
        return (x, tuple(state) if name == "LSTMCell" else state[0]) if state else (x,)

    compare(torch, ours, theirs, inputs, wrap)


@pytest.mark.parametrize("layer, cell", [("RNN", "RNNCell"), ("LSTM", "LSTMCell"), ("GRU", "GRUCell")])
def test_a_layer_is_its_cell_step_by_step(layer, cell):
    whole, step = getattr(nn, layer)(3, 5), getattr(nn, cell)(3, 5)
    step.load_state_dict({name: whole.get_parameter(f"{name}_l0") for name in step.state_dict()})
    x = minidl.randn(6, 2, 3, generator=minidl.Generator(1))
    y, last = whole(x)
    state = None
    for t in range(6):
        state = step(x[t], state)
        h = state[0] if layer == "LSTM" else state
        np.testing.assert_allclose(h.detach().numpy(), y[t].detach().numpy(), rtol=1e-5, atol=1e-6)
    for a, b in zip(pairs(last), pairs(state)):
        np.testing.assert_array_equal(a[0].detach().numpy(), b.detach().numpy())


def test_initial_values_lie_between_the_bounds():
    layer = nn.LSTM(3, 16)
    for p in layer.parameters():
        values = p.detach().numpy()
        assert np.abs(values).max() <= 0.25 and values.std() == pytest.approx(0.25 / np.sqrt(3), rel=0.2)


def test_second_derivatives_pass_through_time():
    layer = nn.GRU(2, 3).double()
    x = minidl.randn(4, 1, 2, dtype="float64", generator=minidl.Generator(2)).requires_grad_()
    (first,) = minidl.autograd.grad((layer(x)[0] ** 2).sum(), x, create_graph=True)
    (second,) = minidl.autograd.grad(first[0, 0, 0], x)
    step = 1e-6
    moved = []
    for sign in (1, -1):
        shifted = x.detach().clone()
        shifted[0, 0, 0] = shifted[0, 0, 0] + sign * step
        shifted.requires_grad_()
        (g,) = minidl.autograd.grad((layer(shifted)[0] ** 2).sum(), shifted)
        moved.append(g.numpy())
    np.testing.assert_allclose(second.numpy(), (moved[0] - moved[1]) / (2 * step), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: nn.RNN(3, 4, nonlinearity="sigmoid"), "RNN: nonlinearity must be 'tanh' or 'relu', not 'sigmoid'"),
        (lambda: nn.LSTM(3, 0), "LSTM: hidden_size must be a whole number of at least 1, got 0"),
        (lambda: nn.LSTM(3, 4, proj_size=4), "LSTM: proj_size must be smaller than hidden_size = 4, got 4"),
        (lambda: nn.GRU(3, 4, 2, dropout=1.5), "GRU: dropout is a probability, between 0 and 1, got 1.5"),
        (
            lambda: nn.LSTM(3, 4)(minidl.zeros(5, 2, 7)),
            "LSTM takes (L, N, I) or (L, I) with I = input_size = 3, not an input of shape (5, 2, 7)",
        ),
        (lambda: nn.LSTM(3, 4)(minidl.zeros(0, 2, 3)), "the sequence in an input of shape (0, 2, 3) is empty"),
        (
            lambda: nn.GRU(3, 4, 2)(minidl.zeros(5, 2, 3), minidl.zeros(1, 2, 4)),
            "GRU: h_0 must have shape (2, 2, 4) = (num_layers * directions, N, 4), not (1, 2, 4)",
        ),
        (
            lambda: nn.LSTM(3, 4)(minidl.zeros(5, 3), (minidl.zeros(1, 4), minidl.zeros(1, 1, 4))),
            "LSTM: c_0 must have shape (1, 4) = (num_layers * directions, 4), not (1, 1, 4)",
        ),
        (
            lambda: nn.GRUCell(3, 4)(minidl.zeros(5, 2, 3)),
            "GRUCell takes (N, 3) or (3,), one step of a sequence, not an input of shape (5, 2, 3)",
        ),
        (
            lambda: nn.RNNCell(3, 4)(minidl.zeros(5, 3), minidl.zeros(2, 4)),
            "RNNCell: for an input of shape (5, 3) the state must have shape (5, 4), not (2, 4)",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value)


def test_dropout_without_a_second_layer_is_a_warning():
    with pytest.warns(UserWarning, match=r"GRU: dropout = 0.5 acts between layers, and there is only one"):
        nn.GRU(3, 4, dropout=0.5)
