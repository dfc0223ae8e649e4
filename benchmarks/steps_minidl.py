"""Our side of whole networks: ``python -m benchmarks.steps_minidl THREADS``, started by ``steps.py``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import minidl
from minidl import models, nn
from minidl.kernels import memory
from minidl.kernels.jit import require_numba

from . import stamp
from .networks import Network
from .sides import reset_peak, serve
from .steps_side import LEARNING_RATE, MOMENTUM, Description, StepsSide, operands, weights

# what torch's layer of the same name takes
SETTINGS = {
    "Conv2d": "in_channels out_channels kernel_size stride padding dilation groups",
    "Linear": "in_features out_features",
    "BatchNorm2d": "num_features eps momentum",
    "MaxPool2d": "kernel_size stride padding dilation return_indices ceil_mode",
    "AvgPool2d": "kernel_size stride padding ceil_mode count_include_pad",
    "AdaptiveAvgPool2d": "output_size",
    "LocalResponseNorm": "size alpha beta k",
    "Dropout": "p",
    "PadShortcut": "stride before after",
}
# what the forward of a block asks for beside its children
FLAGS = ("residual", "bottleneck")


def describe(module: nn.Module) -> Description:
    """The network as plain values, from which torch_models.py builds PyTorch's."""
    kind = type(module).__name__
    settings = {name: getattr(module, name) for name in SETTINGS.get(kind, "").split()}
    if kind in ("Conv2d", "Linear"):
        settings["bias"] = module.bias is not None
    settings |= {name: getattr(module, name) for name in FLAGS if hasattr(module, name)}
    return Description(kind, settings, tuple((name, describe(child)) for name, child in module.named_children()))


def create(network: Network) -> nn.Module:
    """The network with our weights for all."""
    with nn.utils.skip_init():
        model = models.create(network.model, num_classes=network.classes)
    state = model.state_dict()
    drawn = weights({name: value.shape for name, value in state.items() if value.dtype.kind == "f"})
    model.load_state_dict({name: drawn.get(name, value) for name, value in state.items()})
    return model


class MinidlSteps(StepsSide):
    def __init__(self, threads: int) -> None:
        require_numba()  # PyTorch's libraries are loaded too when memory is counted from here on
        super().__init__()
        minidl.set_num_threads(threads)

    def stamp(self) -> dict[str, Any]:
        return stamp.environment()

    def build(self, network: Network) -> Description:
        """Make the network; what it is made of."""
        self.network = network
        self.model = create(network)
        memory.release()  # what drawing the weights took is no part of training
        reset_peak()
        return describe(self.model)

    def call(self, what: str) -> Callable[[], Any]:
        """``what``: "step", one training step of a batch, or "infer", the scores of one image."""
        images, labels = operands(self.network, self.network.batch if what == "step" else 1)
        x, y, model = minidl.tensor(images), minidl.tensor(labels), self.model
        if what == "infer":
            model.eval()

            def infer() -> Any:
                with minidl.no_grad():
                    return model(x)

            return infer
        model.train()
        optimizer = minidl.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)

        def step() -> Any:
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return step

    def answers(self, dtype: str = "float32") -> dict[str, np.ndarray]:
        images, labels = operands(self.network, self.network.batch)
        model = create(self.network).to(dtype).train()
        for layer in model.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
        scores = model(minidl.tensor(images.astype(dtype)))
        nn.functional.cross_entropy(scores, minidl.tensor(labels)).backward()
        matrices = [p for p in model.parameters() if p.ndim > 1]
        found = {"scores": scores, "first gradient": matrices[0].grad, "last gradient": matrices[-1].grad}
        return {name: np.array(t.detach().numpy()) for name, t in found.items()}


if __name__ == "__main__":
    serve(MinidlSteps(int(sys.argv[1])))
