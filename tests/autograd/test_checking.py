"""gradcheck finds planted mistakes and calls each by its name."""

import re
import warnings

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import tensor
from minidl.autograd import Primitive, grad, vjp
from minidl.autograd.checking import GradcheckError, Report
from minidl.autograd.examples import UnknownCheckError, check_named, checks, names

RNG = np.random.default_rng(11)


def normal(*shape):
    return tensor(RNG.standard_normal(shape), requires_grad=True)


def spoiled(function, *, gradient=None, cotangent=None, which=0):
    """``function`` with a mistake in its backward pass: in one argument's gradient, or in what comes from above."""

    def wrong(*arguments):
        arguments = [a * 1 for a in arguments]
        if gradient is not None:
            arguments[which].register_hook(_on_array(gradient))
        y = function(*arguments)
        if cotangent is not None:
            y = y * 1
            y.register_hook(_on_array(cotangent))
        return y

    return wrong


def _on_array(change):
    return lambda g: tensor(np.ascontiguousarray(change(g.numpy().copy())), dtype=g.dtype)


def conv(x, w):
    return F.conv2d(x, w, stride=(1, 2), padding=1)


def scaled(x, w):
    return x * w


CONV = ((8, 2, 4, 5), (3, 2, 3, 3))


PLANTED = {
    "zero": (spoiled(conv, gradient=lambda g: g * 0), CONV, "the gradient is zero"),
    "nan": (
        spoiled(conv, gradient=lambda g: np.where(np.arange(g.size).reshape(g.shape) == 3, np.nan, g)),
        CONV,
        r"1 elements are NaN or infinite, the first at \[0, 0, 0, 3\]",
    ),
    "negated": (spoiled(conv, gradient=lambda g: -g), CONV, "equals the right gradient negated"),
    "batch forgotten": (
        spoiled(conv, gradient=lambda g: g * 8, which=1),
        CONV,
        r"off by the factor N = 8 \(axis 0 of the output\)",
    ),
    "divided by the batch": (
        spoiled(conv, gradient=lambda g: g / 8, which=1),
        CONV,
        "off by the factor 1/N = 1/8 .* divided by N",
    ),
    "a factor": (spoiled(conv, gradient=lambda g: g * 0.37), CONV, "off by the factor 0.37$"),
    "minus a length": (spoiled(conv, gradient=lambda g: g * -8), CONV, "off by the factor minus N = 8"),
    "rotated": (
        spoiled(conv, gradient=lambda g: g[..., ::-1, ::-1], which=1),
        CONV,
        "equals the right gradient rotated by 180 degrees over the last two axes",
    ),
    "reversed": (
        spoiled(conv, gradient=lambda g: g[:, ::-1], which=1),
        CONV,
        "equals the right gradient reversed along axis 1",
    ),
    "transposed": (
        spoiled(conv, gradient=lambda g: g.swapaxes(2, 3), which=1),
        CONV,
        "equals the right gradient transposed$",
    ),
    "transposed elsewhere": (
        spoiled(scaled, gradient=lambda g: g.swapaxes(0, 1)),
        ((3, 3, 2), (3, 3, 2)),
        r"equals the right gradient transposed as \(1, 0, 2\)",
    ),
    "memory order": (
        spoiled(conv, gradient=lambda g: g.transpose(0, 2, 3, 1).reshape(g.shape), which=1),
        CONV,
        r"flattened in the wrong axis order: the elements come as \(0, 2, 3, 1\)",
    ),
    "ones": (
        spoiled(conv, cotangent=np.ones_like),
        CONV,
        "ignores its upstream gradient: equals the gradient for a cotangent of",
    ),
    "mean": (
        spoiled(conv, cotangent=lambda g: np.full_like(g, g.mean())),
        CONV,
        "uses the mean of the upstream gradient",
    ),
    "sum": (spoiled(conv, cotangent=lambda g: np.full_like(g, g.sum())), CONV, "uses the sum of the upstream gradient"),
    "upstream order": (
        spoiled(conv, cotangent=lambda g: g.transpose(0, 2, 3, 1).reshape(g.shape)),
        CONV,
        r"the upstream gradient is flattened in the wrong axis order: as \(0, 2, 3, 1\) instead of \(0, 1, 2, 3\)",
    ),
    "upstream rotated": (
        spoiled(conv, cotangent=lambda g: g[..., ::-1, ::-1]),
        CONV,
        "the upstream gradient is rotated by 180 degrees over the last two axes",
    ),
    "first sample": (
        spoiled(conv, cotangent=lambda g: g * (np.arange(8) == 0)[:, None, None, None], which=1),
        CONV,
        "only the first sample of the batch contributes",
    ),
    "last sample": (
        spoiled(conv, cotangent=lambda g: g * (np.arange(8) == 7)[:, None, None, None]),
        CONV,
        "only the last sample of the batch contributes",
    ),
    "first channel": (
        spoiled(conv, cotangent=lambda g: g * (np.arange(3) == 0)[:, None, None]),
        CONV,
        "only the first entry of output axis 1 contributes",
    ),
    "float32": (
        spoiled(conv, gradient=lambda g: g.astype(np.float32)),
        CONV,
        r"right to float32 precision only \(relative error .*\): all its elements are float32 numbers",
    ),
    "float32 on the way": (
        spoiled(conv, gradient=lambda g: g * (1 + 1e-6)),
        CONV,
        "somewhere it passes through float32",
    ),
    "exchanged": (
        lambda x, w: _exchanged(x, w),
        ((3, 4), (3, 4)),
        "equals the gradient of input .: the gradients of two",
    ),
    "derivative forgotten": (
        lambda x: _forgotten(x),
        ((3, 4),),
        "equals the upstream gradient: the derivative of the operation is missing",
    ),
    "input for output": (
        lambda x: _of_input(x),
        ((3, 4),),
        r"the derivative is y\*\(1 - y\) with the output y, but was computed as x\*\(1 - x\) with the input x",
    ),
    "output for input": (
        lambda x: _of_output(x),
        ((3, 4),),
        r"the derivative is cos\(x\) with the input x, but was computed as cos\(y\) with the output y",
    ),
    "diagonal": (
        lambda x: _diagonal(x),
        ((3, 4),),
        "each output is taken to depend on its own element alone: only the diagonal of the Jacobian is there",
    ),
    "constant mean": (
        lambda x: _centred(x),
        ((3, 4),),
        "the upstream gradient times one number along axis 1: what the operation computes over that axis",
    ),
    "part missing": (
        spoiled(conv, gradient=lambda g: g * (np.arange(g.shape[3]) > 0)),
        CONV,
        r"right where something arrives, but \d+ of \d+ elements get nothing, the first at \[0, 0, 0, 0\]",
    ),
    "not transposed": (
        lambda x, w: _untransposed(x, w),
        ((3, 4), (4, 4)),
        "equals the gradient for input 1 transposed",
    ),
    "signs": (spoiled(scaled, gradient=np.abs), ((3, 4), (3, 4)), "right but for the sign of some elements"),
    "nothing known": (
        spoiled(scaled, gradient=lambda g: g + (np.arange(4) == 2) * 0.1),
        ((3, 4), (3, 4)),
        r"no known mistake; wrong only on axis 1 at \[2\]",
    ),
    "everywhere": (spoiled(scaled, gradient=np.sin), ((3, 4), (3, 4)), "no known mistake$"),
}

