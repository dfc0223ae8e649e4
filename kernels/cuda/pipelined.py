"""``implicit_gemm`` on tensor cores, with operands that copies bring beside the program (``pipelined.cu``).

Results are stored channels-last where no ``out`` is given, whatever the operands' order: the next layer then needs no
staging.  What the kernels cannot do well in float32 goes to their twin in ``implicit_gemm``, which is the one to read
first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from .. import layout
from ..arrays import array_module, im2col
from ..cpu.direct_tiles import geometry
from ..errors import UnsupportedError
from ..geometry import Conv
from . import implicit_gemm, parts, staging, windows
from .implicit_gemm import Tile
from .parts import Parts
from .source import function, real

Array = Any

THREADS = 128
RING = 3 * 128  # bytes of shared memory for each row and column of a tile
MOST_TAPS = 31  # on all axes together: a bit for each, and one for none


@dataclass(frozen=True)
class Kind:
    """What is multiplied: C++'s type of the operands, in ``terms`` products, and what people call it."""

    element: str
    terms: int
    name: str
    warpgroup: bool = False  # four warps multiply together, as tensor cores of compute capability 9.0 can

    @property
    def step(self) -> int:
        """Terms that are brought and multiplied at a time."""
        return 8 * staging.vector(self.element)

    def operands(self, pass_: str, conv: Conv) -> Conv:
        """``conv`` with the zeros behind the channels of each group that fill the vectors of what the pass reads."""
        groups, inputs, outputs = conv.groups, conv.in_channels, conv.out_channels
        if pass_ != "input_grad":
            inputs = groups * staging.padded(inputs // groups, self.element)
        if pass_ != "forward":
            outputs = groups * staging.padded(outputs // groups, self.element)
        return replace(conv, in_channels=inputs, out_channels=outputs)

    def obstacle(self, pass_: str, conv: Conv) -> str | None:
        """Why the kernels cannot do this."""
        if (why := implicit_gemm.supports(pass_, conv)) is not None:
            return why
        if (taps := sum(a.taps for a in geometry(conv))) > MOST_TAPS:
            return f"has a bit for each of {MOST_TAPS} taps along the axes, not {taps}"
        return windows.supports(pass_, self.operands(pass_, conv))

    def suits(self, pass_: str, conv: Conv) -> bool:
        """Whether the kernels can, and the zeros do not more than double an operand."""
        wide = self.operands(pass_, conv)
        swollen = wide.in_channels > 2 * conv.in_channels or wide.out_channels > 2 * conv.out_channels
        return not swollen and self.obstacle(pass_, conv) is None


TF32, TF32X3 = Kind("float", 1, "TF32"), Kind("float", 3, "TF32")
BF16, FP16 = Kind("bfloat16", 1, "bfloat16"), Kind("float16", 1, "float16")
BF16_WGMMA, FP16_WGMMA = replace(BF16, warpgroup=True), replace(FP16, warpgroup=True)


def forward(x: Array, w: Array, conv: Conv, out: Array | None = None, kind: Kind = TF32) -> Array:
    """y (N, K, *out) in x's dtype."""
    y = layout.empty_last(conv.y_shape, x) if out is None else out
    if (other := _instead(kind, "forward", x, conv)) is not None:
        return other(x, w, conv, y)
    x_staged, w_staged = staging.image(x, conv.groups, kind.element), staging.image(w, 1, kind.element)
    return parts.correlate(_correlate(kind), "forward", x_staged, w_staged, kind.operands("forward", conv), y)


def input_grad(w: Array, g: Array, conv: Conv, out: Array | None = None, kind: Kind = TF32) -> Array:
    """dx (N, C, *size) in g's dtype."""
    dx = layout.empty_last(conv.x_shape, g) if out is None else out
    if (other := _instead(kind, "input_grad", g, conv)) is not None:
        return other(w, g, conv, dx)
    filters_last = staging.image(w.swapaxes(0, 1), conv.groups, kind.element).swapaxes(0, 1)
    g_staged, wide = staging.image(g, conv.groups, kind.element), kind.operands("input_grad", conv)
    return parts.correlate(_correlate(kind), "input_grad", g_staged, filters_last, wide, dx)


def weight_grad(x: Array, g: Array, conv: Conv, out: Array | None = None, kind: Kind = TF32) -> Array:
    """dw (K, C/G, *kernel) in x's dtype: sums in float32 over slices of the pixels, then over the slices in order."""
    xp = array_module(x)
    dw = xp.empty(conv.w_shape, x.dtype) if out is None else out
    if not dw.size:
        return dw
    if (other := _instead(kind, "weight_grad", x, conv)) is not None:
        return other(x, g, conv, dw)
    x_staged, g_staged = (staging.image(a, conv.groups, kind.element) for a in (x, g))
    wide = kind.operands("weight_grad", conv)
    (problem,) = implicit_gemm.problems("weight_grad", wide)
    real_sizes = np.int32(conv.w_shape[1]), np.int32(conv.out_channels // conv.groups)

    def launch(target: Array, strides: windows.Ints, length: int) -> None:
        window = windows.of_weights(x_staged, g_staged, strides, wide, geometry(conv), length, dw.size)
        arguments = x_staged, g_staged, target, window, *real_sizes
        tiles = prod(problem.tile.count(problem.rows, problem.columns))
        _launch("weight_grad", x, problem.tile, kind, (tiles, 1, conv.groups * problem.slices), arguments)

    return windows.in_slices(launch, dw, conv, problem.slices)


def _correlate(kind: Kind) -> parts.Correlate:
    def launch(x: Array, w: Array, y: Array, of_axes: Parts) -> None:
        groups, columns, depth = w.shape[:3]
        size, slices = implicit_gemm.cut(len(x), groups, columns, depth, of_axes, kind.step)
        tiles = prod(size.count(len(x) * parts.largest(of_axes)[0], columns))
        sums, first = None, y
        if slices > 1:  # each has its own results, which are added in their order
            sums = array_module(y).empty((slices, len(y), *y.shape[2:], y.shape[1]), "float32")
            first = array_module(y).moveaxis(sums[0], -1, 1)
        arguments = x, w, first, parts.problem(x, w, first, of_axes, first.size)
        grid = tiles, parts.count(of_axes), groups * slices
        _launch("correlate", first, size, kind, grid, arguments, parts.strided(of_axes))
        if sums is not None:
            y[...] = array_module(y).moveaxis(sums.sum(axis=0), -1, 1)

    return launch


def _launch(
    name: str,
    like: Array,
    size: Tile,
    kind: Kind,
    grid: windows.Ints,
    arguments: tuple[Any, ...],
    residues: bool = False,
) -> None:
    file = "warpgroup.cu" if kind.warpgroup else "pipelined.cu"
    kernel = function(array_module(like), file, name, own=kind.warpgroup, **macros(size, kind, like.dtype, residues))
    ring = RING * (size.rows + size.columns)
    kernel.max_dynamic_shared_size_bytes = ring  # of the device at hand: above 48 kB a kernel has to ask
    kernel(grid, (THREADS,), arguments, shared_mem=ring)


def macros(size: Tile, kind: Kind, dtype: Any, residues: bool = False) -> dict[str, Any]:
    """What ``pipelined.cu`` is compiled with."""
    return {
        "ROWS": size.rows, "COLUMNS": size.columns, "ELEMENT": kind.element, "TERMS": kind.terms, "RESULT": real(dtype),
        "RESIDUES": residues,
    }  # fmt: skip


def _instead(kind: Kind, pass_: str, like: Array, conv: Conv) -> Callable[..., Array] | None:
    """Who computes what these kernels are not made for; on old cards those that are as accurate."""
    if kind in (FP16, TF32X3) and implicit_gemm.is_old(array_module(like)):
        return getattr(im2col if kind is FP16 else implicit_gemm, pass_)
    if kind.element == "float" and not kind.suits(pass_, conv):
        return partial(getattr(implicit_gemm, pass_), terms=kind.terms)
    implicit_gemm.check_tensor_cores(array_module(like), kind.name)
    if kind.warpgroup:
        _check_warpgroups(array_module(like), kind)
    return None


def _check_warpgroups(xp: Any, kind: Kind) -> None:
    *major, minor = xp.cuda.Device().compute_capability
    if (major, minor) != (["9"], "0"):
        same = "bf16" if kind.element == "bfloat16" else "fp16"
        raise UnsupportedError(
            f"wgmma is an instruction of compute capability 9.0 only, and this card has {''.join(major)}.{minor}: "
            f'algorithm="{same}" multiplies alike'
        )
