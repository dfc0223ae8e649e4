"""Loss functions.  ``reduction`` is "mean" (default), "sum" or "none"."""

from __future__ import annotations

from typing import Any

from ._common import as_operand, floating
from .activation import log_softmax, softplus
from .elementwise import log, where
from .indexing import gather
from .reduction import norm


def _reduce(loss: Any, reduction: str) -> Any:
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none', not {reduction!r}")


def _same_shape(name: str, input: Any, target: Any) -> tuple[Any, Any]:
    """Both as tensors of one shape and dtype; PyTorch only warns and broadcasts, which hides (N,) against (N, 1)."""
    x = floating(input)
    y = as_operand(target)
    if x.shape != y.shape:
        raise ValueError(f"{name}: the input has shape {x.shape} and the target {y.shape}; they must be equal")
    return x, y.to(x.dtype)


# ---- classes ------------------------------------------------------------------------------------------------------


def _check_classes(name: str, x: Any, target: Any, ignore_index: int) -> Any:
    """The target as class numbers (N, *) that fit the scores (N, C, *)."""
    t = as_operand(target)
    if t.dtype.kind not in "iu":
        raise TypeError(
            f"{name}: the target holds class numbers and must be integers, not {t.dtype}: use target.long()"
        )
    if x.ndim == 0 or t.shape != x.shape[:1] * (x.ndim > 1) + x.shape[2:]:
        expected = x.shape[:1] * (x.ndim > 1) + x.shape[2:]
        raise ValueError(
            f"{name}: scores of shape {x.shape} (N, C, ...) need a target of shape {expected}, not {t.shape}"
        )
    classes = x.shape[1 if x.ndim > 1 else 0]
    wrong = (t._array != ignore_index) & ((t._array < 0) | (t._array >= classes))
    if wrong.any():
        raise ValueError(
            f"{name}: class number {int(t._array[wrong].reshape(-1)[0])} in the target, but the input has {classes} "
            f"classes (0 to {classes - 1})"
        )
    return t


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """Minus the log-probability of the right class: ``input`` (N, C, *) log-probabilities, ``target`` (N, *) integers.

    The mean divides by the sum of the classes' ``weight`` (by the count without weights); entries equal to
    ``ignore_index`` do not count at all.
    """
    x = as_operand(input)
    t = _check_classes("nll_loss", x, target, ignore_index)
    dim = 1 if x.ndim > 1 else 0
    kept = t != ignore_index
    index = where(kept, t, 0).unsqueeze(dim)
    picked = gather(x, dim, index).squeeze(dim)
    share = kept.to(x.dtype)
    if weight is not None:
        share = share * as_operand(weight)[index.squeeze(dim)]
    # where, not a product: an ignored entry may hold -inf, which times 0 would be NaN
    loss = where(kept, -picked, 0.0) * share
    return loss.sum() / share.sum() if reduction == "mean" else _reduce(loss, reduction)


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
    (Szegedy et al. 2016).

    >>> import minidl
    >>> scores = minidl.tensor([[2.0, 0.0], [0.0, 2.0]])
    >>> round(minidl.nn.functional.cross_entropy(scores, minidl.tensor([0, 1])).item(), 4)
    0.1269
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing lies between 0 and 1, not {label_smoothing}")
    x = floating(input)
    t = as_operand(target)
    dim = 1 if x.ndim > 1 else 0
    logp = log_softmax(x, dim)
    classes = x.shape[dim]
    if t.dtype.kind == "f":
        if t.shape != x.shape:
            raise ValueError(
                f"cross_entropy: a floating-point target holds probabilities in the shape of the input {x.shape}, not "
                f"{t.shape}; class numbers must be integers: use target.long()"
            )
        q = t * (1 - label_smoothing) + label_smoothing / classes
        if weight is not None:
            q = q * _along_channel(weight, x)
        loss = -(q * logp).sum(dim)
        return loss.sum() / (loss.numel() if loss.ndim else 1) if reduction == "mean" else _reduce(loss, reduction)
    hard = nll_loss(logp, t, weight, ignore_index, reduction)
    if label_smoothing == 0:
        return hard
    kept = t != ignore_index
    even = -(logp if weight is None else logp * _along_channel(weight, x)).sum(dim)
    even = where(kept, even, 0.0)
    if reduction == "mean":
        share = kept.to(x.dtype)
        if weight is not None:
            share = share * as_operand(weight)[where(kept, t, 0)]
        even = even.sum() / share.sum()
    else:
        even = _reduce(even, reduction)
    return hard * (1 - label_smoothing) + even * (label_smoothing / classes)


def _along_channel(weight: Any, x: Any) -> Any:
    w = as_operand(weight)
    return w.reshape((1, -1) + (1,) * (x.ndim - 2)) if x.ndim > 1 else w


