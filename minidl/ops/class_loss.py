"""Losses of scores for classes, one of which is right: ``input`` (N, C, *), ``target`` (N, *) class numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.mode import MODE
from ..autograd.tape import Primitive, step_by_step, vjp
from ..backend import array_module, on
from ..kernels.choice import on_cuda
from ._common import as_operand, floating, in_float32, same_device
from .activation import log_softmax, log_softmax_array, relu, softmax
from .elementwise import where
from .indexing import gather, take_along
from .loss import constant, reduced


def _class_axis(op: str, x: Any) -> int:
    if x.ndim == 0:
        raise ValueError(f"{op}: the input must hold one score for each class, (C,) or (N, C, ...), not one number")
    return 1 if x.ndim > 1 else 0


def _checked_classes(op: str, x: Any, target: Any, ignore_index: int | None = None) -> Any:
    """The target as class numbers (N, *) that fit the scores (N, C, *)."""
    t = as_operand(target)
    t = t if hasattr(t, "shape") else constant(x._xp.asarray(t))
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
    return constant(array.reshape((1, -1) + (1,) * (x.ndim - 2)) if x.ndim > 1 else array)


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
        loss = take_along(logp, axis, constant(index).unsqueeze(axis)).squeeze(axis) * constant(-share)
        if smoothing:
            even = -(logp if weight is None else logp * _along_classes(weight, logp)).sum(axis)
            loss = loss * (1 - smoothing) + even * (smoothing / logp.shape[axis])
        if xp is not np or not kept.all():  # not a product with 0: an ignored entry may hold -inf
            loss = where(constant(kept), loss, 0.0)
        if reduction != "mean":
            return reduced(loss, reduction)
        if xp is not np:
            return loss.sum() / constant(xp.where(kept, share, 0).sum())
        total = float(share[kept].sum())
        return loss.sum() * (1 / total if total else math.nan)


def _picked_forward(x: Any, *, index: Any, share: float) -> Any:
    """``-share`` times the sum of the log-probabilities that scores (N, C) give to the classes (N,) of ``index``."""
    logp = log_softmax_array(x, axis=1)
    return np.asarray(-logp[np.arange(len(index)), index].sum() * share)


def _picked_rule(g: Any, y: Any, x: Any, *, index: Any, share: float) -> Any:
    """Probability less 1 at the right class, times the share: (p - t) g."""
    rows = np.arange(len(index))
    if MODE.recording:
        right = np.zeros(x.shape, x.dtype)
        right[rows, index] = 1
        return (softmax(x, 1) - constant(right)) * (g * share)
    scale = -(g._array * share)
    dx = np.exp(log_softmax_array(x._array, axis=1))
    dx *= -scale
    dx[rows, index] += scale
    return constant(dx)


# the steps of log_softmax, of picking and of the sum in one, and the same bits; whoever listens sees the steps
_cross_entropy: Primitive = Primitive("cross_entropy", _picked_forward, vjp(_picked_rule, uses="x"))


def _device_forward(x: Any, target: Any, **facts: Any) -> Any:
    return _kernels(x).cross_entropy(x, target, *facts.values())


def _kernels(x: Any) -> Any:
    found = on_cuda("loss", x)
    assert found is not None  # `cross_entropy` has asked
    return found


def _device_rule(
    g: Any,
    y: Any,
    x: Any,
    target: Any,
    *,
    needs: tuple[bool, ...],
    weight: Any,
    ignored: int,
    smoothing: float,
    reduction: str,
) -> tuple[Any, None]:
    """(softmax(x) a - b) g / by, where b is what the loss asks of each class, and a the sum of b over the classes."""
    (g, _, _), (_, normalizers, facts) = g, y
    if MODE.recording:
        b = _asked(x, target._array, weight, ignored, smoothing)
        share = g / facts[0].detach()
        share = share.unsqueeze(1) if reduction == "none" else share
        return (softmax(x, 1) * b.sum(1, True) - b) * share, None
    arrays = g._array, x._array, target._array, weight, normalizers._array, facts._array
    with on(x.device):
        return constant(_kernels(x._array).cross_entropy_grad(*arrays, ignored, smoothing)), None


def _asked(x: Any, target: Any, weight: Any, ignored: int, smoothing: float) -> Any:
    """(N, C, *): the weight of each class in the loss of each entry, before the mean."""
    with on(x.device):
        xp, classes = x._xp, x.shape[1]
        each = xp.ones(classes, x.dtype) if weight is None else weight
        each = each.reshape((1, -1) + (1,) * (x.ndim - 2))
        right = xp.arange(classes).reshape(each.shape) == xp.expand_dims(target, 1)
        b = right * each * (1 - smoothing) + each * (smoothing / classes)
        return constant(xp.where(xp.expand_dims(target, 1) == ignored, 0, b).astype(x.dtype))


# all of the loss in one pass over the scores, and its gradient in another; whoever listens sees the steps
_device_cross_entropy: Primitive = Primitive(
    "device_cross_entropy", _device_forward, joint=vjp(_device_rule, uses="x target y1 y2")
)


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
    x, t = in_float32(floating(input)), as_operand(target)
    axis = _class_axis(op, x)
    if not hasattr(t, "dtype") or t.dtype.kind != "f":
        known = reduction in ("mean", "sum", "none")
        if x.ndim > 1 and known and not step_by_step() and on_cuda("loss", x._array) is not None:
            index = _checked_classes(op, x, t, ignore_index)
            weight = None if weight is None else _class_weight(op, weight, x)
            loss, _, _ = _device_cross_entropy(
                x, index.long(), weight=weight, ignored=int(ignore_index),
                smoothing=float(label_smoothing), reduction=reduction,
            )  # fmt: skip
            return loss
        plain = x.ndim == 2 and weight is None and not label_smoothing and reduction in ("mean", "sum")
        if plain and not x.is_cuda and not step_by_step():
            index = _checked_classes(op, x, t, ignore_index)._array.copy()  # whatever happens to the target
            if len(index) and (index != ignore_index).all():
                return _cross_entropy(x, index=index, share=1 / len(index) if reduction == "mean" else 1.0)
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
    return reduced(-(q * log_softmax(x, axis)).sum(axis), reduction)


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
    loss = (terms * constant(share)).sum(1)
    return reduced(loss.squeeze(0) if single else loss, reduction)
