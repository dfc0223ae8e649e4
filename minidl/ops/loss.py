"""Loss functions.  ``reduction`` is "mean" (default), "sum" or "none".

Input and target must have one shape: PyTorch broadcasts (N,) against (N, 1) to (N, N) and only warns.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.tape import Primitive, vjp
from ..backend import array_module, on
from ._common import as_operand, floating, normalise_dim, same_device
from .activation import log_softmax, logsigmoid, relu, softplus
from .elementwise import clamp, log, log1p, where
from .indexing import gather, take_along
from .reduction import norm

INF = math.inf


def _reduce(loss: Any, reduction: str) -> Any:
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none', not {reduction!r}")


def _constant(array: Any) -> Any:
    from ..tensor import Tensor

    return Tensor._wrap(array)


def _same_shape(op: str, input: Any, target: Any) -> tuple[Any, Any]:
    """Both as tensors of one shape, and of the input's dtype."""
    x = floating(input)
    y = as_operand(target)
    y = y if hasattr(y, "shape") else _constant(x._xp.asarray(y, x.dtype))
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


# ---- classes ------------------------------------------------------------------------------------------------------


def _class_axis(op: str, x: Any) -> int:
    if x.ndim == 0:
        raise ValueError(f"{op}: the input must hold one score for each class, (C,) or (N, C, ...), not one number")
    return 1 if x.ndim > 1 else 0


def _checked_classes(op: str, x: Any, target: Any, ignore_index: int | None = None) -> Any:
    """The target as class numbers (N, *) that fit the scores (N, C, *)."""
    t = as_operand(target)
    t = t if hasattr(t, "shape") else _constant(x._xp.asarray(t))
    same_device(op, input=x, target=t)
    if t.dtype.kind not in "iu":
        raise TypeError(f"{op}: the target holds class numbers and must be integers, not {t.dtype}: use target.long()")
    axis = _class_axis(op, x)
    expected = x.shape[:axis] + x.shape[axis + 1 :]
    if t.shape != expected:
        hint = ""
        if t.shape == x.shape:
            hint = ": it looks one-hot, use target.argmax(1), or give it as floating-point probabilities"
        elif x.ndim > 2 and t.shape == x.shape[:-1]:
            hint = ": the scores look channels-last, try input.movedim(-1, 1)"
        elif t.numel() == math.prod(expected):
            hint = f": use target.reshape{expected}"
        letters = "(N, C, ...)" if axis else "(C,)"
        raise ValueError(
            f"{op}: scores of shape {x.shape} {letters} need a target of shape {expected}, not {t.shape}{hint}"
        )
    classes = x.shape[axis]
    if t.is_cuda:  # looking at the numbers would make the host wait; whoever uses them answers for the wrong ones
        return t
    wrong = (t._array < 0) | (t._array >= classes)
    if ignore_index is not None:
        wrong &= t._array != ignore_index
    if wrong.any():
        number = int(t._array[wrong].reshape(-1)[0])
        hint = ": classes are counted from 0" if number == classes else ""
        if number < 0 and ignore_index is not None:
            hint = f": to leave entries out, mark them with ignore_index = {ignore_index}"
        raise ValueError(
            f"{op}: class number {number} in the target, but the input has {classes} classes (0 to {classes - 1}){hint}"
        )
    return t


def _class_weight(op: str, weight: Any, x: Any) -> Any:
    """A copy of ``weight`` as an array (C,) in the dtype of the scores; a constant, as in PyTorch."""
    w = as_operand(weight)
    classes = x.shape[_class_axis(op, x)]
    if w.shape != (classes,):
        raise ValueError(f"{op}: the weight must have one value for each of the {classes} classes, not shape {w.shape}")
    return w._array.astype(x.dtype)


