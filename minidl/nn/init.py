"""Initial values of parameters: the functions of torch.nn.init, with its names and formulas.

Each fills its tensor in place, outside of the graph, and returns it.  The random ones take ``generator=``; without it
the default generator serves (:func:`minidl.manual_seed`).

*fan in* is the number of inputs that one output sees, *fan out* the number of outputs that one input reaches: for a
weight (K, C, R, S) they are C*R*S and K*R*S.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import numpy as np

from .. import random
from ..autograd.mode import no_grad
from ..random import Generator
from ..tensor import Tensor

__all__ = [
    "calculate_gain", "constant_", "dirac_", "eye_", "fan_in_and_fan_out", "kaiming_normal_", "kaiming_uniform_",
    "lecun_normal_", "lecun_uniform_", "normal_", "ones_", "orthogonal_", "sparse_", "trunc_normal_", "uniform_",
    "xavier_normal_", "xavier_uniform_", "zeros_",
]  # fmt: skip

FanMode = Literal["fan_in", "fan_out"]

_LINEAR = ("linear", *(f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)))


F = TypeVar("F", bound=Callable[..., Tensor])


class _Skipping(threading.local):
    """Whether :func:`minidl.nn.utils.skip_init` is in force, one switch a thread."""

    on = False


SKIPPING = _Skipping()


def _initialiser(function: F) -> F:
    """``function(tensor, ...)``, which leaves its tensor alone inside of ``skip_init``."""

    @functools.wraps(function)
    def wrapper(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return tensor if SKIPPING.on else function(tensor, *args, **kwargs)

    return wrapper  # type: ignore[return-value]


def _fill(tensor: Tensor, values: Any) -> Tensor:
    with no_grad():
        return tensor.copy_(values)


def _scaled(drawn: Tensor, scale: float, shift: float) -> Any:
    """``drawn * scale + shift``, in the place of what was drawn: large layers are slow to fill as it is."""
    array = drawn._array
    array *= scale
    if shift:
        array += shift
    return array


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights grow to make up for what ``nonlinearity`` takes from the variance.

    1 for linear layers, convolutions and sigmoid, 5/3 for tanh, sqrt(2) for relu, sqrt(2 / (1 + slope^2)) for
    leaky_relu (``param`` is the slope, 0.01 if None), 3/4 for selu.  He et al. 2015, section 2.2.

    >>> calculate_gain("leaky_relu", 1.0)
    1.0
    """
    if nonlinearity in _LINEAR or nonlinearity == "sigmoid":
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"the slope of leaky_relu must be a number, not {slope!r}")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(
        f"no gain is known for {nonlinearity!r}: use linear, conv2d, sigmoid, tanh, relu, leaky_relu or selu, or pass "
        f"a number "
        "where the initialiser takes gain="
    )


