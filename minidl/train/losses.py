"""The loss of a step: that of the scores, and in training mode of networks with auxiliary heads that of each head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import cat, full
from ..nn.functional import cross_entropy
from .errors import TrainingError


def total_loss(loss: Callable[[Any, Any], Any], outputs: Any, target: Any) -> tuple[Any, Any]:
    """The loss and the scores of the main head.

    ``outputs`` are scores (N, classes), or a tuple of them: the main head, then auxiliary ones, each of whose losses
    counts ``outputs.aux_weight`` times (0.3 in GoogLeNet: Szegedy et al. 2015, section 5).

    >>> import minidl
    >>> from minidl.models import GoogLeNetOutputs
    >>> heads = GoogLeNetOutputs(minidl.tensor([[2.0]]), minidl.tensor([[10.0]]), minidl.tensor([[20.0]]))
    >>> total_loss(lambda scores, target: (scores - target).sum(), heads, 0.0)[0].item()  # 2 + 0.3 * (10 + 20)
    11.0
    """
    if not isinstance(outputs, tuple):
        return loss(outputs, target), outputs
    weight = getattr(outputs, "aux_weight", None)
    if weight is None:
        raise TrainingError(
            f"the model gives {len(outputs)} results in training mode, and their type {type(outputs).__name__} does "
            "not say how much the auxiliary ones count: give it an attribute aux_weight, such as 0.3"
        )
    scores, *auxiliary = outputs
    total = loss(scores, target)
    for head in auxiliary:
        total = total + weight * loss(head, target)
    return total, scores


def map_loss(scores: Any, target: Any, rubbish_penalty: float = 0.1) -> Any:
    """LeNet-5's criterion of scores ``-y`` (N, C): the mean of ``y_D + log(exp(-j) + sum_i exp(-y_i))``.

    y_i is the penalty of class i, for LeNet-5 the squared distance to the drawing of a digit; D is the right class.  It
    is the cross-entropy with one more class of the constant penalty j, "rubbish", so that classes which are farther
    away than j anyway are not pushed on.  The paper does not say what j is.

    Source: LeCun et al. 1998, section III.B, equation 9.

    >>> import math
    >>> import minidl
    >>> loss = map_loss(minidl.tensor([[-1.0, -3.0]]), minidl.tensor([0]), 2.0)
    >>> math.isclose(loss.item(), 1 + math.log(math.exp(-2) + math.exp(-1) + math.exp(-3)), rel_tol=1e-6)
    True
    """
    rubbish = full((len(scores), 1), -rubbish_penalty, dtype=scores.dtype, device=scores.device)
    return cross_entropy(cat([scores, rubbish], 1), target)
