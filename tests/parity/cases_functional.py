"""Parity cases of ``minidl.nn.functional``; the names carry the prefix ``nn.functional.``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.parity import cases_corners
from tests.parity.cases import Case, D, N, P, R, T, U, Z, case


def f(op: str, *args: Any, **options: Any) -> Case:
    return case(f"nn.functional.{op}", *args, **options)


def activations() -> Iterator[Case]:
    plain = (
        "celu", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid", "mish", "relu",
        "relu6", "selu", "silu", "softplus", "softsign", "sigmoid", "tanh",
    )  # fmt: skip
    for op in plain:
        # PyTorch has no second derivative of hardsigmoid, and a sixth in float32 even for float64
        special: dict[str, Any] = {"_second": False, "_factor": 1e3} if op == "hardsigmoid" else {}
        for x in (D(3, 4), D(2, 3, layout="strided"), D(3, 2, layout="F"), D(), D(0, 3)):
            yield f(op, x, **special)
        if op not in ("gelu", "logsigmoid", "softplus"):  # at a kink PyTorch's second derivative is a matter of taste
            yield f(op, Z(3), **{"_second": False, **special})
        large = {"call": lambda m, x, op=op: getattr(m.nn.functional, op)(x * 100), "_label": "large"}
        factor = {"softplus": 50.0, "silu": 20.0}.get(op, 4.0)  # second derivatives near 1 - sigmoid
        yield f(op, R(9), **{"_factor": factor, **special, **large})
    for op in ("celu", "elu"):
        yield f(op, D(9), 0.7, _factor=1e3)  # PyTorch keeps alpha in float32
    yield f("gelu", D(9), approximate="tanh")
    yield f("hardtanh", D(9), -0.2, 0.33)
    yield f("leaky_relu", D(9), negative_slope=0.3)
    yield f("softplus", D(9), 2.0)
    yield f("softplus", D(90), beta=1.5, threshold=3)
    yield f("threshold", D(9), 0.12, 5.0)
    yield f("prelu", D(3, 4), U(1))
    yield f("prelu", D(2, 4, 3), U(4))
    yield f("glu", R(3, 4))
    yield f("glu", R(4, 3), dim=0)
    for dim in (0, 1, -1):
        for op in ("softmax", "log_softmax", "softmin"):
            yield f(op, R(3, 4, 2), dim)
    yield f("normalize", R(3, 4))
    yield f("normalize", R(3, 4), p=1, dim=0)
    yield f("normalize", R(3, 4), 3, -1, 1e-3)


def losses() -> Iterator[Case]:
    for reduction in ("mean", "sum", "none"):
        option = {"reduction": reduction}
        yield f("cross_entropy", R(4, 5), N(4), **option)
        yield f("cross_entropy", R(4, 5), N(4), weight=P(5, grad=False), label_smoothing=0.1, **option)
        yield f("cross_entropy", R(4, 5), N(4), ignore_index=2, **option)
        yield f("cross_entropy", R(4, 5, 3, 2), N(4, 3, 2), weight=P(5, grad=False), ignore_index=1, **option)
        yield f("cross_entropy", R(4, 5), P(4, 5), **option)
        yield f("cross_entropy", R(4, 5), P(4, 5), weight=P(5, grad=False), label_smoothing=0.2, **option)
        yield f("nll_loss", R(4, 5), N(4), **option)
        yield f("nll_loss", R(4, 5), N(4), weight=P(5, grad=False), ignore_index=0, **option)
        yield f("nll_loss", R(4, 5, 3), N(4, 3), **option)
        yield f("multi_margin_loss", R(4, 5), N(4), _second=False, **option)
        yield f("multi_margin_loss", R(4, 5), N(4), p=2, margin=0.7, weight=P(5, grad=False), _second=False, **option)
        for op in ("binary_cross_entropy", "binary_cross_entropy_with_logits"):
            yield f(op, R(4, 5), R(4, 5), call=_binary(op), _label=reduction, **option)
            yield f(
                op, R(4, 5), R(4, 5), weight=P(5, grad=False), call=_binary(op), _label=f"weight-{reduction}", **option
            )
        op = "binary_cross_entropy_with_logits"
        yield f(
            op,
            R(4, 5),
            R(4, 5),
            pos_weight=P(5, grad=False),
            call=_binary(op),
            _label=f"pos_weight-{reduction}",
            **option,
        )
        for op in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
            yield f(op, D(4, 5), R(4, 5), **option)
        yield f("smooth_l1_loss", D(9), R(9), beta=0.4, **option)
        yield f("huber_loss", D(9), R(9), delta=0.4, **option)
        for op in ("mse_loss", "l1_loss", "huber_loss"):
            yield f(op, D(3, 4), R(3, 4), weight=P(3, 4, grad=False), **option)
        yield f("hinge_embedding_loss", D(9), N(9, high=2), margin=0.5, call=_signs("hinge_embedding_loss"), **option)
        yield f("soft_margin_loss", R(9), N(9, high=2), call=_signs("soft_margin_loss"), **option)
        yield f(
            "margin_ranking_loss", D(9), R(9), N(9, high=2), margin=0.3, call=_signs("margin_ranking_loss"), **option
        )
        cosine = {"call": _signs("cosine_embedding_loss"), **option}
        yield f("cosine_embedding_loss", R(4, 3), R(4, 3), N(4, high=2), margin=-0.2, **cosine)
        yield f("kl_div", R(4, 5), P(4, 5), **option)
        yield f("kl_div", R(4, 5), R(4, 5), log_target=True, **option)
    yield f("kl_div", R(4, 5), P(4, 5), reduction="batchmean")
    yield f("cross_entropy", R(5), N())
    yield f(
        "cross_entropy", R(4, 5), N(4), call=lambda m, x, t: m.nn.functional.cross_entropy(x * 500, t), _label="large"
    )
    yield f("binary_cross_entropy_with_logits", R(9), N(9, high=2), call=_large_logits, _label="large")
    yield f("cosine_similarity", R(4, 3), R(4, 3))
    yield f("cosine_similarity", R(4, 3, 2), R(4, 3, 2), dim=-1, eps=1e-6)


def _binary(op: str) -> Any:
    """Probabilities from any numbers, for losses that want them between 0 and 1."""

    def call(m: Any, x: Any, t: Any, **options: Any) -> Any:
        x = x if op.endswith("logits") else m.sigmoid(x)
        return getattr(m.nn.functional, op)(x, m.sigmoid(t).detach(), **options)

    return call


def _large_scores(m: Any, x: Any, t: Any) -> Any:
    return m.nn.functional.cross_entropy(x * 500, t)


def _large_logits(m: Any, x: Any, t: Any) -> Any:
    return m.nn.functional.binary_cross_entropy_with_logits(x * 500, t.double() if x.dtype == m.float64 else t.float())


def _signs(op: str) -> Any:
    """The last tensor, of 0 and 1, as -1 and 1."""

    def call(m: Any, *args: Any, **options: Any) -> Any:
        *xs, t = args
        return getattr(m.nn.functional, op)(*xs, t * 2 - 1, **options)

    return call


def layers() -> Iterator[Case]:
    yield f("linear", R(4, 3), R(5, 3), R(5))
    yield f("linear", R(2, 4, 3), R(5, 3))
    yield f("linear", R(3), R(5, 3), bias=R(5))
    yield f("linear", R(0, 3), R(5, 3), R(5))
    yield f("bilinear", R(4, 3), R(4, 2), R(5, 3, 2), R(5))
    yield f("embedding", N(2, 3, high=6), R(6, 4))
    yield f("embedding", N(5, high=3), R(3, 4), padding_idx=1)
    yield f("embedding", N(5, high=3), R(3, 4), padding_idx=-1)
    yield f("one_hot", N(2, 3), 7)
    yield f("one_hot", N(9))
    yield f(
        "channel_shuffle", R(2, 6, 3, 2), 3, call=lambda m, x, g: m.nn.functional.channel_shuffle(x, g), _first=False
    )
    yield f("pixel_shuffle", R(2, 12, 3, 2), 2)
    yield f("pixel_unshuffle", R(2, 3, 4, 6), 2)
    for p in (0.0, 1.0):
        for op, shape in (("dropout", (3, 4)), ("dropout1d", (2, 3, 4)), ("dropout2d", (2, 3, 4, 2))):
            yield f(op, R(*shape), p)
        yield f("dropout3d", R(2, 3, 2, 2, 2), p)
        yield f("alpha_dropout", R(3, 4), p, training=False)
    yield f("dropout", R(3, 4), 0.5, training=False)
    for x in (R(2, 3, 4, 5), R(2, 3, 4, 5, layout="F")):
        yield f("pad", x, (1, 2))
        yield f("pad", x, (1, 2, 0, 3), value=1.5)
        yield f("pad", x, (1, 2, 0, 3), "constant")
        yield f("pad", x, (-1, 2, 1, -2))
        for mode in ("reflect", "replicate", "circular"):
            yield f("pad", x, (1, 2, 3, 0), mode=mode)
    yield f("pad", R(2, 3, 5), (2, 1), mode="reflect")
    yield f("pad", R(2, 2, 3, 4, 3), (2, 1, 0, 1, 1, 0), mode="replicate")
    yield from norms()


def norms() -> Iterator[Case]:
    loose = {"_factor": 20.0}  # a small variance in the denominator, twice differentiated
    for training in (True, False):
        for shape in ((5, 3), (4, 3, 5), (2, 3, 4, 2), (2, 3, 2, 2, 2)):
            stats = (R(3, grad=False), P(3, grad=False))
            yield f("batch_norm", R(*shape), *stats, R(3), R(3), training, call=_batch_norm, **loose)
        yield f("batch_norm", R(4, 3, 5), *stats, training=training, momentum=0.3, eps=0.1, call=_batch_norm, **loose)
    yield f("batch_norm", R(4, 3, 5), None, None, R(3), None, True, **loose)
    for x in (R(4, 3, 5), R(4, 3, 5, layout="strided")):
        yield f("layer_norm", x, (5,), R(5), R(5), **loose)
        yield f("layer_norm", x, (3, 5), R(3, 5), **loose)
        yield f("layer_norm", x, (5,), eps=0.1, **loose)
        yield f("rms_norm", x, (5,), R(5), **loose)
        yield f("rms_norm", x, (3, 5), eps=0.1, **loose)
    yield f("group_norm", R(2, 6, 4), 3, R(6), R(6), **loose)
    yield f("group_norm", R(2, 6, 4, 3), 1, eps=0.1, **loose)
    yield f("instance_norm", R(2, 3, 5), weight=R(3), bias=R(3), **loose)
    yield f("instance_norm", R(2, 3, 4, 3), eps=0.1, **loose)
    for size in (3, 2):
        yield f("local_response_norm", R(2, 5, 4, 3), size)
        yield f("local_response_norm", R(2, 5, 4), size, alpha=0.5, beta=0.6, k=2.0)


def _batch_norm(m: Any, x: Any, mean: Any, var: Any, *args: Any, **options: Any) -> Any:
    """With copies of the running statistics, which the call changes and which are results too."""
    mean, var = mean.clone(), var.clone()
    return m.nn.functional.batch_norm(x, mean, var, *args, **options), mean, var


def convolutions() -> Iterator[Case]:
    for x, w, options in [
        (R(2, 3, 9), R(4, 3, 3), {}),
        (R(2, 4, 9), R(6, 2, 3), {"stride": 2, "padding": 3, "dilation": 2, "groups": 2}),
        (R(3, 9), R(4, 3, 3), {"padding": "same"}),
    ]:
        yield f("conv1d", x, w, R(w.shape[0]), **options)
    for x, w, options in [
        (R(2, 3, 7, 6), R(4, 3, 3, 2), {}),
        (R(2, 4, 9, 8), R(6, 2, 3, 2), {"stride": (2, 3), "padding": (1, 2), "dilation": (2, 1), "groups": 2}),
        (R(2, 3, 7, 6), R(4, 3, 3, 2), {"padding": "same", "dilation": (1, 2)}),
        (R(2, 3, 7, 6), R(4, 3, 3, 2), {"padding": "valid", "stride": 4}),
        (R(2, 3, 7, 6, layout="F"), R(4, 3, 1, 1, layout="F"), {}),
        (R(2, 3, 4, 5, layout="strided"), R(4, 3, 4, 5, layout="strided"), {}),
        (R(3, 7, 6), R(4, 3, 3, 2), {}),
        (R(2, 3, 5, 4), R(6, 1, 2, 3), {"groups": 3, "padding": 1}),
    ]:
        yield f("conv2d", x, w, R(w.shape[0]), **options)
    yield f("conv2d", R(2, 3, 7, 6), R(4, 3, 3, 2))
    yield f("conv2d", R(2, 3, 7, 6), R(4, 3, 3, 2), None, 2, 1)
    yield f("conv2d", R(0, 3, 7, 6), R(4, 3, 3, 2), R(4), _second=False)
    yield f("conv3d", R(2, 2, 4, 5, 3), R(3, 2, 2, 3, 2), R(3), stride=(1, 2, 1), padding=(1, 0, 1))
    yield f("conv3d", R(2, 2, 4, 5, 3), R(4, 1, 2, 1, 2), groups=2, dilation=(2, 1, 1))
    yield f("conv_transpose1d", R(2, 4, 5), R(4, 3, 3), R(3), stride=2, padding=1, output_padding=1)
    for options in (
        {}, {"stride": (2, 3)}, {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2, "dilation": 2},
        {"stride": (3, 2), "padding": (1, 0), "output_padding": (2, 1)},
    ):  # fmt: skip
        yield f("conv_transpose2d", R(2, 4, 3, 5), R(4, 3, 3, 2), R(3 * options.get("groups", 1)), **options)
    yield f("conv_transpose2d", R(4, 3, 5), R(4, 3, 3, 2))
    yield f("conv_transpose3d", R(2, 2, 3, 2, 2), R(2, 3, 2, 2, 3), R(3), stride=(2, 1, 2), padding=(0, 1, 1))
    for options in ({}, {"stride": 2}, {"padding": (1, 2), "dilation": (2, 1), "stride": (1, 3)}):
        yield f("unfold", R(2, 3, 7, 8), (3, 2), **options)
    yield f("unfold", R(2, 3, 5, 5), 2)
    yield f("fold", R(2, 3 * 6, 5 * 7), (7, 8), (3, 2))
    yield f("fold", R(2, 3 * 4, 9), 6, 2, stride=2)
    yield f("fold", R(2, 3 * 4, 12), (6, 7), (2, 2), padding=(1, 0), stride=2, dilation=(1, 2))


def pools() -> Iterator[Case]:
    sizes = {"1d": (2, 3, 9), "2d": (2, 3, 9, 8), "3d": (2, 2, 5, 6, 7)}
    for d, shape in sizes.items():
        for options in (
            {"kernel_size": 3}, {"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 2, "stride": 3},
            {"kernel_size": 3, "stride": 2, "ceil_mode": True},
        ):  # fmt: skip
            yield f(f"max_pool{d}", D(*shape), **options)
            yield f(f"avg_pool{d}", R(*shape), **options)
        yield f(f"max_pool{d}", D(*shape), 2, return_indices=True)
        yield f(f"max_pool{d}", D(*shape), 2, dilation=2)
        yield f(f"max_pool{d}", T(*shape), 2)  # ties: the first one wins
        yield f(f"max_pool{d}", D(*shape[1:]), 2)
        yield f(f"avg_pool{d}", R(*shape), 3, 2, 1, True, False)
        yield f(f"lp_pool{d}", P(*shape), 2.0, 2)
        yield f(f"lp_pool{d}", P(*shape), 3, kernel_size=3, stride=2)
        yield f(f"max_unpool{d}", D(*shape), 2, call=_unpool(d))
        yield f(f"max_unpool{d}", D(*shape), 3, 2, call=_unpool(d))
        for size in (1, 3, 4):
            yield f(f"adaptive_avg_pool{d}", R(*shape), size)
            yield f(f"adaptive_max_pool{d}", D(*shape), size)
        yield f(f"adaptive_max_pool{d}", D(*shape), 2, True)
    yield f("max_pool2d", D(2, 3, 9, 8, layout="F"), (3, 2), (2, 1), (1, 0))
    yield f("max_pool2d", D(2, 3, 9, 8, layout="strided"), kernel_size=(2, 3), dilation=(1, 2))
    yield f("avg_pool2d", R(2, 3, 9, 8, layout="F"), (3, 2), (2, 3), (1, 0))
    yield f("avg_pool2d", R(2, 3, 9, 8), 2, divisor_override=3)
    yield f("avg_pool3d", R(2, 2, 5, 6, 4), (1, 2, 3), divisor_override=5)
    yield f("adaptive_avg_pool2d", R(2, 3, 7, 5), (3, None))
    yield f("adaptive_avg_pool2d", R(3, 7, 5), (2, 4))
    yield f("adaptive_max_pool2d", D(2, 3, 7, 5), (None, 2))


def _unpool(d: str) -> Any:
    def call(m: Any, x: Any, *window: int) -> Any:
        pooled, indices = getattr(m.nn.functional, f"max_pool{d}")(x, *window, return_indices=True)
        size = x.shape[2:]
        return getattr(m.nn.functional, f"max_unpool{d}")(pooled * 2, indices, *window, output_size=size)

    return call


CASES: list[Case] = [*activations(), *losses(), *layers(), *convolutions(), *pools(), *cases_corners.CASES]

EXEMPT: dict[str, str] = {
    "maxout": "PyTorch has none; tested in tests/ops against its definition",
    "roi_pool": "torchvision has it; tested in tests/kernels against loops",
}
