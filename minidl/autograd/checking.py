"""``gradcheck`` and ``gradgradcheck``: a gradient against numbers, and what is wrong with it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import Device, to_device
from .diagnosis import Evidence, diagnose
from .engine import grad
from .mode import no_grad, set_grad_enabled
from .numerical import Jacobian, jacobian_of
from .tape import RuleShapeError

if TYPE_CHECKING:
    from ..tensor import Tensor

# (rtol, atol) by method: rounding for the complex step, what differences can resolve otherwise
TOLERANCE = {
    ("complex step", "float64"): (1e-9, 1e-11),
    ("central differences", "float64"): (1e-7, 1e-8),
    ("central differences", "float32"): (2e-2, 2e-3),
}


@dataclass
class Worst:
    """The element with the largest error: which input, where in it, both values."""

    input: int
    index: tuple[int, ...]
    analytical: float
    numerical: float


@dataclass
class Report:
    """What a gradient check found; true when the gradients are right, readable as text."""

    ok: bool
    method: str
    elements: int
    error: float
    """Largest difference, relative to the largest element of that input's gradient."""
    worst: Worst | None = None
    wrong: int = 0
    diagnosis: str = ""
    shape: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        if self.ok:
            lines = [f"right: {self.elements} elements, relative error at most {self.error:.1e} ({self.method})"]
        elif self.worst is None:
            lines = [f"wrong: {self.diagnosis}"]
        else:
            w = self.worst
            lines = [
                f"wrong: the gradient of input {w.input}, shape {self.shape}, in {self.wrong} of "
                f"{int(np.prod(self.shape))} elements",
                f"worst at {list(w.index)}: analytical {w.analytical:.9g}, numerical {w.numerical:.9g} ({self.method})",
                f"diagnosis: {self.diagnosis}",
            ]
        return "\n".join([*lines, *(f"note: {n}" for n in self.notes)])


class GradcheckError(RuntimeError):
    """A wrong gradient; ``report`` holds the findings.

    >>> import minidl
    >>> from minidl.autograd import GradcheckError, gradcheck
    >>> x = minidl.tensor([1.0, 2.0], dtype="float64", requires_grad=True)
    >>> try:
    ...     gradcheck(lambda x: x * x.detach(), (x,))  # half of the gradient is cut off
    ... except GradcheckError as error:
    ...     print("wrong:", not error.report)
    wrong: True
    """

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    seed: int = 0,
) -> Report:
    """Compare the gradients of ``func(*inputs)`` with numerical ones, for random cotangents.

    Every floating-point input that requires a gradient is checked, all elements of it, by the complex step where the
    function is analytic in NumPy, else by central differences (always with ``eps``, their step).  Use float64: float32
    resolves only gross mistakes, and a warning says so.  ``func`` must be deterministic and may return one tensor or
    several.  ``atol`` is relative to the largest element of the gradient.

    Returns a :class:`Report`; raises :class:`GradcheckError` with it when a gradient is wrong (unless
    ``raise_exception=False``).

    >>> import minidl
    >>> x = minidl.tensor([[0.5, -1.0], [2.0, 3.0]], dtype="float64", requires_grad=True)
    >>> print(minidl.gradcheck(minidl.tanh, x))  # doctest: +ELLIPSIS
    right: 4 elements, relative error at most ... (complex step)
    """
    from ..tensor import Tensor

    arguments = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    report = _check(func, arguments, eps, atol, rtol, nondet_tol, np.random.default_rng(seed))
    if raise_exception and not report.ok:
        raise GradcheckError(report)
    return report


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Any = None,
    *,
    eps: float | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    seed: int = 0,
) -> Report:
    """Compare second derivatives: :func:`gradcheck` of the gradient as a function of inputs and cotangents.

    ``grad_outputs`` are the cotangents of the outputs, random when None.

    >>> import minidl
    >>> x = minidl.tensor([0.5, -1.0], dtype="float64", requires_grad=True)
    >>> bool(minidl.gradgradcheck(minidl.sin, x))
    True
    """
    from ..tensor import Tensor

    arguments = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    rng = np.random.default_rng(seed)
    wanted = _wanted(arguments)
    if grad_outputs is None:
        with no_grad():
            results = _differentiable(func(*arguments))
        grad_outputs = [_leaf(np.asarray(rng.standard_normal(y.shape)).astype(y.dtype), y.device) for y in results]
    cotangents = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)

    def first_gradient(*values: Any) -> Any:
        xs, gs = values[: len(arguments)], values[len(arguments) :]
        outputs = _differentiable(func(*xs))
        pairs = [(y, g) for y, g in zip(outputs, gs) if y.requires_grad]
        gradients = grad(
            [y for y, _ in pairs], [xs[i] for i in wanted], [g for _, g in pairs], create_graph=True, allow_unused=True
        )
        return tuple(g for g in gradients if g is not None)

    report = _check(first_gradient, [*arguments, *cotangents], eps, atol, rtol, nondet_tol, rng)
    if raise_exception and not report.ok:
        raise GradcheckError(report)
    return report


