"""What the readers of labelled image arrays have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._files import PathLike
from .dataset import ArrayDataset
from .errors import DataError


class ImageArrays(ArrayDataset):
    """Images (N, C, H, W) and labels (N,) in memory; ``data``, ``targets``, ``classes`` as in torchvision.

    Unlike torchvision's, ``data`` is always (N, C, H, W), and a sample is an array, not a Pillow image: put
    ``transforms.ToFloat()`` where torchvision has ``ToTensor()``.
    """

    classes: Sequence[str] = ()

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
    ) -> None:
        super().__init__(images, labels.astype(np.int64), transform=transform, target_transform=target_transform)

    @property
    def data(self) -> np.ndarray:
        """All images (N, C, H, W)."""
        return self.arrays[0]

    @property
    def targets(self) -> np.ndarray:
        """All labels (N,), int64."""
        return self.arrays[1]

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Label of each class name."""
        return {name: label for label, name in enumerate(self.classes)}


def check_labels(labels: Any, classes: int, path: PathLike, start: int | None = None, step: int = 1) -> None:
    """A DataError for the first label outside 0 .. classes - 1; label i lies at byte ``start + i * step``."""
    labels = np.asarray(labels)
    bad = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(bad):
        i = int(bad[0])
        raise DataError(
            f"label {i} is out of range",
            path,
            offset=None if start is None else start + i * step,
            expected=f"0 to {classes - 1}",
            found=int(labels[i]),
        )
