"""What must be true of the tape and the engine, by means that do not use them.

Gradients are held against the complex step, Im f(x + ih)/h, of the same formula in plain NumPy; behaviour
(accumulation, hooks, switches, guards, dtypes) against statements of what a user sees.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

import minidl
from minidl.autograd import GraphError

Formula = Callable[..., Any]
H = 1e-200


def leaf(array: Any, dtype: str = "float64") -> Any:
    return minidl.tensor(np.asarray(array, dtype)).requires_grad_()


def draw(rng: np.random.Generator, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [rng.standard_normal(s) for s in shapes]


def close(got: Any, want: Any, what: str) -> None:
    """Equal to 1e-11 of the largest value, in shape too; otherwise the worst element."""
    assert got is not None, f"{what}: there is no gradient"
    got, want = np.asarray(got.detach().numpy() if hasattr(got, "detach") else got), np.asarray(want)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, should be {want.shape}"
    error = np.abs(got - want)
    if not (error <= 1e-11 * (1 + np.abs(want).max(initial=0.0))).all():
        at = np.unravel_index(int(np.argmax(np.where(np.isnan(error), np.inf, error))), error.shape)
        at = tuple(int(i) for i in at)
        raise AssertionError(f"{what}: element {at} is {got[at]}, should be {want[at]}")


def refuses(action: Callable[[], Any], words: str, what: str) -> None:
    """The action raises GraphError with these words in it."""
    try:
        action()
    except GraphError as error:
        assert words in str(error), f"{what}: the message {str(error)!r} does not say {words!r}"
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__} ({error}) instead of a GraphError") from error
    else:
        raise AssertionError(f"{what}: nothing was raised")


def slopes(formula: Formula, arrays: list[np.ndarray], cotangent: np.ndarray) -> list[np.ndarray]:
    """d <formula, cotangent> / d each element, one complex step each, in plain NumPy."""
    results = []
    for i, array in enumerate(arrays):
        slope = np.zeros(array.shape)
        for at in np.ndindex(*array.shape):
            stepped = [a.astype(complex) for a in arrays]
            stepped[i][at] += 1j * H
            slope[at] = (formula(*stepped).imag / H * cotangent).sum()
        results.append(slope)
    return results


# gradients ------------------------------------------------------------------------------------------------


def _written_in_place(a: Any) -> Any:
    """Writes into views of a value, which change it, on tensors and on arrays alike."""
    y = a * 1.0
    first, rest = y[0], y[1:]
    first *= 3.0
    rest += y[:1] * y[:1]
    y[0, 1] = a[1, 0] * 2
    return y * first


FORMULAS: dict[str, tuple[Formula, Formula, tuple[tuple[int, ...], ...]]] = {
    # name: (on tensors, on arrays, shapes)
    "a product": (lambda a, b: a * b, lambda a, b: a * b, ((3, 4), (3, 4))),
    "a difference": (lambda a, b: a - b, lambda a, b: a - b, ((3, 4), (3, 4))),
    "a quotient": (lambda a, b: a / (b * b + 1), lambda a, b: a / (b * b + 1), ((2, 3), (2, 3))),
    "a row broadcast": (lambda a, b: a * b, lambda a, b: a * b, ((3, 4), (4,))),
    "a column broadcast": (lambda a, b: a * b, lambda a, b: a * b, ((3, 4), (3, 1))),
    "both broadcast": (lambda a, b: a * b, lambda a, b: a * b, ((3, 1, 2), (4, 1))),
    "a number broadcast": (lambda a, b: a + b, lambda a, b: a + b, ((2, 3), ())),
    "broadcast of a square": (lambda a, b: a * b, lambda a, b: a * b, ((3, 3), (3,))),
    "a sum over rows": (lambda a: a.sum(1), lambda a: a.sum(1), ((3, 3),)),
    "a sum over columns": (lambda a: a.sum(0), lambda a: a.sum(0), ((3, 3),)),
    "a kept sum": (lambda a: a.sum(1, keepdim=True), lambda a: a.sum(1, keepdims=True), ((3, 4),)),
    "a sum over two": (lambda a: a.sum((0, 2)), lambda a: a.sum((0, 2)), ((3, 3, 3),)),
    "a mean": (lambda a: a.mean(1), lambda a: a.mean(1), ((3, 3),)),
    "powers": (lambda a: a**3, lambda a: a**3, ((2, 3),)),
    "functions": (
        lambda a: a.exp() * a.sin() + a.tanh(),
        lambda a: np.exp(a) * np.sin(a) + np.tanh(a),
        ((2, 3),),
    ),
    "a matrix product": (lambda a, b: a @ b, lambda a, b: a @ b, ((2, 3), (3, 4))),
    "a batched matrix product": (lambda a, b: a @ b, lambda a, b: a @ b, ((2, 2, 3), (3, 4))),
    "an index": (lambda a: a[1] * a[0], lambda a: a[1] * a[0], ((3, 4),)),
    "an index twice": (lambda a: a[[0, 2, 0]], lambda a: a[[0, 2, 0]], ((3, 4),)),
    "a transpose": (lambda a: a.T @ a, lambda a: a.T @ a, ((2, 3),)),
    "a reshape": (lambda a: a.reshape(3, 2) * 2, lambda a: a.reshape(3, 2) * 2, ((2, 3),)),
    "writes into views": (
        _written_in_place,
        _written_in_place,
        ((3, 3),),
    ),
    "used twice": (lambda a: a * a + a, lambda a: a * a + a, ((2, 3),)),
    "used in two depths": (lambda a: (a * 3).sin() * (a * 3), lambda a: np.sin(a * 3) * (a * 3), ((2, 3),)),
    "normalised": (
        lambda a: (a - a.mean(0, keepdim=True)) / (a * a).sum(0, keepdim=True),
        lambda a: (a - a.mean(0, keepdims=True)) / (a * a).sum(0, keepdims=True),
        ((3, 3),),
    ),
}


def formulas() -> None:
    """Each formula's gradient under a random cotangent is its complex-step derivative."""
    rng = np.random.default_rng(1)
    for name, (on_tensors, on_arrays, shapes) in FORMULAS.items():
        arrays = draw(rng, *shapes)
        leaves = [leaf(a) for a in arrays]
        y = on_tensors(*leaves)
        want = on_arrays(*arrays)
        close(y, want, f"{name}: the value")
        cotangent = rng.standard_normal(want.shape)
        y.backward(minidl.tensor(cotangent))
        for i, (x, slope) in enumerate(zip(leaves, slopes(on_arrays, arrays, cotangent), strict=True)):
            close(x.grad, slope, f"{name}: gradient of argument {i}")