_exchanged = Primitive(
    "exchanged_for_test",
    lambda a, b: a * b,
    vjp(lambda g, y, a, b: g * a, uses="a"),
    vjp(lambda g, y, a, b: g * b, uses="b"),
)

_forgotten = Primitive("forgotten_for_test", np.tanh, vjp(lambda g, y, x: g * 1))
_of_input = Primitive(
    "of_input_for_test", lambda x: 1 / (1 + np.exp(-x)), vjp(lambda g, y, x: g * x * (1 - x), uses="x")
)
_of_output = Primitive("of_output_for_test", np.sin, vjp(lambda g, y, x: g * y.cos(), uses="y"))
_diagonal = Primitive(
    "diagonal_for_test",
    lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True),
    vjp(lambda g, y, x: g * y * (1 - y), uses="y"),
)
_centred = Primitive("centred_for_test", lambda x: x * 3 - x.mean(1, keepdims=True), vjp(lambda g, y, x: g * 3))
_untransposed = Primitive(
    "untransposed_for_test",
    lambda x, w: x @ w,
    vjp(lambda g, y, x, w: g @ w, uses="w"),
    vjp(lambda g, y, x, w: x.transpose(0, 1) @ g, uses="x"),
)


@pytest.mark.parametrize("name", PLANTED)
def test_planted_mistakes_are_named(name):
    function, shapes, message = PLANTED[name]
    with pytest.raises(GradcheckError, match="diagnosis") as caught:
        minidl.gradcheck(function, [normal(*s) for s in shapes])
    report = caught.value.report
    assert not report and report.worst is not None and report.wrong > 0
    assert re.search(message, report.diagnosis), report