def fan_in_and_fan_out(tensor: Any) -> tuple[int, int]:
    """(fan in, fan out) of a weight (K, C, *kernel).

    >>> import minidl
    >>> fan_in_and_fan_out(minidl.zeros(6, 4, 3, 5))
    (60, 90)
    """
    if tensor.ndim < 2:
        raise ValueError(
            f"fan in and fan out need a weight of at least 2 dimensions, got shape {tensor.shape}: a bias takes "
            f"zeros_ or uniform_"
        )
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def _fan(tensor: Tensor, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode must be 'fan_in' or 'fan_out', not {mode!r}")
    return fan_in_and_fan_out(tensor)[mode == "fan_out"]


# ---- plain distributions ----------------------------------------------------------------------------------------


@_initialiser
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Uniform between ``a`` and ``b``.

    >>> import minidl
    >>> w = minidl.nn.init.uniform_(minidl.zeros(3, 4), -1, 1)
    >>> bool((w.abs() <= 1).all())
    True
    """
    return _fill(tensor, _scaled(random.rand(tensor.shape, dtype=tensor.dtype, generator=generator), b - a, a))


@_initialiser
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Normal with ``mean`` and standard deviation ``std``.

    >>> import minidl
    >>> minidl.nn.init.normal_(minidl.zeros(3, 4), std=0.01).shape
    (3, 4)
    """
    if std < 0:
        raise ValueError(f"a standard deviation cannot be negative, got std={std}")
    return _fill(tensor, _scaled(random.randn(tensor.shape, dtype=tensor.dtype, generator=generator), std, mean))


@_initialiser
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Normal, with values outside of [a, b] (absolute bounds, not multiples of ``std``) drawn again.

    >>> import minidl
    >>> w = minidl.nn.init.trunc_normal_(minidl.zeros(3, 4), a=-1.0, b=1.0)
    >>> bool((w.abs() <= 1).all())
    True
    """
    low, high = (a - mean) / std, (b - mean) / std
    inside = 0.5 * (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)))
    if not inside > 1e-3:
        raise ValueError(
            f"only the share {max(inside, 0):.1e} of a normal distribution with mean {mean} and std {std} lies in "
            f"[{a}, {b}]: move the bounds or the mean (the bounds are values, not multiples of std)"
        )
    rng = random.numpy_generator(generator)
    values = rng.standard_normal(tensor.shape)
    while (outside := (values < low) | (values > high)).any():
        values[outside] = rng.standard_normal(int(outside.sum()))
    return _fill(tensor, np.clip(values * std + mean, a, b))


@_initialiser
def constant_(tensor: Tensor, val: float) -> Tensor:
    """Every element ``val``.

    >>> import minidl
    >>> minidl.nn.init.constant_(minidl.zeros(3), 0.5)
    tensor([0.5, 0.5, 0.5])
    """
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Every element 1.

    >>> import minidl
    >>> minidl.nn.init.ones_(minidl.zeros(3))
    tensor([1., 1., 1.])
    """
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Every element 0.

    >>> import minidl
    >>> minidl.nn.init.zeros_(minidl.ones(3))
    tensor([0., 0., 0.])
    """
    return constant_(tensor, 0.0)


# ---- scaled by fan ----------------------------------------------------------------------------------------------


def _scaled_uniform(tensor: Tensor, std: float, generator: Generator | None) -> Tensor:
    bound = math.sqrt(3.0) * std  # U(-bound, bound) has this standard deviation
    return uniform_(tensor, -bound, bound, generator=generator)


def _xavier_std(tensor: Tensor, gain: float) -> float:
    return gain * math.sqrt(2.0 / max(1, sum(fan_in_and_fan_out(tensor))))


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    return calculate_gain(nonlinearity, a) / math.sqrt(max(1, _fan(tensor, mode)))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """U(-b, b) with b = gain * sqrt(6 / (fan in + fan out)): Glorot and Bengio 2010, eq. 16.

    >>> import minidl
    >>> w = xavier_uniform_(minidl.zeros(20, 10))
    >>> bool((w.abs() <= (6 / 30) ** 0.5).all())
    True
    """
    return _scaled_uniform(tensor, _xavier_std(tensor, gain), generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Normal with std = gain * sqrt(2 / (fan in + fan out)): Glorot and Bengio 2010, eq. 12.

    >>> import minidl
    >>> minidl.nn.init.xavier_normal_(minidl.zeros(3, 4)).shape
    (3, 4)
    """
    return normal_(tensor, 0.0, _xavier_std(tensor, gain), generator=generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: FanMode = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    generator: Generator | None = None,
) -> Tensor:
    """U(-b, b) with b = gain * sqrt(3 / fan): He et al. 2015, section 2.2.  ``a`` is the slope of leaky_relu.

    ``mode="fan_in"`` keeps the variance in the forward pass, ``"fan_out"`` in the backward pass.

    >>> import minidl
    >>> w = minidl.nn.init.kaiming_uniform_(minidl.zeros(3, 6), nonlinearity="relu")
    >>> bool((w.abs() <= 1).all())  # sqrt(2) * sqrt(3 / 6)
    True
    """
    return _scaled_uniform(tensor, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: FanMode = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Normal with std = gain / sqrt(fan): He et al. 2015, eq. 10 and 15.

    >>> import minidl
    >>> minidl.nn.init.kaiming_normal_(minidl.zeros(16, 3, 3, 3), mode="fan_out", nonlinearity="relu").shape
    (16, 3, 3, 3)
    """
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator=generator)


def lecun_uniform_(tensor: Tensor, *, generator: Generator | None = None) -> Tensor:
    """U(-b, b) with b = sqrt(3 / fan in): LeCun et al. 1998, "Efficient BackProp", section 4.6.

    >>> import minidl
    >>> w = minidl.nn.init.lecun_uniform_(minidl.zeros(5, 3))
    >>> bool((w.abs() <= 1).all())
    True
    """
    return _scaled_uniform(tensor, 1 / math.sqrt(max(1, _fan(tensor, "fan_in"))), generator)


def lecun_normal_(tensor: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Normal with std = 1 / sqrt(fan in): LeCun et al. 1998, "Efficient BackProp", section 4.6.

    >>> import minidl
    >>> minidl.nn.init.lecun_normal_(minidl.zeros(5, 3)).shape
    (5, 3)
    """
    return normal_(tensor, 0.0, 1 / math.sqrt(max(1, _fan(tensor, "fan_in"))), generator=generator)


# ---- matrices with a structure ----------------------------------------------------------------------------------


@_initialiser
def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix, as far as the shape of the 2-d ``tensor`` goes.

    >>> import minidl
    >>> minidl.nn.init.eye_(minidl.zeros(2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    if tensor.ndim != 2:
        raise ValueError(f"eye_ fills matrices, not a tensor of shape {tensor.shape}")
    return _fill(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


@_initialiser
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution weight (K, C/G, *kernel) that copies its input channels, as many as there are.

    >>> import minidl
    >>> w = dirac_(minidl.zeros(3, 3, 3, 3))
    >>> x = minidl.arange(75.0).reshape(1, 3, 5, 5)
    >>> bool((minidl.nn.functional.conv2d(x, w, padding=1) == x).all())
    True
    """
    if tensor.ndim not in (3, 4, 5):
        raise ValueError(
            f"dirac_ fills weights of convolutions (3 to 5 dimensions), not a tensor of shape {tensor.shape}"
        )
    out_channels, in_channels = tensor.shape[:2]
    if out_channels % groups:
        raise ValueError(f"{groups} groups do not divide {out_channels} output channels")
    values = np.zeros(tensor.shape)
    centre = tuple(size // 2 for size in tensor.shape[2:])
    for group in range(groups):
        first = group * (out_channels // groups)
        for channel in range(min(out_channels // groups, in_channels)):
            values[(first + channel, channel, *centre)] = 1
    return _fill(tensor, values)


@_initialiser
def orthogonal_(tensor: Tensor, gain: float = 1, *, generator: Generator | None = None) -> Tensor:
    """Orthonormal rows (or columns, whichever are fewer) times ``gain``; axes after the first are taken together.

    The Q of a QR decomposition of a normal matrix, its signs fixed so that it is uniformly distributed: Saxe et al.
    2014.

    >>> import minidl
    >>> w = minidl.nn.init.orthogonal_(minidl.zeros(2, 3))
    >>> bool(((w @ w.t() - minidl.eye(2)).abs() < 1e-5).all())
    True
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_ needs at least 2 dimensions, got shape {tensor.shape}")
    if tensor.numel() == 0:
        return tensor
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    flat = random.numpy_generator(generator).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(flat)
    q *= np.sign(np.diag(r))
    return _fill(tensor, gain * (q.T if rows < columns else q).reshape(tensor.shape))


@_initialiser
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, *, generator: Generator | None = None) -> Tensor:
    """Normal with ``std``, and the share ``sparsity`` of each column set to zero: Martens 2010, section 5.

    >>> import minidl
    >>> w = minidl.nn.init.sparse_(minidl.zeros(10, 3), sparsity=0.4)
    >>> (w == 0).sum(0)
    tensor([4, 4, 4])
    """
    if tensor.ndim != 2:
        raise ValueError(f"sparse_ fills matrices, not a tensor of shape {tensor.shape}")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity is the share of zeros, between 0 and 1, got {sparsity}")
    rng = random.numpy_generator(generator)
    rows, columns = tensor.shape
    values = rng.standard_normal((rows, columns)) * std
    zeros = math.ceil(sparsity * rows)
    for column in range(columns):
        values[rng.permutation(rows)[:zeros], column] = 0
    return _fill(tensor, values)
