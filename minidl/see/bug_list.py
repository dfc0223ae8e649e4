"""Classic bugs of networks written by hand, each switched on by a context manager.

A bug swaps a rule of a primitive (or a function of the engine) in memory and puts the right one back at the end; no
file is touched.  ``breaking.py`` runs the checks and a short training against them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autograd import engine
from ..autograd.examples import Draw
from ..autograd.tape import Listener, Primitive, vjp
from ..kernels import pooling as pooling_kernel
from ..kernels.pooling import Pool
from ..nn import functional as F
from ..ops import conv as conv_ops
from ..ops import pooling as pooling_ops
from ..ops.elementwise import exp, rsqrt
from ..optim import Optimizer
from ..tensor import Tensor


@dataclass(frozen=True)
class Bug:
    """``name`` on the command line, ``title``, the ``story`` behind it; ``apply`` switches it on; ``function`` of
    ``arguments`` shows it to the gradient check; ``definition`` (None: not needed) computes the right result."""

    name: str
    title: str
    story: str
    apply: Callable[[], AbstractContextManager[None]]
    function: Callable[..., Any]
    arguments: tuple[Draw, ...]
    definition: Callable[..., np.ndarray] | None = None


@contextmanager
def swapped(target: Any, **attributes: Any) -> Iterator[None]:
    """``target`` (a module, a class, or a primitive by its name) with other attributes while the context lasts."""
    owner = Primitive.registry[target] if isinstance(target, str) else target
    before = {name: getattr(owner, name) for name in attributes}
    try:
        for name, value in attributes.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


@contextmanager
def _with_rule(primitive: str, position: int, function: Callable[..., Any], uses: str) -> Iterator[None]:
    """With another rule; and with a listener, to whom operations show their steps, the primitive among them."""
    rules = list(Primitive.registry[primitive].rules)
    rules[position] = vjp(function, uses)
    with Listener(), swapped(primitive, rules=tuple(rules)):
        yield


# ---- convolution -------------------------------------------------------------------------------------------------


def _unflipped(g: Any, y: Any, x: Any, w: Any, b: Any, *, conv: Any, algorithm: str | None) -> Any:
    turned = w.flip(tuple(range(2, w.ndim)))
    return conv_ops._input_grad(turned, g, None, conv=conv, algorithm=algorithm)


def _assigned(g: Any, y: Any, x: Any, w: Any, b: Any, *, conv: Any, algorithm: str | None) -> Any:
    """col2im with ``=``: where windows overlap, the last tap wins."""
    dx = np.zeros(x.shape, g.dtype)
    depth, filters = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    cotangent, weights = g.numpy(), w.numpy()
    for group in range(conv.groups):
        channels, outputs = slice(group * depth, (group + 1) * depth), slice(group * filters, (group + 1) * filters)
        for tap in np.ndindex(*conv.kernel):
            windows = [np.array(a.windows_at(t)) for a, t in zip(conv.axes, tap)]
            if not all(len(p) for p in windows):
                continue
            positions = [a.position(p, t) for a, p, t in zip(conv.axes, windows, tap)]
            sent = np.einsum("nk...,kc->nc...", cotangent[:, outputs], weights[(outputs, slice(None), *tap)])
            chosen = sent[(slice(None), slice(None), *np.ix_(*windows))]
            dx[(slice(None), channels, *np.ix_(*positions))] = chosen
    return Tensor._wrap(dx)


def _ones(g: Any, y: Any, x: Any, w: Any, b: Any, *, conv: Any, algorithm: str | None) -> Any:
    return conv_ops._weight_grad(x, g * 0 + 1, conv=conv, algorithm=algorithm)


def _averaged(g: Any, y: Any, x: Any, w: Any, b: Any, *, conv: Any, algorithm: str | None) -> Any:
    return conv_ops._weight_grad(x, g, conv=conv, algorithm=algorithm) / conv.batch


# ---- the engine --------------------------------------------------------------------------------------------------


def _overwrite(pending: dict[Any, Any], slot: Any, gradient: Any) -> None:
    pending[slot] = gradient


class _DepthFirst(list):
    """Nodes in the order in which recursion from the result meets them; backwards still the oldest first."""

    def __reversed__(self) -> Any:
        return iter(sorted(self, key=lambda node: node.id))


def _recursive(roots: Any) -> _DepthFirst:
    order, seen = _DepthFirst(), set()

    def visit(node: Any) -> None:
        if node is None or node.id in seen:
            return
        seen.add(node.id)
        order.append(node)
        for edge in node.edges:
            if edge is not None:
                visit(edge.node)

    for root in roots:
        visit(root._node)
    return order


# ---- pools, activations, norms, losses ---------------------------------------------------------------------------


_RIGHT_MAX_POOL = Primitive.registry["max_pool"].rules[0].function  # type: ignore[union-attr]


def _zero_padded(x: Any, *, pool: Pool) -> Any:
    """The maximum over windows of an input padded with zeros; a winner in the padding is put at the nearest edge."""
    pads = [getattr(a, "pad", (0, 0)) for a in pool.axes]
    padded = np.pad(x, [(0, 0), (0, 0), *pads])
    axes = tuple(type(a)(a.padded, a.kernel, a.stride, (0, 0), a.dilation, a.ceil) for a in pool.axes)  # type: ignore
    values, flat = pooling_kernel.max_pool(padded, Pool(pool.batch, pool.channels, axes))
    places = np.unravel_index(flat, padded.shape[2:])
    inside = [np.clip(p - low, 0, n - 1) for p, (low, _), n in zip(places, pads, x.shape[2:])]
    return values, np.ravel_multi_index(tuple(inside), x.shape[2:]).astype(np.int64)


def _zero_padded_rule(g: Any, y: Any, x: Any, *, pool: Pool) -> Any:
    """Consistent with the wrong forward pass: nothing flows back from a window that padding has won."""
    won = (y[0] != 0).to(g[0].dtype)
    return _RIGHT_MAX_POOL((g[0] * won, None), y, x, pool=pool)


@contextmanager
def _zero_padding() -> Iterator[None]:
    with swapped("max_pool", forward=_zero_padded), _with_rule("max_pool", 0, _zero_padded_rule, "y"):
        yield


def _undivided(g: Any, y: Any, x: Any, *, pool: Any, include_pad: bool, divisor: int | None) -> Any:
    return pooling_ops._avg_pool_grad(g, pool=pool, include_pad=include_pad, divisor=1)


def _frozen(g: Any, y: Any, x: Any, *, needs: Any, axes: Any, eps: float) -> Any:
    return (g[0] * rsqrt(y[2] + eps),)


@contextmanager
def _frozen_statistics() -> Iterator[None]:
    with swapped("standardize", joint=vjp(_frozen, uses="y")):
        yield


def _max_pool_of_definition(x: np.ndarray) -> np.ndarray:
    return pooling_kernel.max_pool(x - 2, Pool.from_shape(x.shape, 3, 2, 1), algorithm="spec")[0]


def _convolved(x: Any, w: Any) -> Any:
    return F.conv2d(x, w, padding=1)


def _skip(h: Any) -> Any:
    """A value that goes on directly and through a branch."""
    return h + h.exp().sin()


def _cross_entropy(x: Any) -> Any:
    from .. import tensor

    return F.cross_entropy(x, tensor([2, 0, 4]), reduction="none")


_X, _W = Draw((3, 2, 5, 4)), Draw((4, 2, 3, 2))

BUGS: tuple[Bug, ...] = (
    Bug(
        "no-flip",
        "filters not flipped in the input gradient",
        "The input gradient of a convolution is a convolution with the filters turned by 180 degrees. Without the turn "
        "it is right for symmetric filters only.",
        lambda: _with_rule("conv", 0, _unflipped, "w"),
        _convolved,
        (_X, _W),
    ),
    Bug(
        "assign",
        "= for += where windows overlap",
        "Each input is read by many windows and must collect what all of them send back. An assignment keeps the last.",
        lambda: _with_rule("conv", 0, _assigned, "w"),
        _convolved,
        (_X, _W),
    ),
    Bug(
        "ones",
        "ones as upstream gradient",
        "The weight gradient ignores what comes from above. A test that sums the outputs sends ones and sees nothing.",
        lambda: _with_rule("conv", 1, _ones, "x"),
        _convolved,
        (_X, _W),
    ),
    Bug(
        "mean-weights",
        "weight gradient divided by the batch",
        "The loss divides by the batch already. Dividing again makes the step of this layer N times too small.",
        lambda: _with_rule("conv", 1, _averaged, "x"),
        _convolved,
        (_X, _W),
    ),
    Bug(
        "fan-out",
        "= for += where a value is used twice",
        "A value that goes two ways (a skip connection) gets the sum of both gradients. An assignment keeps one.",
        lambda: swapped(engine, _accumulate=_overwrite),
        lambda x: x * x.tanh() + x.exp(),
        (Draw((3, 4)),),
    ),
    Bug(
        "recursion",
        "recursion instead of a reverse topological order",
        "Recursion goes on from a value when the first of its users has sent its gradient; what the others send later "
        "is lost.",
        lambda: swapped(engine, _reachable=_recursive),
        lambda x: _skip(x.tanh()),
        (Draw((3, 4)),),
    ),
    Bug(
        "zero-pad",
        "max-pool padded with zero",
        "Padding must never win: it counts as minus infinity. With zeros a window of negative numbers gives 0. The "
        "gradient fits this wrong function, so only a definition of pooling can tell.",
        _zero_padding,
        lambda x: F.max_pool2d(x - 2, 3, 2, 1),  # so that windows of negative numbers occur
        (Draw((2, 2, 5, 4), "distinct"),),
        _max_pool_of_definition,
    ),
    Bug(
        "avg-pool-sum",
        "average pool whose gradient is not divided",
        "Each input of a window of n gets 1/n of its gradient, not all of it.",
        lambda: _with_rule("avg_pool", 0, _undivided, ""),
        lambda x: F.avg_pool2d(x, 2),
        (Draw((2, 2, 4, 6)),),
    ),
    Bug(
        "relu-by-gradient",
        "ReLU that masks by the gradient's sign",
        "The gradient passes where the input was positive. Masking by the gradient itself is the deconvnet's rule, a "
        "picture and no derivative.",
        lambda: _with_rule("relu", 0, lambda g, y, x: g * (g > 0).to(g.dtype), ""),
        lambda x: x.relu(),
        (Draw((3, 4), "distinct"),),
    ),
    Bug(
        "tanh-of-input",
        "derivative of tanh from its input",
        "The derivative is 1 - y*y with the output y; with the input x it is 1 - x*x, which is right near 0 only.",
        lambda: _with_rule("tanh", 0, lambda g, y, x: g * (1 - x * x), "x"),
        lambda x: x.tanh(),
        (Draw((3, 4)),),
    ),
    Bug(
        "softmax-diagonal",
        "softmax differentiated element by element",
        "Every score moves every probability. Taking p(1 - p) alone treats the classes as independent.",
        lambda: _with_rule("log_softmax", 0, lambda g, y, x, *, axis: g * (1 - exp(y)), "y"),
        _cross_entropy,
        (Draw((3, 5)),),
    ),
    Bug(
        "frozen-statistics",
        "normalisation with constant statistics in the gradient",
        "Mean and variance depend on the input too. Without their part the gradient does not know that a shift or a "
        "scale of the input changes nothing.",
        _frozen_statistics,
        lambda x: F.group_norm(x, 2),
        (Draw((2, 4, 3)),),
    ),
    Bug(
        "no-zero-grad",
        "gradients never cleared",
        "Gradients add up over the steps. Each single gradient is right, so no gradient check can see it.",
        lambda: swapped(Optimizer, zero_grad=lambda self, set_to_none=True: None),
        lambda x: x.tanh(),
        (Draw((3, 4)),),
    ),
)  # fmt: skip


def bugs() -> dict[str, Bug]:
    """Every bug that can be switched on, by its name.

    >>> "no-flip" in bugs()
    True
    """
    return {bug.name: bug for bug in BUGS}