def random_graphs(count: int = 20) -> None:
    """Random graphs whose nodes are used again and again, at all depths."""
    for seed in range(count):
        plan = np.random.default_rng(seed)
        steps = [(int(plan.integers(4)), *(int(v) for v in plan.integers(0, 2 + i, 2))) for i in range(12)]

        def run(*inputs: Any, steps: Any = steps) -> Any:
            values = list(inputs)
            for kind, i, j in steps:
                a, b = values[i], values[j]
                values.append((a + b, a * b * 0.5, a - b * 2, a * 0.7)[kind])
            return values[-1] + values[-2] * values[-4]

        arrays = draw(plan, (2,), (2,))
        leaves = [leaf(a) for a in arrays]
        cotangent = plan.standard_normal(2)
        run(*leaves).backward(minidl.tensor(cotangent))
        for i, (x, slope) in enumerate(zip(leaves, slopes(run, arrays, cotangent), strict=True)):
            got = np.zeros(2) if x.grad is None else x.grad
            close(got, slope, f"random graph {seed}: gradient of input {i}")


def second_derivatives() -> None:
    """create_graph: the gradient of the gradient is the complex-step derivative of the gradient."""
    rng = np.random.default_rng(2)
    (a,) = draw(rng, (2, 3))
    x = leaf(a)
    (dx,) = minidl.autograd.grad((x**3 * x.sin()).sum(), x, create_graph=True)
    first = lambda z: 3 * z**2 * np.sin(z) + z**3 * np.cos(z)  # noqa: E731
    close(dx, first(a), "first derivative of x**3 sin x")
    v = rng.standard_normal((2, 3))
    assert dx.requires_grad, "create_graph=True: the gradient has no history"
    (d2x,) = minidl.autograd.grad(dx, x, minidl.tensor(v))
    close(d2x, (first(a + 1j * H).imag / H) * v, "second derivative of x**3 sin x")
    y = leaf(a)
    (y * y).sum().backward(create_graph=True)
    assert y.grad.requires_grad, "backward(create_graph=True): .grad has no history"


