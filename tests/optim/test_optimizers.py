"""Each optimiser against PyTorch's, step by step, and what all of them promise."""

import numpy as np
import pytest

import minidl
from minidl import optim

SHAPES = [(3, 4), (5,), (2, 1, 3), ()]

CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.02}),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.02}),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "maximize": True}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.05, "initial_accumulator_value": 0.3}),
    ("RMSprop", {"lr": 0.05}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.8, "momentum": 0.7, "centered": True, "weight_decay": 0.03}),
    ("Adadelta", {"lr": 0.7, "rho": 0.8, "weight_decay": 0.03}),
    ("Adam", {"lr": 0.05}),
    ("Adam", {"lr": 0.05, "betas": (0.7, 0.95), "weight_decay": 0.1, "amsgrad": True}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.2, "amsgrad": True, "maximize": True}),
]


def gradients(step: int, dtype: str) -> list[np.ndarray]:
    """The same sequence for both sides; every third step brings small ones, so that amsgrad's maximum matters."""
    rng = np.random.default_rng(100 + step)
    scale = 0.01 if step % 3 == 2 else 1.0
    return [(rng.standard_normal(s) * scale).astype(dtype) for s in SHAPES]


def start(dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [rng.standard_normal(s).astype(dtype) for s in SHAPES]


@pytest.mark.torch
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 3e-6)])
@pytest.mark.parametrize("name, options", CASES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CASES)])
def test_every_step_equals_torch(name, options, dtype, tolerance):
    torch = pytest.importorskip("torch")
    ours = [minidl.tensor(a, requires_grad=True) for a in start(dtype)]
    theirs = [torch.tensor(a, requires_grad=True) for a in start(dtype)]
    a = getattr(optim, name)([{"params": ours[:2]}, {"params": ours[2:], "lr": 0.01}], **options)
    b = getattr(torch.optim, name)([{"params": theirs[:2]}, {"params": theirs[2:], "lr": 0.01}], **options)
    for step in range(7):
        for p, q, g in zip(ours, theirs, gradients(step, dtype)):
            p.grad, q.grad = minidl.tensor(g), torch.tensor(g)
        if step == 4:  # a parameter without a gradient stays as it is
            ours[1].grad = theirs[1].grad = None
        a.step()
        b.step()
        for p, q in zip(ours, theirs):
            assert p.dtype == np.dtype(dtype)
            np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("corrected", [False, True])
def test_dampened_momentum_is_the_average_of_the_lectures(corrected):
    w = minidl.tensor([1.0, -2.0], dtype="float64", requires_grad=True)
    sgd = optim.DampenedSGD([w], lr=0.1, beta=0.9, bias_correction=corrected)
    expected, v = np.array([1.0, -2.0]), np.zeros(2)
    for t in range(1, 6):
        g = np.array([0.3 * t, -1.0 / t])
        w.grad = minidl.tensor(g)
        sgd.step()
        v = 0.9 * v + 0.1 * g
        expected = expected - 0.1 * v / ((1 - 0.9**t) if corrected else 1)
        np.testing.assert_allclose(w.numpy(), expected, rtol=1e-14)


@pytest.mark.parametrize("name, options", CASES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CASES)])
def test_state_dict_continues_bit_for_bit(name, options):
    def run(optimizer, params, steps):
        for step in steps:
            for p, g in zip(params, gradients(step, "float32")):
                p.grad = minidl.tensor(g)
            optimizer.step()

    straight = [minidl.tensor(a, requires_grad=True) for a in start("float32")]
    run(getattr(optim, name)(straight, **options), straight, range(6))

    first = [minidl.tensor(a, requires_grad=True) for a in start("float32")]
    optimizer = getattr(optim, name)(first, **options)
    run(optimizer, first, range(3))
    saved = optimizer.state_dict()
    second = [minidl.tensor(p.numpy(), requires_grad=True) for p in first]
    run(optimizer, first, range(3, 6))  # what is saved must not move with the original
    resumed = getattr(optim, name)(second, lr=123.0)
    resumed.load_state_dict(saved)
    run(resumed, second, range(3, 6))
    for p, q in zip(straight, second):
        assert np.array_equal(p.numpy(), q.numpy())


def test_gradient_is_not_changed_by_the_step():
    w = minidl.tensor([1.0, 2.0], requires_grad=True)
    w.grad = minidl.tensor([0.5, -0.5])
    for name, options in CASES:
        getattr(optim, name)([w], **options).step()
        assert w.grad.tolist() == [0.5, -0.5], name


def test_a_step_between_forward_and_backward_is_noticed():
    w = minidl.tensor([1.0, 2.0], requires_grad=True)
    loss = (w * w).sum()
    w.grad = minidl.tensor([1.0, 1.0])
    optim.SGD([w], lr=0.1).step()
    with pytest.raises(minidl.GraphError, match="written to in place"):
        loss.backward()


def test_zero_grad_and_closure():
    w = minidl.tensor([3.0], requires_grad=True)
    sgd = optim.SGD([w], lr=0.5)

    def closure():
        sgd.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with minidl.no_grad():
        assert sgd.step(closure).item() == 9.0
    assert w.item() == 0.0
    sgd.zero_grad(set_to_none=False)
    assert w.grad.tolist() == [0.0]
    sgd.zero_grad()
    assert w.grad is None


