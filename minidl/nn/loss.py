"""Losses as modules.  Formulas and sources stand at the functions of ``nn.functional``.

``reduction`` is "mean", "sum" or "none" (for :class:`KLDivLoss` "batchmean" too).  Class weights are buffers, so they
move with the module but, as in PyTorch, are part of its state dict.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..tensor import Tensor, as_tensor
from . import functional as F
from .module import Module


class _Loss(Module):
    _reductions: ClassVar[tuple[str, ...]] = ("none", "mean", "sum")

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in self._reductions:
            raise ValueError(
                f"{type(self).__name__}: reduction must be one of {', '.join(map(repr, self._reductions))}, not "
                f"{reduction!r}"
            )
        self.reduction = reduction

    def _buffer(self, name: str, value: Any) -> None:
        self.register_buffer(name, value if value is None or isinstance(value, Tensor) else as_tensor(value))


class CrossEntropyLoss(_Loss):
    """Cross-entropy of scores (N, C, *) with class numbers (N, *) or probabilities (N, C, *).

    It applies log-softmax itself: give it scores, not probabilities.

    >>> import minidl
    >>> loss = minidl.nn.CrossEntropyLoss(label_smoothing=0.1)
    >>> print(f"{loss(minidl.tensor([[2.0, 0.0, -1.0]]), minidl.tensor([0])).item():.4f}")
    0.3365
    """

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"CrossEntropyLoss: label_smoothing must lie between 0 and 1, got {label_smoothing!r}")
        self._buffer("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Any, target: Any) -> Any:
        return F.cross_entropy(input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing)


class NLLLoss(_Loss):
    """Minus the log-probability (N, C, *) of the right class (N, *): for what :class:`~minidl.nn.LogSoftmax` gives.

    >>> import minidl
    >>> x = minidl.log_softmax(minidl.tensor([[2.0, 0.0], [0.0, 0.0]]))
    >>> print(f"{minidl.nn.NLLLoss()(x, minidl.tensor([0, 1])).item():.4f}")
    0.4100
    """

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Any, target: Any) -> Any:
        return F.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class BCELoss(_Loss):
    """Binary cross-entropy of probabilities; for scores use :class:`BCEWithLogitsLoss`.

    Probabilities and targets have one shape; ValueError otherwise.

    >>> import minidl
    >>> minidl.nn.BCELoss(reduction="none")(minidl.tensor([0.5, 0.5]), minidl.tensor([1.0, 0.0]))
    tensor([0.6931, 0.6931])
    """

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._buffer("weight", weight)

    def forward(self, input: Any, target: Any) -> Any:
        return F.binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Binary cross-entropy of scores; ``pos_weight`` scales the positive cases.

    Scores and targets have one shape; ValueError otherwise.

    >>> import minidl
    >>> minidl.nn.BCEWithLogitsLoss(reduction="none")(minidl.tensor([0.0, 1000.0]), minidl.tensor([1.0, 1.0]))
    tensor([0.6931, 0.    ])
    """

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self._buffer("weight", weight)
        self._buffer("pos_weight", pos_weight)

    def forward(self, input: Any, target: Any) -> Any:
        return F.binary_cross_entropy_with_logits(input, target, self.weight, self.reduction, self.pos_weight)


class MSELoss(_Loss):
    """(x - t)^2.

    Input and target have one shape; ValueError otherwise.

    >>> import minidl
    >>> minidl.nn.MSELoss()(minidl.tensor([1.0, 2.0]), minidl.tensor([1.0, 4.0])).item()
    2.0
    """

    def forward(self, input: Any, target: Any) -> Any:
        return F.mse_loss(input, target, self.reduction)


class L1Loss(_Loss):
    """|x - t|.

    Input and target have one shape; ValueError otherwise.

    >>> import minidl
    >>> minidl.nn.L1Loss()(minidl.tensor([1.0, 2.0]), minidl.tensor([1.0, 4.0])).item()
    1.0
    """

    def forward(self, input: Any, target: Any) -> Any:
        return F.l1_loss(input, target, self.reduction)


