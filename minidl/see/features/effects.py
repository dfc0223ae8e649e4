"""What small filters do to a photograph, each applied by a convolution layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import as_tensor, no_grad
from ...nn import functional as F
from ..errors import SeeError, check_least
from . import picture
from .picture import Picture
from .smoothing import gaussian


def _kernel(*rows: Sequence[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float64)


KERNELS: dict[str, np.ndarray] = {
    "identity": _kernel([0, 0, 0], [0, 1, 0], [0, 0, 0]),
    "edges": _kernel([-1, -1, -1], [-1, 8, -1], [-1, -1, -1]),
    "edges4": _kernel([0, 1, 0], [1, -4, 1], [0, 1, 0]),
    "sharpen": _kernel([0, -1, 0], [-1, 5, -1], [0, -1, 0]),
    "box_blur": np.full((3, 3), 1 / 9),
    "gaussian_blur": np.outer(gaussian(1.0, 2), gaussian(1.0, 2)),
    "sobel_x": _kernel([-1, 0, 1], [-2, 0, 2], [-1, 0, 1]),
    "sobel_y": _kernel([-1, -2, -1], [0, 0, 0], [1, 2, 1]),
    "emboss": _kernel([-2, -1, 0], [-1, 1, 1], [0, 1, 2]),
}
"""Correlation kernels, as a convolution layer has them: they are not turned round.  Those with the sum 0 (edges, Sobel)
give 0 where the image is flat; the others keep its brightness."""


@dataclass(repr=False)
class Effects(Picture):
    """``results`` (C, H, W) by the name of the kernel; ``kernels`` the numbers; ``x`` the photograph in 0..1."""

    x: np.ndarray
    kernels: dict[str, np.ndarray]
    results: dict[str, np.ndarray]
    columns: int = 3
    side: int = 320

    def to_dict(self) -> dict[str, Any]:
        return {
            name: {
                "kernel": kernel.tolist(), "sum": float(kernel.sum()), "mean": float(self.results[name].mean()),
                "deviation": float(self.results[name].std()),
            }
            for name, kernel in self.kernels.items()
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [f"photograph       mean {self.x.mean():.4f}, deviation {self.x.std():.4f}"]
        lines += [
            f"{name:<14}   mean {v['mean']:.4f}, deviation {v['deviation']:.4f}; the kernel has the sum {v['sum']:g}"
            for name, v in ((n, {**d, "sum": round(d["sum"], 12)}) for n, d in self.to_dict().items())
        ]
        return "\n".join(lines)

    def image(self) -> np.ndarray:
        """All results; of kernels with the sum 0 the size of the values."""
        panels = []
        for name, y in self.results.items():
            flat = abs(self.kernels[name].sum()) < 1e-9
            panels.append(
                (name.replace("_", " "), picture.photo(np.clip(np.abs(y) if flat else y, 0, 1), self.side, shrink=True))
            )
        return picture.captioned(panels, columns=self.columns)


def effects(
    image: Any, kernels: Sequence[str] | Mapping[str, Any] | None = None, *, columns: int = 3, side: int = 320
) -> Effects:
    """Filter a photograph (C, H, W), uint8 or in 0..1, with small kernels, each channel for itself.

    ``kernels`` are names of :data:`KERNELS` (all without a wish), or a mapping of names to arrays (R, S) of odd sides.
    The picture has ``columns``, each result in it about ``side`` pixels.  Computed by ``conv2d`` with as many groups as
    channels, the border repeated outward.

    Source: Gonzalez and Woods, "Digital image processing", chapter 3; the Sobel pair: Sobel and Feldman 1968.

    >>> from minidl import see
    >>> found = see.features.effects(np.full((1, 4, 5), 0.25), ["identity", "edges", "box_blur"])
    >>> [round(float(y.max()), 6) for y in found.results.values()]
    [0.25, 0.0, 0.25]
    """
    check_least(columns=(columns, 1), side=(side, 1))
    given = np.asarray(image.numpy() if hasattr(image, "numpy") else image)
    if given.ndim != 3 or not given.size:
        raise SeeError(f"a photograph has the shape (C, H, W), not {given.shape}")
    x = given / 255 if given.dtype == np.uint8 else given
    x = x.astype(np.float32 if x.dtype != np.float64 or given.dtype == np.uint8 else np.float64)
    named = _named(kernels)
    with no_grad():
        results = {name: _filtered(x, kernel) for name, kernel in named.items()}
    return Effects(x, named, results, columns, side)


def _named(kernels: Sequence[str] | Mapping[str, Any] | None) -> dict[str, np.ndarray]:
    if isinstance(kernels, Mapping):
        own = {name: np.asarray(k, dtype=np.float64) for name, k in kernels.items()}
        for name, k in own.items():
            if k.ndim != 2 or not all(side % 2 for side in k.shape):
                raise SeeError(f"kernel {name!r} has the shape {k.shape}, and kernels are (R, S) with odd sides")
        return own
    for name in kernels or ():
        if name not in KERNELS:
            raise SeeError(f"there is no kernel {name!r}; there are {', '.join(KERNELS)}")
    return {name: KERNELS[name] for name in kernels or KERNELS}


def _filtered(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (C, H, W)."""
    c = len(x)
    r, s = (side // 2 for side in kernel.shape)
    weight = np.broadcast_to(kernel.astype(x.dtype), (c, 1, *kernel.shape))  # (K = C, 1, R, S), groups = C
    padded = F.pad(as_tensor(np.ascontiguousarray(x[None])), (s, s, r, r), mode="replicate")
    return F.conv2d(padded, as_tensor(weight.copy()), groups=c).numpy()[0]
