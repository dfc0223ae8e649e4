"""Resizing over 1, 2 or 3 axes, axis by axis: x (N, C, *size) -> y (N, C, *out).

On one axis output position p takes the mean of a few input positions with weights, the taps: one for nearest, two
for linear (bilinear and trilinear are linear on each axis in turn), four for cubic, as many as it covers for area
and for what is antialiased.  The gradient adds back along the same taps.

The definition: ``minidl.kernels.resize``, whose functions check the shapes, calls these where nothing faster can.

Sources: Keys 1981, "Cubic convolution interpolation for digital image processing", equation 4, with PyTorch's
a = -0.75; antialiased (where the kernel is as much wider as the image gets smaller) as Pillow and PyTorch do it, with
a = -0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor

import numpy as np

from .. import shape_errors as say
from ..arrays import array_module
from ..errors import ShapeError
from ..geometry import Ints, per_axis

MODES = {
    1: {"nearest": "nearest", "nearest-exact": "exact", "area": "area", "linear": "linear"},
    2: {"nearest": "nearest", "nearest-exact": "exact", "area": "area", "bilinear": "linear", "bicubic": "cubic"},
    3: {"nearest": "nearest", "nearest-exact": "exact", "area": "area", "trilinear": "linear"},
}
"""By the number of axes: the modes by their names in PyTorch, and what each does on one axis."""


@dataclass(frozen=True, slots=True)
class ResizeAxis:
    """From ``size`` to ``out`` positions, ``scale`` input positions per output position."""

    size: int
    out: int
    scale: float


@dataclass(frozen=True, slots=True)
class Resize:
    """One resizing problem; make it with ``from_shape``, which checks.

    >>> Resize.from_shape((1, 3, 5, 4), scale_factor=2.5).y_shape
    (1, 3, 12, 10)
    """

    batch: int
    channels: int
    axes: tuple[ResizeAxis, ...]
    mode: str = "nearest"
    align_corners: bool = False

    @property
    def x_shape(self) -> tuple[int, ...]:
        return (self.batch, self.channels, *(a.size for a in self.axes))

    @property
    def y_shape(self) -> tuple[int, ...]:
        return (self.batch, self.channels, *(a.out for a in self.axes))

    @classmethod
    def from_shape(
        cls,
        x_shape: Sequence[int],
        size: Ints | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
        antialias: bool = False,
    ) -> Resize:
        """By PyTorch's rules for ``interpolate``: ``size`` or ``scale_factor``, not both.

        ``mode`` is "nearest", "nearest-exact", "area", "linear" (3 axes), "bilinear" or "bicubic" (4) or "trilinear"
        (5).
        ``align_corners`` puts the first and last positions of input and output on each other; otherwise positions are
        cells that cover the same length.  With ``scale_factor`` that factor, not the ratio of the sizes, places the
        cells, unless ``recompute_scale_factor``.
        """
        ndim = len(x_shape) - 2
        if ndim not in MODES:
            raise ShapeError(
                f"interpolate: x must be (N, C, L), (N, C, H, W) or (N, C, D, H, W), not of shape {tuple(x_shape)}"
            )
        if mode not in MODES[ndim]:
            *most, last = (f'"{name}"' for name in MODES[ndim])
            raise ShapeError(
                f"interpolate: mode={mode!r} does not go with x of {len(x_shape)} axes, {tuple(x_shape)}, which take "
                f"{', '.join(most)} or {last}"
            )
        if mode in ("nearest", "nearest-exact", "area") and align_corners is not None:
            raise ShapeError(f"interpolate: align_corners has no meaning for mode={mode!r}; leave it out")
        if antialias and mode not in ("bilinear", "bicubic"):
            raise ShapeError(
                f"interpolate: antialias goes with mode='bilinear' and mode='bicubic' only, not with mode={mode!r}"
            )
        if recompute_scale_factor and size is not None:
            raise ShapeError("interpolate: recompute_scale_factor=True says nothing where size is given; leave it out")
        if (size is None) == (scale_factor is None):
            raise ShapeError(
                f"interpolate: give size or scale_factor, one of them, got size={size}, scale_factor={scale_factor}"
            )
        inputs = tuple(x_shape[2:])
        if scale_factor is None:
            outs = per_axis(size, ndim, "size")  # type: ignore[arg-type]
            scales = [i / max(o, 1) for i, o in zip(inputs, outs)]
        else:
            factors = tuple(scale_factor) if isinstance(scale_factor, Sequence) else (scale_factor,) * ndim
            if len(factors) != ndim or min(factors) <= 0:
                raise ShapeError(f"interpolate: scale_factor must be {ndim} positive number(s), got {scale_factor!r}")
            outs = tuple(floor(i * f) for i, f in zip(inputs, factors))
            scales = [1 / f for f in factors]
            if recompute_scale_factor:
                scales = [i / max(o, 1) for i, o in zip(inputs, outs)]
        if min(inputs) < 1 or min(outs) < 1:
            drawn = say.named("x", ["N", "C"], say.INPUT, tuple(x_shape))
            raise ShapeError(f"interpolate: {drawn} cannot become {tuple(outs)}; every size must be at least 1")
        axes = tuple(ResizeAxis(*a) for a in zip(inputs, outs, scales))
        on_each = MODES[ndim][mode] + (" antialiased" if antialias else "")
        return cls(x_shape[0], x_shape[1], axes, on_each, bool(align_corners))


def taps(axis: ResizeAxis, mode: str, align_corners: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """(input position, weight) of each tap, both (out,).

    >>> for position, weight in taps(ResizeAxis(2, 4, 0.5), "linear", False):
    ...     print(position, weight)
    [0 0 0 1] [1.   0.75 0.25 1.  ]
    [1 1 1 1] [0.   0.25 0.75 0.  ]
    """
    p, last = np.arange(axis.out), axis.size - 1
    if mode == "nearest":
        exact = axis.scale == axis.size / axis.out  # then integers decide, free of rounding
        source = p * axis.size // axis.out if exact else np.floor(p * axis.scale).astype(int)
        return [(np.minimum(source, last), np.ones(axis.out))]
    if mode == "exact":  # the input cell that the centre of an output cell lies in
        source = np.floor((p + 0.5) * axis.scale).astype(int)
        return [(np.minimum(source, last), np.ones(axis.out))]
    if mode == "area":
        first, stop = p * axis.size // axis.out, -(-(p + 1) * axis.size // axis.out)
        return _span(first, stop, lambda at: np.ones(axis.out))
    aligned = last / (axis.out - 1) if axis.out > 1 else 0.0
    if mode.endswith("antialiased"):
        scale = aligned if align_corners else axis.scale
        wide, centre = max(scale, 1.0), (p + 0.5) * scale
        reach = wide if mode.startswith("linear") else 2 * wide
        first = np.maximum(np.floor(centre - reach + 0.5), 0).astype(int)
        stop = np.minimum(np.floor(centre + reach + 0.5), axis.size).astype(int)
        kernel = _tent if mode.startswith("linear") else lambda x: _cubic(x, -0.5)
        return _span(first, stop, lambda at: kernel((at + 0.5 - centre) / wide))
    where = p * aligned if align_corners else (p + 0.5) * axis.scale - 0.5
    if mode == "cubic":
        low = np.floor(where).astype(int)
        return [(np.clip(low + k, 0, last), _cubic(where - low - k, -0.75)) for k in (-1, 0, 1, 2)]
    where = np.maximum(where, 0)
    low = np.minimum(where.astype(int), last)
    high = np.minimum(low + 1, last)
    weight = np.where(low < high, where - low, 0.0)
    return [(low, 1 - weight), (high, weight)]


def _span(
    first: np.ndarray, stop: np.ndarray, weigh: Callable[[np.ndarray], np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Taps at first, ..., stop - 1, which may differ in number; weights ``weigh(position)``, made to sum to 1."""
    most = int((stop - first).max())
    drawn = [np.where(first + k < stop, weigh(first + k), 0.0) for k in range(most)]
    total = sum(drawn)
    return [(np.minimum(first + k, stop - 1), w / total) for k, w in enumerate(drawn)]