def several_outputs() -> None:
    """Each output of an operation has its own cotangent, and a missing one counts as zero."""
    rng = np.random.default_rng(3)
    (a,) = draw(rng, (4, 3))
    for used in ((0,), (1,), (0, 1)):
        x = leaf(a)
        parts = minidl.split(x * 2, 2, 0)
        sum((i + 1) * (parts[i] ** 2).sum() for i in used).backward()
        want = np.zeros((4, 3))
        for i in used:
            want[2 * i : 2 * i + 2] = (i + 1) * 8 * a[2 * i : 2 * i + 2]
        close(x.grad, want, f"halves {used} of a split")
    x, y = leaf(a), leaf(a)
    g, h = draw(rng, (4, 3), (4, 3))
    minidl.autograd.backward([x * y, x + y], [minidl.tensor(g), minidl.tensor(h)])
    close(x.grad, g * a + h, "two roots at once")


# what a user sees ------------------------------------------------------------------------------------------


def accumulation() -> None:
    """A second backward adds to .grad; a gradient belongs to its leaf alone."""
    a, b, g = draw(np.random.default_rng(4), (2, 3), (2, 3), (2, 3))
    x, y = leaf(a), leaf(b)
    (x * y).backward(minidl.tensor(g))
    (x * x).backward(minidl.tensor(g))
    close(x.grad, g * b + 2 * g * a, "two backward passes into one leaf")
    close(y.grad, g * a, "a leaf of the first pass only")
    for create_graph in (False, True):
        x, y, given = leaf(a), leaf(b), minidl.tensor(g.copy())
        (x + y).backward(given, create_graph=create_graph)
        (x * 1.0).backward(minidl.tensor(g))
        close(x.grad, 2 * g, f"x after two passes, create_graph={create_graph}")
        close(y.grad, g, f"y, whose gradient began as the same array as x's, create_graph={create_graph}")
        close(given, g, f"the cotangent that the user passed, create_graph={create_graph}")


def asking_for_some() -> None:
    """grad() returns and stores nothing; `inputs` limits backward; an unused input is named."""
    a, b = draw(np.random.default_rng(5), (3,), (3,))
    x, y, z = leaf(a), leaf(b), leaf(b)
    middle = x * y
    dx, dm = minidl.autograd.grad((middle * y).sum(), (x, middle))
    close(dx, b * b, "grad with respect to a leaf")
    close(dm, b, "grad with respect to a middle value")
    assert not dx.requires_grad, "grad() was recorded without create_graph"
    assert x.grad is None and y.grad is None, "grad() wrote into .grad"
    (x * y).sum().backward(inputs=[y])
    assert x.grad is None, "backward(inputs=[y]) wrote into x.grad"
    close(y.grad, a, "backward(inputs=[y])")
    refuses(lambda: minidl.autograd.grad((x * y).sum(), (x, z)), "do not depend on input 1", "an unused input")
    _, none = minidl.autograd.grad((x * y).sum(), (x, z), allow_unused=True)
    assert none is None, "allow_unused: the gradient of an unused input is not None"
    refuses(lambda: (x * y).backward(), "shape (3,)", "backward of three numbers without a cotangent")
    refuses(lambda: (x * y).backward(minidl.tensor(np.ones(2))), "shape (2,)", "a cotangent of another shape")


