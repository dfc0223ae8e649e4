"""Penalties on weights, to be added to the loss: L1, L2 and both (elastic net).

An L2 penalty is what ``weight_decay`` of SGD does (with half the factor); as a term of the loss it can be looked at.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..tensor import Tensor


def _total(terms: Iterable[Tensor]) -> Tensor:
    parts = list(terms)
    if not parts:
        raise ValueError("a penalty needs at least one parameter")
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def l1_penalty(params: Iterable[Tensor], strength: float) -> Tensor:
    """``strength * sum |p|``, which drives weights to exactly 0: Tibshirani 1996.

    >>> import minidl
    >>> minidl.optim.l1_penalty([minidl.tensor([1.0, -2.0])], 0.5).item()
    1.5
    """
    return _total(p.abs().sum() for p in params) * strength


def l2_penalty(params: Iterable[Tensor], strength: float) -> Tensor:
    """``strength * sum p^2``; SGD's ``weight_decay=d`` is ``strength = d / 2``.

    >>> import minidl
    >>> minidl.optim.l2_penalty([minidl.tensor([1.0, -2.0])], 0.5).item()
    2.5
    """
    return _total((p * p).sum() for p in params) * strength


def elastic_penalty(params: Iterable[Tensor], l1: float, l2: float) -> Tensor:
    """``l1 * sum |p| + l2 * sum p^2``: Zou and Hastie 2005.

    >>> import minidl
    >>> minidl.optim.elastic_penalty([minidl.tensor([1.0, -2.0])], l1=1.0, l2=0.5).item()
    5.5
    """
    params = list(params)
    return l1_penalty(params, l1) + l2_penalty(params, l2)