def _leaf(array: np.ndarray, device: Device) -> Tensor:
    """A leaf that requires a gradient, of any dtype (complex ones too, which users cannot make)."""
    from ..tensor import Tensor

    tensor = Tensor._wrap(to_device(array, device))
    tensor._requires_grad = True
    return tensor


def _wanted(arguments: Sequence[Any]) -> list[int]:
    from ..tensor import Tensor

    return [i for i, a in enumerate(arguments) if isinstance(a, Tensor) and a.requires_grad]


def _differentiable(result: Any) -> list[Tensor]:
    """The floating-point tensors among the results."""
    from ..tensor import Tensor

    flat = list(result) if isinstance(result, (tuple, list)) else [result]
    return [y for y in flat if isinstance(y, Tensor) and y.dtype.kind in "fc"]


def _check(
    func: Callable[..., Any],
    arguments: list[Any],
    eps: float | None,
    atol: float | None,
    rtol: float | None,
    nondet_tol: float,
    rng: np.random.Generator,
) -> Report:
    wanted = _wanted(arguments)
    if not wanted:
        raise ValueError("gradcheck: no input requires a gradient; make one with requires_grad=True")
    for i in wanted:
        if arguments[i].dtype != np.float64:
            warnings.warn(
                f"gradcheck: input {i} is {arguments[i].dtype}; only gross mistakes show below float64, use .double()",
                stacklevel=4,
            )
    arrays = [arguments[i].detach().cpu().numpy().copy() for i in wanted]
    before = [a.copy() for a in arrays]

    def run(values: Sequence[np.ndarray]) -> tuple[list[Tensor], list[Tensor]]:
        leaves = [_leaf(v, arguments[i].device) for v, i in zip(values, wanted)]
        filled = list(arguments)
        for i, leaf in zip(wanted, leaves):
            filled[i] = leaf
        return leaves, _differentiable(func(*filled))

    with set_grad_enabled(True):
        leaves, outputs = run(arrays)
    used = [k for k, y in enumerate(outputs) if y.requires_grad]
    if not used:
        raise ValueError("gradcheck: no result requires a gradient; does func use its arguments differentiably?")
    shapes = [outputs[k].shape for k in used]
    cotangents = [np.asarray(rng.standard_normal(s)).astype(outputs[k].dtype) for s, k in zip(shapes, used)]
    try:
        first = _gradients([outputs[k] for k in used], leaves, cotangents)
        again = _gradients([outputs[k] for k in used], leaves, cotangents)
    except RuleShapeError as error:
        return Report(False, "", 0, np.inf, diagnosis=_shape_diagnosis(error), shape=error.expected)

    def flat(values: Sequence[np.ndarray]) -> np.ndarray:
        with set_grad_enabled(True):  # func may differentiate by itself
            results = run([v.copy() for v in values])[1]
        return np.concatenate([results[k].detach().numpy().reshape(-1) for k in used])

    spread = np.abs(flat(arrays) - flat(arrays))
    if (spread > nondet_tol).any():
        return Report(False, "", 0, np.inf, diagnosis=_not_a_function(float(spread.max())))
    jacobians = [jacobian_of(flat, arrays, i, eps) for i in range(len(arrays))]
    notes = []
    if any(not np.array_equal(a, b) for a, b in zip(arrays, before)):
        notes.append("func changes its inputs")
    c = np.concatenate([np.asarray(g, np.float64).reshape(-1) for g in cotangents])
    report, evidence = _compare(wanted, first, jacobians, c, shapes, (rtol, atol), [a.dtype for a in arrays])
    if evidence is not None:
        k = next(i for i, g in enumerate(first) if g is evidence.wrong)

        def right_with(position: int, value: np.ndarray) -> np.ndarray:
            moved = list(arrays)
            moved[wanted.index(position)] = value
            return (jacobian_of(flat, moved, k, eps).matrix.T @ c).reshape(first[k].shape)

        evidence.value, evidence.result, evidence.right_with = arrays[k], flat(arrays), right_with
        evidence.arguments = {i: a for i, a in zip(wanted, arrays) if i != wanted[k]}
        report.diagnosis = diagnose(evidence)
    if any(np.abs(a - b).max(initial=0.0) > nondet_tol for a, b in zip(first, again)):
        report.ok = False
        report.diagnosis = "not deterministic: two backward passes over one graph differ; " + report.diagnosis
    kinks = sum(len(j.kinks) for j in jacobians)
    if report.ok and 2 * kinks > report.elements:
        report.ok = False
        report.diagnosis = (
            f"{kinks} of {report.elements} elements could not be compared: check at other inputs, away from the kinks"
        )
    if kinks:
        notes.append(f"{kinks} elements lie on a kink, where there is no derivative, and were not compared")
    report.notes = tuple(notes)
    return report


