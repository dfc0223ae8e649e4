"""Loss functions.  ``reduction`` is "mean" (default), "sum" or "none".

Input and target must have one shape: PyTorch broadcasts (N,) against (N, 1) to (N, N) and only warns.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.tape import Primitive, vjp
from ..backend import array_module
from ._common import as_operand, floating, in_float32, normalise_dim, same_device
from .activation import logsigmoid, softplus
from .elementwise import clamp, log, log1p, where
from .reduction import norm

INF = math.inf


def reduced(loss: Any, reduction: str) -> Any:
    """The losses of all elements as one number, or as they are; ValueError for an unknown ``reduction``."""
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none', not {reduction!r}")


def constant(array: Any) -> Any:
    """An array as a tensor without a history."""
    from ..tensor import Tensor

    return Tensor._wrap(array)


def _same_shape(op: str, input: Any, target: Any) -> tuple[Any, Any]:
    """Both as tensors of one shape, and of the input's dtype."""
    x = in_float32(floating(input))
    y = as_operand(target)
    y = y if hasattr(y, "shape") else constant(x._xp.asarray(y, x.dtype))
    same_device(op, input=x, target=y)
    if x.shape != y.shape:
        hint = ""
        if x.numel() == y.numel():
            hint = f": bring one to the shape of the other, for example input.reshape{y.shape}"
        raise ValueError(
            f"{op}: the input has shape {x.shape} and the target {y.shape}; they must be equal, nothing is "
            f"broadcast{hint}"
        )
    return x, y.to(x.dtype)


# ---- probabilities --------------------------------------------------------------------------------------------------


def _bce_forward(p: Any, t: Any) -> Any:
    """-(t log p + (1 - t) log(1 - p)), logarithms at or above -100."""
    xp = array_module(p)
    with np.errstate(divide="ignore"):  # of 0: -inf, which is held at -100 too
        yes, no = xp.log(p), xp.log1p(-p)
    return -(t * xp.maximum(yes, -100) + (1 - t) * xp.maximum(no, -100))


def _bce_rule(g: Any, y: Any, p: Any, t: Any) -> Any:
    """(p - t) / (p (1 - p)), whose denominator PyTorch keeps at or above 1e-12."""
    return g * (p - t) / clamp(p * (1 - p), min=1e-12)


def _bce_target_rule(g: Any, y: Any, p: Any, t: Any) -> Any:
    return g * (clamp(log1p(-p), min=-100) - clamp(log(p), min=-100))


_bce: Primitive = Primitive(
    "binary_cross_entropy", _bce_forward, vjp(_bce_rule, uses="p t"), vjp(_bce_target_rule, uses="p")
)


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """``-(t log p + (1 - t) log(1 - p))`` of probabilities p; logarithms are held at or above -100, as in PyTorch.

    Shapes of both are the same; the mean is over all elements.

    >>> import minidl
    >>> loss = minidl.nn.functional.binary_cross_entropy(minidl.tensor([0.5, 0.5]), minidl.tensor([1.0, 0.0]))
    >>> print(f"{loss.item():.4f}")
    0.6931
    """
    p, t = _same_shape("binary_cross_entropy", input, target)
    # on a device the logarithm's NaN must do: looking would make the host wait
    if p.numel() and not p.is_cuda and (float(p._array.min()) < 0 or float(p._array.max()) > 1):
        raise ValueError(
            "binary_cross_entropy: the input must be probabilities between 0 and 1, but it reaches from "
            f"{float(p._array.min()):g} to {float(p._array.max()):g}; for scores use binary_cross_entropy_with_logits"
        )
    loss = _bce(p, t)
    return reduced(loss if weight is None else loss * as_operand(weight), reduction)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """Binary cross-entropy of the sigmoid of scores, without overflow; ``pos_weight`` scales the positive part.

    ``input`` and ``target`` have one shape, which ``reduction="none"`` gives too; ValueError otherwise.

    >>> import minidl
    >>> x, t = minidl.tensor([0.0, 1000.0]), minidl.tensor([1.0, 1.0])
    >>> minidl.nn.functional.binary_cross_entropy_with_logits(x, t, reduction="none")
    tensor([0.6931, 0.    ])
    """
    x, t = _same_shape("binary_cross_entropy_with_logits", input, target)
    negative = softplus(x, threshold=INF)  # -log(1 - sigmoid(x))
    if pos_weight is None:
        loss = negative - t * x
    else:
        loss = (1 - t) * negative + t * as_operand(pos_weight) * softplus(-x, threshold=INF)
    return reduced(loss if weight is None else loss * as_operand(weight), reduction)