class SmoothL1Loss(_Loss):
    """Quadratic below ``beta``, linear above, slope 1: Girshick 2015.

    >>> import minidl
    >>> minidl.nn.SmoothL1Loss(reduction="none")(minidl.tensor([0.5, 3.0]), minidl.zeros(2))
    tensor([0.125, 2.5  ])
    """

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        if beta < 0:
            raise ValueError(f"SmoothL1Loss: beta must not be negative, got {beta!r}")
        self.beta = beta

    def forward(self, input: Any, target: Any) -> Any:
        return F.smooth_l1_loss(input, target, self.reduction, self.beta)


class HuberLoss(_Loss):
    """Quadratic below ``delta``, linear above, slope ``delta``: Huber 1964.

    >>> import minidl
    >>> minidl.nn.HuberLoss(reduction="none", delta=2.0)(minidl.tensor([0.5, 3.0]), minidl.zeros(2))
    tensor([0.125, 4.   ])
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        if delta <= 0:
            raise ValueError(f"HuberLoss: delta must be positive, got {delta!r}")
        self.delta = delta

    def forward(self, input: Any, target: Any) -> Any:
        return F.huber_loss(input, target, self.reduction, self.delta)


class KLDivLoss(_Loss):
    """Kullback-Leibler divergence of log-probabilities from a target; "batchmean" is the mathematical reduction.

    >>> import minidl
    >>> x, t = minidl.tensor([[0.25, 0.75]]).log(), minidl.tensor([[0.5, 0.5]])
    >>> print(f"{minidl.nn.KLDivLoss(reduction='batchmean')(x, t).item():.4f}")
    0.1438
    """

    _reductions = ("none", "mean", "sum", "batchmean")

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, input: Any, target: Any) -> Any:
        return F.kl_div(input, target, self.reduction, self.log_target)


class HingeEmbeddingLoss(_Loss):
    """x where the target is 1, max(0, margin - x) where it is -1.

    >>> import minidl
    >>> minidl.nn.HingeEmbeddingLoss(reduction="none")(minidl.tensor([0.25, 0.25]), minidl.tensor([1, -1]))
    tensor([0.25, 0.75])
    """

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input: Any, target: Any) -> Any:
        return F.hinge_embedding_loss(input, target, self.margin, self.reduction)


class SoftMarginLoss(_Loss):
    """log(1 + exp(-t x)) for targets 1 and -1.

    >>> import minidl
    >>> minidl.nn.SoftMarginLoss(reduction="none")(minidl.tensor([0.0, 2.0]), minidl.tensor([1.0, -1.0]))
    tensor([0.6931, 2.1269])
    """

    def forward(self, input: Any, target: Any) -> Any:
        return F.soft_margin_loss(input, target, self.reduction)


class MultiMarginLoss(_Loss):
    """The hinge loss of several classes: how far each wrong score comes within ``margin`` of the right one.

    Scores (N, C), class numbers (N,): Weston and Watkins 1999.

    >>> import minidl
    >>> minidl.nn.MultiMarginLoss()(minidl.tensor([[2.0, 1.5]]), minidl.tensor([0])).item()  # (1 - 2 + 1.5) / 2
    0.25
    """

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: p must be 1 or 2, got {p!r}")
        self._buffer("weight", weight)
        self.p = p
        self.margin = margin

    def forward(self, input: Any, target: Any) -> Any:
        return F.multi_margin_loss(input, target, self.p, self.margin, self.weight, self.reduction)


class MarginRankingLoss(_Loss):
    """max(0, -t (x1 - x2) + margin): t = 1 where x1 should rank above x2, -1 where below.

    >>> import minidl
    >>> a, b = minidl.tensor([3.0, 1.0]), minidl.tensor([1.0, 3.0])
    >>> minidl.nn.MarginRankingLoss(reduction="none")(a, b, minidl.ones(2))
    tensor([0., 2.])
    """

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Any, input2: Any, target: Any) -> Any:
        return F.margin_ranking_loss(input1, input2, target, self.margin, self.reduction)


class MultiLabelSoftMarginLoss(_Loss):
    """Binary cross-entropy of scores (N, C), averaged over the classes.

    Scores and targets (N, C); one loss a sample, (N,), before the reduction.

    >>> import minidl
    >>> minidl.nn.MultiLabelSoftMarginLoss(reduction="none")(minidl.zeros(1, 3), minidl.tensor([[1.0, 0.0, 1.0]]))
    tensor([0.6931])
    """

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._buffer("weight", weight)

    def forward(self, input: Any, target: Any) -> Any:
        return F.multilabel_soft_margin_loss(input, target, self.weight, self.reduction)


class PoissonNLLLoss(_Loss):
    """Minus the log-likelihood of counts under predicted Poisson rates (their logarithms, if ``log_input``).

    >>> import minidl
    >>> minidl.nn.PoissonNLLLoss()(minidl.tensor([0.0, 0.0]), minidl.tensor([1.0, 3.0])).item()
    1.0
    """

    def __init__(self, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, log_input: Any, target: Any) -> Any:
        return F.poisson_nll_loss(log_input, target, self.log_input, self.full, eps=self.eps, reduction=self.reduction)


class GaussianNLLLoss(_Loss):
    """Minus the log-likelihood under normal distributions with predicted means and variances.

    >>> import minidl
    >>> minidl.nn.GaussianNLLLoss()(minidl.tensor([[1.0, 3.0]]), minidl.ones(1, 2), minidl.ones(1, 2)).item()
    1.0
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: Any, target: Any, var: Any) -> Any:
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class CosineSimilarity(Module):
    """Cosine of the angle between vectors along ``dim``.

    >>> import minidl
    >>> a, b = minidl.tensor([[1.0, 0.0], [1.0, 0.0]]), minidl.tensor([[2.0, 0.0], [0.0, 3.0]])
    >>> minidl.nn.CosineSimilarity()(a, b)
    tensor([1., 0.])
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1: Any, x2: Any) -> Any:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """p-norm of ``x1 - x2 + eps`` over the last axis.

    >>> import minidl
    >>> a, b = minidl.tensor([[0.0, 0.0]]), minidl.tensor([[3.0, 4.0]])
    >>> print(f"{minidl.nn.PairwiseDistance()(a, b).item():.4f}")
    5.0000
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Any, x2: Any) -> Any:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class TripletMarginLoss(_Loss):
    """How far the anchor is nearer to the positive than to the negative, short of ``margin``: Schroff et al. 2015.

    Anchor, positive and negative (N, D) or (D,).

    >>> import minidl
    >>> a, p, n = minidl.tensor([[0.0, 0.0]]), minidl.tensor([[3.0, 4.0]]), minidl.tensor([[0.0, 2.0]])
    >>> print(f"{minidl.nn.TripletMarginLoss()(a, p, n).item():.4f}")  # 5 - 2 + 1
    4.0000
    """

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        if margin <= 0:
            raise ValueError(f"TripletMarginLoss: margin must be positive, got {margin!r}")
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Any:
        return F.triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, self.reduction
        )


class CosineEmbeddingLoss(_Loss):
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1; rows of (N, D).

    ``input1`` and ``input2`` (N, D), ``target`` (N,); one loss a pair, (N,), before the reduction.

    >>> import minidl
    >>> a, b = minidl.tensor([[1.0, 0.0], [1.0, 0.0]]), minidl.tensor([[0.0, 2.0], [3.0, 0.0]])
    >>> minidl.nn.CosineEmbeddingLoss(reduction="none")(a, b, minidl.tensor([1, -1]))
    tensor([1., 1.])
    """

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Any, input2: Any, target: Any) -> Any:
        return F.cosine_embedding_loss(input1, input2, target, self.margin, self.reduction)