# ---- mistakes in a rule itself --------------------------------------------------------------------------------


WRONG_BIAS_ADD = {
    "wrong axis": (lambda g: g.sum(1), r"summed over the wrong axis: over \(1,\) of the output's shape \(4, 4\)"),
    "first row": (
        lambda g: g[0],
        r"the broadcast is not undone: only the first entry along \(0,\) arrives, not the sum",
    ),
    "last row": (lambda g: g[-1], r"the broadcast is not undone: only the last entry along \(0,\) arrives"),
    "mean": (lambda g: g.mean(0), "off by the factor 1/N = 1/4"),
    "nothing summed": (
        lambda g: g,
        r"returned shape \(4, 4\) for an argument of shape \(4,\): the broadcast is not undone",
    ),
}


@pytest.mark.parametrize("name", WRONG_BIAS_ADD)
def test_wrong_reductions(name):
    rule, message = WRONG_BIAS_ADD[name]
    add = Primitive(
        f"bias, {name}, for_test", lambda a, b: a + b, vjp(lambda g, y, a, b: g), vjp(lambda g, y, a, b: rule(g))
    )
    report = minidl.gradcheck(add, [normal(4, 4), normal(4)], raise_exception=False)
    assert not report.ok and re.search(message, report.diagnosis), report


def test_assignment_in_place_of_accumulation():
    kernel, stride = 3, 2

    def forward(x):
        return np.stack([x[:, i : i + kernel].sum(1) for i in range(0, x.shape[1] - kernel + 1, stride)], axis=1)

    def backward(g, y, x):
        dx = np.zeros(x.shape)
        for k, i in enumerate(range(0, x.shape[1] - kernel + 1, stride)):
            dx[:, i : i + kernel] = g.numpy()[:, k : k + 1]  # the mistake: = for +=
        return tensor(dx)

    op = Primitive("overlap_for_test", forward, vjp(backward))
    report = minidl.gradcheck(op, normal(2, 9), raise_exception=False)
    assert "right only where windows do not overlap" in report.diagnosis and "(+=), not assigned" in report.diagnosis


def test_not_deterministic():
    def rule(g, y, x):
        return g * (1 + 1e-13 * RNG.random())

    op = Primitive("noise_for_test", lambda x: x * 1, vjp(rule))
    report = minidl.gradcheck(op, normal(3), raise_exception=False)
    assert not report.ok and report.diagnosis.startswith("not deterministic: two backward passes over one graph differ")
    assert minidl.gradcheck(op, normal(3), nondet_tol=1e-9)


def test_a_function_that_draws_is_never_right():
    noisy = Primitive("noisy_for_test", lambda x: x * RNG.random(), vjp(lambda g, y, x: g * 777.0))
    report = minidl.gradcheck(noisy, normal(5), raise_exception=False)
    assert not report.ok and "two calls of func with the same inputs differ by" in report.diagnosis
    with pytest.raises(
        GradcheckError, match=r"seed its random numbers inside func, or leave dropout out with eval\(\)"
    ):
        minidl.gradcheck(lambda x: minidl.nn.functional.dropout(x * x, 0.5), normal(40))  # no two masks are equal


def test_a_check_of_kinks_alone_is_not_right():
    x = tensor([0.0, 0.0, 2.0], dtype="float64", requires_grad=True)
    report = minidl.gradcheck(minidl.abs, x, raise_exception=False)
    assert not report.ok and report.diagnosis.startswith("2 of 3 elements could not be compared: check at other inputs")


@pytest.mark.parametrize("seed", range(4))
def test_rounding_of_large_results_is_no_kink_and_no_mistake(seed):
    """Slopes of float32 numbers near 20,000 jump by more than one from step to step."""
    x = normal(6).detach().float().requires_grad_()
    with pytest.warns(UserWarning):
        right = minidl.gradcheck(lambda x: x + 20000, x, seed=seed)
        wrong = spoiled(lambda x: x + 20000, gradient=lambda g: g * 777)
        found = minidl.gradcheck(wrong, x, seed=seed, raise_exception=False)
    assert right.ok and not right.notes and not found.ok and found.wrong > 0


