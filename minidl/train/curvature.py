"""Before each epoch: what stochastic diagonal Levenberg-Marquardt has to know of the curvature of the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import DataLoader, Subset
from ..optim import DiagonalLM, diagonal_curvature

SAMPLES = 500  # LeCun et al. 1998, section III.B


@dataclass(frozen=True)
class CurvatureBefore:
    """Measures the curvature on some training images and tells it the optimiser: ``before_epoch`` of a Trainer.

    Which images, and the signs of :func:`minidl.optim.diagonal_curvature`, follow from ``seed`` and the epoch alone, so
    that a run that is resumed measures the same.

    >>> import minidl
    >>> from minidl import nn
    >>> data = minidl.data.ArrayDataset(np.array([[1.0], [3.0]], np.float32), np.zeros((2, 1), np.float32))
    >>> net = nn.Linear(1, 1)
    >>> rule = DiagonalLM(net.parameters())
    >>> CurvatureBefore(net, rule, nn.functional.mse_loss, data, seed=0)(0)
    >>> round(rule.state[net.weight]["curvature"].item(), 3)
    10.0
    """

    model: Any
    optimizer: DiagonalLM
    loss: Callable[[Any, Any], Any]
    dataset: Any
    seed: int
    samples: int = SAMPLES

    def __call__(self, epoch: int) -> None:
        rng = np.random.default_rng((self.seed, epoch))
        count = min(self.samples, len(self.dataset))
        chosen = Subset(self.dataset, np.sort(rng.choice(len(self.dataset), count, replace=False)).tolist())
        parameters = self.optimizer.parameters()
        loader = DataLoader(chosen, count, seed=self.seed, device=parameters[0].device)
        loader.set_epoch(epoch)
        for x, y in loader:
            self.optimizer.know(diagonal_curvature(self.model, self.loss, x, y, parameters, rng))