def hooks() -> None:
    """A hook sees the complete gradient and may replace it, on leaves and between; None leaves it alone."""
    a, g = draw(np.random.default_rng(6), (3,), (3,))
    for where in ("leaf", "middle"):
        for returns in (None, 10.0):
            x = leaf(a)
            middle = x * 2
            seen: list[np.ndarray] = []

            def hook(gradient: Any, seen: list = seen, returns: float | None = returns) -> Any:
                seen.append(gradient.numpy().copy())
                return None if returns is None else gradient * returns

            handle = (x if where == "leaf" else middle).register_hook(hook)
            (middle * middle + middle).backward(minidl.tensor(g))
            of_middle = g * (2 * 2 * a + 1)
            assert len(seen) == 1, f"a hook on the {where} ran {len(seen)} times"
            close(seen[0], of_middle * (2 if where == "leaf" else 1), f"what a hook on the {where} sees")
            close(x.grad, of_middle * 2 * (returns or 1), f"x.grad after a hook on the {where} that returns {returns}")
            handle.remove()
            (x if where == "leaf" else x * 2).sum()
    x = leaf(a)
    x.register_hook(lambda gradient: gradient.sum())
    refuses(lambda: (x * x).sum().backward(), "a hook returned a gradient of shape", "a hook that sums")
    x = leaf(a)
    middle = x * 2
    handle = middle.register_hook(lambda gradient: gradient * 0)
    handle.remove()
    middle.backward(minidl.tensor(g))
    close(x.grad, 2 * g, "x.grad after its hook was removed")
    x = leaf(a)
    middle = x * 2
    middle.retain_grad()
    (middle * middle).backward(minidl.tensor(g))
    close(middle.grad, 4 * g * a, "retain_grad")


def switches() -> None:
    """no_grad records nothing, and whatever happens inside, recording is as before afterwards, in each thread."""
    x = leaf([1.0, 2.0])
    with minidl.no_grad():
        assert not (x * 2).requires_grad, "recorded under no_grad"
        with minidl.enable_grad():
            assert (x * 2).requires_grad, "not recorded under enable_grad within no_grad"
        assert not (x * 2).requires_grad, "recorded under no_grad after an inner enable_grad"
        with minidl.no_grad():
            pass
        assert not (x * 2).requires_grad, "recorded under no_grad after an inner no_grad"
        other: list[bool] = []
        thread = threading.Thread(target=lambda: other.append((x * 2).requires_grad))
        thread.start()
        thread.join()
        assert other == [True], "no_grad of one thread reaches another"
    assert (x * 2).requires_grad, "not recorded after no_grad"
    try:
        with minidl.no_grad():
            raise KeyError
    except KeyError:
        pass
    assert (x * 2).requires_grad, "not recorded after an exception under no_grad"
    assert not minidl.no_grad()(lambda: x * 2)().requires_grad, "recorded under the decorator no_grad"
    assert (x * 2).requires_grad, "not recorded after the decorator no_grad"
    (x * 2).sum().backward()
    assert (x * 2).requires_grad, "not recorded after a backward pass"
    assert not x.grad.requires_grad, "the backward pass was recorded without create_graph"
    y = leaf([1.0, 2.0])
    (y.detach() * y).sum().backward()
    close(y.grad, [1.0, 2.0], "a detached factor is a constant")
    assert not y.detach().requires_grad, "a detached tensor requires a gradient"
    constant = minidl.tensor([1.0, 2.0])
    (constant * y).sum().backward()
    assert constant.grad is None, "a constant got a gradient"


