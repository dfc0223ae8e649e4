"""One convolution by every algorithm, pass by pass: what each computes on the way, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..backend import CPU, Device, on, to_device, usable
from ..cuda import synchronize
from ..kernels import catalogue
from ..kernels.cpu import winograd_tiles
from ..kernels.errors import UnsupportedError
from ..kernels.geometry import Conv, Ints, Padding
from ..kernels.spec import conv as definition
from ..kernels.spec import error_bounds, fft, im2col, winograd
from .shown import Shown

PASSES = ("forward", "input_grad", "weight_grad")
Array = np.ndarray


@dataclass
class Row:
    """One algorithm in one pass.

    ``seconds`` is the fastest of the repeats, measured here; ``flops``, ``bytes`` and ``workspace`` the catalogue's.
    ``error`` is the largest distance from the definition in float64, relative to the largest element of the result;
    ``bound`` the derived bound in the same unit (None where none is derived).  ``reason`` says why it cannot.
    """

    pass_: str
    algorithm: str
    chosen: bool = False
    seconds: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0
    workspace: int = 0
    error: float = 0.0
    bound: float | None = None
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass
class Steps:
    """The named intermediates of one algorithm in one pass, from its readable twin in ``kernels.spec``.

    ``meaning`` says what the axes are.  ``sources`` (im2col) has for each entry of the columns the flat number of the
    pixel in its image (C, H, W) that it is a copy of, -1 for padding.
    """

    pass_: str
    algorithm: str
    arrays: dict[str, Array]
    meaning: str
    sources: Array | None = None

    def to_dict(self, values: bool = False) -> dict[str, Any]:
        arrays = {
            name: {"shape": list(a.shape), "dtype": str(a.dtype), **({"values": _listed(a)} if values else {})}
            for name, a in self.arrays.items()
        }
        sources = None if self.sources is None or not values else self.sources.tolist()
        described = {"pass": self.pass_, "algorithm": self.algorithm, "meaning": self.meaning}
        return {**described, "arrays": arrays, "sources": sources}


@dataclass(repr=False)
class Table(Shown):
    """All algorithms of one convolution; ``rows`` compare them, ``steps`` show what they compute on the way (drawn by
    :class:`Intermediates`).  ``input_shape`` is (C, *size)."""

    problem: str
    rows: list[Row] = field(default_factory=list)
    steps: list[Steps] = field(default_factory=list)
    input_shape: tuple[int, ...] = ()

    def to_dict(self, values: bool = False) -> dict[str, Any]:
        return {
            "problem": self.problem,
            "rows": [r.to_dict() for r in self.rows],
            "steps": [s.to_dict(values) for s in self.steps],
        }

    def __str__(self) -> str:
        from .text import algorithms

        return algorithms(self)


def algorithms(
    x: Any,
    w: Any,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    *,
    g: Any = None,
    repeats: int = 3,
    steps: bool = True,
    device: str | Device = "cpu",
) -> Table:
    """The convolution of x (N, C, *size) with w (K, C/G, *kernel) by every algorithm, in all three passes.

    ``g`` (N, K, *out) is the gradient of the result for the two backward passes, random when None.  Errors are against
    the definition in float64.  ``steps=False`` leaves out the intermediates, which need memory of their own.  The
    kernels are those of ``device``; a time on "cuda" is that of a call until the device has done its work.

    >>> import numpy as np
    >>> table = algorithms(np.ones((1, 1, 4, 4), np.float32), np.ones((1, 1, 3, 3), np.float32), repeats=1)
    >>> sorted({row.algorithm for row in table.rows if row.pass_ == "forward" and not row.reason})[-3:]
    ['nhwc', 'spec', 'winograd']
    >>> next(s for s in table.steps if s.algorithm == "im2col").arrays["columns"].shape
    (1, 1, 9, 4)
    """
    target = usable(device)
    x, w = (_on_the_host(a) for a in (x, w))
    conv = Conv.from_shapes(x.shape, w.shape, stride, padding, dilation, groups)
    if g is None:
        g = np.random.default_rng([0, 1]).standard_normal(conv.y_shape)  # other numbers than those of a seed 0
    g = np.asarray(_on_the_host(g), x.dtype)
    operands = {"forward": (x, w), "input_grad": (w, g), "weight_grad": (x, g)}
    table = Table(str(conv), input_shape=(conv.in_channels, *conv.size))
    for pass_, (a, b) in operands.items():
        truth = getattr(definition, pass_)(a.astype(np.float64), b.astype(np.float64), conv)
        chosen = catalogue.plan("conv", pass_, conv, dtype=x.dtype, device=target.type)
        for kernel, cost in chosen.candidates:
            table.rows.append(_row(pass_, kernel, cost, a, b, conv, truth, repeats, kernel is chosen.kernel, target))
        if steps:
            table.steps += _steps(pass_, a, b, conv)
    return table


def _on_the_host(a: Any) -> Array:
    return a.numpy() if hasattr(a, "_array") else np.asarray(a)


def _row(
    pass_: str,
    kernel: Any,
    cost: Any,
    a: Array,
    b: Array,
    conv: Conv,
    truth: Array,
    repeats: int,
    chosen: bool,
    device: Device,
) -> Row:
    if isinstance(cost, str):
        return Row(pass_, kernel.algorithm, chosen, reason=cost)
    with on(device):
        there = [to_device(operand, device) for operand in (a, b)]
        result, best = kernel.call(*there, conv), float("inf")  # the first call compiles
        for _ in range(max(repeats, 1)):
            _wait(device)
            begin = time.perf_counter()
            result = kernel.call(*there, conv)
            _wait(device)
            best = min(best, time.perf_counter() - begin)
        result = to_device(result, CPU)
    largest = float(np.abs(truth).max(initial=0.0)) or 1.0
    error = float(np.abs(result - truth).max(initial=0.0)) / largest
    return Row(
        pass_, kernel.algorithm, chosen, best, cost.flops, cost.bytes, cost.workspace, error,
        _bound(kernel.algorithm, pass_, a, b, conv, largest),
    )  # fmt: skip


def _wait(device: Device) -> None:
    if device.type == "cuda":
        synchronize(device)


def _bound(algorithm: str, pass_: str, a: Array, b: Array, conv: Conv, largest: float) -> float | None:
    plain = "direct" if algorithm == "nhwc" else algorithm  # another order of the same sum
    options = winograd_tiles.options(pass_, conv) if algorithm == "winograd" else {}
    try:
        limit = error_bounds.error_bound(plain, pass_, a, b, conv, a.dtype, **options)
    except (KeyError, UnsupportedError):
        return None
    return float(limit.max(initial=0.0)) / largest


_IM2COL = "columns (N, G, C/G*R*S, P*Q): one window a column; weights (G, K/G, C/G*R*S); product (N, G, K/G, P*Q)"
_FFT = "X (N, C, freq), W (K, C/G, freq), Y (N, K, freq): the spectra, of which the pass makes the third"
_WINOGRAD = "U transformed filters, V transformed tiles, M their products summed over channels, in tiles (n, n, ...)"


def _steps(pass_: str, a: Array, b: Array, conv: Conv) -> list[Steps]:
    twin: dict[str, Callable[..., Any]] = {
        "forward": im2col.forward_steps, "input_grad": im2col.input_grad_steps, "weight_grad": im2col.weight_grad_steps,
    }  # fmt: skip
    found = [Steps(pass_, "im2col", dict(twin[pass_](a, b, conv).__dict__), _IM2COL, sources(conv))]
    s = getattr(fft, pass_)(a, b, conv)
    found.append(Steps(pass_, "fft", {"X": s.X, "W": s.W, "Y": s.Y, "result": s.result}, _FFT))
    if winograd.unsupported(conv) is None:
        try:
            v = getattr(winograd, pass_)(a, b, conv, 2)
        except UnsupportedError:  # a kernel with more taps than there are points
            return found
        matrices = {
            f"{name}{i}": m.astype(np.float64) for i, t in enumerate(v.transforms) for name, m in t._asdict().items()
        }
        found.append(Steps(pass_, "winograd", {"U": v.U, "V": v.V, "M": v.M, "result": v.Y, **matrices}, _WINOGRAD))
    return found


def sources(conv: Conv) -> Array:
    """Which pixel of its image (C, H, W), flat, each entry of the column matrix is: (G, C/G*R*S, P*Q), padding -1.

    >>> sources(Conv.from_shapes((1, 1, 3), (1, 1, 2), padding=1))[0]
    array([[-1,  0,  1,  2],
           [ 0,  1,  2, -1]])
    """
    pixels = np.arange(1, conv.in_channels * int(np.prod(conv.size)) + 1).reshape(1, conv.in_channels, *conv.size)
    columns = im2col.im2col(pixels, conv.kernel, conv.dilation, conv.padding, conv.stride)[0] - 1
    return columns.reshape(conv.groups, -1, columns.shape[-1])


def _listed(a: Array) -> Any:
    return [a.real.tolist(), a.imag.tolist()] if a.dtype.kind == "c" else a.tolist()