# ---- the report -----------------------------------------------------------------------------------------------


def test_report_of_a_right_gradient():
    report = minidl.gradcheck(conv, [normal(*s) for s in CONV])
    assert isinstance(report, Report) and report.ok and bool(report) and report.worst is None
    assert report.method == "complex step" and report.error < 1e-14 and report.elements == 8 * 40 + 54
    assert str(report).startswith("right: 374 elements, relative error at most ")


def test_report_of_a_wrong_gradient():
    x = tensor([[1.0, -2.0, 4.0]], dtype="float64", requires_grad=True)
    wrong = spoiled(lambda x: x * x, gradient=lambda g: g + np.array([[0.0, 0.0, 1.0]]))
    report = minidl.gradcheck(wrong, x, raise_exception=False)
    assert report.worst.input == 0 and report.worst.index == (0, 2) and report.wrong == 1 and report.shape == (1, 3)
    assert abs(report.worst.analytical - report.worst.numerical - 1) < 1e-12
    first, second, third = str(report).splitlines()
    assert first == "wrong: the gradient of input 0, shape (1, 3), in 1 of 3 elements"
    assert second.startswith("worst at [0, 2]: analytical ") and second.endswith("(complex step)")
    assert third == "diagnosis: no known mistake; wrong only on axis 1 at [2]"


def test_the_right_input_is_blamed():
    with pytest.raises(GradcheckError, match="the gradient of input 1, shape"):
        minidl.gradcheck(spoiled(scaled, gradient=lambda g: g * 2, which=1), [normal(2, 3), normal(2, 3)])


def test_constants_and_other_arguments_pass_through():
    report = minidl.gradcheck(lambda x, n, c: x.sum(n) * c, [normal(2, 3), 1, tensor([2.0, 3.0], dtype="float64")])
    assert report.ok and report.elements == 6


def test_several_results():
    assert minidl.gradcheck(lambda x: (x.exp(), x.argmax(), x.sum(0)), normal(3, 2))
    with pytest.raises(GradcheckError, match=r"ignores|mean|no known|wrong"):
        minidl.gradcheck(lambda x: (x.exp(), spoiled(lambda x: x.sin(), cotangent=np.ones_like)(x)), normal(3, 2))


def test_a_function_that_is_flat_or_empty():
    assert minidl.gradcheck(lambda x: x.floor() * 1.0, normal(4))
    assert minidl.gradcheck(lambda x: x.exp(), normal(0, 3))


# ---- methods -----------------------------------------------------------------------------------------------------


def test_not_analytic_functions_fall_back_to_differences():
    report = minidl.gradcheck(lambda x: x.abs() * x.sigmoid(), normal(5))
    assert report.ok and report.method == "central differences"
    report = minidl.gradcheck(lambda x: minidl.from_numpy(x._array.real) * 0 + x, normal(5))
    assert report.ok


def test_eps_forces_differences():
    assert minidl.gradcheck(minidl.exp, normal(4), eps=1e-4).method == "central differences"


def test_near_a_kink_and_on_it():
    x = tensor([3e-5, -1.0, 2.0], dtype="float64", requires_grad=True)
    assert minidl.gradcheck(minidl.abs, x)
    x = tensor([0.0, -1.0, 2.0], dtype="float64", requires_grad=True)
    report = minidl.gradcheck(lambda x: minidl.abs(x) + x, x)
    assert report.notes == ("1 elements lie on a kink, where there is no derivative, and were not compared",)
    assert "note: 1 elements lie on a kink" in str(report)


def test_float32_warns_and_still_finds_gross_mistakes():
    x = tensor([0.5, -1.0, 2.0], requires_grad=True)
    with pytest.warns(UserWarning, match="gradcheck: input 0 is float32; only gross mistakes show below float64"):
        assert minidl.gradcheck(minidl.sin, x)
    with pytest.warns(UserWarning), pytest.raises(GradcheckError, match="equals the right gradient negated"):
        minidl.gradcheck(spoiled(minidl.sin, gradient=lambda g: -g), x)


