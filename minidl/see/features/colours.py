"""What the numbers of an input mean as colours: how it was normalised, and in which order its channels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import SeeError


@dataclass(frozen=True)
class Colours:
    """``x = (rgb * scale - mean) / std`` with red, green and blue (or grey) in 0..1; ``bgr``: blue comes first in x.

    ``mean`` and ``std`` have a number for each channel of x, in its order, or one for all.

    >>> import numpy as np
    >>> imagenet = Colours((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    >>> grey = np.full((3, 2, 2), 0.5)
    >>> bool(np.allclose(imagenet.pixels(imagenet.values(grey)), grey))
    True
    """

    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)
    scale: float = 1.0
    bgr: bool = False

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or min(self.std, default=0) <= 0 or self.scale <= 0:
            raise SeeError(
                f"colours need as many means as deviations, and deviations and a scale above 0, got mean "
                f"{tuple(self.mean)}, std {tuple(self.std)}, scale {self.scale:g}"
            )

    def rgb(self, x: np.ndarray) -> np.ndarray:
        """(..., C, H, W) with red first, values as they are."""
        return x[..., ::-1, :, :] if self.bgr else x

    def pixels(self, x: np.ndarray) -> np.ndarray:
        """An input (..., C, H, W) as red, green and blue in 0..1; what lies outside is cut off."""
        return np.clip(self.rgb((x * self._per_channel(self.std) + self._per_channel(self.mean)) / self.scale), 0, 1)

    def values(self, pixels: np.ndarray) -> np.ndarray:
        """Red, green and blue (..., C, H, W) in 0..1 as an input."""
        return (self.rgb(pixels) * self.scale - self._per_channel(self.mean)) / self._per_channel(self.std)

    def limits(self, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """The values (C, 1, 1) of black and of white."""
        black, white = (self.values(np.full((channels, 1, 1), level)) for level in (0.0, 1.0))
        return black, white

    @staticmethod
    def _per_channel(values: Sequence[float]) -> np.ndarray:
        return np.asarray(values, dtype=np.float64)[:, None, None]  # (C, 1, 1), or (1, 1, 1) for all


def shown(x: np.ndarray, colours: Colours | None = None) -> np.ndarray:
    """Inputs (..., C, H, W) as pixels in 0..1; without ``colours`` values in 0..1 are taken so, others stretched.

    Of other than one or three channels the mean is shown.

    >>> shown(np.array([[[-1.0, 3.0]]])).tolist()
    [[[0.0, 1.0]]]
    """
    x = np.asarray(x, dtype=np.float64)
    if x.shape[-3] not in (1, 3):
        x, colours = x.mean(-3, keepdims=True), None
    if colours is not None:
        return colours.pixels(x)
    low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 1.0)
    if low >= 0 and high <= 1:
        return x
    return (x - low) / ((high - low) or 1.0)
