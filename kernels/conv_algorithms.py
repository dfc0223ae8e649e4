"""The convolution kernels of the catalogue: what each can do and what it costs.

The cost model is a handful of constants, times of one current CPU core, rounded from measurements.  It need
not be exact: algorithms differ by factors where the choice matters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod

from .catalogue import Cost, Kernel, register
from .cpu import fft, winograd
from .geometry import Conv

PASSES = ("forward", "input_grad", "weight_grad")


def add(
    algorithm: str,
    module: str,
    supports: Callable[[str, Conv], str | None],
    cost: Callable[[str, Conv, int], Cost],
    passes: tuple[str, ...] = PASSES,
    device: str = "cpu",
    automatic: bool = True,
    exact: bool = True,
    needs_numba: bool = False,
    dtypes: tuple[str, ...] | None = None,
) -> None:
    """Register ``module``'s functions forward, input_grad and weight_grad (or those in ``passes``)."""
    for p in passes:
        register(
            Kernel(
                "conv", p, device, algorithm, module, p, partial(supports, p), partial(cost, p),
                automatic, exact, needs_numba, dtypes,
            )
        )  # fmt: skip


def traffic(conv: Conv, itemsize: int) -> int:
    """Bytes of x, w and y: each read or written once."""
    return itemsize * (prod(conv.x_shape) + prod(conv.w_shape) + prod(conv.y_shape))


def anything(pass_: str, conv: Conv) -> None:
    return None


# spec: the definition --------------------------------------------------------------------------------

SPEC_FLOPS = 5e8


def spec_cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    columns = itemsize * conv.batch * conv.in_channels * prod(conv.out) * prod(conv.kernel)
    padded = itemsize * conv.batch * conv.in_channels * prod(a.padded for a in conv.axes)
    workspace = columns if pass_ == "forward" and conv.groups > 1 else padded
    return Cost(2 * conv.macs, traffic(conv, itemsize), workspace, 2 * conv.macs / SPEC_FLOPS + 1e-4)


add("spec", ".spec.conv", anything, spec_cost, automatic=False)


# im2col: one matrix product per group ----------------------------------------------------------------

GEMM_FLOPS = {4: 1.2e11, 8: 6e10}
GATHER_BYTES = 4e9


def im2col_cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    from .cpu import im2col

    return Cost(2 * conv.macs, traffic(conv, itemsize), im2col.workspace_bytes(pass_, conv, itemsize), 1e-6)


add("im2col", ".cpu.im2col", anything, im2col_cost)


# direct: the definition's loops, compiled ------------------------------------------------------------


def direct_supports(pass_: str, conv: Conv) -> str | None:
    return None if conv.ndim <= 3 else f"has loops for 1 to 3 spatial axes, not {conv.ndim}"


def direct_cost(pass_: str, conv: Conv, itemsize: int) -> Cost:
    return Cost(2 * conv.macs, traffic(conv, itemsize), 0, 2e-6)


add("direct", ".cpu.direct", direct_supports, direct_cost, needs_numba=True, dtypes=("float32", "float64"))


# fft and winograd: see their modules for what they do and cost ---------------------------------------

add("fft", ".cpu.fft", fft.supports, fft.cost, exact=False, dtypes=("float32", "float64"))
add(
    "winograd", ".cpu.winograd", winograd.supports, winograd.cost,
    automatic=False, exact=False, dtypes=("float32", "float64"),
)  # fmt: skip
