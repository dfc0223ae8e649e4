"""What the convolution mutants share: the checks that face them, and bugs that fit any algorithm."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tests.checks import conv as checks

from ..framework import Mutant

SPEC = (partial(checks.spec_is_the_definition, "float64"), checks.complex_step)
IM2COL_TWIN = (partial(checks.im2col_twin, "float64"),)
FFT_TWIN = (partial(checks.fft_twin, "float64"),)
WINOGRAD_TWIN = (partial(checks.winograd_twin, "float64"),)


CHECKS = (checks.agreement, checks.in_pieces, checks.manners, checks.layouts, checks.empty, checks.same_bits)


def promises(algorithm: str, name: str = "", dtype: str = "float64") -> tuple[Callable[[], object], ...]:
    """Every check that tests/kernels/test_conv_kernels.py runs on one algorithm, the quickest verdict first.

    A bug whose name says that it is in one gradient faces the checks of that pass only, which saves time.
    """
    pass_ = {"B_gx": "input_grad", "B_gw": "weight_grad"}.get(name[:4])
    arguments = (algorithm, dtype) if pass_ is None else (algorithm, dtype, (pass_,))
    return (*(partial(check, *arguments) for check in CHECKS), partial(checks.trilinear, algorithm, dtype))


# bugs of any algorithm: the true kernel, and something done to what goes in or comes out --------------------------

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


def _of_result(change: Callable[[np.ndarray, Any], np.ndarray]) -> Wrap:
    """The kernel's result, changed."""

    def wrap(true: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(first: Any, second: Any, conv: Any, out: Any = None) -> Any:
            result = true(first, second, conv, out=out)
            result[...] = change(result.copy(), conv)
            return result

        return wrong

    return wrap


def _of_cotangent(change: Callable[[np.ndarray], np.ndarray]) -> Wrap:
    """The kernel, given a changed upstream gradient."""
    return lambda true: lambda first, g, conv, out=None: true(first, change(g), conv, out=out)


def _of_problem(change: Callable[[Any], Any]) -> Wrap:
    """The kernel, told another geometry."""
    return lambda true: lambda first, g, conv, out=None: true(first, g, change(conv), out=out)


def of_every_second_result(true: Callable[..., Any]) -> Callable[..., Any]:
    """The last bit of every second result."""
    calls = itertools.count()

    def wrong(first: Any, second: Any, conv: Any, out: Any = None) -> Any:
        result = true(first, second, conv, out=out)
        if next(calls) % 2:
            result[...] = np.nextafter(result, np.inf)
        return result

    return wrong


def _flip(a: np.ndarray, conv: Any) -> np.ndarray:
    return np.flip(a, tuple(range(2, a.ndim)))


def _last_pixel_zero(a: np.ndarray, conv: Any) -> np.ndarray:
    a[(..., *[-1] * conv.ndim)] = 0
    return a


def _transposed(g: np.ndarray) -> np.ndarray:
    square = g.ndim == 4 and g.shape[2] == g.shape[3]
    return g.swapaxes(2, 3) if square else g


def _mean(g: np.ndarray) -> np.ndarray:
    axes = tuple(range(2, g.ndim))
    return np.broadcast_to(g.mean(axes, keepdims=True), g.shape)


def _flattened(g: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(g, 1, -1)).reshape(g.shape)


def anywhere(algorithm: str, module: str) -> tuple[Mutant, ...]:
    """The bugs that do not depend on how an algorithm works."""
    bugs: tuple[tuple[str, str, str, Wrap], ...] = (
        (
            "B_gx_gy_spatially_transposed",
            "input_grad",
            "height and width of a square upstream gradient exchanged",
            _of_cotangent(_transposed),
        ),
        (
            "B_gx_uses_mean_gy",
            "input_grad",
            "the mean of the upstream gradient for the gradient",
            _of_cotangent(_mean),
        ),
        (
            "B_gx_ignores_gy(ones)",
            "input_grad",
            "the gradient of the sum, whatever comes from above",
            _of_cotangent(np.ones_like),
        ),
        (
            "B_gw_ignores_gy(ones)",
            "weight_grad",
            "the gradient of the sum, whatever comes from above",
            _of_cotangent(np.ones_like),
        ),
        (
            "B_gy_flattened_without_transpose",
            "input_grad",
            "the upstream gradient read as (N, P, Q, K) without moving its axes",
            _of_cotangent(_flattened),
        ),
        (
            "B_gw_flipped_180",
            "weight_grad",
            "the right weight gradient, turned by 180 degrees",
            _of_result(_flip),
        ),
        (
            "B_gw_divided_by_N",
            "weight_grad",
            "mean over the batch for the sum",
            _of_result(lambda dw, conv: dw / max(conv.batch, 1)),
        ),
        (
            "B_gx_last_pixel_zero",
            "input_grad",
            "the last position is not reached",
            _of_result(_last_pixel_zero),
        ),
        ("B_gx_off_by_0.3%", "input_grad", "a scale factor", _of_result(lambda dx, conv: dx * 1.003)),
        ("F_off_by_rounding", "forward", "32-bit sums of 64-bit numbers", _of_result(_in_half_the_bits)),
    )
    return tuple(
        Mutant(f"{name}/{algorithm}", f"{module}:{function}", promises(algorithm, name), story, replace=wrap)
        for name, function, story, wrap in bugs
    )


def _in_half_the_bits(y: np.ndarray, conv: Any) -> np.ndarray:
    return y.astype("float32" if y.dtype == "float64" else "float16")