def multilabel_soft_margin_loss(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """Binary cross-entropy of scores (N, C), several of which may be right, as a mean over the classes.

    ``input`` and ``target`` (N, C); one loss a sample, (N,), before the reduction.

    >>> import minidl
    >>> x, t = minidl.zeros(1, 3), minidl.tensor([[1.0, 0.0, 1.0]])
    >>> minidl.nn.functional.multilabel_soft_margin_loss(x, t, reduction="none")
    tensor([0.6931])
    """
    x, t = _same_shape("multilabel_soft_margin_loss", input, target)
    loss = -(t * logsigmoid(x) + (1 - t) * logsigmoid(-x))
    return reduced((loss if weight is None else loss * as_operand(weight)).mean(-1), reduction)


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """Kullback-Leibler divergence of ``target`` from the log-probabilities ``input``: ``t (log t - x)``.

    ``reduction="batchmean"`` (sum over everything divided by the batch) is the mathematical one.

    ``input`` and ``target`` have one shape, the batch first; ValueError otherwise.

    >>> import minidl
    >>> x, t = minidl.tensor([[0.25, 0.75]]).log(), minidl.tensor([[0.5, 0.5]])
    >>> print(f"{minidl.nn.functional.kl_div(x, t, reduction='batchmean').item():.4f}")
    0.1438
    """
    x, t = _same_shape("kl_div", input, target)
    if log_target:
        loss = t.exp() * (t - x)
    else:
        positive = t > 0
        loss = where(positive, t * log(where(positive, t, 1.0)), 0.0) - t * x
    if reduction == "batchmean":
        return loss.sum() / (x.shape[0] if x.ndim else 1)
    return reduced(loss, reduction)


def poisson_nll_loss(
    input: Any, target: Any, log_input: bool = True, full: bool = False, *, eps: float = 1e-8, reduction: str = "mean"
) -> Any:
    """Minus the log-likelihood of counts under Poisson rates: ``exp(x) - t x``, or ``x - t log(x + eps)``.

    ``input`` is the logarithm of the rate, or with ``log_input=False`` the rate.  ``full`` adds Stirling's
    approximation of ``log(t!)`` where t > 1.

    ``input`` and ``target`` have one shape; ValueError otherwise.

    >>> import minidl
    >>> minidl.nn.functional.poisson_nll_loss(minidl.tensor([0.0, 0.0]), minidl.tensor([1.0, 3.0])).item()
    1.0
    """
    x, t = _same_shape("poisson_nll_loss", input, target)
    loss = x.exp() - t * x if log_input else x - t * log(x + eps)
    if full:
        many = where(t > 1, t, 1.0)
        loss = loss + where(t > 1, many * log(many) - many + log(many * (2 * math.pi)) * 0.5, 0.0)
    return reduced(loss, reduction)


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Any:
    """``(log var + (x - t)^2 / var) / 2`` with predicted variances, held at or above ``eps``.

    ``var``: a number, the shape of ``input``, or that shape without (or with length 1 on) its last axis.  ``full``
    adds the constant ``log(2 pi) / 2``.

    >>> import minidl
    >>> x, t = minidl.tensor([[1.0, 3.0]]), minidl.tensor([[1.0, 1.0]])
    >>> minidl.nn.functional.gaussian_nll_loss(x, t, minidl.ones(1, 2)).item()
    1.0
    """
    x, t = _same_shape("gaussian_nll_loss", input, target)
    v = as_operand(var)
    v = v if hasattr(v, "shape") else constant(x._xp.full(x.shape, v, x.dtype))
    if v.ndim and v.shape == x.shape[:-1]:
        v = v.unsqueeze(-1)
    if v.shape not in (x.shape, (*x.shape[:-1], 1)):
        raise ValueError(f"gaussian_nll_loss: var {v.shape} does not fit an input of shape {x.shape}")
    if v.numel() and float(v._array.min()) < 0:
        raise ValueError("gaussian_nll_loss: variances must not be negative")
    v = v + clamp(eps - v, min=0).detach()  # held at eps; the gradient passes, as in PyTorch
    loss = (log(v) + (x - t) ** 2 / v) * 0.5
    return reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


# ---- distances ------------------------------------------------------------------------------------------------------


def _weighted(op: str, loss: Any, weight: Any, reduction: str, by_weight: bool) -> Any:
    """Reduced; ``weight`` (None or of the shape of ``loss``) counts each element so often."""
    if weight is None:
        return reduced(loss, reduction)
    w = as_operand(weight)
    if w.shape != loss.shape:
        raise ValueError(f"{op}: the weight {w.shape} must have the shape of the input, {loss.shape}")
    total = reduced(loss * w, "sum" if reduction == "mean" and by_weight else reduction)
    return total / w.sum() if reduction == "mean" and by_weight else total


def mse_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """Squared difference; with ``weight`` of the same shape a weighted mean.

    The mean is over all elements; "sum" and "none" are the other reductions.

    ``input`` and ``target`` have one shape, which ``reduction="none"`` gives too; ValueError otherwise.

    >>> import minidl
    >>> x, t = minidl.tensor([1.0, 2.0]), minidl.tensor([1.0, 4.0])
    >>> minidl.nn.functional.mse_loss(x, t).item(), minidl.nn.functional.mse_loss(x, t, reduction="none")
    (2.0, tensor([0., 4.]))
    """
    x, t = _same_shape("mse_loss", input, target)
    d = x - t
    return _weighted("mse_loss", d * d, weight, reduction, True)


def l1_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """Absolute difference; slope 0 where there is none; with ``weight`` of the same shape a weighted mean.

    ``input`` and ``target`` have one shape, which ``reduction="none"`` gives too; ValueError otherwise.

    >>> import minidl
    >>> minidl.nn.functional.l1_loss(minidl.tensor([1.0, 2.0]), minidl.tensor([1.0, 4.0])).item()
    1.0
    """
    x, t = _same_shape("l1_loss", input, target)
    return _weighted("l1_loss", (x - t).abs(), weight, reduction, True)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """``d^2 / (2 beta)`` where |d| < beta, ``|d| - beta / 2`` beyond: Girshick 2015, section 3.2.

    ``input`` and ``target`` have one shape, which ``reduction="none"`` gives too; ValueError otherwise.

    >>> import minidl
    >>> minidl.nn.functional.smooth_l1_loss(minidl.tensor([0.5, 3.0]), minidl.zeros(2), reduction="none")
    tensor([0.125, 2.5  ])
    """
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction)
    return huber_loss(input, target, reduction, beta) / beta


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    """``d^2 / 2`` where |d| < delta, ``delta (|d| - delta / 2)`` beyond: Huber 1964.  ``weight`` times each element;
    the mean divides by their number.

    ``input`` and ``target`` have one shape, which ``reduction="none"`` gives too; ValueError otherwise.

    >>> import minidl
    >>> minidl.nn.functional.huber_loss(minidl.tensor([0.5, 3.0]), minidl.zeros(2), reduction="none", delta=2.0)
    tensor([0.125, 4.   ])
    """
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta}")
    x, t = _same_shape("huber_loss", input, target)
    d = x - t
    size = d.abs()
    loss = where(size < delta, d * d * 0.5, (size - 0.5 * delta) * delta)
    return _weighted("huber_loss", loss, weight, reduction, False)


