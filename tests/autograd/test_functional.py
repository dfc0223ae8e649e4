"""vjp, jvp, jacobian, hessian, vhp, hvp: against PyTorch's functions of these names, and against differences."""

import numpy as np
import pytest

import minidl
from minidl import GraphError, tensor
from minidl.autograd import functional as AF

RNG = np.random.default_rng(5)
X, Y = RNG.standard_normal((2, 3)), RNG.standard_normal(3)


def one(x):
    return (x.exp() * x).sum(0)


def two(x, y):
    return (x * y).sin(), (x @ y) ** 2


def number(x, y):
    return (x.sin() * y).sum() * (y * y).sum()


def flat(result):
    if isinstance(result, (tuple, list)):
        return [leaf for r in result for leaf in flat(r)]
    return [result.detach().numpy()]


def same_structure(a, b):
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same_structure, a, b))
    return not isinstance(b, tuple)


TANGENTS = {"one": RNG.standard_normal((2, 3)), "x": RNG.standard_normal((2, 3)), "y": RNG.standard_normal(3)}
CALLS = {
    "vjp one": lambda m, f, t: f.vjp(one, t(X), t(TANGENTS["y"])),
    "vjp of a number": lambda m, f, t: f.vjp(number, (t(X), t(Y))),
    "vjp two": lambda m, f, t: f.vjp(two, (t(X), t(Y)), (t(TANGENTS["x"]), t(RNG_2))),
    "jvp one": lambda m, f, t: f.jvp(one, t(X), t(TANGENTS["one"])),
    "jvp two": lambda m, f, t: f.jvp(two, (t(X), t(Y)), (t(TANGENTS["x"]), t(TANGENTS["y"]))),
    "jvp of a number": lambda m, f, t: f.jvp(lambda x: x * t(Y), t(np.array(0.3))),
    "jacobian one": lambda m, f, t: f.jacobian(one, t(X)),
    "jacobian two": lambda m, f, t: f.jacobian(two, (t(X), t(Y))),
    "jacobian with unused": lambda m, f, t: f.jacobian(lambda x, y: x * 2, (t(X), t(Y))),
    "hessian one": lambda m, f, t: f.hessian(lambda x: (x**3).sum() * x[0, 0], t(X)),
    "hessian two": lambda m, f, t: f.hessian(number, (t(X), t(Y))),
    "vhp one": lambda m, f, t: f.vhp(lambda x: (x**3).sum() * x[0, 0], t(X), t(TANGENTS["one"])),
    "vhp two": lambda m, f, t: f.vhp(number, (t(X), t(Y)), (t(TANGENTS["x"]), t(TANGENTS["y"]))),
    "hvp two": lambda m, f, t: f.hvp(number, (t(X), t(Y)), (t(TANGENTS["x"]), t(TANGENTS["y"]))),
    "hessian of a linear function": lambda m, f, t: f.hessian(lambda x: (x * 2).sum(), t(X)),
}
RNG_2 = RNG.standard_normal(2)


@pytest.mark.torch
@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_against_torch(name, create_graph):
    torch = pytest.importorskip("torch")

    class Bound:
        """The functions of a module with create_graph fixed."""

        def __init__(self, module):
            self.module = module

        def __getattr__(self, function):
            return lambda *args: getattr(self.module, function)(*args, create_graph=create_graph)

    ours = CALLS[name](minidl, Bound(AF), lambda a: tensor(a, requires_grad=True))
    theirs = CALLS[name](torch, Bound(torch.autograd.functional), lambda a: torch.tensor(a, requires_grad=True))
    assert same_structure(ours, theirs)
    for a, b in zip(flat(ours), flat(theirs)):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    if not create_graph:
        assert not any(t.requires_grad for t in _leaves(ours))


def _leaves(result):
    return [leaf for r in result for leaf in _leaves(r)] if isinstance(result, tuple) else [result]


def test_jvp_by_complex_step():
    """The directional derivative of an analytic function, exact to rounding."""
    h = 1e-100
    x = minidl.Tensor._wrap(X + 1j * h * TANGENTS["one"])
    expected = one(x)._array.imag / h
    np.testing.assert_allclose(AF.jvp(one, tensor(X), tensor(TANGENTS["one"]))[1].numpy(), expected, rtol=1e-13)


def test_jvp_and_vjp_are_adjoint():
    u, v = tensor(RNG.standard_normal(3)), tensor(TANGENTS["one"])
    left = (AF.jvp(one, tensor(X), v)[1] * u).sum().item()
    right = (AF.vjp(one, tensor(X), u)[1] * v).sum().item()
    assert abs(left - right) < 1e-12


def test_hessian_is_symmetric_and_right_by_differences():
    def f(x):
        return (x.sin() * x[0]).prod()

    x = RNG.standard_normal(4)
    hessian = AF.hessian(f, tensor(x)).numpy()
    assert np.allclose(hessian, hessian.T, rtol=1e-12)
    h = 1e-5
    for i in range(4):
        step = h * np.eye(4)[i]
        up, down = (AF.vjp(f, tensor(x + s))[1].numpy() for s in (step, -step))
        np.testing.assert_allclose(hessian[i], (up - down) / (2 * h), rtol=1e-7, atol=1e-9)


def test_create_graph_reaches_the_callers_graph():
    x = tensor([0.5, 1.0], dtype="float64", requires_grad=True)
    AF.jacobian(lambda x: x**3, x, create_graph=True).sum().backward()
    assert np.allclose(x.grad.numpy(), 6 * x._array)


def test_nothing_leaks_into_grad():
    w = tensor([2.0], requires_grad=True)
    AF.hessian(lambda x: (x * x * w).sum(), tensor([1.0]))
    assert w.grad is None


def test_works_under_no_grad():
    with minidl.no_grad():
        assert AF.jacobian(lambda x: x * x, tensor([3.0])).item() == 6


def test_empty_input_and_output():
    assert AF.jacobian(lambda x: x * 2, minidl.zeros(0)).shape == (0, 0)
    assert AF.jacobian(lambda x: x.sum(), minidl.zeros(0)).shape == (0,)


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (
            lambda: AF.vjp(one, tensor(X)),
            ValueError,
            "vjp: v may be left out only where the function returns a single number",
        ),
        (lambda: AF.jvp(one, tensor(X)), ValueError, "jvp: v may be left out only where the input is a single number"),
        (
            lambda: AF.vjp(one, tensor(X), tensor(X)),
            ValueError,
            r"vjp: v has shapes \[\(2, 3\)\], but the results have \[\(3,\)\]",
        ),
        (
            lambda: AF.hessian(one, tensor(X)),
            ValueError,
            r"hessian is for functions that return a single number, .* \(3,\)",
        ),
        (lambda: AF.vhp(one, tensor(X), tensor(X)), ValueError, "vhp is for functions that return a single number"),
        (
            lambda: AF.jacobian(one, [1.0]),
            TypeError,
            "jacobian: inputs must be a tensor or a tuple of tensors, not float",
        ),
        (lambda: AF.jacobian(lambda x: 3.0, tensor(X)), TypeError, "the function's results must be a tensor"),
        (
            lambda: AF.jacobian(lambda x: tensor([1.0]), tensor(X), strict=True),
            GraphError,
            "a result of the function does not",
        ),
        (
            lambda: AF.jacobian(lambda x, y: x * 1, (tensor(X), tensor(Y)), strict=True),
            GraphError,
            "do not depend on input 1",
        ),
    ],
)
def test_messages(action, error, message):
    with pytest.raises(error, match=message):
        action()