def guards() -> None:
    """A value that a live graph needs cannot be changed unnoticed; one that it does not need can."""
    change = np.array([5.0, 6.0])

    def written(write: Callable[[Any], Any], saved: bool = True) -> Callable[[], Any]:
        def action() -> None:
            x, c = leaf([1.0, 2.0]), minidl.tensor(np.array([3.0, 4.0]))
            y = x * c if saved else x + c
            write(c)
            y.sum().backward()

        return action

    writes: dict[str, Callable[[Any], Any]] = {
        "an in-place sum": lambda c: c.add_(1.0),
        "copy_": lambda c: c.copy_(minidl.tensor(change)),
        "a write through detach()": lambda c: c.detach().mul_(2.0),
        "a write into a view": lambda c: c[:1].fill_(9.0),
    }
    for name, write in writes.items():
        refuses(written(write), "'mul'", f"{name} on a value that a product needs")
        written(write, saved=False)()  # a sum needs no values

    def behind_the_back() -> None:
        x, c = leaf([1.0, 2.0]), minidl.tensor(np.array([3.0, 4.0]))
        view = c.numpy()
        y = x * c
        view[0] = 7.0
        y.sum().backward()

    refuses(behind_the_back, "in place", "a write through an older NumPy view")

    def other_data() -> None:
        x = leaf([1.0, 2.0])
        y = x * x
        x.data = minidl.tensor(change)
        y.sum().backward()

    refuses(other_data, "in place", "x.data = ... between forward and backward")

    x = leaf([1.0, 2.0])
    refuses(lambda: x.add_(1.0), "no_grad", "writing into a leaf that requires a gradient")
    with minidl.no_grad():
        x.add_(1.0)
    close(x, [2.0, 3.0], "a leaf written under no_grad")
    y = x.exp()
    (y * 1.0).sum()
    with minidl.no_grad():
        y.detach().mul_(2.0)
    refuses(lambda: y.sum().backward(), "'exp'", "writing into a result that its own rule needs")


def life_of_a_graph() -> None:
    """One backward frees the graph, retain_graph keeps it; a freed value may be written again."""
    a = np.array([1.0, 2.0])
    x = leaf(a)
    y = (x * x).sum()
    y.backward()
    refuses(lambda: y.backward(), "freed", "a second backward pass")
    x = leaf(a)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    close(x.grad, 6 * a, "three passes with retain_graph")
    refuses(lambda: y.backward(), "freed", "a pass after the last one")
    x, c = leaf(a), minidl.tensor(a.copy())
    y = (x * c).sum()
    assert not c.numpy().flags.writeable, "a value that a live graph needs is handed out writable"
    y.backward()
    assert c.numpy().flags.writeable, "a value that no graph needs any more is handed out read-only"
    refuses(lambda: minidl.tensor(a).sum().backward(), "does not require a gradient", "backward of a constant")


def dtypes() -> None:
    """Gradients have the dtype of what they belong to, whatever meets on the way."""
    a = np.array([1.5, 2.5, -3.5])
    for name, formula in {
        "times a Python number": lambda x: x * 2.5,
        "times a float64 tensor": lambda x: x * minidl.tensor(a),
        "plus a float64 tensor": lambda x: x + minidl.tensor(a),
        "mean": lambda x: x.mean(),
        "through float64 and back": lambda x: (x.to("float64") * 3).to("float32"),
        "functions": lambda x: x.exp() / (1 + x.exp()),
    }.items():
        x = leaf(a, "float32")
        y = formula(x)
        y.backward(minidl.tensor(np.full(y.shape, 0.1)))
        assert x.grad.dtype == "float32", f"{name}: the gradient of a float32 leaf is {x.grad.dtype}"
    x = leaf(a, "float32")
    seen: list[Any] = []
    y = x * 2.0
    y.register_hook(lambda g: seen.append(g.dtype))
    y.backward(minidl.tensor(a))
    assert seen == [np.dtype("float32")], f"a float64 cotangent reaches a float32 tensor as {seen}"


CHECKS = (
    formulas,
    random_graphs,
    second_derivatives,
    several_outputs,
    accumulation,
    asking_for_some,
    hooks,
    switches,
    guards,
    life_of_a_graph,
    dtypes,
)
