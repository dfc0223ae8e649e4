"""PyTorch's side: ``python -m benchmarks.side_torch THREADS``, started by ``conv.py``.  Nothing of minidl here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .shapes import Layer
from .sides import Side, operands, serve, settings

LAYOUTS = ("NCHW", "channels-last")


def stamp(torch: Any) -> dict[str, Any]:
    """What is worth knowing about the process that PyTorch computes in."""
    return {
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "onednn": torch.backends.mkldnn.is_available(),
        "threads": torch.get_num_threads(),
        "settings": settings(),
    }


class TorchSide(Side):
    """``how``: layout, "NCHW" (PyTorch's default) or "channels-last" (operands and weights)."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        import torch

        self.torch = torch
        torch.set_num_threads(threads)

    def stamp(self) -> dict[str, Any]:
        return stamp(self.torch)

    def call(self, layer: Layer, y_shape: tuple[int, ...], pass_: str, layout: str = "NCHW") -> Callable[[], Any]:
        # the functions that autograd calls, asked for one gradient at a time
        torch = self.torch
        tensors = [torch.from_numpy(a) for a in operands(layer, y_shape)]
        if layout == "channels-last":
            tensors = [t.contiguous(memory_format=torch.channels_last) for t in tensors]
        x, w, g = tensors
        windows = (layer.stride, layer.padding, layer.dilation)
        extra = layer.output_padding or (0,) * len(layer.size)
        if pass_ == "forward":
            return lambda: torch.convolution(x, w, None, *windows, layer.transposed, extra, layer.groups)
        position = ("input_grad", "weight_grad").index(pass_)
        mask = [position == 0, position == 1, False]
        backward = torch.ops.aten.convolution_backward
        return lambda: backward(g, x, w, None, *windows, layer.transposed, extra, layer.groups, mask)[position]

    def result(self, name: str) -> np.ndarray:
        return self.calls[name]().contiguous().numpy()


if __name__ == "__main__":
    serve(TorchSide(int(sys.argv[1])))