def multi_margin_loss(
    input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean"
) -> Any:
    """Multiclass hinge loss: mean over classes of ``max(0, margin - x[right] + x[other]) ** p`` (N, C), (N,).

    The sum over classes, as in most lectures, is C times this.  Weston and Watkins 1999.
    """
    x = floating(input)
    single = x.ndim == 1
    if single:
        x, target = x.unsqueeze(0), as_operand(target).reshape(1)
    t = _check_classes("multi_margin_loss", x, target, -(2**62))
    index = t.unsqueeze(1)
    terms = (x - gather(x, 1, index) + margin).clamp(min=0) ** p
    if weight is not None:
        terms = terms * as_operand(weight)[t].unsqueeze(1)
    others = as_operand(x._xp.arange(x.shape[1])) != index
    loss = (terms * others.to(x.dtype)).sum(1) / x.shape[1]
    return _reduce(loss.squeeze(0) if single else loss, reduction)


# ---- probabilities --------------------------------------------------------------------------------------------------


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """``-(t log p + (1 - t) log(1 - p))`` of probabilities p; logarithms are held at or above -100, as in PyTorch."""
    p, t = _same_shape("binary_cross_entropy", input, target)
    if p.numel() and (float(p._array.min()) < 0 or float(p._array.max()) > 1):
        raise ValueError(
            "binary_cross_entropy: the input must be probabilities between 0 and 1; for scores use "
            "binary_cross_entropy_with_logits"
        )
    loss = -(t * log(p).clamp(min=-100) + (1 - t) * log(1 - p).clamp(min=-100))
    return _reduce(loss if weight is None else loss * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """Binary cross-entropy of the sigmoid of scores, without overflow; ``pos_weight`` scales the positive part."""
    x, t = _same_shape("binary_cross_entropy_with_logits", input, target)
    negative = softplus(x, threshold=float("inf"))  # -log(1 - sigmoid(x))
    if pos_weight is None:
        loss = negative - t * x
    else:
        loss = (1 - t) * negative + t * pos_weight * (negative - x)
    return _reduce(loss if weight is None else loss * weight, reduction)


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """Kullback-Leibler divergence of ``target`` from the log-probabilities ``input``: ``t (log t - x)``.

    ``reduction="batchmean"`` (sum over everything divided by the batch) is the mathematical one.
    """
    x, t = _same_shape("kl_div", input, target)
    if log_target:
        loss = t.exp() * (t - x)
    else:
        positive = t > 0
        loss = where(positive, t * log(where(positive, t, 1.0)), 0.0) - t * x
    if reduction == "batchmean":
        return loss.sum() / x.shape[0]
    return _reduce(loss, reduction)


# ---- distances ------------------------------------------------------------------------------------------------------


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """Squared difference."""
    x, t = _same_shape("mse_loss", input, target)
    d = x - t
    return _reduce(d * d, reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """Absolute difference."""
    x, t = _same_shape("l1_loss", input, target)
    return _reduce((x - t).abs(), reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """``d^2 / (2 beta)`` where |d| < beta, ``|d| - beta / 2`` beyond: Girshick 2015, section 3.2."""
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction)
    return huber_loss(input, target, reduction, beta) / beta


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """``d^2 / 2`` where |d| < delta, ``delta (|d| - delta / 2)`` beyond: Huber 1964."""
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta}")
    x, t = _same_shape("huber_loss", input, target)
    d = x - t
    size = d.abs()
    return _reduce(where(size < delta, d * d * 0.5, (size - 0.5 * delta) * delta), reduction)


def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    """x where the target is 1, ``max(0, margin - x)`` where it is -1."""
    x, t = _same_shape("hinge_embedding_loss", input, target)
    loss = where(t != 1, (margin - x).clamp(min=0), 0.0) + where(t != -1, x, 0.0)
    return _reduce(loss, reduction)


def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """``log(1 + exp(-t x))`` for targets 1 and -1."""
    x, t = _same_shape("soft_margin_loss", input, target)
    return _reduce(softplus(-t * x, threshold=float("inf")), reduction)


def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    """``max(0, -t (x1 - x2) + margin)``: t = 1 says that x1 should be the larger."""
    x1, x2 = floating(input1), floating(input2)
    return _reduce((-as_operand(target).to(x1.dtype) * (x1 - x2) + margin).clamp(min=0), reduction)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """Cosine of the angle between vectors along ``dim``; each norm is held at or above ``eps``."""
    a, b = floating(x1), floating(x2)
    return (a * b).sum(dim) / (norm(a, 2, dim).clamp(min=eps) * norm(b, 2, dim).clamp(min=eps))


def cosine_embedding_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    """``1 - cos`` where the target is 1, ``max(0, cos - margin)`` where it is -1; vectors on the last axis."""
    a, b, t = floating(input1), floating(input2), as_operand(target)
    tiny = 1e-12  # PyTorch's constant, inside the root
    cos = (a * b).sum(-1) / (((a * a).sum(-1) + tiny) * ((b * b).sum(-1) + tiny)).sqrt()
    return _reduce(where(t == 1, 1 - cos, 0.0) + where(t == -1, (cos - margin).clamp(min=0), 0.0), reduction)
