"""``torch.nn.functional``, by its names: the operations of networks as functions."""

from __future__ import annotations

from typing import Any

from ..kernels.errors import ShapeError
from ..ops._common import as_operand, same_dtype
from ..ops.activation import (
    celu,
    elu,
    gelu,
    glu,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    log_softmax,
    logsigmoid,
    mish,
    normalize,
    prelu,
    relu,
    relu6,
    selu,
    silu,
    softmax,
    softmin,
    softplus,
    softsign,
    threshold,
)  # fmt: skip
from ..ops.conv import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    fold,
    unfold,
)  # fmt: skip
from ..ops.dropout import alpha_dropout, dropout, dropout1d, dropout2d, dropout3d
from ..ops.elementwise import sigmoid, tanh
from ..ops.indexing import one_hot
from ..ops.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_embedding_loss,
    cosine_similarity,
    cross_entropy,
    hinge_embedding_loss,
    huber_loss,
    kl_div,
    l1_loss,
    margin_ranking_loss,
    mse_loss,
    multi_margin_loss,
    nll_loss,
    smooth_l1_loss,
    soft_margin_loss,
)  # fmt: skip
from ..ops.normalization import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    rms_norm,
)  # fmt: skip
from ..ops.padding import pad
from ..ops.pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
    maxout,
)  # fmt: skip


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """``x @ weight.T + bias``: (..., in_features), (out_features, in_features), (out_features,) -> (..., out_features)."""
    x, w = as_operand(input), as_operand(weight)
    same_dtype("linear", x, w, bias)
    if w.ndim != 2 or x.ndim == 0 or x.shape[-1] != w.shape[1]:
        features = x.shape[-1] if x.ndim else 0
        hint = ""
        if x.ndim > 2 and w.ndim == 2 and w.shape[1] == x.numel() // max(x.shape[0], 1):
            hint = ": the input looks unflattened, try x.flatten(1)"
        raise ShapeError(
            f"linear: the weight {w.shape} (out_features, in_features) takes inputs whose last axis has "
            f"{w.shape[-1]} features, but x is {x.shape} and has {features}{hint}"
        )
    y = x @ w.mT
    return y if bias is None else y + bias


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """``y_k = x1^T W_k x2 + b_k``: (..., A), (..., B), (K, A, B) -> (..., K)."""
    from ..ops.linalg import einsum

    y = einsum("...a,kab,...b->...k", input1, weight, input2)
    return y if bias is None else y + bias


def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Any:
    """Rows of ``weight`` (entries, width) by number: (*) integers -> (*, width).

    The row ``padding_idx`` gets no gradient.
    """
    index, w = as_operand(input), as_operand(weight)
    if index.dtype.kind not in "iu":
        raise TypeError(f"embedding looks rows up by number and needs integers, not {index.dtype}")
    rows = w.shape[0]
    if index.numel() and (int(index._array.min()) < 0 or int(index._array.max()) >= rows):
        raise IndexError(
            f"embedding: numbers {int(index._array.min())} to {int(index._array.max())} for a table of {rows} rows "
            f"(0 to {rows - 1})"
        )
    y = w[index]
    if padding_idx is None:
        return y
    from ..ops.elementwise import where

    return where((index == padding_idx % rows).unsqueeze(-1), y.detach(), y)


def channel_shuffle(input: Any, groups: int) -> Any:
    """Channels of ``groups`` groups dealt out in turn: Zhang et al. 2018, figure 1."""
    n, c, *size = input.shape
    if c % groups:
        raise ShapeError(f"channel_shuffle: {groups} groups do not divide {c} channels")
    return input.reshape(n, groups, c // groups, *size).transpose(1, 2).reshape(n, c, *size)


def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """(N, C r^2, H, W) -> (N, C, H r, W r): channels become positions.  Shi et al. 2016."""
    r = upscale_factor
    *lead, c, h, w = input.shape
    if c % (r * r):
        raise ShapeError(f"pixel_shuffle: {c} channels are not a multiple of {r}^2 = {r * r}")
    x = input.reshape(*lead, c // (r * r), r, r, h, w)
    k = len(lead)
    x = x.permute(*range(k), k, k + 3, k + 1, k + 4, k + 2)  # (..., C, H, r, W, r)
    return x.reshape(*lead, c // (r * r), h * r, w * r)


def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """(N, C, H r, W r) -> (N, C r^2, H, W): the inverse of :func:`pixel_shuffle`."""
    r = downscale_factor
    *lead, c, h, w = input.shape
    if h % r or w % r:
        raise ShapeError(f"pixel_unshuffle: {r} does not divide the size {h} x {w}")
    x = input.reshape(*lead, c, h // r, r, w // r, r)
    k = len(lead)
    x = x.permute(*range(k), k, k + 2, k + 4, k + 1, k + 3)  # (..., C, r, r, H, W)
    return x.reshape(*lead, c * r * r, h // r, w // r)


__all__ = [name for name in dir() if not name.startswith("_") and name not in ("annotations", "Any", "ShapeError")]
