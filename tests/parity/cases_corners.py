"""Corners of ``nn.functional``: kinks, infinities, awkward windows, layouts, empty batches, every way of calling."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.parity.cases import Case, D, N, P, R, T, U, Z, case


def f(op: str, *args: Any, **options: Any) -> Case:
    return case(f"nn.functional.{op}", *args, **options)


def function(m: Any, op: str) -> Any:
    return getattr(m.nn.functional, op)


def like(m: Any, x: Any, values: Any) -> Any:
    """A constant tensor of these values in the dtype of x."""
    return m.tensor(values, dtype=x.dtype)


# ---- activations ------------------------------------------------------------------------------------------------

SPECIAL = [float("inf"), float("-inf"), float("nan"), 1e30, -1e30, 88.8, -88.8, 710.0, -746.0, 0.0, -0.0, 1e-30]


def at(op: str, points: list[float]) -> Any:
    """The function at these points: the drawn numbers only carry the gradient there."""

    def call(m: Any, x: Any, *args: Any, **options: Any) -> Any:
        return function(m, op)(x * 0 + like(m, x, points), *args, **options)

    return call


def activations() -> Iterator[Case]:
    kinks: dict[str, tuple[list[float], tuple[Any, ...]]] = {
        "relu": ([0.0, -0.0], ()),
        "relu6": ([0.0, 6.0], ()),
        "leaky_relu": ([0.0, -0.0], (0.3,)),
        "elu": ([0.0, -0.0], (1.5,)),
        "celu": ([0.0, -0.0], (1.5,)),
        "selu": ([0.0, -0.0], ()),
        "hardtanh": ([-0.25, 0.5], (-0.25, 0.5)),
        "hardsigmoid": ([-3.0, 3.0], ()),
        "threshold": ([0.5, 0.25], (0.5, 7.0)),
        "hardshrink": ([0.5, -0.5, 0.0], (0.5,)),
        "softshrink": ([0.5, -0.5, 0.0], (0.5,)),
        "softsign": ([0.0], ()),
        "logsigmoid": ([0.0], ()),
        "softplus": ([0.0, 20.0, 20.5], ()),
        "gelu": ([0.0], ()),
        "silu": ([0.0], ()),
        "mish": ([0.0], ()),
    }
    for op, (points, args) in kinks.items():
        # PyTorch's second derivative of softplus at its threshold is that below it
        yield f(op, R(len(points)), *args, call=at(op, points), _label="kink", _second=op in SMOOTH_AT_0)
    finite = [v for v in SPECIAL if abs(v) < 1e3]
    for op in (
        "relu", "relu6", "leaky_relu", "elu", "celu", "selu", "hardtanh", "hardsigmoid", "softplus", "logsigmoid",
        "sigmoid", "tanh", "softsign", "hardshrink", "softshrink", "tanhshrink",
    ):  # fmt: skip
        yield f(op, R(len(SPECIAL)), call=special(op), _label="special", _first=False)
    for op in ("gelu", "silu", "mish", "hardswish"):
        yield f(op, R(len(finite)), call=at(op, finite), _label="far", _second=op in ("gelu", "silu"))
    yield f("gelu", R(len(finite)), approximate="tanh", call=at("gelu", finite), _label="tanh-far")
    yield f("prelu", R(2, 3, 4), P(3), call=lambda m, x, w: function(m, "prelu")(x * 0, w), _label="kink")
    yield f("prelu", D(5), U(1))
    for op in ("hardshrink", "softshrink", "tanhshrink"):
        for x in (D(3, 4), D(2, 3, layout="strided"), D(0, 3), D()):
            yield f(op, x)
    yield f("hardshrink", D(9), 0.2)
    yield f("softshrink", D(9), lambd=0.2)
    for op, args in (
        ("relu", ()), ("relu6", ()), ("leaky_relu", (0.2,)), ("elu", (1.0,)), ("selu", ()), ("celu", (1.0,)),
        ("silu", ()), ("mish", ()), ("hardtanh", (-0.3, 0.4)), ("hardswish", ()), ("threshold", (0.1, 3.0)),
    ):  # fmt: skip
        yield f(op, D(3, 4), *args, call=in_place(op), _label="inplace")
    yield f("dropout", D(3, 4), 0.0, call=in_place("dropout"), _label="inplace")
    for op in ("softmax", "log_softmax"):
        yield f(op, R(3, 4), 1, call=wider(op), _label="dtype")
        yield f(op, R(3, 0), 1)
        yield f(op, R(0, 3), 0)
        yield f(op, R(), 0)
        yield f(op, R(2, 3, 4, layout="F"), 1)
        points = [1e4, -1e4, 9.9e3]
        yield f(op, R(3), 0, call=at(op, points), _label="large")
        yield f(op, R(3), 0, call=at(op, [0.5, float("-inf"), 0.25]), _label="masked", _second=False)
        for name, values in {"inf": [1.0, float("inf")], "all-masked": [-np.inf, -np.inf], "nan": [np.nan, 1]}.items():
            yield f(op, R(2), 0, call=special(op, values), _label=name, _first=False)
    yield f("glu", R(2, 4, 3, layout="F"), 1)
    yield f("glu", R(2, 0))
    for p in (1, 2.0, 3, 0.5, float("inf")):
        yield f("normalize", R(3, 4), p)
    yield f("normalize", Z(2, 3), _second=False)
    yield f("normalize", R(3, 4, 2), dim=(0, 2))


SMOOTH_AT_0 = ("logsigmoid", "silu", "gelu", "mish")


def special(op: str, values: Any = SPECIAL) -> Any:
    def call(m: Any, x: Any, *args: Any) -> Any:
        return function(m, op)(like(m, x, values), *args)

    return call


def in_place(op: str) -> Any:
    """The result is dropped: what counts is what the input has become."""

    def call(m: Any, x: Any, *args: Any) -> Any:
        y = x * 1
        function(m, op)(y, *args, inplace=True)
        return y

    return call


def wider(op: str) -> Any:
    return lambda m, x, dim: function(m, op)(x, dim, dtype=m.float64)


# ---- losses -----------------------------------------------------------------------------------------------------


def losses() -> Iterator[Case]:
    for reduction in ("mean", "sum", "none"):
        how = {"reduction": reduction}
        yield f("cross_entropy", R(5), N(), label_smoothing=0.3, **how)
        yield f("cross_entropy", R(5), P(5), **how)
        yield f("cross_entropy", R(3, 4, 2), P(3, 4, 2), weight=P(4, grad=False), label_smoothing=0.3, **how)
        yield f("cross_entropy", R(0, 4), N(0), **how)
        yield f("cross_entropy", R(2, 4, 0), N(2, 0), **how)
        yield f(
            "cross_entropy", R(6, 4), N(6, high=2), ignore_index=1, weight=P(4, grad=False), label_smoothing=0.3, **how
        )
        yield f("cross_entropy", R(3, 4), N(3, high=1), ignore_index=0, _label=f"all-ignored-{reduction}", **how)
        yield f("cross_entropy", R(2, 4, 3, layout="F"), N(2, 3, high=4), **how)
        yield f("cross_entropy", R(3, 4), N(3, high=4), label_smoothing=1.0, **how)
        yield f("nll_loss", R(5), N(), **how)
        yield f("nll_loss", R(3, 4), N(3, high=4), call=infinite_where_ignored, _first=False, **how)
        yield f("multi_margin_loss", R(5), N(), _second=False, **how)
        yield f("multi_margin_loss", Z(3, 4), N(3, high=4), margin=0.0, _second=False, **how)
        for op in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
            yield f(op, T(30), T(30), **how)  # ties: at the kinks
            yield f(op, R(0, 3), R(0, 3), **how)
            yield f(op, R(), R(), **how)
        yield f("smooth_l1_loss", D(9), R(9), beta=0.0, **how)
        yield f("hinge_embedding_loss", T(30), N(30, high=2), call=signs("hinge_embedding_loss"), **how)
        yield f("margin_ranking_loss", T(30), T(30), N(30, high=2), call=signs("margin_ranking_loss"), **how)
        yield f("cosine_embedding_loss", R(3), R(3), N(high=2), call=signs("cosine_embedding_loss"), **how)
        yield f(
            "kl_div",
            R(3, 4),
            T(3, 4, grad=False),
            call=lambda m, x, t, **o: m.nn.functional.kl_div(x, t.clamp(min=0), **o),
            _label=f"zeros-{reduction}",
            **how,
        )
        edge = {"call": at_the_ends, "_label": f"ends-{reduction}", "_second": False, **how}
        yield f("binary_cross_entropy", R(8), **edge)
        weights = {"weight": P(3, 4, grad=False), "pos_weight": P(4, grad=False)}
        yield f("binary_cross_entropy_with_logits", R(3, 4), P(3, 4), **weights, **how)
        yield f("binary_cross_entropy_with_logits", Z(3), P(3), **how)
        for swap in (False, True):
            yield f("triplet_margin_loss", R(4, 3), R(4, 3), R(4, 3), swap=swap, **how)
        yield f("triplet_margin_loss", R(4, 3), R(4, 3), R(4, 3), 0.7, 1.0, 1e-3, **how)
        yield f("triplet_margin_loss", R(3), R(3), R(3), margin=9.0, p=3, **how)
        for log_input in (True, False):
            x = R(3, 4) if log_input else P(3, 4)
            yield f("poisson_nll_loss", x, N(3, 4, high=6), call=counts, log_input=log_input, full=True, **how)
            yield f("poisson_nll_loss", x, P(3, 4), log_input=log_input, **how)
        yield f("gaussian_nll_loss", R(3, 4), R(3, 4), P(3, 4), **how)
        yield f("gaussian_nll_loss", R(3, 4), R(3, 4), P(3), full=True, **how)
        yield f("gaussian_nll_loss", R(3, 4), R(3, 4), P(3, 1), **how)
        yield f("gaussian_nll_loss", R(3, 4), R(3, 4), 0.7, **how)
        yield f("gaussian_nll_loss", R(3, 4), R(3, 4), P(3, 4), eps=1.0, _second=False, **how)
        yield f("multilabel_soft_margin_loss", R(3, 4), N(3, 4, high=2), call=as_floats, **how)
        yield f("multilabel_soft_margin_loss", R(3, 4), P(3, 4), weight=P(4, grad=False), **how)
    yield f("cosine_similarity", R(2, 3), R(3), dim=-1)
    yield f("cosine_similarity", R(4, 1, 3), R(1, 5, 3), dim=2)
    yield f("cosine_similarity", R(4, 3, 2), R(3, 2))
    yield f("cosine_similarity", R(3), R(3), dim=0)
    yield f("cosine_similarity", R(4, 3), R(4, 3), call=far, _label="large", _second=False)
    for p in (1.0, 2.0, 3.0, float("inf")):
        yield f("pairwise_distance", R(4, 3), R(4, 3), p)
    yield f("pairwise_distance", R(4, 3), R(3), eps=0.1, keepdim=True)
    yield f("pairwise_distance", R(3), R(3))
    yield f(
        "pairwise_distance",
        R(3),
        R(3),
        call=lambda m, a, b: m.nn.functional.pairwise_distance(a, a, eps=0.0),
        _label="equal",
        _second=False,
    )


def infinite_where_ignored(m: Any, x: Any, t: Any, **how: Any) -> Any:
    mask = m.nn.functional.one_hot(t * 0 + 2, 4) > 0
    return m.nn.functional.nll_loss(m.where(mask, like(m, x, float("-inf")), x), t, ignore_index=2, **how)


def signs(op: str) -> Any:
    """The last tensor, of 0 and 1, as -1 and 1."""
    return lambda m, *args, **options: function(m, op)(*args[:-1], args[-1] * 2 - 1, **options)


def at_the_ends(m: Any, x: Any, **how: Any) -> Any:
    p = [0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1e-30, 1e-12]
    return m.nn.functional.binary_cross_entropy(
        x * 0 + like(m, x, p), like(m, x, [0.0, 1.0, 0.0, 1.0, 0.25, 0.25, 0.5, 0.0]), **how
    )


def counts(m: Any, x: Any, t: Any, **how: Any) -> Any:
    return m.nn.functional.poisson_nll_loss(x, t.to(x.dtype), **how)


def as_floats(m: Any, x: Any, t: Any, **how: Any) -> Any:
    return m.nn.functional.multilabel_soft_margin_loss(x, t.to(x.dtype), **how)


def far(m: Any, a: Any, b: Any) -> Any:
    return m.nn.functional.cosine_similarity(a * 1e18, b * 1e18)


# ---- layers -----------------------------------------------------------------------------------------------------


def layers() -> Iterator[Case]:
    yield f("linear", R(2, 0, 3), R(5, 3), R(5))
    yield f("linear", R(4, 3, layout="F"), R(5, 3, layout="F"), R(5, layout="strided"))
    yield f("bilinear", R(2, 4, 3), R(2, 4, 2), R(5, 3, 2))
    yield f("bilinear", R(3), R(2), R(5, 3, 2), R(5))
    yield f("bilinear", R(0, 3), R(0, 2), R(5, 3, 2), R(5))
    yield f("embedding", N(), R(5, 4))
    yield f("embedding", N(0, 2), R(5, 4), _second=False)
    yield f("one_hot", N(0, high=2), 3)
    yield f("channel_shuffle", R(2, 6, 3), 2, _first=False)
    yield f("pixel_shuffle", R(8, 3, 2), 2)
    yield f("pixel_shuffle", R(2, 1, 9, 3, 2, layout="F"), upscale_factor=3)
    yield f("pixel_unshuffle", R(3, 6, 9), 3)
    yield f("pixel_unshuffle", R(2, 2, 1, 4, 6), downscale_factor=2)
    yield f("pad", R(3), (2, 1))
    yield f("pad", R(2, 3), [1, 0, 2, 3], "constant", None)
    yield f("pad", R(2, 3), (0, 0))
    yield f("pad", R(2, 3, 4), (-1, -1, 0, -2), value=3.0)
    yield f("pad", R(0, 3, 4), (1, 2), mode="reflect")
    for mode in ("reflect", "replicate", "circular"):
        for pads in ((-1, 2), (2, -1), (-2, 1), (-1, -1)):
            yield f("pad", R(2, 3, 4), pads, mode=mode)
    yield f("pad", R(3, 4, 5, layout="strided"), (4, 4, 3, 3), mode="reflect")
    yield f("pad", R(3, 4, 5), (9, 7), mode="replicate")
    yield f("pad", R(2, 3, 4), (4, 4), mode="circular")
    yield from norms()


def norms() -> Iterator[Case]:
    loose = {"_factor": 20.0}
    stats = (R(3, grad=False), P(3, grad=False))
    last = (R(4, 5, 2, 3), *stats, R(3), R(3))  # (N, H, W, C)
    for training in (True, False):
        yield f("batch_norm", *last, training, call=channels_last_batch_norm, _label=f"last-{training}", **loose)
        yield f("instance_norm", R(2, 3, 4, 2), *stats, R(3), R(3), training, 0.3, 1e-3, call=tracked, **loose)
    yield f("batch_norm", R(4, 3), *stats, R(3), None, True, 1.0, 0.5, call=tracked_batch, _label="momentum-1", **loose)
    yield f("batch_norm", R(4, 3), *stats, R(3), None, True, 0.0, 0.5, call=tracked_batch, _label="momentum-0", **loose)
    # PyTorch differentiates twice only with a weight where there is a bias
    yield f("batch_norm", R(4, 3, 5, layout="F"), None, None, None, R(3), True, 0.1, 1e-3, _second=False)
    yield f("batch_norm", R(4, 3), *stats, None, R(3), False, 0.1, 0.5, _second=False)
    yield f("batch_norm", R(0, 3, 2), *stats, R(3), R(3), False, _label="empty")
    yield f("batch_norm", Z(4, 3), None, None, R(3), R(3), True, _label="constant", _second=False)
    yield f("layer_norm", R(5), (5,), R(5), R(5), **loose)
    yield f("layer_norm", R(2, 3, 4), [3, 4], None, R(3, 4), 1e-2, _second=False)
    yield f("layer_norm", R(0, 3, 4), (4,), R(4), R(4))
    yield f("layer_norm", Z(2, 4), (4,), R(4), R(4), _second=False)
    yield f("group_norm", R(2, 6), 3, R(6), **loose)
    yield f("group_norm", R(2, 6, 4, 3, layout="F"), 2, R(6), R(6), 1e-2, **loose)
    yield f("group_norm", R(0, 6, 4), 2, R(6), R(6))
    yield f("instance_norm", R(2, 3, 4, 2, 3), **loose)
    yield f("rms_norm", R(2, 3, 4), [4], None, 1e-3, **loose)
    yield f("rms_norm", Z(2, 4), (4,), R(4), eps=1e-3)
    for size in (1, 4, 5, 7):
        yield f("local_response_norm", R(2, 5, 3, 4), size, 2.0, 0.75, 0.5)
    yield f("local_response_norm", R(0, 5, 3, 4), 3)
    yield f("local_response_norm", R(2, 5, 3, 4, layout="F"), 3, k=2)
    yield f("local_response_norm", Z(2, 5, 3, 4), 3)


def channels_last_batch_norm(m: Any, x: Any, *args: Any) -> Any:
    return tracked_batch(m, m.movedim(x, -1, 1), *args)


def tracked(m: Any, x: Any, mean: Any, var: Any, *args: Any) -> Any:
    mean, var = mean.clone(), var.clone()
    return m.nn.functional.instance_norm(x, mean, var, *args), mean, var


def tracked_batch(m: Any, x: Any, mean: Any, var: Any, *args: Any) -> Any:
    mean, var = mean.clone(), var.clone()
    return m.nn.functional.batch_norm(x, mean, var, *args), mean, var


# ---- convolution ------------------------------------------------------------------------------------------------


def by(op: str, algorithm: str) -> Any:
    """Forced to one algorithm in minidl."""

    def call(m: Any, *args: Any, **options: Any) -> Any:
        forced = {} if m.__name__ == "torch" else {"algorithm": algorithm}
        return function(m, op)(*args, **options, **forced)

    return call


def channels_last(op: str) -> Any:
    """With the channels of the input (N, *size, C) moved to axis 1: strides of a channels-last image."""
    return lambda m, x, *args, **options: function(m, op)(m.movedim(x, -1, 1), *args, **options)


def convolutions() -> Iterator[Case]:
    awkward = {"stride": (2, 3), "padding": (2, 1), "dilation": (2, 1), "groups": 2}
    for algorithm in ("im2col", "direct", "fft", "spec", "winograd"):
        wide = {"_factor": 10.0 if algorithm in ("fft", "winograd") else 1.0, "_label": algorithm}
        conv = {"call": by("conv2d", algorithm), **wide}
        yield f("conv2d", R(2, 3, 9, 8), R(4, 3, 3, 3), R(4), padding=1, **conv)
        up = {**wide, "call": by("conv_transpose2d", algorithm)}
        yield f("conv_transpose2d", R(2, 4, 5, 6), R(4, 3, 3, 3), R(3), padding=1, **up)
        if algorithm == "winograd":
            continue
        conv["_label"] = up["_label"] = f"{algorithm}-awkward"
        yield f("conv2d", R(2, 4, 9, 8), R(6, 2, 3, 2), R(6), **awkward, **conv)
        yield f("conv_transpose2d", R(2, 4, 3, 4), R(4, 3, 3, 2), R(6), **awkward, output_padding=(1, 0), **up)
        conv["_label"] = f"{algorithm}-channels-last"
        conv["call"] = lambda m, x, w, *args, a=algorithm, **options: by("conv2d", a)(
            m, m.movedim(x, -1, 1), m.movedim(w, -1, 1), *args, **options
        )
        yield f("conv2d", R(2, 9, 8, 3), R(4, 3, 2, 3), R(4), **conv)
        one = {**wide, "call": by("conv1d", algorithm)}
        yield f("conv1d", R(2, 4, 11), R(2, 2, 3), stride=2, padding=3, groups=2, **one)
        three = {**wide, "call": by("conv3d", algorithm)}
        yield f("conv3d", R(2, 2, 4, 5, 3), R(3, 2, 2, 3, 2), R(3), stride=(1, 2, 1), padding=(1, 0, 1), **three)
    yield f("conv1d", R(2, 3, 9), R(4, 3, 2), None, 4, _label="stride-beyond-kernel")
    yield f("conv1d", R(2, 3, 6), R(4, 3, 4), padding="same", dilation=1, _label="same-even")
    yield f("conv2d", R(2, 3, 7, 6), R(4, 3, 3, 2), R(4), (1, 1), (0, 0), (1, 1), 1, _label="all-positional")
    yield f("conv2d", R(2, 3, 7, 6), R(4, 3, 3, 2), bias=None, stride=[2], padding=[1], dilation=[2], groups=1)
    yield f("conv3d", R(2, 4, 5, 3), R(3, 2, 2, 3, 2), padding="same")
    yield f("conv2d", R(0, 3, 7, 6), R(4, 3, 3, 2), R(4), 2, 1, _label="empty")
    yield f("conv_transpose1d", R(4, 5), R(4, 3, 3), R(3), 2, 1, 1, 1, 2, _label="all-positional")
    yield f("conv_transpose2d", R(0, 4, 3, 5), R(4, 3, 3, 2), R(3))
    yield f("conv_transpose3d", R(2, 3, 2, 2), R(2, 3, 2, 2, 3), None, 2, 0, (1, 0, 1))
    for d, x, w in (("1d", R(2, 9, 3), R(4, 3, 2)), ("3d", R(2, 4, 5, 3, 2), R(3, 2, 2, 3, 2))):
        yield f(f"conv{d}", x, w, call=channels_last(f"conv{d}"), _label="channels-last")
    yield f("conv_transpose2d", R(2, 3, 5, 4), R(4, 3, 3, 2), call=channels_last("conv_transpose2d"), _label="last")
    yield f("unfold", R(3, 7, 8), (3, 2), 1, 1, 2)
    yield f("unfold", R(2, 7, 8, 3), 3, call=channels_last("unfold"), _label="channels-last")
    yield f("unfold", R(2, 3, 7, 8), kernel_size=(3, 2), dilation=2, padding=(2, 1), stride=(2, 3))
    yield f("fold", R(3 * 4, 9), (6, 6), 2, 1, 0, 2)
    yield f("fold", R(2, 12, 9, layout="F"), output_size=[6, 6], kernel_size=[2, 2], stride=[2, 2])


# ---- pools and sizes --------------------------------------------------------------------------------------------


def pools() -> Iterator[Case]:
    sizes = {"1d": (2, 3, 9), "2d": (2, 3, 9, 8), "3d": (2, 2, 5, 6, 7)}
    for d, shape in sizes.items():
        empty, single = (0, *shape[1:]), shape[1:]
        yield f(f"max_pool{d}", D(*shape), 3, 2, 1, 2, True, True)
        yield f(f"max_pool{d}_with_indices", T(*shape), 3, 2, 1)
        yield f(f"max_pool{d}", R(*empty), 2)
        yield f(f"max_pool{d}", D(*single), [2], stride=[3], return_indices=True)
        yield f(f"avg_pool{d}", R(*empty), 2)
        yield f(f"avg_pool{d}", R(*single), 2, 1, 1)
        yield f(f"avg_pool{d}", R(*shape), kernel_size=3, stride=2, padding=1, ceil_mode=True, count_include_pad=True)
        if d != "1d":
            for ceil_mode, include in ((True, True), (True, False), (False, False)):
                yield f(f"avg_pool{d}", R(*shape), 3, 2, 1, ceil_mode, include, 7)
        yield f(f"adaptive_avg_pool{d}", R(*single), 4)
        yield f(f"adaptive_max_pool{d}", T(*shape), 2, return_indices=True)
        yield f(f"adaptive_avg_pool{d}", R(*empty), 2)
        yield f(f"adaptive_avg_pool{d}", R(*shape), 12)
        last = R(shape[0], *shape[2:], shape[1])
        for op in ("max_pool", "avg_pool"):
            yield f(f"{op}{d}", last, 3, 2, 1, call=channels_last(f"{op}{d}"), _label="channels-last")
        yield f(f"adaptive_avg_pool{d}", last, 3, call=channels_last(f"adaptive_avg_pool{d}"), _label="channels-last")
        yield f(f"lp_pool{d}", R(*shape), 2, 3, 2)
        yield f(f"lp_pool{d}", R(*shape), 4.0, 2, ceil_mode=True)
        yield f(f"lp_pool{d}", P(*shape), 1.0, 2)
        yield f(f"lp_pool{d}", P(*shape), 1.5, 2)
        yield f(f"lp_pool{d}", D(*shape), float("inf"), 2)
        yield f(f"lp_pool{d}", R(*shape), 3, 2, _first=False)  # negative sums have no root
        yield f(f"lp_pool{d}", Z(*shape), 2, 2, _second=False)
        yield f(f"lp_pool{d}", R(*single), 2, 2)
        yield f(f"max_unpool{d}", D(*shape), 3, 2, 1, call=unpool(d), _label="sized")
        yield f(f"max_unpool{d}", D(*single), 2, 2, 0, call=unpool(d), _label="single")
        even = tuple(n + n % 2 for n in shape)
        yield f(f"max_unpool{d}", D(*even), 2, call=unpool_without_size(d), _label="unsized")
    yield f("max_pool2d", T(2, 3, 8, 8), (3, 2), stride=(1, 2), ceil_mode=True)
    yield f("max_pool2d", D(2, 3, 9, 8), kernel_size=(9, 8))
    yield f("avg_pool2d", R(2, 3, 9, 8), (2, 1), (3, 4))
    yield f("adaptive_avg_pool3d", R(2, 3, 4, 5, 3), (None, 2, 3))


def unpool(d: str) -> Any:
    def call(m: Any, x: Any, *window: int) -> Any:
        y, indices = function(m, f"max_pool{d}")(x, *window, return_indices=True)
        size = list(x.shape[-int(d[0]) :])
        return function(m, f"max_unpool{d}")(y * 2, indices, *window, output_size=size)

    return call


def unpool_without_size(d: str) -> Any:
    def call(m: Any, x: Any, kernel: int) -> Any:
        y, indices = function(m, f"max_pool{d}")(x, kernel, return_indices=True)
        return function(m, f"max_unpool{d}")(y * 2, indices, kernel_size=kernel)

    return call


def sizes() -> Iterator[Case]:
    shapes = {"linear": (2, 3, 5), "bilinear": (2, 3, 5, 4), "trilinear": (2, 2, 3, 4, 5)}
    for mode, shape in shapes.items():
        n = len(shape) - 2
        for how in ({"size": 7}, {"size": (3, 8, 2)[:n]}, {"scale_factor": 2}, {"scale_factor": (1.7, 0.6, 2.3)[:n]}):
            yield f("interpolate", R(*shape), **how)
            for corners in (True, False):
                yield f("interpolate", R(*shape), mode=mode, align_corners=corners, **how)
        yield f("interpolate", R(*shape, layout="F"), None, 2.5, mode)
        yield f("interpolate", R(*shape), (1, 1, 1)[:n], mode=mode, align_corners=True)
        yield f("interpolate", R(0, *shape[1:]), 6)
        yield f("upsample", R(*shape), None, 2, mode, True)
        for how in ({"size": (7, 2, 9)[:n]}, {"size": (1, 1, 1)[:n]}, {"scale_factor": (1.7, 0.6, 2.3)[:n]}):
            yield f("interpolate", R(*shape), mode="area", **how)
        yield f("interpolate", R(*shape), None, 1.7, mode, None, True)
        yield f("interpolate", R(*shape), scale_factor=1.7, recompute_scale_factor=True)
    cubic = ({"size": (7, 9)}, {"size": (3, 2)}, {"size": (1, 5)}, {"scale_factor": (1.7, 0.6)}, {"scale_factor": 2.5})
    for how in cubic:
        for corners in (None, True, False):
            yield f("interpolate", R(2, 3, 5, 4), mode="bicubic", align_corners=corners, **how)
            for mode in ("bilinear", "bicubic"):
                options = {"mode": mode, "align_corners": corners, "antialias": True, **how}
                yield f("interpolate", R(2, 2, 6, 7), **options, _label=f"antialias {mode} {corners} {how}")
    yield f("interpolate", R(1, 2, 1, 3), (4, 1), mode="bicubic")
    yield f("interpolate", R(2, 5, 4, 3), 7, call=channels_last("interpolate"), _label="channels-last")


CASES: list[Case] = [*activations(), *losses(), *layers(), *convolutions(), *pools(), *sizes()]
