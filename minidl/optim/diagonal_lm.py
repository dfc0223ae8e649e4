"""Stochastic diagonal Levenberg-Marquardt: each parameter's rate follows from the curvature of the loss along it.

Source: LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition", appendix C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..autograd import grad
from ..backend import array_module
from ..nn.modes import modes_kept
from ..ops import stack
from ..tensor import Tensor
from .optimizer import Group, Optimizer, State, decayed

Signs = Callable[[tuple[int, ...]], np.ndarray]


class DiagonalLM(Optimizer):
    """Stochastic diagonal Levenberg-Marquardt: ``p = p - lr / (mu + h) * g``, with the curvature h of each number of p.

    :func:`diagonal_curvature` estimates h, :meth:`know` takes it in; the paper does so before each pass over the data,
    on 500 samples. ``mu`` keeps the steps finite where the loss is flat; 0.02 in the paper. ``lr`` and h belong to the
    loss of one sample, so to batches of one. A step before h is known is an error.

    Source: LeCun et al. 1998, appendix C, equation 21.

    >>> import minidl
    >>> w = minidl.tensor([1.0, 1.0], requires_grad=True)
    >>> rule = DiagonalLM([w], lr=0.5, mu=1.0)
    >>> rule.know([np.array([0.0, 4.0])])
    >>> w.grad = minidl.tensor([1.0, 1.0])
    >>> rule.step()  # 1 - 0.5 / (1 + 0), 1 - 0.5 / (1 + 4)
    >>> w.detach()
    tensor([0.5, 0.9])
    """

    def __init__(self, params: Iterable[Any], lr: float = 5e-4, mu: float = 0.02, weight_decay: float = 0.0) -> None:
        if not mu > 0:
            raise ValueError(f"mu is added to a curvature that may be 0, so it must be above 0, got {mu}")
        super().__init__(params, {"lr": lr, "mu": mu, "weight_decay": weight_decay})

    def parameters(self) -> list[Tensor]:
        """What it updates, in the order of the groups."""
        return [p for group in self.param_groups for p in group["params"]]

    def know(self, curvature: Sequence[Any]) -> None:
        """Take in the curvature of each parameter, arrays of their shapes in the order of :meth:`parameters`."""
        for p, h in zip(self.parameters(), curvature, strict=True):
            if h.shape != p.shape:
                raise ValueError(f"a curvature of shape {h.shape} does not belong to a parameter of shape {p.shape}")
            self.state.setdefault(p, {})["curvature"] = p._xp.asarray(h, p.dtype)

    def update(self, p: Any, g: Any, state: State, group: Group) -> None:
        if "curvature" not in state:
            raise ValueError(
                "DiagonalLM divides each step by a curvature that it does not know yet: "
                "rule.know(diagonal_curvature(model, loss, x, y, rule.parameters())) measures it on some samples"
            )
        p -= group["lr"] / (group["mu"] + state["curvature"]) * decayed(p, g, group["weight_decay"])


def diagonal_curvature(
    model: Any,
    loss: Callable[[Any, Any], Any],
    x: Tensor,
    y: Any,
    parameters: Sequence[Tensor],
    rng: np.random.Generator | Signs | None = None,
) -> list[Any]:
    """Second derivatives of the mean ``loss`` of samples x (N, ...) with respect to each parameter: arrays (p.shape).

    An estimate that is never negative, by the rules of LeCun et al. 1998, appendix C: behind the output the
    Gauss-Newton approximation, which leaves out second derivatives of the activations; and of the Hessian with respect
    to the units of a layer the diagonal alone, as it would be with weights that are not shared. Written out, that is a
    second backward pass with the squares of all weights (equations 22 to 25).

    Here an ordinary backward pass does it. Where a layer with parameters ends, the gradient of each unit gets a random
    sign; so in the mean over the signs all products of two units vanish, and the square of a gradient is the sum of
    squares that the paper's rules give. Each sample draws its own signs from ``rng`` (by default of seed 0), so some
    hundred samples leave an error of a few percent. The curvature with respect to the outputs is exact. The model is
    looked at in evaluation mode.

    Outputs are the scores ``model(x)``, or where a model has methods ``embed`` and ``score`` with
    ``model(x) = score(embed(x))`` what ``embed`` gives: for scores that are no linear function of the last units.

    >>> import minidl
    >>> from minidl import nn
    >>> net = nn.Linear(1, 1)
    >>> x, y = minidl.tensor([[1.0], [3.0]]), minidl.zeros(2, 1)
    >>> weight, bias = diagonal_curvature(net, nn.functional.mse_loss, x, y, list(net.parameters()))
    >>> round(weight.item(), 3), round(bias.item(), 3)  # of the mean of (w x + b)^2: 2 (1^2 + 3^2) / 2, and 2
    (10.0, 2.0)
    """
    signs: Signs = rng if callable(rng) else _draw(np.random.default_rng(0) if rng is None else rng)
    embed, score = (model.embed, model.score) if hasattr(model, "embed") else (model, lambda z: z)

    def randomise(module: Any, arguments: Any, output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(lambda g: g * _like(g, signs(g.shape)))

    layers = [module for module in model.modules() if next(module.parameters(recurse=False), None) is not None]
    handles: list[Any] = []
    with modes_kept(model):
        model.eval()
        roots = output_curvature(score, loss, embed(x), y).sqrt()  # (N, K)
        try:
            handles = [layer.register_forward_hook(randomise) for layer in layers]
            total = [array_module(p._array).zeros_like(p._array) for p in parameters]
            for n in range(len(x)):
                z, root = embed(x[n : n + 1]), roots[n : n + 1]  # (1, K)
                found = grad(z, list(parameters), root * _like(root, signs(root.shape)), allow_unused=True)
                for sum_of_squares, g in zip(total, found):
                    if g is not None:
                        sum_of_squares += g._array * g._array
        finally:
            for handle in handles:
                handle.remove()
    return [sum_of_squares / len(x) for sum_of_squares in total]


def output_curvature(score: Callable[[Any], Any], loss: Callable[[Any, Any], Any], z: Tensor, y: Any) -> Tensor:
    """The second derivative of each sample's ``loss(score(z), y)`` with respect to each of its outputs z (N, K).

    ``loss`` is a mean over the samples. What is negative becomes 0.

    >>> import minidl
    >>> z = minidl.tensor([[0.0, 0.0], [3.0, 0.0]])
    >>> output_curvature(lambda z: z, minidl.nn.functional.cross_entropy, z, minidl.tensor([0, 1]))[0]  # p (1 - p)
    tensor([0.25, 0.25])
    """
    z = z.detach().requires_grad_()
    (slope,) = grad(loss(score(z), y) * len(z), z, create_graph=True)
    assert slope is not None
    if not slope.requires_grad:  # a loss that is linear has no curvature
        return z.detach() * 0
    columns = []
    for k in range(z.shape[1]):
        (column,) = grad(slope[:, k].sum(), z, retain_graph=True, materialize_grads=True)
        assert column is not None
        columns.append(column[:, k].detach())
    return stack(columns, 1).clamp(min=0)


def _draw(rng: np.random.Generator) -> Signs:
    return lambda shape: rng.integers(0, 2, shape) * 2 - 1


def _like(tensor: Tensor, values: np.ndarray) -> Tensor:
    """``values`` as a tensor of the dtype and on the device of ``tensor``."""
    return Tensor(np.asarray(values, tensor.dtype)).to(tensor.device)
