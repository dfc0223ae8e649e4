"""The differentiable convolution: bias, gradients of all arguments and second derivatives, against brute force."""

from __future__ import annotations

from typing import Any

import numpy as np

import minidl
from minidl.ops import conv as ops

from .conv import assert_within, brute_force, gamma, magnitude, terms, truth
from .shapes import FEW, Case

CASES = FEW


def _function(name: str, c: Case) -> Any:
    return getattr(ops, f"{name}{len(c.size)}d")


def _bound(c: Case, pass_: str, dtype: str) -> np.ndarray:
    """The kernels' own bound with room for the bias and for the algorithms that round more."""
    return 100 * gamma(terms(c, pass_) + 2, dtype) * (magnitude(c, pass_, dtype) + 1)


def _leaves(*arrays: np.ndarray) -> list[Any]:
    return [minidl.tensor(a).requires_grad_() for a in arrays]


def convolution(dtype: str = "float64") -> None:
    """conv1d to conv3d with bias: the value, and the gradients of x, w and b under a random cotangent."""
    for c in CASES:
        arrays = c.arrays(dtype)
        bias = np.random.default_rng(c.seed + 1).standard_normal(c.out_channels).astype(dtype)
        x, w, b = _leaves(*arrays[:2], bias)
        y = _function("conv", c)(x, w, b, c.stride, c.padding, c.dilation, c.groups)
        y.backward(minidl.tensor(arrays[2]))
        per_channel = bias.reshape(-1, *[1] * len(c.size)).astype(float)
        wanted = {"forward": truth(c, "forward", dtype) + per_channel}
        wanted |= {p: truth(c, p, dtype) for p in ("input_grad", "weight_grad")}
        for (pass_, want), got in zip(wanted.items(), (y.detach(), x.grad, w.grad), strict=True):
            assert got.numpy().dtype == dtype, f"{pass_} of {dtype} tensors is {got.dtype}"
            assert_within(got.numpy(), want, _bound(c, pass_, dtype), f"conv {pass_} {dtype}, {c}")
        g = arrays[2].astype(float)
        spatial = (0, *range(2, g.ndim))
        slack = gamma(g.size, dtype) * np.abs(g).sum(spatial)
        assert_within(b.grad.numpy(), g.sum(spatial), slack, f"conv bias gradient {dtype}, {c}")


def transposed(dtype: str = "float64") -> None:
    """conv_transpose1d to 3d: the input gradient as a layer, with bias, and its three gradients."""
    able = [c for c in CASES if _reached(c)]
    assert len(able) >= len(CASES) // 2, f"only {len(able)} of {len(CASES)} problems have a transposed convolution"
    for c in able:
        v, w_array, g_array = c.arrays(dtype)  # v is the cotangent of the result, g the layer's input
        bias = np.random.default_rng(c.seed + 2).standard_normal(c.in_channels).astype(dtype)
        g, w, b = _leaves(g_array, w_array, bias)
        y = _function("conv_transpose", c)(g, w, b, c.stride, c.padding, 0, c.groups, c.dilation, output_size=c.size)
        y.backward(minidl.tensor(v))
        per_channel = bias.reshape(-1, *[1] * len(c.size)).astype(float)
        for pass_, got, want in (
            ("input_grad", y.detach(), truth(c, "input_grad", dtype) + per_channel),
            ("forward", g.grad, truth(c, "forward", dtype)),
            ("weight_grad", w.grad, truth(c, "weight_grad", dtype)),
        ):
            assert_within(got.numpy(), want, _bound(c, pass_, dtype), f"transposed conv, {pass_} {dtype}, {c}")
        spatial = (0, *range(2, v.ndim))
        slack = gamma(v.size, dtype) * np.abs(v).sum(spatial)
        assert_within(b.grad.numpy(), v.astype(float).sum(spatial), slack, f"transposed bias gradient, {c}")


def _reached(c: Case) -> bool:
    """A transposed convolution makes only sizes whose last positions some input reaches."""
    return all(
        0 <= low + i + high - ((p - 1) * s + d * (k - 1) + 1) < s
        for i, k, s, (low, high), d, p in zip(c.size, c.kernel, c.stride, c.padding, c.dilation, c.out, strict=True)
    )


def second_derivatives() -> None:
    """The gradient's gradient: T(x, w, g) is linear in each, so all of them are passes again."""
    for c in CASES:
        x_array, w_array, g_array = c.arrays("float64")
        rng = np.random.default_rng(c.seed + 3)
        v, u = rng.standard_normal(c.x_shape), rng.standard_normal(c.w_shape)
        x, w, g = _leaves(x_array, w_array, g_array)
        y = _function("conv", c)(x, w, None, c.stride, c.padding, c.dilation, c.groups)
        dx, dw = minidl.autograd.grad(y, (x, w), g, create_graph=True)
        along = (dx * minidl.tensor(v)).sum() + (dw * minidl.tensor(u)).sum()  # T(v, w, g) + T(x, u, g)
        got = minidl.autograd.grad(along, (x, w, g))
        want = (
            brute_force(c, "input_grad", u, g_array),
            brute_force(c, "weight_grad", v, g_array),
            brute_force(c, "forward", v, w_array) + brute_force(c, "forward", x_array, u),
        )
        for name, first, second in zip("xwg", got, want, strict=True):
            bound = 1e-11 * (1 + np.abs(second).max(initial=0.0))
            assert_within(first.numpy(), second, bound, f"second derivative with respect to {name}, {c}")


CHECKS = (convolution, transposed, second_derivatives)
