"""PyTorch's side of whole networks: ``python -m benchmarks.steps_torch THREADS LAYOUT``.  Nothing of minidl here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from .networks import Network
from .side_torch import stamp
from .sides import reset_peak, serve
from .steps_side import LEARNING_RATE, MOMENTUM, Description, StepsSide, operands, weights
from .torch_models import build


class TorchSteps(StepsSide):
    """``layout``: "NCHW" (PyTorch's default) or "channels-last", of the images and all weights."""

    def __init__(self, threads: int, layout: str) -> None:
        super().__init__()
        torch.set_num_threads(threads)
        self.format = torch.channels_last if layout == "channels-last" else torch.contiguous_format

    def stamp(self) -> dict[str, Any]:
        return stamp(torch)

    def build(self, network: Network, description: Description) -> None:
        self.network, self.description = network, description
        self.model = self.create()
        reset_peak()

    def create(self) -> torch.nn.Module:
        model = build(self.description)
        state = model.state_dict()
        drawn = weights({name: tuple(value.shape) for name, value in state.items() if value.is_floating_point()})
        model.load_state_dict({name: torch.from_numpy(value) for name, value in drawn.items()}, strict=False)
        return model.to(memory_format=self.format)

    def data(self, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = operands(self.network, batch)
        return torch.from_numpy(images).contiguous(memory_format=self.format), torch.from_numpy(labels)

    def call(self, what: str) -> Callable[[], Any]:
        """``what``: "step", one training step of a batch, or "infer", the scores of one image."""
        x, y = self.data(self.network.batch if what == "step" else 1)
        model = self.model
        if what == "infer":
            model.eval()

            def infer() -> Any:
                with torch.inference_mode():
                    return model(x)

            return infer
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, fused=True)

        def step() -> Any:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return step

    def answers(self, dtype: str = "float32") -> dict[str, np.ndarray]:
        kind = getattr(torch, dtype)
        model = self.create().to(kind).train()
        for layer in model.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0
        x, y = self.data(self.network.batch)
        scores = model(x.to(kind))
        F.cross_entropy(scores, y).backward()
        matrices = [p for p in model.parameters() if p.ndim > 1]
        found = {"scores": scores, "first gradient": matrices[0].grad, "last gradient": matrices[-1].grad}
        return {name: t.detach().contiguous().numpy() for name, t in found.items()}


if __name__ == "__main__":
    serve(TorchSteps(int(sys.argv[1]), sys.argv[2]))
