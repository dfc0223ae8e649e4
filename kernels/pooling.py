"""Pooling: maximum, average and adaptive windows over 1, 2 or 3 axes; max-unpooling; maximum over channels.

``Pool`` says where the windows lie.  The functions run on the Numba kernels of ``cpu/pooling.py`` for float32 and
float64 where Numba is installed, on ``cuda/pooling.py`` where the arrays are CuPy's, and on the definitions of
``spec/pooling.py`` otherwise; ``algorithm="numba"``, ``"spec"``, ``"cuda"`` or ``"arrays"`` forces one.  Arrays in,
arrays out: x (N, C, *size), y (N, C, *out).  Results of the kernels lie channels last when the input does.

An average is linear, so ``avg_pool_grad`` is its exact adjoint.  A maximum is not, but once the winners are known it
only copies: ``gather`` reads the winners, ``max_pool_grad`` adds back to them, and the two are adjoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from math import prod
from types import ModuleType

import numpy as np

from . import shape_errors as say
from .arrays import device_of
from .choice import compiles
from .errors import ShapeError, UnsupportedError
from .geometry import Axis, Ints, Padding, integer, per_axis, per_axis_pads
from .jit import HAVE_NUMBA

MODULES = {
    "cpu": {"numba": ".cpu.pooling", "spec": ".spec.pooling", "arrays": ".arrays.pooling"},
    "cuda": {"cuda": ".cuda.pooling", "arrays": ".arrays.pooling"},  # the first of a device is its choice
}


@dataclass(frozen=True, slots=True)
class AdaptiveAxis:
    """``out`` windows that share an axis as evenly as integers allow.

    Window p reads from ``floor(p * size / out)`` up to, not including, ``ceil((p + 1) * size / out)``: neighbours
    overlap by one position where ``out`` does not divide ``size``.
    """

    size: int
    out: int


@dataclass(frozen=True, slots=True)
class Pool:
    """Where the windows of one pooling problem lie; make it with ``from_shape`` or ``adaptive``, which check.

    >>> Pool.from_shape((8, 3, 7, 9), kernel_size=3, stride=2, ceil_mode=True).out
    (3, 4)
    >>> Pool.adaptive((8, 3, 7, 9), (2, None)).out
    (2, 9)
    """

    batch: int
    channels: int
    axes: tuple[Axis | AdaptiveAxis, ...]

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.axes)

    @property
    def size(self) -> tuple[int, ...]:
        """Spatial input size (H, W)."""
        return tuple(a.size for a in self.axes)

    @property
    def out(self) -> tuple[int, ...]:
        """Spatial output size (P, Q)."""
        return _out(self.axes)

    @property
    def x_shape(self) -> tuple[int, ...]:
        return (self.batch, self.channels, *self.size)

    @property
    def y_shape(self) -> tuple[int, ...]:
        return (self.batch, self.channels, *self.out)

    @classmethod
    def from_shape(
        cls,
        x_shape: Sequence[int],
        kernel_size: Ints,
        stride: Ints | None = None,
        padding: Padding = 0,
        dilation: Ints = 1,
        ceil_mode: bool = False,
        *,
        op: str = "pooling",
        ndim: int | None = None,
    ) -> Pool:
        """Windows of one size at one distance, by PyTorch's rules.

        ``stride=None`` means the kernel's size.  ``padding`` is one integer, one per axis, or one (low, high) pair
        per axis, each at most half the kernel.  ``ceil_mode`` adds a window over leftover input, unless it would
        begin in the high padding.  ``ndim`` asks for that many spatial axes; ``op`` names the op in errors.
        Raises ShapeError with the arithmetic when the windows do not fit.
        """
        n, c, size = _split(x_shape, op, ndim)
        ndim = len(size)
        kernel = per_axis(kernel_size, ndim, "kernel_size", op)
        strides = kernel if stride is None else per_axis(stride, ndim, "stride", op)
        steps = per_axis(dilation, ndim, "dilation", op)
        for name, values in (("kernel_size", kernel), ("stride", strides), ("dilation", steps)):
            if min(values) < 1:
                raise say.too_small(op, name, values, 1)
        pads = per_axis_pads(padding, op, kernel, strides, steps)
        axes = tuple(Axis(*a, ceil_mode) for a in zip(size, kernel, strides, pads, steps))
        lines = [_drawn("x", x_shape), f"kernel_size = {kernel}, stride = {strides}"]
        for i in range(ndim):
            _check_axis(op, axes, i, lines)
        return cls(n, c, axes)

    @classmethod
    def adaptive(
        cls,
        x_shape: Sequence[int],
        output_size: int | Sequence[int | None] | None,
        *,
        op: str = "adaptive pooling",
        ndim: int | None = None,
    ) -> Pool:
        """``output_size`` windows per axis, whatever the input's size; None keeps an axis, 1 pools all of it."""
        n, c, size = _split(x_shape, op, ndim)
        wanted = tuple(output_size) if isinstance(output_size, Sequence) else (output_size,) * len(size)
        if len(wanted) != len(size):
            raise say.wrong_length("output_size", len(size), output_size)
        out = tuple(s if o is None else integer(o, "output_size", op) for s, o in zip(size, wanted))
        if min(out) < 0 or min(size) == 0:
            raise ShapeError(f"{op}: cannot share {_drawn('x', x_shape)} among output_size = {out} windows")
        return cls(n, c, tuple(AdaptiveAxis(s, o) for s, o in zip(size, out)))


