"""The receptive field of a unit: the box that it could see, and what it looks at in effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SeeError
from .picture import Picture
from .units import Sight, answer, as_batch, evaluating, find_path, sight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...nn import Module

# An effective field counts where its value exceeds this share of the largest: 1 - 95.45 %
_SHARE = 1 - 0.9545


@dataclass(repr=False)
class ReceptiveField(Picture):
    """What the unit at ``position`` of a layer sees of the input.

    ``box`` (rows, columns) in theory, parts of it may lie in the padding; ``effect`` (H, W): the mean size of the
    gradient at each pixel, summed over the channels.
    """

    sight: Sight
    position: tuple[int, ...]
    box: tuple[range, ...]
    effect: np.ndarray
    samples: int

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width of the theoretical field."""
        return tuple(len(b) for b in self.box)

    @property
    def effective_size(self) -> float:
        """The square root of the number of pixels with more than 4.55 % of the largest effect."""
        most = float(self.effect.max())
        return float(np.sqrt((self.effect > _SHARE * most).sum())) if most > 0 else 0.0

    @property
    def outside(self) -> float:
        """The largest effect outside of the box; 0 if both agree."""
        rest = self.effect.copy()
        rest[self.sight.inside(self.position)] = 0
        return float(rest.max())

    def to_dict(self) -> dict[str, Any]:
        return {
            "layer": self.sight.layer, "position": list(self.position), "box": [[b.start, b.stop] for b in self.box],
            "jump": [f.jump for f in self.sight.fields], "size": list(self.size),
            "effective_size": self.effective_size, "outside": self.outside, "samples": self.samples,
            "effect": self.effect.tolist(),
        }  # fmt: skip

    def __str__(self) -> str:
        (top, bottom), (left, right) = ((b.start, b.stop - 1) for b in self.box)
        seen = np.count_nonzero(self.effect)
        return (
            f"{self.sight.layer} at {self.position} sees rows {top} to {bottom} and columns {left} to {right}: "
            f"{self.size[0]}x{self.size[1]} of {'x'.join(map(str, self.sight.size))}\n"
            f"in effect, over {self.samples} inputs: {self.effective_size:.1f} pixels a side have more than 4.55 % of "
            f"the largest gradient; {seen} pixels have any, the largest outside of the box is {self.outside:g}"
        )

    def image(self) -> np.ndarray:
        """The effect with the theoretical box drawn in, and its profile through the middle, by matplotlib."""
        from . import plots

        return plots.receptive_field(self)


def receptive_field(
    model: Module,
    layer: str,
    *,
    input_shape: Sequence[int] | None = None,
    images: Any = None,
    position: Sequence[int] | None = None,
    samples: int = 16,
    seed: int = 0,
) -> ReceptiveField:
    """The theoretical receptive field of a unit and the effective one.

    The first is followed through the windows of the layers.  The second is the mean, over ``samples`` Gaussian inputs
    of ``input_shape`` (C, H, W) or over ``images`` (N, C, H, W), of the size of the gradient of the layer's answers at
    ``position`` (the middle without a wish), each channel with a random sign.

    Source: Luo, Li, Urtasun and Zemel 2016, "Understanding the effective receptive field in deep convolutional neural
    networks", arXiv:1701.04128, section 3; the box: Araujo, Norris and Sim 2019.

    >>> from minidl import models, see
    >>> found = see.features.receptive_field(models.lenet5(), "conv2", input_shape=(1, 32, 32), samples=4)
    >>> found.size, found.box, found.outside
    ((14, 14), (range(10, 24), range(10, 24)), 0.0)
    """
    from ...autograd import enable_grad, grad
    from ...kernels.catalogue import conv_precision

    rng = np.random.default_rng(seed)
    if images is None:
        if input_shape is None or len(input_shape) != 3 or samples < 1:
            raise SeeError(
                f"say what the inputs are: images (N, C, H, W), or input_shape (C, H, W) and at least one sample; got "
                f"input_shape={input_shape}, samples={samples}"
            )
        images = rng.standard_normal((samples, *input_shape))
    x = as_batch(model, images)
    path = find_path(model, layer)
    seen = sight(model, path, x.shape[1:])
    if len(seen.fields) != 2:
        raise SeeError(f"a receptive field is drawn for images (N, C, H, W), not for inputs of shape {x.shape}")
    place = tuple(position) if position is not None else seen.centre
    if len(place) != len(seen.positions) or not all(0 <= p < n for p, n in zip(place, seen.positions)):
        raise SeeError(f"{path} has positions {seen.positions}, and {place} is none of them")
    effect = np.zeros(seen.size)
    for i in range(len(x)):
        leaf = x[i : i + 1].detach().requires_grad_()
        with evaluating(model), enable_grad(), conv_precision("exact"):  # a zero shall be zero
            y = answer(model, path, leaf)[(slice(None), slice(None), *place)]  # (1, K)
            signs = rng.choice([-1.0, 1.0], y.shape).astype(y.dtype)
            (gradient,) = grad(y, leaf, as_batch(model, signs))
        assert gradient is not None
        effect += np.abs(gradient.cpu().numpy()[0]).sum(0)
    return ReceptiveField(seen, place, seen.box(place), effect / len(x), len(x))