def test_tolerances():
    wrong = spoiled(minidl.sin, gradient=lambda g: g * 1.001)
    assert minidl.gradcheck(wrong, normal(3), rtol=1e-2)
    with pytest.raises(GradcheckError):
        minidl.gradcheck(wrong, normal(3), rtol=1e-5)


def test_a_function_that_changes_its_input_is_noted():
    def careless(x):
        with minidl.no_grad():
            x._array += 1
        return x * 1

    assert "func changes its inputs" in minidl.gradcheck(careless, normal(2), raise_exception=False).notes


def test_messages():
    with pytest.raises(ValueError, match="gradcheck: no input requires a gradient; make one with requires_grad=True"):
        minidl.gradcheck(minidl.sin, tensor([1.0]))
    with pytest.raises(ValueError, match="gradcheck: no result requires a gradient; does func use its arguments"):
        minidl.gradcheck(lambda x: x.detach(), normal(2))


# ---- second derivatives ----------------------------------------------------------------------------------------


def test_gradgradcheck():
    report = minidl.gradgradcheck(lambda x, w: F.conv2d(x, w).tanh(), [normal(2, 2, 4, 3), normal(3, 2, 2, 2)])
    assert report.ok and report.method == "complex step"
    assert minidl.gradgradcheck(minidl.exp, normal(3), tensor([1.0, 2.0, 3.0], dtype="float64", requires_grad=True))


def test_a_rule_that_cannot_be_differentiated_is_found():
    """The first gradient is right, but it was computed on detached values."""
    op = Primitive("square_for_test", lambda x: x * x, vjp(lambda g, y, x: g * x.detach() * 2, uses="x"))
    assert minidl.gradcheck(op, normal(3))
    with pytest.raises(GradcheckError, match="the gradient is zero: it is not computed, or"):
        minidl.gradgradcheck(op, normal(3))


# ---- by name ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names())
def test_every_example(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, second = check_named(name)
    assert first.ok, first
    assert (second is None) == (not checks()[name].second)
    assert second is None or second.ok, second


def test_unknown_names():
    with pytest.raises(UnknownCheckError, match=r"no operation called 'conv2' to check; did you mean conv2d"):
        check_named("conv2")
    with pytest.raises(UnknownCheckError, match="`minidl gradcheck --list` shows all names"):
        check_named("xyzzy")


def test_every_primitive_with_a_gradient_is_reached():
    """The examples and their gradients pull every differentiable primitive of the package back at least once."""
    with minidl.autograd.Tape() as tape, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for check in checks().values():
            arguments = [a.make(np.random.default_rng(1)) for a in check.arguments]
            outputs = _flat(check.function(*arguments))
            for _ in range(3):  # the gradient of a gradient of a gradient: some primitives serve only there
                outputs = [y for y in outputs if y is not None and y.requires_grad]
                if outputs:
                    cotangents = [minidl.ones_like(y).requires_grad_() for y in outputs]
                    inputs = [*arguments, *cotangents]
                    outputs = grad(outputs, inputs, cotangents, create_graph=True, allow_unused=True)
                    arguments = inputs
    seen = {node.name for node, _, _ in tape.backward_calls}
    differentiable = {n for n, p in Primitive.registry.items() if p.joint or any(p.rules)}
    ours = {n for n in differentiable if not n.endswith("for_test")}
    # their gradient is zero wherever it exists; tests/parity checks that
    flat = {"sign", "floor", "ceil", "round", "trunc", "floor_divide"}
    elsewhere = {
        "cast": "the examples are float64 throughout; tests/parity",
        "move": "needs a GPU",
        "linear": "a product and a sum for whoever listens, as here; tests/nn/test_linear.py",
        "cross_entropy": "its steps for whoever listens, as here; tests/ops/test_steps_together.py",
        "conv_relu": "its steps for whoever listens, as here; tests/nn/test_conv_then.py",
        "batch_norm_relu": "its steps for whoever listens, as here; tests/nn/test_containers.py",
        "group_norm": "its steps for whoever listens, as here; tests/device/test_cuda_norms.py",
        "device_cross_entropy": "on a device; tests/device/test_cuda_fused.py",
        "rounded": "a step, without a derivative of its own; tests/test_amp.py",
        "view": "written in place through a view; tests/autograd/test_guard.py",
        "module_boundary": "hooks of modules; tests/nn",
    }
    assert sorted(ours - seen - flat - set(elsewhere)) == []


def _flat(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]