def _gradients(outputs: list[Tensor], leaves: list[Tensor], cotangents: list[np.ndarray]) -> list[np.ndarray]:
    from ..tensor import Tensor

    seeds = [Tensor._wrap(to_device(c, y.device)) for c, y in zip(cotangents, outputs)]
    found = grad(outputs, leaves, seeds, retain_graph=True, allow_unused=True)
    return [np.zeros(x.shape) if g is None else g.detach().numpy().copy() for x, g in zip(leaves, found)]


def _not_a_function(spread: float) -> str:
    return (
        f"not deterministic: two calls of func with the same inputs differ by {spread:.3g}; seed its random numbers "
        "inside func, or leave dropout out with eval()"
    )


def _shape_diagnosis(error: RuleShapeError) -> str:
    text = str(error)
    if len(error.got) > len(error.expected) or np.prod(error.got) > np.prod(error.expected):
        text += ": the broadcast is not undone, sum the gradient over the axes that were stretched"
    return text


def _compare(
    wanted: list[int],
    gradients: list[np.ndarray],
    jacobians: list[Jacobian],
    cotangent: np.ndarray,
    shapes: list[tuple[int, ...]],
    tolerances: tuple[float | None, float | None],
    dtypes: list[np.dtype],
) -> tuple[Report, Evidence | None]:
    """The report, and where a gradient is wrong, what is known of the worst one."""
    rights = [(j.matrix.T @ cotangent).reshape(g.shape) for j, g in zip(jacobians, gradients)]
    methods = sorted({j.method for j in jacobians}, reverse=True)
    report = Report(True, " and ".join(methods), sum(g.size for g in gradients), 0.0)
    worst_ratio, evidence = 1.0, None
    for k, (analytical, right, j, dtype) in enumerate(zip(gradients, rights, jacobians, dtypes)):
        rtol, atol = TOLERANCE.get((j.method, str(dtype)), TOLERANCE["central differences", "float32"])
        rtol, atol = tolerances[0] or rtol, tolerances[1] or atol
        scale = max(float(np.abs(right).max(initial=0.0)), 1e-30)
        error = np.abs(analytical - right)
        error.reshape(-1)[j.kinks] = 0.0
        error = np.where(np.isnan(error), np.inf, error)
        # an exact zero beside a gradient of rounding errors is no mistake
        allowed = rtol * np.abs(right) + atol * max(scale, 1e-3) + j.rounding * float(np.linalg.norm(cotangent))
        report.error = max(report.error, float(error.max(initial=0.0)) / max(scale, 1e-3))
        ratio = error / allowed
        if ratio.max(initial=0.0) <= worst_ratio:
            continue
        worst_ratio = float(ratio.max())
        index = np.unravel_index(int(ratio.argmax()), ratio.shape)
        report.ok, report.wrong, report.shape = False, int((ratio > 1).sum()), analytical.shape
        report.method = j.method
        report.worst = Worst(wanted[k], tuple(int(i) for i in index), float(analytical[index]), float(right[index]))
        others = {wanted[i]: r for i, r in enumerate(rights) if i != k}
        evidence = Evidence(analytical, right, j.matrix, cotangent, shapes, others, max(1e-5, rtol))
    return report, evidence


__all__ = ["GradcheckError", "Report", "Worst", "gradcheck", "gradgradcheck"]
