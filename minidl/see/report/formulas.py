"""What the report says of an operation: its formula, the derivation of its gradient in the same letters, and its
readable twin."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from ...kernels.spec import conv as conv_spec
from ...kernels.spec import pooling as pooling_spec


class Formula(NamedTuple):
    """The text of one operation; ``twin`` is the readable function that the fast kernels are held against."""

    text: str
    derivation: str
    twin: Callable[..., Any] | None = None


_WINDOW = "i = p * stride + r * dilation - pad, j likewise from q and s; a tap outside of x is padding and counts 0"

_FORMULAS = {
    "conv": Formula(
        f"y[n,k,p,q] = b[k] + sum over c,r,s of x[n,c,i,j] * w[k,c,r,s]\nwith {_WINDOW}",
        "Let g = dL/dy. L depends on each factor through every y that it entered, so by the chain rule\n"
        "  dL/dw[k,c,r,s] = sum over n,p,q of g[n,k,p,q] * x[n,c,i,j]      (dy/dw is the x beside it)\n"
        "  dL/dx[n,c,i,j] = sum over k,r,s of g[n,k,p,q] * w[k,c,r,s]      (over the p,q,r,s that meet in i,j)\n"
        "  dL/db[k]       = sum over n,p,q of g[n,k,p,q]                   (dy/db is 1)",
        conv_spec.forward,
    ),
    "conv_input_grad": Formula(
        f"y[n,c,i,j] = b[c] + sum over k,p,q,r,s of x[n,k,p,q] * w[k,c,r,s]   (the x,w,y of a transposed convolution)\n"
        f"with {_WINDOW}",
        "It is the input gradient of a convolution by another name; with g = dL/dy\n"
        "  dL/dx[n,k,p,q] = sum over c,r,s of g[n,c,i,j] * w[k,c,r,s]      (a convolution of g with w)\n"
        "  dL/dw[k,c,r,s] = sum over n,p,q of g[n,c,i,j] * x[n,k,p,q]",
        conv_spec.input_grad,
    ),
    "max_pool": Formula(
        "y[n,c,p,q] = the largest x[n,c,i,j] of window p,q; of equals the first in reading order",
        "Moving the winner by d moves y by d, moving another one changes nothing: dy/dx is 1 at the winner and 0 "
        "elsewhere.\n  dL/dx[n,c,i,j] = sum of g[n,c,p,q] over the windows that i,j has won",
        pooling_spec.max_pool,
    ),
    "avg_pool": Formula(
        "y[n,c,p,q] = (sum of x[n,c,i,j] over window p,q) / divisor",
        "Every position of a window has the same share, 1 / divisor.\n"
        "  dL/dx[n,c,i,j] = sum of g[n,c,p,q] / divisor over the windows that contain i,j",
        pooling_spec.avg_pool,
    ),
    "matmul": Formula(
        "y[n,m] = sum over k of a[n,k] * b[k,m]",
        "With g = dL/dy:\n  dL/da[n,k] = sum over m of g[n,m] * b[k,m]\n  dL/db[k,m] = sum over n of a[n,k] * g[n,m]",
    ),
    "standardize": Formula(
        "y = (x - mean) / sqrt(variance + eps), both over the axes given (biased variance)",
        "x moves y itself, and the two statistics of its group of m numbers. With r = 1 / sqrt(variance + eps):\n"
        "  dL/dx = r * (g - mean(g) - y * mean(g * y))\n"
        "The second term is the way through the mean, the third that through the variance.",
    ),
    "batch_norm": Formula(
        "y = weight * z + bias with z = (x - mean) / sqrt(variance + eps), mean and variance of each channel over the "
        "batch and all positions",
        "x moves its own z, and the mean and variance of all m numbers of its channel.\n"
        "With r = 1 / sqrt(variance + eps):\n"
        "  dL/dx = weight * r * (g - mean(g) - z * mean(g * z))\n"
        "  dL/dweight = sum of g * z, dL/dbias = sum of g, over the channel",
    ),
    "scale_shift": Formula(
        "y = x * scale + shift, one of each for a channel: batch norm with the statistics that training has gathered",
        "dL/dx = g * scale, dL/dscale = sum of g * x, dL/dshift = sum of g, over the channel",
    ),
    "log_softmax": Formula(
        "y[i] = x[i] - log(sum over j of exp(x[j]))",
        "dy[i]/dx[j] = [i = j] - softmax(x)[j], so\n  dL/dx[j] = g[j] - softmax(x)[j] * (sum over i of g[i])",
    ),
    "softmax": Formula(
        "y[i] = exp(x[i]) / (sum over j of exp(x[j]))",
        "dy[i]/dx[j] = y[i] * ([i = j] - y[j]), so\n  dL/dx[j] = y[j] * (g[j] - sum over i of g[i] * y[i])",
    ),
    "relu": Formula("y = max(x, 0)", "The slope is 1 where x > 0 and 0 elsewhere (at 0 too): dL/dx = g * [x > 0]"),
    "tanh": Formula("y = tanh(x)", "d tanh(x)/dx = 1 - tanh(x)^2: dL/dx = g * (1 - y^2)"),
    "sigmoid": Formula("y = 1 / (1 + exp(-x))", "dy/dx = y * (1 - y): dL/dx = g * y * (1 - y)"),
    "add": Formula(
        "y = a + b (an axis of length 1 counts for every place)",
        "Both slopes are 1: dL/da = g and dL/db = g, summed over the axes that were repeated",
    ),
    "sub": Formula("y = a - b", "dL/da = g, dL/db = -g, summed over the axes that were repeated"),
    "mul": Formula(
        "y = a * b (an axis of length 1 counts for every place)",
        "dL/da = g * b and dL/db = g * a, summed over the axes that were repeated",
    ),
    "div": Formula("y = a / b", "dL/da = g / b and dL/db = -g * y / b, summed over the axes that were repeated"),
    "sum": Formula("y = the sum of x over the axes given", "Every x has slope 1: dL/dx = g, repeated"),
    "mean": Formula("y = the mean of the m numbers of x over the axes given", "dL/dx = g / m, repeated"),
    "cat": Formula("y = the pieces side by side along one axis", "Each piece gets its part of g back"),
}
for _name in ("reshape", "permute", "expand", "flip", "getitem", "clone"):
    _FORMULAS[_name] = Formula(
        "y has numbers of x in other places, unchanged",
        "Each g goes back to the place its number came from; where one was used several times, the sum does",
    )


def formula(op: str) -> dict[str, str] | None:
    """Formula, derivation and source of the twin as text; None for an operation that has no entry."""
    found = _FORMULAS.get(op)
    if found is None:
        return None
    return {
        "text": found.text,
        "derivation": found.derivation,
        "twin": "" if found.twin is None else inspect.getsource(found.twin),
    }
