"""The loss around trained weights, along random directions whose filters are as long as those of the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import as_tensor, no_grad
from ..errors import SeeError
from . import plots
from .picture import Picture
from .units import as_batch, evaluating

if TYPE_CHECKING:
    from ...nn import Module


@dataclass(repr=False)
class Surface(Picture):
    """``losses`` (A,) at the weights plus ``steps`` (A,) times a direction, or (A, A) with a second one (the columns).

    ``directions`` name, for each, a filter-normalised array for every parameter that moves.
    """

    steps: np.ndarray
    losses: np.ndarray
    directions: list[dict[str, np.ndarray]]
    title: str = ""

    @property
    def centre(self) -> float:
        """The loss at the weights themselves."""
        return float(self.losses[(len(self.steps) // 2,) * self.losses.ndim])

    def to_dict(self) -> dict[str, Any]:
        return {
            "steps": self.steps.tolist(), "losses": self.losses.tolist(), "centre": self.centre,
            "least": float(self.losses.min()), "most": float(self.losses.max()),
        }  # fmt: skip

    def __str__(self) -> str:
        at = np.unravel_index(int(np.nanargmin(self.losses)), self.losses.shape)
        where = ", ".join(f"{self.steps[i]:.3g}" for i in at)
        half = self.losses[tuple(slice(None) if a == 0 else len(self.steps) // 2 for a in range(self.losses.ndim))]
        return (
            f"loss {self.centre:.4g} at the weights; least {np.nanmin(self.losses):.4g} at ({where}), along the first "
            f"direction {half[0]:.4g} at {self.steps[0]:g} and {half[-1]:.4g} at {self.steps[-1]:g}"
        )

    def image(self) -> np.ndarray:
        """A curve, or contours and a landscape, by matplotlib."""
        return plots.curve(self) if self.losses.ndim == 1 else plots.landscape(self)


def loss_surface(
    model: Module,
    x: Any,
    target: Any,
    *,
    loss: Callable[..., Any] | str = "cross_entropy",
    dims: int = 2,
    points: int = 21,
    span: float = 1.0,
    seed: int = 0,
    batch: int = 256,
    title: str = "",
) -> Surface:
    """The loss at the weights plus a d1 (and plus b d2), for a and b from -``span`` to ``span`` in ``points`` steps.

    The directions are Gaussian, and each filter of them is scaled to the length of the network's filter (of a linear
    layer: each row), so that networks whose weights have other sizes can be compared.  Biases and what normalisation
    layers learn do not move.  ``loss`` is a function of the output and the target, or the name of one of
    ``nn.functional``; a mean over ``x`` (N, ...), computed ``batch`` inputs at a time.  The model is left as it was,
    to the bit; batch norm uses its running statistics.

    Source: Li, Xu, Taylor, Studer and Goldstein 2018, "Visualizing the loss landscape of neural nets",
    arXiv:1712.09913, section 4.  SeeError for an even number of points (none would lie at the weights).

    >>> import minidl
    >>> from minidl import models, see
    >>> x, target = minidl.randn(4, 1, 32, 32), minidl.tensor([1, 2, 3, 4])
    >>> found = see.features.loss_surface(models.lenet5(), x, target, dims=1, points=3)
    >>> found.steps.tolist(), found.losses.shape
    ([-1.0, 0.0, 1.0], (3,))
    """
    from ...nn import functional

    criterion: Any = loss
    if isinstance(loss, str):
        criterion = getattr(functional, loss, None)
        if criterion is None:
            raise SeeError(f"there is no loss called {loss!r} in minidl.nn.functional; try 'cross_entropy'")
    if dims not in (1, 2) or points < 3 or points % 2 == 0 or span <= 0:
        raise SeeError(
            f"a surface has 1 or 2 dims, an odd number of points from 3 on and a span above 0, got dims={dims}, "
            f"points={points}, span={span:g}"
        )
    inputs = as_batch(model, x)
    targets = as_tensor(target).to(inputs.device)
    if len(inputs) != len(targets):
        raise SeeError(f"{len(inputs)} inputs but {len(targets)} targets")
    rng = np.random.default_rng(seed)
    directions = [filter_normalised(model, rng) for _ in range(dims)]
    steps = np.linspace(-span, span, points)
    losses = np.zeros((points,) * dims)
    with evaluating(model), no_grad(), _moving(model) as move:
        for index in np.ndindex(losses.shape):
            move(directions, [float(steps[i]) for i in index])
            losses[index] = _mean_loss(model, criterion, inputs, targets, batch)
    return Surface(steps, losses, directions, title)


def filter_normalised(model: Module, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A random direction for the weights: Gaussian, each filter as long as that of the model.

    Of a parameter (K, ...) the K filters are scaled one by one; vectors (biases, normalisation) stay out.
    """
    direction = {}
    for name, p in model.named_parameters():
        if p.ndim < 2:
            continue
        w = p.detach().cpu().numpy()
        d = rng.standard_normal(w.shape)
        axes = tuple(range(1, w.ndim))
        lengths = [np.sqrt((v.astype(np.float64) ** 2).sum(axes, keepdims=True)) for v in (w, d)]
        direction[name] = (d * (lengths[0] / (lengths[1] + 1e-10))).astype(w.dtype)
    if not direction:
        raise SeeError(f"{type(model).__name__} has no weights (of two axes or more) that could move")
    return direction


@contextmanager
def _moving(model: Module) -> Iterator[Callable[[list[dict[str, np.ndarray]], list[float]], None]]:
    """A function that moves the weights away from where they are; at the end they are back."""
    parameters = dict(model.named_parameters())
    before = {name: p.detach().cpu().numpy().copy() for name, p in parameters.items()}

    def put(values: Mapping[str, np.ndarray]) -> None:
        for name, value in values.items():
            parameters[name].copy_(as_tensor(value).to(parameters[name].device))

    def move(directions: list[dict[str, np.ndarray]], steps: list[float]) -> None:
        put(
            {
                name: before[name] + sum(before[name].dtype.type(a) * d[name] for a, d in zip(steps, directions))
                for name in directions[0]
            }
        )

    try:
        yield move
    finally:
        with no_grad():
            put(before)


def _mean_loss(model: Module, criterion: Callable[..., Any], x: Any, target: Any, batch: int) -> float:
    total = 0.0
    for i in range(0, len(x), batch):
        part = x[i : i + batch]
        total += float(criterion(model(part), target[i : i + batch]).item()) * len(part)
    return total / len(x)
