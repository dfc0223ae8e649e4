"""An example call of every differentiable operation, so that any of them can be checked by its name.

``minidl gradcheck conv2d`` runs one, ``minidl gradcheck --all`` runs all.  Shapes are small and awkward: lengths and
options differ from axis to axis, so that an exchange of axes shows.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .checking import Report, gradcheck, gradgradcheck


@dataclass(frozen=True)
class Draw:
    """A float64 argument: its shape, and whether its values are normal, positive, in (-0.9, 0.9), or far from kinks."""

    shape: tuple[int, ...]
    kind: str = "normal"

    def make(self, rng: np.random.Generator, device: str = "cpu") -> Any:
        from ..tensor import tensor

        n = math.prod(self.shape)
        if self.kind == "positive":
            values: Any = rng.uniform(0.5, 2.0, self.shape)
        elif self.kind == "unit":
            values = rng.uniform(-0.9, 0.9, self.shape)
        elif self.kind == "distinct":  # no two nearer than 0.09, none near a whole or a half
            values = ((rng.permutation(n) - n // 2) * 0.1 + 0.0371).reshape(self.shape)
        elif self.kind == "regular":
            a = rng.standard_normal(self.shape)
            values = a @ np.swapaxes(a, -1, -2) + self.shape[-1] * np.eye(self.shape[-1])
        else:
            values = rng.standard_normal(self.shape)
        return tensor(np.asarray(values), dtype="float64", device=device, requires_grad=True)


@dataclass(frozen=True)
class Check:
    """A function of the drawn arguments that calls the operation; ``second=False`` where one derivative is all."""

    function: Callable[..., Any]
    arguments: tuple[Draw, ...]
    second: bool = True


def n(*shape: int) -> Draw:
    return Draw(shape)


def p(*shape: int) -> Draw:
    return Draw(shape, "positive")


def u(*shape: int) -> Draw:
    return Draw(shape, "unit")


def d(*shape: int) -> Draw:
    return Draw(shape, "distinct")


def _operations(constant: Callable[..., Any]) -> dict[str, Check]:
    import minidl as m

    checks: dict[str, Check] = {}

    def add(name: str, *arguments: Draw, call: Callable[..., Any] | None = None, second: bool = True) -> None:
        checks[name] = Check(call or getattr(m, name), arguments, second)

    for name in ("add", "sub", "mul", "atan2"):
        add(name, n(2, 1, 3), n(4, 1))
    add("div", n(2, 1, 3), p(4, 1))
    add("pow", p(2, 1, 3), n(4, 1))
    add("remainder", d(2, 3), p(3), second=False)
    for name in ("maximum", "minimum"):
        add(name, d(4, 3), d(3), second=False)
    for name in ("exp", "exp2", "expm1", "sin", "cos", "atan", "sinh", "cosh", "tanh", "sigmoid", "erf", "square"):
        add(name, n(3, 4))
    add("neg", n(3, 4))
    for name in ("log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal"):
        add(name, p(3, 4))
    for name in ("tan", "asin", "acos"):
        add(name, u(3, 4))
    add("abs", d(3, 4))
    add("clamp", d(3, 4), call=lambda x: m.clamp(x, -0.3, 0.4))
    condition = constant([[True, False, True], [False, False, True]])
    add("where", n(2, 3), n(3), call=lambda a, b: m.where(condition, a, b))
    add("clone", n(2, 3))

    for name in ("sum", "mean", "var", "std", "var_mean", "logsumexp", "norm"):
        add(name, n(2, 3, 4), call=lambda x, name=name: getattr(m, name)(x, dim=(0, 2)))
    for name in ("amax", "amin"):
        add(name, d(2, 3, 4), call=lambda x, name=name: getattr(m, name)(x, (0, 2)))
    for name in ("max", "min", "median"):
        add(name, d(2, 3, 4), call=lambda x, name=name: getattr(m, name)(x, 1))
    for name in ("prod", "cumsum", "cumprod"):
        add(name, n(2, 3, 4), call=lambda x, name=name: getattr(m, name)(x, 1))

    add("reshape", n(2, 3, 4), call=lambda x: x.reshape(4, 6))
    add("permute", n(2, 3, 4), call=lambda x: x.permute(2, 0, 1))
    add("transpose", n(2, 3, 4), call=lambda x: x.transpose(0, 2))
    add("expand", n(2, 1, 3), call=lambda x: x.expand(4, 2, 5, 3))
    add("repeat", n(2, 3), call=lambda x: x.repeat(2, 1, 3))
    add("flip", n(2, 3, 4), call=lambda x: x.flip(0, 2))
    add("roll", n(2, 3, 4), call=lambda x: m.roll(x, (1, -2), (0, 2)))
    add("cat", n(2, 3), n(2, 1), call=lambda a, b: m.cat([a, b], 1))
    add("stack", n(2, 3), n(2, 3), call=lambda a, b: m.stack([a, b], 1))
    add("split", n(2, 5), call=lambda x: m.split(x, 2, 1))
    add("tril", n(3, 4))
    add("triu", n(3, 4))
    add("getitem", n(4, 3, 5), call=lambda x: x[1:, None, [2, 0, 2], ::2])
    add("setitem", n(4, 3), n(2, 1), call=_setitem)
    index = constant([[2, 0, 1, 2], [1, 1, 0, 2]])
    add("gather", n(2, 3), call=lambda x: m.gather(x, 1, index))
    add("scatter_add", n(2, 3), n(2, 4), call=lambda x, s: m.scatter_add(x, 1, index, s))
    add("scatter", n(2, 3), n(2, 3), call=lambda x, s: m.scatter(x, 1, constant([[2, 0, 1], [1, 2, 0]]), s))
    add("index_select", n(3, 2), call=lambda x: m.index_select(x, 0, constant([2, 0, 2])))
    add("index_add", n(3, 2), n(4, 2), call=lambda x, s: m.index_add(x, 0, constant([2, 0, 2, 1]), s))
    add("masked_fill", n(2, 3), call=lambda x: m.masked_fill(x, condition, 2.0))
    add("masked_select", n(2, 3), call=lambda x: m.masked_select(x, condition))
    add("sort", d(3, 4))
    add("topk", d(3, 4), call=lambda x: m.topk(x, 2))

    add("matmul", n(4, 1, 2, 3), n(5, 3, 2))
    add("addmm", n(4), n(2, 3), n(3, 4))
    add("outer", n(2), n(3))
    add("diagonal", n(2, 3, 4), call=lambda x: m.diagonal(x, 1, 2, 0))
    add("diag", n(3))
    add("einsum", n(2, 3, 4), n(5, 3), n(4), call=lambda a, b, c: m.einsum("ncw,kc,w->nk", a, b, c))
    add("tensordot", n(2, 3, 4), n(4, 3, 2), call=lambda a, b: m.tensordot(a, b, dims=([1, 2], [1, 0])))
    for name in ("inverse", "det", "slogdet"):
        add(name, Draw((2, 3, 3), "regular"))
    add("solve", Draw((3, 3), "regular"), n(3, 2))
    # its argument must stay symmetric, so the symmetric part is what is varied
    add("cholesky", Draw((3, 3), "regular"), call=lambda x: m.cholesky((x + x.mT) / 2))
    return checks


def _setitem(x: Any, value: Any) -> Any:
    y = x * 1
    y[1:3] = value
    return y


def _networks(constant: Callable[..., Any]) -> dict[str, Check]:
    import minidl as m
    import minidl.nn.functional as F

    checks: dict[str, Check] = {}

    def add(name: str, *arguments: Draw, call: Callable[..., Any] | None = None, second: bool = True) -> None:
        checks[name] = Check(call or getattr(F, name), arguments, second)

    for name in (
        "celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu",
        "logsigmoid", "mish", "relu", "relu6", "selu", "silu", "softplus", "softshrink", "softsign",
        "tanhshrink",
    ):  # fmt: skip
        add(name, d(3, 4))
    add("prelu", d(2, 3, 4), u(3))
    add("glu", n(3, 4))
    for name in ("softmax", "log_softmax"):
        add(name, n(3, 4), call=lambda x, name=name: getattr(F, name)(x, 0))
    add("normalize", n(3, 4))
    add("linear", n(2, 4, 3), n(5, 3), n(5))
    add("bilinear", n(4, 3), n(4, 2), n(5, 3, 2), n(5))
    add("embedding", n(4, 3), call=lambda w: F.embedding(constant([[1, 0, 1], [3, 1, 1]]), w))
    add("pad", n(2, 3, 4), call=lambda x: F.pad(F.pad(x, (2, 1), mode="reflect"), (-1, 2, 1, 0), value=0.5))
    add("interpolate", n(2, 2, 3, 4), call=lambda x: F.interpolate(x, (5, 7), mode="bilinear"))
    for mode, antialias in (("bicubic", False), ("bicubic", True), ("area", False)):
        shrink = functools.partial(F.interpolate, size=(2, 6), mode=mode, antialias=antialias)
        add(f"interpolate {mode}{' antialiased' * antialias}", n(2, 2, 5, 4), call=shrink)
    add("upsample", n(2, 2, 3, 4), call=lambda x: F.upsample(x, scale_factor=2))
    add("dropout", n(3, 4), call=lambda x: F.dropout(x, 0.4, generator=m.Generator().manual_seed(3)))
    add("channel_shuffle", n(2, 6, 3), call=lambda x: F.channel_shuffle(x, 3))
    add("pixel_unshuffle", n(2, 2, 4, 6), call=lambda x: F.pixel_unshuffle(x, 2))
    add("pixel_shuffle", n(2, 8, 3, 2), call=lambda x: F.pixel_shuffle(x, 2))
    _convolutions(add, F)
    _pools(add, F, constant)
    _norms_and_losses(add, F, m, constant)
    return checks


def _convolutions(add: Callable[..., None], F: Any) -> None:
    add("conv1d", n(2, 2, 7), n(4, 1, 3), n(4), call=lambda x, w, b: F.conv1d(x, w, b, 2, 1, 2, 2))
    add(
        "conv2d", n(3, 2, 5, 4), n(4, 1, 3, 2), n(4),
        call=lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2),
    )  # fmt: skip
    add("conv3d", n(2, 2, 3, 4, 3), n(3, 2, 2, 3, 1), n(3), call=lambda x, w, b: F.conv3d(x, w, b, padding=(1, 0, 0)))
    add("conv_transpose1d", n(2, 4, 3), n(4, 3, 3), n(3), call=lambda x, w, b: F.conv_transpose1d(x, w, b, 2, 1, 1))
    add(
        "conv_transpose2d", n(2, 4, 2, 3), n(4, 1, 3, 2), n(2),
        call=lambda x, w, b: F.conv_transpose2d(x, w, b, (2, 1), (1, 0), (1, 0), groups=2),
    )  # fmt: skip
    x, w, b = n(1, 2, 2, 1, 2), n(2, 1, 2, 2, 1), n(1)
    add("conv_transpose3d", x, w, b, call=lambda x, w, b: F.conv_transpose3d(x, w, b, 2))
    add("unfold", n(2, 2, 4, 5), call=lambda x: F.unfold(x, (3, 2), padding=(1, 0), stride=(1, 2)))
    add("fold", n(2, 2 * 4, 6), call=lambda x: F.fold(x, (3, 4), 2))


def _pools(add: Callable[..., None], F: Any, constant: Callable[..., Any]) -> None:
    add("max_pool1d", d(2, 3, 7), call=lambda x: F.max_pool1d(x, 3, 2, 1))
    add("max_pool2d", d(2, 2, 5, 4), call=lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 0)))
    add("max_pool3d", d(1, 2, 3, 4, 3), call=lambda x: F.max_pool3d(x, 2, 1))
    add("avg_pool1d", n(2, 3, 7), call=lambda x: F.avg_pool1d(x, 3, 2, 1))
    add("avg_pool2d", n(2, 2, 5, 4), call=lambda x: F.avg_pool2d(x, (3, 2), (2, 1), (1, 0), count_include_pad=False))
    add("avg_pool3d", n(1, 2, 3, 4, 3), call=lambda x: F.avg_pool3d(x, 2, 1))
    add("max_unpool2d", n(2, 2, 3, 2), call=lambda x: _unpool(x, constant))
    add("lp_pool2d", p(2, 2, 5, 4), call=lambda x: F.lp_pool2d(x, 2, (3, 2), (2, 1)))
    add("adaptive_avg_pool2d", n(2, 2, 5, 4), call=lambda x: F.adaptive_avg_pool2d(x, (2, 3)))
    add("adaptive_avg_pool1d", n(2, 3, 7), call=lambda x: F.adaptive_avg_pool1d(x, 3))
    add("adaptive_avg_pool3d", n(1, 2, 3, 4, 3), call=lambda x: F.adaptive_avg_pool3d(x, 2))
    add("adaptive_max_pool2d", d(2, 2, 5, 4), call=lambda x: F.adaptive_max_pool2d(x, (2, 3)))
    add("maxout", d(2, 6, 3), call=lambda x: F.maxout(x, 2))
    add("roi_pool", d(2, 2, 4, 5), call=lambda x: F.roi_pool(x, constant([[0, 0, 0, 4, 3], [1, 1, 2, 3, 9]]), (2, 3)))


def _unpool(x: Any, constant: Callable[..., Any]) -> Any:
    """Six maxima of windows of 2 x 2, put back to where they were in an image of 6 x 5."""
    import minidl as m

    places = constant([[[0, 3], [11, 12], [20, 23]]] * 2)
    return m.nn.functional.max_unpool2d(x, m.stack([places, places]), 2, output_size=(6, 5))


def _norms_and_losses(add: Callable[..., None], F: Any, m: Any, constant: Callable[..., Any]) -> None:
    add("batch_norm", n(3, 2, 4), n(2), n(2), call=lambda x, w, b: F.batch_norm(x, None, None, w, b, True))
    add("layer_norm", n(2, 3, 4), n(3, 4), n(3, 4), call=lambda x, w, b: F.layer_norm(x, (3, 4), w, b))
    add("group_norm", n(2, 4, 3), n(4), n(4), call=lambda x, w, b: F.group_norm(x, 2, w, b))
    add("instance_norm", n(2, 3, 4), n(3), n(3), call=lambda x, w, b: F.instance_norm(x, weight=w, bias=b))
    add("rms_norm", n(2, 3, 4), n(4), call=lambda x, w: F.rms_norm(x, (4,), w))
    add("local_response_norm", n(2, 5, 3), call=lambda x: F.local_response_norm(x, 3, 0.5))

    classes, signs = constant([2, 0, 4, 2]), constant([1.0, -1.0, -1.0, 1.0], dtype="float64")
    target = constant([[0.2, 0.7, 0.4], [0.9, 0.1, 0.6]], dtype="float64")
    weight = constant([0.5, 1.0, 2.0, 0.7, 1.3], dtype="float64")
    add("cross_entropy", n(4, 5), call=lambda x: F.cross_entropy(x, classes))
    add("cross_entropy", n(4, 5), call=lambda x: F.cross_entropy(x, classes, weight, label_smoothing=0.1))
    add("nll_loss", n(4, 5), call=lambda x: F.nll_loss(x, classes, weight))
    add("multi_margin_loss", d(4, 5), call=lambda x: F.multi_margin_loss(x, classes))
    add("binary_cross_entropy", n(2, 3), call=lambda x: F.binary_cross_entropy(m.sigmoid(x), target))
    add("binary_cross_entropy_with_logits", n(2, 3), call=lambda x: F.binary_cross_entropy_with_logits(x, target))
    for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
        add(name, d(2, 3), call=lambda x, name=name: getattr(F, name)(x, target))
    add("triplet_margin_loss", n(4, 3), n(4, 3), n(4, 3), call=lambda *xs: F.triplet_margin_loss(*xs, margin=4.0))
    add("pairwise_distance", n(4, 3), n(4, 3))
    add("poisson_nll_loss", n(2, 3), call=lambda x: F.poisson_nll_loss(x, target))
    add("gaussian_nll_loss", n(2, 3), p(2, 3), call=lambda x, v: F.gaussian_nll_loss(x, target, v))
    add("multilabel_soft_margin_loss", n(2, 3), call=lambda x: F.multilabel_soft_margin_loss(x, target.round()))
    add("kl_div", n(2, 3), call=lambda x: F.kl_div(m.log_softmax(x, 1), target, reduction="batchmean"))
    add("hinge_embedding_loss", d(4), call=lambda x: F.hinge_embedding_loss(x, signs))
    add("soft_margin_loss", n(4), call=lambda x: F.soft_margin_loss(x, signs))
    add("margin_ranking_loss", d(4), n(4), call=lambda a, b: F.margin_ranking_loss(a, b, signs))
    add("cosine_similarity", n(4, 3), n(4, 3))
    add("cosine_embedding_loss", n(4, 3), n(4, 3), call=lambda a, b: F.cosine_embedding_loss(a, b, signs, -0.9))


@functools.cache
def checks(device: str = "cpu") -> dict[str, Check]:
    """Every example by the name of its operation; the constants of their calls lie on ``device``."""
    from ..tensor import tensor

    constant = functools.partial(tensor, device=device)
    return {**_operations(constant), **_networks(constant)}


def names() -> list[str]:
    """Operations that can be checked by name, in alphabetical order."""
    return sorted(checks())


class UnknownCheckError(KeyError):
    """No operation of that name; the message offers similar ones."""

    def __str__(self) -> str:
        return str(self.args[0])


def check_named(name: str, seed: int = 0, device: str = "cpu") -> tuple[Report, Report | None]:
    """First and second derivatives of an operation by its name (None where only the first is checked), on ``device``.

    >>> from minidl.autograd.examples import check_named
    >>> first, second = check_named("tanh")
    >>> first.ok and second.ok
    True
    """
    if name not in checks():
        near = difflib.get_close_matches(name, names(), 5)
        hint = f"; did you mean {', '.join(near)}?" if near else "; `minidl gradcheck --list` shows all names"
        raise UnknownCheckError(f"no operation called {name!r} to check{hint}")
    check = checks(device)[name]
    arguments = [a.make(np.random.default_rng(seed + i), device) for i, a in enumerate(check.arguments)]
    first = gradcheck(check.function, arguments, raise_exception=False, seed=seed)
    if not (check.second and first.ok):
        return first, None
    return first, gradgradcheck(check.function, arguments, raise_exception=False, seed=seed)