def _tent(x: np.ndarray) -> np.ndarray:
    return np.maximum(0.0, 1 - np.abs(x))


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel: 1 at 0, 0 at the other whole numbers, smooth; ``a`` is its slope at 1."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def resize(x: np.ndarray, problem: Resize) -> np.ndarray:
    """x (N, C, *size) -> y (N, C, *out), a new array.

    >>> x = np.array([[[1.0, 3.0]]])
    >>> resize(x, Resize.from_shape(x.shape, 4)).tolist()
    [[[1.0, 1.0, 3.0, 3.0]]]
    >>> resize(x, Resize.from_shape(x.shape, 3, mode="linear", align_corners=True)).tolist()
    [[[1.0, 2.0, 3.0]]]
    """
    for i, axis in enumerate(problem.axes, start=2):
        terms = taps(axis, problem.mode, problem.align_corners)
        x = sum(x.take(here(at, x), i) * along(w, i, x) for at, w in terms)  # type: ignore[assignment]
    return x


def resize_grad(g: np.ndarray, problem: Resize) -> np.ndarray:
    """The exact adjoint of ``resize``: g (N, C, *out) -> dx (N, C, *size).

    >>> resize_grad(np.array([[[1.0, 2.0, 3.0]]]), Resize.from_shape((1, 1, 2), 3)).tolist()
    [[[3.0, 3.0]]]
    """
    for i, axis in reversed(list(enumerate(problem.axes, start=2))):
        xp = array_module(g)
        dx = xp.zeros((axis.size, *xp.moveaxis(g, i, 0).shape[1:]), g.dtype)
        for at, w in taps(axis, problem.mode, problem.align_corners):
            xp.add.at(dx, here(at, g), xp.moveaxis(g * along(w, i, g), i, 0))
        g = xp.moveaxis(dx, 0, i)
    return g


def along(weight: np.ndarray, axis: int, x: np.ndarray) -> np.ndarray:
    """(out,) -> (out, 1, 1), in the dtype of x, so that it multiplies along ``axis``."""
    return here(weight.astype(x.dtype), x).reshape(-1, *(1,) * (x.ndim - axis - 1))


def here(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """``a`` where ``x`` lies."""
    return array_module(x).asarray(a)