def max_pool(
    x: np.ndarray,
    pool: Pool,
    *,
    out: tuple[np.ndarray, np.ndarray] | None = None,
    algorithm: str | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The largest value of each window and where it stood: x (N, C, *size) -> values, indices (N, C, *out).

    Padding counts as minus infinity.  Of equal values the first in row-major order wins.  A NaN wins against every
    number (of several, the last is named): all as in PyTorch.  ``indices`` (integers) are flat positions in the
    spatial plane of x, so ``indices // W, indices % W`` are row and column.  ``out`` = (values, indices) buffers.

    >>> x = np.array([[[[1.0, 4.0, 4.0], [2.0, 4.0, 0.0]]]])
    >>> values, indices = max_pool(x, Pool.from_shape(x.shape, 2, stride=1))
    >>> values.tolist(), indices.tolist()
    ([[[[4.0, 4.0]]]], [[[[1, 1]]]])
    """
    _expect("x", x, pool.x_shape)
    for name, buffer in zip(("out[0] (values)", "out[1] (indices)"), out or ()):
        _expect(name, buffer, pool.y_shape)
    return _module(algorithm, x).max_pool(x, pool, out)


def max_values(x: np.ndarray, pool: Pool, *, algorithm: str | None = None) -> np.ndarray:
    """The values of ``max_pool`` without the places, which take as long to keep as the values.

    >>> x = np.array([[[[1.0, 4.0, 4.0], [2.0, 4.0, 0.0]]]])
    >>> max_values(x, Pool.from_shape(x.shape, 2, stride=1)).tolist()
    [[[[4.0, 4.0]]]]
    """
    _expect("x", x, pool.x_shape)
    module = _module(algorithm, x)
    alone = getattr(module, "max_values", None)  # of the compiled ones for the CPU
    return alone(x, pool) if alone else module.max_pool(x, pool)[0]


def max_pool_grad(
    g: np.ndarray,
    indices: np.ndarray,
    x_shape: Sequence[int],
    *,
    out: np.ndarray | None = None,
    algorithm: str | None = None,
    pool: Pool | None = None,
) -> np.ndarray:
    """Adds each g (N, C, *out) to the position that won its window: dx (N, C, *size); adjoint of ``gather``.

    Overlapping windows may share a winner; its contributions add up.  ``pool``, where the windows lay, spares a search
    for the winners; each must lie in its window then.

    >>> g, indices = np.array([[[1.0, 10.0]]]), np.array([[[1, 1]]])
    >>> max_pool_grad(g, indices, (1, 1, 4)).tolist()
    [[[0.0, 11.0, 0.0, 0.0]]]
    """
    _expect("indices", indices, g.shape)
    _expect_planes(g, tuple(x_shape))
    if out is not None:
        _expect("out", out, tuple(x_shape))
    return _module(algorithm, g).max_pool_grad(g, indices, tuple(x_shape), out, pool)


def gather(
    u: np.ndarray, indices: np.ndarray, *, out: np.ndarray | None = None, algorithm: str | None = None
) -> np.ndarray:
    """Reads u (N, C, *size) at flat spatial ``indices`` (N, C, *out) -> y (N, C, *out).

    With the indices of ``max_pool`` this is the pooling itself, frozen at its winners: its derivative in the
    direction u, and the gradient of ``max_pool_grad``.

    >>> gather(np.array([[[5.0, 6.0, 7.0]]]), np.array([[[2, 0]]])).tolist()
    [[[7.0, 5.0]]]
    """
    _expect_planes(indices, u.shape)
    if out is not None:
        _expect("out", out, indices.shape)
    return _module(algorithm, u).gather(u, indices, out)


def max_unpool(
    x: np.ndarray,
    indices: np.ndarray,
    output_size: Sequence[int],
    *,
    out: np.ndarray | None = None,
    algorithm: str | None = None,
) -> np.ndarray:
    """Puts each x (N, C, *out) back at its index in a plane of zeros of ``output_size``: (N, C, *output_size).

    Values are assigned, not added: where two indices are equal the later one in row-major order stays.  The
    gradient is ``gather(g, indices)``.  Raises ShapeError for an index outside the plane.

    >>> max_unpool(np.array([[[5.0, 6.0]]]), np.array([[[3, 0]]]), (4,)).tolist()
    [[[6.0, 0.0, 0.0, 5.0]]]
    """
    _expect("indices", indices, x.shape)
    shape = (*x.shape[:2], *per_axis(output_size, x.ndim - 2, "output_size"))
    if out is not None:
        _expect("out", out, shape)
    return _module(algorithm, x).max_unpool(x, indices, shape, out)


def avg_pool(
    x: np.ndarray,
    pool: Pool,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: np.ndarray | None = None,
    algorithm: str | None = None,
) -> np.ndarray:
    """The mean of each window: x (N, C, *size) -> y (N, C, *out).

    The sum is divided by the number of taps inside the padded input (so a window that hangs over it, under the
    ceil rule, divides by less than the kernel), by the number inside the input itself with
    ``count_include_pad=False``, or by ``divisor_override`` (1 gives the sum).  All as in PyTorch.

    >>> x = np.array([[[2.0, 4.0, 6.0]]])
    >>> pool = Pool.from_shape(x.shape, 2, padding=1)
    >>> avg_pool(x, pool).tolist(), avg_pool(x, pool, count_include_pad=False).tolist()
    ([[[1.0, 5.0]]], [[[2.0, 5.0]]])
    """
    _expect("x", x, pool.x_shape)
    _check_divisor(divisor_override)
    if out is not None:
        _expect("out", out, pool.y_shape)
    return _module(algorithm, x).avg_pool(x, pool, count_include_pad, divisor_override, out)


def avg_pool_grad(
    g: np.ndarray,
    pool: Pool,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: np.ndarray | None = None,
    algorithm: str | None = None,
) -> np.ndarray:
    """The adjoint of ``avg_pool``: each position gets its share of every window that holds it, dx (N, C, *size).

    >>> pool = Pool.from_shape((1, 1, 5), 3, stride=2)
    >>> avg_pool_grad(np.array([[[3.0, 6.0]]]), pool).tolist()
    [[[1.0, 1.0, 3.0, 2.0, 2.0]]]
    """
    _expect("g", g, pool.y_shape)
    _check_divisor(divisor_override)
    if out is not None:
        _expect("out", out, pool.x_shape)
    return _module(algorithm, g).avg_pool_grad(g, pool, count_include_pad, divisor_override, out)


def channel_max(x: np.ndarray, pool: int, *, algorithm: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The largest of each ``pool`` consecutive channels: x (N, C, *size) -> values, indices (N, C/pool, *size).

    The maxout unit of Goodfellow et al., "Maxout Networks" (2013), section 2.  ``indices`` are channel numbers of
    x; ties and NaN as in ``max_pool``.

    >>> values, indices = channel_max(np.array([[[1.0], [5.0], [7.0], [2.0]]]), 2)
    >>> values.tolist(), indices.tolist()
    ([[[5.0], [7.0]]], [[[1], [2]]])
    """
    if pool < 1 or x.ndim < 2 or x.shape[1] % pool:
        channels = x.shape[1] if x.ndim > 1 else 0
        raise ShapeError(
            f"maxout takes the maximum of groups of {pool} channels, which must divide C: x is {x.shape}, "
            f"{channels} = {channels // max(pool, 1)} * {pool} + {channels % max(pool, 1)}. "
            f"Give the layer below a multiple of {pool} output channels."
        )
    rows = _channels_as_plane(x)  # (N, L, C)
    windows = Pool(rows.shape[0], rows.shape[1], (Axis(x.shape[1], pool, stride=pool),))
    shape = (x.shape[0], x.shape[1] // pool, *x.shape[2:])
    values, indices = max_pool(rows, windows, algorithm=algorithm)  # (N, L, C/pool)
    return values.swapaxes(1, 2).reshape(shape), indices.swapaxes(1, 2).reshape(shape)


def channel_max_grad(
    g: np.ndarray, indices: np.ndarray, x_shape: Sequence[int], *, algorithm: str | None = None
) -> np.ndarray:
    """Adds each g (N, C/pool, *size) to the channel that won: dx (N, C, *size); adjoint of ``channel_gather``."""
    _expect("indices", indices, g.shape)
    n, c, *size = x_shape
    rows = max_pool_grad(
        _channels_as_plane(g), _channels_as_plane(indices), (n, prod(size), c), algorithm=algorithm
    )  # (N, L, C)
    return rows.swapaxes(1, 2).reshape(n, c, *size)


def channel_gather(u: np.ndarray, indices: np.ndarray, *, algorithm: str | None = None) -> np.ndarray:
    """Reads u (N, C, *size) at the channel numbers of ``channel_max``: (N, C/pool, *size)."""
    rows = gather(_channels_as_plane(u), _channels_as_plane(indices), algorithm=algorithm)
    return rows.swapaxes(1, 2).reshape(indices.shape)


def check_indices(indices: np.ndarray, x_shape: tuple[int, ...]) -> None:
    """Raises ShapeError for a flat index outside the spatial plane of ``x_shape`` (N, C, *size)."""
    size = prod(x_shape[2:])
    outside = (indices < 0) | (indices >= size)
    if outside.any():
        where = tuple(int(i) for i in np.argwhere(outside)[0])
        raise ShapeError(
            f"indices{list(where)} = {int(indices[where])} lies outside a plane of {_product(x_shape[2:])} "
            f"positions (0 to {size - 1}). The indices belong to a larger input: unpool to the spatial size that "
            f"went into max_pool (output_size=x.shape[2:])."
        )


def _module(algorithm: str | None, array: np.ndarray) -> ModuleType:
    """The module of an algorithm, or of the fastest one where ``array`` lies."""
    device = device_of(array)
    modules = MODULES[device]
    if algorithm is None:
        algorithm = "spec" if device == "cpu" and not compiles(array) else next(iter(modules))
    if algorithm == "numba" and not compiles(array):
        reason = f"cannot compute in {array.dtype.str}" if HAVE_NUMBA else "needs Numba, which is not installed"
        raise UnsupportedError(f"pooling: algorithm 'numba' {reason}; 'spec' can")
    if algorithm not in modules:
        raise UnsupportedError(f"pooling has no algorithm {algorithm!r} on {device}; it has {', '.join(modules)}")
    return _imported(modules[algorithm])


@cache
def _imported(name: str) -> ModuleType:
    return import_module(name, __package__)


@lru_cache(maxsize=4096)
def _out(axes: tuple[Axis | AdaptiveAxis, ...]) -> tuple[int, ...]:
    return tuple(a.out for a in axes)


def _channels_as_plane(x: np.ndarray) -> np.ndarray:
    """(N, C, *size) -> (N, L, C): pooling over channels is pooling along an axis of a row."""
    return x.reshape(*x.shape[:2], prod(x.shape[2:])).swapaxes(1, 2)


def _split(x_shape: Sequence[int], op: str, ndim: int | None) -> tuple[int, int, tuple[int, ...]]:
    """(N, C, *size) -> N, C, size."""
    if len(x_shape) not in ((3, 4, 5) if ndim is None else (ndim + 2,)):
        ranks = [ndim] if ndim else [1, 2, 3]
        wanted = " or ".join(f"({', '.join(['N', 'C', *say.letters(say.INPUT, r)])})" for r in ranks)
        cause = "x has too many axes or too few for this op"
        if len(x_shape) == min(ranks) + 1:
            cause = "the batch axis is missing (x.unsqueeze(0)), or the channel axis (x.unsqueeze(1))"
        raise say.message(f"{op}: x must be {wanted}.", [f"x has {len(x_shape)} axes: {tuple(x_shape)}"], cause)
    n, c, *size = (int(s) for s in x_shape)
    return n, c, tuple(size)


def _check_axis(op: str, axes: Sequence[Axis], i: int, lines: list[str]) -> None:
    axis, letter = axes[i], say.letters(say.INPUT, len(axes))[i]
    half = axis.kernel // 2
    if min(axis.pad) < 0 or max(axis.pad) > half:
        low, high = axis.pad
        raise say.message(
            f"{op}: padding along {letter} may be 0 to half the kernel, else some windows hold padding only.",
            [*lines, f"padding (low, high) = ({low}, {high}), kernel // 2 = {axis.kernel} // 2 = {half}"],
            f"padding={half} is the most for this kernel; pad x itself for more",
        )
    if axis.size < 1 or axis.out < 1:
        sizes = tuple(a.size for a in axes)
        raise say.no_window(op, lines, i, sizes, axis.kernel, axis.stride, axis.pad, axis.dilation)
    if axis.dilation == 1:
        return
    for p in range(axis.out):  # PyTorch lets this pass and returns an index outside the plane
        reads = [axis.position(p, t) for t in range(axis.kernel)]
        if not any(0 <= r < axis.size for r in reads):
            raise say.message(
                f"{op}: window {p} along {letter} reads nothing but padding.",
                [*lines, f"it reads positions {reads}, the input has 0..{axis.size - 1}"],
                f"dilation = {axis.dilation} steps over the whole input; use a smaller one, or less padding",
            )


def _check_divisor(divisor: int | None) -> None:
    if divisor == 0:
        raise ShapeError("divisor_override=0 would divide every window by zero; None divides by its size")


def _expect(name: str, array: np.ndarray, shape: Sequence[int]) -> None:
    if array.shape != tuple(shape):
        raise ShapeError(f"pooling: {_drawn(name, array.shape)}, but this window needs {tuple(shape)}")


def _expect_planes(array: np.ndarray, x_shape: Sequence[int]) -> None:
    if array.ndim != len(x_shape) or array.shape[:2] != tuple(x_shape[:2]):
        raise ShapeError(
            f"pooling: windows {array.shape} and input {tuple(x_shape)} must agree in N and C and in their "
            f"number of axes"
        )


def _drawn(name: str, shape: Sequence[int]) -> str:
    return say.named(name, ["N", "C"], say.INPUT, tuple(shape))


def _product(size: Sequence[int]) -> str:
    return f"{' * '.join(map(str, size))} = {prod(size)}" if len(size) > 1 else f"{prod(size)}"
