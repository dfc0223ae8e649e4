"""Derivatives of functions: ``vjp``, ``jvp``, ``jacobian``, ``hessian``, ``vhp``, ``hvp``.

Names, arguments and results are those of ``torch.autograd.functional``: a function of one tensor or several, that
returns one tensor or several; what goes in as a tuple comes out as one.  With ``create_graph=False`` the results are
cut off from the graph; with ``strict=True`` a result that does not depend on an input is an error instead of zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .engine import grad
from .mode import enable_grad
from .tape import GraphError

if TYPE_CHECKING:
    from ..tensor import Tensor

Tensors = Any  # a tensor or a tuple of tensors


def vjp(
    func: Callable[..., Any], inputs: Tensors, v: Tensors = None, create_graph: bool = False, strict: bool = False
) -> tuple[Tensors, Tensors]:
    """``func(*inputs)`` and ``v`` times its Jacobian: the gradient for the cotangent ``v`` (one for a single number).

    >>> import minidl
    >>> x = minidl.tensor([1.0, 2.0])
    >>> minidl.autograd.functional.vjp(lambda x: x**2, x, minidl.tensor([1.0, 10.0]))[1]
    tensor([ 2., 40.])
    """
    run = _Run("vjp", func, inputs, create_graph, strict)
    cotangents = run.like_outputs(v)
    gradients = run.pulled_back(cotangents, create_graph)
    return run.finish_outputs(), run.like_inputs_structure(gradients)


def jvp(
    func: Callable[..., Any], inputs: Tensors, v: Tensors = None, create_graph: bool = False, strict: bool = False
) -> tuple[Tensors, Tensors]:
    """``func(*inputs)`` and its Jacobian times ``v``: how the results move when the inputs move along ``v``.

    Computed by differentiating the gradient by its cotangent, in which it is linear.

    >>> import minidl
    >>> x = minidl.tensor([1.0, 2.0])
    >>> minidl.autograd.functional.jvp(lambda x: x.sum() * x, x, minidl.tensor([1.0, 0.0]))[1]
    tensor([4., 2.])
    """
    run = _Run("jvp", func, inputs, create_graph, strict)
    tangents = run.like_inputs(v)
    dummies = [y.detach() * 0 for y in run.outputs]
    for d in dummies:
        d.requires_grad_()
    gradients = run.pulled_back(dummies, True)
    pairs = [(g, t) for g, t in zip(gradients, tangents) if g is not None and g.requires_grad]
    moved: Sequence[Tensor | None] = [None] * len(dummies)
    if pairs:
        with enable_grad():
            moved = grad(
                [g for g, _ in pairs], dummies, [t for _, t in pairs], create_graph=create_graph, allow_unused=True
            )
    results = [_or_zeros(m, y) for m, y in zip(moved, run.outputs)]
    return run.finish_outputs(), run.like_outputs_structure(results)


def jacobian(
    func: Callable[..., Any],
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
) -> Tensors:
    """All derivatives of all results: for an output of shape A and an input of shape B a tensor of shape A + B.

    Several outputs give a tuple with one entry each, several inputs a tuple inside it.  ``vectorize`` is PyTorch's and
    changes nothing: one result is differentiated after the other.

    >>> import minidl
    >>> minidl.autograd.functional.jacobian(lambda x: x * x, minidl.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    from ..ops import stack, zeros_like

    run = _Run("jacobian", func, inputs, create_graph, strict)
    table = []
    for k, y in enumerate(run.outputs):
        rows: list[list[Tensor]] = []
        for i in range(y.numel()):
            unit = zeros_like(y)
            unit._array.reshape(-1)[i] = 1
            cotangents: list[Tensor | None] = [None] * len(run.outputs)
            cotangents[k] = unit
            rows.append([_or_zeros(g, x) for g, x in zip(run.pulled_back(cotangents, create_graph), run.inputs)])
        with enable_grad():
            columns = [
                (stack([row[j] for row in rows]) if rows else zeros_like(x).reshape(0)).reshape(*y.shape, *x.shape)
                for j, x in enumerate(run.inputs)
            ]
        table.append(run.like_inputs_structure(columns))
    return run.like_outputs_structure(table, detach=False)


def hessian(
    func: Callable[..., Any],
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
) -> Tensors:
    """All second derivatives of a function that returns a single number (``vectorize`` changes nothing).

    >>> import minidl
    >>> minidl.autograd.functional.hessian(lambda x: (x**3).sum(), minidl.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    many = not _is_tensor(inputs)

    def gradient(*xs: Tensor) -> Any:
        result = jacobian(func_of_number, tuple(xs), create_graph=True, strict=strict)
        return result if many else result[0]

    def func_of_number(*xs: Tensor) -> Tensor:
        return _single_number("hessian", func(*xs)).reshape(())

    return jacobian(gradient, inputs, create_graph=create_graph, strict=strict)


def vhp(
    func: Callable[..., Any], inputs: Tensors, v: Tensors = None, create_graph: bool = False, strict: bool = False
) -> tuple[Tensors, Tensors]:
    """``func(*inputs)``, a single number, and ``v`` times its Hessian: the gradient of ``<gradient, v>``.

    >>> import minidl
    >>> x = minidl.tensor([1.0, 2.0])
    >>> value, product = minidl.autograd.functional.vhp(lambda x: (x**3).sum(), x, minidl.tensor([1.0, 1.0]))
    >>> value, product
    (tensor(9.), tensor([ 6., 12.]))
    """
    run = _Run("vhp", func, inputs, True, strict)
    _single_number("vhp", run.outputs[0])
    tangents = run.like_inputs(v)
    first = run.pulled_back([None], True)
    pairs = [(g, t) for g, t in zip(first, tangents) if g is not None and g.requires_grad]
    second: Sequence[Tensor | None] = [None] * len(run.inputs)
    if pairs:
        with enable_grad():
            second = grad(
                [g for g, _ in pairs], run.inputs, [t for _, t in pairs], create_graph=create_graph, allow_unused=True
            )
    run.create_graph = create_graph
    return run.finish_outputs(), run.like_inputs_structure([_or_zeros(s, x) for s, x in zip(second, run.inputs)])


def hvp(
    func: Callable[..., Any], inputs: Tensors, v: Tensors = None, create_graph: bool = False, strict: bool = False
) -> tuple[Tensors, Tensors]:
    """``func(*inputs)`` and its Hessian times ``v``; the Hessian is symmetric, so this is :func:`vhp`.

    >>> import minidl
    >>> x = minidl.tensor([1.0, 2.0])
    >>> minidl.autograd.functional.hvp(lambda x: (x**3).sum(), x, minidl.tensor([1.0, 1.0]))[1]
    tensor([ 6., 12.])
    """
    return vhp(func, inputs, v, create_graph, strict)


# ---- what they share --------------------------------------------------------------------------------------------


class _Run:
    """One evaluation of the function, recorded, with inputs of its own."""

    def __init__(self, name: str, func: Callable[..., Any], inputs: Tensors, create_graph: bool, strict: bool) -> None:
        self.name, self.create_graph, self.strict = name, create_graph, strict
        self.many_inputs = not _is_tensor(inputs)
        given = _as_list(name, "inputs", inputs)
        with enable_grad():
            # a fresh node in the caller's graph, or a fresh leaf outside it
            self.inputs = [
                x.clone() if create_graph and x.requires_grad else x.detach().requires_grad_() for x in given
            ]
            result = func(*self.inputs)
        self.many_outputs = not _is_tensor(result)
        self.outputs = _as_list(name, "the function's results", result)
        if strict and any(not y.requires_grad for y in self.outputs):
            raise GraphError(f"{name}: a result of the function does not depend on its inputs (strict=True)")

    def pulled_back(self, cotangents: Sequence[Any], create_graph: bool) -> list[Tensor | None]:
        """Gradients by the inputs; a cotangent of None where the output does not take part (or is one number)."""
        pairs = [
            (y, c)
            for y, c in zip(self.outputs, cotangents)
            if y.requires_grad and (c is not None or len(self.outputs) == 1)
        ]
        if not pairs:
            return [None] * len(self.inputs)
        with enable_grad():
            found = grad(
                [y for y, _ in pairs],
                self.inputs,
                [c for _, c in pairs],
                retain_graph=True,
                create_graph=create_graph,
                allow_unused=True,
            )
        if self.strict and any(g is None for g in found):
            missing = [i for i, g in enumerate(found) if g is None]
            raise GraphError(f"{self.name}: the results do not depend on input {missing[0]} (strict=True)")
        return list(found)

    def like_outputs(self, v: Tensors) -> list[Tensor]:
        if v is None:
            if len(self.outputs) != 1 or self.outputs[0].numel() != 1:
                raise ValueError(f"{self.name}: v may be left out only where the function returns a single number")
            from ..ops import ones_like

            return [ones_like(self.outputs[0])]
        return self._matching("v", v, self.outputs, "the results")

    def like_inputs(self, v: Tensors) -> list[Tensor]:
        if v is None:
            if len(self.inputs) != 1 or self.inputs[0].numel() != 1:
                raise ValueError(f"{self.name}: v may be left out only where the input is a single number")
            from ..ops import ones_like

            return [ones_like(self.inputs[0])]
        return self._matching("v", v, self.inputs, "the inputs")

    def _matching(self, what: str, v: Tensors, like: Sequence[Tensor], name: str) -> list[Tensor]:
        vs = _as_list(self.name, what, v)
        if [t.shape for t in vs] != [t.shape for t in like]:
            raise ValueError(
                f"{self.name}: {what} has shapes {[t.shape for t in vs]}, but {name} have {[t.shape for t in like]}"
            )
        return vs

    def finish_outputs(self) -> Tensors:
        return self.like_outputs_structure(self.outputs)

    def like_inputs_structure(self, values: Sequence[Tensor | None]) -> Tensors:
        done = [self._finish(_or_zeros(v, x)) if v is None or _is_tensor(v) else v for v, x in zip(values, self.inputs)]
        return tuple(done) if self.many_inputs else done[0]

    def like_outputs_structure(self, values: Sequence[Any], detach: bool = True) -> Tensors:
        done = [self._finish(v) if detach else v for v in values]
        return tuple(done) if self.many_outputs else done[0]

    def _finish(self, value: Tensor) -> Tensor:
        return value if self.create_graph else value.detach()


def _is_tensor(value: Any) -> bool:
    from ..tensor import Tensor

    return isinstance(value, Tensor)


def _as_list(name: str, what: str, value: Any) -> list[Tensor]:
    values = [value] if _is_tensor(value) else list(value) if isinstance(value, (tuple, list)) else [value]
    for v in values:
        if not _is_tensor(v):
            raise TypeError(f"{name}: {what} must be a tensor or a tuple of tensors, not {type(v).__name__}")
    return values


def _single_number(name: str, value: Any) -> Tensor:
    if not _is_tensor(value) or value.numel() != 1:
        shape = value.shape if _is_tensor(value) else type(value).__name__
        raise ValueError(f"{name} is for functions that return a single number, this one returned {shape}")
    return value


def _or_zeros(value: Tensor | None, like: Tensor) -> Tensor:
    from ..ops import zeros_like

    return zeros_like(like) if value is None else value


__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]