def test_penalties():
    p = [minidl.tensor([1.0, -2.0], requires_grad=True), minidl.tensor([[3.0]], requires_grad=True)]
    assert optim.l1_penalty(p, 0.5).item() == 3.0
    assert optim.l2_penalty(p, 0.5).item() == 7.0
    both = optim.elastic_penalty(iter(p), 0.5, 0.25)
    assert both.item() == 6.5
    both.backward()
    np.testing.assert_allclose(p[0].grad.numpy(), [0.5 + 0.5, -0.5 - 1.0])
    with pytest.raises(ValueError, match="at least one parameter"):
        optim.l1_penalty([], 1.0)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda w: optim.SGD([], lr=1), "got no parameters"),
        (lambda w: optim.SGD([w], lr=-1), "lr must not be negative"),
        (lambda w: optim.SGD([w], nesterov=True), "Nesterov's method needs momentum"),
        (lambda w: optim.Adam([w], betas=(1.0, 0.9)), r"betas must lie in \[0, 1\)"),
        (lambda w: optim.Adadelta([w], rho=2), "rho must lie between 0 and 1"),
        (lambda w: optim.DampenedSGD([w], beta=1.0), "beta must lie"),
        (lambda w: optim.SGD([w, w]), "in two groups, or twice in one"),
        (lambda w: optim.SGD([{"params": [w], "lrr": 1}]), "has no setting lrr; it has"),
        (lambda w: optim.SGD([w * 2]), "can only update leaves"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make(minidl.tensor([1.0], requires_grad=True))


def test_not_a_tensor_and_wrong_state():
    with pytest.raises(TypeError, match="updates tensors, not list"):
        optim.SGD([[1.0]])
    w, v = (minidl.tensor([1.0] * n, requires_grad=True) for n in (2, 3))
    w.grad = minidl.tensor([1.0, 1.0])
    a = optim.SGD([w], lr=0.1, momentum=0.9)
    a.step()
    b = optim.SGD([v], lr=0.3, momentum=0.9)
    with pytest.raises(ValueError, match=r"momentum_buffer.* has shape \(2,\), the parameter \(3,\)"):
        b.load_state_dict(a.state_dict())
    assert b.state == {} and b.param_groups[0]["lr"] == 0.3
    with pytest.raises(ValueError, match=r"groups of \[1\] parameters, this one of \[2\]"):
        optim.SGD([w, v]).load_state_dict(a.state_dict())


def test_the_state_of_another_kind_is_refused():
    w = minidl.tensor([1.0, 2.0], requires_grad=True)
    adam = optim.Adam([w], lr=0.1)
    with pytest.raises(ValueError, match="has no dampening, momentum, nesterov: was it saved by another kind than SGD"):
        optim.SGD([w], momentum=0.9).load_state_dict(adam.state_dict())


def test_a_number_of_other_parameters_is_refused():
    w = minidl.tensor([1.0, 2.0], requires_grad=True)
    state = optim.SGD([w], momentum=0.9).state_dict()
    state["state"][3] = {"momentum_buffer": np.zeros(2)}
    with pytest.raises(ValueError, match="holds the state of parameter 3, which none of its groups names"):
        optim.SGD([w], momentum=0.9).load_state_dict(state)


def test_a_loaded_state_is_a_copy_in_the_dtype_of_the_parameter():
    """Tensors without dimensions count steps in PyTorch's files, and arrays may be wider than the parameter."""
    w = minidl.tensor([1.0, 2.0], requires_grad=True)
    w.grad = minidl.tensor([0.5, -0.5])
    adam = optim.Adam([w], lr=0.1)
    adam.step()
    state = adam.state_dict()
    entry = state["state"][0]
    entry["step"] = minidl.tensor(1.0)
    entry["exp_avg"] = entry["exp_avg"].astype("float64")
    adam.load_state_dict(state)
    adam.step()
    assert entry["step"].item() == 1 and adam.state[w]["step"] == 2
    assert adam.state[w]["exp_avg"].dtype == np.float32


def test_repr_shows_the_settings():
    text = repr(optim.SGD([minidl.zeros(1)], lr=0.25))
    assert text.startswith("SGD (\nParameter Group 0\n") and "    lr: 0.25\n" in text


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 3e-6)])
@pytest.mark.parametrize("momentum, decay, maximize", [(0.0, 0.0, False), (0.9, 0.02, False), (0.5, 0.0, True)])
def test_tensorflows_rmsprop_is_its_recurrence(momentum, decay, maximize, dtype, tolerance):
    """s = alpha s + (1 - alpha) g^2 from 1 on, v = momentum v + lr g / sqrt(s + eps), p = p - v; lr falls."""
    ours = [minidl.tensor(a, requires_grad=True) for a in start(dtype)]
    options = {"alpha": 0.9, "eps": 1.0, "momentum": momentum, "weight_decay": decay, "maximize": maximize}
    rule = optim.RMSpropTF(ours, lr=0.1, **options)
    p = [a.astype("float64") for a in start(dtype)]
    s, v = [np.ones(a.shape) for a in p], [np.zeros(a.shape) for a in p]
    for step in range(7):
        rule.param_groups[0]["lr"] = lr = 0.1 * 0.5**step
        for i, g in enumerate(gradients(step, dtype)):
            ours[i].grad = minidl.tensor(g)
            g = (-g if maximize else g) + decay * p[i]
            s[i] = 0.9 * s[i] + 0.1 * g**2
            v[i] = momentum * v[i] + lr * g / np.sqrt(s[i] + 1.0)
            p[i] = p[i] - v[i]
        rule.step()
        for got, wanted in zip(ours, p):
            assert got.dtype == np.dtype(dtype)
            np.testing.assert_allclose(got.detach().numpy(), wanted, rtol=tolerance, atol=tolerance)
    again = optim.RMSpropTF(ours, lr=0.1, **options)
    again.load_state_dict(rule.state_dict())
    assert all((again.state[q]["square_avg"] == rule.state[q]["square_avg"]).all() for q in ours)
