"""What must be true of a convolution with a bias, batch norm, a sum or ReLU behind it; run by tests and mutants."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidl.kernels import activation, norm
from minidl.kernels import conv as kernel
from minidl.kernels.geometry import Conv


class Case(NamedTuple):
    algorithm: str
    batch: int
    channels: int
    size: int
    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1


CASES = (
    Case("nhwc", 2, 5, 9, 7, 3, padding=1),
    Case("winograd", 2, 32, 13, 37, 3, padding=1),
    Case("nhwc", 2, 21, 11, 21, 3, 2, 1, groups=21),
    Case("nhwc", 1, 32, 14, 48, 1),
    Case("nhwc", 2, 12, 6, 12, 3, padding=1, groups=6),  # its groups go to no vector: step by step
    Case("nhwc", 2, 3, 30, 64, 7, 2, 3),
    Case("nhwc", 1, 130, 7, 146, 3, padding=1),  # its last columns make a wider band
    Case("nhwc", 1, 24, 15, 24, 3, padding=1, groups=24),  # runs of pixels
    Case("winograd", 1, 16, 7, 64, 3, padding=1),
    Case("winograd", 1, 16, 7, 32, 3, padding=1, groups=2),
    Case("winograd", 1, 4, 7, 4, 3, padding=1, groups=4),
    Case("nhwc", 2, 12, 6, 10, 3, padding=1, groups=2),
    Case("fft", 2, 5, 19, 37, 7, padding=1),
    Case("fft", 2, 21, 16, 21, 5, 2, 1, groups=21),
    Case("fft", 2, 12, 9, 10, 3, groups=2),  # its groups are computed one after the other: step by step
    Case("im2col", 2, 8, 7, 5, 3),
    Case("direct", 2, 3, 8, 5, 3),
    Case("nhwc", 0, 3, 8, 5, 3),
    Case("nhwc", 2, 0, 8, 5, 3),
)


def _last(a: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)


def operands(case: Case, dtype: str) -> tuple[np.ndarray, np.ndarray, Conv]:
    rng = np.random.default_rng(0)
    x = _last(rng.standard_normal((case.batch, case.channels, case.size, case.size)).astype(dtype))
    depth = case.channels // case.groups
    w = rng.standard_normal((case.filters, depth, case.kernel, case.kernel)).astype(dtype)
    return x, w, Conv.from_shapes(x.shape, w.shape, case.stride, case.padding, 1, case.groups)


def same_bits(case: Case, dtype: str) -> None:
    """Any of the four steps left out, twice (the second time from a program), addends stored in any way."""
    x, w, conv = operands(case, dtype)
    rng = np.random.default_rng(1)
    scale, shift = rng.standard_normal((2, case.filters)).astype(dtype)
    added = rng.standard_normal(conv.y_shape).astype(dtype)
    y = kernel.forward(x, w, conv, case.algorithm)
    for a, b, addend, ceiling in (
        (scale, shift, None, np.inf),
        (scale, shift, _last(added), 6.0),
        (scale, None, added, None),
        (None, shift, np.repeat(_last(added), 2, axis=-1)[..., ::2], np.inf),
        (None, None, None, 0.5),
        (None, None, None, None),
    ):
        want = y.copy() if a is None else norm.scale_shift(y, a, b)
        if a is None and b is not None:
            norm.add_to_channels(want, b)
        want = want if addend is None else activation.add(want, addend)
        if ceiling is not None:
            want = activation.relu(want) if ceiling == np.inf else activation.clip(want, 0.0, ceiling)
        for _ in range(2):
            got = kernel.forward_then(x, w, conv, a, b, addend, ceiling, case.algorithm)
            np.testing.assert_array_equal(got, want)


def not_numbers() -> None:
    """NaN stays, and infinity is cut by a ceiling only."""
    x = np.ones((1, 4, 8, 8), "float32")
    x[0, 0, 3, 3], x[0, 0, 5, 5] = np.nan, np.inf
    w = np.ones((9, 4, 1, 1), "float32")
    conv = Conv.from_shapes(x.shape, w.shape)
    for ceiling, infinite in ((np.inf, np.inf), (6.0, 6.0)):
        y = kernel.forward_then(x, w, conv, ceiling=ceiling, algorithm="nhwc")
        assert np.isnan(y[0, :, 3, 3]).all() and (y[0, :, 5, 5] == infinite).all() and (y[0, :, 0, 0] == 4).all()