def _along_classes(array: Any, x: Any) -> Any:
    """(C,) -> (1, C, 1, ...), beside scores (N, C, *)."""
    return _constant(array.reshape((1, -1) + (1,) * (x.ndim - 2)) if x.ndim > 1 else array)


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """Minus the log-probability of the right class: ``input`` (N, C, *) log-probabilities, ``target`` (N, *) integers.

    The mean divides by the sum of the targets' ``weight`` (C,) (by their count without weights); entries equal to
    ``ignore_index`` do not count at all, and if nothing counts the mean is NaN.  A class number that there is not
    raises ValueError; on a CUDA device, where the host would have to wait for the answer, it makes the loss NaN.

    >>> import minidl
    >>> x = minidl.log_softmax(minidl.tensor([[2.0, 0.0], [0.0, 0.0]]))
    >>> print(f"{minidl.nn.functional.nll_loss(x, minidl.tensor([0, 1])).item():.4f}")
    0.4100
    """
    return _class_loss("nll_loss", floating(input), target, weight, ignore_index, reduction, 0.0)


def _class_loss(
    op: str, logp: Any, target: Any, weight: Any, ignore_index: int, reduction: str, smoothing: float
) -> Any:
    """The loss of log-probabilities (N, C, *) with class numbers (N, *)."""
    t = _checked_classes(op, logp, target, ignore_index)._array
    with on(logp.device):
        axis = _class_axis(op, logp)
        xp = array_module(t)
        kept = t != ignore_index
        index = xp.where(kept, t, 0)
        if xp is not np:
            wrong = (index < 0) | (index >= logp.shape[axis])
            index = xp.where(wrong, 0, index)
        weight = None if weight is None else _class_weight(op, weight, logp)
        share = xp.ones(t.shape, logp.dtype) if weight is None else weight[index]
        if xp is not np:
            share = xp.where(wrong, xp.nan, share)
        loss = take_along(logp, axis, _constant(index).unsqueeze(axis)).squeeze(axis) * _constant(-share)
        if smoothing:
            even = -(logp if weight is None else logp * _along_classes(weight, logp)).sum(axis)
            loss = loss * (1 - smoothing) + even * (smoothing / logp.shape[axis])
        if xp is not np or not kept.all():  # not a product with 0: an ignored entry may hold -inf
            loss = where(_constant(kept), loss, 0.0)
        if reduction != "mean":
            return _reduce(loss, reduction)
        if xp is not np:
            return loss.sum() / _constant(xp.where(kept, share, 0).sum())
        total = float(share[kept].sum())
        return loss.sum() * (1 / total if total else math.nan)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Softmax cross-entropy of scores (N, C, *) with class numbers (N, *), or with probabilities (N, C, *).

    ``weight`` (C,) scales the classes; ``label_smoothing`` mixes the target with the uniform distribution
    (Szegedy et al. 2016).  Means and ``ignore_index`` as in :func:`nll_loss`; with probabilities the mean divides by
    the number of distributions, weighted or not.

    >>> import minidl
    >>> scores = minidl.tensor([[2.0, 0.0], [0.0, 2.0]])
    >>> round(minidl.nn.functional.cross_entropy(scores, minidl.tensor([0, 1])).item(), 4)
    0.1269
    """
    op = "cross_entropy"
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{op}: label_smoothing lies between 0 and 1, not {label_smoothing}")
    x, t = floating(input), as_operand(target)
    axis = _class_axis(op, x)
    if not hasattr(t, "dtype") or t.dtype.kind != "f":
        return _class_loss(op, log_softmax(x, axis), t, weight, ignore_index, reduction, label_smoothing)
    if t.shape != x.shape:
        raise ValueError(
            f"{op}: a floating-point target holds probabilities in the shape of the input {x.shape}, not {t.shape}; "
            "class numbers must be integers: use target.long()"
        )
    if ignore_index >= 0:
        raise ValueError(
            f"{op}: ignore_index = {ignore_index} names a class number, but the target holds probabilities"
        )
    q = t.to(x.dtype)
    if label_smoothing:
        q = q * (1 - label_smoothing) + label_smoothing / x.shape[axis]
    if weight is not None:
        q = q * _along_classes(_class_weight(op, weight, x), x)
    return _reduce(-(q * log_softmax(x, axis)).sum(axis), reduction)


def multi_margin_loss(
    input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean"
) -> Any:
    """Multiclass hinge loss: mean over classes of ``max(0, margin - x[right] + x[other]) ** p`` (N, C), (N,).

    The sum over classes, as in most lectures, is C times this.  Weston and Watkins 1999.

    >>> import minidl
    >>> scores = minidl.tensor([[2.0, 1.5]])
    >>> minidl.nn.functional.multi_margin_loss(scores, minidl.tensor([0])).item()  # (1 - 2 + 1.5) / 2
    0.25
    """
    op = "multi_margin_loss"
    if p not in (1, 2):
        raise ValueError(f"{op}: p must be 1 or 2, not {p}")
    x = floating(input)
    if x.ndim not in (1, 2):
        raise ValueError(f"{op}: the input must be (N, C) or (C,), not {x.shape}")
    single = x.ndim == 1
    if single:
        x, target = x.unsqueeze(0), as_operand(target).reshape(1)
    t = _checked_classes(op, x, target)
    terms = relu(x - gather(x, 1, t.unsqueeze(1)) + margin)
    if p == 2:
        terms = terms * terms
    share = (x._xp.arange(x.shape[1]) != t._array[:, None]).astype(x.dtype) / x.shape[1]  # (N, C), 0 for the right one
    if weight is not None:
        share = share * _class_weight(op, weight, x)[t._array][:, None]
    loss = (terms * _constant(share)).sum(1)
    return _reduce(loss.squeeze(0) if single else loss, reduction)


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
    return _reduce(loss if weight is None else loss * as_operand(weight), reduction)


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
    return _reduce(loss if weight is None else loss * as_operand(weight), reduction)


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
    return _reduce((loss if weight is None else loss * as_operand(weight)).mean(-1), reduction)


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
    return _reduce(loss, reduction)


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
    return _reduce(loss, reduction)


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
    v = v if hasattr(v, "shape") else _constant(x._xp.full(x.shape, v, x.dtype))
    if v.ndim and v.shape == x.shape[:-1]:
        v = v.unsqueeze(-1)
    if v.shape not in (x.shape, (*x.shape[:-1], 1)):
        raise ValueError(f"gaussian_nll_loss: var {v.shape} does not fit an input of shape {x.shape}")
    if v.numel() and float(v._array.min()) < 0:
        raise ValueError("gaussian_nll_loss: variances must not be negative")
    v = v + clamp(eps - v, min=0).detach()  # held at eps; the gradient passes, as in PyTorch
    loss = (log(v) + (x - t) ** 2 / v) * 0.5
    return _reduce(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


# ---- distances ------------------------------------------------------------------------------------------------------


def _weighted(op: str, loss: Any, weight: Any, reduction: str, by_weight: bool) -> Any:
    """Reduced; ``weight`` (None or of the shape of ``loss``) counts each element so often."""
    if weight is None:
        return _reduce(loss, reduction)
    w = as_operand(weight)
    if w.shape != loss.shape:
        raise ValueError(f"{op}: the weight {w.shape} must have the shape of the input, {loss.shape}")
    total = _reduce(loss * w, "sum" if reduction == "mean" and by_weight else reduction)
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
    return _reduce(loss, reduction)


def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """``log(1 + exp(-t x))`` for targets 1 and -1.

    ``input`` and ``target`` have one shape; ValueError otherwise.

    >>> import minidl
    >>> x, t = minidl.tensor([0.0, 2.0]), minidl.tensor([1.0, -1.0])
    >>> minidl.nn.functional.soft_margin_loss(x, t, reduction="none")
    tensor([0.6931, 2.1269])
    """
    x, t = _same_shape("soft_margin_loss", input, target)
    return _reduce(softplus(-t * x, threshold=INF), reduction)


def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    """``max(0, -t (x1 - x2) + margin)``: t = 1 says that x1 should be the larger.

    All three broadcast against each other.

    >>> import minidl
    >>> a, b = minidl.tensor([3.0, 1.0]), minidl.tensor([1.0, 3.0])
    >>> minidl.nn.functional.margin_ranking_loss(a, b, minidl.ones(2), reduction="none")
    tensor([0., 2.])
    """
    x1, x2 = floating(input1), floating(input2)
    return _reduce((-as_operand(target).to(x1.dtype) * (x1 - x2) + margin).clamp(min=0), reduction)


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
    return _reduce((near - far + margin).clamp(min=0), reduction)


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
    return _reduce(where(t == 1, 1 - cos, 0.0) + where(t == -1, (cos - margin).clamp(min=0), 0.0), reduction)
