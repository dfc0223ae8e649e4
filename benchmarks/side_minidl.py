"""Our side: ``python -m benchmarks.side_minidl THREADS``, started by ``conv.py``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import minidl
from minidl.kernels import conv as kernels
from minidl.kernels import memory
from minidl.kernels.cpu.relayout import empty_last
from minidl.kernels.geometry import Conv

from . import stamp
from .shapes import Layer
from .sides import Side, operands, serve


def problem(layer: Layer) -> Conv:
    """The geometry; of a transposed layer, the convolution whose input gradient it is."""
    if layer.transposed:
        return Conv.transposed(
            layer.x_shape, layer.w_shape, layer.stride, layer.padding, layer.output_padding,
            dilation=layer.dilation, groups=layer.groups,
        )  # fmt: skip
    return Conv.from_shapes(layer.x_shape, layer.w_shape, layer.stride, layer.padding, layer.dilation, layer.groups)


def y_shape(layer: Layer) -> tuple[int, ...]:
    """Of the layer's result."""
    conv = problem(layer)
    return conv.x_shape if layer.transposed else conv.y_shape


def kernel_pass(layer: Layer, pass_: str) -> str:
    """The pass of ``problem(layer)`` that computes ``pass_`` of the layer."""
    if layer.transposed:
        return {"forward": "input_grad", "input_grad": "forward"}.get(pass_, pass_)
    return pass_


def channels_last(a: np.ndarray) -> np.ndarray:
    """A copy that is stored as results of layers are: from the beginning of a cache line on, as PyTorch's are too."""
    copy = empty_last(a.shape, a.dtype)
    copy[...] = a
    return copy


class MinidlSide(Side):
    """``how``: layout of x and g, "NCHW" or "channels-last"; algorithm, None for the planner's; dtype.

    algorithm "scipy" stands for SciPy's correlation of one image with one filter, in a loop over both.
    """

    def __init__(self, threads: int) -> None:
        super().__init__()
        minidl.set_num_threads(threads)

    def stamp(self) -> dict[str, Any]:
        return stamp.environment()

    def call(
        self,
        layer: Layer,
        y_shape: tuple[int, ...],
        pass_: str,
        layout: str = "channels-last",
        algorithm: str | None = None,
        dtype: str = "float32",
    ) -> Callable[[], Any]:
        conv = problem(layer)
        if algorithm == "scipy":
            return scipy_forward(*operands(layer, y_shape)[:2], conv)
        x, w, g = (a.astype(dtype, copy=False) for a in operands(layer, y_shape))
        if layout == "channels-last":
            x, g = channels_last(x), channels_last(g)
        if layer.transposed:
            x, g = g, x
        match kernel_pass(layer, pass_):
            case "forward":
                return lambda: kernels.forward(x, w, conv, algorithm)
            case "input_grad":
                return lambda: kernels.input_grad(w, g, conv, algorithm)
            case _:
                return lambda: kernels.weight_grad(x, g, conv, algorithm)

    def release(self) -> None:
        memory.release()

    def reference(self, layer: Layer, y_shape: tuple[int, ...], pass_: str) -> np.ndarray:
        """The result in float64, by plain summation."""
        call = self.call(layer, y_shape, pass_, layout="NCHW", algorithm="im2col", dtype="float64")
        return np.ascontiguousarray(call())


def scipy_forward(x: np.ndarray, w: np.ndarray, conv: Conv) -> Callable[[], np.ndarray]:
    """``scipy.signal.correlate`` of (C, *size) with (C, *kernel) for each image and filter; see `scipy_can`."""
    from scipy.signal import correlate

    def forward() -> np.ndarray:
        padded = np.pad(x, ((0, 0), (0, 0), *conv.padding))
        y = np.empty(conv.y_shape, x.dtype)
        for n, image in enumerate(padded):
            for k, filter_ in enumerate(w):
                y[n, k] = correlate(image, filter_, "valid")[0]
        return y

    return forward


def scipy_can(layer: Layer, pass_: str) -> bool:
    """Forward, without stride, dilation, groups and transposition, and small: it takes a thousand times as long."""
    conv = problem(layer)
    plain = set(conv.stride) == set(conv.dilation) == {1} and conv.groups == 1 and not layer.transposed
    return plain and pass_ == "forward" and conv.macs < 10**8


if __name__ == "__main__":
    serve(MinidlSide(int(sys.argv[1])))