def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    """x where the target is 1, ``max(0, margin - x)`` where it is -1.

    ``input`` and ``target`` have one shape; ValueError otherwise.

    >>> import minidl
    >>> x, t = minidl.tensor([0.25, 0.25]), minidl.tensor([1, -1])
    >>> minidl.nn.functional.hinge_embedding_loss(x, t, reduction="none")
    tensor([0.25, 0.75])
    """
    x, t = _same_shape("hinge_embedding_loss", input, target)
    loss = where(t != 1, (margin - x).clamp(min=0), 0.0) + where(t != -1, x, 0.0)
    return reduced(loss, reduction)


def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """``log(1 + exp(-t x))`` for targets 1 and -1.

    ``input`` and ``target`` have one shape; ValueError otherwise.

    >>> import minidl
    >>> x, t = minidl.tensor([0.0, 2.0]), minidl.tensor([1.0, -1.0])
    >>> minidl.nn.functional.soft_margin_loss(x, t, reduction="none")
    tensor([0.6931, 2.1269])
    """
    x, t = _same_shape("soft_margin_loss", input, target)
    return reduced(softplus(-t * x, threshold=INF), reduction)


def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    """``max(0, -t (x1 - x2) + margin)``: t = 1 says that x1 should be the larger.

    All three broadcast against each other.

    >>> import minidl
    >>> a, b = minidl.tensor([3.0, 1.0]), minidl.tensor([1.0, 3.0])
    >>> minidl.nn.functional.margin_ranking_loss(a, b, minidl.ones(2), reduction="none")
    tensor([0., 2.])
    """
    x1, x2 = floating(input1), floating(input2)
    return reduced((-as_operand(target).to(x1.dtype) * (x1 - x2) + margin).clamp(min=0), reduction)


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """``max(0, |a - p| - |a - n| + margin)``, distances over the last axis: Schroff et al. 2015.

    ``swap`` measures the negative from the anchor or the positive, whichever is nearer (Balntas et al. 2016).

    (N, D) three times, or (D,); the mean is over N.

    >>> import minidl
    >>> a, p, n = minidl.tensor([[0.0, 0.0]]), minidl.tensor([[3.0, 4.0]]), minidl.tensor([[0.0, 2.0]])
    >>> print(f"{minidl.nn.functional.triplet_margin_loss(a, p, n).item():.4f}")  # 5 - 2 + 1
    4.0000
    """
    if margin <= 0:
        raise ValueError(f"triplet_margin_loss: margin must be positive, got {margin}")
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = far.minimum(pairwise_distance(positive, negative, p, eps))
    return reduced((near - far + margin).clamp(min=0), reduction)


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    """p-norm of ``x1 - x2 + eps`` over the last axis, broadcast.

    >>> import minidl
    >>> a, b = minidl.tensor([[0.0, 0.0]]), minidl.tensor([[3.0, 4.0]])
    >>> print(f"{minidl.nn.functional.pairwise_distance(a, b).item():.4f}")
    5.0000
    """
    return norm(floating(x1) - floating(x2) + eps, p, -1, keepdim)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """Cosine of the angle between vectors along ``dim``, broadcast; each norm is held at or above ``eps``.

    >>> import minidl
    >>> a, b = minidl.tensor([[1.0, 0.0], [1.0, 0.0]]), minidl.tensor([[2.0, 0.0], [0.0, 3.0]])
    >>> minidl.nn.functional.cosine_similarity(a, b)
    tensor([1., 0.])
    """
    a, b = floating(x1), floating(x2)
    ndim = max(a.ndim, b.ndim)
    axis = normalise_dim(dim, ndim) - ndim
    return (a / norm(a, 2, axis, True).clamp(min=eps) * (b / norm(b, 2, axis, True).clamp(min=eps))).sum(axis)


def cosine_embedding_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    """``1 - cos`` where the target is 1, ``max(0, cos - margin)`` where it is -1; vectors on the last axis.

    ``input1`` and ``input2`` (N, D), ``target`` (N,); one loss a pair, (N,), before the reduction.

    >>> import minidl
    >>> a, b = minidl.tensor([[1.0, 0.0], [1.0, 0.0]]), minidl.tensor([[0.0, 2.0], [3.0, 0.0]])
    >>> minidl.nn.functional.cosine_embedding_loss(a, b, minidl.tensor([1, -1]), reduction="none")
    tensor([1., 1.])
    """
    a, b, t = floating(input1), floating(input2), as_operand(target)
    tiny = 1e-12  # PyTorch's constant, inside the root
    cos = (a * b).sum(-1) / (((a * a).sum(-1) + tiny) * ((b * b).sum(-1) + tiny)).sqrt()
    return reduced(where(t == 1, 1 - cos, 0.0) + where(t == -1, (cos - margin).clamp(min=0), 0.0), reduction)
